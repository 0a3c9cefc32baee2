/* Environments: literals, references, the downward API, $(NAME).
 * Source: Kubernetes documentation, "Define Environment Variables for a Container". */
#include "node_internal.h"

#include <neap/ip.h>

#include <ctype.h>

struct env {
    const char **list; /* "K=V" */
    size_t count, cap;
    struct neap_arena *arena;
};

static void set(struct env *e, const char *name, const char *value)
{
    size_t n = strlen(name);
    const char *text = neap_arena_printf(e->arena, "%s=%s", name, value);
    for (size_t i = 0; i < e->count; i++)
        if (strncmp(e->list[i], name, n) == 0 && e->list[i][n] == '=') {
            e->list[i] = text;
            return;
        }
    if (e->count + 2 > e->cap) {
        size_t cap = e->cap ? e->cap * 2 : 32;
        const char **more = neap_arena_calloc(e->arena, cap * sizeof(*more));
        if (e->count)
            memcpy(more, e->list, e->count * sizeof(*more));
        e->list = more;
        e->cap = cap;
    }
    e->list[e->count++] = text;
    e->list[e->count] = NULL;
}

static const char *lookup(const char *const *env, const char *name, size_t len)
{
    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

const char *env_expand(const char *text, const char *const *env, struct neap_arena *arena)
{
    struct neap_buf b = NEAP_BUF_INIT;
    if (!strchr(text, '$'))
        return text;
    for (const char *p = text; *p; p++) {
        const char *end;
        if (p[0] == '$' && p[1] == '$') {
            neap_buf_char(&b, '$');
            p++;
        } else if (p[0] == '$' && p[1] == '(' && (end = strchr(p, ')'))) {
            const char *value = lookup(env, p + 2, (size_t)(end - p - 2));
            if (value)
                neap_buf_str(&b, value);
            else
                neap_buf_append(&b, p, (size_t)(end - p + 1));
            p = end;
        } else {
            neap_buf_char(&b, *p);
        }
    }
    const char *out = neap_arena_strdup(arena, b.data ? b.data : "");
    neap_buf_done(&b);
    return out;
}

/* ---- the downward API ---- */

const char *pod_field(struct pod *p, const char *path, struct neap_arena *arena)
{
    struct neap_node *n = p->node;
    const char *key = strstr(path, "['");
    if (strcmp(path, "status.podIP") == 0 || strcmp(path, "status.podIPs") == 0)
        return p->has_address ? neap_arena_strdup(arena, p->address.addresses[0]) : n->address;
    if (strcmp(path, "status.hostIP") == 0 || strcmp(path, "status.hostIPs") == 0)
        return n->address;
    if (strcmp(path, "spec.nodeName") == 0)
        return n->options.name;
    yyjson_doc *doc = neap_object_parse(p->object, neap_arena_alc(arena));
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (key) {
        char map[64], name[320];
        snprintf(map, sizeof(map), "%.*s", (int)(key - path), path);
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(key + 2, "'"), key + 2);
        const char *s = yyjson_get_str(yyjson_obj_get(neap_json_val_at(root, map), name));
        return s ? s : "";
    }
    yyjson_val *v = neap_json_val_at(root, path);
    if (yyjson_is_str(v))
        return yyjson_get_str(v);
    if (!yyjson_is_obj(v))
        return strncmp(path, "metadata.", 9) == 0 || strncmp(path, "spec.", 5) == 0 ? "" : NULL;
    struct neap_buf b = NEAP_BUF_INIT;
    size_t i, count;
    yyjson_val *k, *e;
    yyjson_obj_foreach(v, i, count, k, e) /* labels, annotations: key="value" lines */
    {
        neap_buf_printf(&b, "%s%s=", i ? "\n" : "", yyjson_get_str(k));
        neap_buf_json_string(&b, yyjson_get_str(e), yyjson_get_len(e));
    }
    const char *out = neap_arena_strdup(arena, b.data ? b.data : "");
    neap_buf_done(&b);
    return out;
}

