/* Strategic merge patch: a target, a line break, a patch. The result is decoded and written. */
#include "fuzz.h"

static void patch(struct neap_arena *arena, yyjson_mut_doc *target, yyjson_mut_doc *change)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    const struct neap_kind *k = fuzz_kind_of(target->root);
    if (neap_kind_decode(target, target->root, k->type, NEAP_FV_IGNORE, NULL, &err) != 0)
        return;
    yyjson_mut_val *root = target->root;
    int rc = neap_patch_strategic(target, &root, change->root, k->type, &err);
    FUZZ_CHECK(rc == err.code);
    if (rc || neap_arena_exhausted(arena))
        return;
    if (neap_kind_decode(target, root, k->type, NEAP_FV_IGNORE, NULL, &err) == 0)
        neap_kind_write(&text, root, k->type);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nl = size ? memchr(data, '\n', size) : NULL;
    if (!nl)
        return 0;
    size_t first = (size_t)(nl - data);
    struct neap_arena *arena = neap_arena_new(FUZZ_ARENA_MAX);
    yyjson_mut_doc *target = fuzz_json(arena, (const char *)data, first);
    yyjson_mut_doc *change =
        target ? fuzz_json(arena, (const char *)nl + 1, size - first - 1) : NULL;
    if (change)
        patch(arena, target, change);
    neap_arena_free(arena);
    return 0;
}
