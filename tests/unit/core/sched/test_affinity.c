/* Topology spread and affinity between pods. */
#include "world.h"

static struct world w;
static const struct neap_sched_options plain = {0};

static const char spread_hard[] =
    "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"topology.kubernetes.io/zone\","
    "\"whenUnsatisfiable\":\"DoNotSchedule\",\"labelSelector\":{\"matchLabels\":{\"app\":\"a\"}}}]";

static int setup(void **state)
{
    (void)state;
    world_open(&w, 7);
    world_node(&w, "n1", "8", "\"topology.kubernetes.io/zone\":\"z1\"", "");
    world_node(&w, "n2", "8", "\"topology.kubernetes.io/zone\":\"z1\"", "");
    world_node(&w, "n3", "8", "\"topology.kubernetes.io/zone\":\"z2\"", "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&w);
    return 0;
}

static char zone_of(const char *pod)
{
    const char *node = world_where(&w, pod);
    return *node ? strcmp(node, "n3") == 0 ? '2' : '1' : '-';
}

static void test_spread_hard(void **state)
{
    (void)state;
    int zones[2] = {0, 0};
    world_start(&w, plain);
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%d", i);
        world_pod(&w, name, "100m", "\"app\":\"a\"", spread_hard);
        world_run(&w);
        char z = zone_of(name);
        assert_true(z != '-');
        zones[z - '1']++;
        assert_in_range(zones[0] - zones[1] + 1, 0, 2);
    }
    assert_int_equal(zones[0], 5);
}

static void test_spread_refuses(void **state)
{
    (void)state;
    world_start(&w, plain);
    world_pod(&w, "p1", "100m", "\"app\":\"a\"", spread_hard);
    world_run(&w);
    /* the other zone is full: nothing fits */
    char full = zone_of("p1") == '1' ? '2' : '1';
    world_patch(&w, world_get(&w, "nodes", full == '2' ? "n3" : "n1"),
                "{\"status\":{\"allocatable\":{\"cpu\":\"0\"}}}");
    if (full == '1')
        world_patch(&w, world_get(&w, "nodes", "n2"),
                    "{\"status\":{\"allocatable\":{\"cpu\":\"0\"}}}");
    world_run(&w);
    world_pod(&w, "p2", "100m", "\"app\":\"a\"", spread_hard);
    world_run(&w);
    assert_string_equal(world_where(&w, "p2"), "");
    assert_non_null(strstr(world_told(&w, "p2", "FailedScheduling"),
                           "node(s) didn't match pod topology spread constraints"));
    /* the first one going makes the domains equal again */
    world_remove(&w, "pods", "p1");
    world_run(&w);
    world_pass(&w, 1);
    assert_true(zone_of("p2") != '-' && zone_of("p2") != full);
}

static void test_spread_missing_label(void **state)
{
    (void)state;
    for (int i = 1; i < 4; i++) {
        char name[4] = {'n', (char)('0' + i), 0};
        world_patch(&w, world_get(&w, "nodes", name),
                    "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":null}}}");
    }
    world_start(&w, plain);
    world_pod(&w, "p", "100m", "\"app\":\"a\"", spread_hard);
    world_run(&w);
    assert_string_equal(
        world_told(&w, "p", "FailedScheduling"),
        "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing "
        "required label). preemption: 0/3 nodes are available: 3 Preemption is not helpful for "
        "scheduling.");
}

/* Only pods of the same revision are counted. */
static void test_spread_match_label_keys(void **state)
{
    (void)state;
    static const char spec[] =
        "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"topology.kubernetes.io/"
        "zone\",\"whenUnsatisfiable\":\"DoNotSchedule\",\"matchLabelKeys\":[\"rev\"],"
        "\"labelSelector\":{\"matchLabels\":{\"app\":\"a\"}}}]";
    static const char only1[] = "\"nodeSelector\":{\"topology.kubernetes.io/zone\":\"z1\"}";
    char full[700];
    world_start(&w, plain);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof(name), "old%d", i);
        world_pod(&w, name, "100m", "\"app\":\"a\",\"rev\":\"1\"", only1);
    }
    world_run(&w);
    snprintf(full, sizeof(full), "%s,%s", spec, "\"priority\":0");
    world_pod(&w, "x", "100m", "\"app\":\"a\",\"rev\":\"1\"", full);
    world_pod(&w, "y1", "100m", "\"app\":\"a\",\"rev\":\"2\"", full);
    world_pod(&w, "y2", "100m", "\"app\":\"a\",\"rev\":\"2\"", full);
    world_run(&w);
    assert_int_equal(zone_of("x"), '2');
    assert_int_not_equal(zone_of("y1"), zone_of("y2"));
}

static void test_spread_min_domains(void **state)
{
    (void)state;
    static const char spec[] =
        "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"minDomains\":3,\"topologyKey\":"
        "\"topology.kubernetes.io/zone\",\"whenUnsatisfiable\":\"DoNotSchedule\",\"labelSelector\":"
        "{\"matchLabels\":{\"app\":\"a\"}}}]";
    world_start(&w, plain);
    for (int i = 0; i < 3; i++) {
        char name[4] = {'p', (char)('0' + i), 0};
        world_pod(&w, name, "100m", "\"app\":\"a\"", spec);
        world_run(&w);
    }
    assert_int_not_equal(zone_of("p0"), zone_of("p1"));
    assert_int_equal(zone_of("p2"), '-'); /* two domains, three are wanted: at most 1 a domain */
}

