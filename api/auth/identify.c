/* Who asks: certificates, bearer tokens, nobody; and speaking for another. */
#include "auth_internal.h"

#include <openssl/sha.h>

struct neap_auth *neap_auth_new(const struct neap_auth_options *o)
{
    struct neap_auth *a = neap_calloc(1, sizeof(*a));
    unsigned char digest[SHA256_DIGEST_LENGTH], *der = NULL;
    struct neap_buf id = NEAP_BUF_INIT;
    a->options = *o;
    pthread_mutex_init(&a->lock, NULL);
    int n = i2d_PUBKEY(o->pki->sa_key, &der);
    SHA256(der, n > 0 ? (size_t)n : 0, digest);
    OPENSSL_free(der);
    auth_base64url(&id, digest, sizeof(digest));
    snprintf(a->key_id, sizeof(a->key_id), "%s", id.data);
    neap_buf_done(&id);
    const struct neap_kind *pods = neap_kind_by_resource("", "v1", "pods");
    for (unsigned i = 0; pods && i < pods->selectable_count; i++)
        if (strcmp(pods->selectable[i].path, "spec.nodeName") == 0)
            a->node_name_field = i;
    return a;
}

struct neap_auth *neap_auth_free(struct neap_auth *a)
{
    if (a) {
        auth_cache_free(a);
        auth_tokens_free(a);
        pthread_mutex_destroy(&a->lock);
        free(a);
    }
    return NULL;
}

static struct neap_identity *anonymous(void)
{
    static const char *const groups[] = {"system:unauthenticated", NULL};
    return neap_identity_new("system:anonymous", NULL, groups, NULL);
}

static char *entry_text(X509_NAME *name, int at)
{
    unsigned char *utf8 = NULL;
    X509_NAME_ENTRY *e = X509_NAME_get_entry(name, at);
    int n = e ? ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e)) : -1;
    /* a NUL inside a name would cut it: such a certificate names nobody */
    char *s =
        n > 0 && !memchr(utf8, '\0', (size_t)n) ? neap_strndup((char *)utf8, (size_t)n) : NULL;
    OPENSSL_free(utf8);
    return s;
}

enum { GROUPS_MAX = 64 };

struct neap_identity *neap_auth_certificate_identity(void *certificate)
{
    X509 *cert = certificate;
    X509_NAME *name = X509_get_subject_name(cert);
    const char *groups[GROUPS_MAX + 2] = {NULL};
    size_t n = 0;
    struct neap_identity *id = NULL;
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    char *user = at >= 0 ? entry_text(name, at) : NULL;
    for (at = -1; n < GROUPS_MAX &&
                  (at = X509_NAME_get_index_by_NID(name, NID_organizationName, at)) >= 0;) {
        char *group = entry_text(name, at);
        if (group)
            groups[n++] = group;
    }
    size_t owned = n;
    groups[n++] = "system:authenticated";
    if (user) {
        id = neap_identity_new(user, NULL, groups, NULL);
        id->authenticated = true;
    }
    for (size_t i = 0; i < owned; i++)
        free((char *)(uintptr_t)groups[i]);
    free(user);
    return id;
}

int neap_auth_identify(struct neap_auth *a, void *certificate, const char *authorization,
                       struct neap_identity **ret, struct neap_err *err)
{
    *ret = certificate ? neap_auth_certificate_identity(certificate) : NULL;
    if (*ret)
        return 0;
    if (authorization && strncasecmp(authorization, "bearer ", 7) == 0) {
        struct neap_err why = NEAP_ERR_INIT;
        if (neap_auth_token_verify(a, authorization + 7, NULL, ret, NULL, &why) == 0)
            return 0;
        NEAP_DEBUG("auth", "a token was refused", "err=%s", neap_log_quote(why.message));
        neap_err_done(&why);
        return neap_err_set(err, NEAP_EUNAUTHORIZED, "Unauthorized"); /* why is not told */
    }
    *ret = anonymous();
    return 0;
}

/* ---- impersonation ---- */

struct wanted {
    const char *user, *uid;
    const char *groups[GROUPS_MAX + 2];
    const char *extra[2 * GROUPS_MAX + 2];
    char keys[GROUPS_MAX][128];
    size_t group_count, extra_count;
};

