/* The registry on a sqlite whose disk fails at every single operation: what was acknowledged is there afterwards, what
 * was not is wholly there or not at all, revisions never go back, no space is survived, and nothing that a failed
 * fsync leaves is trusted. */
#include "fixture.h"
#include "fault_vfs.h"

#include <fcntl.h>

enum { STEPS = 8, KEPT = 3, NAME = 16, CUT_ROUNDS = 2 };

struct run {
    struct fixture *f;
    atomic_bool died; /* the process would have ended */
    int result[STEPS];
    uint64_t revision[STEPS];
    int steps; /* that were tried */
};

static atomic_bool *died_flag;

static void note_fatal(struct neap_registry *r, const char *why)
{
    (void)r;
    assert_true(*why);
    *died_flag = true;
    fault.dead = true; /* it would touch nothing any more */
}

static char *name_of(char out[NAME], int step)
{
    snprintf(out, NAME, "n%d", step);
    return out;
}

/* Step i: n<i> comes, n<i-KEPT> goes, "last" says i: in one transaction. */
static void step(struct run *x, int i)
{
    char name[NAME], old[64], value[NAME], gone[NAME];
    snprintf(value, sizeof(value), "%d", i);
    snprintf(old, sizeof(old), "/registry/core/configmaps/default/%s", name_of(gone, i - KEPT));
    struct neap_object *made = configmap("default", name_of(name, i), value),
                       *last = configmap("default", "last", value);
    struct neap_txn_op ops[3] = {
        {configmaps(), neap_object_key(made), 0, made, false},
        {configmaps(), neap_object_key(last), NEAP_STORE_ANY, last, false},
        {configmaps(), old, NEAP_STORE_ANY, NULL, false},
    };
    struct neap_txn txn = {.ops = ops, .op_count = i >= KEPT ? 3 : 2};
    commit(x->f, &txn);
    x->result[i] = txn.result;
    x->revision[i] = txn.revision;
    neap_txn_done(&txn);
    neap_object_unref(made);
    neap_object_unref(last);
    test_now += 2 * SECOND; /* so that each step also compacts */
}

static int open_registry(struct run *x)
{
    struct neap_err err = NEAP_ERR_INIT;
    died_flag = &x->died;
    int rc = neap_registry_open(&x->f->options, &x->f->r, &err);
    if (rc) {
        assert_non_null(err.message); /* one clear line */
        assert_null(strchr(err.message, '\n'));
        x->f->r = NULL;
    } else {
        x->f->r->fatal = note_fatal;
    }
    neap_err_done(&err);
    return rc;
}

static int value_at(struct neap_snapshot *s, const char *name)
{
    const char *v = value_of(neap_snapshot_get(s, configmaps(), "default", name));
    return v ? atoi(v) : -1;
}

/* Reads go on while writes are refused. */
static void check_serving(struct run *x, int i)
{
    struct neap_snapshot *s = neap_snapshot_pin(x->f->r);
    for (int j = i; j >= 0; j--)
        if (x->result[j] == 0) {
            assert_int_equal(value_at(s, "last"), j);
            break;
        }
    neap_snapshot_unpin(s);
}

static void play(struct run *x)
{
    for (int i = 0; i < STEPS && !x->died; i++) {
        x->steps = i + 1;
        step(x, i);
        if (!x->died)
            check_serving(x, i);
    }
}

/* ---- what must be there ---- */

static void check_step(struct run *x, struct neap_snapshot *s, int i, int newest, bool visible)
{
    char name[NAME];
    struct neap_object *o = neap_snapshot_get(s, configmaps(), "default", name_of(name, i));
    bool removed = false;
    int remover = i + KEPT;
    if (remover < x->steps)
        removed = x->result[remover] == 0 || remover == newest;
    assert_int_equal(o != NULL, visible && !removed);
    if (o && x->result[i] == 0)
        assert_int_equal(neap_object_revision(o), x->revision[i]);
}

static void count_problem(void *arg, const char *text)
{
    print_message("problem: %s\n", text);
    ++*(unsigned *)arg;
}

