/* Watches: what is told, who is woken, falling behind; waits. On the memory store. */
#include "fixture.h"

#include <sched.h>

static int setup(void **state)
{
    struct fixture *f = fixture_new("memory");
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

struct watcher {
    struct neap_watch *watch;
    struct neap_selector *selector;
    unsigned wakes;
};

static void on_wake(void *arg)
{
    ((struct watcher *)arg)->wakes++;
}

static int try_open(struct fixture *f, struct watcher *w, const struct neap_kind *k, const char *ns,
                    uint64_t after, struct neap_err *err)
{
    struct neap_watch_options o = {.kind = k,
                                   .namespace_ = ns,
                                   .selector = w->selector,
                                   .after = after,
                                   .loop = f->loop,
                                   .wake = on_wake,
                                   .arg = w};
    return neap_watch_open(f->r, &o, &w->watch, err);
}

static void open_watch(struct fixture *f, struct watcher *w, const struct neap_kind *k,
                       const char *ns, const char *labels, const char *fields, uint64_t after)
{
    struct neap_err err = NEAP_ERR_INIT;
    *w = (struct watcher){0};
    if (labels || fields)
        assert_ok(neap_selector_parse(k, labels, fields, &w->selector, &err), err);
    assert_ok(try_open(f, w, k, ns, after, &err), err);
}

static void close_watch(struct watcher *w)
{
    neap_watch_close(w->watch);
    neap_selector_free(w->selector);
}

static void assert_event(struct watcher *w, enum neap_event_type type, const char *name,
                         uint64_t revision)
{
    struct neap_event e;
    assert_int_equal(neap_watch_next(w->watch, &e), 1);
    assert_int_equal(e.type, type);
    assert_string_equal(neap_object_name(e.object), name);
    assert_int_equal(e.revision, revision);
    assert_int_equal(neap_object_revision(e.object), revision);
    char rv[64];
    snprintf(rv, sizeof(rv), "\"resourceVersion\":\"%llu\"", (unsigned long long)revision);
    assert_non_null(strstr(neap_object_json(e.object, NULL), rv));
    neap_object_unref(e.object);
}

static void assert_none(struct watcher *w)
{
    struct neap_event e;
    assert_int_equal(neap_watch_next(w->watch, &e), 0);
}

/* Lets every post that is under way arrive. */
static void settle_done(void *arg)
{
    *(bool *)arg = true;
}
static void settle(struct fixture *f)
{
    for (int i = 0; i < 2; i++) { /* the writer wakes after it has answered: pass through it */
        bool done = false;
        put(f, pod("settle", "", "x"));
        neap_loop_post(f->loop, settle_done, &done);
        while (!done)
            neap_loop_turn(f->loop, true);
    }
}

#define KEY_A "/registry/core/configmaps/default/a"

static void test_events_in_order(void **state)
{
    struct fixture *f = *state;
    struct watcher w;
    uint64_t start = put(f, configmap("default", "before", "1"));
    open_watch(f, &w, configmaps(), NULL, NULL, NULL, start);
    assert_none(&w);
    uint64_t a = put(f, configmap("default", "a", "1"));
    uint64_t b = put(f, configmap("default", "a", "2"));
    uint64_t c = del(f, configmaps(), KEY_A);
    settle(f);
    assert_int_equal(w.wakes, 1); /* coalesced */
    assert_event(&w, NEAP_ADDED, "a", a);
    assert_event(&w, NEAP_MODIFIED, "a", b);
    assert_event(&w, NEAP_DELETED, "a", c);
    assert_none(&w);
    assert_int_equal(neap_watch_revision(w.watch), neap_registry_revision(f->r));
    put(f, configmap("default", "a", "3"));
    settle(f);
    assert_int_equal(w.wakes, 2);
    close_watch(&w);
}

static void test_history_is_told_first(void **state)
{
    struct fixture *f = *state;
    struct watcher w;
    uint64_t a = put(f, configmap("default", "a", "1"));
    uint64_t b = put(f, configmap("default", "b", "1"));
    uint64_t c = put(f, configmap("other", "c", "1"));
    open_watch(f, &w, configmaps(), "default", NULL, NULL, a);
    settle(f);
    assert_int_equal(w.wakes, 1); /* there was something at once */
    assert_event(&w, NEAP_ADDED, "b", b);
    assert_none(&w);
    close_watch(&w);
    open_watch(f, &w, configmaps(), "other", NULL, NULL, 0);
    assert_event(&w, NEAP_ADDED, "c", c);
    assert_none(&w);
    close_watch(&w);
}

static void test_entering_and_leaving_a_selector(void **state)
{
    struct fixture *f = *state;
    struct watcher w;
    uint64_t start = neap_registry_revision(f->r);
    open_watch(f, &w, configmaps(), NULL, "v=in", NULL, start);
    put(f, configmap("default", "a", "out"));
    uint64_t enter = put(f, configmap("default", "a", "in"));
    uint64_t stay = put(f, configmap("default", "a", "in"));
    uint64_t leave = put(f, configmap("default", "a", "out"));
    put(f, configmap("default", "a", "out2"));
    uint64_t again = put(f, configmap("default", "a", "in"));
    uint64_t gone = del(f, configmaps(), KEY_A);
    assert_event(&w, NEAP_ADDED, "a", enter);
    assert_event(&w, NEAP_MODIFIED, "a", stay);
    struct neap_event e;
    assert_int_equal(neap_watch_next(w.watch, &e), 1);
    assert_int_equal(e.type, NEAP_DELETED);
    assert_int_equal(e.revision, leave);
    assert_string_equal(value_of(e.object),
                        "in"); /* the last state that it saw, at the new revision */
    assert_int_equal(neap_object_revision(e.object), leave);
    neap_object_unref(e.object);
    assert_event(&w, NEAP_ADDED, "a", again);
    assert_event(&w, NEAP_DELETED, "a", gone);
    assert_none(&w);
    close_watch(&w);
}

/* Only the candidates are woken, and a pod that moves wakes both nodes. */
static void test_wake_indexes(void **state)
{
    struct fixture *f = *state;
    struct watcher n1, n2, named, all, other;
    uint64_t start = neap_registry_revision(f->r);
    open_watch(f, &n1, pods(), NULL, NULL, "spec.nodeName=n1", start);
    open_watch(f, &n2, pods(), NULL, NULL, "spec.nodeName=n2", start);
    open_watch(f, &named, pods(), "default", NULL, "metadata.name=p", start);
    open_watch(f, &all, pods(), NULL, NULL, NULL, start);
    open_watch(f, &other, pods(), "other", NULL, NULL, start);
    uint64_t a = put(f, pod("p", "n1", "o"));
    settle(f);
    assert_int_equal(n1.wakes, 1);
    assert_int_equal(n2.wakes, 0);
    assert_int_equal(named.wakes, 1);
    assert_int_equal(all.wakes, 1);
    assert_int_equal(other.wakes, 0);
    assert_event(&n1, NEAP_ADDED, "p", a);
    assert_none(&n1);
    uint64_t b = put(f, pod("p", "n2", "o"));
    settle(f);
    assert_int_equal(n1.wakes, 2);
    assert_int_equal(n2.wakes, 1);
    assert_event(&n1, NEAP_DELETED, "p", b);
    assert_none(&n1);
    assert_event(&n2, NEAP_ADDED, "p", b);
    assert_none(&n2);
    uint64_t now = neap_registry_revision(f->r);
    assert_int_equal(neap_watch_revision(n1.watch), now);
    assert_int_equal(neap_watch_revision(other.watch), now); /* never woken, and up to date */
    assert_event(&named, NEAP_ADDED, "p", a);
    assert_event(&named, NEAP_MODIFIED, "p", b);
    assert_none(&named);
    close_watch(&n1);
    close_watch(&n2);
    close_watch(&named);
    close_watch(&all);
    close_watch(&other);
    for (unsigned i = 0; i < f->r->resource_count; i++)
        assert_int_equal(f->r->resources[i].buckets.count, 0);
}

static void test_behind_the_history(void **state)
{
    struct fixture *f = *state;
    struct watcher slow = {0}, idle, late = {0};
    struct neap_err err = NEAP_ERR_INIT;
    neap_registry_close(f->r);
    f->options.history_bytes = 16 << 10;
    fixture_open(f);
    uint64_t start = neap_registry_revision(f->r);
    open_watch(f, &slow, configmaps(), NULL, NULL, NULL, start);
    open_watch(f, &idle, configmaps(), "quiet", NULL, NULL, start);
    for (int i = 0; i < 300; i++)
        put(f, configmap("default", "a", "x"));
    struct neap_event e;
    assert_int_equal(neap_watch_next(slow.watch, &e), NEAP_EEXPIRED);
    assert_int_equal(neap_watch_next(slow.watch, &e), NEAP_EEXPIRED);
    uint64_t q = put(f, configmap("quiet", "q", "1")); /* nothing concerned it before: not behind */
    assert_event(&idle, NEAP_ADDED, "q", q);
    assert_none(&idle);
    assert_int_equal(try_open(f, &late, configmaps(), NULL, start, &err), NEAP_EEXPIRED);
    char want[96];
    snprintf(want, sizeof(want), "too old resource version: %llu (%llu)", (unsigned long long)start,
             (unsigned long long)neap_registry_compacted(f->r));
    assert_string_equal(err.message, want);
    neap_err_done(&err);
    assert_ok(try_open(f, &late, configmaps(), NULL, neap_registry_compacted(f->r), &err), err);
    close_watch(&late);
    close_watch(&slow);
    close_watch(&idle);
}

static void test_history_ends_by_time(void **state)
{
    struct fixture *f = *state;
    struct watcher w = {0};
    struct neap_err err = NEAP_ERR_INIT;
    neap_registry_close(f->r);
    test_now = SECOND;
    f->options.clock = &test_clock;
    fixture_open(f);
    uint64_t start = neap_registry_revision(f->r);
    put(f, configmap("default", "a", "1"));
    uint64_t last = put(f, configmap("default", "a", "2"));
    test_now += 301 * SECOND;
    put(f, configmap("default", "a", "3"));
    assert_int_equal(neap_registry_compacted(f->r), last);
    assert_int_equal(try_open(f, &w, configmaps(), NULL, start, &err), NEAP_EEXPIRED);
    neap_err_done(&err);
}

/* A wake that closes other watches: none of them is called after. */
static struct watcher many[600];
static unsigned many_wakes;
static void close_the_rest(void *arg)
{
    struct watcher *w = arg;
    many_wakes++;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(many); i++)
        if (&many[i] != w && many[i].watch && i % 2) {
            neap_watch_close(many[i].watch);
            many[i].watch = NULL;
        }
}

