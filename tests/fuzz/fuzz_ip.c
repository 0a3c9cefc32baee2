/* Ranges of addresses: an address of one is in it at its offset, and its text means the same. */
#include "fuzz.h"

#include <neap/ip.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *s = fuzz_line(data, size), text[NEAP_IP_TEXT];
    struct neap_cidr c;
    struct neap_ip again;
    if (neap_cidr_parse(s, &c)) {
        unsigned bits = neap_cidr_host_bits(&c);
        uint64_t last = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX, n = 0;
        struct neap_ip ip = neap_cidr_at(&c, last);
        neap_ip_text(&ip, text);
        FUZZ_CHECK(neap_ip_parse(text, &again) && memcmp(&again, &ip, sizeof(ip)) == 0);
        FUZZ_CHECK(neap_cidr_offset(&c, &again, &n) && n == last);
        FUZZ_CHECK(neap_cidr_overlap(&c, &c));
    }
    free(s);
    return 0;
}
