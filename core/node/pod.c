/* A pod's life as a checked table of states, driven by events: pod_step() looks at everything and does what is
 * next; one operation of the pod is under way at a time. */
#include "node_internal.h"

enum {
    EPHEMERAL_MAX = 16,
    RETRY_MS = 1000, /* of a step that failed; doubled each time */
    RETRY_FETCH_MAX_MS = 8000,
    RETRY_MAX_MS = 30000,
    FORCE_KILL_MS = 10000
};

static const struct neap_sm_state states[] = {
    [POD_NEW] = {"new",
                 NEAP_SM_TO(POD_FETCHING) | NEAP_SM_TO(POD_RUNNING) | NEAP_SM_TO(POD_OVER) |
                     NEAP_SM_TO(POD_CLEANING),
                 true, false},
    [POD_FETCHING] = {"fetching",
                      NEAP_SM_TO(POD_FETCHING) | NEAP_SM_TO(POD_SANDBOX) | NEAP_SM_TO(POD_CLEANING),
                      false, false},
    [POD_SANDBOX] = {"sandbox",
                     NEAP_SM_TO(POD_SANDBOX) | NEAP_SM_TO(POD_NETWORK) | NEAP_SM_TO(POD_CLEANING),
                     false, false},
    [POD_NETWORK] = {"network",
                     NEAP_SM_TO(POD_NETWORK) | NEAP_SM_TO(POD_RUNNING) | NEAP_SM_TO(POD_CLEANING),
                     false, false},
    [POD_RUNNING] = {"running", NEAP_SM_TO(POD_STOPPING) | NEAP_SM_TO(POD_CLEANING), false, false},
    [POD_STOPPING] = {"stopping", NEAP_SM_TO(POD_CLEANING), false, false},
    [POD_CLEANING] = {"cleaning", NEAP_SM_TO(POD_OVER) | NEAP_SM_TO(POD_SANDBOX), false, false},
    [POD_OVER] = {"over", 0, false, true},
};

static void over(struct pod *p);

static void later(struct pod *p, uint64_t ms)
{
    neap_timer_start(p->timer, ms, 0);
}

static void retry_later(struct pod *p, uint64_t max_ms)
{
    p->backoff_ms = p->backoff_ms ? p->backoff_ms * 2 : RETRY_MS;
    if (p->backoff_ms > max_ms)
        p->backoff_ms = max_ms;
    p->retry_at_ms = neap_loop_now_ms(p->node->options.loop) + (int64_t)p->backoff_ms;
    later(p, p->backoff_ms);
}

/* True: what failed is not due yet, whoever asks (its own status coming back does). */
static bool held_back(struct pod *p)
{
    int64_t left = p->retry_at_ms - neap_loop_now_ms(p->node->options.loop);
    if (left > 0)
        later(p, (uint64_t)left);
    return left > 0;
}

static void retry_done(struct pod *p)
{
    p->backoff_ms = 0;
    p->retry_at_ms = 0;
}

static void on_timer(void *arg)
{
    pod_step(arg);
}

static void set_failure(struct pod *p, const char *text)
{
    free(p->failure);
    p->failure = text ? neap_strdup(text) : NULL;
}

/* ---- making and reading ---- */

static const char *const container_lists[] = {"initContainers", "containers",
                                              "ephemeralContainers"};

static void add_container(struct pod *p, yyjson_val *spec, size_t list)
{
    struct container *x = &p->containers[p->count++];
    x->pod = p;
    x->spec = spec;
    x->name = yyjson_get_str(yyjson_obj_get(spec, "name"));
    x->init = list == 0;
    x->ephemeral = list == 2;
    x->sidecar = x->init && yyjson_equals_str(yyjson_obj_get(spec, "restartPolicy"), "Always");
    resources_allocate(x, yyjson_obj_get(spec, "resources")); /* the scheduler saw to the room */
    x->waiting_reason = container_waits_as(x);
}

