/* Layers into folders. Nothing that an archive says leads out of its folder: names are cleaned, ".." is
 * refused, libarchive follows no link, and our own calls resolve beneath the folder without links.
 * Whiteouts become what overlayfs knows: a 0/0 character device, trusted.overlay.opaque. */
#include "image.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BLOCK (64u << 10)

/* tar bytes: file -> (hash) -> filters -> (hash) -> tar reader */
struct feed {
    int fd;
    struct archive *raw;
    struct image_hash digest, diff;
    int64_t read;
    char in[BLOCK], out[BLOCK];
};

static la_ssize_t read_file(struct archive *a, void *arg, const void **ret)
{
    struct feed *f = arg;
    ssize_t n;
    while ((n = read(f->fd, f->in, sizeof f->in)) < 0 && errno == EINTR)
        ;
    if (n < 0) {
        archive_set_error(a, errno, "read");
        return -1;
    }
    image_hash_add(&f->digest, f->in, (size_t)n);
    f->read += n;
    *ret = f->in;
    return n;
}

static la_ssize_t read_tar(struct archive *a, void *arg, const void **ret)
{
    struct feed *f = arg;
    la_ssize_t n = archive_read_data(f->raw, f->out, sizeof f->out);
    if (n < 0) {
        archive_set_error(a, archive_errno(f->raw), "%s", archive_error_string(f->raw));
        return -1;
    }
    image_hash_add(&f->diff, f->out, (size_t)n);
    *ret = f->out;
    return n;
}

