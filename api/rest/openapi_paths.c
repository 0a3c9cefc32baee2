/* Paths and operations of a kind. */
#include "openapi.h"

struct operation {
    const char *method, *action;
    unsigned bit;
    bool body;
};

static void parameter(struct neap_buf *out, int version, const char *name, const char *where,
                      const char *type, bool *first)
{
    neap_buf_printf(out, "%s{\"name\":\"%s\",\"in\":\"%s\",%s", *first ? "" : ",", name, where,
                    strcmp(where, "path") == 0 ? "\"required\":true," : "");
    neap_buf_printf(out,
                    version == 3 ? "\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}}"
                                 : "\"type\":\"%s\",\"uniqueItems\":true}",
                    type);
    *first = false;
}

static void body_parameter(struct openapi_writer *w, const struct operation *o, const char *schema)
{
    neap_buf_str(w->out, "{\"name\":\"body\",\"in\":\"body\",\"required\":true,\"schema\":{");
    if (o->bit == NEAP_VERB_PATCH)
        neap_buf_str(w->out, "\"type\":\"object\"");
    else
        openapi_ref(w, schema);
    neap_buf_str(w->out, "}}");
}

static void parameters(struct openapi_writer *w, const struct operation *o, const char *schema)
{
    static const struct {
        unsigned verbs;
        const char *name, *type;
    } rows[] = {
        {NEAP_VERB_LIST | NEAP_VERB_DELETECOLLECTION, "labelSelector", "string"},
        {NEAP_VERB_LIST | NEAP_VERB_DELETECOLLECTION, "fieldSelector", "string"},
        {NEAP_VERB_LIST, "limit", "integer"},
        {NEAP_VERB_LIST, "continue", "string"},
        {NEAP_VERB_LIST, "watch", "boolean"},
        {NEAP_VERB_LIST, "allowWatchBookmarks", "boolean"},
        {NEAP_VERB_LIST, "sendInitialEvents", "boolean"},
        {NEAP_VERB_LIST, "resourceVersion", "string"},
        {NEAP_VERB_LIST, "resourceVersionMatch", "string"},
        {NEAP_VERB_LIST, "timeoutSeconds", "integer"},
        {NEAP_VERB_DELETE | NEAP_VERB_DELETECOLLECTION, "gracePeriodSeconds", "integer"},
        {NEAP_VERB_DELETE | NEAP_VERB_DELETECOLLECTION, "propagationPolicy", "string"},
        {NEAP_VERB_CREATE | NEAP_VERB_UPDATE | NEAP_VERB_PATCH | NEAP_VERB_DELETE, "dryRun",
         "string"},
        {NEAP_VERB_CREATE | NEAP_VERB_UPDATE | NEAP_VERB_PATCH, "fieldManager", "string"},
        {NEAP_VERB_CREATE | NEAP_VERB_UPDATE | NEAP_VERB_PATCH, "fieldValidation", "string"},
        {~0u, "pretty", "string"},
    };
    bool first = true;
    neap_buf_str(w->out, ",\"parameters\":[");
    if (w->version == 2 && o->body) {
        body_parameter(w, o, schema);
        first = false;
    }
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (rows[i].verbs & o->bit)
            parameter(w->out, w->version, rows[i].name, "query", rows[i].type, &first);
    neap_buf_char(w->out, ']');
}

static const char *const patch_types[] = {
    "application/json-patch+json", "application/merge-patch+json",
    "application/strategic-merge-patch+json", "application/apply-patch+yaml"};

static void media(struct openapi_writer *w, const char *type, const char *schema)
{
    neap_buf_printf(w->out, "\"%s\":{\"schema\":{", type);
    openapi_ref(w, schema);
    neap_buf_str(w->out, "}}");
}

static void body(struct openapi_writer *w, const struct operation *o, const char *schema)
{
    bool patch = o->bit == NEAP_VERB_PATCH;
    if (w->version == 2) {
        neap_buf_str(w->out, ",\"consumes\":[");
        for (size_t i = 0; patch && i < NEAP_ARRAY_LEN(patch_types); i++)
            neap_buf_printf(w->out, "%s\"%s\"", i ? "," : "", patch_types[i]);
        neap_buf_str(w->out, patch ? "]" : "\"*/*\"]");
        return;
    }
    if (!o->body)
        return;
    neap_buf_str(w->out, ",\"requestBody\":{\"required\":true,\"content\":{");
    for (size_t i = 0; patch && i < NEAP_ARRAY_LEN(patch_types); i++)
        neap_buf_printf(w->out, "%s\"%s\":{\"schema\":{\"type\":\"object\"}}", i ? "," : "",
                        patch_types[i]);
    if (!patch)
        media(w, "*/*", schema);
    neap_buf_str(w->out, "}}");
}

