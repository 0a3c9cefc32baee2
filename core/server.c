/* `neap server`: store, registry, identity, API on one port. */
#include "server_internal.h"

#include <neap/ip.h>
#include <neap/log.h>

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DRAIN_MS = 5000 };

/* ---- store ---- */

static int open_store(struct server *s, struct neap_err *err)
{
    char plugins[PATH_MAX];
    const char *name = server_option(s, "store");
    neap_beside(server_option(s, "plugin_dir"), "plugins", plugins, sizeof(plugins));
    int rc = neap_plugin_load(plugins, "store", name, s->config, &s->store, err);
    if (rc)
        return rc;
    const struct neap_host *host =
        neap_plugin_host(s->store, NULL, s->config, s->instance, s->data_dir, err);
    if (!host)
        return err->code;
    struct neap_registry_options o = {
        .store = (const struct neap_store_plugin *)(const void *)neap_plugin_header(s->store),
        .store_host = host,
        .clock = &neap_clock_system,
        .history_ns = (uint64_t)neap_config_int(s->config, NULL, "history") * 1000000,
        .history_bytes = (size_t)neap_config_int(s->config, NULL, "history_bytes"),
        .pin_ns = 300ull * 1000000000,
        .queue_max = 65536};
    return neap_registry_open(&o, &s->registry, err);
}

/* ---- identity ---- */

static int open_dialer(struct server *s, struct neap_err *err)
{
    int rc = server_issue_agent_certificate(s, err);
    if (rc)
        return rc;
    struct neap_node_dialer_options o = {.loop = s->loop,
                                         .registry = s->registry,
                                         .cert_pem = s->agent_cert,
                                         .key_pem = s->agent_key,
                                         .ca_pem = neap_pki_ca_pem(s->pki),
                                         .netns = s->netns};
    s->dialer = neap_node_dialer_new(&o);
    s->node_proxy = (struct neap_node_proxy){neap_node_dialer_handle, s->dialer};
    return 0;
}

static int open_identity(struct server *s, struct neap_err *err)
{
    static char issuer[300];
    static const char *audiences[] = {issuer, NULL};
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s/pki", s->data_dir);
    snprintf(issuer, sizeof(issuer), "https://kubernetes.default.svc.%s",
             server_option(s, "cluster_domain"));
    int rc = neap_pki_open(dir, &neap_clock_system, &s->pki, err);
    if (rc)
        return rc;
    struct neap_auth_options o = {.registry = s->registry,
                                  .pki = s->pki,
                                  .clock = &neap_clock_system,
                                  .rand = &neap_rand_system,
                                  .issuer = issuer,
                                  .audiences = audiences};
    s->auth = neap_auth_new(&o);
    return 0;
}

/* ---- the API ---- */

/* Nobody's bodies are not collected: they would use what those who may write need. */
static int refuse_early(struct server *s, struct neap_call *c)
{
    if (c->identity->authenticated || c->verb == NEAP_NONRESOURCE || c->verb == NEAP_GET ||
        c->verb == NEAP_LIST || c->verb == NEAP_WATCH)
        return 0;
    struct neap_attributes x = {.identity = c->identity,
                                .verb =
                                    neap_verb_name(c->verb == NEAP_CONNECT ? NEAP_CREATE : c->verb),
                                .resource_request = true,
                                .group = c->group ? c->group : "",
                                .version = c->version ? c->version : "",
                                .resource = c->resource ? c->resource : "",
                                .subresource = c->subresource ? c->subresource : "",
                                .namespace_ = c->namespace_ ? c->namespace_ : "",
                                .name = c->name ? c->name : "",
                                .path = c->path};
    struct neap_snapshot *snapshot = neap_snapshot_pin(s->registry);
    enum neap_decision d = neap_auth_authorize(s->auth, snapshot, &x, NULL);
    neap_snapshot_unpin(snapshot);
    return d == NEAP_ALLOW ? 0 : neap_auth_forbidden(&x, NULL, &c->err);
}

