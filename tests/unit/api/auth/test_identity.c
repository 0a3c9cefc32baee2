/* Who asks: tokens that are forged, old or of others; certificates that name nobody; keys on the disk. */
#include "fixture.h"

#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#define ACCOUNT "{'kind':'ServiceAccount','apiVersion':'v1'," META("app", "a", "uid-app") "}"
#define BOUND_POD                                                                                  \
    "{'kind':'Pod','apiVersion':'v1'," META("p", "a", "uid-p") ",'spec':{'containers':[]}}"

static int setup(void **state)
{
    auth_setup(state);
    have(*state, "", "serviceaccounts", ACCOUNT);
    have(*state, "", "pods", BOUND_POD);
    have(*state, "", "secrets", "{'kind':'Secret','apiVersion':'v1'," META("s", "a", "uid-s") "}");
    have(*state, "", "nodes",
         "{'kind':'Node','apiVersion':'v1'," META_OF_CLUSTER("n", "uid-n") "}");
    return 0;
}

static int verify_for(struct auth_fixture *x, const char *token, const char *const *audiences)
{
    struct neap_identity *id = NULL;
    struct neap_err err = NEAP_ERR_INIT;
    int rc = neap_auth_token_verify(x->auth, token, audiences, &id, NULL, &err);
    assert_true((rc == 0) == (id != NULL));
    if (id)
        assert_string_equal(id->user, "system:serviceaccount:a:app");
    neap_identity_unref(id);
    neap_err_done(&err);
    return rc;
}

static int verify(struct auth_fixture *x, const char *token)
{
    return verify_for(x, token, NULL);
}

static char *issue(struct auth_fixture *x, const char *kind, const char *name, const char *uid,
                   const char *const *audiences)
{
    struct neap_token_request r = {.namespace_ = "a",
                                   .name = "app",
                                   .uid = "uid-app",
                                   .audiences = audiences,
                                   .expiration_s = 600,
                                   .bound_kind = kind,
                                   .bound_name = name,
                                   .bound_uid = uid};
    int64_t expires;
    return neap_auth_token_issue(x->auth, &r, &expires);
}

/* ---- forged ---- */

/* A token of that head and those claims; signed by <key> as ES256, by HMAC with <secret>, or not at all. */
static char *forge(const char *head, const char *claims, EVP_PKEY *key, const char *secret)
{
    struct neap_buf b = NEAP_BUF_INIT;
    unsigned char mac[EVP_MAX_MD_SIZE], raw[64] = {0};
    unsigned n = 0;
    auth_base64url(&b, head, strlen(head));
    neap_buf_char(&b, '.');
    auth_base64url(&b, claims, strlen(claims));
    if (key) {
        unsigned char der[160];
        const unsigned char *at = der;
        size_t len = sizeof(der);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
        assert_int_equal(EVP_DigestSign(ctx, der, &len, (unsigned char *)b.data, b.len), 1);
        EVP_MD_CTX_free(ctx);
        ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
        BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
        ECDSA_SIG_free(sig);
    } else if (secret) {
        HMAC(EVP_sha256(), secret, (int)strlen(secret), (unsigned char *)b.data, b.len, mac, &n);
    }
    neap_buf_char(&b, '.');
    auth_base64url(&b, key ? raw : mac, key ? sizeof(raw) : n);
    return neap_buf_take(&b);
}

#define CLAIMS(more)                                                                               \
    "{\"aud\":[\"https://issuer.test\"],\"exp\":1700000600,\"iat\":1700000000,"                    \
    "\"iss\":\"https://issuer.test\"," more "\"kubernetes.io\":{\"namespace\":\"a\","              \
    "\"serviceaccount\":{\"name\":\"app\",\"uid\":\"uid-app\"}},"                                  \
    "\"sub\":\"system:serviceaccount:a:app\"}"

static void expect(struct auth_fixture *x, char *token, bool ok, const char *what)
{
    if ((verify(x, token) == 0) != ok)
        fail_msg("%s", what);
    free(token);
}

