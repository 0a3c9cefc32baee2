/* Addresses of pods: one range, handed out round robin so that a freed address comes last; each is on
 * disk before it is told. Slot 0 is the network (IPv6: the routers' anycast address), 1 the node's own, the
 * last the broadcast address.
 * thread: one at a time. Blocking: yes (fsync). Errors: 0 or -errno. */
#ifndef VETH_POOL_H
#define VETH_POOL_H

#include "address.h"

#define POOL_SLOTS_MAX (1u << 20)
#define POOL_AHEAD     64 /* the cursor is recorded this far ahead: one write for 64 pods */

struct pool_pod {
    struct pool_pod *next;
    char *sandbox_id;
    uint32_t slot;
};
struct pool {
    char *dir; /* addresses/<sandbox id>: its slot; cursor */
    struct veth_range range;
    uint32_t slots;
    uint32_t cursor, recorded; /* next to try; what is on disk */
    struct pool_pod *pods;
    uint8_t *used; /* a bit a slot */
};

/* "10.244.0.0/24": /8 to /30, "fd00::/64": /8 to /126; -EINVAL. Makes nothing on disk. */
int pool_init(struct pool *p, const char *dir, const char *cidr);
void pool_done(struct pool *p);
int pool_load(struct pool *p);
struct pool_pod *pool_find(struct pool *p, const char *sandbox_id);
/* The recorded one, or a new one; -ENOSPC: none is free. */
int pool_take(struct pool *p, const char *sandbox_id, struct pool_pod **ret);
int pool_give(struct pool *p, const char *sandbox_id); /* not there: success */
struct veth_address pool_address(const struct pool *p, uint32_t slot);

#endif
