/* The world of a test: opening, closing, time, rest. */
#include "world.h"
#include "server.h"
#include "world_internal.h"

#include <neap/log.h>
#include <neap/plugin/store.h>

#include <stdlib.h>
#include <unistd.h>

enum { TURNS = 16, TURNS_MAX = 200000, ARENA_BYTES = 64 << 20 };
#define EPOCH_NS (1767225600ll * 1000000000) /* 2026-01-01 */

/* ---- what worlds share ---- */

int neap_world_base_open(struct neap_config *config, struct neap_world_base *b,
                         struct neap_err *err)
{
    char plugins[4096];
    memset(b, 0, sizeof(*b));
    neap_beside(neap_config_string(config, NULL, "plugin_dir"), "plugins", plugins,
                sizeof(plugins));
    neap_beside(neap_config_string(config, NULL, "script_dir"), "scripts", b->scripts,
                sizeof(b->scripts));
    snprintf(b->dir, sizeof(b->dir), "/tmp/neap-script-XXXXXX");
    if (!mkdtemp(b->dir)) {
        b->dir[0] = '\0';
        return neap_err_set(err, NEAP_ECONFIG, "no temporary directory in /tmp");
    }
    int rc = neap_plugin_load(plugins, "store", "memory", config, &b->store, err);
    if (!rc)
        b->host = neap_plugin_host(b->store, NULL, config, "000000", b->dir, err);
    return rc ? rc : b->host ? 0 : err->code;
}

void neap_world_base_close(struct neap_world_base *b)
{
    static const char *const below[] = {"/plugins/memory", "/plugins", ""};
    char path[128];
    if (b->store)
        neap_plugin_free(b->store);
    for (size_t i = 0; b->dir[0] && i < NEAP_ARRAY_LEN(below); i++) {
        snprintf(path, sizeof(path), "%s%s", b->dir, below[i]);
        rmdir(path);
    }
}

/* ---- time and chance ---- */

static int64_t wall(void *self)
{
    struct neap_world *w = self;
    return EPOCH_NS + w->now_ns;
}

static int64_t mono(void *self)
{
    struct neap_world *w = self;
    return w->now_ns;
}

/* splitmix64: the same names in each run. */
static void fill(void *self, void *buf, size_t len)
{
    struct neap_world *w = self;
    for (unsigned char *p = buf; len; len--) {
        uint64_t z = (w->seed += 0x9e3779b97f4a7c15u);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        *p++ = (unsigned char)(z ^ z >> 31);
    }
}

/* ---- rest ---- */

static void passed(struct neap_txn *txn)
{
    bool *done = txn->data;
    *done = true;
}

/* What was committed before has woken its watches: the writer takes one thing after the other. */
static void barrier(struct neap_world *w)
{
    bool done = false;
    struct neap_txn_op op = {.kind = neap_kind_by_resource("", "v1", "namespaces"),
                             .key = "/registry/core/namespaces/default",
                             .expected = NEAP_STORE_ANY,
                             .check_only = true};
    struct neap_txn txn = {
        .ops = &op, .op_count = 1, .loop = w->loop, .done = passed, .data = &done};
    neap_registry_submit(w->registry, &txn);
    while (!done)
        neap_loop_turn(w->loop, true);
    neap_txn_done(&txn);
}

static bool idle(struct neap_world *w)
{
    for (unsigned i = 0; i < w->control_count; i++)
        if (!neap_control_idle(w->controls[i]))
            return false;
    return true;
}

bool world_settle(struct neap_world *w)
{
    uint64_t before;
    unsigned left = TURNS_MAX;
    bool busy;
    do {
        before = neap_registry_revision(w->registry);
        busy = false;
        barrier(w);
        for (int i = 0; i < TURNS; i++)
            neap_loop_turn(w->loop, false);
        for (; !idle(w) && left; left--) {
            neap_loop_turn(w->loop, true);
            busy = true;
        }
    } while (left && (busy || before != neap_registry_revision(w->registry)));
    return left > 0;
}

bool world_advance(struct neap_world *w, int64_t ns)
{
    int64_t target = w->now_ns + ns;
    unsigned left = TURNS_MAX;
    bool ok = world_settle(w);
    while (ok && --left && neap_loop_next_timer(w->loop) <= target) {
        int64_t due = neap_loop_next_timer(w->loop);
        if (due > w->now_ns)
            w->now_ns = due;
        neap_loop_fire(w->loop);
        ok = world_settle(w);
    }
    w->now_ns = target;
    return ok && left && world_settle(w);
}

/* ---- open and close ---- */

static int open_rest(struct neap_world *w, struct neap_err *err)
{
    struct neap_admission_options a = {
        .clock = &w->clock, .rand = &w->rand, .script_dir = w->base->scripts};
    int rc = neap_admission_open(&a, &w->rules, err);
    if (rc)
        return rc;
    struct neap_rest_options r = {.loop = w->loop,
                                  .registry = w->registry,
                                  .clock = &w->clock,
                                  .rand = &w->rand,
                                  .admission = neap_admission_hooks(w->rules),
                                  .service_cidr = "10.96.0.0/16",
                                  .node_port_first = 30000,
                                  .node_port_last = 32767,
                                  .bookmark_ms = 60000,
                                  .watch_min_ms = 1800000,
                                  .arena_bytes = ARENA_BYTES,
                                  .version = NEAP_VERSION};
    w->rest = neap_rest_new(&r);
    w->client = neap_rest_client(w->rest, w->system, w->loop);
    return 0;
}

int neap_world_open(const struct neap_world_base *b, struct neap_world **ret, struct neap_err *err)
{
    static const char *const groups[] = {"system:masters", "system:authenticated", NULL};
    struct neap_world *w = neap_calloc(1, sizeof(*w));
    w->base = b;
    w->clock = (struct neap_clock){wall, mono, w};
    w->rand = (struct neap_rand){fill, w};
    w->system = neap_identity_new("system:apiserver", NULL, groups, NULL);
    w->system->authenticated = true;
    w->user = neap_identity_ref(w->system);
    w->loop = neap_loop_new("test", &w->clock);
    neap_loop_manual(w->loop);
    struct neap_registry_options o = {
        .store = (const struct neap_store_plugin *)(const void *)neap_plugin_header(b->store),
        .store_host = b->host,
        .clock = &w->clock};
    int rc = neap_registry_open(&o, &w->registry, err);
    if (!rc)
        rc = open_rest(w, err);
    if (rc)
        neap_world_close(w);
    else
        *ret = w;
    return rc;
}

static void stopped(void *arg)
{
    struct neap_world *w = arg;
    w->control_count--;
}

static void stop_controls(struct neap_world *w)
{
    unsigned n = w->control_count;
    for (unsigned i = 0; i < n; i++)
        neap_control_stop(w->controls[i], stopped, w);
    while (w->control_count)
        neap_loop_turn(w->loop, true);
}

struct neap_world *neap_world_close(struct neap_world *w)
{
    if (!w)
        return NULL;
    if (w->rest) {
        stop_controls(w);
        w->client->close(w->client);
        for (int i = 0; i < TURNS; i++) /* reflectors free themselves on the loop */
            neap_loop_turn(w->loop, false);
        neap_rest_free(w->rest);
    }
    neap_admission_close(w->rules);
    if (w->registry)
        neap_registry_close(w->registry);
    neap_loop_free(w->loop);
    neap_identity_unref(w->system);
    neap_identity_unref(w->user);
    world_warnings_free(w);
    free(w);
    return NULL;
}
