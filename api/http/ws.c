/* Websockets of the server: libwebsockets does the handshake and the framing, fed over a socketpair; we keep
 * TLS and move bytes. Why not hand it the socket: it refuses Kubernetes' long subprotocol names and cannot
 * take an established TLS connection. It sees a head that we write, with the one subprotocol "k8s"; the real
 * name is put into its 101. Source: RFC 6455, Kubernetes KEP-4006 and wsstream. */
#include "http_internal.h"
#include "base64.h"
#include "frame.h"

#include <errno.h>
#include <libwebsockets.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum {
    WS_HEAD_MAX = 4096,        /* libwebsockets' 101 */
    WS_PUMP = 32 << 10,        /* one read from the pair */
    WS_BODY_PIECE = 16 << 10,  /* of a body without events */
    WS_TO_LWS_MAX = 128 << 10, /* waits for libwebsockets: then TLS is not read */
    CONTEXT_TRIES = 1000,      /* turns of the loop */
    WS_NORMAL = 1000,
    WS_PROTOCOL_ERROR = 1002,
    WS_TOO_BIG = 1009,
};

struct http_ws_context {
    struct lws_context *lws;
    struct lws_vhost *vhost;
    struct neap_loop *loop;
    void (*gone)(void *arg);
    void *gone_arg;
    unsigned tries;
};

struct frame {
    struct frame *next;
    size_t len;
    bool text;
    unsigned char data[]; /* LWS_PRE, then the payload */
};

struct ws {
    struct neap_stream stream; /* first */
    struct http_conn *conn;    /* NULL: gone */
    struct http_request *request;
    const struct neap_ws_protocol
        *protocol;    /* NULL: no name was agreed: numbered channels, binary */
    const char *name; /* of the subprotocol, NULL: none */
    int fd;
    struct neap_fd *handle;
    struct neap_buf to_lws, head, message, body;
    struct http_frame_walk walk; /* of what the peer sends */
    bool unmasked; /* it sends frames without a mask: libwebsockets takes them, RFC 6455 does not */
    size_t message_max;
    bool headed;      /* the 101 is out */
    bool lws_gone;    /* libwebsockets has let go */
    bool opened;      /* the handler's open() was called */
    bool closing;     /* after what is queued */
    bool posted;      /* close_posted() comes */
    bool close_begun; /* by either end: libwebsockets goes through with it, within its 5 s a step */
    bool full;        /* send() returned false */
    bool body_ended;  /* of a streamed answer */
    int close_code;
    char close_reason[124];
    struct frame *frames, **tail;
    size_t queued;
    struct lws *wsi;
};

static const struct neap_stream_handler *handler_of(const struct ws *w)
{
    return w->request->call->stream;
}

static void *handler_arg(const struct ws *w)
{
    return w->request->call->stream_arg;
}

static void writable_soon(struct ws *w)
{
    if (w->wsi)
        lws_callback_on_writable(w->wsi);
}

/* ---- the handler's end ---- */

static void put_payload(struct ws *w, struct neap_buf *b, int channel, const void *data, size_t len)
{
    bool channels = !w->protocol || w->protocol->channels;
    if (w->protocol && w->protocol->base64) {
        if (channels)
            neap_buf_char(b, (char)('0' + channel));
        http_base64_encode(b, data, len);
    } else {
        if (channels)
            neap_buf_char(b, (char)channel);
        neap_buf_append(b, data, len);
    }
}

static void queue(struct ws *w, const char *data, size_t len, bool text)
{
    struct frame *f = neap_malloc(sizeof(*f) + LWS_PRE + len);
    *f = (struct frame){.len = len, .text = text};
    if (len)
        memcpy(f->data + LWS_PRE, data, len);
    *w->tail = f;
    w->tail = &f->next;
    w->queued += len;
    writable_soon(w);
}

