/* Reading an object's head out of its text, once, when it is made. The text is parsed in place in a
 * copy, so that a string's address tells its offset; small objects need no heap for it. */
#include "core/object/object_internal.h"

#include <neap/clock.h>

enum { STACK_POOL = 64 * 1024 };

/* The copy and the parser's memory. */
struct scratch {
    char *copy;
    yyjson_doc *doc;
    void *heap;
};

static int not_object(struct neap_err *err, const char *what)
{
    return neap_err_set(err, NEAP_EINTERNAL, "stored object: %s", what);
}

static struct neap_str *intern_val(yyjson_val *v)
{
    return yyjson_is_str(v) ? neap_str_intern(yyjson_get_str(v), yyjson_get_len(v))
                            : neap_str_intern("", 0);
}

static void free_extract(struct neap_extract *x)
{
    neap_str_unref(x->head.key);
    neap_str_unref(x->head.namespace_);
    neap_str_unref(x->head.uid);
    for (unsigned i = 0; i < x->head.owner_count; i++)
        neap_owner_unref(&x->owners[i]);
    for (unsigned i = 0; i < x->head.label_count; i++) {
        neap_str_unref(x->labels[i].key);
        neap_str_unref(x->labels[i].value);
    }
    for (unsigned i = 0; i < x->head.value_count; i++)
        neap_str_unref(x->values[i]);
}

static int by_label_key(const void *a, const void *b)
{
    const struct neap_label *x = a, *y = b;
    return strcmp(x->key->s, y->key->s);
}

static int read_labels(struct neap_extract *x, yyjson_val *labels, struct neap_err *err)
{
    if (!yyjson_is_obj(labels))
        return 0;
    size_t n = yyjson_obj_size(labels), i, max;
    if (n > NEAP_OBJECT_LABELS_MAX)
        return not_object(err, "too many labels");
    x->labels = neap_malloc(n * sizeof(*x->labels) + 1);
    yyjson_val *k, *v;
    yyjson_obj_foreach(labels, i, max, k, v)
    {
        x->labels[x->head.label_count++] = (struct neap_label){intern_val(k), intern_val(v)};
    }
    qsort(x->labels, n, sizeof(*x->labels), by_label_key); /* canonical text is sorted: cheap */
    return 0;
}

static int read_owners(struct neap_extract *x, yyjson_val *owners, struct neap_err *err)
{
    size_t n = yyjson_arr_size(owners), i, max;
    if (!n)
        return 0;
    if (n > NEAP_OBJECT_OWNERS_MAX)
        return not_object(err, "too many owners");
    x->owners = neap_malloc(n * sizeof(*x->owners));
    yyjson_val *v;
    yyjson_arr_foreach(owners, i, max, v)
    {
        x->owners[x->head.owner_count++] = (struct neap_owner){
            .uid = intern_val(yyjson_obj_get(v, "uid"))->s,
            .api_version = intern_val(yyjson_obj_get(v, "apiVersion"))->s,
            .kind = intern_val(yyjson_obj_get(v, "kind"))->s,
            .name = intern_val(yyjson_obj_get(v, "name"))->s,
            .controller = yyjson_get_bool(yyjson_obj_get(v, "controller")),
            .block_owner_deletion = yyjson_get_bool(yyjson_obj_get(v, "blockOwnerDeletion")),
        };
    }
    return 0;
}

static yyjson_val *value_at(yyjson_val *v, const char *path, const char *end)
{
    while (v && path < end) {
        const char *dot = memchr(path, '.', (size_t)(end - path));
        size_t n = (size_t)((dot ? dot : end) - path);
        v = yyjson_obj_getn(v, path, n);
        path += n + (dot != NULL);
    }
    return v;
}

/* The first of "a.b|c" that is there and not "". */
static yyjson_val *first_at(yyjson_val *root, const char *paths)
{
    for (;;) {
        const char *end = strchrnul(paths, '|');
        yyjson_val *v = value_at(root, paths, end);
        if (!*end || (v && !yyjson_equals_str(v, "")))
            return v;
        paths = end + 1;
    }
}

