/* A node that has been taken over gets at what its own pods use, and at nothing else. */
#include "fixture.h"

static const char POD[] = "{'kind':'Pod','apiVersion':'v1'," META(
    "p", "a",
    "uid-p") ",'spec':{'nodeName':'n1',"
             "'serviceAccountName':'app','imagePullSecrets':[{'name':'pull'}],'volumes':["
             "{'name':'s','secret':{'secretName':'mounted'}},{'name':'c','configMap':{'name':'cm'}}"
             ","
             "{'name':'d','persistentVolumeClaim':{'claimName':'claim'}},"
             "{'name':'t','projected':{'sources':[{'secret':{'name':'projected'}},"
             "{'serviceAccountToken':{'audience':'vault','path':'t'}}]}}],"
             "'initContainers':[{'name':'i','image':'i','envFrom':[{'secretRef':{'name':'init'}}]}]"
             ","
             "'containers':[{'name':'c','image':'i','env':[{'name':'E','valueFrom':{'secretKeyRef':"
             "{'name':'env','key':'k'}}}]}]}}";
static const char OTHER[] = "{'kind':'Pod','apiVersion':'v1'," META(
    "q", "a",
    "uid-q") ",'spec':{'nodeName':'n2',"
             "'serviceAccountName':'app','volumes':[{'name':'s','secret':{'secretName':'theirs'}}],"
             "'containers':[{'name':'c','image':'i'}]}}";
static const char ROLE[] =
    "{'kind':'ClusterRole','apiVersion':'rbac.authorization.k8s.io/v1'," META_OF_CLUSTER(
        "system:node",
        "r") ",'rules':["
             "{'verbs':['get','list','watch','create','delete'],'apiGroups':[''],'resources':['"
             "pods']},"
             "{'verbs':['get','list','watch','create'],'apiGroups':[''],'resources':['nodes']},"
             "{'verbs':['patch','update'],'apiGroups':[''],'resources':['nodes','nodes/"
             "status','pods/status']}]}";

static int setup(void **state)
{
    auth_setup(state);
    struct auth_fixture *x = *state;
    have(x, "", "pods", POD);
    have(x, "", "pods", OTHER);
    have(x, "rbac.authorization.k8s.io", "clusterroles", ROLE);
    have(x, "", "nodes", "{'kind':'Node','apiVersion':'v1'," META_OF_CLUSTER("n1", "uid-n1") "}");
    have(x, "", "persistentvolumes",
         "{'kind':'PersistentVolume','apiVersion':'v1'," META_OF_CLUSTER(
             "pv", "uid-pv") ",'spec':{'claimRef':{'namespace':'a','name':'claim'}}}");
    return 0;
}

/* ---- reading ---- */

static void test_reads_what_its_pods_use(void **state)
{
    static const char *const yes[] = {
        "get -/secrets a mounted",
        "get -/secrets a pull",
        "get -/secrets a projected",
        "get -/secrets a init",
        "get -/secrets a env",
        "list -/secrets a mounted",
        "watch -/secrets a env",
        "get -/configmaps a cm",
        "get -/serviceaccounts a app",
        "get -/persistentvolumeclaims a claim",
        "get -/persistentvolumes - pv",
        "create -/serviceaccounts/token a app",
        "get -/pods a p",
        "get -/nodes - n1",
        "list -/nodes - n1",
        "patch -/nodes/status - n1",
        "update coordination.k8s.io/leases kube-node-lease n1",
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(yes); i++)
        if (!may(*state, "system:node:n1", "system:nodes", yes[i], NULL))
            fail_msg("refused: %s", yes[i]);
    assert_true(may(*state, "system:node:n1", "system:nodes", "list -/pods - -", "n1"));
    assert_true(may(*state, "system:node:n1", "system:nodes", "watch -/pods a -", "n1"));
}

static void test_reads_nothing_else(void **state)
{
    static const char *const no[] = {
        "get -/secrets a theirs",
        "get -/secrets b mounted",
        "list -/secrets a -",
        "watch -/secrets a -",
        "list -/secrets - -",
        "update -/secrets a mounted",
        "delete -/secrets a mounted",
        "get -/configmaps a mounted",
        "create -/serviceaccounts/token a other",
        "create -/serviceaccounts/token b app",
        "get -/pods a q",
        "list -/pods a -",
        "watch -/pods - -",
        "get -/nodes - n2",
        "list -/nodes - -",
        "watch -/nodes - -",
        "update coordination.k8s.io/leases kube-node-lease n2",
        "get -/pods/log a p",
        "create -/pods/exec a p",
        "list coordination.k8s.io/leases kube-node-lease -",
        "update coordination.k8s.io/leases default n1",
        "deletecollection -/pods a -",
        "delete -/nodes - n1",
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(no); i++)
        if (may(*state, "system:node:n1", "system:nodes", no[i], NULL))
            fail_msg("allowed: %s", no[i]);
    assert_false(may(*state, "system:node:n1", "system:nodes", "list -/pods a -", "n2"));
    /* the name alone, without the group, is no node, and the group alone none either */
    assert_false(may(*state, "system:node:n1", NULL, "get -/secrets a mounted", NULL));
    assert_false(may(*state, "mallory", "system:nodes", "get -/secrets a mounted", NULL));
}

