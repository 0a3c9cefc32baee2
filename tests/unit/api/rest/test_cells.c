/* The rows of `kubectl get -o wide` that the real server shows (tests/data/cells.jsonl). */
#include "neap_test.h"
#include "api/rest/cells/cells.h"
#include <neap/kind.h>

#define NOW 1600000000000000000LL

static void write_row(const struct neap_kind *k, yyjson_val *root, struct neap_buf *out)
{
    struct rest_cell_context x = {NOW};
    neap_buf_char(out, '[');
    for (unsigned i = 0; i < k->column_count; i++) {
        const struct neap_column *col = &k->columns[i];
        if (i)
            neap_buf_char(out, ',');
        if (col->cell)
            rest_cell_by_name(col->cell)(&x, root, out);
        else
            rest_cell_path(&x, col, root, out);
    }
    neap_buf_char(out, ']');
}

/* As the server would have stored it: decoded, with defaults, canonical. */
static yyjson_doc *stored(struct neap_arena *arena, yyjson_val *object,
                          const struct neap_kind **ret_kind)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_decode_report report = {.arena = arena};
    const char *version = yyjson_get_str(yyjson_obj_get(object, "apiVersion"));
    const char *slash = strchr(version, '/');
    char *group = slash ? neap_arena_strndup(arena, version, (size_t)(slash - version)) : "";
    const struct neap_kind *k = neap_kind_by_gvk(group, slash ? slash + 1 : version,
                                                 yyjson_get_str(yyjson_obj_get(object, "kind")));
    assert_non_null(k);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(neap_arena_alc(arena));
    yyjson_mut_val *root = yyjson_val_mut_copy(doc, object);
    yyjson_mut_doc_set_root(doc, root);
    assert_ok(neap_kind_decode(doc, root, k->type, NEAP_FV_STRICT, &report, &err), err);
    neap_kind_default(doc, root, k);
    neap_kind_write(&text, root, k->type);
    *ret_kind = k;
    yyjson_doc *read = yyjson_read_opts(text.data, text.len, 0, neap_arena_alc(arena), NULL);
    assert_non_null(read);
    return read;
}

/* Reads whole as one value list, so that number and string differ. */
static bool same(struct neap_arena *arena, const char *got, yyjson_val *want)
{
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)got, strlen(got), 0, neap_arena_alc(arena), NULL);
    assert_non_null(doc);
    return yyjson_equals(yyjson_doc_get_root(doc), want);
}

static int check_row(const char *line, size_t len, unsigned number)
{
    struct neap_arena *arena = neap_arena_new(0);
    struct neap_buf row NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    const struct neap_kind *k;
    yyjson_doc *fact = yyjson_read(line, len, 0);
    assert_non_null(fact);
    yyjson_val *root = yyjson_doc_get_root(fact), *want = yyjson_obj_get(root, "cells");
    yyjson_doc *doc = stored(arena, yyjson_obj_get(root, "object"), &k);
    write_row(k, yyjson_doc_get_root(doc), &row);
    bool ok = same(arena, row.data, want);
    if (!ok) {
        char *text = yyjson_val_write(want, 0, NULL);
        print_error("row %u %s\n  want %s\n  got  %s\n", number, k->kind, text, row.data);
        free(text);
    }
    yyjson_doc_free(fact);
    neap_arena_free(arena);
    return !ok;
}

static void recorded_rows(void **state)
{
    const char *top = getenv("NEAP_TOP");
    char *path = neap_asprintf("%s/tests/data/cells.jsonl", top ? top : "."), *text;
    size_t len;
    unsigned rows = 0, wrong = 0;
    assert_int_equal(neap_file_read(path, 16 << 20, &text, &len), 0);
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
        wrong += (unsigned)check_row(line, (size_t)(end - line), ++rows);
    free(text);
    free(path);
    assert_true(rows > 60);
    assert_int_equal(wrong, 0);
}

static void every_cell_exists(void **state)
{
    for (unsigned i = 0; i < neap_kind_count; i++)
        for (unsigned c = 0; c < neap_kinds[i]->column_count; c++) {
            const struct neap_column *col = &neap_kinds[i]->columns[c];
            if (col->cell && !rest_cell_by_name(col->cell))
                fail_msg("%s: no cell %s", neap_kinds[i]->kind, col->cell);
            assert_true(col->cell || col->path);
        }
}

/* Every cell gets through an object that has nothing, and one whose lists and maps are empty. */
static void bare_objects(void **state)
{
    for (unsigned i = 0; i < neap_kind_count; i++) {
        struct neap_buf row NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        const char *text = "{\"metadata\":{},\"spec\":{},\"status\":{}}";
        yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
        write_row(neap_kinds[i], yyjson_doc_get_root(doc), &row);
        yyjson_doc_free(doc);
        doc = yyjson_read(row.data, row.len, 0);
        assert_non_null(doc);
        assert_int_equal(yyjson_arr_size(yyjson_doc_get_root(doc)), neap_kinds[i]->column_count);
        yyjson_doc_free(doc);
    }
}

