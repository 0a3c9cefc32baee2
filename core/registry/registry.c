/* Opening, loading, closing: see neap/registry.h. */
#include "core/registry/registry_internal.h"

#include <unistd.h>

#define HISTORY_NS_DEFAULT    (300 * UINT64_C(1000000000))
#define HISTORY_BYTES_DEFAULT ((size_t)256 << 20)
#define QUEUE_MAX_DEFAULT     65536

/* ---- what the store says ---- */

static _Thread_local char failure[1024];

static void store_fail(void *ctx, const char *message)
{
    (void)ctx;
    snprintf(failure, sizeof(failure), "%s", message ? message : "");
}

const char *neap_registry_failure(void)
{
    return failure;
}

void neap_registry_failure_clear(void)
{
    failure[0] = '\0';
}

static int store_error(struct neap_err *err, int code, const char *what)
{
    return neap_err_set(err, code, "store %s", *failure ? failure : what);
}

static void fatal_default(struct neap_registry *r, const char *why)
{
    NEAP_ERROR("registry", "the store has failed: this server ends, it does not retry",
               "store=%s revision=%llu err=%s", r->store->header.name,
               (unsigned long long)r->revision, neap_log_quote(why));
    _exit(1);
}

/* ---- resources ---- */

struct neap_resource *neap_registry_resource(const struct neap_registry *r,
                                             const struct neap_kind *kind)
{
    if (!kind || kind->index >= r->resource_count)
        return NULL;
    struct neap_resource *res = &r->resources[kind->index];
    return res->kind == kind ? res : NULL;
}

struct neap_resource *neap_registry_resource_of_key(const struct neap_registry *r, const char *key)
{
    const char *p = key;
    for (int slashes = 0; slashes < 4; p++) { /* "/registry/<group>/<resource>/" */
        if (!*p)
            return NULL;
        slashes += *p == '/';
    }
    return neap_map_getn(&r->prefixes, key, (size_t)(p - key));
}

static void resource_init(struct neap_registry *r, const struct neap_kind *k)
{
    struct neap_resource *res = &r->resources[k->index];
    if (res->kind || k->virtual_kind)
        return;
    struct neap_buf prefix = NEAP_BUF_INIT;
    res->kind = k;
    res->tree = (unsigned)r->tree_count;
    r->tree_count += 1u + k->selectable_count;
    res->by_field = neap_calloc(k->selectable_count + 1u, sizeof(*res->by_field));
    neap_object_key_make(&prefix, k, NULL, NULL);
    neap_map_setn(&r->prefixes, prefix.data, prefix.len, res);
    neap_buf_done(&prefix);
}

static void resources_init(struct neap_registry *r)
{
    for (unsigned i = 0; i < neap_kind_count; i++)
        if (neap_kinds[i]->storage->index >= r->resource_count)
            r->resource_count = neap_kinds[i]->storage->index + 1;
    r->resources = neap_calloc(r->resource_count, sizeof(*r->resources));
    r->tree_count = NEAP_REGISTRY_OWNER_TREE + 1;
    for (unsigned i = 0; i < neap_kind_count; i++)
        resource_init(r, neap_kinds[i]->storage);
    r->trees = neap_calloc(r->tree_count, sizeof(*r->trees));
}

/* ---- loading ---- */

struct loading {
    struct neap_registry *r;
    struct neap_err *err;
    struct neap_map last; /* struct neap_object * by key: a key's state before the next record */
    uint64_t skipped;
};

static int parse_record(struct loading *l, const struct neap_resource *res,
                        const struct neap_store_record *rec, struct neap_object **ret)
{
    int rc = neap_object_new(res->kind, rec->value, rec->value_len, rec->revision,
                             rec->expires_wall_ns, ret, l->err);
    if (!rc && strcmp((*ret)->key->s, rec->key) != 0) {
        *ret = neap_object_unref(*ret);
        rc = neap_err_set(l->err, NEAP_EINTERNAL, "the record is of another object");
    }
    if (rc)
        neap_err_wrap(l->err, "store: damaged record of %s at revision %llu", rec->key,
                      (unsigned long long)rec->revision);
    return rc;
}

static int load_live(void *arg, const struct neap_store_record *rec)
{
    struct loading *l = arg;
    struct neap_resource *res = neap_registry_resource_of_key(l->r, rec->key);
    struct neap_object *o;
    if (!res) { /* a kind that this server does not know: kept in the store, not shown */
        if (l->skipped++ == 0)
            NEAP_WARN("registry", "records of unknown kinds are not shown", "first=%s", rec->key);
        return 0;
    }
    int rc = parse_record(l, res, rec, &o);
    if (!rc)
        neap_registry_apply_load(l->r, res, o);
    return rc;
}

/* The object of a put in the history: the live one where it is that, else its own. */
static int history_object(struct loading *l, const struct neap_resource *res,
                          const struct neap_store_record *rec, struct neap_object **ret)
{
    struct neap_object *live = neap_tree_get(&l->r->trees[res->tree], rec->key);
    *ret = NULL;
    if (live && live->revision == rec->revision)
        *ret = neap_object_ref(live);
    return *ret || !rec->value ? 0 : parse_record(l, res, rec, ret);
}

