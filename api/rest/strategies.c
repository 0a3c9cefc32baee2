/* The kinds whose writes compute something. Source: Kubernetes documentation of each kind. */
#include "strategy.h"

static yyjson_mut_val *at(yyjson_mut_val *root, const char *path)
{
    return neap_json_at(root, path);
}

static void set(struct rest_write *w, const char *path, yyjson_mut_val *v)
{
    neap_json_set_at(w->doc, w->root, path, v);
}

static yyjson_mut_val *text(struct rest_write *w, const char *s)
{
    return yyjson_mut_strcpy(w->doc, s);
}

/* An object at <path>, made when absent. */
static yyjson_mut_val *object(struct rest_write *w, const char *path)
{
    if (!yyjson_mut_is_obj(at(w->root, path)))
        set(w, path, yyjson_mut_obj(w->doc));
    return at(w->root, path);
}

static void put(struct rest_write *w, yyjson_mut_val *o, const char *key, yyjson_mut_val *v)
{
    yyjson_mut_obj_put(o, text(w, key), v);
}

/* ---- pods ---- */

/* Sums one side of the resources over all containers; *all: every one names both cpu and memory. */
static bool quality(yyjson_mut_val *list, bool *any, bool *guaranteed)
{
    static const char *const names[] = {"cpu", "memory"};
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *c; (c = yyjson_mut_arr_iter_next(&it));) {
        for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
            char path[64];
            snprintf(path, sizeof(path), "resources.requests.%s", names[i]);
            yyjson_mut_val *request = at(c, path);
            snprintf(path, sizeof(path), "resources.limits.%s", names[i]);
            yyjson_mut_val *limit = at(c, path);
            int64_t r = 0, l = 0;
            if (request)
                neap_quantity_milli(yyjson_mut_get_str(request), yyjson_mut_get_len(request), &r);
            if (limit)
                neap_quantity_milli(yyjson_mut_get_str(limit), yyjson_mut_get_len(limit), &l);
            *any = *any || r > 0 || l > 0;
            *guaranteed = *guaranteed && l > 0 && (r == l || (!request && l > 0));
        }
    }
    return *any;
}

