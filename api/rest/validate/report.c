/* Causes: one function for each kind of cause, with the texts that clients know. */
#include "shapes.h"

void rest_path_write(path p, struct neap_buf *out)
{
    if (!p)
        return;
    rest_path_write(p->up, out);
    if (!p->name)
        neap_buf_printf(out, "[%zu]", p->index);
    else if (p->key)
        neap_buf_printf(out, "[%s]", p->name);
    else
        neap_buf_printf(out, "%s%s", out->len ? "." : "", p->name);
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Length of the UTF-8 sequence at <s>; 0: none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    size_t want = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    if (!want || want > n || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < want; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return want;
}

void rest_quote(struct neap_buf *out, const char *s, size_t n)
{
    static const char escapes[] = "\aa\bb\ff\nn\rr\tt\vv\"\"\\\\";
    neap_buf_char(out, '"');
    for (size_t i = 0; i < n;) {
        const unsigned char *at = (const unsigned char *)s + i;
        size_t run = 0;
        while (i + run < n && plain(at[run]))
            run++;
        neap_buf_append(out, at, run);
        i += run;
        if (i == n)
            break;
        at += run;
        size_t wide = *at < 0x80 ? 0 : utf8_length(at, n - i);
        const char *known = NULL;
        for (const char *e = escapes; *at < 0x80 && *e && !known; e += 2)
            known = (unsigned char)*e == *at ? e : NULL;
        if (wide)
            neap_buf_append(out, at, wide);
        else if (known)
            neap_buf_printf(out, "\\%c", known[1]);
        else
            neap_buf_printf(out, "\\x%02x", *at);
        i += wide ? wide : 1;
    }
    neap_buf_char(out, '"');
}

void rest_show(struct neap_buf *out, json *value)
{
    if (!value)
        neap_buf_str(out, "null");
    else if (yyjson_mut_is_str(value))
        rest_quote(out, yyjson_mut_get_str(value), yyjson_mut_get_len(value));
    else
        neap_json_write_sorted(out, value);
}

void rest_show_type(struct neap_buf *out, json *value, const char *type)
{
    const struct neap_type *t = type && value ? neap_type_by_name(type) : NULL;
    if (t && yyjson_mut_is_arr(value)) {
        EACH(e, value)
        {
            neap_buf_char(out, e.i ? ',' : '[');
            neap_kind_write(out, e.item, t);
        }
        neap_buf_str(out, size(value) ? "]" : "[]");
    } else if (t) {
        neap_kind_write(out, value, t);
    } else {
        rest_show(out, value);
    }
}

/* "<what>[: <shown>][: <why>]" */
static void add(struct rest_validation *v, path p, const char *reason, const char *what,
                const char *shown, const char *why, va_list ap)
{
    struct neap_buf field NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_buf detail NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_path_write(p, &field);
    if (why && *why) {
        char *s = NULL;
        if (vasprintf(&s, why, ap) >= 0 && *s)
            neap_buf_printf(&detail, ": %s", s);
        free(s);
    }
    neap_err_cause(v->err, reason, field.len ? field.data : "", "%s%s%s%s", what, shown ? ": " : "",
                   shown ? shown : "", detail.len ? detail.data : "");
}

#define ADD(reason, what, shown)                                                                   \
    do {                                                                                           \
        va_list ap;                                                                                \
        va_start(ap, why);                                                                         \
        add(v, p, reason, what, shown, why, ap);                                                   \
        va_end(ap);                                                                                \
    } while (0)

void rest_invalid(struct rest_validation *v, path p, json *value, const char *why, ...)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_show(&b, value);
    ADD("FieldValueInvalid", "Invalid value", b.data);
}

void rest_invalid_string(struct rest_validation *v, path p, const char *s, const char *why, ...)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_quote(&b, s, strlen(s));
    ADD("FieldValueInvalid", "Invalid value", b.data);
}

void rest_invalid_number(struct rest_validation *v, path p, int64_t n, const char *why, ...)
{
    char shown[24];
    snprintf(shown, sizeof(shown), "%lld", (long long)n);
    ADD("FieldValueInvalid", "Invalid value", shown);
}

void rest_invalid_shown(struct rest_validation *v, path p, const char *shown, const char *why, ...)
{
    ADD("FieldValueInvalid", "Invalid value", shown);
}

void rest_invalid_go(struct rest_validation *v, path p, json *value, const char *type,
                     const char *why, ...)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_show_go(&b, value, type, false);
    ADD("FieldValueInvalid", "Invalid value", b.data);
}

void rest_required(struct rest_validation *v, path p, const char *why, ...)
{
    ADD("FieldValueRequired", "Required value", NULL);
}

void rest_forbidden(struct rest_validation *v, path p, const char *why, ...)
{
    ADD("FieldValueForbidden", "Forbidden", NULL);
}

static void plain_cause(struct rest_validation *v, path p, const char *reason, const char *what,
                        const char *shown, const char *why, ...) PRINTF(6, 7);
static void plain_cause(struct rest_validation *v, path p, const char *reason, const char *what,
                        const char *shown, const char *why, ...)
{
    ADD(reason, what, shown);
}

void rest_duplicate_shown(struct rest_validation *v, path p, const char *shown)
{
    plain_cause(v, p, "FieldValueDuplicate", "Duplicate value", shown, NULL);
}

void rest_duplicate(struct rest_validation *v, path p, json *value)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_show(&b, value);
    plain_cause(v, p, "FieldValueDuplicate", "Duplicate value", b.data, NULL);
}

void rest_duplicate_string(struct rest_validation *v, path p, const char *s)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_quote(&b, s, strlen(s));
    plain_cause(v, p, "FieldValueDuplicate", "Duplicate value", b.data, NULL);
}

void rest_not_found(struct rest_validation *v, path p, const char *s, const char *why)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_quote(&b, s, strlen(s));
    if (*why)
        plain_cause(v, p, "FieldValueNotFound", "Not found", b.data, "%s", why);
    else
        plain_cause(v, p, "FieldValueNotFound", "Not found", b.data, NULL);
}

void rest_unsupported_shown(struct rest_validation *v, path p, const char *shown,
                            const char *const *values)
{
    struct neap_buf list NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    for (; *values; values++) {
        if (list.len)
            neap_buf_str(&list, ", ");
        rest_quote(&list, *values, strlen(*values));
    }
    plain_cause(v, p, "FieldValueNotSupported", "Unsupported value", shown, "supported values: %s",
                list.len ? list.data : "");
}

void rest_unsupported(struct rest_validation *v, path p, const char *s, const char *const *values)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_quote(&b, s, strlen(s));
    rest_unsupported_shown(v, p, b.data, values);
}

void rest_too_long(struct rest_validation *v, path p, int max)
{
    plain_cause(v, p, "FieldValueTooLong", "Too long", NULL, "may not be more than %d bytes", max);
}

void rest_too_many(struct rest_validation *v, path p, size_t have, int max)
{
    char shown[24];
    snprintf(shown, sizeof(shown), "%zu", have);
    plain_cause(v, p, "FieldValueTooMany", "Too many", shown, "must have at most %d item%s", max,
                max == 1 ? "" : "s");
}

void rest_unsupported_go(struct rest_validation *v, path p, json *value, const char *type,
                         const char *const *values)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_show_go(&b, value, type, false);
    rest_unsupported_shown(v, p, b.data, values);
}
