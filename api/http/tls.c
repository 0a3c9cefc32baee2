/* TLS material: from PEM bytes to a context, reloadable. */
#include "http_internal.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

void http_tls_error(char *text, size_t size)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(text, size, "%s", reason ? reason : "TLS failed");
    ERR_clear_error();
}

static int fail(struct neap_err *err, const char *what)
{
    char text[256] = "";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    return neap_err_set(err, NEAP_ECONFIG, "TLS: %s%s%s", what, *text ? ": " : "", text);
}

static int use_certificate(SSL_CTX *ctx, const char *pem, struct neap_err *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL), *more;
    int ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    while (ok && (more = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
        ok = SSL_CTX_add0_chain_cert(ctx, more) == 1;
    BIO_free(bio);
    ERR_clear_error(); /* the end of the chain is an error to PEM */
    return ok ? 0 : fail(err, "the certificate cannot be used");
}

static int use_key(SSL_CTX *ctx, const char *pem, struct neap_err *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    int ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok ? 0 : fail(err, "the private key cannot be used");
}

static int trust(SSL_CTX *ctx, const char *pem, bool server, struct neap_err *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    X509 *ca;
    int n = 0;
    while ((ca = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        n += X509_STORE_add_cert(store, ca) == 1;
        if (server)
            SSL_CTX_add_client_CA(ctx, ca);
        X509_free(ca);
    }
    BIO_free(bio);
    ERR_clear_error();
    return n ? 0 : fail(err, "no certificate authority could be read");
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1\x08http/1.0";
    (void)ssl;
    (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int fill(SSL_CTX *ctx, const struct neap_tls_config *config, bool server,
                struct neap_err *err)
{
    static const unsigned char session_id[] = "neap";
    int rc = 0;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* of TLS 1.2 what has forward secrecy and authenticates as it encrypts (RFC 9113 9.2.2) */
    SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1); /* one read(2) a record, not two */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    if (config->cert_pem)
        rc = use_certificate(ctx, config->cert_pem, err);
    if (!rc && config->key_pem)
        rc = use_key(ctx, config->key_pem, err);
    if (!rc && config->ca_pem)
        rc = trust(ctx, config->ca_pem, server, err);
    if (server) {
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
        SSL_CTX_set_session_id_context(ctx, session_id, sizeof(session_id) - 1);
        SSL_CTX_set_num_tickets(ctx, 1);
        SSL_CTX_set_verify(ctx, config->request_client_cert ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                           NULL);
    } else {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x02h2", 3);
    }
    return rc;
}

static int make(const struct neap_tls_config *config, bool server, SSL_CTX **ret,
                struct neap_err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    int rc = ctx ? fill(ctx, config, server, err) : fail(err, "no context");
    if (rc) {
        SSL_CTX_free(ctx);
        return rc;
    }
    *ret = ctx;
    return 0;
}

int neap_tls_new(const struct neap_tls_config *config, bool server, struct neap_tls **ret,
                 struct neap_err *err)
{
    SSL_CTX *ctx;
    int rc = make(config, server, &ctx, err);
    if (rc)
        return rc;
    struct neap_tls *t = neap_calloc(1, sizeof(*t));
    t->ctx = ctx;
    t->server = server;
    t->server_name = config->server_name ? neap_strdup(config->server_name) : NULL;
    *ret = t;
    return 0;
}

int neap_tls_reload(struct neap_tls *t, const struct neap_tls_config *config, struct neap_err *err)
{
    SSL_CTX *ctx;
    int rc = make(config, t->server, &ctx, err);
    if (rc)
        return rc;
    SSL_CTX_free(t->ctx); /* connections hold references of their own */
    t->ctx = ctx;
    return 0;
}

struct neap_tls *neap_tls_free(struct neap_tls *t)
{
    if (t) {
        SSL_CTX_free(t->ctx);
        free(t->server_name);
        free(t);
    }
    return NULL;
}
