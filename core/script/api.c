/* The table `neap`: reading the snapshot, small helpers. */
#include "script_internal.h"

/* ---- items ---- */

struct neap_item *script_item_new(struct neap_script *s)
{
    struct neap_item *i = neap_calloc(1, sizeof(*i));
    i->script = s;
    i->waits = s->options.client && s->options.loop && !s->options.reads_only;
    i->co = lua_newthread(s->l);
    i->ref = luaL_ref(s->l, LUA_REGISTRYINDEX);
    i->snapshot = s->options.client ? s->options.client->snapshot(s->options.client) : NULL;
    return i;
}

static void item_end(struct neap_item *i, int results, const struct neap_err *err)
{
    struct neap_script *s = i->script;
    i->done(i->arg, i->co, results, err);
    script_roots_end(i);
    neap_snapshot_unpin(i->snapshot);
#if LUA_VERSION_RELEASE_NUM >= 50406
    lua_closethread(i->co, s->l);
#else
    lua_resetthread(i->co);
#endif
    luaL_unref(s->l, LUA_REGISTRYINDEX, i->ref);
    free(i);
}

/* Behind the script's function: what it returned, or the text of its error. */
static int base_done(lua_State *l, int rc, lua_KContext arg)
{
    struct neap_item *i = (struct neap_item *)arg; // NOLINT(performance-no-int-to-ptr)
    i->script->armed = false; /* what follows is the engine's: a late signal must not meet it */
    lua_sethook(l, NULL, 0, 0);
    i->failed = rc != LUA_OK && rc != LUA_YIELD;
    if (rc == LUA_ERRMEM) {
        lua_pushfstring(l, "%s%s", i->script->full_at, lua_tostring(l, -1));
        lua_replace(l, -2);
    }
    return i->failed ? 1 : lua_gettop(l) - 1;
}

/* A coroutine's bottom: the script's function runs protected, so that what it wants closed after an error is
 * closed by the watchdog's time. */
static int base(lua_State *l)
{
    struct neap_item *i = script_of(l)->current;
    lua_pushboolean(l, true);
    lua_pushcclosure(l, script_error_text, 1);
    lua_insert(l, 1);
    return base_done(l,
                     lua_pcallk(l, lua_gettop(l) - 2, LUA_MULTRET, 1, (lua_KContext)i, base_done),
                     (lua_KContext)i);
}

static void next_turn(void *arg)
{
    script_item_resume(arg, 0);
}

static void item_over(struct neap_item *i, int rc, int results)
{
    struct neap_err err = NEAP_ERR_INIT;
    if (rc == LUA_OK && !i->failed) {
        item_end(i, results, NULL);
        return;
    }
    script_error_set(i->script, LUA_OK, lua_tostring(i->co, -1), &err);
    item_end(i, 0, &err);
    neap_err_done(&err);
}

void script_item_resume(struct neap_item *i, int nargs)
{
    struct neap_script *s = i->script;
    struct neap_item *before = s->current;
    int results = 0;
    s->current = i;
    if (!i->interrupted)
        i->overtime = 0;
    i->interrupted = false;
    script_watchdog_start(s, i->co, 0);
    int rc = lua_resume(i->co, s->l, nargs, &results);
    script_watchdog_stop(s);
    lua_sethook(i->co, NULL, 0, 0);
    s->current = before;
    if (rc != LUA_YIELD)
        item_over(i, rc, results);
    else if (i->interrupted)
        neap_loop_post(s->options.loop, next_turn, i);
}

void neap_script_start(struct neap_script *s, int nargs, neap_item_done done, void *arg)
{
    struct neap_item *i = s->current ? s->current : script_item_new(s);
    s->current = NULL;
    i->done = done;
    i->arg = arg;
    lua_pushcfunction(i->co, base);
    lua_xmove(s->l, i->co, nargs + 1);
    script_item_resume(i, nargs + 1);
}

