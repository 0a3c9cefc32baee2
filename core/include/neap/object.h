/* An object: an immutable, reference-counted blob of canonical JSON with a small head (key, revision,
 * uid, labels, owners, selectable fields). Writers replace objects, never edit them. GET writes the
 * bytes; LIST concatenates them; WATCH frames them.
 *
 * The bytes hold metadata.resourceVersion = the revision; stored bytes do not (design.md section 5):
 * neap_object_new() splices it in behind metadata.uid. thread: any (reference counts are atomic). */
#ifndef NEAP_OBJECT_H
#define NEAP_OBJECT_H

#include <neap/kind.h>

struct neap_object;

struct neap_owner {
    const char *uid, *api_version, *kind, *name;
    bool controller, block_owner_deletion;
};

/* <json> is canonical, of <kind> (a storage version), without resourceVersion, with metadata.name and
 * metadata.uid. <expires_wall_ns> 0: never. Reference owned by the caller.
 * errors: NEAP_EINTERNAL when <json> is no such object. blocks: no. */
int neap_object_new(const struct neap_kind *kind, const char *json, size_t len, uint64_t revision,
                    int64_t expires_wall_ns, struct neap_object **ret, struct neap_err *err);
/* An object as a server shows it: its resourceVersion becomes the revision, an item of a list gets kind
 * and apiVersion of <kind>. For clients. errors: NEAP_EINTERNAL. */
int neap_object_from_value(const struct neap_kind *kind, yyjson_val *value,
                           struct neap_object **ret, struct neap_err *err);
/* The same object at another revision (the last state of a deleted one). */
struct neap_object *neap_object_at_revision(const struct neap_object *o, uint64_t revision);
struct neap_object *neap_object_ref(const struct neap_object *o);
struct neap_object *neap_object_unref(struct neap_object *o); /* accepts NULL, returns NULL */

const struct neap_kind *neap_object_kind(const struct neap_object *o);
/* "/registry/<group or core>/<resource>/<namespace>/<name>" (no namespace part when cluster-scoped) */
const char *neap_object_key(const struct neap_object *o);
const char *neap_object_namespace(const struct neap_object *o); /* "" when cluster-scoped */
const char *neap_object_name(const struct neap_object *o);
const char *neap_object_uid(const struct neap_object *o);
uint64_t neap_object_revision(const struct neap_object *o);
int64_t neap_object_generation(const struct neap_object *o);
int64_t neap_object_expires(const struct neap_object *o);
int64_t neap_object_created(const struct neap_object *o); /* wall ns */
bool neap_object_deleting(const struct neap_object *o);   /* has deletionTimestamp */
bool neap_object_has_finalizers(const struct neap_object *o);
const char *neap_object_json(const struct neap_object *o, size_t *ret_len);
/* The stored form: without resourceVersion. Appends to <out>. */
void neap_object_stored_json(const struct neap_object *o, struct neap_buf *out);
/* Offset behind the fixed head {"kind":...,"apiVersion":..., that LISTs of built-in kinds skip. */
size_t neap_object_head_len(const struct neap_object *o);
/* Labels, sorted by key; NULL: none. */
const char *neap_object_label(const struct neap_object *o, const char *key);
unsigned neap_object_label_count(const struct neap_object *o);
void neap_object_label_at(const struct neap_object *o, unsigned i, const char **key,
                          const char **value);
/* Value of kind->selectable[i]; never NULL. */
const char *neap_object_selectable(const struct neap_object *o, unsigned i);
unsigned neap_object_owner_count(const struct neap_object *o);
const struct neap_owner *neap_object_owner_at(const struct neap_object *o, unsigned i);
/* The owner with controller: true; NULL: none. */
const struct neap_owner *neap_object_controller(const struct neap_object *o);
/* How many bytes the object takes as an item of a protobuf list, as somebody found out before; 0: nobody
 * did. It stands before a list's items, so a streamed list would else be made twice. thread: any. */
uint32_t neap_object_protobuf_len(const struct neap_object *o);
void neap_object_set_protobuf_len(struct neap_object *o, uint32_t len);
size_t neap_object_memory(const struct neap_object *o); /* bytes, head included */
/* Parses the bytes; freed with yyjson_doc_free. <alc> NULL: malloc. NULL: no memory in <alc>. */
yyjson_doc *neap_object_parse(const struct neap_object *o, const yyjson_alc *alc);

/* Writes the key; <namespace> NULL or "" for cluster-scoped and prefixes. <name> NULL: the prefix
 * that ends in '/'. */
void neap_object_key_make(struct neap_buf *out, const struct neap_kind *kind,
                          const char *namespace_, const char *name);

/* ---- selectors ---------------------------------------------------------------------------- */
struct neap_selector; /* label and field requirements, immutable */
/* Kubernetes' string forms; either may be NULL or "". Unknown fields: NEAP_EBADREQUEST with the real
 * server's words. <kind> is the version asked for. */
int neap_selector_parse(const struct neap_kind *kind, const char *labels, const char *fields,
                        struct neap_selector **ret, struct neap_err *err);
/* From a LabelSelector value (matchLabels, matchExpressions). NULL <value>: matches nothing;
 * empty object: everything. */
int neap_selector_from_label_selector(yyjson_val *value, struct neap_selector **ret,
                                      struct neap_err *err);
bool neap_selector_match(const struct neap_selector *s, const struct neap_object *o);
/* Against a bare label map (a pod template's). */
bool neap_selector_match_labels(const struct neap_selector *s, yyjson_val *labels);
bool neap_selector_empty(const struct neap_selector *s); /* matches everything */
/* The value that an equality requirement pins a field to: "metadata.name", "spec.nodeName"; else NULL */
const char *neap_selector_pinned(const struct neap_selector *s, const char *path);
struct neap_selector *neap_selector_free(struct neap_selector *s);

#endif
