/* OpenAPI documents made from the kind tables. */
#ifndef NEAP_API_REST_OPENAPI_H
#define NEAP_API_REST_OPENAPI_H

#include "internal.h"

/* version 3: components/schemas of the types that a group-version reaches; version 2: definitions. */
struct openapi_writer {
    struct neap_buf *out;
    int version;
    struct neap_map seen; /* type name -> type: what is referred to */
    const struct neap_type **queue;
    size_t count, cap, done;
};
void openapi_schemas(struct openapi_writer *w); /* writes what is queued, and what that needs */
void openapi_need(struct openapi_writer *w, const struct neap_type *t);
void openapi_ref(struct openapi_writer *w, const char *name); /* "#/components/schemas/NAME" */
void openapi_list_schema(struct openapi_writer *w, const struct neap_kind *k);
/* The name under which a kind's list stands: "io.k8s.api.core.v1.PodList". */
void openapi_list_name(const struct neap_kind *k, char out[256]);
#define NEAP_OPENAPI_V2_MEDIA_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
/* Appends the version 2 document <json> as protobuf; errors: NEAP_EINTERNAL names a member without a number. */
int openapi_protobuf(struct neap_buf *out, const char *json, size_t len, struct neap_err *err);
/* All paths of a kind: members of "paths". */
void openapi_paths(struct openapi_writer *w, const struct neap_kind *k, bool *first);

#endif
