/* Between load.c and host.c. */
#ifndef NEAP_PLUGIN_INTERNAL_H
#define NEAP_PLUGIN_INTERNAL_H

#include <neap/plugin.h>

struct neap_plugin {
    const struct neap_plugin_header *header;
    char *path;
    struct neap_plugin_host_state *host; /* NULL before neap_plugin_host() */
};

void neap_plugin_host_free(struct neap_plugin_host_state *host);

#endif
