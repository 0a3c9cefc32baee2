/* The writer: one thread that owns the store and publishes. What queued while the last group was being
 * made durable is the next group. For each group: expectations are checked, revisions given, the store
 * writes (and calls follow), one snapshot is published, the transactions are answered, watchers woken.
 *
 * A transaction sees what the published state will be once the transactions before it in the group are
 * durable; should the store refuse the group, those that conflicted with such a state fail like it. */
#include "core/registry/registry_internal.h"

#include <errno.h>
#include <time.h>

struct neap_group {
    struct neap_txn *all; /* in order, linked by next */
    struct neap_txn **written;
    struct neap_store_txn *store; /* of written[i] */
    size_t count, cap, store_cap;
    struct neap_store_change *changes;
    size_t change_count, change_cap;
    struct neap_map pending; /* key -> revision + 1 that the group gives it (1: deleted) */
    uint64_t revision;       /* the last one given */
    size_t bytes;            /* of the drafts */
    size_t followed;
};

/* ---- queue; thread: any ---- */

static void run_done(void *arg)
{
    struct neap_txn *txn = arg;
    txn->done(txn);
}

static void complete(struct neap_txn *txn)
{
    if (txn->loop)
        neap_loop_post(txn->loop, run_done, txn);
    else
        txn->done(txn); /* the writer's own */
}

void neap_registry_submit(struct neap_registry *r, struct neap_txn *txn)
{
    txn->result = 0;
    txn->revision = 0;
    txn->conflict_op = 0;
    txn->conflict_revision = 0;
    txn->objects = NULL;
    txn->next = NULL;
    pthread_mutex_lock(&r->queue_lock);
    if (r->stopping || r->broken)
        txn->result = NEAP_EUNAVAILABLE;
    else if (r->queue_count >= r->options.queue_max)
        txn->result = NEAP_ETOOMANYREQUESTS;
    if (!txn->result) {
        *r->queue_tail = txn;
        r->queue_tail = &txn->next;
        if (r->queue_count++ == 0)
            pthread_cond_signal(&r->queue_wake);
    }
    int refused = txn->result;
    pthread_mutex_unlock(&r->queue_lock);
    if (refused)
        complete(txn);
}

void neap_txn_done(struct neap_txn *txn)
{
    for (size_t i = 0; txn->objects && i < txn->op_count; i++)
        neap_object_unref(txn->objects[i]);
    free(txn->objects);
    txn->objects = NULL;
}

static void job_done(void *arg)
{
    struct neap_job *job = arg;
    job->done(job->arg, job->code, job->code ? job->message : NULL);
    free(job->path);
    free(job);
}

static void job_post(struct neap_job *job, int code, const char *message)
{
    job->code = code;
    snprintf(job->message, sizeof(job->message), "%s", message);
    neap_loop_post(job->loop, job_done, job);
}

void neap_registry_backup(struct neap_registry *r, const char *path, struct neap_loop *loop,
                          void (*done)(void *arg, int code, const char *message), void *arg)
{
    struct neap_job *job = neap_calloc(1, sizeof(*job));
    job->path = neap_strdup(path);
    job->loop = loop;
    job->done = done;
    job->arg = arg;
    pthread_mutex_lock(&r->queue_lock);
    bool refused = r->stopping;
    if (!refused) {
        *r->jobs_tail = job;
        r->jobs_tail = &job->next;
        pthread_cond_signal(&r->queue_wake);
    }
    pthread_mutex_unlock(&r->queue_lock);
    if (refused)
        job_post(job, NEAP_EUNAVAILABLE, "the registry is closing");
}

/* ---- checking ---- */

static uint64_t key_revision(const struct neap_registry *r, const struct neap_group *g,
                             const struct neap_txn_op *op)
{
    uintptr_t pending = (uintptr_t)neap_map_get(&g->pending, op->key);
    if (pending)
        return pending - 1;
    const struct neap_resource *res = neap_registry_resource(r, op->kind->storage);
    const struct neap_object *o = neap_tree_get(&r->trees[res->tree], op->key);
    return o ? o->revision : 0;
}

