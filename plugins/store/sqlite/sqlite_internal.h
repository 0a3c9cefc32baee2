/* Between the files of store/sqlite.
 *
 *   log(id INTEGER PRIMARY KEY, key, val, expires, prev, sum)
 *     id = revision << 16 | place in its transaction. Several records share a revision, so the revision
 *     alone can't be the key; in one integer it stays the rowid: rows are only appended, in revision
 *     order, with no second b-tree, and a range of revisions is a range of rowids.
 *     val NULL: a tombstone. prev: the revision of the key's record before this one (0: none). By it
 *     compaction finds what a record has replaced, without an index on keys.
 *     sum: sqlite_store_sum() of the rest, so that what a disk has changed is not taken for what was written. NULL
 *     in rows of format 1.
 *   meta(format, revision, compacted, sum): one row; moves in the same transaction as the log.
 *
 * Kept below the compaction revision: of each key the newest live record there, even when a newer one
 * stands above it: it is the old state of that one's event. */
#ifndef NEAP_STORE_SQLITE_INTERNAL_H
#define NEAP_STORE_SQLITE_INTERNAL_H

#include <neap/err.h>
#include <neap/plugin/store.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SQLITE_STORE_FORMAT = 2,
    SQLITE_STORE_PLACE_BITS = 16,         /* operations of one transaction */
    SQLITE_STORE_SLICE_MS = 8,            /* of compaction: leaves room for its commit */
    SQLITE_STORE_CHECKPOINT_PAGES = 2000, /* of 8 KiB in the write-ahead log, by default */
    SQLITE_STORE_BUSY_MS = 5000,          /* somebody looks at it with another program */
};

enum sqlite_store_statement {
    S_BEGIN,
    S_COMMIT,
    S_ROLLBACK,
    S_INSERT,
    S_META_REVISION,
    S_META_COMPACTED,
    S_COMPACT_NEXT,
    S_DELETE_RANGE,
    S_DELETE_ID,
    S_COUNT
};

struct sqlite_store {
    const struct neap_host *host;
    struct neap_store_follower follower;
    sqlite3 *db;
    sqlite3_stmt *statements[S_COUNT];
    char *path;
    int lock_fd;
    int wal_pages; /* after the last commit */
    int checkpoint_pages;
    uint64_t revision, compacted;
    struct neap_store_record *records; /* of one transaction */
    size_t record_cap;
};

static inline int64_t sqlite_store_id(uint64_t revision, uint64_t place)
{
    return (int64_t)(revision << SQLITE_STORE_PLACE_BITS | place);
}
#define SQLITE_STORE_PLACES ((uint64_t)1 << SQLITE_STORE_PLACE_BITS)

/* sqlite.c: says why by host->fail and returns the NEAP_E* code of the connection's last error. */
int sqlite_store_error(struct sqlite_store *s, const char *doing);
int sqlite_store_fail(const struct neap_host *host, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Runs a prepared statement that returns no rows; 0 or a code (told). */
int sqlite_store_run(struct sqlite_store *s, enum sqlite_store_statement which, const char *doing);
void sqlite_store_rollback(struct sqlite_store *s);

/* sum.c */
struct sqlite_store_row {
    int64_t id;
    const char *key, *value; /* value NULL: a tombstone */
    size_t key_len, value_len;
    int64_t expires, prev;
};
int64_t sqlite_store_sum(const struct sqlite_store_row *row);
int64_t sqlite_store_meta_sum(uint64_t revision, uint64_t compacted);
/* For SQL: neap_sum(id, key, val, expires, prev). */
int sqlite_store_sum_function(sqlite3 *db);

/* load.c */
int sqlite_store_load(void *self, int (*live)(void *arg, const struct neap_store_record *record),
                      int (*history)(void *arg, const struct neap_store_record *record), void *arg,
                      uint64_t *ret_revision, uint64_t *ret_compacted);
/* write.c */
int sqlite_store_write(void *self, struct neap_store_txn *txns, size_t count);
/* compact.c */
int sqlite_store_compact(void *self, uint64_t revision, bool *ret_done);
/* check.c */
int sqlite_store_backup(void *self, const char *path);
int sqlite_store_verify(void *self, void (*problem)(void *arg, const char *text), void *arg);
uint64_t sqlite_store_size(void *self);

#endif
