/* A host for one plugin under test, on core/loop: what core/plugin gives a plugin, without the agent.
 * One a program. Options are a table of the test. */
#ifndef NEAP_FAKE_HOST_H
#define NEAP_FAKE_HOST_H

#include <neap/loop.h>
#include <neap/plugin/host.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake_option {
    const char *name, *value;
};
struct fake_host {
    struct neap_host host;
    struct neap_loop *loop;
    const struct fake_option *options; /* name NULL ends */
    char failure[1024];
    bool verbose;
};
struct neap_host_timer {
    struct neap_timer *t;
    void (*cb)(void *arg);
    void *arg;
};
struct neap_host_fd {
    struct neap_fd *f;
    void (*cb)(void *arg, int events);
    void *arg;
};
struct fake_child {
    void (*done)(void *arg, const struct neap_host_child_result *result);
    void *arg;
};

static inline void fake_log(void *ctx, int level, const char *msg, const char *pairs)
{
    struct fake_host *h = ctx;
    if (h->verbose)
        fprintf(stderr, "[%d] %s %s\n", level, msg, pairs);
}
static inline int64_t fake_mono(void *ctx)
{
    return neap_clock_mono(neap_loop_clock(((struct fake_host *)ctx)->loop));
}
static inline int64_t fake_wall(void *ctx)
{
    return neap_clock_wall(neap_loop_clock(((struct fake_host *)ctx)->loop));
}
static inline void fake_timer_fired(void *arg)
{
    struct neap_host_timer *t = arg;
    void (*cb)(void *) = t->cb;
    void *cb_arg = t->arg;
    neap_timer_close(t->t);
    free(t);
    cb(cb_arg);
}
static inline struct neap_host_timer *fake_timer(void *ctx, uint64_t ms, void (*cb)(void *),
                                                 void *arg)
{
    struct neap_host_timer *t = calloc(1, sizeof *t);
    t->cb = cb;
    t->arg = arg;
    t->t = neap_timer_new(((struct fake_host *)ctx)->loop, fake_timer_fired, t);
    neap_timer_start(t->t, ms, 0);
    return t;
}
static inline void fake_timer_cancel(void *ctx, struct neap_host_timer *t)
{
    neap_timer_close(t->t);
    free(t);
}
static inline void fake_fd_ready(void *arg, int events)
{
    struct neap_host_fd *f = arg;
    f->cb(f->arg,
          (events & NEAP_WRITABLE ? 2 : 0) | (events & (NEAP_READABLE | NEAP_HANGUP) ? 1 : 0));
}
static inline struct neap_host_fd *fake_fd(void *ctx, int fd, int events, void (*cb)(void *, int),
                                           void *arg)
{
    struct neap_host_fd *f = calloc(1, sizeof *f);
    f->cb = cb;
    f->arg = arg;
    f->f = neap_fd_new(((struct fake_host *)ctx)->loop, fd, fake_fd_ready, f);
    neap_fd_set(f->f, events);
    return f;
}
static inline void fake_fd_set(void *ctx, struct neap_host_fd *f, int events)
{
    neap_fd_set(f->f, events);
}
static inline void fake_free_later(void *arg)
{
    free(arg);
}
static inline void fake_fd_close(void *ctx, struct neap_host_fd *f)
{
    neap_fd_close(f->f);
    neap_loop_post(((struct fake_host *)ctx)->loop, fake_free_later, f);
}
static inline void fake_post(void *ctx, void (*fn)(void *), void *arg)
{
    neap_loop_post(((struct fake_host *)ctx)->loop, fn, arg);
}
static inline void fake_work(void *ctx, void (*work)(void *), void (*done)(void *), void *arg)
{
    neap_loop_work(((struct fake_host *)ctx)->loop, work, done, arg);
}
static inline void fake_child_done(void *arg, const struct neap_child_result *r)
{
    struct fake_child *c = arg;
    struct neap_host_child_result out = {r->status, r->out, r->err, r->out_len, r->err_len};
    c->done(c->arg, &out);
    free(c);
}
static inline void fake_child_run(void *ctx, const char *const *argv, const void *input, size_t len,
                                  uint64_t timeout_ms,
                                  void (*done)(void *, const struct neap_host_child_result *),
                                  void *arg)
{
    struct fake_child *c = calloc(1, sizeof *c);
    c->done = done;
    c->arg = arg;
    struct neap_child_options o = {
        .argv = argv, .input = input, .input_len = len, .timeout_ms = timeout_ms};
    neap_child_run(((struct fake_host *)ctx)->loop, &o, fake_child_done, c);
}
static inline const char *fake_string(void *ctx, const char *name)
{
    const struct fake_option *o = ((struct fake_host *)ctx)->options;
    for (; o && o->name; o++)
        if (!strcmp(o->name, name))
            return o->value;
    return NULL;
}
static inline int64_t fake_integer(void *ctx, const char *name)
{
    const char *s = fake_string(ctx, name);
    return s ? strtoll(s, NULL, 10) : 0;
}
static inline void fake_fail(void *ctx, const char *message)
{
    struct fake_host *h = ctx;
    snprintf(h->failure, sizeof h->failure, "%s", message);
}
static inline void fake_count(void *ctx, const char *name, double add)
{
}

