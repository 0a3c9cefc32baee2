/* The registry: the in-memory truth of this server. Snapshots of immutable objects, watch rings, and
 * the writer. design.md section 5. */
#ifndef NEAP_REGISTRY_H
#define NEAP_REGISTRY_H

#include <neap/loop.h>
#include <neap/object.h>
#include <neap/plugin/store.h>

struct neap_registry;

struct neap_registry_options {
    const struct neap_store_plugin *store;
    const struct neap_host *store_host;
    const struct neap_clock *clock;
    uint64_t history_ns;  /* watch history kept: default 5 min */
    size_t history_bytes; /* default 64 MiB: memory of the rings together */
    uint64_t pin_ns;      /* a named pin (continue token) lives so long: 5 min */
    size_t queue_max;     /* transactions waiting: more are NEAP_ETOOMANYREQUESTS; default 65536 */
};

/* Opens the store, loads it, refills the rings, starts the writer thread.
 * errors: what the store said (one clear line). blocks: yes (start-up). */
int neap_registry_open(const struct neap_registry_options *options, struct neap_registry **ret,
                       struct neap_err *err);
/* Waits for the writer to finish what is queued, closes the store. Every snapshot and watch must have
 * been returned. Accepts NULL. blocks: yes. */
void neap_registry_close(struct neap_registry *r);
/* The newest published revision. thread: any. */
uint64_t neap_registry_revision(const struct neap_registry *r);
/* The oldest revision that a watch can start after. thread: any. */
uint64_t neap_registry_compacted(const struct neap_registry *r);

/* ---- snapshots: {revision, all roots}; pinned reads take no lock. thread: any ------------- */
struct neap_snapshot;
struct neap_snapshot *neap_snapshot_pin(struct neap_registry *r); /* the newest */
struct neap_snapshot *neap_snapshot_ref(struct neap_snapshot *s);
struct neap_snapshot *neap_snapshot_unpin(struct neap_snapshot *s); /* accepts NULL, returns NULL */
uint64_t neap_snapshot_revision(const struct neap_snapshot *s);
/* Borrowed while pinned; take a reference to keep it. <kind>: any version. NULL: not there. */
struct neap_object *neap_snapshot_get(const struct neap_snapshot *s, const struct neap_kind *kind,
                                      const char *namespace_, const char *name);
size_t neap_snapshot_count(const struct neap_snapshot *s, const struct neap_kind *kind);

/* In key order. <namespace_> NULL or "": all. <after_key> NULL: from the start. */
struct neap_iter {
    const struct neap_snapshot *snapshot;
    void *at[24];
    unsigned depth, pos[24];
    const char *prefix;
    size_t prefix_len;
    char prefix_buf[384];
};
void neap_iter_init(struct neap_iter *it, const struct neap_snapshot *s,
                    const struct neap_kind *kind, const char *namespace_, const char *after_key);
struct neap_object *neap_iter_next(struct neap_iter *it); /* borrowed; NULL: the end */

/* Indexes: objects whose selectable field i (kind->selectable[i]) has the value; objects owned by uid.
 * Returns an array of borrowed objects in <arena>, in key order. NULL with *ret_count 0: none. */
struct neap_object **neap_snapshot_by_field(const struct neap_snapshot *s,
                                            const struct neap_kind *kind, unsigned field,
                                            const char *value, struct neap_arena *arena,
                                            size_t *ret_count);
struct neap_object **neap_snapshot_by_owner(const struct neap_snapshot *s, const char *owner_uid,
                                            struct neap_arena *arena, size_t *ret_count);

/* Keeps a snapshot for a continue token: <pin_ns> from the first call or until the history budget is
 * used, whatever comes first. */
void neap_snapshot_hold(struct neap_registry *r, struct neap_snapshot *s);
/* The held (or newest) snapshot of exactly that revision, pinned; NULL: gone. */
struct neap_snapshot *neap_snapshot_held(struct neap_registry *r, uint64_t revision);

/* ---- writes --------------------------------------------------------------------------------- */
struct neap_txn_op {
    const struct neap_kind *kind; /* storage kind */
    const char *key;              /* borrowed until done */
    uint64_t expected;            /* revision; 0: must not exist; NEAP_STORE_ANY */
    struct neap_object *draft;    /* at revision 0 (object.h), borrowed until done; NULL: delete */
    bool check_only;
};
/* Caller-owned; alive until done. */
struct neap_txn {
    struct neap_txn_op *ops;
    size_t op_count;
    struct neap_loop *loop; /* where done runs */
    void (*done)(struct neap_txn *txn);
    void *data;
    /* out */
    int result; /* 0; NEAP_ECONFLICT; NEAP_ENOSPACE; NEAP_ETOOMANYREQUESTS; ... */
    uint64_t revision;
    size_t conflict_op;         /* which operation's expectation failed */
    uint64_t conflict_revision; /* the key's revision then; 0: it does not exist */
    struct neap_object *
        *objects;          /* per op: the published object (delete: last state at `revision`);
                                     references owned by the txn until neap_txn_done */
    struct neap_txn *next; /* the registry's */
};
/* Queues it; `done` comes on txn->loop after it is durable and published: a snapshot pinned then holds
 * it. thread: any. blocks: no. */
void neap_registry_submit(struct neap_registry *r, struct neap_txn *txn);
void neap_txn_done(struct neap_txn *txn); /* drops the object references */

/* ---- watch ------------------------------------------------------------------------------------ */
enum neap_event_type { NEAP_ADDED, NEAP_MODIFIED, NEAP_DELETED };
struct neap_event {
    enum neap_event_type type;
    uint64_t revision;
    struct neap_object
        *object; /* reference owned by the receiver; DELETED: last state (matching the
                                     selector) at the new revision */
};
struct neap_watch;
struct neap_watch_options {
    const struct neap_kind *kind;
    const char *namespace_;               /* NULL or "": all */
    const struct neap_selector *selector; /* NULL: all; borrowed while open */
    uint64_t after;                       /* revision; events after it */
    struct neap_loop *loop;
    /* There may be events. Coalesced: not called again until neap_watch_next() has returned 0. */
    void (*wake)(void *arg);
    void *arg;
};
/* errors: NEAP_EEXPIRED when <after> is behind the history ("too old resource version: N (M)"). */
int neap_watch_open(struct neap_registry *r, const struct neap_watch_options *options,
                    struct neap_watch **ret, struct neap_err *err);
/* 1: an event; 0: none now; NEAP_EEXPIRED: the watch fell behind the history. */
int neap_watch_next(struct neap_watch *w, struct neap_event *ret);
/* Everything up to this revision has been returned (for bookmarks). Call when next returned 0. */
uint64_t neap_watch_revision(const struct neap_watch *w);
/* No wake comes after it. */
void neap_watch_close(struct neap_watch *w);

/* Blocks a call until the registry has published <revision>: <fn> runs on <loop> then, or at once (by
 * post) when it has. Returns a token for _cancel (must not be used after fn ran); fires once. */
struct neap_revision_wait;
struct neap_revision_wait *neap_registry_wait(struct neap_registry *r, uint64_t revision,
                                              struct neap_loop *loop, void (*fn)(void *arg),
                                              void *arg);
void neap_registry_wait_cancel(struct neap_revision_wait *w);

/* Store services on the writer thread, answered on <loop>. */
void neap_registry_backup(struct neap_registry *r, const char *path, struct neap_loop *loop,
                          void (*done)(void *arg, int code, const char *message), void *arg);

#endif
