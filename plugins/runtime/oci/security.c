/* Capabilities and system call filters. */
#include "oci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* by number, from linux/capability.h */
static const char *const names[] = {"CHOWN",
                                    "DAC_OVERRIDE",
                                    "DAC_READ_SEARCH",
                                    "FOWNER",
                                    "FSETID",
                                    "KILL",
                                    "SETGID",
                                    "SETUID",
                                    "SETPCAP",
                                    "LINUX_IMMUTABLE",
                                    "NET_BIND_SERVICE",
                                    "NET_BROADCAST",
                                    "NET_ADMIN",
                                    "NET_RAW",
                                    "IPC_LOCK",
                                    "IPC_OWNER",
                                    "SYS_MODULE",
                                    "SYS_RAWIO",
                                    "SYS_CHROOT",
                                    "SYS_PTRACE",
                                    "SYS_PACCT",
                                    "SYS_ADMIN",
                                    "SYS_BOOT",
                                    "SYS_NICE",
                                    "SYS_RESOURCE",
                                    "SYS_TIME",
                                    "SYS_TTY_CONFIG",
                                    "MKNOD",
                                    "LEASE",
                                    "AUDIT_WRITE",
                                    "AUDIT_CONTROL",
                                    "SETFCAP",
                                    "MAC_OVERRIDE",
                                    "MAC_ADMIN",
                                    "SYSLOG",
                                    "WAKE_ALARM",
                                    "BLOCK_SUSPEND",
                                    "AUDIT_READ",
                                    "PERFMON",
                                    "BPF",
                                    "CHECKPOINT_RESTORE"};
#define CAP_COUNT (sizeof names / sizeof *names)

/* what containers have by default everywhere (Docker's and containerd's list) */
static const char *const by_default[] = {
    "CHOWN",   "DAC_OVERRIDE", "FSETID",           "FOWNER",
    "MKNOD",   "NET_RAW",      "SETGID",           "SETUID",
    "SETFCAP", "SETPCAP",      "NET_BIND_SERVICE", "SYS_CHROOT",
    "KILL",    "AUDIT_WRITE"};

static uint64_t bit_of(const char *name)
{
    if (!strncasecmp(name, "CAP_", 4))
        name += 4;
    if (!strcasecmp(name, "ALL"))
        return (UINT64_C(1) << CAP_COUNT) - 1;
    for (size_t i = 0; i < CAP_COUNT; i++)
        if (!strcasecmp(names[i], name))
            return UINT64_C(1) << i;
    return 0;
}

/* We can't give what we don't have: the runtime would fail. */
static uint64_t permitted(void)
{
    char *text = NULL;
    uint64_t set = ~UINT64_C(0);
    if (oci_read_file("/proc/self/status", 65536, &text, NULL))
        return set;
    const char *at = strstr(text, "CapPrm:");
    if (at)
        set = strtoull(at + 7, NULL, 16);
    free(text);
    return set;
}

static uint64_t wanted(const struct neap_runtime_security *s)
{
    uint64_t set = 0;
    if (s->privileged)
        return bit_of("ALL") & permitted();
    for (size_t i = 0; i < sizeof by_default / sizeof *by_default; i++)
        set |= bit_of(by_default[i]);
    for (const char *const *c = s->drop_capabilities; c && *c; c++)
        if (!strcasecmp(*c, "ALL"))
            set = 0;
    for (const char *const *c = s->add_capabilities; c && *c; c++)
        set |= bit_of(*c);
    for (const char *const *c = s->drop_capabilities; c && *c; c++)
        if (strcasecmp(*c, "ALL"))
            set &= ~bit_of(*c);
    return set & permitted();
}

void oci_security_capabilities(yyjson_mut_doc *d, yyjson_mut_val *process,
                               const struct neap_runtime_security *s)
{
    /* no ambient or inheritable set: runc 1.3 warns, and nobody needs them */
    static const char *const sets[] = {"bounding", "effective", "permitted"};
    uint64_t set = wanted(s);
    yyjson_mut_val *caps = yyjson_mut_obj(d);
    for (size_t k = 0; k < 3; k++) {
        yyjson_mut_val *a = yyjson_mut_arr(d);
        for (size_t i = 0; i < CAP_COUNT; i++) {
            char name[32];
            snprintf(name, sizeof name, "CAP_%s", names[i]);
            if (set & (UINT64_C(1) << i))
                yyjson_mut_arr_add_strcpy(d, a, name);
        }
        yyjson_mut_obj_add_val(d, caps, sets[k], a);
    }
    yyjson_mut_obj_add_val(d, process, "capabilities", caps);
}

/* RuntimeDefault: what a container has no business with is refused unless it has the capability that
 * the call is about. A list of the refused, so that calls of newer kernels stay usable. */
