/* Point-to-point veths with routes to single addresses (/32, /128). The plugin itself: descriptor, options, operations.
 *
 * On the node: device nd<instance> carries the node's pod-side address (the first of the range), which is
 * also the pods' gateway; nv<instance><slot> is a pod's. In the pod: eth0 with the address alone, a link route
 * to the gateway, a default route. IPv6: nobody answers for an address of another device, so the gateway is
 * fe80::1 on every veth. Work runs on the host's pool, one operation at a time (a mutex): the
 * pool of addresses and the netlink socket have one user. */
#include "netlink.h"
#include "pool.h"
#include "sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <net/if.h>
#include <neap/err.h> /* the codes only */
#include <neap/plugin/network.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_ROUTES_MAX 8

struct peer {
    struct peer *next;
    char name[256];
    struct veth_range ranges[PEER_ROUTES_MAX];
    unsigned count;
};

struct veth {
    const struct neap_host *host;
    char *netns, device[IFNAMSIZ];
    unsigned mtu;
    bool v6; /* the pool's family */
    struct pool pool;
    struct mnl_socket *node; /* in the node's namespace; NULL before start */
    struct peer *peers;
    pthread_mutex_t lock;
};

static const struct neap_option options[] = {
    {"mtu", NEAP_OPTION_INT, "1500", 576, 65535, "MTU of the pods' interfaces"},
    {NULL, NEAP_OPTION_STRING, NULL, 0, 0, NULL},
};

#define LINK_PREFIX 64   /* of fe80::1 */
#define V6_MTU_MIN  1280 /* RFC 8200, section 5 */

static const struct veth_address v6_gateway = {.family = AF_INET6,
                                               .bytes = {[0] = 0xfe, [1] = 0x80, [15] = 1}};

/* ---- operations: work on the pool, then done on the loop */
struct job {
    struct veth *v;
    struct neap_op *op;
    int (*work)(struct job *j); /* 0 or -errno; text may say more */
    char id[256];
    const struct neap_network_pod *pod;
    struct neap_network_result *ret;
    const struct neap_network_node *node;
    const char *what; /* the step that failed */
    int code;
};

static int code_of(int e)
{
    switch (-e) {
    case 0:
        return 0;
    case ENOSPC:
        return NEAP_ENOSPACE;
    case ENOENT:
        return NEAP_ENOTFOUND;
    case EINVAL:
        return NEAP_EINVALID;
    default:
        return NEAP_EIO;
    }
}

static void job_work(void *arg)
{
    struct job *j = arg;
    pthread_mutex_lock(&j->v->lock);
    j->code = j->work(j);
    pthread_mutex_unlock(&j->v->lock);
}

static void job_done(void *arg)
{
    struct job *j = arg;
    char text[512] = "";
    if (j->code)
        snprintf(text, sizeof text, "%s%s%s: %s", j->id, j->id[0] ? ": " : "",
                 j->what ? j->what : "network", strerror(-j->code));
    j->op->done(j->op, code_of(j->code), j->code ? text : NULL);
    free(j);
}

static struct job *job_new(struct veth *v, struct neap_op *op, const char *id,
                           int (*work)(struct job *))
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        abort();
    j->v = v;
    j->op = op;
    j->work = work;
    snprintf(j->id, sizeof j->id, "%s", id ? id : "");
    return j;
}

static void job_run(struct job *j)
{
    j->v->host->loop->work(j->v->host->ctx, job_work, job_done, j);
}

static int fail(struct job *j, const char *what, int e)
{
    if (e)
        j->what = what;
    return e;
}

/* ---- configure, restore, destroy */
static void destroy(void *self)
{
    struct veth *v = self;
    if (!v)
        return;
    while (v->peers) {
        struct peer *p = v->peers;
        v->peers = p->next;
        free(p);
    }
    if (v->node)
        mnl_socket_close(v->node);
    pool_done(&v->pool);
    pthread_mutex_destroy(&v->lock);
    free(v->netns);
    free(v);
}