/* A caller's mistake, not a client's: 0 or NEAP_EINTERNAL. */
static int check_form(const struct neap_registry *r, const struct neap_txn *txn)
{
    if (!txn->op_count || txn->op_count > NEAP_REGISTRY_OPS_MAX)
        return NEAP_EINTERNAL;
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct neap_txn_op *op = &txn->ops[i];
        const struct neap_resource *res = neap_registry_resource(r, op->kind->storage);
        if (!res || neap_registry_resource_of_key(r, op->key) != res)
            return NEAP_EINTERNAL;
        const struct neap_object *d = op->check_only ? NULL : op->draft;
        if (d && (d->revision || d->kind->storage != res->kind || strcmp(d->key->s, op->key) != 0))
            return NEAP_EINTERNAL;
        for (size_t j = 0; j < i && !op->check_only; j++)
            if (!txn->ops[j].check_only && strcmp(txn->ops[j].key, op->key) == 0)
                return NEAP_EINTERNAL; /* which of the two would it be? */
    }
    return 0;
}

static int check_expected(const struct neap_registry *r, const struct neap_group *g,
                          struct neap_txn *txn)
{
    for (size_t i = 0; i < txn->op_count; i++) {
        uint64_t now = key_revision(r, g, &txn->ops[i]);
        if (txn->ops[i].expected == NEAP_STORE_ANY || txn->ops[i].expected == now)
            continue;
        txn->conflict_op = i;
        txn->conflict_revision = now;
        return NEAP_ECONFLICT;
    }
    return 0;
}

/* ---- a group ---- */

static bool writes(const struct neap_txn_op *op, uint64_t now)
{
    return !op->check_only && (op->draft || now); /* deleting what is not there changes nothing */
}

/* Adds the store's changes of a transaction whose expectations hold; false: it changes nothing. */
static bool group_add(struct neap_registry *r, struct neap_group *g, struct neap_txn *txn)
{
    size_t first = g->change_count;
    uint64_t revision = g->revision + 1;
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct neap_txn_op *op = &txn->ops[i];
        uint64_t now = key_revision(r, g, op);
        if (!writes(op, now))
            continue;
        g->changes = neap_grow(g->changes, &g->change_cap, g->change_count, sizeof(*g->changes));
        struct neap_store_change *c = &g->changes[g->change_count++];
        /* what the key has: a store keeps its history by it */
        *c = (struct neap_store_change){.key = op->key, .expected = now};
        if (op->draft) {
            c->value = neap_object_json(op->draft, &c->value_len); /* at revision 0: as stored */
            c->expires_wall_ns = neap_object_expires(op->draft);
            g->bytes += c->value_len;
        }
        neap_map_set(&g->pending, op->key, (void *)(uintptr_t)(op->draft ? revision + 1 : 1));
    }
    if (g->change_count == first)
        return false;
    g->revision = revision;
    g->store = neap_grow(g->store, &g->store_cap, g->count, sizeof(*g->store));
    g->written = neap_grow(g->written, &g->cap, g->count, sizeof(struct neap_txn *));
    g->written[g->count] = txn;
    g->store[g->count++] =
        (struct neap_store_txn){.change_count = g->change_count - first, .revision = revision};
    return true;
}

static void check_one(struct neap_registry *r, struct neap_group *g, struct neap_txn *txn)
{
    txn->result = check_form(r, txn);
    if (!txn->result)
        txn->result = check_expected(r, g, txn);
    if (txn->result)
        return;
    txn->objects = neap_calloc(txn->op_count, sizeof(struct neap_object *));
    group_add(r, g, txn);
    txn->revision = g->revision;
}

/* Fills the group until it is large enough; returns what is left for the next one. */
static struct neap_txn *group_check(struct neap_registry *r, struct neap_group *g)
{
    struct neap_txn **end = &g->all;
    for (; *end && g->bytes < NEAP_REGISTRY_GROUP_BYTES; end = &(*end)->next)
        check_one(r, g, *end);
    struct neap_txn *rest = *end;
    *end = NULL;
    size_t at = 0;
    for (size_t i = 0; i < g->count; at += g->store[i++].change_count)
        g->store[i].changes = &g->changes[at];
    return rest;
}

