/* Files, flags, defaults and their order; messages that name file, line and column. */
#include "neap_test.h"

#include <neap/config.h>
#include <stdlib.h>
#include <unistd.h>

static const struct neap_option table[] = {
    {"data_dir", NEAP_OPTION_STRING, "/var/lib/x", 0, 0, "where data lives"},
    {"workers", NEAP_OPTION_INT, "1", 1, 64, "how many"},
    {"anonymous", NEAP_OPTION_BOOL, "false", 0, 0, "whether"},
    {"history", NEAP_OPTION_DURATION, "5m", 0, 0, "how long"},
    {NULL},
};
static const struct neap_option plugin_table[] = {
    {"cache_kib", NEAP_OPTION_INT, "2048", 0, 1 << 20, "page cache"},
    {NULL},
};

struct fixture {
    struct neap_config *config;
    struct neap_err err;
    char path[64];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->config = neap_config_new();
    snprintf(f->path, sizeof(f->path), "/tmp/neap-test-config-%d.yaml", (int)getpid());
    *state = f;
    return neap_config_add(f->config, NULL, table, &f->err);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    neap_config_free(f->config);
    neap_err_done(&f->err);
    unlink(f->path);
    free(f);
    return 0;
}

static int read_text(struct fixture *f, const char *text)
{
    FILE *file = fopen(f->path, "we");
    fputs(text, file);
    fclose(file);
    return neap_config_file(f->config, f->path, &f->err);
}

static int read_flags(struct fixture *f, int argc, char **argv, int *rest)
{
    return neap_config_flags(f->config, argc, argv, rest, &f->err);
}

static void assert_error(struct fixture *f, int code, const char *text)
{
    assert_int_equal(code, NEAP_ECONFIG);
    if (!strstr(f->err.message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, f->err.message);
}

/* Flag beats file beats default, in whatever order they are read. */
static void test_order_of_sources(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {"--workers", "3", "--anonymous", "--", "pod"};
    int rest;
    assert_ok(read_flags(f, 5, argv, &rest), f->err);
    assert_int_equal(rest, 4);
    assert_ok(read_text(f, "workers: 2\nhistory: 1h30m\n"), f->err);
    assert_int_equal(neap_config_int(f->config, NULL, "workers"), 3);
    assert_int_equal(neap_config_int(f->config, NULL, "history"), 5400000);
    assert_true(neap_config_bool(f->config, NULL, "anonymous"));
    assert_string_equal(neap_config_string(f->config, NULL, "data_dir"), "/var/lib/x");
}

static void test_unknown_key_names_its_place(void **state)
{
    struct fixture *f = *state;
    assert_error(f, read_text(f, "workers: 2\nwrokers: 3\n"),
                 ".yaml:2:1: unknown option \"wrokers\"");
}

static void test_bad_values(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"workers: many\n", "\"many\" is not a whole number"},
        {"workers: 65\n", "not between 1 and 64"},
        {"anonymous: yes\n", "is not true or false"},
        {"history: 5\n", "is not a duration"},
        {"history: 5 parsecs\n", "is not a duration"},
        {"workers: [1]\n", "expected a plain value"},
        {"- a\n", "expected a mapping"},
        {"workers: 'x\n", ".yaml:"},
        {"plugins: 3\n", "expected a mapping of plugins"},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        assert_error(f, read_text(f, rows[i].text), rows[i].message);
    assert_error(f, neap_config_file(f->config, "/nonexistent/x.yaml", &f->err), "No such file");
}

/* A plugin's section is kept until its table is known, and checked then. */
static void test_plugin_sections(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {"--plugin-sqlite-cache-kib=64"};
    int rest;
    assert_ok(read_text(f, "plugins:\n  sqlite:\n    cache_kib: 128\n  etcd: {x: 1}\n"), f->err);
    assert_ok(read_flags(f, 1, argv, &rest), f->err);
    assert_ok(neap_config_add(f->config, "sqlite", plugin_table, &f->err), f->err);
    assert_int_equal(neap_config_int(f->config, "sqlite", "cache_kib"), 64);
    assert_error(f, neap_config_check_unused(f->config, &f->err), ":4:10: no plugin \"etcd\"");
}

static void test_print_tells_origin(void **state)
{
    struct fixture *f = *state;
    struct neap_buf out = NEAP_BUF_INIT;
    assert_ok(read_text(f, "workers: 2\n"), f->err);
    neap_config_print(f->config, &out);
    assert_non_null(strstr(out.data, "# how many (file:1)\nworkers: 2\n"));
    assert_non_null(strstr(out.data, "# where data lives (default)\ndata_dir: \"/var/lib/x\"\n"));
    neap_buf_done(&out);
}

static void test_flag_without_value(void **state)
{
    struct fixture *f = *state;
    char *argv[] = {"--workers"};
    int rest;
    assert_error(f, read_flags(f, 1, argv, &rest), "a value is missing");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_order_of_sources), T(test_unknown_key_names_its_place), T(test_bad_values),
        T(test_plugin_sections),  T(test_print_tells_origin),          T(test_flag_without_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
