/* Writes, snapshots, indexes, expiry: on the memory store. */
#include "fixture.h"

#include <pthread.h>

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

#define KEY_A "/registry/core/configmaps/default/a"
#define KEY_B "/registry/core/configmaps/default/b"

/* ---- writes ---- */

static void test_reads_own_writes(void **state)
{
    struct fixture *f = *state;
    uint64_t before = neap_registry_revision(f->r);
    uint64_t revision = put(f, configmap("default", "a", "1"));
    assert_int_equal(revision, before + 1);
    assert_int_equal(neap_registry_revision(f->r), revision);
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    struct neap_object *o = neap_snapshot_get(s, configmaps(), "default", "a");
    assert_non_null(o);
    assert_int_equal(neap_object_revision(o), revision);
    char rv[64];
    snprintf(rv, sizeof(rv), "\"uid\":\"uid-a\",\"resourceVersion\":\"%llu\"",
             (unsigned long long)revision);
    assert_non_null(strstr(neap_object_json(o, NULL), rv));
    assert_null(neap_snapshot_get(s, configmaps(), "default", "b"));
    assert_null(neap_snapshot_get(s, configmaps(), "", "default/a"));
    assert_null(neap_snapshot_get(s, configmaps(), "default/a", ""));
    assert_int_equal(neap_snapshot_count(s, configmaps()), 1);
    neap_snapshot_unpin(s);
}

static void test_every_kind_has_its_place(void **state)
{
    struct fixture *f = *state;
    unsigned stored = 0;
    for (unsigned i = 0; i < neap_kind_count; i++) {
        const struct neap_kind *k = neap_kinds[i]->storage;
        struct neap_buf key = NEAP_BUF_INIT;
        if (k->virtual_kind)
            continue;
        neap_object_key_make(&key, k, "ns", "name");
        struct neap_resource *res = neap_registry_resource(f->r, k);
        assert_non_null(res);
        assert_ptr_equal(neap_registry_resource_of_key(f->r, key.data), res);
        neap_buf_done(&key);
        stored++;
    }
    assert_true(stored > 40);
    assert_null(neap_registry_resource_of_key(f->r, ""));
    assert_null(neap_registry_resource_of_key(f->r, "/registry/core/pods"));
    assert_null(neap_registry_resource_of_key(f->r, "/registry/no/such/thing"));
}

/* More than a group may hold: nothing is lost, and the order is the order of arrival. */
static void test_groups_are_bounded(void **state)
{
    struct fixture *f = *state;
    enum { N = 2500 };
    struct neap_txn *txns = calloc(N, sizeof(*txns));
    struct neap_txn_op *ops = calloc(N, sizeof(*ops));
    char *big = malloc(20001);
    memset(big, 'x', 20000);
    big[20000] = '\0';
    char *json = neap_asprintf("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{"
                               "\"name\":\"a\",\"namespace\":\"default\",\"uid\":\"u\"},"
                               "\"data\":{\"v\":\"%s\"}}",
                               big);
    struct neap_object *o = make(configmaps(), json, 0);
    uint64_t before = neap_registry_revision(f->r);
    for (int i = 0; i < N; i++) {
        ops[i] = (struct neap_txn_op){
            .kind = configmaps(), .key = KEY_A, .expected = NEAP_STORE_ANY, .draft = o};
        txns[i] = (struct neap_txn){.ops = &ops[i], .op_count = 1};
        submit(f, &txns[i]);
    }
    wait_done(f, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(txns[i].result, 0);
        assert_int_equal(txns[i].revision, before + 1 + (unsigned)i);
        neap_txn_done(&txns[i]);
    }
    neap_object_unref(o);
    free(json);
    free(big);
    free(txns);
    free(ops);
}

