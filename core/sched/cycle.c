/* The cycle: one pod, the nodes that fit, the best of them, bound. */
#include "sched_internal.h"

enum { CYCLES_A_TURN = 256, REQUESTS_MAX = 2048, NODES_LEAST = 100, PERCENT_LEAST = 5 };
static const int64_t turn_ns = 10000000;

static void turn(void *arg);

void sched_wake(struct neap_sched *s)
{
    if (s->stopping) {
        if (s->requests == 0 && s->done) {
            void (*done)(void *) = s->done;
            s->done = NULL;
            neap_loop_post(s->options.loop, done, s->done_arg);
        }
        return;
    }
    if (s->cycling || !s->pods_synced || !s->nodes_synced || !sched_stores_synced(s) ||
        !s->active.count || s->requests >= REQUESTS_MAX)
        return;
    s->cycling = true;
    neap_loop_post(s->options.loop, turn, s);
}

/* ---- which nodes ---- */

/* How many nodes that fit are enough: fewer of many. */
static size_t enough(const struct neap_sched *s)
{
    size_t n = s->order_count, percent = s->options.nodes_percent;
    if (n < NODES_LEAST)
        return n;
    if (!percent) {
        percent = n / 125 < 50 ? 50 - n / 125 : 0;
        percent = percent < PERCENT_LEAST ? PERCENT_LEAST : percent;
    }
    n = n * percent / 100;
    return n < NODES_LEAST ? NODES_LEAST : n;
}

static void grow(struct neap_sched *s)
{
    size_t n = s->order_count + 1;
    if (n <= s->feasible_cap)
        return;
    s->feasible_cap = n * 2;
    s->feasible = neap_realloc(s->feasible, s->feasible_cap * sizeof(*s->feasible));
    s->scores = neap_realloc(s->scores, s->feasible_cap * sizeof(*s->scores));
    s->totals = neap_realloc(s->totals, s->feasible_cap * sizeof(*s->totals));
}

static bool try_node(struct neap_sched *s, struct neap_sched_pod *p, struct neap_sched_node *n)
{
    n->verdict = sched_filter(s, p, n);
    if (n->verdict == NEAP_SCHED_OK)
        return true;
    sched_reasons_count(s, 1);
    return false;
}

/* Fills s->feasible; starts where the last cycle ended. */
static size_t find(struct neap_sched *s, struct neap_sched_pod *p)
{
    size_t want = enough(s), found = 0, looked = 0, n = s->order_count;
    for (; looked < n && found < want; looked++) {
        struct neap_sched_node *node = s->order[(s->next_node + looked) % n];
        if (try_node(s, p, node))
            s->feasible[found++] = node;
    }
    s->next_node = n ? (s->next_node + looked) % n : 0;
    return found;
}

static struct neap_sched_node *choose(struct neap_sched *s, struct neap_sched_pod *p)
{
    int rc = sched_pre_filter(s, p);
    if (rc != NEAP_SCHED_OK) {
        for (size_t i = 0; i < s->order_count; i++)
            s->order[i]->verdict = rc;
        return NULL;
    }
    if (p->nominated && sched_filter(s, p, p->nominated) == NEAP_SCHED_OK)
        return p->nominated; /* room was made for it there */
    size_t found = find(s, p);
    return found ? sched_rank(s, p, found) : NULL;
}

/* ---- a pod that does not fit ---- */

void sched_failed(struct neap_sched *s, struct neap_sched_pod *p, char *message, const char *reason)
{
    p->refused_by = s->refused_by;
    sched_tell_unschedulable(s, p, reason, message);
    sched_retry_later(s, p);
    free(message);
}

/* Plugins may make room, else the built-in preemption does; returns the node promised. */
static const char *post_filter(struct neap_sched *s, struct neap_sched_pod *p, char **ret_message)
{
    for (unsigned i = 0; i < s->plugin_count; i++) {
        struct sched_plugin *x = &s->plugins[i];
        const char *node = NULL;
        if (x->t.post_filter && x->t.post_filter(x->self, p, &node) == NEAP_SCHED_OK && node)
            return node;
    }
    struct neap_sched_node *n = sched_preempt(s, p, ret_message);
    return n ? n->name : NULL;
}

/* What pre_filter said stands for all nodes, without their number. */
static char *explain(struct neap_sched *s, bool before_nodes)
{
    struct neap_buf b = NEAP_BUF_INIT;
    if (!before_nodes)
        return sched_explain(s, s->order_count);
    neap_buf_printf(&b, "0/%zu nodes are available:", s->order_count);
    for (unsigned i = 0; i < s->because_count; i++)
        neap_buf_printf(&b, "%s %s", i ? "," : "", s->reasons[s->because[i]].text);
    neap_buf_char(&b, '.');
    return neap_buf_take(&b);
}

