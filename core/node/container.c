/* A container: image, create, start; its end, and when it is started again. */
#include "action.h"
#include "kubelet.h"

#include <signal.h>

enum {
    BACKOFF_FIRST_MS = 10000,
    BACKOFF_LAST_MS = 300000,
    BACKOFF_RESET_S = 600,
    MESSAGE_MAX = 4096,
    LOG_TAIL_MAX = 2048,
    LOG_TAIL_FILE_MAX = 64 << 10,
    PULL_TOLD_MS = 1000, /* a pull's failure is told this long, then that it is tried again */
    HOOK_MS = 3600000,   /* a postStart hook has no limit of its own */
    CONFIG_RETRY_MS = 10000,
    KILL_AGAIN_MS = 10000
};

static int64_t now_ms(const struct container *c)
{
    return neap_clock_mono(c->pod->node->options.clock) / 1000000;
}

static void replace(char **at, const char *text)
{
    char *copy = text ? neap_strdup(text) : NULL;
    free(*at);
    *at = copy;
}

static void wait_for(struct container *c, const char *reason, const char *message)
{
    c->waiting_reason = reason;
    replace(&c->waiting_message, message);
}

static void field_path(const struct container *c, char out[320])
{
    snprintf(out, 320, "spec.%s{%s}",
             c->init        ? "initContainers"
             : c->ephemeral ? "ephemeralContainers"
                            : "containers",
             c->name);
}

void container_event(struct container *c, const char *type, const char *reason, const char *message)
{
    char field[320];
    field_path(c, field);
    node_event(c->pod, type, reason, field, message);
}

/* ---- when ---- */

static const char *policy(const struct container *c)
{
    const char *own = yyjson_get_str(yyjson_obj_get(c->spec, "restartPolicy"));
    const char *pods = yyjson_get_str(yyjson_obj_get(c->pod->spec, "restartPolicy"));
    return own ? own : pods ? pods : "Always";
}

bool container_wants_restart(const struct container *c)
{
    if (c->ephemeral)
        return false;
    if (c->changed)
        return true;
    const char *p = policy(c);
    bool well = c->exit_code == 0 && !c->signal;
    if (strcmp(p, "Always") == 0)
        return !c->init || c->sidecar || !well;
    return strcmp(p, "OnFailure") == 0 && !well;
}

static void on_timer(void *arg)
{
    struct container *c = arg;
    c->timer = neap_timer_close(c->timer);
    pod_step(c->pod);
}

static void wake_in(struct container *c, uint64_t ms)
{
    if (!c->timer)
        c->timer = neap_timer_new(c->pod->node->options.loop, on_timer, c);
    neap_timer_start(c->timer, ms, 0);
}

static void retry_in(struct container *c, uint64_t ms)
{
    c->retry_at_ms = now_ms(c) + (int64_t)ms;
    wake_in(c, ms);
}

/* <ms>: the last time; longer now. */
static void back_off_longer(struct container *c, uint64_t *ms)
{
    *ms = *ms ? *ms * 2 : BACKOFF_FIRST_MS;
    if (*ms > BACKOFF_LAST_MS)
        *ms = BACKOFF_LAST_MS;
    retry_in(c, *ms);
}

static void back_off(struct container *c)
{
    back_off_longer(c, &c->backoff_ms);
}

static const char *image_of(const struct container *c)
{
    const char *s = yyjson_get_str(yyjson_obj_get(c->spec, "image"));
    return s ? s : "";
}

/* As kubelet: ErrImagePull after an attempt, ImagePullBackOff while the next one is waited for. */
static void tell_pull_back_off(struct container *c)
{
    if (!neap_streq(c->waiting_reason, "ErrImagePull"))
        return;
    if (now_ms(c) < c->pull_told_ms) {
        if (!c->timer) /* it was a moment early */
            wake_in(c, (uint64_t)(c->pull_told_ms - now_ms(c)));
        return;
    }
    char *text = neap_asprintf("Back-off pulling image \"%s\"", image_of(c));
    char *whole =
        neap_asprintf("%s: ErrImagePull: %s", text, c->waiting_message ? c->waiting_message : "");
    container_event(c, "Normal", "BackOff", text);
    container_event(c, "Warning", "Failed", "Error: ImagePullBackOff");
    wait_for(c, "ImagePullBackOff", whole);
    free(text);
    free(whole);
    wake_in(c, (uint64_t)(c->retry_at_ms - now_ms(c)));
    status_changed(c->pod);
}

