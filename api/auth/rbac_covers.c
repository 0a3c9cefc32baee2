/* Escalation: is every single permission of some rules held? A rule that one held rule covers whole is found at
 * once; else each verb, resource and name is asked for by itself, which a hostile rule could make billions: so many
 * and no more. Source: Kubernetes documentation, "Privilege escalation prevention and bootstrapping". */
#include "auth_internal.h"

enum { CHECKS_MAX = 20000, LINES_MAX = 200, MISSING_MAX = 16 << 10 };

/* One line of what is missing, in the real server's words: everything but the verbs is its key. */
struct missing_line {
    const char *key;
    struct neap_buf verbs;
};

struct covering {
    struct neap_auth *auth;
    const struct neap_identity *identity;
    const char *namespace_;
    const struct auth_rule **held; /* of every role that applies */
    size_t held_count, held_cap;
    unsigned checks;
    struct neap_arena *arena; /* of the lines */
    struct missing_line lines[LINES_MAX];
    size_t line_count, told; /* told: bytes of verbs */
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

static void quoted_list(struct neap_buf *b, const char *what, const char *item)
{
    neap_buf_printf(b, "%s%s:[", b->len ? ", " : "", what);
    neap_buf_json_string(b, item, strlen(item));
    neap_buf_char(b, ']');
}

static const char *key_of(struct neap_arena *arena, const struct permission *p)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    if (p->url) {
        quoted_list(&b, "NonResourceURLs", p->url);
    } else {
        quoted_list(&b, "APIGroups", p->group);
        quoted_list(&b, "Resources", p->resource);
    }
    if (p->name)
        quoted_list(&b, "ResourceNames", p->name);
    return neap_arena_strdup(arena, b.data);
}

/* Verbs of one resource share a line; those of a URL do not. */
static struct missing_line *line_of(struct covering *c, const struct permission *p)
{
    const char *key = key_of(c->arena, p);
    for (size_t i = 0; !p->url && i < c->line_count; i++)
        if (strcmp(c->lines[i].key, key) == 0)
            return &c->lines[i];
    if (c->line_count == LINES_MAX)
        return NULL;
    c->lines[c->line_count] = (struct missing_line){.key = key};
    return &c->lines[c->line_count++];
}

static void lacking(struct covering *c, const struct permission *p)
{
    struct missing_line *line = c->told < MISSING_MAX ? line_of(c, p) : NULL;
    c->ok = false;
    if (!line)
        return;
    size_t before = line->verbs.len;
    if (before)
        neap_buf_char(&line->verbs, ' ');
    neap_buf_json_string(&line->verbs, p->verb, strlen(p->verb));
    c->told += line->verbs.len - before;
}

/* False: enough has been asked. */
static bool ask(struct covering *c, const struct permission *p)
{
    if (++c->checks > CHECKS_MAX) {
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
    for (unsigned g = 0; r->groups[g]; g++)
        for (unsigned i = 0; r->resources[i]; i++)
            for (unsigned v = 0; r->verbs[v]; v++)
                for (unsigned n = 0; n == 0 || names[n]; n++)
                    if (!ask(c, &(struct permission){.verb = r->verbs[v],
                                                     .group = r->groups[g],
                                                     .resource = r->resources[i],
                                                     .name = names[n]}))
                        return;
    for (unsigned u = 0; r->urls[u]; u++)
        for (unsigned v = 0; r->verbs[v]; v++)
            if (!ask(c, &(struct permission){.verb = r->verbs[v], .url = r->urls[u]}))
                return;
}

static bool covered_whole(const struct covering *c, const struct auth_rule *r)
{
    for (size_t i = 0; i < c->held_count; i++)
        if (auth_rule_within(r, c->held[i]))
            return true;
    return false;
}

static int by_text(const void *a, const void *b)
{
    const struct missing_line *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : strcmp(x->verbs.data, y->verbs.data);
}

static void lines_done(struct covering *c)
{
    for (size_t i = 0; i < c->line_count; i++)
        neap_buf_done(&c->lines[i].verbs);
}

static void tell(struct covering *c, struct neap_buf *out)
{
    if (c->line_count)
        qsort(c->lines, c->line_count, sizeof(*c->lines), by_text);
    for (size_t i = 0; i < c->line_count; i++)
        if (!i || by_text(&c->lines[i - 1], &c->lines[i]) != 0)
            neap_buf_printf(out, "%s{%s, Verbs:[%s]}", i ? "\n" : "", c->lines[i].key,
                            c->lines[i].verbs.data);
    if (c->checks > CHECKS_MAX)
        neap_buf_printf(out, "%sthe rules name more than %d permissions: split them",
                        out->len ? "\n" : "", CHECKS_MAX);
}

bool neap_auth_covers(struct neap_auth *a, const struct neap_snapshot *s,
                      const struct neap_identity *identity, const char *namespace_,
                      yyjson_mut_val *rules, struct neap_buf *missing)
{
    if (neap_identity_in_group(identity, "system:masters"))
        return true;
    struct neap_arena *arena = neap_arena_new(0);
    struct covering c = {
        .auth = a, .identity = identity, .namespace_ = namespace_, .arena = arena, .ok = true};
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
    tell(&c, missing);
    lines_done(&c);
    free(c.held);
    yyjson_doc_free(doc);
    neap_buf_done(&json);
    neap_arena_free(arena);
    return c.ok;
}
