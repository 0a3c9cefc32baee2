/* Decoding by the kind tables: types, unknown fields, zero values, scalars and their canonical text. */
#include "kind_text.h"

static const struct neap_type *type(const char *name)
{
    char *full = neap_asprintf("io.k8s.%s", name);
    const struct neap_type *t = neap_type_by_name(full);
    free(full);
    assert_non_null(t);
    return t;
}

static void good(const char *name, const char *json, const char *want)
{
    struct decoded d;
    if (decoded_init(&d, type(name), json))
        fail_msg("%s: %s", json, d.err.message);
    if (strcmp(decoded_text(&d), want) != 0)
        fail_msg("%s\n  want %s\n  got  %s", json, want, decoded_text(&d));
    decoded_done(&d);
}

static void bad(const char *name, const char *json, const char *words)
{
    struct decoded d;
    assert_int_equal(decoded_init(&d, type(name), json), NEAP_EBADREQUEST);
    if (strcmp(d.err.message, words) != 0)
        fail_msg("%s\n  want %s\n  got  %s", json, words, d.err.message);
    decoded_done(&d);
}

#define POD  "api.core.v1.Pod"
#define META "apimachinery.pkg.apis.meta.v1.ObjectMeta"

static void wrong_types(void **state)
{
    bad(POD, "[]", "json: cannot unmarshal array into Go value of type v1.Pod");
    bad(POD, "{\"spec\":1}",
        "json: cannot unmarshal number into Go struct field Pod.spec of type v1.PodSpec");
    bad(POD, "{\"spec\":{\"containers\":{}}}",
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type "
        "[]v1.Container");
    bad(POD, "{\"spec\":{\"containers\":[{\"name\":1}]}}",
        "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type "
        "string");
    bad(POD, "{\"spec\":{\"priority\":1.5}}",
        "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type "
        "int32");
    bad(POD, "{\"spec\":{\"priority\":2147483648}}",
        "json: cannot unmarshal number 2147483648 into Go struct field PodSpec.spec.priority of "
        "type int32");
    bad(POD, "{\"metadata\":{\"labels\":{\"a\":1}}}",
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type "
        "string");
}

static void zero_values(void **state)
{
    good(POD,
         "{\"kind\":\"Pod\",\"apiVersion\":\"\",\"spec\":{\"nodeName\":\"\",\"hostNetwork\":false,"
         "\"containers\":[{\"name\":\"a\",\"args\":[],\"env\":null}]}}",
         "{\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"name\":\"a\"}]}}");
    /* pointers keep an explicit zero */
    good(POD, "{\"spec\":{\"priority\":0,\"automountServiceAccountToken\":false}}",
         "{\"spec\":{\"automountServiceAccountToken\":false,\"priority\":0}}");
    /* null in a map or list is the item's zero */
    good(META, "{\"labels\":{\"a\":null,\"b\":\"\"},\"finalizers\":[null,\"x\"]}",
         "{\"finalizers\":[\"\",\"x\"],\"labels\":{\"a\":\"\",\"b\":\"\"}}");
}

static void unknown_fields(void **state)
{
    struct decoded d;
    assert_int_equal(
        decoded_init(&d, type(POD),
                     "{\"spec\":{\"containers\":[{\"nme\":1}],\"x\":{\"y\":1}},\"Kind\":1}"),
        0);
    assert_int_equal(d.report.count, 3);
    assert_string_equal(d.report.unknown[0], "unknown field \"spec.containers[0].nme\"");
    assert_string_equal(d.report.unknown[1], "unknown field \"spec.x\"");
    assert_string_equal(d.report.unknown[2], "unknown field \"Kind\"");
    assert_string_equal(decoded_text(&d), "{\"spec\":{\"containers\":[{}]}}");
    decoded_done(&d);
}

/* As Kubernetes 1.37 answers: in the document's order. */
static void findings_in_order(void **state)
{
    struct decoded d;
    assert_int_equal(
        decoded_init(&d, type(POD),
                     "{\"x\":1,\"spec\":{\"a\":1,\"nodeName\":\"a\",\"nodeName\":\"b\","
                     "\"nodeName\":\"c\",\"b\":{\"c\":1,\"c\":2},\"containers\":[{\"d\":1}]},"
                     "\"metadata\":{\"labels\":{\"e\":\"1\",\"e\":\"2\"}},\"y\":1}"),
        0);
    static const char *const want[] = {"unknown field \"x\"",
                                       "unknown field \"spec.a\"",
                                       "duplicate field \"spec.nodeName\"",
                                       "unknown field \"spec.b\"",
                                       "unknown field \"spec.containers[0].d\"",
                                       "duplicate field \"metadata.labels.e\"",
                                       "unknown field \"y\"",
                                       "duplicate field \"spec.b.c\""};
    assert_int_equal(d.report.count, NEAP_ARRAY_LEN(want));
    for (unsigned i = 0; i < d.report.count; i++)
        assert_string_equal(d.report.unknown[i], want[i]);
    decoded_done(&d);
}