static void one(const char *object, const char *want)
{
    struct neap_arena *arena = neap_arena_new(0);
    struct neap_buf row NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    const struct neap_kind *k;
    yyjson_doc *sent = yyjson_read(object, strlen(object), 0);
    assert_non_null(sent);
    yyjson_doc *doc = stored(arena, yyjson_doc_get_root(sent), &k);
    write_row(k, yyjson_doc_get_root(doc), &row);
    assert_string_equal(row.data, want);
    yyjson_doc_free(sent);
    neap_arena_free(arena);
}

/* Kinds the recorded rows lack. */
static void other_kinds(void **state)
{
    one("{\"apiVersion\":\"networking.k8s.io/"
        "v1\",\"kind\":\"IPAddress\",\"metadata\":{\"name\":\"10.0."
        "0.1\"},\"spec\":{\"parentRef\":{\"resource\":\"services\",\"namespace\":\"default\","
        "\"name\":"
        "\"kubernetes\"}}}",
        "[\"10.0.0.1\",\"services/default/kubernetes\"]");
    one("{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\","
        "\"metadata\":{\"name\":\"c\"},\"spec\":{\"request\":\"eA==\",\"signerName\":\"a/b\","
        "\"usages\":[\"any\"]},\"status\":{\"conditions\":[{\"type\":\"Approved\",\"status\":"
        "\"True\"},"
        "{\"type\":\"Denied\",\"status\":\"True\"},{\"type\":\"Failed\",\"status\":\"True\"}]}}",
        "[\"c\",\"\\u003cunknown\\u003e\",\"a/b\",\"\",\"\\u003cnone\\u003e\",\"Denied,Failed\"]");
    one("{\"apiVersion\":\"flowcontrol.apiserver.k8s.io/"
        "v1\",\"kind\":\"PriorityLevelConfiguration\","
        "\"metadata\":{\"name\":\"p\"},\"spec\":{\"type\":\"Limited\",\"limited\":{"
        "\"nominalConcurrencyShares\":5,\"limitResponse\":{\"type\":\"Queue\",\"queuing\":{"
        "\"queues\":"
        "16,\"handSize\":4,\"queueLengthLimit\":50}}}}}",
        "[\"p\",\"Limited\",5,16,4,50,\"\\u003cunknown\\u003e\"]");
    one("{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":"
        "\"ValidatingAdmissionPolicyBinding\",\"metadata\":{\"name\":\"b\"},\"spec\":{"
        "\"policyName\":"
        "\"p\",\"paramRef\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}}}}}",
        "[\"b\",\"p\",\"\\u0026LabelSelector{MatchLabels:map[string]string{a: "
        "b,},MatchExpressions:[]LabelSelectorRequirement{},}\",\"\\u003cunknown\\u003e\"]");
    one("{\"apiVersion\":\"policy/"
        "v1\",\"kind\":\"PodDisruptionBudget\",\"metadata\":{\"name\":\"b\"},"
        "\"spec\":{\"maxUnavailable\":2}}",
        "[\"b\",\"N/A\",\"2\",0,\"\\u003cunknown\\u003e\"]");
}

static void durations(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } facts[] = {{-5, "<invalid>"}, {-1, "0s"},       {0, "0s"},      {119, "119s"},
                 {120, "2m"},       {125, "2m5s"},    {600, "10m"},   {10799, "179m"},
                 {10800, "3h"},     {10860, "3h1m"},  {28800, "8h"},  {172799, "47h"},
                 {172800, "2d"},    {176400, "2d1h"}, {691200, "8d"}, {63071999, "729d"},
                 {63072000, "2y"},  {252288000, "8y"}};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        char text[32];
        cell_duration(facts[i].seconds, text);
        assert_string_equal(text, facts[i].text);
    }
}

static void selectors_are_sorted(void **state)
{
    const char *text =
        "{\"matchLabels\":{\"m\":\"1\"},\"matchExpressions\":[{\"key\":\"z\",\"operator\":"
        "\"Exists\"},{\"key\":\"a\",\"operator\":\"NotIn\",\"values\":[\"y\",\"x\"]}]}";
    struct neap_buf out NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
    cell_selector(&out, yyjson_doc_get_root(doc));
    assert_string_equal(out.data, "a notin (x,y),m=1,z");
    yyjson_doc_free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_rows), cmocka_unit_test(every_cell_exists),
        cmocka_unit_test(bare_objects),  cmocka_unit_test(other_kinds),
        cmocka_unit_test(durations),     cmocka_unit_test(selectors_are_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
