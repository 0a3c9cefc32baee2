/* Controllers: Lua files whose reconcile(key) runs when something that they watch changes. design.md
 * section 9. thread: the loop given; it needs one of its own, since scripts take time. */
#ifndef NEAP_CONTROL_H
#define NEAP_CONTROL_H

#include <neap/client.h>

struct neap_control;
struct neap_control_options {
    struct neap_loop *loop;
    struct neap_client *client; /* in process */
    const struct neap_clock *clock;
    const struct neap_rand *rand;
    const char *script_dir; /* controllers/ and lib/ below it */
    const char *ca_pem;     /* the cluster's authority, for scripts that publish it */
    const char
        *user_script_dir; /* NULL: none; every .lua file in it and in controllers/ below it is a
                                    controller, loaded anew when one of them changes */
    const char *file;     /* not NULL: this one controller and no other (tests, checks) */
};
/* Loads every controller and starts its watches. errors: NEAP_ECONFIG with file and line. */
int neap_control_start(const struct neap_control_options *o, struct neap_control **ret,
                       struct neap_err *err);
/* Ends watches and waits for running syncs; <done> on the loop, then it is freed. */
void neap_control_stop(struct neap_control *c, void (*done)(void *arg), void *arg);

/* Nothing is queued or runs; what waits for a time or an event does not count. */
bool neap_control_idle(const struct neap_control *c);
/* Syncs that failed since the start. */
uint64_t neap_control_failures(const struct neap_control *c);
/* Loads the file as a controller, runs nothing. errors: NEAP_ECONFIG with file and line. */
int neap_control_check(const struct neap_control_options *o, struct neap_err *err);

#endif
