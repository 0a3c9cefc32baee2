/* Answers as application/vnd.kubernetes.protobuf: what was made as JSON is written anew by the kind tables.
 * Tables have no protobuf form. Source: Kubernetes API concepts, "Alternate representations of resources". */
#include "internal.h"

#include <neap/protobuf.h>

#define META "io.k8s.apimachinery.pkg.apis.meta.v1."

/* Kinds that are no resources of their own. */
static const struct {
    const char *kind, *type;
} extra[] = {
    {"Status", META "Status"},
    {"PartialObjectMetadata", META "PartialObjectMetadata"},
    {"Scale", "io.k8s.api.autoscaling.v1.Scale"},
    {"TokenRequest", "io.k8s.api.authentication.v1.TokenRequest"},
    {"Eviction", "io.k8s.api.policy.v1.Eviction"},
    {"Binding", "io.k8s.api.core.v1.Binding"},
};

static const struct neap_type *type_of(const char *api_version, const char *kind)
{
    const char *slash = strchr(api_version, '/');
    char group[256];
    snprintf(group, sizeof(group), "%.*s", slash ? (int)(slash - api_version) : 0, api_version);
    const struct neap_kind *k = neap_kind_by_gvk(group, slash ? slash + 1 : api_version, kind);
    if (k && k->type)
        return k->type;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(extra); i++)
        if (strcmp(extra[i].kind, kind) == 0)
            return neap_type_by_name(extra[i].type);
    return NULL;
}

bool rest_protobuf(const struct neap_call *c)
{
    const struct neap_accept *a = rest_call_of(c)->accept;
    return a && a->media == NEAP_MEDIA_PROTOBUF;
}

bool rest_protobuf_can(const struct neap_call *c, const struct neap_accept *a)
{
    if (a->as)
        return strncmp(a->as, "PartialObjectMetadata", 21) == 0 &&
               neap_type_by_name(META "PartialObjectMetadata");
    return c->kind && c->kind->type && neap_protobuf_has(c->kind->type);
}

/* {"kind": ..., "apiVersion": ...}: one object, or a list of them. */
static int encode(struct neap_buf *out, yyjson_val *root, struct neap_err *err)
{
    const char *kind = yyjson_get_str(yyjson_obj_get(root, "kind"));
    const char *version = yyjson_get_str(yyjson_obj_get(root, "apiVersion"));
    const struct neap_type *type = kind && version ? type_of(version, kind) : NULL;
    if (type && neap_protobuf_has(type))
        return neap_protobuf_object(out, type, root, err);
    size_t n = kind ? strlen(kind) : 0;
    if (n > 4 && strcmp(kind + n - 4, "List") == 0) {
        char item[256];
        snprintf(item, sizeof(item), "%.*s", (int)(n - 4), kind);
        type = type_of(version, item);
        if (type && neap_protobuf_has(type))
            return neap_protobuf_list(out, type, root, err);
    }
    return neap_err_set(err, NEAP_ENOTACCEPTABLE,
                        "object *%s does not implement the protobuf marshalling interface and "
                        "cannot be encoded to a protobuf message",
                        kind ? kind : "");
}

static int recode(struct neap_buf *out, const char *json, size_t len, struct neap_err *err)
{
    yyjson_doc *doc = yyjson_read(json, len, 0);
    int rc = doc ? encode(out, yyjson_doc_get_root(doc), err)
                 : neap_err_set(err, NEAP_EINTERNAL, "the answer is no JSON");
    yyjson_doc_free(doc);
    return rc;
}

int rest_protobuf_reply(struct neap_call *c, struct neap_err *err)
{
    struct neap_buf out = {.max = rest_of(c)->options.arena_bytes * 4};
    int rc = recode(&out, c->reply_buf.data ? c->reply_buf.data : "", c->reply_buf.len, err);
    if (rc) {
        neap_buf_done(&out);
        return rc;
    }
    neap_buf_done(&c->reply_buf);
    c->reply_buf = out;
    c->reply_type = NEAP_PROTOBUF_MEDIA_TYPE;
    return 0;
}

/* ---- lists, an item at a time ---- */

