/* What is written in protobuf: byte for byte what Kubernetes' Go types write (tests/data/protobuf.jsonl:
 * {name, object, protobuf in base64}, an empty and a fully filled object of every kind), and read back
 * by our own decoder. */
#include "kind_text.h"
#include <neap/protobuf.h>

#define DATA "tests/data/protobuf.jsonl"

static const char STATUS[] = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

static const struct neap_type *type_of(yyjson_val *object)
{
    const char *version = yyjson_get_str(yyjson_obj_get(object, "apiVersion"));
    const char *kind = yyjson_get_str(yyjson_obj_get(object, "kind")),
               *slash = strchr(version, '/');
    char group[128] = "";
    if (slash)
        memcpy(group, version, (size_t)(slash - version));
    const struct neap_kind *k = neap_kind_by_gvk(group, slash ? slash + 1 : version, kind);
    return k ? k->type : neap_streq(kind, "Status") ? neap_type_by_name(STATUS) : NULL;
}

static char *base64_of(const struct neap_buf *b)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = neap_malloc((b->len + 2) / 3 * 4 + 1), *to = out;
    for (size_t i = 0; i < b->len; i += 3) {
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (i + j < b->len ? (uint8_t)b->data[i + j] : 0);
        for (size_t j = 0; j < 4; j++)
            *to++ = i + j > b->len ? '=' : digits[bits >> (18 - 6 * j) & 63];
    }
    *to = '\0';
    return out;
}

/* What our decoder makes of the bytes is the object again. */
static void read_back(const char *name, const struct neap_type *t, const struct neap_buf *bytes,
                      const char *object)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf got NEAP_CLEANUP_BUF = NEAP_BUF_INIT, want NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
    yyjson_mut_doc *doc, *source = test_parse(arena, object);
    assert_ok(neap_protobuf_parse(arena, bytes->data, bytes->len, t, &doc, &err), err);
    assert_ok(neap_kind_decode(doc, doc->root, t, NEAP_FV_STRICT, NULL, &err), err);
    assert_ok(neap_kind_decode(source, source->root, t, NEAP_FV_STRICT, NULL, &err), err);
    neap_kind_write(&got, doc->root, t);
    neap_kind_write(&want, source->root, t);
    if (strcmp(got.data, want.data) != 0)
        fail_msg("%s: read back\n%s\nis not\n%s", name, got.data, want.data);
    neap_arena_free(arena);
}

static bool one(const char *line, size_t len)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf bytes NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_doc *doc = yyjson_read(line, len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *object = yyjson_obj_get(root, "object");
    const char *name = yyjson_get_str(yyjson_obj_get(root, "name"));
    const struct neap_type *t = type_of(object);
    if (t) {
        assert_ok(neap_protobuf_object(&bytes, t, object, &err), err);
        char *got = base64_of(&bytes), *text = yyjson_val_write(object, 0, NULL);
        const char *want = yyjson_get_str(yyjson_obj_get(root, "protobuf"));
        /* cmocka cuts long messages */
        if (strcmp(got, want) != 0)
            fprintf(stderr, "%s: wrote\n%s\nnot\n%s\n", name, got, want);
        assert_true(strcmp(got, want) == 0);
        read_back(name, t, &bytes, text);
        free(got);
        free(text);
    }
    yyjson_doc_free(doc);
    return t;
}

static void as_go_writes(void **state)
{
    const char *top = getenv("NEAP_TOP");
    char *path = neap_asprintf("%s/" DATA, top ? top : ".");
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    unsigned count = 0;
    assert_non_null(f);
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0;)
        count += one(line, (size_t)n);
    assert_true(count > 100);
    free(line);
    free(path);
    fclose(f);
}

static yyjson_doc *list_doc(unsigned items)
{
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_str(&b, "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{"
                     "\"resourceVersion\":\"7\",\"remainingItemCount\":0},\"items\":[");
    for (unsigned i = 0; i < items; i++)
        neap_buf_printf(&b, "%s{\"metadata\":{\"name\":\"c%u\"},\"data\":{\"b\":\"\",\"a\":\"x\"}}",
                        i ? "," : "", i);
    neap_buf_str(&b, "]}");
    yyjson_doc *doc = yyjson_read(b.data, b.len, 0);
    neap_buf_done(&b);
    return doc;
}

/* As Go's serializer writes a v1.ConfigMapList with resourceVersion 7 and one item. */
static const char LIST[] =
    "azhzAAoTCgJ2MRINQ29uZmlnTWFwTGlzdBIwCgkKABIBNxoAIAASIwoSCgJjMBIAGgAiACoAMgA4AEIAEgYKAWESAXgS"
    "BQoBYhIAGgAiAA==";

