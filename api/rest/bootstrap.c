/* What a new cluster has, and the repair of what is missing later: namespaces, roles, priority classes, the
 * Service default/kubernetes with its endpoints. */
#include "internal.h"
#include <neap/ip.h>

extern const char *const rest_bootstrap_objects[];

struct bootstrap {
    struct neap_rest *rest;
    struct neap_client *client;
    struct neap_identity *identity;
    char ip[46], service_ip[46];
    unsigned port;
    size_t left; /* requests under way, and one for the phase itself */
    unsigned phase;
    struct neap_err err;
    void (*done)(void *arg, const struct neap_err *err);
    void *arg;
};

struct step {
    struct neap_request request;
    struct bootstrap *b;
    char *body, *name, *namespace_;
};

static void next_phase(struct bootstrap *b);

static void release(struct bootstrap *b)
{
    if (--b->left == 0)
        next_phase(b);
}

static void step_done(struct neap_request *r, const struct neap_reply *reply)
{
    struct step *s = r->data;
    struct bootstrap *b = s->b;
    if (reply->code && reply->code != NEAP_EALREADYEXISTS && !b->err.code)
        neap_err_set(&b->err, reply->code, "bootstrap of %s %s: %s", r->kind->kind, s->name,
                     reply->err && reply->err->message ? reply->err->message : "failed");
    free(s->body);
    free(s->name);
    free(s->namespace_);
    free(s);
    release(b);
}

static void request_object(struct bootstrap *b, enum neap_verb verb, const struct neap_kind *kind,
                           const char *ns, const char *name, const char *body)
{
    struct step *s = neap_calloc(1, sizeof(*s));
    s->b = b;
    s->body = neap_strdup(body);
    s->name = neap_strdup(name);
    s->namespace_ = ns ? neap_strdup(ns) : NULL;
    neap_request_init(&s->request);
    s->request.verb = verb;
    s->request.kind = kind;
    s->request.namespace_ = s->namespace_;
    s->request.name = verb == NEAP_CREATE ? NULL : s->name;
    s->request.body = s->body;
    s->request.body_len = strlen(s->body);
    s->request.loop = b->rest->options.loop;
    s->request.done = step_done;
    s->request.data = s;
    b->left++;
    b->client->request(b->client, &s->request);
}

/* The rules that a role of ours must have and has not (a new version of neap, or a hand that took them away). */
static bool lacks_rules(yyjson_val *want, const struct neap_object *have)
{
    yyjson_doc *doc = neap_object_parse(have, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc), *rule, *rules = yyjson_obj_get(root, "rules");
    yyjson_val *update = yyjson_obj_get(neap_json_val_at(root, "metadata.annotations"),
                                        "rbac.authorization.kubernetes.io/autoupdate");
    bool off = yyjson_equals_str(update, "false"), lacking = false;
    size_t i, n;
    yyjson_arr_foreach(yyjson_obj_get(want, "rules"), i, n, rule)
    {
        size_t j, m;
        yyjson_val *other;
        bool found = false;
        yyjson_arr_foreach(rules, j, m, other)
        {
            found = found || yyjson_equals(rule, other);
        }
        lacking = lacking || !found;
    }
    yyjson_doc_free(doc);
    return lacking && !off;
}

/* One object of the list: made when absent; a role's missing rules are added. */
static void ensure(struct bootstrap *b, struct neap_snapshot *s, const char *json)
{
    yyjson_doc *doc = yyjson_read(json, strlen(json), 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *version = yyjson_get_str(yyjson_obj_get(root, "apiVersion"));
    const char *slash = version ? strchr(version, '/') : NULL;
    char group[96];
    snprintf(group, sizeof(group), "%.*s", slash ? (int)(slash - version) : 0,
             version ? version : "");
    const struct neap_kind *k = neap_kind_by_gvk(group,
                                                 slash     ? slash + 1
                                                 : version ? version
                                                           : "",
                                                 yyjson_get_str(yyjson_obj_get(root, "kind")));
    const char *name = neap_json_val_str_at(root, "metadata.name");
    const char *ns = neap_json_val_str_at(root, "metadata.namespace");
    struct neap_object *o = k && name ? neap_snapshot_get(s, k, ns, name) : NULL;
    if (k && name && !o)
        request_object(b, NEAP_CREATE, k, ns, name, json);
    else if (o && yyjson_obj_get(root, "rules") && lacks_rules(root, o))
        request_object(b, NEAP_UPDATE, k, ns, name, json);
    yyjson_doc_free(doc);
}

static void ensure_namespaces(struct bootstrap *b, struct neap_snapshot *s)
{
    static const char *const names[] = {"default", "kube-system", "kube-public", "kube-node-lease"};
    char json[256];
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        snprintf(json, sizeof(json),
                 "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\"}}",
                 names[i]);
        ensure(b, s, json);
    }
}

/* default/kubernetes: pods find the API there. Its endpoints are this server, not a selector's pods. */
static void ensure_service(struct bootstrap *b, struct neap_snapshot *s)
{
    char json[1024];
    if (!b->service_ip[0])
        return;
    snprintf(json, sizeof(json),
             "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"kubernetes\","
             "\"namespace\":\"default\",\"labels\":{\"component\":\"apiserver\",\"provider\":"
             "\"kubernetes\"}},\"spec\":{\"ports\":[{\"name\":\"https\",\"port\":443,"
             "\"targetPort\":%u}],\"clusterIP\":\"%s\"}}",
             b->port ? b->port : 6443, b->service_ip);
    ensure(b, s, json);
}

