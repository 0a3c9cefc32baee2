#include <neap/base.h>
#include <neap/ip.h>

#include <arpa/inet.h>

static size_t size_of(const struct neap_ip *ip)
{
    return ip->v6 ? 16 : 4;
}

bool neap_ip_parse(const char *text, struct neap_ip *ret)
{
    *ret = (struct neap_ip){.v6 = text && strchr(text, ':')};
    return text && inet_pton(ret->v6 ? AF_INET6 : AF_INET, text, ret->bytes) == 1;
}

void neap_ip_text(const struct neap_ip *ip, char ret[NEAP_IP_TEXT])
{
    inet_ntop(ip->v6 ? AF_INET6 : AF_INET, ip->bytes, ret, NEAP_IP_TEXT);
}

const char *neap_ip_family(bool v6)
{
    return v6 ? "IPv6" : "IPv4";
}

bool neap_cidr_parse(const char *text, struct neap_cidr *ret)
{
    char host[64];
    const char *slash = text ? strchr(text, '/') : NULL;
    uint64_t bits;
    if (!slash || (size_t)(slash - text) >= sizeof(host) || !neap_parse_u64(slash + 1, 128, &bits))
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)(slash - text), text);
    if (!neap_ip_parse(host, &ret->base) || bits > size_of(&ret->base) * 8)
        return false;
    ret->prefix = (unsigned)bits;
    for (size_t i = 0; i < size_of(&ret->base); i++) {
        unsigned keep = bits >= (i + 1) * 8 ? 8 : bits > i * 8 ? (unsigned)(bits - i * 8) : 0;
        ret->base.bytes[i] &= (unsigned char)(0xff00u >> keep);
    }
    return true;
}

unsigned neap_cidr_host_bits(const struct neap_cidr *c)
{
    return (unsigned)size_of(&c->base) * 8 - c->prefix;
}

struct neap_ip neap_cidr_at(const struct neap_cidr *c, uint64_t offset)
{
    struct neap_ip ip = c->base;
    unsigned carry = 0;
    for (size_t i = size_of(&ip); i-- > 0; offset >>= 8) {
        carry += ip.bytes[i] + (unsigned)(offset & 0xff);
        ip.bytes[i] = (unsigned char)carry;
        carry >>= 8;
    }
    return ip;
}

static bool same_prefix(const struct neap_ip *a, const struct neap_ip *b, unsigned prefix)
{
    unsigned rest = prefix % 8;
    if (a->v6 != b->v6 || memcmp(a->bytes, b->bytes, prefix / 8))
        return false;
    return !rest || (a->bytes[prefix / 8] ^ b->bytes[prefix / 8]) >> (8 - rest) == 0;
}

bool neap_cidr_offset(const struct neap_cidr *c, const struct neap_ip *ip, uint64_t *ret)
{
    uint64_t n = 0;
    if (!same_prefix(&c->base, ip, c->prefix))
        return false;
    for (size_t i = 0; i < size_of(ip); i++) {
        if (n >> 56)
            return false;
        n = n << 8 | (unsigned char)(ip->bytes[i] ^ c->base.bytes[i]);
    }
    *ret = n;
    return true;
}

bool neap_cidr_overlap(const struct neap_cidr *a, const struct neap_cidr *b)
{
    return same_prefix(&a->base, &b->base, a->prefix < b->prefix ? a->prefix : b->prefix);
}

void neap_cidr_text_at(const char *cidr, uint64_t offset, char ret[NEAP_IP_TEXT])
{
    struct neap_cidr c;
    ret[0] = '\0';
    if (!neap_cidr_parse(cidr, &c))
        return;
    struct neap_ip ip = neap_cidr_at(&c, offset);
    neap_ip_text(&ip, ret);
}

static int check_one(const char *option, const char *text, struct neap_cidr *ret,
                     struct neap_err *err)
{
    if (text && strchr(text, ','))
        return neap_err_set(err, NEAP_ECONFIG,
                            "%s: %s: one range, of one family, is served (no dual-stack)", option,
                            text);
    if (!neap_cidr_parse(text, ret))
        return neap_err_set(
            err, NEAP_ECONFIG,
            "%s: \"%s\" is no range of addresses such as 10.244.0.0/16 or fd00::/64", option,
            text ? text : "");
    unsigned bits = neap_cidr_host_bits(ret);
    if (ret->prefix < 8 || bits < 2)
        return neap_err_set(err, NEAP_ECONFIG, "%s: %s: the prefix must be /8 to /%u", option, text,
                            ret->prefix + bits - 2);
    return 0;
}

int neap_cidr_check_cluster(const char *pods, const char *services, struct neap_err *err)
{
    struct neap_cidr p = {0}, s = {0};
    int rc = check_one("pod_cidr", pods, &p, err);
    if (!rc)
        rc = check_one("service_cidr", services, &s, err);
    if (rc)
        return rc;
    if (p.base.v6 != s.base.v6)
        return neap_err_set(err, NEAP_ECONFIG,
                            "pod_cidr %s is %s, service_cidr %s is %s: they must be of one family",
                            pods, neap_ip_family(p.base.v6), services, neap_ip_family(s.base.v6));
    if (neap_cidr_overlap(&p, &s))
        return neap_err_set(err, NEAP_ECONFIG, "pod_cidr %s and service_cidr %s overlap", pods,
                            services);
    return 0;
}
