/* Between the files of core/registry. Locks: `snap_lock` (the list of snapshots, holds), `watch_lock`
 * (rings, watchers, waits; a waker's own lock is taken inside it), `queue_lock` (the writer's queue).
 * None of the three is taken while another is held. Everything else belongs to the writer thread. */
#ifndef NEAP_CORE_REGISTRY_INTERNAL_H
#define NEAP_CORE_REGISTRY_INTERNAL_H

#include "core/registry/tree.h"

#include <neap/log.h>
#include <neap/map.h>
#include <neap/metrics.h>
#include <neap/registry.h>
#include <pthread.h>

enum {
    NEAP_REGISTRY_GROUP_MAX = 1024,       /* transactions of one fsync */
    NEAP_REGISTRY_GROUP_BYTES = 16 << 20, /* and about so many bytes */
    NEAP_REGISTRY_OPS_MAX = 2048,         /* operations of one transaction */
    NEAP_REGISTRY_HELD_MAX = 10000,       /* named pins */
    NEAP_REGISTRY_EXPIRE_MAX = 256,       /* records that one turn expires */
    NEAP_REGISTRY_FANOUT = 256,           /* watchers woken in one turn of their loop */
    NEAP_REGISTRY_TICK_MS = 1000,         /* housekeeping at least so often */
    NEAP_REGISTRY_TRIM = 1024,            /* transactions after which a pause trims the heap, */
    NEAP_REGISTRY_TRIM_PAUSE = 128,       /* which is: fewer than so many in a second */
    NEAP_REGISTRY_KEY_MAX = 1024,         /* as core/object's */
    NEAP_REGISTRY_OWNER_TREE = 0,         /* index in a snapshot's trees */
};

struct neap_snapshot {
    struct neap_list link; /* r->snapshots, oldest first */
    struct neap_registry *r;
    size_t refs; /* under snap_lock */
    uint64_t revision, batch;
    struct neap_garbage garbage; /* what the next batch replaced */
    size_t tree_count;
    struct neap_tree trees[];
};

/* ---- rings ---- */

struct neap_ring_event {
    uint64_t revision;
    struct neap_object *old, *new_; /* deleted: old is the last state at `revision`, new_ NULL */
    int64_t at;                     /* mono ns */
    size_t bytes;
};

/* Events head - tail of them, by sequence number; a power of two of slots. */
struct neap_ring {
    struct neap_ring_event *at;
    size_t cap;
    uint64_t tail, head;
    uint64_t evicted; /* the newest revision that is gone from here */
};

struct neap_resource {
    const struct neap_kind *kind; /* storage; NULL: no such index */
    unsigned tree;                /* of its objects; its fields' follow */
    bool touched;                 /* by the batch under way */
    struct neap_ring ring;
    struct neap_map buckets; /* struct bucket * by "n/<name>", "f<i>/<value>", "s/<namespace>" */
    unsigned *by_field;      /* watchers that stand under field i */
    unsigned by_name, watchers;
};

/* ---- the writer ---- */

struct neap_job {
    struct neap_job *next;
    char *path;
    struct neap_loop *loop;
    void (*done)(void *arg, int code, const char *message);
    void *arg;
    int code;
    char message[512];
};

struct neap_group; /* writer.c */

struct neap_expiry { /* an entry of the heap */
    int64_t when;
    uint64_t revision;
    struct neap_str *key;
    struct neap_resource *resource;
};

struct neap_registry {
    struct neap_registry_options options;
    struct neap_host host; /* the store's, with our `fail` */
    const struct neap_clock *clock;
    const struct neap_store_plugin *store;
    void *store_self;
    /* Ends the process; tests put their own. Called on the writer thread. */
    void (*fatal)(struct neap_registry *r, const char *why);
    _Atomic uint64_t revision, compacted;

    struct neap_resource *resources; /* by kind->index */
    unsigned resource_count;
    size_t tree_count;
    struct neap_map prefixes; /* struct neap_resource * by "/registry/<group>/<resource>/" */

    pthread_mutex_t snap_lock;
    struct neap_list snapshots;
    struct neap_snapshot *newest;
    struct neap_held {
        struct neap_snapshot *snapshot;
        int64_t until; /* mono ns */
    } * held;
    size_t held_count, held_cap;
    size_t garbage_bytes; /* what snapshots keep alive */