/* Containers do not move: room for ephemeral ones that come later is taken now. */
static void read_containers(struct pod *p)
{
    size_t i, n, total = EPHEMERAL_MAX;
    yyjson_val *c;
    for (size_t l = 0; l < NEAP_ARRAY_LEN(container_lists); l++)
        total += yyjson_arr_size(yyjson_obj_get(p->spec, container_lists[l]));
    p->containers = neap_calloc(total, sizeof(*p->containers));
    p->room = (unsigned)total;
    for (size_t l = 0; l < NEAP_ARRAY_LEN(container_lists); l++) {
        yyjson_arr_foreach(yyjson_obj_get(p->spec, container_lists[l]), i, n, c)
        {
            add_container(p, c, l);
        }
    }
}

static struct container *container_named(struct pod *p, const char *name)
{
    for (unsigned i = 0; i < p->count; i++)
        if (neap_streq(p->containers[i].name, name))
            return &p->containers[i];
    return NULL;
}

/* What may change of a running pod: images, the deadline, tolerations, ephemeral containers more. */
static void respec_container(struct pod *p, yyjson_val *spec, size_t list)
{
    struct container *c = container_named(p, yyjson_get_str(yyjson_obj_get(spec, "name")));
    if (!c) {
        if (list == 2 && p->count < p->room)
            add_container(p, spec, list);
        return;
    }
    bool other = !yyjson_equals(yyjson_obj_get(c->spec, "image"), yyjson_obj_get(spec, "image"));
    c->spec = spec;
    c->name = yyjson_get_str(yyjson_obj_get(spec, "name"));
    probes_respec(c);
    if (other && !c->init && !c->ephemeral && c->state == CONTAINER_RUNNING) {
        char text[320];
        snprintf(text, sizeof(text), "Container %s definition changed, will be restarted", c->name);
        c->changed = c->replacing = true;
        container_restart(c, text);
    }
}

static void respec(struct pod *p)
{
    yyjson_doc *old = p->doc, *doc = neap_object_parse(p->object, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc), *c;
    int64_t generation = yyjson_get_sint(neap_json_val_at(root, "metadata.generation"));
    size_t i, n;
    if (generation == p->generation) {
        yyjson_doc_free(doc);
        return;
    }
    p->generation = generation;
    p->doc = doc;
    p->spec = yyjson_obj_get(root, "spec");
    p->meta = yyjson_obj_get(root, "metadata");
    for (size_t l = 0; l < NEAP_ARRAY_LEN(container_lists); l++) {
        yyjson_arr_foreach(yyjson_obj_get(p->spec, container_lists[l]), i, n, c)
        {
            respec_container(p, c, l);
        }
    }
    yyjson_doc_free(old);
}

/* Restart counts and the last runs survive in the API's status. */
static void read_status(struct pod *p, yyjson_val *root)
{
    static const char *const lists[] = {"status.initContainerStatuses", "status.containerStatuses"};
    for (int l = 0; l < 2; l++) {
        size_t i, n;
        yyjson_val *s;
        yyjson_arr_foreach(neap_json_val_at(root, lists[l]), i, n, s)
        {
            const char *name = yyjson_get_str(yyjson_obj_get(s, "name"));
            for (unsigned k = 0; k < p->count; k++)
                if (neap_streq(p->containers[k].name, name)) {
                    p->containers[k].restarts = p->containers[k].attempt =
                        (unsigned)yyjson_get_uint(yyjson_obj_get(s, "restartCount"));
                    resources_restore(&p->containers[k], s);
                }
        }
    }
    const char *start = neap_json_val_str_at(root, "status.startTime");
    if (start)
        neap_time_parse(start, strlen(start), &p->started_ns);
}

struct adoption {
    struct pod *pod;
    bool sandbox, ready;
};

static void adopt_sandbox(void *arg, const struct neap_runtime_sandbox_status *s)
{
    struct adoption *a = arg;
    if (strcmp(s->id, a->pod->uid) == 0) {
        a->sandbox = true;
        a->ready = s->ready;
    }
}

