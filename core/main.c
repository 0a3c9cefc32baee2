/* neap: one binary. Parses options, hands over to a command. */
#include "server.h"

#include <assert.h>
#include <neap/log.h>
#include <neap/plugin.h>

#include <malloc.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

struct command {
    const char *name, *help;
    const struct neap_option *tables[5];
    bool raw; /* gets the arguments as they came, options and all */
    int (*run)(struct neap_config *config, int argc, char **argv);
};

static int run_server(struct neap_config *config, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return neap_server_main(config);
}

static int run_agent(struct neap_config *config, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return neap_agent_main(config);
}

static int run_get(struct neap_config *config, int argc, char **argv)
{
    return neap_thin_main(config, "get", argc, argv);
}

static int run_apply(struct neap_config *config, int argc, char **argv)
{
    return neap_thin_main(config, "apply", argc, argv);
}

static int run_delete(struct neap_config *config, int argc, char **argv)
{
    return neap_thin_main(config, "delete", argc, argv);
}

static int run_logs(struct neap_config *config, int argc, char **argv)
{
    return neap_thin_main(config, "logs", argc, argv);
}

static int run_exec(struct neap_config *config, int argc, char **argv)
{
    return neap_thin_main(config, "exec", argc, argv);
}

static int run_version(struct neap_config *config, int argc, char **argv)
{
    (void)config;
    (void)argc;
    (void)argv;
    printf("neap %s\n", NEAP_VERSION);
    return 0;
}

static int run_config(struct neap_config *config, int argc, char **argv)
{
    struct neap_buf out = NEAP_BUF_INIT;
    if (argc != 1 || strcmp(argv[0], "print") != 0)
        return neap_complain("usage: neap config print [options]", NULL);
    neap_config_print(config, &out);
    fputs(out.data ? out.data : "", stdout);
    neap_buf_done(&out);
    return 0;
}

static void found_plugin(void *arg, const char *path, const struct neap_plugin *p,
                         const struct neap_err *err)
{
    int *bad = arg;
    if (!p) {
        assert(err);
        printf("%-40s BROKEN: %s\n", path, err->message);
        *bad = 1;
        return;
    }
    const struct neap_plugin_header *h = neap_plugin_header(p);
    printf("%-10s %-10s %-8s %s\n", neap_plugin_kind_name(h->kind), h->name, h->version, path);
}

static int run_plugin(struct neap_config *config, int argc, char **argv)
{
    char dir[4096];
    int bad = 0;
    neap_beside(neap_config_string(config, NULL, "plugin_dir"), "plugins", dir, sizeof(dir));
    if (argc == 1 && strcmp(argv[0], "list") == 0) {
        neap_plugin_each(dir, found_plugin, &bad);
        return bad;
    }
    if (argc != 2 || strcmp(argv[0], "check") != 0)
        return neap_complain("usage: neap plugin list | neap plugin check FILE.so", NULL);
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_plugin *p = NULL;
    if (neap_plugin_load_file(argv[1], 0, config, &p, &err) || neap_plugin_check(p, &err)) {
        neap_complain(argv[1], &err);
        neap_err_done(&err);
        return 1;
    }
    found_plugin(&bad, argv[1], p, NULL);
    return 0;
}

/* One file and one set of flags serve every command. */
#define ALL_OPTIONS                                                                                \
    {                                                                                              \
        neap_common_options, neap_server_options, neap_agent_options                               \
    }

static const struct command commands[] = {
    {"up", "a whole cluster of one node: server and agent", ALL_OPTIONS, true, neap_up_main},
    {"server", "serve the API", ALL_OPTIONS, false, run_server},
    {"agent", "run this node's pods", ALL_OPTIONS, false, run_agent},
    {"image",
     "import FILE | import --rootfs DIR --name N -- CMD... | list | pull NAME",
     {neap_common_options, neap_server_options, neap_agent_options, neap_image_options},
     false,
     neap_image_main},
    {"get", "KIND [NAME] [-n NAMESPACE | -A] [-o json|yaml]", ALL_OPTIONS, false, run_get},
    {"apply", "-f FILE: creates or changes what the file says", ALL_OPTIONS, false, run_apply},
    {"delete", "KIND NAME | -f FILE", ALL_OPTIONS, false, run_delete},
    {"logs", "POD [-n NAMESPACE] [-c CONTAINER] [-f]", ALL_OPTIONS, false, run_logs},
    {"exec", "POD [-n NAMESPACE] [-c CONTAINER] [-i] [-t] -- COMMAND...", ALL_OPTIONS, false,
     run_exec},
    {"version", "print the version", {NULL}, false, run_version},
    {"plugin", "list | check FILE: what plugins there are and whether they are sound", ALL_OPTIONS,
     false, run_plugin},
    {"store", "verify: whether the database of a stopped server is what was written", ALL_OPTIONS,
     false, neap_store_main},
    {"script", "test FILE_test.lua... | check FILE.lua...: for authors of scripts", ALL_OPTIONS,
     false, neap_script_main},
    {"config", "print: the effective configuration, each option with its meaning and origin",
     ALL_OPTIONS, false, run_config},
};

