/* Accepting, limits, time, draining. The life of one connection: conn.c. */
#include "http_internal.h"
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ACCEPTS_A_TURN = 64, TICK_MIN_MS = 20, TICK_MAX_MS = 5000 };

void neap_http_limits_default(struct neap_http_limits *l)
{
    *l = (struct neap_http_limits){.header_bytes = 64 << 10,
                                   .body_bytes = 3 << 20,
                                   .bodies_bytes = 256u << 20,
                                   .message_bytes = 1 << 20,
                                   .arena_bytes = 64u << 20,
                                   .streams = 250,
                                   .connections = 10000,
                                   .header_timeout_ms = 10000,
                                   .idle_timeout_ms = 180000,
                                   .handshake_timeout_ms = 10000,
                                   .body_timeout_ms = 60000,
                                   .write_stall_ms = 60000,
                                   .list_timeout_ms = 300000,
                                   .resets = 1000};
}

const char *http_server_date(struct neap_http_server *s)
{
    int64_t now = neap_clock_wall(neap_loop_clock(s->options.loop)) / 1000000000;
    if (now != s->date_s) {
        struct tm tm;
        time_t t = (time_t)now;
        gmtime_r(&t, &tm);
        strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        s->date_s = now;
    }
    return s->date;
}

/* ---- time: one timer looks at every connection ---- */

static uint64_t tick_ms(const struct neap_http_limits *l)
{
    const uint64_t all[] = {l->header_timeout_ms, l->idle_timeout_ms, l->handshake_timeout_ms,
                            l->body_timeout_ms,   l->write_stall_ms,  l->list_timeout_ms};
    uint64_t least = TICK_MAX_MS * 2;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(all); i++)
        if (all[i] && all[i] < least)
            least = all[i];
    return least / 2 < TICK_MIN_MS ? TICK_MIN_MS : least / 2;
}

static void on_tick(void *arg)
{
    struct neap_http_server *s = arg;
    int64_t now = neap_loop_now_ms(s->options.loop);
    if (s->turned_away) /* once a tick, however many */
        NEAP_WARN("http", "connections were turned away: there are too many",
                  "server=%s open=%u turned_away=%u", s->options.protocol_name, s->conn_count,
                  s->turned_away);
    s->turned_away = 0;
    neap_list_foreach(&s->conns, e)
    {
        http_conn_tick(neap_list_entry(e, struct http_conn, link), now);
    }
}

/* ---- accepting ---- */

/* No file descriptor is left: what waits would wake us for ever. The spare one accepts it to close it. */
static bool turn_away(struct neap_http_server *s, int listener)
{
    if (s->spare < 0)
        return false;
    close(s->spare);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        close(fd);
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    s->turned_away += fd >= 0;
    return fd >= 0;
}

static void on_accept(void *arg, int events)
{
    struct http_listener *l = arg;
    struct sockaddr_storage from;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        socklen_t n = sizeof(from);
        int fd = accept4(l->fd, (struct sockaddr *)&from, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && turn_away(l->server, l->fd))
            continue;
        if (fd < 0)
            return;
        if (l->server->conn_count >= l->server->options.limits.connections) {
            close(fd); /* a clear refusal: the client sees the end before any TLS */
            l->server->turned_away++;
        } else {
            http_conn_new(l->server, fd, &from);
        }
    }
}

int neap_http_server_new(const struct neap_http_server_options *o, struct neap_http_server **ret,
                         struct neap_err *err)
{
    if (!o->tls || !o->admit || !o->handle)
        return neap_err_set(err, NEAP_EINTERNAL, "an HTTP server without TLS or a handler");
    struct neap_http_server *s = neap_calloc(1, sizeof(*s));
    s->options = *o;
    neap_list_init(&s->listeners);
    neap_list_init(&s->conns);
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uint64_t ms = tick_ms(&o->limits);
    s->tick = neap_timer_new(o->loop, on_tick, s);
    neap_timer_start(s->tick, ms, ms);
    *ret = s;
    return 0;
}

int neap_http_server_listen(struct neap_http_server *s, int fd, struct neap_err *err)
{
    struct neap_fd *handle;
    struct http_listener *l = neap_calloc(1, sizeof(*l));
    l->fd = fd;
    l->server = s;
    l->handle = handle = neap_fd_new(s->options.loop, fd, on_accept, l);
    if (!handle) {
        free(l);
        return neap_err_set(err, NEAP_EIO, "the listening socket cannot be polled");
    }
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

/* ---- the end ---- */

static void drain_end(void *arg)
{
    struct neap_http_server *s = arg;
    void (*done)(void *) = s->drained;
    s->drained = NULL;
    s->drain_timer = neap_timer_close(s->drain_timer);
    if (done)
        done(s->drained_arg);
}

void http_server_conn_gone(struct neap_http_server *s)
{
    if (neap_list_empty(&s->conns) && s->draining && s->drained && !s->closing)
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
    neap_list_foreach(&s->conns, e)
    {
        http_conn_drain(neap_list_entry(e, struct http_conn, link));
    }
    neap_timer_start(s->drain_timer, neap_list_empty(&s->conns) ? 0 : ms, 0);
}

static void close_end(void *arg)
{
    struct neap_http_server *s = arg;
    void (*closed)(void *) = s->closed;
    void *closed_arg = s->closed_arg;
    if (s->spare >= 0)
        close(s->spare);
    free(s);
    if (closed)
        closed(closed_arg);
}

static void close_posted(void *arg)
{
    struct neap_http_server *s = arg;
    http_ws_context_free(s->ws, close_end, s);
}

void neap_http_server_close(struct neap_http_server *s, void (*closed)(void *arg), void *arg)
{
    s->closing = true;
    s->closed = closed;
    s->closed_arg = arg;
    close_listeners(s);
    s->drain_timer = neap_timer_close(s->drain_timer);
    s->tick = neap_timer_close(s->tick);
    while (!neap_list_empty(&s->conns))
        http_io_close(&neap_list_entry(s->conns.next, struct http_conn, link)->io, "shutdown");
    /* behind the posts that free the connections */
    neap_loop_post(s->options.loop, close_posted, s);
}
