/* YAML to a document by libyaml's events. Aliases are copied and so bounded by the arena; a billion laughs
 * runs into it. Scalars resolve as Kubernetes' Go library resolves them (YAML 1.1). */
#include "json_internal.h"
#include <math.h>
#include <yaml.h>

enum { YAML_ANCHORS_MAX = 1024, YAML_NODES_MAX = 1000000 };

struct loader {
    yaml_parser_t parser;
    yyjson_mut_doc *doc;
    struct neap_arena *arena;
    struct neap_decode_report *report;
    struct neap_map anchors; /* name -> value */
    size_t anchor_count, nodes;
    unsigned depth;
    bool duplicates;
    struct neap_err *err;
};

static int fail_parser(struct loader *l)
{
    const yaml_parser_t *p = &l->parser;
    const char *why = p->problem ? p->problem : "cannot be parsed";
    unsigned long line = p->problem_mark.line + 1;
    if (line > 1)
        return neap_err_set(l->err, NEAP_EBADREQUEST, "yaml: line %lu: %s", line, why);
    return neap_err_set(l->err, NEAP_EBADREQUEST, "yaml: %s", why);
}

static int too_large(struct loader *l)
{
    return neap_err_set(l->err, NEAP_ETOOLARGE, "yaml: the document is too large when expanded");
}

static bool one_of(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(s, *words) == 0)
            return true;
    return false;
}

static const char *const yaml_true[] = {"y",    "Y",    "yes", "Yes", "YES", "true",
                                        "True", "TRUE", "on",  "On",  "ON",  NULL};
static const char *const yaml_false[] = {"n",     "N",     "no",  "No",  "NO",  "false",
                                         "False", "FALSE", "off", "Off", "OFF", NULL};
/* What other readers take for numbers that JSON does not have. */
static const char *const yaml_not_finite[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
                                              "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
                                              ".NaN",  ".NAN",  NULL};
static const char *const yaml_null[] = {"", "~", "null", "Null", "NULL", NULL};

static bool parse_integer(const char *s, bool *negative, uint64_t *ret)
{
    *negative = *s == '-';
    if (*s == '-' || *s == '+')
        s++;
    int base = 10;
    if (s[0] == '0' && s[1]) {
        base = s[1] == 'x' ? 16 : s[1] == 'b' ? 2 : 8;
        s += s[1] == 'x' || s[1] == 'b' || s[1] == 'o' ? 2 : 1;
    }
    uint64_t v = 0;
    bool any = false;
    for (; *s; s++) {
        int d = *s >= '0' && *s <= '9'                 ? *s - '0'
                : (*s | 32) >= 'a' && (*s | 32) <= 'f' ? (*s | 32) - 'a' + 10
                                                       : 99;
        if (*s == '_' && any)
            continue;
        if (d >= base || v > (UINT64_MAX - (unsigned)d) / (unsigned)base)
            return false;
        v = v * (unsigned)base + (unsigned)d;
        any = true;
    }
    *ret = v;
    return any;
}

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

/* [-+]?(.digits|digits[.digits])([eE][-+]?digits)? */
static bool is_float(const char *s)
{
    size_t whole, fraction = 0;
    if (*s == '-' || *s == '+')
        s++;
    s += whole = digits(s);
    if (*s == '.')
        s += 1 + (fraction = digits(s + 1));
    if (!whole && !fraction)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        if (*s == '-' || *s == '+')
            s++;
        if (!digits(s))
            return false;
        s += digits(s);
    }
    return !*s;
}

