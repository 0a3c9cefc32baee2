/* Sandboxes that no pod of the API owns, from before a restart of the agent: taken away, and tried again until they
 * are. */
#include "node_internal.h"

enum { RETRY_MS = 1000, RETRY_MAX_MS = 30000, LAST_TRIES = 5 };

struct orphan {
    struct neap_list link; /* of node->orphans */
    struct neap_op op;
    struct neap_node *node;
    struct neap_timer *timer;
    uint64_t backoff_ms;
    char *id;
    int step;
    unsigned tries;
};

static void orphan_free(struct orphan *x)
{
    neap_list_remove(&x->link);
    neap_timer_close(x->timer);
    free(x->id);
    free(x);
}

static void orphan_done(struct neap_op *op, int code, const char *message);

static void take_away(void *arg)
{
    struct orphan *x = arg;
    struct neap_node *n = x->node;
    const struct neap_node_options *o = &n->options;
    x->op = (struct neap_op){.data = x, .done = orphan_done};
    if (x->step == 0 && !o->network)
        x->step++;
    if (x->step == 0)
        o->network->detach(n->network, x->id, &x->op);
    else if (x->step == 1)
        o->runtime->sandbox_stop(n->runtime, x->id, &x->op);
    else
        o->runtime->sandbox_remove(n->runtime, x->id, &x->op);
}

static void retry(struct orphan *x)
{
    x->backoff_ms = x->backoff_ms ? x->backoff_ms * 2 : RETRY_MS;
    if (x->backoff_ms > RETRY_MAX_MS)
        x->backoff_ms = RETRY_MAX_MS;
    if (!x->timer)
        x->timer = neap_timer_new(x->node->options.loop, take_away, x);
    neap_timer_start(x->timer, x->backoff_ms, 0);
}

static void orphan_done(struct neap_op *op, int code, const char *message)
{
    struct orphan *x = op->data;
    struct neap_node *n = x->node;
    if (code)
        NEAP_WARN("agent", "a pod that is gone could not be removed", "uid=%s err=%s", x->id,
                  neap_log_quote(message ? message : ""));
    if (code && (!n->stopping || ++x->tries < LAST_TRIES)) {
        retry(x);
        return;
    }
    if (x->step++ < 2) {
        take_away(x);
        return;
    }
    NEAP_CLEANUP_FREE char *uid = neap_strdup(x->id);
    orphan_free(x);
    if (n->synced) /* the API has no such pod: its files go too */
        trees_remove_pod(n, uid, NULL);
    node_check_stopped(n);
}

bool orphan_known(const struct neap_node *n, const char *uid)
{
    neap_list_foreach(&n->orphans, it)
    {
        if (strcmp(neap_list_entry(it, struct orphan, link)->id, uid) == 0)
            return true;
    }
    return false;
}

static void found_sandbox(void *arg, const struct neap_runtime_sandbox_status *s)
{
    struct neap_node *n = arg;
    if (neap_map_get(&n->pods, s->id) || orphan_known(n, s->id))
        return;
    struct orphan *x = neap_calloc(1, sizeof(*x));
    x->node = n;
    x->id = neap_strdup(s->id);
    neap_list_append(&n->orphans, &x->link);
    NEAP_INFO("agent", "removing a pod that is gone", "uid=%s", s->id);
}

static void found_container(void *arg, const struct neap_runtime_container_status *s)
{
    (void)arg;
    (void)s;
}

void orphans_remove(struct neap_node *n)
{
    n->options.runtime->list(n->runtime, found_sandbox, found_container, n);
    neap_list_foreach(&n->orphans, it)
    {
        struct orphan *x = neap_list_entry(it, struct orphan, link);
        if (!x->op.done)
            take_away(x);
    }
}

void orphans_free(struct neap_node *n)
{
    while (!neap_list_empty(&n->orphans))
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it sees no list_remove()
        orphan_free(neap_list_entry(n->orphans.next, struct orphan, link));
}
