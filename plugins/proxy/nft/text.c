/* The table in nft's own language. */
#include "nft.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const nft_map_names[NFT_MAPS] = {"cnt4", "eps4", "np4", "npe4", "hair4", "dead4"};

struct out {
    char *p;
    size_t len, cap;
};

__attribute__((format(printf, 2, 3))) static void put(struct out *o, const char *fmt, ...)
{
    va_list ap;
    for (;;) {
        va_start(ap, fmt);
        int n = vsnprintf(o->p + o->len, o->cap - o->len, fmt, ap);
        va_end(ap);
        if (n < 0)
            abort();
        if (o->len + (size_t)n < o->cap) {
            o->len += (size_t)n;
            return;
        }
        o->cap = (o->cap + (size_t)n + 1) * 2;
        o->p = realloc(o->p, o->cap);
        if (!o->p)
            abort();
    }
}

static struct out out_new(void)
{
    struct out o = {.cap = 4096};
    o.p = malloc(o.cap);
    if (!o.p)
        abort();
    o.p[0] = 0;
    return o;
}

/* ---- chains */
static const struct {
    char letter;
    bool by_address; /* key ip daddr . l4proto . dport, else l4proto . dport */
    uint32_t mark;
} families[] = {
    [NFT_F_CLUSTER] = {'n', true, NFT_MARK_CLUSTER},
    [NFT_F_EXTERNAL] = {'x', true, NFT_MARK_MASQ},
    [NFT_F_EXTERNAL_LOCAL] = {'e', true, NFT_MARK_LOCAL},
    [NFT_F_PORT] = {'p', false, NFT_MARK_MASQ},
    [NFT_F_PORT_LOCAL] = {'l', false, NFT_MARK_LOCAL},
};
static const char client_key[] = "ip saddr . ip daddr . meta l4proto . th dport";

void nft_chain_name(struct nft_chain c, char ret[32])
{
    snprintf(ret, 32, "%c%u%s%.*s", families[c.family].letter, c.slots, c.affinity ? "a" : "",
             c.affinity ? 1 : 0, c.affinity ? &"0123"[c.affinity] : "");
}

static void chain_body(struct out *o, struct nft_chain c, const char *before)
{
    const char *key = families[c.family].by_address ? "ip daddr . meta l4proto . th dport"
                                                    : "meta l4proto . th dport";
    char dnat[160], remember[160] = "";
    snprintf(dnat, sizeof dnat, "dnat ip to %s . meta mark map @%s", key,
             families[c.family].by_address ? "eps4" : "npe4");
    if (c.affinity) {
        snprintf(remember, sizeof remember, "update @aff4 { %s timeout %us : meta mark }",
                 client_key, nft_affinity_seconds[c.affinity - 1]);
        put(o, "%smeta mark set %s map @aff4\n", before, client_key);
        put(o, "%smeta mark & 0xfff00000 != 0 %s\n", before, remember);
        put(o, "%smeta mark & 0xfff00000 != 0 %s\n", before, dnat);
    }
    put(o, "%smeta mark set numgen random mod %u offset %u\n", before, c.slots,
        families[c.family].mark);
    if (c.affinity)
        put(o, "%s%s\n", before, remember);
    put(o, "%s%s\n", before, dnat);
}

