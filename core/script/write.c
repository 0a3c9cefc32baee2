/* The table `neap`: writing through the API. The coroutine yields until the answer is there. */
#include "script_internal.h"

enum { MANY_MAX = 1000 };

struct many;

struct write_request {
    struct neap_request request;
    struct neap_item *item;
    char *body, *ns, *name, *uid;
    struct many *many; /* it is one of; NULL: the item waits for it alone */
    unsigned index;
};

/* Several at once: the item goes on when all are answered. */
struct many {
    unsigned count, left;
    struct one {
        struct write_request *request;
        struct neap_object *object;
        int code, status;
        char *message;
    } all[];
};

static void request_free(struct write_request *w)
{
    free(w->body);
    free(w->ns);
    free(w->name);
    free(w->uid);
    free(w);
}

static void push_error(lua_State *co, int code, int status, const char *message)
{
    lua_newtable(co);
    lua_pushinteger(co, status);
    lua_setfield(co, -2, "code");
    lua_pushstring(co, neap_err_reason(code));
    lua_setfield(co, -2, "reason");
    lua_pushstring(co, message ? message : "");
    lua_setfield(co, -2, "message");
}

static const char *message_of(const struct neap_reply *reply)
{
    return reply->err && reply->err->message ? reply->err->message : "";
}

