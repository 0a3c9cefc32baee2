/* The functions by which plugins see pods, nodes and what runs where: neap/plugin/scheduler.h. */
#include "sched_internal.h"

/* ---- values ---- */

static const struct neap_value *out(yyjson_val *v)
{
    return (const struct neap_value *)(const void *)v;
}

static yyjson_val *in(const struct neap_value *v)
{
    return (yyjson_val *)(void *)(uintptr_t)v;
}

static const struct neap_value *value_get(const struct neap_value *o, const char *name)
{
    return out(yyjson_obj_get(in(o), name));
}

static const struct neap_value *value_at(const struct neap_value *o, const char *path)
{
    return out(o ? neap_json_val_at(in(o), path) : NULL);
}

static const char *value_text(const struct neap_value *v)
{
    return yyjson_get_str(in(v));
}

static int64_t value_integer(const struct neap_value *v)
{
    return yyjson_get_sint(in(v));
}

static bool value_boolean(const struct neap_value *v)
{
    return yyjson_get_bool(in(v));
}

static size_t value_size(const struct neap_value *v)
{
    return yyjson_is_arr(in(v)) ? yyjson_arr_size(in(v)) : yyjson_obj_size(in(v));
}

static const struct neap_value *value_next(const struct neap_value *of,
                                           const struct neap_value *after, const char **ret_key)
{
    yyjson_val *c = in(of), *v;
    if (!yyjson_is_ctn(c) || value_size(of) == 0)
        return NULL;
    v = after ? unsafe_yyjson_get_next(in(after)) : unsafe_yyjson_get_first(c);
    if (v == unsafe_yyjson_get_next(c))
        return NULL;
    if (yyjson_is_obj(c)) {
        if (ret_key)
            *ret_key = yyjson_get_str(v);
        v++; /* the value stands behind its key */
    }
    return out(v);
}

/* ---- pods ---- */

static const struct neap_object *pod_object(const struct neap_sched_pod *p)
{
    return p->object;
}

static const struct neap_value *pod_value(const struct neap_sched_pod *p)
{
    return out(yyjson_doc_get_root(p->doc));
}

static const struct neap_sched_group *pod_group(const struct neap_sched_pod *p)
{
    return p->group;
}

static int64_t pod_priority(const struct neap_sched_pod *p)
{
    return p->priority;
}

static unsigned pod_amounts(const struct neap_sched_pod *p, const struct neap_sched_amount **ret)
{
    *ret = p->amounts;
    return (unsigned)p->amount_count;
}

static int64_t pod_assumed(const struct neap_sched_pod *p, int resource)
{
    return resource == NEAP_SCHED_CPU || resource == NEAP_SCHED_MEMORY ? p->assumed[resource] : 0;
}

static bool pod_has_ports(const struct neap_sched_pod *p)
{
    return p->port_count > 0;
}

/* ---- nodes ---- */

static size_t node_count(void *ctx)
{
    const struct neap_sched *s = ctx;
    return s->order_count;
}

static const struct neap_sched_node *node_by_index(void *ctx, size_t i)
{
    const struct neap_sched *s = ctx;
    return i < s->order_count ? s->order[i] : NULL;
}

static unsigned node_index(const struct neap_sched_node *n)
{
    return n->index;
}

static const struct neap_object *node_object(const struct neap_sched_node *n)
{
    return n->object;
}

static const struct neap_value *node_value(const struct neap_sched_node *n)
{
    return out(yyjson_doc_get_root(n->doc));
}

static const char *node_name(const struct neap_sched_node *n)
{
    return n->name;
}

static const char *node_label(const struct neap_sched_node *n, const char *key)
{
    return yyjson_get_str(yyjson_obj_get(n->labels, key));
}

static const struct neap_value *node_taints(const struct neap_sched_node *n)
{
    return out(n->taints);
}

static bool node_unschedulable(const struct neap_sched_node *n)
{
    return n->unschedulable;
}

