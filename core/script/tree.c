/* Documents that are being made, in Lua: views that read and write through (admission's request.object).
 * What is assigned is copied, so that no value is ever linked twice. */
#include "script_internal.h"

static const char TREE[] = "neap.tree";

struct tree {
    struct script_root *root;
    yyjson_mut_val *val;
    bool frozen;
};

static void push(lua_State *l, struct script_root *r, yyjson_mut_val *val, bool frozen)
{
    struct tree *t = lua_newuserdatauv(l, sizeof(*t), 0);
    *t = (struct tree){r, val, frozen};
    r->refs++;
    luaL_setmetatable(l, TREE);
}

void neap_script_push_tree(struct neap_script *s, yyjson_mut_doc *doc, yyjson_mut_val *value,
                           bool frozen)
{
    struct script_root *r = neap_calloc(1, sizeof(*r));
    r->tree = doc;
    r->refs = 1; /* the item's */
    r->next = s->current->roots;
    s->current->roots = r;
    push(s->l, r, value, frozen);
}

static struct tree *check(lua_State *l, int index)
{
    struct tree *t = luaL_checkudata(l, index, TREE);
    if (t->root->dead)
        luaL_error(l, "object outlived its request");
    return t;
}

bool script_tree_dead(lua_State *l, int index)
{
    const struct tree *t = luaL_testudata(l, index, TREE);
    return t && t->root->dead;
}

yyjson_mut_val *script_tree_value(lua_State *l, int index)
{
    return luaL_testudata(l, index, TREE) ? check(l, index)->val : NULL;
}

/* ---- reading ---- */

static void push_value(lua_State *l, struct tree *t, yyjson_mut_val *v)
{
    switch (yyjson_mut_get_type(v)) {
    case YYJSON_TYPE_STR:
        lua_pushlstring(l, yyjson_mut_get_str(v), yyjson_mut_get_len(v));
        break;
    case YYJSON_TYPE_BOOL:
        lua_pushboolean(l, yyjson_mut_get_bool(v));
        break;
    case YYJSON_TYPE_NUM:
        if (yyjson_mut_is_real(v))
            lua_pushnumber(l, yyjson_mut_get_real(v));
        else
            lua_pushinteger(l, yyjson_mut_get_sint(v));
        break;
    case YYJSON_TYPE_OBJ:
    case YYJSON_TYPE_ARR:
        push(l, t->root, v, t->frozen);
        break;
    default:
        lua_pushnil(l);
    }
}

static int tree_index(lua_State *l)
{
    struct tree *t = check(l, 1);
    size_t n;
    if (lua_type(l, 2) == LUA_TSTRING) {
        const char *key = lua_tolstring(l, 2, &n);
        push_value(l, t, yyjson_mut_obj_getn(t->val, key, n));
    } else {
        lua_Integer i = lua_isinteger(l, 2) ? lua_tointeger(l, 2) : 0;
        push_value(l, t, i > 0 ? yyjson_mut_arr_get(t->val, (size_t)i - 1) : NULL);
    }
    return 1;
}

static int tree_len(lua_State *l)
{
    yyjson_mut_val *v = check(l, 1)->val;
    lua_pushinteger(
        l, (lua_Integer)(yyjson_mut_is_arr(v) ? yyjson_mut_arr_size(v) : yyjson_mut_obj_size(v)));
    return 1;
}

/* The keys are listed first: the loop's body may change the object. */
static int next_pair(lua_State *l)
{
    lua_Integer i = lua_tointeger(l, lua_upvalueindex(2)) + 1;
    struct tree *t = check(l, 1);
    for (;; i++) {
        lua_pushinteger(l, i);
        lua_copy(l, -1, lua_upvalueindex(2));
        lua_pop(l, 1);
        if (lua_rawgeti(l, lua_upvalueindex(1), i) == LUA_TNIL)
            return 1;
        lua_pushvalue(l, -1);
        lua_replace(l, 2);
        lua_settop(l, 2);
        if (lua_isinteger(l, 2)) {
            push_value(l, t, yyjson_mut_arr_get(t->val, (size_t)lua_tointeger(l, 2) - 1));
        } else {
            size_t n;
            const char *key = lua_tolstring(l, 2, &n);
            push_value(l, t, yyjson_mut_obj_getn(t->val, key, n));
        }
        if (!lua_isnil(l, 3))
            return 2; /* else it is null, or gone since */
        lua_settop(l, 2);
    }
}

static int tree_pairs(lua_State *l)
{
    struct tree *t = check(l, 1);
    lua_newtable(l);
    if (yyjson_mut_is_arr(t->val)) {
        for (size_t i = 1; i <= yyjson_mut_arr_size(t->val); i++) {
            lua_pushinteger(l, (lua_Integer)i);
            lua_rawseti(l, -2, (lua_Integer)i);
        }
    } else {
        yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(t->val);
        lua_Integer i = 0;
        for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
            lua_pushlstring(l, yyjson_mut_get_str(k), yyjson_mut_get_len(k));
            lua_rawseti(l, -2, ++i);
        }
    }
    lua_pushinteger(l, 0);
    lua_pushcclosure(l, next_pair, 2);
    lua_pushvalue(l, 1);
    return 2;
}

