/* Rules that span fields, one file a kind. Each adds causes to v->err.
 * Source: the Kubernetes documentation of the kind; words asked of the real server. */
#ifndef NEAP_API_REST_VALIDATE_H
#define NEAP_API_REST_VALIDATE_H

#include "../internal.h"

void rest_validate_config_map(struct rest_validation *v);
void rest_validate_secret(struct rest_validation *v);

/* Shared words. <value> is JSON text as shown. */
void rest_invalid(struct rest_validation *v, const char *field, const char *value, const char *fmt,
                  ...) __attribute__((format(printf, 4, 5)));
void rest_invalid_string(struct rest_validation *v, const char *field, const char *value,
                         const char *why);
void rest_required(struct rest_validation *v, const char *field, const char *why);
void rest_forbidden(struct rest_validation *v, const char *field, const char *why);

#endif
