/* The defaults that depend on other fields (kubernetes documentation of each field). */
#include "default.h"
#include "kind_internal.h"

#define HOOK(name)                                                                                 \
    void neap_kind_default_##name(struct neap_defaulting *d, yyjson_mut_val *o);                   \
    void neap_kind_default_##name(struct neap_defaulting *d, yyjson_mut_val *o)

static yyjson_mut_val *get(yyjson_mut_val *o, const char *name)
{
    return yyjson_mut_obj_get(o, name);
}

static const char *text(yyjson_mut_val *o, const char *name)
{
    const char *s = yyjson_mut_get_str(get(o, name));
    return s ? s : "";
}

static void set_new(struct neap_defaulting *d, yyjson_mut_val *o, const char *name,
                    yyjson_mut_val *v)
{
    if (o && v && !get(o, name))
        yyjson_mut_obj_add(o, kind_key(d->doc, name), v);
}

static void set_str(struct neap_defaulting *d, yyjson_mut_val *o, const char *name, const char *s)
{
    if (!get(o, name))
        set_new(d, o, name, yyjson_mut_strcpy(d->doc, s));
}

static void set_int(struct neap_defaulting *d, yyjson_mut_val *o, const char *name, int64_t v)
{
    if (!get(o, name))
        set_new(d, o, name, yyjson_mut_sint(d->doc, v));
}

static yyjson_mut_val *object_at(struct neap_defaulting *d, yyjson_mut_val *o, const char *name)
{
    if (!get(o, name))
        set_new(d, o, name, yyjson_mut_obj(d->doc));
    return get(o, name);
}

/* Always for a tag "latest" or none, IfNotPresent for any other tag or a digest. */
static const char *pull_policy(const char *image)
{
    const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image;
    const char *digest = strchr(name, '@'), *tag = strchr(name, ':');
    if (tag && digest && tag > digest)
        tag = NULL;
    if (!tag)
        return digest ? "IfNotPresent" : "Always";
    size_t n = digest ? (size_t)(digest - tag - 1) : strlen(tag + 1);
    return n == 6 && strncmp(tag + 1, "latest", 6) == 0 ? "Always" : "IfNotPresent";
}

HOOK(container)
{
    set_str(d, o, "imagePullPolicy", pull_policy(text(o, "image")));
}

HOOK(image_volume)
{
    set_str(d, o, "pullPolicy", pull_policy(text(o, "reference")));
}

HOOK(pod_spec)
{
    /* the deprecated name and the new one hold the same */
    if (*text(o, "serviceAccountName"))
        set_str(d, o, "serviceAccount", text(o, "serviceAccountName"));
    else if (*text(o, "serviceAccount"))
        set_str(d, o, "serviceAccountName", text(o, "serviceAccount"));
    /* a volume that names no source is an empty directory */
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(get(o, "volumes"));
    for (yyjson_mut_val *v; (v = yyjson_mut_arr_iter_next(&it));)
        if (yyjson_mut_is_obj(v) && yyjson_mut_obj_size(v) == (get(v, "name") ? 1 : 0))
            object_at(d, v, "emptyDir");
}

static void requests_from_limits(struct neap_defaulting *d, yyjson_mut_val *resources)
{
    yyjson_mut_val *limits = get(resources, "limits");
    if (!limits || !yyjson_mut_obj_size(limits))
        return;
    yyjson_mut_val *requests = object_at(d, resources, "requests");
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(limits);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));)
        if (!get(requests, yyjson_mut_get_str(k)))
            yyjson_mut_obj_add(requests, yyjson_mut_strcpy(d->doc, yyjson_mut_get_str(k)),
                               yyjson_mut_val_mut_copy(d->doc, yyjson_mut_obj_iter_get_val(k)));
}

/* One request of a container in thousandths; <*binary>: its text counts in powers of two. */
static int64_t request_of(yyjson_mut_val *container, const char *name, bool *any, bool *binary)
{
    yyjson_mut_val *v = get(get(get(container, "resources"), "requests"), name);
    const char *s = yyjson_mut_get_str(v);
    int64_t milli = 0;
    if (!s || !neap_quantity_milli(s, yyjson_mut_get_len(v), &milli))
        return 0;
    if (!*any)
        *binary = strchr(s, 'i') != NULL;
    *any = true;
    return milli;
}

