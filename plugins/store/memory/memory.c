/* A store that keeps nothing beyond the process: for tests and simulations. The registry holds every
 * object already, so there is nothing to hold a second time: what is written is told at once. */
#include <neap/err.h>
#include <neap/plugin/store.h>

#include <stdlib.h>

struct memory {
    struct neap_store_follower follower;
    struct neap_store_record *records; /* of one transaction */
    size_t cap;
};

/* Revision 0 means "any" to clients: an empty store is at 1. */
enum { FIRST_REVISION = 1 };

static int memory_open(const struct neap_host *host, const struct neap_store_follower *follower,
                       void **ret_self)
{
    struct memory *m = calloc(1, sizeof(*m));
    if (!m) {
        host->fail(host->ctx, "memory: no memory");
        return NEAP_EINTERNAL;
    }
    m->follower = *follower;
    *ret_self = m;
    return 0;
}

static int memory_load(void *self, int (*live)(void *arg, const struct neap_store_record *record),
                       int (*history)(void *arg, const struct neap_store_record *record), void *arg,
                       uint64_t *ret_revision, uint64_t *ret_compacted)
{
    (void)self, (void)live, (void)history, (void)arg;
    *ret_revision = FIRST_REVISION;
    *ret_compacted = 0;
    return 0;
}

static int reserve(struct memory *m, const struct neap_store_txn *txns, size_t count)
{
    size_t most = m->cap;
    for (size_t i = 0; i < count; i++)
        if (txns[i].change_count > most)
            most = txns[i].change_count;
    if (most == m->cap)
        return 0;
    struct neap_store_record *bigger = realloc(m->records, most * sizeof(*bigger));
    if (!bigger)
        return NEAP_EINTERNAL;
    m->records = bigger;
    m->cap = most;
    return 0;
}

static void tell(struct memory *m, const struct neap_store_txn *txn)
{
    size_t n = 0;
    for (size_t i = 0; i < txn->change_count; i++) {
        const struct neap_store_change *c = &txn->changes[i];
        if (!c->check_only)
            m->records[n++] = (struct neap_store_record){.revision = txn->revision,
                                                         .key = c->key,
                                                         .value = c->value,
                                                         .value_len = c->value_len,
                                                         .expires_wall_ns = c->expires_wall_ns};
    }
    if (n)
        m->follower.follow(m->follower.arg, m->records, n);
}

static int memory_write(void *self, struct neap_store_txn *txns, size_t count)
{
    int rc = reserve(self, txns, count);
    for (size_t i = 0; !rc && i < count; i++)
        tell(self, &txns[i]);
    return rc;
}

static int memory_compact(void *self, uint64_t revision, bool *ret_done)
{
    (void)self, (void)revision;
    *ret_done = true;
    return 0;
}

static void memory_close(void *self)
{
    struct memory *m = self;
    if (m)
        free(m->records);
    free(m);
}

NEAP_PLUGIN_EXPORT const struct neap_store_plugin neap_plugin = {
    .header = {.magic = NEAP_PLUGIN_MAGIC,
               .abi_major = NEAP_PLUGIN_ABI_MAJOR,
               .abi_minor = NEAP_PLUGIN_ABI_MINOR,
               .struct_size = sizeof(struct neap_store_plugin),
               .kind = NEAP_PLUGIN_STORE,
               .name = "memory",
               .version = "1"},
    .embedded = true,
    .open = memory_open,
    .load = memory_load,
    .write = memory_write,
    .compact = memory_compact,
    .close = memory_close,
};
