/* A request passes the rules: who is asked is decided here, before Lua is entered. */
#include "admission_internal.h"

enum { MESSAGE_MAX = 4096 };
enum { RUNS, SECONDS };
static struct neap_metric metrics[] = {
    [RUNS] = {.name = "neap_admission_rule_runs_total",
              .help = "Runs of admission rules, by rule, step and result.",
              .type = NEAP_COUNTER,
              .labels = {"rule", "step", "result"}},
    [SECONDS] = {.name = "neap_admission_rule_seconds",
                 .help = "Time of a run.",
                 .type = NEAP_HISTOGRAM,
                 .labels = {"rule"},
                 .buckets = neap_metric_latency_buckets},
};

__attribute__((constructor)) static void register_metrics(void)
{
    neap_metrics_register(metrics, NEAP_ARRAY_LEN(metrics));
}

/* One rule's function on one request. */
struct run {
    struct rule_set *set;
    const struct rule *rule;
    struct neap_admission_request *request;
    bool mutate, denied;
    char *message, *field; /* of a denial; owned */
};

/* ---- the request in Lua ---- */

static void set_string(lua_State *l, const char *name, const char *value)
{
    lua_pushstring(l, value); /* NULL is nil */
    lua_setfield(l, -2, name);
}

static void set_tree(struct run *r, lua_State *l, const char *name, yyjson_mut_val *value,
                     bool frozen)
{
    if (!value)
        return;
    neap_script_push_tree(r->set->script, r->request->doc, value, frozen);
    lua_setfield(l, -2, name);
}

static void push_user(lua_State *l, const struct neap_identity *id)
{
    lua_createtable(l, 0, 3);
    set_string(l, "name", id ? id->user : NULL);
    set_string(l, "uid", id ? id->uid : NULL);
    lua_newtable(l);
    for (lua_Integer i = 0; id && id->groups && id->groups[i]; i++) {
        lua_pushstring(l, id->groups[i]);
        lua_rawseti(l, -2, i + 1);
    }
    lua_setfield(l, -2, "groups");
}

static void push_request(struct run *r, lua_State *l)
{
    const struct neap_admission_request *q = r->request;
    const struct neap_kind *k = q->kind;
    lua_createtable(l, 0, 10);
    set_string(l, "operation", q->operation);
    set_string(l, "namespace", q->namespace_);
    set_string(l, "name", q->name);
    lua_pushfstring(l, "%s%s%s/%s", k->group, *k->group ? "/" : "", k->version, k->resource);
    lua_setfield(l, -2, "resource");
    set_string(l, "kind", k->kind);
    lua_pushboolean(l, q->dry_run);
    lua_setfield(l, -2, "dry_run");
    push_user(l, q->call ? q->call->identity : NULL);
    lua_setfield(l, -2, "user");
    set_tree(r, l, "object", q->object, !r->mutate);
    set_tree(r, l, "old", q->old_object, true);
}

/* ---- neap.deny, neap.warn ---- */

static struct run *run_of(lua_State *l)
{
    struct rule_set *s = lua_touserdata(l, lua_upvalueindex(1));
    if (!s->run)
        luaL_error(l, "a decision is made within mutate or validate only");
    return s->run;
}

static void deny(struct run *r, const char *message, const char *field)
{
    if (r->denied)
        return;
    r->denied = true;
    r->message = message && *message ? neap_strndup(message, MESSAGE_MAX) : NULL;
    r->field = field ? neap_strndup(field, MESSAGE_MAX) : NULL;
}

/* neap.deny(message [, field]): does not return, and pcall does not take it back */
static int api_deny(lua_State *l)
{
    deny(run_of(l), luaL_optstring(l, 1, NULL), luaL_optstring(l, 2, NULL));
    return luaL_error(l, "denied");
}

static int api_warn(lua_State *l)
{
    struct run *r = run_of(l);
    const char *text = luaL_checkstring(l, 1);
    neap_call_warn((struct neap_call *)(uintptr_t)r->request->call, "%.*s", MESSAGE_MAX, text);
    return 0;
}

void admission_api_open(struct rule_set *s)
{
    static const luaL_Reg functions[] = {{"deny", api_deny}, {"warn", api_warn}, {NULL, NULL}};
    lua_State *l = neap_script_lua(s->script);
    lua_getglobal(l, "neap");
    lua_pushlightuserdata(l, s);
    luaL_setfuncs(l, functions, 1);
    lua_pop(l, 1);
}

/* ---- one rule ---- */

/* Nothing, or true: fine. A text, or false and a text: denied. */
static int body(lua_State *l)
{
    struct run *r = lua_touserdata(l, 1);
    lua_rawgeti(l, LUA_REGISTRYINDEX, r->mutate ? r->rule->mutate_ref : r->rule->validate_ref);
    push_request(r, l);
    lua_call(l, 1, 2);
    if (lua_type(l, -2) == LUA_TSTRING)
        deny(r, lua_tostring(l, -2), lua_tostring(l, -1));
    else if (lua_isboolean(l, -2) && !lua_toboolean(l, -2))
        deny(r, lua_tostring(l, -1), NULL);
    return 0;
}