static void test_conflict_touches_no_neighbour(void **state)
{
    struct fixture *f = *state;
    uint64_t first = put(f, configmap("default", "a", "1"));
    enum { N = 50 };
    struct neap_txn txns[N] = {0};
    struct neap_txn_op ops[N];
    for (int i = 0; i < N; i++) { /* every fifth expects what is not so */
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        struct neap_object *o = configmap("default", i % 5 == 0 ? "a" : name, "2");
        ops[i] = (struct neap_txn_op){.kind = configmaps(),
                                      .key = neap_object_key(o),
                                      .expected = i % 5 == 0 ? first + 1000 : 0,
                                      .draft = o};
        txns[i] = (struct neap_txn){.ops = &ops[i], .op_count = 1};
        submit(f, &txns[i]);
    }
    wait_done(f, N);
    uint64_t last = first;
    for (int i = 0; i < N; i++) {
        if (i % 5 == 0) {
            assert_int_equal(txns[i].result, NEAP_ECONFLICT);
            assert_int_equal(txns[i].conflict_op, 0);
            assert_int_equal(txns[i].conflict_revision, first);
        } else {
            assert_int_equal(txns[i].result, 0);
            assert_int_equal(txns[i].revision, ++last);
            assert_int_equal(neap_object_revision(txns[i].objects[0]), last);
        }
        neap_object_unref(ops[i].draft);
        neap_txn_done(&txns[i]);
    }
}

/* The second of two creates conflicts with the first, queued or published. */
static void test_conflict_within_a_group(void **state)
{
    struct fixture *f = *state;
    enum { N = 20 };
    struct neap_txn txns[N] = {0};
    struct neap_txn_op ops[N];
    for (int i = 0; i < N; i++) {
        struct neap_object *o = configmap("default", "a", "x");
        ops[i] = (struct neap_txn_op){
            .kind = configmaps(), .key = neap_object_key(o), .expected = 0, .draft = o};
        txns[i] = (struct neap_txn){.ops = &ops[i], .op_count = 1};
        submit(f, &txns[i]);
    }
    wait_done(f, N);
    assert_int_equal(txns[0].result, 0);
    for (int i = 1; i < N; i++) {
        assert_int_equal(txns[i].result, NEAP_ECONFLICT);
        assert_int_equal(txns[i].conflict_revision, txns[0].revision);
    }
    for (int i = 0; i < N; i++) {
        neap_object_unref(ops[i].draft);
        neap_txn_done(&txns[i]);
    }
}

static void test_transaction_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t a = put(f, configmap("default", "a", "1"));
    struct neap_object *b = configmap("default", "b", "1");
    struct neap_txn_op ops[] = {
        {.kind = configmaps(), .key = KEY_B, .draft = b, .expected = 0},
        {.kind = configmaps(), .key = KEY_A, .expected = a + 7, .check_only = true},
    };
    struct neap_txn txn = {.ops = ops, .op_count = 2};
    commit(f, &txn);
    assert_int_equal(txn.result, NEAP_ECONFLICT);
    assert_int_equal(txn.conflict_op, 1);
    assert_int_equal(txn.conflict_revision, a);
    neap_txn_done(&txn);
    ops[1].expected = a;
    commit(f, &txn);
    assert_int_equal(txn.result, 0);
    assert_int_equal(txn.revision, a + 1);
    assert_non_null(txn.objects[0]);
    assert_null(txn.objects[1]); /* only looked at */
    neap_txn_done(&txn);
    /* checks alone take no revision */
    struct neap_txn check = {.ops = &ops[1], .op_count = 1};
    commit(f, &check);
    assert_int_equal(check.result, 0);
    assert_int_equal(check.revision, a + 1);
    assert_int_equal(neap_registry_revision(f->r), a + 1);
    neap_txn_done(&check);
    neap_object_unref(b);
}

static void test_delete_returns_last_state(void **state)
{
    struct fixture *f = *state;
    uint64_t a = put(f, configmap("default", "a", "1"));
    struct neap_txn_op op = {.kind = configmaps(), .key = KEY_A, .expected = a};
    struct neap_txn txn = {.ops = &op, .op_count = 1};
    commit(f, &txn);
    assert_int_equal(txn.result, 0);
    assert_int_equal(txn.revision, a + 1);
    assert_int_equal(neap_object_revision(txn.objects[0]), a + 1);
    neap_txn_done(&txn);
    commit(f, &txn);
    assert_int_equal(txn.result, NEAP_ECONFLICT);
    assert_int_equal(txn.conflict_revision, 0);
    neap_txn_done(&txn);
    /* nothing to delete, and whoever asked did not mind */
    assert_int_equal(del(f, configmaps(), KEY_A), a + 1);
}

