/* A subPath of a volume. Containers of the pod write there, so it is opened without following a link that leads out
 * of the volume, and what was opened (not its name) is mounted where they cannot exchange it before the runtime comes.
 * Source: Kubernetes' CVE-2017-1002101 and CVE-2021-25741. */
#include "node_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_below(int base, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, base, path, &how, sizeof(how));
}

/* Folders that are missing get the mode of the volume, so that who may write there may write here. */
static int make_folder(int base, char *path, mode_t mode)
{
    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (slash)
        *slash = '\0';
    NEAP_CLEANUP_CLOSE int parent = open_below(base, slash ? path : ".", O_DIRECTORY);
    if (slash)
        *slash = '/';
    if (parent < 0 || (mkdirat(parent, name, 0700) != 0 && errno != EEXIST))
        return -errno;
    NEAP_CLEANUP_CLOSE int fd =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 || fchmod(fd, mode) != 0 ? -errno : 0;
}

static int make_folders(int base, const char *sub, mode_t mode)
{
    NEAP_CLEANUP_FREE char *path = neap_strdup(sub);
    for (char *end = path; end; end = *end ? end + 1 : NULL) {
        end += strcspn(end, "/");
        char was = *end;
        *end = '\0';
        int fd = *path ? open_below(base, path, O_DIRECTORY) : -1;
        int rc = fd < 0 && *path ? (errno == ENOENT ? make_folder(base, path, mode) : -errno) : 0;
        if (fd >= 0)
            close(fd);
        *end = was;
        if (rc)
            return rc;
    }
    return 0;
}

/* The folder or file; < 0: -errno. */
static int open_sub(const char *volume, const char *sub)
{
    struct stat st;
    NEAP_CLEANUP_CLOSE int base = open(volume, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (base < 0 || fstat(base, &st) != 0)
        return -errno;
    int fd = open_below(base, sub, 0);
    if (fd < 0 && errno == ENOENT) {
        int rc = make_folders(base, sub, st.st_mode & 07777);
        if (rc)
            return rc;
        fd = open_below(base, sub, 0);
    }
    return fd < 0 ? -errno : fd;
}

static int mount_point(const char *target, bool folder)
{
    while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        continue; /* of the run before */
    remove_tree(target);
    if (folder)
        return mkdir(target, 0700) != 0 ? -errno : 0;
    int fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static bool has_dots(const char *sub)
{
    for (const char *p = sub; *p; p += strcspn(p, "/"), p += *p == '/')
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || p[2] == '\0'))
            return true;
    return false;
}

const char *subpath_mount(struct container *c, const char *volume, const char *sub, size_t index,
                          struct neap_arena *arena, struct neap_err *err)
{
    struct stat st;
    if (*sub == '/' || has_dots(sub)) {
        neap_err_set(err, NEAP_EINVALID, "subPath \"%s\" leaves its volume", sub);
        return NULL;
    }
    const char *dir = neap_arena_printf(arena, "%s/subpaths/%s", pod_dir(c->pod, arena), c->name);
    const char *target = neap_arena_printf(arena, "%s/%zu", dir, index);
    NEAP_CLEANUP_CLOSE int fd = open_sub(volume, sub);
    int rc = fd < 0 ? fd : fstat(fd, &st) != 0 ? -errno : neap_mkdir_p(dir, 0700);
    if (rc >= 0)
        rc = mount_point(target, S_ISDIR(st.st_mode));
    if (rc >= 0) {
        const char *from = neap_arena_printf(arena, "/proc/self/fd/%d", fd);
        rc = mount(from, target, NULL, MS_BIND | MS_REC, NULL) != 0 ? -errno : 0;
    }
    if (rc >= 0)
        return target;
    neap_err_errno(err, -rc, "failed to prepare subPath for volumeMount \"%s\"", sub);
    return NULL;
}
