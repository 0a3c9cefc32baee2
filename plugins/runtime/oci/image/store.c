/* The records, and what they keep alive. */
#include "image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void remove_leftovers(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, "tmp-", 4))
            continue;
        char *path = oci_printf("%s/%s", dir, e->d_name);
        oci_remove_tree(path);
        free(path);
    }
    if (d)
        closedir(d);
}

int image_store_open(struct image_store *s, const char *dir)
{
    static const char *const dirs[] = {"index", "layers", "blobs"};
    *s = (struct image_store){.dir = oci_strdup(dir), .lock = -1};
    s->tmp = oci_printf("%s/tmp-%d", dir, (int)getpid());
    int r = 0;
    for (size_t i = 0; i < 3 && !r; i++) {
        char *path = oci_printf("%s/%s", dir, dirs[i]);
        r = oci_mkdir_p(path, 0700);
        free(path);
    }
    char *path = oci_printf("%s/lock", dir);
    if (!r) {
        s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        r = s->lock < 0 || flock(s->lock, LOCK_EX) < 0 ? -errno : 0;
    }
    free(path);
    if (!r) {
        remove_leftovers(dir);
        r = mkdir(s->tmp, 0700) < 0 ? -errno : 0;
    }
    return r ? image_fail(IMAGE_FAILED, "%s: %s", dir, strerror(-r)) : 0;
}

void image_store_close(struct image_store *s)
{
    oci_remove_tree(s->tmp);
    if (s->lock >= 0)
        close(s->lock);
    free(s->dir);
    free(s->tmp);
}

void image_new_done(struct image_new *n)
{
    for (unsigned i = 0; i < n->layer_count; i++)
        free(n->layers[i]);
    free(n->config);
    free(n->name);
    free(n->digest);
    *n = (struct image_new){0};
}

/* ---- records */
static char *record_path(struct image_store *s, const char *hex)
{
    return oci_printf("%s/index/%s.json", s->dir, hex);
}

static yyjson_mut_doc *record_read(const char *path)
{
    char *text = NULL;
    size_t n = 0;
    if (oci_read_file(path, OCI_FILE_MAX, &text, &n))
        return NULL;
    yyjson_doc *doc = yyjson_read(text, n, 0);
    free(text);
    yyjson_mut_doc *m = doc ? yyjson_doc_mut_copy(doc, NULL) : NULL;
    yyjson_doc_free(doc);
    return m;
}

static int record_write(const char *path, yyjson_mut_doc *d)
{
    size_t n = 0;
    char *text = yyjson_mut_write(d, 0, &n);
    int r = text ? oci_write_durable(path, text, n) : -EINVAL;
    free(text);
    return r;
}

static bool list_remove(yyjson_mut_val *list, const char *s)
{
    size_t i, max;
    yyjson_mut_val *v;
    yyjson_mut_arr_foreach(list, i, max, v)
    {
        if (yyjson_mut_equals_str(v, s)) {
            yyjson_mut_arr_remove(list, i);
            return true;
        }
    }
    return false;
}

static void list_add(yyjson_mut_doc *d, yyjson_mut_val *list, const char *s)
{
    list_remove(list, s);
    yyjson_mut_arr_add_strcpy(d, list, s);
}

/* Calls <fn> for each record; true from it stops. */
static void each_record(struct image_store *s,
                        bool (*fn)(void *arg, const char *path, yyjson_mut_doc *d), void *arg)
{
    char *dir = oci_printf("%s/index", s->dir);
    DIR *d = opendir(dir);
    bool stop = false;
    for (struct dirent *e; d && !stop && (e = readdir(d));) {
        if (strlen(e->d_name) != 69)
            continue;
        char *path = oci_printf("%s/%s", dir, e->d_name);
        yyjson_mut_doc *doc = record_read(path);
        if (doc)
            stop = fn(arg, path, doc);
        yyjson_mut_doc_free(doc);
        free(path);
    }
    if (d)
        closedir(d);
    free(dir);
}

struct rename_arg {
    const char *name, *keep;
    int result;
};

static bool drop_name(void *arg, const char *path, yyjson_mut_doc *d)
{
    struct rename_arg *a = arg;
    yyjson_mut_val *root = yyjson_mut_doc_get_root(d);
    if (strcmp(path, a->keep) && list_remove(yyjson_mut_obj_get(root, "names"), a->name))
        a->result = record_write(path, d);
    return a->result != 0;
}

/* The config's own "config", with nothing that is not a member of it. */
static yyjson_mut_val *config_of(yyjson_mut_doc *d, const struct image_new *n)
{
    yyjson_doc *doc = yyjson_read(n->config, n->config_len, 0);
    yyjson_val *c = yyjson_obj_get(yyjson_doc_get_root(doc), "config");
    yyjson_mut_val *copy = yyjson_is_obj(c) ? yyjson_val_mut_copy(d, c) : yyjson_mut_obj(d);
    yyjson_doc_free(doc);
    return copy;
}

static yyjson_mut_doc *record_new(const struct image_new *n, const char *hex)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *r = yyjson_mut_obj(d), *layers = yyjson_mut_arr(d);
    char *id = oci_printf("sha256:%s", hex);
    yyjson_mut_doc_set_root(d, r);
    yyjson_mut_obj_add_strcpy(d, r, "id", id);
    yyjson_mut_obj_add_val(d, r, "names", yyjson_mut_arr(d));
    yyjson_mut_obj_add_val(d, r, "digests", yyjson_mut_arr(d));
    yyjson_mut_obj_add_sint(d, r, "size", n->size);
    for (unsigned i = 0; i < n->layer_count; i++)
        yyjson_mut_arr_add_strcpy(d, layers, n->layers[i]);
    yyjson_mut_obj_add_val(d, r, "layers", layers);
    yyjson_mut_obj_add_val(d, r, "config", config_of(d, n));
    free(id);
    return d;
}

