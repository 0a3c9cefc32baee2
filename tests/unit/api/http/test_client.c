/* The neap_client over HTTP against a server that this test plays: requests, errors, reflectors. */
#include "certs.h"
#include "neap_test.h"

#include <api/http/http.h>
#include <neap/map.h>
#include <signal.h>
#include <unistd.h>

enum { WAIT_MS = 20000, WATCHES = 4 };

struct fixture {
    struct neap_loop *loop;
    struct cert ca, server;
    struct neap_tls *tls, *client_tls;
    struct neap_http_server *http;
    struct neap_client *client;
    const struct neap_kind *kind;
    bool late, closed;
    /* the server: what a watch says, one text a watch; "" waits */
    struct neap_body body;
    const char *script[WATCHES];
    unsigned lists, watches, closes, slow;
    const char *items, *items_later;
    bool second_page, expired;
    char last_rv[32], method[8], content_type[64], request_body[64];
    /* the reflector */
    struct neap_reflector *reflector;
    struct neap_buf told;
    unsigned synced, errors;
    uint64_t synced_at;
    bool stop_at_event;
};

#define OBJECT(name, rv)                                                                           \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"n\",\"uid\":\"u-" name                   \
    "\",\"resourceVersion\":\"" rv "\"},\"data\":{\"k\":\"" rv "\"}}"
#define FULL(name, rv)                                                                             \
    "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name                 \
    "\",\"namespace\":\"n\",\"uid\":\"u-" name "\",\"resourceVersion\":\"" rv "\"}}"
#define EVENT(type, name, rv) "{\"type\":\"" type "\",\"object\":" FULL(name, rv) "}\n"
#define BOOKMARK(rv)                                                                               \
    "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"ConfigMap\",\"metadata\":{\"resourceVersion\":" \
    "\"" rv "\"}}}\n"
#define GONE                                                                                       \
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\","     \
    "\"message\":\"too old\"}}\n"

/* ---- the server's side ---- */

static bool admit(void *arg, struct neap_call *c, const struct neap_peer *peer)
{
    (void)arg;
    (void)c;
    (void)peer;
    return true;
}

static int watch_read(struct neap_body *b, struct neap_buf *out, size_t want)
{
    struct fixture *f = neap_container_of(b, struct fixture, body);
    const char *text = f->script[(f->watches - 1) % WATCHES];
    (void)want;
    if (!text)
        return 0; /* for ever */
    f->script[(f->watches - 1) % WATCHES] = NULL;
    if (*text == '+') { /* says it and stays open */
        neap_buf_str(out, text + 1);
        return 1;
    }
    neap_buf_str(out, text);
    return -1;
}

static void watch_close(struct neap_body *b)
{
    neap_container_of(b, struct fixture, body)->closes++;
}

static void answer_list(struct fixture *f, struct neap_call *c)
{
    bool more = f->second_page && !c->options.continue_token;
    f->lists++;
    neap_buf_printf(&c->reply_buf,
                    "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{"
                    "\"resourceVersion\":\"10\"%s},\"items\":[%s]}",
                    more ? ",\"continue\":\"next\"" : "",
                    c->options.continue_token || (f->lists > 1 && !f->second_page) ? f->items_later
                                                                                   : f->items);
}

