/* A pod's status as the agent sees it; written when it changes, one write at a time. After the end the final
 * status is written, then the object is deleted, with the uid as precondition. */
#include "node_internal.h"

enum { STATUS_RETRY_MS = 1000, STATUS_RETRY_MAX_MS = 30000, REPLACE_HOLD_MS = 1000 };

static void time_member(struct neap_buf *b, const char *name, int64_t ns)
{
    char text[32];
    neap_time_format(ns, text);
    neap_buf_printf(b, "\"%s\":\"%s\"", name, text);
}

static void text_member(struct neap_buf *b, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    neap_buf_printf(b, ",\"%s\":", name);
    neap_buf_json_string(b, value, strlen(value));
}

static void terminated(struct neap_buf *b, int code, const char *reason, const char *message,
                       int64_t from, int64_t to, const char *id)
{
    neap_buf_printf(b, "{\"terminated\":{\"exitCode\":%d", code);
    text_member(b, "reason", reason);
    text_member(b, "message", message);
    neap_buf_char(b, ',');
    time_member(b, "startedAt", from);
    neap_buf_char(b, ',');
    time_member(b, "finishedAt", to);
    if (id)
        neap_buf_printf(b, ",\"containerID\":\"neap://%s\"", id);
    neap_buf_str(b, "}}");
}

static void state(struct container *c, struct neap_buf *b)
{
    bool waits = c->state == CONTAINER_NONE || c->state == CONTAINER_STARTING ||
                 (c->state == CONTAINER_EXITED && c->waiting_reason && !c->pod->final_phase &&
                  !c->pod->deleting);
    if (c->state == CONTAINER_RUNNING) {
        neap_buf_str(b, "{\"running\":{");
        time_member(b, "startedAt", c->started_ns);
        neap_buf_str(b, "}}");
    } else if (waits) {
        neap_buf_printf(b, "{\"waiting\":{\"reason\":\"%s\"",
                        c->waiting_reason ? c->waiting_reason : "PodInitializing");
        text_member(b, "message", c->waiting_message);
        neap_buf_str(b, "}}");
    } else {
        terminated(b, c->exit_code, c->exit_reason, c->exit_message, c->started_ns, c->finished_ns,
                   c->id);
    }
}

static void json_member(struct neap_buf *b, const char *name, yyjson_val *value)
{
    size_t len = 0;
    char *text = value ? yyjson_val_write(value, 0, &len) : NULL;
    if (text)
        neap_buf_printf(b, ",\"%s\":%s", name, text);
    free(text);
}

/* In force while it runs, else what it would get. */
static void resources(struct container *c, struct neap_buf *b)
{
    yyjson_val *granted = resources_allocated(c), *requests = yyjson_obj_get(granted, "requests");
    yyjson_val *now = c->state == CONTAINER_RUNNING ? resources_actual(c) : granted;
    if (yyjson_obj_size(requests))
        json_member(b, "allocatedResources", requests);
    json_member(b, "resources", now);
}

static void container_status(struct container *c, struct neap_buf *b)
{
    const char *image = yyjson_get_str(yyjson_obj_get(c->spec, "image"));
    bool exited_waiting = c->state == CONTAINER_EXITED && c->waiting_reason;
    bool done_init = c->init && !c->sidecar && c->state == CONTAINER_EXITED && c->exit_code == 0;
    neap_buf_printf(b, "{\"name\":\"%s\",\"state\":", c->name);
    state(c, b);
    neap_buf_str(b, ",\"lastState\":");
    if (exited_waiting)
        terminated(b, c->exit_code, c->exit_reason, c->exit_message, c->started_ns, c->finished_ns,
                   c->id);
    else if (c->has_last)
        terminated(b, c->last_exit_code, c->last_reason, c->last_message, c->last_started_ns,
                   c->last_finished_ns, c->last_id);
    else
        neap_buf_str(b, "{}");
    const char *name = c->image_name ? c->image_name : image ? image : "";
    neap_buf_printf(b, ",\"ready\":%s,\"restartCount\":%u,\"image\":",
                    c->ready || done_init ? "true" : "false", c->restarts);
    neap_buf_json_string(b, name, strlen(name)); /* any text is an image's name */
    neap_buf_printf(b, ",\"imageID\":\"%s\",\"started\":%s", c->image_id ? c->image_id : "",
                    c->state == CONTAINER_RUNNING && c->startup_done ? "true" : "false");
    if (c->id && c->state != CONTAINER_NONE && c->state != CONTAINER_STARTING)
        neap_buf_printf(b, ",\"containerID\":\"neap://%s\"", c->id);
    if (!c->ephemeral)
        resources(c, b);
    neap_buf_char(b, '}');
}

