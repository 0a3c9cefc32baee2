/* A runtime runs containers: shaped like the CRI (sandbox, container, image, exec, stats, events), with
 * restore split from catching up. design.md section 11.
 *
 * Every verb is asynchronous (neap_op), idempotent (doing it twice is doing it once), and may be repeated
 * after a restart of the agent. Structs are borrowed until op->done. Ids are made by the agent:
 * sandbox "<pod uid>", container "<pod uid>_<container>_<attempt>". */
#ifndef NEAP_PLUGIN_RUNTIME_H
#define NEAP_PLUGIN_RUNTIME_H

#include <neap/plugin/host.h>

struct neap_runtime_resources {
    int64_t cpu_shares;      /* 2..262144; 0: default */
    int64_t cpu_quota_us;    /* per period; 0: none */
    int64_t cpu_period_us;   /* 0: 100000 */
    int64_t memory_limit;    /* bytes; 0: none */
    int64_t pids_limit;      /* 0: none */
    int oom_score_adj;       /* clamped to what we may set */
    const char *cpuset_cpus; /* NULL: all */
};

struct neap_runtime_sandbox_config {
    const char *id, *namespace_, *pod, *uid;
    const char *hostname;
    const char *log_dir; /* DIR/pods/...: container logs go to <log_dir>/<container>/<n>.log */
    const char *cgroup_parent;               /* "/neap-<instance>/burstable/pod<uid>" */
    struct neap_runtime_resources resources; /* of the whole pod */
    bool host_network, host_pid, host_ipc, share_process_namespace;
    const char *const *sysctls; /* name, value, ... NULL */
};

struct neap_runtime_mount {
    const char *source, *target;
    bool read_only;
    /* 0 private, 1 HostToContainer (rslave), 2 Bidirectional (rshared) */
    int propagation;
};

struct neap_runtime_security {
    int64_t uid, gid;     /* -1: the image's */
    bool run_as_non_root; /* refuse uid 0: NEAP_EFORBIDDEN */
    bool privileged, read_only_rootfs, no_new_privileges;
    const int64_t *supplemental_groups;
    size_t supplemental_group_count;
    const char *const *add_capabilities, *const *drop_capabilities; /* NULL-terminated; "ALL" */
    const char
        *seccomp_profile; /* NULL unconfined; "RuntimeDefault"; path of a localhost profile */
    const char *const *masked_paths, *const *read_only_paths; /* NULL: the usual ones */
};

struct neap_runtime_container_config {
    const char *id, *sandbox_id, *name; /* name: the container's in the pod */
    unsigned attempt;
    const char *image_id;                     /* as image_status told */
    const char *const *command, *const *args; /* NULL: the image's ENTRYPOINT, CMD */
    const char *const *env;                   /* "K=V"; added to the image's */
    const char *working_dir;                  /* NULL: the image's */
    const struct neap_runtime_mount *mounts;
    size_t mount_count;
    struct neap_runtime_resources resources;
    struct neap_runtime_security security;
    bool tty, stdin_open, stdin_once;
    const char *log_path;   /* CRI format is written here */
    int64_t log_max_bytes;  /* rotation: 10 MiB */
    unsigned log_max_files; /* 5 */
};

enum neap_runtime_state {
    NEAP_RUNTIME_CREATED,
    NEAP_RUNTIME_RUNNING,
    NEAP_RUNTIME_EXITED,
    NEAP_RUNTIME_UNKNOWN
};

struct neap_runtime_container_status {
    const char *id, *sandbox_id;
    enum neap_runtime_state state;
    int64_t created_wall_ns, started_wall_ns, finished_wall_ns;
    int exit_code, signal; /* EXITED */
    bool oom_killed;
    const char *reason, *message; /* NULL: none */
    int pid;                      /* RUNNING */
};
struct neap_runtime_sandbox_status {
    const char *id;
    bool ready;
    const char *netns_path; /* where the pod's network namespace is pinned; NULL: the host's */
    int64_t created_wall_ns;
};

struct neap_runtime_image {
    const char *id;             /* sha256:... of the config */
    const char *const *names;   /* NULL-terminated: "docker.io/library/busybox:latest" */
    const char *const *digests; /* repo@sha256:... */
    int64_t size, uid;          /* uid -1: not numeric; then user */
    const char *user;
};

struct neap_runtime_stats {
    const char *id;
    int64_t cpu_usage_ns, memory_working_set, memory_usage, memory_rss;
    int64_t wall_ns;
};

