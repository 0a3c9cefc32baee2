/* The HTTP/1.1 reader, whole and byte by byte. */
#include "neap_test.h"

#include <api/wire/wire.h>

enum { HEADER_MAX = 1024, BODY_MAX = 64 };

struct run {
    struct neap_h1_parser *p;
    enum neap_h1_state state;
    struct neap_err err;
    size_t used;
};

/* Feeds in pieces of <cut> until a request is complete, an error, or the end. */
static void feed(struct run *r, const char *text, size_t len, size_t cut)
{
    while (r->used < len) {
        size_t n = len - r->used < cut ? len - r->used : cut;
        r->used += neap_h1_parser_feed(r->p, text + r->used, n, &r->err);
        r->state = neap_h1_parser_state(r->p);
        if (r->state == NEAP_H1_DONE || r->state == NEAP_H1_ERROR)
            return;
    }
}

static struct run parse(const char *text, size_t cut)
{
    struct run r = {.p = neap_h1_parser_new(HEADER_MAX, BODY_MAX)};
    feed(&r, text, strlen(text), cut);
    return r;
}

static void done(struct run *r)
{
    neap_h1_parser_free(r->p);
    neap_err_done(&r->err);
}

static void test_good(void **state)
{
    static const struct {
        const char *text, *method, *target, *body;
        bool keep_alive;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/", "", true},
        {"\r\n\r\nGET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/a?b=c", "", true},
        {"GET / HTTP/1.0\r\n\r\n", "GET", "/", "", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET", "/", "", true},
        {"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n", "GET", "/", "", false},
        {"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST", "/p", "hello",
         true},
        {"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "POST", "/p", "", true},
        {"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
         "chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n"
         "0\r\nTrailer: t\r\n\r\n",
         "PUT", "/c", "abc0123456789", true},
    };
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        for (size_t cut = 1; cut < 70; cut += cut < 4 ? 1 : 13) {
            struct run r = parse(rows[i].text, cut);
            size_t len;
            assert_int_equal(r.state, NEAP_H1_DONE);
            assert_int_equal(r.used, strlen(rows[i].text));
            const struct neap_h1_head *h = neap_h1_parser_head(r.p);
            assert_string_equal(h->method, rows[i].method);
            assert_string_equal(h->target, rows[i].target);
            assert_int_equal(h->keep_alive, rows[i].keep_alive);
            const char *body = neap_h1_parser_body(r.p, &len);
            assert_int_equal(len, strlen(rows[i].body));
            assert_memory_equal(body, rows[i].body, len);
            done(&r);
        }
}

/* What a proxy and we could read differently is refused. */
static void test_bad(void **state)
{
    static const char *const rows[] = {
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.12\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n folded: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\na: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nname : x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\na: b\x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\na: b\rc\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n"),
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\nx",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    };
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        for (size_t cut = 1; cut < 80; cut += 39) {
            struct run r = parse(rows[i], cut);
            if (r.state != NEAP_H1_ERROR || r.err.code != NEAP_EBADREQUEST)
                fail_msg("row %zu is taken: %s", i, rows[i]);
            done(&r);
        }
}

static void test_limits(void **state)
{
    (void)state;
    struct run r = parse("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\n\r\n"
                         "0123456789012345678901234567890123456789012345678901234567890123456789",
                         100);
    assert_int_equal(r.err.code, NEAP_ETOOLARGE);
    done(&r);
    r = parse("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n", 100);
    assert_int_equal(r.err.code, NEAP_ETOOLARGE);
    done(&r);
    char *long_head = neap_malloc(4096);
    snprintf(long_head, 4096, "GET / HTTP/1.1\r\nHost: x\r\na: %02000d\r\n\r\n", 1);
    r = parse(long_head, 4096);
    assert_int_equal(r.state, NEAP_H1_ERROR);
    done(&r);
    free(long_head);
}

static void test_pipelined(void **state)
{
    static const char text[] = "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET /2 "
                               "HTTP/1.1\r\nHost: x\r\n\r\n";
    struct run r = {.p = neap_h1_parser_new(HEADER_MAX, BODY_MAX)};
    (void)state;
    feed(&r, text, sizeof(text) - 1, sizeof(text));
    assert_int_equal(r.state, NEAP_H1_DONE);
    assert_string_equal(neap_h1_parser_head(r.p)->target, "/1");
    neap_h1_parser_next(r.p);
    feed(&r, text, sizeof(text) - 1, sizeof(text));
    assert_int_equal(r.state, NEAP_H1_DONE);
    assert_string_equal(neap_h1_parser_head(r.p)->target, "/2");
    assert_int_equal(r.used, sizeof(text) - 1);
    done(&r);
}

static void test_marks(void **state)
{
    (void)state;
    struct run r = parse(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", 100);
    assert_true(neap_h1_parser_head(r.p)->upgrade_websocket);
    done(&r);
    r = parse("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n", 100);
    assert_true(neap_h1_parser_head(r.p)->upgrade_other);
    assert_false(neap_h1_parser_head(r.p)->upgrade_websocket);
    done(&r);
    r = parse("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
              100);
    assert_true(neap_h1_parser_head(r.p)->expect_continue);
    done(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
