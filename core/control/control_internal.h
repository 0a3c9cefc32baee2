/* Shared inside core/control. */
#ifndef NEAP_CORE_CONTROL_INTERNAL_H
#define NEAP_CORE_CONTROL_INTERNAL_H

#include <neap/control.h>
#include <neap/log.h>
#include <neap/map.h>
#include <neap/metrics.h>
#include <neap/script.h>

struct controller;

/* A script set: one Lua state. */
struct script_set {
    struct neap_script *script;
    int require_ref;
    struct neap_list link;
};

/* One kind is watched once, whoever wants it. */
struct watched {
    struct neap_control *control;
    const struct neap_kind *kind;
    struct neap_reflector *reflector;
    struct interest *interests;
    struct neap_list link;
};

/* What a controller does with an event of a kind. */
struct interest {
    enum { INTEREST_FOR, INTEREST_OWNS, INTEREST_WATCHES } type;
    struct controller *controller;
    int map_ref;    /* INTEREST_WATCHES: the function that tells keys */
    bool ownership; /* only what has owners, is being deleted or is gone */
    struct interest *next;
};

struct work {
    struct controller *controller;
    char *key;
    bool queued, running, again;
    unsigned failures;
    struct neap_timer *timer; /* a retry or resync to come; NULL: none */
    struct neap_list link;    /* of the queue */
    int64_t started_ns;
};

struct controller {
    struct neap_control *control;
    struct script_set *set;
    char *name, *file;
    const struct neap_kind *kind;
    int reconcile_ref;
    unsigned running, concurrency;
    struct neap_map work; /* key -> struct work */
    struct neap_list queue;
    struct neap_list link;
};

struct neap_control {
    struct neap_control_options options;
    char *dir, *user_dir; /* as the options had them */
    char *lib, *user_lib; /* folders of modules */
    struct neap_list sets, controllers, watched;
    bool stopping;
    unsigned running;
    uint64_t failures;
    void (*done)(void *arg);
    void *done_arg;
    /* of the one that was started: the user's controllers live in one of their own (reload.c) */
    struct neap_control *user, *next;
    struct neap_script_folders *folders;
    bool replacing, changed_again, user_stopping;
    void (*user_done)(void *arg);
};

/* ---- queue.c ---- */
void control_add(struct controller *c, const char *key);
void control_add_after(struct controller *c, const char *key, uint64_t ms);
void control_go(struct controller *c);
void control_count(const struct controller *c, const char *result);
void control_queue_free(struct controller *c);
void control_check_stopped(struct neap_control *c);

/* ---- load.c ---- */
/* Every .lua file of a folder, or the one <file>, into a state of their own. */
int control_load(struct neap_control *c, const char *dir, const char *file, struct neap_err *err);

/* ---- reload.c ---- */
int control_user_open(struct neap_control *c, struct neap_err *err);
void control_user_begin(struct neap_control *c);
void control_user_stop(struct neap_control *c, void (*done)(void *arg));

/* ---- watch.c ---- */
struct neap_control *control_new(const struct neap_control_options *o);
void control_free(struct neap_control *c);
/* Starts the watches of what was loaded. */
void control_begin(struct neap_control *c);
/* Ends one without the user's. */
void control_end(struct neap_control *c, void (*done)(void *arg), void *arg);
struct watched *control_watch(struct neap_control *c, const struct neap_kind *kind);
void control_interest(struct watched *w, int type, struct controller *controller, int map_ref,
                      bool ownership);

#endif
