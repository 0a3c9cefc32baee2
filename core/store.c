/* `neap store verify`: looks at every record of a stopped server's database. */
#include "server.h"

#include <neap/plugin.h>
#include <neap/plugin/store.h>

#include <unistd.h>

static void print_problem(void *arg, const char *text)
{
    ++*(unsigned *)arg;
    printf("%s\n", text);
}

static void nobody(void *arg, const struct neap_store_record *records, size_t count)
{
    (void)arg, (void)records, (void)count;
}

static int no_record(void *arg, const struct neap_store_record *record)
{
    (void)arg, (void)record;
    return 0;
}

/* Checks, and loads as a server would: what only a load sees is a problem as well. */
static int verify(const struct neap_store_plugin *store, void *self, unsigned *problems,
                  struct neap_err *err)
{
    uint64_t revision = 0, compacted = 0;
    int rc = store->verify(self, print_problem, problems);
    if (rc)
        return neap_err_set(err, rc, "%s", neap_plugin_failure());
    if (!*problems && store->load(self, no_record, no_record, NULL, &revision, &compacted))
        print_problem(problems, neap_plugin_failure());
    if (!*problems)
        printf("sound: revision %llu, history after %llu\n", (unsigned long long)revision,
               (unsigned long long)compacted);
    return 0;
}

static int open_and_verify(struct neap_config *config, struct neap_plugin *plugin,
                           unsigned *problems, struct neap_err *err)
{
    static const struct neap_store_follower follower = {NULL, nobody};
    const struct neap_store_plugin *store = (const void *)neap_plugin_header(plugin);
    const char *data = neap_config_string(config, NULL, "data_dir");
    char instance[7];
    void *self;
    neap_instance(data, instance);
    const struct neap_host *host = neap_plugin_host(plugin, NULL, config, instance, data, err);
    if (!host)
        return err->code;
    if (!neap_plugin_slot(plugin, struct neap_store_plugin, verify))
        return neap_err_set(err, NEAP_ENOTSUPPORTED, "this store cannot be verified");
    int rc = store->open(host, &follower, &self);
    if (rc)
        return neap_err_set(err, rc, "%s", neap_plugin_failure());
    rc = verify(store, self, problems, err);
    store->close(self);
    return rc;
}

int neap_store_main(struct neap_config *config, int argc, char **argv)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_plugin *plugin = NULL;
    char dir[4096];
    unsigned problems = 0;
    if (argc != 1 || strcmp(argv[0], "verify") != 0)
        return neap_complain("usage: neap store verify [options]", NULL);
    const char *data = neap_config_string(config, NULL, "data_dir");
    if (access(data, F_OK) != 0) /* else it would be made */
        return neap_complain("store: there is no such data directory", NULL);
    int lock = neap_data_dir_lock(data, "server.lock", &err), rc = lock < 0 ? err.code : 0;
    neap_beside(neap_config_string(config, NULL, "plugin_dir"), "plugins", dir, sizeof(dir));
    if (!rc)
        rc = neap_plugin_load(dir, "store", neap_config_string(config, NULL, "store"), config,
                              &plugin, &err);
    if (!rc)
        rc = open_and_verify(config, plugin, &problems, &err);
    if (plugin)
        neap_plugin_free(plugin);
    if (lock >= 0)
        close(lock);
    int code = rc ? neap_complain("store", &err) : problems != 0;
    neap_err_done(&err);
    return code;
}
