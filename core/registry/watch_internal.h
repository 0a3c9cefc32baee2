/* Between ring.c, wake.c and watch.c.
 *
 * A watch is idle when next() has returned 0: it has seen all that concerns it. An event wakes only the
 * idle watches of its buckets and sets their cursor to itself: what happened in between was in other
 * buckets. A watch that is not idle reads on from its cursor and filters. */
#ifndef NEAP_CORE_REGISTRY_WATCH_INTERNAL_H
#define NEAP_CORE_REGISTRY_WATCH_INTERNAL_H

#include "core/registry/registry_internal.h"

/* The watches of one loop that are to be woken: one post for all of them. */
struct neap_waker {
    struct neap_list link; /* r->wakers */
    struct neap_loop *loop;
    pthread_mutex_t lock;
    struct neap_list ready; /* struct neap_watch.ready */
    unsigned refs;          /* watches and a post under way */
    bool posted;
};

struct neap_watch {
    struct neap_registry *r;
    struct neap_watch_options options;
    char *namespace_;
    struct neap_resource *resource;
    struct neap_waker *waker;
    struct neap_list link, ready;
    char *bucket;   /* its key in resource->buckets */
    int field;      /* that it stands under; -1: none */
    uint64_t after; /* events at or below are not its */
    uint64_t cursor, seen;
    bool idle, expired;
};

/* All under watch_lock. */
static inline struct neap_ring_event *neap_ring_event_at(const struct neap_ring *ring, uint64_t seq)
{
    return &ring->at[seq & (ring->cap - 1)];
}
/* wake.c: a watch takes its place among those of its resource, and leaves it. */
void neap_watch_bucket_join(struct neap_watch *w);
void neap_watch_bucket_leave(struct neap_watch *w);
/* Wakes who an event may concern. <before>: the rings' revision before this batch. */
void neap_watch_wake_candidates(struct neap_resource *res, uint64_t seq, uint64_t before,
                                const struct neap_ring_event *e);
/* No longer idle: <wake> will be called by neap_waker_post(). */
void neap_watch_make_ready(struct neap_watch *w);
/* The loop's waker; a reference. */
struct neap_waker *neap_waker_for(struct neap_registry *r, struct neap_loop *loop);
void neap_waker_post(struct neap_waker *k);
void neap_waker_forget(struct neap_waker *k, struct neap_watch *w);
void neap_waker_unref(struct neap_waker *k);

#endif
