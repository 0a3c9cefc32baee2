/* WATCH: initial events where asked for, then what the registry tells, bookmarks, an end. */
#include "internal.h"

static const char INITIAL_END[] = "k8s.io/initial-events-end";

struct watch {
    struct neap_body body;
    struct neap_call *call;
    struct neap_selector *selector;
    struct neap_watch *watch;
    struct neap_snapshot *snapshot; /* while initial events are told */
    struct neap_iter iter;
    struct neap_timer *timer;
    int64_t end_ms, bookmark_ms; /* on the loop's clock */
    bool initial_bookmark, bookmark_due, ended, table_head_told;
};

/* ---- frames ---- */

static void frame_object(struct watch *w, struct neap_buf *out, const char *type,
                         struct neap_object *o)
{
    struct neap_call *c = w->call;
    neap_buf_printf(out, "{\"type\":\"%s\",\"object\":", type);
    if (rest_wants(c, "Table")) {
        rest_table_head(c, out, neap_object_revision(o), NULL, -1, !w->table_head_told);
        w->table_head_told = true;
        rest_table_row(c, out, o);
        neap_buf_str(out, "]}");
    } else {
        rest_write_object(c, out, o, false);
    }
    neap_buf_str(out, "}\n");
}

static void frame_bookmark(struct watch *w, struct neap_buf *out, uint64_t revision, bool initial)
{
    struct neap_call *c = w->call;
    char api_version[128], annotation[96] = "";
    neap_buf_str(out, "{\"type\":\"BOOKMARK\",\"object\":");
    if (initial)
        snprintf(annotation, sizeof(annotation), ",\"annotations\":{\"%s\":\"true\"}", INITIAL_END);
    if (rest_wants(c, "Table")) {
        rest_table_head(c, out, revision, NULL, -1, !w->table_head_told);
        w->table_head_told = true;
        neap_buf_printf(out,
                        "{\"cells\":[],\"object\":{\"kind\":\"PartialObjectMetadata\","
                        "\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"resourceVersion\":"
                        "\"%llu\"%s}}}]}",
                        (unsigned long long)revision, annotation);
    } else {
        bool partial = rest_wants(c, "PartialObjectMetadata");
        neap_buf_printf(out,
                        "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":"
                        "\"%llu\"%s}}",
                        partial ? "PartialObjectMetadata" : c->kind->kind,
                        partial ? rest_meta_version(c)
                                : neap_kind_api_version(c->kind, api_version),
                        (unsigned long long)revision, annotation);
    }
    neap_buf_str(out, "}\n");
}

static void frame_error(struct neap_buf *out, int code, const char *text)
{
    struct neap_err err = NEAP_ERR_INIT;
    neap_err_set(&err, code, "%s", text);
    neap_buf_str(out, "{\"type\":\"ERROR\",\"object\":");
    rest_status_write(out, &err, neap_err_http_status(code), NULL);
    neap_buf_str(out, "}\n");
    neap_err_done(&err);
}

/* ---- time ---- */

static int64_t now_ms(const struct watch *w)
{
    return neap_clock_mono(rest_of(w->call)->options.clock) / 1000000;
}

static void arm(struct watch *w)
{
    int64_t next =
        w->call->options.allow_bookmarks && w->bookmark_ms < w->end_ms ? w->bookmark_ms : w->end_ms;
    int64_t in = next - now_ms(w);
    neap_timer_start(w->timer, in > 0 ? (uint64_t)in : 1, 0);
}

static void wake(void *arg)
{
    struct watch *w = arg;
    w->call->wake(w->call);
}

static void on_timer(void *arg)
{
    struct watch *w = arg;
    int64_t now = now_ms(w);
    if (now >= w->end_ms || rest_of(w->call)->draining) {
        w->ended = true;
    } else {
        w->bookmark_due = w->call->options.allow_bookmarks && now >= w->bookmark_ms;
        if (now >= w->bookmark_ms)
            w->bookmark_ms = now + (int64_t)rest_of(w->call)->options.bookmark_ms;
        arm(w);
    }
    wake(w);
}

