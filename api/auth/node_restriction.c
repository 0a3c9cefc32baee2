/* NodeRestriction: what a node may write is its own, and nothing that would let it read more than it may.
 * Source: Kubernetes documentation, "Admission Control", "NodeRestriction". */
#include "auth_internal.h"

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
    for (size_t i = 0; kubelet[i]; i++)
        if (strcmp(key, kubelet[i]) == 0)
            return true;
    if (!slash)
        return true;
    char domain[256];
    snprintf(domain, sizeof(domain), "%.*s", (int)(slash - key), key);
    if (strcmp(domain, "kubelet.kubernetes.io") == 0 || strcmp(domain, "node.kubernetes.io") == 0 ||
        neap_endswith(domain, ".kubelet.kubernetes.io") ||
        neap_endswith(domain, ".node.kubernetes.io"))
        return true;
    bool ours = strcmp(domain, "kubernetes.io") == 0 || strcmp(domain, "k8s.io") == 0 ||
                neap_endswith(domain, ".kubernetes.io") || neap_endswith(domain, ".k8s.io");
    return !ours;
}

/* The first label that differs in one direction and that a node may not set or take away. */
static const char *label_changed(yyjson_mut_val *labels, yyjson_mut_val *others)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(labels);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k);
        yyjson_mut_val *other = yyjson_mut_obj_get(others, key);
        bool same = other && neap_json_equal(other, yyjson_mut_obj_iter_get_val(k));
        if (!same && !label_allowed(key))
            return key;
    }
    return NULL;
}

static bool same_at(yyjson_mut_val *old, yyjson_mut_val *new, const char *path)
{
    yyjson_mut_val *a = neap_json_at(old, path), *b = neap_json_at(new, path);
    return a && b ? neap_json_equal(a, b) : !yyjson_mut_get_len(a) && !yyjson_mut_get_len(b);
}

static int check_node(const struct neap_call *call, const char *node, yyjson_mut_val *old,
                      yyjson_mut_val *new, struct neap_err *err)
{
    const char *name = call->name ? call->name : neap_json_str_at(new, "metadata.name");
    if (!neap_streq(name, node))
        return forbid(call, err, "node \"%s\" is not allowed to modify node \"%s\"", node,
                      name ? name : "");
    if (!new)
        return 0;
    yyjson_mut_val *labels = neap_json_at(new, "metadata.labels");
    yyjson_mut_val *before = neap_json_at(old, "metadata.labels");
    const char *key = label_changed(labels, before);
    if (!key)
        key = label_changed(before, labels);
    if (key)
        return forbid(call, err, "is not allowed to %s the following labels: %s",
                      old ? "modify" : "set", key);
    if (old && !same_at(old, new, "spec.taints"))
        return forbid(call, err, "node \"%s\" is not allowed to modify taints", node);
    /* an owner that is not there would have the garbage collector delete the Node (CVE-2025-5187) */
    if (old && !same_at(old, new, "metadata.ownerReferences"))
        return forbid(call, err, "node \"%s\" is not allowed to modify ownerReferences", node);
    return 0;
}

/* ---- mirror pods: what a node may say of pods that it runs by itself ---- */

static bool list_uses(yyjson_mut_val *list, const char *const *fields)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        for (size_t i = 0; fields[i]; i++)
            if (neap_json_at(e, fields[i]))
                return true;
    return false;
}

