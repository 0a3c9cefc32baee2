/* A container's folder as the runtime program wants it: rootfs mounted, config.json written. */
#include "oci.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* One layer a call ("lowerdir+", Linux 6.7): any number of layers, any length of path. */
static int mount_by_fs(struct oci_bundle *b, char **lower, size_t n, const char *upper,
                       const char *work, const char *target)
{
    int fs = fsopen("overlay", FSOPEN_CLOEXEC), r = 0;
    if (fs < 0)
        return -errno;
    for (size_t i = 0; i < n && !r; i++)
        r = fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", lower[i], 0);
    if (!r)
        r = fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", upper, 0);
    if (!r)
        r = fsconfig(fs, FSCONFIG_SET_STRING, "workdir", work, 0);
    if (!r)
        r = fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    int m = r < 0 ? -1 : fsmount(fs, FSMOUNT_CLOEXEC, 0);
    if (m >= 0)
        r = move_mount(m, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
    r = m < 0 || r < 0 ? -errno : 0;
    if (m >= 0)
        close(m);
    close(fs);
    return r;
}

static int mount_by_options(char **lower, size_t n, const char *upper, const char *work,
                            const char *target)
{
    struct oci_buf o = {0};
    for (size_t i = 0; i < n; i++)
        oci_buf_printf(&o, "%s%s", i ? ":" : "lowerdir=", lower[i]);
    oci_buf_printf(&o, ",upperdir=%s,workdir=%s", upper, work);
    int r = o.len >= 4096 ? -E2BIG : mount("overlay", target, "overlay", 0, o.p);
    r = r == -1 ? -errno : r;
    oci_buf_done(&o);
    return r;
}

static int mount_rootfs(struct oci_bundle *b)
{
    size_t n = 0;
    while (b->layers[n])
        n++;
    char *upper = oci_printf("%s/upper", b->dir), *work = oci_printf("%s/work", b->dir);
    char *target = oci_printf("%s/rootfs", b->dir);
    char **lower = oci_alloc((n + 1) * sizeof *lower);
    for (size_t i = 0; i < n; i++) /* overlay wants the top one first */
        lower[i] = oci_printf("%s/images/layers/%s", b->o->data, b->layers[n - 1 - i]);
    int r = n ? 0 : -EINVAL;
    const char *dirs[] = {upper, work, target};
    for (int i = 0; i < 3 && !r; i++)
        r = mkdir(dirs[i], 0755) < 0 && errno != EEXIST ? -errno : 0;
    struct stat
        root; /* the upper folder is the container's "/": as the image has it, whatever our umask */
    if (!r && (stat(lower[0], &root) < 0 || chown(upper, root.st_uid, root.st_gid) < 0 ||
               chmod(upper, root.st_mode & 07777) < 0))
        r = -errno;
    if (!r && !oci_is_mounted(target)) {
        r = mount_by_fs(b, lower, n, upper, work, target);
        if (r == -EINVAL || r == -ENOSYS || r == -EPERM)
            r = mount_by_options(lower, n, upper, work, target);
    }
    if (r)
        snprintf(b->error, sizeof b->error, "rootfs: %s", strerror(-r));
    for (size_t i = 0; i < n; i++)
        free(lower[i]);
    free(lower);
    free(upper);
    free(work);
    free(target);
    return oci_code(r);
}

int oci_bundle_make(struct oci_bundle *b)
{
    int r = mount_rootfs(b);
    if (!r)
        r = oci_user_resolve(b);
    if (!r)
        r = oci_spec_write(b);
    return r;
}

int oci_bundle_unmount(const char *dir)
{
    char *target = oci_printf("%s/rootfs", dir);
    while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        ;
    int r = errno == EINVAL || errno == ENOENT ? 0 : -errno;
    free(target);
    return r;
}
