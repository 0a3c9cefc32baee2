/* A log: the agent's answer becomes the call's body, piece by piece. */
#include "internal.h"

enum { HIGH = 256 << 10 };

struct node_log {
    struct neap_body body; /* first */
    struct neap_exchange x;
    struct neap_http_client *http;
    struct neap_call *call; /* NULL: answered and closed */
    struct neap_buf ready;
    size_t ready_at;
    int status;
    bool headed, over, closed;
    struct neap_buf refusal;
};

static void log_free(struct node_log *l)
{
    neap_buf_done(&l->ready);
    neap_buf_done(&l->refusal);
    free(l);
}

static int body_read(struct neap_body *b, struct neap_buf *out, size_t want)
{
    struct node_log *l = (struct node_log *)b;
    size_t have = l->ready.len - l->ready_at;
    if (!have)
        return l->over ? -1 : 0;
    size_t n = have < want || want < 4096 ? have : want;
    neap_buf_append(out, l->ready.data + l->ready_at, n);
    l->ready_at += n;
    if (l->ready_at == l->ready.len) {
        neap_buf_reset(&l->ready);
        l->ready_at = 0;
        if (!l->over)
            neap_http_client_pause(&l->x, false);
    }
    return 1;
}

static void body_close(struct neap_body *b)
{
    struct node_log *l = (struct node_log *)b;
    if (!l->over)
        neap_http_client_cancel(l->http, &l->x);
    log_free(l);
}

static void on_head(struct neap_exchange *x, int status, const struct neap_header *headers)
{
    struct node_log *l = x->data_arg;
    (void)headers;
    l->status = status;
    if (status != 200)
        return;
    l->headed = true;
    l->call->status = 200;
    l->call->reply_type = "text/plain";
    l->call->stream_body = &l->body;
    neap_rest_finish(l->call);
}

static void on_data(struct neap_exchange *x, const char *data, size_t len)
{
    struct node_log *l = x->data_arg;
    if (!l->headed) {
        if (l->refusal.len < 4096)
            neap_buf_append(&l->refusal, data, len);
        return;
    }
    neap_buf_append(&l->ready, data, len);
    if (l->ready.len - l->ready_at > HIGH)
        neap_http_client_pause(x, true);
    l->call->wake(l->call);
}

static void on_done(struct neap_exchange *x, const struct neap_err *err, int status,
                    const char *body, size_t len)
{
    struct node_log *l = x->data_arg;
    (void)body;
    (void)len;
    l->over = true;
    if (l->headed) {
        l->call->wake(l->call);
        return;
    }
    struct neap_call *c = l->call;
    node_refused(c, status ? status : l->status, l->refusal.data, l->refusal.len, err);
    log_free(l);
    neap_rest_fail(c);
}

void node_logs(struct neap_http_client *http, struct neap_call *c, const char *path)
{
    struct node_log *l = neap_calloc(1, sizeof(*l));
    l->body.read = body_read;
    l->body.close = body_close;
    l->http = http;
    l->call = c;
    l->x = (struct neap_exchange){.method = "GET",
                                  .path = path,
                                  .streaming = true,
                                  .head = on_head,
                                  .data = on_data,
                                  .done = on_done,
                                  .data_arg = l};
    neap_http_client_send(http, &l->x);
}