static int64_t node_allocatable(const struct neap_sched_node *n, int r)
{
    return r >= 0 && r < SCHED_RESOURCES_MAX ? n->allocatable[r] : 0;
}

static int64_t node_requested(const struct neap_sched_node *n, int r)
{
    return r >= 0 && r < SCHED_RESOURCES_MAX ? n->used[r] : 0;
}

static int64_t node_assumed(const struct neap_sched_node *n, int r)
{
    return r == NEAP_SCHED_CPU || r == NEAP_SCHED_MEMORY ? n->assumed[r] : 0;
}

static int64_t node_image(const struct neap_sched_node *n, const char *name)
{
    return (int64_t)(uintptr_t)neap_map_get(&n->images, name);
}

static unsigned image_nodes(void *ctx, const char *name)
{
    const struct neap_sched *s = ctx;
    return (unsigned)(uintptr_t)neap_map_get(&s->images, name);
}

/* ---- groups ---- */

static unsigned node_groups(const struct neap_sched_node *n)
{
    return (unsigned)n->group_count;
}

static const struct neap_sched_group *node_group(const struct neap_sched_node *n, unsigned i,
                                                 unsigned *ret_pods)
{
    *ret_pods = n->groups[i].pods;
    return n->groups[i].group;
}

static unsigned group_index(const struct neap_sched_group *g)
{
    return g->index;
}

static unsigned group_max(void *ctx)
{
    const struct neap_sched *s = ctx;
    return s->group_max;
}

static const char *group_namespace(const struct neap_sched_group *g)
{
    return g->namespace_;
}

static const struct neap_value *group_labels(const struct neap_sched_group *g)
{
    return out(g->labels);
}

static const struct neap_value *group_affinity(const struct neap_sched_group *g)
{
    return out(g->affinity);
}

static bool group_terminating(const struct neap_sched_group *g)
{
    return g->terminating;
}

static unsigned groups_with_affinity(void *ctx)
{
    const struct neap_sched *s = ctx;
    return s->groups_with_affinity;
}

static const struct neap_value *namespace_labels(void *ctx, const char *name)
{
    return value_at(out(sched_stored(ctx, SCHED_NAMESPACES, NULL, name)), "metadata.labels");
}

/* ---- topology ---- */

static unsigned topology_key(void *ctx, const char *label)
{
    return sched_topology_key(ctx, label);
}

static int node_domain(void *ctx, const struct neap_sched_node *n, unsigned key)
{
    return sched_node_domain(ctx, (struct neap_sched_node *)n, key);
}

static unsigned domain_max(void *ctx)
{
    const struct neap_sched *s = ctx;
    return s->domain_count;
}

/* ---- selectors ---- */

static void add_keys(yyjson_mut_doc *doc, yyjson_mut_val *list, yyjson_val *keys,
                     yyjson_val *labels, const char *op)
{
    size_t i, n;
    yyjson_val *key;
    yyjson_arr_foreach(keys, i, n, key)
    {
        yyjson_val *have = yyjson_obj_getn(labels, yyjson_get_str(key), yyjson_get_len(key));
        if (!yyjson_is_str(have))
            continue;
        yyjson_mut_val *e = yyjson_mut_arr_add_obj(doc, list), *values = yyjson_mut_arr(doc);
        yyjson_mut_obj_add_val(doc, e, "key", yyjson_val_mut_copy(doc, key));
        yyjson_mut_obj_add_str(doc, e, "operator", op);
        yyjson_mut_arr_append(values, yyjson_val_mut_copy(doc, have));
        yyjson_mut_obj_add_val(doc, e, "values", values);
    }
}

/* The selector with the keys' requirements; freed by the caller. */
static yyjson_doc *with_keys(yyjson_val *selector, yyjson_val *match, yyjson_val *mismatch,
                             yyjson_val *labels)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_val_mut_copy(doc, selector);
    yyjson_mut_val *list = yyjson_mut_obj_get(root, "matchExpressions");
    if (!list) {
        list = yyjson_mut_arr(doc);
        yyjson_mut_obj_add_val(doc, root, "matchExpressions", list);
    }
    add_keys(doc, list, match, labels, "In");
    add_keys(doc, list, mismatch, labels, "NotIn");
    yyjson_mut_doc_set_root(doc, root);
    yyjson_doc *made = yyjson_mut_doc_imut_copy(doc, NULL);
    yyjson_mut_doc_free(doc);
    return made;
}

