/* Watches: cursors into the rings, who is woken by what, and waits for a revision.
 *
 * A watch is idle when next() has returned 0: it has seen all that concerns it. An event wakes only the
 * idle watches of its buckets and sets their cursor to itself: what happened in between was in other
 * buckets. A watch that is not idle reads on from its cursor and filters. */
#include "core/registry/registry_internal.h"

/* The watches of one loop that are to be woken: one post for all of them. */
struct waker {
    struct neap_list link; /* r->wakers */
    struct neap_loop *loop;
    pthread_mutex_t lock;
    struct neap_list ready; /* struct neap_watch.ready */
    unsigned refs;          /* watches and a post under way */
    bool posted;
};

struct bucket {
    struct neap_list watches; /* struct neap_watch.link */
};

struct neap_watch {
    struct neap_registry *r;
    struct neap_watch_options options;
    char *namespace_;
    struct neap_resource *resource;
    struct waker *waker;
    struct neap_list link, ready;
    char *bucket;   /* its key in resource->buckets */
    int field;      /* that it stands under; -1: none */
    uint64_t after; /* events at or below are not its */
    uint64_t cursor, seen;
    bool idle, expired;
};

struct neap_revision_wait {
    struct neap_list link; /* r->waits until it fires */
    struct neap_registry *r;
    uint64_t revision;
    struct neap_loop *loop;
    void (*fn)(void *arg);
    void *arg;
    bool fired, cancelled; /* under watch_lock; cancelled after firing: on the loop's thread */
};

/* ---- rings (under watch_lock) ---- */

static struct neap_ring_event *event_at(struct neap_ring *ring, uint64_t seq)
{
    return &ring->at[seq & (ring->cap - 1)];
}

static void ring_push(struct neap_ring *ring, const struct neap_ring_event *e)
{
    if (ring->head - ring->tail == ring->cap) {
        struct neap_ring bigger = *ring;
        bigger.cap = ring->cap ? ring->cap * 2 : 16;
        bigger.at = neap_malloc(bigger.cap * sizeof(*bigger.at));
        for (uint64_t i = ring->tail; i < ring->head; i++)
            *event_at(&bigger, i) = *event_at(ring, i);
        free(ring->at);
        *ring = bigger;
    }
    *event_at(ring, ring->head++) = *e;
}

static void order_push(struct neap_registry *r, const struct neap_resource *res)
{
    if (r->order_count == r->order_cap) {
        size_t cap = r->order_cap ? r->order_cap * 2 : 256;
        uint16_t *to = neap_malloc(cap * sizeof(*to));
        for (size_t i = 0; i < r->order_count; i++)
            to[i] = r->order[(r->order_tail + i) & (r->order_cap - 1)];
        free(r->order);
        r->order = to;
        r->order_cap = cap;
        r->order_tail = 0;
    }
    r->order[(r->order_tail + r->order_count++) & (r->order_cap - 1)] =
        (uint16_t)(res - r->resources);
}

static struct neap_ring_event *oldest(struct neap_registry *r, struct neap_ring **ret)
{
    if (!r->order_count)
        return NULL;
    *ret = &r->resources[r->order[r->order_tail]].ring;
    return event_at(*ret, (*ret)->tail);
}

/* Forgets the oldest event of all; its objects go to <gone>: freed after the lock. */
static void evict(struct neap_registry *r, struct neap_garbage *gone)
{
    struct neap_ring *ring;
    struct neap_ring_event *e = oldest(r, &ring);
    neap_garbage_add(gone, e->old, NEAP_GARBAGE_OBJECT, 0);
    neap_garbage_add(gone, e->new_, NEAP_GARBAGE_OBJECT, 0);
    ring->evicted = e->revision;
    r->ring_bytes -= e->bytes;
    if (e->revision > r->compacted)
        r->compacted = e->revision;
    ring->tail++;
    r->order_tail = (r->order_tail + 1) & (r->order_cap - 1);
    r->order_count--;
    if (ring->tail == ring->head) { /* nothing is kept for nobody */
        free(ring->at);
        ring->at = NULL;
        ring->cap = 0;
    }
}

