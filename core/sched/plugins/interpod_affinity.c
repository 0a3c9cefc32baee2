/* InterPodAffinity: pods that want to be near others or far from them, and the wishes of those that run.
 * Source: Kubernetes documentation, "Inter-pod affinity and anti-affinity".
 *
 * For each group of running pods it is worked out once what one of its pods means: a list of effects
 * (this topology key, so much). The nodes' groups then only add numbers to domains. */
#include "plugins.h"

static const char REQUIRED[] = "requiredDuringSchedulingIgnoredDuringExecution";
static const char PREFERRED[] = "preferredDuringSchedulingIgnoredDuringExecution";

/* podAffinityTerm, parsed. */
struct term {
    const struct neap_sched_views *v;
    struct neap_sched_selector *pods, *namespaces;
    const struct neap_value *names; /* of namespaces */
    const char *own;                /* namespace that counts when none is given; NULL: some are */
    unsigned key;
    int64_t weight;
};

enum table { EXISTING, AFFINITY, ANTI, TABLES, SCORE = 0 };

struct effect {
    unsigned key;
    enum table table;
    int64_t by;
};

struct group_effects {
    struct effect *items;
    size_t count, cap;
    bool known;
};

struct state {
    const struct neap_sched_views *v;
    const struct neap_sched_group *pod;
    struct term *affinity, *anti, *liked, *disliked;
    size_t affinity_count, anti_count, liked_count, disliked_count;
    struct group_effects *groups;
    unsigned group_max;
    int64_t *counts[TABLES]; /* by domain */
    size_t sizes[TABLES];
    unsigned *existing_keys; /* topology keys in EXISTING, or in SCORE */
    size_t key_count, key_cap;
    bool scoring, self; /* self: the pod matches its own affinity terms */
};

/* ---- terms ---- */

static void term_done(struct term *t)
{
    t->v->selector_free(t->pods);
    t->v->selector_free(t->namespaces);
}

static struct term term_read(const struct neap_sched_views *v, const struct neap_value *x,
                             const struct neap_sched_group *of)
{
    const struct neap_value *namespaces = v->get(x, "namespaces");
    const struct neap_value *selector = v->get(x, "namespaceSelector");
    struct term t = {.v = v, .names = namespaces, .weight = 1};
    t.pods = v->selector_new(v->get(x, "labelSelector"), v->get(x, "matchLabelKeys"),
                             v->get(x, "mismatchLabelKeys"), v->group_labels(of));
    t.namespaces = selector ? v->selector_new(selector, NULL, NULL, NULL) : NULL;
    t.own = v->size(namespaces) || selector ? NULL : v->group_namespace(of);
    t.key = v->topology_key(v->ctx, sched_text(v, x, "topologyKey"));
    return t;
}

static bool in_namespace(const struct term *t, const char *name)
{
    const struct neap_sched_views *v = t->v;
    const struct neap_value *x = NULL;
    if (t->own)
        return strcmp(t->own, name) == 0;
    while ((x = v->next(t->names, x, NULL)))
        if (v->text(x) && strcmp(v->text(x), name) == 0)
            return true;
    return t->namespaces && v->selector_match(t->namespaces, v->namespace_labels(v->ctx, name));
}

static bool term_matches(const struct term *t, const struct neap_sched_group *g)
{
    return in_namespace(t, t->v->group_namespace(g)) &&
           t->v->selector_match(t->pods, t->v->group_labels(g));
}

/* The terms of "podAffinity" or "podAntiAffinity"; owned. Preferred ones carry their weight. */
static struct term *terms_read(const struct neap_sched_views *v, const struct neap_sched_group *g,
                               const char *kind, const char *when, size_t *ret)
{
    const struct neap_value *list = v->get(v->get(v->group_affinity(g), kind), when), *x = NULL;
    struct term *out = NULL;
    size_t cap = 0;
    *ret = 0;
    while ((x = v->next(list, x, NULL))) {
        const struct neap_value *inner = when == PREFERRED ? v->get(x, "podAffinityTerm") : x;
        out = neap_grow(out, &cap, *ret, sizeof(*out));
        out[*ret] = term_read(v, inner, g);
        if (when == PREFERRED)
            out[*ret].weight = v->integer(v->get(x, "weight"));
        ++*ret;
    }
    return out;
}

static void terms_free(struct term *t, size_t count)
{
    for (size_t i = 0; i < count; i++)
        term_done(&t[i]);
    free(t);
}

static bool match_all(const struct term *t, size_t count, const struct neap_sched_group *g)
{
    for (size_t i = 0; i < count; i++)
        if (!term_matches(&t[i], g))
            return false;
    return count > 0;
}

/* ---- effects of a group ---- */

static void effect(struct group_effects *e, unsigned key, enum table table, int64_t by)
{
    e->items = neap_grow(e->items, &e->cap, e->count, sizeof(*e->items));
    e->items[e->count++] = (struct effect){key, table, by};
}

