/* Rule files: what they declare, and to which requests they apply. */
#include "admission_internal.h"

#include <dirent.h>

enum { FILES_MAX = 256, LIST_MAX = 256, MEMORY_MAX = 16 << 20, BUDGET_MS = 5, BUDGET_MAX_MS = 100 };

/* ---- patterns ---- */

/* One part of a pattern; NULL: any. */
static char *part(const char *s, size_t n)
{
    return n == 1 && *s == '*' ? NULL : neap_strndup(s, n);
}

static bool is_version(const char *s, size_t n)
{
    return n >= 2 && s[0] == 'v' && s[1] >= '0' && s[1] <= '9';
}

/* "RESOURCE" and "v1/RESOURCE" are of the core group, "GROUP/RESOURCE", "GROUP/VERSION/RESOURCE". */
static void parse_pattern(struct resource_pattern *p, const char *text)
{
    const char *a = strchr(text, '/'), *b = a ? strchr(a + 1, '/') : NULL;
    if (!a) {
        p->resource = part(text, strlen(text));
        p->group = p->resource ? neap_strdup("") : NULL; /* "*": everything */
    } else if (b) {
        p->group = part(text, (size_t)(a - text));
        p->version = part(a + 1, (size_t)(b - a - 1));
        p->resource = part(b + 1, strlen(b + 1));
    } else if (is_version(text, (size_t)(a - text))) {
        p->group = neap_strdup("");
        p->version = neap_strndup(text, (size_t)(a - text));
        p->resource = part(a + 1, strlen(a + 1));
    } else {
        p->group = part(text, (size_t)(a - text));
        p->resource = part(a + 1, strlen(a + 1));
    }
}

static bool pattern_matches(const struct resource_pattern *p, const struct neap_kind *k)
{
    return (!p->group || strcmp(p->group, k->group) == 0) &&
           (!p->version || strcmp(p->version, k->version) == 0) &&
           (!p->resource || strcmp(p->resource, k->resource) == 0);
}

bool admission_matches(const struct rule *r, const struct neap_kind *k)
{
    for (size_t i = 0; i < r->resource_count; i++)
        if (pattern_matches(&r->resources[i], k) ||
            (k->storage != k && pattern_matches(&r->resources[i], k->storage)))
            return true;
    return false;
}

/* A pattern that no kind matches is a slip of the pen, unless its group may be one of a custom kind. */
static bool plausible(const struct resource_pattern *p)
{
    for (unsigned i = 0; i < neap_kind_count; i++)
        if (pattern_matches(p, neap_kinds[i]))
            return true;
    return p->group && strchr(p->group, '.') && !neap_endswith(p->group, ".k8s.io");
}

/* ---- reading a declaration ---- */

static int bad(struct neap_err *err, const char *file, const char *text)
{
    return neap_err_set(err, NEAP_ECONFIG, "%s: %s", file, text);
}

/* A list of strings, owned; *ret NULL: the field is absent. */
static int read_strings(lua_State *l, int table, const char *field, const char *file, char ***ret,
                        struct neap_err *err)
{
    char **list = NULL;
    size_t cap = 0, n = 0;
    int type = lua_getfield(l, table, field), rc = 0;
    if (type != LUA_TNIL && type != LUA_TTABLE)
        rc = neap_err_set(err, NEAP_ECONFIG, "%s: %s wants a list of strings", file, field);
    while (type == LUA_TTABLE && !rc && lua_rawgeti(l, -1, (lua_Integer)n + 1) != LUA_TNIL) {
        if (lua_type(l, -1) != LUA_TSTRING || n >= LIST_MAX) {
            rc = neap_err_set(err, NEAP_ECONFIG, "%s: %s wants a list of at most %d strings", file,
                              field, LIST_MAX);
            break;
        }
        list = neap_grow(list, &cap, n + 1, sizeof(*list));
        list[n++] = neap_strdup(lua_tostring(l, -1));
        list[n] = NULL;
        lua_pop(l, 1);
    }
    if (type == LUA_TTABLE && !list)
        list = neap_calloc(1, sizeof(*list));
    lua_settop(l, table);
    *ret = list;
    return rc;
}

