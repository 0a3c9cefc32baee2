/* Connections: buffers, frames, back-pressure. */
#include "shim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void update(struct client *c)
{
    uint32_t events = (c->paused ? 0 : EPOLLIN) | (c->out.len || c->kicked ? EPOLLOUT : 0);
    shim_events(c->shim, &c->conn, events);
}

void shim_client_close(struct client *c)
{
    struct shim *s = c->shim;
    for (struct client **at = &s->clients; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    s->client_count--;
    shim_request_left(c);
    shim_unwatch(s, &c->conn, true);
    oci_buf_done(&c->in);
    oci_buf_done(&c->out);
    free(c);
}

/* Only queues: closing happens in the connection's own callback, so callers may go on using <c>. */
void shim_client_send(struct client *c, int kind, const void *p, size_t n)
{
    if (c->gone)
        return;
    oci_wire_put(&c->out, kind, p, n);
    update(c);
}

void shim_client_json(struct client *c, yyjson_mut_doc *d)
{
    size_t n = 0;
    char *text = yyjson_mut_write(d, 0, &n);
    yyjson_mut_doc_free(d);
    if (text)
        shim_client_send(c, OCI_WIRE_JSON, text, n);
    free(text);
}

void shim_client_reply(struct client *c, int64_t seq, int code, const char *message)
{
    if (!c)
        return;
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_doc_set_root(d, o);
    yyjson_mut_obj_add_sint(d, o, "seq", seq);
    yyjson_mut_obj_add_int(d, o, "code", code);
    if (message)
        yyjson_mut_obj_add_strcpy(d, o, "message", message);
    shim_client_json(c, d);
}

void shim_broadcast(struct shim *s, yyjson_mut_doc *d)
{
    size_t n = 0;
    char *text = yyjson_mut_write(d, 0, &n);
    yyjson_mut_doc_free(d);
    for (struct client *c = s->clients; c && text; c = c->next)
        if (c->greeted && !c->stream)
            shim_client_send(c, OCI_WIRE_JSON, text, n);
    free(text);
}

void shim_client_finish(struct client *c)
{
    c->closing = true;
    c->paused = true;
    if (!c->out.len)
        shim_events(c->shim, &c->conn, EPOLLOUT); /* closes from its own callback */
    else
        update(c);
}

void shim_client_unpause(struct client *c)
{
    if (!c->paused || c->closing)
        return;
    c->paused = false;
    c->kicked =
        true; /* frames that came before the pause wait in c->in: they make no event of their own */
    update(c);
}

static void on_json(struct client *c, const char *p, size_t n)
{
    yyjson_doc *doc = yyjson_read(p, n, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(root)) {
        c->gone = true;
    } else if (!c->greeted) {
        c->greeted = yyjson_get_int(yyjson_obj_get(root, "neap_shim")) >= 1;
        c->gone = !c->greeted;
    } else {
        shim_request(c, root);
    }
    yyjson_doc_free(doc);
}

static void on_frames(struct client *c)
{
    size_t at = 0;
    while (!c->gone && !c->paused) {
        int kind;
        const char *p;
        size_t n, used;
        int r = oci_wire_get(&c->in, at, &kind, &p, &n, &used);
        if (r < 0)
            c->gone = true;
        if (r <= 0)
            break;
        if (kind == OCI_WIRE_JSON)
            on_json(c, p, n);
        else if (kind == OCI_WIRE_STDIN && c->process && c->gave_stdin)
            c->paused = shim_process_stdin(c->process, p, n) == 1 && !c->closing;
        at += used;
    }
    if (at)
        oci_buf_drop(&c->in, at);
}

static void receive(struct client *c)
{
    char data[OCI_WIRE_CHUNK];
    ssize_t n = recv(c->conn.fd, data, sizeof data, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        c->gone = true;
    else
        oci_buf_add(&c->in, data, (size_t)n);
}

static void transmit(struct client *c)
{
    if (!c->out.len)
        return;
    ssize_t n = send(c->conn.fd, c->out.p, c->out.len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        c->gone = true;
    if (n > 0)
        oci_buf_drop(&c->out, (size_t)n);
    if (c->process && c->process->is_exec && c->out.len < SHIM_EXEC_HIGH / 2)
        shim_process_output_resume(c->process);
}

static void on_client(struct source *src, uint32_t events)
{
    struct client *c = src->owner;
    c->kicked = false;
    if (events & EPOLLOUT)
        transmit(c);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !c->paused && !c->gone)
        receive(c);
    else if (events & (EPOLLHUP | EPOLLERR))
        c->gone = true; /* a paused one whose peer is gone */
    on_frames(c);
    if (c->gone || (c->closing && !c->out.len))
        shim_client_close(c);
    else
        update(c);
}

void shim_client_accept(struct source *src, uint32_t events)
{
    struct shim *s = src->owner;
    int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (s->client_count >= SHIM_CLIENTS_MAX) {
        close(fd);
        return;
    }
    struct client *c = oci_alloc(sizeof *c);
    c->shim = s;
    c->number = ++s->client_number;
    c->next = s->clients;
    s->clients = c;
    s->client_count++;
    shim_watch(s, &c->conn, fd, EPOLLIN, on_client, c);
    char hello[32];
    int n = snprintf(hello, sizeof hello, "{\"neap_shim\":%d}", OCI_WIRE_VERSION);
    shim_client_send(c, OCI_WIRE_JSON, hello, (size_t)n);
}
