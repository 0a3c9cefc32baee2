/* Nodes: what a kubelet may see is what its pods need; what it may write is its own.
 * Source: Kubernetes documentation, "Using Node Authorization", "NodeRestriction". */
#include "auth_internal.h"

static const char PREFIX[] = "system:node:";

const char *auth_node_name(const struct neap_identity *id)
{
    if (!neap_startswith(id->user, PREFIX) || !neap_identity_in_group(id, "system:nodes"))
        return NULL;
    return id->user + sizeof(PREFIX) - 1;
}

/* ---- does a pod refer to it? ---- */

static bool string_is(yyjson_val *v, const char *path, const char *name)
{
    return neap_streq(neap_json_val_str_at(v, path), name);
}

static bool volume_refers(yyjson_val *v, const char *resource, const char *name)
{
    size_t i, n;
    yyjson_val *source;
    bool secret = strcmp(resource, "secrets") == 0, config = strcmp(resource, "configmaps") == 0;
    if ((secret && string_is(v, "secret.secretName", name)) ||
        (config && string_is(v, "configMap.name", name)) ||
        (strcmp(resource, "persistentvolumeclaims") == 0 &&
         string_is(v, "persistentVolumeClaim.claimName", name)))
        return true;
    yyjson_arr_foreach(neap_json_val_at(v, "projected.sources"), i, n, source)
    {
        if ((secret && string_is(source, "secret.name", name)) ||
            (config && string_is(source, "configMap.name", name)))
            return true;
    }
    return false;
}

static bool container_refers(yyjson_val *c, const char *resource, const char *name)
{
    size_t i, n;
    yyjson_val *e;
    bool secret = strcmp(resource, "secrets") == 0;
    yyjson_arr_foreach(yyjson_obj_get(c, "envFrom"), i, n, e)
    {
        if (string_is(e, secret ? "secretRef.name" : "configMapRef.name", name))
            return true;
    }
    yyjson_arr_foreach(yyjson_obj_get(c, "env"), i, n, e)
    {
        if (string_is(e, secret ? "valueFrom.secretKeyRef.name" : "valueFrom.configMapKeyRef.name",
                      name))
            return true;
    }
    return false;
}

static bool pod_refers(const struct neap_object *pod, const char *resource, const char *name)
{
    static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
    yyjson_doc *doc = neap_object_parse(pod, NULL);
    yyjson_val *spec = yyjson_obj_get(yyjson_doc_get_root(doc), "spec"), *e;
    bool found = false, secret = strcmp(resource, "secrets") == 0;
    size_t i, n;
    if (strcmp(resource, "serviceaccounts") == 0)
        found = string_is(spec, "serviceAccountName", name);
    yyjson_arr_foreach(yyjson_obj_get(spec, "volumes"), i, n, e)
    {
        found = found || volume_refers(e, resource, name);
    }
    yyjson_arr_foreach(secret ? yyjson_obj_get(spec, "imagePullSecrets") : NULL, i, n, e)
    {
        found = found || string_is(e, "name", name);
    }
    for (size_t l = 0; l < NEAP_ARRAY_LEN(lists); l++) {
        yyjson_arr_foreach(yyjson_obj_get(spec, lists[l]), i, n, e)
        {
            found = found || container_refers(e, resource, name);
        }
    }
    yyjson_doc_free(doc);
    return found;
}

static bool node_refers(struct neap_auth *a, const struct neap_snapshot *s, const char *node,
                        const char *resource, const char *ns, const char *name)
{
    struct neap_arena *arena = neap_arena_new(0);
    size_t count;
    bool found = false;
    struct neap_object **pods = neap_snapshot_by_field(s, neap_kind_by_resource("", "v1", "pods"),
                                                       a->node_name_field, node, arena, &count);
    for (size_t i = 0; !found && i < count; i++)
        found =
            strcmp(neap_object_namespace(pods[i]), ns) == 0 && pod_refers(pods[i], resource, name);
    neap_arena_free(arena);
    return found;
}

