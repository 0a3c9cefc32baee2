/* Containers: what is recorded of them, and the verbs.
 *   containers/<id>/record.json   who it is; written once, before anything is made
 *   containers/<id>/status.json   created, started, ended: the shim's (ours when the shim is gone)
 *   containers/<id>/{config.json,rootfs,upper,work}   the bundle */
#include "oci.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct oci_container *oci_container_find(struct oci *o, const char *id)
{
    for (struct oci_container *c = o->containers; c; c = c->next)
        if (!strcmp(c->id, id))
            return c;
    return NULL;
}

void oci_container_forget(struct oci *o, struct oci_container *c)
{
    for (struct oci_container **at = &o->containers; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    free(c->id);
    free(c->sandbox_id);
    free(c->dir);
    free(c->cgroup);
    free(c->image_id);
    free(c->name);
    free(c->error);
    free(c);
}

static struct oci_container *container_add(struct oci *o, const char *id, const char *sandbox_id,
                                           const char *cgroup, const char *image_id,
                                           const char *name)
{
    struct oci_container *c = oci_alloc(sizeof *c);
    c->id = oci_strdup(id);
    c->sandbox_id = oci_strdup(sandbox_id);
    c->dir = oci_printf("%s/containers/%s", o->data, id);
    c->cgroup = oci_strdup(cgroup);
    c->image_id = oci_strdup(image_id);
    c->name = oci_strdup(name);
    c->next = o->containers;
    o->containers = c;
    return c;
}

/* ---- records */
static char *record_text(const struct oci_container *c)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *r = yyjson_mut_obj(d);
    yyjson_mut_doc_set_root(d, r);
    yyjson_mut_obj_add_strcpy(d, r, "sandbox_id", c->sandbox_id);
    yyjson_mut_obj_add_strcpy(d, r, "cgroup", c->cgroup);
    yyjson_mut_obj_add_strcpy(d, r, "image_id", c->image_id);
    yyjson_mut_obj_add_strcpy(d, r, "name", c->name);
    yyjson_mut_obj_add_bool(d, r, "tty", c->tty);
    yyjson_mut_obj_add_bool(d, r, "stdin_open", c->stdin_open);
    yyjson_mut_obj_add_bool(d, r, "stdin_once", c->stdin_once);
    char *text = yyjson_mut_write(d, 0, NULL);
    yyjson_mut_doc_free(d);
    return text;
}

static const char *const state_names[] = {"created", "running", "exited", "unknown"};

char *oci_container_record(const struct oci_container *c)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *r = yyjson_mut_obj(d);
    yyjson_mut_doc_set_root(d, r);
    yyjson_mut_obj_add_str(d, r, "state", state_names[c->state]);
    yyjson_mut_obj_add_sint(d, r, "created", c->created);
    yyjson_mut_obj_add_sint(d, r, "started", c->started);
    yyjson_mut_obj_add_sint(d, r, "finished", c->finished);
    yyjson_mut_obj_add_int(d, r, "exit_code", c->exit_code);
    yyjson_mut_obj_add_int(d, r, "signal", c->signal);
    yyjson_mut_obj_add_bool(d, r, "oom", c->oom);
    if (c->error)
        yyjson_mut_obj_add_strcpy(d, r, "error", c->error);
    if (c->reason)
        yyjson_mut_obj_add_strcpy(d, r, "reason", c->reason);
    char *text = yyjson_mut_write(d, 0, NULL);
    yyjson_mut_doc_free(d);
    return text;
}

static const char unknown_reason[] = "ContainerStatusUnknown";

static const char *reason_of(const struct oci_container *c, const char *recorded)
{
    if (c->state != NEAP_RUNTIME_EXITED)
        return NULL;
    if (recorded && !strcmp(recorded, unknown_reason))
        return unknown_reason;
    if (c->error)
        return "StartError";
    return c->oom ? "OOMKilled" : c->exit_code ? "Error" : "Completed";
}

