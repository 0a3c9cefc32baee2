/* DELETE: at once, or by marking what has finalizers or a grace period.
 * Source: Kubernetes documentation, "Garbage Collection", "Pod Lifecycle: termination". */
#include "internal.h"
#include "token.h"

static const char ORPHAN[] = "orphan", FOREGROUND[] = "foregroundDeletion";

/* ---- what the deletion does ---- */

static bool has_finalizer(yyjson_mut_val *list, const char *name)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        if (yyjson_mut_equals_str(e, name))
            return true;
    return false;
}

static void set_finalizer(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *name, bool on)
{
    yyjson_mut_val *list = neap_json_at(root, "metadata.finalizers");
    if (on && !has_finalizer(list, name)) {
        if (!list) {
            list = yyjson_mut_arr(doc);
            neap_json_set_at(doc, root, "metadata.finalizers", list);
        }
        yyjson_mut_arr_append(list, yyjson_mut_strcpy(doc, name));
    } else if (!on && list) {
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
        for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
            if (yyjson_mut_equals_str(e, name))
                neap_json_iter_remove(&it);
        if (!yyjson_mut_arr_size(list))
            neap_json_set_at(doc, root, "metadata.finalizers", NULL);
    }
}

/* The finalizers that the propagation policy asks for. */
static void propagate(struct rest_write *w)
{
    const struct neap_call_options *o = &w->call->options;
    yyjson_mut_val *list = neap_json_at(w->root, "metadata.finalizers");
    bool orphan = has_finalizer(list, ORPHAN), foreground = has_finalizer(list, FOREGROUND);
    if (o->propagation_policy) {
        orphan = strcmp(o->propagation_policy, "Orphan") == 0;
        foreground = strcmp(o->propagation_policy, "Foreground") == 0;
    } else if (o->orphan_dependents >= 0) {
        orphan = o->orphan_dependents;
        foreground = false;
    } else if (!orphan && !foreground) {
        orphan = w->kind->delete_orphans_by_default;
    }
    set_finalizer(w->doc, w->root, ORPHAN, orphan);
    set_finalizer(w->doc, w->root, FOREGROUND, foreground);
}

/* How long a pod is given: asked for, its own, or none when no kubelet has anything to stop. */
static int64_t grace(struct rest_write *w)
{
    if (!w->kind->graceful_delete)
        return 0;
    int64_t g = w->call->options.grace_period_s;
    yyjson_mut_val *own = neap_json_at(w->root, "spec.terminationGracePeriodSeconds");
    if (g == NEAP_GRACE_UNSET)
        g = own ? yyjson_mut_get_sint(own) : 30;
    if (g < 0) /* a negative period means at once, nearly */
        g = 1;
    const char *node = neap_json_str_at(w->root, "spec.nodeName");
    const char *phase = neap_json_str_at(w->root, "status.phase");
    if (!node || !*node || neap_streq(phase, "Succeeded") || neap_streq(phase, "Failed"))
        g = 0;
    return g;
}

static bool namespace_kind(const struct neap_kind *k)
{
    return !*k->group && strcmp(k->resource, "namespaces") == 0;
}

/* A namespace goes by phases: marked and Terminating now, gone when its finalizers are. */
static bool namespace_waits(struct rest_write *w)
{
    if (!namespace_kind(w->kind))
        return false;
    neap_json_set_at(w->doc, w->root, "status.phase", yyjson_mut_str(w->doc, "Terminating"));
    return yyjson_mut_arr_size(neap_json_at(w->root, "spec.finalizers")) > 0;
}

