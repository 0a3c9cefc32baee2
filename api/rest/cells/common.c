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

void cell_take(struct neap_buf *out, struct neap_buf *text, const char *dflt)
{
    cell_or(out, text->len ? text->data : "", dflt);
    neap_buf_done(text);
}

void cell_join(struct neap_buf *text, yyjson_val *list, const char *field, const char *sep)
{
    size_t i, n;
    yyjson_val *e;
    yyjson_arr_foreach(list, i, n, e)
    {
        const char *s = field ? cell_str(e, field) : yyjson_get_str(e);
        if (s && *s)
            neap_buf_printf(text, "%s%s", text->len ? sep : "", s);
    }
}

yyjson_val *cell_by_type(yyjson_val *list, const char *type)
{
    size_t i, n;
    yyjson_val *e;
    yyjson_arr_foreach(list, i, n, e)
    {
        if (strcmp(cell_str(e, "type"), type) == 0)
            return e;
    }
    return NULL;
}

void rest_cell_path(const struct rest_cell_context *x, const struct neap_column *col,
                    yyjson_val *root, struct neap_buf *out)
{
    yyjson_val *v = neap_json_val_at(root, col->path);
    if (strcmp(col->path, "metadata.creationTimestamp") == 0 && strcmp(col->name, "Age") == 0) {
        cell_age(x, yyjson_get_str(v), out);
    } else if (yyjson_is_str(v)) {
        neap_buf_json_string(out, yyjson_get_str(v), yyjson_get_len(v));
    } else if (yyjson_is_bool(v)) {
        neap_buf_str(out, yyjson_get_bool(v) ? "true" : "false");
    } else if (yyjson_is_num(v)) {
        neap_buf_printf(out, "%lld", (long long)yyjson_get_sint(v));
    } else if (strcmp(col->type, "integer") == 0) {
        neap_buf_char(out, '0');
    } else if (strcmp(col->type, "boolean") == 0) {
        neap_buf_str(out, "false");
    } else {
        cell_text(out, "");
    }
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

/* What a sorted cell shows at most: cells are for people. */
#define SHOWN_MAX 64

struct requirement {
    const char *key, *value; /* value: of matchLabels */
    yyjson_val *expression;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct requirement *)a)->key, ((const struct requirement *)b)->key);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_values(struct neap_buf *text, yyjson_val *values)
{
    const char *sorted[SHOWN_MAX];
    size_t i, n, count = 0;
    yyjson_val *v;
    yyjson_arr_foreach(values, i, n, v)
    {
        if (count < NEAP_ARRAY_LEN(sorted) && yyjson_is_str(v))
            sorted[count++] = yyjson_get_str(v);
    }
    qsort(sorted, count, sizeof(*sorted), by_text);
    for (i = 0; i < count; i++)
        neap_buf_printf(text, "%s%s", i ? "," : "", sorted[i]);
}

static void write_requirement(struct neap_buf *text, const struct requirement *r)
{
    const char *op = r->expression ? cell_str(r->expression, "operator") : "=";
    if (!r->expression) {
        neap_buf_printf(text, "%s=%s", r->key, r->value);
    } else if (strcmp(op, "Exists") == 0) {
        neap_buf_str(text, r->key);
    } else if (strcmp(op, "DoesNotExist") == 0) {
        neap_buf_printf(text, "!%s", r->key);
    } else {
        neap_buf_printf(text, "%s %s (", r->key, strcmp(op, "In") == 0 ? "in" : "notin");
        write_values(text, yyjson_obj_get(r->expression, "values"));
        neap_buf_char(text, ')');
    }
}

void cell_selector(struct neap_buf *text, yyjson_val *selector)
{
    struct requirement list[SHOWN_MAX];
    size_t i, n, count = 0;
    yyjson_val *k, *v;
    yyjson_obj_foreach(yyjson_obj_get(selector, "matchLabels"), i, n, k, v)
    {
        if (count < NEAP_ARRAY_LEN(list) && yyjson_is_str(v))
            list[count++] = (struct requirement){yyjson_get_str(k), yyjson_get_str(v), NULL};
    }
    yyjson_arr_foreach(yyjson_obj_get(selector, "matchExpressions"), i, n, v)
    {
        if (count < NEAP_ARRAY_LEN(list))
            list[count++] = (struct requirement){cell_str(v, "key"), NULL, v};
    }
    qsort(list, count, sizeof(*list), by_key);
    for (i = 0; i < count; i++) {
        neap_buf_str(text, i ? "," : "");
        write_requirement(text, &list[i]);
    }
    if (!text->len)
        neap_buf_str(text, "<none>");
}

void cell_addresses(struct neap_buf *text, yyjson_val *ingress)
{
    const char *sorted[SHOWN_MAX];
    size_t i, n, count = 0;
    yyjson_val *e;
    yyjson_arr_foreach(ingress, i, n, e)
    {
        const char *s = *cell_str(e, "ip") ? cell_str(e, "ip") : cell_str(e, "hostname");
        if (*s && count < NEAP_ARRAY_LEN(sorted))
            sorted[count++] = s;
    }
    qsort(sorted, count, sizeof(*sorted), by_text);
    for (i = 0; i < count; i++)
        if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0)
            neap_buf_printf(text, "%s%s", text->len ? "," : "", sorted[i]);
}

rest_cell_fn rest_cell_by_name(const char *name)
{
    static const struct rest_cell *const tables[] = {
        rest_cells_pods,   rest_cells_core,       rest_cells_apps,    rest_cells_policy,
        rest_cells_events, rest_cells_networking, rest_cells_storage, rest_cells_admission};
    for (size_t t = 0; t < NEAP_ARRAY_LEN(tables); t++)
        for (const struct rest_cell *c = tables[t]; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return c->write;
    return NULL;
}
