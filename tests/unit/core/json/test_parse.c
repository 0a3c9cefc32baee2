/* JSON in: limits, duplicate keys, Go's words for bad text; paths, equality, sorted writing. */
#include "tree.h"

static void bad(const char *json, const char *words)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    yyjson_mut_doc *doc = NULL;
    assert_int_equal(neap_json_parse(arena, json, strlen(json), NULL, &doc, &err),
                     NEAP_EBADREQUEST);
    assert_string_equal(err.message, words);
    neap_arena_free(arena);
}

static void go_words(void **state)
{
    bad("", "unexpected end of JSON input");
    bad("{\"a\":", "unexpected end of JSON input");
    bad("{\"a\":x}", "invalid character 'x' looking for beginning of value");
    bad("{a:1}", "invalid character 'a' looking for beginning of object key string");
    bad("{\"a\" 1}", "invalid character '1' after object key");
    bad("{} x", "invalid character 'x' after top-level value");
    bad("{\"a\":'}", "invalid character '\\'' looking for beginning of value");
}

static char *nested(char open, char close, size_t depth)
{
    char *s = neap_malloc(2 * depth + 1);
    memset(s, open, depth);
    memset(s + depth, close, depth);
    s[2 * depth] = '\0';
    return s;
}

static void depth(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    yyjson_mut_doc *doc;
    char *fits = nested('[', ']', NEAP_JSON_DEPTH_MAX),
         *over = nested('[', ']', NEAP_JSON_DEPTH_MAX + 1);
    char *open = nested('[', '[', 1 << 19);
    assert_ok(neap_json_parse(arena, fits, strlen(fits), NULL, &doc, &err), err);
    assert_int_equal(neap_json_parse(arena, over, strlen(over), NULL, &doc, &err),
                     NEAP_EBADREQUEST);
    assert_int_equal(neap_json_parse(arena, open, strlen(open), NULL, &doc, &err),
                     NEAP_EBADREQUEST);
    /* brackets in strings nest nothing */
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    neap_buf_str(&text, "[\"\\\"");
    neap_buf_str(&text, open);
    neap_buf_str(&text, "\"]");
    assert_ok(neap_json_parse(arena, text.data, text.len, NULL, &doc, &err), err);
    /* after a string that ends in a backslash they do */
    neap_buf_reset(&text);
    neap_buf_str(&text, "[\"\\\\\",");
    neap_buf_str(&text, open);
    assert_int_equal(neap_json_parse(arena, text.data, text.len, NULL, &doc, &err),
                     NEAP_EBADREQUEST);
    assert_non_null(strstr(err.message, "depth"));
    free(fits);
    free(over);
    free(open);
    neap_arena_free(arena);
}

static void arena_bounds(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_arena *arena = neap_arena_new(4096);
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_doc *doc;
    neap_buf_str(&text, "[0");
    for (int i = 0; i < 5000; i++)
        neap_buf_str(&text, ",0");
    neap_buf_char(&text, ']');
    assert_int_equal(neap_json_parse(arena, text.data, text.len, NULL, &doc, &err), NEAP_ETOOLARGE);
    neap_arena_free(arena);
}

static void duplicates(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_decode_report report = {.arena = arena};
    const char *json = "{\"a\":1,\"b\":{\"c\":[{\"x\":1,\"x\":2,\"x\":3}]},\"a\":{\"z\":4}}";
    yyjson_mut_doc *doc;
    assert_ok(neap_json_parse(arena, json, strlen(json), &report, &doc, &err), err);
    assert_string_equal(test_text(arena, doc->root), "{\"a\":{\"z\":4},\"b\":{\"c\":[{\"x\":3}]}}");
    assert_int_equal(report.count, 2);
    assert_string_equal(report.unknown[0], "duplicate field \"b.c[0].x\"");
    assert_string_equal(report.unknown[1], "duplicate field \"a\"");
    neap_arena_free(arena);
}

