/* Loops, posts, timers, fds, signals, pool work on libuv: see neap/loop.h. */
#include "loop_internal.h"

#include <neap/log.h>

/* ---- posts ---- */

static void run_posts(struct neap_loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct post *p = loop->posts;
    loop->posts = NULL;
    loop->posts_tail = &loop->posts;
    pthread_mutex_unlock(&loop->lock);
    while (p) {
        struct post *next = p->next;
        p->fn(p->arg);
        free(p);
        p = next;
    }
}

static void on_wakeup(uv_async_t *async)
{
    struct neap_loop *loop = async->data;
    run_posts(loop);
    if (loop->stopping)
        uv_stop(&loop->uv);
}

void neap_loop_post(struct neap_loop *loop, void (*fn)(void *arg), void *arg)
{
    struct post *p = neap_malloc(sizeof(*p));
    *p = (struct post){NULL, fn, arg};
    pthread_mutex_lock(&loop->lock);
    bool first = !loop->posts;
    *loop->posts_tail = p;
    loop->posts_tail = &p->next;
    if (first) /* under the lock: the loop can't be freed between */
        uv_async_send(&loop->wakeup);
    pthread_mutex_unlock(&loop->lock);
}

/* ---- loops ---- */

struct neap_loop *neap_loop_new(const char *name, const struct neap_clock *clock)
{
    struct neap_loop *loop = neap_calloc(1, sizeof(*loop));
    loop->name = name;
    loop->clock = clock ? clock : &neap_clock_system;
    loop->posts_tail = &loop->posts;
    neap_list_init(&loop->timers);
    pthread_mutex_init(&loop->lock, NULL);
    if (uv_loop_init(&loop->uv) || uv_async_init(&loop->uv, &loop->wakeup, on_wakeup)) {
        NEAP_ERROR("loop", "cannot be made", "name=%s", name);
        abort(); /* no epoll or eventfd: nothing can work */
    }
    loop->wakeup.data = loop;
    return loop;
}

void neap_loop_run(struct neap_loop *loop)
{
    loop->thread = pthread_self();
    loop->running = true;
    while (!__atomic_load_n(&loop->stopping, __ATOMIC_ACQUIRE))
        uv_run(&loop->uv, UV_RUN_DEFAULT);
    loop->running = false;
    __atomic_store_n(&loop->stopping, false, __ATOMIC_RELEASE);
}

