/* Writing: one sqlite transaction, so one fsync, for a group. */
#include "sqlite_internal.h"

static int insert(struct sqlite_store *s, const struct neap_store_change *c, int64_t id)
{
    sqlite3_stmt *st = s->statements[S_INSERT];
    struct sqlite_store_row row = {.id = id,
                                   .key = c->key,
                                   .value = c->value,
                                   .key_len = strlen(c->key),
                                   .value_len = c->value ? c->value_len : 0,
                                   .expires = c->expires_wall_ns,
                                   .prev = (int64_t)c->expected};
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_text(st, 2, c->key, -1, SQLITE_STATIC);
    if (c->value)
        sqlite3_bind_text64(st, 3, c->value, c->value_len, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(st, 3);
    sqlite3_bind_int64(st, 4, c->expires_wall_ns);
    sqlite3_bind_int64(st, 5, (int64_t)c->expected);
    sqlite3_bind_int64(st, 6, sqlite_store_sum(&row));
    return sqlite_store_run(s, S_INSERT, "write");
}

static int insert_txn(struct sqlite_store *s, const struct neap_store_txn *txn)
{
    uint64_t place = 0;
    for (size_t i = 0; i < txn->change_count; i++) {
        if (txn->changes[i].check_only)
            continue;
        if (place == SQLITE_STORE_PLACES)
            return sqlite_store_fail(s->host, NEAP_ETOOLARGE,
                                     "sqlite: more than %d changes in a transaction",
                                     (int)SQLITE_STORE_PLACES);
        int code = insert(s, &txn->changes[i], sqlite_store_id(txn->revision, place++));
        if (code)
            return code;
    }
    return 0;
}

static int reserve(struct sqlite_store *s, const struct neap_store_txn *txns, size_t count)
{
    size_t most = s->record_cap;
    for (size_t i = 0; i < count; i++)
        if (txns[i].change_count > most)
            most = txns[i].change_count;
    if (most == s->record_cap)
        return 0;
    struct neap_store_record *bigger = realloc(s->records, most * sizeof(*bigger));
    if (!bigger)
        return sqlite_store_fail(s->host, NEAP_EINTERNAL, "sqlite: no memory");
    s->records = bigger;
    s->record_cap = most;
    return 0;
}

static void tell(struct sqlite_store *s, const struct neap_store_txn *txn)
{
    size_t n = 0;
    for (size_t i = 0; i < txn->change_count; i++) {
        const struct neap_store_change *c = &txn->changes[i];
        if (!c->check_only)
            s->records[n++] = (struct neap_store_record){.revision = txn->revision,
                                                         .key = c->key,
                                                         .value = c->value,
                                                         .value_len = c->value_len,
                                                         .expires_wall_ns = c->expires_wall_ns};
    }
    if (n)
        s->follower.follow(s->follower.arg, s->records, n);
}

static int write_all(struct sqlite_store *s, const struct neap_store_txn *txns, size_t count)
{
    int code = sqlite_store_run(s, S_BEGIN, "write");
    for (size_t i = 0; !code && i < count; i++)
        code = insert_txn(s, &txns[i]);
    if (!code) {
        uint64_t revision = txns[count - 1].revision;
        sqlite3_bind_int64(s->statements[S_META_REVISION], 1, (int64_t)revision);
        sqlite3_bind_int64(s->statements[S_META_REVISION], 2,
                           sqlite_store_meta_sum(revision, s->compacted));
        code = sqlite_store_run(s, S_META_REVISION, "write");
    }
    if (!code)
        code = sqlite_store_run(s, S_COMMIT, "write");
    if (code)
        sqlite_store_rollback(s);
    return code;
}

/* Moves the write-ahead log into the database. A full disk or another program's lock may put that off:
 * everything is durable in the log. */
static int checkpoint(struct sqlite_store *s)
{
    if (s->wal_pages < s->checkpoint_pages)
        return 0;
    s->wal_pages = 0; /* the next commit says how many */
    if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK)
        return 0;
    int code = sqlite_store_error(s, "checkpoint");
    return code == NEAP_EIO ? code : 0;
}

int sqlite_store_write(void *self, struct neap_store_txn *txns, size_t count)
{
    struct sqlite_store *s = self;
    if (!count)
        return 0;
    int code = reserve(s, txns, count);
    if (!code)
        code = write_all(s, txns, count);
    if (code)
        return code;
    s->revision = txns[count - 1].revision;
    for (size_t i = 0; i < count; i++)
        tell(s, &txns[i]);
    return checkpoint(s);
}
