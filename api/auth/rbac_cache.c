/* Roles and bindings compiled from their JSON, kept while the object's revision stays. Nobody tells when one is
 * deleted: what no request has needed between two sweeps goes. */
#include "auth_internal.h"

enum { SWEEP_MIN = 4096 };

static const char **strings(struct neap_arena *arena, yyjson_val *list)
{
    size_t i, n, count = 0;
    yyjson_val *v;
    const char **out = neap_arena_calloc(arena, (yyjson_arr_size(list) + 1) * sizeof(*out));
    yyjson_arr_foreach(list, i, n, v)
    {
        if (yyjson_is_str(v))
            out[count++] = neap_arena_strdup(arena, yyjson_get_str(v));
    }
    return out;
}

struct auth_rule *auth_rules_compile(struct neap_arena *arena, yyjson_val *rules, unsigned *count)
{
    size_t i, n;
    yyjson_val *r;
    struct auth_rule *out = neap_arena_calloc(arena, (yyjson_arr_size(rules) + 1) * sizeof(*out));
    *count = 0;
    yyjson_arr_foreach(rules, i, n, r)
    {
        out[(*count)++] =
            (struct auth_rule){.verbs = strings(arena, yyjson_obj_get(r, "verbs")),
                               .groups = strings(arena, yyjson_obj_get(r, "apiGroups")),
                               .resources = strings(arena, yyjson_obj_get(r, "resources")),
                               .names = strings(arena, yyjson_obj_get(r, "resourceNames")),
                               .urls = strings(arena, yyjson_obj_get(r, "nonResourceURLs"))};
    }
    return out;
}

static void free_role(void *p)
{
    struct auth_role *r = p;
    neap_arena_free(r->memory[0]);
    free(r);
}

static void free_binding(void *p)
{
    struct auth_binding *b = p;
    neap_arena_free(b->arena);
    free(b);
}

const struct auth_role *auth_role_of(struct neap_auth *a, const struct neap_object *o)
{
    struct auth_role *r = neap_map_get(&a->roles, neap_object_key(o));
    if (r)
        r->used = true;
    if (r && r->revision == neap_object_revision(o))
        return r;
    yyjson_doc *doc = neap_object_parse(o, NULL);
    struct neap_arena *arena = neap_arena_new(0);
    if (r)
        free_role(r);
    r = neap_calloc(1, sizeof(*r));
    r->revision = neap_object_revision(o);
    r->used = true;
    r->memory[0] = arena;
    r->rules =
        auth_rules_compile(arena, yyjson_obj_get(yyjson_doc_get_root(doc), "rules"), &r->count);
    yyjson_doc_free(doc);
    neap_map_set(&a->roles, neap_object_key(o), r);
    return r;
}

static struct auth_subject subject(struct neap_arena *arena, yyjson_val *s, const char *own_ns)
{
    const char *kind = yyjson_get_str(yyjson_obj_get(s, "kind"));
    const char *name = yyjson_get_str(yyjson_obj_get(s, "name"));
    const char *ns = yyjson_get_str(yyjson_obj_get(s, "namespace"));
    struct auth_subject out = {AUTH_USER, ""};
    if (neap_streq(kind, "ServiceAccount")) {
        out.name = neap_arena_printf(arena, "system:serviceaccount:%s:%s", ns ? ns : own_ns,
                                     name ? name : "");
    } else {
        out.type = neap_streq(kind, "Group") ? AUTH_GROUP : AUTH_USER;
        out.name = neap_arena_strdup(arena, name ? name : "");
    }
    return out;
}

const struct auth_binding *auth_binding_of(struct neap_auth *a, const struct neap_object *o)
{
    struct auth_binding *b = neap_map_get(&a->bindings, neap_object_key(o));
    size_t i, n;
    yyjson_val *s;
    if (b)
        b->used = true;
    if (b && b->revision == neap_object_revision(o))
        return b;
    yyjson_doc *doc = neap_object_parse(o, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc), *list = yyjson_obj_get(root, "subjects");
    if (b)
        free_binding(b);
    b = neap_calloc(1, sizeof(*b));
    b->arena = neap_arena_new(0);
    b->revision = neap_object_revision(o);
    b->used = true;
    b->subjects = neap_arena_calloc(b->arena, (yyjson_arr_size(list) + 1) * sizeof(*b->subjects));
    yyjson_arr_foreach(list, i, n, s)
    {
        b->subjects[b->count++] = subject(b->arena, s, neap_object_namespace(o));
    }
    const char *role = neap_json_val_str_at(root, "roleRef.name");
    b->cluster_role = neap_streq(neap_json_val_str_at(root, "roleRef.kind"), "ClusterRole");
    b->role = neap_arena_strdup(b->arena, role ? role : "");
    yyjson_doc_free(doc);
    neap_map_set(&a->bindings, neap_object_key(o), b);
    return b;
}

void auth_cache_sweep(struct neap_auth *a)
{
    size_t it = 0, limit = a->sweep_at > SWEEP_MIN ? a->sweep_at : SWEEP_MIN;
    const char *key;
    void *value;
    if (a->roles.count + a->bindings.count < limit)
        return;
    while (neap_map_next(&a->roles, &it, &key, &value)) {
        struct auth_role *r = value;
        if (!r->used)
            free_role(neap_map_del(&a->roles, key));
        else
            r->used = false;
    }
    for (it = 0; neap_map_next(&a->bindings, &it, &key, &value);) {
        struct auth_binding *b = value;
        if (!b->used)
            free_binding(neap_map_del(&a->bindings, key));
        else
            b->used = false;
    }
    a->sweep_at =
        2 * (a->roles.count + a->bindings.count); /* a large cluster is not swept always */
}

void auth_cache_free(struct neap_auth *a)
{
    neap_map_done(&a->roles, free_role);
    neap_map_done(&a->bindings, free_binding);
}
