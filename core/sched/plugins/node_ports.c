/* NodePorts: host ports are free. */
#include "plugins.h"

static int pre_filter(void *self, const struct neap_sched_pod *p, void **ret)
{
    const struct neap_sched_views *v = self;
    (void)ret;
    return v->pod_has_ports(p) ? NEAP_SCHED_OK : NEAP_SCHED_SKIP;
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    (void)state;
    if (v->node_ports_free(n, p))
        return NEAP_SCHED_OK;
    v->because(v->ctx, "node(s) didn't have free ports for the requested pod ports");
    return NEAP_SCHED_NO;
}

static bool retry(void *self, uint32_t event, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n, const struct neap_sched_pod *other)
{
    const struct neap_sched_views *v = self;
    (void)event;
    if (n)
        return v->node_ports_free(n, p);
    return !other || v->pod_has_ports(other);
}

const struct neap_scheduler_plugin sched_plugin_node_ports = {
    .header = SCHED_HEADER("NodePorts"),
    .configure = sched_configure,
    .retry_on = NEAP_SCHED_ON_NODE_ADD | NEAP_SCHED_ON_POD_DELETE,
    .pre_filter = pre_filter,
    .filter = filter,
    .retry = retry,
};
