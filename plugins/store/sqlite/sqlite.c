/* The embedded store: descriptor, opening, errors. What is in the database: sqlite_internal.h. */
#include "sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- errors ---- */

int sqlite_store_fail(const struct neap_host *host, int code, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, the line before
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    host->fail(host->ctx, text);
    return code;
}

/* Of the file that failed: sqlite3_system_errno() is not set by a COMMIT that fails and may be of another error. */
static bool file_is_full(sqlite3 *db)
{
    static const int which[] = {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER};
    for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
        sqlite3_file *file = NULL;
        int e = 0;
        if (sqlite3_file_control(db, "main", which[i], &file) == SQLITE_OK && file &&
            file->pMethods &&
            file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &e) == SQLITE_OK &&
            (e == ENOSPC || e == EDQUOT))
            return true;
    }
    return false;
}

static int code_of(sqlite3 *db)
{
    int os = sqlite3_system_errno(db), code = sqlite3_extended_errcode(db);
    /* What a failed fsync did not write is lost, whatever it says: the next one would succeed and mean nothing. */
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        return NEAP_EIO;
    switch (code & 0xff) {
    case SQLITE_FULL:
        return NEAP_ENOSPACE;
    case SQLITE_IOERR: /* a quota, a shared memory file that cannot grow: sqlite does not say FULL */
        return file_is_full(db) ? NEAP_ENOSPACE : NEAP_EIO;
    case SQLITE_CANTOPEN:
        return os == ENOSPC || os == EDQUOT ? NEAP_ENOSPACE : NEAP_EIO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return NEAP_EIO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return NEAP_EUNAVAILABLE;
    default:
        return NEAP_EINTERNAL;
    }
}

int sqlite_store_error(struct sqlite_store *s, const char *doing)
{
    int code = code_of(s->db);
    return sqlite_store_fail(s->host, code, "sqlite: %s: %s (%s)", doing, sqlite3_errmsg(s->db),
                             s->path);
}

int sqlite_store_run(struct sqlite_store *s, enum sqlite_store_statement which, const char *doing)
{
    sqlite3_stmt *st = s->statements[which];
    int rc = sqlite3_step(st);
    int code = rc == SQLITE_DONE ? 0 : sqlite_store_error(s, doing);
    sqlite3_reset(st);
    return code;
}

/* Some errors have ended the transaction already. */
void sqlite_store_rollback(struct sqlite_store *s)
{
    if (sqlite3_get_autocommit(s->db))
        return;
    sqlite3_step(s->statements[S_ROLLBACK]);
    sqlite3_reset(s->statements[S_ROLLBACK]);
}

/* ---- opening ---- */

static int no_memory(const struct neap_host *host)
{
    return sqlite_store_fail(host, NEAP_EINTERNAL, "sqlite: no memory");
}

/* One server a folder. The lock ends with the process, however that ends. */
static int take_lock(struct sqlite_store *s)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/lock", s->host->data_dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0)
        return sqlite_store_fail(s->host, NEAP_EIO, "sqlite: %s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return sqlite_store_fail(s->host, NEAP_EUNAVAILABLE,
                             "sqlite: %s is in use by another server (its lock is held)",
                             s->host->data_dir);
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* sqlite gives the files beside it (-wal, -shm) the database's mode: it is made here, 0600, so that no
 * umask of the whole process needs to change. */
static int make_file(struct sqlite_store *s)
{
    int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || sync_folder(s->host->data_dir)) {
        int code = errno == ENOSPC || errno == EDQUOT ? NEAP_ENOSPACE : NEAP_EIO;
        sqlite_store_fail(s->host, code, "sqlite: %s: %s", s->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return code;
    }
    close(fd);
    return 0;
}

static int exec(struct sqlite_store *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                   : sqlite_store_error(s, "open");
}

/* One integer; negative code (told) or 0. */
static int query_number(struct sqlite_store *s, const char *sql, int64_t *ret)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    int code = rc == SQLITE_ROW ? 0 : sqlite_store_error(s, "open");
    if (!code)
        *ret = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return code;
}

static int note_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db, (void)name;
    ((struct sqlite_store *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

static int connect(struct sqlite_store *s)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK)
        return s->db ? sqlite_store_error(s, "open") : no_memory(s->host);
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, SQLITE_STORE_BUSY_MS);
    /* one writer whose reads are one scan at start: a large cache or mmap gains nothing (measured) */
    int code = exec(s, "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                       "PRAGMA cache_size=-2048; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;"
                       "PRAGMA journal_size_limit=67108864; PRAGMA trusted_schema=OFF;"
                       "PRAGMA cell_size_check=ON");
    if (!code && sqlite_store_sum_function(s->db) != SQLITE_OK)
        code = sqlite_store_error(s, "open");
    /* our own hook takes the place of automatic checkpoints, whose errors nobody would see */
    sqlite3_wal_hook(s->db, note_wal, s);
    return code;
}

static int limit_size(struct sqlite_store *s)
{
    const struct neap_host_config *config = s->host->config;
    int64_t most = config ? config->integer(s->host->ctx, "max_bytes") : 0, page;
    int64_t pages = config ? config->integer(s->host->ctx, "checkpoint_pages") : 0;
    s->checkpoint_pages = pages > 0 ? (int)pages : SQLITE_STORE_CHECKPOINT_PAGES;
    char sql[64];
    if (most <= 0)
        return 0;
    int code = query_number(s, "PRAGMA page_size", &page);
    if (code)
        return code;
    snprintf(sql, sizeof(sql), "PRAGMA max_page_count=%lld", (long long)(most / page + 1));
    return exec(s, sql);
}

