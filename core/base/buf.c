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

void neap_buf_json_string(struct neap_buf *b, const char *s, size_t len)
{
    size_t from = 0;
    neap_buf_char(b, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        char e = escape_of(c);
        /* U+2028 and U+2029 as Go's encoder does */
        bool line_separator = c == 0xe2 && i + 2 < len && (unsigned char)s[i + 1] == 0x80 &&
                              ((unsigned char)s[i + 2] | 1) == 0xa9;
        if (!e && !line_separator)
            continue;
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
