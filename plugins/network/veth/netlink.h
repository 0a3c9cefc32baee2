/* The few rtnetlink requests that the plugin needs, each one message and its acknowledgement (well under
 * a millisecond). A socket belongs to the network namespace it was opened in, whoever uses it.
 * Blocking: yes, shortly. thread: any, one at a time a socket. Errors: 0 or -errno. */
#ifndef VETH_NETLINK_H
#define VETH_NETLINK_H

#include "address.h"

struct mnl_socket;

/* Runs <fn> on a thread of its own that has entered the namespace at <path> (NULL: ours). The calling
 * thread never leaves its namespace. Returns what <fn> returns. */
int veth_in_namespace(const char *path, int (*fn)(void *arg), void *arg);
/* A route socket in the namespace at <path>; -errno. */
int veth_open(const char *path, struct mnl_socket **ret);

/* A pair: <name> here, eth0 in the namespace behind <peer_ns>. */
int veth_make_pair(struct mnl_socket *s, const char *name, int peer_ns, unsigned mtu);
/* "dummy", or "bridge" where the kernel has no dummy. -EEXIST is success. */
int veth_make_device(struct mnl_socket *s, const char *name, const char *type);
int veth_delete(struct mnl_socket *s, const char *name); /* -ENODEV: was not there */
int veth_up(struct mnl_socket *s, unsigned index);
/* Answers to 127.0.0.1 may come this way: of host ports there (Documentation/networking/ip-sysctl, route_localnet). */
int veth_route_localnet(struct mnl_socket *s, unsigned index);
int veth_index(struct mnl_socket *s, const char *name, unsigned *ret);
/* No address of the kernel's own making on this device: it would be tentative for a second or two, and
 * what has no other source (neighbour solicitations) waits for it. */
int veth_no_link_local(struct mnl_socket *s, unsigned index);
/* IPv6: usable at once, nobody is asked whether it is taken. */
int veth_add_address(struct mnl_socket *s, unsigned index, const struct veth_address *a,
                     unsigned prefix);
/* gateway, source NULL: none; index 0: by the gateway. Replaces. */
int veth_set_route(struct mnl_socket *s, const struct veth_range *to, unsigned index,
                   const struct veth_address *gateway, const struct veth_address *source);
int veth_delete_route(struct mnl_socket *s, const struct veth_range *to);
/* Calls <fn> with every device's name. */
int veth_each(struct mnl_socket *s, void (*fn)(void *arg, const char *name), void *arg);

#endif
