/* A process that we hold: a container's own, or an exec's. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct process *shim_process_new(struct shim *s, bool is_exec, const char *id)
{
    struct process *p = oci_alloc(sizeof *p);
    *p = (struct process){.shim = s, .is_exec = is_exec, .id = oci_strdup(id)};
    p->out[0].fd = p->out[1].fd = p->in.fd = p->console.fd = p->log.fd = -1;
    p->child_end[0] = p->child_end[1] = p->child_end[2] = -1;
    p->next = s->processes;
    s->processes = p;
    return p;
}

struct process *shim_process_find(struct shim *s, const char *id)
{
    for (struct process *p = s->processes; p; p = p->next)
        if (!p->is_exec && !strcmp(p->id, id))
            return p;
    return NULL;
}

/* ---- output */
static void emit(struct process *p, int stream, const char *data, size_t n)
{
    if (!p->is_exec)
        shim_log_write(&p->log, stream, data, n);
    struct client *next;
    for (struct client *c = p->shim->clients; c; c = next) {
        next = c->next;
        if (c->process != p || !(stream == 2 ? c->wants_err : c->wants_out) || c->gone)
            continue;
        shim_client_send(c, stream, data, n);
        if (!p->is_exec && c->out.len > SHIM_ATTACH_MAX)
            shim_client_close(c); /* too slow: a container never waits for who watches it */
        else if (p->is_exec && c->out.len > SHIM_EXEC_HIGH)
            shim_events(p->shim, &p->out[stream == 2], 0);
    }
}

/* false: nothing more for now */
static bool read_some(struct process *p, int i)
{
    char data[OCI_WIRE_CHUNK];
    ssize_t n = read(p->out[i].fd, data, sizeof data);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) { /* a pty's master says EIO when the other side is closed */
        shim_unwatch(p->shim, &p->out[i], true);
        return false;
    }
    emit(p, i + 1, data, (size_t)n);
    return true;
}

static void on_output(struct source *src, uint32_t events)
{
    struct process *p = src->owner;
    read_some(p, src == &p->out[1]);
}

void shim_process_output_resume(struct process *p)
{
    for (int i = 0; i < 2; i++)
        shim_events(p->shim, &p->out[i], EPOLLIN);
}

static void drain(struct process *p)
{
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < SHIM_DRAIN_MAX / OCI_WIRE_CHUNK && p->out[i].fd >= 0; k++)
            if (!read_some(p, i))
                break;
        shim_unwatch(p->shim, &p->out[i], true);
    }
}

/* ---- terminal */
static int receive_fd(int conn)
{
    char byte;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof control.space};
    if (recvmsg(conn, &m, MSG_CMSG_CLOEXEC) < 0)
        return -errno;
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof(int)))
        return -EPROTO;
    int fd;
    memcpy(&fd, CMSG_DATA(h), sizeof fd);
    return fd;
}

static void on_stdin(struct source *src, uint32_t events);

static void on_terminal_message(struct source *src, uint32_t events)
{
    struct process *p = src->owner;
    int fd = receive_fd(src->fd);
    if (fd == -EAGAIN)
        return;
    shim_unwatch(p->shim, src, true);
    if (fd < 0)
        return;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    shim_watch(p->shim, &p->out[0], fd, EPOLLIN, on_output, p);
    if (p->stdin_open)
        shim_watch(p->shim, &p->in, fcntl(fd, F_DUPFD_CLOEXEC, 3), 0, on_stdin, p);
    if (p->columns)
        shim_process_resize(p, p->columns, p->rows);
    if (p->in_buf.len)
        shim_events(p->shim, &p->in, EPOLLOUT);
}

static void on_console(struct source *src, uint32_t events)
{
    struct process *p = src->owner;
    int conn = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (conn < 0)
        return;
    shim_unwatch(p->shim, src, true);
    shim_watch(p->shim, src, conn, EPOLLIN, on_terminal_message, p);
}

