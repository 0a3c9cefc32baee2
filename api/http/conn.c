/* One accepted connection: from its handshake to its end; what speaks on it is h2.c, h1.c or ws.c. */
#include "conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

enum { IDLE_BUFFER_MS = 1000 };

static struct http_conn *conn_of(struct http_io *io)
{
    return neap_container_of(io, struct http_conn, io);
}

static void on_ready(struct http_io *io)
{
    struct http_conn *c = conn_of(io);
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(io->ssl, &name, &len);
    c->peer.certificate = SSL_get1_peer_certificate(io->ssl);
    c->protocol = len == 2 && memcmp(name, "h2", 2) == 0 ? &http_h2 : &http_h1;
    c->since_ms = neap_loop_now_ms(io->loop);
    c->protocol->start(c);
    if (c->server->draining)
        c->protocol->drain(c);
}

static bool on_input(struct http_io *io, const char *data, size_t len)
{
    struct http_conn *c = conn_of(io);
    return c->protocol->input(c, data, len);
}

static void on_output(struct http_io *io)
{
    struct http_conn *c = conn_of(io);
    c->protocol->output(c);
}

static void on_gone(struct http_io *io)
{
    struct http_conn *c = conn_of(io);
    struct neap_http_server *s = c->server;
    if (c->protocol)
        c->protocol->gone(c);
    X509_free(c->peer.certificate);
    c->peer.certificate = NULL;
    neap_list_remove(&c->link);
    s->conn_count--;
    http_server_conn_gone(s);
}

static void on_release(struct http_io *io)
{
    free(conn_of(io));
}

static const struct http_io_ops server_io = {on_ready, on_input, on_output, on_gone, on_release};

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

void http_conn_new(struct neap_http_server *s, int fd, const struct sockaddr_storage *from)
{
    static const int on = 1, keep_idle_s = 30;
    struct http_conn *c = neap_calloc(1, sizeof(*c));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    /* a peer that is gone without a word is found, also when nothing is sent to it */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keep_idle_s, sizeof(keep_idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &keep_idle_s, sizeof(keep_idle_s));
    c->server = s;
    neap_list_init(&c->requests);
    peer_name(c, from);
    neap_list_append(&s->conns, &c->link);
    s->conn_count++;
    c->since_ms = neap_loop_now_ms(s->options.loop);
    http_io_start(&c->io, s->options.loop, &server_io, s->options.tls->ctx, fd, true);
}

static bool late(int64_t now, int64_t since, uint64_t limit_ms)
{
    return limit_ms && now - since > (int64_t)limit_ms;
}

void http_conn_tick(struct http_conn *c, int64_t now)
{
    const struct neap_http_limits *l = &c->server->options.limits;
    struct http_io *io = &c->io;
    if (io->lingering)
        now - io->active_ms > HTTP_LINGER_MS ? http_io_close(io, "closed") : (void)0;
    else if (!c->protocol && late(now, c->since_ms, l->handshake_timeout_ms))
        http_io_close(io, "the handshake took too long");
    else if (!c->protocol)
        return;
    else if (io->stalled_ms && late(now, io->stalled_ms, l->write_stall_ms))
        http_io_close(io, "the peer does not read");
    else if (neap_list_empty(&c->requests) && late(now, io->active_ms, l->idle_timeout_ms))
        http_io_close(io, "idle");
    else if (!c->protocol->tick(c, now))
        http_io_close(io, "the request took too long");
    else if (!http_io_waiting(io) && late(now, io->active_ms, IDLE_BUFFER_MS))
        neap_buf_done(&io->out); /* an idle connection keeps little */
}

void http_conn_drain(struct http_conn *c)
{
    if (!c->protocol) {
        http_io_close(&c->io, "shutdown");
        return;
    }
    c->protocol->drain(c);
    http_io_flush_soon(&c->io);
}
