#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <unistd.h>

static void add_root(struct oci_cgroup *g, const char *root, const char *controllers)
{
    if (g->count == OCI_CGROUP_HIERARCHIES_MAX)
        return;
    g->roots[g->count] = oci_strdup(root);
    g->controllers[g->count++] = oci_strdup(controllers);
}

/* "31 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory" */
static void take_mount(struct oci_cgroup *g, char *line)
{
    char *dash = strstr(line, " - "), *save = NULL;
    if (!dash)
        return;
    *dash = 0;
    char *type = strtok_r(dash + 3, " ", &save);
    strtok_r(NULL, " ", &save);
    char *options = strtok_r(NULL, " ", &save);
    char *f = strtok_r(line, " ", &save);
    for (int i = 0; f && i < 4; i++)
        f = strtok_r(NULL, " ", &save);
    if (!type || !f || strncmp(f, "/sys/fs/cgroup/", 15) || strchr(f, '\\'))
        return;
    if (!strcmp(type, "cgroup2") && !g->hybrid) {
        g->hybrid = true;
        g->unified = oci_strdup(f);
    }
    if (strcmp(type, "cgroup"))
        return;
    char *c = oci_printf(",%s,", options ? options : "");
    add_root(g, f, c);
    free(c);
}

int oci_cgroup_init(struct oci_cgroup *g)
{
    *g = (struct oci_cgroup){0};
    struct statfs fs;
    if (statfs("/sys/fs/cgroup", &fs) < 0)
        return -errno;
    if (fs.f_type == CGROUP2_SUPER_MAGIC) {
        g->driver = &oci_cgroup_v2;
        add_root(g, "/sys/fs/cgroup", "");
        return 0;
    }
    g->driver = &oci_cgroup_v1;
    char *text = NULL, *save = NULL;
    int r = oci_read_file("/proc/self/mountinfo", 64u << 20, &text, NULL);
    if (r)
        return r;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        take_mount(g, l);
    free(text);
    return g->count ? 0 : -ENOENT;
}

void oci_cgroup_done(struct oci_cgroup *g)
{
    for (unsigned i = 0; i < g->count; i++) {
        free(g->roots[i]);
        free(g->controllers[i]);
    }
    free(g->unified);
    *g = (struct oci_cgroup){0};
}

char *oci_cgroup_file(struct oci_cgroup *g, const char *controller, const char *path,
                      const char *file)
{
    char want[64];
    snprintf(want, sizeof want, ",%s,", controller);
    for (unsigned i = 0; i < g->count; i++)
        if (!g->controllers[i][0] || strstr(g->controllers[i], want))
            return oci_printf("%s%s/%s", g->roots[i], path, file);
    return NULL;
}

char **oci_cgroup_procs(struct oci_cgroup *g, const char *path)
{
    char **list = oci_alloc((g->count + 1) * sizeof *list);
    for (unsigned i = 0; i < g->count; i++)
        list[i] = oci_printf("%s%s/cgroup.procs", g->roots[i], path);
    return list;
}

/* Calls <fn> for <dir> after everything below it. */
static void walk(const char *dir, void (*fn)(const char *dir, void *arg), void *arg)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.')
            continue;
        char *sub = oci_printf("%s/%s", dir, e->d_name);
        walk(sub, fn, arg);
        free(sub);
    }
    if (d)
        closedir(d);
    fn(dir, arg);
}

struct kill_round {
    struct pollfd *fds;
    size_t count;
};

static void kill_here(const char *dir, void *arg)
{
    struct kill_round *k = arg;
    char *path = oci_printf("%s/cgroup.procs", dir), *text = NULL, *save = NULL;
    int r = oci_read_file(path, OCI_FILE_MAX, &text, NULL);
    free(path);
    if (r)
        return;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        pid_t pid = (pid_t)strtol(l, NULL, 10);
        int fd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
        if (fd < 0)
            continue;
        syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
        k->fds = oci_realloc(k->fds, (k->count + 1) * sizeof *k->fds);
        k->fds[k->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    free(text);
}

/* Waits for the end of each; what was forked meanwhile is the next round's. */
static int wait_all(struct kill_round *k, int64_t deadline)
{
    int r = 0;
    for (size_t i = 0; i < k->count; i++) {
        int64_t left = (deadline - oci_now_mono()) / 1000000;
        if (!r && poll(&k->fds[i], 1, left > 0 ? (int)left : 0) == 0)
            r = -ETIMEDOUT;
        close(k->fds[i].fd);
    }
    free(k->fds);
    return r;
}

int oci_cgroup_kill(struct oci_cgroup *g, const char *path, int timeout_ms)
{
    int64_t deadline = oci_now_mono() + timeout_ms * INT64_C(1000000);
    /* v1: any hierarchy holds all of them; memory or else the first */
    char *dir = oci_cgroup_file(g, "memory", path, "");
    if (!dir)
        dir = oci_printf("%s%s/", g->roots[0], path);
    dir[strlen(dir) - 1] = 0;
    char *all = oci_printf("%s/cgroup.kill", dir);
    oci_write_plain(all, "1"); /* v2 from Linux 5.14 */
    free(all);
    int r = 0;
    for (;;) {
        struct kill_round k = {0};
        walk(dir, kill_here, &k);
        if (!k.count)
            break;
        r = wait_all(&k, deadline);
        if (r)
            break;
    }
    free(dir);
    return r;
}

static void remove_here(const char *dir, void *arg)
{
    if (rmdir(dir) < 0 && errno != ENOENT)
        *(int *)arg = -errno;
}

static int remove_under(const char *root, const char *path)
{
    int r = 0;
    char *dir = oci_printf("%s%s", root, path);
    walk(dir, remove_here, &r);
    for (char *slash; (slash = strrchr(dir + strlen(root) + 1, '/')) != NULL;) {
        *slash = 0;
        if (rmdir(dir) < 0)
            break;
    }
    free(dir);
    return r;
}

int oci_cgroup_remove(struct oci_cgroup *g, const char *path)
{
    int r = 0;
    if (path[0] != '/' || !path[1])
        return -EINVAL;
    for (unsigned i = 0; i < g->count; i++) {
        int one = remove_under(g->roots[i], path);
        r = one ? one : r;
    }
    if (g->unified)
        remove_under(g->unified, path);
    return r;
}
