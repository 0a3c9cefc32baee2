/* Services over real connections: a node, three pods and a client outside, each in a namespace of its
 * own; the pods' network is the veth plugin's. */
#include "neap_test.h"
#include "plugins/fake_host.h"
#include "plugins/fake_net.h"
#include <neap/plugin/network.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PODS 3
static char dir[64], node_ns[96], pod_ns[PODS][96], out_ns[96];
static char pod_ip[PODS][46], out_ip[46];
static int server[PODS];
static struct fake_host net_host, out_host, host;
static const struct neap_network_plugin *net;
static const struct neap_proxy_plugin *proxy;
static void *net_self, *out_self, *self;
/* All of it runs once for each family. */
struct family {
    const char *pods[2], *outside[2], *services[2], *node_ip, *any;
    const char *service, *external; /* formats of two and one numbers */
};
static const struct family families[] = {
    {{"10.99.8.0/24"},
     {"192.168.77.0/24"},
     {"10.96.0.0/16"},
     "192.168.77.1",
     "0.0.0.0",
     "10.96.%d.%d",
     "203.0.113.%d"},
    {{"fd99:8::/120"},
     {"fd77::/112"},
     {"fd96::/104"},
     "fd77::1",
     "::",
     "fd96::%d:%d",
     "2001:db8::%d"},
};
static const struct family *f = &families[0];

/* The service address <a>.<b> of the family. */
static const char *vip(int a, int b)
{
    static char text[8][46];
    static unsigned at;
    at = (at + 1) % 8;
    snprintf(text[at], 46, f->service, a, b);
    return text[at];
}
static const char *ext(int a)
{
    static char text[8][46];
    static unsigned at;
    at = (at + 1) % 8;
    snprintf(text[at], 46, f->external, a);
    return text[at];
}

static int listen_here(void *arg)
{
    struct sockaddr_storage a;
    socklen_t n = fake_address(f->any, 8080, &a);
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 64) < 0 ? -1 : fd;
}
struct dial {
    const char *address;
    uint16_t port;
};
static int dial_here(void *arg)
{
    struct dial *d = arg;
    struct sockaddr_storage a;
    socklen_t n = fake_address(d->address, d->port, &a);
    struct timeval limit = {.tv_sec = 3};
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&a, n) == 0)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}
/* Which pod answers (0..), or -errno; the client's address as the pod sees it. */
static int call(const char *ns, const char *address, uint16_t port, char source[46])
{
    struct dial d = {address, port};
    int fd = in_ns(ns, dial_here, &d), which = -ENOTCONN;
    if (fd < 0)
        return fd;
    struct pollfd p[PODS];
    for (int i = 0; i < PODS; i++)
        p[i] = (struct pollfd){.fd = server[i], .events = POLLIN};
    poll(p, PODS, 3000);
    for (int i = 0; i < PODS; i++) {
        struct sockaddr_storage a;
        socklen_t n = sizeof a;
        if (!p[i].revents)
            continue;
        int c = accept(server[i], (struct sockaddr *)&a, &n);
        if (source)
            fake_address_text(&a, source);
        close(c);
        which = i;
    }
    close(fd);
    return which;
}
/* A bit for each pod that answered in <times> calls. */
static unsigned spread(const char *ns, const char *address, uint16_t port, int times)
{
    unsigned seen = 0;
    for (int i = 0; i < times; i++) {
        int w = call(ns, address, port, NULL);
        if (w < 0)
            fail_msg("%s:%u: %s", address, port, strerror(-w));
        seen |= 1u << w;
    }
    return seen;
}

struct service {
    struct neap_proxy_service s;
    const char *ips[2], *ext[2];
    struct neap_proxy_endpoint e[64];
};
static void service_init(struct service *v, const char *key, const char *ip, unsigned pods)
{
    memset(v, 0, sizeof *v);
    v->ips[0] = ip;
    v->s = (struct neap_proxy_service){.key = key,
                                       .cluster_ips = v->ips,
                                       .external_ips = v->ext,
                                       .port = {"http", IPPROTO_TCP, 80, 0},
                                       .endpoints = v->e};
    for (int i = 0; i < PODS; i++)
        if (pods & (1u << i))
            v->e[v->s.endpoint_count++] =
                (struct neap_proxy_endpoint){.address = pod_ip[i], .port = 8080, .local = true};
}
static void service_set(struct service *v)
{
    assert_op(&host, proxy->set(self, &v->s, op));
}

