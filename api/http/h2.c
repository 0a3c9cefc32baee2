/* HTTP/2 by nghttp2: streams become requests; answers are pulled as windows and the socket allow.
 * Source: RFC 9113. */
#include "http_internal.h"
#include <nghttp2/nghttp2.h>

enum {
    WINDOW = 1 << 20,
    /* above limits.resets: a client that resets streams faster, or has us reset them (CVE-2023-44487,
     * CVE-2025-8671), is thrown out */
    RESETS_PER_SECOND = 33,
    DROPPED_BODIES = 2, /* times limits.body_bytes of a refused request */
};

struct h2 {
    nghttp2_session *session;
    struct http_conn *conn;
    bool goaway, overrun; /* too many resets */
    int64_t reset_tokens, reset_at_ms;
};

static struct h2 *h2_of(const struct http_conn *c)
{
    return c->session;
}

/* ---- the answer ---- */

/* A fixed answer goes straight from the object's bytes to the frame. */
static ssize_t read_fixed(struct http_request *r, uint8_t *buf, size_t length, uint32_t *flags)
{
    size_t left = r->fixed_len - r->fixed_at, n = left < length ? left : length;
    memcpy(buf, r->fixed + r->fixed_at, n);
    r->fixed_at += n;
    if (r->fixed_at == r->fixed_len) {
        r->ended = true;
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)n;
}

static ssize_t read_answer(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct http_request *r = source->ptr;
    (void)session;
    (void)stream_id;
    r->moved_ms = neap_loop_now_ms(((struct h2 *)user)->conn->io.loop);
    if (!r->call->stream_body)
        return read_fixed(r, buf, length, flags);
    if (!r->ended && r->pending.len < length)
        (void)http_answer_read(r, &r->pending, length - r->pending.len);
    size_t n = r->pending.len < length ? r->pending.len : length;
    if (n)
        memcpy(buf, r->pending.data, n);
    neap_buf_consume(&r->pending, n);
    if (r->pending.len == 0 && (r->ended || n == 0))
        neap_buf_done(&r->pending); /* a watch that waits holds nothing */
    if (r->ended && r->pending.len == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (n == 0)
        return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)n;
}

static void answer(struct http_request *r)
{
    struct h2 *h = h2_of(r->conn);
    struct neap_header headers[HTTP_ANSWER_HEADERS];
    nghttp2_nv nv[HTTP_ANSWER_HEADERS + 1];
    char status[8], length[24];
    unsigned n = http_answer_headers(r, headers, length);
    snprintf(status, sizeof(status), "%d", r->call->status);
    nv[0] = (nghttp2_nv){(uint8_t *)":status", (uint8_t *)status, 7, strlen(status), 0};
    for (unsigned i = 0; i < n; i++)
        nv[i + 1] = (nghttp2_nv){(uint8_t *)(uintptr_t)headers[i].name,
                                 (uint8_t *)(uintptr_t)headers[i].value, strlen(headers[i].name),
                                 strlen(headers[i].value), 0};
    nghttp2_data_provider body = {.source = {.ptr = r}, .read_callback = read_answer};
    bool none = r->head_only || (!r->call->stream_body && r->fixed_len == 0);
    nghttp2_submit_response(h->session, r->stream_id, nv, n + 1, none ? NULL : &body);
}

static void woken(struct http_request *r)
{
    nghttp2_session_resume_data(h2_of(r->conn)->session, r->stream_id);
}

/* ---- callbacks ---- */

static struct http_request *request_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct http_request *r = http_request_new(h->conn);
    r->stream_id = frame->hd.stream_id;
    r->answer = answer;
    r->woken = woken;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, r);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct http_request *r = request_of(session, frame->hd.stream_id);
    (void)flags;
    (void)user;
    if (!r || r->refused)
        return 0;
    if (!http_request_header(r, (const char *)name, name_len, (const char *)value, value_len))
        http_request_refuse(r, NEAP_ETOOLARGE, "the headers of the request are too large");
    return 0;
}

