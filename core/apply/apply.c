/* Server-side apply: merge, take out what the applier no longer says, see to conflicts. */
#include "core/apply/apply_internal.h"

static const char LAST_APPLIED[] = "kubectl.kubernetes.io/last-applied-configuration";
/* What all annotations of an object may take together. */
enum { ANNOTATIONS_MAX = 256 * 1024 };

static yyjson_mut_val nothing = {.tag = YYJSON_TYPE_OBJ};

/* ---- the configuration ---- */

static int check_config(struct update *u, yyjson_mut_val *config)
{
    const char *version = yyjson_mut_get_str(yyjson_mut_obj_get(config, "apiVersion"));
    const char *kind = yyjson_mut_get_str(yyjson_mut_obj_get(config, "kind"));
    yyjson_mut_val *managed =
        yyjson_mut_obj_get(yyjson_mut_obj_get(config, "metadata"), "managedFields");
    if (!neap_streq(version, u->version) || !neap_streq(kind, u->w->kind->kind))
        return neap_err_set(u->err, NEAP_EBADREQUEST, "invalid object type: %s%s, Kind=%s",
                            version && strchr(version, '/') ? "" : "/", version ? version : "",
                            kind ? kind : "");
    if (managed && !yyjson_mut_is_null(managed))
        return neap_err_set(u->err, NEAP_EBADREQUEST, "metadata.managedFields must be nil");
    return apply_validate(u->arena, u->w->kind->type, config, u->err);
}

/* ---- pruning ---- */

static struct neap_fields *named_fields(struct update *u, yyjson_mut_val *v)
{
    struct neap_fields *set;
    if (neap_apply_fields_of(u->arena, u->w->kind->type, v, &set, NULL) != 0)
        return NULL;
    return apply_named(u->arena, u->w->kind->type, set);
}

static yyjson_mut_val *without(struct update *u, yyjson_mut_val *v, struct neap_fields *set)
{
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(u->doc, v);
    if (copy)
        apply_remove(u->arena, u->w->kind->type, copy, set);
    return copy;
}

/* Takes out what <self> applied before, does not apply now, and nobody else owns. */
static yyjson_mut_val *prune(struct update *u, yyjson_mut_val *merged, struct neap_fields *last)
{
    const struct neap_type *type = u->w->kind->type;
    struct neap_fields *managed = NULL, *there, *kept;
    struct neap_arena *a = u->arena;
    for (size_t i = 0; i < u->managers.count; i++)
        managed = neap_fields_union(a, managed, u->managers.at[i].set);
    if (neap_fields_empty(neap_fields_difference(a, last, managed)))
        return merged;
    there = named_fields(u, merged);
    last = apply_named(a, type, last);
    kept = neap_fields_union(a, named_fields(u, without(u, merged, last)),
                             apply_named(a, type, managed));
    /* what somebody owns is back with what it stands in; what nobody owned was never ours to take */
    kept = named_fields(u, without(u, merged, neap_fields_difference(a, there, kept)));
    return without(u, merged,
                   neap_fields_intersection(a, neap_fields_difference(a, there, kept), last));
}

/* ---- kubectl's annotation ---- */

static yyjson_mut_val *annotations_of(yyjson_mut_val *object)
{
    return yyjson_mut_obj_get(yyjson_mut_obj_get(object, "metadata"), "annotations");
}

static const char *last_applied(yyjson_mut_val *object)
{
    const char *s = yyjson_mut_get_str(yyjson_mut_obj_get(annotations_of(object), LAST_APPLIED));
    return s && *s ? s : NULL;
}

/* Fields that kubectl applied from the client's side and that are as it left them: it may go on from the
 * server's side without conflicts. */
static struct neap_fields *allowed_conflicts(struct update *u, yyjson_mut_val *live)
{
    const char *text = last_applied(live);
    const struct neap_type *type = u->w->kind->type;
    struct neap_comparison diff;
    struct neap_fields *set;
    yyjson_mut_doc *doc;
    if (!neap_streq(u->w->manager, "kubectl") || !text ||
        neap_json_parse(u->arena, text, strlen(text), NULL, &doc, NULL) != 0)
        return NULL;
    yyjson_mut_val *config = yyjson_mut_doc_get_root(doc);
    if (!neap_streq(neap_json_str_at(config, "apiVersion"), u->version) ||
        apply_validate(u->arena, type, config, NULL) != 0 ||
        neap_apply_fields_of(u->arena, type, config, &set, NULL) != 0 ||
        apply_compare(u->arena, type, config, live, false, &diff, NULL) != 0)
        return NULL;
    set = neap_fields_difference(u->arena, set, diff.modified);
    set = neap_fields_difference(u->arena, set, diff.added);
    return neap_fields_difference(u->arena, set, diff.removed);
}

static size_t annotations_size(yyjson_mut_val *annotations)
{
    size_t n = 0;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(annotations);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));)
        n += yyjson_mut_get_len(k) + yyjson_mut_get_len(yyjson_mut_obj_iter_get_val(k));
    return n;
}

