/* Network namespaces for tests: made, pinned to a file, visited by threads of their own. */
#ifndef NEAP_FAKE_NET_H
#define NEAP_FAKE_NET_H

#include "neap_test.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

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
