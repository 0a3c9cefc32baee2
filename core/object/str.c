/* Counted strings and the process-wide intern table: see head.h. Pods of one workload share their
 * label texts, and a selector compares pointers instead of bytes. The table is split into shards, each
 * with a lock of its own; a count reaches zero only under its shard's lock, so that whoever finds a
 * string in the table finds it alive. */
#include "core/object/head.h"

#include <pthread.h>

enum { SHARDS = 64 };

struct shard {
    pthread_mutex_t lock;
    struct neap_str **buckets;
    uint32_t mask; /* buckets - 1 */
    uint32_t count;
};

static struct shard shards[SHARDS] = {[0 ... SHARDS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

/* Label texts are chosen by clients: the hash is seeded by where the kernel put us. */
static uint32_t hash_text(const char *s, size_t len)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)&shards ^ len;
    while (len >= 8) {
        uint64_t w;
        memcpy(&w, s, 8);
        __uint128_t m = (__uint128_t)(h ^ w) * 0xa0761d6478bd642fu;
        h = (uint64_t)m ^ (uint64_t)(m >> 64);
        s += 8;
        len -= 8;
    }
    uint64_t tail = 0;
    memcpy(&tail, s, len);
    __uint128_t m = (__uint128_t)(h ^ tail) * 0xe7037ed1a0b428dbu;
    h = (uint64_t)m ^ (uint64_t)(m >> 64);
    return (uint32_t)(h ^ (h >> 32));
}

static struct shard *shard_of(uint32_t hash)
{
    return &shards[hash % SHARDS];
}

static struct neap_str **bucket_of(struct shard *sh, uint32_t hash)
{
    return &sh->buckets[(hash / SHARDS) & sh->mask];
}

static void grow(struct shard *sh)
{
    struct shard old = *sh;
    uint32_t old_size = old.buckets ? old.mask + 1 : 0;
    sh->mask = old_size ? old_size * 2 - 1 : 15;
    sh->buckets = neap_calloc((size_t)sh->mask + 1, sizeof(struct neap_str *));
    for (uint32_t i = 0; i < old_size; i++) {
        struct neap_str *next;
        for (struct neap_str *s = old.buckets[i]; s; s = next) {
            next = s->next;
            struct neap_str **b = bucket_of(sh, s->hash);
            s->next = *b;
            *b = s;
        }
    }
    free(old.buckets);
}

static struct neap_str *make(const char *s, size_t len, uint32_t hash, bool interned)
{
    struct neap_str *n = neap_malloc(sizeof(*n) + len + 1);
    atomic_init(&n->refs, 1);
    n->len = (uint32_t)len;
    n->hash = hash;
    n->interned = interned;
    n->next = NULL;
    memcpy(n->s, s, len);
    n->s[len] = '\0';
    return n;
}

struct neap_str *neap_str_new(const char *s, size_t len)
{
    return make(s, len, 0, false);
}

struct neap_str *neap_str_intern(const char *s, size_t len)
{
    uint32_t hash = hash_text(s, len);
    struct shard *sh = shard_of(hash);
    pthread_mutex_lock(&sh->lock);
    if (!sh->buckets || sh->count > sh->mask)
        grow(sh);
    struct neap_str **b = bucket_of(sh, hash), *n = *b;
    while (n && (n->hash != hash || n->len != len || memcmp(n->s, s, len) != 0))
        n = n->next;
    if (n) {
        atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    } else {
        n = make(s, len, hash, true);
        n->next = *b;
        *b = n;
        sh->count++;
    }
    pthread_mutex_unlock(&sh->lock);
    return n;
}

struct neap_str *neap_str_ref(struct neap_str *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

static void drop_last(struct neap_str *s)
{
    struct shard *sh = shard_of(s->hash);
    pthread_mutex_lock(&sh->lock);
    bool gone = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1;
    if (gone) {
        struct neap_str **b = bucket_of(sh, s->hash);
        while (*b != s)
            b = &(*b)->next;
        *b = s->next;
        sh->count--;
        if (!sh->count) { /* nothing is kept for nobody */
            free(sh->buckets);
            sh->buckets = NULL;
            sh->mask = 0;
        }
    }
    pthread_mutex_unlock(&sh->lock);
    if (gone)
        free(s);
}

struct neap_str *neap_str_unref(struct neap_str *s)
{
    if (!s)
        return NULL;
    if (!s->interned) {
        if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
            free(s);
        return NULL;
    }
    uint32_t n = atomic_load_explicit(&s->refs, memory_order_relaxed);
    while (n > 1)
        if (atomic_compare_exchange_weak_explicit(&s->refs, &n, n - 1, memory_order_release,
                                                  memory_order_relaxed))
            return NULL;
    drop_last(s);
    return NULL;
}

size_t neap_str_interned_count(void)
{
    size_t n = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&shards[i].lock);
        n += shards[i].count;
        pthread_mutex_unlock(&shards[i].lock);
    }
    return n;
}
