/* Rings: the events of each resource, bounded together by bytes and time. The oldest of all goes first;
 * <order> says whose it is. */
#include "core/registry/watch_internal.h"

/* ---- rings (under watch_lock) ---- */

static void ring_push(struct neap_ring *ring, const struct neap_ring_event *e)
{
    if (ring->head - ring->tail == ring->cap) {
        struct neap_ring bigger = *ring;
        bigger.cap = ring->cap ? ring->cap * 2 : 16;
        bigger.at = neap_malloc(bigger.cap * sizeof(*bigger.at));
        for (uint64_t i = ring->tail; i < ring->head; i++)
            *neap_ring_event_at(&bigger, i) = *neap_ring_event_at(ring, i);
        free(ring->at);
        *ring = bigger;
    }
    *neap_ring_event_at(ring, ring->head++) = *e;
}

static void order_push(struct neap_registry *r, const struct neap_resource *res)
{
    if (r->order_count == r->order_cap) {
        size_t cap = r->order_cap ? r->order_cap * 2 : 256;
        uint16_t *to = neap_malloc(cap * sizeof(*to));
        for (size_t i = 0; i < r->order_count; i++)
            to[i] = r->order[(r->order_tail + i) & (r->order_cap - 1)];
        free(r->order);
        r->order = to;
        r->order_cap = cap;
        r->order_tail = 0;
    }
    r->order[(r->order_tail + r->order_count++) & (r->order_cap - 1)] =
        (uint16_t)(res - r->resources);
}

static struct neap_ring_event *oldest(struct neap_registry *r, struct neap_ring **ret)
{
    if (!r->order_count)
        return NULL;
    *ret = &r->resources[r->order[r->order_tail]].ring;
    return neap_ring_event_at(*ret, (*ret)->tail);
}

/* Forgets the oldest event of all; its objects go to <gone>: freed after the lock. */
static void evict(struct neap_registry *r, struct neap_garbage *gone)
{
    struct neap_ring *ring;
    struct neap_ring_event *e = oldest(r, &ring);
    neap_garbage_add(gone, e->old, NEAP_GARBAGE_OBJECT, 0);
    neap_garbage_add(gone, e->new_, NEAP_GARBAGE_OBJECT, 0);
    ring->evicted = e->revision;
    r->ring_bytes -= e->bytes;
    if (e->revision > r->compacted)
        r->compacted = e->revision;
    ring->tail++;
    r->order_tail = (r->order_tail + 1) & (r->order_cap - 1);
    r->order_count--;
    if (ring->tail == ring->head) { /* nothing is kept for nobody */
        free(ring->at);
        ring->at = NULL;
        ring->cap = 0;
    }
}

static bool is_over(struct neap_registry *r, int64_t now)
{
    struct neap_ring *ring;
    struct neap_ring_event *e = oldest(r, &ring);
    return e && (r->ring_bytes > r->options.history_bytes ||
                 now - e->at > (int64_t)r->options.history_ns);
}

void neap_registry_ring_expire(struct neap_registry *r)
{
    struct neap_garbage gone = {0};
    int64_t now = neap_clock_mono(r->clock);
    pthread_mutex_lock(&r->watch_lock);
    while (is_over(r, now))
        evict(r, &gone);
    pthread_mutex_unlock(&r->watch_lock);
    neap_garbage_free(&gone);
}

void neap_registry_ring_compact(struct neap_registry *r, uint64_t revision)
{
    struct neap_garbage gone = {0};
    struct neap_ring *ring;
    struct neap_ring_event *e;
    pthread_mutex_lock(&r->watch_lock);
    while ((e = oldest(r, &ring)) && e->revision <= revision)
        evict(r, &gone);
    for (unsigned i = 0; i < r->resource_count; i++)
        if (r->resources[i].ring.evicted < revision)
            r->resources[i].ring.evicted = revision;
    if (r->compacted < revision)
        r->compacted = revision;
    pthread_mutex_unlock(&r->watch_lock);
    neap_garbage_free(&gone);
}

void neap_registry_ring_publish(struct neap_registry *r, uint64_t revision)
{
    struct neap_garbage gone = {0};
    pthread_mutex_lock(&r->watch_lock);
    uint64_t before = r->ring_revision;
    for (size_t i = 0; i < r->event_count; i++) {
        struct neap_resource *res = r->event_resources[i];
        ring_push(&res->ring, &r->events[i]);
        order_push(r, res);
        r->ring_bytes += r->events[i].bytes;
        neap_watch_wake_candidates(res, res->ring.head - 1, before, &r->events[i]);
    }
    r->ring_revision = revision;
    int64_t now = neap_clock_mono(r->clock);
    while (is_over(r, now))
        evict(r, &gone);
    pthread_mutex_unlock(&r->watch_lock);
    neap_garbage_free(&gone);
    r->event_count = 0;
}

void neap_registry_ring_done(struct neap_registry *r)
{
    struct neap_garbage gone = {0};
    while (r->order_count)
        evict(r, &gone);
    neap_garbage_free(&gone);
    free(r->order);
}
