/* Websockets of the client: an HTTP/1.1 upgrade on a TLS connection of its own, then frames (frame.c).
 * libwebsockets is not used on this side: as a client it takes no connected socket. Source: RFC 6455. */
#include "client_internal.h"
#include "base64.h"
#include "frame.h"

#include <openssl/sha.h>
#include <strings.h>

enum {
    WS_MESSAGE_MAX = 4 << 20,
    WS_HEAD_MAX = 64 << 10,
    WS_REFUSAL_MAX = 64 << 10, /* body of a refusal */
    WS_CLOSE_MS = 2000,        /* for the peer's close frame */
    WS_NORMAL = 1000,
    WS_ABNORMAL = 1006,
};

struct client_ws {
    struct neap_stream stream; /* first */
    struct http_io io;
    struct neap_http_client *client;
    struct neap_list link; /* of client->websockets */
    const struct neap_stream_handler *handler;
    void *handler_arg;
    void (*refused)(void *arg, int status, const char *body, size_t len,
                    const struct neap_err *err);
    char *path, *protocols; /* "a, b" */
    const struct neap_ws_protocol *protocol;
    char key[32];
    struct neap_buf in;
    struct http_frames frames;
    struct neap_timer *timer;
    int status;     /* of a refusal whose body comes; 0: the head does */
    int64_t length; /* of that body; -1: until the end */
    bool open, told, closing, full, paused, parsing, silent, posted;
};

static struct client_ws *ws_of(struct http_io *io)
{
    return neap_container_of(io, struct client_ws, io);
}

/* ---- the handler's end ---- */

static void put_frame(struct client_ws *w, int opcode, const void *data, size_t len)
{
    uint8_t mask[4];
    neap_rand_system.fill(neap_rand_system.self, mask, sizeof(mask));
    http_frame_write(&w->io.out, opcode, mask, data, len);
    http_io_flush_soon(&w->io);
}

static bool ws_send(struct neap_stream *s, int channel, const void *data, size_t len)
{
    struct client_ws *w = neap_container_of(s, struct client_ws, stream);
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    bool base64 = w->protocol && w->protocol->base64,
         channels = !w->protocol || w->protocol->channels;
    if (w->closing)
        return true;
    if (channels)
        neap_buf_char(&b, (char)(channel + (base64 ? '0' : 0)));
    if (base64)
        http_base64_encode(&b, data, len);
    else
        neap_buf_append(&b, data, len);
    put_frame(w, base64 ? FRAME_TEXT : FRAME_BINARY, b.data, b.len);
    w->full = http_io_waiting(&w->io) > NEAP_STREAM_QUEUE_MAX;
    return !w->full;
}

static void parse(struct client_ws *w);

static void parse_posted(void *arg)
{
    struct http_io *io = arg;
    struct client_ws *w = ws_of(io);
    if (!io->dead && !w->paused)
        parse(w);
    w->posted = false;
    http_io_unhold(io);
}

static void ws_pause(struct neap_stream *s, bool paused)
{
    struct client_ws *w = neap_container_of(s, struct client_ws, stream);
    if (w->paused == paused)
        return;
    w->paused = paused;
    http_io_pause(&w->io, paused);
    if (paused || !w->in.len || w->posted)
        return;
    w->posted = true;
    http_io_hold(&w->io);
    neap_loop_post(w->client->loop, parse_posted, &w->io);
}

static void ws_close(struct neap_stream *s, int code, const char *reason)
{
    struct client_ws *w = neap_container_of(s, struct client_ws, stream);
    char data[FRAME_CONTROL_MAX];
    if (w->closing)
        return;
    size_t n = reason ? strnlen(reason, sizeof(data) - 2) : 0;
    data[0] = (char)(code >> 8);
    data[1] = (char)code;
    if (n)
        memcpy(data + 2, reason, n);
    put_frame(w, FRAME_CLOSE, data, n + 2);
    w->closing = true;
    neap_timer_start(w->timer, WS_CLOSE_MS, 0);
}

static const struct neap_stream_ops client_ws_ops = {ws_send, ws_pause, ws_close};

/* ---- the handshake ---- */

static void refuse(struct client_ws *w, int status, const char *body, size_t len, int code,
                   const char *text)
{
    NEAP_CLEANUP_ERR struct neap_err err = NEAP_ERR_INIT;
    if (w->told)
        return;
    w->told = true;
    neap_err_set(&err, code, "%s", text);
    if (!w->silent)
        w->refused(w->handler_arg, status, body, len, &err);
}

static void on_ready(struct http_io *io)
{
    struct client_ws *w = ws_of(io);
    struct neap_http_client *c = w->client;
    neap_buf_printf(&io->out, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n", w->path,
                    client_host(c), c->user_agent);
    if (c->token)
        neap_buf_printf(&io->out, "Authorization: Bearer %s\r\n", c->token);
    if (*w->protocols)
        neap_buf_printf(&io->out, "Sec-WebSocket-Protocol: %s\r\n", w->protocols);
    neap_buf_printf(&io->out,
                    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: %s\r\n\r\n",
                    w->key);
}

