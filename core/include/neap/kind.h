/* Kinds as data: what neap knows of a resource. Built-in tables are const, generated from
 * api/kinds/<group>/<version>.yaml; a CustomResourceDefinition makes the same table at run time.
 * From this one table come decoding, defaulting, canonical form, structural validation, patches,
 * Tables, discovery, OpenAPI, protobuf and Lua's types. No kind has code of its own for these. */
#ifndef NEAP_KIND_H
#define NEAP_KIND_H

#include <neap/arena.h>
#include <neap/buf.h>
#include <neap/err.h>
#include <neap/json.h>
#include <yyjson.h>

/* What a value is. Scalars keep their published Go type, so that ranges and protobuf follow. */
enum neap_value_type {
    NEAP_T_STRING,
    NEAP_T_INT32,
    NEAP_T_INT64,
    NEAP_T_DOUBLE,
    NEAP_T_BOOL,
    NEAP_T_BYTES,     /* base64 in JSON */
    NEAP_T_TIME,      /* metav1.Time: RFC 3339 seconds; null when zero */
    NEAP_T_MICROTIME, /* six digits */
    NEAP_T_DURATION,  /* metav1.Duration: Go's "1h2m" */
    NEAP_T_QUANTITY,  /* resource.Quantity, normalised */
    NEAP_T_INT_OR_STRING,
    NEAP_T_STRUCT,    /* .type says which */
    NEAP_T_ARRAY,     /* of .item */
    NEAP_T_MAP,       /* string to .item */
    NEAP_T_RAW,       /* any JSON (RawExtension, JSON): kept verbatim, keys sorted */
    NEAP_T_FIELDS_V1, /* managedFields' field set: verbatim */
};

/* What a zero value means (kubernetes-api/zero.tsv): DROP: same as absent; KEEP: explicit zero is
 * kept (a pointer in Go); EMIT: always printed, zero when absent; NULL: always printed, null. */
enum neap_zero { NEAP_ZERO_DROP, NEAP_ZERO_KEEP, NEAP_ZERO_EMIT, NEAP_ZERO_NULL };

enum neap_list_type { NEAP_LIST_NONE, NEAP_LIST_ATOMIC, NEAP_LIST_SET, NEAP_LIST_MAP };

/* Strategic merge patch (patchStrategy). */
enum { NEAP_PATCH_REPLACE = 0, NEAP_PATCH_MERGE = 1, NEAP_PATCH_RETAIN_KEYS = 2 };

/* field flags */
enum {
    NEAP_F_REQUIRED = 1,       /* by the published schema */
    NEAP_F_IMMUTABLE = 2,      /* may not change on update (validation.tsv) */
    NEAP_F_ENUM_OPEN = 4,      /* enum lists known values only */
    NEAP_F_INLINE_PB = 8,      /* protobuf number is a path through embedded messages */
    NEAP_F_MUST = 16,          /* validation says required: FieldValueRequired when zero */
    NEAP_F_MAP_ATOMIC = 32,    /* server-side apply: map or struct is atomic */
    NEAP_F_MILLI = 64,         /* map of quantities: rounded up to thousandths (ResourceList) */
    NEAP_F_DEFAULTS = 128,     /* something below the field has a default */
    NEAP_F_MAP_GRANULAR = 256, /* server-side apply: not atomic although the type is */
};

struct neap_type;

/* Item of an array or map, or a scalar field's own shape. */
struct neap_shape {
    uint8_t value;                 /* enum neap_value_type */
    const struct neap_type *type;  /* NEAP_T_STRUCT */
    const struct neap_shape *item; /* NEAP_T_ARRAY, NEAP_T_MAP */
};

/* Checked ranges of a number or length; absent parts are INT64_MIN / INT64_MAX. */
struct neap_range {
    int64_t min, max;
};

struct neap_field {
    const char *name;
    struct neap_shape shape;
    uint8_t zero;                 /* enum neap_zero */
    uint8_t list;                 /* enum neap_list_type */
    uint8_t patch;                /* NEAP_PATCH_* */
    uint8_t pb_type;              /* 0: the obvious one of the shape; else NEAP_PB_* (generated) */
    uint16_t flags;               /* NEAP_F_* */
    uint8_t pb_depth;             /* length of pb */
    uint8_t name_len;             /* 0: not filled in, or above 255 */
    const uint16_t *pb;           /* protobuf numbers: one, or a path through embedded messages */
    const char *merge_key;        /* strategic merge patch */
    const char *const *list_keys; /* list type map; NULL-terminated */
    const char *const *enum_values;   /* NULL-terminated, or NULL */
    const char *default_json;         /* canonical JSON of the fixed default, or NULL */
    const char *const *default_kinds; /* the default holds only in these kinds; NULL: in all */
    const struct neap_range *range;   /* numbers; NULL: none */
    const char *doc;                  /* our own description, or NULL */
};

