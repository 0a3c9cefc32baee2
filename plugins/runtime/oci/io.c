/* Exec and attach: a connection of its own to the shim, bytes both ways. */
#include "oci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WRITE_HIGH (256u << 10) /* io_write says no above this */

struct neap_runtime_io {
    struct neap_runtime_io *next;
    struct oci *o;
    struct neap_runtime_io_events events;
    void *arg;
    int fd;
    struct neap_host_fd *watch;
    struct neap_host_timer *timer;
    struct oci_buf in, out;
    bool stdout_, stderr_, full, finished, dispatching, closed, paused;
    int64_t timeout_ms;
};

/* What the connection is watched for. */
static void watch(struct neap_runtime_io *io)
{
    if (io->watch)
        io->o->host->loop->fd_set(io->o->host->ctx, io->watch,
                                  (io->paused ? 0 : 1) | (io->out.len ? 2 : 0));
}

static void disconnect(struct neap_runtime_io *io)
{
    struct oci *o = io->o;
    if (io->watch)
        o->host->loop->fd_close(o->host->ctx, io->watch);
    io->watch = NULL;
    if (io->fd >= 0)
        close(io->fd);
    io->fd = -1;
    if (io->timer)
        o->host->loop->timer_cancel(o->host->ctx, io->timer);
    io->timer = NULL;
}

static void io_free(struct neap_runtime_io *io)
{
    for (struct neap_runtime_io **at = &io->o->ios; *at; at = &(*at)->next) {
        if (*at == io) {
            *at = io->next;
            break;
        }
    }
    disconnect(io);
    oci_buf_done(&io->in);
    oci_buf_done(&io->out);
    free(io);
}

/* The caller may close inside `done`; the memory goes with io_close. */
static void finish(struct neap_runtime_io *io, int code, const char *error)
{
    if (io->finished || io->closed)
        return;
    io->finished = true;
    disconnect(io);
    io->events.done(io->arg, code, error);
}

static void on_json(struct neap_runtime_io *io, const char *p, size_t n)
{
    yyjson_doc *doc = yyjson_read(p, n, 0);
    yyjson_val *r = yyjson_doc_get_root(doc);
    const char *event = yyjson_get_str(yyjson_obj_get(r, "event"));
    int code = yyjson_get_int(yyjson_obj_get(r, "code"));
    if (event && !strcmp(event, "exit"))
        finish(io, yyjson_get_int(yyjson_obj_get(r, "exit_code")), NULL);
    else if (yyjson_obj_get(r, "seq") && code) {
        const char *text = yyjson_get_str(yyjson_obj_get(r, "message"));
        finish(io, -1, text ? text : "the shim refused");
    }
    yyjson_doc_free(doc);
}

static int read_frames(struct neap_runtime_io *io)
{
    char data[OCI_WIRE_CHUNK];
    ssize_t got = recv(io->fd, data, sizeof data, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0)
        return -ECONNRESET;
    oci_buf_add(&io->in, data, (size_t)got);
    size_t at = 0;
    int r = 0;
    while (!io->closed && !io->finished) {
        int kind;
        const char *p;
        size_t n, used;
        r = oci_wire_get(&io->in, at, &kind, &p, &n, &used);
        if (r <= 0)
            break;
        if (kind == OCI_WIRE_JSON)
            on_json(io, p, n);
        else if ((kind == OCI_WIRE_STDOUT && io->stdout_) ||
                 (kind == OCI_WIRE_STDERR && io->stderr_))
            io->events.output(io->arg, kind, p, n);
        at += used;
    }
    if (at)
        oci_buf_drop(&io->in, at);
    return r < 0 ? r : 0;
}

