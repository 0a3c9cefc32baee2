/* The server's certificates and kubeconfigs: making them, and making them anew before they end. */
#include "server_internal.h"

#include <neap/ip.h>
#include <neap/log.h>

#include <unistd.h>

enum { RENEW_LOOK_MAX_MS = 3600000 };

static int64_t certificate_seconds(const struct server *s)
{
    return neap_config_int(s->config, NULL, "certificate_lifetime") / 1000;
}

const char *server_any_address(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 ? "127.0.0.1"
           : strcmp(address, "::") == 0    ? "::1"
                                           : NULL;
}

int server_make_tls(struct server *s, struct neap_err *err)
{
    char service_ip[46], full[300], host[256] = "localhost";
    const char *domain = server_option(s, "cluster_domain"),
               *advertise = server_option(s, "advertise");
    snprintf(full, sizeof(full), "kubernetes.default.svc.%s", domain);
    neap_cidr_text_at(server_option(s, "service_cidr"), 1, service_ip);
    gethostname(host, sizeof(host) - 1);
    const char *names[] = {"kubernetes",
                           "kubernetes.default",
                           "kubernetes.default.svc",
                           full,
                           "localhost",
                           host,
                           "127.0.0.1",
                           "::1",
                           service_ip,
                           server_any_address(s->address) ? "127.0.0.1" : s->address,
                           advertise ? advertise : "127.0.0.1",
                           NULL};
    struct neap_cert_request request = {.common_name = "kube-apiserver",
                                        .names = names,
                                        .valid_s = certificate_seconds(s),
                                        .server = true};
    char *cert = NULL, *key = NULL;
    int rc = neap_pki_issue(s->pki, &request, &cert, &key, err);
    if (rc)
        return rc;
    struct neap_tls_config tls = {.cert_pem = cert,
                                  .key_pem = key,
                                  .ca_pem = neap_pki_ca_pem(s->pki),
                                  .request_client_cert = true};
    rc = s->tls ? neap_tls_reload(s->tls, &tls, err) : neap_tls_new(&tls, true, &s->tls, err);
    free(cert);
    free(key);
    return rc;
}

static void base64(struct neap_buf *out, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)text;
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i > 2 ? 3 : len - i;
        unsigned v =
            (unsigned)p[i] << 16 | (n > 1 ? (unsigned)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
        neap_buf_char(out, digits[v >> 18]);
        neap_buf_char(out, digits[v >> 12 & 63]);
        neap_buf_char(out, n > 1 ? digits[v >> 6 & 63] : '=');
        neap_buf_char(out, n > 2 ? digits[v & 63] : '=');
    }
}

/* Who a kubeconfig is for. */
struct user {
    const char *file, *name;
    const char *const *groups;
    const char *const *serves; /* names of a certificate that also serves; NULL: none */
    const char *address;       /* where it reaches us */
};

/* A kubeconfig with a certificate of its own, 0600. */
static int write_kubeconfig(struct server *s, const struct user *u, struct neap_err *err)
{
    char path[PATH_MAX];
    char *cert = NULL, *key = NULL;
    struct neap_cert_request request = {.common_name = u->name,
                                        .organizations = u->groups,
                                        .names = u->serves,
                                        .valid_s = certificate_seconds(s),
                                        .server = u->serves,
                                        .client = true};
    int rc = neap_pki_issue(s->pki, &request, &cert, &key, err);
    if (rc)
        return rc;
    struct neap_buf b = NEAP_BUF_INIT;
    const char *any = server_any_address(u->address), *address = any ? any : u->address;
    bool v6 = strchr(address, ':');
    neap_buf_str(&b,
                 "apiVersion: v1\nkind: Config\nclusters:\n- name: neap\n  cluster:\n    server: ");
    neap_buf_printf(&b, "https://%s%s%s:%u\n    certificate-authority-data: ", v6 ? "[" : "",
                    address, v6 ? "]" : "", s->port);
    base64(&b, neap_pki_ca_pem(s->pki));
    neap_buf_printf(&b, "\nusers:\n- name: %s\n  user:\n    client-certificate-data: ", u->name);
    base64(&b, cert);
    neap_buf_str(&b, "\n    client-key-data: ");
    base64(&b, key);
    neap_buf_printf(&b,
                    "\ncontexts:\n- name: neap\n  context:\n    cluster: neap\n    user: %s\n"
                    "current-context: neap\n",
                    u->name);
    snprintf(path, sizeof(path), "%s/%s", s->data_dir, u->file);
    rc = neap_file_write_atomic(path, b.data, b.len, 0600);
    neap_buf_done(&b);
    free(cert);
    free(key);
    return rc < 0 ? neap_err_errno(err, -rc, "%s", path) : 0;
}

