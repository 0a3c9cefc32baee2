/* Pods: a folder with pinned namespaces, a control group, a shim.
 *   sandboxes/<id>/config.json   all that is needed to make it and to know it again
 *   sandboxes/<id>/stopped       its namespaces were given back: never ready again */
#include "oci.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

struct oci_sandbox *oci_sandbox_find(struct oci *o, const char *id)
{
    for (struct oci_sandbox *s = o->sandboxes; s; s = s->next)
        if (!strcmp(s->id, id))
            return s;
    return NULL;
}

static void sandbox_free(struct oci_sandbox *s)
{
    free(s->id);
    free(s->dir);
    free(s->cgroup);
    free(s->hostname);
    free(s->netns);
    free(s);
}

void oci_sandbox_forget(struct oci *o, struct oci_sandbox *s)
{
    for (struct oci_sandbox **at = &o->sandboxes; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    oci_link_close(s->link);
    sandbox_free(s);
}

static struct oci_sandbox *sandbox_add(struct oci *o, const char *id, const char *cgroup)
{
    struct oci_sandbox *s = oci_alloc(sizeof *s);
    s->id = oci_strdup(id);
    s->dir = oci_printf("%s/sandboxes/%s", o->data, id);
    s->cgroup = oci_strdup(cgroup);
    s->next = o->sandboxes;
    o->sandboxes = s;
    return s;
}

/* ---- config.json */
static void add_procs(struct oci *o, yyjson_mut_doc *d, const char *key, const char *path)
{
    yyjson_mut_val *a = yyjson_mut_arr(d);
    char **procs = oci_cgroup_procs(&o->cgroup, path);
    for (char **p = procs; *p; p++) {
        yyjson_mut_arr_add_strcpy(d, a, *p);
        free(*p);
    }
    free(procs);
    yyjson_mut_obj_add_val(d, yyjson_mut_doc_get_root(d), key, a);
}

/* "/neap-x/burstable/podY" -> "/neap-x/shims": beside the pods, never inside one. */
static char *shims_path(const struct oci_sandbox *s)
{
    const char *slash = strchr(s->cgroup + 1, '/');
    size_t n = slash ? (size_t)(slash - s->cgroup) : strlen(s->cgroup);
    return oci_printf("%.*s%s", (int)n, s->cgroup, slash ? "/shims" : "-shims");
}

static char *config_text(struct oci *o, struct oci_sandbox *s, const char *const *sysctls)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *r = yyjson_mut_obj(d);
    yyjson_mut_doc_set_root(d, r);
    yyjson_mut_obj_add_strcpy(d, r, "id", s->id);
    yyjson_mut_obj_add_strcpy(d, r, "cgroup", s->cgroup);
    yyjson_mut_obj_add_strcpy(d, r, "hostname", s->hostname ? s->hostname : "");
    yyjson_mut_obj_add_sint(d, r, "created", s->created);
    yyjson_mut_obj_add_bool(d, r, "host_network", s->host_network);
    yyjson_mut_obj_add_bool(d, r, "host_pid", s->host_pid);
    yyjson_mut_obj_add_bool(d, r, "host_ipc", s->host_ipc);
    yyjson_mut_obj_add_bool(d, r, "share_pid", s->share_pid);
    yyjson_mut_val *a = yyjson_mut_arr(d);
    for (const char *const *p = sysctls; p && *p; p++)
        yyjson_mut_arr_add_strcpy(d, a, *p);
    yyjson_mut_obj_add_val(d, r, "sysctls", a);
    char *shims = shims_path(s), *pause = oci_printf("%s/pause", s->cgroup);
    add_procs(o, d, "shim_procs", shims);
    add_procs(o, d, "pause_procs", pause);
    free(shims);
    free(pause);
    char *text = yyjson_mut_write(d, 0, NULL);
    yyjson_mut_doc_free(d);
    return text;
}

static bool flag(yyjson_val *v, const char *key)
{
    return yyjson_get_bool(yyjson_obj_get(v, key));
}

