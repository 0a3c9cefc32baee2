/* Records that expire (events): a heap by time. An entry whose object has changed since is stale and
 * only dropped. What is due becomes an ordinary delete. Writer thread. */
#include "core/registry/registry_internal.h"

#define RETRY_NS (60 * INT64_C(1000000000)) /* after a delete that the store refused */

static void swap(struct neap_expiry *a, struct neap_expiry *b)
{
    struct neap_expiry t = *a;
    *a = *b;
    *b = t;
}

static void heap_push(struct neap_registry *r, struct neap_expiry e)
{
    r->heap = neap_grow(r->heap, &r->heap_cap, r->heap_count, sizeof(*r->heap));
    size_t i = r->heap_count++;
    r->heap[i] = e;
    for (size_t up; i > 0 && r->heap[up = (i - 1) / 2].when > r->heap[i].when; i = up)
        swap(&r->heap[up], &r->heap[i]);
}

static struct neap_expiry heap_pop(struct neap_registry *r)
{
    struct neap_expiry first = r->heap[0];
    r->heap[0] = r->heap[--r->heap_count];
    for (size_t i = 0, least = 0;; i = least) {
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < r->heap_count; c++)
            if (r->heap[c].when < r->heap[least].when)
                least = c;
        if (least == i)
            return first;
        swap(&r->heap[i], &r->heap[least]);
    }
}

void neap_registry_expire_add(struct neap_registry *r, struct neap_resource *resource,
                              const struct neap_object *o)
{
    if (o->expires > 0)
        heap_push(r, (struct neap_expiry){o->expires, o->revision, neap_str_ref(o->key), resource});
}

struct expiry_txn {
    struct neap_txn txn;
    struct neap_txn_op op;
    struct neap_expiry entry;
};

static void expired(struct neap_txn *txn)
{
    struct expiry_txn *t = txn->data;
    neap_str_unref(t->entry.key);
    neap_txn_done(txn);
    free(t);
}

size_t neap_registry_expire_due(struct neap_registry *r, struct neap_txn ***tail)
{
    int64_t now = neap_clock_wall(r->clock);
    size_t n = 0;
    while (n < NEAP_REGISTRY_EXPIRE_MAX && r->heap_count && r->heap[0].when <= now) {
        struct neap_expiry e = heap_pop(r);
        const struct neap_object *o = neap_tree_get(&r->trees[e.resource->tree], e.key->s);
        if (!o || o->revision != e.revision) {
            neap_str_unref(e.key);
            continue;
        }
        /* again later, in case that the store refuses; stale when it does not */
        e.when = now + RETRY_NS;
        neap_str_ref(e.key);
        heap_push(r, e);
        struct expiry_txn *t = neap_calloc(1, sizeof(*t));
        t->entry = e;
        t->op =
            (struct neap_txn_op){.kind = e.resource->kind, .key = e.key->s, .expected = e.revision};
        t->txn = (struct neap_txn){.ops = &t->op, .op_count = 1, .done = expired, .data = t};
        **tail = &t->txn;
        *tail = &t->txn.next;
        n++;
    }
    return n;
}

void neap_registry_expire_done(struct neap_registry *r)
{
    while (r->heap_count)
        neap_str_unref(r->heap[--r->heap_count].key);
    free(r->heap);
}
