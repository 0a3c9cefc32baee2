/* `neap agent`: this node's pods. Plugins, the API's client, the agent's own port. SIGTERM lets go (pods run
 * on); SIGUSR2 stops the pods and takes everything off the host first (`neap up` sends it). */
#include "kubeconfig.h"
#include "server.h"

#include <api/auth/auth.h>
#include <neap/ip.h>
#include <neap/log.h>
#include <neap/node.h>
#include <neap/plugin.h>
#include <neap/script.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DRAIN_MS = 1000 };

struct part {
    struct neap_plugin *plugin;
    const struct neap_host *host;
};

struct agent {
    struct neap_config *config;
    const char *data_dir;
    char instance[7], node_name[256];
    int lock_fd, code;
    int64_t started_ns;
    struct neap_loop *loop;
    struct neap_kubeconfig kubeconfig;
    struct neap_tls *client_tls, *server_tls;
    struct neap_client *client;
    struct part runtime, network, proxy;
    struct neap_http_server *http;
    struct neap_node **nodes; /* one; more for tests of scale (hollow_nodes) */
    struct neap_arena *names; /* of many nodes */
    unsigned node_count, nodes_ready, nodes_stopped;
    struct neap_signal *signals[3];
    char kubeconfig_path[PATH_MAX];
    struct neap_script_folders *kubeconfig_watch;
    unsigned port;
    bool stopping, cleanup;
};

static const char *option(const struct agent *a, const char *name)
{
    return neap_config_string(a->config, NULL, name);
}

/* ---- plugins ---- */

static int load(struct agent *a, const char *kind, struct part *p, struct neap_err *err)
{
    char dir[PATH_MAX];
    const char *name = option(a, kind);
    if (!name || strcmp(name, "none") == 0)
        return 0;
    neap_beside(option(a, "plugin_dir"), "plugins", dir, sizeof(dir));
    int rc = neap_plugin_load(dir, kind, name, a->config, &p->plugin, err);
    if (rc)
        return rc;
    p->host = neap_plugin_host(p->plugin, a->loop, a->config, a->instance, a->data_dir, err);
    return p->host ? 0 : err->code;
}

static int load_plugins(struct agent *a, struct neap_err *err)
{
    int rc = load(a, "runtime", &a->runtime, err);
    if (!rc)
        rc = load(a, "network", &a->network, err);
    if (!rc)
        rc = load(a, "proxy", &a->proxy, err);
    if (!rc && !a->runtime.plugin)
        rc = neap_err_set(err, NEAP_ECONFIG, "runtime: a node needs one");
    return rc ? rc : neap_config_check_unused(a->config, err);
}

static const void *table(const struct part *p)
{
    return p->plugin ? neap_plugin_header(p->plugin) : NULL;
}

/* ---- the agent's own API ---- */

static bool admit(void *arg, struct neap_call *c, const struct neap_peer *peer)
{
    (void)arg;
    struct neap_identity *id =
        peer->certificate ? neap_auth_certificate_identity(peer->certificate) : NULL;
    if (!id) {
        neap_err_set(&c->err, NEAP_EUNAUTHORIZED, "Unauthorized");
        return false;
    }
    bool may = neap_identity_in_group(id, "system:masters");
    c->identity = id;
    if (!may)
        neap_err_set(&c->err, NEAP_EFORBIDDEN, "Forbidden");
    return may;
}

static void handle(void *arg, struct neap_call *c)
{
    struct agent *a = arg;
    if (a->node_count && !a->stopping) {
        neap_node_handle(a->nodes[0], c);
        return;
    }
    neap_err_set(&c->err, NEAP_EUNAVAILABLE, "the agent is starting or stopping");
    neap_call_fail(c);
}

static void refuse(void *arg, struct neap_call *c)
{
    (void)arg;
    c->reply_type = "text/plain; charset=utf-8";
    neap_buf_str(&c->reply_buf, c->err.message ? c->err.message : "refused");
    c->reply = c->reply_buf.data;
    c->reply_len = c->reply_buf.len;
}

static const char *choose_protocol(void *arg, struct neap_call *c, const char *const *offered)
{
    (void)arg;
    (void)c;
    for (; *offered; offered++)
        if (strcmp(*offered, "v5.channel.k8s.io") == 0)
            return *offered;
    return NULL;
}