/* What a plain scalar means. */
static yyjson_mut_val *resolve(struct loader *l, const char *s, size_t len)
{
    bool negative;
    uint64_t u;
    if (memchr(s, '\0', len))
        return yyjson_mut_strncpy(l->doc, s, len);
    if (one_of(s, yaml_null))
        return yyjson_mut_null(l->doc);
    if (one_of(s, yaml_true))
        return yyjson_mut_bool(l->doc, true);
    if (one_of(s, yaml_false))
        return yyjson_mut_bool(l->doc, false);
    if (parse_integer(s, &negative, &u)) {
        if (!negative)
            return yyjson_mut_uint(l->doc, u);
        if (u <= (uint64_t)INT64_MAX + 1)
            return yyjson_mut_sint(l->doc, (int64_t)(0 - u));
    }
    if (is_float(s)) {
        double d = strtod(s, NULL);
        if (isfinite(d))
            return yyjson_mut_real(l->doc, d);
    }
    return yyjson_mut_strncpy(l->doc, s, len);
}

static yyjson_mut_val *scalar(struct loader *l, const yaml_event_t *e)
{
    const char *s = (const char *)e->data.scalar.value, *tag = (const char *)e->data.scalar.tag;
    if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || (tag && strcmp(tag, YAML_STR_TAG) == 0))
        return yyjson_mut_strncpy(l->doc, s, e->data.scalar.length);
    return resolve(l, s, e->data.scalar.length);
}

static int node(struct loader *l, yaml_event_t *e, yyjson_mut_val **ret);

static int next(struct loader *l, yaml_event_t *e)
{
    if (!yaml_parser_parse(&l->parser, e))
        return fail_parser(l);
    return 0;
}

static int sequence(struct loader *l, yyjson_mut_val *arr)
{
    for (;;) {
        yaml_event_t e;
        yyjson_mut_val *v = NULL;
        int rc = next(l, &e);
        if (rc)
            return rc;
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return 0;
        }
        if ((rc = node(l, &e, &v)))
            return rc;
        if (!yyjson_mut_arr_append(arr, v))
            return too_large(l);
    }
}

/* A key as JSON knows it: a scalar's text. */
static int key_text(struct loader *l, yyjson_mut_val *k, yyjson_mut_val **ret)
{
    if (yyjson_mut_is_str(k)) {
        *ret = k;
        return 0;
    }
    if (yyjson_mut_is_ctn(k))
        return neap_err_set(l->err, NEAP_EBADREQUEST, "yaml: line %zu: invalid map key",
                            l->parser.mark.line + 1);
    struct neap_buf b = NEAP_BUF_INIT;
    neap_json_write_sorted(&b, k);
    *ret = yyjson_mut_strncpy(l->doc, b.data, b.len);
    neap_buf_done(&b);
    return 0;
}

static void put_pair(struct loader *l, yyjson_mut_val *obj, yyjson_mut_val *k, yyjson_mut_val *v,
                     struct neap_map *seen, size_t line)
{
    if (neap_map_setn(seen, yyjson_mut_get_str(k), yyjson_mut_get_len(k), obj)) {
        l->duplicates = true;
        if (l->report && l->report->arena)
            neap_json_report(l->report,
                             neap_arena_printf(l->report->arena,
                                               "yaml: unmarshal errors:\n  line %zu: key \"%s\" "
                                               "already set in map",
                                               line, yyjson_mut_get_str(k)));
    }
    yyjson_mut_obj_add(obj, k, v);
}

static int mapping(struct loader *l, yyjson_mut_val *obj)
{
    struct neap_map seen = NEAP_MAP_INIT;
    int rc = 0;
    for (;;) {
        yaml_event_t e;
        yyjson_mut_val *k = NULL, *v = NULL, *text = NULL;
        if ((rc = next(l, &e)))
            break;
        if (e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            break;
        }
        size_t line = e.start_mark.line + 1;
        if ((rc = node(l, &e, &k)) || (rc = key_text(l, k, &text)) || (rc = next(l, &e)) ||
            (rc = node(l, &e, &v)))
            break;
        if (!text || !v) {
            rc = too_large(l);
            break;
        }
        put_pair(l, obj, text, v, &seen, line);
    }
    neap_map_done(&seen, NULL);
    return rc;
}

