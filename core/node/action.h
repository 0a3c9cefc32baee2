/* One run of a probe's or hook's handler. thread: the node's loop. */
#ifndef NEAP_CORE_NODE_ACTION_H
#define NEAP_CORE_NODE_ACTION_H

#include "node_internal.h"

#include <stdarg.h>
#include <strings.h>

enum action_type { ACTION_SLEEP, ACTION_HTTP, ACTION_TCP, ACTION_GRPC, ACTION_EXEC };

struct action {
    struct neap_node *node;
    enum action_type type;
    void (*done)(void *arg, bool ok, const char *why);
    void *arg;
    bool cancelled, ok, tls, own_host, own_agent;
    int port, timeout_ms;
    char netns[256], host[64], authority[80], path[1024], headers[2048], service[256], why[512];
    const char **argv;
    struct neap_runtime_io *io;
    struct neap_runtime_io_events events;
    struct neap_timer *timer;
};

/* Runs <handler> ({"httpGet": ...}, tcpSocket, grpc, exec, sleep) against <c>. <done> comes once, never inside
 * the call, with a text why not; the action is gone then. */
struct action *action_start(struct container *c, yyjson_val *handler, int timeout_ms,
                            void (*done)(void *arg, bool ok, const char *why), void *arg);
/* <done> does not come after it. Accepts NULL. */
void action_cancel(struct action *a);

void action_fail(struct action *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* grpc.health.v1.Health/Check on a connected, nonblocking socket. thread: any; blocks up to the timeout. */
void action_grpc(struct action *a, int fd);

#endif
