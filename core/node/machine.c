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
    if (neap_file_read("/etc/os-release", 65536, &text, &len) == 0) {
        const char *p = strstr(text, "PRETTY_NAME=\"");
        if (p)
            snprintf(out, 128, "%.*s", (int)strcspn(p + 13, "\"\n"), p + 13);
    }
    free(text);
}

static const char *arch(const struct utsname *u)
{
    return strcmp(u->machine, "x86_64") == 0    ? "amd64"
           : strcmp(u->machine, "aarch64") == 0 ? "arm64"
                                                : u->machine;
}

static void condition(struct neap_buf *out, const char *type, const char *status,
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
    char now[32], since[32], machine_id[64], boot_id[64], os[128];
    const struct neap_node_options *o = &n->options;
    sysinfo(&info);
    uname(&u);
    neap_time_format(node_wall(n), now);
    neap_time_format(n->since_ns, since);
    read_line("/etc/machine-id", machine_id, sizeof(machine_id));
    read_line("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
    os_image(os);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned long long memory = (unsigned long long)info.totalram * info.mem_unit / 1024;
    for (int i = 0; i < 2; i++)
        neap_buf_printf(out, "%s\"%s\":{\"cpu\":\"%ld\",\"memory\":\"%lluKi\",\"pods\":\"%u\"}",
                        i ? "," : "", i ? "allocatable" : "capacity", cpus, memory, o->max_pods);
    neap_buf_str(out, ",\"conditions\":[");
    condition(out, "MemoryPressure", "False", "KubeletHasSufficientMemory",
              "kubelet has sufficient memory available", now, since);
    neap_buf_char(out, ',');
    condition(out, "DiskPressure", "False", "KubeletHasNoDiskPressure",
              "kubelet has no disk pressure", now, since);
    neap_buf_char(out, ',');
    condition(out, "PIDPressure", "False", "KubeletHasSufficientPID",
              "kubelet has sufficient PID available", now, since);
    neap_buf_char(out, ',');
    condition(out, "Ready", "True", "KubeletReady", "kubelet is posting ready status", now, since);
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
        o->runtime->version(n->runtime), o->version, arch(&u));
}
