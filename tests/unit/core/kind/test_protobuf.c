/* Protobuf bodies: messages put together by hand from the published field numbers. */
#include "kind_text.h"

struct message {
    uint8_t bytes[4096];
    size_t len;
};

static void varint(struct message *m, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        m->bytes[m->len++] = (uint8_t)(v | 0x80);
    m->bytes[m->len++] = (uint8_t)v;
}

static void number(struct message *m, unsigned field, uint64_t v)
{
    varint(m, field << 3);
    varint(m, v);
}

static void data(struct message *m, unsigned field, const void *bytes, size_t len)
{
    varint(m, field << 3 | 2);
    varint(m, len);
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}

static void text(struct message *m, unsigned field, const char *s)
{
    data(m, field, s, strlen(s));
}

static void sub(struct message *m, unsigned field, const struct message *inner)
{
    data(m, field, inner->bytes, inner->len);
}

/* The envelope: "k8s\0", then Unknown{1: TypeMeta{1: apiVersion, 2: kind}, 2: raw}. */
static void envelope(struct message *out, const char *version, const char *kind,
                     const struct message *raw)
{
    struct message meta = {.len = 0};
    memcpy(out->bytes, "k8s", 4);
    out->len = 4;
    text(&meta, 1, version);
    text(&meta, 2, kind);
    sub(out, 1, &meta);
    sub(out, 2, raw);
}

static int parse(struct neap_arena *arena, const struct message *m, const char *type, char **ret)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    yyjson_mut_doc *doc = NULL;
    const struct neap_type *t = neap_type_by_name(type);
    assert_non_null(t);
    /* exactly sized, so that a read beyond the end is seen */
    void *copy = neap_malloc(m->len ? m->len : 1);
    memcpy(copy, m->bytes, m->len);
    int rc = neap_protobuf_parse(arena, copy, m->len, t, &doc, &err);
    assert_int_equal(rc, err.code);
    *ret = rc ? NULL : test_text(arena, doc->root);
    free(copy);
    return rc;
}

static void label(struct message *meta, const char *key, const char *value)
{
    struct message entry = {.len = 0};
    text(&entry, 1, key);
    text(&entry, 2, value);
    sub(meta, 11, &entry);
}

static void pod(struct message *out)
{
    struct message meta = {.len = 0}, spec = {.len = 0}, port = {.len = 0}, container = {.len = 0},
                   raw = {.len = 0}, time = {.len = 0};
    text(&meta, 1, "p");
    label(&meta, "a", "old");
    label(&meta, "b", "2");
    label(&meta, "a", "1");
    number(&time, 1, 1577836800);
    sub(&meta, 8, &time);
    text(&container, 1, "c");
    text(&container, 2, "image");
    text(&container, 4, "x");
    text(&container, 4, "y");
    number(&port, 3, 80);
    sub(&container, 6, &port);
    sub(&spec, 2, &container);
    number(&spec, 4, 30);
    number(&spec, 999, 5); /* unknown: skipped */
    sub(&raw, 1, &meta);
    sub(&raw, 2, &spec);
    envelope(out, "v1", "Pod", &raw);
}

