/* A pod's CPU and memory while it runs: a change of its spec is granted when the node has room for it, put off
 * while other pods have it, and refused when the node is too small. What is granted is written to the cgroups,
 * the pod's before its containers' when it grows and after them when it shrinks; a container that wants it so
 * (resizePolicy) is started again instead.
 * Source: Kubernetes documentation, "Resize CPU and Memory Resources assigned to Containers". */
#include "node_internal.h"

enum { RETRY_MS = 2000 };

/* One granted change being written: steps 0 (the pod, as wide as old and new), 1..count (containers), last (the
 * pod, exactly). */
struct resize {
    struct neap_op op;
    struct pod *pod;
    unsigned step;
    struct neap_runtime_resources limits;
};

static void next(struct resize *r);

static bool is_resizable(const struct container *c)
{
    return !c->ephemeral && (!c->init || c->sidecar);
}

static yyjson_val *wanted(const struct container *c)
{
    return yyjson_obj_get(c->spec, "resources");
}

/* ---- what is to be told ---- */

static void set_reason(struct pod *p, const char **at, char **message, const char *reason,
                       const char *text)
{
    bool same = neap_streq(*at, reason) && neap_streq(*message, text);
    *at = reason;
    if (same)
        return;
    free(*message);
    *message = text ? neap_strdup(text) : NULL;
    status_changed(p);
}

static void set_pending(struct pod *p, const char *reason, const char *text)
{
    bool other = reason && !neap_streq(p->resize_pending, reason);
    set_reason(p, &p->resize_pending, &p->resize_pending_text, reason, text);
    if (!other)
        return;
    char *event = neap_asprintf("Pod resize %s: %s", reason, text);
    node_event(p, "Warning",
               strcmp(reason, "Deferred") == 0 ? "ResizeDeferred" : "ResizeInfeasible", NULL,
               event);
    free(event);
}

/* ---- may it be? ---- */

static void used_by_others(const struct pod *p, int64_t *ret_cpu, int64_t *ret_memory)
{
    size_t at = 0;
    const char *uid;
    void *value;
    *ret_cpu = *ret_memory = 0;
    while (neap_map_next(&p->node->pods, &at, &uid, &value)) {
        const struct pod *other = value;
        int64_t cpu, memory;
        if (other == p || other->sm.state == POD_OVER)
            continue;
        resources_requested(other, false, &cpu, &memory);
        *ret_cpu += cpu;
        *ret_memory += memory;
    }
}

/* NULL: yes. Else the reason, with a text. Only what grows is asked of the node. */
static const char *refusal(const struct pod *p, char text[200])
{
    int64_t want[2], have[2], used[2];
    int64_t capacity[2] = {sysconf_cpus() * 1000, node_memory() / 1024 * 1024};
    static const char *const names[2] = {"cpu", "memory"};
    resources_requested(p, true, &want[0], &want[1]);
    resources_requested(p, false, &have[0], &have[1]);
    used_by_others(p, &used[0], &used[1]);
    for (int i = 1; i >= 0; i--)
        if (want[i] > capacity[i]) {
            snprintf(text, 200,
                     "Node didn't have enough capacity: %s, requested: %lld, capacity: %lld",
                     names[i], (long long)want[i], (long long)capacity[i]);
            return "Infeasible";
        }
    for (int i = 0; i < 2; i++)
        if (want[i] > have[i] && want[i] + used[i] > capacity[i]) {
            snprintf(text, 200,
                     "Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: "
                     "%lld",
                     names[i], (long long)want[i], (long long)used[i], (long long)capacity[i]);
            return "Deferred";
        }
    return NULL;
}

static bool any_wanted(const struct pod *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (is_resizable(&p->containers[i]) &&
            resources_differ(wanted(&p->containers[i]), resources_allocated(&p->containers[i]),
                             NULL))
            return true;
    return false;
}

static void grant(struct pod *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        struct container *c = &p->containers[i];
        if (!is_resizable(c))
            continue;
        /* what is in force stays what it is: a copy of its own now */
        if (c->state == CONTAINER_RUNNING && !c->actual)
            resources_in_force(c);
        resources_allocate(c, wanted(c));
    }
    p->resizing = true;
    set_pending(p, NULL, NULL);
    node_event(p, "Normal", "ResizeStarted", NULL, "Pod resize started");
    status_changed(p);
}

/* ---- doing it ---- */

static bool is_behind(const struct container *c)
{
    return is_resizable(c) && c->state == CONTAINER_RUNNING &&
           resources_differ(resources_actual(c), resources_allocated(c), NULL);
}

/* A changed resource whose policy says so. */
static bool must_restart(const struct container *c)
{
    size_t i, n;
    yyjson_val *policy;
    yyjson_arr_foreach(yyjson_obj_get(c->spec, "resizePolicy"), i, n, policy)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(policy, "resourceName"));
        if (name &&
            yyjson_equals_str(yyjson_obj_get(policy, "restartPolicy"), "RestartContainer") &&
            resources_differ(resources_actual(c), resources_allocated(c), name))
            return true;
    }
    return false;
}

