/* Tokens whose signature was found good: that never changes, so it is checked once. What else must hold (time, account,
 * what it is bound to) is asked anew on each request. */
#include "auth_internal.h"

#include <openssl/crypto.h>

struct auth_token *auth_token_new(const char *text, size_t len, yyjson_doc *claims,
                                  struct neap_identity *identity)
{
    struct auth_token *t = neap_calloc(1, sizeof(*t));
    t->refs = 1;
    t->text = neap_strndup(text, len);
    t->len = len;
    t->claims = claims;
    t->identity = identity;
    return t;
}

/* Under a->lock. */
static void release(struct auth_token *t)
{
    if (!t || --t->refs)
        return;
    neap_identity_unref(t->identity);
    yyjson_doc_free(t->claims);
    free(t->text);
    free(t);
}

void auth_token_unref(struct neap_auth *a, struct auth_token *t)
{
    pthread_mutex_lock(&a->lock);
    release(t);
    pthread_mutex_unlock(&a->lock);
}

/* The end of a signature: as good as random, and only good ones are remembered. */
enum { TAIL = 32 };

static struct auth_token **slot_of(struct neap_auth *a, const char *text, size_t len)
{
    return &a->tokens[neap_hash(text + len - TAIL, TAIL) % AUTH_TOKENS];
}

/* The end in constant time: who does not know it learns nothing; who does knows the token. */
static bool same(const struct auth_token *t, const char *text, size_t len)
{
    return t->len == len && CRYPTO_memcmp(t->text + len - TAIL, text + len - TAIL, TAIL) == 0 &&
           memcmp(t->text, text, len) == 0;
}

struct auth_token *auth_token_known(struct neap_auth *a, const char *text, size_t len)
{
    struct auth_token *known = NULL;
    if (len < TAIL)
        return NULL;
    pthread_mutex_lock(&a->lock);
    struct auth_token *t = *slot_of(a, text, len);
    if (t && same(t, text, len)) {
        known = t;
        t->refs++;
    }
    pthread_mutex_unlock(&a->lock);
    return known;
}

void auth_token_remember(struct neap_auth *a, struct auth_token *t)
{
    pthread_mutex_lock(&a->lock);
    struct auth_token **slot = slot_of(a, t->text, t->len);
    release(*slot);
    *slot = t;
    t->refs++;
    pthread_mutex_unlock(&a->lock);
}

void auth_tokens_free(struct neap_auth *a)
{
    for (unsigned i = 0; i < AUTH_TOKENS; i++)
        release(a->tokens[i]);
}
