/* Method, target and headers -> the request part of a neap_call: see api/wire/wire.h.
 * Source: how kube-apiserver resolves request info (documented under "API concepts": resource URIs). */
#include <api/wire/wire.h>

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#define SEGMENTS_MAX 64

/* ---- percent-decoding ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes into the arena; NULL: malformed, a NUL, or no room. */
static char *decode(struct neap_arena *arena, const char *s, size_t len, bool plus_is_space)
{
    char *out = neap_arena_alloc(arena, len + 1), *p = out;
    if (!out)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '%') {
            bool whole = i + 2 < len;
            int hi = whole ? hex(s[i + 1]) : -1, lo = whole ? hex(s[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return NULL;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (!c)
            return NULL;
        *p++ = c;
    }
    *p = '\0';
    return out;
}

/* ---- query ---- */

static bool next_pair(const char **query, const char **name, size_t *name_len, const char **value,
                      size_t *value_len)
{
    if (!*query || !**query)
        return false;
    const char *end = strchrnul(*query, '&');
    const char *equals = memchr(*query, '=', (size_t)(end - *query));
    *name = *query;
    *name_len = (size_t)((equals ? equals : end) - *query);
    *value = equals ? equals + 1 : end;
    *value_len = (size_t)(end - *value);
    *query = *end ? end + 1 : end;
    return true;
}

const char *neap_wire_query_get(struct neap_arena *arena, const char *query, const char *name)
{
    const char *n, *v;
    size_t n_len, v_len;
    while (next_pair(&query, &n, &n_len, &v, &v_len)) {
        char *decoded = decode(arena, n, n_len, true);
        if (decoded && neap_streq(decoded, name))
            return decode(arena, v, v_len, true);
    }
    return NULL;
}

static int bad_int(struct neap_err *err, const char *value, const char *why)
{
    return neap_err_set(err, NEAP_EBADREQUEST, "strconv.ParseInt: parsing \"%.100s\": %s", value,
                        why);
}

static int parse_int(const char *value, int64_t *ret, struct neap_err *err)
{
    char *end;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    if (!*value || *end || isspace((unsigned char)*value))
        return bad_int(err, value, "invalid syntax");
    if (errno == ERANGE)
        return bad_int(err, value, "value out of range");
    *ret = n;
    return 0;
}

/* Kubernetes' query booleans: "0" and "false" are false, all else that is given is true. */
static bool parse_bool(const char *value)
{
    return !neap_streq(value, "0") && strcasecmp(value, "false") != 0;
}

enum option_type { OPT_STRING, OPT_INT, OPT_BOOL, OPT_TRISTATE };
static const struct {
    const char *name;
    enum option_type type;
    size_t offset;
} option_rows[] = {
#define O(field) offsetof(struct neap_call_options, field)
    {"resourceVersion", OPT_STRING, O(resource_version)},
    {"resourceVersionMatch", OPT_STRING, O(resource_version_match)},
    {"labelSelector", OPT_STRING, O(label_selector)},
    {"fieldSelector", OPT_STRING, O(field_selector)},
    {"continue", OPT_STRING, O(continue_token)},
    {"limit", OPT_INT, O(limit)},
    {"timeoutSeconds", OPT_INT, O(timeout_s)},
    {"allowWatchBookmarks", OPT_BOOL, O(allow_bookmarks)},
    {"sendInitialEvents", OPT_TRISTATE, O(send_initial_events)},
    {"fieldManager", OPT_STRING, O(field_manager)},
    {"force", OPT_TRISTATE, O(force)},
    {"gracePeriodSeconds", OPT_INT, O(grace_period_s)},
    {"propagationPolicy", OPT_STRING, O(propagation_policy)},
    {"orphanDependents", OPT_TRISTATE, O(orphan_dependents)},
#undef O
};

static int set_option(struct neap_call *c, size_t row, const char *value, struct neap_err *err)
{
    char *at = (char *)&c->options + option_rows[row].offset;
    switch (option_rows[row].type) {
    case OPT_STRING:
        memcpy(at, &value, sizeof(value));
        return 0;
    case OPT_INT:
        return parse_int(value, (int64_t *)(void *)at, err);
    case OPT_BOOL:
        *(bool *)at = parse_bool(value);
        return 0;
    case OPT_TRISTATE:
        *(int *)(void *)at = parse_bool(value);
        return 0;
    }
    return 0;
}

static int set_field_validation(struct neap_call *c, const char *value, struct neap_err *err)
{
    static const char *const names[] = {"Ignore", "Warn", "Strict"};
    if (!*value || neap_streq(c->method, "DELETE")) /* a deletion has no such option */
        return 0;
    for (unsigned i = 0; i < NEAP_ARRAY_LEN(names); i++)
        if (neap_streq(value, names[i])) {
            c->options.field_validation = (uint8_t)i;
            return 0;
        }
    return neap_err_cause(
        err, "FieldValueNotSupported", "fieldValidation",
        "Unsupported value: \"%.100s\": supported values: \"\", \"Ignore\", \"Strict\", "
        "\"Warn\"",
        value);
}

/* All values together; one that is not understood must not become a real write. */
static int set_dry_run(struct neap_call *c, struct neap_err *err)
{
    NEAP_CLEANUP_BUF struct neap_buf values = NEAP_BUF_INIT;
    const char *query = c->query, *n, *v;
    size_t n_len, v_len;
    bool ok = true;
    while (next_pair(&query, &n, &n_len, &v, &v_len)) {
        const char *name = decode(c->arena, n, n_len, true);
        const char *value = decode(c->arena, v, v_len, true);
        if (!neap_streq(name, "dryRun") || !value)
            continue;
        ok &= neap_streq(value, "All");
        neap_buf_str(&values, values.len ? "," : "");
        neap_buf_json_string(&values, value, strlen(value));
    }
    c->options.dry_run = true;
    if (ok)
        return 0;
    return neap_err_cause(err, "FieldValueNotSupported", "dryRun",
                          "Unsupported value: [%.200s]: supported values: \"All\"", values.data);
}

/* Parameters that are no row of the table. */
enum {
    SEEN_DRY_RUN = 1u << 28,
    SEEN_WATCH = 1u << 29,
    SEEN_PRETTY = 1u << 30,
    SEEN_VALIDATION = 1u << 31
};

static unsigned first(unsigned *seen, unsigned bit)
{
    bool is_first = !(*seen & bit);
    *seen |= bit;
    return is_first;
}

/* Of a parameter that is given twice the first counts, as in Go. */
static int one_parameter(struct neap_call *c, const char *name, const char *value, bool *watch,
                         unsigned *seen, struct neap_err *err)
{
    if (neap_streq(name, "watch")) {
        *watch = first(seen, SEEN_WATCH) ? parse_bool(value) : *watch;
        return 0;
    }
    if (neap_streq(name, "pretty")) {
        c->options.pretty = first(seen, SEEN_PRETTY) ? parse_bool(value) : c->options.pretty;
        return 0;
    }
    if (neap_streq(name, "dryRun"))
        return first(seen, SEEN_DRY_RUN) ? set_dry_run(c, err) : 0;
    if (neap_streq(name, "fieldValidation"))
        return first(seen, SEEN_VALIDATION) ? set_field_validation(c, value, err) : 0;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(option_rows); i++)
        if (neap_streq(name, option_rows[i].name))
            return first(seen, 1u << i) ? set_option(c, i, value, err) : 0;
    return 0; /* others belong to subresources (log, exec) or to nobody */
}

