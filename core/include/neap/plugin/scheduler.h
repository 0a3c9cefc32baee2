/* A scheduler plugin takes part in choosing the node of a pod: it refuses nodes (filter), ranks them
 * (score), holds something while a pod is being bound (reserve, permit). The extension points, their
 * order and the meaning of their results are kube-scheduler's ("Scheduling Framework" in Kubernetes'
 * documentation); the built-in plugins (core/sched/plugins) use exactly this interface.
 *
 * One cycle decides on one pod: pre_filter once, filter for each node, pre_score once, score for each
 * node that fits, normalize once, reserve and permit for the chosen one. A NULL slot: the plugin has
 * no part in that step. All slots run on the scheduler's loop, within the cycle: they answer at once
 * and must not block; thousands of calls a second are normal.
 *
 * Pods, nodes, groups and values are views: opaque, read by the functions of neap_sched_views, valid
 * until the slot returns; in state made by pre_filter and pre_score they are valid until state_free,
 * selectors until selector_free. Texts are borrowed likewise. */
#ifndef NEAP_PLUGIN_SCHEDULER_H
#define NEAP_PLUGIN_SCHEDULER_H

#include <neap/plugin/host.h>

struct neap_value;          /* a JSON value of an object */
struct neap_sched_pod;      /* a pod with what it asks for */
struct neap_sched_node;     /* a node with what runs on it */
struct neap_sched_group;    /* pods of one namespace with equal labels and affinity */
struct neap_sched_selector; /* a label selector, parsed */

enum neap_sched_result {
    NEAP_SCHED_OK = 0,
    NEAP_SCHED_SKIP =
        1, /* pre_filter, pre_score: nothing to do for this pod: left out of the cycle */
    NEAP_SCHED_NO = 2,    /* does not fit now; fewer pods on the node could change that */
    NEAP_SCHED_NEVER = 3, /* does not fit, and preempting pods cannot help */
    NEAP_SCHED_WAIT = 4,  /* permit: bound when views->decide says so, refused at the time-out */
    NEAP_SCHED_ERROR = 5, /* the cycle fails with host->fail's text; the pod is tried again */
};

/* What may make a pod fit that was refused. */
enum {
    NEAP_SCHED_ON_POD_ADD = 1,    /* a pod was bound to a node */
    NEAP_SCHED_ON_POD_DELETE = 2, /* a bound pod ended or was deleted */
    NEAP_SCHED_ON_POD_LABELS = 4, /* labels of a bound pod changed */
    NEAP_SCHED_ON_POD_SHRINK = 8, /* a bound pod asks for less */
    NEAP_SCHED_ON_NODE_ADD = 16,  /* a node appeared */
    NEAP_SCHED_ON_NODE_SIZE = 32, /* allocatable changed */
    NEAP_SCHED_ON_NODE_LABELS = 64,
    NEAP_SCHED_ON_NODE_TAINTS = 128, /* or spec.unschedulable */
    NEAP_SCHED_ON_NODE_DELETE = 256,
    NEAP_SCHED_ON_NAMESPACE = 512, /* labels of a namespace changed */
};

enum { NEAP_SCHED_SCORE_MAX = 100 };

/* Resources by number; others have the numbers from NEAP_SCHED_EXTENDED on. */
enum {
    NEAP_SCHED_CPU, /* in thousandths */
    NEAP_SCHED_MEMORY,
    NEAP_SCHED_EPHEMERAL,
    NEAP_SCHED_PODS,
    NEAP_SCHED_EXTENDED
};
struct neap_sched_amount {
    int resource; /* -1: no node has it */
    const char *name;
    int64_t value;
};

/* Only grows at its end. <ctx> is the member of that name. */
struct neap_sched_views {
    uint32_t struct_size;
    void *ctx;

    /* ---- values: NULL is taken everywhere and answers NULL, 0, false ---- */
    const struct neap_value *(*get)(const struct neap_value *object, const char *name);
    const struct neap_value *(*at)(const struct neap_value *object, const char *dotted_path);
    const char *(*text)(const struct neap_value *v); /* NULL: no string */
    int64_t (*integer)(const struct neap_value *v);
    bool (*boolean)(const struct neap_value *v);
    size_t (*size)(const struct neap_value *v); /* of a list or an object */
    /* The value after <after> (NULL: the first) in a list or object; NULL: the end. <ret_key> may be
     * NULL. */
    const struct neap_value *(*next)(const struct neap_value *of, const struct neap_value *after,
                                     const char **ret_key);