/* Scalars as the selector writes them. */
static struct neap_str *selectable_value(yyjson_val *root, const struct neap_selectable *sel)
{
    yyjson_val *v = first_at(root, sel->from ? sel->from : sel->path);
    char text[32];
    if (yyjson_is_str(v) && yyjson_get_len(v))
        return intern_val(v);
    if (yyjson_is_bool(v))
        return yyjson_get_bool(v) ? neap_str_intern("true", 4) : neap_str_intern("false", 5);
    if (yyjson_is_int(v)) {
        int n = yyjson_is_uint(v)
                    ? snprintf(text, sizeof(text), "%llu", (unsigned long long)yyjson_get_uint(v))
                    : snprintf(text, sizeof(text), "%lld", (long long)yyjson_get_sint(v));
        return neap_str_intern(text, (size_t)n);
    }
    const char *dflt = sel->dflt ? sel->dflt : "";
    return neap_str_intern(dflt, strlen(dflt));
}

static void read_values(struct neap_extract *x, yyjson_val *root, const struct neap_kind *kind)
{
    unsigned n = kind->selectable_count;
    if (n > NEAP_OBJECT_VALUES_MAX)
        n = NEAP_OBJECT_VALUES_MAX;
    x->values = neap_malloc(n * sizeof(*x->values) + 1);
    for (unsigned i = 0; i < n; i++)
        x->values[x->head.value_count++] = selectable_value(root, &kind->selectable[i]);
}

static int64_t time_of(yyjson_val *v)
{
    int64_t ns = 0;
    if (yyjson_is_str(v))
        neap_time_parse(yyjson_get_str(v), yyjson_get_len(v), &ns);
    return ns;
}

static int read_key(struct neap_extract *x, yyjson_val *meta, const struct neap_kind *kind,
                    struct neap_err *err)
{
    const char *name = yyjson_get_str(yyjson_obj_get(meta, "name"));
    const char *ns = yyjson_get_str(yyjson_obj_get(meta, "namespace"));
    if (!name || !*name || strchr(name, '/'))
        return not_object(err, "no metadata.name");
    if (kind->namespaced ? !ns || !*ns || strchr(ns, '/') != NULL : ns && *ns)
        return not_object(err, kind->namespaced ? "no metadata.namespace"
                                                : "metadata.namespace in a cluster-scoped object");
    NEAP_CLEANUP_BUF struct neap_buf key = NEAP_BUF_INIT;
    neap_object_key_make(&key, kind, ns, name);
    if (key.len > NEAP_OBJECT_KEY_MAX)
        return not_object(err, "key too long");
    x->head.name_at = (uint16_t)(key.len - strlen(name));
    x->head.key = neap_str_new(key.data, key.len);
    x->head.namespace_ = neap_str_intern(ns ? ns : "", ns ? strlen(ns) : 0);
    return 0;
}

/* The resourceVersion goes behind the uid: <json> must show its closing quote there. */
static int read_splice(struct neap_extract *x, yyjson_val *meta, const struct scratch *s,
                       const char *json, struct neap_err *err)
{
    yyjson_val *uid = yyjson_obj_get(meta, "uid");
    if (!yyjson_is_str(uid) || !yyjson_get_len(uid))
        return not_object(err, "no metadata.uid");
    size_t end = (size_t)(yyjson_get_str(uid) - s->copy) + yyjson_get_len(uid);
    if (json[end] != '"')
        return not_object(err, "metadata.uid has escapes");
    if (yyjson_obj_get(meta, "resourceVersion"))
        return not_object(err, "metadata.resourceVersion in the stored form");
    x->head.splice = (uint32_t)end + 1;
    /* uids are unique: interning one costs a table entry, but owners then share the text */
    x->head.uid = intern_val(uid);
    return 0;
}

