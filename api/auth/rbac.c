/* Role-based access control. Source: Kubernetes documentation, "Using RBAC Authorization". */
#include "auth_internal.h"

static const struct neap_kind *rbac(const char *resource)
{
    return neap_kind_by_resource("rbac.authorization.k8s.io", "v1", resource);
}

static bool has(const char *const *list, const char *s)
{
    for (; *list; list++)
        if (strcmp(*list, s) == 0 || ((*list)[0] == '*' && !(*list)[1]))
            return true;
    return false;
}

/* Names are meant literally: "*" is a name like any other. */
static bool names_hold(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/* "pods", "pods/log", "*", "STAR/scale" */
static bool resource_matches(const char *const *list, const char *resource, const char *sub)
{
    size_t n = strlen(resource);
    for (; *list; list++) {
        const char *r = *list;
        if (strcmp(r, "*") == 0)
            return true;
        if (!*sub ? strcmp(r, resource) == 0
                  : (strncmp(r, resource, n) == 0 && r[n] == '/' && strcmp(r + n + 1, sub) == 0) ||
                        (strncmp(r, "*/", 2) == 0 && strcmp(r + 2, sub) == 0))
            return true;
    }
    return false;
}

static bool url_matches(const char *const *list, const char *path)
{
    for (; *list; list++) {
        size_t n = strlen(*list);
        if (strcmp(*list, "*") == 0 || strcmp(*list, path) == 0)
            return true;
        if (n && (*list)[n - 1] == '*' && strncmp(*list, path, n - 1) == 0)
            return true;
    }
    return false;
}

bool auth_rule_allows(const struct auth_rule *r, const struct neap_attributes *x)
{
    const char *const *verbs = r->verbs, *const *groups = r->groups, *const *names = r->names;
    if (!has(verbs, x->verb))
        return false;
    if (!x->resource_request)
        return url_matches((const char *const *)r->urls, x->path);
    return has(groups, x->group) &&
           resource_matches((const char *const *)r->resources, x->resource, x->subresource) &&
           (!names[0] || (*x->name && names_hold(names, x->name)));
}

static bool all_held(const char *const *want, const char *const *have)
{
    for (; *want; want++)
        if (!has(have, *want))
            return false;
    return true;
}

static bool resources_within(const char *const *want, const char *const *have)
{
    char plain[256];
    for (; *want; want++) {
        const char *slash = strchr(*want, '/');
        size_t n = slash ? (size_t)(slash - *want) : strlen(*want);
        if (n >= sizeof(plain))
            return false;
        snprintf(plain, sizeof(plain), "%.*s", (int)n, *want);
        if (!resource_matches(have, plain, slash ? slash + 1 : ""))
            return false;
    }
    return true;
}

static bool names_within(const char *const *want, const char *const *have)
{
    if (!have[0])
        return true;
    for (unsigned i = 0; want[i]; i++)
        if (!names_hold(have, want[i]))
            return false;
    return want[0];
}

static bool urls_within(const char *const *want, const char *const *have)
{
    for (; *want; want++)
        if (!url_matches(have, *want))
            return false;
    return true;
}

bool auth_rule_within(const struct auth_rule *want, const struct auth_rule *have)
{
    const char *const *const w[] = {want->verbs, want->groups, want->resources, want->names,
                                    want->urls},
                             *const *const h[] = {have->verbs, have->groups, have->resources,
                                                  have->names, have->urls};
    return all_held(w[0], h[0]) && all_held(w[1], h[1]) && resources_within(w[2], h[2]) &&
           names_within(w[3], h[3]) && urls_within(w[4], h[4]);
}

bool auth_subject_matches(const struct auth_binding *b, const struct neap_identity *id)
{
    for (unsigned i = 0; i < b->count; i++) {
        const struct auth_subject *s = &b->subjects[i];
        if (s->type == AUTH_USER ? strcmp(s->name, id->user) == 0
                                 : neap_identity_in_group(id, s->name))
            return true;
    }
    return false;
}

static bool visit_binding(struct neap_auth *a, const struct neap_snapshot *s,
                          const struct neap_identity *id, struct neap_object *o,
                          bool (*visit)(void *arg, const struct auth_role *role), void *arg)
{
    const struct auth_binding *b = auth_binding_of(a, o);
    if (!auth_subject_matches(b, id))
        return false;
    struct neap_object *role =
        neap_snapshot_get(s, rbac(b->cluster_role ? "clusterroles" : "roles"),
                          b->cluster_role ? NULL : neap_object_namespace(o), b->role);
    return role && visit(arg, auth_role_of(a, role));
}

bool auth_visit_roles_locked(struct neap_auth *a, const struct neap_snapshot *s,
                             const struct neap_identity *id, const char *namespace_,
                             bool (*visit)(void *arg, const struct auth_role *role), void *arg)
{
    struct neap_iter it;
    bool stop = false;
    auth_cache_sweep(a);
    neap_iter_init(&it, s, rbac("clusterrolebindings"), NULL, NULL);
    for (struct neap_object *o; !stop && (o = neap_iter_next(&it));)
        stop = visit_binding(a, s, id, o, visit, arg);
    if (!stop && *namespace_) {
        neap_iter_init(&it, s, rbac("rolebindings"), namespace_, NULL);
        for (struct neap_object *o; !stop && (o = neap_iter_next(&it));)
            stop = visit_binding(a, s, id, o, visit, arg);
    }
    return stop;
}

bool auth_visit_roles(struct neap_auth *a, const struct neap_snapshot *s,
                      const struct neap_identity *id, const char *namespace_,
                      bool (*visit)(void *arg, const struct auth_role *role), void *arg)
{
    pthread_mutex_lock(&a->lock);
    bool stop = auth_visit_roles_locked(a, s, id, namespace_, visit, arg);
    pthread_mutex_unlock(&a->lock);
    return stop;
}

static bool role_allows(void *arg, const struct auth_role *role)
{
    for (unsigned i = 0; i < role->count; i++)
        if (auth_rule_allows(&role->rules[i], arg))
            return true;
    return false;
}

/* ---- why ---- */

struct explained {
    struct neap_auth *auth;
    const struct neap_snapshot *snapshot;
    const struct neap_attributes *x;
};

/* 'ServiceAccount "NAME/NAMESPACE"', 'User "NAME"', 'Group "NAME"' */
static void describe_subject(struct neap_buf *out, const struct auth_subject *s)
{
    static const char account[] = "system:serviceaccount:";
    const char *rest = s->name + sizeof(account) - 1, *colon;
    bool user = s->type == AUTH_USER;
    if (user && neap_startswith(s->name, account) && (colon = strchr(rest, ':')))
        neap_buf_printf(out, "ServiceAccount \"%s/%.*s\"", colon + 1, (int)(colon - rest), rest);
    else
        neap_buf_printf(out, "%s \"%s\"", user ? "User" : "Group", s->name);
}

static void describe_binding(struct neap_buf *out, struct neap_object *o,
                             const struct auth_binding *b, const struct neap_identity *id)
{
    const char *ns = neap_object_namespace(o);
    bool inner = ns && *ns;
    neap_buf_printf(out, "RBAC: allowed by %sBinding \"%s%s%s\" of %sRole \"%s\" to ",
                    inner ? "Role" : "ClusterRole", neap_object_name(o), inner ? "/" : "",
                    inner ? ns : "", b->cluster_role ? "Cluster" : "", b->role);
    for (unsigned i = 0; i < b->count; i++) {
        const struct auth_subject *s = &b->subjects[i];
        if (s->type == AUTH_USER ? strcmp(s->name, id->user) == 0
                                 : neap_identity_in_group(id, s->name)) {
            describe_subject(out, s);
            return;
        }
    }
}

static bool explain_by(const struct explained *e, struct neap_iter *it, struct neap_buf *out)
{
    for (struct neap_object *o; (o = neap_iter_next(it));)
        if (visit_binding(e->auth, e->snapshot, e->x->identity, o, role_allows,
                          (void *)(uintptr_t)e->x)) {
            describe_binding(out, o, auth_binding_of(e->auth, o), e->x->identity);
            return true;
        }
    return false;
}

char *neap_auth_explain(struct neap_auth *a, const struct neap_snapshot *s,
                        const struct neap_attributes *x)
{
    const struct explained e = {a, s, x};
    struct neap_buf out = NEAP_BUF_INIT;
    struct neap_iter it;
    const char *node = auth_node_name(x->identity);
    if (neap_identity_in_group(x->identity, "system:masters") ||
        (node && auth_node_authorize(a, s, x, node, NULL) == NEAP_ALLOW))
        return NULL; /* RBAC was not asked */
    pthread_mutex_lock(&a->lock);
    neap_iter_init(&it, s, rbac("clusterrolebindings"), NULL, NULL);
    bool found = explain_by(&e, &it, &out);
    if (!found && *x->namespace_) {
        neap_iter_init(&it, s, rbac("rolebindings"), x->namespace_, NULL);
        explain_by(&e, &it, &out);
    }
    pthread_mutex_unlock(&a->lock);
    return neap_buf_take(&out);
}

enum neap_decision neap_auth_authorize(struct neap_auth *a, const struct neap_snapshot *s,
                                       const struct neap_attributes *x, char **reason)
{
    const char *node;
    if (reason)
        *reason = NULL;
    if (neap_identity_in_group(x->identity, "system:masters"))
        return NEAP_ALLOW;
    if ((node = auth_node_name(x->identity))) {
        enum neap_decision d = auth_node_authorize(a, s, x, node, reason);
        if (d == NEAP_ALLOW)
            return d;
    }
    return auth_visit_roles(a, s, x->identity, x->namespace_, role_allows, (void *)(uintptr_t)x)
               ? NEAP_ALLOW
               : NEAP_DENY;
}

int neap_auth_forbidden(const struct neap_attributes *x, const char *reason, struct neap_err *err)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    const char *user = x->identity ? x->identity->user : "";
    if (!x->resource_request) {
        neap_buf_printf(&b, "forbidden: User \"%s\" cannot %s path \"%s\"", user, x->verb, x->path);
    } else {
        neap_buf_printf(&b, "%s%s%s", x->resource, *x->group ? "." : "", x->group);
        if (*x->name)
            neap_buf_printf(&b, " \"%s\"", x->name);
        neap_buf_printf(&b,
                        " is forbidden: User \"%s\" cannot %s resource \"%s%s%s\" in API group "
                        "\"%s\"",
                        user, x->verb, x->resource, *x->subresource ? "/" : "", x->subresource,
                        x->group);
        if (*x->namespace_)
            neap_buf_printf(&b, " in the namespace \"%s\"", x->namespace_);
        else
            neap_buf_str(&b, " at the cluster scope");
    }
    if (reason && *reason)
        neap_buf_printf(&b, ": %s", reason);
    neap_err_set(err, NEAP_EFORBIDDEN, "%s", b.data);
    if (x->resource_request)
        neap_err_about(err, x->group, x->resource, *x->name ? x->name : NULL);
    else
        neap_err_about(err, "", "", NULL);
    return NEAP_EFORBIDDEN;
}

