/* metadata.managedFields: read, capped, written. */
#include "core/apply/apply_internal.h"
#include <neap/clock.h>

static const char *text_at(yyjson_mut_val *entry, const char *name)
{
    const char *s = yyjson_mut_get_str(yyjson_mut_obj_get(entry, name));
    return s ? s : "";
}

static int64_t seconds_of(const char *time)
{
    int64_t ns;
    if (!time || !neap_time_parse(time, strlen(time), &ns))
        return 0;
    return ns / 1000000000;
}

static int entry_parse(struct neap_arena *arena, yyjson_mut_val *entry, struct manager *ret,
                       struct neap_err *err)
{
    const char *operation = text_at(entry, "operation"), *time = text_at(entry, "time");
    yyjson_mut_val *fields = yyjson_mut_obj_get(entry, "fieldsV1");
    bool applied = strcmp(operation, "Apply") == 0;
    if (!applied && strcmp(operation, "Update") != 0)
        return neap_err_set(err, NEAP_EBADREQUEST, "operation must be `Apply` or `Update`");
    *ret = (struct manager){.name = text_at(entry, "manager"),
                            .api_version = text_at(entry, "apiVersion"),
                            .subresource = text_at(entry, "subresource"),
                            .applied = applied,
                            .time = *time ? time : NULL,
                            .seconds = seconds_of(time),
                            .entry = entry};
    if (!*ret->api_version)
        return neap_err_set(err, NEAP_EBADREQUEST, "apiVersion must not be empty");
    if (strcmp(text_at(entry, "fieldsType"), "FieldsV1") != 0)
        return neap_err_set(err, NEAP_EBADREQUEST, "invalid fieldsType \"%s\"",
                            text_at(entry, "fieldsType"));
    return fields ? neap_fields_parse(arena, fields, &ret->set, err) : 0;
}

/* No subresource comes last, as where Kubernetes sorts entries by their JSON. */
static int subresource_order(const char *a, const char *b)
{
    if (!*a || !*b)
        return (*a == '\0') - (*b == '\0');
    return strcmp(a, b);
}

/* Who an entry is of: an applier is the same one in every version. */
static int identity(const struct manager *a, const struct manager *b)
{
    int c = strcmp(a->name, b->name);
    if (!c)
        c = (int)b->applied - (int)a->applied;
    if (!c && !a->applied)
        c = strcmp(a->api_version, b->api_version);
    return c ? c : subresource_order(a->subresource, b->subresource);
}

int manager_order(const struct manager *a, const struct manager *b)
{
    return identity(a, b);
}

struct manager *managers_find(struct managers *m, const struct manager *like)
{
    for (size_t i = 0; i < m->count; i++)
        if (identity(&m->at[i], like) == 0)
            return &m->at[i];
    return NULL;
}

struct manager *managers_add(struct neap_arena *arena, struct managers *m,
                             const struct manager *like)
{
    if (m->count == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 16;
        struct manager *more = neap_arena_alloc(arena, cap * sizeof(*more));
        if (!more)
            return NULL;
        if (m->count)
            memcpy(more, m->at, m->count * sizeof(*more));
        m->at = more;
        m->cap = cap;
    }
    m->at[m->count] = *like;
    return &m->at[m->count++];
}

void managers_remove(struct managers *m, struct manager *which)
{
    size_t i = (size_t)(which - m->at);
    memmove(which, which + 1, (m->count - i - 1) * sizeof(*which));
    m->count--;
}

void manager_set(struct manager *m, struct neap_fields *set)
{
    if (m->set == set)
        return;
    if (!neap_fields_equal(m->set, set))
        m->entry = NULL;
    m->set = set;
}

int managers_parse(struct neap_arena *arena, yyjson_mut_val *list, struct managers *ret,
                   struct neap_err *err)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    *ret = (struct managers){.at = NULL};
    if (yyjson_mut_arr_size(list) > NEAP_APPLY_MANAGERS_MAX)
        return neap_err_set(err, NEAP_ETOOLARGE, "there are too many managed fields entries");
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        struct manager one, *twice;
        int rc = entry_parse(arena, e, &one, err);
        if (rc)
            return rc;
        twice = managers_find(ret, &one);
        if (twice)
            *twice = one;
        else if (!managers_add(arena, ret, &one))
            return neap_err_set(err, NEAP_ETOOLARGE, "the object is too large");
    }
    return 0;
}

/* ---- the cap ---- */

static int by_age(const void *a, const void *b)
{
    const struct manager *x = *(const struct manager *const *)a;
    const struct manager *y = *(const struct manager *const *)b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? -1 : 1;
    return identity(x, y);
}

/* The entry of old changes in one version; the first that goes there only becomes it. */
struct bucket {
    const char *version;
    struct manager *at;
    bool made;
};
enum { BUCKETS_MAX = 8 };

