/* Protobuf bodies: the first line names the kind ("apps/v1 Deployment"), the envelope's mark is put before the
 * rest. What is read goes the way of JSON, and what is written is JSON. */
#include "fuzz.h"

static void read_one(struct neap_arena *arena, const struct neap_kind *k, const char *bytes,
                     size_t len)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_doc *doc = NULL;
    int rc = neap_protobuf_parse(arena, bytes, len, k->type, &doc, &err);
    FUZZ_CHECK(rc == err.code);
    if (rc || neap_kind_decode(doc, doc->root, k->type, NEAP_FV_WARN, NULL, &err) != 0 ||
        neap_arena_exhausted(arena))
        return;
    neap_kind_write(&text, doc->root, k->type);
    FUZZ_CHECK(fuzz_json(arena, text.data, text.len) || neap_arena_exhausted(arena));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    if (!end)
        return 0;
    struct neap_arena *arena = neap_arena_new(FUZZ_ARENA_MAX);
    char *version = fuzz_line(data, (size_t)(end - data)), *name = strchr(version, ' ');
    size_t len = size - (size_t)(end + 1 - data);
    char *bytes = neap_malloc(len + 4);
    if (name)
        *name++ = '\0';
    memcpy(bytes, "k8s", 4);
    memcpy(bytes + 4, end + 1, len);
    read_one(arena, fuzz_kind_named(version, name), bytes, len + 4);
    free(bytes);
    free(version);
    neap_arena_free(arena);
    return 0;
}
