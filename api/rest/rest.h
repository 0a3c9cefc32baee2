/* The API's verbs: routes a call, decides whether it may be, reads or writes the registry, answers. Knows no
 * sockets. design.md sections 4, 5, 7. thread: one struct neap_rest a loop. */
#ifndef NEAP_API_REST_H
#define NEAP_API_REST_H

#include <api/auth/auth.h>
#include <neap/admission.h>
#include <neap/client.h>
#include <neap/registry.h>

/* A health check shown by /livez and /readyz. */
struct neap_health_check {
    const char *name;
    bool live, ready; /* in which of the two */
    bool (*ok)(void *arg);
    void *arg;
};

/* What serves exec, attach, log, port-forward, proxy: a connection to the node's agent (api/node). Takes the
 * reference; ends the call by neap_rest_finish or neap_rest_fail. */
struct neap_node_proxy {
    void (*handle)(void *arg, struct neap_call *c, struct neap_object *pod_or_node);
    void *arg;
};

struct neap_rest_options {
    struct neap_loop *loop;
    struct neap_registry *registry;
    struct neap_auth *auth;
    const struct neap_clock *clock;
    const struct neap_rand *rand;
    const struct neap_admission *admission;   /* NULL: none */
    const struct neap_node_proxy *node_proxy; /* NULL: those subresources answer 503 */
    const char *service_cidr;                 /* "10.96.0.0/16" */
    unsigned node_port_first, node_port_last; /* 30000, 32767 */
    int64_t token_seconds_max;                /* no ServiceAccount token lives longer */
    uint64_t bookmark_ms;                     /* 60,000 */
    uint64_t watch_min_ms;       /* 1,800,000: a watch without timeoutSeconds lasts 1..2 times */
    size_t arena_bytes;          /* of a request made inside: 64 MiB */
    size_t protobuf_cache_bytes; /* of what was listed as protobuf; 0: none */
    const char *version;         /* "v1.37.2+neap.1" */
};
struct neap_rest;
struct neap_rest *neap_rest_new(const struct neap_rest_options *o);
/* No call may be under way. Accepts NULL. */
struct neap_rest *neap_rest_free(struct neap_rest *r);
/* Named checks of /livez, /readyz. At most 32; live for ever. */
void neap_rest_health(struct neap_rest *r, const struct neap_health_check *check);

/* The whole pipeline from authorize on: c->identity is set; finishes the call now or later. */
void neap_rest_handle(struct neap_rest *r, struct neap_call *c);
/* For a neap_node_proxy: the answer is there (status, body or stream) / c->err says what is wrong. */
void neap_rest_finish(struct neap_call *c);
void neap_rest_fail(struct neap_call *c);
/* Makes c's answer the Status of c->err, in the form that the call accepts; then the caller finishes. */
void neap_rest_refuse(struct neap_call *c);

/* Makes what a new cluster has (namespaces, roles, priority classes, the Service default/kubernetes) and
 * repairs what is missing (RBAC's reconcile). <endpoint>: "IP", port where pods reach the server; NULL: not yet.
 * <done> on the loop. */
void neap_rest_bootstrap(struct neap_rest *r, const char *endpoint_ip, unsigned endpoint_port,
                         void (*done)(void *arg, const struct neap_err *err), void *arg);

/* The neap_client in process. <identity> is borrowed for ever. Usable on any loop: calls are posted to the
 * rest's loop and come back. */
struct neap_client *neap_rest_client(struct neap_rest *r, const struct neap_identity *identity,
                                     struct neap_loop *loop);

#endif
