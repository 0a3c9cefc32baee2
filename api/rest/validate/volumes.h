/* Sources of volumes, for pods and persistent volumes. */
#ifndef NEAP_API_REST_VALIDATE_VOLUMES_H
#define NEAP_API_REST_VALIDATE_VOLUMES_H

#include "validate.h"

struct rest_volume {
    struct rest_validation *v;
};
struct rest_volume_row {
    const char *name;
    const char *path; /* in causes; NULL: the name */
    const char *required[4];
    void (*check)(struct rest_volume *w, path p, json *source);
};
/* NULL: no such source. */
const struct rest_volume_row *rest_volume_row(const char *name);
/* <source>: what holds the source under the row's name. */
void rest_check_volume_source(struct rest_validation *v, path p, json *source,
                              const struct rest_volume_row *row);
/* "Required value" for each of <fields> that is absent or empty. */
void rest_check_required_fields(struct rest_validation *v, path p, json *o,
                                const char *const *fields);

#endif
