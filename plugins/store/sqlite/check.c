/* Backup, verification, size. */
#include "sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* VACUUM INTO does not sync what it writes. */
static int sync_file(struct sqlite_store *s, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (rc)
        rc = sqlite_store_fail(s->host, NEAP_EINTERNAL, "sqlite: %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

static int copy_into(struct sqlite_store *s, const char *path)
{
    sqlite3_stmt *st = NULL;
    int code = 0;
    if (sqlite3_prepare_v2(s->db, "VACUUM INTO ?", -1, &st, NULL) != SQLITE_OK ||
        sqlite3_bind_text(st, 1, path, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_step(st) != SQLITE_DONE)
        code = sqlite_store_error(s, "backup");
    sqlite3_finalize(st);
    return code ? code : sync_file(s, path);
}

int sqlite_store_backup(void *self, const char *path)
{
    struct sqlite_store *s = self;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return sqlite_store_fail(s->host, errno == EEXIST ? NEAP_EALREADYEXISTS : NEAP_EINTERNAL,
                                 "sqlite: %s: %s", path, strerror(errno));
    close(fd); /* an empty file is what VACUUM INTO accepts */
    int code = copy_into(s, path);
    if (code)
        unlink(path);
    /* the copy's disk failing is no fault of the database */
    return code == NEAP_EIO ? NEAP_EINTERNAL : code;
}

/* Each query finds what must not be; its first column says what. */
static const char *const checks[] = {
    "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    "SELECT 'the record is not what was written at revision ' || (id >> 16) || ': ' || key FROM log"
    " WHERE sum IS NOT NULL AND sum IS NOT neap_sum(id, key, val, expires, prev)",
    "SELECT 'bad key at revision ' || (id >> 16) || ': ' || key FROM log"
    " WHERE key NOT GLOB '/registry/?*/?*/?*'",
    "SELECT 'value is not JSON at revision ' || (id >> 16) || ': ' || key FROM log"
    " WHERE val IS NOT NULL AND NOT json_valid(val)",
    "SELECT 'record above the revision: ' || (id >> 16) || ': ' || l.key FROM log l, meta"
    " WHERE (id >> 16) > meta.revision",
    "SELECT 'record before revision ' || (id >> 16) || ' is missing: ' || l.key FROM log l, meta"
    " WHERE (id >> 16) > meta.compacted AND prev > 0 AND NOT EXISTS (SELECT 1 FROM log p WHERE"
    " p.id BETWEEN l.prev << 16 AND (l.prev << 16 | 65535) AND p.key = l.key)",
    "SELECT 'tombstone below the compaction: ' || (id >> 16) || ': ' || l.key FROM log l, meta"
    " WHERE val IS NULL AND (id >> 16) <= meta.compacted",
};

static int run_check(struct sqlite_store *s, const char *sql,
                     void (*problem)(void *arg, const char *text), void *arg)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(st);
        if (rc == SQLITE_ROW) {
            const char *text = (const char *)sqlite3_column_text(st, 0);
            problem(arg, text ? text : "a value that cannot be read");
        }
    }
    int code = 0;
    if ((rc & 0xff) == SQLITE_CORRUPT) /* the other checks may still read what this one wanted */
        problem(arg, sqlite3_errmsg(s->db));
    else if (rc != SQLITE_DONE)
        code = sqlite_store_error(s, "verify");
    sqlite3_finalize(st);
    return code;
}

int sqlite_store_verify(void *self, void (*problem)(void *arg, const char *text), void *arg)
{
    int code = 0;
    for (size_t i = 0; !code && i < sizeof(checks) / sizeof(checks[0]); i++)
        code = run_check(self, checks[i], problem, arg);
    return code;
}

uint64_t sqlite_store_size(void *self)
{
    struct sqlite_store *s = self;
    sqlite3_stmt *st = NULL;
    uint64_t size = 0;
    static const char text[] =
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) == SQLITE_OK &&
        sqlite3_step(st) == SQLITE_ROW)
        size = (uint64_t)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return size;
}
