/* Reviews: who am I, may I, may he, whose token is it. Nothing is stored; the answer is the object with its
 * status. Source: Kubernetes documentation, "Authorization: checking API access", "Authenticating". */
#include "special.h"

struct review {
    struct neap_call *call;
    yyjson_mut_doc *doc;
    yyjson_mut_val *root;
};

static void set(struct review *r, const char *path, yyjson_mut_val *v)
{
    neap_json_set_at(r->doc, r->root, path, v);
}

static yyjson_mut_val *text(struct review *r, const char *s)
{
    return yyjson_mut_strcpy(r->doc, s ? s : "");
}

static const char *at(struct review *r, const char *path)
{
    const char *s = neap_json_str_at(r->root, path);
    return s ? s : "";
}

static void reply(struct review *r)
{
    struct neap_call *c = r->call;
    bool self = strcmp(c->kind->resource, "selfsubjectreviews") == 0;
    if (self) {
        char now[32];
        neap_time_format(neap_clock_wall(rest_of(c)->options.clock), now);
        set(r, "metadata.creationTimestamp", text(r, now));
    }
    neap_kind_write(&c->reply_buf, r->root, c->kind->type);
    rest_reply_json(c, 201);
}

/* userInfo of an identity. */
static yyjson_mut_val *user_info(struct review *r, const struct neap_identity *id)
{
    yyjson_mut_val *u = yyjson_mut_obj(r->doc), *groups = yyjson_mut_arr(r->doc);
    yyjson_mut_obj_put(u, yyjson_mut_str(r->doc, "username"), text(r, id->user));
    if (id->uid && *id->uid)
        yyjson_mut_obj_put(u, yyjson_mut_str(r->doc, "uid"), text(r, id->uid));
    for (const char *const *g = id->groups; g && *g; g++)
        yyjson_mut_arr_append(groups, text(r, *g));
    if (yyjson_mut_arr_size(groups))
        yyjson_mut_obj_put(u, yyjson_mut_str(r->doc, "groups"), groups);
    yyjson_mut_val *extra = yyjson_mut_obj(r->doc);
    for (const char *const *x = id->extra; x && x[0]; x += 2) {
        yyjson_mut_val *values = yyjson_mut_obj_get(extra, x[0]);
        if (!values) {
            values = yyjson_mut_arr(r->doc);
            yyjson_mut_obj_put(extra, text(r, x[0]), values);
        }
        yyjson_mut_arr_append(values, text(r, x[1]));
    }
    if (yyjson_mut_obj_size(extra))
        yyjson_mut_obj_put(u, yyjson_mut_str(r->doc, "extra"), extra);
    return u;
}

static int self_subject(struct review *r, struct neap_err *err)
{
    (void)err;
    set(r, "status.userInfo", user_info(r, r->call->identity));
    return 0;
}

/* ---- access reviews ---- */

static int invalid(struct review *r, struct neap_err *err)
{
    struct neap_kind shown = *r->call->kind; /* the real server leaves the kind out */
    shown.kind = "";
    return rest_err_invalid(err, &shown, "");
}

static int check_attributes(struct review *r, struct neap_err *err)
{
    bool resource = neap_json_at(r->root, "spec.resourceAttributes");
    bool path = neap_json_at(r->root, "spec.nonResourceAttributes");
    if (resource && path)
        neap_err_cause(err, "FieldValueInvalid", "spec.nonResourceAttributes",
                       "Invalid value: cannot be specified in combination with resourceAttributes");
    else if (!resource && !path)
        neap_err_cause(err, "FieldValueInvalid", "spec.resourceAttributes",
                       "Invalid value: null: exactly one of nonResourceAttributes or "
                       "resourceAttributes must be specified");
    return err->code ? invalid(r, err) : 0;
}

static void answer_access(struct review *r, const struct neap_identity *id)
{
    struct neap_rest *rest = rest_of(r->call);
    bool resource = neap_json_at(r->root, "spec.resourceAttributes");
    char *reason = NULL;
    struct neap_attributes a = {.identity = id,
                                .resource_request = resource,
                                .group = "",
                                .version = "",
                                .resource = "",
                                .subresource = "",
                                .namespace_ = "",
                                .name = "",
                                .path = ""};
    if (resource) {
        a.verb = at(r, "spec.resourceAttributes.verb");
        a.group = at(r, "spec.resourceAttributes.group");
        a.version = at(r, "spec.resourceAttributes.version");
        a.resource = at(r, "spec.resourceAttributes.resource");
        a.subresource = at(r, "spec.resourceAttributes.subresource");
        a.namespace_ = at(r, "spec.resourceAttributes.namespace");
        a.name = at(r, "spec.resourceAttributes.name");
    } else {
        a.verb = at(r, "spec.nonResourceAttributes.verb");
        a.path = at(r, "spec.nonResourceAttributes.path");
    }
    bool allowed = true;
    if (rest->options.auth) {
        struct neap_snapshot *s = rest_pin(r->call);
        allowed = neap_auth_authorize(rest->options.auth, s, &a, &reason) == NEAP_ALLOW;
        if (allowed) {
            free(reason);
            reason = neap_auth_explain(rest->options.auth, s, &a);
        }
    }
    set(r, "status.allowed", yyjson_mut_bool(r->doc, allowed));
    if (reason && *reason)
        set(r, "status.reason", text(r, reason));
    free(reason);
}

static int self_access(struct review *r, struct neap_err *err)
{
    int rc = check_attributes(r, err);
    if (!rc)
        answer_access(r, r->call->identity);
    return rc;
}