void container_step(struct container *c)
{
    if (c->pod->deleting || c->state == CONTAINER_STARTING || c->state == CONTAINER_RUNNING)
        return;
    if (c->state == CONTAINER_EXITED && !container_wants_restart(c))
        return;
    if (c->retry_at_ms > now_ms(c)) {
        tell_pull_back_off(c);
        if (!c->timer)
            wake_in(c, (uint64_t)(c->retry_at_ms - now_ms(c)));
        return;
    }
    if (c->unread) { /* pod_fetched() comes here again */
        c->unread = false;
        refs_fetch(c->pod);
        if (c->pod->fetching || c->state != CONTAINER_NONE)
            return;
    }
    if (c->state == CONTAINER_EXITED) {
        c->attempt++;
        c->restarts++;
    }
    container_start(c);
}

/* ---- starting ---- */

/* <retry_ms> 0: ever more slowly. */
static void failed(struct container *c, const char *reason, const char *message, uint64_t retry_ms)
{
    NEAP_CLEANUP_FREE char *text = neap_asprintf("Error: %s", message ? message : reason);
    c->state = CONTAINER_NONE;
    wait_for(c, reason, message);
    container_event(c, "Warning", "Failed", text);
    if (retry_ms)
        retry_in(c, retry_ms);
    else
        back_off(c);
    status_changed(c->pod);
    pod_step(c->pod);
}

/* The pod has begun to end meanwhile: nothing is started for it any more. */
static bool given_up(struct container *c)
{
    if (!pod_ending(c->pod))
        return false;
    c->state = CONTAINER_NONE;
    wait_for(c, container_waits_as(c), NULL);
    pod_step(c->pod);
    return true;
}

static void post_started(void *arg, bool ok, const char *why)
{
    struct container *c = arg;
    char text[700];
    c->hook = NULL;
    if (ok) {
        probes_start(c);
        pod_step(c->pod);
        return;
    }
    snprintf(text, sizeof(text), "PostStartHook failed: %s", why);
    container_event(c, "Warning", "FailedPostStartHook", text);
    container_restart(c, "FailedPostStartHook", -1);
}

static void started(struct neap_op *op, int code, const char *message)
{
    struct container *c = op->data;
    char text[320];
    if (code) {
        char *copy = neap_strdup(message ? message : neap_err_name(code));
        failed(c, "RunContainerError", copy, 0);
        free(copy);
        return;
    }
    c->state = CONTAINER_RUNNING;
    c->started_ns = node_wall(c->pod->node);
    c->killing = c->replacing = false;
    wait_for(c, NULL, NULL);
    snprintf(text, sizeof(text), "Container started");
    container_event(c, "Normal", "Started", text);
    yyjson_val *hook = neap_json_val_at(c->spec, "lifecycle.postStart");
    if (hook)
        c->hook = action_start(c, hook, HOOK_MS, post_started, c);
    else
        probes_start(c);
    container_changed(c); /* it may be over already */
    pod_step(c->pod);     /* a pod that is stopping terminates it */
}

static void created(struct neap_op *op, int code, const char *message)
{
    struct container *c = op->data;
    struct neap_node *n = c->pod->node;
    c->op_arena = neap_arena_free(c->op_arena);
    if (code) {
        char *copy = neap_strdup(message ? message : neap_err_name(code));
        if (code == NEAP_EFORBIDDEN) /* what the pod says of itself rules it out */
            failed(c, "CreateContainerConfigError", copy, CONFIG_RETRY_MS);
        else
            failed(c, "CreateContainerError", copy, 0);
        free(copy);
        return;
    }
    if (given_up(c))
        return;
    container_event(c, "Normal", "Created", "Container created");
    c->op = (struct neap_op){.data = c, .done = started};
    n->options.runtime->container_start(n->runtime, c->id, &c->op);
}

static void create(struct container *c)
{
    struct neap_node *n = c->pod->node;
    struct neap_arena *arena = neap_arena_new(0);
    struct neap_err err = NEAP_ERR_INIT;
    free(c->id);
    c->id = neap_asprintf("%s_%s_%u", c->pod->uid, c->name, c->attempt);
    struct neap_runtime_container_config *config = container_config(c, arena, &err);
    if (!config) {
        c->unread = true;
        failed(c, "CreateContainerConfigError", err.message, CONFIG_RETRY_MS);
        neap_err_done(&err);
    } else {
        c->op = (struct neap_op){.data = c, .done = created};
        c->op_arena = arena;
        resources_in_force(c);
        n->options.runtime->container_create(n->runtime, config, &c->op);
        return;
    }
    neap_arena_free(arena);
}