/* One durable transaction: its drafts become the published objects. */
void neap_registry_writer_follow(void *arg, const struct neap_store_record *records, size_t count)
{
    struct neap_registry *r = arg;
    struct neap_group *g = r->group;
    if (!count || !g || g->followed >= g->count ||
        g->store[g->followed].revision != records[0].revision ||
        g->store[g->followed].change_count != count) {
        r->fatal(r, "the store tells of a transaction that nobody wrote");
        return;
    }
    struct neap_txn *txn = g->written[g->followed++];
    for (size_t i = 0, c = 0; i < txn->op_count && c < count; i++) {
        const struct neap_txn_op *op = &txn->ops[i];
        if (op->check_only || strcmp(op->key, records[c].key) != 0)
            continue;
        txn->objects[i] = neap_registry_apply(r, neap_registry_resource(r, op->kind->storage),
                                              op->key, op->draft, records[c++].revision);
    }
}

static void group_fail(struct neap_group *g, int code)
{
    for (struct neap_txn *txn = g->all; txn; txn = txn->next) {
        bool of_group = txn->result == NEAP_ECONFLICT &&
                        neap_map_get(&g->pending, txn->ops[txn->conflict_op].key);
        if (txn->result && !of_group)
            continue;
        txn->result = code;
        txn->revision = 0;
    }
}

/* Nothing is written any more. Only seen when fatal() returns: a test's does. */
static void break_down(struct neap_registry *r, const char *why)
{
    r->fatal(r, why);
    pthread_mutex_lock(&r->queue_lock);
    r->broken = true;
    pthread_mutex_unlock(&r->queue_lock);
}

static void store_failed(struct neap_registry *r, struct neap_group *g, int code)
{
    const char *why = neap_registry_failure();
    group_fail(g, code);
    if (code == NEAP_EIO) {
        break_down(r, why);
    } else {
        NEAP_ERROR("registry", "the store refused a group", "code=%s transactions=%zu err=%s",
                   neap_err_name(code), g->count, neap_log_quote(why));
    }
}

/* Makes the group durable and publishes it. */
static void group_write(struct neap_registry *r, struct neap_group *g)
{
    int64_t start = neap_clock_mono(r->clock);
    r->group = g;
    neap_registry_failure_clear();
    int rc = r->broken ? NEAP_EUNAVAILABLE : r->store->write(r->store_self, g->store, g->count);
    r->group = NULL;
    neap_registry_metrics_write(g->count, neap_clock_mono(r->clock) - start);
    if (rc < 0) {
        store_failed(r, g, rc);
        return;
    }
    if (g->followed != g->count) {
        break_down(r, "the store has not told of what it wrote");
        group_fail(g, NEAP_EIO);
        return;
    }
    neap_registry_metrics_publish(r, g->revision);
    neap_registry_snapshot_publish(r, g->revision);
    neap_registry_snapshot_expire(r);
    neap_registry_ring_publish(r, g->revision);
    r->revision = g->revision;
}

static void group_complete(struct neap_group *g)
{
    struct neap_txn *next;
    for (struct neap_txn *txn = g->all; txn; txn = next) {
        next = txn->next;
        complete(txn);
    }
}

/* Returns the transactions that are left for the next group. */
static struct neap_txn *group_run(struct neap_registry *r, struct neap_txn *all)
{
    struct neap_group g = {.all = all, .revision = r->revision};
    struct neap_txn *rest = group_check(r, &g);
    if (g.count)
        group_write(r, &g);
    group_complete(&g);
    if (g.count)
        neap_registry_wake(r);
    neap_map_done(&g.pending, NULL);
    free(g.changes);
    free(g.store);
    free(g.written);
    return rest;
}

static void run_all(struct neap_registry *r, struct neap_txn *txns)
{
    while (txns)
        txns = group_run(r, txns);
}

/* ---- jobs ---- */

static void run_jobs(struct neap_registry *r, struct neap_job *job)
{
    const struct neap_store_plugin *s = r->store;
    bool can =
        s->header.struct_size >= offsetof(struct neap_store_plugin, backup) + sizeof(s->backup) &&
        s->backup;
    for (struct neap_job *next; job; job = next) {
        next = job->next;
        if (!can)
            job_post(job, NEAP_ENOTSUPPORTED, "this store makes no backups");
        else /* the failure's text counts only when there is one */
            job_post(job, s->backup(r->store_self, job->path), neap_registry_failure());
    }
}

/* ---- housekeeping ---- */

