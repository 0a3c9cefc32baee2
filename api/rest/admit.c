/* Built-in admission in the order of the published plugins, then the scripts'.
 * Source: Kubernetes documentation, "Admission Control". */
#include "internal.h"

static yyjson_mut_val *at(yyjson_mut_val *root, const char *path)
{
    return neap_json_at(root, path);
}

static bool is(const struct neap_kind *k, const char *group, const char *resource)
{
    return strcmp(k->group, group) == 0 && strcmp(k->resource, resource) == 0;
}

/* ---- NamespaceLifecycle ---- */

static const struct neap_kind *namespaces(void)
{
    return neap_kind_by_resource("", "v1", "namespaces");
}

static int terminating(struct rest_write *w, struct neap_err *err)
{
    char text[512];
    snprintf(text, sizeof(text),
             "unable to create new content in namespace %s because it is being terminated",
             w->namespace_);
    rest_err_forbidden(err, w->kind, w->name, text);
    neap_err_cause(err, "NamespaceTerminating", "metadata.namespace",
                   "namespace %s is being terminated", w->namespace_);
    err->code = NEAP_EFORBIDDEN;
    return NEAP_EFORBIDDEN;
}

static int namespace_lifecycle(struct rest_write *w, struct neap_err *err)
{
    if (!w->kind->namespaced || w->subresource)
        return 0;
    struct neap_object *ns =
        neap_snapshot_get(rest_call_of(w->call)->snapshot, namespaces(), NULL, w->namespace_);
    if (!ns)
        return rest_err_not_found(err, namespaces(), w->namespace_);
    return w->created && neap_object_deleting(ns) ? terminating(w, err) : 0;
}

/* ---- TaintNodesByCondition ---- */

static void taint_new_node(struct rest_write *w)
{
    yyjson_mut_val *taints = at(w->root, "spec.taints"), *t;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(taints);
    while ((t = yyjson_mut_arr_iter_next(&it)))
        if (neap_streq(neap_json_str_at(t, "key"), "node.kubernetes.io/not-ready"))
            return;
    if (!taints) {
        taints = yyjson_mut_arr(w->doc);
        neap_json_set_at(w->doc, w->root, "spec.taints", taints);
    }
    t = yyjson_mut_obj(w->doc);
    yyjson_mut_obj_add_str(w->doc, t, "key", "node.kubernetes.io/not-ready");
    yyjson_mut_obj_add_str(w->doc, t, "effect", "NoSchedule");
    yyjson_mut_arr_append(taints, t);
}

/* ---- Priority ---- */

static const struct neap_kind *priority_classes(void)
{
    return neap_kind_by_resource("scheduling.k8s.io", "v1", "priorityclasses");
}

/* The class that pods without one get: the global default with the lowest value; NULL: none. */
static struct neap_object *default_class(struct neap_snapshot *s)
{
    struct neap_iter it;
    struct neap_object *best = NULL;
    int64_t lowest = INT64_MAX;
    neap_iter_init(&it, s, priority_classes(), NULL, NULL);
    for (struct neap_object *o; (o = neap_iter_next(&it));) {
        yyjson_doc *doc = neap_object_parse(o, NULL);
        yyjson_val *root = yyjson_doc_get_root(doc);
        int64_t value = yyjson_get_sint(yyjson_obj_get(root, "value"));
        if (yyjson_get_bool(yyjson_obj_get(root, "globalDefault")) && value < lowest) {
            lowest = value;
            best = o;
        }
        yyjson_doc_free(doc);
    }
    return best;
}

