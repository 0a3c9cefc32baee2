/* Addresses without devices: the network ABI in memory. See README.md. */
#include <neap/err.h>
#include <neap/plugin/network.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST = 2, SLOT_BITS_MAX = 24 };

struct lease {
    struct lease *next;
    char *id;
    uint32_t slot;
};

struct hollow {
    const struct neap_host *host;
    unsigned char base[16]; /* network order */
    int family;
    uint32_t size, cursor;
    struct lease *leases;
};

struct pending {
    struct neap_op *op;
    int code;
};

static void complete(void *arg)
{
    struct pending p = *(struct pending *)arg;
    free(arg);
    p.op->done(p.op, p.code, p.code ? "no address is free" : NULL);
}

static void answer(struct hollow *h, struct neap_op *op, int code)
{
    struct pending *p = malloc(sizeof(*p));
    if (!p)
        abort();
    *p = (struct pending){op, code};
    h->host->loop->post(h->host->ctx, complete, p);
}

static void address(const struct hollow *h, uint32_t slot, char out[46])
{
    unsigned char a[16];
    uint32_t low;
    size_t last = h->family == AF_INET6 ? 12 : 0; /* slots are in the last four bytes */
    memcpy(a, h->base, sizeof(a));
    memcpy(&low, a + last, sizeof(low));
    low = htonl(ntohl(low) + slot);
    memcpy(a + last, &low, sizeof(low));
    inet_ntop(h->family, a, out, 46);
}

static int configure(const struct neap_host *host, const char *netns_path,
                     const char *const *pod_cidrs, void **ret_self)
{
    char text[64];
    unsigned char a[16] = {0};
    (void)netns_path;
    snprintf(text, sizeof(text), "%s", pod_cidrs[0] ? pod_cidrs[0] : "");
    char *slash = strchr(text, '/');
    int prefix = slash ? atoi(slash + 1) : 0;
    if (slash)
        *slash = '\0';
    int family = strchr(text, ':') ? AF_INET6 : AF_INET, bits = family == AF_INET6 ? 128 : 32;
    if (prefix < 8 || prefix > bits - 2 || inet_pton(family, text, a) != 1) {
        host->fail(host->ctx, "pod_cidr is no IPv4 range of /8 to /30, nor IPv6 of /8 to /126");
        return NEAP_ECONFIG;
    }
    struct hollow *h = calloc(1, sizeof(*h));
    if (!h)
        abort();
    h->host = host;
    memcpy(h->base, a, sizeof(a));
    h->family = family;
    h->size = 1u << (bits - prefix < SLOT_BITS_MAX ? bits - prefix : SLOT_BITS_MAX);
    h->cursor = FIRST;
    *ret_self = h;
    return 0;
}

static int restore(void *self)
{
    (void)self;
    return 0;
}

static void done(void *self, struct neap_op *op)
{
    answer(self, op, 0);
}

static void destroy(void *self)
{
    struct hollow *h = self;
    while (h && h->leases) {
        struct lease *l = h->leases;
        h->leases = l->next;
        free(l->id);
        free(l);
    }
    free(h);
}

static struct lease **lease_at(struct hollow *h, const char *id)
{
    struct lease **at = &h->leases;
    while (*at && strcmp((*at)->id, id) != 0)
        at = &(*at)->next;
    return at;
}

static void fill(const struct hollow *h, const struct lease *l, struct neap_network_result *ret)
{
    memset(ret, 0, sizeof(*ret));
    address(h, l->slot, ret->addresses[0]);
    address(h, 1, ret->gateway);
    ret->address_count = 1;
    ret->mtu = 1500;
}

static bool is_used(const struct hollow *h, uint32_t slot)
{
    for (const struct lease *l = h->leases; l; l = l->next)
        if (l->slot == slot)
            return true;
    return false;
}

static uint32_t next_slot(struct hollow *h)
{
    for (uint32_t tries = 0; tries < h->size; tries++) {
        uint32_t slot = h->cursor++;
        if (h->cursor >= h->size - 1)
            h->cursor = FIRST;
        if (!is_used(h, slot))
            return slot;
    }
    return 0;
}

static void attach(void *self, const struct neap_network_pod *pod, struct neap_network_result *ret,
                   struct neap_op *op)
{
    struct hollow *h = self;
    struct lease *l = *lease_at(h, pod->sandbox_id);
    uint32_t slot = l ? l->slot : next_slot(h);
    if (!l && slot) {
        l = calloc(1, sizeof(*l));
        char *id = strdup(pod->sandbox_id);
        if (!l || !id)
            abort();
        *l = (struct lease){h->leases, id, slot};
        h->leases = l;
    }
    if (l)
        fill(h, l, ret);
    answer(h, op, l ? 0 : NEAP_ENOTFOUND);
}

static void detach(void *self, const char *id, struct neap_op *op)
{
    struct lease **at = lease_at(self, id), *l = *at;
    if (l) {
        *at = l->next;
        free(l->id);
        free(l);
    }
    answer(self, op, 0);
}

static int status(void *self, const char *id, struct neap_network_result *ret)
{
    struct lease *l = *lease_at(self, id);
    if (!l)
        return NEAP_ENOTFOUND;
    fill(self, l, ret);
    return 0;
}

static int node_address(void *self, char ret[46])
{
    address(self, 1, ret);
    return 0;
}

NEAP_PLUGIN_EXPORT extern const struct neap_network_plugin neap_plugin;
NEAP_PLUGIN_EXPORT const struct neap_network_plugin neap_plugin = {
    .header = {NEAP_PLUGIN_MAGIC, NEAP_PLUGIN_ABI_MAJOR, NEAP_PLUGIN_ABI_MINOR, sizeof neap_plugin,
               NEAP_PLUGIN_NETWORK, "hollow", "0.1", NULL},
    .configure = configure,
    .restore = restore,
    .start = done,
    .stop = done,
    .cleanup = done,
    .destroy = destroy,
    .attach = attach,
    .detach = detach,
    .status = status,
    .node_address = node_address,
};
