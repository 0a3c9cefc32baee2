/* The cluster's certificate authority and token key. EC P-256 everywhere. */
#include "auth_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <arpa/inet.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CA_SECONDS = 10 * 365 * 24 * 3600, SKEW_SECONDS = 3600, PEM_MAX = 64 << 10 };

static int fail(struct neap_err *err, const char *what)
{
    char text[200] = "";
    unsigned long code = ERR_get_error();
    if (code)
        ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    return neap_err_set(err, NEAP_ECONFIG, "%s%s%s", what, *text ? ": " : "", text);
}

/* ---- PEM ---- */

static char *take_bio(BIO *bio)
{
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    char *s = neap_strndup(data, (size_t)n);
    BIO_free(bio);
    return s;
}

static char *key_pem(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    return take_bio(bio);
}

static char *cert_pem(X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    return take_bio(bio);
}

static EVP_PKEY *parse_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return key;
}

static X509 *parse_cert(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return cert;
}

/* ---- files: never through a link ---- */

/* 1: read; 0: not there; negative: an error. */
static int read_file(const char *dir, const char *name, char **ret, struct neap_err *err)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : neap_err_errno(err, errno, "%s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > PEM_MAX) {
        close(fd);
        return neap_err_set(err, NEAP_ECONFIG, "%s is no small regular file", path);
    }
    char *text = neap_calloc(1, (size_t)st.st_size + 1);
    ssize_t n = read(fd, text, (size_t)st.st_size);
    close(fd);
    if (n != st.st_size) {
        free(text);
        return neap_err_set(err, NEAP_EIO, "%s could not be read", path);
    }
    *ret = text;
    return 1;
}

static int write_file(const char *dir, const char *name, const char *text, struct neap_err *err)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int rc = neap_file_write_atomic(path, text, strlen(text), 0600);
    return rc < 0 ? neap_err_errno(err, -rc, "%s", path) : 0;
}

/* ---- certificates ---- */

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = x && X509_add_ext(cert, x, -1) == 1;
    X509_EXTENSION_free(x);
    return ok;
}

static bool set_times(const struct neap_clock *clock, X509 *cert, int64_t valid_s)
{
    time_t now = (time_t)(neap_clock_wall(clock) / 1000000000);
    return X509_time_adj_ex(X509_getm_notBefore(cert), 0, -SKEW_SECONDS, &now) &&
           X509_time_adj_ex(X509_getm_notAfter(cert), (int)(valid_s / 86400),
                            (long)(valid_s % 86400), &now);
}

static bool set_serial(X509 *cert)
{
    uint64_t serial = neap_rand_u64(&neap_rand_system) >> 1;
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial) == 1;
}

static bool set_subject(X509 *cert, const char *common_name, const char *const *organizations)
{
    X509_NAME *name = X509_get_subject_name(cert);
    bool ok = true;
    for (; ok && organizations && *organizations; organizations++)
        ok = X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                        (const unsigned char *)*organizations, -1, -1, 0) == 1;
    return ok && X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                            (const unsigned char *)common_name, -1, -1, 0) == 1;
}

static int make_ca(struct neap_pki *p, struct neap_err *err)
{
    X509 *cert = X509_new();
    p->ca_key = EVP_EC_gen("P-256");
    bool ok =
        cert && p->ca_key && X509_set_version(cert, 2) && set_serial(cert) &&
        set_times(p->clock, cert, CA_SECONDS) && set_subject(cert, "neap-ca", NULL) &&
        X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
        X509_set_pubkey(cert, p->ca_key) &&
        add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE") &&
        add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature") &&
        add_extension(cert, cert, NID_subject_key_identifier, "hash") &&
        X509_sign(cert, p->ca_key, EVP_sha256());
    p->ca = cert;
    return ok ? 0 : fail(err, "the certificate authority could not be made");
}

static int load_ca(struct neap_pki *p, const char *dir, struct neap_err *err)
{
    char *cert = NULL, *key = NULL;
    int a = read_file(dir, "ca.crt", &cert, err),
        b = a < 0 ? a : read_file(dir, "ca.key", &key, err);
    int rc = a < 0 ? a : b < 0 ? b : 0;
    if (!rc && a != b)
        rc = neap_err_set(err, NEAP_ECONFIG,
                          "%s: ca.crt and ca.key belong together: one is missing", dir);
    if (!rc && a) {
        p->ca = parse_cert(cert);
        p->ca_key = parse_key(key);
        if (!p->ca || !p->ca_key || X509_check_private_key(p->ca, p->ca_key) != 1)
            rc = fail(err, "ca.crt and ca.key do not fit each other");
    } else if (!rc) {
        rc = make_ca(p, err);
        free(cert);
        free(key);
        cert = rc ? NULL : cert_pem(p->ca);
        key = rc ? NULL : key_pem(p->ca_key);
        if (!rc)
            rc = write_file(dir, "ca.key", key, err);
        if (!rc)
            rc = write_file(dir, "ca.crt", cert, err);
    }
    p->ca_pem = cert;
    free(key);
    return rc;
}

