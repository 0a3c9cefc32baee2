/* The descriptor, options, and the life of the plugin itself. */
#include "oci.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct neap_option options[] = {
    {"runtime", NEAP_OPTION_STRING, NULL, 0, 0, "crun or runc: a path; none: crun, else runc"},
    {"shim", NEAP_OPTION_STRING, NULL, 0, 0, "path of neap-shim; none: beside the plugins"},
    {"image_tool", NEAP_OPTION_STRING, NULL, 0, 0, "path of neap-image; none: beside the plugins"},
    {"registry_ca", NEAP_OPTION_STRING, NULL, 0, 0,
     "a file of certificates (PEM) that registries are verified by, beside the system's"},
    {NULL, NEAP_OPTION_STRING, NULL, 0, 0, NULL},
};

/* PREFIX/plugins/runtime/oci.so -> PREFIX/<file>, or (installed) PREFIX/lib/neap -> PREFIX/libexec */
static char *find_program(const char *option, const char *file)
{
    static const char *const tries[] = {"/../..", "/../../libexec", "/../../../..",
                                        "/../../../../libexec/neap", "/../../../../bin"};
    Dl_info info;
    if (option && *option)
        return access(option, X_OK) == 0 ? oci_strdup(option) : NULL;
    if (!dladdr((void *)find_program, &info) || !info.dli_fname)
        return NULL;
    char *own = realpath(info.dli_fname, NULL), *slash = own ? strrchr(own, '/') : NULL,
         *ret = NULL;
    if (slash)
        *slash = 0;
    for (size_t i = 0; slash && !ret && i < sizeof tries / sizeof *tries; i++) {
        char *path = oci_printf("%s%s/%s", own, tries[i], file);
        ret = access(path, X_OK) == 0 ? realpath(path, NULL) : NULL;
        free(path);
    }
    free(own);
    return ret;
}

static char *find_runtime(const char *option)
{
    static const char *const paths[] = {"/usr/bin/crun", "/usr/local/bin/crun", "/usr/sbin/runc",
                                        "/usr/bin/runc", "/usr/local/sbin/runc"};
    if (option && *option == '/')
        return access(option, X_OK) == 0 ? oci_strdup(option) : NULL;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if ((!option || !*option || !strcmp(strrchr(paths[i], '/') + 1, option)) &&
            access(paths[i], X_OK) == 0)
            return oci_strdup(paths[i]);
    return NULL;
}

static void read_own_limits(struct oci *o)
{
    char *text = NULL;
    if (!oci_read_file("/proc/self/oom_score_adj", 64, &text, NULL))
        o->own_oom_score_adj = atoi(text);
    free(text);
    text = NULL;
    if (!oci_read_file("/proc/self/status", 65536, &text, NULL)) {
        const char *at = strstr(text, "CapEff:");
        o->has_sys_resource = at && (strtoull(at + 7, NULL, 16) & (UINT64_C(1) << 24));
    }
    free(text);
}

static void destroy(void *self)
{
    struct oci *o = self;
    if (!o)
        return;
    while (o->containers)
        oci_container_forget(o, o->containers);
    while (o->sandboxes)
        oci_sandbox_forget(o, o->sandboxes);
    oci_images_forget(o);
    oci_cgroup_done(&o->cgroup);
    free(o->data);
    free(o->runtime);
    free(o->runtime_root);
    free(o->shim);
    free(o->image_tool);
    free(o->registry_ca);
    free(o->version);
    free(o);
}

static int configure(const struct neap_host *host, const struct neap_runtime_events *events,
                     void **ret_self)
{
    struct oci *o = oci_alloc(sizeof *o);
    const struct neap_host_config *c = host->config;
    o->host = host;
    o->events = *events;
    o->data = oci_strdup(host->data_dir);
    o->runtime_root = oci_printf("%s/runtime", o->data);
    o->runtime = find_runtime(c->string(host->ctx, "runtime"));
    o->shim = find_program(c->string(host->ctx, "shim"), "neap-shim");
    o->image_tool = find_program(c->string(host->ctx, "image_tool"), "neap-image");
    const char *ca = c->string(host->ctx, "registry_ca");
    o->registry_ca = ca && *ca ? oci_strdup(ca) : NULL;
    const char *missing = !o->runtime      ? "crun or runc is not installed (option runtime)"
                          : !o->shim       ? "neap-shim was not found (option shim)"
                          : !o->image_tool ? "neap-image was not found (option image_tool)"
                          : o->registry_ca && access(o->registry_ca, R_OK)
                              ? "the file of option registry_ca cannot be read"
                          : oci_cgroup_init(&o->cgroup) ? "no cgroups under /sys/fs/cgroup"
                                                        : NULL;
    if (missing) {
        host->fail(host->ctx, missing);
        destroy(o);
        return NEAP_ECONFIG;
    }
    const char *base = strrchr(o->runtime, '/') + 1;
    o->runtime_is_crun = !strncmp(base, "crun", 4);
    o->version = oci_strdup(base);
    read_own_limits(o);
    *ret_self = o;
    return 0;
}

