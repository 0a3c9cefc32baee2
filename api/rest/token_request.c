/* TokenRequest: a ServiceAccount's token, bound to what the request names.
 * Source: Kubernetes documentation, "Managing Service Accounts". */
#include "special.h"

enum { TOKEN_SECONDS_MIN = 600, TOKEN_SECONDS_DEFAULT = 3600, AUDIENCES_MAX = 16 };

/* What a token is bound to must be there, with that uid. */
static int bound_object(struct neap_call *c, yyjson_mut_val *root, struct neap_token_request *t,
                        struct neap_object **ret_bound, struct neap_err *err)
{
    const char *kind = neap_json_str_at(root, "spec.boundObjectRef.kind");
    const char *name = neap_json_str_at(root, "spec.boundObjectRef.name");
    const char *uid = neap_json_str_at(root, "spec.boundObjectRef.uid");
    const char *version = neap_json_str_at(root, "spec.boundObjectRef.apiVersion");
    if (!kind)
        return 0;
    bool node = strcmp(kind, "Node") == 0;
    const struct neap_kind *k = neap_kind_by_resource("", "v1",
                                                      node                          ? "nodes"
                                                      : strcmp(kind, "Pod") == 0    ? "pods"
                                                      : strcmp(kind, "Secret") == 0 ? "secrets"
                                                                                    : "");
    if (!k)
        return neap_err_set(
            err, NEAP_EBADREQUEST, "cannot bind token to object of type %s%s, Kind=%s",
            version && strchr(version, '/') ? "" : "/", version ? version : "", kind);
    struct neap_object *o = neap_snapshot_get(rest_call_of(c)->snapshot, k,
                                              node ? NULL : c->namespace_, name ? name : "");
    if (!o)
        return rest_err_not_found(err, k, name ? name : "");
    if (uid && *uid && strcmp(uid, neap_object_uid(o)) != 0) {
        neap_err_set(err, NEAP_ECONFLICT,
                     "Operation cannot be fulfilled on %s \"%s\": the UID in the bound object "
                     "reference (%s) does not match the UID in record. The object might have been "
                     "deleted and then recreated",
                     k->resource, name, uid);
        neap_err_about(err, "", k->resource, name);
        return NEAP_ECONFLICT;
    }
    *ret_bound = o;
    t->bound_kind = kind;
    t->bound_name = name;
    t->bound_uid = neap_object_uid(o);
    if (strcmp(kind, "Pod") == 0) {
        yyjson_doc *doc = neap_object_parse(o, neap_arena_alc(c->arena));
        const char *host = neap_json_val_str_at(yyjson_doc_get_root(doc), "spec.nodeName");
        const char *account =
            neap_json_val_str_at(yyjson_doc_get_root(doc), "spec.serviceAccountName");
        if (!neap_streq(account, c->name))
            return neap_err_set(err, NEAP_EBADREQUEST,
                                "cannot bind token for serviceaccount \"%s\" to pod running with "
                                "different serviceaccount name.",
                                c->name);
        struct neap_object *n =
            host ? neap_snapshot_get(rest_call_of(c)->snapshot,
                                     neap_kind_by_resource("", "v1", "nodes"), NULL, host)
                 : NULL;
        t->node_name = host;
        t->node_uid = n ? neap_object_uid(n) : NULL;
    }
    return 0;
}

static int token_seconds(yyjson_mut_val *root, int64_t *ret, struct neap_err *err)
{
    static const struct neap_kind shown = {.group = "authentication.k8s.io",
                                           .kind = "TokenRequest"};
    yyjson_mut_val *v = neap_json_at(root, "spec.expirationSeconds");
    *ret = v ? yyjson_mut_get_sint(v) : TOKEN_SECONDS_DEFAULT;
    if (*ret < TOKEN_SECONDS_MIN)
        neap_err_cause(err, "FieldValueInvalid", "spec.expirationSeconds",
                       "Invalid value: %lld: may not specify a duration less than 10 minutes",
                       (long long)*ret);
    else if (*ret > (int64_t)1 << 32)
        neap_err_cause(err, "FieldValueInvalid", "spec.expirationSeconds",
                       "Invalid value: %lld: may not specify a duration larger than 2^32 seconds",
                       (long long)*ret);
    return err->code ? rest_err_invalid(err, &shown, "") : 0;
}

