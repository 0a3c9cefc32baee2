/* The plugin itself. Operations are applied to the state in the order they come, and to the kernel one
 * after the other: small changes by netlink on the host's pool, whole loads (and new chains) by a child
 * that runs `nft -f -`. When a change is refused, the whole table is loaded again. */
#include "nft.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHILD_MS 60000

struct job;
struct nft {
    const struct neap_host *host;
    char *netns, *program, table[32];
    struct nft_ranges ranges;
    struct nft_state state;
    struct mnl_socket *socket;
    struct job *jobs; /* oldest first; the first one runs */
    bool loaded;      /* the kernel's table is ours as of the jobs done */
};

struct job {
    struct job *next;
    struct nft *n;
    struct neap_op *op;
    void (*run)(struct job *j);
    const void *argument; /* the caller's, alive until done */
    size_t count;
    char *text;
    struct nft_delta delta;
    int code;
    char message[512];
};

static const struct neap_option options[] = {
    {"program", NEAP_OPTION_STRING, NULL, 0, 0, "path of the nft program; none: the usual places"},
    {NULL, NEAP_OPTION_STRING, NULL, 0, 0, NULL},
};

/* ---- the queue */
static void job_next(struct nft *n);

static void run_first(void *arg)
{
    struct job *j = arg;
    j->run(j);
}

static void finish(void *arg)
{
    struct job *j = arg;
    struct nft *n = j->n;
    n->jobs = j->next;
    job_next(n);
    j->op->done(j->op, j->code, j->code ? j->message : NULL);
    nft_delta_done(&j->delta);
    free(j->text);
    free(j);
}

static void job_done(struct job *j)
{
    j->n->host->loop->post(j->n->host->ctx, finish, j);
}

static void job_next(struct nft *n)
{
    if (n->jobs)
        n->host->loop->post(n->host->ctx, run_first, n->jobs);
}

static struct job *submit(struct nft *n, struct neap_op *op, const void *argument, size_t count,
                          void (*run)(struct job *))
{
    struct job *j = calloc(1, sizeof *j), **at = &n->jobs;
    if (!j)
        abort();
    *j = (struct job){.n = n, .op = op, .run = run, .argument = argument, .count = count};
    bool idle = !n->jobs;
    while (*at)
        at = &(*at)->next;
    *at = j;
    if (idle)
        job_next(n);
    return j;
}

/* ---- the child: also in the node's own namespace */
static void child(struct job *j, void (*done)(void *, const struct neap_host_child_result *))
{
    char ns[4200];
    const char *here[] = {j->n->program, "-f", "-", NULL};
    const char *there[] = {"nsenter", ns, j->n->program, "-f", "-", NULL};
    if (j->n->netns)
        snprintf(ns, sizeof ns, "--net=%s", j->n->netns);
    j->n->host->loop->child(j->n->host->ctx, j->n->netns ? there : here, j->text, strlen(j->text),
                            CHILD_MS, done, j);
}

static void child_result(struct job *j, const struct neap_host_child_result *r)
{
    j->code = r->status ? NEAP_EINTERNAL : 0;
    if (r->status < 0)
        snprintf(j->message, sizeof j->message, "nft: %s", strerror(-r->status));
    else if (r->status)
        snprintf(j->message, sizeof j->message, "nft: %.*s",
                 (int)(r->err_len < 400 ? r->err_len : 400), r->err_len ? r->err : "failed");
}

static void load_done(void *arg, const struct neap_host_child_result *r)
{
    struct job *j = arg;
    child_result(j, r);
    j->n->loaded = j->code == 0;
    job_done(j);
}

static void load(struct job *j)
{
    free(j->text);
    j->text = nft_text_load(&j->n->state, j->n->table, &j->n->ranges);
    child(j, load_done);
}

/* ---- changes */
static void delta_done(void *arg, const struct neap_host_child_result *r)
{
    struct job *j = arg;
    child_result(j, r);
    if (j->code)
        load(j); /* somebody changed our table: all of it again */
    else
        job_done(j);
}

