/* Preemption: pods of lower priority make room. The rules are those of kube-scheduler's
 * DefaultPreemption: as few broken budgets, as unimportant and as few victims as possible. */
#include "sched_internal.h"

enum { CANDIDATES_LEAST = 100, CANDIDATES_PERCENT = 10 };

struct candidate {
    struct neap_sched_node *node;
    struct neap_sched_pod **victims;
    size_t count, broken;           /* broken: disruption budgets */
    int64_t highest, sum, earliest; /* start of the most important victim */
};

/* ---- may it preempt at all ---- */

/* Ends because the scheduler wanted its room; who ends for another reason may take long, and is not waited for. */
static bool was_preempted(const struct neap_sched_pod *q)
{
    size_t i, n;
    yyjson_val *c;
    bool yes = false;
    if (!q->group->terminating)
        return false;
    yyjson_doc *doc = neap_object_parse(q->object, NULL);
    yyjson_arr_foreach(neap_json_val_at(yyjson_doc_get_root(doc), "status.conditions"), i, n, c)
    {
        yes = yes ||
              (neap_streq(yyjson_get_str(yyjson_obj_get(c, "type")), "DisruptionTarget") &&
               neap_streq(yyjson_get_str(yyjson_obj_get(c, "status")), "True") &&
               neap_streq(yyjson_get_str(yyjson_obj_get(c, "reason")), "PreemptionByScheduler"));
    }
    yyjson_doc_free(doc);
    return yes;
}

/* A promised node that can never be right any more is not waited for. */
static bool node_is_clearing(const struct neap_sched_pod *p)
{
    if (!p->nominated || p->nominated->verdict == NEAP_SCHED_NEVER)
        return false;
    neap_list_foreach(&p->nominated->pods, e)
    {
        const struct neap_sched_pod *q = neap_list_entry(e, struct neap_sched_pod, on_node);
        if (q->priority < p->priority && was_preempted(q))
            return true;
    }
    return false;
}

static const char *not_eligible(const struct neap_sched_pod *p)
{
    const char *policy = neap_json_val_str_at(yyjson_doc_get_root(p->doc), "spec.preemptionPolicy");
    if (neap_streq(policy, "Never"))
        return "not eligible due to preemptionPolicy=Never.";
    if (node_is_clearing(p))
        return "not eligible due to a terminating pod on the nominated node.";
    return NULL;
}

/* ---- disruption budgets ---- */

static bool budget_matches(struct sched_stored *o, const struct neap_sched_pod *p)
{
    struct neap_selector *sel = NULL;
    struct neap_err err = NEAP_ERR_INIT;
    yyjson_val *selector = neap_json_val_at(sched_stored_value(o), "spec.selector");
    bool ok = strcmp(neap_object_namespace(o->object), p->group->namespace_) == 0 &&
              neap_selector_from_label_selector(selector, &sel, &err) == 0;
    ok = ok && neap_selector_match_labels(sel, p->group->labels);
    if (sel)
        neap_selector_free(sel);
    neap_err_done(&err);
    return ok;
}

/* True: evicting it would break a budget that those before left nothing of. */
static bool breaks_budget(struct neap_sched *s, const struct neap_sched_pod *p,
                          struct neap_map *used)
{
    size_t at = 0;
    const char *key;
    void *value;
    bool broken = false;
    while (neap_map_next(&s->stores[SCHED_BUDGETS].objects, &at, &key, &value)) {
        yyjson_val *root = sched_stored_value(value);
        if (!budget_matches(value, p) ||
            yyjson_obj_get(neap_json_val_at(root, "status.disruptedPods"),
                           neap_object_name(p->object)))
            continue;
        int64_t allowed = yyjson_get_sint(neap_json_val_at(root, "status.disruptionsAllowed"));
        uintptr_t taken = (uintptr_t)neap_map_get(used, key) + 1;
        neap_map_set(used, key, (void *)taken);
        broken |= (int64_t)taken > allowed;
    }
    return broken;
}

/* ---- what would happen on a node ---- */

static void put(struct neap_sched *s, struct neap_sched_node *n, struct neap_sched_pod *p, int sign)
{
    sched_node_count(s, n, p, sign);
}

static bool fits(struct neap_sched *s, struct neap_sched_pod *p, struct neap_sched_node *n)
{
    sched_cycle_end(s);
    s->because_count = 0;
    return sched_pre_filter(s, p) == NEAP_SCHED_OK && sched_filter(s, p, n) == NEAP_SCHED_OK;
}

