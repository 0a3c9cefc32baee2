/* Shared inside core/apply. Allocation failures make a set or list empty; who calls from outside looks at
 * neap_arena_exhausted() once, at the end. */
#ifndef NEAP_CORE_APPLY_INTERNAL_H
#define NEAP_CORE_APPLY_INTERNAL_H

#include <neap/apply.h>

/* ---- path elements (element.c) ---- */

enum scalar_type { SCALAR_FLOAT, SCALAR_INT, SCALAR_STRING, SCALAR_BOOL, SCALAR_NULL };

struct scalar {
    uint8_t type; /* enum scalar_type: also the order between types */
    uint32_t len;
    union {
        double f;
        int64_t i;
        const char *s;
        bool b;
    };
};

struct key_field {
    const char *name;
    uint32_t len;
    struct scalar value;
};

/* In the order that Kubernetes sorts them. */
enum element_kind { ELEMENT_FIELD, ELEMENT_KEY, ELEMENT_VALUE, ELEMENT_INDEX };

struct element {
    uint8_t kind;
    uint8_t key_count; /* ELEMENT_KEY */
    uint32_t len;      /* ELEMENT_FIELD */
    union {
        const char *name;
        const struct key_field *keys; /* sorted by name */
        const struct scalar *value;
        int64_t index;
    };
};

enum { ELEMENT_KEYS_MAX = 16 };

static inline struct element element_field(const char *name, size_t len)
{
    return (struct element){.kind = ELEMENT_FIELD, .name = name, .len = (uint32_t)len};
}
int element_compare(const struct element *a, const struct element *b);
/* False: a list or an object. */
bool scalar_from(yyjson_mut_val *v, struct scalar *ret);
/* 1: read; 0: of a kind that is not known; -1: malformed. */
int element_parse(struct neap_arena *arena, const char *s, size_t len, struct element *ret);
/* As a key of FieldsV1: f:name, k:{"name":"x"}. */
void element_write(struct neap_buf *out, const struct element *e);
/* As conflicts name it: .name, [name="x"]. */
void element_print(struct neap_buf *out, const struct element *e);

/* ---- sets (set.c) ---- */

struct node {
    struct element at;
    bool member;
    struct neap_fields *below; /* NULL: nothing; never empty */
};

struct neap_fields {
    uint32_t count, cap;
    struct node *nodes; /* sorted, once fields_sort was called */
};

/* Appends; nothing when there is nothing to say. *set is made when needed. */
void fields_push(struct neap_arena *a, struct neap_fields **set, const struct element *at,
                 bool member, struct neap_fields *below);
/* Sorts what was pushed, joins equal elements. */
void fields_sort(struct neap_arena *a, struct neap_fields *set);
const struct node *fields_find(const struct neap_fields *set, const struct element *at);
/* A path of names: "metadata.labels". */
void fields_add_path(struct neap_arena *a, struct neap_fields **set, const char *dotted);
/* Calls for every path, members of a level before what is below them. */
void fields_each(const struct neap_fields *set, void (*each)(void *ctx, const char *path),
                 void *ctx);

/* ---- schema (schema.c) ---- */

enum schema_what { SCHEMA_SCALAR, SCHEMA_STRUCT, SCHEMA_MAP, SCHEMA_LIST, SCHEMA_ANY };

struct schema {
    uint8_t what;
    bool atomic;
    bool raw;       /* RawExtension: its fields are known to appliers only, see compare.c */
    uint8_t scalar; /* enum neap_value_type, SCHEMA_SCALAR */
    const struct neap_type *type;  /* SCHEMA_STRUCT */
    const struct neap_shape *item; /* SCHEMA_MAP, SCHEMA_LIST; NULL: anything */
    const char *const *keys;       /* SCHEMA_LIST that is a map; NULL: a set */
};

struct schema schema_of_type(const struct neap_type *type);
struct schema schema_of_field(const struct neap_field *f);
struct schema schema_of_item(const struct schema *s);
/* SCHEMA_ANY becomes what the value is (<other>: when <v> says nothing). */
struct schema schema_resolve(const struct schema *s, yyjson_mut_val *v, yyjson_mut_val *other);

/* A key of an object or of two. */
struct pair {
    const char *name;
    size_t len;
    yyjson_mut_val *l, *r; /* NULL: absent */
    struct schema schema;
    bool declared; /* a field of the type */
};
enum { PAIRS_FEW = 16 };
struct pairs {
    struct pair *at, few[PAIRS_FEW];
    size_t count, cap;
};
/* Keys of <l> and <r> (either may be NULL or no object), sorted. <fill>: fields that are always printed
 * are there. Ended by pairs_done. */
void pairs_init(struct pairs *p, const struct schema *s, yyjson_mut_val *l, yyjson_mut_val *r,
                bool fill);
void pairs_done(struct pairs *p);

