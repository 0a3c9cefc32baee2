/* Which subresource or virtual kind goes where. */
#include "special.h"

static void review(struct neap_call *c)
{
    rest_review(c);
}

static const struct {
    const char *group, *resource, *subresource; /* resource NULL: any */
    void (*handle)(struct neap_call *c);
} rows[] = {
    {"", "pods", "binding", rest_binding},
    {"", "bindings", NULL, rest_binding},
    {"", "pods", "eviction", rest_eviction},
    {"", "pods", "log", rest_to_node},
    {"", "pods", "exec", rest_to_node},
    {"", "pods", "attach", rest_to_node},
    {"", "pods", "portforward", rest_to_node},
    {"", "pods", "proxy", rest_to_node},
    {"", "services", "proxy", rest_to_node},
    {"", "nodes", "proxy", rest_to_node},
    {"", "serviceaccounts", "token", rest_token_request},
    {"", "componentstatuses", NULL, rest_component_status},
    {NULL, NULL, "scale", rest_scale},
    {"authentication.k8s.io", NULL, NULL, review},
    {"authorization.k8s.io", NULL, NULL, review},
};

static bool allowed(struct neap_call *c)
{
    struct rest_call *rc = rest_call_of(c);
    unsigned verbs = rc->subresource ? rc->subresource->verbs : c->kind->verbs;
    static const unsigned bits[] = {
        [NEAP_GET] = NEAP_VERB_GET,       [NEAP_LIST] = NEAP_VERB_LIST,
        [NEAP_WATCH] = NEAP_VERB_WATCH,   [NEAP_CREATE] = NEAP_VERB_CREATE,
        [NEAP_UPDATE] = NEAP_VERB_UPDATE, [NEAP_PATCH] = NEAP_VERB_PATCH,
        [NEAP_DELETE] = NEAP_VERB_DELETE, [NEAP_DELETECOLLECTION] = NEAP_VERB_DELETECOLLECTION,
        [NEAP_CONNECT] = NEAP_VERB_CREATE};
    if (c->verb < NEAP_ARRAY_LEN(bits) && (verbs & bits[c->verb]))
        return true;
    rest_not_allowed(c);
    return false;
}

bool rest_special(struct neap_call *c)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        if ((rows[i].group && strcmp(rows[i].group, c->kind->group)) ||
            (rows[i].resource && strcmp(rows[i].resource, c->kind->resource)) ||
            !neap_streq(rows[i].subresource, c->subresource))
            continue;
        if (allowed(c))
            rows[i].handle(c);
        return true;
    }
    return false;
}

void rest_component_status(struct neap_call *c)
{
    if (rest_negotiate(c, false, &c->err)) {
        rest_fail(c);
        return;
    }
    if (c->verb == NEAP_GET) {
        rest_err_not_found(&c->err, c->kind, c->name);
        rest_fail(c);
        return;
    }
    neap_call_warn(c, "v1 ComponentStatus is deprecated in v1.19+");
    neap_buf_str(&c->reply_buf, "{\"kind\":\"ComponentStatusList\",\"apiVersion\":\"v1\","
                                "\"metadata\":{},\"items\":[]}");
    rest_reply_json(c, 200);
}

/* ---- to the node's agent ---- */

void neap_rest_finish(struct neap_call *c)
{
    rest_finish(c);
}

void neap_rest_fail(struct neap_call *c)
{
    rest_fail(c);
}

/* "NAME:PORT", "http:NAME:PORT", "https:NAME:PORT" of a proxied name. */
static void split_name(struct neap_call *c)
{
    char *name = neap_arena_strdup(c->arena, c->name), *colon = name ? strchr(name, ':') : NULL;
    if (!colon)
        return;
    *colon = '\0';
    char *second = strchr(colon + 1, ':');
    if (second) {
        *second = '\0';
        c->proxy_tls = strcmp(name, "https") == 0;
        c->name = colon + 1;
        c->proxy_port = second[1] ? second + 1 : NULL;
    } else {
        c->name = name;
        c->proxy_port = colon[1] ? colon + 1 : NULL;
    }
}

void rest_to_node(struct neap_call *c)
{
    const struct neap_node_proxy *p = rest_of(c)->options.node_proxy;
    bool proxy = strcmp(c->subresource, "proxy") == 0;
    if (proxy)
        split_name(c);
    struct neap_object *o = neap_snapshot_get(rest_pin(c), c->kind, c->namespace_, c->name);
    if (!o) {
        rest_err_not_found(&c->err, c->kind, c->name);
        rest_fail(c);
        return;
    }
    /* reading through these is acting: the write verb is needed as well */
    if (!proxy && strcmp(c->subresource, "log") != 0 && c->verb == NEAP_GET &&
        rest_authorize(c, "create", c->group, c->resource, c->subresource, c->namespace_, c->name,
                       &c->err)) {
        rest_fail(c);
        return;
    }
    if (!p) {
        rest_fail_with(c, NEAP_EUNAVAILABLE, "no connection to nodes is configured");
        return;
    }
    p->handle(p->arg, c, neap_object_ref(o));
}

/* ---- binding ---- */

