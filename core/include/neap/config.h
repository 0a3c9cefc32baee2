/* Configuration: option tables feed one YAML file, flags, `config print` and the documentation. Flag
 * --data-dir is key data_dir; a plugin's options are under plugins.<plugin>.<option> in the file and
 * --plugin-<plugin>-<option> as a flag. Flag beats file beats default; no environment variables.
 * thread: filled at start, read-only after. */
#ifndef NEAP_CONFIG_H
#define NEAP_CONFIG_H

#include <neap/buf.h>
#include <neap/err.h>
#include <neap/plugin/abi.h>

struct neap_config;

struct neap_config *neap_config_new(void);
struct neap_config *neap_config_free(struct neap_config *c);
/* <section> NULL: neap's own; else a plugin's name. Tables live for ever. A value of the file for this
 * section that came before is checked now. */
int neap_config_add(struct neap_config *c, const char *section, const struct neap_option *table,
                    struct neap_err *err);
/* Reads the file. Unknown keys of neap's own are an error with line and column; sections of plugins are
 * kept until the plugin is added. errors: NEAP_ECONFIG "FILE:LINE:COL: ...". */
int neap_config_file(struct neap_config *c, const char *path, struct neap_err *err);
/* "--name=value", "--name value", "--flag" for BOOL. *ret_rest gets the index of the first argument that
 * is no flag. errors: NEAP_ECONFIG. <argv> must outlive the configuration. */
int neap_config_flags(struct neap_config *c, int argc, char **argv, int *ret_rest,
                      struct neap_err *err);
/* After the last neap_config_add: what no table knows. errors: NEAP_ECONFIG. */
int neap_config_check_unused(struct neap_config *c, struct neap_err *err);

/* Values; the name must be in a table (else it aborts: a programming error). NULL string: not set. */
const char *neap_config_string(const struct neap_config *c, const char *section, const char *name);
int64_t neap_config_int(const struct neap_config *c, const char *section, const char *name);
static inline bool neap_config_bool(const struct neap_config *c, const char *section,
                                    const char *name)
{
    return neap_config_int(c, section, name) != 0;
}
/* YAML with each option, its meaning and where its value came from ("default", "file:12", "flag"). */
void neap_config_print(const struct neap_config *c, struct neap_buf *out);

/* "250ms", "5s", "2m", "1h", "1h30m" -> ms. */
bool neap_config_duration(const char *text, int64_t *ret_ms);

#endif
