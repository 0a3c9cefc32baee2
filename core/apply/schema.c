/* What a value is to server-side apply, from the kind tables; the keys of objects and the items of lists,
 * sorted, so that two of them are walked together. */
#include "core/apply/apply_internal.h"

/* ---- schema ---- */

struct schema schema_of_type(const struct neap_type *type)
{
    return (struct schema){.what = SCHEMA_STRUCT, .type = type, .atomic = type->atomic};
}

static struct schema of_shape(const struct neap_shape *shape)
{
    struct schema s = {.what = SCHEMA_SCALAR, .scalar = shape->value};
    switch (shape->value) {
    case NEAP_T_STRUCT:
        if (shape->type->preserve_unknown && shape->type->field_count == 0 && !shape->type->atomic)
            s.what = SCHEMA_ANY;
        else
            s = schema_of_type(shape->type);
        break;
    case NEAP_T_ARRAY:
        s.what = SCHEMA_LIST;
        s.item = shape->item;
        s.atomic = true;
        break;
    case NEAP_T_MAP:
        s.what = SCHEMA_MAP;
        s.item = shape->item;
        break;
    case NEAP_T_RAW:
    case NEAP_T_FIELDS_V1:
        s.what = SCHEMA_ANY;
        s.raw = true;
        break;
    default:
        break;
    }
    return s;
}

struct schema schema_of_field(const struct neap_field *f)
{
    struct schema s = of_shape(&f->shape);
    if (s.what == SCHEMA_LIST) {
        s.keys = f->list == NEAP_LIST_MAP ? f->list_keys : NULL;
        s.atomic = f->list != NEAP_LIST_SET && !s.keys;
    } else if (f->flags & (NEAP_F_MAP_ATOMIC | NEAP_F_MAP_GRANULAR)) {
        s.atomic = f->flags & NEAP_F_MAP_ATOMIC;
    }
    return s;
}

struct schema schema_of_item(const struct schema *s)
{
    return s->item ? of_shape(s->item) : (struct schema){.what = SCHEMA_ANY};
}

struct schema schema_resolve(const struct schema *s, yyjson_mut_val *v, yyjson_mut_val *other)
{
    struct schema out = *s;
    if (s->what != SCHEMA_ANY)
        return out;
    if (!v || yyjson_mut_is_null(v))
        v = other;
    if (yyjson_mut_is_arr(v)) {
        out.what = SCHEMA_LIST;
        out.atomic = true;
    } else if (yyjson_mut_is_obj(v)) {
        out.what = SCHEMA_MAP;
    } else {
        out.what = SCHEMA_SCALAR;
        out.scalar = NEAP_T_RAW;
    }
    return out;
}

/* ---- keys ---- */

static struct pair *pairs_push(struct pairs *p)
{
    if (p->count == p->cap) {
        struct pair *more = neap_malloc(2 * p->cap * sizeof(*more));
        memcpy(more, p->at, p->count * sizeof(*more));
        pairs_done(p);
        p->at = more;
        p->cap *= 2;
    }
    p->at[p->count] = (struct pair){.l = NULL};
    return &p->at[p->count++];
}

void pairs_done(struct pairs *p)
{
    if (p->at != p->few)
        free(p->at);
}

/* What a field that is always printed says when it is left out. */
static yyjson_mut_val *zero_of(const struct neap_field *f)
{
    static yyjson_mut_val null = {.tag = YYJSON_TYPE_NULL}, zero = {.tag = YYJSON_TYPE_NUM},
                          no = {.tag = YYJSON_TYPE_BOOL}, object = {.tag = YYJSON_TYPE_OBJ};
    static yyjson_mut_val text = {.tag = YYJSON_TYPE_STR, .uni = {.str = ""}},
                          quantity = {.tag = YYJSON_TYPE_STR | 1 << YYJSON_TAG_BIT,
                                      .uni = {.str = "0"}},
                          duration = {.tag = YYJSON_TYPE_STR | 2 << YYJSON_TAG_BIT,
                                      .uni = {.str = "0s"}};
    if (f->zero == NEAP_ZERO_NULL)
        return &null;
    if (f->zero != NEAP_ZERO_EMIT)
        return NULL;
    switch (f->shape.value) {
    case NEAP_T_STRUCT:
        return &object;
    case NEAP_T_INT32:
    case NEAP_T_INT64:
    case NEAP_T_DOUBLE:
    case NEAP_T_INT_OR_STRING:
        return &zero;
    case NEAP_T_BOOL:
        return &no;
    case NEAP_T_STRING:
        return &text;
    case NEAP_T_QUANTITY:
        return &quantity;
    case NEAP_T_DURATION:
        return &duration;
    default:
        return &null;
    }
}

enum { FIELDS_MAX = 256 };

/* Values of <v> by index of their field; others are told to <p>. Canonical text has fields in the table's
 * order, so the next field is mostly the one looked for. */
