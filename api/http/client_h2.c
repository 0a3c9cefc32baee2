/* One h2 connection of the client: exchanges become streams. Source: RFC 9113. */
#include "client_internal.h"

#include <nghttp2/nghttp2.h>

struct client_conn {
    struct http_io io; /* first */
    struct neap_http_client *client;
    struct neap_list link; /* of client->conns */
    struct neap_list exchanges;
    unsigned streams;
    nghttp2_session *session;
    int64_t begun_ms, pinged_ms;
    bool goaway;  /* takes no more streams */
    bool inside;  /* a callback of nghttp2 is running: the session must stay */
    bool doomed;  /* to be closed once it is not */
    bool settled; /* the server's SETTINGS came */
};

struct client_conn *client_conn_of(struct neap_list *link)
{
    return neap_list_entry(link, struct client_conn, link);
}

static struct client_conn *conn_of(struct http_io *io)
{
    return neap_container_of(io, struct client_conn, io);
}

bool client_conn_connecting(const struct client_conn *conn)
{
    return !conn->settled && !conn->goaway && !conn->io.dead;
}

bool client_conn_usable(const struct client_conn *conn)
{
    if (!conn->settled || conn->goaway || conn->io.dead || conn->io.closing || conn->doomed)
        return false;
    uint32_t max =
        nghttp2_session_get_remote_settings(conn->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return conn->streams < (max > INT32_MAX ? CLIENT_STREAMS_DEFAULT : max);
}

static struct client_exchange *exchange_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* ---- sending ---- */

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct client_exchange *e = exchange_of(session, stream_id);
    (void)source;
    (void)user;
    if (!e) {
        *flags |= NGHTTP2_DATA_FLAG_EOF; /* cancelled: a reset follows */
        return 0;
    }
    size_t left = e->x->body_len - e->body_at, n = left < length ? left : length;
    memcpy(buf, e->x->body + e->body_at, n);
    e->body_at += n;
    if (e->body_at == e->x->body_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void put(nghttp2_nv *nv, size_t *n, const char *name, const char *value)
{
    nv[(*n)++] = (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                              strlen(value), NGHTTP2_NV_FLAG_NONE};
}

void client_conn_submit(struct client_conn *conn, struct client_exchange *e)
{
    struct neap_http_client *c = conn->client;
    const struct neap_exchange *x = e->x;
    nghttp2_nv nv[CLIENT_HEADERS_MAX];
    size_t n = 0;
    char *token = c->token ? neap_asprintf("Bearer %s", c->token) : NULL;
    put(nv, &n, ":method", x->method);
    put(nv, &n, ":scheme", "https");
    put(nv, &n, ":authority", client_host(c));
    put(nv, &n, ":path", x->path);
    put(nv, &n, "user-agent", c->user_agent);
    if (token)
        put(nv, &n, "authorization", token);
    for (const struct neap_header *h = x->headers; h && h->name && n < CLIENT_HEADERS_MAX; h++)
        put(nv, &n, h->name, h->value);
    nghttp2_data_provider body = {.read_callback = read_body};
    e->stream_id =
        nghttp2_submit_request(conn->session, NULL, nv, n, x->body_len ? &body : NULL, e);
    free(token);
    neap_list_remove(&e->link);
    neap_list_append(&conn->exchanges, &e->link);
    if (e->stream_id < 0) {
        client_exchange_end(e, NEAP_EUNAVAILABLE, nghttp2_strerror(e->stream_id));
        conn->goaway = true; /* its stream numbers are used up */
        return;
    }
    e->conn = conn;
    conn->streams++;
    if (!conn->pinged_ms)
        conn->io.active_ms = neap_loop_now_ms(c->loop);
    http_io_flush_soon(&conn->io);
}

void client_conn_cancel(struct client_conn *conn, struct client_exchange *e)
{
    if (!conn->session)
        return;
    nghttp2_session_set_stream_user_data(conn->session, e->stream_id, NULL);
    nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, e->stream_id, NGHTTP2_CANCEL);
    e->conn = NULL;
    http_io_flush_soon(&conn->io);
}

void client_conn_pause(struct client_conn *conn, struct client_exchange *e, bool paused)
{
    e->paused = paused;
    if (paused || !e->held || !conn->session)
        return;
    nghttp2_session_consume_stream(conn->session, e->stream_id, e->held);
    e->held = 0;
    http_io_flush_soon(&conn->io);
}

/* ---- receiving ---- */

static void fail(struct client_exchange *e, int code, const char *text)
{
    client_conn_cancel(e->conn, e);
    client_exchange_end(e, code, text);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct client_exchange *e = exchange_of(session, frame->hd.stream_id);
    enum { ARENA = 256 << 10 };
    (void)flags;
    (void)user;
    if (!e || frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat == NGHTTP2_HCAT_HEADERS)
        return 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
        e->status = atoi((const char *)value); /* three digits: nghttp2 has checked */
        return 0;
    }
    if (name[0] == ':' || e->header_count == CLIENT_HEADERS_MAX)
        return 0;
    if (!e->arena)
        e->arena = neap_arena_new(ARENA);
    const char *n = neap_arena_strndup(e->arena, (const char *)name, name_len),
               *v = neap_arena_strndup(e->arena, (const char *)value, value_len);
    if (n && v)
        e->headers[e->header_count++] = (struct neap_header){n, v};
    return 0;
}

