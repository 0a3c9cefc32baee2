#include "netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define BUFFER 8192

/* ---- namespaces */
struct inside {
    const char *path;
    int (*fn)(void *arg);
    void *arg;
    int result;
};

static void *inside_main(void *arg)
{
    struct inside *i = arg;
    int fd = i->path ? open(i->path, O_RDONLY | O_CLOEXEC) : -1;
    if (i->path && (fd < 0 || setns(fd, CLONE_NEWNET) < 0))
        i->result = -errno;
    else
        i->result = i->fn(i->arg);
    if (fd >= 0)
        close(fd);
    return NULL;
}

int veth_in_namespace(const char *path, int (*fn)(void *arg), void *arg)
{
    struct inside i = {.path = path, .fn = fn, .arg = arg};
    pthread_t t;
    int r = pthread_create(&t, NULL, inside_main, &i);
    if (r)
        return -r;
    pthread_join(t, NULL);
    return i.result;
}

static int open_here(void *arg)
{
    struct mnl_socket **ret = arg;
    struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!s)
        return -errno;
    if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
        int r = -errno;
        mnl_socket_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

int veth_open(const char *path, struct mnl_socket **ret)
{
    return veth_in_namespace(path, open_here, ret);
}

/* ---- one request */
struct request {
    char buf[BUFFER];
    struct nlmsghdr *h;
};

static void *start(struct request *r, int type, int flags, size_t extra)
{
    r->h = mnl_nlmsg_put_header(r->buf);
    r->h->nlmsg_type = (uint16_t)type;
    r->h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    r->h->nlmsg_seq = 1;
    return mnl_nlmsg_put_extra_header(r->h, extra);
}

