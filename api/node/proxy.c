/* Which agent, and the connection to it. */
#include "internal.h"

struct node_conn {
    char *address;
    struct neap_tls *tls;
    struct neap_http_client *http;
};

struct neap_node_dialer {
    struct neap_node_dialer_options options;
    struct neap_map conns; /* node name -> struct node_conn */
};

struct neap_node_dialer *neap_node_dialer_new(const struct neap_node_dialer_options *o)
{
    struct neap_node_dialer *d = neap_calloc(1, sizeof(*d));
    d->options = *o;
    return d;
}

static void conn_free(void *p)
{
    struct node_conn *x = p;
    if (!x)
        return;
    if (x->http)
        neap_http_client_close(x->http);
    neap_tls_free(x->tls);
    free(x->address);
    free(x);
}

struct neap_node_dialer *neap_node_dialer_free(struct neap_node_dialer *d)
{
    if (d)
        neap_map_done(&d->conns, conn_free);
    free(d);
    return NULL;
}

static struct neap_tls_config tls_of(const struct neap_node_dialer *d, const char *name)
{
    return (struct neap_tls_config){.cert_pem = d->options.cert_pem,
                                    .key_pem = d->options.key_pem,
                                    .ca_pem = d->options.ca_pem,
                                    .server_name = name};
}

void neap_node_dialer_renew(struct neap_node_dialer *d, const char *cert_pem, const char *key_pem)
{
    size_t it = 0;
    const char *name;
    void *value;
    d->options.cert_pem = cert_pem;
    d->options.key_pem = key_pem;
    while (neap_map_next(&d->conns, &it, &name, &value)) {
        struct node_conn *x = value;
        struct neap_tls_config tls = tls_of(d, name);
        struct neap_err err = NEAP_ERR_INIT;
        if (neap_tls_reload(x->tls, &tls, &err))
            NEAP_WARN("node", "the connection to an agent keeps its certificate", "node=%s err=%s",
                      name, neap_log_quote(err.message));
        neap_err_done(&err);
    }
}

/* "10.0.0.1:10250" of Node.status; owned, NULL: it has none. */
static char *agent_address(struct neap_object *node)
{
    yyjson_doc *doc = neap_object_parse(node, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc), *a;
    size_t i, n;
    const char *ip = NULL;
    int64_t port =
        yyjson_get_sint(neap_json_val_at(root, "status.daemonEndpoints.kubeletEndpoint.Port"));
    yyjson_arr_foreach(neap_json_val_at(root, "status.addresses"), i, n, a)
    {
        if (!ip && yyjson_equals_str(yyjson_obj_get(a, "type"), "InternalIP"))
            ip = yyjson_get_str(yyjson_obj_get(a, "address"));
    }
    char *out =
        ip && port > 0 ? neap_asprintf(strchr(ip, ':') ? "[%s]:%d" : "%s:%d", ip, (int)port) : NULL;
    yyjson_doc_free(doc);
    return out;
}

static int connect_to(struct neap_node_dialer *d, const char *name, const char *address,
                      struct neap_http_client **ret, struct neap_err *err)
{
    struct node_conn *x = neap_map_get(&d->conns, name);
    if (x && strcmp(x->address, address) == 0) {
        *ret = x->http;
        return 0;
    }
    conn_free(neap_map_del(&d->conns, name)); /* the agent moved */
    x = neap_calloc(1, sizeof(*x));
    x->address = neap_strdup(address);
    const char *addresses[] = {x->address, NULL};
    struct neap_tls_config tls = tls_of(d, name);
    int rc = neap_tls_new(&tls, false, &x->tls, err);
    if (rc) {
        conn_free(x);
        return rc;
    }
    struct neap_http_client_options o = {.loop = d->options.loop,
                                         .tls = x->tls,
                                         .addresses = addresses,
                                         .user_agent = "neap",
                                         .netns = d->options.netns};
    x->http = neap_http_client_new(&o);
    neap_map_set(&d->conns, name, x);
    *ret = x->http;
    return 0;
}

static int open_agent(struct neap_node_dialer *d, const char *name, struct neap_http_client **ret,
                      struct neap_err *err)
{
    struct neap_snapshot *s = neap_snapshot_pin(d->options.registry);
    struct neap_object *node =
        neap_snapshot_get(s, neap_kind_by_resource("", "v1", "nodes"), NULL, name);
    char *address = node ? agent_address(node) : NULL;
    neap_snapshot_unpin(s);
    int rc;
    if (!node)
        rc = neap_err_set(err, NEAP_ENOTFOUND, "nodes \"%s\" not found", name);
    else if (!address)
        rc = neap_err_set(err, NEAP_EINTERNAL, "node %s tells no address of its agent", name);
    else
        rc = connect_to(d, name, address, ret, err);
    free(address);
    return rc;
}

void node_refused(struct neap_call *c, int status, const char *body, size_t len,
                  const struct neap_err *err)
{
    if (err || !status)
        neap_err_set(&c->err, NEAP_EINTERNAL, "error dialing backend: %s",
                     err && err->message ? err->message : "no answer");
    else
        neap_err_set(&c->err,
                     status == 404   ? NEAP_ENOTFOUND
                     : status == 400 ? NEAP_EBADREQUEST
                                     : NEAP_EINTERNAL,
                     "%.*s", (int)(len < 1000 ? len : 1000), body ? body : "");
}

/* ".../proxy" is a place whose relative links would miss: to ".../proxy/" first. */
static bool redirected(struct neap_call *c)
{
    size_t n = strlen(c->path);
    struct neap_header *h = neap_arena_calloc(c->arena, 2 * sizeof(*h));
    bool reads = strcmp(c->method, "GET") == 0 || strcmp(c->method, "HEAD") == 0;
    if (!reads || c->subpath || !n || c->path[n - 1] == '/' || !h)
        return false;
    h[0] = (struct neap_header){"location",
                                neap_arena_printf(c->arena, "%s/%s%s", c->path, c->query ? "?" : "",
                                                  c->query ? c->query : "")};
    c->reply_headers = h;
    c->reply_type = "text/plain; charset=utf-8";
    c->reply = "";
    c->status = 301;
    neap_rest_finish(c);
    return true;
}

static void proxy_http(struct neap_node_dialer *d, struct neap_call *c, struct neap_object *o)
{
    if (redirected(c)) {
        neap_object_unref(o);
        return;
    }
    char ip[64];
    int port;
    int rc = node_target(c, o, c->proxy_port, ip, &port);
    neap_object_unref(o);
    if (rc)
        neap_rest_fail(c);
    else
        node_http(d->options.loop, d->options.netns, c, ip, port);
}

void neap_node_dialer_handle(void *arg, struct neap_call *c, struct neap_object *pod)
{
    struct neap_node_dialer *d = arg;
    if (strcmp(c->subresource, "proxy") == 0 && strcmp(c->resource, "nodes") != 0) {
        proxy_http(d, c, pod);
        return;
    }
    struct neap_http_client *http = NULL;
    const char *path, *node;
    yyjson_doc *doc = neap_object_parse(pod, NULL);
    int rc = node_path(c, yyjson_doc_get_root(doc), &path, &node);
    if (!rc && node)
        rc = open_agent(d, node, &http, &c->err);
    yyjson_doc_free(doc);
    neap_object_unref(pod);
    if (!rc && !node) { /* no node yet: there is no log, which is no error */
        c->status = 204;
        neap_rest_finish(c);
        return;
    }
    if (rc)
        neap_rest_fail(c);
    else if (strcmp(c->subresource, "log") == 0)
        node_logs(http, c, path);
    else
        node_stream(http, c, path);
}