/* Keeps the annotation of who uses both ways up to date. */
static void refresh_last_applied(struct update *u, yyjson_mut_val *object, yyjson_mut_val *config)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_val *copy, *annotations = annotations_of(object);
    if (!neap_streq(u->w->manager, "kubectl") || !last_applied(object))
        return;
    copy = yyjson_mut_val_mut_copy(u->doc, config);
    yyjson_mut_obj_remove_key(annotations_of(copy), LAST_APPLIED);
    if (annotations_of(copy) && yyjson_mut_obj_size(annotations_of(copy)) == 0)
        yyjson_mut_obj_remove_key(yyjson_mut_obj_get(copy, "metadata"), "annotations");
    neap_json_write_sorted(&b, copy);
    neap_buf_char(&b, '\n');
    yyjson_mut_obj_remove_key(annotations, LAST_APPLIED);
    yyjson_mut_obj_add_strncpy(u->doc, annotations, LAST_APPLIED, b.data, b.len);
    if (annotations_size(annotations) > ANNOTATIONS_MAX)
        yyjson_mut_obj_remove_key(annotations, LAST_APPLIED);
}

/* ---- apply ---- */

/* The applier's entry with what it says now. *ret_last: what it said before. */
static struct manager *own_entry(struct update *u, struct neap_fields *set,
                                 struct neap_fields **ret_last)
{
    struct manager like = {.name = u->w->manager && *u->w->manager ? u->w->manager : "unknown",
                           .api_version = u->version,
                           .subresource = u->w->subresource ? u->w->subresource : "",
                           .applied = true};
    struct manager *m = managers_find(&u->managers, &like);
    if (!m)
        m = managers_add(u->arena, &u->managers, &like);
    if (!m)
        return NULL;
    *ret_last = m->set;
    m->set = set;
    if (strcmp(m->api_version, u->version) != 0) {
        m->api_version = u->version;
        m->entry = NULL;
    } else if (!neap_fields_equal(*ret_last, set)) {
        m->entry = NULL;
    }
    return m;
}

static int merged_object(struct update *u, yyjson_mut_val *live, yyjson_mut_val *config,
                         yyjson_mut_val **ret)
{
    struct neap_fields *set, *last = NULL, *allowed = allowed_conflicts(u, live);
    const struct neap_type *type = u->w->kind->type;
    struct manager self, *own;
    update_reconcile(u);
    int rc = apply_merge(u->arena, u->doc, type, live, config, ret, u->err);
    if (!rc)
        rc = neap_apply_fields_of(u->arena, type, config, &set, u->err);
    if (rc)
        return rc;
    own = own_entry(u, neap_fields_difference_below(u->arena, set, u->reset), &last);
    if (!own)
        return neap_err_set(u->err, NEAP_ETOOLARGE, "the object is too large");
    self = *own;
    if (!neap_fields_empty(last))
        *ret = prune(u, *ret, last);
    if (!*ret || neap_arena_exhausted(u->arena))
        return neap_err_set(u->err, NEAP_ETOOLARGE, "the object is too large to be merged");
    u->exact = true; /* what is merged has what the configuration said, and no more */
    rc = update_others(u, live, *ret, &self, u->w->force, allowed, NULL);
    if (rc)
        return rc;
    own = managers_find(&u->managers, &self);
    manager_set(own, update_strip(u->arena, own->set));
    bool changed = live == &nothing || !apply_equal(live, *ret);
    if (changed) {
        own->time = update_now(u);
        own->seconds = u->w->now_ns / 1000000000;
        own->entry = NULL;
    }
    if (neap_fields_empty(own->set))
        managers_remove(&u->managers, own);
    return changed;
}

int neap_apply(struct neap_arena *arena, const struct neap_apply_write *w, yyjson_mut_doc *doc,
               yyjson_mut_val *live, yyjson_mut_val *config, yyjson_mut_val **ret,
               bool *ret_changed, struct neap_err *err)
{
    struct update u;
    yyjson_mut_val *managed =
        yyjson_mut_obj_get(yyjson_mut_obj_get(live, "metadata"), "managedFields");
    update_init(&u, arena, doc, w, err);
    int rc = check_config(&u, config);
    if (!rc)
        rc = managers_parse(arena, managed, &u.managers, err);
    if (!rc && live && u.managers.count == 0)
        rc = update_run(&u, &nothing, live, "before-first-apply");
    if (!rc)
        rc = merged_object(&u, live ? live : &nothing, config, ret);
    if (rc < 0)
        return rc;
    update_store(&u, *ret);
    refresh_last_applied(&u, *ret, config);
    if (ret_changed)
        *ret_changed = rc > 0;
    if (neap_arena_exhausted(arena))
        return neap_err_set(err, NEAP_ETOOLARGE, "the object is too large to be merged");
    return 0;
}
