/* Makes a sandbox's namespaces and the shim itself; runs in the short-lived program that the plugin
 * starts. What it needs is in DIR/config.json (written by sandbox.c):
 *   hostname, host_network, host_ipc, share_pid, sysctls [name, value, ...],
 *   shim_procs, pause_procs: cgroup.procs files to join. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what, const char *which)
{
    fprintf(stderr, "%s %s: %s\n", what, which, strerror(errno));
    return -1;
}

static bool flag(yyjson_val *c, const char *key)
{
    return yyjson_get_bool(yyjson_obj_get(c, key));
}

/* ---- namespaces */
static int pin(const char *dir, const char *ns, const char *source)
{
    char *target = oci_printf("%s/ns/%s", dir, ns);
    int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    int r = fd < 0 || mount(source, target, NULL, MS_BIND, NULL) < 0 ? fail("pin", target) : 0;
    free(target);
    return r;
}

static int loopback_up(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int ret = fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? fail("bring up", "lo") : 0;
    if (fd >= 0)
        close(fd);
    return ret;
}

/* Only what belongs to a namespace that this pod has for itself. */
static bool sysctl_allowed(const char *name, bool own_net, bool own_ipc)
{
    static const char *const ipc[] = {"kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."};
    if (strstr(name, "..") || strchr(name, '/'))
        return false;
    if (!strncmp(name, "net.", 4))
        return own_net;
    for (size_t i = 0; i < sizeof ipc / sizeof *ipc; i++)
        if (!strncmp(name, ipc[i], strlen(ipc[i])))
            return own_ipc;
    return false;
}

static int set_sysctls(yyjson_val *c, bool own_net, bool own_ipc)
{
    yyjson_val *list = yyjson_obj_get(c, "sysctls");
    for (size_t i = 0; i + 1 < yyjson_arr_size(list); i += 2) {
        const char *name = yyjson_get_str(yyjson_arr_get(list, i));
        const char *value = yyjson_get_str(yyjson_arr_get(list, i + 1));
        if (!name || !value || !sysctl_allowed(name, own_net, own_ipc)) {
            errno = EPERM;
            return fail("sysctl", name ? name : "?");
        }
        char *path = oci_printf("/proc/sys/%s", name);
        for (char *p = path + 10; *p; p++)
            if (*p == '.')
                *p = '/';
        int r = oci_write_plain(path, value);
        free(path);
        if (r < 0) {
            errno = -r;
            return fail("sysctl", name);
        }
    }
    return 0;
}

/* A child's work: the namespaces live on in their pins when it is gone. */
static int make_namespaces(const char *dir, yyjson_val *c)
{
    bool net = !flag(c, "host_network"), ipc = !flag(c, "host_ipc");
    const char *hostname = yyjson_get_str(yyjson_obj_get(c, "hostname"));
    int flags = (net ? CLONE_NEWNET | CLONE_NEWUTS : 0) | (ipc ? CLONE_NEWIPC : 0);
    if (unshare(flags) < 0)
        return fail("unshare", "namespaces");
    if (net && hostname && sethostname(hostname, strlen(hostname)) < 0)
        return fail("set the hostname", hostname);
    if ((net && loopback_up() < 0) || set_sysctls(c, net, ipc) < 0)
        return -1;
    if (net &&
        (pin(dir, "net", "/proc/self/ns/net") < 0 || pin(dir, "uts", "/proc/self/ns/uts") < 0))
        return -1;
    return ipc ? pin(dir, "ipc", "/proc/self/ns/ipc") : 0;
}

static int in_child(const char *dir, yyjson_val *c)
{
    pid_t pid = fork();
    if (pid < 0)
        return fail("fork", "");
    if (pid == 0)
        _exit(make_namespaces(dir, c) < 0 ? 1 : 0);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status ? -1 : 0;
}

