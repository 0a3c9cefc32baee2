/* Ownership: what a write takes from other managers and gives to its own. */
#include "core/apply/apply_internal.h"
#include <neap/clock.h>

/* ---- the request ---- */

static const char *subresource_of(const struct neap_apply_write *w)
{
    return w->subresource ? w->subresource : "";
}

/* Fields that a write there ignores: nobody comes to own them by it. */
static const char *const *reset_paths(const struct neap_apply_write *w)
{
    const char *sub = subresource_of(w);
    const struct neap_subresource *s;
    if (!*sub)
        return w->kind->reset_on_write;
    if (strcmp(sub, "status") == 0 && w->kind->reset_on_status_write)
        return w->kind->reset_on_status_write;
    s = neap_kind_subresource(w->kind, sub);
    return s ? s->reset_on_write : NULL;
}

void update_init(struct update *u, struct neap_arena *arena, yyjson_mut_doc *doc,
                 const struct neap_apply_write *w, struct neap_err *err)
{
    *u = (struct update){.arena = arena, .doc = doc, .w = w, .err = err};
    neap_kind_api_version(w->kind, u->version);
    const char *const *paths = reset_paths(w);
    for (; paths && *paths; paths++)
        fields_add_path(arena, &u->reset, *paths);
}

const char *update_now(struct update *u)
{
    char text[32];
    neap_time_format(u->w->now_ns, text);
    return neap_arena_strdup(u->arena, text);
}

/* ---- versions ---- */

/* The kind that a manager's version is; the request's own when versions are the same thing; NULL: there
 * is no such version (any more). */
static const struct neap_kind *kind_of_version(struct update *u, const char *version)
{
    const struct neap_kind *own = u->w->kind, *k;
    char group[256] = "";
    const char *slash = strchr(version, '/');
    if (strcmp(version, u->version) == 0)
        return own;
    if (slash && (size_t)(slash - version) < sizeof(group))
        memcpy(group, version, (size_t)(slash - version));
    if (neap_kind_by_gvk(own->group, own->version, own->kind) != own)
        return strcmp(group, own->group) == 0 ? own : NULL; /* custom: versions share fields */
    k = neap_kind_by_gvk(group, slash ? slash + 1 : version, own->kind);
    return k && k->storage == own->storage ? k : NULL;
}

static yyjson_mut_val *converted(struct update *u, yyjson_mut_val *v, const struct neap_kind *to)
{
    const struct neap_kind *from = u->w->kind;
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(u->doc, v);
    if (!copy ||
        (from != from->storage && neap_kind_convert(u->doc, copy, from, from->storage, NULL) != 0))
        return NULL;
    if (to != from->storage && neap_kind_convert(u->doc, copy, from->storage, to, NULL) != 0)
        return NULL;
    return copy;
}

/* Differences as one version of the kind shows them. */
struct versioned {
    const struct neap_kind *kind;
    struct neap_comparison diff;
    struct neap_fields *changed; /* modified or added */
};
enum { VERSIONS_MAX = 4 };
struct comparisons {
    struct versioned at[VERSIONS_MAX];
    unsigned count;
    yyjson_mut_val *live, *new_;
};

static int compare_version(struct update *u, struct comparisons *c, const struct neap_kind *kind,
                           struct versioned **ret)
{
    yyjson_mut_val *live = c->live, *new_ = c->new_;
    for (unsigned i = 0; i < c->count; i++)
        if (c->at[i].kind == kind) {
            *ret = &c->at[i];
            return 0;
        }
    if (c->count == VERSIONS_MAX)
        return neap_err_set(u->err, NEAP_EINTERNAL, "the object is managed in too many versions");
    if (kind != u->w->kind) {
        live = converted(u, live, kind);
        new_ = converted(u, new_, kind);
        if (!live || !new_)
            return neap_err_set(u->err, NEAP_EINTERNAL, "the object has no version %s/%s",
                                kind->group, kind->version);
    }
    struct versioned *v = *ret = &c->at[c->count];
    v->kind = kind;
    int rc = apply_compare(u->arena, kind->type, live, new_, !u->exact, &v->diff, u->err);
    if (rc)
        return rc;
    v->diff.added = neap_fields_difference_below(u->arena, v->diff.added, u->reset);
    v->diff.modified = neap_fields_difference_below(u->arena, v->diff.modified, u->reset);
    v->diff.removed = neap_fields_difference_below(u->arena, v->diff.removed, u->reset);
    v->changed = neap_fields_union(u->arena, v->diff.modified, v->diff.added);
    c->count++;
    return 0;
}

/* ---- conflicts ---- */

struct conflict {
    struct manager *with;
    struct neap_fields *fields;
};

