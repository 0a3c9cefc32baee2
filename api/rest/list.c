/* LIST: one snapshot, in pages or streamed. design.md section 5.
 *
 * Protobuf has the length of all items before them. So that a list of any size takes little memory, they are gone
 * through twice: the first time for their lengths, which objects remember, in slices between which other calls
 * get their turn; the second time for their bytes. */
#include "internal.h"
#include "token.h"

#include <neap/protobuf.h>

enum {
    LIST_FIRST = 64 << 10,
    LIST_SLICE = 4096, /* objects looked at before other calls get a turn */
    SIZE_SLICE = 1024, /* objects measured */
};

struct list {
    struct neap_body body;
    struct neap_call *call;
    struct neap_snapshot *snapshot; /* pinned */
    struct neap_iter iter;
    const struct neap_selector *selector;
    struct neap_object **indexed; /* from an index instead of the iterator; NULL: none */
    size_t indexed_count, indexed_at;
    int64_t left;  /* objects of this page; -1: no limit */
    int64_t total; /* matching objects of all pages left before this one; -1: not counted */
    int64_t written;
    struct neap_object *last; /* written last, borrowed of the snapshot */
    struct neap_buf pending;  /* made before the head was sent */
    bool head, ended, table;
    /* protobuf only */
    bool protobuf, sized, failed;
    struct rest_protobuf_items items;
    struct neap_buf scratch;
    struct neap_iter start; /* where the second time begins */
    size_t items_len, items_written;
    struct neap_timer *turn;
};

/* ---- the objects ---- */

static struct neap_object *next_candidate(struct list *l)
{
    if (!l->indexed)
        return neap_iter_next(&l->iter);
    return l->indexed_at < l->indexed_count ? l->indexed[l->indexed_at++] : NULL;
}

static bool in_namespace(const struct neap_call *c, const struct neap_object *o)
{
    return !c->namespace_ || strcmp(neap_object_namespace(o), c->namespace_) == 0;
}

/* The next object that matches; NULL: the end, or (*budget 0) a pause. */
static struct neap_object *next_match(struct list *l, unsigned *budget)
{
    struct neap_object *o;
    while (*budget && (o = next_candidate(l))) {
        (*budget)--;
        if (l->indexed && !in_namespace(l->call, o))
            continue;
        if (!l->selector || neap_selector_match(l->selector, o))
            return o;
    }
    return NULL;
}

static bool choose_index(struct list *l)
{
    struct neap_call *c = l->call;
    const struct neap_kind *k = c->kind->storage;
    if (!l->selector || c->options.limit > 0 ||
        (c->options.continue_token && *c->options.continue_token))
        return false;
    for (unsigned i = 0; i < k->selectable_count && k == c->kind; i++) {
        const char *value = neap_selector_pinned(l->selector, k->selectable[i].path);
        if (!value || !*value)
            continue;
        l->indexed = neap_snapshot_by_field(l->snapshot, k, i, value, c->arena, &l->indexed_count);
        if (!l->indexed)
            l->indexed_count = 0;
        l->indexed = l->indexed ? l->indexed : neap_arena_calloc(c->arena, sizeof(void *));
        return l->indexed != NULL;
    }
    return false;
}

/* ---- the answer ---- */

static void write_head(struct list *l, struct neap_buf *out)
{
    struct neap_call *c = l->call;
    char api_version[128];
    bool partial = rest_wants(c, "PartialObjectMetadata");
    l->head = true;
    if (l->table) {
        rest_table_head(c, out, neap_snapshot_revision(l->snapshot), NULL, -1, true);
        return;
    }
    neap_buf_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{",
                    partial ? "PartialObjectMetadataList" : c->kind->list_kind,
                    partial ? rest_meta_version(c) : neap_kind_api_version(c->kind, api_version));
    neap_buf_printf(out, "\"resourceVersion\":\"%llu\"",
                    (unsigned long long)neap_snapshot_revision(l->snapshot));
}

/* The continue token has to stand before the items: a page is therefore made as a whole. */
static void write_continue(struct neap_buf *out, const char *token, int64_t remaining)
{
    if (token)
        neap_buf_printf(out, ",\"continue\":\"%s\"", token);
    if (token && remaining >= 0)
        neap_buf_printf(out, ",\"remainingItemCount\":%lld", (long long)remaining);
    neap_buf_str(out, "},\"items\":[");
}

