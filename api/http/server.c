/* Accepting, the life of a connection, limits, draining. */
#include "http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

void neap_http_limits_default(struct neap_http_limits *l)
{
    *l = (struct neap_http_limits){.header_bytes = 64 << 10,
                                   .body_bytes = 3 << 20,
                                   .arena_bytes = 64u << 20,
                                   .streams = 250,
                                   .connections = 10000,
                                   .header_timeout_ms = 10000,
                                   .idle_timeout_ms = 180000,
                                   .handshake_timeout_ms = 10000,
                                   .body_timeout_ms = 60000,
                                   .write_stall_ms = 60000};
}

/* ---- sending ---- */

/* 1: all is out; 0: the socket is full; -1: broken. */
static int send_out(struct http_conn *c)
{
    while (c->out_at < c->out.len) {
        size_t n = c->out.len - c->out_at;
        ERR_clear_error();
        int sent = SSL_write(c->ssl, c->out.data + c->out_at, (int)(n > HTTP_RECORD ? HTTP_RECORD : n));
        if (sent > 0) {
            c->out_at += (size_t)sent;
            c->stalled_ms = 0;
            continue;
        }
        int e = SSL_get_error(c->ssl, sent);
        if (e != SSL_ERROR_WANT_WRITE && e != SSL_ERROR_WANT_READ)
            return -1;
        if (!c->stalled_ms)
            c->stalled_ms = neap_loop_now_ms(c->server->options.loop);
        return 0;
    }
    neap_buf_reset(&c->out);
    c->out_at = 0;
    return 1;
}

static void set_events(struct http_conn *c, bool write)
{
    if (c->want_write == write)
        return;
    c->want_write = write;
    neap_fd_set(c->handle, NEAP_READABLE | (write ? NEAP_WRITABLE : 0));
}

static void flush(struct http_conn *c)
{
    for (int turn = 0; turn < 16 && !c->dead; turn++) {
        size_t before = c->out.len;
        if (c->protocol && c->out.len - c->out_at < HTTP_OUT_HIGH)
            c->protocol->output(c);
        bool more = c->out.len > before;
        int rc = send_out(c);
        if (rc < 0) {
            http_conn_close(c);
            return;
        }
        if (rc == 0) {
            set_events(c, true);
            return;
        }
        if (!more) {
            set_events(c, false);
            if (c->out.cap > HTTP_OUT_HIGH) /* an idle connection keeps little */
                neap_buf_done(&c->out);
            if (c->closing)
                http_conn_close(c);
            return;
        }
    }
    if (!c->dead)
        http_conn_flush_soon(c); /* others get a turn */
}

static void conn_free(struct http_conn *c)
{
    neap_buf_done(&c->out);
    free(c);
}

static void flush_posted(void *arg)
{
    struct http_conn *c = arg;
    c->flushing = false;
    if (c->dead)
        conn_free(c);
    else
        flush(c);
}

void http_conn_flush_soon(struct http_conn *c)
{
    if (c->flushing || c->dead)
        return;
    c->flushing = true;
    neap_loop_post(c->server->options.loop, flush_posted, c);
}

/* ---- life ---- */

static void free_posted(void *arg)
{
    conn_free(arg);
}

static void check_drained(struct neap_http_server *s);

void http_conn_close(struct http_conn *c)
{
    struct neap_http_server *s = c->server;
    if (c->dead)
        return;
    c->dead = true;
    if (c->protocol)
        c->protocol->gone(c);
    X509_free(c->peer.certificate);
    SSL_shutdown(c->ssl);
    ERR_clear_error();
    SSL_free(c->ssl);
    neap_timer_close(c->timer);
    neap_fd_close(c->handle);
    close(c->fd);
    neap_list_remove(&c->link);
    s->conn_count--;
    if (!c->flushing) { /* else the post that is under way frees it */
        c->flushing = true;
        neap_loop_post(s->options.loop, free_posted, c);
    }
    check_drained(s);
}

