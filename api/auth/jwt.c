/* ServiceAccount tokens: JWTs signed by ES256, bound to objects that must still be there.
 * Source: RFC 7515, 7518 3.4, 7519; Kubernetes documentation, "Managing Service Accounts". */
#include "auth_internal.h"

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/sha.h>

enum { TOKEN_MAX = 16 << 10, SIGNATURE = 64 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void auth_base64url(struct neap_buf *out, const void *data, size_t len)
{
    const unsigned char *s = data;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i > 2 ? 3 : len - i;
        unsigned v =
            (unsigned)s[i] << 16 | (n > 1 ? (unsigned)s[i + 1] << 8 : 0) | (n > 2 ? s[i + 2] : 0);
        for (size_t j = 0; j <= n; j++)
            neap_buf_char(out, alphabet[v >> (18 - 6 * j) & 63]);
    }
}

unsigned char *auth_unbase64url(const char *s, size_t len, size_t *ret_len)
{
    unsigned char *out = neap_malloc(len + 1);
    unsigned bits = 0, have = 0;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        const char *d = s[i] ? memchr(alphabet, s[i], 64) : NULL;
        if (!d) {
            free(out);
            return NULL;
        }
        bits = bits << 6 | (unsigned)(d - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (unsigned char)(bits >> have);
        }
    }
    out[n] = '\0';
    *ret_len = n;
    return out;
}

/* ---- ES256: DER from OpenSSL, raw r and s in the token ---- */

static bool sign(EVP_PKEY *key, const char *text, size_t len, unsigned char out[SIGNATURE])
{
    unsigned char der[160];
    const unsigned char *at = der;
    size_t der_len = sizeof(der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, der, &der_len, (const unsigned char *)text, len) == 1;
    EVP_MD_CTX_free(ctx);
    ECDSA_SIG *sig = ok ? d2i_ECDSA_SIG(NULL, &at, (long)der_len) : NULL;
    ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32) == 32 &&
         BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32) == 32;
    ECDSA_SIG_free(sig);
    return ok;
}

static bool verify(EVP_PKEY *key, const char *text, size_t len, const unsigned char in[SIGNATURE])
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    unsigned char *der = NULL;
    ECDSA_SIG_set0(sig, BN_bin2bn(in, 32, NULL), BN_bin2bn(in + 32, 32, NULL));
    int der_len = i2d_ECDSA_SIG(sig, &der);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = der_len > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestVerify(ctx, der, (size_t)der_len, (const unsigned char *)text, len) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    return ok;
}

/* ---- issue ---- */

