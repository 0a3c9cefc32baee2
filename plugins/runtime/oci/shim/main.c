/* The loop of the shim, and its verbs: `neap-shim sandbox DIR`, `neap-shim pause`. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void shim_events(struct shim *s, struct source *src, uint32_t events)
{
    if (src->fd < 0 || (src->registered && src->events == events))
        return;
    struct epoll_event e = {.events = events, .data.ptr = src};
    /* A paused source leaves the set: EPOLLHUP can't be masked and would spin. */
    int op = !events ? EPOLL_CTL_DEL : src->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (!events && !src->registered)
        return;
    if (epoll_ctl(s->epoll, op, src->fd, &e) == 0) {
        src->registered = events != 0;
        src->events = events;
    }
}

void shim_watch(struct shim *s, struct source *src, int fd, uint32_t events,
                void (*ready)(struct source *, uint32_t), void *owner)
{
    *src = (struct source){.fd = fd, .ready = ready, .owner = owner};
    shim_events(s, src, events);
}

void shim_unwatch(struct shim *s, struct source *src, bool close_fd)
{
    if (src->fd < 0)
        return;
    shim_events(s, src, 0);
    if (close_fd)
        close(src->fd);
    src->fd = -1;
}

static void on_signal(struct source *src, uint32_t events)
{
    struct signalfd_siginfo info;
    while (read(src->fd, &info, sizeof info) == (ssize_t)sizeof info)
        ;
    shim_reap(src->owner);
}

static int make_socket(struct shim *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    /* Through the folder's descriptor: a socket's address is short, our paths need not be. */
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/shim.sock", s->dir_fd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    unlinkat(s->dir_fd, "shim.sock", 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 64) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    shim_watch(s, &s->listener, fd, EPOLLIN, shim_client_accept, s);
    return 0;
}

static int set_up(struct shim *s, const char *dir)
{
    s->dir = oci_strdup(dir);
    s->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (s->dir_fd < 0 || s->epoll < 0)
        return -errno;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return -errno;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    shim_watch(s, &s->signals, fd, EPOLLIN, on_signal, s);
    return make_socket(s);
}

static void tear_down(struct shim *s)
{
    shim_commands_done(s);
    while (s->clients)
        shim_client_close(s->clients);
    while (s->processes)
        shim_process_free(s->processes);
    shim_unwatch(s, &s->listener, true);
    shim_unwatch(s, &s->signals, true);
    unlinkat(s->dir_fd, "shim.sock", 0);
    close(s->dir_fd);
    close(s->epoll);
    free(s->dir);
}

/* Serves until told to exit. Writes one byte to <ready_fd> when it can be reached. */
int shim_serve(const char *dir, int ready_fd)
{
    struct shim s = {.signals.fd = -1, .listener.fd = -1};
    int r = set_up(&s, dir);
    if (r < 0) {
        dprintf(2, "neap-shim: %s: %s\n", dir, strerror(-r));
        return 1;
    }
    if (write(ready_fd, "+", 1) != 1)
        return 1;
    close(ready_fd);
    while (!s.quit) {
        struct epoll_event e;
        int n = epoll_wait(s.epoll, &e, 1, shim_timeout_ms(&s));
        if (n < 0 && errno != EINTR)
            break;
        if (n == 1) {
            struct source *src = e.data.ptr;
            src->ready(src, e.events);
        }
    }
    tear_down(&s);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "sandbox") && argv[2][0] == '/')
        return shim_launch(argv[2]);
    if (argc == 2 && !strcmp(argv[1], "pause"))
        return shim_pause();
    fprintf(stderr, "usage: neap-shim sandbox DIR | pause (started by neap's oci runtime)\n");
    return 2;
}
