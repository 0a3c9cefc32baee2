/* Programs: fork, exec, captured output, time-out. Own fork instead of uv_spawn, because the runtime needs a
 * step between fork and exec (a private mount namespace: design.md section 11). The exit is noticed by a
 * pidfd, so no SIGCHLD handler is involved. */
#include "loop_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <neap/buf.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX_DEFAULT (64u << 10)

struct pipe_end {
    struct child *child;
    int fd;
    struct neap_fd *poll;
    struct neap_buf buf;
    size_t max;
};

struct child {
    struct neap_loop *loop;
    pid_t pid;
    int pidfd;
    struct neap_fd *pidfd_poll;
    struct neap_timer *timer;
    struct pipe_end in, out, err;
    size_t input_sent;
    struct neap_child_result result;
    bool exited;
    void (*done)(void *arg, const struct neap_child_result *result);
    void *arg;
};

static void pipe_close(struct pipe_end *p)
{
    p->poll = neap_fd_close(p->poll);
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static void finish(struct child *c)
{
    pipe_close(&c->in);
    pipe_close(&c->out);
    pipe_close(&c->err);
    neap_timer_close(c->timer);
    neap_fd_close(c->pidfd_poll);
    if (c->pidfd >= 0)
        close(c->pidfd);
    c->result.out = c->out.buf.data ? c->out.buf.data : "";
    c->result.out_len = c->out.buf.len;
    c->result.err = c->err.buf.data ? c->err.buf.data : "";
    c->result.err_len = c->err.buf.len;
    c->done(c->arg, &c->result);
    neap_buf_done(&c->in.buf);
    neap_buf_done(&c->out.buf);
    neap_buf_done(&c->err.buf);
    free(c);
}

/* Reads what is there; keeps up to max and drops the rest. True: end of file. */
static bool drain(struct pipe_end *p)
{
    char chunk[16384];
    for (;;) {
        ssize_t n = read(p->fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno != EAGAIN;
        if (n == 0)
            return true;
        size_t room = p->max - p->buf.len;
        neap_buf_append(&p->buf, chunk, (size_t)n < room ? (size_t)n : room);
    }
}

static void on_output(void *arg, int events)
{
    struct pipe_end *p = arg;
    (void)events;
    if (drain(p))
        pipe_close(p);
}

static void on_input_writable(void *arg, int events)
{
    struct pipe_end *p = arg;
    struct child *c = p->child;
    (void)events;
    while (c->input_sent < p->buf.len) {
        ssize_t n = write(p->fd, p->buf.data + c->input_sent, p->buf.len - c->input_sent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break; /* the program does not want it */
        c->input_sent += (size_t)n;
    }
    pipe_close(p);
}

static void on_exit_event(void *arg, int events)
{
    struct child *c = arg;
    int status;
    (void)events;
    if (waitpid(c->pid, &status, WNOHANG) != c->pid)
        return;
    c->result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    /* Grandchildren may keep the pipes open: what has been written is enough. */
    if (c->out.fd >= 0)
        drain(&c->out);
    if (c->err.fd >= 0)
        drain(&c->err);
    finish(c);
}

static void on_timeout(void *arg)
{
    struct child *c = arg;
    c->result.timed_out = true;
    kill(-c->pid, SIGKILL); /* its process group */
    kill(c->pid, SIGKILL);
}

static void not_started(void *arg)
{
    struct child *c = arg;
    finish(c);
}

/* In the child: only async-signal-safe calls. */
static _Noreturn void child_main(const struct neap_child_options *o, int in, int out, int err,
                                 int report)
{
    sigset_t none;
    sigemptyset(&none);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        goto fail;
    if (o->cwd && chdir(o->cwd) < 0)
        goto fail;
    if (o->before_exec && o->before_exec(o->before_exec_arg))
        _exit(126);
    if (o->env)
        execvpe(o->argv[0], (char *const *)(uintptr_t)o->argv, (char *const *)(uintptr_t)o->env);
    else
        execvp(o->argv[0], (char *const *)(uintptr_t)o->argv);
fail:;
    int failed = errno;
    (void)!write(report, &failed, sizeof(failed));
    _exit(127);
}

static int make_pipe(int ends[2], bool nonblocking_read)
{
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    int ours = nonblocking_read ? ends[0] : ends[1];
    fcntl(ours, F_SETFL, O_NONBLOCK);
    return 0;
}

static void close_pair(int ends[2])
{
    if (ends[0] >= 0)
        close(ends[0]);
    if (ends[1] >= 0)
        close(ends[1]);
}

/* 0, or -errno with nothing left behind. */
static int spawn(struct child *c, const struct neap_child_options *o)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, report[2] = {-1, -1};
    int code = make_pipe(in, false);
    if (!code)
        code = make_pipe(out, true);
    if (!code)
        code = make_pipe(err, true);
    if (!code && pipe2(report, O_CLOEXEC) < 0)
        code = -errno;
    pid_t pid = code ? -1 : fork();
    if (pid == 0)
        child_main(o, in[0], out[1], err[1], report[1]);
    if (!code && pid < 0)
        code = -errno;
    int failed = 0;
    if (!code) {
        close(report[1]);
        report[1] = -1;
        /* Ends at exec (CLOEXEC) or with the reason: microseconds. */
        while (read(report[0], &failed, sizeof(failed)) < 0 && errno == EINTR)
            ;
        if (failed) {
            waitpid(pid, NULL, 0);
            code = -failed;
        }
    }
    close_pair(report);
    if (code) {
        close_pair(in);
        close_pair(out);
        close_pair(err);
        return code;
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    c->pid = pid;
    c->in.fd = in[1];
    c->out.fd = out[0];
    c->err.fd = err[0];
    c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    return c->pidfd < 0 ? -errno : 0;
}

static void watch_pipes(struct child *c)
{
    c->in.poll = neap_fd_new(c->loop, c->in.fd, on_input_writable, &c->in);
    neap_fd_set(c->in.poll, NEAP_WRITABLE);
    c->out.poll = neap_fd_new(c->loop, c->out.fd, on_output, &c->out);
    neap_fd_set(c->out.poll, NEAP_READABLE);
    c->err.poll = neap_fd_new(c->loop, c->err.fd, on_output, &c->err);
    neap_fd_set(c->err.poll, NEAP_READABLE);
    c->pidfd_poll = neap_fd_new(c->loop, c->pidfd, on_exit_event, c);
    neap_fd_set(c->pidfd_poll, NEAP_READABLE);
}

void neap_child_run(struct neap_loop *loop, const struct neap_child_options *o,
                    void (*done)(void *arg, const struct neap_child_result *result), void *arg)
{
    struct child *c = neap_calloc(1, sizeof(*c));
    size_t max = o->output_max ? o->output_max : OUTPUT_MAX_DEFAULT;
    c->loop = loop;
    c->done = done;
    c->arg = arg;
    c->pidfd = -1;
    c->in = (struct pipe_end){.child = c, .fd = -1};
    c->out = (struct pipe_end){.child = c, .fd = -1, .max = max};
    c->err = (struct pipe_end){.child = c, .fd = -1, .max = max};
    if (o->input_len)
        neap_buf_append(&c->in.buf, o->input, o->input_len);
    int code = spawn(c, o);
    if (code) {
        c->result.status = code;
        if (c->pid > 0) { /* no pidfd: do not leave it behind */
            kill(c->pid, SIGKILL);
            waitpid(c->pid, NULL, 0);
        }
        neap_loop_post(loop, not_started, c);
        return;
    }
    watch_pipes(c);
    if (o->timeout_ms) {
        c->timer = neap_timer_new(loop, on_timeout, c);
        neap_timer_start(c->timer, o->timeout_ms, 0);
    }
}