static void member(struct neap_buf *out, const char *name, const char *value)
{
    neap_buf_printf(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", name);
    neap_buf_json_string(out, value, strlen(value));
}

static void object(struct neap_buf *out, const char *kind, const char *name, const char *uid)
{
    neap_buf_printf(out, "%s\"", out->data[out->len - 1] == '{' ? "" : ",");
    for (const char *p = kind; *p; p++)
        neap_buf_char(out, *p >= 'A' && *p <= 'Z' ? (char)(*p | 32) : *p);
    neap_buf_str(out, "\":{");
    member(out, "name", name);
    if (uid)
        member(out, "uid", uid);
    neap_buf_char(out, '}');
}

static void claims(struct neap_auth *a, const struct neap_token_request *r, int64_t now_s,
                   int64_t expires_s, struct neap_buf *out)
{
    const char *const *audiences = r->audiences ? r->audiences : a->options.audiences;
    char jti[37];
    neap_rand_uuid(a->options.rand, jti);
    neap_buf_str(out, "{\"aud\":[");
    for (unsigned i = 0; audiences[i]; i++) {
        neap_buf_str(out, i ? "," : "");
        neap_buf_json_string(out, audiences[i], strlen(audiences[i]));
    }
    neap_buf_printf(out, "],\"exp\":%lld,\"iat\":%lld", (long long)expires_s, (long long)now_s);
    member(out, "iss", a->options.issuer);
    member(out, "jti", jti);
    neap_buf_str(out, ",\"kubernetes.io\":{");
    member(out, "namespace", r->namespace_);
    if (r->node_name)
        object(out, "node", r->node_name, r->node_uid);
    if (r->bound_kind)
        object(out, r->bound_kind, r->bound_name, r->bound_uid);
    object(out, "serviceaccount", r->name, r->uid);
    neap_buf_printf(out, "},\"nbf\":%lld,\"sub\":\"system:serviceaccount:%s:%s\"}",
                    (long long)now_s, r->namespace_, r->name);
}

char *neap_auth_token_issue(struct neap_auth *a, const struct neap_token_request *r,
                            int64_t *ret_expires)
{
    struct neap_buf token = NEAP_BUF_INIT, json = NEAP_BUF_INIT;
    unsigned char signature[SIGNATURE];
    int64_t now_s = neap_clock_wall(a->options.clock) / 1000000000;
    neap_buf_printf(&json, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", a->key_id);
    auth_base64url(&token, json.data, json.len);
    neap_buf_char(&token, '.');
    neap_buf_reset(&json);
    claims(a, r, now_s, now_s + r->expiration_s, &json);
    auth_base64url(&token, json.data, json.len);
    neap_buf_done(&json);
    *ret_expires = (now_s + r->expiration_s) * 1000000000;
    bool ok = sign(a->options.pki->sa_key, token.data, token.len, signature);
    neap_buf_char(&token, '.');
    auth_base64url(&token, signature, sizeof(signature));
    if (!ok) {
        neap_buf_done(&token);
        return NULL;
    }
    return neap_buf_take(&token);
}

/* ---- verify ---- */

static int refuse(struct neap_err *err, const char *why)
{
    return neap_err_set(err, NEAP_EUNAUTHORIZED, "%s", why);
}

static bool listed(const char *const *list, const char *s)
{
    for (; list && *list; list++)
        if (strcmp(*list, s) == 0)
            return true;
    return false;
}

/* The wanted audiences that the token has, copied to <out> (NULL: only counted). */
static size_t audiences_of(yyjson_val *root, const char *const *wanted, char **out)
{
    yyjson_val *aud = yyjson_obj_get(root, "aud"), *v;
    size_t i, n, count = 0;
    yyjson_arr_foreach(aud, i, n, v)
    {
        if (!yyjson_is_str(v) || !listed(wanted, yyjson_get_str(v)))
            continue;
        if (out)
            out[count] = neap_strdup(yyjson_get_str(v));
        count++;
    }
    return count;
}

static bool audience_ok(yyjson_val *root, const char *const *wanted, char ***matched)
{
    size_t count = audiences_of(root, wanted, NULL);
    if (matched) {
        *matched = neap_calloc(count + 1, sizeof(**matched));
        audiences_of(root, wanted, *matched);
    }
    return count > 0;
}

static bool still_there(const struct neap_snapshot *s, const char *resource, const char *ns,
                        const char *name, const char *uid)
{
    const struct neap_object *o =
        name ? neap_snapshot_get(s, neap_kind_by_resource("", "v1", resource), ns, name) : NULL;
    return o && uid && strcmp(neap_object_uid(o), uid) == 0;
}

static const char *claim(yyjson_val *k8s, const char *object, const char *field)
{
    return yyjson_get_str(yyjson_obj_get(yyjson_obj_get(k8s, object), field));
}

/* The objects that the token is bound to exist with the same uid. */
static bool bound_ok(const struct neap_snapshot *s, yyjson_val *k8s, const char *ns)
{
    static const char *const kinds[][2] = {{"pod", "pods"}, {"secret", "secrets"}};
    if (!still_there(s, "serviceaccounts", ns, claim(k8s, "serviceaccount", "name"),
                     claim(k8s, "serviceaccount", "uid")))
        return false;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(kinds); i++)
        if (yyjson_obj_get(k8s, kinds[i][0]) &&
            !still_there(s, kinds[i][1], ns, claim(k8s, kinds[i][0], "name"),
                         claim(k8s, kinds[i][0], "uid")))
            return false;
    /* a pod's token names its node for information; one bound to a node alone needs it */
    return yyjson_obj_get(k8s, "pod") || !yyjson_obj_get(k8s, "node") ||
           still_there(s, "nodes", NULL, claim(k8s, "node", "name"), claim(k8s, "node", "uid"));
}

/* NULL: the claims name no ServiceAccount. */
static struct neap_identity *identity_of(yyjson_val *root)
{
    yyjson_val *k8s = yyjson_obj_get(root, "kubernetes.io");
    const char *ns = yyjson_get_str(yyjson_obj_get(k8s, "namespace")),
               *name = claim(k8s, "serviceaccount", "name");
    char user[600], group[320], credential[80];
    const char *groups[] = {"system:serviceaccounts", group, "system:authenticated", NULL};
    const char *extra[16] = {NULL};
    size_t n = 0;
    static const char *const rows[][3] = {
        {"pod", "name", "authentication.kubernetes.io/pod-name"},
        {"pod", "uid", "authentication.kubernetes.io/pod-uid"},
        {"node", "name", "authentication.kubernetes.io/node-name"},
        {"node", "uid", "authentication.kubernetes.io/node-uid"},
    };
    const char *jti = yyjson_get_str(yyjson_obj_get(root, "jti"));
    if (!ns || !name)
        return NULL;
    snprintf(user, sizeof(user), "system:serviceaccount:%s:%s", ns, name);
    snprintf(group, sizeof(group), "system:serviceaccounts:%s", ns);
    if (jti) {
        snprintf(credential, sizeof(credential), "JTI=%s", jti);
        extra[n++] = "authentication.kubernetes.io/credential-id";
        extra[n++] = credential;
    }
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        const char *v = claim(k8s, rows[i][0], rows[i][1]);
        if (v) {
            extra[n++] = rows[i][2];
            extra[n++] = v;
        }
    }
    struct neap_identity *id =
        neap_identity_new(user, claim(k8s, "serviceaccount", "uid"), groups, extra);
    id->authenticated = true;
    return id;
}

