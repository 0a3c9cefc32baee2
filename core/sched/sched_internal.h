/* Shared inside core/sched. */
#ifndef NEAP_CORE_SCHED_INTERNAL_H
#define NEAP_CORE_SCHED_INTERNAL_H

#include <neap/log.h>
#include <neap/map.h>
#include <neap/metrics.h>
#include <neap/sched.h>

enum {
    SCHED_RESOURCES_MAX = 64,  /* kinds of resources that nodes offer */
    SCHED_PLUGINS_MAX = 64,    /* one bit each */
    SCHED_TOPOLOGY_KEYS = 64,  /* more are forgotten between cycles */
    SCHED_DOMAINS_MAX = 65536, /* likewise */
    SCHED_EVENT_BITS = 10,
    SCHED_GAUGES_MS = 1000,
};
#define SCHED_BACKOFF_FIRST_NS  INT64_C(1000000000)
#define SCHED_BACKOFF_LAST_NS   INT64_C(10000000000)
#define SCHED_FLUSH_AFTER_NS    INT64_C(300000000000)
#define SCHED_FLUSH_EVERY_NS    INT64_C(30000000000)
#define SCHED_PERMIT_LONGEST_MS 900000

struct sched_port {
    uint16_t number;
    uint8_t protocol; /* 't', 'u', 's' */
    char ip[46];      /* "": every address */
};

/* Pods that selectors and affinity cannot tell apart. Interned, counted. */
struct neap_sched_group {
    char *key; /* JSON: namespace, labels, podAffinity, podAntiAffinity, terminating */
    yyjson_doc *doc;
    yyjson_val *labels, *affinity;
    const char *namespace_;
    bool terminating;
    unsigned index, refs;
};

struct sched_group_count {
    struct neap_sched_group *group;
    unsigned pods;
};

struct sched_image {
    char *name;
    int64_t size;
};

/* A node as plugins see it. */
struct neap_sched_node {
    struct neap_object *object; /* reference */
    yyjson_doc *doc;
    yyjson_val *labels, *taints; /* of doc; NULL: none */
    const char *name, *zone;
    bool unschedulable;
    int64_t allocatable[SCHED_RESOURCES_MAX], used[SCHED_RESOURCES_MAX], assumed[2];
    struct sched_port *ports; /* host ports in use */
    size_t port_count, port_cap;
    struct sched_group_count *groups;
    size_t group_count, group_cap;
    struct neap_map images; /* name -> bytes */
    int *domains;           /* by topology key; -1: no such label, -2: not looked at */
    size_t domain_cap;
    unsigned index;
    uint64_t limit_epoch; /* the cycle in which plugins named it, and how many */
    unsigned named_by;
    int verdict;                      /* enum neap_sched_result of this cycle */
    struct neap_list pods, nominated; /* by on_node, by nomination */
};

enum sched_state {
    SCHED_IDLE,          /* not ours to place: finished, deleted, another scheduler's */
    SCHED_ACTIVE,        /* in the queue */
    SCHED_BACKOFF,       /* in the queue, not yet */
    SCHED_UNSCHEDULABLE, /* waits for an event */
    SCHED_GATED,         /* has scheduling gates */
    SCHED_PERMIT,        /* a plugin holds it */
    SCHED_BINDING,
    SCHED_BOUND,
    SCHED_STATES
};

/* A pod: waiting, being bound, or counted on its node. */
struct neap_sched_pod {
    struct neap_object *object; /* reference */
    yyjson_doc *doc;            /* while it is not bound */
    enum sched_state state;
    char *node_name;              /* where it is counted; NULL: nowhere */
    struct neap_sched_node *node; /* that node, when it is known */
    struct neap_list on_node;
    struct neap_sched_group *group;
    struct neap_sched_amount *amounts;
    size_t amount_count, amount_cap;
    bool unknown_resource; /* an amount that no node had when it was read; its names are owned */
    int64_t assumed[2];
    struct sched_port *ports;
    size_t port_count, port_cap;
    int64_t priority, started_ns;
    /* queue */
    struct neap_list link;         /* unschedulable, permit */
    size_t heap_at;                /* 1-based place in its heap; 0: in none */
    uint64_t sequence, refused_by; /* plugins by bit */
    int64_t queued_ns, since_ns,
        until_ns; /* first queued; unschedulable since; back-off or permit until */
    unsigned attempts;
    char *told, *event_name; /* the last failure and its event */
    unsigned told_count;
    char *nominated_name;
    struct neap_sched_node *nominated;
    struct neap_list nomination;
};

struct sched_heap {
    struct neap_sched_pod **items;
    size_t count, cap;
    bool (*before)(const struct neap_sched_pod *a, const struct neap_sched_pod *b);
};

struct sched_plugin {
    struct neap_scheduler_plugin t; /* a copy; what the plugin does not have is NULL */
    void *self;
    const char *name;
    int64_t weight;
    /* of the cycle */
    void *filter_state, *score_state;
    bool filters, scores;
};

