#include "common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void *oci_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p)
        abort();
    return p;
}

void *oci_realloc(void *p, size_t n)
{
    p = realloc(p, n ? n : 1);
    if (!p)
        abort();
    return p;
}

char *oci_strdup(const char *s)
{
    if (!s)
        return NULL;
    size_t n = strlen(s) + 1;
    return memcpy(oci_alloc(n), s, n);
}

char *oci_printf(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        abort();
    va_end(ap);
    return s;
}

void oci_buf_add(struct oci_buf *b, const void *p, size_t n)
{
    if (b->len + n + 1 > b->cap) {
        b->cap = (b->len + n + 1) * 2;
        b->p = oci_realloc(b->p, b->cap);
    }
    if (n)
        memcpy(b->p + b->len, p, n);
    b->len += n;
    b->p[b->len] = 0;
}

void oci_buf_printf(struct oci_buf *b, const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0)
        abort();
    oci_buf_add(b, s, (size_t)n);
    free(s);
}

void oci_buf_drop(struct oci_buf *b, size_t n)
{
    if (n >= b->len) {
        oci_buf_done(b);
        return;
    }
    memmove(b->p, b->p + n, b->len - n + 1);
    b->len -= n;
}

void oci_buf_done(struct oci_buf *b)
{
    free(b->p);
    *b = (struct oci_buf){0};
}

static int64_t now(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t oci_now_wall(void)
{
    return now(CLOCK_REALTIME);
}

int64_t oci_now_mono(void)
{
    return now(CLOCK_MONOTONIC);
}

int oci_read_file(const char *path, size_t max, char **ret, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct oci_buf b = {0};
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || b.len + (size_t)n > max) {
            int r = n < 0 ? -errno : -EFBIG;
            close(fd);
            oci_buf_done(&b);
            return r;
        }
        oci_buf_add(&b, chunk, (size_t)n);
    }
    close(fd);
    if (!b.p)
        oci_buf_add(&b, "", 0);
    *ret = b.p;
    if (ret_len)
        *ret_len = b.len;
    return 0;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

int oci_fsync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

int oci_write_durable(const char *path, const void *p, size_t n)
{
    char *tmp = oci_printf("%s.tmp", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : write_all(fd, p, n);
    if (!r && fsync(fd) < 0)
        r = -errno;
    if (fd >= 0)
        close(fd);
    if (!r && rename(tmp, path) < 0)
        r = -errno;
    if (r && fd >= 0)
        unlink(tmp);
    free(tmp);
    if (r)
        return r;
    char *dir = oci_strdup(path);
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir)
        *slash = 0;
    r = oci_fsync_dir(slash ? dir : ".");
    free(dir);
    return r;
}

int oci_write_plain(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, strlen(text));
    int r = n < 0 ? -errno : 0;
    close(fd);
    return r;
}

int oci_mkdir_p(const char *path, mode_t mode)
{
    char *s = oci_strdup(path);
    for (char *p = s + 1;; p++) {
        char c = *p;
        if (c && c != '/')
            continue;
        *p = 0;
        if (mkdir(s, mode) < 0 && errno != EEXIST) {
            int r = -errno;
            free(s);
            return r;
        }
        *p = c;
        if (!c)
            break;
    }
    free(s);
    return 0;
}

/* Depth is bounded by the path length of what was unpacked; deep trees are cut by -ELOOP. */
static int remove_at(int dir, const char *name, dev_t dev, unsigned depth)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (depth > 1000)
        return -ELOOP;
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    struct stat st;
    if (fstat(fd, &st) < 0 || (dev && st.st_dev != dev)) {
        close(fd);
        return -EBUSY;
    }
    DIR *d = fdopendir(fd);
    int r = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        int one = remove_at(dirfd(d), e->d_name, st.st_dev, depth + 1);
        if (one && !r)
            r = one;
    }
    if (d)
        closedir(d);
    if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT && !r)
        r = -errno;
    return r;
}

int oci_remove_tree(const char *path)
{
    return remove_at(AT_FDCWD, path, 0, 0);
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
    char *o = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] && s[2] && s[3]) {
            *o++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 3;
        } else {
            *o++ = *s;
        }
    }
    *o = 0;
}

bool oci_is_mounted(const char *path)
{
    char *text = NULL;
    if (oci_read_file("/proc/self/mountinfo", 64u << 20, &text, NULL))
        return false;
    bool found = false;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line && !found;
         line = strtok_r(NULL, "\n", &save)) {
        char *s2 = NULL, *f = strtok_r(line, " ", &s2);
        for (int i = 0; f && i < 4; i++)
            f = strtok_r(NULL, " ", &s2);
        if (f) {
            unescape(f);
            found = !strcmp(f, path);
        }
    }
    free(text);
    return found;
}

bool oci_id_ok(const char *id)
{
    size_t n = id ? strlen(id) : 0;
    if (!n || n > 200 || id[0] == '.')
        return false;
    return strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}
