/* The pipeline: who may, which kind, which verb. */
#include "internal.h"

struct neap_rest *neap_rest_new(const struct neap_rest_options *o)
{
    struct neap_rest *r = neap_calloc(1, sizeof(*r));
    r->options = *o;
    if (!r->options.clock)
        r->options.clock = &neap_clock_system;
    if (!r->options.rand)
        r->options.rand = &neap_rand_system;
    if (!r->options.bookmark_ms)
        r->options.bookmark_ms = 60000;
    if (!r->options.watch_min_ms)
        r->options.watch_min_ms = 1800000;
    if (!r->options.arena_bytes)
        r->options.arena_bytes = 64u << 20;
    r->encoded = rest_encoded_new(r->options.loop, r->options.protobuf_cache_bytes);
    rest_metrics_register();
    return r;
}

struct neap_rest *neap_rest_free(struct neap_rest *r)
{
    if (r) {
        neap_map_done(&r->busy_keys, NULL);
        neap_map_done(&r->openapi, free);
        rest_encoded_free(r->encoded);
        free(r);
    }
    return NULL;
}

void neap_rest_health(struct neap_rest *r, const struct neap_health_check *check)
{
    if (r->check_count < NEAP_ARRAY_LEN(r->checks))
        r->checks[r->check_count++] = *check;
}

struct rest_call *rest_call_of(const struct neap_call *c)
{
    return c->handler;
}

struct neap_rest *rest_of(const struct neap_call *c)
{
    return rest_call_of(c)->rest;
}

struct neap_snapshot *rest_pin(struct neap_call *c)
{
    struct rest_call *rc = rest_call_of(c);
    neap_snapshot_unpin(rc->snapshot);
    rc->snapshot = neap_snapshot_pin(rc->rest->options.registry);
    return rc->snapshot;
}

void rest_finish(struct neap_call *c)
{
    struct rest_call *rc = rest_call_of(c);
    rest_metrics_finish(c);
    rc->snapshot = neap_snapshot_unpin(rc->snapshot); /* a stream has pinned its own */
    c->on_cancel = NULL;
    c->finish(c);
}

/* ---- authorization ------------------------------------------------------------------------------ */

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static int decide(struct neap_call *c, const struct neap_attributes *a, struct neap_err *err)
{
    struct rest_call *rc = rest_call_of(c);
    char *reason = NULL;
    if (!rc->rest->options.auth)
        return 0;
    struct neap_snapshot *s = rc->snapshot ? rc->snapshot : rest_pin(c);
    enum neap_decision d = neap_auth_authorize(rc->rest->options.auth, s, a, &reason);
    int rc2 = d == NEAP_ALLOW ? 0 : neap_auth_forbidden(a, reason, err);
    free(reason);
    return rc2;
}

int rest_authorize(struct neap_call *c, const char *verb, const char *group, const char *resource,
                   const char *subresource, const char *namespace_, const char *name,
                   struct neap_err *err)
{
    struct neap_attributes a = {.identity = c->identity,
                                .verb = verb,
                                .resource_request = true,
                                .group = or_empty(group),
                                .version = or_empty(c->version),
                                .resource = or_empty(resource),
                                .subresource = or_empty(subresource),
                                .namespace_ = or_empty(namespace_),
                                .name = or_empty(name),
                                .path = c->path};
    return decide(c, &a, err);
}

/* A list or watch of what its field selector pins: that object by name (so that resourceNames allow it), or the
 * pods of a node. */
static void pin(struct neap_call *c, struct neap_attributes *a)
{
    struct neap_selector *s = NULL;
    struct neap_err err = NEAP_ERR_INIT;
    const struct neap_kind *kind = neap_kind_by_resource(a->group, a->version, a->resource);
    if ((c->verb != NEAP_LIST && c->verb != NEAP_WATCH) || !c->options.field_selector || !kind)
        return;
    if (neap_selector_parse(kind, NULL, c->options.field_selector, &s, &err) == 0) {
        const char *name = neap_selector_pinned(s, "metadata.name");
        const char *node = neap_selector_pinned(s, "spec.nodeName");
        a->name = or_empty(name ? neap_arena_strdup(c->arena, name) : c->name);
        a->pinned_node = node ? neap_arena_strdup(c->arena, node) : NULL;
    }
    neap_selector_free(s);
    neap_err_done(&err);
}

static int authorize_call(struct neap_call *c, struct neap_err *err)
{
    char verb[NEAP_AUTH_VERB_MAX];
    struct neap_attributes a = neap_auth_attributes(c, c->identity, verb);
    pin(c, &a);
    return decide(c, &a, err);
}

/* ---- routing --------------------------------------------------------------------------------------- */

