/* RBAC's edges, and that nobody grants what he has not. */
#include "fixture.h"

#define RBAC "rbac.authorization.k8s.io"

static void role(struct auth_fixture *x, const char *who, const char *rules)
{
    char *text = neap_asprintf("{'kind':'ClusterRole','apiVersion':'" RBAC
                               "/v1','metadata':{'name':'%s','uid':'r-%s'},"
                               "'rules':[%s]}",
                               who, who, rules);
    have(x, RBAC, "clusterroles", text);
    free(text);
    text = neap_asprintf("{'kind':'ClusterRoleBinding','apiVersion':'" RBAC
                         "/v1','metadata':{'name':'%s','uid':'b-%s'},"
                         "'roleRef':{'apiGroup':'" RBAC
                         "','kind':'ClusterRole','name':'%s'},'subjects':[{'kind':'User',"
                         "'name':'%s'}]}",
                         who, who, who, who);
    have(x, RBAC, "clusterrolebindings", text);
    free(text);
}

struct row {
    const char *rules, *what;
    bool ok;
};

#define RULE(verbs, groups, resources, names)                                                      \
    "{'verbs':[" verbs "],'apiGroups':[" groups "],'resources':[" resources                        \
    "],'resourceNames':[" names "]}"

static const struct row rows[] = {
    {RULE("'get'", "''", "'pods'", ""), "get -/pods a p", true},
    {RULE("'get'", "''", "'pods'", ""), "list -/pods a p", false},
    {RULE("'get'", "''", "'pods'", ""), "get apps/pods a p", false},
    {RULE("'get'", "''", "'pods'", ""), "get -/pods/log a p", false},
    {RULE("'get'", "''", "'pods/log'", ""), "get -/pods/log a p", true},
    {RULE("'get'", "''", "'pods/log'", ""), "get -/pods a p", false},
    {RULE("'get'", "''", "'pods/*'", ""), "get -/pods/log a p", false}, /* not a wildcard */
    {RULE("'get'", "'*'", "'*'", ""), "get apps/deployments/scale a d", true},
    {RULE("'get'", "'*'", "'*/scale'", ""), "get apps/deployments/scale a d", true},
    {RULE("'get'", "'*'", "'*/scale'", ""), "get apps/deployments/status a d", false},
    {RULE("'get'", "'*'", "'*/scale'", ""), "get apps/deployments a d", false},
    {RULE("'*'", "''", "'pods'", ""), "deletecollection -/pods a -", true},
    /* names: a request without one (create, a list) is not covered */
    {RULE("'get'", "''", "'secrets'", "'a'"), "get -/secrets n a", true},
    {RULE("'get'", "''", "'secrets'", "'a'"), "get -/secrets n b", false},
    {RULE("'*'", "''", "'secrets'", "'a'"), "create -/secrets n -", false},
    {RULE("'*'", "''", "'secrets'", "'a'"), "list -/secrets n -", false},
    {RULE("'*'", "''", "'secrets'", "'a'"), "watch -/secrets n -", false},
    {RULE("'*'", "''", "'secrets'", "'a'"), "deletecollection -/secrets n -", false},
    {RULE("'*'", "''", "'secrets'", "'a'"), "watch -/secrets n a", true},
    {RULE("'get'", "''", "'secrets'", "'*'"), "get -/secrets n a", false}, /* a literal name */
    {RULE("'impersonate'", "''", "'users'", "'bob'"), "impersonate -/users - bob", true},
    {RULE("'impersonate'", "''", "'users'", "'bob'"), "impersonate -/users - alice", false},
};

static void test_rules(void **state)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        role(*state, "u", rows[i].rules);
        if (may(*state, "u", NULL, rows[i].what, NULL) != rows[i].ok)
            fail_msg("%s: %s", rows[i].rules, rows[i].what);
    }
    assert_false(may(*state, "v", NULL, "get -/pods a p", NULL));
}

static bool may_see(struct auth_fixture *x, const char *path)
{
    struct neap_identity *id = user("u", NULL);
    struct neap_attributes a = {.identity = id,
                                .verb = "get",
                                .path = path,
                                .group = "",
                                .version = "",
                                .resource = "",
                                .subresource = "",
                                .namespace_ = "",
                                .name = ""};
    bool ok = neap_auth_authorize(x->auth, x->s, &a, NULL) == NEAP_ALLOW;
    neap_identity_unref(id);
    return ok;
}

static void test_urls(void **state)
{
    role(*state, "u", "{'verbs':['get'],'nonResourceURLs':['/healthz','/apis/*']}");
    assert_true(may_see(*state, "/healthz"));
    assert_true(may_see(*state, "/apis/x/y"));
    assert_false(may_see(*state, "/healthz/etcd"));
    assert_false(may_see(*state, "/apis"));
    assert_false(may_see(*state, "/metrics"));
    role(*state, "u", RULE("'*'", "'*'", "'*'", ""));
    assert_false(may_see(*state, "/metrics")); /* resources are not URLs */
}

/* A binding of one namespace counts there only; a role that is not there grants nothing. */
static void test_namespaces(void **state)
{
    have(*state, RBAC, "roles",
         "{'kind':'Role','apiVersion':'" RBAC
         "/v1'," META("r", "a", "u1") ",'rules':[" RULE("'get'", "''", "'pods'", "") "]}");
    have(*state, RBAC, "rolebindings",
         "{'kind':'RoleBinding','apiVersion':'" RBAC
         "/v1'," META("b", "a", "u2") ",'roleRef':{'kind':'Role','name':'r'},'subjects':["
                                      "{'kind':'ServiceAccount','name':'s','namespace':'x'},{'kind'"
                                      ":'Group','name':'g'}]}");
    assert_true(may(*state, "system:serviceaccount:x:s", NULL, "get -/pods a p", NULL));
    assert_true(may(*state, "anyone", "g", "get -/pods a p", NULL));
    assert_false(may(*state, "system:serviceaccount:a:s", NULL, "get -/pods a p", NULL));
    assert_false(may(*state, "anyone", "g", "get -/pods b p", NULL));
    assert_false(may(*state, "anyone", "g", "get -/pods - p", NULL));
    assert_false(may(*state, "g", NULL, "get -/pods a p", NULL)); /* a user is not a group */
    gone(*state, RBAC, "roles", "/registry/" RBAC "/roles/a/r");
    assert_false(may(*state, "anyone", "g", "get -/pods a p", NULL));
}

