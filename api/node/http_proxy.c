/* pods/proxy and services/proxy: the call as an HTTP/1.0 request, plain or by TLS, to the pod's or Service's address, from the
 * node's network; the answer, whatever it is, streamed back. HTTP/1.0, so that the end of the body is the end of the
 * connection. Links in it are made to lead through the proxy (rewrite.c). Source: Kubernetes documentation, "Access Services Running on Clusters". */
#include "internal.h"
#include "link.h"
#include "rewrite.h"

#include <errno.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 64 << 10, HIGH = 256 << 10, CHUNK = 16 << 10, TIMEOUT_MS = 60000 };

struct exchange {
    struct neap_body body; /* first */
    struct neap_call *call;
    struct node_link link;
    struct neap_fd *handle;
    struct neap_timer *timer; /* until the head */
    struct neap_buf out, in;
    size_t out_at, in_at;
    struct node_rewrite *rewrite; /* of links */
    bool page;                    /* its body has some */
    bool headed, ended;
};

static void exchange_free(struct exchange *x)
{
    neap_fd_close(x->handle);
    neap_timer_close(x->timer);
    node_link_close(&x->link);
    neap_buf_done(&x->out);
    neap_buf_done(&x->in);
    node_rewrite_free(x->rewrite);
    free(x);
}

static void fail(struct exchange *x, const char *why)
{
    struct neap_call *c = x->call;
    neap_err_set(&c->err, NEAP_EUNAVAILABLE, "error trying to reach service: %s", why);
    exchange_free(x);
    neap_rest_fail(c);
}

static void watch(struct exchange *x)
{
    bool room = x->in.len - x->in_at < HIGH;
    if (x->handle)
        neap_fd_set(
            x->handle,
            (!x->ended && room ? NEAP_READABLE : 0) |
                (x->out_at < x->out.len || node_link_wants_write(&x->link) ? NEAP_WRITABLE : 0));
}

/* ---- the body ---- */

static bool take_bytes(struct exchange *x);

/* Some of what has come; of a page all that its links allow. */
static void pass_on(struct exchange *x, struct neap_buf *out, size_t want)
{
    size_t have = x->in.len - x->in_at, n = have < want || want < CHUNK ? have : want;
    if (x->page) {
        bool last = x->ended && n == have;
        node_rewrite_push(x->rewrite, x->in.data + x->in_at, n, last, out);
        x->page = !last;
    } else {
        neap_buf_append(out, x->in.data + x->in_at, n);
    }
    x->in_at += n;
    if (x->in_at == x->in.len) {
        neap_buf_reset(&x->in);
        x->in_at = 0;
        take_bytes(x); /* TLS may have more where the socket has not */
    }
}

static int body_read(struct neap_body *b, struct neap_buf *out, size_t want)
{
    struct exchange *x = (struct exchange *)b;
    size_t before = out->len;
    bool more = true;
    while (more && out->len == before) { /* a page may hold back what it is given */
        pass_on(x, out, want);
        more = x->in.len > x->in_at || (x->ended && x->page);
    }
    watch(x);
    if (out->len > before)
        return 1;
    return x->ended ? -1 : 0;
}

static void body_close(struct neap_body *b)
{
    exchange_free((struct exchange *)b);
}

/* ---- the answer's head ---- */

static const char *const dropped[] = {
    "connection",       "transfer-encoding", "keep-alive", "upgrade",     "content-length",
    "proxy-connection", "trailer",           "date",       "content-type"};

static bool is_dropped(const char *name)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(dropped); i++)
        if (strcmp(dropped[i], name) == 0)
            return true;
    return false;
}

/* Where a redirect leads, in the client's terms. */
static const char *location(const struct exchange *x, const char *url)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    node_rewrite_url(x->rewrite, url, strlen(url), &b);
    return neap_arena_strndup(x->call->arena, b.data ? b.data : "", b.len);
}

/* What starts at the server's root starts at the proxy's path for the client. */
static void know_links(struct exchange *x, const char *host)
{
    const struct neap_call *c = x->call;
    size_t n = strlen(c->path), sub = c->subpath ? strlen(c->subpath) : 0;
    const char *prefix = neap_arena_strndup(c->arena, c->path, sub <= n ? n - sub : n);
    for (size_t k = prefix ? strlen(prefix) : 0; k && prefix[k - 1] == '/'; k--)
        ((char *)prefix)[k - 1] = '\0';
    x->rewrite = node_rewrite_new(prefix ? prefix : "", host);
}

static bool is_page(const char *type)
{
    size_t n = type ? strcspn(type, "; ") : 0;
    return n == strlen("text/html") && strncasecmp(type, "text/html", n) == 0;
}

static void take_header(const struct exchange *x, char *line, struct neap_header *list,
                        unsigned *count, unsigned max)
{
    struct neap_call *c = x->call;
    char *colon = strchr(line, ':');
    if (!colon)
        return;
    *colon = '\0';
    for (char *p = line; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p | 32);
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    if (strcmp(line, "content-type") == 0)
        c->reply_type = value;
    else if (strcmp(line, "location") == 0 && *count + 1 < max)
        list[(*count)++] = (struct neap_header){line, location(x, value)};
    else if (!is_dropped(line) && *count + 1 < max)
        list[(*count)++] = (struct neap_header){line, value};
}

