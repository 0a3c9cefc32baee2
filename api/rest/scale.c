/* The scale subresource: replicas of whatever has them, in the shape of autoscaling/v1 Scale. */
#include "special.h"

struct scale {
    yyjson_mut_doc *doc;
    yyjson_mut_val *body;  /* PUT; or NULL */
    yyjson_mut_val *patch; /* PATCH; or NULL */
};

static const struct neap_type *scale_type(void)
{
    return neap_type_by_name("io.k8s.api.autoscaling.v1.Scale");
}

static void selector_text(struct neap_buf *out, yyjson_mut_val *root)
{
    yyjson_mut_val *selector = neap_json_at(root, "spec.selector");
    yyjson_mut_val *labels = yyjson_mut_obj_get(selector, "matchLabels");
    yyjson_mut_val *expressions = yyjson_mut_obj_get(selector, "matchExpressions");
    if (!labels && !expressions)
        labels = selector;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(labels);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));)
        neap_buf_printf(out, "%s%s=%s", out->len ? "," : "", yyjson_mut_get_str(k),
                        yyjson_mut_get_str(yyjson_mut_obj_iter_get_val(k)));
    yyjson_mut_arr_iter at = yyjson_mut_arr_iter_with(expressions);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&at));) {
        const char *key = neap_json_str_at(e, "key"), *op = neap_json_str_at(e, "operator");
        if (out->len)
            neap_buf_char(out, ',');
        if (neap_streq(op, "Exists") || neap_streq(op, "DoesNotExist")) {
            neap_buf_printf(out, "%s%s", neap_streq(op, "Exists") ? "" : "!", key);
            continue;
        }
        neap_buf_printf(out, "%s %s (", key, neap_streq(op, "In") ? "in" : "notin");
        yyjson_mut_arr_iter vt = yyjson_mut_arr_iter_with(yyjson_mut_obj_get(e, "values"));
        bool first = true;
        for (yyjson_mut_val *v; (v = yyjson_mut_arr_iter_next(&vt)); first = false)
            neap_buf_printf(out, "%s%s", first ? "" : ",", yyjson_mut_get_str(v));
        neap_buf_char(out, ')');
    }
}

/* The Scale of an object's tree. */
static yyjson_mut_val *scale_of(yyjson_mut_doc *doc, yyjson_mut_val *root)
{
    static const char *const kept[] = {"name", "namespace", "uid", "resourceVersion",
                                       "creationTimestamp"};
    yyjson_mut_val *s = yyjson_mut_obj(doc);
    struct neap_buf text = NEAP_BUF_INIT;
    char path[64];
    neap_json_set_at(doc, s, "kind", yyjson_mut_str(doc, "Scale"));
    neap_json_set_at(doc, s, "apiVersion", yyjson_mut_str(doc, "autoscaling/v1"));
    for (size_t i = 0; i < NEAP_ARRAY_LEN(kept); i++) {
        snprintf(path, sizeof(path), "metadata.%s", kept[i]);
        yyjson_mut_val *v = neap_json_at(root, path);
        if (v)
            neap_json_set_at(doc, s, path, yyjson_mut_val_mut_copy(doc, v));
    }
    int64_t want = yyjson_mut_get_sint(neap_json_at(root, "spec.replicas"));
    int64_t have = yyjson_mut_get_sint(neap_json_at(root, "status.replicas"));
    neap_json_set_at(doc, s, "spec", yyjson_mut_obj(doc));
    if (want)
        neap_json_set_at(doc, s, "spec.replicas", yyjson_mut_sint(doc, want));
    neap_json_set_at(doc, s, "status.replicas", yyjson_mut_sint(doc, have));
    selector_text(&text, root);
    if (text.len)
        neap_json_set_at(doc, s, "status.selector", yyjson_mut_strncpy(doc, text.data, text.len));
    neap_buf_done(&text);
    return s;
}

static void answer(struct neap_call *c, struct neap_object *o)
{
    yyjson_mut_doc *doc = rest_object_doc(c->arena, o, c->kind);
    if (!doc) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    neap_buf_reset(&c->reply_buf);
    neap_kind_write(&c->reply_buf, scale_of(doc, yyjson_mut_doc_get_root(doc)), scale_type());
    rest_reply_json(c, 200);
}

static void reply(struct rest_write *w, struct neap_object *o)
{
    answer(w->call, o);
}