/* What the group's pods themselves ask for. */
static void wishes(struct state *s, struct group_effects *e, const struct neap_sched_group *g,
                   const char *kind, const char *when, enum table table, int64_t sign)
{
    size_t count;
    struct term *t = terms_read(s->v, g, kind, when, &count);
    for (size_t i = 0; i < count; i++)
        if (term_matches(&t[i], s->pod))
            effect(e, t[i].key, table, sign * t[i].weight);
    terms_free(t, count);
}

static void own(struct group_effects *e, const struct term *t, size_t count,
                const struct neap_sched_group *g, enum table table, int64_t sign)
{
    for (size_t i = 0; i < count; i++)
        if (term_matches(&t[i], g))
            effect(e, t[i].key, table, sign * t[i].weight);
}

static void work_out(struct state *s, struct group_effects *e, const struct neap_sched_group *g)
{
    bool has = s->v->group_affinity(g) != NULL;
    e->known = true;
    if (s->scoring) {
        own(e, s->liked, s->liked_count, g, SCORE, 1);
        own(e, s->disliked, s->disliked_count, g, SCORE, -1);
        if (has) { /* required affinity of others counts 1 */
            wishes(s, e, g, "podAffinity", REQUIRED, SCORE, 1);
            wishes(s, e, g, "podAffinity", PREFERRED, SCORE, 1);
            wishes(s, e, g, "podAntiAffinity", PREFERRED, SCORE, -1);
        }
        return;
    }
    if (has)
        wishes(s, e, g, "podAntiAffinity", REQUIRED, EXISTING, 1);
    if (match_all(s->affinity, s->affinity_count, g))
        for (size_t i = 0; i < s->affinity_count; i++)
            effect(e, s->affinity[i].key, AFFINITY, 1);
    own(e, s->anti, s->anti_count, g, ANTI, 1);
}

/* ---- sums by domain ---- */

static void remember_key(struct state *s, unsigned key)
{
    for (size_t i = 0; i < s->key_count; i++)
        if (s->existing_keys[i] == key)
            return;
    s->existing_keys =
        neap_grow(s->existing_keys, &s->key_cap, s->key_count, sizeof(*s->existing_keys));
    s->existing_keys[s->key_count++] = key;
}

static void sum(struct state *s, const struct effect *e, int domain, int64_t pods)
{
    size_t d = (size_t)domain;
    if (d >= s->sizes[e->table]) {
        size_t size = d + s->v->domain_max(s->v->ctx) + 1;
        s->counts[e->table] = neap_realloc(s->counts[e->table], size * sizeof(int64_t));
        memset(s->counts[e->table] + s->sizes[e->table], 0,
               (size - s->sizes[e->table]) * sizeof(int64_t));
        s->sizes[e->table] = size;
    }
    s->counts[e->table][d] += e->by * pods;
    if (e->table == EXISTING)
        remember_key(s, e->key);
}

static void tally_node(struct state *s, const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = s->v;
    unsigned groups = v->node_groups(n), pods;
    for (unsigned i = 0; i < groups; i++) {
        const struct neap_sched_group *g = v->node_group(n, i, &pods);
        struct group_effects *e = &s->groups[v->group_index(g)];
        if (!e->known)
            work_out(s, e, g);
        for (size_t j = 0; j < e->count; j++) {
            int d = v->node_domain(v->ctx, n, e->items[j].key);
            if (d >= 0)
                sum(s, &e->items[j], d, pods);
        }
    }
}

static void tally(struct state *s)
{
    const struct neap_sched_views *v = s->v;
    size_t nodes = v->node_count(v->ctx);
    s->group_max = v->group_max(v->ctx);
    s->groups = neap_calloc(s->group_max + 1, sizeof(*s->groups));
    for (size_t i = 0; i < nodes; i++)
        tally_node(s, v->node_by_index(v->ctx, i));
}

static int64_t at(struct state *s, enum table table, const struct neap_sched_node *n, unsigned key)
{
    int d = s->v->node_domain(s->v->ctx, n, key);
    return d >= 0 && (size_t)d < s->sizes[table] ? s->counts[table][d] : 0;
}

static void state_free(void *self, void *state)
{
    struct state *s = state;
    (void)self;
    terms_free(s->affinity, s->affinity_count);
    terms_free(s->anti, s->anti_count);
    terms_free(s->liked, s->liked_count);
    terms_free(s->disliked, s->disliked_count);
    for (unsigned i = 0; s->groups && i < s->group_max; i++)
        free(s->groups[i].items);
    free(s->groups);
    for (int i = 0; i < TABLES; i++)
        free(s->counts[i]);
    free(s->existing_keys);
    free(s);
}

/* ---- filter ---- */

