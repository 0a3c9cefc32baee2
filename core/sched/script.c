/* Policies in Lua: each file is a plugin of its own, `return neap.scheduler.score{...}` or
 * `neap.scheduler.filter{...}`. A policy reads; it cannot write. One that fails or takes too long is left
 * out for a while, and scheduling goes on without it. */
#include "sched_internal.h"

#include <dirent.h>
#include <lauxlib.h>
#include <lua.h>
#include <neap/script.h>

enum { FILES_MAX = 32, BUDGET_MS = 50, MEMORY_MAX = 32 << 20, REASON_MAX = 200 };
static const int64_t pause_ns = 1000000000;
enum { PAUSE_DOUBLINGS = 6 };

struct policy {
    struct neap_scheduler_plugin table;
    struct neap_sched *sched;
    struct neap_script *script;
    char *name;
    int function, driver; /* references */
    unsigned failures;
    int64_t paused_until_ns;
    struct policy *next;
};
struct sched_policies {
    struct policy *first;
};

/* One call of a policy. */
struct call {
    struct policy *policy;
    const struct neap_sched_pod *pod;
    const struct neap_sched_node *const *nodes;
    size_t count;
    /* out */
    int64_t *scores; /* by node index; NULL: a filter */
    int verdict;
    char why[REASON_MAX];
    bool ok;
    struct neap_err err;
};

/* Scores all nodes in one go: one work item, one budget. */
static const char driver[] = "local f, pod, nodes = ...\n"
                             "local out = {}\n"
                             "for i = 1, #nodes do out[i] = f(pod, nodes[i]) end\n"
                             "return out\n";

/* ---- calling ---- */

/* Runs protected: what it pushes may run out of the script's memory. */
static int push_arguments(lua_State *l)
{
    struct call *c = lua_touserdata(l, 1);
    struct policy *x = c->policy;
    lua_settop(l, 0);
    luaL_checkstack(l, 8, NULL);
    if (c->scores)
        lua_rawgeti(l, LUA_REGISTRYINDEX, x->driver);
    lua_rawgeti(l, LUA_REGISTRYINDEX, x->function);
    neap_script_push_parsed(x->script, c->pod->object, c->pod->doc);
    if (!c->scores) {
        neap_script_push_parsed(x->script, c->nodes[0]->object, c->nodes[0]->doc);
        return 3;
    }
    lua_createtable(l, (int)c->count, 0);
    for (size_t i = 0; i < c->count; i++) {
        neap_script_push_parsed(x->script, c->nodes[i]->object, c->nodes[i]->doc);
        lua_rawseti(l, -2, (lua_Integer)i + 1);
    }
    return 4;
}

static void take_scores(struct call *c, lua_State *co)
{
    for (size_t i = 0; i < c->count; i++) {
        int is_number = 0;
        lua_rawgeti(co, -1, (lua_Integer)i + 1);
        lua_Number v = lua_tonumberx(co, -1, &is_number);
        lua_pop(co, 1);
        if (!is_number || v != v) {
            neap_err_set(&c->err, NEAP_EINVALID, "score(pod, node) must return a number");
            return;
        }
        v = v < 0 ? 0 : v > NEAP_SCHED_SCORE_MAX ? NEAP_SCHED_SCORE_MAX : v;
        c->scores[c->nodes[i]->index] = (int64_t)v;
    }
    c->ok = true;
}

static void take_verdict(struct call *c, lua_State *co, int results)
{
    const char *why = results > 1 ? lua_tostring(co, -results + 1) : NULL;
    if (results < 1 || !lua_isboolean(co, -results)) {
        neap_err_set(&c->err, NEAP_EINVALID,
                     "filter(pod, node) must return true, or false and why");
        return;
    }
    c->verdict = lua_toboolean(co, -results) ? NEAP_SCHED_OK : NEAP_SCHED_NEVER;
    if (why)
        snprintf(c->why, sizeof(c->why), "%s", why);
    else
        snprintf(c->why, sizeof(c->why), "node(s) refused by policy %.100s", c->policy->name);
    c->ok = true;
}

static void called(void *arg, lua_State *co, int results, const struct neap_err *err)
{
    struct call *c = arg;
    if (err)
        neap_err_set(&c->err, err->code, "%s", err->message);
    else if (!c->scores)
        take_verdict(c, co, results);
    else if (results == 1 && lua_istable(co, -1))
        take_scores(c, co);
}

