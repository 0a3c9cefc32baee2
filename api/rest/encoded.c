/* Protobuf forms of objects that were listed lately: who lists the same again (informers that start together, pages of
 * dashboards) is given copies. Bounded in bytes, counting the objects, which it keeps alive; empty again when a minute
 * or two have passed without use. Only the rest's loop comes here. */
#include "internal.h"

enum { SETS = 4096, WAYS = 4, IDLE_MS = 60000 };

struct entry {
    struct neap_object *object; /* reference; NULL: free */
    char *bytes;
    uint32_t len;
};

struct rest_encoded {
    struct neap_loop *loop;
    size_t bytes, bytes_max;
    unsigned hand, victim; /* the next entry that goes for want of bytes; of a set that is full */
    bool used;             /* since the timer's last turn */
    struct neap_timer *timer;
    struct entry (*sets)[WAYS]; /* NULL: empty */
};

struct rest_encoded *rest_encoded_new(struct neap_loop *loop, size_t bytes_max)
{
    struct rest_encoded *e = neap_calloc(1, sizeof(*e));
    e->loop = loop;
    e->bytes_max = bytes_max;
    return e;
}

static size_t cost(const struct entry *x)
{
    size_t json;
    neap_object_json(x->object, &json);
    return x->len + json;
}

static void drop(struct rest_encoded *e, struct entry *x)
{
    if (!x->object)
        return;
    e->bytes -= cost(x);
    neap_object_unref(x->object);
    free(x->bytes);
    *x = (struct entry){0};
}

static struct entry *entry_at(struct rest_encoded *e, unsigned i)
{
    return &e->sets[i / WAYS][i % WAYS];
}

static void clear(struct rest_encoded *e)
{
    for (unsigned i = 0; e->sets && i < SETS * WAYS; i++)
        drop(e, entry_at(e, i));
    free(e->sets);
    e->sets = NULL;
    e->timer = neap_timer_close(e->timer);
}

struct rest_encoded *rest_encoded_free(struct rest_encoded *e)
{
    if (e)
        clear(e);
    free(e);
    return NULL;
}

static void on_idle(void *arg)
{
    struct rest_encoded *e = arg;
    if (!e->used)
        clear(e);
    e->used = false;
}

static struct entry *set_of(struct rest_encoded *e, const struct neap_object *o)
{
    return e->sets[neap_hash(&o, sizeof(o)) % SETS];
}

const char *rest_encoded_get(struct rest_encoded *e, const struct neap_object *o, size_t *ret_len)
{
    struct entry *set = e->sets ? set_of(e, o) : NULL;
    for (unsigned i = 0; set && i < WAYS; i++)
        if (set[i].object == o) {
            e->used = true;
            *ret_len = set[i].len;
            return set[i].bytes;
        }
    return NULL;
}

/* A free entry of the set, or one that has to go. */
static struct entry *room(struct rest_encoded *e, struct entry *set)
{
    for (unsigned i = 0; i < WAYS; i++)
        if (!set[i].object)
            return &set[i];
    struct entry *x = &set[e->victim++ % WAYS];
    drop(e, x);
    return x;
}

void rest_encoded_put(struct rest_encoded *e, struct neap_object *o, const char *bytes, size_t len)
{
    if (!e->bytes_max || len > UINT32_MAX)
        return;
    if (!e->sets) {
        e->sets = neap_calloc(SETS, sizeof(*e->sets));
        e->timer = neap_timer_new(e->loop, on_idle, e);
        neap_timer_start(e->timer, IDLE_MS, IDLE_MS);
    }
    struct entry *x = room(e, set_of(e, o));
    *x = (struct entry){neap_object_ref(o), neap_malloc(len), (uint32_t)len};
    memcpy(x->bytes, bytes, len);
    e->bytes += cost(x);
    e->used = true;
    while (e->bytes > e->bytes_max)
        drop(e, entry_at(e, e->hand++ % (SETS * WAYS)));
}

size_t rest_encoded_bytes_max(const struct rest_encoded *e)
{
    return e->bytes_max;
}
