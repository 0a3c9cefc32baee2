/* Lua: sandboxed states, objects as frozen views, API calls that yield. design.md section 9.
 * thread: a state belongs to one loop. */
#ifndef NEAP_SCRIPT_H
#define NEAP_SCRIPT_H

#include <neap/client.h>

#include <stdio.h>

struct lua_State;
struct neap_script;

struct neap_script_options {
    struct neap_loop *loop;
    struct neap_client *client; /* in process: has snapshot(); NULL: nothing can be written */
    const struct neap_clock *clock;
    const struct neap_rand *rand;
    size_t memory_max; /* bytes a state may hold; 0: 64 MiB */
    uint64_t
        budget_ms; /* time one turn of a coroutine may take; 0: 200. One that may wait goes on after
                                 others, ten times; else it is an error */
    bool reads_only;          /* nothing in it may write or wait: a call is over when it returns */
    const char *ca_pem;       /* neap.ca; NULL: none */
    const char *lib_dir;      /* where require() finds modules by plain name; NULL: none */
    const char *user_lib_dir; /* where it looks next; NULL: nowhere */
};

/* A state with its sandbox: no io, os, debug, package; text chunks only. errors: NEAP_ENOSPACE. */
struct neap_script *neap_script_new(const struct neap_script_options *o);
struct neap_script *neap_script_free(struct neap_script *s); /* no item may be running */
struct lua_State *neap_script_lua(struct neap_script *s);
/* Compiles and runs a file; its one result stays on the stack of neap_script_lua(). errors: NEAP_ECONFIG
 * with "FILE:LINE: text". */
int neap_script_load(struct neap_script *s, const char *path, struct neap_err *err);

/* require() finds modules in the folder "lib" beside this file too; of one in controllers/ or admission/: beside that
 * folder, as the server does. Until the next call. */
void neap_script_beside(struct neap_script *s, const char *path);

/* print() of all states writes to <file> instead of the log: for `neap script`. */
void neap_script_print_to(FILE *file);

/* A work item: a coroutine with one snapshot. The function and <nargs> arguments are on top of the state's
 * stack and are taken. <done> comes on the loop, or before this returns when nothing yielded;
 * on success the results are on <co>'s stack until it returns. */
struct neap_item;
typedef void (*neap_item_done)(void *arg, struct lua_State *co, int results,
                               const struct neap_err *err);
void neap_script_start(struct neap_script *s, int nargs, neap_item_done done, void *arg);
/* Pushes a frozen view of an object that lives as long as the running item. For use between the push of a
 * function and neap_script_start(): the view belongs to that item. */
void neap_script_push_object(struct neap_script *s, struct neap_object *o);
/* The same with the object's document, borrowed until the item ends: nothing is parsed. */
void neap_script_push_parsed(struct neap_script *s, struct neap_object *o, yyjson_doc *doc);
/* Runs body(l) now, protected and within <budget_ms> of processor time (0: the state's); it finds <arg> as
 * light userdata at index 1. Reads see <snapshot> (borrowed); nothing may wait. errors: NEAP_ETIMEOUT,
 * NEAP_EINTERNAL, "FILE:LINE: text". */
int neap_script_call(struct neap_script *s, const struct neap_snapshot *snapshot,
                     uint64_t budget_ms, int (*body)(struct lua_State *l), void *arg,
                     struct neap_err *err);
/* Within such a body: pushes a view of a document that is being made. It reads and, unless frozen, writes
 * through, and dies with the call. */
void neap_script_push_tree(struct neap_script *s, yyjson_mut_doc *doc, yyjson_mut_val *value,
                           bool frozen);
/* Pushes a plain table: a deep copy. */
void neap_script_push_copy(struct lua_State *l, yyjson_val *v);
/* Appends a Lua value as JSON. False with a message: a function, a cycle, a key that is no string. */
bool neap_script_to_json(struct lua_State *l, int index, struct neap_buf *out, const char **why);
/* Calls back, on the loop, a moment after something changed in folder <top> or the folders <below> it (names,
 * NULL-terminated, live for ever). NULL: the system has no inotify left. */
struct neap_script_folders;
struct neap_script_folders *neap_script_folders_watch(struct neap_loop *loop, const char *top,
                                                      const char *const *below,
                                                      void (*changed)(void *arg), void *arg);
struct neap_script_folders *neap_script_folders_close(struct neap_script_folders *f); /* or NULL */
/* Is a file of this name in a folder of scripts one of them? Hidden files and tests (x_test.lua) are not. */
bool neap_script_is_one(const char *name);
/* Is the value a plain table that neap.controller, neap.admission or neap.scheduler.* was given? <what> is "controller",
 * "admission" or "policy". Leaves the stack at <index>, an absolute one. */
bool neap_script_declared(struct lua_State *l, int index, const char *what);
/* "apps/v1/deployments", "v1/pods" -> kind; NULL: none. */
const struct neap_kind *neap_script_kind(const char *text);

#endif