/* What would put a secret into the node's graph: what the pod uses, NULL: nothing. */
static const char *mirror_uses(yyjson_mut_val *pod)
{
    static const char *const volume[] = {"secret",
                                         "configMap",
                                         "persistentVolumeClaim",
                                         "csi",
                                         "ephemeral",
                                         "cephfs.secretRef",
                                         "flexVolume.secretRef",
                                         "iscsi.secretRef",
                                         "rbd.secretRef",
                                         "scaleIO.secretRef",
                                         "storageos.secretRef",
                                         "azureFile.secretName",
                                         NULL};
    static const char *const source[] = {
        "secret", "configMap", "serviceAccountToken", "clusterTrustBundle", "podCertificate", NULL};
    static const char *const from[] = {"secretRef", "configMapRef", NULL};
    static const char *const env[] = {"valueFrom.secretKeyRef", "valueFrom.configMapKeyRef", NULL};
    static const char *const lists[] = {"spec.containers", "spec.initContainers",
                                        "spec.ephemeralContainers"};
    const char *account = neap_json_str_at(pod, "spec.serviceAccountName");
    if (account && *account)
        return "a service account";
    if (yyjson_mut_get_len(neap_json_at(pod, "spec.imagePullSecrets")))
        return "secrets";
    if (yyjson_mut_get_len(neap_json_at(pod, "spec.resourceClaims")))
        return "resource claims";
    yyjson_mut_val *volumes = neap_json_at(pod, "spec.volumes");
    if (list_uses(volumes, volume))
        return "secrets, configmaps or persistentvolumeclaims";
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(volumes);
    for (yyjson_mut_val *v; (v = yyjson_mut_arr_iter_next(&it));)
        if (list_uses(neap_json_at(v, "projected.sources"), source))
            return "secrets, configmaps or tokens";
    for (size_t i = 0; i < NEAP_ARRAY_LEN(lists); i++) {
        it = yyjson_mut_arr_iter_with(neap_json_at(pod, lists[i]));
        for (yyjson_mut_val *c; (c = yyjson_mut_arr_iter_next(&it));)
            if (list_uses(yyjson_mut_obj_get(c, "envFrom"), from) ||
                list_uses(yyjson_mut_obj_get(c, "env"), env))
                return "secrets or configmaps";
    }
    return NULL;
}

/* At most one owner: the node itself. */
static int check_mirror_owner(const struct neap_snapshot *s, const struct neap_call *call,
                              const char *node, yyjson_mut_val *pod, struct neap_err *err)
{
    yyjson_mut_val *owners = neap_json_at(pod, "metadata.ownerReferences");
    if (!yyjson_mut_get_len(owners))
        return 0;
    yyjson_mut_val *o = yyjson_mut_arr_get_first(owners);
    const struct neap_object *n =
        neap_snapshot_get(s, neap_kind_by_resource("", "v1", "nodes"), NULL, node);
    bool ok = yyjson_mut_get_len(owners) == 1 &&
              neap_streq(neap_json_str_at(o, "apiVersion"), "v1") &&
              neap_streq(neap_json_str_at(o, "kind"), "Node") &&
              neap_streq(neap_json_str_at(o, "name"), node) && n &&
              neap_streq(neap_json_str_at(o, "uid"), neap_object_uid(n)) &&
              !yyjson_mut_get_bool(yyjson_mut_obj_get(o, "blockOwnerDeletion"));
    return ok ? 0
              : forbid(call, err,
                       "node \"%s\" can only create pods with one owner reference, to itself",
                       node);
}

static int check_mirror(const struct neap_snapshot *s, const struct neap_call *call,
                        const char *node, yyjson_mut_val *pod, struct neap_err *err)
{
    yyjson_mut_val *mirror = yyjson_mut_obj_get(neap_json_at(pod, "metadata.annotations"),
                                                "kubernetes.io/config.mirror");
    if (!mirror)
        return forbid(call, err,
                      "pod does not have \"kubernetes.io/config.mirror\" annotation, "
                      "node \"%s\" can only create mirror pods",
                      node);
    if (!neap_streq(neap_json_str_at(pod, "spec.nodeName"), node))
        return forbid(call, err,
                      "node \"%s\" can only create pods with spec.nodeName set to itself", node);
    const char *uses = mirror_uses(pod);
    if (uses)
        return forbid(call, err, "node \"%s\" can not create pods that reference %s", node, uses);
    return check_mirror_owner(s, call, node, pod, err);
}

