/* Strategic merge patch: merge keys and strategies come from the type.
 * Source: Kubernetes community documentation, "Strategic Merge Patch"; orders and corner cases were asked
 * of the real server. */
#include "kind_internal.h"

struct smp {
    yyjson_mut_doc *doc;
    struct neap_err *err;
};

static const char DIRECTIVE[] = "$patch", RETAIN[] = "$retainKeys";
static const char DELETE_LIST[] = "$deleteFromPrimitiveList/", ORDER[] = "$setElementOrder/";

static int merge_map(struct smp *s, yyjson_mut_val *original, yyjson_mut_val *patch,
                     const struct neap_type *type, yyjson_mut_val **ret);

static int bad(struct smp *s, const char *text)
{
    return neap_err_set(s->err, NEAP_EBADREQUEST, "%s", text);
}

/* The real server answers a patch that makes no sense with 500, and shows the parts as Go prints them. */
static int senseless(struct smp *s, const char *before, yyjson_mut_val *shown, const char *after)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    neap_json_write_go(&b, shown);
    return neap_err_set(s->err, NEAP_EPLAIN, "%s%s%s", before, b.data ? b.data : "", after);
}

static int unknown_directive(struct smp *s, yyjson_mut_val *directive, yyjson_mut_val *map)
{
    NEAP_CLEANUP_BUF struct neap_buf text = NEAP_BUF_INIT, b = NEAP_BUF_INIT;
    neap_json_write_go(&text, directive);
    bool number = yyjson_mut_is_num(directive), flag = yyjson_mut_is_bool(directive);
    const char *type = number ? yyjson_mut_is_int(directive) ? "int64" : "float64" : "bool";
    neap_buf_printf(&b,
                    number || flag ? "unknown patch type: %%!s(%s=%s) in map: "
                                   : "unknown patch type: %s%s in map: ",
                    number || flag ? type : "", text.data ? text.data : "");
    return senseless(s, b.data, map, "");
}

static const struct neap_type *shape_struct(const struct neap_shape *shape)
{
    return shape && shape->value == NEAP_T_STRUCT ? shape->type : NULL;
}

/* ---- lists: orders --------------------------------------------------------------------------- */

static bool same_item(yyjson_mut_val *a, yyjson_mut_val *b, const char *merge_key)
{
    if (!merge_key)
        return neap_json_equal(a, b);
    yyjson_mut_val *x = yyjson_mut_obj_get(a, merge_key), *y = yyjson_mut_obj_get(b, merge_key);
    return x && y && neap_json_equal(x, y);
}

static ssize_t index_of(yyjson_mut_val *list, yyjson_mut_val *item, const char *merge_key)
{
    ssize_t i = 0;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)); i++)
        if (same_item(e, item, merge_key))
            return i;
    return -1;
}

struct ranked {
    yyjson_mut_val *item;
    ssize_t rank;
};

static int by_rank(const void *a, const void *b)
{
    ssize_t x = ((const struct ranked *)a)->rank, y = ((const struct ranked *)b)->rank;
    return (x > y) - (x < y);
}

/* Items of <merged> that <patch_order> names take its order; the others keep the server's; the two are
 * woven so that an item known to the server stays before what stood behind it. */
static yyjson_mut_val *order(struct smp *s, yyjson_mut_val *merged, yyjson_mut_val *patch_order,
                             yyjson_mut_val *server_order, const char *merge_key)
{
    size_t n = yyjson_mut_arr_size(merged), np = 0, ns = 0;
    struct ranked *p = neap_malloc(2 * (n + 1) * sizeof(*p)), *r = p + n + 1;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(merged);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        ssize_t at = index_of(patch_order, e, merge_key);
        if (at >= 0)
            p[np++] = (struct ranked){e, at};
        else
            r[ns++] = (struct ranked){e, index_of(server_order, e, merge_key)};
    }
    qsort(p, np, sizeof(*p), by_rank);
    qsort(r, ns, sizeof(*r), by_rank);
    yyjson_mut_val *out = yyjson_mut_arr(s->doc);
    for (size_t i = 0, j = 0; i < ns || j < np;) {
        bool server = j >= np;
        if (i < ns && j < np) {
            ssize_t at = index_of(server_order, p[j].item, merge_key);
            server = r[i].rank >= 0 && at >= 0 && r[i].rank < at;
        }
        yyjson_mut_val *item = server ? r[i++].item : p[j++].item;
        yyjson_mut_arr_append(out, yyjson_mut_val_mut_copy(s->doc, item));
    }
    free(p);
    return out;
}

