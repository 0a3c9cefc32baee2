/* Watches: cursors into the rings. See watch_internal.h. */
#include "core/registry/watch_internal.h"

/* ---- watches ---- */

/* Sets the cursor to the first event after <after>; false: it is gone. */
static bool seek(struct neap_watch *w)
{
    struct neap_ring *ring = &w->resource->ring;
    uint64_t lo = ring->tail, hi = ring->head;
    if (w->after < ring->evicted)
        return false;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (neap_ring_event_at(ring, mid)->revision <= w->after)
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
        w->waker = neap_waker_for(r, options->loop);
        neap_watch_bucket_join(w);
        w->idle = w->cursor == res->ring.head;
        if (!w->idle) {
            neap_watch_make_ready(w);
            neap_waker_post(w->waker);
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
        *ret = *neap_ring_event_at(ring, w->cursor++);
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
    neap_watch_bucket_leave(w);
    neap_waker_forget(w->waker, w);
    pthread_mutex_unlock(&w->r->watch_lock);
    neap_registry_metrics_watchers(w->resource->kind, -1);
    neap_waker_unref(w->waker);
    free(w->namespace_);
    free(w);
}
