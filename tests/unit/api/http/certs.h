/* An authority, a server and a client certificate, made with OpenSSL in the test. */
#ifndef NEAP_TEST_CERTS_H
#define NEAP_TEST_CERTS_H

#include <neap/base.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct cert {
    EVP_PKEY *key;
    X509 *x509;
    char *cert_pem, *key_pem;
};

static inline char *bio_text(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *text = neap_strndup(data, (size_t)len);
    BIO_free(bio);
    return text;
}

static inline void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* <issuer> NULL: self-signed. */
static inline void cert_make(struct cert *c, const char *name, const struct cert *issuer,
                             const char *alt_names)
{
    static long serial;
    c->key = EVP_EC_gen("P-256");
    c->x509 = X509_new();
    X509_set_version(c->x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c->x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(c->x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(c->x509), 3600);
    X509_set_pubkey(c->x509, c->key);
    X509_NAME *n = X509_get_subject_name(c->x509);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
    X509 *by = issuer ? issuer->x509 : c->x509;
    X509_set_issuer_name(c->x509, X509_get_subject_name(by));
    add_extension(c->x509, by, NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
    if (alt_names)
        add_extension(c->x509, by, NID_subject_alt_name, alt_names);
    X509_sign(c->x509, issuer ? issuer->key : c->key, EVP_sha256());
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, c->x509);
    c->cert_pem = bio_text(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL);
    c->key_pem = bio_text(bio);
}

static inline void cert_done(struct cert *c)
{
    EVP_PKEY_free(c->key);
    X509_free(c->x509);
    free(c->cert_pem);
    free(c->key_pem);
}

#endif
