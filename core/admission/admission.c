/* Opening, closing, loading anew. */
#include "admission_internal.h"

unsigned neap_admission_count(const struct neap_admission_rules *a)
{
    return a->set->count;
}

const struct neap_admission *neap_admission_hooks(struct neap_admission_rules *a)
{
    return &a->hooks;
}

int neap_admission_add(struct neap_admission_rules *a, const char *path, struct neap_err *err)
{
    neap_script_beside(a->set->script, path);
    return admission_load_file(a->set, path, err);
}

/* A file of the user's changed. Rules run to their end on this loop, so the sets change between requests. */
static void changed(void *arg)
{
    struct neap_admission_rules *a = arg;
    struct neap_err err = NEAP_ERR_INIT;
    struct rule_set *set = NULL;
    if (admission_load(a, &set, &err)) {
        NEAP_ERROR("admission", "rules not loaded; those before go on", "err=%s",
                   neap_log_quote(err.message));
        neap_err_done(&err);
        return;
    }
    admission_set_free(a->set);
    a->set = set;
    NEAP_INFO("admission", "rules loaded", "rules=%u", set->count);
}

static void watch_files(struct neap_admission_rules *a)
{
    static const char *const folders[] = {"admission", "lib", NULL};
    if (a->options.loop && a->options.user_script_dir)
        a->folders = neap_script_folders_watch(a->options.loop, a->options.user_script_dir, folders,
                                               changed, a);
}

int neap_admission_open(const struct neap_admission_options *o, struct neap_admission_rules **ret,
                        struct neap_err *err)
{
    struct neap_admission_rules *a = neap_calloc(1, sizeof(*a));
    a->options = *o;
    a->hooks = (struct neap_admission){admission_mutate, admission_validate, a};
    a->dir = o->script_dir ? neap_strdup(o->script_dir) : NULL;
    a->user_dir = o->user_script_dir ? neap_strdup(o->user_script_dir) : NULL;
    a->options.script_dir = a->dir;
    a->options.user_script_dir = a->user_dir;
    a->lib = o->script_dir ? neap_asprintf("%s/lib", o->script_dir) : NULL;
    a->user_lib = o->user_script_dir ? neap_asprintf("%s/lib", o->user_script_dir) : NULL;
    int rc = admission_load(a, &a->set, err);
    if (rc) {
        neap_admission_close(a);
        return rc;
    }
    watch_files(a);
    *ret = a;
    return 0;
}

struct neap_admission_rules *neap_admission_close(struct neap_admission_rules *a)
{
    if (!a)
        return NULL;
    neap_script_folders_close(a->folders);
    admission_set_free(a->set);
    free(a->dir);
    free(a->user_dir);
    free(a->lib);
    free(a->user_lib);
    free(a);
    return NULL;
}
