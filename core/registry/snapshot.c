/* Snapshots: pinning, reading, and freeing what no snapshot shows any more.
 *
 * What a batch replaces is the garbage of the snapshot before it. A snapshot that ends hands its
 * garbage to its older neighbour as far as that one shows it; the rest is freed, outside the lock. */
#include "core/registry/registry_internal.h"

static size_t footprint(const struct neap_snapshot *s)
{
    return sizeof(*s) + s->tree_count * sizeof(s->trees[0]) + s->garbage.bytes;
}

/* Under snap_lock. <s> has no references: takes it out; what is to be freed goes to *gone. */
static void retire(struct neap_snapshot *s, struct neap_garbage *gone)
{
    struct neap_registry *r = s->r;
    r->garbage_bytes -= footprint(s);
    if (s->link.prev != &r->snapshots) {
        struct neap_snapshot *older = neap_list_entry(s->link.prev, struct neap_snapshot, link);
        size_t before = older->garbage.bytes;
        neap_garbage_split(&s->garbage, older->batch, older->revision, &older->garbage, gone);
        r->garbage_bytes += older->garbage.bytes - before;
    } else {
        *gone = s->garbage;
    }
    neap_list_remove(&s->link);
}

static void unpin(struct neap_snapshot *s)
{
    struct neap_garbage gone = {0};
    struct neap_registry *r = s->r;
    pthread_mutex_lock(&r->snap_lock);
    bool last = --s->refs == 0;
    if (last)
        retire(s, &gone);
    pthread_mutex_unlock(&r->snap_lock);
    if (!last)
        return;
    neap_garbage_free(&gone);
    free(s);
}

struct neap_snapshot *neap_snapshot_pin(struct neap_registry *r)
{
    pthread_mutex_lock(&r->snap_lock);
    struct neap_snapshot *s = r->newest;
    s->refs++;
    pthread_mutex_unlock(&r->snap_lock);
    return s;
}

struct neap_snapshot *neap_snapshot_ref(struct neap_snapshot *s)
{
    pthread_mutex_lock(&s->r->snap_lock);
    s->refs++;
    pthread_mutex_unlock(&s->r->snap_lock);
    return s;
}

struct neap_snapshot *neap_snapshot_unpin(struct neap_snapshot *s)
{
    if (s)
        unpin(s);
    return NULL;
}

uint64_t neap_snapshot_revision(const struct neap_snapshot *s)
{
    return s->revision;
}

void neap_registry_snapshot_publish(struct neap_registry *r, uint64_t revision)
{
    struct neap_snapshot *s = neap_malloc(sizeof(*s) + r->tree_count * sizeof(s->trees[0]));
    *s = (struct neap_snapshot){
        .r = r, .refs = 1, .revision = revision, .batch = r->batch, .tree_count = r->tree_count};
    memcpy(s->trees, r->trees, r->tree_count * sizeof(s->trees[0]));
    pthread_mutex_lock(&r->snap_lock);
    struct neap_snapshot *before = r->newest;
    if (before) {
        before->garbage = r->garbage;
        r->garbage_bytes += r->garbage.bytes;
    }
    r->garbage_bytes += footprint(s);
    neap_list_append(&r->snapshots, &s->link);
    r->newest = s;
    pthread_mutex_unlock(&r->snap_lock);
    r->garbage = (struct neap_garbage){0};
    r->batch++;
    if (before)
        unpin(before);
}

/* ---- named pins ---- */

/* Under snap_lock: takes the pin out; the caller unpins after the lock. */
static struct neap_snapshot *take_held(struct neap_registry *r, size_t i)
{
    struct neap_snapshot *s = r->held[i].snapshot;
    memmove(&r->held[i], &r->held[i + 1], (r->held_count - i - 1) * sizeof(*r->held));
    r->held_count--;
    return s;
}