/* A volume is a node's when a claim that it is bound to is. */
static bool volume_of_node(struct neap_auth *a, const struct neap_snapshot *s, const char *node,
                           const char *name)
{
    struct neap_object *pv =
        neap_snapshot_get(s, neap_kind_by_resource("", "v1", "persistentvolumes"), NULL, name);
    yyjson_doc *doc = pv ? neap_object_parse(pv, NULL) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *ns = neap_json_val_str_at(root, "spec.claimRef.namespace");
    const char *claim = neap_json_val_str_at(root, "spec.claimRef.name");
    bool ok = ns && claim && node_refers(a, s, node, "persistentvolumeclaims", ns, claim);
    yyjson_doc_free(doc);
    return ok;
}

static bool is(const struct neap_attributes *x, const char *group, const char *resource)
{
    return strcmp(x->group, group) == 0 && strcmp(x->resource, resource) == 0;
}

static bool one_of(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(s, *words) == 0)
            return true;
    return false;
}

static bool by_graph(struct neap_auth *a, const struct neap_snapshot *s,
                     const struct neap_attributes *x, const char *node, char **reason)
{
    static const char *const reading[] = {"get", "list", "watch", NULL};
    bool token = strcmp(x->subresource, "token") == 0;
    bool ok = token ? strcmp(x->verb, "create") == 0 : !*x->subresource && one_of(x->verb, reading);
    if (ok && *x->name) {
        ok = strcmp(x->resource, "persistentvolumes") == 0
                 ? volume_of_node(a, s, node, x->name)
                 : node_refers(a, s, node, x->resource, x->namespace_, x->name);
    } else {
        ok = false;
    }
    if (!ok && reason)
        *reason = neap_asprintf("no relationship found between node '%s' and this object", node);
    return ok;
}

static bool own_lease(const struct neap_attributes *x, const char *node)
{
    return strcmp(x->namespace_, "kube-node-lease") == 0 &&
           (strcmp(x->verb, "create") == 0 || strcmp(x->name, node) == 0);
}

enum neap_decision auth_node_authorize(struct neap_auth *a, const struct neap_snapshot *s,
                                       const struct neap_attributes *x, const char *node,
                                       char **reason)
{
    static const char *const graph[] = {"secrets", "configmaps", "persistentvolumeclaims",
                                        "persistentvolumes", NULL};
    if (x->resource_request && !*x->group &&
        (one_of(x->resource, graph) || is(x, "", "serviceaccounts")))
        return by_graph(a, s, x, node, reason) ? NEAP_ALLOW : NEAP_NO_OPINION;
    if (is(x, "coordination.k8s.io", "leases"))
        return own_lease(x, node) ? NEAP_ALLOW : NEAP_NO_OPINION;
    if (is(x, "storage.k8s.io", "csinodes"))
        return strcmp(x->verb, "create") == 0 || strcmp(x->name, node) == 0 ? NEAP_ALLOW
                                                                            : NEAP_NO_OPINION;
    /* everything else: the rules of the role that nodes had before */
    struct neap_object *o = neap_snapshot_get(
        s, neap_kind_by_resource("rbac.authorization.k8s.io", "v1", "clusterroles"), NULL,
        "system:node");
    bool ok = false;
    pthread_mutex_lock(&a->lock);
    const struct auth_role *role = o ? auth_role_of(a, o) : NULL;
    for (unsigned i = 0; role && !ok && i < role->count; i++)
        ok = auth_rule_allows(&role->rules[i], x);
    pthread_mutex_unlock(&a->lock);
    return ok ? NEAP_ALLOW : NEAP_NO_OPINION;
}

/* ---- NodeRestriction ---- */

