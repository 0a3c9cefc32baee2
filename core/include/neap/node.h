/* The agent: runs the pods that are bound to this node. design.md sections 10 and 11. Knows the API only as a
 * neap_client, the machine only through plugins. thread: the loop given. */
#ifndef NEAP_NODE_H
#define NEAP_NODE_H

#include <neap/client.h>
#include <neap/plugin/network.h>
#include <neap/plugin/runtime.h>

struct neap_node;
struct neap_node_options {
    struct neap_loop *loop;
    struct neap_client *client;
    const struct neap_runtime_plugin *runtime;
    const struct neap_host *runtime_host;
    const struct neap_network_plugin *network; /* NULL: pods use the host's network */
    const struct neap_host *network_host;
    const struct neap_proxy_plugin *proxy; /* NULL: no Services */
    const struct neap_host *proxy_host;
    const struct neap_clock *clock;
    const struct neap_rand *rand;
    const char *name;     /* of the node */
    const char *node_ip;  /* NULL: the network plugin's address */
    const char *data_dir; /* pods/ below it */
    const char *instance; /* six hex digits */
    const char *netns;    /* path of the node's network namespace; NULL: ours */
    const char *pod_cidr, *service_cidr, *node_ports, *cluster_domain;
    const char *version; /* kubeletVersion */
    unsigned port;       /* where the agent's API listens */
    unsigned max_pods;
    /* less than this left is pressure: no new pods come (bytes of memory, of data_dir's disk, processes); 0: never */
    uint64_t min_free_memory, min_free_disk, min_free_pids;
    bool offline;        /* no API is spoken to: only to be stopped, with cleanup */
    uint64_t refresh_ms; /* ConfigMaps, Secrets and tokens of running pods are read anew */
};
/* Restores what runs, registers the node, watches its pods. <ready> once the node's first status was
 * accepted, or with the error that stops the start. */
int neap_node_start(const struct neap_node_options *o, struct neap_node **ret,
                    void (*ready)(void *arg, const struct neap_err *err), void *arg,
                    struct neap_err *err);
/* Lets go: pods run on. <cleanup>: stops all pods first and takes everything of ours off the host. */
void neap_node_stop(struct neap_node *n, bool cleanup, void (*done)(void *arg), void *arg);
/* Once it is stopped and its client closed, so that no answer looks for it. */
void neap_node_free(struct neap_node *n);
/* The agent's own API (kubelet's): logs, exec, attach, health. c->path is all it looks at; finishes the
 * call. The caller has authenticated and authorized. */
void neap_node_handle(struct neap_node *n, struct neap_call *c);
const char *neap_node_address(const struct neap_node *n);

#endif