static void wire_work(void *arg)
{
    struct job *j = arg;
    int r = j->n->socket ? 0 : nft_wire_open(j->n->netns, &j->n->socket);
    if (!r)
        r = nft_wire_apply(j->n->socket, j->n->table, &j->delta);
    if (r && j->n->socket) { /* answers may still be on their way */
        mnl_socket_close(j->n->socket);
        j->n->socket = NULL;
    }
    j->code = r;
}

static void wire_done(void *arg)
{
    struct job *j = arg;
    if (!j->code) {
        job_done(j);
        return;
    }
    j->n->host->log->write(j->n->host->ctx, 2, "a change of the service table was refused",
                           strerror(-j->code));
    j->code = 0;
    load(j);
}

static void apply(struct job *j)
{
    struct nft *n = j->n;
    if (!n->loaded) {
        load(j);
    } else if (j->delta.chain_count || j->delta.add_count + j->delta.del_count > NFT_DELTA_MAX) {
        j->text = nft_text_delta(&j->delta, n->table);
        child(j, delta_done);
    } else if (j->delta.add_count + j->delta.del_count == 0) {
        job_done(j);
    } else {
        n->host->loop->work(n->host->ctx, wire_work, wire_done, j);
    }
}

static void note_conflicts(struct nft *n)
{
    if (n->state.conflicts)
        n->host->log->write(n->host->ctx, 2, "two services want the same address or node port",
                            "the first one keeps it");
    n->state.conflicts = 0;
}

static void run_set(struct job *j)
{
    nft_state_set(&j->n->state, j->argument, &j->delta);
    note_conflicts(j->n);
    apply(j);
}

static void set(void *self, const struct neap_proxy_service *service, struct neap_op *op)
{
    submit(self, op, service, 1, run_set);
}

static void run_remove(struct job *j)
{
    nft_state_remove(&j->n->state, j->argument, &j->delta);
    apply(j);
}

static void remove_(void *self, const char *key, struct neap_op *op)
{
    submit(self, op, key, 1, run_remove);
}

static void run_sync(struct job *j)
{
    const struct neap_proxy_service *const *list = j->argument;
    nft_state_done(&j->n->state);
    nft_state_init(&j->n->state);
    for (size_t i = 0; i < j->count; i++) {
        struct nft_delta d = {0};
        nft_state_set(&j->n->state, list[i], &d);
        nft_delta_done(&d);
    }
    note_conflicts(j->n);
    load(j);
}

static void sync_(void *self, const struct neap_proxy_service *const *services, size_t count,
                  struct neap_op *op)
{
    submit(self, op, services, count, run_sync);
}

/* ---- life */
static void destroy(void *self)
{
    struct nft *n = self;
    if (!n)
        return;
    for (unsigned i = 0; i < n->ranges.service_count; i++)
        free(n->ranges.services[i]);
    for (unsigned i = 0; i < n->ranges.pod_count; i++)
        free(n->ranges.pods[i]);
    if (n->socket)
        mnl_socket_close(n->socket);
    nft_state_done(&n->state);
    free(n->netns);
    free(n->program);
    free(n);
}

/* Goes into rules as it is: only what is a range gets in. */
static bool cidr_ok(const char *s)
{
    char text[64];
    struct nft_address a;
    bool v6;
    const char *slash = strchr(s, '/');
    if (!slash || (size_t)(slash - s) >= sizeof text || !slash[1] || strlen(slash) > 4 ||
        strspn(slash + 1, "0123456789") != strlen(slash + 1))
        return false;
    memcpy(text, s, (size_t)(slash - s));
    text[slash - s] = 0;
    return nft_address_parse(text, &a, &v6) && atoi(slash + 1) <= (v6 ? 128 : 32);
}

static bool ranges_take(const char *const *list, char **ret, unsigned *count)
{
    for (; list && *list; list++) {
        if (!cidr_ok(*list) || *count == NFT_CIDRS_MAX)
            return false;
        ret[(*count)++] = strdup(*list);
    }
    return true;
}

static bool ports_take(const char *s, char ret[24])
{
    unsigned a, b;
    char end;
    if (!s || !*s)
        s = "30000-32767";
    if (sscanf(s, "%5u-%5u%c", &a, &b, &end) != 2 || a == 0 || a > b || b > 65535)
        return false;
    snprintf(ret, 24, "%u-%u", a, b);
    return true;
}