/* What a call returns; how many values that are. */
static int push_reply(struct neap_item *i, const struct neap_reply *reply)
{
    if (reply->code) {
        lua_pushnil(i->co);
        push_error(i->co, reply->code, reply->status, message_of(reply));
        return 2;
    }
    if (reply->object) {
        script_view_push(i->script, i->co, reply->object);
    } else if (reply->body && reply->body_len) {
        yyjson_doc *doc = yyjson_read(reply->body, reply->body_len, 0);
        neap_script_push_copy(i->co, yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
    } else {
        lua_pushboolean(i->co, true);
    }
    return 1;
}

/* { { object = view } or { error = {code, reason, message} }, ... } in the order of what was sent */
static void push_many(struct neap_item *i, struct many *m)
{
    lua_createtable(i->co, (int)m->count, 0);
    for (unsigned k = 0; k < m->count; k++) {
        struct one *one = &m->all[k];
        lua_createtable(i->co, 0, 1);
        if (one->code) {
            push_error(i->co, one->code, one->status, one->message);
            lua_setfield(i->co, -2, "error");
        } else if (one->object) {
            script_view_push(i->script, i->co, one->object);
            lua_setfield(i->co, -2, "object");
        }
        lua_rawseti(i->co, -2, (lua_Integer)k + 1);
    }
}

static void many_free(struct many *m)
{
    for (unsigned k = 0; k < m->count; k++) {
        if (m->all[k].request)
            request_free(m->all[k].request);
        neap_object_unref(m->all[k].object);
        free(m->all[k].message);
    }
    free(m);
}

static void many_answered(struct write_request *w, const struct neap_reply *reply)
{
    struct one *one = &w->many->all[w->index];
    one->code = reply->code;
    one->status = reply->status;
    one->message = reply->code ? neap_strdup(message_of(reply)) : NULL;
    one->object = reply->object ? neap_object_ref(reply->object) : NULL;
}

static void answered(struct neap_request *r, const struct neap_reply *reply)
{
    struct write_request *w = r->data;
    struct neap_item *i = w->item;
    struct neap_item *before = i->script->current;
    int n = 1;
    if (w->many) {
        many_answered(w, reply);
        if (--w->many->left)
            return;
    }
    i->script->current = i;
    if (w->many)
        push_many(i, w->many);
    else
        n = push_reply(i, reply);
    i->script->current = before;
    if (w->many)
        many_free(w->many); /* and w */
    else
        request_free(w);
    script_item_resume(i, n);
}

static void check_writer(lua_State *l)
{
    if (!script_current(l)->waits)
        luaL_error(
            l, script_of(l)->options.client
                   ? "only a controller can write; a policy says what it thinks of a node"
                   : "only a controller can write; a rule decides about the request that it sees");
    if (!lua_isyieldable(l))
        luaL_error(l,
                   "a write cannot wait for its answer here (within a sort, a gsub or a module)");
}

static struct write_request *request_new(lua_State *l, enum neap_verb verb,
                                         const struct neap_kind *kind, const char *ns,
                                         const char *name)
{
    check_writer(l);
    struct write_request *w = neap_calloc(1, sizeof(*w));
    w->item = script_current(l);
    w->ns = ns && kind->namespaced ? neap_strdup(ns) : NULL;
    w->name = name ? neap_strdup(name) : NULL;
    neap_request_init(&w->request);
    w->request.verb = verb;
    w->request.kind = kind;
    w->request.namespace_ = w->ns;
    w->request.name = w->name;
    w->request.loop = script_of(l)->options.loop;
    w->request.done = answered;
    w->request.data = w;
    return w;
}

static void set_body(lua_State *l, struct write_request *w, int index)
{
    struct neap_buf json = NEAP_BUF_INIT;
    const char *why = NULL;
    if (!neap_script_to_json(l, index, &json, &why)) {
        neap_buf_done(&json);
        request_free(w);
        luaL_error(l, "the object cannot be sent: %s", why ? why : "?");
        __builtin_unreachable(); /* it jumps */
    }
    w->request.body_len = json.len;
    w->body = neap_buf_take(&json);
    w->request.body = w->body;
}

static int send(lua_State *l, struct write_request *w)
{
    struct neap_client *c = script_of(l)->options.client;
    c->request(c, &w->request);
    return lua_yield(l, 0);
}

/* neap.create(kind, namespace, object) -> view, or nil and {code, reason, message} */
static int api_create(lua_State *l)
{
    struct write_request *w =
        request_new(l, NEAP_CREATE, script_check_kind(l, 1), luaL_optstring(l, 2, NULL), NULL);
    set_body(l, w, 3);
    return send(l, w);
}

/* neap.update(kind, namespace, name, object [, subresource]) */
static int api_update(lua_State *l)
{
    static const char *const subs[] = {"status", "finalize", "scale", NULL};
    const struct neap_kind *k = script_check_kind(l, 1);
    int sub = lua_isnoneornil(l, 5) ? -1 : luaL_checkoption(l, 5, NULL, subs);
    struct write_request *w =
        request_new(l, NEAP_UPDATE, k, luaL_optstring(l, 2, NULL), luaL_checkstring(l, 3));
    w->request.subresource = sub < 0 ? NULL : subs[sub];
    set_body(l, w, 4);
    return send(l, w);
}

/* neap.patch(kind, namespace, name, patch [, subresource [, "merge"|"strategic"|"json"]]) */
static int api_patch(lua_State *l)
{
    static const char *const subs[] = {"status", "scale", NULL};
    static const char *const types[] = {"merge", "strategic", "json", NULL};
    static const enum neap_patch_type values[] = {NEAP_PATCH_T_MERGE, NEAP_PATCH_T_STRATEGIC,
                                                  NEAP_PATCH_T_JSON};
    const struct neap_kind *k = script_check_kind(l, 1);
    int sub = lua_isnoneornil(l, 5) ? -1 : luaL_checkoption(l, 5, NULL, subs);
    int type = luaL_checkoption(l, 6, "merge", types);
    struct write_request *w =
        request_new(l, NEAP_PATCH, k, luaL_optstring(l, 2, NULL), luaL_checkstring(l, 3));
    w->request.subresource = sub < 0 ? NULL : subs[sub];
    w->request.patch_type = values[type];
    set_body(l, w, 4);
    return send(l, w);
}

/* The table at <index>, an absolute one, once more (nil: an empty one); nothing deeper is copied. */
static void push_copy(lua_State *l, int index)
{
    lua_newtable(l);
    if (lua_isnil(l, index))
        return;
    lua_pushnil(l);
    while (lua_next(l, index)) {
        lua_pushvalue(l, -2);
        lua_insert(l, -2);
        lua_rawset(l, -4);
    }
}

/* Of the copy on top: metadata.name, which an applied object must say, is <name> where it is left out. */
static void complete_name(lua_State *l, const char *name)
{
    lua_getfield(l, -1, "metadata");
    int metadata = lua_gettop(l);
    if (lua_isnil(l, metadata) || lua_istable(l, metadata)) {
        push_copy(l, metadata);
        if (lua_getfield(l, -1, "name") == LUA_TNIL) {
            lua_pushstring(l, name);
            lua_setfield(l, -3, "name");
        }
        lua_pop(l, 1);
        lua_setfield(l, metadata - 1, "metadata");
    }
    lua_settop(l, metadata - 1);
}

/* The table at <index> once more with apiVersion, kind and name. */
static void push_whole(lua_State *l, int index, const struct neap_kind *k, const char *name)
{
    char version[160];
    luaL_checktype(l, index, LUA_TTABLE);
    push_copy(l, index);
    neap_kind_api_version(k, version);
    lua_pushstring(l, version);
    lua_setfield(l, -2, "apiVersion");
    lua_pushstring(l, k->kind);
    lua_setfield(l, -2, "kind");
    complete_name(l, name);
}

/* neap.apply(kind, namespace, name, object, {manager=, force=, subresource=}): server-side apply */
static int api_apply(lua_State *l)
{
    static const char *const subs[] = {"status", NULL};
    const struct neap_kind *k = script_check_kind(l, 1);
    luaL_checktype(l, 5, LUA_TTABLE);
    lua_settop(l, 5);
    const char *manager = script_string_field(l, 5, "manager"),
               *sub = script_string_field(l, 5, "subresource");
    if (!manager || !*manager)
        return luaL_argerror(l, 5, "manager = the name that owns the fields");
    if (sub && strcmp(sub, subs[0]) != 0)
        return luaL_argerror(l, 5, "subresource is \"status\" or none");
    lua_getfield(l, 5, "force");
    bool force = lua_toboolean(l, -1);
    push_whole(l, 4, k, luaL_checkstring(l, 3));
    struct write_request *w =
        request_new(l, NEAP_PATCH, k, luaL_optstring(l, 2, NULL), luaL_checkstring(l, 3));
    w->request.subresource = sub ? subs[0] : NULL;
    w->request.patch_type = NEAP_PATCH_T_APPLY;
    w->request.options.field_manager = manager; /* on this coroutine's stack until the answer */
    w->request.options.force = force;
    set_body(l, w, lua_gettop(l));
    return send(l, w);
}

static const char *propagation_at(lua_State *l, int index)
{
    static const char *const policies[] = {"Background", "Foreground", "Orphan"};
    const char *policy = script_string_field(l, index, "propagation");
    for (size_t i = 0; policy && i < NEAP_ARRAY_LEN(policies); i++)
        if (strcmp(policy, policies[i]) == 0)
            return policies[i];
    if (policy)
        luaL_error(l, "propagation is Background, Foreground or Orphan, not \"%s\"", policy);
    return NULL;
}

/* neap.delete(kind, namespace, name [, {uid=, version=, grace=, propagation=}]) */
static int api_delete(lua_State *l)
{
    const struct neap_kind *k = script_check_kind(l, 1);
    const char *ns = luaL_optstring(l, 2, NULL), *name = luaL_checkstring(l, 3);
    struct neap_call_options o;
    neap_call_options_init(&o);
    lua_settop(l, 4);
    if (!lua_isnil(
            l,
            4)) { /* the table lives until the answer is there: it is on this coroutine's stack */
        luaL_checktype(l, 4, LUA_TTABLE);
        o.propagation_policy = propagation_at(l, 4);
        o.precondition_uid = script_string_field(l, 4, "uid");
        o.precondition_resource_version = script_string_field(l, 4, "version");
        lua_getfield(l, 4, "grace");
    }
    if (lua_type(l, 5) == LUA_TNUMBER)
        o.grace_period_s = lua_tointeger(l, 5);
    struct write_request *w = request_new(l, NEAP_DELETE, k, ns, name);
    w->request.options = o;
    return send(l, w);
}

/* ---- several at once ---- */

static struct many *many_new(lua_State *l, int index)
{
    luaL_checktype(l, index, LUA_TTABLE);
    size_t n = lua_rawlen(l, index);
    if (n > MANY_MAX)
        luaL_error(l, "at most %d objects at once", (int)MANY_MAX);
    struct many *m = neap_calloc(1, sizeof(*m) + n * sizeof(struct one));
    m->count = m->left = (unsigned)n;
    return m;
}

static struct write_request *many_add(lua_State *l, struct many *m, unsigned k, enum neap_verb verb,
                                      const struct neap_kind *kind, const char *ns,
                                      const char *name)
{
    struct write_request *w = request_new(l, verb, kind, ns, name);
    w->many = m;
    w->index = k;
    m->all[k].request = w;
    return w;
}

/* All are made before the first is sent: one that cannot be leaves nothing half done. */
static int many_send(lua_State *l, struct many *m)
{
    struct neap_client *c = script_of(l)->options.client;
    if (!m->count) {
        many_free(m);
        lua_newtable(l);
        return 1;
    }
    for (unsigned k = 0; k < m->count; k++)
        c->request(c, &m->all[k].request->request);
    return lua_yield(l, 0);
}

/* neap.create_all(kind, namespace, objects) -> list of { object = view } or { error = ApiError } */
static int api_create_all(lua_State *l)
{
    const struct neap_kind *kind = script_check_kind(l, 1);
    const char *ns = luaL_optstring(l, 2, NULL), *why = NULL;
    check_writer(l);
    struct many *m = many_new(l, 3);
    for (unsigned k = 0; k < m->count; k++) {
        struct neap_buf json = NEAP_BUF_INIT;
        lua_rawgeti(l, 3, (lua_Integer)k + 1);
        bool ok = neap_script_to_json(l, -1, &json, &why);
        lua_pop(l, 1);
        if (!ok) {
            neap_buf_done(&json);
            many_free(m);
            return luaL_error(l, "object %d cannot be sent: %s", (int)k + 1, why ? why : "?");
        }
        struct write_request *w = many_add(l, m, k, NEAP_CREATE, kind, ns, NULL);
        w->request.body_len = json.len;
        w->body = neap_buf_take(&json);
        w->request.body = w->body;
    }
    return many_send(l, m);
}

/* neap.delete_all(kind, views [, {propagation=}]) -> list as of create_all. Each only if it is still the one that was seen. */
static int api_delete_all(lua_State *l)
{
    const struct neap_kind *kind = script_check_kind(l, 1);
    const char *policy = lua_istable(l, 3) ? propagation_at(l, 3) : NULL;
    check_writer(l);
    struct many *m = many_new(l, 2);
    for (unsigned k = 0; k < m->count; k++) {
        lua_rawgeti(l, 2, (lua_Integer)k + 1);
        struct neap_object *o = script_view_object(l, -1);
        lua_pop(l, 1); /* the list has it */
        if (!o) {
            many_free(m);
            return luaL_error(l, "entry %d is no object of this sync", (int)k + 1);
        }
        struct write_request *w =
            many_add(l, m, k, NEAP_DELETE, kind, neap_object_namespace(o), neap_object_name(o));
        w->uid = neap_strdup(neap_object_uid(o));
        w->request.options.precondition_uid = w->uid;
        w->request.options.propagation_policy = policy;
    }
    return many_send(l, m);
}

void script_writes_open(lua_State *l)
{
    static const luaL_Reg functions[] = {
        {"create", api_create},         {"create_all", api_create_all},
        {"update", api_update},         {"patch", api_patch},
        {"apply", api_apply},           {"delete", api_delete},
        {"delete_all", api_delete_all}, {NULL, NULL}};
    luaL_setfuncs(l, functions, 0);
}