static bool ws_send(struct neap_stream *s, int channel, const void *data, size_t len)
{
    struct ws *w = neap_container_of(s, struct ws, stream);
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    if (w->closing)
        return true; /* nobody will read it */
    put_payload(w, &b, channel, data, len);
    queue(w, b.data, b.len, w->protocol && w->protocol->base64);
    w->full = w->queued > NEAP_STREAM_QUEUE_MAX;
    return !w->full;
}

static void ws_pause(struct neap_stream *s, bool paused)
{
    struct ws *w = neap_container_of(s, struct ws, stream);
    if (w->wsi)
        lws_rx_flow_control(w->wsi, !paused);
}

static void ws_close(struct neap_stream *s, int code, const char *reason)
{
    struct ws *w = neap_container_of(s, struct ws, stream);
    if (w->closing)
        return;
    w->closing = true;
    w->close_code = code;
    snprintf(w->close_reason, sizeof(w->close_reason), "%s", reason ? reason : "");
    writable_soon(w);
}

static const struct neap_stream_ops ws_ops = {ws_send, ws_pause, ws_close};

/* ---- libwebsockets' end ---- */

static void ws_free(struct ws *w)
{
    if (w->conn || !w->lws_gone || w->posted)
        return;
    while (w->frames) {
        struct frame *f = w->frames;
        w->frames = f->next;
        free(f);
    }
    neap_buf_done(&w->to_lws);
    neap_buf_done(&w->head);
    neap_buf_done(&w->message);
    neap_buf_done(&w->body);
    http_request_release(w->request);
    free(w);
}

/* The handler hears of the end once; a body is closed with its call. */
static void tell_closed(struct ws *w)
{
    struct neap_call *c = w->request->call;
    const struct neap_stream_handler *h = c->stream;
    w->wsi = NULL;
    w->closing = true;
    c->stream = NULL;
    if (h)
        h->closed(c->stream_arg);
}

static bool message_complete(struct ws *w)
{
    const struct neap_stream_handler *h = handler_of(w);
    struct neap_buf *m = &w->message;
    bool channels = !w->protocol || w->protocol->channels;
    bool base64 = w->protocol && w->protocol->base64;
    size_t skip = channels ? 1 : 0;
    if (!h || m->len < skip) {
        neap_buf_reset(m);
        return true; /* a watch hears nothing; an empty message says nothing */
    }
    int channel = channels ? (unsigned char)m->data[0] - (base64 ? '0' : 0) : 0;
    bool ok = true;
    if (base64) {
        NEAP_CLEANUP_BUF struct neap_buf plain = NEAP_BUF_INIT;
        ok = http_base64_decode(&plain, m->data + skip, m->len - skip);
        if (ok)
            h->message(handler_arg(w), channel, plain.data ? plain.data : "", plain.len);
    } else {
        h->message(handler_arg(w), channel, m->data + skip, m->len - skip);
    }
    if (m->cap > WS_PUMP)
        neap_buf_done(m);
    neap_buf_reset(m);
    return ok;
}

/* -1: libwebsockets sends that close frame and waits for the peer's. */
static int fail(struct ws *w, struct lws *wsi, enum lws_close_status status, const char *reason)
{
    w->closing = w->close_begun = true;
    lws_close_reason(wsi, status, (unsigned char *)reason, strlen(reason));
    return -1;
}

static int on_receive(struct ws *w, struct lws *wsi, const void *in, size_t len)
{
    if (w->closing)
        return 0; /* the handler is done; the peer's close is waited for */
    if (w->message.len + len > w->message_max)
        return fail(w, wsi, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "message too large");
    neap_buf_append(&w->message, in, len);
    if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi) || message_complete(w))
        return 0;
    return fail(w, wsi, LWS_CLOSE_STATUS_INVALID_PAYLOAD, "not base64");
}

static int send_frame(struct ws *w, struct lws *wsi)
{
    struct frame *f = w->frames;
    w->frames = f->next;
    if (!w->frames)
        w->tail = &w->frames;
    w->queued -= f->len;
    int n = lws_write(wsi, f->data + LWS_PRE, f->len, f->text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY);
    free(f);
    if (n >= 0 && w->full && w->queued <= NEAP_STREAM_QUEUE_MAX / 2) {
        w->full = false;
        if (handler_of(w) && handler_of(w)->writable)
            handler_of(w)->writable(handler_arg(w));
    }
    return n < 0 ? -1 : 0;
}

