/* Request bodies: content type, syntax, the kind they claim to be, decoding. */
#include "internal.h"

static const char UNRECOGNIZED[] = "the object provided is unrecognized (must be of type %s): %s";

bool rest_is_media(const char *content_type, const char *media)
{
    size_t n = strlen(media);
    return strncasecmp(content_type, media, n) == 0 &&
           (content_type[n] == '\0' || content_type[n] == ';' || content_type[n] == ' ');
}

/* The first bytes of a body, for a message: an object as it is, else hexadecimal. */
static void excerpt(struct neap_buf *out, const char *body, size_t len)
{
    if (!len)
        neap_buf_str(out, "<empty>");
    if (len && body[0] == '{') {
        neap_buf_append(out, body, len > 30 ? 30 : len);
        if (len > 30)
            neap_buf_str(out, " ...");
        return;
    }
    for (size_t i = 0; i < len && i < 30; i++)
        neap_buf_printf(out, "%02x", (unsigned char)body[i]);
    if (len > 30)
        neap_buf_str(out, " ...");
}

static int unrecognized(struct neap_call *c, const char *expected, const char *why, bool json,
                        struct neap_err *err)
{
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_printf(&b, "%s%s (", json ? "couldn't get version/kind; json parse error: " : "", why);
    excerpt(&b, c->body ? c->body : "", c->body_len);
    neap_buf_char(&b, ')');
    neap_err_set(err, NEAP_EBADREQUEST, UNRECOGNIZED, expected, b.data);
    neap_buf_done(&b);
    return NEAP_EBADREQUEST;
}

int rest_err_unsupported_media(struct neap_err *err)
{
    return neap_err_set(err, NEAP_EUNSUPPORTEDMEDIATYPE,
                        "the body of the request was in an unknown format - accepted media types "
                        "include: application/json, application/yaml, "
                        "application/vnd.kubernetes.protobuf");
}

int rest_err_no_kind_in(yyjson_mut_val *root, struct neap_err *err)
{
    return neap_err_set(
        err, NEAP_EBADREQUEST,
        "json: cannot unmarshal %s into Go value of type struct { APIVersion string "
        "\"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }",
        neap_json_type_name(root));
}

int rest_body_parse(struct neap_call *c, const char *expected, const struct neap_type *kind_type,
                    struct neap_decode_report *report, yyjson_mut_doc **ret, struct neap_err *err)
{
    const char *type = c->content_type && *c->content_type ? c->content_type : "application/json";
    const char *body = c->body ? c->body : "";
    struct neap_err why = NEAP_ERR_INIT;
    bool yaml = rest_is_media(type, "application/yaml");
    int rc;
    report->arena = c->arena;
    if (yaml)
        rc = neap_yaml_parse(c->arena, body, c->body_len, report, ret, &why);
    else if (rest_is_media(type, "application/json"))
        rc = neap_json_parse(c->arena, body, c->body_len, report, ret, &why);
    else if (rest_is_media(type, "application/vnd.kubernetes.protobuf"))
        rc = neap_protobuf_parse(c->arena, body, c->body_len, kind_type, ret, &why);
    else
        return rest_err_unsupported_media(err);
    if (rc == NEAP_EBADREQUEST) {
        bool json = rest_is_media(type, "application/json");
        rc = unrecognized(c, expected, why.message, json, err);
        neap_err_done(&why);
        return rc;
    }
    if (rc)
        return neap_err_move(err, &why);
    yyjson_mut_val *root = yyjson_mut_doc_get_root(*ret);
    if (yyjson_mut_is_null(root)) { /* Go decodes null into the zero object */
        yyjson_mut_doc_set_root(*ret, yyjson_mut_obj(*ret));
        return 0;
    }
    if (yyjson_mut_is_obj(root))
        return 0;
    rest_err_no_kind_in(root, &why);
    rc = unrecognized(c, expected, why.message, true, err);
    neap_err_done(&why);
    return rc;
}

/* YAML's findings come as one text of several lines: each is a warning. */
static void warn_each(struct neap_call *c, const char *text)
{
    static const char yaml[] = "yaml: unmarshal errors:\n";
    if (!neap_startswith(text, yaml)) {
        neap_call_warn(c, "%s", text);
        return;
    }
    for (const char *line = text + sizeof(yaml) - 1, *end; *line; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        line += strspn(line, " ");
        neap_call_warn(c, "%.*s", (int)(end - line), line);
    }
}

