/* A pod's life as Kubernetes documents it ("Pod Lifecycle", "Init Containers", "Sidecar Containers", "Configure
 * Liveness, Readiness and Startup Probes"): what is told when, in which order, after how long. */
#include "world.h"

#include <sys/stat.h>

static void open_world(struct world *w)
{
    world_open(w);
}

static void close_gone(struct world *w, const char *pod)
{
    w->machine.ignores_term = false;
    if (api_object(&w->api, "pods", pod))
        world_delete(w, pod, 1);
    world_pass(w, 60);
    world_assert_empty(w, "the end");
    world_close(w);
}

#define assert_shows(text, want) assert_string_equal(text, want)

/* ---- restarts ---- */

static const struct {
    const char *policy;
    int code;
    const char *phase; /* after the exit */
    bool again;
} policies[] = {{"Always", 0, "Running", true},       {"Always", 1, "Running", true},
                {"OnFailure", 0, "Succeeded", false}, {"OnFailure", 3, "Running", true},
                {"Never", 0, "Succeeded", false},     {"Never", 137, "Failed", false}};

static void test_restart_policies(void **state)
{
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(policies); i++) {
        struct world w;
        open_world(&w);
        NEAP_CLEANUP_FREE char *spec =
            neap_asprintf("\"restartPolicy\":\"%s\"," ONE, policies[i].policy);
        world_pod(&w, "p", spec);
        world_exit(&w, "c", policies[i].code);
        assert_shows(world_get(&w, "p", "status.phase"), policies[i].phase);
        assert_int_equal(world_runs(&w, "c"), policies[i].again);
        assert_shows(world_of(&w, "p", "c", "restartCount"), policies[i].again ? "1" : "0");
        const char *end =
            policies[i].again ? "lastState.terminated.exitCode" : "state.terminated.exitCode";
        assert_int_equal(atoi(world_of(&w, "p", "c", end)), policies[i].code);
        close_gone(&w, "p");
    }
}

/* 10 s, doubled to 300 s; the first restart is at once; ten minutes of running forget it all. */
static void test_back_off(void **state)
{
    static const int waits[] = {10, 20, 40, 80, 160, 300, 300};
    struct world w;
    (void)state;
    open_world(&w);
    world_pod(&w, "p", ONE);
    world_exit(&w, "c", 1);
    assert_true(world_runs(&w, "c"));
    for (size_t i = 0; i < NEAP_ARRAY_LEN(waits); i++) {
        char want[128];
        world_exit(&w, "c", 1);
        assert_shows(world_of(&w, "p", "c", "state.waiting.reason"), "CrashLoopBackOff");
        assert_shows(world_of(&w, "p", "c", "lastState.terminated.exitCode"), "1");
        snprintf(want, sizeof(want), i == 3 ? "back-off 1m20s restarting" : "back-off ");
        assert_memory_equal(world_of(&w, "p", "c", "state.waiting.message"), want, strlen(want));
        world_pass_ms(&w, waits[i] * 1000 - 100);
        assert_false(world_runs(&w, "c"));
        world_pass_ms(&w, 200);
        assert_true(world_runs(&w, "c"));
    }
    world_pass(&w, 601);
    world_exit(&w, "c", 1);
    assert_true(world_runs(&w, "c"));
    world_exit(&w, "c", 1);
    world_pass(&w, 9);
    assert_false(world_runs(&w, "c"));
    world_pass(&w, 2);
    assert_true(world_runs(&w, "c"));
    assert_shows(world_told(&w, "BackOff")->message,
                 "Back-off restarting failed container c in pod p_default(u-1)");
    assert_shows(world_told(&w, "BackOff")->field, "spec.containers{c}");
    close_gone(&w, "p");
}

static void test_reasons_of_the_end(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    world_pod(&w, "p", "\"restartPolicy\":\"Never\"," ONE);
    world_thing(&w, "c")->reason = "OOMKilled";
    world_exit(&w, "c", 137);
    assert_shows(world_of(&w, "p", "c", "state.terminated.reason"), "OOMKilled");
    assert_shows(world_of(&w, "p", "c", "state.terminated.exitCode"), "137");
    assert_shows(world_get(&w, "p", "status.phase"), "Failed");
    assert_shows(world_condition(&w, "p", "Ready", "reason"), "PodFailed");
    close_gone(&w, "p");
}

/* ---- deletion ---- */

