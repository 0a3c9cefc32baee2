/* Server-side apply (PATCH application/apply-patch+yaml), and managedFields of every other write.
 * Source: Kubernetes documentation, "Server-Side Apply"; words asked of the real server. */
#include "internal.h"

#include <neap/apply.h>

enum { MANAGER_MAX = 128 };

/* The option, or what stands before the first '/' of the user agent. */
static const char *manager_of(struct neap_call *c)
{
    const char *given = c->options.field_manager, *agent = c->user_agent ? c->user_agent : "";
    if (given && *given)
        return given;
    size_t n = strcspn(agent, "/");
    const char *name = neap_arena_strndup(c->arena, agent, n < MANAGER_MAX ? n : MANAGER_MAX);
    return name ? name : "";
}

static struct neap_apply_write describe(struct rest_write *w)
{
    struct neap_call *c = w->call;
    return (struct neap_apply_write){.kind = w->kind,
                                     .manager = manager_of(c),
                                     .subresource =
                                         w->subresource ? w->subresource->name : w->managed_as,
                                     .now_ns = neap_clock_wall(rest_of(c)->options.clock),
                                     .forget = w->forget_managers,
                                     .force = c->options.force == 1};
}

bool rest_forgets_managers(yyjson_mut_val *root)
{
    yyjson_mut_val *list = neap_json_at(root, "metadata.managedFields");
    return list && yyjson_mut_is_arr(list) && yyjson_mut_arr_size(list) == 0;
}

void rest_managed(struct rest_write *w)
{
    struct neap_apply_write a = describe(w);
    if (w->applied)
        return;
    neap_managed_update(rest_attempt_arena(w), &a, w->doc, w->old_root, w->root);
}

void rest_managed_review(struct neap_call *c, yyjson_mut_doc *doc, yyjson_mut_val *root)
{
    struct rest_write w = {.call = c, .kind = c->kind};
    struct neap_apply_write a = describe(&w);
    neap_managed_update(c->arena, &a, doc, NULL, root);
}

/* ---- apply ---- */

struct apply {
    yyjson_mut_doc *doc;
    yyjson_mut_val *config;
};

static int check_meta(struct rest_write *w, yyjson_mut_val *config, struct neap_err *err)
{
    const char *uid = neap_json_str_at(config, "metadata.uid");
    const char *version = neap_json_str_at(config, "metadata.resourceVersion");
    const char *name = neap_json_str_at(config, "metadata.name"),
               *ns = neap_json_str_at(config, "metadata.namespace");
    char current[24];
    if (!name || !*name)
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "the name of the object (%s based on URL) was undeterminable: name "
                            "must be provided",
                            w->name);
    if (strcmp(name, w->name) != 0)
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "the name of the object (%s) does not match the name on the URL (%s)",
                            name, w->name);
    if (ns && *ns && !neap_streq(ns, w->namespace_))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "the namespace of the provided object does not match the namespace "
                            "sent on the request");
    if (!w->old) {
        if (uid && *uid) {
            neap_err_set(err, NEAP_ECONFLICT,
                         "Operation cannot be fulfilled on %s%s%s \"%s\": uid mismatch: the "
                         "provided object specified "
                         "uid %s, and no existing object was found",
                         w->kind->resource, *w->kind->group ? "." : "", w->kind->group, w->name,
                         uid);
            neap_err_about(err, w->kind->group, w->kind->resource, w->name);
        }
        return err->code;
    }
    snprintf(current, sizeof(current), "%llu", (unsigned long long)neap_object_revision(w->old));
    if ((version && *version && strcmp(version, current) != 0) ||
        (uid && *uid && strcmp(uid, neap_object_uid(w->old)) != 0))
        return rest_err_conflict_modified(err, w->kind, w->name);
    return 0;
}

static int change(struct rest_write *w, struct neap_err *err)
{
    struct neap_call *c = w->call;
    struct apply *p = w->data;
    struct neap_apply_write a = describe(w);
    struct neap_decode_report report = {.arena = c->arena};
    w->doc = rest_attempt_doc(w);
    w->applied = true;
    int rc = check_meta(w, p->config, err);
    if (rc)
        return rc;
    yyjson_mut_val *config = yyjson_mut_val_mut_copy(w->doc, p->config);
    rc = neap_apply(rest_attempt_arena(w), &a, w->doc, w->old_root, config, &w->root, NULL, err);
    if (rc)
        return rc;
    rc =
        neap_kind_decode(w->doc, w->root, w->kind->type, c->options.field_validation, &report, err);
    if (!rc)
        rc = rest_report_finish(c, &report, err);
    if (!rc && !neap_json_str_at(w->root, "metadata.name"))
        neap_json_set_at(w->doc, w->root, "metadata.name", yyjson_mut_strcpy(w->doc, w->name));
    return rc;
}

