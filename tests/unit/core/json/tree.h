/* Shared by the tests of core/json and core/kind: text in, text out. */
#ifndef TEST_TREE_H
#define TEST_TREE_H

#include "neap_test.h"
#include <neap/json.h>

#define TEST_ARENA_MAX (64u << 20)

static inline yyjson_mut_doc *test_parse(struct neap_arena *arena, const char *json)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    yyjson_mut_doc *doc = NULL;
    assert_ok(neap_json_parse(arena, json, strlen(json), NULL, &doc, &err), err);
    return doc;
}

/* Sorted text in <arena>. */
static inline char *test_text(struct neap_arena *arena, yyjson_mut_val *v)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    neap_json_write_sorted(&b, v);
    return neap_arena_strndup(arena, b.data, b.len);
}

#endif
