/* Nodes: what they have and what is used of it; the order in which they are looked at. */
#include "sched_internal.h"

static int64_t quantity(yyjson_val *v, int resource)
{
    int64_t out = 0;
    if (!yyjson_is_str(v))
        return 0;
    if (resource == NEAP_SCHED_CPU)
        neap_quantity_milli(yyjson_get_str(v), yyjson_get_len(v), &out);
    else
        neap_quantity_value(yyjson_get_str(v), yyjson_get_len(v), &out);
    return out;
}

static bool read_allocatable(struct neap_sched *s, struct neap_sched_node *n, yyjson_val *root)
{
    int64_t before[SCHED_RESOURCES_MAX];
    size_t i, count;
    yyjson_val *k, *v;
    memcpy(before, n->allocatable, sizeof(before));
    memset(n->allocatable, 0, sizeof(n->allocatable));
    yyjson_obj_foreach(neap_json_val_at(root, "status.allocatable"), i, count, k, v)
    {
        int r = sched_resource(s, yyjson_get_str(k), true);
        if (r >= 0)
            n->allocatable[r] = quantity(v, r);
    }
    return memcmp(before, n->allocatable, sizeof(before)) != 0;
}

/* ---- images ---- */

static void count_image(struct neap_sched *s, const char *name, int sign)
{
    uintptr_t nodes = (uintptr_t)neap_map_get(&s->images, name) + (uintptr_t)sign;
    if (nodes)
        neap_map_set(&s->images, name, (void *)nodes);
    else
        neap_map_del(&s->images, name);
}

static void forget_images(struct neap_sched *s, struct neap_sched_node *n)
{
    size_t at = 0;
    const char *name;
    void *value;
    while (neap_map_next(&n->images, &at, &name, &value))
        count_image(s, name, -1);
    neap_map_done(&n->images, NULL);
    n->images = (struct neap_map)NEAP_MAP_INIT;
}

static void read_images(struct neap_sched *s, struct neap_sched_node *n, yyjson_val *root)
{
    size_t i, j, count, names;
    yyjson_val *image, *name;
    forget_images(s, n);
    yyjson_arr_foreach(neap_json_val_at(root, "status.images"), i, count, image)
    {
        int64_t bytes = yyjson_get_sint(yyjson_obj_get(image, "sizeBytes"));
        yyjson_arr_foreach(yyjson_obj_get(image, "names"), j, names, name)
        {
            if (bytes > 0 && yyjson_is_str(name) &&
                !neap_map_set(&n->images, yyjson_get_str(name), (void *)(uintptr_t)bytes))
                count_image(s, yyjson_get_str(name), 1);
        }
    }
}

/* ---- a node ---- */

static bool same(yyjson_val *a, yyjson_val *b)
{
    return a == b || (a && b && yyjson_equals(a, b));
}

static const char *zone_of(yyjson_val *labels)
{
    const char *zone = yyjson_get_str(yyjson_obj_get(labels, "topology.kubernetes.io/zone"));
    return zone ? zone : "";
}

uint32_t sched_node_read(struct neap_sched *s, struct neap_sched_node *n, struct neap_object *o)
{
    yyjson_doc *before = n->doc;
    yyjson_val *labels = n->labels, *taints = n->taints;
    bool cordoned = n->unschedulable;
    uint32_t changed = 0;
    struct neap_object *old = n->object;
    n->object = neap_object_ref(o);
    n->doc = neap_object_parse(o, NULL);
    yyjson_val *root = yyjson_doc_get_root(n->doc);
    n->name = neap_object_name(n->object);
    n->labels = neap_json_val_at(root, "metadata.labels");
    n->taints = neap_json_val_at(root, "spec.taints");
    n->unschedulable = yyjson_get_bool(neap_json_val_at(root, "spec.unschedulable"));
    if (!same(labels, n->labels)) {
        changed |= NEAP_SCHED_ON_NODE_LABELS;
        free(n->domains);
        n->domains = NULL;
        n->domain_cap = 0;
        s->order_stale = true;
    }
    n->zone = zone_of(n->labels);
    if (!same(taints, n->taints) || cordoned != n->unschedulable)
        changed |= NEAP_SCHED_ON_NODE_TAINTS;
    if (read_allocatable(s, n, root))
        changed |= NEAP_SCHED_ON_NODE_SIZE;
    read_images(s, n, root);
    neap_object_unref(old);
    yyjson_doc_free(before);
    return changed;
}

struct neap_sched_node *sched_node_new(struct neap_sched *s, struct neap_object *o)
{
    struct neap_sched_node *n = neap_calloc(1, sizeof(*n));
    neap_list_init(&n->pods);
    neap_list_init(&n->nominated);
    sched_node_read(s, n, o);
    s->order_stale = true;
    return n;
}

