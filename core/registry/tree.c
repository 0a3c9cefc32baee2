/* The copy-on-write B-tree: see tree.h. Items stand in inner nodes too, so there are no separators to
 * keep alive. Splits and merges happen on the way down, in one pass. */
#include "core/registry/tree.h"

enum { TAG_MASK = 3 };

/* ---- garbage -------------------------------------------------------------------------------- */

void neap_garbage_add(struct neap_garbage *g, void *p, unsigned type, size_t bytes)
{
    if (!p)
        return;
    g->at = neap_grow(g->at, &g->cap, g->count, sizeof(*g->at));
    g->at[g->count++] = (uintptr_t)p | type;
    g->bytes += bytes;
}

static void free_one(uintptr_t tagged)
{
    void *p = (void *)(tagged & ~(uintptr_t)TAG_MASK);
    switch (tagged & TAG_MASK) {
    case NEAP_GARBAGE_NODE:
        free(p);
        break;
    case NEAP_GARBAGE_OBJECT:
        neap_object_unref(p);
        break;
    default:
        neap_str_unref(p);
    }
}

void neap_garbage_free(struct neap_garbage *g)
{
    for (size_t i = 0; i < g->count; i++)
        free_one(g->at[i]);
    free(g->at);
    *g = (struct neap_garbage){0};
}

static bool shown_in(uintptr_t tagged, uint64_t batch, uint64_t revision, size_t *bytes)
{
    void *p = (void *)(tagged & ~(uintptr_t)TAG_MASK);
    switch (tagged & TAG_MASK) {
    case NEAP_GARBAGE_NODE: {
        const struct neap_tree_node *n = p;
        *bytes = sizeof(*n);
        return n->born <= batch;
    }
    case NEAP_GARBAGE_OBJECT:
        *bytes = neap_object_memory(p);
        return neap_object_revision(p) <= revision;
    default: /* a string does not tell its age: kept as long as anything older is */
        *bytes = sizeof(struct neap_str);
        return true;
    }
}