/* False: no HTTP. */
static bool take_head(struct exchange *x, size_t len)
{
    enum { HEADERS = 64 };
    struct neap_call *c = x->call;
    char *text = neap_arena_strndup(c->arena, x->in.data, len), *save = NULL;
    struct neap_header *list = neap_arena_calloc(c->arena, HEADERS * sizeof(*list));
    unsigned count = 0;
    int code = 0;
    if (!text || !list || sscanf(text, "HTTP/1.%*d %d", &code) != 1 || code < 200 || code > 599)
        return false;
    strtok_r(text, "\r\n", &save);
    for (char *line; (line = strtok_r(NULL, "\r\n", &save));)
        take_header(x, line, list, &count, HEADERS);
    c->status = code;
    c->reply_type = c->reply_type ? c->reply_type : "text/plain; charset=utf-8";
    c->reply_headers = count ? list : NULL;
    x->page = is_page(c->reply_type);
    return true;
}

static void look_for_head(struct exchange *x)
{
    char *end = x->in.len ? memmem(x->in.data, x->in.len, "\r\n\r\n", 4) : NULL;
    if (!end && (x->ended || x->in.len > HEAD_MAX)) {
        fail(x, x->in.len ? "malformed HTTP response" : "EOF");
        return;
    }
    if (!end)
        return;
    if (!take_head(x, (size_t)(end - x->in.data) + 2)) {
        fail(x, "malformed HTTP response");
        return;
    }
    x->in_at = (size_t)(end - x->in.data) + 4;
    x->headed = true;
    x->timer = neap_timer_close(x->timer);
    x->call->stream_body = &x->body;
    neap_rest_finish(x->call);
}

/* ---- the socket ---- */

/* All that is there, as far as there is room: what TLS holds back wakes nobody. Whether something came, or the end. */
static bool take_bytes(struct exchange *x)
{
    bool any = false;
    while (!x->ended && x->in.len - x->in_at < HIGH) {
        char *at = neap_buf_reserve(&x->in, CHUNK);
        ssize_t n = node_link_recv(&x->link, at, CHUNK);
        if (n == -EAGAIN)
            break;
        any = true;
        if (n > 0)
            x->in.len += (size_t)n;
        else
            x->ended = true;
    }
    return any;
}

static void on_ready(void *arg, int events)
{
    struct exchange *x = arg;
    int e = 0;
    socklen_t size = sizeof(e);
    if (!x->headed && getsockopt(x->link.fd, SOL_SOCKET, SO_ERROR, &e, &size) == 0 && e) {
        fail(x, strerror(e));
        return;
    }
    (void)events; /* TLS may have to read before it can write, and the other way round */
    if (x->out_at < x->out.len) {
        ssize_t n = node_link_send(&x->link, x->out.data + x->out_at, x->out.len - x->out_at);
        if (n < 0 && n != -EAGAIN && !x->headed) {
            fail(x, strerror((int)-n));
            return;
        }
        x->out_at += n > 0 ? (size_t)n : 0;
    }
    bool came = take_bytes(x);
    watch(x);
    if (x->headed)
        x->call->wake(x->call);
    else if (came)
        look_for_head(x);
}

static void on_timeout(void *arg)
{
    fail(arg, "context deadline exceeded");
}

static void write_request(struct exchange *x, const char *host)
{
    struct neap_call *c = x->call;
    const char *sub = c->subpath ? c->subpath : "";
    neap_buf_printf(&x->out, "%s /%s%s%s HTTP/1.0\r\nHost: %s\r\nConnection: close\r\n", c->method,
                    *sub == '/' ? sub + 1 : sub, c->query ? "?" : "", c->query ? c->query : "",
                    host);
    for (const struct neap_header *h = c->headers; h && h->name; h++) {
        static const char *const ours[] = {"host",           "connection",        "authorization",
                                           "content-length", "transfer-encoding", "upgrade",
                                           "accept-encoding"};
        /* who asks, and for whom, is this server's matter */
        bool skip = h->name[0] == ':' || neap_startswith(h->name, "impersonate-");
        for (size_t i = 0; i < NEAP_ARRAY_LEN(ours); i++)
            skip = skip || strcmp(ours[i], h->name) == 0;
        if (!skip)
            neap_buf_printf(&x->out, "%s: %s\r\n", h->name, h->value);
    }
    if (c->body_len)
        neap_buf_printf(&x->out, "Content-Length: %zu\r\n", c->body_len);
    neap_buf_str(&x->out, "\r\n");
    if (c->body_len)
        neap_buf_append(&x->out, c->body, c->body_len);
}

void node_http(struct neap_loop *loop, const char *netns, struct neap_call *c, const char *ip,
               int port)
{
    char text[8], host[80];
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM},
                    *a = NULL;
    struct exchange *x = neap_calloc(1, sizeof(*x));
    x->body.read = body_read;
    x->body.close = body_close;
    x->call = c;
    x->link.fd = -1;
    snprintf(text, sizeof(text), "%d", port);
    snprintf(host, sizeof(host), strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, port);
    if (getaddrinfo(ip, text, &hints, &a)) {
        fail(x, "no address");
        return;
    }
    x->link.fd = neap_socket_in(netns, a->ai_family, SOCK_STREAM);
    int fd = x->link.fd, rc = 0;
    if (fd < 0)
        rc = -fd;
    else if (connect(fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
        rc = errno;
    else if (c->proxy_tls && !node_link_tls(&x->link))
        rc = ENOMEM;
    freeaddrinfo(a);
    if (rc) {
        fail(x, strerror(rc));
        return;
    }
    know_links(x, host);
    write_request(x, host);
    x->handle = neap_fd_new(loop, x->link.fd, on_ready, x);
    x->timer = neap_timer_new(loop, on_timeout, x);
    neap_timer_start(x->timer, TIMEOUT_MS, 0);
    watch(x);
}
