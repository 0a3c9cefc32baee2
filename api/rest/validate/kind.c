/* Which kind is checked by what. */
#include "validate.h"

static const struct {
    const char *group, *resource;
    rest_validator *check;
} rows[] = {
    {"", "configmaps", rest_validate_config_map},
    {"", "endpoints", rest_validate_endpoints},
    {"", "events", rest_validate_event},
    {"", "limitranges", rest_validate_limit_range},
    {"", "namespaces", rest_validate_namespace},
    {"", "nodes", rest_validate_node},
    {"", "persistentvolumeclaims", rest_validate_persistent_volume_claim},
    {"", "persistentvolumes", rest_validate_persistent_volume},
    {"", "pods", rest_validate_pod},
    {"", "podtemplates", rest_validate_pod_template},
    {"", "replicationcontrollers", rest_validate_replication_controller},
    {"", "resourcequotas", rest_validate_resource_quota},
    {"", "secrets", rest_validate_secret},
    {"", "services", rest_validate_service},
    {"admissionregistration.k8s.io", "mutatingwebhookconfigurations", rest_validate_webhooks},
    {"admissionregistration.k8s.io", "validatingadmissionpolicies", rest_validate_admission_policy},
    {"admissionregistration.k8s.io", "validatingadmissionpolicybindings",
     rest_validate_admission_binding},
    {"admissionregistration.k8s.io", "validatingwebhookconfigurations", rest_validate_webhooks},
    {"apps", "controllerrevisions", rest_validate_controller_revision},
    {"apps", "daemonsets", rest_validate_daemon_set},
    {"apps", "deployments", rest_validate_deployment},
    {"apps", "replicasets", rest_validate_replica_set},
    {"apps", "statefulsets", rest_validate_stateful_set},
    {"autoscaling", "horizontalpodautoscalers", rest_validate_autoscaler},
    {"batch", "cronjobs", rest_validate_cron_job},
    {"batch", "jobs", rest_validate_job},
    {"certificates.k8s.io", "certificatesigningrequests", rest_validate_certificate_request},
    {"certificates.k8s.io", "clustertrustbundles", rest_validate_trust_bundle},
    {"coordination.k8s.io", "leases", rest_validate_lease},
    {"discovery.k8s.io", "endpointslices", rest_validate_endpoint_slice},
    {"events.k8s.io", "events", rest_validate_event},
    {"networking.k8s.io", "ingressclasses", rest_validate_ingress_class},
    {"networking.k8s.io", "ingresses", rest_validate_ingress},
    {"networking.k8s.io", "ipaddresses", rest_validate_ip_address},
    {"networking.k8s.io", "networkpolicies", rest_validate_network_policy},
    {"node.k8s.io", "runtimeclasses", rest_validate_runtime_class},
    {"policy", "poddisruptionbudgets", rest_validate_disruption_budget},
    {"rbac.authorization.k8s.io", "clusterrolebindings", rest_validate_cluster_role_binding},
    {"rbac.authorization.k8s.io", "clusterroles", rest_validate_cluster_role},
    {"rbac.authorization.k8s.io", "rolebindings", rest_validate_role_binding},
    {"rbac.authorization.k8s.io", "roles", rest_validate_role},
    {"resource.k8s.io", "deviceclasses", rest_validate_device_class},
    {"scheduling.k8s.io", "priorityclasses", rest_validate_priority_class},
    {"storage.k8s.io", "csidrivers", rest_validate_csi_driver},
    {"storage.k8s.io", "storageclasses", rest_validate_storage_class},
};

/* The row of a kind; its index or -1. */
static int row_of(const struct neap_kind *kind)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].group, kind->group) == 0 &&
            strcmp(rows[i].resource, kind->resource) == 0)
            return (int)i;
    return -1;
}

void rest_validate_kind(struct rest_validation *v)
{
    int i = row_of(v->kind);
    if (i >= 0)
        rows[i].check(v);
}

/* Fields of which the rules tell under another name. */
static const struct {
    const char *group, *resource, *field;
} other_names[] = {{"storage.k8s.io", "csidrivers", "spec.attachRequired"}};

static bool told_otherwise(const struct neap_kind *kind, const struct neap_cause *c)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(other_names); i++)
        if (strcmp(other_names[i].group, kind->group) == 0 &&
            strcmp(other_names[i].resource, kind->resource) == 0 &&
            neap_streq(other_names[i].field, c->field))
            return true;
    return false;
}

/* Is <inner> a field or an item of <outer>? */
static bool around(const char *outer, const char *inner)
{
    size_t n = strlen(outer);
    return n && strncmp(outer, inner, n) == 0 && inner[n] && strchr(".[", inner[n]);
}

/* Does a cause about <told> say what one about <field> would say again? */
static bool covers(const struct neap_cause *told, const struct neap_cause *c)
{
    const char *a = told->field ? told->field : "", *b = c->field ? c->field : "";
    size_t n = strlen(a), len = strlen(b);
    bool same = strcmp(a, b) == 0;
    if (strcmp(c->reason, "FieldValueNotSupported") == 0) /* an enum: or what is around it */
        return same || around(a, b) || around(b, a);
    if (strstr(c->message, "field is immutable"))
        return same || (n && len > n && b[len - n - 1] == '.' && strcmp(b + len - n, a) == 0);
    return same && strcmp(told->reason, c->reason) == 0;
}

/* The tables' findings that the rules have not told already. */
static void merge(const struct neap_kind *kind, struct neap_err *to, const struct neap_err *from)
{
    unsigned told = to->cause_count;
    for (unsigned i = 0; i < from->cause_count; i++) {
        const struct neap_cause *c = &from->causes[i];
        bool again = told_otherwise(kind, c);
        for (unsigned k = 0; k < told && !again; k++)
            again = covers(&to->causes[k], c);
        if (!again)
            neap_err_cause(to, c->reason, c->field, "%s", c->message);
    }
}

/* The same said twice counts once. */
static void drop_repeated(struct neap_err *err)
{
    struct neap_map said = NEAP_MAP_INIT;
    struct neap_buf key NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    unsigned n = 0;
    for (unsigned i = 0; i < err->cause_count; i++) {
        struct neap_cause c = err->causes[i];
        neap_buf_reset(&key);
        neap_buf_printf(&key, "%s %s", c.field ? c.field : "", c.message);
        if (rest_set_add(&said, key.data)) {
            err->causes[n++] = c;
            continue;
        }
        free(c.reason);
        free(c.message);
        free(c.field);
    }
    err->cause_count = n;
    neap_map_done(&said, NULL);
}

void rest_validate(struct rest_validation *v)
{
    struct neap_err tables NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    rest_validate_metadata(v);
    rest_validate_kind(v);
    neap_kind_validate(v->root, v->old_root, v->kind, &tables);
    merge(v->kind, v->err, &tables);
    drop_repeated(v->err);
}