/* A streamed answer breaks off, as its length was told. What is stored can be written, so this is not seen. */
static void fail_protobuf(struct list *l, struct neap_err *err)
{
    l->ended = l->failed = true;
    NEAP_ERROR("api", "a list breaks off", "path=%s err=%s", neap_log_quote(l->call->path),
               neap_log_quote(err && err->message ? err->message : "lengths differ"));
    neap_err_done(err);
}

static void write_protobuf(struct list *l, struct neap_buf *out, struct neap_object *o)
{
    struct neap_err err = NEAP_ERR_INIT;
    size_t before = out->len;
    if (rest_protobuf_item(l->call, &l->items, out, o, &err))
        fail_protobuf(l, &err);
    l->items_written += out->len - before;
    neap_err_done(&err);
}

static void write_item(struct list *l, struct neap_buf *out, struct neap_object *o)
{
    l->last = o;
    if (l->written++ && !l->protobuf)
        neap_buf_char(out, ',');
    if (l->protobuf)
        write_protobuf(l, out, o);
    else if (l->table)
        rest_table_row(l->call, out, o);
    else
        rest_write_object(l->call, out, o, true);
}

static void write_end(struct list *l, struct neap_buf *out)
{
    l->ended = true;
    if (!l->protobuf)
        neap_buf_str(out, "]}\n");
    else if (l->items_written == l->items_len)
        neap_protobuf_tail(out);
    else
        fail_protobuf(l, NULL);
}

/* ---- protobuf: the lengths first ---- */

static void iter_copy(struct neap_iter *to, const struct neap_iter *from)
{
    *to = *from;
    if (from->prefix == from->prefix_buf)
        to->prefix = to->prefix_buf;
}

static void on_turn(void *arg)
{
    struct list *l = arg;
    l->call->wake(l->call);
}

/* 1: the head is written; 0: later, by a wake; -1: failed. */
static int size_some(struct list *l, struct neap_buf *out)
{
    NEAP_CLEANUP_BUF struct neap_buf json = NEAP_BUF_INIT;
    struct neap_err err = NEAP_ERR_INIT;
    unsigned budget = SIZE_SLICE;
    size_t len;
    int rc = 0;
    for (struct neap_object *o; !rc && (o = next_match(l, &budget)); l->items_len += len)
        rc = rest_protobuf_item_len(l->call, &l->items, &l->scratch, o, &len, &err);
    if (!rc && !budget) {
        l->turn = l->turn ? l->turn : neap_timer_new(l->call->loop, on_turn, l);
        neap_timer_start(l->turn, 0, 0);
        return 0;
    }
    if (!rc) {
        write_head(l, &json);
        write_continue(&json, NULL, -1);
        neap_buf_str(&json, "]}");
        rc = rest_protobuf_list_head(out, &json, l->items_len, &err);
    }
    if (rc)
        fail_protobuf(l, &err);
    l->sized = true;
    /* with the objects themselves about twice as much; what does not fit would only push itself out */
    l->items.keep =
        l->items.plain && l->items_len < rest_encoded_bytes_max(rest_of(l->call)->encoded) / 2;
    iter_copy(&l->iter, &l->start);
    l->indexed_at = 0;
    return rc ? -1 : 1;
}

static int body_read(struct neap_body *b, struct neap_buf *out, size_t want)
{
    struct list *l = neap_container_of(b, struct list, body);
    size_t start = out->len;
    int sized = l->protobuf && !l->sized ? size_some(l, out) : 1;
    if (sized != 1)
        return sized;
    if (l->pending.len) {
        neap_buf_append(out, l->pending.data, l->pending.len);
        neap_buf_done(&l->pending);
    }
    for (;;) {
        if (l->ended)
            return -1;
        if (out->len - start >= want)
            return 1;
        unsigned budget = LIST_SLICE;
        struct neap_object *o = next_match(l, &budget);
        if (o) {
            write_item(l, out, o);
        } else if (budget) {
            write_end(l, out);
        } else if (out->len > start) {
            return 1;
        }
    }
}

