/* Volumes of a pod: emptyDir, hostPath, ConfigMap, Secret, projected, downwardAPI. What is written from objects
 * changes atomically: a new folder, then a rename of the link ..data, as kubelet does it.
 * Source: Kubernetes documentation, "Volumes". */
#include "node_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *str(yyjson_val *o, const char *name)
{
    return yyjson_get_str(yyjson_obj_get(o, name));
}

static const char *folder(struct pod *p, const char *name, struct neap_arena *arena)
{
    return neap_arena_printf(arena, "%s/volumes/%s", pod_dir(p, arena), name);
}

static int64_t fs_group(const struct pod *p)
{
    yyjson_val *v = neap_json_val_at(p->spec, "securityContext.fsGroup");
    return v ? yyjson_get_sint(v) : -1;
}

/* ---- files of a volume ---- */

struct files {
    struct neap_arena *arena;
    const char **paths;
    struct {
        const void *data;
        size_t len;
        int mode;
    } * contents;
    size_t count, cap;
};

/* ".." as an element: "a..b" is a name like others. */
static bool has_dots(const char *path)
{
    for (const char *p = path; *p; p += strcspn(p, "/"), p += *p == '/')
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || p[2] == '\0'))
            return true;
    return false;
}

static int add_file(struct files *f, const char *path, const void *data, size_t len, int mode,
                    struct neap_err *err)
{
    if (!path || !*path || *path == '/' || has_dots(path))
        return neap_err_set(err, NEAP_EINVALID, "\"%s\" is no path within a volume",
                            path ? path : "");
    if (f->count == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 32;
        const char **paths = neap_arena_calloc(f->arena, cap * sizeof(*paths));
        void *contents = neap_arena_calloc(f->arena, cap * sizeof(*f->contents));
        if (f->count) {
            memcpy(paths, f->paths, f->count * sizeof(*paths));
            memcpy(contents, f->contents, f->count * sizeof(*f->contents));
        }
        f->paths = paths;
        f->contents = contents;
        f->cap = cap;
    }
    f->paths[f->count] = path;
    f->contents[f->count].data = data;
    f->contents[f->count].len = len;
    f->contents[f->count++].mode = mode;
    return 0;
}

static int default_mode(yyjson_val *source, int dflt)
{
    yyjson_val *v = yyjson_obj_get(source, "defaultMode");
    return v ? (int)yyjson_get_sint(v) & 0777 : dflt;
}

static int add_value(struct files *f, const char *path, yyjson_val *v, bool base64, int mode,
                     struct neap_err *err)
{
    size_t len = yyjson_get_len(v);
    const char *data = yyjson_get_str(v);
    if (base64)
        data = unbase64(data, len, f->arena, &len);
    return add_file(f, path, data, len, mode, err);
}

/* The items that are asked for, or all keys. */
static int add_object(struct pod *p, struct files *f, const char *kind, const char *name,
                      yyjson_val *source, int mode, struct neap_err *err)
{
    bool secret = strcmp(kind, "secrets") == 0,
         optional = yyjson_get_bool(yyjson_obj_get(source, "optional"));
    yyjson_val *items = yyjson_obj_get(source, "items"), *k, *v, *item;
    size_t i, n;
    int rc = 0;
    yyjson_val *root = name ? refs_get(p, kind, name, f->arena) : NULL;
    if (!root)
        return optional ? 0
                        : neap_err_set(err, NEAP_ENOTFOUND, "%s \"%s\" not found",
                                       secret ? "secret" : "configmap", name ? name : "");
    yyjson_val *data = yyjson_obj_get(root, "data"), *binary = yyjson_obj_get(root, "binaryData");
    yyjson_arr_foreach(items, i, n, item)
    {
        const char *key = str(item, "key");
        yyjson_val *own = yyjson_obj_get(item, "mode");
        int m = own ? (int)yyjson_get_sint(own) & 0777 : mode;
        if (rc || !key)
            continue;
        if ((v = yyjson_obj_get(data, key)))
            rc = add_value(f, str(item, "path"), v, secret, m, err);
        else if ((v = yyjson_obj_get(binary, key)))
            rc = add_value(f, str(item, "path"), v, true, m, err);
        else if (!optional)
            rc = neap_err_set(err, NEAP_ENOTFOUND, "references non-existent %s key: %s",
                              secret ? "secret" : "config", key);
    }
    if (items)
        return rc;
    yyjson_obj_foreach(data, i, n, k, v)
    {
        rc = rc ? rc : add_value(f, yyjson_get_str(k), v, secret, mode, err);
    }
    yyjson_obj_foreach(binary, i, n, k, v)
    {
        rc = rc ? rc : add_value(f, yyjson_get_str(k), v, true, mode, err);
    }
    return rc;
}

