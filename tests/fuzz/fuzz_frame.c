/* Websocket frames as the client reads them, the masks of a client's, and base64 of channel messages. */
#include <api/http/base64.h>
#include <api/http/frame.h>

enum { MESSAGE_MAX = 4096 };

/* However the bytes come, the answer is one. */
static void walk(const char *data, size_t size)
{
    struct http_frame_walk whole = {0}, bytes = {0};
    bool masked = http_frame_masked(&whole, data, size), again = true;
    for (size_t i = 0; again && i < size; i++)
        again = http_frame_masked(&bytes, data + i, 1);
    if (masked != again || (masked && (whole.left != bytes.left || whole.have != bytes.have)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct http_frames frames = {.max = MESSAGE_MAX};
    struct http_frame f;
    size_t at = 0, used = 1;
    int rc = 0;
    walk((const char *)data, size);
    while (rc >= 0 && used) {
        rc = http_frame_read(&frames, (const char *)data + at, size - at, &used, &f, &err);
        if (used > size - at || (rc == 1 && f.len > MESSAGE_MAX))
            abort();
        at += used;
        if (rc != 1)
            continue;
        struct neap_buf plain = NEAP_BUF_INIT, again = NEAP_BUF_INIT;
        if (http_base64_decode(&plain, f.data, f.len))
            http_base64_encode(&again, plain.data, plain.len);
        neap_buf_done(&plain);
        neap_buf_done(&again);
    }
    http_frames_done(&frames);
    neap_err_done(&err);
    return 0;
}
