/* The scheduler: which node a pod runs on. Filters and scores equal kube-scheduler's default plugins by name.
 * design.md section 10. thread: the loop given. */
#ifndef NEAP_SCHED_H
#define NEAP_SCHED_H

#include <neap/client.h>

struct neap_sched;
struct neap_sched_options {
    struct neap_loop *loop;
    struct neap_client *client;
    const struct neap_clock *clock;
    const struct neap_rand *rand;
    const char *scheduler_name; /* "default-scheduler" */
};
struct neap_sched *neap_sched_start(const struct neap_sched_options *o);
/* <done> on the loop once no binding is under way; then it is freed. */
void neap_sched_stop(struct neap_sched *s, void (*done)(void *arg), void *arg);

#endif
