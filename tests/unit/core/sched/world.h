/* A cluster in memory: objects, a client that answers like the API server, time and chance that only the
 * test moves. It watches over what a scheduler must never do. */
#ifndef NEAP_TEST_SCHED_WORLD_H
#define NEAP_TEST_SCHED_WORLD_H

#include "core/sched/sched_internal.h"
#include "neap_test.h"

#define SECOND INT64_C(1000000000)
enum { WATCHES_MAX = 16, EVENTS_MAX = 4096 };

struct neap_reflector {
    struct world *world;
    struct neap_reflector_options o;
    bool open;
};

struct told {
    char *pod, *reason, *message, *type;
};

struct world {
    struct neap_client client;
    struct neap_clock clock;
    struct neap_rand rand;
    int64_t now;
    uint64_t seed, revision;
    struct neap_loop *loop;
    struct neap_sched *sched;
    struct neap_map objects; /* key -> neap_object */
    struct neap_reflector watches[WATCHES_MAX];
    unsigned watch_count;
    struct told told[EVENTS_MAX];
    unsigned told_count, repeated, bindings, wrong_bindings, deletes, status_patches;
    unsigned refuse_bindings; /* that many fail */
    bool stopped;
};

static int64_t world_time(void *self)
{
    return ((struct world *)self)->now;
}

static void world_fill(void *self, void *buf, size_t len)
{
    struct world *w = self;
    for (size_t i = 0; i < len; i++) {
        w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)buf)[i] = (uint8_t)(w->seed >> 56);
    }
}

/* ---- objects ---- */

struct delivery {
    struct world *world;
    enum neap_event_type type;
    struct neap_object *object;
};

static void deliver(void *arg)
{
    struct delivery *d = arg;
    for (unsigned i = 0; i < d->world->watch_count; i++) {
        struct neap_reflector *r = &d->world->watches[i];
        if (r->open && r->o.kind == neap_object_kind(d->object))
            r->o.event(r->o.arg, d->type, d->object);
    }
    neap_object_unref(d->object);
    free(d);
}

static void world_tell(struct world *w, enum neap_event_type type, struct neap_object *o)
{
    struct delivery *d = neap_malloc(sizeof(*d));
    *d = (struct delivery){w, type, neap_object_ref(o)};
    neap_loop_post(w->loop, deliver, d);
}

static struct neap_object *world_object(struct world *w, const char *group, const char *resource,
                                        const char *json)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_object *o = NULL;
    const char *version = "v1";
    assert_ok(neap_object_new(neap_kind_by_resource(group, version, resource), json, strlen(json),
                              ++w->revision, 0, &o, &err),
              err);
    return o;
}

static void world_keep(struct world *w, struct neap_object *o)
{
    struct neap_object *old = neap_map_set(&w->objects, neap_object_key(o), o);
    world_tell(w, old ? NEAP_MODIFIED : NEAP_ADDED, o);
    neap_object_unref(old);
}

static void world_put(struct world *w, const char *group, const char *resource, const char *json)
{
    world_keep(w, world_object(w, group, resource, json));
}

static struct neap_object *world_get(struct world *w, const char *resource, const char *name)
{
    char key[300];
    bool node = strcmp(resource, "nodes") == 0;
    snprintf(key, sizeof(key), "/registry/core/%s/%s%s", resource, node ? "" : "default/", name);
    return neap_map_get(&w->objects, key);
}

static inline void world_remove(struct world *w, const char *resource, const char *name)
{
    struct neap_object *o = world_get(w, resource, name);
    assert_non_null(o);
    neap_map_del(&w->objects, neap_object_key(o));
    world_tell(w, NEAP_DELETED, o);
    neap_object_unref(o);
}

/* A strategic merge patch, kept and told. */
static void world_patch(struct world *w, struct neap_object *o, const char *patch)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_arena *a = neap_arena_new(0);
    NEAP_CLEANUP_BUF struct neap_buf stored = NEAP_BUF_INIT;
    yyjson_mut_doc *doc, *p;
    const struct neap_kind *kind = neap_object_kind(o);
    neap_object_stored_json(o, &stored);
    assert_ok(neap_json_parse(a, stored.data, stored.len, NULL, &doc, &err), err);
    assert_ok(neap_json_parse(a, patch, strlen(patch), NULL, &p, &err), err);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    assert_ok(neap_patch_strategic(doc, &root, yyjson_mut_doc_get_root(p), kind->type, &err), err);
    char *text = yyjson_mut_val_write(root, 0, NULL);
    world_put(w, kind->group, kind->resource, text);
    free(text);
    neap_arena_free(a);
}