static void test_forged(void **state)
{
    struct auth_fixture *x = *state;
    char good[160], wrong_kid[160], hs[160], none[160];
    EVP_PKEY *own = x->pki->sa_key, *other = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    PEM_write_bio_PUBKEY(bio, own);
    long pem_len = BIO_get_mem_data(bio, &pem);
    char *public_key = neap_strndup(pem, (size_t)pem_len);
    BIO_free(bio);
    snprintf(good, sizeof(good), "{\"alg\":\"ES256\",\"kid\":\"%s\"}", x->auth->key_id);
    snprintf(hs, sizeof(hs), "{\"alg\":\"HS256\",\"kid\":\"%s\"}", x->auth->key_id);
    snprintf(none, sizeof(none), "{\"alg\":\"none\",\"kid\":\"%s\"}", x->auth->key_id);
    snprintf(wrong_kid, sizeof(wrong_kid), "{\"alg\":\"ES256\",\"kid\":\"another\"}");
    expect(x, forge(good, CLAIMS(""), own, NULL), true, "the forger itself works");
    expect(x, forge(none, CLAIMS(""), NULL, NULL), false, "alg none");
    expect(x, forge(none, CLAIMS(""), own, NULL), false, "alg none, signed");
    expect(x, forge(good, CLAIMS(""), NULL, NULL), false, "no signature");
    expect(x, forge(hs, CLAIMS(""), NULL, public_key), false, "HS256 with the public key");
    expect(x, forge(good, CLAIMS(""), NULL, public_key), false, "an HMAC said to be ES256");
    expect(x, forge(good, CLAIMS(""), other, NULL), false, "another key");
    expect(x, forge(wrong_kid, CLAIMS(""), own, NULL), false, "another key id");
    expect(x, forge("{\"alg\":\"ES256\"}", CLAIMS(""), own, NULL), false, "no key id");
    expect(x, forge("[]", CLAIMS(""), own, NULL), false, "a head that is no object");
    expect(x, forge(good, "[]", own, NULL), false, "claims that are no object");
    expect(x, forge(good, CLAIMS("\"nbf\":1700000500,"), own, NULL), false, "not yet valid");
    expect(x, forge(good, CLAIMS("\"exp\":\"1800000000\","), own, NULL), true,
           "the first of two members counts"); /* it is ours, and it expires */
    free(public_key);
    EVP_PKEY_free(other);
}

/* One changed character anywhere in a good token makes it none of ours, also while the good one is remembered. */
static void test_every_character_counts(void **state)
{
    struct auth_fixture *x = *state;
    char *token = issue(x, NULL, NULL, NULL, NULL);
    size_t len = strlen(token);
    assert_int_equal(verify(x, token), 0);
    for (size_t i = 0; i + 1 < len; i++) { /* the last one holds bits that mean nothing */
        char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        if (verify(x, token) == 0)
            fail_msg("character %zu does not count", i);
        token[i] = was;
    }
    for (size_t cut = 0; cut < len; cut++) {
        char was = token[cut];
        token[cut] = '\0';
        assert_int_equal(verify(x, token), NEAP_EUNAUTHORIZED);
        token[cut] = was;
    }
    assert_int_equal(verify(x, token), 0);
    free(token);
}

static void test_time_and_audience(void **state)
{
    struct auth_fixture *x = *state;
    static const char *const vault[] = {"vault", NULL};
    char *token = issue(x, NULL, NULL, NULL, NULL), *other = issue(x, NULL, NULL, NULL, vault);
    assert_int_equal(verify(x, token), 0);
    assert_int_equal(verify_for(x, token, vault), NEAP_EUNAUTHORIZED);
    assert_int_equal(verify(x, other), NEAP_EUNAUTHORIZED);
    assert_int_equal(verify_for(x, other, vault), 0);
    test_now += 599 * SECOND;
    assert_int_equal(verify(x, token), 0);
    test_now += SECOND;
    assert_int_equal(verify(x, token), NEAP_EUNAUTHORIZED); /* though its signature is remembered */
    free(token);
    free(other);
}

static void test_what_it_is_bound_to(void **state)
{
    struct auth_fixture *x = *state;
    char *of_pod = issue(x, "Pod", "p", "uid-p", NULL),
         *of_secret = issue(x, "Secret", "s", "uid-s", NULL),
         *of_node = issue(x, "Node", "n", "uid-n", NULL),
         *free_one = issue(x, NULL, NULL, NULL, NULL);
    char *const all[] = {of_pod, of_secret, of_node, free_one};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(verify(x, all[i]), 0);
    have(x, "", "pods",
         "{'kind':'Pod','apiVersion':'v1'," META("p", "a", "another") ",'spec':{'containers':[]}}");
    assert_int_equal(verify(x, of_pod), NEAP_EUNAUTHORIZED); /* made again under the same name */
    gone(x, "", "secrets", "/registry/core/secrets/a/s");
    assert_int_equal(verify(x, of_secret), NEAP_EUNAUTHORIZED);
    gone(x, "", "nodes", "/registry/core/nodes/n");
    assert_int_equal(verify(x, of_node), NEAP_EUNAUTHORIZED);
    assert_int_equal(verify(x, free_one), 0);
    gone(x, "", "serviceaccounts", "/registry/core/serviceaccounts/a/app");
    assert_int_equal(verify(x, free_one), NEAP_EUNAUTHORIZED);
    have(x, "", "serviceaccounts",
         "{'kind':'ServiceAccount','apiVersion':'v1'," META("app", "a", "new") "}");
    assert_int_equal(verify(x, free_one),
                     NEAP_EUNAUTHORIZED); /* the account of that name is another */
    for (size_t i = 0; i < 4; i++)
        free(all[i]);
}

/* ---- certificates ---- */

