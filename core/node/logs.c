/* Container logs: the CRI file, record by record, as the bytes that the container wrote.
 * Files are read on the pool; a follower is woken by inotify, or by the end of its container.
 * Source: CRI log format (KEP: kubelet-cri-logging); kubectl logs' options (PodLogOptions). */
#include "kubelet.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 64 << 10, LINE_MAX_BYTES = 64 << 10 };

struct log {
    struct neap_body body; /* first */
    struct neap_list link; /* of node->logs */
    struct neap_call *call;
    struct neap_node *node;
    char *path, *uid, *name;
    unsigned attempt;
    /* what is asked for */
    bool follow, timestamps;
    int64_t tail, since_ns, left; /* -1: all */
    int stream;                   /* 0 both, 1, 2 */
    /* the worker's between work() and done() */
    int fd;
    struct neap_buf raw, text;
    bool at_end, begun, inside_line, rotated;
    int code;
    /* the loop's */
    struct neap_buf ready; /* to be delivered */
    size_t ready_at;
    bool working, again, closed, ended, was_running;
    int notify;
    struct neap_fd *watch;
};

/* ---- on the pool ---- */

/* Where the last <tail> records begin. */
static int64_t tail_offset(int fd, int64_t tail)
{
    char block[8192];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return 0;
    int64_t at = st.st_size;
    bool last = true; /* the newline at the very end ends a record, it begins none */
    while (at > 0) {
        size_t n = at < (int64_t)sizeof(block) ? (size_t)at : sizeof(block);
        if (pread(fd, block, n, at - (int64_t)n) != (ssize_t)n)
            return 0;
        for (size_t i = n; i > 0; i--) {
            if (block[i - 1] != '\n')
                continue;
            if (!last && tail-- <= 1)
                return at - (int64_t)n + (int64_t)i;
            if (last && tail <= 0)
                return st.st_size;
            last = false;
        }
        at -= (int64_t)n;
    }
    return 0;
}

/* "2026-01-02T03:04:05.123456789Z stdout F text" */
static void take_record(struct log *l, const char *line, size_t len)
{
    const char *end = line + len, *a = memchr(line, ' ', len);
    const char *b = a ? memchr(a + 1, ' ', (size_t)(end - a - 1)) : NULL;
    const char *t = b ? memchr(b + 1, ' ', (size_t)(end - b - 1)) : NULL;
    int64_t when;
    if (!t)
        return; /* cut off by a crash */
    int stream = b - a == 7 && memcmp(a + 1, "stderr", 6) == 0 ? 2 : 1;
    bool full = b[1] == 'F';
    if (l->stream && l->stream != stream)
        return;
    if (l->since_ns && neap_time_parse(line, (size_t)(a - line), &when) && when < l->since_ns)
        return;
    if (l->timestamps && !l->inside_line) {
        neap_buf_append(&l->text, line, (size_t)(a - line));
        neap_buf_char(&l->text, ' ');
    }
    neap_buf_append(&l->text, t + 1, (size_t)(end - t - 1));
    if (full)
        neap_buf_char(&l->text, '\n');
    l->inside_line = !full;
}

static void take_records(struct log *l)
{
    size_t at = 0;
    const char *nl;
    while (l->raw.len > at && (nl = memchr(l->raw.data + at, '\n', l->raw.len - at))) {
        take_record(l, l->raw.data + at, (size_t)(nl - l->raw.data) - at);
        at = (size_t)(nl - l->raw.data) + 1;
    }
    if (at == 0 && l->raw.len > LINE_MAX_BYTES)
        at = l->raw.len; /* no record is that long: not a log of ours */
    if (at) {
        memmove(l->raw.data, l->raw.data + at, l->raw.len - at);
        l->raw.len -= at;
    }
}

static bool rotated_away(const struct log *l)
{
    struct stat now, ours;
    return stat(l->path, &now) == 0 && fstat(l->fd, &ours) == 0 && now.st_ino != ours.st_ino;
}

