/* The agent dies, the shim dies: what is known afterwards. The first agent is a child of the test. */
#include "oci_test.h"

/* Runs <fn> in a child that then waits to be killed. */
static pid_t first_agent(void (*fn)(struct driver *d))
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct driver d;
        driver_open(&d);
        fn(&d);
        if (write(ready[1], "+", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    ssize_t n = read(ready[0], &byte, 1);
    close(ready[0]);
    assert_int_equal(n, 1);
    return pid;
}
static void kill_agent(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static char fifo[128];

static void two_containers(struct driver *d)
{
    struct pod p = {0};
    struct box b, c, e;
    char script[256];
    static struct neap_runtime_mount m;
    pod_run(d, &p, "aaaaaaaa-adopt");
    m = (struct neap_runtime_mount){.source = data_dir, .target = "/data"};
    snprintf(script, sizeof script, "echo first; read x < /data/gate; echo second; exit 9");
    box_init(d, &b, &p, "runs", "echo alive; sleep 1000");
    box_init(d, &c, &p, "ends", script);
    c.c.mounts = &m;
    c.c.mount_count = 1;
    box_init(d, &e, &p, "created", "echo late");
    box_start(d, &b);
    box_start(d, &c);
    assert_op(&d->h, d->p->container_create(d->self, &e.c, op));
    driver_wait(d, b.id, NEAP_RUNTIME_RUNNING);
}

static void wait_for_log(const char *path, const char *text)
{
    for (int i = 0; i < 30000; i++) {
        char *log = read_text(path);
        bool there = log && strstr(log, text);
        free(log);
        if (there)
            return;
        struct timespec ms = {.tv_nsec = 1000000};
        nanosleep(&ms, NULL); /* a file that another process writes */
    }
    fail_msg("no \"%s\" in %s", text, path);
}

static void test_agent_killed(void **state)
{
    struct driver d;
    char log[256];
    snprintf(fifo, sizeof fifo, "%s/gate", data_dir);
    assert_int_equal(mkfifo(fifo, 0666), 0);
    pid_t agent = first_agent(two_containers);
    kill_agent(agent);
    /* while nobody is there, a container goes on, logs and ends */
    int fd = open(fifo, O_WRONLY);
    assert_int_equal(write(fd, "go\n", 3), 3);
    close(fd);
    snprintf(log, sizeof log, "%s/aaaaaaaa-adopt/ends/0.log", log_dir);
    wait_for_log(log, "second");
    driver_open(&d);
    struct neap_runtime_container_status s =
        driver_wait(&d, "aaaaaaaa-adopt_ends_0", NEAP_RUNTIME_EXITED);
    assert_int_equal(s.exit_code, 9);
    bool told = false;
    for (int64_t end = fake_mono(&d.h) + TURN_LIMIT_NS; !told && fake_mono(&d.h) < end;) {
        for (unsigned i = 0; i < d.changed_count; i++)
            told |= !strcmp(d.changed[i], "aaaaaaaa-adopt_ends_0");
        if (!told)
            neap_loop_turn(d.h.loop, true);
    }
    assert_true(told);
    s = driver_wait(&d, "aaaaaaaa-adopt_runs_0", NEAP_RUNTIME_RUNNING);
    assert_true(s.pid > 1 && s.started_wall_ns > 0);
    assert_int_equal(kill(s.pid, 0), 0);
    struct neap_runtime_sandbox_status ss;
    assert_int_equal(d.p->sandbox_status(d.self, "aaaaaaaa-adopt", &ss), 0);
    assert_true(ss.ready);
    /* one that was only created can still be started by the new agent */
    assert_op(&d.h, d.p->container_start(d.self, "aaaaaaaa-adopt_created_0", op));
    s = driver_wait(&d, "aaaaaaaa-adopt_created_0", NEAP_RUNTIME_EXITED);
    assert_int_equal(s.exit_code, 0);
    assert_op(&d.h, d.p->container_signal(d.self, "aaaaaaaa-adopt_runs_0", SIGKILL, op));
    s = driver_wait(&d, "aaaaaaaa-adopt_runs_0", NEAP_RUNTIME_EXITED);
    assert_int_equal(s.exit_code, 137);
    assert_int_equal(s.signal, SIGKILL);
    pod_remove(&d, "aaaaaaaa-adopt");
    driver_close(&d);
}

static pid_t shim_of(const char *id)
{
    DIR *d = opendir("/proc");
    pid_t found = 0;
    char want[256];
    snprintf(want, sizeof want, "%s/sandboxes/%s", data_dir, id);
    for (struct dirent *e; (e = readdir(d));) {
        char path[300], text[1024];
        snprintf(path, sizeof path, "/proc/%s/cmdline", e->d_name);
        int fd = e->d_name[0] >= '0' && e->d_name[0] <= '9' ? open(path, O_RDONLY) : -1;
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        if (n > 0 && memmem(text, (size_t)n, want, strlen(want)))
            found = atoi(e->d_name);
    }
    closedir(d);
    return found;
}

static void check_unknown(struct driver *d, const char *id)
{
    struct neap_runtime_container_status s = driver_wait(d, id, NEAP_RUNTIME_EXITED);
    assert_int_equal(s.exit_code, 137);
    assert_string_equal(s.reason, "ContainerStatusUnknown");
    assert_non_null(s.message);
}

static void test_shim_killed(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    driver_open(&d);
    pod_run(&d, &p, "bbbbbbbb-adopt");
    box_init(&d, &b, &p, "main", "sleep 1000");
    box_start(&d, &b);
    struct neap_runtime_container_status s = driver_wait(&d, b.id, NEAP_RUNTIME_RUNNING);
    pid_t shim = shim_of(p.id), own = s.pid;
    assert_true(shim > 1);
    kill(shim, SIGKILL);
    check_unknown(&d, b.id);
    assert_true(kill(own, 0) < 0 || count_leaks().processes == 0);
    while (!d.sandbox_changed_count)
        neap_loop_turn(d.h.loop, true);
    struct neap_runtime_sandbox_status ss;
    assert_int_equal(d.p->sandbox_status(d.self, p.id, &ss), 0);
    assert_false(ss.ready);
    struct fake_op o;
    d.p->container_create(d.self, &b.c, fake_op_init(&o));
    assert_int_equal(fake_op_wait(&d.h, &o), 0); /* it exists */
    assert_op(&d.h, d.p->container_remove(d.self, b.id, op));
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void one_container(struct driver *d)
{
    struct pod p = {0};
    struct box b;
    pod_run(d, &p, "cccccccc-adopt");
    box_init(d, &b, &p, "main", "sleep 1000");
    box_start(d, &b);
}

static void test_both_killed(void **state)
{
    struct driver d;
    pid_t agent = first_agent(one_container);
    pid_t shim = shim_of("cccccccc-adopt");
    assert_true(shim > 1);
    kill_agent(agent);
    kill(shim, SIGKILL);
    driver_open(&d);
    check_unknown(&d, "cccccccc-adopt_main_0");
    driver_close(&d);
    driver_open(&d); /* it was recorded */
    check_unknown(&d, "cccccccc-adopt_main_0");
    pod_remove(&d, "cccccccc-adopt");
    driver_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent_killed),
        cmocka_unit_test(test_shim_killed),
        cmocka_unit_test(test_both_killed),
    };
    if (needs_root())
        return 0;
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