#define TIME(text) "{\"creationTimestamp\":\"" text "\"}"

static void times(void **state)
{
    good(META, TIME("2020-02-29T12:00:00Z"), TIME("2020-02-29T12:00:00Z"));
    good(META, TIME("2020-01-01T00:30:00+01:00"), TIME("2019-12-31T23:30:00Z"));
    good(META, TIME("2020-01-01T00:00:00.999Z"), TIME("2020-01-01T00:00:00Z"));
    good(META, "{\"creationTimestamp\":null}", "{}");
    bad(META, TIME("2019-02-29T12:00:00Z"),
        "parsing time \"2019-02-29T12:00:00Z\": day out of range");
    bad(META, TIME("2020-13-01T00:00:00Z"),
        "parsing time \"2020-13-01T00:00:00Z\": month out of range");
    bad(META, TIME("2020-01-01"),
        "parsing time \"2020-01-01\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"T\"");
    bad(META, TIME("now"),
        "parsing time \"now\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"now\" as \"2006\"");
    bad(META, TIME("2020-01-01T00:00:00Zx"),
        "parsing time \"2020-01-01T00:00:00Zx\": extra text: \"x\"");
    bad(META, "{\"creationTimestamp\":1}",
        "json: cannot unmarshal number into Go value of type string");
    good("api.coordination.v1.LeaseSpec", "{\"renewTime\":\"2020-01-01T01:00:00.000001+01:00\"}",
         "{\"renewTime\":\"2020-01-01T00:00:00.000001Z\"}");
}

static void bytes(void **state)
{
#define DATA(text) "{\"data\":{\"a\":\"" text "\"}}"
    good("api.core.v1.Secret", DATA("YWJj"), DATA("YWJj"));
    good("api.core.v1.Secret", DATA(""), DATA(""));
    good("api.core.v1.Secret", DATA("YQ=="), DATA("YQ=="));
    good("api.core.v1.Secret", DATA("YR=="), DATA("YQ==")); /* unused bits are dropped */
    good("api.core.v1.Secret", DATA("YW\\nJj\\r\\n"), DATA("YWJj"));
    bad("api.core.v1.Secret", DATA("YQ="), "illegal base64 data at input byte 3");
    bad("api.core.v1.Secret", DATA("Y-Q="), "illegal base64 data at input byte 1");
    bad("api.core.v1.Secret", DATA("===="), "illegal base64 data at input byte 0");
    bad("api.core.v1.Secret", DATA("YQ==YQ=="), "illegal base64 data at input byte 4");
}

