/* What the targets share. A finding is abort(): libFuzzer keeps the input. */
#ifndef NEAP_TEST_FUZZ_H
#define NEAP_TEST_FUZZ_H

#include <neap/kind.h>

#define FUZZ_ARENA_MAX (8u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A copy of exactly this size, so that a read beyond it is seen. */
static inline char *fuzz_copy(const void *data, size_t size)
{
    char *s = neap_malloc(size ? size : 1);
    if (size)
        memcpy(s, data, size);
    return s;
}

/* A copy that ends as C's strings do. */
static inline char *fuzz_line(const void *data, size_t size)
{
    char *s = neap_malloc(size + 1);
    memcpy(s, data, size);
    s[size] = '\0';
    return s;
}

/* NULL: refused, and the error says so. */
static inline yyjson_mut_doc *fuzz_json(struct neap_arena *arena, const char *json, size_t len)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_decode_report report = {.arena = arena};
    yyjson_mut_doc *doc = NULL;
    int rc = neap_json_parse(arena, json, len, &report, &doc, &err);
    FUZZ_CHECK(rc == err.code && (rc == 0) == (doc != NULL));
    return doc;
}

/* The kind "apps/v1", "Deployment"; a Pod when there is none. */
static inline const struct neap_kind *fuzz_kind_named(const char *version, const char *name)
{
    char group[64] = "";
    const char *slash = version ? strchr(version, '/') : NULL;
    if (slash && (size_t)(slash - version) < sizeof(group))
        memcpy(group, version, (size_t)(slash - version));
    const struct neap_kind *k =
        version && name ? neap_kind_by_gvk(group, slash ? slash + 1 : version, name) : NULL;
    return k ? k : neap_kind_by_gvk("", "v1", "Pod");
}

/* The kind that an object says it is. */
static inline const struct neap_kind *fuzz_kind_of(yyjson_mut_val *root)
{
    return fuzz_kind_named(neap_json_str_at(root, "apiVersion"), neap_json_str_at(root, "kind"));
}

#endif
