/* Structural validation from the tables: required, enums, ranges, unique keys of list maps, immutable
 * fields. What spans fields is in api/rest/validate. */
#include "kind_internal.h"

struct validator {
    struct neap_err *err;
    bool updating;
};

static void check_struct(struct validator *c, yyjson_mut_val *v, yyjson_mut_val *old,
                         const struct neap_type *type, const struct kind_path *path);

static void cause(struct validator *c, const struct kind_path *path, const char *reason,
                  const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void cause(struct validator *c, const struct kind_path *path, const char *reason,
                  const char *fmt, ...)
{
    struct neap_buf where = NEAP_BUF_INIT;
    neap_kind_path_write(path, &where, true);
    va_list ap;
    va_start(ap, fmt);
    char text[2048];
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    neap_err_cause(c->err, reason, where.len ? where.data : NULL, "%s", text);
    neap_buf_done(&where);
}

static void supported(struct validator *c, const struct kind_path *path, const char *value,
                      const char *const *values)
{
    struct neap_buf list = NEAP_BUF_INIT;
    for (; *values; values++)
        neap_buf_printf(&list, "%s\"%s\"", list.len ? ", " : "",
                        strcmp(*values, "\"\"") == 0 ? "" : *values);
    cause(c, path, "FieldValueNotSupported", "Unsupported value: \"%s\": supported values: %s",
          value, list.len ? list.data : "");
    neap_buf_done(&list);
}

static bool enum_has(const char *const *values, const char *s)
{
    for (; *values; values++)
        if (strcmp(*values, s) == 0 || (strcmp(*values, "\"\"") == 0 && !*s))
            return true;
    return false;
}

static void check_enum(struct validator *c, yyjson_mut_val *v, const struct neap_field *f,
                       const struct kind_path *path)
{
    if (yyjson_mut_is_str(v)) {
        if (!enum_has(f->enum_values, yyjson_mut_get_str(v)))
            supported(c, path, yyjson_mut_get_str(v), f->enum_values);
        return;
    }
    struct kind_path here = {.up = path};
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)); here.index++)
        if (yyjson_mut_is_str(e) && !enum_has(f->enum_values, yyjson_mut_get_str(e)))
            supported(c, path, yyjson_mut_get_str(e), f->enum_values);
}

static void check_range(struct validator *c, yyjson_mut_val *v, const struct neap_range *r,
                        const struct kind_path *path)
{
    if (!yyjson_mut_is_int(v))
        return;
    int64_t n = yyjson_mut_get_sint(v);
    if (n >= r->min && n <= r->max)
        return;
    if (r->min != INT64_MIN && r->max != INT64_MAX)
        cause(c, path, "FieldValueInvalid",
              "Invalid value: %lld: must be between %lld and %lld, inclusive", (long long)n,
              (long long)r->min, (long long)r->max);
    else if (n < r->min)
        cause(c, path, "FieldValueInvalid",
              "Invalid value: %lld: must be greater than or equal to %lld", (long long)n,
              (long long)r->min);
    else
        cause(c, path, "FieldValueInvalid",
              "Invalid value: %lld: must be less than or equal to %lld", (long long)n,
              (long long)r->max);
}

static bool same_keys(yyjson_mut_val *a, yyjson_mut_val *b, const char *const *keys)
{
    for (; *keys; keys++) {
        yyjson_mut_val *x = yyjson_mut_obj_get(a, *keys), *y = yyjson_mut_obj_get(b, *keys);
        if (!x != !y || (x && !neap_json_equal(x, y)))
            return false;
    }
    return true;
}

/* The item of <old> with the same keys: what an update is compared with. */
static yyjson_mut_val *old_item(yyjson_mut_val *old, yyjson_mut_val *item,
                                const struct neap_field *f, size_t index)
{
    if (!f->list_keys)
        return yyjson_mut_arr_get(old, index);
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(old);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        if (same_keys(e, item, f->list_keys))
            return e;
    return NULL;
}

static void check_below(struct validator *c, yyjson_mut_val *v, yyjson_mut_val *old,
                        const struct neap_field *f, const struct neap_shape *shape,
                        const struct kind_path *path)
{
    if (shape->value == NEAP_T_STRUCT && yyjson_mut_is_obj(v)) {
        check_struct(c, v, yyjson_mut_is_obj(old) ? old : NULL, shape->type, path);
    } else if (shape->value == NEAP_T_ARRAY && yyjson_mut_is_arr(v) &&
               shape->item->value == NEAP_T_STRUCT) {
        struct kind_path here = {.up = path};
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
        for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)); here.index++)
            check_below(c, e, old_item(old, e, f, here.index), f, shape->item, &here);
    } else if (shape->value == NEAP_T_MAP && shape->item->value == NEAP_T_STRUCT) {
        yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
        for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
            struct kind_path here = {.up = path,
                                     .name = yyjson_mut_get_str(k),
                                     .name_len = yyjson_mut_get_len(k),
                                     .key = true};
            check_below(c, yyjson_mut_obj_iter_get_val(k),
                        yyjson_mut_obj_get(old, yyjson_mut_get_str(k)), f, shape->item, &here);
        }
    }
}

static bool missing(yyjson_mut_val *v)
{
    return !v || (yyjson_mut_is_str(v) && yyjson_mut_get_len(v) == 0) ||
           (yyjson_mut_is_arr(v) && yyjson_mut_arr_size(v) == 0);
}

static void check_field(struct validator *c, yyjson_mut_val *v, yyjson_mut_val *old, bool have_old,
                        const struct neap_field *f, const struct kind_path *path)
{
    if (have_old && (f->flags & NEAP_F_IMMUTABLE) && !(missing(v) && missing(old)) &&
        !neap_json_equal(v, old))
        cause(c, path, "FieldValueInvalid", "Invalid value: null: field is immutable");
    if ((f->flags & NEAP_F_MUST) && missing(v)) {
        cause(c, path, "FieldValueRequired", "Required value");
        return;
    }
    if (!v)
        return;
    if (f->enum_values && !(f->flags & NEAP_F_ENUM_OPEN))
        check_enum(c, v, f, path);
    if (f->range)
        check_range(c, v, f->range, path);
    if (yyjson_mut_is_ctn(v))
        check_below(c, v, old, f, &f->shape, path);
}

static void check_struct(struct validator *c, yyjson_mut_val *v, yyjson_mut_val *old,
                         const struct neap_type *type, const struct kind_path *path)
{
    for (unsigned i = 0; i < type->field_count; i++) {
        const struct neap_field *f = &type->fields[i];
        struct kind_path here = {.up = path, .name = f->name, .name_len = strlen(f->name)};
        yyjson_mut_val *child = yyjson_mut_obj_getn(v, f->name, here.name_len);
        yyjson_mut_val *old_child = old ? yyjson_mut_obj_getn(old, f->name, here.name_len) : NULL;
        if (child || old_child || (f->flags & NEAP_F_MUST))
            check_field(c, child, old_child, old != NULL, f, &here);
    }
}

int neap_kind_validate(yyjson_mut_val *root, yyjson_mut_val *old, const struct neap_kind *kind,
                       struct neap_err *err)
{
    struct validator c = {.err = err, .updating = old != NULL};
    check_struct(&c, root, old, kind->type, NULL);
    return err->code ? NEAP_EINVALID : 0;
}
