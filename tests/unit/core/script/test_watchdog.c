/* A script that was loaded on one thread is stopped on the thread where it runs. */
#include "neap_test.h"

#include <lua.h>
#include <neap/script.h>
#include <pthread.h>
#include <unistd.h>

static int code;

static void done(void *arg, struct lua_State *co, int results, const struct neap_err *err)
{
    (void)arg, (void)co, (void)results;
    code = err ? err->code : 0;
}

static void *run(void *arg)
{
    struct neap_script *s = arg;
    lua_pushvalue(neap_script_lua(s), 1);
    neap_script_start(s, 0, done, NULL);
    return NULL;
}

static void test_other_thread(void **state)
{
    (void)state;
    struct neap_err err = NEAP_ERR_INIT;
    char path[] = "/tmp/neap-test-script-XXXXXX";
    static const char text[] = "return function() while true do end end";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    struct neap_script_options o = {
        .clock = &neap_clock_system, .rand = &neap_rand_system, .budget_ms = 20};
    struct neap_script *s = neap_script_new(&o);
    assert_ok(neap_script_load(s, path, &err), err);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, run, s), 0);
    pthread_join(t, NULL);
    assert_int_equal(code, NEAP_ETIMEOUT);
    code = 0;
    run(s); /* and back */
    assert_int_equal(code, NEAP_ETIMEOUT);
    neap_script_free(s);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_other_thread)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