static void test_exit_codes_before_the_delete(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    world_pod(&w, "p", ONE);
    world_delete(&w, "p", 30);
    assert_null(api_object(&w.api, "pods", "p"));
    assert_non_null(strstr(w.api.status_at_deletion, "\"exitCode\":143"));
    assert_string_equal(w.api.deletion_uid, "u-1");
    assert_int_equal(w.api.deletion.grace_period_s, 0);
    assert_int_equal(w.api.rules[DELETE].asked, 1);
    assert_int_equal(w.machine.signals[SIGTERM], 1);
    assert_int_equal(w.machine.signals[SIGKILL], 0);
    close_gone(&w, "p");
}

/* SIGKILL when the grace is over; a second deletion only shortens it. */
static void test_grace(void **state)
{
    static const struct {
        int64_t first, second, killed_at;
    } rows[] = {{30, -1, 30}, {30, 2, 2}, {2, 30, 2}, {30, 0, 0}, {INT64_MAX, 3, 3}};
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        struct world w;
        open_world(&w);
        world_pod(&w, "p", ONE);
        w.machine.ignores_term = true;
        int64_t from = w.mono;
        world_delete(&w, "p", rows[i].first);
        if (rows[i].second >= 0)
            world_delete(&w, "p", rows[i].second);
        world_pass(&w, 40);
        assert_int_equal((w.machine.signalled[SIGKILL] - from) / SECOND, rows[i].killed_at);
        close_gone(&w, "p");
    }
}

/* A pod that ends by itself has its own grace; deleting it then does not lengthen that. */
static void test_grace_of_an_end_by_itself(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    world_pod(&w, "p",
              "\"restartPolicy\":\"Never\",\"activeDeadlineSeconds\":10,"
              "\"terminationGracePeriodSeconds\":5," ONE);
    w.machine.ignores_term = true;
    int64_t from = w.mono;
    world_pass(&w, 11);
    assert_shows(world_get(&w, "p", "status.reason"), "DeadlineExceeded");
    world_delete(&w, "p", 600);
    world_pass(&w, 10);
    assert_int_equal((w.machine.signalled[SIGKILL] - from) / SECOND, 15);
    close_gone(&w, "p");
}

/* While an image is pulled, which may take hours. */
static void test_deletion_does_not_wait_for_a_pull(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    w.machine.no_image = w.machine.slots[PULL].hold = true;
    world_pod(&w, "p", ONE);
    assert_int_equal(w.machine.slots[PULL].calls, 1);
    world_delete(&w, "p", 30);
    world_pass(&w, 1);
    assert_null(api_object(&w.api, "pods", "p"));
    machine_release(&w.machine, PULL, 0);
    world_settle(&w);
    assert_int_equal(w.machine.slots[CREATE].calls, 0);
    close_gone(&w, "p");
}

/* A finalizer keeps the object: the agent asks again only now and then. */
static void test_finalizers_are_waited_for(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    world_pod_with(&w, "p", ONE, "\"finalizers\":[\"test/f\"]");
    world_delete(&w, "p", 1);
    world_pass(&w, 600);
    assert_non_null(api_object(&w.api, "pods", "p"));
    assert_in_range(w.api.rules[DELETE].asked, 1, 25);
    world_force(&w, "p");
    close_gone(&w, "p");
}

/* ---- status ---- */

static void test_refused_status_is_sent_again_slowly(void **state)
{
    static const int codes[] = {NEAP_ENOTFOUND, NEAP_ECONFLICT, NEAP_EINTERNAL, NEAP_EFORBIDDEN};
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(codes); i++) {
        struct world w;
        open_world(&w);
        w.api.rules[STATUS].code = codes[i];
        w.api.rules[STATUS].fail = 1000;
        world_pod(&w, "p", ONE);
        world_pass(&w, 300);
        assert_in_range(w.api.rules[STATUS].asked, 5, 20);
        w.api.rules[STATUS].fail = 0;
        world_pass(&w, 31);
        assert_shows(world_get(&w, "p", "status.phase"), "Running");
        close_gone(&w, "p");
    }
}

static void test_transition_times(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    machine_command(&w.machine, "ready", 1);
    world_pod(&w, "p",
              "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"readinessProbe\":{\"exec\":{"
              "\"command\":[\"ready\"]},\"periodSeconds\":10,\"failureThreshold\":1}}]");
    const char *since = world_condition(&w, "p", "Ready", "lastTransitionTime");
    const char *scheduled = world_condition(&w, "p", "Initialized", "lastTransitionTime");
    world_pass(&w, 5);
    machine_command(&w.machine, "ready", 0);
    world_pass(&w, 10);
    assert_shows(world_condition(&w, "p", "Ready", "status"), "True");
    assert_string_not_equal(world_condition(&w, "p", "Ready", "lastTransitionTime"), since);
    assert_shows(world_condition(&w, "p", "Initialized", "lastTransitionTime"), scheduled);
    close_gone(&w, "p");
}

