/* NodeAffinity: nodeSelector, required and preferred node affinity.
 * Source: Kubernetes documentation, "Assigning Pods to Nodes". */
#include "plugins.h"

#include <errno.h>

static bool in_values(const struct neap_sched_views *v, const struct neap_value *values,
                      const char *s)
{
    const struct neap_value *x = NULL;
    while ((x = v->next(values, x, NULL))) {
        const char *text = v->text(x);
        if (text && strcmp(text, s) == 0)
            return true;
    }
    return false;
}

static bool number(const char *s, long long *ret)
{
    char *end;
    errno = 0;
    *ret = s ? strtoll(s, &end, 10) : 0;
    return s && *s && !*end && !errno;
}

/* matchExpressions' and matchFields' requirement; <have> NULL: no such label. */
static bool holds(const struct neap_sched_views *v, const struct neap_value *r, const char *have)
{
    const char *op = sched_text(v, r, "operator");
    const struct neap_value *values = v->get(r, "values");
    long long a, b;
    if (strcmp(op, "In") == 0)
        return have && in_values(v, values, have);
    if (strcmp(op, "NotIn") == 0)
        return !have || !in_values(v, values, have);
    if (strcmp(op, "Exists") == 0)
        return have != NULL;
    if (strcmp(op, "DoesNotExist") == 0)
        return have == NULL;
    if (!number(have, &a) || !number(v->text(v->next(values, NULL, NULL)), &b))
        return false;
    return strcmp(op, "Gt") == 0 ? a > b : strcmp(op, "Lt") == 0 && a < b;
}

static bool term_matches(const struct neap_sched_views *v, const struct neap_value *term,
                         const struct neap_sched_node *n)
{
    const struct neap_value *expressions = v->get(term, "matchExpressions");
    const struct neap_value *fields = v->get(term, "matchFields"), *r = NULL;
    if (!v->size(expressions) && !v->size(fields))
        return false; /* an empty term matches nothing */
    while ((r = v->next(expressions, r, NULL)))
        if (!holds(v, r, v->node_label(n, sched_text(v, r, "key"))))
            return false;
    while ((r = v->next(fields, r, NULL)))
        if (strcmp(sched_text(v, r, "key"), "metadata.name") != 0 || !holds(v, r, v->node_name(n)))
            return false;
    return true;
}

static const struct neap_value *required(const struct neap_sched_views *v,
                                         const struct neap_value *pod)
{
    return v->at(pod, "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution");
}

static const struct neap_value *preferred(const struct neap_sched_views *v,
                                          const struct neap_value *pod)
{
    return v->at(pod, "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution");
}

bool sched_affinity_required(const struct neap_sched_views *v, const struct neap_value *pod,
                             const struct neap_sched_node *n)
{
    const struct neap_value *selector = v->at(pod, "spec.nodeSelector"), *x = NULL;
    const struct neap_value *need = required(v, pod);
    const char *key;
    while ((x = v->next(selector, x, &key))) {
        const char *have = v->node_label(n, key), *want = v->text(x);
        if (!have || !want || strcmp(have, want) != 0)
            return false;
    }
    if (!need)
        return true;
    const struct neap_value *terms = v->get(need, "nodeSelectorTerms");
    while ((x = v->next(terms, x, NULL)))
        if (term_matches(v, x, n))
            return true;
    return false;
}

/* True: no name is in all "in" requirements of the term: it can match no node. */
static bool impossible(const struct neap_sched_views *v, const struct neap_value *term)
{
    const struct neap_value *fields = v->get(term, "matchFields"), *r = NULL, *name = NULL;
    const struct neap_value *first = NULL;
    while ((r = v->next(fields, r, NULL)) && !first)
        if (strcmp(sched_text(v, r, "operator"), "In") == 0)
            first = v->get(r, "values");
    while (first && (name = v->next(first, name, NULL))) {
        bool everywhere = v->text(name) != NULL;
        for (r = NULL; everywhere && (r = v->next(fields, r, NULL));)
            if (strcmp(sched_text(v, r, "operator"), "In") == 0)
                everywhere = in_values(v, v->get(r, "values"), v->text(name));
        if (everywhere)
            return false;
    }
    return first != NULL;
}