const char *rest_pod_qos(yyjson_mut_val *spec)
{
    bool any = false, guaranteed = true;
    quality(yyjson_mut_obj_get(spec, "containers"), &any, &guaranteed);
    quality(yyjson_mut_obj_get(spec, "initContainers"), &any, &guaranteed);
    return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

/* A pod with gates waits: it says so from the start, whoever the scheduler is. */
static void say_gated(struct rest_write *w, yyjson_mut_val *status)
{
    char now[32];
    if (!yyjson_mut_arr_size(at(w->root, "spec.schedulingGates")))
        return;
    neap_time_format(neap_clock_wall(rest_of(w->call)->options.clock), now);
    yyjson_mut_val *list = yyjson_mut_arr(w->doc), *c = yyjson_mut_arr_add_obj(w->doc, list);
    put(w, c, "type", text(w, "PodScheduled"));
    put(w, c, "status", text(w, "False"));
    put(w, c, "lastProbeTime", yyjson_mut_null(w->doc));
    put(w, c, "lastTransitionTime", text(w, now));
    put(w, c, "reason", text(w, "SchedulingGated"));
    put(w, c, "message", text(w, "Scheduling is blocked due to non-empty scheduling gates"));
    put(w, status, "conditions", list);
}

static int pod_create(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    yyjson_mut_val *status = yyjson_mut_obj(w->doc);
    put(w, status, "phase", text(w, "Pending"));
    say_gated(w, status);
    put(w, status, "qosClass", text(w, rest_pod_qos(at(w->root, "spec"))));
    set(w, "status", status);
    return 0;
}

static int pod_update(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    /* computed at create, and kept whatever is written */
    yyjson_mut_val *qos = at(w->old_root, "status.qosClass");
    if (qos && !at(w->root, "status.qosClass"))
        set(w, "status.qosClass", yyjson_mut_val_mut_copy(w->doc, qos));
    return 0;
}

/* ---- namespaces ---- */

static void label_name(struct rest_write *w)
{
    put(w, object(w, "metadata.labels"), "kubernetes.io/metadata.name", text(w, w->name));
}

static int namespace_create(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    label_name(w);
    yyjson_mut_val *list = at(w->root, "spec.finalizers");
    if (!list) {
        list = yyjson_mut_arr(w->doc);
        set(w, "spec.finalizers", list);
    }
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        if (yyjson_mut_equals_str(e, "kubernetes"))
            return 0;
    yyjson_mut_arr_append(list, text(w, "kubernetes"));
    return 0;
}

static int namespace_update(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    if (w->subresource)
        return 0;
    label_name(w);
    /* only /finalize changes them */
    yyjson_mut_val *old = at(w->old_root, "spec.finalizers");
    set(w, "spec.finalizers", old ? yyjson_mut_val_mut_copy(w->doc, old) : NULL);
    return 0;
}

/* ---- daemon sets: the old template generation lives on as an annotation ---- */

static const char TEMPLATE_GENERATION[] = "deprecated.daemonset.template.generation";

static void template_generation(struct rest_write *w, int64_t n)
{
    char number[24];
    snprintf(number, sizeof(number), "%lld", (long long)n);
    put(w, object(w, "metadata.annotations"), TEMPLATE_GENERATION, text(w, number));
}

static int daemon_set_create(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    template_generation(w, 1);
    return 0;
}

static int daemon_set_update(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    if (w->subresource)
        return 0;
    const char *old = yyjson_mut_get_str(
        yyjson_mut_obj_get(at(w->old_root, "metadata.annotations"), TEMPLATE_GENERATION));
    int64_t n = old ? strtoll(old, NULL, 10) : 0;
    bool changed = !neap_json_equal(at(w->root, "spec.template"), at(w->old_root, "spec.template"));
    template_generation(w, n + changed);
    return 0;
}

/* ---- jobs: selector and labels from the uid unless the user chooses ---- */

static int job_create(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    if (yyjson_mut_get_bool(at(w->root, "spec.manualSelector")))
        return 0;
    const char *uid = neap_json_str_at(w->root, "metadata.uid");
    yyjson_mut_val *labels = object(w, "spec.template.metadata.labels");
    put(w, labels, "batch.kubernetes.io/controller-uid", text(w, uid));
    put(w, labels, "batch.kubernetes.io/job-name", text(w, w->name));
    put(w, labels, "controller-uid", text(w, uid));
    put(w, labels, "job-name", text(w, w->name));
    put(w, object(w, "spec.selector.matchLabels"), "batch.kubernetes.io/controller-uid",
        text(w, uid));
    if (!at(w->root, "metadata.labels"))
        set(w, "metadata.labels", yyjson_mut_val_mut_copy(w->doc, labels));
    return 0;
}

/* ---- volumes: kept while used (StorageObjectInUseProtection) ---- */

static void add_finalizer(struct rest_write *w, const char *name)
{
    yyjson_mut_val *list = at(w->root, "metadata.finalizers");
    if (!list) {
        list = yyjson_mut_arr(w->doc);
        set(w, "metadata.finalizers", list);
    }
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        if (yyjson_mut_equals_str(e, name))
            return;
    yyjson_mut_arr_append(list, text(w, name));
}

/* The old field of a claim's source and the new one hold the same; what the old one could never hold goes. */
static void normalize_source(struct rest_write *w)
{
    yyjson_mut_val *spec = at(w->root, "spec"), *old = at(spec, "dataSource"),
                   *new = at(spec, "dataSourceRef");
    const char *kind = neap_json_str_at(old, "kind"), *group = neap_json_str_at(old, "apiGroup");
    bool claim = neap_streq(kind, "PersistentVolumeClaim") && (!group || !*group);
    bool snapshot =
        neap_streq(kind, "VolumeSnapshot") && neap_streq(group, "snapshot.storage.k8s.io");
    if (old && !claim && !snapshot) {
        yyjson_mut_obj_remove_key(spec, "dataSource");
        old = NULL;
    }
    if (old && !new)
        put(w, spec, "dataSourceRef", yyjson_mut_val_mut_copy(w->doc, old));
    else if (new && !old && !at(new, "namespace"))
        put(w, spec, "dataSource", yyjson_mut_val_mut_copy(w->doc, new));
}

static int pv_create(struct rest_write *w, struct neap_err *err)
{
    char now[32];
    (void)err;
    neap_time_format(neap_clock_wall(rest_of(w->call)->options.clock), now);
    set(w, "status.phase", text(w, "Pending"));
    set(w, "status.lastPhaseTransitionTime", text(w, now));
    add_finalizer(w, "kubernetes.io/pv-protection");
    return 0;
}

static int pvc_create(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    set(w, "status.phase", text(w, "Pending"));
    add_finalizer(w, "kubernetes.io/pvc-protection");
    normalize_source(w);
    return 0;
}

static int pvc_update(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    if (!w->subresource)
        normalize_source(w);
    return 0;
}

static int attributes_class_create(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    add_finalizer(w, "kubernetes.io/vac-protection");
    return 0;
}

/* ---- service accounts: references are names ---- */

static int account_write(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(at(w->root, "secrets"));
    for (yyjson_mut_val *s; (s = yyjson_mut_arr_iter_next(&it));) {
        yyjson_mut_obj_iter fields = yyjson_mut_obj_iter_with(s);
        for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&fields));)
            if (!yyjson_mut_equals_str(k, "name"))
                yyjson_mut_obj_iter_remove(&fields);
    }
    return 0;
}

