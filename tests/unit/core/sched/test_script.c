/* Policies in Lua: the examples, and those that fail. */
#include "world.h"

#include <unistd.h>

static struct world w;
static char dir[64];

static int setup(void **state)
{
    (void)state;
    world_open(&w, 7);
    snprintf(dir, sizeof(dir), "/tmp/neap-test-sched-XXXXXX");
    assert_non_null(mkdtemp(dir));
    world_node(&w, "n1", "8", "", "");
    world_node(&w, "n2", "8", "\"disk\":\"ssd\"", "");
    world_node(&w, "n3", "8", "", "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char path[128];
    for (char c = 'a'; c <= 'd'; c++) {
        snprintf(path, sizeof(path), "%s/%c.lua", dir, c);
        unlink(path);
    }
    rmdir(dir);
    world_close(&w);
    return 0;
}

static void file(char name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%c.lua", dir, name);
    assert_int_equal(neap_file_write_atomic(path, text, strlen(text), 0600), 0);
}

static void start(void)
{
    world_start(&w, (struct neap_sched_options){.script_dir = dir, .script_budget_ms = 20});
}

static void example(char name, const char *from)
{
    char path[300], *text;
    size_t len;
    snprintf(path, sizeof(path), "%s/%s", NEAP_TEST_EXAMPLES, from);
    assert_int_equal(neap_file_read(path, 1 << 20, &text, &len), 0);
    file(name, text);
    free(text);
}

static void test_example_score(void **state)
{
    (void)state;
    example('a', "scheduler/prefer_label.lua");
    start();
    for (int i = 0; i < 6; i++) {
        char name[4] = {'p', (char)('0' + i), 0};
        world_pod(&w, name, "100m", "", "");
        world_patch(&w, world_get(&w, "pods", name),
                    "{\"metadata\":{\"annotations\":{\"scheduling.example.com/prefer\":"
                    "\"disk=ssd\"}}}");
        world_run(&w);
        assert_string_equal(world_where(&w, name), "n2");
    }
    world_pod(&w, "other", "100m", "", "");
    world_run(&w);
    assert_string_not_equal(world_where(&w, "other"), "n2"); /* least used, nothing preferred */
}

static void test_example_filter(void **state)
{
    (void)state;
    example('a', "scheduler/maintenance.lua");
    for (int i = 1; i <= 3; i++) {
        char name[4] = {'n', (char)('0' + i), 0};
        world_patch(&w, world_get(&w, "nodes", name),
                    i == 3 ? "{\"metadata\":{\"annotations\":{\"maintenance.example.com/from\":"
                             "\"2099-01-01T00:00:00Z\"}}}"
                           : "{\"metadata\":{\"annotations\":{\"maintenance.example.com/from\":"
                             "\"1970-01-01T00:00:00Z\"}}}");
    }
    start();
    world_pod(&w, "a", "7", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n3");
    world_pod(&w, "b", "7", "", "");
    world_run(&w);
    assert_true(neap_startswith(
        world_told(&w, "b", "FailedScheduling"),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) are under maintenance. "));
    world_pod(&w, "c", "7", "\"maintenance.example.com/movable\":\"true\"", "");
    world_run(&w);
    assert_string_not_equal(world_where(&w, "c"), "");
}

/* What fails is left out with an event, and pods are placed all the same. */
static void test_failures_do_not_block(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"return neap.scheduler.score{name='A', score=function(p, n) return n.x.y end}",
         "Scheduler policy A was left out: "},
        {"return neap.scheduler.score{name='A', score=function(p, n) while true do end end}",
         "took more time than it may"},
        {"return neap.scheduler.score{name='A', score=function(p, n) return 'much' end}",
         "must return a number"},
        {"return neap.scheduler.filter{name='A', filter=function(p, n) return 1 end}",
         "must return true, or false and why"},
        {"local t = {} return neap.scheduler.filter{name='A', filter=function(p, n) while true do "
         "t[#t+1] = ('x'):rep(100000) .. #t end end}",
         "Scheduler policy A was left out: "},
        /* keeps all that it may have, to the last byte */
        {"local t = {} return neap.scheduler.filter{name='A', filter=function(p, n) for _, k in "
         "ipairs{20, 16, 12, 8, 4, 0} do pcall(function() while true do t[#t+1] = ('x'):rep(1 << "
         "k) "
         ".. #t end end) end error('full') end}",
         "Scheduler policy A was left out: "},
        {"return neap.scheduler.filter{name='A', filter=function(p, n) neap.create('v1/pods', "
         "'default', {}) return true end}",
         "only a controller can write"},
        /* what would wait for an answer or a turn outlives the call */
        {"return neap.scheduler.filter{name='A', filter=function(p, n) neap.apply('v1/pods', "
         "'default', "
         "'x', {}, {manager='m'}) return true end}",
         "only a controller can write"},
        {"return neap.scheduler.score{name='A', score=function(p, n) neap.delete_all('v1/pods', "
         "{p}) "
         "return 1 end}",
         "only a controller can write"},
        {"return neap.scheduler.score{name='A', score=function(p, n) neap.turn() return 1 end}",
         "only a controller's reconcile can wait"},
        {"return neap.scheduler.score{name='A', score=function(p, n) p.metadata.name = 'x' end}",
         "objects are frozen"},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(cases); i++) {
        file('a', cases[i].text);
        start();
        world_pod(&w, "a", "100m", "", "");
        world_run(&w);
        assert_string_not_equal(world_where(&w, "a"), "");
        assert_non_null(strstr(world_told(&w, "a", "PolicyFailed"), cases[i].says));
        unsigned told = w.told_count; /* paused: the next pod does not meet it */
        world_pod(&w, "b", "100m", "", "");
        world_run(&w);
        assert_string_not_equal(world_where(&w, "b"), "");
        assert_int_equal(w.told_count, told + 1);
        world_pass(&w, 2);
        world_pod(&w, "c", "100m", "", "");
        world_run(&w);
        assert_true(*world_told(&w, "c", "PolicyFailed")); /* tried again */
        world_close(&w);
        world_open(&w, 7);
        world_node(&w, "n1", "8", "", "");
        world_node(&w, "n2", "8", "", "");
    }
}

/* Files that do not load never hide the good one. */
static void test_bad_files(void **state)
{
    (void)state;
    file('a', "this is no Lua");
    file('b', "return 7");
    file('c', "return neap.scheduler.score{name='NodeName', score=function() return 1 end}");
    file('d', "return neap.scheduler.score{name='D', weight=100, score=function(p, n) return "
              "n.metadata.name == 'n3' and 100 or 0 end}");
    start();
    world_pod(&w, "a", "100m", "", "");
    world_run(&w);
    assert_string_equal(world_where(&w, "a"), "n3");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_example_score),
        TEST(test_example_filter),
        TEST(test_failures_do_not_block),
        TEST(test_bad_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