static X509 *certificate(struct auth_fixture *x, const char *name, const char *const *groups)
{
    struct neap_cert_request r = {
        .common_name = name, .organizations = groups, .valid_s = 3600, .client = true};
    struct neap_err err = NEAP_ERR_INIT;
    char *cert, *key;
    assert_ok(neap_pki_issue(x->pki, &r, &cert, &key, &err), err);
    BIO *bio = BIO_new_mem_buf(cert, -1);
    X509 *out = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    free(cert);
    free(key);
    return out;
}

static void test_certificates_name(void **state)
{
    static const char *const groups[] = {"one", "two", NULL};
    X509 *c = certificate(*state, "alice", groups);
    struct neap_identity *id = neap_auth_certificate_identity(c);
    assert_string_equal(id->user, "alice");
    assert_true(neap_identity_in_group(id, "two"));
    assert_true(neap_identity_in_group(id, "system:authenticated"));
    assert_false(neap_identity_in_group(id, "system:masters"));
    neap_identity_unref(id);
    X509_free(c);
    c = X509_new(); /* a subject without a name, or with a NUL in it, names nobody */
    assert_null(neap_auth_certificate_identity(c));
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_UTF8,
                               (const unsigned char *)"admin\0.evil", 11, -1, 0);
    assert_null(neap_auth_certificate_identity(c));
    X509_free(c);
}

/* ---- impersonation ---- */

static int act_as(struct auth_fixture *x, const char *group, const struct neap_header *headers,
                  struct neap_identity **ret)
{
    struct neap_err err = NEAP_ERR_INIT;
    const struct neap_call call = {
        .verb = NEAP_NONRESOURCE, .method = "GET", .path = "/version", .headers = headers};
    *ret = user("alice", group);
    int rc = neap_auth_impersonate(x->auth, &call, ret, &err);
    neap_err_done(&err);
    return rc;
}

static void test_impersonation(void **state)
{
    static const struct neap_header bob[] = {{"impersonate-user", "bob"}, {NULL, NULL}};
    static const struct neap_header root[] = {
        {"impersonate-user", "bob"}, {"impersonate-group", "system:masters"}, {NULL, NULL}};
    static const struct neap_header group[] = {{"impersonate-group", "system:masters"},
                                               {NULL, NULL}};
    struct neap_identity *id;
    have(*state, "rbac.authorization.k8s.io", "clusterroles",
         "{'kind':'ClusterRole','apiVersion':'rbac.authorization.k8s.io/v1'," META_OF_CLUSTER(
             "r",
             "1") ",'rules':[{'verbs':['impersonate'],'apiGroups':[''],'resources':['users']}]}");
    have(
        *state, "rbac.authorization.k8s.io", "clusterrolebindings",
        "{'kind':'ClusterRoleBinding','apiVersion':'rbac.authorization.k8s.io/v1'," META_OF_CLUSTER(
            "b", "2") ",'roleRef':{'kind':'ClusterRole','name':'r'},'subjects':[{'kind':'User','"
                      "name':'alice'}]}");
    assert_int_equal(act_as(*state, NULL, bob, &id), 0);
    assert_string_equal(id->user, "bob");
    assert_false(neap_identity_in_group(id, "system:masters"));
    neap_identity_unref(id);
    assert_int_equal(act_as(*state, NULL, root, &id), NEAP_EFORBIDDEN);
    assert_string_equal(id->user, "alice");
    neap_identity_unref(id);
    assert_int_not_equal(act_as(*state, NULL, group, &id), 0);
    neap_identity_unref(id);
    assert_int_equal(act_as(*state, "system:masters", root, &id), 0);
    assert_true(neap_identity_in_group(id, "system:masters"));
    neap_identity_unref(id);
}

/* ---- the disk ---- */

static void test_keys_on_disk(void **state)
{
    struct auth_fixture *x = *state;
    static const char *const names[] = {"ca.key", "sa.key", "ca.crt"};
    struct stat st;
    char dir[128], path[160], link_[160];
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_pki *p = NULL;
    snprintf(dir, sizeof(dir), "%s/pki", x->f->dir);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    /* a link in place of a key is not followed */
    snprintf(path, sizeof(path), "%s/sa.key", dir);
    snprintf(link_, sizeof(link_), "%s/elsewhere", x->f->dir);
    assert_int_equal(rename(path, link_), 0);
    assert_int_equal(symlink(link_, path), 0);
    assert_int_not_equal(neap_pki_open(dir, &test_clock, &p, &err), 0);
    assert_non_null(strstr(err.message, "sa.key"));
    neap_err_done(&err);
    assert_int_equal(rename(link_, path), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, auth_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_forged),
        TEST(test_every_character_counts),
        TEST(test_time_and_audience),
        TEST(test_what_it_is_bound_to),
        TEST(test_certificates_name),
        TEST(test_impersonation),
        TEST(test_keys_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
