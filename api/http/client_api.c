/* The neap_client of neap/client.h over HTTP: requests. Lists and watches for ever: client_reflect.c. */
#include "client_api.h"

enum { ARENA_BYTES = 1 << 20 };

struct api_request {
    struct neap_exchange x; /* first */
    struct neap_list link;  /* of client_api->requests */
    struct neap_request *r;
    struct neap_arena *arena;
    struct neap_header headers[3];
};

/* ---- errors ---- */

static int code_of_reason(const char *reason, int status)
{
    int by_status = 0;
    for (int n = NEAP_ERR_N_BADREQUEST; n <= NEAP_ERR_N_NOSPACE; n++) {
        if (reason && *reason && strcmp(neap_err_reason(-n), reason) == 0)
            return -n;
        if (!by_status && neap_err_http_status(-n) == status)
            by_status = -n;
    }
    return by_status ? by_status : NEAP_EINTERNAL;
}

static const char *text_of(yyjson_val *v, const char *name)
{
    return yyjson_get_str(yyjson_obj_get(v, name));
}

static void add_causes(yyjson_val *causes, struct neap_err *err)
{
    size_t i, max;
    yyjson_val *c;
    yyjson_arr_foreach(causes, i, max, c)
    {
        const char *reason = text_of(c, "reason"), *message = text_of(c, "message");
        neap_err_cause(err, reason ? reason : "", text_of(c, "field"), "%s",
                       message ? message : "");
    }
}

int client_status_error(int status, yyjson_val *body, struct neap_err *err)
{
    const char *message = text_of(body, "message");
    yyjson_val *details = yyjson_obj_get(body, "details");
    uint64_t code = yyjson_get_uint(yyjson_obj_get(body, "code"));
    if (status < 400) /* an ERROR event of a watch */
        status = code >= 400 && code < 600 ? (int)code : 500;
    int rc = code_of_reason(text_of(body, "reason"), status);
    if (message)
        neap_err_set(err, rc, "%s", message);
    else
        neap_err_set(err, rc, "the server answered %d", status);
    add_causes(yyjson_obj_get(details, "causes"), err);
    neap_err_about(err, text_of(details, "group"), text_of(details, "kind"),
                   text_of(details, "name"));
    err->details.retry_after_s = (int)yyjson_get_uint(yyjson_obj_get(details, "retryAfterSeconds"));
    return rc;
}

/* ---- answers ---- */

static void reply_list(struct neap_request *r, yyjson_val *root, struct neap_reply *reply,
                       struct neap_err *err)
{
    yyjson_val *items = yyjson_obj_get(root, "items"), *v;
    const char *revision = text_of(yyjson_obj_get(root, "metadata"), "resourceVersion");
    size_t i, max;
    if (!revision || !neap_parse_u64(revision, UINT64_MAX, &reply->revision))
        reply->revision = 0;
    reply->items = neap_calloc(yyjson_arr_size(items) + 1, sizeof(struct neap_object *));
    yyjson_arr_foreach(items, i, max, v)
    {
        reply->code = neap_object_from_value(r->kind, v, &reply->items[reply->item_count], err);
        if (reply->code)
            return;
        reply->item_count++;
    }
}

/* Reviews, tokens, scales and Statuses are bodies; what is stored under the kind is an object. */
static bool is_object(const struct neap_request *r, yyjson_val *root)
{
    char version[128];
    return r->kind && yyjson_equals_str(yyjson_obj_get(root, "kind"), r->kind->kind) &&
           yyjson_equals_str(yyjson_obj_get(root, "apiVersion"),
                             neap_kind_api_version(r->kind, version)) &&
           text_of(yyjson_obj_get(root, "metadata"), "uid");
}

static void fill_reply(struct neap_request *r, int status, yyjson_val *root,
                       struct neap_reply *reply, struct neap_err *err)
{
    if (status >= 400)
        reply->code = client_status_error(status, root, err);
    else if (r->verb == NEAP_LIST && r->kind)
        reply_list(r, root, reply, err);
    else if (is_object(r, root))
        reply->code = neap_object_from_value(r->kind, root, &reply->object, err);
}