static void head_complete(struct client_exchange *e)
{
    if (e->status < 200) { /* 100 Continue: another head comes */
        e->status = 0;
        e->header_count = 0;
        return;
    }
    struct neap_exchange *x = e->x;
    if (x->streaming && e->timer)
        neap_timer_stop(e->timer); /* until the head: now it may last */
    if (x->head)
        x->head(x, e->status, e->headers);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct client_conn *conn = user;
    struct client_exchange *e;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
            conn->settled = true;
            client_pump_soon(conn->client);
        }
        break;
    case NGHTTP2_GOAWAY:
        conn->goaway = true;
        break;
    case NGHTTP2_PING:
        conn->pinged_ms = 0;
        break;
    case NGHTTP2_HEADERS:
        e = exchange_of(session, frame->hd.stream_id);
        if (e && frame->headers.cat != NGHTTP2_HCAT_HEADERS)
            head_complete(e);
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t len, void *user)
{
    struct client_exchange *e = exchange_of(session, stream_id);
    (void)flags;
    (void)user;
    nghttp2_session_consume_connection(session, len); /* one slow reader must not stop the others */
    if (e && e->paused)
        e->held += len;
    else
        nghttp2_session_consume_stream(session, stream_id, len);
    if (!e)
        return 0;
    if (e->x->streaming) {
        if (e->x->data)
            e->x->data(e->x, (const char *)data, len);
    } else if (e->body.len + len > e->client->body_max) {
        fail(e, NEAP_ETOOLARGE, "the answer is too large");
    } else {
        neap_buf_append(&e->body, data, len);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    struct client_conn *conn = user;
    struct client_exchange *e = exchange_of(session, stream_id);
    char text[96];
    conn->streams--;
    client_pump_soon(conn->client);
    if (!e)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (code == NGHTTP2_REFUSED_STREAM) {
        client_exchange_retry(e, "the server refuses more requests");
    } else if (code != NGHTTP2_NO_ERROR || !e->status) {
        snprintf(text, sizeof(text), "the server broke the answer off: %s",
                 nghttp2_http2_strerror(code));
        client_exchange_end(e, NEAP_EUNAVAILABLE, text);
    } else {
        client_exchange_end(e, 0, NULL);
    }
    return 0;
}

/* ---- the connection ---- */

static void session_start(struct client_conn *conn)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_no_auto_window_update(option, 1); /* client_conn_pause */
    nghttp2_session_client_new2(&conn->session, cb, conn, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CLIENT_WINDOW},
    };
    nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings, NEAP_ARRAY_LEN(settings));
    nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0, 4 * CLIENT_WINDOW);
}

static void on_ready(struct http_io *io)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(io->ssl, &name, &len);
    if (len == 2 && memcmp(name, "h2", 2) == 0)
        session_start(conn_of(io));
    else
        http_io_close(io, "the server does not speak HTTP/2");
}