/* ---- lists: merging ----------------------------------------------------------------------------- */

/* Takes directives out of a value that is new to the object. */
static void strip_directives(yyjson_mut_val *v)
{
    if (yyjson_mut_is_obj(v)) {
        yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
        for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
            const char *key = yyjson_mut_get_str(k);
            if (strcmp(key, DIRECTIVE) == 0 || strcmp(key, RETAIN) == 0 ||
                neap_startswith(key, DELETE_LIST) || neap_startswith(key, ORDER))
                yyjson_mut_obj_iter_remove(&it);
            else
                strip_directives(yyjson_mut_obj_iter_get_val(k));
        }
    } else if (yyjson_mut_is_arr(v)) {
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
        for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
            yyjson_mut_val *directive = yyjson_mut_obj_get(e, DIRECTIVE);
            if (directive &&
                (yyjson_mut_equals_str(directive, "delete") || yyjson_mut_obj_size(e) == 1))
                neap_json_iter_remove(&it);
            else
                strip_directives(e);
        }
    }
}

static yyjson_mut_val *fresh(struct smp *s, yyjson_mut_val *v)
{
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(s->doc, v);
    strip_directives(copy);
    return copy;
}

static yyjson_mut_val *merge_scalars(struct smp *s, yyjson_mut_val *original, yyjson_mut_val *patch)
{
    yyjson_mut_val *out = yyjson_mut_arr(s->doc), *sources[] = {original, patch};
    for (int i = 0; i < 2; i++) {
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(sources[i]);
        for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
            if (index_of(out, e, NULL) < 0)
                yyjson_mut_arr_append(out, yyjson_mut_val_mut_copy(s->doc, e));
    }
    return out;
}

/* One element with a directive. *replace: the list is replaced by the other elements. */
static int special_item(struct smp *s, yyjson_mut_val *out, yyjson_mut_val *e,
                        yyjson_mut_val *directive, const char *merge_key, bool *replace)
{
    if (yyjson_mut_equals_str(directive, "replace")) {
        *replace = true;
        return 0;
    }
    if (yyjson_mut_equals_str(directive, "merge"))
        return neap_err_set(s->err, NEAP_EPLAIN,
                            "merging lists cannot yet be specified in the patch");
    if (!yyjson_mut_equals_str(directive, "delete"))
        return unknown_directive(s, directive, e);
    if (!yyjson_mut_obj_get(e, merge_key))
        return neap_err_set(s->err, NEAP_EPLAIN, "delete patch type with no merge key defined");
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(out);
    for (yyjson_mut_val *o; (o = yyjson_mut_arr_iter_next(&it));)
        if (same_item(o, e, merge_key))
            neap_json_iter_remove(&it);
    return 0;
}

static int merge_item(struct smp *s, yyjson_mut_val *out, yyjson_mut_val *e, const char *merge_key,
                      const struct neap_type *type)
{
    if (!yyjson_mut_obj_get(e, merge_key)) {
        char after[160];
        snprintf(after, sizeof(after), " does not contain declared merge key: %s", merge_key);
        return senseless(s, "map: ", e, after);
    }
    ssize_t at = index_of(out, e, merge_key);
    if (at < 0) {
        yyjson_mut_arr_append(out, fresh(s, e));
        return 0;
    }
    yyjson_mut_val *merged, *old = yyjson_mut_arr_get(out, (size_t)at);
    int rc = merge_map(s, old, e, type, &merged);
    if (!rc && merged != old)
        yyjson_mut_arr_replace(out, (size_t)at, merged);
    return rc;
}