static int parse_query(struct neap_call *c, bool *watch, struct neap_err *err)
{
    const char *query = c->query, *n, *v;
    size_t n_len, v_len;
    unsigned seen = 0;
    while (next_pair(&query, &n, &n_len, &v, &v_len)) {
        char *name = decode(c->arena, n, n_len, true);
        char *value = decode(c->arena, v, v_len, true);
        if (!name || !value)
            return neap_err_set(err, NEAP_EBADREQUEST, "the query is not well-formed");
        int code = one_parameter(c, name, value, watch, &seen, err);
        if (code)
            return code;
    }
    return 0;
}

/* ---- path ---- */

/* Splits by '/', decodes each segment once. Segments that are "." or "..", or that hold a slash or NUL once
 * decoded, are refused: they would reach other keys (CVE-2022-3162). What lies behind a subresource is
 * the backend's and may hold encoded slashes: <ret_slash_at> is the first segment that does. */
static int split_path(struct neap_call *c, char **segments, unsigned *ret_count,
                      unsigned *ret_slash_at, const char **ret_rest_raw, struct neap_err *err)
{
    unsigned n = 0;
    const char *p = c->path;
    while (*p) {
        while (*p == '/')
            p++;
        if (!*p)
            break;
        const char *end = strchrnul(p, '/');
        if (n == SEGMENTS_MAX)
            return neap_err_set(err, NEAP_EBADREQUEST, "the path has too many segments");
        ret_rest_raw[n] = p;
        char *s = decode(c->arena, p, (size_t)(end - p), false);
        if (!s || neap_streq(s, ".") || neap_streq(s, ".."))
            return neap_err_set(err, NEAP_EBADREQUEST, "the path is not well-formed");
        if (strchr(s, '/') && *ret_slash_at > n)
            *ret_slash_at = n;
        segments[n++] = s;
        p = end;
    }
    *ret_count = n;
    return 0;
}

