#include "sysctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH 512
#define V6   "/proc/sys/net/ipv6/conf"

static int put(const char *path, const char *text, int flags)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return -errno;
    int r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    if (!r && flags && fsync(fd) < 0)
        r = -errno;
    close(fd);
    return r;
}

static int get(const char *path, char *text, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, max - 1);
    int r = n < 0 ? -errno : 0;
    text[n > 0 ? n : 0] = 0;
    close(fd);
    return r;
}

static void exchange(char *s, char from, char to)
{
    for (; (s = strchr(s, from)); s++)
        *s = to;
}

static int set(const char *dir, const char *path, const char *value)
{
    char record[4096], name[PATH], old[64];
    snprintf(name, sizeof name, "%s", path);
    exchange(name, '/', '#');
    snprintf(record, sizeof record, "%s/sysctl-%s", dir, name);
    int r = get(path, old, sizeof old);
    if (r || strcmp(old, value) == 0)
        return r;
    if (access(record, F_OK) < 0)
        r = put(record, old, O_CREAT | O_TRUNC);
    return r ? r : put(path, value, 0);
}

/* 1: routers are listened to unless forwarding; 2: all the same. */
static int keep_router_routes(const char *data_dir)
{
    DIR *d = opendir(V6);
    int r = d ? 0 : -errno;
    for (struct dirent *e; d && !r && (e = readdir(d));) {
        char accept[PATH], forwarding[PATH], text[64];
        bool real = e->d_name[0] != '.' && strcmp(e->d_name, "all") &&
                    strcmp(e->d_name, "default") && strcmp(e->d_name, "lo");
        snprintf(accept, sizeof accept, V6 "/%.200s/accept_ra", e->d_name);
        snprintf(forwarding, sizeof forwarding, V6 "/%.200s/forwarding", e->d_name);
        if (real && !get(accept, text, sizeof text) && !strcmp(text, "1\n") &&
            !get(forwarding, text, sizeof text) && !strcmp(text, "0\n"))
            r = set(data_dir, accept, "2\n");
        if (r == -ENOENT)
            r = 0; /* it went away meanwhile */
    }
    if (d)
        closedir(d);
    return r;
}

int veth_sysctls_set(const char *data_dir, bool v6)
{
    if (!v6)
        return set(data_dir, "/proc/sys/net/ipv4/ip_forward", "1\n");
    int r = keep_router_routes(data_dir);
    return r ? r : set(data_dir, V6 "/all/forwarding", "1\n");
}

void veth_sysctls_reset(const char *data_dir)
{
    static const char prefix[] = "sysctl-";
    DIR *d = opendir(data_dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[4096], old[64], target[256];
        if (strncmp(e->d_name, prefix, sizeof prefix - 1))
            continue;
        snprintf(path, sizeof path, "%s/%s", data_dir, e->d_name);
        snprintf(target, sizeof target, "%s", e->d_name + sizeof prefix - 1);
        exchange(target, '#', '/');
        if (!strncmp(target, "/proc/sys/net/", 14) && !get(path, old, sizeof old))
            put(target, old, 0);
        unlink(path);
    }
    if (d)
        closedir(d);
}

int veth_sysctl_enable_v6(void *unused)
{
    (void)unused;
    return put(V6 "/all/disable_ipv6", "0\n", 0);
}
