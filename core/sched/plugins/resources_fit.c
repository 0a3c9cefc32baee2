/* NodeResourcesFit with the score LeastAllocated, and NodeResourcesBalancedAllocation.
 * Source: Kubernetes documentation, "Resource Bin Packing", "Scheduling Framework". */
#include "plugins.h"

/* ---- NodeResourcesFit ---- */

static void insufficient(const struct neap_sched_views *v, const char *name)
{
    char text[300];
    snprintf(text, sizeof(text), "Insufficient %s", name);
    v->because(v->ctx, text);
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    const struct neap_sched_amount *a;
    unsigned count = v->pod_amounts(p, &a);
    int result = NEAP_SCHED_OK;
    (void)state;
    if (v->node_requested(n, NEAP_SCHED_PODS) + 1 > v->node_allocatable(n, NEAP_SCHED_PODS)) {
        v->because(v->ctx, "Too many pods");
        result = NEAP_SCHED_NO;
    }
    for (unsigned i = 0; i < count; i++) {
        int64_t all = v->node_allocatable(n, a[i].resource);
        if (a[i].value <= all - v->node_requested(n, a[i].resource))
            continue;
        insufficient(v, a[i].name);
        if (a[i].value > all)
            result = NEAP_SCHED_NEVER;
        else if (result == NEAP_SCHED_OK)
            result = NEAP_SCHED_NO;
    }
    return result;
}

static int64_t percent_free(int64_t used, int64_t all)
{
    return all > 0 && used < all ? (int64_t)((__int128)(all - used) * 100 / all) : 0;
}

/* The mean of what is left of cpu and memory, of those that the node has. */
static int64_t score(void *self, void *state, const struct neap_sched_pod *p,
                     const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    int64_t sum = 0, kinds = 0;
    (void)state;
    for (int r = NEAP_SCHED_CPU; r <= NEAP_SCHED_MEMORY; r++) {
        int64_t all = v->node_allocatable(n, r);
        if (!all)
            continue;
        sum += percent_free(v->node_assumed(n, r) + v->pod_assumed(p, r), all);
        kinds++;
    }
    return kinds ? sum / kinds : 0;
}

/* A node that is too small when empty is no reason to try again; a pod that went may be. */
static bool retry(void *self, uint32_t event, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n, const struct neap_sched_pod *other)
{
    const struct neap_sched_views *v = self;
    const struct neap_sched_amount *a;
    unsigned count = v->pod_amounts(p, &a);
    (void)event;
    (void)other;
    for (unsigned i = 0; n && i < count; i++)
        if (a[i].value > v->node_allocatable(n, a[i].resource))
            return false;
    return true;
}

const struct neap_scheduler_plugin sched_plugin_resources_fit = {
    .header = SCHED_HEADER("NodeResourcesFit"),
    .configure = sched_configure,
    .weight = 1,
    .retry_on = NEAP_SCHED_ON_NODE_ADD | NEAP_SCHED_ON_NODE_SIZE | NEAP_SCHED_ON_POD_DELETE |
                NEAP_SCHED_ON_POD_SHRINK,
    .filter = filter,
    .score = score,
    .retry = retry,
};

/* ---- NodeResourcesBalancedAllocation ---- */

static int64_t asked(const struct neap_sched_views *v, const struct neap_sched_pod *p, int r)
{
    const struct neap_sched_amount *a;
    unsigned count = v->pod_amounts(p, &a);
    for (unsigned i = 0; i < count; i++)
        if (a[i].resource == r)
            return a[i].value;
    return 0;
}

static int balanced_pre_score(void *self, const struct neap_sched_pod *p,
                              const struct neap_sched_node *const *nodes, size_t count, void **ret)
{
    const struct neap_sched_views *v = self;
    (void)nodes, (void)count, (void)ret;
    return asked(v, p, NEAP_SCHED_CPU) || asked(v, p, NEAP_SCHED_MEMORY) ? NEAP_SCHED_OK
                                                                         : NEAP_SCHED_SKIP;
}

/* 100 when both are used to the same part, 50 when one is full and the other empty. */
static int64_t evenness(const int64_t *used, const int64_t *all)
{
    double part[2];
    for (int r = 0; r < 2; r++) {
        if (!all[r])
            return 100;
        part[r] = (double)used[r] / (double)all[r];
        part[r] = part[r] > 1 ? 1 : part[r];
    }
    double apart = part[0] > part[1] ? part[0] - part[1] : part[1] - part[0];
    return (int64_t)((1 - apart / 2) * 100);
}

/* How much the pod improves the balance: 75 not at all, towards 100 better, towards 50 worse. */
static int64_t balanced_score(void *self, void *state, const struct neap_sched_pod *p,
                              const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    int64_t before[2], after[2], all[2];
    (void)state;
    for (int r = 0; r < 2; r++) {
        all[r] = v->node_allocatable(n, r);
        before[r] = v->node_requested(n, r);
        after[r] = before[r] + asked(v, p, r);
    }
    return 50 + (50 + evenness(after, all) - evenness(before, all)) / 2;
}

const struct neap_scheduler_plugin sched_plugin_balanced = {
    .header = SCHED_HEADER("NodeResourcesBalancedAllocation"),
    .configure = sched_configure,
    .weight = 1,
    .pre_score = balanced_pre_score,
    .score = balanced_score,
};
