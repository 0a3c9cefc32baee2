/* Services to the proxy plugin: from Services and EndpointSlices (and the pods' host ports), all at once when something changed. */
#include "node_internal.h"

#include <netinet/in.h>

enum { PROXY_DELAY_MS = 20 };

static void sync_now(void *arg);

void proxy_changed(struct neap_node *n)
{
    if (n->services_ready && n->slices_ready && n->proxy_timer &&
        !neap_timer_active(n->proxy_timer))
        neap_timer_start(n->proxy_timer, PROXY_DELAY_MS, 0); /* a burst of changes is one update */
}

static void keep(struct neap_map *m, enum neap_event_type type, struct neap_object *o)
{
    const char *key = neap_object_key(o);
    struct neap_object *old =
        type == NEAP_DELETED ? neap_map_del(m, key) : neap_map_set(m, key, neap_object_ref(o));
    neap_object_unref(old);
}

static void on_service(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct neap_node *n = arg;
    keep(&n->services, type, o);
    proxy_changed(n);
}

static void on_slice(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct neap_node *n = arg;
    keep(&n->slices, type, o);
    proxy_changed(n);
}

static void failed(void *arg, const struct neap_err *err)
{
    (void)arg;
    NEAP_WARN("agent", "Services cannot be watched, trying again", "err=%s",
              neap_log_quote(err->message ? err->message : ""));
}

static void services_synced(void *arg, uint64_t revision)
{
    struct neap_node *n = arg;
    (void)revision;
    n->services_ready = true;
    proxy_changed(n);
}

static void slices_synced(void *arg, uint64_t revision)
{
    struct neap_node *n = arg;
    (void)revision;
    n->slices_ready = true;
    proxy_changed(n);
}

/* ---- one Service ---- */

void proxy_build_add(struct proxy_build *b, const struct neap_proxy_service *s)
{
    if (b->count == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        const struct neap_proxy_service **more = neap_arena_calloc(b->arena, cap * sizeof(*more));
        if (b->count)
            memcpy(more, b->list, b->count * sizeof(*more));
        b->list = more;
        b->cap = cap;
    }
    b->list[b->count++] = s;
}

static const char *str(yyjson_val *o, const char *name)
{
    const char *s = yyjson_get_str(yyjson_obj_get(o, name));
    return s ? s : "";
}

static uint8_t protocol(const char *s)
{
    return strcmp(s, "UDP") == 0    ? IPPROTO_UDP
           : strcmp(s, "SCTP") == 0 ? IPPROTO_SCTP
                                    : IPPROTO_TCP;
}

struct endpoints {
    struct neap_proxy_endpoint *list;
    size_t count, cap;
};

static void add_endpoint(struct proxy_build *b, struct endpoints *e, const char *address,
                         int64_t port, bool local)
{
    if (e->count == e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 16;
        struct neap_proxy_endpoint *more = neap_arena_calloc(b->arena, cap * sizeof(*more));
        if (e->count)
            memcpy(more, e->list, e->count * sizeof(*more));
        e->list = more;
        e->cap = cap;
    }
    e->list[e->count++] = (struct neap_proxy_endpoint){address, (uint16_t)port, local};
}

static void add_slice(struct proxy_build *b, struct endpoints *e, struct neap_object *slice,
                      const char *port_name)
{
    yyjson_doc *doc = neap_object_parse(slice, neap_arena_alc(b->arena));
    yyjson_val *root = yyjson_doc_get_root(doc), *p, *x;
    size_t i, n, j, m;
    int64_t port = 0;
    yyjson_arr_foreach(yyjson_obj_get(root, "ports"), i, n, p)
    {
        if (strcmp(str(p, "name"), port_name) == 0)
            port = yyjson_get_sint(yyjson_obj_get(p, "port"));
    }
    yyjson_arr_foreach(port ? yyjson_obj_get(root, "endpoints") : NULL, i, n, x)
    {
        yyjson_val *ready = neap_json_val_at(x, "conditions.ready"), *address;
        if (ready && !yyjson_get_bool(ready))
            continue;
        bool local = strcmp(str(x, "nodeName"), b->node->options.name) == 0;
        yyjson_arr_foreach(yyjson_obj_get(x, "addresses"), j, m, address)
        {
            add_endpoint(b, e, yyjson_get_str(address), port, local);
        }
    }
}

static const char *const *strings(struct proxy_build *b, yyjson_val *list)
{
    size_t i, n, count = 0;
    yyjson_val *v;
    const char **out = neap_arena_calloc(b->arena, (yyjson_arr_size(list) + 1) * sizeof(*out));
    yyjson_arr_foreach(list, i, n, v)
    {
        if (!yyjson_equals_str(v, "None"))
            out[count++] = yyjson_get_str(v);
    }
    return out;
}

