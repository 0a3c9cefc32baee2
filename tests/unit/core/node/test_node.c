/* The node itself: Lease and status, what an agent takes over after a restart, logs by its own API. */
#include "world.h"

#include <sys/stat.h>

/* ---- Lease and Node ---- */

static void test_lease_is_renewed(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    for (int i = 0; i < 12; i++) {
        world_pass(&w, 10);
        assert_in_range(w.mono - w.api.leased_ns, 0, 10 * SECOND);
    }
    w.api.rules[LEASE].fail = 2;
    w.api.rules[LEASE].code = NEAP_ENOTFOUND; /* somebody has deleted it: made again */
    world_pass(&w, 40);
    assert_in_range(w.mono - w.api.leased_ns, 0, 10 * SECOND);
    world_close(&w);
}

/* A field of one of the conditions that the API was told last. */
static void node_condition(struct world *w, const char *type, const char *field, char out[64])
{
    yyjson_doc *doc = yyjson_read(w->api.node_status, strlen(w->api.node_status), 0);
    yyjson_val *c;
    size_t i, n;
    assert_non_null(doc);
    out[0] = '\0';
    yyjson_arr_foreach(neap_json_val_at(yyjson_doc_get_root(doc), "status.conditions"), i, n, c)
    {
        if (yyjson_equals_str(yyjson_obj_get(c, "type"), type))
            snprintf(out, 64, "%s", yyjson_get_str(yyjson_obj_get(c, field)));
    }
    yyjson_doc_free(doc);
}

static void ready_times(struct world *w, char since[64], char beat[64])
{
    node_condition(w, "Ready", "lastTransitionTime", since);
    node_condition(w, "Ready", "lastHeartbeatTime", beat);
}

/* The cluster took the node for lost: it is told at once when it is back, not with the next beat in five minutes. */
static void test_back_after_silence(void **state)
{
    struct world w;
    char since[2][64], beat[2][64];
    (void)state;
    world_open(&w);
    world_pass(&w, 20);
    ready_times(&w, since[0], beat[0]);
    w.api.rules[LEASE].fail = 5;
    w.api.rules[LEASE].code = NEAP_EUNAVAILABLE;
    world_pass(&w, 70);
    ready_times(&w, since[1], beat[1]);
    assert_string_not_equal(beat[0], beat[1]);
    world_close(&w);
}

/* What a pod may ask for, and the shortages that keep pods away: told when one comes, held for five minutes. */
static void test_pressure(void **state)
{
    static const char *const types[] = {"MemoryPressure", "DiskPressure", "PIDPressure"};
    struct world w;
    char status[64], since[2][64];
    (void)state;
    world_open(&w);
    struct neap_node_options *o = &w.node->options;
    uint64_t *const least[] = {&o->min_free_memory, &o->min_free_disk, &o->min_free_pids};
    assert_non_null(strstr(w.api.node_status, "\"ephemeral-storage\":\""));
    for (size_t i = 0; i < NEAP_ARRAY_LEN(types); i++) {
        node_condition(&w, types[i], "status", status);
        assert_string_equal(status, "False");
        node_condition(&w, types[i], "lastTransitionTime", since[0]);
        *least[i] = UINT64_MAX;
        world_pass(&w, 11);
        node_condition(&w, types[i], "status", status);
        assert_string_equal(status, "True");
        node_condition(&w, types[i], "lastTransitionTime", since[1]);
        assert_string_not_equal(since[0], since[1]);
        *least[i] = 1;
        world_pass(&w, 280);
        node_condition(&w, types[i], "status", status);
        assert_string_equal(status, "True");
        world_pass(&w, 31);
        node_condition(&w, types[i], "status", status);
        assert_string_equal(status, "False");
    }
    world_close(&w);
}

