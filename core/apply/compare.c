/* The fields of an object, and what differs between two. */
#include "core/apply/apply_internal.h"

enum { ADDED, MODIFIED, REMOVED, CHANGES };

struct comparer {
    struct neap_arena *arena;
    struct neap_err *err;
    bool fill; /* fields that are always printed are there */
    unsigned depth;
};

/* What changed at a value and below it. */
struct change {
    bool self[CHANGES];
    struct neap_fields *below[CHANGES];
};

static int too_deep(struct comparer *c)
{
    return neap_err_set(c->err, NEAP_ETOOLARGE, "the object is nested too deeply");
}

static void change_push(struct comparer *c, struct change *to, const struct element *at,
                        const struct change *from)
{
    for (int i = 0; i < CHANGES; i++)
        fields_push(c->arena, &to->below[i], at, from->self[i], from->below[i]);
}

/* ---- equality ---- */

/* The same text: what is mostly asked, and answered in one walk. */
static bool same(const yyjson_mut_val *l, const yyjson_mut_val *r)
{
    uint64_t differ = l->tag ^ r->tag;
    if (differ && ((differ & ~(uint64_t)YYJSON_SUBTYPE_MASK) ||
                   (l->tag & YYJSON_TYPE_MASK) != YYJSON_TYPE_STR))
        return false; /* how a string wants to be escaped is no difference */
    switch (l->tag & YYJSON_TYPE_MASK) {
    case YYJSON_TYPE_STR:
        return l->uni.str == r->uni.str ||
               memcmp(l->uni.str, r->uni.str, (size_t)(l->tag >> YYJSON_TAG_BIT)) == 0;
    case YYJSON_TYPE_NUM:
        return l->uni.u64 == r->uni.u64;
    case YYJSON_TYPE_OBJ:
    case YYJSON_TYPE_ARR: {
        size_t n = (size_t)(l->tag >> YYJSON_TAG_BIT);
        if ((l->tag & YYJSON_TYPE_MASK) == YYJSON_TYPE_OBJ)
            n *= 2;
        if (!n)
            return true;
        const yyjson_mut_val *a = l->uni.ptr, *b = r->uni.ptr;
        for (; n; n--, a = a->next, b = b->next)
            if (!same(a, b))
                return false;
        return true;
    }
    default:
        return true;
    }
}

static bool equal_objects(yyjson_mut_val *a, yyjson_mut_val *b)
{
    struct schema map = {.what = SCHEMA_MAP};
    struct pairs p;
    bool equal = true;
    if (yyjson_mut_obj_size(a) != yyjson_mut_obj_size(b))
        return false;
    pairs_init(&p, &map, a, b, false);
    for (size_t i = 0; equal && i < p.count; i++)
        equal = p.at[i].l && p.at[i].r && apply_equal(p.at[i].l, p.at[i].r);
    pairs_done(&p);
    return equal;
}

static bool equal_arrays(yyjson_mut_val *a, yyjson_mut_val *b)
{
    yyjson_mut_arr_iter x = yyjson_mut_arr_iter_with(a), y = yyjson_mut_arr_iter_with(b);
    if (yyjson_mut_arr_size(a) != yyjson_mut_arr_size(b))
        return false;
    for (yyjson_mut_val *v; (v = yyjson_mut_arr_iter_next(&x));)
        if (!apply_equal(v, yyjson_mut_arr_iter_next(&y)))
            return false;
    return true;
}

bool apply_equal(yyjson_mut_val *a, yyjson_mut_val *b)
{
    struct element x, y;
    struct scalar s, t;
    if (yyjson_mut_is_obj(a) && yyjson_mut_is_obj(b))
        return equal_objects(a, b);
    if (yyjson_mut_is_arr(a) && yyjson_mut_is_arr(b))
        return equal_arrays(a, b);
    if (!scalar_from(a, &s) || !scalar_from(b, &t))
        return false;
    x = (struct element){.kind = ELEMENT_VALUE, .value = &s};
    y = (struct element){.kind = ELEMENT_VALUE, .value = &t};
    return element_compare(&x, &y) == 0;
}

/* Equality of what is one field, with the fields that are always printed. */
static bool typed_equal(struct comparer *c, const struct schema *s, yyjson_mut_val *a,
                        yyjson_mut_val *b)
{
    bool equal = true;
    if (!c->fill || same(a, b))
        return !c->fill ? apply_equal(a, b) : true;
    if ((s->what == SCHEMA_STRUCT || s->what == SCHEMA_MAP) && yyjson_mut_is_obj(a) &&
        yyjson_mut_is_obj(b)) {
        struct pairs p;
        pairs_init(&p, s, a, b, true);
        for (size_t i = 0; equal && i < p.count; i++)
            equal = p.at[i].l && p.at[i].r && typed_equal(c, &p.at[i].schema, p.at[i].l, p.at[i].r);
        pairs_done(&p);
        return equal;
    }
    if (s->what == SCHEMA_LIST && yyjson_mut_is_arr(a) && yyjson_mut_is_arr(b)) {
        struct schema item = schema_of_item(s);
        yyjson_mut_arr_iter x = yyjson_mut_arr_iter_with(a), y = yyjson_mut_arr_iter_with(b);
        if (yyjson_mut_arr_size(a) != yyjson_mut_arr_size(b))
            return false;
        for (yyjson_mut_val *v; equal && (v = yyjson_mut_arr_iter_next(&x));)
            equal = typed_equal(c, &item, v, yyjson_mut_arr_iter_next(&y));
        return equal;
    }
    return apply_equal(a, b);
}

