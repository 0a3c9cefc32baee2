/* Filters, words, the queue and its time. */
#include "world.h"

static struct world w;
static const struct neap_sched_options plain = {0};

static int setup(void **state)
{
    (void)state;
    world_open(&w, 7);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&w);
    return 0;
}

static void test_binds(void **state)
{
    (void)state;
    world_node(&w, "n1", "2", "", "");
    world_start(&w, plain);
    world_pod(&w, "a", "1", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n1");
    assert_string_equal(world_told(&w, "a", "Scheduled"), "Successfully assigned default/a to n1");
    assert_int_equal(w.bindings, 1);
    assert_int_equal(world_state(&w, "a"), SCHED_BOUND);
}

static void test_words(void **state)
{
    (void)state;
    char buf[512];
    world_node(&w, "n1", "2", "", "");
    world_node(&w, "n2", "2", "", "\"unschedulable\":true");
    world_node(&w, "n3", "2", "",
               "\"taints\":[{\"key\":\"x\",\"value\":\"y\",\"effect\":\"NoSchedule\"}]");
    world_node(&w, "n4", "2", "\"disk\":\"hdd\"", "");
    world_start(&w, plain);
    world_pod(&w, "a", "3", "", "\"priority\":0");
    world_run(&w);
    const char *want =
        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were "
        "unschedulable, "
        "2 Insufficient cpu. preemption: 0/4 nodes are available: 4 Preemption is not helpful for "
        "scheduling.";
    assert_string_equal(world_told(&w, "a", "FailedScheduling"), want);
    struct neap_object *o = world_get(&w, "pods", "a");
    size_t len;
    assert_non_null(strstr(neap_object_json(o, &len), "\"reason\":\"Unschedulable\""));
    assert_non_null(strstr(neap_object_json(o, &len), want));
    assert_string_equal(world_text(o, "spec.nodeName", buf), "");
    world_pod(&w, "b", "1", "", "\"nodeSelector\":{\"disk\":\"ssd\"}");
    world_run(&w);
    assert_string_equal(world_told(&w, "b", "FailedScheduling"),
                        "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) "
                        "were unschedulable, 2 node(s) didn't match Pod's node affinity/selector. "
                        "preemption: 0/4 nodes are available: 4 Preemption is not helpful for "
                        "scheduling.");
}

/* A DaemonSet's pod: the other nodes are not looked at. */
static void test_named_node(void **state)
{
    (void)state;
    static const char spec[] =
        "\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{"
        "\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":"
        "\"In\",\"values\":[\"n2\"]}]}]}}}";
    world_node(&w, "n1", "2", "", "\"unschedulable\":true");
    world_node(&w, "n2", "2", "", "");
    world_node(&w, "n3", "2", "", "");
    world_start(&w, plain);
    world_pod(&w, "a", "1500m", "", spec);
    world_pod(&w, "b", "1500m", "", spec);
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n2");
    assert_string_equal(
        world_told(&w, "b", "FailedScheduling"),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy "
        "plugin(s) [NodeAffinity]. preemption: 0/3 nodes are available: 1 No "
        "preemption victims found for incoming pod, 2 Preemption is not helpful for "
        "scheduling.");
}

static void test_no_nodes(void **state)
{
    (void)state;
    world_start(&w, plain);
    world_pod(&w, "a", "1", "", "");
    world_run(&w);
    assert_string_equal(world_told(&w, "a", "FailedScheduling"),
                        "no nodes available to schedule pods");
    world_node(&w, "n1", "2", "", "");
    world_run(&w);
    world_pass(&w, 1);
    assert_string_equal(world_where(&w, "a"), "n1");
}

static void test_left_alone(void **state)
{
    (void)state;
    world_node(&w, "n1", "9", "", "");
    world_start(&w, plain);
    world_put(
        &w, "", "pods",
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":"
        "\"default\",\"uid\":\"u\"},\"spec\":{\"schedulerName\":\"mine\",\"containers\":[]}}");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "");
    assert_int_equal(w.told_count, 0);
    world_pod(&w, "b", "1", "", "");
    world_patch(&w, world_get(&w, "pods", "b"),
                "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}}");
    world_run(&w); /* both events came before the cycle */
    assert_int_equal(w.bindings, 0);
}