static bool have_image(struct container *c)
{
    struct neap_node *n = c->pod->node;
    const struct neap_runtime_image *image;
    if (n->options.runtime->image_status(n->runtime, image_of(c), &image))
        return false;
    replace(&c->image_id, image->id);
    replace(&c->image_name, image->names && image->names[0] ? image->names[0] : image_of(c));
    return true;
}

static void pull_failed(struct container *c, const char *why)
{
    char *text = neap_asprintf("Failed to pull image \"%s\": %s", image_of(c), why);
    container_event(c, "Warning", "Failed", text);
    container_event(c, "Warning", "Failed", "Error: ErrImagePull");
    free(text);
    c->state = CONTAINER_NONE;
    wait_for(c, "ErrImagePull", why);
    back_off_longer(c, &c->pull_backoff_ms);
    c->pull_told_ms = now_ms(c) + PULL_TOLD_MS;
    wake_in(c, PULL_TOLD_MS);
    status_changed(c->pod);
    pod_step(c->pod);
}

static void pulled(struct neap_op *op, int code, const char *message)
{
    struct container *c = op->data;
    struct neap_node *n = c->pod->node;
    const struct neap_runtime_image *image;
    c->pulling = false;
    if (given_up(c))
        return;
    if (code || !have_image(c)) {
        char *why = neap_strdup(message ? message : code ? neap_err_name(code) : "not found");
        pull_failed(c, why);
        free(why);
        return;
    }
    double took = (double)(now_ms(c) - c->pull_began_ms) / 1000;
    bool known = n->options.runtime->image_status(n->runtime, image_of(c), &image) == 0;
    char *text =
        neap_asprintf("Successfully pulled image \"%s\" in %.3fs (%.3fs including waiting). "
                      "Image size: %lld bytes.",
                      image_of(c), took, took, known ? (long long)image->size : 0LL);
    container_event(c, "Normal", "Pulled", text);
    free(text);
    c->pull_backoff_ms = 0;
    create(c);
}

/* What ran before becomes the last state. */
static void keep_last(struct container *c)
{
    if (c->state != CONTAINER_EXITED)
        return;
    c->has_last = true;
    c->last_started_ns = c->started_ns;
    c->last_finished_ns = c->finished_ns;
    c->last_exit_code = c->exit_code;
    replace(&c->last_reason, c->exit_reason);
    replace(&c->last_message, c->exit_message);
    replace(&c->last_id, c->id);
}

/* Source: the kubelet's status: in a pod with init containers all wait for the pod. */
const char *container_waits_as(const struct container *c)
{
    bool pod = yyjson_arr_size(yyjson_obj_get(c->pod->spec, "initContainers")) > 0;
    return pod && !c->ephemeral ? "PodInitializing" : "ContainerCreating";
}

void container_start(struct container *c)
{
    struct neap_node *n = c->pod->node;
    const char *pull = yyjson_get_str(yyjson_obj_get(c->spec, "imagePullPolicy"));
    char text[600];
    keep_last(c);
    c->changed = false;
    c->state = CONTAINER_STARTING;
    c->ready = false;
    c->startup_done = !yyjson_obj_get(c->spec, "startupProbe");
    wait_for(c, container_waits_as(c), NULL);
    bool always = neap_streq(pull, "Always");
    if (have_image(c) && !always) {
        snprintf(text, sizeof(text), "Container image \"%s\" already present on machine",
                 image_of(c));
        container_event(c, "Normal", "Pulled", text);
        create(c);
        return;
    }
    if (neap_streq(pull, "Never")) {
        snprintf(text, sizeof(text),
                 "Container image \"%s\" is not present with pull policy of Never", image_of(c));
        failed(c, "ErrImageNeverPull", text, 0);
        return;
    }
    snprintf(text, sizeof(text), "Pulling image \"%s\"", image_of(c));
    container_event(c, "Normal", "Pulling", text);
    c->pull_began_ms = now_ms(c);
    c->op = (struct neap_op){.data = c, .done = pulled};
    c->pulling = true;
    n->options.runtime->image_pull(n->runtime, image_of(c), NULL, &c->op);
}

