/* Who asks, and may he: certificates, tokens, RBAC, the node authorizer.
 * Source: Kubernetes documentation, "Authenticating", "Using RBAC Authorization", "Using Node
 * Authorization". */
#ifndef NEAP_API_AUTH_H
#define NEAP_API_AUTH_H

#include <neap/client.h>
#include <neap/registry.h>

/* ---- the cluster's keys (api/auth/ca.c): files in DIR/pki, 0600 ------------------------------ */
struct neap_pki;
/* Loads, or makes what is missing: ca.crt/ca.key (EC P-256), sa.key (EC P-256, signs tokens).
 * blocks: yes (start-up). errors: one line naming the file. */
int neap_pki_open(const char *dir, const struct neap_clock *clock, struct neap_pki **ret,
                  struct neap_err *err);
struct neap_pki *neap_pki_free(struct neap_pki *p);
const char *neap_pki_ca_pem(const struct neap_pki *p);

struct neap_cert_request {
    const char *common_name;
    const char *const *organizations; /* NULL-terminated; NULL: none */
    const char *const *names;         /* SANs: DNS names and IP addresses; NULL: none */
    int64_t valid_s;
    bool server, client; /* extended key usages */
};
/* A new EC key and a certificate signed by the CA. PEMs are owned by the caller. thread: any. */
int neap_pki_issue(const struct neap_pki *p, const struct neap_cert_request *request,
                   char **ret_cert_pem, char **ret_key_pem, struct neap_err *err);
/* Signs a PKCS#10 request (PEM); subject and SANs are taken from <request>, not from the CSR. */
int neap_pki_sign_csr(const struct neap_pki *p, const char *csr_pem,
                      const struct neap_cert_request *request, char **ret_cert_pem,
                      struct neap_err *err);

/* ---- authentication ---------------------------------------------------------------------------- */
struct neap_auth_options {
    struct neap_registry *registry;
    const struct neap_pki *pki;
    const struct neap_clock *clock;
    const struct neap_rand *rand;
    const char *issuer;           /* "https://kubernetes.default.svc.cluster.local" */
    const char *const *audiences; /* accepted by the API; NULL-terminated */
};
struct neap_auth;
struct neap_auth *neap_auth_new(const struct neap_auth_options *o);
struct neap_auth *neap_auth_free(struct neap_auth *a);

/* From a verified peer certificate (X509 *, NULL: none) and the Authorization header (NULL: none). A bad
 * token is NEAP_EUNAUTHORIZED; nothing shown is system:anonymous. Impersonation headers are not looked
 * at here (neap_auth_impersonate). Reference owned by the caller. thread: api loops. */
int neap_auth_identify(struct neap_auth *a, void *certificate, const char *authorization,
                       struct neap_identity **ret, struct neap_err *err);
/* CN and O of a verified certificate (X509 *); NULL: it names nobody. Reference owned by the caller. */
struct neap_identity *neap_auth_certificate_identity(void *certificate);
/* Impersonate-User, -Group, -Uid, -Extra-* of <c>, a request by *identity, which is replaced when that is allowed:
 * by "impersonate", or by "impersonate:MODE" with "impersonate-on:MODE:VERB" for just this request.
 * errors: NEAP_EFORBIDDEN, NEAP_EBADREQUEST. */
int neap_auth_impersonate(struct neap_auth *a, const struct neap_call *c,
                          struct neap_identity **identity, struct neap_err *err);

/* ---- authorization ------------------------------------------------------------------------------ */
struct neap_attributes {
    const struct neap_identity *identity;
    const char *verb;
    bool resource_request;
    const char *group, *version, *resource, *subresource, *namespace_, *name; /* "" when none */
    const char *path; /* non-resource requests */
    /* A list or watch: the node that its field selector pins spec.nodeName to. NULL: none. (One that pins
     * metadata.name has that as its name.) */
    const char *pinned_node;
};
/* What <identity> asks for with <c>. <verb> is memory for the verb; the rest is borrowed from both. */
enum { NEAP_AUTH_VERB_MAX = 17 };
struct neap_attributes neap_auth_attributes(const struct neap_call *c,
                                            const struct neap_identity *identity,
                                            char verb[NEAP_AUTH_VERB_MAX]);
