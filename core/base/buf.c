/* A growing byte string: see neap/buf.h. */
#include <neap/buf.h>

#include <stdarg.h>

char *neap_buf_reserve(struct neap_buf *b, size_t len)
{
    if (b->len + len + 1 > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 128;
        while (cap < b->len + len + 1)
            cap *= 2;
        b->data = neap_realloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void neap_buf_append(struct neap_buf *b, const void *data, size_t len)
{
    if (b->max && b->len + len > b->max) {
        b->overflow = true;
        return;
    }
    char *to = neap_buf_reserve(b, len);
    if (len)
        memcpy(to, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void neap_buf_str(struct neap_buf *b, const char *s)
{
    neap_buf_append(b, s, strlen(s));
}

void neap_buf_char(struct neap_buf *b, char c)
{
    neap_buf_append(b, &c, 1);
}

void neap_buf_printf(struct neap_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    char small[256];
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(small)) {
        neap_buf_append(b, small, (size_t)n);
    } else if (n >= 0) {
        char *big = neap_malloc((size_t)n + 1);
        vsnprintf(big, (size_t)n + 1, fmt, again);
        neap_buf_append(b, big, (size_t)n);
        free(big);
    }
    va_end(again);
}

void neap_buf_u64(struct neap_buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    neap_buf_append(b, digits + at, sizeof(digits) - at);
}

/* 0: as it is; 'u': \u00xx; else the letter behind the backslash. */
static char escape_of(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '<':
    case '>':
    case '&':
        return 'u';
    default:
        return c < 0x20 ? 'u' : 0;
    }
}

/* How many bytes from <s> on are ASCII that needs no escape. */
static size_t plain_length(const char *s, size_t len)
{
    static const bool other[256] = {
        [0 ... 0x1f] = true, ['"'] = true, ['\\'] = true,          ['<'] = true,
        ['>'] = true,        ['&'] = true, [0x80 ... 0xff] = true,
    };
    size_t n = 0;
    while (n < len && !other[(unsigned char)s[n]])
        n++;
    return n;
}

/* Length of the UTF-8 sequence at <s>, at most <left> bytes; 0: it is none (RFC 3629). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    static const struct {
        unsigned char first, last, low, high;
        size_t len;
    } rows[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
                {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
                {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        if (*s < rows[i].first || *s > rows[i].last)
            continue;
        if (left < rows[i].len || s[1] < rows[i].low || s[1] > rows[i].high)
            return 0;
        for (size_t j = 2; j < rows[i].len; j++)
            if ((s[j] & 0xc0) != 0x80)
                return 0;
        return rows[i].len;
    }
    return 0;
}

void neap_buf_json_string(struct neap_buf *b, const char *s, size_t len)
{
    size_t from = 0;
    neap_buf_char(b, '"');
    for (size_t i = 0; (i += plain_length(s + i, len - i)) < len; i++) {
        unsigned char c = (unsigned char)s[i];
        char e = escape_of(c);
        size_t sequence = c < 0x80 ? 1 : utf8_length((const unsigned char *)s + i, len - i);
        if (sequence == 0) { /* what is no UTF-8 is shown as the replacement character */
            neap_buf_append(b, s + from, i - from);
            neap_buf_str(b, "\\ufffd");
            from = i + 1;
            continue;
        }
        /* U+2028 and U+2029 as Go's encoder does */
        bool line_separator = c == 0xe2 && i + 2 < len && (unsigned char)s[i + 1] == 0x80 &&
                              ((unsigned char)s[i + 2] | 1) == 0xa9;
        if (!e && !line_separator) {
            i += sequence - 1;
            continue;
        }
        neap_buf_append(b, s + from, i - from);
        if (line_separator) {
            neap_buf_printf(b, "\\u202%x", (unsigned char)s[i + 2] & 0xf);
            i += 2;
        } else if (e == 'u') {
            neap_buf_printf(b, "\\u%04x", c);
        } else {
            neap_buf_append(b, (char[]){'\\', e}, 2);
        }
        from = i + 1;
    }
    neap_buf_append(b, s + from, len - from);
    neap_buf_char(b, '"');
}

void neap_buf_consume(struct neap_buf *b, size_t len)
{
    if (len >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
    b->data[b->len] = '\0';
}

char *neap_buf_take(struct neap_buf *b)
{
    neap_buf_reserve(b, 0)[0] = '\0';
    char *data = b->data;
    *b = (struct neap_buf){.max = b->max};
    return data;
}

void neap_buf_done(struct neap_buf *b)
{
    free(b->data);
    *b = (struct neap_buf){.max = b->max};
}
