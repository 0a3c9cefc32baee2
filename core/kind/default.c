/* Fixed defaults from the tables, in the order of the published defaulting: a struct's own fields, its
 * hook, then what is below. */
#include "default.h"
#include "kind_internal.h"

static void default_struct(struct neap_defaulting *d, yyjson_mut_val *v,
                           const struct neap_type *type);

static bool holds_in(const struct neap_field *f, const struct neap_kind *kind)
{
    char api_version[128];
    if (!f->default_kinds)
        return true;
    neap_kind_api_version(kind, api_version);
    size_t n = strlen(api_version);
    for (const char *const *k = f->default_kinds; *k; k++)
        if (strncmp(*k, api_version, n) == 0 && (*k)[n] == '/' &&
            strcmp(*k + n + 1, kind->kind) == 0)
            return true;
    return false;
}

/* The default's value; simple ones need no parser. */
static yyjson_mut_val *make(yyjson_mut_doc *doc, const char *json)
{
    size_t n = strlen(json);
    if (json[0] == '"' && !memchr(json, '\\', n))
        return yyjson_mut_strncpy(doc, json + 1, n - 2);
    if (strcmp(json, "true") == 0 || strcmp(json, "false") == 0)
        return yyjson_mut_bool(doc, json[0] == 't');
    if (strcmp(json, "{}") == 0)
        return yyjson_mut_obj(doc);
    if (json[0] != '{' && json[0] != '[' && !strpbrk(json, ".eE"))
        return yyjson_mut_sint(doc, strtoll(json, NULL, 10));
    yyjson_doc *parsed = yyjson_read(json, n, 0);
    yyjson_mut_val *v = yyjson_val_mut_copy(doc, yyjson_doc_get_root(parsed));
    yyjson_doc_free(parsed);
    return v;
}

static void default_below(struct neap_defaulting *d, yyjson_mut_val *v,
                          const struct neap_shape *shape)
{
    if (shape->value == NEAP_T_STRUCT && yyjson_mut_is_obj(v)) {
        default_struct(d, v, shape->type);
    } else if (shape->value == NEAP_T_ARRAY && yyjson_mut_is_arr(v)) {
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
        for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
            default_below(d, e, shape->item);
    } else if (shape->value == NEAP_T_MAP && yyjson_mut_is_obj(v)) {
        yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
        for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));)
            default_below(d, yyjson_mut_obj_iter_get_val(k), shape->item);
    }
}

static void default_struct(struct neap_defaulting *d, yyjson_mut_val *v,
                           const struct neap_type *type)
{
    for (unsigned i = 0; i < type->field_count; i++) {
        const struct neap_field *f = &type->fields[i];
        bool embedded = f->zero == NEAP_ZERO_EMIT && f->shape.value == NEAP_T_STRUCT &&
                        (f->flags & NEAP_F_DEFAULTS);
        if ((!f->default_json && !embedded) || yyjson_mut_obj_getn(v, f->name, f->name_len))
            continue;
        if (f->default_json && holds_in(f, d->kind))
            yyjson_mut_obj_add(v, kind_key(d->doc, f->name), make(d->doc, f->default_json));
        else if (embedded)
            yyjson_mut_obj_add(v, kind_key(d->doc, f->name), yyjson_mut_obj(d->doc));
    }
    if (type->defaulter) {
        d->type = type;
        type->defaulter(d, v);
    }
    for (unsigned i = 0; i < type->field_count; i++) {
        const struct neap_field *f = &type->fields[i];
        yyjson_mut_val *child =
            f->flags & NEAP_F_DEFAULTS ? yyjson_mut_obj_getn(v, f->name, f->name_len) : NULL;
        if (child)
            default_below(d, child, &f->shape);
    }
}

void neap_kind_default(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct neap_kind *kind)
{
    struct neap_defaulting d = {.doc = doc, .root = root, .kind = kind};
    if (yyjson_mut_is_obj(root))
        default_struct(&d, root, kind->type);
}
