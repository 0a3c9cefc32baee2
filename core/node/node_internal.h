/* Shared inside core/node. */
#ifndef NEAP_CORE_NODE_INTERNAL_H
#define NEAP_CORE_NODE_INTERNAL_H

#include <neap/log.h>
#include <neap/map.h>
#include <neap/node.h>
#include <neap/sm.h>
#include <neap/stream.h>

struct pod;
struct action;
struct resize;
struct pod_events;

enum container_state {
    CONTAINER_NONE,     /* not made yet, or waiting to be made again */
    CONTAINER_STARTING, /* image, create, start are under way */
    CONTAINER_RUNNING,
    CONTAINER_EXITED,
};

enum probe_type { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_TYPES };

struct probe {
    struct container *container;
    enum probe_type type;
    yyjson_val *spec; /* of the pod's first document */
    struct neap_timer *timer;
    unsigned successes, failures;
    struct action *action; /* under way; NULL: none */
    bool stopped;
};

struct container {
    struct pod *pod;
    yyjson_val *spec; /* of pod->doc */
    const char *name;
    bool init, sidecar, ephemeral;
    bool changed;   /* its spec: it is started again whatever its policy */
    bool replacing; /* because of that, until it runs again */
    unsigned attempt, restarts;
    char *id; /* "<uid>_<name>_<attempt>"; NULL: none yet */
    char *image_id, *image_name;
    enum container_state state;
    struct neap_op op;
    struct neap_arena *op_arena; /* what the operation under way was told */
    /* why it waits */
    const char *waiting_reason;
    char *waiting_message;
    /* of the present or last run */
    int64_t started_ns, finished_ns;
    int exit_code, signal;
    bool oom_killed;
    char *exit_reason, *exit_message;
    /* of the run before */
    bool has_last;
    int64_t last_started_ns, last_finished_ns;
    int last_exit_code;
    char *last_reason, *last_message, *last_id;
    uint64_t backoff_ms, pull_backoff_ms;
    int64_t retry_at_ms; /* on the loop's clock; 0: now */
    int64_t pull_began_ms, pull_told_ms;
    struct neap_timer *timer, *kill_timer;
    struct probe probes[PROBE_TYPES];
    struct action *hook; /* postStart or preStop under way */
    bool ready, startup_done, killing, terminating;
    bool pulling;   /* its image: a pod that ends does not wait for that */
    bool unread;    /* what it refers to was not there: read again before the next try */
    bool was_ready; /* the API's word of it, when we came */
    bool was_started;
    yyjson_doc *allocated, *actual; /* resources granted; in force, NULL: what is granted */
};

/* The life of a pod on the node. */
enum pod_state {
    POD_NEW,      /* nothing is made */
    POD_FETCHING, /* ConfigMaps, Secrets, tokens are being read */
    POD_SANDBOX,  /* the sandbox is being made */
    POD_NETWORK,  /* its address */
    POD_RUNNING,  /* containers come and go */
    POD_STOPPING, /* containers get their signals */
    POD_CLEANING, /* sandbox, address and volumes are being taken away */
    POD_OVER,     /* nothing is left but files: finished, or waiting for the API to forget it */
};

enum pod_condition {
    CONDITION_STARTABLE, /* PodReadyToStartContainers */
    CONDITION_INITIALIZED,
    CONDITION_READY,
    CONDITION_CONTAINERS,
    CONDITION_RESIZE_PENDING,
    CONDITION_RESIZING,
    CONDITIONS
};

