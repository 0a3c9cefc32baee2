/* Shared inside api/auth. */
#ifndef NEAP_API_AUTH_INTERNAL_H
#define NEAP_API_AUTH_INTERNAL_H

#include <api/auth/auth.h>
#include <neap/log.h>
#include <neap/map.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>

struct neap_pki {
    const struct neap_clock *clock;
    X509 *ca;
    EVP_PKEY *ca_key, *sa_key;
    char *ca_pem;
};

/* A token whose signature is good. Immutable but for refs, which a->lock guards. */
enum { AUTH_TOKENS = 1024 };
struct auth_token {
    unsigned refs;
    char *text;
    size_t len;
    yyjson_doc *claims;
    struct neap_identity *identity; /* NULL: the claims name no ServiceAccount */
};

struct neap_auth {
    struct neap_auth_options options;
    char key_id[64];
    pthread_mutex_t lock;                   /* of the caches */
    struct neap_map roles, bindings;        /* object key -> compiled */
    size_t sweep_at;                        /* so many of them: some are dropped */
    struct auth_token *tokens[AUTH_TOKENS]; /* the last one of its slot; NULL: none */
    unsigned node_name_field; /* index of pods' spec.nodeName among the selectable fields */
};

/* ---- base64url without padding ---- */
void auth_base64url(struct neap_buf *out, const void *data, size_t len);
/* Owned bytes; NULL: not base64url. */
unsigned char *auth_unbase64url(const char *s, size_t len, size_t *ret_len);

/* ---- token_cache.c ---- */
/* Takes <claims> and <identity>, copies <text>. */
struct auth_token *auth_token_new(const char *text, size_t len, yyjson_doc *claims,
                                  struct neap_identity *identity);
void auth_token_unref(struct neap_auth *a, struct auth_token *t);
/* A reference; NULL: its signature must be checked. */
struct auth_token *auth_token_known(struct neap_auth *a, const char *text, size_t len);
void auth_token_remember(struct neap_auth *a, struct auth_token *t);
/* Of neap_auth_free(). */
void auth_tokens_free(struct neap_auth *a);

/* ---- rbac_cache.c: roles and bindings, compiled once a revision ---- */
struct auth_rule {
    const char **verbs, **groups, **resources, **names, **urls; /* NULL-terminated */
};
struct auth_role {
    uint64_t revision;
    bool used; /* since the last sweep */
    struct auth_rule *rules;
    unsigned count;
    void *memory[2];
};
struct auth_subject {
    enum { AUTH_USER, AUTH_GROUP } type; /* a ServiceAccount is its user */
    const char *name;
};
struct auth_binding {
    uint64_t revision;
    bool used;
    struct auth_subject *subjects;
    unsigned count;
    bool cluster_role;
    const char *role;
    struct neap_arena *arena;
};
/* Borrowed until the next call with a newer revision of the same object. */
const struct auth_role *auth_role_of(struct neap_auth *a, const struct neap_object *o);
const struct auth_binding *auth_binding_of(struct neap_auth *a, const struct neap_object *o);
void auth_cache_free(struct neap_auth *a);
/* Drops what nobody has asked for lately (roles that were deleted) once there is much of it. Under the lock;
 * what was borrowed is not to be used after. */
void auth_cache_sweep(struct neap_auth *a);
/* Compiles a JSON list of PolicyRule into <arena>. */
struct auth_rule *auth_rules_compile(struct neap_arena *arena, yyjson_val *rules, unsigned *count);

/* ---- rbac.c ---- */
bool auth_rule_allows(const struct auth_rule *r, const struct neap_attributes *x);
/* Everything that <want> allows, <have> allows by itself. */
bool auth_rule_within(const struct auth_rule *want, const struct auth_rule *have);
bool auth_subject_matches(const struct auth_binding *b, const struct neap_identity *id);
/* Calls back for each role that applies to the identity there; true from <visit>: stop. */
bool auth_visit_roles(struct neap_auth *a, const struct neap_snapshot *s,
                      const struct neap_identity *id, const char *namespace_,
                      bool (*visit)(void *arg, const struct auth_role *role), void *arg);
/* The same for a caller that holds the lock, as long as it uses what it was shown. */
bool auth_visit_roles_locked(struct neap_auth *a, const struct neap_snapshot *s,
                             const struct neap_identity *id, const char *namespace_,
                             bool (*visit)(void *arg, const struct auth_role *role), void *arg);
/* ---- node.c ---- */
/* "system:node:NAME" in system:nodes -> NAME; NULL: no node. */
const char *auth_node_name(const struct neap_identity *id);
enum neap_decision auth_node_authorize(struct neap_auth *a, const struct neap_snapshot *s,
                                       const struct neap_attributes *x, const char *node,
                                       char **reason);

#endif
