/* What a websocket handshake offers: a bearer token among the subprotocols, and the names to choose from.
 * Source: k8s.io/apiserver pkg/authentication/request/websocket. */
#include "http_internal.h"
#include "base64.h"

#define TOKEN_PREFIX "base64url.bearer.authorization.k8s.io."
enum { OFFERS_MAX = 32 };

static struct neap_header *find(struct http_request *r, const char *name)
{
    for (unsigned i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return &r->headers[i];
    return NULL;
}

/* An Authorization header that is there wins. */
static void use_token(struct http_request *r, const char *text)
{
    NEAP_CLEANUP_BUF struct neap_buf plain = NEAP_BUF_INIT;
    if (find(r, "authorization") || !http_base64url_decode(&plain, text, strlen(text)) ||
        !plain.len || memchr(plain.data, '\0', plain.len))
        return;
    const char *value = neap_arena_printf(r->call->arena, "Bearer %s", plain.data);
    if (value)
        http_request_header(r, "authorization", 13, value, strlen(value));
}

void http_ws_prepare(struct http_request *r, const char *key)
{
    struct neap_arena *a = r->call->arena;
    NEAP_CLEANUP_BUF struct neap_buf rest = NEAP_BUF_INIT;
    char *copy, *save = NULL;
    r->ws_key = neap_arena_strdup(a, key);
    for (unsigned i = 0; i < r->header_count; i++) {
        if (strcmp(r->headers[i].name, "sec-websocket-protocol") != 0)
            continue;
        copy = neap_strdup(r->headers[i].value);
        neap_buf_reset(&rest);
        neap_buf_str(&rest, "");
        for (char *t = strtok_r(copy, ", \t", &save); t; t = strtok_r(NULL, ", \t", &save)) {
            if (neap_startswith(t, TOKEN_PREFIX))
                use_token(r, t + sizeof(TOKEN_PREFIX) - 1);
            else
                neap_buf_printf(&rest, "%s%s", rest.len ? "," : "", t);
        }
        free(copy);
        const char *left = neap_arena_strdup(a, rest.data);
        r->headers[i].value = left ? left : "";
    }
}

static unsigned offers(struct http_request *r, const char **out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->header_count; i++) {
        if (strcmp(r->headers[i].name, "sec-websocket-protocol") != 0)
            continue;
        char *save = NULL, *copy = neap_arena_strdup(r->call->arena, r->headers[i].value);
        for (char *t = copy ? strtok_r(copy, ",", &save) : NULL; t && n < OFFERS_MAX;
             t = strtok_r(NULL, ",", &save))
            out[n++] = t;
    }
    out[n] = NULL;
    return n;
}

void http_ws_choose(struct http_request *r)
{
    const struct neap_http_server_options *o = &r->conn->server->options;
    struct neap_call *c = r->call;
    const char *offered[OFFERS_MAX + 1];
    unsigned n = offers(r, offered);
    const char *name = n && o->choose_protocol ? o->choose_protocol(o->arg, c, offered) : NULL;
    /* a watch speaks the same under any name; a browser wants one of its own back */
    if (!name && n && c->verb == NEAP_WATCH)
        name = offered[0];
    c->stream_protocol = name;
    c->upgradable = name || !n;
}

bool http_ws_wanted(const struct http_request *r)
{
    const struct neap_call *c = r->call;
    if (!r->ws_key || !c->upgradable || r->refused || c->status >= 400)
        return false;
    bool body = c->stream_body && (c->verb == NEAP_WATCH || neap_streq(c->subresource, "log"));
    return c->stream || body;
}
