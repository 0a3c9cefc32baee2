/* Inside core/node: what answers the agent's own API. */
#ifndef NEAP_CORE_NODE_KUBELET_H
#define NEAP_CORE_NODE_KUBELET_H

#include "node_internal.h"

/* One decoded query parameter in the call's arena; the <at>th of that name. NULL: absent. */
const char *kubelet_query(struct neap_call *c, const char *name, unsigned at);
/* -1: absent; -2: no number. */
int64_t kubelet_query_int(struct neap_call *c, const char *name);
bool kubelet_query_bool(struct neap_call *c, const char *name);
/* Answers with a plain text. */
void kubelet_text(struct neap_call *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- logs.c ---- */
void kubelet_logs(struct container *x, struct neap_call *c);
/* Followers look again: a container has ended or is gone. */
void kubelet_logs_poke(struct neap_node *n);

/* ---- exec.c ---- */
void kubelet_exec(struct container *x, struct neap_call *c, bool attach);

#endif
