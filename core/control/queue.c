/* The queue of a controller: a key once, never two syncs of it at a time, retries with back-off. */
#include "control_internal.h"

#include <lauxlib.h>
#include <lua.h>

enum { RETRY_FIRST_MS = 50, RETRY_LAST_MS = 60000 };

enum { SYNCS, SECONDS };
static struct neap_metric metrics[] = {
    [SYNCS] = {.name = "neap_controller_syncs_total",
               .help = "Syncs by controller and result; map_error: a watch's function failed.",
               .type = NEAP_COUNTER,
               .labels = {"controller", "result"}},
    [SECONDS] = {.name = "neap_controller_sync_seconds",
                 .help = "Time of a sync, its API calls included.",
                 .type = NEAP_HISTOGRAM,
                 .labels = {"controller"},
                 .buckets = neap_metric_latency_buckets},
};

__attribute__((constructor)) static void register_metrics(void)
{
    neap_metrics_register(metrics, NEAP_ARRAY_LEN(metrics));
}

void control_count(const struct controller *c, const char *result)
{
    neap_metric_add(&metrics[SYNCS], 1, c->name, result);
}

static struct work *work_of(struct controller *c, const char *key)
{
    struct work *w = neap_map_get(&c->work, key);
    if (w)
        return w;
    w = neap_calloc(1, sizeof(*w));
    w->controller = c;
    w->key = neap_strdup(key);
    neap_list_init(&w->link);
    neap_map_set(&c->work, key, w);
    return w;
}

static void work_free(struct work *w)
{
    neap_timer_close(w->timer);
    neap_list_remove(&w->link);
    free(w->key);
    free(w);
}

static void forget(struct work *w)
{
    neap_map_del(&w->controller->work, w->key);
    work_free(w);
}

void control_add(struct controller *c, const char *key)
{
    if (c->control->stopping)
        return;
    struct work *w = work_of(c, key);
    if (w->running) {
        w->again = true;
        return;
    }
    if (w->timer && !w->failures)
        w->timer = neap_timer_close(w->timer);
    if (w->queued)
        return;
    w->queued = true;
    neap_list_append(&c->queue, &w->link);
    control_go(c);
}

static void on_timer(void *arg)
{
    struct work *w = arg;
    w->timer = neap_timer_close(w->timer);
    control_add(w->controller, w->key);
}

static void later(struct work *w, uint64_t ms)
{
    if (!w->timer)
        w->timer = neap_timer_new(w->controller->control->options.loop, on_timer, w);
    neap_timer_start(w->timer, ms, 0);
}

void control_add_after(struct controller *c, const char *key, uint64_t ms)
{
    struct work *w = work_of(c, key);
    if (!w->queued && !w->running)
        later(w, ms);
}

static uint64_t backoff(unsigned failures)
{
    uint64_t ms = RETRY_FIRST_MS;
    while (--failures && ms < RETRY_LAST_MS)
        ms *= 2;
    return ms < RETRY_LAST_MS ? ms : RETRY_LAST_MS;
}

/* The sync is over: <results> may hold the seconds until the next. */
static void finished(void *arg, lua_State *co, int results, const struct neap_err *err)
{
    struct work *w = arg;
    struct controller *c = w->controller;
    struct neap_control *control = c->control;
    double seconds = results && lua_isnumber(co, -results) ? lua_tonumber(co, -results) : 0;
    int64_t now = neap_clock_mono(control->options.clock);
    control_count(c, err ? "error" : "ok");
    neap_metric_observe(&metrics[SECONDS], (double)(now - w->started_ns) / 1e9, c->name);
    w->running = false;
    c->running--;
    control->running--;
    if (err) {
        w->failures++;
        control->failures++;
        NEAP_WARN("controller", "sync failed", "controller=%s key=%s failures=%u err=%s", c->name,
                  w->key, w->failures, neap_log_quote(err->message));
    } else {
        w->failures = 0;
    }
    bool again = w->again;
    w->again = false;
    if (control->stopping) {
        control_check_stopped(control);
        return;
    }
    if (err)
        later(w, backoff(w->failures));
    else if (again)
        control_add(c, w->key);
    else if (seconds > 0)
        later(w, (uint64_t)(seconds * 1000));
    else
        forget(w);
    control_go(c);
}

static void start(struct controller *c, struct work *w)
{
    lua_State *l = neap_script_lua(c->set->script);
    const char *slash = strchr(w->key, '/');
    w->queued = false;
    w->running = true;
    w->started_ns = neap_clock_mono(c->control->options.clock);
    c->running++;
    c->control->running++;
    lua_rawgeti(l, LUA_REGISTRYINDEX, c->reconcile_ref);
    lua_pushlstring(l, w->key, (size_t)(slash - w->key));
    lua_pushstring(l, slash + 1);
    neap_script_start(c->set->script, 2, finished, w);
}

static void go_posted(void *arg)
{
    struct controller *c = arg;
    while (c->running < c->concurrency && !neap_list_empty(&c->queue) && !c->control->stopping) {
        struct work *w = neap_list_entry(c->queue.next, struct work, link);
        neap_list_remove(&w->link);
        start(c, w);
    }
}

/* By post: syncs never run inside the callback that asks for them. */
void control_go(struct controller *c)
{
    neap_loop_post(c->control->options.loop, go_posted, c);
}

void control_queue_free(struct controller *c)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (neap_map_next(&c->work, &at, &key, &value))
        work_free(value);
    neap_map_done(&c->work, NULL);
}