static bool admit(void *arg, struct neap_call *c, const struct neap_peer *peer)
{
    struct server *s = arg;
    struct neap_identity *id = NULL;
    const char *authorization = NULL;
    for (const struct neap_header *h = c->headers; h && h->name; h++)
        if (strcmp(h->name, "authorization") == 0)
            authorization = h->value;
    if (neap_auth_identify(s->auth, peer->certificate, authorization, &id, &c->err))
        return false;
    if (neap_auth_impersonate(s->auth, c, &id, &c->err)) {
        neap_identity_unref(id);
        return false;
    }
    c->identity = id;
    return refuse_early(s, c) == 0;
}

static void handle(void *arg, struct neap_call *c)
{
    struct server *s = arg;
    neap_rest_handle(s->rest, c);
}

static void refuse(void *arg, struct neap_call *c)
{
    (void)arg;
    neap_rest_refuse(c);
}

static const char *choose_protocol(void *arg, struct neap_call *c, const char *const *offered)
{
    static const char *const exec[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"};
    (void)arg;
    bool logs = neap_streq(c->subresource, "log");
    for (; *offered; offered++) {
        if (logs && (strcmp(*offered, "binary.k8s.io") == 0 ||
                     strcmp(*offered, "base64.binary.k8s.io") == 0))
            return *offered;
        for (size_t i = 0; !logs && i < NEAP_ARRAY_LEN(exec); i++)
            if (strcmp(*offered, exec[i]) == 0)
                return exec[i];
    }
    return NULL;
}

/* Pods reach the API at the advertised address, which may not be there yet: the network plugin makes it. */
static int listen_for_pods(struct server *s, struct neap_err *err)
{
    char text[128];
    const char *a = server_option(s, "advertise");
    int fd = -1;
    /* [::] takes IPv4 as well, 0.0.0.0 no IPv6 */
    bool any = a && server_any_address(s->address) && (strchr(s->address, ':') || !strchr(a, ':'));
    if (!a || (!s->netns && (any || strcmp(a, s->address) == 0)))
        return 0;
    snprintf(text, sizeof(text), strchr(a, ':') ? "[%s]:%u" : "%s:%u", a, s->port);
    int rc = neap_http_bind_in(s->netns, text, true, &fd, NULL, err);
    return rc ? rc : neap_http_server_listen(s->http, fd, err);
}

static void read_limits(const struct server *s, struct neap_http_limits *l)
{
    const struct neap_config *c = s->config;
    *l = (struct neap_http_limits){
        .header_bytes = (size_t)neap_config_int(c, NULL, "max_header_bytes"),
        .body_bytes = (size_t)neap_config_int(c, NULL, "max_body_bytes"),
        .bodies_bytes = (size_t)neap_config_int(c, NULL, "max_bodies_bytes"),
        .message_bytes = (size_t)neap_config_int(c, NULL, "max_message_bytes"),
        .arena_bytes = (size_t)neap_config_int(c, NULL, "request_memory"),
        .streams = (unsigned)neap_config_int(c, NULL, "max_streams"),
        .connections = (unsigned)neap_config_int(c, NULL, "max_connections"),
        .resets = (unsigned)neap_config_int(c, NULL, "max_resets"),
        .handshake_timeout_ms = (uint64_t)neap_config_int(c, NULL, "handshake_timeout"),
        .header_timeout_ms = (uint64_t)neap_config_int(c, NULL, "header_timeout"),
        .body_timeout_ms = (uint64_t)neap_config_int(c, NULL, "body_timeout"),
        .idle_timeout_ms = (uint64_t)neap_config_int(c, NULL, "idle_timeout"),
        .write_stall_ms = (uint64_t)neap_config_int(c, NULL, "write_stall_timeout"),
        .list_timeout_ms = (uint64_t)neap_config_int(c, NULL, "list_timeout")};
}

/* Every connection is a file descriptor: as many as the system lets us have. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int open_rules(struct server *s, struct neap_err *err)
{
    char scripts[PATH_MAX];
    neap_beside(server_option(s, "script_dir"), "scripts", scripts, sizeof(scripts));
    struct neap_admission_options o = {.loop = s->loop,
                                       .clock = &neap_clock_system,
                                       .rand = &neap_rand_system,
                                       .script_dir = scripts,
                                       .user_script_dir = server_option(s, "user_script_dir")};
    return neap_admission_open(&o, &s->rules, err);
}

static int open_api(struct server *s, int fd, struct neap_err *err)
{
    int rc = open_rules(s, err);
    if (rc)
        return rc;
    unsigned first = 30000, last = 32767;
    sscanf(server_option(s, "node_ports"), "%u-%u", &first, &last);
    struct neap_rest_options r = {
        .loop = s->loop,
        .registry = s->registry,
        .auth = s->auth,
        .clock = &neap_clock_system,
        .rand = &neap_rand_system,
        .admission = neap_admission_hooks(s->rules),
        .node_proxy = &s->node_proxy,
        .service_cidr = server_option(s, "service_cidr"),
        .node_port_first = first,
        .node_port_last = last,
        .token_seconds_max =
            neap_config_int(s->config, NULL, "service_account_max_token_expiration") / 1000,
        .bookmark_ms = (uint64_t)neap_config_int(s->config, NULL, "bookmark_interval"),
        .arena_bytes = (size_t)neap_config_int(s->config, NULL, "request_memory"),
        .protobuf_cache_bytes = (size_t)neap_config_int(s->config, NULL, "protobuf_cache"),
        .version = NEAP_VERSION};
    s->rest = neap_rest_new(&r);
    struct neap_http_server_options h = {.loop = s->loop,
                                         .tls = s->tls,
                                         .protocol_name = "apiserver",
                                         .admit = admit,
                                         .handle = handle,
                                         .choose_protocol = choose_protocol,
                                         .refuse = refuse,
                                         .arg = s};
    read_limits(s, &h.limits);
    rc = neap_http_server_new(&h, &s->http, err);
    if (!rc)
        rc = neap_http_server_listen(s->http, fd, err);
    return rc ? rc : listen_for_pods(s, err);
}

/* ---- life ---- */

static void stopped(void *arg);

/* ---- controllers and scheduler ---- */

static void worker_ended(void *arg)
{
    struct server *s = arg;
    if (--s->workers == 0)
        neap_http_server_close(s->http, stopped, s);
}

/* On the worker's loop. */
static void worker_stopped(void *arg)
{
    struct worker *w = arg;
    neap_loop_stop(w->loop);
    neap_loop_post(w->server->loop, worker_ended, w->server);
}

static void worker_stop(void *arg)
{
    struct worker *w = arg;
    if (w->control)
        neap_control_stop(w->control, worker_stopped, w);
    else
        neap_sched_stop(w->sched, worker_stopped, w);
}

static struct neap_sched_options sched_options(const struct server *s)
{
    return (struct neap_sched_options){
        .loop = s->sched.loop,
        .client = s->sched.client,
        .clock = &neap_clock_system,
        .rand = &neap_rand_system,
        .scheduler_name = server_option(s, "scheduler_name"),
        .disabled = server_option(s, "scheduler_disabled"),
        .weights = server_option(s, "scheduler_weights"),
        .nodes_percent = (unsigned)neap_config_int(s->config, NULL, "scheduler_nodes_percent"),
        .loaded = s->sched_loaded,
        .loaded_count = s->sched_plugin_count,
        .script_dir = server_option(s, "scheduler_script_dir"),
        .script_budget_ms = (uint64_t)neap_config_int(s->config, NULL, "scheduler_script_budget")};
}

/* On its own loop's thread: its scripts are watched there. */
static void sched_start(void *arg)
{
    struct worker *w = arg;
    struct neap_sched_options o = sched_options(w->server);
    w->sched = neap_sched_start(&o);
}

static int load_sched_plugin(struct server *s, const char *dir, const char *name,
                             struct neap_err *err)
{
    size_t i = s->sched_plugin_count;
    if (i == SCHED_PLUGINS_MAX)
        return neap_err_set(err, NEAP_ECONFIG, "scheduler_plugins: more than %d",
                            SCHED_PLUGINS_MAX);
    int rc = neap_plugin_load(dir, "scheduler", name, s->config, &s->sched_plugins[i], err);
    if (rc)
        return rc;
    struct neap_plugin *p = s->sched_plugins[s->sched_plugin_count++];
    s->sched_loaded[i] = (struct neap_sched_loaded){
        (const struct neap_scheduler_plugin *)(const void *)neap_plugin_header(p),
        neap_plugin_host(p, s->sched.loop, s->config, s->instance, s->data_dir, err)};
    return s->sched_loaded[i].host ? 0 : err->code;
}

/* The plugins that are configured; all names in its options are right. */
static int open_sched(struct server *s, struct neap_err *err)
{
    char dir[PATH_MAX], name[128];
    neap_beside(server_option(s, "plugin_dir"), "plugins", dir, sizeof(dir));
    for (const char *p = server_option(s, "scheduler_plugins"); p && *p;) {
        p += strspn(p, ", ");
        size_t n = strcspn(p, ", ");
        snprintf(name, sizeof(name), "%.*s", (int)(n < 127 ? n : 127), p);
        p += n;
        int rc = n ? load_sched_plugin(s, dir, name, err) : 0;
        if (rc)
            return rc;
    }
    struct neap_sched_options o = sched_options(s);
    return neap_sched_check(&o, err);
}

static void worker_open(struct server *s, struct worker *w, const char *name)
{
    w->server = s;
    w->loop = neap_loop_new(name, NULL);
    w->client = neap_rest_client(s->rest, s->system, w->loop);
}

/* Scripts that do not load stop the start: nothing runs yet. */
static int start_workers(struct server *s, struct neap_err *err)
{
    char scripts[PATH_MAX];
    neap_beside(server_option(s, "script_dir"), "scripts", scripts, sizeof(scripts));
    if (neap_config_bool(s->config, NULL, "scheduler")) {
        worker_open(s, &s->sched, "sched");
        int wrong = open_sched(s, err);
        if (wrong)
            return wrong;
        neap_loop_post(s->sched.loop, sched_start, &s->sched);
        s->sched.thread = neap_thread_start(s->sched.loop);
    }
    if (!neap_config_bool(s->config, NULL, "controllers"))
        return 0;
    worker_open(s, &s->control, "control");
    struct neap_control_options o = {.loop = s->control.loop,
                                     .client = s->control.client,
                                     .clock = &neap_clock_system,
                                     .rand = &neap_rand_system,
                                     .script_dir = scripts,
                                     .ca_pem = neap_pki_ca_pem(s->pki),
                                     .user_script_dir = server_option(s, "user_script_dir")};
    int rc = neap_control_start(&o, &s->control.control, err);
    if (rc)
        return rc;
    s->control.thread = neap_thread_start(s->control.loop);
    return 0;
}

static void worker_close(struct worker *w)
{
    if (w->thread)
        neap_thread_join(w->thread);
    if (w->client)
        w->client->close(w->client);
    if (w->loop)
        neap_loop_free(w->loop);
}

static void stopped(void *arg)
{
    struct server *s = arg;
    neap_loop_stop(s->loop);
}

static void drained(void *arg)
{
    struct server *s = arg;
    struct worker *all[] = {&s->control, &s->sched};
    s->workers = 0;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(all); i++)
        s->workers += all[i]->thread != NULL;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(all); i++)
        if (all[i]->thread)
            neap_loop_post(all[i]->loop, worker_stop, all[i]);
    if (!s->workers)
        neap_http_server_close(s->http, stopped, s);
}

