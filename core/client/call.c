/* Calls, identities, streams: the small functions of neap/client.h and neap/stream.h. */
#include <neap/client.h>
#include <neap/stream.h>

#include <stdarg.h>
#include <stdatomic.h>

const char *neap_verb_name(enum neap_verb v)
{
    static const char *const names[] = {"get",     "list",  "watch",  "create",
                                        "update",  "patch", "delete", "deletecollection",
                                        "connect", ""};
    return names[v];
}

/* ---- identities ---- */

static unsigned count_strings(const char *const *list)
{
    unsigned n = 0;
    while (list && list[n])
        n++;
    return n;
}

static size_t sum_lengths(const char *const *list)
{
    size_t sum = 0;
    for (; list && *list; list++)
        sum += strlen(*list) + 1;
    return sum;
}

static const char *put(char **at, const char *s)
{
    if (!s)
        return NULL;
    size_t len = strlen(s) + 1;
    char *to = memcpy(*at, s, len);
    *at += len;
    return to;
}

static const char *const *put_list(const char ***slots, char **at, const char *const *list)
{
    const char **from = *slots;
    for (; list && *list; list++)
        *(*slots)++ = put(at, *list);
    *(*slots)++ = NULL;
    return from;
}

struct neap_identity *neap_identity_new(const char *user, const char *uid,
                                        const char *const *groups, const char *const *extra)
{
    struct neap_identity *id = neap_calloc(1, sizeof(*id));
    unsigned pointers = count_strings(groups) + count_strings(extra) + 2;
    size_t bytes =
        sum_lengths(groups) + sum_lengths(extra) + strlen(user) + 1 + (uid ? strlen(uid) + 1 : 0);
    id->memory = neap_malloc(pointers * sizeof(char *) + bytes);
    const char **slots = id->memory;
    char *at = (char *)id->memory + pointers * sizeof(char *);
    id->user = put(&at, user);
    id->uid = put(&at, uid);
    id->groups = put_list(&slots, &at, groups);
    id->extra = put_list(&slots, &at, extra);
    id->authenticated = true;
    atomic_init(&id->refs, 1);
    return id;
}

struct neap_identity *neap_identity_ref(const struct neap_identity *id)
{
    struct neap_identity *mine = (struct neap_identity *)(uintptr_t)id;
    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}

struct neap_identity *neap_identity_unref(struct neap_identity *id)
{
    if (id && atomic_fetch_sub_explicit(&id->refs, 1, memory_order_acq_rel) == 1) {
        free(id->memory);
        free(id);
    }
    return NULL;
}

bool neap_identity_in_group(const struct neap_identity *id, const char *group)
{
    for (unsigned i = 0; id->groups[i]; i++)
        if (neap_streq(id->groups[i], group))
            return true;
    return false;
}

/* ---- calls ---- */

void neap_call_options_init(struct neap_call_options *o)
{
    *o = (struct neap_call_options){.timeout_s = -1,
                                    .send_initial_events = -1,
                                    .field_validation = NEAP_FV_WARN,
                                    .force = -1,
                                    .grace_period_s = NEAP_GRACE_UNSET,
                                    .orphan_dependents = -1};
}

struct neap_call *neap_call_new(struct neap_loop *loop, size_t arena_limit)
{
    struct neap_arena *arena = neap_arena_new(arena_limit);
    struct neap_call *c = neap_arena_calloc(arena, sizeof(*c));
    if (!c)
        abort(); /* the limit is below one call: a programming error */
    c->arena = arena;
    c->loop = loop;
    neap_call_options_init(&c->options);
    return c;
}

void neap_call_free(struct neap_call *c)
{
    if (!c)
        return;
    if (c->stream_body)
        c->stream_body->close(c->stream_body);
    neap_object_unref(c->object);
    neap_identity_unref((struct neap_identity *)(uintptr_t)c->identity);
    neap_buf_done(&c->reply_buf);
    neap_err_done(&c->err);
    neap_arena_free(c->arena);
}

void neap_call_warn(struct neap_call *c, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (unsigned i = 0; i < c->warning_count; i++)
        if (neap_streq(c->warnings[i], text))
            return;
    const char *copy = neap_arena_strdup(c->arena, text);
    if (copy && c->warning_count < NEAP_ARRAY_LEN(c->warnings))
        c->warnings[c->warning_count++] = copy;
}

void neap_call_fail(struct neap_call *c)
{
    c->status = neap_err_http_status(c->err.code);
    c->finish(c);
}

void neap_request_init(struct neap_request *r)
{
    *r = (struct neap_request){0};
    neap_call_options_init(&r->options);
}

/* ---- streams ---- */

bool neap_stream_send(struct neap_stream *s, int channel, const void *data, size_t len)
{
    return s->ops->send(s, channel, data, len);
}

void neap_stream_pause(struct neap_stream *s, bool paused)
{
    s->ops->pause(s, paused);
}

void neap_stream_close(struct neap_stream *s, int code, const char *reason)
{
    s->ops->close(s, code, reason);
}
