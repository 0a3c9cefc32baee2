/* `neap logs` and `neap exec`: a pod's streams. Standard input is read by a thread, as a loop cannot wait for a file;
 * it waits while the server is behind. Source: Kubernetes KEP-4006, v5.channel.k8s.io. */
#include "thin.h"
#include "server.h"

#include <neap/json.h>
#include <neap/stream.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { PIECE = 16 << 10 };

static void pod_path(struct thin *t, struct neap_buf *path, const char *pod, const char *what)
{
    neap_buf_printf(path, "/api/v1/namespaces/%s/pods/%s/%s", t->namespace_, pod, what);
    thin_query(path, "container", t->container);
}

static void put(FILE *to, const char *data, size_t len)
{
    fwrite(data, 1, len, to);
    fflush(to);
}

/* ---- logs ---- */

static void log_head(struct neap_exchange *x, int status, const struct neap_header *headers)
{
    struct thin *t = x->data_arg;
    (void)headers;
    t->status = status;
}

static void log_data(struct neap_exchange *x, const char *data, size_t len)
{
    struct thin *t = x->data_arg;
    if (t->status < 400)
        put(stdout, data, len);
    else
        neap_buf_append(&t->body, data, len);
}

static void log_done(struct neap_exchange *x, const struct neap_err *err, int status,
                     const char *body, size_t len)
{
    struct thin *t = x->data_arg;
    (void)status;
    (void)body;
    (void)len;
    if (err)
        neap_err_set(&t->err, err->code, "%s", err->message ? err->message : "the log broke off");
    neap_loop_stop(t->loop);
}

int thin_logs(struct thin *t, int argc, char **argv)
{
    NEAP_CLEANUP_BUF struct neap_buf path = NEAP_BUF_INIT;
    if (argc != 1)
        return neap_complain("usage: neap logs POD [-n NAMESPACE] [-c CONTAINER] [-f]", NULL);
    pod_path(t, &path, argv[0], "log");
    thin_query(&path, "follow", t->follow ? "true" : NULL);
    struct neap_exchange x = {.method = "GET",
                              .path = path.data,
                              .streaming = true,
                              .head = log_head,
                              .data = log_data,
                              .done = log_done,
                              .data_arg = t};
    neap_http_client_send(t->http, &x);
    neap_loop_run(t->loop);
    if (t->err.code)
        return neap_complain("logs", &t->err);
    return t->status < 400 ? 0 : thin_refused(t);
}

/* ---- exec ---- */

struct exec {
    struct thin *t;
    struct neap_stream *stream;
    int code;
    /* standard input: the thread fills <piece> and waits for <taken> */
    pthread_t thread;
    bool reads, full;
    sem_t taken;
    char piece[PIECE];
    ssize_t len; /* 0: the end */
    struct neap_signal *resized;
    struct termios terminal;
    bool raw;
};

static void send_piece(void *arg)
{
    struct exec *x = arg;
    if (!x->stream)
        return;
    if (x->len <= 0) {
        char channel = NEAP_CHANNEL_STDIN;
        neap_stream_send(x->stream, NEAP_CHANNEL_CLOSE, &channel, 1);
        return;
    }
    x->full = !neap_stream_send(x->stream, NEAP_CHANNEL_STDIN, x->piece, (size_t)x->len);
    if (!x->full)
        sem_post(&x->taken);
}

static void *read_input(void *arg)
{
    struct exec *x = arg;
    do {
        x->len = read(STDIN_FILENO, x->piece, sizeof(x->piece));
        neap_loop_post(x->t->loop, send_piece, x);
        while (sem_wait(&x->taken) < 0 && errno == EINTR)
            ;
    } while (x->len > 0);
    return NULL;
}

static void send_size(void *arg)
{
    struct exec *x = arg;
    struct winsize size;
    char text[64];
    if (!x->stream || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return;
    int n = snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}", size.ws_col, size.ws_row);
    neap_stream_send(x->stream, NEAP_CHANNEL_RESIZE, text, (size_t)n);
}

static void on_open(void *arg, struct neap_stream *s)
{
    struct exec *x = arg;
    x->stream = s;
    if (x->t->tty)
        send_size(x);
    if (x->t->interactive)
        x->reads = pthread_create(&x->thread, NULL, read_input, x) == 0;
}

