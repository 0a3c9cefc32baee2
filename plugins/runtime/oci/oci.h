/* The plugin's own parts. One loop owns every struct here; "pool:" functions run on a pool thread and
 * touch only what they are given.
 *
 *   oci.c        descriptor, options, restore, start, stop     task.c   one queue a pod
 *   sandbox.c    pods                                          link.c   the connection to a shim
 *   container.c  containers                                    io.c     exec and attach
 *   bundle.c     rootfs and config.json                        spec.c   what config.json says
 *   security.c   capabilities, seccomp    user.c  names of the image's passwd   images.c */
#ifndef OCI_OCI_H
#define OCI_OCI_H

#include "cgroup/cgroup.h"
#include "common.h"
#include "wire.h"
#include <neap/err.h> /* the codes only */
#include <neap/plugin/runtime.h>
#include <yyjson.h>

#define OCI_KILL_MS  10000  /* processes of a killed cgroup must be gone within */
#define OCI_CHILD_MS 60000  /* shim launcher, crun delete */
#define OCI_IMAGE_MS 900000 /* an import or pull */

struct oci;
struct oci_task;
struct oci_link;

struct oci_image {
    struct oci_image *next;
    struct neap_runtime_image pub; /* points into what follows */
    char *id;
    char **names, **digests, **layers; /* layers: bottom first, hex */
    yyjson_doc *doc;                   /* the record */
    yyjson_val *config;                /* borrowed from doc: Env, Entrypoint, ... */
};

struct oci_sandbox {
    struct oci_sandbox *next;
    char *id, *dir, *cgroup, *hostname, *netns;
    bool host_network, host_pid, host_ipc, share_pid;
    bool ready;   /* made and its shim answers */
    bool stopped; /* recorded: it never becomes ready again */
    bool leaving; /* the shim was told to exit */
    int64_t created;
    struct oci_link *link;
};

struct oci_container {
    struct oci_container *next;
    char *id, *sandbox_id, *dir, *cgroup, *image_id, *name;
    bool tty, stdin_open, stdin_once;
    enum neap_runtime_state state;
    int64_t created, started, finished;
    int exit_code, signal, pid;
    bool oom;
    char *error;
    const char *reason; /* static text */
};

struct oci {
    const struct neap_host *host;
    struct neap_runtime_events events;
    char *data, *runtime, *runtime_root, *shim, *image_tool, *registry_ca, *version;
    bool runtime_is_crun, has_sys_resource;
    int own_oom_score_adj;
    struct oci_cgroup cgroup;
    struct oci_sandbox *sandboxes;
    struct oci_container *containers;
    struct oci_image *images;
    int64_t images_read_ns; /* the index folder's time when it was read */
    struct oci_task *tasks; /* running and waiting, oldest first */
    struct neap_runtime_io *ios;
    struct neap_op *stop_op;
    bool stopping;
    struct oci_task *start_task;
    unsigned start_left; /* pods not yet reconnected */
};

/* ---- task.c: an operation under way. Tasks with the same key run one after the other. */
struct oci_task {
    struct oci_task *next;
    struct oci *o;
    struct neap_op *op; /* NULL: our own business */
    char *key;          /* the sandbox's id; images: "image" */
    bool running;
    void (*run)(struct oci_task *t);
    const void *config; /* the caller's struct, alive until done */
    char *id;
    int number;
    /* the steps' own */
    struct oci_sandbox *sandbox;
    struct oci_container *container;
    void (*work)(struct oci_task *t); /* pool */
    void (*then)(struct oci_task *t); /* loop */
    int code;
    char *message;
    void *extra; /* malloc'd, freed with the task */
    int status;  /* of a child */
    char *out;   /* what it printed */
};
struct oci_task *oci_task_new(struct oci *o, struct neap_op *op, const char *key, const char *id,
                              void (*run)(struct oci_task *t));
void oci_task_submit(struct oci_task *t);
/* <work> on the pool, then <then> on the loop; <work> may set code and message. */
void oci_task_work(struct oci_task *t, void (*work)(struct oci_task *),
                   void (*then)(struct oci_task *));
/* A program; then t->status, t->out; on failure code and message (its last line of stderr). */
void oci_task_child(struct oci_task *t, const char *const *argv, const char *input, int timeout_ms,
                    void (*then)(struct oci_task *));
/* A request to the shim: takes <d>, adds seq. Then t->code, t->message. */
void oci_task_request(struct oci_task *t, struct oci_link *l, yyjson_mut_doc *d,
                      void (*then)(struct oci_task *));
void oci_task_fail(struct oci_task *t, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4))); /* sets code and message */
void oci_task_finish(struct oci_task *t);  /* done with t->code; the op is told from a later turn */
int oci_code(int negative_errno);

/* ---- link.c */
/* -errno when nobody listens. */
int oci_link_open(struct oci *o, struct oci_sandbox *s);
void oci_link_close(struct oci_link *l); /* pending requests fail */
void oci_link_request(struct oci_link *l, yyjson_mut_doc *d,
                      void (*reply)(void *arg, int code, const char *message, yyjson_val *root),
                      void *arg);
