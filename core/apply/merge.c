/* What is there and what is applied, merged: the applied one wins, lists keep an order that suits both. */
#include "core/apply/apply_internal.h"

struct merger {
    struct neap_arena *arena;
    yyjson_mut_doc *doc;
    struct neap_err *err;
    unsigned depth;
};

/* *ret NULL: nothing is left. */
static int merge(struct merger *m, const struct schema *schema, yyjson_mut_val *l,
                 yyjson_mut_val *r, yyjson_mut_val **ret);

static yyjson_mut_val *copy(struct merger *m, yyjson_mut_val *v)
{
    return yyjson_mut_val_mut_copy(m->doc, v);
}

static yyjson_mut_val *key_copy(struct merger *m, const char *name, size_t len)
{
    return yyjson_mut_strn(m->doc, name, len);
}

static int merge_map(struct merger *m, const struct schema *s, yyjson_mut_val *l, yyjson_mut_val *r,
                     yyjson_mut_val **ret)
{
    struct pairs p;
    int rc = 0;
    yyjson_mut_val *out = yyjson_mut_obj(m->doc);
    pairs_init(&p, s, l, r, false);
    for (size_t i = 0; !rc && i < p.count; i++) {
        yyjson_mut_val *v = NULL;
        rc = merge(m, &p.at[i].schema, p.at[i].l, p.at[i].r, &v);
        if (v && !rc)
            yyjson_mut_obj_add(out, key_copy(m, p.at[i].name, p.at[i].len), v);
    }
    pairs_done(&p);
    *ret = yyjson_mut_obj_size(out) ? out : NULL;
    return rc;
}

/* ---- lists ---- */

struct lists {
    struct merger *m;
    struct schema item;
    struct items l, r;
    bool *merged;  /* by index of r: it is in the result */
    size_t shared; /* the next item of r that l has too; r.count: none */
    yyjson_mut_val *out;
};

static size_t next_shared(const struct lists *x, size_t from)
{
    while (from < x->r.count && !items_find(&x->l, &x->r.at[from].at, NULL))
        from++;
    return from;
}

/* An item of the result. What is in the old list more than once is not merged with. */
static int merge_item(struct lists *x, const struct item *l, size_t l_count, const struct item *r)
{
    yyjson_mut_val *v = NULL;
    int rc = merge(x->m, &x->item, l && l_count == 1 ? l->value : NULL, r ? r->value : NULL, &v);
    if (v && !rc)
        yyjson_mut_arr_append(x->out, v);
    return rc;
}

/* Takes the item <j> of the new list, with the one of the old list that it matches. */
static int take_right(struct lists *x, size_t j)
{
    size_t n;
    const struct item *l = items_find(&x->l, &x->r.at[j].at, &n);
    x->merged[j] = true;
    return merge_item(x, l, n, &x->r.at[j]);
}

static int zip(struct lists *x)
{
    size_t i = 0, j = 0;
    int rc = 0;
    x->shared = next_shared(x, 0);
    while (!rc && (i < x->l.count || j < x->r.count)) {
        const struct item *l = i < x->l.count ? &x->l.at[i] : NULL;
        const struct item *match = l ? items_find(&x->r, &l->at, NULL) : NULL;
        if (l && j < x->r.count) {
            if (match && match->index == j) {
                rc = take_right(x, j);
                i++;
                j++;
                x->shared = next_shared(x, x->shared < x->r.count ? x->shared + 1 : x->r.count);
                continue;
            }
            if (match && x->shared < x->r.count &&
                element_compare(&x->r.at[x->shared].at, &l->at) != 0) {
                i++; /* it comes later, in the order of the new list */
                continue;
            }
        }
        if (l && !match) {
            rc = merge_item(x, l, 1, NULL);
            i++;
            continue;
        }
        if (l && x->merged[match->index])
            i++;
        if (j < x->r.count) {
            rc = take_right(x, j);
            if (j == x->shared)
                x->shared = next_shared(x, j + 1);
            j++;
        }
    }
    return rc;
}

static int merge_list(struct merger *m, const struct schema *s, yyjson_mut_val *l,
                      yyjson_mut_val *r, yyjson_mut_val **ret)
{
    struct lists x = {.m = m, .item = schema_of_item(s), .out = yyjson_mut_arr(m->doc)};
    int rc = items_init(&x.r, m->arena, s, r, NULL, m->err);
    if (!rc)
        rc = items_init(&x.l, m->arena, s, l, NULL, m->err);
    x.merged = neap_arena_calloc(m->arena, x.r.count + 1);
    if (!rc && (!x.merged || !x.out))
        rc = neap_err_set(m->err, NEAP_ETOOLARGE, "the object is too large");
    if (!rc)
        rc = zip(&x);
    *ret = yyjson_mut_arr_size(x.out) ? x.out : NULL;
    return rc;
}

static bool is_empty(const struct schema *s, yyjson_mut_val *v)
{
    return s->what == SCHEMA_LIST ? yyjson_mut_arr_size(v) == 0 : yyjson_mut_obj_size(v) == 0;
}

static int merge(struct merger *m, const struct schema *schema, yyjson_mut_val *l,
                 yyjson_mut_val *r, yyjson_mut_val **ret)
{
    struct schema a = schema_resolve(schema, l, r), s = schema_resolve(schema, r, l);
    int rc;
    if (!l || !r || s.atomic || s.what == SCHEMA_SCALAR || s.what != a.what ||
        (is_empty(&s, l) && is_empty(&s, r))) {
        *ret = copy(m, r ? r : l);
        return 0;
    }
    if (++m->depth > NEAP_APPLY_DEPTH_MAX)
        return neap_err_set(m->err, NEAP_ETOOLARGE, "the object is nested too deeply");
    rc = s.what == SCHEMA_LIST ? merge_list(m, &s, l, r, ret) : merge_map(m, &s, l, r, ret);
    m->depth--;
    return rc;
}

int apply_merge(struct neap_arena *arena, yyjson_mut_doc *doc, const struct neap_type *type,
                yyjson_mut_val *live, yyjson_mut_val *config, yyjson_mut_val **ret,
                struct neap_err *err)
{
    struct merger m = {.arena = arena, .doc = doc, .err = err};
    struct schema s = schema_of_type(type);
    int rc = merge(&m, &s, live, config, ret);
    if (!rc && (!*ret || neap_arena_exhausted(arena)))
        rc = neap_err_set(err, NEAP_ETOOLARGE, "the object is too large to be merged");
    return rc;
}
