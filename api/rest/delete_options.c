/* DeleteOptions: the body, when there is one, joins what the query says. */
#include "internal.h"

#include <api/wire/wire.h>

static const struct neap_kind OPTIONS = {.group = "meta.k8s.io", .kind = "DeleteOptions"};
static const char UNSAFE[] = "ignoreStoreReadErrorWithClusterBreakingPotential";

static int check_policy(struct neap_call *c, struct neap_err *err)
{
    const struct neap_call_options *o = &c->options;
    const char *p = o->propagation_policy;
    if (p && strcmp(p, "Orphan") && strcmp(p, "Background") && strcmp(p, "Foreground"))
        neap_err_cause(
            err, "FieldValueNotSupported", "propagationPolicy",
            "Unsupported value: \"%s\": supported values: \"Foreground\", \"Background\", "
            "\"Orphan\", \"nil\"",
            p);
    if (p && o->orphan_dependents >= 0)
        neap_err_cause(err, "FieldValueInvalid", "propagationPolicy",
                       "Invalid value: \"%s\": orphanDependents and deletionPropagation cannot be "
                       "both set",
                       p);
    return err->code ? rest_err_invalid(err, &OPTIONS, "") : 0;
}

/* Deleting what cannot be read: every object here can be, so it is always refused; never done half. */
static int refuse_unsafe(struct neap_call *c, struct neap_err *err)
{
    const struct neap_call_options *o = &c->options;
    const struct {
        bool given;
        const char *what;
    } together[] = {{o->precondition_uid || o->precondition_resource_version, ".preconditions"},
                    {o->propagation_policy != NULL, ".propagationPolicy"},
                    {o->orphan_dependents >= 0, ".orphanDependents"},
                    {o->grace_period_s != NEAP_GRACE_UNSET, ".gracePeriodSeconds"}};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(together); i++)
        if (together[i].given)
            neap_err_cause(err, "FieldValueInvalid", UNSAFE,
                           "Invalid value: true: cannot be set together with %s", together[i].what);
    if (!err->code && c->verb == NEAP_DELETECOLLECTION)
        neap_err_cause(err, "FieldValueInvalid", UNSAFE,
                       "Invalid value: true: is not allowed with DELETECOLLECTION, try again after "
                       "removing the option");
    if (err->code)
        return rest_err_invalid(err, &OPTIONS, "");
    struct neap_object *o2 = neap_snapshot_get(rest_pin(c), c->kind, c->namespace_, c->name);
    if (!o2)
        return rest_err_not_found(err, c->kind, c->name);
    neap_err_set(
        err, NEAP_ECONFLICT,
        "Operation cannot be fulfilled on %s%s%s \"%s\": StorageError: invalid object, "
        "Code: 4, Key: /registry/%s%s%s/%s, ResourceVersion: 0, AdditionalErrorMsg: unsafe "
        "deletion is not allowed because the object is decodable from storage",
        c->kind->resource, *c->kind->group ? "." : "", c->kind->group, c->name, c->kind->resource,
        c->namespace_ ? "/" : "", c->namespace_ ? c->namespace_ : "", c->name);
    neap_err_about(err, c->kind->group, c->kind->resource, c->name);
    return NEAP_ECONFLICT;
}

/* ["All"], or nothing: a dry run that is not understood must not be a real one. */
static int dry_run(struct neap_call *c, yyjson_mut_val *list, struct neap_err *err)
{
    NEAP_CLEANUP_BUF struct neap_buf text = NEAP_BUF_INIT;
    bool ok = true;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        ok &= yyjson_mut_equals_str(e, "All");
    c->options.dry_run |= yyjson_mut_arr_size(list) > 0;
    if (ok)
        return 0;
    neap_json_write_sorted(&text, list);
    neap_err_cause(err, "FieldValueNotSupported", "dryRun",
                   "Unsupported value: %s: supported values: \"All\"", text.data);
    return rest_err_invalid(err, &OPTIONS, "");
}

