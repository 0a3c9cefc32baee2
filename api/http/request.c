/* The transport's side of a call: collecting it, handing it over, reading its answer. The call lives until
 * finish() came and the answer is out or the peer is gone, whatever is later. */
#include "http_internal.h"

static void on_finish(struct neap_call *c)
{
    struct http_request *r = c->transport;
    r->finished = true;
    r->moved_ms = r->finished_ms = neap_loop_now_ms(c->loop);
    if (!r->conn) {
        http_request_release(r);
        return;
    }
    r->answer(r);
    http_io_flush_soon(&r->conn->io);
}

static void on_wake(struct neap_call *c)
{
    struct http_request *r = c->transport;
    if (!r->conn || !r->finished)
        return;
    if (r->waiting) {
        r->waiting = false;
        r->moved_ms = neap_loop_now_ms(c->loop);
    }
    if (r->reading) {
        r->rewake = true; /* its own read() calls us */
        return;
    }
    r->woken(r);
    http_io_flush_soon(&r->conn->io);
}

struct http_request *http_request_new(struct http_conn *conn)
{
    const struct neap_http_server_options *o = &conn->server->options;
    struct neap_call *c = neap_call_new(o->loop, o->limits.arena_bytes);
    struct http_request *r = neap_arena_calloc(c->arena, sizeof(*r));
    if (!r)
        abort(); /* limits.arena_bytes is below one request: a programming error */
    r->call = c;
    r->conn = conn;
    c->transport = r;
    c->finish = on_finish;
    c->wake = on_wake;
    c->started_mono_ns = neap_clock_mono(neap_loop_clock(o->loop));
    r->begun_ms = neap_loop_now_ms(o->loop);
    neap_list_append(&conn->requests, &r->link);
    return r;
}

static bool grow_headers(struct http_request *r)
{
    if (r->header_count + 1 < r->header_cap)
        return true;
    unsigned cap = r->header_cap ? r->header_cap * 2 : 16;
    struct neap_header *more = neap_arena_calloc(r->call->arena, cap * sizeof(*more));
    if (!more || cap > HTTP_HEADERS_MAX * 2)
        return false;
    if (r->header_count)
        memcpy(more, r->headers, r->header_count * sizeof(*more));
    r->headers = more;
    r->header_cap = cap;
    return true;
}

bool http_request_header(struct http_request *r, const char *name, size_t name_len,
                         const char *value, size_t value_len)
{
    struct neap_arena *a = r->call->arena;
    r->header_bytes += name_len + value_len;
    if (r->header_bytes > r->conn->server->options.limits.header_bytes ||
        r->header_count >= HTTP_HEADERS_MAX)
        return false;
    const char *v = neap_arena_strndup(a, value, value_len);
    if (!v)
        return false;
    if (name_len == 7 && memcmp(name, ":method", 7) == 0) {
        r->method = v;
    } else if (name_len == 5 && memcmp(name, ":path", 5) == 0) {
        r->target = v;
    } else if (name_len && name[0] != ':') {
        const char *n = neap_arena_strndup(a, name, name_len);
        if (!n || !grow_headers(r))
            return false;
        r->headers[r->header_count++] = (struct neap_header){n, v};
    }
    return true;
}

static void drop_body(struct http_request *r)
{
    if (r->conn)
        r->conn->server->body_bytes -= r->body.len;
    neap_buf_done(&r->body);
}

void http_request_refuse(struct http_request *r, int code, const char *text)
{
    struct neap_call *c = r->call;
    const struct neap_http_server_options *o = &r->conn->server->options;
    if (text)
        neap_err_set(&c->err, code, "%s", text);
    if (!c->method)
        c->method = "GET";
    c->status = neap_err_http_status(c->err.code);
    r->refused = true;
    r->handed = true;
    drop_body(r);
    if (o->refuse)
        o->refuse(o->arg, c);
    on_finish(c);
}

bool http_request_head(struct http_request *r)
{
    static struct neap_header none[1];
    struct neap_call *c = r->call;
    const struct neap_http_server_options *o = &r->conn->server->options;
    if (!r->method || !r->target) {
        http_request_refuse(r, NEAP_EBADREQUEST, "the request has no method or no path");
        return false;
    }
    r->headed = true;
    r->head_only = strcmp(r->method, "HEAD") == 0;
    r->begun_ms = neap_loop_now_ms(o->loop);
    if (neap_wire_call_parse(c, r->method, r->target, r->headers ? r->headers : none, &c->err) ||
        !o->admit(o->arg, c, &r->conn->peer)) {
        http_request_refuse(r, 0, NULL);
        return false;
    }
    return true;
}

bool http_request_body(struct http_request *r, const char *data, size_t len)
{
    char text[80];
    struct neap_http_server *s = r->conn->server;
    size_t max = s->options.limits.body_bytes;
    if (r->refused)
        return false;
    if (r->body.len + len > max) {
        snprintf(text, sizeof(text), "Request entity too large: limit is %zu", max);
        http_request_refuse(r, NEAP_ETOOLARGE, text);
        return false;
    }
    if (s->body_bytes + len > s->options.limits.bodies_bytes) {
        http_request_refuse(r, NEAP_ETOOMANYREQUESTS, "too many request bodies are under way");
        return false;
    }
    s->body_bytes += len;
    neap_buf_append(&r->body, data, len);
    return true;
}

