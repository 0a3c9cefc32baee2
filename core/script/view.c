/* Objects in Lua: frozen views into the snapshot's JSON. Nothing is copied; a view dies with its item. */
#include "script_internal.h"

#include <math.h>

static const char VIEW[] = "neap.view", LIST[] = "neap.list";

/* Objects that are parsed at a time: the others are parsed anew when they are looked into again. A controller of
 * 10,000 pods would hold 100 MB else. */
enum { PARSED_MAX = 64 };

/* What is inside of an object is kept by its place among the values: they lie one after the other, and the same text
 * parsed again has them at the same places. */
struct view {
    struct script_root *root;
    size_t at; /* 0: the object itself */
};

/* ---- roots ---- */

static void unparse(struct script_root *r)
{
    if (r->doc && !r->borrowed) {
        yyjson_doc_free(r->doc);
        neap_list_remove(&r->parsed);
        r->script->parsed_count--;
    }
    r->doc = NULL;
}

void script_root_unref(struct script_root *r)
{
    if (--r->refs)
        return;
    unparse(r);
    neap_object_unref(r->object);
    free(r);
}

void script_roots_end(struct neap_item *i)
{
    for (struct script_root *r = i->roots, *next; r; r = next) {
        next = r->next;
        r->dead = true;
        unparse(r);
        r->object = neap_object_unref(r->object);
        script_root_unref(r);
    }
    i->roots = NULL;
}

static void push(lua_State *l, struct script_root *r, size_t at)
{
    struct view *v = lua_newuserdatauv(l, sizeof(*v), 0);
    *v = (struct view){r, at};
    r->refs++;
    luaL_setmetatable(l, VIEW);
}

void script_view_push(struct neap_script *s, lua_State *l, struct neap_object *o)
{
    struct script_root *r = neap_calloc(1, sizeof(*r));
    r->script = s;
    r->object = neap_object_ref(o);
    r->refs = 1; /* the item's */
    r->next = s->current->roots;
    s->current->roots = r;
    push(l, r, 0);
}

void neap_script_push_object(struct neap_script *s, struct neap_object *o)
{
    if (!s->current)
        s->current = script_item_new(s);
    script_view_push(s, s->l, o);
}

void neap_script_push_parsed(struct neap_script *s, struct neap_object *o, yyjson_doc *doc)
{
    neap_script_push_object(s, o);
    struct script_root *r = s->current->roots; /* the newest */
    r->doc = doc;
    r->borrowed = doc != NULL;
}

/* ---- values ---- */

/* The one that was looked into longest ago goes. */
static void parse(struct script_root *r)
{
    struct neap_script *s = r->script;
    if (s->parsed_count >= PARSED_MAX)
        unparse(neap_list_entry(s->parsed.next, struct script_root, parsed));
    r->doc = neap_object_parse(r->object, NULL);
    neap_list_append(&s->parsed, &r->parsed);
    s->parsed_count++;
}

/* Good until others are parsed. */
static yyjson_val *value_of(lua_State *l, struct view *v)
{
    struct script_root *r = v->root;
    if (r->dead)
        luaL_error(l, "object outlived its sync");
    if (!r->doc) {
        parse(r);
    } else if (!r->borrowed) { /* the newest again */
        neap_list_remove(&r->parsed);
        neap_list_append(&r->script->parsed, &r->parsed);
    }
    return yyjson_doc_get_root(r->doc) + v->at;
}

static size_t place_of(const struct script_root *r, const yyjson_val *v)
{
    return (size_t)(v - yyjson_doc_get_root(r->doc));
}

yyjson_val *script_view_value(lua_State *l, int index)
{
    struct view *v = luaL_testudata(l, index, VIEW);
    return v ? value_of(l, v) : NULL;
}

struct neap_object *script_view_object(lua_State *l, int index)
{
    struct view *v = luaL_testudata(l, index, VIEW);
    return v && !v->root->dead ? v->root->object : NULL;
}

static bool push_scalar(lua_State *l, yyjson_val *v)
{
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_STR:
        lua_pushlstring(l, yyjson_get_str(v), yyjson_get_len(v));
        return true;
    case YYJSON_TYPE_BOOL:
        lua_pushboolean(l, yyjson_get_bool(v));
        return true;
    case YYJSON_TYPE_NUM:
        if (yyjson_is_real(v))
            lua_pushnumber(l, yyjson_get_real(v));
        else
            lua_pushinteger(l, yyjson_get_sint(v));
        return true;
    case YYJSON_TYPE_OBJ:
    case YYJSON_TYPE_ARR:
        return false;
    default:
        lua_pushnil(l);
        return true;
    }
}

static void push_value(lua_State *l, struct script_root *r, yyjson_val *v)
{
    if (!push_scalar(l, v))
        push(l, r, place_of(r, v));
}

