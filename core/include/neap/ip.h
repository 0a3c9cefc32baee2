/* IP addresses and ranges of either family, from the words of the configuration and of objects.
 * owns nothing. thread: any. blocks: no. errors: false, where a text is none. */
#ifndef NEAP_IP_H
#define NEAP_IP_H

#include <neap/err.h>

#include <stdbool.h>
#include <stdint.h>

#define NEAP_IP_TEXT 46 /* the longest one and its NUL */

struct neap_ip {
    unsigned char bytes[16]; /* network order; IPv4: the first four, the others 0 */
    bool v6;
};
struct neap_cidr {
    struct neap_ip base; /* host bits are 0 */
    unsigned prefix;
};

/* "10.0.0.1", "fd00::1". */
bool neap_ip_parse(const char *text, struct neap_ip *ret);
/* The canonical form (RFC 5952). */
void neap_ip_text(const struct neap_ip *ip, char ret[NEAP_IP_TEXT]);
/* "IPv4" or "IPv6", as objects say it. */
const char *neap_ip_family(bool v6);

/* "10.96.0.0/16", "fd01::/108"; host bits are cleared. */
bool neap_cidr_parse(const char *text, struct neap_cidr *ret);
unsigned neap_cidr_host_bits(const struct neap_cidr *c);
/* The <offset>th address; the caller keeps within the range. */
struct neap_ip neap_cidr_at(const struct neap_cidr *c, uint64_t offset);
/* False: the address is of another family, out of the range, or 2^64 and more into it. */
bool neap_cidr_offset(const struct neap_cidr *c, const struct neap_ip *ip, uint64_t *ret);
bool neap_cidr_overlap(const struct neap_cidr *a, const struct neap_cidr *b);
/* The text of the <offset>th address of the range <cidr>; "" when that is none. */
void neap_cidr_text_at(const char *cidr, uint64_t offset, char ret[NEAP_IP_TEXT]);
/* What the configuration says of pods and Services: ranges of one family that do not overlap and that have
 * room (as many as the allocators can use). errors: NEAP_ECONFIG. */
int neap_cidr_check_cluster(const char *pods, const char *services, struct neap_err *err);

#endif
