/* api/http: server and client in one loop over real sockets and TLS; curl as an independent client. */
#include "certs.h"
#include "neap_test.h"

#include <api/http/http.h>
#include <neap/stream.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 20000, BIG = 5 << 20 };

struct fixture {
    struct neap_loop *loop;
    struct cert ca, server, user, stranger;
    struct neap_tls *tls, *client_tls;
    struct neap_http_server *http;
    struct neap_http_client *client;
    unsigned port;
    char address[32], ca_file[64];
    bool late, closed, drained;
    /* what handlers saw */
    struct neap_call *parked;
    struct neap_body body;
    unsigned events, body_closed, cancels, handled, refusals;
    size_t body_left;
    char authorization[64], peer_cn[64];
    /* the exec handler of the server */
    struct neap_stream *exec;
    unsigned exec_closed;
    int exec_channel;
};

/* ---- the server's side ---- */

static bool admit(void *arg, struct neap_call *c, const struct neap_peer *peer)
{
    struct fixture *f = arg;
    f->authorization[0] = f->peer_cn[0] = '\0';
    for (const struct neap_header *h = c->headers; h->name; h++)
        if (strcmp(h->name, "authorization") == 0)
            snprintf(f->authorization, sizeof(f->authorization), "%s", h->value);
    if (peer->certificate)
        X509_NAME_get_text_by_NID(X509_get_subject_name(peer->certificate), NID_commonName,
                                  f->peer_cn, sizeof(f->peer_cn));
    if (strcmp(c->path, "/forbidden") == 0) {
        neap_err_set(&c->err, NEAP_EFORBIDDEN, "not you");
        return false;
    }
    return true;
}

static void refuse(void *arg, struct neap_call *c)
{
    struct fixture *f = arg;
    f->refusals++;
    c->reply = neap_arena_printf(c->arena, "refused: %s", c->err.message);
    c->reply_len = strlen(c->reply);
    c->reply_type = "text/plain";
}

static int count_read(struct neap_body *b, struct neap_buf *out, size_t want)
{
    struct fixture *f = neap_container_of(b, struct fixture, body);
    size_t n = want < f->body_left ? want : f->body_left;
    char *to = neap_buf_reserve(out, n);
    memset(to, 'x', n);
    out->len += n;
    f->body_left -= n;
    return f->body_left ? 1 : -1;
}

/* Three events, each only after a wake; then the end. */
static int event_read(struct neap_body *b, struct neap_buf *out, size_t want)
{
    struct fixture *f = neap_container_of(b, struct fixture, body);
    (void)want;
    if (!f->events)
        return 0;
    if (f->events == 4)
        return -1;
    neap_buf_printf(out, "{\"event\":%u}\n", f->events);
    f->events++;
    return f->events == 4 ? -1 : 1;
}

static void body_close(struct neap_body *b)
{
    neap_container_of(b, struct fixture, body)->body_closed++;
}

static void on_cancel(struct neap_call *c)
{
    struct fixture *f = c->handler;
    f->cancels++;
}

static void exec_open(void *arg, struct neap_stream *s)
{
    struct fixture *f = arg;
    f->exec = s;
}

static void exec_message(void *arg, int channel, const void *data, size_t len)
{
    struct fixture *f = arg;
    f->exec_channel = channel;
    neap_stream_send(f->exec, NEAP_CHANNEL_STDOUT, data, len);
    if (len == 4 && memcmp(data, "quit", 4) == 0)
        neap_stream_close(f->exec, 1000, "bye");
}

static void exec_gone(void *arg)
{
    struct fixture *f = arg;
    f->exec_closed++;
    f->exec = NULL;
}

static const struct neap_stream_handler exec_handler = {
    .open = exec_open, .message = exec_message, .closed = exec_gone};

static void handle(void *arg, struct neap_call *c)
{
    struct fixture *f = arg;
    static const struct neap_header more[] = {{"x-more", "1"}, {NULL, NULL}};
    f->handled++;
    c->status = 200;
    c->handler = f;
    if (strcmp(c->path, "/hello") == 0) {
        neap_buf_str(&c->reply_buf, "hello");
        c->reply_headers = more;
        neap_call_warn(c, "old \"thing\"");
    } else if (strcmp(c->path, "/echo") == 0) {
        c->reply = c->body ? c->body : "";
        c->reply_len = c->body_len;
    } else if (strcmp(c->path, "/big") == 0 || strcmp(c->path, "/events") == 0 ||
               c->verb == NEAP_WATCH) {
        bool big = strcmp(c->path, "/big") == 0;
        f->body = (struct neap_body){big ? count_read : event_read, body_close};
        f->body_left = BIG;
        c->stream_body = &f->body;
        f->parked = c;
    } else if (strcmp(c->path, "/park") == 0) {
        f->parked = c;
        c->on_cancel = on_cancel;
        return;
    } else if (neap_streq(c->subresource, "exec") && c->upgradable) {
        c->stream = &exec_handler;
        c->stream_arg = f;
    } else {
        c->status = 404;
        neap_buf_str(&c->reply_buf, "no such thing");
    }
    c->finish(c);
}