/* ---- schema ---- */

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS log(id INTEGER PRIMARY KEY, key TEXT NOT NULL, val TEXT,"
    " expires INTEGER NOT NULL, prev INTEGER NOT NULL, sum INTEGER);"
    "CREATE TABLE IF NOT EXISTS meta(one INTEGER PRIMARY KEY CHECK(one = 1),"
    " format INTEGER NOT NULL, revision INTEGER NOT NULL, compacted INTEGER NOT NULL, sum INTEGER);"
    "INSERT INTO meta VALUES(1, 2, 1, 0, NULL);" /* revision 0 means "any" to clients */
    "COMMIT;";

/* Format 1 had no sums: its rows go on without. */
static const char from_format_1[] = "BEGIN IMMEDIATE;"
                                    "ALTER TABLE log ADD COLUMN sum INTEGER;"
                                    "ALTER TABLE meta ADD COLUMN sum INTEGER;"
                                    "UPDATE meta SET format = 2;"
                                    "COMMIT;";

static const char *const sql[S_COUNT] = {
    [S_BEGIN] = "BEGIN IMMEDIATE",
    [S_COMMIT] = "COMMIT",
    [S_ROLLBACK] = "ROLLBACK",
    [S_INSERT] = "INSERT INTO log(id, key, val, expires, prev, sum) VALUES(?, ?, ?, ?, ?, ?)",
    [S_META_REVISION] = "UPDATE meta SET revision = ?, sum = ?",
    [S_META_COMPACTED] = "UPDATE meta SET compacted = ?, sum = ?",
    [S_COMPACT_NEXT] =
        "SELECT id, key, prev, val IS NULL FROM log WHERE id > ? ORDER BY id LIMIT 1",
    [S_DELETE_RANGE] = "DELETE FROM log WHERE id BETWEEN ? AND ? AND key = ?",
    [S_DELETE_ID] = "DELETE FROM log WHERE id = ?",
};

static int read_meta(struct sqlite_store *s)
{
    int64_t tables, format, revision, compacted, sum;
    int code = query_number(s, "SELECT count(*) FROM sqlite_master", &tables);
    if (!code && !tables)
        code = exec(s, schema);
    if (!code)
        code = query_number(s, "SELECT format FROM meta", &format);
    if (code)
        return code;
    if (format > SQLITE_STORE_FORMAT)
        return sqlite_store_fail(s->host, NEAP_ECONFIG,
                                 "sqlite: %s has format %lld, this server knows formats up to %d: "
                                 "a newer version has written it",
                                 s->path, (long long)format, SQLITE_STORE_FORMAT);
    if (format == 1)
        code = exec(s, from_format_1);
    if (!code)
        code = query_number(s, "SELECT revision FROM meta", &revision);
    if (!code)
        code = query_number(s, "SELECT compacted FROM meta", &compacted);
    if (!code)
        code = query_number(s, "SELECT ifnull(sum, 0) FROM meta", &sum);
    if (code)
        return code;
    if (revision < 1 || compacted < 0 || compacted > revision ||
        (sum && sum != sqlite_store_meta_sum((uint64_t)revision, (uint64_t)compacted)))
        return sqlite_store_fail(s->host, NEAP_EIO, "sqlite: %s is damaged: its counters are wrong",
                                 s->path);
    s->revision = (uint64_t)revision;
    s->compacted = (uint64_t)compacted;
    return 0;
}

static int prepare(struct sqlite_store *s)
{
    for (int i = 0; i < S_COUNT; i++)
        if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i],
                               NULL) != SQLITE_OK)
            return sqlite_store_error(s, "open");
    return 0;
}

static void store_close(void *self)
{
    struct sqlite_store *s = self;
    if (!s)
        return;
    for (int i = 0; i < S_COUNT; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->records);
    free(s->path);
    free(s);
}

static int store_open(const struct neap_host *host, const struct neap_store_follower *follower,
                      void **ret_self)
{
    struct sqlite_store *s = calloc(1, sizeof(*s));
    if (!s)
        return no_memory(host);
    s->host = host;
    s->follower = *follower;
    s->lock_fd = -1;
    if (asprintf(&s->path, "%s/neap.db", host->data_dir) < 0) {
        free(s);
        return no_memory(host);
    }
    int code = take_lock(s);
    if (!code)
        code = make_file(s);
    if (!code)
        code = connect(s);
    if (!code)
        code = read_meta(s);
    if (!code)
        code = limit_size(s);
    if (!code)
        code = prepare(s);
    if (code)
        store_close(s);
    else
        *ret_self = s;
    return code;
}

static const struct neap_option options[] = {
    {"max_bytes", NEAP_OPTION_INT, "0", 0, INT64_MAX,
     "the database may grow to so many bytes, then writes fail with 507; 0: until the disk is "
     "full"},
    {"checkpoint_pages", NEAP_OPTION_INT, "2000", 1, 1000000,
     "pages of 8 KiB in the write-ahead log after which they are moved into the database"},
    {0},
};

NEAP_PLUGIN_EXPORT const struct neap_store_plugin neap_plugin = {
    .header = {.magic = NEAP_PLUGIN_MAGIC,
               .abi_major = NEAP_PLUGIN_ABI_MAJOR,
               .abi_minor = NEAP_PLUGIN_ABI_MINOR,
               .struct_size = sizeof(struct neap_store_plugin),
               .kind = NEAP_PLUGIN_STORE,
               .name = "sqlite",
               .version = "1",
               .options = options},
    .embedded = true,
    .open = store_open,
    .load = sqlite_store_load,
    .write = sqlite_store_write,
    .compact = sqlite_store_compact,
    .backup = sqlite_store_backup,
    .verify = sqlite_store_verify,
    .close = store_close,
    .size = sqlite_store_size,
};