static void a_list(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf whole NEAP_CLEANUP_BUF = NEAP_BUF_INIT, body NEAP_CLEANUP_BUF = NEAP_BUF_INIT,
                          parts NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    const struct neap_type *t = neap_kind_by_gvk("", "v1", "ConfigMap")->type;
    yyjson_doc *doc = list_doc(300);
    yyjson_val *root = yyjson_doc_get_root(doc), *items = yyjson_obj_get(root, "items");
    yyjson_arr_iter it = yyjson_arr_iter_with(items);
    assert_ok(neap_protobuf_list(&whole, t, root, &err), err);
    /* piece by piece it is the same */
    assert_ok(neap_protobuf_list_meta(&body, yyjson_obj_get(root, "metadata"), &err), err);
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it));)
        assert_ok(neap_protobuf_list_item(&body, t, v, &err), err);
    neap_protobuf_head(&parts, "v1", "ConfigMapList", body.len);
    neap_buf_append(&parts, body.data, body.len);
    neap_protobuf_tail(&parts);
    assert_int_equal(whole.len, parts.len);
    assert_memory_equal(whole.data, parts.data, whole.len);
    yyjson_doc_free(doc);

    doc = list_doc(1);
    neap_buf_reset(&whole);
    assert_ok(neap_protobuf_list(&whole, t, yyjson_doc_get_root(doc), &err), err);
    char *got = base64_of(&whole);
    assert_string_equal(got, LIST);
    free(got);
    yyjson_doc_free(doc);
}

static void a_watch_frame(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    static const uint8_t want[] = {0,   0,  0, 16, 10, 5,   'A', 'D', 'D', 'E',
                                   'D', 18, 7, 10, 5,  'k', '8', 's', 0,   'x'};
    char large[1000] = {0};
    neap_buf_str(&b, "before");
    assert_ok(neap_protobuf_watch_frame(&b, "ADDED", "k8s\0x", 5, &err), err);
    assert_int_equal(b.len, 6 + sizeof(want));
    assert_memory_equal(b.data + 6, want, sizeof(want));
    neap_buf_reset(&b);
    assert_ok(neap_protobuf_watch_frame(&b, "MODIFIED", large, sizeof(large), &err), err);
    assert_int_equal(b.len, 4 + 10 + 3 + 3 + 1000);
    assert_memory_equal(b.data, "\0\0\x03\xf8\x0a\x08MODIFIED\x12\xeb\x07\x0a\xe8\x07", 20);
}

/* Every bound that is too small is told, and never passed. */
static void bounded(void **state)
{
    struct neap_buf whole NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    const struct neap_type *t = neap_kind_by_gvk("", "v1", "ConfigMap")->type;
    yyjson_doc *doc = list_doc(5);
    yyjson_val *root = yyjson_doc_get_root(doc);
    assert_int_equal(neap_protobuf_list(&whole, t, root, NULL), 0);
    for (size_t max = 1; max < whole.len; max++) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        struct neap_buf b NEAP_CLEANUP_BUF = {.max = max};
        assert_int_equal(neap_protobuf_list(&b, t, root, &err), NEAP_ETOOLARGE);
        assert_int_equal(err.code, NEAP_ETOOLARGE);
        assert_true(b.len <= max);
    }
    yyjson_doc_free(doc);
}

/* Values that the kind's decoder would not have let through. */
static void not_canonical(void **state)
{
    static const struct {
        const char *kind, *json;
    } rows[] = {
        {"Secret", "{\"data\":{\"a\":\"b\"}}"},
        {"Secret", "{\"data\":{\"a\":\"====\"}}"},
        {"Secret", "{\"data\":{\"a\":5}}"},
        {"Pod", "{\"metadata\":{\"creationTimestamp\":\"yesterday\"}}"},
        {"Pod", "{\"metadata\":{\"creationTimestamp\":\"2020-01-01T00:00:0xZ\"}}"},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        yyjson_doc *doc = yyjson_read(rows[i].json, strlen(rows[i].json), 0);
        const struct neap_type *t = neap_kind_by_gvk("", "v1", rows[i].kind)->type;
        assert_int_equal(neap_protobuf_object(&b, t, yyjson_doc_get_root(doc), &err),
                         NEAP_EINTERNAL);
        assert_int_equal(err.code, NEAP_EINTERNAL);
        yyjson_doc_free(doc);
    }
}

/* Times of all centuries come back as they were. */
static void all_years(void **state)
{
    static const char *const times[] = {"0000-01-01T00:00:00Z", "0001-01-02T00:00:00Z",
                                        "0020-02-29T23:59:59Z", "1900-03-01T00:00:00Z",
                                        "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z",
                                        "2000-02-29T12:00:00Z", "9999-12-31T23:59:59Z"};
    const struct neap_type *t = neap_kind_by_gvk("", "v1", "ConfigMap")->type;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(times); i++) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        char *text =
            neap_asprintf("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
                          "\"c\",\"creationTimestamp\":\"%s\"}}",
                          times[i]);
        yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
        assert_ok(neap_protobuf_object(&b, t, yyjson_doc_get_root(doc), &err), err);
        read_back(times[i], t, &b, text);
        yyjson_doc_free(doc);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_go_writes),  cmocka_unit_test(a_list),
        cmocka_unit_test(a_watch_frame), cmocka_unit_test(bounded),
        cmocka_unit_test(not_canonical), cmocka_unit_test(all_years),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
