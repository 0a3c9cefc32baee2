/* Events of a kind become keys of the controllers that care. */
#include "control_internal.h"

#include <lauxlib.h>
#include <lua.h>

static void add_key(struct controller *c, const char *ns, const char *name)
{
    char key[600];
    snprintf(key, sizeof(key), "%s/%s", ns, name);
    control_add(c, key);
}

/* The object's controller, when it is of the controller's kind. */
static void owner_of(struct controller *c, struct neap_object *o)
{
    char version[128];
    const struct neap_owner *w = neap_object_controller(o);
    if (!w || strcmp(w->kind, c->kind->kind) != 0 ||
        strcmp(w->api_version, neap_kind_api_version(c->kind, version)) != 0)
        return;
    add_key(c, c->kind->namespaced ? neap_object_namespace(o) : "", w->name);
}

static void add_mapped(struct controller *c, lua_State *co)
{
    const char *key = lua_type(co, -1) == LUA_TSTRING ? lua_tostring(co, -1) : NULL;
    if (key && strchr(key, '/'))
        control_add(c, key);
    else
        NEAP_WARN("controller", "a watch's function answered no namespace/name",
                  "controller=%s answer=%s", c->name,
                  neap_log_quote(key ? key : luaL_typename(co, -1)));
}

/* The map function's answer: a key "ns/name", or a list of keys. */
static void mapped(void *arg, lua_State *co, int results, const struct neap_err *err)
{
    struct controller *c = arg;
    c->control->running--;
    if (err) {
        c->control->failures++;
        control_count(c, "map_error");
        NEAP_WARN("controller", "a watch's function failed: its event is lost",
                  "controller=%s err=%s", c->name, neap_log_quote(err->message));
    } else if (results && lua_istable(co, -results)) {
        int top = lua_gettop(co) - results + 1;
        for (lua_Integer i = 1; lua_rawgeti(co, top, i) != LUA_TNIL; i++) {
            add_mapped(c, co);
            lua_settop(co, top);
        }
    } else if (results && lua_toboolean(co, -results)) {
        lua_settop(co, lua_gettop(co) - results + 1);
        add_mapped(c, co);
    }
    control_check_stopped(c->control);
}

/* It may be interrupted, or wait: the controllers' end waits for it. */
static void map_event(struct interest *i, enum neap_event_type type, struct neap_object *o)
{
    struct neap_script *script = i->controller->set->script;
    lua_State *l = neap_script_lua(script);
    lua_rawgeti(l, LUA_REGISTRYINDEX, i->map_ref);
    neap_script_push_object(script, o);
    lua_pushstring(l, type == NEAP_DELETED ? "DELETED" : type == NEAP_ADDED ? "ADDED" : "MODIFIED");
    i->controller->control->running++;
    neap_script_start(script, 2, mapped, i->controller);
}

static void on_event(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct watched *w = arg;
    for (struct interest *i = w->interests; i && !w->control->stopping; i = i->next) {
        if (i->type == INTEREST_FOR)
            add_key(i->controller, neap_object_namespace(o), neap_object_name(o));
        else if (i->type == INTEREST_OWNS)
            owner_of(i->controller, o);
        else if (!i->ownership || type == NEAP_DELETED || neap_object_owner_count(o) ||
                 neap_object_deleting(o))
            map_event(i, type, o);
    }
}

struct watched *control_watch(struct neap_control *c, const struct neap_kind *kind)
{
    neap_list_foreach(&c->watched, e)
    {
        struct watched *w = neap_list_entry(e, struct watched, link);
        if (w->kind == kind)
            return w;
    }
    struct watched *w = neap_calloc(1, sizeof(*w));
    w->control = c;
    w->kind = kind;
    neap_list_append(&c->watched, &w->link);
    return w;
}

void control_interest(struct watched *w, int type, struct controller *controller, int map_ref,
                      bool ownership)
{
    struct interest *i = neap_calloc(1, sizeof(*i));
    i->type = type;
    i->controller = controller;
    i->map_ref = map_ref;
    i->ownership = ownership;
    i->next = w->interests;
    w->interests = i;
}

static void start_watch(struct neap_control *c, struct watched *w)
{
    struct neap_reflector_options o = {
        .kind = w->kind, .loop = c->options.loop, .event = on_event, .arg = w};
    w->reflector = c->options.client->reflect(c->options.client, &o);
}