static const char *choose_protocol(void *arg, struct neap_call *c, const char *const *offered)
{
    (void)arg;
    (void)c;
    for (; *offered; offered++)
        if (neap_streq(*offered, "v5.channel.k8s.io") ||
            neap_streq(*offered, "v4.base64.channel.k8s.io"))
            return *offered;
    return NULL;
}

/* ---- the loop ---- */

static void on_late(void *arg)
{
    struct fixture *f = arg;
    f->late = true;
}

#define run_until(f, condition)                                                                    \
    do {                                                                                           \
        struct neap_timer *late_ = neap_timer_new((f)->loop, on_late, f);                          \
        (f)->late = false;                                                                         \
        neap_timer_start(late_, WAIT_MS, 0);                                                       \
        while (!(condition) && !(f)->late)                                                         \
            neap_loop_turn((f)->loop, true);                                                       \
        neap_timer_close(late_);                                                                   \
        if ((f)->late)                                                                             \
            fail_msg("waited in vain for %s", #condition);                                         \
    } while (0)

static void on_closed(void *arg)
{
    struct fixture *f = arg;
    f->closed = true;
}

static void on_drained(void *arg)
{
    struct fixture *f = arg;
    f->drained = true;
}

static void serve(struct fixture *f, const struct neap_http_limits *limits)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_http_server_options o = {.loop = f->loop,
                                         .tls = f->tls,
                                         .limits = *limits,
                                         .protocol_name = "test",
                                         .admit = admit,
                                         .handle = handle,
                                         .choose_protocol = choose_protocol,
                                         .refuse = refuse,
                                         .arg = f};
    int fd;
    assert_ok(neap_http_server_new(&o, &f->http, &err), err);
    assert_ok(neap_http_bind("127.0.0.1:0", &fd, &f->port, &err), err);
    assert_ok(neap_http_server_listen(f->http, fd, &err), err);
    snprintf(f->address, sizeof(f->address), "127.0.0.1:%u", f->port);
}

static void connect_client(struct fixture *f, const struct cert *as, const char *token)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_tls_config config = {.cert_pem = as ? as->cert_pem : NULL,
                                     .key_pem = as ? as->key_pem : NULL,
                                     .ca_pem = f->ca.cert_pem};
    const char *addresses[] = {f->address, NULL};
    assert_ok(neap_tls_new(&config, false, &f->client_tls, &err), err);
    struct neap_http_client_options o = {
        .loop = f->loop, .tls = f->client_tls, .addresses = addresses, .bearer_token = token};
    f->client = neap_http_client_new(&o);
}

static struct fixture *start_with(const struct neap_http_limits *limits)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct fixture *f = neap_calloc(1, sizeof(*f));
    f->loop = neap_loop_new("test", NULL);
    cert_make(&f->ca, "ca", NULL, NULL);
    cert_make(&f->server, "server", &f->ca, "IP:127.0.0.1,DNS:localhost");
    cert_make(&f->user, "alice", &f->ca, NULL);
    cert_make(&f->stranger, "mallory", NULL, NULL);
    struct neap_tls_config config = {.cert_pem = f->server.cert_pem,
                                     .key_pem = f->server.key_pem,
                                     .ca_pem = f->ca.cert_pem,
                                     .request_client_cert = true};
    assert_ok(neap_tls_new(&config, true, &f->tls, &err), err);
    snprintf(f->ca_file, sizeof(f->ca_file), "/tmp/neap-test-http-%d.pem", getpid());
    assert_int_equal(
        neap_file_write_atomic(f->ca_file, f->ca.cert_pem, strlen(f->ca.cert_pem), 0600), 0);
    serve(f, limits);
    return f;
}

static struct fixture *start(const struct cert *as, const char *token)
{
    struct neap_http_limits limits;
    neap_http_limits_default(&limits);
    struct fixture *f = start_with(&limits);
    connect_client(f, as, token);
    return f;
}

