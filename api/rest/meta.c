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
    static const char *const cleared[] = {"resourceVersion",   "generation",
                                          "deletionTimestamp", "deletionGracePeriodSeconds",
                                          "selfLink"};
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
    keep(w, meta, old, "creationTimestamp", true, &causes);
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

void rest_meta_mark_deleted(struct rest_write *w, int64_t grace_s)
{
    yyjson_mut_val *meta = meta_of(w), *generation = get(meta, "generation");
    bool marked = get(meta, "deletionTimestamp") != NULL;
    yyjson_mut_val *before = get(meta, "deletionGracePeriodSeconds");
    int64_t at = wall(w);
    /* shortened: counted from when it was first asked for */
    if (marked && before && neap_time_parse(yyjson_mut_get_str(get(meta, "deletionTimestamp")),
                                            yyjson_mut_get_len(get(meta, "deletionTimestamp")), &at))
        at -= yyjson_mut_get_sint(before) * 1000000000;
    put(w, meta, "deletionTimestamp", time_value(w, at + grace_s * 1000000000));
    put(w, meta, "deletionGracePeriodSeconds", yyjson_mut_sint(w->doc, grace_s));
    if (!marked && yyjson_mut_get_sint(generation) > 0)
        put(w, meta, "generation", yyjson_mut_sint(w->doc, yyjson_mut_get_sint(generation) + 1));
    yyjson_mut_obj_remove_key(meta, "resourceVersion");
}

/* ---- validation ---------------------------------------------------------------------------------- */

static void invalid(struct neap_err *err, const char *field, const char *value, const char *why)
{
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_json_string(&b, value, strlen(value));
    neap_err_cause(err, "FieldValueInvalid", field, "Invalid value: %s: %s", b.data, why);
    neap_buf_done(&b);
}

static void check_name(struct rest_write *w, yyjson_mut_val *meta, struct neap_err *err)
{
    char buf[512];
    const char *name = yyjson_mut_get_str(get(meta, "name")), *why;
    const char *prefix = yyjson_mut_get_str(get(meta, "generateName"));
    if (prefix && *prefix && w->created &&
        (why = rest_name_problem(w->kind->name_style, prefix, true, buf)))
        invalid(err, "metadata.generateName", prefix, why);
    if (!name || !*name)
        neap_err_cause(err, "FieldValueRequired", "metadata.name",
                       "Required value: name or generateName is required");
    else if (w->created && (why = rest_name_problem(w->kind->name_style, name, false, buf)))
        invalid(err, "metadata.name", name, why);
}

static void check_labels(yyjson_mut_val *labels, struct neap_err *err)
{
    char buf[512];
    const char *why;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(labels);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k);
        const char *value = yyjson_mut_get_str(yyjson_mut_obj_iter_get_val(k));
        if ((why = rest_qualified_name_problem(key, buf)))
            invalid(err, "metadata.labels", key, why);
        if (value && (why = rest_label_value_problem(value, buf)))
            invalid(err, "metadata.labels", value, why);
    }
}

enum { ANNOTATIONS_BYTES_MAX = 256 << 10 };

static void check_annotations(yyjson_mut_val *annotations, struct neap_err *err)
{
    char buf[512], lower[320];
    const char *why;
    size_t total = 0;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(annotations);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k);
        size_t n = yyjson_mut_get_len(k);
        total += n + yyjson_mut_get_len(yyjson_mut_obj_iter_get_val(k));
        /* annotation keys are looked at in lower case */
        snprintf(lower, sizeof(lower), "%s", key);
        for (char *p = lower; *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p | 32) : *p;
        if ((why = rest_qualified_name_problem(lower, buf)))
            invalid(err, "metadata.annotations", key, why);
    }
    if (total > ANNOTATIONS_BYTES_MAX)
        neap_err_cause(err, "FieldValueTooLong", "metadata.annotations",
                       "Too long: may not be more than %d bytes", ANNOTATIONS_BYTES_MAX);
}

static void check_finalizers(yyjson_mut_val *list, struct neap_err *err)
{
    char buf[512], field[64];
    const char *why;
    size_t i = 0;
    bool orphan = false, foreground = false;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)); i++) {
        const char *s = yyjson_mut_get_str(e);
        orphan = orphan || strcmp(s, "orphan") == 0;
        foreground = foreground || strcmp(s, "foregroundDeletion") == 0;
        if ((why = rest_qualified_name_problem(s, buf)))
            invalid(err, "metadata.finalizers", s, why);
        snprintf(field, sizeof(field), "metadata.finalizers[%zu]", i);
        if (!strchr(s, '/') && strcmp(s, "orphan") && strcmp(s, "foregroundDeletion") &&
            strcmp(s, "kubernetes"))
            invalid(err, field, s,
                    "name is neither a standard finalizer name nor is it fully qualified");
    }
    if (orphan && foreground)
        neap_err_cause(err, "FieldValueInvalid", "metadata.finalizers",
                       "Invalid value: finalizer orphan and foregroundDeletion cannot be both set");
}

static void required(struct neap_err *err, size_t i, const char *name, yyjson_mut_val *owner)
{
    char field[80];
    const char *s = yyjson_mut_get_str(get(owner, name));
    if (s && *s)
        return;
    snprintf(field, sizeof(field), "metadata.ownerReferences[%zu].%s", i, name);
    neap_err_cause(err, "FieldValueRequired", field, "Required value: must not be empty");
}

static void check_owners(yyjson_mut_val *list, struct neap_err *err)
{
    yyjson_mut_val *controller = NULL;
    size_t i = 0;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)); i++) {
        required(err, i, "apiVersion", e);
        required(err, i, "kind", e);
        required(err, i, "name", e);
        required(err, i, "uid", e);
        if (!yyjson_mut_get_bool(get(e, "controller")))
            continue;
        if (controller) {
            struct neap_buf b = NEAP_BUF_INIT;
            neap_json_write_sorted(&b, list);
            neap_err_cause(err, "FieldValueInvalid", "metadata.ownerReferences",
                           "Invalid value: %s: Only one reference can have Controller set to true. "
                           "Found \"true\" in references for %s/%s and %s/%s",
                           b.data, yyjson_mut_get_str(get(controller, "kind")),
                           yyjson_mut_get_str(get(controller, "name")),
                           yyjson_mut_get_str(get(e, "kind")), yyjson_mut_get_str(get(e, "name")));
            neap_buf_done(&b);
        }
        controller = e;
    }
}

void rest_meta_validate(struct rest_write *w, struct neap_err *err)
{
    yyjson_mut_val *meta = meta_of(w);
    check_name(w, meta, err);
    check_labels(get(meta, "labels"), err);
    check_annotations(get(meta, "annotations"), err);
    check_owners(get(meta, "ownerReferences"), err);
    check_finalizers(get(meta, "finalizers"), err);
}