/* ---- start and stop ---- */

static void controller_free(struct controller *c)
{
    control_queue_free(c);
    free(c->name);
    free(c->file);
    free(c);
}

void control_free(struct neap_control *c)
{
    neap_list_foreach(&c->watched, e)
    {
        struct watched *w = neap_list_entry(e, struct watched, link);
        for (struct interest *i = w->interests, *next; i; i = next) {
            next = i->next;
            free(i);
        }
        free(w);
    }
    neap_list_foreach(&c->controllers, e)
        controller_free(neap_list_entry(e, struct controller, link));
    neap_list_foreach(&c->sets, e)
    {
        struct script_set *s = neap_list_entry(e, struct script_set, link);
        neap_script_free(s->script);
        free(s);
    }
    free(c->dir);
    free(c->user_dir);
    free(c->lib);
    free(c->user_lib);
    free(c);
}

static void stopped(void *arg)
{
    struct neap_control *c = arg;
    void (*done)(void *) = c->done;
    void *done_arg = c->done_arg;
    control_free(c);
    done(done_arg);
}

void control_check_stopped(struct neap_control *c)
{
    if (c->stopping && c->running == 0)
        neap_loop_post(c->options.loop, stopped, c);
}

void control_end(struct neap_control *c, void (*done)(void *arg), void *arg)
{
    c->stopping = true;
    c->done = done;
    c->done_arg = arg;
    neap_list_foreach(&c->watched, e)
    {
        struct watched *w = neap_list_entry(e, struct watched, link);
        if (w->reflector)
            c->options.client->reflect_stop(c->options.client, w->reflector);
        w->reflector = NULL;
    }
    control_check_stopped(c);
}

struct neap_control *control_new(const struct neap_control_options *o)
{
    struct neap_control *c = neap_calloc(1, sizeof(*c));
    c->options = *o;
    neap_list_init(&c->sets);
    neap_list_init(&c->controllers);
    neap_list_init(&c->watched);
    c->dir = neap_strdup(o->script_dir);
    c->user_dir = o->user_script_dir ? neap_strdup(o->user_script_dir) : NULL;
    c->options.script_dir = c->dir;
    c->options.user_script_dir = c->user_dir;
    c->lib = neap_asprintf("%s/lib", o->script_dir);
    c->user_lib = o->user_script_dir ? neap_asprintf("%s/lib", o->user_script_dir) : NULL;
    return c;
}

void control_begin(struct neap_control *c)
{
    neap_list_foreach(&c->watched, e) start_watch(c, neap_list_entry(e, struct watched, link));
}

/* ---- the interface ---- */

static void user_stopped(void *arg)
{
    struct neap_control *c = arg;
    control_end(c, c->done, c->done_arg);
}

void neap_control_stop(struct neap_control *c, void (*done)(void *arg), void *arg)
{
    c->done = done;
    c->done_arg = arg;
    control_user_stop(c, user_stopped);
}

static int load(struct neap_control *c, struct neap_err *err)
{
    char dir[4096];
    snprintf(dir, sizeof(dir), "%s/controllers", c->options.script_dir);
    int rc = control_load(c, dir, c->options.file, err);
    return !rc && c->options.user_script_dir && !c->options.file ? control_user_open(c, err) : rc;
}

int neap_control_start(const struct neap_control_options *o, struct neap_control **ret,
                       struct neap_err *err)
{
    struct neap_control *c = control_new(o);
    int rc = load(c, err);
    if (rc) {
        control_free(c);
        return rc;
    }
    control_begin(c);
    control_user_begin(c);
    *ret = c;
    return 0;
}

int neap_control_check(const struct neap_control_options *o, struct neap_err *err)
{
    struct neap_control *c = control_new(o);
    int rc = control_load(c, NULL, o->file, err);
    control_free(c);
    return rc;
}

bool neap_control_idle(const struct neap_control *c)
{
    if (c->running || (c->user && !neap_control_idle(c->user)))
        return false;
    neap_list_foreach(
        &c->controllers,
        e) if (!neap_list_empty(&neap_list_entry(e, struct controller, link)->queue)) return false;
    return true;
}

uint64_t neap_control_failures(const struct neap_control *c)
{
    return c->failures + (c->user ? c->user->failures : 0);
}
