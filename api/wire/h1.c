/* HTTP/1.1 requests, incrementally: see api/wire/wire.h. Strict where leniency lets requests be smuggled:
 * one Host, one Content-Length, never together with Transfer-Encoding, no folded headers, CRLF line ends.
 * Source: RFC 9112. */
#include <api/wire/wire.h>

#include <strings.h>

#define HEADERS_MAX     128
#define CHUNK_LINE_MAX  256
#define HEAD_LINE_SLACK 4

enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };
enum chunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER };

struct neap_h1_parser {
    size_t header_max, body_max;
    enum neap_h1_state state;
    struct neap_buf head_text, body, line;
    struct neap_header headers[HEADERS_MAX + 1];
    struct neap_h1_head head;
    enum body_kind kind;
    enum chunk_state chunk;
    bool hosted;   /* there was a Host */
    uint64_t left; /* of the body or the chunk */
    size_t trailer_bytes;
};

struct neap_h1_parser *neap_h1_parser_new(size_t header_max, size_t body_max)
{
    struct neap_h1_parser *p = neap_calloc(1, sizeof(*p));
    p->header_max = header_max;
    p->body_max = body_max;
    p->head.content_length = -1;
    return p;
}

void neap_h1_parser_free(struct neap_h1_parser *p)
{
    if (!p)
        return;
    neap_buf_done(&p->head_text);
    neap_buf_done(&p->body);
    neap_buf_done(&p->line);
    free(p);
}

enum neap_h1_state neap_h1_parser_state(const struct neap_h1_parser *p)
{
    return p->state;
}

const struct neap_h1_head *neap_h1_parser_head(const struct neap_h1_parser *p)
{
    return &p->head;
}

const char *neap_h1_parser_body(const struct neap_h1_parser *p, size_t *ret_len)
{
    *ret_len = p->body.len;
    return p->body.data ? p->body.data : "";
}

void neap_h1_parser_next(struct neap_h1_parser *p)
{
    neap_buf_reset(&p->head_text);
    neap_buf_done(&p->body); /* a large body is not kept for an idle connection */
    neap_buf_reset(&p->line);
    p->head = (struct neap_h1_head){.content_length = -1};
    p->state = NEAP_H1_HEAD;
    p->kind = BODY_NONE;
    p->chunk = CHUNK_SIZE;
    p->left = 0;
    p->hosted = false;
    p->trailer_bytes = 0;
}

static int fail(struct neap_h1_parser *p, struct neap_err *err, int code, const char *what)
{
    p->state = NEAP_H1_ERROR;
    return neap_err_set(err, code, "%s", what);
}

/* ---- the head ---- */

static bool is_token(char c)
{
    unsigned char u = (unsigned char)c;
    return u > 0x20 && u < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

static bool all_tokens(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!is_token(*s))
            return false;
    return true;
}

/* "GET /x HTTP/1.1" */
static bool parse_request_line(struct neap_h1_parser *p, char *line)
{
    char *target = strchr(line, ' ');
    if (!target)
        return false;
    *target++ = '\0';
    char *version = strchr(target, ' ');
    if (!version)
        return false;
    *version++ = '\0';
    if (strncmp(version, "HTTP/1.", 7) != 0 || (version[7] != '0' && version[7] != '1') ||
        version[8])
        return false;
    for (char *t = target; *t; t++)
        if ((unsigned char)*t <= 0x20 || *t == 0x7f)
            return false;
    p->head.method = line;
    p->head.target = target;
    p->head.minor = version[7] - '0';
    p->head.keep_alive = p->head.minor == 1;
    return all_tokens(line) && *target;
}

/* Contains the word in a comma-separated list, without case. */
static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);
    while (*list) {
        list += strspn(list, ", \t");
        size_t n = strcspn(list, ", \t");
        if (n == len && strncasecmp(list, word, len) == 0)
            return true;
        list += n;
    }
    return false;
}

static bool parse_length(const char *s, int64_t *ret)
{
    uint64_t v;
    if (!neap_parse_u64(s, INT64_MAX, &v))
        return false;
    *ret = (int64_t)v;
    return true;
}