static int too_deep(struct loader *l)
{
    return neap_err_set(l->err, NEAP_EBADREQUEST, "yaml: exceeded max depth of %d",
                        NEAP_JSON_DEPTH_MAX);
}

static int alias(struct loader *l, const char *name, yyjson_mut_val **ret)
{
    yyjson_mut_val *v = neap_map_get(&l->anchors, name);
    if (!v)
        return neap_err_set(l->err, NEAP_EBADREQUEST, "yaml: unknown anchor '%s' referenced", name);
    /* an alias inside an anchor inside an alias: each alone is within the bound */
    if (neap_json_deeper_than(v, NEAP_JSON_DEPTH_MAX - l->depth))
        return too_deep(l);
    *ret = yyjson_mut_val_mut_copy(l->doc, v);
    return *ret ? 0 : too_large(l);
}

static int remember(struct loader *l, const char *anchor, yyjson_mut_val *v)
{
    if (!anchor)
        return 0;
    if (++l->anchor_count > YAML_ANCHORS_MAX)
        return neap_err_set(l->err, NEAP_EBADREQUEST, "yaml: more than %d anchors",
                            YAML_ANCHORS_MAX);
    neap_map_set(&l->anchors, anchor, v);
    return 0;
}

static int collection(struct loader *l, yaml_event_t *e, yyjson_mut_val **ret)
{
    bool is_map = e->type == YAML_MAPPING_START_EVENT;
    char *anchor = (char *)(is_map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor);
    char *name = anchor ? neap_strdup(anchor) : NULL;
    int rc;
    *ret = is_map ? yyjson_mut_obj(l->doc) : yyjson_mut_arr(l->doc);
    if (!*ret)
        rc = too_large(l);
    else if (++l->depth > NEAP_JSON_DEPTH_MAX)
        rc = too_deep(l);
    else
        rc = is_map ? mapping(l, *ret) : sequence(l, *ret);
    l->depth--;
    /* known only once complete: an alias inside its own anchor is unknown, never a cycle */
    if (!rc)
        rc = remember(l, name, *ret);
    free(name);
    return rc;
}

/* Takes <e>. */
static int node(struct loader *l, yaml_event_t *e, yyjson_mut_val **ret)
{
    int rc;
    if (++l->nodes > YAML_NODES_MAX) {
        rc = too_large(l);
    } else if (e->type == YAML_SCALAR_EVENT) {
        *ret = scalar(l, e);
        rc = *ret ? remember(l, (const char *)e->data.scalar.anchor, *ret) : too_large(l);
    } else if (e->type == YAML_ALIAS_EVENT) {
        rc = alias(l, (const char *)e->data.alias.anchor, ret);
    } else if (e->type == YAML_MAPPING_START_EVENT || e->type == YAML_SEQUENCE_START_EVENT) {
        rc = collection(l, e, ret);
    } else {
        rc = neap_err_set(l->err, NEAP_EBADREQUEST, "yaml: unexpected end of document");
    }
    yaml_event_delete(e);
    return rc;
}

static int load(struct loader *l)
{
    yyjson_mut_val *root = NULL;
    for (;;) {
        yaml_event_t e;
        int rc = next(l, &e);
        if (rc)
            return rc;
        bool end = e.type == YAML_STREAM_END_EVENT || (root && e.type == YAML_DOCUMENT_START_EVENT);
        if (end || e.type == YAML_STREAM_START_EVENT || e.type == YAML_DOCUMENT_START_EVENT ||
            e.type == YAML_DOCUMENT_END_EVENT) {
            yaml_event_delete(&e);
            if (end)
                break;
            continue;
        }
        if ((rc = node(l, &e, &root)))
            return rc;
    }
    if (l->duplicates) /* the last one wins, as in JSON */
        neap_json_dedupe(NULL, root);
    yyjson_mut_doc_set_root(l->doc, root ? root : yyjson_mut_null(l->doc));
    return 0;
}

