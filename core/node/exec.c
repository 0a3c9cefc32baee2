/* exec and attach: the runtime's io on the one side, a stream with channels on the other.
 * Source: KEP-4006; k8s.io/apimachinery pkg/util/remotecommand (channels, error channel). */
#include "kubelet.h"

#include <neap/plugin.h>

enum { ARGUMENTS_MAX = 4096 };

struct session {
    struct neap_node *node;
    char *id;          /* container */
    const char **argv; /* NULL: attach; each owned */
    bool tty, in, out, err;
    struct neap_stream *stream; /* NULL: closed or not open yet */
    struct neap_runtime_io *io; /* NULL: ended or not begun */
    struct neap_runtime_io_events events;
    bool ended;
};

static void session_free(struct session *s)
{
    for (size_t i = 0; s->argv && s->argv[i]; i++)
        free((char *)(uintptr_t)s->argv[i]);
    free(s->argv);
    free(s->id);
    free(s);
}

static void io_close(struct session *s)
{
    if (s->io)
        s->node->options.runtime->io_close(s->node->runtime, s->io);
    s->io = NULL;
}

/* ---- from the runtime ---- */

static void io_output(void *arg, int fd, const void *data, size_t len)
{
    struct session *s = arg;
    if (!s->stream)
        return;
    int channel = fd == 2 ? NEAP_CHANNEL_STDERR : NEAP_CHANNEL_STDOUT;
    if (!neap_stream_send(s->stream, channel, data, len) && s->node->options.runtime->io_pause)
        s->node->options.runtime->io_pause(s->node->runtime, s->io, true);
}

static void io_writable(void *arg)
{
    struct session *s = arg;
    if (s->stream)
        neap_stream_pause(s->stream, false);
}

/* The last word on the error channel. */
static void tell_end(struct session *s, int code, const char *error)
{
    struct neap_buf b = NEAP_BUF_INIT;
    if (error) {
        neap_buf_str(&b, "{\"metadata\":{},\"status\":\"Failure\",\"message\":");
        neap_buf_json_string(&b, error, strlen(error));
        neap_buf_str(&b, ",\"reason\":\"InternalError\",\"code\":500}");
    } else if (code) {
        neap_buf_printf(&b,
                        "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated "
                        "with non-zero exit "
                        "code: exit status "
                        "%d\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":"
                        "\"ExitCode\",\"message\":\"%d\"}]}}",
                        code, code);
    } else {
        neap_buf_str(&b, "{\"metadata\":{},\"status\":\"Success\"}");
    }
    neap_stream_send(s->stream, NEAP_CHANNEL_ERROR, b.data, b.len);
    neap_buf_done(&b);
}

static void io_done(void *arg, int code, const char *error)
{
    struct session *s = arg;
    s->ended = true;
    if (s->stream) {
        /* an attached process that ended is no error of the session */
        tell_end(s, s->argv ? code : 0, s->argv ? error : NULL);
        neap_stream_close(s->stream, 1000, "");
    }
    io_close(s);
}

/* ---- from the stream ---- */

static void on_open(void *arg, struct neap_stream *stream)
{
    struct session *s = arg;
    struct neap_node *n = s->node;
    struct neap_runtime_exec_config config = {.container_id = s->id,
                                              .argv = s->argv,
                                              .tty = s->tty,
                                              .stdin_ = s->in,
                                              .stdout_ = s->out,
                                              .stderr_ = s->err && !s->tty};
    s->stream = stream;
    s->events = (struct neap_runtime_io_events){io_output, io_writable, io_done};
    s->io = n->options.runtime->exec(n->runtime, &config, &s->events, s);
    if (!s->io && !s->ended) {
        tell_end(s, -1, neap_plugin_failure());
        neap_stream_close(stream, 1000, "");
    }
}

static void resize(struct session *s, const char *data, size_t len)
{
    yyjson_doc *doc = yyjson_read(data, len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    uint64_t width = yyjson_get_uint(yyjson_obj_get(root, "Width"));
    uint64_t height = yyjson_get_uint(yyjson_obj_get(root, "Height"));
    if (width && height && width < 65536 && height < 65536)
        s->node->options.runtime->io_resize(s->node->runtime, s->io, (unsigned)width,
                                            (unsigned)height);
    yyjson_doc_free(doc);
}

static void on_message(void *arg, int channel, const void *data, size_t len)
{
    struct session *s = arg;
    const struct neap_runtime_plugin *r = s->node->options.runtime;
    if (!s->io)
        return;
    if (channel == NEAP_CHANNEL_STDIN && s->in) {
        if (len && !r->io_write(s->node->runtime, s->io, data, len))
            neap_stream_pause(s->stream, true);
    } else if (channel == NEAP_CHANNEL_RESIZE) {
        resize(s, data, len);
    } else if (channel == NEAP_CHANNEL_CLOSE && len == 1 &&
               *(const char *)data == NEAP_CHANNEL_STDIN && s->in) {
        r->io_close_stdin(s->node->runtime, s->io);
    }
}

static void on_writable(void *arg)
{
    struct session *s = arg;
    if (s->io && s->node->options.runtime->io_pause)
        s->node->options.runtime->io_pause(s->node->runtime, s->io, false);
}

static void on_closed(void *arg)
{
    struct session *s = arg;
    s->stream = NULL;
    io_close(s);
    session_free(s);
}

static const struct neap_stream_handler handler = {on_open, on_message, on_writable, on_closed};

/* ---- the request ---- */

static bool read_command(struct session *s, struct neap_call *c)
{
    size_t cap = 0, n = 0;
    for (const char *word; (word = kubelet_query(c, "command", (unsigned)n)); n++) {
        if (n >= ARGUMENTS_MAX)
            return false;
        s->argv = neap_grow(s->argv, &cap, n + 1, sizeof(*s->argv));
        s->argv[n] = neap_strdup(word);
        s->argv[n + 1] = NULL;
    }
    return n > 0;
}

void kubelet_exec(struct container *x, struct neap_call *c, bool attach)
{
    struct neap_node *n = x->pod->node;
    if (!c->upgradable || !n->options.runtime->exec) {
        kubelet_text(c, 400, "%s",
                     c->upgradable ? "the runtime cannot exec" : "a websocket is needed");
        return;
    }
    if (x->state != CONTAINER_RUNNING) {
        kubelet_text(c, 500, "container not found (\"%s\")", x->name);
        return;
    }
    struct session *s = neap_calloc(1, sizeof(*s));
    s->node = n;
    s->id = neap_strdup(x->id);
    s->in = kubelet_query_bool(c, "input");
    s->out = kubelet_query_bool(c, "output");
    s->err = kubelet_query_bool(c, "error");
    s->tty = kubelet_query_bool(c, "tty");
    if (!attach && !read_command(s, c)) {
        session_free(s);
        kubelet_text(c, 400, "you must specify a command for the container");
        return;
    }
    c->status = 101;
    c->stream = &handler;
    c->stream_arg = s;
    c->finish(c);
}