static void test_node_status(void **state)
{
    struct world w;
    char since[2][64], beat[2][64];
    (void)state;
    world_open(&w);
    ready_times(&w, since[0], beat[0]);
    world_pass(&w, 301);
    ready_times(&w, since[1], beat[1]);
    assert_string_not_equal(beat[0], beat[1]);
    assert_string_equal(since[0], since[1]); /* it was ready all the time */
    world_close(&w);
}

/* ---- a restart ---- */

#define READY                                                                                      \
    "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"readinessProbe\":{\"exec\":{\"command\":["  \
    "\"ready\"]},\"initialDelaySeconds\":30,\"periodSeconds\":5}}]"

static void restart(struct world *w)
{
    world_agent_end(w);
    world_agent(w);
}

static void end(struct world *w)
{
    world_delete(w, "p", 1);
    world_pass(w, 60);
    world_assert_empty(w, "the end");
    world_close(w);
}

/* Ready pods stay so until a probe says otherwise: a restart of the agent takes no Service down. */
static void test_readiness_survives(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    machine_command(&w.machine, "ready", 0);
    world_pod(&w, "p", READY);
    restart(&w);
    assert_string_equal(world_of(&w, "p", "c", "ready"), "false"); /* it never was */
    world_pass(&w, 31);
    assert_string_equal(world_of(&w, "p", "c", "ready"), "true");
    restart(&w);
    assert_string_equal(world_of(&w, "p", "c", "ready"), "true");
    assert_string_equal(world_condition(&w, "p", "Ready", "status"), "True");
    machine_command(&w.machine, "ready", 1);
    world_pass(&w, 45);
    assert_string_equal(world_of(&w, "p", "c", "ready"), "false");
    end(&w);
}

static void test_startup_goes_on(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    machine_command(&w.machine, "start", 1);
    world_pod(&w, "p",
              "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"startupProbe\":{\"exec\":{"
              "\"command\":[\"start\"]},\"periodSeconds\":1,\"failureThreshold\":100}}]");
    world_pass(&w, 3);
    restart(&w);
    assert_string_equal(world_of(&w, "p", "c", "started"), "false");
    machine_command(&w.machine, "start", 0);
    world_pass(&w, 2);
    assert_string_equal(world_of(&w, "p", "c", "started"), "true");
    restart(&w);
    assert_string_equal(world_of(&w, "p", "c", "started"), "true");
    end(&w);
}

static void test_counts_and_codes_survive(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_pod(&w, "p", ONE);
    world_exit(&w, "c", 3);
    world_agent_end(&w);
    machine_end(&w.machine, world_thing(&w, "c"), 7, 0); /* while nobody looks */
    neap_loop_turn(w.loop, false);
    world_agent(&w);
    world_pass(&w, 11);
    assert_string_equal(world_of(&w, "p", "c", "restartCount"), "2");
    assert_string_equal(world_of(&w, "p", "c", "lastState.terminated.exitCode"), "7");
    const char *since = world_condition(&w, "p", "Initialized", "lastTransitionTime");
    restart(&w);
    assert_string_equal(world_condition(&w, "p", "Initialized", "lastTransitionTime"), since);
    assert_string_equal(world_of(&w, "p", "c", "restartCount"), "2");
    assert_true(world_runs(&w, "c"));
    end(&w);
}

/* A sandbox that no pod owns is not given up at the first failure. */
static void test_orphans_are_tried_again(void **state)
{
    static const enum slot steps[] = {DETACH, SANDBOX_STOP, SANDBOX_REMOVE};
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(steps); i++) {
        struct world w;
        world_open(&w);
        world_pod(&w, "p", ONE);
        world_agent_end(&w);
        world_force(&w, "p");
        w.machine.slots[steps[i]].fail = 3;
        world_agent(&w);
        assert_true(w.machine.boxes[0].id[0] || w.machine.boxes[BOXES_MAX - 1].id[0]);
        world_pass(&w, 30);
        world_assert_empty(&w, "an orphan");
        world_close(&w);
    }
}

