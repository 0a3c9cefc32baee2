/* Network namespaces for tests: made, pinned to a file, visited by threads of their own. */
#ifndef NEAP_FAKE_NET_H
#define NEAP_FAKE_NET_H

#include "neap_test.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

/* Socket addresses of either family: "10.0.0.1", "fd00::1"; returns the length. */
static inline socklen_t fake_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in *a4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ret;
    memset(ret, 0, sizeof *ret);
    if (strchr(text, ':')) {
        a6->sin6_family = AF_INET6;
        a6->sin6_port = htons(port);
        assert_int_equal(inet_pton(AF_INET6, text, &a6->sin6_addr), 1);
        return sizeof *a6;
    }
    a4->sin_family = AF_INET;
    a4->sin_port = htons(port);
    assert_int_equal(inet_pton(AF_INET, text, &a4->sin_addr), 1);
    return sizeof *a4;
}
static inline void fake_address_text(const struct sockaddr_storage *a, char ret[46])
{
    if (a->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, ret, 46);
    else
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, ret, 46);
}

static inline void *make_ns(void *path)
{
    assert_int_equal(unshare(CLONE_NEWNET), 0);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    close(fd);
    assert_int_equal(mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL), 0);
    return NULL;
}
static inline void ns_make(const char *path)
{
    pthread_t t;
    pthread_create(&t, NULL, make_ns, (void *)path);
    pthread_join(t, NULL);
}
static inline void ns_drop(const char *path)
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
static inline void *visit_main(void *arg)
{
    struct visit *v = arg;
    int fd = open(v->ns, O_RDONLY);
    v->ret = fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -1 : v->fn(v->arg);
    close(fd);
    return NULL;
}
static inline int in_ns(const char *ns, int (*fn)(void *), void *arg)
{
    struct visit v = {ns, fn, arg, 0};
    pthread_t t;
    pthread_create(&t, NULL, visit_main, &v);
    pthread_join(t, NULL);
    return v.ret;
}
#endif