static void quantities(void **state)
{
#define LIMIT(text) "{\"limits\":{\"cpu\":" text "}}"
#define REQS        "api.core.v1.ResourceRequirements"
    good(REQS, LIMIT("0.5"), LIMIT("\"500m\""));
    good(REQS, LIMIT("1"), LIMIT("\"1\""));
    good(REQS, LIMIT("\"1500u\""),
         LIMIT("\"2m\"")); /* a ResourceList is rounded up to thousandths */
    good(REQS, LIMIT("\"1024Mi\""), LIMIT("\"1Gi\""));
    bad(REQS, LIMIT("\"1x\""),
        "quantities must match the regular expression "
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    bad(REQS, LIMIT("\"1kk\""), "unable to parse quantity's suffix");
    bad(REQS, LIMIT("true"),
        "quantities must match the regular expression "
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    bad(REQS, LIMIT("\"\\u0000\""),
        "quantities must match the regular expression "
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

static const struct neap_type *duration_holder(char **ret_field);

static void durations(void **state)
{
    static const char *const facts[][2] = {
        {"1h", "1h0m0s"},
        {"90m", "1h30m0s"},
        {"1.5s", "1.5s"},
        {"0", "0s"},
        {"-1m", "-1m0s"},
        {"100ms", "100ms"},
        {"1us", "1\302\265s"},
        {"1\302\265s", "1\302\265s"},
        {"1\316\274s", "1\302\265s"},
        {"15ns", "15ns"},
        {"1h1ns", "1h0m0.000000001s"},
        {"2562047h47m16.854775807s", "2562047h47m16.854775807s"},
        {"0.000000001s", "1ns"},
        {".5s", "500ms"},
        {"+5s", "5s"},
    };
    static const char *const wrong[] = {"",     "1",  "1e3s",     "0x1s",
                                        "s",    "1d", "1s2",      "1.s.",
                                        "--1s", ".s", "2562048h", "99999999999999999999h"};
    char *field;
    const struct neap_type *t = duration_holder(&field);
    if (!t)
        skip();
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct decoded d;
        char *json = neap_asprintf("{\"%s\":\"%s\"}", field, facts[i][0]);
        if (decoded_init(&d, t, json))
            fail_msg("%s: %s", facts[i][0], d.err.message);
        assert_string_equal(neap_json_str_at(d.doc->root, field), facts[i][1]);
        decoded_done(&d);
        free(json);
    }
    for (size_t i = 0; i < NEAP_ARRAY_LEN(wrong); i++) {
        struct decoded d;
        char *json = neap_asprintf("{\"%s\":\"%s\"}", field, wrong[i]);
        if (decoded_init(&d, t, json) != NEAP_EBADREQUEST)
            fail_msg("\"%s\" is taken for a duration", wrong[i]);
        decoded_done(&d);
        free(json);
    }
    free(field);
}

/* Any type that is reached from a kind and has a duration. */
static const struct neap_type *find_duration(const struct neap_type *t, unsigned depth, char **ret)
{
    for (unsigned i = 0; i < t->field_count; i++) {
        const struct neap_shape *s = &t->fields[i].shape;
        if (s->value == NEAP_T_DURATION) {
            *ret = neap_strdup(t->fields[i].name);
            return t;
        }
        while (s->value == NEAP_T_ARRAY || s->value == NEAP_T_MAP)
            s = s->item;
        const struct neap_type *found =
            s->value == NEAP_T_STRUCT && depth < 6 ? find_duration(s->type, depth + 1, ret) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

static const struct neap_type *duration_holder(char **ret_field)
{
    static const struct neap_field field = {
        .name = "d", .name_len = 1, .zero = NEAP_ZERO_KEEP, .shape = {.value = NEAP_T_DURATION}};
    static const uint16_t by_name[] = {0};
    static const struct neap_type own = {
        .name = "test.Own", .fields = &field, .field_count = 1, .by_name = by_name};
    for (unsigned i = 0; i < neap_kind_count; i++) {
        const struct neap_type *t = find_duration(neap_kinds[i]->type, 0, ret_field);
        if (t)
            return t;
    }
    *ret_field = neap_strdup("d");
    return &own;
}

static void int_or_string(void **state)
{
#define PORT(text) "{\"targetPort\":" text "}"
    good("api.core.v1.ServicePort", PORT("80"), PORT("80"));
    good("api.core.v1.ServicePort", PORT("\"http\""), PORT("\"http\""));
    bad("api.core.v1.ServicePort", PORT("true"),
        "json: cannot unmarshal bool into Go value of type int32");
}

/* Canonical text: the table's order, what is always written, sorted maps; and it is its own fixed point. */
static void canonical(void **state)
{
    const char *json =
        "{\"status\":{\"phase\":\"Running\"},\"metadata\":{\"labels\":{\"b\":\"2\",\"a\":"
        "\"1\"},\"name\":\"p\"},\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"spec\":{\"containers\":"
        "[{\"image\":\"i\",\"name\":\"c\"}]}}";
    const char *want =
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":"
        "\"1\",\"b\":\"2\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\","
        "\"resources\":"
        "{}}]},\"status\":{\"phase\":\"Running\"}}";
    for (int round = 0; round < 2; round++) {
        struct decoded d;
        struct neap_buf out NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        assert_int_equal(decoded_init(&d, type(POD), round ? want : json), 0);
        neap_kind_write(&out, d.doc->root, type(POD));
        assert_string_equal(out.data, want);
        decoded_done(&d);
    }
}

/* Kinds are found by each of their names, and every table is sorted as lookups need it. */
static void tables(void **state)
{
    char version[128];
    for (unsigned i = 0; i < neap_kind_count; i++) {
        const struct neap_kind *k = neap_kinds[i];
        assert_ptr_equal(neap_kind_by_resource(k->group, k->version, k->resource), k);
        assert_non_null(neap_kind_by_gvk(k->group, k->version, k->kind));
        assert_non_null(k->storage);
        assert_ptr_equal(k->storage->storage, k->storage);
        assert_true(*neap_kind_api_version(k, version));
        for (unsigned f = 0; f < k->type->field_count; f++) {
            const struct neap_field *field = &k->type->fields[f];
            assert_ptr_equal(neap_type_field(k->type, field->name, strlen(field->name)), field);
        }
    }
    assert_null(neap_kind_by_resource("", "v1", "nothings"));
    assert_null(neap_kind_by_gvk("apps", "v2", "Deployment"));
    assert_null(neap_type_by_name("io.k8s.Nothing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_types),    cmocka_unit_test(zero_values),
        cmocka_unit_test(unknown_fields), cmocka_unit_test(findings_in_order),
        cmocka_unit_test(times),          cmocka_unit_test(bytes),
        cmocka_unit_test(quantities),     cmocka_unit_test(durations),
        cmocka_unit_test(int_or_string),  cmocka_unit_test(canonical),
        cmocka_unit_test(tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
