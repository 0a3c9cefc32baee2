/* The in-process neap_client: the same pipeline from authorize on. Requests are posted to the rest's loop and
 * their answers posted back, whatever loop they come from. */
#include "internal.h"

struct local {
    struct neap_client client;
    struct neap_rest *rest;
    const struct neap_identity *identity;
    struct neap_loop *loop;
};

struct exchange {
    struct neap_request *request;
    struct local *local;
    struct neap_call *call;
};

/* ---- requests ---- */

static void fill_reply(struct neap_call *c, struct neap_reply *reply)
{
    reply->status = c->status;
    if (c->status >= 400) {
        reply->code = c->err.code ? c->err.code : NEAP_EINTERNAL;
        reply->err = &c->err;
        return;
    }
    reply->object = c->object;
    reply->body = c->reply ? c->reply : c->reply_buf.data;
    reply->body_len = c->reply ? c->reply_len : c->reply_buf.len;
}

static void answered(void *arg)
{
    struct exchange *x = arg;
    struct neap_reply reply = {0};
    fill_reply(x->call, &reply);
    x->request->done(x->request, &reply);
    neap_call_free(x->call);
    free(x);
}

static void finished(struct neap_call *c)
{
    struct exchange *x = c->transport;
    neap_loop_post(x->request->loop ? x->request->loop : x->local->loop, answered, x);
}

static const char *method_of(enum neap_verb v)
{
    static const char *const names[] = {
        [NEAP_GET] = "GET",       [NEAP_LIST] = "GET",
        [NEAP_WATCH] = "GET",     [NEAP_CREATE] = "POST",
        [NEAP_UPDATE] = "PUT",    [NEAP_PATCH] = "PATCH",
        [NEAP_DELETE] = "DELETE", [NEAP_DELETECOLLECTION] = "DELETE",
        [NEAP_CONNECT] = "POST",  [NEAP_NONRESOURCE] = "GET"};
    return names[v];
}

static void start(void *arg)
{
    struct exchange *x = arg;
    struct neap_request *r = x->request;
    struct neap_rest *rest = x->local->rest;
    struct neap_call *c = neap_call_new(rest->options.loop, rest->options.arena_bytes);
    x->call = c;
    c->verb = r->verb;
    c->method = method_of(r->verb);
    c->identity = neap_identity_ref(x->local->identity);
    c->options = r->options;
    c->body = r->body;
    c->body_len = r->body_len;
    c->patch_type = r->patch_type;
    c->internal = true;
    c->user_agent = "neap";
    c->transport = x;
    c->finish = finished;
    c->started_mono_ns = neap_clock_mono(rest->options.clock);
    c->path = r->path ? r->path : neap_wire_request_path(c->arena, r);
    if (r->kind) {
        c->group = r->kind->group;
        c->version = r->kind->version;
        c->resource = r->kind->resource;
        c->kind = r->kind;
        c->namespace_ = r->namespace_;
        c->name = r->name;
        c->subresource = r->subresource;
    } else {
        c->verb = NEAP_NONRESOURCE;
    }
    neap_rest_handle(rest, c);
}

static void local_request(struct neap_client *client, struct neap_request *r)
{
    struct exchange *x = neap_calloc(1, sizeof(*x));
    x->request = r;
    x->local = client->self;
    neap_loop_post(x->local->rest->options.loop, start, x);
}

/* ---- reflectors: a snapshot, then the registry's own watch, on the loop that asked ---- */

struct neap_reflector {
    struct neap_reflector_options options;
    struct local *local;
    struct neap_selector *selector;
    struct neap_watch *watch;
    struct neap_map known; /* key -> object reference: what was told, for relists */
    struct neap_timer *retry;
    bool synced, stopped, pumping;
};

enum { REFLECTOR_SLICE = 256, REFLECTOR_RETRY_MS = 1000 };

static void reflector_pump(void *arg);

static void tell(struct neap_reflector *r, enum neap_event_type type, struct neap_object *o)
{
    const char *key = neap_object_key(o);
    struct neap_object *before;
    if (type == NEAP_DELETED) {
        before = neap_map_del(&r->known, key);
    } else {
        before = neap_map_set(&r->known, key, neap_object_ref(o));
    }
    r->options.event(r->options.arg, type, o);
    neap_object_unref(before);
}

static void list_all(struct neap_reflector *r, struct neap_snapshot *s)
{
    struct neap_iter it;
    struct neap_map now = NEAP_MAP_INIT;
    neap_iter_init(&it, s, r->options.kind, r->options.namespace_, NULL);
    for (struct neap_object *o; !r->stopped && (o = neap_iter_next(&it));) {
        if (r->selector && !neap_selector_match(r->selector, o))
            continue;
        struct neap_object *before = neap_map_get(&r->known, neap_object_key(o));
        neap_map_set(&now, neap_object_key(o), o);
        if (!before)
            tell(r, NEAP_ADDED, o);
        else if (neap_object_revision(before) != neap_object_revision(o))
            tell(r, NEAP_MODIFIED, o);
    }
    size_t at = 0;
    const char *key;
    void *value;
    while (!r->stopped && neap_map_next(&r->known, &at, &key, &value))
        if (!neap_map_get(&now, key)) {
            struct neap_object *gone = neap_object_ref(value);
            tell(r, NEAP_DELETED, gone);
            neap_object_unref(gone);
        }
    neap_map_done(&now, NULL);
}

