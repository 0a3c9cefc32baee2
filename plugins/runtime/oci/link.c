/* The agent's end of a shim's control connection: requests out, replies and events in. */
#include "oci.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

struct pending {
    struct pending *next;
    int64_t seq;
    void (*reply)(void *arg, int code, const char *message, yyjson_val *root);
    void *arg;
};

struct oci_link {
    struct oci *o;
    struct oci_sandbox *sandbox;
    int fd;
    struct neap_host_fd *watch;
    struct oci_buf in, out;
    struct pending *pending;
    int64_t seq;
    bool dispatching, dead;
};

int oci_shim_connect(const char *dir)
{
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return -errno;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/shim.sock", dir_fd);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : 0;
    close(dir_fd);
    if (r && fd >= 0)
        close(fd);
    return r ? r : fd;
}

yyjson_mut_doc *oci_request(const char *op, const char *id)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_doc_set_root(d, o);
    yyjson_mut_obj_add_strcpy(d, o, "op", op);
    if (id)
        yyjson_mut_obj_add_strcpy(d, o, "id", id);
    return d;
}

void oci_request_argv(yyjson_mut_doc *d, const char *const *argv)
{
    yyjson_mut_val *a = yyjson_mut_arr(d);
    for (; *argv; argv++)
        yyjson_mut_arr_add_strcpy(d, a, *argv);
    yyjson_mut_obj_add_val(d, yyjson_mut_doc_get_root(d), "argv", a);
}

static void fail_pending(struct oci_link *l)
{
    while (l->pending) {
        struct pending *p = l->pending;
        l->pending = p->next;
        p->reply(p->arg, NEAP_EUNAVAILABLE, "the pod's shim is gone", NULL);
        free(p);
    }
}

static void link_free(struct oci_link *l)
{
    oci_buf_done(&l->in);
    oci_buf_done(&l->out);
    free(l);
}

void oci_link_close(struct oci_link *l)
{
    if (!l || l->dead)
        return;
    l->dead = true;
    if (l->sandbox->link == l)
        l->sandbox->link = NULL;
    l->o->host->loop->fd_close(l->o->host->ctx, l->watch);
    close(l->fd);
    fail_pending(l);
    if (!l->dispatching)
        link_free(l);
}

static void on_event(struct oci_link *l, yyjson_val *root)
{
    const char *id = yyjson_get_str(yyjson_obj_get(root, "id"));
    struct oci_container *c = id ? oci_container_find(l->o, id) : NULL;
    if (c && !strcmp(c->sandbox_id, l->sandbox->id) && oci_container_take(c, root))
        oci_container_tell(l->o, c->id);
}

static void on_reply(struct oci_link *l, yyjson_val *root)
{
    int64_t seq = yyjson_get_sint(yyjson_obj_get(root, "seq"));
    for (struct pending **at = &l->pending; *at; at = &(*at)->next) {
        struct pending *p = *at;
        if (p->seq != seq)
            continue;
        *at = p->next;
        p->reply(p->arg, yyjson_get_int(yyjson_obj_get(root, "code")),
                 yyjson_get_str(yyjson_obj_get(root, "message")), root);
        free(p);
        return;
    }
}

static int on_frame(struct oci_link *l, int kind, const char *p, size_t n)
{
    yyjson_doc *doc = kind == OCI_WIRE_JSON ? yyjson_read(p, n, 0) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(root)) {
        yyjson_doc_free(doc);
        return -EPROTO;
    }
    if (yyjson_obj_get(root, "event"))
        on_event(l, root);
    else if (yyjson_obj_get(root, "seq"))
        on_reply(l, root);
    yyjson_doc_free(doc);
    return 0;
}

static int read_frames(struct oci_link *l)
{
    char data[OCI_WIRE_CHUNK];
    ssize_t got = recv(l->fd, data, sizeof data, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0)
        return -ECONNRESET;
    oci_buf_add(&l->in, data, (size_t)got);
    size_t at = 0;
    int r = 0;
    while (!l->dead) {
        int kind;
        const char *p;
        size_t n, used;
        r = oci_wire_get(&l->in, at, &kind, &p, &n, &used);
        if (r <= 0)
            break;
        r = on_frame(l, kind, p, n);
        if (r < 0)
            break;
        at += used;
    }
    if (at)
        oci_buf_drop(&l->in, at);
    return r < 0 ? r : 0;
}

