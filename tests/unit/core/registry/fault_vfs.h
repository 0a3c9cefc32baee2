/* A sqlite VFS over the default one whose disk fails: the n-th operation of a kind, or the power at it. It knows what
 * has been synced: what has not may be lost, torn or reordered when the power goes. */
#ifndef NEAP_TEST_FAULT_VFS_H
#define NEAP_TEST_FAULT_VFS_H

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum fault_op { OP_NONE, OP_OPEN, OP_READ, OP_WRITE, OP_SYNC, OP_TRUNCATE, OP_ANY_CHANGE };

/* A write or a truncation (data NULL) that no sync has made durable. */
struct fault_pending {
    sqlite3_int64 at, len;
    char *data;
};
/* What the disk would hold of a file without power. */
struct fault_disk {
    char path[256];
    char *durable;
    sqlite3_int64 size;
    struct fault_pending *pending;
    size_t count, cap;
};
struct fault_file {
    sqlite3_file base;
    struct fault_disk *disk; /* NULL: a temporary file */
    sqlite3_file *real;
};

static struct {
    sqlite3_vfs vfs, *real;
    pthread_mutex_t lock;
    /* atomic: the test sets and reads them while the registry's writer works */
    _Atomic(enum fault_op) op; /* which operation fails: the <left>-th from now */
    atomic_int left;           /* counted down */
    atomic_int code, os_errno; /* what sqlite is told, what the system would say */
    atomic_int part;           /* a write that fails has written so many bytes */
    atomic_bool power_cut;     /* everything fails from then on */
    atomic_bool fired, dead;
    atomic_uint syncs_after; /* asked for between the fault and the end */
    struct fault_disk disks[2];
    uint64_t seed;
} fault;

static uint64_t fault_random(void)
{
    fault.seed ^= fault.seed << 13;
    fault.seed ^= fault.seed >> 7;
    fault.seed ^= fault.seed << 17;
    return fault.seed;
}

/* ---- what is durable ---- */

static void fault_apply(struct fault_disk *d, const struct fault_pending *p, sqlite3_int64 from,
                        sqlite3_int64 to)
{
    sqlite3_int64 size = p->data ? (p->at + to > d->size ? p->at + to : d->size) : p->len;
    if (size != d->size) {
        d->durable = realloc(d->durable, (size_t)size + 1);
        if (size > d->size)
            memset(d->durable + d->size, 0, (size_t)(size - d->size));
        d->size = size;
    }
    if (p->data && to > from)
        memcpy(d->durable + p->at + from, p->data + from, (size_t)(to - from));
}

static void fault_forget(struct fault_disk *d)
{
    for (size_t i = 0; i < d->count; i++)
        free(d->pending[i].data);
    d->count = 0;
}

static void fault_make_durable(struct fault_disk *d)
{
    for (size_t i = 0; i < d->count; i++)
        fault_apply(d, &d->pending[i], 0, d->pending[i].len);
    fault_forget(d);
}

static void fault_note(struct fault_disk *d, const void *data, sqlite3_int64 at, sqlite3_int64 len)
{
    if (!d)
        return;
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 64;
        d->pending = realloc(d->pending, d->cap * sizeof(*d->pending));
    }
    char *copy = data ? malloc((size_t)len + 1) : NULL;
    if (copy)
        memcpy(copy, data, (size_t)len);
    d->pending[d->count++] = (struct fault_pending){at, len, copy};
}

