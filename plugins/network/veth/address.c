#include "address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

size_t veth_address_size(const struct veth_address *a)
{
    return a->family == AF_INET6 ? 16 : 4;
}

unsigned veth_address_bits(const struct veth_address *a)
{
    return (unsigned)veth_address_size(a) * 8;
}

bool veth_address_parse(const char *text, struct veth_address *ret)
{
    *ret = (struct veth_address){.family = text && strchr(text, ':') ? AF_INET6 : AF_INET};
    return text && inet_pton(ret->family, text, ret->bytes) == 1;
}

void veth_address_text(const struct veth_address *a, char ret[46])
{
    inet_ntop(a->family, a->bytes, ret, 46);
}

bool veth_range_parse(const char *cidr, struct veth_range *ret)
{
    char text[64], *slash, *end;
    if (!cidr || strlen(cidr) >= sizeof text)
        return false;
    strcpy(text, cidr);
    slash = strchr(text, '/');
    if (!slash || slash[1] < '0' || slash[1] > '9')
        return false;
    *slash = 0;
    unsigned long n = strtoul(slash + 1, &end, 10);
    if (*end || !veth_address_parse(text, &ret->base) || n > veth_address_bits(&ret->base))
        return false;
    ret->prefix = (unsigned)n;
    for (size_t i = 0; i < veth_address_size(&ret->base); i++) {
        unsigned keep = n >= (i + 1) * 8 ? 8 : n > i * 8 ? (unsigned)(n - i * 8) : 0;
        ret->base.bytes[i] &= (uint8_t)(0xff00u >> keep);
    }
    return true;
}

struct veth_address veth_range_at(const struct veth_range *r, uint32_t offset)
{
    struct veth_address a = r->base;
    uint64_t carry = offset;
    for (size_t i = veth_address_size(&a); i-- > 0 && carry; carry >>= 8) {
        carry += a.bytes[i];
        a.bytes[i] = (uint8_t)carry;
    }
    return a;
}