static bool is_over(struct neap_registry *r, int64_t now)
{
    struct neap_ring *ring;
    struct neap_ring_event *e = oldest(r, &ring);
    return e && (r->ring_bytes > r->options.history_bytes ||
                 now - e->at > (int64_t)r->options.history_ns);
}

void neap_registry_ring_expire(struct neap_registry *r)
{
    struct neap_garbage gone = {0};
    int64_t now = neap_clock_mono(r->clock);
    pthread_mutex_lock(&r->watch_lock);
    while (is_over(r, now))
        evict(r, &gone);
    pthread_mutex_unlock(&r->watch_lock);
    neap_garbage_free(&gone);
}

void neap_registry_ring_compact(struct neap_registry *r, uint64_t revision)
{
    struct neap_garbage gone = {0};
    struct neap_ring *ring;
    struct neap_ring_event *e;
    pthread_mutex_lock(&r->watch_lock);
    while ((e = oldest(r, &ring)) && e->revision <= revision)
        evict(r, &gone);
    for (unsigned i = 0; i < r->resource_count; i++)
        if (r->resources[i].ring.evicted < revision)
            r->resources[i].ring.evicted = revision;
    if (r->compacted < revision)
        r->compacted = revision;
    pthread_mutex_unlock(&r->watch_lock);
    neap_garbage_free(&gone);
}

/* ---- buckets ---- */

/* The key of a bucket; false: longer than any value. */
static bool bucket_key(char out[NEAP_REGISTRY_KEY_MAX], char what, unsigned field,
                       const char *value)
{
    int n = snprintf(out, NEAP_REGISTRY_KEY_MAX, "%c%u/%s", what, field, value);
    return n > 0 && n < NEAP_REGISTRY_KEY_MAX;
}

static void bucket_choose(struct neap_watch *w, char out[NEAP_REGISTRY_KEY_MAX])
{
    const struct neap_selector *s = w->options.selector;
    const struct neap_kind *k = w->resource->kind;
    const char *value = s ? neap_selector_pinned(s, "metadata.name") : NULL;
    w->field = -1;
    if (value && bucket_key(out, 'n', 0, value)) {
        w->resource->by_name++;
        return;
    }
    for (unsigned i = 0; s && i < k->selectable_count; i++) {
        value = neap_selector_pinned(s, k->selectable[i].path);
        if (value && bucket_key(out, 'f', i, value)) {
            w->field = (int)i;
            w->resource->by_field[i]++;
            return;
        }
    }
    bucket_key(out, 's', 0, w->namespace_);
}

static void bucket_join(struct neap_watch *w)
{
    char key[NEAP_REGISTRY_KEY_MAX];
    bucket_choose(w, key);
    w->bucket = neap_strdup(key);
    struct bucket *b = neap_map_get(&w->resource->buckets, key);
    if (!b) {
        b = neap_malloc(sizeof(*b));
        neap_list_init(&b->watches);
        neap_map_set(&w->resource->buckets, key, b);
    }
    neap_list_append(&b->watches, &w->link);
    w->resource->watchers++;
}

static void bucket_leave(struct neap_watch *w)
{
    struct bucket *b = neap_map_get(&w->resource->buckets, w->bucket);
    neap_list_remove(&w->link);
    if (neap_list_empty(&b->watches)) {
        neap_map_del(&w->resource->buckets, w->bucket);
        free(b);
    }
    if (w->field >= 0)
        w->resource->by_field[w->field]--;
    else if (w->bucket[0] == 'n')
        w->resource->by_name--;
    w->resource->watchers--;
    free(w->bucket);
}

/* ---- waking ---- */

static void make_ready(struct neap_watch *w)
{
    w->idle = false;
    pthread_mutex_lock(&w->waker->lock);
    neap_list_append(&w->waker->ready, &w->ready);
    pthread_mutex_unlock(&w->waker->lock);
}

