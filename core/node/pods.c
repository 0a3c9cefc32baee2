/* Which pods there are: the API's, and those that the runtime still has. */
#include "node_internal.h"

static void on_pod(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct neap_node *n = arg;
    struct pod *p = neap_map_get(&n->pods, neap_object_uid(o));
    if (type == NEAP_DELETED) {
        if (p)
            pod_forget(p);
        return;
    }
    if (p) {
        pod_update(p, o);
        return;
    }
    p = pod_new(n, o);
    neap_map_set(&n->pods, p->uid, p);
    pod_update(p, o);
}

/* ---- sandboxes that no pod of the API owns are taken away ---- */

struct orphan {
    struct neap_op op;
    struct neap_node *node;
    char *id;
    int step;
};

static void orphan_next(struct neap_op *op, int code, const char *message)
{
    struct orphan *x = op->data;
    struct neap_node *n = x->node;
    if (code)
        NEAP_WARN("agent", "a pod that is gone could not be removed", "uid=%s err=%s", x->id,
                  neap_log_quote(message ? message : ""));
    x->op = (struct neap_op){.data = x, .done = orphan_next};
    switch (x->step++) {
    case 0:
        n->options.runtime->sandbox_stop(n->runtime, x->id, &x->op);
        return;
    case 1:
        n->options.runtime->sandbox_remove(n->runtime, x->id, &x->op);
        return;
    default:
        n->removing--;
        free(x->id);
        free(x);
        node_check_stopped(n);
    }
}

static void found_sandbox(void *arg, const struct neap_runtime_sandbox_status *s)
{
    struct neap_node *n = arg;
    if (neap_map_get(&n->pods, s->id))
        return;
    struct orphan *x = neap_calloc(1, sizeof(*x));
    x->node = n;
    x->id = neap_strdup(s->id);
    x->op = (struct neap_op){.data = x, .done = orphan_next};
    n->removing++;
    NEAP_INFO("agent", "removing a pod that is gone", "uid=%s", s->id);
    if (n->options.network)
        n->options.network->detach(n->network, x->id, &x->op);
    else
        orphan_next(&x->op, 0, NULL);
}

static void found_container(void *arg, const struct neap_runtime_container_status *s)
{
    (void)arg;
    (void)s;
}

void pods_remove_orphans(struct neap_node *n)
{
    n->options.runtime->list(n->runtime, found_sandbox, found_container, n);
}

static void on_synced(void *arg, uint64_t revision)
{
    struct neap_node *n = arg;
    (void)revision;
    if (n->synced)
        return;
    n->synced = true;
    pods_remove_orphans(n);
}

static void failed(void *arg, const struct neap_err *err)
{
    (void)arg;
    NEAP_WARN("agent", "pods cannot be watched, trying again", "err=%s",
              neap_log_quote(err->message ? err->message : ""));
}

int pods_watch(struct neap_node *n)
{
    char selector[320];
    snprintf(selector, sizeof(selector), "spec.nodeName=%s", n->options.name);
    struct neap_reflector_options o = {.kind = neap_kind_by_resource("", "v1", "pods"),
                                       .field_selector = selector,
                                       .loop = n->options.loop,
                                       .event = on_pod,
                                       .synced = on_synced,
                                       .error = failed,
                                       .arg = n};
    n->pods_watch = n->options.client->reflect(n->options.client, &o);
    return 0;
}

struct pod *pod_by_container(struct neap_node *n, const char *id, struct container **ret)
{
    char uid[128];
    const char *bar = strchr(id, '_');
    if (!bar || bar - id >= (ptrdiff_t)sizeof(uid))
        return NULL;
    snprintf(uid, sizeof(uid), "%.*s", (int)(bar - id), id);
    struct pod *p = neap_map_get(&n->pods, uid);
    for (unsigned i = 0; p && i < p->count; i++)
        if (neap_streq(p->containers[i].id, id))
            *ret = &p->containers[i];
    return p;
}

struct pod *pod_by_name(struct neap_node *n, const char *ns, const char *name)
{
    size_t at = 0;
    const char *key;
    void *value;
    struct pod *found = NULL;
    while (neap_map_next(&n->pods, &at, &key, &value)) {
        struct pod *p = value;
        if (strcmp(p->ns, ns) == 0 && strcmp(p->name, name) == 0 && (!found || !p->forgotten))
            found = p;
    }
    return found;
}

static void free_pod(void *p)
{
    pod_free(p);
}

void pods_free(struct neap_node *n)
{
    neap_map_done(&n->pods, free_pod);
}
