/* The registry on the sqlite store: what lasts, what a crash and a full disk leave. */
#include "fixture.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int setup(void **state)
{
    struct fixture *f = fixture_new("sqlite");
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

static void reopen(struct fixture *f)
{
    neap_registry_close(f->r);
    f->r = NULL;
    fixture_open(f);
}

static char *file_path(struct fixture *f, const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    return path;
}

static void no_wake(void *arg)
{
    (void)arg;
}

static struct neap_watch *watch_after(struct fixture *f, uint64_t after, int *ret_code)
{
    struct neap_watch_options o = {
        .kind = configmaps(), .after = after, .loop = f->loop, .wake = no_wake};
    struct neap_watch *w = NULL;
    struct neap_err err = NEAP_ERR_INIT;
    *ret_code = neap_watch_open(f->r, &o, &w, &err);
    neap_err_done(&err);
    return w;
}

static void assert_next(struct neap_watch *w, enum neap_event_type type, const char *value,
                        uint64_t revision)
{
    struct neap_event e;
    assert_int_equal(neap_watch_next(w, &e), 1);
    assert_int_equal(e.type, type);
    assert_int_equal(e.revision, revision);
    assert_int_equal(neap_object_revision(e.object), revision);
    assert_string_equal(value_of(e.object), value);
    neap_object_unref(e.object);
}

static void count_problem(void *arg, const char *text)
{
    print_message("problem: %s\n", text);
    ++*(unsigned *)arg;
}

static void assert_sound(struct fixture *f)
{
    unsigned problems = 0;
    assert_int_equal(f->store->verify(f->r->store_self, count_problem, &problems), 0);
    assert_int_equal(problems, 0);
}

static void count_call(void *arg)
{
    ++*(unsigned *)arg;
}

static void change_database(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(file_path(f, "neap.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int64_t count_rows(struct fixture *f)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_open(file_path(f, "neap.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM log", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

/* ---- what lasts ---- */

static void test_everything_lasts(void **state)
{
    struct fixture *f = *state;
    uint64_t a = put(f, configmap("default", "a", "1"));
    put(f, configmap("default", "b", "1"));
    uint64_t b = put(f, configmap("default", "b", "2"));
    put(f, configmap("default", "c", "1"));
    uint64_t last = del(f, configmaps(), "/registry/core/configmaps/default/c");
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    char *json =
        neap_strdup(neap_object_json(neap_snapshot_get(s, configmaps(), "default", "b"), NULL));
    neap_snapshot_unpin(s);
    reopen(f);
    assert_int_equal(neap_registry_revision(f->r), last);
    s = neap_snapshot_pin(f->r);
    assert_int_equal(neap_snapshot_count(s, configmaps()), 2);
    assert_int_equal(neap_object_revision(neap_snapshot_get(s, configmaps(), "default", "a")), a);
    struct neap_object *o = neap_snapshot_get(s, configmaps(), "default", "b");
    assert_int_equal(neap_object_revision(o), b);
    assert_string_equal(neap_object_json(o, NULL), json);
    neap_snapshot_unpin(s);
    free(json);
    assert_int_equal(put(f, configmap("default", "a", "2")), last + 1);
    assert_sound(f);
}

static void test_expiry_lasts(void **state)
{
    struct fixture *f = *state;
    int64_t expires = neap_clock_wall(&neap_clock_system) + 3600 * SECOND;
    static const char json[] = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{"
                               "\"name\":\"a\",\"namespace\":\"default\",\"uid\":\"u\"}}";
    uint64_t put_at = put(f, make(configmaps(), json, expires));
    reopen(f);
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    struct neap_object *o = neap_snapshot_get(s, configmaps(), "default", "a");
    assert_int_equal(neap_object_expires(o), expires);
    neap_snapshot_unpin(s);
    neap_registry_close(f->r);
    test_now = expires + 1; /* due while nobody ran: deleted at start */
    f->options.clock = &test_clock;
    fixture_open(f);
    unsigned fired = 0;
    neap_registry_wait(f->r, put_at + 1, f->loop, count_call, &fired);
    while (!fired)
        neap_loop_turn(f->loop, true);
    s = neap_snapshot_pin(f->r);
    assert_int_equal(neap_snapshot_count(s, configmaps()), 0);
    neap_snapshot_unpin(s);
}

static void test_unknown_kinds_are_kept(void **state)
{
    struct fixture *f = *state;
    uint64_t a = put(f, configmap("default", "a", "1"));
    neap_registry_close(f->r);
    f->r = NULL;
    change_database(f,
                    "INSERT INTO log VALUES((3 << 16), '/registry/example.com/things/x', '{}', 0,"
                    " 0, NULL); UPDATE meta SET revision = 3, sum = NULL");
    fixture_open(f);
    assert_int_equal(neap_registry_revision(f->r), 3);
    assert_int_equal(a, 2);
    put(f, configmap("default", "a", "2"));
    neap_registry_close(f->r);
    f->r = NULL;
    assert_int_equal(count_rows(f), 3);
    fixture_open(f);
}

static void test_watches_resume(void **state)
{
    struct fixture *f = *state;
    int code;
    uint64_t a = put(f, configmap("default", "a", "1"));
    uint64_t b = put(f, configmap("default", "a", "2"));
    uint64_t c = del(f, configmaps(), KEY_A);
    uint64_t d = put(f, configmap("default", "a", "3"));
    reopen(f);
    struct neap_watch *w = watch_after(f, a, &code);
    assert_int_equal(code, 0);
    assert_next(w, NEAP_MODIFIED, "2", b);
    assert_next(w, NEAP_DELETED, "2", c);
    assert_next(w, NEAP_ADDED, "3", d);
    neap_watch_close(w);
}

/* Compacts up to <revision>, in slices, while nothing else uses the store. */
static void compact(struct fixture *f, uint64_t revision)
{
    struct neap_store_follower nobody = {0};
    void *self;
    bool done = false;
    neap_registry_close(f->r);
    f->r = NULL;
    f->host.fail = NULL;
    assert_int_equal(f->store->open(&f->host, &nobody, &self), 0);
    while (!done)
        assert_int_equal(f->store->compact(self, revision, &done), 0);
    f->store->close(self);
    fixture_open(f);
}

static void test_compaction(void **state)
{
    struct fixture *f = *state;
    int code;
    put(f, configmap("default", "a", "1"));
    uint64_t base = put(f, configmap("default", "a", "2"));
    put(f, configmap("default", "gone", "1"));
    uint64_t to = del(f, configmaps(), "/registry/core/configmaps/default/gone");
    uint64_t after = put(f, configmap("default", "a", "3"));
    uint64_t last = del(f, configmaps(), KEY_A);
    assert_int_equal(count_rows(f), 6);
    compact(f, to);
    assert_int_equal(count_rows(f), 3); /* the base, and what is above */
    assert_int_equal(neap_registry_compacted(f->r), to);
    assert_sound(f);
    assert_null(watch_after(f, base, &code));
    assert_int_equal(code, NEAP_EEXPIRED);
    struct neap_watch *w = watch_after(f, to, &code);
    assert_next(w, NEAP_MODIFIED, "3", after); /* not ADDED: its old state was kept */
    assert_next(w, NEAP_DELETED, "3", last);
    neap_watch_close(w);
    compact(f, last);
    assert_int_equal(count_rows(f), 0);
    assert_int_equal(neap_registry_revision(f->r), last);
    assert_sound(f);
}

static void test_long_compaction_in_slices(void **state)
{
    struct fixture *f = *state;
    enum { N = 3000 };
    struct neap_txn *txns = calloc(N, sizeof(*txns));
    struct neap_txn_op *ops = calloc(N, sizeof(*ops));
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i % 100);
        struct neap_object *o = configmap("default", name, "v");
        ops[i] = (struct neap_txn_op){.kind = configmaps(),
                                      .key = neap_object_key(o),
                                      .expected = NEAP_STORE_ANY,
                                      .draft = o};
        txns[i] = (struct neap_txn){.ops = &ops[i], .op_count = 1};
        submit(f, &txns[i]);
    }
    wait_done(f, N);
    for (int i = 0; i < N; i++) {
        assert_int_equal(txns[i].result, 0);
        neap_txn_done(&txns[i]);
        neap_object_unref(ops[i].draft);
    }
    free(txns);
    free(ops);
    uint64_t last = neap_registry_revision(f->r);
    compact(f, last);
    assert_int_equal(count_rows(f), 100);
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    assert_int_equal(neap_snapshot_count(s, configmaps()), 100);
    neap_snapshot_unpin(s);
    assert_sound(f);
}

/* The registry's own: history out of time is compacted by the writer. */
static void test_registry_compacts(void **state)
{
    struct fixture *f = *state;
    neap_registry_close(f->r);
    f->options.history_ns = 1;
    fixture_open(f);
    for (int i = 0; i < 50; i++)
        put(f, configmap("default", "a", "x"));
    neap_registry_close(f->r);
    f->r = NULL;
    assert_in_range(count_rows(f), 1, 49);
    fixture_open(f);
    assert_sound(f);
}

/* ---- files ---- */

static void test_files_are_private(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"neap.db", "neap.db-wal", "neap.db-shm", "lock"};
    put(f, configmap("default", "a", "1"));
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        struct stat st;
        assert_int_equal(stat(file_path(f, names[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void assert_refused(struct fixture *f, const char *words)
{
    struct neap_registry *second;
    struct neap_err err = NEAP_ERR_INIT;
    assert_true(neap_registry_open(&f->options, &second, &err) < 0);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
    neap_err_done(&err);
}

static void test_second_server_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_refused(f, "in use by another server");
    put(f, configmap("default", "a", "1"));
}

static void test_newer_and_damaged_databases_are_refused(void **state)
{
    struct fixture *f = *state;
    put(f, configmap("default", "a", "1"));
    neap_registry_close(f->r);
    f->r = NULL;
    change_database(f, "UPDATE meta SET format = 99");
    assert_refused(f, "has format 99, this server knows formats up to 2");
    change_database(f, "UPDATE meta SET format = 2, compacted = 500");
    assert_refused(f, "is damaged");
    change_database(f, "UPDATE meta SET compacted = 0; UPDATE log SET val = val || ' '");
    assert_refused(f, "the record of " KEY_A " at revision 2 is not what was written");
    change_database(f, "UPDATE log SET val = '{\"kind\"', sum = NULL");
    assert_refused(f, "damaged record of " KEY_A " at revision 2");
    FILE *file = fopen(file_path(f, "neap.db"), "we");
    for (int i = 0; i < 4096; i++)
        fputs("no database", file);
    fclose(file);
    assert_refused(f, "not a database");
}

/* What format 1 wrote goes on without sums; what is written from now on has them. */
static void test_format_1_is_taken_over(void **state)
{
    struct fixture *f = *state;
    uint64_t a = put(f, configmap("default", "a", "1"));
    neap_registry_close(f->r);
    f->r = NULL;
    change_database(f, "ALTER TABLE log DROP COLUMN sum; ALTER TABLE meta DROP COLUMN sum;"
                       "UPDATE meta SET format = 1");
    fixture_open(f);
    assert_int_equal(neap_registry_revision(f->r), a);
    put(f, configmap("default", "b", "1"));
    reopen(f);
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    assert_int_equal(neap_snapshot_count(s, configmaps()), 2);
    neap_snapshot_unpin(s);
    assert_sound(f);
}

struct backup_answer {
    bool done;
    int code;
};
static void backup_done(void *arg, int code, const char *message)
{
    struct backup_answer *a = arg;
    if (message)
        print_message("backup: %s\n", message);
    *a = (struct backup_answer){true, code};
}

static int backup(struct fixture *f, const char *path)
{
    struct backup_answer a = {0};
    neap_registry_backup(f->r, path, f->loop, backup_done, &a);
    while (!a.done)
        neap_loop_turn(f->loop, true);
    return a.code;
}

static void test_backup(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    uint64_t last = put(f, configmap("default", "a", "1"));
    char *path = neap_strdup(file_path(f, "copy.db"));
    assert_int_equal(backup(f, path), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(backup(f, path), NEAP_EALREADYEXISTS);
    put(f, configmap("default", "b", "1"));
    neap_registry_close(f->r);
    f->r = NULL;
    assert_int_equal(rename(path, file_path(f, "neap.db")), 0);
    fixture_open(f);
    assert_int_equal(neap_registry_revision(f->r), last);
    assert_int_equal(put(f, configmap("default", "b", "1")), last + 1);
    free(path);
}

/* ---- a full disk ---- */

static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    neap_registry_close(f->r);
    test_max_bytes = 256 << 10;
    fixture_open(f);
    char big[4096], name[16];
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    char *json = NULL;
    unsigned stored = 0;
    int code = 0;
    for (; !code && stored < 1000; stored += !code) {
        free(json);
        snprintf(name, sizeof(name), "n%u", stored);
        json = neap_asprintf("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{"
                             "\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"u\"},"
                             "\"data\":{\"v\":\"%s\"}}",
                             name, big);
        code = write_one(f, configmaps(), NULL, make(configmaps(), json, 0), 0, NULL);
    }
    free(json);
    assert_int_equal(code, NEAP_ENOSPACE);
    assert_in_range(stored, 10, 100);
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    assert_int_equal(neap_snapshot_count(s, configmaps()), stored); /* reads go on */
    uint64_t revision = neap_snapshot_revision(s);
    neap_snapshot_unpin(s);
    test_max_bytes = 0; /* room again, and everything is as it was */
    reopen(f);
    assert_int_equal(neap_registry_revision(f->r), revision);
    assert_int_equal(put(f, configmap("default", "a", "1")), revision + 1);
    assert_sound(f);
}

/* ---- kill -9 ---- */

struct acknowledged {
    uint64_t revision;
    char name[16];
};

/* Writes from a child until it is killed, some transactions at a time; tells what was acknowledged. */
struct child_write {
    struct neap_txn txn;
    struct neap_txn_op ops[2];
    int fd;
    unsigned *count;
    struct fixture *f;
};

static void child_submit(struct child_write *w);

static void child_acknowledged(struct neap_txn *txn)
{
    struct child_write *w = txn->data;
    if (txn->result)
        _exit(3);
    struct acknowledged ack = {.revision = txn->revision};
    snprintf(ack.name, sizeof(ack.name), "%s", neap_object_name(txn->objects[0]));
    if (write(w->fd, &ack, sizeof(ack)) != (ssize_t)sizeof(ack))
        _exit(4);
    neap_txn_done(txn);
    neap_object_unref(w->ops[0].draft);
    neap_object_unref(w->ops[1].draft);
    child_submit(w);
}

static void child_submit(struct child_write *w)
{
    char name[16];
    snprintf(name, sizeof(name), "n%u", ++*w->count);
    struct neap_object *o = configmap("default", name, "1");
    struct neap_object *shared = configmap("default", "shared", name);
    w->ops[0] = (struct neap_txn_op){
        .kind = configmaps(), .key = neap_object_key(o), .expected = NEAP_STORE_ANY, .draft = o};
    w->ops[1] = (struct neap_txn_op){.kind = configmaps(),
                                     .key = neap_object_key(shared),
                                     .expected = NEAP_STORE_ANY,
                                     .draft = shared};
    w->txn = (struct neap_txn){
        .ops = w->ops, .op_count = 2, .loop = w->f->loop, .done = child_acknowledged, .data = w};
    neap_registry_submit(w->f->r, &w->txn);
}

static void child_main(struct fixture *f, int fd, unsigned count)
{
    struct child_write writes[8] = {0};
    f->loop = neap_loop_new("child", NULL);
    f->options.history_ns = 1000000; /* so that compaction is killed too */
    fixture_open(f);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(writes); i++) {
        writes[i].fd = fd;
        writes[i].count = &count;
        writes[i].f = f;
        child_submit(&writes[i]);
    }
    neap_loop_run(f->loop);
    _exit(5);
}

/* Reads acknowledgements until <kill_after> of them have come, then kills; returns all that came. */
static size_t run_child(struct fixture *f, unsigned first, size_t kill_after,
                        struct acknowledged *acks, size_t max)
{
    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        child_main(f, fds[1], first);
    }
    close(fds[1]);
    size_t n = 0;
    while (n < max && read(fds[0], &acks[n], sizeof(*acks)) == (ssize_t)sizeof(*acks))
        if (++n == kill_after)
            kill(pid, SIGKILL);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return n;
}

static void check_acknowledged(struct fixture *f, const struct acknowledged *acks, size_t n)
{
    fixture_open(f);
    assert_sound(f);
    struct neap_snapshot *s = neap_snapshot_pin(f->r);
    uint64_t newest = 0;
    for (size_t i = 0; i < n; i++) {
        struct neap_object *o = neap_snapshot_get(s, configmaps(), "default", acks[i].name);
        assert_non_null(o);
        assert_int_equal(neap_object_revision(o), acks[i].revision);
        newest = acks[i].revision > newest ? acks[i].revision : newest;
    }
    assert_true(neap_snapshot_revision(s) >= newest);
    /* transactions are whole: the shared object names the last one */
    struct neap_object *shared = neap_snapshot_get(s, configmaps(), "default", "shared");
    struct neap_object *last = neap_snapshot_get(s, configmaps(), "default", value_of(shared));
    assert_non_null(last);
    assert_int_equal(neap_object_revision(last), neap_object_revision(shared));
    assert_int_equal(neap_object_revision(last), neap_snapshot_revision(s));
    neap_snapshot_unpin(s);
    neap_registry_close(f->r);
    f->r = NULL;
}

static void test_kill_loses_nothing(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 20, MAX = 8192 };
    struct acknowledged *acks = calloc(MAX, sizeof(*acks));
    size_t total = 0;
    neap_registry_close(f->r); /* no thread may live when we fork */
    f->r = NULL;
    neap_loop_free(f->loop);
    for (int round = 0; round < ROUNDS; round++) {
        size_t kill_after = 1 + neap_rand_u64(&neap_rand_system) % 150;
        size_t n = run_child(f, (unsigned)round * 10000, kill_after, acks + total, MAX - total);
        total += n;
        check_acknowledged(f, acks, total);
    }
    assert_true(total >= ROUNDS);
    free(acks);
    f->loop = neap_loop_new("test", NULL);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_everything_lasts),
        TEST(test_expiry_lasts),
        TEST(test_unknown_kinds_are_kept),
        TEST(test_watches_resume),
        TEST(test_compaction),
        TEST(test_long_compaction_in_slices),
        TEST(test_registry_compacts),
        TEST(test_files_are_private),
        TEST(test_second_server_is_refused),
        TEST(test_newer_and_damaged_databases_are_refused),
        TEST(test_format_1_is_taken_over),
        TEST(test_backup),
        TEST(test_full_disk),
        TEST(test_kill_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