static void adopt_container(void *arg, const struct neap_runtime_container_status *s)
{
    struct adoption *a = arg;
    struct pod *p = a->pod;
    const char *last = strrchr(s->id, '_');
    if (strcmp(s->sandbox_id, p->uid) != 0 || !last)
        return;
    size_t at = strlen(p->uid) + 1;
    for (unsigned i = 0; i < p->count; i++) {
        struct container *c = &p->containers[i];
        size_t n = strlen(c->name);
        if ((size_t)(last - s->id) == at + n && strncmp(s->id + at, c->name, n) == 0) {
            unsigned attempt = (unsigned)strtoul(last + 1, NULL, 10);
            if (!c->id || attempt >= c->attempt)
                container_adopt(c, attempt);
        }
    }
}

/* What still runs from before a restart of the agent is taken over as it is. */
static bool adopt(struct pod *p)
{
    struct neap_node *n = p->node;
    struct adoption a = {.pod = p};
    n->options.runtime->list(n->runtime, adopt_sandbox, adopt_container, &a);
    p->has_sandbox = a.sandbox;
    if (!a.sandbox)
        return false;
    p->renewing = !a.ready;
    p->has_address = n->options.network && !p->host_network &&
                     n->options.network->status(n->network, p->uid, &p->address) == 0;
    return p->has_address || p->host_network || p->renewing || !n->options.network;
}

struct pod *pod_new(struct neap_node *n, struct neap_object *o)
{
    struct pod *p = neap_calloc(1, sizeof(*p));
    p->node = n;
    neap_list_init(&p->asked);
    p->ns = neap_strdup(neap_object_namespace(o));
    p->name = neap_strdup(neap_object_name(o));
    p->uid = neap_strdup(neap_object_uid(o));
    p->key = neap_asprintf("%s/%s", p->ns, p->name);
    p->object = neap_object_ref(o);
    p->doc = neap_object_parse(o, NULL);
    yyjson_val *root = yyjson_doc_get_root(p->doc);
    p->spec = yyjson_obj_get(root, "spec");
    p->meta = yyjson_obj_get(root, "metadata");
    p->host_network = yyjson_get_bool(yyjson_obj_get(p->spec, "hostNetwork"));
    p->timer = neap_timer_new(n->options.loop, on_timer, p);
    p->generation = yyjson_get_sint(neap_json_val_at(root, "metadata.generation"));
    read_containers(p);
    read_status(p, root);
    neap_sm_init(&p->sm, "pod", p->key, states, NEAP_ARRAY_LEN(states), POD_NEW, NULL);
    const char *phase = neap_json_val_str_at(root, "status.phase");
    bool over = neap_streq(phase, "Succeeded") || neap_streq(phase, "Failed");
    if (over) {
        p->final_phase = neap_streq(phase, "Failed") ? "Failed" : "Succeeded";
        p->final_sent = p->settled = true;
    }
    if (adopt(p) && !over) {
        refs_fetch(p);
        neap_sm_move(&p->sm, POD_RUNNING);
    }
    if (!p->started_ns)
        p->started_ns = node_wall(n);
    return p;
}

void pod_free(struct pod *p)
{
    for (unsigned i = 0; i < p->count; i++)
        container_free(&p->containers[i]);
    free(p->containers);
    neap_arena_free(p->op_arena);
    refs_free(p);
    resize_free(p);
    events_free(p);
    neap_timer_close(p->timer);
    neap_timer_close(p->grace_timer);
    neap_timer_close(p->refresh_timer);
    neap_timer_close(p->hold_timer);
    neap_object_unref(p->object);
    yyjson_doc_free(p->doc);
    free(p->key);
    free(p->uid);
    free(p->ns);
    free(p->name);
    free(p->failure);
    free(p->fetch_error);
    status_free(p);
    free(p->final_reason);
    free(p->final_message);
    free(p);
}

/* ---- what the API says ---- */

void pod_update(struct pod *p, struct neap_object *o)
{
    struct neap_object *old = p->object;
    p->object = neap_object_ref(o);
    neap_object_unref(old);
    respec(p);
    status_seen(p);
    if (neap_object_deleting(o)) {
        yyjson_doc *doc = neap_object_parse(o, NULL);
        int64_t grace = yyjson_get_sint(
            neap_json_val_at(yyjson_doc_get_root(doc), "metadata.deletionGracePeriodSeconds"));
        yyjson_doc_free(doc);
        pod_stop(p, grace);
    }
    pod_step(p);
}