static void check_all(struct run *x)
{
    unsigned problems = 0;
    assert_int_equal(open_registry(x), 0);
    struct neap_snapshot *s = neap_snapshot_pin(x->f->r);
    uint64_t highest = 0;
    int acknowledged = -1, newest = value_at(s, "last");
    for (int i = 0; i < x->steps; i++)
        if (x->result[i] == 0) {
            acknowledged = i;
            highest = x->revision[i] > highest ? x->revision[i] : highest;
        }
    /* what was under way when the process ended may be there, whole; what was refused is not */
    bool under_way = x->died && newest == x->steps - 1;
    assert_true(newest == acknowledged || under_way);
    for (int i = 0; i < x->steps; i++)
        check_step(x, s, i, newest, x->result[i] == 0 || i == newest);
    assert_true(neap_snapshot_revision(s) >= highest);
    neap_snapshot_unpin(s);
    assert_int_equal(x->f->store->verify(x->f->r->store_self, count_problem, &problems), 0);
    assert_int_equal(problems, 0);
    assert_true(put(x->f, configmap("default", "after", "1")) > highest);
    neap_registry_close(x->f->r);
    x->f->r = NULL;
}

/* ---- each operation once ---- */

struct kind {
    const char *title;
    enum fault_op op;
    int code, os_errno, part;
    bool power_cut, ends, space;
};

static const struct kind kinds[] = {
    {"no space", OP_WRITE, SQLITE_FULL, ENOSPC, 0, false, false, true},
    {"no space for half of it", OP_WRITE, SQLITE_FULL, ENOSPC, 700, false, false, true},
    {"no space, said otherwise", OP_WRITE, SQLITE_IOERR_WRITE, ENOSPC, 100, false, false, true},
    {"a write fails", OP_WRITE, SQLITE_IOERR_WRITE, EIO, 0, false, true, false},
    {"a read fails", OP_READ, SQLITE_IOERR_READ, EIO, 0, false, true, false},
    {"fsync fails", OP_SYNC, SQLITE_IOERR_FSYNC, EIO, 0, false, true, false},
    {"fsync finds no space", OP_SYNC, SQLITE_IOERR_FSYNC, ENOSPC, 0, false, true, false},
    {"a truncation fails", OP_TRUNCATE, SQLITE_IOERR_TRUNCATE, EIO, 0, false, true, false},
    {"an opening fails", OP_OPEN, SQLITE_CANTOPEN, EIO, 0, false, true, false},
    {"the power goes", OP_ANY_CHANGE, SQLITE_IOERR_WRITE, EIO, 0, true, true, false},
};

static void check_ended_as_it_should(const struct run *x, const struct kind *k)
{
    for (int i = 0; i < x->steps; i++) {
        bool in_flight = x->died && i == x->steps - 1;
        if (x->result[i] && !in_flight && (!k->space || x->result[i] != NEAP_ENOSPACE))
            fail_msg("%s: step %d: %d", k->title, i, x->result[i]);
    }
    if (k->space)
        assert_false(x->died);
}

/* The n-th operation fails; false: there was no n-th. */
static bool one(const struct kind *k, int n)
{
    struct run x = {.f = fixture_new("sqlite")};
    x.f->options.clock = &test_clock;
    x.f->options.history_ns = 1;
    test_checkpoint_pages = 4;
    fault_reset();
    fault.op = k->op;
    fault.left = n;
    fault.code = k->code;
    fault.os_errno = k->os_errno;
    fault.part = k->part;
    fault.power_cut = k->power_cut;
    bool opened = open_registry(&x) == 0;
    if (opened)
        play(&x);
    bool in_time = opened && fault.fired;
    neap_registry_close(x.f->r); /* which checkpoints: the fault may still come */
    x.f->r = NULL;
    if (opened)
        check_ended_as_it_should(&x, k);
    if (k->op == OP_SYNC && in_time) /* the first one that fails is the last one */
        assert_true(x.died && fault.syncs_after == 0);
    bool fired = fault.fired;
    fault.op = OP_NONE;
    if (x.died || (fired && k->ends))
        fault_restart(k->power_cut || k->op == OP_SYNC);
    check_all(&x);
    test_checkpoint_pages = 0;
    fixture_free(x.f);
    return fired;
}

static void test_every_operation(void **state)
{
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(kinds); i++)
        for (int round = 0; round < (kinds[i].power_cut ? CUT_ROUNDS : 1); round++) {
            int n = 1;
            while (one(&kinds[i], n))
                n++;
            print_message("%s: %d places\n", kinds[i].title, n - 1);
            assert_true(kinds[i].op == OP_TRUNCATE || n > 1);
        }
}