/* Some of what was not synced is there: in any order, each perhaps only in part. */
static void fault_lose(struct fault_disk *d)
{
    for (size_t i = d->count; i > 1; i--) {
        size_t j = fault_random() % i;
        struct fault_pending t = d->pending[i - 1];
        d->pending[i - 1] = d->pending[j];
        d->pending[j] = t;
    }
    for (size_t i = 0; i < d->count; i++) {
        const struct fault_pending *p = &d->pending[i];
        sqlite3_int64 sectors = p->len / 512, from = 0, to = p->len;
        if (fault_random() % 2)
            continue;
        if (p->data && sectors && fault_random() % 3 == 0)
            from = 512 * (sqlite3_int64)(fault_random() % (uint64_t)sectors);
        if (p->data && sectors && fault_random() % 3 == 0)
            to = from + 512 * (sqlite3_int64)(fault_random() % (uint64_t)(sectors - from / 512));
        fault_apply(d, p, from, to);
    }
    fault_forget(d);
}

/* The machine starts again: the files are what the disk holds. */
static void fault_restart(bool lost)
{
    for (size_t i = 0; i < 2; i++) {
        struct fault_disk *d = &fault.disks[i];
        if (!*d->path)
            continue;
        lost ? fault_lose(d) : fault_make_durable(d);
        FILE *f = fopen(d->path, "we");
        if (f && d->size)
            fwrite(d->durable, 1, (size_t)d->size, f);
        if (f)
            fclose(f);
        if (!d->size && strstr(d->path, "-wal"))
            unlink(d->path);
    }
    fault.dead = false;
    fault.op = OP_NONE;
}

static void fault_reset(void)
{
    for (size_t i = 0; i < 2; i++) {
        fault_forget(&fault.disks[i]);
        free(fault.disks[i].durable);
        free(fault.disks[i].pending);
        memset(&fault.disks[i], 0, sizeof(fault.disks[i]));
    }
    fault.op = OP_NONE;
    fault.fired = fault.dead = fault.power_cut = false;
    fault.syncs_after = 0;
    fault.part = 0;
}

/* ---- the files ---- */

/* Whether this operation fails; under the lock. */
static bool fault_now(enum fault_op op)
{
    bool change = op == OP_WRITE || op == OP_SYNC || op == OP_TRUNCATE;
    if (fault.fired && !fault.dead && op == OP_SYNC)
        fault.syncs_after++;
    if (fault.dead && op != OP_READ)
        return true;
    if (fault.fired || (fault.op != op && !(fault.op == OP_ANY_CHANGE && change)) || --fault.left)
        return false;
    fault.fired = true;
    fault.dead = fault.power_cut;
    return true;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct fault_file *)f)->real;
}

static int fault_close(sqlite3_file *f)
{
    sqlite3_file *r = real_of(f);
    int rc = r->pMethods ? r->pMethods->xClose(r) : SQLITE_OK;
    free(r);
    return rc;
}

static int fault_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    pthread_mutex_lock(&fault.lock);
    bool fails = fault_now(OP_READ);
    pthread_mutex_unlock(&fault.lock);
    return fails ? fault.code : real_of(f)->pMethods->xRead(real_of(f), to, n, at);
}

static int fault_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    pthread_mutex_lock(&fault.lock);
    bool fails = fault_now(OP_WRITE);
    int part = fails && !fault.dead && fault.part < n ? fault.part : fails ? 0 : n;
    if (part)
        fault_note(((struct fault_file *)f)->disk, from, at, part);
    int rc = part ? real_of(f)->pMethods->xWrite(real_of(f), from, part, at) : SQLITE_OK;
    pthread_mutex_unlock(&fault.lock);
    return fails ? fault.code : rc;
}

static int fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    pthread_mutex_lock(&fault.lock);
    bool fails = fault_now(OP_TRUNCATE);
    if (!fails)
        fault_note(((struct fault_file *)f)->disk, NULL, 0, size);
    int rc = fails ? fault.code : real_of(f)->pMethods->xTruncate(real_of(f), size);
    pthread_mutex_unlock(&fault.lock);
    return rc;
}

/* The disk of the test is never waited for. */
static int fault_sync(sqlite3_file *f, int flags)
{
    (void)flags;
    pthread_mutex_lock(&fault.lock);
    bool fails = fault_now(OP_SYNC);
    struct fault_disk *d = ((struct fault_file *)f)->disk;
    if (!fails && d)
        fault_make_durable(d);
    pthread_mutex_unlock(&fault.lock);
    return fails ? fault.code : SQLITE_OK;
}

