/* JSON merge patch (RFC 7386). */
#include <neap/json.h>

static void merge(yyjson_mut_doc *doc, yyjson_mut_val *target, yyjson_mut_val *patch)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(patch);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        yyjson_mut_val *v = yyjson_mut_obj_iter_get_val(k);
        const char *key = yyjson_mut_get_str(k);
        size_t len = yyjson_mut_get_len(k);
        if (yyjson_mut_is_null(v)) {
            yyjson_mut_obj_remove_keyn(target, key, len);
            continue;
        }
        yyjson_mut_val *old = yyjson_mut_obj_getn(target, key, len);
        if (yyjson_mut_is_obj(v)) {
            if (!yyjson_mut_is_obj(old)) {
                old = yyjson_mut_obj(doc);
                yyjson_mut_obj_put(target, yyjson_mut_strncpy(doc, key, len), old);
            }
            if (old)
                merge(doc, old, v);
        } else {
            yyjson_mut_obj_put(target, yyjson_mut_strncpy(doc, key, len),
                               yyjson_mut_val_mut_copy(doc, v));
        }
    }
}

int neap_patch_merge(yyjson_mut_doc *doc, yyjson_mut_val **target, yyjson_mut_val *patch,
                     struct neap_err *err)
{
    if (!yyjson_mut_is_obj(patch))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "error decoding patch: json: cannot unmarshal %s into Go value of type "
                            "map[string]interface {}",
                            neap_json_type_name(patch));
    if (!yyjson_mut_is_obj(*target))
        *target = yyjson_mut_obj(doc);
    merge(doc, *target, patch);
    return 0;
}

const char *neap_json_type_name(yyjson_mut_val *v)
{
    switch (yyjson_mut_get_type(v)) {
    case YYJSON_TYPE_OBJ:
        return "object";
    case YYJSON_TYPE_ARR:
        return "array";
    case YYJSON_TYPE_STR:
        return "string";
    case YYJSON_TYPE_NUM:
        return "number";
    case YYJSON_TYPE_BOOL:
        return "bool";
    default:
        return "null";
    }
}