static void restore_one(struct oci *o, const char *id)
{
    char *path = oci_printf("%s/sandboxes/%s/config.json", o->data, id), *text = NULL;
    size_t n = 0;
    yyjson_doc *doc = oci_read_file(path, OCI_FILE_MAX, &text, &n) ? NULL : yyjson_read(text, n, 0);
    free(path);
    yyjson_val *r = yyjson_doc_get_root(doc);
    const char *cgroup = yyjson_get_str(yyjson_obj_get(r, "cgroup"));
    if (cgroup && cgroup[0] == '/' && cgroup[1]) {
        struct oci_sandbox *s = sandbox_add(o, id, cgroup);
        s->hostname = oci_strdup(yyjson_get_str(yyjson_obj_get(r, "hostname")));
        s->created = yyjson_get_sint(yyjson_obj_get(r, "created"));
        s->host_network = flag(r, "host_network");
        s->host_pid = flag(r, "host_pid");
        s->host_ipc = flag(r, "host_ipc");
        s->share_pid = flag(r, "share_pid");
        if (!s->host_network)
            s->netns = oci_printf("%s/ns/net", s->dir);
        char *mark = oci_printf("%s/stopped", s->dir);
        s->stopped = access(mark, F_OK) == 0;
        s->ready = !s->stopped;
        free(mark);
    }
    yyjson_doc_free(doc);
    free(text);
}

int oci_sandbox_restore(struct oci *o)
{
    char *path = oci_printf("%s/sandboxes", o->data);
    DIR *d = opendir(path);
    free(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (oci_id_ok(e->d_name))
            restore_one(o, e->d_name);
    if (d)
        closedir(d);
    return 0;
}

/* ---- taking apart; pool */
static int unpin(const char *dir)
{
    static const char *const names[] = {"ns/net", "ns/uts", "ns/ipc", "ns/pid", "shm"};
    int r = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = oci_printf("%s/%s", dir, names[i]);
        while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            ;
        if (errno != EINVAL && errno != ENOENT)
            r = -errno;
        free(path);
    }
    return r;
}

static void work_erase(struct oci_task *t)
{
    struct oci_sandbox *s = t->sandbox;
    int r = oci_cgroup_kill(&t->o->cgroup, s->cgroup, OCI_KILL_MS);
    if (!r)
        r = unpin(s->dir);
    char *shims = shims_path(s);
    if (!r)
        r = oci_cgroup_remove(&t->o->cgroup, s->cgroup);
    oci_cgroup_remove(&t->o->cgroup, shims); /* busy while other pods live */
    free(shims);
    if (!r)
        r = oci_remove_tree(s->dir);
    if (r && !t->code)
        oci_task_fail(t, oci_code(r), "pod %s: %s", s->id, strerror(-r));
}

/* ---- run */
static void run_failed_erased(struct oci_task *t)
{
    oci_sandbox_forget(t->o, t->sandbox);
    oci_task_finish(t);
}

static void run_synced(struct oci_task *t)
{
    if (t->code) {
        oci_task_work(t, work_erase, run_failed_erased);
        return;
    }
    t->sandbox->ready = true;
    oci_task_finish(t);
}

static void run_launched(struct oci_task *t)
{
    int r = t->code ? 0 : oci_link_open(t->o, t->sandbox);
    if (r)
        oci_task_fail(t, NEAP_EINTERNAL, "the shim does not answer: %s", strerror(-r));
    if (t->code)
        run_synced(t);
    else
        oci_link_sync(t, t->sandbox->link, run_synced);
}

static void run_prepared(struct oci_task *t)
{
    if (t->code) {
        run_synced(t);
        return;
    }
    const char *argv[] = {t->o->shim, "sandbox", t->sandbox->dir, NULL};
    oci_task_child(t, argv, NULL, OCI_CHILD_MS, run_launched);
}

