/* Compaction, a slice at a time: goes through the log from where it stopped, and drops of each record
 * what it has replaced, and itself when it is a tombstone. Work and commit are one sqlite transaction,
 * which moves meta.compacted to the last whole revision: a crash loses a slice at most. */
#include "sqlite_internal.h"

struct row {
    int64_t id;
    uint64_t prev;
    bool tombstone;
    char *key; /* owned */
};

/* The first row after <id>; *ret_there false: none. */
static int next_row(struct sqlite_store *s, int64_t id, struct row *ret, bool *ret_there)
{
    sqlite3_stmt *st = s->statements[S_COMPACT_NEXT];
    sqlite3_bind_int64(st, 1, id);
    int rc = sqlite3_step(st), code = 0;
    *ret_there = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(st, 1);
        *ret = (struct row){.id = sqlite3_column_int64(st, 0),
                            .prev = (uint64_t)sqlite3_column_int64(st, 2),
                            .tombstone = sqlite3_column_int(st, 3),
                            .key = key ? strdup(key) : NULL};
        if (!ret->key)
            code = sqlite_store_fail(s->host, NEAP_EINTERNAL, "sqlite: no memory");
    } else if (rc != SQLITE_DONE) {
        code = sqlite_store_error(s, "compact");
    }
    sqlite3_reset(st);
    return code;
}

static int drop_replaced(struct sqlite_store *s, const struct row *row)
{
    int code = 0;
    if (row->prev) {
        sqlite3_stmt *st = s->statements[S_DELETE_RANGE];
        sqlite3_bind_int64(st, 1, sqlite_store_id(row->prev, 0));
        sqlite3_bind_int64(st, 2, sqlite_store_id(row->prev, SQLITE_STORE_PLACES - 1));
        sqlite3_bind_text(st, 3, row->key, -1, SQLITE_STATIC);
        code = sqlite_store_run(s, S_DELETE_RANGE, "compact");
    }
    if (!code && row->tombstone) {
        sqlite3_bind_int64(s->statements[S_DELETE_ID], 1, row->id);
        code = sqlite_store_run(s, S_DELETE_ID, "compact");
    }
    return code;
}

static int64_t now_ms(struct sqlite_store *s)
{
    return s->host->loop->now_mono_ns(s->host->ctx) / 1000000;
}

/* Until the time is up, at the end of a revision; *ret_reached: complete up to it. */
static int slice(struct sqlite_store *s, uint64_t to, uint64_t *ret_reached)
{
    int64_t until = now_ms(s) + SQLITE_STORE_SLICE_MS;
    int64_t at = sqlite_store_id(s->compacted, SQLITE_STORE_PLACES - 1);
    uint64_t revision = s->compacted; /* of the row at <at> */
    for (;;) {
        struct row row = {0};
        bool there = false;
        int code = next_row(s, at, &row, &there);
        uint64_t next = there ? (uint64_t)row.id >> SQLITE_STORE_PLACE_BITS : to + 1;
        bool over = next > to, pause = next != revision && now_ms(s) >= until;
        if (!code && !over && !pause)
            code = drop_replaced(s, &row);
        if (there)
            free(row.key);
        if (code || over || pause) {
            *ret_reached = over ? to : revision;
            return code;
        }
        at = row.id;
        revision = next;
    }
}

int sqlite_store_compact(void *self, uint64_t revision, bool *ret_done)
{
    struct sqlite_store *s = self;
    uint64_t to = revision < s->revision ? revision : s->revision, reached = s->compacted;
    *ret_done = true;
    if (to <= s->compacted)
        return 0;
    int code = sqlite_store_run(s, S_BEGIN, "compact");
    if (!code)
        code = slice(s, to, &reached);
    if (!code) {
        sqlite3_bind_int64(s->statements[S_META_COMPACTED], 1, (int64_t)reached);
        sqlite3_bind_int64(s->statements[S_META_COMPACTED], 2,
                           sqlite_store_meta_sum(s->revision, reached));
        code = sqlite_store_run(s, S_META_COMPACTED, "compact");
    }
    if (!code)
        code = sqlite_store_run(s, S_COMMIT, "compact");
    if (code) {
        sqlite_store_rollback(s);
        return code;
    }
    s->compacted = reached;
    *ret_done = reached >= to;
    return 0;
}
