/* Decoding: a tree becomes what its type says, in place. */
#include "kind_internal.h"

struct decoder {
    yyjson_mut_doc *doc;
    enum neap_field_validation fv;
    struct neap_decode_report *report;
    unsigned placed, duplicates; /* findings in their final place; duplicates that are not yet */
    struct neap_err *err;
};

static int decode(struct decoder *d, yyjson_mut_val *v, const struct neap_shape *shape, bool milli,
                  const struct neap_type *holder, const struct kind_path *path);

/* ---- words ------------------------------------------------------------------------------------ */

/* "io.k8s.api.core.v1.PodSpec": "v1.PodSpec", or "PodSpec" alone. */
static const char *short_type(const char *name, bool with_version)
{
    const char *last = strrchr(name, '.');
    if (!last)
        return name;
    if (!with_version)
        return last + 1;
    while (last > name && last[-1] != '.')
        last--;
    return last;
}

static void go_type(struct neap_buf *out, const struct neap_shape *s)
{
    static const char *const scalars[] = {
        [NEAP_T_STRING] = "string",       [NEAP_T_INT32] = "int32",
        [NEAP_T_INT64] = "int64",         [NEAP_T_DOUBLE] = "float64",
        [NEAP_T_BOOL] = "bool",           [NEAP_T_BYTES] = "[]uint8",
        [NEAP_T_TIME] = "string",         [NEAP_T_MICROTIME] = "string",
        [NEAP_T_DURATION] = "string",     [NEAP_T_QUANTITY] = "resource.Quantity",
        [NEAP_T_INT_OR_STRING] = "int32",
    };
    if (s->value == NEAP_T_STRUCT) {
        neap_buf_str(out, short_type(s->type->name, true));
    } else if (s->value == NEAP_T_ARRAY) {
        neap_buf_str(out, "[]");
        go_type(out, s->item);
    } else if (s->value == NEAP_T_MAP) {
        neap_buf_str(out, "map[string]");
        go_type(out, s->item);
    } else if (s->value < NEAP_ARRAY_LEN(scalars) && scalars[s->value]) {
        neap_buf_str(out, scalars[s->value]);
    } else {
        neap_buf_str(out, "interface {}");
    }
}

static int wrong_type(struct decoder *d, yyjson_mut_val *v, const struct neap_shape *shape,
                      const struct neap_type *holder, const struct kind_path *path)
{
    struct neap_buf where = NEAP_BUF_INIT, type = NEAP_BUF_INIT, what = NEAP_BUF_INIT;
    neap_kind_path_write_go(path, &where);
    go_type(&type, shape);
    neap_buf_str(&what, neap_json_type_name(v));
    bool integer = shape->value == NEAP_T_INT32 || shape->value == NEAP_T_INT64;
    if (yyjson_mut_is_num(v) && integer) {
        neap_buf_char(&what, ' ');
        neap_json_write_number(&what, v);
    }
    int rc;
    if (shape->value == NEAP_T_TIME || shape->value == NEAP_T_MICROTIME ||
        shape->value == NEAP_T_DURATION || shape->value == NEAP_T_INT_OR_STRING)
        rc = neap_err_set(d->err, NEAP_EBADREQUEST,
                          "json: cannot unmarshal %s into Go value of type %s", what.data,
                          type.data);
    else
        rc = neap_err_set(d->err, NEAP_EBADREQUEST,
                          "json: cannot unmarshal %s into Go struct field %s.%s of type %s",
                          what.data, short_type(holder->name, false), where.len ? where.data : "",
                          type.data);
    neap_buf_done(&where);
    neap_buf_done(&type);
    neap_buf_done(&what);
    return rc;
}

/* Puts the finding <from> behind those that have their place. */
static void place(struct decoder *d, unsigned from)
{
    struct neap_decode_report *r = d->report;
    char *text = r->unknown[from];
    unsigned to = d->placed++;
    memmove(&r->unknown[to + 1], &r->unknown[to], (from - to) * sizeof(r->unknown[0]));
    memmove(&r->key[to + 1], &r->key[to], (from - to) * sizeof(r->key[0]));
    r->unknown[to] = text;
    r->key[to] = NULL;
}

static void report_unknown(struct decoder *d, const struct kind_path *path)
{
    struct neap_decode_report *r = d->report;
    if (d->fv == NEAP_FV_IGNORE || !r || !r->arena || r->count >= NEAP_ARRAY_LEN(r->unknown))
        return;
    struct neap_buf where = NEAP_BUF_INIT;
    neap_kind_path_write(path, &where, false);
    char *text = neap_arena_printf(r->arena, "unknown field \"%s\"", where.len ? where.data : "");
    if (text) {
        r->unknown[r->count++] = text;
        place(d, r->count - 1);
    }
    neap_buf_done(&where);
}

/* Duplicates were found before anything unknown was; a reader wants both in the document's order, as
 * Kubernetes' decoder has them: those met at <key> take their place. */
static void place_duplicates(struct decoder *d, const yyjson_mut_val *key)
{
    struct neap_decode_report *r = d->report;
    for (unsigned i = d->placed; d->duplicates && i < r->count; i++)
        if (r->key[i] == key) {
            place(d, i);
            d->duplicates--;
        }
}

/* ---- values ------------------------------------------------------------------------------------ */