static int invalid(struct rest_write *w, int64_t n, struct neap_err *err)
{
    static const struct neap_kind scale = {.group = "autoscaling", .kind = "Scale"};
    neap_err_cause(err, "FieldValueInvalid", "spec.replicas",
                   "Invalid value: %lld: must be greater than or equal to 0", (long long)n);
    return rest_err_invalid(err, &scale, w->name);
}

static int change(struct rest_write *w, struct neap_err *err)
{
    struct scale *p = w->data;
    yyjson_mut_val *s = p->body;
    int rc = 0;
    w->doc = p->doc;
    if (p->patch) {
        s = scale_of(p->doc, w->old_root);
        rc = w->call->patch_type == NEAP_PATCH_T_JSON
                 ? neap_patch_json(p->doc, &s, p->patch, 1 << 20, err)
             : w->call->patch_type == NEAP_PATCH_T_MERGE
                 ? neap_patch_merge(p->doc, &s, p->patch, err)
                 : neap_patch_strategic(p->doc, &s, p->patch, scale_type(), err);
        struct neap_decode_report report = {.arena = w->call->arena};
        if (!rc)
            rc = neap_kind_decode(p->doc, s, scale_type(), w->call->options.field_validation,
                                  &report, err);
        if (!rc)
            rc = rest_report_finish(w->call, &report, err);
        if (rc)
            return rc;
    }
    const char *version = neap_json_str_at(s, "metadata.resourceVersion");
    const char *name = neap_json_str_at(s, "metadata.name");
    const char *uid = neap_json_str_at(s, "metadata.uid");
    if (!name || !*name)
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "the name of the object (%s based on URL) was undeterminable: name "
                            "must be provided",
                            w->name);
    if (strcmp(name, w->name) != 0)
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "the name of the object (%s) does not match the name on the URL (%s)",
                            name, w->name);
    char current[24];
    snprintf(current, sizeof(current), "%llu", (unsigned long long)neap_object_revision(w->old));
    if (version && *version && strcmp(version, current) != 0)
        return rest_err_conflict_modified(err, w->kind, w->name);
    if (uid && *uid && strcmp(uid, neap_object_uid(w->old)) != 0)
        return rest_err_uid(err, w, uid);
    int64_t n = yyjson_mut_get_sint(neap_json_at(s, "spec.replicas"));
    if (n < 0)
        return invalid(w, n, err);
    w->root = yyjson_mut_val_mut_copy(p->doc, w->old_root);
    neap_json_set_at(p->doc, w->root, "spec.replicas", yyjson_mut_sint(p->doc, n));
    return 0;
}

void rest_scale(struct neap_call *c)
{
    if (rest_negotiate(c, false, &c->err)) {
        rest_fail(c);
        return;
    }
    if (c->verb == NEAP_GET) {
        struct neap_object *o = neap_snapshot_get(rest_pin(c), c->kind, c->namespace_, c->name);
        if (o) {
            answer(c, o);
            return;
        }
        rest_err_not_found(&c->err, c->kind, c->name);
        rest_fail(c);
        return;
    }
    if (c->verb == NEAP_PATCH && c->patch_type == NEAP_PATCH_T_APPLY) {
        rest_apply_scale(c, reply);
        return;
    }
    struct rest_write *w = rest_write_new(c);
    struct scale *p = neap_arena_calloc(c->arena, sizeof(*p));
    int rc;
    if (!w || !p) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    if (c->verb == NEAP_PATCH) {
        rc = neap_json_parse(c->arena, c->body ? c->body : "", c->body_len, NULL, &p->doc, &c->err);
        if (!rc)
            p->patch = yyjson_mut_doc_get_root(p->doc);
        if (!rc && c->patch_type == NEAP_PATCH_T_NONE)
            rc = neap_err_set(
                &c->err, NEAP_EUNSUPPORTEDMEDIATYPE,
                "the body of the request was in an unknown format - accepted media "
                "types include: application/json-patch+json, "
                "application/merge-patch+json, application/strategic-merge-patch+json, "
                "application/apply-patch+yaml");
    } else {
        rc = rest_body_object(c, c->kind, scale_type(), "Scale", &p->doc, &c->err);
        if (!rc)
            p->body = yyjson_mut_doc_get_root(p->doc);
    }
    if (rc) {
        rest_fail(c);
        return;
    }
    w->operation = REST_UPDATE;
    w->subresource = NULL; /* what changes is the object's own spec */
    w->managed_as = "scale";
    w->change = change;
    w->reply = reply;
    w->data = p;
    rest_write_start(w);
}
