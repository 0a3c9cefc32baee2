/* The parts of the nft proxy.
 *   state.c   what the maps hold: elements with owners; the difference that a change makes
 *   text.c    the table, its chains and elements as nft's language (whole loads)
 *   wire.c    elements by netlink (changes); the services' route
 *   nft.c     descriptor, options, the queue of operations */
#ifndef NFT_NFT_H
#define NFT_NFT_H

#include <neap/err.h> /* the codes only */
#include <neap/plugin/network.h>

#define NFT_SLOTS_MAX 1024 /* endpoints of one service port that take part */
#define NFT_EXACT     32   /* up to here every count has its own chain: exactly even */
#define NFT_DELTA_MAX 512  /* elements changed in process; more go through nft */
#define NFT_CIDRS_MAX 16

/* Marks of a new connection's first packet: its endpoint's slot, and what becomes of its source. */
#define NFT_MARK_CLUSTER 0x100000u /* masqueraded when it does not come from a pod */
#define NFT_MARK_MASQ    0x140000u /* always: the answer must come back through this node */
#define NFT_MARK_LOCAL   0x200000u /* never: externalTrafficPolicy Local keeps the client's address */

enum nft_map { NFT_CNT, NFT_EPS, NFT_NP, NFT_NPE, NFT_HAIR, NFT_DEAD, NFT_MAPS };

/* Chains: a family (what key, what mark), a number of slots, an affinity class. */
enum nft_family {
    NFT_F_CLUSTER,
    NFT_F_EXTERNAL,
    NFT_F_EXTERNAL_LOCAL,
    NFT_F_PORT,
    NFT_F_PORT_LOCAL
};
struct nft_chain {
    uint8_t family : 7;
    bool v6 : 1;      /* of the IPv6 maps */
    uint8_t affinity; /* 0: none, 1..NFT_AFFINITIES: a timeout class */
    uint16_t slots;
};
#define NFT_AFFINITIES 3
extern const unsigned nft_affinity_seconds[NFT_AFFINITIES];

/* Network order; IPv4: the first word, the others 0. */
struct nft_address {
    uint32_t words[4];
};

/* Each family has its own set of the maps, with chains of the same shape. */
struct nft_element {
    struct nft_element *next;   /* in its bucket */
    struct nft_address address; /* what the map's key has of it */
    struct nft_address to;      /* EPS, NPE */
    uint32_t mark;              /* host order */
    uint8_t map, protocol;
    uint16_t port, to_port;
    struct nft_chain chain; /* CNT, NP */
    bool v6;
    bool stale; /* while a service is replaced */
    unsigned refs;
    const struct nft_service *owner; /* HAIR: NULL, counted */
};

/* An address and its family. */
struct nft_target {
    struct nft_address address;
    bool v6;
};

struct nft_service {
    struct nft_service *next;
    char *key;
    struct nft_element *keys; /* its elements, by key */
    size_t key_count;
    struct nft_target *hair; /* its local endpoints, each counted once in the HAIR set */
    size_t hair_count;
};

/* What a change means for the kernel. Elements are copies. */
struct nft_delta {
    struct nft_element *del, *add;
    size_t del_count, add_count;
    struct nft_chain *chains; /* not seen before */
    size_t chain_count;
};

struct nft_state {
    struct nft_element **buckets;
    size_t bucket_count, element_count;
    struct nft_service **services;
    size_t service_buckets, service_count;
    uint8_t known[2][5][NFT_AFFINITIES + 1][NFT_SLOTS_MAX / 8 + 1]; /* chains that exist */
    unsigned conflicts; /* elements that two services wanted */
};

/* ---- state.c */
void nft_state_init(struct nft_state *s);
void nft_state_done(struct nft_state *s);
/* Adds or replaces. The delta is complete also when elements were refused (conflicts grows). */
void nft_state_set(struct nft_state *s, const struct neap_proxy_service *service,
                   struct nft_delta *d);
void nft_state_remove(struct nft_state *s, const char *key, struct nft_delta *d);
void nft_state_chains_forget(struct nft_state *s);
void nft_delta_done(struct nft_delta *d);

/* "10.96.0.1" or "fd01::1". */
bool nft_address_parse(const char *text, struct nft_address *ret, bool *ret_v6);

/* ---- text.c: owned text, NUL-terminated */
struct nft_ranges {
    char *services[NFT_CIDRS_MAX], *pods[NFT_CIDRS_MAX];
    unsigned service_count, pod_count;
    char node_ports[24];
};
char *nft_text_load(struct nft_state *s, const char *table, const struct nft_ranges *r);
char *nft_text_delta(const struct nft_delta *d, const char *table);
char *nft_text_delete(const char *table);
void nft_chain_name(struct nft_chain c, char ret[32]);
const char *nft_map_name(const struct nft_element *e);

/* ---- wire.c; thread: any; blocking: shortly. 0 or -errno */
struct mnl_socket;
int nft_wire_open(const char *netns, struct mnl_socket **ret);
int nft_wire_apply(struct mnl_socket *s, const char *table, const struct nft_delta *d);
/* The range becomes local (or no longer): what no map translates ends in our reject. */
int nft_wire_route(const char *netns, const char *cidr, bool add);

#endif
