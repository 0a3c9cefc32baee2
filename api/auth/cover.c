/* Escalation: is every single permission of a role held by who grants it?
 * The words of what is missing are the real server's: one line a resource, in byte order. */
#include "auth_internal.h"

/* One line of the answer: everything but the verbs is its key. */
struct missing_line {
    const char *key, *verbs;
};

struct covering {
    struct neap_auth *auth;
    const struct neap_snapshot *snapshot;
    const struct neap_identity *identity;
    const char *namespace_;
    struct neap_arena *arena;
    struct missing_line *lines;
    size_t count, room;
};

/* One permission; <url> NULL: of a resource, <name> NULL: of all names. */
struct permission {
    const char *verb, *group, *resource, *name, *url;
};

/* The identity holds it (with "*" meaning all of its kind). */
static bool held(struct covering *c, const struct permission *p)
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
    return neap_auth_authorize(c->auth, c->snapshot, &x, NULL) == NEAP_ALLOW;
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

static struct missing_line *new_line(struct covering *c)
{
    if (c->count == c->room) {
        size_t room = c->room ? c->room * 2 : 16;
        struct missing_line *more = neap_arena_alloc(c->arena, room * sizeof(*more));
        if (!more)
            return NULL;
        if (c->count)
            memcpy(more, c->lines, c->count * sizeof(*more));
        c->lines = more;
        c->room = room;
    }
    return &c->lines[c->count++];
}

/* Verbs of one resource share a line; those of a URL do not. */
static void lacking(struct covering *c, const struct permission *p)
{
    NEAP_CLEANUP_BUF struct neap_buf verb = NEAP_BUF_INIT;
    neap_buf_json_string(&verb, p->verb, strlen(p->verb));
    const char *key = key_of(c->arena, p);
    for (size_t i = 0; key && !p->url && i < c->count; i++)
        if (strcmp(c->lines[i].key, key) == 0) {
            c->lines[i].verbs = neap_arena_printf(c->arena, "%s %s", c->lines[i].verbs, verb.data);
            return;
        }
    struct missing_line *line = key ? new_line(c) : NULL;
    if (line)
        *line = (struct missing_line){key, neap_arena_strdup(c->arena, verb.data)};
}

static void cover(struct covering *c, const struct permission *p)
{
    if (!held(c, p))
        lacking(c, p);
}

static void cover_rule(struct covering *c, const struct auth_rule *r)
{
    static const char *const none[] = {NULL, NULL};
    const char *const *names = r->names[0] ? (const char *const *)r->names : none;
    for (unsigned g = 0; r->groups[g]; g++)
        for (unsigned i = 0; r->resources[i]; i++)
            for (unsigned v = 0; r->verbs[v]; v++)
                for (unsigned n = 0; n == 0 || names[n]; n++)
                    cover(c, &(struct permission){r->verbs[v], r->groups[g], r->resources[i],
                                                  names[n], NULL});
    for (unsigned u = 0; r->urls[u]; u++)
        for (unsigned v = 0; r->verbs[v]; v++)
            cover(c, &(struct permission){.verb = r->verbs[v], .url = r->urls[u]});
}

static int by_text(const void *a, const void *b)
{
    const struct missing_line *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : strcmp(x->verbs, y->verbs);
}

static void tell(const struct covering *c, struct neap_buf *out)
{
    if (c->count)
        qsort(c->lines, c->count, sizeof(*c->lines), by_text);
    for (size_t i = 0; i < c->count; i++)
        if (!i || by_text(&c->lines[i - 1], &c->lines[i]) != 0)
            neap_buf_printf(out, "%s{%s, Verbs:[%s]}", i ? "\n" : "", c->lines[i].key,
                            c->lines[i].verbs);
}

bool neap_auth_covers(struct neap_auth *a, const struct neap_snapshot *s,
                      const struct neap_identity *identity, const char *namespace_,
                      yyjson_mut_val *rules, struct neap_buf *missing)
{
    struct neap_arena *arena = neap_arena_new(0);
    struct covering c = {
        .auth = a, .snapshot = s, .identity = identity, .namespace_ = namespace_, .arena = arena};
    NEAP_CLEANUP_BUF struct neap_buf json = NEAP_BUF_INIT;
    unsigned count;
    neap_json_write_sorted(&json, rules);
    yyjson_doc *doc = yyjson_read(json.data, json.len, 0);
    struct auth_rule *compiled = auth_rules_compile(arena, yyjson_doc_get_root(doc), &count);
    for (unsigned i = 0; i < count; i++)
        cover_rule(&c, &compiled[i]);
    yyjson_doc_free(doc);
    tell(&c, missing);
    bool ok = c.count == 0;
    neap_arena_free(arena);
    return ok;
}