struct pod {
    struct neap_node *node;
    struct neap_sm sm;
    char *key; /* "ns/name" */
    char *uid, *ns, *name;
    struct neap_object *object; /* the newest; reference */
    yyjson_doc *doc; /* of the object the pod was first seen as: the spec does not change */
    yyjson_val *spec, *meta;
    struct container *containers;
    unsigned count, room;
    struct neap_op op;
    struct neap_arena *op_arena; /* what the operation under way was told */
    struct neap_network_result address;
    bool has_address, host_network;
    char *failure; /* the last step's error */
    uint64_t backoff_ms;
    int64_t retry_at_ms; /* on the loop's clock: what failed is not tried before */
    int64_t started_ns;
    /* what the volumes and environments need */
    struct neap_map
        refs; /* "configmaps/x" -> struct neap_object reference, or a marker for absent */
    struct neap_list asked; /* struct ref: of refs, under way */
    unsigned fetching;
    char *fetch_error;
    struct neap_timer *timer, *grace_timer, *refresh_timer, *hold_timer, *deadline_timer;
    struct neap_timer *status_timer; /* running: the API refused, it is asked again then */
    uint64_t status_backoff_ms;
    bool deleting, forgotten; /* forgotten: the API no longer has it */
    bool renewing;            /* its sandbox was lost: made again when the rest of it is gone */
    int64_t generation;       /* of doc */
    bool dropped;             /* it is freed soon */
    bool settled;             /* it was over when we came: its status is not ours to write again */
    bool has_sandbox;         /* one was found when we came */
    bool unread;              /* adopted, and its references are not read yet */
    bool absent;              /* the API does not know it, though the watch has not said so */
    int64_t grace_s, stop_deadline_ms;
    bool killed;
    unsigned clean_step; /* how far taking away has come */
    /* the status that was last accepted, and the write under way; NULL: none */
    char *sent_status;
    struct status_write *sending;
    bool status_dirty, final_sent, deadline_exceeded;
    struct {
        bool known, is;
        int64_t since_ns;
    } conditions[CONDITIONS]; /* kept here: what the API shows may be of an earlier write */
    /* in-place resize: why it is not granted, why it is not done yet; NULL: it is, or there is none */
    const char *resize_pending, *resize_error;
    char *resize_pending_text, *resize_error_text;
    bool resizing;         /* granted, not all in force */
    struct resize *resize; /* being written */
    struct neap_timer *resize_timer;
    struct pod_events *events; /* that were told; NULL: none */
    const char *final_phase;   /* Succeeded, Failed; NULL: not over */
    char *final_reason, *final_message;
};

enum { PRESSURE_MEMORY, PRESSURE_DISK, PRESSURE_PIDS, PRESSURES };

struct neap_node {
    struct neap_node_options options;
    void *runtime, *network, *proxy; /* the plugins' selves */
    struct neap_runtime_events runtime_events;
    struct neap_list events, notes; /* of pods; under way */
    struct neap_op op;
    char address[46];
    struct neap_map pods; /* uid -> struct pod */
    struct neap_reflector *pods_watch, *services_watch, *slices_watch;
    struct neap_timer *lease_timer, *status_timer, *pressure_timer;
    int64_t leased_ms; /* on the loop's clock: the last renewal that was answered */
    struct pressure {
        bool on;
        int64_t since_ns; /* when it became so, or not */
        int64_t seen_ms;  /* on the loop's clock: when there was last too little */
    } pressures[PRESSURES];
    bool registered, lease_made, stopping, cleaning, synced;
    struct neap_list orphans; /* sandboxes that no pod owns, being taken away */
    unsigned trees;           /* folders being removed, on the pool */
    bool let_go;              /* all else has stopped */
    int64_t since_ns;         /* when it became ready */
    void (*ready)(void *arg, const struct neap_err *err);
    void *ready_arg;
    void (*stopped)(void *arg);
    void *stopped_arg;
    struct neap_map services, slices; /* key -> object reference */
    bool proxy_synced, proxy_busy, proxy_again, services_ready, slices_ready;
    struct neap_timer *proxy_timer;
    struct neap_list logs; /* that are being read */
};

/* ---- node.c ---- */
void node_request(struct neap_node *n, struct neap_request *r);
int64_t node_wall(const struct neap_node *n);
void node_check_stopped(struct neap_node *n);
void node_tree_removed(struct neap_node *n);
/* A request that nobody waits for. Takes <body>, copies <ns> and <name>; the other texts are constants. */
struct node_note {
    enum neap_verb verb; /* a patch is a strategic merge */
    const char *group, *resource, *ns, *name, *subresource;
    char *body;
    void (*done)(void *arg, const struct neap_reply *reply); /* may be NULL */
    void *arg;
};
void node_note(struct neap_node *n, const struct node_note *what);

/* ---- event.c ---- */
/* <field>: a path, or NULL. Said again it counts up; a pod that says too much is held back. */
void node_event(struct pod *p, const char *type, const char *reason, const char *field,
                const char *message);
void events_free(struct pod *p);
/* Those whose writes will not be answered any more. */
void events_free_all(struct neap_node *n);

/* ---- proxy.c, host_ports.c: what the proxy plugin is told, as one list ---- */
struct proxy_build {
    struct neap_node *node;
    struct neap_arena *arena;
    const struct neap_proxy_service **list;
    size_t count, cap;
};
void proxy_build_add(struct proxy_build *b, const struct neap_proxy_service *s);
/* Something that the list is made of has changed: it is written a moment later. */
void proxy_changed(struct neap_node *n);
void host_ports_build(struct proxy_build *b);
/* The pod has its address now, or gives it back. */
void host_ports_changed(struct pod *p);

