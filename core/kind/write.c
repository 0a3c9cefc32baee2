/* The canonical form: fields in the table's order, zero values as the table says, keys of maps
 * sorted. */
#include "kind_internal.h"

enum { FIELDS_MAX = 128 }; /* the generator's tables stay far below it */

static bool is_container(yyjson_mut_val *v)
{
    return v && yyjson_mut_is_ctn(v);
}

static size_t size_of(yyjson_mut_val *v)
{
    return yyjson_mut_is_arr(v) ? yyjson_mut_arr_size(v) : yyjson_mut_obj_size(v);
}

static void write_struct(struct neap_buf *out, yyjson_mut_val *v, const struct neap_type *type);

static void write_zero(struct neap_buf *out, const struct neap_shape *shape)
{
    switch (shape->value) {
    case NEAP_T_STRUCT:
        write_struct(out, NULL, shape->type);
        break;
    case NEAP_T_INT32:
    case NEAP_T_INT64:
    case NEAP_T_DOUBLE:
    case NEAP_T_INT_OR_STRING:
        neap_buf_char(out, '0');
        break;
    case NEAP_T_BOOL:
        neap_buf_str(out, "false");
        break;
    case NEAP_T_STRING:
        neap_buf_str(out, "\"\"");
        break;
    case NEAP_T_QUANTITY:
    case NEAP_T_DURATION:
        neap_buf_str(out, shape->value == NEAP_T_QUANTITY ? "\"0\"" : "\"0s\"");
        break;
    default:
        neap_buf_str(out, "null");
    }
}

static void write_value(struct neap_buf *out, yyjson_mut_val *v, const struct neap_shape *shape);

static void write_array(struct neap_buf *out, yyjson_mut_val *v, const struct neap_shape *item)
{
    bool first = true;
    neap_buf_char(out, '[');
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)); first = false) {
        if (!first)
            neap_buf_char(out, ',');
        write_value(out, e, item);
    }
    neap_buf_char(out, ']');
}

struct pair {
    yyjson_mut_val *key;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(yyjson_mut_get_str(((const struct pair *)a)->key),
                  yyjson_mut_get_str(((const struct pair *)b)->key));
}

static void write_map(struct neap_buf *out, yyjson_mut_val *v, const struct neap_shape *item)
{
    size_t n = yyjson_mut_obj_size(v), i = 0;
    struct pair few[32], *pairs = n > NEAP_ARRAY_LEN(few) ? neap_malloc(n * sizeof(*pairs)) : few;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    bool sorted = true;
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it)); i++) {
        pairs[i].key = k;
        sorted = sorted && (i == 0 || by_key(&pairs[i - 1], &pairs[i]) < 0);
    }
    if (!sorted)
        qsort(pairs, n, sizeof(*pairs), by_key);
    neap_buf_char(out, '{');
    for (i = 0; i < n; i++) {
        if (i)
            neap_buf_char(out, ',');
        neap_buf_json_string(out, yyjson_mut_get_str(pairs[i].key),
                             yyjson_mut_get_len(pairs[i].key));
        neap_buf_char(out, ':');
        write_value(out, yyjson_mut_obj_iter_get_val(pairs[i].key), item);
    }
    neap_buf_char(out, '}');
    if (pairs != few)
        free(pairs);
}

/* managedFields' sets have an order of their own (numbers by value). */
static void write_in_order(struct neap_buf *out, yyjson_mut_val *v)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    bool first = true;
    if (!yyjson_mut_is_obj(v)) {
        neap_json_write_sorted(out, v);
        return;
    }
    neap_buf_char(out, '{');
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it)); first = false) {
        if (!first)
            neap_buf_char(out, ',');
        neap_buf_json_string(out, yyjson_mut_get_str(k), yyjson_mut_get_len(k));
        neap_buf_char(out, ':');
        write_in_order(out, yyjson_mut_obj_iter_get_val(k));
    }
    neap_buf_char(out, '}');
}

static void write_value(struct neap_buf *out, yyjson_mut_val *v, const struct neap_shape *shape)
{
    if (shape->value == NEAP_T_STRUCT && yyjson_mut_is_obj(v))
        write_struct(out, v, shape->type);
    else if (shape->value == NEAP_T_ARRAY && yyjson_mut_is_arr(v))
        write_array(out, v, shape->item);
    else if (shape->value == NEAP_T_MAP && yyjson_mut_is_obj(v))
        write_map(out, v, shape->item);
    else if (shape->value == NEAP_T_FIELDS_V1)
        write_in_order(out, v);
    else
        neap_json_write_sorted(out, v);
}

static void write_name(struct neap_buf *out, bool *first, const struct neap_field *f)
{
    if (!*first)
        neap_buf_char(out, ',');
    *first = false;
    neap_buf_char(out, '"');
    neap_buf_append(out, f->name, f->name_len ? f->name_len : strlen(f->name));
    neap_buf_append(out, "\":", 2);
}

static void write_struct(struct neap_buf *out, yyjson_mut_val *v, const struct neap_type *type)
{
    bool first = true;
    yyjson_mut_val *at[FIELDS_MAX];
    memset(at, 0, sizeof(*at) * type->field_count);
    if (v) {
        yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
        for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
            const struct neap_field *f =
                neap_type_field(type, yyjson_mut_get_str(k), yyjson_mut_get_len(k));
            if (f)
                at[f - type->fields] = yyjson_mut_obj_iter_get_val(k);
        }
    }
    neap_buf_char(out, '{');
    for (unsigned i = 0; i < type->field_count; i++) {
        const struct neap_field *f = &type->fields[i];
        bool empty = f->zero == NEAP_ZERO_NULL && is_container(at[i]) && !size_of(at[i]);
        if (at[i] && !empty) {
            write_name(out, &first, f);
            write_value(out, at[i], &f->shape);
        } else if (f->zero == NEAP_ZERO_EMIT) {
            write_name(out, &first, f);
            write_zero(out, &f->shape);
        } else if (f->zero == NEAP_ZERO_NULL) {
            write_name(out, &first, f);
            neap_buf_str(out, "null");
        }
    }
    neap_buf_char(out, '}');
}

void neap_kind_write(struct neap_buf *out, yyjson_mut_val *root, const struct neap_type *type)
{
    write_struct(out, root, type);
}
