/* Accept headers and websocket subprotocols. */
#include "neap_test.h"

#include <api/wire/wire.h>

static void test_order(void **state)
{
    static const struct {
        const char *header;
        unsigned count;
        enum neap_media media[3];
        const char *as;
    } rows[] = {
        {NULL, 1, {NEAP_MEDIA_JSON}, NULL},
        {"", 1, {NEAP_MEDIA_JSON}, NULL},
        {"*/*", 1, {NEAP_MEDIA_JSON}, NULL},
        {"text/html", 0, {0}, NULL},
        {"application/yaml;q=0.5, application/json", 2, {NEAP_MEDIA_JSON, NEAP_MEDIA_YAML}, NULL},
        {"application/json;q=0, application/yaml", 1, {NEAP_MEDIA_YAML}, NULL},
        {"application/json;q=0.000, application/yaml", 1, {NEAP_MEDIA_YAML}, NULL},
        {"application/json;q=0.2, application/yaml;q=0.201",
         2,
         {NEAP_MEDIA_YAML, NEAP_MEDIA_JSON},
         NULL},
        {"application/json;q=nan, application/yaml", 2, {NEAP_MEDIA_JSON, NEAP_MEDIA_YAML}, NULL},
        {"application/json;q=1e9, application/yaml;q=0.9999",
         2,
         {NEAP_MEDIA_JSON, NEAP_MEDIA_YAML},
         NULL},
        {"application/json;q=0., application/yaml;q=", 1, {NEAP_MEDIA_YAML}, NULL},
        {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
         2,
         {NEAP_MEDIA_JSON, NEAP_MEDIA_JSON},
         "Table"},
        {"application/vnd.kubernetes.protobuf, application/json",
         2,
         {NEAP_MEDIA_PROTOBUF, NEAP_MEDIA_JSON},
         NULL},
        {" Application/JSON ;  q=1 ", 1, {NEAP_MEDIA_JSON}, NULL},
        {",,;,application/json;;=,", 1, {NEAP_MEDIA_JSON}, NULL},
    };
    (void)state;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        struct neap_arena *arena = neap_arena_new(1 << 16);
        struct neap_accept *list;
        unsigned n = neap_wire_accept_parse(arena, rows[i].header, &list);
        if (n != rows[i].count)
            fail_msg("%s: %u entries", rows[i].header ? rows[i].header : "(none)", n);
        for (unsigned j = 0; j < n; j++)
            assert_int_equal(list[j].media, rows[i].media[j]);
        if (n)
            assert_true(neap_streq(list[0].as, rows[i].as));
        neap_arena_free(arena);
    }
}

static void test_protocols(void **state)
{
    (void)state;
    const struct neap_ws_protocol *p = neap_ws_protocol_by_name("v5.channel.k8s.io");
    assert_true(p->channels && p->has_close && p->has_error_status && !p->base64);
    p = neap_ws_protocol_by_name("base64.binary.k8s.io");
    assert_true(p->base64 && !p->channels);
    assert_null(neap_ws_protocol_by_name("SPDY/3.1+portforward.k8s.io"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_protocols),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