static int console_listen(struct process *p, char **ret)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    unsigned n = ++p->shim->counter;
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/tty%u.sock", p->shim->dir_fd, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    unlink(a.sun_path);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    *ret = oci_printf("/proc/%d/fd/%d/tty%u.sock", (int)getpid(), p->shim->dir_fd, n);
    shim_watch(p->shim, &p->console, fd, EPOLLIN, on_console, p);
    return 0;
}

void shim_process_resize(struct process *p, unsigned columns, unsigned rows)
{
    p->columns = columns;
    p->rows = rows;
    struct winsize w = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
    if (p->tty && p->out[0].fd >= 0)
        ioctl(p->out[0].fd, TIOCSWINSZ, &w);
}

/* ---- stdin */
static void unpause(struct process *p)
{
    for (struct client *c = p->shim->clients; c; c = c->next)
        if (c->process == p)
            shim_client_unpause(c);
}

static void flush_stdin(struct process *p)
{
    while (p->in_buf.len && p->in.fd >= 0) {
        ssize_t n = write(p->in.fd, p->in_buf.p, p->in_buf.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            shim_events(p->shim, &p->in, EPOLLOUT);
            return;
        }
        if (n < 0) { /* nobody reads it any more */
            oci_buf_done(&p->in_buf);
            p->in_closing = true;
            break;
        }
        oci_buf_drop(&p->in_buf, (size_t)n);
    }
    shim_events(p->shim, &p->in, 0);
    if (p->in_closing)
        shim_unwatch(p->shim, &p->in, true);
}

static void on_stdin(struct source *src, uint32_t events)
{
    struct process *p = src->owner;
    flush_stdin(p);
    if (!p->in_buf.len)
        unpause(p);
}

int shim_process_stdin(struct process *p, const char *data, size_t n)
{
    bool waits_for_terminal = p->tty && p->console.fd >= 0;
    if (!p->stdin_open || p->in_closing || (p->in.fd < 0 && !waits_for_terminal))
        return 0;
    oci_buf_add(&p->in_buf, data, n);
    if (p->in.fd >= 0)
        flush_stdin(p);
    return p->in_buf.len != 0;
}

void shim_process_close_stdin(struct process *p)
{
    if (!p->stdin_open || p->in_closing)
        return;
    if (p->tty) { /* a terminal has no end of file but its end-of-file key */
        shim_process_stdin(p, "\004", 1);
        return;
    }
    p->in_closing = true;
    flush_stdin(p);
}

/* ---- set-up */
static int make_pipe(struct process *p, int i, struct source *src)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    int ours = i == 0 ? fds[1] : fds[0];
    p->child_end[i] = i == 0 ? fds[0] : fds[1];
    fcntl(ours, F_SETFL, O_NONBLOCK);
    shim_watch(p->shim, src, ours, i == 0 ? 0 : EPOLLIN, i == 0 ? on_stdin : on_output, p);
    return 0;
}

int shim_process_stdio(struct process *p, bool with_in, bool with_err, char **ret_console)
{
    *ret_console = NULL;
    p->stdin_open = with_in;
    if (p->tty)
        return console_listen(p, ret_console);
    int r = with_in ? make_pipe(p, 0, &p->in) : 0;
    if (!r)
        r = make_pipe(p, 1, &p->out[0]);
    if (!r && with_err)
        r = make_pipe(p, 2, &p->out[1]);
    return r;
}

void shim_process_child_ends(struct process *p)
{
    for (int i = 0; i < 3; i++) {
        if (p->child_end[i] >= 0)
            close(p->child_end[i]);
        p->child_end[i] = -1;
    }
}

int shim_process_read_pid(struct process *p)
{
    char *text = NULL;
    int r = oci_read_file(p->pid_file, 64, &text, NULL);
    if (r)
        return r;
    long pid = strtol(text, NULL, 10);
    free(text);
    if (pid <= 1)
        return -EPROTO;
    p->pid = (pid_t)pid;
    p->pid_known = true;
    return 0;
}