void neap_loop_turn(struct neap_loop *loop, bool wait)
{
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

void neap_loop_stop(struct neap_loop *loop)
{
    __atomic_store_n(&loop->stopping, true, __ATOMIC_RELEASE);
    uv_async_send(&loop->wakeup);
}

void neap_loop_free(struct neap_loop *loop)
{
    if (!loop)
        return;
    run_posts(loop);
    uv_close((uv_handle_t *)&loop->wakeup, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int left = uv_loop_close(&loop->uv);
    if (left)
        NEAP_ERROR("loop", "freed with open handles", "name=%s", loop->name);
    pthread_mutex_destroy(&loop->lock);
    if (!left)
        free(loop);
}

const struct neap_clock *neap_loop_clock(struct neap_loop *loop)
{
    return loop->clock;
}

int64_t neap_loop_now_ms(struct neap_loop *loop)
{
    return loop->manual ? neap_clock_mono(loop->clock) / 1000000 : (int64_t)uv_now(&loop->uv);
}

bool neap_loop_here(const struct neap_loop *loop)
{
    return !loop->running || pthread_equal(loop->thread, pthread_self());
}

void *neap_loop_uv(struct neap_loop *loop)
{
    return &loop->uv;
}

/* ---- threads ---- */

struct neap_thread {
    pthread_t thread;
    struct neap_loop *loop;
};

static void *thread_main(void *arg)
{
    struct neap_thread *t = arg;
    pthread_setname_np(pthread_self(), t->loop->name);
    neap_loop_run(t->loop);
    return NULL;
}

struct neap_thread *neap_thread_start(struct neap_loop *loop)
{
    struct neap_thread *t = neap_malloc(sizeof(*t));
    t->loop = loop;
    if (pthread_create(&t->thread, NULL, thread_main, t)) {
        free(t);
        return NULL;
    }
    return t;
}

void neap_thread_join(struct neap_thread *t)
{
    if (!t)
        return;
    pthread_join(t->thread, NULL);
    free(t);
}

/* ---- pool work ---- */

struct work {
    uv_work_t req;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void work_run(uv_work_t *req)
{
    struct work *w = req->data;
    w->work(w->arg);
}

static void work_done(uv_work_t *req, int status)
{
    struct work *w = req->data;
    (void)status; /* nothing cancels pool work */
    if (w->done)
        w->done(w->arg);
    free(w);
}

void neap_loop_work(struct neap_loop *loop, void (*work)(void *arg), void (*done)(void *arg),
                    void *arg)
{
    struct work *w = neap_malloc(sizeof(*w));
    *w = (struct work){.work = work, .done = done, .arg = arg};
    w->req.data = w;
    uv_queue_work(&loop->uv, &w->req, work_run, work_done);
}

/* ---- timers ---- */

struct neap_timer {
    uv_timer_t uv; /* first: a closed handle is freed through it */
    void (*cb)(void *arg);
    void *arg;
    struct neap_list link; /* of a manual loop's timers, while it runs */
    int64_t due_ns;        /* there */
    uint64_t repeat_ms;
};

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void on_timer(uv_timer_t *uv)
{
    struct neap_timer *t = (struct neap_timer *)uv;
    t->cb(t->arg);
}

static struct neap_loop *loop_of(struct neap_timer *t)
{
    return neap_container_of(t->uv.loop, struct neap_loop, uv);
}

struct neap_timer *neap_timer_new(struct neap_loop *loop, void (*cb)(void *arg), void *arg)
{
    struct neap_timer *t = neap_calloc(1, sizeof(*t));
    t->cb = cb;
    t->arg = arg;
    neap_list_init(&t->link);
    uv_timer_init(&loop->uv, &t->uv);
    return t;
}

void neap_timer_start(struct neap_timer *t, uint64_t ms, uint64_t repeat_ms)
{
    struct neap_loop *loop = loop_of(t);
    if (!loop->manual) {
        uv_timer_start(&t->uv, on_timer, ms, repeat_ms);
        return;
    }
    t->due_ns = neap_clock_mono(loop->clock) + (int64_t)ms * 1000000;
    t->repeat_ms = repeat_ms;
    neap_list_remove(&t->link);
    neap_list_append(&loop->timers, &t->link);
}

void neap_timer_stop(struct neap_timer *t)
{
    neap_list_remove(&t->link);
    uv_timer_stop(&t->uv);
}

bool neap_timer_active(const struct neap_timer *t)
{
    return !neap_list_empty(&t->link) || uv_is_active((const uv_handle_t *)&t->uv);
}

struct neap_timer *neap_timer_close(struct neap_timer *t)
{
    if (t) {
        neap_list_remove(&t->link);
        uv_close((uv_handle_t *)&t->uv, free_handle);
    }
    return NULL;
}

/* ---- time by hand ---- */

void neap_loop_manual(struct neap_loop *loop)
{
    loop->manual = true;
}

static struct neap_timer *first_timer(struct neap_loop *loop)
{
    struct neap_timer *first = NULL;
    neap_list_foreach(&loop->timers, e)
    {
        struct neap_timer *t = neap_list_entry(e, struct neap_timer, link);
        if (!first || t->due_ns < first->due_ns)
            first = t;
    }
    return first;
}

int64_t neap_loop_next_timer(struct neap_loop *loop)
{
    struct neap_timer *t = first_timer(loop);
    return t ? t->due_ns : INT64_MAX;
}

bool neap_loop_fire(struct neap_loop *loop)
{
    struct neap_timer *t = first_timer(loop);
    if (!t || t->due_ns > neap_clock_mono(loop->clock))
        return false;
    neap_list_remove(&t->link);
    if (t->repeat_ms)
        neap_timer_start(t, t->repeat_ms, t->repeat_ms);
    t->cb(t->arg);
    return true;
}

/* ---- fds ---- */

struct neap_fd {
    uv_poll_t uv; /* first */
    void (*cb)(void *arg, int events);
    void *arg;
};

static void on_poll(uv_poll_t *uv, int status, int events)
{
    struct neap_fd *f = (struct neap_fd *)uv;
    int seen = 0;
    if (events & UV_READABLE)
        seen |= NEAP_READABLE;
    if (events & UV_WRITABLE)
        seen |= NEAP_WRITABLE;
    if (status < 0 || (events & UV_DISCONNECT))
        seen |= NEAP_HANGUP;
    f->cb(f->arg, seen);
}

struct neap_fd *neap_fd_new(struct neap_loop *loop, int fd, void (*cb)(void *arg, int events),
                            void *arg)
{
    struct neap_fd *f = neap_calloc(1, sizeof(*f));
    f->cb = cb;
    f->arg = arg;
    if (uv_poll_init(&loop->uv, &f->uv, fd)) {
        free(f);
        return NULL;
    }
    return f;
}

void neap_fd_set(struct neap_fd *f, int events)
{
    int want = 0;
    if (events & NEAP_READABLE)
        want |= UV_READABLE;
    if (events & NEAP_WRITABLE)
        want |= UV_WRITABLE;
    if (events & NEAP_HANGUP)
        want |= UV_DISCONNECT;
    if (want)
        uv_poll_start(&f->uv, want, on_poll);
    else
        uv_poll_stop(&f->uv);
}

struct neap_fd *neap_fd_close(struct neap_fd *f)
{
    if (f)
        uv_close((uv_handle_t *)&f->uv, free_handle);
    return NULL;
}

/* ---- signals ---- */

struct neap_signal {
    uv_signal_t uv; /* first */
    void (*cb)(void *arg);
    void *arg;
};

static void on_signal(uv_signal_t *uv, int signum)
{
    struct neap_signal *s = (struct neap_signal *)uv;
    (void)signum;
    s->cb(s->arg);
}

struct neap_signal *neap_signal_new(struct neap_loop *loop, int signum, void (*cb)(void *arg),
                                    void *arg)
{
    struct neap_signal *s = neap_calloc(1, sizeof(*s));
    s->cb = cb;
    s->arg = arg;
    uv_signal_init(&loop->uv, &s->uv);
    uv_signal_start(&s->uv, on_signal, signum);
    return s;
}

struct neap_signal *neap_signal_close(struct neap_signal *s)
{
    if (s)
        uv_close((uv_handle_t *)&s->uv, free_handle);
    return NULL;
}
