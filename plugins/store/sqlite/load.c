/* Loading: the live records, then what is kept of the history. Only records above the compaction
 * revision can still have what they replaced: those pairs go into a temporary table, as small as the
 * history, and every other row is known to be the newest of its key. */
#include "sqlite_internal.h"

#define COLUMNS "l.id, l.key, l.val, l.expires, l.prev, l.sum"

static const char make_replaced[] =
    "CREATE TEMP TABLE IF NOT EXISTS replaced(rev INTEGER, key TEXT, PRIMARY KEY(rev, key))"
    " WITHOUT ROWID;"
    "DELETE FROM replaced";
static const char fill_replaced[] =
    "INSERT OR IGNORE INTO replaced SELECT prev, key FROM log WHERE id >= ?1 AND prev > 0";
static const char select_live[] =
    "SELECT " COLUMNS " FROM log l WHERE l.val IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM replaced r WHERE r.rev = l.id >> 16 AND r.key = l.key) ORDER BY l.id";
/* the old states of events that are kept */
static const char select_base[] =
    "SELECT " COLUMNS " FROM replaced r CROSS JOIN log l ON l.id BETWEEN r.rev << 16 AND"
    " (r.rev << 16 | 65535) AND l.key = r.key WHERE l.id < ?1 AND l.val IS NOT NULL"
    " ORDER BY l.id";
static const char select_history[] = "SELECT " COLUMNS " FROM log l WHERE l.id >= ?1 ORDER BY l.id";

typedef int record_fn(void *arg, const struct neap_store_record *record);

/* The row that the statement stands on; NULL *key: not even that can be read. */
static void read_row(sqlite3_stmt *st, struct neap_store_record *ret, struct sqlite_store_row *row)
{
    *row = (struct sqlite_store_row){.id = sqlite3_column_int64(st, 0),
                                     .key = (const char *)sqlite3_column_text(st, 1),
                                     .key_len = (size_t)sqlite3_column_bytes(st, 1),
                                     .value = (const char *)sqlite3_column_text(st, 2),
                                     .value_len = (size_t)sqlite3_column_bytes(st, 2),
                                     .expires = sqlite3_column_int64(st, 3),
                                     .prev = sqlite3_column_int64(st, 4)};
    *ret = (struct neap_store_record){.revision = (uint64_t)row->id >> SQLITE_STORE_PLACE_BITS,
                                      .key = row->key,
                                      .value = row->value,
                                      .value_len = row->value_len,
                                      .expires_wall_ns = row->expires};
}

/* What it says is what was written: 0, or a code (told). */
static int check_row(struct sqlite_store *s, sqlite3_stmt *st, const struct sqlite_store_row *row,
                     uint64_t revision)
{
    bool summed = sqlite3_column_type(st, 5) != SQLITE_NULL; /* not so in format 1 */
    if (row->key && summed && sqlite3_column_int64(st, 5) == sqlite_store_sum(row))
        summed = false;
    if (summed || !row->key)
        return sqlite_store_fail(s->host, NEAP_EIO,
                                 "sqlite: %s is damaged: the record of %s at revision %llu is not "
                                 "what was written",
                                 s->path, row->key ? row->key : "an unknown key",
                                 (unsigned long long)revision);
    if (revision > s->revision)
        return sqlite_store_fail(s->host, NEAP_EIO,
                                 "sqlite: %s is damaged: a record above its revision", s->path);
    return 0;
}

/* Calls <fn> for each row of <text> (NULL: it returns none). <from> is ?1 where the text has it. */
static int each(struct sqlite_store *s, const char *text, int64_t from, record_fn *fn, void *arg)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) != SQLITE_OK)
        return sqlite_store_error(s, "load");
    if (sqlite3_bind_parameter_count(st))
        sqlite3_bind_int64(st, 1, from);
    int rc, code = 0;
    uint64_t last = 0;
    while (!code && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct neap_store_record record;
        struct sqlite_store_row row;
        read_row(st, &record, &row);
        last = record.revision;
        code = check_row(s, st, &row, record.revision);
        if (!code)
            code =
                fn(arg, &record); // NOLINT(clang-analyzer-core.CallAndMessage): the ABI demands it
    }
    if (!code && rc != SQLITE_DONE) {
        char doing[64];
        snprintf(doing, sizeof(doing), "load, after revision %llu", (unsigned long long)last);
        code = sqlite_store_error(s, doing);
    }
    sqlite3_finalize(st);
    return code;
}

int sqlite_store_load(void *self, record_fn *live, record_fn *history, void *arg,
                      uint64_t *ret_revision, uint64_t *ret_compacted)
{
    struct sqlite_store *s = self;
    int64_t from = sqlite_store_id(s->compacted + 1, 0);
    if (sqlite3_exec(s->db, make_replaced, NULL, NULL, NULL) != SQLITE_OK)
        return sqlite_store_error(s, "load");
    int code = each(s, fill_replaced, from, NULL, NULL);
    if (!code)
        code = each(s, select_live, from, live, arg);
    if (!code)
        code = each(s, select_base, from, history, arg);
    if (!code)
        code = each(s, select_history, from, history, arg);
    sqlite3_exec(s->db, "DROP TABLE temp.replaced", NULL, NULL, NULL);
    if (code)
        return code;
    *ret_revision = s->revision;
    *ret_compacted = s->compacted;
    return 0;
}
