/* What a label requirement may hold, with the real server's words: qualified names as keys, label
 * values, operators and their number of values.
 * Source: Kubernetes "Labels and Selectors"; texts from recorded answers. */
#include "core/object/object_internal.h"

#include <errno.h>

#define QUALIFIED_FMT "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define SUBDOMAIN_FMT "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
#define QUALIFIED_MUST                                                                             \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "    \
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "         \
    "validation is '" QUALIFIED_FMT "')"
#define VALUE_MUST                                                                                 \
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "    \
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "             \
    "'my_value',  or '12345', regex used for validation is '(" QUALIFIED_FMT ")?')"
#define SUBDOMAIN_MUST                                                                             \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "   \
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "  \
    "for validation is '" SUBDOMAIN_FMT "')"

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool alnum(char c)
{
    return lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

static bool qualified(const char *s, size_t len)
{
    if (!len || !alnum(s[0]) || !alnum(s[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!alnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
            return false;
    return true;
}

static bool subdomain(const char *s, size_t len)
{
    bool start = true; /* a label starts here */
    for (size_t i = 0; i < len; i++) {
        bool dot = s[i] == '.';
        if (dot ? start || s[i - 1] == '-' : !lower_or_digit(s[i]) && (s[i] != '-' || start))
            return false;
        start = dot;
    }
    return len && !start && s[len - 1] != '-';
}

/* Findings of one value are joined by "; ". */
static void finding(struct neap_buf *out, const char *text)
{
    if (out->len)
        neap_buf_str(out, "; ");
    neap_buf_str(out, text);
}

static void check_prefix(struct neap_buf *out, const char *s, size_t len)
{
    if (!len) {
        finding(out, "prefix part must be non-empty");
        return;
    }
    if (len > 253)
        finding(out, "prefix part must be no more than 253 characters");
    if (!subdomain(s, len))
        finding(out, "prefix part " SUBDOMAIN_MUST);
}

static void check_name(struct neap_buf *out, const char *s, size_t len)
{
    if (!len)
        finding(out, "name part must be non-empty");
    else if (len > 63)
        finding(out, "name part must be no more than 63 bytes");
    if (!qualified(s, len))
        finding(out, "name part " QUALIFIED_MUST);
}

static void check_qualified(struct neap_buf *out, struct neap_text key)
{
    const char *slash = memchr(key.s, '/', key.len);
    size_t prefix = slash ? (size_t)(slash - key.s) : 0;
    if (!slash) {
        check_name(out, key.s, key.len);
    } else if (memchr(slash + 1, '/', key.len - prefix - 1)) {
        finding(out,
                "a qualified name " QUALIFIED_MUST " with an optional DNS subdomain prefix and "
                "'/' (e.g. 'example.com/MyName')");
    } else {
        check_prefix(out, key.s, prefix);
        if (prefix)
            check_name(out, slash + 1, key.len - prefix - 1);
    }
}

static void invalid(struct neap_buf *out, const char *path, struct neap_text value,
                    const char *detail)
{
    neap_buf_str(out, path);
    neap_buf_str(out, ": Invalid value: ");
    neap_buf_json_string(out, value.s, value.len);
    neap_buf_str(out, ": ");
    neap_buf_str(out, detail);
}

int neap_selector_check_key(struct neap_text key, const char *path, struct neap_err *err)
{
    NEAP_CLEANUP_BUF struct neap_buf found = NEAP_BUF_INIT, text = NEAP_BUF_INIT;
    check_qualified(&found, key);
    if (!found.len)
        return 0;
    invalid(&text, path, key, found.data);
    return neap_err_set(err, NEAP_EBADREQUEST, "%s", text.data);
}

/* ---- requirements --------------------------------------------------------------------------- */

/* Several findings read "[a, b]". */
struct findings {
    struct neap_buf text;
    unsigned count;
};

static void next_finding(struct findings *f)
{
    if (f->count++)
        neap_buf_str(&f->text, ", ");
}

static bool gt_number(struct neap_text v, int64_t *ret)
{
    char copy[24];
    if (!v.len || v.len >= sizeof(copy) || memchr(v.s, ' ', v.len))
        return false;
    memcpy(copy, v.s, v.len);
    copy[v.len] = '\0';
    char *end;
    errno = 0;
    *ret = strtoll(copy, &end, 10);
    return !errno && !*end && end != copy;
}

static void list_text(struct neap_buf *out, const struct neap_text *values, size_t count)
{
    neap_buf_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            neap_buf_char(out, ',');
        neap_buf_json_string(out, values[i].s, values[i].len);
    }
    neap_buf_char(out, ']');
}

static const char *count_problem(enum neap_token_op op, size_t count)
{
    switch (op) {
    case NEAP_TOKEN_IN:
    case NEAP_TOKEN_NOT_IN:
        return count ? NULL : "for 'in', 'notin' operators, values set can't be empty";
    case NEAP_TOKEN_EQUALS:
    case NEAP_TOKEN_NOT_EQUALS:
        return count == 1 ? NULL : "exact-match compatibility requires one single value";
    case NEAP_TOKEN_EXISTS:
    case NEAP_TOKEN_NOT_EXISTS:
        return count ? "values set must be empty for exists and does not exist" : NULL;
    case NEAP_TOKEN_GT:
    case NEAP_TOKEN_LT:
        return count == 1 ? NULL : "for 'Gt', 'Lt' operators, exactly one value is required";
    }
    return NULL;
}

static void check_value(struct findings *f, struct neap_text key, size_t i, struct neap_text v)
{
    NEAP_CLEANUP_BUF struct neap_buf found = NEAP_BUF_INIT, path = NEAP_BUF_INIT;
    if (v.len > 63)
        finding(&found, "must be no more than 63 bytes");
    if (v.len && !qualified(v.s, v.len))
        finding(&found, VALUE_MUST);
    if (!found.len)
        return;
    neap_buf_printf(&path, "values[%zu][%.*s]", i, (int)key.len, key.s);
    next_finding(f);
    invalid(&f->text, path.data, v, found.data);
}

static void check_requirement(struct findings *f, struct neap_text key, enum neap_token_op op,
                              const struct neap_text *values, size_t count, int64_t *number)
{
    NEAP_CLEANUP_BUF struct neap_buf found = NEAP_BUF_INIT;
    check_qualified(&found, key);
    if (found.len) {
        next_finding(f);
        invalid(&f->text, "key", key, found.data);
    }
    const char *problem = count_problem(op, count);
    if (problem) {
        next_finding(f);
        neap_buf_str(&f->text, "values: Invalid value: ");
        list_text(&f->text, values, count);
        neap_buf_printf(&f->text, ": %s", problem);
    }
    for (size_t i = 0; i < count; i++) {
        if ((op == NEAP_TOKEN_GT || op == NEAP_TOKEN_LT) && !gt_number(values[i], number)) {
            char path[48];
            snprintf(path, sizeof(path), "values[%zu]", i);
            next_finding(f);
            invalid(&f->text, path, values[i],
                    "for 'Gt', 'Lt' operators, the value must be an integer");
        }
        check_value(f, key, i, values[i]);
    }
}

static const enum neap_op_kind kinds_of[] = {
    [NEAP_TOKEN_IN] = NEAP_OP_IN,         [NEAP_TOKEN_NOT_IN] = NEAP_OP_NOT_IN,
    [NEAP_TOKEN_EQUALS] = NEAP_OP_IN,     [NEAP_TOKEN_NOT_EQUALS] = NEAP_OP_NOT_IN,
    [NEAP_TOKEN_EXISTS] = NEAP_OP_EXISTS, [NEAP_TOKEN_NOT_EXISTS] = NEAP_OP_NOT_EXISTS,
    [NEAP_TOKEN_GT] = NEAP_OP_GT,         [NEAP_TOKEN_LT] = NEAP_OP_LT,
};

int neap_selector_add(struct neap_selector *s, struct neap_text key, enum neap_token_op op,
                      const struct neap_text *values, size_t count, struct neap_err *err)
{
    struct findings f = {0};
    int64_t number = 0;
    if (count > NEAP_SELECTOR_VALUES_MAX || s->label_count > NEAP_SELECTOR_VALUES_MAX)
        return neap_err_set(err, NEAP_EBADREQUEST, "selector is too large");
    check_requirement(&f, key, op, values, count, &number);
    if (f.count) {
        bool many = f.count > 1;
        neap_err_set(err, NEAP_EBADREQUEST, "%s%s%s", many ? "[" : "", f.text.data,
                     many ? "]" : "");
        neap_buf_done(&f.text);
        return NEAP_EBADREQUEST;
    }
    s->labels = neap_grow(s->labels, &s->label_cap, s->label_count, sizeof(*s->labels));
    struct neap_requirement *r = &s->labels[s->label_count++];
    *r = (struct neap_requirement){
        .key = neap_str_intern(key.s, key.len), .op = kinds_of[op], .number = number};
    r->values = neap_malloc((count + 1) * sizeof(*r->values));
    for (size_t i = 0; i < count; i++)
        r->values[r->value_count++] = neap_str_intern(values[i].s, values[i].len);
    return 0;
}