static const char *world_text(struct neap_object *o, const char *path, char buf[512])
{
    yyjson_doc *doc = neap_object_parse(o, NULL);
    const char *s = neap_json_val_str_at(yyjson_doc_get_root(doc), path);
    snprintf(buf, 512, "%s", s ? s : "");
    yyjson_doc_free(doc);
    return buf;
}

/* ---- the client ---- */

struct answer {
    struct neap_request *request;
    int code;
    struct neap_err err;
};

static void answer(void *arg)
{
    struct answer *a = arg;
    struct neap_reply reply = {.code = a->code, .err = &a->err, .status = a->code ? 409 : 200};
    a->request->done(a->request, &reply);
    neap_err_done(&a->err);
    free(a);
}

static void reply(struct world *w, struct neap_request *r, int code)
{
    struct answer *a = neap_calloc(1, sizeof(*a));
    a->request = r;
    a->code = code;
    if (code)
        neap_err_set(&a->err, code, "refused by the test");
    neap_loop_post(w->loop, answer, a);
}

static int bind_pod(struct world *w, struct neap_request *r)
{
    char buf[512], patch[600];
    yyjson_doc *doc = yyjson_read(r->body, r->body_len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct neap_object *o = world_get(w, "pods", r->name);
    const char *uid = neap_json_val_str_at(root, "metadata.uid");
    int code = 0;
    snprintf(patch, sizeof(patch), "{\"spec\":{\"nodeName\":\"%s\"}}",
             neap_json_val_str_at(root, "target.name"));
    if (w->refuse_bindings) {
        w->refuse_bindings--;
        code = NEAP_ECONFLICT;
    } else if (!o || strcmp(uid, neap_object_uid(o)) != 0) {
        code = NEAP_ECONFLICT; /* the API server refuses it */
    } else if (neap_object_deleting(o) || *world_text(o, "spec.nodeName", buf)) {
        w->wrong_bindings++;
        code = NEAP_ECONFLICT;
    } else {
        w->bindings++;
        world_patch(w, o, patch);
    }
    yyjson_doc_free(doc);
    return code;
}

static void keep_told(struct world *w, const struct neap_request *r)
{
    yyjson_doc *doc = yyjson_read(r->body, r->body_len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_true(w->told_count < EVENTS_MAX);
    struct told *t = &w->told[w->told_count++];
    t->pod = neap_strdup(neap_json_val_str_at(root, "involvedObject.name"));
    t->reason = neap_strdup(neap_json_val_str_at(root, "reason"));
    t->type = neap_strdup(neap_json_val_str_at(root, "type"));
    t->message = neap_strdup(neap_json_val_str_at(root, "message"));
    yyjson_doc_free(doc);
}

static int delete_pod(struct world *w, const struct neap_request *r)
{
    struct neap_object *o = world_get(w, "pods", r->name);
    if (!o || strcmp(neap_object_uid(o), r->options.precondition_uid) != 0)
        return NEAP_ENOTFOUND;
    w->deletes++;
    world_patch(w, o, "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}}");
    return 0;
}

static void world_request(struct neap_client *c, struct neap_request *r)
{
    struct world *w = c->self;
    int code = 0;
    if (strcmp(r->kind->resource, "events") == 0) {
        if (r->verb == NEAP_CREATE)
            keep_told(w, r);
        else
            w->repeated++;
    } else if (neap_streq(r->subresource, "binding")) {
        code = bind_pod(w, r);
    } else if (neap_streq(r->subresource, "status")) {
        struct neap_object *o = world_get(w, "pods", r->name);
        w->status_patches++;
        if (o)
            world_patch(w, o, r->body);
        else
            code = NEAP_ENOTFOUND;
    } else if (r->verb == NEAP_DELETE) {
        code = delete_pod(w, r);
    } else {
        fail_msg("unexpected request");
    }
    reply(w, r, code);
}

static void listed(void *arg)
{
    struct neap_reflector *r = arg;
    size_t at = 0;
    const char *key;
    void *value;
    while (neap_map_next(&r->world->objects, &at, &key, &value))
        if (neap_object_kind(value) == r->o.kind)
            r->o.event(r->o.arg, NEAP_ADDED, value);
    r->open = true;
    r->o.synced(r->o.arg, r->world->revision);
}

static struct neap_reflector *world_reflect(struct neap_client *c,
                                            const struct neap_reflector_options *o)
{
    struct world *w = c->self;
    assert_true(w->watch_count < WATCHES_MAX);
    struct neap_reflector *r = &w->watches[w->watch_count++];
    *r = (struct neap_reflector){w, *o, false};
    neap_loop_post(w->loop, listed, r);
    return r;
}

static void world_reflect_stop(struct neap_client *c, struct neap_reflector *r)
{
    (void)c;
    r->open = false;
}

/* ---- life ---- */

/* Until nothing is left to do now. */
static void world_run(struct world *w)
{
    for (int quiet = 0, turns = 0; quiet < 8; quiet++) {
        uint64_t before = w->revision + w->told_count + w->repeated;
        neap_loop_turn(w->loop, false);
        if (before != w->revision + w->told_count + w->repeated ||
            (w->sched && (w->sched->requests || w->sched->cycling)))
            quiet = 0;
        assert_true(++turns < 1000000);
    }
}

static inline void world_pass(struct world *w, int64_t seconds)
{
    for (int64_t i = 0; i < seconds; i++) {
        w->now += SECOND;
        sched_tick(w->sched);
        world_run(w);
    }
}

static void world_open(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    w->now = 1000 * SECOND;
    w->seed = seed;
    w->clock = (struct neap_clock){world_time, world_time, w};
    w->rand = (struct neap_rand){world_fill, w};
    w->loop = neap_loop_new("test", &w->clock);
    w->client = (struct neap_client){.request = world_request,
                                     .reflect = world_reflect,
                                     .reflect_stop = world_reflect_stop,
                                     .self = w};
}

static void world_start(struct world *w, struct neap_sched_options o)
{
    o.loop = w->loop;
    o.client = &w->client;
    o.clock = &w->clock;
    o.rand = &w->rand;
    o.scheduler_name = "default-scheduler";
    w->sched = neap_sched_start(&o);
    world_run(w);
}

static void world_stopped(void *arg)
{
    struct world *w = arg;
    w->stopped = true;
}

static void world_close(struct world *w)
{
    struct neap_sched *s = w->sched;
    size_t at = 0;
    const char *key;
    void *value;
    w->sched = NULL;
    if (s)
        neap_sched_stop(s, world_stopped, w);
    while (s && !w->stopped)
        neap_loop_turn(w->loop, false);
    neap_loop_turn(w->loop, false);
    neap_loop_free(w->loop);
    while (neap_map_next(&w->objects, &at, &key, &value))
        neap_object_unref(value);
    neap_map_done(&w->objects, NULL);
    for (unsigned i = 0; i < w->told_count; i++) {
        free(w->told[i].pod);
        free(w->told[i].reason);
        free(w->told[i].type);
        free(w->told[i].message);
    }
    assert_int_equal(w->wrong_bindings, 0);
}

/* ---- what tests say ---- */

/* <labels>, <spec>, <status>: JSON members, "" for none. */
static void world_node(struct world *w, const char *name, const char *cpu, const char *labels,
                       const char *spec)
{
    NEAP_CLEANUP_FREE char *json = neap_asprintf(
        "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"uid\":\"u-%s\","
        "\"labels\":{\"kubernetes.io/hostname\":\"%s\"%s%s}},\"spec\":{%s},\"status\":{"
        "\"allocatable\":{\"cpu\":\"%s\",\"memory\":\"8Gi\",\"pods\":\"20\"}}}",
        name, name, name, *labels ? "," : "", labels, spec, cpu);
    world_put(w, "", "nodes", json);
}

static void world_pod(struct world *w, const char *name, const char *cpu, const char *labels,
                      const char *spec)
{
    static unsigned uid;
    NEAP_CLEANUP_FREE char *json = neap_asprintf(
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\","
        "\"namespace\":\"default\",\"uid\":\"p-%u\",\"labels\":{%s}},\"spec\":{%s%s"
        "\"schedulerName\":\"default-scheduler\",\"containers\":[{\"name\":\"c\","
        "\"image\":\"busybox\",\"resources\":{\"requests\":{\"cpu\":\"%s\"}}}]},\"status\":{"
        "\"phase\":\"Pending\"}}",
        name, ++uid, labels, spec, *spec ? "," : "", cpu);
    world_put(w, "", "pods", json);
}

/* Where a pod is; "" nowhere. */
static const char *world_where(struct world *w, const char *pod)
{
    static char bufs[4][512]; /* a test compares a few */
    static unsigned turn;
    struct neap_object *o = world_get(w, "pods", pod);
    assert_non_null(o);
    return world_text(o, "spec.nodeName", bufs[turn++ % 4]);
}

/* The last message of that reason about the pod; "" none. */
static inline const char *world_told(struct world *w, const char *pod, const char *reason)
{
    for (unsigned i = w->told_count; i-- > 0;)
        if (strcmp(w->told[i].pod, pod) == 0 && strcmp(w->told[i].reason, reason) == 0)
            return w->told[i].message;
    return "";
}

static inline enum sched_state world_state(struct world *w, const char *pod)
{
    struct neap_sched_pod *p =
        neap_map_get(&w->sched->pods, neap_object_key(world_get(w, "pods", pod)));
    assert_non_null(p);
    return p->state;
}

#endif
