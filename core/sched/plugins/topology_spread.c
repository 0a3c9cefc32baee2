/* PodTopologySpread: pods that a selector matches are spread over domains.
 * Source: Kubernetes documentation, "Pod Topology Spread Constraints". */
#include "plugins.h"

#include <math.h>

static const char HOSTNAME[] = "kubernetes.io/hostname";

struct constraint {
    unsigned key;
    bool hostname, honor_taints, honor_affinity, self;
    int64_t max_skew, min_domains, least;
    struct neap_sched_selector *selector;
    uint8_t *matches; /* by group: 0 not looked at, 1 no, 2 yes */
    unsigned group_max;
    int64_t *counts; /* by domain; -1: not a domain of an eligible node */
    double weight;   /* score */
};

struct spread {
    const struct neap_sched_views *v;
    const struct neap_value *pod;
    const struct neap_sched_group *group;
    struct constraint *items;
    size_t count, cap;
    unsigned domains;
    bool has_affinity, all_keys; /* all_keys: a node without one of the labels is left out */
    bool *ignored;               /* by node; score */
};

static void state_free(void *self, void *state)
{
    const struct neap_sched_views *v = self;
    struct spread *s = state;
    for (size_t i = 0; i < s->count; i++) {
        v->selector_free(s->items[i].selector);
        free(s->items[i].matches);
        free(s->items[i].counts);
    }
    free(s->items);
    free(s->ignored);
    free(s);
}

/* ---- constraints ---- */

static struct constraint *add(struct spread *s, const char *key, int64_t max_skew,
                              struct neap_sched_selector *selector)
{
    const struct neap_sched_views *v = s->v;
    s->items = neap_grow(s->items, &s->cap, s->count, sizeof(*s->items));
    struct constraint *c = &s->items[s->count++];
    *c = (struct constraint){.key = v->topology_key(v->ctx, key),
                             .hostname = strcmp(key, HOSTNAME) == 0,
                             .honor_affinity = true,
                             .max_skew = max_skew,
                             .min_domains = 1,
                             .selector = selector};
    c->self = v->selector_match(selector, v->group_labels(s->group));
    c->group_max = v->group_max(v->ctx);
    c->matches = neap_calloc(c->group_max + 1, 1);
    return c;
}

static void read_constraints(struct spread *s, const char *when)
{
    const struct neap_sched_views *v = s->v;
    const struct neap_value *list = v->at(s->pod, "spec.topologySpreadConstraints"), *x = NULL;
    while ((x = v->next(list, x, NULL))) {
        const struct neap_value *min = v->get(x, "minDomains");
        if (strcmp(sched_text(v, x, "whenUnsatisfiable"), when) != 0)
            continue;
        struct constraint *c =
            add(s, sched_text(v, x, "topologyKey"), v->integer(v->get(x, "maxSkew")),
                v->selector_new(v->get(x, "labelSelector"), v->get(x, "matchLabelKeys"), NULL,
                                v->group_labels(s->group)));
        c->min_domains = min ? v->integer(min) : 1;
        c->honor_affinity = strcmp(sched_text(v, x, "nodeAffinityPolicy"), "Ignore") != 0;
        c->honor_taints = strcmp(sched_text(v, x, "nodeTaintsPolicy"), "Honor") == 0;
    }
}

/* kube-scheduler's system defaults, for pods without constraints of their own. */
static void default_constraints(struct spread *s, const struct neap_sched_pod *p)
{
    static const struct {
        const char *key;
        int64_t max_skew;
    } defaults[] = {{HOSTNAME, 3}, {"topology.kubernetes.io/zone", 5}};
    const struct neap_sched_views *v = s->v;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(defaults); i++) {
        struct neap_sched_selector *sel = v->selector_of_owners(v->ctx, p);
        if (!sel)
            return;
        add(s, defaults[i].key, defaults[i].max_skew, sel);
    }
}

static struct spread *spread_new(const struct neap_sched_views *v, const struct neap_sched_pod *p)
{
    struct spread *s = neap_calloc(1, sizeof(*s));
    s->v = v;
    s->pod = v->pod_value(p);
    s->group = v->pod_group(p);
    s->all_keys = true;
    s->has_affinity =
        v->size(v->at(s->pod, "spec.nodeSelector")) || v->at(s->pod, "spec.affinity.nodeAffinity");
    return s;
}

/* ---- counting ---- */