/* What all containers ask for together: at once, or before the others while one initializes. */
static bool containers_request(yyjson_mut_val *spec, const char *name, char ret[32])
{
    bool any = false, binary = false;
    int64_t together = 0, sidecars = 0, most = 0;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(get(spec, "containers"));
    for (yyjson_mut_val *c; (c = yyjson_mut_arr_iter_next(&it));)
        together += request_of(c, name, &any, &binary);
    it = yyjson_mut_arr_iter_with(get(spec, "initContainers"));
    for (yyjson_mut_val *c; (c = yyjson_mut_arr_iter_next(&it));) {
        int64_t one = request_of(c, name, &any, &binary);
        if (strcmp(text(c, "restartPolicy"), "Always") == 0)
            one = sidecars += one;
        else
            one += sidecars;
        most = one > most ? one : most;
    }
    together += sidecars;
    together = together > most ? together : most;
    static const char *const units[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
    unsigned unit = 0;
    int64_t whole = together / 1000;
    if (together % 1000) {
        snprintf(ret, 32, "%lldm", (long long)together);
        return any;
    }
    for (; binary && whole && whole % 1024 == 0 && unit + 1 < NEAP_ARRAY_LEN(units); unit++)
        whole /= 1024;
    snprintf(ret, 32, "%lld%s", (long long)whole, units[unit]);
    return any;
}

/* A pod's own requests: what its containers ask for together, then its own limits. */
static void pod_requests(struct neap_defaulting *d, yyjson_mut_val *spec)
{
    static const char *const names[] = {"cpu", "memory"};
    yyjson_mut_val *resources = get(spec, "resources");
    if (!resources || !yyjson_mut_obj_size(resources))
        return;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        char sum[32];
        yyjson_mut_val *requests = get(resources, "requests"), *limits = get(resources, "limits");
        if (get(requests, names[i]))
            continue;
        if (containers_request(spec, names[i], sum))
            set_str(d, object_at(d, resources, "requests"), names[i], sum);
        else if (get(limits, names[i]))
            set_new(d, object_at(d, resources, "requests"), names[i],
                    yyjson_mut_val_mut_copy(d->doc, get(limits, names[i])));
    }
}

static void host_ports(struct neap_defaulting *d, yyjson_mut_val *container)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(get(container, "ports"));
    for (yyjson_mut_val *p; (p = yyjson_mut_arr_iter_next(&it));)
        set_int(d, p, "hostPort", yyjson_mut_get_sint(get(p, "containerPort")));
}

HOOK(pod)
{
    static const char *const lists[] = {"containers", "initContainers"};
    yyjson_mut_val *spec = get(o, "spec");
    bool host = yyjson_mut_get_bool(get(spec, "hostNetwork"));
    yyjson_mut_val *grace = get(spec, "terminationGracePeriodSeconds");
    if (yyjson_mut_get_sint(grace) < 0)
        yyjson_mut_set_sint(grace, 1); /* a negative one counts as a second */
    for (size_t i = 0; i < NEAP_ARRAY_LEN(lists); i++) {
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(get(spec, lists[i]));
        for (yyjson_mut_val *c; (c = yyjson_mut_arr_iter_next(&it));) {
            requests_from_limits(d, get(c, "resources"));
            if (host)
                host_ports(d, c);
        }
    }
    pod_requests(d, spec);
}

HOOK(namespace)
{
    yyjson_mut_val *meta = object_at(d, o, "metadata");
    /* a name that the server made is labelled later, and by nobody */
    if (*text(meta, "name") && !*text(meta, "generateName"))
        set_str(d, object_at(d, meta, "labels"), "kubernetes.io/metadata.name", text(meta, "name"));
}

void neap_kind_base64(struct neap_buf *out, const unsigned char *s, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        unsigned n = len - i > 2 ? 3 : (unsigned)(len - i);
        unsigned v =
            (unsigned)s[i] << 16 | (n > 1 ? (unsigned)s[i + 1] << 8 : 0) | (n > 2 ? s[i + 2] : 0);
        char quad[4] = {digits[v >> 18], digits[v >> 12 & 63], n > 1 ? digits[v >> 6 & 63] : '=',
                        n > 2 ? digits[v & 63] : '='};
        neap_buf_append(out, quad, 4);
    }
}

HOOK(secret)
{
    yyjson_mut_val *strings = get(o, "stringData");
    if (!strings)
        return;
    if (yyjson_mut_obj_size(strings)) {
        yyjson_mut_val *data = object_at(d, o, "data");
        yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(strings);
        for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
            yyjson_mut_val *v = yyjson_mut_obj_iter_get_val(k);
            struct neap_buf b = NEAP_BUF_INIT;
            neap_kind_base64(&b, (const unsigned char *)yyjson_mut_get_str(v),
                             yyjson_mut_get_len(v));
            yyjson_mut_obj_put(data, yyjson_mut_strcpy(d->doc, yyjson_mut_get_str(k)),
                               yyjson_mut_strncpy(d->doc, b.len ? b.data : "", b.len));
            neap_buf_done(&b);
        }
    }
    yyjson_mut_obj_remove_key(o, "stringData");
}

