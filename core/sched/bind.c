/* Decisions leave: a binding, or the condition and the event that say why not. */
#include "sched_internal.h"

struct decision {
    struct neap_request request;
    struct neap_sched *sched;
    char *key, *body, *ns, *name;
    bool binding;
};

static void free_decision(struct decision *d)
{
    free(d->key);
    free(d->body);
    free(d->ns);
    free(d->name);
    free(d);
}

static void answered(struct neap_request *r, const struct neap_reply *reply)
{
    struct decision *d = r->data;
    struct neap_sched *s = d->sched;
    if (reply->code && reply->code != NEAP_ENOTFOUND)
        NEAP_WARN("scheduler", d->binding ? "binding refused" : "status not written", "pod=%s err=%s",
                  d->key, neap_log_quote(reply->err ? reply->err->message : ""));
    if (d->binding)
        sched_bound(s, d->key, reply->code == 0);
    s->binding--;
    free_decision(d);
    sched_wake(s);
}

static struct decision *decide(struct neap_sched *s, const struct sched_pod *p, enum neap_verb verb,
                               const char *kind, const char *subresource, char *body)
{
    struct decision *d = neap_calloc(1, sizeof(*d));
    d->sched = s;
    d->key = neap_strdup(neap_object_key(p->object));
    d->ns = neap_strdup(neap_object_namespace(p->object));
    d->name = neap_strdup(neap_object_name(p->object));
    d->body = body;
    neap_request_init(&d->request);
    d->request.verb = verb;
    d->request.kind = neap_kind_by_resource("", "v1", kind);
    d->request.namespace_ = d->ns;
    d->request.name = strcmp(kind, "pods") == 0 ? d->name : NULL;
    d->request.subresource = subresource;
    d->request.body = body;
    d->request.body_len = strlen(body);
    d->request.patch_type = verb == NEAP_PATCH ? NEAP_PATCH_T_STRATEGIC : NEAP_PATCH_T_NONE;
    d->request.loop = s->options.loop;
    d->request.done = answered;
    d->request.data = d;
    s->binding++;
    return d;
}

static void quote(struct neap_buf *b, const char *s)
{
    neap_buf_json_string(b, s, strlen(s));
}

static void tell(struct neap_sched *s, const struct sched_pod *p, const char *type,
                 const char *reason, const char *message)
{
    struct neap_buf b = NEAP_BUF_INIT;
    char now[32], suffix[16];
    const char *ns = neap_object_namespace(p->object), *name = neap_object_name(p->object);
    neap_time_format(neap_clock_wall(s->options.clock), now);
    neap_rand_suffix(s->options.rand, suffix, 12);
    neap_buf_printf(&b,
                    "{\"metadata\":{\"name\":\"%.200s.%s\",\"namespace\":\"%s\"},\"involvedObject\":{"
                    "\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"namespace\":\"%s\",\"name\":\"%s\","
                    "\"uid\":\"%s\"},\"reason\":\"%s\",\"message\":",
                    name, suffix, ns, ns, name, neap_object_uid(p->object), reason);
    quote(&b, message);
    neap_buf_printf(&b,
                    ",\"type\":\"%s\",\"count\":1,\"firstTimestamp\":\"%s\",\"lastTimestamp\":\"%s\","
                    "\"source\":{\"component\":\"%s\"},\"reportingComponent\":\"%s\"}",
                    type, now, now, s->options.scheduler_name, s->options.scheduler_name);
    struct decision *d = decide(s, p, NEAP_CREATE, "events", NULL, neap_buf_take(&b));
    s->options.client->request(s->options.client, &d->request);
}

void sched_bind(struct neap_sched *s, struct sched_pod *p, const char *node)
{
    char message[700];
    char *body = neap_asprintf("{\"kind\":\"Binding\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\","
                               "\"uid\":\"%s\"},\"target\":{\"kind\":\"Node\",\"apiVersion\":\"v1\","
                               "\"name\":\"%s\"}}",
                               neap_object_name(p->object), neap_object_uid(p->object), node);
    struct decision *d = decide(s, p, NEAP_CREATE, "pods", "binding", body);
    d->binding = true;
    s->options.client->request(s->options.client, &d->request);
    snprintf(message, sizeof(message), "Successfully assigned %s/%s to %s",
             neap_object_namespace(p->object), neap_object_name(p->object), node);
    tell(s, p, "Normal", "Scheduled", message);
}

void sched_tell_unschedulable(struct neap_sched *s, struct sched_pod *p, const char *message)
{
    struct neap_buf b = NEAP_BUF_INIT;
    char now[32];
    yyjson_val *root = yyjson_doc_get_root(p->doc), *c;
    size_t i, n;
    yyjson_arr_foreach(neap_json_val_at(root, "status.conditions"), i, n, c)
    {
        if (yyjson_equals_str(yyjson_obj_get(c, "type"), "PodScheduled") &&
            yyjson_equals_str(yyjson_obj_get(c, "message"), message))
            return; /* said already */
    }
    neap_time_format(neap_clock_wall(s->options.clock), now);
    neap_buf_printf(&b,
                    "{\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\","
                    "\"reason\":\"Unschedulable\",\"lastTransitionTime\":\"%s\",\"message\":",
                    now);
    quote(&b, message);
    neap_buf_str(&b, "}]}}");
    struct decision *d = decide(s, p, NEAP_PATCH, "pods", "status", neap_buf_take(&b));
    s->options.client->request(s->options.client, &d->request);
    tell(s, p, "Warning", "FailedScheduling", message);
}