static void wake_bucket(struct neap_resource *res, uint64_t seq, uint64_t before, char what,
                        unsigned field, const char *value)
{
    char key[NEAP_REGISTRY_KEY_MAX];
    struct bucket *b =
        bucket_key(key, what, field, value) ? neap_map_get(&res->buckets, key) : NULL;
    if (!b)
        return;
    neap_list_foreach(&b->watches, l)
    {
        struct neap_watch *w = neap_list_entry(l, struct neap_watch, link);
        if (!w->idle)
            continue;
        w->cursor = seq;
        w->seen = before;
        make_ready(w);
    }
}

/* <before>: the revision that the rings were complete up to before this batch. */
static void wake_candidates(struct neap_resource *res, uint64_t seq, uint64_t before,
                            const struct neap_ring_event *e)
{
    if (!res->watchers)
        return;
    const struct neap_object *o = e->new_ ? e->new_ : e->old;
    if (res->by_name)
        wake_bucket(res, seq, before, 'n', 0, neap_object_name(o));
    for (unsigned i = 0; i < res->kind->selectable_count; i++) {
        if (!res->by_field[i])
            continue;
        const char *now = neap_object_selectable(o, i);
        const char *was = e->old ? neap_object_selectable(e->old, i) : now;
        wake_bucket(res, seq, before, 'f', i, now);
        if (was != now)
            wake_bucket(res, seq, before, 'f', i, was);
    }
    wake_bucket(res, seq, before, 's', 0, "");
    if (*neap_object_namespace(o))
        wake_bucket(res, seq, before, 's', 0, neap_object_namespace(o));
}

void neap_registry_ring_publish(struct neap_registry *r, uint64_t revision)
{
    pthread_mutex_lock(&r->watch_lock);
    uint64_t before = r->ring_revision;
    for (size_t i = 0; i < r->event_count; i++) {
        struct neap_resource *res = r->event_resources[i];
        ring_push(&res->ring, &r->events[i]);
        order_push(r, res);
        r->ring_bytes += r->events[i].bytes;
        wake_candidates(res, res->ring.head - 1, before, &r->events[i]);
    }
    r->ring_revision = revision;
    pthread_mutex_unlock(&r->watch_lock);
    r->event_count = 0;
}

static void waker_unref(struct waker *k)
{
    pthread_mutex_lock(&k->lock);
    bool last = --k->refs == 0;
    pthread_mutex_unlock(&k->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&k->lock);
    free(k);
}

/* On the loop: wakes a slice, then comes back for the rest. */
static void waker_run(void *arg)
{
    struct waker *k = arg;
    for (unsigned i = 0; i < NEAP_REGISTRY_FANOUT; i++) {
        struct neap_watch *w = NULL;
        pthread_mutex_lock(&k->lock);
        if (!neap_list_empty(&k->ready)) {
            w = neap_list_entry(k->ready.next, struct neap_watch, ready);
            neap_list_remove(&w->ready);
        }
        pthread_mutex_unlock(&k->lock);
        if (!w)
            break;
        w->options.wake(w->options.arg); /* may close it, or another that is ready */
    }
    pthread_mutex_lock(&k->lock);
    bool more = !neap_list_empty(&k->ready);
    k->posted = more;
    pthread_mutex_unlock(&k->lock);
    if (more)
        neap_loop_post(k->loop, waker_run, k);
    else
        waker_unref(k);
}

static void waker_post(struct waker *k)
{
    pthread_mutex_lock(&k->lock);
    bool post = !k->posted && !neap_list_empty(&k->ready);
    if (post) {
        k->posted = true;
        k->refs++;
    }
    pthread_mutex_unlock(&k->lock);
    if (post)
        neap_loop_post(k->loop, waker_run, k);
}

static void wait_fired(void *arg)
{
    struct neap_revision_wait *w = arg;
    if (!w->cancelled)
        w->fn(w->arg);
    free(w);
}

