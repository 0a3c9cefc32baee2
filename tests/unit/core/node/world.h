/* A node whose machine, API and clock are the test's. Everything is done in one process and one thread; time
 * passes only in world_pass(). */
#ifndef NEAP_TEST_NODE_WORLD_H
#define NEAP_TEST_NODE_WORLD_H

#include "fake_api.h"

#include <dirent.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define ONE    "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]"

struct world {
    struct neap_clock clock;
    struct neap_rand rand;
    int64_t mono;
    uint64_t seed;
    struct neap_loop *loop;
    struct machine machine;
    struct api api;
    struct neap_node *node;
    char dir[64];
    bool ready, stopped;
    unsigned uids;
};

static int64_t world_mono(void *self)
{
    return ((struct world *)self)->mono;
}
static int64_t world_wall(void *self)
{
    return 1767225600 * SECOND + ((struct world *)self)->mono;
}
static void world_fill(void *self, void *buf, size_t len)
{
    struct world *w = self;
    for (size_t i = 0; i < len; i++) {
        w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)buf)[i] = (uint8_t)(w->seed >> 56);
    }
}

/* ---- time ---- */

/* Until nothing is left to do now. */
static void world_settle(struct world *w)
{
    for (int quiet = 0, turns = 0; quiet < 3; quiet++) {
        uint64_t before = w->machine.activity;
        neap_loop_turn(w->loop, false);
        if (before != w->machine.activity)
            quiet = 0;
        if (++turns > 20000)
            fail_msg("the agent does not come to rest");
    }
}

static void world_pass_ms(struct world *w, int64_t ms)
{
    int64_t end = w->mono + ms * 1000000;
    world_settle(w);
    for (unsigned fired = 0; neap_loop_next_timer(w->loop) <= end; fired++) {
        if (neap_loop_next_timer(w->loop) > w->mono)
            w->mono = neap_loop_next_timer(w->loop);
        neap_loop_fire(w->loop);
        world_settle(w);
        if (fired > 200000)
            fail_msg("a timer runs again and again");
    }
    w->mono = end;
    world_settle(w);
}

static inline void world_pass(struct world *w, int64_t seconds)
{
    world_pass_ms(w, seconds * 1000);
}

/* ---- the agent ---- */

static void world_ready(void *arg, const struct neap_err *err)
{
    assert_null(err);
    ((struct world *)arg)->ready = true;
}

static void world_stopped(void *arg)
{
    ((struct world *)arg)->stopped = true;
}

static void world_agent(struct world *w)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_node_options o = {.loop = w->loop,
                                  .client = &w->api.client,
                                  .runtime = &machine_runtime,
                                  .runtime_host = (void *)&w->machine,
                                  .network = &machine_network,
                                  .network_host = (void *)&w->machine,
                                  .clock = &w->clock,
                                  .rand = &w->rand,
                                  .name = "node-1",
                                  .data_dir = w->dir,
                                  .instance = "00abcd",
                                  .pod_cidr = "10.0.0.0/24",
                                  .service_cidr = "10.1.0.0/16",
                                  .node_ports = "30000-32767",
                                  .cluster_domain = "cluster.local",
                                  .version = "v1.37.0",
                                  .max_pods = 110,
                                  .min_free_memory = 1,
                                  .min_free_disk = 1,
                                  .min_free_pids = 1,
                                  .refresh_ms = 60000};
    assert_ok(neap_node_start(&o, &w->node, world_ready, w, &err), err);
    world_settle(w);
}

/* As kill -9 or a restart leaves it: what runs goes on, what was asked for gets no answer. */
static void world_agent_end(struct world *w)
{
    w->stopped = false;
    neap_node_stop(w->node, false, world_stopped, w);
    while (!w->stopped)
        neap_loop_turn(w->loop, w->node->trees > 0);
    api_forget(&w->api);
    machine_forget(&w->machine);
    for (int i = 0; i < REQUESTS; i++)
        w->api.rules[i].never = false;
    for (int i = 0; i < SLOTS; i++)
        w->machine.slots[i].hold = false;
    neap_node_free(w->node);
    w->node = NULL;
}

