/* YAML in: what was read is JSON. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neap_arena *arena = neap_arena_new(FUZZ_ARENA_MAX);
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_decode_report report = {.arena = arena};
    yyjson_mut_doc *doc = NULL;
    char *yaml = fuzz_copy(data, size);
    int rc = neap_yaml_parse(arena, yaml, size, &report, &doc, &err);
    FUZZ_CHECK(rc == err.code && (rc == 0) == (doc != NULL));
    if (doc) {
        struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        neap_json_write_sorted(&text, doc->root);
        yyjson_mut_doc *again = fuzz_json(arena, text.data, text.len);
        FUZZ_CHECK(again ? neap_json_equal(doc->root, again->root) : neap_arena_exhausted(arena));
    }
    free(yaml);
    neap_err_done(&err);
    neap_arena_free(arena);
    return 0;
}