static void test_closing_from_a_wake(void **state)
{
    struct fixture *f = *state;
    struct neap_err err = NEAP_ERR_INIT;
    many_wakes = 0;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(many); i++) {
        struct neap_watch_options o = {.kind = configmaps(),
                                       .after = neap_registry_revision(f->r),
                                       .loop = f->loop,
                                       .wake = close_the_rest,
                                       .arg = &many[i]};
        assert_ok(neap_watch_open(f->r, &o, &many[i].watch, &err), err);
    }
    put(f, configmap("default", "a", "1"));
    while (many_wakes < 300)
        neap_loop_turn(f->loop, true);
    settle(f);
    assert_int_equal(many_wakes, 300); /* the even ones: the first woken closed the odd ones */
    for (size_t i = 0; i < NEAP_ARRAY_LEN(many); i++)
        neap_watch_close(many[i].watch);
}

/* Commits while the loop does not turn: a wake that is posted stays so. */
static void put_without_turning(struct fixture *f, struct neap_object *draft)
{
    uint64_t before = neap_registry_revision(f->r);
    struct neap_txn_op op = {.kind = configmaps(),
                             .key = neap_object_key(draft),
                             .expected = NEAP_STORE_ANY,
                             .draft = draft};
    struct neap_txn txn = {.ops = &op, .op_count = 1};
    submit(f, &txn);
    while (neap_registry_revision(f->r) == before)
        sched_yield();
    f->done = 0;
    struct watcher flush;
    open_watch(f, &flush, configmaps(), NULL, NULL, NULL,
               before); /* the rings follow the revision */
    struct neap_event e;
    int rc;
    while ((rc = neap_watch_next(flush.watch, &e)) == 0)
        sched_yield();
    neap_object_unref(e.object);
    close_watch(&flush);
    wait_done(f, 1);
    neap_txn_done(&txn);
    neap_object_unref(draft);
}

