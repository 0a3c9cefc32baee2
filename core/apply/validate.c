/* An applied configuration against its type. What does not fit is told with the real server's words. */
#include "core/apply/apply_internal.h"

enum { ERRORS_MAX = 64 };

struct validator {
    struct neap_arena *arena;
    struct neap_buf path;
    struct neap_buf text; /* one a line: path: what */
    unsigned errors, depth;
};

static void validate(struct validator *x, const struct schema *schema, yyjson_mut_val *v);

static void bad(struct validator *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void bad(struct validator *x, const char *fmt, ...)
{
    va_list ap;
    if (x->errors++ >= ERRORS_MAX)
        return;
    if (x->text.len)
        neap_buf_char(&x->text, '\n');
    if (x->path.len) {
        neap_buf_append(&x->text, x->path.data, x->path.len);
        neap_buf_str(&x->text, ": ");
    }
    va_start(ap, fmt);
    char *what;
    if (vasprintf(&what, fmt, ap) >= 0) {
        neap_buf_str(&x->text, what);
        free(what);
    }
    va_end(ap);
}

/* Go's words for what a value is. */
static const char *go_type(yyjson_mut_val *v)
{
    return yyjson_mut_is_str(v)    ? "string"
           : yyjson_mut_is_bool(v) ? "bool"
           : yyjson_mut_is_real(v) ? "float64"
           : yyjson_mut_is_num(v)  ? "int64"
           : yyjson_mut_is_arr(v)  ? "[]interface {}"
                                   : "map[string]interface {}";
}

/* A value as Go prints it: plainly (%v), or in its own syntax (%#v). */
static void go_value(struct neap_buf *out, yyjson_mut_val *v, bool syntax)
{
    const char *between = "";
    if (yyjson_mut_is_arr(v)) {
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
        neap_buf_str(out, syntax ? "[]interface {}{" : "[");
        for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
            neap_buf_str(out, between);
            go_value(out, e, syntax);
            between = syntax ? ", " : " ";
        }
        neap_buf_char(out, syntax ? '}' : ']');
    } else if (yyjson_mut_is_obj(v)) {
        struct schema map = {.what = SCHEMA_MAP};
        struct pairs p;
        pairs_init(&p, &map, v, NULL, false);
        neap_buf_str(out, syntax ? "map[string]interface {}{" : "map[");
        for (size_t i = 0; i < p.count; i++) {
            neap_buf_printf(out, syntax ? "%s\"%.*s\":" : "%s%.*s:", between, (int)p.at[i].len,
                            p.at[i].name);
            go_value(out, p.at[i].l, syntax);
            between = syntax ? ", " : " ";
        }
        pairs_done(&p);
        neap_buf_char(out, syntax ? '}' : ']');
    } else if (yyjson_mut_is_null(v)) {
        neap_buf_str(out, syntax ? "interface {}(nil)" : "<nil>");
    } else if (yyjson_mut_is_str(v) && !syntax) {
        neap_buf_append(out, yyjson_mut_get_str(v), yyjson_mut_get_len(v));
    } else {
        neap_json_write_sorted(out, v);
    }
}

static void unexpected(struct validator *x, const char *what, yyjson_mut_val *v, bool syntax)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    neap_buf_append(&b, "", 0);
    go_value(&b, v, syntax);
    bad(x,
        syntax ? "expected %s, got &value.valueUnstructured{Value:%s}" : "expected %s, got &{%s}",
        what, b.data);
}

static void validate_scalar(struct validator *x, const struct schema *s, yyjson_mut_val *v)
{
    switch (s->scalar) {
    case NEAP_T_INT32:
    case NEAP_T_INT64:
    case NEAP_T_DOUBLE:
        if (!yyjson_mut_is_num(v))
            bad(x, "expected numeric (int or float), got %s", go_type(v));
        return;
    case NEAP_T_BOOL:
        if (!yyjson_mut_is_bool(v))
            unexpected(x, "boolean", v, false);
        return;
    case NEAP_T_STRING:
    case NEAP_T_BYTES:
        if (!yyjson_mut_is_str(v))
            unexpected(x, "string", v, true);
        return;
    default: /* quantities, times: what they are is seen when they are decoded */
        if (yyjson_mut_is_ctn(v))
            unexpected(x, "any scalar", v, false);
    }
}

