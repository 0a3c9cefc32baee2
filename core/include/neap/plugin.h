/* Loading plugins: see neap/plugin/abi.h for what they export. A bad file never hides the good ones.
 * thread: loading at start, on the loop that the plugin will run on. */
#ifndef NEAP_PLUGIN_H
#define NEAP_PLUGIN_H

#include <neap/config.h>
#include <neap/loop.h>
#include <neap/plugin/host.h>

struct neap_plugin;

/* Opens DIR/<kind>/<name>.so, checks its descriptor, adds its options to <config>.
 * <kind>: "store", "runtime", ... errors: NEAP_ECONFIG: one line that names the file and what is wrong. */
int neap_plugin_load(const char *dir, const char *kind, const char *name,
                     struct neap_config *config, struct neap_plugin **ret, struct neap_err *err);
/* Same for a path (`neap plugin check x.so`); <want> 0: any kind. */
int neap_plugin_load_file(const char *path, enum neap_plugin_kind want, struct neap_config *config,
                          struct neap_plugin **ret, struct neap_err *err);
/* The descriptor; its kind's table follows it. Never unmapped. */
const struct neap_plugin_header *neap_plugin_header(const struct neap_plugin *p);
const char *neap_plugin_path(const struct neap_plugin *p);
/* True: the descriptor is long enough to hold <offset> + <size> (tables grow at their end). */
bool neap_plugin_has(const struct neap_plugin *p, size_t offset, size_t size);
#define neap_plugin_slot(plugin, type, slot)                                                       \
    (neap_plugin_has(plugin, offsetof(type, slot), sizeof(((type *)0)->slot))                      \
         ? ((const type *)(const void *)neap_plugin_header(plugin))->slot                          \
         : NULL)

/* Makes the host handle for the plugin. <loop> NULL: a store, which has none (its timers, fds, work and
 * children abort). <data_dir>: DIR/plugins/<name>, made 0700. Borrowed until neap_plugin_free. */
const struct neap_host *neap_plugin_host(struct neap_plugin *p, struct neap_loop *loop,
                                         const struct neap_config *config, const char *instance,
                                         const char *data_dir, struct neap_err *err);
/* What host->fail said last on this thread; "" when nothing. */
const char *neap_plugin_failure(void);
/* Frees the host and our record; the code stays mapped. */
struct neap_plugin *neap_plugin_free(struct neap_plugin *p);

/* Checks every mandatory slot of the kind and says which are missing (`neap plugin check`). */
int neap_plugin_check(const struct neap_plugin *p, struct neap_err *err);
const char *neap_plugin_kind_name(enum neap_plugin_kind kind);
/* Calls back for each .so under DIR/<kind>/; <err> is set when it does not load. */
void neap_plugin_each(const char *dir,
                      void (*found)(void *arg, const char *path, const struct neap_plugin *p,
                                    const struct neap_err *err),
                      void *arg);

#endif