bool oci_container_take(struct oci_container *c, yyjson_val *v)
{
    const char *state = yyjson_get_str(yyjson_obj_get(v, "state"));
    enum neap_runtime_state before = c->state;
    if (!state || c->state == NEAP_RUNTIME_EXITED)
        return false;
    for (int i = NEAP_RUNTIME_CREATED; i <= NEAP_RUNTIME_EXITED; i++)
        if (!strcmp(state, state_names[i]))
            c->state = (enum neap_runtime_state)i;
    c->pid = yyjson_get_int(yyjson_obj_get(v, "pid"));
    c->created = yyjson_get_sint(yyjson_obj_get(v, "created"));
    c->started = yyjson_get_sint(yyjson_obj_get(v, "started"));
    c->finished = yyjson_get_sint(yyjson_obj_get(v, "finished"));
    c->exit_code = yyjson_get_int(yyjson_obj_get(v, "exit_code"));
    c->signal = yyjson_get_int(yyjson_obj_get(v, "signal"));
    c->oom = yyjson_get_bool(yyjson_obj_get(v, "oom"));
    free(c->error);
    c->error = oci_strdup(yyjson_get_str(yyjson_obj_get(v, "error")));
    c->reason = reason_of(c, yyjson_get_str(yyjson_obj_get(v, "reason")));
    return before != c->state;
}

void oci_container_unknown(struct oci_container *c)
{
    c->state = NEAP_RUNTIME_EXITED;
    c->exit_code = 128 + SIGKILL;
    c->signal = SIGKILL;
    c->finished = oci_now_wall();
    c->reason = unknown_reason;
    free(c->error);
    c->error = oci_strdup("the process that watched the container is gone; how the container "
                          "ended is not known");
}

static yyjson_doc *read_json(const char *dir, const char *name)
{
    char *path = oci_printf("%s/%s", dir, name), *text = NULL;
    size_t n = 0;
    yyjson_doc *doc = oci_read_file(path, OCI_FILE_MAX, &text, &n) ? NULL : yyjson_read(text, n, 0);
    free(text);
    free(path);
    return doc;
}

static void restore_one(struct oci *o, const char *id)
{
    char *dir = oci_printf("%s/containers/%s", o->data, id);
    yyjson_doc *record = read_json(dir, "record.json"), *status = read_json(dir, "status.json");
    yyjson_val *r = yyjson_doc_get_root(record);
    const char *sandbox = yyjson_get_str(yyjson_obj_get(r, "sandbox_id"));
    const char *cgroup = yyjson_get_str(yyjson_obj_get(r, "cgroup"));
    const char *image = yyjson_get_str(yyjson_obj_get(r, "image_id"));
    if (sandbox && cgroup && image) {
        struct oci_container *c =
            container_add(o, id, sandbox, cgroup, image, yyjson_get_str(yyjson_obj_get(r, "name")));
        c->tty = yyjson_get_bool(yyjson_obj_get(r, "tty"));
        c->stdin_open = yyjson_get_bool(yyjson_obj_get(r, "stdin_open"));
        c->stdin_once = yyjson_get_bool(yyjson_obj_get(r, "stdin_once"));
        oci_container_take(c, yyjson_doc_get_root(status));
    }
    yyjson_doc_free(record);
    yyjson_doc_free(status);
    free(dir);
}

