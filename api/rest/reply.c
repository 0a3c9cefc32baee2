/* Content negotiation, and objects in the form that was asked for. */
#include "internal.h"

static bool meta_transform(const struct neap_accept *a)
{
    return neap_streq(a->g, "meta.k8s.io") &&
           (neap_streq(a->v, "v1") || neap_streq(a->v, "v1beta1"));
}

static bool can_serve(const struct neap_call *c, const struct neap_accept *a, bool table)
{
    if (a->media == NEAP_MEDIA_PROTOBUF)
        return (!a->as || table) && rest_protobuf_can(c, a);
    if (a->media != NEAP_MEDIA_JSON && a->media != NEAP_MEDIA_YAML)
        return false;
    if (!a->as)
        return true;
    return table && meta_transform(a) &&
           (strcmp(a->as, "Table") == 0 || strcmp(a->as, "PartialObjectMetadata") == 0 ||
            strcmp(a->as, "PartialObjectMetadataList") == 0);
}

int rest_negotiate(struct neap_call *c, bool table, struct neap_err *err)
{
    struct rest_call *rc = rest_call_of(c);
    bool transform = false;
    rc->accept_count = neap_wire_accept_parse(c->arena, c->accept, &rc->accepts);
    for (unsigned i = 0; i < rc->accept_count; i++) {
        if (can_serve(c, &rc->accepts[i], table)) {
            rc->accept = &rc->accepts[i];
            return rest_wants(c, "Table") ? rest_table_check(c, err) : 0;
        }
        transform = transform || rc->accepts[i].as;
    }
    if (transform)
        return neap_err_set(err, NEAP_ENOTACCEPTABLE,
                            "only the following media types are accepted: application/json, "
                            "application/yaml, application/vnd.kubernetes.protobuf");
    bool watch = c->verb == NEAP_WATCH || c->verb == NEAP_LIST;
    neap_err_set(err, NEAP_ENOTACCEPTABLE,
                 "406: Not Acceptable\n\nAvailable representations: application/json, "
                 "application/yaml, application/vnd.kubernetes.protobuf%s",
                 watch ? ", application/json;stream=watch, "
                         "application/vnd.kubernetes.protobuf;stream=watch"
                       : "");
    rest_err_empty_details(err);
    return NEAP_ENOTACCEPTABLE;
}

bool rest_wants(const struct neap_call *c, const char *as)
{
    const struct neap_accept *a = rest_call_of(c)->accept;
    return a && a->as && strncmp(a->as, as, strlen(as)) == 0;
}

const char *rest_meta_version(const struct neap_call *c)
{
    const struct neap_accept *a = rest_call_of(c)->accept;
    return a && neap_streq(a->v, "v1beta1") ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1";
}

static bool yaml(const struct neap_call *c)
{
    const struct neap_accept *a = rest_call_of(c)->accept;
    return a && a->media == NEAP_MEDIA_YAML;
}

bool rest_plain(const struct neap_call *c)
{
    const struct neap_accept *a = rest_call_of(c)->accept;
    return (!a || (!a->as && a->media == NEAP_MEDIA_JSON)) &&
           (!c->kind || c->kind->storage == c->kind);
}

yyjson_mut_doc *rest_object_doc(struct neap_arena *arena, const struct neap_object *o,
                                const struct neap_kind *version)
{
    const yyjson_alc *alc = neap_arena_alc(arena);
    yyjson_doc *parsed = neap_object_parse(o, alc);
    yyjson_mut_doc *doc = parsed ? yyjson_doc_mut_copy(parsed, alc) : NULL;
    struct neap_err err = NEAP_ERR_INIT;
    if (doc && version != version->storage &&
        neap_kind_convert(doc, yyjson_mut_doc_get_root(doc), version->storage, version, &err)) {
        neap_err_done(&err);
        return NULL;
    }
    return doc;
}