static void test_read_before_its_wake(void **state)
{
    struct fixture *f = *state;
    struct watcher w, other;
    uint64_t start = neap_registry_revision(f->r);
    put(f, configmap("default", "a", "1"));
    open_watch(f, &w, configmaps(), NULL, NULL, NULL,
               start); /* behind: its wake is posted at once */
    open_watch(f, &other, configmaps(), NULL, NULL, NULL, start);
    struct neap_event e;
    assert_int_equal(neap_watch_next(w.watch, &e), 1); /* a transport that happened to read */
    neap_object_unref(e.object);
    assert_none(&w);
    put_without_turning(
        f, configmap("default", "a", "2")); /* woken again before the first wake came */
    assert_int_equal(neap_watch_next(w.watch, &e), 1);
    neap_object_unref(e.object);
    close_watch(&w);
    settle(f); /* must not find the closed one */
    assert_int_equal(other.wakes, 1);
    close_watch(&other);
}

/* ---- replicas: a snapshot and the events after it are the next snapshot ---- */

struct replica {
    struct watcher w;
    struct neap_map objects; /* revision by key */
    unsigned applied;
};

static void replica_apply(struct replica *rp)
{
    struct neap_event e;
    while (neap_watch_next(rp->w.watch, &e) == 1) {
        const char *key = neap_object_key(e.object);
        void *revision = (void *)(uintptr_t)neap_object_revision(e.object);
        void *had = e.type == NEAP_DELETED ? neap_map_del(&rp->objects, key)
                                           : neap_map_set(&rp->objects, key, revision);
        assert_true(e.type == NEAP_ADDED ? !had : had != NULL);
        assert_true(!had || (uintptr_t)had < e.revision);
        rp->applied++;
        neap_object_unref(e.object);
    }
}

