/* Plugins from outside: the shared object ImageLocality, and one that reserves, permits, refuses. */
#include "world.h"

#include <neap/plugin.h>

static struct world w;

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

/* ---- the shared object ---- */

static void test_image_locality(void **state)
{
    (void)state;
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_plugin *p;
    assert_ok(neap_plugin_load(NEAP_TEST_PLUGINS, "scheduler", "image_locality", NULL, &p, &err),
              err);
    struct neap_sched_loaded loaded = {
        (const struct neap_scheduler_plugin *)(const void *)neap_plugin_header(p), NULL};
    for (int i = 0; i < 4; i++) {
        char name[4] = {'n', (char)('0' + i), 0};
        world_node(&w, name, "8", "", "");
    }
    world_patch(&w, world_get(&w, "nodes", "n2"),
                "{\"status\":{\"images\":[{\"names\":[\"busybox:latest\"],\"sizeBytes\":"
                "900000000}]}}");
    world_start(&w, (struct neap_sched_options){.loaded = &loaded, .loaded_count = 1});
    for (int i = 0; i < 5; i++) {
        char name[4] = {'p', (char)('0' + i), 0};
        world_pod(&w, name, "0", "", "");
        world_run(&w);
        assert_string_equal(world_where(&w, name), "n2");
        world_remove(&w, "pods", name);
        world_run(&w);
    }
    world_close(&w); /* its code stays mapped, its record goes */
    neap_plugin_free(p);
    world_open(&w, 7);
}

/* ---- one of our own ---- */

static const struct neap_sched_views *views;
static int reserved, unreserved, post_bound, asked_to_wait, freed;
static int reserve_result, permit_result;
static bool refuse;

static int configure(const struct neap_host *host, const struct neap_sched_views *v, void **ret)
{
    (void)host;
    views = v;
    *ret = (void *)(uintptr_t)v;
    return 0;
}

static int pre_filter(void *self, const struct neap_sched_pod *p, void **ret)
{
    (void)self, (void)p;
    *ret = neap_strdup("state");
    if (refuse) {
        views->because(views->ctx, "not today");
        return NEAP_SCHED_NEVER;
    }
    return NEAP_SCHED_OK;
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    (void)self, (void)p;
    assert_string_equal(state, "state");
    return strcmp(views->node_name(n), "n1") == 0 ? NEAP_SCHED_OK : NEAP_SCHED_NO;
}

static void state_free(void *self, void *state)
{
    (void)self;
    free(state);
    freed++;
}

static int reserve(void *self, const struct neap_sched_pod *p, const struct neap_sched_node *n)
{
    (void)self, (void)p, (void)n;
    reserved++;
    if (reserve_result)
        views->because(views->ctx, "nothing to reserve");
    return reserve_result;
}

static void unreserve(void *self, const struct neap_sched_pod *p, const struct neap_sched_node *n)
{
    (void)self, (void)p, (void)n;
    unreserved++;
}

static int permit(void *self, const struct neap_sched_pod *p, const struct neap_sched_node *n,
                  uint64_t *ret_timeout_ms)
{
    (void)self, (void)p, (void)n;
    *ret_timeout_ms = 5000;
    asked_to_wait += permit_result == NEAP_SCHED_WAIT;
    return permit_result;
}

static void post_bind(void *self, const struct neap_sched_pod *p, const struct neap_sched_node *n)
{
    (void)self, (void)p, (void)n;
    post_bound++;
}

static const struct neap_scheduler_plugin mine = {
    .header = {NEAP_PLUGIN_MAGIC, NEAP_PLUGIN_ABI_MAJOR, NEAP_PLUGIN_ABI_MINOR, sizeof(mine),
               NEAP_PLUGIN_SCHEDULER, "Mine", "1", NULL},
    .configure = configure,
    .pre_filter = pre_filter,
    .filter = filter,
    .state_free = state_free,
    .reserve = reserve,
    .unreserve = unreserve,
    .permit = permit,
    .post_bind = post_bind,
};
static const struct neap_sched_loaded loaded_mine = {&mine, NULL};

static void start_mine(void)
{
    reserved = unreserved = post_bound = asked_to_wait = freed = 0;
    reserve_result = permit_result = 0;
    refuse = false;
    world_node(&w, "n1", "4", "", "");
    world_node(&w, "n2", "4", "", "");
    world_start(&w, (struct neap_sched_options){.loaded = &loaded_mine, .loaded_count = 1});
}

