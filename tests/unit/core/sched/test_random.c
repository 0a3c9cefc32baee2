/* Many random events: nothing is overcommitted, bound twice or lost, and the sums are those of a recount. */
#include "world.h"

enum { NODES = 12, PODS = 150, STEPS = 1500 };
static struct world w;

static unsigned roll(unsigned sides)
{
    uint64_t r;
    world_fill(&w, &r, sizeof(r));
    return (unsigned)(r % sides);
}

static void random_node(unsigned i)
{
    static const char *const cpus[] = {"2", "4", "8"};
    char name[16], zone[64];
    snprintf(name, sizeof(name), "n%u", i);
    snprintf(zone, sizeof(zone), "\"topology.kubernetes.io/zone\":\"z%u\"", i % 3);
    struct neap_object *o = world_get(&w, "nodes", name);
    if (!o) {
        world_node(&w, name, cpus[roll(3)], zone, "");
    } else if (roll(6) == 0) {
        world_remove(&w, "nodes", name);
    } else {
        world_patch(&w, o,
                    roll(2) ? "{\"spec\":{\"unschedulable\":true}}"
                            : "{\"spec\":{\"unschedulable\":null}}");
    }
}

static void random_pod(unsigned i)
{
    static const char *const specs[] = {
        "", "\"priority\":100", "\"schedulingGates\":[{\"name\":\"x/y\"}]",
        "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":"
        "\"topology.kubernetes.io/zone\",\"whenUnsatisfiable\":\"DoNotSchedule\","
        "\"labelSelector\":{\"matchLabels\":{\"app\":\"a1\"}}}]",
        "\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{"
        "\"topologyKey\":\"kubernetes.io/hostname\",\"labelSelector\":{\"matchLabels\":{\"app\":"
        "\"a2\"}}}]}}"};
    static const char *const cpus[] = {"100m", "1", "3"};
    char name[16], label[32];
    snprintf(name, sizeof(name), "p%u", i);
    snprintf(label, sizeof(label), "\"app\":\"a%u\"", roll(4));
    struct neap_object *o = world_get(&w, "pods", name);
    if (!o) {
        world_pod(&w, name, cpus[roll(3)], label, specs[roll(5)]);
        return;
    }
    switch (roll(5)) {
    case 0:
        world_remove(&w, "pods", name);
        break;
    case 1:
        world_patch(&w, o, "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}}");
        break;
    case 2:
        world_patch(&w, o, "{\"status\":{\"phase\":\"Succeeded\"}}");
        break;
    case 3:
        world_patch(&w, o, "{\"spec\":{\"schedulingGates\":null}}");
        break;
    default:
        world_patch(&w, o, "{\"metadata\":{\"labels\":{\"app\":\"a0\"}}}");
    }
}

struct sum {
    int64_t cpu, pods;
};

static int64_t cpu_of(yyjson_val *root)
{
    int64_t out = 0;
    yyjson_val *c = yyjson_arr_get_first(neap_json_val_at(root, "spec.containers"));
    yyjson_val *v = neap_json_val_at(c, "resources.requests");
    const char *text = yyjson_get_str(yyjson_obj_get(v, "cpu"));
    neap_quantity_milli(text, strlen(text), &out);
    return out;
}

/* From the objects alone. */
static void recount(struct sum sums[NODES])
{
    size_t at = 0;
    const char *key;
    void *value;
    memset(sums, 0, NODES * sizeof(*sums));
    while (neap_map_next(&w.objects, &at, &key, &value)) {
        if (strcmp(neap_object_kind(value)->resource, "pods") != 0)
            continue;
        yyjson_doc *doc = neap_object_parse(value, NULL);
        yyjson_val *root = yyjson_doc_get_root(doc);
        const char *node = neap_json_val_str_at(root, "spec.nodeName");
        if (node && *node && !neap_streq(neap_json_val_str_at(root, "status.phase"), "Succeeded")) {
            struct sum *s = &sums[strtoul(node + 1, NULL, 10)];
            s->cpu += cpu_of(root);
            s->pods++;
        }
        yyjson_doc_free(doc);
    }
}

