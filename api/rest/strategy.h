/* What a kind does beyond its table when an object is written. */
#ifndef NEAP_API_REST_STRATEGY_H
#define NEAP_API_REST_STRATEGY_H

#include "internal.h"

struct rest_strategy {
    const char *group, *resource;
    int (*create)(struct rest_write *w, struct neap_err *err);
    int (*update)(struct rest_write *w, struct neap_err *err); /* also of subresources */
};
/* Ended by a NULL resource. */
extern const struct rest_strategy rest_strategies[];

/* strategy_csr.c */
int rest_csr_create(struct rest_write *w, struct neap_err *err);
int rest_csr_update(struct rest_write *w, struct neap_err *err);

/* Kubernetes' quality of service class of a pod's spec. */
const char *rest_pod_qos(yyjson_mut_val *spec);

#endif
