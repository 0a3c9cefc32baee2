/* PATCH: the three kinds of patch, over the object in the version asked for. */
#include "internal.h"

enum { PATCH_COPY_MAX = 3 << 20 };

struct patch {
    yyjson_mut_doc *doc;
    yyjson_mut_val *patch;
    struct neap_decode_report report; /* of the patch itself */
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
    if (!name || !*name)
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "the name of the object (%s based on URL) was undeterminable: name "
                            "must be provided",
                            w->name);
    if (!neap_streq(name, w->name))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "the name of the object (%s) does not match the name on the URL (%s)",
                            name, w->name);
    if (w->namespace_ && (!ns || !*ns)) /* taken away: the URL says it */
        neap_json_set_at(w->doc, w->root, "metadata.namespace",
                         yyjson_mut_strcpy(w->doc, w->namespace_));
    else if (!neap_streq(ns ? ns : "", w->namespace_ ? w->namespace_ : ""))
        return neap_err_set(
            err, NEAP_EBADREQUEST,
            "the namespace of the provided object does not match the namespace sent "
            "on the request");
    char current[24];
    snprintf(current, sizeof(current), "%llu", (unsigned long long)neap_object_revision(w->old));
    if (version && *version && strcmp(version, "0") != 0 && strcmp(version, current) != 0)
        return rest_err_conflict_modified(err, w->kind, w->name);
    return 0;
}

static int check_kind(struct rest_write *w, struct neap_err *err)
{
    char want[128];
    const char *kind = neap_json_str_at(w->root, "kind");
    const char *version = neap_json_str_at(w->root, "apiVersion");
    neap_kind_api_version(w->kind, want);
    if ((!kind || neap_streq(kind, w->kind->kind)) && (!version || neap_streq(version, want))) {
        neap_json_set_at(w->doc, w->root, "kind", yyjson_mut_str(w->doc, w->kind->kind));
        neap_json_set_at(w->doc, w->root, "apiVersion", yyjson_mut_strcpy(w->doc, want));
        return 0;
    }
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
    struct neap_decode_report report = p->report;
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

/* A JSON patch's own mistakes are told apart from the object's. */
static void report_operations(struct neap_call *c, struct patch *p)
{
    static const char *const names[] = {"op", "path", "from", "value"};
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(p->patch);
    unsigned n = 0;
    for (unsigned i = 0; i < p->report.count; i++)
        p->report.unknown[i] = neap_arena_printf(c->arena, "json patch %s", p->report.unknown[i]);
    for (yyjson_mut_val *op, *k; (op = yyjson_mut_arr_iter_next(&it)); n++) {
        yyjson_mut_obj_iter in = yyjson_mut_obj_iter_with(op);
        while ((k = yyjson_mut_obj_iter_next(&in))) {
            bool known = false;
            for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++)
                known |= yyjson_mut_equals_str(k, names[i]);
            if (!known && p->report.count < NEAP_ARRAY_LEN(p->report.unknown))
                p->report.unknown[p->report.count++] = neap_arena_printf(
                    c->arena, "json patch unknown field \"[%u].%s\"", n, yyjson_mut_get_str(k));
        }
    }
}

/* A JSON document of any shape; YAML has no place in a patch. */
static int parse(struct neap_call *c, struct patch *p, struct neap_err *err)
{
    struct neap_err why = NEAP_ERR_INIT;
    p->report.arena = c->arena;
    int rc =
        neap_json_parse(c->arena, c->body ? c->body : "", c->body_len, &p->report, &p->doc, &why);
    if (rc == NEAP_EBADREQUEST) {
        neap_err_set(err, rc, "invalid JSON patch");
        neap_err_done(&why);
        return rc;
    }
    if (rc)
        return neap_err_move(err, &why);
    p->patch = yyjson_mut_doc_get_root(p->doc);
    memset(p->report.key, 0, sizeof(p->report.key)); /* keys of the patch, not of the object */
    if (c->patch_type == NEAP_PATCH_T_JSON)
        report_operations(c, p);
    if (c->patch_type == NEAP_PATCH_T_MERGE && yyjson_mut_is_null(p->patch))
        return neap_err_set(err, NEAP_EBADREQUEST, "Invalid JSON Patch");
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
