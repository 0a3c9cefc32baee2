/* Objects: life, copies at another revision, accessors. Reading the text: extract.c. */
#include "core/object/object_internal.h"

static struct neap_owner *owners_of(const struct neap_object *o)
{
    return (struct neap_owner *)(void *)o->tail;
}

static struct neap_label *labels_of(const struct neap_object *o)
{
    return (struct neap_label *)(void *)(owners_of(o) + o->owner_count);
}

static struct neap_str **values_of(const struct neap_object *o)
{
    return (struct neap_str **)(void *)(labels_of(o) + o->label_count);
}

static char *json_of(const struct neap_object *o)
{
    return (char *)(values_of(o) + o->value_count);
}

static size_t size_of(unsigned owners, unsigned labels, unsigned values, size_t json_len)
{
    return sizeof(struct neap_object) + owners * sizeof(struct neap_owner) +
           labels * sizeof(struct neap_label) + values * sizeof(struct neap_str *) + json_len + 1;
}

/* Owner texts are interned strings; the public struct shows their characters. */
static struct neap_str *str_of(const char *s)
{
    return neap_container_of((char *)(uintptr_t)s, struct neap_str, s[0]);
}

/* `,"resourceVersion":"N"`; empty for revision 0. */
static unsigned splice_text(uint64_t revision, char out[48])
{
    return revision ? (unsigned)snprintf(out, 48, ",\"resourceVersion\":\"%llu\"",
                                         (unsigned long long)revision)
                    : 0;
}

struct neap_object *neap_object_make(const struct neap_extract *x, const char *json, size_t len,
                                     uint64_t revision)
{
    char rv[48];
    unsigned rv_len = splice_text(revision, rv);
    struct neap_object *o = neap_malloc(
        size_of(x->head.owner_count, x->head.label_count, x->head.value_count, len + rv_len));
    *o = x->head;
    atomic_init(&o->refs, 1);
    o->revision = revision;
    o->splice_len = (uint16_t)rv_len;
    o->json_len = (uint32_t)(len + rv_len);
    if (o->owner_count)
        memcpy(owners_of(o), x->owners, o->owner_count * sizeof(*x->owners));
    if (o->label_count)
        memcpy(labels_of(o), x->labels, o->label_count * sizeof(*x->labels));
    if (o->value_count)
        memcpy(values_of(o), x->values, o->value_count * sizeof(*x->values));
    char *p = json_of(o);
    memcpy(p, json, o->splice);
    memcpy(p + o->splice, rv, rv_len);
    memcpy(p + o->splice + rv_len, json + o->splice, len - o->splice);
    p[o->json_len] = '\0';
    return o;
}

static void ref_owner(const struct neap_owner *w)
{
    neap_str_ref(str_of(w->uid));
    neap_str_ref(str_of(w->api_version));
    neap_str_ref(str_of(w->kind));
    neap_str_ref(str_of(w->name));
}

void neap_owner_unref(const struct neap_owner *w)
{
    neap_str_unref(str_of(w->uid));
    neap_str_unref(str_of(w->api_version));
    neap_str_unref(str_of(w->kind));
    neap_str_unref(str_of(w->name));
}

static void ref_strings(const struct neap_object *o)
{
    neap_str_ref(o->key);
    neap_str_ref(o->namespace_);
    neap_str_ref(o->uid);
    for (unsigned i = 0; i < o->owner_count; i++)
        ref_owner(&owners_of(o)[i]);
    for (unsigned i = 0; i < o->label_count; i++) {
        neap_str_ref(labels_of(o)[i].key);
        neap_str_ref(labels_of(o)[i].value);
    }
    for (unsigned i = 0; i < o->value_count; i++)
        neap_str_ref(values_of(o)[i]);
}

struct neap_object *neap_object_publish(const struct neap_object *o, uint64_t revision,
                                        const struct neap_object *same_key)
{
    char rv[48];
    unsigned rv_len = splice_text(revision, rv);
    size_t len = o->json_len - o->splice_len + rv_len;
    size_t tables = (size_t)(json_of(o) - (char *)o);
    struct neap_object *n = neap_malloc(tables + len + 1);
    /* not the count: other threads change it */
    size_t at = offsetof(struct neap_object, json_len);
    memcpy((char *)n + at, (const char *)o + at, tables - at);
    atomic_init(&n->refs, 1);
    ref_strings(n);
    n->revision = revision;
    n->splice_len = (uint16_t)rv_len;
    n->json_len = (uint32_t)len;
    char *p = json_of(n);
    const char *from = json_of(o);
    size_t after = o->splice + o->splice_len;
    memcpy(p, from, o->splice);
    memcpy(p + o->splice, rv, rv_len);
    memcpy(p + o->splice + rv_len, from + after, o->json_len - after + 1);
    if (same_key && same_key->key != n->key) {
        neap_str_unref(n->key);
        n->key = neap_str_ref(same_key->key);
    }
    return n;
}

struct neap_object *neap_object_at_revision(const struct neap_object *o, uint64_t revision)
{
    return neap_object_publish(o, revision, NULL);
}

struct neap_object *neap_object_ref(const struct neap_object *o)
{
    struct neap_object *n = (struct neap_object *)(uintptr_t)o;
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}