/* What a header means to the connection; false: not allowed. */
static bool notice_header(struct neap_h1_parser *p, const char *name, const char *value)
{
    struct neap_h1_head *h = &p->head;
    if (neap_streq(name, "content-length")) {
        if (h->content_length >= 0)
            return false; /* twice */
        return parse_length(value, &h->content_length);
    }
    if (neap_streq(name, "transfer-encoding")) {
        if (h->chunked || strcasecmp(value, "chunked") != 0)
            return false;
        h->chunked = true;
    } else if (neap_streq(name, "host")) {
        if (p->hosted)
            return false; /* which of the two a proxy before us believes is not known */
        p->hosted = true;
    } else if (neap_streq(name, "connection")) {
        if (list_has(value, "close"))
            h->keep_alive = false;
        else if (list_has(value, "keep-alive"))
            h->keep_alive = true;
    } else if (neap_streq(name, "expect")) {
        h->expect_continue = strcasecmp(value, "100-continue") == 0;
    } else if (neap_streq(name, "upgrade")) {
        h->upgrade_websocket = list_has(value, "websocket");
        h->upgrade_other = !h->upgrade_websocket;
    }
    return true;
}

static bool parse_header(struct neap_h1_parser *p, char *line)
{
    char *colon = strchr(line, ':');
    if (!colon || p->head.header_count == HEADERS_MAX)
        return false;
    *colon = '\0';
    if (!all_tokens(line)) /* also refuses a folded line: it begins with a blank */
        return false;
    for (char *s = line; *s; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s |= 0x20;
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t n = strlen(value);
    while (n && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        value[--n] = '\0';
    for (char *v = value; *v; v++)
        if ((unsigned char)*v < 0x20 && *v != '\t')
            return false;
    p->headers[p->head.header_count++] = (struct neap_header){line, value};
    return notice_header(p, line, value);
}

static bool parse_head(struct neap_h1_parser *p)
{
    char *at = p->head_text.data, *end;
    if (memchr(at, '\0', p->head_text.len))
        return false;
    for (bool first = true; (end = strstr(at, "\r\n")); first = false) {
        *end = '\0';
        if (!*at)
            break;
        if (strchr(at, '\r') || strchr(at, '\n'))
            return false;
        if (first ? !parse_request_line(p, at) : !parse_header(p, at))
            return false;
        at = end + 2;
    }
    p->headers[p->head.header_count] = (struct neap_header){NULL, NULL};
    p->head.headers = p->headers;
    return p->head.method && (p->hosted || p->head.minor == 0) &&
           !(p->head.chunked && p->head.content_length >= 0) &&
           !(p->head.chunked && p->head.minor == 0);
}

static void begin_body(struct neap_h1_parser *p)
{
    p->kind = p->head.chunked ? BODY_CHUNKED : p->head.content_length > 0 ? BODY_LENGTH : BODY_NONE;
    p->left = p->kind == BODY_LENGTH ? (uint64_t)p->head.content_length : 0;
    p->state = p->kind == BODY_NONE ? NEAP_H1_DONE : NEAP_H1_BODY;
}

/* Takes bytes up to the empty line. */
static size_t feed_head(struct neap_h1_parser *p, const char *data, size_t len,
                        struct neap_err *err)
{
    size_t used = 0;
    while (used < len) {
        if (!p->head_text.len && (data[used] == '\r' || data[used] == '\n')) {
            used++; /* empty lines before a request (RFC 9112 2.2) */
            continue;
        }
        const char *nl = memchr(data + used, '\n', len - used);
        size_t n = nl ? (size_t)(nl - (data + used)) + 1 : len - used;
        if (p->head_text.len + n > p->header_max) {
            fail(p, err, NEAP_EBADREQUEST, "the headers are too large");
            return used;
        }
        neap_buf_append(&p->head_text, data + used, n);
        used += n;
        size_t at = p->head_text.len;
        if (nl && at >= HEAD_LINE_SLACK && memcmp(p->head_text.data + at - 4, "\r\n\r\n", 4) == 0) {
            if (parse_head(p))
                begin_body(p);
            else
                fail(p, err, NEAP_EBADREQUEST, "the request is not well-formed HTTP/1.1");
            return used;
        }
    }
    return used;
}

/* ---- the body ---- */

static size_t take_body(struct neap_h1_parser *p, const char *data, size_t len,
                        struct neap_err *err)
{
    size_t n = p->left < len ? (size_t)p->left : len;
    if (p->body.len + n > p->body_max) {
        neap_err_set(err, NEAP_ETOOLARGE, "Request entity too large: limit is %zu", p->body_max);
        p->state = NEAP_H1_ERROR;
        return 0;
    }
    neap_buf_append(&p->body, data, n);
    p->left -= n;
    return n;
}

/* Collects a line without its CRLF in p->line; true: complete. */
static bool take_line(struct neap_h1_parser *p, const char *data, size_t len, size_t *used,
                      struct neap_err *err)
{
    const char *nl = memchr(data, '\n', len);
    size_t n = nl ? (size_t)(nl - data) + 1 : len;
    if (p->line.len + n > CHUNK_LINE_MAX) {
        fail(p, err, NEAP_EBADREQUEST, "a chunk line is too long");
        return false;
    }
    neap_buf_append(&p->line, data, n);
    *used += n;
    if (!nl)
        return false;
    if (p->line.len < 2 || p->line.data[p->line.len - 2] != '\r') {
        fail(p, err, NEAP_EBADREQUEST, "a chunk line does not end with CRLF");
        return false;
    }
    p->line.len -= 2;
    p->line.data[p->line.len] = '\0';
    return true;
}

static bool chunk_size(const char *line, uint64_t *ret)
{
    uint64_t v = 0;
    const char *s = line;
    for (; *s && *s != ';' && *s != ' ' && *s != '\t'; s++) {
        int d = *s >= '0' && *s <= '9' ? *s - '0' : -1;
        char low = (char)(*s | 0x20);
        if (d < 0 && low >= 'a' && low <= 'f')
            d = low - 'a' + 10;
        if (d < 0 || v > (UINT64_MAX >> 8))
            return false;
        v = v << 4 | (unsigned)d;
    }
    *ret = v;
    return s > line;
}

static void end_chunk_line(struct neap_h1_parser *p, struct neap_err *err)
{
    if (p->chunk == CHUNK_DATA_END) {
        if (p->line.len)
            fail(p, err, NEAP_EBADREQUEST, "a chunk is longer than it says");
        p->chunk = CHUNK_SIZE;
    } else if (p->chunk == CHUNK_TRAILER) {
        if (!p->line.len)
            p->state = NEAP_H1_DONE;
        else if ((p->trailer_bytes += p->line.len) > p->header_max)
            fail(p, err, NEAP_EBADREQUEST, "the trailers are too large");
    } else if (!chunk_size(p->line.data, &p->left)) {
        fail(p, err, NEAP_EBADREQUEST, "a chunk size is not a hexadecimal number");
    } else {
        p->chunk = p->left ? CHUNK_DATA : CHUNK_TRAILER;
        if (p->left > p->body_max) {
            neap_err_set(err, NEAP_ETOOLARGE, "Request entity too large: limit is %zu",
                         p->body_max);
            p->state = NEAP_H1_ERROR;
        }
    }
    neap_buf_reset(&p->line);
}

static size_t feed_chunked(struct neap_h1_parser *p, const char *data, size_t len,
                           struct neap_err *err)
{
    size_t used = 0;
    while (used < len && p->state == NEAP_H1_BODY) {
        if (p->chunk == CHUNK_DATA) {
            used += take_body(p, data + used, len - used, err);
            if (!p->left)
                p->chunk = CHUNK_DATA_END;
        } else if (take_line(p, data + used, len - used, &used, err)) {
            end_chunk_line(p, err);
        }
    }
    return used;
}

size_t neap_h1_parser_feed(struct neap_h1_parser *p, const char *data, size_t len,
                           struct neap_err *err)
{
    if (p->state == NEAP_H1_HEAD)
        return feed_head(p, data, len, err);
    if (p->state != NEAP_H1_BODY)
        return 0;
    if (p->kind == BODY_CHUNKED)
        return feed_chunked(p, data, len, err);
    size_t used = take_body(p, data, len, err);
    if (!p->left && p->state == NEAP_H1_BODY)
        p->state = NEAP_H1_DONE;
    return used;
}