static int load_history(void *arg, const struct neap_store_record *rec)
{
    struct loading *l = arg;
    struct neap_resource *res = neap_registry_resource_of_key(l->r, rec->key);
    struct neap_object *o;
    if (!res)
        return 0;
    int rc = history_object(l, res, rec, &o);
    if (rc)
        return rc;
    struct neap_object *old =
        o ? neap_map_set(&l->last, rec->key, o) : neap_map_del(&l->last, rec->key);
    if (o) {
        neap_registry_event_add(l->r, res, rec->revision, old, neap_object_ref(o));
    } else if (old) { /* its put is older than the history: then nobody can have seen it */
        neap_registry_event_add(l->r, res, rec->revision,
                                neap_object_publish(old, rec->revision, old), NULL);
        neap_object_unref(old);
    }
    return 0;
}

static void unref_object(void *o)
{
    neap_object_unref(o);
}

static int load(struct neap_registry *r, struct neap_err *err)
{
    struct loading l = {.r = r, .err = err};
    uint64_t revision = 0, compacted = 0;
    int rc = r->store->load(r->store_self, load_live, load_history, &l, &revision, &compacted);
    neap_map_done(&l.last, unref_object);
    if (rc)
        return err->code ? err->code : store_error(err, rc, "does not load");
    neap_registry_metrics_publish(r, revision);
    neap_registry_snapshot_publish(r, revision);
    neap_registry_ring_publish(r, revision);
    neap_registry_ring_compact(r, compacted);
    neap_registry_ring_expire(r);
    r->revision = revision;
    r->compact_done = compacted;
    NEAP_INFO("registry", "loaded", "store=%s revision=%llu history_after=%llu",
              r->store->header.name, (unsigned long long)revision, (unsigned long long)compacted);
    return 0;
}

/* ---- life ---- */

static void options_fill(struct neap_registry_options *o)
{
    o->clock = o->clock ? o->clock : &neap_clock_system;
    o->history_ns = o->history_ns ? o->history_ns : HISTORY_NS_DEFAULT;
    o->history_bytes = o->history_bytes ? o->history_bytes : HISTORY_BYTES_DEFAULT;
    o->pin_ns = o->pin_ns ? o->pin_ns : HISTORY_NS_DEFAULT;
    o->queue_max = o->queue_max ? o->queue_max : QUEUE_MAX_DEFAULT;
}

static struct neap_registry *registry_new(const struct neap_registry_options *options)
{
    struct neap_registry *r = neap_calloc(1, sizeof(*r));
    pthread_condattr_t attr;
    r->options = *options;
    options_fill(&r->options);
    r->clock = r->options.clock;
    r->store = options->store;
    r->host = *options->store_host;
    r->host.fail = store_fail;
    r->fatal = fatal_default;
    r->batch = 1;
    r->queue_tail = &r->queue;
    r->jobs_tail = &r->jobs;
    neap_list_init(&r->snapshots);
    neap_list_init(&r->wakers);
    neap_list_init(&r->waits);
    pthread_mutex_init(&r->snap_lock, NULL);
    pthread_mutex_init(&r->watch_lock, NULL);
    pthread_mutex_init(&r->queue_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->queue_wake, &attr);
    pthread_condattr_destroy(&attr);
    resources_init(r);
    return r;
}

static void registry_free(struct neap_registry *r)
{
    if (r->store_self)
        r->store->close(r->store_self);
    for (size_t i = 0; i < r->event_count; i++) { /* of a load that failed */
        neap_object_unref(r->events[i].old);
        neap_object_unref(r->events[i].new_);
    }
    neap_registry_snapshot_done(r);
    neap_registry_ring_done(r);
    neap_registry_watch_done(r);
    neap_registry_expire_done(r);
    neap_registry_trees_done(r);
    neap_map_done(&r->prefixes, NULL);
    free(r->resources);
    free(r->events);
    free(r->event_resources);
    pthread_mutex_destroy(&r->snap_lock);
    pthread_mutex_destroy(&r->watch_lock);
    pthread_mutex_destroy(&r->queue_lock);
    pthread_cond_destroy(&r->queue_wake);
    free(r);
}

int neap_registry_open(const struct neap_registry_options *options, struct neap_registry **ret,
                       struct neap_err *err)
{
    struct neap_err own = NEAP_ERR_INIT;
    if (!options->store->embedded)
        return neap_err_set(err, NEAP_ENOTSUPPORTED,
                            "store %s: this server writes to embedded stores only",
                            options->store->header.name);
    neap_registry_metrics_register();
    struct neap_registry *r = registry_new(options);
    struct neap_store_follower follower = {r, neap_registry_writer_follow};
    neap_registry_failure_clear();
    int rc = r->store->open(&r->host, &follower, &r->store_self);
    if (rc) {
        r->store_self = NULL;
        rc = store_error(&own, rc, "does not open");
    } else {
        rc = load(r, &own);
    }
    if (!rc)
        rc = neap_registry_writer_start(r, &own);
    if (rc) {
        registry_free(r);
        return neap_err_move(err, &own);
    }
    *ret = r;
    return 0;
}

void neap_registry_close(struct neap_registry *r)
{
    if (!r)
        return;
    neap_registry_writer_stop(r);
    registry_free(r);
}

uint64_t neap_registry_revision(const struct neap_registry *r)
{
    return r->revision;
}

uint64_t neap_registry_compacted(const struct neap_registry *r)
{
    return r->compacted;
}
