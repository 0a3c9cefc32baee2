/* Who is tried next: a heap by priority, a heap of those that back off, and those that wait until
 * something happens that the plugins which refused them care about. */
#include "sched_internal.h"

/* ---- heaps ---- */

static bool before_active(const struct neap_sched_pod *a, const struct neap_sched_pod *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->sequence < b->sequence;
}

static bool before_backoff(const struct neap_sched_pod *a, const struct neap_sched_pod *b)
{
    return a->until_ns != b->until_ns ? a->until_ns < b->until_ns : a->sequence < b->sequence;
}

static void place(struct sched_heap *h, size_t at, struct neap_sched_pod *p)
{
    h->items[at - 1] = p;
    p->heap_at = at;
}

static void sift(struct sched_heap *h, size_t at)
{
    struct neap_sched_pod *p = h->items[at - 1];
    while (at > 1 && h->before(p, h->items[at / 2 - 1])) {
        place(h, at, h->items[at / 2 - 1]);
        at /= 2;
    }
    for (;;) {
        size_t child = at * 2;
        if (child > h->count)
            break;
        if (child < h->count && h->before(h->items[child], h->items[child - 1]))
            child++;
        if (!h->before(h->items[child - 1], p))
            break;
        place(h, at, h->items[child - 1]);
        at = child;
    }
    place(h, at, p);
}

static void heap_add(struct sched_heap *h, struct neap_sched_pod *p)
{
    h->items = neap_grow(h->items, &h->cap, h->count, sizeof(struct neap_sched_pod *));
    h->items[h->count++] = p;
    sift(h, h->count);
}

static void heap_remove(struct sched_heap *h, struct neap_sched_pod *p)
{
    size_t at = p->heap_at;
    struct neap_sched_pod *last = h->items[--h->count];
    p->heap_at = 0;
    if (last == p)
        return;
    place(h, at, last);
    sift(h, at);
}

/* ---- states ---- */

/* What could help it: the events of the plugins that refused it. */
static uint32_t interests(const struct neap_sched *s, const struct neap_sched_pod *p)
{
    uint32_t all = (1u << SCHED_EVENT_BITS) - 1, bits = 0;
    for (unsigned i = 0; i < s->plugin_count; i++)
        if (p->refused_by & UINT64_C(1) << i)
            bits |= s->plugins[i].t.retry_on ? s->plugins[i].t.retry_on : all;
    return p->refused_by ? bits & all : all;
}

static void count_interests(struct neap_sched *s, const struct neap_sched_pod *p, int sign)
{
    uint32_t bits = interests(s, p);
    for (unsigned i = 0; i < SCHED_EVENT_BITS; i++)
        if (bits & 1u << i)
            s->waiting_for[i] += (unsigned)sign;
}

static void leave(struct neap_sched *s, struct neap_sched_pod *p)
{
    if (p->state == SCHED_ACTIVE && p->heap_at)
        heap_remove(&s->active, p);
    else if (p->state == SCHED_BACKOFF)
        heap_remove(&s->backoff, p);
    else if (p->state == SCHED_UNSCHEDULABLE)
        count_interests(s, p, -1);
    neap_list_remove(&p->link);
}

void sched_state(struct neap_sched *s, struct neap_sched_pod *p, enum sched_state to)
{
    leave(s, p);
    s->counts[p->state]--;
    s->counts[to]++;
    p->state = to;
    if (to == SCHED_ACTIVE)
        heap_add(&s->active, p);
    else if (to == SCHED_BACKOFF)
        heap_add(&s->backoff, p);
    else if (to == SCHED_GATED)
        neap_list_append(&s->gated, &p->link);
    else if (to == SCHED_PERMIT)
        neap_list_append(&s->permits, &p->link);
    else if (to == SCHED_UNSCHEDULABLE) {
        neap_list_append(&s->unschedulable, &p->link);
        count_interests(s, p, 1);
    }
}

static void arm(struct neap_sched *s)
{
    int64_t now = neap_clock_mono(s->options.clock), at = INT64_MAX;
    if (s->backoff.count)
        at = s->backoff.items[0]->until_ns;
    neap_list_foreach(&s->permits, e)
    {
        const struct neap_sched_pod *p = neap_list_entry(e, struct neap_sched_pod, link);
        at = p->until_ns < at ? p->until_ns : at;
    }
    if (!neap_list_empty(&s->unschedulable) && s->flushed_ns + SCHED_FLUSH_EVERY_NS < at)
        at = s->flushed_ns + SCHED_FLUSH_EVERY_NS;
    if (at == INT64_MAX || s->stopping)
        neap_timer_stop(s->timer);
    else
        neap_timer_start(s->timer, at > now ? (uint64_t)(at - now + 999999) / 1000000 : 0, 0);
}

static int64_t backoff_ends(const struct neap_sched_pod *p)
{
    int64_t wait = SCHED_BACKOFF_FIRST_NS;
    for (unsigned i = 1; i < p->attempts && wait < SCHED_BACKOFF_LAST_NS; i++)
        wait *= 2;
    return p->since_ns + (wait < SCHED_BACKOFF_LAST_NS ? wait : SCHED_BACKOFF_LAST_NS);
}

