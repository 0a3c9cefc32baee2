/* Label and field selectors: labels, a line break, fields. */
#include "fuzz.h"
#include <neap/object.h>

static void match(const struct neap_selector *s)
{
    static const char labels[] = "{\"a\":\"1\",\"b\":\"\",\"example.com/c\":\"x\"}";
    yyjson_doc *doc = yyjson_read(labels, sizeof(labels) - 1, 0);
    bool with = neap_selector_match_labels(s, yyjson_doc_get_root(doc));
    FUZZ_CHECK(with || !neap_selector_empty(s));
    neap_selector_match_labels(s, NULL);
    neap_selector_pinned(s, "metadata.name");
    yyjson_doc_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[][2] = {
        {"Pod", "v1"}, {"Node", "v1"}, {"Event", "v1"}, {"Secret", "v1"}};
    struct neap_arena *arena = neap_arena_new(FUZZ_ARENA_MAX);
    char *labels = neap_arena_strndup(arena, (const char *)data, size),
         *fields = strchr(labels, '\n');
    if (fields)
        *fields++ = '\0';
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        struct neap_err err = NEAP_ERR_INIT;
        struct neap_selector *s = NULL;
        int rc = neap_selector_parse(neap_kind_by_gvk("", names[i][1], names[i][0]), labels, fields,
                                     &s, &err);
        FUZZ_CHECK(rc == err.code && (rc == 0) == (s != NULL));
        if (s)
            match(s);
        neap_selector_free(s);
        neap_err_done(&err);
    }
    neap_arena_free(arena);
    return 0;
}
