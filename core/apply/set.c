/* Sets of field paths: a tree whose levels are sorted, so that all operations are merges of two lists. */
#include "core/apply/apply_internal.h"

/* ---- making ---- */

static struct neap_fields *fields_new(struct neap_arena *a, uint32_t cap)
{
    struct neap_fields *set = neap_arena_alloc(a, sizeof(*set));
    if (!set)
        return NULL;
    *set = (struct neap_fields){.cap = cap};
    set->nodes = neap_arena_alloc(a, cap * sizeof(*set->nodes));
    return set->nodes ? set : NULL;
}

void fields_push(struct neap_arena *a, struct neap_fields **set, const struct element *at,
                 bool member, struct neap_fields *below)
{
    struct neap_fields *s = *set;
    if (below && below->count == 0)
        below = NULL;
    if (!member && !below)
        return;
    if (!s && !(s = *set = fields_new(a, 4)))
        return;
    if (s->count == s->cap) {
        struct node *more = neap_arena_alloc(a, 2 * s->cap * sizeof(*more));
        if (!more)
            return;
        memcpy(more, s->nodes, s->count * sizeof(*more));
        s->nodes = more;
        s->cap *= 2;
    }
    s->nodes[s->count++] = (struct node){.at = *at, .member = member, .below = below};
}

static int node_order(const void *a, const void *b)
{
    return element_compare(&((const struct node *)a)->at, &((const struct node *)b)->at);
}

void fields_sort(struct neap_arena *a, struct neap_fields *set)
{
    uint32_t to = 0;
    bool sorted = true;
    if (!set)
        return;
    for (uint32_t i = 1; sorted && i < set->count; i++)
        sorted = node_order(&set->nodes[i - 1], &set->nodes[i]) < 0;
    if (sorted)
        return;
    qsort(set->nodes, set->count, sizeof(*set->nodes), node_order);
    for (uint32_t i = 1; i < set->count; i++) {
        struct node *last = &set->nodes[to], *n = &set->nodes[i];
        if (node_order(last, n) == 0) {
            last->member |= n->member;
            last->below = neap_fields_union(a, last->below, n->below);
        } else {
            set->nodes[++to] = *n;
        }
    }
    set->count = to + 1;
}

const struct node *fields_find(const struct neap_fields *set, const struct element *at)
{
    uint32_t lo = 0, hi = set ? set->count : 0;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        int c = element_compare(&set->nodes[mid].at, at);
        if (c == 0)
            return &set->nodes[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

void fields_add_path(struct neap_arena *a, struct neap_fields **set, const char *dotted)
{
    struct neap_fields *one = NULL, *below = NULL;
    size_t end = strlen(dotted);
    bool member = true;
    while (end) {
        size_t start = end;
        while (start && dotted[start - 1] != '.')
            start--;
        struct element at = element_field(dotted + start, end - start);
        one = NULL;
        fields_push(a, &one, &at, member, below);
        below = one;
        member = false;
        end = start ? start - 1 : 0;
    }
    *set = neap_fields_union(a, *set, one);
}

/* ---- FieldsV1 ---- */

static int parse(struct neap_arena *arena, yyjson_mut_val *v, unsigned depth,
                 struct neap_fields **ret, bool *self, struct neap_err *err)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    *ret = NULL;
    *self = false;
    if (depth > NEAP_APPLY_DEPTH_MAX)
        return neap_err_set(err, NEAP_ETOOLARGE, "the field set is nested too deeply");
    if (!yyjson_mut_is_obj(v) && !yyjson_mut_is_null(v))
        return neap_err_set(err, NEAP_EBADREQUEST, "a field set is no object");
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        struct element at;
        struct neap_fields *below;
        bool member;
        if (yyjson_mut_equals_str(k, ".")) {
            *self = true;
            continue;
        }
        int rc = element_parse(arena, yyjson_mut_get_str(k), yyjson_mut_get_len(k), &at);
        if (rc < 0)
            return neap_err_set(err, NEAP_EBADREQUEST, "a path element is malformed: %s",
                                yyjson_mut_get_str(k));
        if (rc == 0)
            continue;
        rc = parse(arena, yyjson_mut_obj_iter_get_val(k), depth + 1, &below, &member, err);
        if (rc)
            return rc;
        fields_push(arena, ret, &at, member, below);
    }
    fields_sort(arena, *ret);
    if (!*ret)
        *self = true;
    return 0;
}

