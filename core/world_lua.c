/* What a test can do to its world, as Lua functions. scripts/lib/harness.lua puts words to them. */
#include "world_internal.h"

#include <api/wire/wire.h>
#include <lauxlib.h>
#include <lua.h>
#include <neap/script.h>

static struct neap_world *world_of(lua_State *l)
{
    return lua_touserdata(l, lua_upvalueindex(1));
}

static const struct neap_kind *check_kind(lua_State *l, int index)
{
    const struct neap_kind *k = neap_script_kind(luaL_checkstring(l, index));
    if (!k)
        luaL_error(l, "no kind '%s': write it as \"v1/pods\" or \"apps/v1/deployments\"",
                   lua_tostring(l, index));
    return k;
}

static void push_object(lua_State *l, const struct neap_object *o)
{
    yyjson_doc *doc = neap_object_parse(o, NULL);
    neap_script_push_copy(l, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
}

/* ---- requests ---- */

void world_warnings_free(struct neap_world *w)
{
    for (unsigned i = 0; i < w->warning_count; i++)
        free(w->warnings[i]);
    w->warning_count = 0;
}

static void finished(struct neap_call *c)
{
    bool *done = c->transport;
    *done = true;
}

static const char *string_field(lua_State *l, int index, const char *name)
{
    const char *s = NULL;
    if (lua_istable(l, index)) {
        lua_getfield(l, index, name);
        s = lua_tostring(l, -1);
        lua_pop(l, 1); /* still held by the table */
    }
    return s;
}

static void read_options(lua_State *l, int index, struct neap_call *c)
{
    static const char *const names[] = {"merge", "strategic", "json"};
    static const enum neap_patch_type types[] = {NEAP_PATCH_T_MERGE, NEAP_PATCH_T_STRATEGIC,
                                                 NEAP_PATCH_T_JSON};
    const char *patch = string_field(l, index, "patch");
    c->patch_type = c->verb == NEAP_PATCH ? NEAP_PATCH_T_MERGE : NEAP_PATCH_T_NONE;
    for (size_t i = 0; patch && i < NEAP_ARRAY_LEN(names); i++)
        if (strcmp(patch, names[i]) == 0)
            c->patch_type = types[i];
    c->options.precondition_uid = string_field(l, index, "uid");
    c->options.propagation_policy = string_field(l, index, "propagation");
    if (lua_istable(l, index)) {
        lua_getfield(l, index, "grace");
        if (lua_isinteger(l, -1))
            c->options.grace_period_s = lua_tointeger(l, -1);
        lua_getfield(l, index, "dry_run");
        c->options.dry_run = lua_toboolean(l, -1);
        lua_pop(l, 2);
    }
}

static int push_answer(struct neap_world *w, lua_State *l, struct neap_call *c)
{
    int n = 1;
    world_warnings_free(w);
    for (; w->warning_count < c->warning_count; w->warning_count++)
        w->warnings[w->warning_count] = neap_strdup(c->warnings[w->warning_count]);
    if (c->status >= 400) {
        lua_pushnil(l);
        lua_newtable(l);
        lua_pushinteger(l, c->status);
        lua_setfield(l, -2, "code");
        lua_pushstring(l, neap_err_reason(c->err.code));
        lua_setfield(l, -2, "reason");
        lua_pushstring(l, c->err.message ? c->err.message : "");
        lua_setfield(l, -2, "message");
        n = 2;
    } else if (c->object) {
        push_object(l, c->object);
    } else {
        lua_pushboolean(l, true);
    }
    return n;
}

/* request(verb, kind, namespace, name, subresource, body, options) -> object, or nil and an error */
static int world_request(lua_State *l)
{
    static const char *const verbs[] = {"create", "update", "patch", "delete", NULL};
    static const enum neap_verb values[] = {NEAP_CREATE, NEAP_UPDATE, NEAP_PATCH, NEAP_DELETE};
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    struct neap_world *w = world_of(l);
    int verb = luaL_checkoption(l, 1, NULL, verbs);
    const struct neap_kind *k = check_kind(l, 2);
    struct neap_buf body = NEAP_BUF_INIT;
    const char *why = NULL;
    bool done = false;
    lua_settop(l, 7);
    if (!lua_isnil(l, 6) && !neap_script_to_json(l, 6, &body, &why)) {
        neap_buf_done(&body);
        return luaL_error(l, "the object cannot be sent: %s", why ? why : "?");
    }
    struct neap_call *c = neap_call_new(w->loop, 64 << 20);
    c->verb = values[verb];
    c->method = methods[verb];
    c->identity = neap_identity_ref(w->user);
    c->group = k->group;
    c->version = k->version;
    c->resource = k->resource;
    c->kind = k;
    c->namespace_ = k->namespaced ? lua_tostring(l, 3) : NULL;
    c->name = lua_tostring(l, 4);
    c->subresource = lua_tostring(l, 5);
    c->body = body.data;
    c->body_len = body.len;
    c->internal = true;
    c->user_agent = "neap-script-test";
    c->started_mono_ns = w->now_ns;
    c->path = "";
    c->transport = &done;
    c->finish = finished;
    read_options(l, 7, c);
    neap_rest_handle(w->rest, c);
    while (!done)
        neap_loop_turn(w->loop, true);
    int n = push_answer(w, l, c);
    neap_call_free(c);
    neap_buf_done(&body);
    return n;
}

/* ---- reading ---- */

/* get(kind, namespace, name) -> object or nil */
static int world_get(lua_State *l)
{
    const struct neap_kind *k = check_kind(l, 1);
    struct neap_snapshot *s = neap_snapshot_pin(world_of(l)->registry);
    struct neap_object *o = neap_snapshot_get(
        s, k, k->namespaced ? luaL_optstring(l, 2, NULL) : NULL, luaL_checkstring(l, 3));
    if (o)
        push_object(l, o);
    else
        lua_pushnil(l);
    neap_snapshot_unpin(s);
    return 1;
}

/* list(kind, namespace) -> objects in order of namespace and name */
static int world_list(lua_State *l)
{
    const struct neap_kind *k = check_kind(l, 1);
    const char *ns = k->namespaced ? luaL_optstring(l, 2, NULL) : NULL;
    struct neap_snapshot *s = neap_snapshot_pin(world_of(l)->registry);
    struct neap_iter it;
    lua_Integer n = 0;
    lua_newtable(l);
    neap_iter_init(&it, s, k, ns, NULL);
    for (struct neap_object *o; (o = neap_iter_next(&it));) {
        push_object(l, o);
        lua_rawseti(l, -2, ++n);
    }
    neap_snapshot_unpin(s);
    return 1;
}

static int world_warnings(lua_State *l)
{
    struct neap_world *w = world_of(l);
    lua_newtable(l);
    for (unsigned i = 0; i < w->warning_count; i++) {
        lua_pushstring(l, w->warnings[i]);
        lua_rawseti(l, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- scripts, time, people ---- */

static int fail_with(lua_State *l, struct neap_err *err)
{
    lua_pushstring(l, err->message);
    neap_err_done(err);
    return lua_error(l);
}

static int settle(lua_State *l, bool ok)
{
    return ok ? 0 : luaL_error(l, "the controllers do not come to rest");
}

static int world_rest(lua_State *l)
{
    return settle(l, world_settle(world_of(l)));
}

/* controller(path): starts it */
static int world_controller(lua_State *l)
{
    struct neap_world *w = world_of(l);
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_control_options o = {.loop = w->loop,
                                     .client = w->client,
                                     .clock = &w->clock,
                                     .rand = &w->rand,
                                     .script_dir = w->base->scripts,
                                     .ca_pem = "the cluster's certificate",
                                     .file = luaL_checkstring(l, 1)};
    if (w->control_count == WORLD_CONTROLS_MAX)
        return luaL_error(l, "too many controllers");
    if (neap_control_start(&o, &w->controls[w->control_count], &err))
        return fail_with(l, &err);
    w->control_count++;
    return settle(l, world_settle(w));
}

/* admission(path): the rule holds from now on */
static int world_admission(lua_State *l)
{
    struct neap_err err = NEAP_ERR_INIT;
    return neap_admission_add(world_of(l)->rules, luaL_checkstring(l, 1), &err) ? fail_with(l, &err)
                                                                                : 0;
}

/* advance(seconds): everything that is due on the way happens at its time */
static int world_advance_by(lua_State *l)
{
    double seconds = luaL_checknumber(l, 1);
    luaL_argcheck(l, seconds >= 0 && seconds < 1e9, 1, "0 to 1e9 seconds");
    return settle(l, world_advance(world_of(l), (int64_t)(seconds * 1e9)));
}

static int world_now(lua_State *l)
{
    lua_pushnumber(l, (double)neap_clock_wall(&world_of(l)->clock) / 1e9);
    return 1;
}

/* Failed syncs of all controllers. */
static int world_failures(lua_State *l)
{
    struct neap_world *w = world_of(l);
    uint64_t n = 0;
    for (unsigned i = 0; i < w->control_count; i++)
        n += neap_control_failures(w->controls[i]);
    lua_pushinteger(l, (lua_Integer)n);
    return 1;
}

/* user(name, group...): who the requests are from */
static int world_user(lua_State *l)
{
    enum { GROUPS_MAX = 16 };
    const char *groups[GROUPS_MAX + 1] = {NULL};
    struct neap_world *w = world_of(l);
    for (int i = 2; i <= lua_gettop(l) && i - 2 < GROUPS_MAX; i++)
        groups[i - 2] = luaL_checkstring(l, i);
    struct neap_identity *id = neap_identity_new(luaL_checkstring(l, 1), NULL, groups, NULL);
    id->authenticated = true;
    neap_identity_unref(w->user);
    w->user = id;
    return 0;
}

void neap_world_push(struct neap_world *w, lua_State *l)
{
    static const luaL_Reg functions[] = {{"request", world_request},
                                         {"get", world_get},
                                         {"list", world_list},
                                         {"warnings", world_warnings},
                                         {"settle", world_rest},
                                         {"controller", world_controller},
                                         {"admission", world_admission},
                                         {"advance", world_advance_by},
                                         {"now", world_now},
                                         {"failures", world_failures},
                                         {"user", world_user},
                                         {NULL, NULL}};
    lua_createtable(l, 0, (int)NEAP_ARRAY_LEN(functions));
    lua_pushlightuserdata(l, w);
    luaL_setfuncs(l, functions, 1);
    lua_pushstring(l, w->base->scripts);
    lua_setfield(l, -2, "scripts");
}