/* ---- writing ---- */

static yyjson_mut_val *need(lua_State *l, yyjson_mut_val *v)
{
    if (!v)
        luaL_error(l, "the request is too large");
    return v;
}

static yyjson_mut_val *parsed(lua_State *l, yyjson_mut_doc *doc, int index)
{
    struct neap_buf json = NEAP_BUF_INIT;
    const char *why = NULL;
    if (!neap_script_to_json(l, index, &json, &why)) {
        neap_buf_done(&json);
        luaL_error(l, "the value cannot be kept: %s", why ? why : "?");
    }
    yyjson_doc *read = yyjson_read(json.data, json.len, 0);
    yyjson_mut_val *v = yyjson_val_mut_copy(doc, yyjson_doc_get_root(read));
    yyjson_doc_free(read);
    neap_buf_done(&json);
    return v;
}

static yyjson_mut_val *value_at(lua_State *l, yyjson_mut_doc *doc, int index)
{
    size_t n;
    const char *s;
    switch (lua_type(l, index)) {
    case LUA_TSTRING:
        s = lua_tolstring(l, index, &n);
        return need(l, yyjson_mut_strncpy(doc, s, n));
    case LUA_TBOOLEAN:
        return need(l, yyjson_mut_bool(doc, lua_toboolean(l, index)));
    case LUA_TNUMBER:
        return need(l, lua_isinteger(l, index) ? yyjson_mut_sint(doc, lua_tointeger(l, index))
                                               : yyjson_mut_real(doc, lua_tonumber(l, index)));
    default:
        return need(l, parsed(l, doc, index));
    }
}

static void set_item(lua_State *l, struct tree *t)
{
    lua_Integer i = lua_tointeger(l, 2);
    lua_Integer size = (lua_Integer)yyjson_mut_arr_size(t->val);
    if (lua_isnil(l, 3)) {
        luaL_argcheck(l, i >= size, 2, "take items out with table.remove");
        if (i == size && size)
            yyjson_mut_arr_remove_last(t->val);
        return;
    }
    luaL_argcheck(l, i >= 1 && i <= size + 1, 2, "a list has no holes");
    yyjson_mut_val *v = value_at(l, t->root->tree, 3);
    if (i <= size)
        yyjson_mut_arr_replace(t->val, (size_t)i - 1, v);
    else
        yyjson_mut_arr_append(t->val, v);
}

static void set_key(lua_State *l, struct tree *t)
{
    size_t n;
    const char *key = luaL_checklstring(l, 2, &n);
    if (lua_isnil(l, 3) || lua_islightuserdata(l, 3)) {
        yyjson_mut_obj_remove_keyn(t->val, key, n);
        return;
    }
    yyjson_mut_val *v = value_at(l, t->root->tree, 3);
    yyjson_mut_obj_put(t->val, need(l, yyjson_mut_strncpy(t->root->tree, key, n)), v);
}

static int tree_newindex(lua_State *l)
{
    struct tree *t = check(l, 1);
    bool item = lua_isinteger(l, 2);
    if (t->frozen)
        return luaL_error(l, "objects are frozen here: only mutate may change request.object");
    /* {} is written before one knows whether a list or a map will grow in it */
    if (item && yyjson_mut_is_obj(t->val) && !yyjson_mut_obj_size(t->val))
        yyjson_mut_set_arr(t->val);
    else if (!item && yyjson_mut_is_arr(t->val) && !yyjson_mut_arr_size(t->val))
        yyjson_mut_set_obj(t->val);
    if (item != yyjson_mut_is_arr(t->val))
        return luaL_error(l, item ? "a map's keys are strings" : "a list's keys are numbers");
    if (item)
        set_item(l, t);
    else
        set_key(l, t);
    return 0;
}

static int tree_eq(lua_State *l)
{
    yyjson_mut_val *a = script_tree_value(l, 1), *b = script_tree_value(l, 2);
    lua_pushboolean(l, a && b && yyjson_mut_equals(a, b));
    return 1;
}

static int tree_gc(lua_State *l)
{
    struct tree *t = luaL_checkudata(l, 1, TREE);
    script_root_unref(t->root);
    return 0;
}

static int tree_tostring(lua_State *l)
{
    struct neap_buf json = NEAP_BUF_INIT;
    const char *why;
    check(l, 1);
    neap_script_to_json(l, 1, &json, &why);
    lua_pushlstring(l, json.data ? json.data : "", json.len);
    neap_buf_done(&json);
    return 1;
}

void script_trees_open(lua_State *l)
{
    static const luaL_Reg methods[] = {{"__index", tree_index},
                                       {"__newindex", tree_newindex},
                                       {"__len", tree_len},
                                       {"__pairs", tree_pairs},
                                       {"__eq", tree_eq},
                                       {"__gc", tree_gc},
                                       {"__tostring", tree_tostring},
                                       {NULL, NULL}};
    luaL_newmetatable(l, TREE);
    luaL_setfuncs(l, methods, 0);
    lua_pushliteral(l, "locked");
    lua_setfield(l, -2, "__metatable");
    lua_pop(l, 1);
}
