/* Defaults that a table cannot say: hooks named in api/kinds (key `defaulter`). */
#ifndef NEAP_CORE_KIND_DEFAULT_H
#define NEAP_CORE_KIND_DEFAULT_H

#include <neap/kind.h>

struct neap_defaulting {
    yyjson_mut_doc *doc;
    yyjson_mut_val *root;
    const struct neap_kind *kind; /* of the root */
    const struct neap_type *type; /* of the object that the hook is called for */
};

#endif