static void body_close(struct neap_body *b)
{
    struct list *l = neap_container_of(b, struct list, body);
    neap_buf_done(&l->pending);
    neap_buf_done(&l->scratch);
    neap_buf_done(&l->items.json);
    l->turn = neap_timer_close(l->turn);
    l->snapshot = neap_snapshot_unpin(l->snapshot);
}

/* All of it is in the call's buffer. */
static void finish_whole(struct list *l)
{
    struct neap_call *c = l->call;
    if (l->failed) {
        rest_fail_with(c, NEAP_EINTERNAL, "the list cannot be written as protobuf");
        return;
    }
    if (!l->protobuf) {
        rest_reply_json(c, 200);
        return;
    }
    c->status = 200;
    c->reply_type = NEAP_PROTOBUF_MEDIA_TYPE;
    rest_finish(c);
}

/* Small answers go out whole with their length; big ones are pulled. YAML needs the whole. */
static void answer_stream(struct list *l)
{
    struct neap_call *c = l->call;
    struct neap_buf *out = &c->reply_buf;
    const struct neap_accept *a = rest_call_of(c)->accept;
    bool whole =
        !l->protobuf && (c->internal || c->options.pretty || (a && a->media == NEAP_MEDIA_YAML));
    if (!l->protobuf)
        write_head(l, out);
    if (!l->table && !l->protobuf)
        write_continue(out, NULL, -1);
    iter_copy(&l->start, &l->iter);
    out->max = whole ? rest_of(c)->options.arena_bytes * 4 : 0;
    while (body_read(&l->body, out, whole ? SIZE_MAX : LIST_FIRST) != -1)
        if (!whole)
            break;
    c->reply_type = l->protobuf ? NEAP_PROTOBUF_MEDIA_TYPE : "application/json";
    if (l->ended) {
        body_close(&l->body);
        if (out->overflow)
            rest_fail_with(c, NEAP_ETOOLARGE, "the list is too large to be answered in this form");
        else
            finish_whole(l);
        return;
    }
    l->pending = *out;
    c->reply_buf = (struct neap_buf)NEAP_BUF_INIT;
    c->status = 200;
    c->stream_body = &l->body;
    rest_finish(c);
}

static int64_t count_rest(struct list *l)
{
    struct neap_iter it;
    int64_t n = 0;
    iter_copy(&it, &l->iter);
    while (neap_iter_next(&it))
        n++;
    return n;
}

static void write_page(struct list *l, const struct neap_buf *items, const char *token,
                       int64_t remaining)
{
    struct neap_call *c = l->call;
    struct neap_buf *out = &c->reply_buf;
    NEAP_CLEANUP_BUF struct neap_buf json = NEAP_BUF_INIT;
    struct neap_buf *head = l->protobuf ? &json : out;
    struct neap_err err = NEAP_ERR_INIT;
    if (l->table) {
        rest_table_head(c, out, neap_snapshot_revision(l->snapshot), token, remaining, true);
    } else {
        write_head(l, head);
        write_continue(head, token, remaining);
    }
    if (l->protobuf) {
        neap_buf_str(head, "]}");
        if (rest_protobuf_list_head(out, head, items->len, &err))
            fail_protobuf(l, &err);
    }
    neap_buf_append(out, items->data ? items->data : "", items->len);
    l->items_len = items->len;
    write_end(l, out);
}

static void answer_page(struct list *l)
{
    struct neap_call *c = l->call;
    struct neap_buf items = NEAP_BUF_INIT, token = NEAP_BUF_INIT;
    struct neap_object *more = NULL;
    int64_t remaining = -1;
    for (;;) {
        unsigned budget = UINT32_MAX;
        if (l->written == l->left) {
            /* is there one more? the iterator moves on a copy's behalf only */
            more = next_match(l, &budget);
            break;
        }
        struct neap_object *o = next_match(l, &budget);
        if (!o)
            break;
        write_item(l, &items, o);
    }
    uint64_t revision = neap_snapshot_revision(l->snapshot);
    if (more) {
        if (!l->selector)
            remaining = l->total >= 0 ? l->total - l->written : count_rest(l) + 1;
        rest_token_write(&token, revision, neap_object_key(l->last), remaining);
        neap_snapshot_hold(rest_of(c)->options.registry, l->snapshot);
    }
    write_page(l, &items, token.len ? token.data : NULL, remaining);
    neap_buf_done(&items);
    neap_buf_done(&token);
    body_close(&l->body);
    finish_whole(l);
}

