/* config.json of the OCI runtime specification. Tables first, then one small function a section. */
#include "oci.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEVICES_MAX 1024
static const char default_path[] =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct out { /* the document being made */
    yyjson_mut_doc *d;
    yyjson_mut_val *root;
    struct oci_bundle *b;
};

static const struct {
    const char *target, *type, *source, *options; /* comma-separated */
} standard_mounts[] = {
    {"/proc", "proc", "proc", "nosuid,noexec,nodev"},
    {"/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"},
    {"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"},
    {"/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"},
    {"/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"},
};
static const char *const masked[] = {"/proc/acpi",
                                     "/proc/asound",
                                     "/proc/kcore",
                                     "/proc/keys",
                                     "/proc/latency_stats",
                                     "/proc/timer_list",
                                     "/proc/timer_stats",
                                     "/proc/sched_debug",
                                     "/proc/scsi",
                                     "/sys/firmware",
                                     "/sys/devices/virtual/powercap",
                                     NULL};
static const char *const read_only[] = {"/proc/bus",           "/proc/fs", "/proc/irq", "/proc/sys",
                                        "/proc/sysrq-trigger", NULL};

static yyjson_mut_val *string_array(struct out *o, const char *const *list)
{
    yyjson_mut_val *a = yyjson_mut_arr(o->d);
    for (; list && *list; list++)
        yyjson_mut_arr_add_strcpy(o->d, a, *list);
    return a;
}

static void add_words(struct out *o, yyjson_mut_val *a, const char *words)
{
    while (*words) {
        size_t n = strcspn(words, ",");
        yyjson_mut_arr_add_strncpy(o->d, a, words, n);
        words += n + (words[n] == ',');
    }
}

/* ---- process */
static bool same_key(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return n == strcspn(b, "=") && !strncmp(a, b, n);
}

/* Later ones win: the image's, then the container's. */
static void set_env(const char **env, size_t *n, size_t max, const char *kv)
{
    for (size_t i = 0; i < *n; i++) {
        if (same_key(env[i], kv)) {
            env[i] = kv;
            return;
        }
    }
    if (*n < max)
        env[(*n)++] = kv;
}

static yyjson_mut_val *make_env(struct out *o)
{
    const struct neap_runtime_container_config *c = o->b->c;
    yyjson_val *image = yyjson_obj_get((yyjson_val *)o->b->image, "Env"), *v;
    size_t count = 0, n = 0, i, imax;
    for (const char *const *e = c->env; e && *e; e++)
        count++;
    size_t max = yyjson_arr_size(image) + count + 4;
    const char **env = oci_alloc((max + 1) * sizeof *env);
    const char *hostname = o->b->sandbox->hostname;
    char *home = oci_printf("HOME=%s", o->b->home ? o->b->home : "/");
    char *host = oci_printf("HOSTNAME=%s", hostname ? hostname : "");
    set_env(env, &n, max, default_path);
    if (hostname && *hostname)
        set_env(env, &n, max, host);
    set_env(env, &n, max, home);
    if (c->tty)
        set_env(env, &n, max, "TERM=xterm");
    yyjson_arr_foreach(image, i, imax, v)
    {
        if (yyjson_is_str(v))
            set_env(env, &n, max, yyjson_get_str(v));
    }
    for (const char *const *e = c->env; e && *e; e++)
        set_env(env, &n, max, *e);
    yyjson_mut_val *a = string_array(o, env);
    free(home);
    free(host);
    free(env);
    return a;
}

static void add_all(struct out *o, yyjson_mut_val *a, yyjson_val *list)
{
    yyjson_val *v;
    size_t i, max;
    yyjson_arr_foreach(list, i, max, v)
    {
        if (yyjson_is_str(v))
            yyjson_mut_arr_add_strcpy(o->d, a, yyjson_get_str(v));
    }
}

/* command replaces the image's ENTRYPOINT and, then, its CMD too; args replaces CMD. */
static yyjson_mut_val *make_args(struct out *o)
{
    const struct neap_runtime_container_config *c = o->b->c;
    yyjson_val *image = (yyjson_val *)o->b->image;
    yyjson_mut_val *a = string_array(o, c->command);
    if (!c->command)
        add_all(o, a, yyjson_obj_get(image, "Entrypoint"));
    for (const char *const *p = c->args; p && *p; p++)
        yyjson_mut_arr_add_strcpy(o->d, a, *p);
    if (!c->command && !c->args)
        add_all(o, a, yyjson_obj_get(image, "Cmd"));
    return a;
}

