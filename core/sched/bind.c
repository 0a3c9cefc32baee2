/* Decisions leave: a binding, the condition and the event that say why not, an eviction. */
#include "sched_internal.h"

struct decision {
    struct neap_request request;
    struct neap_sched *sched;
    char *key, *uid, *body, *ns, *name;
    bool binding, event_update;
};

static void free_decision(struct decision *d)
{
    free(d->key);
    free(d->uid);
    free(d->body);
    free(d->ns);
    free(d->name);
    free(d);
}

/* The next failure makes a new event. */
static void forget_event(struct neap_sched *s, const char *key)
{
    struct neap_sched_pod *p = neap_map_get(&s->pods, key);
    if (p) {
        free(p->event_name);
        p->event_name = NULL;
    }
}

static void answered(struct neap_request *r, const struct neap_reply *reply)
{
    struct decision *d = r->data;
    struct neap_sched *s = d->sched;
    if (reply->code && reply->code != NEAP_ENOTFOUND)
        NEAP_WARN("scheduler", d->binding ? "binding refused" : "write refused", "pod=%s err=%s",
                  d->key, neap_log_quote(reply->err ? reply->err->message : ""));
    if (reply->code && d->event_update)
        forget_event(s, d->key);
    s->requests--;
    if (d->binding)
        sched_bound(s, d->key, d->uid, reply->code == 0);
    free_decision(d);
    sched_wake(s);
}

static struct decision *decide(struct neap_sched *s, const struct neap_sched_pod *p,
                               enum neap_verb verb, const char *resource, const char *subresource,
                               char *body)
{
    struct decision *d = neap_calloc(1, sizeof(*d));
    bool pod = strcmp(resource, "pods") == 0;
    d->sched = s;
    d->key = neap_strdup(neap_object_key(p->object));
    d->uid = neap_strdup(neap_object_uid(p->object));
    d->ns = neap_strdup(neap_object_namespace(p->object));
    d->name = pod ? neap_strdup(neap_object_name(p->object)) : NULL;
    d->body = body;
    neap_request_init(&d->request);
    d->request.verb = verb;
    d->request.kind = neap_kind_by_resource("", "v1", resource);
    d->request.namespace_ = d->ns;
    d->request.name = d->name;
    d->request.subresource = subresource;
    d->request.body = body;
    d->request.body_len = body ? strlen(body) : 0;
    d->request.patch_type = verb == NEAP_PATCH ? NEAP_PATCH_T_STRATEGIC : NEAP_PATCH_T_NONE;
    d->request.loop = s->options.loop;
    d->request.done = answered;
    d->request.data = d;
    s->requests++;
    return d;
}

static void send(struct neap_sched *s, struct decision *d)
{
    s->options.client->request(s->options.client, &d->request);
}

static void quote(struct neap_buf *b, const char *s)
{
    neap_buf_json_string(b, s, strlen(s));
}

/* ---- events ---- */

static void tell_again(struct neap_sched *s, struct neap_sched_pod *p)
{
    char now[32];
    neap_time_format_micro(neap_clock_wall(s->options.clock), now);
    char *body = neap_asprintf("{\"series\":{\"count\":%u,\"lastObservedTime\":\"%s\"}}",
                               ++p->told_count, now);
    struct decision *d = decide(s, p, NEAP_PATCH, "events", NULL, body);
    d->name = neap_strdup(p->event_name);
    d->request.name = d->name;
    d->event_update = true;
    send(s, d);
}

static char *event_name(struct neap_sched *s, const struct neap_sched_pod *p)
{
    char suffix[24];
    neap_rand_suffix(s->options.rand, suffix, 16);
    return neap_asprintf("%.230s.%s", neap_object_name(p->object), suffix);
}

