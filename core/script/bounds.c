/* Library functions whose loops are C's: no hook stops them, so their work is bounded before it begins. */
#include "script_internal.h"

enum {
    PATTERN_MAX = 256,
    SUBJECT_MAX = 64 << 10,
    SORT_MAX = 250000, /* elements: sorting texts takes the processor about a tenth of a second */
    MOVE_MAX = 8 << 20 /* places that table.move may visit: more than memory holds */
};
/* Steps that one match may need at worst, and bytes that a plain search may compare: about half a second. */
#define STEPS_MAX 1e8
#define PLAIN_MAX 4e9

/* The library's own function, an upvalue, in this one's frame: its errors name the script's line. */
static int call_original(lua_State *l)
{
    return lua_tocfunction(l, lua_upvalueindex(1))(l);
}

/* ---- patterns ---- */

/* Behind one item of a pattern: a character, "%x", "%bxy", "%f[set]" or "[set]". */
static const char *item_end(const char *p, const char *end)
{
    if (*p == '%' && p + 1 < end) {
        p++;
        if (*p == 'b')
            return end - p > 3 ? p + 3 : end;
        p++;
        return p;
    }
    if (*p++ != '[')
        return p;
    if (p < end && *p == '^')
        p++;
    for (bool first = true; p < end && (first || *p != ']'); first = false)
        p += *p == '%' && p + 1 < end ? 2 : 1;
    return p < end ? p + 1 : end;
}

/* Each repetition may try every place of the subject, each "?" two ways, and the match may start anywhere. */
static double pattern_steps(const char *p, size_t n, size_t subject, bool anchors)
{
    const char *end = p + n;
    double steps = (double)subject + 1, all = n && *p == '^' && anchors ? 1 : steps;
    while (p < end) {
        p = item_end(p, end);
        if (p < end && (*p == '*' || *p == '+' || *p == '-'))
            all *= steps, p++;
        else if (p < end && *p == '?')
            all *= 2, p++;
    }
    return all;
}

/* find, match, gmatch, gsub; the second upvalue tells whether "^" is an anchor there. */
static int matching(lua_State *l)
{
    size_t subject = 0, n = 0;
    bool plain = lua_toboolean(l, 4) && lua_toboolean(l, lua_upvalueindex(3));
    lua_tolstring(l, 1, &subject);
    const char *p = lua_tolstring(l, 2, &n);
    bool ok = plain ? (double)subject * (double)n <= PLAIN_MAX
                    : subject <= SUBJECT_MAX && n <= PATTERN_MAX &&
                          (!p || pattern_steps(p, n, subject,
                                               lua_toboolean(l, lua_upvalueindex(2))) <= STEPS_MAX);
    if (!ok)
        return luaL_error(l, "string or pattern too long for a pattern match");
    return call_original(l);
}

/* ---- tables ---- */

/* A table whose __len lies would be walked for ever. Views of a document (userdata) tell the truth. */
static void check_length(lua_State *l, int index)
{
    if (lua_istable(l, index) && luaL_getmetafield(l, index, "__len") != LUA_TNIL)
        luaL_argerror(l, index, "a table with __len");
}

static int plain_table(lua_State *l)
{
    check_length(l, 1);
    return call_original(l);
}

static int sort(lua_State *l)
{
    check_length(l, 1);
    if (lua_istable(l, 1) && lua_rawlen(l, 1) > SORT_MAX)
        return luaL_error(l, "more than %d elements to sort", (int)SORT_MAX);
    return call_original(l);
}

static int move(lua_State *l)
{
    lua_Number first = luaL_checknumber(l, 2), last = luaL_checknumber(l, 3);
    if (last - first > MOVE_MAX)
        return luaL_error(l, "too many elements to move");
    return call_original(l);
}

/* ---- the rest ---- */

/* What is too long the allocator refuses; of nothing there is no end. */
static int rep(lua_State *l)
{
    size_t n = 0, separator = 0;
    luaL_checklstring(l, 1, &n);
    luaL_checkinteger(l, 2);
    luaL_optlstring(l, 3, "", &separator);
    if (!n && !separator) {
        lua_pushliteral(l, "");
        return 1;
    }
    return call_original(l);
}

/* No hook comes while a finalizer runs. */
static int set_metatable(lua_State *l)
{
    if (lua_istable(l, 2)) {
        lua_pushliteral(l, "__gc");
        if (lua_rawget(l, 2) != LUA_TNIL)
            return luaL_argerror(l, 2, "__gc is not for scripts");
        lua_pop(l, 1);
    }
    return call_original(l);
}

static void bound(lua_State *l, const char *name, lua_CFunction f)
{
    lua_getfield(l, -1, name);
    lua_pushcclosure(l, f, 1);
    lua_setfield(l, -2, name);
}

static void bound_pattern(lua_State *l, const char *name, bool anchors, bool may_be_plain)
{
    lua_getfield(l, -1, name);
    lua_pushboolean(l, anchors);
    lua_pushboolean(l, may_be_plain);
    lua_pushcclosure(l, matching, 3);
    lua_setfield(l, -2, name);
}

void script_bounds_open(lua_State *l)
{
    static const char *const of_tables[] = {"insert", "remove", "concat", "unpack"};
    lua_getglobal(l, LUA_STRLIBNAME);
    bound_pattern(l, "find", true, true);
    bound_pattern(l, "match", true, false);
    bound_pattern(l, "gmatch", false, false);
    bound_pattern(l, "gsub", true, false);
    bound(l, "rep", rep);
    lua_pushnil(l);
    lua_setfield(l, -2, "dump");
    lua_getglobal(l, LUA_TABLIBNAME);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(of_tables); i++)
        bound(l, of_tables[i], plain_table);
    bound(l, "sort", sort);
    bound(l, "move", move);
    lua_pushglobaltable(l);
    bound(l, "setmetatable", set_metatable);
    lua_pop(l, 3);
    /* shared by all scripts of the state: what one puts there the others would meet */
    lua_pushliteral(l, "");
    lua_getmetatable(l, -1);
    lua_pushliteral(l, "locked");
    lua_setfield(l, -2, "__metatable");
    lua_pop(l, 2);
}
