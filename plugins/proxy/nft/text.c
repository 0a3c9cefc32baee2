/* The table in nft's own language. */
#include "nft.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH "jhash ip6 saddr . ip6 daddr mod 4294967295 seed 0x6e656170"

/* What differs between the families. IPv6: nft (1.0.6) has room for 16 bytes of key when a rule writes a map's
 * element, so that client and address are in it as their hash: two clients may share their endpoint. */
static const struct {
    const char *ip, *type, *digit, *loopback, *client, *client_type;
} versions[2] = {{"ip", "ipv4_addr", "4",
                  /* no node ports there; host ports, which are any, there too */
                  "meta l4proto { tcp, udp, sctp } ip daddr 127.0.0.0/8 th dport $P",
                  "ip saddr . ip daddr . meta l4proto . th dport",
                  "type ipv4_addr . ipv4_addr . inet_proto . inet_service : mark"},
                 {"ip6", "ipv6_addr", "6",
                  /* the kernel lets no packet from ::1 leave by another device */
                  "ip6 daddr ::1", "meta l4proto . th dport . " HASH,
                  "typeof meta l4proto . th dport . " HASH " : meta mark"}};

const char *nft_map_name(const struct nft_element *e)
{
    static const char *const names[2][NFT_MAPS] = {
        {"cnt4", "eps4", "np4", "npe4", "hair4", "dead4"},
        {"cnt6", "eps6", "np6", "npe6", "hair6", "dead6"}};
    return names[e->v6][e->map];
}

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

void nft_chain_name(struct nft_chain c, char ret[32])
{
    snprintf(ret, 32, "%c%u%s%.*s%s", families[c.family].letter, c.slots, c.affinity ? "a" : "",
             c.affinity ? 1 : 0, c.affinity ? &"0123"[c.affinity] : "", c.v6 ? "v6" : "");
}