/* A failure pauses the policy: 1 s, 2 s, ... about a minute. */
static void failed(struct policy *x, struct call *c)
{
    struct neap_sched *s = x->sched;
    unsigned n = x->failures < PAUSE_DOUBLINGS ? x->failures : PAUSE_DOUBLINGS;
    const char *text = c->err.message ? c->err.message : "it returned nothing";
    NEAP_CLEANUP_FREE char *message =
        neap_asprintf("Scheduler policy %.100s was left out: %.600s", x->name, text);
    x->failures++;
    x->paused_until_ns = neap_clock_mono(s->options.clock) + (pause_ns << n);
    NEAP_WARN("scheduler", "policy left out", "policy=%s err=%s", x->name, neap_log_quote(text));
    neap_metric_add(&sched_metrics[SCHED_M_SCRIPT_ERRORS], 1, x->name,
                    c->err.code == NEAP_ETIMEOUT ? "timeout" : "error");
    sched_tell(s, (struct neap_sched_pod *)c->pod, "Warning", "PolicyFailed", "Scheduling",
               message);
}

static bool call(struct policy *x, struct call *c)
{
    lua_State *l = neap_script_lua(x->script);
    c->policy = x;
    lua_pushcfunction(l, push_arguments);
    lua_pushlightuserdata(l, c);
    if (lua_pcall(l, 1, LUA_MULTRET, 0) != LUA_OK)
        neap_err_set(&c->err, NEAP_EINTERNAL, "%s", lua_tostring(l, -1));
    else
        neap_script_start(x->script, c->scores ? 3 : 2, called, c); /* nothing in it can yield */
    lua_settop(l, 0);
    if (c->ok)
        x->failures = 0;
    else
        failed(x, c);
    neap_err_done(&c->err);
    return c->ok;
}

static bool paused(const struct policy *x)
{
    return x->paused_until_ns > neap_clock_mono(x->sched->options.clock);
}

/* ---- as a plugin ---- */

static int configure(const struct neap_host *host, const struct neap_sched_views *v, void **ret)
{
    (void)host, (void)v, (void)ret; /* self is given when it is added */
    return 0;
}

static int pre_score(void *self, const struct neap_sched_pod *p,
                     const struct neap_sched_node *const *nodes, size_t count, void **ret)
{
    struct policy *x = self;
    if (paused(x))
        return NEAP_SCHED_SKIP;
    struct call c = {.pod = p, .nodes = nodes, .count = count};
    c.scores = *ret = neap_calloc(x->sched->order_count + 1, sizeof(int64_t));
    return call(x, &c) ? NEAP_SCHED_OK : NEAP_SCHED_SKIP;
}

static int64_t score(void *self, void *state, const struct neap_sched_pod *p,
                     const struct neap_sched_node *n)
{
    const int64_t *scores = state;
    (void)self, (void)p;
    return scores[n->index];
}

static int filter(void *self, void *state, const struct neap_sched_pod *p,
                  const struct neap_sched_node *n)
{
    struct policy *x = self;
    struct call c = {.pod = p, .nodes = &n, .count = 1};
    (void)state;
    if (paused(x) || !call(x, &c) || c.verdict == NEAP_SCHED_OK)
        return NEAP_SCHED_OK;
    sched_because(x->sched, c.why);
    return c.verdict;
}

static void state_free(void *self, void *state)
{
    (void)self;
    free(state);
}

static void policy_free(struct policy *x)
{
    neap_script_free(x->script);
    free(x->name);
    free(x);
}

/* ---- loading ---- */

static bool taken(const struct neap_sched *s, const char *name)
{
    for (unsigned i = 0; s && i < s->plugin_count; i++)
        if (strcmp(s->plugins[i].name, name) == 0)
            return true;
    return false;
}

