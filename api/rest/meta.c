/* metadata: what the server sets, keeps and checks.
 * Source: Kubernetes API conventions, "Metadata". */
#include "internal.h"

static yyjson_mut_val *get(yyjson_mut_val *o, const char *name)
{
    return yyjson_mut_obj_get(o, name);
}

static yyjson_mut_val *meta_of(struct rest_write *w)
{
    yyjson_mut_val *meta = get(w->root, "metadata");
    if (!meta) {
        meta = yyjson_mut_obj(w->doc);
        yyjson_mut_obj_put(w->root, yyjson_mut_str(w->doc, "metadata"), meta);
    }
    return meta;
}

static void put(struct rest_write *w, yyjson_mut_val *o, const char *name, yyjson_mut_val *v)
{
    if (v)
        yyjson_mut_obj_put(o, yyjson_mut_str(w->doc, name), v);
    else
        yyjson_mut_obj_remove_key(o, name);
}

static yyjson_mut_val *time_value(struct rest_write *w, int64_t wall_ns)
{
    char text[32];
    neap_time_format(wall_ns, text);
    return yyjson_mut_strcpy(w->doc, text);
}

static int64_t wall(const struct rest_write *w)
{
    return neap_clock_wall(rest_of(w->call)->options.clock);
}

int rest_meta_create(struct rest_write *w, struct neap_err *err)
{
    static const char *const cleared[] = {"resourceVersion", "generation", "deletionTimestamp",
                                          "deletionGracePeriodSeconds", "selfLink"};
    yyjson_mut_val *meta = meta_of(w);
    char uid[37];
    (void)err;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(cleared); i++)
        yyjson_mut_obj_remove_key(meta, cleared[i]);
    neap_rand_uuid(rest_of(w->call)->options.rand, uid);
    put(w, meta, "uid", yyjson_mut_strcpy(w->doc, uid));
    put(w, meta, "creationTimestamp", time_value(w, wall(w)));
    put(w, meta, "namespace",
        w->kind->namespaced ? yyjson_mut_strcpy(w->doc, w->namespace_) : NULL);
    if (w->kind->generation_at_create)
        put(w, meta, "generation", yyjson_mut_int(w->doc, w->kind->generation_at_create));
    return 0;
}

static bool empty(yyjson_mut_val *v)
{
    return !v || (yyjson_mut_is_str(v) && !yyjson_mut_get_len(v));
}

/* Left empty it is kept; changed it is an error; the server's own are simply kept. */
static void keep(struct rest_write *w, yyjson_mut_val *meta, yyjson_mut_val *old, const char *name,
                 bool immutable, struct neap_err *err)
{
    yyjson_mut_val *v = get(meta, name), *before = get(old, name);
    if (immutable && !empty(v) && !neap_json_equal(v, before)) {
        struct neap_buf b = NEAP_BUF_INIT;
        char field[64];
        neap_json_write_sorted(&b, v);
        snprintf(field, sizeof(field), "metadata.%s", name);
        neap_err_cause(err, "FieldValueInvalid", field, "Invalid value: %s: field is immutable",
                       b.data);
        neap_buf_done(&b);
    }
    put(w, meta, name, before ? yyjson_mut_val_mut_copy(w->doc, before) : NULL);
}

static bool list_has(yyjson_mut_val *list, yyjson_mut_val *s)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        if (yyjson_mut_equals_strn(e, yyjson_mut_get_str(s), yyjson_mut_get_len(s)))
            return true;
    return false;
}

static void check_added_finalizers(yyjson_mut_val *meta, yyjson_mut_val *old, struct neap_err *err)
{
    struct neap_buf found = NEAP_BUF_INIT;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(get(meta, "finalizers"));
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        if (!list_has(get(old, "finalizers"), e))
            neap_buf_printf(&found, "%s\"%s\"", found.len ? ", " : "", yyjson_mut_get_str(e));
    if (found.len)
        neap_err_cause(err, "FieldValueForbidden", "metadata.finalizers",
                       "Forbidden: no new finalizers can be added if the object is being deleted, "
                       "found new finalizers []string{%s}",
                       found.data);
    neap_buf_done(&found);
}

int rest_meta_update(struct rest_write *w, struct neap_err *err)
{
    yyjson_mut_val *meta = meta_of(w), *old = get(w->old_root, "metadata");
    struct neap_err causes = NEAP_ERR_INIT;
    keep(w, meta, old, "name", false, &causes);
    keep(w, meta, old, "namespace", false, &causes);
    keep(w, meta, old, "uid", true, &causes);
    keep(w, meta, old, "creationTimestamp", false, &causes);
    keep(w, meta, old, "generation", false, &causes);
    keep(w, meta, old, "deletionTimestamp", true, &causes);
    keep(w, meta, old, "deletionGracePeriodSeconds", true, &causes);
    yyjson_mut_obj_remove_key(meta, "resourceVersion");
    yyjson_mut_obj_remove_key(meta, "selfLink");
    yyjson_mut_obj_remove_key(old, "resourceVersion");
    if (get(old, "deletionTimestamp"))
        check_added_finalizers(meta, old, &causes);
    if (!causes.code)
        return 0;
    neap_err_move(err, &causes);
    return rest_err_invalid(err, w->kind, w->name);
}

static bool is_namespace(const struct neap_kind *k)
{
    return !*k->group && strcmp(k->resource, "namespaces") == 0;
}

void rest_meta_mark_deleted(struct rest_write *w, int64_t grace_s)
{
    yyjson_mut_val *meta = meta_of(w), *generation = get(meta, "generation");
    bool marked = get(meta, "deletionTimestamp") != NULL;
    yyjson_mut_val *before = get(meta, "deletionGracePeriodSeconds");
    int64_t at = wall(w);
    /* shortened: counted from when it was first asked for */
    if (marked && before &&
        neap_time_parse(yyjson_mut_get_str(get(meta, "deletionTimestamp")),
                        yyjson_mut_get_len(get(meta, "deletionTimestamp")), &at))
        at -= yyjson_mut_get_sint(before) * 1000000000;
    put(w, meta, "deletionTimestamp", time_value(w, at + grace_s * 1000000000));
    if (!is_namespace(w->kind)) /* it goes by its own finalizers */
        put(w, meta, "deletionGracePeriodSeconds", yyjson_mut_sint(w->doc, grace_s));
    if (!marked && yyjson_mut_get_sint(generation) > 0)
        put(w, meta, "generation", yyjson_mut_sint(w->doc, yyjson_mut_get_sint(generation) + 1));
    yyjson_mut_obj_remove_key(meta, "resourceVersion");
}
