/* Control groups by one interface: v1 (also hybrid hosts: the v1 hierarchies do the work) and v2.
 * Paths are absolute within the hierarchies: "/neap-a1b2c3/burstable/podX". Functions block for
 * microseconds, but kill, which waits for the processes to be gone: pool thread.
 * Errors: 0 or -errno. */
#ifndef OCI_CGROUP_H
#define OCI_CGROUP_H

#include "../common.h"
#include <neap/plugin/runtime.h>

#define OCI_CGROUP_HIERARCHIES_MAX 16

struct oci_cgroup;
struct oci_cgroup_driver {
    const char *name;
    /* Makes <path> and what is above it. */
    int (*make)(struct oci_cgroup *g, const char *path);
    int (*limit)(struct oci_cgroup *g, const char *path, const struct neap_runtime_resources *r);
    /* The file with the line "oom_kill N"; owned, NULL: there is none. */
    char *(*oom_file)(struct oci_cgroup *g, const char *path);
    int (*stats)(struct oci_cgroup *g, const char *path, struct neap_runtime_stats *ret);
};

struct oci_cgroup {
    const struct oci_cgroup_driver *driver;
    bool hybrid;                             /* a cgroup2 mount beside v1 hierarchies, at: */
    char *unified;                           /* runc makes groups there too; we only remove them */
    char *roots[OCI_CGROUP_HIERARCHIES_MAX]; /* where the hierarchies are mounted */
    char *controllers[OCI_CGROUP_HIERARCHIES_MAX]; /* v1: ",memory,", v2: "" */
    unsigned count;
};
extern const struct oci_cgroup_driver oci_cgroup_v1, oci_cgroup_v2;

/* Looks at the mounts. -ENOENT: no cgroups. */
int oci_cgroup_init(struct oci_cgroup *g);
void oci_cgroup_done(struct oci_cgroup *g);

/* The same for both versions: */
/* "<root><path>/<file>" of the hierarchy that has <controller> (v2: the only one); NULL: none. */
char *oci_cgroup_file(struct oci_cgroup *g, const char *controller, const char *path,
                      const char *file);
/* cgroup.procs files of <path>, one a hierarchy; NULL-terminated, owned (also the array). */
char **oci_cgroup_procs(struct oci_cgroup *g, const char *path);
/* Kills every process at and below <path> and waits until they are gone. -ETIMEDOUT. */
int oci_cgroup_kill(struct oci_cgroup *g, const char *path, int timeout_ms);
/* Removes <path>, what is below it, and what is above it as far as it is empty. */
int oci_cgroup_remove(struct oci_cgroup *g, const char *path);

#endif