/* Two nodes of zone z1; what n3, the only one of z2, counts depends on the policy. */
static char with_policy(const char *policy, const char *more)
{
    static int count;
    char name[16];
    NEAP_CLEANUP_FREE char *spec = neap_asprintf(
        "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"topology.kubernetes.io/"
        "zone\",\"whenUnsatisfiable\":\"DoNotSchedule\",%s\"labelSelector\":{\"matchLabels\":{"
        "\"app\":\"a\"}}}]%s",
        policy, more);
    snprintf(name, sizeof(name), "w%d", count++);
    world_pod(&w, name, "100m", "\"app\":\"a\"", spec);
    world_run(&w);
    return zone_of(name);
}

/* z2 is empty and out of reach: it counts as a domain, and nothing more fits, unless it is left out. */
static void test_spread_node_policies(void **state)
{
    (void)state;
    static const char in_z1[] = ",\"nodeSelector\":{\"topology.kubernetes.io/zone\":\"z1\"}";
    world_start(&w, plain);
    world_pod(&w, "first", "100m", "\"app\":\"a\"", in_z1 + 1);
    world_run(&w);
    assert_int_equal(zone_of("first"), '1');
    assert_int_equal(with_policy("\"nodeAffinityPolicy\":\"Ignore\",", in_z1), '-');
    assert_int_equal(with_policy("\"nodeAffinityPolicy\":\"Honor\",", in_z1), '1');
    assert_int_equal(with_policy("", in_z1), '1'); /* Honor */
    world_patch(&w, world_get(&w, "nodes", "n3"),
                "{\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\"}]}}");
    assert_int_equal(with_policy("\"nodeTaintsPolicy\":\"Ignore\",", ""), '-');
    assert_int_equal(with_policy("", ""), '-'); /* Ignore */
    assert_int_equal(with_policy("\"nodeTaintsPolicy\":\"Honor\",", ""), '1');
}

/* Beside pods of the same app and of another tenant than its own: none; beside its own tenant's: not there. */
static void test_affinity_label_keys(void **state)
{
    (void)state;
    static const char alone[] =
        "\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{"
        "\"topologyKey\":\"topology.kubernetes.io/zone\",\"mismatchLabelKeys\":[\"tenant\"],"
        "\"labelSelector\":{\"matchExpressions\":[{\"key\":\"tenant\",\"operator\":\"Exists\"}]}}"
        "]}}";
    static const char together[] =
        "\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{"
        "\"topologyKey\":\"topology.kubernetes.io/zone\",\"matchLabelKeys\":[\"tenant\"],"
        "\"labelSelector\":{\"matchLabels\":{\"app\":\"a\"}}}]}}";
    world_start(&w, plain);
    world_pod(&w, "red1", "100m", "\"tenant\":\"red\",\"app\":\"a\"", alone);
    world_run(&w);
    world_pod(&w, "blue", "100m", "\"tenant\":\"blue\",\"app\":\"a\"", alone);
    world_pod(&w, "red2", "100m", "\"tenant\":\"red\",\"app\":\"a\"", alone);
    world_run(&w);
    assert_int_not_equal(zone_of("blue"), zone_of("red1"));
    assert_int_equal(zone_of("red2"), zone_of("red1"));
    world_pod(&w, "blue2", "100m", "\"tenant\":\"blue\"", together);
    world_run(&w);
    assert_int_equal(zone_of("blue2"), zone_of("blue"));
    world_pod(&w, "green", "100m", "\"tenant\":\"green\"", together);
    world_run(&w);
    assert_int_equal(zone_of("green"), '-');
}

/* Pods of a Service are spread without saying so. */
static void test_default_spread(void **state)
{
    (void)state;
    int nodes[4] = {0};
    world_put(&w, "", "services",
              "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\","
              "\"namespace\":\"default\",\"uid\":\"s\"},\"spec\":{\"selector\":{\"app\":\"a\"}}}");
    struct neap_sched_options o = {.disabled = "NodeResourcesFit,NodeResourcesBalancedAllocation"};
    world_start(&w, o);
    for (int i = 0; i < 6; i++) {
        char name[4] = {'p', (char)('0' + i), 0};
        world_pod(&w, name, "0", "\"app\":\"a\"", "");
        world_run(&w);
        nodes[world_where(&w, name)[1] - '0']++;
    }
    for (int i = 1; i < 4; i++)
        assert_in_range(nodes[i], 1, 3);
}

static const char near[] =
    "\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{"
    "\"topologyKey\":\"topology.kubernetes.io/zone\",\"labelSelector\":{\"matchLabels\":{\"app\":"
    "\"db\"}}}]}}";

