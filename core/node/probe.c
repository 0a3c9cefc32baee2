/* Probes: http and tcp from a thread that enters the pod's network namespace, exec through the runtime.
 * Source: Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes". */
#include "node_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const names[] = {"startupProbe", "livenessProbe", "readinessProbe"};
static const char *const words[] = {"Startup", "Liveness", "Readiness"};

static int64_t number(struct probe *b, const char *name, int64_t dflt)
{
    yyjson_val *v = yyjson_obj_get(b->spec, name);
    return v ? yyjson_get_sint(v) : dflt;
}

/* ---- results ---- */

static void schedule(struct probe *b, uint64_t ms)
{
    if (!b->stopped && b->timer)
        neap_timer_start(b->timer, ms, 0);
}

static void passed(struct probe *b)
{
    struct container *c = b->container;
    b->failures = 0;
    if (++b->successes < (unsigned)number(b, "successThreshold", 1))
        return;
    if (b->type == PROBE_STARTUP && !c->startup_done) {
        c->startup_done = true;
        b->stopped = true;
        for (int t = PROBE_LIVENESS; t < PROBE_TYPES; t++)
            if (c->probes[t].timer)
                schedule(&c->probes[t],
                         (uint64_t)number(&c->probes[t], "initialDelaySeconds", 0) * 1000);
        c->ready = !c->probes[PROBE_READINESS].timer;
    } else if (b->type == PROBE_READINESS) {
        c->ready = true;
    }
    pod_step(c->pod);
}

static void failed(struct probe *b, const char *why)
{
    struct container *c = b->container;
    char text[700];
    b->successes = 0;
    snprintf(text, sizeof(text), "%s probe failed: %s", words[b->type], why);
    node_event(c->pod, "Warning", "Unhealthy", NULL, text);
    if (++b->failures < (unsigned)number(b, "failureThreshold", 3))
        return;
    if (b->type == PROBE_READINESS) {
        c->ready = false;
        pod_step(c->pod);
        return;
    }
    snprintf(text, sizeof(text), "Container %s failed %s probe, will be restarted", c->name,
             b->type == PROBE_STARTUP ? "startup" : "liveness");
    b->failures = 0;
    container_restart(c, text);
}

/* What a probe's run needs; outlives the container. */
struct run {
    struct probe *probe; /* NULL: nobody waits any more */
    struct neap_node *node;
    char netns[256], host[64], path[1024], headers[1024], why[256];
    int port, timeout_ms;
    bool http, ok;
    struct neap_runtime_io *io;
    struct neap_runtime_io_events events;
    struct run **slot;
};

static struct run *running[PROBE_TYPES * 4096];

static void over(struct run *r)
{
    struct probe *b = r->probe;
    if (b) {
        b->under_way = false;
        if (!b->stopped) {
            if (r->ok)
                passed(b);
            else
                failed(b, r->why);
            schedule(b, (uint64_t)number(b, "periodSeconds", 10) * 1000);
        }
    }
    if (r->slot)
        *r->slot = NULL;
    free(r);
}

/* ---- http and tcp: on a pool thread ---- */

