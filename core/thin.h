/* What the thin client's commands share: thin.c (objects), thin_pods.c (streams of pods). No other file includes
 * this. thread: the loop's. */
#ifndef NEAP_CORE_THIN_H
#define NEAP_CORE_THIN_H

#include "kubeconfig.h"

#include <neap/arena.h>
#include <neap/config.h>

struct thin {
    struct neap_config *config;
    struct neap_loop *loop;
    struct neap_kubeconfig kubeconfig;
    struct neap_tls *tls;
    struct neap_http_client *http;
    struct neap_arena *arena;
    const char *namespace_, *output, *file, *selector, *container;
    bool all, follow, interactive, tty;
    /* the last answer */
    int status;
    struct neap_buf body;
    struct neap_err err;
};

/* Appends ?key=value or &key=value, percent-encoded (RFC 3986); <value> NULL: nothing. */
void thin_query(struct neap_buf *path, const char *key, const char *value);
/* Tells what the server answered instead; returns the exit code. */
int thin_refused(struct thin *t);

/* Commands: what is left of the command line; the exit code. */
int thin_logs(struct thin *t, int argc, char **argv);
int thin_exec(struct thin *t, int argc, char **argv);

#endif
