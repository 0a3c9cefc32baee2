/* What the host gives a plugin: a handle, never global symbols. Grouped small tables that only grow at
 * their end. All functions run on the plugin's own loop unless they say "thread: any". */
#ifndef NEAP_PLUGIN_HOST_H
#define NEAP_PLUGIN_HOST_H

#include <neap/plugin/abi.h>

struct neap_object;

struct neap_host_log {
    /* level 0 debug, 1 info, 2 warn, 3 error; pairs: "key=value key=value" or "". thread: any. */
    void (*write)(void *ctx, int level, const char *msg, const char *pairs);
};

struct neap_host_timer;
struct neap_host_fd;
struct neap_host_child_result {
    int status; /* exit code, 128 + signal, -errno when it did not start */
    const char *out, *err;
    size_t out_len, err_len;
};
struct neap_host_loop {
    int64_t (*now_mono_ns)(void *ctx); /* thread: any */
    int64_t (*now_wall_ns)(void *ctx); /* thread: any */
    struct neap_host_timer *(*timer)(void *ctx, uint64_t ms, void (*cb)(void *arg), void *arg);
    void (*timer_cancel)(void *ctx, struct neap_host_timer *t);
    /* events: 1 readable, 2 writable; 0 pauses */
    struct neap_host_fd *(*fd)(void *ctx, int fd, int events, void (*cb)(void *arg, int events),
                               void *arg);
    void (*fd_set)(void *ctx, struct neap_host_fd *f, int events);
    void (*fd_close)(void *ctx, struct neap_host_fd *f);
    void (*post)(void *ctx, void (*fn)(void *arg), void *arg); /* thread: any */
    /* work on a pool thread, then done on the loop */
    void (*work)(void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg);
    /* argv only, no shell; output captured up to 64 KiB; timeout_ms 0: none */
    void (*child)(void *ctx, const char *const *argv, const void *input, size_t input_len,
                  uint64_t timeout_ms,
                  void (*done)(void *arg, const struct neap_host_child_result *result), void *arg);
};

struct neap_host_config {
    /* Values of the plugin's own option table, after file and flags. Borrowed for ever. */
    const char *(*string)(void *ctx, const char *name);
    int64_t (*integer)(void *ctx, const char *name); /* also BOOL (0, 1) and DURATION (ms) */
};

/* Objects by function, never by layout. Paths are dotted ("spec.nodeName"). thread: any. */
struct neap_host_object {
    const char *(*json)(const struct neap_object *o, size_t *ret_len);
    const char *(*name)(const struct neap_object *o);
    const char *(*namespace_)(const struct neap_object *o);
    const char *(*uid)(const struct neap_object *o);
    uint64_t (*revision)(const struct neap_object *o);
    const char *(*label)(const struct neap_object *o, const char *key);
    struct neap_object *(*ref)(const struct neap_object *o);
    void (*unref)(struct neap_object *o);
};

struct neap_host {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor;
    void *ctx;            /* first argument of log, loop and config functions */
    const char *instance; /* 6 hex digits: in every host-wide name that the plugin makes */
    const char *data_dir; /* of this plugin: DIR/plugins/<name>, made, 0700 */
    const struct neap_host_log *log;
    const struct neap_host_loop *loop;
    const struct neap_host_config *config;
    const struct neap_host_object *object;
    /* Says why the call that is running fails: copied; belongs to the next negative return value or
     * op->done on this thread. thread: any (kept per thread). */
    void (*fail)(void *ctx, const char *message);
    /* metrics: adds to a counter `neap_plugin_<plugin>_<name>_total`; at most 64 names. thread: any */
    void (*count)(void *ctx, const char *name, double add);
};

#endif