static void handle(void *arg, struct neap_call *c)
{
    struct fixture *f = arg;
    c->status = 200;
    snprintf(f->method, sizeof(f->method), "%s", c->method);
    snprintf(f->content_type, sizeof(f->content_type), "%s",
             c->content_type ? c->content_type : "");
    snprintf(f->request_body, sizeof(f->request_body), "%.*s", (int)c->body_len,
             c->body ? c->body : "");
    if (neap_streq(c->name, "slow")) { /* its head comes, its end never */
        f->slow++;
        f->body = (struct neap_body){watch_read, watch_close};
        f->script[(f->watches - 1) % WATCHES] = NULL;
        c->stream_body = &f->body;
    } else if (c->verb == NEAP_WATCH) {
        snprintf(f->last_rv, sizeof(f->last_rv), "%s", c->options.resource_version);
        f->watches++;
        f->body = (struct neap_body){watch_read, watch_close};
        c->stream_body = &f->body;
        if (f->expired) {
            f->expired = false;
            c->stream_body = NULL;
            c->status = 410;
            neap_buf_str(&c->reply_buf,
                         "{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}");
        }
    } else if (c->verb == NEAP_LIST) {
        answer_list(f, c);
    } else if (neap_streq(c->name, "missing")) {
        c->status = 404;
        neap_buf_str(&c->reply_buf,
                     "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"code\":404,\"message\":\"no "
                     "missing\",\"details\":{\"name\":\"missing\",\"kind\":\"configmaps\"}}");
    } else if (neap_streq(c->name, "invalid")) {
        c->status = 422;
        neap_buf_str(
            &c->reply_buf,
            "{\"kind\":\"Status\",\"reason\":\"Invalid\",\"code\":422,\"message\":\"bad\","
            "\"details\":{\"causes\":[{\"reason\":\"FieldValueRequired\",\"message\":\"m\","
            "\"field\":\"data\"}]}}");
    } else if (neap_streq(c->name, "exists")) {
        c->status = 409;
        neap_buf_str(&c->reply_buf, "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\"}");
    } else if (neap_streq(c->name, "odd")) {
        c->status = 503;
        neap_buf_str(&c->reply_buf, "<html>");
    } else if (c->verb == NEAP_NONRESOURCE) {
        neap_buf_str(&c->reply_buf, "{\"major\":\"1\"}");
    } else {
        neap_buf_str(&c->reply_buf, FULL("a", "7"));
    }
    c->finish(c);
}

/* ---- the loop ---- */

static void on_late(void *arg)
{
    ((struct fixture *)arg)->late = true;
}

#define run_until(f, condition)                                                                    \
    do {                                                                                           \
        struct neap_timer *late_ = neap_timer_new((f)->loop, on_late, f);                          \
        (f)->late = false;                                                                         \
        neap_timer_start(late_, WAIT_MS, 0);                                                       \
        while (!(condition) && !(f)->late)                                                         \
            neap_loop_turn((f)->loop, true);                                                       \
        neap_timer_close(late_);                                                                   \
        if ((f)->late)                                                                             \
            fail_msg("waited in vain for %s; told: %s", #condition,                                \
                     (f)->told.data ? (f)->told.data : "");                                        \
    } while (0)

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static struct fixture *start(void)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct fixture *f = neap_calloc(1, sizeof(*f));
    char address[32];
    unsigned port;
    int fd;
    f->loop = neap_loop_new("test", NULL);
    f->kind = neap_kind_by_resource("", "v1", "configmaps");
    assert_non_null(f->kind);
    f->items = f->items_later = "";
    cert_make(&f->ca, "ca", NULL, NULL);
    cert_make(&f->server, "server", &f->ca, "IP:127.0.0.1");
    struct neap_tls_config config = {.cert_pem = f->server.cert_pem, .key_pem = f->server.key_pem};
    assert_ok(neap_tls_new(&config, true, &f->tls, &err), err);
    struct neap_http_server_options o = {
        .loop = f->loop, .tls = f->tls, .admit = admit, .handle = handle, .arg = f};
    neap_http_limits_default(&o.limits);
    assert_ok(neap_http_server_new(&o, &f->http, &err), err);
    assert_ok(neap_http_bind("127.0.0.1:0", &fd, &port, &err), err);
    assert_ok(neap_http_server_listen(f->http, fd, &err), err);
    struct neap_tls_config trust = {.ca_pem = f->ca.cert_pem};
    assert_ok(neap_tls_new(&trust, false, &f->client_tls, &err), err);
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    /* the first address does not answer: the second is tried */
    const char *addresses[] = {"127.0.0.1:1", address, NULL};
    struct neap_http_client_options c = {
        .loop = f->loop, .tls = f->client_tls, .addresses = addresses};
    f->client = neap_http_client_api(neap_http_client_new(&c));
    return f;
}

static void stop(struct fixture *f)
{
    f->client->close(f->client);
    neap_http_server_close(f->http, on_closed, f);
    run_until(f, f->closed);
    neap_loop_free(f->loop);
    neap_tls_free(f->tls);
    neap_tls_free(f->client_tls);
    cert_done(&f->ca);
    cert_done(&f->server);
    neap_buf_done(&f->told);
    free(f);
}

/* ---- requests ---- */

