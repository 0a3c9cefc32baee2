/* Shared inside api/node. */
#ifndef NEAP_API_NODE_INTERNAL_H
#define NEAP_API_NODE_INTERNAL_H

#include "node.h"
#include <api/wire/wire.h>
#include <neap/json.h>
#include <neap/log.h>
#include <neap/map.h>

/* Checks the parameters against the pod. 0 and the agent's path in the call's arena, or c->err set. */
/* *ret_node NULL: a log of a pod that has no node yet. */
int node_path(struct neap_call *c, yyjson_val *pod, const char **ret_path, const char **ret_node);

void node_logs(struct neap_http_client *http, struct neap_call *c, const char *path);
void node_stream(struct neap_http_client *http, struct neap_call *c, const char *path);

/* ---- http_proxy.c, target.c ---- */
void node_http(struct neap_loop *loop, const char *netns, struct neap_call *c, const char *ip,
               int port);
/* Where <o> (a pod or Service) listens; <port>: a name, a number, NULL. 0 or c->err. */
int node_target(struct neap_call *c, struct neap_object *o, const char *port, char ip[64],
                int *ret_port);

/* c->err from what the agent answered. */
void node_refused(struct neap_call *c, int status, const char *body, size_t len,
                  const struct neap_err *err);

#endif
