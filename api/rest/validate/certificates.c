/* Certificate signing requests and trust bundles.
 * Source: Kubernetes documentation, "Certificates and Certificate Signing Requests". */
#include "validate.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { TRUST_BUNDLE_MAX = 1 << 20 };

static void check_signer(struct rest_validation *v, path p, const char *name)
{
    const char *slash = strchr(name, '/');
    char domain[256];
    if (!*name) {
        rest_required(v, p, NO_WHY);
        return;
    }
    if (!slash || strchr(slash + 1, '/')) {
        rest_invalid_string(
            v, p, name,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    }
    snprintf(domain, sizeof(domain), "%.*s", (int)(slash - name > 255 ? 255 : slash - name), name);
    rest_check_words(v, p, domain, rest_words_dns_subdomain);
    if (!strchr(domain, '.'))
        rest_invalid_string(v, p, domain,
                            "should be a domain with at least two segments separated by dots");
    rest_check_words(v, p, slash + 1, rest_words_dns_subdomain);
}

/* NULL: a request with a good signature. */
static const char *request_problem(const char *base64)
{
    unsigned char *text_of = neap_malloc(strlen(base64) + 4);
    int n = EVP_DecodeBlock(text_of, (const unsigned char *)base64, (int)strlen(base64));
    BIO *bio = BIO_new_mem_buf(text_of, n > 0 ? n : 0);
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long len = 0;
    X509_REQ *request = NULL;
    const char *why = "PEM block type must be CERTIFICATE REQUEST";
    if (bio && PEM_read_bio(bio, &name, &header, &data, &len) == 1 &&
        strcmp(name, "CERTIFICATE REQUEST") == 0) {
        const unsigned char *p = data;
        request = d2i_X509_REQ(NULL, &p, len);
        EVP_PKEY *key = request ? X509_REQ_get0_pubkey(request) : NULL;
        why = !request || !key                     ? "asn1: structure error"
              : X509_REQ_verify(request, key) != 1 ? "x509: signature is not valid"
                                                   : NULL;
    }
    ERR_clear_error();
    X509_REQ_free(request);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
    BIO_free(bio);
    free(text_of);
    return why;
}

static void check_usages(struct rest_validation *v, path p, json *usages)
{
    static const char *const known[] = {"any",
                                        "cert sign",
                                        "client auth",
                                        "code signing",
                                        "content commitment",
                                        "crl sign",
                                        "data encipherment",
                                        "decipher only",
                                        "digital signature",
                                        "email protection",
                                        "encipher only",
                                        "ipsec end system",
                                        "ipsec tunnel",
                                        "ipsec user",
                                        "key agreement",
                                        "key encipherment",
                                        "microsoft sgc",
                                        "netscape sgc",
                                        "ocsp signing",
                                        "s/mime",
                                        "server auth",
                                        "signing",
                                        "timestamping",
                                        NULL};
    struct neap_map seen = NEAP_MAP_INIT;
    if (!size(usages))
        rest_required(v, p, NO_WHY);
    EACH(e, usages)
    rest_check_one_of(v, ITEM(p, e.i), string_of(e.item), false, known);
    EACH(e, usages)
    if (!rest_set_add(&seen, string_of(e.item)))
        rest_duplicate(v, ITEM(p, e.i), e.item);
    neap_map_done(&seen, NULL);
}

static bool condition(json *list, const char *type)
{
    EACH(e, list)
    if (is(e.item, "type", type))
        return true;
    return false;
}

static void check_conditions(struct rest_validation *v, path p, json *list)
{
    static const char *const all[] = {"False", "True", "Unknown", NULL}, *const yes[] = {"True",
                                                                                         NULL};
    static const char *const types[] = {"Approved", "Denied", "Failed", NULL};
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, list)
    {
        path at = ITEM(p, e.i);
        const char *type = text(e.item, "type");
        if (!*type)
            rest_required(v, AT(at, "type"), NO_WHY);
        rest_check_one_of(v, AT(at, "status"), text(e.item, "status"), true,
                          rest_one_of(type, types) ? yes : all);
        if (!rest_set_add(&seen, type))
            rest_duplicate_string(v, AT(at, "type"), type);
    }
    neap_map_done(&seen, NULL);
    if (condition(list, "Approved") && condition(list, "Denied"))
        rest_invalid_string(v, p, "Denied",
                            "Approved and Denied conditions are mutually exclusive");
}

void rest_validate_certificate_request(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *seconds = get(spec, "expirationSeconds");
    json *request = get(spec, "request");
    path p = AT(NULL, "spec");
    const char *why = request_problem(string_of(request));
    if (v->old_root) { /* the spec stays as it is: see the strategy */
        check_conditions(v, AT(AT(NULL, "status"), "conditions"),
                         neap_json_at(v->root, "status.conditions"));
        return;
    }
    if (why)
        rest_invalid(v, AT(p, "request"), *string_of(request) ? request : NULL, "%s", why);
    check_usages(v, AT(p, "usages"), get(spec, "usages"));
    check_signer(v, AT(p, "signerName"), text(spec, "signerName"));
    if (seconds && yyjson_mut_get_sint(seconds) < 600)
        rest_invalid(v, AT(p, "expirationSeconds"), seconds,
                     "may not specify a duration less than 600 seconds (10 minutes)");
}

/* ---- trust bundles ---- */

static const char *const OMITTED = "<value omitted>";

/* One PEM block; false: a cause was added. */
static bool check_anchor(struct rest_validation *v, path p, int i, const char *name,
                         const char *header, const unsigned char *data, long len)
{
    const unsigned char *at = data;
    X509 *certificate = d2i_X509(NULL, &at, len);
    bool is_ca = certificate && X509_check_ca(certificate) == 1;
    const char *why = strcmp(name, "CERTIFICATE") ? "bad block type"
                      : *header                   ? "PEM block headers"
                      : !certificate              ? "does not parse as X.509"
                      : !is_ca                    ? "does not have the CA bit set"
                                                  : NULL;
    if (why && strcmp(name, "CERTIFICATE"))
        rest_invalid_string(v, p, OMITTED, "entry %d has bad block type: %s", i, name);
    else if (why && *header)
        rest_invalid_string(v, p, OMITTED, "entry %d has PEM block headers", i);
    else if (why)
        rest_invalid_string(v, p, OMITTED, "entry %d %s", i, why);
    X509_free(certificate);
    return !why;
}

void rest_validate_trust_bundle(struct rest_validation *v)
{
    json *bundle = neap_json_at(v->root, "spec.trustBundle");
    path p = AT(AT(NULL, "spec"), "trustBundle");
    const char *signer = string_of(neap_json_at(v->root, "spec.signerName"));
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long len = 0;
    int count = 0;
    bool good = true;
    if (*signer)
        check_signer(v, AT(AT(NULL, "spec"), "signerName"), signer);
    if (yyjson_mut_get_len(bundle) > TRUST_BUNDLE_MAX) {
        rest_too_long(v, p, TRUST_BUNDLE_MAX);
        return;
    }
    BIO *bio = BIO_new_mem_buf(string_of(bundle), (int)yyjson_mut_get_len(bundle));
    while (bio && PEM_read_bio(bio, &name, &header, &data, &len) == 1) {
        good = check_anchor(v, p, count++, name, header, data, len) && good;
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(data);
    }
    ERR_clear_error();
    BIO_free(bio);
    if (good && !count)
        rest_invalid_string(v, p, OMITTED, "at least one trust anchor must be provided");
}
