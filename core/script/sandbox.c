/* The sandbox: what a script may call, how much memory and time it may take. */
#include "script_internal.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MEMORY_DEFAULT = 64 << 20,
    BUDGET_DEFAULT_MS = 200,
    PATTERN_MAX = 256,
    SUBJECT_MAX = 64 << 10
};
/* Steps that one pattern match may need at worst: about half a second. */
#define PATTERN_STEPS_MAX 1e8

struct neap_script *script_of(lua_State *l)
{
    return *(struct neap_script **)lua_getextraspace(l);
}

static void *allocate(void *ud, void *ptr, size_t old, size_t size)
{
    struct neap_script *s = ud;
    if (!ptr)
        old = 0;
    if (size == 0) {
        s->memory -= old;
        free(ptr);
        return NULL;
    }
    /* Lua raises "not enough memory". What the host itself pushes between runs is not refused: there
     * nothing would catch the error. */
    if (size > old && s->armed && s->memory + size - old > s->options.memory_max)
        return NULL;
    void *p = realloc(ptr, size);
    if (p)
        s->memory += size - old;
    return p;
}

/* ---- time: the watchdog signals this very thread, the handler arms a hook that stays armed ---- */

/* The scripts that run on this thread, innermost first (a test's script runs a controller's). */
static _Thread_local struct neap_script *watched;

static void over(lua_State *l, lua_Debug *ar)
{
    lua_Debug d;
    (void)ar;
    for (int level = 0; lua_getstack(l, level, &d); level++) { /* the innermost may be C's: pcall */
        lua_getinfo(l, "Sl", &d);
        if (d.currentline <= 0)
            continue;
        lua_pushfstring(l, "%s:%d: ", d.short_src, d.currentline);
        lua_pushliteral(l, "the script took more time than it may");
        lua_concat(l, 2);
        lua_error(l);
    }
    lua_pushliteral(l, "the script took more time than it may");
    lua_error(l);
}

static void on_signal(int signum, siginfo_t *info, void *context)
{
    (void)signum;
    (void)context;
    for (struct neap_script *s = watched; s && info->si_code == SI_TIMER; s = s->outer)
        if (s == info->si_value.sival_ptr && s->armed) {
            s->overran = true;
            lua_sethook(s->running, over, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT,
                        1);
        }
}

static void watchdog_open(struct neap_script *s)
{
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGUSR2, &sa, NULL);
    struct sigevent ev = {
        .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2, .sigev_value.sival_ptr = s};
    ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (s->watchdog_home)
        timer_delete(s->watchdog);
    timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &s->watchdog);
    s->watchdog_home = &watched;
}

static void set_timer(struct neap_script *s, uint64_t ms)
{
    struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}};
    timer_settime(s->watchdog, 0, &t, NULL);
}

/* A timer measures and signals the thread that made it: one that loaded a script may not be the one that
 * runs it. */
void script_watchdog_start(struct neap_script *s, lua_State *running, uint64_t budget_ms)
{
    if (s->watchdog_home != &watched)
        watchdog_open(s);
    s->running = running;
    s->overran = false;
    s->outer = watched;
    watched = s;
    s->armed = true;
    set_timer(s, budget_ms ? budget_ms : s->options.budget_ms);
}

void script_watchdog_stop(struct neap_script *s)
{
    s->armed = false;
    watched = s->outer;
    set_timer(s, 0);
}

/* ---- libraries ---- */

/* Each repetition of a pattern may try every place of the subject, and so may its start. */
static double steps(const char *pattern, size_t subject)
{
    double n = *pattern == '^' ? 1 : (double)subject;
    for (const char *p = pattern; *p; p++)
        if (*p == '*' || *p == '+' || *p == '-')
            n *= (double)subject;
    return n;
}

/* Patterns run in C, where no hook comes: both sides are bounded, and the work. */
static int bounded(lua_State *l)
{
    size_t subject = 0, pattern = 0;
    bool plain = lua_toboolean(l, 4);
    lua_tolstring(l, 1, &subject);
    const char *text = lua_tolstring(l, 2, &pattern);
    if (!plain && (subject > SUBJECT_MAX || pattern > PATTERN_MAX ||
                   (text && steps(text, subject) > PATTERN_STEPS_MAX)))
        return luaL_error(l, "string or pattern too long for a pattern match");
    lua_pushvalue(l, lua_upvalueindex(1));
    lua_insert(l, 1);
    lua_call(l, lua_gettop(l) - 1, LUA_MULTRET);
    return lua_gettop(l);
}

/* string.rep and friends could ask for more than the cap at once: the allocator says no. */
static void bound_patterns(lua_State *l)
{
    static const char *const names[] = {"find", "match", "gmatch", "gsub"};
    lua_getglobal(l, "string");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        lua_getfield(l, -1, names[i]);
        lua_pushcclosure(l, bounded, 1);
        lua_setfield(l, -2, names[i]);
    }
    lua_pushnil(l);
    lua_setfield(l, -2, "dump");
    lua_pop(l, 1);
}

