/* Who writes a role or a binding must hold what it grants, or the verbs escalate and bind.
 * Source: Kubernetes documentation, "Privilege escalation prevention and bootstrapping". */
#include "internal.h"

static bool may(struct neap_call *c, const char *verb, const char *resource, const char *ns,
                const char *name)
{
    struct neap_err err = NEAP_ERR_INIT;
    int rc = rest_authorize(c, verb, "rbac.authorization.k8s.io", resource, NULL, ns, name, &err);
    neap_err_done(&err);
    return rc == 0;
}

static int refuse(struct rest_write *w, const char *missing, struct neap_err *err)
{
    const struct neap_identity *id = w->call->identity;
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_printf(&b, "user \"%s\" (groups=[", id->user);
    for (const char *const *g = id->groups; g && *g; g++)
        neap_buf_printf(&b, "%s\"%s\"", g == id->groups ? "" : " ", *g);
    neap_buf_printf(&b, "]) is attempting to grant RBAC permissions not currently held:\n%s",
                    missing);
    rest_err_forbidden(err, w->kind, w->name, b.data);
    neap_buf_done(&b);
    return NEAP_EFORBIDDEN;
}

/* The rules that a binding's roleRef names; NULL: no such role. */
static yyjson_mut_val *role_rules(struct rest_write *w, const char *kind, const char *name)
{
    struct neap_snapshot *s = rest_call_of(w->call)->snapshot;
    bool cluster = neap_streq(kind, "ClusterRole");
    const struct neap_kind *k = neap_kind_by_resource("rbac.authorization.k8s.io", "v1",
                                                      cluster ? "clusterroles" : "roles");
    struct neap_object *o = neap_snapshot_get(s, k, cluster ? NULL : w->namespace_, name);
    yyjson_mut_doc *doc = o ? rest_object_doc(w->call->arena, o, k) : NULL;
    return doc ? yyjson_mut_obj_get(yyjson_mut_doc_get_root(doc), "rules") : NULL;
}

/* Its rules come from whatever roles will have the labels: only who holds everything may say so. */
static yyjson_mut_val *aggregated(struct rest_write *w)
{
    static const char everything[] =
        "[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]},"
        "{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]";
    yyjson_mut_val *now = yyjson_mut_obj_get(w->root, "aggregationRule"),
                   *old = w->old_root ? yyjson_mut_obj_get(w->old_root, "aggregationRule") : NULL;
    if ((!now && !old) || (now && old && neap_json_equal(now, old)))
        return NULL;
    yyjson_doc *doc = yyjson_read(everything, sizeof(everything) - 1, 0);
    yyjson_mut_val *rules = yyjson_val_mut_copy(w->doc, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return rules;
}

int rest_escalation_check(struct rest_write *w, struct neap_err *err)
{
    struct neap_rest *r = rest_of(w->call);
    const char *resource = w->kind->resource, *ns = w->namespace_ ? w->namespace_ : "";
    if (!r->options.auth || !w->call->identity ||
        strcmp(w->kind->group, "rbac.authorization.k8s.io") != 0)
        return 0;
    yyjson_mut_val *rules;
    if (strcmp(resource, "roles") == 0 || strcmp(resource, "clusterroles") == 0) {
        yyjson_mut_val *all = aggregated(w);
        rules = all ? all : yyjson_mut_obj_get(w->root, "rules");
        if ((!all && w->old_root &&
             neap_json_equal(rules, yyjson_mut_obj_get(w->old_root, "rules"))) ||
            may(w->call, "escalate", resource, ns, w->name))
            return 0;
    } else {
        const char *kind = neap_json_str_at(w->root, "roleRef.kind");
        const char *name = neap_json_str_at(w->root, "roleRef.name");
        bool cluster = neap_streq(kind, "ClusterRole");
        if (w->old_root &&
            neap_json_equal(yyjson_mut_obj_get(w->root, "roleRef"),
                            yyjson_mut_obj_get(w->old_root, "roleRef")) &&
            neap_json_equal(yyjson_mut_obj_get(w->root, "subjects"),
                            yyjson_mut_obj_get(w->old_root, "subjects")))
            return 0;
        if (!name || may(w->call, "bind", cluster ? "clusterroles" : "roles", ns, name))
            return 0;
        rules = role_rules(w, kind, name);
        if (!rules) {
            const struct neap_kind *k = neap_kind_by_resource("rbac.authorization.k8s.io", "v1",
                                                              cluster ? "clusterroles" : "roles");
            return rest_err_not_found(err, k, name);
        }
    }
    struct neap_buf missing = NEAP_BUF_INIT;
    bool covered = !rules || neap_auth_covers(r->options.auth, rest_call_of(w->call)->snapshot,
                                              w->call->identity, ns, rules, &missing);
    int rc = covered ? 0 : refuse(w, missing.len ? missing.data : "", err);
    neap_buf_done(&missing);
    return rc;
}