static void strings_free(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free(list);
}

static int read_resources(struct rule *r, lua_State *l, int table, struct neap_err *err)
{
    char **list = NULL;
    int rc = read_strings(l, table, "resources", r->file, &list, err);
    size_t n = 0;
    while (list && list[n])
        n++;
    if (!rc && !n)
        rc = bad(err, r->file, "resources wants a list like {\"pods\", \"apps/deployments\"}");
    r->resources = neap_calloc(n + 1, sizeof(*r->resources));
    for (size_t i = 0; !rc && i < n; i++) {
        parse_pattern(&r->resources[r->resource_count++], list[i]);
        if (!plausible(&r->resources[i]))
            rc = neap_err_set(err, NEAP_ECONFIG,
                              "%s: no resource \"%s\": write it as \"pods\" or "
                              "\"apps/deployments\"",
                              r->file, list[i]);
    }
    strings_free(list);
    return rc;
}

static int read_operations(struct rule *r, lua_State *l, int table, struct neap_err *err)
{
    static const char *const names[] = {"CREATE", "UPDATE", "DELETE"};
    char **list = NULL;
    int rc = read_strings(l, table, "operations", r->file, &list, err);
    if (!list)
        r->operations = OP_CREATE | OP_UPDATE;
    for (char **p = list; !rc && p && *p; p++) {
        unsigned bit = strcmp(*p, "*") == 0 ? OP_CREATE | OP_UPDATE | OP_DELETE : 0;
        for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++)
            if (strcmp(*p, names[i]) == 0)
                bit = 1u << i;
        r->operations |= bit;
        if (!bit)
            rc = neap_err_set(err, NEAP_ECONFIG,
                              "%s: no operation \"%s\": CREATE, UPDATE, DELETE or *", r->file, *p);
    }
    strings_free(list);
    return rc;
}

static int read_function(struct rule *r, lua_State *l, int table, const char *field, int *ret,
                         struct neap_err *err)
{
    int type = lua_getfield(l, table, field);
    *ret = LUA_NOREF;
    if (type == LUA_TFUNCTION)
        *ret = luaL_ref(l, LUA_REGISTRYINDEX);
    lua_settop(l, table);
    return type == LUA_TFUNCTION || type == LUA_TNIL
               ? 0
               : neap_err_set(err, NEAP_ECONFIG, "%s: %s wants a function", r->file, field);
}

static int read_rule(struct rule *r, lua_State *l, int table, struct neap_err *err)
{
    if (!neap_script_declared(l, table, "admission"))
        return bad(err, r->file, "must return neap.admission{...}");
    if (lua_getfield(l, table, "name") != LUA_TSTRING || !*lua_tostring(l, -1))
        return bad(err, r->file, "a rule needs a name");
    r->name = neap_strdup(lua_tostring(l, -1));
    if (lua_getfield(l, table, "budget_ms") != LUA_TNIL) {
        lua_Integer ms = lua_tointeger(l, -1);
        if (ms < 1 || ms > BUDGET_MAX_MS)
            return neap_err_set(err, NEAP_ECONFIG, "%s: budget_ms is 1 to %d", r->file,
                                BUDGET_MAX_MS);
        r->budget_ms = (uint64_t)ms;
    }
    lua_settop(l, table);
    int rc = read_resources(r, l, table, err);
    if (!rc)
        rc = read_operations(r, l, table, err);
    if (!rc)
        rc = read_strings(l, table, "namespaces", r->file, &r->namespaces, err);
    if (!rc)
        rc = read_strings(l, table, "exclude_namespaces", r->file, &r->exclude_namespaces, err);
    if (!rc)
        rc = read_function(r, l, table, "mutate", &r->mutate_ref, err);
    if (!rc)
        rc = read_function(r, l, table, "validate", &r->validate_ref, err);
    if (!rc && r->mutate_ref == LUA_NOREF && r->validate_ref == LUA_NOREF)
        rc = bad(err, r->file, "a rule needs mutate or validate");
    return rc;
}

