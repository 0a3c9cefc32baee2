/* Open-addressing hash map: see neap/map.h. The hash is keyed by a
 * per-process seed so that hostile keys cannot be made to collide; a wyhash-style mixer is enough since
 * the seed never leaves the process. */
#include <neap/map.h>

#include <neap/clock.h>
#include <pthread.h>

struct neap_map_slot {
    char *key; /* NULL: free; TOMB: deleted */
    size_t len;
    uint64_t hash;
    void *value;
};

static char tomb_key;
#define TOMB (&tomb_key)

static uint64_t seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
    seed = neap_rand_u64(&neap_rand_system) | 1;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t hash_key(const char *key, size_t len)
{
    pthread_once(&seed_once, make_seed);
    uint64_t h = seed ^ (len * 0x9e3779b97f4a7c15u);
    while (len >= 8) {
        uint64_t w;
        memcpy(&w, key, 8);
        h = mix(h ^ w, 0xa0761d6478bd642fu ^ seed);
        key += 8;
        len -= 8;
    }
    uint64_t tail = 0;
    memcpy(&tail, key, len);
    return mix(h ^ tail, 0xe7037ed1a0b428dbu ^ seed) | 1;
}

static struct neap_map_slot *find(const struct neap_map *m, const char *key, size_t len,
                                  uint64_t hash)
{
    if (!m->cap)
        return NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct neap_map_slot *s = &m->slots[i];
        if (!s->key)
            return NULL;
        if (s->key != TOMB && s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0)
            return s;
    }
}

static void place(struct neap_map *m, struct neap_map_slot slot)
{
    size_t i = slot.hash & (m->cap - 1);
    while (m->slots[i].key)
        i = (i + 1) & (m->cap - 1);
    m->slots[i] = slot;
}

static void rehash(struct neap_map *m)
{
    struct neap_map old = *m;
    m->cap = 16;
    while (m->cap < (old.count + 1) * 2)
        m->cap *= 2;
    m->slots = neap_calloc(m->cap, sizeof(*m->slots));
    m->tombs = 0;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].key && old.slots[i].key != TOMB)
            place(m, old.slots[i]);
    free(old.slots);
}

void *neap_map_getn(const struct neap_map *m, const char *key, size_t len)
{
    struct neap_map_slot *s = m->cap ? find(m, key, len, hash_key(key, len)) : NULL;
    return s ? s->value : NULL;
}

void *neap_map_get(const struct neap_map *m, const char *key)
{
    return neap_map_getn(m, key, strlen(key));
}

void *neap_map_setn(struct neap_map *m, const char *key, size_t len, void *value)
{
    uint64_t hash = hash_key(key, len);
    struct neap_map_slot *s = find(m, key, len, hash);
    if (s) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    if ((m->count + m->tombs + 1) * 4 > m->cap * 3)
        rehash(m);
    char *copy = neap_malloc(len + 1);
    memcpy(copy, key, len);
    copy[len] = '\0';
    place(m, (struct neap_map_slot){copy, len, hash, value});
    m->count++;
    return NULL;
}

void *neap_map_set(struct neap_map *m, const char *key, void *value)
{
    return neap_map_setn(m, key, strlen(key), value);
}

void *neap_map_deln(struct neap_map *m, const char *key, size_t len)
{
    struct neap_map_slot *s = m->cap ? find(m, key, len, hash_key(key, len)) : NULL;
    if (!s)
        return NULL;
    void *old = s->value;
    free(s->key);
    *s = (struct neap_map_slot){.key = TOMB};
    m->count--;
    m->tombs++;
    return old;
}

void *neap_map_del(struct neap_map *m, const char *key)
{
    return neap_map_deln(m, key, strlen(key));
}

bool neap_map_next(const struct neap_map *m, size_t *it, const char **ret_key, void **ret_value)
{
    while (*it < m->cap) {
        struct neap_map_slot *s = &m->slots[(*it)++];
        if (!s->key || s->key == TOMB)
            continue;
        if (ret_key)
            *ret_key = s->key;
        if (ret_value)
            *ret_value = s->value;
        return true;
    }
    return false;
}

void neap_map_done(struct neap_map *m, void (*free_value)(void *))
{
    for (size_t i = 0; i < m->cap; i++) {
        struct neap_map_slot *s = &m->slots[i];
        if (!s->key || s->key == TOMB)
            continue;
        free(s->key);
        if (free_value)
            free_value(s->value);
    }
    free(m->slots);
    *m = (struct neap_map)NEAP_MAP_INIT;
}