static void free_posted(void *arg)
{
    pod_free(arg);
}

static void drop(struct pod *p)
{
    struct neap_node *n = p->node;
    if (p->dropped || p->sending || p->fetching || p->resize)
        return; /* its answer comes here again */
    p->dropped = true;
    volumes_remove(p);
    neap_map_del(&n->pods, p->uid);
    resize_others(n);
    neap_loop_post(n->options.loop, free_posted, p);
}

/* The object is gone: deleted by us, or by force: what runs is killed all the same. */
void pod_forget(struct pod *p)
{
    p->forgotten = true;
    pod_stop(p, 0);
    pod_step(p);
}

void pod_stop(struct pod *p, int64_t grace_s)
{
    int64_t now = neap_clock_mono(p->node->options.clock) / 1000000;
    int64_t deadline = now + grace_s * 1000;
    if (!p->deleting || deadline < p->stop_deadline_ms) {
        p->stop_deadline_ms = deadline;
        p->grace_s = grace_s;
        if (p->grace_timer)
            neap_timer_start(p->grace_timer, grace_s > 0 ? (uint64_t)grace_s * 1000 : 1, 0);
    }
    p->deleting = true;
    pod_step(p);
}

void pod_finish(struct pod *p, const char *phase, const char *reason, const char *message)
{
    if (p->final_phase)
        return;
    p->final_phase = phase;
    p->final_reason = reason ? neap_strdup(reason) : NULL;
    p->final_message = message ? neap_strdup(message) : NULL;
}

/* ---- operations ---- */

static void op_done(struct neap_op *op, int code, const char *message);

static struct neap_op *begin(struct pod *p)
{
    p->op = (struct neap_op){.data = p, .done = op_done, .plugin = NULL};
    return &p->op;
}

static bool busy(const struct pod *p)
{
    return p->op.done != NULL;
}

static void op_done(struct neap_op *op, int code, const char *message)
{
    struct pod *p = op->data;
    p->op.done = NULL;
    p->op_arena = neap_arena_free(p->op_arena);
    set_failure(p, code ? (message ? message : neap_err_name(code)) : NULL);
    if (code) {
        NEAP_WARN("agent", "a step of a pod failed", "pod=%s state=%s err=%s", p->key,
                  neap_sm_name(&p->sm), neap_log_quote(p->failure));
        if (p->sm.state == POD_SANDBOX || p->sm.state == POD_NETWORK)
            node_event(p, "Warning", "FailedCreatePodSandBox", NULL, p->failure);
        retry_later(p, RETRY_MAX_MS);
        status_changed(p);
        return;
    }
    retry_done(p);
    if (p->sm.state == POD_SANDBOX)
        neap_sm_move(&p->sm, POD_NETWORK);
    else if (p->sm.state == POD_NETWORK) {
        p->has_address = !p->host_network && p->node->options.network;
        neap_sm_move(&p->sm, POD_RUNNING);
        host_ports_changed(p);
    }
    pod_step(p);
}

static void run_sandbox(struct pod *p)
{
    struct neap_err err = NEAP_ERR_INIT;
    const struct neap_node_options *o = &p->node->options;
    if (volumes_write(p, &err)) {
        set_failure(p, err.message);
        node_event(p, "Warning", "FailedMount", NULL, err.message);
        neap_err_done(&err);
        retry_later(p, RETRY_MAX_MS);
        return;
    }
    p->op_arena = neap_arena_new(0);
    o->runtime->sandbox_run(p->node->runtime, sandbox_config(p, p->op_arena), begin(p));
}