/* The Status at the end: its exit code, or what went wrong. */
static void take_status(struct exec *x, const void *data, size_t len)
{
    yyjson_mut_doc *doc = NULL;
    struct neap_err err = NEAP_ERR_INIT;
    neap_json_parse(x->t->arena, data, len, NULL, &doc, &err);
    neap_err_done(&err);
    yyjson_mut_val *root = doc ? yyjson_mut_doc_get_root(doc) : NULL, *cause;
    yyjson_mut_val *causes = neap_json_at(root, "details.causes");
    const char *message = neap_json_str_at(root, "message");
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(causes);
    x->code = neap_streq(neap_json_str_at(root, "status"), "Success") ? 0 : 1;
    while ((cause = yyjson_mut_arr_iter_next(&it))) {
        const char *text = neap_json_str_at(cause, "message");
        if (neap_streq(neap_json_str_at(cause, "reason"), "ExitCode") && text) {
            x->code = atoi(text);
            return;
        }
    }
    if (x->code)
        fprintf(stderr, "neap: exec: %s\n", message ? message : "failed");
}

static void on_message(void *arg, int channel, const void *data, size_t len)
{
    struct exec *x = arg;
    if (channel == NEAP_CHANNEL_STDOUT)
        put(stdout, data, len);
    else if (channel == NEAP_CHANNEL_STDERR)
        put(stderr, data, len);
    else if (channel == NEAP_CHANNEL_ERROR)
        take_status(x, data, len);
}

static void on_writable(void *arg)
{
    struct exec *x = arg;
    if (x->full)
        sem_post(&x->taken);
    x->full = false;
}

static void on_closed(void *arg)
{
    struct exec *x = arg;
    x->stream = NULL;
    neap_loop_stop(x->t->loop);
}

static void on_refused(void *arg, int status, const char *body, size_t len,
                       const struct neap_err *err)
{
    struct exec *x = arg;
    x->t->status = status;
    neap_buf_reset(&x->t->body);
    neap_buf_append(&x->t->body, body ? body : "", body ? len : 0);
    x->code = status ? thin_refused(x->t) : neap_complain("exec", err);
    neap_loop_stop(x->t->loop);
}

/* Keys go to the container as they are pressed. */
static void terminal_begin(struct exec *x)
{
    if (!x->t->tty || tcgetattr(STDIN_FILENO, &x->terminal) < 0)
        return;
    struct termios raw = x->terminal;
    cfmakeraw(&raw);
    x->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    x->resized = neap_signal_new(x->t->loop, SIGWINCH, send_size, x);
}

static void terminal_end(struct exec *x)
{
    if (x->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &x->terminal);
    if (x->resized)
        neap_signal_close(x->resized);
}

int thin_exec(struct thin *t, int argc, char **argv)
{
    static const char *const protocols[] = {"v5.channel.k8s.io", NULL};
    static const struct neap_stream_handler handler = {on_open, on_message, on_writable, on_closed};
    NEAP_CLEANUP_BUF struct neap_buf path = NEAP_BUF_INIT;
    struct exec *x = neap_calloc(1, sizeof(*x));
    if (argc < 2) {
        free(x);
        return neap_complain(
            "usage: neap exec POD [-n NAMESPACE] [-c CONTAINER] [-i] [-t] -- COMMAND...", NULL);
    }
    *x = (struct exec){.t = t, .code = 1};
    sem_init(&x->taken, 0, 0);
    pod_path(t, &path, argv[0], "exec");
    for (int i = 1; i < argc; i++)
        thin_query(&path, "command", argv[i]);
    thin_query(&path, "stdin", t->interactive ? "true" : NULL);
    thin_query(&path, "stdout", "true");
    thin_query(&path, t->tty ? "tty" : "stderr", "true");
    terminal_begin(x);
    neap_http_client_stream(t->http, path.data, protocols, &handler, x, on_refused);
    neap_loop_run(t->loop);
    terminal_end(x);
    if (x->reads) {
        pthread_cancel(x->thread);
        pthread_join(x->thread, NULL);
    }
    int code = x->code;
    sem_destroy(&x->taken);
    free(x);
    return code;
}