/* For kubectl, and for this node's agent: its certificate also serves the agent's API. */
int server_write_kubeconfigs(struct server *s, struct neap_err *err)
{
    static const char *const admins[] = {"system:masters", NULL}, *const nodes[] = {"system:nodes",
                                                                                    NULL};
    char name[300];
    const char *serves[] = {s->node_name, "localhost", "127.0.0.1", "::1", NULL};
    const char *advertise = server_option(s, "advertise");
    struct user admin = {"admin.kubeconfig", "kubernetes-admin", admins, NULL, s->address};
    struct user agent = {"agent.kubeconfig", name, nodes, serves,
                         s->netns && advertise ? advertise : s->address};
    snprintf(name, sizeof(name), "system:node:%s", s->node_name);
    int rc = write_kubeconfig(s, &admin, err);
    return rc ? rc : write_kubeconfig(s, &agent, err);
}

int server_issue_agent_certificate(struct server *s, struct neap_err *err)
{
    static const char *const masters[] = {"system:masters", NULL};
    char *cert = NULL, *key = NULL;
    struct neap_cert_request request = {.common_name = "kube-apiserver-kubelet-client",
                                        .organizations = masters,
                                        .valid_s = certificate_seconds(s),
                                        .client = true};
    int rc = neap_pki_issue(s->pki, &request, &cert, &key, err);
    if (rc)
        return rc;
    if (s->dialer)
        neap_node_dialer_renew(s->dialer, cert, key);
    free(s->agent_cert);
    free(s->agent_key);
    s->agent_cert = cert;
    s->agent_key = key;
    return 0;
}

/* ---- renewal: the server's own, the kubeconfigs (agents and kubectl read them again), the one for agents ---- */

static void renew(struct server *s)
{
    struct neap_err err = NEAP_ERR_INIT;
    int rc = server_make_tls(s, &err);
    if (!rc)
        rc = server_write_kubeconfigs(s, &err);
    if (!rc)
        rc = server_issue_agent_certificate(s, &err);
    if (rc) { /* again when it is looked at next */
        NEAP_WARN("server", "certificates could not be renewed", "err=%s",
                  neap_log_quote(err.message));
        neap_err_done(&err);
        return;
    }
    s->issued_ns = neap_clock_wall(&neap_clock_system);
    NEAP_INFO("server", "certificates were renewed", "valid_s=%lld",
              (long long)certificate_seconds(s));
}

/* By the wall clock, as they expire: a machine may have slept. */
static void look_at_certificates(void *arg)
{
    struct server *s = arg;
    int64_t age_s = (neap_clock_wall(&neap_clock_system) - s->issued_ns) / 1000000000;
    if (age_s >= certificate_seconds(s) * 2 / 3)
        renew(s);
}

void server_start_renewal(struct server *s)
{
    uint64_t ms = (uint64_t)certificate_seconds(s) * 1000 / 20;
    ms = ms > RENEW_LOOK_MAX_MS ? RENEW_LOOK_MAX_MS : ms;
    s->issued_ns = neap_clock_wall(&neap_clock_system);
    s->renewal = neap_timer_new(s->loop, look_at_certificates, s);
    neap_timer_start(s->renewal, ms, ms);
}
