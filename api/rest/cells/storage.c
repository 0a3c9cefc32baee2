/* Cells of storage, devices and stored-version migration. */
#include "cells.h"

/* ---- storage ---- */

CELL(class_expansion)
{
    bool allowed = yyjson_get_bool(cell_at(root, "allowVolumeExpansion"));
    neap_buf_str(out, allowed ? "true" : "false");
}

CELL(driver_modes)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_join(&text, cell_at(root, "spec.volumeLifecycleModes"), NULL, ",");
    cell_take(out, &text, "<none>");
}

/* An audience may be empty and is shown so: the list's length tells. */
CELL(driver_tokens)
{
    yyjson_val *list = cell_at(root, "spec.tokenRequests"), *t;
    struct neap_buf text = NEAP_BUF_INIT;
    size_t i, n;
    yyjson_arr_foreach(list, i, n, t)
    {
        neap_buf_printf(&text, "%s%s", i ? "," : "", cell_str(t, "audience"));
    }
    cell_take(out, &text, list ? "" : "<unset>");
}

CELL(node_drivers)
{
    neap_buf_u64(out, yyjson_arr_size(cell_at(root, "spec.drivers")));
}

CELL(attachment_volume)
{
    cell_text(out, cell_str(root, "spec.source.persistentVolumeName"));
}

/* ---- devices ---- */

CELL(claim_state)
{
    bool going = *cell_str(root, "metadata.deletionTimestamp");
    bool allocated = cell_at(root, "status.allocation");
    bool reserved = allocated && yyjson_arr_size(cell_at(root, "status.reservedFor"));
    struct neap_buf text = NEAP_BUF_INIT;
    neap_buf_str(&text, going ? "deleted" : allocated ? "" : "pending");
    if (allocated)
        neap_buf_printf(&text, "%sallocated%s", text.len ? "," : "", reserved ? ",reserved" : "");
    cell_take(out, &text, "");
}

CELL(slice_node)
{
    cell_text(out, cell_str(root, "spec.nodeName"));
}

CELL(taint_added)
{
    cell_age(x, cell_str(root, "spec.taint.timeAdded"), out);
}

/* ---- migrations of stored versions ---- */

CELL(migration_resource)
{
    yyjson_val *r = cell_at(root, "spec.resource");
    struct neap_buf text = NEAP_BUF_INIT;
    const char *group = cell_str(r, "group");
    neap_buf_printf(&text, "%s%s%s", cell_str(r, "resource"), *group ? "." : "", group);
    cell_take(out, &text, "");
}

CELL(migration_status)
{
    static const char *const types[] = {"Succeeded", "Failed", "Running"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(types); i++) {
        yyjson_val *c = cell_by_type(cell_at(root, "status.conditions"), types[i]);
        if (strcmp(cell_str(c, "status"), "True") == 0) {
            cell_text(out, types[i]);
            return;
        }
    }
    cell_text(out, "Pending");
}

const struct rest_cell rest_cells_storage[] = {
    {"storageclass-allowvolumeexpansion", class_expansion},
    {"csidriver-modes", driver_modes},
    {"csidriver-tokenrequests", driver_tokens},
    {"csinode-drivers", node_drivers},
    {"volumeattachment-pv", attachment_volume},
    {"resourceclaim-state", claim_state},
    {"resourceslice-node", slice_node},
    {"devicetaintrule-timeadded", taint_added},
    {"storageversionmigration-resource", migration_resource},
    {"storageversionmigration-status", migration_status},
    {0},
};
