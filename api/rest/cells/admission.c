/* Cells of admission: webhook configurations, policies and their bindings. */
#include "cells.h"

CELL(webhooks)
{
    neap_buf_u64(out, yyjson_arr_size(cell_at(root, "webhooks")));
}

CELL(validations)
{
    neap_buf_u64(out, yyjson_arr_size(cell_at(root, "spec.validations")));
}

CELL(mutations)
{
    neap_buf_u64(out, yyjson_arr_size(cell_at(root, "spec.mutations")));
}

CELL(param_kind)
{
    yyjson_val *p = cell_at(root, "spec.paramKind");
    struct neap_buf text = NEAP_BUF_INIT;
    if (p)
        neap_buf_printf(&text, "%s/%s", cell_str(p, "apiVersion"), cell_str(p, "kind"));
    cell_take(out, &text, "<unset>");
}

/* A reference by selector is shown as the real server prints its structure. */
static void selector_structure(struct neap_buf *text, yyjson_val *selector)
{
    size_t i, n, j, m;
    yyjson_val *k, *v, *value;
    neap_buf_str(text, "&LabelSelector{MatchLabels:map[string]string{");
    yyjson_obj_foreach(yyjson_obj_get(selector, "matchLabels"), i, n, k, v)
    {
        neap_buf_printf(text, "%s: %s,", yyjson_get_str(k), yyjson_get_str(v));
    }
    neap_buf_str(text, "},MatchExpressions:[]LabelSelectorRequirement{");
    yyjson_arr_foreach(yyjson_obj_get(selector, "matchExpressions"), i, n, v)
    {
        neap_buf_printf(text, "LabelSelectorRequirement{Key:%s,Operator:%s,Values:[",
                        cell_str(v, "key"), cell_str(v, "operator"));
        yyjson_arr_foreach(yyjson_obj_get(v, "values"), j, m, value)
        {
            neap_buf_printf(text, "%s%s", j ? " " : "", yyjson_get_str(value));
        }
        neap_buf_str(text, "],},");
    }
    neap_buf_str(text, "},}");
}

CELL(param_ref)
{
    yyjson_val *ref = cell_at(root, "spec.paramRef");
    const char *namespace = cell_str(ref, "namespace"), *name = cell_str(ref, "name");
    struct neap_buf text = NEAP_BUF_INIT;
    if (*name)
        neap_buf_printf(&text, "%s/%s", *namespace ? namespace : "*", name);
    else if (cell_at(ref, "selector"))
        selector_structure(&text, cell_at(ref, "selector"));
    cell_take(out, &text, "<unset>");
}

const struct rest_cell rest_cells_admission[] = {
    {"mutatingwebhookconfiguration-webhooks", webhooks},
    {"validatingwebhookconfiguration-webhooks", webhooks},
    {"validatingadmissionpolicy-validations", validations},
    {"mutatingadmissionpolicy-mutations", mutations},
    {"validatingadmissionpolicy-paramkind", param_kind},
    {"mutatingadmissionpolicy-paramkind", param_kind},
    {"validatingadmissionpolicybinding-paramref", param_ref},
    {"mutatingadmissionpolicybinding-paramref", param_ref},
    {0},
};
