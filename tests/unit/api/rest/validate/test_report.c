/* The layer below the rules: paths, causes, words, addresses, cron, values as the server's types print
 * them, diffs. */
#include "neap_test.h"
#include "api/rest/validate/cron.h"
#include "api/rest/validate/shapes.h"

struct fixture {
    struct neap_err err;
    struct rest_validation v;
    yyjson_mut_doc *doc;
};

static int set_up(void **state)
{
    struct fixture *f = neap_calloc(1, sizeof(*f));
    f->v.err = &f->err;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    neap_err_done(&f->err);
    yyjson_mut_doc_free(f->doc);
    free(f);
    return 0;
}

static json *parse(struct fixture *f, const char *text_)
{
    yyjson_doc *doc = yyjson_read(text_, strlen(text_), 0);
    assert_non_null(doc);
    yyjson_mut_doc_free(f->doc);
    f->doc = yyjson_doc_mut_copy(doc, NULL);
    yyjson_doc_free(doc);
    return yyjson_mut_doc_get_root(f->doc);
}

static void assert_cause(struct fixture *f, unsigned i, const char *reason, const char *field,
                         const char *message)
{
    assert_true(i < f->err.cause_count);
    assert_string_equal(f->err.causes[i].reason, reason);
    assert_string_equal(f->err.causes[i].field, field);
    assert_string_equal(f->err.causes[i].message, message);
}

static void paths_are_fields_indexes_and_keys(void **state)
{
    struct fixture *f = *state;
    path p = AT(NULL, "spec"), list = AT(p, "containers"), item = ITEM(list, 2);
    rest_required(&f->v, KEY(AT(item, "limits"), "a.b/c"), NO_WHY);
    rest_forbidden(&f->v, AT(NULL, "x"), "because of %d", 3);
    assert_cause(f, 0, "FieldValueRequired", "spec.containers[2].limits[a.b/c]", "Required value");
    assert_cause(f, 1, "FieldValueForbidden", "x", "Forbidden: because of 3");
    assert_int_equal(f->err.code, NEAP_EINVALID);
}

static void values_are_shown_as_go_does(void **state)
{
    struct fixture *f = *state;
    static const char *const values[] = {"a", "b", NULL};
    path p = AT(NULL, "f");
    rest_invalid_string(&f->v, p, "a\a\"\\\x01<\xc3\xa9\xff", "why");
    rest_invalid(&f->v, p, NULL, "why");
    rest_invalid(&f->v, p, parse(f, "[1,\"x\",{\"b\":true,\"a\":null}]"), "why");
    rest_unsupported(&f->v, p, "", values);
    rest_too_long(&f->v, p, 63);
    rest_duplicate_string(&f->v, p, "d");
    rest_not_found(&f->v, p, "n", "");
    rest_too_many(&f->v, p, 5, 1);
    assert_cause(f, 0, "FieldValueInvalid", "f",
                 "Invalid value: \"a\\a\\\"\\\\\\x01<\xc3\xa9\\xff\": why");
    assert_cause(f, 1, "FieldValueInvalid", "f", "Invalid value: null: why");
    assert_cause(f, 2, "FieldValueInvalid", "f",
                 "Invalid value: [1,\"x\",{\"a\":null,\"b\":true}]: why");
    assert_cause(f, 3, "FieldValueNotSupported", "f",
                 "Unsupported value: \"\": supported values: \"a\", \"b\"");
    assert_cause(f, 4, "FieldValueTooLong", "f", "Too long: may not be more than 63 bytes");
    assert_cause(f, 5, "FieldValueDuplicate", "f", "Duplicate value: \"d\"");
    assert_cause(f, 6, "FieldValueNotFound", "f", "Not found: \"n\"");
    assert_cause(f, 7, "FieldValueTooMany", "f", "Too many: 5: must have at most 1 item");
}

static unsigned problems(rest_words *words, const char *s)
{
    struct rest_problems found = {0};
    words(&found, s);
    return found.count;
}

