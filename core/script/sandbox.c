/* The sandbox: what a script may call, how much memory and time it may take. */
#include "script_internal.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MEMORY_DEFAULT = 64 << 20,
    BUDGET_DEFAULT_MS = 200,
    OVERTIME_MAX = 10 /* turns that one which does not wait may last, cut in pieces */
};

struct neap_script *script_of(lua_State *l)
{
    return *(struct neap_script **)lua_getextraspace(l);
}

/* "FILE:LINE: " of the innermost function that is a script's; "": none. Allocates nothing. */
static void script_place(lua_State *l, char *out, size_t size)
{
    lua_Debug d;
    *out = 0;
    for (int level = 0; l && lua_getstack(l, level, &d); level++)
        if (lua_getinfo(l, "Sl", &d) && d.currentline > 0) {
            snprintf(out, size, "%s:%d: ", d.short_src, d.currentline);
            return;
        }
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
    if (size > old && s->armed && s->memory + size - old > s->options.memory_max) {
        script_place(s->running, s->full_at, sizeof(s->full_at));
        return NULL;
    }
    void *p = realloc(ptr, size);
    if (p)
        s->memory += size - old;
    return p;
}

/* ---- time: the watchdog signals this very thread, the handler arms a hook that stays armed ---- */

/* The scripts that run on this thread, innermost first (a test's script runs a controller's). */
static _Thread_local struct neap_script *watched;

static void set_timer(struct neap_script *s, uint64_t ms)
{
    struct itimerspec t = {
        .it_value = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}};
    timer_settime(s->watchdog, 0, &t, NULL);
}

/* A controller's turn that took too long is no error yet: others run, then it goes on. Where nothing can
 * yield (within table.sort, gsub), it goes on at once. False: its overtime is over. */
static bool give_way(struct neap_script *s, lua_State *l, const lua_Debug *ar)
{
    struct neap_item *i = s->current;
    if (!i || !i->waits || i->overtime >= OVERTIME_MAX)
        return false;
    if (ar->event != LUA_HOOKCOUNT && ar->event != LUA_HOOKLINE)
        return true; /* the next event is one that can yield */
    char place[160];
    lua_sethook(l, NULL, 0, 0);
    script_place(l, place, sizeof(place));
    place[*place ? strlen(place) - 2 : 0] = 0;
    if (!i->overtime++)
        NEAP_WARN("script", "a turn took too long: it is interrupted, and goes on",
                  "at=%s budget_ms=%u", neap_log_quote(place), (unsigned)s->options.budget_ms);
    i->interrupted = lua_isyieldable(l);
    if (i->interrupted)
        lua_yield(l, 0);
    else
        set_timer(s, s->options.budget_ms);
    return true;
}

static void over(lua_State *l, lua_Debug *ar)
{
    struct neap_script *s = script_of(l);
    char place[160];
    if (give_way(s, l, ar))
        return;
    s->overran = true;
    script_place(l, place, sizeof(place)); /* the innermost may be C's: pcall */
    lua_pushfstring(l, "%sthe script took more time than it may", place);
    lua_error(l);
}