static void check_sums(void)
{
    struct sum sums[NODES];
    recount(sums);
    for (unsigned i = 0; i < NODES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i);
        struct neap_sched_node *n = neap_map_get(&w.sched->nodes, name);
        assert_int_equal(n != NULL, world_get(&w, "nodes", name) != NULL);
        if (!n)
            continue;
        assert_int_equal(n->used[NEAP_SCHED_CPU], sums[i].cpu);
        assert_int_equal(n->used[NEAP_SCHED_PODS], sums[i].pods);
        unsigned pods = 0;
        for (size_t g = 0; g < n->group_count; g++)
            pods += n->groups[g].pods;
        assert_int_equal(pods, sums[i].pods);
    }
}

/* Every pod that wants a node is in a queue; the queues' counters agree. */
static void check_none_lost(void)
{
    size_t at = 0, counts[SCHED_STATES] = {0};
    const char *key;
    void *value;
    assert_int_equal(w.sched->active.count, 0);
    for (at = 0; neap_map_next(&w.sched->pods, &at, &key, &value);) {
        struct neap_sched_pod *p = value;
        counts[p->state]++;
        struct neap_object *o = neap_map_get(&w.objects, key);
        assert_non_null(o);
        char node[512], phase[512];
        world_text(o, "spec.nodeName", node);
        world_text(o, "status.phase", phase);
        bool wants = !*node && !neap_object_deleting(o) && strcmp(phase, "Succeeded") != 0;
        if (wants)
            assert_true(p->state == SCHED_BACKOFF || p->state == SCHED_UNSCHEDULABLE ||
                        p->state == SCHED_GATED);
        else if (!*node)
            assert_int_equal(p->state, SCHED_IDLE);
        else
            assert_int_equal(p->state, SCHED_BOUND);
    }
    assert_memory_equal(counts, w.sched->counts, sizeof(counts));
}

/* A node that shrank or came back smaller may hold too much; decisions never put too much there: checked
 * when a binding is made, against what the node has then. */
static void check_not_overcommitted(void)
{
    struct sum sums[NODES];
    recount(sums);
    for (unsigned i = 0; i < NODES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%u", i);
        struct neap_sched_node *n = neap_map_get(&w.sched->nodes, name);
        if (n)
            assert_true(sums[i].cpu <= n->allocatable[NEAP_SCHED_CPU] && sums[i].pods <= 20);
    }
}

static void run(uint64_t seed, bool nodes_change)
{
    world_open(&w, seed);
    for (unsigned i = 0; i < NODES; i++)
        random_node(i);
    world_start(&w, (struct neap_sched_options){0});
    for (unsigned step = 0; step < STEPS; step++) {
        if (w.told_count > EVENTS_MAX - 600)
            break;
        if (nodes_change && roll(20) == 0)
            random_node(roll(NODES));
        else
            random_pod(roll(PODS));
        if (roll(30) == 0)
            w.refuse_bindings = 1;
        if (roll(4))
            continue;
        world_run(&w);
        check_sums();
        check_none_lost();
        if (!nodes_change)
            check_not_overcommitted();
        if (roll(5) == 0)
            world_pass(&w, roll(12));
    }
    /* what can be placed is: after all back-offs nothing that fits is left waiting */
    world_run(&w);
    world_pass(&w, 400);
    check_sums();
    check_none_lost();
    assert_in_range(w.bindings, 100, 1000000);
    world_close(&w);
}

static void test_pods_come_and_go(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        run(seed, false);
}

static void test_nodes_too(void **state)
{
    (void)state;
    for (uint64_t seed = 11; seed <= 13; seed++)
        run(seed, true);
}

/* Bindings of a pod that was replaced by another of the same name go nowhere. */
static void test_replaced_pod(void **state)
{
    (void)state;
    world_open(&w, 3);
    world_node(&w, "n1", "4", "", "");
    world_start(&w, (struct neap_sched_options){0});
    for (int i = 0; i < 50; i++) {
        world_pod(&w, "a", "3", "", "");
        for (unsigned t = roll(4); t > 0; t--)
            neap_loop_turn(w.loop, false);
        world_remove(&w, "pods", "a");
        world_pod(&w, "a", "3", "", "");
        world_run(&w);
        world_pass(&w, 2);
        assert_string_equal(world_where(&w, "a"), "n1");
        check_sums();
        world_remove(&w, "pods", "a");
        world_run(&w);
    }
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pods_come_and_go),
        cmocka_unit_test(test_nodes_too),
        cmocka_unit_test(test_replaced_pod),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
