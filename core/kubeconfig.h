/* The part of a kubeconfig that neap itself uses: one server, one CA, one certificate or token.
 * Source: k8s.io/client-go tools/clientcmd/api/v1. */
#ifndef NEAP_CORE_KUBECONFIG_H
#define NEAP_CORE_KUBECONFIG_H

#include <api/http/http.h>

struct neap_kubeconfig {
    char address[128];                         /* "host:port" */
    char *ca_pem, *cert_pem, *key_pem, *token; /* owned; NULL: none */
};
/* Reads the current context. blocks: yes. errors: NEAP_ECONFIG, a line with the file's name. */
int neap_kubeconfig_read(const char *path, struct neap_kubeconfig *ret, struct neap_err *err);
void neap_kubeconfig_done(struct neap_kubeconfig *k);
/* A connection pool to it; *ret_tls is the caller's, to be freed after the client. */
int neap_kubeconfig_connect(const struct neap_kubeconfig *k, struct neap_loop *loop,
                            struct neap_tls **ret_tls, struct neap_http_client **ret,
                            struct neap_err *err);

#endif
