/* Errors become a Status in one place.
 * Source: Kubernetes API conventions, "Response Status Kind"; words asked of the real server. */
#include "internal.h"

static void resource_name(char *out, size_t size, const struct neap_kind *kind)
{
    snprintf(out, size, "%s%s%s", kind->resource, *kind->group ? "." : "", kind->group);
}

void rest_err_empty_details(struct neap_err *err)
{
    neap_err_about(err, "", NULL, NULL); /* a group that is known to be none */
}

int rest_err_not_found(struct neap_err *err, const struct neap_kind *kind, const char *name)
{
    char resource[256];
    resource_name(resource, sizeof(resource), kind);
    neap_err_set(err, NEAP_ENOTFOUND, "%s \"%s\" not found", resource, name);
    neap_err_about(err, kind->group, kind->resource, name);
    return NEAP_ENOTFOUND;
}

int rest_err_conflict_modified(struct neap_err *err, const struct neap_kind *kind, const char *name)
{
    char resource[256];
    resource_name(resource, sizeof(resource), kind);
    neap_err_set(err, NEAP_ECONFLICT,
                 "Operation cannot be fulfilled on %s \"%s\": the object has been modified; please "
                 "apply your changes to the latest version and try again",
                 resource, name);
    neap_err_about(err, kind->group, kind->resource, name);
    return NEAP_ECONFLICT;
}

int rest_err_already_exists(struct neap_err *err, const struct neap_kind *kind, const char *name)
{
    char resource[256];
    resource_name(resource, sizeof(resource), kind);
    neap_err_set(err, NEAP_EALREADYEXISTS, "%s \"%s\" already exists", resource, name);
    neap_err_about(err, kind->group, kind->resource, name);
    return NEAP_EALREADYEXISTS;
}

int rest_err_forbidden(struct neap_err *err, const struct neap_kind *kind, const char *name,
                       const char *text)
{
    char resource[256];
    resource_name(resource, sizeof(resource), kind);
    if (name && *name)
        neap_err_set(err, NEAP_EFORBIDDEN, "%s \"%s\" is forbidden: %s", resource, name, text);
    else
        neap_err_set(err, NEAP_EFORBIDDEN, "%s is forbidden: %s", resource, text);
    neap_err_about(err, kind->group, kind->resource, name && *name ? name : NULL);
    return NEAP_EFORBIDDEN;
}

int rest_err_invalid(struct neap_err *err, const struct neap_kind *kind, const char *name)
{
    struct neap_buf b = NEAP_BUF_INIT;
    for (unsigned i = 0; i < err->cause_count; i++) {
        const struct neap_cause *c = &err->causes[i];
        bool seen = false; /* field errors are a set in the message, a list in the causes */
        for (unsigned j = 0; j < i && !seen; j++)
            seen = neap_streq(err->causes[j].field, c->field) &&
                   neap_streq(err->causes[j].message, c->message);
        if (seen)
            continue;
        neap_buf_printf(&b, "%s%s: %s", b.len ? ", " : "", c->field ? c->field : "<nil>",
                        c->message);
    }
    char title[256];
    if (kind->storage && *kind->kind && !*kind->storage->group)
        kind = kind->storage; /* Events of both groups are the one of the core */
    snprintf(title, sizeof(title), "%s%s%s", kind->kind, *kind->group ? "." : "", kind->group);
    char *old = err->message;
    err->code = NEAP_EINVALID;
    err->message = err->cause_count > 1 ? neap_asprintf("%s \"%s\" is invalid: [%s]", title,
                                                        name ? name : "", b.data)
                                        : neap_asprintf("%s \"%s\" is invalid: %s", title,
                                                        name ? name : "", b.len ? b.data : "");
    free(old);
    neap_err_about(err, kind->group, kind->kind, name);
    neap_buf_done(&b);
    return NEAP_EINVALID;
}

