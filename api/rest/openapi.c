/* /openapi/v3, its documents by group-version, and /openapi/v2 as JSON and protobuf. Made on first use, then kept.
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

static char *document_json(struct neap_rest *r, int version, const char *path)
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

/* A document as it is sent. */
struct document {
    char hash[20];
    size_t len;
    char data[];
};

static struct document *keep(struct neap_rest *r, const char *key, const char *data, size_t len)
{
    struct document *d = neap_malloc(sizeof(*d) + len + 1);
    d->len = len;
    memcpy(d->data, data, len);
    d->data[len] = '\0';
    snprintf(d->hash, sizeof(d->hash), "%016llX", (unsigned long long)neap_hash(data, len));
    neap_map_set(&r->openapi, key, d);
    return d;
}

/* The kept document; NULL: no such group-version. */
static const struct document *kept(struct neap_rest *r, int version, const char *path)
{
    const char *key = path ? path : "v2";
    struct document *doc = neap_map_get(&r->openapi, key);
    bool any = path == NULL;
    for (unsigned i = 0; !any && i < neap_kind_count; i++)
        any = belongs(neap_kinds[i], path);
    if (doc || !any)
        return doc;
    char *text = document_json(r, version, path);
    doc = keep(r, key, text, strlen(text));
    free(text);
    return doc;
}

/* Version 2 as protobuf; NULL: <err> is set. */
static const struct document *kept_protobuf(struct neap_rest *r, struct neap_err *err)
{
    static const char key[] = "v2 protobuf";
    struct document *doc = neap_map_get(&r->openapi, key);
    if (doc)
        return doc;
    NEAP_CLEANUP_BUF struct neap_buf out = NEAP_BUF_INIT;
    char *text = document_json(r, 2, NULL);
    int rc = openapi_protobuf(&out, text, strlen(text), err);
    free(text);
    return rc ? NULL : keep(r, key, out.data, out.len);
}

static void index_v3(struct neap_call *c)
{
    struct neap_buf *out = &c->reply_buf;
    char last[160] = "", path[160];
    bool first = true;
    neap_buf_str(out, "{\"paths\":{");
    for (unsigned i = 0; i < neap_kind_count; i++) {
        if (!served(neap_kinds[i]))
            continue;
        gv_path(neap_kinds[i], path);
        if (strcmp(path, last) == 0)
            continue;
        strcpy(last, path);
        neap_buf_printf(out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}",
                        first ? "" : ",", path, path, kept(rest_of(c), 3, path)->hash);
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

static void answer(struct neap_call *c, const struct document *doc, const char *type)
{
    struct neap_header *h = neap_arena_calloc(c->arena, 3 * sizeof(*h));
    const char *asked = header(c, "if-none-match");
    if (h) {
        h[0] = (struct neap_header){"etag", neap_arena_printf(c->arena, "\"%s\"", doc->hash)};
        h[1] = (struct neap_header){"vary", "Accept"};
        c->reply_headers = h;
    }
    c->reply_type = type;
    c->status = asked && strstr(asked, doc->hash) ? 304 : 200;
    c->reply = c->status == 304 ? "" : doc->data;
    c->reply_len = c->status == 304 ? 0 : doc->len;
    rest_finish(c);
}

/* The first of the forms that is served, in the order of Accept: JSON or protobuf of version 2. */
static void version_2(struct neap_call *c)
{
    struct neap_accept *accepts;
    unsigned n = neap_wire_accept_parse(c->arena, c->accept, &accepts);
    for (unsigned i = 0; i < n; i++) {
        if (accepts[i].media == NEAP_MEDIA_JSON) {
            answer(c, kept(rest_of(c), 2, NULL), "application/json");
            return;
        }
        if (accepts[i].media != NEAP_MEDIA_OPENAPI_V2)
            continue;
        const struct document *doc = kept_protobuf(rest_of(c), &c->err);
        if (doc)
            answer(c, doc, NEAP_OPENAPI_V2_MEDIA_TYPE);
        else
            rest_fail(c);
        return;
    }
    neap_err_set(&c->err, NEAP_ENOTACCEPTABLE,
                 "only the following media types are accepted: "
                 "application/json, " NEAP_OPENAPI_V2_MEDIA_TYPE);
    rest_fail(c);
}

bool rest_openapi(struct neap_call *c)
{
    const char *p = c->path;
    bool index = strcmp(p, "/openapi/v3") == 0 || strcmp(p, "/openapi/v3/") == 0;
    if (strcmp(p, "/openapi/v2") == 0) {
        version_2(c);
        return true;
    }
    if (!index && !neap_startswith(p, "/openapi/v3/"))
        return false;
    if (rest_negotiate(c, false, &c->err)) {
        rest_fail(c);
        return true;
    }
    if (index) {
        index_v3(c);
        return true;
    }
    const struct document *doc = kept(rest_of(c), 3, p + 12);
    if (!doc)
        return false;
    answer(c, doc, "application/json");
    return true;
}