static void attach_network(struct pod *p)
{
    struct neap_node *n = p->node;
    struct neap_runtime_sandbox_status s;
    if (p->host_network || !n->options.network) {
        neap_sm_move(&p->sm, POD_RUNNING);
        pod_step(p);
        return;
    }
    if (n->options.runtime->sandbox_status(n->runtime, p->uid, &s)) {
        later(p, RETRY_MS);
        return;
    }
    p->op_arena = neap_arena_new(0);
    struct neap_network_pod *pod = neap_arena_calloc(p->op_arena, sizeof(*pod));
    *pod = (struct neap_network_pod){.sandbox_id = p->uid,
                                     .namespace_ = p->ns,
                                     .pod = p->name,
                                     .netns_path = neap_arena_strdup(p->op_arena, s.netns_path)};
    n->options.network->attach(n->network, pod, &p->address, begin(p));
}

static void renew(struct pod *p);

/* ---- running ---- */

static bool finished_well(const struct container *c)
{
    return c->state == CONTAINER_EXITED && c->exit_code == 0 && !c->signal;
}

/* The init containers, one after the other; true: all are past. */
static bool init_done(struct pod *p)
{
    for (unsigned i = 0; i < p->count && p->containers[i].init; i++) {
        struct container *c = &p->containers[i];
        if (c->sidecar) {
            container_step(c);
            if (c->state != CONTAINER_RUNNING || !c->startup_done)
                return false;
            continue;
        }
        if (finished_well(c))
            continue;
        if (c->state == CONTAINER_EXITED && !container_wants_restart(c)) {
            pod_finish(p, "Failed", NULL, NULL);
            return false;
        }
        container_step(c);
        return false;
    }
    return true;
}

/* All main containers have ended and none is started again: the pod is over. */
static void check_finished(struct pod *p)
{
    bool failed = false;
    for (unsigned i = 0; i < p->count; i++) {
        struct container *c = &p->containers[i];
        if (c->init || c->ephemeral)
            continue;
        if (c->state != CONTAINER_EXITED || container_wants_restart(c))
            return;
        failed = failed || !finished_well(c);
    }
    pod_finish(p, failed ? "Failed" : "Succeeded", NULL, NULL);
}

static void check_deadline(struct pod *p)
{
    yyjson_val *v = yyjson_obj_get(p->spec, "activeDeadlineSeconds");
    if (!v || p->final_phase)
        return;
    int64_t left = p->started_ns + yyjson_get_sint(v) * 1000000000 - node_wall(p->node);
    if (left <= 0)
        pod_finish(p, "Failed", "DeadlineExceeded",
                   "Pod was active on the node longer than the specified deadline");
    else
        later(p, (uint64_t)(left / 1000000) + 1);
}

void pod_fetched(struct pod *p)
{
    if (p->forgotten && p->sm.state == POD_OVER) {
        over(p);
        return;
    }
    if (p->fetch_error && p->sm.state == POD_FETCHING) {
        set_failure(p, p->fetch_error);
        node_event(p, "Warning", "FailedMount", NULL, p->fetch_error);
        status_changed(p);
        retry_later(p, RETRY_FETCH_MAX_MS);
        return;
    }
    retry_done(p);
    if (p->sm.state == POD_RUNNING) { /* refreshed: files follow */
        struct neap_err err = NEAP_ERR_INIT;
        if (volumes_write(p, &err))
            NEAP_WARN("agent", "volumes not refreshed", "pod=%s err=%s", p->key,
                      neap_log_quote(err.message));
        neap_err_done(&err);
    }
    pod_step(p);
}

static void on_refresh(void *arg)
{
    refs_fetch(arg);
}

static void running(struct pod *p)
{
    if (!p->refresh_timer) {
        p->refresh_timer = neap_timer_new(p->node->options.loop, on_refresh, p);
        neap_timer_start(p->refresh_timer, p->node->options.refresh_ms,
                         p->node->options.refresh_ms);
    }
    check_deadline(p);
    if (p->renewing && !p->deleting && !p->final_phase) {
        renew(p);
        return;
    }
    if (!p->deleting && !p->final_phase && init_done(p)) {
        for (unsigned i = 0; i < p->count; i++)
            if (!p->containers[i].init)
                container_step(&p->containers[i]);
        check_finished(p);
    }
    resize_step(p);
    status_changed(p);
    if (p->deleting || p->final_phase) {
        neap_sm_move(&p->sm, POD_STOPPING);
        pod_step(p);
    }
}