static void member(struct neap_buf *out, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    if (out->data[out->len - 1] != '{')
        neap_buf_char(out, ',');
    neap_buf_printf(out, "\"%s\":", name);
    neap_buf_json_string(out, value, strlen(value));
}

static void write_causes(struct neap_buf *out, const struct neap_err *err)
{
    if (!err->cause_count)
        return;
    if (out->data[out->len - 1] != '{')
        neap_buf_char(out, ',');
    neap_buf_str(out, "\"causes\":[");
    for (unsigned i = 0; i < err->cause_count; i++) {
        neap_buf_str(out, i ? ",{" : "{");
        member(out, "reason", err->causes[i].reason);
        member(out, "message", err->causes[i].message);
        member(out, "field", err->causes[i].field);
        neap_buf_char(out, '}');
    }
    neap_buf_char(out, ']');
}

static void write_details(struct neap_buf *out, const struct neap_err *err)
{
    const struct neap_err_details *d = &err->details;
    if (!d->name && !d->group && !d->kind && !d->uid && !err->cause_count && !d->retry_after_s)
        return;
    neap_buf_str(out, ",\"details\":{");
    member(out, "name", d->name);
    member(out, "group", d->group);
    member(out, "kind", d->kind);
    member(out, "uid", d->uid);
    write_causes(out, err);
    if (d->retry_after_s)
        neap_buf_printf(out, "%s\"retryAfterSeconds\":%d",
                        out->data[out->len - 1] == '{' ? "" : ",", d->retry_after_s);
    neap_buf_char(out, '}');
}

void rest_status_write(struct neap_buf *out, const struct neap_err *err, int http_status,
                       const char *continue_token)
{
    const char *reason = neap_err_reason(err->code), *message = err->message ? err->message : "";
    neap_buf_str(out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{");
    member(out, "continue", continue_token);
    neap_buf_str(out, "},\"status\":\"Failure\",\"message\":");
    neap_buf_json_string(out, message, strlen(message));
    if (*reason)
        neap_buf_printf(out, ",\"reason\":\"%s\"", reason);
    write_details(out, err);
    neap_buf_printf(out, ",\"code\":%d}", http_status);
}

void rest_status_success(struct neap_buf *out, const struct neap_kind *kind, const char *name,
                         const char *uid)
{
    neap_buf_str(out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
                      "\"Success\",\"details\":{");
    member(out, "name", name);
    member(out, "group", kind->group);
    member(out, "kind", kind->resource);
    member(out, "uid", uid);
    neap_buf_str(out, "}}");
}

void neap_rest_refuse(struct neap_call *c)
{
    if (!c->err.code)
        neap_err_set(&c->err, NEAP_EINTERNAL, "no answer was made");
    if (c->err.code == NEAP_EINVALID && c->err.cause_count && !c->err.message)
        rest_err_invalid_options(c, &c->err);
    c->status = neap_err_http_status(c->err.code);
    neap_buf_reset(&c->reply_buf);
    const struct rest_call *rc = c->handler; /* NULL: the transport refuses */
    rest_status_write(&c->reply_buf, &c->err, c->status, rc ? rc->status_continue : NULL);
    neap_buf_char(&c->reply_buf, '\n');
    c->reply = NULL;
    c->reply_len = 0;
    c->object = neap_object_unref(c->object);
    c->reply_type = "application/json";
    if (c->err.details.retry_after_s) {
        struct neap_header *h = neap_arena_calloc(c->arena, 2 * sizeof(*h));
        if (h) {
            h[0].name = "retry-after";
            h[0].value = neap_arena_printf(c->arena, "%d", c->err.details.retry_after_s);
            c->reply_headers = h;
        }
    }
}

void rest_fail(struct neap_call *c)
{
    neap_rest_refuse(c);
    rest_yaml_status(c);
    rest_finish(c);
}

void rest_fail_with(struct neap_call *c, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    neap_err_vset(&c->err, code, fmt, ap);
    va_end(ap);
    rest_fail(c);
}