static int priority(struct rest_write *w, struct neap_err *err)
{
    struct neap_snapshot *s = rest_call_of(w->call)->snapshot;
    yyjson_mut_val *spec = at(w->root, "spec");
    const char *name = neap_json_str_at(spec, "priorityClassName"),
               *policy = "PreemptLowerPriority";
    int64_t value = 0;
    struct neap_object *o =
        name && *name ? neap_snapshot_get(s, priority_classes(), NULL, name) : default_class(s);
    char text[400];
    if (name && *name && !o) {
        snprintf(text, sizeof(text), "no PriorityClass with name %s was found", name);
        return rest_err_forbidden(err, w->kind, w->name, text);
    }
    yyjson_doc *doc = o ? neap_object_parse(o, neap_arena_alc(w->call->arena)) : NULL;
    if (doc) {
        yyjson_val *root = yyjson_doc_get_root(doc);
        const char *p = yyjson_get_str(yyjson_obj_get(root, "preemptionPolicy"));
        value = yyjson_get_sint(yyjson_obj_get(root, "value"));
        policy = p ? p : policy;
        if (!(name && *name))
            neap_json_set_at(w->doc, spec, "priorityClassName",
                             yyjson_mut_strcpy(w->doc, neap_object_name(o)));
    }
    yyjson_mut_val *given = yyjson_mut_obj_get(spec, "priority");
    if (given && yyjson_mut_get_sint(given) != value) {
        snprintf(text, sizeof(text),
                 "the integer value of priority (%lld) must not be provided in pod spec; priority "
                 "admission controller computed %lld from the given PriorityClass name",
                 (long long)yyjson_mut_get_sint(given), (long long)value);
        return rest_err_forbidden(err, w->kind, w->name, text);
    }
    neap_json_set_at(w->doc, spec, "priority", yyjson_mut_sint(w->doc, value));
    const char *asked = neap_json_str_at(spec, "preemptionPolicy");
    if (asked && strcmp(asked, policy) != 0) {
        snprintf(text, sizeof(text),
                 "the string value of PreemptionPolicy (%.64s) must not be provided in pod spec; "
                 "priority admission controller computed %s from the given PriorityClass name",
                 asked, policy);
        return rest_err_forbidden(err, w->kind, w->name, text);
    }
    neap_json_set_at(w->doc, spec, "preemptionPolicy", yyjson_mut_strcpy(w->doc, policy));
    return 0;
}

/* ---- RuntimeClass ---- */

/* What the class adds to a pod: its overhead, and where pods of it may run. */
static int runtime_class(struct rest_write *w, struct neap_err *err)
{
    const struct neap_kind *classes = neap_kind_by_resource("node.k8s.io", "v1", "runtimeclasses");
    yyjson_mut_val *spec = at(w->root, "spec"), *overhead = at(w->root, "spec.overhead");
    const char *name = neap_json_str_at(spec, "runtimeClassName");
    struct neap_snapshot *s = rest_call_of(w->call)->snapshot;
    struct neap_object *o = name && *name ? neap_snapshot_get(s, classes, NULL, name) : NULL;
    char text[400];
    if (name && *name && !o) {
        snprintf(text, sizeof(text), "pod rejected: RuntimeClass \"%.253s\" not found", name);
        return rest_err_forbidden(err, w->kind, w->name, text);
    }
    yyjson_doc *doc = o ? neap_object_parse(o, neap_arena_alc(w->call->arena)) : NULL;
    yyjson_val *fixed = neap_json_val_at(yyjson_doc_get_root(doc), "overhead.podFixed");
    yyjson_mut_val *given = fixed ? yyjson_val_mut_copy(w->doc, fixed) : NULL;
    if (overhead && !given)
        return rest_err_forbidden(err, w->kind, w->name,
                                  "pod rejected: Pod Overhead set without corresponding "
                                  "RuntimeClass defined Overhead");
    if (overhead && !neap_json_equal(overhead, given))
        return rest_err_forbidden(err, w->kind, w->name,
                                  "pod rejected: Pod's Overhead doesn't match RuntimeClass's "
                                  "defined Overhead");
    if (given)
        neap_json_set_at(w->doc, w->root, "spec.overhead", given);
    return 0;
}

/* ---- DefaultTolerationSeconds ---- */

enum { NOT_READY_SECONDS = 300 };

