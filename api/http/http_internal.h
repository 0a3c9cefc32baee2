/* Shared inside api/http. Three layers: a TLS byte stream (io.c), what speaks on it (struct
 * http_protocol for the server: h2.c, h1.c, ws.c; the client has its own), and requests (request.c). */
#ifndef NEAP_API_HTTP_INTERNAL_H
#define NEAP_API_HTTP_INTERNAL_H

#include <api/http/http.h>
#include <api/wire/wire.h>
#include <neap/log.h>
#include <neap/stream.h>
#include <openssl/ssl.h>

enum {
    HTTP_OUT_HIGH = 64 << 10, /* waits to be sent: no more is pulled above it */
    HTTP_READ = 16 << 10,     /* one TLS record */
    HTTP_RECORD = 16 << 10,   /* one SSL_write */
    HTTP_LINGER_MS = 2000,    /* what a refused peer still sends is read and dropped so long */
    HTTP_HEADERS_MAX = 128,   /* of a request */
    HTTP_ANSWER_HEADERS = 32,
};

struct neap_tls {
    SSL_CTX *ctx;
    bool server;
    char *server_name;
};
/* An error text of OpenSSL's queue, which is empty after. */
void http_tls_error(char *text, size_t size);

/* ---- a TLS byte stream on a socket ------------------------------------------------------- */
struct http_io;
struct http_io_ops {
    /* The handshake is done. */
    void (*ready)(struct http_io *io);
    /* Bytes came. False: to be closed once what is queued is out. */
    bool (*input)(struct http_io *io, const char *data, size_t len);
    /* Appends to io->out what may be sent now; at most about HTTP_OUT_HIGH bytes wait. */
    void (*output)(struct http_io *io);
    /* Last but one: the stream is gone; io->reason says why. */
    void (*gone)(struct http_io *io);
    /* Last: nothing refers to it any more; frees what it is part of. */
    void (*release)(struct http_io *io);
};
struct http_io {
    const struct http_io_ops *ops;
    struct neap_loop *loop;
    int fd;
    struct neap_fd *handle;
    SSL *ssl;
    struct neap_buf out;
    size_t out_at; /* sent of out */
    int64_t active_ms, stalled_ms;
    int events;
    bool is_ready;
    bool closing;   /* when out is empty */
    bool linger;    /* then reads on for a while, so that the peer sees the answer, not a reset */
    bool lingering; /* it does so now, since active_ms */
    bool paused;    /* reads nothing */
    bool hung_up;   /* meanwhile the peer has gone */
    struct neap_timer *hang_timer;
    bool more; /* TLS may hold bytes that make no event */
    bool dead, posted, inside;
    unsigned holds;
    char reason[160];
};
/* Takes <fd> (connected or connecting, nonblocking). */
void http_io_start(struct http_io *io, struct neap_loop *loop, const struct http_io_ops *ops,
                   SSL_CTX *ctx, int fd, bool server);
/* Sends what there is: at the end of the input under way, or soon. */
void http_io_flush_soon(struct http_io *io);
/* The same at once; <io> may be dead after. */
void http_io_flush(struct http_io *io);
/* Between them release() does not come. */
void http_io_hold(struct http_io *io);
void http_io_unhold(struct http_io *io);
void http_io_pause(struct http_io *io, bool paused);
void http_io_close(struct http_io *io, const char *reason);
static inline size_t http_io_waiting(const struct http_io *io)
{
    return io->out.len - io->out_at;
}

/* ---- the server ---------------------------------------------------------------------------- */
struct http_conn;
struct http_request;
struct http_ws_context;

struct http_listener {
    int fd;
    struct neap_fd *handle;
    struct neap_http_server *server;
    struct neap_list link;
};

struct neap_http_server {
    struct neap_http_server_options options;
    struct neap_list listeners, conns;
    unsigned conn_count, turned_away; /* since the last tick */
    int spare;                        /* a file descriptor for when there is no other */
    size_t body_bytes;                /* held by requests that are being received */
    bool draining, closing;
    struct neap_timer *drain_timer, *tick;
    void (*drained)(void *arg);
    void *drained_arg;
    void (*closed)(void *arg);
    void *closed_arg;
    struct http_ws_context *ws; /* made at the first upgrade */
    int64_t date_s;
    char date[32];
};
/* RFC 9110 date, made once a second. */
const char *http_server_date(struct neap_http_server *s);