/* The table at the top of the stack. */
static int read_policy(struct policy *x, lua_State *l, const char *path, struct neap_err *err)
{
    int table = lua_gettop(l);
    if (!neap_script_declared(l, table, "policy"))
        return neap_err_set(err, NEAP_ECONFIG,
                            "%s: must return neap.scheduler.score{...} or "
                            "neap.scheduler.filter{...}",
                            path);
    if (lua_getfield(l, table, "name") != LUA_TSTRING || !*lua_tostring(l, -1))
        return neap_err_set(err, NEAP_ECONFIG, "%s: a policy needs a name", path);
    x->name = neap_strdup(lua_tostring(l, -1));
    if (taken(x->sched, x->name))
        return neap_err_set(err, NEAP_ECONFIG, "%s: there is another plugin \"%s\"", path, x->name);
    x->table.weight = lua_getfield(l, table, "weight") == LUA_TNIL ? 1 : lua_tointeger(l, -1);
    if (x->table.weight < 1 || x->table.weight > 100)
        return neap_err_set(err, NEAP_ECONFIG, "%s: weight is a whole number of 1 to 100", path);
    bool filters = lua_getfield(l, table, "filter") == LUA_TFUNCTION;
    if (!filters && lua_getfield(l, table, "score") != LUA_TFUNCTION)
        return neap_err_set(err, NEAP_ECONFIG, "%s: a function score or filter is missing", path);
    x->function = luaL_ref(l, LUA_REGISTRYINDEX);
    x->table.filter = filters ? filter : NULL;
    x->table.pre_score = filters ? NULL : pre_score;
    x->table.score = filters ? NULL : score;
    x->table.state_free = state_free;
    x->table.configure = configure;
    x->table.header = (struct neap_plugin_header){NEAP_PLUGIN_MAGIC,
                                                  NEAP_PLUGIN_ABI_MAJOR,
                                                  NEAP_PLUGIN_ABI_MINOR,
                                                  sizeof(x->table),
                                                  NEAP_PLUGIN_SCHEDULER,
                                                  x->name,
                                                  "script",
                                                  NULL};
    return 0;
}

int neap_sched_policy_check(const char *path, struct neap_err *err)
{
    struct policy *x = neap_calloc(1, sizeof(*x));
    struct neap_script_options o = {.clock = &neap_clock_system,
                                    .rand = &neap_rand_system,
                                    .memory_max = MEMORY_MAX,
                                    .reads_only = true};
    x->script = neap_script_new(&o);
    int rc = neap_script_load(x->script, path, err);
    if (!rc)
        rc = read_policy(x, neap_script_lua(x->script), path, err);
    policy_free(x);
    return rc;
}

static int load(struct neap_sched *s, const char *path, struct neap_err *err)
{
    struct policy *x = neap_calloc(1, sizeof(*x));
    struct neap_script_options o = {
        .loop = s->options.loop,
        .client = s->options.client->snapshot ? s->options.client : NULL,
        .clock = s->options.clock,
        .rand = s->options.rand,
        .memory_max = MEMORY_MAX,
        .reads_only = true,
        .budget_ms = s->options.script_budget_ms ? s->options.script_budget_ms : BUDGET_MS};
    x->sched = s;
    x->script = neap_script_new(&o);
    lua_State *l = neap_script_lua(x->script);
    int rc = neap_script_load(x->script, path, err);
    if (!rc)
        rc = read_policy(x, l, path, err);
    lua_settop(l, 0);
    if (!rc && luaL_loadstring(l, driver) != LUA_OK)
        rc = neap_err_set(err, NEAP_EINTERNAL, "%s", lua_tostring(l, -1));
    if (!rc) {
        x->driver = luaL_ref(l, LUA_REGISTRYINDEX);
        rc = sched_plugin_add(s, &x->table, x, NULL, err);
    }
    if (rc) {
        policy_free(x);
        return rc;
    }
    x->next = s->policies->first;
    s->policies->first = x;
    NEAP_INFO("scheduler", "policy loaded", "policy=%s weight=%lld", x->name,
              (long long)x->table.weight);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void sched_policies_open(struct neap_sched *s)
{
    char *names[FILES_MAX];
    size_t count = 0;
    s->policies = neap_calloc(1, sizeof(*s->policies));
    DIR *d = s->options.script_dir ? opendir(s->options.script_dir) : NULL;
    if (!d) {
        if (s->options.script_dir)
            NEAP_ERROR("scheduler", "no such folder of policies", "dir=%s",
                       neap_log_quote(s->options.script_dir));
        return;
    }
    for (struct dirent *e; (e = readdir(d)) && count < FILES_MAX;)
        if (e->d_name[0] != '.' && neap_endswith(e->d_name, ".lua"))
            names[count++] = neap_strdup(e->d_name);
    closedir(d);
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 0; i < count; i++) {
        struct neap_err err = NEAP_ERR_INIT;
        NEAP_CLEANUP_FREE char *path = neap_asprintf("%s/%s", s->options.script_dir, names[i]);
        if (load(s, path, &err))
            NEAP_ERROR("scheduler", "policy not loaded", "err=%s", neap_log_quote(err.message));
        neap_err_done(&err);
        free(names[i]);
    }
}

void sched_policies_close(struct neap_sched *s)
{
    for (struct policy *x = s->policies->first, *next; x; x = next) {
        next = x->next;
        policy_free(x);
    }
    free(s->policies);
}
