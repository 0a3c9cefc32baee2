/* The maps' content in memory: what a whole load writes, and from which a change is computed. One element,
 * one owner: a second service that wants the same key is refused there and counted, and never spoils
 * the load of all the others. */
#include "nft.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

const unsigned nft_affinity_seconds[NFT_AFFINITIES] = {600, 10800, 86400};

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

void nft_state_init(struct nft_state *s)
{
    *s = (struct nft_state){.bucket_count = 1024, .service_buckets = 4096};
    s->buckets = must(calloc(s->bucket_count, sizeof *s->buckets));
    s->services = must(calloc(s->service_buckets, sizeof *s->services));
}

static void service_free(struct nft_service *v)
{
    free(v->key);
    free(v->keys);
    free(v->hair);
    free(v);
}

void nft_state_done(struct nft_state *s)
{
    for (size_t i = 0; i < s->bucket_count; i++) {
        while (s->buckets[i]) {
            struct nft_element *e = s->buckets[i];
            s->buckets[i] = e->next;
            free(e);
        }
    }
    for (size_t i = 0; i < s->service_buckets; i++) {
        while (s->services[i]) {
            struct nft_service *v = s->services[i];
            s->services[i] = v->next;
            service_free(v);
        }
    }
    free(s->buckets);
    free(s->services);
    *s = (struct nft_state){0};
}

/* ---- hashing */
static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 29);
}

static uint64_t mix_address(uint64_t h, const struct nft_address *a)
{
    h = mix(h, (uint64_t)a->words[0] << 32 | a->words[1]);
    return a->words[2] | a->words[3] ? mix(h, (uint64_t)a->words[2] << 32 | a->words[3]) : h;
}

static size_t hash(const struct nft_element *e)
{
    uint64_t h = mix_address((uint64_t)e->map << 1 | e->v6, &e->address);
    return (size_t)mix(h, (uint64_t)e->mark << 32 | (uint64_t)e->protocol << 16 | e->port);
}

