/* Values as Go's %v prints them: in a few of the real server's messages. */
#include "json_internal.h"

struct entry {
    yyjson_mut_val *key, *value;
};

static int by_key(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return strcmp(yyjson_mut_get_str(x->key), yyjson_mut_get_str(y->key));
}

static void write_map(struct neap_buf *out, yyjson_mut_val *v)
{
    size_t n = yyjson_mut_obj_size(v), i = 0;
    struct entry *entries = neap_malloc((n + 1) * sizeof(*entries));
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));)
        entries[i++] = (struct entry){k, yyjson_mut_obj_iter_get_val(k)};
    qsort(entries, n, sizeof(*entries), by_key);
    neap_buf_str(out, "map[");
    for (i = 0; i < n; i++) {
        neap_buf_printf(out, "%s%s:", i ? " " : "", yyjson_mut_get_str(entries[i].key));
        neap_json_write_go(out, entries[i].value);
    }
    neap_buf_char(out, ']');
    free(entries);
}

static void write_list(struct neap_buf *out, yyjson_mut_val *v)
{
    bool first = true;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
    neap_buf_char(out, '[');
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)); first = false) {
        neap_buf_str(out, first ? "" : " ");
        neap_json_write_go(out, e);
    }
    neap_buf_char(out, ']');
}

void neap_json_write_go(struct neap_buf *out, yyjson_mut_val *v)
{
    if (yyjson_mut_is_obj(v))
        write_map(out, v);
    else if (yyjson_mut_is_arr(v))
        write_list(out, v);
    else if (yyjson_mut_is_str(v))
        neap_buf_append(out, yyjson_mut_get_str(v), yyjson_mut_get_len(v));
    else if (yyjson_mut_is_null(v))
        neap_buf_str(out, "<nil>");
    else
        neap_json_write_sorted(out, v);
}