static const char POD[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"creationTimestamp\":\"2020-01-01T00:"
    "00:00Z\",\"labels\":{"
    "\"a\":\"1\",\"b\":\"2\"},\"name\":\"p\"},\"spec\":{\"containers\":[{\"args\":[\"x\",\"y\"],"
    "\"image\":\"image\","
    "\"name\":\"c\",\"ports\":[{\"containerPort\":80}]}],\"terminationGracePeriodSeconds\":30}}";

static void a_pod(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct message m = {.len = 0};
    char *got;
    pod(&m);
    assert_int_equal(parse(arena, &m, "io.k8s.api.core.v1.Pod", &got), 0);
    assert_string_equal(got, POD);
    neap_arena_free(arena);
}

/* kubectl create sends creationTimestamp as an empty message: no time, not 1970. */
static void a_zero_time(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct message m = {.len = 0}, meta = {.len = 0}, raw = {.len = 0}, time = {.len = 0};
    char *got;
    (void)state;
    text(&meta, 1, "p");
    sub(&meta, 8, &time);
    sub(&raw, 1, &meta);
    envelope(&m, "v1", "Pod", &raw);
    assert_int_equal(parse(arena, &m, "io.k8s.api.core.v1.Pod", &got), 0);
    assert_null(strstr(got, "1970"));
    neap_arena_free(arena);
}

/* Every shorter message is refused or read, never read beyond; so is every message with one bit turned. */
static void damaged(void **state)
{
    struct message whole = {.len = 0};
    unsigned refused = 0;
    pod(&whole);
    for (size_t len = 0; len < whole.len; len++) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        struct message m = whole;
        char *got;
        m.len = len;
        refused += parse(arena, &m, "io.k8s.api.core.v1.Pod", &got) != 0;
        neap_arena_free(arena);
    }
    assert_true(refused + 3 >= whole.len); /* whole fields of the envelope may be missing */
    for (size_t bit = 0; bit < whole.len * 8; bit++) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        struct message m = whole;
        char *got;
        m.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        parse(arena, &m, "io.k8s.api.core.v1.Pod", &got);
        neap_arena_free(arena);
    }
}

static void values(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct message m = {.len = 0}, raw = {.len = 0}, entry = {.len = 0};
    char *got;
    text(&entry, 1, "k");
    data(&entry, 2, "\x00\xff\x10", 3);
    sub(&raw, 2, &entry); /* Secret.data */
    text(&raw, 3, "Opaque");
    envelope(&m, "v1", "Secret", &raw);
    assert_int_equal(parse(arena, &m, "io.k8s.api.core.v1.Secret", &got), 0);
    assert_string_equal(got, "{\"apiVersion\":\"v1\",\"data\":{\"k\":\"AP8Q\"},\"kind\":\"Secret\","
                             "\"type\":\"Opaque\"}");

    struct message port = {.len = 0}, target = {.len = 0}, spec = {.len = 0};
    m.len = raw.len = 0;
    number(&target, 1, 1);
    text(&target, 3, "http");
    number(&port, 3, 80);
    sub(&port, 4, &target);
    sub(&spec, 1, &port);
    sub(&raw, 2, &spec);
    envelope(&m, "v1", "Service", &raw);
    assert_int_equal(parse(arena, &m, "io.k8s.api.core.v1.Service", &got), 0);
    assert_string_equal(got, "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"spec\":{\"ports\":[{"
                             "\"port\":80,\"targetPort\":"
                             "\"http\"}]}}");
    neap_arena_free(arena);
}

static void no_envelope(void **state)
{
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    struct message m = {.bytes = "{}", .len = 2};
    char *got;
    assert_int_equal(parse(arena, &m, "io.k8s.api.core.v1.Pod", &got), NEAP_EBADREQUEST);
    m.len = 0;
    assert_int_equal(parse(arena, &m, "io.k8s.api.core.v1.Pod", &got), NEAP_EBADREQUEST);
    memcpy(m.bytes, "k8s", 4);
    m.len = 4;
    assert_int_equal(parse(arena, &m, "io.k8s.api.core.v1.Pod", &got), 0); /* an empty object */
    assert_string_equal(got, "{}");
    neap_arena_free(arena);
}

/* A small arena bounds what a message may become. */
static void bounded(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_arena *arena = neap_arena_new(8192);
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct message head = {.len = 0};
    yyjson_mut_doc *doc = NULL;
    memcpy(head.bytes, "k8s", 4);
    head.len = 4;
    varint(&head, 2 << 3 | 2);
    varint(&head, 2 * 100000);
    neap_buf_append(&b, head.bytes, head.len);
    for (int i = 0; i < 100000; i++)
        neap_buf_append(&b, "\x12\x00", 2); /* an empty spec, again and again */
    int rc = neap_protobuf_parse(arena, b.data, b.len, neap_type_by_name("io.k8s.api.core.v1.Pod"),
                                 &doc, &err);
    assert_true(rc == NEAP_ETOOLARGE || rc == NEAP_EBADREQUEST || neap_arena_exhausted(arena));
    neap_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod),  cmocka_unit_test(a_zero_time), cmocka_unit_test(damaged),
        cmocka_unit_test(values), cmocka_unit_test(no_envelope), cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
