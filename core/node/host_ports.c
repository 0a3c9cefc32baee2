/* Ports of containers on the node's own addresses (hostPort, hostIP): to the proxy plugin each is a port with one
 * endpoint, the pod, whose clients keep their address. Source: Kubernetes API reference, ContainerPort. */
#include "node_internal.h"

#include <netinet/in.h>

static uint8_t protocol(yyjson_val *port)
{
    const char *s = yyjson_get_str(yyjson_obj_get(port, "protocol"));
    return neap_streq(s, "UDP") ? IPPROTO_UDP : neap_streq(s, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

static void add(struct proxy_build *b, struct pod *p, yyjson_val *port)
{
    struct neap_proxy_service *s = neap_arena_calloc(b->arena, sizeof(*s));
    struct neap_proxy_endpoint *endpoint = neap_arena_calloc(b->arena, sizeof(*endpoint));
    const char **ips = neap_arena_calloc(b->arena, 2 * sizeof(*ips));
    const char *ip = yyjson_get_str(yyjson_obj_get(port, "hostIP"));
    uint16_t host_port = (uint16_t)yyjson_get_sint(yyjson_obj_get(port, "hostPort"));
    bool every = !ip || !*ip || strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0;
    ips[0] = every ? NULL : ip;
    *endpoint = (struct neap_proxy_endpoint){
        p->address.addresses[0], (uint16_t)yyjson_get_sint(yyjson_obj_get(port, "containerPort")),
        true};
    *s = (struct neap_proxy_service){.key = neap_arena_printf(b->arena, "pod %s:%u/%u@%s", p->uid,
                                                              host_port, protocol(port),
                                                              every ? "" : ip),
                                     .external_ips = ips,
                                     .port = {.name = "",
                                              .protocol = protocol(port),
                                              .port = every ? 0 : host_port,
                                              .node_port = every ? host_port : 0},
                                     .endpoints = endpoint,
                                     .endpoint_count = 1,
                                     .external_local = true};
    proxy_build_add(b, s);
}

/* Calls <each> for every port of a pod that the node has to offer; false: there are none. */
static bool walk(struct pod *p, struct proxy_build *b)
{
    bool any = false;
    for (unsigned i = 0; i < p->count && !p->host_network; i++) {
        yyjson_val *port;
        size_t at, n;
        yyjson_arr_foreach(yyjson_obj_get(p->containers[i].spec, "ports"), at, n, port)
        {
            if (yyjson_get_sint(yyjson_obj_get(port, "hostPort")) <= 0)
                continue;
            any = true;
            if (b)
                add(b, p, port);
        }
    }
    return any;
}

void host_ports_build(struct proxy_build *b)
{
    size_t at = 0;
    const char *uid;
    void *value;
    while (neap_map_next(&b->node->pods, &at, &uid, &value)) {
        struct pod *p = value;
        if (p->has_address && (p->sm.state == POD_RUNNING || p->sm.state == POD_STOPPING))
            walk(p, b);
    }
}

void host_ports_changed(struct pod *p)
{
    if (walk(p, NULL))
        proxy_changed(p->node);
}
