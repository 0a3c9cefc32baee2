/* A byte stream to a pod: plain, or TLS without looking at who it is (as Kubernetes' proxies: the address is what
 * was asked for, not a name). Never blocks; belongs to one loop. */
#ifndef NEAP_API_NODE_LINK_H
#define NEAP_API_NODE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct ssl_st SSL;
struct node_link {
    int fd;
    SSL *ssl; /* NULL: plain */
};

/* Makes it a TLS client's; false: out of memory. The handshake goes with the first bytes. */
bool node_link_tls(struct node_link *l);
/* Bytes moved; 0: the end (of what is read); -EAGAIN; another -errno: broken. */
ssize_t node_link_send(struct node_link *l, const void *data, size_t len);
ssize_t node_link_recv(struct node_link *l, void *data, size_t len);
/* Whether TLS has to write before it can go on. */
bool node_link_wants_write(const struct node_link *l);
void node_link_close(struct node_link *l);

#endif
