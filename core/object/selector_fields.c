/* The string form of field selectors: `path=value,path!=value`, with \ before , = \ in values.
 * Source: Kubernetes "Field Selectors"; error texts from recorded answers. */
#include "core/object/object_internal.h"

/* Length of the term that starts at <s>: up to an unescaped comma. */
static size_t term_len(const char *s)
{
    size_t n = 0;
    while (s[n] && s[n] != ',') {
        if (s[n] == '\\' && s[n + 1])
            n++;
        n++;
    }
    return n;
}

struct term {
    struct neap_text path, value;
    bool not_equal;
};

static bool split(struct neap_text t, struct term *ret)
{
    static const struct {
        const char *text;
        size_t len;
        bool not_equal;
    } ops[] = {{"!=", 2, true}, {"==", 2, false}, {"=", 1, false}};
    for (size_t i = 0; i < t.len; i++) {
        if (t.s[i] == '\\') {
            i++;
            continue;
        }
        for (unsigned o = 0; o < NEAP_ARRAY_LEN(ops); o++) {
            if (t.len - i < ops[o].len || memcmp(t.s + i, ops[o].text, ops[o].len) != 0)
                continue;
            *ret = (struct term){
                {t.s, i}, {t.s + i + ops[o].len, t.len - i - ops[o].len}, ops[o].not_equal};
            return true;
        }
    }
    return false;
}

static int unescape(struct neap_text v, struct neap_buf *out, struct neap_err *err)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.s[i];
        if (c == '\\') {
            c = ++i < v.len ? v.s[i] : '\0';
            if (c != '\\' && c != ',' && c != '=')
                return neap_err_set(err, NEAP_EBADREQUEST,
                                    "invalid field selector: invalid escape sequence: \\%.*s",
                                    c ? 1 : 0, &c);
        } else if (c == ',' || c == '=') {
            return neap_err_set(err, NEAP_EBADREQUEST,
                                "invalid field selector: unescaped character in value: %d", c);
        }
        neap_buf_char(out, c);
    }
    neap_buf_append(out, "", 0);
    return 0;
}

static int selectable_index(const struct neap_kind *k, struct neap_text path)
{
    for (unsigned i = 0; i < k->selectable_count; i++)
        if (strlen(k->selectable[i].path) == path.len &&
            memcmp(k->selectable[i].path, path.s, path.len) == 0)
            return (int)i;
    return -1;
}

/* Objects carry the values of their storage version's fields; another version may have them under another
 * name and in another order: <from> is the path in the stored object. */
static int storage_index(const struct neap_kind *k, struct neap_text path)
{
    int i = selectable_index(k, path);
    if (i < 0 || !k->storage || k->storage == k)
        return i;
    const struct neap_selectable *f = &k->selectable[i];
    const char *stored = f->from ? f->from : f->path;
    return selectable_index(k->storage, (struct neap_text){stored, strlen(stored)});
}

static int find_field(const struct neap_kind *kind, struct neap_text path, int *ret,
                      struct neap_err *err)
{
    static const char name[] = "metadata.name", ns[] = "metadata.namespace";
    bool own = kind->selectable_count > 0; /* its own list of fields: other words */
    *ret = storage_index(kind, path);
    if (*ret >= 0)
        return 0;
    if (path.len == sizeof(name) - 1 && memcmp(path.s, name, path.len) == 0) {
        *ret = NEAP_FIELD_NAME;
        return 0;
    }
    if (path.len == sizeof(ns) - 1 && memcmp(path.s, ns, path.len) == 0 &&
        (kind->namespaced || !own)) {
        *ret = NEAP_FIELD_NAMESPACE;
        return 0;
    }
    if (own)
        return neap_err_set(err, NEAP_EBADREQUEST, "field label not supported: %.*s", (int)path.len,
                            path.s);
    NEAP_CLEANUP_BUF struct neap_buf quoted = NEAP_BUF_INIT;
    neap_buf_json_string(&quoted, path.s, path.len);
    return neap_err_set(err, NEAP_EBADREQUEST,
                        "%s is not a known field selector: only \"metadata.name\", "
                        "\"metadata.namespace\"",
                        quoted.data);
}

static int add_term(struct neap_selector *s, const struct neap_kind *kind, const struct term *t,
                    struct neap_err *err)
{
    NEAP_CLEANUP_BUF struct neap_buf value = NEAP_BUF_INIT;
    int field, code = unescape(t->value, &value, err);
    if (!code)
        code = find_field(kind, t->path, &field, err);
    if (code)
        return code;
    s->fields = neap_grow(s->fields, &s->field_cap, s->field_count, sizeof(*s->fields));
    s->fields[s->field_count++] = (struct neap_field_requirement){
        .path = neap_str_intern(t->path.s, t->path.len),
        .value = neap_str_intern(value.data ? value.data : "", value.len),
        .field = field,
        .not_equal = t->not_equal,
    };
    return 0;
}

int neap_selector_parse_fields(struct neap_selector *s, const struct neap_kind *kind,
                               const char *text, struct neap_err *err)
{
    if (strlen(text) > NEAP_SELECTOR_BYTES_MAX)
        return neap_err_set(err, NEAP_EBADREQUEST, "selector is too large");
    for (const char *p = text;;) {
        struct neap_text part = {p, term_len(p)};
        struct term t;
        if (part.len) {
            if (!split(part, &t))
                return neap_err_set(err, NEAP_EBADREQUEST,
                                    "invalid selector: '%s'; can't understand '%.*s'", text,
                                    (int)part.len, part.s);
            int code = add_term(s, kind, &t, err);
            if (code)
                return code;
        }
        if (!p[part.len])
            return 0;
        p += part.len + 1;
    }
}