struct neap_defaulting; /* core/kind/default.h */

struct neap_type {
    const char *name;                /* io.k8s.api.core.v1.PodSpec */
    const struct neap_field *fields; /* in canonical order: protobuf number, then name */
    uint16_t field_count;
    const uint16_t *by_name; /* indexes of fields sorted by name (bytes) */
    const uint16_t *by_pb;   /* indexes of fields that have protobuf numbers, sorted by them */
    uint16_t pb_count;
    const char *doc;
    /* union members etc. are checked in api/rest/validate */
    bool atomic;           /* server-side apply: x-kubernetes-map-type atomic */
    bool preserve_unknown; /* custom kinds */
    /* Defaults that depend on other fields; NULL: none. Called after the fixed ones of the type's
     * own fields, before those of what is below. */
    void (*defaulter)(struct neap_defaulting *d, yyjson_mut_val *object);
};

/* A column of `kubectl get`. Either a path ("spec.type", "metadata.creationTimestamp") or the name
 * of a cell function in api/rest/cells. */
struct neap_column {
    const char *name, *type, *format, *description;
    uint8_t priority; /* 0 always, 1 wide */
    const char *path; /* NULL: cell */
    const char *cell;
};

enum neap_verb_bits {
    NEAP_VERB_GET = 1,
    NEAP_VERB_LIST = 2,
    NEAP_VERB_WATCH = 4,
    NEAP_VERB_CREATE = 8,
    NEAP_VERB_UPDATE = 16,
    NEAP_VERB_PATCH = 32,
    NEAP_VERB_DELETE = 64,
    NEAP_VERB_DELETECOLLECTION = 128,
};

struct neap_subresource {
    const char *name;                      /* "status", "scale", "log" */
    const char *kind;                      /* discovery's kind */
    const char *body_group, *body_version; /* where they differ from the resource's, else NULL */
    const struct neap_type *type;          /* of the body, or NULL */
    uint16_t verbs;                        /* NEAP_VERB_* */
    const char *const *reset_on_write;     /* dotted paths that a write to it ignores */
    bool unconditional_update;
};

enum neap_name_style {
    NEAP_NAME_SUBDOMAIN,
    NEAP_NAME_SUBDOMAIN52,
    NEAP_NAME_LABEL,
    NEAP_NAME_SEGMENT,
    NEAP_NAME_IP,
    NEAP_NAME_SIGNER,
};

/* A selectable field beside metadata.name and metadata.namespace. Indexed fields are kept in the
 * object's head in this order. */
struct neap_selectable {
    const char *path; /* the selector's name: "spec.nodeName" */
    const char *
        from; /* path in the object when it differs ("spec.host" is spec.nodeName); "a|b": the first
                         that is not "" */
    const char *dflt; /* value when absent: "" mostly */
};

/* One resource of one version. Several kinds of one storage share <storage>. */
struct neap_kind {
    const char *group, *version, *kind, *list_kind;
    const char *resource, *singular;                    /* "pods", "pod" */
    const char *const *short_names, *const *categories; /* NULL-terminated */
    bool namespaced;
    uint16_t verbs;
    const struct neap_type *type;
    const struct neap_column *columns;
    uint16_t column_count;
    const struct neap_subresource *subresources;
    uint16_t subresource_count;
    const struct neap_selectable *selectable;
    uint16_t selectable_count;
    /* write rules (kubernetes-api/rules.tsv) */
    uint8_t name_style;
    bool create_on_update, unconditional_update, graceful_delete;
    bool delete_returns_object;
    bool delete_orphans_by_default;
    uint8_t generation_at_create;
    const char *const *generation_bumped_by; /* top-level paths */
    const char *status_at_create;            /* NULL kept; "" cleared; else JSON that replaces it */
    const char *const *reset_on_write; /* top-level paths ignored on a write to the resource */
    const char *const *reset_on_status_write;
    bool virtual_kind; /* never stored: reviews, bindings, componentstatuses */
    bool not_enforced; /* stored, but nothing acts on it: answers with a Warning */
    const char *not_enforced_note;
    int64_t ttl_s; /* records expire after (events: 3600); 0 never */
    /* Versions of one stored object: the storage kind and how to get from it to here. */
    const struct neap_kind *storage; /* itself when it is the storage version */
    const char *convert;             /* name of a conversion in core/kind/convert.c */
    unsigned index;                  /* of the storage kind among all: dense, for tables */
};