void neap_script_push_copy(lua_State *l, yyjson_val *v)
{
    size_t i, n;
    yyjson_val *k, *e;
    luaL_checkstack(l, 4, "the object is nested too deeply");
    if (push_scalar(l, v))
        return;
    lua_newtable(l);
    if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, n, e)
        {
            neap_script_push_copy(l, e);
            lua_rawseti(l, -2, (lua_Integer)i + 1);
        }
        luaL_setmetatable(l, LIST);
        return;
    }
    yyjson_obj_foreach(v, i, n, k, e)
    {
        lua_pushlstring(l, yyjson_get_str(k), yyjson_get_len(k));
        neap_script_push_copy(l, e);
        lua_rawset(l, -3);
    }
}

/* ---- metamethods ---- */

static int view_index(lua_State *l)
{
    struct view *v = luaL_checkudata(l, 1, VIEW);
    yyjson_val *val = value_of(l, v);
    if (lua_type(l, 2) == LUA_TSTRING) {
        size_t n;
        const char *key = lua_tolstring(l, 2, &n);
        push_value(l, v->root, yyjson_obj_getn(val, key, n));
    } else if (lua_isinteger(l, 2)) {
        lua_Integer i = lua_tointeger(l, 2);
        push_value(l, v->root, i > 0 ? yyjson_arr_get(val, (size_t)i - 1) : NULL);
    } else {
        lua_pushnil(l);
    }
    return 1;
}

static int view_newindex(lua_State *l)
{
    return luaL_error(l, "objects are frozen: neap.edit(object) makes a copy that can be changed");
}

static int view_len(lua_State *l)
{
    yyjson_val *v = script_view_value(l, 1);
    lua_pushinteger(l, (lua_Integer)(yyjson_is_arr(v) ? yyjson_arr_size(v) : yyjson_obj_size(v)));
    return 1;
}

/* pairs(): the iterator carries the position as an upvalue. */
static int next_pair(lua_State *l)
{
    struct view *v = luaL_checkudata(l, 1, VIEW);
    yyjson_val *val = value_of(l, v);
    size_t i = (size_t)lua_tointeger(l, lua_upvalueindex(1));
    lua_pushinteger(l, (lua_Integer)i + 1);
    lua_replace(l, lua_upvalueindex(1));
    if (yyjson_is_arr(val)) {
        if (i >= yyjson_arr_size(val))
            return 0;
        lua_pushinteger(l, (lua_Integer)i + 1);
        push_value(l, v->root, yyjson_arr_get(val, i));
        return 2;
    }
    if (i >= yyjson_obj_size(val))
        return 0;
    yyjson_val *k = yyjson_doc_get_root(v->root->doc) + lua_tointeger(l, lua_upvalueindex(2));
    yyjson_val *e = yyjson_obj_iter_get_val(k);
    lua_pushlstring(l, yyjson_get_str(k), yyjson_get_len(k));
    push_value(l, v->root, e);
    lua_pushinteger(l, (lua_Integer)place_of(v->root, unsafe_yyjson_get_next(e)));
    lua_replace(l, lua_upvalueindex(2));
    return 2;
}

static int view_pairs(lua_State *l)
{
    struct view *v = luaL_checkudata(l, 1, VIEW);
    yyjson_val *val = value_of(l, v);
    bool some = yyjson_is_obj(val) && yyjson_obj_size(val);
    lua_pushinteger(l, 0);
    lua_pushinteger(l, some ? (lua_Integer)place_of(v->root, unsafe_yyjson_get_first(val)) : 0);
    lua_pushcclosure(l, next_pair, 2);
    lua_pushvalue(l, 1);
    return 2;
}

static int view_eq(lua_State *l)
{
    yyjson_val *a = script_view_value(l, 1), *b = script_view_value(l, 2);
    lua_pushboolean(l, a && b && yyjson_equals(a, b));
    return 1;
}

static int view_gc(lua_State *l)
{
    struct view *v = luaL_checkudata(l, 1, VIEW);
    script_root_unref(v->root);
    return 0;
}

static int view_tostring(lua_State *l)
{
    struct view *v = luaL_checkudata(l, 1, VIEW);
    if (v->root->dead)
        lua_pushliteral(l, "object of a sync that is over");
    else
        lua_pushfstring(l, "%s %s/%s", neap_object_kind(v->root->object)->kind,
                        neap_object_namespace(v->root->object), neap_object_name(v->root->object));
    return 1;
}

void script_views_open(lua_State *l)
{
    static const luaL_Reg methods[] = {{"__index", view_index},
                                       {"__newindex", view_newindex},
                                       {"__len", view_len},
                                       {"__pairs", view_pairs},
                                       {"__eq", view_eq},
                                       {"__gc", view_gc},
                                       {"__tostring", view_tostring},
                                       {NULL, NULL}};
    luaL_newmetatable(l, VIEW);
    luaL_setfuncs(l, methods, 0);
    lua_pushliteral(l, "locked");
    lua_setfield(l, -2, "__metatable");
    lua_pop(l, 1);
    luaL_newmetatable(l, LIST);
    lua_pushliteral(l, "locked");
    lua_setfield(l, -2, "__metatable");
    lua_pop(l, 1);
}