static void test_all_steps(void **state)
{
    (void)state;
    start_mine();
    world_pod(&w, "a", "1", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n1");
    assert_int_equal(reserved, 1);
    assert_int_equal(unreserved, 0);
    assert_int_equal(post_bound, 1);
    assert_int_equal(freed, 1);
}

static void test_pre_filter_refuses(void **state)
{
    (void)state;
    start_mine();
    refuse = true;
    world_pod(&w, "a", "1", "", "");
    world_run(&w);
    assert_string_equal(world_told(&w, "a", "FailedScheduling"),
                        "0/2 nodes are available: not today. preemption: 0/2 nodes are available: "
                        "2 Preemption is not helpful for scheduling.");
    assert_int_equal(freed, 1);
}

static void test_reserve_refuses(void **state)
{
    (void)state;
    start_mine();
    reserve_result = NEAP_SCHED_NO;
    world_pod(&w, "a", "1", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "");
    assert_int_equal(unreserved, 1);
    assert_string_equal(world_told(&w, "a", "FailedScheduling"), "nothing to reserve");
    struct neap_sched_node *n = neap_map_get(&w.sched->nodes, "n1");
    assert_int_equal(n->used[NEAP_SCHED_CPU], 0);
}

static void test_permit_waits(void **state)
{
    (void)state;
    char uid[64];
    start_mine();
    permit_result = NEAP_SCHED_WAIT;
    world_pod(&w, "a", "1", "", "");
    world_pod(&w, "b", "1", "", "");
    world_run(&w);
    assert_int_equal(asked_to_wait, 2);
    assert_int_equal(world_state(&w, "a"), SCHED_PERMIT);
    assert_int_equal(w.bindings, 0);
    snprintf(uid, sizeof(uid), "%s", neap_object_uid(world_get(&w, "pods", "a")));
    views->decide(views->ctx, uid, true, NULL);
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n1");
    world_pass(&w, 5); /* b's time is over */
    assert_int_equal(unreserved, 1);
    assert_true(*world_told(&w, "b", "FailedScheduling"));
    assert_string_equal(world_where(&w, "b"), "");
}

/* Deleted while a plugin holds it: nothing stays counted, nothing is bound. */
static void test_permit_deleted(void **state)
{
    (void)state;
    start_mine();
    permit_result = NEAP_SCHED_WAIT;
    world_pod(&w, "a", "1", "", "");
    world_run(&w);
    world_patch(&w, world_get(&w, "pods", "a"),
                "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}}");
    world_run(&w);
    assert_int_equal(unreserved, 1);
    assert_int_equal(w.bindings, 0);
    struct neap_sched_node *n = neap_map_get(&w.sched->nodes, "n1");
    assert_int_equal(n->used[NEAP_SCHED_CPU], 0);
}

/* Deleted or bereft of its node while it is held: what was reserved is given back. */
static void test_permit_object_gone(void **state)
{
    (void)state;
    char uid[64];
    start_mine();
    permit_result = NEAP_SCHED_WAIT;
    world_pod(&w, "a", "1", "", "");
    world_pod(&w, "b", "1", "", "");
    world_run(&w);
    world_remove(&w, "pods", "a");
    world_run(&w);
    assert_int_equal(unreserved, 1);
    snprintf(uid, sizeof(uid), "%s", neap_object_uid(world_get(&w, "pods", "b")));
    world_remove(&w, "nodes", "n1");
    world_run(&w);
    views->decide(views->ctx, uid, true, NULL);
    world_run(&w);
    assert_int_equal(w.bindings, 0);
    assert_string_equal(world_told(&w, "b", "FailedScheduling"), "the node is gone");
}

static void test_disabled(void **state)
{
    (void)state;
    world_node(&w, "n1", "1", "", "");
    world_start(&w, (struct neap_sched_options){.loaded = &loaded_mine,
                                                .loaded_count = 1,
                                                .disabled = "Mine,NodeResourcesFit"});
    reserved = 0;
    world_pod(&w, "a", "9", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n1"); /* nobody minds that it does not fit */
    assert_int_equal(reserved, 0);
}

/* A plugin made for a shorter table: what it does not have is not called. */
static void test_short_table(void **state)
{
    (void)state;
    struct neap_scheduler_plugin old = mine;
    old.header.struct_size = offsetof(struct neap_scheduler_plugin, reserve);
    struct neap_sched_loaded l = {&old, NULL};
    reserved = 0;
    refuse = false;
    world_node(&w, "n1", "1", "", "");
    world_start(&w, (struct neap_sched_options){.loaded = &l, .loaded_count = 1});
    world_pod(&w, "a", "1", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n1");
    assert_int_equal(reserved, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_image_locality),     TEST(test_all_steps),    TEST(test_pre_filter_refuses),
        TEST(test_reserve_refuses),    TEST(test_permit_waits), TEST(test_permit_deleted),
        TEST(test_permit_object_gone), TEST(test_disabled),     TEST(test_short_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