/* Cleaning up ends, whatever fails. */
static void test_cleanup_ends(void **state)
{
    (void)state;
    for (int s = 0; s < SLOTS; s++) {
        struct world w;
        world_open(&w);
        w.machine.no_image = true;
        w.machine.slots[PULL].hold = s == PULL;
        world_pod(&w, "p", ONE);
        w.machine.slots[s].fail = 3;
        neap_node_stop(w.node, true, world_stopped, &w);
        for (int i = 0; i < 90 && !w.stopped; i++)
            world_pass(&w, 1);
        assert_true(w.stopped);
        for (int i = 0; i < BOXES_MAX; i++)
            assert_string_equal(w.machine.boxes[i].id, "");
        w.stopped = false;
        api_forget(&w.api);
        machine_forget(&w.machine);
        neap_node_free(w.node);
        neap_loop_free(w.loop);
        api_free(&w.api);
        remove_tree(w.dir);
    }
}

/* ---- logs ---- */

struct reader {
    struct world *world;
    struct neap_call *call;
    struct neap_buf text;
    bool headed, ended;
};

static void log_finish(struct neap_call *c)
{
    ((struct reader *)c->transport)->headed = true;
}

static void log_wake(struct neap_call *c)
{
    (void)c;
}

static void log_open(struct reader *r, struct world *w, const char *query)
{
    *r = (struct reader){.world = w, .call = neap_call_new(w->loop, 1 << 20)};
    r->call->path = "/containerLogs/default/p/c";
    r->call->query = query;
    r->call->finish = log_finish;
    r->call->wake = log_wake;
    r->call->transport = r;
    neap_node_handle(w->node, r->call);
    assert_true(r->headed);
}

/* Until <want> bytes are there, or the end. The pool's threads are real. */
static void log_read(struct reader *r, size_t want)
{
    while (r->call->stream_body && !r->ended && r->text.len < want) {
        int rc = r->call->stream_body->read(r->call->stream_body, &r->text, 1 << 20);
        r->ended = rc < 0;
        if (rc == 0)
            neap_loop_turn(r->world->loop, true);
    }
    neap_buf_char(&r->text, '\0');
    r->text.len--;
}

static void log_close(struct reader *r)
{
    if (r->call->stream_body)
        r->call->stream_body->close(r->call->stream_body);
    r->call->stream_body = NULL;
    for (int i = 0; i < 20; i++)
        neap_loop_turn(r->world->loop, false);
    neap_buf_done(&r->text);
    neap_call_free(r->call);
}

static void log_path(struct world *w, unsigned attempt, char path[512])
{
    snprintf(path, 512, "%s/logs/default_p_u-1/c/%u.log", w->dir, attempt);
}

static void log_write(struct world *w, unsigned attempt, const char *text)
{
    char path[512];
    log_path(w, attempt, path);
    FILE *f = fopen(path, "ae");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

#define AT(second) "2026-01-01T00:16:" second ".000000000Z "

static const struct {
    const char *query, *want;
} logs[] = {
    {NULL, "one\ntwo\nerr\npartial"},
    {"tailLines=2", "err\npartial"},
    {"tailLines=0", ""},
    {"tailLines=100", "one\ntwo\nerr\npartial"},
    {"limitBytes=5", "one\nt"},
    {"timestamps=true&tailLines=2", AT("42") "err\n" AT("43") "partial"},
    {"sinceTime=2026-01-01T00:16:42Z", "err\npartial"},
    {"sinceSeconds=2", "err\npartial"},
    {"sinceSeconds=9223372036854775807", "one\ntwo\nerr\npartial"},
    {"stream=Stderr", "err\n"},
    {"stream=Stdout&tailLines=3", "two\npartial"},
    {"previous=true", "before\n"},
    {"follow=false&limitBytes=9223372036854775807", "one\ntwo\nerr\npartial"},
};

static void test_logs(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_pod(&w, "p", ONE);
    log_write(&w, 0, AT("39") "stdout F before\n");
    world_exit(&w, "c", 1);
    log_write(&w, 1, AT("40") "stdout F one\n");
    log_write(&w, 1, AT("41") "stdout F two\n");
    log_write(&w, 1, AT("42") "stderr F err\n");
    log_write(&w, 1, AT("43") "stdout P partial\n");
    world_pass(&w, 4);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(logs); i++) {
        struct reader r;
        log_open(&r, &w, logs[i].query);
        log_read(&r, SIZE_MAX);
        assert_string_equal(r.text.data, logs[i].want);
        log_close(&r);
    }
    end(&w);
}

