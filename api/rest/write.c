/* One function for every write of an existing or new object: read, change, default, admit, prepare,
 * validate, allocate, commit; run again on a conflict that the caller did not ask to hear of.
 * design.md section 5, "Read-modify-write". */
#include "internal.h"

enum {
    WRITE_ATTEMPTS = 5,
    OBJECT_BYTES_MAX = 1536 << 10 /* as etcd's default limit of a request */
};

struct rest_write *rest_write_new(struct neap_call *c)
{
    struct rest_write *w = neap_arena_calloc(c->arena, sizeof(*w));
    if (!w)
        return NULL;
    w->call = c;
    w->kind = c->kind;
    w->subresource = rest_call_of(c)->subresource;
    w->namespace_ = c->namespace_;
    w->name = c->name;
    neap_list_init(&w->waiting);
    rest_call_of(c)->write = w;
    return w;
}

struct neap_arena *rest_attempt_arena(struct rest_write *w)
{
    if (!w->scratch)
        w->scratch = neap_arena_new(rest_of(w->call)->options.arena_bytes);
    return w->scratch;
}

yyjson_mut_doc *rest_attempt_doc(struct rest_write *w)
{
    return yyjson_mut_doc_new(neap_arena_alc(rest_attempt_arena(w)));
}

bool rest_attempt_exhausted(struct rest_write *w)
{
    return neap_arena_exhausted(w->call->arena) || (w->scratch && neap_arena_exhausted(w->scratch));
}

/* Drops the trees of an attempt whose draft is made: many writes wait for the store at once. */
static void trees_done(struct rest_write *w)
{
    w->scratch = neap_arena_free(w->scratch);
    w->doc = NULL;
    w->root = w->old_root = NULL;
}

/* Drops what the attempt holds. */
static void attempt_done(struct rest_write *w)
{
    neap_txn_done(&w->txn);
    w->txn = (struct neap_txn){0};
    w->old = neap_object_unref(w->old);
    w->draft = neap_object_unref(w->draft);
    for (unsigned i = 0; i < w->owned_count; i++)
        neap_object_unref(w->owned[i]);
    w->owned_count = w->op_count = 0;
    trees_done(w);
    w->created = w->delete_now = w->delete_marked = w->applied = w->shows_draft = false;
}

static void end(struct rest_write *w)
{
    attempt_done(w);
    rest_busy_release(w);
    neap_buf_done(&w->key);
}

static void fail(struct rest_write *w)
{
    struct neap_call *c = w->call;
    end(w);
    rest_fail(c);
}

static void succeed(struct rest_write *w, struct neap_object *o)
{
    struct neap_call *c = w->call;
    struct neap_object *keep = neap_object_ref(o);
    bool created = w->created;
    if (c->kind->not_enforced && (created || w->operation != REST_DELETE) && !w->subresource)
        neap_call_warn(c, "%s: %s", c->kind->kind, c->kind->not_enforced_note);
    if (w->reply) {
        rest_busy_release(w);
        w->reply(w, keep);
        neap_object_unref(keep);
        return; /* attempt_done when the call's arena goes: see below */
    }
    end(w);
    rest_reply_object(c, created ? 201 : 200, keep);
    neap_object_unref(keep);
}

bool rest_write_also(struct rest_write *w, const struct neap_kind *kind, const char *key,
                     uint64_t expected, struct neap_object *draft)
{
    char *copy = neap_arena_strdup(w->call->arena, key);
    if (draft && w->owned_count < NEAP_ARRAY_LEN(w->owned))
        w->owned[w->owned_count++] = draft;
    else if (draft)
        neap_object_unref(draft);
    if (!copy || w->op_count + 1 >= NEAP_ARRAY_LEN(w->ops))
        return false;
    if (w->op_count == 0)
        w->op_count = 1; /* [0] is the object's own */
    w->ops[w->op_count++] = (struct neap_txn_op){
        .kind = kind->storage, .key = copy, .expected = expected, .draft = draft};
    return true;
}

