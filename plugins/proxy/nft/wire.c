/* Elements by netlink: no program, no parser; one batch, one transaction. */
#include "nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE       (64u << 10) /* an element message is far below */
#define BUFFER_MAX (1u << 20)
#define KEY_WORDS  8 /* two IPv6 addresses */

/* ---- sockets of another namespace */
struct inside {
    const char *path;
    int bus;
    struct mnl_socket *socket;
    int result;
};

static void *inside_main(void *arg)
{
    struct inside *i = arg;
    int fd = i->path ? open(i->path, O_RDONLY | O_CLOEXEC) : -1;
    if (i->path && (fd < 0 || setns(fd, CLONE_NEWNET) < 0)) {
        i->result = -errno;
    } else {
        i->socket = mnl_socket_open2(i->bus, SOCK_CLOEXEC);
        if (!i->socket || mnl_socket_bind(i->socket, 0, MNL_SOCKET_AUTOPID) < 0)
            i->result = -errno;
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

/* On a thread of its own: ours never leaves its namespace, and the socket keeps the other. */
static int open_in(const char *path, int bus, struct mnl_socket **ret)
{
    struct inside i = {.path = path, .bus = bus};
    pthread_t t;
    int r = pthread_create(&t, NULL, inside_main, &i);
    if (r)
        return -r;
    pthread_join(t, NULL);
    if (i.result && i.socket)
        mnl_socket_close(i.socket);
    else
        *ret = i.socket;
    return i.result;
}

int nft_wire_open(const char *netns, struct mnl_socket **ret)
{
    int r = open_in(netns, NETLINK_NETFILTER, ret);
    int size = BUFFER_MAX;
    if (!r) {
        setsockopt(mnl_socket_get_fd(*ret), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
        setsockopt(mnl_socket_get_fd(*ret), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    }
    return r;
}

/* ---- one element: keys are fields in network order, each padded to four bytes; marks in host order */
static size_t put_address(uint32_t *to, const struct nft_address *a, bool v6)
{
    memcpy(to, a->words, v6 ? 16 : 4);
    return v6 ? 4 : 1;
}

static size_t key_of(const struct nft_element *e, uint32_t key[KEY_WORDS])
{
    size_t n = 0;
    uint16_t port = htons(e->port);
    memset(key, 0, KEY_WORDS * sizeof *key);
    if (e->map != NFT_NP && e->map != NFT_NPE)
        n += put_address(key, &e->address, e->v6);
    if (e->map == NFT_HAIR) {
        n += put_address(key + n, &e->address, e->v6);
        return n * 4;
    }
    memcpy(&key[n++], &e->protocol, 1);
    memcpy(&key[n++], &port, 2);
    if (e->map == NFT_EPS || e->map == NFT_NPE)
        key[n++] = e->mark;
    return n * 4;
}

static void put_data(struct nftnl_set_elem *x, const struct nft_element *e)
{
    if (e->map == NFT_CNT || e->map == NFT_NP) {
        char chain[32];
        nft_chain_name(e->chain, chain);
        nftnl_set_elem_set_u32(x, NFTNL_SET_ELEM_VERDICT, (uint32_t)NFT_GOTO);
        nftnl_set_elem_set_str(x, NFTNL_SET_ELEM_CHAIN, chain);
    } else if (e->map == NFT_EPS || e->map == NFT_NPE) {
        uint32_t data[5] = {0};
        uint16_t port = htons(e->to_port);
        size_t n = put_address(data, &e->to, e->v6);
        memcpy(&data[n], &port, 2);
        nftnl_set_elem_set(x, NFTNL_SET_ELEM_DATA, data, (uint32_t)(n + 1) * 4);
    }
}

static void put_message(char *buf, uint32_t *seq, const char *table, const struct nft_element *e,
                        bool add, size_t *used)
{
    struct nftnl_set *set = nftnl_set_alloc();
    struct nftnl_set_elem *x = nftnl_set_elem_alloc();
    uint32_t key[KEY_WORDS];
    if (!set || !x)
        abort();
    nftnl_set_set_str(set, NFTNL_SET_TABLE, table);
    nftnl_set_set_str(set, NFTNL_SET_NAME, nft_map_name(e));
    nftnl_set_elem_set(x, NFTNL_SET_ELEM_KEY, key, (uint32_t)key_of(e, key));
    if (add)
        put_data(x, e);
    nftnl_set_elem_add(set, x);
    struct nlmsghdr *h =
        nftnl_nlmsg_build_hdr(buf, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, NFPROTO_INET,
                              (uint16_t)((add ? NLM_F_CREATE : 0) | NLM_F_ACK), (*seq)++);
    nftnl_set_elems_nlmsg_build_payload(h, set);
    *used = h->nlmsg_len;
    nftnl_set_free(set); /* frees the element too */
}

/* Reads the answers of every element; the first error is the batch's. */
static int answers(struct mnl_socket *s, size_t count)
{
    char *buf = malloc(PAGE);
    int r = buf ? 0 : -ENOMEM;
    struct timeval limit = {.tv_sec = 10};
    setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while (buf && count) {
        ssize_t n = mnl_socket_recvfrom(s, buf, PAGE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            r = -errno;
            break;
        }
        int left = (int)n;
        for (struct nlmsghdr *h = (struct nlmsghdr *)buf; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_type != NLMSG_ERROR)
                continue;
            const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
            if (e->error && !r)
                r = e->error;
            count -= count > 0;
        }
        if (r)
            break; /* a refused batch answers less than it was asked */
    }
    free(buf);
    return r;
}

int nft_wire_apply(struct mnl_socket *s, const char *table, const struct nft_delta *d)
{
    size_t total = d->del_count + d->add_count, len = 0, used;
    if (!total)
        return 0;
    char *buf = calloc(1, (total + 2) * 512);
    uint32_t seq = 1;
    if (!buf)
        abort();
    len += nftnl_batch_begin(buf, seq++)->nlmsg_len;
    for (size_t i = 0; i < total; i++) {
        bool add = i >= d->del_count;
        put_message(buf + len, &seq, table, add ? &d->add[i - d->del_count] : &d->del[i], add,
                    &used);
        len += used;
    }
    len += nftnl_batch_end(buf + len, seq)->nlmsg_len;
    int r = mnl_socket_sendto(s, buf, len) < 0 ? -errno : answers(s, total);
    free(buf);
    return r;
}

/* ---- the services' route */
static int send_route(struct mnl_socket *s, const struct nft_target *base, unsigned prefix,
                      bool add)
{
    char buf[512];
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE;
    h->nlmsg_flags =
        (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_REPLACE : 0));
    struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof *m);
    m->rtm_family = base->v6 ? AF_INET6 : AF_INET;
    m->rtm_dst_len = (unsigned char)prefix;
    m->rtm_table = RT_TABLE_LOCAL;
    m->rtm_type = RTN_LOCAL;
    m->rtm_scope = RT_SCOPE_HOST;
    m->rtm_protocol = RTPROT_STATIC;
    mnl_attr_put(h, RTA_DST, base->v6 ? 16 : 4, base->address.words);
    mnl_attr_put_u32(h, RTA_OIF, 1); /* lo is 1 in every namespace */
    if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
        return -errno;
    char in[4096];
    ssize_t n = mnl_socket_recvfrom(s, in, sizeof in);
    return n < 0 || mnl_cb_run(in, (size_t)n, 0, mnl_socket_get_portid(s), NULL, NULL) < 0 ? -errno
                                                                                           : 0;
}

int nft_wire_route(const char *netns, const char *cidr, bool add)
{
    char text[64];
    struct nft_target a;
    struct mnl_socket *s = NULL;
    strncpy(text, cidr, sizeof text - 1);
    text[sizeof text - 1] = 0;
    char *slash = strchr(text, '/');
    if (!slash)
        return -EINVAL;
    *slash = 0;
    if (!nft_address_parse(text, &a.address, &a.v6))
        return -EINVAL;
    int r = open_in(netns, NETLINK_ROUTE, &s);
    if (!r) {
        r = send_route(s, &a, (unsigned)strtoul(slash + 1, NULL, 10), add);
        mnl_socket_close(s);
    }
    return !add && (r == -ESRCH || r == -ENODEV) ? 0 : r;
}