bool http_request_tick(struct http_request *r, int64_t now)
{
    const struct neap_http_limits *l = &r->conn->server->options.limits;
    if (r->handed)
        return true;
    if (!r->headed)
        return now - r->begun_ms <= (int64_t)l->header_timeout_ms;
    if (now - r->begun_ms > (int64_t)l->body_timeout_ms)
        http_request_refuse(r, NEAP_ETIMEOUT, "the body of the request did not come in time");
    return true;
}

bool http_request_stalled(const struct http_request *r, int64_t now)
{
    const struct neap_http_limits *l = &r->conn->server->options.limits;
    if (!r->finished || r->ended || r->waiting)
        return false;
    bool list = r->call->verb == NEAP_LIST && r->call->stream_body;
    return (l->write_stall_ms && now - r->moved_ms > (int64_t)l->write_stall_ms) ||
           (list && l->list_timeout_ms && now - r->finished_ms > (int64_t)l->list_timeout_ms);
}

void http_request_handle(struct http_request *r)
{
    const struct neap_http_server_options *o = &r->conn->server->options;
    if (r->handed)
        return;
    r->handed = true;
    r->call->body = r->body.len ? r->body.data : NULL;
    r->call->body_len = r->body.len;
    o->handle(o->arg, r->call);
}

void http_request_release(struct http_request *r)
{
    struct neap_call *c = r->call;
    bool first = r->conn != NULL;
    if (first) {
        r->conn->server->body_bytes -= r->body.len;
        neap_list_remove(&r->link);
        r->conn = NULL;
    }
    if (r->handed && !r->finished) {
        c->cancelled = true;
        if (first && c->on_cancel) {
            void (*cancel)(struct neap_call *) = c->on_cancel;
            c->on_cancel = NULL;
            cancel(c);
        }
        return; /* finish() comes */
    }
    neap_buf_done(&r->body);
    neap_buf_done(&r->pending);
    neap_call_free(c);
}

/* ---- the answer ---- */

static const char *warning_header(struct neap_call *c, const char *text)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_str(&b, "299 - \"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            neap_buf_char(&b, '\\');
        neap_buf_char(&b, (unsigned char)*text < 32 ? ' ' : *text);
    }
    neap_buf_char(&b, '"');
    return neap_arena_strdup(c->arena, b.data);
}

static void fix_answer(struct http_request *r)
{
    struct neap_call *c = r->call;
    if (c->reply) {
        r->fixed = c->reply;
        r->fixed_len = c->reply_len;
    } else if (c->object && !c->reply_buf.len) {
        r->fixed = neap_object_json(c->object, &r->fixed_len);
    } else {
        r->fixed = c->reply_buf.data;
        r->fixed_len = c->reply_buf.len;
    }
}

unsigned http_answer_headers(struct http_request *r, struct neap_header out[HTTP_ANSWER_HEADERS],
                             char length[24])
{
    struct neap_call *c = r->call;
    unsigned n = 0;
    if (c->status < 100 || c->status > 999)
        c->status = 500;
    if (!c->stream_body) {
        fix_answer(r);
        snprintf(length, 24, "%zu", r->fixed_len);
        if (c->status != 204 && c->status != 304)
            out[n++] = (struct neap_header){"content-length", length};
    }
    out[n++] =
        (struct neap_header){"content-type", c->reply_type ? c->reply_type : "application/json"};
    out[n++] = (struct neap_header){"cache-control", "no-cache, private"};
    out[n++] = (struct neap_header){"date", http_server_date(r->conn->server)};
    for (unsigned i = 0; i < c->warning_count && n < HTTP_ANSWER_HEADERS; i++) {
        const char *w = warning_header(c, c->warnings[i]);
        if (w)
            out[n++] = (struct neap_header){"warning", w};
    }
    for (const struct neap_header *h = c->reply_headers; h && h->name && n < HTTP_ANSWER_HEADERS;
         h++)
        out[n++] = *h;
    return n;
}

static int read_stream(struct http_request *r, struct neap_buf *out, size_t want)
{
    struct neap_body *b = r->call->stream_body;
    int rc;
    if (r->conn && r->conn->server->draining && r->call->verb == NEAP_WATCH) {
        r->ended =
            true; /* it would last longer than the drain; its client begins another elsewhere */
        return -1;
    }
    do {
        r->reading = true;
        r->rewake = false;
        rc = b->read(b, out, want);
        r->reading = false;
    } while (rc == 0 && r->rewake);
    r->ended = rc < 0;
    r->waiting = rc == 0 && !r->pending.len;
    return rc;
}

int http_answer_read(struct http_request *r, struct neap_buf *out, size_t want)
{
    if (r->ended)
        return -1;
    if (r->call->stream_body)
        return read_stream(r, out, want);
    size_t left = r->fixed_len - r->fixed_at, n = left < want ? left : want;
    neap_buf_append(out, r->fixed + r->fixed_at, n);
    r->fixed_at += n;
    r->ended = r->fixed_at == r->fixed_len;
    return r->ended ? -1 : 1;
}
