/* The end of a pod: its containers are stopped in order, then address, sandbox and files go. */
#include "node_internal.h"

#include <signal.h>

enum { FORCE_KILL_MS = 10000, SECONDS_MAX = 2000000 /* 23 days; in milliseconds it fits an int */ };

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

int64_t seconds_ms(int64_t seconds)
{
    return (seconds < 0 ? 0 : seconds > SECONDS_MAX ? SECONDS_MAX : seconds) * 1000;
}

int64_t pod_own_grace(const struct pod *p)
{
    yyjson_val *v = yyjson_obj_get(p->spec, "terminationGracePeriodSeconds");
    return v ? yyjson_get_sint(v) : 30;
}

static void terminate(struct container *c)
{
    struct pod *p = c->pod;
    char text[300];
    int64_t left = p->stop_deadline_ms - neap_clock_mono(p->node->options.clock) / 1000000;
    if (c->state != CONTAINER_RUNNING || c->terminating)
        return;
    snprintf(text, sizeof(text), "Stopping container %s", c->name);
    container_event(c, "Normal", "Killing", text);
    container_terminate(c, left > 0 ? (left + 999) / 1000 : 0);
}

static void begin_stop(struct pod *p)
{
    int64_t now = neap_clock_mono(p->node->options.clock) / 1000000;
    if (!p->deleting)
        p->stop_deadline_ms = now + seconds_ms(pod_own_grace(p));
    int64_t left = p->stop_deadline_ms - now;
    p->grace_timer = neap_timer_new(p->node->options.loop, on_grace, p);
    neap_timer_start(p->grace_timer, left > 0 ? (uint64_t)left : 1, 0);
    for (unsigned i = 0; i < p->count; i++)
        probes_stop(&p->containers[i]);
}

static bool alive(const struct container *c)
{
    return c->state == CONTAINER_RUNNING || (c->state == CONTAINER_STARTING && !c->pulling);
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

void pod_stopping(struct pod *p)
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
        pod_set_failure(p, message ? message : neap_err_name(code));
        NEAP_WARN("agent", "cleaning a pod failed", "pod=%s err=%s", p->key,
                  neap_log_quote(p->failure));
        pod_retry_later(p, POD_RETRY_MAX_MS);
        return;
    }
    pod_retry_done(p);
    if (step + 1 < CLEAN_DONE) {
        clean_step(p, step + 1);
        return;
    }
    if (p->renewing && !pod_ending(p)) {
        p->renewing = p->has_address = false;
        neap_sm_move(&p->sm, POD_SANDBOX);
    } else {
        neap_sm_move(&p->sm, POD_OVER);
    }
    pod_step(p);
}

void pod_clean(struct pod *p)
{
    clean_step(p, CLEAN_DETACH);
}