/* ---- the record */
yyjson_mut_val *shim_process_json(struct process *p, yyjson_mut_doc *d)
{
    static const char *const names[] = {"creating", "created", "running", "exited"};
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_obj_add_strcpy(d, o, "id", p->id);
    yyjson_mut_obj_add_str(d, o, "state", names[p->state]);
    yyjson_mut_obj_add_int(d, o, "pid", p->pid);
    yyjson_mut_obj_add_sint(d, o, "created", p->created);
    yyjson_mut_obj_add_sint(d, o, "started", p->started);
    yyjson_mut_obj_add_sint(d, o, "finished", p->finished);
    yyjson_mut_obj_add_int(d, o, "exit_code", p->exit_code);
    yyjson_mut_obj_add_int(d, o, "signal", p->signal);
    yyjson_mut_obj_add_bool(d, o, "oom", p->oom);
    if (p->error)
        yyjson_mut_obj_add_strcpy(d, o, "error", p->error);
    return o;
}

int shim_process_record(struct process *p)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_doc_set_root(d, shim_process_json(p, d));
    size_t n = 0;
    char *text = yyjson_mut_write(d, 0, &n);
    yyjson_mut_doc_free(d);
    char *path = oci_printf("%s/status.json", p->dir);
    int r = text ? oci_write_durable(path, text, n) : -ENOMEM;
    free(path);
    free(text);
    return r;
}

/* "oom_kill N" is a line of memory.oom_control (v1) and of memory.events (v2). */
static bool oom_seen(const char *path)
{
    char *text = NULL;
    if (!path || oci_read_file(path, 4096, &text, NULL))
        return false;
    const char *at = strstr(text, "oom_kill ");
    bool seen = at && strtoll(at + 9, NULL, 10) > 0;
    free(text);
    return seen;
}

static void tell_exit(struct process *p)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = shim_process_json(p, d);
    yyjson_mut_obj_add_str(d, o, "event", "exit");
    yyjson_mut_doc_set_root(d, o);
    shim_broadcast(p->shim, d);
}

void shim_process_exited(struct process *p, int status)
{
    p->finished = oci_now_wall();
    p->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    p->exit_code = p->signal ? 128 + p->signal : WEXITSTATUS(status);
    p->oom = oom_seen(p->oom_file) && p->exit_code == 128 + SIGKILL;
    if (p->console.fd >= 0 && p->is_exec) { /* it ended before we took its terminal */
        on_console(&p->console, 0);
        if (p->console.fd >= 0)
            on_terminal_message(&p->console, 0);
    }
    drain(p);
    p->state = SHIM_EXITED;
    if (p->is_exec) {
        shim_request_exited(p);
        return;
    }
    shim_log_flush(&p->log);
    if (shim_process_record(p) < 0)
        dprintf(2, "neap-shim: %s: the exit could not be recorded\n", p->id);
    tell_exit(p);
    shim_request_exited(p);
}

void shim_process_free(struct process *p)
{
    for (struct process **at = &p->shim->processes; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            break;
        }
    }
    for (struct client *c = p->shim->clients; c; c = c->next)
        if (c->process == p)
            c->process = NULL;
    shim_process_child_ends(p);
    for (int i = 0; i < 2; i++)
        shim_unwatch(p->shim, &p->out[i], true);
    shim_unwatch(p->shim, &p->in, true);
    shim_unwatch(p->shim, &p->console, true);
    oci_buf_done(&p->in_buf);
    shim_log_done(&p->log);
    for (char **a = p->delete_argv; a && *a; a++)
        free(*a);
    free(p->delete_argv);
    free(p->id);
    free(p->dir);
    free(p->oom_file);
    free(p->pid_file);
    free(p->error);
    free(p);
}
