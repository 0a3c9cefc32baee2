/* Event loops (libuv inside; only core/loop and api/http's websocket file include uv.h).
 *
 * A loop is one thread. Everything here is called on that thread, except neap_loop_post() and
 * neap_loop_stop(). Callbacks never run inside the call that registers them. Handles are made with
 * _new and end with _close, which is safe inside their own callback: no callback comes after it.
 * Nothing may block a loop: files, mounts, DNS go to neap_loop_work(), programs to neap_child. */
#ifndef NEAP_LOOP_H
#define NEAP_LOOP_H

#include <neap/base.h>
#include <neap/clock.h>
#include <neap/err.h>
#include <signal.h>

struct neap_loop;

/* <name> appears in logs and metrics. <clock> NULL: the system's. */
struct neap_loop *neap_loop_new(const char *name, const struct neap_clock *clock);
/* Runs until neap_loop_stop(); then closes nothing by itself. */
void neap_loop_run(struct neap_loop *loop);
/* One turn: waits for events when <wait>, runs their callbacks. For tests and nested loops. */
void neap_loop_turn(struct neap_loop *loop, bool wait);
/* thread: any. */
void neap_loop_stop(struct neap_loop *loop);
/* Runs remaining closes and posts, frees. Every handle must have been closed. Accepts NULL. */
void neap_loop_free(struct neap_loop *loop);
const struct neap_clock *neap_loop_clock(struct neap_loop *loop);
/* Monotonic milliseconds, read once a turn. */
int64_t neap_loop_now_ms(struct neap_loop *loop);
/* True on the loop's own thread (or before it runs). */
bool neap_loop_here(const struct neap_loop *loop);
/* The uv_loop_t, for the one file that gives it to libwebsockets. */
void *neap_loop_uv(struct neap_loop *loop);

/* Runs <fn>(<arg>) on the loop, in the order posted. thread: any. */
void neap_loop_post(struct neap_loop *loop, void (*fn)(void *arg), void *arg);

/* Runs <work>(<arg>) on a pool thread, then <done>(<arg>) on the loop. */
void neap_loop_work(struct neap_loop *loop, void (*work)(void *arg), void (*done)(void *arg),
                    void *arg);

/* A thread that runs a loop; join after neap_loop_stop(). */
struct neap_thread;
struct neap_thread *neap_thread_start(struct neap_loop *loop);
void neap_thread_join(struct neap_thread *t);

/* Timers; monotonic. */
struct neap_timer;
struct neap_timer *neap_timer_new(struct neap_loop *loop, void (*cb)(void *arg), void *arg);
/* Once after <ms>, then every <repeat_ms> when not 0. Restarts a running timer. */
void neap_timer_start(struct neap_timer *t, uint64_t ms, uint64_t repeat_ms);
void neap_timer_stop(struct neap_timer *t);
bool neap_timer_active(const struct neap_timer *t);
/* Accepts NULL; returns NULL. */
struct neap_timer *neap_timer_close(struct neap_timer *t);

/* For tests with a clock of their own: from now on (before the first timer is started) timers of this loop run
 * by its clock, and only within neap_loop_fire(). */
void neap_loop_manual(struct neap_loop *loop);
/* When the first timer is due, on the clock's monotonic time; INT64_MAX: none runs. */
int64_t neap_loop_next_timer(struct neap_loop *loop);
/* Runs the first timer if it is due; false: none is. */
bool neap_loop_fire(struct neap_loop *loop);

/* File descriptors that poll: sockets, pipes, pidfd, inotify, netlink. The fd stays the caller's;
 * close it only after neap_fd_close(). */
enum { NEAP_READABLE = 1, NEAP_WRITABLE = 2, NEAP_HANGUP = 4 };
struct neap_fd;
struct neap_fd *neap_fd_new(struct neap_loop *loop, int fd, void (*cb)(void *arg, int events),
                            void *arg);
/* events 0: paused. */
void neap_fd_set(struct neap_fd *f, int events);
struct neap_fd *neap_fd_close(struct neap_fd *f);

/* Signals. */
struct neap_signal;
struct neap_signal *neap_signal_new(struct neap_loop *loop, int signum, void (*cb)(void *arg),
                                    void *arg);
struct neap_signal *neap_signal_close(struct neap_signal *s);

/* Programs: argv only, no shell, no PATH search unless argv[0] has no '/'. stdin is <input> (or
 * /dev/null), stdout and stderr are captured up to <output_max> bytes each, then the rest is
 * dropped. After <timeout_ms> (0: none) it is killed with SIGKILL. */
struct neap_child_result {
    int status; /* exit code; 128 + signal when killed; -errno when it could not start */
    bool timed_out;
    const char *out, *err; /* borrowed until the callback returns */
    size_t out_len, err_len;
};
struct neap_child_options {
    const char *const *argv; /* NULL-terminated */
    const char *const *env;  /* NULL: ours */
    const char *cwd;         /* NULL: ours */
    const void *input;
    size_t input_len;
    size_t output_max; /* 0: 64 KiB */
    uint64_t timeout_ms;
    /* Runs in the child before exec (async-signal-safe code only); non-zero: exit 126. */
    int (*before_exec)(void *arg);
    void *before_exec_arg;
};
/* <done> is called exactly once, on the loop. Copies its options. thread: the loop. */
void neap_child_run(struct neap_loop *loop, const struct neap_child_options *options,
                    void (*done)(void *arg, const struct neap_child_result *result), void *arg);

#endif