static void world_open(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->mono = 1000 * SECOND;
    w->clock = (struct neap_clock){world_wall, world_mono, w};
    w->rand = (struct neap_rand){world_fill, w};
    w->loop = neap_loop_new("test", &w->clock);
    neap_loop_manual(w->loop);
    w->machine.loop = w->loop;
    w->machine.clock = &w->clock;
    neap_list_init(&w->machine.operations);
    api_init(&w->api, w->loop, &w->clock, &w->machine);
    snprintf(w->dir, sizeof(w->dir), "/tmp/neap-node-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    world_agent(w);
    assert_true(w->ready);
}

static void world_close(struct world *w)
{
    world_agent_end(w);
    neap_loop_turn(w->loop, false);
    neap_loop_free(w->loop);
    api_free(&w->api);
    remove_tree(w->dir);
}

/* ---- what tests do ---- */

static inline void world_config(struct world *w, const char *resource, const char *name,
                                const char *data)
{
    NEAP_CLEANUP_FREE char *json = neap_asprintf(
        "{\"kind\":\"%s\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\","
        "\"namespace\":\"default\",\"uid\":\"u-%u\"},\"data\":%s}",
        strcmp(resource, "secrets") == 0 ? "Secret" : "ConfigMap", name, ++w->uids, data);
    api_put(&w->api, resource, json);
    world_settle(w);
}

/* <spec>: members; <meta>: more members, "" for none. */
static void world_pod_with(struct world *w, const char *name, const char *spec, const char *meta)
{
    NEAP_CLEANUP_FREE char *json =
        neap_asprintf("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\","
                      "\"namespace\":\"default\",\"uid\":\"u-%u\",\"generation\":1%s%s},\"spec\":{"
                      "\"nodeName\":\"node-1\",%s},\"status\":{\"phase\":\"Pending\"}}",
                      name, ++w->uids, *meta ? "," : "", meta, spec);
    api_put(&w->api, "pods", json);
    world_settle(w);
}

static inline void world_pod(struct world *w, const char *name, const char *spec)
{
    world_pod_with(w, name, spec, "");
}

static inline void world_patch(struct world *w, const char *name, const char *patch)
{
    struct neap_object *o = api_object(&w->api, "pods", name);
    assert_non_null(o);
    assert_int_equal(api_patch(&w->api, o, patch), 0);
    world_settle(w);
}

static inline void world_delete(struct world *w, const char *name, int64_t grace_s)
{
    NEAP_CLEANUP_FREE char *patch =
        neap_asprintf("{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
                      "\"deletionGracePeriodSeconds\":%lld}}",
                      (long long)grace_s);
    world_patch(w, name, patch);
}

static inline void world_force(struct world *w, const char *name)
{
    api_remove(&w->api, "pods", name);
    world_settle(w);
}

/* The newest container of that name; NULL: none was made. */
static inline struct thing *world_thing(struct world *w, const char *name)
{
    struct thing *found = NULL;
    NEAP_CLEANUP_FREE char *part = neap_asprintf("_%s_", name);
    for (int i = 0; i < THINGS_MAX; i++) {
        struct thing *t = &w->machine.things[i];
        if (strstr(t->id, part) &&
            (!found || atoi(strrchr(t->id, '_') + 1) > atoi(strrchr(found->id, '_') + 1)))
            found = t;
    }
    return found;
}

static inline void world_exit(struct world *w, const char *name, int code)
{
    struct thing *t = world_thing(w, name);
    assert_non_null(t);
    assert_int_equal(t->state, NEAP_RUNTIME_RUNNING);
    machine_end(&w->machine, t, code, code > 128 ? code - 128 : 0);
    world_settle(w);
}

static inline bool world_runs(struct world *w, const char *name)
{
    struct thing *t = world_thing(w, name);
    return t && t->state == NEAP_RUNTIME_RUNNING;
}

/* Its shim died and took the containers along. */
static inline void world_lose(struct world *w)
{
    for (int i = 0; i < BOXES_MAX; i++) {
        struct box *b = &w->machine.boxes[i];
        if (!b->exists || !b->ready)
            continue;
        b->ready = false;
        end_all(&w->machine, b->id, 137);
        w->machine.events.sandbox_changed(w->machine.events.arg, b->id);
    }
    world_settle(w);
}

/* ---- what tests ask ---- */

static inline const char *as_text(yyjson_val *v, char buf[512])
{
    if (yyjson_is_str(v))
        snprintf(buf, 512, "%s", yyjson_get_str(v));
    else if (yyjson_is_bool(v))
        snprintf(buf, 512, "%s", yyjson_get_bool(v) ? "true" : "false");
    else if (yyjson_is_num(v))
        snprintf(buf, 512, "%lld", (long long)yyjson_get_sint(v));
    else
        snprintf(buf, 512, "%s", v ? "{}" : "");
    return buf;
}

static inline char *next_buf(void)
{
    static char bufs[8][512]; /* a test compares a few */
    static unsigned turn;
    return bufs[turn++ % 8];
}

/* Of the pod that the API has: "status.phase"; <list> NULL, or of the item in it whose <key> is <name>. */
static inline const char *world_item(struct world *w, const char *pod, const char *list,
                                     const char *key, const char *name, const char *path)
{
    struct neap_object *o = api_object(&w->api, "pods", pod);
    char *buf = next_buf();
    buf[0] = '\0';
    yyjson_doc *doc = o ? neap_object_parse(o, NULL) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc), *x, *found = NULL;
    size_t i, n;
    yyjson_arr_foreach(list ? neap_json_val_at(root, list) : NULL, i, n, x)
    {
        if (yyjson_equals_str(yyjson_obj_get(x, key), name))
            found = x;
    }
    as_text(neap_json_val_at(list ? found : root, path), buf);
    yyjson_doc_free(doc);
    return buf;
}

