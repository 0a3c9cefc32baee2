/* Watches against a model: writers race, watchers come, read a little, go, come again where they stood, history is
 * forgotten, the server starts again. Each watcher has seen exactly what happened, once, in order, or was told that
 * it is too late. Seeds are fixed: a failure names its own. */
#include "fixture.h"

enum {
    NAMESPACES = 2,
    NAMES = 5,
    KEYS = NAMESPACES * NAMES,
    LABELS = 3,
    WATCHERS = 9,
    STEPS = 160,
    BATCH = 6,
    CHANGES = STEPS * BATCH + 1,
    NONE = -1,
};

struct change {
    uint64_t revision;
    int key, old, new_; /* labels; NONE: not there */
};

struct watcher {
    struct neap_watch *watch;
    struct neap_selector *selector;
    int ns, label, name; /* NONE: any */
    uint64_t after;      /* where it would resume */
    size_t at;           /* in the history: everything before it has been told */
};

struct model {
    struct fixture *f;
    uint64_t seed;
    struct change history[CHANGES];
    size_t count;
    int label[KEYS];
    uint64_t revision[KEYS];
    struct watcher watchers[WATCHERS];
    unsigned events, late;
};

static unsigned draw(struct model *m, unsigned below)
{
    m->seed ^= m->seed << 13;
    m->seed ^= m->seed >> 7;
    m->seed ^= m->seed << 17;
    return (unsigned)((m->seed >> 20) % below);
}

/* ---- writers ---- */

struct write {
    struct neap_txn txn;
    struct neap_txn_op op;
    char key[64];
    int which, label;
    uint64_t expected;
};

static void prepare(struct model *m, struct write *w)
{
    char ns[16], name[16], label[16];
    w->which = (int)draw(m, KEYS);
    w->label = draw(m, 4) ? (int)draw(m, LABELS) : NONE;
    snprintf(ns, sizeof(ns), "ns%d", w->which / NAMES);
    snprintf(name, sizeof(name), "k%d", w->which % NAMES);
    snprintf(label, sizeof(label), "%d", w->label);
    snprintf(w->key, sizeof(w->key), "/registry/core/configmaps/%s/%s", ns, name);
    static const uint64_t stale = 1;
    unsigned how = draw(m, 4); /* whatever, as it is, as it was long ago */
    w->expected = how < 2 ? NEAP_STORE_ANY : how == 2 ? m->revision[w->which] : stale;
    w->op = (struct neap_txn_op){configmaps(), w->key, w->expected,
                                 w->label == NONE ? NULL : configmap(ns, name, label), false};
    w->txn = (struct neap_txn){.ops = &w->op, .op_count = 1};
}

/* In the order of their revisions; those that did not change anything have that of another. */
static int by_revision(const void *a, const void *b)
{
    const struct write *x = *(struct write *const *)a, *y = *(struct write *const *)b;
    return x->txn.revision < y->txn.revision ? -1 : x->txn.revision > y->txn.revision;
}

static void apply(struct model *m, const struct write *w)
{
    if (w->txn.result == NEAP_ECONFLICT) {
        assert_int_not_equal(w->txn.conflict_revision, w->expected);
        return;
    }
    assert_int_equal(w->txn.result, 0);
    if (w->expected != NEAP_STORE_ANY) /* the lock held: nobody came between */
        assert_int_equal(w->expected, m->revision[w->which]);
    if (w->label == NONE && m->label[w->which] == NONE)
        return;
    assert_true(!m->count || w->txn.revision > m->history[m->count - 1].revision);
    m->history[m->count++] =
        (struct change){w->txn.revision, w->which, m->label[w->which], w->label};
    m->label[w->which] = w->label;
    m->revision[w->which] = w->label == NONE ? 0 : w->txn.revision;
}

static void write_some(struct model *m)
{
    struct write all[BATCH], *sorted[BATCH];
    unsigned n = 1 + draw(m, BATCH);
    for (unsigned i = 0; i < n; i++) {
        prepare(m, &all[i]);
        sorted[i] = &all[i];
    }
    for (unsigned i = 0; i < n; i++)
        submit(m->f, &all[i].txn);
    wait_done(m->f, n);
    qsort(sorted, n, sizeof(sorted[0]), by_revision);
    for (unsigned i = 0; i < n; i++)
        apply(m, sorted[i]);
    for (unsigned i = 0; i < n; i++) {
        neap_txn_done(&all[i].txn);
        neap_object_unref(all[i].op.draft);
    }
}

