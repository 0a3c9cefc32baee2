/* Schemas: a type's fields with what the tables know of them. */
#include "openapi.h"

static void text(struct neap_buf *out, const char *s)
{
    neap_buf_json_string(out, s, strlen(s));
}

void openapi_ref(struct openapi_writer *w, const char *name)
{
    neap_buf_printf(w->out, "\"$ref\":\"#/%s/%s\"",
                    w->version == 3 ? "components/schemas" : "definitions", name);
}

void openapi_need(struct openapi_writer *w, const struct neap_type *t)
{
    if (neap_map_get(&w->seen, t->name))
        return;
    neap_map_set(&w->seen, t->name, (void *)(uintptr_t)t);
    w->queue = neap_grow(w->queue, &w->cap, w->count, sizeof(*w->queue));
    w->queue[w->count++] = t;
}

static const char TIME[] = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
static const char MICROTIME[] = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
static const char QUANTITY[] = "io.k8s.apimachinery.pkg.api.resource.Quantity";
static const char INT_OR_STRING[] = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
static const char DURATION[] = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration";

static void ref_to(struct openapi_writer *w, const char *name)
{
    neap_buf_str(w->out, w->version == 3 ? "\"allOf\":[{" : "");
    openapi_ref(w, name);
    neap_buf_str(w->out, w->version == 3 ? "}]" : "");
}

/* The members of a shape's schema, without braces. */
static void shape(struct openapi_writer *w, const struct neap_shape *s)
{
    static const char *const scalars[] = {
        [NEAP_T_STRING] = "\"type\":\"string\"",
        [NEAP_T_INT32] = "\"type\":\"integer\",\"format\":\"int32\"",
        [NEAP_T_INT64] = "\"type\":\"integer\",\"format\":\"int64\"",
        [NEAP_T_DOUBLE] = "\"type\":\"number\",\"format\":\"double\"",
        [NEAP_T_BOOL] = "\"type\":\"boolean\"",
        [NEAP_T_BYTES] = "\"type\":\"string\",\"format\":\"byte\"",
        [NEAP_T_RAW] = "\"type\":\"object\"",
        [NEAP_T_FIELDS_V1] = "\"type\":\"object\"",
    };
    static const char *const refs[] = {
        [NEAP_T_TIME] = TIME,         [NEAP_T_MICROTIME] = MICROTIME,
        [NEAP_T_QUANTITY] = QUANTITY, [NEAP_T_INT_OR_STRING] = INT_OR_STRING,
        [NEAP_T_DURATION] = DURATION,
    };
    if (s->value == NEAP_T_STRUCT) {
        openapi_need(w, s->type);
        ref_to(w, s->type->name);
    } else if (s->value == NEAP_T_ARRAY) {
        neap_buf_str(w->out, "\"type\":\"array\",\"items\":{");
        shape(w, s->item);
        neap_buf_char(w->out, '}');
    } else if (s->value == NEAP_T_MAP) {
        neap_buf_str(w->out, "\"type\":\"object\",\"additionalProperties\":{");
        shape(w, s->item);
        neap_buf_char(w->out, '}');
    } else if (s->value < NEAP_ARRAY_LEN(refs) && refs[s->value]) {
        ref_to(w, refs[s->value]);
    } else {
        neap_buf_str(w->out, scalars[s->value]);
    }
}

static void strings(struct openapi_writer *w, const char *name, const char *const *list)
{
    neap_buf_printf(w->out, ",\"%s\":[", name);
    for (unsigned i = 0; list[i]; i++) {
        neap_buf_str(w->out, i ? "," : "");
        text(w->out, strcmp(list[i], "\"\"") == 0 ? "" : list[i]);
    }
    neap_buf_char(w->out, ']');
}

static void extensions(struct openapi_writer *w, const struct neap_field *f)
{
    static const char *const types[] = {
        [NEAP_LIST_ATOMIC] = "atomic", [NEAP_LIST_SET] = "set", [NEAP_LIST_MAP] = "map"};
    if (f->list)
        neap_buf_printf(w->out, ",\"x-kubernetes-list-type\":\"%s\"", types[f->list]);
    if (f->list_keys)
        strings(w, "x-kubernetes-list-map-keys", f->list_keys);
    if (f->patch)
        neap_buf_printf(w->out, ",\"x-kubernetes-patch-strategy\":\"%s%s%s\"",
                        f->patch & NEAP_PATCH_MERGE ? "merge" : "",
                        f->patch == (NEAP_PATCH_MERGE | NEAP_PATCH_RETAIN_KEYS) ? "," : "",
                        f->patch & NEAP_PATCH_RETAIN_KEYS ? "retainKeys" : "");
    if (f->merge_key)
        neap_buf_printf(w->out, ",\"x-kubernetes-patch-merge-key\":\"%s\"", f->merge_key);
    if (f->flags & NEAP_F_MAP_ATOMIC)
        neap_buf_str(w->out, ",\"x-kubernetes-map-type\":\"atomic\"");
}

