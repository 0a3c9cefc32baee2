/* Shared by the client's files. */
#ifndef NEAP_API_HTTP_CLIENT_INTERNAL_H
#define NEAP_API_HTTP_CLIENT_INTERNAL_H

#include "http_internal.h"

enum {
    CLIENT_CONNS_MAX = 8,      /* h2 connections to one server */
    CLIENT_CONNECT_MS = 10000, /* TCP and TLS */
    CLIENT_TIMEOUT_MS = 30000, /* of an exchange that names none */
    CLIENT_IDLE_MS = 90000,    /* an unused connection is closed */
    CLIENT_PING_MS = 20000,    /* silence on a used one is asked about */
    CLIENT_TICK_MS = 5000,
    CLIENT_STREAMS_DEFAULT = 100, /* until the server's SETTINGS say */
    CLIENT_WINDOW = 4 << 20,
    CLIENT_BODY_MAX = 256 << 20,
    CLIENT_HEADERS_MAX = 64,
};

struct client_conn;

/* Ours beside the caller's neap_exchange; lives until done() was called or it was cancelled. */
struct client_exchange {
    struct neap_list link; /* of client->waiting, or conn->exchanges, or client->ending */
    struct neap_http_client *client;
    struct neap_exchange *x;
    struct client_conn *conn; /* NULL: waits for one */
    int32_t stream_id;
    size_t body_at;
    int status;
    struct neap_arena *arena; /* of the answer's headers */
    struct neap_header headers[CLIENT_HEADERS_MAX + 1];
    unsigned header_count;
    struct neap_buf body;
    struct neap_timer *timer;
    bool retried, paused;
    size_t held; /* received while paused: the peer's window is not opened for it */
    struct neap_err err;
};

struct neap_http_client {
    struct neap_loop *loop;
    struct neap_tls *tls;
    char **addresses; /* NULL-terminated */
    char *token, *user_agent, *netns;
    size_t body_max;
    unsigned address_at, failed; /* addresses in a row that did not answer */
    struct neap_list conns, waiting, ending, websockets;
    unsigned conn_count, refs; /* refs: connections and posts that still point here */
    struct neap_timer *tick;
    bool closed, pumping, delivering;
};

/* ---- client.c ---- */
/* Connects <io> to the next address; errors: a bad address, no socket. */
int client_dial(struct neap_http_client *c, struct http_io *io, const struct http_io_ops *ops,
                const char *alpn, struct neap_err *err);
/* The Host of requests. */
const char *client_host(const struct neap_http_client *c);
void client_unref(struct neap_http_client *c);
/* Takes <e> off its connection and tells its caller, from a post. <code> 0: complete. */
void client_exchange_end(struct client_exchange *e, int code, const char *text);
/* <e> was not processed: it waits for another connection (once). */
void client_exchange_retry(struct client_exchange *e, const char *why);
void client_pump_soon(struct neap_http_client *c);
/* A connection that never got ready. */
void client_dial_failed(struct neap_http_client *c, const char *why);

/* ---- client_h2.c ---- */
/* Adds a connection to client->conns. */
int client_conn_new(struct neap_http_client *c, struct neap_err *err);
bool client_conn_connecting(const struct client_conn *conn);
/* It takes one more stream. */
bool client_conn_usable(const struct client_conn *conn);
void client_conn_submit(struct client_conn *conn, struct client_exchange *e);
void client_conn_cancel(struct client_conn *conn, struct client_exchange *e);
/* While paused the peer may send one window more, then it waits. */
void client_conn_pause(struct client_conn *conn, struct client_exchange *e, bool paused);
/* Takes every exchange off; they are put on <to>. */
void client_conn_forget(struct client_conn *conn, struct neap_list *to);
void client_conn_close(struct client_conn *conn, const char *why);
void client_conn_tick(struct client_conn *conn, int64_t now);
struct client_conn *client_conn_of(struct neap_list *link);

/* ---- client_ws.c ---- */
void client_ws_close_all(struct neap_http_client *c);

#endif