void neap_garbage_split(struct neap_garbage *g, uint64_t batch, uint64_t revision,
                        struct neap_garbage *shown, struct neap_garbage *gone)
{
    for (size_t i = 0; i < g->count; i++) {
        size_t bytes;
        struct neap_garbage *to = shown_in(g->at[i], batch, revision, &bytes) ? shown : gone;
        to->at = neap_grow(to->at, &to->cap, to->count, sizeof(*to->at));
        to->at[to->count++] = g->at[i];
        to->bytes += bytes;
    }
    free(g->at);
    *g = (struct neap_garbage){0};
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static size_t node_size(bool leaf)
{
    return sizeof(struct neap_tree_node) +
           (leaf ? 0 : (NEAP_TREE_MAX + 1) * sizeof(struct neap_tree_node *));
}

static struct neap_tree_node *node_new(const struct neap_tree_edit *e, bool leaf)
{
    struct neap_tree_node *n = neap_malloc(node_size(leaf));
    n->born = e->batch;
    n->count = 0;
    n->leaf = leaf;
    return n;
}

static void node_drop(const struct neap_tree_edit *e, struct neap_tree_node *n)
{
    if (n->born == e->batch)
        free(n); /* no snapshot has seen it */
    else
        neap_garbage_add(e->garbage, n, NEAP_GARBAGE_NODE, node_size(n->leaf));
}

/* The node in *slot, made editable. */
static struct neap_tree_node *own(const struct neap_tree_edit *e, struct neap_tree_node **slot)
{
    struct neap_tree_node *n = *slot;
    if (n->born == e->batch)
        return n;
    struct neap_tree_node *c = neap_malloc(node_size(n->leaf));
    memcpy(c, n, node_size(n->leaf));
    c->born = e->batch;
    node_drop(e, n);
    *slot = c;
    return c;
}

static int compare(const struct neap_tree_item *a, const struct neap_tree_item *b, bool pairs)
{
    int c = a->k == b->k ? 0 : strcmp(a->k->s, b->k->s);
    if (c || !pairs || a->v == b->v)
        return c;
    return strcmp(((struct neap_str *)a->v)->s, ((struct neap_str *)b->v)->s);
}

/* Index of the first item that is not below <item>; *found: it is equal. */
static unsigned search(const struct neap_tree_node *n, const struct neap_tree_item *item,
                       bool pairs, bool *found)
{
    unsigned lo = 0, hi = n->count;
    *found = false;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        int c = compare(item, &n->items[mid], pairs);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static void insert_item(struct neap_tree_node *n, unsigned i, struct neap_tree_item item)
{
    memmove(&n->items[i + 1], &n->items[i], (n->count - i) * sizeof(item));
    n->items[i] = item;
}

static void insert_child(struct neap_tree_node *n, unsigned i, struct neap_tree_node *child)
{
    memmove(&n->children[i + 1], &n->children[i], (n->count + 1u - i) * sizeof(child));
    n->children[i] = child;
}

static void remove_item(struct neap_tree_node *n, unsigned i)
{
    memmove(&n->items[i], &n->items[i + 1], (n->count - i - 1u) * sizeof(n->items[0]));
}

/* Before the count is lowered. */
static void remove_child(struct neap_tree_node *n, unsigned i)
{
    memmove(&n->children[i], &n->children[i + 1], (n->count - i) * sizeof(n->children[0]));
}

/* ---- put ------------------------------------------------------------------------------------ */

/* Splits the full child i of <p>. <at>: where the coming item goes in the child; keys that only grow
 * leave full nodes behind instead of half-empty ones. */
static void split_child(const struct neap_tree_edit *e, struct neap_tree_node *p, unsigned i,
                        unsigned at)
{
    struct neap_tree_node *l = own(e, &p->children[i]), *r = node_new(e, l->leaf);
    unsigned mid = at == NEAP_TREE_MAX ? NEAP_TREE_MAX - 2 : NEAP_TREE_MAX / 2;
    r->count = (uint16_t)(NEAP_TREE_MAX - mid - 1);
    memcpy(r->items, &l->items[mid + 1], r->count * sizeof(r->items[0]));
    if (!l->leaf)
        memcpy(r->children, &l->children[mid + 1], (r->count + 1u) * sizeof(r->children[0]));
    l->count = (uint16_t)mid;
    insert_child(p, i + 1, r);
    insert_item(p, i, l->items[mid]);
    p->count++;
}

static void grow_root(struct neap_tree *t, const struct neap_tree_edit *e,
                      const struct neap_tree_item *item)
{
    bool found;
    struct neap_tree_node *root = node_new(e, false);
    root->children[0] = t->root;
    unsigned at = search(t->root, item, e->pairs, &found);
    split_child(e, root, 0, at);
    t->root = root;
}

void neap_tree_put(struct neap_tree *t, const struct neap_tree_edit *e, struct neap_tree_item item,
                   struct neap_tree_item *old)
{
    *old = (struct neap_tree_item){0};
    if (!t->root)
        t->root = node_new(e, true);
    else if (t->root->count == NEAP_TREE_MAX)
        grow_root(t, e, &item);
    for (struct neap_tree_node **slot = &t->root;;) {
        bool found;
        struct neap_tree_node *n = own(e, slot);
        unsigned i = search(n, &item, e->pairs, &found);
        if (found) {
            *old = n->items[i];
            n->items[i] = item;
            return;
        }
        if (n->leaf) {
            insert_item(n, i, item);
            n->count++;
            t->count++;
            return;
        }
        if (n->children[i]->count == NEAP_TREE_MAX) {
            unsigned at = search(n->children[i], &item, e->pairs, &found);
            split_child(e, n, i, found ? 0 : at);
            continue; /* the middle item has come up: look again */
        }
        slot = &n->children[i];
    }
}

/* ---- delete --------------------------------------------------------------------------------- */

static void borrow_left(struct neap_tree_node *p, unsigned i, struct neap_tree_node *l,
                        struct neap_tree_node *c)
{
    insert_item(c, 0, p->items[i - 1]);
    if (!c->leaf)
        insert_child(c, 0, l->children[l->count]);
    c->count++;
    l->count--;
    p->items[i - 1] = l->items[l->count];
}

static void borrow_right(struct neap_tree_node *p, unsigned i, struct neap_tree_node *c,
                         struct neap_tree_node *r)
{
    c->items[c->count++] = p->items[i];
    if (!c->leaf) {
        c->children[c->count] = r->children[0];
        remove_child(r, 0);
    }
    p->items[i] = r->items[0];
    remove_item(r, 0);
    r->count--;
}

/* Child i + 1 and the item between go into child i. */
static void merge_right(const struct neap_tree_edit *e, struct neap_tree_node *p, unsigned i)
{
    struct neap_tree_node *l = own(e, &p->children[i]), *r = p->children[i + 1];
    l->items[l->count++] = p->items[i];
    memcpy(&l->items[l->count], r->items, r->count * sizeof(r->items[0]));
    if (!l->leaf)
        memcpy(&l->children[l->count], r->children, (r->count + 1u) * sizeof(r->children[0]));
    l->count = (uint16_t)(l->count + r->count);
    remove_item(p, i);
    remove_child(p, i + 1);
    p->count--;
    node_drop(e, r);
}

/* Makes child i of <p> hold more than the least, so that one may go; returns its index now. */
static unsigned fill_child(const struct neap_tree_edit *e, struct neap_tree_node *p, unsigned i)
{
    if (p->children[i]->count > NEAP_TREE_MIN)
        return i;
    if (i > 0 && p->children[i - 1]->count > NEAP_TREE_MIN) {
        borrow_left(p, i, own(e, &p->children[i - 1]), own(e, &p->children[i]));
        return i;
    }
    if (i < p->count && p->children[i + 1]->count > NEAP_TREE_MIN) {
        borrow_right(p, i, own(e, &p->children[i]), own(e, &p->children[i + 1]));
        return i;
    }
    unsigned left = i < p->count ? i : i - 1;
    merge_right(e, p, left);
    return left;
}

/* Takes the greatest item below *slot, whose node holds more than the least. */
static struct neap_tree_item take_last(const struct neap_tree_edit *e, struct neap_tree_node **slot)
{
    for (;;) {
        struct neap_tree_node *n = own(e, slot);
        if (n->leaf)
            return n->items[--n->count];
        unsigned i = fill_child(e, n, n->count);
        slot = &n->children[i];
    }
}

static struct neap_tree_item take_first(const struct neap_tree_edit *e,
                                        struct neap_tree_node **slot)
{
    for (;;) {
        struct neap_tree_node *n = own(e, slot);
        if (n->leaf) {
            struct neap_tree_item first = n->items[0];
            remove_item(n, 0);
            n->count--;
            return first;
        }
        unsigned i = fill_child(e, n, 0);
        slot = &n->children[i];
    }
}

/* Deletes item i of the inner node <n>; NULL: done, else where to go on looking. */
static struct neap_tree_node **del_inner(const struct neap_tree_edit *e, struct neap_tree_node *n,
                                         unsigned i)
{
    if (n->children[i]->count > NEAP_TREE_MIN) {
        n->items[i] = take_last(e, &n->children[i]);
        return NULL;
    }
    if (n->children[i + 1]->count > NEAP_TREE_MIN) {
        n->items[i] = take_first(e, &n->children[i + 1]);
        return NULL;
    }
    merge_right(e, n, i);
    return &n->children[i];
}

static bool contains(const struct neap_tree *t, const struct neap_tree_item *item, bool pairs)
{
    bool found;
    for (const struct neap_tree_node *n = t->root; n;) {
        unsigned i = search(n, item, pairs, &found);
        if (found)
            return true;
        n = n->leaf ? NULL : n->children[i];
    }
    return false;
}

static void shrink_root(struct neap_tree *t, const struct neap_tree_edit *e)
{
    struct neap_tree_node *root = t->root;
    if (root->count)
        return;
    t->root = root->leaf ? NULL : root->children[0];
    node_drop(e, root);
}

bool neap_tree_del(struct neap_tree *t, const struct neap_tree_edit *e, struct neap_tree_item item,
                   struct neap_tree_item *old)
{
    if (!contains(t, &item, e->pairs))
        return false;
    *old = (struct neap_tree_item){0};
    struct neap_tree_node **slot = &t->root;
    while (slot) {
        bool found;
        struct neap_tree_node *n = own(e, slot);
        unsigned i = search(n, &item, e->pairs, &found);
        if (found && !old->k)
            *old = n->items[i];
        if (found && n->leaf) {
            remove_item(n, i);
            n->count--;
            slot = NULL;
        } else if (found) {
            slot = del_inner(e, n, i);
        } else {
            unsigned at = fill_child(e, n, i);
            slot = &n->children[at];
        }
    }
    t->count--;
    shrink_root(t, e);
    return true;
}

/* ---- reading -------------------------------------------------------------------------------- */

void *neap_tree_get(const struct neap_tree *t, const char *key)
{
    for (const struct neap_tree_node *n = t->root; n;) {
        unsigned lo = 0, hi = n->count;
        while (lo < hi) {
            unsigned mid = (lo + hi) / 2;
            int c = strcmp(key, n->items[mid].k->s);
            if (c == 0)
                return n->items[mid].v;
            if (c < 0)
                hi = mid;
            else
                lo = mid + 1;
        }
        n = n->leaf ? NULL : n->children[lo];
    }
    return NULL;
}

static void free_nodes(struct neap_tree_node *n, void (*each)(struct neap_tree_item item))
{
    if (!n)
        return;
    for (unsigned i = 0; !n->leaf && i <= n->count; i++)
        free_nodes(n->children[i], each); /* depth is logarithmic */
    for (unsigned i = 0; each && i < n->count; i++)
        each(n->items[i]);
    free(n);
}

void neap_tree_done(struct neap_tree *t, void (*each)(struct neap_tree_item item))
{
    free_nodes(t->root, each);
    *t = (struct neap_tree){0};
}

static void push(struct neap_tree_walk w, const struct neap_tree_node *n, unsigned pos)
{
    w.at[*w.depth] = (void *)(uintptr_t)n;
    w.pos[*w.depth] = pos;
    ++*w.depth;
}

void neap_tree_seek(const struct neap_tree *t, struct neap_tree_walk w, const char *key, bool after)
{
    *w.depth = 0;
    for (const struct neap_tree_node *n = t->root; n && *w.depth < NEAP_TREE_DEPTH;) {
        unsigned lo = 0, hi = key ? n->count : 0;
        while (lo < hi) {
            unsigned mid = (lo + hi) / 2;
            int c = strcmp(n->items[mid].k->s, key);
            if (after ? c <= 0 : c < 0)
                lo = mid + 1;
            else
                hi = mid;
        }
        push(w, n, lo);
        n = n->leaf ? NULL : n->children[lo];
    }
}

const struct neap_tree_item *neap_tree_next(struct neap_tree_walk w)
{
    while (*w.depth) {
        const struct neap_tree_node *n = w.at[*w.depth - 1];
        unsigned i = w.pos[*w.depth - 1];
        if (i == n->count) {
            --*w.depth;
            continue;
        }
        w.pos[*w.depth - 1]++;
        const struct neap_tree_node *c = n->leaf ? NULL : n->children[i + 1];
        while (c && *w.depth < NEAP_TREE_DEPTH) {
            push(w, c, 0);
            c = c->leaf ? NULL : c->children[0];
        }
        return &n->items[i];
    }
    return NULL;
}
