/* neap.controller{...}, neap.admission{...}, neap.scheduler.*{...}: what a file declares. Here a slip of the pen is
 * told with its line; the engine that loads the file checks what the fields mean. */
#include "script_internal.h"

static const char DECLARED[] = "neap.declared"; /* of the registry: table -> what it is, weak */

struct declaration {
    const char *function, *what;
    const char *const *fields;
};
static const struct declaration controller = {"neap.controller", "controller",
                                              (const char *const[]){"name", "for_", "owns",
                                                                    "watches", "concurrency",
                                                                    "reconcile", "sync", NULL}};
static const struct declaration rule = {
    "neap.admission", "admission",
    (const char *const[]){"name", "resources", "operations", "namespaces", "exclude_namespaces",
                          "budget_ms", "mutate", "validate", NULL}};
static const struct declaration score = {"neap.scheduler.score", "policy",
                                         (const char *const[]){"name", "weight", "score", NULL}};
static const struct declaration filter = {"neap.scheduler.filter", "policy",
                                          (const char *const[]){"name", "weight", "filter", NULL}};

static void check_field(lua_State *l, const struct declaration *d)
{
    const char *name = lua_type(l, -2) == LUA_TSTRING ? lua_tostring(l, -2) : NULL;
    for (const char *const *f = d->fields; *f; f++)
        if (name && strcmp(name, *f) == 0)
            return;
    luaL_Buffer b;
    luaL_buffinit(l, &b);
    for (const char *const *f = d->fields; *f; f++) {
        luaL_addstring(&b, *f);
        if (f[1])
            luaL_addstring(&b, ", ");
    }
    luaL_pushresult(&b);
    luaL_error(l, "%s has no field \"%s\", but %s", d->function, name ? name : "[1]",
               lua_tostring(l, -1));
}

static int declare(lua_State *l)
{
    const struct declaration *d = lua_touserdata(l, lua_upvalueindex(1));
    lua_settop(l, 1);
    if (!lua_istable(l, 1) || lua_getmetatable(l, 1))
        return luaL_error(l, "%s wants a plain table", d->function);
    for (lua_pushnil(l); lua_next(l, 1); lua_pop(l, 1))
        check_field(l, d);
    luaL_getmetatable(l, DECLARED);
    lua_pushvalue(l, 1);
    lua_pushstring(l, d->what);
    lua_rawset(l, -3);
    lua_settop(l, 1);
    return 1;
}

bool neap_script_declared(lua_State *l, int index, const char *what)
{
    if (!lua_istable(l, index) || lua_getmetatable(l, index)) {
        lua_settop(l, index);
        return false;
    }
    luaL_getmetatable(l, DECLARED);
    lua_pushvalue(l, index);
    lua_rawget(l, -2);
    bool is = neap_streq(lua_tostring(l, -1), what);
    lua_settop(l, index);
    return is;
}

static void add(lua_State *l, const char *name, const struct declaration *d)
{
    lua_pushlightuserdata(l, (void *)(uintptr_t)d);
    lua_pushcclosure(l, declare, 1);
    lua_setfield(l, -2, name);
}

void script_declare_open(lua_State *l)
{
    luaL_newmetatable(l, DECLARED);
    lua_newtable(l);
    lua_pushliteral(l, "k");
    lua_setfield(l, -2, "__mode");
    lua_setmetatable(l, -2);
    lua_pop(l, 1);
    add(l, "controller", &controller);
    add(l, "admission", &rule);
    lua_newtable(l);
    add(l, "score", &score);
    add(l, "filter", &filter);
    lua_setfield(l, -2, "scheduler");
}
