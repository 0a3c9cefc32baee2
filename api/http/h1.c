/* HTTP/1.1: one request at a time, answers in order. Source: RFC 9112. */
#include "http_internal.h"

struct h1 {
    struct neap_h1_parser *parser;
    struct neap_buf in; /* bytes behind the request that is being answered */
    struct http_request *request;
    bool answering, chunked, close_after, head_seen;
    int minor;
};

static struct h1 *h1_of(const struct http_conn *c)
{
    return c->session;
}

static bool parse(struct http_conn *c);

static const char *reason(int status)
{
    return status == 200   ? "OK"
           : status == 201 ? "Created"
           : status == 400 ? "Bad Request"
           : status == 401 ? "Unauthorized"
           : status == 403 ? "Forbidden"
           : status == 404 ? "Not Found"
           : status == 409 ? "Conflict"
           : status >= 500 ? "Server Error"
                           : "Status";
}

static void answer(struct http_request *r)
{
    struct http_conn *c = r->conn;
    struct h1 *h = h1_of(c);
    struct neap_header headers[32];
    char length[24];
    unsigned n = http_answer_headers(r, headers, length);
    h->answering = true;
    h->chunked = r->call->stream_body && h->minor >= 1;
    if ((r->call->stream_body && !h->chunked) || r->refused)
        h->close_after = true;
    neap_buf_printf(&c->out, "HTTP/1.1 %d %s\r\n", r->call->status, reason(r->call->status));
    for (unsigned i = 0; i < n; i++)
        neap_buf_printf(&c->out, "%s: %s\r\n", headers[i].name, headers[i].value);
    if (h->chunked)
        neap_buf_str(&c->out, "transfer-encoding: chunked\r\n");
    neap_buf_printf(&c->out, "connection: %s\r\n\r\n", h->close_after ? "close" : "keep-alive");
    if (r->head_only)
        r->ended = true;
}

static void woken(struct http_request *r)
{
    (void)r; /* output() reads */
}

static void next_request(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    struct http_request *r = h->request;
    h->request = NULL;
    h->answering = h->head_seen = false;
    http_request_release(r);
    if (h->close_after) {
        c->closing = true;
        return;
    }
    neap_h1_parser_next(h->parser);
    if (h->in.len && !parse(c))
        c->closing = true;
}

static void output(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    if (!h || !h->answering)
        return;
    struct http_request *r = h->request;
    while (c->out.len - c->out_at < HTTP_OUT_HIGH && !r->ended) {
        size_t before = r->pending.len;
        int rc = http_answer_read(r, &r->pending, HTTP_RECORD);
        size_t n = r->pending.len - before;
        if (n && h->chunked)
            neap_buf_printf(&c->out, "%zx\r\n", n);
        neap_buf_append(&c->out, r->pending.data ? r->pending.data : "", r->pending.len);
        if (n && h->chunked)
            neap_buf_str(&c->out, "\r\n");
        neap_buf_reset(&r->pending);
        if (rc == 0)
            return;
    }
    if (!r->ended)
        return;
    if (h->chunked && !r->head_only)
        neap_buf_str(&c->out, "0\r\n\r\n");
    next_request(c);
}

static bool head(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    const struct neap_h1_head *p = neap_h1_parser_head(h->parser);
    struct http_request *r = http_request_new(c);
    h->request = r;
    h->head_seen = true;
    h->minor = p->minor;
    h->close_after = !p->keep_alive || c->server->draining;
    r->answer = answer;
    r->woken = woken;
    bool ok = http_request_header(r, ":method", 7, p->method, strlen(p->method)) &&
              http_request_header(r, ":path", 5, p->target, strlen(p->target));
    for (unsigned i = 0; ok && i < p->header_count; i++)
        ok = http_request_header(r, p->headers[i].name, strlen(p->headers[i].name),
                                 p->headers[i].value, strlen(p->headers[i].value));
    if (!ok) {
        http_request_refuse(r, NEAP_ETOOLARGE, "the headers of the request are too large");
        return false;
    }
    if (!http_request_head(r))
        return false;
    if (p->expect_continue)
        neap_buf_str(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    return true;
}

static bool bad(struct http_conn *c, struct neap_err *err)
{
    struct h1 *h = h1_of(c);
    if (!h->request) {
        h->request = http_request_new(c);
        h->request->answer = answer;
        h->request->woken = woken;
        h->minor = 1;
    }
    int code = err->code;
    char *text = neap_strdup(err->message ? err->message : "bad request");
    neap_err_done(err);
    http_request_refuse(h->request, code, text);
    free(text);
    return true; /* closed once the answer is out */
}

/* Feeds what is in h->in until a request is complete or bytes run out. */
static bool parse(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    struct neap_err err = NEAP_ERR_INIT;
    while (h->in.len && !h->answering && !(h->request && h->request->handed)) {
        size_t n = neap_h1_parser_feed(h->parser, h->in.data, h->in.len, &err);
        neap_buf_consume(&h->in, n);
        enum neap_h1_state state = neap_h1_parser_state(h->parser);
        if (state == NEAP_H1_ERROR)
            return bad(c, &err);
        if (state == NEAP_H1_HEAD)
            break;
        if (!h->head_seen && !head(c))
            return true;
        if (state == NEAP_H1_DONE) {
            size_t len;
            const char *body = neap_h1_parser_body(h->parser, &len);
            if (http_request_body(h->request, body, len))
                http_request_handle(h->request);
            return true;
        }
        if (n == 0)
            break;
    }
    return true;
}

static bool input(struct http_conn *c, const char *data, size_t len)
{
    struct h1 *h = h1_of(c);
    const struct neap_http_limits *l = &c->server->options.limits;
    if (!h) {
        h = neap_calloc(1, sizeof(*h));
        h->parser = neap_h1_parser_new(l->header_bytes, l->body_bytes);
        c->session = h;
    }
    if (h->in.len + len > l->header_bytes + l->body_bytes)
        return false; /* pipelined beyond all measure */
    neap_buf_append(&h->in, data, len);
    return parse(c);
}

static void gone(struct http_conn *c)
{
    struct h1 *h = h1_of(c);
    if (!h)
        return;
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
    if (!h || !h->request)
        c->closing = true;
    else
        h->close_after = true;
}

static unsigned active(const struct http_conn *c)
{
    const struct h1 *h = h1_of(c);
    return h && h->request;
}

const struct http_protocol http_h1 = {input, output, gone, drain, active};