static bool resource_prefix(char **s, unsigned n, struct neap_call *c, unsigned *at)
{
    if (n >= 3 && neap_streq(s[0], "api")) {
        c->group = "";
        c->version = s[1];
        *at = 2;
        return true;
    }
    if (n >= 4 && neap_streq(s[0], "apis")) {
        c->group = s[1];
        c->version = s[2];
        *at = 3;
        return true;
    }
    return false;
}

/* namespaces/NS/RESOURCE[/NAME[/SUB[/...]]] or RESOURCE[/NAME[/SUB[/...]]]; what lies under a namespace's own
 * status and finalize belongs to the namespace. Returns the first segment of the subpath. */
static unsigned resource_parts(char **s, unsigned n, unsigned at, const char *const *raw,
                               struct neap_call *c)
{
    bool in_namespace = neap_streq(s[at], "namespaces") && at + 2 < n &&
                        !neap_streq(s[at + 2], "status") && !neap_streq(s[at + 2], "finalize");
    if (in_namespace) {
        c->namespace_ = s[at + 1];
        at += 2;
    } else if (neap_streq(s[at], "namespaces") && at + 1 < n) {
        c->namespace_ = s[at + 1]; /* the request is about that namespace */
    }
    c->resource = s[at++];
    c->name = at < n ? s[at++] : NULL;
    c->subresource = at < n ? s[at++] : NULL;
    c->subpath = at < n ? raw[at] - 1 : NULL;
    return at;
}

static int set_verb(struct neap_call *c, bool watch, struct neap_err *err)
{
    static const struct {
        const char *method;
        enum neap_verb named, collection;
    } rows[] = {
        {"GET", NEAP_GET, NEAP_LIST},       {"HEAD", NEAP_GET, NEAP_LIST},
        {"POST", NEAP_CREATE, NEAP_CREATE}, {"PUT", NEAP_UPDATE, NEAP_UPDATE},
        {"PATCH", NEAP_PATCH, NEAP_PATCH},  {"DELETE", NEAP_DELETE, NEAP_DELETECOLLECTION},
        {"OPTIONS", NEAP_GET, NEAP_LIST},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        if (!neap_streq(rows[i].method, c->method))
            continue;
        c->verb = c->name ? rows[i].named : rows[i].collection;
        if (c->verb == NEAP_LIST && watch)
            c->verb = NEAP_WATCH;
        return 0;
    }
    return neap_err_set(err, NEAP_EMETHODNOTALLOWED,
                        "the server does not allow this method on the requested resource");
}

/* The old form /watch/.../NAME watches that one object; of .../NAME?watch=1 the real server takes no notice. */
static void watch_of_one(struct neap_call *c, bool watch)
{
    if (!watch || c->verb != NEAP_GET || c->subresource)
        return;
    c->verb = NEAP_WATCH;
    c->options.field_selector = neap_arena_printf(
        c->arena, "metadata.name=%s%s%s", c->name, c->options.field_selector ? "," : "",
        c->options.field_selector ? c->options.field_selector : "");
    c->name = NULL;
}

static void take_headers(struct neap_call *c, const struct neap_header *headers)
{
    c->headers = headers;
    for (; headers && headers->name; headers++) {
        if (neap_streq(headers->name, "accept"))
            c->accept = headers->value;
        else if (neap_streq(headers->name, "content-type"))
            c->content_type = headers->value;
        else if (neap_streq(headers->name, "user-agent"))
            c->user_agent = headers->value;
    }
}

static bool type_is(const char *content_type, const char *name)
{
    size_t len = strlen(name);
    return content_type && strncasecmp(content_type, name, len) == 0 &&
           (!content_type[len] || strchr("; \t", content_type[len]));
}

