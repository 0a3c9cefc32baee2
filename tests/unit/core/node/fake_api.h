/* An API server as the agent sees it: objects in memory, a client that answers late, wrongly or never. */
#ifndef NEAP_TEST_NODE_API_H
#define NEAP_TEST_NODE_API_H

#include "fake_machine.h"

enum request { STATUS, DELETE, GET, TOKEN, EVENT, LEASE, NODE, REQUESTS };
enum { EVENTS_MAX = 512 };

struct asked {
    struct neap_list link; /* of api->never */
    struct api *api;
    struct neap_request *request;
    enum request type;
    int code;
};
struct told {
    char *reason, *message, *field, *type;
    unsigned count;
    char name[256]; /* of the Event */
};
struct neap_reflector {
    struct neap_reflector_options o;
};
struct api {
    struct neap_client client;
    struct neap_loop *loop;
    struct machine *machine; /* counts activity */
    struct neap_map objects; /* key -> neap_object */
    struct neap_reflector watch;
    bool watching, deaf; /* deaf: changes are not told */
    uint64_t revision;
    struct {
        unsigned asked, fail; /* the next <fail> are answered with <code> */
        int code;
        bool never;
    } rules[REQUESTS];
    struct neap_list never;
    struct told told[EVENTS_MAX];
    unsigned told_count;
    struct neap_call_options deletion; /* of the last DELETE; texts below */
    char deletion_uid[64];
    char status_at_deletion[4096]; /* the pod as the API had it then */
    int64_t token_life_s;
    unsigned tokens;
    int64_t leased_ns, now_ns;
    const struct neap_clock *clock;
    char node_status[8192];
};

/* ---- objects ---- */

struct delivery {
    struct api *api;
    enum neap_event_type type;
    struct neap_object *object;
};

static void deliver(void *arg)
{
    struct delivery *d = arg;
    const struct neap_reflector_options *o = &d->api->watch.o;
    if (d->api->watching)
        o->event(o->arg, d->type, d->object);
    d->api->machine->activity++;
    neap_object_unref(d->object);
    free(d);
}

static void api_tell(struct api *a, enum neap_event_type type, struct neap_object *o)
{
    if (a->deaf || strcmp(neap_object_kind(o)->resource, "pods") != 0)
        return;
    struct delivery *d = neap_malloc(sizeof(*d));
    *d = (struct delivery){a, type, neap_object_ref(o)};
    neap_loop_post(a->loop, deliver, d);
}

static struct neap_object *api_object(struct api *a, const char *resource, const char *name)
{
    char key[300];
    snprintf(key, sizeof(key), "/registry/core/%s/default/%s", resource, name);
    return neap_map_get(&a->objects, key);
}

static void api_put(struct api *a, const char *resource, const char *json)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_object *o = NULL;
    assert_ok(neap_object_new(neap_kind_by_resource("", "v1", resource), json, strlen(json),
                              ++a->revision, 0, &o, &err),
              err);
    struct neap_object *old = neap_map_set(&a->objects, neap_object_key(o), o);
    api_tell(a, old ? NEAP_MODIFIED : NEAP_ADDED, o);
    neap_object_unref(old);
}

static void api_remove(struct api *a, const char *resource, const char *name)
{
    struct neap_object *o = api_object(a, resource, name);
    assert_non_null(o);
    neap_map_del(&a->objects, neap_object_key(o));
    api_tell(a, NEAP_DELETED, o);
    neap_object_unref(o);
}

/* A strategic merge patch; 0 or the code of what is wrong with it. */
static int api_patch(struct api *a, struct neap_object *o, const char *patch)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_arena *arena = neap_arena_new(0);
    NEAP_CLEANUP_BUF struct neap_buf stored = NEAP_BUF_INIT;
    yyjson_mut_doc *doc, *p;
    const struct neap_kind *kind = neap_object_kind(o);
    neap_object_stored_json(o, &stored);
    assert_ok(neap_json_parse(arena, stored.data, stored.len, NULL, &doc, &err), err);
    int rc = neap_json_parse(arena, patch, strlen(patch), NULL, &p, &err);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    if (!rc)
        rc = neap_patch_strategic(doc, &root, yyjson_mut_doc_get_root(p), kind->type, &err);
    char *text = rc ? NULL : yyjson_mut_val_write(root, 0, NULL);
    if (text)
        api_put(a, kind->resource, text);
    free(text);
    neap_err_done(&err);
    neap_arena_free(arena);
    return rc;
}