static void on_signal(void *arg)
{
    struct server *s = arg;
    if (s->stopping)
        return;
    s->stopping = true;
    s->renewal = neap_timer_close(s->renewal);
    NEAP_INFO("server", "stopping", "%s", "");
    neap_http_server_drain(s->http, DRAIN_MS, drained, s);
}

static void ready(void *arg, const struct neap_err *err)
{
    struct server *s = arg;
    if (err) {
        s->code = neap_complain("start", err);
        on_signal(s);
        return;
    }
    struct neap_err why = NEAP_ERR_INIT;
    if (start_workers(s, &why)) {
        s->code = neap_complain("start", &why);
        neap_err_done(&why);
        on_signal(s);
        return;
    }
    printf("neap: ready in %lld ms\n",
           (long long)((neap_clock_mono(&neap_clock_system) - s->started_ns) / 1000000));
    fflush(stdout);
}

static int listen_address(struct server *s, int *fd, struct neap_err *err)
{
    const char *text = server_option(s, "listen"), *colon = strrchr(text, ':');
    int rc = neap_http_bind(text, fd, &s->port, err);
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (n && text[0] == '[') {
        text++;
        n -= 2;
    }
    snprintf(s->address, sizeof(s->address), "%.*s", (int)n, text);
    if (!s->address[0])
        snprintf(s->address, sizeof(s->address), "0.0.0.0");
    return rc;
}