static void take(struct wanted *w, const struct neap_header *h)
{
    static const char prefix[] = "impersonate-extra-";
    if (strcmp(h->name, "impersonate-user") == 0) {
        w->user = h->value;
    } else if (strcmp(h->name, "impersonate-uid") == 0) {
        w->uid = h->value;
    } else if (strcmp(h->name, "impersonate-group") == 0 && w->group_count < GROUPS_MAX) {
        w->groups[w->group_count++] = h->value;
    } else if (neap_startswith(h->name, prefix) && w->extra_count < 2 * GROUPS_MAX) {
        /* the key's escapes: %2f for what a header name cannot hold */
        char *to = w->keys[w->extra_count / 2], *end = to + sizeof(w->keys[0]) - 1;
        for (const char *p = h->name + sizeof(prefix) - 1; *p && to < end; p++) {
            unsigned v;
            if (*p == '%' && sscanf(p + 1, "%2x", &v) == 1 && v) {
                *to++ = (char)v;
                p += 2;
            } else {
                *to++ = *p;
            }
        }
        *to = '\0';
        w->extra[w->extra_count] = w->keys[w->extra_count / 2];
        w->extra[w->extra_count + 1] = h->value;
        w->extra_count += 2;
    }
}

static int may(struct neap_auth *a, const struct neap_identity *id, const char *group,
               const char *resource, const char *subresource, const char *ns, const char *name,
               struct neap_err *err)
{
    struct neap_attributes x = {.identity = id,
                                .verb = "impersonate",
                                .resource_request = true,
                                .group = group,
                                .version = "v1",
                                .resource = resource,
                                .subresource = subresource,
                                .namespace_ = ns,
                                .name = name,
                                .path = ""};
    struct neap_snapshot *s = neap_snapshot_pin(a->options.registry);
    enum neap_decision d = neap_auth_authorize(a, s, &x, NULL);
    neap_snapshot_unpin(s);
    return d == NEAP_ALLOW ? 0 : neap_auth_forbidden(&x, NULL, err);
}

static int allowed(struct neap_auth *a, const struct neap_identity *id, const struct wanted *w,
                   struct neap_err *err)
{
    static const char account[] = "system:serviceaccount:";
    char ns[256];
    int rc;
    if (neap_startswith(w->user, account) && strchr(w->user + sizeof(account) - 1, ':')) {
        const char *start = w->user + sizeof(account) - 1, *colon = strchr(start, ':');
        snprintf(ns, sizeof(ns), "%.*s", (int)(colon - start), start);
        rc = may(a, id, "", "serviceaccounts", "", ns, colon + 1, err);
    } else {
        rc = may(a, id, "", "users", "", "", w->user, err);
    }
    for (size_t i = 0; !rc && i < w->group_count; i++)
        rc = may(a, id, "", "groups", "", "", w->groups[i], err);
    for (size_t i = 0; !rc && i < w->extra_count; i += 2)
        rc = may(a, id, "authentication.k8s.io", "userextras", w->extra[i], "", w->extra[i + 1],
                 err);
    if (!rc && w->uid)
        rc = may(a, id, "authentication.k8s.io", "uids", "", "", w->uid, err);
    return rc;
}

/* A ServiceAccount that is impersonated has its groups, unless others are named. */
static void complete_groups(struct wanted *w, char group[320])
{
    static const char account[] = "system:serviceaccount:";
    bool named = w->group_count > 0;
    if (!named && neap_startswith(w->user, account)) {
        const char *start = w->user + sizeof(account) - 1, *colon = strchr(start, ':');
        if (colon) {
            snprintf(group, 320, "system:serviceaccounts:%.*s", (int)(colon - start), start);
            w->groups[w->group_count++] = "system:serviceaccounts";
            w->groups[w->group_count++] = group;
        }
    }
    bool anonymous_user = strcmp(w->user, "system:anonymous") == 0;
    for (size_t i = 0; i < w->group_count; i++)
        if (strcmp(w->groups[i], "system:authenticated") == 0 ||
            strcmp(w->groups[i], "system:unauthenticated") == 0)
            return;
    w->groups[w->group_count++] =
        anonymous_user ? "system:unauthenticated" : "system:authenticated";
}

/* NULL: nobody is to be impersonated, as nearly always. */
static const struct neap_header *first_of(const struct neap_header *headers)
{
    for (; headers && headers->name; headers++)
        if (neap_startswith(headers->name, "impersonate-"))
            return headers;
    return NULL;
}

int neap_auth_impersonate(struct neap_auth *a, const struct neap_header *headers,
                          struct neap_identity **identity, struct neap_err *err)
{
    char group[320];
    headers = first_of(headers);
    if (!headers)
        return 0;
    struct wanted w = {0};
    for (; headers; headers = first_of(headers + 1))
        take(&w, headers);
    if (!w.user && (w.group_count || w.extra_count || w.uid))
        return neap_err_set(err, NEAP_EINTERNAL,
                            "requested [{Group}] without impersonating a user");
    if (!w.user || !*w.user)
        return 0;
    int rc = allowed(a, *identity, &w, err);
    if (rc)
        return rc;
    complete_groups(&w, group);
    struct neap_identity *id = neap_identity_new(w.user, w.uid, w.groups, w.extra);
    id->authenticated = true;
    neap_identity_unref(*identity);
    *identity = id;
    return 0;
}
