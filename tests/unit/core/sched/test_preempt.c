/* Preemption. */
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

static void running(const char *name, const char *node, const char *cpu, int priority,
                    const char *labels, const char *started)
{
    NEAP_CLEANUP_FREE char *json = neap_asprintf(
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
        "\"default\",\"uid\":\"r-%s\",\"labels\":{%s}},\"spec\":{\"nodeName\":\"%s\",\"priority\":"
        "%d,\"schedulerName\":\"default-scheduler\",\"containers\":[{\"name\":\"c\",\"resources\":{"
        "\"requests\":{\"cpu\":\"%s\"}}}]},\"status\":{\"phase\":\"Running\",\"startTime\":\"%s\"}"
        "}",
        name, name, labels, node, priority, cpu, started);
    world_put(&w, "", "pods", json);
}

static bool deleting(const char *name)
{
    return neap_object_deleting(world_get(&w, "pods", name));
}

static void test_least_victims(void **state)
{
    (void)state;
    char buf[512];
    world_node(&w, "n1", "4", "", "");
    world_node(&w, "n2", "4", "", "");
    running("a", "n1", "2", 5, "", "2026-01-01T00:00:00Z");
    running("b", "n1", "2", 1, "", "2026-01-01T00:00:00Z");
    running("c", "n2", "4", 5, "", "2026-01-01T00:00:00Z");
    world_start(&w, plain);
    world_pod(&w, "vip", "2", "", "\"priority\":10");
    world_run(&w);
    assert_true(deleting("b"));
    assert_false(deleting("a"));
    assert_false(deleting("c"));
    assert_int_equal(w.deletes, 1);
    assert_string_equal(world_text(world_get(&w, "pods", "vip"), "status.nominatedNodeName", buf),
                        "n1");
    assert_true(neap_startswith(world_told(&w, "b", "Preempted"), "Preempted by pod p-"));
    size_t len;
    assert_non_null(strstr(neap_object_json(world_get(&w, "pods", "b"), &len),
                           "\"type\":\"DisruptionTarget\""));
    assert_string_equal(world_told(&w, "vip", "FailedScheduling"),
                        "0/2 nodes are available: 2 Insufficient cpu. preemption: found a "
                        "potential placement for pod on node n1, preempting 1 victims");
    /* who comes meanwhile does not get the place */
    world_pod(&w, "thief", "2", "", "\"priority\":3");
    world_run(&w);
    world_remove(&w, "pods", "b");
    world_run(&w);
    world_pass(&w, 2);
    assert_string_equal(world_where(&w, "vip"), "n1");
    assert_string_equal(world_where(&w, "thief"), "");
    assert_int_equal(w.deletes, 1);
}

/* While its victims end, it takes no others. */
static void test_no_second_round(void **state)
{
    (void)state;
    world_node(&w, "n1", "4", "", "");
    world_node(&w, "n2", "4", "", "");
    running("a", "n1", "4", 1, "", "2026-01-01T00:00:00Z");
    running("b", "n2", "4", 2, "", "2026-01-01T00:00:00Z");
    world_start(&w, plain);
    world_pod(&w, "vip", "2", "", "\"priority\":10");
    world_run(&w);
    assert_int_equal(w.deletes, 1);
    for (int i = 0; i < 5; i++) {
        world_pass(&w, 11);
        world_patch(&w, world_get(&w, "pods", "vip"),
                    i % 2 ? "{\"metadata\":{\"annotations\":{\"x\":\"1\"}}}"
                          : "{\"metadata\":{\"annotations\":{\"x\":\"2\"}}}");
        world_run(&w);
    }
    assert_int_equal(w.deletes, 1);
    assert_non_null(strstr(world_told(&w, "vip", "FailedScheduling"),
                           "preemption: not eligible due to a terminating pod on the nominated "
                           "node."));
}

static void test_never(void **state)
{
    (void)state;
    world_node(&w, "n1", "4", "", "");
    running("a", "n1", "4", 1, "", "2026-01-01T00:00:00Z");
    world_start(&w, plain);
    world_pod(&w, "p", "2", "", "\"priority\":10,\"preemptionPolicy\":\"Never\"");
    world_run(&w);
    assert_int_equal(w.deletes, 0);
    assert_string_equal(world_told(&w, "p", "FailedScheduling"),
                        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due "
                        "to preemptionPolicy=Never.");
}

static void test_budgets(void **state)
{
    (void)state;
    world_node(&w, "n1", "4", "", "");
    world_node(&w, "n2", "4", "", "");
    running("a", "n1", "4", 1, "\"app\":\"kept\"", "2026-01-01T00:00:00Z");
    running("b", "n2", "4", 5, "", "2026-01-01T00:00:00Z");
    world_put(&w, "policy", "poddisruptionbudgets",
              "{\"kind\":\"PodDisruptionBudget\",\"apiVersion\":\"policy/v1\",\"metadata\":{"
              "\"name\":\"x\",\"namespace\":\"default\",\"uid\":\"x\"},\"spec\":{\"selector\":{"
              "\"matchLabels\":{\"app\":\"kept\"}}},\"status\":{\"disruptionsAllowed\":0,"
              "\"currentHealthy\":1,\"desiredHealthy\":1,\"expectedPods\":1}}");
    world_start(&w, plain);
    world_pod(&w, "vip", "2", "", "\"priority\":10");
    world_run(&w);
    assert_true(deleting("b")); /* dearer, but no budget breaks */
    assert_false(deleting("a"));
}

