/* What a page's links become. What Kubernetes' proxy answers: TestProxyTransport's cases, sent to neap instead. */
#include "neap_test.h"

#include "api/node/rewrite.h"

#include <string.h>

#define PREFIX "/api/v1/namespaces/n/pods/p:80/proxy"

static void page_by(size_t step, const char *page, const char *expected)
{
    struct node_rewrite *r = node_rewrite_new(PREFIX, "10.0.0.1:80");
    struct neap_buf out = NEAP_BUF_INIT;
    size_t len = strlen(page);
    for (size_t i = 0; i < len; i += step)
        node_rewrite_push(r, page + i, len - i < step ? len - i : step, false, &out);
    node_rewrite_push(r, NULL, 0, true, &out);
    assert_string_equal(out.len ? out.data : "", expected);
    neap_buf_done(&out);
    node_rewrite_free(r);
}

/* However the bytes come. */
static void page(const char *page, const char *expected)
{
    for (size_t step = 1; step < 40; step += step < 6 ? 1 : 11)
        page_by(step, page, expected);
}

static void test_links(void **state)
{
    page("<a href=\"/x\">y</a>", "<a href=\"" PREFIX "/x\">y</a>");
    page("<A\n HREF = '/x/'>", "<A\n HREF = '" PREFIX "/x/'>");
    page("<a href=/x>", "<a href=" PREFIX "/x>");
    page("<a class=\"/x\" href=\"/y\" title='/z'>",
         "<a class=\"/x\" href=\"" PREFIX "/y\" title='/z'>");
    page("<img src=\"/i.png\"/><img src='/j' usemap=\"/m\">",
         "<img src=\"" PREFIX "/i.png\"/><img src='" PREFIX "/j' usemap=\"" PREFIX "/m\">");
    page("<a href=\"http://10.0.0.1:80/x?y=1#z\">", "<a href=\"" PREFIX "/x?y=1#z\">");
    page("<form action=\"/send\" method=post>", "<form action=\"" PREFIX "/send\" method=post>");
}

static void test_left_alone(void **state)
{
    static const char *const same[] = {
        "",
        "plain < text > & 1 <2",
        "<a href=\"x/y\">",
        "<a href=\"#top\">",
        "<a href=\"http://example.com/x\">",
        "<a href=\"//example.com/x\">",
        "<a href=\"http://10.0.0.1:8080/x\">",
        "<a href=\"http://10.0.0.1:80\">",
        "<a href=\"" PREFIX "/x\">",
        "<p href=\"/x\">",
        "<a data-href=\"/x\">",
        "<!-- <a href=\"/x\"> -->",
        "<!----><b>",
        "<script>var a = '<a href=\"/x\">';</script>",
        "<style>a{background:url(/x)}</STYLE>",
        "<title><a href=\"/x\"></title>",
        "</a href=\"/x\">",
        "<a href",
        "<a href=\"/x",
        "<!-- open",
        "<script> open </scrip",
        "<",
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(same); i++)
        page(same[i], same[i]);
}

static void test_after_raw_text(void **state)
{
    page("<script src=\"/a.js\">\"<a href='/x'>\"</script><a href='/y'>",
         "<script src=\"" PREFIX "/a.js\">\"<a href='/x'>\"</script><a href='" PREFIX "/y'>");
    page("<!-- <a href='/x'> --><a title=\"a>b\" href='/y'>",
         "<!-- <a href='/x'> --><a title=\"a>b\" href='" PREFIX "/y'>");
}

/* Nothing grows: neither a tag without end nor many of them. */
static void test_endless_tags(void **state)
{
    struct node_rewrite *r = node_rewrite_new(PREFIX, "h");
    struct neap_buf out = NEAP_BUF_INIT;
    size_t in = 0;
    for (int i = 0; i < 100000; i++, in += 4)
        node_rewrite_push(r, "<a <", 4, false, &out);
    assert_true(in - out.len <= NODE_TAG_MAX);
    node_rewrite_push(r, NULL, 0, true, &out);
    assert_int_equal(out.len, in);
    neap_buf_done(&out);
    node_rewrite_free(r);
}

static void location_is(const char *url, const char *expected)
{
    struct node_rewrite *r = node_rewrite_new(PREFIX, "[fd00::1]:80");
    struct neap_buf out = NEAP_BUF_INIT;
    node_rewrite_url(r, url, strlen(url), &out);
    assert_string_equal(out.data, expected);
    neap_buf_done(&out);
    node_rewrite_free(r);
}

static void test_location(void **state)
{
    location_is("/login", PREFIX "/login");
    location_is("https://[fd00::1]:80/login", PREFIX "/login");
    location_is("https://example.com/", "https://example.com/");
    location_is("login", "login");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),          cmocka_unit_test(test_left_alone),
        cmocka_unit_test(test_after_raw_text), cmocka_unit_test(test_endless_tags),
        cmocka_unit_test(test_location),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
