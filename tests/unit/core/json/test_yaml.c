/* YAML in, as Kubernetes' library reads it, and out, so that any reader gets the same back. */
#include "tree.h"

static int parse(struct neap_arena *arena, const char *yaml, size_t len,
                 struct neap_decode_report *report, yyjson_mut_doc **ret)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    int rc = neap_yaml_parse(arena, yaml, len, report, ret, &err);
    assert_int_equal(rc, err.code);
    return rc;
}

static void scalars(void **state)
{
    static const char *const facts[][2] = {
        {"yes", "true"},
        {"Off", "false"},
        {"y", "true"},
        {"~", "null"},
        {"", "null"},
        {"0o17", "15"},
        {"017", "15"},
        {"0x1F", "31"},
        {"0b101", "5"},
        {"1_000", "1000"},
        {"-12", "-12"},
        {"+3", "3"},
        {"1e3", "1000"},
        {".5", "0.5"},
        {"5.", "5"},
        {"'yes'", "\"yes\""},
        {"\"1\"", "\"1\""},
        {"!!str 1", "\"1\""},
        {"1.2.3", "\"1.2.3\""},
        {"0x1p3", "\"0x1p3\""},
        {"1e", "\"1e\""},
        {"12:30", "\"12:30\""},
        {"0xg", "\"0xg\""},
        {"089", "89"},
        {"1e999", "\"1e999\""},
        {"-", "[null]"},
        {"abc", "\"abc\""},
        {"18446744073709551615", "18446744073709551615"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"[1, a, {b: c}]", "[1,\"a\",{\"b\":\"c\"}]"},
        {"a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}"},
        {"a: >-\n  x\n  y\n", "{\"a\":\"x y\"}"},
        {"1: a\ntrue: b\n", "{\"1\":\"a\",\"true\":\"b\"}"},
        {"a: &x {b: 1}\nc: *x\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1}}"},
        {"---\na: 1\n---\nb: 2\n", "{\"a\":1}"},
        {"{\"json\": [\"too\"]}", "{\"json\":[\"too\"]}"},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        yyjson_mut_doc *doc;
        if (parse(arena, facts[i][0], strlen(facts[i][0]), NULL, &doc))
            fail_msg("%s is refused", facts[i][0]);
        assert_string_equal(test_text(arena, doc->root), facts[i][1]);
        neap_arena_free(arena);
    }
}

static void refused(void **state)
{
    static const char *const facts[] = {"a: b: c",     "[1",         "{a",         "\t- x",
                                        "a: *nowhere", "? [x]\n: y", "a: &a [*a]", "a: \"\\q\"",
                                        "%FOO",        "a: \x01",    "- \xff"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        yyjson_mut_doc *doc;
        if (parse(arena, facts[i], strlen(facts[i]), NULL, &doc) != NEAP_EBADREQUEST)
            fail_msg("%s is accepted", facts[i]);
        neap_arena_free(arena);
    }
}

static void duplicates(void **state)
{
    const char *yaml = "a: 1\nb:\n  x: 1\n  x: 2\na: 3\n";
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_decode_report report = {.arena = arena};
    for (int with = 0; with < 2; with++) {
        yyjson_mut_doc *doc;
        assert_int_equal(parse(arena, yaml, strlen(yaml), with ? &report : NULL, &doc), 0);
        assert_int_equal(yyjson_mut_obj_size(doc->root), 2);
        assert_string_equal(test_text(arena, doc->root), "{\"a\":3,\"b\":{\"x\":2}}");
    }
    assert_int_equal(report.count, 2);
    assert_string_equal(report.unknown[0],
                        "yaml: unmarshal errors:\n  line 4: key \"x\" already set in map");
    neap_arena_free(arena);
}

static void laughs_are_bounded(void **state)
{
    struct neap_buf yaml NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_arena *arena = neap_arena_new(1 << 20);
    yyjson_mut_doc *doc;
    neap_buf_str(&yaml, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 12; i++) {
        neap_buf_printf(&yaml, "a%d: &a%d [", i, i);
        for (int j = 0; j < 9; j++)
            neap_buf_printf(&yaml, "%s*a%d", j ? "," : "", i - 1);
        neap_buf_str(&yaml, "]\n");
    }
    assert_int_equal(parse(arena, yaml.data, yaml.len, NULL, &doc), NEAP_ETOOLARGE);
    neap_arena_free(arena);
}