/* {"kind":K,"apiVersion":V, comes first and names this kind. */
static int read_front(struct neap_extract *x, yyjson_val *root, const struct scratch *s,
                      const struct neap_kind *kind, struct neap_err *err)
{
    char want[256];
    if (kind->group && *kind->group)
        snprintf(want, sizeof(want), "%s/%s", kind->group, kind->version);
    else
        snprintf(want, sizeof(want), "%s", kind->version);
    static const char *const keys[] = {"kind", "apiVersion"};
    const char *values[] = {kind->kind, want};
    yyjson_obj_iter it = yyjson_obj_iter_with(root);
    for (unsigned i = 0; i < 2; i++) {
        yyjson_val *k = yyjson_obj_iter_next(&it);
        yyjson_val *v = k ? yyjson_obj_iter_get_val(k) : NULL;
        if (!k || !yyjson_equals_str(k, keys[i]) || !yyjson_equals_str(v, values[i]))
            return neap_err_set(err, NEAP_EINTERNAL,
                                "stored object: does not start with kind %s and apiVersion %s",
                                kind->kind, want);
    }
    yyjson_val *third = yyjson_obj_iter_next(&it);
    if (!third)
        return not_object(err, "no metadata");
    size_t at = (size_t)(yyjson_get_str(third) - s->copy) - 1;
    if (at > UINT16_MAX)
        return not_object(err, "metadata is too far away");
    x->head.head_len = (uint16_t)at;
    return 0;
}

static int read_head(struct neap_extract *x, const struct scratch *s, const char *json,
                     const struct neap_kind *kind, struct neap_err *err)
{
    yyjson_val *root = yyjson_doc_get_root(s->doc), *meta = yyjson_obj_get(root, "metadata");
    if (!yyjson_is_obj(meta))
        return not_object(err, "no metadata");
    int code = read_front(x, root, s, kind, err);
    if (!code)
        code = read_key(x, meta, kind, err);
    if (!code)
        code = read_splice(x, meta, s, json, err);
    if (!code)
        code = read_labels(x, yyjson_obj_get(meta, "labels"), err);
    if (!code)
        code = read_owners(x, yyjson_obj_get(meta, "ownerReferences"), err);
    if (code)
        return code;
    read_values(x, root, kind);
    x->head.kind = kind;
    x->head.generation = yyjson_get_sint(yyjson_obj_get(meta, "generation"));
    x->head.created = time_of(yyjson_obj_get(meta, "creationTimestamp"));
    x->head.deleting = yyjson_is_str(yyjson_obj_get(meta, "deletionTimestamp"));
    x->head.finalizers = yyjson_arr_size(yyjson_obj_get(meta, "finalizers")) > 0;
    return 0;
}

static int parse(struct scratch *s, const char *json, size_t len, void *stack, size_t stack_len,
                 struct neap_err *err)
{
    size_t copy_len = len + YYJSON_PADDING_SIZE;
    size_t need = copy_len + yyjson_read_max_memory_usage(len, YYJSON_READ_INSITU) + 64;
    char *base = need <= stack_len ? stack : (s->heap = neap_malloc(need));
    s->copy = base;
    memcpy(s->copy, json, len);
    memset(s->copy + len, 0, YYJSON_PADDING_SIZE);
    size_t at = (copy_len + 15) & ~(size_t)15;
    yyjson_alc alc;
    yyjson_alc_pool_init(&alc, base + at, need - at);
    yyjson_read_err bad;
    s->doc = yyjson_read_opts(s->copy, len, YYJSON_READ_INSITU, &alc, &bad);
    if (!s->doc)
        return neap_err_set(err, NEAP_EINTERNAL, "stored object: %s at byte %zu", bad.msg, bad.pos);
    return 0;
}

int neap_object_new(const struct neap_kind *kind, const char *json, size_t len, uint64_t revision,
                    int64_t expires_wall_ns, struct neap_object **ret, struct neap_err *err)
{
    char stack[STACK_POOL] __attribute__((aligned(16)));
    struct scratch s = {0};
    struct neap_extract x = {0};
    if (len > NEAP_OBJECT_BYTES_MAX)
        return not_object(err, "too large");
    int code = parse(&s, json, len, stack, sizeof(stack), err);
    if (!code)
        code = read_head(&x, &s, json, kind, err);
    if (code) {
        free_extract(&x);
    } else {
        x.head.expires = expires_wall_ns;
        *ret = neap_object_make(&x, json, len, revision);
    }
    free(x.owners);
    free(x.labels);
    free(x.values);
    free(s.heap); /* the document lives in the pool */
    return code;
}