static bool reset_allowed(struct h2 *h)
{
    int64_t now = neap_loop_now_ms(h->conn->server->options.loop);
    int64_t gained = (now - h->reset_at_ms) * RESETS_PER_SECOND / 1000;
    if (gained > 0) {
        h->reset_at_ms = now;
        h->reset_tokens += gained;
        int64_t most = h->conn->server->options.limits.resets;
        if (h->reset_tokens > most)
            h->reset_tokens = most;
    }
    return h->reset_tokens-- > 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http_request *r = request_of(session, frame->hd.stream_id);
    (void)user;
    if (!r || r->refused)
        return 0;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        if (!http_request_head(r))
            return 0;
    } else if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    if (end)
        http_request_handle(r);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t len, void *user)
{
    struct http_request *r = request_of(session, stream_id);
    (void)flags;
    (void)user;
    if (!r)
        return 0;
    if (!r->refused) {
        http_request_body(r, (const char *)data, len);
        return 0;
    }
    /* the answer is out: the rest is dropped (a reset makes some clients lose the answer), but not for
     * ever */
    r->header_bytes += len;
    if (r->header_bytes > DROPPED_BODIES * r->conn->server->options.limits.body_bytes)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    struct http_request *r = request_of(session, stream_id);
    if (r) {
        nghttp2_session_set_stream_user_data(session, stream_id, NULL);
        http_request_release(r);
    }
    struct h2 *h = user;
    if (code != NGHTTP2_NO_ERROR && !reset_allowed(h) && !h->overrun) {
        h->overrun = true;
        nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    return 0;
}

static nghttp2_session_callbacks *callbacks(void)
{
    nghttp2_session_callbacks *c;
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    return c;
}

static void start(struct http_conn *c)
{
    struct h2 *h = neap_calloc(1, sizeof(*h));
    const struct neap_http_limits *l = &c->server->options.limits;
    nghttp2_session_callbacks *cb = callbacks();
    nghttp2_option *option;
    nghttp2_option_new(&option);
    nghttp2_option_set_max_settings(option, 32);
    nghttp2_option_set_max_outbound_ack(option, 1000);
    nghttp2_option_set_no_closed_streams(option, 1);
    h->conn = c;
    h->reset_tokens = l->resets;
    h->reset_at_ms = neap_loop_now_ms(c->server->options.loop);
    c->session = h;
    nghttp2_session_server_new2(&h->session, cb, h, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)l->header_bytes},
    };
    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, NEAP_ARRAY_LEN(settings));
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, 4 * WINDOW);
}

/* ---- the protocol ---- */

static bool input(struct http_conn *c, const char *data, size_t len)
{
    struct h2 *h = h2_of(c);
    ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)data, len);
    return n >= 0 && !h->overrun;
}

static void output(struct http_conn *c)
{
    struct h2 *h = h2_of(c);
    while (http_io_waiting(&c->io) < HTTP_OUT_HIGH) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(h->session, &data);
        if (n < 0)
            c->io.closing = true;
        if (n <= 0)
            break;
        neap_buf_append(&c->io.out, data, (size_t)n);
    }
    if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
        c->io.closing = true;
    if (h->goaway && neap_list_empty(&c->requests))
        c->io.closing = true;
}

static void gone(struct http_conn *c)
{
    struct h2 *h = h2_of(c);
    if (!h)
        return;
    /* streams that are open are not told by nghttp2_session_del */
    neap_list_foreach(&c->requests, e)
    {
        http_request_release(neap_list_entry(e, struct http_request, link));
    }
    nghttp2_session_del(h->session);
    free(h);
    c->session = NULL;
}

static void drain(struct http_conn *c)
{
    struct h2 *h = h2_of(c);
    h->goaway = true;
    neap_list_foreach(&c->requests, e)
    {
        struct http_request *r = neap_list_entry(e, struct http_request, link);
        if (r->finished && r->call->stream_body)
            r->woken(r); /* watches end */
    }
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}

static bool tick(struct http_conn *c, int64_t now)
{
    struct h2 *h = h2_of(c);
    neap_list_foreach(&c->requests, e)
    {
        struct http_request *r = neap_list_entry(e, struct http_request, link);
        if (!http_request_tick(r, now))
            return false;
        if (http_request_stalled(r, now)) { /* the shut window is the peer's, the memory is ours */
            nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_CANCEL);
            http_io_flush_soon(&c->io);
        }
    }
    return true;
}

const struct http_protocol http_h2 = {start, input, output, gone, drain, tick};