/* Each anchor is within the depth, what they make together is not. */
static void aliases_do_not_nest_without_end(void **state)
{
    struct neap_buf yaml NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    yyjson_mut_doc *doc;
    neap_buf_str(&yaml, "a0: &a0 [x]\n");
    for (int i = 1; i < 60; i++) {
        neap_buf_printf(&yaml, "a%d: &a%d ", i, i);
        for (int j = 0; j < 200; j++)
            neap_buf_char(&yaml, '[');
        neap_buf_printf(&yaml, "*a%d", i - 1);
        for (int j = 0; j < 200; j++)
            neap_buf_char(&yaml, ']');
        neap_buf_char(&yaml, '\n');
    }
    assert_int_equal(parse(arena, yaml.data, yaml.len, NULL, &doc), NEAP_EBADREQUEST);
    neap_arena_free(arena);
}

static void written(void **state)
{
    static const char *const facts[][2] = {
        {"{\"b\":[1,{\"c\":null,\"d\":[]}],\"a\":\"x\"}", "a: x\nb:\n- 1\n- c: null\n  d: []\n"},
        {"{\"a\":\"yes\",\"b\":\"1\",\"c\":\"\",\"d\":\"a: b\",\"e\":\"#x\"}",
         "a: \"yes\"\nb: \"1\"\nc: \"\"\nd: \"a: b\"\ne: \"#x\"\n"},
        {"{\"a\":\"l1\\nl2\\n\",\"b\":\"l1\\nl2\"}", "a: |\n  l1\n  l2\nb: |-\n  l1\n  l2\n"},
        {"[[1,2],[]]", "-\n  - 1\n  - 2\n- []\n"},
        {"{}", "{}\n"},
        {"{\"t\":\"2020-01-01T00:00:00Z\"}", "t: \"2020-01-01T00:00:00Z\"\n"},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        struct neap_buf out NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        neap_yaml_write(&out, test_parse(arena, facts[i][0])->root);
        assert_string_equal(out.data, facts[i][1]);
        neap_arena_free(arena);
    }
}

/* What is written is read as the same. */
static void there_and_back(void **state)
{
    static const char *const facts[] = {
        "{\"a\":\".inf\",\"b\":\"-.INF\",\"c\":\".nan\",\"d\":\"0x1p3\",\"e\":\"1_0\",\"f\":"
        "\"08\"}",
        "[\"\\u0085\",\"x\\u0085y\\nz\\n\",\"\\u2028a\",\"\\ufeffb\",\"\\u007f\",\"\\u0080\","
        "\"\\u0000\"]",
        "[\" lead\",\"trail \",\"a\\n\\nb\",\"\\na\",\"a\\n\\n\",\"a "
        "\\nb\",\"\\ta\",\"a\\tb\\n\",\"\\r\"]",
        "{\"- a\":1,\"? b\":2,\"c: d\":3,\"\":4,\"null\":5,\"1\":6,\"e "
        "#f\":7,\"g:\":8,\"a\\nb\":9}",
        "[\"---\",\"...\",\"%a\",\"@b\",\"`c\",\"&d\",\"*e\",\"!f\",\"|\",\">\",\"'\",\"\\\"\","
        "\"\\\\\"]",
        "[[[[]],[{}]],[{\"a\":[{\"b\":[[1]]}]}]]",
        "[\"\\u00e9\\u4e2d\\ud83d\\ude00\",1.5,-3,true,false,null,1e300]",
        "\"top\\nlevel\\n\"",
        "{\"...\":1,\"... a\":2,\"--- b\":3,\"...c\":4}",
        "\"...\"",
        "\"... b\"",
        "\"...\\nc\"",
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        struct neap_buf out NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        yyjson_mut_doc *doc = test_parse(arena, facts[i]), *back = NULL;
        neap_yaml_write(&out, doc->root);
        if (parse(arena, out.data, out.len, NULL, &back) || !neap_json_equal(doc->root, back->root))
            fail_msg("%s\nwritten as\n%s", facts[i], out.data);
        neap_arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(refused),
        cmocka_unit_test(duplicates),
        cmocka_unit_test(laughs_are_bounded),
        cmocka_unit_test(aliases_do_not_nest_without_end),
        cmocka_unit_test(written),
        cmocka_unit_test(there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
