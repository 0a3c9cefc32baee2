/* Between server.c and certificates.c. */
#ifndef NEAP_CORE_SERVER_INTERNAL_H
#define NEAP_CORE_SERVER_INTERNAL_H

#include "server.h"

#include <api/auth/auth.h>
#include <api/http/http.h>
#include <api/node/node.h>
#include <api/rest/rest.h>
#include <neap/admission.h>
#include <neap/control.h>
#include <neap/plugin.h>
#include <neap/sched.h>

#include <limits.h>

enum { SCHED_PLUGINS_MAX = 32 };

/* A loop of its own for the controllers and one for the scheduler. */
struct worker {
    struct server *server;
    struct neap_loop *loop;
    struct neap_thread *thread;
    struct neap_client *client;
    struct neap_control *control;
    struct neap_sched *sched;
};

struct server {
    struct neap_config *config;
    const char *data_dir;
    char instance[7];
    int lock_fd;
    int64_t started_ns;
    struct neap_loop *loop;
    struct neap_plugin *store;
    struct neap_registry *registry;
    struct neap_pki *pki;
    struct neap_auth *auth;
    struct neap_rest *rest;
    struct neap_admission_rules *rules;
    struct neap_tls *tls;
    struct neap_http_server *http;
    struct neap_signal *signals[2];
    struct neap_identity *system;
    struct neap_node_dialer *dialer;
    struct neap_node_proxy node_proxy;
    char *agent_cert, *agent_key; /* shown to agents */
    int64_t issued_ns;            /* wall time: when the certificates were made */
    struct neap_timer *renewal;
    char netns_buffer[PATH_MAX], node_name[256];
    const char *netns;
    struct worker control, sched;
    struct neap_plugin *sched_plugins[SCHED_PLUGINS_MAX];
    struct neap_sched_loaded sched_loaded[SCHED_PLUGINS_MAX];
    size_t sched_plugin_count;
    unsigned workers; /* that have not ended */
    char address[64]; /* where it listens, without the port */
    unsigned port;
    int code;
    bool stopping;
};

static inline const char *server_option(const struct server *s, const char *name)
{
    return neap_config_string(s->config, NULL, name);
}

/* Of a server that listens at every address: where this machine itself finds it; NULL: at one only. */
const char *server_any_address(const char *address);

/* ---- certificates.c: all that this server makes live as long as certificate_lifetime says ---- */
/* Its own, for every name that it is called by: s->tls is made, or has it from now on. */
int server_make_tls(struct server *s, struct neap_err *err);
/* admin.kubeconfig and agent.kubeconfig in the data directory, 0600. */
int server_write_kubeconfigs(struct server *s, struct neap_err *err);
/* What it shows to agents; the old one, which the dialer borrows, goes when it has the new one. */
int server_issue_agent_certificate(struct server *s, struct neap_err *err);
/* From now on all three are made anew after two thirds of their life, by s->renewal. */
void server_start_renewal(struct server *s);

#endif
