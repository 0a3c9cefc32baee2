/* Links of what comes by the API server's proxy: a page whose links start at its server's root would lead its reader
 * to the API server's own root, so those links get the proxy's path before theirs. Pages of type text/html, and the
 * header Location. Source: Kubernetes documentation, "Access Services Running on Clusters"; the attributes that
 * hold links: HTML 4 and 5, as Kubernetes' own proxy has them. */
#ifndef NEAP_API_NODE_REWRITE_H
#define NEAP_API_NODE_REWRITE_H

#include "neap/buf.h"

#include <stdbool.h>

struct node_rewrite;

/* <prefix>: the path up to and with "/proxy"; <host>: the server's "ADDRESS:PORT", absolute links to which count as
 * its own. Both are copied. */
struct node_rewrite *node_rewrite_new(const char *prefix, const char *host);
/* Appends to <out> what can be decided; at most NODE_TAG_MAX bytes and these are held back until more comes. A page
 * with a longer tag goes as it is from there on. <last>: nothing comes after this. */
enum { NODE_TAG_MAX = 64 << 10 };
void node_rewrite_push(struct node_rewrite *r, const char *data, size_t len, bool last,
                       struct neap_buf *out);
/* One link. */
void node_rewrite_url(const struct node_rewrite *r, const char *url, size_t len,
                      struct neap_buf *out);
/* NULL is allowed. Returns NULL. */
struct node_rewrite *node_rewrite_free(struct node_rewrite *r);

#endif