static int flush(struct oci_link *l)
{
    while (l->out.len) {
        ssize_t n = send(l->fd, l->out.p, l->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        oci_buf_drop(&l->out, (size_t)n);
    }
    return 0;
}

static void on_ready(void *arg, int events)
{
    struct oci_link *l = arg;
    l->dispatching = true;
    int r = flush(l);
    if (!r)
        r = read_frames(l);
    l->dispatching = false;
    if (l->dead) {
        link_free(l);
        return;
    }
    if (r < 0) {
        struct oci *o = l->o;
        struct oci_sandbox *s = l->sandbox;
        oci_link_close(l);
        oci_sandbox_lost(o, s);
        return;
    }
    l->o->host->loop->fd_set(l->o->host->ctx, l->watch, l->out.len ? 3 : 1);
}

int oci_link_open(struct oci *o, struct oci_sandbox *s)
{
    int fd = oci_shim_connect(s->dir);
    if (fd < 0)
        return fd;
    struct oci_link *l = oci_alloc(sizeof *l);
    *l = (struct oci_link){.o = o, .sandbox = s, .fd = fd};
    char hello[32];
    int n = snprintf(hello, sizeof hello, "{\"neap_shim\":%d}", OCI_WIRE_VERSION);
    oci_wire_put(&l->out, OCI_WIRE_JSON, hello, (size_t)n);
    l->watch = o->host->loop->fd(o->host->ctx, fd, 3, on_ready, l);
    s->link = l;
    return 0;
}

void oci_link_request(struct oci_link *l, yyjson_mut_doc *d,
                      void (*reply)(void *arg, int code, const char *message, yyjson_val *root),
                      void *arg)
{
    struct pending *p = oci_alloc(sizeof *p);
    *p = (struct pending){.seq = ++l->seq, .reply = reply, .arg = arg};
    struct pending **at = &l->pending;
    while (*at)
        at = &(*at)->next;
    *at = p;
    yyjson_mut_obj_add_sint(d, yyjson_mut_doc_get_root(d), "seq", p->seq);
    size_t n = 0;
    char *text = yyjson_mut_write(d, 0, &n);
    yyjson_mut_doc_free(d);
    oci_wire_put(&l->out, OCI_WIRE_JSON, text ? text : "{}", text ? n : 2);
    free(text);
    l->o->host->loop->fd_set(l->o->host->ctx, l->watch, 3);
}

/* ---- two requests that need more than a code */
static void on_list(void *arg, int code, const char *message, yyjson_val *root)
{
    struct oci_task *t = arg;
    if (code)
        oci_task_fail(t, code, "%s", message ? message : "list");
    yyjson_val *list = yyjson_obj_get(root, "containers"), *v;
    size_t i, max;
    yyjson_arr_foreach(list, i, max, v)
    {
        const char *id = yyjson_get_str(yyjson_obj_get(v, "id"));
        struct oci_container *c = id ? oci_container_find(t->o, id) : NULL;
        if (c && oci_container_take(c, v))
            oci_container_tell(t->o, c->id);
    }
    t->then(t);
}

void oci_link_sync(struct oci_task *t, struct oci_link *l, void (*then)(struct oci_task *))
{
    t->then = then;
    oci_link_request(l, oci_request("list", NULL), on_list, t);
}

struct leaving {
    int pidfd;
    void (*then)(struct oci_task *);
};

static void wait_gone(struct oci_task *t)
{
    struct leaving *l = t->extra;
    struct pollfd p = {.fd = l->pidfd, .events = POLLIN};
    if (l->pidfd < 0)
        return;
    if (poll(&p, 1, OCI_KILL_MS) == 0)
        syscall(SYS_pidfd_send_signal, l->pidfd, SIGKILL, NULL, 0);
    close(l->pidfd);
}

static void gone(struct oci_task *t)
{
    struct leaving *l = t->extra;
    void (*then)(struct oci_task *) = l->then;
    free(l);
    t->extra = NULL;
    then(t);
}

static void on_exit_reply(void *arg, int code, const char *message, yyjson_val *root)
{
    oci_task_work(arg, wait_gone, gone);
}

void oci_link_exit(struct oci_task *t, struct oci_link *l, void (*then)(struct oci_task *))
{
    struct ucred cred = {0};
    socklen_t n = sizeof cred;
    struct leaving *state = oci_alloc(sizeof *state);
    getsockopt(l->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n);
    /* the connection holds: the number is still the shim's */
    state->pidfd = cred.pid > 1 ? (int)syscall(SYS_pidfd_open, cred.pid, 0) : -1;
    state->then = then;
    free(t->extra);
    t->extra = state;
    l->sandbox->leaving = true;
    oci_link_request(l, oci_request("exit", NULL), on_exit_reply, t);
}
