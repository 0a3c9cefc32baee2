/* `neap image`: drives the runtime plugin's image verbs in a process of its own; a running agent sees the
 * change at its next look. */
#include "server.h"

#include <assert.h>
#include <neap/log.h>
#include <neap/plugin.h>
#include <neap/plugin/runtime.h>

const struct neap_option neap_image_options[] = {
    {"rootfs", NEAP_OPTION_STRING, NULL, 0, 0, "image import: a folder that becomes an image"},
    {"name", NEAP_OPTION_STRING, NULL, 0, 0, "image import: the image's name; default: its own"},
    {0},
};

struct image {
    struct neap_config *config;
    struct neap_loop *loop;
    struct neap_plugin *plugin;
    const struct neap_runtime_plugin *runtime;
    void *self;
    struct neap_op op;
    int code;
    const char *what;
};

static int open_runtime(struct image *m, struct neap_err *err)
{
    static const struct neap_runtime_events none = {0};
    char dir[4096], instance[7];
    const char *data = neap_config_string(m->config, NULL, "data_dir");
    neap_beside(neap_config_string(m->config, NULL, "plugin_dir"), "plugins", dir, sizeof(dir));
    int rc = neap_mkdir_p(data, 0700);
    if (rc < 0)
        return neap_err_errno(err, -rc, "data directory %s", data);
    neap_instance(data, instance);
    rc = neap_plugin_load(dir, "runtime", neap_config_string(m->config, NULL, "runtime"), m->config,
                          &m->plugin, err);
    if (rc)
        return rc;
    const struct neap_host *host =
        neap_plugin_host(m->plugin, m->loop, m->config, instance, data, err);
    if (!host)
        return err->code;
    m->runtime = (const void *)neap_plugin_header(m->plugin);
    rc = m->runtime->configure(host, &none, &m->self);
    if (!rc)
        rc = m->runtime->restore(m->self);
    return rc ? neap_err_set(err, rc, "runtime plugin: %s", neap_plugin_failure()) : 0;
}

static void done(struct neap_op *op, int code, const char *message)
{
    struct image *m = op->data;
    if (code) {
        fprintf(stderr, "neap: image %s: %s\n", m->what, message ? message : neap_err_name(code));
        m->code = 1;
    }
    neap_loop_stop(m->loop);
}

static void print_image(void *arg, const struct neap_runtime_image *i)
{
    (void)arg;
    const char *name = i->names && i->names[0] ? i->names[0] : "<none>";
    printf("%-60s %.19s %10lld\n", name, i->id, (long long)i->size);
}

/* 0: an operation is under way; else the command is over. */
static bool begin(struct image *m, int argc, char **argv)
{
    const char *rootfs = neap_config_string(m->config, NULL, "rootfs");
    const char *name = neap_config_string(m->config, NULL, "name");
    assert(m->runtime);
    m->what = argc ? argv[0] : "";
    int first = argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1; /* word of the image's command */
    m->op = (struct neap_op){.data = m, .done = done};
    if (strcmp(m->what, "list") == 0 && argc == 1)
        m->runtime->image_list(m->self, print_image, m);
    else if (strcmp(m->what, "pull") == 0 && argc == 2)
        m->runtime->image_pull(m->self, argv[1], NULL, &m->op);
    else if (strcmp(m->what, "import") == 0 && rootfs && name && argc > first)
        m->runtime->image_from_rootfs(m->self, rootfs, name, (const char *const *)argv + first,
                                      &m->op);
    else if (strcmp(m->what, "import") == 0 && !rootfs && argc == 2)
        m->runtime->image_import(m->self, argv[1], name, &m->op);
    else
        m->code = neap_complain(
            "usage: neap image import FILE [--name NAME] | import --rootfs DIR --name NAME "
            "CMD... | list | pull NAME",
            NULL);
    return strcmp(m->what, "list") != 0 && m->code == 0;
}

int neap_image_main(struct neap_config *config, int argc, char **argv)
{
    struct image m = {.config = config};
    struct neap_err err = NEAP_ERR_INIT;
    m.loop = neap_loop_new("image", NULL);
    if (open_runtime(&m, &err))
        m.code = neap_complain("image", &err);
    else if (begin(&m, argc, argv))
        neap_loop_run(m.loop);
    if (m.runtime)
        m.runtime->destroy(m.self);
    neap_loop_free(m.loop);
    if (m.plugin)
        neap_plugin_free(m.plugin);
    neap_err_done(&err);
    return m.code;
}