static int oom_score(const struct oci_bundle *b)
{
    int want = b->c->resources.oom_score_adj, own = b->o->own_oom_score_adj;
    return want < own && !b->o->has_sys_resource ? own : want;
}

static yyjson_mut_val *make_process(struct out *o)
{
    const struct neap_runtime_container_config *c = o->b->c;
    yyjson_mut_val *p = yyjson_mut_obj(o->d), *user = yyjson_mut_obj(o->d);
    yyjson_mut_val *groups = yyjson_mut_arr(o->d);
    const char *cwd = c->working_dir;
    if (!cwd || !*cwd)
        cwd = yyjson_get_str(yyjson_obj_get((yyjson_val *)o->b->image, "WorkingDir"));
    for (size_t i = 0; i < o->b->group_count; i++)
        yyjson_mut_arr_add_uint(o->d, groups, o->b->groups[i]);
    yyjson_mut_obj_add_uint(o->d, user, "uid", o->b->uid);
    yyjson_mut_obj_add_uint(o->d, user, "gid", o->b->gid);
    yyjson_mut_obj_add_val(o->d, user, "additionalGids", groups);
    yyjson_mut_obj_add_bool(o->d, p, "terminal", c->tty);
    yyjson_mut_obj_add_val(o->d, p, "user", user);
    yyjson_mut_obj_add_val(o->d, p, "args", make_args(o));
    yyjson_mut_obj_add_val(o->d, p, "env", make_env(o));
    yyjson_mut_obj_add_strcpy(o->d, p, "cwd", cwd && cwd[0] == '/' ? cwd : "/");
    yyjson_mut_obj_add_bool(o->d, p, "noNewPrivileges", c->security.no_new_privileges);
    yyjson_mut_obj_add_int(o->d, p, "oomScoreAdj", oom_score(o->b));
    oci_security_capabilities(o->d, p, &c->security);
    return p;
}

/* ---- mounts */
static bool replaced(const struct oci_bundle *b, const char *target)
{
    for (size_t i = 0; i < b->c->mount_count; i++)
        if (!strcmp(b->c->mounts[i].target, target))
            return true;
    return false;
}

static void add_mount(struct out *o, yyjson_mut_val *list, const char *target, const char *type,
                      const char *source, const char *options)
{
    yyjson_mut_val *m = yyjson_mut_obj(o->d), *opts = yyjson_mut_arr(o->d);
    yyjson_mut_obj_add_strcpy(o->d, m, "destination", target);
    yyjson_mut_obj_add_strcpy(o->d, m, "type", type);
    yyjson_mut_obj_add_strcpy(o->d, m, "source", source);
    add_words(o, opts, options);
    yyjson_mut_obj_add_val(o->d, m, "options", opts);
    yyjson_mut_arr_append(list, m);
}

static yyjson_mut_val *make_mounts(struct out *o)
{
    static const char *const modes[] = {"rprivate", "rslave", "rshared"};
    const struct neap_runtime_container_config *c = o->b->c;
    yyjson_mut_val *list = yyjson_mut_arr(o->d);
    for (size_t i = 0; i < sizeof standard_mounts / sizeof *standard_mounts; i++) {
        const char *options = standard_mounts[i].options;
        if (replaced(o->b, standard_mounts[i].target))
            continue;
        char *rw = NULL;
        if (c->security.privileged && !strncmp(standard_mounts[i].target, "/sys", 4)) {
            rw = oci_strdup(options);
            rw[strlen(rw) - 2] = 'r';
            rw[strlen(rw) - 1] = 'w';
        }
        add_mount(o, list, standard_mounts[i].target, standard_mounts[i].type,
                  standard_mounts[i].source, rw ? rw : options);
        free(rw);
    }
    if (!replaced(o->b, "/dev/shm")) {
        char *shm = o->b->sandbox->host_ipc ? oci_strdup("/dev/shm")
                                            : oci_printf("%s/shm", o->b->sandbox->dir);
        add_mount(o, list, "/dev/shm", "bind", shm, "rbind,rprivate,rw");
        free(shm);
    }
    for (size_t i = 0; i < c->mount_count; i++) {
        const struct neap_runtime_mount *m = &c->mounts[i];
        char options[64];
        snprintf(options, sizeof options, "rbind,%s,%s",
                 modes[m->propagation >= 0 && m->propagation <= 2 ? m->propagation : 0],
                 m->read_only ? "ro" : "rw");
        add_mount(o, list, m->target, "bind", m->source, options);
    }
    return list;
}