static bool reopened(struct log *l)
{
    int fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    close(l->fd);
    l->fd = fd;
    return true;
}

/* At the end of a file that was rotated away: it is read once more, for lines may have come before it was; then the
 * new one. */
static bool goes_on(struct log *l)
{
    if (!l->rotated)
        return l->rotated = rotated_away(l);
    l->rotated = false;
    return reopened(l);
}

static void work(void *arg)
{
    struct log *l = arg;
    char block[CHUNK];
    if (!l->begun && l->tail >= 0)
        lseek(l->fd, tail_offset(l->fd, l->tail), SEEK_SET);
    l->begun = true;
    ssize_t n = read(l->fd, block, sizeof(block));
    if (n < 0) {
        l->code = errno;
        l->at_end = true;
        return;
    }
    l->at_end = n == 0 && !goes_on(l);
    if (n > 0)
        neap_buf_append(&l->raw, block, (size_t)n);
    take_records(l);
}

/* ---- on the loop ---- */

static void log_free(struct log *l)
{
    neap_list_remove(&l->link);
    neap_fd_close(l->watch);
    if (l->notify >= 0)
        close(l->notify);
    if (l->fd >= 0)
        close(l->fd);
    neap_buf_done(&l->raw);
    neap_buf_done(&l->text);
    neap_buf_done(&l->ready);
    free(l->path);
    free(l->uid);
    free(l->name);
    free(l);
}

/* The container still writes into this file. */
static bool running(const struct log *l)
{
    struct pod *p = neap_map_get(&l->node->pods, l->uid);
    for (unsigned i = 0; p && i < p->count; i++) {
        const struct container *x = &p->containers[i];
        if (strcmp(x->name, l->name) == 0)
            return x->state == CONTAINER_RUNNING && x->restarts == l->attempt;
    }
    return false;
}

static void start_work(struct log *l);

static void done(void *arg)
{
    struct log *l = arg;
    l->working = false;
    if (l->closed) {
        log_free(l);
        return;
    }
    if (l->left >= 0 && (int64_t)l->text.len >= l->left) {
        l->text.len = (size_t)l->left;
        l->ended = true;
    }
    if (l->left >= 0)
        l->left -= (int64_t)l->text.len;
    neap_buf_append(&l->ready, l->text.data, l->text.len);
    neap_buf_reset(&l->text);
    if (l->at_end && (!l->follow || l->code || !l->was_running))
        l->ended = true;
    if (l->ended || l->ready.len > l->ready_at)
        l->call->wake(l->call);
    else if (!l->at_end || l->again)
        start_work(l);
}

static void start_work(struct log *l)
{
    if (l->working || l->ended)
        return;
    l->working = true;
    l->again = false;
    l->was_running =
        running(l); /* asked before the file is read: what it wrote until then is seen */
    neap_loop_work(l->node->options.loop, work, done, l);
}

static void look_again(struct log *l)
{
    l->again = true;
    if (!l->working && l->ready.len == l->ready_at)
        start_work(l);
}

static void on_notify(void *arg, int events)
{
    struct log *l = arg;
    char drop[4096];
    (void)events;
    while (read(l->notify, drop, sizeof(drop)) > 0)
        ;
    look_again(l);
}

void kubelet_logs_poke(struct neap_node *n)
{
    neap_list_foreach(&n->logs, it)
    {
        look_again(neap_list_entry(it, struct log, link));
    }
}

static int body_read(struct neap_body *b, struct neap_buf *out, size_t want)
{
    struct log *l = (struct log *)b;
    size_t have = l->ready.len - l->ready_at;
    if (have) {
        size_t n = have < want || want < CHUNK ? have : want;
        neap_buf_append(out, l->ready.data + l->ready_at, n);
        l->ready_at += n;
        if (l->ready_at == l->ready.len) {
            neap_buf_reset(&l->ready);
            l->ready_at = 0;
        }
        return 1;
    }
    if (l->ended)
        return -1;
    if (!l->at_end || l->again || !l->begun)
        start_work(l);
    return 0;
}