/* More keys than are compared pair by pair; one comes twice; keys that differ behind a NUL do not. */
static void duplicates_among_many(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    neap_buf_char(&text, '{');
    for (int i = 0; i < 100; i++)
        neap_buf_printf(&text, "\"k%d\":%d,", i, i);
    neap_buf_str(&text, "\"k7\":\"last\",\"n\\u0000a\":1,\"n\\u0000b\":2}");
    yyjson_mut_doc *doc = test_parse(arena, text.data);
    assert_int_equal(yyjson_mut_obj_size(doc->root), 102);
    assert_string_equal(neap_json_str_at(doc->root, "k7"), "last");
    neap_arena_free(arena);
}

static void report_is_bounded(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_decode_report report = {.arena = arena};
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_doc *doc;
    neap_buf_char(&text, '{');
    for (int i = 0; i < 500; i++)
        neap_buf_printf(&text, "%s\"k%d\":0,\"k%d\":1", i ? "," : "", i, i);
    neap_buf_char(&text, '}');
    assert_ok(neap_json_parse(arena, text.data, text.len, &report, &doc, &err), err);
    assert_int_equal(report.count, NEAP_ARRAY_LEN(report.unknown));
    assert_int_equal(yyjson_mut_obj_size(doc->root), 500);
    neap_arena_free(arena);
}

static void numbers(void **state)
{
    static const char *const pairs[][2] = {{"[1.0]", "[1]"},
                                           {"[-0.5]", "[-0.5]"},
                                           {"[1e3]", "[1000]"},
                                           {"[18446744073709551615]", "[18446744073709551615]"},
                                           {"[-9223372036854775808]", "[-9223372036854775808]"},
                                           {"[0]", "[0]"},
                                           {"[0.1]", "[0.1]"}};
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(pairs); i++)
        assert_string_equal(test_text(arena, test_parse(arena, pairs[i][0])->root), pairs[i][1]);
    neap_arena_free(arena);
}

static void sorted_text(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    yyjson_mut_doc *doc =
        test_parse(arena, "{\"b\":[true,null],\"a\":\"<\\u0001>\",\"aa\":{},\"B\":[]}");
    assert_string_equal(test_text(arena, doc->root),
                        "{\"B\":[],\"a\":\"\\u003c\\u0001\\u003e\",\"aa\":{},\"b\":[true,null]}");
    neap_arena_free(arena);
}

static void paths(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    yyjson_mut_doc *doc = test_parse(arena, "{\"a\":{\"b\":\"x\",\"l\":[]},\"s\":\"t\"}");
    assert_string_equal(neap_json_str_at(doc->root, "a.b"), "x");
    assert_null(neap_json_at(doc->root, "a.b.c"));
    assert_null(neap_json_at(doc->root, "a.l.0"));
    assert_null(neap_json_str_at(doc->root, "a"));
    assert_true(neap_json_set_at(doc, doc->root, "s.deep.er", yyjson_mut_int(doc, 1)));
    assert_true(neap_json_set_at(doc, doc->root, "a.b", NULL));
    assert_true(neap_json_set_at(doc, doc->root, "no.such.thing", NULL));
    assert_string_equal(test_text(arena, doc->root),
                        "{\"a\":{\"l\":[]},\"s\":{\"deep\":{\"er\":1}}}");
    neap_arena_free(arena);
}

static void equality(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } pairs[] = {
        {"{\"a\":1,\"b\":[2]}", "{\"b\":[2],\"a\":1}", true},
        {"1", "1.0", true},
        {"-1", "18446744073709551615", false},
        {"[1,2]", "[2,1]", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":null}", false},
        {"\"a\\u0000b\"", "\"a\\u0000c\"", false},
        {"null", "false", false},
        {"\"1\"", "1", false},
    };
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(pairs); i++)
        assert_int_equal(neap_json_equal(test_parse(arena, pairs[i].a)->root,
                                         test_parse(arena, pairs[i].b)->root),
                         pairs[i].same);
    neap_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(go_words),
        cmocka_unit_test(depth),
        cmocka_unit_test(arena_bounds),
        cmocka_unit_test(duplicates),
        cmocka_unit_test(duplicates_among_many),
        cmocka_unit_test(report_is_bounded),
        cmocka_unit_test(numbers),
        cmocka_unit_test(sorted_text),
        cmocka_unit_test(paths),
        cmocka_unit_test(equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