/* ---- Lua to JSON ---- */

/* A table that holds another many times is small and its JSON is not. */
enum { JSON_DEPTH = 64, JSON_MAX = 4 << 20 };

struct writer {
    struct neap_buf *out;
    const char *why;
    unsigned depth;
};

static bool write_any(struct writer *w, lua_State *l, int index);

static bool is_list(lua_State *l, int index)
{
    bool marked = false;
    if (lua_getmetatable(l, index)) {
        luaL_getmetatable(l, LIST);
        marked = lua_rawequal(l, -1, -2);
        lua_pop(l, 2);
    }
    return marked || lua_rawlen(l, index) > 0;
}

static bool write_list(struct writer *w, lua_State *l, int index)
{
    lua_Integer n = (lua_Integer)lua_rawlen(l, index);
    neap_buf_char(w->out, '[');
    for (lua_Integer i = 1; i <= n; i++) {
        if (i > 1)
            neap_buf_char(w->out, ',');
        lua_rawgeti(l, index, i);
        bool ok = write_any(w, l, lua_gettop(l));
        lua_pop(l, 1);
        if (!ok)
            return false;
    }
    neap_buf_char(w->out, ']');
    return true;
}

static bool write_map(struct writer *w, lua_State *l, int index)
{
    bool first = true;
    neap_buf_char(w->out, '{');
    lua_pushnil(l);
    while (lua_next(l, index)) {
        size_t n;
        if (lua_type(l, -2) != LUA_TSTRING) {
            w->why = "a key is no string";
            lua_pop(l, 2);
            return false;
        }
        const char *key = lua_tolstring(l, -2, &n);
        if (!first)
            neap_buf_char(w->out, ',');
        first = false;
        neap_buf_json_string(w->out, key, n);
        neap_buf_char(w->out, ':');
        bool ok = write_any(w, l, lua_gettop(l));
        lua_pop(l, 1);
        if (!ok) {
            lua_pop(l, 1);
            return false;
        }
    }
    neap_buf_char(w->out, '}');
    return true;
}

static bool write_view(struct writer *w, lua_State *l, int index)
{
    size_t n;
    const struct view *view = luaL_testudata(l, index, VIEW);
    if ((view && view->root->dead) ||
        script_tree_dead(l, index)) { /* no error: <out> would be lost */
        w->why = "object outlived its sync";
        return false;
    }
    yyjson_val *v = script_view_value(l, index);
    yyjson_mut_val *t = v ? NULL : script_tree_value(l, index);
    char *text = v ? yyjson_val_write(v, 0, &n) : t ? yyjson_mut_val_write(t, 0, &n) : NULL;
    if (!text) {
        w->why = "a value that cannot be written";
        return false;
    }
    neap_buf_append(w->out, text, n);
    free(text);
    return true;
}

static bool write_number(struct writer *w, lua_State *l, int index)
{
    lua_Number x = lua_tonumber(l, index);
    if (lua_isinteger(l, index)) {
        neap_buf_printf(w->out, "%lld", (long long)lua_tointeger(l, index));
    } else if (isfinite(x)) {
        neap_buf_printf(w->out, "%.17g", x);
    } else {
        w->why = "a number that JSON does not have";
        return false;
    }
    return true;
}

static bool write_any(struct writer *w, lua_State *l, int index)
{
    size_t n;
    const char *s;
    if (++w->depth > JSON_DEPTH || !lua_checkstack(l, 8)) {
        w->why = "nested too deeply (a cycle?)";
        return false;
    }
    if (w->out->len > JSON_MAX) {
        w->why = "a value too large for JSON";
        return false;
    }
    bool ok = true;
    switch (lua_type(l, index)) {
    case LUA_TSTRING:
        s = lua_tolstring(l, index, &n);
        neap_buf_json_string(w->out, s, n);
        break;
    case LUA_TBOOLEAN:
        neap_buf_str(w->out, lua_toboolean(l, index) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        ok = write_number(w, l, index);
        break;
    case LUA_TTABLE:
        ok = is_list(l, index) ? write_list(w, l, index) : write_map(w, l, index);
        break;
    case LUA_TUSERDATA:
        ok = write_view(w, l, index);
        break;
    case LUA_TLIGHTUSERDATA: /* neap.null */
    case LUA_TNIL:
        neap_buf_str(w->out, "null");
        break;
    default:
        w->why = "a value that has no JSON form";
        ok = false;
    }
    w->depth--;
    return ok;
}

bool neap_script_to_json(lua_State *l, int index, struct neap_buf *out, const char **why)
{
    struct writer w = {.out = out};
    bool ok = write_any(&w, l, lua_absindex(l, index));
    *why = w.why;
    return ok;
}
