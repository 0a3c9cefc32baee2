/* Protobuf answers: an object goes in as a request's body does, and what is written is read back as the
 * same object. */
#include "fuzz.h"
#include <neap/protobuf.h>

static void read_back(struct neap_arena *arena, const struct neap_type *type,
                      const struct neap_buf *text, const struct neap_buf *bytes)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf again NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_doc *doc = NULL;
    int rc = neap_protobuf_parse(arena, bytes->data, bytes->len, type, &doc, &err);
    if (neap_arena_exhausted(arena))
        return;
    FUZZ_CHECK(rc == 0);
    rc = neap_kind_decode(doc, doc->root, type, NEAP_FV_STRICT, NULL, &err);
    if (neap_arena_exhausted(arena))
        return;
    FUZZ_CHECK(rc == 0);
    neap_kind_write(&again, doc->root, type);
    FUZZ_CHECK(again.len == text->len && memcmp(again.data, text->data, text->len) == 0);
}

static void through(struct neap_arena *arena, yyjson_mut_doc *doc)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT, bytes NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    const struct neap_kind *k = fuzz_kind_of(doc->root);
    if (neap_kind_decode(doc, doc->root, k->type, NEAP_FV_IGNORE, NULL, &err) != 0 ||
        neap_arena_exhausted(arena))
        return;
    neap_kind_write(&text, doc->root, k->type);
    yyjson_doc *canonical = yyjson_read(text.data, text.len, 0);
    if (!canonical)
        return;
    int rc = neap_protobuf_object(&bytes, k->type, yyjson_doc_get_root(canonical), &err);
    FUZZ_CHECK(rc == err.code && (rc == 0 || rc == NEAP_ETOOLARGE));
    if (rc == 0)
        read_back(arena, k->type, &text, &bytes);
    yyjson_doc_free(canonical);
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