HOOK(service_spec)
{
    const char *type = text(o, "type");
    bool external_name = strcmp(type, "ExternalName") == 0;
    bool balancer = strcmp(type, "LoadBalancer") == 0, node_port = strcmp(type, "NodePort") == 0;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(get(o, "ports"));
    for (yyjson_mut_val *p; (p = yyjson_mut_arr_iter_next(&it));) {
        yyjson_mut_val *target = get(p, "targetPort");
        if (target && ((yyjson_mut_is_str(target) && !yyjson_mut_get_len(target)) ||
                       (yyjson_mut_is_num(target) && yyjson_mut_get_num(target) == 0))) {
            yyjson_mut_obj_remove_key(p, "targetPort");
            target = NULL;
        }
        if (!target)
            set_int(d, p, "targetPort", yyjson_mut_get_sint(get(p, "port")));
    }
    if (strcmp(text(o, "sessionAffinity"), "ClientIP") == 0) {
        yyjson_mut_val *config = object_at(d, o, "sessionAffinityConfig");
        set_int(d, object_at(d, config, "clientIP"), "timeoutSeconds", 10800);
    } else if (strcmp(text(o, "sessionAffinity"), "None") == 0) {
        yyjson_mut_obj_remove_key(o, "sessionAffinityConfig");
    }
    if (node_port || balancer || yyjson_mut_arr_size(get(o, "externalIPs")))
        set_str(d, o, "externalTrafficPolicy", "Cluster");
    if (!external_name)
        set_str(d, o, "internalTrafficPolicy", "Cluster");
    if (balancer && !get(o, "allocateLoadBalancerNodePorts"))
        set_new(d, o, "allocateLoadBalancerNodePorts", yyjson_mut_bool(d->doc, true));
}

/* The template generation of old rides in an annotation, also where nobody wrote one. */
HOOK(daemon_set)
{
    yyjson_mut_val *meta = object_at(d, o, "metadata");
    set_str(d, object_at(d, meta, "annotations"), "deprecated.daemonset.template.generation", "0");
}

HOOK(replication_controller)
{
    yyjson_mut_val *labels = neap_json_at(o, "spec.template.metadata.labels");
    if (!labels || !yyjson_mut_obj_size(labels))
        return;
    yyjson_mut_val *spec = get(o, "spec"), *meta = object_at(d, o, "metadata");
    if (!get(spec, "selector"))
        set_new(d, spec, "selector", yyjson_mut_val_mut_copy(d->doc, labels));
    if (!get(meta, "labels"))
        set_new(d, meta, "labels", yyjson_mut_val_mut_copy(d->doc, labels));
}

/* The two workloads differ in what a rolling update says. */
HOOK(rolling_update)
{
    if (strcmp(text(o, "type"), "RollingUpdate") != 0)
        return;
    yyjson_mut_val *r = object_at(d, o, "rollingUpdate");
    if (strcmp(d->kind->kind, "Deployment") == 0) {
        set_str(d, r, "maxUnavailable", "25%");
        set_str(d, r, "maxSurge", "25%");
    } else {
        set_int(d, r, "maxUnavailable", 1);
        set_int(d, r, "maxSurge", 0);
    }
}

/* A type that was given without the rest leaves the rest out. */
HOOK(stateful_set_update)
{
    if (!*text(o, "type")) {
        yyjson_mut_obj_remove_key(o, "type");
        set_str(d, o, "type", "RollingUpdate");
        object_at(d, o, "rollingUpdate");
    }
    yyjson_mut_val *r = get(o, "rollingUpdate");
    if (!r || strcmp(text(o, "type"), "RollingUpdate") != 0)
        return;
    set_int(d, r, "partition", 0);
    set_int(d, r, "maxUnavailable", 1);
}

HOOK(device_count)
{
    if (strcmp(text(o, "allocationMode"), "ExactCount") == 0)
        set_int(d, o, "count", 1);
}

HOOK(job_spec)
{
    bool completions = get(o, "completions"), parallelism = get(o, "parallelism");
    if (strcmp(d->kind->kind, "Job") != 0) /* a CronJob's template is no Job yet */
        return;
    if (!completions && !parallelism)
        set_int(d, o, "completions", 1);
    if (!parallelism)
        set_int(d, o, "parallelism", 1);
    set_int(d, o, "backoffLimit", get(o, "backoffLimitPerIndex") ? INT32_MAX : 6);
    set_str(d, o, "podReplacementPolicy",
            get(o, "podFailurePolicy") ? "Failed" : "TerminatingOrFailed");
}

