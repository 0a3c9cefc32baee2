/* What the watches say becomes nodes, pods counted on them, and pods in the queue. */
#include "sched_internal.h"

/* ---- counting ---- */

void sched_uncount(struct neap_sched *s, struct neap_sched_pod *p)
{
    if (p->node) {
        sched_node_count(s, p->node, p, -1);
        neap_list_remove(&p->on_node);
        p->node = NULL;
    }
    free(p->node_name);
    p->node_name = NULL;
}

static void attach(struct neap_sched *s, struct neap_sched_pod *p, struct neap_sched_node *n)
{
    p->node = n;
    neap_list_append(&n->pods, &p->on_node);
    sched_node_count(s, n, p, 1);
}

void sched_count(struct neap_sched *s, struct neap_sched_pod *p, const char *node)
{
    sched_uncount(s, p);
    struct neap_sched_node *n = neap_map_get(&s->nodes, node);
    p->node_name = neap_strdup(node);
    if (n)
        attach(s, p, n);
}

void sched_nominate(struct neap_sched *s, struct neap_sched_pod *p, const char *node)
{
    neap_list_remove(&p->nomination);
    p->nominated = node && *node ? neap_map_get(&s->nodes, node) : NULL;
    if (p->nominated)
        neap_list_append(&p->nominated->nominated, &p->nomination);
    if (neap_streq(p->nominated_name, node))
        return;
    free(p->nominated_name);
    p->nominated_name = node && *node ? neap_strdup(node) : NULL;
}

/* ---- pods ---- */

static void drop(struct neap_sched *s, struct neap_sched_pod *p)
{
    sched_uncount(s, p);
    sched_nominate(s, p, NULL);
    sched_state(s, p, SCHED_IDLE);
    s->counts[SCHED_IDLE]--;
    sched_pod_free(s, p);
}

static void pod_gone(struct neap_sched *s, const char *key)
{
    struct neap_sched_pod *p = neap_map_get(&s->pods, key);
    if (!p)
        return;
    bool placed = p->node_name != NULL;
    if (p->state == SCHED_PERMIT || p->state == SCHED_BINDING)
        sched_unreserve(s, p);
    sched_uncount(s, p);
    bool nominated = p->nominated != NULL;
    sched_nominate(s, p, NULL);
    sched_state(s, p, SCHED_IDLE);
    if (placed || nominated)
        sched_event(s, NEAP_SCHED_ON_POD_DELETE, NULL, p);
    neap_map_del(&s->pods, key);
    drop(s, p);
}

static struct neap_sched_pod *pod_new(struct neap_sched *s, const char *key)
{
    struct neap_sched_pod *p = neap_calloc(1, sizeof(*p));
    neap_list_init(&p->link);
    neap_list_init(&p->on_node);
    neap_list_init(&p->nomination);
    p->state = SCHED_IDLE;
    s->counts[SCHED_IDLE]++;
    neap_map_set(&s->pods, key, p);
    return p;
}

/* The part of a waiting pod that decides where it fits: not its status. */
static bool same_wish(yyjson_val *a, yyjson_val *b)
{
    static const char *const paths[] = {"spec", "metadata.labels", "metadata.annotations"};
    for (size_t i = 0; a && i < NEAP_ARRAY_LEN(paths); i++) {
        yyjson_val *x = neap_json_val_at(a, paths[i]), *y = neap_json_val_at(b, paths[i]);
        if (x != y && !(x && y && yyjson_equals(x, y)))
            return false;
    }
    return a != NULL;
}

/* What a bound pod's change may mean to pods that wait. */
struct before {
    struct neap_sched_group *group;
    int64_t used[SCHED_RESOURCES_MAX];
    bool counted;
};

static void used_by(const struct neap_sched_pod *p, int64_t *out)
{
    memset(out, 0, SCHED_RESOURCES_MAX * sizeof(*out));
    for (size_t i = 0; i < p->amount_count; i++)
        if (p->amounts[i].resource >= 0)
            out[p->amounts[i].resource] += p->amounts[i].value;
}

static uint32_t bound_changed(const struct neap_sched_pod *p, const struct before *b)
{
    int64_t now[SCHED_RESOURCES_MAX];
    uint32_t event = 0;
    if (!b->counted)
        return NEAP_SCHED_ON_POD_ADD;
    if (p->group != b->group)
        event |= NEAP_SCHED_ON_POD_LABELS;
    used_by(p, now);
    for (int i = 0; i < SCHED_RESOURCES_MAX; i++)
        if (now[i] < b->used[i])
            event |= NEAP_SCHED_ON_POD_SHRINK;
    return event;
}

static void bound(struct neap_sched *s, struct neap_sched_pod *p, const char *node, bool over,
                  const struct before *b)
{
    bool mine = p->state == SCHED_BINDING;
    if (over) {
        sched_uncount(s, p);
        if (b->counted)
            sched_event(s, NEAP_SCHED_ON_POD_DELETE, NULL, p);
    } else {
        sched_count(s, p, node);
    }
    sched_nominate(s, p, NULL);
    if (p->state == SCHED_PERMIT)
        sched_unreserve(s, p);
    sched_state(s, p, SCHED_BOUND);
    uint32_t event = over ? 0 : mine ? NEAP_SCHED_ON_POD_ADD : bound_changed(p, b);
    if (event)
        sched_event(s, event, p->node, p);
}

static bool ours(const struct neap_sched *s, yyjson_val *root)
{
    return neap_streq(neap_json_val_str_at(root, "spec.schedulerName"), s->options.scheduler_name);
}