void sched_node_free(struct neap_sched *s, struct neap_sched_node *n)
{
    s->order_stale = true;
    forget_images(s, n);
    neap_object_unref(n->object);
    yyjson_doc_free(n->doc);
    free(n->ports);
    free(n->groups);
    free(n->domains);
    free(n);
}

/* ---- what runs on it ---- */

static bool port_equal(const struct sched_port *a, const struct sched_port *b)
{
    return a->number == b->number && a->protocol == b->protocol && strcmp(a->ip, b->ip) == 0;
}

static void remove_port(struct neap_sched_node *n, const struct sched_port *port)
{
    for (size_t i = 0; i < n->port_count; i++)
        if (port_equal(&n->ports[i], port)) {
            n->ports[i] = n->ports[--n->port_count];
            return;
        }
}

static void count_ports(struct neap_sched_node *n, const struct neap_sched_pod *p, int sign)
{
    for (size_t i = 0; i < p->port_count; i++) {
        if (sign > 0) {
            n->ports = neap_grow(n->ports, &n->port_cap, n->port_count, sizeof(*n->ports));
            n->ports[n->port_count++] = p->ports[i];
        } else {
            remove_port(n, &p->ports[i]);
        }
    }
}

static void count_group(struct neap_sched_node *n, struct neap_sched_group *g, int sign)
{
    for (size_t i = 0; i < n->group_count; i++) {
        if (n->groups[i].group != g)
            continue;
        n->groups[i].pods += (unsigned)sign;
        if (!n->groups[i].pods)
            n->groups[i] = n->groups[--n->group_count];
        return;
    }
    n->groups = neap_grow(n->groups, &n->group_cap, n->group_count, sizeof(*n->groups));
    n->groups[n->group_count++] = (struct sched_group_count){g, 1};
}

void sched_node_count(struct neap_sched *s, struct neap_sched_node *n,
                      const struct neap_sched_pod *p, int sign)
{
    (void)s;
    for (size_t i = 0; i < p->amount_count; i++)
        if (p->amounts[i].resource >= 0)
            n->used[p->amounts[i].resource] += sign * p->amounts[i].value;
    n->used[NEAP_SCHED_PODS] += sign;
    n->assumed[0] += sign * p->assumed[0];
    n->assumed[1] += sign * p->assumed[1];
    count_ports(n, p, sign);
    count_group(n, p->group, sign);
}

bool sched_node_ports_free(const struct neap_sched_node *n, const struct neap_sched_pod *p)
{
    for (size_t i = 0; i < p->port_count; i++)
        for (size_t j = 0; j < n->port_count; j++) {
            const struct sched_port *a = &p->ports[i], *b = &n->ports[j];
            if (a->number == b->number && a->protocol == b->protocol &&
                (!*a->ip || !*b->ip || strcmp(a->ip, b->ip) == 0))
                return false;
        }
    return true;
}

/* ---- order: zones take turns, so that a part of the nodes is a part of every zone ---- */

static int by_zone(const void *a, const void *b)
{
    const struct neap_sched_node *x = *(struct neap_sched_node *const *)a;
    const struct neap_sched_node *y = *(struct neap_sched_node *const *)b;
    int d = strcmp(x->zone, y->zone);
    return d ? d : strcmp(x->name, y->name);
}

/* index: first the place within the zone; nodes of equal place stand together, by zone. */
static int by_place(const void *a, const void *b)
{
    const struct neap_sched_node *x = *(struct neap_sched_node *const *)a;
    const struct neap_sched_node *y = *(struct neap_sched_node *const *)b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return strcmp(x->zone, y->zone);
}

void sched_order(struct neap_sched *s)
{
    size_t at = 0, n = 0;
    const char *name;
    void *value;
    if (!s->order_stale)
        return;
    s->order_stale = false;
    while (neap_map_next(&s->nodes, &at, &name, &value)) {
        s->order = neap_grow(s->order, &s->order_cap, n, sizeof(*s->order));
        s->order[n++] = value;
    }
    s->order_count = n;
    if (n)
        qsort(s->order, n, sizeof(*s->order), by_zone);
    for (size_t i = 0; i < n; i++)
        s->order[i]->index = i && strcmp(s->order[i]->zone, s->order[i - 1]->zone) == 0
                                 ? s->order[i - 1]->index + 1
                                 : 0;
    if (n)
        qsort(s->order, n, sizeof(*s->order), by_place);
    for (size_t i = 0; i < n; i++)
        s->order[i]->index = (unsigned)i;
    if (s->next_node >= n)
        s->next_node = 0;
}
