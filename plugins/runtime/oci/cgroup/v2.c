/* cgroup v2: one tree. Controllers are switched on from the top down; inner nodes hold no process. */
#include "cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const wanted[] = {"cpu", "memory", "pids", "cpuset", "io"};

static void enable(const char *dir)
{
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        char *path = oci_printf("%s/cgroup.subtree_control", dir), text[16];
        snprintf(text, sizeof text, "+%s", wanted[i]);
        oci_write_plain(path, text); /* one that the kernel lacks doesn't hinder the others */
        free(path);
    }
}

static int make_once(const char *root, const char *path)
{
    char *dir = oci_printf("%s%s", root, path);
    int r = 0;
    enable(root);
    for (char *p = dir + strlen(root) + 1; !r; p++) {
        char c = *p;
        if (c && c != '/')
            continue;
        *p = 0;
        if (mkdir(dir, 0755) < 0 && errno != EEXIST)
            r = -errno;
        else if (c)
            enable(dir);
        *p = c;
        if (!c)
            break;
    }
    free(dir);
    return r;
}

static int make(struct oci_cgroup *g, const char *path)
{
    int r = -ENOENT;
    for (int tries = 0; tries < 8 && r == -ENOENT; tries++)
        r = make_once(g->roots[0], path);
    return r;
}

static int put(struct oci_cgroup *g, const char *path, const char *file, const char *text)
{
    char *name = oci_cgroup_file(g, "", path, file);
    int r = oci_write_plain(name, text);
    free(name);
    return r == -ENOENT ? 0 : r;
}

static int put_number(struct oci_cgroup *g, const char *path, const char *file, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return put(g, path, file, value > 0 ? text : "max");
}

static int limit(struct oci_cgroup *g, const char *path, const struct neap_runtime_resources *r)
{
    char text[64];
    int e = 0;
    if (r->cpu_shares) { /* 2..262144 -> 1..10000 */
        snprintf(text, sizeof text, "%lld", (long long)(1 + ((r->cpu_shares - 2) * 9999) / 262142));
        e = put(g, path, "cpu.weight", text);
    }
    long long period = r->cpu_period_us ? r->cpu_period_us : 100000;
    if (r->cpu_quota_us > 0)
        snprintf(text, sizeof text, "%lld %lld", (long long)r->cpu_quota_us, period);
    else
        snprintf(text, sizeof text, "max %lld", period);
    if (!e)
        e = put(g, path, "cpu.max", text);
    if (!e)
        e = put_number(g, path, "memory.max", r->memory_limit);
    if (!e && r->pids_limit > 0)
        e = put_number(g, path, "pids.max", r->pids_limit);
    return e;
}

static char *oom_file(struct oci_cgroup *g, const char *path)
{
    return oci_cgroup_file(g, "", path, "memory.events");
}

static int64_t value_of(struct oci_cgroup *g, const char *path, const char *file, const char *key,
                        int *r)
{
    char *name = oci_cgroup_file(g, "", path, file), *text = NULL;
    int64_t v = 0;
    int e = oci_read_file(name, 16384, &text, NULL);
    if (e) {
        *r = e;
    } else if (!key) {
        v = strtoll(text, NULL, 10);
    } else {
        size_t n = strlen(key);
        for (const char *l = text; l; l = strchr(l, '\n'), l = l ? l + 1 : NULL)
            if (!strncmp(l, key, n) && l[n] == ' ')
                v = strtoll(l + n + 1, NULL, 10);
    }
    free(text);
    free(name);
    return v;
}

static int stats(struct oci_cgroup *g, const char *path, struct neap_runtime_stats *ret)
{
    int r = 0;
    ret->cpu_usage_ns = value_of(g, path, "cpu.stat", "usage_usec", &r) * 1000;
    ret->memory_usage = value_of(g, path, "memory.current", NULL, &r);
    ret->memory_rss = value_of(g, path, "memory.stat", "anon", &r);
    int64_t inactive = value_of(g, path, "memory.stat", "inactive_file", &r);
    ret->memory_working_set = ret->memory_usage > inactive ? ret->memory_usage - inactive : 0;
    ret->wall_ns = oci_now_wall();
    return r;
}

const struct oci_cgroup_driver oci_cgroup_v2 = {"v2", make, limit, oom_file, stats};
