/* Cells of nodes, services, configuration, volumes of the core group. */
#include "cells.h"

static int64_t size_of(yyjson_val *v)
{
    return (int64_t)(yyjson_is_arr(v) ? yyjson_arr_size(v) : yyjson_obj_size(v));
}

CELL(configmap_data)
{
    int64_t n = size_of(cell_at(root, "data")) + size_of(cell_at(root, "binaryData"));
    neap_buf_printf(out, "%lld", (long long)n);
}

CELL(secret_data)
{
    neap_buf_printf(out, "%lld", (long long)size_of(cell_at(root, "data")));
}

/* ---- nodes ---- */

CELL(node_status)
{
    struct neap_buf text = NEAP_BUF_INIT;
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(cell_at(root, "status.conditions"), i, n, c)
    {
        if (strcmp(cell_str(c, "type"), "Ready") == 0)
            neap_buf_str(&text, strcmp(cell_str(c, "status"), "True") == 0 ? "Ready" : "NotReady");
    }
    if (!text.len)
        neap_buf_str(&text, "Unknown");
    if (yyjson_get_bool(cell_at(root, "spec.unschedulable")))
        neap_buf_str(&text, ",SchedulingDisabled");
    cell_take(out, &text, "Unknown");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

CELL(node_roles)
{
    static const char prefix[] = "node-role.kubernetes.io/";
    const char *roles[32];
    size_t i, n, count = 0;
    yyjson_val *k, *v;
    struct neap_buf text = NEAP_BUF_INIT;
    yyjson_obj_foreach(cell_at(root, "metadata.labels"), i, n, k, v)
    {
        const char *key = yyjson_get_str(k);
        if (count == NEAP_ARRAY_LEN(roles))
            break;
        if (neap_startswith(key, prefix) && key[sizeof(prefix) - 1])
            roles[count++] = key + sizeof(prefix) - 1;
        else if (strcmp(key, "kubernetes.io/role") == 0 && *yyjson_get_str(v))
            roles[count++] = yyjson_get_str(v);
    }
    qsort(roles, count, sizeof(*roles), by_text);
    for (i = 0; i < count; i++)
        if (i == 0 || strcmp(roles[i], roles[i - 1]) != 0)
            neap_buf_printf(&text, "%s%s", text.len ? "," : "", roles[i]);
    cell_take(out, &text, "<none>");
}

static void node_address(yyjson_val *root, const char *type, struct neap_buf *out)
{
    size_t i, n;
    yyjson_val *a;
    yyjson_arr_foreach(cell_at(root, "status.addresses"), i, n, a)
    {
        if (strcmp(cell_str(a, "type"), type) == 0) {
            cell_text(out, cell_str(a, "address"));
            return;
        }
    }
    cell_text(out, "<none>");
}

CELL(node_internal)
{
    node_address(root, "InternalIP", out);
}

CELL(node_external)
{
    node_address(root, "ExternalIP", out);
}

CELL(node_os)
{
    cell_or(out, cell_str(root, "status.nodeInfo.osImage"), "<unknown>");
}

CELL(node_kernel)
{
    cell_or(out, cell_str(root, "status.nodeInfo.kernelVersion"), "<unknown>");
}

CELL(node_runtime)
{
    cell_or(out, cell_str(root, "status.nodeInfo.containerRuntimeVersion"), "<unknown>");
}

/* ---- services, endpoints ---- */

CELL(service_cluster_ip)
{
    cell_or(out, yyjson_get_str(yyjson_arr_get_first(cell_at(root, "spec.clusterIPs"))), "<none>");
}

CELL(service_external_ip)
{
    const char *type = cell_str(root, "spec.type");
    struct neap_buf text = NEAP_BUF_INIT;
    bool balancer = strcmp(type, "LoadBalancer") == 0;
    if (strcmp(type, "ExternalName") == 0) {
        cell_text(out, cell_str(root, "spec.externalName"));
        return;
    }
    if (balancer)
        cell_addresses(&text, cell_at(root, "status.loadBalancer.ingress"));
    cell_join(&text, cell_at(root, "spec.externalIPs"), NULL, ",");
    cell_take(out, &text, balancer ? "<pending>" : "<none>");
}

CELL(service_ports)
{
    struct neap_buf text = NEAP_BUF_INIT;
    size_t i, n;
    yyjson_val *p;
    yyjson_arr_foreach(cell_at(root, "spec.ports"), i, n, p)
    {
        neap_buf_printf(&text, "%s%lld", text.len ? "," : "", (long long)cell_int(p, "port"));
        if (cell_int(p, "nodePort"))
            neap_buf_printf(&text, ":%lld", (long long)cell_int(p, "nodePort"));
        neap_buf_printf(&text, "/%s", cell_str(p, "protocol"));
    }
    cell_take(out, &text, "<none>");
}

CELL(service_selector)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_labels(&text, cell_at(root, "spec.selector"));
    cell_take(out, &text, "<none>");
}