/* The configured port; another one when that is the default and taken (Node.status tells which). */
static int bind_port(struct agent *a, int *fd, struct neap_err *err)
{
    char text[32];
    int64_t port = neap_config_int(a->config, NULL, "agent_port");
    snprintf(text, sizeof(text), ":%lld", (long long)port);
    int rc = neap_http_bind(text, fd, &a->port, err);
    if (rc && port == 10250) {
        neap_err_done(err);
        rc = neap_http_bind(":0", fd, &a->port, err);
    }
    return rc;
}

static int open_port(struct agent *a, struct neap_err *err)
{
    struct neap_tls_config tls = {.cert_pem = a->kubeconfig.cert_pem,
                                  .key_pem = a->kubeconfig.key_pem,
                                  .ca_pem = a->kubeconfig.ca_pem,
                                  .request_client_cert = true};
    struct neap_http_server_options h = {.loop = a->loop,
                                         .protocol_name = "kubelet",
                                         .admit = admit,
                                         .handle = handle,
                                         .choose_protocol = choose_protocol,
                                         .refuse = refuse,
                                         .arg = a};
    int fd = -1, rc = neap_tls_new(&tls, true, &a->server_tls, err);
    if (!rc)
        rc = bind_port(a, &fd, err);
    if (rc)
        return rc;
    h.tls = a->server_tls;
    neap_http_limits_default(&h.limits);
    rc = neap_http_server_new(&h, &a->http, err);
    return rc ? rc : neap_http_server_listen(a->http, fd, err);
}

/* ---- life ---- */

static void closed(void *arg)
{
    struct agent *a = arg;
    neap_loop_stop(a->loop);
}

static void node_stopped(void *arg)
{
    struct agent *a = arg;
    if (++a->nodes_stopped < a->node_count)
        return;
    a->client->close(a->client); /* no answer comes after it: now what waited for one may go */
    a->client = NULL;
    for (unsigned i = 0; i < a->node_count; i++)
        neap_node_free(a->nodes[i]);
    a->node_count = 0;
    if (a->http)
        neap_http_server_close(a->http, closed, a);
    else
        neap_loop_stop(a->loop);
}

static void end(struct agent *a, bool cleanup)
{
    if (a->stopping)
        return;
    a->stopping = true;
    a->kubeconfig_watch = neap_script_folders_close(a->kubeconfig_watch);
    NEAP_INFO("agent", cleanup ? "stopping the pods and the agent" : "stopping; the pods run on",
              "%s", "");
    for (unsigned i = 0; i < a->node_count; i++)
        neap_node_stop(a->nodes[i], cleanup, node_stopped, a);
}

static void on_signal(void *arg)
{
    end(arg, false);
}

static void on_cleanup(void *arg)
{
    end(arg, true);
}

static void ready(void *arg, const struct neap_err *err)
{
    struct agent *a = arg;
    if (err) {
        a->code = neap_complain("agent", err);
        end(a, false);
        return;
    }
    if (++a->nodes_ready < a->node_count)
        return;
    if (a->cleanup) {
        end(a, true);
        return;
    }
    printf("neap: agent ready in %lld ms\n",
           (long long)((neap_clock_mono(&neap_clock_system) - a->started_ns) / 1000000));
    fflush(stdout);
}

/* The <i>th of many has a name, a range and a folder of its own. */
static void name_node(struct agent *a, unsigned i, struct neap_node_options *o)
{
    char base[NEAP_IP_TEXT];
    if (a->node_count == 1)
        return;
    neap_cidr_text_at(o->pod_cidr, (uint64_t)i * 256, base);
    o->name = neap_arena_printf(a->names, "%s-%u", a->node_name, i);
    o->pod_cidr = neap_arena_printf(a->names, "%s/%d", base, strchr(base, ':') ? 120 : 24);
    o->data_dir = neap_arena_printf(a->names, "%s/nodes/%u", a->data_dir, i);
    o->min_free_memory = o->min_free_disk = o->min_free_pids = 0; /* they share one machine */
}