static int configure(const struct neap_host *host, const char *netns_path,
                     const char *const *pod_cidrs, void **ret_self)
{
    struct veth *v = calloc(1, sizeof *v);
    if (!v)
        abort();
    const char *range = pod_cidrs ? pod_cidrs[0] : NULL;
    bool more = range && pod_cidrs[1];
    v->host = host;
    v->netns = netns_path ? strdup(netns_path) : NULL;
    v->mtu = (unsigned)host->config->integer(host->ctx, "mtu");
    if (!v->mtu)
        v->mtu = 1500;
    snprintf(v->device, sizeof v->device, "nd%.6s", host->instance);
    pthread_mutex_init(&v->lock, NULL);
    int r = range ? pool_init(&v->pool, host->data_dir, range) : -EINVAL;
    v->v6 = !r && v->pool.range.base.family == AF_INET6;
    if (r || more || (v->v6 && v->mtu < V6_MTU_MIN)) {
        char text[128];
        if (r)
            snprintf(text, sizeof text,
                     "pod range \"%.43s\": not an IPv4 range of /8 to /30, nor IPv6 of /8 to /126",
                     range ? range : "");
        else
            snprintf(text, sizeof text, "%s",
                     more ? "one pod range, of one family, is served"
                          : "mtu: IPv6 needs 1280 or more");
        host->fail(host->ctx, text);
        destroy(v);
        return NEAP_ECONFIG;
    }
    *ret_self = v;
    return 0;
}

static int restore(void *self)
{
    struct veth *v = self;
    int r = pool_load(&v->pool);
    if (r)
        v->host->fail(v->host->ctx, strerror(-r));
    return code_of(r);
}

static int set_sysctls(void *arg)
{
    struct veth *v = arg;
    return veth_sysctls_set(v->host->data_dir, v->v6);
}

static int reset_sysctls(void *arg)
{
    struct veth *v = arg;
    veth_sysctls_reset(v->host->data_dir);
    return 0;
}

/* ---- start */
static void device_name(const struct veth *v, uint32_t slot, char name[IFNAMSIZ])
{
    snprintf(name, IFNAMSIZ, "nv%.6s%u", v->host->instance, slot % 10000000);
}

struct sweep {
    struct veth *v;
    char (*names)[IFNAMSIZ];
    size_t count;
    bool all, others; /* others: another instance has its device here */
};

static bool slot_known(struct veth *v, const char *digits)
{
    uint32_t slot = (uint32_t)strtoul(digits, NULL, 10);
    for (struct pool_pod *p = v->pool.pods; p; p = p->next)
        if (p->slot == slot)
            return true;
    return false;
}

static void sweep_see(void *arg, const char *name)
{
    struct sweep *s = arg;
    const char *instance = s->v->host->instance;
    if (strlen(name) < 8)
        return;
    bool ours = !strncmp(name + 2, instance, 6);
    if (!strncmp(name, "nd", 2) && !ours && strlen(name) == 8)
        s->others = true;
    if (!ours || (strncmp(name, "nv", 2) && !(s->all && !strncmp(name, "nd", 2))))
        return;
    if (!s->all && slot_known(s->v, name + 8))
        return;
    s->names = realloc(s->names, (s->count + 1) * sizeof *s->names);
    if (!s->names)
        abort();
    snprintf(s->names[s->count++], IFNAMSIZ, "%s", name);
}

static int sweep(struct sweep *s)
{
    int r = veth_each(s->v->node, sweep_see, s);
    for (size_t i = 0; i < s->count; i++) {
        int one = veth_delete(s->v->node, s->names[i]);
        if (one && one != -ENODEV)
            r = one;
    }
    free(s->names);
    return r;
}

static int open_node(struct veth *v)
{
    return v->node ? 0 : veth_open(v->netns, &v->node);
}

/* The address alone, without a network around it. Where IPv6 is off it is put on. */
static int add_address(struct veth *v, struct mnl_socket *s, const char *netns, unsigned index,
                       struct veth_address a)
{
    int r = veth_add_address(s, index, &a, veth_address_bits(&a));
    if (r != -EACCES || !v->v6)
        return r;
    r = veth_in_namespace(netns, veth_sysctl_enable_v6, NULL);
    return r ? r : veth_add_address(s, index, &a, veth_address_bits(&a));
}

