/* Shared inside core/loop. */
#ifndef NEAP_LOOP_INTERNAL_H
#define NEAP_LOOP_INTERNAL_H

#include <neap/loop.h>
#include <pthread.h>
#include <uv.h>

struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

struct neap_loop {
    uv_loop_t uv;
    const char *name;
    const struct neap_clock *clock;
    uv_async_t wakeup;
    pthread_mutex_t lock; /* guards posts */
    struct post *posts, **posts_tail;
    _Atomic pthread_t thread;
    _Atomic bool running;
    bool stopping;
    bool manual;             /* timers wait for neap_loop_fire() */
    struct neap_list timers; /* those that are started, of a manual loop */
};

#endif