/* Tells the shim to exit; <then> when it is gone (or did not go in time). */
void oci_link_exit(struct oci_task *t, struct oci_link *l, void (*then)(struct oci_task *));
/* The shim's containers as they are now; then t->code. */
void oci_link_sync(struct oci_task *t, struct oci_link *l, void (*then)(struct oci_task *));
int oci_shim_connect(const char *dir);                       /* a non-blocking socket or -errno */
yyjson_mut_doc *oci_request(const char *op, const char *id); /* root is an object */
void oci_request_argv(yyjson_mut_doc *d, const char *const *argv);

/* ---- sandbox.c */
struct oci_sandbox *oci_sandbox_find(struct oci *o, const char *id);
void oci_sandbox_forget(struct oci *o, struct oci_sandbox *s);
int oci_sandbox_restore(struct oci *o);
void oci_sandbox_reconnect(struct oci *o, struct oci_task *start); /* finishes it */
void oci_sandbox_orphans(struct oci_task *t); /* pool: folders of what was never recorded */
void oci_sandbox_lost(struct oci *o, struct oci_sandbox *s); /* its shim is gone */
void oci_sandbox_run(void *self, const struct neap_runtime_sandbox_config *c, struct neap_op *op);
void oci_sandbox_stop(void *self, const char *id, struct neap_op *op);
void oci_sandbox_remove(void *self, const char *id, struct neap_op *op);
int oci_sandbox_status(void *self, const char *id, struct neap_runtime_sandbox_status *ret);
void oci_sandbox_fill(const struct oci_sandbox *s, struct neap_runtime_sandbox_status *ret);

/* ---- container.c */
struct oci_container *oci_container_find(struct oci *o, const char *id);
void oci_container_forget(struct oci *o, struct oci_container *c);
int oci_container_restore(struct oci *o);
/* Takes over what the shim or status.json says; true when it is a change. */
bool oci_container_take(struct oci_container *c, yyjson_val *v);
void oci_container_unknown(struct oci_container *c);       /* nobody saw its end */
char *oci_container_record(const struct oci_container *c); /* status.json of it; owned */
void oci_container_tell(struct oci *o, const char *id);    /* container_changed, later */
void oci_container_create(void *self, const struct neap_runtime_container_config *c,
                          struct neap_op *op);
void oci_container_start(void *self, const char *id, struct neap_op *op);
void oci_container_signal(void *self, const char *id, int signum, struct neap_op *op);
void oci_container_remove(void *self, const char *id, struct neap_op *op);
int oci_container_status(void *self, const char *id, struct neap_runtime_container_status *ret);
void oci_container_fill(const struct oci_container *c, struct neap_runtime_container_status *ret);
void oci_container_update(void *self, const char *id, const struct neap_runtime_resources *r,
                          struct neap_op *op);
int oci_container_stats(void *self, const char *id, struct neap_runtime_stats *ret);
void oci_container_log_reopen(void *self, const char *id, struct neap_op *op);
/* pool: unmounts and deletes; also what the runtime program remembers. 0 or -errno. */
int oci_container_erase(const struct oci *o, const char *id);

/* ---- bundle.c, spec.c, security.c, user.c: pool */
struct oci_bundle {
    const struct oci *o; /* constant members only */
    const struct neap_runtime_container_config *c;
    const struct oci_sandbox *sandbox; /* constant members only; the task holds the pod */
    const char *dir, *cgroup;
    const char *const *layers;
    const yyjson_val *image; /* Env, Entrypoint, ... */
    uint64_t uid, gid;       /* resolved */
    uint64_t groups[64];
    size_t group_count;
    char *home;
    char error[512];
};
int oci_bundle_make(struct oci_bundle *b); /* 0 or NEAP_E*, error set */
int oci_bundle_unmount(const char *dir);
int oci_spec_write(struct oci_bundle *b);
int oci_user_resolve(struct oci_bundle *b);
void oci_security_capabilities(yyjson_mut_doc *d, yyjson_mut_val *process,
                               const struct neap_runtime_security *s);
int oci_security_seccomp(struct oci_bundle *b, yyjson_mut_doc *d, yyjson_mut_val *lin);

/* ---- images.c */
int oci_images_load(struct oci *o);
struct oci_image *oci_image_find(struct oci *o, const char *reference);
void oci_images_forget(struct oci *o);
int oci_image_status(void *self, const char *reference, const struct neap_runtime_image **ret);
void oci_image_list(void *self, void (*image)(void *arg, const struct neap_runtime_image *i),
                    void *arg);
void oci_image_import(void *self, const char *path, const char *name, struct neap_op *op);
void oci_image_from_rootfs(void *self, const char *rootfs, const char *name,
                           const char *const *command, struct neap_op *op);
void oci_image_pull(void *self, const char *reference, const char *auth, struct neap_op *op);
void oci_image_remove(void *self, const char *reference, struct neap_op *op);

/* ---- io.c */
struct neap_runtime_io *oci_exec(void *self, const struct neap_runtime_exec_config *c,
                                 const struct neap_runtime_io_events *events, void *arg);
bool oci_io_write(void *self, struct neap_runtime_io *io, const void *data, size_t len);
void oci_io_close_stdin(void *self, struct neap_runtime_io *io);
void oci_io_resize(void *self, struct neap_runtime_io *io, unsigned columns, unsigned rows);
void oci_io_pause(void *self, struct neap_runtime_io *io, bool paused);
void oci_io_close(void *self, struct neap_runtime_io *io);
void oci_io_close_all(struct oci *o);

#endif