static void test_wrong_form_is_refused(void **state)
{
    struct fixture *f = *state;
    struct neap_object *a = configmap("default", "a", "1");
    struct neap_txn_op ops[] = {
        {.kind = configmaps(), .key = KEY_A, .draft = a},
        {.kind = configmaps(), .key = KEY_A, .draft = a},
    };
    struct neap_txn twice = {.ops = ops, .op_count = 2};
    commit(f, &twice);
    assert_int_equal(twice.result, NEAP_EINTERNAL);
    ops[0].key = KEY_B;
    struct neap_txn other_key = {.ops = ops, .op_count = 1};
    commit(f, &other_key);
    assert_int_equal(other_key.result, NEAP_EINTERNAL);
    ops[0].key = "/registry/core/pods/default/a";
    commit(f, &other_key);
    assert_int_equal(other_key.result, NEAP_EINTERNAL);
    neap_object_unref(a);
}

/* ---- a store that fails: the memory store with another write ---- */

static int write_answer;
static int failing_write(void *self, struct neap_store_txn *txns, size_t count)
{
    (void)self, (void)txns, (void)count;
    return write_answer;
}

static unsigned fatals;
static void count_fatal(struct neap_registry *r, const char *why)
{
    (void)r, (void)why;
    fatals++;
}

static void test_store_failures(void **state)
{
    struct fixture *f = *state;
    put(f, configmap("default", "a", "1"));
    neap_registry_close(f->r);
    struct neap_store_plugin failing = *f->store;
    failing.write = failing_write;
    f->options.store = &failing;
    fixture_open(f);
    f->r->fatal = count_fatal;
    uint64_t before = neap_registry_revision(f->r);
    write_answer = NEAP_ENOSPACE;
    assert_int_equal(write_one(f, configmaps(), NULL, configmap("default", "b", "1"), 0, NULL),
                     NEAP_ENOSPACE);
    assert_int_equal(fatals, 0);
    assert_int_equal(neap_registry_revision(f->r), before);
    write_answer = NEAP_EIO;
    assert_int_equal(write_one(f, configmaps(), NULL, configmap("default", "b", "1"), 0, NULL),
                     NEAP_EIO);
    assert_int_equal(fatals, 1);
    assert_int_equal(write_one(f, configmaps(), NULL, configmap("default", "b", "1"), 0, NULL),
                     NEAP_EUNAVAILABLE);
    struct neap_snapshot *s = neap_snapshot_pin(f->r); /* reads go on */
    assert_int_equal(neap_snapshot_count(s, configmaps()), 0);
    neap_snapshot_unpin(s);
    neap_registry_close(f->r);
    f->r = NULL;
}

/* Blocks the writer until the test lets it go. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static const struct neap_store_plugin *real_store;
static int gated_write(void *self, struct neap_store_txn *txns, size_t count)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return real_store->write(self, txns, count);
}

static void test_queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    neap_registry_close(f->r);
    struct neap_store_plugin gated = *f->store;
    real_store = f->store;
    gated.write = gated_write;
    f->options.store = &gated;
    f->options.queue_max = 8;
    fixture_open(f);
    enum { N = 40 };
    struct neap_txn txns[N] = {0};
    struct neap_txn_op ops[N];
    pthread_mutex_lock(&gate);
    for (int i = 0; i < N; i++) {
        struct neap_object *o = configmap("default", "a", "1");
        ops[i] = (struct neap_txn_op){.kind = configmaps(),
                                      .key = neap_object_key(o),
                                      .expected = NEAP_STORE_ANY,
                                      .draft = o};
        txns[i] = (struct neap_txn){.ops = &ops[i], .op_count = 1};
        submit(f, &txns[i]);
    }
    pthread_mutex_unlock(&gate);
    wait_done(f, N);
    unsigned ok = 0, refused = 0;
    for (int i = 0; i < N; i++) {
        ok += txns[i].result == 0;
        refused += txns[i].result == NEAP_ETOOMANYREQUESTS;
        neap_object_unref(ops[i].draft);
        neap_txn_done(&txns[i]);
    }
    assert_int_equal(ok + refused, N);
    assert_in_range(ok, 8, 16); /* what the writer had taken, and a queue */
    neap_registry_close(f->r);
    f->r = NULL;
}

/* ---- snapshots ---- */

static unsigned count_iter(struct neap_snapshot *s, const char *ns, const char *after)
{
    struct neap_iter it;
    unsigned n = 0;
    const char *last = "";
    neap_iter_init(&it, s, configmaps(), ns, after);
    for (struct neap_object *o; (o = neap_iter_next(&it)); n++) {
        assert_true(strcmp(last, neap_object_key(o)) < 0);
        last = neap_object_key(o);
    }
    return n;
}