static int start_nodes(struct agent *a, struct neap_err *err)
{
    struct neap_node_options base = {
        .loop = a->loop,
        .client = a->client,
        .runtime = table(&a->runtime),
        .runtime_host = a->runtime.host,
        .network = table(&a->network),
        .network_host = a->network.host,
        .proxy = table(&a->proxy),
        .proxy_host = a->proxy.host,
        .clock = &neap_clock_system,
        .rand = &neap_rand_system,
        .name = a->node_name,
        .node_ip = option(a, "node_ip"),
        .data_dir = a->data_dir,
        .instance = a->instance,
        .pod_cidr = option(a, "pod_cidr"),
        .service_cidr = option(a, "service_cidr"),
        .node_ports = option(a, "node_ports"),
        .cluster_domain = option(a, "cluster_domain"),
        .version = NEAP_VERSION,
        .port = a->port,
        .offline = a->cleanup,
        .refresh_ms = (uint64_t)neap_config_int(a->config, NULL, "volume_refresh"),
        .max_pods = (unsigned)neap_config_int(a->config, NULL, "max_pods"),
        .min_free_memory = (uint64_t)neap_config_int(a->config, NULL, "min_free_memory"),
        .min_free_disk = (uint64_t)neap_config_int(a->config, NULL, "min_free_disk"),
        .min_free_pids = (uint64_t)neap_config_int(a->config, NULL, "min_free_pids")};
    a->node_count = (unsigned)neap_config_int(a->config, NULL, "hollow_nodes");
    if (a->node_count > 1 && strcmp(option(a, "runtime"), "hollow") != 0)
        return neap_err_set(err, NEAP_ECONFIG, "hollow_nodes: only with runtime hollow");
    a->names = neap_arena_new(0);
    a->nodes = neap_calloc(a->node_count, sizeof(struct neap_node *));
    for (unsigned i = 0; i < a->node_count; i++) {
        struct neap_node_options o = base;
        name_node(a, i, &o);
        int rc = neap_node_start(&o, &a->nodes[i], ready, a, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* The whole process lives in the node's network namespace: ports, probes, devices, sysctls. */
static int enter_netns(struct agent *a, struct neap_err *err)
{
    char buffer[PATH_MAX];
    const char *path;
    int rc = neap_netns_path(a->config, buffer, sizeof(buffer), &path, err);
    if (rc || !path)
        return rc;
    NEAP_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        return neap_err_errno(err, errno, "netns %s", path);
    return 0;
}

/* Mounts made below it later must reach containers that ask for it (Bidirectional, HostToContainer). */
static int share_data_dir(struct agent *a, struct neap_err *err)
{
    char pods[PATH_MAX];
    snprintf(pods, sizeof(pods), "%s/pods", a->data_dir);
    int rc = neap_mkdir_p(pods, 0755);
    return rc < 0 ? neap_err_errno(err, -rc, "%s", pods) : 0;
}

/* The API server renews certificates by writing the file anew. Connections go on with what they have. */
static void kubeconfig_changed(void *arg)
{
    struct agent *a = arg;
    struct neap_kubeconfig now = {0};
    struct neap_err err = NEAP_ERR_INIT;
    int rc = neap_kubeconfig_read(a->kubeconfig_path, &now, &err);
    if (!rc && neap_streq(now.cert_pem, a->kubeconfig.cert_pem)) {
        neap_kubeconfig_done(&now);
        return;
    }
    struct neap_tls_config tls = {.cert_pem = now.cert_pem,
                                  .key_pem = now.key_pem,
                                  .ca_pem = now.ca_pem,
                                  .request_client_cert = true};
    if (!rc && (!now.cert_pem || !now.key_pem))
        rc = neap_err_set(&err, NEAP_ECONFIG, "it has no client certificate any more");
    if (!rc)
        rc = neap_tls_reload(a->client_tls, &tls, &err);
    if (!rc && a->server_tls)
        rc = neap_tls_reload(a->server_tls, &tls, &err);
    if (rc) {
        NEAP_WARN("agent", "the new kubeconfig cannot be used, the old one goes on", "err=%s",
                  neap_log_quote(err.message));
        neap_err_done(&err);
        neap_kubeconfig_done(&now);
        return;
    }
    neap_kubeconfig_done(&a->kubeconfig);
    a->kubeconfig = now;
    NEAP_INFO("agent", "the certificate was renewed", "%s", "");
}

static void watch_kubeconfig(struct agent *a)
{
    static const char *const none[] = {NULL};
    char folder[PATH_MAX];
    const char *slash = strrchr(a->kubeconfig_path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - a->kubeconfig_path) : 1,
             slash ? a->kubeconfig_path : ".");
    a->kubeconfig_watch = neap_script_folders_watch(a->loop, folder, none, kubeconfig_changed, a);
}

static int connect_api(struct agent *a, struct neap_err *err)
{
    char *path = a->kubeconfig_path;
    const char *file = option(a, "kubeconfig");
    struct neap_http_client *http;
    snprintf(path, sizeof(a->kubeconfig_path), "%s%s", file ? file : a->data_dir,
             file ? "" : "/agent.kubeconfig");
    int rc = neap_kubeconfig_read(path, &a->kubeconfig, err);
    if (!rc && (!a->kubeconfig.cert_pem || !a->kubeconfig.key_pem))
        rc = neap_err_set(err, NEAP_ECONFIG, "%s: the agent needs a client certificate", path);
    if (!rc)
        rc = neap_kubeconfig_connect(&a->kubeconfig, a->loop, &a->client_tls, &http, err);
    if (!rc)
        a->client = neap_http_client_api(http);
    if (!rc)
        watch_kubeconfig(a);
    return rc;
}

static int start(struct agent *a, struct neap_err *err)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR2};
    if (geteuid() != 0)
        return neap_err_set(err, NEAP_ECONFIG,
                            "a node's agent must be root (neap server need not)");
    a->data_dir = option(a, "data_dir");
    a->lock_fd = neap_data_dir_lock(a->data_dir, "agent.lock", err);
    if (a->lock_fd < 0)
        return err->code;
    neap_instance(a->data_dir, a->instance);
    neap_node_name(a->config, a->node_name);
    a->cleanup = neap_config_bool(a->config, NULL, "cleanup");
    int rc = neap_check_ranges(a->config, err);
    if (!rc)
        rc = enter_netns(a, err);
    if (!rc)
        rc = share_data_dir(a, err);
    if (rc)
        return rc;
    a->loop = neap_loop_new("agent", NULL);
    rc = load_plugins(a, err);
    if (!rc)
        rc = connect_api(a, err);
    if (!rc && !a->cleanup)
        rc = open_port(a, err);
    for (size_t i = 0; !rc && i < NEAP_ARRAY_LEN(signals); i++)
        a->signals[i] = neap_signal_new(a->loop, signals[i], i < 2 ? on_signal : on_cleanup, a);
    return rc ? rc : start_nodes(a, err);
}