/* ---- stopping ---- */

static void on_grace(void *arg)
{
    struct pod *p = arg;
    p->killed = true;
    for (unsigned i = 0; i < p->count; i++)
        if (p->containers[i].state == CONTAINER_RUNNING)
            container_signal(&p->containers[i], SIGKILL);
    neap_timer_start(p->grace_timer, FORCE_KILL_MS, 0); /* asked again, should it be lost */
}

static int64_t own_grace(const struct pod *p)
{
    yyjson_val *v = yyjson_obj_get(p->spec, "terminationGracePeriodSeconds");
    return v ? yyjson_get_sint(v) : 30;
}

static void terminate(struct container *c)
{
    struct pod *p = c->pod;
    char text[300];
    if (c->state != CONTAINER_RUNNING || c->terminating)
        return;
    snprintf(text, sizeof(text), "Stopping container %s", c->name);
    node_event(p, "Normal", "Killing", NULL, text);
    container_terminate(c, p->deleting ? p->grace_s : own_grace(p));
}

static void begin_stop(struct pod *p)
{
    int64_t now = neap_clock_mono(p->node->options.clock) / 1000000;
    int64_t left = p->deleting ? p->stop_deadline_ms - now : own_grace(p) * 1000;
    p->grace_timer = neap_timer_new(p->node->options.loop, on_grace, p);
    neap_timer_start(p->grace_timer, left > 0 ? (uint64_t)left : 1, 0);
    for (unsigned i = 0; i < p->count; i++)
        probes_stop(&p->containers[i]);
}

static bool alive(const struct container *c)
{
    return c->state == CONTAINER_RUNNING || c->state == CONTAINER_STARTING;
}

/* Main and init containers at once; when they are gone the sidecars, the last one first. True: some live. */
static bool terminate_next(struct pod *p)
{
    bool left = false;
    for (unsigned i = 0; i < p->count; i++) {
        if (p->containers[i].sidecar)
            continue;
        terminate(&p->containers[i]);
        left = left || alive(&p->containers[i]);
    }
    for (unsigned i = p->count; i-- > 0 && !left;) {
        if (!p->containers[i].sidecar)
            continue;
        terminate(&p->containers[i]);
        left = alive(&p->containers[i]);
    }
    return left;
}

static void stopping(struct pod *p)
{
    if (!p->grace_timer)
        begin_stop(p);
    bool left = terminate_next(p);
    status_changed(p);
    /* exit codes are told before their records go: an agent that dies in between loses none */
    if (left || !status_settled(p))
        return;
    p->grace_timer = neap_timer_close(p->grace_timer);
    neap_sm_move(&p->sm, POD_CLEANING);
    pod_step(p);
}

/* ---- cleaning: address freed, sandbox stopped, sandbox removed ---- */

/* detached first: what the stop waits for needs no network any more, and the device goes with the sandbox */
enum { CLEAN_DETACH, CLEAN_STOP, CLEAN_REMOVE, CLEAN_DONE };

static void clean_next(struct neap_op *op, int code, const char *message);

static void clean_step(struct pod *p, unsigned step)
{
    struct neap_node *n = p->node;
    const struct neap_node_options *o = &n->options;
    p->op = (struct neap_op){.data = p, .done = clean_next, .plugin = NULL};
    if (step == CLEAN_DETACH && (!o->network || p->host_network))
        step = CLEAN_STOP;
    p->clean_step = step;
    if (step == CLEAN_DETACH)
        host_ports_changed(p);
    if (step == CLEAN_STOP)
        o->runtime->sandbox_stop(n->runtime, p->uid, &p->op);
    else if (step == CLEAN_DETACH)
        o->network->detach(n->network, p->uid, &p->op);
    else
        o->runtime->sandbox_remove(n->runtime, p->uid, &p->op);
}

