/* A pod's life as a checked table of states, driven by events: pod_step() looks at everything and does what is
 * next; one operation of the pod is under way at a time. */
#include "node_internal.h"

enum {
    RETRY_MS = 1000, /* of a step that failed; doubled each time */
    RETRY_FETCH_MAX_MS = 8000,
};

const struct neap_sm_state pod_states[] = {
    [POD_NEW] = {"new",
                 NEAP_SM_TO(POD_FETCHING) | NEAP_SM_TO(POD_RUNNING) | NEAP_SM_TO(POD_OVER) |
                     NEAP_SM_TO(POD_CLEANING),
                 true, false},
    [POD_FETCHING] = {"fetching",
                      NEAP_SM_TO(POD_FETCHING) | NEAP_SM_TO(POD_SANDBOX) | NEAP_SM_TO(POD_CLEANING),
                      false, false},
    [POD_SANDBOX] = {"sandbox",
                     NEAP_SM_TO(POD_FETCHING) | NEAP_SM_TO(POD_SANDBOX) | NEAP_SM_TO(POD_NETWORK) |
                         NEAP_SM_TO(POD_CLEANING),
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

void pod_retry_later(struct pod *p, uint64_t max_ms)
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

void pod_retry_done(struct pod *p)
{
    p->backoff_ms = 0;
    p->retry_at_ms = 0;
}

void pod_set_failure(struct pod *p, const char *text)
{
    free(p->failure);
    p->failure = text ? neap_strdup(text) : NULL;
}

/* ---- what the API says ---- */

/* Whoever says that it is over (an eviction, the collector of lost pods) is obeyed, as by the kubelet. */
static void heed_phase(struct pod *p, const char *phase)
{
    if (pod_ending(p) || (!neap_streq(phase, "Failed") && !neap_streq(phase, "Succeeded")))
        return;
    p->final_phase = neap_streq(phase, "Failed") ? "Failed" : "Succeeded";
}

void pod_update(struct pod *p, struct neap_object *o)
{
    struct neap_object *old = p->object;
    p->object = neap_object_ref(o);
    neap_object_unref(old);
    pod_respec(p);
    status_seen(p);
    yyjson_doc *doc = neap_object_parse(o, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    int64_t grace = yyjson_get_sint(neap_json_val_at(root, "metadata.deletionGracePeriodSeconds"));
    heed_phase(p, neap_json_val_str_at(root, "status.phase"));
    yyjson_doc_free(doc);
    if (neap_object_deleting(o))
        pod_stop(p, grace);
    else
        pod_step(p);
}

static void free_posted(void *arg)
{
    pod_free(arg);
}

static void drop(struct pod *p)
{
    struct neap_node *n = p->node;
    bool pulling = false;
    for (unsigned i = 0; i < p->count; i++)
        pulling = pulling || p->containers[i].pulling;
    if (p->dropped || p->sending || p->fetching || p->resize || pulling)
        return; /* its answer comes here again */
    p->dropped = true;
    struct neap_arena *arena = neap_arena_new(0);
    trees_remove_pod(n, p->uid, pod_log_dir(p, arena));
    neap_arena_free(arena);
    neap_map_del(&n->pods, p->uid);
    resize_others(n);
    neap_loop_post(n->options.loop, free_posted, p);
}

/* The object is gone: deleted by us, or by force: what runs is killed all the same. */
void pod_forget(struct pod *p)
{
    p->forgotten = true;
    pod_stop(p, 0);
}

/* When it would end by itself, its own grace has begun: a deletion only shortens it. */
static bool sooner(const struct pod *p, int64_t deadline)
{
    bool begun = p->deleting || (p->grace_timer && !p->killed);
    return !begun || deadline < p->stop_deadline_ms;
}

void pod_stop(struct pod *p, int64_t grace_s)
{
    int64_t now = neap_clock_mono(p->node->options.clock) / 1000000;
    int64_t deadline = now + seconds_ms(grace_s);
    if (sooner(p, deadline)) {
        p->stop_deadline_ms = deadline;
        p->grace_s = grace_s;
        if (p->grace_timer && !p->killed)
            neap_timer_start(p->grace_timer, grace_s > 0 ? (uint64_t)seconds_ms(grace_s) : 1, 0);
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
    pod_set_failure(p, code ? (message ? message : neap_err_name(code)) : NULL);
    if (code) {
        NEAP_WARN("agent", "a step of a pod failed", "pod=%s state=%s err=%s", p->key,
                  neap_sm_name(&p->sm), neap_log_quote(p->failure));
        if (p->sm.state == POD_SANDBOX || p->sm.state == POD_NETWORK)
            node_event(p, "Warning", "FailedCreatePodSandBox", NULL, p->failure);
        pod_retry_later(p, POD_RETRY_MAX_MS);
        status_changed(p);
        if (pod_ending(p))
            pod_step(p);
        return;
    }
    pod_retry_done(p);
    if (p->sm.state == POD_SANDBOX)
        neap_sm_move(&p->sm, POD_NETWORK);
    else if (p->sm.state == POD_NETWORK) {
        p->has_address = !p->host_network && p->node->options.network;
        neap_sm_move(&p->sm, POD_RUNNING);
        host_ports_changed(p);
    }
    pod_step(p);
}

static void fetch_failed(struct pod *p)
{
    pod_set_failure(p, p->fetch_error);
    node_event(p, "Warning", "FailedMount", NULL, p->fetch_error);
    pod_retry_later(p, RETRY_FETCH_MAX_MS);
    status_changed(p);
}

static void run_sandbox(struct pod *p)
{
    struct neap_err err = NEAP_ERR_INIT;
    const struct neap_node_options *o = &p->node->options;
    if (volumes_write(p, &err)) {
        /* what it is made of may be changed in the API: read again */
        free(p->fetch_error);
        p->fetch_error = neap_strdup(err.message);
        neap_err_done(&err);
        neap_sm_move(&p->sm, POD_FETCHING);
        fetch_failed(p);
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
    if (n->options.runtime->sandbox_status(n->runtime, p->uid, &s) || !s.ready) {
        p->renewing = true; /* it was lost before it had an address */
        neap_sm_move(&p->sm, POD_CLEANING);
        pod_clean(p);
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

/* ---- running ---- */

static void renew(struct pod *p);

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
    if (!v || pod_ending(p))
        return;
    int64_t left = p->started_ns + yyjson_get_sint(v) * 1000000000 - node_wall(p->node);
    if (left <= 0)
        pod_finish(p, "Failed", "DeadlineExceeded",
                   "Pod was active on the node longer than the specified deadline");
    else
        neap_timer_start(p->deadline_timer, (uint64_t)(left / 1000000) + 1, 0);
}

void pod_fetched(struct pod *p)
{
    if (p->forgotten && p->sm.state == POD_OVER) {
        over(p);
        return;
    }
    if (p->fetch_error && p->sm.state == POD_FETCHING) {
        fetch_failed(p);
        return;
    }
    pod_retry_done(p);
    p->unread = false;
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
    if (p->unread)
        refs_fetch(p);
    if (p->renewing && !pod_ending(p)) {
        renew(p);
        return;
    }
    if (!pod_ending(p) && !p->unread && init_done(p)) {
        for (unsigned i = 0; i < p->count; i++)
            if (!p->containers[i].init)
                container_step(&p->containers[i]);
        check_finished(p);
    }
    resize_step(p);
    status_changed(p);
    if (p->sm.state == POD_RUNNING && pod_ending(p)) {
        neap_sm_move(&p->sm, POD_STOPPING);
        pod_step(p);
    }
}

/* A shim that died took its containers with it: the pod gets a new sandbox and address, its containers start
 * again as their policy says. Source: the kubelet's computePodActions (a changed sandbox). */
void pod_sandbox_changed(struct pod *p)
{
    struct neap_node *n = p->node;
    struct neap_runtime_sandbox_status s;
    bool lost = n->options.runtime->sandbox_status(n->runtime, p->uid, &s) != 0 || !s.ready;
    bool made = p->sm.state == POD_RUNNING || p->sm.state == POD_NETWORK;
    if (lost && made && !p->renewing && !pod_ending(p)) {
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
    for (unsigned i = 0; i < p->count && !p->final_phase; i++)
        container_again(&p->containers[i]);
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

bool pod_ending(const struct pod *p)
{
    return p->deleting || p->final_phase;
}

void pod_step(struct pod *p)
{
    if (p->sm.state != POD_STOPPING && p->sm.state != POD_CLEANING && p->sm.state != POD_OVER)
        check_deadline(p);
    if (busy(p))
        return;
    bool ending = pod_ending(p);
    bool failing = p->sm.state == POD_CLEANING ||
                   (!ending && (p->sm.state == POD_FETCHING || p->sm.state == POD_SANDBOX ||
                                p->sm.state == POD_NETWORK));
    if (failing && held_back(p))
        return;
    switch (p->sm.state) {
    case POD_NEW:
        if (ending && p->has_sandbox) {
            neap_sm_move(&p->sm, POD_CLEANING);
            pod_clean(p);
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
            pod_clean(p);
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
            pod_clean(p);
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
        pod_stopping(p);
        break;
    case POD_CLEANING:
        pod_clean(p);
        break;
    default:
        over(p);
    }
}
