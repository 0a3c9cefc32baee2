/* What a probe or a hook does: httpGet, tcpSocket, grpc from a pool thread that enters the pod's network
 * namespace; exec through the runtime; sleep. Source: Kubernetes API, Probe and LifecycleHandler. */
#include "action.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

enum { BODY_SEEN = 512, ARGUMENTS_MAX = 1024 };

static void finish(struct action *a)
{
    if (!a->cancelled)
        a->done(a->arg, a->ok, a->why);
    neap_timer_close(a->timer);
    for (size_t i = 0; a->argv && a->argv[i]; i++)
        free((char *)(uintptr_t)a->argv[i]);
    free(a->argv);
    free(a);
}

void action_fail(struct action *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->why, sizeof(a->why), fmt, ap);
    va_end(ap);
}

/* ---- http and tcp: on a pool thread ---- */

static int connect_in_time(struct action *a)
{
    char port[8];
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *list;
    snprintf(port, sizeof(port), "%d", a->port);
    if (getaddrinfo(a->host, port, &hints, &list)) {
        action_fail(a, "%s is no address", a->host);
        return -1;
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), e = 0;
    socklen_t n = sizeof(e);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int rc = fd < 0 ? -1 : connect(fd, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    if (rc != 0 && errno == EINPROGRESS) {
        if (poll(&p, 1, a->timeout_ms) <= 0)
            e = ETIMEDOUT;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
    } else if (rc != 0) {
        e = errno;
    }
    if (!e)
        return fd;
    action_fail(a, "dial tcp %s: %s", a->authority, strerror(e));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* One blocking read or write with the action's time, over TLS or not. */
static ssize_t transfer(struct action *a, int fd, SSL *ssl, void *data, size_t len, bool write_)
{
    for (;;) {
        ssize_t n = !ssl
                        ? (write_ ? send(fd, data, len, MSG_NOSIGNAL) : recv(fd, data, len, 0))
                        : (write_ ? SSL_write(ssl, data, (int)len) : SSL_read(ssl, data, (int)len));
        if (n > 0)
            return n;
        int want = ssl ? SSL_get_error(ssl, (int)n) : 0;
        bool again = ssl ? want == SSL_ERROR_WANT_READ || want == SSL_ERROR_WANT_WRITE
                         : n < 0 && errno == EAGAIN;
        bool writes = ssl ? want == SSL_ERROR_WANT_WRITE : write_;
        struct pollfd p = {.fd = fd, .events = writes ? POLLOUT : POLLIN};
        if (!again)
            return 0;
        if (poll(&p, 1, a->timeout_ms) <= 0)
            return -1;
    }
}

static SSL *start_tls(struct action *a, int fd, SSL_CTX **ret_ctx)
{
    *ret_ctx = SSL_CTX_new(TLS_client_method()); /* the kubelet verifies nothing here either */
    SSL *ssl = *ret_ctx ? SSL_new(*ret_ctx) : NULL;
    if (!ssl)
        return NULL;
    SSL_set_fd(ssl, fd);
    for (;;) {
        int rc = SSL_connect(ssl), want = SSL_get_error(ssl, rc);
        struct pollfd p = {.fd = fd, .events = want == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN};
        if (rc == 1)
            return ssl;
        if ((want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE) ||
            poll(&p, 1, a->timeout_ms) <= 0)
            break;
    }
    action_fail(a, "TLS handshake with %s failed", a->authority);
    SSL_free(ssl);
    return NULL;
}

static void http_get(struct action *a, int fd, SSL *ssl)
{
    char request[4600], reply[BODY_SEEN];
    int code = 0;
    size_t have = 0, sent = 0;
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\n%s%s%.0d%s%sAccept: */*\r\nConnection: close\r\n%s\r\n",
                     a->path, a->own_host ? "" : "Host: ", a->own_host ? "" : a->authority, 0,
                     a->own_host ? "" : "\r\n",
                     a->own_agent ? "" : "User-Agent: kube-probe/1.37\r\n", a->headers);
    while (n < (int)sizeof(request) && sent < (size_t)n) {
        ssize_t w = transfer(a, fd, ssl, request + sent, (size_t)n - sent, true);
        if (w <= 0)
            break;
        sent += (size_t)w;
    }
    while (sent == (size_t)n && have < sizeof(reply) - 1 && !memchr(reply, '\n', have)) {
        ssize_t got = transfer(a, fd, ssl, reply + have, sizeof(reply) - 1 - have, false);
        if (got < 0) {
            action_fail(a, "Get \"%s://%s%.100s\": context deadline exceeded",
                        a->tls ? "https" : "http", a->authority, a->path);
            return;
        }
        if (got == 0)
            break;
        have += (size_t)got;
    }
    reply[have] = '\0';
    if (sscanf(reply, "HTTP/1.%*d %d", &code) == 1 && code >= 200 && code < 400)
        a->ok = true;
    else
        action_fail(a, "HTTP probe failed with statuscode: %d", code);
}

static void speak(struct action *a, int fd)
{
    SSL_CTX *ctx = NULL;
    SSL *ssl = NULL;
    if (a->type == ACTION_TCP) {
        a->ok = true;
    } else if (a->type == ACTION_GRPC) {
        action_grpc(a, fd);
    } else if (!a->tls || (ssl = start_tls(a, fd, &ctx))) {
        http_get(a, fd, ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
}

static void network_run(void *arg)
{
    struct action *a = arg;
    int own = -1, theirs = -1;
    if (a->netns[0]) {
        own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        theirs = open(a->netns, O_RDONLY | O_CLOEXEC);
        if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) != 0) {
            action_fail(a, "the pod's network: %s", strerror(errno));
            goto out;
        }
    }
    int fd = connect_in_time(a);
    if (fd >= 0) {
        speak(a, fd);
        close(fd);
    }
    if (own >= 0 && setns(own, CLONE_NEWNET) != 0)
        abort(); /* a thread in a foreign namespace must not go on */
out:
    if (own >= 0)
        close(own);
    if (theirs >= 0)
        close(theirs);
}

static void network_done(void *arg)
{
    finish(arg);
}

/* A number, or the name of one of the container's ports. */
static int port_of(struct container *c, yyjson_val *v)
{
    size_t i, n;
    yyjson_val *p;
    if (yyjson_is_int(v))
        return (int)yyjson_get_sint(v);
    yyjson_arr_foreach(yyjson_obj_get(c->spec, "ports"), i, n, p)
    {
        if (yyjson_equals(yyjson_obj_get(p, "name"), v))
            return (int)yyjson_get_sint(yyjson_obj_get(p, "containerPort"));
    }
    return yyjson_is_str(v) ? atoi(yyjson_get_str(v)) : 0;
}

static void set_headers(struct action *a, yyjson_val *list)
{
    size_t i, n, at = 0;
    yyjson_val *h;
    yyjson_arr_foreach(list, i, n, h)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(h, "name"));
        const char *value = yyjson_get_str(yyjson_obj_get(h, "value"));
        if (!name || !value || strpbrk(name, "\r\n:") || strpbrk(value, "\r\n"))
            continue;
        int w = snprintf(a->headers + at, sizeof(a->headers) - at, "%s: %s\r\n", name, value);
        if (w < 0 || at + (size_t)w >= sizeof(a->headers)) {
            a->headers[at] = '\0';
            break;
        }
        at += (size_t)w;
        a->own_host = a->own_host || strcasecmp(name, "host") == 0;
        a->own_agent = a->own_agent || strcasecmp(name, "user-agent") == 0;
    }
}

