/* Images as the plugin sees them: records that the image program writes to images/index/, read again
 * after each of its runs. */
#include "oci.h"
#include "image/name.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char **strings(yyjson_val *list)
{
    yyjson_val *v;
    size_t i, max, n = 0;
    char **ret = oci_alloc((yyjson_arr_size(list) + 1) * sizeof *ret);
    yyjson_arr_foreach(list, i, max, v)
    {
        if (yyjson_is_str(v))
            ret[n++] = oci_strdup(yyjson_get_str(v));
    }
    return ret;
}

static void strings_free(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free(list);
}

static void image_free(struct oci_image *i)
{
    strings_free(i->names);
    strings_free(i->digests);
    strings_free(i->layers);
    free(i->id);
    yyjson_doc_free(i->doc);
    free(i);
}

static struct oci_image *image_read(const char *path)
{
    char *text = NULL;
    size_t n = 0;
    yyjson_doc *doc = oci_read_file(path, OCI_FILE_MAX, &text, &n) ? NULL : yyjson_read(text, n, 0);
    free(text);
    yyjson_val *r = yyjson_doc_get_root(doc);
    const char *id = yyjson_get_str(yyjson_obj_get(r, "id"));
    if (!oci_digest_ok(id)) {
        yyjson_doc_free(doc);
        return NULL;
    }
    struct oci_image *i = oci_alloc(sizeof *i);
    i->doc = doc;
    i->id = oci_strdup(id);
    i->names = strings(yyjson_obj_get(r, "names"));
    i->digests = strings(yyjson_obj_get(r, "digests"));
    i->layers = strings(yyjson_obj_get(r, "layers"));
    i->config = yyjson_obj_get(r, "config");
    const char *user = yyjson_get_str(yyjson_obj_get(i->config, "User"));
    char *end = NULL;
    long long uid = user && *user ? strtoll(user, &end, 10) : 0;
    bool numeric = !user || !*user || (end != user && (*end == 0 || *end == ':'));
    i->pub = (struct neap_runtime_image){
        .id = i->id,
        .names = (const char *const *)i->names,
        .digests = (const char *const *)i->digests,
        .size = yyjson_get_sint(yyjson_obj_get(r, "size")),
        .uid = numeric ? uid : -1,
        .user = numeric ? NULL : user,
    };
    return i;
}

static struct oci_image *images_read(const char *data)
{
    struct oci_image *list = NULL;
    char *path = oci_printf("%s/images/index", data);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n != 69 || strcmp(e->d_name + 64, ".json"))
            continue;
        char *file = oci_printf("%s/%s", path, e->d_name);
        struct oci_image *i = image_read(file);
        free(file);
        if (i) {
            i->next = list;
            list = i;
        }
    }
    if (d)
        closedir(d);
    free(path);
    return list;
}

void oci_images_forget(struct oci *o)
{
    while (o->images) {
        struct oci_image *i = o->images;
        o->images = i->next;
        image_free(i);
    }
}