static void tell_as(struct neap_sched *s, const struct neap_sched_pod *p, const char *event,
                    const char *type, const char *reason, const char *action, const char *message)
{
    struct neap_buf b = NEAP_BUF_INIT;
    char now[32];
    const char *ns = neap_object_namespace(p->object), *me = s->options.scheduler_name;
    neap_time_format_micro(neap_clock_wall(s->options.clock), now);
    neap_buf_printf(&b,
                    "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},\"involvedObject\":{"
                    "\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"namespace\":\"%s\",\"name\":\"%s\","
                    "\"uid\":\"%s\",\"resourceVersion\":\"%llu\"},\"reason\":\"%s\","
                    "\"action\":\"%s\",\"message\":",
                    event, ns, ns, neap_object_name(p->object), neap_object_uid(p->object),
                    (unsigned long long)neap_object_revision(p->object), reason, action);
    quote(&b, message);
    neap_buf_printf(
        &b,
        ",\"type\":\"%s\",\"eventTime\":\"%s\",\"firstTimestamp\":null,"
        "\"lastTimestamp\":null,\"source\":{\"component\":\"%s\"},\"reportingComponent\":\"%s\","
        "\"reportingInstance\":\"%s\"}",
        type, now, me, me, me);
    send(s, decide(s, p, NEAP_CREATE, "events", NULL, neap_buf_take(&b)));
}

void sched_tell(struct neap_sched *s, struct neap_sched_pod *p, const char *type,
                const char *reason, const char *action, const char *message)
{
    NEAP_CLEANUP_FREE char *name = event_name(s, p);
    tell_as(s, p, name, type, reason, action, message);
}

/* The same text again counts on in the same event. */
static void tell_failure(struct neap_sched *s, struct neap_sched_pod *p, const char *message)
{
    if (p->event_name && neap_streq(p->told, message)) {
        tell_again(s, p);
        return;
    }
    free(p->event_name);
    free(p->told);
    p->event_name = event_name(s, p);
    p->told = neap_strdup(message);
    p->told_count = 1;
    tell_as(s, p, p->event_name, "Warning", "FailedScheduling", "Scheduling", message);
}

/* ---- the condition ---- */

static yyjson_val *condition(const struct neap_sched_pod *p)
{
    yyjson_val *root = yyjson_doc_get_root(p->doc), *c;
    size_t i, n;
    yyjson_arr_foreach(neap_json_val_at(root, "status.conditions"), i, n, c)
    {
        if (yyjson_equals_str(yyjson_obj_get(c, "type"), "PodScheduled"))
            return c;
    }
    return NULL;
}

static bool condition_is(yyjson_val *c, const char *field, const char *text)
{
    return yyjson_equals_str(yyjson_obj_get(c, field), text);
}

void sched_tell_unschedulable(struct neap_sched *s, struct neap_sched_pod *p, const char *reason,
                              const char *message)
{
    struct neap_buf b = NEAP_BUF_INIT;
    char now[32];
    const char *nominated = p->nominated_name ? p->nominated_name : "";
    const char *shown =
        neap_json_val_str_at(yyjson_doc_get_root(p->doc), "status.nominatedNodeName");
    yyjson_val *c = condition(p);
    bool was_false = condition_is(c, "status", "False");
    if (strcmp(reason, "SchedulingGated") != 0)
        tell_failure(s, p, message);
    if (was_false && condition_is(c, "reason", reason) && condition_is(c, "message", message) &&
        strcmp(shown ? shown : "", nominated) == 0)
        return;
    const char *since = yyjson_get_str(yyjson_obj_get(c, "lastTransitionTime"));
    if (was_false && since) /* it says when the status changed, not the text */
        snprintf(now, sizeof(now), "%s", since);
    else
        neap_time_format(neap_clock_wall(s->options.clock), now);
    neap_buf_printf(&b,
                    "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"nominatedNodeName\":%s%s%s,"
                    "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\","
                    "\"reason\":\"%s\",\"lastProbeTime\":null,\"lastTransitionTime\":\"%s\","
                    "\"message\":",
                    neap_object_uid(p->object), *nominated ? "\"" : "",
                    *nominated ? nominated : "null", *nominated ? "\"" : "", reason, now);
    quote(&b, message);
    if (neap_object_generation(p->object) > 0)
        neap_buf_printf(&b, ",\"observedGeneration\":%lld",
                        (long long)neap_object_generation(p->object));
    neap_buf_str(&b, "}]}}");
    send(s, decide(s, p, NEAP_PATCH, "pods", "status", neap_buf_take(&b)));
}