/* ---- pods.c ---- */
int pods_watch(struct neap_node *n);
struct pod *pod_by_container(struct neap_node *n, const char *id, struct container **ret);
struct pod *pod_by_name(struct neap_node *n, const char *ns, const char *name);
void pods_free(struct neap_node *n);

/* ---- pod_make.c ---- */
struct pod *pod_new(struct neap_node *n, struct neap_object *o);
/* p->object is another one: what may change of a spec is taken over. */
void pod_respec(struct pod *p);
void pod_free(struct pod *p);

/* ---- pod_end.c ---- */
void pod_stopping(struct pod *p);
void pod_clean(struct pod *p);
int64_t pod_own_grace(const struct pod *p);
/* Seconds as a user may write them, in milliseconds that can be reckoned with. */
int64_t seconds_ms(int64_t seconds);

/* ---- pod.c ---- */
extern const struct neap_sm_state pod_states[];
enum { POD_RETRY_MAX_MS = 30000 }; /* of a step that failed */
void pod_update(struct pod *p, struct neap_object *o);
void pod_forget(struct pod *p);
/* The runtime says that something is wrong with its sandbox. */
void pod_sandbox_changed(struct pod *p);
/* Looks at everything and does what is next. */
void pod_step(struct pod *p);
void pod_stop(struct pod *p, int64_t grace_s);
/* It is deleted, or has ended by itself. */
bool pod_ending(const struct pod *p);
void pod_set_failure(struct pod *p, const char *text);
void pod_retry_later(struct pod *p, uint64_t max_ms);
void pod_retry_done(struct pod *p);
/* The reads of refs_fetch() have ended, well or not. */
void pod_fetched(struct pod *p);
void pod_finish(struct pod *p, const char *phase, const char *reason, const char *message);

/* ---- container.c ---- */
void container_step(struct container *c); /* starts it when it is due */
void container_start(struct container *c);
/* Why it waits before it runs. */
const char *container_waits_as(const struct container *c);
void container_changed(struct container *c);
void container_signal(struct container *c, int signum);
/* Its end begins: the preStop hook, then SIGTERM. Whoever calls sees to SIGKILL. */
void container_terminate(struct container *c, int64_t grace_s);
/* <grace_s> -1: the pod's. */
void container_restart(struct container *c, const char *why, int64_t grace_s);
/* An init container that has done its work does it again, in the pod's next sandbox. */
void container_again(struct container *c);
/* An event about the container. */
void container_event(struct container *c, const char *type, const char *reason,
                     const char *message);
void container_free(struct container *c);
bool container_wants_restart(const struct container *c);
void container_adopt(struct container *c, unsigned attempt);

/* ---- config.c: what the runtime is told; memory in <arena> ---- */
struct neap_runtime_container_config *
container_config(struct container *c, struct neap_arena *arena, struct neap_err *err);
struct neap_runtime_sandbox_config *sandbox_config(struct pod *p, struct neap_arena *arena);
const char *pod_dir(const struct pod *p, struct neap_arena *arena);
const char *pod_log_dir(const struct pod *p, struct neap_arena *arena);
const char *termination_path(const struct container *c, struct neap_arena *arena);

/* ---- resources.c: CPU and memory, wanted, granted and in force ---- */
/* "limits.cpu"; 0: none. */
int64_t resources_quantity(yyjson_val *resources, const char *path, bool milli);
/* In CPU or memory; <resource> "cpu", "memory", or NULL: either. */
bool resources_differ(yyjson_val *a, yyjson_val *b, const char *resource);
yyjson_val *resources_allocated(const struct container *c);
yyjson_val *resources_actual(const struct container *c);
void resources_allocate(struct container *c, yyjson_val *resources);
/* What is granted is in force now. */
void resources_in_force(struct container *c);
/* From the API's status, after a restart of the agent. */
void resources_restore(struct container *c, yyjson_val *status);
void resources_free(struct container *c);
void resources_of_container(const struct container *c, struct neap_runtime_resources *r);
/* <both>: limits that hold what is in force and what is granted. */
void resources_of_pod(const struct pod *p, bool both, struct neap_runtime_resources *r);
/* Of the spec (<wanted>) or granted: milli-CPU, bytes. */
void resources_requested(const struct pod *p, bool wanted, int64_t *ret_cpu, int64_t *ret_memory);