/* Three parts, our algorithm, our signature. NULL: it is not ours. */
static struct auth_token *verify_token(struct neap_auth *a, const char *token, size_t len)
{
    size_t head_len = 0, body_len = 0, sig_len = 0;
    const char *dot = strchr(token, '.'), *dot2 = dot ? strchr(dot + 1, '.') : NULL;
    if (!dot2 || strchr(dot2 + 1, '.'))
        return NULL;
    unsigned char *head = auth_unbase64url(token, (size_t)(dot - token), &head_len);
    unsigned char *body = auth_unbase64url(dot + 1, (size_t)(dot2 - dot - 1), &body_len);
    unsigned char *sig = auth_unbase64url(dot2 + 1, strlen(dot2 + 1), &sig_len);
    yyjson_doc *h = head ? yyjson_read((char *)head, head_len, 0) : NULL, *b = NULL;
    const char *alg = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(h), "alg"));
    const char *kid = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(h), "kid"));
    bool ok = body && sig && sig_len == SIGNATURE && neap_streq(alg, "ES256") &&
              neap_streq(kid, a->key_id) &&
              verify(a->options.pki->sa_key, token, (size_t)(dot2 - token), sig);
    if (ok)
        b = yyjson_read((char *)body, body_len, 0);
    yyjson_doc_free(h);
    free(head);
    free(body);
    free(sig);
    return b ? auth_token_new(token, len, b, identity_of(yyjson_doc_get_root(b))) : NULL;
}

/* A reference; NULL: not ours. Checking a signature takes 70 us, looking it up less than one. */
static struct auth_token *open_token(struct neap_auth *a, const char *text)
{
    size_t len = strlen(text);
    if (!len || len > TOKEN_MAX)
        return NULL;
    struct auth_token *t = auth_token_known(a, text, len);
    if (!t && (t = verify_token(a, text, len)))
        auth_token_remember(a, t);
    return t;
}

static int check(struct neap_auth *a, const struct auth_token *t, const char *const *audiences,
                 char ***matched, struct neap_err *err)
{
    yyjson_val *root = yyjson_doc_get_root(t->claims), *k8s = yyjson_obj_get(root, "kubernetes.io");
    const char *ns = yyjson_get_str(yyjson_obj_get(k8s, "namespace"));
    int64_t now_s = neap_clock_wall(a->options.clock) / 1000000000;
    if (!neap_streq(yyjson_get_str(yyjson_obj_get(root, "iss")), a->options.issuer) || !t->identity)
        return refuse(err, "the token has another issuer");
    if (yyjson_get_sint(yyjson_obj_get(root, "exp")) <= now_s)
        return refuse(err, "the token has expired");
    if (yyjson_get_sint(yyjson_obj_get(root, "nbf")) > now_s + 60)
        return refuse(err, "the token is not yet valid");
    struct neap_snapshot *s = neap_snapshot_pin(a->options.registry);
    bool bound = bound_ok(s, k8s, ns);
    neap_snapshot_unpin(s);
    if (!bound)
        return refuse(err, "what the token is bound to is gone");
    if (!audience_ok(root, audiences ? audiences : a->options.audiences, matched))
        return refuse(err, "the token is for other audiences");
    return 0;
}

int neap_auth_token_verify(struct neap_auth *a, const char *token, const char *const *audiences,
                           struct neap_identity **ret, char ***matched, struct neap_err *err)
{
    struct auth_token *t = open_token(a, token);
    if (!t)
        return refuse(err, "the token is not ours");
    int rc = check(a, t, audiences, matched, err);
    if (!rc)
        *ret = neap_identity_ref(t->identity);
    auth_token_unref(a, t);
    return rc;
}

/* ---- published keys ---- */

char *neap_auth_jwks(struct neap_auth *a)
{
    unsigned char point[65];
    size_t n = 0;
    struct neap_buf b = NEAP_BUF_INIT;
    EVP_PKEY_get_octet_string_param(a->options.pki->sa_key, "pub", point, sizeof(point), &n);
    neap_buf_printf(&b,
                    "{\"keys\":[{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"%s\",\"crv\":\"P-256\","
                    "\"alg\":\"ES256\",\"x\":\"",
                    a->key_id);
    auth_base64url(&b, point + 1, 32);
    neap_buf_str(&b, "\",\"y\":\"");
    auth_base64url(&b, point + 33, 32);
    neap_buf_str(&b, "\"}]}");
    return neap_buf_take(&b);
}

char *neap_auth_openid_configuration(struct neap_auth *a)
{
    return neap_asprintf("{\"issuer\":\"%s\",\"jwks_uri\":\"%s/openid/v1/jwks\","
                         "\"response_types_supported\":[\"id_token\"],"
                         "\"subject_types_supported\":[\"public\"],"
                         "\"id_token_signing_alg_values_supported\":[\"ES256\"]}",
                         a->options.issuer, a->options.issuer);
}