/* A running exec or attach: bytes both ways. thread: the plugin's loop. */
struct neap_runtime_io;                                              /* the plugin's end */
struct neap_runtime_io_events {                                      /* the caller's end */
    void (*output)(void *arg, int fd, const void *data, size_t len); /* fd 1 or 2 */
    void (*writable)(void *arg);                               /* after write returned false */
    void (*done)(void *arg, int exit_code, const char *error); /* once; exec: exit code (128+n when
                                                         killed), -1 with <error>: did not run */
};
struct neap_runtime_exec_config {
    const char *container_id;
    const char *const *argv; /* NULL: attach to the container's own process */
    bool tty, stdin_, stdout_, stderr_;
    int64_t timeout_ms; /* 0: none */
};

struct neap_runtime_events {
    void *arg;
    /* A container left RUNNING, or (oom) was touched by the OOM killer; the agent asks for its status.
     * Also called for what happened while the agent was away, after `start`. */
    void (*container_changed)(void *arg, const char *container_id);
    void (*sandbox_changed)(void *arg, const char *sandbox_id);
};

struct neap_runtime_plugin {
    struct neap_plugin_header header;
    /* mandatory. Reads options, makes nothing. */
    int (*configure)(const struct neap_host *host, const struct neap_runtime_events *events,
                     void **ret_self);
    /* mandatory. Reads recorded state exactly as it was; no catching up. May block (start-up). */
    int (*restore)(void *self);
    /* mandatory. Reconnects to what runs, then tells events. done: version text by `version`. */
    void (*start)(void *self, struct neap_op *op);
    /* mandatory. Lets go of everything; containers run on. */
    void (*stop)(void *self, struct neap_op *op);
    void (*destroy)(void *self);        /* mandatory; accepts NULL and half-configured */
    const char *(*version)(void *self); /* "crun 1.8.1" */

    /* sandboxes: all mandatory */
    void (*sandbox_run)(void *self, const struct neap_runtime_sandbox_config *c,
                        struct neap_op *op);
    void (*sandbox_stop)(void *self, const char *id, struct neap_op *op);   /* kills what is left */
    void (*sandbox_remove)(void *self, const char *id, struct neap_op *op); /* leaves nothing */
    int (*sandbox_status)(void *self, const char *id, struct neap_runtime_sandbox_status *ret);
    /* containers: all mandatory */
    void (*container_create)(void *self, const struct neap_runtime_container_config *c,
                             struct neap_op *op);
    void (*container_start)(void *self, const char *id, struct neap_op *op);
    void (*container_signal)(void *self, const char *id, int signum, struct neap_op *op);
    void (*container_remove)(void *self, const char *id, struct neap_op *op);
    int (*container_status)(void *self, const char *id, struct neap_runtime_container_status *ret);
    /* Calls back for each sandbox and container that exists. */
    void (*list)(void *self,
                 void (*sandbox)(void *arg, const struct neap_runtime_sandbox_status *s),
                 void (*container)(void *arg, const struct neap_runtime_container_status *s),
                 void *arg);
    /* In-place update of limits of a container, or of a sandbox (the whole pod's); NULL: not supported. */
    void (*container_update)(void *self, const char *id, const struct neap_runtime_resources *r,
                             struct neap_op *op);
    /* exec, attach; NULL: not supported. Returns the io to write to, NULL with host->fail. */
    struct neap_runtime_io *(*exec)(void *self, const struct neap_runtime_exec_config *c,
                                    const struct neap_runtime_io_events *events, void *arg);
    bool (*io_write)(void *self, struct neap_runtime_io *io, const void *data, size_t len);
    void (*io_close_stdin)(void *self, struct neap_runtime_io *io);
    void (*io_resize)(void *self, struct neap_runtime_io *io, unsigned columns, unsigned rows);
    /* Lets go; an exec's process is killed, a container's goes on. No event after it. */
    void (*io_close)(void *self, struct neap_runtime_io *io);
    int (*stats)(void *self, const char *container_id, struct neap_runtime_stats *ret);
    void (*log_reopen)(void *self, const char *container_id, struct neap_op *op);

    /* images: mandatory */
    /* 0 and *ret (borrowed until the loop turns), NEAP_ENOTFOUND. */
    int (*image_status)(void *self, const char *reference, const struct neap_runtime_image **ret);
    void (*image_list)(void *self, void (*image)(void *arg, const struct neap_runtime_image *i),
                       void *arg);
    /* A file: OCI layout (folder or tar), docker archive; <name> NULL: its own. */
    void (*image_import)(void *self, const char *path, const char *name, struct neap_op *op);
    /* A plain folder as a one-layer image with this command. */
    void (*image_from_rootfs)(void *self, const char *rootfs, const char *name,
                              const char *const *command, struct neap_op *op);
    /* From a registry; auth: "user:password", token, or NULL. */
    void (*image_pull)(void *self, const char *reference, const char *auth, struct neap_op *op);
    void (*image_remove)(void *self, const char *reference, struct neap_op *op);
    /* Stops or resumes output() of an exec or attach: back-pressure to the process. NULL: not supported. */
    void (*io_pause)(void *self, struct neap_runtime_io *io, bool paused);
};

#endif