/* ---- fields of features that are off, unless they are there already ---- */

static void drop_unless_old(struct rest_write *w, const char *path)
{
    if (!at(w->old_root, path))
        set(w, path, NULL);
}

static int lease_write(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    drop_unless_old(w, "spec.strategy");
    drop_unless_old(w, "spec.preferredHolder");
    return 0;
}

/* The topology of old is for the beta version only. */
static int slice_create(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(at(w->root, "endpoints"));
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        yyjson_mut_obj_remove_key(e, "deprecatedTopology");
    return 0;
}

/* ---- services: what belongs to the type that it had goes with it ---- */

/* A balancer that says nothing else hands connections on to the address as it is. */
static void default_ip_mode(struct rest_write *w)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(at(w->root, "status.loadBalancer.ingress"));
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        const char *ip = neap_json_str_at(e, "ip");
        if (ip && *ip && !yyjson_mut_obj_get(e, "ipMode"))
            neap_json_set_at(w->doc, e, "ipMode", yyjson_mut_str(w->doc, "VIP"));
    }
}

static int service_update(struct rest_write *w, struct neap_err *err)
{
    static const char *const fields[] = {"externalTrafficPolicy", "healthCheckNodePort",
                                         "allocateLoadBalancerNodePorts", "loadBalancerClass"};
    const char *type = neap_json_str_at(w->root, "spec.type");
    yyjson_mut_val *spec = at(w->root, "spec");
    (void)err;
    if (neap_streq(type, "LoadBalancer"))
        default_ip_mode(w);
    else if (!w->subresource)
        neap_json_set_at(w->doc, w->root, "status.loadBalancer", yyjson_mut_obj(w->doc));
    if (!w->subresource && neap_streq(type, "ExternalName") &&
        !neap_streq(neap_json_str_at(w->old_root, "spec.type"), "ExternalName"))
        yyjson_mut_obj_remove_key(spec, "internalTrafficPolicy");
    if (w->subresource || neap_streq(type, "LoadBalancer") || neap_streq(type, "NodePort") ||
        yyjson_mut_arr_size(at(w->root, "spec.externalIPs")))
        return 0;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++) {
        yyjson_mut_val *v = yyjson_mut_obj_get(spec, fields[i]);
        yyjson_mut_val *old = yyjson_mut_obj_get(at(w->old_root, "spec"), fields[i]);
        if (v && old && neap_json_equal(v, old))
            yyjson_mut_obj_remove_key(spec, fields[i]);
    }
    return 0;
}

/* ---- nodes: podCIDR is the first of podCIDRs; when they differ it wins ---- */

static int node_write(struct rest_write *w, struct neap_err *err)
{
    const char *one = neap_json_str_at(w->root, "spec.podCIDR");
    yyjson_mut_val *list = at(w->root, "spec.podCIDRs");
    const char *first = yyjson_mut_get_str(yyjson_mut_arr_get_first(list));
    (void)err;
    if (one && *one && !neap_streq(first, one)) {
        list = yyjson_mut_arr(w->doc);
        yyjson_mut_arr_append(list, yyjson_mut_strcpy(w->doc, one));
        neap_json_set_at(w->doc, w->root, "spec.podCIDRs", list);
    } else if (first && (!one || !*one)) {
        neap_json_set_at(w->doc, w->root, "spec.podCIDR", yyjson_mut_strcpy(w->doc, first));
    }
    return 0;
}

const struct rest_strategy rest_strategies[] = {
    {"", "nodes", node_write, node_write},
    {"", "services", NULL, service_update},
    {"", "pods", pod_create, pod_update},
    {"", "namespaces", namespace_create, namespace_update},
    {"", "persistentvolumes", pv_create, NULL},
    {"", "persistentvolumeclaims", pvc_create, pvc_update},
    {"", "serviceaccounts", account_write, account_write},
    {"storage.k8s.io", "volumeattributesclasses", attributes_class_create, NULL},
    {"coordination.k8s.io", "leases", lease_write, lease_write},
    {"discovery.k8s.io", "endpointslices", slice_create, NULL},
    {"apps", "daemonsets", daemon_set_create, daemon_set_update},
    {"batch", "jobs", job_create, NULL},
    {"certificates.k8s.io", "certificatesigningrequests", rest_csr_create, rest_csr_update},
    {0},
};