int rest_report_finish(struct neap_call *c, const struct neap_decode_report *report,
                       struct neap_err *err)
{
    if (!report->count || c->options.field_validation == NEAP_FV_IGNORE)
        return 0;
    if (c->options.field_validation != NEAP_FV_STRICT) {
        for (unsigned i = 0; i < report->count; i++)
            warn_each(c, report->unknown[i]);
        return 0;
    }
    struct neap_buf b = NEAP_BUF_INIT;
    for (unsigned i = 0; i < report->count; i++)
        neap_buf_printf(&b, "%s%s", i ? ", " : "", report->unknown[i]);
    neap_err_set(err, NEAP_EBADREQUEST, "strict decoding error: %s", b.data);
    neap_buf_done(&b);
    return NEAP_EBADREQUEST;
}

static int cannot_handle(struct neap_err *err, const char *kind, const char *version,
                         const char *expected, const char *why)
{
    return neap_err_set(err, NEAP_EBADREQUEST, "%s in version \"%s\" cannot be handled as a %s: %s",
                        kind, version, expected, why);
}

/* What the body says it is: it must be what the path wants. */
static int check_kind(struct neap_call *c, yyjson_mut_val *root, const char *group,
                      const char *version, const char *kind, struct neap_err *err)
{
    const char *said_kind = yyjson_mut_get_str(yyjson_mut_obj_get(root, "kind"));
    const char *said = yyjson_mut_get_str(yyjson_mut_obj_get(root, "apiVersion"));
    char want[160], text[512];
    snprintf(want, sizeof(want), "%s%s%s", group, *group ? "/" : "", version);
    if ((!said || !*said || strcmp(said, want) == 0) &&
        (!said_kind || !*said_kind || strcmp(said_kind, kind) == 0))
        return 0;
    (void)c;
    if (!said || !*said)
        said = want;
    if (!said_kind || !*said_kind)
        said_kind = kind;
    const char *slash = strchr(said, '/'), *said_version = slash ? slash + 1 : said;
    char said_group[128];
    snprintf(said_group, sizeof(said_group), "%.*s", slash ? (int)(slash - said) : 0, said);
    if (!neap_kind_by_gvk(said_group, said_version, said_kind))
        snprintf(text, sizeof(text),
                 "no kind \"%s\" is registered for version \"%s\" in scheme "
                 "\"pkg/runtime/scheme.go:111\"",
                 said_kind, said);
    else
        snprintf(text, sizeof(text), "converting (%s.%s) to (%s.%s): unknown conversion",
                 said_version, said_kind, *group ? group : "core", kind);
    return cannot_handle(err, said_kind, said_version, kind, text);
}

static void set_identity(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *group,
                         const char *version, const char *kind)
{
    char api_version[160];
    snprintf(api_version, sizeof(api_version), "%s%s%s", group, *group ? "/" : "", version);
    yyjson_mut_obj_put(root, yyjson_mut_str(doc, "kind"), yyjson_mut_strcpy(doc, kind));
    yyjson_mut_obj_put(root, yyjson_mut_str(doc, "apiVersion"),
                       yyjson_mut_strcpy(doc, api_version));
}

int rest_body_object(struct neap_call *c, const struct neap_kind *kind,
                     const struct neap_type *type, const char *kind_name, yyjson_mut_doc **ret,
                     struct neap_err *err)
{
    const struct neap_subresource *sub = rest_call_of(c)->subresource;
    struct neap_decode_report report = {.arena = c->arena};
    struct neap_err why = NEAP_ERR_INIT;
    const char *group =
        sub && sub->body_version ? (sub->body_group ? sub->body_group : "") : kind->group;
    const char *version = sub && sub->body_version ? sub->body_version : kind->version;
    int rc = rest_body_parse(c, kind_name, type, &report, ret, err);
    if (rc)
        return rc;
    yyjson_mut_val *root = yyjson_mut_doc_get_root(*ret);
    rc = check_kind(c, root, group, version, kind_name, err);
    if (rc)
        return rc;
    rest_call_of(c)->forgets_managers = rest_forgets_managers(root);
    rc = neap_kind_decode(*ret, root, type, c->options.field_validation, &report, &why);
    if (!rc)
        rc = rest_report_finish(c, &report, &why);
    if (rc == NEAP_EBADREQUEST) {
        rc = cannot_handle(err, kind_name, version, kind_name, why.message);
        neap_err_done(&why);
        return rc;
    }
    if (rc)
        return neap_err_move(err, &why);
    set_identity(*ret, root, group, version, kind_name);
    if (neap_arena_exhausted(c->arena))
        return neap_err_set(err, NEAP_ETOOLARGE, "the request is too large to be decoded");
    return 0;
}