/* A header's value, trimmed, in place; NULL: absent. */
static char *header_of(char *head, const char *name)
{
    size_t len = strlen(name);
    for (char *at = strstr(head, "\r\n"); at; at = strstr(at + 2, "\r\n")) {
        if (strncasecmp(at + 2, name, len) != 0 || at[2 + len] != ':')
            continue;
        char *value = at + 3 + len, *end = strstr(value, "\r\n");
        value += strspn(value, " \t");
        return neap_strndup(value, end ? (size_t)(end - value) : strlen(value));
    }
    return NULL;
}

static bool accept_matches(const struct client_ws *w, const char *value)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char sum[SHA_DIGEST_LENGTH];
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT, want = NEAP_BUF_INIT;
    neap_buf_str(&b, w->key);
    neap_buf_str(&b, guid);
    SHA1((const unsigned char *)b.data, b.len, sum);
    http_base64_encode(&want, sum, sizeof(sum));
    return neap_streq(value, want.data);
}

static bool offered(const struct client_ws *w, const char *name)
{
    size_t len = strlen(name);
    for (const char *p = w->protocols; *p;) {
        p += strspn(p, ", ");
        size_t n = strcspn(p, ", ");
        if (n == len && strncmp(p, name, n) == 0)
            return true;
        p += n;
    }
    return false;
}

static bool switched(struct client_ws *w, char *head)
{
    NEAP_CLEANUP_FREE char *accept = header_of(head, "Sec-WebSocket-Accept"),
                           *protocol = header_of(head, "Sec-WebSocket-Protocol");
    if (!accept_matches(w, accept) || (protocol && !offered(w, protocol))) {
        refuse(w, 101, "", 0, NEAP_EIO, "the server's websocket handshake is wrong");
        return false;
    }
    w->protocol = protocol ? neap_ws_protocol_by_name(protocol) : NULL;
    w->open = w->told = true;
    neap_timer_stop(w->timer);
    w->handler->open(w->handler_arg, &w->stream);
    return true;
}

/* False: wait for more, or closed. */
static bool parse_head(struct client_ws *w)
{
    char *end = w->in.len ? strstr(w->in.data, "\r\n\r\n") : NULL;
    if (!end) {
        if (w->in.len > WS_HEAD_MAX)
            http_io_close(&w->io, "the head of the answer is too large");
        return false;
    }
    int status = 0;
    NEAP_CLEANUP_FREE char *head = neap_strndup(w->in.data, (size_t)(end - w->in.data));
    neap_buf_consume(&w->in, (size_t)(end - w->in.data) + 4);
    if (sscanf(head, "HTTP/1.%*1d %3d", &status) != 1 || status < 101) {
        http_io_close(&w->io, "the answer is not HTTP");
        return false;
    }
    if (status == 101) {
        if (!switched(w, head))
            http_io_close(&w->io, "handshake");
        return !w->io.dead;
    }
    NEAP_CLEANUP_FREE char *length = header_of(head, "Content-Length");
    uint64_t n;
    w->status = status;
    w->length = length && neap_parse_u64(length, WS_REFUSAL_MAX, &n) ? (int64_t)n : -1;
    return true;
}

/* The body of a refusal. */
static void parse_refusal(struct client_ws *w)
{
    bool complete = w->length >= 0 && w->in.len >= (size_t)w->length;
    if (!complete && w->in.len < WS_REFUSAL_MAX)
        return;
    http_io_close(&w->io, "refused"); /* gone() tells */
}

/* ---- messages ---- */

static void on_message(struct client_ws *w, const struct http_frame *f)
{
    bool base64 = w->protocol && w->protocol->base64,
         channels = !w->protocol || w->protocol->channels;
    size_t skip = channels ? 1 : 0;
    if (f->len < skip || w->closing)
        return;
    int channel = channels ? (unsigned char)f->data[0] - (base64 ? '0' : 0) : NEAP_CHANNEL_STDOUT;
    if (!base64) {
        w->handler->message(w->handler_arg, channel, f->data + skip, f->len - skip);
        return;
    }
    NEAP_CLEANUP_BUF struct neap_buf plain = NEAP_BUF_INIT;
    if (http_base64_decode(&plain, f->data + skip, f->len - skip))
        w->handler->message(w->handler_arg, channel, plain.data ? plain.data : "", plain.len);
}

static void on_frame(struct client_ws *w, const struct http_frame *f)
{
    if (f->opcode == FRAME_PING) {
        put_frame(w, FRAME_PONG, f->data, f->len);
    } else if (f->opcode == FRAME_CLOSE) {
        if (!w->closing)
            put_frame(w, FRAME_CLOSE, f->data, f->len < 2 ? 0 : 2);
        w->closing = true;
        w->io.closing = true;
        http_io_flush_soon(&w->io);
    } else if (f->opcode != FRAME_PONG) {
        on_message(w, f);
    }
}