/* The first pin that must go; the oldest when the budget is used. NULL: none. */
static struct neap_snapshot *take_over(struct neap_registry *r)
{
    struct neap_snapshot *s = NULL;
    pthread_mutex_lock(&r->snap_lock);
    int64_t now = neap_clock_mono(r->clock);
    bool full =
        r->garbage_bytes > r->options.history_bytes || r->held_count > NEAP_REGISTRY_HELD_MAX;
    if (r->held_count && full)
        s = take_held(r, 0);
    for (size_t i = 0; !s && i < r->held_count; i++)
        if (r->held[i].until <= now)
            s = take_held(r, i);
    pthread_mutex_unlock(&r->snap_lock);
    return s;
}

void neap_registry_snapshot_expire(struct neap_registry *r)
{
    struct neap_snapshot *s;
    while ((s = take_over(r)))
        unpin(s);
}

void neap_snapshot_hold(struct neap_registry *r, struct neap_snapshot *s)
{
    neap_registry_snapshot_expire(r);
    pthread_mutex_lock(&r->snap_lock);
    int64_t until = neap_clock_mono(r->clock) + (int64_t)r->options.pin_ns;
    size_t i = r->held_count;
    while (i > 0 && r->held[i - 1].snapshot->revision > s->revision)
        i--;
    /* One that is held already keeps its end: a reader that comes again and again would keep old
     * objects for ever, where Kubernetes compacts. */
    if (i == 0 || r->held[i - 1].snapshot != s) {
        r->held = neap_grow(r->held, &r->held_cap, r->held_count, sizeof(*r->held));
        memmove(&r->held[i + 1], &r->held[i], (r->held_count - i) * sizeof(*r->held));
        r->held[i] = (struct neap_held){s, until};
        r->held_count++;
        s->refs++;
    }
    pthread_mutex_unlock(&r->snap_lock);
}

struct neap_snapshot *neap_snapshot_held(struct neap_registry *r, uint64_t revision)
{
    neap_registry_snapshot_expire(r);
    struct neap_snapshot *s = NULL;
    pthread_mutex_lock(&r->snap_lock);
    if (r->newest->revision == revision)
        s = r->newest;
    for (size_t i = r->held_count; !s && i-- > 0;)
        if (r->held[i].snapshot->revision == revision)
            s = r->held[i].snapshot;
    if (s)
        s->refs++;
    pthread_mutex_unlock(&r->snap_lock);
    return s;
}

void neap_registry_snapshot_done(struct neap_registry *r)
{
    while (r->held_count)
        unpin(take_held(r, 0));
    free(r->held);
    if (r->newest)
        unpin(r->newest);
    r->newest = NULL;
}

/* ---- reading ---- */

static const struct neap_tree *tree_of(const struct neap_snapshot *s, const struct neap_kind *kind)
{
    static const struct neap_tree none;
    const struct neap_resource *res = neap_registry_resource(s->r, kind);
    return res ? &s->trees[res->tree] : &none;
}

/* Writes the key, or the prefix when <name> is NULL; false: longer than any key. */
static bool key_text(char *out, size_t size, const struct neap_kind *kind, const char *namespace_,
                     const char *name)
{
    bool ns = kind->namespaced && namespace_ && *namespace_;
    const char *const parts[] = {"/registry/",  *kind->group ? kind->group : "core",
                                 "/",           kind->resource,
                                 "/",           ns ? namespace_ : "",
                                 ns ? "/" : "", name ? name : ""};
    char *to = out, *end = out + size;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(parts); i++) {
        size_t n = strlen(parts[i]);
        if (n >= (size_t)(end - to))
            return false;
        memcpy(to, parts[i], n);
        to += n;
    }
    *to = '\0';
    return true;
}

struct neap_object *neap_snapshot_get(const struct neap_snapshot *s, const struct neap_kind *kind,
                                      const char *namespace_, const char *name)
{
    char key[NEAP_REGISTRY_KEY_MAX + 1];
    const struct neap_kind *k = kind->storage;
    /* "a/b" in no namespace would be the key of b in a */
    if (!name || !*name || strchr(name, '/'))
        return NULL;
    if (k->namespaced && (!namespace_ || !*namespace_ || strchr(namespace_, '/')))
        return NULL;
    return key_text(key, sizeof(key), k, namespace_, name) ? neap_tree_get(tree_of(s, k), key)
                                                           : NULL;
}