enum list { INIT, MAIN, EPHEMERAL };

static enum list list_of(const struct container *c)
{
    return c->init ? INIT : c->ephemeral ? EPHEMERAL : MAIN;
}

static void container_statuses(struct pod *p, enum list list, struct neap_buf *b)
{
    static const char *const names[] = {"initContainerStatuses", "containerStatuses",
                                        "ephemeralContainerStatuses"};
    bool first = true;
    for (unsigned i = 0; i < p->count; i++) {
        if (list_of(&p->containers[i]) != list)
            continue;
        if (first)
            neap_buf_printf(b, ",\"%s\":[", names[list]);
        else
            neap_buf_char(b, ',');
        first = false;
        container_status(&p->containers[i], b);
    }
    if (!first)
        neap_buf_char(b, ']');
}

/* Counts for readiness and phase. */
static bool counts(const struct container *c)
{
    return !c->ephemeral && (!c->init || c->sidecar);
}

/* ---- conditions ---- */

static bool incomplete(const struct container *c)
{
    if (c->sidecar)
        return !(c->state == CONTAINER_RUNNING && c->startup_done);
    return !(c->state == CONTAINER_EXITED && c->exit_code == 0);
}

static bool initialized(const struct pod *p)
{
    for (unsigned i = 0; i < p->count && p->containers[i].init; i++)
        if (incomplete(&p->containers[i]))
            return false;
    return true;
}

static bool containers_ready(const struct pod *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (counts(&p->containers[i]) && !p->containers[i].ready)
            return false;
    return true;
}

static yyjson_val *old_condition(yyjson_val *root, const char *type)
{
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(neap_json_val_at(root, "status.conditions"), i, n, c)
    {
        if (yyjson_equals_str(yyjson_obj_get(c, "type"), type))
            return c;
    }
    return NULL;
}

/* Whether all conditions are true that the pod itself demands; in <why> which are not. */
static bool gates_open(struct pod *p, yyjson_val *root, struct neap_buf *why)
{
    size_t i, n;
    yyjson_val *g;
    bool open = true;
    yyjson_arr_foreach(yyjson_obj_get(p->spec, "readinessGates"), i, n, g)
    {
        const char *type = yyjson_get_str(yyjson_obj_get(g, "conditionType"));
        yyjson_val *c = old_condition(root, type);
        const char *status = yyjson_get_str(yyjson_obj_get(c, "status"));
        if (neap_streq(status, "True"))
            continue;
        neap_buf_str(why, open ? "" : ", ");
        if (c)
            neap_buf_printf(why, "the status of pod readiness gate \"%s\" is not \"True\", but %s",
                            type, status);
        else
            neap_buf_printf(
                why, "corresponding condition of pod readiness gate \"%s\" does not exist.", type);
        open = false;
    }
    return open;
}

static const char *const condition_names[] = {
    "PodReadyToStartContainers", "Initialized",      "Ready",
    "ContainersReady",           "PodResizePending", "PodResizeInProgress"};

/* When it became what it is. */
static void transition(struct pod *p, yyjson_val *old, enum pod_condition which, bool is,
                       char out[32])
{
    const char *status = yyjson_get_str(yyjson_obj_get(old, "status"));
    const char *since = yyjson_get_str(yyjson_obj_get(old, "lastTransitionTime"));
    if (!p->conditions[which].known) { /* from before a restart of the agent */
        p->conditions[which].is = neap_streq(status, "True");
        p->conditions[which].known =
            since && neap_time_parse(since, strlen(since), &p->conditions[which].since_ns);
    }
    if (!p->conditions[which].known || p->conditions[which].is != is) {
        p->conditions[which].known = true;
        p->conditions[which].is = is;
        p->conditions[which].since_ns = node_wall(p->node);
    }
    neap_time_format(p->conditions[which].since_ns, out);
}

static void condition(struct pod *p, yyjson_val *root, struct neap_buf *b, enum pod_condition which,
                      bool ok, const char *reason, const char *message)
{
    yyjson_val *old = old_condition(root, condition_names[which]);
    char since[32];
    transition(p, old, which, ok, since);
    neap_buf_printf(
        b,
        "%s{\"type\":\"%s\",\"status\":\"%s\",\"lastProbeTime\":null,\"lastTransitionTime\":\"%s\"",
        b->data[b->len - 1] == '[' ? "" : ",", condition_names[which], ok ? "True" : "False",
        since);
    if (!ok) {
        text_member(b, "reason", reason);
        text_member(b, "message", message);
        if ((!message || !*message) && yyjson_obj_get(old, "message"))
            neap_buf_str(b, ",\"message\":null");
    } else if (old && yyjson_obj_get(old, "reason")) {
        neap_buf_str(b, ",\"reason\":null,\"message\":null");
    }
    neap_buf_char(b, '}');
}