static void work_prepare(struct oci_task *t)
{
    const struct neap_runtime_sandbox_config *c = t->config;
    struct oci_sandbox *s = t->sandbox;
    struct oci_cgroup *g = &t->o->cgroup;
    char *path = oci_printf("%s/config.json", s->dir), *shims = shims_path(s);
    char *pause = oci_printf("%s/pause", s->cgroup);
    unpin(s->dir); /* what an earlier, unfinished try left */
    int r = oci_mkdir_p(s->dir, 0700);
    char *text = config_text(t->o, s, c->sysctls);
    if (!r)
        r = text ? oci_write_durable(path, text, strlen(text)) : -ENOMEM;
    if (!r)
        r = g->driver->make(g, shims);
    if (!r)
        r = g->driver->make(g, s->share_pid ? pause : s->cgroup);
    if (!r)
        r = g->driver->limit(g, s->cgroup, &c->resources);
    if (r)
        oci_task_fail(t, oci_code(r), "pod %s: %s", s->id, strerror(-r));
    free(text);
    free(path);
    free(shims);
    free(pause);
}

static bool has_containers(struct oci *o, const char *id)
{
    for (struct oci_container *c = o->containers; c; c = c->next)
        if (!strcmp(c->sandbox_id, id))
            return true;
    return false;
}

static void run_run(struct oci_task *t)
{
    const struct neap_runtime_sandbox_config *c = t->config;
    struct oci_sandbox *s = oci_sandbox_find(t->o, t->id);
    if (s && (s->ready || s->stopped || has_containers(t->o, t->id))) {
        if (!s->ready)
            oci_task_fail(t, NEAP_ECONFLICT, "pod %s was stopped; remove it first", t->id);
        oci_task_finish(t);
        return;
    }
    if (s)
        oci_sandbox_forget(t->o, s);
    char *dflt = oci_printf("/neap-%s/pod%s", t->o->host->instance, t->id);
    s = sandbox_add(t->o, t->id, c->cgroup_parent ? c->cgroup_parent : dflt);
    free(dflt);
    s->hostname = oci_strdup(c->hostname);
    s->host_network = c->host_network;
    s->host_pid = c->host_pid;
    s->host_ipc = c->host_ipc;
    s->share_pid = c->share_process_namespace && !c->host_pid;
    s->created = t->o->host->loop->now_wall_ns(t->o->host->ctx);
    if (!s->host_network)
        s->netns = oci_printf("%s/ns/net", s->dir);
    t->sandbox = s;
    oci_task_work(t, work_prepare, run_prepared);
}

static bool cgroup_path_ok(const char *p)
{
    return !p || (p[0] == '/' && p[1] && !strstr(p, "..") && strlen(p) < 512);
}

void oci_sandbox_run(void *self, const struct neap_runtime_sandbox_config *c, struct neap_op *op)
{
    struct oci_task *t = oci_task_new(self, op, c->id, c->id, run_run);
    t->config = c;
    if (!oci_id_ok(c->id) || !cgroup_path_ok(c->cgroup_parent)) {
        oci_task_fail(t, NEAP_EINVALID, "the pod's id or cgroup is not usable");
        t->running = true;
        oci_task_finish(t);
        return;
    }
    oci_task_submit(t);
}

/* ---- stop */
static void end_unknown(struct oci_task *t)
{
    for (struct oci_container *c = t->o->containers; c; c = c->next) {
        if (strcmp(c->sandbox_id, t->id) || c->state == NEAP_RUNTIME_EXITED)
            continue;
        oci_container_unknown(c);
        oci_container_tell(t->o, c->id);
    }
}

static void work_stop(struct oci_task *t)
{
    char *mark = oci_printf("%s/stopped", t->sandbox->dir);
    int r = oci_write_durable(mark, "", 0);
    free(mark);
    if (!r)
        r = unpin(t->sandbox->dir);
    if (r)
        oci_task_fail(t, oci_code(r), "pod %s: %s", t->id, strerror(-r));
}

static void stop_done(struct oci_task *t)
{
    if (!t->code) {
        t->sandbox->stopped = true;
        t->sandbox->ready = false;
    }
    oci_task_finish(t);
}