static int pre_filter(void *self, const struct neap_sched_pod *p, void **ret)
{
    const struct neap_sched_views *v = self;
    const struct neap_sched_group *g = v->pod_group(p);
    if (!v->groups_with_affinity(v->ctx)) /* the pod's own group counts as well */
        return NEAP_SCHED_SKIP;
    struct state *s = *ret = neap_calloc(1, sizeof(*s));
    s->v = v;
    s->pod = g;
    s->affinity = terms_read(v, g, "podAffinity", REQUIRED, &s->affinity_count);
    s->anti = terms_read(v, g, "podAntiAffinity", REQUIRED, &s->anti_count);
    s->self = match_all(s->affinity, s->affinity_count, g);
    tally(s);
    return s->affinity_count || s->anti_count || s->key_count ? NEAP_SCHED_OK : NEAP_SCHED_SKIP;
}

/* The first of a series that wants to be together may go anywhere with the labels. */
static bool affinity_holds(struct state *s, const struct neap_sched_node *n)
{
    bool found = true;
    for (size_t i = 0; i < s->affinity_count; i++) {
        if (s->v->node_domain(s->v->ctx, n, s->affinity[i].key) < 0)
            return false;
        found &= at(s, AFFINITY, n, s->affinity[i].key) > 0;
    }
    return found || (!s->sizes[AFFINITY] && s->self);
}

static bool anti_holds(struct state *s, const struct neap_sched_node *n)
{
    for (size_t i = 0; i < s->anti_count; i++)
        if (at(s, ANTI, n, s->anti[i].key) > 0)
            return false;
    return true;
}

static bool others_agree(struct state *s, const struct neap_sched_node *n)
{
    for (size_t i = 0; i < s->key_count; i++)
        if (at(s, EXISTING, n, s->existing_keys[i]) > 0)
            return false;
    return true;
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    const struct neap_sched_views *v = self;
    struct state *s = state;
    (void)p;
    if (!affinity_holds(s, n)) {
        v->because(v->ctx, "node(s) didn't match pod affinity rules");
        return NEAP_SCHED_NEVER;
    }
    if (!anti_holds(s, n)) {
        v->because(v->ctx, "node(s) didn't match pod anti-affinity rules");
        return NEAP_SCHED_NO;
    }
    if (!others_agree(s, n)) {
        v->because(v->ctx, "node(s) didn't satisfy existing pods anti-affinity rules");
        return NEAP_SCHED_NO;
    }
    return NEAP_SCHED_OK;
}

/* ---- score ---- */

static int pre_score(void *self, const struct neap_sched_pod *p,
                     const struct neap_sched_node *const *nodes, size_t count, void **ret)
{
    const struct neap_sched_views *v = self;
    const struct neap_sched_group *g = v->pod_group(p);
    (void)nodes;
    (void)count;
    if (!v->groups_with_affinity(v->ctx))
        return NEAP_SCHED_SKIP;
    struct state *s = *ret = neap_calloc(1, sizeof(*s));
    s->v = v;
    s->pod = g;
    s->scoring = true;
    s->liked = terms_read(v, g, "podAffinity", PREFERRED, &s->liked_count);
    s->disliked = terms_read(v, g, "podAntiAffinity", PREFERRED, &s->disliked_count);
    tally(s);
    for (unsigned i = 0; i < s->group_max; i++)
        for (size_t j = 0; j < s->groups[i].count; j++)
            remember_key(s, s->groups[i].items[j].key);
    return s->key_count ? NEAP_SCHED_OK : NEAP_SCHED_SKIP;
}

static int64_t score(void *self, void *state, const struct neap_sched_pod *p,
                     const struct neap_sched_node *n)
{
    struct state *s = state;
    int64_t total = 0;
    (void)self;
    (void)p;
    for (size_t i = 0; i < s->key_count; i++)
        total += at(s, SCORE, n, s->existing_keys[i]);
    return total;
}

/* Between the least and the most: scores may be negative. */
static void normalize(void *self, void *state, const struct neap_sched_pod *p,
                      const struct neap_sched_node *const *nodes, int64_t *scores, size_t count)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    (void)self, (void)state, (void)p, (void)nodes;
    for (size_t i = 0; i < count; i++) {
        least = scores[i] < least ? scores[i] : least;
        most = scores[i] > most ? scores[i] : most;
    }
    for (size_t i = 0; i < count; i++)
        scores[i] = most > least ? NEAP_SCHED_SCORE_MAX * (scores[i] - least) / (most - least) : 0;
}

const struct neap_scheduler_plugin sched_plugin_interpod_affinity = {
    .header = SCHED_HEADER("InterPodAffinity"),
    .configure = sched_configure,
    .weight = 2,
    .retry_on = NEAP_SCHED_ON_POD_ADD | NEAP_SCHED_ON_POD_DELETE | NEAP_SCHED_ON_POD_LABELS |
                NEAP_SCHED_ON_NODE_ADD | NEAP_SCHED_ON_NODE_LABELS | NEAP_SCHED_ON_NAMESPACE,
    .pre_filter = pre_filter,
    .filter = filter,
    .pre_score = pre_score,
    .score = score,
    .normalize = normalize,
    .state_free = state_free,
};
