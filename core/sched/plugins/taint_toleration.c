/* TaintToleration. Source: Kubernetes documentation, "Taints and Tolerations". */
#include "plugins.h"

#include <errno.h>

/* Both whole numbers: <want> is the toleration's. */
static bool compares(const char *op, const char *have, const char *want)
{
    char *a_end, *b_end;
    errno = 0;
    long long a = strtoll(have, &a_end, 10), b = strtoll(want, &b_end, 10);
    if (errno || !*have || !*want || *a_end || *b_end)
        return false;
    return strcmp(op, "Lt") == 0 ? a < b : a > b;
}

static bool tolerates(const struct neap_sched_views *v, const struct neap_value *t, const char *key,
                      const char *value, const char *effect)
{
    const char *k = sched_text(v, t, "key"), *e = sched_text(v, t, "effect");
    const char *op = sched_text(v, t, "operator"), *want = sched_text(v, t, "value");
    if ((*e && strcmp(e, effect) != 0) || (*k && strcmp(k, key) != 0))
        return false;
    if (strcmp(op, "Exists") == 0)
        return true;
    if (strcmp(op, "Lt") == 0 || strcmp(op, "Gt") == 0)
        return *k && compares(op, value, want);
    return *k && strcmp(want, value) == 0;
}

bool sched_tolerates(const struct neap_sched_views *v, const struct neap_value *pod,
                     const char *key, const char *value, const char *effect)
{
    const struct neap_value *list = v->at(pod, "spec.tolerations"), *t = NULL;
    while ((t = v->next(list, t, NULL)))
        if (tolerates(v, t, key, value, effect))
            return true;
    return false;
}

static bool taint_tolerated(const struct neap_sched_views *v, const struct neap_value *pod,
                            const struct neap_value *taint, const char *effect)
{
    return sched_tolerates(v, pod, sched_text(v, taint, "key"), sched_text(v, taint, "value"),
                           effect);
}

bool sched_untolerated(const struct neap_sched_views *v, const struct neap_value *pod,
                       const struct neap_sched_node *n)
{
    const struct neap_value *list = v->node_taints(n), *t = NULL;
    while ((t = v->next(list, t, NULL))) {
        const char *effect = sched_text(v, t, "effect");
        if (strcmp(effect, "PreferNoSchedule") != 0 && !taint_tolerated(v, pod, t, effect))
            return true;
    }
    return false;
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    (void)state;
    if (!v->node_taints(n) || !sched_untolerated(v, v->pod_value(p), n))
        return NEAP_SCHED_OK;
    v->because(v->ctx, "node(s) had untolerated taint(s)");
    return NEAP_SCHED_NEVER;
}

static int64_t soft(const struct neap_sched_views *v, const struct neap_sched_pod *p,
                    const struct neap_sched_node *n)
{
    const struct neap_value *list = v->node_taints(n), *t = NULL;
    int64_t bad = 0;
    while ((t = v->next(list, t, NULL)))
        if (strcmp(sched_text(v, t, "effect"), "PreferNoSchedule") == 0)
            bad += !taint_tolerated(v, v->pod_value(p), t, "PreferNoSchedule");
    return bad;
}

/* Without soft taints every node would get the same. */
static int pre_score(void *self, const struct neap_sched_pod *p,
                     const struct neap_sched_node *const *nodes, size_t count, void **ret)
{
    const struct neap_sched_views *v = self;
    (void)ret;
    for (size_t i = 0; i < count; i++)
        if (v->node_taints(nodes[i]) && soft(v, p, nodes[i]))
            return NEAP_SCHED_OK;
    return NEAP_SCHED_SKIP;
}

static int64_t score(void *self, void *state, const struct neap_sched_pod *p,
                     const struct neap_sched_node *n)
{
    (void)state;
    return soft(self, p, n);
}

static void normalize(void *self, void *state, const struct neap_sched_pod *p,
                      const struct neap_sched_node *const *nodes, int64_t *scores, size_t count)
{
    (void)self, (void)state, (void)p, (void)nodes;
    sched_normalize(scores, count, true);
}

static bool retry(void *self, uint32_t event, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n, const struct neap_sched_pod *other)
{
    const struct neap_sched_views *v = self;
    (void)event;
    (void)other;
    return !n || !sched_untolerated(v, v->pod_value(p), n);
}

const struct neap_scheduler_plugin sched_plugin_taint_toleration = {
    .header = SCHED_HEADER("TaintToleration"),
    .configure = sched_configure,
    .weight = 3,
    .retry_on = NEAP_SCHED_ON_NODE_ADD | NEAP_SCHED_ON_NODE_TAINTS,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
    .retry = retry,
};