static int make_shm(const char *dir, yyjson_val *c)
{
    if (flag(c, "host_ipc"))
        return 0;
    char *path = oci_printf("%s/shm", dir);
    int r = 0;
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        r = fail("make", path);
    else if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                   "size=67108864,mode=1777") < 0)
        r = fail("mount", path);
    free(path);
    return r;
}

/* ---- cgroups */
static int join(yyjson_val *c, const char *key, pid_t pid)
{
    char text[16];
    snprintf(text, sizeof text, "%d", (int)pid);
    yyjson_val *list = yyjson_obj_get(c, key), *v;
    size_t i, max;
    yyjson_arr_foreach(list, i, max, v)
    {
        int r = oci_write_plain(yyjson_get_str(v), text);
        if (r < 0) {
            errno = -r;
            return fail("join", yyjson_get_str(v));
        }
    }
    return 0;
}

/* ---- the shared process namespace's init */
int shim_pause(void)
{
    prctl(PR_SET_NAME, "pause");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_SETMASK, &set, NULL);
    for (;;) {
        int n = 0;
        sigwait(&set, &n);
        if (n != SIGCHLD)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}

static int start_pause(const char *dir, yyjson_val *c)
{
    if (!flag(c, "share_pid"))
        return 0;
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0)
        return fail("make", "a pipe");
    /* clone, not unshare: our own children must stay in our namespace */
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
    if (pid < 0)
        return fail("clone", "pause");
    if (pid == 0) {
        char byte;
        close(gate[1]);
        if (read(gate[0], &byte, 1) != 1)
            _exit(1);
        execl("/proc/self/exe", "neap-shim", "pause", (char *)NULL);
        _exit(1);
    }
    close(gate[0]);
    char source[64];
    snprintf(source, sizeof source, "/proc/%d/ns/pid", (int)pid);
    int r = join(c, "pause_procs", pid);
    if (!r)
        r = pin(dir, "pid", source);
    if (!r && write(gate[1], "+", 1) != 1)
        r = -1;
    close(gate[1]);
    return r;
}

/* ---- the daemon */
static int daemon_main(const char *dir, yyjson_val *c, int ready)
{
    setsid();
    umask(022);
    if (chdir("/") < 0 || join(c, "shim_procs", getpid()) < 0)
        return 1;
    if (start_pause(dir, c) < 0)
        return 1;
    char *path = oci_printf("%s/shim.log", dir);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    free(path);
    if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        return 1;
    close(log);
    close(null);
    return shim_serve(dir, ready);
}

static int start_daemon(const char *dir, yyjson_doc *doc, yyjson_val *c)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return fail("make", "a pipe");
    pid_t pid = fork();
    if (pid < 0)
        return fail("fork", "");
    if (pid == 0) {
        close(ready[0]);
        int r = daemon_main(dir, c, ready[1]);
        yyjson_doc_free(doc);
        exit(r);
    }
    close(ready[1]);
    char byte;
    ssize_t n;
    while ((n = read(ready[0], &byte, 1)) < 0 && errno == EINTR)
        ;
    close(ready[0]);
    return n == 1 ? 0 : -1;
}

int shim_launch(const char *dir)
{
    close_range(3, ~0U, 0);
    char *path = oci_printf("%s/config.json", dir), *text = NULL;
    size_t n = 0;
    int r = oci_read_file(path, OCI_FILE_MAX, &text, &n);
    free(path);
    yyjson_doc *doc = r ? NULL : yyjson_read(text, n, 0);
    free(text);
    yyjson_val *c = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(c)) {
        fprintf(stderr, "neap-shim: %s/config.json: not readable\n", dir);
        yyjson_doc_free(doc);
        return 1;
    }
    char *ns = oci_printf("%s/ns", dir);
    r = mkdir(ns, 0700) < 0 && errno != EEXIST ? fail("make", ns) : 0;
    free(ns);
    if (!r)
        r = in_child(dir, c);
    if (!r)
        r = make_shm(dir, c);
    if (!r)
        r = start_daemon(dir, doc, c);
    yyjson_doc_free(doc);
    return r ? 1 : 0;
}
