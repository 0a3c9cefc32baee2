/* HTTP on sockets: one TLS port, ALPN h2 (nghttp2) and http/1.1 (api/wire's parser), websocket upgrades
 * by libwebsockets behind a socketpair; and the same as a client. design.md section 7, libs.md 1c.
 * Only this folder knows sockets and TLS. thread: a server or client belongs to its loop. */
#ifndef NEAP_API_HTTP_H
#define NEAP_API_HTTP_H

#include <neap/client.h>
#include <neap/stream.h>

/* ---- TLS material: PEM bytes; reloadable while serving ------------------------------------ */
struct neap_tls_config {
    const char *cert_pem, *key_pem; /* ours; a client without them sends none */
    const char *ca_pem;             /* whom we trust (server: client CAs; client: server CAs) */
    bool request_client_cert;       /* server: ask, but allow none */
    const char *server_name;        /* client: SNI and the name verified; NULL: the address */
};
struct neap_tls;
int neap_tls_new(const struct neap_tls_config *config, bool server, struct neap_tls **ret,
                 struct neap_err *err);
/* New connections use the new material; old ones go on. */
int neap_tls_reload(struct neap_tls *t, const struct neap_tls_config *config, struct neap_err *err);
struct neap_tls *neap_tls_free(struct neap_tls *t);

/* ---- server ----------------------------------------------------------------------------------- */
struct neap_http_limits {
    size_t header_bytes;  /* 64 KiB: all headers of a request */
    size_t body_bytes;    /* 3 MiB */
    size_t bodies_bytes;  /* 256 MiB: of all requests that are being received */
    size_t message_bytes; /* 1 MiB: a websocket message from the peer */
    size_t arena_bytes;   /* 64 MiB a request */
    unsigned streams;     /* 250 a connection */
    unsigned connections; /* 10,000 */
    uint64_t header_timeout_ms, idle_timeout_ms, handshake_timeout_ms; /* 10 s, 180 s, 10 s */
    uint64_t body_timeout_ms; /* 60 s to receive a whole body */
    uint64_t write_stall_ms;  /* 60 s in which a peer takes nothing of an answer: ended */
    uint64_t list_timeout_ms; /* 5 min: a list that takes longer is ended, it holds a snapshot */
    unsigned resets;          /* 1000: of streams at once on a connection, then 33 a second */
};
void neap_http_limits_default(struct neap_http_limits *l);

/* What the peer showed in its handshake; borrowed during the call. */
struct neap_peer {
    const char *address; /* "10.0.0.1:4242" */
    void *certificate;   /* X509 *, verified against ca_pem; NULL: none */
};

struct neap_http_server_options {
    struct neap_loop *loop;
    struct neap_tls *tls; /* mandatory: there is no plain port */
    struct neap_http_limits limits;
    const char *protocol_name; /* for metrics and logs: "apiserver", "kubelet" */
    /* Headers are there, the body is not yet: decides who asks (authentication) and whether it may go on.
     * Sets c->identity, or sets c->err and returns false: answered at once, the body is not read. */
    bool (*admit)(void *arg, struct neap_call *c, const struct neap_peer *peer);
    /* The whole request: the handler ends with c->finish(c) (at once or later). Unless cancelled first
     * it is called exactly once. */
    void (*handle)(void *arg, struct neap_call *c);
    /* Offered websocket subprotocols -> the one to speak, NULL: none of them (then the upgrade is refused
     * with the answer that handle() gave). Token subprotocols have been taken out. */
    const char *(*choose_protocol)(void *arg, struct neap_call *c, const char *const *offered);
    /* Turns c->err into the body of an answer that the transport itself makes (bad head, body too large
     * or too slow, admit() refused): a Kubernetes Status. Does not finish the call. */
    void (*refuse)(void *arg, struct neap_call *c);
    void *arg;
};
struct neap_http_server;
int neap_http_server_new(const struct neap_http_server_options *o, struct neap_http_server **ret,
                         struct neap_err *err);
/* Adds a listening socket (bound, listening, nonblocking): taken. */
int neap_http_server_listen(struct neap_http_server *s, int fd, struct neap_err *err);
/* A bound and listening socket for "127.0.0.1:6443", "[::1]:0", ":6443"; port 0: any, told in
 * *ret_port. errors: one clear line ("address in use"). blocks: no. */
int neap_http_bind(const char *address, int *ret_fd, unsigned *ret_port, struct neap_err *err);
/* The same in the network namespace at <netns> (NULL: ours). <early>: the address need not be there yet
 * (IP_FREEBIND). */
int neap_http_bind_in(const char *netns, const char *address, bool early, int *ret_fd,
                      unsigned *ret_port, struct neap_err *err);
/* Stops accepting, tells peers (GOAWAY, Connection: close), lets requests finish; <done> when no connection
 * is left or <ms> passed. */
void neap_http_server_drain(struct neap_http_server *s, uint64_t ms, void (*done)(void *arg),
                            void *arg);
void neap_http_server_close(struct neap_http_server *s, void (*closed)(void *arg), void *arg);

/* ---- client ------------------------------------------------------------------------------------ */
/* A pool of h2 connections to one server (several addresses: tried in turn). */
struct neap_http_client_options {
    struct neap_loop *loop;
    struct neap_tls *tls;
    const char *const *addresses; /* "host:port", numeric hosts; NULL-terminated */
    const char *bearer_token;     /* NULL: none */
    const char *user_agent;
    size_t body_max;   /* of an answer: 256 MiB; streams are unbounded */
    const char *netns; /* path of the network namespace to connect from; NULL: ours */
};
struct neap_http_client;
struct neap_http_client *neap_http_client_new(const struct neap_http_client_options *o);
void neap_http_client_set_token(struct neap_http_client *c, const char *bearer_token);
void neap_http_client_close(struct neap_http_client *c);

/* One exchange; caller-owned, alive until done. */
struct neap_exchange {
    const char *method, *path;         /* path with query */
    const struct neap_header *headers; /* more than the client's own; NULL-name ended; or NULL */
    const char *body;
    size_t body_len;
    int64_t timeout_ms; /* until the head (streams) or the end; 0: 30 s */
    bool streaming;     /* data() gets the body in pieces */
    void (*head)(struct neap_exchange *x, int status,
                 const struct neap_header *headers); /* or NULL */
    void (*data)(struct neap_exchange *x, const char *data, size_t len);
    /* Exactly once. <err> NULL: complete. Unless streaming, <body> is the whole. */
    void (*done)(struct neap_exchange *x, const struct neap_err *err, int status, const char *body,
                 size_t body_len);
    void *data_arg;
    void *private_;
};
void neap_http_client_send(struct neap_http_client *c, struct neap_exchange *x);
/* done() is not called after it. */
void neap_http_client_cancel(struct neap_http_client *c, struct neap_exchange *x);

/* Back-pressure for a streaming exchange: while paused, at most one window (4 MiB) more comes. */
void neap_http_client_pause(struct neap_exchange *x, bool paused);

/* A websocket to the server (exec, attach, port-forward): subprotocols offered in order. The handler hears
 * messages by channel; on refusal <refused> gets the HTTP status and body, exactly one of open and
 * refused is called. */
void neap_http_client_stream(struct neap_http_client *c, const char *path,
                             const char *const *protocols,
                             const struct neap_stream_handler *handler, void *handler_arg,
                             void (*refused)(void *arg, int status, const char *body, size_t len,
                                             const struct neap_err *err));

/* The neap_client of neap/client.h over this (takes ownership of <c>). */
struct neap_client *neap_http_client_api(struct neap_http_client *c);

#endif