void neap_registry_wake(struct neap_registry *r)
{
    pthread_mutex_lock(&r->watch_lock);
    neap_list_foreach(&r->wakers, l)
    {
        waker_post(neap_list_entry(l, struct waker, link));
    }
    neap_list_foreach(&r->waits, l)
    {
        struct neap_revision_wait *w = neap_list_entry(l, struct neap_revision_wait, link);
        if (w->revision > r->ring_revision)
            continue;
        neap_list_remove(&w->link);
        w->fired = true;
        neap_loop_post(w->loop, wait_fired, w);
    }
    pthread_mutex_unlock(&r->watch_lock);
}

/* ---- watches ---- */

/* Under watch_lock. */
static struct waker *waker_for(struct neap_registry *r, struct neap_loop *loop)
{
    neap_list_foreach(&r->wakers, l)
    {
        struct waker *k = neap_list_entry(l, struct waker, link);
        if (k->loop != loop)
            continue;
        pthread_mutex_lock(&k->lock);
        k->refs++;
        pthread_mutex_unlock(&k->lock);
        return k;
    }
    struct waker *k = neap_calloc(1, sizeof(*k));
    k->loop = loop;
    k->refs = 2; /* the list's and the watch's */
    pthread_mutex_init(&k->lock, NULL);
    neap_list_init(&k->ready);
    neap_list_append(&r->wakers, &k->link);
    return k;
}

/* Sets the cursor to the first event after <after>; false: it is gone. */
static bool seek(struct neap_watch *w)
{
    struct neap_ring *ring = &w->resource->ring;
    uint64_t lo = ring->tail, hi = ring->head;
    if (w->after < ring->evicted)
        return false;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (event_at(ring, mid)->revision <= w->after)
            lo = mid + 1;
        else
            hi = mid;
    }
    w->cursor = lo;
    return true;
}

int neap_watch_open(struct neap_registry *r, const struct neap_watch_options *options,
                    struct neap_watch **ret, struct neap_err *err)
{
    struct neap_resource *res = neap_registry_resource(r, options->kind->storage);
    if (!res)
        return neap_err_set(err, NEAP_ENOTFOUND, "the registry keeps no %s",
                            options->kind->resource);
    struct neap_watch *w = neap_calloc(1, sizeof(*w));
    w->r = r;
    w->options = *options;
    w->after = w->seen = options->after;
    w->resource = res;
    bool all = !res->kind->namespaced || !options->namespace_;
    w->namespace_ = neap_strdup(all ? "" : options->namespace_);
    neap_list_init(&w->ready);
    pthread_mutex_lock(&r->watch_lock);
    uint64_t evicted = res->ring.evicted;
    bool there = seek(w);
    if (there) {
        w->waker = waker_for(r, options->loop);
        bucket_join(w);
        w->idle = w->cursor == res->ring.head;
        if (!w->idle) {
            make_ready(w);
            waker_post(w->waker);
        }
    }
    pthread_mutex_unlock(&r->watch_lock);
    if (!there) {
        free(w->namespace_);
        free(w);
        return neap_err_set(err, NEAP_EEXPIRED, "too old resource version: %llu (%llu)",
                            (unsigned long long)options->after, (unsigned long long)evicted);
    }
    neap_registry_metrics_watchers(res->kind, 1);
    *ret = w;
    return 0;
}

static bool matches(const struct neap_watch *w, const struct neap_object *o)
{
    return o && (!w->options.selector || neap_selector_match(w->options.selector, o));
}

/* What the event is to this watch; false: nothing. */
static bool translate(const struct neap_watch *w, const struct neap_ring_event *e,
                      struct neap_event *ret)
{
    bool was = matches(w, e->old), is = matches(w, e->new_);
    if (!was && !is)
        return false;
    ret->revision = e->revision;
    ret->type = !is ? NEAP_DELETED : was ? NEAP_MODIFIED : NEAP_ADDED;
    if (is)
        ret->object = neap_object_ref(e->new_);
    else if (!e->new_)
        ret->object = neap_object_ref(e->old); /* the last state: at this revision already */
    else
        ret->object = neap_object_at_revision(e->old, e->revision);
    return true;
}