static void test_affinity(void **state)
{
    (void)state;
    world_start(&w, plain);
    world_pod(&w, "web", "100m", "\"app\":\"web\"", near);
    world_run(&w);
    assert_string_equal(
        world_told(&w, "web", "FailedScheduling"),
        "0/3 nodes are available: 3 node(s) didn't match pod affinity rules. preemption: 0/3 nodes "
        "are available: 3 Preemption is not helpful for scheduling.");
    world_pod(&w, "db", "100m", "\"app\":\"db\"", "");
    world_run(&w);
    world_pass(&w, 1);
    assert_int_equal(zone_of("web"), zone_of("db"));
}

static void test_affinity_to_itself(void **state)
{
    (void)state;
    world_start(&w, plain);
    world_pod(&w, "db1", "100m", "\"app\":\"db\"", near);
    world_run(&w);
    assert_true(zone_of("db1") != '-'); /* the first of its kind */
    world_pod(&w, "db2", "100m", "\"app\":\"db\"", near);
    world_run(&w);
    assert_int_equal(zone_of("db2"), zone_of("db1"));
}

static const char apart[] =
    "\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{"
    "\"topologyKey\":\"kubernetes.io/hostname\",\"labelSelector\":{\"matchLabels\":{\"app\":\"db\"}"
    "}}]}}";

static void test_anti_affinity_both_ways(void **state)
{
    (void)state;
    world_start(&w, plain);
    for (int i = 0; i < 4; i++) {
        char name[4] = {'d', (char)('0' + i), 0};
        world_pod(&w, name, "100m", "\"app\":\"db\"", apart);
        world_run(&w);
    }
    assert_string_not_equal(world_where(&w, "d0"), world_where(&w, "d1"));
    assert_string_equal(
        world_told(&w, "d3", "FailedScheduling"),
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. preemption: 0/3 "
        "nodes are available: 3 No preemption victims found for incoming pod.");
    /* a pod without wishes may not sit beside those that refuse it */
    world_pod(&w, "plain", "100m", "\"app\":\"db\"", "");
    world_run(&w);
    assert_string_equal(
        world_told(&w, "plain", "FailedScheduling"),
        "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules. "
        "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.");
    world_pod(&w, "other", "100m", "\"app\":\"other\"", "");
    world_run(&w);
    assert_true(zone_of("other") != '-');
    world_remove(&w, "pods", "d0");
    world_run(&w);
    world_pass(&w, 2);
    assert_true(zone_of("d3") != '-' || zone_of("plain") != '-');
}

static void test_namespace_selector(void **state)
{
    (void)state;
    static const char spec[] =
        "\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{"
        "\"topologyKey\":\"kubernetes.io/hostname\",\"namespaceSelector\":{\"matchLabels\":{"
        "\"team\":\"x\"}},\"labelSelector\":{\"matchLabels\":{\"app\":\"db\"}}}]}}";
    world_start(&w, plain);
    world_put(&w, "", "pods",
              "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"db\",\"namespace\":"
              "\"other\",\"uid\":\"o\",\"labels\":{\"app\":\"db\"}},\"spec\":{\"nodeName\":\"n2\","
              "\"containers\":[]}}");
    world_pod(&w, "web", "100m", "", spec);
    world_run(&w);
    assert_string_equal(world_where(&w, "web"), "");
    world_put(&w, "", "namespaces",
              "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"other\","
              "\"uid\":\"ns\"}}");
    world_run(&w);
    world_patch(&w, neap_map_get(&w.objects, "/registry/core/namespaces/other"),
                "{\"metadata\":{\"labels\":{\"team\":\"x\"}}}");
    world_run(&w);
    world_pass(&w, 2);
    assert_string_equal(world_where(&w, "web"), "n2");
}

static void test_preferences(void **state)
{
    (void)state;
    static const char likes[] =
        "\"affinity\":{\"podAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{"
        "\"weight\":100,\"podAffinityTerm\":{\"topologyKey\":\"kubernetes.io/hostname\","
        "\"labelSelector\":{\"matchLabels\":{\"app\":\"db\"}}}}]}}";
    static const char dislikes[] =
        "\"affinity\":{\"podAntiAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{"
        "\"weight\":100,\"podAffinityTerm\":{\"topologyKey\":\"topology.kubernetes.io/zone\","
        "\"labelSelector\":{\"matchLabels\":{\"app\":\"db\"}}}}]}}";
    world_start(&w, plain);
    world_pod(&w, "db", "100m", "\"app\":\"db\"",
              "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n2\"}");
    world_run(&w);
    world_pod(&w, "fan", "100m", "", likes);
    world_pod(&w, "foe", "100m", "", dislikes);
    world_run(&w);
    assert_string_equal(world_where(&w, "fan"), "n2");
    assert_string_equal(world_where(&w, "foe"), "n3");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_spread_hard),
        TEST(test_spread_refuses),
        TEST(test_spread_missing_label),
        TEST(test_spread_match_label_keys),
        TEST(test_spread_min_domains),
        TEST(test_spread_node_policies),
        TEST(test_affinity_label_keys),
        TEST(test_default_spread),
        TEST(test_affinity),
        TEST(test_affinity_to_itself),
        TEST(test_anti_affinity_both_ways),
        TEST(test_namespace_selector),
        TEST(test_preferences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