/* ---- the end ---- */

/* The texts of the last records of a CRI log, as many as fit. */
static char *log_tail(const char *path)
{
    struct neap_buf b = NEAP_BUF_INIT;
    char *text = file_tail(path, LOG_TAIL_FILE_MAX), *save = NULL;
    if (!text)
        return NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *p = line; /* "time stream tag text" */
        for (int i = 0; i < 3 && p; i++)
            p = (p = strchr(p, ' ')) ? p + 1 : NULL;
        if (p)
            neap_buf_printf(&b, "%s%s", b.len ? "\n" : "", p);
    }
    free(text);
    char *all = neap_buf_take(&b);
    if (!all || strlen(all) <= LOG_TAIL_MAX)
        return all;
    char *cut = neap_strdup(all + strlen(all) - LOG_TAIL_MAX);
    free(all);
    return cut;
}

static void message_from_log(struct container *c, struct neap_arena *arena)
{
    char *tail = log_tail(
        neap_arena_printf(arena, "%s/%s/%u.log", pod_log_dir(c->pod, arena), c->name, c->restarts));
    if (tail && *tail)
        replace(&c->exit_message, tail);
    free(tail);
}

/* /dev/termination-log, or with FallbackToLogsOnError the last of the log. */
static void read_message(struct container *c)
{
    struct neap_arena *arena = neap_arena_new(0);
    const char *path = termination_path(c, arena);
    char *text = path ? file_tail(path, MESSAGE_MAX) : NULL;
    if (text && *text)
        replace(&c->exit_message, text);
    else if (c->exit_code && yyjson_equals_str(yyjson_obj_get(c->spec, "terminationMessagePolicy"),
                                               "FallbackToLogsOnError"))
        message_from_log(c, arena);
    free(text);
    neap_arena_free(arena);
}

/* "1m20s", as Go writes it */
static const char *duration(uint64_t ms, char out[24])
{
    unsigned s = (unsigned)(ms / 1000);
    if (s >= 60)
        snprintf(out, 24, "%um%us", s / 60, s % 60);
    else
        snprintf(out, 24, "%us", s);
    return out;
}

static void crash_loop(struct container *c)
{
    const struct pod *p = c->pod;
    back_off(c);
    NEAP_CLEANUP_FREE char *why =
        neap_asprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
                      duration(c->backoff_ms, (char[24]){0}), c->name, p->name, p->ns, p->uid);
    NEAP_CLEANUP_FREE char *text =
        neap_asprintf("Back-off restarting failed container %s in pod %s_%s(%s)", c->name, p->name,
                      p->ns, p->uid);
    wait_for(c, "CrashLoopBackOff", why);
    container_event(c, "Warning", "BackOff", text);
}

static void ended(struct container *c, const struct neap_runtime_container_status *s)
{
    bool long_run =
        s->finished_wall_ns - s->started_wall_ns > (int64_t)BACKOFF_RESET_S * 1000000000;
    c->state = CONTAINER_EXITED;
    c->started_ns = s->started_wall_ns;
    c->finished_ns = s->finished_wall_ns;
    c->exit_code = s->exit_code;
    c->signal = s->signal;
    c->oom_killed = s->oom_killed;
    c->ready = c->terminating = false;
    c->kill_timer = neap_timer_close(c->kill_timer);
    action_cancel(c->hook);
    c->hook = NULL;
    replace(&c->exit_reason, s->reason ? s->reason : s->exit_code ? "Error" : "Completed");
    replace(&c->exit_message, s->message);
    read_message(c);
    probes_stop(c);
    if (long_run)
        c->backoff_ms = 0;
    if (!c->pod->deleting && !c->pod->final_phase && container_wants_restart(c)) {
        if (c->changed) {
            c->retry_at_ms = 0; /* it is to end: no fault of its own */
        } else if (!c->backoff_ms) {
            c->retry_at_ms = 0; /* the first time at once, and after a long run */
            c->backoff_ms = BACKOFF_FIRST_MS / 2;
        } else {
            crash_loop(c);
        }
    }
}