static int restore(void *self)
{
    struct oci *o = self;
    static const char *const dirs[] = {"sandboxes", "containers", "runtime", "images/index",
                                       "images/layers"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char *path = oci_printf("%s/%s", o->data, dirs[i]);
        int r = oci_mkdir_p(path, 0700);
        if (r) {
            char *text = oci_printf("%s: %s", path, strerror(-r));
            o->host->fail(o->host->ctx, text);
            free(text);
            free(path);
            return oci_code(r);
        }
        free(path);
    }
    oci_sandbox_restore(o);
    oci_container_restore(o);
    return oci_images_load(o);
}

/* ---- start */
static void start_reconnect(struct oci_task *t)
{
    oci_sandbox_reconnect(t->o, t);
}

static void start_version(struct oci_task *t)
{
    struct oci *o = t->o;
    if (t->code) {
        oci_task_finish(t);
        return;
    }
    char *name = t->out, *version = strstr(t->out, "version ");
    version = version ? version + 8 : name;
    version[strcspn(version, " \n")] = 0;
    free(o->version);
    o->version = oci_printf("%s %s", o->runtime_is_crun ? "crun" : "runc", version);
    oci_task_work(t, oci_sandbox_orphans, start_reconnect);
}

static void run_start(struct oci_task *t)
{
    const char *argv[] = {t->o->runtime, "--version", NULL};
    oci_task_child(t, argv, NULL, OCI_CHILD_MS, start_version);
}

static void start(void *self, struct neap_op *op)
{
    oci_task_submit(oci_task_new(self, op, "start", NULL, run_start));
}

static void run_stop(struct oci_task *t)
{
    oci_task_finish(t);
}

/* Connections close, pending requests fail, waiting operations are cancelled; containers run on. */
static void stop(void *self, struct neap_op *op)
{
    struct oci *o = self;
    o->stopping = true;
    o->stop_op = op;
    oci_io_close_all(o);
    for (struct oci_sandbox *s = o->sandboxes; s; s = s->next)
        oci_link_close(s->link);
    oci_task_submit(oci_task_new(o, NULL, "stop", NULL, run_stop)); /* its end looks at stop_op */
}

static const char *version(void *self)
{
    struct oci *o = self;
    return o->version;
}

static void list(void *self,
                 void (*sandbox)(void *arg, const struct neap_runtime_sandbox_status *s),
                 void (*container)(void *arg, const struct neap_runtime_container_status *s),
                 void *arg)
{
    struct oci *o = self;
    for (struct oci_sandbox *s = o->sandboxes; s; s = s->next) {
        struct neap_runtime_sandbox_status st;
        oci_sandbox_fill(s, &st);
        sandbox(arg, &st);
    }
    for (struct oci_container *c = o->containers; c; c = c->next) {
        struct neap_runtime_container_status st;
        oci_container_fill(c, &st);
        container(arg, &st);
    }
}

NEAP_PLUGIN_EXPORT extern const struct neap_runtime_plugin neap_plugin;
NEAP_PLUGIN_EXPORT const struct neap_runtime_plugin neap_plugin = {
    .header = {NEAP_PLUGIN_MAGIC, NEAP_PLUGIN_ABI_MAJOR, NEAP_PLUGIN_ABI_MINOR, sizeof neap_plugin,
               NEAP_PLUGIN_RUNTIME, "oci", "0.1", options},
    .configure = configure,
    .restore = restore,
    .start = start,
    .stop = stop,
    .destroy = destroy,
    .version = version,
    .sandbox_run = oci_sandbox_run,
    .sandbox_stop = oci_sandbox_stop,
    .sandbox_remove = oci_sandbox_remove,
    .sandbox_status = oci_sandbox_status,
    .container_create = oci_container_create,
    .container_start = oci_container_start,
    .container_signal = oci_container_signal,
    .container_remove = oci_container_remove,
    .container_status = oci_container_status,
    .list = list,
    .container_update = oci_container_update,
    .exec = oci_exec,
    .io_write = oci_io_write,
    .io_close_stdin = oci_io_close_stdin,
    .io_resize = oci_io_resize,
    .io_close = oci_io_close,
    .io_pause = oci_io_pause,
    .stats = oci_container_stats,
    .log_reopen = oci_container_log_reopen,
    .image_status = oci_image_status,
    .image_list = oci_image_list,
    .image_import = oci_image_import,
    .image_from_rootfs = oci_image_from_rootfs,
    .image_pull = oci_image_pull,
    .image_remove = oci_image_remove,
};