/* The next piece of a streamed answer: a watch event is one text message. */
static void read_body(struct ws *w)
{
    struct neap_call *c = w->request->call;
    bool watch = c->verb == NEAP_WATCH;
    neap_buf_reset(&w->body);
    int rc = http_answer_read(w->request, &w->body, watch ? 1 : WS_BODY_PIECE);
    if (w->body.len && watch) {
        queue(w, w->body.data, w->body.len, true);
    } else if (w->body.len) {
        NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
        put_payload(w, &b, NEAP_CHANNEL_STDOUT, w->body.data, w->body.len);
        queue(w, b.data, b.len, w->protocol && w->protocol->base64);
    }
    if (rc == 0)
        neap_buf_done(&w->body);
    w->body_ended = rc < 0;
}

/* Outside libwebsockets' callbacks: one that closes from the writable callback drops the close frame. */
static void close_posted(void *arg)
{
    struct ws *w = arg;
    w->posted = false;
    if (w->wsi && !w->close_begun) {
        w->close_begun = true; /* killed again, it would not wait for the peer's close */
        lws_rx_flow_control(w->wsi, 1);
        lws_close_reason(w->wsi, (enum lws_close_status)w->close_code,
                         (unsigned char *)w->close_reason, strlen(w->close_reason));
        lws_set_timeout(w->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
    }
    ws_free(w);
}

/* One write a callback: libwebsockets buffers a second one without a bound. */
static int on_writable(struct ws *w, struct lws *wsi)
{
    if (!w->frames && w->request->call->stream_body && !w->body_ended && !w->closing) {
        read_body(w);
        if (w->body_ended)
            ws_close(&w->stream, WS_NORMAL, NULL);
    }
    if (w->frames) {
        int rc = send_frame(w, wsi);
        lws_callback_on_writable(wsi);
        return rc;
    }
    if (w->closing && !w->posted && !w->close_begun) {
        w->posted = true;
        neap_loop_post(w->request->call->loop, close_posted, w);
    }
    return 0;
}

static int on_established(struct ws *w, struct lws *wsi)
{
    const struct neap_stream_handler *h = handler_of(w);
    w->wsi = wsi;
    w->opened = true;
    if (h)
        h->open(handler_arg(w), &w->stream);
    lws_callback_on_writable(wsi);
    return 0;
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len)
{
    struct ws *w = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    (void)user;
    if (!w)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        return on_established(w, wsi);
    case LWS_CALLBACK_RECEIVE:
        return w->wsi ? on_receive(w, wsi, in, len) : -1;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        w->close_begun = true; /* it sends the answer itself, unless it is killed first */
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return w->wsi ? on_writable(w, wsi) : -1;
    case LWS_CALLBACK_CLOSED:
        tell_closed(w);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        lws_set_opaque_user_data(wsi, NULL);
        tell_closed(w);
        w->lws_gone = true;
        ws_free(w);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols lws_protocol_rows[] = {
    {.name = "k8s", .callback = on_lws, .rx_buffer_size = 0},
    {0},
};

static void lws_says(int level, const char *line)
{
    (void)level;
    size_t len = strcspn(line, "\n");
    char text[512];
    snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : sizeof(text) - 1), line);
    NEAP_WARN("http", "libwebsockets", "text=%s", neap_log_quote(text));
}

static struct http_ws_context *context_new(struct neap_loop *loop)
{
    struct http_ws_context *x = neap_calloc(1, sizeof(*x));
    void *loops[1] = {neap_loop_uv(loop)};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = lws_protocol_rows,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .foreign_loops = loops,
        .pt_serv_buf_size = WS_PUMP,
        .pcontext = &x->lws,
    };
    x->loop = loop;
    lws_set_log_level(LLL_ERR | LLL_WARN, lws_says);
    x->lws = lws_create_context(&info);
    if (x->lws)
        x->vhost = lws_create_vhost(x->lws, &info);
    if (!x->vhost)
        NEAP_ERROR("http", "websockets do not work", "%s", "err=\"libwebsockets has no context\"");
    return x;
}