static void test_any_image_name_is_told(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    w.machine.no_image = true;
    w.machine.slots[PULL].fail = 1000;
    world_pod(&w, "p", "\"containers\":[{\"name\":\"c\",\"image\":\"a\\\"b\\\\n,\\\"x\\\":1\"}]");
    world_pass(&w, 2);
    assert_shows(world_of(&w, "p", "c", "image"), "a\"b\\n,\"x\":1");
    assert_shows(world_of(&w, "p", "c", "state.waiting.reason"), "ImagePullBackOff");
    close_gone(&w, "p");
}

/* Somebody else says that it is over: the kubelet obeys. */
static void test_phase_told_by_others(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    world_pod(&w, "p", ONE);
    world_patch(&w, "p", "{\"status\":{\"phase\":\"Failed\",\"reason\":\"Evicted\"}}");
    world_pass(&w, 1);
    assert_false(world_runs(&w, "c"));
    assert_shows(world_get(&w, "p", "status.phase"), "Failed");
    assert_shows(world_get(&w, "p", "status.reason"), "Evicted");
    close_gone(&w, "p");
}

/* ---- deadline ---- */

static void test_deadline_in_every_stage(void **state)
{
    static const enum slot holds[] = {SLOTS, SANDBOX_RUN, ATTACH, PULL, CREATE, START};
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(holds) + 1; i++) {
        struct world w;
        open_world(&w);
        w.machine.no_image = true;
        const char *volumes = "";
        if (i == NEAP_ARRAY_LEN(holds))
            volumes = "\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"none\"}}],";
        else if (holds[i] != SLOTS)
            w.machine.slots[holds[i]].hold = true;
        NEAP_CLEANUP_FREE char *spec = neap_asprintf("\"activeDeadlineSeconds\":7,%s" ONE, volumes);
        world_pod(&w, "p", spec);
        world_pass(&w, 6);
        assert_string_not_equal(world_get(&w, "p", "status.phase"), "Failed");
        world_pass(&w, 2);
        for (int s = 0; s < SLOTS; s++)
            machine_release(&w.machine, (enum slot)s, 0);
        world_pass(&w, 1);
        assert_shows(world_get(&w, "p", "status.phase"), "Failed");
        assert_shows(world_get(&w, "p", "status.reason"), "DeadlineExceeded");
        close_gone(&w, "p");
    }
}

/* ---- init containers and sidecars ---- */

#define INIT                                                                                       \
    "\"initContainers\":[{\"name\":\"a\",\"image\":\"i\"},{\"name\":\"b\",\"image\":\"i\"}],"
#define SIDE                                                                                       \
    "\"initContainers\":[{\"name\":\"s\",\"image\":\"i\",\"restartPolicy\":\"Always\"},"           \
    "{\"name\":\"t\",\"image\":\"i\",\"restartPolicy\":\"Always\"}],"

static void test_init_containers_in_turn(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    world_pod(&w, "p", INIT ONE);
    assert_true(world_runs(&w, "a") && !world_thing(&w, "b") && !world_thing(&w, "c"));
    assert_shows(world_condition(&w, "p", "Initialized", "status"), "False");
    assert_shows(world_of(&w, "p", "c", "state.waiting.reason"), "PodInitializing");
    world_exit(&w, "a", 1); /* tried again */
    assert_true(world_runs(&w, "a") && !world_thing(&w, "b"));
    world_exit(&w, "a", 0);
    assert_true(world_runs(&w, "b") && !world_thing(&w, "c"));
    world_exit(&w, "b", 0);
    assert_true(world_runs(&w, "c"));
    assert_shows(world_condition(&w, "p", "Initialized", "status"), "True");
    close_gone(&w, "p");
}

static void test_init_container_fails_for_good(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    world_pod(&w, "p", "\"restartPolicy\":\"Never\"," INIT ONE);
    world_exit(&w, "a", 2);
    assert_shows(world_get(&w, "p", "status.phase"), "Failed");
    assert_null(world_thing(&w, "b"));
    close_gone(&w, "p");
}

/* "If the Pod restarts, or is restarted, all init containers must execute again." */
static void test_init_containers_run_again_in_a_new_sandbox(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    world_pod(&w, "p", INIT ONE);
    world_exit(&w, "a", 0);
    world_exit(&w, "b", 0);
    assert_true(world_runs(&w, "c"));
    world_lose(&w);
    world_pass(&w, 2);
    assert_non_null(world_told(&w, "SandboxChanged"));
    assert_true(world_runs(&w, "a"));
    assert_false(world_runs(&w, "c"));
    world_exit(&w, "a", 0);
    world_exit(&w, "b", 0);
    world_pass(&w, 20);
    assert_true(world_runs(&w, "c"));
    close_gone(&w, "p");
}