static struct veth_range one_address(const struct pool *p, uint32_t slot)
{
    struct veth_range r = {.base = pool_address(p, slot)};
    r.prefix = veth_address_bits(&r.base);
    return r;
}

static int work_start(struct job *j)
{
    struct veth *v = j->v;
    unsigned index = 0;
    struct sweep s = {.v = v};
    int r = fail(j, "netlink in the node's namespace", open_node(v));
    if (!r)
        r = fail(j, v->v6 ? "net.ipv6.conf.all.forwarding" : "net.ipv4.ip_forward",
                 veth_in_namespace(v->netns, set_sysctls, v));
    if (!r) {
        r = veth_make_device(v->node, v->device, "dummy");
        if (r == -EOPNOTSUPP || r == -ENOENT)
            r = veth_make_device(v->node, v->device, "bridge");
        fail(j, v->device, r);
    }
    if (!r)
        r = fail(j, v->device, veth_index(v->node, v->device, &index));
    unsigned lo = 0;
    if (!r) /* a namespace that was made for the node has it down; services need it */
        r = fail(j, "lo", veth_index(v->node, "lo", &lo));
    if (!r)
        r = fail(j, "lo", veth_up(v->node, lo));
    if (!r)
        r = fail(j, v->device, veth_up(v->node, index));
    if (!r)
        r = fail(j, "the node's pod-side address",
                 add_address(v, v->node, v->netns, index, pool_address(&v->pool, 1)));
    if (!r)
        r = fail(j, "left-over devices", sweep(&s));
    return r;
}

static void start(void *self, struct neap_op *op)
{
    job_run(job_new(self, op, NULL, work_start));
}

static int work_stop(struct job *j)
{
    return 0; /* pods keep their network; after the jobs before it */
}

static void stop(void *self, struct neap_op *op)
{
    job_run(job_new(self, op, NULL, work_stop));
}

static int work_cleanup(struct job *j)
{
    struct veth *v = j->v;
    struct sweep s = {.v = v, .all = true};
    int r = open_node(v);
    for (struct peer *p = v->peers; p && !r; p = p->next)
        for (unsigned i = 0; i < p->count; i++)
            veth_delete_route(v->node, &p->ranges[i]);
    if (!r)
        r = sweep(&s);
    while (!r && v->pool.pods)
        r = pool_give(&v->pool, v->pool.pods->sandbox_id);
    /* another instance on this host needs them still; the last one finds what it recorded */
    if (!r && !s.others)
        r = veth_in_namespace(v->netns, reset_sysctls, v);
    return fail(j, "cleanup", r);
}

static void cleanup(void *self, struct neap_op *op)
{
    job_run(job_new(self, op, NULL, work_cleanup));
}

/* ---- pods */
static void fill(const struct veth *v, uint32_t slot, struct neap_network_result *ret)
{
    *ret = (struct neap_network_result){.address_count = 1, .mtu = v->mtu};
    struct veth_address own = pool_address(&v->pool, slot), node = pool_address(&v->pool, 1);
    veth_address_text(&own, ret->addresses[0]);
    veth_address_text(v->v6 ? &v6_gateway : &node, ret->gateway);
}

static int set_up_pod(struct job *j, struct mnl_socket *in, uint32_t slot)
{
    struct veth *v = j->v;
    unsigned lo = 0, eth0 = 0;
    struct veth_range gateway = one_address(&v->pool, 1);
    if (v->v6)
        gateway.base = v6_gateway;
    struct veth_range all = {.base.family = gateway.base.family};
    int r = veth_index(in, "lo", &lo);
    if (!r)
        r = veth_up(in, lo);
    if (!r)
        r = veth_index(in, "eth0", &eth0);
    if (!r)
        r = veth_up(in, eth0);
    if (!r)
        r = add_address(v, in, j->pod->netns_path, eth0, pool_address(&v->pool, slot));
    if (!r && !v->v6)
        r = veth_set_route(in, &gateway, eth0, NULL, NULL);
    if (!r)
        r = veth_set_route(in, &all, eth0, &gateway.base, NULL);
    return fail(j, "set-up in the pod", r);
}