/* ---- what a call asks for ---- */

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* OPTIONS, which a proxied pod may answer, has no verb: only who may "*" may it (as Kubernetes has it). */
static const char *verb_of(const struct neap_call *c)
{
    if (strcmp(c->method, "OPTIONS") == 0)
        return "";
    return neap_verb_name(c->verb == NEAP_CONNECT ? NEAP_CREATE : c->verb);
}

struct neap_attributes neap_auth_attributes(const struct neap_call *c,
                                            const struct neap_identity *identity,
                                            char verb[NEAP_AUTH_VERB_MAX])
{
    bool resource = c->verb != NEAP_NONRESOURCE;
    struct neap_attributes a = {.identity = identity,
                                .verb = verb,
                                .resource_request = resource,
                                .group = resource ? or_empty(c->group) : "",
                                .version = resource ? or_empty(c->version) : "",
                                .resource = resource ? or_empty(c->resource) : "",
                                .subresource = resource ? or_empty(c->subresource) : "",
                                .namespace_ = resource ? or_empty(c->namespace_) : "",
                                .name = resource ? or_empty(c->name) : "",
                                .path = c->path};
    size_t n = 0;
    for (const char *p = resource ? verb_of(c) : c->method; *p && n + 1 < NEAP_AUTH_VERB_MAX; p++)
        verb[n++] = (char)(resource ? *p : *p | 32);
    verb[n] = '\0';
    return a;
}