/* Sidecars start first and end last, in reverse; one that ends starts again whatever the pod's policy. */
static void test_sidecars(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    world_pod(&w, "p", "\"restartPolicy\":\"Never\"," SIDE ONE);
    assert_true(world_runs(&w, "s") && world_runs(&w, "t") && world_runs(&w, "c"));
    world_exit(&w, "s", 1);
    assert_true(world_runs(&w, "s"));
    w.machine.slots[SIGNAL].hold = true;
    world_exit(&w, "c", 0);
    assert_int_equal(w.machine.slots[SIGNAL].calls, 1);
    machine_release(&w.machine, SIGNAL, 0);
    world_settle(&w);
    assert_false(world_runs(&w, "s") || world_runs(&w, "t"));
    const struct thing *s = world_thing(&w, "s");
    assert_null(s); /* the sandbox is gone: nothing of the pod was kept */
    assert_shows(world_get(&w, "p", "status.phase"), "Succeeded");
    assert_shows(world_of(&w, "p", "t", "state.terminated.exitCode"), "143");
    close_gone(&w, "p");
}

/* ---- probes ---- */

#define PROBED(type, more)                                                                         \
    "\"terminationGracePeriodSeconds\":30,\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"" type \
    "\":{\"exec\":{\"command\":[\"probe\"]}" more "}}]"

static void test_liveness(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    machine_command(&w.machine, "probe", 0);
    world_pod(&w, "p",
              PROBED("livenessProbe",
                     ",\"initialDelaySeconds\":5,\"periodSeconds\":3,\"failureThreshold\":2"));
    world_pass_ms(&w, 4900);
    assert_int_equal(w.machine.commands[0].runs, 0);
    world_pass_ms(&w, 200);
    assert_int_equal(w.machine.commands[0].runs, 1);
    machine_command(&w.machine, "probe", 1);
    world_pass(&w, 3);
    assert_int_equal(w.machine.signals[SIGTERM], 0);
    world_pass(&w, 3);
    assert_int_equal(w.machine.signals[SIGTERM], 1);
    machine_command(&w.machine, "probe", 0);
    assert_shows(world_told(&w, "Killing")->message,
                 "Container c failed liveness probe, will be restarted");
    assert_shows(world_told(&w, "Unhealthy")->field, "spec.containers{c}");
    assert_true(world_runs(&w, "c"));
    world_pass(&w, 60); /* the grace of the one before is no business of the new one */
    assert_int_equal(w.machine.signals[SIGKILL], 0);
    assert_shows(world_of(&w, "p", "c", "restartCount"), "1");
    close_gone(&w, "p");
}

/* Restarted for its probe again and again: it backs off, and comes back when that is over. */
static void test_liveness_backs_off(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    machine_command(&w.machine, "probe", 1);
    world_pod(&w, "p", PROBED("livenessProbe", ",\"periodSeconds\":1,\"failureThreshold\":1"));
    world_pass(&w, 2);
    assert_shows(world_of(&w, "p", "c", "state.waiting.reason"), "CrashLoopBackOff");
    machine_command(&w.machine, "probe", 0);
    world_pass(&w, 11);
    assert_true(world_runs(&w, "c"));
    close_gone(&w, "p");
}

static void test_grace_of_a_probe(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    machine_command(&w.machine, "probe", 1);
    w.machine.ignores_term = true;
    world_pod(&w, "p",
              PROBED("livenessProbe", ",\"failureThreshold\":1,\"initialDelaySeconds\":1,"
                                      "\"terminationGracePeriodSeconds\":4"));
    int64_t from = w.mono;
    world_pass(&w, 8);
    assert_int_equal((w.machine.signalled[SIGKILL] - from) / SECOND, 5);
    close_gone(&w, "p");
}

static void test_readiness(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    machine_command(&w.machine, "probe", 0);
    world_pod(&w, "p",
              PROBED("readinessProbe",
                     ",\"periodSeconds\":2,\"successThreshold\":2,\"failureThreshold\":3"));
    assert_shows(world_of(&w, "p", "c", "ready"), "false");
    world_pass(&w, 2);
    assert_shows(world_of(&w, "p", "c", "ready"), "true");
    machine_command(&w.machine, "probe", NEVER); /* no answer is a failure, after a second */
    world_pass(&w, 6);
    assert_shows(world_of(&w, "p", "c", "ready"), "true");
    world_pass(&w, 5);
    assert_shows(world_of(&w, "p", "c", "ready"), "false");
    assert_true(world_runs(&w, "c"));
    close_gone(&w, "p");
}

