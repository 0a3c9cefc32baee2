/* Discovery: /api, /apis, a group, a group-version; plain and aggregated.
 * Source: Kubernetes API concepts, "API discovery". */
#include "internal.h"

/* What clients try first when a name is in two groups. */
static const char *const group_order[] = {"",
                                          "apps",
                                          "events.k8s.io",
                                          "authentication.k8s.io",
                                          "authorization.k8s.io",
                                          "autoscaling",
                                          "batch",
                                          "certificates.k8s.io",
                                          "networking.k8s.io",
                                          "policy",
                                          "rbac.authorization.k8s.io",
                                          "storage.k8s.io",
                                          "admissionregistration.k8s.io",
                                          "scheduling.k8s.io",
                                          "coordination.k8s.io",
                                          "node.k8s.io",
                                          "discovery.k8s.io",
                                          "resource.k8s.io",
                                          "flowcontrol.apiserver.k8s.io",
                                          "storagemigration.k8s.io"};

static bool served(const struct neap_kind *k)
{
    return k->verbs != 0 || k->virtual_kind;
}

/* Versions of a group, the preferred first. */
static unsigned versions(const char *group, const char *out[8])
{
    unsigned n = 0;
    for (unsigned i = 0; i < neap_kind_count; i++) {
        const struct neap_kind *k = neap_kinds[i];
        if (strcmp(k->group, group) != 0 || !served(k) || strpbrk(k->version + 1, "ab"))
            continue;
        bool seen = false;
        for (unsigned j = 0; j < n; j++)
            seen = seen || strcmp(out[j], k->version) == 0;
        if (!seen && n < 8)
            out[n++] = k->version;
    }
    for (unsigned i = 0; i < n / 2; i++) { /* the tables are sorted: v1, v2; v2 comes first */
        const char *t = out[i];
        out[i] = out[n - 1 - i];
        out[n - 1 - i] = t;
    }
    return n;
}

static void verb_list(struct neap_buf *out, unsigned verbs)
{
    static const struct {
        unsigned bit;
        const char *name;
    } rows[] = {{NEAP_VERB_CREATE, "create"},
                {NEAP_VERB_DELETE, "delete"},
                {NEAP_VERB_DELETECOLLECTION, "deletecollection"},
                {NEAP_VERB_GET, "get"},
                {NEAP_VERB_LIST, "list"},
                {NEAP_VERB_PATCH, "patch"},
                {NEAP_VERB_UPDATE, "update"},
                {NEAP_VERB_WATCH, "watch"}};
    bool first = true;
    neap_buf_str(out, "\"verbs\":[");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        if (!(verbs & rows[i].bit))
            continue;
        neap_buf_printf(out, "%s\"%s\"", first ? "" : ",", rows[i].name);
        first = false;
    }
    neap_buf_char(out, ']');
}

static void strings(struct neap_buf *out, const char *name, const char *const *list)
{
    if (!list)
        return;
    neap_buf_printf(out, ",\"%s\":[", name);
    for (unsigned i = 0; list[i]; i++)
        neap_buf_printf(out, "%s\"%s\"", i ? "," : "", list[i]);
    neap_buf_char(out, ']');
}

/* ---- the plain form ---- */

static void resource(struct neap_buf *out, const struct neap_kind *k)
{
    neap_buf_printf(out,
                    "{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\",",
                    k->resource, k->singular, k->namespaced ? "true" : "false", k->kind);
    verb_list(out, k->verbs);
    strings(out, "shortNames", k->short_names);
    strings(out, "categories", k->categories);
    neap_buf_char(out, '}');
}

static void subresource(struct neap_buf *out, const struct neap_kind *k,
                        const struct neap_subresource *s)
{
    neap_buf_printf(out, ",{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":%s,",
                    k->resource, s->name, k->namespaced ? "true" : "false");
    if (s->body_version)
        neap_buf_printf(out, "\"group\":\"%s\",\"version\":\"%s\",",
                        s->body_group ? s->body_group : "", s->body_version);
    neap_buf_printf(out, "\"kind\":\"%s\",", s->kind);
    verb_list(out, s->verbs);
    neap_buf_char(out, '}');
}

