/* Pods of the veth network reach each other and the node, all in namespaces of the test's own. */
#include "neap_test.h"
#include "plugins/fake_host.h"
#include <neap/plugin/network.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

static char dir[64], node_ns[96];
static const char *const cidrs[] = {"10.99.7.0/29", NULL}; /* slots 2..6 */
struct net {
    struct fake_host h;
    const struct neap_network_plugin *p;
    void *self;
};

/* ---- namespaces: made, pinned, visited by threads */
static void *make_ns(void *path)
{
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    close(fd);
    assert_int_equal(mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL), 0);
    return NULL;
}
static void ns_make(const char *path)
{
    pthread_t t;
    pthread_create(&t, NULL, make_ns, (void *)path);
    pthread_join(t, NULL);
}
static void ns_drop(const char *path)
{
    umount2(path, MNT_DETACH);
    unlink(path);
}
struct visit {
    const char *ns;
    int (*fn)(void *arg);
    void *arg;
    int ret;
};
static void *visit_main(void *arg)
{
    struct visit *v = arg;
    int fd = open(v->ns, O_RDONLY);
    v->ret = fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -1 : v->fn(v->arg);
    close(fd);
    return NULL;
}
static int in_ns(const char *ns, int (*fn)(void *), void *arg)
{
    struct visit v = {ns, fn, arg, 0};
    pthread_t t;
    pthread_create(&t, NULL, visit_main, &v);
    pthread_join(t, NULL);
    return v.ret;
}
struct udp {
    const char *address;
};
static int udp_server(void *arg)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7777)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -1 : fd;
}
static int udp_client(void *arg)
{
    struct udp *u = arg;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7777)};
    inet_pton(AF_INET, u->address, &a.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = sendto(fd, "hi", 2, 0, (struct sockaddr *)&a, sizeof a) == 2 ? 0 : -1;
    close(fd);
    return r;
}
/* A datagram from <from> to <address>, whose namespace is <to>. */
static bool reaches(const char *from, const char *to, const char *address, char ret_source[46])
{
    int server = in_ns(to, udp_server, NULL);
    struct udp u = {address};
    struct pollfd p = {.fd = server, .events = POLLIN};
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    char byte[4];
    assert_true(server >= 0);
    bool ok = in_ns(from, udp_client, &u) == 0 && poll(&p, 1, 3000) == 1 &&
              recvfrom(server, byte, sizeof byte, 0, (struct sockaddr *)&a, &n) == 2;
    if (ok)
        inet_ntop(AF_INET, &a.sin_addr, ret_source, 46);
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
    int fd = open("/proc/sys/net/ipv4/ip_forward", O_RDONLY);
    if (read(fd, &c, 1) != 1)
        c = 0;
    close(fd);
    return c - '0';
}

static void net_open(struct net *n)
{
    memset(n, 0, sizeof *n);
    fake_host_init(&n->h, dir, "abcdef", NULL);
    n->p = fake_plugin_load("network/veth");
    assert_non_null(n->p);
    assert_int_equal(n->p->configure(&n->h.host, node_ns, cidrs, &n->self), 0);
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
    assert_int_equal(in_ns(node_ns, read_forward, NULL), 0);
    net_open(&n);
    assert_int_equal(in_ns(node_ns, read_forward, NULL), 1);
    pod_attach(&n, "pod-a", ns_a, &a);
    pod_attach(&n, "pod-b", ns_b, &b);
    assert_string_equal(a.addresses[0], "10.99.7.2");
    assert_string_equal(b.addresses[0], "10.99.7.3");
    assert_string_equal(a.gateway, "10.99.7.1");
    assert_int_equal(a.mtu, 1500);
    pod_attach(&n, "pod-a", ns_a, &again); /* twice is once */
    assert_string_equal(again.addresses[0], "10.99.7.2");
    assert_int_equal(in_ns(node_ns, count_devices, NULL), 3);
    assert_int_equal(n.p->node_address(n.self, node), 0);
    assert_true(reaches(ns_a, ns_b, b.addresses[0], source));
    assert_string_equal(source, a.addresses[0]);
    assert_true(reaches(ns_b, ns_a, a.addresses[0], source));
    assert_true(reaches(ns_a, node_ns, node, source));
    assert_true(reaches(node_ns, ns_a, a.addresses[0], source));
    assert_string_equal(source, node);
    assert_true(reaches(ns_a, ns_a, "127.0.0.1", source)); /* loopback is up */
    net_close(&n);
    net_open(&n); /* recorded */
    assert_int_equal(n.p->status(n.self, "pod-b", &again), 0);
    assert_string_equal(again.addresses[0], "10.99.7.3");
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

static void test_config(void **state)
{
    static const char *const bad[][2] = {
        {"10.0.0.0", NULL}, {"10.0.0.0/31", NULL}, {"x/24", NULL}, {"fd00::/64", NULL}};
    struct net n = {0};
    fake_host_init(&n.h, dir, "abcdef", NULL);
    n.p = fake_plugin_load("network/veth");
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(n.p->configure(&n.h.host, NULL, bad[i], &n.self), NEAP_ECONFIG);
    n.p->destroy(NULL);
    fake_host_done(&n.h);
}

static int rm_one(const char *path, const struct stat *st, int type, struct FTW *f)
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pods),
                                       cmocka_unit_test(test_round_robin),
                                       cmocka_unit_test(test_config)};
    if (geteuid() != 0) {
        puts("root");
        return 0;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
