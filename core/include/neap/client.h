/* The one way to use the API from inside. `struct neap_call` is a request, protocol-blind: api/http makes
 * it from HTTP, api/rest answers it; the controllers, the scheduler, the agent and the CLI make it through
 * a `struct neap_client`, whose implementers are api/rest in process (the same pipeline from authorize
 * on), api/http's h2 client, and a fake for tests.
 *
 * thread: a call belongs to the loop it is made on, from start to finish. */
#ifndef NEAP_CLIENT_H
#define NEAP_CLIENT_H

#include <neap/arena.h>
#include <neap/err.h>
#include <neap/kind.h>
#include <neap/loop.h>
#include <neap/object.h>
#include <neap/registry.h>

enum neap_verb {
    NEAP_GET,
    NEAP_LIST,
    NEAP_WATCH,
    NEAP_CREATE,
    NEAP_UPDATE,
    NEAP_PATCH,
    NEAP_DELETE,
    NEAP_DELETECOLLECTION,
    NEAP_CONNECT,
    NEAP_NONRESOURCE, /* path only: /version, /healthz, discovery, OpenAPI */
};
/* "get", "deletecollection"; for NEAP_NONRESOURCE the lower-case HTTP method is used instead. */
const char *neap_verb_name(enum neap_verb v);

/* Who asks. Immutable, reference-counted. */
struct neap_identity {
    _Atomic unsigned refs;
    const char *user, *uid;
    const char *const *groups; /* NULL-terminated */
    /* extra: pairs key, value, NULL-terminated: one pair a value */
    const char *const *extra;
    bool authenticated;        /* false: system:anonymous */
    const char *credential_id; /* for audit; may be NULL */
    void *memory;              /* one block that holds all strings */
};
/* Copies everything. <groups>, <extra> may be NULL. */
struct neap_identity *neap_identity_new(const char *user, const char *uid,
                                        const char *const *groups, const char *const *extra);
struct neap_identity *neap_identity_ref(const struct neap_identity *id);
struct neap_identity *neap_identity_unref(struct neap_identity *id);
bool neap_identity_in_group(const struct neap_identity *id, const char *group);

enum neap_patch_type {
    NEAP_PATCH_T_NONE,
    NEAP_PATCH_T_JSON,
    NEAP_PATCH_T_MERGE,
    NEAP_PATCH_T_STRATEGIC,
    NEAP_PATCH_T_APPLY
};

#define NEAP_GRACE_UNSET INT64_MIN
/* Query parameters of the API, parsed. Strings are in the call's arena; NULL: not given. */
struct neap_call_options {
    const char *resource_version, *resource_version_match;
    const char *label_selector, *field_selector;
    const char *continue_token;
    int64_t limit;
    int64_t timeout_s; /* -1: not given */
    bool allow_bookmarks;
    int send_initial_events; /* -1 not given, 0, 1 */
    bool dry_run;
    const char *field_manager;
    uint8_t field_validation; /* enum neap_field_validation; given or the default (Warn) */
    int force;                /* apply: -1 not given */
    bool pretty;
    /* DELETE: query or body (DeleteOptions) */
    int64_t grace_period_s;         /* NEAP_GRACE_UNSET: not given; negative: nearly at once */
    const char *propagation_policy; /* Orphan, Background, Foreground */
    int orphan_dependents;          /* -1 not given */
    const char *precondition_uid, *precondition_resource_version;
};
void neap_call_options_init(struct neap_call_options *o);

/* What one Accept entry asks for. */
enum neap_media {
    NEAP_MEDIA_JSON,
    NEAP_MEDIA_YAML,
    NEAP_MEDIA_PROTOBUF,
    NEAP_MEDIA_CBOR,
    NEAP_MEDIA_TEXT,
    NEAP_MEDIA_OPENAPI_V2, /* gnostic's openapi.v2.Document */
};

struct neap_call;

/* A body that comes in pieces: a LIST, a watch, a log. Pulled by the transport. */
struct neap_body {
    /* Appends up to about <want> bytes to <out> (one watch event is never split over calls; it may be
     * longer; with <want> 1 exactly one event is appended, for
     * websocket messages). Returns 1: appended; 0: nothing now: call->wake() comes later; -1: the end (what was
     * appended still counts). Runs on the call's loop; never blocks. */
    int (*read)(struct neap_body *b, struct neap_buf *out, size_t want);
    /* Releases everything; the transport calls it once: at the end, or when the peer went away. */
    void (*close)(struct neap_body *b);
};

struct neap_header {
    const char *name, *value; /* name in lower case */
};

/* Two-way streams of exec, attach, port-forward: messages on numbered channels. */
struct neap_stream;