static void finish(struct agent *a)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(a->signals); i++)
        if (a->signals[i])
            neap_signal_close(a->signals[i]);
    a->kubeconfig_watch = neap_script_folders_close(a->kubeconfig_watch);
    if (a->client)
        a->client->close(a->client);
    if (a->loop)
        neap_loop_free(a->loop);
    free(a->nodes);
    neap_arena_free(a->names);
    a->client_tls = neap_tls_free(a->client_tls);
    a->server_tls = neap_tls_free(a->server_tls);
    struct part *parts[] = {&a->runtime, &a->network, &a->proxy};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(parts); i++)
        if (parts[i]->plugin)
            neap_plugin_free(parts[i]->plugin);
    neap_kubeconfig_done(&a->kubeconfig);
    if (a->lock_fd >= 0)
        close(a->lock_fd);
}

int neap_agent_main(struct neap_config *config)
{
    struct agent a = {.config = config, .lock_fd = -1};
    struct neap_err err = NEAP_ERR_INIT;
    a.started_ns = neap_clock_mono(&neap_clock_system);
    umask(022); /* volumes are read by any user of a container; the data directory itself is 0700 */
    if (start(&a, &err)) {
        a.code = neap_complain("agent", &err);
        if (a.http)
            neap_http_server_close(a.http, closed, &a);
    }
    if (!a.code || a.http)
        neap_loop_run(a.loop);
    finish(&a);
    neap_err_done(&err);
    return a.code;
}