/* ---- resize.c ---- */
/* Looks whether the spec wants other resources, and at how far it has come. */
void resize_step(struct pod *p);
/* There is more room now. */
void resize_others(struct neap_node *n);
void resize_free(struct pod *p);

/* ---- env.c ---- */
const char *const *container_env(struct container *c, struct neap_arena *arena,
                                 struct neap_err *err);
/* A field of the pod as text ("metadata.name", "status.podIP"); NULL: not one that can be referred to. */
const char *pod_field(struct pod *p, const char *path, struct neap_arena *arena);
const char *resource_field(struct pod *p, yyjson_val *ref, const struct container *own,
                           struct neap_arena *arena);
/* $(NAME) replaced by what <env> has. */
const char *env_expand(const char *text, const char *const *env, struct neap_arena *arena);

/* ---- refs.c ---- */
/* Reads all ConfigMaps, Secrets and tokens that the pod needs, then pod_step. */
void refs_fetch(struct pod *p);
/* NULL: absent. kind: "configmaps", "secrets". */
yyjson_val *refs_get(struct pod *p, const char *kind, const char *name, struct neap_arena *arena);
const char *refs_token(struct pod *p, yyjson_val *source); /* of a serviceAccountToken source */
void refs_free(struct pod *p);

/* ---- volume.c ---- */
int volumes_write(struct pod *p, struct neap_err *err);
/* The folder or file of a volume on the host; NULL with an error. */
const char *volume_path(struct pod *p, const char *name, struct neap_arena *arena,
                        struct neap_err *err);
/* It shows objects of the API: containers only read it. */
bool volume_is_ours(const struct pod *p, const char *name);

/* ---- subpath.c ---- */
/* Where <sub> of <volume> is mounted for the container's <index>th mount; NULL with an error. */
const char *subpath_mount(struct container *c, const char *volume, const char *sub, size_t index,
                          struct neap_arena *arena, struct neap_err *err);

/* ---- trees.c ---- */
int remove_tree(const char *path);
/* Nothing is mounted below it any more. */
void trees_unmount(const char *path);
/* Unmounts and removes the folders and logs of a pod, on the pool. <log_dir> NULL: it is looked for. */
void trees_remove_pod(struct neap_node *n, const char *uid, const char *log_dir);
/* Those of pods that neither the API nor the runtime has. */
void trees_sweep(struct neap_node *n);

/* ---- orphan.c ---- */
/* Takes away every sandbox that no pod owns; node_check_stopped() when that is done. */
void orphans_remove(struct neap_node *n);
bool orphan_known(const struct neap_node *n, const char *uid);
void orphans_free(struct neap_node *n);

/* ---- probe.c ---- */
void probes_start(struct container *c);
void probes_stop(struct container *c);
/* c->spec is another document now. */
void probes_respec(struct container *c);

/* ---- status.c ---- */
/* Something may have changed: writes the status when it did. */
void status_changed(struct pod *p);
/* The API has another version of the object: sends the status again when somebody took back that the pod is ready. */
void status_seen(struct pod *p);
/* What the API has is what is so (or nobody wants to know). */
bool status_settled(struct pod *p);
/* Of pod_free(): what was sent, what is under way. */
void status_free(struct pod *p);
bool pod_is_ready(const struct pod *p);

/* ---- proxy.c ---- */
void proxy_start(struct neap_node *n);
void proxy_stop(struct neap_node *n);

/* ---- util.c ---- */
int64_t sysconf_cpus(void);
int64_t node_memory(void); /* bytes */
/* The last <max> bytes of a file, or all; NULL: it cannot be read. */
char *file_tail(const char *path, size_t max);
char *unbase64(const char *s, size_t len, struct neap_arena *arena, size_t *ret_len);

/* ---- machine.c: what the node says of itself ---- */
void machine_status(struct neap_node *n, struct neap_buf *out);
/* One entry of status.conditions. */
void machine_condition(struct neap_buf *out, const char *type, const char *status,
                       const char *reason, const char *message, const char *now, const char *since);
/* As Kubernetes calls it: "amd64". */
void machine_arch(char out[65]);

/* ---- pressure.c ---- */
/* Looks, and again from time to time by n->pressure_timer. */
void pressures_watch(struct neap_node *n);
/* True: a condition has changed. */
bool pressures_measure(struct neap_node *n);
/* The conditions, each with a comma behind it. */
void pressures_write(const struct neap_node *n, struct neap_buf *out, const char *now);
uint64_t pressure_disk_size(const struct neap_node *n);

#endif