static struct neap_sched_selector *selector_new(const struct neap_value *selector,
                                                const struct neap_value *match,
                                                const struct neap_value *mismatch,
                                                const struct neap_value *labels)
{
    struct neap_selector *made = NULL;
    struct neap_err err = NEAP_ERR_INIT;
    yyjson_doc *doc = NULL;
    yyjson_val *from = in(selector);
    if (from && (value_size(match) || value_size(mismatch))) {
        doc = with_keys(from, in(match), in(mismatch), in(labels));
        from = yyjson_doc_get_root(doc);
    }
    if (neap_selector_from_label_selector(from, &made, &err))
        made = NULL;
    neap_err_done(&err);
    yyjson_doc_free(doc);
    return (struct neap_sched_selector *)(void *)made;
}

static bool selector_match(const struct neap_sched_selector *s, const struct neap_value *labels)
{
    return s &&
           neap_selector_match_labels((const struct neap_selector *)(const void *)s, in(labels));
}

static void selector_free(struct neap_sched_selector *s)
{
    if (s)
        neap_selector_free((struct neap_selector *)(void *)s);
}

static struct neap_sched_selector *selector_of_owners(void *ctx, const struct neap_sched_pod *p)
{
    return sched_selector_of_owners(ctx, p);
}

/* ---- answers ---- */

static void because(void *ctx, const char *text)
{
    sched_because(ctx, text);
}

static void only(void *ctx, const char *name)
{
    sched_limit(ctx, name);
}

static void decide(void *ctx, const char *uid, bool allow, const char *why)
{
    struct neap_sched *s = ctx;
    neap_list_foreach(&s->permits, e)
    {
        struct neap_sched_pod *p = neap_list_entry(e, struct neap_sched_pod, link);
        if (strcmp(neap_object_uid(p->object), uid) == 0) {
            sched_permitted(s, p, allow, why);
            return;
        }
    }
}

void sched_views_open(struct neap_sched *s)
{
    s->views = (struct neap_sched_views){
        .struct_size = sizeof(s->views),
        .ctx = s,
        .get = value_get,
        .at = value_at,
        .text = value_text,
        .integer = value_integer,
        .boolean = value_boolean,
        .size = value_size,
        .next = value_next,
        .pod_object = pod_object,
        .pod_value = pod_value,
        .pod_group = pod_group,
        .pod_priority = pod_priority,
        .pod_amounts = pod_amounts,
        .pod_assumed = pod_assumed,
        .pod_has_ports = pod_has_ports,
        .node_count = node_count,
        .node_by_index = node_by_index,
        .node_index = node_index,
        .node_object = node_object,
        .node_value = node_value,
        .node_name = node_name,
        .node_label = node_label,
        .node_taints = node_taints,
        .node_unschedulable = node_unschedulable,
        .node_allocatable = node_allocatable,
        .node_requested = node_requested,
        .node_assumed = node_assumed,
        .node_ports_free = sched_node_ports_free,
        .node_image = node_image,
        .image_nodes = image_nodes,
        .node_groups = node_groups,
        .node_group = node_group,
        .group_index = group_index,
        .group_max = group_max,
        .group_namespace = group_namespace,
        .group_labels = group_labels,
        .group_affinity = group_affinity,
        .group_terminating = group_terminating,
        .groups_with_affinity = groups_with_affinity,
        .namespace_labels = namespace_labels,
        .topology_key = topology_key,
        .node_domain = node_domain,
        .domain_max = domain_max,
        .selector_new = selector_new,
        .selector_of_owners = selector_of_owners,
        .selector_match = selector_match,
        .selector_free = selector_free,
        .because = because,
        .decide = decide,
        .only = only,
    };
}