static void gather(const struct neap_type *type, yyjson_mut_val *v, yyjson_mut_val **at,
                   struct pairs *p, bool right)
{
    unsigned next = 0;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        const char *name = yyjson_mut_get_str(k);
        size_t len = yyjson_mut_get_len(k);
        unsigned i = next;
        while (i < type->field_count &&
               (type->fields[i].name_len != len || memcmp(type->fields[i].name, name, len) != 0))
            i++;
        const struct neap_field *f =
            i < type->field_count ? NULL : neap_type_field(type, name, len);
        if (f)
            i = (unsigned)(f - type->fields);
        else
            next = i < type->field_count ? i + 1 : next;
        if (i < type->field_count) {
            at[i] = yyjson_mut_obj_iter_get_val(k);
            continue;
        }
        struct pair *extra = pairs_push(p);
        extra->name = name;
        extra->len = len;
        extra->schema = (struct schema){.what = SCHEMA_ANY};
        *(right ? &extra->r : &extra->l) = yyjson_mut_obj_iter_get_val(k);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = memcmp(x->name, y->name, n);
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* Sorts, and makes one of a left and a right that have the same name. */
static void join(struct pairs *p)
{
    size_t to = 0;
    bool sorted = true;
    for (size_t i = 1; sorted && i < p->count; i++)
        sorted = by_name(&p->at[i - 1], &p->at[i]) < 0;
    if (sorted)
        return;
    qsort(p->at, p->count, sizeof(*p->at), by_name);
    for (size_t i = 1; i < p->count; i++) {
        struct pair *last = &p->at[to], *e = &p->at[i];
        if (by_name(last, e) != 0) {
            p->at[++to] = *e;
            continue;
        }
        last->l = last->l ? last->l : e->l;
        last->r = last->r ? last->r : e->r;
    }
    p->count = to + 1;
}

static void struct_pairs(struct pairs *p, const struct neap_type *type, yyjson_mut_val *l,
                         yyjson_mut_val *r, bool fill)
{
    yyjson_mut_val *at[2][FIELDS_MAX];
    unsigned n = type->field_count < FIELDS_MAX ? type->field_count : 0;
    memset(at[0], 0, n * sizeof(at[0][0]));
    memset(at[1], 0, n * sizeof(at[0][0]));
    if (n < type->field_count) { /* a custom type that is this wide is compared as a map */
        struct schema any = {.what = SCHEMA_MAP};
        pairs_init(p, &any, l, r, false);
        return;
    }
    gather(type, l, at[0], p, false);
    gather(type, r, at[1], p, true);
    for (unsigned i = 0; i < n; i++) {
        unsigned f = type->by_name[i];
        yyjson_mut_val *zero = fill ? zero_of(&type->fields[f]) : NULL;
        yyjson_mut_val *left = at[0][f] ? at[0][f] : l ? zero : NULL;
        yyjson_mut_val *right = at[1][f] ? at[1][f] : r ? zero : NULL;
        if (!left && !right)
            continue;
        struct pair *e = pairs_push(p);
        const struct neap_field *field = &type->fields[f];
        *e = (struct pair){field->name, strlen(field->name),    left,
                           right,       schema_of_field(field), true};
    }
    join(p);
}

static void map_pairs(struct pairs *p, const struct schema *s, yyjson_mut_val *v, bool right)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        struct pair *e = pairs_push(p);
        e->name = yyjson_mut_get_str(k);
        e->len = yyjson_mut_get_len(k);
        e->schema = schema_of_item(s);
        *(right ? &e->r : &e->l) = yyjson_mut_obj_iter_get_val(k);
    }
}

void pairs_init(struct pairs *p, const struct schema *s, yyjson_mut_val *l, yyjson_mut_val *r,
                bool fill)
{
    p->at = p->few;
    p->count = 0;
    p->cap = PAIRS_FEW;
    l = yyjson_mut_is_obj(l) ? l : NULL;
    r = yyjson_mut_is_obj(r) ? r : NULL;
    if (s->what == SCHEMA_STRUCT) {
        struct_pairs(p, s->type, l, r, fill);
        return;
    }
    map_pairs(p, s, l, false);
    map_pairs(p, s, r, true);
    join(p);
}

/* ---- items ---- */

/* A fixed default, or the zero of a field that is always printed. */
static bool scalar_default(const struct neap_field *f, bool only, struct scalar *ret)
{
    const char *json = f && !f->default_kinds ? f->default_json : NULL;
    *ret = (struct scalar){.type = SCALAR_STRING, .s = ""};
    if (!f)
        return false;
    if (json && *json == '"') {
        ret->s = json + 1;
        ret->len = (uint32_t)strlen(ret->s) - 1;
        return true;
    }
    if (f->shape.value == NEAP_T_STRING) /* an optional name that alone is the key: a reference's */
        return f->zero == NEAP_ZERO_EMIT || (only && f->zero == NEAP_ZERO_DROP);
    if (f->shape.value == NEAP_T_BOOL)
        *ret = (struct scalar){.type = SCALAR_BOOL, .b = json && *json == 't'};
    else
        *ret = (struct scalar){.type = SCALAR_INT, .i = json ? strtoll(json, NULL, 10) : 0};
    return json || f->zero == NEAP_ZERO_EMIT;
}

