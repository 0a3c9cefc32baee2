/* Sets of fields: FieldsV1 read and written, and the operations on them. */
#include "../json/tree.h"
#include <neap/apply.h>

static struct neap_fields *fields(struct neap_arena *arena, const char *json)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_fields *set;
    assert_ok(neap_fields_parse(arena, test_parse(arena, json)->root, &set, &err), err);
    return set;
}

/* In the order of the set: not sorted by the writer. */
static char *text(struct neap_arena *arena, struct neap_fields *set)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(neap_arena_alc(arena));
    char *s = yyjson_mut_val_write(neap_fields_value(set, doc), 0, NULL);
    char *copy = neap_arena_strdup(arena, s);
    free(s);
    return copy;
}

static void canonical(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{}", "{}"},
        {"null", "{}"},
        {"{\"f:b\":{},\"f:a\":{}}", "{\"f:a\":{},\"f:b\":{}}"},
        {"{\"f:a\":{\"f:b\":{},\".\":{}}}", "{\"f:a\":{\".\":{},\"f:b\":{}}}"},
        {"{\"f:a\":null}", "{\"f:a\":{}}"},
        {"{\"i:10\":{},\"i:9\":{},\"v:2\":{},\"k:{\\\"a\\\":1}\":{},\"f:z\":{}}",
         "{\"f:z\":{},\"k:{\\\"a\\\":1}\":{},\"v:2\":{},\"i:9\":{},\"i:10\":{}}"},
        {"{\"v:true\":{},\"v:\\\"a\\\"\":{},\"v:10\":{},\"v:9.5\":{},\"v:null\":{}}",
         "{\"v:9.5\":{},\"v:10\":{},\"v:\\\"a\\\"\":{},\"v:true\":{},\"v:null\":{}}"},
        {"{\"k:{ \\\"p\\\": 443, "
         "\\\"a\\\":\\\"t\\\\u0063p\\\"}\":{},\"k:{\\\"a\\\":\\\"tcp\\\",\\\"p\\\":80}\":{}}",
         "{\"k:{\\\"a\\\":\\\"tcp\\\",\\\"p\\\":80}\":{},\"k:{\\\"a\\\":\\\"tcp\\\",\\\"p\\\":443}"
         "\":{}}"},
        {"{\"f:a\":{},\"r:later\":{\"f:b\":{}}}", "{\"f:a\":{}}"},
        {"{\"f:a\":{\"r:later\":{}}}", "{\"f:a\":{}}"},
        {"{\"f:a\":{\"f:b\":{}},\"f:a\":{\"f:c\":{}}}", "{\"f:a\":{\"f:c\":{}}}"},
        {"{\"v: 3\":{}}", "{\"v:3\":{}}"},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        assert_string_equal(text(arena, fields(arena, rows[i].in)), rows[i].out);
        neap_arena_free(arena);
    }
}

static void malformed(void **state)
{
    static const char *const rows[] = {
        "[]",
        "1",
        "\"f:a\"",
        "{\"f:a\":1}",
        "{\"f:a\":[]}",
        "{\"\":{}}",
        "{\"x\":{}}",
        "{\"fa\":{}}",
        "{\"k:\":{}}",
        "{\"k:[]\":{}}",
        "{\"k:{\\\"a\\\"}\":{}}",
        "{\"k:{\\\"a\\\":{}}\":{}}",
        "{\"k:{\\\"a\\\":1}x\":{}}",
        "{\"v:\":{}}",
        "{\"v:[1]\":{}}",
        "{\"v:\\\"a\\\"b\":{}}",
        "{\"i:\":{}}",
        "{\"i:1x\":{}}",
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        struct neap_fields *set;
        int rc = neap_fields_parse(arena, test_parse(arena, rows[i])->root, &set, &err);
        if (rc != NEAP_EBADREQUEST || err.code != rc)
            fail_msg("%s: %d", rows[i], rc);
        neap_arena_free(arena);
    }
}

static void too_deep(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_fields *set;
    for (int i = 0; i < 100; i++)
        neap_buf_str(&b, "{\"f:a\":");
    neap_buf_str(&b, "{}");
    for (int i = 0; i < 100; i++)
        neap_buf_char(&b, '}');
    assert_int_equal(neap_fields_parse(arena, test_parse(arena, b.data)->root, &set, &err),
                     NEAP_ETOOLARGE);
    neap_arena_free(arena);
}