/* ---- the client ---- */

static enum request type_of(const struct neap_request *r)
{
    const char *resource = r->kind->resource;
    if (strcmp(resource, "events") == 0)
        return EVENT;
    if (strcmp(resource, "leases") == 0)
        return LEASE;
    if (strcmp(resource, "nodes") == 0)
        return NODE;
    if (neap_streq(r->subresource, "token"))
        return TOKEN;
    return r->verb == NEAP_GET ? GET : r->verb == NEAP_DELETE ? DELETE : STATUS;
}

static struct told *told_named(struct api *a, const char *name)
{
    for (unsigned i = 0; i < a->told_count; i++)
        if (strcmp(a->told[i].name, name) == 0)
            return &a->told[i];
    return NULL;
}

static char *text_of(yyjson_val *root, const char *path)
{
    const char *s = neap_json_val_str_at(root, path);
    return neap_strdup(s ? s : "");
}

static int keep_told(struct api *a, const struct neap_request *r)
{
    yyjson_doc *doc = yyjson_read(r->body, r->body_len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct told *t = r->verb == NEAP_PATCH ? told_named(a, r->name) : NULL;
    if (!doc) {
        return NEAP_EBADREQUEST;
    } else if (!t) {
        assert_true(a->told_count < EVENTS_MAX);
        t = &a->told[a->told_count++];
        *t = (struct told){text_of(root, "reason"),
                           text_of(root, "message"),
                           text_of(root, "involvedObject.fieldPath"),
                           text_of(root, "type"),
                           0,
                           ""};
        snprintf(t->name, sizeof(t->name), "%s", neap_json_val_str_at(root, "metadata.name"));
    }
    t->count = (unsigned)yyjson_get_uint(yyjson_obj_get(root, "count"));
    yyjson_doc_free(doc);
    return 0;
}

static int patch_status(struct api *a, const struct neap_request *r)
{
    struct neap_object *o = api_object(a, "pods", r->name);
    yyjson_doc *doc = yyjson_read(r->body, r->body_len, 0);
    const char *uid = neap_json_val_str_at(yyjson_doc_get_root(doc), "metadata.uid");
    int code = !o     ? NEAP_ENOTFOUND
               : !doc ? NEAP_EBADREQUEST
               : strcmp(uid ? uid : "", neap_object_uid(o)) != 0 ? NEAP_ECONFLICT
                                                                 : api_patch(a, o, r->body);
    yyjson_doc_free(doc);
    return code;
}

static int delete_pod(struct api *a, const struct neap_request *r)
{
    struct neap_object *o = api_object(a, "pods", r->name);
    size_t len = 0;
    a->deletion = r->options;
    snprintf(a->deletion_uid, sizeof(a->deletion_uid), "%s",
             r->options.precondition_uid ? r->options.precondition_uid : "");
    if (!o)
        return NEAP_ENOTFOUND;
    snprintf(a->status_at_deletion, sizeof(a->status_at_deletion), "%s", neap_object_json(o, &len));
    if (strcmp(a->deletion_uid, neap_object_uid(o)) != 0)
        return NEAP_ECONFLICT;
    if (!neap_object_has_finalizers(o))
        api_remove(a, "pods", r->name);
    return 0;
}

static void api_done(struct asked *x, int code, struct neap_object *object, const char *body)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_reply reply = {.code = code, .err = &err, .status = code ? 500 : 200};
    if (code)
        neap_err_set(&err, code, "refused by the test");
    reply.object = object;
    reply.body = body;
    reply.body_len = body ? strlen(body) : 0;
    x->request->done(x->request, &reply);
    neap_err_done(&err);
    free(x);
}

static void give_token(struct asked *x)
{
    struct api *a = x->api;
    char end[32];
    neap_time_format(neap_clock_wall(a->clock) + a->token_life_s * 1000000000, end);
    NEAP_CLEANUP_FREE char *body = neap_asprintf(
        "{\"status\":{\"token\":\"token-%u\",\"expirationTimestamp\":\"%s\"}}", ++a->tokens, end);
    api_done(x, 0, NULL, body);
}

