/* Loading: the live records, then what is kept of the history. Only records above the compaction
 * revision can still have what they replaced: those pairs go into a temporary table, as small as the
 * history, and every other row is known to be the newest of its key. */
#include "sqlite_internal.h"

#define COLUMNS "l.id, l.key, l.val, l.expires"

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

/* Calls <fn> for each row of <text> (NULL: it returns none). <from> is ?1 where the text has it. */
static int each(struct sqlite_store *s, const char *text, int64_t from, record_fn *fn, void *arg)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) != SQLITE_OK)
        return sqlite_store_error(s, "load");
    if (sqlite3_bind_parameter_count(st))
        sqlite3_bind_int64(st, 1, from);
    int rc, code = 0;
    while (!code && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct neap_store_record record = {
            .revision = (uint64_t)sqlite3_column_int64(st, 0) >> SQLITE_STORE_PLACE_BITS,
            .key = (const char *)sqlite3_column_text(st, 1),
            .value = sqlite3_column_text(st, 2),
            .value_len = (size_t)sqlite3_column_bytes(st, 2),
            .expires_wall_ns = sqlite3_column_int64(st, 3),
        };
        if (record.revision > s->revision)
            code = sqlite_store_fail(s->host, NEAP_EIO,
                                     "sqlite: %s is damaged: a record above its revision", s->path);
        else
            code =
                fn(arg, &record); // NOLINT(clang-analyzer-core.CallAndMessage): the ABI demands it
    }
    if (!code && rc != SQLITE_DONE)
        code = sqlite_store_error(s, "load");
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