static void start_network(struct action *a, struct container *c, yyjson_val *v)
{
    struct pod *p = c->pod;
    struct neap_node *n = p->node;
    struct neap_runtime_sandbox_status s;
    const char *host = yyjson_get_str(yyjson_obj_get(v, "host"));
    const char *path = yyjson_get_str(yyjson_obj_get(v, "path"));
    const char *service = yyjson_get_str(yyjson_obj_get(v, "service"));
    const char *own = p->has_address    ? p->address.addresses[0]
                      : p->host_network ? n->address
                                        : "127.0.0.1";
    bool is_own = !host || !*host;
    a->port = port_of(c, yyjson_obj_get(v, "port"));
    a->tls = yyjson_equals_str(yyjson_obj_get(v, "scheme"), "HTTPS");
    snprintf(a->host, sizeof(a->host), "%s", is_own ? own : host);
    snprintf(a->authority, sizeof(a->authority), strchr(a->host, ':') ? "[%s]:%d" : "%s:%d",
             a->host, a->port);
    snprintf(a->path, sizeof(a->path), "%s%s", path && *path == '/' ? "" : "/", path ? path : "");
    snprintf(a->service, sizeof(a->service), "%s", service ? service : "");
    set_headers(a, yyjson_obj_get(v, "httpHeaders"));
    /* another host is reached as the node reaches it */
    if (is_own && n->options.runtime->sandbox_status(n->runtime, p->uid, &s) == 0 && s.netns_path)
        snprintf(a->netns, sizeof(a->netns), "%s", s.netns_path);
    neap_loop_work(n->options.loop, network_run, network_done, a);
}

