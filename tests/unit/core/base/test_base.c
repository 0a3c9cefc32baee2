/* Errors, buffers, arenas, maps, times, state machines: what every folder leans on. */
#include "neap_test.h"

#include <neap/arena.h>
#include <neap/buf.h>
#include <neap/clock.h>
#include <neap/map.h>
#include <neap/metrics.h>
#include <neap/sm.h>

/* ---- errors ---- */

static void test_error_wraps_and_moves(void **state)
{
    struct neap_err a = NEAP_ERR_INIT, b = NEAP_ERR_INIT;
    assert_int_equal(neap_err_set(&a, NEAP_ENOTFOUND, "pod %s", "x"), NEAP_ENOTFOUND);
    assert_int_equal(neap_err_wrap(&a, "bind %d", 7), NEAP_ENOTFOUND);
    assert_string_equal(a.message, "bind 7: pod x");
    assert_int_equal(neap_err_move(&b, &a), NEAP_ENOTFOUND);
    assert_null(a.message);
    assert_int_equal(neap_err_http_status(b.code), 404);
    assert_string_equal(neap_err_reason(b.code), "NotFound");
    neap_err_done(&b);
}

/* Setting an error from its own text must not read freed memory. */
static void test_error_set_from_itself(void **state)
{
    struct neap_err e = NEAP_ERR_INIT;
    neap_err_set(&e, NEAP_EIO, "inner");
    neap_err_set(&e, NEAP_EINTERNAL, "outer: %s", e.message);
    assert_string_equal(e.message, "outer: inner");
    neap_err_done(&e);
}

static void test_error_causes_are_bounded(void **state)
{
    struct neap_err e = NEAP_ERR_INIT;
    for (int i = 0; i < NEAP_ERR_CAUSES_MAX + 10; i++)
        neap_err_cause(&e, "FieldValueInvalid", "spec", "n %d", i);
    assert_int_equal(e.code, NEAP_EINVALID);
    assert_int_equal(e.cause_count, NEAP_ERR_CAUSES_MAX);
    assert_string_equal(e.causes[9].message, "n 9");
    neap_err_done(&e);
}

/* ---- buffers ---- */

static void test_json_string_escapes_as_go_does(void **state)
{
    struct neap_buf b = NEAP_BUF_INIT;
    const char s[] = "a\"\\\n\x01<>&\xe2\x80\xa8z";
    neap_buf_json_string(&b, s, sizeof(s) - 1);
    assert_string_equal(b.data, "\"a\\\"\\\\\\n\\u0001\\u003c\\u003e\\u0026\\u2028z\"");
    neap_buf_done(&b);
}

static void test_buf_is_bounded(void **state)
{
    struct neap_buf b = {.max = 4};
    neap_buf_str(&b, "abcd");
    assert_false(b.overflow);
    neap_buf_char(&b, 'e');
    assert_true(b.overflow);
    assert_int_equal(b.len, 4);
    neap_buf_done(&b);
}

/* ---- arenas ---- */

static void count_up(void *arg)
{
    (*(int *)arg)++;
}

static void test_arena_bounds_and_defers(void **state)
{
    int freed = 0;
    struct neap_arena *a = neap_arena_new(64 << 10);
    assert_true(neap_arena_defer(a, count_up, &freed));
    size_t got = 0;
    while (neap_arena_alloc(a, 1000))
        got += 1000;
    assert_true(neap_arena_exhausted(a));
    assert_in_range(got, 50 << 10, 64 << 10);
    assert_null(neap_arena_alloc(a, SIZE_MAX - 8));
    neap_arena_free(a);
    assert_int_equal(freed, 1);
}

static void test_arena_feeds_yyjson(void **state)
{
    struct neap_arena *a = neap_arena_new(0);
    char json[] = "{\"a\":[1,2,3],\"b\":\"c\"}";
    yyjson_doc *d = yyjson_read_opts(json, strlen(json), 0, neap_arena_alc(a), NULL);
    assert_non_null(d);
    yyjson_mut_doc *m = yyjson_doc_mut_copy(d, neap_arena_alc(a));
    for (int i = 0; i < 1000; i++)
        yyjson_mut_obj_add_int(m, yyjson_mut_doc_get_root(m), "n", i);
    size_t len;
    char *out = yyjson_mut_write_opts(m, 0, neap_arena_alc(a), &len, NULL);
    assert_non_null(out);
    assert_true(len > 1000);
    neap_arena_free(a);
}

/* ---- maps ---- */