static void test_snapshots_stand_still(void **state)
{
    struct fixture *f = *state;
    char name[16], key[64];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "c%03d", i);
        put(f, configmap(i % 2 ? "odd" : "even", name, "1"));
    }
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "c%03d", i);
        snprintf(key, sizeof(key), "/registry/core/configmaps/%s/%s", i % 2 ? "odd" : "even", name);
        if (i % 3)
            del(f, configmaps(), key);
        else
            put(f, configmap(i % 2 ? "odd" : "even", name, "2"));
    }
    assert_int_equal(count_iter(s, NULL, NULL), 200);
    assert_int_equal(count_iter(s, "odd", NULL), 100);
    assert_int_equal(count_iter(s, "od", NULL), 0);
    assert_int_equal(count_iter(s, "even", "/registry/core/configmaps/even/c100"), 49);
    assert_int_equal(count_iter(s, "odd", "/registry/core/configmaps/even/c100"), 100);
    assert_string_equal(value_of(neap_snapshot_get(s, configmaps(), "odd", "c003")), "1");
    struct neap_snapshot *now = neap_snapshot_pin(f->r);
    assert_int_equal(count_iter(now, NULL, NULL), 67);
    assert_string_equal(value_of(neap_snapshot_get(now, configmaps(), "odd", "c003")), "2");
    neap_snapshot_unpin(now);
    neap_snapshot_unpin(s);
}

static void test_held_snapshots_end(void **state)
{
    struct fixture *f = *state;
    neap_registry_close(f->r);
    test_now = SECOND;
    f->options.clock = &test_clock;
    fixture_open(f);
    uint64_t first = put(f, configmap("default", "a", "1"));
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    neap_snapshot_hold(f->r, s);
    neap_snapshot_unpin(s);
    put(f, configmap("default", "a", "2"));
    s = neap_snapshot_held(f->r, first);
    assert_non_null(s);
    assert_string_equal(value_of(neap_snapshot_get(s, configmaps(), "default", "a")), "1");
    neap_snapshot_unpin(s);
    assert_null(neap_snapshot_held(f->r, first + 77));
    test_now += 301 * SECOND;
    assert_null(neap_snapshot_held(f->r, first));
}

static void test_holds_end_when_the_budget_is_used(void **state)
{
    struct fixture *f = *state;
    neap_registry_close(f->r);
    f->options.history_bytes = 64 << 10;
    fixture_open(f);
    uint64_t first = put(f, configmap("default", "a", "1")), last = first;
    for (int i = 0; i < 400; i++) {
        struct neap_snapshot *s = neap_snapshot_pin(f->r);
        neap_snapshot_hold(f->r, s);
        neap_snapshot_unpin(s);
        last = put(f, configmap("default", "a", "2"));
        assert_true(f->r->ring_bytes <= f->options.history_bytes);
    }
    assert_null(neap_snapshot_held(f->r, first));
    struct neap_snapshot *s = neap_snapshot_held(f->r, last - 1);
    assert_non_null(s);
    neap_snapshot_unpin(s);
    assert_in_range(neap_registry_compacted(f->r), first, last - 1);
}

static void test_indexes(void **state)
{
    struct fixture *f = *state;
    struct neap_arena *arena = neap_arena_new(0);
    unsigned field = 0;
    while (strcmp(pods()->selectable[field].path, "spec.nodeName") != 0)
        field++;
    put(f, pod("b", "n1", "owner-1"));
    put(f, pod("a", "n1", "owner-1"));
    put(f, pod("c", "n2", "owner-2"));
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    put(f, pod("b", "n2", "owner-2"));
    del(f, pods(), "/registry/core/pods/default/a");
    size_t n;
    struct neap_object **at = neap_snapshot_by_field(s, pods(), field, "n1", arena, &n);
    assert_int_equal(n, 2);
    assert_string_equal(neap_object_name(at[0]), "a");
    assert_string_equal(neap_object_name(at[1]), "b");
    neap_snapshot_by_owner(s, "owner-1", arena, &n);
    assert_int_equal(n, 2);
    struct neap_snapshot *now = neap_snapshot_pin(f->r);
    assert_null(neap_snapshot_by_field(now, pods(), field, "n1", arena, &n));
    assert_int_equal(n, 0);
    neap_snapshot_by_field(now, pods(), field, "n2", arena, &n);
    assert_int_equal(n, 2);
    at = neap_snapshot_by_owner(now, "owner-2", arena, &n);
    assert_int_equal(n, 2);
    assert_string_equal(neap_object_name(at[0]), "b");
    assert_null(neap_snapshot_by_owner(now, "owner-1", arena, &n));
    neap_snapshot_unpin(s);
    neap_snapshot_unpin(now);
    neap_arena_free(arena);
}