static int start(struct server *s, struct neap_err *err)
{
    static const char *const system_groups[] = {"system:masters", "system:authenticated", NULL};
    static const int signals[] = {SIGTERM, SIGINT};
    int fd = -1;
    s->data_dir = server_option(s, "data_dir");
    raise_file_limit();
    neap_node_name(s->config, s->node_name);
    int rc = neap_netns_path(s->config, s->netns_buffer, sizeof(s->netns_buffer), &s->netns, err);
    if (rc)
        return rc;
    s->lock_fd = neap_data_dir_lock(s->data_dir, "server.lock", err);
    if (s->lock_fd < 0)
        return err->code;
    neap_instance(s->data_dir, s->instance);
    rc = neap_check_ranges(s->config, err);
    if (!rc)
        rc = listen_address(s, &fd, err);
    if (!rc)
        rc = open_store(s, err);
    if (!rc)
        rc = open_identity(s, err);
    if (!rc)
        rc = server_make_tls(s, err);
    if (!rc)
        rc = server_write_kubeconfigs(s, err);
    if (rc) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    s->loop = neap_loop_new("api", NULL);
    s->system = neap_identity_new("system:apiserver", NULL, system_groups, NULL);
    s->system->authenticated = true;
    rc = open_dialer(s, err);
    if (rc)
        return rc;
    server_start_renewal(s);
    rc = open_api(s, fd, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < 2; i++)
        s->signals[i] = neap_signal_new(s->loop, signals[i], on_signal, s);
    const char *advertise = server_option(s, "advertise");
    neap_rest_bootstrap(s->rest, advertise ? advertise : s->address, s->port, ready, s);
    return 0;
}

