/* Defaults: fixed ones, those that hang on other fields, those of one kind only; once applied, for good. */
#include "kind_text.h"

static char *defaulted(struct decoded *d, const char *group, const char *version, const char *kind,
                       const char *json)
{
    const struct neap_kind *k = neap_kind_by_gvk(group, version, kind);
    assert_non_null(k);
    if (decoded_init(d, k->type, json))
        fail_msg("%s: %s", json, d->err.message);
    neap_kind_default(d->doc, d->doc->root, k);
    return decoded_text(d);
}

static const char *at(struct decoded *d, const char *path)
{
    yyjson_mut_val *v = neap_json_at(d->doc->root, path);
    return v ? test_text(d->arena, v) : "absent";
}

static void pod(void **state)
{
    struct decoded d;
    defaulted(&d, "", "v1", "Pod",
              "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i:1\",\"ports\":[{"
              "\"containerPort\":80}],"
              "\"resources\":{\"limits\":{\"cpu\":\"1\"}}}]}}");
    assert_string_equal(at(&d, "spec.restartPolicy"), "\"Always\"");
    assert_string_equal(at(&d, "spec.dnsPolicy"), "\"ClusterFirst\"");
    assert_string_equal(at(&d, "spec.terminationGracePeriodSeconds"), "30");
    yyjson_mut_val *c = yyjson_mut_arr_get_first(neap_json_at(d.doc->root, "spec.containers"));
    assert_string_equal(neap_json_str_at(c, "imagePullPolicy"), "IfNotPresent");
    assert_string_equal(neap_json_str_at(c, "terminationMessagePath"), "/dev/termination-log");
    assert_string_equal(neap_json_str_at(c, "resources.requests.cpu"), "1"); /* from limits */
    assert_string_equal(
        neap_json_str_at(yyjson_mut_arr_get_first(neap_json_at(c, "ports")), "protocol"), "TCP");
    decoded_done(&d);
}

static void pull_policy(void **state)
{
    static const char *const facts[][2] = {
        {"i", "Always"},
        {"i:latest", "Always"},
        {"r:5000/i", "Always"},
        {"r:5000/i:1", "IfNotPresent"},
        {"i@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         "IfNotPresent"}};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct decoded d;
        char *json = neap_asprintf(
            "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"%s\"}]}}", facts[i][0]);
        defaulted(&d, "", "v1", "Pod", json);
        yyjson_mut_val *c = yyjson_mut_arr_get_first(neap_json_at(d.doc->root, "spec.containers"));
        if (strcmp(neap_json_str_at(c, "imagePullPolicy"), facts[i][1]) != 0)
            fail_msg("%s: %s", facts[i][0], neap_json_str_at(c, "imagePullPolicy"));
        decoded_done(&d);
        free(json);
    }
}

static void kept(void **state)
{
    struct decoded d;
    defaulted(&d, "apps", "v1", "Deployment",
              "{\"spec\":{\"replicas\":0,\"strategy\":{\"type\":\"Recreate\"},\"template\":{"
              "\"spec\":{\"restartPolicy\":\"Always\"}}}}");
    assert_string_equal(at(&d, "spec.replicas"), "0");
    assert_string_equal(at(&d, "spec.strategy"), "{\"type\":\"Recreate\"}");
    assert_string_equal(at(&d, "spec.progressDeadlineSeconds"), "600");
    decoded_done(&d);
    defaulted(&d, "apps", "v1", "Deployment", "{}");
    assert_string_equal(at(&d, "spec.replicas"), "1");
    assert_string_equal(at(&d, "spec.strategy"),
                        "{\"rollingUpdate\":{\"maxSurge\":\"25%\",\"maxUnavailable\":\"25%\"},"
                        "\"type\":\"RollingUpdate\"}");
    decoded_done(&d);
}

static void service(void **state)
{
    struct decoded d;
    defaulted(&d, "", "v1", "Service", "{\"spec\":{\"ports\":[{\"port\":80}]}}");
    assert_string_equal(at(&d, "spec.type"), "\"ClusterIP\"");
    assert_string_equal(at(&d, "spec.sessionAffinity"), "\"None\"");
    assert_string_equal(at(&d, "spec.ports"),
                        "[{\"port\":80,\"protocol\":\"TCP\",\"targetPort\":80}]");
    decoded_done(&d);
}

/* Applying defaults twice is applying them once, for every kind, on what has nothing. */
static void idempotent(void **state)
{
    for (unsigned i = 0; i < neap_kind_count; i++) {
        const struct neap_kind *k = neap_kinds[i];
        struct decoded d;
        assert_int_equal(decoded_init(&d, k->type, "{}"), 0);
        neap_kind_default(d.doc, d.doc->root, k);
        char *once = decoded_text(&d);
        neap_kind_default(d.doc, d.doc->root, k);
        if (strcmp(once, decoded_text(&d)) != 0)
            fail_msg("%s/%s: %s, then %s", k->group, k->kind, once, decoded_text(&d));
        /* and what defaults make is what decoding accepts unchanged */
        if (neap_kind_decode(d.doc, d.doc->root, k->type, NEAP_FV_STRICT, &d.report, &d.err) ||
            d.report.count)
            fail_msg("%s: %s", k->kind, d.err.message ? d.err.message : d.report.unknown[0]);
        decoded_done(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pod),     cmocka_unit_test(pull_policy), cmocka_unit_test(kept),
        cmocka_unit_test(service), cmocka_unit_test(idempotent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
