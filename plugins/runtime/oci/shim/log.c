/* Logs as the CRI has them: "<rfc3339nano> stdout F <line>", P for a part of a longer line. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int open_file(struct shim_log *l)
{
    int fd = open(l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    struct stat st;
    l->size = fstat(fd, &st) == 0 ? st.st_size : 0;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = fd;
    return 0;
}

int shim_log_open(struct shim_log *l, const char *path, int64_t max_bytes, unsigned max_files)
{
    *l = (struct shim_log){.fd = -1, .max_bytes = max_bytes, .max_files = max_files};
    l->path = oci_strdup(path);
    return open_file(l);
}

int shim_log_reopen(struct shim_log *l)
{
    return l->path ? open_file(l) : 0;
}

/* path -> path.1 -> path.2 ...; the last one goes. */
static void rotate(struct shim_log *l)
{
    for (unsigned i = l->max_files - 1; i >= 1; i--) {
        char *from = i == 1 ? oci_strdup(l->path) : oci_printf("%s.%u", l->path, i - 1);
        char *to = oci_printf("%s.%u", l->path, i);
        rename(from, to);
        free(from);
        free(to);
    }
    if (l->max_files <= 1)
        unlink(l->path);
    open_file(l);
}

static void add_record(struct oci_buf *out, int stream, char tag, const char *p, size_t n)
{
    int64_t t = oci_now_wall();
    time_t sec = (time_t)(t / 1000000000);
    struct tm tm;
    gmtime_r(&sec, &tm);
    oci_buf_printf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ %s %c ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                   (int)(t % 1000000000), stream == 2 ? "stderr" : "stdout", tag);
    oci_buf_add(out, p, n);
    oci_buf_add(out, "\n", 1);
}

/* A full disk loses log lines, never the container. */
static void put(struct shim_log *l, struct oci_buf *out)
{
    size_t at = 0;
    while (at < out->len) {
        ssize_t w = write(l->fd, out->p + at, out->len - at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            l->lost++;
            break;
        }
        at += (size_t)w;
    }
    l->size += (int64_t)at;
    oci_buf_done(out);
    if (l->max_bytes > 0 && l->size >= l->max_bytes)
        rotate(l);
}

void shim_log_write(struct shim_log *l, int stream, const char *p, size_t n)
{
    if (l->fd < 0)
        return;
    struct oci_buf out = {0}, *line = &l->line[stream == 2];
    while (n) {
        const char *nl = memchr(p, '\n', n);
        size_t take = nl ? (size_t)(nl - p) : n;
        if (take > SHIM_LINE_MAX - line->len) {
            take = SHIM_LINE_MAX - line->len;
            nl = NULL;
        }
        oci_buf_add(line, p, take);
        p += take;
        n -= take;
        if (nl) {
            add_record(&out, stream, 'F', line->p, line->len);
            p++;
            n--;
        } else if (line->len == SHIM_LINE_MAX) {
            add_record(&out, stream, 'P', line->p, line->len);
        } else {
            continue;
        }
        oci_buf_done(line);
        if (l->max_bytes > 0 && l->size + (int64_t)out.len >= l->max_bytes)
            put(l, &out); /* a file is never longer than its limit and one line */
    }
    if (out.len)
        put(l, &out);
}

/* What has no newline yet is written as a part, so that readers get the very same bytes. */
void shim_log_flush(struct shim_log *l)
{
    struct oci_buf out = {0};
    for (int i = 0; i < 2; i++) {
        if (l->line[i].len)
            add_record(&out, i + 1, 'P', l->line[i].p, l->line[i].len);
        oci_buf_done(&l->line[i]);
    }
    if (out.len && l->fd >= 0)
        put(l, &out);
    oci_buf_done(&out);
}

void shim_log_done(struct shim_log *l)
{
    oci_buf_done(&l->line[0]);
    oci_buf_done(&l->line[1]);
    if (l->path && l->fd >= 0)
        close(l->fd);
    free(l->path);
    *l = (struct shim_log){.fd = -1};
}