static void stop(struct fixture *f)
{
    if (f->client)
        neap_http_client_close(f->client);
    neap_http_server_close(f->http, on_closed, f);
    run_until(f, f->closed);
    neap_loop_free(f->loop);
    neap_tls_free(f->tls);
    neap_tls_free(f->client_tls);
    cert_done(&f->ca);
    cert_done(&f->server);
    cert_done(&f->user);
    cert_done(&f->stranger);
    unlink(f->ca_file);
    free(f);
}

/* ---- exchanges ---- */

struct result {
    struct neap_exchange x;
    bool done;
    int code, status;
    struct neap_buf body;
    char message[200], header[80];
    unsigned pieces;
};

static void result_head(struct neap_exchange *x, int status, const struct neap_header *h)
{
    struct result *r = x->data_arg;
    r->status = status;
    for (; h->name; h++)
        if (strcmp(h->name, "warning") == 0 || strcmp(h->name, "x-more") == 0)
            snprintf(r->header, sizeof(r->header), "%s", h->value);
}

static void result_data(struct neap_exchange *x, const char *data, size_t len)
{
    struct result *r = x->data_arg;
    r->pieces++;
    neap_buf_append(&r->body, data, len);
}

static void result_done(struct neap_exchange *x, const struct neap_err *err, int status,
                        const char *body, size_t len)
{
    struct result *r = x->data_arg;
    r->done = true;
    r->status = status;
    r->code = err ? err->code : 0;
    if (err)
        snprintf(r->message, sizeof(r->message), "%s", err->message);
    if (!x->streaming)
        neap_buf_append(&r->body, body, len);
}

static void begin(struct fixture *f, struct result *r, const char *method, const char *path,
                  const char *body, size_t len)
{
    bool streaming = r->x.streaming;
    int64_t timeout = r->x.timeout_ms;
    *r = (struct result){0};
    r->x = (struct neap_exchange){.method = method,
                                  .path = path,
                                  .body = body,
                                  .body_len = len,
                                  .streaming = streaming,
                                  .timeout_ms = timeout,
                                  .head = result_head,
                                  .data = result_data,
                                  .done = result_done,
                                  .data_arg = r};
    neap_http_client_send(f->client, &r->x);
}

static void ask(struct fixture *f, struct result *r, const char *method, const char *path,
                const char *body, size_t len)
{
    begin(f, r, method, path, body, len);
    run_until(f, r->done);
}

static void expect(const struct result *r, int status, const char *body)
{
    assert_int_equal(r->code, 0);
    assert_int_equal(r->status, status);
    assert_string_equal(r->body.data, body);
}

/* ---- curl ---- */

struct curl {
    bool done;
    int status;
    struct neap_buf out;
};

static void curl_done(void *arg, const struct neap_child_result *result)
{
    struct curl *c = arg;
    c->done = true;
    c->status = result->status;
    neap_buf_append(&c->out, result->out, result->out_len);
    neap_buf_append(&c->out, "", 0);
}

