/* Listening sockets. */
#include "http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* "host:port", "[v6]:port", ":port" */
static bool split(const char *address, char host[64], char port[8])
{
    const char *colon = strrchr(address, ':');
    if (!colon || strlen(colon + 1) >= 8 || !colon[1])
        return false;
    const char *start = address, *end = colon;
    if (*start == '[') {
        if (end[-1] != ']')
            return false;
        start++;
        end--;
    }
    if (end - start >= 64)
        return false;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    strcpy(port, colon + 1);
    return true;
}

static int listen_on(const struct addrinfo *a, const char *netns, const char *address, bool early,
                     int *ret_fd, struct neap_err *err)
{
    static const int on = 1;
    int fd = neap_socket_in(netns, a->ai_family, SOCK_STREAM);
    if (fd < 0)
        return neap_err_errno(err, -fd, "listen on %s", address);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (early)
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)); /* serves IPv6 sockets too */
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 1024) < 0) {
        int e = errno;
        close(fd);
        return neap_err_errno(err, e, "listen on %s", address);
    }
    *ret_fd = fd;
    return 0;
}

int neap_http_bind(const char *address, int *ret_fd, unsigned *ret_port, struct neap_err *err)
{
    return neap_http_bind_in(NULL, address, false, ret_fd, ret_port, err);
}

int neap_http_bind_in(const char *netns, const char *address, bool early, int *ret_fd,
                      unsigned *ret_port, struct neap_err *err)
{
    char host[64], port[8];
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM},
                    *list = NULL;
    if (!split(address, host, port) || getaddrinfo(*host ? host : NULL, port, &hints, &list))
        return neap_err_set(err, NEAP_ECONFIG, "%s is no ADDR:PORT", address);
    int rc = listen_on(list, netns, address, early, ret_fd, err);
    freeaddrinfo(list);
    if (rc)
        return rc;
    struct sockaddr_storage s = {0};
    socklen_t n = sizeof(s);
    getsockname(*ret_fd, (struct sockaddr *)&s, &n);
    // NOLINTBEGIN(clang-analyzer-core.CallAndMessage): a socket that listens has a name
    if (ret_port)
        *ret_port = ntohs(s.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&s)->sin6_port
                                                  : ((struct sockaddr_in *)&s)->sin_port);
    // NOLINTEND(clang-analyzer-core.CallAndMessage)
    return 0;
}
