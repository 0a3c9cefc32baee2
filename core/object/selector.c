/* Selectors: building blocks and matching. The string forms are read in selector_labels.c and
 * selector_fields.c. Keys and values are interned, so that matching an object compares pointers. */
#include "core/object/object_internal.h"

#include <errno.h>

static void free_requirement(struct neap_requirement *r)
{
    neap_str_unref(r->key);
    for (unsigned i = 0; i < r->value_count; i++)
        neap_str_unref(r->values[i]);
    free(r->values);
}

struct neap_selector *neap_selector_free(struct neap_selector *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->label_count; i++)
        free_requirement(&s->labels[i]);
    for (size_t i = 0; i < s->field_count; i++) {
        neap_str_unref(s->fields[i].path);
        neap_str_unref(s->fields[i].value);
    }
    free(s->labels);
    free(s->fields);
    free(s);
    return NULL;
}

int neap_selector_parse(const struct neap_kind *kind, const char *labels, const char *fields,
                        struct neap_selector **ret, struct neap_err *err)
{
    struct neap_selector *s = neap_calloc(1, sizeof(*s));
    int code = 0;
    if (labels && *labels)
        code = neap_selector_parse_labels(s, labels, err);
    if (!code && fields && *fields)
        code = neap_selector_parse_fields(s, kind, fields, err);
    if (code)
        neap_selector_free(s);
    else
        *ret = s;
    return code;
}

/* ---- LabelSelector objects ---------------------------------------------------------------- */

static struct neap_text text_of(yyjson_val *v)
{
    return yyjson_is_str(v) ? (struct neap_text){yyjson_get_str(v), yyjson_get_len(v)}
                            : (struct neap_text){"", 0};
}

static int add_match_labels(struct neap_selector *s, yyjson_val *map, struct neap_err *err)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach(map, i, max, k, v)
    {
        struct neap_text value = text_of(v);
        int code = neap_selector_add(s, text_of(k), NEAP_TOKEN_IN, &value, 1, err);
        if (code)
            return code;
    }
    return 0;
}

static int add_expression(struct neap_selector *s, yyjson_val *e, struct neap_err *err)
{
    static const struct {
        const char *name;
        enum neap_token_op op;
    } ops[] = {{"In", NEAP_TOKEN_IN},
               {"NotIn", NEAP_TOKEN_NOT_IN},
               {"Exists", NEAP_TOKEN_EXISTS},
               {"DoesNotExist", NEAP_TOKEN_NOT_EXISTS}};
    yyjson_val *op = yyjson_obj_get(e, "operator"), *list = yyjson_obj_get(e, "values"), *v;
    unsigned o = 0;
    while (o < NEAP_ARRAY_LEN(ops) && !yyjson_equals_str(op, ops[o].name))
        o++;
    if (o == NEAP_ARRAY_LEN(ops)) {
        NEAP_CLEANUP_BUF struct neap_buf quoted = NEAP_BUF_INIT;
        neap_buf_json_string(&quoted, text_of(op).s, text_of(op).len);
        return neap_err_set(err, NEAP_EBADREQUEST, "%s is not a valid label selector operator",
                            quoted.data);
    }
    size_t i, max, n = 0, count = yyjson_arr_size(list);
    NEAP_CLEANUP_FREE struct neap_text *values = neap_malloc((count + 1) * sizeof(*values));
    yyjson_arr_foreach(list, i, max, v)
    {
        values[n++] = text_of(v);
    }
    return neap_selector_add(s, text_of(yyjson_obj_get(e, "key")), ops[o].op, values, n, err);
}

int neap_selector_from_label_selector(yyjson_val *value, struct neap_selector **ret,
                                      struct neap_err *err)
{
    struct neap_selector *s = neap_calloc(1, sizeof(*s));
    s->nothing = !value || yyjson_is_null(value);
    int code = add_match_labels(s, yyjson_obj_get(value, "matchLabels"), err);
    yyjson_val *list = yyjson_obj_get(value, "matchExpressions"), *e;
    size_t i, max;
    yyjson_arr_foreach(list, i, max, e)
    {
        if (!code)
            code = add_expression(s, e, err);
    }
    if (code)
        neap_selector_free(s);
    else
        *ret = s;
    return code;
}

/* ---- matching ----------------------------------------------------------------------------- */

static bool to_number(const char *s, int64_t *ret)
{
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    *ret = v;
    return (*s == '-' || *s == '+' || (*s >= '0' && *s <= '9')) && end != s && !*end && !errno;
}

/* <value> NULL: the label is absent. <listed>: it is one of the values. */
static bool requirement_holds(const struct neap_requirement *r, const char *value, bool listed)
{
    int64_t n;
    switch (r->op) {
    case NEAP_OP_IN:
        return value && listed;
    case NEAP_OP_NOT_IN:
        return !value || !listed;
    case NEAP_OP_EXISTS:
        return value != NULL;
    case NEAP_OP_NOT_EXISTS:
        return !value;
    case NEAP_OP_GT:
        return value && to_number(value, &n) && n > r->number;
    case NEAP_OP_LT:
        return value && to_number(value, &n) && n < r->number;
    }
    return false;
}

static const struct neap_str *label_of(const struct neap_object *o, const struct neap_str *key)
{
    const struct neap_label *labels = neap_object_labels(o);
    for (unsigned i = 0; i < o->label_count; i++)
        if (labels[i].key == key)
            return labels[i].value;
    return NULL;
}

static bool match_label(const struct neap_requirement *r, const struct neap_object *o)
{
    const struct neap_str *v = label_of(o, r->key);
    bool listed = false;
    for (unsigned i = 0; v && !listed && i < r->value_count; i++)
        listed = r->values[i] == v;
    return requirement_holds(r, v ? v->s : NULL, listed);
}

static bool match_field(const struct neap_field_requirement *f, const struct neap_object *o)
{
    bool same;
    if (f->field == NEAP_FIELD_NAME)
        same = strcmp(neap_object_name(o), f->value->s) == 0;
    else if (f->field == NEAP_FIELD_NAMESPACE)
        same = o->namespace_ == f->value;
    else
        same = neap_object_value_str(o, (unsigned)f->field) == f->value;
    return same != f->not_equal;
}

bool neap_selector_match(const struct neap_selector *s, const struct neap_object *o)
{
    if (!s)
        return true;
    if (s->nothing)
        return false;
    for (size_t i = 0; i < s->field_count; i++)
        if (!match_field(&s->fields[i], o))
            return false;
    for (size_t i = 0; i < s->label_count; i++)
        if (!match_label(&s->labels[i], o))
            return false;
    return true;
}

bool neap_selector_match_labels(const struct neap_selector *s, yyjson_val *labels)
{
    if (s->nothing)
        return false;
    for (size_t i = 0; i < s->label_count; i++) {
        const struct neap_requirement *r = &s->labels[i];
        const char *v = yyjson_get_str(yyjson_obj_getn(labels, r->key->s, r->key->len));
        bool listed = false;
        for (unsigned j = 0; v && !listed && j < r->value_count; j++)
            listed = strcmp(r->values[j]->s, v) == 0;
        if (!requirement_holds(r, v, listed))
            return false;
    }
    return true;
}

bool neap_selector_empty(const struct neap_selector *s)
{
    return !s || (!s->nothing && !s->label_count && !s->field_count);
}

const char *neap_selector_pinned(const struct neap_selector *s, const char *path)
{
    for (size_t i = 0; s && i < s->field_count; i++)
        if (!s->fields[i].not_equal && strcmp(s->fields[i].path->s, path) == 0)
            return s->fields[i].value->s;
    return NULL;
}
