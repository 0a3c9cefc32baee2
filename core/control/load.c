/* Controller files: what they declare. */
#include "control_internal.h"

#include <dirent.h>
#include <lauxlib.h>
#include <lua.h>

enum { CONCURRENCY_DEFAULT = 8, CONCURRENCY_MAX = 1000, FILES_MAX = 256 };

static int bad(struct neap_err *err, const char *file, const char *text)
{
    return neap_err_set(err, NEAP_ECONFIG, "%s: %s", file, text);
}

static const struct neap_kind *kind_at(lua_State *l, int index, const char *file,
                                       struct neap_err *err)
{
    const char *text = lua_tostring(l, index);
    const struct neap_kind *k = text ? neap_script_kind(text) : NULL;
    if (!k)
        neap_err_set(err, NEAP_ECONFIG, "%s: no kind \"%s\": write it as \"v1/pods\"", file,
                     text ? text : luaL_typename(l, index));
    return k;
}

static int read_owns(struct controller *c, lua_State *l, int table, struct neap_err *err)
{
    int rc = 0, type = lua_getfield(l, table, "owns");
    if (type != LUA_TTABLE && type != LUA_TNIL)
        return bad(err, c->file, "owns wants a list, as { \"v1/pods\" }");
    for (lua_Integer i = 1; type == LUA_TTABLE && !rc && lua_rawgeti(l, -1, i) != LUA_TNIL; i++) {
        const struct neap_kind *k = kind_at(l, -1, c->file, err);
        if (k)
            control_interest(control_watch(c->control, k), INTEREST_OWNS, c, LUA_NOREF, false);
        else
            rc = NEAP_ECONFIG;
        lua_pop(l, 1);
    }
    lua_settop(l, table);
    return rc;
}

/* Kinds whose objects own nothing and are owned by nothing that matters, and change all the time. */
static bool never_owned(const struct neap_kind *k)
{
    return strcmp(k->resource, "events") == 0 || strcmp(k->resource, "leases") == 0;
}

/* "*": every kind, but only what has owners, is being deleted or is gone. */
static void watch_all(struct controller *c, int map_ref)
{
    for (unsigned i = 0; i < neap_kind_count; i++) {
        const struct neap_kind *k = neap_kinds[i];
        if (k->storage == k && (k->verbs & NEAP_VERB_DELETE) && !never_owned(k))
            control_interest(control_watch(c->control, k), INTEREST_WATCHES, c, map_ref, true);
    }
}

/* watches = {{"v1/pods", function(object, event) return key or keys end}, ...} */
static int read_watches(struct controller *c, lua_State *l, int table, struct neap_err *err)
{
    int rc = 0, type = lua_getfield(l, table, "watches");
    if (type != LUA_TTABLE && type != LUA_TNIL)
        return bad(err, c->file, "watches wants a list, as { { \"v1/pods\", function } }");
    if (type == LUA_TTABLE)
        for (lua_Integer i = 1; !rc && lua_rawgeti(l, table + 1, i) != LUA_TNIL; i++) {
            if (!lua_istable(l, -1))
                return bad(err, c->file, "watches wants a list, as { { \"v1/pods\", function } }");
            lua_rawgeti(l, -1, 1);
            bool all = neap_streq(lua_tostring(l, -1), "*");
            const struct neap_kind *k = all ? NULL : kind_at(l, -1, c->file, err);
            if (!all && !k)
                rc = NEAP_ECONFIG;
            else if (lua_rawgeti(l, table + 2, 2) != LUA_TFUNCTION)
                rc = bad(err, c->file, "watches wants {kind, function}");
            else if (all)
                watch_all(c, luaL_ref(l, LUA_REGISTRYINDEX));
            else
                control_interest(control_watch(c->control, k), INTEREST_WATCHES, c,
                                 luaL_ref(l, LUA_REGISTRYINDEX), false);
            lua_settop(l, table + 1);
        }
    lua_settop(l, table);
    return rc;
}

/* reconcile(namespace, name), or sync(parent, observed) wrapped by the library "sync". */
static int read_function(struct controller *c, lua_State *l, int table, struct neap_err *err)
{
    if (lua_getfield(l, table, "reconcile") != LUA_TFUNCTION) {
        if (lua_getfield(l, table, "sync") != LUA_TFUNCTION)
            return bad(err, c->file, "a controller needs reconcile or sync, a function");
        lua_settop(l, table);
        lua_rawgeti(l, LUA_REGISTRYINDEX, c->set->require_ref);
        lua_pushliteral(l, "sync");
        if (lua_pcall(l, 1, 1, 0) != LUA_OK)
            return bad(err, c->file, lua_tostring(l, -1));
        lua_pushvalue(l, table);
        if (lua_pcall(l, 1, 1, 0) != LUA_OK)
            return bad(err, c->file, lua_tostring(l, -1));
    }
    c->reconcile_ref = luaL_ref(l, LUA_REGISTRYINDEX);
    lua_settop(l, table);
    return 0;
}