static int merge_structs(struct smp *s, yyjson_mut_val *original, yyjson_mut_val *patch,
                         const char *merge_key, const struct neap_type *type, yyjson_mut_val **ret)
{
    yyjson_mut_val *out = yyjson_mut_val_mut_copy(s->doc, original);
    bool replace = false;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(patch);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        yyjson_mut_val *directive = yyjson_mut_obj_get(e, DIRECTIVE);
        int rc = directive ? special_item(s, out, e, directive, merge_key, &replace) : 0;
        if (rc)
            return rc;
    }
    if (replace)
        out = yyjson_mut_arr(s->doc);
    it = yyjson_mut_arr_iter_with(patch);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        if (yyjson_mut_obj_get(e, DIRECTIVE))
            continue;
        int rc = 0;
        if (replace)
            yyjson_mut_arr_append(out, fresh(s, e));
        else
            rc = merge_item(s, out, e, merge_key, type);
        if (rc)
            return rc;
    }
    *ret = out;
    return 0;
}

/* What the elements are: false when they are mixed or lists. */
static bool item_kind(yyjson_mut_val *a, yyjson_mut_val *b, bool *maps)
{
    yyjson_mut_val *sources[] = {a, b};
    int seen_map = 0, seen_scalar = 0, seen_list = 0;
    for (int i = 0; i < 2; i++) {
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(sources[i]);
        for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
            seen_map += yyjson_mut_is_obj(e);
            seen_list += yyjson_mut_is_arr(e);
            seen_scalar += !yyjson_mut_is_ctn(e);
        }
    }
    *maps = seen_map > 0;
    return !seen_list && !(seen_map && seen_scalar);
}

static int merge_list(struct smp *s, yyjson_mut_val *original, yyjson_mut_val *patch,
                      const struct neap_field *f, yyjson_mut_val **ret)
{
    bool maps;
    yyjson_mut_val *merged;
    if (!item_kind(original, patch, &maps))
        return senseless(s, "list element types are not identical: ", patch, "");
    const char *key = maps ? f->merge_key : NULL;
    if (!maps) {
        merged = merge_scalars(s, original, patch);
    } else {
        const struct neap_type *type = shape_struct(f->shape.item);
        if (!key || !type)
            return neap_err_set(s->err, NEAP_EINVALID, "map does not contain declared merge key");
        int rc = merge_structs(s, original, patch, key, type, &merged);
        if (rc)
            return rc;
    }
    *ret = order(s, merged, patch, original, key);
    return 0;
}

static int delete_from_list(struct smp *s, yyjson_mut_val *object, const char *name,
                            yyjson_mut_val *values)
{
    yyjson_mut_val *list = yyjson_mut_obj_get(object, name);
    if (!yyjson_mut_is_arr(values))
        return bad(s, "invalid patch format for primitive list");
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        if (index_of(values, e, NULL) >= 0)
            neap_json_iter_remove(&it);
    return 0;
}

/* ---- maps ------------------------------------------------------------------------------------------ */

static int retain_keys(struct smp *s, yyjson_mut_val *original, yyjson_mut_val *patch)
{
    yyjson_mut_val *keys = yyjson_mut_obj_get(patch, RETAIN);
    if (!keys)
        return 0;
    if (!yyjson_mut_is_arr(keys))
        return bad(s, "invalid patch format of retainKeys");
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(patch);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        if (yyjson_mut_get_str(k)[0] == '$' || yyjson_mut_is_null(yyjson_mut_obj_iter_get_val(k)))
            continue;
        if (index_of(keys, k, NULL) < 0)
            return bad(s, "invalid patch format of retainKeys");
    }
    it = yyjson_mut_obj_iter_with(original);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));)
        if (index_of(keys, k, NULL) < 0)
            yyjson_mut_obj_iter_remove(&it);
    return 0;
}