/* ---- SelfSubjectRulesReview ---- */

struct rules {
    struct neap_buf resources, urls;
};

static void list(struct neap_buf *out, const char *name, const char *const *items, bool *first)
{
    if (!items[0])
        return;
    neap_buf_printf(out, "%s\"%s\":[", *first ? "" : ",", name);
    *first = false;
    for (unsigned i = 0; items[i]; i++) {
        neap_buf_str(out, i ? "," : "");
        neap_buf_json_string(out, items[i], strlen(items[i]));
    }
    neap_buf_char(out, ']');
}

static bool write_rules(void *arg, const struct auth_role *role)
{
    struct rules *r = arg;
    for (unsigned i = 0; i < role->count; i++) {
        const struct auth_rule *rule = &role->rules[i];
        bool urls = rule->urls[0] != NULL, first = true;
        struct neap_buf *out = urls ? &r->urls : &r->resources;
        neap_buf_str(out, out->len ? ",{" : "{");
        list(out, "verbs", (const char *const *)rule->verbs, &first);
        if (urls) {
            list(out, "nonResourceURLs", (const char *const *)rule->urls, &first);
        } else {
            list(out, "apiGroups", (const char *const *)rule->groups, &first);
            list(out, "resources", (const char *const *)rule->resources, &first);
            list(out, "resourceNames", (const char *const *)rule->names, &first);
        }
        neap_buf_char(out, '}');
    }
    return false;
}

void neap_auth_rules(struct neap_auth *a, const struct neap_snapshot *s,
                     const struct neap_identity *identity, const char *namespace_,
                     struct neap_buf *out)
{
    static const char everything[] =
        "{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}";
    struct rules r = {0};
    if (neap_identity_in_group(identity, "system:masters")) {
        neap_buf_str(&r.resources, everything);
        neap_buf_str(&r.urls, "{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}");
    }
    auth_visit_roles(a, s, identity, namespace_, write_rules, &r);
    neap_buf_printf(out, "{\"resourceRules\":[%s],\"nonResourceRules\":[%s],\"incomplete\":false}",
                    r.resources.len ? r.resources.data : "", r.urls.len ? r.urls.data : "");
    neap_buf_done(&r.resources);
    neap_buf_done(&r.urls);
}
