/* Bytes <-> calls, no sockets: fed by tests and fuzzers directly. thread: any, one at a time. */
#ifndef NEAP_API_WIRE_H
#define NEAP_API_WIRE_H

#include <neap/client.h>

/* ---- HTTP/1.1 request parser (RFC 9112), incremental --------------------------------------- */
struct neap_h1_parser;
enum neap_h1_state { NEAP_H1_HEAD, NEAP_H1_BODY, NEAP_H1_DONE, NEAP_H1_ERROR };
struct neap_h1_head {
    const char *method, *target;
    int minor; /* HTTP/1.<minor> */
    const struct neap_header *headers;
    unsigned header_count;
    bool keep_alive, chunked, expect_continue, upgrade_websocket, upgrade_other;
    int64_t content_length; /* -1: none */
};
struct neap_h1_parser *neap_h1_parser_new(size_t header_max, size_t body_max);
void neap_h1_parser_free(struct neap_h1_parser *p);
/* Consumes up to <len> bytes; returns how many. Stops behind the head (so that the caller can admit)
 * and behind the body. */
size_t neap_h1_parser_feed(struct neap_h1_parser *p, const char *data, size_t len,
                           struct neap_err *err);
enum neap_h1_state neap_h1_parser_state(const struct neap_h1_parser *p);
const struct neap_h1_head *neap_h1_parser_head(const struct neap_h1_parser *p);
/* Valid in NEAP_H1_DONE, until _next. */
const char *neap_h1_parser_body(const struct neap_h1_parser *p, size_t *ret_len);
void neap_h1_parser_next(struct neap_h1_parser *p); /* the next request on the connection */

/* ---- call from method, target, headers ------------------------------------------------------- */
/* Fills method, path, query, group, version, resource, namespace_, name, subresource, subpath, verb,
 * options, accept, content_type, user_agent, patch_type. Percent-decoding once, after splitting by '/'; a
 * segment that is "." or ".." or holds a NUL or an encoded '/' is NEAP_EBADREQUEST (CVE-2022-3162).
 * Source: apiserver request info resolution. Unknown groups and resources are the router's matter. */
int neap_wire_call_parse(struct neap_call *c, const char *method, const char *target,
                         const struct neap_header *headers, struct neap_err *err);
/* One query parameter's decoded value in the arena, NULL: absent. */
const char *neap_wire_query_get(struct neap_arena *arena, const char *query, const char *name);

/* ---- Accept (RFC 9110 12.5.1; Kubernetes' as=, g=, v=) -------------------------------------- */
struct neap_accept {
    enum neap_media media;
    const char *as, *g, *v; /* "Table", "meta.k8s.io", "v1"; NULL: none */
    bool stream_watch;      /* ;stream=watch */
};
/* The entries in order of preference (quality, then order); *\/\* and application\/\* are JSON. Unknown
 * types are left out. Returns the count (0: nothing acceptable). NULL <header>: one JSON entry. */
unsigned neap_wire_accept_parse(struct neap_arena *arena, const char *header,
                                struct neap_accept **ret);

/* Path and query of a request from inside, in <arena>. */
char *neap_wire_request_path(struct neap_arena *arena, const struct neap_request *r);

/* ---- websocket frames are libwebsockets' matter; channel names are ours --------------------- */
/* "v5.channel.k8s.io" ... -> base64 or binary, has close channel. */
struct neap_ws_protocol {
    const char *name;
    bool base64, has_close, has_error_status; /* v4+: error channel holds a Status */
    bool channels;                            /* false: one unnumbered stream (watch text frames) */
};
const struct neap_ws_protocol *neap_ws_protocol_by_name(const char *name);

#endif
