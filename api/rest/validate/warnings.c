/* What is let through, but said: fields that are deprecated or surely not meant so. Given once the write is
 * found good. Source: Kubernetes documentation, "Warnings"; words asked of the real server. */
#include "validate.h"
#include <neap/client.h>

struct warner {
    struct neap_call *call;
};

static void warn(struct warner *w, path p, const char *fmt, ...) PRINTF(3, 4);
static void warn(struct warner *w, path p, const char *fmt, ...)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    char text_of[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text_of, sizeof(text_of), fmt, ap);
    va_end(ap);
    rest_path_write(p, &b);
    neap_call_warn(w->call, "%s%s", b.len ? b.data : "", text_of);
}

/* ---- pods ---- */

static const struct {
    const char *field, *shown, *text;
} old_volumes[] = {
    {"photonPersistentDisk", NULL, "deprecated in v1.11, non-functional in v1.16+"},
    {"gitRepo", NULL, "deprecated in v1.11, and disabled by default in v1.33+"},
    {"scaleIO", NULL, "deprecated in v1.16, non-functional in v1.22+"},
    {"flocker", NULL, "deprecated in v1.22, non-functional in v1.25+"},
    {"storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
    {"quobyte", NULL, "deprecated in v1.22, non-functional in v1.25+"},
    {"glusterfs", NULL, "deprecated in v1.25, non-functional in v1.26+"},
    {"cephfs", NULL, "deprecated in v1.28, non-functional in v1.31+"},
    {"rbd", NULL, "deprecated in v1.28, non-functional in v1.31+"},
};

static void warn_volume(struct warner *w, path p, json *volume)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(old_volumes); i++)
        if (has(volume, old_volumes[i].field))
            warn(w, AT(p, old_volumes[i].shown ? old_volumes[i].shown : old_volumes[i].field),
                 ": %s", old_volumes[i].text);
}

static void warn_env(struct warner *w, path p, json *env)
{
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, env)
    if (!rest_set_add(&seen, text(e.item, "name")))
        warn(w, ITEM(p, e.i),
             ": hides previous definition of \"%s\", which may be dropped when using apply",
             text(e.item, "name"));
    neap_map_done(&seen, NULL);
}

static void warn_ports(struct warner *w, path p, json *ports)
{
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, ports)
    {
        char *key = neap_asprintf("%s|%s|%lld|%lld", text(e.item, "protocol"),
                                  text(e.item, "hostIP"), (long long)number(e.item, "hostPort"),
                                  (long long)number(e.item, "containerPort"));
        uintptr_t before = (uintptr_t)neap_map_get(&seen, key);
        if (before) {
            struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
            rest_path_write(ITEM(p, before - 1), &b);
            warn(w, ITEM(p, e.i), ": duplicate port definition with %s", b.data);
        } else
            neap_map_set(&seen, key, (void *)(uintptr_t)(e.i + 1));
        free(key);
        if (*text(e.item, "hostIP") && !number(e.item, "hostPort"))
            warn(
                w, ITEM(p, e.i),
                ": hostIP set without hostPort: {Name:%s HostPort:0 ContainerPort:%lld Protocol:%s "
                "HostIP:%s}",
                text(e.item, "name"), (long long)number(e.item, "containerPort"),
                text(e.item, "protocol"), text(e.item, "hostIP"));
    }
    neap_map_done(&seen, NULL);
}

static void warn_quantities(struct warner *w, path p, json *list)
{
    static const char *const bytes[] = {"memory", "ephemeral-storage", NULL};
    EACH(e, list)
    {
        int64_t milli = 0;
        if (rest_one_of(e.key, bytes) &&
            neap_quantity_milli(string_of(e.item), yyjson_mut_get_len(e.item), &milli) &&
            milli % 1000)
            warn(w, KEY(p, e.key), ": fractional byte value \"%s\" is invalid, must be an integer",
                 string_of(e.item));
    }
}

static void warn_container(struct warner *w, path p, json *c)
{
    path resources = AT(p, "resources");
    warn_quantities(w, AT(resources, "requests"), get(get(c, "resources"), "requests"));
    warn_quantities(w, AT(resources, "limits"), get(get(c, "resources"), "limits"));
    warn_env(w, AT(p, "env"), get(c, "env"));
    warn_ports(w, AT(p, "ports"), get(c, "ports"));
}