size_t neap_snapshot_count(const struct neap_snapshot *s, const struct neap_kind *kind)
{
    return tree_of(s, kind->storage)->count;
}

static struct neap_tree_walk walk_of(struct neap_iter *it)
{
    return (struct neap_tree_walk){it->at, it->pos, &it->depth};
}

void neap_iter_init(struct neap_iter *it, const struct neap_snapshot *s,
                    const struct neap_kind *kind, const char *namespace_, const char *after_key)
{
    const struct neap_kind *k = kind->storage;
    it->snapshot = s;
    it->depth = 0;
    it->prefix = NULL;
    it->prefix_len = 0;
    it->prefix_buf[0] = '\0';
    if (k->namespaced && namespace_ && *namespace_) {
        if (!key_text(it->prefix_buf, sizeof(it->prefix_buf), k, namespace_, NULL))
            return; /* no namespace has such a name */
        it->prefix_len = strlen(it->prefix_buf);
    }
    bool after = after_key && strcmp(after_key, it->prefix_buf) >= 0;
    const char *from = after ? after_key : it->prefix_len ? it->prefix_buf : NULL;
    neap_tree_seek(tree_of(s, k), walk_of(it), from, after);
}

struct neap_object *neap_iter_next(struct neap_iter *it)
{
    const struct neap_tree_item *item = neap_tree_next(walk_of(it));
    if (!item)
        return NULL;
    if (it->prefix_len && strncmp(item->k->s, it->prefix_buf, it->prefix_len) != 0) {
        it->depth = 0;
        return NULL;
    }
    return item->v;
}

/* ---- indexes ---- */

struct pairs {
    void *at[NEAP_TREE_DEPTH];
    unsigned pos[NEAP_TREE_DEPTH], depth;
    const char *value;
};

static void pairs_seek(struct pairs *p, const struct neap_tree *t, const char *value)
{
    p->value = value;
    neap_tree_seek(t, (struct neap_tree_walk){p->at, p->pos, &p->depth}, value, false);
}

/* The next key under the value; NULL: the end. */
static const struct neap_str *pairs_next(struct pairs *p)
{
    const struct neap_tree_item *item =
        neap_tree_next((struct neap_tree_walk){p->at, p->pos, &p->depth});
    return item && strcmp(item->k->s, p->value) == 0 ? item->v : NULL;
}

/* The objects whose keys stand under <value>; <res> NULL: of any resource. */
static struct neap_object **collect(const struct neap_snapshot *s, const struct neap_tree *index,
                                    const struct neap_resource *res, const char *value,
                                    struct neap_arena *arena, size_t *ret_count)
{
    struct pairs p;
    const struct neap_str *key;
    size_t count = 0;
    *ret_count = 0;
    pairs_seek(&p, index, value);
    while (pairs_next(&p))
        count++;
    struct neap_object **out = count ? neap_arena_alloc(arena, count * sizeof(*out)) : NULL;
    if (!out)
        return NULL;
    pairs_seek(&p, index, value);
    while ((key = pairs_next(&p))) {
        const struct neap_resource *of = res ? res : neap_registry_resource_of_key(s->r, key->s);
        struct neap_object *o = of ? neap_tree_get(&s->trees[of->tree], key->s) : NULL;
        if (o)
            out[(*ret_count)++] = o;
    }
    return out;
}

struct neap_object **neap_snapshot_by_field(const struct neap_snapshot *s,
                                            const struct neap_kind *kind, unsigned field,
                                            const char *value, struct neap_arena *arena,
                                            size_t *ret_count)
{
    const struct neap_resource *res = neap_registry_resource(s->r, kind->storage);
    *ret_count = 0;
    if (!res || field >= res->kind->selectable_count)
        return NULL;
    return collect(s, &s->trees[res->tree + 1 + field], res, value, arena, ret_count);
}

struct neap_object **neap_snapshot_by_owner(const struct neap_snapshot *s, const char *owner_uid,
                                            struct neap_arena *arena, size_t *ret_count)
{
    return collect(s, &s->trees[NEAP_REGISTRY_OWNER_TREE], NULL, owner_uid, arena, ret_count);
}
