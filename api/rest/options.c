/* What the query asks of reads: revisions, selectors, contradictions. */
#include "validate/validate.h"

int rest_parse_revision(const char *text, uint64_t *ret, struct neap_err *err)
{
    *ret = 0;
    if (!text || !*text || neap_parse_u64(text, UINT64_MAX, ret))
        return 0;
    return neap_err_set(
        err, NEAP_EPLAIN,
        "resourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing \"%s\": "
        "invalid syntax",
        text, text);
}

static void free_selector(void *s)
{
    neap_selector_free(s);
}

int rest_selector(struct neap_call *c, struct neap_selector **ret, struct neap_err *err)
{
    const char *labels = c->options.label_selector, *fields = c->options.field_selector;
    *ret = NULL;
    if ((!labels || !*labels) && (!fields || !*fields))
        return 0;
    int rc = neap_selector_parse(c->kind, labels, fields, ret, err);
    if (rc)
        return rc;
    if (!neap_arena_defer(c->arena, free_selector, *ret)) {
        *ret = NULL;
        return neap_err_set(err, NEAP_ETOOLARGE, "the selector is too large");
    }
    return 0;
}

static int forbidden(const char *field, const char *text, struct neap_err *err)
{
    return neap_err_cause(err, "FieldValueForbidden", field, "Forbidden: %s", text);
}

static void check_match(const struct neap_call_options *o, bool watch, struct neap_err *err)
{
    const char *match = o->resource_version_match;
    bool initial = watch && o->send_initial_events >= 0;
    if (initial && (!match || !*match)) {
        forbidden("resourceVersionMatch",
                  "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan", err);
        return;
    }
    if (watch && !initial && o->continue_token && *o->continue_token)
        forbidden("resourceVersionMatch",
                  "resourceVersionMatch is forbidden when continue is provided", err);
    if (!match || !*match)
        return;
    if (watch && !initial) {
        forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            err);
        return;
    }
    bool exact = strcmp(match, "Exact") == 0, not_older = strcmp(match, "NotOlderThan") == 0;
    bool version = o->resource_version && *o->resource_version;
    if (watch) {
        if (o->continue_token && *o->continue_token)
            forbidden("resourceVersionMatch",
                      "resourceVersionMatch is forbidden when continue is provided", err);
        if (not_older)
            return;
        forbidden("resourceVersionMatch",
                  "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan", err);
        neap_err_cause(err, "FieldValueNotSupported", "resourceVersionMatch",
                       "Unsupported value: \"%s\": supported values: \"NotOlderThan\"", match);
        return;
    }
    if (!version)
        forbidden("resourceVersionMatch",
                  "resourceVersionMatch is forbidden unless resourceVersion is provided", err);
    if (o->continue_token && *o->continue_token)
        forbidden("resourceVersionMatch",
                  "resourceVersionMatch is forbidden when continue is provided", err);
    if (!exact && !not_older)
        neap_err_cause(
            err, "FieldValueNotSupported", "resourceVersionMatch",
            "Unsupported value: \"%s\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
            match);
    else if (exact && version && strcmp(o->resource_version, "0") == 0)
        forbidden("resourceVersionMatch",
                  "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"", err);
}

int rest_check_list_options(const struct neap_call *c, bool watch, struct neap_err *err)
{
    static const struct neap_kind list_options = {.group = "meta.k8s.io", .kind = "ListOptions"};
    check_match(&c->options, watch, err);
    if (!watch && c->options.send_initial_events >= 0)
        forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list", err);
    if (err->code)
        return rest_err_invalid(err, &list_options, "");
    return 0;
}

/* ---- writes ---------------------------------------------------------------------------------------- */

enum { FIELD_MANAGER_MAX = 128 };

int rest_err_invalid_options(const struct neap_call *c, struct neap_err *err)
{
    static const struct {
        const char *method;
        struct neap_kind kind;
    } rows[] = {{"POST", {.group = "meta.k8s.io", .kind = "CreateOptions"}},
                {"PUT", {.group = "meta.k8s.io", .kind = "UpdateOptions"}},
                {"PATCH", {.group = "meta.k8s.io", .kind = "PatchOptions"}},
                {"DELETE", {.group = "meta.k8s.io", .kind = "DeleteOptions"}}};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (neap_streq(rows[i].method, c->method))
            return rest_err_invalid(err, &rows[i].kind, "");
    return err->code;
}

int rest_check_write_options(const struct neap_call *c, struct neap_err *err)
{
    const char *manager = c->options.field_manager;
    struct rest_validation v = {.err = err};
    path p = AT(NULL, "fieldManager");
    if (!manager || (c->verb != NEAP_CREATE && c->verb != NEAP_UPDATE && c->verb != NEAP_PATCH))
        return 0;
    if (strlen(manager) > FIELD_MANAGER_MAX)
        rest_too_long(&v, p, FIELD_MANAGER_MAX);
    for (size_t i = 0; manager[i]; i++) {
        unsigned char ch = (unsigned char)manager[i];
        if (ch >= 0x20 && ch != 0x7f)
            continue;
        rest_invalid_string(&v, p, manager, "invalid character U+%04X (at position %zu)", ch, i);
        break;
    }
    return err->code ? rest_err_invalid_options(c, err) : 0;
}

/* ---- waiting for a revision ------------------------------------------------------------------------- */

enum { REVISION_WAIT_MS = 3000 };

static void wait_end(struct rest_call *rc)
{
    if (rc->wait)
        neap_registry_wait_cancel(rc->wait);
    rc->wait = NULL;
    rc->wait_timer = neap_timer_close(rc->wait_timer);
    rc->call->on_cancel = NULL;
}

static void wait_reached(void *arg)
{
    struct rest_call *rc = arg;
    rc->wait = NULL;
    wait_end(rc);
    rc->wait_go(rc->call);
}

static void wait_expired(void *arg)
{
    struct rest_call *rc = arg;
    struct neap_call *c = rc->call;
    uint64_t now = neap_registry_revision(rc->rest->options.registry);
    wait_end(rc);
    neap_err_set(&c->err, NEAP_ETIMEOUT, "Too large resource version: %llu, current: %llu",
                 (unsigned long long)rc->wait_revision, (unsigned long long)now);
    char *old = c->err.message;
    c->err.message = neap_asprintf("Timeout: %s", old);
    free(old);
    neap_err_cause(&c->err, "ResourceVersionTooLarge", NULL, "Too large resource version");
    c->err.details.retry_after_s = 1;
    rest_fail(c);
}

static void wait_cancelled(struct neap_call *c)
{
    wait_end(rest_call_of(c));
    rest_fail_with(c, NEAP_ECANCELLED, "the client went away");
}

void rest_wait_revision(struct neap_call *c, uint64_t revision, void (*go)(struct neap_call *c))
{
    struct rest_call *rc = rest_call_of(c);
    struct neap_registry *r = rc->rest->options.registry;
    if (revision <= neap_registry_revision(r)) {
        go(c);
        return;
    }
    rc->wait_go = go;
    rc->wait_revision = revision;
    c->on_cancel = wait_cancelled;
    rc->wait_timer = neap_timer_new(c->loop, wait_expired, rc);
    neap_timer_start(rc->wait_timer, REVISION_WAIT_MS, 0);
    rc->wait = neap_registry_wait(r, revision, c->loop, wait_reached, rc);
}
