/* The end of a websocket as a peer sees it on the wire: a thread speaks raw frames over blocking TLS, the server runs
 * in the test's loop. Source: RFC 6455 section 7.1: both ends send a close frame, then the server ends TCP. */
#include "certs.h"
#include "neap_test.h"

#include <api/http/http.h>
#include <neap/stream.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 20000, TURN_MS = 2, QUIET_MS = 300, BUFFER = 4096 };

struct peer {
    const char *send; /* after the handshake; frames */
    size_t send_len;
    const char
        *answer; /* after QUIET_MS of the connection staying open; NULL: nothing more is said */
    size_t answer_len;
    unsigned port;
    const char *protocol;
    unsigned char got[BUFFER]; /* after the head */
    size_t len;
    bool ended_early;
    atomic_bool done; /* the server ended the connection */
};

struct fixture {
    struct neap_loop *loop;
    struct cert ca, server;
    struct neap_tls *tls;
    struct neap_http_server *http;
    struct neap_stream *stream;
    bool closed;
    unsigned stream_closed;
};

/* ---- the server's handler: says "end" and closes when it hears "quit" ---- */

static void on_open(void *arg, struct neap_stream *s)
{
    ((struct fixture *)arg)->stream = s;
}

static void on_message(void *arg, int channel, const void *data, size_t len)
{
    struct fixture *f = arg;
    (void)channel;
    if (len != 4 || memcmp(data, "quit", 4) != 0)
        return;
    neap_stream_send(f->stream, NEAP_CHANNEL_ERROR, "end", 3);
    neap_stream_close(f->stream, 1000, "");
}

static void on_gone(void *arg)
{
    ((struct fixture *)arg)->stream_closed++;
}

static const struct neap_stream_handler handler = {
    .open = on_open, .message = on_message, .closed = on_gone};

static bool admit(void *arg, struct neap_call *c, const struct neap_peer *peer)
{
    (void)arg, (void)c, (void)peer;
    return true;
}

static void refuse(void *arg, struct neap_call *c)
{
    (void)arg;
    c->reply = "refused";
    c->reply_len = strlen(c->reply);
    c->reply_type = "text/plain";
}

static void handle(void *arg, struct neap_call *c)
{
    c->status = 200;
    c->stream = &handler;
    c->stream_arg = arg;
    c->finish(c);
}

static const char *choose(void *arg, struct neap_call *c, const char *const *offered)
{
    (void)arg, (void)c;
    return offered[0];
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static struct fixture *start(void)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct fixture *f = neap_calloc(1, sizeof(*f));
    struct neap_http_server_options o = {.protocol_name = "test",
                                         .admit = admit,
                                         .handle = handle,
                                         .choose_protocol = choose,
                                         .refuse = refuse,
                                         .arg = f};
    f->loop = neap_loop_new("test", NULL);
    cert_make(&f->ca, "ca", NULL, NULL);
    cert_make(&f->server, "server", &f->ca, "IP:127.0.0.1");
    struct neap_tls_config config = {.cert_pem = f->server.cert_pem, .key_pem = f->server.key_pem};
    assert_ok(neap_tls_new(&config, true, &f->tls, &err), err);
    neap_http_limits_default(&o.limits);
    o.loop = f->loop;
    o.tls = f->tls;
    assert_ok(neap_http_server_new(&o, &f->http, &err), err);
    return f;
}

static unsigned listen_at(struct fixture *f)
{
    struct neap_err err = NEAP_ERR_INIT;
    unsigned port;
    int fd;
    assert_ok(neap_http_bind("127.0.0.1:0", &fd, &port, &err), err);
    assert_ok(neap_http_server_listen(f->http, fd, &err), err);
    return port;
}

static void on_tick(void *arg)
{
    (void)arg;
}

static void stop(struct fixture *f)
{
    neap_http_server_close(f->http, on_closed, f);
    while (!f->closed)
        neap_loop_turn(f->loop, true);
    neap_loop_free(f->loop);
    neap_tls_free(f->tls);
    cert_done(&f->ca);
    cert_done(&f->server);
    free(f);
}

/* ---- the peer ---- */

#define HEAD                                                                                       \
    "GET /api/v1/namespaces/n/pods/p/exec?command=sh HTTP/1.1\r\nHost: x\r\nUpgrade: "             \
    "websocket\r\n"                                                                                \
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                                         \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n"

static bool read_head(SSL *ssl)
{
    char head[BUFFER] = "";
    for (size_t n = 0; n < sizeof(head) - 1; n++) {
        if (SSL_read(ssl, head + n, 1) != 1)
            return false;
        if (strstr(head, "\r\n\r\n"))
            return strncmp(head, "HTTP/1.1 101", 12) == 0;
    }
    return false;
}

/* Frames are collected; true: the server has ended. */
static bool read_frames(struct peer *p, SSL *ssl, int fd, int wait_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    while (SSL_pending(ssl) || poll(&poll_fd, 1, wait_ms) > 0) {
        int n = SSL_read(ssl, p->got + p->len, (int)(sizeof(p->got) - p->len));
        if (n <= 0)
            return true;
        p->len += (size_t)n;
    }
    return false;
}