/* A call that is over when it returns: an item without a coroutine of its own, so nothing in it can wait. */
int neap_script_call(struct neap_script *s, const struct neap_snapshot *snapshot,
                     uint64_t budget_ms, int (*body)(lua_State *l), void *arg, struct neap_err *err)
{
    struct neap_item item = {
        .script = s, .co = s->l, .snapshot = (struct neap_snapshot *)(uintptr_t)snapshot};
    struct neap_item *before = s->current;
    s->current = &item;
    lua_pushcfunction(s->l, script_error_text);
    lua_pushcfunction(s->l, body);
    lua_pushlightuserdata(s->l, arg);
    script_watchdog_start(s, s->l, budget_ms);
    int rc = lua_pcall(s->l, 1, 0, -3);
    script_watchdog_stop(s);
    lua_sethook(s->l, NULL, 0, 0);
    s->current = before;
    script_roots_end(&item);
    if (rc != LUA_OK) {
        script_error_set(s, rc, lua_tostring(s->l, -1), err);
        lua_pop(s->l, 1);
    }
    lua_pop(s->l, 1);
    return rc == LUA_OK ? 0 : err->code;
}

/* ---- kinds ---- */

const struct neap_kind *neap_script_kind(const char *text)
{
    char group[128] = "", version[64];
    const char *a = strchr(text, '/'), *b = a ? strchr(a + 1, '/') : NULL;
    if (!a)
        return NULL;
    if (b)
        snprintf(group, sizeof(group), "%.*s", (int)(a - text), text);
    snprintf(version, sizeof(version), "%.*s", b ? (int)(b - a - 1) : (int)(a - text),
             b ? a + 1 : text);
    return neap_kind_by_resource(group, version, b ? b + 1 : a + 1);
}

const struct neap_kind *script_check_kind(lua_State *l, int index)
{
    const char *text = luaL_checkstring(l, index);
    const struct neap_kind *k = neap_script_kind(text);
    if (!k)
        luaL_error(l, "no kind '%s': write it as \"v1/pods\" or \"apps/v1/deployments\"", text);
    return k;
}

struct neap_item *script_current(lua_State *l)
{
    struct neap_item *i = script_of(l)->current;
    if (!i)
        luaL_error(l, "objects can be read within a sync only");
    return i;
}

const char *script_string_field(lua_State *l, int index, const char *name)
{
    const char *s = lua_getfield(l, index, name) == LUA_TSTRING ? lua_tostring(l, -1) : NULL;
    lua_pop(l, 1); /* still held by the table */
    return s;
}

/* ---- reading ---- */

/* neap.get(kind, namespace, name) -> view or nil */
static int api_get(lua_State *l)
{
    const struct neap_kind *k = script_check_kind(l, 1);
    const char *ns = luaL_optstring(l, 2, NULL), *name = luaL_checkstring(l, 3);
    struct neap_item *i = script_current(l);
    struct neap_object *o = neap_snapshot_get(i->snapshot, k, k->namespaced ? ns : NULL, name);
    if (o)
        script_view_push(script_of(l), l, o);
    else
        lua_pushnil(l);
    return 1;
}

/* What is not Lua's lives in boxes on the stack, so that an error loses none. */
static const char ARENA[] = "neap.arena";

static int arena_gc(lua_State *l)
{
    struct neap_arena **box = luaL_checkudata(l, 1, ARENA);
    neap_arena_free(*box);
    *box = NULL;
    return 0;
}

static struct neap_arena *push_arena(lua_State *l)
{
    struct neap_arena **box = lua_newuserdatauv(l, sizeof(struct neap_arena *), 0);
    *box = NULL;
    if (luaL_newmetatable(l, ARENA)) {
        lua_pushcfunction(l, arena_gc);
        lua_setfield(l, -2, "__gc");
    }
    lua_setmetatable(l, -2);
    *box = neap_arena_new(0);
    return *box;
}

/* Frees it now: the collector does not know how large it is. */
static void drop_arena(lua_State *l, int index)
{
    lua_pushcfunction(l, arena_gc);
    lua_pushvalue(l, index);
    lua_call(l, 1, 0);
}

static const char SELECTOR[] = "neap.selector";

static int selector_gc(lua_State *l)
{
    struct neap_selector **box = luaL_checkudata(l, 1, SELECTOR);
    *box = neap_selector_free(*box);
    return 0;
}