/* ---- watchers ---- */

static void no_wake(void *arg)
{
    (void)arg;
}

static bool concerns(const struct watcher *w, int key, int label)
{
    return label != NONE && (w->label == NONE || w->label == label) &&
           (w->name == NONE || w->name == key % NAMES);
}

/* The next change that the watcher is to be told of; false: none. */
static bool expected(const struct model *m, const struct watcher *w, size_t *at,
                     enum neap_event_type *type)
{
    for (; *at < m->count; ++*at) {
        const struct change *c = &m->history[*at];
        bool was = concerns(w, c->key, c->old), is = concerns(w, c->key, c->new_);
        if ((w->ns != NONE && w->ns != c->key / NAMES) || (!was && !is))
            continue;
        *type = !is ? NEAP_DELETED : was ? NEAP_MODIFIED : NEAP_ADDED;
        return true;
    }
    return false;
}

/* What is there now is what the model says; the watcher begins behind it. */
static void list_again(struct model *m, struct watcher *w)
{
    struct neap_snapshot *s = neap_snapshot_pin(m->f->r);
    for (int k = 0; k < KEYS; k++) {
        char ns[16], name[16], label[16];
        snprintf(ns, sizeof(ns), "ns%d", k / NAMES);
        snprintf(name, sizeof(name), "k%d", k % NAMES);
        snprintf(label, sizeof(label), "%d", m->label[k]);
        struct neap_object *o = neap_snapshot_get(s, configmaps(), ns, name);
        assert_int_equal(o != NULL, m->label[k] != NONE);
        if (o) {
            assert_int_equal(neap_object_revision(o), m->revision[k]);
            assert_string_equal(value_of(o), label);
        }
    }
    w->after = neap_snapshot_revision(s);
    w->at = m->count;
    neap_snapshot_unpin(s);
}

static void come(struct model *m, struct watcher *w)
{
    char ns[16];
    struct neap_err err = NEAP_ERR_INIT;
    snprintf(ns, sizeof(ns), "ns%d", w->ns);
    struct neap_watch_options o = {.kind = configmaps(),
                                   .namespace_ = w->ns == NONE ? NULL : ns,
                                   .selector = w->selector,
                                   .after = w->after,
                                   .loop = m->f->loop,
                                   .wake = no_wake};
    int rc = neap_watch_open(m->f->r, &o, &w->watch, &err);
    neap_err_done(&err);
    if (rc == 0)
        return;
    assert_int_equal(rc, NEAP_EEXPIRED);
    assert_true(w->after < neap_registry_compacted(m->f->r)); /* at the boundary all is there */
    m->late++;
    w->watch = NULL;
    list_again(m, w);
}

static void check_event(struct model *m, struct watcher *w, const struct neap_event *e)
{
    enum neap_event_type type;
    char name[16];
    assert_true(expected(m, w, &w->at, &type));
    const struct change *c = &m->history[w->at++];
    snprintf(name, sizeof(name), "k%d", c->key % NAMES);
    assert_int_equal(e->revision, c->revision);
    assert_int_equal(e->type, type);
    assert_string_equal(neap_object_name(e->object), name);
    assert_int_equal(neap_object_revision(e->object), c->revision);
    int label = c->new_ == NONE || type == NEAP_DELETED ? c->old : c->new_;
    assert_int_equal(atoi(value_of(e->object)), label);
    w->after = e->revision;
    m->events++;
}