static void test_gates(void **state)
{
    (void)state;
    world_node(&w, "n1", "2", "", "");
    world_start(&w, plain);
    world_pod(&w, "a", "1", "", "\"schedulingGates\":[{\"name\":\"x/y\"}]");
    world_run(&w);
    size_t len;
    assert_string_equal(world_where(&w, "a"), "");
    assert_int_equal(world_state(&w, "a"), SCHED_GATED);
    assert_non_null(strstr(neap_object_json(world_get(&w, "pods", "a"), &len),
                           "\"reason\":\"SchedulingGated\""));
    assert_int_equal(w.told_count, 0);
    world_patch(&w, world_get(&w, "pods", "a"), "{\"spec\":{\"schedulingGates\":null}}");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n1");
}

/* Only what the refusing plugin cares about brings a pod back, and not before its back-off. */
static void test_retry(void **state)
{
    (void)state;
    world_node(&w, "n1", "1", "", "");
    world_start(&w, plain);
    world_pod(&w, "big", "4", "", "");
    world_run(&w);
    assert_int_equal(world_state(&w, "big"), SCHED_UNSCHEDULABLE);
    struct neap_sched_pod *p =
        neap_map_get(&w.sched->pods, neap_object_key(world_get(&w, "pods", "big")));
    assert_int_equal(p->attempts, 1);
    world_node(&w, "n1", "1", "\"a\":\"b\"", ""); /* labels: not its trouble */
    world_node(&w, "n2", "2", "", "");            /* too small */
    world_run(&w);
    assert_int_equal(world_state(&w, "big"), SCHED_UNSCHEDULABLE);
    assert_int_equal(p->attempts, 1);
    world_node(&w, "n3", "8", "", "");
    world_run(&w);
    assert_int_equal(world_state(&w, "big"), SCHED_BACKOFF); /* 1 s has not passed */
    world_pass(&w, 1);
    assert_string_equal(world_where(&w, "big"), "n3");
    assert_int_equal(p->attempts, 2);
}

static void test_backoff_grows_and_flush(void **state)
{
    (void)state;
    world_node(&w, "n1", "1", "", "");
    world_start(&w, plain);
    world_pod(&w, "big", "4", "", "");
    world_run(&w);
    struct neap_sched_pod *p =
        neap_map_get(&w.sched->pods, neap_object_key(world_get(&w, "pods", "big")));
    int64_t expect[] = {1, 2, 4, 8, 10, 10};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(expect); i++) {
        world_patch(&w, world_get(&w, "pods", "big"),
                    i % 2 ? "{\"metadata\":{\"annotations\":{\"x\":\"1\"}}}"
                          : "{\"metadata\":{\"annotations\":{\"x\":\"2\"}}}");
        world_run(&w);
        assert_int_equal(world_state(&w, "big"), SCHED_BACKOFF);
        assert_int_equal(p->until_ns - p->since_ns, expect[i] * SECOND);
        world_pass(&w, expect[i]);
        assert_int_equal(p->attempts, i + 2);
    }
    /* the same text again: one event that counts */
    assert_int_equal(w.told_count, 1);
    assert_int_equal(w.repeated, 6);
    unsigned attempts = p->attempts;
    world_pass(&w, 299);
    assert_int_equal(p->attempts, attempts);
    world_pass(&w, 40);
    assert_int_equal(p->attempts, attempts + 1);
}

static void test_room_is_made(void **state)
{
    (void)state;
    world_node(&w, "n1", "2", "", "");
    world_start(&w, plain);
    world_pod(&w, "a", "2", "", "");
    world_run(&w);
    world_pod(&w, "b", "2", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "b"), "");
    world_pass(&w, 2);
    world_patch(&w, world_get(&w, "pods", "a"), "{\"status\":{\"phase\":\"Succeeded\"}}");
    world_run(&w);
    assert_string_equal(world_where(&w, "b"), "n1");
}

static void test_refused_binding(void **state)
{
    (void)state;
    world_node(&w, "n1", "2", "", "");
    world_start(&w, plain);
    w.refuse_bindings = 2;
    world_pod(&w, "a", "2", "", "");
    world_run(&w);
    world_pass(&w, 4);
    assert_string_equal(world_where(&w, "a"), "n1");
    assert_int_equal(w.bindings, 1);
    assert_string_equal(world_told(&w, "a", "FailedScheduling"), "");
}

static void test_priority_first(void **state)
{
    (void)state;
    world_start(&w, plain);
    world_pod(&w, "low", "2", "", "\"priority\":1");
    world_pod(&w, "high", "2", "", "\"priority\":9");
    world_run(&w);
    world_pass(&w, 2);
    world_node(&w, "n1", "2", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "high"), "n1");
    assert_string_equal(world_where(&w, "low"), "");
}

