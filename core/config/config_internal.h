/* Between config.c (tables and values), file.c (YAML) and flags.c. */
#ifndef NEAP_CONFIG_INTERNAL_H
#define NEAP_CONFIG_INTERNAL_H

#include <neap/config.h>

/* Sets a value, or keeps it until its section is added. <place> begins error messages, <origin> is shown by
 * `config print`. <section> "" is neap's own. */
int neap_config_put(struct neap_config *c, const char *section, const char *name, const char *value,
                    const char *place, const char *origin, struct neap_err *err);
bool neap_config_flag_is_bool(const struct neap_config *c, const char *section, const char *name);

#endif
