/* An object's way in: decoded, converted to storage, defaulted, validated, written. What was written is its
 * own canonical text. */
#include "fuzz.h"

static void canonical_again(struct neap_arena *arena, const struct neap_kind *k,
                            struct neap_buf *text)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf second NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_doc *doc = fuzz_json(arena, text->data, text->len);
    if (!doc) {
        FUZZ_CHECK(neap_arena_exhausted(arena));
        return;
    }
    int rc = neap_kind_decode(doc, doc->root, k->type, NEAP_FV_STRICT, NULL, &err);
    if (neap_arena_exhausted(arena))
        return;
    FUZZ_CHECK(rc == 0);
    neap_kind_write(&second, doc->root, k->type);
    FUZZ_CHECK(second.len == text->len && memcmp(second.data, text->data, text->len) == 0);
}

static void through(struct neap_arena *arena, yyjson_mut_doc *doc)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_decode_report report = {.arena = arena};
    const struct neap_kind *k = fuzz_kind_of(doc->root);
    int rc = neap_kind_decode(doc, doc->root, k->type, NEAP_FV_WARN, &report, &err);
    FUZZ_CHECK(rc == err.code);
    if (rc)
        return;
    neap_kind_default(doc, doc->root, k);
    if (k->storage != k) {
        FUZZ_CHECK(neap_kind_convert(doc, doc->root, k, k->storage, &err) == 0);
        k = k->storage;
    }
    neap_kind_validate(doc->root, NULL, k, &err);
    neap_kind_write(&text, doc->root, k->type);
    if (!neap_arena_exhausted(arena))
        canonical_again(arena, k, &text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neap_arena *arena = neap_arena_new(FUZZ_ARENA_MAX);
    char *json = fuzz_copy(data, size);
    yyjson_mut_doc *doc = fuzz_json(arena, json, size);
    if (doc)
        through(arena, doc);
    free(json);
    neap_arena_free(arena);
    return 0;
}