bool rest_write_object(struct neap_call *c, struct neap_buf *out, struct neap_object *o,
                       bool in_list)
{
    if (rest_wants(c, "PartialObjectMetadata")) {
        rest_partial_write(c, out, o);
        return true;
    }
    size_t len, head = neap_object_head_len(o);
    if (c->kind->storage == c->kind) {
        const char *json = neap_object_json(o, &len);
        if (in_list) {
            neap_buf_char(out, '{');
            neap_buf_append(out, json + head, len - head);
        } else {
            neap_buf_append(out, json, len);
        }
        return true;
    }
    /* an arena of its own: a watch or a long list converts for ever */
    struct neap_arena *own = c->arena;
    c->arena = neap_arena_new(rest_of(c)->options.arena_bytes);
    yyjson_mut_doc *doc = rest_object_doc(c->arena, o, c->kind);
    yyjson_mut_val *root = doc ? yyjson_mut_doc_get_root(doc) : NULL;
    if (in_list && root) {
        yyjson_mut_obj_remove_key(root, "kind");
        yyjson_mut_obj_remove_key(root, "apiVersion");
    }
    if (root)
        neap_kind_write(out, root, c->kind->type);
    neap_arena_free(c->arena);
    c->arena = own;
    return root != NULL;
}

/* What is in reply_buf as JSON becomes YAML when that was asked for. */
static bool to_yaml(struct neap_call *c)
{
    struct neap_err err = NEAP_ERR_INIT;
    yyjson_mut_doc *doc;
    if (neap_json_parse(c->arena, c->reply_buf.data, c->reply_buf.len, NULL, &doc, &err)) {
        neap_err_move(&c->err, &err);
        rest_fail(c);
        return false;
    }
    neap_buf_reset(&c->reply_buf);
    neap_yaml_write(&c->reply_buf, yyjson_mut_doc_get_root(doc));
    c->reply_type = "application/yaml";
    return true;
}

/* A Status too is told in the form that was agreed on. */
void rest_yaml_status(struct neap_call *c)
{
    struct neap_err err = NEAP_ERR_INIT;
    yyjson_mut_doc *doc;
    if (!yaml(c) ||
        neap_json_parse(c->arena, c->reply_buf.data, c->reply_buf.len, NULL, &doc, &err)) {
        neap_err_done(&err);
        return;
    }
    neap_buf_reset(&c->reply_buf);
    neap_yaml_write(&c->reply_buf, yyjson_mut_doc_get_root(doc));
    c->reply_type = "application/yaml";
}

static bool to_pretty(struct neap_call *c)
{
    yyjson_doc *doc =
        yyjson_read_opts(c->reply_buf.data, c->reply_buf.len, 0, neap_arena_alc(c->arena), NULL);
    size_t n = 0;
    char *text =
        doc ? yyjson_write_opts(doc, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL, &n, NULL) : NULL;
    if (text) {
        neap_buf_reset(&c->reply_buf);
        neap_buf_append(&c->reply_buf, text, n);
        free(text);
    }
    return true;
}

void rest_reply_json(struct neap_call *c, int status)
{
    c->status = status;
    c->reply_type = "application/json";
    if (rest_protobuf(c)) {
        if (rest_protobuf_reply(c, &c->err))
            rest_fail(c);
        else
            rest_finish(c);
        return;
    }
    if (yaml(c)) {
        if (!to_yaml(c))
            return;
    } else if (c->options.pretty) {
        to_pretty(c);
    }
    if (c->reply_buf.len == 0 || c->reply_buf.data[c->reply_buf.len - 1] != '\n')
        neap_buf_char(&c->reply_buf, '\n');
    rest_finish(c);
}

void rest_reply_text(struct neap_call *c, int status, const char *text)
{
    c->status = status;
    c->reply_type = "text/plain; charset=utf-8";
    neap_buf_reset(&c->reply_buf);
    neap_buf_str(&c->reply_buf, text);
    rest_finish(c);
}

void rest_reply_object(struct neap_call *c, int status, struct neap_object *o)
{
    c->status = status;
    c->reply_type = "application/json";
    if (c->internal || (rest_plain(c) && !c->options.pretty)) {
        c->object = neap_object_ref(o);
        rest_finish(c);
        return;
    }
    neap_buf_reset(&c->reply_buf);
    if (rest_wants(c, "Table")) {
        rest_table_head(c, &c->reply_buf, neap_object_revision(o), NULL, -1, true);
        rest_table_row(c, &c->reply_buf, o);
        neap_buf_str(&c->reply_buf, "]}");
    } else if (!rest_write_object(c, &c->reply_buf, o, false)) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the object is too large to be answered in this form");
        return;
    }
    rest_reply_json(c, status);
}
