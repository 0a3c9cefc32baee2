/* Addresses of either family, in network order, and ranges of them. thread: any. Blocking: no. */
#ifndef VETH_ADDRESS_H
#define VETH_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct veth_address {
    uint8_t family; /* AF_INET, AF_INET6; 0: none */
    uint8_t bytes[16];
};
struct veth_range {
    struct veth_address base; /* host bits are 0 */
    unsigned prefix;
};

size_t veth_address_size(const struct veth_address *a);
unsigned veth_address_bits(const struct veth_address *a); /* 32, 128 */
bool veth_address_parse(const char *text, struct veth_address *ret);
void veth_address_text(const struct veth_address *a, char ret[46]);
/* "10.244.0.0/24", "fd00::/64"; host bits are cleared. */
bool veth_range_parse(const char *cidr, struct veth_range *ret);
/* The <offset>th address; the caller keeps within the range. */
struct veth_address veth_range_at(const struct veth_range *r, uint32_t offset);

#endif