/* ---- the body ---- */

static void initial_done(struct watch *w, struct neap_buf *out)
{
    uint64_t revision = neap_snapshot_revision(w->snapshot);
    w->snapshot = neap_snapshot_unpin(w->snapshot);
    if (w->initial_bookmark)
        frame_bookmark(w, out, revision, true);
}

/* One frame of the initial events. */
static void initial_next(struct watch *w, struct neap_buf *out)
{
    struct neap_object *o;
    while ((o = neap_iter_next(&w->iter)))
        if (!w->selector || neap_selector_match(w->selector, o)) {
            frame_object(w, out, "ADDED", o);
            return;
        }
    initial_done(w, out);
}

/* 1: a frame was appended; 0: nothing now; -1: the end. */
static int live_next(struct watch *w, struct neap_buf *out)
{
    static const char *const types[] = {"ADDED", "MODIFIED", "DELETED"};
    struct neap_event e;
    int rc = neap_watch_next(w->watch, &e);
    if (rc == 1) {
        frame_object(w, out, types[e.type], e.object);
        neap_object_unref(e.object);
        return 1;
    }
    if (rc < 0) {
        frame_error(out, NEAP_EEXPIRED, "The resourceVersion for the provided watch is too old.");
        w->ended = true;
        return -1;
    }
    if (w->bookmark_due) {
        w->bookmark_due = false;
        frame_bookmark(w, out, neap_watch_revision(w->watch), false);
        return 1;
    }
    return 0;
}

static int json_read(struct watch *w, struct neap_buf *out, size_t want)
{
    size_t start = out->len;
    while (out->len - start < want) {
        if (w->ended)
            return -1;
        if (w->snapshot) {
            initial_next(w, out);
            continue;
        }
        int rc = live_next(w, out);
        if (rc < 0)
            return -1;
        if (rc == 0)
            return out->len > start;
    }
    return 1;
}

/* Event by event: each line becomes a frame. */
static int protobuf_read(struct watch *w, struct neap_buf *out, size_t want)
{
    NEAP_CLEANUP_BUF struct neap_buf lines = NEAP_BUF_INIT;
    size_t start = out->len;
    int rc = 1;
    while (rc == 1 && out->len - start < want) {
        neap_buf_reset(&lines);
        rc = json_read(w, &lines, 1);
        for (size_t at = 0; at < lines.len;) {
            const char *end = memchr(lines.data + at, '\n', lines.len - at);
            size_t n = end ? (size_t)(end - lines.data) - at : lines.len - at;
            if (!rest_protobuf_frame(out, lines.data + at, n)) {
                w->ended = true;
                return -1;
            }
            at += n + 1;
        }
    }
    return rc == 0 ? out->len > start : rc;
}

static int body_read(struct neap_body *b, struct neap_buf *out, size_t want)
{
    struct watch *w = neap_container_of(b, struct watch, body);
    return rest_protobuf(w->call) ? protobuf_read(w, out, want) : json_read(w, out, want);
}

static void body_close(struct neap_body *b)
{
    struct watch *w = neap_container_of(b, struct watch, body);
    w->timer = neap_timer_close(w->timer);
    if (w->watch)
        neap_watch_close(w->watch);
    w->watch = NULL;
    w->snapshot = neap_snapshot_unpin(w->snapshot);
}

/* ---- the start ---- */

static int64_t lifetime_ms(struct neap_call *c)
{
    const struct neap_rest_options *o = &rest_of(c)->options;
    if (c->options.timeout_s > 0)
        return c->options.timeout_s * 1000;
    /* spread, so that watches made together do not end together */
    return (int64_t)(o->watch_min_ms + neap_rand_u64(o->rand) % o->watch_min_ms);
}