/* ---- escalation ---- */

static bool covers(struct auth_fixture *x, const char *quoted, size_t *ret_missing)
{
    struct neap_buf missing = NEAP_BUF_INIT;
    struct neap_identity *id = user("u", NULL);
    char *json = neap_strdup(quoted);
    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    yyjson_doc *d = yyjson_read(json, strlen(json), 0);
    assert_non_null(d);
    yyjson_mut_doc *doc = yyjson_doc_mut_copy(d, NULL);
    bool ok = neap_auth_covers(x->auth, x->s, id, "", yyjson_mut_doc_get_root(doc), &missing);
    *ret_missing = missing.len;
    assert_int_equal(ok, missing.len == 0);
    yyjson_mut_doc_free(doc);
    yyjson_doc_free(d);
    free(json);
    neap_buf_done(&missing);
    neap_identity_unref(id);
    return ok;
}

static void test_covers(void **state)
{
    static const struct {
        const char *held, *wanted;
        bool ok;
    } cases[] = {
        {RULE("'get','list'", "''", "'pods'", ""), RULE("'get'", "''", "'pods'", ""), true},
        {RULE("'get','list'", "''", "'pods'", ""), RULE("'get','watch'", "''", "'pods'", ""),
         false},
        {RULE("'get'", "''", "'pods'", "'a'"), RULE("'get'", "''", "'pods'", ""), false},
        {RULE("'get'", "''", "'pods'", "'a','b'"), RULE("'get'", "''", "'pods'", "'b'"), true},
        {RULE("'get'", "''", "'pods'", "'*'"), RULE("'get'", "''", "'pods'", "'b'"), false},
        {RULE("'get'", "''", "'*'", ""), RULE("'get'", "''", "'pods/log','*/scale'", ""), true},
        {RULE("'get'", "''", "'*/scale'", ""), RULE("'get'", "''", "'*'", ""), false},
        {RULE("'get','list'", "'','apps'", "'pods'", ""), RULE("'*'", "''", "'pods'", ""), false},
        {"{'verbs':['get'],'nonResourceURLs':['/a/*']}",
         "{'verbs':['get'],'nonResourceURLs':['/a/b']}", true},
        {"{'verbs':['get'],'nonResourceURLs':['/a/b']}",
         "{'verbs':['get'],'nonResourceURLs':['/a/*']}", false},
        /* two rules together */
        {RULE("'get'", "''", "'pods'", "") "," RULE("'list'", "''", "'pods'", ""),
         RULE("'get','list'", "''", "'pods'", ""), true},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(cases); i++) {
        char wanted[512];
        size_t missing;
        role(*state, "u", cases[i].held);
        snprintf(wanted, sizeof(wanted), "[%s]", cases[i].wanted);
        if (covers(*state, wanted, &missing) != cases[i].ok)
            fail_msg("%s holds %s", cases[i].held, cases[i].wanted);
    }
}

/* A rule of 300 verbs, groups and resources each names 27 million permissions: neither the time nor the answer grows
 * with that. */
static void test_hostile_rule(void **state)
{
    struct neap_buf b = NEAP_BUF_INIT;
    static const char *const lists[] = {"'verbs'", "'apiGroups'", "'resources'"};
    role(*state, "u", RULE("'get'", "''", "'pods'", ""));
    neap_buf_str(&b, "[{");
    for (size_t l = 0; l < 3; l++) {
        neap_buf_printf(&b, "%s%s:[", l ? "," : "", lists[l]);
        for (int i = 0; i < 300; i++)
            neap_buf_printf(&b, "%s'x%d'", i ? "," : "", i);
        neap_buf_char(&b, ']');
    }
    neap_buf_str(&b, "}]");
    size_t missing;
    int64_t start = neap_clock_mono(&neap_clock_system);
    assert_false(covers(*state, b.data, &missing));
    assert_true(missing < 64 << 10);
    assert_true(neap_clock_mono(&neap_clock_system) - start < 5 * SECOND);
    neap_buf_done(&b);
}

/* Roles that come and go leave nothing behind. */
static void test_cache_is_swept(void **state)
{
    struct auth_fixture *x = *state;
    char name[32], key[96];
    for (int i = 0; i < 6000; i++) {
        struct auth_role *r = neap_calloc(1, sizeof(*r)); /* as if compiled for a role long gone */
        snprintf(name, sizeof(name), "gone-%d", i);
        snprintf(key, sizeof(key), "/registry/" RBAC "/clusterroles/%s", name);
        r->memory[0] = neap_arena_new(0);
        neap_map_set(&x->auth->roles, key, r);
    }
    role(x, "u", RULE("'get'", "''", "'pods'", ""));
    assert_true(may(x, "u", NULL, "get -/pods a p", NULL));
    assert_true(may(x, "u", NULL, "get -/pods a p", NULL));
    assert_in_range(x->auth->roles.count, 1, 10);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, auth_setup, auth_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_rules),  TEST(test_urls),         TEST(test_namespaces),
        TEST(test_covers), TEST(test_hostile_rule), TEST(test_cache_is_swept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
