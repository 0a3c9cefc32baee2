/* Shared inside core/script. */
#ifndef NEAP_CORE_SCRIPT_INTERNAL_H
#define NEAP_CORE_SCRIPT_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <neap/log.h>
#include <neap/script.h>
#include <time.h>

/* An object that views look into: parsed when first needed, dead when its item ends. */
struct script_root {
    unsigned refs;           /* views and the item */
    struct neap_list parsed; /* of script->parsed, while there is a doc of its own */
    struct neap_script *script;
    struct neap_object *object;
    yyjson_doc *doc;
    yyjson_mut_doc *tree;     /* instead of an object: a document being made, borrowed */
    bool dead, borrowed;      /* borrowed: doc is the pusher's */
    struct script_root *next; /* of the item */
};

struct neap_item {
    struct neap_script *script;
    lua_State *co;
    int ref; /* keeps the coroutine */
    struct neap_snapshot *snapshot;
    struct script_root *roots;
    neap_item_done done;
    void *arg;
    bool waits;        /* may wait for answers and turns, and may be interrupted: a controller's */
    bool failed;       /* the result is an error's text */
    bool interrupted;  /* in the middle of a turn that took too long */
    unsigned overtime; /* how often since it last waited */
};

struct neap_script {
    struct neap_script_options options;
    lua_State *l;
    size_t memory;
    struct neap_list parsed; /* roots, the one used last at the end */
    unsigned parsed_count;
    struct neap_item *current; /* the item whose coroutine runs, or is being prepared */
    timer_t watchdog;
    const void *watchdog_home; /* the thread that made it (an address of its own); NULL: none yet */
    lua_State *running;        /* what the watchdog stops */
    struct neap_script *outer; /* that called this one, on the same thread */
    volatile bool armed;
    volatile bool overran;
    char *beside;      /* a folder of modules; NULL: none */
    char full_at[160]; /* where memory was refused last; "": nowhere */
};

struct neap_script *script_of(lua_State *l);

/* ---- sandbox.c ---- */
void script_sandbox_open(struct neap_script *s);
void script_watchdog_start(struct neap_script *s, lua_State *running, uint64_t budget_ms);
void script_watchdog_stop(struct neap_script *s);
/* A message handler: any error becomes a text; with a true upvalue, one with a traceback. */
int script_error_text(lua_State *l);
/* The text of an error that a protected call left on top of the stack, with the place when it ran out of memory. */
void script_error_set(struct neap_script *s, int rc, const char *text, struct neap_err *err);

/* ---- bounds.c ---- */
void script_bounds_open(lua_State *l);

/* ---- declare.c ---- */
/* Adds its functions to the table on top of the stack. */
void script_declare_open(lua_State *l);

/* ---- view.c ---- */
void script_views_open(lua_State *l);
void script_view_push(struct neap_script *s, lua_State *l, struct neap_object *o);
void script_roots_end(struct neap_item *i);
/* The value behind a view; NULL: no view. Raises when it outlived its item. */
yyjson_val *script_view_value(lua_State *l, int index);
struct neap_object *script_view_object(lua_State *l, int index);

void script_root_unref(struct script_root *r);

/* ---- tree.c ---- */
bool script_tree_dead(lua_State *l, int index);
void script_trees_open(lua_State *l);
/* The value behind a view of a tree; NULL: no such view. Raises when it outlived its item. */
yyjson_mut_val *script_tree_value(lua_State *l, int index);

/* ---- api.c ---- */
void script_api_open(struct neap_script *s);
struct neap_item *script_item_new(struct neap_script *s);
void script_item_resume(struct neap_item *i, int nargs);
/* The item that runs; raises when there is none. */
struct neap_item *script_current(lua_State *l);
const struct neap_kind *script_check_kind(lua_State *l, int index);
/* A text in the table at <index>, which goes on holding it; NULL: none. */
const char *script_string_field(lua_State *l, int index, const char *name);

/* ---- write.c ---- */
/* Adds its functions to the table on top of the stack. */
void script_writes_open(lua_State *l);

#endif
