/* Folders are removed: a pod's with all that its containers made of them, so nothing in there is trusted: links are
 * not followed, other file systems are left alone, no depth is too great. */
#include "node_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 64 /* open folders at a time */, MOUNTINFO_MAX = 16 << 20 };

/* ---- removing ---- */

struct removal {
    int top;
    dev_t dev;
    unsigned moved, serial; /* folders too deep, moved to the top; names tried for them */
};

static int remove_entry(struct removal *r, int dir, const char *name, unsigned depth);

static int remove_entries(struct removal *r, int fd, unsigned depth)
{
    int rc = 0, own = dup(fd);
    DIR *d = own >= 0 ? fdopendir(own) : NULL;
    if (!d) {
        int e = errno;
        if (own >= 0)
            close(own);
        return -e;
    }
    rewinddir(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int one = remove_entry(r, fd, e->d_name, depth);
        rc = rc ? rc : one;
    }
    closedir(d);
    return rc;
}

static int move_up(struct removal *r, int dir, const char *name)
{
    char to[32];
    do {
        snprintf(to, sizeof(to), ".deep-%u", r->serial++);
        if (renameat(dir, name, r->top, to) == 0) {
            r->moved++;
            return 0;
        }
    } while (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR);
    return -errno;
}

static int remove_entry(struct removal *r, int dir, const char *name, unsigned depth)
{
    struct stat st;
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (depth == DEPTH_MAX)
        return move_up(r, dir, name);
    NEAP_CLEANUP_CLOSE int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return -errno;
    if (st.st_dev != r->dev)
        return -EXDEV;
    int rc = remove_entries(r, fd, depth + 1);
    return unlinkat(dir, name, AT_REMOVEDIR) == 0 ? 0 : rc ? rc : -errno;
}

int remove_tree(const char *path)
{
    struct stat st;
    struct removal r = {0};
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    NEAP_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return -errno;
    r.top = fd;
    r.dev = st.st_dev;
    int rc;
    do {
        r.moved = 0;
        rc = remove_entries(&r, fd, 1);
    } while (r.moved);
    return rmdir(path) == 0 ? 0 : rc ? rc : -errno;
}

/* ---- mounts ---- */

/* mountinfo writes blanks and the like as \040. */
static void decode(char *s)
{
    char *w = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
            *w++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *w++ = *s;
        }
    }
    *w = '\0';
}

/* "36 35 98:0 /root /mount/point options ..." */
static char *mount_point(char *line)
{
    for (int i = 0; i < 4 && line; i++)
        line = (line = strchr(line, ' ')) ? line + 1 : NULL;
    if (!line)
        return NULL;
    line[strcspn(line, " ")] = '\0';
    decode(line);
    return line;
}

/* The last one is mounted on what was before, so it goes first. */
void trees_unmount(const char *path)
{
    char *text = NULL, *save = NULL;
    const char **points = NULL;
    size_t len = 0, count = 0, cap = 0;
    char real[PATH_MAX];
    if (!realpath(path, real) || neap_file_read("/proc/self/mountinfo", MOUNTINFO_MAX, &text, &len))
        return;
    size_t n = strlen(real);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *point = mount_point(line);
        if (!point || strncmp(point, real, n) != 0 || point[n] != '/')
            continue;
        points = neap_grow(points, &cap, count + 1, sizeof(*points));
        points[count++] = point;
    }
    while (count > 0)
        umount2(points[--count], MNT_DETACH | UMOUNT_NOFOLLOW);
    free(points);
    free(text);
}

/* ---- of pods ---- */

struct job {
    struct neap_node *node;
    char *pod, *log, *logs, *uid; /* log: NULL: looked for in logs */
};

static void remove_logs(const struct job *j)
{
    size_t n = strlen(j->uid);
    DIR *d = opendir(j->logs);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        if (len <= n || e->d_name[len - n - 1] != '_' || strcmp(e->d_name + len - n, j->uid) != 0)
            continue;
        NEAP_CLEANUP_FREE char *path = neap_asprintf("%s/%s", j->logs, e->d_name);
        remove_tree(path);
    }
    if (d)
        closedir(d);
}

static void run(void *arg)
{
    const struct job *j = arg;
    if (access(j->pod, F_OK) == 0) {
        trees_unmount(j->pod);
        int rc = remove_tree(j->pod);
        if (rc)
            NEAP_WARN("agent", "a pod's folder is left", "path=%s err=%s", j->pod, strerror(-rc));
    }
    if (j->log)
        remove_tree(j->log);
    else
        remove_logs(j);
}

static void ran(void *arg)
{
    struct job *j = arg;
    struct neap_node *n = j->node;
    free(j->pod);
    free(j->log);
    free(j->logs);
    free(j->uid);
    free(j);
    node_tree_removed(n);
}

void trees_remove_pod(struct neap_node *n, const char *uid, const char *log_dir)
{
    struct job *j = neap_calloc(1, sizeof(*j));
    *j = (struct job){.node = n,
                      .pod = neap_asprintf("%s/pods/%s", n->options.data_dir, uid),
                      .log = log_dir ? neap_strdup(log_dir) : NULL,
                      .logs = neap_asprintf("%s/logs", n->options.data_dir),
                      .uid = neap_strdup(uid)};
    n->trees++;
    neap_loop_work(n->options.loop, run, ran, j);
}

static bool unknown(const struct neap_node *n, const char *uid)
{
    return *uid && *uid != '.' && !neap_map_get(&n->pods, uid) && !orphan_known(n, uid);
}

void trees_sweep(struct neap_node *n)
{
    static const char *const folders[] = {"pods", "logs"};
    for (int i = 0; i < 2; i++) {
        NEAP_CLEANUP_FREE char *path = neap_asprintf("%s/%s", n->options.data_dir, folders[i]);
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));) {
            const char *uid = i == 0 ? e->d_name : strrchr(e->d_name, '_');
            NEAP_CLEANUP_FREE char *log = i ? neap_asprintf("%s/%s", path, e->d_name) : NULL;
            if (uid && unknown(n, uid + i))
                trees_remove_pod(n, uid + i, log);
        }
        if (d)
            closedir(d);
    }
}