HOOK(network_policy_spec)
{
    if (get(o, "policyTypes"))
        return;
    yyjson_mut_val *types = yyjson_mut_arr(d->doc);
    yyjson_mut_arr_add_str(d->doc, types, "Ingress");
    if (yyjson_mut_arr_size(get(o, "egress")))
        yyjson_mut_arr_add_str(d->doc, types, "Egress");
    set_new(d, o, "policyTypes", types);
}

static yyjson_mut_val *hpa_policy(struct neap_defaulting *d, const char *type, int value)
{
    yyjson_mut_val *p = yyjson_mut_obj(d->doc);
    yyjson_mut_obj_add_str(d->doc, p, "type", type);
    yyjson_mut_obj_add_int(d->doc, p, "value", value);
    yyjson_mut_obj_add_int(d->doc, p, "periodSeconds", 15);
    return p;
}

HOOK(hpa_behavior)
{
    for (int up = 0; up < 2; up++) {
        yyjson_mut_val *rules = object_at(d, o, up ? "scaleUp" : "scaleDown");
        set_str(d, rules, "selectPolicy", "Max");
        if (up)
            set_int(d, rules, "stabilizationWindowSeconds", 0);
        if (get(rules, "policies"))
            continue;
        yyjson_mut_val *policies = yyjson_mut_arr(d->doc);
        if (up)
            yyjson_mut_arr_append(policies, hpa_policy(d, "Pods", 4));
        yyjson_mut_arr_append(policies, hpa_policy(d, "Percent", 100));
        set_new(d, rules, "policies", policies);
    }
}

HOOK(hpa_spec)
{
    if (yyjson_mut_arr_size(get(o, "metrics")))
        return;
    yyjson_mut_obj_remove_key(o, "metrics");
    yyjson_mut_val *m = yyjson_mut_obj(d->doc), *list = yyjson_mut_arr(d->doc);
    neap_json_set_at(d->doc, m, "type", yyjson_mut_str(d->doc, "Resource"));
    neap_json_set_at(d->doc, m, "resource.name", yyjson_mut_str(d->doc, "cpu"));
    neap_json_set_at(d->doc, m, "resource.target.type", yyjson_mut_str(d->doc, "Utilization"));
    neap_json_set_at(d->doc, m, "resource.target.averageUtilization", yyjson_mut_sint(d->doc, 80));
    yyjson_mut_arr_append(list, m);
    set_new(d, o, "metrics", list);
}

/* Version 1 says the same of its one metric; others ride in an annotation. */
HOOK(hpa_v1_spec)
{
    yyjson_mut_val *notes = neap_json_at(d->root, "metadata.annotations");
    if (!get(notes, "autoscaling.alpha.kubernetes.io/metrics"))
        set_int(d, o, "targetCPUUtilizationPercentage", 80);
}

HOOK(rbac_subject)
{
    if (strcmp(text(o, "kind"), "User") == 0 || strcmp(text(o, "kind"), "Group") == 0)
        set_str(d, o, "apiGroup", "rbac.authorization.k8s.io");
}

HOOK(role_ref)
{
    set_str(d, o, "apiGroup", "rbac.authorization.k8s.io");
}

HOOK(node_status)
{
    yyjson_mut_val *capacity = get(o, "capacity");
    if (capacity && !get(o, "allocatable"))
        set_new(d, o, "allocatable", yyjson_mut_val_mut_copy(d->doc, capacity));
}

/* Adds to <name> what <from> has and it has not. */
static void fill_from(struct neap_defaulting *d, yyjson_mut_val *o, const char *name,
                      const char *from)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(get(o, from));
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        yyjson_mut_val *to = object_at(d, o, name);
        if (!get(to, yyjson_mut_get_str(k)))
            yyjson_mut_obj_add(to, yyjson_mut_strcpy(d->doc, yyjson_mut_get_str(k)),
                               yyjson_mut_val_mut_copy(d->doc, yyjson_mut_obj_iter_get_val(k)));
    }
}

HOOK(limit_range_item)
{
    if (strcmp(text(o, "type"), "Container") != 0)
        return;
    fill_from(d, o, "default", "max");
    fill_from(d, o, "defaultRequest", "default");
    fill_from(d, o, "defaultRequest", "min");
}
