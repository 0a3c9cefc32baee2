/* Shared inside api/rest. */
#ifndef NEAP_API_REST_INTERNAL_H
#define NEAP_API_REST_INTERNAL_H

#include <api/rest/rest.h>
#include <api/wire/wire.h>
#include <neap/json.h>
#include <neap/log.h>
#include <neap/map.h>
#include <neap/metrics.h>

struct rest_busy; /* write_queue.c */

struct neap_rest {
    struct neap_rest_options options;
    struct neap_health_check checks[32];
    unsigned check_count;
    struct neap_map busy_keys; /* key -> struct rest_busy: writes in flight (write_queue.c) */
    struct neap_map openapi;   /* path -> document, made on first use */
    struct rest_encoded *encoded;
    bool draining;
};

/* c->handler of every call that rest handles. In the call's arena. */
struct rest_call {
    struct neap_rest *rest;
    struct neap_call *call;
    struct neap_snapshot *snapshot; /* pinned until the call ends; may be NULL */
    struct neap_accept *accepts;
    unsigned accept_count;
    const struct neap_accept *accept;           /* chosen */
    const struct neap_subresource *subresource; /* NULL: the resource itself */
    struct rest_write *write;                   /* of a write under way */
    struct neap_revision_wait *wait;
    struct neap_timer *wait_timer;
    void (*wait_go)(struct neap_call *c);
    uint64_t wait_revision;
    bool forgets_managers;       /* the body had managedFields: [] */
    bool evicting;               /* the deletion is an eviction's */
    const char *status_continue; /* metadata.continue of an error's Status; NULL: none */
};
struct neap_rest *rest_of(const struct neap_call *c);
struct rest_call *rest_call_of(const struct neap_call *c);

/* Ends the call's part in rest and finishes it. Every answer comes through here. */
void rest_finish(struct neap_call *c);
/* The newest snapshot, pinned for the rest of the call (replaces the one before). */
struct neap_snapshot *rest_pin(struct neap_call *c);
/* May the call's identity do <verb> on this? 0 or NEAP_EFORBIDDEN in c->err. NULLs: as the call's. */
int rest_authorize(struct neap_call *c, const char *verb, const char *group, const char *resource,
                   const char *subresource, const char *namespace_, const char *name,
                   struct neap_err *err);