int neap_yaml_parse(struct neap_arena *arena, const char *yaml, size_t len,
                    struct neap_decode_report *report, yyjson_mut_doc **ret, struct neap_err *err)
{
    struct loader l = {.arena = arena, .report = report, .err = err};
    l.doc = yyjson_mut_doc_new(neap_arena_alc(arena));
    if (!l.doc || !yaml_parser_initialize(&l.parser))
        return neap_err_set(err, NEAP_ETOOLARGE, "the request is too large to be decoded");
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)yaml, len);
    int rc = load(&l);
    yaml_parser_delete(&l.parser);
    neap_map_done(&l.anchors, NULL);
    *ret = rc ? NULL : l.doc;
    return rc;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Controls of Unicode (C1, line separators, the byte order mark, what is no character): they break lines
 * or are refused when they stand as they are. Their code and length, or 0. */
static unsigned special_sequence(const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *)s;
    unsigned code = 0;
    if (len >= 2 && u[0] == 0xc2 && u[1] < 0xa0)
        return u[1];
    if (len >= 3 && (u[0] == 0xe2 || u[0] == 0xef))
        code = (u[0] & 0xfu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
    return code == 0x2028 || code == 0x2029 || code == 0xfeff || code >= 0xfffe ? code : 0;
}

/* A double-quoted scalar: a JSON string, with what YAML refuses escaped. */
static void write_quoted(struct neap_buf *out, const char *s, size_t len)
{
    struct neap_buf json = NEAP_BUF_INIT;
    neap_buf_json_string(&json, s, len);
    size_t from = 0;
    for (size_t i = 0; i < json.len; i++) {
        unsigned code = json.data[i] == 127 ? 127 : special_sequence(json.data + i, json.len - i);
        if (!code)
            continue;
        neap_buf_append(out, json.data + from, i - from);
        neap_buf_printf(out, "\\u%04x", code);
        i += code == 127 ? 0 : code < 0x800 ? 1 : 2;
        from = i + 1;
    }
    neap_buf_append(out, json.data + from, json.len - from);
    neap_buf_done(&json);
}

/* A plain scalar that would be read back as something else needs quotes; so does what YAML's syntax takes. */
static bool needs_quotes(const char *s, size_t len)
{
    bool negative;
    uint64_t u;
    if (one_of(s, yaml_null) || one_of(s, yaml_true) || one_of(s, yaml_false) ||
        one_of(s, yaml_not_finite) || parse_integer(s, &negative, &u) || strlen(s) != len)
        return true;
    if (strncmp(s, "...", 3) == 0) /* at the start of a line it ends the document */
        return true;
    /* numbers, and what other readers take for times */
    if ((*s >= '0' && *s <= '9') || is_float(s))
        return true;
    if (strchr("!&*-?|>@`%{}[],#:'\"= \t~<", s[0]) || s[len - 1] == ' ' || s[len - 1] == ':')
        return true;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 32 || c == 127 || special_sequence(s + i, len - i) ||
            (c == ':' && s[i + 1] == ' ') || (c == '#' && s[i - 1] == ' '))
            return true;
    }
    return false;
}

static void indent(struct neap_buf *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        neap_buf_str(out, "  ");
}

static bool literal_ok(const char *s, size_t len)
{
    if (!memchr(s, '\n', len) || s[0] == ' ' || s[0] == '\n')
        return false;
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)s[i] < 32 && s[i] != '\n') || s[i] == 127 ||
            special_sequence(s + i, len - i) || (s[i] == ' ' && (s[i + 1] == '\n' || i + 1 == len)))
            return false;
    return true;
}