/* What speaks on a connection once ALPN has chosen. */
struct http_protocol {
    void (*start)(struct http_conn *c);
    bool (*input)(struct http_conn *c, const char *data, size_t len);
    void (*output)(struct http_conn *c);
    /* The connection is gone: every request on it is cancelled. */
    void (*gone)(struct http_conn *c);
    void (*drain)(struct http_conn *c);
    /* Requests whose head or body is late are refused; false: the connection is to be closed. */
    bool (*tick)(struct http_conn *c, int64_t now);
};
extern const struct http_protocol http_h2, http_h1, http_ws;

struct http_conn {
    struct http_io io; /* first */
    struct neap_http_server *server;
    struct neap_list link;
    struct neap_list requests; /* under way */
    struct neap_peer peer;
    char address[64];
    const struct http_protocol *protocol; /* NULL: in the handshake */
    void *session;                        /* the protocol's */
    int64_t since_ms;
};

/* A request on either protocol: the transport's side of a call. */
struct http_request {
    struct neap_call *call;
    struct http_conn *conn; /* NULL: gone */
    struct neap_list link;
    int32_t stream_id; /* h2 */
    int64_t begun_ms;
    int64_t finished_ms;
    int64_t moved_ms; /* the peer took something of the answer, or there was nothing to take */
    struct neap_buf body;
    struct neap_buf pending; /* of a streamed answer: read from the body, not sent yet */
    const char *fixed;       /* of a fixed answer */
    size_t fixed_len, fixed_at;
    const char *method, *target;
    struct neap_header *headers;
    unsigned header_count, header_cap;
    size_t header_bytes;
    const char *ws_key; /* a websocket upgrade is asked for */
    bool headed;        /* the head is complete */
    bool handed;        /* handle() was called: finish() comes */
    bool finished;      /* finish() came */
    bool ended;         /* the answer is complete */
    bool refused;
    bool head_only;
    bool waiting;         /* a streamed answer: for the handler, not for the peer */
    bool reading, rewake; /* wake() inside read() */
    void (*answer)(struct http_request *r);
    void (*woken)(struct http_request *r);
};
struct http_request *http_request_new(struct http_conn *c);
/* False: too many or too large (the request is refused). Copies. */
bool http_request_header(struct http_request *r, const char *name, size_t name_len,
                         const char *value, size_t value_len);
/* The head is complete: parses and asks admit(). False: refused, the answer is there. */
bool http_request_head(struct http_request *r);
/* Adds to the body; false: too large, refused. */
bool http_request_body(struct http_request *r, const char *data, size_t len);
/* <text> NULL: call->err is set. */
void http_request_refuse(struct http_request *r, int code, const char *text);
/* The request is complete. */
void http_request_handle(struct http_request *r);
/* The peer is gone, or the answer is out: frees now or when finish() comes. */
void http_request_release(struct http_request *r);
/* The body is late: refused. False: the head is late. */
bool http_request_tick(struct http_request *r, int64_t now);
/* The answer is to be ended: its peer takes nothing, or a list takes too long. */
bool http_request_stalled(const struct http_request *r, int64_t now);
/* The headers of the answer; returns the count. <length> holds what content-length points at. */
unsigned http_answer_headers(struct http_request *r, struct neap_header out[HTTP_ANSWER_HEADERS],
                             char length[24]);
/* The next bytes of the answer: up to about <want> appended. 1: more may come; 0: nothing now; -1: the
 * end. */
int http_answer_read(struct http_request *r, struct neap_buf *out, size_t want);

/* ---- websockets ------------------------------------------------------------------------------ */
/* Takes the token and the offered subprotocols out of the headers: before admit(). */
void http_ws_prepare(struct http_request *r, const char *key);
/* Asks choose_protocol(): after admit(), before handle(). */
void http_ws_choose(struct http_request *r);
/* The answer is one that is carried by a websocket. */
bool http_ws_wanted(const struct http_request *r);
/* Turns the connection into a websocket; <rest> came behind the head. */
void http_ws_start(struct http_request *r, const char *rest, size_t len);
/* <gone> comes when libwebsockets has let go of everything. Accepts NULL. */
void http_ws_context_free(struct http_ws_context *x, void (*gone)(void *arg), void *arg);

#endif