static void test_startup_holds_the_others_back(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    machine_command(&w.machine, "start", 1);
    machine_command(&w.machine, "live", 1);
    world_pod(&w, "p",
              "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"startupProbe\":{\"exec\":{"
              "\"command\":[\"start\"]},\"periodSeconds\":1,\"failureThreshold\":20},"
              "\"livenessProbe\":{\"exec\":{\"command\":[\"live\"]},\"periodSeconds\":1,"
              "\"failureThreshold\":1}}]");
    world_pass(&w, 10);
    assert_int_equal(w.machine.commands[1].runs, 0);
    assert_shows(world_of(&w, "p", "c", "started"), "false");
    machine_command(&w.machine, "start", 0);
    machine_command(&w.machine, "live", 0);
    world_pass_ms(&w, 1500);
    assert_shows(world_of(&w, "p", "c", "started"), "true");
    assert_true(w.machine.commands[1].runs > 0);
    close_gone(&w, "p");
}

/* Numbers as large as the API takes them. */
static void test_large_numbers(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    machine_command(&w.machine, "probe", 0);
    world_pod(&w, "p",
              "\"terminationGracePeriodSeconds\":9223372036854775807,\"containers\":[{"
              "\"name\":\"c\",\"image\":\"i\",\"lifecycle\":{\"preStop\":{\"exec\":{\"command\":["
              "\"probe\"]}}},\"livenessProbe\":{\"exec\":{\"command\":[\"probe\"]},"
              "\"timeoutSeconds\":2147483647,\"periodSeconds\":2147483647}}]");
    world_pass(&w, 3);
    assert_int_equal(w.machine.commands[0].runs, 1);
    world_delete(&w, "p", INT64_MAX);
    assert_int_equal(w.machine.commands[0].runs, 2);
    close_gone(&w, "p");
}

/* ---- hooks ---- */

static void test_hooks(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    machine_command(&w.machine, "post", 0);
    machine_command(&w.machine, "pre", NEVER);
    world_pod(&w, "p",
              "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"lifecycle\":{\"postStart\":{"
              "\"exec\":{\"command\":[\"post\"]}},\"preStop\":{\"exec\":{\"command\":[\"pre\"]}}}"
              "}]");
    world_pass_ms(&w, 10);
    assert_int_equal(w.machine.commands[0].runs, 1);
    int64_t from = w.mono;
    world_delete(&w, "p", 8);
    world_pass(&w, 7);
    assert_int_equal(w.machine.signals[SIGTERM], 0); /* the hook comes first */
    world_pass(&w, 2);
    assert_in_range((w.machine.signalled[SIGKILL] - from) / SECOND, 8, 8);
    close_gone(&w, "p");
}

static void test_post_start_fails(void **state)
{
    struct world w;
    (void)state;
    open_world(&w);
    machine_command(&w.machine, "post", 1);
    world_pod(&w, "p",
              "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"lifecycle\":{\"postStart\":{"
              "\"exec\":{\"command\":[\"post\"]}}}}]");
    world_pass(&w, 1);
    assert_non_null(world_told(&w, "FailedPostStartHook"));
    assert_int_equal(w.machine.signals[SIGTERM], 2); /* again at once, then it waits */
    assert_shows(world_of(&w, "p", "c", "state.waiting.reason"), "CrashLoopBackOff");
    close_gone(&w, "p");
}

#define T(test) cmocka_unit_test(test)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_restart_policies),
        T(test_back_off),
        T(test_reasons_of_the_end),
        T(test_exit_codes_before_the_delete),
        T(test_grace),
        T(test_grace_of_an_end_by_itself),
        T(test_deletion_does_not_wait_for_a_pull),
        T(test_finalizers_are_waited_for),
        T(test_refused_status_is_sent_again_slowly),
        T(test_transition_times),
        T(test_any_image_name_is_told),
        T(test_phase_told_by_others),
        T(test_deadline_in_every_stage),
        T(test_init_containers_in_turn),
        T(test_init_container_fails_for_good),
        T(test_init_containers_run_again_in_a_new_sandbox),
        T(test_sidecars),
        T(test_liveness),
        T(test_liveness_backs_off),
        T(test_grace_of_a_probe),
        T(test_readiness),
        T(test_startup_holds_the_others_back),
        T(test_large_numbers),
        T(test_hooks),
        T(test_post_start_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
