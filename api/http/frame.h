/* RFC 6455 frames as a client sends and reads them: no sockets, so that tests and a fuzzer feed it. */
#ifndef NEAP_API_HTTP_FRAME_H
#define NEAP_API_HTTP_FRAME_H

#include <neap/buf.h>
#include <neap/err.h>

enum {
    FRAME_CONTINUATION = 0,
    FRAME_TEXT = 1,
    FRAME_BINARY = 2,
    FRAME_CLOSE = 8,
    FRAME_PING = 9,
    FRAME_PONG = 10,
    FRAME_CONTROL_MAX = 125,
};

/* Appends one final frame, masked with <mask> (RFC 6455 5.3). */
void http_frame_write(struct neap_buf *out, int opcode, const uint8_t mask[4], const void *data,
                      size_t len);

/* Puts fragments together. */
struct http_frames {
    struct neap_buf message;
    size_t max; /* of a message */
    int opcode; /* of the message under way; 0: none */
};
struct http_frame {
    int opcode; /* TEXT, BINARY (whole messages), CLOSE, PING, PONG */
    const char *data;
    size_t len;
};
/* Reads one frame from <in>. 1: *ret is a message or a control frame, borrowed until the next call;
 * 0: a fragment, or more bytes are needed (*ret_used 0); negative: broken, NEAP_ETOOLARGE or
 * NEAP_EBADREQUEST. */
int http_frame_read(struct http_frames *f, const char *in, size_t len, size_t *ret_used,
                    struct http_frame *ret, struct neap_err *err);
void http_frames_done(struct http_frames *f);

/* Goes along a client's frames, however their bytes come, without looking inside. */
struct http_frame_walk {
    unsigned char head[14];
    unsigned have; /* bytes of the head */
    uint64_t left; /* of the payload */
};
/* False: a frame is not masked, which only a client that is none does (RFC 6455 5.1). */
bool http_frame_masked(struct http_frame_walk *w, const char *data, size_t len);

#endif