static int flush(struct neap_runtime_io *io)
{
    while (io->out.len) {
        ssize_t n = send(io->fd, io->out.p, io->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        oci_buf_drop(&io->out, (size_t)n);
    }
    return 0;
}

static void on_ready(void *arg, int events)
{
    struct neap_runtime_io *io = arg;
    io->dispatching = true;
    flush(io); /* a broken pipe shows when reading, after what there still is to read */
    int r = io->paused ? 0 : read_frames(io);
    if (r < 0)
        finish(io, -1, "the connection to the pod's shim was lost");
    if (!io->closed && !io->finished && io->full && io->out.len < WRITE_HIGH / 2) {
        io->full = false;
        if (io->events.writable)
            io->events.writable(io->arg);
    }
    io->dispatching = false;
    if (io->closed)
        io_free(io);
    else
        watch(io);
}

static void send_json(struct neap_runtime_io *io, yyjson_mut_doc *d)
{
    size_t n = 0;
    char *text = yyjson_mut_write(d, 0, &n);
    yyjson_mut_doc_free(d);
    if (text && io->fd >= 0)
        oci_wire_put(&io->out, OCI_WIRE_JSON, text, n);
    free(text);
    watch(io);
}

static void on_timeout(void *arg)
{
    struct neap_runtime_io *io = arg;
    char text[96];
    io->timer = NULL;
    snprintf(text, sizeof text, "timed out after %lld ms", (long long)io->timeout_ms);
    finish(io, -1, text); /* the connection closes: the shim kills the process */
}

/* The container's own process with another command line. */
static yyjson_mut_val *process_for(struct oci_container *c,
                                   const struct neap_runtime_exec_config *e, yyjson_mut_doc *d)
{
    char *path = oci_printf("%s/config.json", c->dir), *text = NULL;
    size_t n = 0;
    yyjson_doc *doc = oci_read_file(path, OCI_FILE_MAX, &text, &n) ? NULL : yyjson_read(text, n, 0);
    free(path);
    free(text);
    yyjson_val *own = yyjson_obj_get(yyjson_doc_get_root(doc), "process");
    yyjson_mut_val *p = own ? yyjson_val_mut_copy(d, own) : NULL;
    yyjson_doc_free(doc);
    if (!p)
        return NULL;
    yyjson_mut_val *args = yyjson_mut_arr(d);
    for (const char *const *a = e->argv; *a; a++)
        yyjson_mut_arr_add_strcpy(d, args, *a);
    yyjson_mut_obj_remove_key(p, "args");
    yyjson_mut_obj_remove_key(p, "terminal");
    yyjson_mut_obj_add_val(d, p, "args", args);
    yyjson_mut_obj_add_bool(d, p, "terminal", e->tty);
    return p;
}

static yyjson_mut_doc *io_request(struct oci *o, struct oci_container *c,
                                  const struct neap_runtime_exec_config *e)
{
    yyjson_mut_doc *d = oci_request(e->argv ? "exec" : "attach", c->id);
    yyjson_mut_val *r = yyjson_mut_doc_get_root(d);
    yyjson_mut_obj_add_int(d, r, "seq", 1);
    yyjson_mut_obj_add_bool(d, r, "stdin", e->stdin_);
    yyjson_mut_obj_add_bool(d, r, "stdout", e->stdout_);
    yyjson_mut_obj_add_bool(d, r, "stderr", e->stderr_);
    yyjson_mut_obj_add_bool(d, r, "tty", e->argv ? e->tty : c->tty);
    if (!e->argv)
        return d;
    yyjson_mut_val *p = process_for(c, e, d);
    if (!p) {
        yyjson_mut_doc_free(d);
        return NULL;
    }
    yyjson_mut_obj_add_val(d, r, "process", p);
    const char *argv[] = {o->runtime,
                          "--root",
                          o->runtime_root,
                          "--log",
                          "@log",
                          "exec",
                          "--detach",
                          "--process",
                          "@process",
                          "--pid-file",
                          "@pid",
                          e->tty ? "--console-socket" : c->id,
                          e->tty ? "@console" : NULL,
                          c->id,
                          NULL};
    oci_request_argv(d, argv);
    return d;
}

struct neap_runtime_io *oci_exec(void *self, const struct neap_runtime_exec_config *e,
                                 const struct neap_runtime_io_events *events, void *arg)
{
    struct oci *o = self;
    struct oci_container *c = oci_container_find(o, e->container_id);
    struct oci_sandbox *s = c ? oci_sandbox_find(o, c->sandbox_id) : NULL;
    if (!s || c->state != NEAP_RUNTIME_RUNNING || o->stopping) {
        o->host->fail(o->host->ctx, c ? "the container is not running" : "no such container");
        return NULL;
    }
    int fd = oci_shim_connect(s->dir);
    yyjson_mut_doc *d = fd < 0 ? NULL : io_request(o, c, e);
    if (!d) {
        o->host->fail(o->host->ctx, "the pod's shim does not answer");
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct neap_runtime_io *io = oci_alloc(sizeof *io);
    *io = (struct neap_runtime_io){.o = o,
                                   .events = *events,
                                   .arg = arg,
                                   .fd = fd,
                                   .stdout_ = e->stdout_,
                                   .stderr_ = e->stderr_,
                                   .timeout_ms = e->timeout_ms,
                                   .next = o->ios};
    o->ios = io;
    char hello[32];
    int n = snprintf(hello, sizeof hello, "{\"neap_shim\":%d}", OCI_WIRE_VERSION);
    oci_wire_put(&io->out, OCI_WIRE_JSON, hello, (size_t)n);
    io->watch = o->host->loop->fd(o->host->ctx, fd, 3, on_ready, io);
    send_json(io, d);
    if (e->timeout_ms > 0)
        io->timer = o->host->loop->timer(o->host->ctx, (uint64_t)e->timeout_ms, on_timeout, io);
    return io;
}

bool oci_io_write(void *self, struct neap_runtime_io *io, const void *data, size_t len)
{
    const char *p = data;
    if (io->fd < 0)
        return true; /* nobody reads it any more */
    while (len) {
        size_t n = len < OCI_WIRE_CHUNK ? len : OCI_WIRE_CHUNK;
        oci_wire_put(&io->out, OCI_WIRE_STDIN, p, n);
        p += n;
        len -= n;
    }
    watch(io);
    io->full = io->out.len >= WRITE_HIGH;
    return !io->full;
}

void oci_io_close_stdin(void *self, struct neap_runtime_io *io)
{
    send_json(io, oci_request("close_stdin", NULL));
}

void oci_io_resize(void *self, struct neap_runtime_io *io, unsigned columns, unsigned rows)
{
    yyjson_mut_doc *d = oci_request("resize", NULL);
    yyjson_mut_obj_add_uint(d, yyjson_mut_doc_get_root(d), "columns", columns);
    yyjson_mut_obj_add_uint(d, yyjson_mut_doc_get_root(d), "rows", rows);
    send_json(io, d);
}

void oci_io_pause(void *self, struct neap_runtime_io *io, bool paused)
{
    io->paused = paused;
    watch(io);
}

void oci_io_close(void *self, struct neap_runtime_io *io)
{
    io->closed = true;
    if (!io->dispatching)
        io_free(io);
}

void oci_io_close_all(struct oci *o)
{
    struct neap_runtime_io *next;
    for (struct neap_runtime_io *io = o->ios; io; io = next) {
        next = io->next;
        finish(io, -1, "the agent stops");
    }
}
