/* Cells of networking and discovery: ingresses, policies, endpoint slices, addresses. */
#include "cells.h"

/* Lists are shown up to here. */
#define SHOWN_MAX 3

/* Counts an item; shows it while there is room. */
static void shown(struct neap_buf *text, size_t *count, const char *s)
{
    if ((*count)++ < SHOWN_MAX)
        neap_buf_printf(text, "%s%s", text->len ? "," : "", s);
}

static void take_shown(struct neap_buf *out, struct neap_buf *text, size_t count, const char *dflt)
{
    if (count > SHOWN_MAX)
        neap_buf_printf(text, " + %zu more...", count - SHOWN_MAX);
    cell_take(out, text, dflt);
}

/* ---- ingresses ---- */

CELL(ingress_class)
{
    cell_or(out, cell_str(root, "spec.ingressClassName"), "<none>");
}

CELL(ingress_hosts)
{
    struct neap_buf text = NEAP_BUF_INIT;
    size_t i, n, count = 0;
    yyjson_val *rule;
    yyjson_arr_foreach(cell_at(root, "spec.rules"), i, n, rule)
    {
        if (*cell_str(rule, "host"))
            shown(&text, &count, cell_str(rule, "host"));
    }
    take_shown(out, &text, count, "*");
}

CELL(ingress_address)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_addresses(&text, cell_at(root, "status.loadBalancer.ingress"));
    cell_take(out, &text, "");
}

CELL(ingress_ports)
{
    cell_text(out, yyjson_arr_size(cell_at(root, "spec.tls")) ? "80, 443" : "80");
}

CELL(ingressclass_parameters)
{
    yyjson_val *p = cell_at(root, "spec.parameters");
    struct neap_buf text = NEAP_BUF_INIT;
    const char *group = cell_str(p, "apiGroup");
    if (p)
        neap_buf_printf(&text, "%s%s%s/%s", cell_str(p, "kind"), *group ? "." : "", group,
                        cell_str(p, "name"));
    cell_take(out, &text, "<none>");
}

CELL(networkpolicy_selector)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_selector(&text, cell_at(root, "spec.podSelector"));
    cell_take(out, &text, "<none>");
}

/* ---- endpoint slices ---- */

CELL(slice_ports)
{
    struct neap_buf text = NEAP_BUF_INIT;
    size_t i, n, count = 0;
    yyjson_val *p;
    yyjson_arr_foreach(cell_at(root, "ports"), i, n, p)
    {
        char number[24];
        snprintf(number, sizeof(number), "%lld", (long long)cell_int(p, "port"));
        shown(&text, &count,
              cell_at(p, "port")     ? number
              : *cell_str(p, "name") ? cell_str(p, "name")
                                     : "*");
    }
    take_shown(out, &text, count, "<unset>");
}

CELL(slice_endpoints)
{
    struct neap_buf text = NEAP_BUF_INIT;
    size_t i, n, j, m, count = 0;
    yyjson_val *e, *a;
    yyjson_arr_foreach(cell_at(root, "endpoints"), i, n, e)
    {
        yyjson_arr_foreach(cell_at(e, "addresses"), j, m, a)
        {
            if (yyjson_is_str(a))
                shown(&text, &count, yyjson_get_str(a));
        }
    }
    take_shown(out, &text, count, "<unset>");
}

/* ---- service addresses ---- */

CELL(ipaddress_parent)
{
    yyjson_val *ref = cell_at(root, "spec.parentRef");
    struct neap_buf text = NEAP_BUF_INIT;
    const char *group = cell_str(ref, "group"), *namespace = cell_str(ref, "namespace");
    if (ref)
        neap_buf_printf(&text, "%s%s%s%s%s/%s", cell_str(ref, "resource"), *group ? "." : "", group,
                        *namespace ? "/" : "", namespace, cell_str(ref, "name"));
    cell_take(out, &text, "<none>");
}

CELL(servicecidr_cidrs)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_join(&text, cell_at(root, "spec.cidrs"), NULL, ",");
    cell_take(out, &text, "");
}

const struct rest_cell rest_cells_networking[] = {
    {"ingress-class", ingress_class},
    {"ingress-hosts", ingress_hosts},
    {"ingress-address", ingress_address},
    {"ingress-ports", ingress_ports},
    {"ingressclass-parameters", ingressclass_parameters},
    {"networkpolicy-pod-selector", networkpolicy_selector},
    {"endpointslice-ports", slice_ports},
    {"endpointslice-endpoints", slice_endpoints},
    {"ipaddress-parentref", ipaddress_parent},
    {"servicecidr-cidrs", servicecidr_cidrs},
    {0},
};