/* ---- sets ---- */

static void rule_free(struct rule *r)
{
    for (size_t i = 0; i < r->resource_count; i++) {
        free(r->resources[i].group);
        free(r->resources[i].version);
        free(r->resources[i].resource);
    }
    free(r->resources);
    strings_free(r->namespaces);
    strings_free(r->exclude_namespaces);
    free(r->name);
    free(r->file);
    free(r);
}

struct rule_set *admission_set_free(struct rule_set *s)
{
    if (!s)
        return NULL;
    for (struct rule *r = s->rules, *next; r; r = next) {
        next = r->next;
        rule_free(r);
    }
    neap_script_free(s->script);
    free(s->covered);
    free(s);
    return NULL;
}

static void cover(struct rule_set *s, const struct rule *r)
{
    for (unsigned i = 0; i < neap_kind_count; i++)
        if (admission_matches(r, neap_kinds[i]))
            s->covered[neap_kinds[i]->storage->index] = true;
}

int admission_load_file(struct rule_set *s, const char *path, struct neap_err *err)
{
    lua_State *l = neap_script_lua(s->script);
    int rc = neap_script_load(s->script, path, err);
    if (rc)
        return rc;
    struct rule *r = neap_calloc(1, sizeof(*r));
    r->file = neap_strdup(path);
    r->budget_ms = BUDGET_MS;
    rc = read_rule(r, l, lua_gettop(l), err);
    lua_settop(l, 0);
    for (struct rule *o = s->rules; !rc && o; o = o->next)
        if (strcmp(o->name, r->name) == 0)
            rc = neap_err_set(err, NEAP_ECONFIG, "%s: %s has a rule of this name too: %s", path,
                              o->file, r->name);
    if (rc) {
        rule_free(r);
        return rc;
    }
    *s->tail = r;
    s->tail = &r->next;
    s->count++;
    cover(s, r);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Every .lua file of DIR/admission; a folder that is not there has none. */
static int load_folder(struct rule_set *s, const char *dir, struct neap_err *err)
{
    char *names[FILES_MAX], path[4096];
    size_t count = 0;
    int rc = 0;
    snprintf(path, sizeof(path), "%s/admission", dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) && count < FILES_MAX;)
        if (neap_script_is_one(e->d_name))
            names[count++] = neap_strdup(e->d_name);
    if (d)
        closedir(d);
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/admission/%s", dir, names[i]);
        if (!rc)
            rc = admission_load_file(s, path, err);
        free(names[i]);
    }
    return rc;
}

int admission_load(struct neap_admission_rules *a, struct rule_set **ret, struct neap_err *err)
{
    struct rule_set *s = neap_calloc(1, sizeof(*s));
    unsigned highest = 0;
    struct neap_script_options o = {.clock = a->options.clock,
                                    .rand = a->options.rand,
                                    .memory_max = MEMORY_MAX,
                                    .lib_dir = a->lib,
                                    .user_lib_dir = a->user_lib};
    for (unsigned i = 0; i < neap_kind_count; i++)
        highest = neap_kinds[i]->index > highest ? neap_kinds[i]->index : highest;
    s->covered_count = highest + 1;
    s->covered = neap_calloc(s->covered_count, sizeof(*s->covered));
    s->tail = &s->rules;
    s->script = neap_script_new(&o);
    admission_api_open(s);
    int rc = a->options.script_dir ? load_folder(s, a->options.script_dir, err) : 0;
    if (!rc && a->options.user_script_dir)
        rc = load_folder(s, a->options.user_script_dir, err);
    if (rc)
        admission_set_free(s);
    else
        *ret = s;
    return rc;
}
