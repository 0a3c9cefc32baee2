/* A store makes the registry durable. design.md section 5.
 *
 * One revision counter for the whole cluster; one transaction, one revision. The order is the same for
 * every store: durable, then published (by `follow`), then acknowledged.
 *
 * thread: every slot runs on the registry's writer thread (not a loop) and may block, except where
 * noted. Slots never run at the same time as each other. */
#ifndef NEAP_PLUGIN_STORE_H
#define NEAP_PLUGIN_STORE_H

#include <neap/plugin/host.h>

struct neap_store_record {
    uint64_t revision;
    const char *key;   /* "/registry/core/pods/default/a", NUL-terminated */
    const void *value; /* NULL: deleted */
    size_t value_len;
    int64_t expires_wall_ns; /* 0: never */
};

struct neap_store_change {
    const char *key;
    /* The key's revision; 0: must not exist; NEAP_STORE_ANY: whatever. Embedded stores always get the
     * revision that the key has: a history can be linked by it. */
    uint64_t expected;
    const void *value; /* NULL: delete */
    size_t value_len;
    int64_t expires_wall_ns;
    bool check_only; /* only `expected` is checked: the key is not written */
};
#define NEAP_STORE_ANY UINT64_MAX

struct neap_store_txn {
    const struct neap_store_change *changes;
    size_t change_count;
    /* Embedded stores: set by the registry, which has checked `expected`. Distributed stores: set by the
     * plugin from the engine's answer. */
    uint64_t revision;
    int result; /* 0, NEAP_ECONFLICT, or another NEAP_E*; embedded stores leave it 0 */
    const char *conflict_key; /* the key whose expectation failed: borrowed from changes */
};

struct neap_store_follower {
    void *arg;
    /* Records that are durable, in revision order, all of one transaction in one call: the registry
     * publishes them. */
    void (*follow)(void *arg, const struct neap_store_record *records, size_t count);
};

struct neap_store_plugin {
    struct neap_plugin_header header;
    /* The registry checks expectations and assigns revisions (one writer owns the data): sqlite, memory.
     * false: the engine does (etcd). */
    bool embedded;
    /* mandatory. Opens or makes the database. A database of a newer format, a locked or damaged one: a
     * negative code and one clear line by host->fail. Leaves nothing behind on failure. */
    int (*open)(const struct neap_host *host, const struct neap_store_follower *follower,
                void **ret_self);
    /* mandatory. First every live key (any order, each once), then the retained history in revision
     * order (deletes have no value), by the callback; then the counters. Values are borrowed until
     * the callback returns; non-zero from it stops the load with that code. */
    int (*load)(void *self, int (*live)(void *arg, const struct neap_store_record *record),
                int (*history)(void *arg, const struct neap_store_record *record), void *arg,
                uint64_t *ret_revision, uint64_t *ret_compacted);
    /* mandatory. Makes the transactions durable in one group (one fsync) and calls follow for each that
     * succeeded, before it returns (embedded) or when the engine tells (distributed). A negative return
     * value: the whole group failed, nothing of it is durable: NEAP_ENOSPACE lets the server go on
     * serving reads; NEAP_EIO (a failed fsync) ends the process: it is never retried. */
    int (*write)(void *self, struct neap_store_txn *txns, size_t count);
    /* mandatory. Drops history at or below <revision>, in a slice of bounded time (10 ms); *ret_done
     * says whether it is complete. */
    int (*compact)(void *self, uint64_t revision, bool *ret_done);
    /* optional. A consistent copy at <path> (a new file). */
    int (*backup)(void *self, const char *path);
    /* optional. Checks every record; <problem> is called with each finding. */
    int (*verify)(void *self, void (*problem)(void *arg, const char *text), void *arg);
    /* mandatory. Accepts NULL. */
    void (*close)(void *self);
    /* optional. Bytes on disk. */
    uint64_t (*size)(void *self);
};

#endif