static int beneath(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

struct layer {
    struct image_store *s;
    struct image_new *n;
    int root; /* its folder */
    struct archive *disk;
    int64_t bytes, entries;
};

/* "./a//b/" -> "a/b"; NULL: it wants out. Owned; "" is the layer's top. */
static char *clean(const char *name)
{
    struct oci_buf b = {0};
    unsigned depth = 0;
    oci_buf_add(&b, "", 0);
    while (*name) {
        size_t n = strcspn(name, "/");
        if ((n == 2 && !strncmp(name, "..", 2)) || n > 255 || depth > IMAGE_DEPTH_MAX) {
            oci_buf_done(&b);
            return NULL;
        }
        if (n && !(n == 1 && *name == '.')) {
            if (b.len)
                oci_buf_add(&b, "/", 1);
            oci_buf_add(&b, name, n);
            depth++;
        }
        name += n + (name[n] == '/');
    }
    return b.p;
}

/* As it is in the layer below that has it: a tar may leave parents out (then /tmp would lose 1777). */
static void parent_like_below(struct layer *l, const char *path, struct stat *ret)
{
    *ret = (struct stat){.st_mode = 0755};
    for (unsigned i = l->n->layer_count; i-- > 0;) {
        char *dir = oci_printf("%s/layers/%s", l->s->dir, l->n->layers[i]);
        int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        free(dir);
        int fd = root < 0 ? -1 : beneath(root, path, O_PATH | O_NOFOLLOW);
        bool found = fd >= 0 && fstat(fd, ret) == 0;
        if (fd >= 0)
            close(fd);
        if (root >= 0)
            close(root);
        if (found && S_ISDIR(ret->st_mode))
            return;
        *ret = (struct stat){.st_mode = 0755};
    }
}

static int make_parents(struct layer *l, const char *path)
{
    char *p = oci_strdup(path);
    int r = 0;
    for (char *slash = p; !r && (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        int fd = beneath(l->root, p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT) {
            struct stat st;
            parent_like_below(l, p, &st);
            if (mkdirat(l->root, p, 0755) < 0 ||
                fchownat(l->root, p, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
                fchmodat(l->root, p, st.st_mode & 07777, 0) < 0)
                r = -errno;
        } else if (fd < 0 && errno != ENOTDIR && errno != ELOOP) {
            r = -errno; /* a file or link in the way is libarchive's to replace or refuse */
        }
        if (fd >= 0)
            close(fd);
        *slash = '/';
    }
    free(p);
    return r;
}

static int whiteout(struct layer *l, const char *path, const char *base)
{
    char *dir = base == path ? oci_strdup(".") : oci_printf("%.*s", (int)(base - path - 1), path);
    int fd = beneath(l->root, dir, O_RDONLY | O_DIRECTORY), r = 0;
    free(dir);
    if (fd < 0)
        return -errno;
    if (!strcmp(base, ".wh..wh..opq")) {
        if (fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
            r = -errno;
    } else if (!strncmp(base, ".wh..wh.", 8) || !base[4] || !strcmp(base + 4, ".")) {
        r = 0; /* aufs' own book-keeping */
    } else if (mknodat(fd, base + 4, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST) {
        r = -errno;
    }
    close(fd);
    return r;
}

static int copy_data(struct layer *l, struct archive *tar)
{
    const void *p;
    size_t n;
    la_int64_t at;
    int r;
    while ((r = archive_read_data_block(tar, &p, &n, &at)) == ARCHIVE_OK) {
        l->bytes += (int64_t)n;
        if (l->bytes > IMAGE_BYTES_MAX)
            return image_fail(IMAGE_INVALID, "a layer is larger than %lld bytes",
                              (long long)IMAGE_BYTES_MAX);
        if (archive_write_data_block(l->disk, p, n, at) < 0)
            return image_fail(IMAGE_FAILED, "unpack: %s", archive_error_string(l->disk));
    }
    return r == ARCHIVE_EOF ? 0
                            : image_fail(IMAGE_INVALID, "unpack: %s", archive_error_string(tar));
}

static int entry_put(struct layer *l, struct archive *tar, struct archive_entry *e, char *path)
{
    const char *link = archive_entry_hardlink(e);
    char *target = link ? clean(link) : NULL;
    if (link && !target)
        return image_fail(IMAGE_INVALID, "a link of the layer leads out of it");
    archive_entry_set_pathname(e, path);
    if (target)
        archive_entry_set_hardlink(e, target);
    free(target);
    archive_entry_set_fflags(e, 0, 0);
    int r = archive_write_header(l->disk, e);
    if (r < ARCHIVE_WARN)
        return image_fail(IMAGE_INVALID, "unpack %.200s: %s", path, archive_error_string(l->disk));
    r = archive_entry_size(e) > 0 && !link ? copy_data(l, tar) : 0;
    if (!r && archive_write_finish_entry(l->disk) < ARCHIVE_WARN)
        r = image_fail(IMAGE_FAILED, "unpack %.200s: %s", path, archive_error_string(l->disk));
    return r;
}

static int entry_take(struct layer *l, struct archive *tar, struct archive_entry *e)
{
    const char *name = archive_entry_pathname(e);
    char *path = name ? clean(name) : NULL;
    if (!path)
        return image_fail(IMAGE_INVALID, "a name of the layer leads out of it");
    if (++l->entries > IMAGE_ENTRIES_MAX) {
        free(path);
        return image_fail(IMAGE_INVALID, "a layer has more than %d entries", IMAGE_ENTRIES_MAX);
    }
    char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    int r = make_parents(l, path);
    if (r)
        r = image_fail(IMAGE_FAILED, "unpack %.200s: %s", path, strerror(-r));
    else if (!strncmp(base, ".wh.", 4))
        r = (r = whiteout(l, path, base))
                ? image_fail(IMAGE_INVALID, "unpack %.200s: %s", path, strerror(-r))
                : 0;
    else if (*path)
        r = entry_put(l, tar, e, path);
    free(path);
    return r;
}

static struct archive *disk_writer(int flags)
{
    struct archive *d = archive_write_disk_new();
    archive_write_disk_set_options(d, flags | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                                          ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                                          ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS |
                                          ARCHIVE_EXTRACT_UNLINK | ARCHIVE_EXTRACT_TIME);
    return d;
}

static int unpack_tar(struct layer *l, struct feed *f)
{
    struct archive *tar = archive_read_new();
    struct archive_entry *e;
    archive_read_support_format_tar(tar);
    archive_read_support_format_empty(tar);
    int r = archive_read_open(tar, f, NULL, read_tar, NULL) == ARCHIVE_OK
                ? 0
                : image_fail(IMAGE_INVALID, "not a layer: %s", archive_error_string(tar));
    while (!r) {
        int a = archive_read_next_header(tar, &e);
        if (a == ARCHIVE_EOF)
            break;
        r = a < ARCHIVE_WARN
                ? image_fail(IMAGE_INVALID, "damaged layer: %s", archive_error_string(tar))
                : entry_take(l, tar, e);
    }
    const void *rest; /* what follows the end of the tar belongs to its digest */
    while (!r && read_tar(tar, f, &rest) > 0)
        ;
    archive_read_free(tar);
    return r;
}

/* The raw stage: one "entry" whose data is the tar. */
static int open_raw(struct feed *f)
{
    struct archive_entry *e;
    f->raw = archive_read_new();
    archive_read_support_filter_gzip(f->raw);
    archive_read_support_filter_zstd(f->raw);
    archive_read_support_filter_xz(f->raw);
    archive_read_support_filter_bzip2(f->raw);
    archive_read_support_format_raw(f->raw);
    archive_read_support_format_empty(f->raw);
    if (archive_read_open(f->raw, f, NULL, read_file, NULL) != ARCHIVE_OK ||
        archive_read_next_header(f->raw, &e) != ARCHIVE_OK)
        return image_fail(IMAGE_INVALID, "not a layer: %s", archive_error_string(f->raw));
    return 0;
}

static int check(const char *what, const char *want, const char *hex)
{
    if (!want || !strcmp(want + 7, hex))
        return 0;
    return image_fail(IMAGE_INVALID, "a layer's %s is sha256:%s, not %s", what, hex, want);
}

static void chain_id(const struct image_new *n, const char *diff, char ret[65])
{
    if (!n->layer_count) {
        snprintf(ret, 65, "%s", diff);
        return;
    }
    char *text = oci_printf("sha256:%s sha256:%s", n->layers[n->layer_count - 1], diff);
    image_hash_of(text, strlen(text), ret);
    free(text);
}

static int keep(struct image_store *s, struct image_new *n, const char *tmp, const char *diff)
{
    char chain[65];
    chain_id(n, diff, chain);
    char *path = oci_printf("%s/layers/%s", s->dir, chain), *top = oci_printf("%s/layers", s->dir);
    int r = 0;
    sync(); /* thousands of files: one sync costs less than an fsync each */
    if (rename(tmp, path) < 0 && errno != EEXIST && errno != ENOTEMPTY)
        r = image_fail(IMAGE_FAILED, "%s: %s", path, strerror(errno));
    oci_fsync_dir(top);
    if (!r)
        n->layers[n->layer_count++] = oci_strdup(chain);
    free(path);
    free(top);
    return r;
}

/* A layer that is here already needs no unpacking. */
static bool have(struct image_store *s, struct image_new *n, const char *diff)
{
    char chain[65];
    if (!diff)
        return false;
    chain_id(n, diff + 7, chain);
    char *path = oci_printf("%s/layers/%s", s->dir, chain);
    bool yes = access(path, F_OK) == 0;
    free(path);
    if (yes)
        n->layers[n->layer_count++] = oci_strdup(chain);
    return yes;
}

static int unpack_into(struct layer *l, int fd, const char *digest, const char *want_diff,
                       char diff[65])
{
    char hex[65];
    struct feed *f = oci_alloc(sizeof *f);
    f->fd = fd;
    image_hash_start(&f->digest);
    image_hash_start(&f->diff);
    int r = open_raw(f);
    if (!r)
        r = unpack_tar(l, f);
    const void *rest;
    while (!r && read_file(f->raw, f, &rest) > 0)
        ;
    image_hash_end(&f->digest, hex);
    image_hash_end(&f->diff, diff);
    l->n->size += f->read;
    archive_read_free(f->raw);
    free(f);
    if (!r)
        r = check("digest", digest, hex);
    return r ? r : check("diff id", want_diff, diff);
}

int image_unpack(struct image_store *s, struct image_new *n, int fd, const char *digest,
                 const char *diff)
{
    struct layer l = {.s = s, .n = n, .root = -1};
    char *dir = oci_printf("%s/layer%u", s->tmp, n->layer_count), got[65];
    if (n->layer_count >= IMAGE_LAYERS_MAX) {
        free(dir);
        return image_fail(IMAGE_INVALID, "more than %d layers", IMAGE_LAYERS_MAX);
    }
    if (have(s, n, diff)) {
        struct stat st;
        n->size += fstat(fd, &st) == 0 ? st.st_size : 0;
        free(dir);
        return 0;
    }
    int r = mkdir(dir, 0755) < 0 || chdir(dir) < 0 ? -errno : 0;
    l.root = r ? -1 : open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l.root < 0) {
        r = image_fail(IMAGE_FAILED, "%s: %s", dir, strerror(errno));
    } else {
        l.disk = disk_writer(ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_XATTR);
        r = unpack_into(&l, fd, digest, diff, got);
        if (archive_write_free(l.disk) != ARCHIVE_OK && !r)
            r = image_fail(IMAGE_FAILED, "unpack: the last entries could not be written");
        close(l.root);
    }
    if (chdir("/") < 0 && !r)
        r = IMAGE_FAILED;
    if (!r)
        r = keep(s, n, dir, got);
    oci_remove_tree(dir);
    free(dir);
    return r;
}

/* ---- outer archives */
int image_explode(const char *path, const char *dir)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    struct layer l = {.disk = disk_writer(0), .root = -1};
    archive_read_support_filter_all(a);
    archive_read_support_format_tar(a);
    int r = archive_read_open_filename(a, path, BLOCK) == ARCHIVE_OK && chdir(dir) == 0
                ? 0
                : image_fail(IMAGE_INVALID, "%s: %s", path,
                             archive_error_string(a) ? archive_error_string(a) : strerror(errno));
    while (!r) {
        int got = archive_read_next_header(a, &e);
        if (got == ARCHIVE_EOF)
            break;
        if (got < ARCHIVE_WARN) {
            r = image_fail(IMAGE_INVALID, "%s: %s", path, archive_error_string(a));
            break;
        }
        char *name = clean(archive_entry_pathname(e) ? archive_entry_pathname(e) : "..");
        unsigned type = archive_entry_filetype(e);
        bool wanted = type == AE_IFREG || type == AE_IFDIR || type == AE_IFLNK;
        if (!name || ++l.entries > IMAGE_ENTRIES_MAX)
            r = image_fail(IMAGE_INVALID, "%s: a name leads out of the archive", path);
        else if (*name && wanted)
            r = entry_put(&l, a, e, name);
        free(name);
    }
    archive_read_free(a);
    archive_write_free(l.disk);
    if (chdir("/") < 0 && !r)
        r = IMAGE_FAILED;
    return r;
}

static int pack_one(struct archive *disk, struct archive *out, struct archive_entry *e)
{
    const void *p;
    size_t n;
    la_int64_t at;
    int r;
    archive_read_disk_descend(disk);
    if (archive_write_header(out, e) < ARCHIVE_WARN)
        return -1;
    if (archive_entry_size(e) <= 0)
        return 0;
    la_int64_t written = 0;
    static const char zeros[4096];
    while ((r = archive_read_data_block(disk, &p, &n, &at)) == ARCHIVE_OK) {
        for (; written < at;) { /* holes */
            size_t gap =
                (size_t)(at - written) < sizeof zeros ? (size_t)(at - written) : sizeof zeros;
            if (archive_write_data(out, zeros, gap) < 0)
                return -1;
            written += (la_int64_t)gap;
        }
        if (archive_write_data(out, p, n) < 0)
            return -1;
        written += (la_int64_t)n;
    }
    return r == ARCHIVE_EOF ? 0 : -1;
}

int image_pack(const char *rootfs, const char *to)
{
    struct archive *disk = archive_read_disk_new(), *out = archive_write_new();
    archive_write_set_format_pax_restricted(out);
    archive_read_disk_set_symlink_physical(disk);
    archive_read_disk_set_behavior(disk, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
    int r = 0;
    if (archive_write_open_filename(out, to) != ARCHIVE_OK || chdir(rootfs) < 0 ||
        archive_read_disk_open(disk, ".") != ARCHIVE_OK)
        r = image_fail(IMAGE_NOT_FOUND, "%s: %s", rootfs, strerror(errno));
    struct archive_entry *e = archive_entry_new();
    while (!r) {
        int a = archive_read_next_header2(disk, e);
        if (a == ARCHIVE_EOF)
            break;
        if (a < ARCHIVE_WARN || pack_one(disk, out, e) < 0)
            r = image_fail(IMAGE_FAILED, "%s: %s", rootfs,
                           archive_error_string(a < ARCHIVE_WARN ? disk : out));
    }
    archive_entry_free(e);
    archive_read_free(disk);
    if (archive_write_free(out) != ARCHIVE_OK && !r)
        r = image_fail(IMAGE_FAILED, "%s could not be written", to);
    return chdir("/") < 0 && !r ? IMAGE_FAILED : r;
}
