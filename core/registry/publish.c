/* Applying changes to the working trees and indexes: what the next snapshot will show. Writer thread. */
#include "core/registry/registry_internal.h"

static struct neap_tree_edit edit_of(struct neap_registry *r, bool pairs)
{
    return (struct neap_tree_edit){.batch = r->batch, .pairs = pairs, .garbage = &r->garbage};
}

/* ---- indexes: pairs (value, key), both referenced by the tree ---- */

static void drop_pair(struct neap_registry *r, struct neap_tree_item old)
{
    struct neap_str *v = old.v;
    if (!old.k)
        return;
    neap_garbage_add(&r->garbage, old.k, NEAP_GARBAGE_STR, sizeof(*v) + old.k->len);
    neap_garbage_add(&r->garbage, v, NEAP_GARBAGE_STR, sizeof(*v));
}

static void pair_put(struct neap_registry *r, unsigned tree, struct neap_str *value,
                     struct neap_str *key)
{
    struct neap_tree_edit e = edit_of(r, true);
    struct neap_tree_item old;
    neap_tree_put(&r->trees[tree], &e,
                  (struct neap_tree_item){neap_str_ref(value), neap_str_ref(key)}, &old);
    drop_pair(r, old);
}

static void pair_del(struct neap_registry *r, unsigned tree, struct neap_str *value,
                     struct neap_str *key)
{
    struct neap_tree_edit e = edit_of(r, true);
    struct neap_tree_item old;
    if (neap_tree_del(&r->trees[tree], &e, (struct neap_tree_item){value, key}, &old))
        drop_pair(r, old);
}

static void index_fields(struct neap_registry *r, const struct neap_resource *res,
                         const struct neap_object *old, const struct neap_object *new_)
{
    for (unsigned i = 0; i < res->kind->selectable_count; i++) {
        struct neap_str *was = old ? neap_object_value_str(old, i) : NULL;
        struct neap_str *is = new_ ? neap_object_value_str(new_, i) : NULL;
        if (was == is) /* interned: the same text */
            continue;
        if (was)
            pair_del(r, res->tree + 1 + i, was, old->key);
        if (is)
            pair_put(r, res->tree + 1 + i, is, new_->key);
    }
}

static bool owned_by(const struct neap_object *o, const struct neap_str *uid)
{
    for (unsigned i = 0; o && i < o->owner_count; i++)
        if (neap_object_owner_uid_str(o, i) == uid)
            return true;
    return false;
}

static void index_owners(struct neap_registry *r, const struct neap_object *old,
                         const struct neap_object *new_)
{
    for (unsigned i = 0; old && i < old->owner_count; i++) {
        struct neap_str *uid = neap_object_owner_uid_str(old, i);
        if (!owned_by(new_, uid))
            pair_del(r, NEAP_REGISTRY_OWNER_TREE, uid, old->key);
    }
    for (unsigned i = 0; new_ && i < new_->owner_count; i++) {
        struct neap_str *uid = neap_object_owner_uid_str(new_, i);
        if (!owned_by(old, uid))
            pair_put(r, NEAP_REGISTRY_OWNER_TREE, uid, new_->key);
    }
}

static void index_change(struct neap_registry *r, struct neap_resource *res,
                         const struct neap_object *old, const struct neap_object *new_)
{
    index_fields(r, res, old, new_);
    index_owners(r, old, new_);
    res->touched = true;
}

/* ---- objects ---- */

void neap_registry_event_add(struct neap_registry *r, struct neap_resource *resource,
                             uint64_t revision, struct neap_object *old, struct neap_object *new_)
{
    r->events = neap_grow(r->events, &r->event_cap, r->event_count, sizeof(*r->events));
    r->event_resources = neap_grow(r->event_resources, &r->event_resource_cap, r->event_count,
                                   sizeof(struct neap_resource *));
    r->event_resources[r->event_count] = resource;
    r->events[r->event_count++] = (struct neap_ring_event){
        .revision = revision,
        .old = old,
        .new_ = new_,
        .at = neap_clock_mono(r->clock),
        /* the new one stands in a tree or is the old one of a later event */
        .bytes = sizeof(struct neap_ring_event) + (old ? neap_object_memory(old) : 0),
    };
}

static struct neap_object *tree_put(struct neap_registry *r, struct neap_resource *res,
                                    struct neap_object *o)
{
    struct neap_tree_edit e = edit_of(r, false);
    struct neap_tree_item old;
    neap_tree_put(&r->trees[res->tree], &e, (struct neap_tree_item){o->key, o}, &old);
    return old.v;
}

static struct neap_object *apply_put(struct neap_registry *r, struct neap_resource *res,
                                     const struct neap_object *put,
                                     const struct neap_object *before, uint64_t revision)
{
    struct neap_object *o = neap_object_publish(put, revision, before);
    struct neap_object *old = tree_put(r, res, neap_object_ref(o));
    index_change(r, res, old, o);
    neap_registry_event_add(r, res, revision, old ? neap_object_ref(old) : NULL,
                            neap_object_ref(o));
    if (old)
        neap_garbage_add(&r->garbage, old, NEAP_GARBAGE_OBJECT, neap_object_memory(old));
    neap_registry_expire_add(r, res, o);
    return o;
}

static struct neap_object *apply_delete(struct neap_registry *r, struct neap_resource *res,
                                        struct neap_object *before, uint64_t revision)
{
    struct neap_tree_edit e = edit_of(r, false);
    struct neap_tree_item old;
    struct neap_object *last = neap_object_publish(before, revision, before);
    neap_tree_del(&r->trees[res->tree], &e, (struct neap_tree_item){before->key, before}, &old);
    index_change(r, res, before, NULL);
    neap_registry_event_add(r, res, revision, neap_object_ref(last), NULL);
    neap_garbage_add(&r->garbage, before, NEAP_GARBAGE_OBJECT, neap_object_memory(before));
    return last;
}

struct neap_object *neap_registry_apply(struct neap_registry *r, struct neap_resource *resource,
                                        const char *key, const struct neap_object *put,
                                        uint64_t revision)
{
    struct neap_object *before = neap_tree_get(&r->trees[resource->tree], key);
    if (put)
        return apply_put(r, resource, put, before, revision);
    return before ? apply_delete(r, resource, before, revision) : NULL;
}

void neap_registry_apply_load(struct neap_registry *r, struct neap_resource *resource,
                              struct neap_object *o)
{
    struct neap_object *old = tree_put(r, resource, o);
    index_change(r, resource, old, o);
    neap_registry_expire_add(r, resource, o);
    neap_object_unref(old); /* a store that tells a key twice: the later one counts */
}

static void free_object(struct neap_tree_item item)
{
    neap_object_unref(item.v);
}

static void free_pair(struct neap_tree_item item)
{
    neap_str_unref(item.k);
    neap_str_unref(item.v);
}

void neap_registry_trees_done(struct neap_registry *r)
{
    if (!r->trees)
        return;
    neap_garbage_free(&r->garbage);
    neap_tree_done(&r->trees[NEAP_REGISTRY_OWNER_TREE], free_pair);
    for (unsigned i = 0; i < r->resource_count; i++) {
        struct neap_resource *res = &r->resources[i];
        if (!res->kind)
            continue;
        for (unsigned f = 0; f < res->kind->selectable_count; f++)
            neap_tree_done(&r->trees[res->tree + 1 + f], free_pair);
        neap_tree_done(&r->trees[res->tree], free_object);
    }
    free(r->trees);
    r->trees = NULL;
}