static bool group_matches(struct spread *s, struct constraint *c, const struct neap_sched_group *g)
{
    const struct neap_sched_views *v = s->v;
    unsigned i = v->group_index(g);
    if (i < c->group_max && c->matches[i])
        return c->matches[i] == 2;
    bool ok = !v->group_terminating(g) &&
              strcmp(v->group_namespace(g), v->group_namespace(s->group)) == 0 &&
              v->selector_match(c->selector, v->group_labels(g));
    if (i < c->group_max)
        c->matches[i] = ok ? 2 : 1;
    return ok;
}

static int64_t pods_on(struct spread *s, struct constraint *c, const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = s->v;
    unsigned groups = v->node_groups(n), pods;
    int64_t sum = 0;
    for (unsigned i = 0; i < groups; i++) {
        const struct neap_sched_group *g = v->node_group(n, i, &pods);
        if (group_matches(s, c, g))
            sum += pods;
    }
    return sum;
}

static int domain(struct spread *s, const struct constraint *c, const struct neap_sched_node *n)
{
    return s->v->node_domain(s->v->ctx, n, c->key);
}

static bool has_keys(struct spread *s, const struct neap_sched_node *n)
{
    for (size_t i = 0; i < s->count; i++)
        if (domain(s, &s->items[i], n) < 0)
            return false;
    return true;
}

static bool eligible(struct spread *s, const struct constraint *c, const struct neap_sched_node *n)
{
    if (c->honor_affinity && s->has_affinity && !sched_affinity_required(s->v, s->pod, n))
        return false;
    return !c->honor_taints || !sched_untolerated(s->v, s->pod, n);
}

/* Domains have numbers once they were asked for: before tables are made. */
static void make_counts(struct spread *s)
{
    size_t nodes = s->v->node_count(s->v->ctx);
    for (size_t j = 0; j < nodes; j++)
        has_keys(s, s->v->node_by_index(s->v->ctx, j));
    s->domains = s->v->domain_max(s->v->ctx);
    for (size_t i = 0; i < s->count; i++) {
        s->items[i].counts = neap_malloc((s->domains + 1) * sizeof(int64_t));
        for (unsigned d = 0; d < s->domains; d++)
            s->items[i].counts[d] = -1;
    }
}

/* ---- filter ---- */

static void find_least(struct spread *s, struct constraint *c)
{
    int64_t domains = 0;
    c->least = INT64_MAX;
    for (unsigned d = 0; d < s->domains; d++) {
        if (c->counts[d] < 0)
            continue;
        domains++;
        c->least = c->counts[d] < c->least ? c->counts[d] : c->least;
    }
    if (domains < c->min_domains || !domains)
        c->least = 0;
}

static int pre_filter(void *self, const struct neap_sched_pod *p, void **ret)
{
    const struct neap_sched_views *v = self;
    if (!v->size(v->at(v->pod_value(p), "spec.topologySpreadConstraints")))
        return NEAP_SCHED_SKIP;
    struct spread *s = *ret = spread_new(v, p);
    read_constraints(s, "DoNotSchedule");
    if (!s->count)
        return NEAP_SCHED_SKIP;
    make_counts(s);
    size_t nodes = v->node_count(v->ctx);
    for (size_t j = 0; j < nodes; j++) {
        const struct neap_sched_node *n = v->node_by_index(v->ctx, j);
        if (!has_keys(s, n))
            continue;
        for (size_t i = 0; i < s->count; i++) {
            struct constraint *c = &s->items[i];
            if (!eligible(s, c, n))
                continue;
            int64_t *at = &c->counts[domain(s, c, n)];
            *at = (*at < 0 ? 0 : *at) + pods_on(s, c, n);
        }
    }
    for (size_t i = 0; i < s->count; i++)
        find_least(s, &s->items[i]);
    return NEAP_SCHED_OK;
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    struct spread *s = state;
    (void)p;
    for (size_t i = 0; i < s->count; i++) {
        struct constraint *c = &s->items[i];
        int d = domain(s, c, n);
        if (d < 0) {
            v->because(v->ctx, "node(s) didn't match pod topology spread constraints "
                               "(missing required label)");
            return NEAP_SCHED_NEVER;
        }
        int64_t have = c->counts[d] < 0 ? 0 : c->counts[d];
        if (have + c->self - c->least > c->max_skew) {
            v->because(v->ctx, "node(s) didn't match pod topology spread constraints");
            return NEAP_SCHED_NO;
        }
    }
    return NEAP_SCHED_OK;
}

/* ---- score ---- */