static void unschedulable(struct neap_sched *s, struct neap_sched_pod *p, bool before_nodes)
{
    char *message = explain(s, before_nodes), *more = NULL;
    uint64_t refused_by = s->refused_by;
    const char *node = post_filter(s, p, &more);
    s->refused_by = refused_by;
    if (more) {
        char *both = neap_asprintf("%s preemption: %s", message, more);
        free(message);
        free(more);
        message = both;
    }
    sched_nominate(s, p, node ? node : p->nominated_name);
    sched_failed(s, p, message, "Unschedulable");
}

/* ---- a node was found ---- */

static void give_up(struct neap_sched *s, struct neap_sched_pod *p, const char *why)
{
    sched_uncount(s, p);
    sched_failed(s, p, neap_strdup(why), "Unschedulable");
    sched_event(s, NEAP_SCHED_ON_POD_DELETE, NULL, p); /* its place is free again */
}

static const char *first_reason(const struct neap_sched *s, const char *dflt)
{
    return s->because_count ? s->reasons[s->because[0]].text : dflt;
}

static void assume(struct neap_sched *s, struct neap_sched_pod *p, struct neap_sched_node *n)
{
    uint64_t timeout_ms = SCHED_PERMIT_LONGEST_MS;
    sched_nominate(s, p, NULL);
    sched_count(s, p, n->name); /* assumed until the binding's event comes */
    s->because_count = 0;
    if (sched_reserve(s, p) != NEAP_SCHED_OK) {
        give_up(s, p, first_reason(s, "a plugin could not reserve what the pod needs"));
        return;
    }
    int rc = sched_permit(s, p, &timeout_ms);
    if (rc == NEAP_SCHED_WAIT) {
        p->until_ns = neap_clock_mono(s->options.clock) + (int64_t)timeout_ms * 1000000;
        sched_state(s, p, SCHED_PERMIT);
        neap_timer_start(s->timer, 0, 0); /* it finds the next deadline */
    } else if (rc != NEAP_SCHED_OK) {
        sched_unreserve(s, p);
        give_up(s, p, first_reason(s, "a plugin does not permit the binding"));
    } else {
        sched_bind(s, p);
    }
}

void sched_permitted(struct neap_sched *s, struct neap_sched_pod *p, bool allow, const char *why)
{
    if (allow && p->node && !neap_object_deleting(p->object)) {
        sched_bind(s, p);
        return;
    }
    sched_unreserve(s, p);
    s->refused_by = 0;
    if (neap_object_deleting(p->object)) {
        sched_uncount(s, p);
        sched_state(s, p, SCHED_IDLE);
    } else {
        give_up(s, p,
                !p->node ? "the node is gone"
                : why    ? why
                         : "a plugin does not permit the binding");
    }
}

/* ---- the cycle ---- */

static void cycle(struct neap_sched *s, struct neap_sched_pod *p)
{
    const char *profile = s->options.scheduler_name;
    int64_t start = neap_clock_mono(s->options.clock);
    s->refused_by = 0;
    sched_topology_trim(s);
    sched_reasons_reset(s);
    sched_order(s);
    grow(s);
    struct neap_sched_node *n = choose(s, p);
    bool before_nodes = !n && s->because_count && s->order_count;
    unsigned said = s->because_count;
    sched_cycle_end(s);
    s->because_count = said;
    double seconds = (double)(neap_clock_mono(s->options.clock) - start) / 1e9;
    neap_metric_observe(&sched_metrics[SCHED_M_ALGORITHM_SECONDS], seconds);
    neap_metric_add(&sched_metrics[SCHED_M_ATTEMPTS], 1, n ? "scheduled" : "unschedulable",
                    profile);
    if (n)
        assume(s, p, n);
    else if (!s->order_count)
        sched_failed(s, p, neap_strdup("no nodes available to schedule pods"), "Unschedulable");
    else
        unschedulable(s, p, before_nodes);
    seconds = (double)(neap_clock_mono(s->options.clock) - start) / 1e9;
    neap_metric_observe(&sched_metrics[SCHED_M_ATTEMPT_SECONDS], seconds,
                        n ? "scheduled" : "unschedulable", profile);
}

static void turn(void *arg)
{
    struct neap_sched *s = arg;
    int64_t start = neap_clock_mono(s->options.clock);
    s->cycling = false;
    for (int i = 0; i < CYCLES_A_TURN && !s->stopping && s->requests < REQUESTS_MAX; i++) {
        struct neap_sched_pod *p = sched_pop(s);
        if (!p)
            break;
        cycle(s, p);
        if (neap_clock_mono(s->options.clock) - start > turn_ns)
            break;
    }
    sched_wake(s);
}
