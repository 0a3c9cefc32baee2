/* Nodes: what a kubelet may see is what its pods need. What it may write: node_restriction.c.
 * Source: Kubernetes documentation, "Using Node Authorization". */
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

/* Its own pods: one by name, or those that a selector pins to it. */
static bool own_pods(const struct neap_snapshot *s, const struct neap_attributes *x,
                     const char *node)
{
    bool many = strcmp(x->verb, "list") == 0 || strcmp(x->verb, "watch") == 0;
    if (many && neap_streq(x->pinned_node, node))
        return true;
    struct neap_object *pod =
        *x->name
            ? neap_snapshot_get(s, neap_kind_by_resource("", "v1", "pods"), x->namespace_, x->name)
            : NULL;
    yyjson_doc *doc = pod ? neap_object_parse(pod, NULL) : NULL;
    bool own = string_is(yyjson_doc_get_root(doc), "spec.nodeName", node);
    yyjson_doc_free(doc);
    return own;
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
    static const char *const reading[] = {"get", "list", "watch", NULL};
    if (is(x, "", "pods") && !*x->subresource && one_of(x->verb, reading))
        return own_pods(s, x, node) ? NEAP_ALLOW : NEAP_NO_OPINION;
    if (is(x, "", "nodes") && one_of(x->verb, reading))
        return !*x->subresource && strcmp(x->name, node) == 0 ? NEAP_ALLOW : NEAP_NO_OPINION;
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