/* Domains that some node has which fits; more of them: each counts more. */
static void weigh(struct spread *s, const struct neap_sched_node *const *nodes, size_t count)
{
    size_t *sizes = neap_calloc(s->count, sizeof(*sizes)), used = 0;
    bool *unlabelled = neap_calloc(s->count, sizeof(*unlabelled));
    for (size_t j = 0; j < count; j++) {
        if (s->all_keys && !has_keys(s, nodes[j])) {
            s->ignored[s->v->node_index(nodes[j])] = true;
            continue;
        }
        used++;
        for (size_t i = 0; i < s->count; i++) {
            struct constraint *c = &s->items[i];
            int d = domain(s, c, nodes[j]);
            bool fresh = d < 0 ? !unlabelled[i] : c->counts[d] < 0;
            sizes[i] += fresh;
            if (d < 0)
                unlabelled[i] = true;
            else if (fresh)
                c->counts[d] = 0;
        }
    }
    for (size_t i = 0; i < s->count; i++)
        s->items[i].weight = log((double)(s->items[i].hostname ? used : sizes[i]) + 2);
    free(unlabelled);
    free(sizes);
}

static void count_all(struct spread *s)
{
    const struct neap_sched_views *v = s->v;
    size_t nodes = v->node_count(v->ctx);
    for (size_t j = 0; j < nodes; j++) {
        const struct neap_sched_node *n = v->node_by_index(v->ctx, j);
        if (!v->node_groups(n) || (s->all_keys && !has_keys(s, n)))
            continue;
        for (size_t i = 0; i < s->count; i++) {
            struct constraint *c = &s->items[i];
            int d = c->hostname ? -1 : domain(s, c, n); /* hostnames: counted on the node itself */
            if (d >= 0 && c->counts[d] >= 0 && eligible(s, c, n))
                c->counts[d] += pods_on(s, c, n);
        }
    }
}

static int pre_score(void *self, const struct neap_sched_pod *p,
                     const struct neap_sched_node *const *nodes, size_t count, void **ret)
{
    const struct neap_sched_views *v = self;
    struct spread *s = *ret = spread_new(v, p);
    if (v->size(v->at(s->pod, "spec.topologySpreadConstraints"))) {
        read_constraints(s, "ScheduleAnyway");
    } else {
        s->all_keys = false;
        default_constraints(s, p);
    }
    if (!s->count)
        return NEAP_SCHED_SKIP;
    make_counts(s);
    s->ignored = neap_calloc(v->node_count(v->ctx) + 1, sizeof(bool));
    weigh(s, nodes, count);
    count_all(s);
    return NEAP_SCHED_OK;
}

static int64_t score(void *self, void *state, const struct neap_sched_pod *p,
                     const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    struct spread *s = state;
    double sum = 0;
    (void)p;
    if (s->ignored[v->node_index(n)])
        return 0;
    for (size_t i = 0; i < s->count; i++) {
        struct constraint *c = &s->items[i];
        int d = domain(s, c, n);
        if (d < 0)
            continue;
        int64_t pods = c->hostname ? pods_on(s, c, n) : c->counts[d];
        sum += (double)pods * c->weight + (double)(c->max_skew - 1);
    }
    return (int64_t)llround(sum);
}

static void normalize(void *self, void *state, const struct neap_sched_pod *p,
                      const struct neap_sched_node *const *nodes, int64_t *scores, size_t count)
{
    const struct neap_sched_views *v = self;
    struct spread *s = state;
    int64_t least = INT64_MAX, most = 0;
    (void)p;
    for (size_t i = 0; i < count; i++) {
        if (s->ignored[v->node_index(nodes[i])])
            continue;
        least = scores[i] < least ? scores[i] : least;
        most = scores[i] > most ? scores[i] : most;
    }
    for (size_t i = 0; i < count; i++) {
        if (s->ignored[v->node_index(nodes[i])])
            scores[i] = 0;
        else
            scores[i] = most ? NEAP_SCHED_SCORE_MAX * (most + least - scores[i]) / most
                             : NEAP_SCHED_SCORE_MAX;
    }
}

const struct neap_scheduler_plugin sched_plugin_topology_spread = {
    .header = SCHED_HEADER("PodTopologySpread"),
    .configure = sched_configure,
    .weight = 2,
    .retry_on = NEAP_SCHED_ON_POD_ADD | NEAP_SCHED_ON_POD_DELETE | NEAP_SCHED_ON_POD_LABELS |
                NEAP_SCHED_ON_NODE_ADD | NEAP_SCHED_ON_NODE_DELETE | NEAP_SCHED_ON_NODE_LABELS |
                NEAP_SCHED_ON_NODE_TAINTS,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
    .state_free = state_free,
};