int oci_container_restore(struct oci *o)
{
    char *path = oci_printf("%s/containers", o->data);
    DIR *d = opendir(path);
    free(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (oci_id_ok(e->d_name))
            restore_one(o, e->d_name);
    if (d)
        closedir(d);
    return 0;
}

struct told {
    struct oci *o;
    char id[256];
};

static void tell(void *arg)
{
    struct told *t = arg;
    if (!t->o->stopping && t->o->events.container_changed)
        t->o->events.container_changed(t->o->events.arg, t->id);
    free(t);
}

void oci_container_tell(struct oci *o, const char *id)
{
    struct told *t = oci_alloc(sizeof *t);
    t->o = o;
    snprintf(t->id, sizeof t->id, "%s", id);
    o->host->loop->post(o->host->ctx, tell, t);
}

/* ---- files; pool */
int oci_container_erase(const struct oci *o, const char *id)
{
    char *dir = oci_printf("%s/containers/%s", o->data, id);
    char *state = oci_printf("%s/%s", o->runtime_root, id);
    int r = oci_bundle_unmount(dir);
    if (!r)
        r = oci_remove_tree(state);
    if (!r)
        r = oci_remove_tree(dir);
    free(dir);
    free(state);
    return r;
}

/* ---- create */
static struct oci_sandbox *sandbox_of(struct oci *o, const struct oci_container *c)
{
    return oci_sandbox_find(o, c->sandbox_id);
}

static void create_failed(struct oci_task *t)
{
    oci_container_forget(t->o, t->container);
    oci_task_finish(t);
}

static void work_abort(struct oci_task *t)
{
    oci_cgroup_kill(&t->o->cgroup, t->container->cgroup, OCI_KILL_MS);
    oci_cgroup_remove(&t->o->cgroup, t->container->cgroup);
    oci_container_erase(t->o, t->id);
}

static void create_done(struct oci_task *t)
{
    if (t->code)
        oci_task_work(t, work_abort, create_failed);
    else
        oci_task_finish(t);
}

static void create_listed(struct oci_task *t)
{
    create_done(t);
}

static void create_asked(struct oci_task *t)
{
    struct oci_sandbox *s = sandbox_of(t->o, t->container);
    if (t->code || !s->link)
        create_done(t);
    else
        oci_link_sync(t, s->link, create_listed);
}

static yyjson_mut_doc *create_request(struct oci_task *t)
{
    struct oci *o = t->o;
    const struct neap_runtime_container_config *cc = t->config;
    struct oci_container *c = t->container;
    yyjson_mut_doc *d = oci_request("create", c->id);
    yyjson_mut_val *r = yyjson_mut_doc_get_root(d);
    const char *argv[] = {o->runtime,
                          "--root",
                          o->runtime_root,
                          "--log",
                          "@log",
                          "create",
                          "--bundle",
                          c->dir,
                          "--pid-file",
                          "@pid",
                          c->tty ? "--console-socket" : c->id,
                          c->tty ? "@console" : NULL,
                          c->id,
                          NULL};
    oci_request_argv(d, argv);
    yyjson_mut_obj_add_strcpy(d, r, "dir", c->dir);
    if (cc->log_path)
        yyjson_mut_obj_add_strcpy(d, r, "log", cc->log_path);
    yyjson_mut_obj_add_sint(d, r, "log_max_bytes",
                            cc->log_max_bytes > 0 ? cc->log_max_bytes : 10 << 20);
    yyjson_mut_obj_add_int(d, r, "log_max_files", cc->log_max_files ? (int)cc->log_max_files : 5);
    yyjson_mut_obj_add_bool(d, r, "tty", c->tty);
    yyjson_mut_obj_add_bool(d, r, "stdin", c->stdin_open);
    yyjson_mut_obj_add_bool(d, r, "stdin_once", c->stdin_once);
    yyjson_mut_obj_add_bool(d, r, "hide_unified", o->cgroup.hybrid && o->runtime_is_crun);
    char *oom = o->cgroup.driver->oom_file(&o->cgroup, c->cgroup);
    if (oom)
        yyjson_mut_obj_add_strcpy(d, r, "oom_file", oom);
    free(oom);
    return d;
}

static void create_prepared(struct oci_task *t)
{
    struct oci_sandbox *s = sandbox_of(t->o, t->container);
    if (t->code)
        create_done(t);
    else
        oci_task_request(t, s->link, create_request(t), create_asked);
}

/* What the pool needs, gathered on the loop. */
struct create_work {
    struct oci_bundle bundle;
    char *record;
    const char *layers[129];
};

static void work_create(struct oci_task *t)
{
    struct create_work *w = t->extra;
    const struct neap_runtime_container_config *cc = t->config;
    char *path = oci_printf("%s/record.json", w->bundle.dir);
    int r = oci_mkdir_p(w->bundle.dir, 0700);
    if (!r)
        r = oci_write_durable(path, w->record, strlen(w->record));
    free(path);
    if (!r && cc->log_path) {
        char *dir = oci_strdup(cc->log_path), *slash = strrchr(dir, '/');
        if (slash && slash != dir) {
            *slash = 0;
            r = oci_mkdir_p(dir, 0755);
        }
        free(dir);
    }
    if (r)
        oci_task_fail(t, oci_code(r), "container %s: %s", t->id, strerror(-r));
    else if ((r = oci_bundle_make(&w->bundle)) != 0)
        oci_task_fail(t, r, "%s", w->bundle.error);
    free(w->record);
    free(w->bundle.home);
}

static void run_create(struct oci_task *t)
{
    const struct neap_runtime_container_config *cc = t->config;
    struct oci *o = t->o;
    struct oci_sandbox *s = oci_sandbox_find(o, cc->sandbox_id);
    struct oci_image *image = cc->image_id ? oci_image_find(o, cc->image_id) : NULL;
    if (oci_container_find(o, cc->id)) {
        oci_task_finish(t);
        return;
    }
    if (!s || !s->ready || !s->link)
        oci_task_fail(t, NEAP_EUNAVAILABLE, "pod %s is not ready", cc->sandbox_id);
    else if (!image)
        oci_task_fail(t, NEAP_ENOTFOUND, "image %s is not here",
                      cc->image_id ? cc->image_id : "(none)");
    if (!s || !image || t->code) {
        oci_task_finish(t);
        return;
    }
    char *cgroup = oci_printf("%s/%s", s->cgroup, cc->id);
    struct oci_container *c =
        container_add(o, cc->id, cc->sandbox_id, cgroup, image->id, cc->name ? cc->name : "");
    free(cgroup);
    c->tty = cc->tty;
    c->stdin_open = cc->stdin_open;
    c->stdin_once = cc->stdin_once;
    t->container = c;
    struct create_work *w = oci_alloc(sizeof *w);
    for (unsigned i = 0; i < 128 && image->layers[i]; i++)
        w->layers[i] = image->layers[i];
    w->bundle = (struct oci_bundle){.o = o,
                                    .c = cc,
                                    .sandbox = s,
                                    .dir = c->dir,
                                    .cgroup = c->cgroup,
                                    .layers = w->layers,
                                    .image = image->config};
    w->record = record_text(c);
    t->extra = w;
    oci_task_work(t, work_create, create_prepared);
}

void oci_container_create(void *self, const struct neap_runtime_container_config *c,
                          struct neap_op *op)
{
    struct oci_task *t = oci_task_new(self, op, c->sandbox_id, c->id, run_create);
    t->config = c;
    if (!oci_id_ok(c->id) || !oci_id_ok(c->sandbox_id)) {
        oci_task_fail(t, NEAP_EINVALID, "the container's id is not usable");
        t->running = true;
        oci_task_finish(t);
        return;
    }
    oci_task_submit(t);
}

/* ---- the other verbs: found when their turn comes, in the queue of their pod */
static struct oci_task *container_task(struct oci *o, const char *id, struct neap_op *op,
                                       void (*run)(struct oci_task *))
{
    struct oci_container *c = oci_container_find(o, id);
    if (c)
        return oci_task_new(o, op, c->sandbox_id, id, run);
    char *key = oci_strdup(id); /* not made yet: "<pod uid>_..." */
    key[strcspn(key, "_")] = 0;
    struct oci_task *t = oci_task_new(o, op, key, id, run);
    free(key);
    return t;
}

static bool found(struct oci_task *t)
{
    t->container = oci_container_find(t->o, t->id);
    t->sandbox = t->container ? sandbox_of(t->o, t->container) : NULL;
    if (t->container && t->sandbox)
        return true;
    oci_task_fail(t, NEAP_ENOTFOUND, "container %s does not exist", t->id);
    oci_task_finish(t);
    return false;
}

static void finish_synced(struct oci_task *t)
{
    oci_task_finish(t);
}

static void start_asked(struct oci_task *t)
{
    if (t->sandbox->link && !t->code)
        oci_link_sync(t, t->sandbox->link, finish_synced);
    else
        oci_task_finish(t);
}

static void run_start(struct oci_task *t)
{
    if (!found(t))
        return;
    if (t->container->state != NEAP_RUNTIME_CREATED) {
        oci_task_finish(t);
        return;
    }
    yyjson_mut_doc *d = oci_request("start", t->id);
    const char *argv[] = {t->o->runtime, "--root", t->o->runtime_root, "--log", "@log", "start",
                          t->id,         NULL};
    oci_request_argv(d, argv);
    oci_task_request(t, t->sandbox->link, d, start_asked);
}

void oci_container_start(void *self, const char *id, struct neap_op *op)
{
    oci_task_submit(container_task(self, id, op, run_start));
}

static void run_signal(struct oci_task *t)
{
    if (!found(t))
        return;
    if (t->container->state == NEAP_RUNTIME_EXITED) {
        oci_task_finish(t);
        return;
    }
    yyjson_mut_doc *d = oci_request("signal", t->id);
    yyjson_mut_obj_add_int(d, yyjson_mut_doc_get_root(d), "signal", t->number);
    oci_task_request(t, t->sandbox->link, d, finish_synced);
}

void oci_container_signal(void *self, const char *id, int signum, struct neap_op *op)
{
    struct oci_task *t = container_task(self, id, op, run_signal);
    t->number = signum;
    oci_task_submit(t);
}

static void run_reopen(struct oci_task *t)
{
    if (found(t))
        oci_task_request(t, t->sandbox->link, oci_request("log_reopen", t->id), finish_synced);
}

void oci_container_log_reopen(void *self, const char *id, struct neap_op *op)
{
    oci_task_submit(container_task(self, id, op, run_reopen));
}

/* ---- remove */
static void remove_done(struct oci_task *t)
{
    if (!t->code)
        oci_container_forget(t->o, t->container);
    oci_task_finish(t);
}

static void work_remove(struct oci_task *t)
{
    int r = oci_cgroup_kill(&t->o->cgroup, t->container->cgroup, OCI_KILL_MS);
    if (!r)
        r = oci_cgroup_remove(&t->o->cgroup, t->container->cgroup);
    if (!r)
        r = oci_container_erase(t->o, t->id);
    if (r)
        oci_task_fail(t, oci_code(r), "container %s: %s", t->id, strerror(-r));
}

static void remove_asked(struct oci_task *t)
{
    if (t->code && t->code != NEAP_ENOTFOUND && t->code != NEAP_EUNAVAILABLE) {
        oci_task_finish(t);
        return;
    }
    t->code = 0;
    oci_task_work(t, work_remove, remove_done);
}

static void run_remove(struct oci_task *t)
{
    t->container = oci_container_find(t->o, t->id);
    t->sandbox = t->container ? sandbox_of(t->o, t->container) : NULL;
    if (!t->container) {
        oci_task_finish(t);
        return;
    }
    if (!t->sandbox || !t->sandbox->link) {
        remove_asked(t);
        return;
    }
    yyjson_mut_doc *d = oci_request("delete", t->id);
    const char *argv[] = {t->o->runtime, "--root", t->o->runtime_root,
                          "--log",       "@log",   "delete",
                          "--force",     t->id,    NULL};
    oci_request_argv(d, argv);
    oci_task_request(t, t->sandbox->link, d, remove_asked);
}

void oci_container_remove(void *self, const char *id, struct neap_op *op)
{
    oci_task_submit(container_task(self, id, op, run_remove));
}

/* ---- update, stats, status */
static void work_update(struct oci_task *t)
{
    struct oci_cgroup *g = &t->o->cgroup;
    const char *path = t->container ? t->container->cgroup : t->sandbox->cgroup;
    int r = g->driver->limit(g, path, t->config);
    if (r)
        oci_task_fail(t, oci_code(r), "%s: limits: %s", t->id, strerror(-r));
}

static void run_update(struct oci_task *t)
{
    t->sandbox = oci_sandbox_find(t->o, t->id); /* the whole pod's */
    if (t->sandbox || found(t))
        oci_task_work(t, work_update, finish_synced);
}

void oci_container_update(void *self, const char *id, const struct neap_runtime_resources *r,
                          struct neap_op *op)
{
    struct oci_task *t = container_task(self, id, op, run_update);
    t->config = r;
    oci_task_submit(t);
}

int oci_container_stats(void *self, const char *id, struct neap_runtime_stats *ret)
{
    struct oci *o = self;
    struct oci_container *c = oci_container_find(o, id);
    if (!c || c->state != NEAP_RUNTIME_RUNNING)
        return NEAP_ENOTFOUND;
    *ret = (struct neap_runtime_stats){.id = c->id};
    return oci_code(o->cgroup.driver->stats(&o->cgroup, c->cgroup, ret));
}

void oci_container_fill(const struct oci_container *c, struct neap_runtime_container_status *ret)
{
    *ret = (struct neap_runtime_container_status){
        .id = c->id,
        .sandbox_id = c->sandbox_id,
        .state = c->state,
        .created_wall_ns = c->created,
        .started_wall_ns = c->started,
        .finished_wall_ns = c->finished,
        .exit_code = c->exit_code,
        .signal = c->signal,
        .oom_killed = c->oom,
        .reason = c->reason,
        .message = c->error,
        .pid = c->state == NEAP_RUNTIME_RUNNING ? c->pid : 0,
    };
}

int oci_container_status(void *self, const char *id, struct neap_runtime_container_status *ret)
{
    struct oci_container *c = oci_container_find(self, id);
    if (!c)
        return NEAP_ENOTFOUND;
    oci_container_fill(c, ret);
    return 0;
}
