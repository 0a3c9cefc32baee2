/* Shared inside api/node. */
#ifndef NEAP_API_NODE_INTERNAL_H
#define NEAP_API_NODE_INTERNAL_H

#include "node.h"
#include <api/wire/wire.h>
#include <neap/json.h>
#include <neap/log.h>
#include <neap/map.h>

/* Checks the parameters against the pod. 0 and the agent's path in the call's arena, or c->err set. */
int node_path(struct neap_call *c, yyjson_val *pod, const char **ret_path, const char **ret_node);

void node_logs(struct neap_http_client *http, struct neap_call *c, const char *path);
void node_stream(struct neap_http_client *http, struct neap_call *c, const char *path);

/* c->err from what the agent answered. */
void node_refused(struct neap_call *c, int status, const char *body, size_t len,
                  const struct neap_err *err);

#endif