struct neap_call {
    /* ---- the request: filled by the maker ---- */
    enum neap_verb verb;
    const char *method; /* HTTP method in capitals */
    const char *path;   /* as it came (raw, no query) */
    const char *query;  /* raw, without '?'; NULL: none */
    const char *group, *version, *resource, *subresource, *namespace_, *name; /* NULL: none */
    const char *subpath;                  /* behind proxy/: raw; NULL: none */
    const char *proxy_port;               /* of proxy's "NAME:PORT"; NULL: none */
    bool proxy_tls;                       /* of proxy's "https:NAME:PORT" */
    const struct neap_kind *kind;         /* of group, version, resource; set by the router */
    const struct neap_identity *identity; /* reference, released with the call */
    struct neap_call_options options;
    const struct neap_header *headers; /* those that matter to handlers, ended by a NULL name */
    const char *accept, *content_type, *user_agent;
    const char *body; /* complete; NULL: none */
    size_t body_len;
    enum neap_patch_type patch_type;
    int64_t deadline_mono_ns;
    int64_t started_mono_ns;
    struct neap_arena *arena; /* of the request: bounded */
    struct neap_loop *loop;
    bool internal;               /* made in process: answers may carry objects instead of bytes */
    bool upgradable;             /* the transport can turn it into a stream (websocket handshake) */
    const char *stream_protocol; /* the websocket subprotocol chosen, for upgraded calls */

    /* ---- the answer: filled by the handler, then neap_call_finish() ---- */
    int status;             /* HTTP */
    const char *reply_type; /* content type */
    const char *reply;      /* bytes in arena, or in reply_buf */
    size_t reply_len;
    struct neap_buf reply_buf; /* released with the call */
    struct neap_object
        *object; /* a single object: reference; reply may be unset (its bytes count) */
    struct neap_body *stream_body;           /* pieces; then reply is unset */
    const struct neap_header *reply_headers; /* in arena; ended by a NULL name; NULL: none */
    const char *warnings[16];                /* Warning texts, in arena */
    unsigned warning_count;
    struct neap_err err;                      /* status >= 400: what became the Status */
    const struct neap_stream_handler *stream; /* an accepted upgrade: see neap/stream.h */
    void *stream_arg;

    /* ---- the transport's ---- */
    void (*finish)(struct neap_call *c); /* the answer is there (head for stream bodies) */
    void (*wake)(struct neap_call *c);   /* stream_body has more; loop thread only */
    void *transport;
    /* Set by the transport when the peer is gone; handlers that wait look at it. */
    bool cancelled;
    void (*on_cancel)(
        struct neap_call *c); /* the handler's, may be NULL: called once when cancelled */
    void *handler;            /* the handler's */
};

/* Takes memory for a call from a new arena of <limit> bytes; the call lives in it. */
struct neap_call *neap_call_new(struct neap_loop *loop, size_t arena_limit);
/* Releases object, buffers, body, err, arena. */
void neap_call_free(struct neap_call *c);
/* Adds a Warning (RFC 7234 299 text); repeated texts once; silently at most 16. */
void neap_call_warn(struct neap_call *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Fills the answer from c->err (a Status is built by api/rest/status.c or the client's caller). */
void neap_call_fail(struct neap_call *c); /* status from c->err.code, then finish */

struct neap_reply;

/* ---- clients -------------------------------------------------------------------------------- */
/* One request from inside. Strings are borrowed until done. */
struct neap_request {
    enum neap_verb verb;
    const struct neap_kind *kind; /* NULL: <path> with method GET */
    const char *path;             /* non-resource */
    const char *namespace_, *name, *subresource;
    const char *body; /* JSON */
    size_t body_len;
    enum neap_patch_type patch_type;
    struct neap_call_options options;
    int64_t timeout_ms; /* 0: 30 s */
    struct neap_loop *loop;
    /* Called once on <loop>. <reply> is borrowed until it returns (references may be taken). */
    void (*done)(struct neap_request *r, const struct neap_reply *reply);
    void *data;
};
struct neap_reply {
    int code;                   /* 0 or NEAP_E* */
    const struct neap_err *err; /* code != 0 */
    int status;                 /* HTTP status; 0: no answer came */
    struct neap_object *object; /* of get, create, update, patch, delete with an object */
    struct neap_object **items; /* of list */
    size_t item_count;
    uint64_t revision; /* of a list */
    const char *body;  /* everything else (tokens, reviews): JSON bytes */
    size_t body_len;
};

/* List, then watch, for ever: what client-go calls a reflector. Relists on 410, reconnects with back-off,
 * resumes. Callbacks on <loop>, never inside _start. */
struct neap_reflector_options {
    const struct neap_kind *kind;
    const char *namespace_;
    const char *label_selector, *field_selector;
    struct neap_loop *loop;
    /* DELETED carries the last state; after a relist, what vanished in between comes as DELETED. */
    void (*event)(void *arg, enum neap_event_type type, struct neap_object *object);
    /* Everything of the first list has been told; <revision> is where it stands. */
    void (*synced)(void *arg, uint64_t revision);
    void (*error)(void *arg, const struct neap_err *err); /* told, then it retries; may be NULL */
    void *arg;
};
struct neap_reflector;

struct neap_client {
    void (*request)(struct neap_client *c, struct neap_request *r);
    struct neap_reflector *(*reflect)(struct neap_client *c,
                                      const struct neap_reflector_options *o);
    void (*reflect_stop)(struct neap_client *c,
                         struct neap_reflector *r); /* no callback after it */
    /* In process only: the registry's newest snapshot (neap/registry.h), pinned; NULL elsewhere. One
     * sync, one scheduling cycle = one snapshot. */
    struct neap_snapshot *(*snapshot)(struct neap_client *c);
    /* No callback after it: requests under way are forgotten, their memory is their callers'. Reflectors
     * are stopped before. */
    void (*close)(struct neap_client *c);
    void *self;
};
void neap_request_init(struct neap_request *r); /* options' defaults */

#endif