static void protocol_start(struct http_conn *c)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(c->ssl, &name, &len);
    c->peer.certificate = SSL_get1_peer_certificate(c->ssl);
    c->protocol = len == 2 && memcmp(name, "h2", 2) == 0 ? &http_h2 : &http_h1;
}

/* True: done; false: not yet, or closed. */
static bool handshake(struct http_conn *c)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(c->ssl);
    if (rc == 1) {
        protocol_start(c);
        return true;
    }
    int e = SSL_get_error(c->ssl, rc);
    if (e == SSL_ERROR_WANT_WRITE)
        set_events(c, true);
    else if (e != SSL_ERROR_WANT_READ)
        http_conn_close(c);
    return false;
}

static void receive(struct http_conn *c)
{
    char data[HTTP_READ];
    for (int turn = 0; turn < 8 && !c->dead && !c->closing; turn++) {
        ERR_clear_error();
        int n = SSL_read(c->ssl, data, sizeof(data));
        if (n > 0) {
            c->active_ms = neap_loop_now_ms(c->server->options.loop);
            if (!c->protocol->input(c, data, (size_t)n))
                c->closing = true;
            continue;
        }
        int e = SSL_get_error(c->ssl, n);
        if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
            http_conn_close(c);
        return;
    }
    /* bytes that TLS has already taken off the socket make no event */
    if (!c->dead && SSL_pending(c->ssl))
        http_conn_flush_soon(c);
}

static void on_io(void *arg, int events)
{
    struct http_conn *c = arg;
    if (!c->protocol && !handshake(c))
        return;
    if (c->dead)
        return;
    if (events & (NEAP_READABLE | NEAP_HANGUP))
        receive(c);
    if (!c->dead)
        flush(c);
}

static void on_timer(void *arg)
{
    struct http_conn *c = arg;
    const struct neap_http_limits *l = &c->server->options.limits;
    int64_t now = neap_loop_now_ms(c->server->options.loop), idle = now - c->active_ms;
    unsigned active = c->protocol ? c->protocol->active(c) : 0;
    bool stalled = c->stalled_ms && now - c->stalled_ms > (int64_t)l->write_stall_ms;
    if (!c->protocol || stalled || (!active && idle >= (int64_t)l->idle_timeout_ms)) {
        http_conn_close(c);
        return;
    }
    int64_t next = active ? (int64_t)l->idle_timeout_ms : (int64_t)l->idle_timeout_ms - idle;
    if (c->stalled_ms && next > (int64_t)l->write_stall_ms)
        next = (int64_t)l->write_stall_ms;
    neap_timer_start(c->timer, next > 0 ? (uint64_t)next : 1, 0);
}

static void peer_name(struct http_conn *c, const struct sockaddr_storage *s)
{
    char ip[INET6_ADDRSTRLEN] = "";
    bool v6 = s->ss_family == AF_INET6;
    const struct sockaddr_in *a4 = (const struct sockaddr_in *)s;
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)s;
    inet_ntop(s->ss_family, v6 ? (const void *)&a6->sin6_addr : (const void *)&a4->sin_addr, ip,
              sizeof(ip));
    snprintf(c->address, sizeof(c->address), v6 ? "[%s]:%u" : "%s:%u", ip,
             ntohs(v6 ? a6->sin6_port : a4->sin_port));
    c->peer.address = c->address;
}

static void conn_new(struct neap_http_server *s, int fd, const struct sockaddr_storage *from)
{
    static const int on = 1;
    struct http_conn *c = neap_calloc(1, sizeof(*c));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->server = s;
    c->fd = fd;
    c->ssl = SSL_new(s->options.tls->ctx);
    SSL_set_fd(c->ssl, fd);
    SSL_set_accept_state(c->ssl);
    peer_name(c, from);
    c->active_ms = neap_loop_now_ms(s->options.loop);
    c->handle = neap_fd_new(s->options.loop, fd, on_io, c);
    c->timer = neap_timer_new(s->options.loop, on_timer, c);
    neap_timer_start(c->timer, s->options.limits.handshake_timeout_ms, 0);
    neap_fd_set(c->handle, NEAP_READABLE);
    neap_list_append(&s->conns, &c->link);
    s->conn_count++;
}