static void test_cluster_ip(void **state)
{
    struct service v;
    service_init(&v, "default/a:http", vip(0, 10), 7);
    service_set(&v);
    assert_int_equal(spread(pod_ns[0], vip(0, 10), 80, 60), 7); /* hairpin among them */
    assert_int_equal(spread(node_ns, vip(0, 10), 80, 60), 7);
    char source[46];
    while (call(pod_ns[0], vip(0, 10), 80, source) == 0)
        ;
    assert_string_equal(source, pod_ip[0]); /* pods see pods */
    unsigned before = host.warnings;
    service_init(&v, "default/a:http", vip(0, 10), 5);
    service_set(&v);
    assert_int_equal(spread(pod_ns[1], vip(0, 10), 80, 40), 5);
    service_init(&v, "default/a:http", vip(0, 10), 7);
    service_set(&v);
    service_init(&v, "default/a:http", vip(0, 10), 3);
    service_set(&v);
    assert_int_equal(spread(pod_ns[2], vip(0, 10), 80, 40), 3);
    assert_int_equal(host.warnings, before); /* no change was refused by the kernel */
    service_init(&v, "default/a:http", vip(0, 10), 0);
    service_set(&v);
    assert_int_equal(call(pod_ns[0], vip(0, 10), 80, NULL), -ECONNREFUSED);
    assert_int_equal(call(node_ns, vip(0, 10), 80, NULL), -ECONNREFUSED);
    assert_int_equal(call(node_ns, vip(99, 99), 80, NULL), -ECONNREFUSED);
    assert_op(&host, proxy->remove(self, "default/a:http", op));
    assert_op(&host, proxy->remove(self, "default/a:http", op));
    assert_int_equal(call(pod_ns[0], vip(0, 10), 80, NULL), -ECONNREFUSED);
}

static void test_node_port(void **state)
{
    struct service v;
    char source[46];
    service_init(&v, "default/np:http", vip(0, 20), 3);
    v.s.port.node_port = 30080;
    service_set(&v);
    assert_int_equal(spread(out_ns, f->node_ip, 30080, 40), 3);
    assert_int_equal(spread(node_ns, f->node_ip, 30080, 40), 3);
    assert_int_equal(spread(pod_ns[0], f->node_ip, 30080, 40), 3);
    assert_true(call(out_ns, f->node_ip, 30080, source) >= 0);
    assert_string_not_equal(source, out_ip);
    v.s.external_local = true;
    v.e[1].local = false;
    service_set(&v);
    assert_int_equal(spread(out_ns, f->node_ip, 30080, 20), 1);
    assert_int_equal(call(out_ns, f->node_ip, 30080, source), 0);
    assert_string_equal(source, out_ip); /* the client's own */
    assert_int_equal(call(out_ns, f->node_ip, 30081, NULL), -ECONNREFUSED);
    assert_op(&host, proxy->remove(self, v.s.key, op));
    assert_int_equal(call(out_ns, f->node_ip, 30080, NULL), -ECONNREFUSED);
}

static void test_affinity(void **state)
{
    struct service v;
    service_init(&v, "default/sticky:http", vip(0, 30), 7);
    v.s.affinity_timeout_s = 10800;
    service_set(&v);
    for (int p = 0; p < PODS; p++) {
        unsigned seen = spread(pod_ns[p], vip(0, 30), 80, 12);
        assert_int_equal(seen & (seen - 1), 0);
    }
    assert_op(&host, proxy->remove(self, v.s.key, op));
}

static void test_policies(void **state)
{
    struct service v;
    service_init(&v, "default/local:http", vip(0, 40), 7);
    v.s.internal_local = true;
    v.e[0].local = v.e[2].local = false;
    service_set(&v);
    assert_int_equal(spread(pod_ns[0], vip(0, 40), 80, 20), 2);
    v.ext[0] = ext(7);
    service_set(&v);
    assert_int_equal(spread(pod_ns[0], ext(7), 80, 40), 7);
    v.ext[0] = ext(9);
    v.s.endpoint_count = 0;
    service_set(&v);
    assert_int_equal(call(pod_ns[0], ext(9), 80, NULL), -ECONNREFUSED);
    v.ext[0] = ext(7);
    v.s.endpoint_count = 3;
    service_set(&v);
    struct service rival; /* wants an address that is taken: refused, and harms nobody */
    service_init(&rival, "default/rival:http", vip(0, 40), 1);
    rival.ext[0] = ext(8);
    service_set(&rival);
    assert_int_equal(spread(pod_ns[0], vip(0, 40), 80, 20), 2);
    assert_int_equal(spread(pod_ns[0], ext(8), 80, 5), 1);
    assert_op(&host, proxy->remove(self, rival.s.key, op));
    assert_int_equal(spread(pod_ns[0], vip(0, 40), 80, 20), 2);
    assert_op(&host, proxy->remove(self, v.s.key, op));
}