static int forbid(const struct neap_call *call, struct neap_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int forbid(const struct neap_call *call, struct neap_err *err, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    const char *name = call->name ? call->name : "";
    neap_err_set(err, NEAP_EFORBIDDEN, "%s \"%s\" is forbidden: %s", call->resource, name, text);
    neap_err_about(err, call->group, call->resource, name);
    return NEAP_EFORBIDDEN;
}

static bool label_allowed(const char *key)
{
    static const char *const kubelet[] = {"kubernetes.io/hostname",
                                          "kubernetes.io/arch",
                                          "kubernetes.io/os",
                                          "node.kubernetes.io/instance-type",
                                          "beta.kubernetes.io/instance-type",
                                          "beta.kubernetes.io/os",
                                          "beta.kubernetes.io/arch",
                                          "topology.kubernetes.io/zone",
                                          "topology.kubernetes.io/region",
                                          "failure-domain.beta.kubernetes.io/zone",
                                          "failure-domain.beta.kubernetes.io/region",
                                          NULL};
    const char *slash = strchr(key, '/');
    if (!slash || one_of(key, kubelet))
        return true;
    size_t n = (size_t)(slash - key);
    if (strncmp(key, "kubelet.kubernetes.io", n) == 0 || strncmp(key, "node.kubernetes.io", n) == 0)
        return true;
    char domain[256];
    snprintf(domain, sizeof(domain), "%.*s", (int)n, key);
    if (neap_endswith(domain, ".kubelet.kubernetes.io") ||
        neap_endswith(domain, ".node.kubernetes.io"))
        return true;
    bool ours = strcmp(domain, "kubernetes.io") == 0 || strcmp(domain, "k8s.io") == 0 ||
                neap_endswith(domain, ".kubernetes.io") || neap_endswith(domain, ".k8s.io");
    return !ours;
}

static int check_node(const struct neap_call *call, const char *node, yyjson_mut_val *old,
                      yyjson_mut_val *new, struct neap_err *err)
{
    const char *name = call->name ? call->name : neap_json_str_at(new, "metadata.name");
    if (!neap_streq(name, node))
        return forbid(call, err, "node \"%s\" is not allowed to modify node \"%s\"", node,
                      name ? name : "");
    yyjson_mut_val *labels = neap_json_at(new, "metadata.labels");
    yyjson_mut_val *before = old ? neap_json_at(old, "metadata.labels") : NULL;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(labels);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k);
        yyjson_mut_val *was = yyjson_mut_obj_get(before, key);
        if (was && neap_json_equal(was, yyjson_mut_obj_iter_get_val(k)))
            continue;
        if (!label_allowed(key))
            return forbid(call, err, "is not allowed to set the following labels: %s", key);
    }
    yyjson_mut_val *taints = neap_json_at(new, "spec.taints");
    yyjson_mut_val *had = old ? neap_json_at(old, "spec.taints") : NULL;
    bool same = (!taints && !had) || (taints && had && neap_json_equal(taints, had));
    if (old && !call->subresource && !same)
        return forbid(call, err, "node \"%s\" is not allowed to modify taints", node);
    return 0;
}

static int check_pod(const struct neap_call *call, const char *node, yyjson_mut_val *old,
                     yyjson_mut_val *new, struct neap_err *err)
{
    const char *host = neap_json_str_at(old ? old : new, "spec.nodeName");
    if (!old) {
        yyjson_mut_val *mirror = yyjson_mut_obj_get(neap_json_at(new, "metadata.annotations"),
                                                    "kubernetes.io/config.mirror");
        if (!mirror)
            return forbid(call, err,
                          "pod does not have \"kubernetes.io/config.mirror\" annotation, "
                          "node \"%s\" can only create mirror pods",
                          node);
    }
    if (!neap_streq(host, node))
        return forbid(call, err, "node \"%s\" can only %s pods with spec.nodeName set to itself",
                      node, old ? "change" : "create");
    if (old && new && !neap_streq(call->subresource, "status"))
        return forbid(call, err, "node \"%s\" may only update the status of pods", node);
    return 0;
}

int neap_auth_node_restriction(struct neap_auth *a, const struct neap_snapshot *s,
                               const struct neap_call *call, yyjson_mut_val *old_root,
                               yyjson_mut_val *new_root, struct neap_err *err)
{
    const char *node = auth_node_name(call->identity);
    (void)a;
    (void)s;
    if (!node)
        return 0;
    if (!call->group || !*call->group) {
        if (strcmp(call->resource, "nodes") == 0)
            return check_node(call, node, old_root, new_root, err);
        if (strcmp(call->resource, "pods") == 0)
            return check_pod(call, node, old_root, new_root, err);
    }
    return 0;
}
