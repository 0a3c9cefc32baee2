/* One write to a key at a time: a second waits its turn instead of conflicting. design.md section 5. */
#include "internal.h"

struct rest_busy {
    struct neap_list waiting;
};

static void cancelled(struct neap_call *c)
{
    rest_busy_cancel(rest_call_of(c)->write);
}

bool rest_busy_take(struct rest_write *w)
{
    struct neap_rest *r = rest_of(w->call);
    struct rest_busy *b = neap_map_get(&r->busy_keys, w->key.data);
    if (w->holds_key)
        return true;
    if (!b) {
        b = neap_malloc(sizeof(*b));
        neap_list_init(&b->waiting);
        neap_map_set(&r->busy_keys, w->key.data, b);
        w->holds_key = true;
        return true;
    }
    neap_list_append(&b->waiting, &w->waiting);
    w->queued = true;
    w->call->on_cancel = cancelled;
    return false;
}

static void run_queued(void *arg)
{
    rest_write_run(arg);
}

void rest_busy_release(struct rest_write *w)
{
    struct neap_rest *r = rest_of(w->call);
    if (!w->holds_key)
        return;
    w->holds_key = false;
    struct rest_busy *b = neap_map_get(&r->busy_keys, w->key.data);
    if (neap_list_empty(&b->waiting)) {
        free(neap_map_del(&r->busy_keys, w->key.data));
        return;
    }
    struct rest_write *next = neap_list_entry(b->waiting.next, struct rest_write, waiting);
    neap_list_remove(&next->waiting);
    next->queued = false;
    next->holds_key = true;
    next->call->on_cancel = NULL;
    /* by post: a row of failing writers must not recurse */
    neap_loop_post(w->call->loop, run_queued, next);
}

void rest_busy_cancel(struct rest_write *w)
{
    if (!w->queued)
        return;
    neap_list_remove(&w->waiting);
    w->queued = false;
    neap_buf_done(&w->key);
    rest_fail_with(w->call, NEAP_ECANCELLED, "the client went away");
}
