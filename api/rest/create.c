/* POST of a new object. */
#include "internal.h"

struct create {
    yyjson_mut_val *body; /* decoded */
    yyjson_mut_doc *doc;
    const char *prefix; /* generateName; NULL: the name was given */
};

static int change(struct rest_write *w, struct neap_err *err)
{
    struct create *p = w->data;
    (void)err;
    w->doc = rest_attempt_doc(w);
    /* a copy: another attempt starts from what was sent */
    w->root = yyjson_mut_val_mut_copy(w->doc, p->body);
    return 0;
}

static int check_namespace(struct neap_call *c, yyjson_mut_val *root, struct neap_err *err)
{
    yyjson_mut_val *meta = yyjson_mut_obj_get(root, "metadata");
    const char *ns = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "namespace"));
    if (!ns || !*ns || neap_streq(ns, c->namespace_))
        return 0;
    if (!c->kind->namespaced) {
        yyjson_mut_obj_remove_key(meta, "namespace");
        return 0;
    }
    return neap_err_set(err, NEAP_EBADREQUEST,
                        "the namespace of the provided object does not match the namespace sent on "
                        "the request");
}

/* The prefix, cut, and five random characters: put into the body. */
static const char *generate(struct neap_call *c, yyjson_mut_doc *doc, const char *prefix)
{
    char suffix[8];
    neap_rand_suffix(rest_of(c)->options.rand, suffix, 5);
    const char *name = neap_arena_printf(c->arena, "%.58s%s", prefix, suffix);
    if (name)
        neap_json_set_at(doc, yyjson_mut_doc_get_root(doc), "metadata.name",
                         yyjson_mut_strcpy(doc, name));
    return name;
}

static void rename_object(struct rest_write *w)
{
    struct create *p = w->data;
    w->name = generate(w->call, p->doc, p->prefix);
    neap_buf_reset(&w->key);
    neap_object_key_make(&w->key, w->kind->storage, w->namespace_, w->name);
}

/* Name, generateName, what may not be set. */
static int check_meta(struct neap_call *c, struct create *p, yyjson_mut_doc *doc,
                      const char **ret_name, struct neap_err *err)
{
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    yyjson_mut_val *meta = yyjson_mut_obj_get(root, "metadata");
    if (!meta) {
        meta = yyjson_mut_obj(doc);
        yyjson_mut_obj_put(root, yyjson_mut_str(doc, "metadata"), meta);
    }
    const char *version = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "resourceVersion"));
    const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "name"));
    const char *prefix = yyjson_mut_get_str(yyjson_mut_obj_get(meta, "generateName"));
    int rc = check_namespace(c, root, err);
    if (rc)
        return rc;
    if (version && *version && strcmp(version, "0") != 0)
        return neap_err_set(err, NEAP_EPLAIN,
                            "resourceVersion should not be set on objects to be created");
    if (!(name && *name) && prefix && *prefix) {
        p->prefix = prefix;
        name = generate(c, doc, prefix);
    }
    *ret_name = name ? name : "";
    return 0;
}

void rest_create(struct neap_call *c)
{
    struct rest_write *w = rest_write_new(c);
    struct create *p = neap_arena_calloc(c->arena, sizeof(*p));
    if (!w || !p) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    if (rest_negotiate(c, true, &c->err) ||
        rest_body_object(c, c->kind, c->kind->type, c->kind->kind, &p->doc, &c->err) ||
        check_meta(c, p, p->doc, &w->name, &c->err)) {
        rest_fail(c);
        return;
    }
    p->body = yyjson_mut_doc_get_root(p->doc);
    if (!*c->kind->group && strcmp(c->kind->resource, "endpoints") == 0)
        neap_call_warn(c, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 "
                          "EndpointSlice");
    w->forget_managers = rest_call_of(c)->forgets_managers;
    w->operation = REST_CREATE;
    w->change = change;
    w->data = p;
    w->rename = p->prefix ? rename_object : NULL;
    rest_write_start(w);
}
