/* neap-image: brings images into DATA/images and takes them out. A child program, so that libarchive and
 * libcurl never cost the agent memory, and a hostile archive never meets it.
 *   index/<config hex>.json   the record: id, names, digests, size, layers, config
 *   layers/<chain id>/        one folder a layer, as overlayfs wants it
 *   blobs/<hex>               configs
 *   tmp-*                     work in progress; gone after the next run
 * Errors: one line on stderr; exit 1, 3 (not found), 4 (invalid). Everything is under one lock. */
#ifndef OCI_IMAGE_H
#define OCI_IMAGE_H

#include "../common.h"
#include "name.h"
#include <yyjson.h>

#define IMAGE_LAYERS_MAX   127
#define IMAGE_MANIFEST_MAX (4u << 20)
#define IMAGE_ENTRIES_MAX  2000000             /* of one layer */
#define IMAGE_BYTES_MAX    (INT64_C(64) << 30) /* of one layer, unpacked */
#define IMAGE_DEPTH_MAX    256                 /* folders in folders */

enum { IMAGE_FAILED = 1, IMAGE_NOT_FOUND = 3, IMAGE_INVALID = 4 };

struct image_store {
    char *dir; /* DATA/images */
    char *tmp; /* dir/tmp-<pid> */
    int lock;
};
/* What an import gathered. */
struct image_new {
    char *config; /* the config's bytes */
    size_t config_len;
    char *layers[IMAGE_LAYERS_MAX + 1]; /* chain ids, hex, bottom first */
    unsigned layer_count;
    int64_t size;
    char *name;   /* normalised; NULL: none */
    char *digest; /* of the manifest, "sha256:..."; NULL: none */
};
void image_new_done(struct image_new *n);

/* Prints and returns <code>. */
int image_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- store.c */
int image_store_open(struct image_store *s, const char *dir);
void image_store_close(struct image_store *s);
/* Writes the record (moves the name here from another image) and prints the id. */
int image_store_add(struct image_store *s, struct image_new *n);
/* Gives an image that is here, by the digest of its config, this name and manifest's digest. -ENOENT: it isn't. */
int image_store_name(struct image_store *s, const char *config_digest, const char *name,
                     const char *digest);
int image_store_remove(struct image_store *s, const char *reference);
void image_store_sweep(struct image_store *s); /* layers and blobs that no record names */

/* ---- hash.c */
struct image_hash {
    void *ctx;
};
void image_hash_start(struct image_hash *h);
void image_hash_add(struct image_hash *h, const void *p, size_t n);
void image_hash_end(struct image_hash *h, char ret_hex[65]);
void image_hash_of(const void *p, size_t n, char ret_hex[65]);

/* ---- unpack.c */
/* Unpacks the layer in <fd> (tar; gzip, zstd, xz, bzip2 or plain) over n->layers; appends its chain id.
 * digest: of the bytes in fd, diff: of the tar; either may be NULL (not checked). */
int image_unpack(struct image_store *s, struct image_new *n, int fd, const char *digest,
                 const char *diff);
/* Regular files and folders of an archive into <dir> (an outer archive of images). */
int image_explode(const char *path, const char *dir);
/* A folder as a tar file at <to>. */
int image_pack(const char *rootfs, const char *to);

/* ---- layout.c */
int image_import(struct image_store *s, const char *path, const char *name);
int image_import_layout(struct image_store *s, int root, const char *name);
const char *image_architecture(void);
int image_from_rootfs(struct image_store *s, const char *rootfs, const char *name, char **command);

/* ---- pull.c */
/* <ca>: certificates beside the system's; NULL: none. An image that is here is not read again: only what the
 * name stands for now is asked. */
int image_pull(struct image_store *s, const char *reference, const char *ca);

#endif
