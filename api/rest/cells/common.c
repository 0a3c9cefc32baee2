#include "cells.h"
#include <neap/clock.h>

yyjson_val *cell_at(yyjson_val *root, const char *path)
{
    return neap_json_val_at(root, path);
}

const char *cell_str(yyjson_val *root, const char *path)
{
    const char *s = neap_json_val_str_at(root, path);
    return s ? s : "";
}

int64_t cell_int(yyjson_val *root, const char *path)
{
    return yyjson_get_sint(cell_at(root, path));
}

void cell_text(struct neap_buf *out, const char *s)
{
    neap_buf_json_string(out, s, strlen(s));
}

void cell_or(struct neap_buf *out, const char *s, const char *dflt)
{
    cell_text(out, s && *s ? s : dflt);
}

/* As kubectl's HumanDuration: two units while small. */
void cell_duration(int64_t s, char out[32])
{
    int64_t m = s / 60, h = s / 3600, d = s / 86400;
    long long a, b = 0;
    const char *ua, *ub = NULL;
    if (s < -1) {
        snprintf(out, 32, "<invalid>");
        return;
    }
    if (s < 0)
        s = 0;
    if (s < 120) {
        a = s, ua = "s";
    } else if (m < 10) {
        a = m, ua = "m", b = s % 60, ub = "s";
    } else if (m < 180) {
        a = m, ua = "m";
    } else if (h < 8) {
        a = h, ua = "h", b = m % 60, ub = "m";
    } else if (h < 48) {
        a = h, ua = "h";
    } else if (h < 192) {
        a = d, ua = "d", b = h % 24, ub = "h";
    } else if (d < 730) {
        a = d, ua = "d";
    } else if (d < 2920) {
        a = d / 365, ua = "y", b = d % 365, ub = "d";
    } else {
        a = d / 365, ua = "y";
    }
    if (b && ub)
        snprintf(out, 32, "%lld%s%lld%s", a, ua, b, ub);
    else
        snprintf(out, 32, "%lld%s", a, ua);
}

void cell_age(const struct rest_cell_context *x, const char *time, struct neap_buf *out)
{
    int64_t at;
    char text[32];
    if (!time || !*time || !neap_time_parse(time, strlen(time), &at)) {
        cell_text(out, "<unknown>");
        return;
    }
    cell_duration((x->now_wall_ns - at) / 1000000000, text);
    cell_text(out, text);
}

void cell_labels(struct neap_buf *text, yyjson_val *map)
{
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(map, i, n, k, v)
    {
        neap_buf_printf(text, "%s%s=%s", i ? "," : "", yyjson_get_str(k), yyjson_get_str(v));
    }
    if (!text->len)
        neap_buf_str(text, "<none>");
}

static void requirement(struct neap_buf *text, yyjson_val *e)
{
    const char *op = cell_str(e, "operator"), *key = cell_str(e, "key");
    if (strcmp(op, "Exists") == 0) {
        neap_buf_str(text, key);
        return;
    }
    if (strcmp(op, "DoesNotExist") == 0) {
        neap_buf_printf(text, "!%s", key);
        return;
    }
    neap_buf_printf(text, "%s %s (", key, strcmp(op, "In") == 0 ? "in" : "notin");
    size_t i, n;
    yyjson_val *v;
    yyjson_arr_foreach(yyjson_obj_get(e, "values"), i, n, v)
    {
        neap_buf_printf(text, "%s%s", i ? "," : "", yyjson_get_str(v));
    }
    neap_buf_char(text, ')');
}

void cell_selector(struct neap_buf *text, yyjson_val *selector)
{
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(yyjson_obj_get(selector, "matchLabels"), i, n, k, v)
    {
        neap_buf_printf(text, "%s%s=%s", text->len ? "," : "", yyjson_get_str(k),
                        yyjson_get_str(v));
    }
    yyjson_arr_foreach(yyjson_obj_get(selector, "matchExpressions"), i, n, v)
    {
        if (text->len)
            neap_buf_char(text, ',');
        requirement(text, v);
    }
    if (!text->len)
        neap_buf_str(text, "<none>");
}

rest_cell_fn rest_cell_by_name(const char *name)
{
    static const struct rest_cell *const tables[] = {
        rest_cells_pods,       rest_cells_core,    rest_cells_apps,     rest_cells_policy, rest_cells_events,
        rest_cells_networking, rest_cells_storage, rest_cells_admission};
    for (size_t t = 0; t < NEAP_ARRAY_LEN(tables); t++)
        for (const struct rest_cell *c = tables[t]; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return c->write;
    return NULL;
}
