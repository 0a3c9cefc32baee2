/* A reflector over HTTP: list in pages, watch from there, for ever. 410 lists again, everything else waits
 * (longer each time, with jitter) and goes on where it stood. Source: client-go's Reflector. */
#include "client_api.h"

#include <neap/map.h>

enum {
    PAGE = 500,
    LIST_TIMEOUT_MS = 60000,
    HEAD_TIMEOUT_MS = 30000,
    EVENT_MAX = 16 << 20,
    RETRY_MIN_MS = 500,
    RETRY_MAX_MS = 30000,
    WATCH_MIN_S = 300, /* how long one watch lasts: this to twice this */
    WATCH_SHORT_MS = 1000,
    ARENA_BYTES = 64 << 10,
};

struct neap_reflector {
    struct neap_reflector_options options;
    struct client_api *api;
    char *namespace_, *labels, *fields, *cursor; /* cursor: of the next page */
    struct neap_exchange x;
    struct neap_arena *arena; /* of x's path */
    struct neap_map known;    /* key -> object reference: what was told */
    struct neap_map seen;     /* key -> itself: in the list under way */
    struct neap_buf line;
    struct neap_timer *retry;
    uint64_t revision;
    uint64_t wait_ms;
    int64_t watch_ms;
    int status; /* of the watch's head */
    bool busy, synced, listed, stopped, inside, expired;
};

static const struct neap_header headers[] = {{"accept", "application/json"}, {NULL, NULL}};

static void next(struct neap_reflector *r);

/* ---- life ---- */

static void unref_object(void *object)
{
    neap_object_unref(object);
}

static void reflector_free(void *arg)
{
    struct neap_reflector *r = arg;
    neap_map_done(&r->known, unref_object);
    neap_map_done(&r->seen, NULL);
    neap_buf_done(&r->line);
    neap_arena_free(r->arena);
    free(r->namespace_);
    free(r->labels);
    free(r->fields);
    free(r->cursor);
    free(r);
}

/* Runs callbacks; false: one of them stopped the reflector, and it is gone. */
static bool leave(struct neap_reflector *r)
{
    r->inside = false;
    if (!r->stopped)
        return true;
    reflector_free(r);
    return false;
}

static void tell(struct neap_reflector *r, enum neap_event_type type, struct neap_object *o)
{
    const char *key = neap_object_key(o);
    struct neap_object *before = type == NEAP_DELETED
                                     ? neap_map_del(&r->known, key)
                                     : neap_map_set(&r->known, key, neap_object_ref(o));
    r->options.event(r->options.arg, type, o);
    neap_object_unref(before);
}

static uint64_t jitter(uint64_t ms)
{
    return ms / 2 + neap_rand_u64(&neap_rand_system) % (ms + 1);
}

static void on_retry(void *arg)
{
    next(arg);
}

static void retry_later(struct neap_reflector *r)
{
    r->wait_ms = r->wait_ms ? r->wait_ms * 2 : RETRY_MIN_MS;
    if (r->wait_ms > RETRY_MAX_MS)
        r->wait_ms = RETRY_MAX_MS;
    neap_timer_start(r->retry, jitter(r->wait_ms), 0);
}

static void complain(struct neap_reflector *r, const struct neap_err *err)
{
    r->inside = true;
    if (r->options.error)
        r->options.error(r->options.arg, err);
    if (leave(r))
        retry_later(r);
}

/* From the start: what the server has kept does not reach back to where we stood. */
static void relist(struct neap_reflector *r)
{
    r->listed = false;
    free(r->cursor);
    r->cursor = NULL;
    neap_map_done(&r->seen, NULL);
}

static void send(struct neap_reflector *r, enum neap_verb verb)
{
    struct neap_request q;
    char revision[24];
    neap_request_init(&q);
    q.verb = verb;
    q.kind = r->options.kind;
    q.namespace_ = r->namespace_;
    q.options.label_selector = r->labels;
    q.options.field_selector = r->fields;
    if (verb == NEAP_WATCH) {
        snprintf(revision, sizeof(revision), "%llu", (unsigned long long)r->revision);
        q.options.resource_version = revision;
        q.options.allow_bookmarks = true;
        q.options.timeout_s =
            WATCH_MIN_S + (int64_t)(neap_rand_u64(&neap_rand_system) % WATCH_MIN_S);
    } else {
        q.options.limit = PAGE;
        q.options.continue_token = r->cursor;
    }
    neap_arena_free(r->arena);
    r->arena = neap_arena_new(ARENA_BYTES);
    r->x.path = neap_wire_request_path(r->arena, &q);
    r->x.method = "GET";
    r->x.headers = headers;
    r->x.data_arg = r;
    r->busy = true;
    neap_http_client_send(r->api->http, &r->x);
}

