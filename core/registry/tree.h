/* A copy-on-write B-tree of (key string, payload) pairs. Only the publisher changes it; a node made in
 * the current batch is edited in place, an older one is copied and the old one handed to the batch's
 * garbage. Readers hold a root and take no lock. Primary trees hold objects by key; index trees hold
 * (value, key) pairs, ordered by both. Private to core/registry. */
#ifndef NEAP_CORE_REGISTRY_TREE_H
#define NEAP_CORE_REGISTRY_TREE_H

#include "core/object/head.h"

enum { NEAP_TREE_MAX = 31, NEAP_TREE_MIN = 15 }; /* items a node; the root may hold fewer */

struct neap_tree_item {
    struct neap_str *k;
    void *v; /* struct neap_object *, or struct neap_str * in an index */
};

struct neap_tree_node {
    uint64_t born; /* batch */
    uint16_t count;
    bool leaf;
    struct neap_tree_item items[NEAP_TREE_MAX];
    struct neap_tree_node *children[]; /* count + 1, not in leaves */
};

struct neap_tree {
    struct neap_tree_node *root;
    size_t count;
};

/* What a batch replaced: tagged pointers, freed when no snapshot shows them. */
struct neap_garbage {
    uintptr_t *at;
    size_t count, cap, bytes;
};
enum { NEAP_GARBAGE_NODE, NEAP_GARBAGE_OBJECT, NEAP_GARBAGE_STR };
void neap_garbage_add(struct neap_garbage *g, void *p, unsigned type, size_t bytes);
/* Frees all of it, and the list. */
void neap_garbage_free(struct neap_garbage *g);
/* Splits <g>: what the snapshot (batch, revision) shows goes to <shown>, the rest to <gone>. */
void neap_garbage_split(struct neap_garbage *g, uint64_t batch, uint64_t revision,
                        struct neap_garbage *shown, struct neap_garbage *gone);

struct neap_tree_edit {
    uint64_t batch;
    bool pairs; /* an index: ordered by k, then by v as a string */
    struct neap_garbage *garbage;
};

/* Puts <item>; *old is what stood there ({NULL, NULL}: nothing). The caller owns what <old> holds. */
void neap_tree_put(struct neap_tree *t, const struct neap_tree_edit *e, struct neap_tree_item item,
                   struct neap_tree_item *old);
/* Removes what compares equal to <item>; false: not there. */
bool neap_tree_del(struct neap_tree *t, const struct neap_tree_edit *e, struct neap_tree_item item,
                   struct neap_tree_item *old);
/* The payload under <key> in a primary tree. */
void *neap_tree_get(const struct neap_tree *t, const char *key);
/* Frees every node (not the payloads: <each> is called for each item). */
void neap_tree_done(struct neap_tree *t, void (*each)(struct neap_tree_item item));

/* In-order walk; <at> and <pos> hold the path. */
enum { NEAP_TREE_DEPTH = 24 };
struct neap_tree_walk {
    void **at;
    unsigned *pos, *depth;
};
/* Before the first item whose k is >= <key> (<after>: > <key>). <key> NULL: the first. */
void neap_tree_seek(const struct neap_tree *t, struct neap_tree_walk w, const char *key,
                    bool after);
const struct neap_tree_item *neap_tree_next(struct neap_tree_walk w);

#endif