static int add_downward(struct pod *p, struct files *f, yyjson_val *source, int mode,
                        struct neap_err *err)
{
    size_t i, n;
    yyjson_val *item;
    int rc = 0;
    yyjson_arr_foreach(yyjson_obj_get(source, "items"), i, n, item)
    {
        yyjson_val *field = yyjson_obj_get(item, "fieldRef"), *own = yyjson_obj_get(item, "mode");
        const char *value =
            field ? pod_field(p, str(field, "fieldPath"), f->arena)
                  : resource_field(p, yyjson_obj_get(item, "resourceFieldRef"), NULL, f->arena);
        if (!rc)
            rc = add_file(f, str(item, "path"), value ? value : "", value ? strlen(value) : 0,
                          own ? (int)yyjson_get_sint(own) & 0777 : mode, err);
    }
    return rc;
}

static int add_token(struct pod *p, struct files *f, yyjson_val *source, int mode,
                     struct neap_err *err)
{
    const char *token = refs_token(p, source);
    if (!token)
        return neap_err_set(err, NEAP_EUNAVAILABLE, "no token was given yet");
    /* read by the container's user, whoever that is, or its group */
    return add_file(f, str(source, "path"), token, strlen(token), fs_group(p) >= 0 ? 0640 : mode,
                    err);
}

static int add_projected(struct pod *p, struct files *f, yyjson_val *projected,
                         struct neap_err *err)
{
    size_t i, n;
    yyjson_val *s, *x;
    int rc = 0, mode = default_mode(projected, 0644);
    yyjson_arr_foreach(yyjson_obj_get(projected, "sources"), i, n, s)
    {
        if (rc)
            break;
        if ((x = yyjson_obj_get(s, "configMap")))
            rc = add_object(p, f, "configmaps", str(x, "name"), x, mode, err);
        else if ((x = yyjson_obj_get(s, "secret")))
            rc = add_object(p, f, "secrets", str(x, "name"), x, mode, err);
        else if ((x = yyjson_obj_get(s, "downwardAPI")))
            rc = add_downward(p, f, x, mode, err);
        else if ((x = yyjson_obj_get(s, "serviceAccountToken")))
            rc = add_token(p, f, x, mode, err);
    }
    return rc;
}

/* ---- writing them ---- */

static bool same_file(const char *dir, const char *path, const void *data, size_t len)
{
    char full[4096], *have = NULL;
    size_t n = 0;
    snprintf(full, sizeof(full), "%s/..data/%s", dir, path);
    bool same =
        neap_file_read(full, len + 1, &have, &n) == 0 && n == len && memcmp(have, data, len) == 0;
    free(have);
    return same;
}

static size_t count_files(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        NEAP_CLEANUP_FREE char *path = neap_asprintf("%s/%s", dir, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            n += e->d_type == DT_DIR ? count_files(path) : 1;
    }
    if (d)
        closedir(d);
    return n;
}

static bool unchanged(const char *dir, const struct files *f)
{
    char link[4096];
    snprintf(link, sizeof(link), "%s/..data", dir);
    if (access(link, F_OK) != 0 || count_files(link) > f->count)
        return false;
    for (size_t i = 0; i < f->count; i++)
        if (!same_file(dir, f->paths[i], f->contents[i].data, f->contents[i].len))
            return false;
    return true;
}

static int write_one(const char *root, const char *path, const void *data, size_t len, int mode,
                     int64_t group)
{
    char full[4096];
    if (snprintf(full, sizeof(full), "%s/%s", root, path) >= (int)sizeof(full))
        return -ENAMETOOLONG;
    char *slash = strrchr(full, '/');
    *slash = '\0';
    int rc = neap_mkdir_p(full, 0755);
    *slash = '/';
    if (rc < 0)
        return rc;
    int fd = open(full, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, data, len);
    if (n >= 0 && n < (ssize_t)len)
        n = write(fd, (const char *)data + n, len - (size_t)n) < 0 ? -1 : n; /* why not all of it */
    bool ok = n >= 0 && fchmod(fd, (mode_t)mode) == 0 &&
              (group < 0 || (fchown(fd, (uid_t)-1, (gid_t)group) == 0 &&
                             fchmod(fd, (mode_t)(mode | 0040)) == 0));
    rc = ok ? 0 : -errno;
    close(fd);
    return rc;
}

