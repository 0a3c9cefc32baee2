/* Conversions between versions of one stored object: there and back is the same. */
#include "kind_text.h"

static const struct neap_kind *kind(const char *group, const char *version, const char *name)
{
    const struct neap_kind *k = neap_kind_by_gvk(group, version, name);
    assert_non_null(k);
    return k;
}

static char *convert(struct decoded *d, const struct neap_kind *from, const struct neap_kind *to)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    assert_ok(neap_kind_convert(d->doc, d->doc->root, from, to, &err), err);
    return decoded_text(d);
}

static void event(void **state)
{
    const struct neap_kind *core = kind("", "v1", "Event"),
                           *events = kind("events.k8s.io", "v1", "Event");
    const struct neap_kind *storage = core->storage, *other = storage == core ? events : core;
    struct decoded d;
    assert_ptr_equal(events->storage, storage);
    assert_int_equal(decoded_init(&d, storage->type,
                                  "{\"apiVersion\":\"v1\",\"count\":2,\"involvedObject\":{\"kind\":"
                                  "\"Pod\"},\"message\":\"m\","
                                  "\"reportingComponent\":\"c\",\"source\":{\"host\":\"h\"}}"),
                     0);
    char *before = decoded_text(&d);
    assert_string_equal(
        convert(&d, storage, other),
        "{\"apiVersion\":\"events.k8s.io/"
        "v1\",\"deprecatedCount\":2,\"deprecatedSource\":{\"host\":\"h\"},"
        "\"note\":\"m\",\"regarding\":{\"kind\":\"Pod\"},\"reportingController\":\"c\"}");
    assert_string_equal(convert(&d, other, storage), before);
    decoded_done(&d);
}

static const char HPA[] =
    "{\"apiVersion\":\"autoscaling/"
    "v2\",\"metadata\":{\"name\":\"h\"},\"spec\":{\"behavior\":{\"scaleDown\":{"
    "\"stabilizationWindowSeconds\":5}},\"maxReplicas\":3,\"metrics\":[{\"resource\":{\"name\":"
    "\"cpu\",\"target\":{"
    "\"averageUtilization\":80,\"type\":\"Utilization\"}},\"type\":\"Resource\"},{\"resource\":{"
    "\"name\":\"memory\","
    "\"target\":{\"averageValue\":\"1Gi\",\"type\":\"AverageValue\"}},\"type\":\"Resource\"}]}}";

static void autoscaler(void **state)
{
    const struct neap_kind *v1 = kind("autoscaling", "v1", "HorizontalPodAutoscaler");
    const struct neap_kind *v2 = kind("autoscaling", "v2", "HorizontalPodAutoscaler");
    struct decoded d;
    assert_ptr_equal(v1->storage, v2);
    assert_int_equal(decoded_init(&d, v2->type, HPA), 0);
    convert(&d, v2, v1);
    assert_string_equal(test_text(d.arena, neap_json_at(d.doc->root, "spec")),
                        "{\"maxReplicas\":3,\"targetCPUUtilizationPercentage\":80}");
    /* it is an object of v1 */
    assert_int_equal(
        neap_kind_decode(d.doc, d.doc->root, v1->type, NEAP_FV_STRICT, &d.report, &d.err), 0);
    assert_int_equal(d.report.count, 0);
    assert_string_equal(convert(&d, v1, v2), HPA);
    decoded_done(&d);
}

/* A client may write anything into the annotations that conversion reads. */
static void hostile_annotations(void **state)
{
    const struct neap_kind *v1 = kind("autoscaling", "v1", "HorizontalPodAutoscaler");
    const struct neap_kind *v2 = v1->storage;
    struct neap_buf deep NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    for (int i = 0; i < 100000; i++)
        neap_buf_char(&deep, '[');
    for (int i = 0; i < 100000; i++)
        neap_buf_char(&deep, ']');
    const char *values[] = {"7", "{", "[[]]", "[{\\\"type\\\":1}]", "{}", deep.data};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(values); i++) {
        struct decoded d;
        struct neap_buf json NEAP_CLEANUP_BUF = NEAP_BUF_INIT, out NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        neap_buf_printf(&json,
                        "{\"metadata\":{\"annotations\":{\"autoscaling.alpha.kubernetes.io/"
                        "metrics\":\"%s\",\"a\":\"b\"}},"
                        "\"spec\":{\"maxReplicas\":1}}",
                        values[i]);
        assert_int_equal(decoded_init(&d, v1->type, json.data), 0);
        convert(&d, v1, v2);
        neap_kind_write(&out, d.doc->root, v2->type);
        assert_null(neap_json_at(d.doc->root, "spec.metrics"));
        assert_string_equal(test_text(d.arena, neap_json_at(d.doc->root, "metadata.annotations")),
                            "{\"a\":\"b\"}");
        decoded_done(&d);
    }
}

static void unrelated(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct decoded d;
    const struct neap_kind *pod = kind("", "v1", "Pod"), *node = kind("", "v1", "Node");
    assert_int_equal(decoded_init(&d, pod->type, "{}"), 0);
    assert_int_equal(neap_kind_convert(d.doc, d.doc->root, pod, node, &err), NEAP_EINTERNAL);
    assert_int_equal(neap_kind_convert(d.doc, d.doc->root, pod, pod, NULL), 0);
    decoded_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event),
        cmocka_unit_test(autoscaler),
        cmocka_unit_test(hostile_annotations),
        cmocka_unit_test(unrelated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