static const struct {
    const char *capability; /* that lifts it; NULL: none does */
    const char *calls[16];
} refused[] = {
    {"SYS_ADMIN",
     {"bpf", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
      "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setns", "umount", "umount2",
      NULL}},
    {"SYS_ADMIN", {"unshare", "lookup_dcookie", "swapon", "swapoff", "fanotify_init", NULL}},
    {"SYS_BOOT", {"reboot", "kexec_load", "kexec_file_load", NULL}},
    {"SYS_MODULE", {"create_module", "delete_module", "finit_module", "init_module", NULL}},
    {"SYS_PACCT", {"acct", NULL}},
    {"SYS_RAWIO", {"iopl", "ioperm", NULL}},
    {"SYS_TIME", {"settimeofday", "stime", "clock_settime", "clock_settime64", NULL}},
    {"SYS_TTY_CONFIG", {"vhangup", NULL}},
    {"SYS_NICE", {"get_mempolicy", "mbind", "set_mempolicy", "move_pages", "migrate_pages", NULL}},
    {"DAC_READ_SEARCH", {"open_by_handle_at", NULL}},
    {"SYS_PTRACE", {"kcmp", "pidfd_getfd", "process_madvise", NULL}},
    {NULL,
     {"add_key", "keyctl", "request_key", "userfaultfd", "uselib", "ustat", "sysfs", "nfsservctl",
      "vm86", "vm86old", "io_uring_setup", "io_uring_enter", "io_uring_register", "pivot_root",
      NULL}},
};
/* clone with any of these is unshare by another name */
static const uint32_t clone_flags[] = {0x00020000, 0x02000000, 0x04000000, 0x08000000,
                                       0x10000000, 0x20000000, 0x40000000};

static yyjson_mut_val *add_rule(yyjson_mut_doc *d, yyjson_mut_val *calls, const char *const *list,
                                int errnum)
{
    yyjson_mut_val *r = yyjson_mut_obj(d), *n = yyjson_mut_arr(d);
    for (; *list; list++)
        yyjson_mut_arr_add_str(d, n, *list);
    yyjson_mut_obj_add_val(d, r, "names", n);
    yyjson_mut_obj_add_str(d, r, "action", "SCMP_ACT_ERRNO");
    yyjson_mut_obj_add_int(d, r, "errnoRet", errnum);
    yyjson_mut_arr_append(calls, r);
    return r;
}

static void runtime_default(yyjson_mut_doc *d, yyjson_mut_val *lin, uint64_t set)
{
    static const char *const clone_name[] = {"clone", NULL}, *const clone3_name[] = {"clone3",
                                                                                     NULL};
    yyjson_mut_val *f = yyjson_mut_obj(d), *calls = yyjson_mut_arr(d);
    yyjson_mut_obj_add_str(d, f, "defaultAction", "SCMP_ACT_ALLOW");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!refused[i].capability || !(set & bit_of(refused[i].capability)))
            add_rule(d, calls, refused[i].calls, EPERM);
    if (!(set & bit_of("SYS_ADMIN"))) {
        /* its flags are behind a pointer: "not there" makes libraries use clone */
        add_rule(d, calls, clone3_name, ENOSYS);
        for (size_t i = 0; i < sizeof clone_flags / sizeof *clone_flags; i++) {
            yyjson_mut_val *r = add_rule(d, calls, clone_name, EPERM);
            yyjson_mut_val *args = yyjson_mut_arr(d), *a = yyjson_mut_obj(d);
            yyjson_mut_obj_add_int(d, a, "index", 0);
            yyjson_mut_obj_add_uint(d, a, "value", clone_flags[i]);
            yyjson_mut_obj_add_uint(d, a, "valueTwo", clone_flags[i]);
            yyjson_mut_obj_add_str(d, a, "op", "SCMP_CMP_MASKED_EQ");
            yyjson_mut_arr_append(args, a);
            yyjson_mut_obj_add_val(d, r, "args", args);
        }
    }
    yyjson_mut_obj_add_val(d, f, "syscalls", calls);
    yyjson_mut_obj_add_val(d, lin, "seccomp", f);
}

/* A profile of the runtime specification's shape ("defaultAction", "syscalls") goes in as it is. */
static int local_profile(struct oci_bundle *b, yyjson_mut_doc *d, yyjson_mut_val *lin)
{
    const char *path = b->c->security.seccomp_profile;
    char *text = NULL;
    size_t n = 0;
    int r = oci_read_file(path, OCI_FILE_MAX, &text, &n);
    yyjson_doc *doc = r ? NULL : yyjson_read(text, n, 0);
    free(text);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_str(yyjson_obj_get(root, "defaultAction"))) {
        snprintf(b->error, sizeof b->error, "seccomp profile %.300s: %s", path,
                 r ? strerror(-r) : "not a profile of the OCI runtime specification");
        yyjson_doc_free(doc);
        return NEAP_EINVALID;
    }
    yyjson_mut_val *copy = yyjson_val_mut_copy(d, root);
    yyjson_mut_obj_remove_key(copy, "archMap"); /* Docker's own members */
    yyjson_mut_obj_add_val(d, lin, "seccomp", copy);
    yyjson_doc_free(doc);
    return 0;
}

int oci_security_seccomp(struct oci_bundle *b, yyjson_mut_doc *d, yyjson_mut_val *lin)
{
    const struct neap_runtime_security *s = &b->c->security;
    if (!s->seccomp_profile || s->privileged || !strcmp(s->seccomp_profile, "Unconfined"))
        return 0;
    if (strcmp(s->seccomp_profile, "RuntimeDefault"))
        return local_profile(b, d, lin);
    runtime_default(d, lin, wanted(s));
    return 0;
}