/* The more important first: priority, then who runs longer. */
static int by_importance(const void *a, const void *b)
{
    const struct neap_sched_pod *x = *(struct neap_sched_pod *const *)a;
    const struct neap_sched_pod *y = *(struct neap_sched_pod *const *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return x->started_ns < y->started_ns ? -1 : x->started_ns > y->started_ns;
}

static size_t lower_pods(struct neap_sched_node *n, int64_t priority, struct neap_sched_pod ***ret)
{
    size_t count = 0, cap = 0;
    struct neap_sched_pod **pods = NULL;
    neap_list_foreach(&n->pods, e)
    {
        struct neap_sched_pod *q = neap_list_entry(e, struct neap_sched_pod, on_node);
        /* what is being bound now has no container to stop yet and is not known to its agent */
        if (q->priority >= priority || q->state != SCHED_BOUND)
            continue;
        pods = neap_grow(pods, &cap, count, sizeof(struct neap_sched_pod *));
        pods[count++] = q;
    }
    *ret = pods;
    return count;
}

/* Puts pods back, most important first, as long as the incoming one still fits. */
static void reprieve(struct neap_sched *s, struct neap_sched_pod *p, struct candidate *c,
                     struct neap_sched_pod **pods, const bool *breaks, size_t count)
{
    for (int round = 0; round < 2; round++) /* those with a budget to break come first */
        for (size_t i = 0; i < count; i++) {
            if (breaks[i] != (round == 0))
                continue;
            put(s, c->node, pods[i], 1);
            if (fits(s, p, c->node))
                continue;
            put(s, c->node, pods[i], -1);
            c->victims[c->count++] = pods[i];
            c->broken += breaks[i];
        }
}

static void weigh(struct candidate *c)
{
    qsort(c->victims, c->count, sizeof(struct neap_sched_pod *), by_importance);
    c->highest = c->victims[0]->priority;
    c->earliest = c->victims[0]->started_ns;
    for (size_t i = 0; i < c->count; i++)
        c->sum += c->victims[i]->priority + INT32_MAX + INT64_C(1);
}

/* False: nothing helps there; s->because says why. The node is as before. */
static bool dry_run(struct neap_sched *s, struct neap_sched_pod *p, struct neap_sched_node *n,
                    struct candidate *c)
{
    struct neap_sched_pod **pods;
    struct neap_map used = NEAP_MAP_INIT;
    size_t count = lower_pods(n, p->priority, &pods);
    if (!count) {
        s->because_count = 0;
        sched_because(s, "No preemption victims found for incoming pod");
        return false;
    }
    *c = (struct candidate){.node = n, .victims = neap_calloc(count, sizeof(*pods))};
    bool *breaks = neap_calloc(count, sizeof(*breaks));
    qsort(pods, count, sizeof(*pods), by_importance);
    for (size_t i = 0; i < count; i++)
        put(s, n, pods[i], -1);
    bool ok = fits(s, p, n);
    if (ok) {
        for (size_t i = 0; i < count; i++)
            breaks[i] = breaks_budget(s, pods[i], &used);
        reprieve(s, p, c, pods, breaks, count);
    } else {
        for (size_t i = 0; i < count; i++)
            put(s, n, pods[i], 1);
    }
    for (size_t i = 0; i < c->count; i++)
        put(s, n, c->victims[i], 1);
    ok = ok && c->count;
    if (ok)
        weigh(c);
    else
        free(c->victims);
    neap_map_done(&used, NULL);
    free(breaks);
    free(pods);
    return ok;
}

static bool better(const struct candidate *a, const struct candidate *b)
{
    if (a->broken != b->broken)
        return a->broken < b->broken;
    if (a->highest != b->highest)
        return a->highest < b->highest;
    if (a->sum != b->sum)
        return a->sum < b->sum;
    if (a->count != b->count)
        return a->count < b->count;
    return a->earliest > b->earliest;
}

/* ---- the best node ---- */

static bool find(struct neap_sched *s, struct neap_sched_pod *p, struct candidate *best)
{
    size_t n = s->order_count, want = n * CANDIDATES_PERCENT / 100, found = 0;
    size_t start = s->next_node;
    want = want < CANDIDATES_LEAST ? CANDIDATES_LEAST : want;
    for (size_t i = 0; i < n && found < want; i++) {
        struct neap_sched_node *node = s->order[(start + i) % n];
        struct candidate c;
        if (node->verdict != NEAP_SCHED_NO) {
            s->because_count = 0;
            sched_because(s, "Preemption is not helpful for scheduling");
            sched_reasons_count(s, 1);
        } else if (!dry_run(s, p, node, &c)) {
            sched_reasons_count(s, 1);
        } else if (found++ == 0) {
            *best = c;
        } else if (better(&c, best)) {
            free(best->victims);
            *best = c;
        } else {
            free(c.victims);
        }
    }
    sched_cycle_end(s);
    return found > 0;
}

/* Pods of lower priority that were promised the node look elsewhere. */
static void disappoint(struct neap_sched *s, struct neap_sched_node *n, int64_t priority)
{
    neap_list_foreach(&n->nominated, e)
    {
        struct neap_sched_pod *q = neap_list_entry(e, struct neap_sched_pod, nomination);
        if (q->priority < priority)
            sched_clear_nomination(s, q);
    }
}

struct neap_sched_node *sched_preempt(struct neap_sched *s, struct neap_sched_pod *p,
                                      char **ret_message)
{
    struct candidate best = {0};
    const char *no = s->preemption ? not_eligible(p) : "";
    if (no) {
        *ret_message = *no ? neap_strdup(no) : NULL;
        return NULL;
    }
    sched_reasons_reset(s);
    if (!find(s, p, &best)) {
        sched_nominate(s, p, NULL); /* what was promised will not come */
        *ret_message = sched_explain(s, s->order_count);
        return NULL;
    }
    neap_metric_add(&sched_metrics[SCHED_M_PREEMPTIONS], 1);
    neap_metric_observe(&sched_metrics[SCHED_M_VICTIMS], (double)best.count);
    disappoint(s, best.node, p->priority);
    for (size_t i = 0; i < best.count; i++)
        if (!best.victims[i]->group->terminating)
            sched_evict(s, best.victims[i], p);
    *ret_message = neap_asprintf("found a potential placement for pod on node %s, preempting %zu "
                                 "victims",
                                 best.node->name, best.count);
    free(best.victims);
    return best.node;
}
