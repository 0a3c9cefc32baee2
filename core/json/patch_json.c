/* JSON patch (RFC 6902) with JSON pointers (RFC 6901), as Kubernetes applies it: `remove` of an absent
 * key fails, `add` without a value adds null, a list index may be "-". */
#include "json_internal.h"

enum { PATCH_OPS_MAX = 10000, POINTER_TOKEN_MAX = 4096 };

struct patch {
    yyjson_mut_doc *doc;
    yyjson_mut_val **target;
    size_t copied, copy_max; /* bytes that copy operations made: they could double each time */
    struct neap_err *err;
};

/* Every failure to apply looks the same to a client; the cause is in the log of the caller. */
static int refuse(struct patch *p, const char *why)
{
    neap_err_set(p->err, NEAP_EINVALID,
                 "the server rejected our request due to an error in our request");
    (void)why;
    return NEAP_EINVALID;
}

/* Reads one token "/a~1b" behind *at; false: it is malformed or too long. */
static bool next_token(const char **at, char *token, size_t *len)
{
    const char *s = *at;
    size_t n = 0;
    if (*s != '/')
        return false;
    for (s++; *s && *s != '/'; s++) {
        char c = *s;
        if (c == '~') {
            if (s[1] != '0' && s[1] != '1')
                return false;
            c = *++s == '0' ? '~' : '/';
        }
        if (n + 1 >= POINTER_TOKEN_MAX)
            return false;
        token[n++] = c;
    }
    token[n] = '\0';
    *len = n;
    *at = s;
    return true;
}

/* Index into a list; "-" is <size>. Negative ones count from the end, as upstream's library does. */
static bool list_index(const char *token, size_t size, bool append, size_t *ret)
{
    uint64_t v;
    if (append && strcmp(token, "-") == 0) {
        *ret = size;
        return true;
    }
    if (token[0] == '-') {
        if (!neap_parse_u64(token + 1, size, &v) || v == 0)
            return false;
        *ret = size - (size_t)v;
        return true;
    }
    if (!neap_parse_u64(token, SIZE_MAX, &v) || v >= size + append)
        return false;
    *ret = (size_t)v;
    return true;
}

static yyjson_mut_val *child(yyjson_mut_val *v, const char *token, size_t len)
{
    size_t i;
    if (yyjson_mut_is_obj(v))
        return yyjson_mut_obj_getn(v, token, len);
    if (yyjson_mut_is_arr(v) && list_index(token, yyjson_mut_arr_size(v), false, &i))
        return yyjson_mut_arr_get(v, i);
    return NULL;
}

/* The container that holds the pointer's last token; NULL: none. The root has no container. */
static yyjson_mut_val *container(struct patch *p, const char *pointer, char *token, size_t *len)
{
    yyjson_mut_val *v = *p->target;
    for (;;) {
        if (!next_token(&pointer, token, len))
            return NULL;
        if (!*pointer)
            return yyjson_mut_is_ctn(v) ? v : NULL;
        v = child(v, token, *len);
        if (!v)
            return NULL;
    }
}

static yyjson_mut_val *lookup(struct patch *p, const char *pointer)
{
    char token[POINTER_TOKEN_MAX];
    size_t len;
    if (!*pointer)
        return *p->target;
    yyjson_mut_val *c = container(p, pointer, token, &len);
    return c ? child(c, token, len) : NULL;
}

static int op_add(struct patch *p, const char *pointer, yyjson_mut_val *value, bool replace)
{
    char token[POINTER_TOKEN_MAX];
    size_t len, i;
    if (!*pointer) {
        *p->target = value;
        return replace ? 0 : refuse(p, "the whole can only be replaced");
    }
    yyjson_mut_val *c = container(p, pointer, token, &len);
    if (!c)
        return refuse(p, "missing parent");
    if (yyjson_mut_is_obj(c)) { /* replacing an absent key adds it: so does upstream's library */
        yyjson_mut_obj_put(c, yyjson_mut_strncpy(p->doc, token, len), value);
        return 0;
    }
    if (!list_index(token, yyjson_mut_arr_size(c), !replace, &i))
        return refuse(p, "bad index");
    if (replace)
        yyjson_mut_arr_replace(c, i, value);
    else
        yyjson_mut_arr_insert(c, value, i);
    return 0;
}

static int op_remove(struct patch *p, const char *pointer, yyjson_mut_val **ret)
{
    char token[POINTER_TOKEN_MAX];
    size_t len, i;
    yyjson_mut_val *c = *pointer ? container(p, pointer, token, &len) : NULL;
    yyjson_mut_val *v = c ? child(c, token, len) : NULL;
    if (!v)
        return refuse(p, "nothing there");
    if (yyjson_mut_is_obj(c)) {
        yyjson_mut_obj_remove_keyn(c, token, len);
    } else {
        list_index(token, yyjson_mut_arr_size(c), false, &i);
        yyjson_mut_arr_remove(c, i);
    }
    if (ret)
        *ret = v;
    return 0;
}

