/* Pods without processes: the runtime ABI in memory. See README.md. */
#include <neap/err.h>
#include <neap/plugin/runtime.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct neap_option options[] = {
    {"delay", NEAP_OPTION_DURATION, "1ms", 0, 600000, "how long each operation takes"},
    {"run_time", NEAP_OPTION_DURATION, "0s", 0, 86400000,
     "a container ends by itself after it; 0: never"},
    {0},
};

struct sandbox {
    struct sandbox *next;
    char *id;
    int64_t created_ns;
    bool ready;
};

struct container {
    struct container *next;
    struct hollow *owner;
    char *id, *sandbox_id;
    enum neap_runtime_state state;
    int64_t created_ns, started_ns, finished_ns;
    int exit_code, signal;
    struct neap_host_timer *timer;
};

struct hollow {
    const struct neap_host *host;
    struct neap_runtime_events events;
    struct sandbox *sandboxes;
    struct container *containers;
    struct pending *pending;
    uint64_t delay_ms, run_ms;
    char image_name[256];
    const char *image_names[2];
    struct neap_runtime_image image;
};

/* An operation that completes later. */
struct pending {
    struct pending *next;
    struct hollow *owner;
    struct neap_op *op;
    int code;
    struct neap_host_timer *timer;
};

static char *copy(const char *s)
{
    char *out = strdup(s);
    if (!out)
        abort();
    return out;
}

static void *zeroed(size_t n)
{
    void *p = calloc(1, n);
    if (!p)
        abort();
    return p;
}

static void complete(void *arg)
{
    struct pending *p = arg;
    for (struct pending **at = &p->owner->pending; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            break;
        }
    }
    struct neap_op *op = p->op;
    int code = p->code;
    free(p);
    op->done(op, code, code ? "no such sandbox or container" : NULL);
}

static void answer(struct hollow *h, struct neap_op *op, int code)
{
    struct pending *p = zeroed(sizeof(*p));
    *p = (struct pending){.next = h->pending, .owner = h, .op = op, .code = code};
    h->pending = p;
    p->timer = h->host->loop->timer(h->host->ctx, h->delay_ms, complete, p);
}

/* ---- life ---- */

static int configure(const struct neap_host *host, const struct neap_runtime_events *events,
                     void **ret_self)
{
    struct hollow *h = zeroed(sizeof(*h));
    h->host = host;
    h->events = *events;
    h->delay_ms = (uint64_t)host->config->integer(host->ctx, "delay");
    h->run_ms = (uint64_t)host->config->integer(host->ctx, "run_time");
    *ret_self = h;
    return 0;
}

static int restore(void *self)
{
    (void)self;
    return 0;
}

static void start(void *self, struct neap_op *op)
{
    answer(self, op, 0);
}

static void stop_timers(struct hollow *h)
{
    for (struct container *c = h->containers; c; c = c->next) {
        if (c->timer)
            h->host->loop->timer_cancel(h->host->ctx, c->timer);
        c->timer = NULL;
    }
}

static void stop(void *self, struct neap_op *op)
{
    stop_timers(self);
    answer(self, op, 0);
}

static void container_free(struct container *c)
{
    if (c->timer)
        c->owner->host->loop->timer_cancel(c->owner->host->ctx, c->timer);
    free(c->id);
    free(c->sandbox_id);
    free(c);
}

static void destroy(void *self)
{
    struct hollow *h = self;
    if (!h)
        return;
    while (h->pending) {
        struct pending *p = h->pending;
        h->pending = p->next;
        h->host->loop->timer_cancel(h->host->ctx, p->timer);
        free(p);
    }
    while (h->containers) {
        struct container *c = h->containers;
        h->containers = c->next;
        container_free(c);
    }
    while (h->sandboxes) {
        struct sandbox *s = h->sandboxes;
        h->sandboxes = s->next;
        free(s->id);
        free(s);
    }
    free(h);
}

static const char *version(void *self)
{
    (void)self;
    return "hollow://0.1";
}

/* ---- sandboxes ---- */

static struct sandbox **sandbox_at(struct hollow *h, const char *id)
{
    struct sandbox **at = &h->sandboxes;
    while (*at && strcmp((*at)->id, id) != 0)
        at = &(*at)->next;
    return at;
}

static struct container **container_at(struct hollow *h, const char *id)
{
    struct container **at = &h->containers;
    while (*at && strcmp((*at)->id, id) != 0)
        at = &(*at)->next;
    return at;
}