/* ---- which snapshot ---- */

/* Says so, and gives a token that goes on in whatever is newest. */
static int expired_continue(struct neap_call *c, const struct rest_token *t, struct neap_err *err)
{
    struct neap_buf token = NEAP_BUF_INIT;
    rest_token_write(&token, 0, t->key, -1);
    rest_call_of(c)->status_continue = neap_arena_strdup(c->arena, token.data);
    neap_buf_done(&token);
    return neap_err_set(
        err, NEAP_EEXPIRED,
        "The provided continue parameter is too old to display a consistent list result. You can "
        "start a new list without the continue parameter, or use the continue token in this "
        "response to retrieve the remainder of the results. Continuing with the provided token "
        "results in an inconsistent list - objects that were created, modified, or deleted between "
        "the time the first chunk was returned and now may show up in the list.");
}

/* The snapshot that the options ask for, pinned. */
static struct neap_snapshot *choose(struct neap_call *c, const struct rest_token *t,
                                    struct neap_err *err)
{
    struct neap_registry *r = rest_of(c)->options.registry;
    uint64_t revision = t->revision;
    bool exact = neap_streq(c->options.resource_version_match, "Exact");
    if (!revision && exact && rest_parse_revision(c->options.resource_version, &revision, err))
        return NULL;
    if (!revision)
        return neap_snapshot_pin(r);
    struct neap_snapshot *s = neap_snapshot_held(r, revision);
    if (s)
        return s;
    if (t->revision)
        expired_continue(c, t, err);
    else
        neap_err_set(err, NEAP_EEXPIRED, "The resourceVersion for the provided list is too old.");
    return NULL;
}

static void answer(struct neap_call *c)
{
    struct rest_token token = {.remaining = -1};
    struct neap_selector *selector = NULL;
    struct list *l = neap_arena_calloc(c->arena, sizeof(*l));
    if (!l) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    *l = (struct list){.body = {body_read, body_close}, .call = c, .left = -1, .total = -1};
    if (rest_selector(c, &selector, &c->err) ||
        rest_token_parse(c, c->options.continue_token, &token, &c->err) ||
        !(l->snapshot = choose(c, &token, &c->err))) {
        rest_fail(c);
        return;
    }
    l->selector = selector;
    l->table = rest_wants(c, "Table");
    l->protobuf = rest_protobuf(c);
    if (l->protobuf && rest_protobuf_items(c, &l->items, &c->err)) {
        body_close(&l->body);
        rest_fail(c);
        return;
    }
    l->total = token.remaining;
    neap_iter_init(&l->iter, l->snapshot, c->kind, c->namespace_, token.key);
    choose_index(l);
    if (c->options.limit > 0) {
        l->left = c->options.limit;
        answer_page(l);
    } else {
        answer_stream(l);
    }
}

void rest_list(struct neap_call *c)
{
    uint64_t revision;
    struct neap_err err = NEAP_ERR_INIT;
    if (rest_negotiate(c, true, &c->err) || rest_check_list_options(c, false, &c->err)) {
        rest_fail(c);
        return;
    }
    if (rest_parse_revision(c->options.resource_version, &revision, &err)) {
        rest_fail_with(c, NEAP_EBADREQUEST, "invalid resource version: %s", err.message);
        neap_err_done(&err);
        return;
    }
    bool continued = c->options.continue_token && *c->options.continue_token;
    if (revision && continued) {
        rest_fail_with(c, NEAP_EBADREQUEST,
                       "specifying resource version is not allowed when using continue");
        return;
    }
    bool exact = neap_streq(c->options.resource_version_match, "Exact");
    if (revision && (!exact || revision > neap_registry_revision(rest_of(c)->options.registry)))
        rest_wait_revision(c, revision, answer);
    else
        answer(c);
}