static int check_options(struct neap_call *c, struct neap_err *err)
{
    static const struct neap_kind options = {.group = "meta.k8s.io", .kind = "PatchOptions"};
    const char *manager = c->options.field_manager;
    if (!manager || !*manager)
        neap_err_cause(err, "FieldValueRequired", "fieldManager",
                       "Required value: is required for apply patch");
    return err->code ? rest_err_invalid(err, &options, "") : 0;
}

static int check_body(struct neap_call *c, struct apply *p, const char *want_kind, const char *want,
                      struct neap_err *err)
{
    const char *kind = neap_json_str_at(p->config, "kind"),
               *version = neap_json_str_at(p->config, "apiVersion");
    if (!yyjson_mut_is_obj(p->config) && !yyjson_mut_is_null(p->config))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "error decoding patch: error unmarshaling JSON: while decoding JSON: "
                            "json: cannot unmarshal %s into Go value of type map[string]interface "
                            "{}",
                            neap_json_type_name(p->config));
    if (want_kind && (!neap_streq(kind, want_kind) || !neap_streq(version, want)))
        return neap_err_set(err, NEAP_EBADREQUEST, "invalid object type: %s%s, Kind=%s",
                            version && strchr(version, '/') ? "" : "/", version ? version : "",
                            kind ? kind : "");
    return 0;
}

static int parse_config(struct neap_call *c, struct neap_decode_report *report,
                        yyjson_mut_doc **ret)
{
    int rc = neap_yaml_parse(c->arena, c->body ? c->body : "", c->body_len, report, ret, &c->err);
    if (rc == NEAP_EBADREQUEST)
        neap_err_wrap(&c->err, "error encoding patch");
    return rc;
}

/* Options and body; NULL: <c> is answered. */
static struct rest_write *begin(struct neap_call *c, const char *want_kind, const char *want)
{
    struct rest_write *w = rest_write_new(c);
    struct apply *p = neap_arena_calloc(c->arena, sizeof(*p));
    struct neap_decode_report report = {.arena = c->arena};
    if (!w || !p) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return NULL;
    }
    if (rest_negotiate(c, true, &c->err) || check_options(c, &c->err) ||
        parse_config(c, &report, &p->doc) || rest_report_finish(c, &report, &c->err)) {
        rest_fail(c);
        return NULL;
    }
    p->config = yyjson_mut_doc_get_root(p->doc);
    if (check_body(c, p, want_kind, want, &c->err)) {
        rest_fail(c);
        return NULL;
    }
    w->operation = REST_UPDATE;
    w->change = change;
    w->data = p;
    return w;
}

void rest_apply(struct neap_call *c)
{
    char version[128];
    neap_kind_api_version(c->kind, version);
    struct rest_write *w = begin(c, rest_call_of(c)->subresource ? NULL : c->kind->kind, version);
    if (!w)
        return;
    w->may_create = !w->subresource;
    rest_write_start(w);
}

/* What a Scale says of its object: the names, the preconditions, spec.replicas. */
static yyjson_mut_val *config_of_scale(yyjson_mut_doc *doc, const struct neap_kind *kind,
                                       yyjson_mut_val *scale)
{
    static const char *const kept[] = {"metadata.name", "metadata.namespace", "metadata.uid",
                                       "metadata.resourceVersion", "spec.replicas"};
    yyjson_mut_val *config = yyjson_mut_obj(doc), *v;
    char version[128];
    neap_kind_api_version(kind, version);
    neap_json_set_at(doc, config, "apiVersion", yyjson_mut_strcpy(doc, version));
    neap_json_set_at(doc, config, "kind", yyjson_mut_str(doc, kind->kind));
    for (size_t i = 0; i < NEAP_ARRAY_LEN(kept); i++)
        if ((v = neap_json_at(scale, kept[i])))
            neap_json_set_at(doc, config, kept[i], yyjson_mut_val_mut_copy(doc, v));
    return config;
}

void rest_apply_scale(struct neap_call *c,
                      void (*reply)(struct rest_write *w, struct neap_object *o))
{
    struct rest_write *w = begin(c, "Scale", "autoscaling/v1");
    if (!w)
        return;
    struct apply *p = w->data;
    const struct neap_type *type = neap_type_by_name("io.k8s.api.autoscaling.v1.Scale");
    struct neap_decode_report report = {.arena = c->arena};
    if (neap_kind_decode(p->doc, p->config, type, c->options.field_validation, &report, &c->err) ||
        rest_report_finish(c, &report, &c->err)) {
        rest_fail(c);
        return;
    }
    p->config = config_of_scale(p->doc, c->kind, p->config);
    w->subresource = NULL;
    w->managed_as = "scale";
    w->reply = reply;
    rest_write_start(w);
}