struct answer {
    struct neap_request r;
    bool done;
    int code, status;
    size_t items;
    uint64_t revision;
    char name[32], message[64], cause[32], body[64];
    uint64_t object_revision;
};

static void on_answer(struct neap_request *r, const struct neap_reply *reply)
{
    struct answer *a = r->data;
    struct neap_object *o = reply->item_count ? reply->items[0] : reply->object;
    a->done = true;
    a->code = reply->code;
    a->status = reply->status;
    a->items = reply->item_count;
    a->revision = reply->revision;
    if (o) {
        snprintf(a->name, sizeof(a->name), "%s", neap_object_name(o));
        a->object_revision = neap_object_revision(o);
    }
    if (reply->err)
        snprintf(a->message, sizeof(a->message), "%s", reply->err->message);
    if (reply->err && reply->err->cause_count)
        snprintf(a->cause, sizeof(a->cause), "%s", reply->err->causes[0].field);
    snprintf(a->body, sizeof(a->body), "%.*s", (int)reply->body_len,
             reply->body ? reply->body : "");
}

static void send(struct fixture *f, struct answer *a, enum neap_verb verb, const char *name,
                 const char *body)
{
    *a = (struct answer){0};
    neap_request_init(&a->r);
    a->r.verb = verb;
    a->r.kind = f->kind;
    a->r.namespace_ = "n";
    a->r.name = name;
    a->r.body = body;
    a->r.body_len = body ? strlen(body) : 0;
    a->r.loop = f->loop;
    a->r.done = on_answer;
    a->r.data = a;
    if (verb == NEAP_PATCH)
        a->r.patch_type = NEAP_PATCH_T_MERGE;
    if (verb == NEAP_NONRESOURCE) {
        a->r.kind = NULL;
        a->r.path = "/version";
    }
    f->client->request(f->client, &a->r);
    assert_false(a->done); /* never inside the call */
}

static void ask(struct fixture *f, struct answer *a, enum neap_verb verb, const char *name,
                const char *body)
{
    send(f, a, verb, name, body);
    run_until(f, a->done);
}

static void test_requests(void **state)
{
    struct fixture *f = start();
    struct answer a;
    (void)state;
    ask(f, &a, NEAP_GET, "a", NULL);
    assert_int_equal(a.code, 0);
    assert_string_equal(a.name, "a");
    assert_int_equal(a.object_revision, 7);
    ask(f, &a, NEAP_PATCH, "a", "{\"x\":1}");
    assert_int_equal(a.code, 0);
    assert_string_equal(f->method, "PATCH");
    assert_string_equal(f->content_type, "application/merge-patch+json");
    assert_string_equal(f->request_body, "{\"x\":1}");
    f->items = OBJECT("a", "3") "," OBJECT("b", "4");
    ask(f, &a, NEAP_LIST, NULL, NULL);
    assert_int_equal(a.items, 2);
    assert_int_equal(a.revision, 10);
    assert_int_equal(a.object_revision, 3);
    ask(f, &a, NEAP_NONRESOURCE, NULL, NULL);
    assert_int_equal(a.code, 0);
    assert_string_equal(a.body, "{\"major\":\"1\"}");
    stop(f);
}

static void test_errors(void **state)
{
    static const struct {
        const char *name;
        int code, status;
        const char *message, *cause;
    } rows[] = {
        {"missing", NEAP_ENOTFOUND, 404, "no missing", ""},
        {"invalid", NEAP_EINVALID, 422, "bad", "data"},
        {"exists", NEAP_EALREADYEXISTS, 409, "the server answered 409", ""},
        {"odd", NEAP_EUNAVAILABLE, 503, "the server answered 503", ""},
    };
    struct fixture *f = start();
    struct answer a;
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        ask(f, &a, NEAP_GET, rows[i].name, NULL);
        assert_int_equal(a.code, rows[i].code);
        assert_int_equal(a.status, rows[i].status);
        assert_string_equal(a.message, rows[i].message);
        assert_string_equal(a.cause, rows[i].cause);
    }
    stop(f);
}

/* A client that is closed before the answers came, or before it could ask: nothing is told, nothing leaks. */
static void test_close(void **state)
{
    struct fixture *f = start();
    struct answer slow, early;
    (void)state;
    send(f, &slow, NEAP_GET, "slow", NULL);
    run_until(f, f->slow);
    send(f, &early, NEAP_CREATE, NULL, "{}");
    stop(f);
    assert_false(slow.done);
    assert_false(early.done);
}

