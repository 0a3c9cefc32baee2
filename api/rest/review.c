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

/* A selector is raw or made of requirements. */
static void check_selector(struct review *r, const char *name, struct neap_err *err)
{
    char path[96], field[128];
    snprintf(path, sizeof(path), "spec.resourceAttributes.%s", name);
    yyjson_mut_val *s = neap_json_at(r->root, path), *list = yyjson_mut_obj_get(s, "requirements");
    const char *raw = yyjson_mut_get_str(yyjson_mut_obj_get(s, "rawSelector"));
    bool given = raw && *raw;
    if (!s)
        return;
    snprintf(field, sizeof(field), "%s.%s", path, given ? "rawSelector" : "requirements");
    if (given && yyjson_mut_arr_size(list))
        neap_err_cause(err, "FieldValueInvalid", field,
                       "Invalid value: \"%s\": may not specified at the same time as requirements",
                       raw);
    else if (!given && !yyjson_mut_arr_size(list))
        neap_err_cause(err, "FieldValueRequired", field,
                       "Required value: when %s is specified, requirements or rawSelector is "
                       "required",
                       path);
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(given ? NULL : list);
    yyjson_mut_val *e;
    for (unsigned i = 0; (e = yyjson_mut_arr_iter_next(&it)); i++) {
        const char *key = neap_json_str_at(e, "key");
        snprintf(field, sizeof(field), "%s.requirements[%u].key", path, i);
        if (!key || !*key)
            neap_err_cause(err, "FieldValueRequired", field, "Required value: must be specified");
    }
}

/* {"Path":"/x","Verb":"get"}, as Go's own type is shown */
static void add_path_cause(struct review *r, const char *field, const char *why,
                           struct neap_err *err)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    const char *path = at(r, "spec.nonResourceAttributes.path");
    const char *verb = at(r, "spec.nonResourceAttributes.verb");
    neap_buf_str(&b, "{\"Path\":");
    neap_buf_json_string(&b, path, strlen(path));
    neap_buf_str(&b, ",\"Verb\":");
    neap_buf_json_string(&b, verb, strlen(verb));
    neap_err_cause(err, "FieldValueInvalid", field, "Invalid value: %s}: %s", b.data, why);
}

static void check_attributes(struct review *r, struct neap_err *err)
{
    static const char one[] =
        "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    bool resource = neap_json_at(r->root, "spec.resourceAttributes");
    bool path = neap_json_at(r->root, "spec.nonResourceAttributes");
    if (resource && path)
        add_path_cause(r, "spec", one, err);
    else if (!resource && !path)
        neap_err_cause(err, "FieldValueInvalid", "spec", "Invalid value: null: %s", one);
    check_selector(r, "fieldSelector", err);
    check_selector(r, "labelSelector", err);
}

static void check_user(struct review *r, struct neap_err *err)
{
    if (!*at(r, "spec.user") && !yyjson_mut_arr_size(neap_json_at(r->root, "spec.groups")))
        neap_err_cause(err, "FieldValueInvalid", "spec.user",
                       "Invalid value: \"\": at least one of user or group must be specified");
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
    check_attributes(r, err);
    if (err->cause_count)
        return invalid(r, err);
    answer_access(r, r->call->identity);
    return 0;
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

static void answer_for(struct review *r)
{
    struct neap_identity *id = named(r, "spec.groups");
    answer_access(r, id);
    neap_identity_unref(id);
}

static int subject_access(struct review *r, struct neap_err *err)
{
    check_attributes(r, err);
    check_user(r, err);
    if (err->cause_count)
        return invalid(r, err);
    answer_for(r);
    return 0;
}

static int local_access(struct review *r, struct neap_err *err)
{
    const char *ns = at(r, "spec.resourceAttributes.namespace");
    check_attributes(r, err);
    check_user(r, err);
    if (neap_json_at(r->root, "spec.resourceAttributes") && strcmp(ns, r->call->namespace_) != 0)
        neap_err_cause(err, "FieldValueInvalid", "spec.resourceAttributes.namespace",
                       "Invalid value: \"%s\": must match metadata.namespace", ns);
    if (neap_json_at(r->root, "spec.nonResourceAttributes"))
        add_path_cause(r, "spec.nonResourceAttributes", "disallowed on this kind of request", err);
    if (err->cause_count)
        return invalid(r, err);
    set(r, "metadata.namespace", text(r, r->call->namespace_));
    answer_for(r);
    return 0;
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
        if (rows[i].answer != self_rules)
            rest_managed_review(c, r.doc, r.root);
        if (rows[i].answer(&r, &c->err))
            rest_fail(c);
        else
            reply(&r);
        return true;
    }
    return false;
}
