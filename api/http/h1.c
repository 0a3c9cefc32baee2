/* HTTP/1.1: one request at a time, answers in order; what is pipelined behind waits. Source: RFC 9112. */
#include "http_internal.h"

enum { PIPELINED_MAX = 64 << 10 }; /* bytes behind the request under way: then nothing is read */

struct h1 {
    struct neap_h1_parser *parser;
    struct neap_buf in; /* bytes behind the request that is being answered */
    struct http_request *request;
    bool answering, chunked, close_after, upgrade;
    int minor;
    int64_t since_ms; /* the first byte of a head that is not complete; 0: none */
};

static struct h1 *h1_of(const struct http_conn *c)
{
    return c->session;
}

static void parse(struct http_conn *c);

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } rows[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Request Entity Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Entity"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (rows[i].status == status)
            return rows[i].text;
    return "Status";
}

/* ---- the answer ---- */

/* A handler's text must not end a header line. */
static void put_header(struct neap_buf *b, const char *name, const char *value)
{
    neap_buf_str(b, name);
    neap_buf_str(b, ": ");
    for (const char *v = value; *v; v++)
        neap_buf_char(b, *v == '\r' || *v == '\n' ? ' ' : *v);
    neap_buf_str(b, "\r\n");
}

static void answer(struct http_request *r)
{
    struct http_conn *c = r->conn;
    struct h1 *h = h1_of(c);
    struct neap_buf *out = &c->io.out;
    struct neap_header headers[HTTP_ANSWER_HEADERS];
    char length[24];
    h->answering = true;
    if (http_ws_wanted(r)) {
        h->upgrade = true; /* in output(): the parser may be under us */
        return;
    }
    unsigned n = http_answer_headers(r, headers, length);
    h->chunked = r->call->stream_body && h->minor >= 1;
    if ((r->call->stream_body && !h->chunked) || r->refused || c->server->draining)
        h->close_after = true;
    c->io.linger = r->refused;
    neap_buf_printf(out, "HTTP/1.1 %d %s\r\n", r->call->status, reason(r->call->status));
    for (unsigned i = 0; i < n; i++)
        put_header(out, headers[i].name, headers[i].value);
    if (h->chunked)
        neap_buf_str(out, "transfer-encoding: chunked\r\n");
    neap_buf_str(out, h->close_after ? "connection: close\r\n\r\n" : "\r\n");
    if (r->head_only)
        r->ended = true;
}

static void woken(struct http_request *r)
{
    (void)r; /* output() reads */
}

static void put_chunk(struct h1 *h, struct http_request *r, struct neap_buf *out)
{
    size_t n = r->pending.len;
    if (!n)
        return;
    if (h->chunked)
        neap_buf_printf(out, "%zx\r\n", n);
    neap_buf_append(out, r->pending.data, n);
    if (h->chunked)
        neap_buf_str(out, "\r\n");
    neap_buf_reset(&r->pending);
}

static void next_request(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    struct http_request *r = h->request;
    h->request = NULL;
    h->answering = false;
    http_request_release(r);
    if (h->close_after) {
        c->io.closing = true;
        return;
    }
    neap_h1_parser_next(h->parser);
    parse(c);
    if (h->in.len <= PIPELINED_MAX)
        http_io_pause(&c->io, false);
    if (!h->in.len)
        neap_buf_done(&h->in);
}

static void upgrade(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    struct http_request *r = h->request;
    struct neap_buf rest = h->in;
    neap_h1_parser_free(h->parser);
    free(h);
    http_io_pause(&c->io, false);
    http_ws_start(r, rest.data ? rest.data : "", rest.len);
    neap_buf_done(&rest);
}

static void output(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    if (h->upgrade) {
        upgrade(c);
        return;
    }
    if (!h->answering || c->io.closing)
        return;
    struct http_request *r = h->request;
    while (http_io_waiting(&c->io) < HTTP_OUT_HIGH && !r->ended) {
        r->moved_ms = neap_loop_now_ms(c->io.loop);
        int rc = http_answer_read(r, r->call->stream_body ? &r->pending : &c->io.out, HTTP_RECORD);
        put_chunk(h, r, &c->io.out);
        if (rc == 0) {
            r->waiting = true;
            neap_buf_done(&r->pending); /* a watch that waits holds nothing */
            return;
        }
    }
    if (!r->ended)
        return;
    if (h->chunked && !r->head_only)
        neap_buf_str(&c->io.out, "0\r\n\r\n");
    next_request(c);
}

/* ---- the request ---- */

static const char *header_of(const struct neap_h1_head *p, const char *name)
{
    for (unsigned i = 0; i < p->header_count; i++)
        if (strcmp(p->headers[i].name, name) == 0)
            return p->headers[i].value;
    return NULL;
}