static int fault_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), ret);
}
static int fault_lock(sqlite3_file *f, int how)
{
    return real_of(f)->pMethods->xLock(real_of(f), how);
}
static int fault_unlock(sqlite3_file *f, int how)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), how);
}
static int fault_reserved(sqlite3_file *f, int *ret)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}
static int fault_control(sqlite3_file *f, int op, void *arg)
{
    if (op == SQLITE_FCNTL_LAST_ERRNO) {
        *(int *)arg = fault.fired ? fault.os_errno : 0;
        return SQLITE_OK;
    }
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
static int fault_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}
static int fault_traits(sqlite3_file *f)
{
    (void)f;
    return 0; /* promises nothing: no safe append, no atomic writes */
}
static int fault_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, ret);
}
static int fault_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}
static void fault_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}
static int fault_shm_unmap(sqlite3_file *f, int delete_)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), delete_);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = fault_close,
    .xRead = fault_read,
    .xWrite = fault_write,
    .xTruncate = fault_truncate,
    .xSync = fault_sync,
    .xFileSize = fault_size,
    .xLock = fault_lock,
    .xUnlock = fault_unlock,
    .xCheckReservedLock = fault_reserved,
    .xFileControl = fault_control,
    .xSectorSize = fault_sector,
    .xDeviceCharacteristics = fault_traits,
    .xShmMap = fault_shm_map,
    .xShmLock = fault_shm_lock,
    .xShmBarrier = fault_shm_barrier,
    .xShmUnmap = fault_shm_unmap,
};

/* ---- the VFS ---- */

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret)
{
    struct fault_file *file = (struct fault_file *)f;
    (void)vfs;
    file->base.pMethods = NULL;
    pthread_mutex_lock(&fault.lock);
    bool fails = fault_now(OP_OPEN);
    if (!fails && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL))) {
        file->disk = &fault.disks[flags & SQLITE_OPEN_WAL ? 1 : 0];
        snprintf(file->disk->path, sizeof(file->disk->path), "%s", name);
    }
    pthread_mutex_unlock(&fault.lock);
    if (fails)
        return SQLITE_CANTOPEN;
    file->real = calloc(1, (size_t)fault.real->szOsFile);
    int rc = fault.real->xOpen(fault.real, name, file->real, flags, ret);
    if (rc)
        free(file->real);
    else
        file->base.pMethods = &fault_methods;
    return rc;
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    pthread_mutex_lock(&fault.lock);
    bool dead = fault.dead;
    for (size_t i = 0; !dead && i < 2; i++)
        if (strcmp(fault.disks[i].path, name) == 0) {
            fault_forget(&fault.disks[i]);
            fault.disks[i].size = 0;
        }
    pthread_mutex_unlock(&fault.lock);
    return dead ? SQLITE_IOERR_DELETE : fault.real->xDelete(fault.real, name, sync);
}

static int fault_last_error(sqlite3_vfs *vfs, int n, char *text)
{
    (void)vfs;
    return fault.fired ? fault.os_errno : fault.real->xGetLastError(fault.real, n, text);
}

static void fault_install(void)
{
    fault.real = sqlite3_vfs_find(NULL);
    pthread_mutex_init(&fault.lock, NULL);
    fault.vfs = *fault.real;
    fault.vfs.zName = "fault";
    fault.vfs.szOsFile = sizeof(struct fault_file);
    fault.vfs.xOpen = fault_open;
    fault.vfs.xDelete = fault_delete;
    fault.vfs.xGetLastError = fault_last_error;
    fault.seed = 0x2545F4914F6CDD1D;
    sqlite3_vfs_register(&fault.vfs, 1);
}

#endif