/* The rootfs must not be less open than the most open mount. */
static const char *rootfs_propagation(const struct oci_bundle *b)
{
    int most = 0;
    for (size_t i = 0; i < b->c->mount_count; i++)
        if (b->c->mounts[i].propagation > most)
            most = b->c->mounts[i].propagation;
    return most == 2 ? "rshared" : most == 1 ? "rslave" : NULL;
}

/* ---- linux */
static void add_namespace(struct out *o, yyjson_mut_val *list, const char *type, const char *pin)
{
    yyjson_mut_val *n = yyjson_mut_obj(o->d);
    yyjson_mut_obj_add_str(o->d, n, "type", type);
    if (pin) {
        char *path = oci_printf("%s/ns/%s", o->b->sandbox->dir, pin);
        yyjson_mut_obj_add_strcpy(o->d, n, "path", path);
        free(path);
    }
    yyjson_mut_arr_append(list, n);
}

static yyjson_mut_val *make_namespaces(struct out *o)
{
    const struct oci_sandbox *s = o->b->sandbox;
    yyjson_mut_val *list = yyjson_mut_arr(o->d);
    add_namespace(o, list, "mount", NULL);
    if (!s->host_pid)
        add_namespace(o, list, "pid", s->share_pid ? "pid" : NULL);
    if (!s->host_network) {
        add_namespace(o, list, "network", "net");
        add_namespace(o, list, "uts", "uts");
    }
    if (!s->host_ipc)
        add_namespace(o, list, "ipc", "ipc");
    if (o->b->o->cgroup.driver == &oci_cgroup_v2)
        add_namespace(o, list, "cgroup", NULL);
    return list;
}

static yyjson_mut_val *make_resources(struct out *o)
{
    const struct neap_runtime_resources *r = &o->b->c->resources;
    yyjson_mut_val *res = yyjson_mut_obj(o->d), *cpu = yyjson_mut_obj(o->d);
    yyjson_mut_val *devices = yyjson_mut_arr(o->d), *rule = yyjson_mut_obj(o->d);
    yyjson_mut_obj_add_bool(o->d, rule, "allow", o->b->c->security.privileged);
    yyjson_mut_obj_add_str(o->d, rule, "access", "rwm");
    yyjson_mut_arr_append(devices, rule);
    yyjson_mut_obj_add_val(o->d, res, "devices", devices);
    if (r->cpu_shares)
        yyjson_mut_obj_add_sint(o->d, cpu, "shares", r->cpu_shares);
    if (r->cpu_quota_us) {
        yyjson_mut_obj_add_sint(o->d, cpu, "quota", r->cpu_quota_us);
        yyjson_mut_obj_add_sint(o->d, cpu, "period", r->cpu_period_us ? r->cpu_period_us : 100000);
    }
    if (r->cpuset_cpus && *r->cpuset_cpus)
        yyjson_mut_obj_add_strcpy(o->d, cpu, "cpus", r->cpuset_cpus);
    yyjson_mut_obj_add_val(o->d, res, "cpu", cpu);
    if (r->memory_limit > 0) {
        yyjson_mut_val *m = yyjson_mut_obj(o->d);
        yyjson_mut_obj_add_sint(o->d, m, "limit", r->memory_limit);
        yyjson_mut_obj_add_val(o->d, res, "memory", m);
    }
    if (r->pids_limit > 0) {
        yyjson_mut_val *p = yyjson_mut_obj(o->d);
        yyjson_mut_obj_add_sint(o->d, p, "limit", r->pids_limit);
        yyjson_mut_obj_add_val(o->d, res, "pids", p);
    }
    return res;
}