const char *resource_field(struct pod *p, yyjson_val *ref, const struct container *own,
                           struct neap_arena *arena)
{
    const char *resource = yyjson_get_str(yyjson_obj_get(ref, "resource"));
    const char *name = yyjson_get_str(yyjson_obj_get(ref, "containerName"));
    const char *divisor = yyjson_get_str(yyjson_obj_get(ref, "divisor"));
    int64_t value = 0, unit = 1000;
    char path[128];
    for (unsigned i = 0; name && i < p->count; i++)
        if (neap_streq(p->containers[i].name, name))
            own = &p->containers[i];
    if (!resource || !own)
        return NULL;
    snprintf(path, sizeof(path), "%s", resource);
    yyjson_val *v = neap_json_val_at(resources_allocated(own), path);
    if (v) {
        neap_quantity_milli(yyjson_get_str(v), yyjson_get_len(v), &value);
    } else if (strcmp(resource, "limits.cpu") == 0) {
        value = sysconf_cpus() * 1000; /* no limit: what the node has */
    } else if (strcmp(resource, "limits.memory") == 0) {
        value = node_memory() * 1000;
    }
    if (divisor && strcmp(divisor, "0") != 0)
        neap_quantity_milli(divisor, strlen(divisor), &unit);
    return neap_arena_printf(arena, "%lld",
                             (long long)((value + unit - 1) / (unit > 0 ? unit : 1)));
}

/* ---- references ---- */

static const char *decoded(yyjson_val *v, bool base64, struct neap_arena *arena)
{
    if (!yyjson_is_str(v))
        return NULL;
    if (!base64)
        return yyjson_get_str(v);
    size_t len;
    return unbase64(yyjson_get_str(v), yyjson_get_len(v), arena, &len);
}

static int missing(struct neap_err *err, const char *kind, const char *name, const char *key)
{
    if (key)
        return neap_err_set(err, NEAP_ENOTFOUND, "couldn't find key %s in %s %s", key, kind, name);
    return neap_err_set(err, NEAP_ENOTFOUND, "%s \"%s\" not found", kind, name);
}

static int key_ref(struct container *c, yyjson_val *ref, bool secret, struct env *e,
                   const char *name, struct neap_err *err)
{
    const char *object = yyjson_get_str(yyjson_obj_get(ref, "name"));
    const char *key = yyjson_get_str(yyjson_obj_get(ref, "key"));
    bool optional = yyjson_get_bool(yyjson_obj_get(ref, "optional"));
    const char *kind = secret ? "secrets" : "configmaps";
    if (!object || !key)
        return neap_err_set(err, NEAP_EINVALID, "a reference without name or key");
    yyjson_val *root = refs_get(c->pod, kind, object, e->arena);
    if (!root)
        return optional ? 0 : missing(err, secret ? "secret" : "configmap", object, NULL);
    const char *value =
        decoded(yyjson_obj_get(yyjson_obj_get(root, "data"), key), secret, e->arena);
    if (!value)
        return optional ? 0 : missing(err, secret ? "Secret" : "ConfigMap", object, key);
    set(e, name, value);
    return 0;
}

static int value_from(struct container *c, yyjson_val *v, struct env *e, const char *name,
                      struct neap_err *err)
{
    yyjson_val *from = yyjson_obj_get(v, "valueFrom"), *ref;
    const char *value = NULL;
    if ((ref = yyjson_obj_get(from, "configMapKeyRef")))
        return key_ref(c, ref, false, e, name, err);
    if ((ref = yyjson_obj_get(from, "secretKeyRef")))
        return key_ref(c, ref, true, e, name, err);
    if ((ref = yyjson_obj_get(from, "fieldRef"))) {
        const char *path = yyjson_get_str(yyjson_obj_get(ref, "fieldPath"));
        value = path ? pod_field(c->pod, path, e->arena) : NULL;
    } else if ((ref = yyjson_obj_get(from, "resourceFieldRef"))) {
        value = resource_field(c->pod, ref, c, e->arena);
    }
    if (!value)
        return neap_err_set(err, NEAP_EINVALID, "the value of %s cannot be resolved", name);
    set(e, name, value);
    return 0;
}

static int all_keys(struct container *c, yyjson_val *source, bool secret, struct env *e,
                    struct neap_err *err)
{
    yyjson_val *ref = yyjson_obj_get(source, secret ? "secretRef" : "configMapRef"), *k, *v;
    const char *prefix = yyjson_get_str(yyjson_obj_get(source, "prefix"));
    const char *name = yyjson_get_str(yyjson_obj_get(ref, "name"));
    size_t i, n;
    if (!name)
        return 0;
    yyjson_val *root = refs_get(c->pod, secret ? "secrets" : "configmaps", name, e->arena);
    if (!root)
        return yyjson_get_bool(yyjson_obj_get(ref, "optional"))
                   ? 0
                   : missing(err, secret ? "secret" : "configmap", name, NULL);
    yyjson_obj_foreach(yyjson_obj_get(root, "data"), i, n, k, v)
    {
        const char *value = decoded(v, secret, e->arena);
        if (value)
            set(e, neap_arena_printf(e->arena, "%s%s", prefix ? prefix : "", yyjson_get_str(k)),
                value);
    }
    return 0;
}

