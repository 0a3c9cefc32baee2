/* A network plugin gives pods their address and interface: shaped like CNI's ADD, DEL, CHECK.
 * Attach and detach are idempotent; addresses are recorded so that they survive a restart. */
#ifndef NEAP_PLUGIN_NETWORK_H
#define NEAP_PLUGIN_NETWORK_H

#include <neap/plugin/host.h>

struct neap_network_pod {
    const char *sandbox_id, *namespace_, *pod;
    const char *netns_path; /* the pod's namespace, pinned */
};
struct neap_network_result {
    char addresses[4][46]; /* text; count in address_count */
    unsigned address_count;
    char gateway[46];
    unsigned mtu;
};
struct neap_network_node { /* a peer's pod ranges, reached through its address */
    const char *name, *address;
    const char *const *pod_cidrs; /* NULL-terminated */
};

struct neap_network_plugin {
    struct neap_plugin_header header;
    /* <netns_path> NULL: the caller's network namespace is the node's; else that one. <pod_cidrs> are the
     * node's. */
    int (*configure)(const struct neap_host *host, const char *netns_path,
                     const char *const *pod_cidrs, void **ret_self);
    int (*restore)(void *self); /* recorded addresses */
    void (*start)(void *self, struct neap_op *op);
    void (*stop)(void *self, struct neap_op *op);
    /* Takes everything of this instance off the host: devices, routes, sysctls put back. */
    void (*cleanup)(void *self, struct neap_op *op);
    void (*destroy)(void *self);
    void (*attach)(void *self, const struct neap_network_pod *pod, struct neap_network_result *ret,
                   struct neap_op *op);
    void (*detach)(void *self, const char *sandbox_id, struct neap_op *op);
    int (*status)(void *self, const char *sandbox_id, struct neap_network_result *ret);
    /* The address of the node that pods reach (the agent's side of the veths). */
    int (*node_address)(void *self, char ret[46]);
    /* optional: routes to other nodes */
    void (*node_set)(void *self, const struct neap_network_node *node, struct neap_op *op);
    void (*node_remove)(void *self, const char *name, struct neap_op *op);
};

/* ---- proxy: services as deltas -------------------------------------------------------------- */
struct neap_proxy_port {
    const char *name;
    uint8_t protocol;         /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
    uint16_t port, node_port; /* node_port 0: none */
};
struct neap_proxy_endpoint {
    const char *address;
    uint16_t port; /* for the service port at the same index as its array */
    bool local;    /* on this node */
};
/* One port of one service with its endpoints: the unit of change. */
struct neap_proxy_service {
    const char *key;                /* "namespace/name:port" */
    const char *const *cluster_ips; /* NULL-terminated; none: headless (ignored) */
    const char *const *external_ips;
    struct neap_proxy_port port;
    const struct neap_proxy_endpoint *endpoints;
    size_t endpoint_count;
    int64_t affinity_timeout_s;          /* 0: none */
    bool external_local, internal_local; /* traffic policies */
};

struct neap_proxy_plugin {
    struct neap_plugin_header header;
    int (*configure)(const struct neap_host *host, const char *netns_path,
                     const char *const *service_cidrs, const char *const *pod_cidrs,
                     const char *node_ports /* "30000-32767" */, void **ret_self);
    void (*start)(void *self, struct neap_op *op);
    void (*stop)(void *self, struct neap_op *op);
    void (*cleanup)(void *self, struct neap_op *op);
    void (*destroy)(void *self);
    /* Replaces everything at once (after a restart or relist). */
    void (*sync)(void *self, const struct neap_proxy_service *const *services, size_t count,
                 struct neap_op *op);
    void (*set)(void *self, const struct neap_proxy_service *service, struct neap_op *op);
    void (*remove)(void *self, const char *key, struct neap_op *op);
};

#endif
