/* A growing byte string. Zeroed is empty (NEAP_BUF_INIT). Always NUL-terminated once written to.
 * <max> > 0 bounds it: what would pass it is not written and `overflow` is set, so that a caller
 * checks once at the end. thread: one at a time. */
#ifndef NEAP_BUF_H
#define NEAP_BUF_H

#include <neap/base.h>

struct neap_buf {
    char *data;
    size_t len, cap, max;
    bool overflow;
};
#define NEAP_BUF_INIT                                                                              \
    {                                                                                              \
        0                                                                                          \
    }

void neap_buf_append(struct neap_buf *b, const void *data, size_t len);
void neap_buf_str(struct neap_buf *b, const char *s);
void neap_buf_char(struct neap_buf *b, char c);
void neap_buf_printf(struct neap_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void neap_buf_u64(struct neap_buf *b, uint64_t v);
/* Appends <s> as a JSON string with its quotes (RFC 8259; control characters, quote and backslash
 * escaped, and <, >, & as Go's encoder does: \u003c \u003e \u0026). */
void neap_buf_json_string(struct neap_buf *b, const char *s, size_t len);
/* Room for <len> more bytes; returns where to write them. The caller adds to b->len. */
char *neap_buf_reserve(struct neap_buf *b, size_t len);
/* Drops the first <len> bytes. */
void neap_buf_consume(struct neap_buf *b, size_t len);
/* The content as an owned string (never NULL); <b> is empty after. */
char *neap_buf_take(struct neap_buf *b);
static inline void neap_buf_reset(struct neap_buf *b)
{
    b->len = 0;
    b->overflow = false;
}
void neap_buf_done(struct neap_buf *b);
#define NEAP_CLEANUP_BUF __attribute__((cleanup(neap_buf_done)))

#endif
