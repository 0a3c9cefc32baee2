#include "wire.h"

#include <errno.h>
#include <string.h>

void oci_wire_put(struct oci_buf *out, int kind, const void *p, size_t n)
{
    uint32_t len = (uint32_t)n + 1;
    unsigned char head[5] = {(unsigned char)(len >> 24), (unsigned char)(len >> 16),
                             (unsigned char)(len >> 8), (unsigned char)len, (unsigned char)kind};
    oci_buf_add(out, head, sizeof head);
    oci_buf_add(out, p, n);
}

int oci_wire_get(const struct oci_buf *in, size_t at, int *kind, const char **p, size_t *n,
                 size_t *used)
{
    if (in->len - at < 4)
        return 0;
    const unsigned char *h = (const unsigned char *)in->p + at;
    uint32_t len = (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
    if (len < 1 || len > OCI_WIRE_MAX)
        return -EPROTO;
    if (in->len - at < 4 + (size_t)len)
        return 0;
    *kind = h[4];
    if (*kind != OCI_WIRE_JSON && *kind > OCI_WIRE_STDERR)
        return -EPROTO;
    *p = (const char *)h + 5;
    *n = len - 1;
    *used = 4 + (size_t)len;
    return 1;
}