static void wake(void *arg)
{
    reflector_pump(arg);
}

static void relist(void *arg)
{
    struct neap_reflector *r = arg;
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_snapshot *s = neap_snapshot_pin(r->local->rest->options.registry);
    uint64_t revision = neap_snapshot_revision(s);
    list_all(r, s);
    neap_snapshot_unpin(s);
    if (r->stopped)
        return;
    struct neap_watch_options o = {.kind = r->options.kind->storage,
                                   .namespace_ = r->options.namespace_,
                                   .selector = r->selector,
                                   .after = revision,
                                   .loop = r->options.loop,
                                   .wake = wake,
                                   .arg = r};
    if (neap_watch_open(r->local->rest->options.registry, &o, &r->watch, &err)) {
        if (r->options.error)
            r->options.error(r->options.arg, &err);
        neap_err_done(&err);
        neap_timer_start(r->retry, REFLECTOR_RETRY_MS, 0);
        return;
    }
    if (!r->synced && r->options.synced)
        r->options.synced(r->options.arg, revision);
    r->synced = true;
    if (!r->stopped)
        reflector_pump(r);
}

static void reflector_free(struct neap_reflector *r)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (neap_map_next(&r->known, &at, &key, &value))
        neap_object_unref(value);
    neap_map_done(&r->known, NULL);
    neap_selector_free(r->selector);
    free((char *)(uintptr_t)r->options.namespace_);
    free(r);
}

static void reflector_freed(void *arg)
{
    reflector_free(arg);
}

static void pump_again(void *arg)
{
    struct neap_reflector *r = arg;
    r->pumping = false;
    if (r->stopped)
        reflector_free(r);
    else
        reflector_pump(r);
}

static void reflector_pump(void *arg)
{
    struct neap_reflector *r = arg;
    struct neap_event e;
    int rc = 0;
    if (r->pumping || r->stopped || !r->watch)
        return;
    for (unsigned i = 0; i < REFLECTOR_SLICE && !r->stopped; i++) {
        rc = neap_watch_next(r->watch, &e);
        if (rc != 1)
            break;
        tell(r, e.type, e.object);
        neap_object_unref(e.object);
    }
    if (r->stopped)
        return;
    if (rc < 0) { /* fell behind the history */
        neap_watch_close(r->watch);
        r->watch = NULL;
        relist(r);
    } else if (rc == 1) { /* others get a turn */
        r->pumping = true;
        neap_loop_post(r->options.loop, pump_again, r);
    }
}

static void reflector_begin(void *arg)
{
    struct neap_reflector *r = arg;
    r->pumping = false;
    if (r->stopped)
        reflector_free(r);
    else
        relist(r);
}

static struct neap_reflector *local_reflect(struct neap_client *client,
                                            const struct neap_reflector_options *o)
{
    struct neap_reflector *r = neap_calloc(1, sizeof(*r));
    struct neap_err err = NEAP_ERR_INIT;
    r->options = *o;
    r->options.namespace_ = o->namespace_ ? neap_strdup(o->namespace_) : NULL;
    r->local = client->self;
    if ((o->label_selector || o->field_selector) &&
        neap_selector_parse(o->kind, o->label_selector, o->field_selector, &r->selector, &err)) {
        NEAP_ERROR("client", "a selector of our own is wrong", "err=%s",
                   neap_log_quote(err.message));
        neap_err_done(&err);
    }
    r->retry = neap_timer_new(o->loop, relist, r);
    r->pumping = true; /* a post is under way */
    neap_loop_post(o->loop, reflector_begin, r);
    return r;
}

static void local_reflect_stop(struct neap_client *client, struct neap_reflector *r)
{
    (void)client;
    r->stopped = true;
    r->retry = neap_timer_close(r->retry);
    if (r->watch)
        neap_watch_close(r->watch);
    r->watch = NULL;
    if (!r->pumping) /* else the post that is under way frees it */
        neap_loop_post(r->options.loop, reflector_freed, r);
}

/* ---- the client ---- */

static struct neap_snapshot *local_snapshot(struct neap_client *client)
{
    struct local *l = client->self;
    return neap_snapshot_pin(l->rest->options.registry);
}

static void local_close(struct neap_client *client)
{
    free(client->self);
}

struct neap_client *neap_rest_client(struct neap_rest *r, const struct neap_identity *identity,
                                     struct neap_loop *loop)
{
    struct local *l = neap_calloc(1, sizeof(*l));
    l->rest = r;
    l->identity = identity;
    l->loop = loop;
    l->client = (struct neap_client){.request = local_request,
                                     .reflect = local_reflect,
                                     .reflect_stop = local_reflect_stop,
                                     .snapshot = local_snapshot,
                                     .close = local_close,
                                     .self = l};
    return &l->client;
}
