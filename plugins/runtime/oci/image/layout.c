/* OCI layouts and docker archives, as a folder. Every name found in a file is opened inside the folder. */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define INDEX_DEPTH 4 /* an index in an index ... */

static int open_inside(int root, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A JSON file; <digest> NULL: not checked. Owned text and document. */
static yyjson_doc *read_json(int root, const char *path, const char *digest, char **ret_text,
                             size_t *ret_len)
{
    int fd = open_inside(root, path);
    if (fd < 0) {
        image_fail(IMAGE_INVALID, "%s is missing", path);
        return NULL;
    }
    char *self = oci_printf("/proc/self/fd/%d", fd), *text = NULL, hex[65];
    size_t n = 0;
    int r = oci_read_file(self, IMAGE_MANIFEST_MAX, &text, &n);
    free(self);
    close(fd);
    yyjson_doc *doc = r ? NULL : yyjson_read(text, n, 0);
    if (!r)
        image_hash_of(text, n, hex);
    if (doc && digest && strcmp(digest + 7, hex)) {
        yyjson_doc_free(doc);
        doc = NULL;
    }
    if (!doc) {
        image_fail(IMAGE_INVALID, "%s is damaged", path);
        free(text);
        return NULL;
    }
    if (ret_text) {
        *ret_text = text;
        *ret_len = n;
    } else {
        free(text);
    }
    return doc;
}

static char *blob_path(const char *digest)
{
    return oci_printf("blobs/sha256/%s", digest + 7);
}

const char *image_architecture(void)
{
    static const char *const map[][2] = {{"x86_64", "amd64"},    {"aarch64", "arm64"},
                                         {"armv7l", "arm"},      {"riscv64", "riscv64"},
                                         {"ppc64le", "ppc64le"}, {"s390x", "s390x"}};
    struct utsname u;
    uname(&u);
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (!strcmp(u.machine, map[i][0]))
            return map[i][1];
    return "amd64";
}

static const char *str(yyjson_val *v, const char *key)
{
    return yyjson_get_str(yyjson_obj_get(v, key));
}

/* ---- OCI */
static int import_manifest(struct image_store *s, int root, yyjson_val *m, const char *digest,
                           const char *name)
{
    const char *config = str(yyjson_obj_get(m, "config"), "digest");
    struct image_new n = {.digest = oci_strdup(digest), .name = oci_strdup(name)};
    if (!oci_digest_ok(config)) {
        image_new_done(&n);
        return image_fail(IMAGE_INVALID, "the manifest has no config");
    }
    char *path = blob_path(config);
    yyjson_doc *doc = read_json(root, path, config, &n.config, &n.config_len);
    free(path);
    yyjson_val *diffs =
        yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(doc), "rootfs"), "diff_ids");
    yyjson_val *layers = yyjson_obj_get(m, "layers"), *v;
    size_t i, max;
    int r = doc ? 0 : IMAGE_INVALID;
    if (!r && (yyjson_arr_size(layers) != yyjson_arr_size(diffs) || !yyjson_arr_size(layers)))
        r = image_fail(IMAGE_INVALID, "the manifest and its config name different layers");
    yyjson_arr_foreach(layers, i, max, v)
    {
        const char *d = str(v, "digest"), *diff = yyjson_get_str(yyjson_arr_get(diffs, i));
        if (r)
            break;
        path = oci_digest_ok(d) && oci_digest_ok(diff) ? blob_path(d) : NULL;
        int fd = path ? open_inside(root, path) : -1;
        r = fd < 0 ? image_fail(IMAGE_INVALID, "layer %s is missing", d ? d : "?")
                   : image_unpack(s, &n, fd, d, diff);
        if (fd >= 0)
            close(fd);
        free(path);
    }
    yyjson_doc_free(doc);
    if (!r)
        r = image_store_add(s, &n);
    image_new_done(&n);
    return r;
}

static bool for_us(yyjson_val *entry)
{
    yyjson_val *p = yyjson_obj_get(entry, "platform");
    const char *os = str(p, "os"), *arch = str(p, "architecture");
    return !p || ((!os || !strcmp(os, "linux")) && arch && !strcmp(arch, image_architecture()));
}

