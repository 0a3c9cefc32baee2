/* A container's life: logs, codes, limits, users, and what is left afterwards (nothing). */
#include "oci_test.h"

static void test_logs_and_code(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    driver_open(&d);
    assert_non_null(strstr(d.p->version(d.self), "run"));
    pod_run(&d, &p, "11111111-aaaa");
    pod_run(&d, &p, "11111111-aaaa"); /* twice is once */
    struct neap_runtime_sandbox_status ss;
    assert_int_equal(d.p->sandbox_status(d.self, p.id, &ss), 0);
    assert_true(ss.ready);
    assert_int_equal(access(ss.netns_path, F_OK), 0);
    box_init(&d, &b, &p, "main",
             "echo hello; echo oops >&2; hostname; echo $GREETING $HOME; printf partial; exit 7");
    const char *env[] = {"GREETING=hi", NULL};
    b.c.env = env;
    assert_op(&d.h, d.p->container_create(d.self, &b.c, op));
    assert_op(&d.h, d.p->container_create(d.self, &b.c, op));
    struct neap_runtime_container_status s;
    assert_int_equal(d.p->container_status(d.self, b.id, &s), 0);
    assert_int_equal(s.state, NEAP_RUNTIME_CREATED);
    assert_op(&d.h, d.p->container_start(d.self, b.id, op));
    s = driver_wait(&d, b.id, NEAP_RUNTIME_EXITED);
    assert_int_equal(s.exit_code, 7);
    assert_int_equal(s.signal, 0);
    assert_false(s.oom_killed);
    assert_string_equal(s.reason, "Error");
    assert_true(s.created_wall_ns > 0 && s.started_wall_ns >= s.created_wall_ns &&
                s.finished_wall_ns >= s.started_wall_ns);
    char *log = read_text(b.log);
    assert_non_null(log);
    assert_non_null(strstr(log, "Z stdout F hello\n"));
    assert_non_null(strstr(log, "Z stderr F oops\n"));
    assert_non_null(strstr(log, "Z stdout F pod-one\n"));
    assert_non_null(strstr(log, "Z stdout F hi /root\n"));
    assert_non_null(strstr(log, "Z stdout P partial\n"));
    free(log);
    assert_op(&d.h, d.p->container_start(d.self, b.id, op)); /* already over: nothing to do */
    assert_op(&d.h, d.p->container_remove(d.self, b.id, op));
    assert_op(&d.h, d.p->container_remove(d.self, b.id, op));
    assert_int_equal(d.p->container_status(d.self, b.id, &s), NEAP_ENOTFOUND);
    pod_remove(&d, p.id);
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_signal(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    driver_open(&d);
    pod_run(&d, &p, "22222222-aaaa");
    box_init(&d, &b, &p, "main",
             "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 1 & wait; done");
    box_start(&d, &b);
    driver_wait(&d, b.id, NEAP_RUNTIME_RUNNING);
    struct neap_runtime_stats st;
    assert_int_equal(d.p->stats(d.self, b.id, &st), 0);
    assert_true(st.memory_usage > 0 && st.cpu_usage_ns > 0);
    for (char *log = NULL; !log || !strstr(log, "up");) { /* the trap is set */
        free(log);
        neap_loop_turn(d.h.loop, false);
        log = read_text(b.log);
        if (log && strstr(log, "up")) {
            free(log);
            break;
        }
    }
    assert_op(&d.h, d.p->container_signal(d.self, b.id, SIGTERM, op));
    struct neap_runtime_container_status s = driver_wait(&d, b.id, NEAP_RUNTIME_EXITED);
    assert_int_equal(s.exit_code, 3);
    assert_true(d.changed_count >= 1);
    assert_string_equal(d.changed[0], b.id);
    assert_op(&d.h, d.p->container_signal(d.self, b.id, SIGTERM, op));
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_oom(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    driver_open(&d);
    pod_run(&d, &p, "33333333-aaaa");
    box_init(&d, &b, &p, "hungry", "exec tail /dev/zero");
    b.c.resources.memory_limit = 32 << 20;
    b.c.resources.pids_limit = 20;
    b.c.resources.cpu_shares = 512;
    b.c.resources.oom_score_adj = -500; /* clamped where it may not be set */
    box_start(&d, &b);
    struct neap_runtime_container_status s = driver_wait(&d, b.id, NEAP_RUNTIME_EXITED);
    assert_int_equal(s.exit_code, 137);
    assert_int_equal(s.signal, SIGKILL);
    assert_true(s.oom_killed);
    assert_string_equal(s.reason, "OOMKilled");
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_stop_kills(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b, c;
    driver_open(&d);
    pod_run(&d, &p, "44444444-aaaa");
    box_init(&d, &b, &p, "one", "trap '' TERM; while :; do sleep 1000; done");
    box_init(&d, &c, &p, "two", "sleep 1000");
    box_start(&d, &b);
    box_start(&d, &c);
    assert_op(&d.h, d.p->sandbox_stop(d.self, p.id, op));
    struct neap_runtime_container_status s;
    assert_int_equal(d.p->container_status(d.self, b.id, &s), 0);
    assert_int_equal(s.state, NEAP_RUNTIME_EXITED);
    assert_int_equal(s.exit_code, 137);
    assert_string_equal(s.reason, "Error");
    struct neap_runtime_sandbox_status ss;
    assert_int_equal(d.p->sandbox_status(d.self, p.id, &ss), 0);
    assert_false(ss.ready);
    struct fake_op again;
    d.p->sandbox_run(d.self, &p.c, fake_op_init(&again));
    assert_int_equal(fake_op_wait(&d.h, &again), NEAP_ECONFLICT);
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_start_error(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    struct fake_op o;
    driver_open(&d);
    pod_run(&d, &p, "55555555-aaaa");
    box_init(&d, &b, &p, "bad", NULL);
    b.command[0] = "/no/such/program";
    b.command[1] = NULL;
    d.p->container_create(d.self, &b.c, fake_op_init(&o));
    int r = fake_op_wait(&d.h, &o);
    if (!r) {
        d.p->container_start(d.self, b.id, fake_op_init(&o));
        r = fake_op_wait(&d.h, &o);
    }
    assert_true(r < 0);
    if (!strstr(o.message, "no such file") && !strstr(o.message, "not found") &&
        !strstr(o.message, "No such file"))
        fail_msg("%s", o.message);
    box_init(&d, &b, &p, "root", "true");
    b.c.security.run_as_non_root = true;
    d.p->container_create(d.self, &b.c, fake_op_init(&o));
    assert_int_equal(fake_op_wait(&d.h, &o), NEAP_EFORBIDDEN);
    assert_non_null(strstr(o.message, "runAsNonRoot"));
    box_init(&d, &b, &p, "lost", "true");
    b.c.image_id = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    d.p->container_create(d.self, &b.c, fake_op_init(&o));
    assert_int_equal(fake_op_wait(&d.h, &o), NEAP_ENOTFOUND);
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_security(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    char host_file[128];
    driver_open(&d);
    snprintf(host_file, sizeof host_file, "%s/shared", data_dir);
    write_text(host_file, "from the host\n");
    pod_run(&d, &p, "66666666-aaaa");
    box_init(
        &d, &b, &p, "main",
        "id -u; id -g; id -G; grep=; cat /proc/self/status; cat /shared; echo x > /shared || "
        "echo refused; echo y > /etc/x || echo readonly; mount -t tmpfs x /tmp || echo nomount");
    int64_t groups[] = {3003};
    const char *drop[] = {"ALL", NULL}, *add[] = {"NET_BIND_SERVICE", NULL};
    struct neap_runtime_mount m = {.source = host_file, .target = "/shared", .read_only = true};
    b.c.mounts = &m;
    b.c.mount_count = 1;
    b.c.security = (struct neap_runtime_security){.uid = 1000,
                                                  .gid = -1,
                                                  .read_only_rootfs = true,
                                                  .no_new_privileges = true,
                                                  .supplemental_groups = groups,
                                                  .supplemental_group_count = 1,
                                                  .drop_capabilities = drop,
                                                  .add_capabilities = add,
                                                  .seccomp_profile = "RuntimeDefault"};
    box_start(&d, &b);
    driver_wait(&d, b.id, NEAP_RUNTIME_EXITED);
    char *log = read_text(b.log);
    assert_non_null(strstr(log, "stdout F 1000\n"));
    assert_non_null(strstr(log, "stdout F 1001\n"));
    assert_non_null(strstr(log, "2002"));
    assert_non_null(strstr(log, "3003"));
    assert_non_null(strstr(log, "CapBnd:\t0000000000000400"));
    assert_non_null(strstr(log, "NoNewPrivs:\t1"));
    assert_non_null(strstr(log, "Seccomp:\t2"));
    assert_non_null(strstr(log, "from the host"));
    assert_non_null(strstr(log, "refused"));
    assert_non_null(strstr(log, "readonly"));
    assert_non_null(strstr(log, "nomount"));
    free(log);
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_shared_processes(void **state)
{
    struct driver d;
    struct pod p = {.c = {.share_process_namespace = true}};
    struct box a, b;
    driver_open(&d);
    pod_run(&d, &p, "77777777-aaaa");
    box_init(&d, &a, &p, "first", "exec sleep 4321");
    box_init(&d, &b, &p, "second", "ps -o args");
    box_start(&d, &a);
    box_start(&d, &b);
    driver_wait(&d, b.id, NEAP_RUNTIME_EXITED);
    char *log = read_text(b.log);
    assert_non_null(strstr(log, "sleep 4321"));
    assert_non_null(strstr(log, "pause"));
    free(log);
    pod_remove(&d, p.id);
    driver_close(&d);
}

static void test_rotation(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    driver_open(&d);
    pod_run(&d, &p, "88888888-aaaa");
    box_init(&d, &b, &p, "chatty", "seq 1 5000");
    b.c.log_max_bytes = 20000;
    b.c.log_max_files = 3;
    box_start(&d, &b);
    driver_wait(&d, b.id, NEAP_RUNTIME_EXITED);
    char path[300];
    snprintf(path, sizeof path, "%s.2", b.log);
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s.3", b.log);
    assert_int_not_equal(access(path, F_OK), 0);
    pod_remove(&d, p.id);
    driver_close(&d);
}

/* The second runtime program does the same. */
static void test_runc(void **state)
{
    static const struct fake_option runc[] = {{"runtime", "runc"}, {NULL, NULL}};
    if (access("/usr/sbin/runc", X_OK) < 0 && access("/usr/bin/runc", X_OK) < 0)
        skip();
    driver_options = runc;
    test_logs_and_code(state);
    test_oom(state);
    test_start_error(state);
    driver_options = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logs_and_code),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_oom),
        cmocka_unit_test(test_stop_kills),
        cmocka_unit_test(test_start_error),
        cmocka_unit_test(test_security),
        cmocka_unit_test(test_shared_processes),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_runc),
    };
    if (needs_root())
        return 0;
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