static int check_pod(const struct neap_snapshot *s, const struct neap_call *call, const char *node,
                     yyjson_mut_val *old, yyjson_mut_val *new, struct neap_err *err)
{
    if (!old)
        return check_mirror(s, call, node, new, err);
    if (!neap_streq(neap_json_str_at(old, "spec.nodeName"), node))
        return forbid(call, err, "node \"%s\" can only %s pods with spec.nodeName set to itself",
                      node, new ? "change" : "delete");
    if (new && !neap_streq(call->subresource, "status"))
        return forbid(call, err, "node \"%s\" may only update the status of pods", node);
    if (new && !same_at(old, new, "metadata.labels"))
        return forbid(call, err, "node \"%s\" cannot update labels through pod status", node);
    return 0;
}

/* Leases and CSINodes have the name of their node. */
static int check_named(const struct neap_call *call, const char *node, yyjson_mut_val *new,
                       struct neap_err *err)
{
    const char *name = call->name ? call->name : neap_json_str_at(new, "metadata.name");
    return neap_streq(name, node)
               ? 0
               : forbid(call, err, "can only access %s with the same name as the requesting node",
                        call->resource);
}

int neap_auth_node_restriction(struct neap_auth *a, const struct neap_snapshot *s,
                               const struct neap_call *call, yyjson_mut_val *old_root,
                               yyjson_mut_val *new_root, struct neap_err *err)
{
    const char *node = auth_node_name(call->identity);
    const char *group = call->group ? call->group : "";
    (void)a;
    if (!node)
        return 0;
    if (!*group && strcmp(call->resource, "nodes") == 0)
        return check_node(call, node, old_root, new_root, err);
    if (!*group && strcmp(call->resource, "pods") == 0)
        return check_pod(s, call, node, old_root, new_root, err);
    if ((strcmp(group, "coordination.k8s.io") == 0 && strcmp(call->resource, "leases") == 0) ||
        (strcmp(group, "storage.k8s.io") == 0 && strcmp(call->resource, "csinodes") == 0))
        return check_named(call, node, new_root, err);
    return 0;
}

/* ---- tokens ---- */

/* The pod mounts a token for it. */
static bool pod_names_audience(yyjson_val *pod, const char *audience)
{
    size_t i, n, j, m;
    yyjson_val *volume, *source;
    yyjson_arr_foreach(neap_json_val_at(pod, "spec.volumes"), i, n, volume)
    {
        yyjson_arr_foreach(neap_json_val_at(volume, "projected.sources"), j, m, source)
        {
            if (neap_streq(neap_json_val_str_at(source, "serviceAccountToken.audience"), audience))
                return true;
        }
    }
    return false;
}

static bool api_audience(const struct neap_auth *a, const char *audience)
{
    for (const char *const *own = a->options.audiences; *own; own++)
        if (strcmp(*own, audience) == 0)
            return true;
    return false;
}

int neap_auth_node_token(struct neap_auth *a, const struct neap_call *call,
                         const struct neap_object *pod, bool uid_given,
                         const char *const *audiences, struct neap_err *err)
{
    const char *node = call->identity ? auth_node_name(call->identity) : NULL;
    if (!node)
        return 0;
    if (!pod)
        return forbid(call, err, "node requested token not bound to a pod");
    if (!uid_given)
        return forbid(call, err, "node requested token with a pod binding without a uid");
    yyjson_doc *doc = neap_object_parse(pod, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    int rc = 0;
    if (!neap_streq(neap_json_val_str_at(root, "spec.nodeName"), node))
        rc = forbid(call, err, "node requested token bound to a pod scheduled on a different node");
    for (; !rc && audiences && *audiences; audiences++)
        if (**audiences && !api_audience(a, *audiences) && !pod_names_audience(root, *audiences))
            rc = forbid(call, err, "audience \"%s\" not found in pod spec volume", *audiences);
    yyjson_doc_free(doc);
    return rc;
}
