/* Objects and what is said of them: creates, and updates of what was there. The real server's answers to
 * many more are replayed by tests/api/test_errors.py; here are the rules that need an old object, and
 * limits. */
#include "neap_test.h"
#include "api/rest/validate/validate.h"

#define POD(spec)                                                                                  \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},"   \
    "\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i:1\"}]" spec "}}"
#define SERVICE(spec)                                                                              \
    "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\",\"namespace\":"      \
    "\"n\"},"                                                                                      \
    "\"spec\":{\"ports\":[{\"port\":80}]," spec "}}"
#define DEPLOYMENT(label, extra)                                                                   \
    "{\"apiVersion\":\"apps/"                                                                      \
    "v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d\",\"namespace\":"                     \
    "\"n\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"" label "\"}},\"template\":{"         \
    "\"metadata\":{\"labels\":{\"a\":\"" label "\"}},\"spec\":{\"containers\":[{\"name\":\"a\","   \
    "\"image\":\"i\"}]}}" extra "}}"

struct row {
    const char *title, *old, *now;
    const char *fields;  /* the causes' fields in order, with spaces between; "": none */
    const char *message; /* the first one's start, or NULL */
};

static const struct row rows[] = {
    {"a good pod", NULL, POD(""), "", NULL},
    {"the same again", POD(""), POD(""), "", NULL},
    {"a pod's image may change", POD(""),
     "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},"
     "\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i:1@sha256:0\"}]}}",
     "", NULL},
    {"its node may not", POD(""), POD(",\"nodeName\":\"x\""), "spec",
     "Forbidden: pod updates may not change fields other than"},
    {"a deadline only shrinks", POD(",\"activeDeadlineSeconds\":5"),
     POD(",\"activeDeadlineSeconds\":6"), "spec.activeDeadlineSeconds",
     "Invalid value: 6: must be less than or equal to previous value"},
    {"a deadline stays", POD(",\"activeDeadlineSeconds\":5"), POD(""), "spec.activeDeadlineSeconds",
     "Invalid value: null: must not update"},
    {"tolerations are added", POD(",\"tolerations\":[{\"key\":\"a\",\"operator\":\"Exists\"}]"),
     POD(",\"tolerations\":[{\"key\":\"a\",\"operator\":\"Exists\"},{\"operator\":\"Exists\"}]"),
     "", NULL},
    {"tolerations are not taken", POD(",\"tolerations\":[{\"key\":\"a\",\"operator\":\"Exists\"}]"),
     POD(""), "spec.tolerations", "Forbidden: existing toleration"},
    {"gates go", POD(",\"schedulingGates\":[{\"name\":\"g\"}]"), POD(""), "", NULL},
    {"gates do not come", POD(""), POD(",\"schedulingGates\":[{\"name\":\"g\"}]"),
     "spec.schedulingGates[0].name", "Forbidden: only deletion is allowed"},
    {"a gated pod is narrowed", POD(",\"schedulingGates\":[{\"name\":\"g\"}]"),
     POD(",\"schedulingGates\":[{\"name\":\"g\"}],\"nodeSelector\":{\"a\":\"b\"}"), "", NULL},
    {"no container comes", POD(""),
     "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},"
     "\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i:1\"},{\"name\":\"b\",\"image\":\"i\"}"
     "]}}",
     "spec.containers", "Forbidden: pod updates may not add or remove containers"},
    {"a mirror pod has a node", NULL,
     "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\","
     "\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{\"containers\":[{\"name\":"
     "\"a\",\"image\":\"i\"}]}}",
     "metadata.annotations[kubernetes.io/config.mirror]", NULL},
    {"a service's address stays",
     SERVICE("\"clusterIP\":\"10.0.0.1\",\"clusterIPs\":[\"10.0.0.1\"]"),
     SERVICE("\"clusterIP\":\"10.0.0.2\",\"clusterIPs\":[\"10.0.0.2\"]"), "spec.clusterIPs[0]",
     "Invalid value: [\"10.0.0.2\"]: may not change once set"},
    {"a balancer's class stays", SERVICE("\"type\":\"LoadBalancer\",\"loadBalancerClass\":\"a/b\""),
     SERVICE("\"type\":\"LoadBalancer\",\"loadBalancerClass\":\"a/c\""), "spec.loadBalancerClass",
     NULL},
    {"a good deployment", NULL, DEPLOYMENT("x", ""), "", NULL},
    {"a selector stays", DEPLOYMENT("x", ""), DEPLOYMENT("y", ""), "spec.selector",
     "Invalid value: {\"matchLabels\":{\"a\":\"y\"}}: field is immutable"},
    {"more than all", NULL,
     DEPLOYMENT("x", ",\"strategy\":{\"rollingUpdate\":{\"maxUnavailable\":\"101%\"}}"),
     "spec.strategy.rollingUpdate.maxUnavailable", "Invalid value: \"101%\": must not be greater"},
    {"a secret's type stays",
     "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\"},\"type\":\"a\"}",
     "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\"},\"type\":\"b\"}",
     "type", "Invalid value: \"b\": field is immutable"},
    {"frozen data",
     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"immutable\":"
     "true,"
     "\"data\":{\"a\":\"1\"}}",
     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":"
     "\"2\"}}",
     "immutable data", "Forbidden: field is immutable when `immutable` is set"},
    {"a role stays bound to its role",
     "{\"apiVersion\":\"rbac.authorization.k8s.io/"
     "v1\",\"kind\":\"RoleBinding\",\"metadata\":{\"name\":"
     "\"r\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":"
     "\"a\"}}",
     "{\"apiVersion\":\"rbac.authorization.k8s.io/"
     "v1\",\"kind\":\"RoleBinding\",\"metadata\":{\"name\":"
     "\"r\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":"
     "\"b\"}}",
     "roleRef", NULL},
    {"a node's range stays",
     "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"},\"spec\":{"
     "\"podCIDRs\":["
     "\"10.0.0.0/24\"]}}",
     "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"},\"spec\":{"
     "\"podCIDRs\":["
     "\"10.0.1.0/24\"]}}",
     "spec.podCIDRs", "Forbidden: node updates may not change podCIDR"},
};