static int key_order(const void *a, const void *b)
{
    const struct key_field *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int keyed(struct neap_arena *arena, const struct schema *s, yyjson_mut_val *v,
                 struct element *ret, struct neap_err *err)
{
    unsigned n = 0, count = 0;
    const struct neap_type *type =
        s->item && s->item->value == NEAP_T_STRUCT ? s->item->type : NULL;
    if (!yyjson_mut_is_obj(v))
        return neap_err_set(err, NEAP_EBADREQUEST,
                            yyjson_mut_is_null(v)
                                ? "associative list with keys may not have a null element"
                                : "associative list with keys may not have non-map elements");
    while (s->keys[n] && n < ELEMENT_KEYS_MAX)
        n++;
    struct key_field *keys = neap_arena_alloc(arena, n * sizeof(*keys));
    if (!keys)
        return neap_err_set(err, NEAP_ETOOLARGE, "the object is too large");
    for (unsigned i = 0; i < n; i++) {
        struct key_field *k = &keys[count];
        size_t len = strlen(s->keys[i]);
        yyjson_mut_val *field = yyjson_mut_obj_getn(v, s->keys[i], len);
        k->name = s->keys[i];
        k->len = (uint32_t)len;
        if (field ? scalar_from(field, &k->value)
                  : scalar_default(type ? neap_type_field(type, s->keys[i], len) : NULL, n == 1,
                                   &k->value))
            count++;
    }
    if (count == 0) {
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        for (unsigned i = 0; i < n; i++)
            neap_buf_printf(&b, "%s\"%s\"", i ? " " : "", s->keys[i]);
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "associative list with keys has an element that omits all key fields "
                            "[%s] (and doesn't have default values for any key fields)",
                            b.data);
    }
    if (count > 1)
        qsort(keys, count, sizeof(*keys), key_order);
    *ret = (struct element){.kind = ELEMENT_KEY, .key_count = (uint8_t)count, .keys = keys};
    return 0;
}

static int valued(struct neap_arena *arena, yyjson_mut_val *v, struct element *ret,
                  struct neap_err *err)
{
    struct scalar *value = neap_arena_alloc(arena, sizeof(*value));
    if (!value)
        return neap_err_set(err, NEAP_ETOOLARGE, "the object is too large");
    const char *what =
        yyjson_mut_is_obj(v)   ? "associative list without keys has an element that's a map type"
        : yyjson_mut_is_arr(v) ? "not supported: associative list with lists as elements"
        : yyjson_mut_is_null(v)
            ? "associative list without keys has an element that's an explicit null"
            : NULL;
    if (what)
        return neap_err_set(err, NEAP_EBADREQUEST, "%s", what);
    scalar_from(v, value);
    *ret = (struct element){.kind = ELEMENT_VALUE, .value = value};
    return 0;
}

static int item_order(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    int c = element_compare(&x->at, &y->at);
    return c ? c : (x->index > y->index) - (x->index < y->index);
}

int items_init(struct items *x, struct neap_arena *arena, const struct schema *s,
               yyjson_mut_val *list, size_t *ret_index, struct neap_err *err)
{
    size_t n = yyjson_mut_is_arr(list) ? yyjson_mut_arr_size(list) : 0, i = 0;
    bool sorted = true;
    *x = (struct items){.count = n};
    if (!n)
        return 0;
    x->at = neap_arena_alloc(arena, n * sizeof(*x->at));
    if (!x->at)
        return neap_err_set(err, NEAP_ETOOLARGE, "the object is too large");
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *v; (v = yyjson_mut_arr_iter_next(&it)); i++) {
        struct item *e = &x->at[i];
        *e = (struct item){.value = v, .index = i};
        int rc = s->keys ? keyed(arena, s, v, &e->at, err) : valued(arena, v, &e->at, err);
        if (ret_index)
            *ret_index = i;
        if (rc)
            return rc;
        sorted = sorted && (i == 0 || item_order(e - 1, e) < 0);
    }
    x->sorted = x->at;
    if (sorted)
        return 0;
    x->sorted = neap_arena_alloc(arena, n * sizeof(*x->at));
    if (!x->sorted)
        return neap_err_set(err, NEAP_ETOOLARGE, "the object is too large");
    memcpy(x->sorted, x->at, n * sizeof(*x->at));
    qsort(x->sorted, n, sizeof(*x->at), item_order);
    return 0;
}

const struct item *items_find(const struct items *x, const struct element *at, size_t *ret_count)
{
    size_t lo = 0, hi = x->count, n = 0;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (element_compare(&x->sorted[mid].at, at) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    while (lo + n < x->count && element_compare(&x->sorted[lo + n].at, at) == 0)
        n++;
    if (ret_count)
        *ret_count = n;
    return n ? &x->sorted[lo] : NULL;
}
