/* Where the proxy goes for a pod: never to this machine itself, whatever a status says. */
#include "neap_test.h"

#include "api/node/internal.h"

static int target(const char *pod_ip, char ip[64])
{
    int port = 0;
    char *json = neap_asprintf(
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\","
        "\"namespace\":\"a\",\"uid\":\"u\"},\"spec\":{\"containers\":[{\"name\":\"c\","
        "\"ports\":[{\"name\":\"web\",\"containerPort\":8080}]}]},"
        "\"status\":{\"podIP\":\"%s\"}}",
        pod_ip);
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_object *o = NULL;
    struct neap_call call = {.resource = "pods", .name = "p"};
    assert_ok(neap_object_new(neap_kind_storage("", "pods"), json, strlen(json), 0, 0, &o, &err),
              err);
    int rc = node_target(&call, o, "web", ip, &port);
    assert_int_equal(port, 8080);
    neap_err_done(&call.err);
    neap_object_unref(o);
    free(json);
    return rc;
}

static void test_addresses(void **state)
{
    static const char *const good[] = {"10.244.0.7", "192.168.1.1", "fd00::7", "2001:db8::1"};
    static const char *const bad[] = {
        "127.0.0.1", "127.9.9.9",  "169.254.169.254", "0.0.0.0", "224.0.0.1",        "::1",
        "::",        "fe80::1",    "255.255.255.255", "ff02::1", "::ffff:127.0.0.1", "",
        "localhost", "10.0.0.1/x", "febf::1"};
    char ip[64];
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(good); i++) {
        assert_int_equal(target(good[i], ip), 0);
        assert_string_equal(ip, good[i]);
    }
    for (size_t i = 0; i < NEAP_ARRAY_LEN(bad); i++)
        if (target(bad[i], ip) != NEAP_EBADREQUEST)
            fail_msg("%s is called", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
