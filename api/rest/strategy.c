/* What a write may not touch, what the server computes: by the tables, then a kind's own hook. */
#include "strategy.h"

/* Copies (or removes) the old object's value at each path. */
static void reset(struct rest_write *w, const char *const *paths)
{
    for (; paths && *paths; paths++) {
        yyjson_mut_val *old = neap_json_at(w->old_root, *paths);
        neap_json_set_at(w->doc, w->root, *paths,
                         old ? yyjson_mut_val_mut_copy(w->doc, old) : NULL);
    }
}

static void status_at_create(struct rest_write *w)
{
    const char *status = w->kind->status_at_create;
    if (!status)
        return;
    if (!*status) {
        yyjson_mut_obj_remove_key(w->root, "status");
        return;
    }
    yyjson_doc *parsed = yyjson_read(status, strlen(status), 0);
    yyjson_mut_obj_put(w->root, yyjson_mut_str(w->doc, "status"),
                       yyjson_val_mut_copy(w->doc, yyjson_doc_get_root(parsed)));
    yyjson_doc_free(parsed);
}

static const struct rest_strategy *strategy_of(const struct neap_kind *kind)
{
    for (const struct rest_strategy *s = rest_strategies; s->resource; s++)
        if (strcmp(s->group, kind->group) == 0 && strcmp(s->resource, kind->resource) == 0)
            return s;
    return NULL;
}

int rest_prepare_create(struct rest_write *w, struct neap_err *err)
{
    const struct rest_strategy *s = strategy_of(w->kind);
    int rc = rest_meta_create(w, err);
    if (rc)
        return rc;
    status_at_create(w);
    return s && s->create ? s->create(w, err) : 0;
}

static bool changed_at(struct rest_write *w, const char *path)
{
    return !neap_json_equal(neap_json_at(w->root, path), neap_json_at(w->old_root, path));
}

static void bump_generation(struct rest_write *w)
{
    const char *const *p = w->kind->generation_bumped_by;
    yyjson_mut_val *old = neap_json_at(w->old_root, "metadata.generation");
    for (; p && *p; p++) {
        if (!changed_at(w, *p))
            continue;
        neap_json_set_at(w->doc, w->root, "metadata.generation",
                         yyjson_mut_sint(w->doc, yyjson_mut_get_sint(old) + 1));
        return;
    }
}

/* These change a part of the spec and nothing of the metadata but who owns it. */
static void keep_metadata(struct rest_write *w)
{
    yyjson_mut_val *owners = neap_json_at(w->root, "metadata.managedFields");
    yyjson_mut_val *meta =
        yyjson_mut_val_mut_copy(w->doc, yyjson_mut_obj_get(w->old_root, "metadata"));
    yyjson_mut_obj_remove_key(meta, "managedFields");
    if (owners)
        yyjson_mut_obj_put(meta, yyjson_mut_str(w->doc, "managedFields"),
                           yyjson_mut_val_mut_copy(w->doc, owners));
    yyjson_mut_obj_put(w->root, yyjson_mut_str(w->doc, "metadata"), meta);
}

static void keep_spec_but(struct rest_write *w, const char *field)
{
    yyjson_mut_val *new = yyjson_mut_obj_get(yyjson_mut_obj_get(w->root, "spec"), field);
    yyjson_mut_val *spec = yyjson_mut_val_mut_copy(w->doc, yyjson_mut_obj_get(w->old_root, "spec"));
    yyjson_mut_obj_remove_key(spec, field);
    if (new)
        yyjson_mut_obj_put(spec, yyjson_mut_str(w->doc, field),
                           yyjson_mut_val_mut_copy(w->doc, new));
    yyjson_mut_obj_put(w->root, yyjson_mut_str(w->doc, "spec"), spec);
}

int rest_prepare_update(struct rest_write *w, struct neap_err *err)
{
    const struct rest_strategy *s = strategy_of(w->kind);
    const char *const *paths = w->kind->reset_on_write;
    if (w->subresource)
        paths = strcmp(w->subresource->name, "status") == 0 && w->kind->reset_on_status_write
                    ? w->kind->reset_on_status_write
                    : w->subresource->reset_on_write;
    bool status = w->subresource && strcmp(w->subresource->name, "status") == 0;
    reset(w, paths);
    bool ephemeral = w->subresource && strcmp(w->subresource->name, "ephemeralcontainers") == 0;
    if (ephemeral || (w->subresource && strcmp(w->subresource->name, "resize") == 0))
        keep_metadata(w);
    if (ephemeral)
        keep_spec_but(w, "ephemeralContainers");
    int rc = rest_meta_update(w, err);
    if (!rc && s && s->update)
        rc = s->update(w, err);
    /* what is seen is no new wish, even where annotations count as one; nor is the node a pod got */
    if (!rc && !status && !w->binding)
        bump_generation(w);
    return rc;
}