static const char A[] =
    "{\"f:a\":{},\"f:b\":{\".\":{},\"f:c\":{},\"f:d\":{}},\"f:e\":{\"f:x\":{}}}";
static const char B[] = "{\"f:b\":{\".\":{},\"f:d\":{},\"f:f\":{}},\"f:e\":{},\"f:z\":{}}";

static void operations(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_fields *a = fields(arena, A), *b = fields(arena, B);
    assert_string_equal(text(arena, neap_fields_union(arena, a, b)),
                        "{\"f:a\":{},\"f:b\":{\".\":{},\"f:c\":{},\"f:d\":{},\"f:f\":{}},"
                        "\"f:e\":{\".\":{},\"f:x\":{}},\"f:z\":{}}");
    assert_string_equal(text(arena, neap_fields_intersection(arena, a, b)),
                        "{\"f:b\":{\".\":{},\"f:d\":{}}}");
    assert_string_equal(text(arena, neap_fields_difference(arena, a, b)),
                        "{\"f:a\":{},\"f:b\":{\"f:c\":{}},\"f:e\":{\"f:x\":{}}}");
    assert_string_equal(text(arena, neap_fields_difference_below(arena, a, b)), "{\"f:a\":{}}");
    assert_string_equal(text(arena, neap_fields_leaves(arena, a)),
                        "{\"f:a\":{},\"f:b\":{\"f:c\":{},\"f:d\":{}},\"f:e\":{\"f:x\":{}}}");
    assert_int_equal(neap_fields_count(a), 5);
    assert_int_equal(neap_fields_count(NULL), 0);
    assert_true(neap_fields_empty(neap_fields_difference(arena, a, a)));
    assert_true(neap_fields_equal(a, fields(arena, A)));
    assert_false(neap_fields_equal(a, b));
    assert_false(neap_fields_equal(a, NULL));
    assert_ptr_equal(neap_fields_union(arena, NULL, a), a);
    assert_true(neap_fields_empty(neap_fields_intersection(arena, a, NULL)));
    neap_arena_free(arena);
}

static void printed(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    neap_fields_print(
        &b, fields(arena, "{\"f:s\":{\"f:c\":{\"k:{\\\"n\\\":\\\"a\\\\\\\"b\\\",\\\"p\\\":80}\":{"
                          "\".\":{},\"f:i\":{}}},\"f:f\":{\"v:\\\"x\\\"\":{}}},\"f:z\":{}}"));
    assert_string_equal(b.data,
                        ".z\n.s.c[n=\"a\\\"b\",p=80]\n.s.c[n=\"a\\\"b\",p=80].i\n.s.f[=\"x\"]\n");
    neap_arena_free(arena);
}

/* Lists of many items take time that grows with them, not with their square. */
static void large(void **state)
{
    enum { N = 20000 };
    struct neap_arena *arena = neap_arena_new(256u << 20);
    const struct neap_kind *k = neap_kind_by_gvk("", "v1", "Pod");
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf b = NEAP_BUF_INIT, c = NEAP_BUF_INIT;
    struct neap_comparison diff;
    struct neap_fields *set;
    neap_buf_str(&b, "{\"spec\":{\"hostAliases\":[");
    neap_buf_str(&c, "{\"spec\":{\"hostAliases\":[");
    for (unsigned i = 0; i < N; i++) { /* in two orders that are not sorted */
        neap_buf_printf(&b, "%s{\"ip\":\"%u\"}", i ? "," : "", i * 7919u % N);
        neap_buf_printf(&c, "%s{\"ip\":\"%u\",\"hostnames\":[\"h\"]}", i ? "," : "",
                        1 + i * 104729u % N);
    }
    neap_buf_str(&b, "]}}");
    neap_buf_str(&c, "]}}");
    yyjson_mut_val *old = test_parse(arena, b.data)->root, *new_ = test_parse(arena, c.data)->root;
    assert_ok(neap_apply_fields_of(arena, k->type, old, &set, &err), err);
    assert_int_equal(neap_fields_count(set), 2 * N);
    assert_ok(neap_apply_compare(arena, k->type, old, new_, &diff, &err), err);
    assert_int_equal(neap_fields_count(diff.added), N - 1 + 3); /* hostnames; the new item */
    assert_int_equal(neap_fields_count(diff.removed), 2);
    neap_buf_done(&b);
    neap_buf_done(&c);
    neap_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical),  cmocka_unit_test(malformed), cmocka_unit_test(too_deep),
        cmocka_unit_test(operations), cmocka_unit_test(printed),   cmocka_unit_test(large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
