/* Server-side apply and field ownership: who set which field (metadata.managedFields), and merging an
 * applied configuration with what is there, by the kind tables.
 *
 * Pure functions: no I/O, no clock. Results live in <arena>, and refer to the trees they came from:
 * both must outlive them. Bounded by the arena (NEAP_ETOOLARGE when it is exhausted), by
 * NEAP_APPLY_DEPTH_MAX, and by NEAP_APPLY_MANAGERS_MAX. thread: any; one document at a time. blocks: no.
 *
 * Source: Kubernetes' "Server-Side Apply" and its published FieldsV1 format. */
#ifndef NEAP_APPLY_H
#define NEAP_APPLY_H

#include <neap/kind.h>

#define NEAP_APPLY_DEPTH_MAX    64
#define NEAP_APPLY_MANAGERS_MAX 1024
/* Entries of updates (not of applies) that an object keeps; the oldest are merged beyond. */
#define NEAP_APPLY_UPDATERS_MAX 10

/* ---- sets of fields ----------------------------------------------------------------------- */

/* A set of field paths, immutable. NULL is the empty set: every function takes it and may return it. */
struct neap_fields;

/* From FieldsV1 as JSON ({"f:spec":{"f:replicas":{}}}). errors: NEAP_EBADREQUEST, NEAP_ETOOLARGE. */
int neap_fields_parse(struct neap_arena *arena, yyjson_mut_val *fields_v1, struct neap_fields **ret,
                      struct neap_err *err);
/* FieldsV1 in Kubernetes' order. */
yyjson_mut_val *neap_fields_value(const struct neap_fields *set, yyjson_mut_doc *doc);
/* One path a line, as conflicts name them: .spec.containers[name="x"].image */
void neap_fields_print(struct neap_buf *out, const struct neap_fields *set);
bool neap_fields_empty(const struct neap_fields *set);
size_t neap_fields_count(const struct neap_fields *set);
bool neap_fields_equal(const struct neap_fields *a, const struct neap_fields *b);
struct neap_fields *neap_fields_union(struct neap_arena *arena, struct neap_fields *a,
                                      struct neap_fields *b);
struct neap_fields *neap_fields_intersection(struct neap_arena *arena, struct neap_fields *a,
                                             struct neap_fields *b);
struct neap_fields *neap_fields_difference(struct neap_arena *arena, struct neap_fields *a,
                                           struct neap_fields *b);
/* Also without what is below a member of <b>. */
struct neap_fields *neap_fields_difference_below(struct neap_arena *arena, struct neap_fields *a,
                                                 struct neap_fields *b);
/* Members that have nothing below them. */
struct neap_fields *neap_fields_leaves(struct neap_arena *arena, struct neap_fields *set);

/* ---- sets of objects ---------------------------------------------------------------------- */

/* What a configuration says: the fields that applying it owns. errors: NEAP_EBADREQUEST. */
int neap_apply_fields_of(struct neap_arena *arena, const struct neap_type *type,
                         yyjson_mut_val *value, struct neap_fields **ret, struct neap_err *err);

struct neap_comparison {
    struct neap_fields *added, *modified, *removed;
};
/* Fields that every object prints count as there also when a tree leaves them out, so a decoded tree and
 * its canonical text compare equal. */
int neap_apply_compare(struct neap_arena *arena, const struct neap_type *type, yyjson_mut_val *old,
                       yyjson_mut_val *new_, struct neap_comparison *ret, struct neap_err *err);

/* ---- writes --------------------------------------------------------------------------------- */

struct neap_apply_write {
    const struct neap_kind *kind; /* the version of the request; objects are of this version */
    const char *manager;          /* fieldManager, or what the user agent makes it; "": unknown */
    const char *subresource;      /* "status", "scale"; "" or NULL: none */
    int64_t now_ns;               /* wall */
    bool forget; /* update: the client sent managedFields: [] (decoding drops empty lists) */
    bool force;  /* apply: take what others own */
};

/* Computes metadata.managedFields of <new_> for a create (<live> NULL), update or patch, and sets it in
 * <new_>, a decoded and defaulted object that belongs to <doc>. What <new_> brings itself is what the client
 * sent. Never fails a write: what cannot be computed leaves what <live> has. <live> is not changed. */
void neap_managed_update(struct neap_arena *arena, const struct neap_apply_write *w,
                         yyjson_mut_doc *doc, yyjson_mut_val *live, yyjson_mut_val *new_);

/* Applies <config>, JSON or YAML as the client sent it (not decoded, not defaulted), to <live>, whose tree
 * is of canonical text (NULL: there is no object yet). *ret is a new tree in <doc> with managedFields
 * that wants decoding and defaulting as a patch's result does. *ret_changed (may be NULL): false when nothing
 * but managedFields changed.
 * errors: NEAP_EBADREQUEST; NEAP_EINTERNAL with the real server's words when <config> does not fit its type;
 * NEAP_ECONFLICT with a cause FieldManagerConflict for every field; NEAP_ETOOLARGE. */
int neap_apply(struct neap_arena *arena, const struct neap_apply_write *w, yyjson_mut_doc *doc,
               yyjson_mut_val *live, yyjson_mut_val *config, yyjson_mut_val **ret,
               bool *ret_changed, struct neap_err *err);

#endif