static struct neap_selector **push_box(lua_State *l)
{
    struct neap_selector **box = lua_newuserdatauv(l, sizeof(struct neap_selector *), 0);
    *box = NULL;
    if (luaL_newmetatable(l, SELECTOR)) {
        lua_pushcfunction(l, selector_gc);
        lua_setfield(l, -2, "__gc");
    }
    lua_setmetatable(l, -2);
    return box;
}

static void raise_error(lua_State *l, const char *what, struct neap_err *err, const char *why)
{
    lua_pushfstring(l, "%s: %s", what, err->message ? err->message : why ? why : "?");
    neap_err_done(err);
    lua_error(l);
}

/* The LabelSelector in a field of the table at <index>; NULL: none. Pushes one value. */
static struct neap_selector *selector_at(lua_State *l, int index, const char *field)
{
    struct neap_selector **box = push_box(l);
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_buf json = NEAP_BUF_INIT;
    const char *why = NULL;
    int rc = NEAP_EBADREQUEST;
    if (lua_getfield(l, index, field) == LUA_TNIL) {
        lua_pop(l, 1);
        return NULL;
    }
    if (neap_script_to_json(l, -1, &json, &why)) {
        yyjson_doc *doc = yyjson_read(json.data, json.len, 0);
        rc = neap_selector_from_label_selector(yyjson_doc_get_root(doc), box, &err);
        yyjson_doc_free(doc);
    }
    neap_buf_done(&json);
    lua_pop(l, 1);
    if (rc)
        raise_error(l, "selector", &err, why);
    return *box;
}

/* "status.phase!=Failed" in the table at <index>; NULL: none. Pushes one value. */
static struct neap_selector *fields_at(lua_State *l, int index, const struct neap_kind *kind)
{
    struct neap_selector **box = push_box(l);
    struct neap_err err = NEAP_ERR_INIT;
    const char *text = script_string_field(l, index, "fields");
    if (text && neap_selector_parse(kind, NULL, text, box, &err))
        raise_error(l, "fields", &err, NULL);
    return *box;
}

struct listing {
    lua_State *l;
    struct neap_script *script;
    const struct neap_kind *kind;
    const char *ns;
    struct neap_selector *selector, *unlike, *fields;
    const char *controller; /* uid; "": none */
    int deleting;           /* -1: either */
    lua_Integer count;
};

static bool controlled(const struct listing *g, const struct neap_object *o)
{
    const struct neap_owner *c = neap_object_controller(o);
    return *g->controller ? c && strcmp(c->uid, g->controller) == 0 : !c;
}

static void take(struct listing *g, struct neap_object *o)
{
    if (neap_object_kind(o)->storage != g->kind->storage ||
        (g->ns && strcmp(neap_object_namespace(o), g->ns) != 0) ||
        (g->selector && !neap_selector_match(g->selector, o)) ||
        (g->unlike && neap_selector_match(g->unlike, o)) ||
        (g->fields && !neap_selector_match(g->fields, o)) ||
        (g->deleting >= 0 && g->deleting != neap_object_deleting(o)) ||
        (g->controller && !controlled(g, o)))
        return;
    script_view_push(g->script, g->l, o);
    lua_rawseti(g->l, -2, ++g->count);
}

/* Who must control it: a uid, or false for nobody. */
static const char *controller_at(lua_State *l, int index)
{
    lua_getfield(l, index, "controller");
    bool nobody = lua_isboolean(l, -1) && !lua_toboolean(l, -1);
    lua_pop(l, 1);
    return nobody ? "" : script_string_field(l, index, "controller");
}

static int deleting_at(lua_State *l, int index)
{
    lua_getfield(l, index, "deleting");
    int deleting = lua_isnil(l, -1) ? -1 : lua_toboolean(l, -1);
    lua_pop(l, 1);
    return deleting;
}

/* A misspelt option would list too much. */
static void check_options(lua_State *l, int index, const char *const *known)
{
    for (lua_pushnil(l); lua_next(l, index); lua_pop(l, 1)) {
        const char *name = lua_type(l, -2) == LUA_TSTRING ? lua_tostring(l, -2) : "[1]";
        const char *const *k = known;
        while (*k && strcmp(*k, name) != 0)
            k++;
        if (!*k)
            luaL_error(l, "no option \"%s\"", name);
    }
}

