/* `neap script test|check`: what authors of scripts run. */
#include "server.h"
#include "world.h"

#include <lauxlib.h>
#include <lua.h>
#include <neap/control.h>
#include <neap/log.h>
#include <neap/sched.h>
#include <neap/script.h>

#include <dirent.h>
#include <unistd.h>

enum { TESTS_MAX = 1000, TEST_BUDGET_MS = 60000 };

/* A file of tests while it runs. */
struct suite {
    const struct neap_world_base *base;
    const char *path;
    struct neap_script *script;
    struct {
        char *name;
        int ref;
    } tests[TESTS_MAX];
    size_t count;
    struct neap_world *world; /* of the test that runs */
    int ref;
};

/* ---- test ---- */

/* test(name, function(t) ... end) */
static int declare(lua_State *l)
{
    struct suite *s = lua_touserdata(l, lua_upvalueindex(1));
    const char *name = luaL_checkstring(l, 1);
    luaL_checktype(l, 2, LUA_TFUNCTION);
    if (s->count == TESTS_MAX)
        return luaL_error(l, "more than %d tests in a file", TESTS_MAX);
    lua_settop(l, 2);
    s->tests[s->count].ref = luaL_ref(l, LUA_REGISTRYINDEX);
    s->tests[s->count++].name = neap_strdup(name);
    return 0;
}

/* function(require("harness")(world, path)) */
static int body(lua_State *l)
{
    struct suite *s = lua_touserdata(l, 1);
    lua_rawgeti(l, LUA_REGISTRYINDEX, s->ref);
    lua_getglobal(l, "require");
    lua_pushliteral(l, "harness");
    lua_call(l, 1, 1);
    neap_world_push(s->world, l);
    lua_pushstring(l, s->path);
    lua_call(l, 2, 1);
    lua_call(l, 1, 0);
    return 0;
}

static bool run_one(struct suite *s, size_t i)
{
    struct neap_err err = NEAP_ERR_INIT;
    s->ref = s->tests[i].ref;
    int rc = neap_world_open(s->base, &s->world, &err);
    if (!rc)
        rc = neap_script_call(s->script, NULL, TEST_BUDGET_MS, body, s, &err);
    s->world = neap_world_close(s->world);
    if (rc)
        printf("not ok %s: %s: %s\n", s->path, s->tests[i].name, err.message);
    else
        printf("ok %s: %s\n", s->path, s->tests[i].name);
    fflush(stdout);
    neap_err_done(&err);
    return rc == 0;
}

/* How many failed. */
static int run_file(const struct neap_world_base *base, const char *path)
{
    struct neap_err err = NEAP_ERR_INIT;
    char lib[4200];
    int bad = 0;
    struct suite *s = neap_calloc(1, sizeof(*s));
    snprintf(lib, sizeof(lib), "%s/lib", base->scripts);
    struct neap_script_options o = {
        .clock = &neap_clock_system, .rand = &neap_rand_system, .lib_dir = lib};
    s->base = base;
    s->path = path;
    s->script = neap_script_new(&o);
    lua_State *l = neap_script_lua(s->script);
    neap_script_beside(s->script, path);
    lua_pushlightuserdata(l, s);
    lua_pushcclosure(l, declare, 1);
    lua_setglobal(l, "test");
    if (neap_script_load(s->script, path, &err)) {
        printf("not ok %s: %s\n", path, err.message);
        neap_err_done(&err);
        bad = 1;
    } else if (!s->count) {
        printf("not ok %s: it has no test(\"name\", function(t) ... end)\n", path);
        bad = 1;
    }
    bool loaded = !bad;
    for (size_t i = 0; i < s->count; i++) {
        bad += loaded && !run_one(s, i);
        free(s->tests[i].name);
    }
    neap_script_free(s->script);
    free(s);
    return bad;
}

static int run_tests(struct neap_config *config, int count, char **files)
{
    struct neap_world_base base;
    struct neap_err err = NEAP_ERR_INIT;
    int bad = 0;
    if (neap_world_base_open(config, &base, &err))
        bad = neap_complain("script test", &err);
    for (int i = 0; !err.code && i < count; i++)
        bad += run_file(&base, files[i]);
    neap_world_base_close(&base);
    neap_err_done(&err);
    return bad ? 1 : 0;
}

/* ---- folders ---- */

enum { FILES_MAX = 1000 };
struct files {
    char *path[FILES_MAX];
    int count;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A file; of a folder, and of those that neap reads below it, the tests or the scripts. */
static void add_files(struct files *f, const char *path, bool tests, bool top)
{
    static const char *const below[] = {"controllers", "admission", "lib"};
    DIR *d = opendir(path);
    if (!d && top && f->count < FILES_MAX)
        f->path[f->count++] = neap_strdup(path);
    if (!d)
        return;
    int first = f->count;
    for (struct dirent *e; (e = readdir(d)) && f->count < FILES_MAX;)
        if (tests ? neap_endswith(e->d_name, "_test.lua") : neap_script_is_one(e->d_name))
            f->path[f->count++] = neap_asprintf("%s/%s", path, e->d_name);
    closedir(d);
    qsort(f->path + first, (size_t)(f->count - first), sizeof(*f->path), by_text);
    for (size_t i = 0; top && i < NEAP_ARRAY_LEN(below); i++) {
        NEAP_CLEANUP_FREE char *inner = neap_asprintf("%s/%s", path, below[i]);
        add_files(f, inner, tests, false);
    }
}

/* ---- check ---- */

enum script_kind { CONTROLLER, RULE, POLICY, MODULE, TEST };

/* A table that was meant to be declared. */
static bool undeclared(lua_State *l, int table)
{
    static const char *const fields[] = {"for_",      "reconcile", "sync",
                                         "resources", "mutate",    "validate"};
    bool found = lua_getmetatable(l, table);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields) && !found; i++) {
        found = lua_getfield(l, table, fields[i]) != LUA_TNIL;
        lua_settop(l, table);
    }
    return found;
}

