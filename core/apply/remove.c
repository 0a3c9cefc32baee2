/* Fields taken out of an object; and sets of fields fitted to a type. */
#include "core/apply/apply_internal.h"

/* ---- removal ---- */

/* False: nothing is left of the value, which becomes null. */
static bool take_out(struct neap_arena *arena, const struct schema *schema, yyjson_mut_val *v,
                     const struct neap_fields *set, unsigned depth);

static void take_below(struct neap_arena *arena, const struct schema *s, yyjson_mut_val *v,
                       const struct node *n, unsigned depth)
{
    if (n && n->below && !take_out(arena, s, v, n->below, depth + 1))
        yyjson_mut_set_null(v);
}

static struct schema schema_below(const struct schema *s, const char *name, size_t len)
{
    const struct neap_field *f =
        s->what == SCHEMA_STRUCT ? neap_type_field(s->type, name, len) : NULL;
    if (f)
        return schema_of_field(f);
    return s->what == SCHEMA_STRUCT ? (struct schema){.what = SCHEMA_ANY} : schema_of_item(s);
}

static bool take_from_map(struct neap_arena *arena, const struct schema *s, yyjson_mut_val *v,
                          const struct neap_fields *set, unsigned depth)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        size_t len = yyjson_mut_get_len(k);
        struct element at = element_field(yyjson_mut_get_str(k), len);
        const struct node *n = fields_find(set, &at);
        struct schema below;
        if (!n)
            continue;
        if (n->member) {
            yyjson_mut_obj_iter_remove(&it);
            continue;
        }
        below = schema_below(s, at.name, len);
        take_below(arena, &below, yyjson_mut_obj_iter_get_val(k), n, depth);
    }
    return yyjson_mut_obj_size(v) > 0;
}

static bool take_from_list(struct neap_arena *arena, const struct schema *s, yyjson_mut_val *v,
                           const struct neap_fields *set, unsigned depth)
{
    struct schema item = schema_of_item(s);
    struct items x;
    if (items_init(&x, arena, s, v, NULL, NULL) != 0)
        return true;
    yyjson_mut_arr_clear(v); /* yyjson 0.10's iterator skips an item behind a removed one */
    for (size_t i = 0; i < x.count; i++) {
        const struct node *n = fields_find(set, &x.at[i].at);
        if (n && n->member)
            continue;
        take_below(arena, &item, x.at[i].value, n, depth);
        yyjson_mut_arr_append(v, x.at[i].value);
    }
    return yyjson_mut_arr_size(v) > 0;
}

static bool take_out(struct neap_arena *arena, const struct schema *schema, yyjson_mut_val *v,
                     const struct neap_fields *set, unsigned depth)
{
    struct schema s = schema_resolve(schema, v, NULL);
    if (s.what == SCHEMA_SCALAR || depth > NEAP_APPLY_DEPTH_MAX)
        return true;
    if (s.atomic || !yyjson_mut_is_ctn(v))
        return false;
    if (s.what == SCHEMA_LIST)
        return yyjson_mut_is_arr(v) && take_from_list(arena, &s, v, set, depth);
    return yyjson_mut_is_obj(v) && take_from_map(arena, &s, v, set, depth);
}

void apply_remove(struct neap_arena *arena, const struct neap_type *type, yyjson_mut_val *value,
                  const struct neap_fields *set)
{
    struct schema s = schema_of_type(type);
    if (!neap_fields_empty(set))
        take_out(arena, &s, value, set, 0);
}

/* ---- sets and types ---- */

/* What stands below an element; false: the type does not say. */
static bool step(const struct schema *s, const struct element *at, struct schema *ret,
                 bool *declared)
{
    *declared = false;
    if (s->what == SCHEMA_STRUCT && at->kind == ELEMENT_FIELD) {
        const struct neap_field *f = neap_type_field(s->type, at->name, at->len);
        *declared = f;
        if (!f)
            return false;
        *ret = schema_of_field(f);
        return true;
    }
    if ((s->what == SCHEMA_MAP && at->kind == ELEMENT_FIELD) || s->what == SCHEMA_LIST) {
        *ret = schema_of_item(s);
        return true;
    }
    return false;
}

static struct neap_fields *named(struct neap_arena *arena, const struct schema *s,
                                 struct neap_fields *set)
{
    struct neap_fields *out = NULL;
    for (uint32_t i = 0; set && i < set->count; i++) {
        const struct node *n = &set->nodes[i];
        struct schema below;
        bool declared;
        bool known = step(s, &n->at, &below, &declared);
        fields_push(arena, &out, &n->at, n->member || (declared && n->below),
                    known ? named(arena, &below, n->below) : n->below);
    }
    return out;
}

struct neap_fields *apply_named(struct neap_arena *arena, const struct neap_type *type,
                                struct neap_fields *set)
{
    struct schema s = schema_of_type(type);
    return named(arena, &s, set);
}

/* The same set when it fits already. */
static struct neap_fields *reconcile(struct neap_arena *arena, const struct schema *s,
                                     struct neap_fields *set)
{
    struct neap_fields *out = NULL;
    bool changed = false;
    for (uint32_t i = 0; set && i < set->count; i++) {
        const struct node *n = &set->nodes[i];
        struct neap_fields *below = n->below;
        bool member = n->member, declared;
        struct schema at;
        if (below && step(s, &n->at, &at, &declared)) {
            if (at.atomic) {
                below = NULL;
                member = true;
            } else {
                below = reconcile(arena, &at, below);
            }
        }
        if (!changed && below != n->below) { /* the first that does: copy what was before it */
            changed = true;
            for (uint32_t j = 0; j < i; j++)
                fields_push(arena, &out, &set->nodes[j].at, set->nodes[j].member,
                            set->nodes[j].below);
        }
        if (changed)
            fields_push(arena, &out, &n->at, member, below);
    }
    return changed ? out : set;
}

struct neap_fields *apply_reconcile(struct neap_arena *arena, const struct neap_type *type,
                                    struct neap_fields *set)
{
    struct schema s = schema_of_type(type);
    return reconcile(arena, &s, set);
}