static void words_count_every_problem(void **state)
{
    static const struct {
        rest_words *words;
        const char *text;
        unsigned count;
    } rows[] = {
        {rest_words_dns_label, "a-1", 0},
        {rest_words_dns_label, "a.b", 1},
        {rest_words_dns_label, "-", 1},
        {rest_words_dns_subdomain, "a.b-c.1", 0},
        {rest_words_dns_subdomain, "a..b", 1},
        {rest_words_dns_underscore, "_a._b", 0},
        {rest_words_dns1035_label, "1a", 1},
        {rest_words_wildcard, "*.a.b", 0},
        {rest_words_wildcard, "a.*.b", 1},
        {rest_words_qualified_name, "example.com/Name_1.x", 0},
        {rest_words_qualified_name, "", 2},
        {rest_words_qualified_name, "A_/x y", 2},
        {rest_words_qualified_name, "a/b/c", 1},
        {rest_words_label_value, "", 0},
        {rest_words_label_value, "-a", 1},
        {rest_words_port_name, "http-2", 0},
        {rest_words_port_name, "A_", 2},
        {rest_words_port_name, "-a--b", 2},
        {rest_words_env_name, "a.b-c d", 0},
        {rest_words_env_name, "a=b", 1},
        {rest_words_config_key, "..a", 1},
        {rest_words_config_key, "", 1},
        {rest_words_percent, "10%", 0},
        {rest_words_percent, "%", 1},
        {rest_words_segment, "a/%", 2},
        {rest_words_segment, "..", 1},
        {rest_words_c_identifier, "_a1", 0},
    };
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (problems(rows[i].words, rows[i].text) != rows[i].count)
            fail_msg("row %zu: \"%s\" has %u problems, want %u", i, rows[i].text,
                     problems(rows[i].words, rows[i].text), rows[i].count);
}

static void addresses_are_strict(void **state)
{
    struct fixture *f = *state;
    path p = AT(NULL, "ip");
    json *old = parse(f, "[\"1.2.3.04\"]");
    assert_true(rest_check_ip(&f->v, p, "10.0.0.1", NULL));
    assert_true(rest_check_ip(&f->v, p, "2001:db8::1", NULL));
    assert_true(rest_check_ip(&f->v, p, "1.2.3.04", old));
    assert_false(rest_check_ip(&f->v, p, "1.2.3.04", NULL));
    assert_false(rest_check_ip(&f->v, p, "::ffff:1.2.3.4", NULL));
    assert_false(rest_check_ip(&f->v, p, "1.2.3", NULL));
    assert_true(rest_check_cidr(&f->v, p, "10.0.0.0/8"));
    assert_false(rest_check_cidr(&f->v, p, "10.1.0.0/8"));
    assert_false(rest_check_cidr(&f->v, p, "10.0.0.0/33"));
    assert_false(rest_check_cidr(&f->v, p, "10.0.0.0/08"));
    assert_int_equal(f->err.cause_count, 6);
    assert_cause(f, 0, "FieldValueInvalid", "ip",
                 "Invalid value: \"1.2.3.04\": must not have leading 0s");
    rest_check_endpoint_ip(&f->v, p, "169.254.1.1");
    rest_check_endpoint_ip(&f->v, p, "::1");
    rest_check_endpoint_ip(&f->v, p, "8.8.8.8");
    assert_int_equal(f->err.cause_count, 8);
}

static void selectors_match_labels(void **state)
{
    struct fixture *f = *state;
    json *root = parse(f, "{\"labels\":{\"a\":\"1\",\"b\":\"2\"},"
                          "\"yes\":{\"matchLabels\":{\"a\":\"1\"},\"matchExpressions\":["
                          "{\"key\":\"b\",\"operator\":\"In\",\"values\":[\"2\",\"3\"]},"
                          "{\"key\":\"c\",\"operator\":\"DoesNotExist\"},"
                          "{\"key\":\"c\",\"operator\":\"NotIn\",\"values\":[\"2\"]}]},"
                          "\"no\":{\"matchExpressions\":[{\"key\":\"c\",\"operator\":\"Exists\"}]},"
                          "\"all\":{}}");
    json *labels = get(root, "labels");
    assert_true(rest_selector_matches(get(root, "yes"), labels));
    assert_false(rest_selector_matches(get(root, "no"), labels));
    assert_true(rest_selector_matches(get(root, "all"), labels));
    assert_false(rest_selector_matches(NULL, labels));
    assert_true(rest_selector_empty(get(root, "all")));
    assert_false(rest_selector_empty(NULL));
}