void container_changed(struct container *c)
{
    struct neap_node *n = c->pod->node;
    struct neap_runtime_container_status s;
    if (!c->id || c->state != CONTAINER_RUNNING ||
        n->options.runtime->container_status(n->runtime, c->id, &s))
        return;
    if (s.state != NEAP_RUNTIME_EXITED && s.state != NEAP_RUNTIME_UNKNOWN)
        return;
    ended(c, &s);
    kubelet_logs_poke(n);
    status_changed(c->pod);
    pod_step(c->pod);
}

void container_adopt(struct container *c, unsigned attempt)
{
    struct neap_node *n = c->pod->node;
    struct neap_runtime_container_status s;
    char *id = neap_asprintf("%s_%s_%u", c->pod->uid, c->name, attempt);
    if (n->options.runtime->container_status(n->runtime, id, &s)) {
        free(id);
        return;
    }
    free(c->id);
    c->id = id;
    c->attempt = attempt;
    if (c->restarts < attempt)
        c->restarts = attempt;
    have_image(c);
    if (s.state == NEAP_RUNTIME_RUNNING) {
        c->state = CONTAINER_RUNNING;
        c->started_ns = s.started_wall_ns;
        c->startup_done = c->was_started || !yyjson_obj_get(c->spec, "startupProbe");
        wait_for(c, NULL, NULL);
        probes_start(c);
        c->ready = c->ready || (c->was_ready && c->startup_done); /* until its probe says more */
    } else if (s.state == NEAP_RUNTIME_CREATED) {
        c->attempt++; /* never started: made anew */
    } else {
        ended(c, &s);
    }
}

static void signalled(struct neap_op *op, int code, const char *message)
{
    (void)code;
    (void)message;
    free(op);
}

void container_signal(struct container *c, int signum)
{
    struct neap_node *n = c->pod->node;
    struct neap_op *op = neap_calloc(1, sizeof(*op));
    op->done = signalled;
    n->options.runtime->container_signal(n->runtime, c->id, signum, op);
}

static void pre_stopped(void *arg, bool ok, const char *why)
{
    struct container *c = arg;
    char text[700];
    c->hook = NULL;
    snprintf(text, sizeof(text), "PreStopHook failed: %s", why);
    if (!ok)
        container_event(c, "Warning", "FailedPreStopHook", text);
    if (c->state == CONTAINER_RUNNING)
        container_signal(c, SIGTERM);
}

void container_terminate(struct container *c, int64_t grace_s)
{
    yyjson_val *hook = neap_json_val_at(c->spec, "lifecycle.preStop");
    if (c->terminating)
        return;
    c->terminating = true;
    action_cancel(c->hook);
    c->hook = hook && grace_s > 0 ? action_start(c, hook, (int)seconds_ms(grace_s), pre_stopped, c)
                                  : NULL;
    if (!c->hook)
        container_signal(c, SIGTERM);
}

static void on_kill(void *arg)
{
    struct container *c = arg;
    if (c->state == CONTAINER_RUNNING)
        container_signal(c, SIGKILL);
    neap_timer_start(c->kill_timer, KILL_AGAIN_MS, 0); /* should it be lost */
}

void container_restart(struct container *c, const char *why, int64_t grace_s)
{
    int64_t seconds = grace_s >= 0 ? grace_s : pod_own_grace(c->pod);
    if (c->state != CONTAINER_RUNNING || c->killing)
        return;
    c->killing = true;
    container_event(c, "Normal", "Killing", why);
    container_terminate(c, seconds);
    neap_timer_close(c->kill_timer);
    c->kill_timer = neap_timer_new(c->pod->node->options.loop, on_kill, c);
    neap_timer_start(c->kill_timer, (uint64_t)seconds_ms(seconds > 0 ? seconds : 1), 0);
}

void container_again(struct container *c)
{
    if (!c->init || c->sidecar || c->state != CONTAINER_EXITED)
        return;
    keep_last(c);
    c->state = CONTAINER_NONE;
    c->attempt++;
    c->restarts++;
    c->retry_at_ms = 0;
    wait_for(c, container_waits_as(c), NULL);
}

void container_free(struct container *c)
{
    probes_stop(c);
    action_cancel(c->hook);
    resources_free(c);
    neap_timer_close(c->timer);
    neap_timer_close(c->kill_timer);
    neap_arena_free(c->op_arena);
    free(c->id);
    free(c->image_id);
    free(c->image_name);
    free(c->waiting_message);
    free(c->exit_reason);
    free(c->exit_message);
    free(c->last_reason);
    free(c->last_message);
    free(c->last_id);
}