static bool same_address(const struct nft_address *a, const struct nft_address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static bool same_key(const struct nft_element *a, const struct nft_element *b)
{
    return a->map == b->map && a->v6 == b->v6 && same_address(&a->address, &b->address) &&
           a->mark == b->mark && a->protocol == b->protocol && a->port == b->port;
}

static bool same_data(const struct nft_element *a, const struct nft_element *b)
{
    return a->chain.family == b->chain.family && a->chain.affinity == b->chain.affinity &&
           a->chain.slots == b->chain.slots && same_address(&a->to, &b->to) &&
           a->to_port == b->to_port;
}

static struct nft_element **find(struct nft_state *s, const struct nft_element *e)
{
    struct nft_element **at = &s->buckets[hash(e) % s->bucket_count];
    while (*at && !same_key(*at, e))
        at = &(*at)->next;
    return at;
}

static void grow(struct nft_state *s)
{
    if (s->element_count < s->bucket_count * 2)
        return;
    size_t n = s->bucket_count * 4;
    struct nft_element **b = must(calloc(n, sizeof *b));
    for (size_t i = 0; i < s->bucket_count; i++) {
        while (s->buckets[i]) {
            struct nft_element *e = s->buckets[i];
            s->buckets[i] = e->next;
            e->next = b[hash(e) % n];
            b[hash(e) % n] = e;
        }
    }
    free(s->buckets);
    s->buckets = b;
    s->bucket_count = n;
}

static struct nft_service **service_at(struct nft_state *s, const char *key)
{
    uint64_t h = 1;
    for (const char *p = key; *p; p++)
        h = mix(h, (unsigned char)*p);
    struct nft_service **at = &s->services[h % s->service_buckets];
    while (*at && strcmp((*at)->key, key))
        at = &(*at)->next;
    return at;
}

/* ---- deltas */
static void push(struct nft_element **list, size_t *n, const struct nft_element *e)
{
    if ((*n & (*n - 1)) == 0) /* room for the next power of two */
        *list = must(realloc(*list, (*n ? *n * 2 : 1) * sizeof **list));
    (*list)[(*n)++] = *e;
}

void nft_delta_done(struct nft_delta *d)
{
    free(d->del);
    free(d->add);
    free(d->chains);
    *d = (struct nft_delta){0};
}

void nft_state_chains_forget(struct nft_state *s)
{
    memset(s->known, 0, sizeof s->known);
}

static void need_chain(struct nft_state *s, struct nft_chain c, struct nft_delta *d)
{
    uint8_t *byte = &s->known[c.v6][c.family][c.affinity][c.slots / 8];
    if (*byte & (1u << (c.slots % 8)))
        return;
    *byte |= (uint8_t)(1u << (c.slots % 8));
    d->chains = must(realloc(d->chains, (d->chain_count + 1) * sizeof *d->chains));
    d->chains[d->chain_count++] = c;
}

/* Wants <e> for <owner> (NULL: counted). */
static void want(struct nft_state *s, struct nft_element e, struct nft_service *owner,
                 struct nft_delta *d)
{
    struct nft_element **at = find(s, &e), *old = *at;
    if (old && owner && old->owner != owner) {
        s->conflicts++;
        return;
    }
    if (e.map == NFT_CNT || e.map == NFT_NP)
        need_chain(s, e.chain, d);
    if (old && !owner) {
        old->refs++;
        return;
    }
    if (owner)
        push(&owner->keys, &owner->key_count, &e);
    if (old) {
        old->stale = false;
        if (same_data(old, &e))
            return;
        push(&d->del, &d->del_count, old);
        old->chain = e.chain;
        old->to = e.to;
        old->to_port = e.to_port;
        push(&d->add, &d->add_count, old);
        return;
    }
    struct nft_element *n = must(malloc(sizeof *n));
    *n = e;
    n->owner = owner;
    n->refs = 1;
    n->next = NULL;
    *at = n;
    push(&d->add, &d->add_count, n);
    s->element_count++;
    grow(s);
}

static void drop_at(struct nft_state *s, struct nft_element **at, struct nft_delta *d)
{
    struct nft_element *e = *at;
    push(&d->del, &d->del_count, e);
    *at = e->next;
    free(e);
    s->element_count--;
}

static struct nft_element hair_element(const struct nft_target *h)
{
    return (struct nft_element){.map = NFT_HAIR, .v6 = h->v6, .address = h->address};
}

static void unref_hair(struct nft_state *s, const struct nft_target *h, struct nft_delta *d)
{
    struct nft_element e = hair_element(h);
    struct nft_element **at = find(s, &e);
    if (*at && --(*at)->refs == 0)
        drop_at(s, at, d);
}

/* ---- one service */
struct build {
    struct nft_state *s;
    struct nft_service *owner;
    const struct neap_proxy_service *v;
    struct nft_delta *d;
    uint8_t affinity;
};

bool nft_address_parse(const char *text, struct nft_address *ret, bool *ret_v6)
{
    *ret = (struct nft_address){{0}};
    *ret_v6 = text && strchr(text, ':');
    return text && inet_pton(*ret_v6 ? AF_INET6 : AF_INET, text, ret->words) == 1;
}

/* Exact up to NFT_EXACT, then the next power of two, filled cyclically (at most 1 in 32 off). */
static uint16_t slots_for(size_t n)
{
    size_t slots = NFT_EXACT;
    if (n <= NFT_EXACT)
        return (uint16_t)n;
    while (slots < n * 4 && slots < NFT_SLOTS_MAX)
        slots *= 2;
    return (uint16_t)slots;
}

/* Endpoints of this family that count for this policy; returns how many. */
static size_t choose(const struct neap_proxy_service *v, bool local, bool want_v6,
                     struct nft_address *to, uint16_t *port)
{
    size_t n = 0;
    for (size_t i = 0; i < v->endpoint_count && n < NFT_SLOTS_MAX; i++) {
        bool v6;
        if ((local && !v->endpoints[i].local) ||
            !nft_address_parse(v->endpoints[i].address, &to[n], &v6) || v6 != want_v6)
            continue;
        port[n++] = v->endpoints[i].port;
    }
    return n;
}

static const struct {
    uint8_t entry, endpoints;
    uint32_t mark;
} families[] = {
    [NFT_F_CLUSTER] = {NFT_CNT, NFT_EPS, NFT_MARK_CLUSTER},
    [NFT_F_EXTERNAL] = {NFT_CNT, NFT_EPS, NFT_MARK_MASQ},
    [NFT_F_EXTERNAL_LOCAL] = {NFT_CNT, NFT_EPS, NFT_MARK_LOCAL},
    [NFT_F_PORT] = {NFT_NP, NFT_NPE, NFT_MARK_MASQ},
    [NFT_F_PORT_LOCAL] = {NFT_NP, NFT_NPE, NFT_MARK_LOCAL},
};

static void add_target(struct build *b, enum nft_family family, const struct nft_target *address,
                       uint16_t port, bool local)
{
    struct nft_address to[NFT_SLOTS_MAX];
    uint16_t to_port[NFT_SLOTS_MAX];
    size_t n = choose(b->v, local, address->v6, to, to_port);
    struct nft_element key = {.v6 = address->v6,
                              .address = address->address,
                              .protocol = b->v->port.protocol,
                              .port = port};
    if (!n) {
        key.map = NFT_DEAD;
        /* cluster addresses without endpoints are refused where they arrive: in input */
        if (family == NFT_F_EXTERNAL || family == NFT_F_EXTERNAL_LOCAL)
            want(b->s, key, b->owner, b->d);
        return;
    }
    uint16_t slots = slots_for(n);
    key.map = families[family].entry;
    key.chain =
        (struct nft_chain){.family = family, .v6 = key.v6, .affinity = b->affinity, .slots = slots};
    struct nft_element entry = key;
    key.map = families[family].endpoints;
    key.chain = (struct nft_chain){0};
    for (uint16_t i = 0; i < slots; i++) {
        key.mark = families[family].mark + i;
        key.to = to[i % n];
        key.to_port = to_port[i % n];
        want(b->s, key, b->owner, b->d);
    }
    want(b->s, entry, b->owner, b->d);
}

static uint8_t affinity_class(int64_t seconds)
{
    uint8_t c = 1;
    if (seconds <= 0)
        return 0;
    while (c < NFT_AFFINITIES && nft_affinity_seconds[c - 1] < seconds)
        c++;
    return c;
}

static void build(struct build *b)
{
    const struct neap_proxy_service *v = b->v;
    struct nft_target a = {0};
    b->affinity = affinity_class(v->affinity_timeout_s);
    for (const char *const *p = v->cluster_ips; p && *p; p++)
        if (nft_address_parse(*p, &a.address, &a.v6))
            add_target(b, NFT_F_CLUSTER, &a, v->port.port, v->internal_local);
    for (const char *const *p = v->external_ips; p && *p; p++)
        if (nft_address_parse(*p, &a.address, &a.v6))
            add_target(b, v->external_local ? NFT_F_EXTERNAL_LOCAL : NFT_F_EXTERNAL, &a,
                       v->port.port, v->external_local);
    for (int v6 = 0; v6 < 2 && v->port.node_port; v6++) {
        a = (struct nft_target){.v6 = v6};
        add_target(b, v->external_local ? NFT_F_PORT_LOCAL : NFT_F_PORT, &a, v->port.node_port,
                   v->external_local);
    }
    b->owner->hair = must(calloc(v->endpoint_count + 1, sizeof a));
    for (size_t i = 0; i < v->endpoint_count; i++) {
        if (!v->endpoints[i].local ||
            !nft_address_parse(v->endpoints[i].address, &a.address, &a.v6))
            continue;
        b->owner->hair[b->owner->hair_count++] = a;
        want(b->s, hair_element(&a), NULL, b->d);
    }
}

static void mark_stale(struct nft_state *s, struct nft_service *v)
{
    for (size_t i = 0; i < v->key_count; i++) {
        struct nft_element *e = *find(s, &v->keys[i]);
        if (e && e->owner == v)
            e->stale = true;
    }
}

static void drop_stale(struct nft_state *s, const struct nft_service *owner,
                       const struct nft_element *keys, size_t n, struct nft_delta *d)
{
    for (size_t i = 0; i < n; i++) {
        struct nft_element **at = find(s, &keys[i]);
        if (*at && (*at)->owner == owner && (*at)->stale)
            drop_at(s, at, d);
    }
}

void nft_state_set(struct nft_state *s, const struct neap_proxy_service *service,
                   struct nft_delta *d)
{
    struct nft_service **at = service_at(s, service->key), *v = *at;
    if (!v) {
        v = *at = must(calloc(1, sizeof *v));
        v->key = must(strdup(service->key));
        s->service_count++;
    }
    mark_stale(s, v);
    struct nft_element *keys = v->keys;
    struct nft_target *hair = v->hair;
    size_t key_count = v->key_count, hair_count = v->hair_count;
    v->keys = NULL;
    v->hair = NULL;
    v->key_count = v->hair_count = 0;
    struct build b = {.s = s, .owner = v, .v = service, .d = d};
    build(&b);
    drop_stale(s, v, keys, key_count, d);
    for (size_t i = 0; i < hair_count; i++)
        unref_hair(s, &hair[i], d);
    free(keys);
    free(hair);
}

void nft_state_remove(struct nft_state *s, const char *key, struct nft_delta *d)
{
    struct nft_service **at = service_at(s, key), *v = *at;
    if (!v)
        return;
    mark_stale(s, v);
    drop_stale(s, v, v->keys, v->key_count, d);
    for (size_t i = 0; i < v->hair_count; i++)
        unref_hair(s, &v->hair[i], d);
    *at = v->next;
    service_free(v);
    s->service_count--;
}