/* One that is there only while it is true. */
static void passing(struct pod *p, yyjson_val *root, struct neap_buf *b, enum pod_condition which,
                    bool is, const char *reason, const char *message)
{
    yyjson_val *old = old_condition(root, condition_names[which]);
    char since[32];
    transition(p, old, which, is, since);
    if (!is && old)
        neap_buf_printf(b, ",{\"type\":\"%s\",\"$patch\":\"delete\"}", condition_names[which]);
    if (!is)
        return;
    neap_buf_printf(b,
                    ",{\"type\":\"%s\",\"status\":\"True\",\"lastProbeTime\":null,"
                    "\"lastTransitionTime\":\"%s\",\"observedGeneration\":%lld",
                    condition_names[which], since,
                    (long long)yyjson_get_sint(neap_json_val_at(root, "metadata.generation")));
    if (reason) {
        text_member(b, "reason", reason);
        text_member(b, "message", message);
    } else if (yyjson_obj_get(old, "reason")) {
        neap_buf_str(b, ",\"reason\":null,\"message\":null");
    }
    neap_buf_char(b, '}');
}

static bool unready(const struct container *c)
{
    return counts(c) && !c->ready;
}

static bool uninitialized(const struct container *c)
{
    return c->init && incomplete(c);
}

/* "containers with <what> status: [a b]" */
static void names_text(const struct pod *p, const char *what, bool (*is)(const struct container *c),
                       struct neap_buf *text)
{
    bool first = true;
    neap_buf_printf(text, "containers with %s status: [", what);
    for (unsigned i = 0; i < p->count; i++)
        if (is(&p->containers[i])) {
            neap_buf_printf(text, "%s%s", first ? "" : " ", p->containers[i].name);
            first = false;
        }
    neap_buf_char(text, ']');
}

/* Source: the kubelet's status (Kubernetes documentation, "Pod Lifecycle: Pod conditions"); an ended pod's say only
 * that it has ended. */
static void conditions(struct pod *p, yyjson_val *root, struct neap_buf *b)
{
    struct neap_buf text = NEAP_BUF_INIT, init = NEAP_BUF_INIT, gates = NEAP_BUF_INIT;
    bool over = p->final_phase && (p->sm.state == POD_OVER || p->sm.state == POD_CLEANING ||
                                   p->sm.state == POD_STOPPING);
    const char *end = neap_streq(p->final_phase, "Succeeded") ? "PodCompleted"
                      : p->final_phase                        ? "PodFailed"
                                                              : NULL;
    bool containers = !over && containers_ready(p);
    bool open = gates_open(p, root, &gates);
    bool sandbox = p->sm.state == POD_RUNNING || p->sm.state == POD_STOPPING;
    names_text(p, "unready", unready, &text);
    names_text(p, "incomplete", uninitialized, &init);
    const char *reason = end ? end : "ContainersNotReady", *why = end ? "" : text.data;
    neap_buf_str(b, ",\"conditions\":[");
    condition(p, root, b, CONDITION_STARTABLE, sandbox, NULL, NULL);
    condition(p, root, b, CONDITION_INITIALIZED, initialized(p), "ContainersNotInitialized",
              init.data);
    if (containers && !open)
        condition(p, root, b, CONDITION_READY, false, "ReadinessGatesNotReady", gates.data);
    else
        condition(p, root, b, CONDITION_READY, containers, reason, why);
    condition(p, root, b, CONDITION_CONTAINERS, containers, reason, why);
    passing(p, root, b, CONDITION_RESIZE_PENDING, p->resize_pending, p->resize_pending,
            p->resize_pending_text);
    passing(p, root, b, CONDITION_RESIZING, p->resizing, p->resize_error, p->resize_error_text);
    neap_buf_char(b, ']');
    neap_buf_done(&text);
    neap_buf_done(&init);
    neap_buf_done(&gates);
}

/* ---- the whole ---- */