struct sched_reason {
    char *text;
    unsigned nodes;
};

/* Other objects that decisions look at. */
enum sched_store {
    SCHED_SERVICES,
    SCHED_NAMESPACES,
    SCHED_REPLICASETS,
    SCHED_STATEFULSETS,
    SCHED_CONTROLLERS,
    SCHED_BUDGETS,
    SCHED_STORES
};
struct sched_stored {
    struct neap_object *object;
    yyjson_doc *doc; /* parsed when first needed */
};
struct sched_store_state {
    struct neap_sched *sched;
    enum sched_store which;
    struct neap_reflector *watch;
    struct neap_map objects; /* key -> struct sched_stored */
    bool synced;
};

struct sched_policies; /* script.c */

struct neap_sched {
    struct neap_sched_options options;
    struct neap_reflector *pods_watch, *nodes_watch;
    struct sched_store_state stores[SCHED_STORES];
    struct neap_map nodes; /* name -> struct neap_sched_node */
    struct neap_map pods;  /* key -> struct neap_sched_pod */
    /* nodes in the order they are looked at: zones take turns */
    struct neap_sched_node **order;
    size_t order_count, order_cap, next_node;
    bool order_stale;
    /* names */
    char *resources[SCHED_RESOURCES_MAX];
    unsigned resource_count;
    struct neap_map groups; /* key -> struct neap_sched_group */
    unsigned group_max, groups_with_affinity, *free_groups;
    size_t free_group_count, free_group_cap;
    struct neap_map topology_keys, domains; /* text -> number + 1 */
    const char **topology_names;
    size_t topology_cap;
    unsigned topology_count, domain_count;
    struct neap_map images; /* name -> number of nodes */
    /* plugins */
    struct sched_plugin plugins[SCHED_PLUGINS_MAX];
    unsigned plugin_count;
    struct neap_sched_views views;
    struct sched_policies *policies;
    /* queue */
    struct sched_heap active, backoff;
    struct neap_list unschedulable, gated, permits;
    unsigned waiting_for[SCHED_EVENT_BITS]; /* unschedulable pods that an event could help */
    size_t counts[SCHED_STATES];
    uint64_t sequence, random;
    struct neap_timer *timer, *gauges;
    int64_t flushed_ns;
    bool pods_synced, nodes_synced, cycling, stopping, preemption;
    unsigned requests; /* under way */
    /* the cycle */
    struct sched_reason *reasons;
    size_t reason_count, reason_cap;
    struct neap_map reason_by_text;
    unsigned because[16];
    unsigned because_count;
    const struct neap_sched_node **feasible;
    int64_t *scores, *totals;
    size_t feasible_cap;
    uint64_t refused_by;
    uint8_t limits[SCHED_PLUGINS_MAX]; /* plugins that named the nodes to try */
    unsigned limit_count;
    uint64_t limit_epoch;
    bool limiting;
    void (*done)(void *arg);
    void *done_arg;
};

enum sched_metric {
    SCHED_M_ATTEMPTS,
    SCHED_M_ATTEMPT_SECONDS,
    SCHED_M_ALGORITHM_SECONDS,
    SCHED_M_PENDING,
    SCHED_M_TRIES,
    SCHED_M_SLI_SECONDS,
    SCHED_M_INCOMING,
    SCHED_M_PREEMPTIONS,
    SCHED_M_VICTIMS,
    SCHED_M_CACHE,
    SCHED_M_SCRIPT_ERRORS,
    SCHED_M_COUNT
};
extern struct neap_metric sched_metrics[];

/* ---- pod.c ---- */
/* What the object asks for. The group is interned, the old one released. */
void sched_pod_read(struct neap_sched *s, struct neap_sched_pod *p, yyjson_val *root);
void sched_pod_free(struct neap_sched *s, struct neap_sched_pod *p);
/* ---- node.c ---- */
struct neap_sched_node *sched_node_new(struct neap_sched *s, struct neap_object *o);
/* Returns NEAP_SCHED_ON_NODE_* of what changed. */
uint32_t sched_node_read(struct neap_sched *s, struct neap_sched_node *n, struct neap_object *o);
void sched_node_free(struct neap_sched *s, struct neap_sched_node *n);
void sched_node_count(struct neap_sched *s, struct neap_sched_node *n,
                      const struct neap_sched_pod *p, int sign);
bool sched_node_ports_free(const struct neap_sched_node *n, const struct neap_sched_pod *p);
void sched_order(struct neap_sched *s); /* brings s->order up to date */
/* ---- names.c: resources, groups, topology, stored objects' values ---- */
int sched_resource(struct neap_sched *s, const char *name, bool make); /* -1: none */
struct neap_sched_group *sched_group(struct neap_sched *s, struct neap_object *o, yyjson_val *root);
void sched_group_release(struct neap_sched *s, struct neap_sched_group *g);
unsigned sched_topology_key(struct neap_sched *s, const char *label);
int sched_node_domain(struct neap_sched *s, struct neap_sched_node *n, unsigned key);
void sched_topology_trim(struct neap_sched *s); /* between cycles */
/* ---- stores.c ---- */
void sched_stores_start(struct neap_sched *s);
void sched_stores_stop(struct neap_sched *s);
void sched_stores_free(struct neap_sched *s);
bool sched_stores_synced(const struct neap_sched *s);
yyjson_val *sched_stored(struct neap_sched *s, enum sched_store which, const char *ns,
                         const char *name);