/* A pod without a node, and without a decision under way. */
static void waiting(struct neap_sched *s, struct neap_sched_pod *p, bool changed)
{
    yyjson_val *root = yyjson_doc_get_root(p->doc);
    const char *phase = neap_json_val_str_at(root, "status.phase");
    bool over = neap_streq(phase, "Succeeded") || neap_streq(phase, "Failed");
    sched_uncount(s, p);
    if (over || neap_object_deleting(p->object) || !ours(s, root)) {
        sched_nominate(s, p, NULL);
        sched_state(s, p, SCHED_IDLE);
        return;
    }
    sched_nominate(s, p, neap_json_val_str_at(root, "status.nominatedNodeName"));
    if (yyjson_arr_size(neap_json_val_at(root, "spec.schedulingGates"))) {
        if (p->state != SCHED_GATED) {
            sched_state(s, p, SCHED_GATED);
            neap_metric_add(&sched_metrics[SCHED_M_INCOMING], 1, "gated", "PodAdd");
        }
        sched_tell_unschedulable(s, p, "SchedulingGated",
                                 "Scheduling is blocked due to non-empty scheduling gates");
        return;
    }
    if (p->state == SCHED_IDLE || p->state == SCHED_GATED)
        sched_enqueue(s, p, "PodAdd");
    else if (changed) /* its own status being written is no reason to try again */
        sched_enqueue(s, p, "PodUpdate");
}

void sched_on_pod(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct neap_sched *s = arg;
    const char *key = neap_object_key(o);
    struct neap_sched_pod *p = neap_map_get(&s->pods, key);
    if (type == NEAP_DELETED ||
        (p && strcmp(neap_object_uid(p->object), neap_object_uid(o)) != 0)) {
        pod_gone(s, key);
        p = NULL;
        if (type == NEAP_DELETED)
            return;
    }
    if (!p)
        p = pod_new(s, key);
    yyjson_doc *doc = neap_object_parse(o, NULL), *old_doc = p->doc;
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool changed = !same_wish(yyjson_doc_get_root(old_doc), root);
    struct neap_object *old = p->object;
    struct before b = {.group = p->group, .counted = p->node_name && p->state != SCHED_BINDING};
    struct neap_sched_node *n = p->node;
    used_by(p, b.used);
    if (n)
        sched_node_count(s, n, p, -1);
    p->object = neap_object_ref(o);
    if (b.group)
        b.group->refs++; /* compared below */
    sched_pod_read(s, p, root);
    if (n)
        sched_node_count(s, n, p, 1);
    neap_object_unref(old);
    yyjson_doc_free(old_doc);
    p->doc = doc;
    const char *node = neap_json_val_str_at(root, "spec.nodeName");
    const char *phase = neap_json_val_str_at(root, "status.phase");
    if (node && *node)
        bound(s, p, node, neap_streq(phase, "Succeeded") || neap_streq(phase, "Failed"), &b);
    else if (p->state == SCHED_PERMIT && neap_object_deleting(o))
        sched_permitted(s, p, false, "the pod is being deleted");
    else if (p->state != SCHED_BINDING && p->state != SCHED_PERMIT)
        waiting(s, p, changed);
    sched_group_release(s, b.group);
    if (p->state == SCHED_BOUND) {
        yyjson_doc_free(p->doc);
        p->doc = NULL;
    }
}

/* ---- nodes ---- */

static void adopt(struct neap_sched *s, struct neap_sched_node *n)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (neap_map_next(&s->pods, &at, &key, &value)) {
        struct neap_sched_pod *p = value;
        if (!p->node && neap_streq(p->node_name, n->name))
            attach(s, p, n);
        if (neap_streq(p->nominated_name, n->name))
            sched_nominate(s, p, n->name);
    }
}

static void detach(struct neap_sched_node *n)
{
    neap_list_foreach(&n->pods, e)
    {
        struct neap_sched_pod *p = neap_list_entry(e, struct neap_sched_pod, on_node);
        neap_list_remove(&p->on_node);
        p->node = NULL;
    }
    neap_list_foreach(&n->nominated, e)
    {
        struct neap_sched_pod *p = neap_list_entry(e, struct neap_sched_pod, nomination);
        neap_list_remove(&p->nomination);
        p->nominated = NULL;
    }
}

void sched_on_node(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct neap_sched *s = arg;
    const char *name = neap_object_name(o);
    struct neap_sched_node *n = neap_map_get(&s->nodes, name);
    uint32_t event = NEAP_SCHED_ON_NODE_ADD;
    if (type == NEAP_DELETED) {
        if (!n)
            return;
        detach(n);
        neap_map_del(&s->nodes, name);
        sched_node_free(s, n);
        sched_event(s, NEAP_SCHED_ON_NODE_DELETE, NULL, NULL);
        return;
    }
    if (n) {
        event = sched_node_read(s, n, o);
    } else {
        n = sched_node_new(s, o);
        neap_map_set(&s->nodes, name, n);
        adopt(s, n);
    }
    if (event)
        sched_event(s, event, n, NULL);
}

void sched_cache_free(struct neap_sched *s)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (neap_map_next(&s->nodes, &at, &key, &value))
        detach(value);
    for (at = 0; neap_map_next(&s->pods, &at, &key, &value);)
        drop(s, value);
    neap_map_done(&s->pods, NULL);
    for (at = 0; neap_map_next(&s->nodes, &at, &key, &value);)
        sched_node_free(s, value);
    neap_map_done(&s->nodes, NULL);
}
