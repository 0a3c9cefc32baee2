/* Method, target and headers -> call, and back. Source of the rows: apiserver request info resolution. */
#include "neap_test.h"

#include <api/wire/wire.h>

static struct neap_header no_headers[1];

static void test_paths(void **state)
{
    static const struct {
        const char *method, *target;
        enum neap_verb verb;
        const char *group, *version, *namespace_, *resource, *name, *subresource, *subpath;
    } rows[] = {
        {"GET", "/api/v1/pods", NEAP_LIST, "", "v1", NULL, "pods", NULL, NULL, NULL},
        {"GET", "/api/v1/pods?watch=true", NEAP_WATCH, "", "v1", NULL, "pods", NULL, NULL, NULL},
        {"GET", "/api/v1/pods?watch=0", NEAP_LIST, "", "v1", NULL, "pods", NULL, NULL, NULL},
        {"GET", "/api/v1/watch/pods", NEAP_WATCH, "", "v1", NULL, "pods", NULL, NULL, NULL},
        {"GET", "/api/v1/namespaces/a/pods/b", NEAP_GET, "", "v1", "a", "pods", "b", NULL, NULL},
        {"HEAD", "/api/v1/namespaces/a/pods/b", NEAP_GET, "", "v1", "a", "pods", "b", NULL, NULL},
        {"POST", "/api/v1/namespaces/a/pods", NEAP_CREATE, "", "v1", "a", "pods", NULL, NULL, NULL},
        {"PUT", "/api/v1/namespaces/a/pods/b/status", NEAP_UPDATE, "", "v1", "a", "pods", "b",
         "status", NULL},
        {"PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", NEAP_PATCH, "apps", "v1", "a",
         "deployments", "b", "scale", NULL},
        {"DELETE", "/apis/apps/v1/namespaces/a/deployments", NEAP_DELETECOLLECTION, "apps", "v1",
         "a", "deployments", NULL, NULL, NULL},
        {"DELETE", "/api/v1/nodes/n", NEAP_DELETE, "", "v1", NULL, "nodes", "n", NULL, NULL},
        {"GET", "/api/v1/namespaces", NEAP_LIST, "", "v1", NULL, "namespaces", NULL, NULL, NULL},
        {"GET", "/api/v1/namespaces/a", NEAP_GET, "", "v1", "a", "namespaces", "a", NULL, NULL},
        {"PUT", "/api/v1/namespaces/a/finalize", NEAP_UPDATE, "", "v1", "a", "namespaces", "a",
         "finalize", NULL},
        {"GET", "/api/v1/namespaces/a/services/b:80/proxy/x%2Fy/z", NEAP_GET, "", "v1", "a",
         "services", "b:80", "proxy", "/x%2Fy/z"},
        {"GET", "/version", NEAP_NONRESOURCE, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
        {"GET", "/apis/apps/v1", NEAP_NONRESOURCE, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
        {"GET", "/api", NEAP_NONRESOURCE, NULL, NULL, NULL, NULL, NULL, NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        struct neap_err err = NEAP_ERR_INIT;
        struct neap_call *c = neap_call_new(NULL, 1 << 20);
        assert_ok(neap_wire_call_parse(c, rows[i].method, rows[i].target, no_headers, &err), err);
        if (c->verb != rows[i].verb || !neap_streq(c->group, rows[i].group) ||
            !neap_streq(c->version, rows[i].version) ||
            !neap_streq(c->namespace_, rows[i].namespace_) ||
            !neap_streq(c->resource, rows[i].resource) || !neap_streq(c->name, rows[i].name) ||
            !neap_streq(c->subresource, rows[i].subresource) ||
            !neap_streq(c->subpath, rows[i].subpath))
            fail_msg("%s %s: verb %d group %s version %s ns %s resource %s name %s sub %s path %s",
                     rows[i].method, rows[i].target, c->verb, c->group ? c->group : "-",
                     c->version ? c->version : "-", c->namespace_ ? c->namespace_ : "-",
                     c->resource ? c->resource : "-", c->name ? c->name : "-",
                     c->subresource ? c->subresource : "-", c->subpath ? c->subpath : "-");
        neap_call_free(c);
    }
}

static void test_bad(void **state)
{
    static const char *const rows[] = {
        "relative",
        "http://host/api/v1/pods",
        "/api/v1/namespaces/../pods",
        "/api/v1/namespaces/%2e%2e/pods",
        "/api/v1/namespaces/a%2Fb/pods",
        "/api/v1/namespaces/a%00/pods",
        "/api/v1/namespaces/a%zz/pods",
        "/api/v1/pods?limit=x",
        "/api/v1/pods?timeoutSeconds=1e3",
    };
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        struct neap_err err = NEAP_ERR_INIT;
        struct neap_call *c = neap_call_new(NULL, 1 << 20);
        if (neap_wire_call_parse(c, "GET", rows[i], no_headers, &err) != NEAP_EBADREQUEST)
            fail_msg("%s is taken", rows[i]);
        neap_err_done(&err);
        neap_call_free(c);
    }
}

static void test_options_and_headers(void **state)
{
    static const struct neap_header headers[] = {
        {"accept", "application/yaml"},
        {"content-type", "application/merge-patch+json; charset=utf-8"},
        {"user-agent", "test"},
        {NULL, NULL}};
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_call *c = neap_call_new(NULL, 1 << 20);
    (void)state;
    assert_ok(neap_wire_call_parse(
                  c, "PATCH",
                  "/api/v1/namespaces/a/pods/b?labelSelector=a%3Db%2Cc&limit=7&dryRun=All&"
                  "fieldManager=me+you&gracePeriodSeconds=0&command=x&command=y",
                  headers, &err),
              err);
    assert_string_equal(c->options.label_selector, "a=b,c");
    assert_int_equal(c->options.limit, 7);
    assert_int_equal(c->options.grace_period_s, 0);
    assert_true(c->options.dry_run);
    assert_string_equal(c->options.field_manager, "me you");
    assert_string_equal(c->accept, "application/yaml");
    assert_string_equal(c->user_agent, "test");
    assert_int_equal(c->patch_type, NEAP_PATCH_T_MERGE);
    assert_string_equal(neap_wire_query_get(c->arena, c->query, "command"), "x");
    assert_null(neap_wire_query_get(c->arena, c->query, "comman"));
    neap_call_free(c);
}

/* A request's path is read back as what it was. */
static void test_round_trip(void **state)
{
    static const struct neap_kind kind = {
        .group = "apps", .version = "v1", .resource = "deployments", .namespaced = true};
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_request r;
    struct neap_call *c = neap_call_new(NULL, 1 << 20);
    (void)state;
    neap_request_init(&r);
    r.kind = &kind;
    r.verb = NEAP_WATCH;
    r.namespace_ = "a";
    r.options.label_selector = "a in (b,c),d!=e&f";
    r.options.resource_version = "17";
    r.options.allow_bookmarks = true;
    char *path = neap_wire_request_path(c->arena, &r);
    assert_ok(neap_wire_call_parse(c, "GET", path, no_headers, &err), err);
    assert_int_equal(c->verb, NEAP_WATCH);
    assert_string_equal(c->namespace_, "a");
    assert_string_equal(c->resource, "deployments");
    assert_string_equal(c->options.label_selector, r.options.label_selector);
    assert_string_equal(c->options.resource_version, "17");
    assert_true(c->options.allow_bookmarks);
    neap_call_free(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_options_and_headers),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
