/* Posts from other threads, timers, fds, children: real loops, no sleeping in place of events. */
#include "neap_test.h"

#include <errno.h>
#include <fcntl.h>
#include <neap/loop.h>
#include <pthread.h>
#include <unistd.h>

struct fixture {
    struct neap_loop *loop;
    int count, last;
    int fds[2];
    struct neap_fd *fd;
    struct neap_child_result result;
    char out[256], err[256];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->loop = neap_loop_new("test", NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    neap_loop_free(f->loop);
    free(f);
    return 0;
}

/* ---- posts ---- */

#define POSTS 2000

static void count_and_stop(void *arg)
{
    struct fixture *f = arg;
    if (++f->count == 4 * POSTS)
        neap_loop_stop(f->loop);
}

static void *poster(void *arg)
{
    struct fixture *f = arg;
    for (int i = 0; i < POSTS; i++)
        neap_loop_post(f->loop, count_and_stop, f);
    return NULL;
}

static void test_posts_from_threads_all_arrive(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, poster, f);
    neap_loop_run(f->loop);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(f->count, 4 * POSTS);
}

/* ---- timers ---- */

static void tick(void *arg)
{
    struct fixture *f = arg;
    if (++f->count == 3)
        neap_loop_stop(f->loop);
}

static void test_timer_repeats_and_closes(void **state)
{
    struct fixture *f = *state;
    struct neap_timer *t = neap_timer_new(f->loop, tick, f);
    neap_timer_start(t, 1, 1);
    assert_true(neap_timer_active(t));
    neap_loop_run(f->loop);
    assert_int_equal(f->count, 3);
    assert_null(neap_timer_close(t));
    assert_null(neap_timer_close(NULL));
}

/* ---- time by hand ---- */

static int64_t hand_ns(void *self)
{
    return *(int64_t *)self;
}

struct order {
    char names[16];
    struct neap_timer *stop;
};

static void first(void *arg)
{
    struct order *o = arg;
    strcat(o->names, "1");
    neap_timer_stop(o->stop);
}

static void second(void *arg)
{
    struct order *o = arg;
    strcat(o->names, "2");
}

static void test_manual_timers_run_by_the_clock_given(void **state)
{
    struct fixture *f = *state;
    int64_t now = 5;
    struct neap_clock clock = {hand_ns, hand_ns, &now};
    struct order o = {0};
    struct neap_loop *loop = neap_loop_new("hand", &clock);
    (void)f;
    neap_loop_manual(loop);
    assert_true(neap_loop_next_timer(loop) == INT64_MAX);
    struct neap_timer *b = neap_timer_new(loop, second, &o), *a = neap_timer_new(loop, first, &o);
    struct neap_timer *never = neap_timer_new(loop, second, &o);
    o.stop = never;
    neap_timer_start(b, 20, 10);
    neap_timer_start(a, 10, 0);
    neap_timer_start(never, 15, 0);
    assert_true(neap_timer_active(never));
    assert_true(neap_loop_next_timer(loop) == 10000005);
    assert_false(neap_loop_fire(loop));
    neap_loop_turn(loop, false);
    assert_string_equal(o.names, "");
    now = 20000005;
    while (neap_loop_fire(loop))
        continue;
    assert_string_equal(o.names, "12");
    assert_true(neap_loop_now_ms(loop) == 20); /* the clock's too */
    assert_false(neap_timer_active(a) || neap_timer_active(never));
    now += 10000000; /* the repetition */
    assert_true(neap_loop_fire(loop));
    assert_false(neap_loop_fire(loop));
    assert_string_equal(o.names, "122");
    neap_timer_close(a);
    neap_timer_close(b);
    neap_timer_close(never);
    assert_true(neap_loop_next_timer(loop) == INT64_MAX);
    neap_loop_free(loop);
}

/* ---- fds ---- */

static void on_fd(void *arg, int events)
{
    struct fixture *f = arg;
    char c;
    f->last = events;
    if ((events & NEAP_READABLE) && read(f->fds[0], &c, 1) == 1)
        f->count++;
    f->fd = neap_fd_close(f->fd); /* inside its own callback */
    neap_loop_stop(f->loop);
}