static void write_literal(struct neap_buf *out, const char *s, size_t len, unsigned depth)
{
    const char *end = s + len;
    neap_buf_char(out, '|');
    if (end[-1] != '\n')
        neap_buf_char(out, '-');
    else if (len > 1 && end[-2] == '\n')
        neap_buf_char(out, '+');
    neap_buf_char(out, '\n');
    while (s < end) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        const char *stop = nl ? nl : end;
        if (stop > s)
            indent(out, depth);
        neap_buf_append(out, s, (size_t)(stop - s));
        neap_buf_char(out, '\n');
        s = stop + 1;
    }
}

static void write_value(struct neap_buf *out, yyjson_mut_val *v, unsigned depth, bool in_list);

static void write_string(struct neap_buf *out, const char *s, size_t len, unsigned depth)
{
    if (len && literal_ok(s, len)) {
        write_literal(out, s, len, depth ? depth : 1);
        return;
    }
    if (needs_quotes(s, len))
        write_quoted(out, s, len);
    else
        neap_buf_append(out, s, len);
    neap_buf_char(out, '\n');
}

static int key_order(const void *a, const void *b)
{
    return strcmp(yyjson_mut_get_str(*(yyjson_mut_val *const *)a),
                  yyjson_mut_get_str(*(yyjson_mut_val *const *)b));
}

static void write_map(struct neap_buf *out, yyjson_mut_val *v, unsigned depth, bool in_list)
{
    size_t n = yyjson_mut_obj_size(v), i = 0;
    yyjson_mut_val **keys = neap_malloc((n + 1) * sizeof(*keys));
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));)
        keys[i++] = k;
    qsort(keys, n, sizeof(*keys), key_order);
    for (i = 0; i < n; i++) {
        if (i || !in_list)
            indent(out, depth);
        const char *key = yyjson_mut_get_str(keys[i]);
        size_t len = yyjson_mut_get_len(keys[i]);
        if (needs_quotes(key, len) || len == 0)
            write_quoted(out, key, len);
        else
            neap_buf_append(out, key, len);
        neap_buf_char(out, ':');
        write_value(out, yyjson_mut_obj_iter_get_val(keys[i]), depth, false);
    }
    free(keys);
}

static void write_list(struct neap_buf *out, yyjson_mut_val *v, unsigned depth)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        indent(out, depth);
        neap_buf_char(out, '-');
        write_value(out, e, depth, true);
    }
}

/* Behind "key:" or "-": what follows on the line, or on those below. */
static void write_value(struct neap_buf *out, yyjson_mut_val *v, unsigned depth, bool in_list)
{
    bool map = yyjson_mut_is_obj(v), list = yyjson_mut_is_arr(v);
    if (map && yyjson_mut_obj_size(v)) {
        neap_buf_char(out, in_list ? ' ' : '\n');
        write_map(out, v, depth + 1, in_list);
    } else if (list && yyjson_mut_arr_size(v)) {
        neap_buf_char(out, '\n');
        write_list(out, v, depth + in_list);
    } else if (map || list) {
        neap_buf_str(out, map ? " {}\n" : " []\n");
    } else if (yyjson_mut_is_str(v)) {
        neap_buf_char(out, ' ');
        write_string(out, yyjson_mut_get_str(v), yyjson_mut_get_len(v), depth + 1);
    } else {
        neap_buf_char(out, ' ');
        neap_json_write_sorted(out, v);
        neap_buf_char(out, '\n');
    }
}

void neap_yaml_write(struct neap_buf *out, yyjson_mut_val *v)
{
    if (yyjson_mut_is_obj(v) && yyjson_mut_obj_size(v)) {
        write_map(out, v, 0, false);
    } else if (yyjson_mut_is_arr(v) && yyjson_mut_arr_size(v)) {
        write_list(out, v, 0);
    } else if (yyjson_mut_is_str(v)) {
        write_string(out, yyjson_mut_get_str(v), yyjson_mut_get_len(v), 0);
    } else {
        neap_json_write_sorted(out, v);
        neap_buf_char(out, '\n');
    }
}