static int check_order(struct smp *s, yyjson_mut_val *wanted, const char *name,
                       const struct neap_field *f, const struct neap_type *type)
{
    if (!yyjson_mut_is_arr(wanted))
        return neap_err_set(s->err, NEAP_EPLAIN, "expected a []interface {}, but received a %s",
                            yyjson_mut_is_obj(wanted)    ? "map[string]interface {}"
                            : yyjson_mut_is_str(wanted)  ? "string"
                            : yyjson_mut_is_bool(wanted) ? "bool"
                            : yyjson_mut_is_int(wanted)  ? "int64"
                                                         : "float64");
    if (f && f->shape.value == NEAP_T_ARRAY)
        return 0;
    const char *dot = type ? strrchr(type->name, '.') : NULL;
    return neap_err_set(s->err, NEAP_EPLAIN,
                        "unable to find api field in struct %s for the json field \"%s\"",
                        dot ? dot + 1 : "", name);
}

/* What the patch adds or changes stands in the order that it asks for. */
static bool in_order(yyjson_mut_val *change, yyjson_mut_val *wanted, const char *merge_key)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(change), in;
    yyjson_mut_arr_iter_init(wanted, &in);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        yyjson_mut_val *w = NULL;
        if (yyjson_mut_obj_get(e, DIRECTIVE))
            continue;
        while ((w = yyjson_mut_arr_iter_next(&in)) && !same_item(e, w, merge_key))
            ;
        if (!w)
            return false;
    }
    return true;
}

static int order_differs(struct smp *s, yyjson_mut_val *change, yyjson_mut_val *wanted)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_str(&b, "The order in patch list:\n");
    neap_json_write_go(&b, change);
    neap_buf_str(&b, "\n doesn't match $setElementOrder list:\n");
    return senseless(s, b.data, wanted, "\n");
}

static int set_order(struct smp *s, yyjson_mut_val *original, yyjson_mut_val *patch,
                     const char *name, yyjson_mut_val *wanted, const struct neap_type *type)
{
    const struct neap_field *f = type ? neap_type_field(type, name, strlen(name)) : NULL;
    yyjson_mut_val *old = yyjson_mut_obj_get(original, name), *merged = NULL;
    yyjson_mut_val *change = yyjson_mut_obj_get(patch, name);
    int rc = check_order(s, wanted, name, f, type);
    if (rc || (!yyjson_mut_is_arr(old) && !yyjson_mut_is_arr(change)))
        return rc;
    const char *key = shape_struct(f->shape.item) ? f->merge_key : NULL;
    if (yyjson_mut_is_arr(change) && !in_order(change, wanted, key))
        return order_differs(s, change, wanted);
    if (yyjson_mut_is_arr(old) && yyjson_mut_is_arr(change) && (f->patch & NEAP_PATCH_MERGE)) {
        rc = merge_list(s, old, change, f, &merged);
        if (rc)
            return rc;
    } else {
        merged = yyjson_mut_is_arr(change) ? fresh(s, change) : old;
    }
    yyjson_mut_obj_put(original, yyjson_mut_strcpy(s->doc, name),
                       order(s, merged, wanted, old, key));
    return 0;
}

static int directives(struct smp *s, yyjson_mut_val *original, yyjson_mut_val *patch,
                      const struct neap_type *type)
{
    int rc = retain_keys(s, original, patch);
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(patch);
    for (yyjson_mut_val *k; !rc && (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k);
        yyjson_mut_val *v = yyjson_mut_obj_iter_get_val(k);
        if (neap_startswith(key, DELETE_LIST))
            rc = delete_from_list(s, original, key + sizeof(DELETE_LIST) - 1, v);
    }
    it = yyjson_mut_obj_iter_with(patch);
    for (yyjson_mut_val *k; !rc && (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k);
        yyjson_mut_val *v = yyjson_mut_obj_iter_get_val(k);
        if (neap_startswith(key, ORDER))
            rc = set_order(s, original, patch, key + sizeof(ORDER) - 1, v, type);
    }
    return rc;
}