static int bind_change(struct rest_write *w, struct neap_err *err)
{
    w->applied = true; /* nobody owns a pod's node */
    yyjson_mut_val *binding = w->data;
    const char *node = neap_json_str_at(binding, "target.name");
    const char *kind = neap_json_str_at(binding, "target.kind");
    const char *uid = neap_json_str_at(binding, "metadata.uid");
    const char *old = neap_json_str_at(w->old_root, "spec.nodeName");
    if (kind && *kind && strcmp(kind, "Node") != 0 && strcmp(kind, "Minion") != 0)
        neap_err_cause(err, "FieldValueNotSupported", "target.kind",
                       "Unsupported value: \"%s\": supported values: \"Node\", \"<empty>\"", kind);
    if (!node || !*node)
        neap_err_cause(err, "FieldValueRequired", "target.name", "Required value");
    if (err->code) { /* the real server gives the causes as they are, without a reason */
        char *said = neap_asprintf("%s: %s", err->causes[0].field, err->causes[0].message);
        neap_err_set(err, NEAP_EPLAIN, "%s", said);
        free(said);
        return NEAP_EPLAIN;
    }
    const char *why = NULL;
    char text[320];
    if (uid && *uid && strcmp(uid, neap_object_uid(w->old)) != 0) {
        neap_err_set(err, NEAP_ECONFLICT,
                     "Operation cannot be fulfilled on pods \"%s\": StorageError: invalid object, "
                     "Code: 4, Key: /registry/pods/%s/%s, ResourceVersion: 0, AdditionalErrorMsg: "
                     "Precondition failed: UID in precondition: %s, UID in object meta: %s",
                     w->name, w->namespace_, w->name, uid, neap_object_uid(w->old));
        neap_err_about(err, "", "pods", w->name);
        return NEAP_ECONFLICT;
    }
    if (neap_object_deleting(w->old)) {
        snprintf(text, sizeof(text), "pod %s is being deleted, cannot be assigned to a host",
                 w->name);
        why = text;
    } else if (old && *old) {
        snprintf(text, sizeof(text), "pod %s is already assigned to node \"%s\"", w->name, old);
        why = text;
    } else if (yyjson_mut_arr_size(neap_json_at(w->old_root, "spec.schedulingGates"))) {
        snprintf(text, sizeof(text), "pod %s has non-empty .spec.schedulingGates", w->name);
        why = text;
    }
    if (why) {
        neap_err_set(err, NEAP_ECONFLICT,
                     "Operation cannot be fulfilled on pods/binding \"%s\": %s", w->name, why);
        neap_err_about(err, "", "pods/binding", w->name);
        return NEAP_ECONFLICT;
    }
    w->doc = yyjson_mut_doc_new(neap_arena_alc(w->call->arena));
    w->root = yyjson_mut_val_mut_copy(w->doc, w->old_root);
    neap_json_set_at(w->doc, w->root, "spec.nodeName", yyjson_mut_strcpy(w->doc, node));
    yyjson_mut_obj_iter it =
        yyjson_mut_obj_iter_with(neap_json_at(binding, "metadata.annotations"));
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        if (!neap_json_at(w->root, "metadata.annotations"))
            neap_json_set_at(w->doc, w->root, "metadata.annotations", yyjson_mut_obj(w->doc));
        yyjson_mut_obj_put(neap_json_at(w->root, "metadata.annotations"),
                           yyjson_mut_strcpy(w->doc, yyjson_mut_get_str(k)),
                           yyjson_mut_val_mut_copy(w->doc, yyjson_mut_obj_iter_get_val(k)));
    }
    rest_pod_scheduled(w);
    return 0;
}

static void created_status(struct rest_write *w, struct neap_object *o)
{
    struct neap_call *c = w->call;
    (void)o;
    neap_buf_str(&c->reply_buf, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
                                "\"status\":\"Success\",\"code\":201}");
    rest_reply_json(c, 201);
}

/* The condition PodScheduled, true from now. */
void rest_pod_scheduled(struct rest_write *w)
{
    char now[32];
    yyjson_mut_val *list = neap_json_at(w->root, "status.conditions"), *p = NULL, *e;
    neap_time_format(neap_clock_wall(rest_of(w->call)->options.clock), now);
    if (!list) {
        list = yyjson_mut_arr(w->doc);
        neap_json_set_at(w->doc, w->root, "status.conditions", list);
    }
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    while ((e = yyjson_mut_arr_iter_next(&it)))
        if (neap_streq(neap_json_str_at(e, "type"), "PodScheduled"))
            p = e;
    if (!p) {
        p = yyjson_mut_obj(w->doc);
        yyjson_mut_arr_append(list, p);
    }
    neap_json_set_at(w->doc, p, "type", yyjson_mut_str(w->doc, "PodScheduled"));
    neap_json_set_at(w->doc, p, "status", yyjson_mut_str(w->doc, "True"));
    neap_json_set_at(w->doc, p, "lastTransitionTime", yyjson_mut_strcpy(w->doc, now));
    neap_json_set_at(w->doc, p, "reason", NULL);
    neap_json_set_at(w->doc, p, "message", NULL);
}

void rest_binding(struct neap_call *c)
{
    const struct neap_type *type = neap_type_by_name("io.k8s.api.core.v1.Binding");
    yyjson_mut_doc *doc;
    if (rest_negotiate(c, false, &c->err) ||
        rest_body_object(c, c->kind, type, "Binding", &doc, &c->err)) {
        rest_fail(c);
        return;
    }
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    if (!c->subresource) { /* the old form: a Binding posted by itself */
        c->kind = neap_kind_by_resource("", "v1", "pods");
        c->name = neap_json_str_at(root, "metadata.name");
    }
    const char *said = neap_json_str_at(root, "metadata.name");
    if (c->name && said && *said && strcmp(said, c->name) != 0) {
        rest_fail_with(c, NEAP_EBADREQUEST, "name in URL does not match name in Binding object");
        return;
    }
    struct rest_write *w = rest_write_new(c);
    if (!w || !c->name) {
        rest_fail_with(c, NEAP_EBADREQUEST, "Name parameter required.");
        return;
    }
    w->operation = REST_UPDATE;
    w->change = bind_change;
    w->reply = created_status;
    w->data = root;
    w->binding = true;
    rest_write_start(w);
}
