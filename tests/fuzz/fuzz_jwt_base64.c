/* Authorization headers and the base64 readers. No token made here is signed: all must be refused. */
#include "fuzz.h"
#include <api/auth/auth_internal.h>
#include <api/http/base64.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

static const struct neap_auth *shared; /* libFuzzer's entry has no argument for it */

static void remove_pki(const char *dir)
{
    static const char *const names[] = {"pki/ca.crt", "pki/ca.key", "pki/sa.key", "pki", ""};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        char *path = neap_asprintf("%s/%s", dir, names[i]);
        remove(path);
        free(path);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const audiences[] = {"https://kubernetes.default.svc", NULL};
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_pki *pki;
    char dir[] = "/tmp/neap-fuzz-XXXXXX";
    FUZZ_CHECK(mkdtemp(dir));
    FUZZ_CHECK(neap_pki_open(dir, &neap_clock_system, &pki, &err) == 0);
    remove_pki(dir);
    struct neap_auth_options o = {.pki = pki,
                                  .clock = &neap_clock_system,
                                  .rand = &neap_rand_system,
                                  .issuer = "https://kubernetes.default.svc",
                                  .audiences = audiences};
    shared = neap_auth_new(&o);
    return 0;
}

static void base64(const char *s, size_t size)
{
    struct neap_buf plain NEAP_CLEANUP_BUF = NEAP_BUF_INIT, url NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    size_t len = 0, again_len = 0;
    http_base64_decode(&plain, s, size);
    http_base64url_decode(&url, s, size);
    unsigned char *bytes = auth_unbase64url(s, size, &len);
    if (bytes) {
        struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        auth_base64url(&text, bytes, len);
        unsigned char *again = auth_unbase64url(text.data ? text.data : "", text.len, &again_len);
        FUZZ_CHECK(again && again_len == len && memcmp(again, bytes, len) == 0);
        free(again);
    }
    free(bytes);
}

static void header(const char *text)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_identity *id = NULL;
    int rc = neap_auth_identify((struct neap_auth *)(uintptr_t)shared, NULL, text, &id, &err);
    FUZZ_CHECK(rc == err.code && (rc == 0) == (id != NULL));
    if (id) /* only who shows nothing gets in, and as nobody */
        FUZZ_CHECK(strcmp(id->user, "system:anonymous") == 0);
    neap_identity_unref(id);
    neap_err_done(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *s = fuzz_copy(data, size);
    base64(s, size);
    char *bearer = neap_asprintf("Bearer %.*s", (int)size, s);
    header(bearer);
    header(bearer + 7);
    free(bearer);
    free(s);
    return 0;
}