static void test_ports(void **state)
{
    (void)state;
    static const char *const ports[] = {
        "\"hostPort\":80,\"protocol\":\"TCP\"",
        "\"hostPort\":80,\"protocol\":\"UDP\"",
        "\"hostPort\":80,\"protocol\":\"TCP\",\"hostIP\":\"10.0.0.1\"",
        "\"hostPort\":81,\"protocol\":\"TCP\",\"hostIP\":\"10.0.0.1\"",
        "\"hostPort\":81,\"protocol\":\"TCP\",\"hostIP\":\"10.0.0.2\"",
        "\"hostPort\":81,\"protocol\":\"TCP\",\"hostIP\":\"0.0.0.0\"",
    };
    static const bool fits[] = {true, true, false, true, true, false};
    world_node(&w, "n1", "9", "", "");
    world_start(&w, plain);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(ports); i++) {
        char name[16], json[700];
        snprintf(name, sizeof(name), "p%zu", i);
        snprintf(json, sizeof(json),
                 "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\","
                 "\"namespace\":\"default\",\"uid\":\"%s\"},\"spec\":{\"schedulerName\":"
                 "\"default-scheduler\",\"containers\":[{\"name\":\"c\",\"ports\":[{"
                 "\"containerPort\":80,%s}]}]}}",
                 name, name, ports[i]);
        world_put(&w, "", "pods", json);
        world_run(&w);
        assert_string_equal(world_where(&w, name), fits[i] ? "n1" : "");
        if (!fits[i])
            assert_string_equal(world_told(&w, name, "FailedScheduling"),
                                "0/1 nodes are available: 1 node(s) didn't have free ports for the "
                                "requested pod ports. preemption: 0/1 nodes are available: 1 No "
                                "preemption victims found for incoming pod.");
    }
}

/* Sidecars run beside init containers; an init container that needs more counts alone. */
static void test_requests(void **state)
{
    (void)state;
    world_node(&w, "n1", "10", "", "");
    world_start(&w, plain);
    world_put(&w, "", "pods",
              "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":"
              "\"default\",\"uid\":\"u\"},\"spec\":{\"schedulerName\":\"default-scheduler\","
              "\"overhead\":{\"cpu\":\"250m\"},\"initContainers\":["
              "{\"name\":\"s\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":"
              "\"1\"}}},{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"3\"}}}],"
              "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"2\","
              "\"memory\":\"1Gi\"}}}]}}");
    world_run(&w);
    struct neap_sched_node *n = neap_map_get(&w.sched->nodes, "n1");
    assert_int_equal(n->used[NEAP_SCHED_CPU], 4250); /* 1 + 3 during init, + 250m */
    assert_int_equal(n->used[NEAP_SCHED_MEMORY], 1 << 30);
    assert_int_equal(n->used[NEAP_SCHED_PODS], 1);
    world_remove(&w, "pods", "a");
    world_run(&w);
    assert_int_equal(n->used[NEAP_SCHED_CPU], 0);
    assert_int_equal(n->used[NEAP_SCHED_PODS], 0);
    assert_int_equal(n->assumed[0], 0);
    assert_int_equal(n->group_count, 0);
}

/* Resized in place: what it still has counts until the node says otherwise. */
static void test_resize(void **state)
{
    (void)state;
    world_node(&w, "n1", "10", "", "");
    world_start(&w, plain);
    world_pod(&w, "a", "4", "", "");
    world_run(&w);
    struct neap_sched_node *n = neap_map_get(&w.sched->nodes, "n1");
    world_pod(&w, "b", "7", "", "");
    world_run(&w);
    world_patch(&w, world_get(&w, "pods", "a"),
                "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{"
                "\"cpu\":\"1\"}}}]},\"status\":{\"containerStatuses\":[{\"name\":\"c\","
                "\"allocatedResources\":{\"cpu\":\"4\"}}]}}");
    world_run(&w);
    world_pass(&w, 3);
    assert_int_equal(n->used[NEAP_SCHED_CPU], 4000);
    assert_string_equal(world_where(&w, "b"), "");
    world_patch(&w, world_get(&w, "pods", "a"),
                "{\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"allocatedResources\":{"
                "\"cpu\":\"1\"}}]}}");
    world_run(&w);
    world_pass(&w, 3);
    assert_string_equal(world_where(&w, "b"), "n1"); /* a pod that shrank makes room */
}