/* Zero in Go's sense: what omitempty leaves out. */
static bool is_zero(yyjson_mut_val *v, const struct neap_shape *shape)
{
    switch (yyjson_mut_get_type(v)) {
    case YYJSON_TYPE_STR:
        return yyjson_mut_get_len(v) == 0 ||
               (shape->value == NEAP_T_QUANTITY && yyjson_mut_equals_str(v, "0"));
    case YYJSON_TYPE_BOOL:
        return !yyjson_mut_get_bool(v);
    case YYJSON_TYPE_NUM:
        return shape->value != NEAP_T_INT_OR_STRING && yyjson_mut_get_num(v) == 0;
    case YYJSON_TYPE_ARR:
        return yyjson_mut_arr_size(v) == 0;
    case YYJSON_TYPE_OBJ:
        return yyjson_mut_obj_size(v) == 0;
    default:
        return true;
    }
}

static bool drop(const struct neap_field *f, yyjson_mut_val *v)
{
    if (f->zero == NEAP_ZERO_KEEP)
        return false;
    if (f->shape.value == NEAP_T_RAW || f->shape.value == NEAP_T_FIELDS_V1)
        return false;
    return is_zero(v, &f->shape); /* EMIT and NULL are written by their zero when absent */
}

static int decode_struct(struct decoder *d, yyjson_mut_val *v, const struct neap_type *type,
                         const struct kind_path *path)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k);
        size_t len = yyjson_mut_get_len(k);
        struct kind_path here = {.up = path, .name = key, .name_len = len};
        place_duplicates(d, k);
        const struct neap_field *f = neap_type_field(type, key, len);
        yyjson_mut_val *child = yyjson_mut_obj_iter_get_val(k);
        if (!f) {
            if (type->preserve_unknown)
                continue;
            report_unknown(d, &here);
            yyjson_mut_obj_iter_remove(&it);
            continue;
        }
        if (!yyjson_mut_is_null(child)) {
            int rc = decode(d, child, &f->shape, f->flags & NEAP_F_MILLI, type, &here);
            if (rc)
                return rc;
        }
        if (yyjson_mut_is_null(child) || drop(f, child))
            yyjson_mut_obj_iter_remove(&it);
    }
    return 0;
}

/* null inside a list or map is the item's zero value. */
static void null_to_zero(yyjson_mut_val *v, const struct neap_shape *item)
{
    switch (item->value) {
    case NEAP_T_STRUCT:
    case NEAP_T_MAP:
        yyjson_mut_set_obj(v);
        break;
    case NEAP_T_ARRAY:
        yyjson_mut_set_arr(v);
        break;
    case NEAP_T_INT32:
    case NEAP_T_INT64:
    case NEAP_T_INT_OR_STRING:
        yyjson_mut_set_int(v, 0);
        break;
    case NEAP_T_DOUBLE:
        yyjson_mut_set_real(v, 0);
        break;
    case NEAP_T_BOOL:
        yyjson_mut_set_bool(v, false);
        break;
    case NEAP_T_QUANTITY:
        yyjson_mut_set_str(v, "0");
        break;
    case NEAP_T_STRING:
    case NEAP_T_BYTES:
        yyjson_mut_set_str(v, "");
        break;
    default:
        break; /* times and raw values stay null */
    }
}

static int decode_item(struct decoder *d, yyjson_mut_val *v, const struct neap_shape *item,
                       bool milli, const struct neap_type *holder, const struct kind_path *path)
{
    if (yyjson_mut_is_null(v)) {
        null_to_zero(v, item);
        return 0;
    }
    return decode(d, v, item, milli, holder, path);
}

static int decode_array(struct decoder *d, yyjson_mut_val *v, const struct neap_shape *shape,
                        const struct neap_type *holder, const struct kind_path *path)
{
    struct kind_path here = {.up = path};
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)); here.index++) {
        int rc = decode_item(d, e, shape->item, false, holder, &here);
        if (rc)
            return rc;
    }
    return 0;
}

static int decode_map(struct decoder *d, yyjson_mut_val *v, const struct neap_shape *shape,
                      bool milli, const struct neap_type *holder, const struct kind_path *path)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        struct kind_path here = {.up = path,
                                 .name = yyjson_mut_get_str(k),
                                 .name_len = yyjson_mut_get_len(k),
                                 .key = true};
        place_duplicates(d, k);
        int rc = decode_item(d, yyjson_mut_obj_iter_get_val(k), shape->item, milli, holder, &here);
        if (rc)
            return rc;
    }
    return 0;
}

static int decode(struct decoder *d, yyjson_mut_val *v, const struct neap_shape *shape, bool milli,
                  const struct neap_type *holder, const struct kind_path *path)
{
    bool wrong = false;
    int rc = 0;
    switch (shape->value) {
    case NEAP_T_STRUCT:
        if (yyjson_mut_is_obj(v))
            return decode_struct(d, v, shape->type, path);
        wrong = true;
        break;
    case NEAP_T_ARRAY:
        if (yyjson_mut_is_arr(v))
            return decode_array(d, v, shape, holder, path);
        wrong = true;
        break;
    case NEAP_T_MAP:
        if (yyjson_mut_is_obj(v))
            return decode_map(d, v, shape, milli, holder, path);
        wrong = true;
        break;
    case NEAP_T_RAW:
    case NEAP_T_FIELDS_V1:
        return 0;
    default:
        rc = neap_kind_scalar(d->doc, v, shape->value, milli, &wrong, d->err);
    }
    return wrong ? wrong_type(d, v, shape, holder, path) : rc;
}

int neap_kind_decode(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct neap_type *type,
                     enum neap_field_validation fv, struct neap_decode_report *report,
                     struct neap_err *err)
{
    struct decoder d = {.doc = doc, .fv = fv, .report = report, .err = err};
    if (!yyjson_mut_is_obj(root))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "json: cannot unmarshal %s into Go value of type %s",
                            neap_json_type_name(root), short_type(type->name, true));
    while (report && d.placed < report->count && !report->key[d.placed])
        d.placed++;
    d.duplicates = report ? report->count - d.placed : 0;
    return decode_struct(&d, root, type, NULL);
}
