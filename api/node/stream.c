/* exec and attach: the client's stream and the agent's, joined channel by channel. The client's upgrade is
 * accepted once the agent has accepted ours. Source: KEP-4006. */
#include "internal.h"

struct bridge {
    struct neap_call *call; /* until the client's upgrade is answered */
    struct neap_stream *client, *agent;
    bool plain_errors; /* channel.k8s.io: the error channel holds text */
    bool answered, agent_closed, client_closed;
    struct neap_buf
        early; /* what the agent said before the client's stream was open: channel, length, bytes */
};

static void bridge_free(struct bridge *b)
{
    if (!b->agent_closed || !b->client_closed)
        return;
    neap_buf_done(&b->early);
    free(b);
}

/* ---- the client's end ---- */

static void to_client(struct bridge *b, int channel, const void *data, size_t len)
{
    if (channel == NEAP_CHANNEL_ERROR && b->plain_errors) {
        yyjson_doc *doc = yyjson_read(data, len, 0);
        yyjson_val *root = yyjson_doc_get_root(doc);
        const char *message = yyjson_get_str(yyjson_obj_get(root, "message"));
        if (yyjson_equals_str(yyjson_obj_get(root, "status"), "Failure"))
            neap_stream_send(b->client, channel, message ? message : "failed",
                             strlen(message ? message : "failed"));
        yyjson_doc_free(doc);
        return;
    }
    if (!neap_stream_send(b->client, channel, data, len) && b->agent)
        neap_stream_pause(b->agent, true);
}

static void client_open(void *arg, struct neap_stream *s)
{
    struct bridge *b = arg;
    b->client = s;
    for (size_t at = 0; at < b->early.len;) {
        uint32_t head[2];
        memcpy(head, b->early.data + at, sizeof(head));
        to_client(b, (int)head[0], b->early.data + at + sizeof(head), head[1]);
        at += sizeof(head) + head[1];
    }
    neap_buf_reset(&b->early);
    if (b->agent)
        neap_stream_pause(b->agent, false);
    else
        neap_stream_close(s, 1000, "");
}

static void client_message(void *arg, int channel, const void *data, size_t len)
{
    struct bridge *b = arg;
    if (b->agent && !neap_stream_send(b->agent, channel, data, len))
        neap_stream_pause(b->client, true);
}

static void client_writable(void *arg)
{
    struct bridge *b = arg;
    if (b->agent)
        neap_stream_pause(b->agent, false);
}

static void client_closed(void *arg)
{
    struct bridge *b = arg;
    b->client = NULL;
    b->client_closed = true;
    if (b->agent)
        neap_stream_close(b->agent, 1000, "");
    bridge_free(b);
}

static const struct neap_stream_handler client_handler = {client_open, client_message,
                                                          client_writable, client_closed};

/* ---- the agent's end ---- */

static void agent_open(void *arg, struct neap_stream *s)
{
    struct bridge *b = arg;
    struct neap_call *c = b->call;
    b->agent = s;
    b->answered = true;
    b->call = NULL;
    neap_stream_pause(s, true); /* until the client's stream is open */
    c->status = 101;
    c->stream = &client_handler;
    c->stream_arg = b;
    neap_rest_finish(c);
}

static void agent_message(void *arg, int channel, const void *data, size_t len)
{
    struct bridge *b = arg;
    uint32_t head[2] = {(uint32_t)channel, (uint32_t)len};
    if (b->client) {
        to_client(b, channel, data, len);
    } else if (!b->client_closed) {
        neap_buf_append(&b->early, head, sizeof(head));
        neap_buf_append(&b->early, data, len);
    }
}

static void agent_writable(void *arg)
{
    struct bridge *b = arg;
    if (b->client)
        neap_stream_pause(b->client, false);
}

static void agent_closed(void *arg)
{
    struct bridge *b = arg;
    b->agent = NULL;
    b->agent_closed = true;
    if (b->client)
        neap_stream_close(b->client, 1000, "");
    bridge_free(b);
}

static void agent_refused(void *arg, int status, const char *body, size_t len,
                          const struct neap_err *err)
{
    struct bridge *b = arg;
    struct neap_call *c = b->call;
    node_refused(c, status, body, len, err);
    b->agent_closed = b->client_closed = true;
    bridge_free(b);
    neap_rest_fail(c);
}

static const struct neap_stream_handler agent_handler = {agent_open, agent_message, agent_writable,
                                                         agent_closed};

void node_stream(struct neap_http_client *http, struct neap_call *c, const char *path)
{
    static const char *const protocols[] = {"v5.channel.k8s.io", NULL};
    if (!c->upgradable) {
        neap_err_set(&c->err, NEAP_EBADREQUEST,
                     "Upgrade request required: %s is served over websockets (v5, v4, "
                     "channel.k8s.io), SPDY is not served",
                     c->subresource);
        neap_rest_fail(c);
        return;
    }
    struct bridge *b = neap_calloc(1, sizeof(*b));
    const struct neap_ws_protocol *p =
        c->stream_protocol ? neap_ws_protocol_by_name(c->stream_protocol) : NULL;
    b->call = c;
    b->plain_errors = p && !p->has_error_status;
    neap_http_client_stream(http, path, protocols, &agent_handler, b, agent_refused);
}