/* ---- readers beside the writer ---- */

struct reader {
    struct neap_registry *r;
    _Atomic bool stop;
    _Atomic unsigned rounds, torn;
};

/* Both objects change in one transaction: no snapshot shows them apart. */
static void *read_both(void *arg)
{
    struct reader *rd = arg;
    while (!rd->stop) {
        struct neap_snapshot *s = neap_snapshot_pin(rd->r);
        const char *a = value_of(neap_snapshot_get(s, configmaps(), "default", "a"));
        const char *b = value_of(neap_snapshot_get(s, configmaps(), "default", "b"));
        rd->torn += !neap_streq(a, b);
        struct neap_iter it;
        neap_iter_init(&it, s, configmaps(), NULL, NULL);
        while (neap_iter_next(&it))
            ;
        neap_snapshot_unpin(s);
        rd->rounds++;
    }
    return NULL;
}

static void test_readers_beside_the_writer(void **state)
{
    struct fixture *f = *state;
    struct reader rd = {.r = f->r};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, read_both, &rd);
    for (int i = 0; i < 500 || rd.rounds < 10; i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        struct neap_txn_op ops[] = {
            {.kind = configmaps(),
             .key = KEY_A,
             .expected = NEAP_STORE_ANY,
             .draft = configmap("default", "a", value)},
            {.kind = configmaps(),
             .key = KEY_B,
             .expected = NEAP_STORE_ANY,
             .draft = configmap("default", "b", value)},
        };
        struct neap_txn txn = {.ops = ops, .op_count = 2};
        commit(f, &txn);
        assert_int_equal(txn.result, 0);
        neap_txn_done(&txn);
        neap_object_unref(ops[0].draft);
        neap_object_unref(ops[1].draft);
    }
    rd.stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(rd.torn, 0);
}

/* ---- expiry ---- */

static void note_wake(void *arg)
{
    ((struct fixture *)arg)->wakes++;
}

static void test_expiry_is_an_ordinary_delete(void **state)
{
    struct fixture *f = *state;
    neap_registry_close(f->r);
    test_now = SECOND;
    f->options.clock = &test_clock;
    fixture_open(f);
    static const char json[] = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{"
                               "\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"u\"}}";
    char text[256];
    snprintf(text, sizeof(text), json, "a");
    put(f, make(configmaps(), text, 10 * SECOND));
    snprintf(text, sizeof(text), json, "b");
    put(f, make(configmaps(), text, 10 * SECOND));
    uint64_t last = put(f, make(configmaps(), text, 50 * SECOND)); /* renewed */
    struct neap_watch_options wo = {
        .kind = configmaps(), .after = last, .loop = f->loop, .wake = note_wake, .arg = f};
    struct neap_watch *w;
    struct neap_err err = NEAP_ERR_INIT;
    assert_ok(neap_watch_open(f->r, &wo, &w, &err), err);
    test_now = 20 * SECOND;
    while (!f->wakes)
        neap_loop_turn(f->loop, true);
    struct neap_event e;
    assert_int_equal(neap_watch_next(w, &e), 1);
    assert_int_equal(e.type, NEAP_DELETED);
    assert_int_equal(e.revision, last + 1);
    assert_string_equal(neap_object_name(e.object), "a");
    neap_object_unref(e.object);
    assert_int_equal(neap_watch_next(w, &e), 0);
    neap_watch_close(w);
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    assert_int_equal(neap_snapshot_count(s, configmaps()), 1);
    neap_snapshot_unpin(s);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reads_own_writes),
        TEST(test_every_kind_has_its_place),
        TEST(test_groups_are_bounded),
        TEST(test_conflict_touches_no_neighbour),
        TEST(test_conflict_within_a_group),
        TEST(test_transaction_is_all_or_nothing),
        TEST(test_delete_returns_last_state),
        TEST(test_wrong_form_is_refused),
        TEST(test_store_failures),
        TEST(test_queue_is_bounded),
        TEST(test_snapshots_stand_still),
        TEST(test_held_snapshots_end),
        TEST(test_holds_end_when_the_budget_is_used),
        TEST(test_indexes),
        TEST(test_readers_beside_the_writer),
        TEST(test_expiry_is_an_ordinary_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