/* The name that the index gives the image: a full one, or only a tag. */
static const char *own_name(yyjson_val *entry)
{
    yyjson_val *a = yyjson_obj_get(entry, "annotations");
    const char *full = str(a, "io.containerd.image.name");
    const char *ref = str(a, "org.opencontainers.image.ref.name");
    return full ? full : ref && strchr(ref, '/') ? ref : NULL;
}

static int import_entry(struct image_store *s, int root, yyjson_val *entry, const char *name,
                        int depth);

static int import_index(struct image_store *s, int root, yyjson_val *index, const char *name,
                        int depth)
{
    yyjson_val *list = yyjson_obj_get(index, "manifests"), *v;
    size_t i, max, taken = 0;
    int r = 0;
    yyjson_arr_foreach(list, i, max, v)
    {
        if (r || !for_us(v) || (name && depth && taken))
            continue;
        taken++;
        r = import_entry(s, root, v, name, depth);
    }
    if (!r && !taken)
        r = image_fail(IMAGE_INVALID, "no image for linux/%s", image_architecture());
    return r;
}

static int import_entry(struct image_store *s, int root, yyjson_val *entry, const char *name,
                        int depth)
{
    const char *digest = str(entry, "digest"), *given = name ? name : own_name(entry);
    if (!oci_digest_ok(digest) || depth > INDEX_DEPTH)
        return image_fail(IMAGE_INVALID, "the index is not one");
    char *path = blob_path(digest), *full = given ? oci_name_normalise(given) : NULL;
    yyjson_doc *doc = read_json(root, path, digest, NULL, NULL);
    yyjson_val *m = yyjson_doc_get_root(doc);
    int r = !doc                             ? IMAGE_INVALID
            : yyjson_obj_get(m, "manifests") ? import_index(s, root, m, full, depth + 1)
                                             : import_manifest(s, root, m, digest, full);
    yyjson_doc_free(doc);
    free(path);
    free(full);
    return r;
}

int image_import_layout(struct image_store *s, int root, const char *name)
{
    yyjson_doc *doc = read_json(root, "index.json", NULL, NULL, NULL);
    int r = doc ? import_index(s, root, yyjson_doc_get_root(doc), name, 0) : IMAGE_INVALID;
    yyjson_doc_free(doc);
    return r;
}

/* ---- docker archive: manifest.json = [{"Config", "RepoTags", "Layers"}] */
static int docker_names(struct image_store *s, struct image_new *n, yyjson_val *tags,
                        const char *name)
{
    yyjson_val *v;
    size_t i, max;
    int r = 0;
    if (name || !yyjson_arr_size(tags)) {
        n->name = name ? oci_name_normalise(name) : NULL;
        return image_store_add(s, n);
    }
    yyjson_arr_foreach(tags, i, max, v)
    {
        free(n->name);
        n->name = yyjson_is_str(v) ? oci_name_normalise(yyjson_get_str(v)) : NULL;
        if (!r)
            r = image_store_add(s, n);
    }
    return r;
}

static int docker_image(struct image_store *s, int root, yyjson_val *m, const char *name)
{
    const char *config = str(m, "Config");
    struct image_new n = {0};
    yyjson_doc *doc = config ? read_json(root, config, NULL, &n.config, &n.config_len) : NULL;
    yyjson_val *diffs =
        yyjson_obj_get(yyjson_obj_get(yyjson_doc_get_root(doc), "rootfs"), "diff_ids");
    yyjson_val *layers = yyjson_obj_get(m, "Layers"), *v;
    size_t i, max;
    int r = doc ? 0 : image_fail(IMAGE_INVALID, "the archive has no config");
    if (!r && yyjson_arr_size(layers) != yyjson_arr_size(diffs))
        r = image_fail(IMAGE_INVALID, "the archive and its config name different layers");
    yyjson_arr_foreach(layers, i, max, v)
    {
        const char *diff = yyjson_get_str(yyjson_arr_get(diffs, i)), *file = yyjson_get_str(v);
        if (r)
            break;
        int fd = file && oci_digest_ok(diff) ? open_inside(root, file) : -1;
        r = fd < 0 ? image_fail(IMAGE_INVALID, "layer %s is missing", file ? file : "?")
                   : image_unpack(s, &n, fd, NULL, diff);
        if (fd >= 0)
            close(fd);
    }
    if (!r)
        r = docker_names(s, &n, yyjson_obj_get(m, "RepoTags"), name);
    yyjson_doc_free(doc);
    image_new_done(&n);
    return r;
}

