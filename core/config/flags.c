/* Flags: --data-dir X, --data-dir=X, --anonymous (BOOL), --plugin-sqlite-cache-kib 1. */
#include "config_internal.h"

#define PLUGIN_PREFIX "plugin-"

/* "data-dir" -> "data_dir"; splits off the plugin's name. */
static void key_of(const char *flag, size_t len, char **ret_section, char **ret_name)
{
    char *key = neap_strndup(flag, len);
    *ret_section = NULL;
    if (neap_startswith(key, PLUGIN_PREFIX)) {
        char *dash = strchr(key + strlen(PLUGIN_PREFIX), '-');
        if (dash) {
            *dash = '\0';
            *ret_section = neap_strdup(key + strlen(PLUGIN_PREFIX));
            char *rest = neap_strdup(dash + 1);
            free(key);
            key = rest;
        }
    }
    for (char *p = key; *p; p++)
        if (*p == '-')
            *p = '_';
    *ret_name = key;
    if (!*ret_section)
        *ret_section = neap_strdup("");
}

/* Reads the flag at argv[*i], and its value when that is the next argument. */
static int one_flag(struct neap_config *c, int argc, char **argv, int *i, struct neap_err *err)
{
    const char *flag = argv[*i] + 2;
    const char *equals = strchr(flag, '=');
    NEAP_CLEANUP_FREE char *section = NULL;
    NEAP_CLEANUP_FREE char *name = NULL;
    NEAP_CLEANUP_FREE char *place = neap_asprintf("flag --%s", flag);
    key_of(flag, equals ? (size_t)(equals - flag) : strlen(flag), &section, &name);
    const char *value = equals ? equals + 1 : NULL;
    if (!value && neap_config_flag_is_bool(c, section, name))
        value = "true";
    if (!value) {
        if (*i + 1 >= argc)
            return neap_err_set(err, NEAP_ECONFIG, "%s: a value is missing", place);
        value = argv[++*i];
    }
    return neap_config_put(c, section, name, value, place, "flag", err);
}

int neap_config_flags(struct neap_config *c, int argc, char **argv, int *ret_rest,
                      struct neap_err *err)
{
    int i = 0;
    for (; i < argc; i++) {
        if (!neap_startswith(argv[i], "--"))
            break;
        if (!argv[i][2]) { /* "--" ends the flags */
            i++;
            break;
        }
        int code = one_flag(c, argc, argv, &i, err);
        if (code)
            return code;
    }
    *ret_rest = i;
    return 0;
}