/* ---- comparison ---- */

static int compare(struct comparer *c, const struct schema *schema, yyjson_mut_val *l,
                   yyjson_mut_val *r, struct change *out);

static void leaf(struct comparer *c, const struct schema *s, yyjson_mut_val *l, yyjson_mut_val *r,
                 struct change *out)
{
    if (!l)
        out->self[ADDED] = true;
    else if (!r)
        out->self[REMOVED] = true;
    else if (!typed_equal(c, s, l, r))
        out->self[MODIFIED] = true;
}

static void not_leaf(yyjson_mut_val *l, yyjson_mut_val *r, struct change *out)
{
    if (!l)
        out->self[ADDED] = true;
    else if (!r)
        out->self[REMOVED] = true;
}

static int compare_map(struct comparer *c, const struct schema *s, yyjson_mut_val *l,
                       yyjson_mut_val *r, struct change *out)
{
    struct pairs p;
    int rc = 0;
    pairs_init(&p, s, l, r, c->fill);
    if (p.count == 0)
        leaf(c, s, l, r, out);
    for (size_t i = 0; !rc && i < p.count; i++) {
        struct change below = {.self = {false}};
        struct element at = element_field(p.at[i].name, p.at[i].len);
        rc = compare(c, &p.at[i].schema, p.at[i].l, p.at[i].r, &below);
        change_push(c, out, &at, &below);
    }
    if (p.count)
        not_leaf(l, r, out);
    pairs_done(&p);
    return rc;
}

static bool runs_equal(const struct item *a, const struct item *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!apply_equal(a[i].value, b[i].value))
            return false;
    return true;
}

/* One element that is <m> times in the old list and <n> times in the new. Several equal ones are one field
 * that is compared as a whole. */
static int compare_run(struct comparer *c, const struct schema *item, const struct item *l,
                       size_t m, const struct item *r, size_t n, struct change *out)
{
    struct change below = {.self = {false}};
    int rc = 0;
    if (m <= 1 && n <= 1) {
        rc = compare(c, item, m ? l->value : NULL, n ? r->value : NULL, &below);
    } else if (m >= 2 && n >= 2) {
        below.self[MODIFIED] = m != n || !runs_equal(l, r, m);
    } else if (m >= 2) {
        if (n)
            rc = compare(c, item, NULL, r->value, &below);
        below.self[REMOVED] = true;
    } else {
        if (m)
            rc = compare(c, item, l->value, NULL, &below);
        below.self[ADDED] = true;
    }
    change_push(c, out, m ? &l->at : &r->at, &below);
    return rc;
}

static size_t run(const struct items *x, size_t i)
{
    size_t n = 0;
    while (i + n < x->count &&
           (n == 0 || element_compare(&x->sorted[i].at, &x->sorted[i + n].at) == 0))
        n++;
    return n;
}

static bool empty(yyjson_mut_val *list)
{
    return !list || yyjson_mut_arr_size(list) == 0;
}

static int compare_list(struct comparer *c, const struct schema *s, yyjson_mut_val *l,
                        yyjson_mut_val *r, struct change *out)
{
    struct items x, y;
    struct schema item = schema_of_item(s);
    size_t i = 0, j = 0;
    if (empty(l) && empty(r)) {
        leaf(c, s, l, r, out);
        return 0;
    }
    int rc = items_init(&x, c->arena, s, l, NULL, c->err);
    if (!rc)
        rc = items_init(&y, c->arena, s, r, NULL, c->err);
    while (!rc && (i < x.count || j < y.count)) {
        int order = i == x.count   ? 1
                    : j == y.count ? -1
                                   : element_compare(&x.sorted[i].at, &y.sorted[j].at);
        size_t m = order <= 0 ? run(&x, i) : 0, n = order >= 0 ? run(&y, j) : 0;
        rc = compare_run(c, &item, m ? &x.sorted[i] : NULL, m, n ? &y.sorted[j] : NULL, n, out);
        i += m;
        j += n;
    }
    not_leaf(l, r, out);
    return rc;
}

static int compare_as(struct comparer *c, const struct schema *s, yyjson_mut_val *l,
                      yyjson_mut_val *r, struct change *out)
{
    int rc = 0;
    /* Go's type of a raw extension shows no fields: an update owns it as a whole */
    if (s->atomic || s->raw || s->what == SCHEMA_SCALAR) {
        leaf(c, s, l, r, out);
        return 0;
    }
    if (++c->depth > NEAP_APPLY_DEPTH_MAX)
        return too_deep(c);
    rc = s->what == SCHEMA_LIST ? compare_list(c, s, l, r, out) : compare_map(c, s, l, r, out);
    c->depth--;
    return rc;
}

