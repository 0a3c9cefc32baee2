/* Small helpers that the plugin, the shim and the image program share. None knows the others; nothing
 * here keeps state. Blocking: file functions block (pool thread, shim or child only).
 * Errors: functions return 0 or -errno. */
#ifndef OCI_COMMON_H
#define OCI_COMMON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OCI_FILE_MAX (8u << 20) /* state files, configs, manifests */
#define OCI_PATH_MAX 4096

/* Abort when there is no memory, like the host. */
void *oci_alloc(size_t n); /* zeroed */
void *oci_realloc(void *p, size_t n);
char *oci_strdup(const char *s); /* NULL: NULL */
char *oci_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Bytes that grow; the content is always followed by a NUL when not empty. */
struct oci_buf {
    char *p;
    size_t len, cap;
};
void oci_buf_add(struct oci_buf *b, const void *p, size_t n);
void oci_buf_printf(struct oci_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void oci_buf_drop(struct oci_buf *b, size_t n); /* from the front */
void oci_buf_done(struct oci_buf *b);

int64_t oci_now_wall(void);
int64_t oci_now_mono(void);

/* All of a file, at most <max> bytes (-EFBIG). *ret is owned and NUL-terminated. */
int oci_read_file(const char *path, size_t max, char **ret, size_t *ret_len);
/* Temporary name, write, fsync, rename, fsync of the folder: after 0 the content is there for good. */
int oci_write_durable(const char *path, const void *p, size_t n);
/* One write(2) to an existing file (cgroup, sysctl). */
int oci_write_plain(const char *path, const char *text);
int oci_mkdir_p(const char *path, mode_t mode);
/* Deletes a tree, never follows links, never crosses a mount. -ENOENT is success. */
int oci_remove_tree(const char *path);
int oci_fsync_dir(const char *path);
bool oci_is_mounted(const char *path); /* something is mounted exactly there */
/* Letters, digits, '.', '_', '-'; 1..200; not starting with '.'. */
bool oci_id_ok(const char *id);

#endif
