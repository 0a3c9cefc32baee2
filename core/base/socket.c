/* Sockets in another network namespace: a socket keeps the one it was made in. */
#include <neap/base.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

int neap_socket_in(const char *netns, int domain, int type)
{
    type |= SOCK_CLOEXEC | SOCK_NONBLOCK;
    if (!netns) {
        int fd = socket(domain, type, 0);
        return fd < 0 ? -errno : fd;
    }
    NEAP_CLEANUP_CLOSE int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    NEAP_CLEANUP_CLOSE int theirs = open(netns, O_RDONLY | O_CLOEXEC);
    if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) < 0)
        return -errno;
    int fd = socket(domain, type, 0), code = errno;
    if (setns(own, CLONE_NEWNET) < 0)
        abort(); /* a thread in a foreign namespace must not go on */
    return fd < 0 ? -code : fd;
}
