/* cgroup v1: each controller (or pair) has its own tree. */
#include "cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A new cpuset has no CPU and no memory node and takes no process: it gets its parent's. */
static int inherit(const char *dir, const char *file)
{
    char *path = oci_printf("%s/%s", dir, file), *text = NULL;
    int r = oci_read_file(path, 4096, &text, NULL);
    if (!r && (!text[0] || text[0] == '\n')) {
        char *up = oci_strdup(dir);
        *strrchr(up, '/') = 0;
        char *parent = oci_printf("%s/%s", up, file), *value = NULL;
        r = oci_read_file(parent, 4096, &value, NULL);
        if (!r)
            r = oci_write_plain(path, value);
        free(value);
        free(parent);
        free(up);
    }
    free(text);
    free(path);
    return r;
}

static int make_one(const char *root, const char *controllers, const char *path)
{
    char *dir = oci_printf("%s%s", root, path);
    int r = 0;
    for (char *p = dir + strlen(root) + 1; !r; p++) {
        char c = *p;
        if (c && c != '/')
            continue;
        *p = 0;
        if (mkdir(dir, 0755) < 0 && errno != EEXIST)
            r = -errno;
        if (!r && strstr(controllers, ",cpuset,")) {
            r = inherit(dir, "cpuset.cpus");
            if (!r)
                r = inherit(dir, "cpuset.mems");
        }
        *p = c;
        if (!c)
            break;
    }
    free(dir);
    return r;
}

static int make(struct oci_cgroup *g, const char *path)
{
    int r = 0;
    for (unsigned i = 0; i < g->count && !r; i++) {
        /* somebody else's removal of an empty parent may cross ours */
        for (int tries = 0; tries < 8; tries++) {
            r = make_one(g->roots[i], g->controllers[i], path);
            if (r != -ENOENT)
                break;
        }
    }
    return r;
}

static int put(struct oci_cgroup *g, const char *controller, const char *path, const char *file,
               int64_t value)
{
    char *name = oci_cgroup_file(g, controller, path, file), text[32];
    if (!name)
        return 0; /* the host has no such controller: the limit can't be kept */
    snprintf(text, sizeof text, "%lld", (long long)value);
    int r = oci_write_plain(name, text);
    free(name);
    return r;
}

static int limit(struct oci_cgroup *g, const char *path, const struct neap_runtime_resources *r)
{
    int e = 0;
    if (r->cpu_shares)
        e = put(g, "cpu", path, "cpu.shares", r->cpu_shares);
    if (!e && r->cpu_quota_us) {
        e = put(g, "cpu", path, "cpu.cfs_period_us", r->cpu_period_us ? r->cpu_period_us : 100000);
        if (!e)
            e = put(g, "cpu", path, "cpu.cfs_quota_us", r->cpu_quota_us);
    } else if (!e) {
        put(g, "cpu", path, "cpu.cfs_quota_us", -1);
    }
    if (!e)
        e = put(g, "memory", path, "memory.limit_in_bytes",
                r->memory_limit > 0 ? r->memory_limit : -1);
    if (!e && r->pids_limit > 0)
        e = put(g, "pids", path, "pids.max", r->pids_limit);
    return e;
}

static char *oom_file(struct oci_cgroup *g, const char *path)
{
    return oci_cgroup_file(g, "memory", path, "memory.oom_control");
}

static int read_number(struct oci_cgroup *g, const char *controller, const char *path,
                       const char *file, int64_t *ret)
{
    char *name = oci_cgroup_file(g, controller, path, file), *text = NULL;
    int r = name ? oci_read_file(name, 4096, &text, NULL) : -ENOENT;
    if (!r)
        *ret = strtoll(text, NULL, 10);
    free(text);
    free(name);
    return r;
}

static int64_t line_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *l = text; l; l = strchr(l, '\n'), l = l ? l + 1 : NULL)
        if (!strncmp(l, key, n) && l[n] == ' ')
            return strtoll(l + n + 1, NULL, 10);
    return 0;
}

static int stats(struct oci_cgroup *g, const char *path, struct neap_runtime_stats *ret)
{
    int r = read_number(g, "cpuacct", path, "cpuacct.usage", &ret->cpu_usage_ns);
    if (!r)
        r = read_number(g, "memory", path, "memory.usage_in_bytes", &ret->memory_usage);
    char *name = oci_cgroup_file(g, "memory", path, "memory.stat"), *text = NULL;
    if (!r)
        r = name ? oci_read_file(name, 16384, &text, NULL) : -ENOENT;
    if (!r) {
        int64_t inactive = line_value(text, "total_inactive_file");
        ret->memory_rss = line_value(text, "total_rss");
        ret->memory_working_set = ret->memory_usage > inactive ? ret->memory_usage - inactive : 0;
        ret->wall_ns = oci_now_wall();
    }
    free(text);
    free(name);
    return r;
}

const struct oci_cgroup_driver oci_cgroup_v1 = {"v1", make, limit, oom_file, stats};