/* ---- status.c ---- */
/* The Status says `"details":{}`, as the real server's plain errors do. */
void rest_err_empty_details(struct neap_err *err);
/* 405 */
void rest_not_allowed(struct neap_call *c);
/* Fails the call with c->err; every handler's way out. */
void rest_fail(struct neap_call *c);
/* Sets c->err and fails. */
void rest_fail_with(struct neap_call *c, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* "pods "x" not found" etc. with details. */
int rest_err_not_found(struct neap_err *err, const struct neap_kind *kind, const char *name);
int rest_err_conflict_modified(struct neap_err *err, const struct neap_kind *kind,
                               const char *name);
int rest_err_already_exists(struct neap_err *err, const struct neap_kind *kind, const char *name);
/* Turns causes into `Kind.group "name" is invalid: ...`. Returns err->code. */
int rest_err_invalid(struct neap_err *err, const struct neap_kind *kind, const char *name);
/* `resource.group "name" is forbidden: <text>` */
int rest_err_forbidden(struct neap_err *err, const struct neap_kind *kind, const char *name,
                       const char *text);
void rest_status_write(struct neap_buf *out, const struct neap_err *err, int http_status,
                       const char *continue_token);
/* A Success Status (DELETE). */
void rest_status_success(struct neap_buf *out, const struct neap_kind *kind, const char *name,
                         const char *uid);

/* ---- reply.c ---- */
/* Chooses the answer's form from Accept. <table>: Table and PartialObjectMetadata may be asked for. */
int rest_negotiate(struct neap_call *c, bool table, struct neap_err *err);
/* Answers with one object (a stored one: its bytes, or transformed as accepted). Borrows <o>. */
void rest_reply_object(struct neap_call *c, int status, struct neap_object *o);
/* Answers with JSON in c->reply_buf. */
void rest_reply_json(struct neap_call *c, int status);
void rest_reply_text(struct neap_call *c, int status, const char *text);
/* True: the plain stored bytes are what was asked for (JSON, no Table, the storage version). */
bool rest_plain(const struct neap_call *c);
void rest_yaml_status(struct neap_call *c);
/* apiVersion of the Table or PartialObjectMetadata that was asked for. */
const char *rest_meta_version(const struct neap_call *c);
bool rest_wants(const struct neap_call *c, const char *as); /* "Table", "PartialObjectMetadata" */
/* Appends one object as accepted: converted to c->kind's version; in a list <in_list> the head
 * is left out. Returns false when the arena is exhausted. */
bool rest_write_object(struct neap_call *c, struct neap_buf *out, struct neap_object *o,
                       bool in_list);
/* An object's tree in a version; NULL: no room. */
yyjson_mut_doc *rest_object_doc(struct neap_arena *arena, const struct neap_object *o,
                                const struct neap_kind *version);

/* ---- encoded.c ---- */
/* At most <bytes_max> bytes (0: none are kept). */
struct rest_encoded *rest_encoded_new(struct neap_loop *loop, size_t bytes_max);
struct rest_encoded *rest_encoded_free(struct rest_encoded *e);
/* Borrowed until the next put; NULL: not kept. */
const char *rest_encoded_get(struct rest_encoded *e, const struct neap_object *o, size_t *ret_len);
/* Copies <bytes>; <o> is none that is kept already. */
void rest_encoded_put(struct rest_encoded *e, struct neap_object *o, const char *bytes, size_t len);
size_t rest_encoded_bytes_max(const struct rest_encoded *e);

/* ---- protobuf.c ---- */
/* The answer is to be protobuf. */
bool rest_protobuf(const struct neap_call *c);
/* What <a> asks for has a protobuf form. */
bool rest_protobuf_can(const struct neap_call *c, const struct neap_accept *a);
/* JSON in c->reply_buf becomes protobuf. errors: NEAP_ENOTACCEPTABLE: it has no such form. */
int rest_protobuf_reply(struct neap_call *c, struct neap_err *err);
/* The items of a list that is made piece by piece: see list.c. */
struct rest_protobuf_items {
    const struct neap_type *type;
    bool plain;           /* as stored: then an object remembers its length */
    bool keep;            /* their bytes: the list is small enough for rest_encoded */
    struct neap_buf json; /* scratch */
};
/* errors: NEAP_ENOTACCEPTABLE. Ended by neap_buf_done(&items->json). */
int rest_protobuf_items(struct neap_call *c, struct rest_protobuf_items *ret, struct neap_err *err);
int rest_protobuf_item(struct neap_call *c, struct rest_protobuf_items *items, struct neap_buf *out,
                       struct neap_object *o, struct neap_err *err);
/* The bytes that rest_protobuf_item() appends; <scratch> is written over when they are not known yet. */
int rest_protobuf_item_len(struct neap_call *c, struct rest_protobuf_items *items,
                           struct neap_buf *scratch, struct neap_object *o, size_t *ret,
                           struct neap_err *err);
/* What stands before <items_len> bytes of items: the envelope's head and the list's metadata. <json> is the
 * list without its items. Behind them neap_protobuf_tail(). */
int rest_protobuf_list_head(struct neap_buf *out, const struct neap_buf *json, size_t items_len,
                            struct neap_err *err);
/* One event of a watch, given as its line of JSON. */
bool rest_protobuf_frame(struct neap_buf *out, const char *json, size_t len);

/* ---- table.c ---- */
void rest_table_head(struct neap_call *c, struct neap_buf *out, uint64_t revision, const char *cont,
                     int64_t remaining, bool columns);
/* The query's includeObject. */
int rest_table_check(struct neap_call *c, struct neap_err *err);
void rest_table_row(struct neap_call *c, struct neap_buf *out, struct neap_object *o);
const char *rest_table_include(const struct neap_call *c);
/* One object as PartialObjectMetadata. */
void rest_partial_write(struct neap_call *c, struct neap_buf *out, struct neap_object *o);

/* ---- body.c ---- */
bool rest_is_media(const char *content_type, const char *media);
int rest_err_unsupported_media(struct neap_err *err);
/* <root> is no object: Go's words for that. */
int rest_err_no_kind_in(yyjson_mut_val *root, struct neap_err *err);
/* Parses the body by its content type. <expected>: the kind for words. The document is in the arena. */
int rest_body_parse(struct neap_call *c, const char *expected, const struct neap_type *kind_type,
                    struct neap_decode_report *report, yyjson_mut_doc **ret, struct neap_err *err);
/* Parses, checks apiVersion and kind against <kind>, decodes. Unknown fields become Warnings or, when
 * strict, the error. *ret_kind (may be NULL) gets the kind that the body names. */
int rest_body_object(struct neap_call *c, const struct neap_kind *kind,
                     const struct neap_type *type, const char *kind_name, yyjson_mut_doc **ret,
                     struct neap_err *err);
/* Warnings or the strict error from a report. */
int rest_report_finish(struct neap_call *c, const struct neap_decode_report *report,
                       struct neap_err *err);

/* ---- verbs ---- */
void rest_get(struct neap_call *c);
void rest_list(struct neap_call *c);
void rest_watch(struct neap_call *c);
void rest_create(struct neap_call *c);
void rest_update(struct neap_call *c);
void rest_patch(struct neap_call *c);
void rest_apply(struct neap_call *c);
/* Apply of a Scale: to the object's spec.replicas. */
void rest_apply_scale(struct neap_call *c,
                      void (*reply)(struct rest_write *w, struct neap_object *o));
/* ---- apply.c ---- */
/* Sets managedFields of w->root for any write but an apply. */
void rest_managed(struct rest_write *w);
/* The same for a review, which is not stored. */
void rest_managed_review(struct neap_call *c, yyjson_mut_doc *doc, yyjson_mut_val *root);
/* True: an undecoded object has managedFields: [] (decoding drops it). */
bool rest_forgets_managers(yyjson_mut_val *root);
void rest_delete(struct neap_call *c);
void rest_delete_collection(struct neap_call *c);
void rest_nonresource(struct neap_call *c);
/* Subresources and virtual kinds with code of their own; false: not one of them. */
bool rest_special(struct neap_call *c);

/* Query options that contradict each other: the real server's words. */
int rest_check_list_options(const struct neap_call *c, bool watch, struct neap_err *err);
/* Options of a write: who manages its fields. */
int rest_check_write_options(const struct neap_call *c, struct neap_err *err);
/* Turns causes about a write's options into "CreateOptions.meta.k8s.io "" is invalid: ...". */
/* The query's and the body's DeleteOptions, checked, in c->options. */
int rest_delete_options(struct neap_call *c, struct neap_err *err);
int rest_err_invalid_options(const struct neap_call *c, struct neap_err *err);
/* "N" -> revision; NULL, "", "0" -> 0. */
int rest_parse_revision(const char *text, uint64_t *ret, struct neap_err *err);
/* Waits until the registry has reached <revision>, then calls <go>; 504 when it is in the future
 * for more than 3 s. */
void rest_wait_revision(struct neap_call *c, uint64_t revision, void (*go)(struct neap_call *c));
/* A selector of the call's options; NULL *ret: everything matches. Freed with the arena. */
int rest_selector(struct neap_call *c, struct neap_selector **ret, struct neap_err *err);

/* ---- writing (write.c): one read-modify-write for update, patch, status, delete, scale ---------- */
enum rest_operation { REST_CREATE, REST_UPDATE, REST_DELETE };

struct rest_write {
    struct neap_call *call;
    const struct neap_kind *kind; /* of the version asked for */
    const struct neap_subresource *subresource;
    enum rest_operation operation;
    const char *namespace_, *name; /* of the object */
    const char *uid_precondition, *revision_precondition;
    /* Makes the new object from the old one: w->root (decoded, in w->kind's version). w->old_root is
     * NULL when there is none. 0, an error, or 1: the change is to delete the object. */
    int (*change)(struct rest_write *w, struct neap_err *err);
    /* Answers a success; NULL: the object, 200 or 201. <o>: the published object or, in a dry run, the
     * draft; a deleted one's last state. */
    void (*reply)(struct rest_write *w, struct neap_object *o);
    /* A generated name was taken: choose another. NULL: the name was given. */
    void (*rename)(struct rest_write *w);
    void *data; /* of change, reply and rename */
    bool may_create;
    bool applied; /* change() has seen to managedFields */
    const char *
        managed_as; /* the subresource that managedFields name when <subresource> is NULL; or NULL */
    bool forget_managers; /* the client sent managedFields: [] */
    bool binding;         /* the one write that may set a pod's node */
    bool delete_now;      /* change() said so, or the last finalizer went */
    bool shows_draft;   /* of a deletion: the answer is the draft, what would be there without it */
    bool delete_marked; /* change() only marked the old object: nothing else is run */
    /* of the attempt */
    unsigned attempt;
    struct neap_object *old;    /* reference */
    struct neap_arena *scratch; /* of doc and the roots: goes before the wait for the store */
    yyjson_mut_doc *doc;
    yyjson_mut_val *root, *old_root;
    bool created;
    struct neap_object *draft; /* reference */
    struct neap_txn txn;
    struct neap_txn_op ops[24];
    unsigned op_count;
    struct neap_object *owned[24]; /* drafts of further operations */
    unsigned owned_count;
    struct neap_buf key;
    struct neap_list waiting; /* in the key's queue */
    bool queued, holds_key;
};
/* Starts or queues; the call is answered when it ends. <w> lives in the call's arena (zeroed by
 * rest_write_new). */
struct rest_write *rest_write_new(struct neap_call *c);
void rest_write_start(struct rest_write *w);
/* Memory of this attempt, gone before the store is waited for: thousands of writes may wait at once. */
struct neap_arena *rest_attempt_arena(struct rest_write *w);
/* A new document in it, for w->doc. */
yyjson_mut_doc *rest_attempt_doc(struct rest_write *w);
/* It or the call's arena has met its limit. */
bool rest_attempt_exhausted(struct rest_write *w);
/* Adds an operation to the transaction of this attempt; the draft's reference is taken. False: full. */
bool rest_write_also(struct rest_write *w, const struct neap_kind *kind, const char *key,
                     uint64_t expected, struct neap_object *draft);
/* The next writer of the key, if any, goes on. */
void rest_busy_release(struct rest_write *w);
/* True: the key is free and now held; false: queued, rest_write_run() comes later. */
bool rest_busy_take(struct rest_write *w);
void rest_busy_cancel(struct rest_write *w);
void rest_write_run(struct rest_write *w);
/* The object has another uid than the body's. */
int rest_err_uid(struct neap_err *err, const struct rest_write *w, const char *uid);

/* ---- eviction.c ---- */
/* Within the deletion of an evicted pod: asks its disruption budget, whose count joins the transaction, and says in the
 * pod why it goes. errors: NEAP_ETOOMANYREQUESTS, NEAP_EFORBIDDEN, NEAP_EPLAIN. */
int rest_evict(struct rest_write *w, struct neap_err *err);

/* ---- meta.c ---- */
/* What a create sets and clears; generateName. */
int rest_meta_create(struct rest_write *w, struct neap_err *err);
/* What an update keeps from the old object; immutable metadata. */
int rest_meta_update(struct rest_write *w, struct neap_err *err);
/* deletionTimestamp in <grace> seconds from now. */
void rest_meta_mark_deleted(struct rest_write *w, int64_t grace_s);

/* ---- strategy.c ---- */
/* Resets, generation, status at create, a kind's own preparation, by the tables and hooks. */
int rest_prepare_create(struct rest_write *w, struct neap_err *err);
int rest_prepare_update(struct rest_write *w, struct neap_err *err);
/* Allocations that join the transaction (Services); before the validation, also in a dry run. */
int rest_allocate(struct rest_write *w, struct neap_err *err);
/* Built-in admission, then the scripts'. */
int rest_admit(struct rest_write *w, struct neap_err *err);
int rest_admit_account(struct rest_write *w, struct neap_err *err);
int rest_admit_delete(struct rest_write *w, struct neap_err *err);
/* RBAC objects grant no more than the writer holds (escalation.c). */
int rest_escalation_check(struct rest_write *w, struct neap_err *err);

/* ---- validate/: what spans fields ---- */
struct rest_validation {
    yyjson_mut_val *root, *old_root; /* old: NULL at create */
    const struct neap_kind *kind;
    const struct neap_subresource *subresource;
    bool binding;       /* the write that sets a pod's node */
    const char *family; /* rest_validate_service_addresses: the one that is served */
    struct neap_err *err;
};
/* Name, labels, annotations, owners, finalizers. */
void rest_validate_metadata(struct rest_validation *v);
/* Only a Service's addresses and families: before addresses are chosen. */
void rest_validate_service_addresses(struct rest_validation *v);
/* What the kind's own rules say. */
void rest_validate_kind(struct rest_validation *v);
/* All: metadata, the kind's own rules, then what the tables know and nobody said yet. */
void rest_validate(struct rest_validation *v);
/* Warnings about a write that was found good. */
void rest_warn(const struct rest_validation *v, struct neap_call *call);

/* ---- discovery.c, openapi.c, health.c: answer true when the path is theirs ---- */
bool rest_discovery(struct neap_call *c);
bool rest_openapi(struct neap_call *c);
bool rest_health(struct neap_call *c);

extern struct neap_metric rest_metrics[];
void rest_metrics_register(void);
void rest_metrics_finish(struct neap_call *c);

#endif