static bool copy_headers(struct http_request *r, const struct neap_h1_head *p)
{
    bool ok = http_request_header(r, ":method", 7, p->method, strlen(p->method)) &&
              http_request_header(r, ":path", 5, p->target, strlen(p->target));
    for (unsigned i = 0; ok && i < p->header_count; i++)
        ok = http_request_header(r, p->headers[i].name, strlen(p->headers[i].name),
                                 p->headers[i].value, strlen(p->headers[i].value));
    return ok;
}

static struct http_request *begin(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    struct http_request *r = http_request_new(c);
    r->answer = answer;
    r->woken = woken;
    h->request = r;
    h->since_ms = 0;
    return r;
}

static bool head(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    const struct neap_h1_head *p = neap_h1_parser_head(h->parser);
    struct http_request *r = begin(c);
    h->minor = p->minor;
    h->close_after = !p->keep_alive || c->server->draining;
    if (!copy_headers(r, p)) {
        http_request_refuse(r, NEAP_ETOOLARGE, "the headers of the request are too large");
        return false;
    }
    const char *key = header_of(p, "sec-websocket-key"),
               *version = header_of(p, "sec-websocket-version");
    if (p->upgrade_websocket && key && neap_streq(version, "13") && strcmp(p->method, "GET") == 0)
        http_ws_prepare(r, key);
    if (!http_request_head(r))
        return false;
    if (r->ws_key)
        http_ws_choose(r);
    if (p->expect_continue && neap_h1_parser_state(h->parser) == NEAP_H1_BODY)
        neap_buf_str(&c->io.out, "HTTP/1.1 100 Continue\r\n\r\n");
    return true;
}

static void bad(struct http_conn *c, struct neap_err *err)
{
    struct h1 *h = h1_of(c);
    NEAP_CLEANUP_ERR struct neap_err mine = NEAP_ERR_INIT;
    neap_err_move(&mine, err);
    if (!h->request) {
        begin(c);
        h->minor = 1;
    }
    http_request_refuse(h->request, mine.code, mine.message ? mine.message : "bad request");
}

/* One step of the parser; false: wait for more bytes or for the answer. */
static bool parse_step(struct http_conn *c, const char *data, size_t len, size_t *used)
{
    struct h1 *h = h1_of(c);
    struct neap_err err = NEAP_ERR_INIT;
    size_t n = neap_h1_parser_feed(h->parser, data, len, &err), body_len;
    enum neap_h1_state state = neap_h1_parser_state(h->parser);
    *used += n;
    if (state == NEAP_H1_ERROR) {
        bad(c, &err);
        return false;
    }
    if (state == NEAP_H1_HEAD) {
        if (!h->since_ms)
            h->since_ms = neap_loop_now_ms(c->io.loop);
        return false;
    }
    if (!h->request && !head(c))
        return false;
    if (state == NEAP_H1_DONE) {
        const char *body = neap_h1_parser_body(h->parser, &body_len);
        if (http_request_body(h->request, body, body_len))
            http_request_handle(h->request);
        return false;
    }
    return n > 0;
}

static bool busy(const struct h1 *h)
{
    return h->answering || (h->request && h->request->handed);
}

static size_t feed(struct http_conn *c, const char *data, size_t len)
{
    size_t used = 0;
    while (used < len && !busy(h1_of(c)))
        if (!parse_step(c, data + used, len - used, &used))
            break;
    return used;
}

/* What waited behind the last request. */
static void parse(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    if (h->in.len)
        neap_buf_consume(&h->in, feed(c, h->in.data, h->in.len));
}

static bool input(struct http_conn *c, const char *data, size_t len)
{
    struct h1 *h = h1_of(c);
    size_t used = h->in.len ? 0 : feed(c, data, len);
    if (used < len && !(h->request && h->request->refused))
        neap_buf_append(&h->in, data + used, len - used);
    if (h->in.len > PIPELINED_MAX)
        http_io_pause(&c->io, true);
    return true;
}

/* ---- life ---- */

static void start(struct http_conn *c)
{
    const struct neap_http_limits *l = &c->server->options.limits;
    struct h1 *h = neap_calloc(1, sizeof(*h));
    h->parser = neap_h1_parser_new(l->header_bytes, l->body_bytes);
    c->session = h;
}

static void gone(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    if (h->request)
        http_request_release(h->request);
    neap_h1_parser_free(h->parser);
    neap_buf_done(&h->in);
    free(h);
    c->session = NULL;
}

static void drain(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    if (!h->request)
        c->io.closing = true;
    else
        h->close_after = true;
}

static bool tick(struct http_conn *c, int64_t now)
{
    struct h1 *h = h1_of(c);
    if (!h->request)
        return !h->since_ms ||
               now - h->since_ms <= (int64_t)c->server->options.limits.header_timeout_ms;
    return http_request_tick(h->request, now) && !http_request_stalled(h->request, now);
}

const struct http_protocol http_h1 = {start, input, output, gone, drain, tick};