/* At least one of <l> and <r> is there. */
static int compare(struct comparer *c, const struct schema *schema, yyjson_mut_val *l,
                   yyjson_mut_val *r, struct change *out)
{
    if (l && r && same(l, r))
        return 0;
    struct schema a = schema_resolve(schema, l, r), b = schema_resolve(schema, r, l);
    if (l && r && !schema->raw && a.what != b.what) { /* something else is there now */
        int rc = a.what == SCHEMA_MAP ? compare_as(c, &a, l, NULL, out) : 0;
        if (!rc && b.what == SCHEMA_MAP)
            rc = compare_as(c, &b, NULL, r, out);
        out->self[ADDED] = out->self[REMOVED] = false;
        out->self[MODIFIED] = true;
        return rc;
    }
    return compare_as(c, &b, l, r, out);
}

int neap_apply_compare(struct neap_arena *arena, const struct neap_type *type, yyjson_mut_val *old,
                       yyjson_mut_val *new_, struct neap_comparison *ret, struct neap_err *err)
{
    return apply_compare(arena, type, old, new_, true, ret, err);
}

int apply_compare(struct neap_arena *arena, const struct neap_type *type, yyjson_mut_val *old,
                  yyjson_mut_val *new_, bool fill, struct neap_comparison *ret,
                  struct neap_err *err)
{
    struct comparer c = {.arena = arena, .err = err, .fill = fill};
    struct change out = {.self = {false}};
    struct schema s = schema_of_type(type);
    int rc = compare(&c, &s, old, new_, &out);
    for (int i = 0; i < CHANGES; i++)
        fields_sort(arena, out.below[i]);
    *ret = (struct neap_comparison){out.below[ADDED], out.below[MODIFIED], out.below[REMOVED]};
    if (!rc && neap_arena_exhausted(arena))
        rc = neap_err_set(err, NEAP_ETOOLARGE, "the object is too large to be compared");
    return rc;
}

/* ---- fields of a value ---- */

static int fields_of(struct comparer *c, const struct schema *schema, yyjson_mut_val *v,
                     struct neap_fields **below, bool *self);

static int fields_of_map(struct comparer *c, const struct schema *s, yyjson_mut_val *v,
                         struct neap_fields **out)
{
    struct pairs p;
    int rc = 0;
    pairs_init(&p, s, v, NULL, false);
    for (size_t i = 0; !rc && i < p.count; i++) {
        const struct pair *e = &p.at[i];
        struct neap_fields *below = NULL;
        struct element at = element_field(e->name, e->len);
        bool self;
        rc = fields_of(c, &e->schema, e->l, &below, &self);
        bool empty =
            yyjson_mut_is_null(e->l) || (yyjson_mut_is_obj(e->l) && yyjson_mut_obj_size(e->l) == 0);
        fields_push(c->arena, out, &at, self || empty || !e->declared, below);
    }
    pairs_done(&p);
    return rc;
}

static int fields_of_list(struct comparer *c, const struct schema *s, yyjson_mut_val *v,
                          struct neap_fields **out)
{
    struct items x;
    struct schema item = schema_of_item(s);
    int rc = items_init(&x, c->arena, s, v, NULL, c->err);
    for (size_t i = 0, n; !rc && i < x.count; i += n) {
        struct neap_fields *below = NULL;
        bool self;
        n = run(&x, i);
        if (n == 1) /* what is there twice is one field */
            rc = fields_of(c, &item, x.sorted[i].value, &below, &self);
        fields_push(c->arena, out, &x.sorted[i].at, true, below);
    }
    return rc;
}

static int fields_of(struct comparer *c, const struct schema *schema, yyjson_mut_val *v,
                     struct neap_fields **below, bool *self)
{
    struct schema s = schema_resolve(schema, v, NULL);
    int rc;
    *self = s.atomic || s.what == SCHEMA_SCALAR;
    if (*self)
        return 0;
    if (++c->depth > NEAP_APPLY_DEPTH_MAX)
        return too_deep(c);
    rc = s.what == SCHEMA_LIST ? fields_of_list(c, &s, v, below) : fields_of_map(c, &s, v, below);
    c->depth--;
    return rc;
}

int neap_apply_fields_of(struct neap_arena *arena, const struct neap_type *type,
                         yyjson_mut_val *value, struct neap_fields **ret, struct neap_err *err)
{
    struct comparer c = {.arena = arena, .err = err};
    struct schema s = schema_of_type(type);
    bool self;
    *ret = NULL;
    int rc = fields_of(&c, &s, value, ret, &self);
    fields_sort(arena, *ret);
    if (!rc && neap_arena_exhausted(arena))
        rc = neap_err_set(err, NEAP_ETOOLARGE, "the object is too large");
    return rc;
}