/* ---- one attempt ---- */

static int load(struct rest_write *w, struct neap_err *err)
{
    struct neap_call *c = w->call;
    struct neap_object *o = neap_snapshot_get(rest_pin(c), w->kind, w->namespace_, w->name);
    if (w->operation ==
        REST_CREATE) { /* that it exists is said last: what is wrong with it comes first */
        w->created = true;
        return 0;
    }
    w->old = o ? neap_object_ref(o) : NULL;
    w->created = !o;
    if (!o && !w->may_create)
        return rest_err_not_found(err, w->kind, w->name);
    if (!o)
        return 0;
    yyjson_mut_doc *doc = rest_object_doc(rest_attempt_arena(w), o, w->kind);
    if (!doc)
        return neap_err_set(err, NEAP_ETOOLARGE, "the request is too large");
    w->old_root = yyjson_mut_doc_get_root(doc);
    return 0;
}

/* A precondition of DeleteOptions, or of a body's metadata. */
static int check_preconditions(struct rest_write *w, struct neap_err *err)
{
    if (!w->old)
        return 0;
    const char *uid = w->uid_precondition, *version = w->revision_precondition;
    char current[24];
    snprintf(current, sizeof(current), "%llu", (unsigned long long)neap_object_revision(w->old));
    const char *what = NULL, *given = NULL, *have = NULL, *tail = "";
    if (uid && strcmp(uid, neap_object_uid(w->old)) != 0) {
        what = "UID";
        given = uid;
        have = neap_object_uid(w->old);
        tail = "The object might have been deleted and then recreated";
    } else if (version && strcmp(version, current) != 0) {
        what = "ResourceVersion";
        given = version;
        have = current;
        tail = "The object might have been modified";
    }
    if (!what)
        return 0;
    neap_err_set(err, NEAP_ECONFLICT,
                 "Operation cannot be fulfilled on %s \"%s\": the %s in the precondition (%s) does "
                 "not match the %s in record (%s). %s",
                 w->kind->kind, w->name, what, given, what, have, tail);
    neap_err_about(err, w->kind->group, w->kind->kind, w->name);
    return NEAP_ECONFLICT;
}

static int validate(struct rest_write *w, struct neap_err *err)
{
    struct rest_validation v = {.root = w->root,
                                .old_root = w->old_root,
                                .kind = w->kind,
                                .subresource = w->subresource,
                                .binding = w->binding,
                                .err = err};
    rest_validate(&v);
    if (!err->code) {
        rest_warn(&v, w->call);
        return 0;
    }
    if (err->code == NEAP_EINVALID)
        return rest_err_invalid(err, w->kind,
                                yyjson_mut_get_str(neap_json_at(w->root, "metadata.name")));
    return err->code;
}

static bool grace_is_zero(yyjson_mut_val *root)
{
    yyjson_mut_val *v = neap_json_at(root, "metadata.deletionGracePeriodSeconds");
    return v && yyjson_mut_get_sint(v) == 0;
}

/* An update that took the last finalizer off an object that is being deleted removes it. */
static bool last_finalizer_gone(struct rest_write *w)
{
    bool namespace_ = strcmp(w->kind->resource, "namespaces") == 0 && !*w->kind->group;
    if (w->created || !w->old_root || !neap_object_deleting(w->old) ||
        (!namespace_ && !grace_is_zero(w->old_root)))
        return false;
    if (yyjson_mut_arr_size(neap_json_at(w->root, "metadata.finalizers")))
        return false;
    return !namespace_ || yyjson_mut_arr_size(neap_json_at(w->root, "spec.finalizers")) == 0;
}