static int connect_in_time(const struct run *r, char why[256])
{
    char port[8];
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *list;
    snprintf(port, sizeof(port), "%d", r->port);
    if (getaddrinfo(r->host, port, &hints, &list)) {
        snprintf(why, 256, "%s is no address", r->host);
        return -1;
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), e = 0;
    socklen_t n = sizeof(e);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int rc = connect(fd, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    if (rc != 0 && errno == EINPROGRESS) {
        if (poll(&p, 1, r->timeout_ms) <= 0)
            e = ETIMEDOUT;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
    } else if (rc != 0) {
        e = errno;
    }
    if (!e)
        return fd;
    snprintf(why, 256, "dial tcp %s:%d: %s", r->host, r->port, strerror(e));
    close(fd);
    return -1;
}

static void http_get(struct run *r, int fd)
{
    char request[2600], answer[512];
    int code = 0;
    size_t have = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = snprintf(request, sizeof(request),
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUser-Agent: kube-probe/1.37\r\n"
                     "Accept: */*\r\nConnection: close\r\n%s\r\n",
                     r->path, r->host, r->port, r->headers);
    if (n >= (int)sizeof(request) || send(fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
        snprintf(r->why, sizeof(r->why), "the request could not be sent");
        return;
    }
    while (have < sizeof(answer) - 1 && !memchr(answer, '\n', have)) {
        if (poll(&p, 1, r->timeout_ms) <= 0) {
            snprintf(r->why, sizeof(r->why),
                     "Get \"http://%s:%d%.100s\": context deadline exceeded", r->host, r->port,
                     r->path);
            return;
        }
        ssize_t got = recv(fd, answer + have, sizeof(answer) - 1 - have, 0);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    answer[have] = '\0';
    if (sscanf(answer, "HTTP/1.%*d %d", &code) == 1 && code >= 200 && code < 400)
        r->ok = true;
    else
        snprintf(r->why, sizeof(r->why), "HTTP probe failed with statuscode: %d", code);
}

static void network_run(void *arg)
{
    struct run *r = arg;
    int own = -1, theirs = -1;
    if (r->netns[0]) {
        own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        theirs = open(r->netns, O_RDONLY | O_CLOEXEC);
        if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) != 0) {
            snprintf(r->why, sizeof(r->why), "the pod's network: %s", strerror(errno));
            goto out;
        }
    }
    int fd = connect_in_time(r, r->why);
    if (fd >= 0) {
        if (r->http)
            http_get(r, fd);
        else
            r->ok = true;
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
    over(arg);
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

static void set_headers(struct run *r, yyjson_val *list)
{
    size_t i, n, at = 0;
    yyjson_val *h;
    yyjson_arr_foreach(list, i, n, h)
    {
        const char *name = yyjson_get_str(yyjson_obj_get(h, "name"));
        const char *value = yyjson_get_str(yyjson_obj_get(h, "value"));
        if (!name || !value || strpbrk(name, "\r\n:") || strpbrk(value, "\r\n"))
            continue;
        int w = snprintf(r->headers + at, sizeof(r->headers) - at, "%s: %s\r\n", name, value);
        if (w < 0 || at + (size_t)w >= sizeof(r->headers))
            break;
        at += (size_t)w;
    }
}

static void start_network(struct probe *b, struct run *r, yyjson_val *action)
{
    struct pod *p = b->container->pod;
    struct neap_node *n = p->node;
    struct neap_runtime_sandbox_status s;
    const char *host = yyjson_get_str(yyjson_obj_get(action, "host"));
    const char *path = yyjson_get_str(yyjson_obj_get(action, "path"));
    r->port = port_of(b->container, yyjson_obj_get(action, "port"));
    snprintf(r->host, sizeof(r->host), "%s",
             host             ? host
             : p->has_address ? p->address.addresses[0]
                              : "127.0.0.1");
    snprintf(r->path, sizeof(r->path), "%s%s", path && *path == '/' ? "" : "/", path ? path : "");
    set_headers(r, yyjson_obj_get(action, "httpHeaders"));
    if (n->options.runtime->sandbox_status(n->runtime, p->uid, &s) == 0 && s.netns_path)
        snprintf(r->netns, sizeof(r->netns), "%s", s.netns_path);
    neap_loop_work(n->options.loop, network_run, network_done, r);
}

/* ---- exec ---- */

static void exec_output(void *arg, int fd, const void *data, size_t len)
{
    struct run *r = arg;
    size_t at = strlen(r->why);
    (void)fd;
    if (at + 1 < sizeof(r->why))
        snprintf(r->why + at, sizeof(r->why) - at, "%.*s", (int)(len > 200 ? 200 : len),
                 (const char *)data);
}

static void exec_writable(void *arg)
{
    (void)arg;
}

static void exec_done(void *arg, int code, const char *error)
{
    struct run *r = arg;
    r->ok = code == 0;
    if (error)
        snprintf(r->why, sizeof(r->why), "%s", error);
    if (r->io)
        r->node->options.runtime->io_close(r->node->runtime, r->io);
    over(r);
}

static void start_exec(struct probe *b, struct run *r, yyjson_val *action)
{
    struct neap_node *n = b->container->pod->node;
    const char *argv[65] = {NULL};
    size_t i, count, k = 0;
    yyjson_val *v;
    yyjson_arr_foreach(yyjson_obj_get(action, "command"), i, count, v)
    {
        if (k < 64)
            argv[k++] = yyjson_get_str(v);
    }
    struct neap_runtime_exec_config config = {.container_id = b->container->id,
                                              .argv = argv,
                                              .stdout_ = true,
                                              .stderr_ = true,
                                              .timeout_ms = r->timeout_ms};
    r->events = (struct neap_runtime_io_events){exec_output, exec_writable, exec_done};
    r->io = n->options.runtime->exec(n->runtime, &config, &r->events, r);
    if (!r->io) {
        snprintf(r->why, sizeof(r->why), "exec did not start");
        over(r);
    }
}

/* ---- life ---- */

static void on_timer(void *arg)
{
    struct probe *b = arg;
    struct container *c = b->container;
    yyjson_val *v;
    if (b->stopped || b->under_way || c->state != CONTAINER_RUNNING)
        return;
    if (b->type != PROBE_STARTUP && !c->startup_done)
        return; /* begins when the startup probe is through */
    struct run *r = neap_calloc(1, sizeof(*r));
    for (size_t i = 0; i < NEAP_ARRAY_LEN(running) && !r->slot; i++)
        if (!running[i])
            r->slot = &running[i];
    if (r->slot)
        *r->slot = r;
    r->probe = b;
    r->node = c->pod->node;
    r->timeout_ms = (int)number(b, "timeoutSeconds", 1) * 1000;
    b->under_way = true;
    if ((v = yyjson_obj_get(b->spec, "httpGet"))) {
        r->http = true;
        start_network(b, r, v);
    } else if ((v = yyjson_obj_get(b->spec, "tcpSocket"))) {
        start_network(b, r, v);
    } else if ((v = yyjson_obj_get(b->spec, "exec"))) {
        start_exec(b, r, v);
    } else {
        snprintf(r->why, sizeof(r->why), "this kind of probe is not served");
        r->ok = true;
        over(r);
    }
}

void probes_start(struct container *c)
{
    probes_stop(c);
    for (int t = 0; t < PROBE_TYPES; t++) {
        struct probe *b = &c->probes[t];
        *b = (struct probe){
            .container = c, .type = (enum probe_type)t, .spec = yyjson_obj_get(c->spec, names[t])};
        if (!b->spec)
            continue;
        b->timer = neap_timer_new(c->pod->node->options.loop, on_timer, b);
        if (t == PROBE_STARTUP || c->startup_done)
            schedule(b, (uint64_t)number(b, "initialDelaySeconds", 0) * 1000);
    }
    c->ready = c->startup_done && !c->probes[PROBE_READINESS].spec;
}

void probes_stop(struct container *c)
{
    for (int t = 0; t < PROBE_TYPES; t++) {
        struct probe *b = &c->probes[t];
        b->stopped = true;
        b->timer = neap_timer_close(b->timer);
        for (size_t i = 0; b->under_way && i < NEAP_ARRAY_LEN(running); i++)
            if (running[i] && running[i]->probe == b)
                running[i]->probe = NULL;
        b->under_way = false;
    }
}
