/* See base64.h. */
#include "base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void http_base64_encode(struct neap_buf *out, const void *data, size_t len)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i > 2 ? 3 : len - i;
        unsigned v =
            (unsigned)p[i] << 16 | (n > 1 ? (unsigned)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], n > 1 ? digits[v >> 6 & 63] : '=',
                        n > 2 ? digits[v & 63] : '='};
        neap_buf_append(out, four, sizeof(four));
    }
}

static int value_of(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

static bool decode(struct neap_buf *out, const char *text, size_t len, bool url)
{
    unsigned bits = 0, v = 0;
    for (unsigned i = 0; i < 2 && len && text[len - 1] == '='; i++)
        len--;
    if (len % 4 == 1)
        return false;
    for (size_t i = 0; i < len; i++) {
        int d = value_of(text[i], url);
        if (d < 0)
            return false;
        v = v << 6 | (unsigned)d;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            neap_buf_char(out, (char)(v >> bits & 0xff));
        }
        v &= (1u << bits) - 1;
    }
    return true;
}

bool http_base64_decode(struct neap_buf *out, const char *text, size_t len)
{
    return decode(out, text, len, false);
}

bool http_base64url_decode(struct neap_buf *out, const char *text, size_t len)
{
    return decode(out, text, len, true);
}