struct neap_object *neap_object_unref(struct neap_object *o)
{
    if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    neap_str_unref(o->key);
    neap_str_unref(o->namespace_);
    neap_str_unref(o->uid);
    for (unsigned i = 0; i < o->owner_count; i++)
        neap_owner_unref(&owners_of(o)[i]);
    for (unsigned i = 0; i < o->label_count; i++) {
        neap_str_unref(labels_of(o)[i].key);
        neap_str_unref(labels_of(o)[i].value);
    }
    for (unsigned i = 0; i < o->value_count; i++)
        neap_str_unref(values_of(o)[i]);
    free(o);
    return NULL;
}

const struct neap_kind *neap_object_kind(const struct neap_object *o)
{
    return o->kind;
}

const char *neap_object_key(const struct neap_object *o)
{
    return o->key->s;
}

const char *neap_object_namespace(const struct neap_object *o)
{
    return o->namespace_->s;
}

const char *neap_object_name(const struct neap_object *o)
{
    return o->key->s + o->name_at;
}

const char *neap_object_uid(const struct neap_object *o)
{
    return o->uid->s;
}

uint64_t neap_object_revision(const struct neap_object *o)
{
    return o->revision;
}

int64_t neap_object_generation(const struct neap_object *o)
{
    return o->generation;
}

int64_t neap_object_expires(const struct neap_object *o)
{
    return o->expires;
}

int64_t neap_object_created(const struct neap_object *o)
{
    return o->created;
}

bool neap_object_deleting(const struct neap_object *o)
{
    return o->deleting;
}

bool neap_object_has_finalizers(const struct neap_object *o)
{
    return o->finalizers;
}

const char *neap_object_json(const struct neap_object *o, size_t *ret_len)
{
    if (ret_len)
        *ret_len = o->json_len;
    return json_of(o);
}

void neap_object_stored_json(const struct neap_object *o, struct neap_buf *out)
{
    size_t after = o->splice + o->splice_len;
    neap_buf_append(out, json_of(o), o->splice);
    neap_buf_append(out, json_of(o) + after, o->json_len - after);
}

size_t neap_object_head_len(const struct neap_object *o)
{
    return o->head_len;
}

const char *neap_object_label(const struct neap_object *o, const char *key)
{
    const struct neap_label *labels = labels_of(o);
    unsigned lo = 0, hi = o->label_count;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        int c = strcmp(key, labels[mid].key->s);
        if (c == 0)
            return labels[mid].value->s;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const struct neap_label *neap_object_labels(const struct neap_object *o)
{
    return labels_of(o);
}

unsigned neap_object_label_count(const struct neap_object *o)
{
    return o->label_count;
}

void neap_object_label_at(const struct neap_object *o, unsigned i, const char **key,
                          const char **value)
{
    *key = labels_of(o)[i].key->s;
    *value = labels_of(o)[i].value->s;
}

struct neap_str *neap_object_value_str(const struct neap_object *o, unsigned i)
{
    return i < o->value_count ? values_of(o)[i] : NULL;
}

const char *neap_object_selectable(const struct neap_object *o, unsigned i)
{
    struct neap_str *s = neap_object_value_str(o, i);
    return s ? s->s : "";
}

unsigned neap_object_owner_count(const struct neap_object *o)
{
    return o->owner_count;
}

const struct neap_owner *neap_object_owner_at(const struct neap_object *o, unsigned i)
{
    return i < o->owner_count ? &owners_of(o)[i] : NULL;
}

struct neap_str *neap_object_owner_uid_str(const struct neap_object *o, unsigned i)
{
    return str_of(owners_of(o)[i].uid);
}

const struct neap_owner *neap_object_controller(const struct neap_object *o)
{
    for (unsigned i = 0; i < o->owner_count; i++)
        if (owners_of(o)[i].controller)
            return &owners_of(o)[i];
    return NULL;
}

uint32_t neap_object_protobuf_len(const struct neap_object *o)
{
    return atomic_load_explicit(&o->protobuf_len, memory_order_relaxed);
}

void neap_object_set_protobuf_len(struct neap_object *o, uint32_t len)
{
    atomic_store_explicit(&o->protobuf_len, len, memory_order_relaxed);
}

size_t neap_object_memory(const struct neap_object *o)
{
    /* malloc's own header and rounding, and the key string's */
    size_t blob = (size_t)(json_of(o) - (const char *)o) + o->json_len + 1;
    return ((blob + 8 + 15) & ~(size_t)15) + ((sizeof(struct neap_str) + o->key->len + 24) & ~15u);
}

yyjson_doc *neap_object_parse(const struct neap_object *o, const yyjson_alc *alc)
{
    /* without YYJSON_READ_INSITU the text is not written to */
    return yyjson_read_opts(json_of(o), o->json_len, 0, alc, NULL);
}

void neap_object_key_make(struct neap_buf *out, const struct neap_kind *kind,
                          const char *namespace_, const char *name)
{
    neap_buf_str(out, "/registry/");
    neap_buf_str(out, kind->group && *kind->group ? kind->group : "core");
    neap_buf_char(out, '/');
    neap_buf_str(out, kind->resource);
    neap_buf_char(out, '/');
    if (namespace_ && *namespace_) {
        neap_buf_str(out, namespace_);
        neap_buf_char(out, '/');
    }
    if (name)
        neap_buf_str(out, name);
}