/* Sends and reads to the end of the answer; <cb> sees the messages. */
static int ask(struct mnl_socket *s, struct request *r, mnl_cb_t cb, void *arg)
{
    char in[32768];
    if (mnl_socket_sendto(s, r->h, r->h->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(s, in, sizeof in);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        int e = mnl_cb_run(in, (size_t)n, 1, mnl_socket_get_portid(s), cb, arg);
        if (e < 0)
            return -errno;
        if (e == MNL_CB_STOP)
            return 0;
    }
}

static int do_it(struct mnl_socket *s, struct request *r)
{
    r->h->nlmsg_flags |= NLM_F_ACK;
    return ask(s, r, NULL, NULL);
}

/* ---- devices */
int veth_make_pair(struct mnl_socket *s, const char *name, int peer_ns, unsigned mtu)
{
    struct request r;
    start(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(r.h, IFLA_IFNAME, name);
    mnl_attr_put_u32(r.h, IFLA_MTU, mtu);
    struct nlattr *info = mnl_attr_nest_start(r.h, IFLA_LINKINFO);
    mnl_attr_put_str(r.h, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(r.h, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(r.h, VETH_INFO_PEER);
    mnl_nlmsg_put_extra_header(r.h, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(r.h, IFLA_IFNAME, "eth0");
    mnl_attr_put_u32(r.h, IFLA_MTU, mtu);
    mnl_attr_put_u32(r.h, IFLA_NET_NS_FD, (uint32_t)peer_ns);
    mnl_attr_nest_end(r.h, peer);
    mnl_attr_nest_end(r.h, data);
    mnl_attr_nest_end(r.h, info);
    return do_it(s, &r);
}

int veth_make_device(struct mnl_socket *s, const char *name, const char *type)
{
    struct request r;
    start(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(r.h, IFLA_IFNAME, name);
    struct nlattr *info = mnl_attr_nest_start(r.h, IFLA_LINKINFO);
    mnl_attr_put_str(r.h, IFLA_INFO_KIND, type);
    mnl_attr_nest_end(r.h, info);
    int e = do_it(s, &r);
    return e == -EEXIST ? 0 : e;
}

int veth_delete(struct mnl_socket *s, const char *name)
{
    struct request r;
    start(&r, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(r.h, IFLA_IFNAME, name);
    return do_it(s, &r);
}

int veth_up(struct mnl_socket *s, unsigned index)
{
    struct request r;
    struct ifinfomsg *m = start(&r, RTM_NEWLINK, 0, sizeof *m);
    m->ifi_index = (int)index;
    m->ifi_flags = m->ifi_change = IFF_UP;
    return do_it(s, &r);
}

int veth_route_localnet(struct mnl_socket *s, unsigned index)
{
    struct request r;
    struct ifinfomsg *m = start(&r, RTM_NEWLINK, 0, sizeof *m);
    m->ifi_index = (int)index;
    struct nlattr *families = mnl_attr_nest_start(r.h, IFLA_AF_SPEC);
    struct nlattr *inet = mnl_attr_nest_start(r.h, AF_INET);
    struct nlattr *conf = mnl_attr_nest_start(r.h, IFLA_INET_CONF);
    mnl_attr_put_u32(r.h, IPV4_DEVCONF_ROUTE_LOCALNET, 1);
    mnl_attr_nest_end(r.h, conf);
    mnl_attr_nest_end(r.h, inet);
    mnl_attr_nest_end(r.h, families);
    return do_it(s, &r);
}

static int take_index(const struct nlmsghdr *h, void *arg)
{
    const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
    *(unsigned *)arg = (unsigned)m->ifi_index;
    return MNL_CB_OK;
}

int veth_index(struct mnl_socket *s, const char *name, unsigned *ret)
{
    struct request r;
    start(&r, RTM_GETLINK, NLM_F_ACK, sizeof(struct ifinfomsg));
    mnl_attr_put_strz(r.h, IFLA_IFNAME, name);
    return ask(s, &r, take_index, ret);
}

struct each {
    void (*fn)(void *arg, const char *name);
    void *arg;
};

static int take_name(const struct nlmsghdr *h, void *arg)
{
    struct each *e = arg;
    const struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(struct ifinfomsg))
    {
        if (mnl_attr_get_type(a) == IFLA_IFNAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
            e->fn(e->arg, mnl_attr_get_str(a));
    }
    return MNL_CB_OK;
}

int veth_each(struct mnl_socket *s, void (*fn)(void *arg, const char *name), void *arg)
{
    struct request r;
    struct each e = {fn, arg};
    start(&r, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
    return ask(s, &r, take_name, &e);
}

/* ---- addresses and routes */
int veth_no_link_local(struct mnl_socket *s, unsigned index)
{
    struct request r;
    struct ifinfomsg *m = start(&r, RTM_NEWLINK, 0, sizeof *m);
    m->ifi_index = (int)index;
    struct nlattr *families = mnl_attr_nest_start(r.h, IFLA_AF_SPEC);
    struct nlattr *inet6 = mnl_attr_nest_start(r.h, AF_INET6);
    mnl_attr_put_u8(r.h, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    mnl_attr_nest_end(r.h, inet6);
    mnl_attr_nest_end(r.h, families);
    return do_it(s, &r);
}

static void put_address(struct request *r, uint16_t type, const struct veth_address *a)
{
    mnl_attr_put(r->h, type, veth_address_size(a), a->bytes);
}

int veth_add_address(struct mnl_socket *s, unsigned index, const struct veth_address *a,
                     unsigned prefix)
{
    struct request r;
    struct ifaddrmsg *m = start(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof *m);
    m->ifa_family = a->family;
    m->ifa_prefixlen = (uint8_t)prefix;
    m->ifa_scope = RT_SCOPE_UNIVERSE;
    m->ifa_flags = a->family == AF_INET6 ? IFA_F_NODAD : 0;
    m->ifa_index = index;
    put_address(&r, IFA_LOCAL, a);
    put_address(&r, IFA_ADDRESS, a);
    return do_it(s, &r);
}

static struct rtmsg *route(struct request *r, int type, int flags, const struct veth_range *to)
{
    struct rtmsg *m = start(r, type, flags, sizeof *m);
    m->rtm_family = to->base.family;
    m->rtm_dst_len = (uint8_t)to->prefix;
    m->rtm_table = RT_TABLE_MAIN;
    if (to->prefix)
        put_address(r, RTA_DST, &to->base);
    return m;
}

int veth_set_route(struct mnl_socket *s, const struct veth_range *to, unsigned index,
                   const struct veth_address *gateway, const struct veth_address *source)
{
    struct request r;
    struct rtmsg *m = route(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, to);
    m->rtm_protocol = RTPROT_STATIC;
    m->rtm_type = RTN_UNICAST;
    m->rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    if (index)
        mnl_attr_put_u32(r.h, RTA_OIF, index);
    if (gateway)
        put_address(&r, RTA_GATEWAY, gateway);
    if (source)
        put_address(&r, RTA_PREFSRC, source);
    return do_it(s, &r);
}

int veth_delete_route(struct mnl_socket *s, const struct veth_range *to)
{
    struct request r;
    struct rtmsg *m = route(&r, RTM_DELROUTE, 0, to);
    m->rtm_scope = RT_SCOPE_NOWHERE;
    return do_it(s, &r);
}