static void stop_synced(struct oci_task *t)
{
    end_unknown(t);
    t->code = 0;
    oci_task_work(t, work_stop, stop_done);
}

static void work_kill(struct oci_task *t)
{
    int r = oci_cgroup_kill(&t->o->cgroup, t->sandbox->cgroup, OCI_KILL_MS);
    if (r)
        oci_task_fail(t, oci_code(r), "pod %s: processes do not end: %s", t->id, strerror(-r));
}

static void stop_killed(struct oci_task *t)
{
    if (t->code)
        oci_task_finish(t);
    else if (t->sandbox->link)
        oci_link_sync(t, t->sandbox->link, stop_synced);
    else
        stop_synced(t);
}

static void run_stop(struct oci_task *t)
{
    t->sandbox = oci_sandbox_find(t->o, t->id);
    if (!t->sandbox || t->sandbox->stopped)
        oci_task_finish(t);
    else
        oci_task_work(t, work_kill, stop_killed);
}

void oci_sandbox_stop(void *self, const char *id, struct neap_op *op)
{
    oci_task_submit(oci_task_new(self, op, id, id, run_stop));
}

/* ---- remove */
static void remove_erased(struct oci_task *t)
{
    if (!t->code) {
        struct oci_container *next;
        for (struct oci_container *c = t->o->containers; c; c = next) {
            next = c->next;
            if (!strcmp(c->sandbox_id, t->id))
                oci_container_forget(t->o, c);
        }
        oci_sandbox_forget(t->o, t->sandbox);
    }
    oci_task_finish(t);
}

/* t->extra: ids of the pod's containers, NUL after each, an empty one last */
static void work_remove(struct oci_task *t)
{
    int r = 0;
    for (const char *id = t->extra; *id && !r; id += strlen(id) + 1)
        r = oci_container_erase(t->o, id);
    if (r)
        oci_task_fail(t, oci_code(r), "pod %s: a container's files: %s", t->id, strerror(-r));
    else
        work_erase(t);
}

static void remove_shim_gone(struct oci_task *t)
{
    struct oci_buf ids = {0};
    for (struct oci_container *c = t->o->containers; c; c = c->next)
        if (!strcmp(c->sandbox_id, t->id))
            oci_buf_add(&ids, c->id, strlen(c->id) + 1);
    oci_buf_add(&ids, "", 1);
    t->code = 0;
    t->extra = ids.p;
    oci_task_work(t, work_remove, remove_erased);
}

static void remove_killed(struct oci_task *t)
{
    if (t->code)
        oci_task_finish(t);
    else if (t->sandbox->link)
        oci_link_exit(t, t->sandbox->link, remove_shim_gone);
    else
        remove_shim_gone(t);
}

static void run_remove(struct oci_task *t)
{
    t->sandbox = oci_sandbox_find(t->o, t->id);
    if (!t->sandbox) {
        oci_task_finish(t);
        return;
    }
    t->sandbox->ready = false;
    oci_task_work(t, work_kill, remove_killed);
}

void oci_sandbox_remove(void *self, const char *id, struct neap_op *op)
{
    oci_task_submit(oci_task_new(self, op, id, id, run_remove));
}

/* ---- the shim is gone */
struct lost_record {
    char *path, *text;
};

static void work_lost(struct oci_task *t)
{
    work_kill(t);
    struct lost_record *l = t->extra;
    for (; l && l->path; l++) {
        if (l->text)
            oci_write_durable(l->path, l->text, strlen(l->text));
        free(l->path);
        free(l->text);
    }
}

static void start_one_done(struct oci_task *t)
{
    struct oci *o = t->o;
    if (t->number && --o->start_left == 0)
        oci_task_finish(o->start_task);
    oci_task_finish(t);
}

static void lost_done(struct oci_task *t)
{
    end_unknown(t);
    t->sandbox->ready = false;
    if (t->o->events.sandbox_changed)
        t->o->events.sandbox_changed(t->o->events.arg, t->id);
    start_one_done(t);
}

