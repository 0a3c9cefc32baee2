/* Between client_api.c and client_reflect.c. */
#ifndef NEAP_API_HTTP_CLIENT_API_H
#define NEAP_API_HTTP_CLIENT_API_H

#include "http_internal.h"

struct client_api {
    struct neap_client client; /* first */
    struct neap_http_client *http;
    struct neap_list requests; /* under way */
};

/* A Status (or whatever came with <status>) becomes an error. */
int client_status_error(int status, yyjson_val *body, struct neap_err *err);

struct neap_reflector *client_reflect(struct neap_client *client,
                                      const struct neap_reflector_options *o);
void client_reflect_stop(struct neap_client *client, struct neap_reflector *r);

#endif