    pthread_mutex_t watch_lock;
    uint64_t ring_revision; /* the rings are complete up to it */
    size_t ring_bytes;
    uint16_t *order; /* resources of the events of all rings, oldest first: a circular array */
    size_t order_cap, order_tail, order_count;
    struct neap_list wakers, waits;

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_wake;
    struct neap_txn *queue, **queue_tail;
    size_t queue_count;
    struct neap_job *jobs, **jobs_tail;
    bool stopping;
    pthread_t thread;
    bool started, broken;

    /* the batch under way: the writer's */
    struct neap_tree *trees;
    uint64_t batch;
    struct neap_garbage garbage;
    struct neap_ring_event *events;
    struct neap_resource **event_resources;
    size_t event_count, event_cap, event_resource_cap;
    struct neap_group *group;
    struct neap_expiry *heap;
    size_t heap_count, heap_cap;
    int64_t ticked;                  /* mono ns */
    uint64_t tick_revision, trimmed; /* at the last tick; when the heap was trimmed last */
    uint64_t compact_done;           /* the store has compacted up to it */
    bool compacting;                 /* it has more to do */
    int64_t compact_next;            /* mono ns: the earliest next slice while writes wait */
};

/* registry.c */
const char *neap_registry_failure(void); /* what the store said on this thread */
void neap_registry_failure_clear(void);
struct neap_resource *neap_registry_resource(const struct neap_registry *r,
                                             const struct neap_kind *kind);
/* By key; NULL: no kind that we know. */
struct neap_resource *neap_registry_resource_of_key(const struct neap_registry *r, const char *key);

/* snapshot.c: publishes r->trees as the newest snapshot; takes r->garbage. */
void neap_registry_snapshot_publish(struct neap_registry *r, uint64_t revision);
/* Drops pins that are over. */
void neap_registry_snapshot_expire(struct neap_registry *r);
void neap_registry_snapshot_done(struct neap_registry *r);

/* publish.c: changes r->trees and notes the event. Returns the published object (put) or the last
 * state (delete); the caller owns the reference; NULL: a delete of what is not there. */
struct neap_object *neap_registry_apply(struct neap_registry *r, struct neap_resource *resource,
                                        const char *key, const struct neap_object *put,
                                        uint64_t revision);
/* Adds an object while loading: no event. Takes the reference. */
void neap_registry_apply_load(struct neap_registry *r, struct neap_resource *resource,
                              struct neap_object *o);
void neap_registry_event_add(struct neap_registry *r, struct neap_resource *resource,
                             uint64_t revision, struct neap_object *old, struct neap_object *new_);
void neap_registry_trees_done(struct neap_registry *r);

/* ring.c: moves r->events into the rings and collects who wakes. */
void neap_registry_ring_publish(struct neap_registry *r, uint64_t revision);
void neap_registry_ring_expire(struct neap_registry *r);
/* Drops the events at or below <revision> (after loading). */
void neap_registry_ring_compact(struct neap_registry *r, uint64_t revision);
/* wake.c: tells the loops. After the transactions have been completed. */
void neap_registry_wake(struct neap_registry *r);
void neap_registry_watch_done(struct neap_registry *r);
void neap_registry_ring_done(struct neap_registry *r);

/* expire.c */
void neap_registry_expire_add(struct neap_registry *r, struct neap_resource *resource,
                              const struct neap_object *o);
/* Makes delete transactions of what is due; appended to *tail. Returns how many. */
size_t neap_registry_expire_due(struct neap_registry *r, struct neap_txn ***tail);
void neap_registry_expire_done(struct neap_registry *r);

/* writer.c */
void neap_registry_writer_follow(void *arg, const struct neap_store_record *records, size_t count);
int neap_registry_writer_start(struct neap_registry *r, struct neap_err *err);
void neap_registry_writer_stop(struct neap_registry *r);

/* metrics.c */
void neap_registry_metrics_register(void);
void neap_registry_metrics_publish(struct neap_registry *r, uint64_t revision);
void neap_registry_metrics_write(size_t transactions, int64_t ns);
void neap_registry_metrics_watchers(const struct neap_kind *kind, int add);

#endif
