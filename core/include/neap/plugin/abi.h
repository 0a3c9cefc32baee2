/* The plugin ABI: what every shared object exports. All that a plugin's author needs is in this
 * folder (neap/plugin/); no neap symbol is linked.
 *
 * A plugin exports exactly one symbol, `neap_plugin`: a const descriptor that starts with
 * struct neap_plugin_header and goes on with its kind's table of functions (store.h, runtime.h, ...).
 * Tables only grow at their end; a shorter struct_size means that the missing tail is NULL. It is
 * refused on a wrong magic, kind or ABI major. Code is never unmapped once it has run.
 *
 * Unless a slot says otherwise: it runs on the loop that started the plugin, must not block, and
 * finishes by completing its `struct neap_op` exactly once, never from inside the call. */
#ifndef NEAP_PLUGIN_ABI_H
#define NEAP_PLUGIN_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEAP_PLUGIN_MAGIC     0x5041454eu /* "NEAP" */
#define NEAP_PLUGIN_ABI_MAJOR 0           /* 0: may change until three plugins of a kind exist */
#define NEAP_PLUGIN_ABI_MINOR 1           /* append-only growth */
#define NEAP_PLUGIN_SYMBOL    "neap_plugin"
#define NEAP_PLUGIN_EXPORT    __attribute__((visibility("default")))

enum neap_plugin_kind {
    NEAP_PLUGIN_STORE = 1,
    NEAP_PLUGIN_RUNTIME = 2,
    NEAP_PLUGIN_NETWORK = 3,
    NEAP_PLUGIN_PROXY = 4,
    NEAP_PLUGIN_VOLUME = 5,
    NEAP_PLUGIN_SCHEDULER = 6,
};

enum neap_option_type {
    NEAP_OPTION_STRING,
    NEAP_OPTION_INT,
    NEAP_OPTION_BOOL,
    NEAP_OPTION_DURATION
};

/* One option; the same table parses the file and flags, makes `config print` and the documentation.
 * Durations are milliseconds as numbers and "5m", "250ms" as text. */
struct neap_option {
    const char *name; /* "data_dir": flag --data-dir; NULL ends a table */
    enum neap_option_type type;
    const char *dflt; /* as text; NULL: none */
    int64_t min, max; /* INT and DURATION; both 0: no range */
    const char *help; /* one line */
};

/* errors of a plugin cross as negative codes of neap/err.h's enum (values are ABI: append only) and a
 * text put through host->fail(). */
struct neap_plugin_header {
    uint32_t magic;
    uint16_t abi_major, abi_minor;
    uint32_t struct_size; /* of the whole kind-specific descriptor */
    uint32_t kind;        /* enum neap_plugin_kind */
    const char *name, *version;
    const struct neap_option *options; /* NULL: none */
};

/* An operation under way: caller-owned, alive until `done`. */
struct neap_op {
    void *data; /* the caller's */
    /* code: 0 or a negative NEAP_E*; message: borrowed, NULL when 0 */
    void (*done)(struct neap_op *op, int code, const char *message);
    int64_t deadline_mono_ns; /* 0: none */
    bool cancelled;           /* set by the caller: finish soon, with NEAP_ECANCELLED or a result */
    void *plugin;             /* the plugin's while the operation runs */
};

#endif
