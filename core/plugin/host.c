/* The host handle: thin adapters from the ABI's tables to our own folders. */
#include "plugin_internal.h"

#include <neap/log.h>
#include <neap/metrics.h>
#include <neap/object.h>

#define COUNT_NAMES_MAX 64

struct neap_plugin_host_state {
    struct neap_host host;
    const struct neap_plugin *plugin;
    struct neap_loop *loop; /* NULL: a store */
    const struct neap_config *config;
    char *instance, *data_dir;
};

static _Thread_local char failure[1024];

static struct neap_metric counts[] = {
    {.name = "neap_plugin_events_total",
     .help = "Events that plugins count.",
     .type = NEAP_COUNTER,
     .labels = {"plugin", "event", NULL}},
};

const char *neap_plugin_failure(void)
{
    return failure;
}

static void host_fail(void *ctx, const char *message)
{
    (void)ctx;
    snprintf(failure, sizeof(failure), "%s", message ? message : "");
}

static void host_count(void *ctx, const char *name, double add)
{
    struct neap_plugin_host_state *s = ctx;
    neap_metric_add(&counts[0], add, s->plugin->header->name, name);
}

static void log_write(void *ctx, int level, const char *msg, const char *pairs)
{
    struct neap_plugin_host_state *s = ctx;
    int known = level < 0 ? 0 : level > NEAP_LOG_ERROR ? NEAP_LOG_ERROR : level;
    neap_log((enum neap_log_level)known, s->plugin->header->name, msg, "%s", pairs ? pairs : "");
}

/* ---- loop ---- */

static struct neap_loop *loop_of(void *ctx)
{
    struct neap_plugin_host_state *s = ctx;
    if (!s->loop) {
        NEAP_ERROR("plugin", "has no loop", "plugin=%s", s->plugin->header->name);
        abort();
    }
    return s->loop;
}

static int64_t now_mono(void *ctx)
{
    struct neap_plugin_host_state *s = ctx;
    return neap_clock_mono(s->loop ? neap_loop_clock(s->loop) : &neap_clock_system);
}

static int64_t now_wall(void *ctx)
{
    struct neap_plugin_host_state *s = ctx;
    return neap_clock_wall(s->loop ? neap_loop_clock(s->loop) : &neap_clock_system);
}

struct neap_host_timer {
    struct neap_timer *timer;
    void (*cb)(void *arg);
    void *arg;
};

static void timer_fired(void *arg)
{
    struct neap_host_timer *t = arg;
    struct neap_host_timer fired = *t;
    neap_timer_close(t->timer);
    free(t); /* one-shot: its handle ends with the callback */
    fired.cb(fired.arg);
}

static struct neap_host_timer *host_timer(void *ctx, uint64_t ms, void (*cb)(void *arg), void *arg)
{
    struct neap_host_timer *t = neap_malloc(sizeof(*t));
    *t = (struct neap_host_timer){.cb = cb, .arg = arg};
    t->timer = neap_timer_new(loop_of(ctx), timer_fired, t);
    neap_timer_start(t->timer, ms, 0);
    return t;
}

static void host_timer_cancel(void *ctx, struct neap_host_timer *t)
{
    (void)ctx;
    if (!t)
        return;
    neap_timer_close(t->timer);
    free(t);
}

struct neap_host_fd {
    struct neap_fd *fd;
    void (*cb)(void *arg, int events);
    void *arg;
};

static void fd_ready(void *arg, int events)
{
    struct neap_host_fd *f = arg;
    f->cb(f->arg, events);
}

static struct neap_host_fd *host_fd(void *ctx, int fd, int events,
                                    void (*cb)(void *arg, int events), void *arg)
{
    struct neap_host_fd *f = neap_malloc(sizeof(*f));
    *f = (struct neap_host_fd){.cb = cb, .arg = arg};
    f->fd = neap_fd_new(loop_of(ctx), fd, fd_ready, f);
    neap_fd_set(f->fd, events);
    return f;
}

static void host_fd_set(void *ctx, struct neap_host_fd *f, int events)
{
    (void)ctx;
    neap_fd_set(f->fd, events);
}

static void host_fd_close(void *ctx, struct neap_host_fd *f)
{
    (void)ctx;
    if (!f)
        return;
    neap_fd_close(f->fd);
    free(f);
}

