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
