/* Quantities: canonical text, whole units and thousandths. */
#include "neap_test.h"
#include <neap/kind.h>

static const struct {
    const char *in, *canonical; /* NULL: no quantity */
    int64_t milli, value;
} facts[] = {
    {"0", "0", 0, 0},
    {"-0", "0", 0, 0},
    {"1", "1", 1000, 1},
    {"0.5", "500m", 500, 1},
    {".5", "500m", 500, 1},
    {"5.", "5", 5000, 5},
    {"+1", "1", 1000, 1},
    {"100m", "100m", 100, 1},
    {"1000m", "1", 1000, 1},
    {"1500m", "1500m", 1500, 2},
    {"-1500m", "-1500m", -1500, -2},
    {"1e3", "1e3", 1000000, 1000},
    {"1E3", "1e3", 1000000, 1000},
    {"1000e0", "1e3", 1000000, 1000},
    {"12e-3", "12e-3", 12, 1},
    {"1k", "1k", 1000000, 1000},
    {"1000k", "1M", 1000000000, 1000000},
    {"1024", "1024", 1024000, 1024},
    {"1Ki", "1Ki", 1024000, 1024},
    {"1024Ki", "1Mi", 1048576000, 1048576},
    {"1.5Gi", "1536Mi", 1610612736000, 1610612736},
    {"0.5Ki", "512", 512000, 512},
    {"1.5Ki", "1536", 1536000, 1536},
    {"812.5Ki", "832k", 832000000, 832000}, /* as the real server shows it */
    {"-812.5Ki", "-832k", -832000000, -832000},
    {"0.1Ki", "102400m", 102400, 103},
    {"-1Ki", "-1Ki", -1024000, -1024},
    {"1.0001Ki", "1024102400u", 1024103, 1025},
    {"1n", "1n", 1, 1},
    {"0.1n", "1n", 1, 1},
    {"-0.1n", "-1n", -1, -1},
    {"1u", "1u", 1, 1},
    {"1.23456789123", "1234567892n", 1235, 2},
    {"1E", "1E", INT64_MAX, 1000000000000000000},
    {"1Ei", "1Ei", INT64_MAX, 1152921504606846976},
    {"8Ei", "9223372036854775807", INT64_MAX, INT64_MAX},
    {"100E", "9223372036854775807", INT64_MAX, INT64_MAX},
    {"-100E", "-9223372036854775807", -INT64_MAX - 1, -INT64_MAX},
    {"1e9999", "9223372036854775807", INT64_MAX, INT64_MAX},
    {"0e9999", "0", 0, 0},
    {"1e-9999", "1e-9", 1, 1},
    {"99999999999999999999999999999999", "9223372036854775807", INT64_MAX, INT64_MAX},
    {"0.00000000000000000000000000000000001", "1n", 1, 1},
    {"1.000000000000000000000000000Ei", "1Ei", INT64_MAX, 1152921504606846976},
    {"0.0000000000000000000000000000Ei", "0", 0, 0},
    {"", NULL, 0, 0},
    {".", NULL, 0, 0},
    {"-", NULL, 0, 0},
    {"m", NULL, 0, 0},
    {"1mm", NULL, 0, 0},
    {"1Kib", NULL, 0, 0},
    {"1K", NULL, 0, 0},
    {"1 k", NULL, 0, 0},
    {" 1", NULL, 0, 0},
    {"1.2.3", NULL, 0, 0},
    {"--1", NULL, 0, 0},
    {"1e", NULL, 0, 0},
    {"1e+", NULL, 0, 0},
    {"1e1.5", NULL, 0, 0},
    {"1e123456", NULL, 0, 0},
    {"0x10", NULL, 0, 0},
    {"NaN", NULL, 0, 0},
};

static void canonical(void **state)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct neap_buf out NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        bool ok = neap_quantity_format(&out, facts[i].in, strlen(facts[i].in));
        if (ok != !!facts[i].canonical || (ok && strcmp(out.data, facts[i].canonical) != 0))
            fail_msg("%s: want %s, got %s", facts[i].in,
                     facts[i].canonical ? facts[i].canonical : "(none)", ok ? out.data : "(none)");
    }
}

/* Canonical text is its own canonical text, and has the same value. */
static void stable(void **state)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct neap_buf again NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        const char *s = facts[i].canonical;
        int64_t a, b;
        if (!s)
            continue;
        assert_true(neap_quantity_format(&again, s, strlen(s)));
        assert_string_equal(again.data, s);
        assert_true(neap_quantity_milli(facts[i].in, strlen(facts[i].in), &a));
        assert_true(neap_quantity_milli(s, strlen(s), &b));
        assert_int_equal(a, b);
    }
}

static void values(void **state)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        int64_t milli = -7, value = -7;
        const char *s = facts[i].in;
        assert_int_equal(neap_quantity_milli(s, strlen(s), &milli), !!facts[i].canonical);
        assert_int_equal(neap_quantity_value(s, strlen(s), &value), !!facts[i].canonical);
        if (!facts[i].canonical) {
            assert_int_equal(milli, -7); /* untouched */
            continue;
        }
        if (milli != facts[i].milli || value != facts[i].value)
            fail_msg("%s: %lld milli, %lld", s, (long long)milli, (long long)value);
    }
}

static void long_text_is_refused(void **state)
{
    char text[300];
    int64_t v;
    memset(text, '1', sizeof(text));
    assert_false(neap_quantity_value(text, sizeof(text), &v));
    assert_true(neap_quantity_value(text, 200, &v));
    assert_int_equal(v, INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical),
        cmocka_unit_test(stable),
        cmocka_unit_test(values),
        cmocka_unit_test(long_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