/* Applies only when woken: a wake that is missed shows as a difference. */
static void replica_wake(void *arg)
{
    replica_apply(neap_container_of(arg, struct replica, w));
}

static void replica_open(struct fixture *f, struct replica *rp, const char *labels,
                         const char *fields)
{
    struct neap_err err = NEAP_ERR_INIT;
    *rp = (struct replica){0};
    assert_ok(neap_selector_parse(pods(), labels, fields, &rp->w.selector, &err), err);
    struct neap_watch_options o = {.kind = pods(),
                                   .selector = rp->w.selector,
                                   .after = neap_registry_revision(f->r),
                                   .loop = f->loop,
                                   .wake = replica_wake,
                                   .arg = &rp->w};
    assert_ok(neap_watch_open(f->r, &o, &rp->w.watch, &err), err);
}

/* Every wake that the writer owes has come: it wakes after it has answered. */
static void replica_catch_up(struct fixture *f, struct replica *rp, const struct neap_snapshot *s)
{
    enum { WAIT_MS = 20000 };
    const char *last = "/registry/core/pods/default/settle";
    uint64_t revision = neap_object_revision(neap_snapshot_get(s, pods(), "default", "settle"));
    int64_t until = neap_loop_now_ms(f->loop) + WAIT_MS;
    while ((uintptr_t)neap_map_get(&rp->objects, last) != revision &&
           neap_loop_now_ms(f->loop) < until)
        neap_loop_turn(f->loop, false);
}

static void replica_check(struct replica *rp, struct neap_snapshot *s)
{
    struct neap_iter it;
    size_t n = 0;
    neap_iter_init(&it, s, pods(), NULL, NULL);
    for (struct neap_object *o; (o = neap_iter_next(&it));) {
        if (!neap_selector_match(rp->w.selector, o))
            continue;
        n++;
        assert_int_equal((uintptr_t)neap_map_get(&rp->objects, neap_object_key(o)),
                         neap_object_revision(o));
    }
    assert_int_equal(rp->objects.count, n);
    assert_true(rp->applied > n);
}

struct random_write {
    struct neap_txn txn;
    struct neap_txn_op op;
    char key[64];
};