struct walk {
    const void *context;
    bool found;
};

static void look_at(uv_handle_t *handle, void *arg)
{
    struct walk *walk = arg;
    walk->found |= handle->data == walk->context;
}

/* On a loop that is not its own libwebsockets closes its handles over several turns and then wants to be
 * destroyed once more; that the handles are gone it does not tell, but they are marked with the context. */
static void context_wait(void *arg)
{
    struct http_ws_context *x = arg;
    struct walk walk = {.context = x->lws};
    if (x->lws)
        uv_walk(neap_loop_uv(x->loop), look_at, &walk);
    if (walk.found) {
        neap_loop_post(x->loop, context_wait, x);
        return;
    }
    if (x->lws)
        lws_context_destroy(x->lws);
    if (x->lws && x->tries++ < CONTEXT_TRIES) { /* it sets this to NULL when all is gone */
        neap_loop_post(x->loop, context_wait, x);
        return;
    }
    x->gone(x->gone_arg);
    free(x);
}

void http_ws_context_free(struct http_ws_context *x, void (*gone)(void *arg), void *arg)
{
    if (!x) {
        gone(arg);
        return;
    }
    x->gone = gone;
    x->gone_arg = arg;
    if (x->lws)
        lws_context_destroy(x->lws);
    context_wait(x);
}

/* ---- the bytes between TLS and the pair ---- */

static struct ws *ws_of(const struct http_conn *c)
{
    return c->session;
}

static void set_pair_events(struct ws *w)
{
    bool read = http_io_waiting(&w->conn->io) < HTTP_OUT_HIGH;
    neap_fd_set(w->handle, (read ? NEAP_READABLE : 0) | (w->to_lws.len ? NEAP_WRITABLE : 0));
}

static void push(struct ws *w)
{
    while (w->to_lws.len) {
        ssize_t n = send(w->fd, w->to_lws.data, w->to_lws.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            neap_buf_done(&w->to_lws); /* its end is closed: reading tells */
            break;
        }
        if (n < 0)
            break;
        neap_buf_consume(&w->to_lws, (size_t)n);
    }
    if (!w->to_lws.len && w->to_lws.cap > WS_PUMP)
        neap_buf_done(&w->to_lws);
    http_io_pause(&w->conn->io, w->to_lws.len > WS_TO_LWS_MAX);
}

static void on_pair(void *arg, int events)
{
    struct ws *w = arg;
    struct http_conn *c = w->conn;
    if (events & NEAP_WRITABLE)
        push(w);
    set_pair_events(w);
    http_io_flush(&c->io); /* output() reads; w may be gone after */
}

static void on_head(struct ws *w)
{
    static const char line[] = "Sec-WebSocket-Protocol: k8s\r\n";
    char *end = strstr(w->head.data, "\r\n\r\n"), *at;
    if (!end)
        return;
    struct neap_buf *out = &w->conn->io.out;
    w->headed = true;
    at = strcasestr(w->head.data, line);
    size_t before = at && at < end ? (size_t)(at - w->head.data) : 0;
    neap_buf_append(out, w->head.data, before);
    if (before && w->name)
        neap_buf_printf(out, "Sec-WebSocket-Protocol: %s\r\n", w->name);
    before += before ? sizeof(line) - 1 : 0;
    neap_buf_append(out, w->head.data + before, w->head.len - before);
    neap_buf_done(&w->head);
}