/* Links of the first path element, so that names stand where the container looks. */
static void link_names(const char *dir, const struct files *f)
{
    char from[4200], to[4096];
    for (size_t i = 0; i < f->count; i++) {
        int n = (int)strcspn(f->paths[i], "/");
        snprintf(to, sizeof(to), "%s/%.*s", dir, n, f->paths[i]);
        snprintf(from, sizeof(from), "..data/%.*s", n, f->paths[i]);
        if (symlink(from, to) != 0 && errno != EEXIST)
            NEAP_WARN("agent", "a volume's link", "path=%s", to);
    }
}

/* Names that are no longer there. */
static void unlink_gone(const char *dir)
{
    char target[4096];
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(target, sizeof(target), "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.' && access(target, F_OK) != 0)
            unlink(target);
    }
    if (d)
        closedir(d);
}

static int write_files(struct pod *p, const char *dir, const struct files *f, struct neap_err *err)
{
    char fresh[4096], temp[4096], data[4096], old[4096];
    static unsigned serial;
    int rc = neap_mkdir_p(dir, 0755);
    if (rc < 0)
        return neap_err_errno(err, -rc, "%s", dir);
    chmod(dir, 0755);
    if (unchanged(dir, f))
        return 0;
    const char *base =
        neap_arena_printf(f->arena, "..%lld_%u", (long long)node_wall(p->node), serial++);
    snprintf(fresh, sizeof(fresh), "%s/%s", dir, base);
    snprintf(temp, sizeof(temp), "%s/..data_tmp", dir);
    snprintf(data, sizeof(data), "%s/..data", dir);
    ssize_t n = readlink(data, old, sizeof(old) - 1);
    rc = neap_mkdir_p(fresh, 0755);
    chmod(fresh, 0755);
    for (size_t i = 0; i < f->count && rc >= 0; i++)
        rc = write_one(fresh, f->paths[i], f->contents[i].data, f->contents[i].len,
                       f->contents[i].mode, fs_group(p));
    if (rc < 0) {
        remove_tree(fresh);
        return neap_err_errno(err, -rc, "%s", dir);
    }
    unlink(temp);
    if (symlink(base, temp) != 0 || rename(temp, data) != 0)
        return neap_err_errno(err, errno, "%s", data);
    link_names(dir, f);
    unlink_gone(dir);
    old[n > 0 ? n : 0] = '\0';
    if (n > 0 && !strchr(old, '/')) { /* one of ours */
        snprintf(temp, sizeof(temp), "%s/%.200s", dir, old);
        remove_tree(temp);
    }
    return 0;
}

/* ---- kinds of volumes ---- */

/* A try before may have made the folder only, or the machine has started anew. */
static bool mounted(const char *dir)
{
    struct stat own, parent;
    NEAP_CLEANUP_FREE char *up = neap_asprintf("%s/..", dir);
    return lstat(dir, &own) == 0 && lstat(up, &parent) == 0 && own.st_dev != parent.st_dev;
}