/* ---- elements */
static void address(struct out *o, uint32_t a)
{
    put(o, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
}

static void element(struct out *o, const struct nft_element *e, bool data)
{
    char chain[32];
    if (e->map == NFT_CNT || e->map == NFT_EPS || e->map == NFT_DEAD || e->map == NFT_HAIR)
        address(o, e->address);
    if (e->map == NFT_HAIR) {
        put(o, " . ");
        address(o, e->address2);
        return;
    }
    put(o, "%s%u . %u", e->map == NFT_NP || e->map == NFT_NPE ? "" : " . ", e->protocol, e->port);
    if (e->map == NFT_EPS || e->map == NFT_NPE)
        put(o, " . %u", e->mark);
    if (!data || e->map == NFT_DEAD)
        return;
    put(o, " : ");
    if (e->map == NFT_CNT || e->map == NFT_NP) {
        nft_chain_name(e->chain, chain);
        put(o, "goto %s", chain);
    } else {
        address(o, e->to);
        put(o, " . %u", e->to_port);
    }
}

static void map_elements(struct out *o, struct nft_state *s, int map)
{
    bool any = false;
    for (size_t i = 0; i < s->bucket_count; i++) {
        for (struct nft_element *e = s->buckets[i]; e; e = e->next) {
            if (e->map != map)
                continue;
            put(o, any ? ",\n" : "elements = {\n");
            element(o, e, true);
            any = true;
        }
    }
    put(o, any ? "\n}\n}\n" : "}\n");
}

static void list(struct out *o, char *const *items, unsigned n)
{
    put(o, "{ ");
    for (unsigned i = 0; i < n; i++)
        put(o, "%s%s", i ? ", " : "", items[i]);
    put(o, " }");
}

/* ---- the whole table */
static const char *const map_types[NFT_MAPS] = {
    "map cnt4 {\ntype ipv4_addr . inet_proto . inet_service : verdict\n",
    "map eps4 {\ntype ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service\n",
    "map np4 {\ntype inet_proto . inet_service : verdict\n",
    "map npe4 {\ntype inet_proto . inet_service . mark : ipv4_addr . inet_service\n",
    "set hair4 {\ntype ipv4_addr . ipv4_addr\n",
    "set dead4 {\ntype ipv4_addr . inet_proto . inet_service\n",
};
static const char base_chains[] =
    "chain services {\n"
    "meta l4proto { tcp, udp, sctp } ip daddr . meta l4proto . th dport vmap @cnt4\n"
    /* node ports; host ports, which are any, also at 127.0.0.1 */
    "meta l4proto { tcp, udp, sctp } ip daddr 127.0.0.0/8 th dport %s return\n"
    "meta l4proto { tcp, udp, sctp } fib daddr type local meta l4proto . th dport vmap @np4\n"
    "}\n"
    "chain prerouting { type nat hook prerouting priority -100; jump services; }\n"
    "chain output { type nat hook output priority -100; jump services; }\n"
    "chain refuse {\nmeta l4proto tcp reject with tcp reset\nreject with icmpx "
    "port-unreachable\n}\n"
    /* before routing: there may be no way to such an address at all */
    "chain arriving { type filter hook prerouting priority -110;\n"
    /* pods' devices route 127.0.0.0/8 for the answers of host ports: nobody else may come that way */
    "iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n"
    "meta l4proto { tcp, udp, sctp } ip daddr . meta l4proto . th dport @dead4 jump refuse\n}\n"
    "chain leaving { type filter hook output priority -110;\n"
    "meta l4proto { tcp, udp, sctp } ip daddr . meta l4proto . th dport @dead4 jump refuse\n}\n";

static void postrouting(struct out *o, const struct nft_ranges *r)
{
    put(o, "chain postrouting { type nat hook postrouting priority 100;\n"
           "ct status dnat ip saddr . ip daddr @hair4 masquerade\n");
    put(o, "ct status dnat meta mark & 0xfff40000 == 0x%x masquerade\n", NFT_MARK_MASQ);
    put(o, "ct status dnat ip saddr 127.0.0.0/8 masquerade\n"); /* of a host port at 127.0.0.1 */
    if (r->pod_count) {
        put(o, "ct status dnat meta mark & 0xfff40000 == 0x%x ip saddr != ", NFT_MARK_CLUSTER);
        list(o, r->pods, r->pod_count);
        put(o, " masquerade\nip saddr ");
        list(o, r->pods, r->pod_count);
        put(o, " ip daddr != ");
        list(o, r->pods, r->pod_count);
        put(o, " masquerade\n");
    }
    put(o, "}\n");
}

char *nft_text_load(struct nft_state *s, const char *table, const struct nft_ranges *r)
{
    struct out o = out_new();
    char name[32];
    put(&o, "add table inet %s\ndelete table inet %s\ntable inet %s {\n", table, table, table);
    put(&o, "map aff4 {\ntype ipv4_addr . ipv4_addr . inet_proto . inet_service : mark\n"
            "flags dynamic, timeout\nsize 65535\n}\n");
    for (int m = 0; m < NFT_MAPS; m++) {
        put(&o, "%s", map_types[m]);
        map_elements(&o, s, m);
    }
    for (unsigned f = 0; f < 5; f++)
        for (unsigned a = 0; a <= NFT_AFFINITIES; a++)
            for (unsigned n = 1; n <= NFT_SLOTS_MAX; n++)
                if (s->known[f][a][n / 8] & (1u << (n % 8))) {
                    struct nft_chain c = {(uint8_t)f, (uint8_t)a, (uint16_t)n};
                    nft_chain_name(c, name);
                    put(&o, "chain %s {\n", name);
                    chain_body(&o, c, "");
                    put(&o, "}\n");
                }
    put(&o, base_chains, r->node_ports);
    put(&o, "chain input_filter { type filter hook input priority 0;\n");
    if (r->service_count) {
        /* answers to our own calls come to such an address too: it was their source */
        put(&o, "ct direction original ip daddr ");
        list(&o, (char *const *)r->services, r->service_count);
        put(&o, " jump refuse\n");
    }
    put(&o, "}\n");
    postrouting(&o, r);
    put(&o, "}\n");
    return o.p;
}

char *nft_text_delta(const struct nft_delta *d, const char *table)
{
    struct out o = out_new();
    char name[32], before[96];
    for (size_t i = 0; i < d->chain_count; i++) {
        nft_chain_name(d->chains[i], name);
        put(&o, "add chain inet %s %s\n", table, name);
        snprintf(before, sizeof before, "add rule inet %s %s ", table, name);
        chain_body(&o, d->chains[i], before);
    }
    for (size_t i = 0; i < d->del_count; i++) {
        put(&o, "delete element inet %s %s { ", table, nft_map_names[d->del[i].map]);
        element(&o, &d->del[i], false);
        put(&o, " }\n");
    }
    for (size_t i = 0; i < d->add_count; i++) {
        put(&o, "add element inet %s %s { ", table, nft_map_names[d->add[i].map]);
        element(&o, &d->add[i], true);
        put(&o, " }\n");
    }
    return o.p;
}

char *nft_text_delete(const char *table)
{
    struct out o = out_new();
    put(&o, "add table inet %s\ndelete table inet %s\n", table, table);
    return o.p;
}