/* ---- exec ---- */

static void exec_output(void *arg, int fd, const void *data, size_t len)
{
    struct action *a = arg;
    size_t at = strlen(a->why);
    (void)fd;
    if (at + 1 < sizeof(a->why))
        snprintf(a->why + at, sizeof(a->why) - at, "%.*s", (int)(len > 200 ? 200 : len),
                 (const char *)data);
}

static void exec_writable(void *arg)
{
    (void)arg;
}

static void exec_done(void *arg, int code, const char *error)
{
    struct action *a = arg;
    a->ok = code == 0;
    if (error)
        action_fail(a, "%s", error);
    if (a->io)
        a->node->options.runtime->io_close(a->node->runtime, a->io);
    finish(a);
}

static void finish_posted(void *arg)
{
    finish(arg);
}

static void start_exec(struct action *a, struct container *c, yyjson_val *v)
{
    struct neap_node *n = c->pod->node;
    size_t i, count, k = 0;
    yyjson_val *command = yyjson_obj_get(v, "command"), *word;
    a->argv = neap_calloc(yyjson_arr_size(command) + 1, sizeof(*a->argv));
    yyjson_arr_foreach(command, i, count, word)
    {
        if (k < ARGUMENTS_MAX)
            a->argv[k++] = neap_strdup(yyjson_get_str(word));
    }
    struct neap_runtime_exec_config config = {.container_id = c->id,
                                              .argv = a->argv,
                                              .stdout_ = true,
                                              .stderr_ = true,
                                              .timeout_ms = a->timeout_ms};
    a->events = (struct neap_runtime_io_events){exec_output, exec_writable, exec_done};
    a->io = n->options.runtime->exec ? n->options.runtime->exec(n->runtime, &config, &a->events, a)
                                     : NULL;
    if (!a->io) {
        action_fail(a, "exec did not start");
        neap_loop_post(n->options.loop, finish_posted, a);
    }
}

/* ---- */

static void slept(void *arg)
{
    struct action *a = arg;
    a->ok = true;
    finish(a);
}

struct action *action_start(struct container *c, yyjson_val *handler, int timeout_ms,
                            void (*done)(void *arg, bool ok, const char *why), void *arg)
{
    struct neap_node *n = c->pod->node;
    struct action *a = neap_calloc(1, sizeof(*a));
    yyjson_val *v;
    *a = (struct action){.node = n, .done = done, .arg = arg, .timeout_ms = timeout_ms};
    if ((v = yyjson_obj_get(handler, "httpGet"))) {
        a->type = ACTION_HTTP;
        start_network(a, c, v);
    } else if ((v = yyjson_obj_get(handler, "tcpSocket"))) {
        a->type = ACTION_TCP;
        start_network(a, c, v);
    } else if ((v = yyjson_obj_get(handler, "grpc"))) {
        a->type = ACTION_GRPC;
        start_network(a, c, v);
    } else if ((v = yyjson_obj_get(handler, "exec"))) {
        a->type = ACTION_EXEC;
        start_exec(a, c, v);
    } else {
        v = yyjson_obj_get(handler, "sleep");
        a->timer = neap_timer_new(n->options.loop, slept, a);
        neap_timer_start(a->timer,
                         (uint64_t)seconds_ms(yyjson_get_sint(yyjson_obj_get(v, "seconds"))), 0);
    }
    return a;
}

void action_cancel(struct action *a)
{
    if (!a)
        return;
    a->cancelled = true; /* a thread or the runtime still holds it: finish() frees */
    if (a->timer)
        finish(a);
}