static int change(struct rest_write *w, struct neap_err *err)
{
    struct neap_call *c = w->call;
    int rc = rest_admit_delete(w, err);
    if (rc)
        return rc;
    w->doc = yyjson_mut_doc_new(neap_arena_alc(c->arena));
    w->root = yyjson_mut_val_mut_copy(w->doc, w->old_root);
    if (!w->doc || !w->root)
        return neap_err_set(err, NEAP_ETOOLARGE, "the request is too large");
    bool marked = neap_object_deleting(w->old);
    rc = rest_call_of(c)->evicting ? rest_evict(w, err) : 0;
    if (rc)
        return rc;
    propagate(w);
    int64_t g = grace(w);
    bool wait = yyjson_mut_arr_size(neap_json_at(w->root, "metadata.finalizers")) > 0;
    wait = namespace_waits(w) || wait;
    if (!wait && g == 0) {
        w->delete_now = true;
        w->shows_draft = w->kind->graceful_delete; /* the marks are seen in the answer */
        if (w->shows_draft)
            rest_meta_mark_deleted(w, 0);
        return 0;
    }
    yyjson_mut_val *before = neap_json_at(w->root, "metadata.deletionGracePeriodSeconds");
    if (!marked ||
        (before && g < yyjson_mut_get_sint(before))) /* a later call may only shorten it */
        rest_meta_mark_deleted(w, g);
    else
        yyjson_mut_obj_remove_key(neap_json_at(w->root, "metadata"), "resourceVersion");
    w->delete_marked = true;
    return 0;
}

static void reply(struct rest_write *w, struct neap_object *o)
{
    struct neap_call *c = w->call;
    if (rest_call_of(c)->evicting) {
        neap_buf_str(&c->reply_buf, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
                                    "\"status\":\"Success\",\"code\":201}");
        rest_reply_json(c, 201);
        return;
    }
    /* what only was marked is shown; so is what a kind's DELETE always returns */
    if (!w->delete_now || w->kind->delete_returns_object) {
        rest_reply_object(c, 200, o);
        return;
    }
    neap_buf_reset(&c->reply_buf);
    rest_status_success(&c->reply_buf, w->kind, w->name, neap_object_uid(o));
    rest_reply_json(c, 200);
}

static int precondition_ok(struct neap_call *c, struct neap_err *err)
{
    uint64_t v;
    const char *text = c->options.precondition_resource_version;
    if (!text || neap_parse_u64(text, UINT64_MAX, &v))
        return 0;
    struct neap_err why = NEAP_ERR_INIT;
    rest_parse_revision(text, &v, &why);
    neap_err_set(err, NEAP_EBADREQUEST, "invalid resource version: %s", why.message);
    neap_err_done(&why);
    return NEAP_EBADREQUEST;
}

void rest_delete(struct neap_call *c)
{
    struct rest_write *w = rest_write_new(c);
    if (!w) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    if (rest_negotiate(c, true, &c->err) || rest_delete_options(c, &c->err) ||
        precondition_ok(c, &c->err)) {
        rest_fail(c);
        return;
    }
    w->operation = REST_DELETE;
    w->change = change;
    w->reply = reply;
    w->uid_precondition = c->options.precondition_uid;
    w->revision_precondition = c->options.precondition_resource_version;
    rest_write_start(w);
}

/* ---- DELETE of a collection: one deletion each, a few at a time -------------------------------- */

enum { COLLECTION_PARALLEL = 16 };

struct collection {
    struct neap_call *call;
    struct neap_object **objects; /* references */
    size_t count, next, running;
    struct neap_err err; /* the first failure */
};

static void collection_go(struct collection *d);

static void collection_reply(struct collection *d)
{
    struct neap_call *c = d->call;
    char api_version[128];
    if (d->err.code) {
        neap_err_move(&c->err, &d->err);
        rest_fail(c);
        return;
    }
    if (rest_wants(c, "Table")) {
        rest_table_head(c, &c->reply_buf, neap_registry_revision(rest_of(c)->options.registry),
                        NULL, -1, true);
        for (size_t i = 0; i < d->count; i++) {
            if (i)
                neap_buf_char(&c->reply_buf, ',');
            rest_table_row(c, &c->reply_buf, d->objects[i]);
        }
        neap_buf_str(&c->reply_buf, "]}");
        rest_reply_json(c, 200);
        return;
    }
    neap_buf_printf(
        &c->reply_buf,
        "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"%llu\"}"
        ",\"items\":[",
        c->kind->list_kind, neap_kind_api_version(c->kind, api_version),
        (unsigned long long)neap_registry_revision(rest_of(c)->options.registry));
    for (size_t i = 0; i < d->count; i++) {
        if (i)
            neap_buf_char(&c->reply_buf, ',');
        rest_write_object(c, &c->reply_buf, d->objects[i], true);
    }
    neap_buf_str(&c->reply_buf, "]}");
    rest_reply_json(c, 200);
}