static void curl(struct fixture *f, struct curl *c, const char *path, const char *const *more,
                 const void *input, size_t len)
{
    char url[128];
    const char *argv[32] = {"curl", "-s", "-S", "--cacert", f->ca_file, "--max-time", "15"};
    unsigned n = 7;
    snprintf(url, sizeof(url), "https://%s%s", f->address, path);
    while (*more)
        argv[n++] = *more++;
    argv[n++] = url;
    struct neap_child_options o = {
        .argv = argv, .input = input, .input_len = len, .output_max = 16 << 20};
    *c = (struct curl){0};
    neap_child_run(f->loop, &o, curl_done, c);
    run_until(f, c->done);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- tests ---- */

static void test_get(void **state)
{
    struct fixture *f = start(NULL, NULL);
    (void)state;
    struct result r = {0};
    ask(f, &r, "GET", "/hello", NULL, 0);
    expect(&r, 200, "hello");
    neap_buf_done(&r.body);
    ask(f, &r, "GET", "/nowhere", NULL, 0);
    expect(&r, 404, "no such thing");
    neap_buf_done(&r.body);
    ask(f, &r, "HEAD", "/hello", NULL, 0);
    expect(&r, 200, "");
    neap_buf_done(&r.body);
    ask(f, &r, "GET", "/forbidden", NULL, 0);
    expect(&r, 403, "refused: not you");
    neap_buf_done(&r.body);
    stop(f);
}

static void test_certificates(void **state)
{
    struct neap_http_limits limits;
    struct result r = {0};
    (void)state;
    neap_http_limits_default(&limits);
    struct fixture *f = start_with(&limits);
    connect_client(f, &f->user, "secret");
    ask(f, &r, "GET", "/hello", NULL, 0);
    expect(&r, 200, "hello");
    assert_string_equal(f->peer_cn, "alice");
    assert_string_equal(f->authorization, "Bearer secret");
    neap_buf_done(&r.body);
    neap_http_client_close(f->client);
    neap_tls_free(f->client_tls);
    /* a certificate of another authority is refused; without one the peer has none */
    connect_client(f, &f->stranger, NULL);
    ask(f, &r, "GET", "/hello", NULL, 0);
    assert_int_equal(r.code, NEAP_EUNAVAILABLE);
    neap_buf_done(&r.body);
    neap_http_client_close(f->client);
    neap_tls_free(f->client_tls);
    connect_client(f, NULL, NULL);
    ask(f, &r, "GET", "/hello", NULL, 0);
    expect(&r, 200, "hello");
    assert_string_equal(f->peer_cn, "");
    neap_buf_done(&r.body);
    stop(f);
}

static void test_reload(void **state)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct result r = {0};
    struct cert other;
    struct fixture *f = start(NULL, NULL);
    (void)state;
    cert_make(&other, "elsewhere", &f->ca, "DNS:elsewhere");
    struct neap_tls_config config = {.cert_pem = other.cert_pem, .key_pem = other.key_pem};
    ask(f, &r, "GET", "/hello", NULL, 0);
    expect(&r, 200, "hello");
    neap_buf_done(&r.body);
    assert_ok(neap_tls_reload(f->tls, &config, &err), err);
    ask(f, &r, "GET", "/hello", NULL, 0); /* the old connection goes on */
    expect(&r, 200, "hello");
    neap_buf_done(&r.body);
    struct curl c;
    curl(f, &c, "/hello", ARGS("-o", "-"), NULL, 0);
    assert_int_equal(c.status, 60); /* the name no longer matches */
    neap_buf_done(&c.out);
    config.key_pem = f->server.key_pem;
    assert_int_equal(neap_tls_reload(f->tls, &config, &err), NEAP_ECONFIG);
    neap_err_done(&err);
    cert_done(&other);
    stop(f);
}

static void test_bodies(void **state)
{
    struct fixture *f = start(NULL, NULL);
    struct result r = {0};
    (void)state;
    char *big = neap_malloc(4 << 20);
    memset(big, 'b', 4 << 20);
    ask(f, &r, "POST", "/echo", big, 2 << 20);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.body.len, 2 << 20);
    assert_memory_equal(r.body.data, big, r.body.len);
    neap_buf_done(&r.body);
    unsigned handled = f->handled;
    ask(f, &r, "POST", "/echo", big, 4 << 20);
    expect(&r, 413, "refused: Request entity too large: limit is 3145728");
    assert_int_equal(f->handled, handled);
    neap_buf_done(&r.body);
    ask(f, &r, "GET", "/big", NULL, 0);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.body.len, BIG);
    assert_int_equal(f->body_closed, 1);
    neap_buf_done(&r.body);
    free(big);
    stop(f);
}

static void test_stream_and_wake(void **state)
{
    struct fixture *f = start(NULL, NULL);
    struct result r = {.x.streaming = true};
    (void)state;
    begin(f, &r, "GET", "/events", NULL, 0);
    run_until(f, f->parked && r.status);
    assert_int_equal(r.pieces, 0);
    f->events = 1;
    f->parked->wake(f->parked);
    run_until(f, r.done);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.body.data, "{\"event\":1}\n{\"event\":2}\n{\"event\":3}\n");
    assert_int_equal(f->body_closed, 1);
    neap_buf_done(&r.body);
    stop(f);
}

static void test_cancel(void **state)
{
    struct fixture *f = start(NULL, NULL);
    struct result r = {0}, again = {0};
    (void)state;
    begin(f, &r, "GET", "/park", NULL, 0);
    run_until(f, f->parked);
    neap_http_client_cancel(f->client, &r.x);
    run_until(f, f->cancels);
    assert_true(f->parked->cancelled);
    assert_false(r.done);
    f->parked->finish(f->parked); /* frees it */
    f->parked = NULL;
    /* a streamed body is closed when its reader goes */
    r.x.streaming = true;
    begin(f, &r, "GET", "/events", NULL, 0);
    run_until(f, f->parked);
    neap_http_client_cancel(f->client, &r.x);
    run_until(f, f->body_closed);
    /* the connection lives on */
    ask(f, &again, "GET", "/hello", NULL, 0);
    expect(&again, 200, "hello");
    neap_buf_done(&again.body);
    /* and a timeout is a cancel that is told */
    f->parked = NULL;
    again.x.timeout_ms = 50;
    ask(f, &again, "GET", "/park", NULL, 0);
    assert_int_equal(again.code, NEAP_ETIMEOUT);
    neap_buf_done(&again.body);
    run_until(f, f->cancels == 2);
    f->parked->finish(f->parked);
    stop(f);
}

