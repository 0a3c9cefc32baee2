/* NodeUnschedulable: cordoned nodes, unless the pod tolerates the taint that cordoning makes. */
#include "plugins.h"

static bool allowed(const struct neap_sched_views *v, const struct neap_sched_pod *p,
                    const struct neap_sched_node *n)
{
    return !v->node_unschedulable(n) ||
           sched_tolerates(v, v->pod_value(p), "node.kubernetes.io/unschedulable", "",
                           "NoSchedule");
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    (void)state;
    if (allowed(v, p, n))
        return NEAP_SCHED_OK;
    v->because(v->ctx, "node(s) were unschedulable");
    return NEAP_SCHED_NEVER;
}

static bool retry(void *self, uint32_t event, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n, const struct neap_sched_pod *other)
{
    (void)event;
    (void)other;
    return !n || allowed(self, p, n);
}

const struct neap_scheduler_plugin sched_plugin_node_unschedulable = {
    .header = SCHED_HEADER("NodeUnschedulable"),
    .configure = sched_configure,
    .retry_on = NEAP_SCHED_ON_NODE_ADD | NEAP_SCHED_ON_NODE_TAINTS,
    .filter = filter,
    .retry = retry,
};
