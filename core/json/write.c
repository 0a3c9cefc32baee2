/* Writing a tree with sorted keys. */
#include <neap/json.h>

struct pair {
    yyjson_mut_val *key, *value;
};

static int by_key(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    size_t xn = yyjson_mut_get_len(x->key), yn = yyjson_mut_get_len(y->key);
    int c = memcmp(yyjson_mut_get_str(x->key), yyjson_mut_get_str(y->key), xn < yn ? xn : yn);
    return c ? c : (xn > yn) - (xn < yn);
}

void neap_json_write_number(struct neap_buf *out, yyjson_mut_val *v)
{
    if (yyjson_mut_is_real(v)) {
        double d = yyjson_mut_get_real(v);
        size_t n = 0;
        /* an integral double is written as Go does: without a fraction below 1e21 */
        if (d > -9e15 && d < 9e15 && d == (double)(int64_t)d) {
            neap_buf_printf(out, "%lld", (long long)d);
            return;
        }
        char *text = yyjson_mut_val_write(v, 0, &n);
        if (text)
            neap_buf_append(out, text, n);
        free(text);
        return;
    }
    if (yyjson_mut_is_sint(v) && yyjson_mut_get_sint(v) < 0)
        neap_buf_printf(out, "%lld", (long long)yyjson_mut_get_sint(v));
    else
        neap_buf_u64(out, yyjson_mut_get_uint(v));
}

static void write_object(struct neap_buf *out, yyjson_mut_val *v)
{
    size_t n = yyjson_mut_obj_size(v), i = 0;
    struct pair few[32], *pairs = n > NEAP_ARRAY_LEN(few) ? neap_malloc(n * sizeof(*pairs)) : few;
    bool sorted = true;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it)); i++) {
        pairs[i] = (struct pair){k, yyjson_mut_obj_iter_get_val(k)};
        sorted = sorted && (i == 0 || by_key(&pairs[i - 1], &pairs[i]) <= 0);
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
        neap_json_write_sorted(out, pairs[i].value);
    }
    neap_buf_char(out, '}');
    if (pairs != few)
        free(pairs);
}

static void write_array(struct neap_buf *out, yyjson_mut_val *v)
{
    bool first = true;
    neap_buf_char(out, '[');
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)); first = false) {
        if (!first)
            neap_buf_char(out, ',');
        neap_json_write_sorted(out, e);
    }
    neap_buf_char(out, ']');
}

void neap_json_write_sorted(struct neap_buf *out, yyjson_mut_val *v)
{
    switch (yyjson_mut_get_type(v)) {
    case YYJSON_TYPE_OBJ:
        write_object(out, v);
        break;
    case YYJSON_TYPE_ARR:
        write_array(out, v);
        break;
    case YYJSON_TYPE_STR:
        neap_buf_json_string(out, yyjson_mut_get_str(v), yyjson_mut_get_len(v));
        break;
    case YYJSON_TYPE_NUM:
        neap_json_write_number(out, v);
        break;
    case YYJSON_TYPE_BOOL:
        neap_buf_str(out, yyjson_mut_get_bool(v) ? "true" : "false");
        break;
    default:
        neap_buf_str(out, "null");
    }
}