/* What is asked for, and whether it may be had. <audiences> is memory for the list. */
static int read_request(struct neap_call *c, yyjson_mut_val *root,
                        const char *audiences[AUDIENCES_MAX + 1], struct neap_token_request *t,
                        struct neap_err *err)
{
    struct neap_auth *auth = rest_of(c)->options.auth;
    struct neap_object *account = neap_snapshot_get(rest_pin(c), c->kind, c->namespace_, c->name),
                       *bound = NULL;
    size_t n = 0;
    if (!account)
        return rest_err_not_found(err, c->kind, c->name);
    int rc = token_seconds(root, &t->expiration_s, err);
    if (!rc)
        rc = bound_object(c, root, t, &bound, err);
    if (rc)
        return rc;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(neap_json_at(root, "spec.audiences"));
    for (yyjson_mut_val *a; n < AUDIENCES_MAX && (a = yyjson_mut_arr_iter_next(&it));)
        audiences[n++] = yyjson_mut_get_str(a);
    t->namespace_ = c->namespace_;
    t->name = c->name;
    t->uid = neap_object_uid(account);
    t->audiences = n ? audiences : NULL;
    bool pod = t->bound_kind && strcmp(t->bound_kind, "Pod") == 0;
    const char *uid = neap_json_str_at(root, "spec.boundObjectRef.uid");
    return auth ? neap_auth_node_token(auth, c, pod ? bound : NULL, uid && *uid, t->audiences, err)
                : 0;
}

static void shorten(struct neap_call *c, int64_t *seconds)
{
    int64_t most = rest_of(c)->options.token_seconds_max;
    if (*seconds <= most)
        return;
    neap_call_warn(c, "requested expiration of %lld seconds shortened to %lld seconds",
                   (long long)*seconds, (long long)most);
    *seconds = most;
}

static void set_text(yyjson_mut_doc *doc, const char *path, const char *text)
{
    neap_json_set_at(doc, yyjson_mut_doc_get_root(doc), path, yyjson_mut_strcpy(doc, text));
}

static void answer(struct neap_call *c, yyjson_mut_doc *doc, const struct neap_type *type,
                   const char *token, int64_t seconds, int64_t expires)
{
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    char when[32], now[32];
    neap_time_format(expires, when);
    neap_time_format(neap_clock_wall(rest_of(c)->options.clock), now);
    set_text(doc, "metadata.name", c->name);
    set_text(doc, "metadata.namespace", c->namespace_);
    neap_json_set_at(doc, root, "spec.expirationSeconds", yyjson_mut_sint(doc, seconds));
    set_text(doc, "status.token", token);
    set_text(doc, "status.expirationTimestamp", when);
    set_text(doc, "metadata.creationTimestamp", now);
    neap_kind_write(&c->reply_buf, root, type);
    rest_reply_json(c, 201);
}

void rest_token_request(struct neap_call *c)
{
    const struct neap_type *type = neap_type_by_name("io.k8s.api.authentication.v1.TokenRequest");
    struct neap_auth *auth = rest_of(c)->options.auth;
    struct neap_token_request t = {0};
    const char *audiences[AUDIENCES_MAX + 1] = {NULL};
    yyjson_mut_doc *doc;
    int64_t expires = 0;
    if (rest_negotiate(c, false, &c->err) ||
        rest_body_object(c, c->kind, type, "TokenRequest", &doc, &c->err) ||
        read_request(c, yyjson_mut_doc_get_root(doc), audiences, &t, &c->err)) {
        rest_fail(c);
        return;
    }
    shorten(c, &t.expiration_s);
    char *token = auth ? neap_auth_token_issue(auth, &t, &expires) : NULL;
    if (!token) {
        rest_fail_with(c, NEAP_EUNAVAILABLE, "tokens are not issued by this server");
        return;
    }
    answer(c, doc, type, token, t.expiration_s, expires);
    free(token);
}