    /* ---- pods ---- */
    const struct neap_object *(*pod_object)(const struct neap_sched_pod *p);
    const struct neap_value *(*pod_value)(
        const struct neap_sched_pod *p); /* the pod in the cycle */
    const struct neap_sched_group *(*pod_group)(const struct neap_sched_pod *p);
    int64_t (*pod_priority)(const struct neap_sched_pod *p);
    /* What it requests, containers and overhead summed as Kubernetes does. */
    unsigned (*pod_amounts)(const struct neap_sched_pod *p, const struct neap_sched_amount **ret);
    /* cpu or memory with 100m and 200MB for containers that request nothing */
    int64_t (*pod_assumed)(const struct neap_sched_pod *p, int resource);
    bool (*pod_has_ports)(const struct neap_sched_pod *p);

    /* ---- nodes ---- */
    size_t (*node_count)(void *ctx);
    const struct neap_sched_node *(*node_by_index)(void *ctx, size_t i);
    unsigned (*node_index)(const struct neap_sched_node *n); /* 0..node_count - 1 in this cycle */
    const struct neap_object *(*node_object)(const struct neap_sched_node *n);
    const struct neap_value *(*node_value)(const struct neap_sched_node *n);
    const char *(*node_name)(const struct neap_sched_node *n);
    const char *(*node_label)(const struct neap_sched_node *n, const char *key); /* NULL: none */
    const struct neap_value *(*node_taints)(const struct neap_sched_node *n);
    bool (*node_unschedulable)(const struct neap_sched_node *n);
    int64_t (*node_allocatable)(const struct neap_sched_node *n, int resource);
    int64_t (*node_requested)(const struct neap_sched_node *n, int resource);
    int64_t (*node_assumed)(const struct neap_sched_node *n, int resource); /* cpu, memory */
    bool (*node_ports_free)(const struct neap_sched_node *n, const struct neap_sched_pod *p);
    /* Bytes of an image on a node, 0: not there; on how many nodes it is. Names carry a tag. */
    int64_t (*node_image)(const struct neap_sched_node *n, const char *name);
    unsigned (*image_nodes)(void *ctx, const char *name);

    /* ---- what runs on a node, by group ---- */
    unsigned (*node_groups)(const struct neap_sched_node *n);
    const struct neap_sched_group *(*node_group)(const struct neap_sched_node *n, unsigned i,
                                                 unsigned *ret_pods);
    unsigned (*group_index)(const struct neap_sched_group *g); /* below group_max */
    unsigned (*group_max)(void *ctx);
    const char *(*group_namespace)(const struct neap_sched_group *g);
    const struct neap_value *(*group_labels)(const struct neap_sched_group *g);
    /* spec.affinity's podAffinity and podAntiAffinity, as an object; NULL: none */
    const struct neap_value *(*group_affinity)(const struct neap_sched_group *g);
    bool (*group_terminating)(const struct neap_sched_group *g);
    unsigned (*groups_with_affinity)(void *ctx); /* how many groups have one */
    const struct neap_value *(*namespace_labels)(void *ctx, const char *name); /* NULL: none */

    /* ---- topology: a domain is one value of one node label ---- */
    unsigned (*topology_key)(void *ctx, const char *label); /* valid in this cycle */
    int (*node_domain)(void *ctx, const struct neap_sched_node *n, unsigned key); /* -1: no label */
    unsigned (*domain_max)(void *ctx); /* domains are below it; ask after node_domain */