static bool on_input(struct http_io *io, const char *data, size_t len)
{
    struct client_conn *conn = conn_of(io);
    conn->pinged_ms = 0; /* any byte shows that it lives */
    conn->inside = true;
    ssize_t n = nghttp2_session_mem_recv(conn->session, (const uint8_t *)data, len);
    conn->inside = false;
    if (conn->doomed)
        http_io_close(io, "closed");
    return n >= 0;
}

static void on_output(struct http_io *io)
{
    struct client_conn *conn = conn_of(io);
    conn->inside = true;
    while (http_io_waiting(io) < HTTP_OUT_HIGH) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(conn->session, &data);
        if (n <= 0)
            break;
        neap_buf_append(&io->out, data, (size_t)n);
    }
    conn->inside = false;
    if (conn->doomed) {
        http_io_close(io, "closed");
        return;
    }
    if (!nghttp2_session_want_read(conn->session) && !nghttp2_session_want_write(conn->session))
        io->closing = true;
}

/* A read may be asked again; what changes something may have happened. */
static void lost(struct client_exchange *e, const char *why)
{
    char text[200];
    snprintf(text, sizeof(text), "%s: %s", client_host(e->client), why);
    if (strcmp(e->x->method, "GET") == 0)
        client_exchange_retry(e, text);
    else
        client_exchange_end(e, NEAP_EUNAVAILABLE, text);
}

static void on_gone(struct http_io *io)
{
    struct client_conn *conn = conn_of(io);
    struct neap_http_client *c = conn->client;
    neap_list_remove(&conn->link);
    c->conn_count--;
    neap_list_foreach(&conn->exchanges, l)
    {
        struct client_exchange *e = neap_list_entry(l, struct client_exchange, link);
        lost(e, io->reason);
    }
    nghttp2_session_del(conn->session);
    conn->session = NULL;
    if (c->closed)
        return;
    if (!conn->settled)
        client_dial_failed(c, io->reason);
    else
        client_pump_soon(c);
}

static void on_release(struct http_io *io)
{
    struct client_conn *conn = conn_of(io);
    client_unref(conn->client);
    free(conn);
}

static const struct http_io_ops client_io = {on_ready, on_input, on_output, on_gone, on_release};

int client_conn_new(struct neap_http_client *c, struct neap_err *err)
{
    struct client_conn *conn = neap_calloc(1, sizeof(*conn));
    neap_list_init(&conn->exchanges);
    conn->client = c;
    conn->begun_ms = neap_loop_now_ms(c->loop);
    int rc = client_dial(c, &conn->io, &client_io, "\x02h2", err);
    if (rc) {
        free(conn);
        return rc;
    }
    neap_list_append(&c->conns, &conn->link);
    c->conn_count++;
    c->refs++;
    return 0;
}

void client_conn_forget(struct client_conn *conn, struct neap_list *to)
{
    neap_list_foreach(&conn->exchanges, l)
    {
        struct client_exchange *e = neap_list_entry(l, struct client_exchange, link);
        nghttp2_session_set_stream_user_data(conn->session, e->stream_id, NULL);
        e->conn = NULL;
        neap_list_remove(&e->link);
        neap_list_append(to, &e->link);
    }
}

void client_conn_close(struct client_conn *conn, const char *why)
{
    if (conn->inside)
        conn->doomed = true;
    else
        http_io_close(&conn->io, why);
}

void client_conn_tick(struct client_conn *conn, int64_t now)
{
    int64_t idle = now - conn->io.active_ms;
    if (!conn->settled && now - conn->begun_ms > CLIENT_CONNECT_MS)
        http_io_close(&conn->io, "timed out");
    else if (conn->pinged_ms && now - conn->pinged_ms > CLIENT_PING_MS)
        http_io_close(&conn->io, "the server does not answer");
    else if (conn->settled && neap_list_empty(&conn->exchanges) &&
             (conn->goaway || idle > CLIENT_IDLE_MS))
        http_io_close(&conn->io, "idle");
    else if (conn->settled && !conn->pinged_ms && idle > CLIENT_PING_MS &&
             !neap_list_empty(&conn->exchanges)) {
        conn->pinged_ms = now;
        nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL);
        http_io_flush_soon(&conn->io);
    }
}