/* Metrics and field managers go by the name. */
static int check_name(const struct controller *c, struct neap_err *err)
{
    neap_list_foreach(&c->control->controllers, e)
    {
        const struct controller *o = neap_list_entry(e, struct controller, link);
        if (o != c && neap_streq(o->name, c->name))
            return neap_err_set(err, NEAP_ECONFIG, "%s: %s has a controller of this name too: %s",
                                c->file, o->file, c->name);
    }
    return 0;
}

static int read_controller(struct controller *c, lua_State *l, int table, struct neap_err *err)
{
    if (!neap_script_declared(l, table, "controller"))
        return bad(err, c->file, "must return neap.controller{...}");
    if (lua_getfield(l, table, "name") != LUA_TSTRING || !*lua_tostring(l, -1))
        return bad(err, c->file, "a controller needs a name");
    c->name = neap_strdup(lua_tostring(l, -1));
    if (check_name(c, err))
        return err->code;
    if (lua_getfield(l, table, "concurrency") != LUA_TNIL) {
        lua_Integer n = lua_tointeger(l, -1);
        if (n < 1 || n > CONCURRENCY_MAX)
            return bad(err, c->file, "concurrency is a whole number of 1 to 1000");
        c->concurrency = (unsigned)n;
    }
    if (lua_getfield(l, table, "for_") != LUA_TSTRING)
        return bad(err, c->file, "for_ wants a resource, as \"v1/pods\"");
    c->kind = kind_at(l, -1, c->file, err);
    if (!c->kind)
        return NEAP_ECONFIG;
    lua_settop(l, table);
    control_interest(control_watch(c->control, c->kind), INTEREST_FOR, c, LUA_NOREF, false);
    int rc = read_owns(c, l, table, err);
    if (!rc)
        rc = read_watches(c, l, table, err);
    return rc ? rc : read_function(c, l, table, err);
}

static int load_file(struct neap_control *control, struct script_set *set, const char *path,
                     struct neap_err *err)
{
    lua_State *l = neap_script_lua(set->script);
    int rc = neap_script_load(set->script, path, err);
    if (rc)
        return rc;
    struct controller *c = neap_calloc(1, sizeof(*c));
    c->control = control;
    c->set = set;
    c->file = neap_strdup(path);
    c->concurrency = CONCURRENCY_DEFAULT;
    neap_list_init(&c->queue);
    neap_list_append(&control->controllers, &c->link);
    rc = read_controller(c, l, lua_gettop(l), err);
    lua_settop(l, 0);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of a folder's scripts, sorted. */
static int list_folder(const char *dir, char *names[FILES_MAX], size_t *count, struct neap_err *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return neap_err_set(err, NEAP_ECONFIG, "%s: no such folder of scripts", dir);
    for (struct dirent *e; (e = readdir(d)) && *count < FILES_MAX;)
        if (neap_script_is_one(e->d_name))
            names[(*count)++] = neap_asprintf("%s/%s", dir, e->d_name);
    closedir(d);
    qsort(names, *count, sizeof(*names), by_name);
    return 0;
}

int control_load(struct neap_control *c, const char *dir, const char *file, struct neap_err *err)
{
    char *names[FILES_MAX];
    size_t count = 0;
    int rc = 0;
    if (file)
        names[count++] = neap_strdup(file);
    else
        rc = list_folder(dir, names, &count, err);
    if (rc)
        return rc;
    struct script_set *set = neap_calloc(1, sizeof(*set));
    struct neap_script_options o = {.loop = c->options.loop,
                                    .client = c->options.client,
                                    .clock = c->options.clock,
                                    .rand = c->options.rand,
                                    .lib_dir = c->lib,
                                    .user_lib_dir = c->user_lib,
                                    .ca_pem = c->options.ca_pem};
    set->script = neap_script_new(&o);
    neap_list_append(&c->sets, &set->link);
    lua_getglobal(neap_script_lua(set->script),
                  "require"); /* before a script makes something else of it */
    set->require_ref = luaL_ref(neap_script_lua(set->script), LUA_REGISTRYINDEX);
    if (file)
        neap_script_beside(set->script, file);
    for (size_t i = 0; i < count; i++) {
        if (!rc)
            rc = load_file(c, set, names[i], err);
        free(names[i]);
    }
    return rc;
}