static int empty_dir(struct pod *p, const char *dir, yyjson_val *source, struct neap_err *err)
{
    char options[64] = "mode=0777";
    bool there = access(dir, F_OK) == 0, memory = neap_streq(str(source, "medium"), "Memory");
    int rc = neap_mkdir_p(dir, 0777);
    if (rc < 0)
        return neap_err_errno(err, -rc, "%s", dir);
    if (there && (!memory || mounted(dir)))
        return 0;
    if (memory) {
        const char *limit = str(source, "sizeLimit");
        int64_t bytes = 0;
        if (limit && neap_quantity_value(limit, strlen(limit), &bytes))
            snprintf(options, sizeof(options), "mode=0777,size=%lld", (long long)bytes);
        if (mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
            return neap_err_errno(err, errno, "tmpfs on %s", dir);
    }
    chmod(dir, 0777);
    if (fs_group(p) >= 0 && chown(dir, (uid_t)-1, (gid_t)fs_group(p)) == 0)
        chmod(dir, 02777);
    return 0;
}

static int host_path(yyjson_val *source, struct neap_err *err)
{
    const char *path = str(source, "path"), *type = str(source, "type");
    struct stat st;
    if (!path)
        return neap_err_set(err, NEAP_EINVALID, "hostPath without a path");
    /* without a type a runtime makes what is missing a folder */
    if (neap_streq(type, "DirectoryOrCreate") ||
        ((!type || !*type) && access(path, F_OK) != 0 && errno == ENOENT))
        neap_mkdir_p(path, 0755);
    else if (neap_streq(type, "FileOrCreate")) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0)
            close(fd);
    }
    if (!type || !*type)
        return 0;
    static const struct {
        const char *type;
        mode_t mode;
    } rows[] = {{"Directory", S_IFDIR},    {"DirectoryOrCreate", S_IFDIR}, {"File", S_IFREG},
                {"FileOrCreate", S_IFREG}, {"Socket", S_IFSOCK},           {"CharDevice", S_IFCHR},
                {"BlockDevice", S_IFBLK}};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].type, type) == 0 &&
            (stat(path, &st) != 0 || (st.st_mode & S_IFMT) != rows[i].mode))
            return neap_err_set(err, NEAP_EINVALID, "hostPath type check failed: %s is not a %s",
                                path, type);
    return 0;
}

static int one_volume(struct pod *p, yyjson_val *v, struct neap_arena *arena, struct neap_err *err)
{
    const char *name = str(v, "name"), *dir = folder(p, name ? name : "", arena);
    struct files f = {.arena = arena};
    yyjson_val *s;
    int rc;
    if ((s = yyjson_obj_get(v, "emptyDir")))
        return empty_dir(p, dir, s, err);
    if ((s = yyjson_obj_get(v, "hostPath")))
        return host_path(s, err);
    if ((s = yyjson_obj_get(v, "configMap")))
        rc = add_object(p, &f, "configmaps", str(s, "name"), s, default_mode(s, 0644), err);
    else if ((s = yyjson_obj_get(v, "secret")))
        rc = add_object(p, &f, "secrets", str(s, "secretName"), s, default_mode(s, 0644), err);
    else if ((s = yyjson_obj_get(v, "downwardAPI")))
        rc = add_downward(p, &f, s, default_mode(s, 0644), err);
    else if ((s = yyjson_obj_get(v, "projected")))
        rc = add_projected(p, &f, s, err);
    else
        return neap_err_set(err, NEAP_ENOTSUPPORTED,
                            "this node cannot mount a volume of this type");
    return rc ? rc : write_files(p, dir, &f, err);
}

int volumes_write(struct pod *p, struct neap_err *err)
{
    struct neap_arena *arena = neap_arena_new(0);
    size_t i, n;
    yyjson_val *v;
    int rc = neap_mkdir_p(pod_dir(p, arena), 0755);
    rc = rc < 0 ? neap_err_errno(err, -rc, "%s", pod_dir(p, arena)) : 0;
    yyjson_arr_foreach(yyjson_obj_get(p->spec, "volumes"), i, n, v)
    {
        if (rc)
            break;
        rc = one_volume(p, v, arena, err);
        if (rc)
            neap_err_wrap(err, "MountVolume.SetUp failed for volume \"%s\"", str(v, "name"));
    }
    neap_arena_free(arena);
    return rc;
}

bool volume_is_ours(const struct pod *p, const char *name)
{
    static const char *const kinds[] = {"configMap", "secret", "downwardAPI", "projected"};
    size_t i, n;
    yyjson_val *v;
    yyjson_arr_foreach(yyjson_obj_get(p->spec, "volumes"), i, n, v)
    {
        for (size_t k = 0; neap_streq(str(v, "name"), name) && k < NEAP_ARRAY_LEN(kinds); k++)
            if (yyjson_obj_get(v, kinds[k]))
                return true;
    }
    return false;
}

const char *volume_path(struct pod *p, const char *name, struct neap_arena *arena,
                        struct neap_err *err)
{
    size_t i, n;
    yyjson_val *v, *s;
    yyjson_arr_foreach(yyjson_obj_get(p->spec, "volumes"), i, n, v)
    {
        if (!neap_streq(str(v, "name"), name))
            continue;
        s = yyjson_obj_get(v, "hostPath");
        return s ? str(s, "path") : folder(p, name, arena);
    }
    neap_err_set(err, NEAP_ENOTFOUND, "no volume \"%s\"", name ? name : "");
    return NULL;
}