static inline const char *world_get(struct world *w, const char *pod, const char *path)
{
    return world_item(w, pod, NULL, NULL, NULL, path);
}

static inline const char *world_condition(struct world *w, const char *pod, const char *type,
                                          const char *path)
{
    return world_item(w, pod, "status.conditions", "type", type, path);
}

/* "state.waiting.reason" of a container, whichever list it is in. */
static inline const char *world_of(struct world *w, const char *pod, const char *name,
                                   const char *path)
{
    static const char *const lists[] = {"status.containerStatuses", "status.initContainerStatuses"};
    const char *s = world_item(w, pod, lists[0], "name", name, path);
    return *s ? s : world_item(w, pod, lists[1], "name", name, path);
}

/* The last message of that reason; NULL: none. */
static inline const struct told *world_told(struct world *w, const char *reason)
{
    for (unsigned i = w->api.told_count; i-- > 0;)
        if (strcmp(w->api.told[i].reason, reason) == 0)
            return &w->api.told[i];
    return NULL;
}

static inline bool world_has_pod(struct world *w)
{
    return w->node->pods.count > 0;
}

static inline unsigned entries(const char *dir, const char *sub)
{
    NEAP_CLEANUP_FREE char *path = neap_asprintf("%s/%s", dir, sub);
    unsigned n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* No pod, sandbox, address, folder is left. */
static inline void world_assert_empty(struct world *w, const char *what)
{
    for (int i = 0; i < BOXES_MAX; i++)
        if (w->machine.boxes[i].id[0])
            fail_msg("%s: sandbox %s is left%s", what, w->machine.boxes[i].id,
                     w->machine.boxes[i].attached ? " and attached" : "");
    for (int i = 0; i < THINGS_MAX; i++)
        if (w->machine.things[i].id[0])
            fail_msg("%s: container %s is left", what, w->machine.things[i].id);
    while (w->node->trees)
        neap_loop_turn(w->loop, true);
    if (world_has_pod(w))
        fail_msg("%s: the agent still has a pod", what);
    if (entries(w->dir, "pods") || entries(w->dir, "logs"))
        fail_msg("%s: folders are left", what);
}

#endif