static void test_map_against_counts(void **state)
{
    struct neap_map m = NEAP_MAP_INIT;
    char key[32];
    for (uintptr_t round = 1; round <= 3; round++) {
        for (uintptr_t i = 0; i < 5000; i++) {
            snprintf(key, sizeof(key), "key-%lu", (unsigned long)i);
            neap_map_set(&m, key, (void *)(i + round));
        }
        for (uintptr_t i = 0; i < 5000; i += 2) {
            snprintf(key, sizeof(key), "key-%lu", (unsigned long)i);
            assert_ptr_equal(neap_map_del(&m, key), (void *)(i + round));
            assert_null(neap_map_get(&m, key));
        }
        assert_int_equal(m.count, 2500);
    }
    size_t it = 0, seen = 0;
    void *v;
    while (neap_map_next(&m, &it, NULL, &v))
        seen++;
    assert_int_equal(seen, 2500);
    neap_map_done(&m, NULL);
}

/* ---- time ---- */

static void test_times(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        const char *back;
    } rows[] = {
        {"2026-01-02T03:04:05Z", true, "2026-01-02T03:04:05Z"},
        {"2026-01-02T03:04:05.987+02:00", true, "2026-01-02T01:04:05Z"},
        {"2024-02-29T00:00:00Z", true, "2024-02-29T00:00:00Z"},
        {"2025-02-29T00:00:00Z", false, NULL},
        {"2026-13-02T03:04:05Z", false, NULL},
        {"2026-01-02T24:04:05Z", false, NULL},
        {"2026-01-02T03:04:05", false, NULL},
        {"2026-01-02", false, NULL},
        {"", false, NULL},
        {"9999-12-31T23:59:59Z", false, NULL},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        int64_t ns;
        char back[32];
        assert_int_equal(neap_time_parse(rows[i].text, strlen(rows[i].text), &ns), rows[i].ok);
        if (!rows[i].ok)
            continue;
        neap_time_format(ns, back);
        assert_string_equal(back, rows[i].back);
    }
}

static void test_uuid_is_version_4(void **state)
{
    char u[37];
    neap_rand_uuid(&neap_rand_system, u);
    assert_int_equal(strlen(u), 36);
    assert_int_equal(u[14], '4');
    assert_non_null(strchr("89ab", u[19]));
}

/* ---- metrics ---- */

static void test_metrics_are_bounded_and_rendered(void **state)
{
    static struct neap_metric table[] = {
        {.name = "t_total", .help = "h", .type = NEAP_COUNTER, .labels = {"a", NULL}},
        {.name = "t_seconds",
         .help = "h",
         .type = NEAP_HISTOGRAM,
         .buckets = neap_metric_latency_buckets},
    };
    neap_metrics_register(table, 2);
    char value[32];
    for (int i = 0; i < NEAP_METRIC_SERIES_MAX + 50; i++) {
        snprintf(value, sizeof(value), "v%d", i);
        neap_metric_add(&table[0], 1, value);
    }
    neap_metric_observe(&table[1], 0.003);
    struct neap_buf out = NEAP_BUF_INIT;
    neap_metrics_render(&out);
    assert_non_null(strstr(out.data, "t_total{a=\"other\"} 50\n"));
    assert_non_null(strstr(out.data, "t_seconds_bucket{le=\"0.0025\"} 0\n"));
    assert_non_null(strstr(out.data, "t_seconds_bucket{le=\"0.005\"} 1\n"));
    neap_buf_done(&out);
}

/* ---- state machines ---- */

static void test_sm_moves_by_table(void **state)
{
    enum { NEW, RUN, END };
    static const struct neap_sm_state table[] = {
        [NEW] = {.name = "new", .allowed = NEAP_SM_TO(RUN), .initial = true},
        [RUN] = {.name = "run", .allowed = NEAP_SM_TO(RUN) | NEAP_SM_TO(END)},
        [END] = {.name = "end", .final = true},
    };
    struct neap_sm sm;
    neap_sm_init(&sm, "thing", "a", table, 3, NEW, NULL);
    assert_true(neap_sm_move(&sm, RUN));
    assert_true(neap_sm_move(&sm, RUN));
    assert_string_equal(neap_sm_name(&sm), "run");
    assert_true(neap_sm_move(&sm, END));
#ifndef NEAP_CHECKED /* a checked build aborts instead */
    assert_false(neap_sm_move(&sm, RUN));
    assert_string_equal(neap_sm_name(&sm), "end");
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_wraps_and_moves),
        cmocka_unit_test(test_error_set_from_itself),
        cmocka_unit_test(test_error_causes_are_bounded),
        cmocka_unit_test(test_json_string_escapes_as_go_does),
        cmocka_unit_test(test_buf_is_bounded),
        cmocka_unit_test(test_arena_bounds_and_defers),
        cmocka_unit_test(test_arena_feeds_yyjson),
        cmocka_unit_test(test_map_against_counts),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_uuid_is_version_4),
        cmocka_unit_test(test_metrics_are_bounded_and_rendered),
        cmocka_unit_test(test_sm_moves_by_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
