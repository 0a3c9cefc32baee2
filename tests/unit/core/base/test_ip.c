/* Addresses and ranges of both families. */
#include "neap_test.h"
#include <neap/err.h>
#include <neap/ip.h>

static const char *at(const char *cidr, uint64_t offset)
{
    static char text[NEAP_IP_TEXT];
    neap_cidr_text_at(cidr, offset, text);
    return text;
}

static void test_at(void **state)
{
    assert_string_equal(at("10.96.0.0/16", 1), "10.96.0.1");
    assert_string_equal(at("10.96.3.4/16", 256), "10.96.1.0"); /* host bits are cleared */
    assert_string_equal(at("10.0.0.128/25", 127), "10.0.0.255");
    assert_string_equal(at("fd01::/108", 1), "fd01::1");
    assert_string_equal(at("fd01::/108", 0xfffff), "fd01::f:ffff");
    assert_string_equal(at("fd00:1:2:3::/64", UINT64_MAX), "fd00:1:2:3:ffff:ffff:ffff:ffff");
    assert_string_equal(at("FD00::00ff/120", 255), "fd00::ff");
    assert_string_equal(at("fd00::", 1), "");
    assert_string_equal(at(NULL, 1), "");
}

static void test_parse(void **state)
{
    static const char *const bad[] = {"",           "10.0.0.0",      "10.0.0.0/",   "10.0.0.0/33",
                                      "10.0.0/8",   "10.0.0.0/-1",   "10.0.0.0/ 8", "fd00::/129",
                                      "fd00:::/64", "fd00::1%lo/64", "/64",         "10.0.0.0/8x"};
    struct neap_cidr c;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (neap_cidr_parse(bad[i], &c))
            fail_msg("%s", bad[i]);
    assert_true(neap_cidr_parse("0.0.0.0/0", &c));
    assert_int_equal(neap_cidr_host_bits(&c), 32);
    assert_true(neap_cidr_parse("::/0", &c));
    assert_true(neap_cidr_parse("fd00::1/128", &c));
    assert_int_equal(neap_cidr_host_bits(&c), 0);
}

static bool offset(const char *cidr, const char *address, uint64_t *ret)
{
    struct neap_cidr c;
    struct neap_ip ip;
    assert_true(neap_cidr_parse(cidr, &c) && neap_ip_parse(address, &ip));
    return neap_cidr_offset(&c, &ip, ret);
}

static void test_offset(void **state)
{
    uint64_t n = 0;
    assert_true(offset("10.96.0.0/12", "10.97.0.2", &n));
    assert_int_equal(n, 65538);
    assert_false(offset("10.96.0.0/12", "10.112.0.0", &n));
    assert_false(offset("10.96.0.0/12", "fd00::1", &n));
    assert_true(offset("fd01::/108", "fd01::a:0", &n));
    assert_int_equal(n, 0xa0000);
    assert_false(offset("fd01::/108", "fd01::10:0", &n));
    assert_true(offset("fd00::/64", "fd00::ffff:ffff:ffff:ffff", &n));
    assert_true(n == UINT64_MAX);
    assert_false(offset("fd00::/32", "fd00:0:1::", &n)); /* too far to count */
}

static void test_cluster(void **state)
{
    static const struct {
        const char *pods, *services, *says;
    } cases[] = {
        {"10.244.0.0/16", "10.96.0.0/16", NULL},
        {"fd00::/64", "fd01::/108", NULL},
        {"fd00::/48", "fd01::/64", NULL},
        {"10.244.0.0", "10.96.0.0/16", "pod_cidr"},
        {"10.244.0.0/16", "10.96.0.300/16", "service_cidr"},
        {"10.244.0.0/31", "10.96.0.0/16", "/8 to /30"},
        {"fd00::/127", "fd01::/108", "/8 to /126"},
        {"fd00::/64", "10.96.0.0/16", "one family"},
        {"10.244.0.0/16,fd00::/64", "10.96.0.0/16", "dual-stack"},
        {"10.96.128.0/24", "10.96.0.0/16", "overlap"},
        {"fd00::/48", "fd00:0:0:1::/108", "overlap"},
        {"fd00::/64", "fd00::/64", "overlap"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct neap_err err = NEAP_ERR_INIT;
        int rc = neap_cidr_check_cluster(cases[i].pods, cases[i].services, &err);
        assert_int_equal(rc, cases[i].says ? NEAP_ECONFIG : 0);
        if (cases[i].says && !strstr(err.message, cases[i].says))
            fail_msg("%s: %s", cases[i].says, err.message);
        neap_err_done(&err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_at), cmocka_unit_test(test_parse),
                                       cmocka_unit_test(test_offset),
                                       cmocka_unit_test(test_cluster)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