/* The names that a term's matchFields allow; NULL: any. The last requirement "in" counts, filter checks
 * them all. */
static const struct neap_value *names_of(const struct neap_sched_views *v,
                                         const struct neap_value *term)
{
    const struct neap_value *fields = v->get(term, "matchFields"), *r = NULL, *names = NULL;
    while ((r = v->next(fields, r, NULL)))
        if (strcmp(sched_text(v, r, "key"), "metadata.name") == 0 &&
            strcmp(sched_text(v, r, "operator"), "In") == 0)
            names = v->get(r, "values");
    return names;
}

/* Terms are alternatives: only when each names nodes are the others out. Pods of DaemonSets do. False: no
 * term can match. */
static bool only_named(const struct neap_sched_views *v, const struct neap_value *pod)
{
    bool possible = false;
    const struct neap_value *terms = v->get(required(v, pod), "nodeSelectorTerms");
    const struct neap_value *t = NULL, *name = NULL;
    if (!v->size(terms))
        return true;
    while ((t = v->next(terms, t, NULL))) {
        if (!names_of(v, t))
            return true;
        possible |= !impossible(v, t);
    }
    while ((t = v->next(terms, t, NULL)))
        for (name = NULL; (name = v->next(names_of(v, t), name, NULL));)
            if (v->text(name))
                v->only(v->ctx, v->text(name));
    return possible;
}

static int pre_filter(void *self, const struct neap_sched_pod *p, void **ret)
{
    const struct neap_sched_views *v = self;
    const struct neap_value *pod = v->pod_value(p);
    (void)ret;
    if (!only_named(v, pod)) {
        v->because(v->ctx, "pod affinity terms conflict");
        return NEAP_SCHED_NEVER;
    }
    return v->size(v->at(pod, "spec.nodeSelector")) || required(v, pod) ? NEAP_SCHED_OK
                                                                        : NEAP_SCHED_SKIP;
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    (void)state;
    if (sched_affinity_required(v, v->pod_value(p), n))
        return NEAP_SCHED_OK;
    v->because(v->ctx, "node(s) didn't match Pod's node affinity/selector");
    return NEAP_SCHED_NEVER;
}

static int pre_score(void *self, const struct neap_sched_pod *p,
                     const struct neap_sched_node *const *nodes, size_t count, void **ret)
{
    const struct neap_sched_views *v = self;
    (void)nodes, (void)count, (void)ret;
    return v->size(preferred(v, v->pod_value(p))) ? NEAP_SCHED_OK : NEAP_SCHED_SKIP;
}

static int64_t score(void *self, void *state, const struct neap_sched_pod *p,
                     const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    const struct neap_value *list = preferred(v, v->pod_value(p)), *t = NULL;
    int64_t sum = 0;
    (void)state;
    while ((t = v->next(list, t, NULL)))
        if (term_matches(v, v->get(t, "preference"), n))
            sum += v->integer(v->get(t, "weight"));
    return sum;
}

static void normalize(void *self, void *state, const struct neap_sched_pod *p,
                      const struct neap_sched_node *const *nodes, int64_t *scores, size_t count)
{
    (void)self, (void)state, (void)p, (void)nodes;
    sched_normalize(scores, count, false);
}

static bool retry(void *self, uint32_t event, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n, const struct neap_sched_pod *other)
{
    const struct neap_sched_views *v = self;
    (void)event;
    (void)other;
    return !n || sched_affinity_required(v, v->pod_value(p), n);
}

const struct neap_scheduler_plugin sched_plugin_node_affinity = {
    .header = SCHED_HEADER("NodeAffinity"),
    .configure = sched_configure,
    .weight = 2,
    .retry_on = NEAP_SCHED_ON_NODE_ADD | NEAP_SCHED_ON_NODE_LABELS,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
    .retry = retry,
};