/* The storage form of the new object as a draft. */
static int make_draft(struct rest_write *w, struct neap_err *err)
{
    struct neap_call *c = w->call;
    const struct neap_kind *storage = w->kind->storage;
    yyjson_mut_val *root = w->root;
    if (storage != w->kind) {
        root = yyjson_mut_val_mut_copy(w->doc, root);
        int rc = neap_kind_convert(w->doc, root, w->kind, storage, err);
        if (rc)
            return rc;
    }
    if (rest_attempt_exhausted(w))
        return neap_err_set(err, NEAP_ETOOLARGE, "the request is too large");
    struct neap_buf json = {.max = OBJECT_BYTES_MAX};
    neap_kind_write(&json, root, storage->type);
    int64_t expires = 0;
    if (storage->ttl_s)
        expires = neap_clock_wall(rest_of(c)->options.clock) + storage->ttl_s * 1000000000;
    int rc = json.overflow
                 ? neap_err_set(err, NEAP_ETOOLARGE, "Request entity too large: limit is %d",
                                OBJECT_BYTES_MAX)
                 : neap_object_new(storage, json.data, json.len, 0, expires, &w->draft, err);
    neap_buf_done(&json);
    return rc;
}

static bool unchanged(struct rest_write *w)
{
    if (!w->old || w->op_count > 1 || w->kind->storage->ttl_s)
        return false;
    struct neap_buf old = NEAP_BUF_INIT;
    size_t len;
    const char *json = neap_object_json(w->draft, &len);
    neap_object_stored_json(w->old, &old);
    bool same = old.len == len && memcmp(old.data, json, len) == 0;
    neap_buf_done(&old);
    return same;
}

/* Of a create: the object is there already, perhaps on its way out. */
static int taken(struct rest_write *w, struct neap_err *err)
{
    struct neap_object *o =
        w->operation == REST_CREATE
            ? neap_snapshot_get(rest_call_of(w->call)->snapshot, w->kind, w->namespace_, w->name)
            : NULL;
    if (!o)
        return 0;
    rest_err_already_exists(err, w->kind, w->name);
    const char *prefix = neap_json_str_at(w->root, "metadata.generateName");
    bool generated = prefix && *prefix, deleting = neap_object_deleting(o);
    if (generated)
        err->details.retry_after_s = 1;
    if (generated || deleting) {
        char *text = neap_asprintf(
            "%s%s%s", deleting ? "object is being deleted: " : "", err->message,
            generated ? ", the server was not able to generate a unique name for the object" : "");
        free(err->message);
        err->message = text;
    }
    return err->code;
}

static void committed(struct neap_txn *txn);

static void commit(struct rest_write *w)
{
    struct neap_call *c = w->call;
    w->ops[0] = (struct neap_txn_op){.kind = w->kind->storage,
                                     .key = w->key.data,
                                     .expected = w->old ? neap_object_revision(w->old) : 0,
                                     .draft = w->delete_now ? NULL : w->draft};
    if (w->op_count == 0)
        w->op_count = 1;
    w->txn = (struct neap_txn){
        .ops = w->ops, .op_count = w->op_count, .loop = c->loop, .done = committed, .data = w};
    neap_registry_submit(rest_of(c)->options.registry, &w->txn);
}

static int make(struct rest_write *w, struct neap_err *err)
{
    int rc = load(w, err);
    if (!rc)
        rc = check_preconditions(w, err);
    if (!rc)
        rc = w->change(w, err);
    if (rc || w->delete_marked)
        return rc;
    if (w->delete_now)
        return rest_allocate(w, err); /* gives back what the object held */
    if (w->old_root) /* as the new one was: zero values dropped, so that the two compare */
        neap_kind_decode(w->doc, w->old_root, w->kind->type, NEAP_FV_IGNORE, NULL, err);
    neap_kind_default(w->doc, w->root, w->kind);
    rest_managed(w); /* before what the server itself changes: that belongs to nobody */
    neap_kind_drop_empty(w->root, w->kind->type);
    rc = rest_admit(w, err);
    if (!rc)
        rc = w->created ? rest_prepare_create(w, err) : rest_prepare_update(w, err);
    if (!rc && last_finalizer_gone(w))
        w->delete_now = w->shows_draft = true;
    if (!rc)
        rc = rest_allocate(w, err);
    rc = rc ? rc : validate(w, err);
    return rc ? rc : taken(w, err);
}

