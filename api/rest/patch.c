/* PATCH: the three kinds of patch, over the object in the version asked for. */
#include "internal.h"

enum { PATCH_COPY_MAX = 3 << 20 };

struct patch {
    yyjson_mut_doc *doc;
    yyjson_mut_val *patch;
};

/* What the real server says of a patched object that does not decode. */
static int bad_result(struct rest_write *w, const char *why, struct neap_err *err)
{
    struct neap_buf text = NEAP_BUF_INIT, quoted = NEAP_BUF_INIT;
    static const struct neap_kind none = {.group = "", .kind = ""};
    char *copy = neap_strdup(why);
    neap_json_write_sorted(&text, w->root);
    neap_buf_json_string(&quoted, text.data, text.len > 1024 ? 1024 : text.len);
    neap_err_done(err);
    neap_err_cause(err, "FieldValueInvalid", "patch", "Invalid value: %s: %s", quoted.data, copy);
    neap_buf_done(&text);
    neap_buf_done(&quoted);
    free(copy);
    return rest_err_invalid(err, &none, "");
}

static int check_place(struct rest_write *w, struct neap_err *err)
{
    yyjson_mut_val *meta = yyjson_mut_obj_get(w->root, "metadata");
    const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "name"));
    const char *ns = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "namespace"));
    const char *version = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "resourceVersion"));
    if (!neap_streq(name, w->name))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "the name of the object (%s) does not match the name on the URL (%s)",
                            name ? name : "", w->name);
    if (!neap_streq(ns ? ns : "", w->namespace_ ? w->namespace_ : ""))
        return neap_err_set(
            err, NEAP_EBADREQUEST,
            "the namespace of the provided object does not match the namespace sent "
            "on the request");
    char current[24];
    snprintf(current, sizeof(current), "%llu", (unsigned long long)neap_object_revision(w->old));
    if (version && *version && strcmp(version, current) != 0)
        return rest_err_conflict_modified(err, w->kind, w->name);
    return 0;
}

static int check_kind(struct rest_write *w, struct neap_err *err)
{
    char want[128];
    const char *kind = neap_json_str_at(w->root, "kind");
    const char *version = neap_json_str_at(w->root, "apiVersion");
    neap_kind_api_version(w->kind, want);
    if (neap_streq(kind, w->kind->kind) && neap_streq(version, want))
        return 0;
    char text[512];
    snprintf(text, sizeof(text),
             "strict decoding error: the patch changes what the object is: %s, Kind=%s",
             version ? version : "", kind ? kind : "");
    return bad_result(w, text, err);
}

static int change(struct rest_write *w, struct neap_err *err)
{
    struct neap_call *c = w->call;
    struct patch *p = w->data;
    struct neap_decode_report report = {.arena = c->arena};
    struct neap_err why = NEAP_ERR_INIT;
    int rc;
    w->doc = rest_attempt_doc(w);
    w->root = yyjson_mut_val_mut_copy(w->doc, w->old_root);
    if (c->patch_type == NEAP_PATCH_T_JSON)
        rc = neap_patch_json(w->doc, &w->root, p->patch, PATCH_COPY_MAX, err);
    else if (c->patch_type == NEAP_PATCH_T_MERGE)
        rc = neap_patch_merge(w->doc, &w->root, p->patch, err);
    else
        rc = neap_patch_strategic(w->doc, &w->root, p->patch, w->kind->type, err);
    if (rc == NEAP_EINVALID && !err->cause_count)
        rest_err_empty_details(err);
    if (rc)
        return rc;
    if (rest_attempt_exhausted(w) || !w->root)
        return neap_err_set(err, NEAP_ETOOLARGE, "the patch is too large");
    rc = check_kind(w, err);
    if (rc)
        return rc;
    w->forget_managers = rest_forgets_managers(w->root);
    yyjson_mut_val *shown = yyjson_mut_val_mut_copy(w->doc, w->root);
    rc = neap_kind_decode(w->doc, w->root, w->kind->type, c->options.field_validation, &report,
                          &why);
    if (!rc)
        rc = rest_report_finish(c, &report, &why);
    if (rc) {
        w->root = shown;
        rc = bad_result(w, why.message ? why.message : "", err);
        neap_err_done(&why);
        return rc;
    }
    return check_place(w, err);
}

/* A JSON document of any shape; YAML has no place in a patch. */
static int parse(struct neap_call *c, struct patch *p, struct neap_err *err)
{
    struct neap_err why = NEAP_ERR_INIT;
    int rc = neap_json_parse(c->arena, c->body ? c->body : "", c->body_len, NULL, &p->doc, &why);
    if (rc == NEAP_EBADREQUEST) {
        bool empty = !c->body_len || strstr(why.message, "unexpected end");
        neap_err_set(err, rc,
                     empty || c->patch_type == NEAP_PATCH_T_JSON ? "invalid JSON patch"
                                                                 : "error decoding patch: %s",
                     why.message);
        neap_err_done(&why);
        return rc;
    }
    if (rc)
        return neap_err_move(err, &why);
    p->patch = yyjson_mut_doc_get_root(p->doc);
    return 0;
}

static int check_type(struct neap_call *c, struct neap_err *err)
{
    static const struct neap_kind options = {.group = "meta.k8s.io", .kind = "PatchOptions"};
    if (c->patch_type == NEAP_PATCH_T_NONE) {
        neap_err_set(err, NEAP_EUNSUPPORTEDMEDIATYPE, "415: Unsupported Media Type");
        rest_err_empty_details(err);
        return NEAP_EUNSUPPORTEDMEDIATYPE;
    }
    if (c->options.force < 0)
        return 0;
    neap_err_cause(err, "FieldValueForbidden", "force",
                   "Forbidden: may not be specified for non-apply patch");
    return rest_err_invalid(err, &options, "");
}

void rest_patch(struct neap_call *c)
{
    if (c->patch_type == NEAP_PATCH_T_APPLY) {
        rest_apply(c);
        return;
    }
    struct rest_write *w = rest_write_new(c);
    struct patch *p = neap_arena_calloc(c->arena, sizeof(*p));
    if (!w || !p) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    if (rest_negotiate(c, true, &c->err) || check_type(c, &c->err) || parse(c, p, &c->err)) {
        rest_fail(c);
        return;
    }
    w->operation = REST_UPDATE;
    w->change = change;
    w->data = p;
    rest_write_start(w);
}