static const char *phase(struct pod *p)
{
    bool stopped = p->sm.state == POD_OVER || p->sm.state == POD_CLEANING;
    if (p->final_phase && (stopped || p->sm.state == POD_STOPPING || p->sm.state == POD_RUNNING))
        return p->final_phase;
    if (stopped && p->deleting) {
        bool failed = false, any = false;
        for (unsigned i = 0; i < p->count; i++) {
            const struct container *c = &p->containers[i];
            any = any || c->state == CONTAINER_EXITED;
            failed = failed || (!c->init && !c->ephemeral && c->state == CONTAINER_EXITED &&
                                (c->exit_code || c->signal));
        }
        return !any || failed ? "Failed" : "Succeeded";
    }
    for (unsigned i = 0; i < p->count; i++)
        if (!p->containers[i].init && !p->containers[i].ephemeral &&
            (p->containers[i].state == CONTAINER_RUNNING ||
             p->containers[i].state == CONTAINER_EXITED || p->containers[i].has_last))
            return "Running";
    return "Pending";
}

static char *make(struct pod *p)
{
    struct neap_buf b = NEAP_BUF_INIT;
    struct neap_node *n = p->node;
    yyjson_doc *doc = neap_object_parse(p->object, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    neap_buf_printf(&b, "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"phase\":\"%s\"", p->uid,
                    phase(p));
    text_member(&b, "reason", p->final_reason);
    text_member(&b, "message", p->final_message);
    neap_buf_printf(&b,
                    ",\"hostIP\":\"%s\",\"hostIPs\":[{\"$patch\":\"replace\"},{\"ip\":\"%s\"}],",
                    n->address, n->address);
    time_member(&b, "startTime", p->started_ns);
    const char *ip = p->has_address ? p->address.addresses[0] : p->host_network ? n->address : NULL;
    if (ip && p->sm.state != POD_NEW && p->sm.state != POD_FETCHING)
        neap_buf_printf(
            &b, ",\"podIP\":\"%s\",\"podIPs\":[{\"$patch\":\"replace\"},{\"ip\":\"%s\"}]", ip, ip);
    conditions(p, root, &b);
    for (enum list l = INIT; l <= EPHEMERAL; l++)
        container_statuses(p, l, &b);
    yyjson_val *generation = neap_json_val_at(root, "metadata.generation");
    if (generation)
        neap_buf_printf(&b, ",\"observedGeneration\":%lld", (long long)yyjson_get_sint(generation));
    neap_buf_str(&b, "}}");
    yyjson_doc_free(doc);
    return neap_buf_take(&b);
}

/* ---- writing ---- */

struct status_write {
    struct neap_request request;
    struct pod *pod;
    char *body;
    bool deletion, final;
};

static void send_status(struct pod *p);

static bool over(const struct pod *p)
{
    return p->sm.state == POD_OVER;
}

static void delete_object(struct pod *p);

static void write_free(struct status_write *w)
{
    free(w->body);
    free(w);
}

static void on_ask_again(void *arg)
{
    struct pod *p = arg;
    p->status_timer = neap_timer_close(p->status_timer);
    status_changed(p);
    pod_step(p);
}

/* Nothing is written before. */
static void ask_later(struct pod *p, uint64_t first_ms)
{
    p->status_backoff_ms = p->status_backoff_ms ? p->status_backoff_ms * 2 : first_ms;
    if (p->status_backoff_ms > STATUS_RETRY_MAX_MS)
        p->status_backoff_ms = STATUS_RETRY_MAX_MS;
    if (!p->status_timer)
        p->status_timer = neap_timer_new(p->node->options.loop, on_ask_again, p);
    neap_timer_start(p->status_timer, p->status_backoff_ms, 0);
}

static void answered(struct neap_request *r, const struct neap_reply *reply)
{
    struct status_write *w = r->data;
    struct pod *p = w->pod;
    bool gone = w->deletion && (reply->code == NEAP_ENOTFOUND || reply->code == NEAP_ECONFLICT);
    p->sending = NULL;
    if (reply->code == 0 && !w->deletion) {
        free(p->sent_status);
        p->sent_status = w->body;
        w->body = NULL;
        p->final_sent = p->final_sent || w->final;
        p->status_backoff_ms = 0;
    } else if (reply->code && !gone) {
        p->status_dirty = true;
        NEAP_WARN("agent", "status not accepted", "pod=%s err=%s", p->key,
                  neap_log_quote(reply->err ? reply->err->message : ""));
    }
    p->forgotten = p->forgotten || gone;
    p->absent = p->absent || reply->code == NEAP_ENOTFOUND;
    bool failed = reply->code && !gone, deletion = w->deletion;
    write_free(w);
    if (failed)
        ask_later(p, STATUS_RETRY_MS);
    else if (deletion && !gone)
        ask_later(p, STATUS_RETRY_MAX_MS); /* it goes when its finalizers do: the watch tells */
    if (failed && !p->forgotten && !(p->absent && p->sm.state == POD_STOPPING))
        return;
    if (deletion || p->forgotten || p->sm.state == POD_STOPPING)
        pod_step(p); /* the watch tells that it is gone; a stopping pod waits for its status */
    else
        status_changed(p);
}

static struct status_write *write_new(struct pod *p, enum neap_verb verb)
{
    struct status_write *w = neap_calloc(1, sizeof(*w));
    w->pod = p;
    neap_request_init(&w->request);
    w->request.verb = verb;
    w->request.kind = neap_kind_by_resource("", "v1", "pods");
    w->request.namespace_ = p->ns;
    w->request.name = p->name;
    w->request.done = answered;
    w->request.data = w;
    p->sending = w;
    return w;
}

static void delete_object(struct pod *p)
{
    struct status_write *w = write_new(p, NEAP_DELETE);
    w->deletion = true;
    w->request.options.grace_period_s = 0;
    w->request.options.precondition_uid = p->uid;
    node_request(p->node, &w->request);
}

static void send_status(struct pod *p)
{
    char *body = make(p);
    p->status_dirty = false;
    if (neap_streq(body, p->sent_status)) {
        free(body);
        if (over(p))
            p->final_sent = true;
        return;
    }
    struct status_write *w = write_new(p, NEAP_PATCH);
    w->body = body;
    w->final = over(p);
    w->request.subresource = "status";
    w->request.patch_type = NEAP_PATCH_T_STRATEGIC;
    w->request.body = body;
    w->request.body_len = strlen(body);
    node_request(p->node, &w->request);
}

static yyjson_val *ready_of(yyjson_doc *doc)
{
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(neap_json_val_at(yyjson_doc_get_root(doc), "status.conditions"), i, n, c)
    {
        if (neap_streq(yyjson_get_str(yyjson_obj_get(c, "type")), "Ready"))
            return yyjson_obj_get(c, "status");
    }
    return NULL;
}

/* While this node was not heard of, the node controller said of its pods that they are not ready: what was sent counts
 * no more. */
void status_seen(struct pod *p)
{
    if (!p->sent_status || p->sending || p->settled)
        return;
    yyjson_doc *there = neap_object_parse(p->object, NULL),
               *sent = yyjson_read(p->sent_status, strlen(p->sent_status), 0);
    bool differs = neap_streq(yyjson_get_str(ready_of(there)), "False") &&
                   neap_streq(yyjson_get_str(ready_of(sent)), "True");
    yyjson_doc_free(there);
    yyjson_doc_free(sent);
    if (!differs)
        return;
    free(p->sent_status);
    p->sent_status = NULL;
    status_changed(p);
}

static void on_hold_end(void *arg)
{
    struct pod *p = arg;
    for (unsigned i = 0; i < p->count; i++)
        p->containers[i].replacing = false; /* it takes longer: that is told */
    status_changed(p);
}

/* A container that is being replaced by another of a changed spec is not told as ended while it may be back at once:
 * who follows the pod sees the new one. (The kubelet looks only each second.) */
static bool is_held(struct pod *p)
{
    bool held = false;
    for (unsigned i = 0; i < p->count; i++) {
        const struct container *c = &p->containers[i];
        held = held || (c->replacing && c->state != CONTAINER_RUNNING && !c->waiting_message);
    }
    if (!held || p->deleting || p->final_phase)
        return false;
    if (!p->hold_timer) {
        p->hold_timer = neap_timer_new(p->node->options.loop, on_hold_end, p);
        neap_timer_start(p->hold_timer, REPLACE_HOLD_MS, 0);
    }
    return true;
}

void status_changed(struct pod *p)
{
    if (p->forgotten || p->node->stopping || is_held(p))
        return;
    p->hold_timer = neap_timer_close(p->hold_timer);
    if (p->sending || p->status_timer) {
        p->status_dirty = true;
        return;
    }
    if (!p->settled)
        send_status(p);
    if (!p->sending && over(p) && p->deleting && p->final_sent)
        delete_object(p);
}

void status_free(struct pod *p)
{
    if (p->sending)
        write_free(p->sending);
    free(p->sent_status);
}

bool status_settled(struct pod *p)
{
    if (p->forgotten || p->absent || p->node->stopping)
        return true;
    char *body = p->sending ? NULL : make(p);
    bool same = body && neap_streq(body, p->sent_status);
    free(body);
    return same;
}

bool pod_is_ready(const struct pod *p)
{
    return containers_ready(p);
}