static json *load(yyjson_mut_doc *doc, const char *text_, const struct neap_kind **ret)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    char group[64] = "";
    yyjson_doc *read = yyjson_read(text_, strlen(text_), 0);
    assert_non_null(read);
    json *root = yyjson_val_mut_copy(doc, yyjson_doc_get_root(read));
    yyjson_doc_free(read);
    const char *version = text(root, "apiVersion"), *slash = strchr(version, '/');
    if (slash)
        snprintf(group, sizeof(group), "%.*s", (int)(slash - version), version);
    *ret = neap_kind_by_gvk(group, slash ? slash + 1 : version, text(root, "kind"));
    assert_non_null(*ret);
    assert_ok(neap_kind_decode(doc, root, (*ret)->type, NEAP_FV_IGNORE, NULL, &err), err);
    neap_kind_default(doc, root, *ret);
    return root;
}

static void check(const struct row *row)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf fields NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    struct rest_validation v = {.err = &err};
    if (row->old)
        v.old_root = load(doc, row->old, &v.kind);
    v.root = load(doc, row->now, &v.kind);
    rest_validate(&v);
    neap_buf_str(&fields, "");
    for (unsigned i = 0; i < err.cause_count; i++)
        neap_buf_printf(&fields, "%s%s", i ? " " : "", err.causes[i].field);
    if (strcmp(fields.len ? fields.data : "", row->fields))
        fail_msg("%s: causes about \"%s\", want \"%s\" (%s)", row->title,
                 fields.len ? fields.data : "", row->fields,
                 err.cause_count ? err.causes[0].message : "");
    if (row->message)
        assert_memory_equal(err.causes[0].message, row->message, strlen(row->message));
    yyjson_mut_doc_free(doc);
}

static void objects(void **state)
{
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        check(&rows[i]);
}

/* A pod with as many bad parts as it likes: the causes stay bounded. */
static void causes_are_bounded(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    struct rest_validation v = {.err = &err};
    (void)state;
    neap_buf_str(&b,
                 "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{"
                 "\"containers\":[");
    for (int i = 0; i < 3000; i++)
        neap_buf_printf(&b, "%s{\"name\":\"A\",\"ports\":[{\"containerPort\":%d}]}", i ? "," : "",
                        70000 + i);
    neap_buf_str(&b, "]}}");
    v.root = load(doc, b.data, &v.kind);
    rest_validate(&v);
    assert_true(err.cause_count > 100 && err.cause_count <= NEAP_ERR_CAUSES_MAX);
    yyjson_mut_doc_free(doc);
}

/* Fields of the wrong shape never get here, but nothing falls over without any field at all. */
static void empty_objects_do_not_crash(void **state)
{
    (void)state;
    for (unsigned i = 0; i < neap_kind_count; i++) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
        json *now = yyjson_mut_obj(doc), *old = yyjson_mut_obj(doc);
        struct rest_validation v = {.root = now, .kind = neap_kinds[i], .err = &err};
        rest_validate(&v);
        v.old_root = old;
        rest_validate(&v);
        for (unsigned k = 0; k < neap_kinds[i]->subresource_count; k++) {
            v.subresource = &neap_kinds[i]->subresources[k];
            rest_validate(&v);
        }
        yyjson_mut_doc_free(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects),
        cmocka_unit_test(causes_are_bounded),
        cmocka_unit_test(empty_objects_do_not_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
