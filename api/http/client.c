/* The HTTP client: addresses, the pool of connections, the life of an exchange. What is spoken on a
 * connection: client_h2.c. No callback runs inside the call that registers it: ends are told from a post. */
#include "client_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- addresses and sockets ---- */

/* "host:port", "[v6]:port" -> the host without brackets. */
static bool split(const char *address, char host[64], char port[8])
{
    const char *colon = strrchr(address, ':');
    if (!colon || !colon[1] || strlen(colon + 1) >= 8)
        return false;
    const char *end = colon;
    if (*address == '[' && end > address && end[-1] == ']') {
        address++;
        end--;
    }
    if (end <= address || end - address >= 64)
        return false;
    memcpy(host, address, (size_t)(end - address));
    host[end - address] = '\0';
    strcpy(port, colon + 1);
    return true;
}

/* A peer that vanished without a word is noticed by the kernel. */
static void set_options(int fd)
{
    static const int on = 1, idle = 30, every = 10, count = 3;
    static const unsigned unacked_ms = 60000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
}

static int connect_to(const char *netns, const char *address, const char *host, const char *port,
                      int *ret_fd, struct neap_err *err)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM},
                    *a = NULL;
    if (getaddrinfo(host, port, &hints, &a))
        return neap_err_set(err, NEAP_ECONFIG, "%s is no ADDR:PORT", address);
    int fd = neap_socket_in(netns, a->ai_family, SOCK_STREAM), rc = 0;
    if (fd >= 0)
        set_options(fd);
    if (fd < 0 || (connect(fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS))
        rc = neap_err_errno(err, fd < 0 ? -fd : errno, "connect to %s", address);
    freeaddrinfo(a);
    if (rc) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

/* The name that the server's certificate must show. */
static void expect_name(SSL *ssl, const char *name)
{
    struct in6_addr any;
    if (inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
        return;
    }
    SSL_set_tlsext_host_name(ssl, name);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set1_host(ssl, name);
}

int client_dial(struct neap_http_client *c, struct http_io *io, const struct http_io_ops *ops,
                const char *alpn, struct neap_err *err)
{
    char host[64], port[8];
    const char *address = client_host(c);
    int fd = -1;
    if (!split(address, host, port))
        return neap_err_set(err, NEAP_ECONFIG, "%s is no ADDR:PORT", address);
    int rc = connect_to(c->netns, address, host, port, &fd, err);
    if (rc)
        return rc;
    http_io_start(io, c->loop, ops, c->tls->ctx, fd, false);
    SSL_set_alpn_protos(io->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    expect_name(io->ssl, c->tls->server_name ? c->tls->server_name : host);
    return 0;
}

const char *client_host(const struct neap_http_client *c)
{
    return c->addresses[c->address_at];
}

/* ---- exchanges ---- */

static void exchange_free(struct client_exchange *e)
{
    neap_list_remove(&e->link);
    neap_timer_close(e->timer);
    neap_arena_free(e->arena);
    neap_buf_done(&e->body);
    neap_err_done(&e->err);
    free(e);
}

static void deliver(void *arg)
{
    struct neap_http_client *c = arg;
    c->delivering = false;
    while (!c->closed && !neap_list_empty(&c->ending)) {
        struct client_exchange *e = neap_list_entry(c->ending.next, struct client_exchange, link);
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it sees no list_remove()
        struct neap_exchange *x = e->x;
        neap_list_remove(&e->link);
        x->private_ = NULL;
        x->done(x, e->err.code ? &e->err : NULL, e->status, e->body.data ? e->body.data : "",
                e->body.len);
        exchange_free(e);
    }
    client_unref(c);
}

void client_exchange_end(struct client_exchange *e, int code, const char *text)
{
    struct neap_http_client *c = e->client;
    if (code)
        neap_err_set(&e->err, code, "%s", text);
    e->conn = NULL;
    e->timer = neap_timer_close(e->timer);
    neap_list_remove(&e->link);
    neap_list_append(&c->ending, &e->link);
    if (c->delivering)
        return;
    c->delivering = true;
    c->refs++;
    neap_loop_post(c->loop, deliver, c);
}

void client_exchange_retry(struct client_exchange *e, const char *why)
{
    if (e->retried || e->status) {
        client_exchange_end(e, NEAP_EUNAVAILABLE, why);
        return;
    }
    e->retried = true;
    e->conn = NULL;
    e->body_at = 0;
    neap_list_remove(&e->link);
    neap_list_append(&e->client->waiting, &e->link);
    client_pump_soon(e->client);
}

static void on_timeout(void *arg)
{
    struct client_exchange *e = arg;
    if (e->conn)
        client_conn_cancel(e->conn, e);
    client_exchange_end(e, NEAP_ETIMEOUT, "the server did not answer in time");
}

void neap_http_client_send(struct neap_http_client *c, struct neap_exchange *x)
{
    struct client_exchange *e = neap_calloc(1, sizeof(*e));
    e->client = c;
    e->x = x;
    x->private_ = e;
    e->timer = neap_timer_new(c->loop, on_timeout, e);
    neap_timer_start(e->timer, x->timeout_ms > 0 ? (uint64_t)x->timeout_ms : CLIENT_TIMEOUT_MS, 0);
    neap_list_append(&c->waiting, &e->link);
    client_pump_soon(c);
}

void neap_http_client_cancel(struct neap_http_client *c, struct neap_exchange *x)
{
    struct client_exchange *e = x->private_;
    (void)c;
    if (!e)
        return;
    x->private_ = NULL;
    if (e->conn)
        client_conn_cancel(e->conn, e);
    exchange_free(e);
}

void neap_http_client_pause(struct neap_exchange *x, bool paused)
{
    struct client_exchange *e = x->private_;
    if (e && e->conn)
        client_conn_pause(e->conn, e, paused);
}

/* ---- the pool ---- */

static struct client_conn *usable_conn(struct neap_http_client *c, bool *connecting)
{
    *connecting = false;
    neap_list_foreach(&c->conns, l)
    {
        struct client_conn *conn = client_conn_of(l);
        if (client_conn_usable(conn))
            return conn;
        *connecting |= client_conn_connecting(conn);
    }
    return NULL;
}

static void fail_waiting(struct neap_http_client *c, const char *why)
{
    while (!neap_list_empty(&c->waiting))
        client_exchange_end(neap_list_entry(c->waiting.next, struct client_exchange, link),
                            NEAP_EUNAVAILABLE, why);
}

void client_dial_failed(struct neap_http_client *c, const char *why)
{
    unsigned count = 1; /* there is one at least */
    char text[256];
    snprintf(text, sizeof(text), "connect to %s: %s", client_host(c), why);
    while (c->addresses[count])
        count++;
    c->address_at = (c->address_at + 1) % count;
    if (++c->failed >= count) { /* all of them, one after the other */
        c->failed = 0;
        fail_waiting(c, text);
    }
    client_pump_soon(c);
}

static void pump(void *arg)
{
    struct neap_http_client *c = arg;
    struct neap_err err = NEAP_ERR_INIT;
    bool connecting;
    c->pumping = false;
    while (!c->closed && !neap_list_empty(&c->waiting)) {
        struct client_conn *conn = usable_conn(c, &connecting);
        if (conn) {
            c->failed = 0;
            client_conn_submit(conn,
                               neap_list_entry(c->waiting.next, struct client_exchange, link));
            continue;
        }
        if (!connecting && c->conn_count < CLIENT_CONNS_MAX && client_conn_new(c, &err)) {
            client_dial_failed(c, err.message);
            neap_err_done(&err);
        }
        break;
    }
    client_unref(c);
}

void client_pump_soon(struct neap_http_client *c)
{
    if (c->pumping || c->closed)
        return;
    c->pumping = true;
    c->refs++;
    neap_loop_post(c->loop, pump, c);
}

static void on_tick(void *arg)
{
    struct neap_http_client *c = arg;
    int64_t now = neap_loop_now_ms(c->loop);
    neap_list_foreach(&c->conns, l)
    {
        client_conn_tick(client_conn_of(l), now);
    }
}

/* ---- life ---- */

struct neap_http_client *neap_http_client_new(const struct neap_http_client_options *o)
{
    struct neap_http_client *c = neap_calloc(1, sizeof(*c));
    size_t n = 0;
    while (o->addresses[n])
        n++;
    c->addresses = neap_calloc(n + 1, sizeof(*c->addresses));
    for (size_t i = 0; i < n; i++)
        c->addresses[i] = neap_strdup(o->addresses[i]);
    c->loop = o->loop;
    c->tls = o->tls;
    c->token = o->bearer_token ? neap_strdup(o->bearer_token) : NULL;
    c->user_agent = neap_strdup(o->user_agent ? o->user_agent : "neap");
    c->netns = o->netns ? neap_strdup(o->netns) : NULL;
    c->body_max = o->body_max ? o->body_max : CLIENT_BODY_MAX;
    c->refs = 1;
    neap_list_init(&c->conns);
    neap_list_init(&c->waiting);
    neap_list_init(&c->ending);
    neap_list_init(&c->websockets);
    c->tick = neap_timer_new(c->loop, on_tick, c);
    neap_timer_start(c->tick, CLIENT_TICK_MS, CLIENT_TICK_MS);
    return c;
}

void neap_http_client_set_token(struct neap_http_client *c, const char *bearer_token)
{
    free(c->token);
    c->token = bearer_token ? neap_strdup(bearer_token) : NULL;
}

void client_unref(struct neap_http_client *c)
{
    if (--c->refs)
        return;
    for (char **a = c->addresses; *a; a++)
        free(*a);
    free(c->addresses);
    free(c->token);
    free(c->user_agent);
    free(c->netns);
    free(c);
}

static void forget_all(struct neap_list *list)
{
    while (!neap_list_empty(list)) {
        struct client_exchange *e = neap_list_entry(list->next, struct client_exchange, link);
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): exchange_free() takes it out of the list
        e->x->private_ = NULL;
        exchange_free(e);
    }
}

void neap_http_client_close(struct neap_http_client *c)
{
    c->closed = true;
    c->tick = neap_timer_close(c->tick);
    forget_all(&c->waiting);
    neap_list_foreach(&c->conns, l)
    {
        client_conn_forget(client_conn_of(l), &c->ending);
    }
    forget_all(&c->ending);
    neap_list_foreach(&c->conns, l)
    {
        client_conn_close(client_conn_of(l), "closed");
    }
    client_ws_close_all(c);
    client_unref(c);
}
