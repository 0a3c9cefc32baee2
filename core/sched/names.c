/* Names that become small numbers, so that a cycle compares and indexes instead of looking up texts:
 * resources, groups of pods, topology domains. */
#include "sched_internal.h"

/* ---- resources ---- */

/* Pods that were read before some node had the resource. */
static void reread_pods(struct neap_sched *s)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (neap_map_next(&s->pods, &at, &key, &value)) {
        struct neap_sched_pod *p = value;
        if (!p->unknown_resource)
            continue;
        yyjson_doc *doc = neap_object_parse(p->object, NULL);
        struct neap_sched_node *n = p->node;
        if (n)
            sched_node_count(s, n, p, -1);
        sched_pod_read(s, p, yyjson_doc_get_root(doc));
        if (n)
            sched_node_count(s, n, p, 1);
        yyjson_doc_free(doc);
    }
}

int sched_resource(struct neap_sched *s, const char *name, bool make)
{
    static const char *const known[] = {"cpu", "memory", "ephemeral-storage", "pods"};
    while (s->resource_count < NEAP_ARRAY_LEN(known)) {
        s->resources[s->resource_count] = neap_strdup(known[s->resource_count]);
        s->resource_count++;
    }
    for (unsigned i = 0; i < s->resource_count; i++)
        if (strcmp(s->resources[i], name) == 0)
            return (int)i;
    if (!make || s->resource_count == SCHED_RESOURCES_MAX)
        return -1;
    s->resources[s->resource_count++] = neap_strdup(name);
    reread_pods(s);
    return (int)s->resource_count - 1;
}

/* ---- groups ---- */

static void write_value(struct neap_buf *b, const char *name, yyjson_val *v)
{
    size_t len;
    char *text = v ? yyjson_val_write(v, 0, &len) : NULL;
    if (!text)
        return;
    neap_buf_printf(b, ",\"%s\":", name);
    neap_buf_append(b, text, len);
    free(text);
}

static struct neap_sched_group *group_new(struct neap_sched *s, const char *key, size_t len)
{
    struct neap_sched_group *g = neap_calloc(1, sizeof(*g));
    g->key = neap_strndup(key, len);
    g->doc = yyjson_read(key, len, 0);
    yyjson_val *root = yyjson_doc_get_root(g->doc);
    g->namespace_ = yyjson_get_str(yyjson_obj_get(root, "namespace"));
    g->labels = yyjson_obj_get(root, "labels");
    g->terminating = yyjson_get_bool(yyjson_obj_get(root, "terminating"));
    if (yyjson_obj_get(root, "podAffinity") || yyjson_obj_get(root, "podAntiAffinity")) {
        g->affinity = root;
        s->groups_with_affinity++;
    }
    g->index = s->free_group_count ? s->free_groups[--s->free_group_count] : s->group_max++;
    neap_map_set(&s->groups, key, g);
    return g;
}

struct neap_sched_group *sched_group(struct neap_sched *s, struct neap_object *o, yyjson_val *root)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    yyjson_val *affinity = neap_json_val_at(root, "spec.affinity");
    neap_buf_str(&b, "{\"namespace\":");
    neap_buf_json_string(&b, neap_object_namespace(o), strlen(neap_object_namespace(o)));
    write_value(&b, "labels", neap_json_val_at(root, "metadata.labels"));
    write_value(&b, "podAffinity", yyjson_obj_get(affinity, "podAffinity"));
    write_value(&b, "podAntiAffinity", yyjson_obj_get(affinity, "podAntiAffinity"));
    if (neap_object_deleting(o))
        neap_buf_str(&b, ",\"terminating\":true");
    neap_buf_char(&b, '}');
    struct neap_sched_group *g = neap_map_get(&s->groups, b.data);
    if (!g)
        g = group_new(s, b.data, b.len);
    g->refs++;
    return g;
}

void sched_group_release(struct neap_sched *s, struct neap_sched_group *g)
{
    if (!g || --g->refs)
        return;
    neap_map_del(&s->groups, g->key);
    if (g->affinity)
        s->groups_with_affinity--;
    s->free_groups =
        neap_grow(s->free_groups, &s->free_group_cap, s->free_group_count, sizeof(*s->free_groups));
    s->free_groups[s->free_group_count++] = g->index;
    yyjson_doc_free(g->doc);
    free(g->key);
    free(g);
}

/* ---- topology ---- */

unsigned sched_topology_key(struct neap_sched *s, const char *label)
{
    uintptr_t known = (uintptr_t)neap_map_get(&s->topology_keys, label);
    if (known)
        return (unsigned)known - 1;
    s->topology_names =
        neap_grow(s->topology_names, &s->topology_cap, s->topology_count, sizeof(char *));
    s->topology_names[s->topology_count] = neap_strdup(label);
    neap_map_set(&s->topology_keys, label, (void *)(uintptr_t)(s->topology_count + 1));
    return s->topology_count++;
}

static void grow_domains(struct neap_sched *s, struct neap_sched_node *n)
{
    size_t cap = s->topology_count + 4;
    n->domains = neap_realloc(n->domains, cap * sizeof(*n->domains));
    for (size_t i = n->domain_cap; i < cap; i++)
        n->domains[i] = -2;
    n->domain_cap = cap;
}

static int find_domain(struct neap_sched *s, const struct neap_sched_node *n, unsigned key)
{
    yyjson_val *v = yyjson_obj_get(n->labels, s->topology_names[key]);
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    if (!yyjson_is_str(v))
        return -1;
    neap_buf_printf(&b, "%u=%s", key, yyjson_get_str(v));
    uintptr_t known = (uintptr_t)neap_map_get(&s->domains, b.data);
    if (!known) {
        known = ++s->domain_count;
        neap_map_set(&s->domains, b.data, (void *)known);
    }
    return (int)known - 1;
}

int sched_node_domain(struct neap_sched *s, struct neap_sched_node *n, unsigned key)
{
    if (key >= n->domain_cap)
        grow_domains(s, n);
    if (n->domains[key] == -2)
        n->domains[key] = find_domain(s, n, key);
    return n->domains[key];
}

void sched_topology_trim(struct neap_sched *s)
{
    size_t at = 0;
    const char *name;
    void *value;
    if (s->topology_count <= SCHED_TOPOLOGY_KEYS && s->domain_count <= SCHED_DOMAINS_MAX)
        return;
    while (neap_map_next(&s->nodes, &at, &name, &value)) {
        struct neap_sched_node *n = value;
        free(n->domains);
        n->domains = NULL;
        n->domain_cap = 0;
    }
    for (unsigned i = 0; i < s->topology_count; i++)
        free((char *)s->topology_names[i]);
    neap_map_done(&s->topology_keys, NULL);
    neap_map_done(&s->domains, NULL);
    s->topology_keys = s->domains = (struct neap_map)NEAP_MAP_INIT;
    s->topology_count = s->domain_count = 0;
}