static void request_free(struct api_request *a)
{
    neap_list_remove(&a->link);
    neap_arena_free(a->arena);
    free(a);
}

static void done(struct neap_exchange *x, const struct neap_err *failed, int status,
                 const char *body, size_t body_len)
{
    struct api_request *a = x->data_arg;
    struct neap_request *r = a->r;
    NEAP_CLEANUP_ERR struct neap_err err = NEAP_ERR_INIT;
    struct neap_reply reply = {.status = failed ? 0 : status};
    yyjson_doc *doc = NULL;
    neap_list_remove(&a->link); /* the client may be closed by whom we tell */
    if (failed) {
        reply.code = neap_err_set(&err, failed->code, "%s", failed->message);
    } else {
        doc = yyjson_read(body, body_len, 0);
        fill_reply(r, status, yyjson_doc_get_root(doc), &reply, &err);
        reply.body = body;
        reply.body_len = body_len;
    }
    reply.err = reply.code ? &err : NULL;
    r->done(r, &reply);
    neap_object_unref(reply.object);
    for (size_t i = 0; i < reply.item_count; i++)
        neap_object_unref(reply.items[i]);
    free(reply.items);
    yyjson_doc_free(doc);
    request_free(a);
}

/* ---- requests ---- */

static const char *method_of(const struct neap_request *r)
{
    static const char *const names[] = {
        [NEAP_GET] = "GET",       [NEAP_LIST] = "GET",
        [NEAP_WATCH] = "GET",     [NEAP_CREATE] = "POST",
        [NEAP_UPDATE] = "PUT",    [NEAP_PATCH] = "PATCH",
        [NEAP_DELETE] = "DELETE", [NEAP_DELETECOLLECTION] = "DELETE",
        [NEAP_CONNECT] = "POST",  [NEAP_NONRESOURCE] = "GET"};
    return r->kind ? names[r->verb] : "GET";
}

static const char *type_of(enum neap_patch_type type)
{
    static const char *const names[] = {[NEAP_PATCH_T_NONE] = "application/json",
                                        [NEAP_PATCH_T_JSON] = "application/json-patch+json",
                                        [NEAP_PATCH_T_MERGE] = "application/merge-patch+json",
                                        [NEAP_PATCH_T_STRATEGIC] =
                                            "application/strategic-merge-patch+json",
                                        [NEAP_PATCH_T_APPLY] = "application/apply-patch+yaml"};
    return names[type];
}

static void api_send(struct neap_client *client, struct neap_request *r)
{
    struct client_api *api = client->self;
    struct api_request *a = neap_calloc(1, sizeof(*a));
    a->r = r;
    neap_list_append(&api->requests, &a->link);
    a->arena = neap_arena_new(ARENA_BYTES);
    a->headers[0] = (struct neap_header){"accept", "application/json"};
    if (r->body_len)
        a->headers[1] = (struct neap_header){"content-type", type_of(r->patch_type)};
    const char *path = neap_wire_request_path(a->arena, r);
    a->x =
        (struct neap_exchange){.method = method_of(r),
                               .path = path ? path : "/", /* over the arena: the server says 404 */
                               .headers = a->headers,
                               .body = r->body,
                               .body_len = r->body_len,
                               .timeout_ms = r->timeout_ms,
                               .done = done,
                               .data_arg = a};
    neap_http_client_send(api->http, &a->x);
}

static struct neap_snapshot *api_snapshot(struct neap_client *client)
{
    (void)client;
    return NULL; /* only in process */
}

static void api_close(struct neap_client *client)
{
    struct client_api *api = client->self;
    neap_http_client_close(api->http);
    neap_list_foreach(&api->requests, l)
    {
        request_free(neap_list_entry(l, struct api_request, link));
    }
    free(api);
}

struct neap_client *neap_http_client_api(struct neap_http_client *c)
{
    struct client_api *api = neap_calloc(1, sizeof(*api));
    api->http = c;
    neap_list_init(&api->requests);
    api->client = (struct neap_client){.request = api_send,
                                       .reflect = client_reflect,
                                       .reflect_stop = client_reflect_stop,
                                       .snapshot = api_snapshot,
                                       .close = api_close,
                                       .self = api};
    return &api->client;
}
