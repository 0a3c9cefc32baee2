/* An object of any kind, decoded, with defaults, validated: as a create, then as an update of itself and of
 * nothing. */
#include "fuzz.h"
#include <api/rest/validate/validate.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_arena *arena = neap_arena_new(16 << 20);
    const struct neap_kind *kind;
    yyjson_mut_doc *doc = NULL;
    json *root;
    if (neap_json_parse(arena, (const char *)data, n, NULL, &doc, &err) == 0 &&
        yyjson_mut_is_obj(root = yyjson_mut_doc_get_root(doc)) &&
        neap_kind_decode(doc, root, (kind = fuzz_kind_of(root))->type, NEAP_FV_IGNORE, NULL,
                         &err) == 0) {
        struct rest_validation v = {.root = root, .kind = kind, .err = &err};
        neap_kind_default(doc, root, kind);
        rest_validate(&v);
        v.old_root = yyjson_mut_val_mut_copy(doc, root);
        rest_validate(&v);
        v.old_root = yyjson_mut_obj(doc);
        rest_validate(&v);
        if (err.cause_count > NEAP_ERR_CAUSES_MAX)
            abort();
    }
    neap_err_done(&err);
    neap_arena_free(arena);
    return 0;
}
