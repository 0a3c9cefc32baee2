/* Subresources and virtual kinds with code of their own. Each answers the call. */
#ifndef NEAP_API_REST_SPECIAL_H
#define NEAP_API_REST_SPECIAL_H

#include "internal.h"

void rest_scale(struct neap_call *c);
bool rest_review(struct neap_call *c);
void rest_binding(struct neap_call *c);
void rest_eviction(struct neap_call *c);
void rest_token_request(struct neap_call *c);
void rest_to_node(struct neap_call *c);
void rest_component_status(struct neap_call *c);

/* The condition PodScheduled, true from now. */
void rest_pod_scheduled(struct rest_write *w);

#endif
