/* Who is woken by what: buckets of watches, one post a loop, waits for a revision. */
#include "core/registry/watch_internal.h"

struct bucket {
    struct neap_list watches; /* struct neap_watch.link */
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

void neap_watch_bucket_join(struct neap_watch *w)
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

void neap_watch_bucket_leave(struct neap_watch *w)
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

void neap_watch_make_ready(struct neap_watch *w)
{
    w->idle = false;
    pthread_mutex_lock(&w->waker->lock);
    if (neap_list_empty(&w->ready)) /* read between two wakings it may still wait for the first */
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
        neap_watch_make_ready(w);
    }
}

/* <before>: the revision that the rings were complete up to before this batch. */
void neap_watch_wake_candidates(struct neap_resource *res, uint64_t seq, uint64_t before,
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

void neap_waker_unref(struct neap_waker *k)
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
    struct neap_waker *k = arg;
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
        neap_waker_unref(k);
}

void neap_waker_post(struct neap_waker *k)
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

/* Under watch_lock. */
struct neap_waker *neap_waker_for(struct neap_registry *r, struct neap_loop *loop)
{
    neap_list_foreach(&r->wakers, l)
    {
        struct neap_waker *k = neap_list_entry(l, struct neap_waker, link);
        if (k->loop != loop)
            continue;
        pthread_mutex_lock(&k->lock);
        k->refs++;
        pthread_mutex_unlock(&k->lock);
        return k;
    }
    struct neap_waker *k = neap_calloc(1, sizeof(*k));
    k->loop = loop;
    k->refs = 2; /* the list's and the watch's */
    pthread_mutex_init(&k->lock, NULL);
    neap_list_init(&k->ready);
    neap_list_append(&r->wakers, &k->link);
    return k;
}

void neap_waker_forget(struct neap_waker *k, struct neap_watch *w)
{
    pthread_mutex_lock(&k->lock);
    neap_list_remove(&w->ready);
    pthread_mutex_unlock(&k->lock);
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
        neap_waker_post(neap_list_entry(l, struct neap_waker, link));
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
    neap_list_foreach(&r->wakers, l)
    {
        neap_list_remove(l);
        neap_waker_unref(neap_list_entry(l, struct neap_waker, link));
    }
    for (unsigned i = 0; i < r->resource_count; i++) {
        neap_map_done(&r->resources[i].buckets, NULL);
        free(r->resources[i].by_field);
    }
}
