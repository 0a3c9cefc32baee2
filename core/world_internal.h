/* Shared by core/world.c and core/world_lua.c. */
#ifndef NEAP_CORE_WORLD_INTERNAL_H
#define NEAP_CORE_WORLD_INTERNAL_H

#include "world.h"

#include <neap/control.h>

enum { WORLD_CONTROLS_MAX = 32 };

struct neap_world {
    const struct neap_world_base *base;
    struct neap_clock clock;
    struct neap_rand rand;
    _Atomic int64_t now_ns; /* the registry's writer reads it too */
    uint64_t seed;
    struct neap_loop *loop;
    struct neap_registry *registry;
    struct neap_rest *rest;
    struct neap_admission_rules *rules;
    struct neap_identity *system, *user; /* the controllers', and who the test is */
    struct neap_client *client;
    struct neap_control *controls[WORLD_CONTROLS_MAX];
    unsigned control_count;
    char *warnings[16]; /* of the last request */
    unsigned warning_count;
};

/* Runs until nothing moves any more; false: it does not come to rest. */
bool world_settle(struct neap_world *w);
bool world_advance(struct neap_world *w, int64_t ns);
void world_warnings_free(struct neap_world *w);

#endif