/* ---- bits that turn ---- */

struct found {
    unsigned count;
    char text[256];
};

static void keep_problem(void *arg, const char *text)
{
    struct found *x = arg;
    if (!x->count++)
        snprintf(x->text, sizeof(x->text), "%s", text);
}

static char *read_all(const char *path, size_t *ret_len)
{
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    char *data = malloc(1 << 22);
    *ret_len = fread(data, 1, 1 << 22, f);
    fclose(f);
    return data;
}

static void write_all(const char *path, const char *data, size_t len)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

enum { OBJECTS = 60, FLIPS_A_PAGE = 24, PAGE = 8192 };

static bool same_objects(struct fixture *f)
{
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    char name[NAME], value[400];
    bool same = neap_snapshot_count(s, configmaps()) == OBJECTS;
    for (int i = 0; same && i < OBJECTS; i++) {
        memset(value, 'a' + i % 26, sizeof(value));
        value[sizeof(value) - 1] = '\0';
        struct neap_object *o = neap_snapshot_get(s, configmaps(), "default", name_of(name, i));
        yyjson_doc *doc = o ? neap_object_parse(o, NULL) : NULL;
        same = neap_streq(neap_json_val_str_at(yyjson_doc_get_root(doc), "data.v"), value);
        yyjson_doc_free(doc);
    }
    neap_snapshot_unpin(s);
    return same;
}

/* It is refused with a line, or found by verify, or has changed nothing. */
static bool flip_is_seen(struct fixture *f)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct found found = {0};
    if (neap_registry_open(&f->options, &f->r, &err)) {
        assert_non_null(err.message);
        bool named = strstr(err.message, "/registry/core/configmaps/default/n") != NULL;
        neap_err_done(&err);
        f->r = NULL;
        return named;
    }
    int rc = f->store->verify(f->r->store_self, keep_problem, &found);
    bool named = found.count && strstr(found.text, "/registry/core/configmaps/default/n");
    if (!found.count && !rc && !same_objects(f))
        fail_msg("a changed bit is not seen");
    neap_registry_close(f->r);
    f->r = NULL;
    return named;
}

static void test_turned_bits(void **state)
{
    (void)state;
    struct fixture *f = fixture_new("sqlite");
    char path[128], name[NAME], value[400];
    fault_reset();
    fixture_open(f);
    for (int i = 0; i < OBJECTS; i++) {
        memset(value, 'a' + i % 26, sizeof(value));
        value[sizeof(value) - 1] = '\0';
        char *json = neap_asprintf("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{"
                                   "\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"u\"},"
                                   "\"data\":{\"v\":\"%s\"}}",
                                   name_of(name, i), value);
        put(f, make(configmaps(), json, 0));
        free(json);
    }
    neap_registry_close(f->r); /* moves everything into the one file */
    f->r = NULL;
    snprintf(path, sizeof(path), "%s/neap.db", f->dir);
    size_t len;
    unsigned named = 0, flips = 0;
    char *data = read_all(path, &len);
    assert_true(len >= 3 * PAGE && len % PAGE == 0);
    for (size_t page = 0; page < len / PAGE; page++)
        for (int i = 0; i < FLIPS_A_PAGE; i++, flips++) {
            size_t at = page * PAGE + fault_random() % PAGE;
            char bit = (char)(1 << fault_random() % 8);
            data[at] ^= bit;
            write_all(path, data, len);
            named += flip_is_seen(f);
            data[at] ^= bit;
        }
    print_message("%u bits turned, the object was named for %u\n", flips, named);
    assert_true(named > flips / 3); /* the rest: trees, counters, space that is free */
    write_all(path, data, len);
    fixture_open(f);
    assert_true(same_objects(f));
    free(data);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operation),
        cmocka_unit_test(test_turned_bits),
    };
    fault_install();
    if (access("/dev/shm", W_OK) == 0) /* hundreds of databases: no real disk is to be waited for */
        test_top = "/dev/shm";
    neap_log_set(NEAP_LOG_ERROR, open("/dev/null", O_WRONLY | O_CLOEXEC)); /* each fault says so */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
