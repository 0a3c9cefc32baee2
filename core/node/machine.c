/* What the node says of itself: capacity, addresses, versions. */
#include "node_internal.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

static void read_line(const char *path, char *out, size_t size)
{
    char *text = NULL;
    size_t len = 0;
    out[0] = '\0';
    if (neap_file_read(path, 4096, &text, &len) == 0)
        snprintf(out, size, "%.*s", (int)strcspn(text, "\n"), text);
    free(text);
}

static void os_image(char out[128])
{
    char *text = NULL;
    size_t len = 0;
    snprintf(out, 128, "Linux");
    /* in /etc it is mostly a link, which is not followed */
    if (neap_file_read("/usr/lib/os-release", 65536, &text, &len) == 0 ||
        neap_file_read("/etc/os-release", 65536, &text, &len) == 0) {
        const char *p = strstr(text, "PRETTY_NAME=\"");
        if (p)
            snprintf(out, 128, "%.*s", (int)strcspn(p + 13, "\"\n"), p + 13);
    }
    free(text);
}

void machine_arch(char out[65])
{
    struct utsname u;
    uname(&u);
    snprintf(out, 65, "%s",
             strcmp(u.machine, "x86_64") == 0    ? "amd64"
             : strcmp(u.machine, "aarch64") == 0 ? "arm64"
                                                 : u.machine);
}

/* What pods may ask for is what is there less what must stay free. */
static void resources(const struct neap_node *n, struct neap_buf *out, const char *name,
                      uint64_t memory, uint64_t disk)
{
    const struct neap_node_options *o = &n->options;
    neap_buf_printf(out,
                    "\"%s\":{\"cpu\":\"%ld\",\"memory\":\"%lluKi\",\"ephemeral-storage\":"
                    "\"%lluKi\",\"pods\":\"%u\"}",
                    name, sysconf(_SC_NPROCESSORS_ONLN), (unsigned long long)memory / 1024,
                    (unsigned long long)disk / 1024, o->max_pods);
}

static uint64_t less(uint64_t all, uint64_t kept)
{
    return all > kept ? all - kept : 0;
}

void machine_condition(struct neap_buf *out, const char *type, const char *status,
                       const char *reason, const char *message, const char *now, const char *since)
{
    neap_buf_printf(out,
                    "{\"type\":\"%s\",\"status\":\"%s\",\"lastHeartbeatTime\":\"%s\","
                    "\"lastTransitionTime\":\"%s\",\"reason\":\"%s\",\"message\":\"%s\"}",
                    type, status, now, since, reason, message);
}

void machine_status(struct neap_node *n, struct neap_buf *out)
{
    struct sysinfo info;
    struct utsname u;
    char now[32], since[32], machine_id[64], boot_id[64], os[128], arch[65];
    const struct neap_node_options *o = &n->options;
    sysinfo(&info);
    uname(&u);
    neap_time_format(node_wall(n), now);
    neap_time_format(n->since_ns, since);
    read_line("/etc/machine-id", machine_id, sizeof(machine_id));
    read_line("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
    os_image(os);
    machine_arch(arch);
    uint64_t memory = (uint64_t)info.totalram * info.mem_unit, disk = pressure_disk_size(n);
    resources(n, out, "capacity", memory, disk);
    neap_buf_char(out, ',');
    resources(n, out, "allocatable", less(memory, o->min_free_memory),
              less(disk, o->min_free_disk));
    neap_buf_str(out, ",\"conditions\":[");
    pressures_write(n, out, now);
    machine_condition(out, "Ready", "True", "KubeletReady", "kubelet is posting ready status", now,
                      since);
    neap_buf_printf(
        out,
        "],\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"%s\"},{\"type\":\"Hostname\","
        "\"address\":\"%s\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":%u}},"
        "\"nodeInfo\":{\"machineID\":\"%s\",\"systemUUID\":\"%s\",\"bootID\":\"%s\","
        "\"kernelVersion\":\"%s\",\"osImage\":",
        n->address, o->name, o->port, machine_id, machine_id, boot_id, u.release);
    neap_buf_json_string(out, os, strlen(os));
    neap_buf_printf(
        out,
        ",\"containerRuntimeVersion\":\"%s\",\"kubeletVersion\":\"%s\","
        "\"kubeProxyVersion\":\"\",\"operatingSystem\":\"linux\",\"architecture\":\"%s\"}",
        o->runtime->version(n->runtime), o->version, arch);
}