static void test_log_parameters_that_are_none(void **state)
{
    static const char *const bad[] = {"tailLines=x", "limitBytes=-1",
                                      "sinceSeconds=99999999999999999999", "sinceTime=yesterday"};
    struct world w;
    (void)state;
    world_open(&w);
    world_pod(&w, "p", ONE);
    log_write(&w, 0, AT("39") "stdout F x\n");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(bad); i++) {
        struct reader r;
        log_open(&r, &w, bad[i]);
        assert_int_equal(r.call->status, 400);
        log_close(&r);
    }
    end(&w);
}

/* Followed over a rotation, to the end of the container. */
static void test_log_is_followed(void **state)
{
    struct world w;
    struct reader r;
    char path[512], rotated[520];
    (void)state;
    world_open(&w);
    world_pod(&w, "p", ONE);
    log_write(&w, 0, AT("40") "stdout F a\n");
    log_open(&r, &w, "follow=true");
    log_read(&r, 2);
    log_write(&w, 0, AT("41") "stdout F b\n");
    log_read(&r, 4);
    log_path(&w, 0, path);
    snprintf(rotated, sizeof(rotated), "%s.1", path);
    log_write(&w, 0, AT("41") "stdout F c\n");
    assert_int_equal(rename(path, rotated), 0);
    log_write(&w, 0, AT("42") "stdout F d\n");
    log_read(&r, 8);
    assert_string_equal(r.text.data, "a\nb\nc\nd\n");
    world_delete(&w, "p", 1);
    log_read(&r, SIZE_MAX);
    assert_true(r.ended);
    log_close(&r);
    world_pass(&w, 60);
    world_assert_empty(&w, "followed");
    world_close(&w);
}

/* Exec while the container waits for its next run, and of what is not there. */
static void test_exec_needs_a_running_container(void **state)
{
    static const struct {
        const char *path, *query;
        int status;
        const char *text;
    } rows[] = {
        {"/exec/default/p/c", "command=true", 500, "container not found (\"c\")"},
        {"/attach/default/p/c", NULL, 500, "container not found (\"c\")"},
        {"/exec/default/p/x", "command=true", 404, "container x is not in pod \"default/p\""},
        {"/exec/default/q/c", "command=true", 404, "pod \"default/q\" is not on this node"}};
    struct world w;
    (void)state;
    world_open(&w);
    world_pod(&w, "p", ONE);
    world_exit(&w, "c", 1);
    world_exit(&w, "c", 1);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        struct reader r = {.world = &w, .call = neap_call_new(w.loop, 1 << 20)};
        r.call->path = rows[i].path;
        r.call->query = rows[i].query;
        r.call->upgradable = true;
        r.call->finish = log_finish;
        r.call->transport = &r;
        neap_node_handle(w.node, r.call);
        assert_int_equal(r.call->status, rows[i].status);
        assert_string_equal(r.call->reply, rows[i].text);
        neap_call_free(r.call);
    }
    end(&w);
}

#define T(test) cmocka_unit_test(test)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_lease_is_renewed),
        T(test_back_after_silence),
        T(test_pressure),
        T(test_node_status),
        T(test_readiness_survives),
        T(test_startup_goes_on),
        T(test_counts_and_codes_survive),
        T(test_orphans_are_tried_again),
        T(test_cleanup_ends),
        T(test_logs),
        T(test_log_parameters_that_are_none),
        T(test_log_is_followed),
        T(test_exec_needs_a_running_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
