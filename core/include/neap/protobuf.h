/* Kubernetes' protobuf (application/vnd.kubernetes.protobuf), written from canonical JSON by the kind
 * tables: byte for byte what Kubernetes' Go types write. Reading is neap_protobuf_parse (kind.h).
 * Tables have no protobuf form, nor have custom kinds; neap_protobuf_has() tells.
 *
 * Source: protobuf wire format; the envelope "k8s\0" and messages Unknown, WatchEvent and ListMeta of
 * k8s.io/apimachinery. Values are read only; output is appended to a buffer whose <max> bounds it.
 * thread: any. blocks: no. errors: NEAP_EINTERNAL when a value is not canonical, NEAP_ETOOLARGE past
 * out->max or a nesting of NEAP_PROTOBUF_DEPTH_MAX; <out> then holds a part that is of no use. */
#ifndef NEAP_PROTOBUF_H
#define NEAP_PROTOBUF_H

#include <neap/kind.h>

#define NEAP_PROTOBUF_MEDIA_TYPE "application/vnd.kubernetes.protobuf"
#define NEAP_PROTOBUF_DEPTH_MAX  64

/* Whether <type> can be written. */
bool neap_protobuf_has(const struct neap_type *type);

/* The bare message of a value of <type>. */
int neap_protobuf_message(struct neap_buf *out, const struct neap_type *type, yyjson_val *value,
                          struct neap_err *err);
/* An object in its envelope; apiVersion and kind are those of <value>. Also for a Status. */
int neap_protobuf_object(struct neap_buf *out, const struct neap_type *type, yyjson_val *value,
                         struct neap_err *err);
/* A list of objects of <item_type>: {apiVersion, kind, metadata, items}. */
int neap_protobuf_list(struct neap_buf *out, const struct neap_type *item_type, yyjson_val *list,
                       struct neap_err *err);

/* The same piece by piece, for who has items one at a time and sends in parts: a body of
 * neap_protobuf_list_meta and neap_protobuf_list_item calls, put between head and tail. */
int neap_protobuf_list_meta(struct neap_buf *body, yyjson_val *metadata, struct neap_err *err);
int neap_protobuf_list_item(struct neap_buf *body, const struct neap_type *item_type,
                            yyjson_val *item, struct neap_err *err);
void neap_protobuf_head(struct neap_buf *out, const char *api_version, const char *kind,
                        size_t body_len);
void neap_protobuf_tail(struct neap_buf *out);

/* One frame of a watch: length, then the event ("ADDED", "BOOKMARK", "ERROR", ...) that holds <object>:
 * what neap_protobuf_object wrote. */
int neap_protobuf_watch_frame(struct neap_buf *out, const char *event, const void *object,
                              size_t object_len, struct neap_err *err);

#endif