static bool group_version(struct neap_call *c, const char *group, const char *version)
{
    struct neap_buf *out = &c->reply_buf;
    bool any = false;
    neap_buf_printf(
        out,
        "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"%s%s%s\","
        "\"resources\":[",
        group, *group ? "/" : "", version);
    for (unsigned i = 0; i < neap_kind_count; i++) {
        const struct neap_kind *k = neap_kinds[i];
        if (strcmp(k->group, group) || strcmp(k->version, version) || !served(k))
            continue;
        if (any)
            neap_buf_char(out, ',');
        any = true;
        resource(out, k);
        for (unsigned s = 0; s < k->subresource_count; s++)
            subresource(out, k, &k->subresources[s]);
    }
    neap_buf_str(out, "]}");
    if (any)
        rest_reply_json(c, 200);
    else
        neap_buf_reset(out);
    return any;
}

static bool group(struct neap_buf *out, const char *name, bool alone)
{
    const char *list[8];
    unsigned n = versions(name, list);
    if (!n)
        return false;
    neap_buf_char(out, '{');
    if (alone)
        neap_buf_str(out, "\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
    neap_buf_printf(out, "\"name\":\"%s\",\"versions\":[", name);
    for (unsigned i = 0; i < n; i++)
        neap_buf_printf(out, "%s{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}", i ? "," : "",
                        name, list[i], list[i]);
    neap_buf_printf(out, "],\"preferredVersion\":{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}}",
                    name, list[0], list[0]);
    return true;
}

static void group_list(struct neap_call *c)
{
    struct neap_buf *out = &c->reply_buf;
    bool first = true;
    neap_buf_str(out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
    for (size_t i = 1; i < NEAP_ARRAY_LEN(group_order); i++) {
        if (!first)
            neap_buf_char(out, ',');
        if (group(out, group_order[i], false))
            first = false;
        else if (!first)
            out->len--;
    }
    neap_buf_str(out, "]}");
    rest_reply_json(c, 200);
}

static void api_versions(struct neap_call *c)
{
    neap_buf_str(&c->reply_buf, "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],"
                                "\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\","
                                "\"serverAddress\":\"\"}]}");
    rest_reply_json(c, 200);
}

/* ---- the aggregated form: apidiscovery.k8s.io/v2 ---- */

static void response_kind(struct neap_buf *out, const struct neap_kind *k,
                          const struct neap_subresource *s)
{
    const char *g = k->group, *v = k->version;
    if (s && s->body_version) {
        g = s->body_group ? s->body_group : "";
        v = s->body_version;
    }
    neap_buf_printf(out, "\"responseKind\":{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}",
                    g, v, s ? s->kind : k->kind);
}

static void aggregated_resource(struct neap_buf *out, const struct neap_kind *k)
{
    neap_buf_printf(out, "{\"resource\":\"%s\",", k->resource);
    response_kind(out, k, NULL);
    neap_buf_printf(out, ",\"scope\":\"%s\",\"singularResource\":\"%s\",",
                    k->namespaced ? "Namespaced" : "Cluster", k->singular);
    verb_list(out, k->verbs);
    strings(out, "shortNames", k->short_names);
    strings(out, "categories", k->categories);
    for (unsigned i = 0; i < k->subresource_count; i++) {
        const struct neap_subresource *s = &k->subresources[i];
        neap_buf_printf(out, "%s{\"subresource\":\"%s\",", i ? "," : ",\"subresources\":[",
                        s->name);
        response_kind(out, k, s);
        neap_buf_char(out, ',');
        verb_list(out, s->verbs);
        neap_buf_char(out, '}');
    }
    neap_buf_str(out, k->subresource_count ? "]}" : "}");
}

static void aggregated_group(struct neap_buf *out, const char *name)
{
    const char *list[8];
    unsigned n = versions(name, list);
    neap_buf_str(out, "{\"metadata\":{");
    if (*name)
        neap_buf_printf(out, "\"name\":\"%s\",", name);
    neap_buf_str(out, "\"creationTimestamp\":null},\"versions\":[");
    for (unsigned v = 0; v < n; v++) {
        bool first = true;
        neap_buf_printf(out, "%s{\"version\":\"%s\",\"resources\":[", v ? "," : "", list[v]);
        for (unsigned i = 0; i < neap_kind_count; i++) {
            const struct neap_kind *k = neap_kinds[i];
            if (strcmp(k->group, name) || strcmp(k->version, list[v]) || !served(k))
                continue;
            if (!first)
                neap_buf_char(out, ',');
            first = false;
            aggregated_resource(out, k);
        }
        neap_buf_str(out, "],\"freshness\":\"Current\"}");
    }
    neap_buf_str(out, "]}");
}

/* "v2", "v2beta1": asked for before plain JSON; NULL: plain. */
static const char *aggregated_version(struct neap_call *c)
{
    struct rest_call *rc = rest_call_of(c);
    rc->accept_count = neap_wire_accept_parse(c->arena, c->accept, &rc->accepts);
    for (unsigned i = 0; i < rc->accept_count; i++) {
        const struct neap_accept *a = &rc->accepts[i];
        if (a->media != NEAP_MEDIA_JSON && a->media != NEAP_MEDIA_YAML)
            continue;
        if (!a->as) {
            rc->accept = a;
            return NULL;
        }
        if (neap_streq(a->as, "APIGroupDiscoveryList") && neap_streq(a->g, "apidiscovery.k8s.io") &&
            (neap_streq(a->v, "v2") || neap_streq(a->v, "v2beta1")))
            return a->v;
    }
    return NULL;
}

static void aggregated(struct neap_call *c, const char *version, bool core)
{
    struct neap_buf *out = &c->reply_buf;
    neap_buf_printf(out,
                    "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/%s\","
                    "\"metadata\":{},\"items\":[",
                    version);
    for (size_t i = core ? 0 : 1; i < (core ? 1 : NEAP_ARRAY_LEN(group_order)); i++) {
        if (i > 1)
            neap_buf_char(out, ',');
        aggregated_group(out, group_order[i]);
    }
    neap_buf_str(out, "]}\n");
    c->status = 200;
    c->reply_type = neap_arena_printf(
        c->arena, "application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList", version);
    rest_finish(c);
}

/* ---- paths ---- */

static bool split(const char *path, char name[128], char version[64])
{
    const char *slash = strchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : strlen(path);
    if (n == 0 || n >= 128)
        return false;
    memcpy(name, path, n);
    name[n] = '\0';
    version[0] = '\0';
    if (!slash)
        return true;
    n = strlen(slash + 1);
    if (n && slash[n] == '/')
        n--;
    if (n >= 64 || memchr(slash + 1, '/', n))
        return false;
    memcpy(version, slash + 1, n);
    version[n] = '\0';
    return true;
}

static bool apis_path(struct neap_call *c, const char *path)
{
    char name[128], version[64];
    if (!split(path, name, version) || strcmp(name, "internal.neap.dev") == 0)
        return false;
    if (*version)
        return group_version(c, name, version);
    if (!group(&c->reply_buf, name, true))
        return false;
    rest_reply_json(c, 200);
    return true;
}

bool rest_discovery(struct neap_call *c)
{
    const char *p = c->path;
    bool core = strcmp(p, "/api") == 0 || strcmp(p, "/api/") == 0;
    bool all = strcmp(p, "/apis") == 0 || strcmp(p, "/apis/") == 0;
    if (!core && !all && !neap_startswith(p, "/api/") && !neap_startswith(p, "/apis/"))
        return false;
    if (strcmp(c->method, "GET") != 0 && strcmp(c->method, "HEAD") != 0) {
        rest_not_allowed(c);
        return true;
    }
    const char *version = aggregated_version(c);
    if ((core || all) && version)
        aggregated(c, version, core);
    else if (core)
        api_versions(c);
    else if (all)
        group_list(c);
    else if (strcmp(p, "/api/v1") == 0 || strcmp(p, "/api/v1/") == 0)
        group_version(c, "", "v1");
    else
        return neap_startswith(p, "/apis/") && apis_path(c, p + 6);
    return true;
}
