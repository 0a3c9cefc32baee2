/* The agent's own API, the part of the kubelet's that the API server uses: containerLogs, exec, attach,
 * health. Source: k8s.io/kubernetes pkg/kubelet/server (routes and parameters). */
#include "kubelet.h"

#include <stdarg.h>

static int hex(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* A segment of a path or a query value; "+" is a blank in the latter. NULL: not decodable. */
static char *decode(struct neap_arena *arena, const char *s, size_t len, bool query)
{
    char *out = neap_arena_strndup(arena, s, len), *w = out;
    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '%') {
            int high = i + 2 < len ? hex(s[i + 1]) : -1, low = high >= 0 ? hex(s[i + 2]) : -1;
            if (low < 0 || (high | low) == 0)
                return NULL;
            *w++ = (char)(high << 4 | low);
            i += 2;
        } else {
            *w++ = query && s[i] == '+' ? ' ' : s[i];
        }
    }
    *w = '\0';
    return out;
}

const char *kubelet_query(struct neap_call *c, const char *name, unsigned at)
{
    size_t n = strlen(name);
    for (const char *p = c->query; p && *p; p = strchr(p, '&') ? strchr(p, '&') + 1 : NULL) {
        size_t len = strcspn(p, "&");
        if (strncmp(p, name, n) != 0 || (p[n] != '=' && p[n] != '&' && p[n] != '\0') || at--)
            continue;
        return len > n ? decode(c->arena, p + n + 1, len - n - 1, true) : "";
    }
    return NULL;
}

int64_t kubelet_query_int(struct neap_call *c, const char *name)
{
    const char *s = kubelet_query(c, name, 0);
    uint64_t v;
    if (!s)
        return -1;
    return neap_parse_u64(s, INT64_MAX, &v) ? (int64_t)v : -2;
}

bool kubelet_query_bool(struct neap_call *c, const char *name)
{
    const char *s = kubelet_query(c, name, 0);
    return s && (strcmp(s, "1") == 0 || strcmp(s, "true") == 0);
}

void kubelet_text(struct neap_call *c, int status, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->status = status;
    c->reply_type = "text/plain; charset=utf-8";
    neap_buf_str(&c->reply_buf, text);
    c->reply = c->reply_buf.data;
    c->reply_len = c->reply_buf.len;
    c->finish(c);
}

static struct container *find(struct neap_node *n, struct neap_call *c, const char *const *part)
{
    struct pod *p = pod_by_name(n, part[0], part[1]);
    if (!p) {
        kubelet_text(c, 404, "pod \"%s/%s\" is not on this node", part[0], part[1]);
        return NULL;
    }
    for (unsigned i = 0; i < p->count; i++)
        if (strcmp(p->containers[i].name, part[2]) == 0)
            return &p->containers[i];
    kubelet_text(c, 404, "container %s is not in pod \"%s/%s\"", part[2], part[0], part[1]);
    return NULL;
}

static void to_logs(struct container *x, struct neap_call *c)
{
    kubelet_logs(x, c);
}

static void to_exec(struct container *x, struct neap_call *c)
{
    kubelet_exec(x, c, false);
}

static void to_attach(struct container *x, struct neap_call *c)
{
    kubelet_exec(x, c, true);
}

static const struct {
    const char *prefix;
    void (*handle)(struct container *x, struct neap_call *c);
} routes[] = {
    {"/containerLogs/", to_logs},
    {"/exec/", to_exec},
    {"/attach/", to_attach},
};

/* namespace, pod, container */
static bool split(struct neap_call *c, const char *rest, const char *part[3])
{
    for (int i = 0; i < 3; i++) {
        size_t len = strcspn(rest, "/");
        part[i] = len ? decode(c->arena, rest, len, false) : NULL;
        if (!part[i] || (rest[len] == '\0') != (i == 2))
            return false;
        rest += len + 1;
    }
    return true;
}

void neap_node_handle(struct neap_node *n, struct neap_call *c)
{
    const char *part[3];
    if (strcmp(c->path, "/healthz") == 0) {
        kubelet_text(c, 200, "ok");
        return;
    }
    for (size_t i = 0; i < NEAP_ARRAY_LEN(routes); i++) {
        if (!neap_startswith(c->path, routes[i].prefix))
            continue;
        struct container *x = NULL;
        if (!split(c, c->path + strlen(routes[i].prefix), part))
            break;
        x = find(n, c, part);
        if (x)
            routes[i].handle(x, c);
        return;
    }
    kubelet_text(c, 404, "404 page not found");
}
