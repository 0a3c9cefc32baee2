/* What the node runs short of: the conditions MemoryPressure, DiskPressure and PIDPressure, which become taints that keep
 * new pods away. Source: Kubernetes documentation, "Node-pressure Eviction". */
#include "node_internal.h"

#include <stdio.h>
#include <sys/statvfs.h>

/* As the kubelet: looked at so often, and told so long after it was last seen, so that pods do not come and go. */
enum { LOOK_MS = 10000, HOLD_MS = 300000 };

static uint64_t number_in(const char *path, const char *format)
{
    char *text = NULL;
    size_t len;
    unsigned long long n = 0;
    if (neap_file_read(path, 65536, &text, &len) == 0) {
        const char *at = *format == '%' ? text : strstr(text, format);
        if (at && *format == '%')
            sscanf(at, "%llu", &n);
        else if (at)
            sscanf(at + strlen(format), "%llu", &n);
    }
    free(text);
    return n;
}

/* ---- how much is left ---- */

static uint64_t free_memory(const struct neap_node *n)
{
    (void)n;
    return number_in("/proc/meminfo", "MemAvailable:") * 1024;
}

static uint64_t free_disk(const struct neap_node *n)
{
    struct statvfs s;
    return statvfs(n->options.data_dir, &s) == 0 ? (uint64_t)s.f_bavail * s.f_frsize : UINT64_MAX;
}

static uint64_t free_pids(const struct neap_node *n)
{
    (void)n;
    uint64_t most = number_in("/proc/sys/kernel/pid_max", "%"),
             threads = number_in("/proc/sys/kernel/threads-max", "%"),
             used = number_in("/proc/loadavg", "/");
    if (threads && threads < most)
        most = threads;
    return most > used ? most - used : 0;
}

uint64_t pressure_disk_size(const struct neap_node *n)
{
    struct statvfs s;
    return statvfs(n->options.data_dir, &s) == 0 ? (uint64_t)s.f_blocks * s.f_frsize : 0;
}

static const struct {
    const char *type, *reason, *message, *calm_reason, *calm_message;
    uint64_t (*left)(const struct neap_node *n);
    size_t least; /* offset of the option */
} rows[PRESSURES] = {
    {"MemoryPressure", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available",
     "KubeletHasSufficientMemory", "kubelet has sufficient memory available", free_memory,
     offsetof(struct neap_node_options, min_free_memory)},
    {"DiskPressure", "KubeletHasDiskPressure", "kubelet has disk pressure",
     "KubeletHasNoDiskPressure", "kubelet has no disk pressure", free_disk,
     offsetof(struct neap_node_options, min_free_disk)},
    {"PIDPressure", "KubeletHasInsufficientPID", "kubelet has insufficient PID available",
     "KubeletHasSufficientPID", "kubelet has sufficient PID available", free_pids,
     offsetof(struct neap_node_options, min_free_pids)},
};

static bool measure(struct neap_node *n, unsigned i)
{
    struct pressure *p = &n->pressures[i];
    uint64_t least;
    memcpy(&least, (const char *)&n->options + rows[i].least, sizeof(least));
    int64_t now = neap_loop_now_ms(n->options.loop);
    bool seen = least && rows[i].left(n) < least;
    if (seen)
        p->seen_ms = now;
    bool on = seen || (p->on && now - p->seen_ms < HOLD_MS);
    if (on == p->on && p->since_ns)
        return false;
    p->on = on;
    p->since_ns = node_wall(n);
    return true;
}

bool pressures_measure(struct neap_node *n)
{
    bool changed = false;
    for (unsigned i = 0; i < PRESSURES; i++)
        changed |= measure(n, i);
    return changed;
}

void pressures_watch(struct neap_node *n)
{
    const struct neap_node_options *o = &n->options;
    pressures_measure(n);
    if (o->min_free_memory || o->min_free_disk || o->min_free_pids)
        neap_timer_start(n->pressure_timer, LOOK_MS, LOOK_MS);
}

void pressures_write(const struct neap_node *n, struct neap_buf *out, const char *now)
{
    for (unsigned i = 0; i < PRESSURES; i++) {
        const struct pressure *p = &n->pressures[i];
        char since[32];
        neap_time_format(p->since_ns, since);
        machine_condition(out, rows[i].type, p->on ? "True" : "False",
                          p->on ? rows[i].reason : rows[i].calm_reason,
                          p->on ? rows[i].message : rows[i].calm_message, now, since);
        neap_buf_char(out, ',');
    }
}