static void run_lost(struct oci_task *t)
{
    t->sandbox = oci_sandbox_find(t->o, t->id);
    if (t->o->stopping || !t->sandbox || t->sandbox->link || t->sandbox->leaving) {
        start_one_done(t);
        return;
    }
    t->sandbox->ready = false;
    size_t n = 0;
    for (struct oci_container *c = t->o->containers; c; c = c->next)
        n += !strcmp(c->sandbox_id, t->id);
    struct lost_record *l = oci_alloc((n + 1) * sizeof *l);
    t->extra = l;
    for (struct oci_container *c = t->o->containers; c; c = c->next) {
        if (strcmp(c->sandbox_id, t->id) || c->state == NEAP_RUNTIME_EXITED)
            continue;
        struct oci_container end = *c;
        end.error = NULL;
        oci_container_unknown(&end);
        l->path = oci_printf("%s/status.json", c->dir);
        l->text = oci_container_record(&end);
        free(end.error);
        l++;
    }
    oci_task_work(t, work_lost, lost_done);
}

void oci_sandbox_lost(struct oci *o, struct oci_sandbox *s)
{
    if (s->leaving || o->stopping)
        return;
    o->host->log->write(o->host->ctx, 2, "the shim of a pod is gone", s->id);
    oci_task_submit(oci_task_new(o, NULL, s->id, s->id, run_lost));
}

/* ---- start */
static void tell_ended(struct oci_task *t)
{
    for (struct oci_container *c = t->o->containers; c; c = c->next)
        if (!strcmp(c->sandbox_id, t->id) && c->state == NEAP_RUNTIME_EXITED)
            oci_container_tell(t->o, c->id);
    start_one_done(t);
}

static void run_reconnect(struct oci_task *t)
{
    struct oci_sandbox *s = oci_sandbox_find(t->o, t->id);
    int r = s && !t->o->stopping ? oci_link_open(t->o, s) : 0;
    if (!s || t->o->stopping)
        start_one_done(t);
    else if (!r)
        oci_link_sync(t, s->link, tell_ended);
    else if (s->stopped)
        tell_ended(t);
    else
        run_lost(t);
}

void oci_sandbox_reconnect(struct oci *o, struct oci_task *start)
{
    o->start_task = start;
    o->start_left = 1;
    for (struct oci_sandbox *s = o->sandboxes; s; s = s->next) {
        struct oci_task *t = oci_task_new(o, NULL, s->id, s->id, run_reconnect);
        t->number = 1;
        o->start_left++;
        oci_task_submit(t);
    }
    if (--o->start_left == 0)
        oci_task_finish(start);
}

void oci_sandbox_orphans(struct oci_task *t)
{
    static const char *const kinds[][2] = {{"sandboxes", "config.json"},
                                           {"containers", "record.json"}};
    for (size_t i = 0; i < 2; i++) {
        char *path = oci_printf("%s/%s", t->o->data, kinds[i][0]);
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));) {
            char *dir = oci_printf("%s/%s", path, e->d_name);
            char *file = oci_printf("%s/%s", dir, kinds[i][1]);
            if (oci_id_ok(e->d_name) && access(file, F_OK) < 0 && errno == ENOENT) {
                if (i == 1) {
                    oci_container_erase(t->o, e->d_name);
                } else {
                    unpin(dir);
                    oci_remove_tree(dir);
                }
            }
            free(file);
            free(dir);
        }
        if (d)
            closedir(d);
        free(path);
    }
}

/* ---- status */
void oci_sandbox_fill(const struct oci_sandbox *s, struct neap_runtime_sandbox_status *ret)
{
    *ret = (struct neap_runtime_sandbox_status){.id = s->id,
                                                .ready = s->ready && !s->stopped,
                                                .netns_path = s->netns,
                                                .created_wall_ns = s->created};
}

int oci_sandbox_status(void *self, const char *id, struct neap_runtime_sandbox_status *ret)
{
    struct oci_sandbox *s = oci_sandbox_find(self, id);
    if (!s)
        return NEAP_ENOTFOUND;
    oci_sandbox_fill(s, ret);
    return 0;
}