static void random_submit(struct fixture *f, struct random_write *w, uint64_t random)
{
    char name[16], node[16];
    snprintf(name, sizeof(name), "p%u", (unsigned)(random % 61));
    snprintf(node, sizeof(node), "n%u", (unsigned)(random >> 8) % 4);
    snprintf(w->key, sizeof(w->key), "/registry/core/pods/default/%s", name);
    w->op = (struct neap_txn_op){
        .kind = pods(), .key = w->key, .expected = NEAP_STORE_ANY, .draft = NULL};
    if ((random >> 16) % 4)
        w->op.draft = pod(name, node, "o");
    w->txn = (struct neap_txn){.ops = &w->op, .op_count = 1};
    submit(f, &w->txn);
}

static void test_replicas(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 150, AT_ONCE = 20 };
    static struct replica replicas[4];
    struct random_write writes[AT_ONCE];
    struct neap_snapshot *pinned[8] = {0}; /* of all ages: what they show must stay alive */
    uint64_t random = 88172645463325252u;
    replica_open(f, &replicas[0], NULL, NULL);
    replica_open(f, &replicas[1], NULL, "spec.nodeName=n1");
    replica_open(f, &replicas[2], NULL, "spec.nodeName!=n2");
    replica_open(f, &replicas[3], NULL, "metadata.name=p7");
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random_submit(f, &writes[i], random);
        }
        wait_done(f, AT_ONCE);
        for (int i = 0; i < AT_ONCE; i++) {
            assert_int_equal(writes[i].txn.result, 0);
            neap_txn_done(&writes[i].txn);
            neap_object_unref(writes[i].op.draft);
        }
        struct neap_snapshot **slot = &pinned[(random >> 30) % NEAP_ARRAY_LEN(pinned)];
        neap_snapshot_unpin(*slot);
        *slot = neap_snapshot_pin(f->r);
    }
    settle(f);
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    replica_catch_up(f, &replicas[0], s);
    replica_catch_up(f, &replicas[2], s);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(replicas); i++) {
        replica_check(&replicas[i], s);
        close_watch(&replicas[i].w);
        neap_map_done(&replicas[i].objects, NULL);
    }
    neap_snapshot_unpin(s);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(pinned); i++) {
        struct neap_iter it;
        if (!pinned[i])
            continue;
        neap_iter_init(&it, pinned[i], pods(), NULL, NULL);
        size_t n = 0;
        for (struct neap_object *o; (o = neap_iter_next(&it)); n++)
            assert_true(neap_object_revision(o) <= neap_snapshot_revision(pinned[i]));
        assert_int_equal(n, neap_snapshot_count(pinned[i], pods()));
        neap_snapshot_unpin(pinned[i]);
    }
}

static void note(void *arg)
{
    ++*(unsigned *)arg;
}

static void test_waits(void **state)
{
    struct fixture *f = *state;
    unsigned now = 0, later = 0, never = 0, cancelled = 0;
    uint64_t at = neap_registry_revision(f->r);
    neap_registry_wait(f->r, at, f->loop, note, &now);
    neap_registry_wait(f->r, at + 2, f->loop, note, &later);
    struct neap_revision_wait *w = neap_registry_wait(f->r, at + 1000, f->loop, note, &never);
    struct neap_revision_wait *fired = neap_registry_wait(f->r, at, f->loop, note, &cancelled);
    assert_int_equal(now, 0); /* never from inside the call */
    neap_registry_wait_cancel(fired);
    put(f, configmap("default", "a", "1"));
    assert_int_equal(now, 1);
    assert_int_equal(later, 0);
    put(f, configmap("default", "a", "2"));
    while (!later)
        neap_loop_turn(f->loop, true);
    settle(f);
    assert_int_equal(later, 1);
    neap_registry_wait_cancel(w);
    assert_int_equal(never + cancelled, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_events_in_order),
        TEST(test_history_is_told_first),
        TEST(test_entering_and_leaving_a_selector),
        TEST(test_wake_indexes),
        TEST(test_behind_the_history),
        TEST(test_history_ends_by_time),
        TEST(test_closing_from_a_wake),
        TEST(test_read_before_its_wake),
        TEST(test_replicas),
        TEST(test_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