struct conflict_text {
    struct neap_err *err;
    struct neap_buf *message;
    const char *manager;
    bool alone;
};

static void tell(void *ctx, const char *path)
{
    struct conflict_text *t = ctx;
    if (t->alone)
        neap_buf_printf(t->message, ": %s", path);
    else
        neap_buf_printf(t->message, "\n- %s", path);
    neap_err_cause(t->err, "FieldManagerConflict", path, "conflict with %s", t->manager);
}

static int conflict_order(const void *a, const void *b)
{
    return manager_order(((const struct conflict *)a)->with, ((const struct conflict *)b)->with);
}

static int conflicts_tell(struct neap_err *err, struct conflict *all, size_t count)
{
    struct neap_err whole = NEAP_ERR_INIT;
    struct neap_buf message NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    size_t fields = 0;
    qsort(all, count, sizeof(*all), conflict_order);
    for (size_t i = 0; i < count; i++)
        fields += neap_fields_count(all[i].fields);
    neap_err_set(&whole, NEAP_ECONFLICT, "?");
    neap_buf_printf(&message, "Apply failed with %zu conflict%s: ", fields, fields == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++) {
        struct neap_buf name NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        manager_print(&name, all[i].with);
        struct conflict_text t = {&whole, &message, name.data, fields == 1};
        neap_buf_printf(&message, "%sconflict%s with %s%s", i ? "\n" : "", t.alone ? "" : "s",
                        name.data, t.alone ? "" : ":");
        fields_each(all[i].fields, tell, &t);
    }
    free(whole.message);
    whole.message = neap_buf_take(&message);
    if (err)
        return neap_err_move(err, &whole);
    neap_err_done(&whole);
    return NEAP_ECONFLICT;
}

/* ---- others ---- */

/* What every manager but <self> loses; conflicts are told. */
static int lose(struct update *u, struct comparisons *c, const struct manager *self, bool force,
                struct neap_fields *allowed)
{
    struct managers *m = &u->managers;
    size_t count = 0;
    struct conflict *conflicts = neap_arena_calloc(u->arena, (m->count + 1) * sizeof(*conflicts));
    if (!conflicts)
        return neap_err_set(u->err, NEAP_ETOOLARGE, "the object is too large");
    for (size_t i = 0; i < m->count; i++) {
        struct manager *other = &m->at[i];
        struct versioned *v;
        other->lost = NULL;
        if (self && manager_order(other, self) == 0)
            continue;
        int rc = compare_version(u, c, kind_of_version(u, other->api_version), &v);
        if (rc)
            return rc;
        struct neap_fields *taken = neap_fields_intersection(u->arena, other->set, v->changed);
        struct neap_fields *refused = neap_fields_difference(u->arena, taken, allowed);
        if (!force && !neap_fields_empty(refused))
            conflicts[count++] = (struct conflict){other, refused};
        other->lost = neap_fields_union(u->arena, taken, v->diff.removed);
    }
    return count ? conflicts_tell(u->err, conflicts, count) : 0;
}

int update_others(struct update *u, yyjson_mut_val *live, yyjson_mut_val *new_,
                  const struct manager *self, bool force, struct neap_fields *allowed,
                  struct neap_comparison *ret)
{
    struct managers *m = &u->managers;
    struct comparisons c = {.live = live, .new_ = new_};
    struct versioned *own;
    int rc = compare_version(u, &c, u->w->kind, &own);
    if (rc)
        return rc;
    if (ret)
        *ret = own->diff;
    for (size_t i = m->count; i-- > 0;) /* versions that are no more */
        if (!kind_of_version(u, m->at[i].api_version))
            managers_remove(m, &m->at[i]);
    rc = lose(u, &c, self, force, allowed);
    if (rc)
        return rc;
    for (size_t i = m->count; i-- > 0;) {
        struct manager *other = &m->at[i];
        if (self && manager_order(other, self) == 0)
            continue;
        manager_set(other, neap_fields_difference(u->arena, other->set, other->lost));
        if (neap_fields_empty(other->set))
            managers_remove(m, other);
    }
    return 0;
}

/* ---- a whole update ---- */

/* Sorted: pushed in order, they need no sorting. */
struct neap_fields *update_strip(struct neap_arena *arena, struct neap_fields *set)
{
    static const char *const below[] = {
        "clusterName",     "creationTimestamp", "generation", "managedFields", "name", "namespace",
        "resourceVersion", "selfLink",          "uid"};
    static const char *const top[] = {"apiVersion", "kind", "metadata"};
    struct neap_fields *metadata = NULL, *strip = NULL;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(below); i++) {
        struct element at = element_field(below[i], strlen(below[i]));
        fields_push(arena, &metadata, &at, true, NULL);
    }
    for (size_t i = 0; i < NEAP_ARRAY_LEN(top); i++) {
        struct element at = element_field(top[i], strlen(top[i]));
        fields_push(arena, &strip, &at, true, i == 2 ? metadata : NULL);
    }
    return neap_fields_difference(arena, set, strip);
}