static int import_docker(struct image_store *s, int root, const char *name)
{
    yyjson_doc *doc = read_json(root, "manifest.json", NULL, NULL, NULL);
    yyjson_val *list = yyjson_doc_get_root(doc), *v;
    size_t i, max;
    int r = doc && yyjson_arr_size(list) ? 0 : IMAGE_INVALID;
    yyjson_arr_foreach(list, i, max, v)
    {
        if (!r)
            r = docker_image(s, root, v, yyjson_arr_size(list) == 1 ? name : NULL);
    }
    yyjson_doc_free(doc);
    return r;
}

int image_import(struct image_store *s, const char *path, const char *name)
{
    struct stat st;
    char *dir = NULL;
    int r = 0;
    if (stat(path, &st) < 0)
        return image_fail(IMAGE_NOT_FOUND, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode)) {
        dir = oci_printf("%s/archive", s->tmp);
        r = mkdir(dir, 0700) < 0 ? image_fail(IMAGE_FAILED, "%s: %s", dir, strerror(errno))
                                 : image_explode(path, dir);
    }
    int root = r ? -1 : open(dir ? dir : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!r && root < 0)
        r = image_fail(IMAGE_FAILED, "%s: %s", path, strerror(errno));
    if (!r && faccessat(root, "index.json", F_OK, 0) == 0)
        r = image_import_layout(s, root, name);
    else if (!r && faccessat(root, "manifest.json", F_OK, 0) == 0)
        r = import_docker(s, root, name);
    else if (!r)
        r = image_fail(IMAGE_INVALID, "%s: neither an OCI layout nor a docker archive", path);
    if (root >= 0)
        close(root);
    free(dir);
    return r;
}

/* ---- a plain folder */
static char *rootfs_config(const char *diff, char **command, size_t *ret_len)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *r = yyjson_mut_obj(d), *c = yyjson_mut_obj(d), *fs = yyjson_mut_obj(d);
    yyjson_mut_val *cmd = yyjson_mut_arr(d), *diffs = yyjson_mut_arr(d);
    yyjson_mut_doc_set_root(d, r);
    for (; command && *command; command++)
        yyjson_mut_arr_add_str(d, cmd, *command);
    yyjson_mut_arr_add_str(d, diffs, diff);
    yyjson_mut_obj_add_str(d, r, "architecture", image_architecture());
    yyjson_mut_obj_add_str(d, r, "os", "linux");
    yyjson_mut_obj_add_val(d, c, "Cmd", cmd);
    yyjson_mut_obj_add_val(d, r, "config", c);
    yyjson_mut_obj_add_str(d, fs, "type", "layers");
    yyjson_mut_obj_add_val(d, fs, "diff_ids", diffs);
    yyjson_mut_obj_add_val(d, r, "rootfs", fs);
    char *text = yyjson_mut_write(d, 0, ret_len);
    yyjson_mut_doc_free(d);
    return text;
}

int image_from_rootfs(struct image_store *s, const char *rootfs, const char *name, char **command)
{
    char *tar = oci_printf("%s/rootfs.tar", s->tmp), hex[65];
    struct image_new n = {.name = oci_name_normalise(name)};
    int r = n.name ? image_pack(rootfs, tar)
                   : image_fail(IMAGE_INVALID, "\"%s\" is not an image's name", name);
    int fd = r ? -1 : open(tar, O_RDONLY | O_CLOEXEC);
    if (!r && fd < 0)
        r = image_fail(IMAGE_FAILED, "%s: %s", tar, strerror(errno));
    if (!r)
        r = image_unpack(s, &n, fd, NULL, NULL);
    if (fd >= 0)
        close(fd);
    if (!r) { /* the first layer's chain id is its diff id */
        snprintf(hex, sizeof hex, "%s", n.layers[0]);
        char *diff = oci_printf("sha256:%s", hex);
        n.config = rootfs_config(diff, command, &n.config_len);
        free(diff);
        r = image_store_add(s, &n);
    }
    image_new_done(&n);
    free(tar);
    return r;
}