static void host_post(void *ctx, void (*fn)(void *arg), void *arg)
{
    neap_loop_post(loop_of(ctx), fn, arg);
}

static void host_work(void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    neap_loop_work(loop_of(ctx), work, done, arg);
}

struct child_call {
    void (*done)(void *arg, const struct neap_host_child_result *result);
    void *arg;
};

static void child_done(void *arg, const struct neap_child_result *r)
{
    struct child_call call = *(struct child_call *)arg;
    free(arg);
    struct neap_host_child_result result = {.status = r->status,
                                            .out = r->out,
                                            .err = r->err,
                                            .out_len = r->out_len,
                                            .err_len = r->err_len};
    call.done(call.arg, &result);
}

static void host_child(void *ctx, const char *const *argv, const void *input, size_t input_len,
                       uint64_t timeout_ms,
                       void (*done)(void *arg, const struct neap_host_child_result *result),
                       void *arg)
{
    struct child_call *call = neap_malloc(sizeof(*call));
    *call = (struct child_call){done, arg};
    struct neap_child_options options = {
        .argv = argv, .input = input, .input_len = input_len, .timeout_ms = timeout_ms};
    neap_child_run(loop_of(ctx), &options, child_done, call);
}

/* ---- config ---- */

static const char *config_string(void *ctx, const char *name)
{
    struct neap_plugin_host_state *s = ctx;
    return neap_config_string(s->config, s->plugin->header->name, name);
}

static int64_t config_integer(void *ctx, const char *name)
{
    struct neap_plugin_host_state *s = ctx;
    return neap_config_int(s->config, s->plugin->header->name, name);
}

static void object_unref(struct neap_object *o)
{
    neap_object_unref(o);
}

static const struct neap_host_log log_table = {log_write};
static const struct neap_host_loop loop_table = {
    .now_mono_ns = now_mono,
    .now_wall_ns = now_wall,
    .timer = host_timer,
    .timer_cancel = host_timer_cancel,
    .fd = host_fd,
    .fd_set = host_fd_set,
    .fd_close = host_fd_close,
    .post = host_post,
    .work = host_work,
    .child = host_child,
};
static const struct neap_host_config config_table = {config_string, config_integer};
static const struct neap_host_object object_table = {
    .json = neap_object_json,
    .name = neap_object_name,
    .namespace_ = neap_object_namespace,
    .uid = neap_object_uid,
    .revision = neap_object_revision,
    .label = neap_object_label,
    .ref = neap_object_ref,
    .unref = object_unref,
};

const struct neap_host *neap_plugin_host(struct neap_plugin *p, struct neap_loop *loop,
                                         const struct neap_config *config, const char *instance,
                                         const char *data_dir, struct neap_err *err)
{
    struct neap_plugin_host_state *s = neap_calloc(1, sizeof(*s));
    p->host = s;
    s->plugin = p;
    s->loop = loop;
    s->config = config;
    s->instance = neap_strdup(instance);
    s->data_dir = neap_asprintf("%s/plugins/%s", data_dir, p->header->name);
    int failed = neap_mkdir_p(s->data_dir, 0700);
    if (failed) {
        neap_err_errno(err, -failed, "%s", s->data_dir);
        return NULL;
    }
    neap_metrics_register(counts, NEAP_ARRAY_LEN(counts));
    s->host = (struct neap_host){
        .struct_size = sizeof(s->host),
        .abi_major = NEAP_PLUGIN_ABI_MAJOR,
        .abi_minor = NEAP_PLUGIN_ABI_MINOR,
        .ctx = s,
        .instance = s->instance,
        .data_dir = s->data_dir,
        .log = &log_table,
        .loop = &loop_table,
        .config = &config_table,
        .object = &object_table,
        .fail = host_fail,
        .count = host_count,
    };
    return &s->host;
}

void neap_plugin_host_free(struct neap_plugin_host_state *s)
{
    if (!s)
        return;
    free(s->instance);
    free(s->data_dir);
    free(s);
}

struct neap_plugin *neap_plugin_free(struct neap_plugin *p)
{
    if (!p)
        return NULL;
    neap_plugin_host_free(p->host);
    free(p->path);
    free(p);
    return NULL;
}