static int load_token_key(struct neap_pki *p, const char *dir, struct neap_err *err)
{
    char *key = NULL;
    int rc = read_file(dir, "sa.key", &key, err);
    if (rc < 0)
        return rc;
    if (rc) {
        p->sa_key = parse_key(key);
        rc = p->sa_key ? 0 : fail(err, "sa.key is no private key");
    } else {
        p->sa_key = EVP_EC_gen("P-256");
        key = p->sa_key ? key_pem(p->sa_key) : NULL;
        rc = key ? write_file(dir, "sa.key", key, err) : fail(err, "no key could be made");
    }
    free(key);
    return rc;
}

int neap_pki_open(const char *dir, const struct neap_clock *clock, struct neap_pki **ret,
                  struct neap_err *err)
{
    struct neap_pki *p = neap_calloc(1, sizeof(*p));
    p->clock = clock;
    int rc = neap_mkdir_p(dir, 0700);
    rc = rc < 0 ? neap_err_errno(err, -rc, "%s", dir) : 0;
    if (!rc)
        rc = load_ca(p, dir, err);
    if (!rc)
        rc = load_token_key(p, dir, err);
    if (rc) {
        neap_pki_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

struct neap_pki *neap_pki_free(struct neap_pki *p)
{
    if (p) {
        X509_free(p->ca);
        EVP_PKEY_free(p->ca_key);
        EVP_PKEY_free(p->sa_key);
        free(p->ca_pem);
        free(p);
    }
    return NULL;
}

const char *neap_pki_ca_pem(const struct neap_pki *p)
{
    return p->ca_pem;
}

static bool add_names(X509 *cert, X509 *issuer, const char *const *names)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    unsigned char ip[16];
    for (; names && *names; names++) {
        if (!**names || strpbrk(*names, ",\n"))
            continue;
        bool address = inet_pton(AF_INET, *names, ip) == 1 || inet_pton(AF_INET6, *names, ip) == 1;
        neap_buf_printf(&b, "%s%s:%s", b.len ? "," : "", address ? "IP" : "DNS", *names);
    }
    return !b.len || add_extension(cert, issuer, NID_subject_alt_name, b.data);
}

static X509 *sign(const struct neap_pki *p, const struct neap_cert_request *r, EVP_PKEY *key)
{
    X509 *cert = X509_new();
    const char *usage = r->server && r->client ? "serverAuth,clientAuth"
                        : r->server            ? "serverAuth"
                                               : "clientAuth";
    bool ok = cert && X509_set_version(cert, 2) && set_serial(cert) &&
              set_times(p->clock, cert, r->valid_s) &&
              set_subject(cert, r->common_name, r->organizations) &&
              X509_set_issuer_name(cert, X509_get_subject_name(p->ca)) &&
              X509_set_pubkey(cert, key) &&
              add_extension(cert, p->ca, NID_basic_constraints, "critical,CA:FALSE") &&
              add_extension(cert, p->ca, NID_key_usage, "critical,digitalSignature") &&
              add_extension(cert, p->ca, NID_ext_key_usage, usage) &&
              add_extension(cert, p->ca, NID_authority_key_identifier, "keyid") &&
              add_names(cert, p->ca, r->names) && X509_sign(cert, p->ca_key, EVP_sha256());
    if (!ok) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

int neap_pki_issue(const struct neap_pki *p, const struct neap_cert_request *request,
                   char **ret_cert_pem, char **ret_key_pem, struct neap_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? sign(p, request, key) : NULL;
    if (cert) {
        *ret_cert_pem = cert_pem(cert);
        *ret_key_pem = key_pem(key);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return cert ? 0 : fail(err, "a certificate could not be made");
}

int neap_pki_sign_csr(const struct neap_pki *p, const char *csr_pem,
                      const struct neap_cert_request *request, char **ret_cert_pem,
                      struct neap_err *err)
{
    BIO *bio = BIO_new_mem_buf(csr_pem, -1);
    X509_REQ *csr = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
    EVP_PKEY *key = csr ? X509_REQ_get0_pubkey(csr) : NULL;
    X509 *cert = key && X509_REQ_verify(csr, key) == 1 ? sign(p, request, key) : NULL;
    if (cert)
        *ret_cert_pem = cert_pem(cert);
    X509_free(cert);
    X509_REQ_free(csr);
    BIO_free(bio);
    return cert ? 0 : fail(err, "the request could not be signed");
}