static void test_late_finish(void **state)
{
    struct fixture *f = start(NULL, NULL);
    struct result r = {0};
    (void)state;
    begin(f, &r, "GET", "/park", NULL, 0);
    run_until(f, f->parked);
    neap_buf_str(&f->parked->reply_buf, "at last");
    f->parked->finish(f->parked);
    run_until(f, r.done);
    expect(&r, 200, "at last");
    neap_buf_done(&r.body);
    stop(f);
}

static void test_drain(void **state)
{
    struct fixture *f = start(NULL, NULL);
    struct result r = {0}, more = {0};
    (void)state;
    begin(f, &r, "GET", "/park", NULL, 0);
    run_until(f, f->parked);
    neap_http_server_drain(f->http, 10000, on_drained, f);
    begin(f, &more, "GET", "/hello", NULL, 0);
    run_until(f, more.done);
    assert_int_equal(more.code, NEAP_EUNAVAILABLE); /* nobody listens any more */
    assert_false(f->drained);
    assert_false(r.done);
    neap_buf_str(&f->parked->reply_buf, "finished");
    f->parked->finish(f->parked);
    run_until(f, f->drained && r.done);
    expect(&r, 200, "finished");
    neap_buf_done(&r.body);
    neap_buf_done(&more.body);
    stop(f);
}

/* A watch would hold the server up: it ends in order. */
static void test_drain_watch(void **state)
{
    struct fixture *f = start(NULL, NULL);
    struct result r = {.x.streaming = true};
    (void)state;
    begin(f, &r, "GET", "/api/v1/pods?watch=1", NULL, 0);
    run_until(f, f->parked && r.status);
    neap_http_server_drain(f->http, WAIT_MS * 2, on_drained, f);
    run_until(f, r.done && f->drained);
    assert_int_equal(r.code, 0);
    assert_int_equal(f->body_closed, 1);
    stop(f);
}

static void test_curl(void **state)
{
    static const char *const versions[] = {"--http2", "--http1.1"};
    struct fixture *f = start(NULL, NULL);
    struct curl c;
    (void)state;
    size_t len = 4 << 20;
    char *big = neap_malloc(len);
    memset(big, 'b', len);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(versions); i++) {
        curl(f, &c, "/hello", ARGS(versions[i], "-i"), NULL, 0);
        assert_int_equal(c.status, 0);
        assert_non_null(strstr(c.out.data, "x-more: 1\r\n"));
        assert_non_null(strstr(c.out.data, "warning: 299 - \"old \\\"thing\\\"\"\r\n"));
        assert_non_null(strstr(c.out.data, "content-length: 5\r\n"));
        assert_non_null(strstr(c.out.data, "\r\n\r\nhello"));
        neap_buf_done(&c.out);
        curl(f, &c, "/big", ARGS(versions[i]), NULL, 0);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.out.len, BIG);
        neap_buf_done(&c.out);
        curl(f, &c, "/echo", ARGS(versions[i], "--data-binary", "@-"), big, 2 << 20);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.out.len, 2 << 20);
        neap_buf_done(&c.out);
        curl(f, &c, "/echo", ARGS(versions[i], "-T", "-", "-X", "POST"), big, 1 << 20);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.out.len, 1 << 20);
        neap_buf_done(&c.out);
        curl(f, &c, "/echo", ARGS(versions[i], "-w", "%{http_code}", "--data-binary", "@-"), big,
             len);
        if (!strstr(c.out.data, "413"))
            fail_msg("%s: %d %s", versions[i], c.status, c.out.data);
        assert_int_equal(c.status, 0);
        neap_buf_done(&c.out);
        curl(f, &c, "/hello", ARGS(versions[i], "-I"), NULL, 0);
        assert_int_equal(c.status, 0);
        assert_non_null(strstr(c.out.data, "content-length: 5\r\n"));
        neap_buf_done(&c.out);
    }
    curl(f, &c, "/hello", ARGS("--http1.0", "-H", "Connection: close"), NULL, 0);
    assert_string_equal(c.out.data, "hello");
    neap_buf_done(&c.out);
    /* chunks end a HTTP/1.0 answer by closing */
    curl(f, &c, "/big", ARGS("--http1.0"), NULL, 0);
    assert_int_equal(c.out.len, BIG);
    neap_buf_done(&c.out);
    free(big);
    stop(f);
}

