/* JSON patch (RFC 6902, with the cases of its appendix A) and JSON merge patch (RFC 7386, appendix A). */
#include "tree.h"

#define COPY_MAX 4096

struct fact {
    const char *target, *patch, *want; /* NULL: refused */
};

static const struct fact json_facts[] = {
    {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
     "{\"baz\":\"qux\",\"foo\":\"bar\"}"},
    {"{\"foo\":[\"a\",\"c\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"b\"}]",
     "{\"foo\":[\"a\",\"b\",\"c\"]}"},
    {"{\"foo\":[1]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[2]}]", "{\"foo\":[1,[2]]}"},
    {"{\"foo\":[1]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":2}]", "{\"foo\":[1,2]}"},
    {"{\"foo\":[1]}", "[{\"op\":\"add\",\"path\":\"/foo/2\",\"value\":2}]", NULL},
    {"{\"foo\":1}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":2}]", NULL},
    {"{\"foo\":1}", "[{\"op\":\"add\",\"path\":\"/foo/b\",\"value\":2}]", NULL},
    /* the whole, an absent key: as the real server does, not as RFC 6902 has it */
    {"{\"foo\":1}", "[{\"op\":\"add\",\"path\":\"\",\"value\":{\"x\":2}}]", NULL},
    {"{\"foo\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"x\":2}}]", "{\"x\":2}"},
    {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":2}]", "{\"a\":1,\"b\":2}"},
    {"{\"a\":1}", "[{\"op\":\"copy\",\"from\":\"/b\",\"path\":\"/c\"}]", "{\"a\":1,\"c\":null}"},
    {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/b\",\"value\":null}]", "{\"a\":1}"},
    {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/b/c\",\"value\":null}]", NULL},
    {"{\"a\":1}", "[5]", NULL},
    {"{\"a\":1}", "null", "{\"a\":1}"},
    {"{\"a\":1,\"b\":2}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", "{\"a\":1}"},
    {"{\"a\":[1,2,3]}", "[{\"op\":\"remove\",\"path\":\"/a/1\"}]", "{\"a\":[1,3]}"},
    {"{\"a\":[1,2,3]}", "[{\"op\":\"remove\",\"path\":\"/a/-1\"}]", "{\"a\":[1,2]}"},
    {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL},
    {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"\"}]", NULL},
    {"{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/-\"}]", NULL},
    {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":{\"b\":null}}]",
     "{\"a\":{\"b\":null}}"},
    {"{\"foo\":{\"bar\":1,\"w\":2},\"q\":{\"c\":3}}",
     "[{\"op\":\"move\",\"from\":\"/foo/w\",\"path\":\"/q/t\"}]",
     "{\"foo\":{\"bar\":1},\"q\":{\"c\":3,\"t\":2}}"},
    {"{\"foo\":[1,2,3,4]}", "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
     "{\"foo\":[1,3,4,2]}"},
    {"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", NULL},
    {"{\"a\":{\"b\":[1]}}",
     "[{\"op\":\"copy\",\"from\":\"/a/b\",\"path\":\"/c\"},"
     "{\"op\":\"add\",\"path\":\"/c/-\",\"value\":2}]",
     "{\"a\":{\"b\":[1]},\"c\":[1,2]}"},
    {"{\"a/b\":1,\"m~n\":2}",
     "[{\"op\":\"test\",\"path\":\"/a~1b\",\"value\":1},"
     "{\"op\":\"test\",\"path\":\"/m~0n\",\"value\":2},"
     "{\"op\":\"remove\",\"path\":\"/a~1b\"}]",
     "{\"m~n\":2}"},
    {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1.0}]", "{\"a\":1}"},
    {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":\"1\"}]", NULL},
    {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/~2\",\"value\":1}]", NULL},
    {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", NULL},
    {"{\"a\":1}", "[{\"op\":\"spam\",\"path\":\"/a\"}]", NULL},
    {"{\"a\":1}", "[{\"path\":\"/a\"}]", NULL},
    {"{\"a\":1}", "[7]", NULL},
    {"{\"a\":1}", "[{\"op\":\"move\",\"path\":\"/b\"}]", NULL},
    {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\"}]", "{\"a\":1,\"b\":null}"},
    {"{\"a\":1}", "[]", "{\"a\":1}"},
};

