/* Cells of what governs others: disruption budgets, roles' bindings, flow control, certificates. */
#include "cells.h"

/* ---- disruption budgets ---- */

static void int_or_string(yyjson_val *v, const char *dflt, struct neap_buf *out)
{
    if (yyjson_is_int(v))
        neap_buf_printf(out, "\"%lld\"", (long long)yyjson_get_sint(v));
    else
        cell_text(out, yyjson_is_str(v) ? yyjson_get_str(v) : dflt);
}

CELL(budget_min)
{
    int_or_string(cell_at(root, "spec.minAvailable"), "N/A", out);
}

CELL(budget_max)
{
    int_or_string(cell_at(root, "spec.maxUnavailable"), "N/A", out);
}

/* ---- bindings of roles ---- */

CELL(binding_role)
{
    struct neap_buf text = NEAP_BUF_INIT;
    neap_buf_printf(&text, "%s/%s", cell_str(root, "roleRef.kind"), cell_str(root, "roleRef.name"));
    cell_take(out, &text, "");
}

static void subjects(yyjson_val *root, const char *kind, struct neap_buf *out)
{
    struct neap_buf text = NEAP_BUF_INIT;
    bool account = strcmp(kind, "ServiceAccount") == 0;
    size_t i, n;
    yyjson_val *s;
    yyjson_arr_foreach(cell_at(root, "subjects"), i, n, s)
    {
        if (strcmp(cell_str(s, "kind"), kind) != 0)
            continue;
        neap_buf_printf(&text, "%s%s%s%s", text.len ? ", " : "",
                        account ? cell_str(s, "namespace") : "", account ? "/" : "",
                        cell_str(s, "name"));
    }
    cell_take(out, &text, "");
}

CELL(binding_users)
{
    subjects(root, "User", out);
}

CELL(binding_groups)
{
    subjects(root, "Group", out);
}

CELL(binding_accounts)
{
    subjects(root, "ServiceAccount", out);
}

/* ---- flow control ---- */

CELL(flow_distinguisher)
{
    cell_or(out, cell_str(root, "spec.distinguisherMethod.type"), "<none>");
}

CELL(flow_missing_level)
{
    yyjson_val *c = cell_by_type(cell_at(root, "status.conditions"), "Dangling");
    cell_text(out, c ? cell_str(c, "status") : "?");
}

/* Numbers, though the column's type is string. */
static void number_or_none(yyjson_val *at, const char *field, struct neap_buf *out)
{
    if (at)
        neap_buf_printf(out, "%lld", (long long)cell_int(at, field));
    else
        cell_text(out, "<none>");
}

CELL(level_shares)
{
    number_or_none(cell_at(root, "spec.limited"), "nominalConcurrencyShares", out);
}

static yyjson_val *queuing(yyjson_val *root)
{
    return cell_at(root, "spec.limited.limitResponse.queuing");
}

CELL(level_queues)
{
    number_or_none(queuing(root), "queues", out);
}

CELL(level_hand)
{
    number_or_none(queuing(root), "handSize", out);
}

CELL(level_length)
{
    number_or_none(queuing(root), "queueLengthLimit", out);
}

/* ---- certificates ---- */

CELL(request_duration)
{
    yyjson_val *seconds = cell_at(root, "spec.expirationSeconds");
    char text[32] = "<none>";
    if (seconds)
        cell_duration(yyjson_get_sint(seconds), text);
    cell_text(out, text);
}

CELL(request_condition)
{
    yyjson_val *conditions = cell_at(root, "status.conditions");
    struct neap_buf text = NEAP_BUF_INIT;
    neap_buf_str(&text, cell_by_type(conditions, "Denied")     ? "Denied"
                        : cell_by_type(conditions, "Approved") ? "Approved"
                                                               : "Pending");
    if (cell_by_type(conditions, "Failed"))
        neap_buf_str(&text, ",Failed");
    if (*cell_str(root, "status.certificate"))
        neap_buf_str(&text, ",Issued");
    cell_take(out, &text, "");
}

CELL(pod_request_state)
{
    static const char *const types[] = {"Denied", "Failed", "Issued"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(types); i++) {
        if (cell_by_type(cell_at(root, "status.conditions"), types[i])) {
            cell_text(out, types[i]);
            return;
        }
    }
    cell_text(out, "Pending");
}

CELL(pod_request_annotations)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_labels(&text, cell_at(root, "spec.unverifiedUserAnnotations"));
    cell_take(out, &text, "<none>");
}

const struct rest_cell rest_cells_policy[] = {
    {"poddisruptionbudget-min-available", budget_min},
    {"poddisruptionbudget-max-unavailable", budget_max},
    {"rolebinding-role", binding_role},
    {"rolebinding-users", binding_users},
    {"rolebinding-groups", binding_groups},
    {"rolebinding-serviceaccounts", binding_accounts},
    {"clusterrolebinding-role", binding_role},
    {"clusterrolebinding-users", binding_users},
    {"clusterrolebinding-groups", binding_groups},
    {"clusterrolebinding-serviceaccounts", binding_accounts},
    {"flowschema-distinguishermethod", flow_distinguisher},
    {"flowschema-missingpl", flow_missing_level},
    {"prioritylevelconfiguration-nominalconcurrencyshares", level_shares},
    {"prioritylevelconfiguration-queues", level_queues},
    {"prioritylevelconfiguration-handsize", level_hand},
    {"prioritylevelconfiguration-queuelengthlimit", level_length},
    {"certificatesigningrequest-requestedduration", request_duration},
    {"certificatesigningrequest-condition", request_condition},
    {"podcertificaterequest-state", pod_request_state},
    {"podcertificaterequest-unverifieduserannotations", pod_request_annotations},
    {0},
};