/* At most three endpoints are shown. */
CELL(endpoints)
{
    struct neap_buf text = NEAP_BUF_INIT;
    size_t i, n, j, m, k, l, count = 0;
    yyjson_val *subset, *port, *address;
    yyjson_arr_foreach(cell_at(root, "subsets"), i, n, subset)
    {
        yyjson_val *ports = cell_at(subset, "ports");
        if (!yyjson_arr_size(ports)) {
            yyjson_arr_foreach(cell_at(subset, "addresses"), j, m, address)
            {
                if (count++ < 3)
                    neap_buf_printf(&text, "%s%s", text.len ? "," : "", cell_str(address, "ip"));
            }
        }
        yyjson_arr_foreach(ports, j, m, port)
        {
            yyjson_arr_foreach(cell_at(subset, "addresses"), k, l, address)
            {
                const char *ip = cell_str(address, "ip");
                bool v6 = strchr(ip, ':') != NULL;
                if (count++ < 3)
                    neap_buf_printf(&text, "%s%s%s%s:%lld", text.len ? "," : "", v6 ? "[" : "", ip,
                                    v6 ? "]" : "", (long long)cell_int(port, "port"));
            }
        }
    }
    if (count > 3)
        neap_buf_printf(&text, " + %zu more...", count - 3);
    cell_take(out, &text, "<none>");
}

/* ---- volumes ---- */

static void access_modes(yyjson_val *list, struct neap_buf *text)
{
    static const char *const names[][2] = {{"ReadWriteOnce", "RWO"},
                                           {"ReadOnlyMany", "ROX"},
                                           {"ReadWriteMany", "RWX"},
                                           {"ReadWriteOncePod", "RWOP"}};
    for (size_t m = 0; m < NEAP_ARRAY_LEN(names); m++) {
        size_t i, n;
        yyjson_val *e;
        yyjson_arr_foreach(list, i, n, e)
        {
            if (yyjson_equals_str(e, names[m][0])) {
                neap_buf_printf(text, "%s%s", text->len ? "," : "", names[m][1]);
                break;
            }
        }
    }
}

CELL(pv_modes)
{
    struct neap_buf text = NEAP_BUF_INIT;
    access_modes(cell_at(root, "spec.accessModes"), &text);
    cell_take(out, &text, "");
}

CELL(pvc_modes)
{
    struct neap_buf text = NEAP_BUF_INIT;
    if (*cell_str(root, "spec.volumeName"))
        access_modes(cell_at(root, "status.accessModes"), &text);
    cell_take(out, &text, "");
}

CELL(pv_capacity)
{
    cell_text(out, cell_str(root, "spec.capacity.storage"));
}

CELL(pvc_capacity)
{
    bool bound = *cell_str(root, "spec.volumeName");
    cell_text(out, bound ? cell_str(root, "status.capacity.storage") : "");
}

CELL(pv_claim)
{
    struct neap_buf text = NEAP_BUF_INIT;
    if (cell_at(root, "spec.claimRef"))
        neap_buf_printf(&text, "%s/%s", cell_str(root, "spec.claimRef.namespace"),
                        cell_str(root, "spec.claimRef.name"));
    cell_take(out, &text, "");
}

CELL(pv_reason)
{
    cell_text(out, cell_str(root, "status.reason"));
}

CELL(pv_policy)
{
    cell_text(out, cell_str(root, "spec.persistentVolumeReclaimPolicy"));
}

CELL(volume_status)
{
    bool going = *cell_str(root, "metadata.deletionTimestamp");
    cell_text(out, going ? "Terminating" : cell_str(root, "status.phase"));
}

static const char *storage_class(yyjson_val *root)
{
    const char *old = yyjson_get_str(yyjson_obj_get(cell_at(root, "metadata.annotations"),
                                                    "volume.beta.kubernetes.io/storage-class"));
    return old ? old : cell_str(root, "spec.storageClassName");
}

