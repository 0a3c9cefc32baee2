/* Trees: paths, equality, sorted writing. */
#include "json_internal.h"

yyjson_mut_val *neap_json_at(yyjson_mut_val *root, const char *path)
{
    while (root && *path) {
        size_t n = strcspn(path, ".");
        root = yyjson_mut_obj_getn(root, path, n);
        path += n + (path[n] == '.');
    }
    return root;
}

yyjson_val *neap_json_val_at(yyjson_val *root, const char *path)
{
    while (root && *path) {
        size_t n = strcspn(path, ".");
        root = yyjson_obj_getn(root, path, n);
        path += n + (path[n] == '.');
    }
    return root;
}

const char *neap_json_str_at(yyjson_mut_val *root, const char *path)
{
    return yyjson_mut_get_str(neap_json_at(root, path));
}

const char *neap_json_val_str_at(yyjson_val *root, const char *path)
{
    return yyjson_get_str(neap_json_val_at(root, path));
}

bool neap_json_set_at(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *path,
                      yyjson_mut_val *value)
{
    for (;;) {
        size_t n = strcspn(path, ".");
        if (!yyjson_mut_is_obj(root))
            return false;
        if (path[n] == '\0')
            break;
        yyjson_mut_val *next = yyjson_mut_obj_getn(root, path, n);
        if (!yyjson_mut_is_obj(next)) {
            if (!value)
                return true;
            yyjson_mut_val *key = yyjson_mut_strncpy(doc, path, n);
            next = yyjson_mut_obj(doc);
            if (!key || !next || !yyjson_mut_obj_put(root, key, next))
                return false;
        }
        root = next;
        path += n + 1;
    }
    if (!value) {
        yyjson_mut_obj_remove_key(root, path);
        return true;
    }
    yyjson_mut_val *old = yyjson_mut_obj_get(root, path);
    if (old == value)
        return true;
    yyjson_mut_val *key = yyjson_mut_strcpy(doc, path);
    return key && yyjson_mut_obj_put(root, key, value);
}

static bool number_equal(yyjson_mut_val *a, yyjson_mut_val *b)
{
    if (yyjson_mut_is_real(a) || yyjson_mut_is_real(b))
        return yyjson_mut_get_num(a) == yyjson_mut_get_num(b);
    return yyjson_mut_is_sint(a) == yyjson_mut_is_sint(b)
               ? yyjson_mut_get_uint(a) == yyjson_mut_get_uint(b)
               : yyjson_mut_get_sint(a) >= 0 && yyjson_mut_get_sint(b) >= 0 &&
                     yyjson_mut_get_uint(a) == yyjson_mut_get_uint(b);
}

static bool object_equal(yyjson_mut_val *a, yyjson_mut_val *b)
{
    if (yyjson_mut_obj_size(a) != yyjson_mut_obj_size(b))
        return false;
    yyjson_mut_obj_iter at = yyjson_mut_obj_iter_with(a), bt = yyjson_mut_obj_iter_with(b);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&at));) {
        /* the iterator resumes where it stood: equal orders cost one pass */
        yyjson_mut_val *other =
            yyjson_mut_obj_iter_getn(&bt, yyjson_mut_get_str(k), yyjson_mut_get_len(k));
        if (!other || !neap_json_equal(yyjson_mut_obj_iter_get_val(k), other))
            return false;
    }
    return true;
}

static bool array_equal(yyjson_mut_val *a, yyjson_mut_val *b)
{
    if (yyjson_mut_arr_size(a) != yyjson_mut_arr_size(b))
        return false;
    yyjson_mut_arr_iter at = yyjson_mut_arr_iter_with(a), bt = yyjson_mut_arr_iter_with(b);
    for (yyjson_mut_val *v; (v = yyjson_mut_arr_iter_next(&at));)
        if (!neap_json_equal(v, yyjson_mut_arr_iter_next(&bt)))
            return false;
    return true;
}

bool neap_json_equal(yyjson_mut_val *a, yyjson_mut_val *b)
{
    if (a == b)
        return true;
    if (!a || !b || yyjson_mut_get_type(a) != yyjson_mut_get_type(b))
        return false;
    switch (yyjson_mut_get_type(a)) {
    case YYJSON_TYPE_OBJ:
        return object_equal(a, b);
    case YYJSON_TYPE_ARR:
        return array_equal(a, b);
    case YYJSON_TYPE_STR:
        return yyjson_mut_get_len(a) == yyjson_mut_get_len(b) &&
               memcmp(yyjson_mut_get_str(a), yyjson_mut_get_str(b), yyjson_mut_get_len(a)) == 0;
    case YYJSON_TYPE_NUM:
        return number_equal(a, b);
    case YYJSON_TYPE_BOOL:
        return yyjson_mut_get_bool(a) == yyjson_mut_get_bool(b);
    default:
        return true;
    }
}

bool neap_json_deeper_than(yyjson_mut_val *v, unsigned max)
{
    if (!yyjson_mut_is_ctn(v))
        return false;
    if (max == 0)
        return true;
    size_t i, n;
    yyjson_mut_val *k, *child;
    if (yyjson_mut_is_arr(v)) {
        yyjson_mut_arr_foreach(v, i, n, child)
        {
            if (neap_json_deeper_than(child, max - 1))
                return true;
        }
        return false;
    }
    yyjson_mut_obj_foreach(v, i, n, k, child)
    {
        if (neap_json_deeper_than(child, max - 1))
            return true;
    }
    return false;
}
