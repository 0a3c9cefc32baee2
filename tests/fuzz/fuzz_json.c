/* JSON in; what was read is written and read again as the same, by both JSON and YAML. */
#include "fuzz.h"

enum { KEY_MAX = 100 }; /* a YAML key ends within 1024 characters, escapes included */

static bool short_keys(yyjson_mut_val *v)
{
    size_t i, n;
    yyjson_mut_val *k, *child;
    yyjson_mut_arr_foreach(v, i, n, child)
    {
        if (!short_keys(child))
            return false;
    }
    yyjson_mut_obj_foreach(v, i, n, k, child)
    {
        if (yyjson_mut_get_len(k) > KEY_MAX || !short_keys(child))
            return false;
    }
    return true;
}

static void yaml_again(struct neap_arena *arena, yyjson_mut_val *root)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_doc *doc = NULL;
    neap_yaml_write(&text, root);
    if (neap_yaml_parse(arena, text.data, text.len, NULL, &doc, &err) != 0) {
        FUZZ_CHECK(neap_arena_exhausted(arena));
        return;
    }
    FUZZ_CHECK(neap_json_equal(root, doc->root));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neap_arena *arena = neap_arena_new(FUZZ_ARENA_MAX);
    char *json = fuzz_copy(data, size);
    yyjson_mut_doc *doc = fuzz_json(arena, json, size);
    if (doc) {
        struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        neap_json_write_sorted(&text, doc->root);
        yyjson_mut_doc *again = fuzz_json(arena, text.data, text.len);
        FUZZ_CHECK(again ? neap_json_equal(doc->root, again->root) : neap_arena_exhausted(arena));
        if (short_keys(doc->root))
            yaml_again(arena, doc->root);
    }
    free(json);
    neap_arena_free(arena);
    return 0;
}
