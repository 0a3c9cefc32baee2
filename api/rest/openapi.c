/* /openapi/v3, its documents by group-version, and /openapi/v2 as JSON. Made on first use, then kept.
 * Source: OpenAPI 3.0, Swagger 2.0; Kubernetes documentation, "The Kubernetes API: OpenAPI". */
#include "openapi.h"

static bool served(const struct neap_kind *k)
{
    return (k->verbs || k->virtual_kind) && strcmp(k->group, "internal.neap.dev") != 0;
}

static void gv_path(const struct neap_kind *k, char out[160])
{
    if (*k->group)
        snprintf(out, 160, "apis/%s/%s", k->group, k->version);
    else
        snprintf(out, 160, "api/%s", k->version);
}

static bool has_list(const struct neap_kind *k)
{
    return k->verbs & NEAP_VERB_LIST;
}

/* <path> NULL: all kinds. */
static bool belongs(const struct neap_kind *k, const char *path)
{
    char own[160];
    gv_path(k, own);
    return served(k) && (!path || strcmp(own, path) == 0);
}

static char *document(struct neap_rest *r, int version, const char *path)
{
    struct neap_buf out = NEAP_BUF_INIT;
    struct openapi_writer w = {.out = &out, .version = version};
    bool first = true;
    neap_buf_printf(
        &out, "{\"%s\":\"%s\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"%s\"},\"paths\":{",
        version == 3 ? "openapi" : "swagger", version == 3 ? "3.0.0" : "2.0", r->options.version);
    for (unsigned i = 0; i < neap_kind_count; i++)
        if (belongs(neap_kinds[i], path))
            openapi_paths(&w, neap_kinds[i], &first);
    neap_buf_str(&out, version == 3 ? "},\"components\":{\"schemas\":{" : "},\"definitions\":{");
    for (unsigned i = 0; i < neap_kind_count; i++)
        if (belongs(neap_kinds[i], path) && has_list(neap_kinds[i])) {
            openapi_list_schema(&w, neap_kinds[i]);
            neap_buf_char(&out, ',');
        }
    openapi_schemas(&w);
    neap_buf_str(&out, version == 3 ? "}}}" : "}}");
    return neap_buf_take(&out);
}

/* The kept document; NULL: no such group-version. */
static const char *kept(struct neap_rest *r, int version, const char *path)
{
    const char *key = path ? path : "v2";
    char *doc = neap_map_get(&r->openapi, key);
    bool any = path == NULL;
    for (unsigned i = 0; !any && i < neap_kind_count; i++)
        any = belongs(neap_kinds[i], path);
    if (doc || !any)
        return doc;
    doc = document(r, version, path);
    neap_map_set(&r->openapi, key, doc);
    return doc;
}

static void hash_of(const char *doc, char out[20])
{
    snprintf(out, 20, "%016llX", (unsigned long long)neap_hash(doc, strlen(doc)));
}

static void index_v3(struct neap_call *c)
{
    struct neap_buf *out = &c->reply_buf;
    char last[160] = "", path[160], hash[20];
    bool first = true;
    neap_buf_str(out, "{\"paths\":{");
    for (unsigned i = 0; i < neap_kind_count; i++) {
        if (!served(neap_kinds[i]))
            continue;
        gv_path(neap_kinds[i], path);
        if (strcmp(path, last) == 0)
            continue;
        strcpy(last, path);
        hash_of(kept(rest_of(c), 3, path), hash);
        neap_buf_printf(out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}",
                        first ? "" : ",", path, path, hash);
        first = false;
    }
    neap_buf_str(out, "}}");
    rest_reply_json(c, 200);
}

static const char *header(const struct neap_call *c, const char *name)
{
    for (const struct neap_header *h = c->headers; h && h->name; h++)
        if (strcmp(h->name, name) == 0)
            return h->value;
    return NULL;
}

static void answer(struct neap_call *c, const char *doc)
{
    char hash[20];
    struct neap_header *h = neap_arena_calloc(c->arena, 3 * sizeof(*h));
    const char *asked = header(c, "if-none-match");
    hash_of(doc, hash);
    if (h) {
        h[0] = (struct neap_header){"etag", neap_arena_printf(c->arena, "\"%s\"", hash)};
        h[1] = (struct neap_header){"vary", "Accept"};
        c->reply_headers = h;
    }
    c->reply_type = "application/json";
    c->status = 200;
    if (asked && strstr(asked, hash)) {
        c->status = 304;
        c->reply = "";
    } else {
        c->reply = doc;
        c->reply_len = strlen(doc);
    }
    rest_finish(c);
}

bool rest_openapi(struct neap_call *c)
{
    const char *p = c->path, *doc = NULL;
    bool index = strcmp(p, "/openapi/v3") == 0 || strcmp(p, "/openapi/v3/") == 0;
    bool v2 = strcmp(p, "/openapi/v2") == 0;
    if (!index && !v2 && !neap_startswith(p, "/openapi/v3/"))
        return false;
    if (rest_negotiate(c, false, &c->err)) {
        rest_fail(c);
        return true;
    }
    if (index) {
        index_v3(c);
        return true;
    }
    doc = v2 ? kept(rest_of(c), 2, NULL) : kept(rest_of(c), 3, p + 12);
    if (!doc)
        return false;
    answer(c, doc);
    return true;
}
