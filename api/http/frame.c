/* See frame.h. Source: RFC 6455 section 5. */
#include "frame.h"

void http_frame_write(struct neap_buf *out, int opcode, const uint8_t mask[4], const void *data,
                      size_t len)
{
    const unsigned char *from = data;
    uint8_t head[14] = {(uint8_t)(0x80 | opcode)};
    size_t n = 2;
    if (len < 126) {
        head[1] = (uint8_t)len;
    } else if (len < 65536) {
        head[1] = 126;
        head[2] = (uint8_t)(len >> 8);
        head[3] = (uint8_t)len;
        n = 4;
    } else {
        head[1] = 127;
        for (unsigned i = 0; i < 8; i++)
            head[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        n = 10;
    }
    head[1] |= 0x80;
    memcpy(head + n, mask, 4);
    neap_buf_append(out, head, n + 4);
    char *to = neap_buf_reserve(out, len);
    for (size_t i = 0; i < len; i++)
        to[i] = (char)(from[i] ^ mask[i & 3]);
    out->len += len;
    out->data[out->len] = '\0';
}

/* The size of the head; 0: more bytes are needed. */
static size_t read_length(const unsigned char *in, size_t len, uint64_t *ret)
{
    if (len < 2)
        return 0;
    unsigned small = in[1] & 0x7f;
    size_t n = small == 126 ? 4 : small == 127 ? 10 : 2;
    if (len < n)
        return 0;
    *ret = n == 2 ? small : 0;
    for (size_t i = 2; i < n; i++)
        *ret = *ret << 8 | in[i];
    return n;
}

static int broken(struct neap_err *err, const char *what)
{
    return neap_err_set(err, NEAP_EBADREQUEST, "websocket: %s", what);
}

/* One more fragment; 1: the message is whole. */
static int add(struct http_frames *f, int opcode, bool final, const char *data, size_t len,
               struct http_frame *ret, struct neap_err *err)
{
    if ((opcode == FRAME_CONTINUATION) != (f->opcode != 0))
        return broken(err, "a fragment out of order");
    if (opcode != FRAME_CONTINUATION) {
        f->opcode = opcode;
        neap_buf_reset(&f->message);
    }
    if (final && opcode != FRAME_CONTINUATION) { /* the usual case: no copy */
        *ret = (struct http_frame){opcode, data, len};
        f->opcode = 0;
        return 1;
    }
    neap_buf_append(&f->message, data, len);
    if (!final)
        return 0;
    *ret = (struct http_frame){f->opcode, f->message.data, f->message.len};
    f->opcode = 0;
    return 1;
}

int http_frame_read(struct http_frames *f, const char *in, size_t len, size_t *ret_used,
                    struct http_frame *ret, struct neap_err *err)
{
    const unsigned char *u = (const unsigned char *)in;
    uint64_t size;
    size_t head = read_length(u, len, &size);
    *ret_used = 0;
    if (!head)
        return 0;
    int opcode = u[0] & 0x0f;
    bool final = u[0] & 0x80, control = opcode >= FRAME_CLOSE;
    if (u[0] & 0x70 || u[1] & 0x80)
        return broken(err, "a frame with reserved bits or a mask");
    if (opcode > FRAME_PONG || (opcode > FRAME_BINARY && !control))
        return broken(err, "an unknown kind of frame");
    if (control && (!final || size > FRAME_CONTROL_MAX))
        return broken(err, "a control frame that is too long");
    if (size > f->max || f->message.len + size > f->max)
        return neap_err_set(err, NEAP_ETOOLARGE, "websocket: a message is too large");
    if (len - head < size)
        return 0;
    *ret_used = head + (size_t)size;
    if (control) {
        *ret = (struct http_frame){opcode, in + head, (size_t)size};
        return 1;
    }
    return add(f, opcode, final, in + head, (size_t)size, ret, err);
}

void http_frames_done(struct http_frames *f)
{
    neap_buf_done(&f->message);
}

bool http_frame_masked(struct http_frame_walk *w, const char *data, size_t len)
{
    enum { MASK = 4 };
    while (len) {
        uint64_t skip = w->left < len ? w->left : len, size = 0;
        w->left -= skip;
        data += skip;
        len -= (size_t)skip;
        if (!len)
            break;
        w->head[w->have++] = (unsigned char)*data++;
        len--;
        if (w->have >= 2 && !(w->head[1] & 0x80))
            return false;
        size_t head = read_length(w->head, w->have, &size);
        if (!head || w->have < head + MASK)
            continue;
        w->have = 0;
        w->left = size;
    }
    return true;
}
