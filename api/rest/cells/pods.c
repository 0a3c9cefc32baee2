/* Cells of pods. Source: what `kubectl get pods` shows (cells.jsonl of the fact files). */
#include "cells.h"

static bool condition_true(yyjson_val *root, const char *type)
{
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(cell_at(root, "status.conditions"), i, n, c)
    {
        if (strcmp(cell_str(c, "type"), type) == 0)
            return strcmp(cell_str(c, "status"), "True") == 0;
    }
    return false;
}

struct summary {
    char reason[256];
    int64_t ready, total, restarts, init_restarts, restartable_restarts;
    const char *last_restart, *last_init_restart;
    bool initializing;
};

static bool restartable(yyjson_val *container)
{
    return strcmp(cell_str(container, "restartPolicy"), "Always") == 0;
}

static yyjson_val *by_name(yyjson_val *list, const char *name)
{
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(list, i, n, c)
    {
        if (strcmp(cell_str(c, "name"), name) == 0)
            return c;
    }
    return NULL;
}

static void later(const char **at, const char *time)
{
    if (time && *time && (!*at || strcmp(time, *at) > 0)) /* RFC 3339 in UTC sorts as text */
        *at = time;
}

static void terminated_text(struct summary *s, yyjson_val *t, const char *prefix)
{
    const char *reason = cell_str(t, "reason");
    int64_t signal = cell_int(t, "signal");
    if (*reason)
        snprintf(s->reason, sizeof(s->reason), "%s%s", prefix, reason);
    else if (signal)
        snprintf(s->reason, sizeof(s->reason), "%sSignal:%lld", prefix, (long long)signal);
    else
        snprintf(s->reason, sizeof(s->reason), "%sExitCode:%lld", prefix,
                 (long long)cell_int(t, "exitCode"));
}

/* One init container's status; true: the pod is not past it. */
static bool init_status(struct summary *s, yyjson_val *spec, yyjson_val *c, size_t i, size_t total)
{
    yyjson_val *terminated = cell_at(c, "state.terminated"), *waiting = cell_at(c, "state.waiting");
    yyjson_val *container = by_name(yyjson_obj_get(spec, "initContainers"), cell_str(c, "name"));
    bool sidecar = container && restartable(container);
    s->init_restarts += cell_int(c, "restartCount");
    later(&s->last_init_restart, cell_str(c, "lastState.terminated.finishedAt"));
    if (sidecar) {
        s->restartable_restarts += cell_int(c, "restartCount");
    }
    if (terminated && cell_int(terminated, "exitCode") == 0)
        return false;
    if (sidecar && yyjson_get_bool(yyjson_obj_get(c, "started"))) {
        s->ready += yyjson_get_bool(yyjson_obj_get(c, "ready"));
        return false;
    }
    if (terminated)
        terminated_text(s, terminated, "Init:");
    else if (waiting && *cell_str(waiting, "reason") &&
             strcmp(cell_str(waiting, "reason"), "PodInitializing") != 0)
        snprintf(s->reason, sizeof(s->reason), "Init:%s", cell_str(waiting, "reason"));
    else
        snprintf(s->reason, sizeof(s->reason), "Init:%zu/%zu", i, total);
    return true;
}

static void main_statuses(struct summary *s, yyjson_val *root)
{
    yyjson_val *list = cell_at(root, "status.containerStatuses");
    bool running = false;
    int64_t restarts = s->restartable_restarts;
    s->last_restart = s->restartable_restarts ? s->last_init_restart : NULL;
    for (size_t i = yyjson_arr_size(list); i-- > 0;) {
        yyjson_val *c = yyjson_arr_get(list, i);
        yyjson_val *t = cell_at(c, "state.terminated");
        restarts += cell_int(c, "restartCount");
        later(&s->last_restart, cell_str(c, "lastState.terminated.finishedAt"));
        if (*cell_str(c, "state.waiting.reason")) {
            snprintf(s->reason, sizeof(s->reason), "%s", cell_str(c, "state.waiting.reason"));
        } else if (t) {
            terminated_text(s, t, "");
        } else if (yyjson_get_bool(yyjson_obj_get(c, "ready")) && cell_at(c, "state.running")) {
            running = true;
            s->ready++;
        }
    }
    s->restarts = restarts;
    if (strcmp(s->reason, "Completed") == 0 && running)
        snprintf(s->reason, sizeof(s->reason), "%s",
                 condition_true(root, "Ready") ? "Running" : "NotReady");
}