enum neap_decision { NEAP_DENY, NEAP_ALLOW, NEAP_NO_OPINION };
/* RBAC and node authorizer at one snapshot. <reason> (may be NULL) gets an owned text: why a node may not.
 * thread: any. */
enum neap_decision neap_auth_authorize(struct neap_auth *a, const struct neap_snapshot *s,
                                       const struct neap_attributes *attributes, char **reason);
/* Which binding allows it, in the real server's words; owned, NULL: none does. thread: any. */
char *neap_auth_explain(struct neap_auth *a, const struct neap_snapshot *s,
                        const struct neap_attributes *attributes);
/* Sets NEAP_EFORBIDDEN with the real server's words and details. */
int neap_auth_forbidden(const struct neap_attributes *attributes, const char *reason,
                        struct neap_err *err);

/* RBAC's rules for a subject in a namespace (SelfSubjectRulesReview): JSON of status appended. */
void neap_auth_rules(struct neap_auth *a, const struct neap_snapshot *s,
                     const struct neap_identity *identity, const char *namespace_,
                     struct neap_buf *out);
/* Escalation check (RBAC "escalate", "bind"): every rule of <rules> (JSON list of PolicyRule) is held by
 * <identity> in <namespace_> ("" cluster). <missing> gets the texts. */
bool neap_auth_covers(struct neap_auth *a, const struct neap_snapshot *s,
                      const struct neap_identity *identity, const char *namespace_,
                      yyjson_mut_val *rules, struct neap_buf *missing);

/* ---- ServiceAccount tokens ------------------------------------------------------------------------ */
struct neap_token_request {
    const char *namespace_, *name, *uid; /* the ServiceAccount */
    const char *const *audiences;        /* NULL-terminated; NULL: the API's */
    int64_t expiration_s;
    const char *bound_kind, *bound_name, *bound_uid; /* Pod, Secret, Node; NULL: none */
    const char *node_name, *node_uid;                /* of a pod */
};
/* ES256 JWT, owned by the caller; *ret_expires in wall ns. thread: any. */
char *neap_auth_token_issue(struct neap_auth *a, const struct neap_token_request *r,
                            int64_t *ret_expires);
/* TokenReview: 0 and identity, or NEAP_EUNAUTHORIZED. <audiences> NULL: the API's. <matched> (may be NULL)
 * gets owned copies, NULL-terminated. */
int neap_auth_token_verify(struct neap_auth *a, const char *token, const char *const *audiences,
                           struct neap_identity **ret, char ***matched, struct neap_err *err);
/* JSON bodies of /.well-known/openid-configuration and /openid/v1/jwks; owned. */
char *neap_auth_openid_configuration(struct neap_auth *a);
char *neap_auth_jwks(struct neap_auth *a);

/* ---- NodeRestriction: what a node may write. 0 or NEAP_EFORBIDDEN. Called for identities in
 * system:nodes only; <old> NULL: a create, <new> NULL: a delete or an eviction. ---------------------- */
int neap_auth_node_restriction(struct neap_auth *a, const struct neap_snapshot *s,
                               const struct neap_call *call, yyjson_mut_val *old_root,
                               yyjson_mut_val *new_root, struct neap_err *err);

/* A ServiceAccount's token, asked for by <call>: a node may have one that is bound to a pod of its own, for the
 * audiences that the pod names. <pod> NULL: not bound to a pod. Others than nodes: 0. */
int neap_auth_node_token(struct neap_auth *a, const struct neap_call *call,
                         const struct neap_object *pod, bool uid_given,
                         const char *const *audiences, struct neap_err *err);

#endif