/* ---- the list ---- */

static const char *text_of(yyjson_val *v, const char *name)
{
    return yyjson_get_str(yyjson_obj_get(v, name));
}

static int take_item(struct neap_reflector *r, yyjson_val *v, struct neap_err *err)
{
    struct neap_object *o, *before;
    int rc = neap_object_from_value(r->options.kind, v, &o, err);
    if (rc)
        return rc;
    before = neap_map_get(&r->known, neap_object_key(o));
    neap_map_set(&r->seen, neap_object_key(o), r);
    if (!before)
        tell(r, NEAP_ADDED, o);
    else if (neap_object_revision(before) != neap_object_revision(o))
        tell(r, NEAP_MODIFIED, o);
    neap_object_unref(o);
    return 0;
}

static void tell_vanished(struct neap_reflector *r)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (!r->stopped && neap_map_next(&r->known, &at, &key, &value)) {
        if (neap_map_get(&r->seen, key))
            continue;
        struct neap_object *gone = neap_object_ref(value);
        tell(r, NEAP_DELETED, gone);
        neap_object_unref(gone);
    }
    neap_map_done(&r->seen, NULL);
}

static void list_complete(struct neap_reflector *r)
{
    bool first = !r->synced;
    tell_vanished(r);
    r->listed = r->synced = true;
    if (first && !r->stopped && r->options.synced)
        r->options.synced(r->options.arg, r->revision);
}

static int take_page(struct neap_reflector *r, yyjson_val *root, struct neap_err *err)
{
    yyjson_val *meta = yyjson_obj_get(root, "metadata"), *v;
    const char *revision = text_of(meta, "resourceVersion"), *cursor = text_of(meta, "continue");
    size_t i, max;
    if (!revision || !neap_parse_u64(revision, UINT64_MAX, &r->revision))
        return neap_err_set(err, NEAP_EIO, "a list of %s without resourceVersion",
                            r->options.kind->resource);
    yyjson_arr_foreach(yyjson_obj_get(root, "items"), i, max, v)
    {
        int rc = r->stopped ? 0 : take_item(r, v, err);
        if (rc)
            return rc;
    }
    free(r->cursor);
    r->cursor = cursor && *cursor ? neap_strdup(cursor) : NULL;
    if (!r->cursor && !r->stopped)
        list_complete(r);
    return 0;
}