/* Moves and copies can nest without end, and what walks trees recurses. */
static int too_deep(struct patch *p)
{
    return neap_err_set(p->err, NEAP_EINVALID, "the patched document is nested deeper than %d",
                        NEAP_JSON_DEPTH_MAX);
}

/* What is absent from a map is null to upstream's library, which reads it without asking. */
static yyjson_mut_val *absent_is_null(struct patch *p, const char *pointer)
{
    char token[POINTER_TOKEN_MAX];
    size_t len;
    yyjson_mut_val *v = lookup(p, pointer);
    if (v || !*pointer)
        return v;
    return yyjson_mut_is_obj(container(p, pointer, token, &len)) ? yyjson_mut_null(p->doc) : NULL;
}

static int op_copy(struct patch *p, const char *from, const char *to)
{
    yyjson_mut_val *v = absent_is_null(p, from);
    if (!v)
        return refuse(p, "nothing to copy");
    if (neap_json_deeper_than(v, NEAP_JSON_DEPTH_MAX))
        return too_deep(p);
    struct neap_buf size = {.max = p->copy_max + 1};
    neap_json_write_sorted(&size, v);
    p->copied += size.len + size.overflow;
    bool over = size.overflow || p->copied > p->copy_max;
    neap_buf_done(&size);
    if (over)
        return neap_err_set(p->err, NEAP_ETOOLARGE,
                            "Unable to complete the JSON patch: copies exceed %zu bytes",
                            p->copy_max);
    return op_add(p, to, yyjson_mut_val_mut_copy(p->doc, v), false);
}

static int apply(struct patch *p, yyjson_mut_val *op)
{
    const char *name = neap_json_str_at(op, "op"), *path = neap_json_str_at(op, "path");
    const char *from = neap_json_str_at(op, "from");
    yyjson_mut_val *value = yyjson_mut_obj_get(op, "value"), *moved;
    if (!name || !path)
        return refuse(p, "no op or path");
    if (strcmp(name, "test") == 0) {
        yyjson_mut_val *v = absent_is_null(p, path);
        if (!v || !(value ? neap_json_equal(v, value) : yyjson_mut_is_null(v)))
            return refuse(p, "test failed");
        return 0;
    }
    if (strcmp(name, "add") == 0 || strcmp(name, "replace") == 0) {
        value = value ? yyjson_mut_val_mut_copy(p->doc, value) : yyjson_mut_null(p->doc);
        return op_add(p, path, value, name[0] == 'r');
    }
    if (strcmp(name, "remove") == 0)
        return op_remove(p, path, NULL);
    if (strcmp(name, "copy") == 0 && from)
        return op_copy(p, from, path);
    if (strcmp(name, "move") == 0 && from) {
        int rc = op_remove(p, from, &moved);
        return rc ? rc : op_add(p, path, moved, false);
    }
    return refuse(p, "unknown op");
}

/* An operation is an object, its names are strings: Go decodes the list before anything is applied. */
static int check_operation(yyjson_mut_val *op, struct neap_err *err)
{
    static const char *const names[] = {"op", "path", "from"};
    if (!yyjson_mut_is_obj(op) && !yyjson_mut_is_null(op))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "error decoding patch: json: cannot unmarshal %s into Go value of type "
                            "handlers.jsonPatchOp",
                            neap_json_type_name(op));
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        yyjson_mut_val *v = yyjson_mut_obj_get(op, names[i]);
        if (v && !yyjson_mut_is_str(v) && !yyjson_mut_is_null(v))
            return neap_err_set(err, NEAP_EBADREQUEST,
                                "error decoding patch: json: cannot unmarshal %s into Go struct "
                                "field jsonPatchOp.%s of type string",
                                neap_json_type_name(v), names[i]);
    }
    return 0;
}

int neap_patch_json(yyjson_mut_doc *doc, yyjson_mut_val **target, yyjson_mut_val *patch,
                    size_t copy_max, struct neap_err *err)
{
    struct patch p = {.doc = doc, .target = target, .copy_max = copy_max, .err = err};
    if (yyjson_mut_is_null(patch)) /* no operations */
        return 0;
    if (!yyjson_mut_is_arr(patch))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "error decoding patch: json: cannot unmarshal %s into Go value of type "
                            "[]handlers.jsonPatchOp",
                            neap_json_type_name(patch));
    if (yyjson_mut_arr_size(patch) > PATCH_OPS_MAX)
        return neap_err_set(err, NEAP_ETOOLARGE,
                            "Request entity too large: The allowed maximum operations in a JSON "
                            "patch is %d, got %zu",
                            PATCH_OPS_MAX, yyjson_mut_arr_size(patch));
    int rc = 0;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(patch);
    for (yyjson_mut_val *op; !rc && (op = yyjson_mut_arr_iter_next(&it));)
        rc = check_operation(op, err);
    if (rc)
        return rc;
    it = yyjson_mut_arr_iter_with(patch);
    for (yyjson_mut_val *op; (op = yyjson_mut_arr_iter_next(&it));) {
        rc = apply(&p, op);
        if (rc)
            return rc;
    }
    return neap_json_deeper_than(*target, NEAP_JSON_DEPTH_MAX) ? too_deep(&p) : 0;
}