/* The range that Services get their addresses from, as an object. */
static void ensure_service_cidr(struct bootstrap *b, struct neap_snapshot *s)
{
    NEAP_CLEANUP_BUF struct neap_buf json = NEAP_BUF_INIT;
    const char *cidrs = b->rest->options.service_cidr;
    if (!cidrs || !*cidrs)
        return;
    neap_buf_str(&json, "{\"kind\":\"ServiceCIDR\",\"apiVersion\":\"networking.k8s.io/v1\","
                        "\"metadata\":{\"name\":\"kubernetes\"},\"spec\":{\"cidrs\":[");
    for (const char *at = cidrs, *end; *at; at = *end ? end + 1 : end) {
        end = strchrnul(at, ',');
        if (at > cidrs)
            neap_buf_char(&json, ',');
        neap_buf_json_string(&json, at, (size_t)(end - at));
    }
    neap_buf_str(&json, "]}}");
    ensure(b, s, json.data);
}

/* Made or corrected: the address may differ from the last start's. */
static void write_endpoint(struct bootstrap *b, struct neap_snapshot *s, const char *group,
                           const char *resource, const char *json, const char *mark)
{
    const struct neap_kind *k = neap_kind_by_resource(group, "v1", resource);
    struct neap_object *o = neap_snapshot_get(s, k, "default", "kubernetes");
    size_t len;
    if (o && strstr(neap_object_json(o, &len), mark))
        return;
    request_object(b, o ? NEAP_UPDATE : NEAP_CREATE, k, "default", "kubernetes", json);
}

static void ensure_endpoints(struct bootstrap *b, struct neap_snapshot *s)
{
    char json[1024], mark[128];
    if (!b->ip[0])
        return;
    bool v6 = strchr(b->ip, ':') != NULL;
    snprintf(mark, sizeof(mark), "\"%s\"", b->ip);
    snprintf(json, sizeof(json),
             "{\"kind\":\"Endpoints\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"kubernetes\","
             "\"namespace\":\"default\",\"labels\":{\"endpointslice.kubernetes.io/skip-mirror\":"
             "\"true\"}},\"subsets\":[{\"addresses\":[{\"ip\":\"%s\"}],\"ports\":[{\"name\":"
             "\"https\",\"port\":%u}]}]}",
             b->ip, b->port);
    write_endpoint(b, s, "", "endpoints", json, mark);
    snprintf(json, sizeof(json),
             "{\"kind\":\"EndpointSlice\",\"apiVersion\":\"discovery.k8s.io/v1\",\"metadata\":{"
             "\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{"
             "\"kubernetes.io/service-name\":\"kubernetes\"}},\"addressType\":\"%s\","
             "\"endpoints\":[{\"addresses\":[\"%s\"],\"conditions\":{\"ready\":true}}],\"ports\":[{"
             "\"name\":\"https\",\"port\":%u,\"protocol\":\"TCP\"}]}",
             v6 ? "IPv6" : "IPv4", b->ip, b->port);
    write_endpoint(b, s, "discovery.k8s.io", "endpointslices", json, mark);
}

static void finish(struct bootstrap *b)
{
    void (*done)(void *, const struct neap_err *) = b->done;
    void *arg = b->arg;
    struct neap_err err = b->err;
    b->client->close(b->client);
    neap_identity_unref(b->identity);
    free(b);
    done(arg, err.code ? &err : NULL);
    neap_err_done(&err);
}

static void next_phase(struct bootstrap *b)
{
    struct neap_snapshot *s = neap_snapshot_pin(b->rest->options.registry);
    b->left = 1;
    if (b->err.code || b->phase == 2) {
        neap_snapshot_unpin(s);
        finish(b);
        return;
    }
    if (b->phase++ == 0) {
        ensure_namespaces(b, s);
        ensure_service_cidr(b, s);
        for (const char *const *o = rest_bootstrap_objects; *o; o++)
            if (strstr(*o, "\"namespace\":") == NULL)
                ensure(b, s, *o);
    } else { /* what lives in a namespace */
        for (const char *const *o = rest_bootstrap_objects; *o; o++)
            ensure(b, s, *o);
        ensure_service(b, s);
        ensure_endpoints(b, s);
    }
    neap_snapshot_unpin(s);
    release(b);
}

void neap_rest_bootstrap(struct neap_rest *r, const char *endpoint_ip, unsigned endpoint_port,
                         void (*done)(void *arg, const struct neap_err *err), void *arg)
{
    static const char *const groups[] = {"system:masters", "system:authenticated", NULL};
    struct bootstrap *b = neap_calloc(1, sizeof(*b));
    b->rest = r;
    b->identity = neap_identity_new("system:apiserver", NULL, groups, NULL);
    b->identity->authenticated = true;
    b->client = neap_rest_client(r, b->identity, r->options.loop);
    b->port = endpoint_port;
    b->done = done;
    b->arg = arg;
    snprintf(b->ip, sizeof(b->ip), "%s", endpoint_ip ? endpoint_ip : "");
    neap_cidr_text_at(r->options.service_cidr, 1, b->service_ip);
    next_phase(b);
}
