/* Shared inside api/rest. */
#ifndef NEAP_API_REST_INTERNAL_H
#define NEAP_API_REST_INTERNAL_H

#include <api/rest/rest.h>
#include <api/wire/wire.h>
#include <neap/log.h>
#include <neap/map.h>
#include <neap/metrics.h>

struct neap_rest {
    struct neap_rest_options options;
    struct neap_health_check checks[32];
    unsigned check_count;
    struct neap_map busy_keys; /* key -> struct key_queue: writes in flight (write_queue.c) */
    struct neap_map openapi;   /* path -> document, made on first use */
    bool draining;
};

/* c->handler of every call that rest handles. In the call's arena. */
struct rest_call {
    struct neap_rest *rest;
    struct neap_call *call;
    struct neap_snapshot *snapshot; /* pinned until the call ends; may be NULL */
    struct neap_accept *accepts;
    unsigned accept_count;
    const struct neap_accept *accept;            /* chosen */
    const struct neap_subresource *subresource;  /* NULL: the resource itself */
};
struct neap_rest *rest_of(const struct neap_call *c);
struct rest_call *rest_call_of(const struct neap_call *c);

/* ---- status.c ---- */
/* Fails the call with c->err; every handler's way out. */
void rest_fail(struct neap_call *c);
/* "pods "x" not found" etc. with details. */
int rest_err_not_found(struct neap_err *err, const struct neap_kind *kind, const char *name);
int rest_err_conflict_modified(struct neap_err *err, const struct neap_kind *kind, const char *name);
int rest_err_already_exists(struct neap_err *err, const struct neap_kind *kind, const char *name);
/* Turns causes into `Kind.group "name" is invalid: ...`. Returns err->code. */
int rest_err_invalid(struct neap_err *err, const struct neap_kind *kind, const char *name);
/* err is about the resource (details.kind = resource's plural). */
void rest_err_about_resource(struct neap_err *err, const struct neap_kind *kind, const char *name);
void rest_status_write(struct neap_buf *out, const struct neap_err *err, int http_status);
/* A Success Status (DELETE). */
void rest_status_success(struct neap_buf *out, const struct neap_kind *kind, const char *name,
                         const char *uid);

/* ---- reply.c ---- */
/* Chooses the answer's form from Accept. <table>: Table and PartialObjectMetadata may be asked for. */
int rest_negotiate(struct neap_call *c, bool table, struct neap_err *err);
/* Answers with one object (a stored one: its bytes, or transformed as accepted). */
void rest_reply_object(struct neap_call *c, int status, struct neap_object *o);
/* Answers with JSON in c->reply_buf. */
void rest_reply_json(struct neap_call *c, int status);
void rest_reply_text(struct neap_call *c, int status, const char *text);
/* True: the plain stored bytes are what was asked for (JSON, no Table, the storage version). */
bool rest_plain(const struct neap_call *c);
bool rest_wants(const struct neap_call *c, const char *as); /* "Table", "PartialObjectMetadata" */
/* Appends one object as accepted: converted to c->kind's version; in a list <in_list> the head
 * is left out. Returns false when the arena is exhausted. */
bool rest_write_object(struct neap_call *c, struct neap_buf *out, struct neap_object *o, bool in_list);

/* ---- table.c ---- */
void rest_table_head(struct neap_call *c, struct neap_buf *out, uint64_t revision, const char *cont,
                     int64_t remaining, bool columns);
void rest_table_row(struct neap_call *c, struct neap_buf *out, struct neap_object *o);
const char *rest_table_include(const struct neap_call *c);

/* ---- verbs ---- */
void rest_get(struct neap_call *c);
void rest_list(struct neap_call *c);
void rest_watch(struct neap_call *c);
void rest_create(struct neap_call *c);
void rest_update(struct neap_call *c);
void rest_patch(struct neap_call *c);
void rest_delete(struct neap_call *c);
void rest_delete_collection(struct neap_call *c);
void rest_nonresource(struct neap_call *c);
/* Subresources and virtual kinds with code of their own; false: not one of them. */
bool rest_special(struct neap_call *c);

/* Query options that contradict each other: the real server's words. */
int rest_check_list_options(const struct neap_call *c, bool watch, struct neap_err *err);
/* "N" -> revision; NULL, "", "0" -> 0. */
int rest_parse_revision(const char *text, uint64_t *ret, struct neap_err *err);
/* Waits until the registry has reached c's resourceVersion, then calls <go>; 504 when it is in the future
 * for more than 3 s. */
void rest_wait_revision(struct neap_call *c, uint64_t revision, void (*go)(struct neap_call *c));

/* ---- discovery.c, openapi.c, health.c: answer true when the path is theirs ---- */
bool rest_discovery(struct neap_call *c);
bool rest_openapi(struct neap_call *c);
bool rest_health(struct neap_call *c);

extern struct neap_metric rest_metrics[];
void rest_metrics_finish(struct neap_call *c);

#endif