static void test_fd_wakes_and_closes_inside(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(pipe2(f->fds, O_CLOEXEC | O_NONBLOCK), 0);
    f->fd = neap_fd_new(f->loop, f->fds[0], on_fd, f);
    neap_fd_set(f->fd, NEAP_READABLE);
    assert_int_equal(write(f->fds[1], "x", 1), 1);
    neap_loop_run(f->loop);
    assert_int_equal(f->count, 1);
    close(f->fds[0]);
    close(f->fds[1]);
}

/* ---- pool ---- */

static void work(void *arg)
{
    struct fixture *f = arg;
    f->count = neap_loop_here(f->loop) ? -1 : 1;
}

static void work_done(void *arg)
{
    struct fixture *f = arg;
    neap_loop_stop(f->loop);
}

static void start_work(void *arg)
{
    struct fixture *f = arg;
    neap_loop_work(f->loop, work, work_done, f);
}

static void test_work_runs_off_the_loop(void **state)
{
    struct fixture *f = *state;
    neap_loop_post(f->loop, start_work, f); /* a loop that does not run yet is anybody's */
    neap_loop_run(f->loop);
    assert_int_equal(f->count, 1);
}

/* ---- children ---- */

static void child_done(void *arg, const struct neap_child_result *r)
{
    struct fixture *f = arg;
    f->result = *r;
    snprintf(f->out, sizeof(f->out), "%.*s", (int)r->out_len, r->out);
    snprintf(f->err, sizeof(f->err), "%.*s", (int)r->err_len, r->err);
    neap_loop_stop(f->loop);
}

static void run_child(struct fixture *f, struct neap_child_options o)
{
    neap_child_run(f->loop, &o, child_done, f);
    neap_loop_run(f->loop);
}

static void test_child_input_output_status(void **state)
{
    struct fixture *f = *state;
    run_child(f, (struct neap_child_options){
                     .argv = (const char *[]){"cat", NULL}, .input = "hello", .input_len = 5});
    assert_int_equal(f->result.status, 0);
    assert_string_equal(f->out, "hello");
    run_child(f, (struct neap_child_options){.argv = (const char *[]){"ls", "/none/such", NULL}});
    assert_true(f->result.status > 0);
    assert_true(strlen(f->err) > 0);
}

static void test_child_output_is_bounded(void **state)
{
    struct fixture *f = *state;
    run_child(f, (struct neap_child_options){
                     .argv = (const char *[]){"head", "-c", "300000", "/dev/zero", NULL},
                     .output_max = 1000});
    assert_int_equal(f->result.status, 0);
    assert_int_equal(f->result.out_len, 1000);
}

static void test_child_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    run_child(f, (struct neap_child_options){.argv = (const char *[]){"/none/such", NULL}});
    assert_int_equal(f->result.status, -ENOENT);
}

static void test_child_timeout_kills(void **state)
{
    struct fixture *f = *state;
    run_child(f, (struct neap_child_options){.argv = (const char *[]){"sleep", "60", NULL},
                                             .timeout_ms = 50});
    assert_true(f->result.timed_out);
    assert_int_equal(f->result.status, 128 + SIGKILL);
}

static int refuse(void *arg)
{
    (void)arg;
    return -1;
}

static void test_child_before_exec_can_refuse(void **state)
{
    struct fixture *f = *state;
    run_child(f, (struct neap_child_options){.argv = (const char *[]){"true", NULL},
                                             .before_exec = refuse});
    assert_int_equal(f->result.status, 126);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        T(test_posts_from_threads_all_arrive), T(test_timer_repeats_and_closes),
        T(test_fd_wakes_and_closes_inside),    T(test_work_runs_off_the_loop),
        T(test_child_input_output_status),     T(test_child_output_is_bounded),
        T(test_child_that_is_not_there),       T(test_child_timeout_kills),
        T(test_child_before_exec_can_refuse),  T(test_manual_timers_run_by_the_clock_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
