/* Objects as another server shows them: with a resourceVersion, items of lists without kind and
 * apiVersion. See neap_object_from_value() in neap/object.h. */
#include "core/object/object_internal.h"

static uint64_t take_revision(yyjson_mut_val *meta)
{
    uint64_t revision = 0;
    yyjson_mut_val *v = yyjson_mut_obj_remove_key(meta, "resourceVersion");
    if (yyjson_mut_is_str(v) && !neap_parse_u64(yyjson_mut_get_str(v), UINT64_MAX, &revision))
        revision = 0;
    return revision;
}

/* {"kind":K,"apiVersion":V, in front of what <from> holds. */
static yyjson_mut_val *with_front(yyjson_mut_doc *doc, const struct neap_kind *kind,
                                  yyjson_mut_val *from)
{
    char version[128];
    yyjson_mut_val *to = yyjson_mut_obj(doc), *k;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(from);
    neap_kind_api_version(kind, version);
    yyjson_mut_obj_add_str(doc, to, "kind", kind->kind);
    yyjson_mut_obj_add_strcpy(doc, to, "apiVersion", version);
    while ((k = yyjson_mut_obj_iter_next(&it))) {
        if (yyjson_mut_equals_str(k, "kind") || yyjson_mut_equals_str(k, "apiVersion"))
            continue;
        yyjson_mut_obj_add(to, yyjson_mut_strcpy(doc, yyjson_mut_get_str(k)),
                           yyjson_mut_val_mut_copy(doc, yyjson_mut_obj_iter_get_val(k)));
    }
    return to;
}

int neap_object_from_value(const struct neap_kind *kind, yyjson_val *value,
                           struct neap_object **ret, struct neap_err *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_val_mut_copy(doc, value);
    yyjson_mut_val *meta = yyjson_mut_obj_get(root, "metadata");
    uint64_t revision = take_revision(meta);
    size_t len;
    int code = NEAP_EINTERNAL;
    char *text =
        yyjson_mut_is_obj(root) ? yyjson_mut_val_write(with_front(doc, kind, root), 0, &len) : NULL;
    if (text)
        code = neap_object_new(kind, text, len, revision, 0, ret, err);
    else
        neap_err_set(err, code, "%s: the answer is not an object", kind->kind);
    free(text);
    yyjson_mut_doc_free(doc);
    return code;
}