static void add_port(struct proxy_build *b, struct neap_object *service, yyjson_val *spec,
                     yyjson_val *port)
{
    struct neap_proxy_service *s = neap_arena_calloc(b->arena, sizeof(*s));
    struct endpoints e = {0};
    size_t at = 0;
    const char *key, *name = str(port, "name");
    void *value;
    while (neap_map_next(&b->node->slices, &at, &key, &value)) {
        const char *of = neap_object_label(value, "kubernetes.io/service-name");
        if (neap_streq(of, neap_object_name(service)) &&
            strcmp(neap_object_namespace(value), neap_object_namespace(service)) == 0)
            add_slice(b, &e, value, name);
    }
    yyjson_val *timeout = neap_json_val_at(spec, "sessionAffinityConfig.clientIP.timeoutSeconds");
    *s = (struct neap_proxy_service){
        .key = neap_arena_printf(b->arena, "%s/%s:%s", neap_object_namespace(service),
                                 neap_object_name(service), name),
        .cluster_ips = strings(b, yyjson_obj_get(spec, "clusterIPs")),
        .external_ips = strings(b, yyjson_obj_get(spec, "externalIPs")),
        .port = {.name = name,
                 .protocol = protocol(str(port, "protocol")),
                 .port = (uint16_t)yyjson_get_sint(yyjson_obj_get(port, "port")),
                 .node_port = (uint16_t)yyjson_get_sint(yyjson_obj_get(port, "nodePort"))},
        .endpoints = e.list,
        .endpoint_count = e.count,
        .affinity_timeout_s =
            strcmp(str(spec, "sessionAffinity"), "ClientIP") == 0 ? yyjson_get_sint(timeout) : 0,
        .external_local = strcmp(str(spec, "externalTrafficPolicy"), "Local") == 0,
        .internal_local = strcmp(str(spec, "internalTrafficPolicy"), "Local") == 0};
    proxy_build_add(b, s);
}

static void add_service(struct proxy_build *b, struct neap_object *service)
{
    yyjson_doc *doc = neap_object_parse(service, neap_arena_alc(b->arena));
    yyjson_val *spec = yyjson_obj_get(yyjson_doc_get_root(doc), "spec"), *port;
    size_t i, n;
    const char *ip = str(spec, "clusterIP");
    if (strcmp(str(spec, "type"), "ExternalName") == 0 || !*ip || strcmp(ip, "None") == 0)
        return;
    yyjson_arr_foreach(yyjson_obj_get(spec, "ports"), i, n, port)
    {
        add_port(b, service, spec, port);
    }
}

/* ---- all ---- */

struct sync {
    struct neap_op op;
    struct neap_node *node;
    struct neap_arena *arena;
};

static void synced(struct neap_op *op, int code, const char *message)
{
    struct sync *x = op->data;
    struct neap_node *n = x->node;
    n->proxy_busy = false;
    if (code)
        NEAP_WARN("agent", "Services not written", "err=%s",
                  neap_log_quote(message ? message : ""));
    if ((n->proxy_again || code) && n->proxy_timer)
        neap_timer_start(n->proxy_timer, code ? 1000 : PROXY_DELAY_MS, 0);
    n->proxy_again = false;
    neap_arena_free(x->arena);
    free(x);
}

static void sync_now(void *arg)
{
    struct neap_node *n = arg;
    struct proxy_build b = {.node = n};
    size_t at = 0;
    const char *key;
    void *value;
    if (n->proxy_busy) {
        n->proxy_again = true;
        return;
    }
    struct sync *x = neap_calloc(1, sizeof(*x));
    x->node = n;
    x->arena = b.arena = neap_arena_new(0);
    x->op = (struct neap_op){.data = x, .done = synced};
    while (neap_map_next(&n->services, &at, &key, &value))
        add_service(&b, value);
    host_ports_build(&b);
    n->proxy_busy = true;
    n->options.proxy->sync(n->proxy, b.list, b.count, &x->op);
}

static void started(struct neap_op *op, int code, const char *message)
{
    struct neap_node *n = op->data;
    free(op);
    if (code) {
        NEAP_WARN("agent", "the proxy plugin did not start: no Services on this node", "err=%s",
                  neap_log_quote(message ? message : ""));
        return;
    }
    struct neap_reflector_options services = {.kind = neap_kind_by_resource("", "v1", "services"),
                                              .loop = n->options.loop,
                                              .event = on_service,
                                              .synced = services_synced,
                                              .error = failed,
                                              .arg = n};
    struct neap_reflector_options slices = {
        .kind = neap_kind_by_resource("discovery.k8s.io", "v1", "endpointslices"),
        .loop = n->options.loop,
        .event = on_slice,
        .synced = slices_synced,
        .error = failed,
        .arg = n};
    n->proxy_timer = neap_timer_new(n->options.loop, sync_now, n);
    n->services_watch = n->options.client->reflect(n->options.client, &services);
    n->slices_watch = n->options.client->reflect(n->options.client, &slices);
}

void proxy_start(struct neap_node *n)
{
    if (!n->options.proxy)
        return;
    struct neap_op *op = neap_calloc(1, sizeof(*op));
    *op = (struct neap_op){.data = n, .done = started};
    n->options.proxy->start(n->proxy, op);
}

static void unref(void *o)
{
    neap_object_unref(o);
}

void proxy_stop(struct neap_node *n)
{
    if (n->services_watch)
        n->options.client->reflect_stop(n->options.client, n->services_watch);
    if (n->slices_watch)
        n->options.client->reflect_stop(n->options.client, n->slices_watch);
    n->services_watch = n->slices_watch = NULL;
    n->proxy_timer = neap_timer_close(n->proxy_timer);
    neap_map_done(&n->services, unref);
    neap_map_done(&n->slices, unref);
}