static void field(struct openapi_writer *w, const struct neap_field *f)
{
    bool list = f->shape.value == NEAP_T_ARRAY;
    text(w->out, f->name);
    neap_buf_str(w->out, ":{");
    shape(w, &f->shape);
    if (f->doc) {
        neap_buf_str(w->out, ",\"description\":");
        text(w->out, f->doc);
    }
    if (f->enum_values && !list && !(f->flags & NEAP_F_ENUM_OPEN))
        strings(w, "enum", f->enum_values);
    if (f->default_json && !f->default_kinds)
        neap_buf_printf(w->out, ",\"default\":%s", f->default_json);
    extensions(w, f);
    neap_buf_char(w->out, '}');
}

static void group_version_kinds(struct openapi_writer *w, const struct neap_type *t)
{
    bool first = true;
    for (unsigned i = 0; i < neap_kind_count; i++) {
        const struct neap_kind *k = neap_kinds[i];
        if (k->type != t)
            continue;
        neap_buf_printf(w->out, "%s{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}",
                        first ? ",\"x-kubernetes-group-version-kind\":[" : ",", k->group,
                        k->version, k->kind);
        first = false;
    }
    if (!first)
        neap_buf_char(w->out, ']');
}

static void type_schema(struct openapi_writer *w, const struct neap_type *t)
{
    bool any = false;
    neap_buf_printf(w->out, "\"%s\":{\"type\":\"object\"", t->name);
    if (t->doc) {
        neap_buf_str(w->out, ",\"description\":");
        text(w->out, t->doc);
    }
    for (unsigned i = 0; i < t->field_count; i++) {
        if (!(t->fields[i].flags & NEAP_F_REQUIRED))
            continue;
        neap_buf_printf(w->out, "%s\"%s\"", any ? "," : ",\"required\":[", t->fields[i].name);
        any = true;
    }
    neap_buf_str(w->out, any ? "]" : "");
    if (t->field_count) {
        neap_buf_str(w->out, ",\"properties\":{");
        for (unsigned i = 0; i < t->field_count; i++) {
            if (i)
                neap_buf_char(w->out, ',');
            field(w, &t->fields[t->by_name[i]]);
        }
        neap_buf_char(w->out, '}');
    }
    group_version_kinds(w, t);
    if (t->atomic)
        neap_buf_str(w->out, ",\"x-kubernetes-map-type\":\"atomic\"");
    neap_buf_char(w->out, '}');
}

void openapi_list_name(const struct neap_kind *k, char out[256])
{
    const char *dot = strrchr(k->type->name, '.');
    snprintf(out, 256, "%.*s.%s", dot ? (int)(dot - k->type->name) : 0, k->type->name,
             k->list_kind);
}

void openapi_list_schema(struct openapi_writer *w, const struct neap_kind *k)
{
    char name[256];
    const struct neap_type *meta =
        neap_type_by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
    openapi_list_name(k, name);
    openapi_need(w, k->type);
    neap_buf_printf(
        w->out,
        "\"%s\":{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{"
        "\"apiVersion\":{\"type\":\"string\"},\"items\":{\"type\":\"array\",\"items\":{",
        name);
    ref_to(w, k->type->name);
    neap_buf_str(w->out, "}},\"kind\":{\"type\":\"string\"}");
    if (meta) {
        openapi_need(w, meta);
        neap_buf_str(w->out, ",\"metadata\":{");
        ref_to(w, meta->name);
        neap_buf_char(w->out, '}');
    }
    neap_buf_printf(w->out,
                    "},\"x-kubernetes-group-version-kind\":[{\"group\":\"%s\",\"version\":\"%s\","
                    "\"kind\":\"%s\"}]}",
                    k->group, k->version, k->list_kind);
}

static void scalar_schemas(struct openapi_writer *w)
{
    bool v3 = w->version == 3;
    neap_buf_printf(w->out,
                    "\"%s\":{\"type\":\"string\",\"format\":\"date-time\"},"
                    "\"%s\":{\"type\":\"string\",\"format\":\"date-time\"},"
                    "\"%s\":{\"type\":\"string\"},"
                    "\"%s\":{%s},\"%s\":{%s}",
                    TIME, MICROTIME, DURATION, QUANTITY,
                    v3 ? "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]"
                       : "\"type\":\"string\"",
                    INT_OR_STRING,
                    v3 ? "\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":"
                         "\"string\"}]"
                       : "\"type\":\"string\",\"format\":\"int-or-string\"");
}

void openapi_schemas(struct openapi_writer *w)
{
    scalar_schemas(w);
    while (w->done < w->count) {
        neap_buf_char(w->out, ',');
        type_schema(w, w->queue[w->done++]);
    }
    free(w->queue);
    w->queue = NULL;
    neap_map_done(&w->seen, NULL);
}