static void finish(struct server *s)
{
    for (size_t i = 0; i < 2; i++)
        if (s->signals[i])
            neap_signal_close(s->signals[i]);
    s->renewal = neap_timer_close(s->renewal);
    worker_close(&s->control);
    worker_close(&s->sched);
    s->dialer = neap_node_dialer_free(s->dialer);
    s->rest = neap_rest_free(s->rest);
    s->rules = neap_admission_close(s->rules);
    neap_identity_unref(s->system);
    s->auth = neap_auth_free(s->auth);
    s->tls = neap_tls_free(s->tls);
    s->pki = neap_pki_free(s->pki);
    neap_registry_close(s->registry);
    if (s->loop)
        neap_loop_free(s->loop);
    for (size_t i = 0; i < s->sched_plugin_count; i++)
        neap_plugin_free(s->sched_plugins[i]);
    if (s->store)
        neap_plugin_free(s->store);
    free(s->agent_cert);
    free(s->agent_key);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
}

int neap_server_main(struct neap_config *config)
{
    struct server s = {.config = config, .lock_fd = -1};
    struct neap_err err = NEAP_ERR_INIT;
    s.started_ns = neap_clock_mono(&neap_clock_system);
    if (start(&s, &err))
        s.code = neap_complain("server", &err);
    else
        neap_loop_run(s.loop);
    finish(&s);
    neap_err_done(&err);
    return s.code;
}
