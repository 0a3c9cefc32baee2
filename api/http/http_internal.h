/* Shared inside api/http. */
#ifndef NEAP_API_HTTP_INTERNAL_H
#define NEAP_API_HTTP_INTERNAL_H

#include <api/http/http.h>
#include <api/wire/wire.h>
#include <neap/log.h>
#include <openssl/ssl.h>

struct http_conn;
struct http_request;

struct neap_tls {
    SSL_CTX *ctx;
    bool server;
    char *server_name;
};

struct http_listener {
    int fd;
    struct neap_fd *handle;
    struct neap_http_server *server;
    struct neap_list link;
};

struct neap_http_server {
    struct neap_http_server_options options;
    struct neap_list listeners, conns;
    unsigned conn_count;
    bool draining, closing;
    struct neap_timer *drain_timer;
    void (*drained)(void *arg);
    void *drained_arg;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* What speaks on a connection once ALPN has chosen. */
struct http_protocol {
    /* Bytes came. False: the connection is to be closed once what is queued is out. */
    bool (*input)(struct http_conn *c, const char *data, size_t len);
    /* Appends to c->out what may be sent now; at most about HTTP_OUT_HIGH bytes wait. */
    void (*output)(struct http_conn *c);
    /* The connection is gone: every request on it is cancelled. */
    void (*gone)(struct http_conn *c);
    void (*drain)(struct http_conn *c);
    /* Requests under way. */
    unsigned (*active)(const struct http_conn *c);
};
extern const struct http_protocol http_h2, http_h1;

enum {
    HTTP_OUT_HIGH = 64 << 10,
    HTTP_READ = 16 << 10,
    HTTP_RECORD = 16 << 10,
};

struct http_conn {
    struct neap_http_server *server;
    struct neap_list link;
    int fd;
    struct neap_fd *handle;
    SSL *ssl;
    struct neap_timer *timer;
    struct neap_peer peer;
    char address[64];
    const struct http_protocol *protocol; /* NULL: in the handshake */
    void *session;                        /* the protocol's */
    struct neap_buf out;
    size_t out_at; /* sent of out */
    int64_t active_ms, stalled_ms;
    bool closing;        /* when out is empty */
    bool dead, flushing; /* a post is under way */
    bool want_write;
};
/* Sends what there is, soon. */
void http_conn_flush_soon(struct http_conn *c);
void http_conn_close(struct http_conn *c);

/* A request on either protocol: the transport's side of a call. */
struct http_request {
    struct neap_call *call;
    struct http_conn *conn; /* NULL: gone */
    int32_t stream_id;      /* h2 */
    struct neap_list link;  /* h2: of the connection's requests */
    struct neap_buf body;
    struct neap_buf pending; /* of a streamed answer: read from the body, not sent yet */
    const char *fixed;       /* of a fixed answer */
    size_t fixed_len, fixed_at;
    const char *method, *target, *scheme;
    struct neap_header *headers;
    unsigned header_count, header_cap;
    size_t header_bytes;
    bool handed;   /* handle() was called: finish() comes */
    bool finished; /* finish() came */
    bool ended;    /* the answer is complete */
    bool refused;
    bool head_only;
    void (*answer)(struct http_request *r);
    void (*woken)(struct http_request *r);
};
struct http_request *http_request_new(struct http_conn *c);
/* False: too many or too large (the request is refused with 431). Copies. */
bool http_request_header(struct http_request *r, const char *name, size_t name_len,
                         const char *value, size_t value_len);
/* The head is complete: parses and asks admit(). False: refused, the answer is there. */
bool http_request_head(struct http_request *r);
/* Adds to the body; false: too large, refused. */
bool http_request_body(struct http_request *r, const char *data, size_t len);
void http_request_refuse(struct http_request *r, int code, const char *text);
/* The request is complete. */
void http_request_handle(struct http_request *r);
/* The peer is gone, or the answer is out: frees now or when finish() comes. */
void http_request_release(struct http_request *r);
/* Status line headers of the answer into an array in the call's arena; returns the count. */
unsigned http_answer_headers(struct http_request *r, struct neap_header out[32], char length[24]);
/* The next bytes of the answer: up to <want> appended. 1: more may come; 0: nothing now; -1: the end. */
int http_answer_read(struct http_request *r, struct neap_buf *out, size_t want);

#endif
