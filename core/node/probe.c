/* Probes: when they run and what follows. What they do: action.c.
 * Source: Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes". */
#include "action.h"

static const char *const names[] = {"startupProbe", "livenessProbe", "readinessProbe"};
static const char *const words[] = {"Startup", "Liveness", "Readiness"};

static int64_t number(struct probe *b, const char *name, int64_t dflt)
{
    yyjson_val *v = yyjson_obj_get(b->spec, name);
    return v ? yyjson_get_sint(v) : dflt;
}

/* ---- results ---- */

static void schedule(struct probe *b, uint64_t ms)
{
    if (!b->stopped && b->timer)
        neap_timer_start(b->timer, ms, 0);
}

static void passed(struct probe *b)
{
    struct container *c = b->container;
    b->failures = 0;
    if (++b->successes < (unsigned)number(b, "successThreshold", 1))
        return;
    if (b->type == PROBE_STARTUP && !c->startup_done) {
        c->startup_done = true;
        b->stopped = true;
        for (int t = PROBE_LIVENESS; t < PROBE_TYPES; t++)
            if (c->probes[t].timer)
                schedule(&c->probes[t],
                         (uint64_t)seconds_ms(number(&c->probes[t], "initialDelaySeconds", 0)));
        c->ready = !c->probes[PROBE_READINESS].timer;
    } else if (b->type == PROBE_READINESS) {
        c->ready = true;
    }
    pod_step(c->pod);
}

static void failed(struct probe *b, const char *why)
{
    struct container *c = b->container;
    char text[700];
    b->successes = 0;
    snprintf(text, sizeof(text), "%s probe failed: %s", words[b->type], why);
    container_event(c, "Warning", "Unhealthy", text);
    if (++b->failures < (unsigned)number(b, "failureThreshold", 3))
        return;
    if (b->type == PROBE_READINESS) {
        c->ready = false;
        pod_step(c->pod);
        return;
    }
    snprintf(text, sizeof(text), "Container %s failed %s probe, will be restarted", c->name,
             b->type == PROBE_STARTUP ? "startup" : "liveness");
    b->failures = 0;
    container_restart(c, text, number(b, "terminationGracePeriodSeconds", -1));
}

static void over(void *arg, bool ok, const char *why)
{
    struct probe *b = arg;
    b->action = NULL;
    if (ok)
        passed(b);
    else
        failed(b, why);
    schedule(b, (uint64_t)seconds_ms(number(b, "periodSeconds", 10)));
}

/* ---- life ---- */

static void on_timer(void *arg)
{
    struct probe *b = arg;
    struct container *c = b->container;
    if (b->stopped || b->action || c->state != CONTAINER_RUNNING)
        return;
    if (b->type != PROBE_STARTUP && !c->startup_done)
        return; /* begins when the startup probe is through */
    b->action = action_start(c, b->spec, (int)seconds_ms(number(b, "timeoutSeconds", 1)), over, b);
}

void probes_start(struct container *c)
{
    probes_stop(c);
    for (int t = 0; t < PROBE_TYPES; t++) {
        struct probe *b = &c->probes[t];
        *b = (struct probe){
            .container = c, .type = (enum probe_type)t, .spec = yyjson_obj_get(c->spec, names[t])};
        if (!b->spec)
            continue;
        b->timer = neap_timer_new(c->pod->node->options.loop, on_timer, b);
        if (t == PROBE_STARTUP || c->startup_done)
            schedule(b, (uint64_t)seconds_ms(number(b, "initialDelaySeconds", 0)));
    }
    c->ready = c->startup_done && !c->probes[PROBE_READINESS].spec;
}

void probes_stop(struct container *c)
{
    for (int t = 0; t < PROBE_TYPES; t++) {
        struct probe *b = &c->probes[t];
        b->stopped = true;
        b->timer = neap_timer_close(b->timer);
        action_cancel(b->action);
        b->action = NULL;
    }
}

void probes_respec(struct container *c)
{
    for (int t = 0; t < PROBE_TYPES; t++)
        c->probes[t].spec = yyjson_obj_get(c->spec, names[t]);
}