static int denied(struct run *r, struct neap_err *err)
{
    const struct neap_admission_request *q = r->request;
    neap_err_done(err);
    neap_err_set(err, NEAP_EFORBIDDEN, "admission rule \"%s\" denied the request%s %s",
                 r->rule->name, r->message ? ":" : "",
                 r->message ? r->message : "without explanation");
    neap_err_about(err, q->kind->group, q->kind->resource, q->name);
    if (r->field)
        neap_err_cause(err, "FieldValueInvalid", r->field, "%s", r->message ? r->message : "");
    err->code = NEAP_EFORBIDDEN; /* a cause alone would make it Invalid */
    return NEAP_EFORBIDDEN;
}

static int failed(const struct rule *r, struct neap_err *err)
{
    NEAP_WARN("admission", "rule failed", "rule=%s err=%s", r->name, neap_log_quote(err->message));
    neap_err_wrap(err, "Internal error occurred: failed calling admission rule \"%s\"", r->name);
    err->code = NEAP_EINTERNAL;
    return NEAP_EINTERNAL;
}

/* What a rule may not touch: the object would be another one. */
static const char *const identity[] = {"metadata.name", "metadata.namespace",
                                       "metadata.uid",  "metadata.resourceVersion",
                                       "apiVersion",    "kind"};
enum { IDENTITY = NEAP_ARRAY_LEN(identity) };

/* What the rule made is an object of its kind, and still the same one. */
static int check_change(struct run *r, const char *const before[IDENTITY], struct neap_err *err)
{
    struct neap_admission_request *q = r->request;
    struct neap_decode_report report = {.arena = q->call->arena};
    for (size_t i = 0; i < IDENTITY; i++)
        if (!neap_streq(before[i], neap_json_str_at(q->object, identity[i])))
            return neap_err_set(err, NEAP_EINTERNAL, "%s: mutate may not change %s", r->rule->file,
                                identity[i]);
    int rc = neap_kind_decode(q->doc, q->object, q->kind->type, NEAP_FV_WARN, &report, err);
    if (!rc && report.count)
        rc = neap_err_set(err, NEAP_EINTERNAL, "%s", report.unknown[0]);
    if (rc)
        return neap_err_wrap(err, "%s: mutate made no %s", r->rule->file, q->kind->kind);
    neap_kind_default(q->doc, q->object, q->kind);
    return 0;
}

static int run_rule(struct rule_set *s, const struct rule *rule, struct neap_admission_request *q,
                    bool mutate, const struct neap_clock *clock, struct neap_err *err)
{
    struct run r = {.set = s, .rule = rule, .request = q, .mutate = mutate};
    const char *before[IDENTITY];
    int64_t start = neap_clock_mono(clock);
    for (size_t i = 0; mutate && i < IDENTITY; i++)
        before[i] = neap_json_str_at(q->object, identity[i]);
    s->run = &r;
    int rc = neap_script_call(s->script, q->snapshot, rule->budget_ms, body, &r, err);
    s->run = NULL;
    if (!rc && !r.denied && mutate && q->object)
        rc = check_change(&r, before, err);
    if (r.denied)
        rc = denied(&r, err);
    else if (rc)
        rc = failed(rule, err);
    neap_metric_add(&metrics[RUNS], 1, rule->name, mutate ? "mutate" : "validate",
                    r.denied ? "denied"
                    : rc     ? "error"
                             : "allowed");
    neap_metric_observe(&metrics[SECONDS], (double)(neap_clock_mono(clock) - start) / 1e9,
                        rule->name);
    free(r.message);
    free(r.field);
    return rc;
}

/* ---- which rules ---- */

static bool listed(char *const *list, const char *name)
{
    for (; list && *list; list++)
        if (neap_streq(*list, name))
            return true;
    return false;
}

static unsigned operation(const char *name)
{
    return strcmp(name, "CREATE") == 0   ? OP_CREATE
           : strcmp(name, "UPDATE") == 0 ? OP_UPDATE
                                         : OP_DELETE;
}

/* The namespace that a rule asks for: a Namespace is in itself. */
static const char *place(const struct neap_admission_request *q)
{
    bool namespaces = !*q->kind->group && strcmp(q->kind->resource, "namespaces") == 0;
    return namespaces ? q->name : q->namespace_;
}

static bool concerns(const struct rule *r, const struct neap_admission_request *q, bool mutate)
{
    if ((mutate ? r->mutate_ref : r->validate_ref) == LUA_NOREF ||
        !(r->operations & operation(q->operation)) || !admission_matches(r, q->kind))
        return false;
    return (!r->namespaces || listed(r->namespaces, place(q))) &&
           !listed(r->exclude_namespaces, place(q));
}

static int pass(struct neap_admission_rules *a, struct neap_admission_request *q, bool mutate,
                struct neap_err *err)
{
    struct rule_set *s = a->set;
    unsigned index = q->kind->storage->index;
    if (index < s->covered_count && !s->covered[index])
        return 0;
    int rc = 0;
    for (const struct rule *r = s->rules; r && !rc; r = r->next)
        if (concerns(r, q, mutate))
            rc = run_rule(s, r, q, mutate, a->options.clock, err);
    return rc;
}

int admission_mutate(void *arg, struct neap_admission_request *r, struct neap_err *err)
{
    return pass(arg, r, true, err);
}

int admission_validate(void *arg, const struct neap_admission_request *r, struct neap_err *err)
{
    struct neap_admission_request copy = *r;
    return pass(arg, &copy, false, err);
}