static void body_close(struct neap_body *b)
{
    struct log *l = (struct log *)b;
    l->closed = true;
    if (!l->working)
        log_free(l);
}

/* ---- the request ---- */

static bool parse(struct log *l, struct neap_call *c)
{
    const char *since_time = kubelet_query(c, "sinceTime", 0),
               *stream = kubelet_query(c, "stream", 0);
    int64_t since = kubelet_query_int(c, "sinceSeconds");
    l->follow = kubelet_query_bool(c, "follow");
    l->timestamps = kubelet_query_bool(c, "timestamps");
    l->tail = kubelet_query_int(c, "tailLines");
    l->left = kubelet_query_int(c, "limitBytes");
    int64_t now = node_wall(l->node);
    if (since > 0 && since < now / 1000000000)
        l->since_ns = now - since * 1000000000;
    l->stream = stream && strcmp(stream, "Stdout") == 0   ? 1
                : stream && strcmp(stream, "Stderr") == 0 ? 2
                                                          : 0;
    return l->tail != -2 && l->left != -2 && since != -2 &&
           (!since_time || neap_time_parse(since_time, strlen(since_time), &l->since_ns));
}

/* A container that waits for its next run shows the last one. */
static int open_file(struct log *l, struct container *x, bool previous)
{
    struct neap_arena *arena = neap_arena_new(0);
    unsigned attempt = x->restarts - (previous ? 1 : 0);
    const char *dir = pod_log_dir(x->pod, arena);
    for (int i = 0; i < 2 && l->fd < 0; i++, attempt--) {
        free(l->path);
        l->path = neap_asprintf("%s/%s/%u.log", dir, x->name, attempt);
        l->fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        l->attempt = attempt;
        if (attempt == 0 || previous)
            break;
    }
    neap_arena_free(arena);
    return l->fd;
}

static void refuse(struct container *x, struct neap_call *c, bool previous)
{
    if (previous)
        kubelet_text(c, 400, "previous terminated container \"%s\" in pod \"%s\" not found",
                     x->name, x->pod->name);
    else
        kubelet_text(c, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", x->name,
                     x->pod->name,
                     x->waiting_message  ? x->waiting_message
                     : x->waiting_reason ? x->waiting_reason
                                         : "no logs available");
}

static void follow(struct log *l)
{
    l->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (l->notify < 0)
        return;
    /* the folder: a rotated file is another one */
    char *dir = neap_strdup(l->path);
    *strrchr(dir, '/') = '\0';
    inotify_add_watch(l->notify, dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
    free(dir);
    l->watch = neap_fd_new(l->node->options.loop, l->notify, on_notify, l);
    neap_fd_set(l->watch, NEAP_READABLE);
}

void kubelet_logs(struct container *x, struct neap_call *c)
{
    struct log *l = neap_calloc(1, sizeof(*l));
    bool previous = kubelet_query_bool(c, "previous");
    l->body.read = body_read;
    l->body.close = body_close;
    l->fd = l->notify = -1;
    l->call = c;
    l->node = x->pod->node;
    l->uid = neap_strdup(x->pod->uid);
    l->name = neap_strdup(x->name);
    neap_list_init(&l->link);
    if (!parse(l, c)) {
        log_free(l);
        kubelet_text(c, 400, "a parameter is no number or time");
        return;
    }
    if ((previous && x->restarts == 0) || open_file(l, x, previous) < 0) {
        log_free(l);
        refuse(x, c, previous);
        return;
    }
    neap_list_append(&l->node->logs, &l->link);
    if (l->follow)
        follow(l);
    c->status = 200;
    c->reply_type = "text/plain";
    c->stream_body = &l->body;
    c->finish(c);
}