/* ---- limits ---- */

/* A peer that opens a connection and says <text>, in clear; true once the server has closed it. */
struct silent {
    int fd;
    struct neap_fd *handle;
    bool closed;
};

static void silent_read(void *arg, int events)
{
    struct silent *s = arg;
    char data[256];
    (void)events;
    ssize_t n = recv(s->fd, data, sizeof(data), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        s->closed = true;
        neap_fd_set(s->handle, 0);
    }
}

static void silent_open(struct fixture *f, struct silent *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)f->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *s = (struct silent){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(connect(s->fd, (struct sockaddr *)&to, sizeof(to)), 0);
    s->handle = neap_fd_new(f->loop, s->fd, silent_read, s);
    neap_fd_set(s->handle, NEAP_READABLE);
}

static void silent_close(struct silent *s)
{
    neap_fd_close(s->handle);
    close(s->fd);
}

static void test_connections(void **state)
{
    struct neap_http_limits limits;
    struct result r = {0};
    struct silent s[3];
    (void)state;
    neap_http_limits_default(&limits);
    limits.connections = 2;
    limits.handshake_timeout_ms = 300;
    struct fixture *f = start_with(&limits);
    for (unsigned i = 0; i < 3; i++)
        silent_open(f, &s[i]);
    run_until(f, s[2].closed); /* one too many */
    assert_false(s[0].closed || s[1].closed);
    run_until(f, s[0].closed && s[1].closed); /* no handshake */
    connect_client(f, NULL, NULL);
    ask(f, &r, "GET", "/hello", NULL, 0);
    expect(&r, 200, "hello");
    neap_buf_done(&r.body);
    for (unsigned i = 0; i < 3; i++)
        silent_close(&s[i]);
    stop(f);
}

/* An idle connection is closed; the client opens another. A request that is under way keeps its own. */
static void test_idle(void **state)
{
    struct neap_http_limits limits;
    struct result r = {0}, parked = {0};
    (void)state;
    neap_http_limits_default(&limits);
    limits.idle_timeout_ms = 100;
    struct fixture *f = start_with(&limits);
    connect_client(f, NULL, NULL);
    begin(f, &parked, "GET", "/park", NULL, 0);
    run_until(f, f->parked);
    int64_t until = neap_loop_now_ms(f->loop) + 400;
    struct neap_timer *t = neap_timer_new(f->loop, on_late, f);
    neap_timer_start(t, 400, 0);
    while (neap_loop_now_ms(f->loop) < until)
        neap_loop_turn(f->loop, true);
    assert_false(parked.done);
    f->parked->finish(f->parked);
    run_until(f, parked.done);
    assert_int_equal(parked.code, 0);
    until = neap_loop_now_ms(f->loop) + 400;
    neap_timer_start(t, 400, 0);
    while (neap_loop_now_ms(f->loop) < until)
        neap_loop_turn(f->loop, true);
    neap_timer_close(t);
    ask(f, &r, "GET", "/hello", NULL, 0);
    expect(&r, 200, "hello");
    neap_buf_done(&r.body);
    neap_buf_done(&parked.body);
    stop(f);
}

static void test_slow_body(void **state)
{
    struct neap_http_limits limits;
    struct curl c;
    (void)state;
    neap_http_limits_default(&limits);
    limits.body_timeout_ms = 200;
    struct fixture *f = start_with(&limits);
    /* five bytes come of ten */
    curl(f, &c, "/echo",
         ARGS("--http1.1", "-X", "POST", "-H", "Content-Length: 10", "-d", "five!", "-w",
              "%{http_code}"),
         NULL, 0);
    assert_non_null(strstr(c.out.data, "refused: the body of the request did not come in time"));
    assert_int_equal(f->handled, 0);
    neap_buf_done(&c.out);
    stop(f);
}

static void test_bind(void **state)
{
    struct neap_err err = NEAP_ERR_INIT;
    char again[32];
    unsigned port;
    int fd, fd2;
    (void)state;
    assert_ok(neap_http_bind("[::1]:0", &fd, &port, &err), err);
    close(fd);
    assert_ok(neap_http_bind("127.0.0.1:0", &fd, &port, &err), err);
    snprintf(again, sizeof(again), "127.0.0.1:%u", port);
    assert_true(neap_http_bind(again, &fd2, NULL, &err) < 0);
    char *want = neap_asprintf("listen on %s: Address already in use", again);
    assert_string_equal(err.message, want);
    free(want);
    neap_err_done(&err);
    close(fd);
    static const char *const bad[] = {"", ":", "localhost:1", "1.2.3.4", "1.2.3.4:x", "[::1:80"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(bad); i++) {
        assert_int_equal(neap_http_bind(bad[i], &fd, NULL, &err), NEAP_ECONFIG);
        neap_err_done(&err);
    }
}

