/* NodeName: a pod that names its node goes nowhere else. */
#include "plugins.h"

static const char *wanted(const struct neap_sched_views *v, const struct neap_sched_pod *p)
{
    const char *name = v->text(v->at(v->pod_value(p), "spec.nodeName"));
    return name && *name ? name : NULL;
}

static int pre_filter(void *self, const struct neap_sched_pod *p, void **ret)
{
    (void)ret;
    return wanted(self, p) ? NEAP_SCHED_OK : NEAP_SCHED_SKIP;
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    (void)state;
    if (strcmp(wanted(v, p), v->node_name(n)) == 0)
        return NEAP_SCHED_OK;
    v->because(v->ctx, "node(s) didn't match the requested node name");
    return NEAP_SCHED_NEVER;
}

const struct neap_scheduler_plugin sched_plugin_node_name = {
    .header = SCHED_HEADER("NodeName"),
    .configure = sched_configure,
    .retry_on = NEAP_SCHED_ON_NODE_ADD,
    .pre_filter = pre_filter,
    .filter = filter,
};
