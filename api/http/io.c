/* A TLS byte stream on a nonblocking socket, either side: handshake, reading, one output buffer, closing.
 * Everything queued in a loop's turn goes out together, in whole records. */
#include "http_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READS_A_TURN = 8, /* then others get a turn */
    WRITES_A_TURN = 16,
    HANG_MS = 60000, /* for a paused reader to take what a peer left that has gone */
};

static void set_events(struct http_io *io, bool write)
{
    int events = (!io->paused   ? NEAP_READABLE
                  : io->hung_up ? 0
                                : NEAP_HANGUP) |
                 (write ? NEAP_WRITABLE : 0);
    if (io->events == events || io->dead)
        return;
    io->events = events;
    neap_fd_set(io->handle, events);
}

/* ---- sending ---- */

/* 1: all is out; 0: the socket is full; -1: broken. */
static int send_out(struct http_io *io)
{
    while (io->out_at < io->out.len) {
        size_t n = http_io_waiting(io);
        ERR_clear_error();
        int sent =
            SSL_write(io->ssl, io->out.data + io->out_at, (int)(n > HTTP_RECORD ? HTTP_RECORD : n));
        if (sent > 0) {
            io->out_at += (size_t)sent;
            io->stalled_ms = 0;
            continue;
        }
        int e = SSL_get_error(io->ssl, sent);
        if (e != SSL_ERROR_WANT_WRITE && e != SSL_ERROR_WANT_READ)
            return -1;
        if (!io->stalled_ms)
            io->stalled_ms = neap_loop_now_ms(io->loop);
        return 0;
    }
    neap_buf_reset(&io->out);
    io->out_at = 0;
    return 1;
}

static void end(struct http_io *io)
{
    if (!io->linger) {
        http_io_close(io, "closed");
        return;
    }
    io->lingering = true;
    io->active_ms = neap_loop_now_ms(io->loop);
    ERR_clear_error();
    SSL_shutdown(io->ssl);
    shutdown(io->fd, SHUT_WR);
    io->paused = false;
    set_events(io, false);
}

void http_io_flush(struct http_io *io)
{
    for (int turn = 0; turn < WRITES_A_TURN && !io->dead && !io->lingering; turn++) {
        size_t before = io->out.len;
        bool full = http_io_waiting(io) >= HTTP_OUT_HIGH;
        if (io->is_ready && !full)
            io->ops->output(io);
        if (io->dead)
            return;
        bool more = full || io->out.len > before;
        int rc = io->is_ready ? send_out(io) : 1;
        if (rc < 0) {
            http_io_close(io, "the peer is gone");
            return;
        }
        if (rc == 0) {
            set_events(io, true);
            return;
        }
        if (more)
            continue;
        set_events(io, false);
        if (io->out.cap > HTTP_OUT_HIGH) /* an idle connection keeps little */
            neap_buf_done(&io->out);
        if (io->closing)
            end(io);
        return;
    }
    if (!io->dead)
        http_io_flush_soon(io);
}

/* ---- posts: a flush, or the last one that frees ---- */

static void release(struct http_io *io)
{
    if (io->holds)
        return; /* the last unhold() comes here again */
    neap_buf_done(&io->out);
    io->ops->release(io);
}

static void on_post(void *arg)
{
    struct http_io *io = arg;
    io->posted = false;
    if (io->dead)
        release(io);
    else
        http_io_flush(io);
}

static void post(struct http_io *io)
{
    if (io->posted)
        return;
    io->posted = true;
    neap_loop_post(io->loop, on_post, io);
}

void http_io_hold(struct http_io *io)
{
    io->holds++;
}

void http_io_unhold(struct http_io *io)
{
    if (--io->holds == 0 && io->dead)
        post(io);
}

void http_io_flush_soon(struct http_io *io)
{
    if (!io->inside && !io->dead)
        post(io);
}

/* ---- receiving ---- */

static bool handshake(struct http_io *io)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(io->ssl);
    if (rc == 1) {
        io->is_ready = true;
        io->ops->ready(io);
        return !io->dead;
    }
    int e = SSL_get_error(io->ssl, rc);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
        set_events(io, e == SSL_ERROR_WANT_WRITE);
        return false;
    }
    char text[140];
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (e == SSL_ERROR_SYSCALL)
        snprintf(text, sizeof(text), "%s", strerror(error ? error : errno ? errno : ECONNRESET));
    else
        http_tls_error(text, sizeof(text));
    http_io_close(io, text);
    return false;
}