static char *find_program(const char *option)
{
    static const char *const places[] = {"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft",
                                         "/usr/local/sbin/nft"};
    if (option && *option)
        return access(option, X_OK) == 0 ? strdup(option) : NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], X_OK) == 0)
            return strdup(places[i]);
    return NULL;
}

static int configure(const struct neap_host *host, const char *netns_path,
                     const char *const *service_cidrs, const char *const *pod_cidrs,
                     const char *node_ports, void **ret_self)
{
    struct nft *n = calloc(1, sizeof *n);
    if (!n)
        abort();
    n->host = host;
    n->netns = netns_path ? strdup(netns_path) : NULL;
    n->program = find_program(host->config->string(host->ctx, "program"));
    snprintf(n->table, sizeof n->table, "neap_%.6s", host->instance);
    nft_state_init(&n->state);
    const char *wrong = !n->program ? "the nft program is not installed (option program)"
                        : !ranges_take(service_cidrs, n->ranges.services, &n->ranges.service_count)
                            ? "a service range is not an IPv4 or IPv6 range"
                        : !ranges_take(pod_cidrs, n->ranges.pods, &n->ranges.pod_count)
                            ? "a pod range is not an IPv4 or IPv6 range"
                        : !ports_take(node_ports, n->ranges.node_ports)
                            ? "node ports are not FROM-TO"
                            : NULL;
    if (wrong) {
        host->fail(host->ctx, wrong);
        destroy(n);
        return NEAP_ECONFIG;
    }
    *ret_self = n;
    return 0;
}

static void routes_work(struct job *j, bool add)
{
    int r = 0;
    for (unsigned i = 0; i < j->n->ranges.service_count; i++) {
        int one = nft_wire_route(j->n->netns, j->n->ranges.services[i], add);
        r = one ? one : r;
    }
    j->code = r;
}

static void start_work(void *arg)
{
    routes_work(arg, true);
}

static void cleanup_work(void *arg)
{
    routes_work(arg, false);
}

static void routes_done(void *arg)
{
    struct job *j = arg;
    if (j->code) {
        snprintf(j->message, sizeof j->message, "route of the services: %s", strerror(-j->code));
        j->code = NEAP_EIO;
    }
    job_done(j);
}

/* The table of an earlier run stays in force until the first sync replaces it in one transaction. */
static void run_start(struct job *j)
{
    j->n->host->loop->work(j->n->host->ctx, start_work, routes_done, j);
}

static void start(void *self, struct neap_op *op)
{
    submit(self, op, NULL, 0, run_start);
}

static void run_stop(struct job *j)
{
    job_done(j); /* rules stay: services work while no agent runs */
}

static void stop(void *self, struct neap_op *op)
{
    submit(self, op, NULL, 0, run_stop);
}

static void table_gone(void *arg, const struct neap_host_child_result *r)
{
    struct job *j = arg;
    child_result(j, r);
    j->n->loaded = false;
    if (j->code)
        job_done(j);
    else
        j->n->host->loop->work(j->n->host->ctx, cleanup_work, routes_done, j);
}

static void run_cleanup(struct job *j)
{
    j->text = nft_text_delete(j->n->table);
    child(j, table_gone);
}

static void cleanup(void *self, struct neap_op *op)
{
    submit(self, op, NULL, 0, run_cleanup);
}

NEAP_PLUGIN_EXPORT extern const struct neap_proxy_plugin neap_plugin;
NEAP_PLUGIN_EXPORT const struct neap_proxy_plugin neap_plugin = {
    .header = {NEAP_PLUGIN_MAGIC, NEAP_PLUGIN_ABI_MAJOR, NEAP_PLUGIN_ABI_MINOR, sizeof neap_plugin,
               NEAP_PLUGIN_PROXY, "nft", "0.1", options},
    .configure = configure,
    .start = start,
    .stop = stop,
    .cleanup = cleanup,
    .destroy = destroy,
    .sync = sync_,
    .set = set,
    .remove = remove_,
};