int neap_fields_parse(struct neap_arena *arena, yyjson_mut_val *fields_v1, struct neap_fields **ret,
                      struct neap_err *err)
{
    bool self;
    int rc = parse(arena, fields_v1, 0, ret, &self, err);
    if (!rc && neap_arena_exhausted(arena))
        rc = neap_err_set(err, NEAP_ETOOLARGE, "the field set is too large");
    return rc;
}

static yyjson_mut_val *element_value(const struct element *e, yyjson_mut_doc *doc)
{
    char few[128];
    if (e->kind == ELEMENT_FIELD && e->len + 2 <= sizeof(few)) {
        memcpy(few, "f:", 2);
        memcpy(few + 2, e->name, e->len);
        return yyjson_mut_strncpy(doc, few, e->len + 2);
    }
    struct neap_buf b = NEAP_BUF_INIT;
    element_write(&b, e);
    yyjson_mut_val *v = yyjson_mut_strncpy(doc, b.data, b.len);
    neap_buf_done(&b);
    return v;
}

static void fill(const struct neap_fields *set, yyjson_mut_doc *doc, yyjson_mut_val *object)
{
    for (uint32_t i = 0; set && i < set->count; i++) {
        const struct node *n = &set->nodes[i];
        yyjson_mut_val *below = yyjson_mut_obj(doc);
        if (n->member && n->below)
            yyjson_mut_obj_add_val(doc, below, ".", yyjson_mut_obj(doc));
        fill(n->below, doc, below);
        yyjson_mut_obj_add(object, element_value(&n->at, doc), below);
    }
}

yyjson_mut_val *neap_fields_value(const struct neap_fields *set, yyjson_mut_doc *doc)
{
    yyjson_mut_val *object = yyjson_mut_obj(doc);
    if (object)
        fill(set, doc, object);
    return object;
}

/* ---- questions ---- */

bool neap_fields_empty(const struct neap_fields *set)
{
    return !set || set->count == 0;
}

size_t neap_fields_count(const struct neap_fields *set)
{
    size_t n = 0;
    for (uint32_t i = 0; set && i < set->count; i++)
        n += set->nodes[i].member + neap_fields_count(set->nodes[i].below);
    return n;
}

bool neap_fields_equal(const struct neap_fields *a, const struct neap_fields *b)
{
    uint32_t n = a ? a->count : 0;
    if (a == b || n != (b ? b->count : 0))
        return a == b;
    for (uint32_t i = 0; i < n; i++)
        if (a->nodes[i].member != b->nodes[i].member ||
            element_compare(&a->nodes[i].at, &b->nodes[i].at) != 0 ||
            !neap_fields_equal(a->nodes[i].below, b->nodes[i].below))
            return false;
    return true;
}

static void each(const struct neap_fields *set, struct neap_buf *path,
                 void (*fn)(void *ctx, const char *path), void *ctx)
{
    size_t len = path->len;
    for (int members = 1; members >= 0; members--)
        for (uint32_t i = 0; set && i < set->count; i++) {
            const struct node *n = &set->nodes[i];
            if (members ? !n->member : !n->below)
                continue;
            element_print(path, &n->at);
            if (members)
                fn(ctx, path->data);
            else
                each(n->below, path, fn, ctx);
            path->len = len;
            path->data[len] = '\0';
        }
}