/* ---- Services, as Docker's links named them: Kubernetes documentation, "Service", "Environment variables" ---- */

static const char *variable(struct env *e, const char *name, const char *suffix)
{
    char *out = neap_arena_printf(e->arena, "%s%s", name, suffix);
    for (char *p = out; p && *p; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return out;
}

static void port_links(struct env *e, const char *name, const char *ip, const char *port_name,
                       const char *protocol, int port, bool first)
{
    struct neap_arena *a = e->arena;
    const char *number = neap_arena_printf(a, "%d", port);
    char lower[8];
    snprintf(lower, sizeof(lower), "%s", protocol);
    for (char *p = lower; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    const char *url =
        neap_arena_printf(a, strchr(ip, ':') ? "%s://[%s]:%d" : "%s://%s:%d", lower, ip, port);
    const char *prefix = neap_arena_printf(a, "%s_PORT_%d_%s", name, port, protocol);
    if (first) {
        set(e, variable(e, name, "_SERVICE_HOST"), ip);
        set(e, variable(e, name, "_SERVICE_PORT"), number);
        set(e, variable(e, name, "_PORT"), url);
    }
    if (*port_name)
        set(e, variable(e, neap_arena_printf(a, "%s_SERVICE_PORT_%s", name, port_name), ""),
            number);
    set(e, variable(e, prefix, ""), url);
    set(e, variable(e, prefix, "_PROTO"), lower);
    set(e, variable(e, prefix, "_PORT"), number);
    set(e, variable(e, prefix, "_ADDR"), ip);
}

static void one_service(struct env *e, struct neap_object *o)
{
    yyjson_doc *doc = neap_object_parse(o, neap_arena_alc(e->arena));
    yyjson_val *spec = yyjson_obj_get(yyjson_doc_get_root(doc), "spec"), *p;
    const char *ip = yyjson_get_str(yyjson_obj_get(spec, "clusterIP"));
    size_t i, n;
    if (!ip || !*ip || strcmp(ip, "None") == 0)
        return;
    yyjson_arr_foreach(yyjson_obj_get(spec, "ports"), i, n, p)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(p, "name"));
        const char *protocol = yyjson_get_str(yyjson_obj_get(p, "protocol"));
        port_links(e, neap_object_name(o), ip, name ? name : "", protocol ? protocol : "TCP",
                   (int)yyjson_get_sint(yyjson_obj_get(p, "port")), i == 0);
    }
}

/* The API always; the Services of the pod's namespace unless it says enableServiceLinks: false. */
static void service_links(struct container *c, struct env *e)
{
    struct neap_node *node = c->pod->node;
    yyjson_val *links = yyjson_obj_get(c->pod->spec, "enableServiceLinks");
    char ip[NEAP_IP_TEXT];
    size_t at = 0;
    const char *key;
    void *value;
    while ((!links || yyjson_get_bool(links)) && neap_map_next(&node->services, &at, &key, &value))
        if (strcmp(neap_object_namespace(value), c->pod->ns) == 0 &&
            strcmp(neap_object_name(value), "kubernetes") != 0)
            one_service(e, value);
    neap_cidr_text_at(node->options.service_cidr, 1, ip);
    port_links(e, "kubernetes", ip, "https", "TCP", 443, true);
}

const char *const *container_env(struct container *c, struct neap_arena *arena,
                                 struct neap_err *err)
{
    struct env e = {.arena = arena};
    size_t i, n;
    yyjson_val *v;
    int rc = 0;
    service_links(c, &e);
    yyjson_arr_foreach(yyjson_obj_get(c->spec, "envFrom"), i, n, v)
    {
        if (!rc)
            rc = all_keys(c, v, false, &e, err);
        if (!rc)
            rc = all_keys(c, v, true, &e, err);
    }
    yyjson_arr_foreach(yyjson_obj_get(c->spec, "env"), i, n, v)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(v, "name"));
        const char *value = yyjson_get_str(yyjson_obj_get(v, "value"));
        if (rc)
            break;
        if (yyjson_obj_get(v, "valueFrom"))
            rc = value_from(c, v, &e, name, err);
        else
            set(&e, name, env_expand(value ? value : "", e.list, arena));
    }
    return rc ? NULL : e.list;
}