static void test_a_pod_that_goes_takes_its_secrets(void **state)
{
    struct auth_fixture *x = *state;
    gone(x, "", "pods", "/registry/core/pods/a/p");
    assert_false(may(x, "system:node:n1", "system:nodes", "get -/secrets a mounted", NULL));
}

/* ---- writing ---- */

static yyjson_mut_doc *parse(const char *quoted)
{
    char *json = neap_strdup(quoted);
    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    yyjson_doc *d = yyjson_read(json, strlen(json), 0);
    assert_non_null(d);
    yyjson_mut_doc *doc = yyjson_doc_mut_copy(d, NULL);
    yyjson_doc_free(d);
    free(json);
    return doc;
}

struct write {
    const char *title, *resource, *subresource, *old, *now;
    bool ok;
};

#define LABELLED(labels) "{'metadata':{'name':'n1','labels':{" labels "}}}"
#define MIRROR(spec)                                                                               \
    "{'metadata':{'name':'m','annotations':{'kubernetes.io/config.mirror':'h'}},"                  \
    "'spec':{'nodeName':'n1'" spec "}}"
#define OWNED(owner)                                                                               \
    "{'metadata':{'name':'m','annotations':{'kubernetes.io/config.mirror':'h'},"                   \
    "'ownerReferences':[" owner "]},'spec':{'nodeName':'n1'}}"
#define ITSELF "{'apiVersion':'v1','kind':'Node','name':'n1','uid':'uid-n1'}"

static const struct write writes[] = {
    {"registers", "nodes", NULL, NULL, LABELLED("'kubernetes.io/hostname':'n1','mine':'x'"), true},
    {"another node", "nodes", NULL, NULL, "{'metadata':{'name':'n2'}}", false},
    {"its own labels", "nodes", NULL, LABELLED(""), LABELLED("'node.kubernetes.io/a':'b'"), true},
    {"below the kubelet's", "nodes", NULL, LABELLED(""), LABELLED("'x.node.kubernetes.io/a':'b'"),
     true},
    {"a restricted label", "nodes", NULL, LABELLED(""),
     LABELLED("'node-restriction.kubernetes.io/a':'b'"), false},
    {"below the restricted ones", "nodes", NULL, LABELLED(""),
     LABELLED("'x.node-restriction.kubernetes.io/a':'b'"), false},
    {"by the status", "nodes", "status", LABELLED(""),
     LABELLED("'node-restriction.kubernetes.io/a':'b'"), false},
    {"another kubernetes.io label", "nodes", NULL, LABELLED(""),
     LABELLED("'node-role.kubernetes.io/control-plane':''"), false},
    {"a restricted label stays", "nodes", NULL, LABELLED("'node-restriction.kubernetes.io/a':'b'"),
     LABELLED("'node-restriction.kubernetes.io/a':'b','x':'y'"), true},
    {"a restricted label is not taken away", "nodes", NULL,
     LABELLED("'node-restriction.kubernetes.io/a':'b'"), LABELLED(""), false},
    {"taints stay", "nodes", NULL, "{'metadata':{'name':'n1'},'spec':{'taints':[{'key':'k'}]}}",
     "{'metadata':{'name':'n1'},'spec':{}}", false},
    {"an owner of the node (CVE-2025-5187)", "nodes", NULL, LABELLED(""),
     "{'metadata':{'name':'n1','ownerReferences':[{'kind':'Pod','name':'x','uid':'u'}]}}", false},
    {"deletes another node", "nodes", NULL, "{'metadata':{'name':'n2'}}", NULL, false},
    {"a pod", "pods", NULL, NULL, "{'metadata':{'name':'m'},'spec':{'nodeName':'n1'}}", false},
    {"a mirror pod", "pods", NULL, NULL, MIRROR(""), true},
    {"a mirror pod elsewhere", "pods", NULL, NULL,
     "{'metadata':{'name':'m','annotations':{'kubernetes.io/config.mirror':'h'}},"
     "'spec':{'nodeName':'n2'}}",
     false},
    {"a mirror pod's host path", "pods", NULL, NULL,
     MIRROR(",'volumes':[{'name':'v','hostPath':{'path':'/x'}}]"), true},
    {"a mirror pod's secret", "pods", NULL, NULL,
     MIRROR(",'volumes':[{'name':'v','secret':{'secretName':'theirs'}}]"), false},
    {"a mirror pod's claim", "pods", NULL, NULL,
     MIRROR(",'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':'c'}}]"), false},
    {"a mirror pod's projected secret", "pods", NULL, NULL,
     MIRROR(",'volumes':[{'name':'v','projected':{'sources':[{'secret':{'name':'theirs'}}]}}]"),
     false},
    {"a mirror pod's environment", "pods", NULL, NULL,
     MIRROR(",'containers':[{'name':'c','env':[{'name':'E','valueFrom':{'secretKeyRef':"
            "{'name':'theirs','key':'k'}}}]}]"),
     false},
    {"a mirror pod's init environment", "pods", NULL, NULL,
     MIRROR(",'initContainers':[{'name':'c','envFrom':[{'configMapRef':{'name':'x'}}]}]"), false},
    {"a mirror pod's pull secret", "pods", NULL, NULL, MIRROR(",'imagePullSecrets':[{'name':'x'}]"),
     false},
    {"a mirror pod's account", "pods", NULL, NULL, MIRROR(",'serviceAccountName':'app'"), false},
    {"a mirror pod of the node", "pods", NULL, NULL, OWNED(ITSELF), true},
    {"a mirror pod of another", "pods", NULL, NULL,
     OWNED("{'apiVersion':'v1','kind':'Node','name':'n1','uid':'other'}"), false},
    {"a mirror pod of two", "pods", NULL, NULL, OWNED(ITSELF "," ITSELF), false},
    {"its pod's status", "pods", "status", POD, POD, true},
    {"another's pod's status", "pods", "status", OTHER, OTHER, false},
    {"its pod's spec", "pods", NULL, POD, POD, false},
    {"labels by the status", "pods", "status", POD,
     "{'metadata':{'name':'p','labels':{'app':'bank'}},'spec':{'nodeName':'n1'}}", false},
    {"deletes its pod", "pods", NULL, POD, NULL, true},
    {"deletes another's pod", "pods", NULL, OTHER, NULL, false},
    {"evicts another's pod", "pods", "eviction", OTHER, NULL, false},
    {"its lease", "leases", NULL, NULL, "{'metadata':{'name':'n1'}}", true},
    {"another's lease", "leases", NULL, NULL, "{'metadata':{'name':'n2'}}", false},
    {"another's CSINode", "csinodes", NULL, NULL, "{'metadata':{'name':'n2'}}", false},
};