static const struct neap_host_log fake_log_table = {fake_log};
static const struct neap_host_loop fake_loop_table = {
    fake_mono,   fake_wall,     fake_timer, fake_timer_cancel, fake_fd,
    fake_fd_set, fake_fd_close, fake_post,  fake_work,         fake_child_run};
static const struct neap_host_config fake_config_table = {fake_string, fake_integer};

static inline void fake_host_init(struct fake_host *h, const char *data_dir, const char *instance,
                                  const struct fake_option *options)
{
    *h = (struct fake_host){.options = options};
    h->loop = neap_loop_new("test", NULL);
    h->verbose = getenv("NEAP_TEST_VERBOSE") != NULL;
    h->host = (struct neap_host){.struct_size = sizeof h->host,
                                 .abi_minor = NEAP_PLUGIN_ABI_MINOR,
                                 .ctx = h,
                                 .instance = instance,
                                 .data_dir = data_dir,
                                 .log = &fake_log_table,
                                 .loop = &fake_loop_table,
                                 .config = &fake_config_table,
                                 .fail = fake_fail,
                                 .count = fake_count};
}
static inline void fake_host_done(struct fake_host *h)
{
    neap_loop_free(h->loop);
}

/* .../build/obj-asan/tests/... -> .../build/asan/plugins/<name>.so (release: build/plugins) */
static inline const void *fake_plugin_load(const char *name)
{
    char path[PATH_MAX], so[PATH_MAX + 64], variant[32] = "";
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    char *at = strstr(path, "/build/obj-");
    if (!at)
        return NULL;
    snprintf(variant, sizeof variant, "%.*s", (int)strcspn(at + 11, "/"), at + 11);
    *at = 0;
    snprintf(so, sizeof so, "%s/build/%s%splugins/%s.so", path,
             strcmp(variant, "release") ? variant : "", strcmp(variant, "release") ? "/" : "",
             name);
    void *lib = dlopen(so, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        fprintf(stderr, "%s\n", dlerror());
    return lib ? dlsym(lib, NEAP_PLUGIN_SYMBOL) : NULL;
}

/* ---- operations, waited for */
struct fake_op {
    struct neap_op op;
    bool finished;
    int code;
    char message[1024];
};
static inline void fake_op_done(struct neap_op *op, int code, const char *message)
{
    struct fake_op *o = op->data;
    o->finished = true;
    o->code = code;
    snprintf(o->message, sizeof o->message, "%s", message ? message : "");
}
static inline struct neap_op *fake_op_init(struct fake_op *o)
{
    *o = (struct fake_op){.op = {.data = o, .done = fake_op_done}};
    return &o->op;
}
static inline int fake_op_wait(struct fake_host *h, struct fake_op *o)
{
    while (!o->finished)
        neap_loop_turn(h->loop, true);
    return o->code;
}
/* Fails the test with the operation's text. */
#define assert_op(h, call_with_op)                                                                 \
    do {                                                                                           \
        struct fake_op op_;                                                                        \
        struct neap_op *op = fake_op_init(&op_);                                                   \
        call_with_op;                                                                              \
        if (fake_op_wait(h, &op_))                                                                 \
            fail_msg("%s: %d %s", #call_with_op, op_.code, op_.message);                           \
    } while (0)

#endif
