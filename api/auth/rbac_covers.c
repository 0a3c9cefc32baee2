/* Escalation: is every single permission of some rules held? A rule that one held rule covers whole is found at
 * once; else each verb, resource and name is asked for by itself, which a hostile rule could make billions: so many
 * and no more. Source: Kubernetes documentation, "Privilege escalation prevention and bootstrapping". */
#include "auth_internal.h"

enum { CHECKS_MAX = 20000, MISSING_MAX = 32 << 10 };

struct covering {
    struct neap_auth *auth;
    const struct neap_identity *identity;
    const char *namespace_;
    const struct auth_rule **held; /* of every role that applies */
    size_t held_count, held_cap;
    unsigned checks;
    struct neap_buf *missing;
    bool ok;
};

static bool collect(void *arg, const struct auth_role *role)
{
    struct covering *c = arg;
    for (unsigned i = 0; i < role->count; i++) {
        c->held = neap_grow(c->held, &c->held_cap, c->held_count, sizeof(struct auth_rule *));
        c->held[c->held_count++] = &role->rules[i];
    }
    return false;
}

static bool allows(const struct covering *c, const struct neap_attributes *x)
{
    for (size_t i = 0; i < c->held_count; i++)
        if (auth_rule_allows(c->held[i], x))
            return true;
    return false;
}

/* One permission; "*" means all of its kind. */
struct permission {
    const char *verb, *group, *resource, *name, *url; /* NULL: has none */
};

static bool holds(const struct covering *c, const struct permission *p)
{
    const char *slash = p->resource ? strchr(p->resource, '/') : NULL;
    char plain[256] = "";
    if (p->resource)
        snprintf(plain, sizeof(plain), "%.*s", slash ? (int)(slash - p->resource) : 255,
                 p->resource);
    struct neap_attributes x = {.identity = c->identity,
                                .verb = p->verb,
                                .resource_request = p->url == NULL,
                                .group = p->group ? p->group : "",
                                .version = "",
                                .resource = plain,
                                .subresource = slash ? slash + 1 : "",
                                .namespace_ = c->namespace_,
                                .name = p->name ? p->name : "",
                                .path = p->url ? p->url : ""};
    return allows(c, &x);
}

static void lacking(struct covering *c, const struct permission *p)
{
    struct neap_buf *b = c->missing;
    c->ok = false;
    if (b->len > MISSING_MAX)
        return;
    neap_buf_str(b, b->len ? "\n{" : "{");
    if (p->url)
        neap_buf_printf(b, "NonResourceURLs:[\"%s\"]", p->url);
    else
        neap_buf_printf(b, "APIGroups:[\"%s\"], Resources:[\"%s\"]", p->group ? p->group : "",
                        p->resource ? p->resource : "");
    if (p->name)
        neap_buf_printf(b, ", ResourceNames:[\"%s\"]", p->name);
    neap_buf_printf(b, ", Verbs:[\"%s\"]}", p->verb);
}

/* False: enough has been asked. */
static bool ask(struct covering *c, const struct permission *p)
{
    if (++c->checks > CHECKS_MAX) {
        if (c->checks == CHECKS_MAX + 1)
            neap_buf_printf(c->missing, "%sthe rules name more than %d permissions: split them",
                            c->missing->len ? "\n" : "", CHECKS_MAX);
        c->ok = false;
        return false;
    }
    if (!holds(c, p))
        lacking(c, p);
    return true;
}

static void ask_each(struct covering *c, const struct auth_rule *r)
{
    static const char *const none[] = {NULL, NULL};
    const char *const *names = r->names[0] ? (const char *const *)r->names : none;
    for (unsigned v = 0; r->verbs[v]; v++) {
        for (unsigned u = 0; r->urls[u]; u++)
            if (!ask(c, &(struct permission){.verb = r->verbs[v], .url = r->urls[u]}))
                return;
        for (unsigned g = 0; r->groups[g]; g++)
            for (unsigned i = 0; r->resources[i]; i++)
                for (unsigned n = 0; n == 0 || names[n]; n++)
                    if (!ask(c, &(struct permission){.verb = r->verbs[v],
                                                     .group = r->groups[g],
                                                     .resource = r->resources[i],
                                                     .name = names[n]}))
                        return;
    }
}

static bool covered_whole(const struct covering *c, const struct auth_rule *r)
{
    for (size_t i = 0; i < c->held_count; i++)
        if (auth_rule_within(r, c->held[i]))
            return true;
    return false;
}

bool neap_auth_covers(struct neap_auth *a, const struct neap_snapshot *s,
                      const struct neap_identity *identity, const char *namespace_,
                      yyjson_mut_val *rules, struct neap_buf *missing)
{
    struct covering c = {
        .auth = a, .identity = identity, .namespace_ = namespace_, .missing = missing, .ok = true};
    if (neap_identity_in_group(identity, "system:masters"))
        return true;
    struct neap_arena *arena = neap_arena_new(0);
    struct neap_buf json = NEAP_BUF_INIT;
    unsigned count;
    neap_json_write_sorted(&json, rules);
    yyjson_doc *doc = yyjson_read(json.data, json.len, 0);
    struct auth_rule *list = auth_rules_compile(arena, yyjson_doc_get_root(doc), &count);
    pthread_mutex_lock(&a->lock); /* what is held stays compiled meanwhile */
    auth_visit_roles_locked(a, s, identity, namespace_, collect, &c);
    for (unsigned i = 0; i < count; i++)
        if (!covered_whole(&c, &list[i]))
            ask_each(&c, &list[i]);
    pthread_mutex_unlock(&a->lock);
    free(c.held);
    yyjson_doc_free(doc);
    neap_buf_done(&json);
    neap_arena_free(arena);
    return c.ok;
}
