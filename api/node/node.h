/* log, exec and attach: from the API server to a node's agent. thread: the loop given. */
#ifndef NEAP_API_NODE_H
#define NEAP_API_NODE_H

#include <api/http/http.h>
#include <api/rest/rest.h>

struct neap_node_dialer;
struct neap_node_dialer_options {
    struct neap_loop *loop;
    struct neap_registry *registry;
    /* ours, shown to agents, and whom we trust; borrowed while the dialer lives */
    const char *cert_pem, *key_pem, *ca_pem;
    const char *netns; /* path of the namespace to connect from; NULL: ours */
};
struct neap_node_dialer *neap_node_dialer_new(const struct neap_node_dialer_options *o);
/* New connections show this one; borrowed while the dialer lives. A connection that cannot take it keeps its own. */
void neap_node_dialer_renew(struct neap_node_dialer *d, const char *cert_pem, const char *key_pem);
/* Accepts NULL; returns NULL. */
struct neap_node_dialer *neap_node_dialer_free(struct neap_node_dialer *d);
/* The neap_node_proxy's handle; <arg>: the dialer. */
void neap_node_dialer_handle(void *arg, struct neap_call *c, struct neap_object *pod);

#endif