/* What the file returns tells what it is. */
static int look(const char *path, const char *lib, enum script_kind *ret, struct neap_err *err)
{
    struct suite *s = neap_calloc(1, sizeof(*s));
    struct neap_script_options o = {
        .clock = &neap_clock_system, .rand = &neap_rand_system, .lib_dir = lib};
    struct neap_script *script = neap_script_new(&o);
    lua_State *l = neap_script_lua(script);
    neap_script_beside(script, path);
    lua_pushlightuserdata(l, s);
    lua_pushcclosure(l, declare, 1);
    lua_setglobal(l, "test");
    int rc = neap_script_load(script, path, err);
    *ret = s->count ? TEST : MODULE;
    int top = lua_gettop(l);
    if (!rc && neap_script_declared(l, top, "controller"))
        *ret = CONTROLLER;
    else if (!rc && neap_script_declared(l, top, "admission"))
        *ret = RULE;
    else if (!rc && neap_script_declared(l, top, "policy"))
        *ret = POLICY;
    else if (!rc && !s->count && !lua_isfunction(l, top) &&
             (!lua_istable(l, top) || undeclared(l, top)))
        rc =
            neap_err_set(err, NEAP_ECONFIG,
                         "%s: must return neap.controller{...}, neap.admission{...} or a policy of "
                         "neap.scheduler",
                         path);
    for (size_t i = 0; i < s->count; i++)
        free(s->tests[i].name);
    neap_script_free(script);
    free(s);
    return rc;
}

static int check_rule(const char *scripts, const char *path, struct neap_err *err)
{
    struct neap_admission_rules *a = NULL;
    struct neap_admission_options o = {
        .clock = &neap_clock_system, .rand = &neap_rand_system, .script_dir = scripts};
    int rc = neap_admission_open(&o, &a, err);
    if (!rc)
        rc = neap_admission_add(a, path, err);
    neap_admission_close(a);
    return rc;
}

static int check_file(const char *scripts, const char *path)
{
    static const char *const names[] = {"controller", "admission rule", "scheduling policy",
                                        "module", "tests"};
    struct neap_err err = NEAP_ERR_INIT;
    enum script_kind kind;
    char lib[4200];
    snprintf(lib, sizeof(lib), "%s/lib", scripts);
    struct neap_control_options o = {.clock = &neap_clock_system,
                                     .rand = &neap_rand_system,
                                     .script_dir = scripts,
                                     .file = path};
    int rc = look(path, lib, &kind, &err);
    if (!rc && kind == CONTROLLER)
        rc = neap_control_check(&o, &err);
    else if (!rc && kind == RULE)
        rc = check_rule(scripts, path, &err);
    else if (!rc && kind == POLICY)
        rc = neap_sched_policy_check(path, &err);
    if (rc)
        printf("not ok %s: %s\n", path, err.message);
    else
        printf("ok %s: %s\n", path, names[kind]);
    neap_err_done(&err);
    return rc != 0;
}

static int check_files(struct neap_config *config, int count, char **files)
{
    char scripts[4096];
    int bad = 0;
    neap_beside(neap_config_string(config, NULL, "script_dir"), "scripts", scripts,
                sizeof(scripts));
    for (int i = 0; i < count; i++)
        bad += check_file(scripts, files[i]);
    return bad ? 1 : 0;
}

int neap_script_main(struct neap_config *config, int argc, char **argv)
{
    bool test = argc >= 2 && strcmp(argv[0], "test") == 0;
    if (!test && (argc < 2 || strcmp(argv[0], "check") != 0))
        return neap_complain("usage: neap script test FILE_test.lua|DIR... | check FILE.lua|DIR...",
                             NULL);
    if (neap_streq(neap_config_string(config, NULL, "log_level"), "info"))
        neap_log_set(NEAP_LOG_WARN, STDERR_FILENO); /* the default is a server's */
    neap_script_print_to(stderr);
    struct files *f = neap_calloc(1, sizeof(*f));
    for (int i = 1; i < argc; i++)
        add_files(f, argv[i], test, true);
    int rc = !f->count
                 ? neap_complain(test ? "no file *_test.lua there" : "no file *.lua there", NULL)
             : test ? run_tests(config, f->count, f->path)
                    : check_files(config, f->count, f->path);
    for (int i = 0; i < f->count; i++)
        free(f->path[i]);
    free(f);
    return rc;
}
