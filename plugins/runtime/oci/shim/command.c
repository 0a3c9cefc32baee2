/* Runs crun or runc, and reaps everything that comes to us as the subreaper. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* crun refuses a cgroup2 mount that still has a controller beside v1 hierarchies. Only this child loses
 * sight of it; propagation of every other mount stays as it is. */
static int hide_unified(void)
{
    if (unshare(CLONE_NEWNS) < 0)
        return -1;
    if (mount("none", "/sys/fs/cgroup", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -1;
    return umount2("/sys/fs/cgroup/unified", MNT_DETACH);
}

static void child(const struct command_options *o)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3; i++)
        if (dup2(o->stdio[i] >= 0 ? o->stdio[i] : null, i) < 0)
            _exit(126);
    if (o->hide_unified && hide_unified() < 0)
        _exit(125);
    char *env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    execve(o->argv[0], o->argv, env);
    _exit(127);
}

int shim_command(struct shim *s, const struct command_options *o,
                 void (*done)(struct command *c, int status), void *arg)
{
    struct command *c = oci_alloc(sizeof *c);
    c->pid = fork();
    if (c->pid < 0) {
        int r = -errno;
        free(c);
        return r;
    }
    if (c->pid == 0)
        child(o);
    c->shim = s;
    c->done = done;
    c->arg = arg;
    c->deadline = oci_now_mono() + SHIM_COMMAND_MS * INT64_C(1000000);
    c->next = s->commands;
    s->commands = c;
    return 0;
}

void shim_commands_done(struct shim *s)
{
    while (s->commands) {
        struct command *c = s->commands;
        s->commands = c->next;
        free(c->arg);
        free(c);
    }
}

static bool reap_commands(struct shim *s)
{
    for (struct command **at = &s->commands; *at; at = &(*at)->next) {
        struct command *c = *at;
        int status;
        if (waitpid(c->pid, &status, WNOHANG) != c->pid)
            continue;
        *at = c->next;
        c->done(c, status);
        free(c->arg);
        free(c);
        return true; /* the lists may have changed: look again */
    }
    return false;
}

static bool reap_processes(struct shim *s)
{
    for (struct process *p = s->processes; p; p = p->next) {
        int status;
        if (!p->pid_known || p->state == SHIM_EXITED)
            continue;
        if (waitpid(p->pid, &status, WNOHANG) != p->pid)
            continue;
        shim_process_exited(p, status);
        return true;
    }
    return false;
}

static bool ours(struct shim *s, pid_t pid)
{
    for (struct command *c = s->commands; c; c = c->next)
        if (c->pid == pid)
            return true;
    for (struct process *p = s->processes; p; p = p->next)
        if (p->pid_known && p->pid == pid && p->state != SHIM_EXITED)
            return true;
    return false;
}

/* Commands first: their end is where a process's id becomes known. Strangers are reaped only while no
 * command runs, and only after a look at who it is, so that no status of ours is thrown away. */
void shim_reap(struct shim *s)
{
    for (;;) {
        while (reap_commands(s) || reap_processes(s))
            ;
        siginfo_t info = {0};
        if (s->commands || waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 ||
            info.si_pid == 0)
            return;
        if (!ours(s, info.si_pid))
            waitpid(info.si_pid, NULL, WNOHANG | __WALL);
    }
}

int shim_timeout_ms(struct shim *s)
{
    int64_t now = oci_now_mono(), next = -1;
    for (struct command *c = s->commands; c; c = c->next) {
        if (c->deadline <= now) {
            kill(c->pid, SIGKILL);
            c->deadline = now + 1000000000;
        }
        if (next < 0 || c->deadline - now < next)
            next = c->deadline - now;
    }
    return next < 0 ? -1 : (int)(next / 1000000) + 1;
}