static void add_digest(yyjson_mut_doc *d, const struct image_new *n)
{
    char *repo = oci_strdup(n->name);
    char *cut = strchr(repo, '@');
    if (!cut) {
        char *slash = strrchr(repo, '/');
        cut = strchr(slash ? slash : repo, ':');
    }
    if (cut)
        *cut = 0;
    char *full = oci_printf("%s@%s", repo, n->digest);
    list_add(d, yyjson_mut_obj_get(yyjson_mut_doc_get_root(d), "digests"), full);
    free(full);
    free(repo);
}

int image_store_add(struct image_store *s, struct image_new *n)
{
    char hex[65];
    image_hash_of(n->config, n->config_len, hex);
    char *path = record_path(s, hex), *blob = oci_printf("%s/blobs/%s", s->dir, hex);
    int r = oci_write_durable(blob, n->config, n->config_len);
    yyjson_mut_doc *d = record_read(path);
    if (!d)
        d = record_new(n, hex);
    if (n->name && n->digest)
        add_digest(d, n);
    if (n->name && !strchr(n->name, '@'))
        list_add(d, yyjson_mut_obj_get(yyjson_mut_doc_get_root(d), "names"), n->name);
    if (!r)
        r = record_write(path, d);
    yyjson_mut_doc_free(d);
    struct rename_arg a = {.name = n->name, .keep = path};
    if (!r && n->name) {
        each_record(s, drop_name, &a);
        r = a.result;
    }
    free(blob);
    free(path);
    if (r)
        return image_fail(IMAGE_FAILED, "record of the image: %s", strerror(-r));
    printf("sha256:%s\n", hex);
    return 0;
}

/* All that its record tells of. */
static bool is_whole(struct image_store *s, yyjson_mut_doc *d)
{
    yyjson_mut_val *v;
    size_t i, n;
    bool whole = true;
    yyjson_mut_arr_foreach(yyjson_mut_obj_get(yyjson_mut_doc_get_root(d), "layers"), i, n, v)
    {
        char *path = oci_printf("%s/layers/%s", s->dir, yyjson_mut_get_str(v));
        whole = whole && access(path, F_OK) == 0;
        free(path);
    }
    return whole;
}

int image_store_name(struct image_store *s, const char *config_digest, const char *name,
                     const char *digest)
{
    struct image_new n = {.name = oci_strdup(name), .digest = oci_strdup(digest)};
    char *path = record_path(s, config_digest + 7);
    char *blob = oci_printf("%s/blobs/%s", s->dir, config_digest + 7);
    yyjson_mut_doc *d = record_read(path);
    int r = d && is_whole(s, d) ? oci_read_file(blob, IMAGE_MANIFEST_MAX, &n.config, &n.config_len)
                                : -ENOENT;
    if (!r)
        r = image_store_add(s, &n);
    yyjson_mut_doc_free(d);
    image_new_done(&n);
    free(path);
    free(blob);
    return r;
}

/* ---- removal */
struct remove_arg {
    const char *reference;
    char *name;
    int result;
};

static bool remove_one(void *arg, const char *path, yyjson_mut_doc *d)
{
    struct remove_arg *a = arg;
    yyjson_mut_val *r = yyjson_mut_doc_get_root(d), *names = yyjson_mut_obj_get(r, "names");
    const char *id = yyjson_mut_get_str(yyjson_mut_obj_get(r, "id"));
    bool by_id = id && (!strcmp(id, a->reference) || !strcmp(id + 7, a->reference));
    bool by_name = a->name && list_remove(names, a->name);
    bool by_digest = a->name && list_remove(yyjson_mut_obj_get(r, "digests"), a->name);
    if (!by_id && !by_name && !by_digest)
        return false;
    if (by_id || yyjson_mut_arr_size(names) == 0)
        a->result = unlink(path) < 0 && errno != ENOENT ? -errno : 0;
    else
        a->result = record_write(path, d);
    return true;
}

int image_store_remove(struct image_store *s, const char *reference)
{
    struct remove_arg a = {.reference = reference, .name = oci_name_normalise(reference)};
    each_record(s, remove_one, &a);
    free(a.name);
    if (a.result)
        return image_fail(IMAGE_FAILED, "%s: %s", reference, strerror(-a.result));
    image_store_sweep(s);
    return 0;
}

struct sweep_arg {
    const char *name;
    bool used;
};

static bool uses(void *arg, const char *path, yyjson_mut_doc *d)
{
    struct sweep_arg *a = arg;
    yyjson_mut_val *r = yyjson_mut_doc_get_root(d), *v;
    const char *id = yyjson_mut_get_str(yyjson_mut_obj_get(r, "id"));
    size_t i, max;
    a->used = id && !strcmp(id + 7, a->name);
    yyjson_mut_arr_foreach(yyjson_mut_obj_get(r, "layers"), i, max, v)
    {
        a->used |= yyjson_mut_equals_str(v, a->name);
    }
    return a->used;
}

void image_store_sweep(struct image_store *s)
{
    static const char *const dirs[] = {"layers", "blobs"};
    for (size_t i = 0; i < 2; i++) {
        char *dir = oci_printf("%s/%s", s->dir, dirs[i]);
        DIR *d = opendir(dir);
        for (struct dirent *e; d && (e = readdir(d));) {
            struct sweep_arg a = {.name = e->d_name};
            if (strlen(e->d_name) != 64)
                continue;
            each_record(s, uses, &a);
            char *path = oci_printf("%s/%s", dir, e->d_name);
            if (!a.used)
                oci_remove_tree(path);
            free(path);
        }
        if (d)
            closedir(d);
        free(dir);
    }
}