static int64_t index_changed(const struct oci *o)
{
    struct stat st;
    char *path = oci_printf("%s/images/index", o->data);
    int64_t t = stat(path, &st) ? 0 : (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    free(path);
    return t;
}

int oci_images_load(struct oci *o)
{
    oci_images_forget(o);
    o->images_read_ns = index_changed(o); /* before: a change in between is seen next time */
    o->images = images_read(o->data);
    return 0;
}

/* Another process (`neap image import`) may have changed the index. */
static void refresh(struct oci *o)
{
    if (index_changed(o) != o->images_read_ns)
        oci_images_load(o);
}

struct oci_image *oci_image_find(struct oci *o, const char *reference)
{
    char *name = oci_name_normalise(reference);
    struct oci_image *found = NULL;
    for (struct oci_image *i = o->images; i && !found; i = i->next) {
        if (!strcmp(i->id, reference) || !strcmp(i->id + 7, reference))
            found = i;
        for (char **n = i->names; name && *n; n++)
            if (!strcmp(*n, name))
                found = i;
        for (char **n = i->digests; name && *n; n++)
            if (!strcmp(*n, name))
                found = i;
    }
    free(name);
    return found;
}

int oci_image_status(void *self, const char *reference, const struct neap_runtime_image **ret)
{
    refresh(self);
    struct oci_image *i = oci_image_find(self, reference);
    if (!i)
        return NEAP_ENOTFOUND;
    *ret = &i->pub;
    return 0;
}

void oci_image_list(void *self, void (*image)(void *arg, const struct neap_runtime_image *i),
                    void *arg)
{
    struct oci *o = self;
    refresh(o);
    for (struct oci_image *i = o->images; i; i = i->next)
        image(arg, &i->pub);
}

/* ---- runs of the image program, one at a time */
struct image_job {
    char **argv; /* after the program's name */
    char *input;
    struct oci_image *fresh;
};

static void job_free(struct oci_task *t)
{
    struct image_job *j = t->extra;
    strings_free(j->argv);
    if (j->input)
        explicit_bzero(j->input, strlen(j->input));
    free(j->input);
}

static void job_loaded(struct oci_task *t)
{
    struct image_job *j = t->extra;
    oci_images_forget(t->o);
    t->o->images = j->fresh;
    job_free(t);
    oci_task_finish(t);
}

static void work_load(struct oci_task *t)
{
    struct image_job *j = t->extra;
    j->fresh = images_read(t->o->data);
}

static void job_ran(struct oci_task *t)
{
    if (t->code && strstr(t->message, "No space left"))
        t->code = NEAP_ENOSPACE;
    else if (t->code && t->status == 3)
        t->code = NEAP_ENOTFOUND;
    else if (t->code && t->status == 4)
        t->code = NEAP_EINVALID;
    oci_task_work(t, work_load, job_loaded);
}

static void run_job(struct oci_task *t)
{
    struct image_job *j = t->extra;
    const char *argv[80] = {t->o->image_tool};
    for (size_t i = 0; j->argv[i] && i < 78; i++)
        argv[i + 1] = j->argv[i];
    oci_task_child(t, argv, j->input, OCI_IMAGE_MS, job_ran);
}

static void submit_job(struct oci *o, struct neap_op *op, char **argv, const char *input)
{
    struct oci_task *t = oci_task_new(o, op, "image", NULL, run_job);
    struct image_job *j = oci_alloc(sizeof *j);
    j->argv = argv;
    j->input = oci_strdup(input);
    t->extra = j;
    oci_task_submit(t);
}

static char **job_argv(struct oci *o, const char *verb, const char *a, const char *b,
                       const char *const *rest)
{
    char **v = oci_alloc(80 * sizeof *v);
    size_t n = 0;
    v[n++] = oci_strdup(verb);
    v[n++] = oci_printf("%s/images", o->data);
    v[n++] = oci_strdup(a);
    v[n++] = oci_strdup(b ? b : "");
    for (; rest && *rest && n < 78; rest++)
        v[n++] = oci_strdup(*rest);
    return v;
}

void oci_image_import(void *self, const char *path, const char *name, struct neap_op *op)
{
    submit_job(self, op, job_argv(self, "import", path, name, NULL), NULL);
}

void oci_image_from_rootfs(void *self, const char *rootfs, const char *name,
                           const char *const *command, struct neap_op *op)
{
    submit_job(self, op, job_argv(self, "rootfs", rootfs, name, command), NULL);
}

void oci_image_pull(void *self, const char *reference, const char *auth, struct neap_op *op)
{
    /* on stdin: arguments are seen by everybody on the host */
    submit_job(self, op, job_argv(self, "pull", reference, ((struct oci *)self)->registry_ca, NULL),
               auth);
}

static void run_remove(struct oci_task *t)
{
    struct image_job *j = t->extra;
    struct oci_image *i = oci_image_find(t->o, j->argv[2]);
    for (struct oci_container *c = t->o->containers; c && i; c = c->next)
        if (!strcmp(c->image_id, i->id))
            oci_task_fail(t, NEAP_ECONFLICT, "image %s is used by container %s", j->argv[2], c->id);
    if (t->code || !i) {
        job_free(t);
        oci_task_finish(t);
        return;
    }
    run_job(t);
}

void oci_image_remove(void *self, const char *reference, struct neap_op *op)
{
    struct oci *o = self;
    struct oci_task *t = oci_task_new(o, op, "image", NULL, run_remove);
    struct image_job *j = oci_alloc(sizeof *j);
    j->argv = job_argv(o, "remove", reference, NULL, NULL);
    t->extra = j;
    oci_task_submit(t);
}