static unsigned verb_bit(enum neap_verb v)
{
    static const unsigned bits[] = {
        [NEAP_GET] = NEAP_VERB_GET,       [NEAP_LIST] = NEAP_VERB_LIST,
        [NEAP_WATCH] = NEAP_VERB_WATCH,   [NEAP_CREATE] = NEAP_VERB_CREATE,
        [NEAP_UPDATE] = NEAP_VERB_UPDATE, [NEAP_PATCH] = NEAP_VERB_PATCH,
        [NEAP_DELETE] = NEAP_VERB_DELETE, [NEAP_DELETECOLLECTION] = NEAP_VERB_DELETECOLLECTION};
    return v < NEAP_ARRAY_LEN(bits) ? bits[v] : 0;
}

static void not_found_page(struct neap_call *c)
{
    rest_reply_text(c, 404, "404 page not found\n");
}

/* No such resource in a group that is served: a Status; in no such group: the page of old. */
static void resource_not_found(struct neap_call *c)
{
    bool group = false;
    for (unsigned i = 0; i < neap_kind_count && !group; i++)
        group = strcmp(neap_kinds[i]->group, or_empty(c->group)) == 0;
    if (!group) {
        not_found_page(c);
        return;
    }
    neap_err_set(&c->err, NEAP_ENOTFOUND, "the server could not find the requested resource");
    rest_err_empty_details(&c->err);
    rest_fail(c);
}

void rest_not_allowed(struct neap_call *c)
{
    neap_err_set(&c->err, NEAP_EMETHODNOTALLOWED,
                 "the server does not allow this method on the requested resource");
    rest_err_empty_details(&c->err);
    rest_fail(c);
}

static bool scope_ok(const struct neap_call *c)
{
    if (!c->kind->namespaced) /* /api/v1/namespaces/x parses as namespace x of itself */
        return !c->namespace_ || strcmp(c->resource, "namespaces") == 0;
    if (c->namespace_)
        return true;
    /* all namespaces: reading only */
    return !c->name && (c->verb == NEAP_LIST || c->verb == NEAP_WATCH);
}

static void dispatch(struct neap_call *c)
{
    switch (c->verb) {
    case NEAP_GET:
        rest_get(c);
        break;
    case NEAP_LIST:
        rest_list(c);
        break;
    case NEAP_WATCH:
        rest_watch(c);
        break;
    case NEAP_CREATE:
        rest_create(c);
        break;
    case NEAP_UPDATE:
        rest_update(c);
        break;
    case NEAP_PATCH:
        rest_patch(c);
        break;
    case NEAP_DELETE:
        rest_delete(c);
        break;
    case NEAP_DELETECOLLECTION:
        rest_delete_collection(c);
        break;
    default:
        rest_not_allowed(c);
    }
}

static void route_resource(struct neap_call *c)
{
    struct rest_call *rc = rest_call_of(c);
    c->kind =
        neap_kind_by_resource(or_empty(c->group), or_empty(c->version), or_empty(c->resource));
    if (!c->kind) {
        resource_not_found(c);
        return;
    }
    if (!c->kind->namespaced && c->namespace_ && strcmp(c->resource, "namespaces") != 0) {
        resource_not_found(c);
        return;
    }
    if (!c->kind->namespaced && c->namespace_ && strcmp(c->resource, "namespaces") == 0)
        c->namespace_ = NULL;
    if (c->subresource) {
        rc->subresource = neap_kind_subresource(c->kind, c->subresource);
        if (!rc->subresource) {
            resource_not_found(c);
            return;
        }
    }
    if (rest_check_write_options(c, &c->err)) {
        rest_fail(c);
        return;
    }
    unsigned verbs = rc->subresource ? rc->subresource->verbs : c->kind->verbs;
    bool named = c->verb != NEAP_CREATE || rc->subresource ? c->name != NULL : c->name == NULL;
    bool collection =
        c->verb == NEAP_LIST || c->verb == NEAP_WATCH || c->verb == NEAP_DELETECOLLECTION;
    if (!scope_ok(c) || (!collection && !named)) {
        rest_not_allowed(c);
        return;
    }
    if (rest_special(c))
        return;
    if (!(verbs & verb_bit(c->verb)))
        rest_not_allowed(c);
    else
        dispatch(c);
}

void neap_rest_handle(struct neap_rest *r, struct neap_call *c)
{
    struct rest_call *rc = neap_arena_calloc(c->arena, sizeof(*rc));
    if (!rc) {
        neap_err_set(&c->err, NEAP_ETOOLARGE, "the request is too large");
        neap_rest_refuse(c);
        c->finish(c);
        return;
    }
    *rc = (struct rest_call){.rest = r, .call = c};
    c->handler = rc;
    if (authorize_call(c, &c->err)) {
        rest_fail(c);
        return;
    }
    if (strcmp(c->method, "OPTIONS") == 0 && !neap_streq(c->subresource, "proxy"))
        rest_not_allowed(c);
    else if (c->verb == NEAP_NONRESOURCE)
        rest_nonresource(c);
    else
        route_resource(c);
}

void rest_nonresource(struct neap_call *c)
{
    if (rest_health(c) || rest_discovery(c) || rest_openapi(c))
        return;
    not_found_page(c);
}