/* ---- reflectors ---- */

static void on_event(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct fixture *f = arg;
    neap_buf_printf(&f->told, "%c%s@%llu ", "AMD"[type], neap_object_name(o),
                    (unsigned long long)neap_object_revision(o));
    if (f->stop_at_event) {
        f->client->reflect_stop(f->client, f->reflector);
        f->reflector = NULL;
    }
}

static void on_synced(void *arg, uint64_t revision)
{
    struct fixture *f = arg;
    f->synced++;
    f->synced_at = revision;
    neap_buf_str(&f->told, "| ");
}

static void on_error(void *arg, const struct neap_err *err)
{
    struct fixture *f = arg;
    assert_non_null(err->message);
    f->errors++;
}

static void reflect(struct fixture *f)
{
    struct neap_reflector_options o = {.kind = f->kind,
                                       .namespace_ = "n",
                                       .label_selector = "a=b",
                                       .loop = f->loop,
                                       .event = on_event,
                                       .synced = on_synced,
                                       .error = on_error,
                                       .arg = f};
    neap_buf_str(&f->told, "");
    f->reflector = f->client->reflect(f->client, &o);
}

static void stop_reflector(struct fixture *f)
{
    f->client->reflect_stop(f->client, f->reflector);
    stop(f);
}

/* Two pages, a watch that ends, its resumption at the bookmark. */
static void test_reflector(void **state)
{
    struct fixture *f = start();
    (void)state;
    f->second_page = true;
    f->items = OBJECT("a", "3");
    f->items_later = OBJECT("b", "4");
    f->script[0] = EVENT("ADDED", "c", "11") EVENT("MODIFIED", "a", "12") BOOKMARK("20");
    f->script[1] = "+" EVENT("DELETED", "b", "21");
    reflect(f);
    run_until(f, strstr(f->told.data, "Db@21"));
    assert_string_equal(f->told.data, "Aa@3 Ab@4 | Ac@11 Ma@12 Db@21 ");
    assert_int_equal(f->synced, 1);
    assert_int_equal(f->synced_at, 10);
    assert_int_equal(f->lists, 2);
    assert_string_equal(f->last_rv, "20");
    assert_int_equal(f->errors, 0);
    stop_reflector(f);
}

/* 410 in the stream and as an answer: list again, what vanished is told as deleted. */
static void test_relist(void **state)
{
    struct fixture *f = start();
    (void)state;
    f->items = OBJECT("a", "3") "," OBJECT("b", "4");
    f->items_later = OBJECT("b", "5") "," OBJECT("c", "6");
    f->script[0] = "+" GONE;
    reflect(f);
    run_until(f, f->lists == 2 && strstr(f->told.data, "Da@3"));
    assert_string_equal(f->told.data, "Aa@3 Ab@4 | Mb@5 Ac@6 Da@3 ");
    assert_int_equal(f->synced, 1);
    stop_reflector(f);
    f = start();
    f->expired = true;
    f->items = OBJECT("a", "3");
    reflect(f);
    run_until(f, strstr(f->told.data, "Da@3"));
    assert_string_equal(f->told.data, "Aa@3 | Da@3 ");
    stop_reflector(f);
}

/* Nonsense is told and tried again; stopping inside a callback is allowed. */
static void test_trouble(void **state)
{
    struct fixture *f = start();
    (void)state;
    f->items = "{\"metadata\":{}}";
    f->items_later = OBJECT("a", "3");
    f->script[0] = "+nonsense\n";
    f->script[1] = "+" EVENT("ADDED", "b", "11") EVENT("ADDED", "c", "12");
    reflect(f);
    run_until(f, f->synced);
    assert_int_equal(f->errors, 1);
    f->stop_at_event = true;
    run_until(f, !f->reflector);
    assert_string_equal(f->told.data, "Aa@3 | Ab@11 ");
    assert_int_equal(f->errors, 2);
    run_until(f, f->closes == 2);
    stop(f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_close),    cmocka_unit_test(test_reflector),
        cmocka_unit_test(test_relist),   cmocka_unit_test(test_trouble),
    };
    signal(SIGPIPE, SIG_IGN); /* as core/main.c does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