static void list_done(struct neap_exchange *x, const struct neap_err *failed, int status,
                      const char *body, size_t len)
{
    struct neap_reflector *r = x->data_arg;
    NEAP_CLEANUP_ERR struct neap_err err = NEAP_ERR_INIT;
    r->busy = false;
    if (failed) {
        relist(r);
        complain(r, failed);
        return;
    }
    yyjson_doc *doc = yyjson_read(body, len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    r->inside = true;
    int rc = status == 200 ? take_page(r, root, &err) : client_status_error(status, root, &err);
    yyjson_doc_free(doc);
    if (!leave(r))
        return;
    if (rc) {
        relist(r);
        complain(r, &err);
        return;
    }
    r->wait_ms = 0;
    next(r);
}

/* ---- the watch ---- */

static int take_object(struct neap_reflector *r, const char *type, yyjson_val *v,
                       struct neap_err *err)
{
    struct neap_object *o;
    int rc = neap_object_from_value(r->options.kind, v, &o, err);
    if (rc)
        return rc;
    r->revision = neap_object_revision(o);
    bool known = neap_map_get(&r->known, neap_object_key(o));
    if (strcmp(type, "DELETED") == 0) {
        if (known)
            tell(r, NEAP_DELETED, o);
    } else {
        tell(r, known ? NEAP_MODIFIED : NEAP_ADDED, o);
    }
    neap_object_unref(o);
    return 0;
}

static int take_event(struct neap_reflector *r, const char *text, size_t len, struct neap_err *err)
{
    yyjson_doc *doc = yyjson_read(text, len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *v = yyjson_obj_get(root, "object");
    const char *type = text_of(root, "type"), *revision;
    int rc = 0;
    if (!type || !v) {
        rc = neap_err_set(err, NEAP_EIO, "a watch event that is none");
    } else if (strcmp(type, "BOOKMARK") == 0) {
        revision = text_of(yyjson_obj_get(v, "metadata"), "resourceVersion");
        if (revision)
            neap_parse_u64(revision, UINT64_MAX, &r->revision);
    } else if (strcmp(type, "ERROR") == 0) {
        rc = client_status_error(0, v, err);
    } else {
        rc = take_object(r, type, v, err);
    }
    yyjson_doc_free(doc);
    return rc;
}

static void watch_head(struct neap_exchange *x, int status, const struct neap_header *h)
{
    struct neap_reflector *r = x->data_arg;
    (void)h;
    r->status = status;
}

/* The connection is still there: the watch is given up by us. */
static void watch_broken(struct neap_reflector *r, struct neap_err *err)
{
    neap_http_client_cancel(r->api->http, &r->x);
    r->busy = false;
    neap_buf_done(&r->line);
    if (err->code == NEAP_EEXPIRED || err->code == NEAP_EGONE) {
        relist(r);
        neap_timer_start(r->retry, 0, 0);
        return;
    }
    complain(r, err);
}

static int take_lines(struct neap_reflector *r, struct neap_err *err)
{
    size_t at = 0;
    const char *end;
    int rc = 0;
    while (!r->stopped && !rc && at < r->line.len &&
           (end = memchr(r->line.data + at, '\n', r->line.len - at))) {
        size_t len = (size_t)(end - (r->line.data + at));
        if (len)
            rc = take_event(r, r->line.data + at, len, err);
        at += len + 1;
    }
    neap_buf_consume(&r->line, at);
    if (!rc && r->line.len > EVENT_MAX)
        rc = neap_err_set(err, NEAP_ETOOLARGE, "a watch event is too large");
    return rc;
}

static void watch_data(struct neap_exchange *x, const char *data, size_t len)
{
    struct neap_reflector *r = x->data_arg;
    NEAP_CLEANUP_ERR struct neap_err err = NEAP_ERR_INIT;
    neap_buf_append(&r->line, data, len);
    if (r->status != 200)
        return; /* a Status: watch_done() reads it */
    r->inside = true;
    int rc = take_lines(r, &err);
    if (!leave(r))
        return;
    if (rc)
        watch_broken(r, &err);
    else if (!r->line.len && r->line.cap > HTTP_OUT_HIGH)
        neap_buf_done(&r->line);
}

static void watch_refused(struct neap_reflector *r, int status)
{
    NEAP_CLEANUP_ERR struct neap_err err = NEAP_ERR_INIT;
    yyjson_doc *doc = yyjson_read(r->line.data ? r->line.data : "", r->line.len, 0);
    int rc = client_status_error(status, yyjson_doc_get_root(doc), &err);
    yyjson_doc_free(doc);
    neap_buf_done(&r->line);
    if (rc == NEAP_EEXPIRED || rc == NEAP_EGONE)
        relist(r);
    complain(r, &err);
}

static void watch_done(struct neap_exchange *x, const struct neap_err *failed, int status,
                       const char *body, size_t len)
{
    struct neap_reflector *r = x->data_arg;
    int64_t lasted = neap_loop_now_ms(r->options.loop) - r->watch_ms;
    (void)body;
    (void)len;
    r->busy = false;
    if (!failed && status != 200) {
        watch_refused(r, status);
        return;
    }
    neap_buf_done(&r->line);
    if (lasted >= WATCH_SHORT_MS)
        r->wait_ms = 0;
    if (failed)
        complain(r, failed);
    else if (lasted < WATCH_SHORT_MS)
        retry_later(r);
    else
        next(r);
}

static void next(struct neap_reflector *r)
{
    bool watch = r->listed;
    r->x = (struct neap_exchange){.streaming = watch,
                                  .timeout_ms = watch ? HEAD_TIMEOUT_MS : LIST_TIMEOUT_MS,
                                  .head = watch ? watch_head : NULL,
                                  .data = watch ? watch_data : NULL,
                                  .done = watch ? watch_done : list_done};
    r->status = 0;
    r->watch_ms = neap_loop_now_ms(r->options.loop);
    send(r, watch ? NEAP_WATCH : NEAP_LIST);
}

/* ---- the client's ---- */

static char *copy(const char *s)
{
    return s && *s ? neap_strdup(s) : NULL;
}

struct neap_reflector *client_reflect(struct neap_client *client,
                                      const struct neap_reflector_options *o)
{
    struct neap_reflector *r = neap_calloc(1, sizeof(*r));
    r->options = *o;
    r->api = client->self;
    r->namespace_ = copy(o->namespace_);
    r->labels = copy(o->label_selector);
    r->fields = copy(o->field_selector);
    r->retry = neap_timer_new(o->loop, on_retry, r);
    next(r);
    return r;
}

void client_reflect_stop(struct neap_client *client, struct neap_reflector *r)
{
    struct client_api *api = client->self;
    r->stopped = true;
    r->retry = neap_timer_close(r->retry);
    if (r->busy)
        neap_http_client_cancel(api->http, &r->x);
    r->busy = false;
    if (!r->inside) /* else leave() frees it */
        reflector_free(r);
}