/* Bytes of a peer that was refused. */
static void drop(struct http_io *io)
{
    char data[HTTP_READ];
    for (int turn = 0; turn < READS_A_TURN; turn++) {
        ssize_t n = recv(io->fd, data, sizeof(data), 0);
        if (n > 0)
            continue;
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            http_io_close(io, "closed");
        return;
    }
}

static void on_hang_timer(void *arg)
{
    http_io_close(arg, "the peer closed the connection");
}

/* The peer is gone, but what it sent before waits for a paused reader: read when it goes on, or given up. */
static void hang_up(struct http_io *io)
{
    if (io->hung_up)
        return;
    io->hung_up = true;
    set_events(io, io->events & NEAP_WRITABLE);
    io->hang_timer = neap_timer_new(io->loop, on_hang_timer, io);
    neap_timer_start(io->hang_timer, HANG_MS, 0);
}

static void receive(struct http_io *io)
{
    char data[HTTP_READ];
    io->more = true;
    for (int turn = 0; turn < READS_A_TURN; turn++) {
        if (io->dead || io->closing || io->paused)
            return;
        ERR_clear_error();
        int n = SSL_read(io->ssl, data, sizeof(data));
        if (n > 0) {
            io->active_ms = neap_loop_now_ms(io->loop);
            if (!io->ops->input(io, data, (size_t)n))
                io->closing = true;
            continue;
        }
        int e = SSL_get_error(io->ssl, n);
        io->more = false;
        if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
            return;
        io->ops->input(io, "", 0); /* what it holds back is looked at before the end */
        if (io->paused && !io->dead)
            hang_up(io);
        else
            http_io_close(io, "the peer closed the connection");
        return;
    }
}

/* Bytes that TLS has taken off the socket make no event: read them from a post. */
static void receive_more(void *arg);

static void turn(struct http_io *io, int events)
{
    io->inside = true;
    if (io->lingering)
        drop(io);
    else if (io->is_ready || handshake(io)) {
        if (io->paused && (events & NEAP_HANGUP))
            hang_up(io);
        else if (events & (NEAP_READABLE | NEAP_HANGUP))
            receive(io);
    }
    io->inside = false;
    if (!io->dead && io->is_ready)
        http_io_flush(io);
    if (!io->dead && !io->paused && !io->closing && !io->posted && io->more) {
        io->posted = true;
        neap_loop_post(io->loop, receive_more, io);
    }
}

static void receive_more(void *arg)
{
    struct http_io *io = arg;
    io->posted = false;
    if (io->dead)
        release(io);
    else
        turn(io, NEAP_READABLE);
}

static void on_io(void *arg, int events)
{
    turn(arg, events);
}

void http_io_pause(struct http_io *io, bool paused)
{
    if (io->paused == paused || io->dead)
        return;
    io->paused = paused;
    if (!paused)
        io->hang_timer = neap_timer_close(io->hang_timer);
    io->hung_up = io->hung_up && paused;
    set_events(io, io->events & NEAP_WRITABLE);
    if (!paused && !io->posted && io->more) {
        io->posted = true;
        neap_loop_post(io->loop, receive_more, io);
    }
}

/* ---- life ---- */

void http_io_start(struct http_io *io, struct neap_loop *loop, const struct http_io_ops *ops,
                   SSL_CTX *ctx, int fd, bool server)
{
    io->ops = ops;
    io->loop = loop;
    io->fd = fd;
    io->ssl = SSL_new(ctx);
    SSL_set_fd(io->ssl, fd);
    if (server)
        SSL_set_accept_state(io->ssl);
    else
        SSL_set_connect_state(io->ssl);
    io->active_ms = neap_loop_now_ms(loop);
    io->handle = neap_fd_new(loop, fd, on_io, io);
    set_events(io, !server);
}

void http_io_close(struct http_io *io, const char *reason)
{
    if (io->dead)
        return;
    io->dead = true;
    snprintf(io->reason, sizeof(io->reason), "%s", reason);
    io->ops->gone(io);
    ERR_clear_error();
    if (io->is_ready && !io->lingering)
        SSL_shutdown(io->ssl);
    ERR_clear_error();
    SSL_free(io->ssl);
    io->ssl = NULL;
    neap_fd_close(io->handle);
    io->hang_timer = neap_timer_close(io->hang_timer);
    close(io->fd);
    post(io); /* one that is under way does it as well */
}