/* At most <most> events; false: it has fallen behind. */
static bool read_some(struct model *m, struct watcher *w, unsigned most)
{
    struct neap_event e;
    int rc = 1;
    while (most-- && (rc = neap_watch_next(w->watch, &e)) == 1) {
        check_event(m, w, &e);
        neap_object_unref(e.object);
    }
    if (rc == 0) { /* it has everything, and may go on from here (a bookmark) */
        enum neap_event_type type;
        size_t at = w->at;
        assert_false(expected(m, w, &at, &type));
        w->after = neap_watch_revision(w->watch);
        assert_int_equal(w->after, neap_registry_revision(m->f->r));
    }
    if (rc == NEAP_EEXPIRED)
        m->late++;
    return rc != NEAP_EEXPIRED;
}

static void leave(struct watcher *w)
{
    neap_watch_close(w->watch);
    w->watch = NULL;
}

static void watch_some(struct model *m)
{
    for (int i = 0; i < WATCHERS; i++) {
        struct watcher *w = &m->watchers[i];
        if (!w->watch && draw(m, 3) == 0)
            come(m, w);
        if (!w->watch || draw(m, 3) == 0)
            continue;
        if (!read_some(m, w, draw(m, 2) ? UINT32_MAX : 1 + draw(m, 4))) {
            leave(w);
            list_again(m, w);
        } else if (draw(m, 12) == 0) {
            leave(w);
        }
    }
}

/* ---- */

static void make_watchers(struct model *m)
{
    for (int i = 0; i < WATCHERS; i++) {
        struct watcher *w = &m->watchers[i];
        char labels[24], fields[40];
        struct neap_err err = NEAP_ERR_INIT;
        *w = (struct watcher){.ns = i % 3 ? (int)draw(m, NAMESPACES) : NONE,
                              .label = i % 2 ? (int)draw(m, LABELS) : NONE,
                              .name = i % 5 == 0 ? (int)draw(m, NAMES) : NONE,
                              .after = neap_registry_revision(m->f->r)};
        snprintf(labels, sizeof(labels), "v=%d", w->label);
        snprintf(fields, sizeof(fields), "metadata.name=k%d", w->name);
        if (w->label != NONE || w->name != NONE)
            assert_ok(neap_selector_parse(configmaps(), w->label != NONE ? labels : NULL,
                                          w->name != NONE ? fields : NULL, &w->selector, &err),
                      err);
    }
}

static void restart(struct model *m)
{
    for (int i = 0; i < WATCHERS; i++)
        if (m->watchers[i].watch)
            leave(&m->watchers[i]);
    neap_registry_close(m->f->r);
    m->f->r = NULL;
    fixture_open(m->f);
}

static void play(const char *store, uint64_t seed, bool restarts)
{
    struct model *m = calloc(1, sizeof(*m));
    m->f = fixture_new(store);
    m->seed = seed;
    m->f->options.clock = &test_clock;
    m->f->options.history_ns = 20 * SECOND;
    m->f->options.history_bytes = 1 << 20;
    for (int k = 0; k < KEYS; k++)
        m->label[k] = NONE;
    fixture_open(m->f);
    make_watchers(m);
    for (int i = 0; i < STEPS; i++) {
        write_some(m);
        watch_some(m);
        test_now += draw(m, 30) ? draw(m, 2) * SECOND : 30 * SECOND; /* now and then all is old */
        if (restarts && draw(m, 25) == 0)
            restart(m);
    }
    for (int i = 0; i < WATCHERS; i++) {
        struct watcher *w = &m->watchers[i];
        if (!w->watch)
            come(m, w);
        while (!w->watch || !read_some(m, w, UINT32_MAX)) {
            neap_watch_close(w->watch);
            list_again(m, w);
            come(m, w);
        }
        leave(w);
        neap_selector_free(w->selector);
    }
    print_message("seed %llu: %zu changes, %u events, %u too late\n", (unsigned long long)seed,
                  m->count, m->events, m->late);
    assert_true(m->events > 100 && m->late > 0);
    fixture_free(m->f);
    free(m);
}

static void test_watchers_see_what_happened(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 25; seed++)
        play("memory", seed * UINT64_C(0x9E3779B97F4A7C15), false);
}

static void test_also_across_restarts(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        play("sqlite", seed * UINT64_C(0xD1342543DE82EF95), true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watchers_see_what_happened),
        cmocka_unit_test(test_also_across_restarts),
    };
    neap_log_set(NEAP_LOG_ERROR, 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