/* A privileged container sees the host's device nodes. */
static void add_devices(struct out *o, yyjson_mut_val *list, const char *dir, int depth)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' || !strcmp(e->d_name, "pts") || !strcmp(e->d_name, "shm") ||
            !strcmp(e->d_name, "mqueue") || !strcmp(e->d_name, "console") ||
            !strcmp(e->d_name, "ptmx"))
            continue;
        char *path = oci_printf("%s/%s", dir, e->d_name);
        struct stat st;
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && depth < 4) {
            add_devices(o, list, path, depth + 1);
        } else if ((S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) &&
                   yyjson_mut_arr_size(list) < DEVICES_MAX) {
            yyjson_mut_val *v = yyjson_mut_obj(o->d);
            yyjson_mut_obj_add_strcpy(o->d, v, "path", path);
            yyjson_mut_obj_add_str(o->d, v, "type", S_ISCHR(st.st_mode) ? "c" : "b");
            yyjson_mut_obj_add_uint(o->d, v, "major", major(st.st_rdev));
            yyjson_mut_obj_add_uint(o->d, v, "minor", minor(st.st_rdev));
            yyjson_mut_obj_add_uint(o->d, v, "fileMode", st.st_mode & 07777);
            yyjson_mut_obj_add_uint(o->d, v, "uid", st.st_uid);
            yyjson_mut_obj_add_uint(o->d, v, "gid", st.st_gid);
            yyjson_mut_arr_append(list, v);
        }
        free(path);
    }
    if (d)
        closedir(d);
}

static int make_linux(struct out *o)
{
    const struct neap_runtime_security *s = &o->b->c->security;
    yyjson_mut_val *l = yyjson_mut_obj(o->d);
    yyjson_mut_obj_add_val(o->d, o->root, "linux", l);
    yyjson_mut_obj_add_strcpy(o->d, l, "cgroupsPath", o->b->cgroup);
    yyjson_mut_obj_add_val(o->d, l, "namespaces", make_namespaces(o));
    yyjson_mut_obj_add_val(o->d, l, "resources", make_resources(o));
    if (!s->privileged) {
        yyjson_mut_obj_add_val(o->d, l, "maskedPaths",
                               string_array(o, s->masked_paths ? s->masked_paths : masked));
        yyjson_mut_obj_add_val(
            o->d, l, "readonlyPaths",
            string_array(o, s->read_only_paths ? s->read_only_paths : read_only));
    } else {
        yyjson_mut_val *list = yyjson_mut_arr(o->d);
        add_devices(o, list, "/dev", 0);
        yyjson_mut_obj_add_val(o->d, l, "devices", list);
    }
    if (rootfs_propagation(o->b))
        yyjson_mut_obj_add_str(o->d, l, "rootfsPropagation", rootfs_propagation(o->b));
    return oci_security_seccomp(o->b, o->d, l);
}

static int check(struct oci_bundle *b, yyjson_mut_val *process)
{
    if (yyjson_mut_arr_size(yyjson_mut_obj_get(process, "args")) == 0) {
        snprintf(b->error, sizeof b->error, "no command specified");
        return NEAP_EINVALID;
    }
    for (size_t i = 0; i < b->c->mount_count; i++) {
        struct stat st;
        if (stat(b->c->mounts[i].source, &st) < 0) {
            snprintf(b->error, sizeof b->error, "mount source %.300s: %s", b->c->mounts[i].source,
                     strerror(errno));
            return NEAP_EINVALID;
        }
    }
    return 0;
}

int oci_spec_write(struct oci_bundle *b)
{
    struct out o = {.d = yyjson_mut_doc_new(NULL), .b = b};
    o.root = yyjson_mut_obj(o.d);
    yyjson_mut_doc_set_root(o.d, o.root);
    yyjson_mut_val *process = make_process(&o), *rootfs = yyjson_mut_obj(o.d);
    yyjson_mut_obj_add_str(o.d, o.root, "ociVersion", "1.0.2");
    yyjson_mut_obj_add_val(o.d, o.root, "process", process);
    yyjson_mut_obj_add_str(o.d, rootfs, "path", "rootfs");
    yyjson_mut_obj_add_bool(o.d, rootfs, "readonly", b->c->security.read_only_rootfs);
    yyjson_mut_obj_add_val(o.d, o.root, "root", rootfs);
    if (!b->sandbox->host_network && b->sandbox->hostname && *b->sandbox->hostname)
        yyjson_mut_obj_add_strcpy(o.d, o.root, "hostname", b->sandbox->hostname);
    yyjson_mut_obj_add_val(o.d, o.root, "mounts", make_mounts(&o));
    int r = make_linux(&o);
    if (!r)
        r = check(b, process);
    size_t n = 0;
    char *text = r ? NULL : yyjson_mut_write(o.d, 0, &n);
    if (!r) {
        char *path = oci_printf("%s/config.json", b->dir);
        int e = text ? oci_write_durable(path, text, n) : -EINVAL;
        if (e) {
            snprintf(b->error, sizeof b->error, "config.json: %s", strerror(-e));
            r = oci_code(e);
        }
        free(path);
    }
    free(text);
    yyjson_mut_doc_free(o.d);
    return r;
}
