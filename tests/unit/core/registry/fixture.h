/* A registry on a store plugin, and one loop that its answers come to. */
#ifndef NEAP_TEST_REGISTRY_FIXTURE_H
#define NEAP_TEST_REGISTRY_FIXTURE_H

#include "core/registry/registry_internal.h"
#include "neap_test.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <unistd.h>

/* Time that only the test moves. */
static _Atomic int64_t test_now = 1;
static int64_t test_time(void *self)
{
    (void)self;
    return test_now;
}
static const struct neap_clock test_clock = {test_time, test_time, NULL};
#define SECOND INT64_C(1000000000)

static int64_t test_max_bytes, test_checkpoint_pages; /* 0: the default */
static int64_t config_integer(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "max_bytes") == 0          ? test_max_bytes
           : strcmp(name, "checkpoint_pages") == 0 ? test_checkpoint_pages
                                                   : 0;
}
static const char *config_string(void *ctx, const char *name)
{
    (void)ctx, (void)name;
    return NULL;
}
static int64_t system_mono(void *ctx)
{
    (void)ctx;
    return neap_clock_mono(&neap_clock_system);
}
static int64_t system_wall(void *ctx)
{
    (void)ctx;
    return neap_clock_wall(&neap_clock_system);
}
static void log_nothing(void *ctx, int level, const char *msg, const char *pairs)
{
    (void)ctx, (void)level, (void)msg, (void)pairs;
}
static const struct neap_host_config test_config = {config_string, config_integer};
static const struct neap_host_loop test_loop = {.now_mono_ns = system_mono,
                                                .now_wall_ns = system_wall};
static const struct neap_host_log test_log = {log_nothing};

static const char *test_top = "/tmp"; /* where the folders of stores are */

struct fixture {
    const struct neap_store_plugin *store;
    struct neap_host host;
    struct neap_registry_options options;
    struct neap_registry *r;
    struct neap_loop *loop;
    char dir[64];
    unsigned done, wakes;
};

static inline const struct neap_store_plugin *load_store(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/store/%s.so", NEAP_TEST_PLUGINS, name);
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!so)
        fail_msg("%s", dlerror());
    const struct neap_store_plugin *p = dlsym(so, NEAP_PLUGIN_SYMBOL);
    dlclose(so);
    return p;
}

static inline void fixture_open(struct fixture *f)
{
    struct neap_err err = NEAP_ERR_INIT;
    assert_ok(neap_registry_open(&f->options, &f->r, &err), err);
}

/* Everything but the registry. */
static inline struct fixture *fixture_new(const char *store)
{
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "%s/neap-registry-XXXXXX", test_top);
    assert_non_null(mkdtemp(f->dir));
    f->store = load_store(store);
    f->loop = neap_loop_new("test", NULL);
    f->host = (struct neap_host){.struct_size = sizeof(f->host),
                                 .instance = "000000",
                                 .data_dir = f->dir,
                                 .log = &test_log,
                                 .loop = &test_loop,
                                 .config = &test_config};
    f->options = (struct neap_registry_options){
        .store = f->store, .store_host = &f->host, .clock = &neap_clock_system};
    test_max_bytes = 0;
    return f;
}

static inline void fixture_free(struct fixture *f)
{
    static const char *const names[] = {"neap.db", "neap.db-wal", "neap.db-shm", "lock", "copy.db"};
    char path[128];
    neap_registry_close(f->r);
    neap_loop_free(f->loop);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        unlink(path);
    }
    rmdir(f->dir);
    free(f);
}

/* ---- objects ---- */

static inline const struct neap_kind *configmaps(void)
{
    return neap_kind_storage("", "configmaps");
}
static inline const struct neap_kind *pods(void)
{
    return neap_kind_storage("", "pods");
}

static inline struct neap_object *make(const struct neap_kind *k, const char *json, int64_t expires)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_object *o = NULL;
    assert_ok(neap_object_new(k, json, strlen(json), 0, expires, &o, &err), err);
    return o;
}

static inline struct neap_object *configmap(const char *ns, const char *name, const char *value)
{
    char *json = neap_asprintf("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{"
                               "\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"uid-%s\","
                               "\"labels\":{\"v\":\"%s\"}},\"data\":{\"v\":\"%s\"}}",
                               name, ns, name, value, value);
    struct neap_object *o = make(configmaps(), json, 0);
    free(json);
    return o;
}

static inline struct neap_object *pod(const char *name, const char *node, const char *owner)
{
    char *json = neap_asprintf(
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{"
        "\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"uid-%s\",\"ownerReferences\":["
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"name\":\"o\",\"uid\":\"%s\"}]},"
        "\"spec\":{\"nodeName\":\"%s\"}}",
        name, name, owner, node);
    struct neap_object *o = make(pods(), json, 0);
    free(json);
    return o;
}

/* ---- writing ---- */

static inline void txn_done(struct neap_txn *txn)
{
    struct fixture *f = txn->data;
    f->done++;
}

static inline void submit(struct fixture *f, struct neap_txn *txn)
{
    txn->loop = f->loop;
    txn->done = txn_done;
    txn->data = f;
    neap_registry_submit(f->r, txn);
}

static inline void wait_done(struct fixture *f, unsigned count)
{
    while (f->done < count)
        neap_loop_turn(f->loop, true);
    f->done = 0;
}

static inline void commit(struct fixture *f, struct neap_txn *txn)
{
    submit(f, txn);
    wait_done(f, 1);
}

/* Puts (draft taken) or deletes one key; the result, *ret_revision when not NULL. */
static inline int write_one(struct fixture *f, const struct neap_kind *k, const char *key,
                            struct neap_object *draft, uint64_t expected, uint64_t *ret_revision)
{
    struct neap_txn_op op = {.kind = k, .key = key, .expected = expected, .draft = draft};
    if (draft)
        op.key = neap_object_key(draft);
    struct neap_txn txn = {.ops = &op, .op_count = 1};
    commit(f, &txn);
    neap_txn_done(&txn);
    neap_object_unref(draft);
    if (ret_revision)
        *ret_revision = txn.revision;
    return txn.result;
}

static inline uint64_t put(struct fixture *f, struct neap_object *draft)
{
    uint64_t revision;
    const struct neap_kind *k = neap_object_kind(draft);
    assert_int_equal(write_one(f, k, NULL, draft, NEAP_STORE_ANY, &revision), 0);
    return revision;
}

static inline uint64_t del(struct fixture *f, const struct neap_kind *k, const char *key)
{
    uint64_t revision;
    assert_int_equal(write_one(f, k, key, NULL, NEAP_STORE_ANY, &revision), 0);
    return revision;
}

static inline const char *value_of(struct neap_object *o)
{
    return o ? neap_object_label(o, "v") : NULL;
}

#endif