static void cron_expressions(void **state)
{
    static const struct {
        const char *schedule, *why;
    } rows[] = {
        {"*/5 0-3 1,15 jan-mar MON", NULL},
        {"@hourly", NULL},
        {"@every 1h30m", NULL},
        {"x", "expected exactly 5 fields, found 1: [x]"},
        {"61 * * * *", "end of range (61) above maximum (59): 61"},
        {"* * 0 * *", "beginning of range (0) below minimum (1): 0"},
        {"5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"},
        {"*/0 * * * *", "step of range should be a positive number: */0"},
        {"1-2-3 * * * *", "too many hyphens: 1-2-3"},
        {"1/2/3 * * * *", "too many slashes: 1/2/3"},
        {"@never", "unrecognized descriptor: @never"},
    };
    char why[256];
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        why[0] = '\0';
        assert_int_equal(rest_cron_check(rows[i].schedule, why, sizeof(why)), !rows[i].why);
        if (rows[i].why)
            assert_string_equal(why, rows[i].why);
    }
    assert_true(rest_time_zone_known("UTC"));
    assert_false(rest_time_zone_known("../etc"));
    assert_false(rest_time_zone_known("No/Where"));
}

static void types_print_every_field(void **state)
{
    struct fixture *f = *state;
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    json *port = parse(f, "{\"port\":80,\"protocol\":\"TCP\",\"targetPort\":\"http\"}");
    rest_show_go(&b, port, "ServicePort", false);
    assert_string_equal(b.data, "{\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,"
                                "\"Port\":80,\"TargetPort\":\"http\",\"NodePort\":0}");
    neap_buf_reset(&b);
    rest_show_go(&b, parse(f, "{\"name\":\"v\",\"hostPath\":{\"path\":\"/x\"}}"), "Volume", true);
    assert_non_null(strstr(b.data, "{\n \"Name\": \"v\",\n \"HostPath\": {\n  \"Path\": \"/x\",\n"
                                   "  \"Type\": null\n },\n \"EmptyDir\": null,"));
}

static void diffs_show_three_lines_around(void **state)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    (void)state;
    rest_diff(&b, "1\n2\n3\n4\n5\n6\n7\n8\n9", "1\n2\n3\n4\nfive\n6\n7\n8\n9");
    assert_string_equal(b.data, "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
    neap_buf_reset(&b);
    rest_diff(&b, "a\nb", "a\nb");
    assert_int_equal(b.len, 0);
    rest_diff(&b, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11", "0\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12");
    assert_string_equal(b.data, "@@ -1,4 +1,4 @@\n-1\n+0\n 2\n 3\n 4\n"
                                "@@ -9,3 +9,4 @@\n 9\n 10\n 11\n+12\n");
}

/* Lines that no two of which are alike, in the opposite order: the work is bounded, the end comes. */
static void a_hostile_diff_ends(void **state)
{
    struct neap_buf a NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_buf out NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        neap_buf_printf(&a, "%d\n", i);
        neap_buf_printf(&b, "%d\n", 20000 - i);
    }
    rest_diff(&out, a.data, b.data);
    assert_true(out.len > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(paths_are_fields_indexes_and_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_are_shown_as_go_does, set_up, tear_down),
        cmocka_unit_test(words_count_every_problem),
        cmocka_unit_test_setup_teardown(addresses_are_strict, set_up, tear_down),
        cmocka_unit_test_setup_teardown(selectors_match_labels, set_up, tear_down),
        cmocka_unit_test(cron_expressions),
        cmocka_unit_test_setup_teardown(types_print_every_field, set_up, tear_down),
        cmocka_unit_test(diffs_show_three_lines_around),
        cmocka_unit_test(a_hostile_diff_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