static int handle(struct asked *x, struct neap_object **ret)
{
    struct api *a = x->api;
    const struct neap_request *r = x->request;
    switch (x->type) {
    case EVENT:
        return keep_told(a, r);
    case STATUS:
        return patch_status(a, r);
    case DELETE:
        return delete_pod(a, r);
    case LEASE:
        a->leased_ns = neap_clock_mono(a->clock);
        return 0;
    case NODE:
        if (neap_streq(r->subresource, "status"))
            snprintf(a->node_status, sizeof(a->node_status), "%s", r->body);
        return 0;
    default:
        *ret = api_object(a, r->kind->resource, r->name);
        return *ret ? 0 : NEAP_ENOTFOUND;
    }
}

static void serve(void *arg)
{
    struct asked *x = arg;
    struct neap_object *o = NULL;
    x->api->machine->activity++;
    if (x->code) {
        api_done(x, x->code, NULL, NULL);
    } else if (x->type == TOKEN) {
        give_token(x);
    } else {
        int code = handle(x, &o);
        api_done(x, code, o, NULL);
    }
}

static void api_request(struct neap_client *c, struct neap_request *r)
{
    struct api *a = c->self;
    struct asked *x = neap_calloc(1, sizeof(*x));
    enum request type = type_of(r);
    *x = (struct asked){.api = a, .request = r, .type = type};
    neap_list_init(&x->link);
    a->machine->activity++;
    a->rules[type].asked++;
    if (a->rules[type].fail) {
        a->rules[type].fail--;
        x->code = a->rules[type].code;
    }
    if (a->rules[type].never)
        neap_list_append(&a->never, &x->link);
    else
        neap_loop_post(a->loop, serve, x);
}

/* What was not answered is answered now. */
static inline void api_answer(struct api *a, enum request type)
{
    a->rules[type].never = false;
    neap_list_foreach(&a->never, it)
    {
        struct asked *x = neap_list_entry(it, struct asked, link);
        if (x->type != type)
            continue;
        neap_list_remove(&x->link);
        neap_loop_post(a->loop, serve, x);
    }
}

static void listed(void *arg)
{
    struct api *a = arg;
    size_t at = 0;
    const char *key;
    void *value;
    a->watching = true;
    while (neap_map_next(&a->objects, &at, &key, &value))
        if (neap_object_kind(value) == a->watch.o.kind)
            a->watch.o.event(a->watch.o.arg, NEAP_ADDED, value);
    a->watch.o.synced(a->watch.o.arg, a->revision);
    a->machine->activity++;
}

static struct neap_reflector *api_reflect(struct neap_client *c,
                                          const struct neap_reflector_options *o)
{
    struct api *a = c->self;
    a->watch.o = *o;
    neap_loop_post(a->loop, listed, a);
    return &a->watch;
}

static void api_reflect_stop(struct neap_client *c, struct neap_reflector *r)
{
    (void)r;
    ((struct api *)c->self)->watching = false;
}

/* As a client that is closed: what was not answered never will be. */
static void api_forget(struct api *a)
{
    while (!neap_list_empty(&a->never)) {
        struct asked *x = neap_list_entry(a->never.next, struct asked, link);
        neap_list_remove(&x->link);
        free(x);
    }
}

static void api_free(struct api *a)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (neap_map_next(&a->objects, &at, &key, &value))
        neap_object_unref(value);
    neap_map_done(&a->objects, NULL);
    for (unsigned i = 0; i < a->told_count; i++) {
        free(a->told[i].reason);
        free(a->told[i].message);
        free(a->told[i].field);
        free(a->told[i].type);
    }
}

static void api_init(struct api *a, struct neap_loop *loop, const struct neap_clock *clock,
                     struct machine *machine)
{
    *a = (struct api){.loop = loop, .clock = clock, .machine = machine, .token_life_s = 3600};
    neap_list_init(&a->never);
    a->client = (struct neap_client){.request = api_request,
                                     .reflect = api_reflect,
                                     .reflect_stop = api_reflect_stop,
                                     .self = a};
}

#endif