yyjson_val *sched_stored_value(struct sched_stored *o);
struct neap_sched_selector *sched_selector_of_owners(struct neap_sched *s,
                                                     const struct neap_sched_pod *p);
/* ---- views.c ---- */
void sched_views_open(struct neap_sched *s);
/* ---- framework.c ---- */
int sched_framework_open(struct neap_sched *s, struct neap_err *err);
void sched_framework_close(struct neap_sched *s);
int sched_plugin_add(struct neap_sched *s, const struct neap_scheduler_plugin *t, void *self,
                     const struct neap_host *host, struct neap_err *err);
/* The filters' part of a cycle. OK, or the worst of what pre_filter said. */
int sched_pre_filter(struct neap_sched *s, struct neap_sched_pod *p);
int sched_filter(struct neap_sched *s, struct neap_sched_pod *p, struct neap_sched_node *n);
void sched_limit(struct neap_sched *s, const char *name);
void sched_cycle_end(struct neap_sched *s); /* frees the states */
struct neap_sched_node *sched_rank(struct neap_sched *s, struct neap_sched_pod *p, size_t count);
int sched_reserve(struct neap_sched *s, struct neap_sched_pod *p);
void sched_unreserve(struct neap_sched *s, struct neap_sched_pod *p);
int sched_permit(struct neap_sched *s, struct neap_sched_pod *p, uint64_t *ret_timeout_ms);
void sched_post_bind(struct neap_sched *s, struct neap_sched_pod *p);
void sched_because(struct neap_sched *s, const char *text);
void sched_reasons_reset(struct neap_sched *s);
void sched_reasons_count(struct neap_sched *s,
                         unsigned nodes);                /* what because() said, for so many */
char *sched_explain(struct neap_sched *s, size_t nodes); /* owned */
/* ---- queue.c ---- */
void sched_queue_open(struct neap_sched *s);
void sched_queue_close(struct neap_sched *s);
void sched_state(struct neap_sched *s, struct neap_sched_pod *p, enum sched_state to);
void sched_enqueue(struct neap_sched *s, struct neap_sched_pod *p, const char *event);
/* After a failed try: to back off, or to wait for an event. */
void sched_retry_later(struct neap_sched *s, struct neap_sched_pod *p);
void sched_event(struct neap_sched *s, uint32_t event, const struct neap_sched_node *node,
                 const struct neap_sched_pod *other);
struct neap_sched_pod *sched_pop(struct neap_sched *s);
/* What time brings: back-offs and permits that end, pods that waited long. */
void sched_tick(struct neap_sched *s);
/* ---- cycle.c ---- */
void sched_wake(struct neap_sched *s);
void sched_permitted(struct neap_sched *s, struct neap_sched_pod *p, bool allow, const char *why);
void sched_failed(struct neap_sched *s, struct neap_sched_pod *p, char *message,
                  const char *reason);
/* ---- cache.c ---- */
void sched_uncount(struct neap_sched *s, struct neap_sched_pod *p);
void sched_count(struct neap_sched *s, struct neap_sched_pod *p, const char *node);
void sched_nominate(struct neap_sched *s, struct neap_sched_pod *p, const char *node);
void sched_on_pod(void *arg, enum neap_event_type type, struct neap_object *o);
void sched_on_node(void *arg, enum neap_event_type type, struct neap_object *o);
void sched_cache_free(struct neap_sched *s);
/* ---- preempt.c: makes room; the node or NULL, and what to say in *ret_message (owned) ---- */
struct neap_sched_node *sched_preempt(struct neap_sched *s, struct neap_sched_pod *p,
                                      char **ret_message);
/* ---- bind.c ---- */
void sched_bind(struct neap_sched *s, struct neap_sched_pod *p);
void sched_bound(struct neap_sched *s, const char *key, const char *uid, bool ok);
void sched_tell_unschedulable(struct neap_sched *s, struct neap_sched_pod *p, const char *reason,
                              const char *message);
void sched_tell(struct neap_sched *s, struct neap_sched_pod *p, const char *type,
                const char *reason, const char *action, const char *message);
void sched_evict(struct neap_sched *s, struct neap_sched_pod *victim,
                 const struct neap_sched_pod *preemptor);
void sched_clear_nomination(struct neap_sched *s, struct neap_sched_pod *p);
/* ---- script.c ---- */
void sched_policies_open(struct neap_sched *s);
void sched_policies_close(struct neap_sched *s);

#endif