/* ---- websockets ---- */

struct talk {
    struct neap_stream *s;
    struct neap_buf got;
    bool closed, refused;
    int status, channel;
    unsigned messages;
    char body[64];
};

static void talk_open(void *arg, struct neap_stream *s)
{
    ((struct talk *)arg)->s = s;
}

static void talk_message(void *arg, int channel, const void *data, size_t len)
{
    struct talk *t = arg;
    t->channel = channel;
    t->messages++;
    neap_buf_append(&t->got, data, len);
}

static void talk_closed(void *arg)
{
    ((struct talk *)arg)->closed = true;
}

static void talk_refused(void *arg, int status, const char *body, size_t len,
                         const struct neap_err *err)
{
    struct talk *t = arg;
    assert_non_null(err);
    t->refused = true;
    t->status = status;
    snprintf(t->body, sizeof(t->body), "%.*s", (int)len, body);
}

static const struct neap_stream_handler talk_handler = {
    .open = talk_open, .message = talk_message, .closed = talk_closed};

#define EXEC "/api/v1/namespaces/n/pods/p/exec?command=sh"

static void echo_with(struct fixture *f, const char *const *protocols)
{
    enum { LARGE = 700000 };
    struct talk t = {0};
    char *large = neap_malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 7);
    unsigned closed = f->exec_closed;
    neap_http_client_stream(f->client, EXEC, protocols, &talk_handler, &t, talk_refused);
    run_until(f, t.s || t.refused);
    assert_false(t.refused);
    neap_stream_send(t.s, NEAP_CHANNEL_STDIN, "abc", 3);
    run_until(f, t.got.len == 3);
    assert_memory_equal(t.got.data, "abc", 3);
    assert_int_equal(t.channel, NEAP_CHANNEL_STDOUT);
    assert_int_equal(f->exec_channel, NEAP_CHANNEL_STDIN);
    neap_buf_reset(&t.got);
    neap_stream_send(t.s, NEAP_CHANNEL_STDERR, large, LARGE);
    run_until(f, t.got.len == LARGE);
    assert_memory_equal(t.got.data, large, LARGE);
    assert_int_equal(f->exec_channel, NEAP_CHANNEL_STDERR);
    neap_stream_send(t.s, NEAP_CHANNEL_STDIN, "quit", 4);
    run_until(f, t.closed && f->exec_closed == closed + 1);
    assert_false(t.refused);
    neap_buf_done(&t.got);
    free(large);
}

static void test_exec(void **state)
{
    struct fixture *f = start(NULL, "secret");
    (void)state;
    echo_with(f, ARGS("v5.channel.k8s.io", "v4.channel.k8s.io"));
    echo_with(f, ARGS("v4.base64.channel.k8s.io"));
    assert_string_equal(f->authorization, "Bearer secret");
    stop(f);
}

static void test_exec_token(void **state)
{
    struct fixture *f = start(NULL, NULL);
    (void)state;
    echo_with(f, ARGS("base64url.bearer.authorization.k8s.io.dG9wc2VjcmV0", "v5.channel.k8s.io"));
    assert_string_equal(f->authorization, "Bearer topsecret");
    stop(f);
}

static void test_exec_refused(void **state)
{
    struct fixture *f = start(NULL, NULL);
    struct talk t = {0};
    (void)state;
    neap_http_client_stream(f->client, EXEC, ARGS("nonsense"), &talk_handler, &t, talk_refused);
    run_until(f, t.refused);
    assert_int_equal(t.status, 404);
    assert_string_equal(t.body, "no such thing");
    t = (struct talk){0};
    neap_http_client_stream(f->client, "/forbidden", ARGS("v5.channel.k8s.io"), &talk_handler, &t,
                            talk_refused);
    run_until(f, t.refused);
    assert_int_equal(t.status, 403);
    stop(f);
}