/* Objects by an indexed field. */
static struct neap_object **by_field(lua_State *l, const struct neap_snapshot *snapshot,
                                     const struct neap_kind *k, const char *field,
                                     const char *value, struct neap_arena *arena, size_t *n)
{
    for (unsigned f = 0; f < k->selectable_count; f++)
        if (strcmp(k->selectable[f].path, field) == 0)
            return neap_snapshot_by_field(snapshot, k, f, value, arena, n);
    luaL_error(l, "no index of %s by \"%s\"", k->resource, field);
    return NULL;
}

/* neap.list(kind, {namespace=, selector=, unlike=selector, fields=, deleting=, owner=uid, controller=uid or false,
 * field=, value=}) -> views in key order */
static int api_list(lua_State *l)
{
    struct listing g = {
        .l = l, .script = script_of(l), .kind = script_check_kind(l, 1), .deleting = -1};
    struct neap_item *i = script_current(l);
    const char *owner = NULL, *field = NULL, *value = NULL;
    size_t n = 0;
    struct neap_object **some = NULL;
    static const char *const options[] = {"namespace", "selector",   "unlike", "fields", "deleting",
                                          "owner",     "controller", "field",  "value",  NULL};
    if (!lua_isnoneornil(l, 2)) {
        luaL_checktype(l, 2, LUA_TTABLE);
        check_options(l, 2, options);
        g.fields = fields_at(l, 2, g.kind);
        g.deleting = deleting_at(l, 2);
        g.ns = script_string_field(l, 2, "namespace");
        owner = script_string_field(l, 2, "owner");
        field = script_string_field(l, 2, "field");
        value = script_string_field(l, 2, "value");
        g.controller = controller_at(l, 2);
        g.selector = selector_at(l, 2, "selector");
        g.unlike = selector_at(l, 2, "unlike");
    }
    struct neap_arena *arena = push_arena(l);
    int box = lua_gettop(l);
    lua_newtable(l);
    const struct neap_kind *k = g.kind->storage; // NOLINT(clang-analyzer-core.NullDereference)
    if (owner) {
        some = neap_snapshot_by_owner(i->snapshot, owner, arena, &n);
    } else if (field && value) {
        some = by_field(l, i->snapshot, k, field, value, arena, &n);
    } else {
        struct neap_iter it;
        neap_iter_init(&it, i->snapshot, k, k->namespaced ? g.ns : NULL, NULL);
        for (struct neap_object *o; (o = neap_iter_next(&it));)
            take(&g, o);
    }
    for (size_t j = 0; j < n; j++)
        take(&g, some[j]);
    drop_arena(l, box);
    return 1;
}

/* neap.owned(uid) -> views of all objects, of any kind, that name this owner */
static int api_owned(lua_State *l)
{
    const char *uid = luaL_checkstring(l, 1);
    struct neap_item *i = script_current(l);
    struct neap_arena *arena = push_arena(l);
    int box = lua_gettop(l);
    size_t n = 0;
    struct neap_object **some = neap_snapshot_by_owner(i->snapshot, uid, arena, &n);
    lua_newtable(l);
    for (size_t j = 0; j < n; j++) {
        script_view_push(script_of(l), l, some[j]);
        lua_rawseti(l, -2, (lua_Integer)j + 1);
    }
    drop_arena(l, box);
    return 1;
}