static void warn_pod_spec(struct warner *w, path p, json *spec)
{
    static const char *const lists[] = {"initContainers", "containers"};
    path volumes = AT(p, "volumes"), secrets = AT(p, "imagePullSecrets");
    path spread = AT(p, "topologySpreadConstraints");
    EACH(e, get(spec, "topologySpreadConstraints"))
    if (!has(e.item, "labelSelector"))
        warn(w, AT(ITEM(spread, e.i), "labelSelector"),
             ": a null labelSelector results in matching no pod");
    EACH(e, get(spec, "volumes"))
    warn_volume(w, ITEM(volumes, e.i), e.item);
    EACH(e, get(spec, "imagePullSecrets"))
    if (!*text(e.item, "name"))
        warn(w, AT(ITEM(secrets, e.i), "name"), ": invalid empty name \"\"");
    for (int i = 0; i < 2; i++) {
        path list = AT(p, lists[i]);
        EACH(e, get(spec, lists[i]))
        warn_container(w, ITEM(list, e.i), e.item);
    }
}

static void warn_pod(struct warner *w, json *root)
{
    warn_pod_spec(w, AT(NULL, "spec"), get(root, "spec"));
}

static void warn_workload(struct warner *w, json *root)
{
    warn_pod_spec(w, AT(AT(AT(NULL, "spec"), "template"), "spec"),
                  neap_json_at(root, "spec.template.spec"));
}

static void warn_cron_job(struct warner *w, json *root)
{
    path job = AT(AT(AT(NULL, "spec"), "jobTemplate"), "spec");
    warn_pod_spec(w, AT(AT(job, "template"), "spec"),
                  neap_json_at(root, "spec.jobTemplate.spec.template.spec"));
}

/* ---- other kinds ---- */

static void warn_volume_kind(struct warner *w, json *root)
{
    warn_volume(w, AT(NULL, "spec"), get(root, "spec"));
}

static void warn_service(struct warner *w, json *root)
{
    json *spec = get(root, "spec");
    path p = AT(NULL, "spec");
    bool headless = is(spec, "clusterIP", "None") && !is(spec, "type", "ExternalName");
    if (headless && is(spec, "sessionAffinity", "ClientIP"))
        warn(w, AT(p, "SessionAffinity"), " is ignored for headless services");
    if (!is(spec, "type", "ExternalName") && *string_of(get(spec, "externalName")))
        warn(w, AT(p, "externalName"), " is ignored when spec.type is not \"ExternalName\"");
    if (size(get(spec, "externalIPs")))
        warn(w, AT(p, "externalIPs"),
             " is deprecated and may no longer be implemented in some clusters");
    if (is(spec, "trafficDistribution", "PreferClose"))
        warn(w, AT(p, "trafficDistribution"),
             ": \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

static void warn_secret(struct warner *w, json *root)
{
    const char *certificate = string_of(get(get(root, "data"), "tls.crt"));
    /* "-----BEGIN" in base64, at the start of a text */
    if (is(root, "type", "kubernetes.io/tls") && strncmp(certificate, "LS0tLS1CRUdJ", 12))
        warn(w, NULL, "tls: failed to find any PEM data in certificate input");
}

static void warn_slice(struct warner *w, json *root)
{
    if (is(root, "addressType", "FQDN"))
        warn(w, AT(AT(NULL, "spec"), "addressType"), ": FQDN endpoints are deprecated");
}

static void warn_driver(struct warner *w, json *root)
{
    json *spec = get(root, "spec");
    if (size(get(spec, "tokenRequests")) && !has(spec, "serviceAccountTokenInSecrets"))
        warn(w, AT(AT(NULL, "spec"), "serviceAccountTokenInSecrets"),
             " is unset; if supported by this CSI driver, set to true to prevent possible logging "
             "of "
             "tokens in volume attributes");
}

static const struct {
    const char *group, *resource;
    void (*warn)(struct warner *w, json *root);
} rows[] = {
    {"", "persistentvolumes", warn_volume_kind},
    {"", "pods", warn_pod},
    {"", "replicationcontrollers", warn_workload},
    {"", "secrets", warn_secret},
    {"", "services", warn_service},
    {"apps", "daemonsets", warn_workload},
    {"apps", "deployments", warn_workload},
    {"apps", "replicasets", warn_workload},
    {"apps", "statefulsets", warn_workload},
    {"batch", "cronjobs", warn_cron_job},
    {"batch", "jobs", warn_workload},
    {"discovery.k8s.io", "endpointslices", warn_slice},
    {"storage.k8s.io", "csidrivers", warn_driver},
};

void rest_warn(const struct rest_validation *v, struct neap_call *call)
{
    struct warner w = {.call = call};
    if (v->subresource || v->binding)
        return;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].group, v->kind->group) == 0 &&
            strcmp(rows[i].resource, v->kind->resource) == 0)
            rows[i].warn(&w, v->root);
}