CELL(volume_class)
{
    cell_text(out, storage_class(root));
}

CELL(volume_attributes_class)
{
    yyjson_val *v = cell_at(root, "spec.volumeAttributesClassName");
    cell_or(out, yyjson_get_str(v), "<unset>");
}

CELL(volume_mode)
{
    cell_or(out, cell_str(root, "spec.volumeMode"), "<unset>");
}

CELL(pvc_volume)
{
    cell_text(out, cell_str(root, "spec.volumeName"));
}

/* ---- quota, templates, component status ---- */

static void quota(yyjson_val *root, bool limits, struct neap_buf *out)
{
    struct neap_buf text = NEAP_BUF_INIT;
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(cell_at(root, "status.hard"), i, n, k, v)
    {
        const char *name = yyjson_get_str(k);
        yyjson_val *used = yyjson_obj_get(cell_at(root, "status.used"), name);
        if ((strncmp(name, "limits", 6) == 0) != limits)
            continue;
        neap_buf_printf(&text, "%s%s: %s/%s", text.len ? ", " : "", name,
                        used ? yyjson_get_str(used) : "0", yyjson_get_str(v));
    }
    cell_take(out, &text, "");
}

CELL(quota_request)
{
    quota(root, false, out);
}

CELL(quota_limit)
{
    quota(root, true, out);
}

CELL(template_containers)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_join(&text, cell_at(root, "template.spec.containers"), "name", ",");
    cell_take(out, &text, "");
}

CELL(template_images)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_join(&text, cell_at(root, "template.spec.containers"), "image", ",");
    cell_take(out, &text, "");
}

CELL(template_labels)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_labels(&text, cell_at(root, "template.metadata.labels"));
    cell_take(out, &text, "<none>");
}

static yyjson_val *healthy(yyjson_val *root)
{
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(cell_at(root, "conditions"), i, n, c)
    {
        if (strcmp(cell_str(c, "type"), "Healthy") == 0)
            return c;
    }
    return NULL;
}

CELL(component_status)
{
    const char *s = cell_str(healthy(root), "status");
    cell_text(out, strcmp(s, "True") == 0    ? "Healthy"
                   : strcmp(s, "False") == 0 ? "Unhealthy"
                                             : "Unknown");
}

CELL(component_message)
{
    cell_text(out, cell_str(healthy(root), "message"));
}

CELL(component_error)
{
    cell_text(out, cell_str(healthy(root), "error"));
}

const struct rest_cell rest_cells_core[] = {
    {"configmap-data", configmap_data},
    {"secret-data", secret_data},
    {"node-status", node_status},
    {"node-roles", node_roles},
    {"node-internal-ip", node_internal},
    {"node-external-ip", node_external},
    {"node-os-image", node_os},
    {"node-kernel-version", node_kernel},
    {"node-container-runtime", node_runtime},
    {"service-cluster-ip", service_cluster_ip},
    {"service-external-ip", service_external_ip},
    {"service-port-s", service_ports},
    {"service-selector", service_selector},
    {"endpoints-endpoints", endpoints},
    {"persistentvolume-access-modes", pv_modes},
    {"persistentvolume-capacity", pv_capacity},
    {"persistentvolume-claim", pv_claim},
    {"persistentvolume-reason", pv_reason},
    {"persistentvolume-reclaim-policy", pv_policy},
    {"persistentvolume-status", volume_status},
    {"persistentvolume-storageclass", volume_class},
    {"persistentvolume-volumeattributesclass", volume_attributes_class},
    {"persistentvolume-volumemode", volume_mode},
    {"persistentvolumeclaim-access-modes", pvc_modes},
    {"persistentvolumeclaim-capacity", pvc_capacity},
    {"persistentvolumeclaim-status", volume_status},
    {"persistentvolumeclaim-storageclass", volume_class},
    {"persistentvolumeclaim-volume", pvc_volume},
    {"persistentvolumeclaim-volumeattributesclass", volume_attributes_class},
    {"persistentvolumeclaim-volumemode", volume_mode},
    {"resourcequota-request", quota_request},
    {"resourcequota-limit", quota_limit},
    {"podtemplate-containers", template_containers},
    {"podtemplate-images", template_images},
    {"podtemplate-pod-labels", template_labels},
    {"componentstatus-status", component_status},
    {"componentstatus-message", component_message},
    {"componentstatus-error", component_error},
    {0},
};