static void set_patch_type(struct neap_call *c)
{
    static const struct {
        const char *name;
        enum neap_patch_type type;
    } rows[] = {
        {"application/json-patch+json", NEAP_PATCH_T_JSON},
        {"application/merge-patch+json", NEAP_PATCH_T_MERGE},
        {"application/strategic-merge-patch+json", NEAP_PATCH_T_STRATEGIC},
        {"application/apply-patch+yaml", NEAP_PATCH_T_APPLY},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (type_is(c->content_type, rows[i].name))
            c->patch_type = rows[i].type;
}

int neap_wire_call_parse(struct neap_call *c, const char *method, const char *target,
                         const struct neap_header *headers, struct neap_err *err)
{
    const char *question = strchr(target, '?');
    c->method = method;
    c->path = question ? neap_arena_strndup(c->arena, target, (size_t)(question - target)) : target;
    c->query = question ? question + 1 : NULL;
    take_headers(c, headers);
    if (!c->path || *c->path != '/')
        return neap_err_set(err, NEAP_EBADREQUEST, "the request target must be a path");
    char *segments[SEGMENTS_MAX];
    const char *raw[SEGMENTS_MAX];
    unsigned n = 0, at = 0, slash_at = SEGMENTS_MAX;
    bool watch = false, watch_path = false;
    int code = split_path(c, segments, &n, &slash_at, raw, err);
    if (!code)
        code = parse_query(c, &watch, err);
    if (code)
        return code;
    c->verb = NEAP_NONRESOURCE;
    bool resource = resource_prefix(segments, n, c, &at);
    if (!resource && slash_at == SEGMENTS_MAX)
        return 0;
    if (resource && neap_streq(segments[at], "watch") && at + 1 < n) {
        watch = watch_path = true;
        at++;
    }
    if (!resource || slash_at < resource_parts(segments, n, at, raw, c))
        return neap_err_set(err, NEAP_EBADREQUEST, "the path is not well-formed");
    set_patch_type(c);
    code = set_verb(c, watch, err);
    if (!code)
        watch_of_one(c, watch_path);
    return code;
}

/* ---- a request from inside -> path ---- */

static void put_escaped(struct neap_buf *b, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain =
            (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || strchr("-._~", c);
        if (plain)
            neap_buf_char(b, (char)c);
        else
            neap_buf_printf(b, "%%%02X", c);
    }
}

static void put_parameter(struct neap_buf *b, const char *name, const char *value)
{
    if (!value)
        return;
    neap_buf_char(b, memchr(b->data, '?', b->len) ? '&' : '?');
    neap_buf_str(b, name);
    neap_buf_char(b, '=');
    put_escaped(b, value);
}

static void put_options(struct neap_buf *b, const struct neap_call_options *o)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(option_rows); i++) {
        const char *at = (const char *)o + option_rows[i].offset;
        char number[24];
        const char *value = NULL;
        int64_t n = 0;
        if (option_rows[i].type == OPT_STRING) {
            memcpy(&value, at, sizeof(value));
        } else if (option_rows[i].type == OPT_INT) {
            memcpy(&n, at, sizeof(n));
            size_t offset = option_rows[i].offset;
            bool given = offset == offsetof(struct neap_call_options, limit) ? n > 0
                         : offset == offsetof(struct neap_call_options, grace_period_s)
                             ? n != NEAP_GRACE_UNSET
                             : n >= 0;
            snprintf(number, sizeof(number), "%lld", (long long)n);
            value = given ? number : NULL;
        } else if (option_rows[i].type == OPT_BOOL) {
            value = *(const bool *)at ? "true" : NULL;
        } else {
            int t;
            memcpy(&t, at, sizeof(t));
            value = t < 0 ? NULL : t ? "true" : "false";
        }
        put_parameter(b, option_rows[i].name, value);
    }
    put_parameter(b, "dryRun", o->dry_run ? "All" : NULL);
}

char *neap_wire_request_path(struct neap_arena *arena, const struct neap_request *r)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    if (!r->kind)
        return neap_arena_strdup(arena, r->path);
    neap_buf_printf(&b, *r->kind->group ? "/apis/%s" : "/api%s", r->kind->group);
    neap_buf_printf(&b, "/%s", r->kind->version);
    if (r->kind->namespaced && r->namespace_ && *r->namespace_) {
        neap_buf_str(&b, "/namespaces/");
        put_escaped(&b, r->namespace_);
    }
    neap_buf_printf(&b, "/%s", r->kind->resource);
    if (r->name) {
        neap_buf_char(&b, '/');
        put_escaped(&b, r->name);
    }
    if (r->subresource)
        neap_buf_printf(&b, "/%s", r->subresource);
    put_options(&b, &r->options);
    put_parameter(&b, "watch", r->verb == NEAP_WATCH ? "true" : NULL);
    return neap_arena_strdup(arena, b.data);
}