static void clean_next(struct neap_op *op, int code, const char *message)
{
    struct pod *p = op->data;
    unsigned step = p->clean_step;
    p->op.done = NULL;
    if (code) {
        set_failure(p, message ? message : neap_err_name(code));
        NEAP_WARN("agent", "cleaning a pod failed", "pod=%s err=%s", p->key,
                  neap_log_quote(p->failure));
        retry_later(p, RETRY_MAX_MS);
        return;
    }
    retry_done(p);
    if (step + 1 < CLEAN_DONE) {
        clean_step(p, step + 1);
        return;
    }
    if (p->renewing && !p->deleting && !p->final_phase) {
        p->renewing = p->has_address = false;
        neap_sm_move(&p->sm, POD_SANDBOX);
    } else {
        neap_sm_move(&p->sm, POD_OVER);
    }
    pod_step(p);
}

/* A shim that died took its containers with it: the pod gets a new sandbox and address, its containers start
 * again as their policy says. Source: the kubelet's computePodActions (a changed sandbox). */
void pod_sandbox_changed(struct pod *p)
{
    struct neap_node *n = p->node;
    struct neap_runtime_sandbox_status s;
    bool lost = n->options.runtime->sandbox_status(n->runtime, p->uid, &s) != 0 || !s.ready;
    if (lost && p->sm.state == POD_RUNNING && !p->renewing && !p->deleting && !p->final_phase) {
        p->renewing = true;
        node_event(p, "Normal", "SandboxChanged", NULL,
                   "Pod sandbox changed, it will be killed and re-created.");
    }
    pod_step(p);
}

/* Its containers have ended already or end now; then it is cleaned. */
static void renew(struct pod *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        container_changed(&p->containers[i]);
        if (p->sm.state != POD_RUNNING)
            return; /* its end has brought us here already */
        if (p->containers[i].state == CONTAINER_RUNNING ||
            p->containers[i].state == CONTAINER_STARTING) {
            later(p, RETRY_MS);
            return;
        }
    }
    check_finished(p);
    status_changed(p);
    neap_sm_move(&p->sm, p->final_phase ? POD_STOPPING : POD_CLEANING);
    pod_step(p);
}

static void over(struct pod *p)
{
    p->refresh_timer = neap_timer_close(p->refresh_timer);
    if (p->node->stopping) {
        node_check_stopped(p->node);
        return;
    }
    status_changed(p);
    if (p->forgotten)
        drop(p);
}

void pod_step(struct pod *p)
{
    if (busy(p))
        return;
    bool ending = p->deleting || p->final_phase;
    bool failing = p->sm.state == POD_CLEANING ||
                   (!ending && (p->sm.state == POD_FETCHING || p->sm.state == POD_SANDBOX ||
                                p->sm.state == POD_NETWORK));
    if (failing && held_back(p))
        return;
    switch (p->sm.state) {
    case POD_NEW:
        if (ending && p->has_sandbox) {
            neap_sm_move(&p->sm, POD_CLEANING);
            clean_step(p, CLEAN_DETACH);
            return;
        }
        if (ending) {
            neap_sm_move(&p->sm, POD_OVER);
            over(p);
            return;
        }
        neap_sm_move(&p->sm, POD_FETCHING);
        status_changed(p);
        refs_fetch(p);
        break;
    case POD_FETCHING:
        if (ending) {
            neap_sm_move(&p->sm, POD_CLEANING);
            clean_step(p, CLEAN_DETACH);
        } else if (!p->fetching && !p->fetch_error) {
            neap_sm_move(&p->sm, POD_SANDBOX);
            run_sandbox(p);
        } else if (!p->fetching) {
            refs_fetch(p); /* its answer comes here only when all is there: see pod_fetched */
        }
        break;
    case POD_SANDBOX:
    case POD_NETWORK:
        if (ending) {
            neap_sm_move(&p->sm, POD_CLEANING);
            clean_step(p, CLEAN_DETACH);
        } else if (p->sm.state == POD_SANDBOX) {
            run_sandbox(p);
        } else {
            attach_network(p);
        }
        break;
    case POD_RUNNING:
        running(p);
        break;
    case POD_STOPPING:
        stopping(p);
        break;
    case POD_CLEANING:
        clean_step(p, CLEAN_DETACH);
        break;
    default:
        over(p);
    }
}