static void test_younger_goes(void **state)
{
    (void)state;
    world_node(&w, "n1", "4", "", "");
    running("old", "n1", "2", 1, "", "2026-01-01T00:00:00Z");
    running("new", "n1", "2", 1, "", "2026-02-01T00:00:00Z");
    world_start(&w, plain);
    world_pod(&w, "vip", "2", "", "\"priority\":10");
    world_run(&w);
    assert_true(deleting("new"));
    assert_false(deleting("old"));
}

/* Anti-affinity is resolved as well: the pods in the way go. */
static void test_for_affinity(void **state)
{
    (void)state;
    world_node(&w, "n1", "4", "", "");
    running("a", "n1", "1", 1, "\"app\":\"x\"", "2026-01-01T00:00:00Z");
    running("b", "n1", "1", 1, "", "2026-01-01T00:00:00Z");
    world_start(&w, plain);
    world_pod(&w, "vip", "1", "",
              "\"priority\":10,\"affinity\":{\"podAntiAffinity\":{"
              "\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":"
              "\"kubernetes.io/hostname\",\"labelSelector\":{\"matchLabels\":{\"app\":\"x\"}}}]}}");
    world_run(&w);
    assert_true(deleting("a"));
    assert_false(deleting("b"));
    struct neap_sched_node *n = neap_map_get(&w.sched->nodes, "n1");
    assert_int_equal(n->used[NEAP_SCHED_CPU], 2000); /* the trial left nothing behind */
    assert_int_equal(n->used[NEAP_SCHED_PODS], 2);
}

/* Who was bound and did not start yet counts as the youngest. */
static void test_not_started_goes(void **state)
{
    (void)state;
    world_node(&w, "n1", "4", "", "");
    running("old", "n1", "2", 1, "", "2026-01-01T00:00:00Z");
    running("new", "n1", "2", 1, "", "");
    world_start(&w, plain);
    world_pod(&w, "vip", "2", "", "\"priority\":10");
    world_run(&w);
    assert_true(deleting("new"));
    assert_false(deleting("old"));
}

/* A pod that ends for another reason is not waited for: another node is cleared. */
static void test_other_end_is_not_waited_for(void **state)
{
    (void)state;
    world_node(&w, "n1", "4", "", "");
    world_node(&w, "n2", "4", "", "");
    running("a", "n1", "4", 1, "", "2026-01-01T00:00:00Z");
    running("b", "n2", "4", 5, "", "2026-01-01T00:00:00Z");
    world_patch(&w, world_get(&w, "pods", "a"),
                "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:01:00Z\"}}");
    world_start(&w, plain);
    world_pod(&w, "vip", "2", "", "\"priority\":10");
    world_patch(&w, world_get(&w, "pods", "vip"), "{\"status\":{\"nominatedNodeName\":\"n1\"}}");
    world_run(&w);
    assert_null(strstr(world_told(&w, "vip", "FailedScheduling"), "not eligible"));
}

/* A promise that cannot be kept is taken back. */
static void test_promise_taken_back(void **state)
{
    (void)state;
    char buf[512];
    world_node(&w, "n1", "4", "", "");
    running("a", "n1", "4", 1, "", "2026-01-01T00:00:00Z");
    world_start(&w, plain);
    world_pod(&w, "vip", "3", "", "\"priority\":10");
    world_run(&w);
    struct neap_sched_node *n = neap_map_get(&w.sched->nodes, "n1");
    assert_false(neap_list_empty(&n->nominated));
    world_remove(&w, "pods", "a");
    world_patch(&w, world_get(&w, "nodes", "n1"), "{\"status\":{\"allocatable\":{\"cpu\":\"2\"}}}");
    world_run(&w);
    world_pass(&w, 2);
    assert_true(neap_list_empty(&n->nominated));
    assert_string_equal(world_text(world_get(&w, "pods", "vip"), "status.nominatedNodeName", buf),
                        "");
    world_pod(&w, "small", "2", "", "\"priority\":1"); /* the room is nobody's */
    world_run(&w);
    assert_string_equal(world_where(&w, "small"), "n1");
}

static void test_can_be_disabled(void **state)
{
    (void)state;
    world_node(&w, "n1", "4", "", "");
    running("a", "n1", "4", 1, "", "2026-01-01T00:00:00Z");
    world_start(&w, (struct neap_sched_options){.disabled = "DefaultPreemption"});
    world_pod(&w, "vip", "2", "", "\"priority\":10");
    world_run(&w);
    assert_int_equal(w.deletes, 0);
    assert_string_equal(world_told(&w, "vip", "FailedScheduling"),
                        "0/1 nodes are available: 1 Insufficient cpu.");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_least_victims),
        TEST(test_no_second_round),
        TEST(test_never),
        TEST(test_budgets),
        TEST(test_younger_goes),
        TEST(test_for_affinity),
        TEST(test_not_started_goes),
        TEST(test_other_end_is_not_waited_for),
        TEST(test_promise_taken_back),
        TEST(test_can_be_disabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