static bool ordered_already(yyjson_mut_val *patch, const char *name, size_t len)
{
    char key[512];
    if (len + sizeof(ORDER) > sizeof(key))
        return false;
    memcpy(key, ORDER, sizeof(ORDER) - 1);
    memcpy(key + sizeof(ORDER) - 1, name, len);
    return yyjson_mut_obj_getn(patch, key, sizeof(ORDER) - 1 + len);
}

static int merge_value(struct smp *s, yyjson_mut_val *original, yyjson_mut_val *k,
                       yyjson_mut_val *v, const struct neap_type *type)
{
    const char *key = yyjson_mut_get_str(k);
    size_t len = yyjson_mut_get_len(k);
    const struct neap_field *f = type ? neap_type_field(type, key, len) : NULL;
    yyjson_mut_val *old = yyjson_mut_obj_getn(original, key, len), *merged = NULL;
    int rc = 0;
    if (yyjson_mut_is_null(v)) {
        yyjson_mut_obj_remove_keyn(original, key, len);
        return 0;
    }
    bool replace = f && f->patch == NEAP_PATCH_REPLACE && f->shape.value == NEAP_T_ARRAY;
    if (yyjson_mut_is_obj(old) && yyjson_mut_is_obj(v))
        rc = merge_map(s, old, v, f ? shape_struct(&f->shape) : NULL, &merged);
    else if (yyjson_mut_is_arr(old) && yyjson_mut_is_arr(v) && f && (f->patch & NEAP_PATCH_MERGE))
        rc = merge_list(s, old, v, f, &merged);
    else
        /* a list that is replaced as a whole keeps what looks like a directive: it is none there */
        merged = replace ? yyjson_mut_val_mut_copy(s->doc, v) : fresh(s, v);
    if (rc || merged == old)
        return rc;
    yyjson_mut_obj_put(original, yyjson_mut_strncpy(s->doc, key, len), merged);
    return 0;
}

static int merge_map(struct smp *s, yyjson_mut_val *original, yyjson_mut_val *patch,
                     const struct neap_type *type, yyjson_mut_val **ret)
{
    yyjson_mut_val *directive = yyjson_mut_obj_get(patch, DIRECTIVE);
    *ret = original;
    if (yyjson_mut_equals_str(directive, "replace")) {
        *ret = yyjson_mut_val_mut_copy(s->doc, patch);
        yyjson_mut_obj_remove_key(*ret, DIRECTIVE);
        return 0;
    }
    if (yyjson_mut_equals_str(directive, "delete")) {
        *ret = yyjson_mut_obj(s->doc);
        return 0;
    }
    if (directive && !yyjson_mut_equals_str(directive, "merge"))
        return unknown_directive(s, directive, patch);
    int rc = directives(s, original, patch, type);
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(patch);
    for (yyjson_mut_val *k; !rc && (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k);
        if (strcmp(key, DIRECTIVE) == 0 || strcmp(key, RETAIN) == 0 ||
            neap_startswith(key, DELETE_LIST) || neap_startswith(key, ORDER) ||
            ordered_already(patch, key, yyjson_mut_get_len(k)))
            continue;
        rc = merge_value(s, original, k, yyjson_mut_obj_iter_get_val(k), type);
    }
    return rc;
}

int neap_patch_strategic(yyjson_mut_doc *doc, yyjson_mut_val **target, yyjson_mut_val *patch,
                         const struct neap_type *type, struct neap_err *err)
{
    struct smp s = {.doc = doc, .err = err};
    if (yyjson_mut_is_null(patch)) /* nothing to change */
        return 0;
    if (!yyjson_mut_is_obj(patch))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "json: cannot unmarshal %s into Go value of type "
                            "map[string]interface {}",
                            neap_json_type_name(patch));
    if (!yyjson_mut_is_obj(*target))
        *target = yyjson_mut_obj(doc);
    return merge_map(&s, *target, patch, type, target);
}