static void response(struct openapi_writer *w, const struct operation *o, const char *schema)
{
    const char *code = o->bit == NEAP_VERB_CREATE ? "201" : "200";
    neap_buf_printf(w->out, ",\"responses\":{\"%s\":{\"description\":\"OK\",", code);
    if (w->version == 3) {
        neap_buf_str(w->out, "\"content\":{");
        media(w, "application/json", schema);
        neap_buf_char(w->out, '}');
    } else {
        neap_buf_str(w->out, "\"schema\":{");
        openapi_ref(w, schema);
        neap_buf_char(w->out, '}');
    }
    neap_buf_str(w->out, "},\"401\":{\"description\":\"Unauthorized\"}}");
}

static void operation(struct openapi_writer *w, const struct neap_kind *k,
                      const struct operation *o, const char *group, const char *version,
                      const char *kind, const char *schema, const char *what, bool *first)
{
    neap_buf_printf(w->out,
                    "%s\"%s\":{\"operationId\":\"%s%s%s%s\",\"x-kubernetes-action\":\"%s\","
                    "\"x-kubernetes-group-version-kind\":{\"group\":\"%s\",\"version\":\"%s\","
                    "\"kind\":\"%s\"}",
                    *first ? "" : ",", o->method, o->action, k->version, k->kind, what, o->action,
                    group, version, kind);
    *first = false;
    parameters(w, o, schema);
    body(w, o, schema);
    response(w, o, schema);
    neap_buf_char(w->out, '}');
}

static void open_path(struct openapi_writer *w, const struct neap_kind *k, bool ns, bool name,
                      const char *sub, bool *first)
{
    bool none = true;
    neap_buf_printf(w->out, "%s\"/%s%s%s/%s/%s%s%s%s%s\":{\"parameters\":[", *first ? "" : ",",
                    *k->group ? "apis" : "api", *k->group ? "/" : "", k->group, k->version,
                    ns ? "namespaces/{namespace}/" : "", k->resource, name ? "/{name}" : "",
                    sub ? "/" : "", sub ? sub : "");
    *first = false;
    if (name)
        parameter(w->out, w->version, "name", "path", "string", &none);
    if (ns)
        parameter(w->out, w->version, "namespace", "path", "string", &none);
    neap_buf_char(w->out, ']');
}

static const struct operation collection[] = {
    {"get", "list", NEAP_VERB_LIST, false},
    {"post", "post", NEAP_VERB_CREATE, true},
    {"delete", "deletecollection", NEAP_VERB_DELETECOLLECTION, false},
};
static const struct operation item[] = {
    {"get", "get", NEAP_VERB_GET, false},      {"put", "put", NEAP_VERB_UPDATE, true},
    {"patch", "patch", NEAP_VERB_PATCH, true}, {"delete", "delete", NEAP_VERB_DELETE, false},
    {"post", "post", NEAP_VERB_CREATE, true},
};

static void collection_path(struct openapi_writer *w, const struct neap_kind *k, bool ns,
                            bool *first)
{
    char list[256];
    bool none = false;
    openapi_list_name(k, list);
    open_path(w, k, ns, false, NULL, first);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(collection); i++) {
        bool lists = collection[i].bit == NEAP_VERB_LIST;
        if ((k->verbs & collection[i].bit) && (ns || lists || !k->namespaced))
            operation(w, k, &collection[i], k->group, k->version, k->kind,
                      lists ? list : k->type->name, ns || !k->namespaced ? "" : "ForAllNamespaces",
                      &none);
    }
    neap_buf_char(w->out, '}');
}

static void subresource_path(struct openapi_writer *w, const struct neap_kind *k,
                             const struct neap_subresource *s, bool *first)
{
    bool none = false;
    const struct neap_type *type = s->type ? s->type : k->type;
    const char *group = s->body_version ? (s->body_group ? s->body_group : "") : k->group;
    openapi_need(w, type);
    open_path(w, k, k->namespaced, true, s->name, first);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(item); i++)
        if (s->verbs & item[i].bit)
            operation(w, k, &item[i], group, s->body_version ? s->body_version : k->version,
                      s->kind, type->name, s->name, &none);
    neap_buf_char(w->out, '}');
}

void openapi_paths(struct openapi_writer *w, const struct neap_kind *k, bool *first)
{
    bool none = false;
    openapi_need(w, k->type);
    collection_path(w, k, k->namespaced, first);
    if (k->namespaced && (k->verbs & NEAP_VERB_LIST))
        collection_path(w, k, false, first);
    if (k->verbs & NEAP_VERB_GET) {
        open_path(w, k, k->namespaced, true, NULL, first);
        for (size_t i = 0; i + 1 < NEAP_ARRAY_LEN(item); i++)
            if (k->verbs & item[i].bit)
                operation(w, k, &item[i], k->group, k->version, k->kind, k->type->name, "", &none);
        neap_buf_char(w->out, '}');
    }
    for (unsigned i = 0; i < k->subresource_count; i++)
        subresource_path(w, k, &k->subresources[i], first);
}