static void sandbox_run(void *self, const struct neap_runtime_sandbox_config *config,
                        struct neap_op *op)
{
    struct hollow *h = self;
    struct sandbox **at = sandbox_at(h, config->id);
    if (!*at) {
        *at = zeroed(sizeof(**at));
        (*at)->id = copy(config->id);
        (*at)->created_ns = h->host->loop->now_wall_ns(h->host->ctx);
    }
    (*at)->ready = true;
    answer(h, op, 0);
}

static void end_container(struct container *c, int code, int signal)
{
    struct hollow *h = c->owner;
    if (c->timer)
        h->host->loop->timer_cancel(h->host->ctx, c->timer);
    c->timer = NULL;
    if (c->state == NEAP_RUNTIME_EXITED)
        return;
    c->state = NEAP_RUNTIME_EXITED;
    c->exit_code = code;
    c->signal = signal;
    c->finished_ns = h->host->loop->now_wall_ns(h->host->ctx);
}

static void sandbox_stop(void *self, const char *id, struct neap_op *op)
{
    struct hollow *h = self;
    struct sandbox *s = *sandbox_at(h, id);
    for (struct container *c = h->containers; c; c = c->next)
        if (strcmp(c->sandbox_id, id) == 0)
            end_container(c, 137, 9);
    if (s)
        s->ready = false;
    answer(h, op, 0);
}

static void sandbox_remove(void *self, const char *id, struct neap_op *op)
{
    struct hollow *h = self;
    for (struct container **at = &h->containers; *at;) {
        struct container *c = *at;
        if (strcmp(c->sandbox_id, id) != 0) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        container_free(c);
    }
    struct sandbox **at = sandbox_at(h, id), *s = *at;
    if (s) {
        *at = s->next;
        free(s->id);
        free(s);
    }
    answer(h, op, 0);
}

static void fill_sandbox(const struct sandbox *s, struct neap_runtime_sandbox_status *ret)
{
    *ret = (struct neap_runtime_sandbox_status){
        .id = s->id, .ready = s->ready, .netns_path = "", .created_wall_ns = s->created_ns};
}

static int sandbox_status(void *self, const char *id, struct neap_runtime_sandbox_status *ret)
{
    struct sandbox *s = *sandbox_at(self, id);
    if (!s)
        return NEAP_ENOTFOUND;
    fill_sandbox(s, ret);
    return 0;
}

/* ---- containers ---- */

static void container_create(void *self, const struct neap_runtime_container_config *config,
                             struct neap_op *op)
{
    struct hollow *h = self;
    struct container **at = container_at(h, config->id);
    if (!*at) {
        struct container *c = *at = zeroed(sizeof(*c));
        c->owner = h;
        c->id = copy(config->id);
        c->sandbox_id = copy(config->sandbox_id);
        c->state = NEAP_RUNTIME_CREATED;
        c->created_ns = h->host->loop->now_wall_ns(h->host->ctx);
    }
    answer(h, op, 0);
}

static void run_out(void *arg)
{
    struct container *c = arg;
    struct hollow *h = c->owner;
    c->timer = NULL;
    end_container(c, 0, 0);
    h->events.container_changed(h->events.arg, c->id);
}

static void container_start(void *self, const char *id, struct neap_op *op)
{
    struct hollow *h = self;
    struct container *c = *container_at(h, id);
    if (c && c->state == NEAP_RUNTIME_CREATED) {
        c->state = NEAP_RUNTIME_RUNNING;
        c->started_ns = h->host->loop->now_wall_ns(h->host->ctx);
        if (h->run_ms)
            c->timer = h->host->loop->timer(h->host->ctx, h->run_ms, run_out, c);
    }
    answer(h, op, c ? 0 : NEAP_ENOTFOUND);
}

struct told {
    struct hollow *owner;
    char *id;
};

static void tell(void *arg)
{
    struct told *t = arg;
    t->owner->events.container_changed(t->owner->events.arg, t->id);
    free(t->id);
    free(t);
}

static void container_signal(void *self, const char *id, int signum, struct neap_op *op)
{
    struct hollow *h = self;
    struct container *c = *container_at(h, id);
    bool ends = c && c->state == NEAP_RUNTIME_RUNNING && (signum == 9 || signum == 15);
    if (ends) {
        struct told *t = zeroed(sizeof(*t));
        *t = (struct told){h, copy(id)};
        end_container(c, 128 + signum, signum);
        h->host->loop->post(h->host->ctx, tell, t);
    }
    answer(h, op, c ? 0 : NEAP_ENOTFOUND);
}