static void validate_map(struct validator *x, const struct schema *s, yyjson_mut_val *v)
{
    size_t len = x->path.len;
    struct pairs p;
    if (!yyjson_mut_is_obj(v)) {
        unexpected(x, "map", v, false);
        return;
    }
    pairs_init(&p, s, v, NULL, false);
    for (size_t i = 0; i < p.count && x->errors < ERRORS_MAX; i++) {
        neap_buf_char(&x->path, '.');
        neap_buf_append(&x->path, p.at[i].name, p.at[i].len);
        if (s->what == SCHEMA_STRUCT && !p.at[i].declared && !s->type->preserve_unknown)
            bad(x, "field not declared in schema");
        else
            validate(x, &p.at[i].schema, p.at[i].l);
        x->path.len = len;
    }
    pairs_done(&p);
}

static void validate_items(struct validator *x, const struct schema *s, yyjson_mut_val *v)
{
    size_t len = x->path.len, i = 0;
    struct schema item = schema_of_item(s);
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct items list;
    if (items_init(&list, x->arena, s, v, &i, &err) != 0) {
        bad(x, "element %zu: %s", i, err.message ? err.message : "");
        return;
    }
    for (i = 0; i < list.count && x->errors < ERRORS_MAX; i++) {
        const struct element *at = &list.at[i].at;
        if (items_find(&list, at, NULL)->index != i) {
            struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
            element_print(&b, at);
            bad(x, "duplicate entries for key %s", b.data);
        }
        element_print(&x->path, at);
        validate(x, &item, list.at[i].value);
        x->path.len = len;
    }
}

static void validate_list(struct validator *x, const struct schema *s, yyjson_mut_val *v)
{
    size_t len = x->path.len, i = 0;
    struct schema item = schema_of_item(s);
    if (!yyjson_mut_is_arr(v)) {
        unexpected(x, "list", v, false);
        return;
    }
    if (!s->atomic) {
        validate_items(x, s, v);
        return;
    }
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it)) && x->errors < ERRORS_MAX; i++) {
        neap_buf_printf(&x->path, "[%zu]", i);
        validate(x, &item, e);
        x->path.len = len;
    }
}

static void validate(struct validator *x, const struct schema *schema, yyjson_mut_val *v)
{
    struct schema s = schema_resolve(schema, v, NULL);
    if (yyjson_mut_is_null(v))
        return;
    if (++x->depth > NEAP_APPLY_DEPTH_MAX)
        bad(x, "nested too deeply");
    else if (s.what == SCHEMA_SCALAR)
        validate_scalar(x, &s, v);
    else if (s.what == SCHEMA_LIST)
        validate_list(x, &s, v);
    else
        validate_map(x, &s, v);
    x->depth--;
}

static const char *meta(yyjson_mut_val *config, const char *name)
{
    const char *s =
        yyjson_mut_get_str(yyjson_mut_obj_get(yyjson_mut_obj_get(config, "metadata"), name));
    return s ? s : "";
}

static const char *top(yyjson_mut_val *config, const char *name)
{
    const char *s = yyjson_mut_get_str(yyjson_mut_obj_get(config, name));
    return s ? s : "";
}

int apply_validate(struct neap_arena *arena, const struct neap_type *type, yyjson_mut_val *config,
                   struct neap_err *err)
{
    struct validator x = {.arena = arena};
    struct schema s = schema_of_type(type);
    int rc = 0;
    validate(&x, &s, config);
    if (neap_arena_exhausted(arena))
        rc = neap_err_set(err, NEAP_ETOOLARGE, "the configuration is too large");
    else if (x.errors) {
        bool many = x.errors > 1;
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        for (size_t i = 0; i < x.text.len; i++) { /* several are indented */
            neap_buf_char(&b, x.text.data[i]);
            if (many && x.text.data[i] == '\n')
                neap_buf_str(&b, "  ");
        }
        rc = neap_err_set(
            err, NEAP_EPLAIN, "failed to create typed patch object (%s/%s; %s%s, Kind=%s): %s%s",
            meta(config, "namespace"), meta(config, "name"),
            strchr(top(config, "apiVersion"), '/') ? "" : "/", top(config, "apiVersion"),
            top(config, "kind"), many ? "errors:\n  " : "", b.data);
    }
    neap_buf_done(&x.path);
    neap_buf_done(&x.text);
    return rc;
}