static bool in_namespace(const struct neap_watch *w, const struct neap_ring_event *e)
{
    const struct neap_object *o = e->new_ ? e->new_ : e->old;
    return !*w->namespace_ || strcmp(w->namespace_, neap_object_namespace(o)) == 0;
}

/* The next event of the watch's namespace, with references; 1, 0 or NEAP_EEXPIRED. */
static int take_event(struct neap_watch *w, struct neap_ring_event *ret)
{
    struct neap_ring *ring = &w->resource->ring;
    int rc = 0;
    pthread_mutex_lock(&w->r->watch_lock);
    if (!w->idle && w->cursor < ring->tail)
        w->expired = true;
    while (!w->expired && !w->idle && rc == 0) {
        if (w->cursor == ring->head) {
            w->idle = true;
            w->seen = w->r->ring_revision;
            break;
        }
        *ret = *event_at(ring, w->cursor++);
        rc = ret->revision > w->after && in_namespace(w, ret);
    }
    if (rc) {
        ret->old = ret->old ? neap_object_ref(ret->old) : NULL;
        ret->new_ = ret->new_ ? neap_object_ref(ret->new_) : NULL;
    }
    pthread_mutex_unlock(&w->r->watch_lock);
    return w->expired ? NEAP_EEXPIRED : rc;
}

int neap_watch_next(struct neap_watch *w, struct neap_event *ret)
{
    struct neap_ring_event e = {0};
    int rc;
    while ((rc = take_event(w, &e)) == 1) {
        bool concerns = translate(w, &e, ret);
        neap_object_unref(e.old);
        neap_object_unref(e.new_);
        if (concerns)
            return 1;
    }
    return rc;
}

uint64_t neap_watch_revision(const struct neap_watch *w)
{
    pthread_mutex_lock(&w->r->watch_lock);
    uint64_t seen = w->idle ? w->r->ring_revision : w->seen;
    pthread_mutex_unlock(&w->r->watch_lock);
    return seen > w->after ? seen : w->after;
}

void neap_watch_close(struct neap_watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->r->watch_lock);
    bucket_leave(w);
    pthread_mutex_lock(&w->waker->lock);
    neap_list_remove(&w->ready);
    pthread_mutex_unlock(&w->waker->lock);
    pthread_mutex_unlock(&w->r->watch_lock);
    neap_registry_metrics_watchers(w->resource->kind, -1);
    waker_unref(w->waker);
    free(w->namespace_);
    free(w);
}

/* ---- waits ---- */

struct neap_revision_wait *neap_registry_wait(struct neap_registry *r, uint64_t revision,
                                              struct neap_loop *loop, void (*fn)(void *arg),
                                              void *arg)
{
    struct neap_revision_wait *w = neap_malloc(sizeof(*w));
    *w = (struct neap_revision_wait){
        .r = r, .revision = revision, .loop = loop, .fn = fn, .arg = arg};
    neap_list_init(&w->link);
    pthread_mutex_lock(&r->watch_lock);
    if (revision <= r->ring_revision) {
        w->fired = true;
        neap_loop_post(loop, wait_fired, w);
    } else {
        neap_list_append(&r->waits, &w->link);
    }
    pthread_mutex_unlock(&r->watch_lock);
    return w;
}

void neap_registry_wait_cancel(struct neap_revision_wait *w)
{
    pthread_mutex_lock(&w->r->watch_lock);
    neap_list_remove(&w->link);
    bool fired = w->fired;
    w->cancelled = true;
    pthread_mutex_unlock(&w->r->watch_lock);
    if (!fired)
        free(w);
}

void neap_registry_watch_done(struct neap_registry *r)
{
    struct neap_garbage gone = {0};
    while (r->order_count)
        evict(r, &gone);
    neap_garbage_free(&gone);
    neap_list_foreach(&r->wakers, l)
    {
        neap_list_remove(l);
        waker_unref(neap_list_entry(l, struct waker, link));
    }
    for (unsigned i = 0; i < r->resource_count; i++) {
        neap_map_done(&r->resources[i].buckets, NULL);
        free(r->resources[i].by_field);
    }
    free(r->order);
}
