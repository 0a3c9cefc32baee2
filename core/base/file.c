/* Files: see neap/base.h. */
#include <neap/base.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int neap_file_read(const char *path, size_t max, char **ret, size_t *ret_len)
{
    NEAP_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    size_t cap = 4096, len = 0;
    NEAP_CLEANUP_FREE char *data = neap_malloc(cap + 1);
    for (;;) {
        ssize_t n = read(fd, data + len, cap - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
        if (len > max)
            return -EFBIG;
        if (len == cap)
            data = neap_realloc(data, (cap *= 2) + 1);
    }
    data[len] = '\0';
    *ret = neap_take(data);
    if (ret_len)
        *ret_len = len;
    return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    NEAP_CLEANUP_FREE char *folder =
        slash ? neap_strndup(path, (size_t)(slash - path) + 1) : neap_strdup(".");
    NEAP_CLEANUP_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int neap_file_write_atomic(const char *path, const void *data, size_t len, mode_t mode)
{
    NEAP_CLEANUP_FREE char *tmp = neap_asprintf("%s.tmp.%d", path, (int)getpid());
    unlink(tmp);
    NEAP_CLEANUP_CLOSE int fd =
        open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    int code = write_all(fd, data, len);
    if (!code && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(tmp, path) < 0))
        code = -errno;
    if (code)
        unlink(tmp);
    return code ? code : sync_folder_of(path);
}

int neap_mkdir_p(const char *path, mode_t mode)
{
    NEAP_CLEANUP_FREE char *copy = neap_strdup(path);
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    struct stat st;
    if (mkdir(copy, mode) < 0 && errno != EEXIST)
        return -errno;
    if (stat(copy, &st) < 0)
        return -errno;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}