static void output(struct http_conn *c)
{
    struct ws *w = ws_of(c);
    struct neap_buf *to = w->headed ? &c->io.out : &w->head;
    while (w->handle && !c->io.closing && http_io_waiting(&c->io) < HTTP_OUT_HIGH) {
        char *at = neap_buf_reserve(to, WS_PUMP);
        ssize_t n = recv(w->fd, at, WS_PUMP, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0 || (!w->headed && w->head.len > WS_HEAD_MAX)) {
            c->io.closing = true;
            break;
        }
        to->len += (size_t)n;
        to->data[to->len] = '\0';
        if (!w->headed) {
            on_head(w);
            to = w->headed ? &c->io.out : &w->head;
        }
    }
    if (w->handle && c->io.closing)
        neap_fd_set(w->handle, 0);
    else if (w->handle)
        set_pair_events(w);
}

/* To libwebsockets. */
static void take(struct ws *w, const char *data, size_t len)
{
    if (!w->unmasked && !http_frame_masked(&w->walk, data, len)) {
        w->unmasked = true;
        ws_close(&w->stream, WS_PROTOCOL_ERROR, "a frame without a mask");
    }
    if (!w->unmasked)
        neap_buf_append(&w->to_lws, data, len);
}

static bool input(struct http_conn *c, const char *data, size_t len)
{
    struct ws *w = ws_of(c);
    take(w, data, len);
    push(w);
    set_pair_events(w);
    return true;
}

static void gone(struct http_conn *c)
{
    struct ws *w = ws_of(c);
    struct http_request *r = w->request;
    neap_fd_close(w->handle);
    if (w->fd >= 0)
        close(w->fd);
    w->conn = NULL;
    c->session = NULL;
    neap_list_remove(&r->link);
    r->conn = NULL;
    r->call->cancelled = true;
    ws_free(w);
}

static void drain(struct http_conn *c)
{
    enum { GOING_AWAY = 1001 };
    ws_close(&ws_of(c)->stream, GOING_AWAY, "the server is shutting down");
}

static bool tick(struct http_conn *c, int64_t now)
{
    (void)c;
    (void)now;
    return true; /* libwebsockets pings peers that are silent */
}

static void start(struct http_conn *c)
{
    (void)c;
}

const struct http_protocol http_ws = {start, input, output, gone, drain, tick};

/* ---- the handshake ---- */

static void woken(struct http_request *r)
{
    writable_soon(ws_of(r->conn));
}

static bool adopt(struct ws *w, struct http_ws_context *x, int pair[2])
{
    if (!x->vhost || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    lws_adopt_desc_t info = {.vh = x->vhost,
                             .type = LWS_ADOPT_HTTP | LWS_ADOPT_SOCKET,
                             .fd.sockfd = pair[1],
                             .opaque = w};
    if (lws_adopt_descriptor_vhost_via_info(&info))
        return true;
    close(pair[0]); /* the other end is closed by libwebsockets */
    return false;
}

static void write_head(struct ws *w, const char *key)
{
    neap_buf_printf(&w->to_lws,
                    "GET / HTTP/1.1\r\nHost: neap\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: k8s\r\n"
                    "Sec-WebSocket-Key: %s\r\n\r\n",
                    key);
}

void http_ws_start(struct http_request *r, const char *rest, size_t len)
{
    struct http_conn *c = r->conn;
    struct neap_http_server *s = c->server;
    struct ws *w = neap_calloc(1, sizeof(*w));
    w->message_max = r->conn->server->options.limits.message_bytes;
    int pair[2];
    if (!s->ws)
        s->ws = context_new(s->options.loop);
    w->stream.ops = &ws_ops;
    w->conn = c;
    w->request = r;
    w->name = r->call->stream_protocol;
    w->protocol = w->name ? neap_ws_protocol_by_name(w->name) : NULL;
    w->tail = &w->frames;
    w->fd = -1;
    r->woken = woken;
    c->session = w;
    c->protocol = &http_ws;
    c->io.linger = true; /* a reset would take the last frames from the peer */
    bool ok = adopt(w, s->ws, pair);
    if (!ok) {
        tell_closed(w);
        w->lws_gone = true;
        c->io.closing = true;
        return;
    }
    w->fd = pair[0];
    w->handle = neap_fd_new(s->options.loop, w->fd, on_pair, w);
    write_head(w, r->ws_key);
    take(w, rest, len);
    push(w);
    set_pair_events(w);
}