/* The items of a list that is a set or a map. */
struct item {
    struct element at;
    yyjson_mut_val *value;
    size_t index;
};
struct items {
    struct item *at;     /* in the list's order */
    struct item *sorted; /* by element, then by order */
    size_t count;
};
/* errors: NEAP_EBADREQUEST with the words of the real server, *ret_index is the item. */
int items_init(struct items *x, struct neap_arena *arena, const struct schema *s,
               yyjson_mut_val *list, size_t *ret_index, struct neap_err *err);
/* The run of equal items in sorted order: its start; *ret_count how many. NULL: none. */
const struct item *items_find(const struct items *x, const struct element *at, size_t *ret_count);

/* ---- the rest ---- */

/* Applied configuration against its type, with the real server's words (validate.c). */
int apply_validate(struct neap_arena *arena, const struct neap_type *type, yyjson_mut_val *config,
                   struct neap_err *err);
/* A new tree in <doc> (merge.c). */
int apply_merge(struct neap_arena *arena, yyjson_mut_doc *doc, const struct neap_type *type,
                yyjson_mut_val *live, yyjson_mut_val *config, yyjson_mut_val **ret,
                struct neap_err *err);
/* In place (remove.c). */
void apply_remove(struct neap_arena *arena, const struct neap_type *type, yyjson_mut_val *value,
                  const struct neap_fields *set);
/* Fields of the type that have something below them become members (remove.c). */
struct neap_fields *apply_named(struct neap_arena *arena, const struct neap_type *type,
                                struct neap_fields *set);
/* What was owned below a field that is atomic now is the field itself (remove.c). */
struct neap_fields *apply_reconcile(struct neap_arena *arena, const struct neap_type *type,
                                    struct neap_fields *set);
/* neap_apply_compare; without <fill> what a tree leaves out is not there. */
int apply_compare(struct neap_arena *arena, const struct neap_type *type, yyjson_mut_val *old,
                  yyjson_mut_val *new_, bool fill, struct neap_comparison *ret,
                  struct neap_err *err);
/* Equal as JSON values; numbers by value. */
bool apply_equal(yyjson_mut_val *a, yyjson_mut_val *b);

/* ---- managers (managed.c) ---- */

struct manager {
    const char *name, *api_version, *subresource; /* subresource "" when none */
    bool applied;                                 /* Apply; else Update */
    const char *time;                             /* NULL: none */
    int64_t seconds;
    struct neap_fields *set;
    struct neap_fields *lost; /* while an update is computed: what goes to others */
    yyjson_mut_val *entry;    /* what it was read from while nothing has changed, else NULL */
};
struct managers {
    struct manager *at;
    size_t count, cap;
};
/* errors: NEAP_EBADREQUEST (an operation, version or set that is none), NEAP_ETOOLARGE. */
int managers_parse(struct neap_arena *arena, yyjson_mut_val *list, struct managers *ret,
                   struct neap_err *err);
struct manager *managers_find(struct managers *m, const struct manager *like);
struct manager *managers_add(struct neap_arena *arena, struct managers *m,
                             const struct manager *like);
void managers_remove(struct managers *m, struct manager *which);
void manager_set(struct manager *m, struct neap_fields *set);
void managers_cap(struct neap_arena *arena, struct managers *m);
/* The value of metadata.managedFields; NULL: none. */
yyjson_mut_val *managers_value(struct neap_arena *arena, struct managers *m, yyjson_mut_doc *doc);
/* For messages: "name" with subresource "status" using v1. */
void manager_print(struct neap_buf *out, const struct manager *m);
int manager_order(const struct manager *a, const struct manager *b);

/* ---- writes (update.c) ---- */

struct update {
    struct neap_arena *arena;
    yyjson_mut_doc *doc;
    const struct neap_apply_write *w;
    char version[128];         /* of the request */
    struct neap_fields *reset; /* fields that a write to the (sub)resource ignores */
    struct managers managers;
    bool exact; /* objects are compared as they are written: see apply_compare */
    struct neap_err *err;
};
void update_init(struct update *u, struct neap_arena *arena, yyjson_mut_doc *doc,
                 const struct neap_apply_write *w, struct neap_err *err);
/* Takes what changed between the trees from every manager but <self>. Without <force> a conflict about
 * more than <allowed> is NEAP_ECONFLICT. */
int update_others(struct update *u, yyjson_mut_val *live, yyjson_mut_val *new_,
                  const struct manager *self, bool force, struct neap_fields *allowed,
                  struct neap_comparison *ret);
/* The whole of a create, update or patch by <manager_name>, on u->managers. */
int update_run(struct update *u, yyjson_mut_val *live, yyjson_mut_val *new_,
               const char *manager_name);
/* Without the fields that nobody owns: names, uid, ... */
struct neap_fields *update_strip(struct neap_arena *arena, struct neap_fields *set);
void update_reconcile(struct update *u);
const char *update_now(struct update *u);
/* Sets or removes metadata.managedFields. */
void update_store(struct update *u, yyjson_mut_val *object);

#endif