/* Where it starts: *after, and *initial when what exists is told first. */
static int start_point(struct neap_call *c, uint64_t *after, bool *initial, struct neap_err *err)
{
    const char *version = c->options.resource_version;
    int rc = rest_parse_revision(version, after, err);
    bool from_now = !version || !*version || *after == 0;
    if (c->options.send_initial_events >= 0)
        *initial = c->options.send_initial_events == 1;
    else
        *initial = from_now;
    if (!*initial && from_now)
        *after = neap_registry_revision(rest_of(c)->options.registry);
    return rc;
}

static int open_watch(struct watch *w, uint64_t after, struct neap_err *err)
{
    struct neap_call *c = w->call;
    struct neap_watch_options o = {.kind = c->kind->storage,
                                   .namespace_ = c->namespace_,
                                   .selector = w->selector,
                                   .after = after,
                                   .loop = c->loop,
                                   .wake = wake,
                                   .arg = w};
    return neap_watch_open(rest_of(c)->options.registry, &o, &w->watch, err);
}

static void start(struct neap_call *c)
{
    uint64_t after;
    bool initial;
    struct watch *w = neap_arena_calloc(c->arena, sizeof(*w));
    if (!w) {
        rest_fail_with(c, NEAP_ETOOLARGE, "the request is too large");
        return;
    }
    *w = (struct watch){.body = {body_read, body_close}, .call = c};
    if (rest_selector(c, &w->selector, &c->err) || start_point(c, &after, &initial, &c->err)) {
        rest_fail(c);
        return;
    }
    if (initial) {
        w->snapshot = neap_snapshot_pin(rest_of(c)->options.registry);
        after = neap_snapshot_revision(w->snapshot);
        neap_iter_init(&w->iter, w->snapshot, c->kind, c->namespace_, NULL);
        w->initial_bookmark = c->options.send_initial_events == 1 && c->options.allow_bookmarks;
    }
    struct neap_err err = NEAP_ERR_INIT;
    int rc = open_watch(w, after, &err);
    c->status = 200;
    c->reply_type =
        rest_protobuf(c) ? "application/vnd.kubernetes.protobuf;stream=watch" : "application/json";
    if (rc == NEAP_EEXPIRED) { /* told in the stream, as the real server does */
        frame_error(&c->reply_buf, NEAP_EEXPIRED, err.message);
        w->snapshot = neap_snapshot_unpin(w->snapshot);
        neap_err_done(&err);
        rest_finish(c);
        return;
    }
    if (rc) {
        w->snapshot = neap_snapshot_unpin(w->snapshot);
        neap_err_move(&c->err, &err);
        rest_fail(c);
        return;
    }
    int64_t now = now_ms(w);
    w->end_ms = now + lifetime_ms(c);
    w->bookmark_ms = now + (int64_t)rest_of(c)->options.bookmark_ms;
    w->timer = neap_timer_new(c->loop, on_timer, w);
    arm(w);
    struct rest_call *rc2 = rest_call_of(c);
    rc2->snapshot = neap_snapshot_unpin(rc2->snapshot);
    c->stream_body = &w->body;
    rest_finish(c);
}

void rest_watch(struct neap_call *c)
{
    uint64_t revision;
    if (rest_negotiate(c, true, &c->err) || rest_check_list_options(c, true, &c->err) ||
        rest_parse_revision(c->options.resource_version, &revision, &c->err)) {
        rest_fail(c);
        return;
    }
    const struct neap_accept *a = rest_call_of(c)->accept;
    if (a->media == NEAP_MEDIA_YAML) {
        rest_fail_with(
            c, NEAP_ENOTACCEPTABLE,
            "only the following media types are accepted: application/json;stream=watch, "
            "application/vnd.kubernetes.protobuf;stream=watch");
        return;
    }
    if (c->options.send_initial_events == 1 && revision)
        rest_wait_revision(c, revision, start);
    else
        start(c);
}