static void chain_body(struct out *o, struct nft_chain c, const char *before)
{
    const char *ip = versions[c.v6].ip, *digit = versions[c.v6].digit;
    bool by_address = families[c.family].by_address;
    const char *client = versions[c.v6].client;
    char dnat[160], remember[200] = "";
    snprintf(dnat, sizeof dnat, "dnat %s to %s%smeta l4proto . th dport . meta mark map @%s%s", ip,
             by_address ? ip : "", by_address ? " daddr . " : "", by_address ? "eps" : "npe",
             digit);
    if (c.affinity) {
        snprintf(remember, sizeof remember, "update @aff%s { %s timeout %us : meta mark }", digit,
                 client, nft_affinity_seconds[c.affinity - 1]);
        put(o, "%smeta mark set %s map @aff%s\n", before, client, digit);
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
static void address(struct out *o, const struct nft_address *a, bool v6)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(v6 ? AF_INET6 : AF_INET, a->words, text, sizeof text);
    put(o, "%s", text);
}

static void element(struct out *o, const struct nft_element *e, bool data)
{
    char chain[32];
    if (e->map == NFT_CNT || e->map == NFT_EPS || e->map == NFT_DEAD || e->map == NFT_HAIR)
        address(o, &e->address, e->v6);
    if (e->map == NFT_HAIR) {
        put(o, " . ");
        address(o, &e->address, e->v6);
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
        address(o, &e->to, e->v6);
        put(o, " . %u", e->to_port);
    }
}

static void map_elements(struct out *o, struct nft_state *s, int map, bool v6)
{
    bool any = false;
    for (size_t i = 0; i < s->bucket_count; i++) {
        for (struct nft_element *e = s->buckets[i]; e; e = e->next) {
            if (e->map != map || e->v6 != v6)
                continue;
            put(o, any ? ",\n" : "elements = {\n");
            element(o, e, true);
            any = true;
        }
    }
    put(o, any ? "\n}\n}\n" : "}\n");
}

/* Those of one family, as a set; false: there are none. */
static bool list(struct out *o, const char *before, char *const *items, unsigned n, bool v6)
{
    bool any = false;
    for (unsigned i = 0; i < n; i++) {
        if ((strchr(items[i], ':') != NULL) != v6)
            continue;
        put(o, "%s%s", any ? ", " : before, items[i]);
        any = true;
    }
    if (any)
        put(o, " }");
    return any;
}

/* ---- the whole table. In these texts $I is ip or ip6, $A the type of an address, $V 4 or 6,
 * $L what at loopback addresses is left alone, $C the type of a client, $P the node ports. */
static void expand(struct out *o, const char *text, bool v6, const char *node_ports)
{
    for (const char *p = text, *dollar; *p; p = dollar + 2) {
        dollar = strchrnul(p, '$');
        put(o, "%.*s", (int)(dollar - p), p);
        if (!*dollar)
            return;
        if (dollar[1] == 'L') {
            expand(o, versions[v6].loopback, v6, node_ports);
            continue;
        }
        put(o, "%s",
            dollar[1] == 'I'   ? versions[v6].ip
            : dollar[1] == 'A' ? versions[v6].type
            : dollar[1] == 'V' ? versions[v6].digit
            : dollar[1] == 'C' ? versions[v6].client_type
                               : node_ports);
    }
}

static const char *const map_types[NFT_MAPS] = {
    "map cnt$V {\ntype $A . inet_proto . inet_service : verdict\n",
    "map eps$V {\ntype $A . inet_proto . inet_service . mark : $A . inet_service\n",
    "map np$V {\ntype inet_proto . inet_service : verdict\n",
    "map npe$V {\ntype inet_proto . inet_service . mark : $A . inet_service\n",
    "set hair$V {\ntype $A . $A\n",
    "set dead$V {\ntype $A . inet_proto . inet_service\n",
};
static const char affinity_type[] = "map aff$V {\n$C\nflags dynamic, timeout\nsize 65535\n}\n";
/* One family's: services, and what must not arrive or leave. */
static const char family_chains[] =
    "chain services$V {\n"
    "meta l4proto { tcp, udp, sctp } $I daddr . meta l4proto . th dport vmap @cnt$V\n"
    "$L return\n"
    "meta l4proto { tcp, udp, sctp } fib daddr type local meta l4proto . th dport vmap @np$V\n"
    "}\n"
    "chain refuse$V {\n"
    "meta l4proto { tcp, udp, sctp } $I daddr . meta l4proto . th dport @dead$V jump refuse\n}\n";
static const char base_chains[] =
    "chain services { meta nfproto vmap { ipv4 : jump services4, ipv6 : jump services6 }; }\n"
    "chain prerouting { type nat hook prerouting priority -100; jump services; }\n"
    "chain output { type nat hook output priority -100; jump services; }\n"
    /* before routing: there may be no way to such an address at all */
    "chain arriving { type filter hook prerouting priority -110;\n"
    /* pods' devices route 127.0.0.0/8 for the answers of host ports: nobody else may come that way */
    "iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n"
    "meta nfproto vmap { ipv4 : jump refuse4, ipv6 : jump refuse6 }\n}\n"
    "chain leaving { type filter hook output priority -110;\n"
    "meta nfproto vmap { ipv4 : jump refuse4, ipv6 : jump refuse6 }\n}\n";

static void masquerade(struct out *o, const struct nft_ranges *r, bool v6)
{
    const char *ip = versions[v6].ip;
    char from[128], to[32];
    snprintf(from, sizeof from, "%s saddr { ", ip);
    snprintf(to, sizeof to, " %s daddr != { ", ip);
    put(o, "ct status dnat %s saddr . %s daddr @hair%s masquerade\n", ip, ip, versions[v6].digit);
    if (!v6) /* of a host port at the loopback address */
        put(o, "ct status dnat ip saddr 127.0.0.0/8 masquerade\n");
    if (!list(o, from, r->pods, r->pod_count, v6))
        return;
    list(o, to, r->pods, r->pod_count, v6);
    put(o, " masquerade\n");
    snprintf(from, sizeof from, "ct status dnat meta mark & 0xfff40000 == 0x%x %s saddr != { ",
             NFT_MARK_CLUSTER, ip);
    list(o, from, r->pods, r->pod_count, v6);
    put(o, " masquerade\n");
}

static void maps(struct out *o, struct nft_state *s, bool v6)
{
    expand(o, affinity_type, v6, "");
    for (int m = 0; m < NFT_MAPS; m++) {
        expand(o, map_types[m], v6, "");
        map_elements(o, s, m, v6);
    }
}

static void chains(struct out *o, const struct nft_state *s, bool v6)
{
    char name[32];
    for (unsigned f = 0; f < 5; f++)
        for (unsigned a = 0; a <= NFT_AFFINITIES; a++)
            for (unsigned n = 1; n <= NFT_SLOTS_MAX; n++)
                if (s->known[v6][f][a][n / 8] & (1u << (n % 8))) {
                    struct nft_chain c = {.family = (uint8_t)f,
                                          .v6 = v6,
                                          .affinity = (uint8_t)a,
                                          .slots = (uint16_t)n};
                    nft_chain_name(c, name);
                    put(o, "chain %s {\n", name);
                    chain_body(o, c, "");
                    put(o, "}\n");
                }
}

char *nft_text_load(struct nft_state *s, const char *table, const struct nft_ranges *r)
{
    struct out o = out_new();
    put(&o, "add table inet %s\ndelete table inet %s\ntable inet %s {\n", table, table, table);
    put(&o, "chain refuse {\nmeta l4proto tcp reject with tcp reset\nreject with icmpx "
            "port-unreachable\n}\n");
    for (int v6 = 0; v6 < 2; v6++) {
        maps(&o, s, v6);
        chains(&o, s, v6);
        expand(&o, family_chains, v6, r->node_ports);
    }
    put(&o, "%s", base_chains);
    put(&o, "chain input_filter { type filter hook input priority 0;\n");
    for (int v6 = 0; v6 < 2; v6++)
        /* answers to our own calls come to such an address too: it was their source */
        if (list(&o,
                 v6 ? "ct direction original ip6 daddr { " : "ct direction original ip daddr { ",
                 r->services, r->service_count, v6))
            put(&o, " jump refuse\n");
    put(&o,
        "}\nchain postrouting { type nat hook postrouting priority 100;\n"
        "ct status dnat meta mark & 0xfff40000 == 0x%x masquerade\n",
        NFT_MARK_MASQ);
    for (int v6 = 0; v6 < 2; v6++)
        masquerade(&o, r, v6);
    put(&o, "}\n}\n");
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
        put(&o, "delete element inet %s %s { ", table, nft_map_name(&d->del[i]));
        element(&o, &d->del[i], false);
        put(&o, " }\n");
    }
    for (size_t i = 0; i < d->add_count; i++) {
        put(&o, "add element inet %s %s { ", table, nft_map_name(&d->add[i]));
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
