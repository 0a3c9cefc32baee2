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

static void on_synced(void *arg, uint64_t revision)
{
    struct neap_node *n = arg;
    (void)revision;
    if (n->synced)
        return;
    n->synced = true;
    orphans_remove(n);
    trees_sweep(n);
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