/* The node's side of a pod's pair. */
static int set_up_node(struct job *j, unsigned index, const char *name, uint32_t slot)
{
    struct veth *v = j->v;
    struct veth_range to = one_address(&v->pool, slot);
    struct veth_address own = pool_address(&v->pool, 1);
    int r = v->v6 ? veth_no_link_local(v->node, index) : 0;
    if (!r)
        r = veth_up(v->node, index);
    if (!r)
        r = v->v6 ? veth_add_address(v->node, index, &v6_gateway, LINK_PREFIX)
                  : veth_route_localnet(v->node, index);
    if (r)
        return fail(j, name, r);
    return fail(j, "route to the pod", veth_set_route(v->node, &to, index, NULL, &own));
}

static int make_link(struct job *j, uint32_t slot, const char *name, unsigned *ret_index)
{
    struct veth *v = j->v;
    int ns = open(j->pod->netns_path, O_RDONLY | O_CLOEXEC);
    if (ns < 0)
        return fail(j, "the pod's namespace", -errno);
    int r = veth_make_pair(v->node, name, ns, v->mtu);
    if (r == -EEXIST) { /* of an earlier pod whose namespace still lives, or of half a try */
        veth_delete(v->node, name);
        r = veth_make_pair(v->node, name, ns, v->mtu);
    }
    close(ns);
    if (!r)
        r = veth_index(v->node, name, ret_index);
    return fail(j, name, r);
}

/* The pod has its interface already: nothing to do but to tell. */
static bool complete(struct veth *v, struct mnl_socket *in, const char *name)
{
    unsigned a, b;
    return veth_index(v->node, name, &a) == 0 && veth_index(in, "eth0", &b) == 0;
}

static int work_attach(struct job *j)
{
    struct veth *v = j->v;
    struct pool_pod *pod = NULL;
    struct mnl_socket *in = NULL;
    char name[IFNAMSIZ];
    unsigned index = 0;
    if (!v->node)
        return fail(j, "the network is not started", -EAGAIN);
    bool before = pool_find(&v->pool, j->id) != NULL;
    int r = fail(j, "the pod's namespace", veth_open(j->pod->netns_path, &in));
    if (r)
        return r;
    r = fail(j, "an address for it", pool_take(&v->pool, j->id, &pod));
    if (!r) {
        device_name(v, pod->slot, name);
        if (!before || !complete(v, in, name))
            r = make_link(j, pod->slot, name, &index);
        else
            r = veth_index(v->node, name, &index);
        if (!r)
            r = set_up_pod(j, in, pod->slot);
        if (!r)
            r = set_up_node(j, index, name, pod->slot);
        if (!r)
            fill(v, pod->slot, j->ret);
        else if (!before) { /* leave nothing of a failed try */
            veth_delete(v->node, name);
            pool_give(&v->pool, j->id);
        }
    }
    mnl_socket_close(in);
    return r;
}

static bool id_ok(const char *id)
{
    return id && *id && *id != '.' && *id != '_' && strlen(id) < 200 && !strchr(id, '/');
}

static void attach(void *self, const struct neap_network_pod *pod, struct neap_network_result *ret,
                   struct neap_op *op)
{
    struct job *j = job_new(self, op, pod->sandbox_id, work_attach);
    j->pod = pod;
    j->ret = ret;
    if (!id_ok(pod->sandbox_id) || !pod->netns_path) {
        j->code = -EINVAL;
        j->what = "sandbox id or namespace";
        j->v->host->loop->post(j->v->host->ctx, job_done, j);
        return;
    }
    job_run(j);
}

/* Only the route goes: RTM_DELLINK waits 30 ms for RCU under the lock of all of rtnetlink, and the kernel
 * drops the pair by itself when the pod's namespace ends. What outlives it is swept by start, attach of
 * the same slot, and cleanup. */