static void one_done(struct neap_call *sub)
{
    struct collection *d = sub->transport;
    if (sub->status >= 400 && sub->status != 404 && !d->err.code)
        neap_err_move(&d->err, &sub->err);
    neap_call_free(sub);
    d->running--;
    collection_go(d);
}

/* The same verb on one name: admission, preconditions and finalizers are not repeated here. */
static void one(struct collection *d, struct neap_object *o)
{
    struct neap_call *c = d->call;
    struct neap_rest *r = rest_of(c);
    struct neap_call *sub = neap_call_new(c->loop, r->options.arena_bytes);
    struct rest_call *rc = neap_arena_calloc(sub->arena, sizeof(*rc));
    *rc = (struct rest_call){.rest = r, .call = sub};
    sub->handler = rc;
    sub->verb = NEAP_DELETE;
    sub->method = "DELETE";
    sub->path = c->path;
    sub->group = c->group;
    sub->version = c->version;
    sub->resource = c->resource;
    sub->kind = c->kind;
    sub->namespace_ =
        c->kind->namespaced ? neap_arena_strdup(sub->arena, neap_object_namespace(o)) : NULL;
    sub->name = neap_arena_strdup(sub->arena, neap_object_name(o));
    sub->identity = c->identity ? neap_identity_ref(c->identity) : NULL;
    sub->options = c->options;
    sub->options.resource_version = NULL; /* the list's, or a precondition already */
    if (!c->options.precondition_uid)
        sub->options.precondition_uid = neap_arena_strdup(sub->arena, neap_object_uid(o));
    sub->internal = true;
    sub->finish = one_done;
    sub->transport = d;
    d->running++;
    rest_delete(sub);
}

static void collection_go(struct collection *d)
{
    while (d->running < COLLECTION_PARALLEL && d->next < d->count && !d->err.code)
        one(d, d->objects[d->next++]);
    if (!d->running && (d->next == d->count || d->err.code))
        collection_reply(d);
}

static void collection_free(void *arg)
{
    struct collection *d = arg;
    for (size_t i = 0; i < d->count; i++)
        neap_object_unref(d->objects[i]);
    free(d->objects);
    neap_err_done(&d->err);
}

/* Which objects: the options are a list's. */
static int collection_options(struct neap_call *c, struct rest_token *token, struct neap_err *err)
{
    struct neap_err why = NEAP_ERR_INIT;
    uint64_t revision;
    int rc = rest_check_list_options(c, false, err);
    if (!rc && rest_parse_revision(c->options.resource_version, &revision, &why)) {
        rc = neap_err_set(err, NEAP_EBADREQUEST, "invalid resource version: %s", why.message);
        neap_err_done(&why);
    }
    return rc ? rc : rest_token_parse(c, c->options.continue_token, token, err);
}

void rest_delete_collection(struct neap_call *c)
{
    struct rest_token token = {.remaining = -1};
    struct neap_selector *selector = NULL;
    struct collection *d = neap_arena_calloc(c->arena, sizeof(*d));
    if (!d || !neap_arena_defer(c->arena, collection_free, d)) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    if (rest_negotiate(c, true, &c->err) || rest_delete_options(c, &c->err) ||
        precondition_ok(c, &c->err) || collection_options(c, &token, &c->err) ||
        rest_selector(c, &selector, &c->err)) {
        rest_fail(c);
        return;
    }
    struct neap_iter it;
    size_t cap = 0, limit = c->options.limit > 0 ? (size_t)c->options.limit : SIZE_MAX;
    d->call = c;
    neap_iter_init(&it, rest_pin(c), c->kind, c->namespace_, token.key);
    for (struct neap_object *o; d->count < limit && (o = neap_iter_next(&it));) {
        if (selector && !neap_selector_match(selector, o))
            continue;
        d->objects = neap_grow(d->objects, &cap, d->count, sizeof(*d->objects));
        d->objects[d->count++] = neap_object_ref(o);
    }
    d->running = 1; /* an answer that comes at once must not end it */
    for (size_t i = 0; i < COLLECTION_PARALLEL && d->next < d->count; i++)
        one(d, d->objects[d->next++]);
    d->running--;
    collection_go(d);
}