static int usage(FILE *to, int code)
{
    fprintf(to,
            "neap %s: a container orchestrator that speaks the Kubernetes API\n\nusage: neap "
            "COMMAND [--option VALUE]...\n\n",
            NEAP_VERSION);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(commands); i++)
        fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\nOptions and their meaning: neap COMMAND --help, neap config print. A file: "
                "--config FILE (YAML).\n");
    return code;
}

/* Before the "--" behind which a command's own words stand. */
static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static void print_options(const struct neap_option *table)
{
    for (; table->name; table++) {
        printf("  --");
        for (const char *p = table->name; *p; p++)
            putchar(*p == '_' ? '-' : *p);
        printf("%s%s\n        %s\n", table->dflt ? " " : "", table->dflt ? table->dflt : "",
               table->help);
    }
}

static int command_usage(const struct command *c)
{
    printf("usage: neap %s [--option VALUE]...\n\n  %s\n", c->name, c->help);
    if (c->tables[0])
        printf("\nOptions, with what they are when not given (one set serves all commands; also "
               "keys of --config FILE):\n");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(c->tables) && c->tables[i]; i++)
        print_options(c->tables[i]);
    return 0;
}

static const char *config_file(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return argv[i + 1];
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
    }
    return NULL;
}

static const struct neap_option file_option[] = {
    {"config", NEAP_OPTION_STRING, NULL, 0, 0, "a YAML file with these options as keys"},
    {0},
};

static void set_log_level(const struct neap_config *config)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *level = neap_config_string(config, NULL, "log_level");
    for (unsigned i = 0; i < NEAP_ARRAY_LEN(names); i++)
        if (neap_streq(level, names[i]))
            neap_log_set((enum neap_log_level)i, STDERR_FILENO);
}

/* Options stand anywhere behind the command, up to "--"; what is none is the command's own, "--" included. */
static int configure(struct neap_config *config, const struct command *c, int *argc, char **argv,
                     struct neap_err *err)
{
    const char *file = config_file(*argc, argv);
    int rc = neap_config_add(config, NULL, file_option, err), words = 0;
    for (int i = 0; !rc && c->tables[i]; i++)
        rc = neap_config_add(config, NULL, c->tables[i], err);
    if (!rc && file)
        rc = neap_config_file(config, file, err);
    for (int at = 0; !rc && at < *argc;) {
        int rest = 0;
        rc = neap_config_flags(config, *argc - at, argv + at, &rest, err);
        bool ended = rest && strcmp(argv[at + rest - 1], "--") == 0;
        at += ended ? rest - 1 : rest;
        do {
            if (!rc && at < *argc)
                argv[words++] = argv[at++];
        } while (!rc && ended && at < *argc);
    }
    argv[words] = NULL;
    *argc = words;
    return rc;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_config *config = neap_config_new();
    int code, count = argc;
    char **given = neap_calloc((size_t)argc + 1, sizeof(*given));
    memcpy(given, argv, (size_t)argc * sizeof(*given));
    if (configure(config, c, &argc, argv, &err)) {
        code = neap_complain(c->name, &err);
    } else if (c->raw && argc) {
        code = neap_complain("this command takes options only", NULL);
    } else {
        if (c->tables[0])
            set_log_level(config);
        code = c->raw ? c->run(config, count, given) : c->run(config, argc, argv);
    }
    free(given);
    neap_err_done(&err);
    neap_config_free(config);
    return code;
}

int main(int argc, char **argv)
{
    mallopt(M_ARENA_MAX, 2);
    signal(SIGPIPE, SIG_IGN);
    umask(0077);
    if (argc < 2)
        return usage(stderr, 2);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return usage(stdout, 0);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return asks_for_help(argc - 2, argv + 2) ? command_usage(&commands[i])
                                                     : run(&commands[i], argc - 2, argv + 2);
    fprintf(stderr, "neap: unknown command \"%s\"\n", argv[1]);
    return usage(stderr, 2);
}