/* One slice. While writes wait it takes a fifth of the time at most. */
static void compact_slice(struct neap_registry *r)
{
    uint64_t to = r->compacted;
    bool done = false;
    int64_t start = neap_clock_mono(r->clock);
    int rc = r->broken ? NEAP_EUNAVAILABLE : r->store->compact(r->store_self, to, &done);
    int64_t now = neap_clock_mono(r->clock);
    r->compact_next = now + 4 * (now - start);
    r->compacting = !rc && !done;
    if (!rc && done)
        r->compact_done = to;
    if (rc == NEAP_EIO)
        break_down(r, neap_registry_failure());
    else if (rc && !r->broken) /* again at the next tick */
        NEAP_WARN("registry", "compaction failed", "revision=%llu err=%s", (unsigned long long)to,
                  neap_log_quote(neap_registry_failure()));
}

/* Once a tick. Many writes, then few: what their requests held is free, but spread over the heap. */
static void trim(struct neap_registry *r)
{
    uint64_t lately = r->revision - r->tick_revision;
    r->tick_revision = r->revision;
    if (lately >= NEAP_REGISTRY_TRIM_PAUSE || r->revision - r->trimmed < NEAP_REGISTRY_TRIM)
        return;
    r->trimmed = r->revision;
    neap_memory_trim();
}

/* After each group, and when there is nothing to write; true: there is more to do. */
static bool tick(struct neap_registry *r, bool idle)
{
    int64_t now = neap_clock_mono(r->clock);
    size_t expired = 0;
    if (idle || now - r->ticked >= (int64_t)NEAP_REGISTRY_TICK_MS * 1000000) {
        struct neap_txn *head = NULL, **tail = &head;
        if (now - r->ticked >= (int64_t)NEAP_REGISTRY_TICK_MS * 1000000)
            trim(r);
        r->ticked = now;
        neap_registry_snapshot_expire(r);
        neap_registry_ring_expire(r);
        expired = neap_registry_expire_due(r, &tail);
        run_all(r, head);
        r->compacting = r->compacted > r->compact_done;
    }
    if (r->compacting && (idle || now >= r->compact_next))
        compact_slice(r);
    return r->compacting || expired == NEAP_REGISTRY_EXPIRE_MAX;
}

/* ---- thread ---- */

/* Takes up to a group; under queue_lock. */
static struct neap_txn *take_group(struct neap_registry *r)
{
    struct neap_txn *head = r->queue, **end = &r->queue;
    size_t n = 0;
    for (; *end && n < NEAP_REGISTRY_GROUP_MAX; n++)
        end = &(*end)->next;
    r->queue = *end;
    *end = NULL;
    if (end == &r->queue)
        head = NULL;
    if (!r->queue)
        r->queue_tail = &r->queue;
    r->queue_count -= n;
    return head;
}

static void wait_work(struct neap_registry *r)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (NEAP_REGISTRY_TICK_MS % 1000) * 1000000L;
    until.tv_sec += NEAP_REGISTRY_TICK_MS / 1000;
    while (!r->queue && !r->jobs && !r->stopping)
        if (pthread_cond_timedwait(&r->queue_wake, &r->queue_lock, &until) == ETIMEDOUT)
            return;
}

static void *writer_main(void *arg)
{
    struct neap_registry *r = arg;
    bool more = false, stop = false;
    while (!stop) {
        pthread_mutex_lock(&r->queue_lock);
        if (!more)
            wait_work(r);
        struct neap_txn *txns = take_group(r);
        struct neap_job *jobs = r->jobs;
        r->jobs = NULL;
        r->jobs_tail = &r->jobs;
        stop = r->stopping && !txns && !jobs;
        pthread_mutex_unlock(&r->queue_lock);
        run_all(r, txns);
        run_jobs(r, jobs);
        more = tick(r, !txns) && !stop;
    }
    return NULL;
}

int neap_registry_writer_start(struct neap_registry *r, struct neap_err *err)
{
    int rc = pthread_create(&r->thread, NULL, writer_main, r);
    if (rc)
        return neap_err_errno(err, rc, "the registry's writer");
    r->started = true;
    pthread_setname_np(r->thread, "neap-writer");
    return 0;
}

void neap_registry_writer_stop(struct neap_registry *r)
{
    if (!r->started)
        return;
    pthread_mutex_lock(&r->queue_lock);
    r->stopping = true;
    pthread_cond_signal(&r->queue_wake);
    pthread_mutex_unlock(&r->queue_lock);
    pthread_join(r->thread, NULL);
    r->started = false;
}