void sched_enqueue(struct neap_sched *s, struct neap_sched_pod *p, const char *event)
{
    int64_t now = neap_clock_mono(s->options.clock);
    bool wait = p->attempts && backoff_ends(p) > now;
    if (!p->sequence) {
        p->sequence = ++s->sequence;
        p->queued_ns = now;
    }
    p->until_ns = wait ? backoff_ends(p) : 0;
    sched_state(s, p, wait ? SCHED_BACKOFF : SCHED_ACTIVE);
    neap_metric_add(&sched_metrics[SCHED_M_INCOMING], 1, wait ? "backoff" : "active", event);
    if (wait)
        arm(s);
    else
        sched_wake(s);
}

void sched_retry_later(struct neap_sched *s, struct neap_sched_pod *p)
{
    p->since_ns = neap_clock_mono(s->options.clock);
    if (neap_list_empty(&s->unschedulable))
        s->flushed_ns = p->since_ns;
    sched_state(s, p, SCHED_UNSCHEDULABLE);
    neap_metric_add(&sched_metrics[SCHED_M_INCOMING], 1, "unschedulable", "ScheduleAttemptFailure");
    arm(s);
}

struct neap_sched_pod *sched_pop(struct neap_sched *s)
{
    struct neap_sched_pod *p = s->active.count ? s->active.items[0] : NULL;
    if (p) {
        heap_remove(&s->active, p);
        p->attempts++;
    }
    return p;
}

/* ---- events ---- */

static const char *event_name(uint32_t event)
{
    static const char *const names[SCHED_EVENT_BITS] = {
        "AssignedPodAdd", "AssignedPodDelete",     "AssignedPodUpdate", "PodRequestScaledDown",
        "NodeAdd",        "NodeAllocatableChange", "NodeLabelChange",   "NodeTaintChange",
        "NodeDelete",     "NamespaceUpdate"};
    return names[__builtin_ctz(event)];
}

static bool helps(struct neap_sched *s, struct neap_sched_pod *p, uint32_t event,
                  const struct neap_sched_node *node, const struct neap_sched_pod *other)
{
    if (!p->refused_by)
        return true;
    for (unsigned i = 0; i < s->plugin_count; i++) {
        struct sched_plugin *x = &s->plugins[i];
        uint32_t on = x->t.retry_on ? x->t.retry_on & event : event;
        if (!(p->refused_by & UINT64_C(1) << i) || !on)
            continue;
        if (!x->t.retry || x->t.retry(x->self, on, p, node, other))
            return true;
    }
    return false;
}

void sched_event(struct neap_sched *s, uint32_t event, const struct neap_sched_node *node,
                 const struct neap_sched_pod *other)
{
    bool any = false;
    for (unsigned i = 0; i < SCHED_EVENT_BITS; i++)
        any |= (event & 1u << i) && s->waiting_for[i];
    if (!any)
        return;
    neap_list_foreach(&s->unschedulable, e)
    {
        struct neap_sched_pod *p = neap_list_entry(e, struct neap_sched_pod, link);
        if (p != other && helps(s, p, event, node, other))
            sched_enqueue(s, p, event_name(event));
    }
}

void sched_tick(struct neap_sched *s)
{
    int64_t now = neap_clock_mono(s->options.clock);
    while (s->backoff.count && s->backoff.items[0]->until_ns <= now) {
        struct neap_sched_pod *p = s->backoff.items[0];
        sched_state(s, p, SCHED_ACTIVE);
        neap_metric_add(&sched_metrics[SCHED_M_INCOMING], 1, "active", "BackoffComplete");
    }
    neap_list_foreach(&s->permits, e)
    {
        struct neap_sched_pod *p = neap_list_entry(e, struct neap_sched_pod, link);
        if (p->until_ns <= now)
            sched_permitted(s, p, false, "the plugin that held the pod did not decide in time");
    }
    if (now - s->flushed_ns >= SCHED_FLUSH_EVERY_NS) {
        s->flushed_ns = now;
        neap_list_foreach(&s->unschedulable, e)
        {
            struct neap_sched_pod *p = neap_list_entry(e, struct neap_sched_pod, link);
            if (now - p->since_ns > SCHED_FLUSH_AFTER_NS)
                sched_enqueue(s, p, "UnschedulableTimeout");
        }
    }
    arm(s);
    sched_wake(s);
}

static void fired(void *arg)
{
    sched_tick(arg);
}

void sched_queue_open(struct neap_sched *s)
{
    neap_list_init(&s->unschedulable);
    neap_list_init(&s->gated);
    neap_list_init(&s->permits);
    s->active.before = before_active;
    s->backoff.before = before_backoff;
    s->timer = neap_timer_new(s->options.loop, fired, s);
}

void sched_queue_close(struct neap_sched *s)
{
    free(s->active.items);
    free(s->backoff.items);
}