/* A limit below what is in use would kill: it waits until there is less. */
static bool too_small(const struct container *c, const struct neap_runtime_resources *limits,
                      struct neap_err *err)
{
    struct neap_node *n = c->pod->node;
    struct neap_runtime_stats stats = {0};
    if (!limits->memory_limit || !n->options.runtime->stats ||
        n->options.runtime->stats(n->runtime, c->id, &stats) ||
        stats.memory_usage <= limits->memory_limit)
        return false;
    neap_err_set(err, NEAP_EINVALID,
                 "attempting to set container %s memory limit (%lld) below current usage (%lld)",
                 c->name, (long long)limits->memory_limit, (long long)stats.memory_usage);
    return true;
}

static void ended(struct resize *r)
{
    struct pod *p = r->pod;
    p->resize = NULL;
    free(r);
    pod_step(p); /* also when it was to be dropped */
}

static void failed(struct resize *r, const char *text)
{
    struct pod *p = r->pod;
    if (p->sm.state == POD_RUNNING && !p->deleting) {
        set_reason(p, &p->resize_error, &p->resize_error_text, "Error", text);
        neap_timer_start(p->resize_timer, RETRY_MS, 0);
    }
    p->resize = NULL;
    free(r);
    if (p->forgotten)
        pod_step(p);
}

static void updated(struct neap_op *op, int code, const char *message)
{
    struct resize *r = op->data;
    struct pod *p = r->pod;
    struct container *c = r->step > 0 && r->step <= p->count ? &p->containers[r->step - 1] : NULL;
    if (code && (!c || c->state == CONTAINER_RUNNING)) {
        char *copy = neap_strdup(message ? message : neap_err_name(code));
        failed(r, copy);
        free(copy);
        return;
    }
    if (!code && c)
        resources_in_force(c);
    r->step++;
    next(r);
}

static void restart(struct container *c)
{
    char text[320];
    snprintf(text, sizeof(text), "Container %s resize requires restart", c->name);
    c->changed = c->replacing = true;
    container_restart(c, text, -1);
}

/* Writes one container's limits; false: there is nothing to write. */
static bool one_container(struct resize *r, struct container *c)
{
    struct neap_node *n = c->pod->node;
    struct neap_err err = NEAP_ERR_INIT;
    if (!is_behind(c))
        return false;
    if (must_restart(c)) {
        restart(c);
        return false;
    }
    resources_of_container(c, &r->limits);
    if (too_small(c, &r->limits, &err)) {
        failed(r, err.message);
        neap_err_done(&err);
        return true;
    }
    n->options.runtime->container_update(n->runtime, c->id, &r->limits, &r->op);
    return true;
}

static void next(struct resize *r)
{
    struct pod *p = r->pod;
    struct neap_node *n = p->node;
    r->op = (struct neap_op){.data = r, .done = updated};
    r->limits = (struct neap_runtime_resources){0};
    while (r->step > 0 && r->step <= p->count)
        if (one_container(r, &p->containers[r->step - 1]))
            return;
        else
            r->step++;
    if (r->step > p->count + 1 || p->sm.state != POD_RUNNING) {
        ended(r);
        return;
    }
    resources_of_pod(p, r->step == 0, &r->limits);
    n->options.runtime->container_update(n->runtime, p->uid, &r->limits, &r->op);
}

static bool any_behind(const struct pod *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (is_behind(&p->containers[i]) && !p->containers[i].killing)
            return true;
    return false;
}

static bool any_restarting(const struct pod *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->containers[i].changed || p->containers[i].state == CONTAINER_STARTING)
            return true;
    return false;
}

static void begin(struct pod *p)
{
    p->resizing = true;
    if (!p->node->options.runtime->container_update) { /* a runtime without limits */
        for (unsigned i = 0; i < p->count; i++)
            resources_in_force(&p->containers[i]);
        return;
    }
    struct resize *r = neap_calloc(1, sizeof(*r));
    r->pod = p;
    p->resize = r;
    next(r);
}

static void done(struct pod *p)
{
    p->resizing = false;
    set_reason(p, &p->resize_error, &p->resize_error_text, NULL, NULL);
    node_event(p, "Normal", "ResizeCompleted", NULL, "Pod resize completed");
    status_changed(p);
    resize_others(p->node);
}

/* ---- from outside ---- */

static void on_timer(void *arg)
{
    resize_step(arg);
}

void resize_step(struct pod *p)
{
    char text[200];
    if (p->deleting || p->final_phase || p->sm.state != POD_RUNNING)
        return;
    if (!p->resize_timer)
        p->resize_timer = neap_timer_new(p->node->options.loop, on_timer, p);
    if (!any_wanted(p)) {
        if (p->resize_pending)
            set_pending(p, NULL, NULL); /* taken back */
    } else if (!p->resize) {
        const char *reason = refusal(p, text);
        if (reason)
            set_pending(p, reason, text);
        else
            grant(p);
    }
    bool waits = neap_timer_active(p->resize_timer);
    if (!p->resize && !waits && any_behind(p))
        begin(p);
    if (p->resizing && !p->resize && !waits && !any_behind(p) && !any_restarting(p) &&
        !neap_timer_active(p->resize_timer))
        done(p);
}

void resize_others(struct neap_node *n)
{
    size_t at = 0;
    const char *uid;
    void *value;
    while (neap_map_next(&n->pods, &at, &uid, &value)) {
        struct pod *p = value;
        if (neap_streq(p->resize_pending, "Deferred"))
            neap_timer_start(p->resize_timer, 0, 0);
    }
}

void resize_free(struct pod *p)
{
    neap_timer_close(p->resize_timer);
    free(p->resize_pending_text);
    free(p->resize_error_text);
}
