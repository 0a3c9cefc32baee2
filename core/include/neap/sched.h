/* The scheduler: which node a pod runs on. Plugins equal kube-scheduler's default ones by name, weight and
 * words. design.md section 10. thread: the loop given. */
#ifndef NEAP_SCHED_H
#define NEAP_SCHED_H

#include <neap/client.h>
#include <neap/plugin/scheduler.h>

struct neap_sched;
/* A plugin of a shared object, with its host. */
struct neap_sched_loaded {
    const struct neap_scheduler_plugin *plugin;
    const struct neap_host *host;
};
struct neap_sched_options {
    struct neap_loop *loop;
    struct neap_client *client;
    const struct neap_clock *clock;
    const struct neap_rand *rand;
    const char
        *scheduler_name; /* "default-scheduler"; pods with another schedulerName are left alone */
    /* The rest may be zero. */
    const char *disabled;   /* plugins not to use: "ImageLocality,PodTopologySpread" */
    const char *weights;    /* other weights than the default: "NodeResourcesFit=5" */
    unsigned nodes_percent; /* how many of the nodes are looked at; 0: as many as kube-scheduler */
    const struct neap_sched_loaded *loaded; /* plugins beside the built-in ones; borrowed */
    size_t loaded_count;
    const char
        *script_dir; /* Lua policies; NULL: none. A file that does not load is told and left out */
    uint64_t script_budget_ms; /* of one call; 0: 50 */
};
/* errors: NEAP_ECONFIG: an unknown plugin's name, a weight that is no number, a plugin that refuses. */
int neap_sched_check(const struct neap_sched_options *o, struct neap_err *err);
/* Is the file a policy that would be loaded? errors: NEAP_ECONFIG, "FILE:LINE: text". */
int neap_sched_policy_check(const char *path, struct neap_err *err);
/* What neap_sched_check refuses is logged and left out. */
struct neap_sched *neap_sched_start(const struct neap_sched_options *o);
/* <done> on the loop once no binding is under way; then it is freed. */
void neap_sched_stop(struct neap_sched *s, void (*done)(void *arg), void *arg);

#endif