/* neap.matches(labelSelector, labels) -> boolean */
static int api_matches(lua_State *l)
{
    struct neap_buf json = NEAP_BUF_INIT;
    const char *why;
    lua_settop(l, 2);
    lua_newtable(l);
    lua_pushvalue(l, 1);
    lua_setfield(l, 3, "s");
    struct neap_selector *sel = selector_at(l, 3, "s");
    bool ok = sel && !lua_isnil(l, 2) && neap_script_to_json(l, 2, &json, &why);
    yyjson_doc *doc = ok ? yyjson_read(json.data, json.len, 0) : NULL;
    ok = sel && neap_selector_match_labels(sel, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    neap_buf_done(&json);
    lua_pushboolean(l, ok);
    return 1;
}

/* ---- long loops ---- */

/* neap.turn(): others run, then this goes on with all of its time again */
static int api_turn(lua_State *l)
{
    struct neap_item *i = script_current(l);
    if (!i->waits || !lua_isyieldable(l))
        return luaL_error(l, "only a controller's reconcile can wait for its next turn");
    neap_loop_post(script_of(l)->options.loop, next_turn, i);
    return lua_yield(l, 0);
}

/* ---- helpers ---- */

static void push_tree_copy(lua_State *l, yyjson_mut_val *v)
{
    size_t n;
    char *text = yyjson_mut_val_write(v, 0, &n);
    yyjson_doc *doc = text ? yyjson_read(text, n, 0) : NULL;
    free(text);
    neap_script_push_copy(l, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
}

static int api_edit(lua_State *l)
{
    yyjson_val *v = script_view_value(l, 1);
    yyjson_mut_val *t = v ? NULL : script_tree_value(l, 1);
    if (v)
        neap_script_push_copy(l, v);
    else if (t)
        push_tree_copy(l, t);
    else
        lua_pushvalue(l, 1);
    return 1;
}

/* neap.ensure(table, key, ...) -> the table at that place; what is missing on the way is made */
static int api_ensure(lua_State *l)
{
    int n = lua_gettop(l);
    lua_pushvalue(l, 1);
    for (int i = 2; i <= n; i++) {
        lua_pushvalue(l, i);
        if (lua_gettable(l, -2) == LUA_TNIL) {
            lua_pop(l, 1);
            lua_pushvalue(l, i);
            lua_newtable(l);
            lua_settable(l, -3);
            lua_pushvalue(l, i);
            lua_gettable(l, -2);
        }
        lua_remove(l, -2);
    }
    return 1;
}

static int api_array(lua_State *l)
{
    if (lua_isnoneornil(l, 1)) {
        lua_settop(l, 0);
        lua_newtable(l);
    }
    luaL_checktype(l, 1, LUA_TTABLE);
    luaL_setmetatable(l, "neap.list");
    lua_settop(l, 1);
    return 1;
}

/* Raises when the value has no JSON form. */
static yyjson_mut_doc *doc_of(lua_State *l, int index, struct neap_arena *arena)
{
    struct neap_buf json = NEAP_BUF_INIT;
    const char *why = NULL;
    yyjson_mut_doc *doc = NULL;
    bool ok = neap_script_to_json(l, index, &json, &why);
    if (ok)
        neap_json_parse(arena, json.data, json.len, NULL, &doc, NULL);
    neap_buf_done(&json);
    if (!doc)
        luaL_error(l, "%s", why ? why : "a value that cannot be compared");
    return doc;
}

static int api_equal(lua_State *l)
{
    luaL_checkany(l, 1);
    lua_settop(l, 2);
    struct neap_arena *arena = push_arena(l);
    yyjson_mut_doc *a = doc_of(l, 1, arena), *b = doc_of(l, 2, arena);
    bool equal = neap_json_equal(yyjson_mut_doc_get_root(a), yyjson_mut_doc_get_root(b));
    drop_arena(l, 3);
    lua_pushboolean(l, equal);
    return 1;
}

/* neap.hash(value) -> ten characters of Kubernetes' safe alphabet, the same for equal values */
static int api_hash(lua_State *l)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    luaL_checkany(l, 1);
    lua_settop(l, 1);
    yyjson_mut_doc *doc = doc_of(l, 1, push_arena(l));
    struct neap_buf sorted = NEAP_BUF_INIT;
    char out[11];
    neap_json_write_sorted(&sorted, yyjson_mut_doc_get_root(doc));
    uint64_t h = neap_hash(sorted.data ? sorted.data : "", sorted.len);
    for (int i = 0; i < 10; i++, h /= 27)
        out[i] = alphabet[h % 27];
    neap_buf_done(&sorted);
    drop_arena(l, 2);
    lua_pushlstring(l, out, 10);
    return 1;
}

static int api_now(lua_State *l)
{
    lua_pushinteger(l, neap_clock_wall(script_of(l)->options.clock) / 1000000000);
    return 1;
}

/* neap.time([seconds]) -> RFC 3339 text, of now without an argument */
static int api_time(lua_State *l)
{
    char text[32];
    int64_t ns = lua_isnoneornil(l, 1) ? neap_clock_wall(script_of(l)->options.clock)
                                       : luaL_checkinteger(l, 1) * 1000000000;
    neap_time_format(ns, text);
    lua_pushstring(l, text);
    return 1;
}

static int api_microtime(lua_State *l)
{
    char text[32];
    neap_time_format_micro(neap_clock_wall(script_of(l)->options.clock), text);
    lua_pushstring(l, text);
    return 1;
}

/* neap.seconds(text) -> seconds since 1970, or nil */
static int api_seconds(lua_State *l)
{
    size_t n;
    const char *s = luaL_optlstring(l, 1, "", &n);
    int64_t ns;
    if (neap_time_parse(s, n, &ns))
        lua_pushinteger(l, ns / 1000000000);
    else
        lua_pushnil(l);
    return 1;
}

static int api_quantity(lua_State *l)
{
    size_t n;
    const char *s = luaL_checklstring(l, 1, &n);
    int64_t v;
    if (neap_quantity_milli(s, n, &v))
        lua_pushinteger(l, v);
    else
        lua_pushnil(l);
    return 1;
}

static int api_suffix(lua_State *l)
{
    char text[16];
    lua_Integer n = luaL_optinteger(l, 1, 5);
    luaL_argcheck(l, n > 0 && n < 16, 1, "1 to 15");
    neap_rand_suffix(script_of(l)->options.rand, text, (size_t)n);
    lua_pushstring(l, text);
    return 1;
}

static int api_log(lua_State *l)
{
    NEAP_INFO("script", luaL_checkstring(l, 1), "%s", luaL_optstring(l, 2, ""));
    return 0;
}

/* neap.kinds() -> list of {kind="apps/v1/deployments", namespaced=, verbs...}: what can be listed */
static int api_kinds(lua_State *l)
{
    lua_Integer n = 0;
    lua_newtable(l);
    for (unsigned i = 0; i < neap_kind_count; i++) {
        const struct neap_kind *k = neap_kinds[i];
        if (k->storage != k || !(k->verbs & NEAP_VERB_DELETE))
            continue;
        lua_newtable(l);
        lua_pushfstring(l, "%s%s%s/%s", k->group, *k->group ? "/" : "", k->version, k->resource);
        lua_setfield(l, -2, "kind");
        lua_pushboolean(l, k->namespaced);
        lua_setfield(l, -2, "namespaced");
        lua_rawseti(l, -2, ++n);
    }
    return 1;
}

/* neap.resource(apiVersion, kind) -> "apps/v1/deployments" or nil */
static int api_resource(lua_State *l)
{
    const char *version = luaL_optstring(l, 1, ""), *kind = luaL_optstring(l, 2, "");
    const char *slash = strchr(version, '/');
    char group[128];
    snprintf(group, sizeof(group), "%.*s", slash ? (int)(slash - version) : 0, version);
    const struct neap_kind *k = neap_kind_by_gvk(group, slash ? slash + 1 : version, kind);
    if (k)
        lua_pushfstring(l, "%s/%s", version, k->resource);
    else
        lua_pushnil(l);
    return 1;
}

void script_api_open(struct neap_script *s)
{
    static const luaL_Reg functions[] = {{"get", api_get},
                                         {"list", api_list},
                                         {"owned", api_owned},
                                         {"matches", api_matches},
                                         {"turn", api_turn},
                                         {"edit", api_edit},
                                         {"array", api_array},
                                         {"ensure", api_ensure},
                                         {"equal", api_equal},
                                         {"hash", api_hash},
                                         {"now", api_now},
                                         {"time", api_time},
                                         {"microtime", api_microtime},
                                         {"seconds", api_seconds},
                                         {"quantity", api_quantity},
                                         {"suffix", api_suffix},
                                         {"log", api_log},
                                         {"kinds", api_kinds},
                                         {"resource", api_resource},
                                         {NULL, NULL}};
    lua_State *l = s->l;
    luaL_newlib(l, functions);
    script_declare_open(l);
    script_writes_open(l);
    lua_pushlightuserdata(l, NULL);
    lua_setfield(l, -2, "null");
    lua_pushstring(l, s->options.ca_pem ? s->options.ca_pem : "");
    lua_setfield(l, -2, "ca");
    lua_setglobal(l, "neap");
}