    /* ---- selectors ---- */
    /* <label_selector> NULL: matches nothing. For each key of the list <match_keys> that the pod's
     * labels have, "key in (value)" is added, for <mismatch_keys> "key notin (value)". NULL: broken. */
    struct neap_sched_selector *(*selector_new)(const struct neap_value *label_selector,
                                                const struct neap_value *match_keys,
                                                const struct neap_value *mismatch_keys,
                                                const struct neap_value *labels);
    /* Labels of the Services, ReplicaSet, StatefulSet, ReplicationController that the pod belongs to;
     * NULL: it belongs to none. */
    struct neap_sched_selector *(*selector_of_owners)(void *ctx, const struct neap_sched_pod *p);
    bool (*selector_match)(const struct neap_sched_selector *s, const struct neap_value *labels);
    void (*selector_free)(struct neap_sched_selector *s);

    /* ---- answers ---- */
    /* Why a slot returns NO or NEVER: "Insufficient cpu"; several calls: several reasons. Copied; shown
     * to users as "N <text>", counted over all nodes: keep texts few. */
    void (*because)(void *ctx, const char *text);
    /* Ends a permit that waits. */
    void (*decide)(void *ctx, const char *pod_uid, bool allow, const char *why);
    /* In pre_filter: only the nodes that it is called for are tried (and that every other plugin which
     * calls it named too). Much cheaper than refusing all others one by one. */
    void (*only)(void *ctx, const char *node_name);
};

struct neap_scheduler_plugin {
    struct neap_plugin_header header; /* name: as in configuration and logs ("PodTopologySpread") */
    /* Both tables live longer than the plugin. Mandatory. errors: NEAP_E* and host->fail.
     * <host> is NULL for built-in plugins. */
    int (*configure)(const struct neap_host *host, const struct neap_sched_views *views,
                     void **ret_self);
    void (*destroy)(void *self); /* optional */
    int64_t weight;              /* of its score; 0: 1 */
    uint32_t retry_on;           /* NEAP_SCHED_ON_*: what may undo its refusal; 0: everything */

    /* OK, SKIP, NO, NEVER, ERROR. *ret_state is handed to filter, and freed after the cycle. */
    int (*pre_filter)(void *self, const struct neap_sched_pod *pod, void **ret_state);
    /* OK, NO, NEVER, ERROR. */
    int (*filter)(void *self, void *state, const struct neap_sched_pod *pod,
                  const struct neap_sched_node *node);
    /* OK, SKIP, ERROR. <nodes>: those that fit. The state is score's own. */
    int (*pre_score)(void *self, const struct neap_sched_pod *pod,
                     const struct neap_sched_node *const *nodes, size_t count, void **ret_state);
    /* 0..NEAP_SCHED_SCORE_MAX, or anything when normalize brings it there. */
    int64_t (*score)(void *self, void *state, const struct neap_sched_pod *pod,
                     const struct neap_sched_node *node);
    void (*normalize)(void *self, void *state, const struct neap_sched_pod *pod,
                      const struct neap_sched_node *const *nodes, int64_t *scores, size_t count);
    void (*state_free)(void *self, void *state); /* of pre_filter and pre_score */

    /* The pod is counted on the node now. OK, NO, ERROR: unreserve is called for all plugins, also for
     * the one that refused. unreserve is called as well when permit refuses or binding fails. */
    int (*reserve)(void *self, const struct neap_sched_pod *pod,
                   const struct neap_sched_node *node);
    void (*unreserve)(void *self, const struct neap_sched_pod *pod,
                      const struct neap_sched_node *node);
    /* OK, NO, WAIT (then *ret_timeout_ms, at most 15 minutes), ERROR. */
    int (*permit)(void *self, const struct neap_sched_pod *pod, const struct neap_sched_node *node,
                  uint64_t *ret_timeout_ms);
    /* After a pod was bound. */
    void (*post_bind)(void *self, const struct neap_sched_pod *pod,
                      const struct neap_sched_node *node);
    /* Something of retry_on happened: false when it cannot matter to the pod. <node>: the node of a
     * node event; <other>: the pod of a pod event. Optional: then it is tried. */
    bool (*retry)(void *self, uint32_t event, const struct neap_sched_pod *pod,
                  const struct neap_sched_node *node, const struct neap_sched_pod *other);
    /* When no node fits: OK when it made room on *ret_node (the pod is nominated there), else NO with
     * because(). The built-in preemption runs when no plugin did. */
    int (*post_filter)(void *self, const struct neap_sched_pod *pod, const char **ret_node);
};

#endif