static void on_accept(void *arg, int events)
{
    struct http_listener *l = arg;
    struct sockaddr_storage from;
    (void)events;
    for (int i = 0; i < 64; i++) {
        socklen_t n = sizeof(from);
        int fd = accept4(l->fd, (struct sockaddr *)&from, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        if (l->server->conn_count >= l->server->options.limits.connections)
            close(fd); /* a clear refusal: the client sees a reset */
        else
            conn_new(l->server, fd, &from);
    }
}

int neap_http_server_new(const struct neap_http_server_options *o, struct neap_http_server **ret,
                         struct neap_err *err)
{
    (void)err;
    struct neap_http_server *s = neap_calloc(1, sizeof(*s));
    s->options = *o;
    neap_list_init(&s->listeners);
    neap_list_init(&s->conns);
    *ret = s;
    return 0;
}

int neap_http_server_listen(struct neap_http_server *s, int fd, struct neap_err *err)
{
    (void)err;
    struct http_listener *l = neap_calloc(1, sizeof(*l));
    l->fd = fd;
    l->server = s;
    l->handle = neap_fd_new(s->options.loop, fd, on_accept, l);
    neap_fd_set(l->handle, NEAP_READABLE);
    neap_list_append(&s->listeners, &l->link);
    return 0;
}

static void close_listeners(struct neap_http_server *s)
{
    neap_list_foreach(&s->listeners, e)
    {
        struct http_listener *l = neap_list_entry(e, struct http_listener, link);
        neap_list_remove(&l->link);
        neap_fd_close(l->handle);
        close(l->fd);
        free(l);
    }
}

static void drain_end(void *arg)
{
    struct neap_http_server *s = arg;
    void (*done)(void *) = s->drained;
    s->drained = NULL;
    s->drain_timer = neap_timer_close(s->drain_timer);
    if (done)
        done(s->drained_arg);
}

static void close_end(void *arg)
{
    struct neap_http_server *s = arg;
    s->closed(s->closed_arg);
    free(s);
}

static void check_drained(struct neap_http_server *s)
{
    if (!neap_list_empty(&s->conns))
        return;
    if (s->draining && s->drained && !s->closing)
        neap_timer_start(s->drain_timer, 0, 0);
}

void neap_http_server_drain(struct neap_http_server *s, uint64_t ms, void (*done)(void *arg),
                            void *arg)
{
    s->draining = true;
    s->drained = done;
    s->drained_arg = arg;
    s->drain_timer = neap_timer_new(s->options.loop, drain_end, s);
    close_listeners(s);
    neap_timer_start(s->drain_timer, neap_list_empty(&s->conns) ? 0 : ms, 0);
    neap_list_foreach(&s->conns, e)
    {
        struct http_conn *c = neap_list_entry(e, struct http_conn, link);
        if (c->protocol) {
            c->protocol->drain(c);
            http_conn_flush_soon(c);
        } else {
            http_conn_close(c);
        }
    }
}

void neap_http_server_close(struct neap_http_server *s, void (*closed)(void *arg), void *arg)
{
    s->closing = true;
    s->closed = closed;
    s->closed_arg = arg;
    close_listeners(s);
    s->drain_timer = neap_timer_close(s->drain_timer);
    while (!neap_list_empty(&s->conns))
        http_conn_close(neap_list_entry(s->conns.next, struct http_conn, link));
    /* behind the posts that free the connections */
    neap_loop_post(s->options.loop, close_end, s);
}