static int parse(struct neap_call *c, const struct neap_type *type, yyjson_mut_doc **ret,
                 struct neap_err *err)
{
    struct neap_decode_report report = {.arena = c->arena};
    const char *media = c->content_type && *c->content_type ? c->content_type : "application/json";
    struct neap_err why = NEAP_ERR_INIT;
    int rc;
    if (rest_is_media(media, "application/vnd.kubernetes.protobuf")) /* client-go's controllers */
        rc = neap_protobuf_parse(c->arena, c->body, c->body_len, type, ret, &why);
    else if (rest_is_media(media, "application/yaml"))
        rc = neap_yaml_parse(c->arena, c->body, c->body_len, &report, ret, &why);
    else if (rest_is_media(media, "application/json"))
        rc = neap_json_parse(c->arena, c->body, c->body_len, &report, ret, &why);
    else
        return rest_err_unsupported_media(err);
    yyjson_mut_val *root = rc ? NULL : yyjson_mut_doc_get_root(*ret);
    if (!rc && !yyjson_mut_is_obj(root) && !yyjson_mut_is_null(root))
        rc = rest_err_no_kind_in(root, &why);
    if (rc == NEAP_EBADREQUEST)
        neap_err_wrap(&why, "couldn't get version/kind; json parse error");
    return rc ? neap_err_move(err, &why) : 0;
}

static const char *kept(struct neap_call *c, yyjson_mut_val *root, const char *path)
{
    const char *s = neap_json_str_at(root, path);
    return s ? neap_arena_strdup(c->arena, s) : NULL;
}

/* Flattened, as Go reads a query into DeleteOptions. */
static bool from_query(struct neap_call *c)
{
    struct neap_call_options *o = &c->options;
    const char *unsafe = neap_wire_query_get(c->arena, c->query, UNSAFE);
    const char *uid = neap_wire_query_get(c->arena, c->query, "uid");
    if (o->resource_version && *o->resource_version)
        o->precondition_resource_version = o->resource_version;
    if (uid && *uid)
        o->precondition_uid = uid;
    return unsafe && *unsafe && !neap_streq(unsafe, "0") && strcasecmp(unsafe, "false") != 0;
}

static int from_body(struct neap_call *c, yyjson_mut_val *root, bool *unsafe, struct neap_err *err)
{
    struct neap_call_options *o = &c->options;
    yyjson_mut_val *grace = yyjson_mut_obj_get(root, "gracePeriodSeconds");
    yyjson_mut_val *orphan = yyjson_mut_obj_get(root, "orphanDependents");
    const struct {
        const char *path, **to;
    } texts[] = {{"propagationPolicy", &o->propagation_policy},
                 {"preconditions.uid", &o->precondition_uid},
                 {"preconditions.resourceVersion", &o->precondition_resource_version}};
    if (grace)
        o->grace_period_s = yyjson_mut_get_sint(grace);
    if (orphan)
        o->orphan_dependents = yyjson_mut_get_bool(orphan);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(texts); i++) {
        const char *text = kept(c, root, texts[i].path);
        if (text)
            *texts[i].to = text;
    }
    *unsafe |= yyjson_mut_get_bool(yyjson_mut_obj_get(root, UNSAFE));
    return dry_run(c, yyjson_mut_obj_get(root, "dryRun"), err);
}

int rest_delete_options(struct neap_call *c, struct neap_err *err)
{
    bool unsafe = c->internal ? false : from_query(c);
    yyjson_mut_doc *doc = NULL;
    int rc = 0;
    if (c->body_len) {
        const struct neap_type *type =
            neap_type_by_name("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
        rc = parse(c, type, &doc, err);
        if (rc)
            return rc;
        yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
        const char *kind = neap_json_str_at(root, "kind");
        const char *version = neap_json_str_at(root, "apiVersion");
        if (kind && *kind && strcmp(kind, "DeleteOptions") != 0)
            return neap_err_set(err, NEAP_EBADREQUEST,
                                "no kind \"%s\" is registered for version \"%s\" in scheme "
                                "\"pkg/runtime/scheme.go:111\"",
                                kind, version ? version : "");
        rc = type ? neap_kind_decode(doc, root, type, NEAP_FV_IGNORE, NULL, err) : 0;
        rc = rc ? rc : from_body(c, root, &unsafe, err);
    }
    rc = rc ? rc : check_policy(c, err);
    return !rc && unsafe ? refuse_unsafe(c, err) : rc;
}