static void initial_reason(struct summary *s, yyjson_val *root)
{
    size_t i, n;
    yyjson_val *c;
    snprintf(s->reason, sizeof(s->reason), "%s", cell_str(root, "status.phase"));
    if (*cell_str(root, "status.reason"))
        snprintf(s->reason, sizeof(s->reason), "%s", cell_str(root, "status.reason"));
    yyjson_arr_foreach(cell_at(root, "status.conditions"), i, n, c)
    {
        if (strcmp(cell_str(c, "type"), "PodScheduled") == 0 &&
            strcmp(cell_str(c, "reason"), "SchedulingGated") == 0)
            snprintf(s->reason, sizeof(s->reason), "SchedulingGated");
    }
}

static void summarise(struct summary *s, yyjson_val *root)
{
    yyjson_val *spec = cell_at(root, "spec"), *init = cell_at(root, "status.initContainerStatuses");
    size_t i, n, total = yyjson_arr_size(cell_at(spec, "initContainers"));
    yyjson_val *c;
    *s = (struct summary){.total = (int64_t)yyjson_arr_size(cell_at(spec, "containers"))};
    yyjson_arr_foreach(cell_at(spec, "initContainers"), i, n, c)
    {
        s->total += restartable(c);
    }
    initial_reason(s, root);
    yyjson_arr_foreach(init, i, n, c)
    {
        if (init_status(s, spec, c, i, total)) {
            s->initializing = true;
            break;
        }
    }
    s->restarts = s->init_restarts;
    s->last_restart = s->last_init_restart;
    if (!s->initializing || condition_true(root, "Initialized"))
        main_statuses(s, root);
    if (*cell_str(root, "metadata.deletionTimestamp")) {
        const char *phase = cell_str(root, "status.phase");
        if (strcmp(cell_str(root, "status.reason"), "NodeLost") == 0)
            snprintf(s->reason, sizeof(s->reason), "Unknown");
        else if (strcmp(phase, "Succeeded") && strcmp(phase, "Failed"))
            snprintf(s->reason, sizeof(s->reason), "Terminating");
    }
}

CELL(ready)
{
    struct summary s;
    summarise(&s, root);
    neap_buf_printf(out, "\"%lld/%lld\"", (long long)s.ready, (long long)s.total);
}

CELL(status)
{
    struct summary s;
    summarise(&s, root);
    cell_text(out, s.reason);
}

CELL(restarts)
{
    struct summary s;
    struct neap_buf age = NEAP_BUF_INIT;
    summarise(&s, root);
    if (!s.restarts || !s.last_restart) {
        neap_buf_printf(out, "\"%lld\"", (long long)s.restarts);
        return;
    }
    cell_age(x, s.last_restart, &age);
    age.data[age.len - 1] = '\0';
    neap_buf_printf(out, "\"%lld (%s ago)\"", (long long)s.restarts, age.data + 1);
    neap_buf_done(&age);
}

CELL(ip)
{
    const char *first = cell_str(yyjson_arr_get_first(cell_at(root, "status.podIPs")), "ip");
    cell_or(out, first, "<none>");
}

CELL(node)
{
    cell_or(out, cell_str(root, "spec.nodeName"), "<none>");
}

CELL(nominated)
{
    cell_or(out, cell_str(root, "status.nominatedNodeName"), "<none>");
}

CELL(gates)
{
    yyjson_val *list = cell_at(root, "spec.readinessGates"), *g;
    size_t i, n, passed = 0;
    if (!yyjson_arr_size(list)) {
        cell_text(out, "<none>");
        return;
    }
    yyjson_arr_foreach(list, i, n, g)
    {
        passed += condition_true(root, cell_str(g, "conditionType"));
    }
    neap_buf_printf(out, "\"%zu/%zu\"", passed, yyjson_arr_size(list));
}

const struct rest_cell rest_cells_pods[] = {
    {"pod-ready", ready},
    {"pod-status", status},
    {"pod-restarts", restarts},
    {"pod-ip", ip},
    {"pod-node", node},
    {"pod-nominated-node", nominated},
    {"pod-readiness-gates", gates},
    {0},
};