static int restriction(struct auth_fixture *x, const struct write *w)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_identity *id = user("system:node:n1", "system:nodes");
    yyjson_mut_doc *old = w->old ? parse(w->old) : NULL, *now = w->now ? parse(w->now) : NULL;
    struct neap_call call = {
        .identity = id, .subresource = w->subresource, .resource = w->resource};
    call.group = strcmp(w->resource, "leases") == 0     ? "coordination.k8s.io"
                 : strcmp(w->resource, "csinodes") == 0 ? "storage.k8s.io"
                                                        : "";
    yyjson_mut_val *named = yyjson_mut_doc_get_root(old ? old : now);
    call.name = w->old ? neap_json_str_at(named, "metadata.name") : NULL;
    int rc = neap_auth_node_restriction(x->auth, x->s, &call, yyjson_mut_doc_get_root(old),
                                        yyjson_mut_doc_get_root(now), &err);
    neap_err_done(&err);
    yyjson_mut_doc_free(old);
    yyjson_mut_doc_free(now);
    neap_identity_unref(id);
    return rc;
}

static void test_writes(void **state)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(writes); i++) {
        int rc = restriction(*state, &writes[i]);
        if (rc != (writes[i].ok ? 0 : NEAP_EFORBIDDEN))
            fail_msg("%s: %d", writes[i].title, rc);
    }
}

/* ---- tokens ---- */

static int token(struct auth_fixture *x, const char *who, const char *group, const char *pod,
                 bool uid, const char *audience)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_identity *id = user(who, group);
    struct neap_call call = {
        .identity = id, .resource = "serviceaccounts", .subresource = "token", .name = "app"};
    const char *audiences[] = {audience, NULL};
    const struct neap_object *o = pod ? neap_snapshot_get(x->s, pods(), "a", pod) : NULL;
    int rc = neap_auth_node_token(x->auth, &call, o, uid, audience ? audiences : NULL, &err);
    neap_err_done(&err);
    neap_identity_unref(id);
    return rc;
}

static void test_tokens(void **state)
{
    static const char n1[] = "system:node:n1", nodes[] = "system:nodes";
    assert_int_equal(token(*state, n1, nodes, "p", true, NULL), 0);
    assert_int_equal(token(*state, n1, nodes, "p", true, "vault"), 0);
    assert_int_equal(token(*state, n1, nodes, "p", true, test_issuer), 0);
    assert_int_equal(token(*state, n1, nodes, "p", true, "bank"), NEAP_EFORBIDDEN);
    assert_int_equal(token(*state, n1, nodes, "p", false, NULL), NEAP_EFORBIDDEN);
    assert_int_equal(token(*state, n1, nodes, "q", true, NULL), NEAP_EFORBIDDEN);
    assert_int_equal(token(*state, n1, nodes, NULL, true, NULL), NEAP_EFORBIDDEN);
    assert_int_equal(token(*state, "admin", NULL, NULL, false, "bank"), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, auth_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reads_what_its_pods_use),
        TEST(test_reads_nothing_else),
        TEST(test_a_pod_that_goes_takes_its_secrets),
        TEST(test_writes),
        TEST(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
