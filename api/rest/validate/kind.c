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

void rest_validate_kind(struct rest_validation *v)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].group, v->kind->group) == 0 &&
            strcmp(rows[i].resource, v->kind->resource) == 0)
            rows[i].check(v);
}

/* Does a cause about <told> say what one about <field> would say again? */
static bool covers(const struct neap_cause *told, const struct neap_cause *c)
{
    const char *a = told->field ? told->field : "", *b = c->field ? c->field : "";
    size_t n = strlen(a), len = strlen(b);
    bool same = strcmp(a, b) == 0;
    if (strcmp(c->reason, "FieldValueNotSupported") == 0) /* an enum: or what is around it */
        return same || (n < len && n && strncmp(a, b, n) == 0 && strchr(".[", b[n]));
    if (strstr(c->message, "field is immutable"))
        return (same || (n && len > n && b[len - n - 1] == '.' && strcmp(b + len - n, a) == 0)) &&
               strstr(told->message, "field is immutable");
    return same && strcmp(told->reason, c->reason) == 0;
}

/* The tables' findings that the rules have not told already. */
static void merge(struct neap_err *to, const struct neap_err *from)
{
    unsigned told = to->cause_count;
    for (unsigned i = 0; i < from->cause_count; i++) {
        const struct neap_cause *c = &from->causes[i];
        bool again = false;
        for (unsigned k = 0; k < told && !again; k++)
            again = covers(&to->causes[k], c);
        if (!again)
            neap_err_cause(to, c->reason, c->field, "%s", c->message);
    }
}

void rest_validate(struct rest_validation *v)
{
    struct neap_err tables NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    rest_validate_metadata(v);
    rest_validate_kind(v);
    neap_kind_validate(v->root, v->old_root, v->kind, &tables);
    merge(v->err, &tables);
}