/* A resource that no node has, until one has it. */
static void test_extended_resource(void **state)
{
    (void)state;
    world_node(&w, "n1", "10", "", "");
    world_start(&w, plain);
    world_put(&w, "", "pods",
              "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":"
              "\"default\",\"uid\":\"u\"},\"spec\":{\"schedulerName\":\"default-scheduler\","
              "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"example.com/gpu\":"
              "\"1\"}}}]}}");
    world_run(&w);
    assert_true(neap_startswith(world_told(&w, "a", "FailedScheduling"),
                                "0/1 nodes are available: 1 Insufficient example.com/gpu. "));
    world_patch(&w, world_get(&w, "nodes", "n1"),
                "{\"status\":{\"allocatable\":{\"example.com/gpu\":\"1\"}}}");
    world_run(&w);
    world_pass(&w, 1);
    assert_string_equal(world_where(&w, "a"), "n1");
}

static void test_least_allocated_and_soft_taint(void **state)
{
    (void)state;
    world_node(&w, "n1", "4", "", "");
    world_node(&w, "n2", "4", "", "\"taints\":[{\"key\":\"x\",\"effect\":\"PreferNoSchedule\"}]");
    world_node(&w, "n3", "8", "", "");
    world_start(&w, plain);
    world_pod(&w, "a", "1", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n3"); /* most is left there */
    world_pod(&w, "b", "1", "",
              "\"affinity\":{\"nodeAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":"
              "[{\"weight\":5,\"preference\":{\"matchFields\":[{\"key\":\"metadata.name\","
              "\"operator\":\"In\",\"values\":[\"n1\"]}]}}]}}");
    world_run(&w);
    assert_string_equal(world_where(&w, "b"), "n1");
}

/* The same events and the same seed give the same decisions. */
static void run_once(uint64_t seed, char out[32][16])
{
    struct world x;
    world_open(&x, seed);
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        world_node(&x, name, "8", "", "");
    }
    world_start(&x, plain);
    for (int i = 0; i < 32; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%d", i);
        world_pod(&x, name, "1", "", "");
        world_run(&x);
        snprintf(out[i], 16, "%s", world_where(&x, name));
    }
    world_close(&x);
}

static void test_same_seed_same_choice(void **state)
{
    (void)state;
    char a[32][16] = {{0}}, b[32][16] = {{0}}, c[32][16] = {{0}};
    run_once(3, a);
    run_once(3, b);
    run_once(4, c);
    assert_memory_equal(a, b, sizeof(a));
    assert_int_not_equal(memcmp(a, c, sizeof(a)), 0);
}

static void test_options_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *disabled, *weights, *says;
    } cases[] = {
        {"Nothing", NULL, "scheduler_disabled: there is no scheduler plugin \"Nothing\""},
        {"NodeName=3", NULL, "scheduler_disabled: \"NodeName=3\" is not a name"},
        {NULL, "NodeResourcesFit",
         "scheduler_weights: \"NodeResourcesFit\" is not NAME=WEIGHT with "
         "a weight of 1 to 100"},
        {NULL, "NodeResourcesFit=101",
         "scheduler_weights: \"NodeResourcesFit=101\" is not "
         "NAME=WEIGHT with a weight of 1 to 100"},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(cases); i++) {
        struct neap_err err = NEAP_ERR_INIT;
        struct neap_sched_options o = {.disabled = cases[i].disabled, .weights = cases[i].weights};
        assert_int_equal(neap_sched_check(&o, &err), NEAP_ECONFIG);
        assert_string_equal(err.message, cases[i].says);
        neap_err_done(&err);
    }
    struct neap_sched_options good = {.disabled = "NodePorts, ImageLocality",
                                      .weights = "NodeResourcesFit=5,TaintToleration=1"};
    assert_int_equal(neap_sched_check(&good, NULL), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_binds),
        TEST(test_words),
        TEST(test_named_node),
        TEST(test_no_nodes),
        TEST(test_left_alone),
        TEST(test_gates),
        TEST(test_retry),
        TEST(test_backoff_grows_and_flush),
        TEST(test_room_is_made),
        TEST(test_refused_binding),
        TEST(test_priority_first),
        TEST(test_ports),
        TEST(test_requests),
        TEST(test_resize),
        TEST(test_extended_resource),
        TEST(test_least_allocated_and_soft_taint),
        TEST(test_same_seed_same_choice),
        TEST(test_options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