static int work_detach(struct job *j)
{
    struct veth *v = j->v;
    struct pool_pod *pod = pool_find(&v->pool, j->id);
    if (!pod)
        return 0;
    struct veth_range to = one_address(&v->pool, pod->slot);
    int r = open_node(v);
    if (!r)
        r = veth_delete_route(v->node, &to);
    if (r == -ESRCH || r == -ENODEV)
        r = 0;
    if (!r)
        r = pool_give(&v->pool, j->id);
    return fail(j, "detach", r);
}

static void detach(void *self, const char *sandbox_id, struct neap_op *op)
{
    job_run(job_new(self, op, sandbox_id, work_detach));
}

static int status(void *self, const char *sandbox_id, struct neap_network_result *ret)
{
    struct veth *v = self;
    pthread_mutex_lock(&v->lock);
    struct pool_pod *pod = pool_find(&v->pool, sandbox_id);
    if (pod)
        fill(v, pod->slot, ret);
    pthread_mutex_unlock(&v->lock);
    return pod ? 0 : NEAP_ENOTFOUND;
}

static int node_address(void *self, char ret[46])
{
    struct veth *v = self;
    struct veth_address own = pool_address(&v->pool, 1);
    veth_address_text(&own, ret);
    return 0;
}

/* ---- other nodes on the same segment: plain routes */
static struct peer **peer_at(struct veth *v, const char *name)
{
    struct peer **at = &v->peers;
    while (*at && strcmp((*at)->name, name))
        at = &(*at)->next;
    return at;
}

static void peer_drop(struct veth *v, struct peer **at)
{
    struct peer *p = *at;
    for (unsigned i = 0; i < p->count; i++)
        veth_delete_route(v->node, &p->ranges[i]);
    *at = p->next;
    free(p);
}

static int work_node_set(struct job *j)
{
    struct veth *v = j->v;
    struct veth_address gateway, own = pool_address(&v->pool, 1);
    if (!v->node)
        return fail(j, "the network is not started", -EAGAIN);
    if (!veth_address_parse(j->node->address, &gateway) || gateway.family != own.family)
        return fail(j, j->node->address, -EINVAL);
    struct peer **at = peer_at(v, j->id);
    if (*at)
        peer_drop(v, at);
    struct peer *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    snprintf(p->name, sizeof p->name, "%s", j->id);
    p->next = v->peers;
    v->peers = p;
    int r = 0;
    for (const char *const *c = j->node->pod_cidrs; c && *c && p->count < PEER_ROUTES_MAX; c++) {
        struct veth_range *to = &p->ranges[p->count];
        if (!veth_range_parse(*c, to) || to->base.family != own.family)
            continue; /* of the other family */
        int one = veth_set_route(v->node, to, 0, &gateway, &own);
        if (one)
            r = fail(j, "route to the node", one);
        else
            p->count++;
    }
    return r;
}

static void node_set(void *self, const struct neap_network_node *node, struct neap_op *op)
{
    struct job *j = job_new(self, op, node->name, work_node_set);
    j->node = node;
    job_run(j);
}

static int work_node_remove(struct job *j)
{
    struct peer **at = peer_at(j->v, j->id);
    if (*at)
        peer_drop(j->v, at);
    return 0;
}

static void node_remove(void *self, const char *name, struct neap_op *op)
{
    job_run(job_new(self, op, name, work_node_remove));
}

NEAP_PLUGIN_EXPORT extern const struct neap_network_plugin neap_plugin;
NEAP_PLUGIN_EXPORT const struct neap_network_plugin neap_plugin = {
    .header = {NEAP_PLUGIN_MAGIC, NEAP_PLUGIN_ABI_MAJOR, NEAP_PLUGIN_ABI_MINOR, sizeof neap_plugin,
               NEAP_PLUGIN_NETWORK, "veth", "0.1", options},
    .configure = configure,
    .restore = restore,
    .start = start,
    .stop = stop,
    .cleanup = cleanup,
    .destroy = destroy,
    .attach = attach,
    .detach = detach,
    .status = status,
    .node_address = node_address,
    .node_set = node_set,
    .node_remove = node_remove,
};
