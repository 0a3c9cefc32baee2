/* Shared inside core/sched. */
#ifndef NEAP_CORE_SCHED_INTERNAL_H
#define NEAP_CORE_SCHED_INTERNAL_H

#include <neap/log.h>
#include <neap/map.h>
#include <neap/metrics.h>
#include <neap/sched.h>

/* What a pod asks for, and what nodes have: cpu in thousandths, the rest in units. */
struct sched_resources {
    int64_t cpu, memory, pods;
};

struct sched_port {
    uint16_t number;
    uint8_t protocol; /* 't', 'u', 's' */
};

/* A node as filters see it. */
struct sched_node {
    struct neap_object *object; /* reference */
    yyjson_doc *doc;
    yyjson_val *labels, *taints; /* of doc; NULL: none */
    const char *name;
    bool unschedulable, seen;
    struct sched_resources allocatable, used;
    struct sched_port *ports; /* host ports in use */
    size_t port_count, port_cap;
};

enum sched_state { SCHED_WAITING, SCHED_UNSCHEDULABLE, SCHED_BINDING, SCHED_BOUND };

/* A pod: waiting, being bound, or counted on its node. */
struct sched_pod {
    struct neap_object *object; /* reference */
    yyjson_doc *doc;            /* while it waits */
    enum sched_state state;
    char *node; /* where it is counted; NULL: nowhere */
    struct sched_resources request;
    struct sched_port ports[16];
    unsigned port_count;
    int64_t priority, added_ns;
    struct neap_list link; /* of the queue or of the unschedulable */
};

struct neap_sched {
    struct neap_sched_options options;
    struct neap_reflector *pods_watch, *nodes_watch;
    struct neap_map nodes; /* name -> struct sched_node */
    struct neap_map pods;  /* key -> struct sched_pod */
    struct neap_list queue, unschedulable;
    bool pods_synced, nodes_synced, cycling, stopping;
    unsigned binding;
    size_t next_node; /* round robin among equals */
    void (*done)(void *arg);
    void *done_arg;
};

/* ---- pod.c ---- */
void sched_pod_read(struct sched_pod *p);
/* ---- node.c ---- */
struct sched_node *sched_node_new(struct neap_object *o);
void sched_node_read(struct sched_node *n, struct neap_object *o);
void sched_node_free(struct sched_node *n);
void sched_node_add(struct sched_node *n, const struct sched_pod *p, int sign);
/* ---- filter.c: NULL: fits; else why not, in kube-scheduler's words ---- */
const char *sched_filter(const struct sched_node *n, const struct sched_pod *p, char buf[160]);
/* 0..100 each, weighted like the default profile */
int64_t sched_score(const struct sched_node *n, const struct sched_pod *p);
/* ---- bind.c ---- */
void sched_bind(struct neap_sched *s, struct sched_pod *p, const char *node);
void sched_tell_unschedulable(struct neap_sched *s, struct sched_pod *p, const char *message);
/* ---- sched.c ---- */
void sched_bound(struct neap_sched *s, const char *key, bool ok);
void sched_wake(struct neap_sched *s);

#endif