static struct bucket *bucket_of(struct bucket *all, unsigned *count, const char *version)
{
    for (unsigned i = 0; i < *count; i++)
        if (strcmp(all[i].version, version) == 0)
            return &all[i];
    if (*count == BUCKETS_MAX)
        return NULL;
    all[*count] = (struct bucket){.version = version};
    return &all[(*count)++];
}

static void into_bucket(struct neap_arena *arena, struct managers *m, struct bucket *b,
                        struct manager *old)
{
    if (!b->made) {
        struct manager like = *b->at, *there;
        like.name = "ancient-changes";
        like.subresource = "";
        there = managers_find(m, &like);
        if (there && there != b->at) {
            /* what was first stays for itself when there is a bucket already */
            b->at = there;
        } else {
            b->at->name = like.name;
            b->at->subresource = like.subresource;
        }
        b->made = true;
    }
    if (b->at == old)
        return;
    b->at->set = neap_fields_union(arena, old->set, b->at->set);
    b->at->time = old->time;
    b->at->seconds = old->seconds;
    b->at->entry = NULL;
    old->name = NULL; /* dropped below */
}

void managers_cap(struct neap_arena *arena, struct managers *m)
{
    struct bucket buckets[BUCKETS_MAX];
    unsigned bucket_count = 0;
    size_t updaters = 0, to = 0;
    for (size_t i = 0; i < m->count; i++)
        updaters += !m->at[i].applied;
    if (updaters <= NEAP_APPLY_UPDATERS_MAX)
        return;
    struct manager **old = neap_arena_alloc(arena, updaters * sizeof(struct manager *));
    if (!old)
        return;
    for (size_t i = 0, n = 0; i < m->count; i++)
        if (!m->at[i].applied)
            old[n++] = &m->at[i];
    qsort(old, updaters, sizeof(struct manager *), by_age);
    size_t left = updaters;
    for (size_t i = 0; i < updaters && left > NEAP_APPLY_UPDATERS_MAX; i++) {
        struct bucket *b = bucket_of(buckets, &bucket_count, old[i]->api_version);
        if (!b)
            continue;
        if (!b->at) {
            b->at = old[i];
            continue;
        }
        into_bucket(arena, m, b, old[i]);
        left -= !old[i]->name;
    }
    for (size_t i = 0; i < m->count; i++)
        if (m->at[i].name)
            m->at[to++] = m->at[i];
    m->count = to;
}

/* ---- writing ---- */

static int written_order(const void *a, const void *b)
{
    const struct manager *x = a, *y = b;
    int c = (int)y->applied - (int)x->applied;
    if (!c)
        c = (x->seconds > y->seconds) - (x->seconds < y->seconds);
    if (!c)
        c = strcmp(x->name, y->name);
    if (!c)
        c = strcmp(x->api_version, y->api_version);
    return c ? c : strcmp(x->subresource, y->subresource);
}

static yyjson_mut_val *entry_value(const struct manager *m, yyjson_mut_doc *doc)
{
    yyjson_mut_val *e;
    if (m->entry)
        return yyjson_mut_val_mut_copy(doc, m->entry);
    e = yyjson_mut_obj(doc);
    if (*m->name)
        yyjson_mut_obj_add_strcpy(doc, e, "manager", m->name);
    yyjson_mut_obj_add_str(doc, e, "operation", m->applied ? "Apply" : "Update");
    yyjson_mut_obj_add_strcpy(doc, e, "apiVersion", m->api_version);
    if (m->time)
        yyjson_mut_obj_add_strcpy(doc, e, "time", m->time);
    yyjson_mut_obj_add_str(doc, e, "fieldsType", "FieldsV1");
    yyjson_mut_obj_add_val(doc, e, "fieldsV1", neap_fields_value(m->set, doc));
    if (*m->subresource)
        yyjson_mut_obj_add_strcpy(doc, e, "subresource", m->subresource);
    return e;
}

yyjson_mut_val *managers_value(struct neap_arena *arena, struct managers *m, yyjson_mut_doc *doc)
{
    yyjson_mut_val *list = m->count ? yyjson_mut_arr(doc) : NULL;
    if (m->count > 1)
        qsort(m->at, m->count, sizeof(*m->at), written_order);
    for (size_t i = 0; i < m->count; i++)
        yyjson_mut_arr_append(list, entry_value(&m->at[i], doc));
    return list;
}

void manager_print(struct neap_buf *out, const struct manager *m)
{
    neap_buf_printf(out, "\"%s\"", m->name);
    if (*m->subresource)
        neap_buf_printf(out, " with subresource \"%s\"", m->subresource);
    if (!m->applied)
        neap_buf_printf(out, " using %s", m->api_version);
}