static const struct fact merge_facts[] = {
    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
    {"[\"a\",\"b\"]", "{\"a\":1}", "{\"a\":1}"},
    {"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    {"{\"a\":1}", "[\"c\"]", NULL},
    {"{\"a\":1}", "null", NULL},
};

static int run(struct neap_arena *arena, const struct fact *f, bool merge, char **ret)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    yyjson_mut_doc *doc = test_parse(arena, f->target), *patch = test_parse(arena, f->patch);
    yyjson_mut_val *target = doc->root;
    int rc = merge ? neap_patch_merge(doc, &target, patch->root, &err)
                   : neap_patch_json(doc, &target, patch->root, COPY_MAX, &err);
    assert_int_equal(rc, err.code);
    *ret = rc ? NULL : test_text(arena, target);
    return rc;
}

static void check(const struct fact *facts, size_t count, bool merge)
{
    for (size_t i = 0; i < count; i++) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        char *got;
        int rc = run(arena, &facts[i], merge, &got);
        if (!facts[i].want != (rc != 0) || (got && strcmp(got, facts[i].want) != 0))
            fail_msg("%s + %s\n  want %s\n  got  %s", facts[i].target, facts[i].patch,
                     facts[i].want ? facts[i].want : "(refused)", got ? got : "(refused)");
        neap_arena_free(arena);
    }
}

static void json_patch(void **state)
{
    check(json_facts, NEAP_ARRAY_LEN(json_facts), false);
}

static void merge_patch(void **state)
{
    check(merge_facts, NEAP_ARRAY_LEN(merge_facts), true);
}

/* Sixty doublings would be 2^60 bytes. */
static void copies_are_bounded(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_buf patch NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    char *got;
    neap_buf_char(&patch, '[');
    for (int i = 0; i < 60; i++)
        neap_buf_printf(&patch, "%s{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/-\"}",
                        i ? "," : "");
    neap_buf_char(&patch, ']');
    struct fact f = {"{\"a\":[\"0123456789\"]}", patch.data, NULL};
    assert_int_equal(run(arena, &f, false, &got), NEAP_ETOOLARGE);
    neap_arena_free(arena);
}

/* Each round puts all that is there one level deeper, without a copy. */
static void moves_do_not_nest_without_end(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_buf patch NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    char *got;
    neap_buf_char(&patch, '[');
    for (int i = 0; i < 3000; i++)
        neap_buf_printf(&patch,
                        "%s{\"op\":\"add\",\"path\":\"/b\",\"value\":{}},"
                        "{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/b/a\"},"
                        "{\"op\":\"move\",\"from\":\"/b\",\"path\":\"/a\"}",
                        i ? "," : "");
    neap_buf_char(&patch, ']');
    struct fact f = {"{\"a\":{}}", patch.data, NULL};
    assert_int_equal(run(arena, &f, false, &got), NEAP_EINVALID);
    neap_arena_free(arena);
}

static void operations_are_counted(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_buf patch NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    char *got;
    neap_buf_char(&patch, '[');
    for (int i = 0; i < 10001; i++)
        neap_buf_printf(&patch, "%s{\"op\":\"test\",\"path\":\"/a\",\"value\":1}", i ? "," : "");
    neap_buf_char(&patch, ']');
    struct fact f = {"{\"a\":1}", patch.data, NULL};
    assert_int_equal(run(arena, &f, false, &got), NEAP_ETOOLARGE);
    neap_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_patch),
        cmocka_unit_test(merge_patch),
        cmocka_unit_test(copies_are_bounded),
        cmocka_unit_test(moves_do_not_nest_without_end),
        cmocka_unit_test(operations_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