void update_reconcile(struct update *u)
{
    for (size_t i = 0; i < u->managers.count; i++) {
        struct manager *m = &u->managers.at[i];
        const struct neap_kind *kind = kind_of_version(u, m->api_version);
        if (kind)
            manager_set(m, apply_reconcile(u->arena, kind->type, m->set));
    }
}

int update_run(struct update *u, yyjson_mut_val *live, yyjson_mut_val *new_,
               const char *manager_name)
{
    struct neap_comparison diff;
    update_reconcile(u);
    int rc = update_others(u, live, new_, NULL, true, NULL, &diff);
    if (rc)
        return rc;
    struct neap_fields *set =
        update_strip(u->arena, neap_fields_union(u->arena, diff.modified, diff.added));
    if (!neap_fields_empty(set)) {
        struct manager like = {.name = manager_name && *manager_name ? manager_name : "unknown",
                               .api_version = u->version,
                               .subresource = subresource_of(u->w)};
        struct manager *m = managers_find(&u->managers, &like);
        if (!m)
            m = managers_add(u->arena, &u->managers, &like);
        if (!m)
            return neap_err_set(u->err, NEAP_ETOOLARGE, "the object is too large");
        m->set = neap_fields_union(u->arena, set, m->set);
        m->time = update_now(u);
        m->seconds = u->w->now_ns / 1000000000;
        m->entry = NULL;
    }
    managers_cap(u->arena, &u->managers);
    return 0;
}

static yyjson_mut_val *managed_of(yyjson_mut_val *object)
{
    return yyjson_mut_obj_get(yyjson_mut_obj_get(object, "metadata"), "managedFields");
}

static void store_value(yyjson_mut_doc *doc, yyjson_mut_val *object, yyjson_mut_val *value)
{
    yyjson_mut_val *metadata = yyjson_mut_obj_get(object, "metadata");
    yyjson_mut_obj_remove_key(metadata, "managedFields");
    if (value)
        yyjson_mut_obj_add_val(doc, metadata, "managedFields", value);
}

void update_store(struct update *u, yyjson_mut_val *object)
{
    if (!yyjson_mut_obj_get(object, "metadata") && u->managers.count)
        yyjson_mut_obj_add_val(u->doc, object, "metadata", yyjson_mut_obj(u->doc));
    store_value(u->doc, object, managers_value(u->arena, &u->managers, u->doc));
}

static bool is_reset(yyjson_mut_val *sent)
{
    yyjson_mut_val *first = yyjson_mut_arr_get_first(sent);
    if (!yyjson_mut_is_arr(sent))
        return false;
    return !first || (yyjson_mut_arr_size(sent) == 1 && yyjson_mut_is_obj(first) &&
                      yyjson_mut_obj_size(first) == 0);
}

/* What to start from: what the client sent when that is any good, else what there was. */
static void start(struct update *u, yyjson_mut_val *live, yyjson_mut_val *sent)
{
    if (!*subresource_of(u->w)) {
        if (u->w->forget || is_reset(sent))
            return;
        if (sent && managers_parse(u->arena, sent, &u->managers, NULL) == 0 && u->managers.count) {
            bool ours = managed_of(live) && apply_equal(sent, managed_of(live));
            for (size_t i = 0; !ours && i < u->managers.count; i++)
                u->managers.at[i].entry = NULL; /* a client's spelling is not kept */
            return;
        }
    }
    if (managers_parse(u->arena, managed_of(live), &u->managers, NULL) != 0)
        u->managers.count = 0;
}

void neap_managed_update(struct neap_arena *arena, const struct neap_apply_write *w,
                         yyjson_mut_doc *doc, yyjson_mut_val *live, yyjson_mut_val *new_)
{
    static yyjson_mut_val nothing = {.tag = YYJSON_TYPE_OBJ};
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct update u;
    yyjson_mut_val *sent = managed_of(new_);
    update_init(&u, arena, doc, w, &err);
    start(&u, live, sent);
    store_value(doc, new_, NULL);
    /* an object whose fields nobody owns stays so until somebody applies */
    if (u.managers.count == 0 && neap_json_str_at(live, "metadata.uid"))
        return;
    if (update_run(&u, live ? live : &nothing, new_, w->manager) == 0 &&
        !neap_arena_exhausted(arena))
        update_store(&u, new_);
    else if (managed_of(live))
        store_value(doc, new_, yyjson_mut_val_mut_copy(doc, managed_of(live)));
}
