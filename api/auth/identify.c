/* Who asks: certificates, bearer tokens, nobody. */
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