static void container_remove(void *self, const char *id, struct neap_op *op)
{
    struct hollow *h = self;
    struct container **at = container_at(h, id), *c = *at;
    if (c) {
        *at = c->next;
        container_free(c);
    }
    answer(h, op, 0);
}

static void fill_container(const struct container *c, struct neap_runtime_container_status *ret)
{
    *ret = (struct neap_runtime_container_status){.id = c->id,
                                                  .sandbox_id = c->sandbox_id,
                                                  .state = c->state,
                                                  .created_wall_ns = c->created_ns,
                                                  .started_wall_ns = c->started_ns,
                                                  .finished_wall_ns = c->finished_ns,
                                                  .exit_code = c->exit_code,
                                                  .signal = c->signal};
}

static int container_status(void *self, const char *id, struct neap_runtime_container_status *ret)
{
    struct container *c = *container_at(self, id);
    if (!c)
        return NEAP_ENOTFOUND;
    fill_container(c, ret);
    return 0;
}

static void list(void *self,
                 void (*sandbox)(void *arg, const struct neap_runtime_sandbox_status *s),
                 void (*container)(void *arg, const struct neap_runtime_container_status *s),
                 void *arg)
{
    struct hollow *h = self;
    struct neap_runtime_sandbox_status ss;
    struct neap_runtime_container_status cs;
    for (struct sandbox *s = h->sandboxes; s; s = s->next) {
        fill_sandbox(s, &ss);
        sandbox(arg, &ss);
    }
    for (struct container *c = h->containers; c; c = c->next) {
        fill_container(c, &cs);
        container(arg, &cs);
    }
}

/* ---- images: every one is present ---- */

static int image_status(void *self, const char *reference, const struct neap_runtime_image **ret)
{
    struct hollow *h = self;
    snprintf(h->image_name, sizeof(h->image_name), "%s", reference);
    h->image_names[0] = h->image_name;
    h->image = (struct neap_runtime_image){
        .id = "sha256:hollow", .names = h->image_names, .digests = h->image_names + 1};
    *ret = &h->image;
    return 0;
}

static void image_list(void *self, void (*image)(void *arg, const struct neap_runtime_image *i),
                       void *arg)
{
    (void)self;
    (void)image;
    (void)arg;
}

static void image_import(void *self, const char *path, const char *name, struct neap_op *op)
{
    (void)path;
    (void)name;
    answer(self, op, 0);
}

static void image_from_rootfs(void *self, const char *rootfs, const char *name,
                              const char *const *command, struct neap_op *op)
{
    (void)rootfs;
    (void)name;
    (void)command;
    answer(self, op, 0);
}

static void image_pull(void *self, const char *reference, const char *auth, struct neap_op *op)
{
    (void)reference;
    (void)auth;
    answer(self, op, 0);
}

static void image_remove(void *self, const char *reference, struct neap_op *op)
{
    (void)reference;
    answer(self, op, 0);
}

NEAP_PLUGIN_EXPORT extern const struct neap_runtime_plugin neap_plugin;
NEAP_PLUGIN_EXPORT const struct neap_runtime_plugin neap_plugin = {
    .header = {NEAP_PLUGIN_MAGIC, NEAP_PLUGIN_ABI_MAJOR, NEAP_PLUGIN_ABI_MINOR, sizeof neap_plugin,
               NEAP_PLUGIN_RUNTIME, "hollow", "0.1", options},
    .configure = configure,
    .restore = restore,
    .start = start,
    .stop = stop,
    .destroy = destroy,
    .version = version,
    .sandbox_run = sandbox_run,
    .sandbox_stop = sandbox_stop,
    .sandbox_remove = sandbox_remove,
    .sandbox_status = sandbox_status,
    .container_create = container_create,
    .container_start = container_start,
    .container_signal = container_signal,
    .container_remove = container_remove,
    .container_status = container_status,
    .list = list,
    .image_status = image_status,
    .image_list = image_list,
    .image_import = image_import,
    .image_from_rootfs = image_from_rootfs,
    .image_pull = image_pull,
    .image_remove = image_remove,
};