/* All built-in kinds, sorted by group, version, resource. thread: any; immutable. */
extern const struct neap_kind *const neap_kinds[];
extern const unsigned neap_kind_count;
/* <group> "" is core. NULL: none. */
const struct neap_kind *neap_kind_by_resource(const char *group, const char *version,
                                              const char *resource);
const struct neap_kind *neap_kind_by_gvk(const char *group, const char *version, const char *kind);
/* Any version of group/resource: its storage kind. */
const struct neap_kind *neap_kind_storage(const char *group, const char *resource);
const struct neap_subresource *neap_kind_subresource(const struct neap_kind *k, const char *name);
/* Types by published name: "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions". */
const struct neap_type *neap_type_by_name(const char *name);
const struct neap_field *neap_type_field(const struct neap_type *t, const char *name, size_t len);
/* "v1" or "apps/v1" into a static-free buffer of the caller (at least 128 bytes). */
const char *neap_kind_api_version(const struct neap_kind *k, char buf[128]);

/* ---- decoding (core/kind/decode.c) ------------------------------------------------------- */

enum neap_field_validation { NEAP_FV_IGNORE, NEAP_FV_WARN, NEAP_FV_STRICT };

/* Makes <root> what the type says, in place: values of a wrong type are NEAP_EBADREQUEST with the
 * real server's words ("json: cannot unmarshal ..."), unknown fields are dropped and reported, zero
 * values follow zero.tsv, times, quantities and IPs are normalised. */
int neap_kind_decode(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct neap_type *type,
                     enum neap_field_validation fv, struct neap_decode_report *report,
                     struct neap_err *err);
/* Fills the fixed defaults of field-defaults.tsv, and the structural ones of derived-defaults.tsv. */
void neap_kind_default(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct neap_kind *kind);
/* Required, enums, ranges, list map keys unique, immutable fields when <old> is not NULL: one cause a
 * finding in <err>. 0 or NEAP_EINVALID. */
int neap_kind_validate(yyjson_mut_val *root, yyjson_mut_val *old, const struct neap_kind *kind,
                       struct neap_err *err);
/* Writes the canonical form (design.md section 4) of a decoded object. resourceVersion and
 * whatever is in <skip_status> are not special: the caller removed what must not be there. */
void neap_kind_write(struct neap_buf *out, yyjson_mut_val *root, const struct neap_type *type);

/* Converts a stored object to the version <to> (kind->convert) in place, apiVersion included; and
 * back to its storage version. */
int neap_kind_convert(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct neap_kind *from,
                      const struct neap_kind *to, struct neap_err *err);

/* Kubernetes' protobuf (application/vnd.kubernetes.protobuf): the envelope and a message of <type> become
 * a tree, as if it had come as JSON; neap_kind_decode follows. errors: NEAP_EBADREQUEST, NEAP_ETOOLARGE. */
int neap_protobuf_parse(struct neap_arena *arena, const void *data, size_t len,
                        const struct neap_type *type, yyjson_mut_doc **ret, struct neap_err *err);

/* ---- strategic merge patch (the other patches: neap/json.h); <target> is changed in place */
int neap_patch_strategic(yyjson_mut_doc *doc, yyjson_mut_val **target, yyjson_mut_val *patch,
                         const struct neap_type *type, struct neap_err *err);

/* ---- quantities --------------------------------------------------------------------------- */
/* Value in thousandths, saturating; false: not a quantity. "100m" is 100, "1Gi" 1073741824000. */
bool neap_quantity_milli(const char *s, size_t len, int64_t *ret);
/* Whole units rounded up. */
bool neap_quantity_value(const char *s, size_t len, int64_t *ret);
/* Kubernetes' canonical text; false: not a quantity. */
bool neap_quantity_format(struct neap_buf *out, const char *s, size_t len);

#endif
