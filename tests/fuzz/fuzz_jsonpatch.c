/* JSON patch and JSON merge patch: a target, a line break, a patch. */
#include "fuzz.h"

enum { COPY_MAX = 1 << 16 };

static void written(struct neap_arena *arena, yyjson_mut_val *root)
{
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    if (neap_arena_exhausted(arena))
        return;
    neap_json_write_sorted(&text, root);
    /* it is still within what the parser takes */
    yyjson_mut_doc *again = fuzz_json(arena, text.data, text.len);
    FUZZ_CHECK(again ? neap_json_equal(root, again->root) : neap_arena_exhausted(arena));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nl = size ? memchr(data, '\n', size) : NULL;
    if (!nl)
        return 0;
    size_t first = (size_t)(nl - data);
    for (int merge = 0; merge < 2; merge++) {
        struct neap_err err = NEAP_ERR_INIT;
        struct neap_arena *arena = neap_arena_new(FUZZ_ARENA_MAX);
        yyjson_mut_doc *target = fuzz_json(arena, (const char *)data, first);
        yyjson_mut_doc *patch =
            target ? fuzz_json(arena, (const char *)nl + 1, size - first - 1) : NULL;
        if (patch) {
            yyjson_mut_val *root = target->root;
            int rc = merge ? neap_patch_merge(target, &root, patch->root, &err)
                           : neap_patch_json(target, &root, patch->root, COPY_MAX, &err);
            FUZZ_CHECK(rc == err.code);
            if (rc == 0)
                written(arena, root);
        }
        neap_err_done(&err);
        neap_arena_free(arena);
    }
    return 0;
}