/* The identity that a review's spec names. */
static struct neap_identity *named(struct review *r, const char *groups_path)
{
    const char *groups[65] = {NULL}, *extra[129] = {NULL};
    size_t n = 0, m = 0;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(neap_json_at(r->root, groups_path));
    for (yyjson_mut_val *g; n < 64 && (g = yyjson_mut_arr_iter_next(&it));)
        groups[n++] = yyjson_mut_get_str(g);
    yyjson_mut_obj_iter xt = yyjson_mut_obj_iter_with(neap_json_at(r->root, "spec.extra"));
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&xt));) {
        yyjson_mut_arr_iter vt = yyjson_mut_arr_iter_with(yyjson_mut_obj_iter_get_val(k));
        for (yyjson_mut_val *v; m < 128 && (v = yyjson_mut_arr_iter_next(&vt));) {
            extra[m++] = yyjson_mut_get_str(k);
            extra[m++] = yyjson_mut_get_str(v);
        }
    }
    return neap_identity_new(at(r, "spec.user"), at(r, "spec.uid"), groups, extra);
}

static int subject_access(struct review *r, struct neap_err *err)
{
    int rc = check_attributes(r, err);
    if (rc)
        return rc;
    if (!*at(r, "spec.user") && !yyjson_mut_arr_size(neap_json_at(r->root, "spec.groups"))) {
        neap_err_cause(err, "FieldValueInvalid", "spec.user",
                       "Invalid value: \"\": at least one of user or group must be specified");
        return invalid(r, err);
    }
    struct neap_identity *id = named(r, "spec.groups");
    answer_access(r, id);
    neap_identity_unref(id);
    return 0;
}

static int local_access(struct review *r, struct neap_err *err)
{
    const char *ns = at(r, "spec.resourceAttributes.namespace");
    if (neap_json_at(r->root, "spec.nonResourceAttributes"))
        neap_err_cause(err, "FieldValueInvalid", "spec.nonResourceAttributes",
                       "Invalid value: disallowed on this kind of request");
    else if (strcmp(ns, r->call->namespace_) != 0)
        neap_err_cause(err, "FieldValueInvalid", "spec.resourceAttributes.namespace",
                       "Invalid value: \"%s\": must match metadata.namespace", ns);
    return err->code ? invalid(r, err) : subject_access(r, err);
}

static int self_rules(struct review *r, struct neap_err *err)
{
    struct neap_rest *rest = rest_of(r->call);
    struct neap_buf status = NEAP_BUF_INIT;
    const char *ns = at(r, "spec.namespace");
    if (!*ns) {
        neap_err_set(err, NEAP_EBADREQUEST, "no namespace on request");
        return NEAP_EBADREQUEST;
    }
    if (rest->options.auth)
        neap_auth_rules(rest->options.auth, rest_pin(r->call), r->call->identity, ns, &status);
    yyjson_doc *parsed =
        yyjson_read(status.data ? status.data : "{}", status.data ? status.len : 2, 0);
    set(r, "status", yyjson_val_mut_copy(r->doc, yyjson_doc_get_root(parsed)));
    yyjson_doc_free(parsed);
    neap_buf_done(&status);
    return 0;
}

static int token(struct review *r, struct neap_err *err)
{
    struct neap_rest *rest = rest_of(r->call);
    struct neap_identity *id = NULL;
    struct neap_err why = NEAP_ERR_INIT;
    const char *audiences[17] = {NULL};
    char **matched = NULL;
    size_t n = 0;
    if (!*at(r, "spec.token"))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "token is required for TokenReview in authentication");
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(neap_json_at(r->root, "spec.audiences"));
    for (yyjson_mut_val *v; n < 16 && (v = yyjson_mut_arr_iter_next(&it));)
        audiences[n++] = yyjson_mut_get_str(v);
    int rc = rest->options.auth ? neap_auth_token_verify(rest->options.auth, at(r, "spec.token"),
                                                         n ? audiences : NULL, &id, &matched, &why)
                                : NEAP_EUNAUTHORIZED;
    if (rc) {
        set(r, "status.user", yyjson_mut_obj(r->doc));
        set(r, "status.error", text(r, "invalid bearer token"));
    } else {
        yyjson_mut_val *list = yyjson_mut_arr(r->doc);
        set(r, "status.authenticated", yyjson_mut_bool(r->doc, true));
        set(r, "status.user", user_info(r, id));
        for (char **m = matched; m && *m; m++) {
            yyjson_mut_arr_append(list, text(r, *m));
            free(*m);
        }
        set(r, "status.audiences", list);
    }
    free(matched);
    neap_identity_unref(id);
    neap_err_done(&why);
    return 0;
}

static const struct {
    const char *resource;
    int (*answer)(struct review *r, struct neap_err *err);
} rows[] = {
    {"selfsubjectreviews", self_subject},     {"selfsubjectaccessreviews", self_access},
    {"subjectaccessreviews", subject_access}, {"localsubjectaccessreviews", local_access},
    {"selfsubjectrulesreviews", self_rules},  {"tokenreviews", token},
};

bool rest_review(struct neap_call *c)
{
    struct review r = {.call = c};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].resource, c->kind->resource) != 0)
            continue;
        if (rest_negotiate(c, false, &c->err) ||
            rest_body_object(c, c->kind, c->kind->type, c->kind->kind, &r.doc, &c->err)) {
            rest_fail(c);
            return true;
        }
        r.root = yyjson_mut_doc_get_root(r.doc);
        yyjson_mut_obj_remove_key(r.root, "status");
        rest_managed_review(c, r.doc, r.root);
        if (rows[i].answer(&r, &c->err))
            rest_fail(c);
        else
            reply(&r);
        return true;
    }
    return false;
}