static bool tolerated(yyjson_mut_val *list, const char *key)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *t; (t = yyjson_mut_arr_iter_next(&it));) {
        const char *k = neap_json_str_at(t, "key"), *effect = neap_json_str_at(t, "effect");
        if ((!k || !*k || strcmp(k, key) == 0) &&
            (!effect || !*effect || strcmp(effect, "NoExecute") == 0))
            return true;
    }
    return false;
}

static void default_tolerations(struct rest_write *w)
{
    static const char *const keys[] = {"node.kubernetes.io/not-ready",
                                       "node.kubernetes.io/unreachable"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(keys); i++) {
        yyjson_mut_val *list = at(w->root, "spec.tolerations");
        if (tolerated(list, keys[i]))
            continue;
        if (!list) {
            list = yyjson_mut_arr(w->doc);
            neap_json_set_at(w->doc, w->root, "spec.tolerations", list);
        }
        yyjson_mut_val *t = yyjson_mut_obj(w->doc);
        yyjson_mut_obj_add_str(w->doc, t, "key", keys[i]);
        yyjson_mut_obj_add_str(w->doc, t, "operator", "Exists");
        yyjson_mut_obj_add_str(w->doc, t, "effect", "NoExecute");
        yyjson_mut_obj_add_int(w->doc, t, "tolerationSeconds", NOT_READY_SECONDS);
        yyjson_mut_arr_append(list, t);
    }
}

/* ---- scripts ---- */

static int scripts(struct rest_write *w, const char *operation, struct neap_err *err)
{
    const struct neap_admission *a = rest_of(w->call)->options.admission;
    struct neap_admission_request r = {.call = w->call,
                                       .snapshot = rest_call_of(w->call)->snapshot,
                                       .kind = w->kind,
                                       .operation = operation,
                                       .namespace_ = w->namespace_,
                                       .name = w->name,
                                       .doc = w->doc,
                                       .object = w->root,
                                       .old_object = w->old_root,
                                       .dry_run = w->call->options.dry_run};
    if (!a || w->subresource)
        return 0;
    int rc = a->mutate ? a->mutate(a->arg, &r, err) : 0;
    w->root = r.object;
    return !rc && a->validate ? a->validate(a->arg, &r, err) : rc;
}

static int node_restriction(struct rest_write *w, struct neap_err *err)
{
    struct neap_rest *r = rest_of(w->call);
    if (!r->options.auth || !w->call->identity ||
        !neap_identity_in_group(w->call->identity, "system:nodes"))
        return 0;
    return neap_auth_node_restriction(r->options.auth, rest_call_of(w->call)->snapshot, w->call,
                                      w->old_root, w->root, err); /* root NULL: a deletion */
}

int rest_admit_delete(struct rest_write *w, struct neap_err *err)
{
    static const char *const immortal[] = {"default", "kube-system", "kube-public",
                                           "kube-node-lease"};
    for (size_t i = 0; is(w->kind, "", "namespaces") && i < 3; i++)
        if (strcmp(w->name, immortal[i]) == 0)
            return rest_err_forbidden(err, w->kind, w->name, "this namespace may not be deleted");
    int rc = scripts(w, "DELETE", err);
    return rc ? rc : node_restriction(w, err);
}

int rest_admit(struct rest_write *w, struct neap_err *err)
{
    int rc = namespace_lifecycle(w, err);
    if (!rc && w->created && is(w->kind, "", "nodes"))
        taint_new_node(w);
    if (!rc && w->created && is(w->kind, "", "pods"))
        rc = priority(w, err);
    if (!rc && w->created && is(w->kind, "", "pods"))
        rc = runtime_class(w, err);
    if (!rc && w->created && is(w->kind, "", "pods"))
        rc = rest_admit_account(w, err);
    if (!rc && !w->subresource && !w->binding && is(w->kind, "", "pods"))
        default_tolerations(w);
    if (!rc)
        rc = rest_escalation_check(w, err);
    if (!rc)
        rc = scripts(w, w->created ? "CREATE" : "UPDATE", err);
    return rc ? rc : node_restriction(w, err);
}