static void talk(struct peer *p, SSL *ssl, int fd, const char *protocol)
{
    char head[BUFFER];
    int len = snprintf(head, sizeof(head), HEAD, protocol);
    if (SSL_connect(ssl) != 1 || SSL_write(ssl, head, len) != len || !read_head(ssl))
        return;
    SSL_write(ssl, p->send, (int)p->send_len);
    if (p->answer) {
        p->ended_early = read_frames(p, ssl, fd, QUIET_MS);
        SSL_write(ssl, p->answer, (int)p->answer_len);
    }
    atomic_store(&p->done, read_frames(p, ssl, fd, WAIT_MS));
}

static void *peer_run(void *arg)
{
    struct peer *p = arg;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)p->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
        SSL_set_fd(ssl, fd);
        talk(p, ssl, fd, p->protocol ? p->protocol : "v5.channel.k8s.io");
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return NULL;
}

static void run(struct fixture *f, struct peer *p)
{
    unsigned before = f->stream_closed;
    pthread_t thread;
    struct neap_timer *tick = neap_timer_new(f->loop, on_tick, NULL);
    int64_t until = neap_loop_now_ms(f->loop) + WAIT_MS;
    neap_timer_start(tick, TURN_MS, TURN_MS);
    assert_int_equal(pthread_create(&thread, NULL, peer_run, p), 0);
    while (!(atomic_load(&p->done) && f->stream_closed > before) &&
           neap_loop_now_ms(f->loop) < until)
        neap_loop_turn(f->loop, true);
    pthread_join(thread, NULL);
    neap_timer_close(tick);
    assert_true(atomic_load(&p->done));
    assert_int_equal(f->stream_closed, before + 1);
}

/* A masked frame of the peer with a mask of zeros. */
#define QUIT         "\x82\x85\0\0\0\0\0quit"
#define CLOSE        "\x88\x82\0\0\0\0\x03\xe8"
#define FRAMES(text) (text), sizeof(text) - 1
#define END                                                                                        \
    "\x82\x04\x03"                                                                                 \
    "end"
#define CLOSED "\x88\x02\x03\xe8"

/* The server waits for the peer's close frame before it ends. */
static void test_waits(void **state)
{
    struct fixture *f = start();
    struct peer p = {FRAMES(QUIT), FRAMES(CLOSE), .port = listen_at(f)};
    (void)state;
    run(f, &p);
    assert_false(p.ended_early);
    assert_int_equal(p.len, sizeof(END CLOSED) - 1);
    assert_memory_equal(p.got, END CLOSED, p.len);
    stop(f);
}

/* The peer's close frame comes while the server is about to send its own: it gets one all the same. */
static void test_crossing(void **state)
{
    struct fixture *f = start();
    struct peer p = {FRAMES(QUIT CLOSE), NULL, 0, .port = listen_at(f)};
    (void)state;
    run(f, &p);
    assert_true(p.len >= sizeof(CLOSED) - 1);
    assert_memory_equal(p.got + p.len - (sizeof(CLOSED) - 1), CLOSED, sizeof(CLOSED) - 1);
    stop(f);
}

/* Only the peer closes. */
static void test_answers(void **state)
{
    struct fixture *f = start();
    struct peer p = {FRAMES(CLOSE), NULL, 0, .port = listen_at(f)};
    (void)state;
    run(f, &p);
    assert_int_equal(p.len, sizeof(CLOSED) - 1);
    assert_memory_equal(p.got, CLOSED, p.len);
    stop(f);
}

/* What is refused is refused with a reason, also when more of it comes. */
static void test_refused(void **state)
{
    enum { TOO_LARGE = (1 << 20) + 4096 };
    struct fixture *f = start();
    unsigned char *large = neap_calloc(1, TOO_LARGE + 14);
    static const unsigned char head[] = {0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0x10, 0};
    struct peer p = {(char *)large, TOO_LARGE + 14, FRAMES(CLOSE), .port = listen_at(f)};
    (void)state;
    memcpy(large, head, sizeof(head));
    run(f, &p);
    assert_memory_equal(p.got, "\x88\x13\x03\xf1message too large", 21);
    free(large);
    p = (struct peer){FRAMES("\x81\x83\0\0\0\0"
                             "0!!"),
                      FRAMES(CLOSE), .port = listen_at(f), .protocol = "v4.base64.channel.k8s.io"};
    run(f, &p);
    assert_memory_equal(p.got, "\x88\x0c\x03\xefnot base64", 14);
    assert_false(p.ended_early);
    stop(f);
}

/* A peer that never answers is not waited for for ever; what it still says is not heard. */
static void test_silent(void **state)
{
    struct fixture *f = start();
    struct peer p = {FRAMES(QUIT), FRAMES(QUIT QUIT), .port = listen_at(f)};
    (void)state;
    run(f, &p);
    assert_false(p.ended_early);
    assert_int_equal(p.len, sizeof(END CLOSED) - 1);
    stop(f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits),   cmocka_unit_test(test_crossing),
        cmocka_unit_test(test_answers), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_silent),
    };
    signal(SIGPIPE, SIG_IGN); /* as core/main.c does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
