/* The node's sysctls, in the caller's network namespace: each is recorded in the plugin's folder before its first
 * change (sysctl-<path, / as #>: the old value) and put back from there. Blocking: yes (fsync). Errors: 0 or
 * -errno. */
#ifndef VETH_SYSCTL_H
#define VETH_SYSCTL_H

#include <stdbool.h>

/* Forwarding of the family. IPv6: interfaces that learn their routes from routers go on doing so, which the
 * kernel would end with forwarding (Documentation/networking/ip-sysctl, accept_ra). */
int veth_sysctls_set(const char *data_dir, bool v6);
void veth_sysctls_reset(const char *data_dir);
/* A namespace that was made where IPv6 is off by default. */
int veth_sysctl_enable_v6(void *unused);

#endif
