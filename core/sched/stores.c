/* Objects beside pods and nodes that decisions look at: kept as they come, parsed when first needed. */
#include "sched_internal.h"

static const struct {
    const char *group, *version, *resource;
} kinds[SCHED_STORES] = {
    [SCHED_SERVICES] = {"", "v1", "services"},
    [SCHED_NAMESPACES] = {"", "v1", "namespaces"},
    [SCHED_REPLICASETS] = {"apps", "v1", "replicasets"},
    [SCHED_STATEFULSETS] = {"apps", "v1", "statefulsets"},
    [SCHED_CONTROLLERS] = {"", "v1", "replicationcontrollers"},
    [SCHED_BUDGETS] = {"policy", "v1", "poddisruptionbudgets"},
};

static void stored_free(void *arg)
{
    struct sched_stored *o = arg;
    neap_object_unref(o->object);
    yyjson_doc_free(o->doc);
    free(o);
}

yyjson_val *sched_stored_value(struct sched_stored *o)
{
    if (o && !o->doc)
        o->doc = neap_object_parse(o->object, NULL);
    return o ? yyjson_doc_get_root(o->doc) : NULL;
}

static bool labels_changed(struct sched_stored *a, struct sched_stored *b)
{
    yyjson_val *x = neap_json_val_at(sched_stored_value(a), "metadata.labels");
    yyjson_val *y = neap_json_val_at(sched_stored_value(b), "metadata.labels");
    return a && x != y && !(x && y && yyjson_equals(x, y));
}

static void on_object(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct sched_store_state *st = arg;
    struct sched_stored *n = NULL, *old;
    if (type != NEAP_DELETED) {
        n = neap_calloc(1, sizeof(*n));
        n->object = neap_object_ref(o);
        old = neap_map_set(&st->objects, neap_object_key(o), n);
    } else {
        old = neap_map_del(&st->objects, neap_object_key(o));
    }
    if (n && st->which == SCHED_NAMESPACES && labels_changed(old, n))
        sched_event(st->sched, NEAP_SCHED_ON_NAMESPACE, NULL, NULL);
    if (old)
        stored_free(old);
}

static void on_synced(void *arg, uint64_t revision)
{
    struct sched_store_state *st = arg;
    (void)revision;
    st->synced = true;
    sched_wake(st->sched);
}

void sched_stores_start(struct neap_sched *s)
{
    struct neap_client *c = s->options.client;
    for (int i = 0; i < SCHED_STORES; i++) {
        struct sched_store_state *st = &s->stores[i];
        st->sched = s;
        st->which = (enum sched_store)i;
        struct neap_reflector_options o = {
            .kind = neap_kind_by_resource(kinds[i].group, kinds[i].version, kinds[i].resource),
            .loop = s->options.loop,
            .event = on_object,
            .synced = on_synced,
            .arg = st};
        st->watch = c->reflect(c, &o);
    }
}

bool sched_stores_synced(const struct neap_sched *s)
{
    for (int i = 0; i < SCHED_STORES; i++)
        if (!s->stores[i].synced)
            return false;
    return true;
}

void sched_stores_stop(struct neap_sched *s)
{
    for (int i = 0; i < SCHED_STORES; i++)
        s->options.client->reflect_stop(s->options.client, s->stores[i].watch);
}

void sched_stores_free(struct neap_sched *s)
{
    for (int i = 0; i < SCHED_STORES; i++)
        neap_map_done(&s->stores[i].objects, stored_free);
}

yyjson_val *sched_stored(struct neap_sched *s, enum sched_store which, const char *ns,
                         const char *name)
{
    NEAP_CLEANUP_BUF struct neap_buf key = NEAP_BUF_INIT;
    neap_object_key_make(
        &key,
        neap_kind_by_resource(kinds[which].group, kinds[which].version, kinds[which].resource), ns,
        name);
    return sched_stored_value(neap_map_get(&s->stores[which].objects, key.data));
}

/* ---- the pods that are spread together: those of the same Services and controller ---- */

static void add_requirement(struct neap_buf *b, yyjson_val *k, yyjson_val *v)
{
    if (b->len)
        neap_buf_char(b, ',');
    neap_buf_str(b, "{\"operator\":\"In\",\"key\":");
    neap_buf_json_string(b, yyjson_get_str(k), yyjson_get_len(k));
    neap_buf_str(b, ",\"values\":[");
    neap_buf_json_string(b, yyjson_get_str(v), yyjson_get_len(v));
    neap_buf_str(b, "]}");
}

static void add_map(struct neap_buf *b, yyjson_val *map)
{
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(map, i, n, k, v)
    {
        if (yyjson_is_str(v))
            add_requirement(b, k, v);
    }
}

static bool selects(yyjson_val *selector, yyjson_val *labels)
{
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(selector, i, n, k, v)
    {
        yyjson_val *have = yyjson_obj_getn(labels, yyjson_get_str(k), yyjson_get_len(k));
        if (!have || !yyjson_equals(have, v))
            return false;
    }
    return yyjson_obj_size(selector) > 0;
}

static void add_services(struct neap_sched *s, const struct neap_sched_group *g, struct neap_buf *b)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (neap_map_next(&s->stores[SCHED_SERVICES].objects, &at, &key, &value)) {
        struct sched_stored *o = value;
        if (strcmp(neap_object_namespace(o->object), g->namespace_) != 0)
            continue;
        yyjson_val *selector = neap_json_val_at(sched_stored_value(o), "spec.selector");
        if (selects(selector, g->labels))
            add_map(b, selector);
    }
}

static void add_controller(struct neap_sched *s, const struct neap_sched_pod *p, struct neap_buf *b)
{
    static const struct {
        const char *kind;
        enum sched_store store;
    } owners[] = {{"ReplicaSet", SCHED_REPLICASETS},
                  {"StatefulSet", SCHED_STATEFULSETS},
                  {"ReplicationController", SCHED_CONTROLLERS}};
    const struct neap_owner *owner = neap_object_controller(p->object);
    for (size_t i = 0; owner && i < NEAP_ARRAY_LEN(owners); i++) {
        if (strcmp(owner->kind, owners[i].kind) != 0)
            continue;
        yyjson_val *o = sched_stored(s, owners[i].store, p->group->namespace_, owner->name);
        yyjson_val *selector = neap_json_val_at(o, "spec.selector"), *e;
        size_t j, n;
        if (owners[i].store == SCHED_CONTROLLERS) {
            add_map(b, selector);
            return;
        }
        add_map(b, yyjson_obj_get(selector, "matchLabels"));
        yyjson_arr_foreach(yyjson_obj_get(selector, "matchExpressions"), j, n, e)
        {
            size_t len;
            char *text = yyjson_val_write(e, 0, &len);
            if (b->len)
                neap_buf_char(b, ',');
            neap_buf_append(b, text, len);
            free(text);
        }
        return;
    }
}

struct neap_sched_selector *sched_selector_of_owners(struct neap_sched *s,
                                                     const struct neap_sched_pod *p)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT, all = NEAP_BUF_INIT;
    struct neap_selector *out = NULL;
    add_services(s, p->group, &b);
    add_controller(s, p, &b);
    if (!b.len)
        return NULL;
    neap_buf_printf(&all, "{\"matchExpressions\":[%s]}", b.data);
    yyjson_doc *doc = yyjson_read(all.data, all.len, 0);
    neap_selector_from_label_selector(yyjson_doc_get_root(doc), &out, NULL);
    yyjson_doc_free(doc);
    return (struct neap_sched_selector *)(void *)out;
}
