/* Two-way streams: exec, attach, port-forward, and logs over a websocket. Messages on numbered channels
 * (0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize, 255 close), whatever carries them: a websocket in
 * v5/v4/channel.k8s.io, or neap's own client.
 * Source: Kubernetes KEP-4006, k8s.io/apimachinery remotecommand constants. thread: the stream's loop. */
#ifndef NEAP_STREAM_H
#define NEAP_STREAM_H

#include <neap/base.h>

enum {
    NEAP_CHANNEL_STDIN = 0,
    NEAP_CHANNEL_STDOUT = 1,
    NEAP_CHANNEL_STDERR = 2,
    NEAP_CHANNEL_ERROR = 3,
    NEAP_CHANNEL_RESIZE = 4,
    NEAP_CHANNEL_CLOSE = 255
};

struct neap_stream; /* a transport's end */

/* What the one side implements to hear the other. */
struct neap_stream_handler {
    void (*open)(void *arg, struct neap_stream *s); /* the stream is there: send may be used */
    void (*message)(void *arg, int channel, const void *data, size_t len);
    void (*writable)(void *arg); /* queued bytes fell below the mark after send returned false */
    void (*closed)(void *arg);   /* last call; the stream is gone */
};
/* Queues a copy. False: taken, but more than NEAP_STREAM_QUEUE_MAX waits: stop until writable(). */
#define NEAP_STREAM_QUEUE_MAX (256u << 10)
bool neap_stream_send(struct neap_stream *s, int channel, const void *data, size_t len);
/* Stops or resumes delivery of message() (back-pressure to the peer). */
void neap_stream_pause(struct neap_stream *s, bool paused);
/* Sends what is queued, then closes; closed() comes. <code>: websocket close code, 1000 normal. */
void neap_stream_close(struct neap_stream *s, int code, const char *reason);

/* How a transport implements the above: first member of its own struct. */
struct neap_stream_ops {
    bool (*send)(struct neap_stream *s, int channel, const void *data, size_t len);
    void (*pause)(struct neap_stream *s, bool paused);
    void (*close)(struct neap_stream *s, int code, const char *reason);
};
struct neap_stream {
    const struct neap_stream_ops *ops;
};

#endif