int rest_protobuf_items(struct neap_call *c, struct rest_protobuf_items *ret, struct neap_err *err)
{
    bool partial = rest_wants(c, "PartialObjectMetadata");
    *ret = (struct rest_protobuf_items){
        .type = partial ? neap_type_by_name(META "PartialObjectMetadata") : c->kind->type,
        .plain = !partial && c->kind->storage == c->kind,
    };
    if (ret->type && neap_protobuf_has(ret->type))
        return 0;
    return neap_err_set(err, NEAP_ENOTACCEPTABLE, "%s has no protobuf form", c->kind->kind);
}

/* True: appended from what is kept. */
static bool kept_item(struct neap_call *c, const struct rest_protobuf_items *items,
                      struct neap_buf *out, const struct neap_object *o)
{
    size_t len;
    const char *bytes = items->plain ? rest_encoded_get(rest_of(c)->encoded, o, &len) : NULL;
    if (bytes)
        neap_buf_append(out, bytes, len);
    return bytes != NULL;
}

int rest_protobuf_item(struct neap_call *c, struct rest_protobuf_items *items, struct neap_buf *out,
                       struct neap_object *o, struct neap_err *err)
{
    yyjson_doc *doc = NULL;
    size_t before = out->len;
    if (kept_item(c, items, out, o))
        return 0;
    if (items->plain) {
        doc = neap_object_parse(o, NULL);
    } else {
        neap_buf_reset(&items->json);
        if (rest_write_object(c, &items->json, o, true))
            doc = yyjson_read(items->json.data, items->json.len, 0);
    }
    if (!doc)
        return neap_err_set(err, NEAP_EINTERNAL, "%s cannot be read", neap_object_key(o));
    int rc = neap_protobuf_list_item(out, items->type, yyjson_doc_get_root(doc), err);
    if (!rc && items->plain && out->len - before <= UINT32_MAX)
        neap_object_set_protobuf_len(o, (uint32_t)(out->len - before));
    if (!rc && items->keep)
        rest_encoded_put(rest_of(c)->encoded, o, out->data + before, out->len - before);
    yyjson_doc_free(doc);
    return rc;
}

int rest_protobuf_item_len(struct neap_call *c, struct rest_protobuf_items *items,
                           struct neap_buf *scratch, struct neap_object *o, size_t *ret,
                           struct neap_err *err)
{
    *ret = items->plain ? neap_object_protobuf_len(o) : 0;
    if (*ret)
        return 0;
    neap_buf_reset(scratch);
    int rc = rest_protobuf_item(c, items, scratch, o, err);
    *ret = scratch->len;
    return rc;
}

int rest_protobuf_list_head(struct neap_buf *out, const struct neap_buf *json, size_t items_len,
                            struct neap_err *err)
{
    NEAP_CLEANUP_BUF struct neap_buf meta = NEAP_BUF_INIT;
    yyjson_doc *doc = yyjson_read(json->data, json->len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *kind = yyjson_get_str(yyjson_obj_get(root, "kind"));
    const char *version = yyjson_get_str(yyjson_obj_get(root, "apiVersion"));
    int rc = kind && version ? neap_protobuf_list_meta(&meta, yyjson_obj_get(root, "metadata"), err)
                             : neap_err_set(err, NEAP_EINTERNAL, "the head of the list is no JSON");
    if (!rc) {
        neap_protobuf_head(out, version, kind, meta.len + items_len);
        neap_buf_append(out, meta.data, meta.len);
    }
    yyjson_doc_free(doc);
    return rc;
}

bool rest_protobuf_frame(struct neap_buf *out, const char *json, size_t len)
{
    static const char event[] = "{\"type\":\"";
    struct neap_buf object = NEAP_BUF_INIT;
    struct neap_err err = NEAP_ERR_INIT;
    yyjson_doc *doc = len > sizeof(event) ? yyjson_read(json, len, 0) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *type = yyjson_get_str(yyjson_obj_get(root, "type"));
    int rc = type ? encode(&object, yyjson_obj_get(root, "object"), &err) : NEAP_EINTERNAL;
    if (!rc)
        rc = neap_protobuf_watch_frame(out, type, object.data, object.len, &err);
    neap_err_done(&err);
    neap_buf_done(&object);
    yyjson_doc_free(doc);
    return rc == 0;
}