static void on_signal(int signum, siginfo_t *info, void *context)
{
    (void)signum;
    (void)context;
    for (struct neap_script *s = watched; s && info->si_code == SI_TIMER; s = s->outer)
        if (s == info->si_value.sival_ptr && s->armed) {
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

/* ---- errors ---- */

int script_error_text(lua_State *l)
{
    const char *text = lua_tostring(l, 1);
    if (!text && luaL_getmetafield(l, 1, "__tostring") != LUA_TNIL) {
        lua_pop(l, 1);
        text = luaL_tolstring(l, 1, NULL);
    } else if (!text) {
        char place[160];
        script_place(l, place, sizeof(place));
        text =
            lua_pushfstring(l, "%serror() with a %s: a text is wanted", place, luaL_typename(l, 1));
    }
    if (!lua_toboolean(l, lua_upvalueindex(1))) {
        lua_pushstring(l, text);
        return 1;
    }
    static const char bottom[] = "\n\t[C]: in ?"; /* the engine's own */
    size_t n;
    luaL_traceback(l, l, text, 1);
    text = lua_tolstring(l, -1, &n);
    if (neap_endswith(text, bottom))
        lua_pushlstring(l, text, n - strlen(bottom));
    return 1;
}

void script_error_set(struct neap_script *s, int rc, const char *text, struct neap_err *err)
{
    neap_err_set(err, s->overran ? NEAP_ETIMEOUT : NEAP_EINTERNAL, "%s%s",
                 rc == LUA_ERRMEM ? s->full_at : "", text ? text : "an error that is no text");
}

/* ---- libraries ---- */

static FILE *print_to;

void neap_script_print_to(FILE *file)
{
    print_to = file;
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
    if (print_to)
        fprintf(print_to, "%s\n", lua_tostring(l, -1));
    else
        NEAP_INFO("script", "print", "text=%s", neap_log_quote(lua_tostring(l, -1)));
    return 0;
}

/* The module's file, in the first folder that has it. */
static int load_module(lua_State *l, const struct neap_script *s, const char *name)
{
    const char *const folders[] = {s->options.lib_dir, s->options.user_lib_dir, s->beside};
    char path[4096];
    int rc = LUA_ERRFILE;
    lua_pushnil(l);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(folders) && rc == LUA_ERRFILE; i++) {
        if (!folders[i])
            continue;
        lua_pop(l, 1);
        snprintf(path, sizeof(path), "%s/%s.lua", folders[i], name);
        rc = luaL_loadfilex(l, path, "t");
    }
    return rc;
}

/* require("name"): a file of the library folder, run once, its value kept. */
static int require(lua_State *l)
{
    struct neap_script *s = script_of(l);
    const char *name = luaL_checkstring(l, 1);
    if (!*name || strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789") != strlen(name))
        return luaL_error(l, "no module '%s': a name is of a to z, 0 to 9 and _", name);
    if (lua_getfield(l, LUA_REGISTRYINDEX, "neap.modules") != LUA_TTABLE) {
        lua_pop(l, 1);
        lua_newtable(l);
        lua_pushvalue(l, -1);
        lua_setfield(l, LUA_REGISTRYINDEX, "neap.modules");
    }
    int modules = lua_gettop(l), type = lua_getfield(l, modules, name);
    if (type == LUA_TLIGHTUSERDATA)
        return luaL_error(l, "module '%s' requires itself", name);
    if (type != LUA_TNIL)
        return 1;
    int rc = load_module(l, s, name);
    if (rc == LUA_ERRFILE)
        return luaL_error(l, "no module '%s' in the folder lib", name);
    if (rc != LUA_OK)
        return lua_error(l);
    lua_pushlightuserdata(l, s); /* it is being made */
    lua_setfield(l, modules, name);
    rc = lua_pcall(l, 0, 1, 0);
    lua_pushvalue(l, -1);
    if (rc != LUA_OK)
        lua_pushnil(l);
    lua_setfield(l, modules, name);
    if (rc != LUA_OK)
        return lua_error(l);
    return 1;
}

void neap_script_beside(struct neap_script *s, const char *path)
{
    static const char *const inner[] = {"controllers", "admission"};
    const char *slash = strrchr(path, '/');
    NEAP_CLEANUP_FREE char *dir =
        slash ? neap_strndup(path, (size_t)(slash - path)) : neap_strdup(".");
    const char *last = strrchr(dir, '/');
    bool below = false;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(inner); i++)
        below = below || strcmp(last ? last + 1 : dir, inner[i]) == 0;
    free(s->beside);
    s->beside = neap_asprintf("%s/%slib", dir, below ? "../" : "");
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
    script_bounds_open(l);
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
        free(s->beside);
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
    lua_State *l = s->l;
    lua_pushcfunction(l, script_error_text);
    int handler = lua_gettop(l), rc = luaL_loadfilex(l, path, "t");
    if (rc == LUA_OK) {
        script_watchdog_start(s, l, 0);
        rc = lua_pcall(l, 0, 1, handler);
        script_watchdog_stop(s);
        lua_sethook(l, NULL, 0, 0);
    }
    lua_remove(l, handler);
    if (rc == LUA_OK)
        return 0;
    script_error_set(s, rc, lua_tostring(l, -1), err);
    err->code = NEAP_ECONFIG;
    lua_pop(l, 1);
    return err->code;
}
