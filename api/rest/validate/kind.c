/* Which kind is checked by what. */
#include "validate.h"

static const struct {
    const char *group, *resource;
    rest_validator *check;
} rows[] = {
    {"", "configmaps", rest_validate_config_map},
    {"", "persistentvolumeclaims", rest_validate_persistent_volume_claim},
    {"", "persistentvolumes", rest_validate_persistent_volume},
    {"", "pods", rest_validate_pod},
    {"", "podtemplates", rest_validate_pod_template},
    {"", "replicationcontrollers", rest_validate_replication_controller},
    {"", "secrets", rest_validate_secret},
    {"", "services", rest_validate_service},
    {"apps", "controllerrevisions", rest_validate_controller_revision},
    {"apps", "daemonsets", rest_validate_daemon_set},
    {"apps", "deployments", rest_validate_deployment},
    {"apps", "replicasets", rest_validate_replica_set},
    {"apps", "statefulsets", rest_validate_stateful_set},
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

/* The tables' findings that the rules have not told already. */
static void merge(struct neap_err *to, const struct neap_err *from)
{
    struct neap_map told = NEAP_MAP_INIT;
    char key[512];
    for (unsigned i = 0; i < to->cause_count; i++) {
        snprintf(key, sizeof(key), "%s %s", to->causes[i].reason, to->causes[i].field);
        rest_set_add(&told, key);
    }
    for (unsigned i = 0; i < from->cause_count; i++) {
        const struct neap_cause *c = &from->causes[i];
        snprintf(key, sizeof(key), "%s %s", c->reason, c->field);
        if (!neap_map_get(&told, key))
            neap_err_cause(to, c->reason, c->field, "%s", c->message);
    }
    neap_map_done(&told, NULL);
}

void rest_validate(struct rest_validation *v)
{
    struct neap_err tables NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    rest_validate_metadata(v);
    rest_validate_kind(v);
    neap_kind_validate(v->root, v->old_root, v->kind, &tables);
    merge(v->err, &tables);
}