void fields_each(const struct neap_fields *set, void (*fn)(void *ctx, const char *path), void *ctx)
{
    struct neap_buf path NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    each(set, &path, fn, ctx);
}

static void print_line(void *ctx, const char *path)
{
    struct neap_buf *out = ctx;
    neap_buf_str(out, path);
    neap_buf_char(out, '\n');
}

void neap_fields_print(struct neap_buf *out, const struct neap_fields *set)
{
    neap_buf_append(out, "", 0);
    fields_each(set, print_line, out);
}

/* ---- operations ---- */

static void push_node(struct neap_arena *a, struct neap_fields **set, const struct node *n)
{
    fields_push(a, set, &n->at, n->member, n->below);
}

struct neap_fields *neap_fields_union(struct neap_arena *arena, struct neap_fields *a,
                                      struct neap_fields *b)
{
    struct neap_fields *out = NULL;
    uint32_t i = 0, j = 0;
    if (neap_fields_empty(a) || a == b)
        return b;
    if (neap_fields_empty(b))
        return a;
    out = fields_new(arena, a->count > b->count ? a->count : b->count);
    while (i < a->count && j < b->count) {
        const struct node *x = &a->nodes[i], *y = &b->nodes[j];
        int c = element_compare(&x->at, &y->at);
        if (c == 0)
            fields_push(arena, &out, &x->at, x->member || y->member,
                        neap_fields_union(arena, x->below, y->below));
        else
            push_node(arena, &out, c < 0 ? x : y);
        i += c <= 0;
        j += c >= 0;
    }
    for (; i < a->count; i++)
        push_node(arena, &out, &a->nodes[i]);
    for (; j < b->count; j++)
        push_node(arena, &out, &b->nodes[j]);
    return out;
}

struct neap_fields *neap_fields_intersection(struct neap_arena *arena, struct neap_fields *a,
                                             struct neap_fields *b)
{
    struct neap_fields *out = NULL;
    uint32_t i = 0, j = 0;
    while (a && b && i < a->count && j < b->count) {
        const struct node *x = &a->nodes[i], *y = &b->nodes[j];
        int c = element_compare(&x->at, &y->at);
        if (c == 0)
            fields_push(arena, &out, &x->at, x->member && y->member,
                        neap_fields_intersection(arena, x->below, y->below));
        i += c <= 0;
        j += c >= 0;
    }
    return out;
}

static struct neap_fields *difference(struct neap_arena *arena, struct neap_fields *a,
                                      struct neap_fields *b, bool below)
{
    struct neap_fields *out = NULL;
    uint32_t j = 0;
    if (neap_fields_empty(a) || neap_fields_empty(b))
        return a;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct node *x = &a->nodes[i], *y = NULL;
        int c = 1;
        while (j < b->count && (c = element_compare(&x->at, &b->nodes[j].at)) > 0)
            j++;
        if (j < b->count && c == 0)
            y = &b->nodes[j];
        if (!y)
            push_node(arena, &out, x);
        else if (!(below && y->member))
            fields_push(arena, &out, &x->at, x->member && !y->member,
                        difference(arena, x->below, y->below, below));
    }
    return out;
}

struct neap_fields *neap_fields_difference(struct neap_arena *arena, struct neap_fields *a,
                                           struct neap_fields *b)
{
    return difference(arena, a, b, false);
}

struct neap_fields *neap_fields_difference_below(struct neap_arena *arena, struct neap_fields *a,
                                                 struct neap_fields *b)
{
    return difference(arena, a, b, true);
}

struct neap_fields *neap_fields_leaves(struct neap_arena *arena, struct neap_fields *set)
{
    struct neap_fields *out = NULL;
    for (uint32_t i = 0; set && i < set->count; i++) {
        const struct node *n = &set->nodes[i];
        fields_push(arena, &out, &n->at, n->member && !n->below,
                    neap_fields_leaves(arena, n->below));
    }
    return out;
}
