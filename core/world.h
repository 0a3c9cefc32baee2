/* A cluster's API in one thread, for tests of scripts: the real pipeline over the memory store, real sandboxes,
 * a clock that moves only when told. Everything blocks until it is done. */
#ifndef NEAP_CORE_WORLD_H
#define NEAP_CORE_WORLD_H

#include <api/rest/rest.h>
#include <neap/config.h>
#include <neap/plugin.h>

struct lua_State;

/* What worlds share: the store plugin and where scripts are. */
struct neap_world_base {
    struct neap_plugin *store;
    const struct neap_host *host;
    char scripts[4096], dir[64];
};
/* errors: NEAP_ECONFIG. The plugin stays until neap_world_base_close. */
int neap_world_base_open(struct neap_config *config, struct neap_world_base *ret,
                         struct neap_err *err);
void neap_world_base_close(struct neap_world_base *b);

struct neap_world;
int neap_world_open(const struct neap_world_base *b, struct neap_world **ret, struct neap_err *err);
struct neap_world *neap_world_close(struct neap_world *w); /* accepts NULL */
/* Pushes the table of what a test can do to it; scripts/lib/harness.lua makes it comfortable. */
void neap_world_push(struct neap_world *w, struct lua_State *l);

#endif