static void parse_frames(struct client_ws *w)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct http_frame f;
    size_t at = 0, used;
    while (!w->paused && !w->io.dead && !w->io.closing) {
        int rc = http_frame_read(&w->frames, w->in.data + at, w->in.len - at, &used, &f, &err);
        if (rc < 0) {
            char text[160];
            snprintf(text, sizeof(text), "%s", err.message);
            neap_err_done(&err);
            http_io_close(&w->io, text);
            return;
        }
        if (!used)
            break;
        at += used;
        if (rc == 1)
            on_frame(w, &f);
    }
    neap_buf_consume(&w->in, at);
    if (!w->in.len && w->in.cap > HTTP_OUT_HIGH)
        neap_buf_done(&w->in);
}

static void parse(struct client_ws *w)
{
    if (w->parsing)
        return;
    w->parsing = true;
    if (w->open || w->status || parse_head(w)) {
        if (w->open && w->in.len)
            parse_frames(w);
        else if (w->status && !w->io.dead)
            parse_refusal(w);
    }
    w->parsing = false;
}

/* ---- the connection ---- */

static bool on_input(struct http_io *io, const char *data, size_t len)
{
    struct client_ws *w = ws_of(io);
    neap_buf_append(&w->in, data, len);
    parse(w);
    return true;
}

static void on_output(struct http_io *io)
{
    struct client_ws *w = ws_of(io);
    if (!w->full || http_io_waiting(io) > NEAP_STREAM_QUEUE_MAX / 2)
        return;
    w->full = false;
    if (w->handler->writable && !w->closing)
        w->handler->writable(w->handler_arg);
}

static void on_gone(struct http_io *io)
{
    struct client_ws *w = ws_of(io);
    char text[256];
    neap_list_remove(&w->link);
    w->timer = neap_timer_close(w->timer);
    if (w->open) {
        w->closing = true;
        if (!w->silent)
            w->handler->closed(w->handler_arg);
    } else if (w->status) {
        snprintf(text, sizeof(text), "the server refused the websocket: %d", w->status);
        refuse(w, w->status, w->in.data ? w->in.data : "", w->in.len, NEAP_EUNAVAILABLE, text);
    } else {
        snprintf(text, sizeof(text), "%s: %s", client_host(w->client), io->reason);
        refuse(w, 0, "", 0, NEAP_EUNAVAILABLE, text);
    }
}

static void ws_free(struct client_ws *w)
{
    client_unref(w->client);
    neap_buf_done(&w->in);
    http_frames_done(&w->frames);
    free(w->path);
    free(w->protocols);
    free(w);
}

static void on_release(struct http_io *io)
{
    ws_free(ws_of(io));
}

static const struct http_io_ops client_ws_io = {on_ready, on_input, on_output, on_gone, on_release};

static void on_timer(void *arg)
{
    struct client_ws *w = arg;
    http_io_close(&w->io, w->open ? "closed" : "timed out");
}

static void dial_failed(void *arg)
{
    struct client_ws *w = arg;
    refuse(w, 0, "", 0, NEAP_EUNAVAILABLE, w->io.reason);
    neap_list_remove(&w->link);
    w->timer = neap_timer_close(w->timer);
    ws_free(w);
}

static char *join(const char *const *list)
{
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_str(&b, "");
    for (; list && *list; list++)
        neap_buf_printf(&b, "%s%s", b.len ? ", " : "", *list);
    return neap_buf_take(&b);
}

void neap_http_client_stream(struct neap_http_client *c, const char *path,
                             const char *const *protocols,
                             const struct neap_stream_handler *handler, void *handler_arg,
                             void (*refused)(void *arg, int status, const char *body, size_t len,
                                             const struct neap_err *err))
{
    NEAP_CLEANUP_ERR struct neap_err err = NEAP_ERR_INIT;
    NEAP_CLEANUP_BUF struct neap_buf key = NEAP_BUF_INIT;
    struct client_ws *w = neap_calloc(1, sizeof(*w));
    unsigned char nonce[16];
    neap_rand_system.fill(neap_rand_system.self, nonce, sizeof(nonce));
    http_base64_encode(&key, nonce, sizeof(nonce));
    memcpy(w->key, key.data, key.len);
    w->stream.ops = &client_ws_ops;
    w->client = c;
    w->handler = handler;
    w->handler_arg = handler_arg;
    w->refused = refused;
    w->path = neap_strdup(path);
    w->protocols = join(protocols);
    w->frames.max = WS_MESSAGE_MAX;
    w->timer = neap_timer_new(c->loop, on_timer, w);
    c->refs++;
    neap_list_append(&c->websockets, &w->link);
    if (client_dial(c, &w->io, &client_ws_io, "\x08http/1.1", &err)) {
        snprintf(w->io.reason, sizeof(w->io.reason), "%s", err.message);
        w->io.dead = true;
        neap_loop_post(c->loop, dial_failed, w);
        return;
    }
    neap_timer_start(w->timer, CLIENT_CONNECT_MS, 0);
}

void client_ws_close_all(struct neap_http_client *c)
{
    neap_list_foreach(&c->websockets, l)
    {
        struct client_ws *w = neap_list_entry(l, struct client_ws, link);
        w->silent = true;
        http_io_close(&w->io, "closed"); /* one that could not dial is freed by its post */
    }
}