static int print(lua_State *l)
{
    luaL_Buffer b;
    int n = lua_gettop(l); /* before the buffer puts something there */
    luaL_buffinit(l, &b);
    for (int i = 1; i <= n; i++) {
        luaL_tolstring(l, i, NULL);
        if (i > 1)
            luaL_addchar(&b, '\t');
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    NEAP_INFO("script", "print", "text=%s", neap_log_quote(lua_tostring(l, -1)));
    return 0;
}

/* require("name"): a file of the library folder, run once, its value kept. */
static int require(lua_State *l)
{
    struct neap_script *s = script_of(l);
    const char *name = luaL_checkstring(l, 1);
    char path[4096];
    if (!s->options.lib_dir || !*name ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789") != strlen(name))
        return luaL_error(l, "no module '%s'", name);
    if (lua_getfield(l, LUA_REGISTRYINDEX, "neap.modules") != LUA_TTABLE) {
        lua_pop(l, 1);
        lua_newtable(l);
        lua_pushvalue(l, -1);
        lua_setfield(l, LUA_REGISTRYINDEX, "neap.modules");
    }
    if (lua_getfield(l, -1, name) != LUA_TNIL)
        return 1;
    lua_pop(l, 1);
    snprintf(path, sizeof(path), "%s/%s.lua", s->options.lib_dir, name);
    int rc = luaL_loadfilex(l, path, "t");
    if (rc == LUA_ERRFILE && s->options.user_lib_dir) {
        lua_pop(l, 1);
        snprintf(path, sizeof(path), "%s/%s.lua", s->options.user_lib_dir, name);
        rc = luaL_loadfilex(l, path, "t");
    }
    if (rc != LUA_OK)
        return lua_error(l);
    lua_call(l, 0, 1);
    lua_pushvalue(l, -1);
    lua_setfield(l, -3, name);
    return 1;
}

void script_sandbox_open(struct neap_script *s)
{
    static const luaL_Reg libs[] = {{"_G", luaopen_base},
                                    {LUA_TABLIBNAME, luaopen_table},
                                    {LUA_STRLIBNAME, luaopen_string},
                                    {LUA_MATHLIBNAME, luaopen_math},
                                    {LUA_UTF8LIBNAME, luaopen_utf8}};
    static const char *const removed[] = {"dofile", "loadfile", "load", "collectgarbage"};
    lua_State *l = s->l;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(libs); i++) {
        luaL_requiref(l, libs[i].name, libs[i].func, 1);
        lua_pop(l, 1);
    }
    for (size_t i = 0; i < NEAP_ARRAY_LEN(removed); i++) {
        lua_pushnil(l);
        lua_setglobal(l, removed[i]);
    }
    bound_patterns(l);
    lua_pushcfunction(l, print);
    lua_setglobal(l, "print");
    lua_pushcfunction(l, require);
    lua_setglobal(l, "require");
}

static int panic(lua_State *l)
{
    NEAP_ERROR("script", "an error escaped all protection", "err=%s",
               neap_log_quote(lua_tostring(l, -1)));
    return 0;
}

struct neap_script *neap_script_new(const struct neap_script_options *o)
{
    struct neap_script *s = neap_calloc(1, sizeof(*s));
    s->options = *o;
    neap_list_init(&s->parsed);
    if (!s->options.memory_max)
        s->options.memory_max = MEMORY_DEFAULT;
    if (!s->options.budget_ms)
        s->options.budget_ms = BUDGET_DEFAULT_MS;
    s->l = lua_newstate(allocate, s);
    *(struct neap_script **)lua_getextraspace(s->l) = s;
    lua_atpanic(s->l, panic);
    script_sandbox_open(s);
    script_views_open(s->l);
    script_trees_open(s->l);
    script_api_open(s);
    return s;
}

struct neap_script *neap_script_free(struct neap_script *s)
{
    if (s) {
        lua_close(s->l);
        if (s->watchdog_home)
            timer_delete(s->watchdog);
        free(s);
    }
    return NULL;
}

lua_State *neap_script_lua(struct neap_script *s)
{
    return s->l;
}

int neap_script_load(struct neap_script *s, const char *path, struct neap_err *err)
{
    int rc = luaL_loadfilex(s->l, path, "t");
    if (rc == LUA_OK) {
        script_watchdog_start(s, s->l, 0);
        rc = lua_pcall(s->l, 0, 1, 0);
        script_watchdog_stop(s);
        lua_sethook(s->l, NULL, 0, 0);
    }
    if (rc == LUA_OK)
        return 0;
    const char *text = lua_tostring(s->l, -1);
    neap_err_set(err, NEAP_ECONFIG, "%s", text ? text : "an error that is no text");
    lua_pop(s->l, 1);
    return err->code;
}
