/* PUT: of an object or one of its subresources. */
#include "internal.h"

struct update {
    yyjson_mut_doc *doc;
    yyjson_mut_val *body;
};

int rest_err_uid(struct neap_err *err, const struct rest_write *w, const char *uid)
{
    const struct neap_kind *k = w->kind;
    neap_err_set(err, NEAP_ECONFLICT,
                 "Operation cannot be fulfilled on %s%s%s \"%s\": StorageError: invalid object, "
                 "Code: 4, Key: /registry/%s%s%s/%s, ResourceVersion: 0, AdditionalErrorMsg: "
                 "Precondition failed: UID in precondition: %s, UID in object meta: %s",
                 k->resource, *k->group ? "." : "", k->group, w->name, k->resource,
                 w->namespace_ ? "/" : "", w->namespace_ ? w->namespace_ : "", w->name, uid,
                 w->old ? neap_object_uid(w->old) : "");
    neap_err_about(err, k->group, k->resource, w->name);
    return NEAP_ECONFLICT;
}

static int identity(struct rest_write *w, yyjson_mut_val *meta, struct neap_err *err)
{
    const char *uid = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "uid"));
    const char *version = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "resourceVersion"));
    uint64_t revision = 0;
    if (version && *version && !neap_parse_u64(version, UINT64_MAX, &revision))
        return neap_err_set(err, NEAP_EPLAIN, "strconv.ParseUint: parsing \"%s\": invalid syntax",
                            version);
    if (uid && *uid && (!w->old || strcmp(uid, neap_object_uid(w->old)) != 0)) {
        return rest_err_uid(err, w, uid);
    }
    if (revision) {
        w->revision_precondition = version;
        if (!w->old || neap_object_revision(w->old) != revision)
            return rest_err_conflict_modified(err, w->kind, w->name);
        return 0;
    }
    bool may =
        w->subresource ? w->subresource->unconditional_update : w->kind->unconditional_update;
    if (w->old && !may) {
        neap_err_cause(err, "FieldValueInvalid", "metadata.resourceVersion",
                       "Invalid value: 0: must be specified for an update");
        struct neap_kind shown = *w->kind; /* the real server names the resource here */
        shown.kind = w->kind->resource;
        return rest_err_invalid(err, &shown, w->name);
    }
    return 0;
}

static int change(struct rest_write *w, struct neap_err *err)
{
    struct update *p = w->data;
    w->doc = rest_attempt_doc(w);
    w->root = yyjson_mut_val_mut_copy(w->doc, p->body);
    return identity(w, yyjson_mut_obj_get(w->root, "metadata"), err);
}

/* Name and namespace of the body are those of the path. */
static int check_place(struct neap_call *c, yyjson_mut_doc *doc, struct neap_err *err)
{
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    yyjson_mut_val *meta = yyjson_mut_obj_get(root, "metadata");
    if (!meta) {
        meta = yyjson_mut_obj(doc);
        yyjson_mut_obj_put(root, yyjson_mut_str(doc, "metadata"), meta);
    }
    const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "name"));
    const char *ns = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "namespace"));
    if (!name || !*name) {
        if (!rest_call_of(c)->subresource)
            return neap_err_set(err, NEAP_EBADREQUEST,
                                "the name of the object (%s based on URL) was undeterminable: name "
                                "must be provided",
                                c->name);
        yyjson_mut_obj_put(meta, yyjson_mut_str(doc, "name"), yyjson_mut_strcpy(doc, c->name));
    } else if (strcmp(name, c->name) != 0) {
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "the name of the object (%s) does not match the name on the URL (%s)",
                            name, c->name);
    }
    if (ns && *ns && !neap_streq(ns, c->namespace_))
        return neap_err_set(
            err, NEAP_EBADREQUEST,
            "the namespace of the provided object does not match the namespace sent "
            "on the request");
    return 0;
}

void rest_update(struct neap_call *c)
{
    struct rest_write *w = rest_write_new(c);
    struct update *p = neap_arena_calloc(c->arena, sizeof(*p));
    if (!w || !p) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    if (rest_negotiate(c, true, &c->err) ||
        rest_body_object(c, c->kind, c->kind->type, c->kind->kind, &p->doc, &c->err) ||
        check_place(c, p->doc, &c->err)) {
        rest_fail(c);
        return;
    }
    p->body = yyjson_mut_doc_get_root(p->doc);
    w->forget_managers = rest_call_of(c)->forgets_managers;
    w->operation = REST_UPDATE;
    w->may_create = c->kind->create_on_update && !w->subresource;
    w->change = change;
    w->data = p;
    rest_write_start(w);
}
