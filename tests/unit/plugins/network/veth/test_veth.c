/* Pods of the veth network reach each other and the node, all in namespaces of the test's own. */
#include "neap_test.h"
#include "plugins/fake_host.h"
#include "plugins/fake_net.h"
#include <neap/plugin/network.h>
#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[64], node_ns[96];
/* All of it runs once for each family. */
struct family {
    const char *cidrs[2]; /* slots 2..6 */
    const char *base, *gateway, *loopback, *any, *sysctl;
};
static const struct family families[] = {
    {{"10.99.7.0/29", NULL},
     "10.99.7.",
     "10.99.7.1",
     "127.0.0.1",
     "0.0.0.0",
     "/proc/sys/net/ipv4/ip_forward"},
    {{"fd99:7::/125", NULL},
     "fd99:7::",
     "fe80::1",
     "::1",
     "::",
     "/proc/sys/net/ipv6/conf/all/forwarding"},
};
static const struct family *f = &families[0];
static const char *ip(unsigned slot)
{
    static char text[4][46];
    static unsigned at;
    at = (at + 1) % 4;
    snprintf(text[at], 46, "%s%u", f->base, slot);
    return text[at];
}
struct net {
    struct fake_host h;
    const struct neap_network_plugin *p;
    void *self;
};

struct udp {
    const char *address;
};
static int udp_server(void *arg)
{
    struct sockaddr_storage a;
    socklen_t n = fake_address(f->any, 7777, &a);
    int fd = socket(a.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return bind(fd, (struct sockaddr *)&a, n) < 0 ? -1 : fd;
}
static int udp_client(void *arg)
{
    struct udp *u = arg;
    struct sockaddr_storage a;
    socklen_t n = fake_address(u->address, 7777, &a);
    int fd = socket(a.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = sendto(fd, "hi", 2, 0, (struct sockaddr *)&a, n) == 2 ? 0 : -1;
    close(fd);
    return r;
}
/* A datagram from <from> to <address>, whose namespace is <to>. */
static bool reaches(const char *from, const char *to, const char *address, char ret_source[46])
{
    int server = in_ns(to, udp_server, NULL);
    struct udp u = {address};
    struct pollfd p = {.fd = server, .events = POLLIN};
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    char byte[4];
    assert_true(server >= 0);
    bool ok = in_ns(from, udp_client, &u) == 0 && poll(&p, 1, 3000) == 1 &&
              recvfrom(server, byte, sizeof byte, 0, (struct sockaddr *)&a, &n) == 2;
    if (ok)
        fake_address_text(&a, ret_source);
    close(server);
    return ok;
}
static int count_devices(void *arg)
{
    struct if_nameindex *list = if_nameindex();
    int n = 0;
    for (struct if_nameindex *i = list; i->if_index; i++)
        n += i->if_name[0] == 'n' && (i->if_name[1] == 'v' || i->if_name[1] == 'd');
    if_freenameindex(list);
    return n;
}
static int read_forward(void *arg)
{
    char c = 0;
    int fd = open(f->sysctl, O_RDONLY);
    if (read(fd, &c, 1) != 1)
        c = 0;
    close(fd);
    return c - '0';
}

/* A new namespace takes it from the host. */
static int clear_forward(void *arg)
{
    int fd = open(f->sysctl, O_WRONLY);
    ssize_t n = write(fd, "0", 1);
    close(fd);
    return n == 1 ? 0 : -1;
}

static void net_open(struct net *n)
{
    memset(n, 0, sizeof *n);
    fake_host_init(&n->h, dir, "abcdef", NULL);
    n->p = fake_plugin_load("network/veth");
    assert_non_null(n->p);
    assert_int_equal(n->p->configure(&n->h.host, node_ns, f->cidrs, &n->self), 0);
    assert_int_equal(n->p->restore(n->self), 0);
    assert_op(&n->h, n->p->start(n->self, op));
}
static void net_close(struct net *n)
{
    assert_op(&n->h, n->p->stop(n->self, op));
    n->p->destroy(n->self);
    fake_host_done(&n->h);
}
static void pod_attach(struct net *n, const char *id, const char *ns,
                       struct neap_network_result *ret)
{
    struct neap_network_pod pod = {.sandbox_id = id, .netns_path = ns};
    assert_op(&n->h, n->p->attach(n->self, &pod, ret, op));
}

static void test_pods(void **state)
{
    struct net n;
    struct neap_network_result a, b, again;
    char ns_a[96], ns_b[96], node[46], source[46];
    snprintf(ns_a, sizeof ns_a, "%s/a", dir);
    snprintf(ns_b, sizeof ns_b, "%s/b", dir);
    ns_make(ns_a);
    ns_make(ns_b);
    assert_int_equal(in_ns(node_ns, clear_forward, NULL), 0);
    assert_int_equal(in_ns(node_ns, read_forward, NULL), 0);
    net_open(&n);
    assert_int_equal(in_ns(node_ns, read_forward, NULL), 1);
    pod_attach(&n, "pod-a", ns_a, &a);
    pod_attach(&n, "pod-b", ns_b, &b);
    assert_string_equal(a.addresses[0], ip(2));
    assert_string_equal(b.addresses[0], ip(3));
    assert_string_equal(a.gateway, f->gateway);
    assert_int_equal(a.mtu, 1500);
    pod_attach(&n, "pod-a", ns_a, &again); /* twice is once */
    assert_string_equal(again.addresses[0], ip(2));
    assert_int_equal(in_ns(node_ns, count_devices, NULL), 3);
    assert_int_equal(n.p->node_address(n.self, node), 0);
    assert_string_equal(node, ip(1));
    assert_true(reaches(ns_a, ns_b, b.addresses[0], source));
    assert_string_equal(source, a.addresses[0]);
    assert_true(reaches(ns_b, ns_a, a.addresses[0], source));
    assert_true(reaches(ns_a, node_ns, node, source));
    assert_true(reaches(node_ns, ns_a, a.addresses[0], source));
    assert_string_equal(source, node);
    assert_true(reaches(ns_a, ns_a, f->loopback, source)); /* loopback is up */
    net_close(&n);
    net_open(&n); /* recorded */
    assert_int_equal(n.p->status(n.self, "pod-b", &again), 0);
    assert_string_equal(again.addresses[0], ip(3));
    assert_true(reaches(ns_a, ns_b, b.addresses[0], source));
    pod_attach(&n, "pod-b", ns_b, &again);
    assert_op(&n.h, n.p->detach(n.self, "pod-b", op));
    assert_op(&n.h, n.p->detach(n.self, "pod-b", op));
    assert_int_equal(n.p->status(n.self, "pod-b", &again), NEAP_ENOTFOUND);
    ns_drop(ns_b);
    assert_op(&n.h, n.p->cleanup(n.self, op));
    assert_int_equal(in_ns(node_ns, count_devices, NULL), 0);
    assert_int_equal(in_ns(node_ns, read_forward, NULL), 0);
    net_close(&n);
    ns_drop(ns_a);
}

static void test_round_robin(void **state)
{
    struct net n;
    struct neap_network_result r;
    char ns[96], last[46];
    struct fake_op o;
    snprintf(ns, sizeof ns, "%s/c", dir);
    ns_make(ns);
    net_open(&n);
    snprintf(last, sizeof last, "none");
    for (int i = 0; i < 8; i++) { /* the range has five: it goes round */
        char id[32];
        snprintf(id, sizeof id, "rr-%d", i);
        pod_attach(&n, id, ns, &r);
        assert_string_not_equal(r.addresses[0], last);
        snprintf(last, sizeof last, "%s", r.addresses[0]);
        assert_op(&n.h, n.p->detach(n.self, id, op));
        ns_drop(ns); /* its end takes the pair along */
        ns_make(ns);
    }
    struct neap_network_pod pod = {.sandbox_id = "x", .netns_path = "/no/such/ns"};
    n.p->attach(n.self, &pod, &r, fake_op_init(&o));
    assert_int_equal(fake_op_wait(&n.h, &o), NEAP_ENOTFOUND);
    pod.sandbox_id = "../x";
    n.p->attach(n.self, &pod, &r, fake_op_init(&o));
    assert_int_equal(fake_op_wait(&n.h, &o), NEAP_EINVALID);
    char many[5][96];
    for (int i = 0; i < 6; i++) {
        char id[32];
        snprintf(id, sizeof id, "full-%d", i);
        if (i < 5) {
            snprintf(many[i], sizeof many[i], "%s/m%d", dir, i);
            ns_make(many[i]);
            pod_attach(&n, id, many[i], &r);
        } else {
            pod = (struct neap_network_pod){.sandbox_id = id, .netns_path = ns};
            n.p->attach(n.self, &pod, &r, fake_op_init(&o));
            assert_int_equal(fake_op_wait(&n.h, &o), NEAP_ENOSPACE);
        }
    }
    assert_op(&n.h, n.p->cleanup(n.self, op));
    assert_int_equal(in_ns(node_ns, count_devices, NULL), 0);
    net_close(&n);
    for (int i = 0; i < 5; i++)
        ns_drop(many[i]);
    ns_drop(ns);
}

static int read_accept_ra(void *arg)
{
    int fd = open("/proc/sys/net/ipv6/conf/up0/accept_ra", O_RDONLY);
    char c = 0;
    if (read(fd, &c, 1) != 1)
        c = 0;
    close(fd);
    return c - '0';
}

/* Forwarding ends what an interface learns from routers: not on those that did before us. */
static void test_router_routes(void **state)
{
    struct net n;
    char ns[128];
    int status;
    snprintf(ns, sizeof ns, "--net=%s", node_ns);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("nsenter", "nsenter", ns, "ip", "link", "add", "up0", "type", "bridge", NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(in_ns(node_ns, read_accept_ra, NULL), 1);
    net_open(&n);
    assert_int_equal(in_ns(node_ns, read_accept_ra, NULL), f == &families[1] ? 2 : 1);
    assert_op(&n.h, n.p->cleanup(n.self, op));
    assert_int_equal(in_ns(node_ns, read_accept_ra, NULL), 1);
    net_close(&n);
}

static void test_config(void **state)
{
    static const char *const bad[][3] = {{"10.0.0.0"},
                                         {"10.0.0.0/31"},
                                         {"10.0.0.0/"},
                                         {"10.0.0.0/ 8"},
                                         {"10.0.0.0/33"},
                                         {"x/24"},
                                         {"fd00::/127"},
                                         {"fd00::/7"},
                                         {"fd00::/129"},
                                         {"fd00:::/64"},
                                         {"10.0.0.0/24", "fd00::/64"}};
    struct net n = {0};
    fake_host_init(&n.h, dir, "abcdef", NULL);
    n.p = fake_plugin_load("network/veth");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(n.p->configure(&n.h.host, NULL, bad[i], &n.self), NEAP_ECONFIG);
    n.p->destroy(NULL);
    fake_host_done(&n.h);
}

static int rm_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}
static int setup(void **state)
{
    snprintf(dir, sizeof dir, "/tmp/neap-veth-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(node_ns, sizeof node_ns, "%s/node", dir);
    ns_make(node_ns);
    return 0;
}
static int teardown(void **state)
{
    static const char *const names[] = {"a", "b", "c", "m0", "m1", "m2", "m3", "m4", "node"};
    char path[96];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        umount2(path, MNT_DETACH);
    }
    return nftw(dir, rm_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pods), cmocka_unit_test(test_round_robin),
        cmocka_unit_test(test_router_routes), cmocka_unit_test(test_config)};
    int failed = 0;
    if (geteuid() != 0) {
        puts("root");
        return 0;
    }
    for (f = families; f < families + 2; f++)
        failed += cmocka_run_group_tests(tests, setup, teardown);
    return failed;
}