static void test_sync(void **state)
{
    struct service a, b;
    service_init(&a, "default/a:http", vip(1, 1), 1);
    service_init(&b, "default/b:http", vip(1, 2), 2);
    service_set(&a);
    const struct neap_proxy_service *one[] = {&b.s};
    assert_op(&host, proxy->sync(self, one, 1, op));
    assert_int_equal(call(pod_ns[0], vip(1, 1), 80, NULL), -ECONNREFUSED);
    assert_int_equal(spread(pod_ns[0], vip(1, 2), 80, 5), 2);
    /* many services and a large one in one load */
    static struct service many[2000];
    static char keys[2000][32], ips[2000][46];
    static const struct neap_proxy_service *list[2000];
    for (int i = 0; i < 2000; i++) {
        snprintf(keys[i], sizeof keys[i], "default/s%d:http", i);
        snprintf(ips[i], sizeof ips[i], f->service, 8 + i / 250, 1 + i % 250);
        service_init(&many[i], keys[i], ips[i], 7);
        list[i] = &many[i].s;
    }
    for (int i = 3; i < 64; i++)
        many[0].e[i] = many[0].e[i % 3];
    many[0].s.endpoint_count = 64;
    assert_op(&host, proxy->sync(self, list, 2000, op));
    assert_int_equal(spread(pod_ns[0], ips[1999], 80, 40), 7);
    assert_int_equal(spread(pod_ns[0], ips[0], 80, 40), 7);
    /* somebody else threw our table away: the next change brings all of it back */
    char ns[128];
    snprintf(ns, sizeof ns, "--net=%s", node_ns);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("nsenter", "nsenter", ns, "nft", "delete", "table", "inet", "neap_abcdef", NULL);
        _exit(127);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    many[5].s.endpoint_count = 1;
    service_set(&many[5]);
    assert_int_equal(spread(pod_ns[0], ips[5], 80, 5), 1);
    assert_int_equal(spread(pod_ns[0], ips[1999], 80, 40), 7);
    assert_op(&host, proxy->sync(self, NULL, 0, op));
    assert_int_equal(call(pod_ns[0], ips[1999], 80, NULL), -ECONNREFUSED);
}

/* ---- the world */
static void attach(struct fake_host *h, void *plugin, const char *id, const char *ns, char ip[46])
{
    struct neap_network_pod pod = {.sandbox_id = id, .netns_path = ns};
    struct neap_network_result r;
    assert_op(h, net->attach(plugin, &pod, &r, op));
    memcpy(ip, r.addresses[0], 46);
}
static char net_dir[80], out_dir[80], proxy_dir[80];
static int setup(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/neap-nft-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(node_ns, sizeof node_ns, "%s/node", dir);
    snprintf(out_ns, sizeof out_ns, "%s/out", dir);
    snprintf(net_dir, sizeof net_dir, "%s/net", dir);
    snprintf(out_dir, sizeof out_dir, "%s/outnet", dir);
    snprintf(proxy_dir, sizeof proxy_dir, "%s/proxy", dir);
    mkdir(net_dir, 0700);
    mkdir(out_dir, 0700);
    mkdir(proxy_dir, 0700);
    ns_make(node_ns);
    ns_make(out_ns);
    net = fake_plugin_load("network/veth");
    proxy = fake_plugin_load("proxy/nft");
    assert_true(net && proxy);
    fake_host_init(&net_host, net_dir, "abcdef", NULL);
    fake_host_init(&out_host, out_dir, "fedcba", NULL);
    fake_host_init(&host, proxy_dir, "abcdef", NULL);
    assert_int_equal(net->configure(&net_host.host, node_ns, f->pods, &net_self), 0);
    assert_int_equal(net->configure(&out_host.host, node_ns, f->outside, &out_self), 0);
    assert_int_equal(net->restore(net_self), 0);
    assert_int_equal(net->restore(out_self), 0);
    assert_op(&net_host, net->start(net_self, op));
    assert_op(&out_host, net->start(out_self, op));
    for (int i = 0; i < PODS; i++) {
        char id[32];
        snprintf(pod_ns[i], sizeof pod_ns[i], "%s/pod%d", dir, i);
        snprintf(id, sizeof id, "pod-%d", i);
        ns_make(pod_ns[i]);
        attach(&net_host, net_self, id, pod_ns[i], pod_ip[i]);
        server[i] = in_ns(pod_ns[i], listen_here, NULL);
        assert_true(server[i] >= 0);
    }
    attach(&out_host, out_self, "client", out_ns, out_ip);
    if (proxy->configure(&host.host, node_ns, f->services, f->pods, "30000-32767", &self))
        fail_msg("%s", host.failure);
    assert_op(&host, proxy->start(self, op));
    assert_op(&host, proxy->sync(self, NULL, 0, op));
    return 0;
}
static int rm_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}
static int teardown(void **state)
{
    assert_op(&host, proxy->cleanup(self, op));
    assert_op(&host, proxy->stop(self, op));
    proxy->destroy(self);
    assert_op(&net_host, net->cleanup(net_self, op));
    assert_op(&out_host, net->cleanup(out_self, op));
    net->destroy(net_self);
    net->destroy(out_self);
    fake_host_done(&host);
    fake_host_done(&net_host);
    fake_host_done(&out_host);
    for (int i = 0; i < PODS; i++) {
        close(server[i]);
        ns_drop(pod_ns[i]);
    }
    ns_drop(out_ns);
    ns_drop(node_ns);
    return nftw(dir, rm_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cluster_ip), cmocka_unit_test(test_node_port),
        cmocka_unit_test(test_affinity),   cmocka_unit_test(test_policies),
        cmocka_unit_test(test_sync),
    };
    if (geteuid() != 0) {
        puts("root");
        return 0;
    }
    int failed = 0;
    for (f = families; f < families + 2; f++)
        failed += cmocka_run_group_tests(tests, setup, teardown);
    return failed;
}
