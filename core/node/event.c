/* Events about pods, as client-go's correlator sends them: the same one again counts up in the one that is
 * there, and a pod that makes too many is held back. Source: client-go/tools/events, record/events_cache.go. */
#include "node_internal.h"

enum {
    REMEMBERED = 8,                 /* different events of a pod; the oldest is forgotten */
    BURST = 25,                     /* writes of a pod at once, */
    REFILL_MS = 300000,             /* then one in this time */
    REMEMBERED_MS = 45 * 60 * 1000, /* the server forgets after an hour */
};

struct event {
    struct neap_list link; /* of node->events */
    struct neap_node *node;
    struct pod_events *owner; /* NULL: forgotten while its write is under way, which frees it */
    uint64_t hash;            /* of all that makes it the same */
    char *ns, *name;
    int64_t seen_ms;
    unsigned count, sending, told; /* seen; of the write under way, 0: none; what the API has */
};

struct pod_events {
    struct event *recent[REMEMBERED]; /* the newest first; then NULL */
    unsigned spent;                   /* of BURST */
    int64_t spent_ms;                 /* when the refill of the first spent one began */
};

static void event_free(struct event *e)
{
    neap_list_remove(&e->link);
    free(e->ns);
    free(e->name);
    free(e);
}

static void forget(struct event *e)
{
    e->owner = NULL;
    if (!e->sending)
        event_free(e);
}

void events_free(struct pod *p)
{
    for (unsigned i = 0; p->events && i < REMEMBERED && p->events->recent[i]; i++)
        forget(p->events->recent[i]);
    free(p->events);
    p->events = NULL;
}

void events_free_all(struct neap_node *n)
{
    while (!neap_list_empty(&n->events))
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it sees no list_remove()
        event_free(neap_list_entry(n->events.next, struct event, link));
}

/* ---- how often ---- */

static bool may_write(struct pod_events *pe, int64_t now)
{
    if (pe->spent) {
        unsigned back = (unsigned)((now - pe->spent_ms) / REFILL_MS);
        pe->spent = back < pe->spent ? pe->spent - back : 0;
        pe->spent_ms += (int64_t)back * REFILL_MS;
    }
    if (pe->spent == BURST)
        return false;
    if (!pe->spent++)
        pe->spent_ms = now;
    return true;
}

/* ---- which one ---- */

static uint64_t hash_of(const char *type, const char *reason, const char *field,
                        const char *message)
{
    char *text = neap_asprintf("%s\n%s\n%s\n%s", type, reason, field ? field : "", message);
    uint64_t hash = neap_hash(text, strlen(text));
    free(text);
    return hash;
}

static struct event *event_new(struct pod *p, uint64_t hash)
{
    struct event *e = neap_calloc(1, sizeof(*e));
    char suffix[16];
    neap_rand_suffix(p->node->options.rand, suffix, 12);
    e->node = p->node;
    neap_list_append(&e->node->events, &e->link);
    e->owner = p->events;
    e->hash = hash;
    e->ns = neap_strdup(p->ns);
    e->name = neap_asprintf("%.200s.%s", p->name, suffix);
    return e;
}

/* The remembered one or a new one, first in the row. */
static struct event *remember(struct pod *p, uint64_t hash, int64_t now)
{
    struct event **recent = p->events->recent, *e = NULL;
    unsigned i = 0;
    while (i < REMEMBERED - 1 && recent[i] && recent[i]->hash != hash)
        i++;
    if (recent[i] && recent[i]->hash == hash && now - recent[i]->seen_ms < REMEMBERED_MS)
        e = recent[i];
    else if (recent[i])
        forget(recent[i]);
    memmove(recent + 1, recent, i * sizeof(struct event *));
    recent[0] = e ? e : event_new(p, hash);
    recent[0]->seen_ms = now;
    return recent[0];
}

/* ---- writing ---- */

static void tell_again(struct event *e);

static void told(void *arg, const struct neap_reply *reply)
{
    struct event *e = arg;
    unsigned sent = e->sending;
    e->sending = 0;
    if (!e->owner) {
        event_free(e);
        return;
    }
    if (reply->code == 0)
        e->told = sent;
    else if (reply->code == NEAP_ENOTFOUND)
        e->seen_ms -= REMEMBERED_MS; /* somebody has deleted it: the next time it is a new one */
    if (e->told && e->count > e->told &&
        may_write(e->owner, neap_loop_now_ms(e->node->options.loop)))
        tell_again(e);
}

static void send_event(struct event *e, enum neap_verb verb, char *body)
{
    e->sending = e->count;
    node_note(e->node, &(struct node_note){.verb = verb,
                                           .group = "",
                                           .resource = "events",
                                           .ns = e->ns,
                                           .name = verb == NEAP_PATCH ? e->name : NULL,
                                           .body = body,
                                           .done = told,
                                           .arg = e});
}

static void tell_again(struct event *e)
{
    char now[32];
    neap_time_format(node_wall(e->node), now);
    send_event(e, NEAP_PATCH,
               neap_asprintf("{\"count\":%u,\"lastTimestamp\":\"%s\"}", e->count, now));
}

static void tell(struct event *e, struct pod *p, const char *type, const char *reason,
                 const char *field, const char *message)
{
    struct neap_buf b = NEAP_BUF_INIT;
    const char *host = e->node->options.name;
    char now[32];
    neap_time_format(node_wall(e->node), now);
    neap_buf_printf(&b,
                    "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},\"involvedObject\":{"
                    "\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"namespace\":\"%s\",\"name\":\"%s\","
                    "\"uid\":\"%s\"%s%s%s},\"reason\":\"%s\",\"message\":",
                    e->name, e->ns, e->ns, p->name, p->uid, field ? ",\"fieldPath\":\"" : "",
                    field ? field : "", field ? "\"" : "", reason);
    neap_buf_json_string(&b, message, strlen(message));
    neap_buf_printf(
        &b,
        ",\"type\":\"%s\",\"count\":%u,\"firstTimestamp\":\"%s\",\"lastTimestamp\":\"%s\","
        "\"source\":{\"component\":\"kubelet\",\"host\":\"%s\"},"
        "\"reportingComponent\":\"kubelet\",\"reportingInstance\":\"%s\"}",
        type, e->count, now, now, host, host);
    send_event(e, NEAP_CREATE, neap_buf_take(&b));
}

void node_event(struct pod *p, const char *type, const char *reason, const char *field,
                const char *message)
{
    int64_t now = neap_loop_now_ms(p->node->options.loop);
    if (p->forgotten)
        return;
    if (!p->events)
        p->events = neap_calloc(1, sizeof(*p->events));
    struct event *e = remember(p, hash_of(type, reason, field, message), now);
    e->count++;
    if (e->sending || !may_write(p->events, now))
        return; /* the next write tells this one too */
    if (e->told)
        tell_again(e);
    else
        tell(e, p, type, reason, field, message);
}