/* Either side may vanish. */
static void test_exec_broken(void **state)
{
    struct fixture *f = start(NULL, NULL);
    struct talk t = {0};
    (void)state;
    neap_http_client_stream(f->client, EXEC, ARGS("v5.channel.k8s.io"), &talk_handler, &t,
                            talk_refused);
    run_until(f, t.s && f->exec);
    neap_http_client_close(f->client);
    f->client = NULL;
    run_until(f, f->exec_closed == 1);
    assert_false(t.closed);
    neap_tls_free(f->client_tls);
    connect_client(f, NULL, NULL);
    t = (struct talk){0};
    neap_http_client_stream(f->client, EXEC, ARGS("v5.channel.k8s.io"), &talk_handler, &t,
                            talk_refused);
    run_until(f, t.s && f->exec);
    neap_http_server_close(f->http, on_closed, f);
    run_until(f, f->closed && t.closed);
    assert_int_equal(f->exec_closed, 2);
    f->closed = false;
    struct neap_http_limits limits;
    neap_http_limits_default(&limits);
    serve(f, &limits);
    stop(f);
}

/* More than the pair, lws and TLS hold: the sender is told to stop and to go on. */
struct flood {
    struct talk talk;
    bool writable;
};

static void flood_writable(void *arg)
{
    ((struct flood *)arg)->writable = true;
}

static const struct neap_stream_handler flood_handler = {
    .open = talk_open, .message = talk_message, .writable = flood_writable, .closed = talk_closed};

static void test_exec_pressure(void **state)
{
    enum { PIECE = 64 << 10, PIECES = 400 };
    struct fixture *f = start(NULL, NULL);
    struct flood w = {0};
    static char piece[PIECE];
    (void)state;
    neap_http_client_stream(f->client, EXEC, ARGS("v5.channel.k8s.io"), &flood_handler, &w,
                            talk_refused);
    run_until(f, w.talk.s && f->exec);
    neap_stream_pause(w.talk.s, true);
    unsigned sent = 0, stops = 0;
    for (; sent < 100; sent++)
        if (!neap_stream_send(w.talk.s, 0, piece, PIECE)) {
            sent++;
            stops++;
            break;
        }
    assert_int_equal(stops, 1);
    run_until(f, w.writable);
    assert_int_equal(w.talk.messages, 0);
    neap_stream_pause(w.talk.s, false);
    while (sent < PIECES) {
        w.writable = false;
        sent++;
        if (!neap_stream_send(w.talk.s, 0, piece, PIECE))
            run_until(f, w.writable);
    }
    run_until(f, w.talk.got.len == (size_t)PIECE * PIECES);
    neap_buf_done(&w.talk.got);
    stop(f);
}

/* What a peer said before it went is heard, also by a reader that had paused. */
static void test_exec_last_words(void **state)
{
    enum { PIECE = 32 << 10, PIECES = 30, TURNS = 200 };
    struct fixture *f = start(NULL, NULL);
    struct talk t = {0};
    static char piece[PIECE];
    (void)state;
    neap_http_client_stream(f->client, EXEC, ARGS("v5.channel.k8s.io"), &talk_handler, &t,
                            talk_refused);
    run_until(f, t.s && f->exec);
    neap_stream_pause(t.s, true);
    for (int i = 0; i < PIECES; i++)
        neap_stream_send(f->exec, NEAP_CHANNEL_STDOUT, piece, PIECE);
    neap_stream_close(f->exec, 1000, "");
    for (int i = 0; i < TURNS; i++)
        neap_loop_turn(f->loop, false);
    assert_false(t.closed);
    neap_stream_pause(t.s, false);
    run_until(f, t.closed);
    assert_int_equal(t.got.len, (size_t)PIECE * PIECES);
    neap_buf_done(&t.got);
    stop(f);
}

static void test_watch_websocket(void **state)
{
    struct fixture *f = start(NULL, NULL);
    struct talk t = {0};
    (void)state;
    neap_http_client_stream(f->client, "/api/v1/pods?watch=1", ARGS("binary.k8s.io"), &talk_handler,
                            &t, talk_refused);
    run_until(f, t.s && f->parked);
    assert_int_equal(t.messages, 0);
    f->events = 1;
    f->parked->wake(f->parked);
    run_until(f, t.closed);
    assert_int_equal(t.messages, 3);
    assert_string_equal(t.got.data, "{\"event\":1}\n{\"event\":2}\n{\"event\":3}\n");
    run_until(f, f->body_closed == 1);
    neap_buf_done(&t.got);
    stop(f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_stream_and_wake),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_late_finish),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_watch),
        cmocka_unit_test(test_curl),
        cmocka_unit_test(test_slow_body),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_bind),
        cmocka_unit_test(test_exec),
        cmocka_unit_test(test_exec_token),
        cmocka_unit_test(test_exec_refused),
        cmocka_unit_test(test_exec_broken),
        cmocka_unit_test(test_exec_pressure),
        cmocka_unit_test(test_exec_last_words),
        cmocka_unit_test(test_watch_websocket),
    };
    signal(SIGPIPE, SIG_IGN); /* as core/main.c does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
