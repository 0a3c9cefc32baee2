/* A gRPC health check: one unary call over HTTP/2 without TLS. nghttp2 frames it, the message is a few bytes.
 * Source: grpc/doc/health-checking.md, grpc/doc/PROTOCOL-HTTP2.md. */
#include "action.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>

enum { SERVING = 1, MESSAGE_MAX = 256 };

struct check {
    struct action *action;
    int fd;
    uint8_t request[5 + 2 + 256], reply[MESSAGE_MAX];
    size_t request_len, request_at, reply_len;
    int grpc_status, http_status;
    bool closed;
};

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags,
                       void *user)
{
    struct check *k = user;
    (void)session;
    (void)flags;
    for (;;) {
        ssize_t n = send(k->fd, data, len, MSG_NOSIGNAL);
        struct pollfd p = {.fd = k->fd, .events = POLLOUT};
        if (n >= 0)
            return n;
        if (errno != EAGAIN || poll(&p, 1, k->action->timeout_ms) <= 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct check *k = user;
    (void)session;
    (void)frame;
    (void)flags;
    if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0)
        k->grpc_status = value_len == 1 && value[0] == '0' ? 0 : 1;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0)
        k->http_status = atoi((const char *)value);
    return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                    size_t len, void *user)
{
    struct check *k = user;
    (void)session;
    (void)flags;
    (void)stream;
    if (len > sizeof(k->reply) - k->reply_len)
        len = sizeof(k->reply) - k->reply_len;
    memcpy(k->reply + k->reply_len, data, len);
    k->reply_len += len;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    (void)session;
    (void)stream;
    (void)code;
    ((struct check *)user)->closed = true;
    return 0;
}

static ssize_t read_request(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t len,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct check *k = user;
    size_t n = k->request_len - k->request_at;
    (void)session;
    (void)stream;
    (void)source;
    if (n > len)
        n = len;
    memcpy(buf, k->request + k->request_at, n);
    k->request_at += n;
    if (k->request_at == k->request_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* HealthCheckRequest{service = 1} behind gRPC's five bytes. */
static void make_request(struct check *k)
{
    size_t n = strlen(k->action->service), body = 0;
    if (n > 127)
        n = 127;
    if (n) {
        k->request[5] = 1 << 3 | 2;
        k->request[6] = (uint8_t)n;
        memcpy(k->request + 7, k->action->service, n);
        body = n + 2;
    }
    k->request[4] = (uint8_t)body;
    k->request_len = 5 + body;
}

/* HealthCheckResponse{status = 1}: its value; -1: no such message. */
static int served(const struct check *k)
{
    if (k->reply_len < 5 || k->reply[0] != 0)
        return -1;
    return k->reply_len >= 7 && k->reply[5] == (1 << 3) ? k->reply[6] : 0;
}

static nghttp2_nv pair(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void talk(struct check *k, nghttp2_session *session)
{
    uint8_t block[4096];
    while (!k->closed && nghttp2_session_send(session) == 0) {
        struct pollfd p = {.fd = k->fd, .events = POLLIN};
        if (k->closed || poll(&p, 1, k->action->timeout_ms) <= 0)
            break;
        ssize_t n = recv(k->fd, block, sizeof(block), 0);
        if (n <= 0 || nghttp2_session_mem_recv(session, block, (size_t)n) < 0)
            break;
    }
}

void action_grpc(struct action *a, int fd)
{
    struct check k = {.action = a, .fd = fd, .grpc_status = -1};
    nghttp2_session_callbacks *cb;
    nghttp2_session *session;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_send_callback(cb, on_send);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_client_new(&session, cb, &k);
    nghttp2_session_callbacks_del(cb);
    make_request(&k);
    nghttp2_nv headers[] = {pair(":method", "POST"),
                            pair(":scheme", "http"),
                            pair(":path", "/grpc.health.v1.Health/Check"),
                            pair(":authority", a->authority),
                            pair("content-type", "application/grpc"),
                            pair("te", "trailers"),
                            pair("user-agent", "kube-probe/1.37")};
    nghttp2_data_provider body = {.read_callback = read_request};
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
    nghttp2_submit_request(session, NULL, headers, NEAP_ARRAY_LEN(headers), &body, NULL);
    talk(&k, session);
    nghttp2_session_del(session);
    int status = served(&k);
    a->ok = k.grpc_status == 0 && status == SERVING;
    if (!k.closed)
        action_fail(a, "timeout: failed to connect service \"%s\" within %d ms", a->authority,
                    a->timeout_ms);
    else if (!a->ok)
        action_fail(a, "service unhealthy (responded with status %d)", status);
}