void sched_clear_nomination(struct neap_sched *s, struct neap_sched_pod *p)
{
    sched_nominate(s, p, NULL);
    char *body = neap_asprintf("{\"metadata\":{\"uid\":\"%s\"},"
                               "\"status\":{\"nominatedNodeName\":null}}",
                               neap_object_uid(p->object));
    send(s, decide(s, p, NEAP_PATCH, "pods", "status", body));
}

/* ---- bindings ---- */

void sched_bind(struct neap_sched *s, struct neap_sched_pod *p)
{
    char *body = neap_asprintf(
        "{\"kind\":\"Binding\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\"},"
        "\"target\":{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"name\":\"%s\"}}",
        neap_object_name(p->object), neap_object_uid(p->object), p->node_name);
    sched_state(s, p, SCHED_BINDING);
    struct decision *d = decide(s, p, NEAP_CREATE, "pods", "binding", body);
    d->binding = true;
    send(s, d);
}

static void measure(struct neap_sched *s, const struct neap_sched_pod *p)
{
    char attempts[16];
    int64_t took = neap_clock_mono(s->options.clock) - p->queued_ns;
    snprintf(attempts, sizeof(attempts), "%u", p->attempts < 16 ? p->attempts : 16);
    neap_metric_observe(&sched_metrics[SCHED_M_TRIES], p->attempts);
    neap_metric_observe(&sched_metrics[SCHED_M_SLI_SECONDS], (double)took / 1e9, attempts);
}

/* The answer to a binding. Its watch event may have come before: then the pod is bound already. */
void sched_bound(struct neap_sched *s, const char *key, const char *uid, bool ok)
{
    char message[800];
    struct neap_sched_pod *p = neap_map_get(&s->pods, key);
    if (!p || strcmp(neap_object_uid(p->object), uid) != 0)
        return;
    if (ok && p->node_name) {
        snprintf(message, sizeof(message), "Successfully assigned %s/%s to %s",
                 neap_object_namespace(p->object), neap_object_name(p->object), p->node_name);
        sched_tell(s, p, "Normal", "Scheduled", "Binding", message);
        measure(s, p);
        sched_post_bind(s, p);
    }
    if (p->state != SCHED_BINDING)
        return;
    if (ok) {
        sched_state(s, p, SCHED_BOUND);
        return;
    }
    sched_unreserve(s, p);
    sched_uncount(s, p);
    p->refused_by = 0;
    p->since_ns = neap_clock_mono(s->options.clock);
    if (neap_object_deleting(p->object))
        sched_state(s, p, SCHED_IDLE);
    else
        sched_enqueue(s, p, "ScheduleAttemptFailure");
    sched_event(s, NEAP_SCHED_ON_POD_DELETE, NULL, p);
}

/* ---- evictions ---- */

void sched_evict(struct neap_sched *s, struct neap_sched_pod *victim,
                 const struct neap_sched_pod *preemptor)
{
    char now[32], message[800];
    neap_time_format(neap_clock_wall(s->options.clock), now);
    char *body = neap_asprintf(
        "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\","
        "\"status\":\"True\",\"reason\":\"PreemptionByScheduler\",\"lastTransitionTime\":\"%s\","
        "\"message\":\"%s: preempting to accommodate a higher priority pod\"}]}}",
        neap_object_uid(victim->object), now, s->options.scheduler_name);
    send(s, decide(s, victim, NEAP_PATCH, "pods", "status", body));
    struct decision *d = decide(s, victim, NEAP_DELETE, "pods", NULL, NULL);
    d->request.options.precondition_uid = d->uid;
    send(s, d);
    snprintf(message, sizeof(message), "Preempted by pod %s on node %s",
             neap_object_uid(preemptor->object), victim->node_name);
    sched_tell(s, victim, "Normal", "Preempted", "Preempting", message);
}