/* What would be there, at the revision that is. */
static void succeed_dry(struct rest_write *w)
{
    bool old = w->delete_now && !w->shows_draft;
    struct neap_object *shown = neap_object_ref(old ? w->old : w->draft);
    if (w->old && !old) {
        neap_object_unref(shown);
        shown = neap_object_at_revision(w->draft, neap_object_revision(w->old));
    }
    succeed(w, shown);
    neap_object_unref(shown);
}

void rest_write_run(struct rest_write *w)
{
    struct neap_call *c = w->call;
    w->attempt++;
    int rc = make(w, &c->err);
    /* a generated name that is taken: 4000 names of five characters meet as often as not */
    for (; rc == NEAP_EALREADYEXISTS && w->rename && w->attempt < WRITE_ATTEMPTS; w->attempt++) {
        neap_err_done(&c->err);
        attempt_done(w);
        w->rename(w);
        rc = make(w, &c->err);
    }
    if (!rc && (!w->delete_now || w->shows_draft))
        rc = make_draft(w, &c->err);
    trees_done(w);
    if (rc) {
        fail(w);
        return;
    }
    if (c->options.dry_run)
        succeed_dry(w);
    else if (!w->delete_now && unchanged(w))
        succeed(w, w->old);
    else
        commit(w);
}

static void lost(struct rest_write *w)
{
    struct neap_call *c = w->call;
    if (w->operation == REST_CREATE && w->txn.conflict_op == 0)
        rest_err_already_exists(&c->err, w->kind, w->name);
    else
        rest_err_conflict_modified(&c->err, w->kind, w->name);
    fail(w);
}

/* On the call's loop: durable and published, or refused. */
static void committed(struct neap_txn *txn)
{
    struct rest_write *w = txn->data;
    struct neap_call *c = w->call;
    if (txn->result == 0 && w->delete_now && w->shows_draft) {
        struct neap_object *shown =
            neap_object_at_revision(w->draft, neap_object_revision(txn->objects[0]));
        succeed(w, shown);
        neap_object_unref(shown);
        return;
    }
    if (txn->result == 0) {
        succeed(w, txn->objects[0]);
        return;
    }
    if (txn->result != NEAP_ECONFLICT) {
        const char *text = txn->result == NEAP_ENOSPACE
                               ? "the store has no space left: writes are refused, reads go on"
                           : txn->result == NEAP_ETOOMANYREQUESTS
                               ? "too many writes are waiting, please try again later"
                               : "the store refused the write";
        neap_err_set(&c->err, txn->result, "%s", text);
        if (txn->result == NEAP_ETOOMANYREQUESTS)
            c->err.details.retry_after_s = 1;
        fail(w);
        return;
    }
    bool on_object = txn->conflict_op == 0;
    bool again = w->attempt < WRITE_ATTEMPTS && !c->cancelled &&
                 (!on_object || (w->operation != REST_CREATE && !w->revision_precondition));
    if (on_object && w->rename && w->attempt < WRITE_ATTEMPTS) {
        attempt_done(w);
        w->rename(w);
        rest_write_run(w);
        return;
    }
    if (!again) {
        lost(w);
        return;
    }
    attempt_done(w);
    rest_write_run(w);
}

static void drop_attempt(void *arg)
{
    struct rest_write *w = arg;
    attempt_done(w);
    neap_buf_done(&w->key);
}

void rest_write_start(struct rest_write *w)
{
    struct neap_call *c = w->call;
    neap_object_key_make(&w->key, w->kind->storage, w->namespace_, w->name);
    /* whatever a reply still shows lives as long as the call */
    if (!neap_arena_defer(c->arena, drop_attempt, w)) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    if (w->operation == REST_CREATE || rest_busy_take(w))
        rest_write_run(w);
}
