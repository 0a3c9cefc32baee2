/* Server-side apply and managedFields against what the real server recorded (tests/data/roundtrip.jsonl). */
#include "../json/tree.h"
#include <neap/apply.h>

#define DATA "tests/data/roundtrip.jsonl"
/* Masked values become values of the right type. */
static const struct {
    const char *mask, *value;
} masks[] = {
    {"\"<time>\"", "\"2020-01-02T03:04:05Z\""},
    {"\"<port>\"", "30000"},
};
static const int64_t NOW = 1577934245000000000;

struct recorded {
    struct neap_arena *arena;
    yyjson_mut_doc *doc;
    const char *name;
    yyjson_mut_val *before, *sent, *returned;
    const struct neap_kind *kind;
    struct neap_apply_write write;
    bool patch, apply;
    int64_t code;
};

static char *unmask(const char *line)
{
    struct neap_buf b = NEAP_BUF_INIT;
    while (*line) {
        size_t i = 0;
        while (i < NEAP_ARRAY_LEN(masks) && !neap_startswith(line, masks[i].mask))
            i++;
        if (i < NEAP_ARRAY_LEN(masks)) {
            neap_buf_str(&b, masks[i].value);
            line += strlen(masks[i].mask);
        } else {
            neap_buf_char(&b, *line++);
        }
    }
    return neap_buf_take(&b);
}

/* ---- a custom kind, as its definition in the recorded data says ---- */

static const struct neap_shape string = {.value = NEAP_T_STRING};
static const char *const item_keys[] = {"k", "p", NULL};
static const uint16_t as_they_are[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
static const struct neap_field item_fields[] = {
    {.name = "k", .name_len = 1, .shape = {.value = NEAP_T_STRING}, .zero = NEAP_ZERO_KEEP},
    {.name = "p",
     .name_len = 1,
     .shape = {.value = NEAP_T_INT64},
     .zero = NEAP_ZERO_KEEP,
     .default_json = "0"},
    {.name = "v", .name_len = 1, .shape = {.value = NEAP_T_STRING}, .zero = NEAP_ZERO_KEEP},
};
static const struct neap_type item_type = {
    .fields = item_fields, .field_count = 3, .by_name = as_they_are};
static const struct neap_shape item_shape = {.value = NEAP_T_STRUCT, .type = &item_type};
static const struct neap_type any_type = {.preserve_unknown = true};
static const struct neap_field spec_fields[] = {
    {.name = "any",
     .name_len = 3,
     .shape = {.value = NEAP_T_STRUCT, .type = &any_type},
     .zero = NEAP_ZERO_KEEP},
    {.name = "atom",
     .name_len = 4,
     .shape = {.value = NEAP_T_MAP, .item = &string},
     .zero = NEAP_ZERO_KEEP,
     .flags = NEAP_F_MAP_ATOMIC},
    {.name = "items",
     .name_len = 5,
     .shape = {.value = NEAP_T_ARRAY, .item = &item_shape},
     .flags = NEAP_F_DEFAULTS,
     .zero = NEAP_ZERO_KEEP,
     .list = NEAP_LIST_MAP,
     .list_keys = item_keys},
    {.name = "name",
     .name_len = 4,
     .shape = {.value = NEAP_T_STRING},
     .zero = NEAP_ZERO_KEEP,
     .default_json = "\"a\""},
    {.name = "obj",
     .name_len = 3,
     .shape = {.value = NEAP_T_STRUCT, .type = &any_type},
     .zero = NEAP_ZERO_KEEP},
    {.name = "port",
     .name_len = 4,
     .shape = {.value = NEAP_T_INT_OR_STRING},
     .zero = NEAP_ZERO_KEEP},
    {.name = "ratio", .name_len = 5, .shape = {.value = NEAP_T_DOUBLE}, .zero = NEAP_ZERO_KEEP},
    {.name = "size",
     .name_len = 4,
     .shape = {.value = NEAP_T_INT32},
     .zero = NEAP_ZERO_KEEP,
     .default_json = "1"},
    {.name = "tags",
     .name_len = 4,
     .shape = {.value = NEAP_T_ARRAY, .item = &string},
     .zero = NEAP_ZERO_KEEP,
     .list = NEAP_LIST_SET},
};
static const struct neap_type spec_type = {
    .fields = spec_fields, .field_count = 9, .by_name = as_they_are};
static const struct neap_field status_fields[] = {
    {.name = "phase", .name_len = 5, .shape = {.value = NEAP_T_STRING}, .zero = NEAP_ZERO_KEEP},
    {.name = "replicas", .name_len = 8, .shape = {.value = NEAP_T_INT64}, .zero = NEAP_ZERO_KEEP},
    {.name = "selector", .name_len = 8, .shape = {.value = NEAP_T_STRING}, .zero = NEAP_ZERO_KEEP},
};
static const struct neap_type status_type = {
    .fields = status_fields, .field_count = 3, .by_name = as_they_are};
static struct neap_field thing_fields[] = {
    {.name = "apiVersion", .name_len = 10, .shape = {.value = NEAP_T_STRING}},
    {.name = "kind", .name_len = 4, .shape = {.value = NEAP_T_STRING}},
    {.name = "metadata", .name_len = 8, .shape = {.value = NEAP_T_STRUCT}}, /* .type: set_up */
    {.name = "spec",
     .name_len = 4,
     .shape = {.value = NEAP_T_STRUCT, .type = &spec_type},
     .flags = NEAP_F_DEFAULTS,
     .zero = NEAP_ZERO_KEEP},
    {.name = "status",
     .name_len = 6,
     .shape = {.value = NEAP_T_STRUCT, .type = &status_type},
     .zero = NEAP_ZERO_KEEP},
};
static const struct neap_type thing_type = {
    .fields = thing_fields, .field_count = 5, .by_name = as_they_are};
static const char *const thing_reset[] = {"status", NULL};
static const char *const thing_status_reset[] = {"metadata", "spec", NULL};
static const struct neap_kind thing = {.group = "golden.example",
                                       .version = "v1",
                                       .kind = "Thing",
                                       .resource = "things",
                                       .type = &thing_type,
                                       .reset_on_write = thing_reset,
                                       .reset_on_status_write = thing_status_reset,
                                       .storage = &thing};

static const struct neap_kind *kind_of(yyjson_mut_val *object)
{
    const char *version = neap_json_str_at(object, "apiVersion");
    const char *kind = neap_json_str_at(object, "kind"),
               *slash = version ? strchr(version, '/') : NULL;
    char group[128] = "";
    if (slash)
        memcpy(group, version, (size_t)(slash - version));
    if (neap_streq(version, "golden.example/v1") && neap_streq(kind, "Thing"))
        return &thing;
    return kind ? neap_kind_by_gvk(group, slash ? slash + 1 : version, kind) : NULL;
}

static bool recorded_init(struct recorded *r, struct neap_arena *arena, const char *line)
{
    char *text = unmask(line), *path;
    *r = (struct recorded){.arena = arena, .doc = test_parse(arena, text)};
    free(text);
    yyjson_mut_val *root = r->doc->root;
    r->name = neap_json_str_at(root, "case");
    r->before = yyjson_mut_obj_get(root, "before");
    r->sent = yyjson_mut_obj_get(root, "sent");
    r->returned = yyjson_mut_obj_get(root, "returned");
    r->code = yyjson_mut_get_sint(yyjson_mut_obj_get(root, "code"));
    const char *type = neap_json_str_at(root, "contentType"),
               *method = neap_json_str_at(root, "method");
    r->patch = method && strcmp(method, "PATCH") == 0;
    r->apply = type && strcmp(type, "application/apply-patch+yaml") == 0;
    r->kind = kind_of(r->code < 300 ? r->returned : r->before);
    path = neap_arena_strdup(arena, neap_json_str_at(root, "path"));
    char *query = strchr(path, '?'), *manager = query ? strstr(query, "fieldManager=") : NULL;
    if (query)
        *query++ = '\0';
    if (query && strstr(query, "force=true"))
        r->write.force = true;
    if (manager) {
        manager += strlen("fieldManager=");
        manager[strcspn(manager, "&")] = '\0';
    }
    r->write.kind = r->kind;
    r->write.manager = manager ? manager : "golden";
    r->write.subresource = neap_endswith(path, "/status")   ? "status"
                           : neap_endswith(path, "/resize") ? "resize"
                                                            : "";
    r->write.now_ns = NOW;
    return r->kind && (!r->before || kind_of(r->before) == r->kind) &&
           (r->apply || !method || strcmp(method, "DELETE") != 0);
}

/* Entries without their times, sorted: real times are not known. */
static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *managed_text(struct recorded *r, yyjson_mut_val *object)
{
    yyjson_mut_val *list =
        yyjson_mut_obj_get(yyjson_mut_obj_get(object, "metadata"), "managedFields");
    char *lines[32];
    size_t n = 0;
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        yyjson_mut_val *copy = yyjson_mut_val_mut_copy(r->doc, e);
        yyjson_mut_obj_remove_key(copy, "time");
        assert_true(n < NEAP_ARRAY_LEN(lines));
        lines[n++] = test_text(r->arena, copy);
    }
    qsort(lines, n, sizeof(*lines), by_text);
    neap_buf_append(&b, "", 0);
    for (size_t i = 0; i < n; i++)
        neap_buf_printf(&b, "%s\n", lines[i]);
    return neap_arena_strdup(r->arena, b.data);
}

static void set_managed(struct recorded *r, yyjson_mut_val *object, yyjson_mut_val *from)
{
    yyjson_mut_val *meta = yyjson_mut_obj_get(object, "metadata");
    yyjson_mut_val *v = yyjson_mut_obj_get(yyjson_mut_obj_get(from, "metadata"), "managedFields");
    yyjson_mut_obj_remove_key(meta, "managedFields");
    if (v)
        yyjson_mut_obj_add_val(r->doc, meta, "managedFields", yyjson_mut_val_mut_copy(r->doc, v));
}

static bool same_managed(struct recorded *r, yyjson_mut_val *got)
{
    char *want = managed_text(r, r->returned), *have = managed_text(r, got);
    if (strcmp(want, have) == 0)
        return true;
    fprintf(stderr, "%s:\nwant\n%sgot\n%s", r->name, want, have);
    return false;
}

/* What the real server does to an object after it computed who owns what: admission, allocation, fields of
 * features that are off, empty lists that are not kept. */
static const struct {
    const char *name;
    bool lost; /* the object lost fields: nothing can be said; else it has more */
} later[] = {
    {"namespace strategic patch", true},
    {"namespace", false},
    {"pvc ", false},
    {"pod ", false},
    {"service back to clusterip", true},
    {"service to externalname", true},
    {"service ", false},
    {"pv ", false},
    {"selfsubject", false},
    {"tokenreview", false},
    {"subjectaccessreview", false},
    {"job ", false},
    {"volumeattributesclass", false},
    {"lease tz", true},
    {"endpointslice minimal", true},
    {"resourceclaim empty", true},
    {"csinode empty", true},
    {"cr full", true}, /* a null that only a definition allows */
};

static struct neap_fields *fields_of_entry(struct recorded *r, yyjson_mut_val *entry)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_fields *set;
    assert_ok(neap_fields_parse(r->arena, yyjson_mut_obj_get(entry, "fieldsV1"), &set, &err), err);
    return set;
}

static yyjson_mut_val *managed_of(yyjson_mut_val *object)
{
    return yyjson_mut_obj_get(yyjson_mut_obj_get(object, "metadata"), "managedFields");
}

/* Every entry that was recorded is there, and has at least its fields. */
static bool managed_within(struct recorded *r, yyjson_mut_val *got)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(managed_of(r->returned));
    for (yyjson_mut_val *want; (want = yyjson_mut_arr_iter_next(&it));) {
        yyjson_mut_arr_iter in = yyjson_mut_arr_iter_with(managed_of(got));
        bool found = false;
        for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&in));)
            found =
                found ||
                (neap_streq(neap_json_str_at(e, "manager"), neap_json_str_at(want, "manager")) &&
                 neap_streq(neap_json_str_at(e, "operation"),
                            neap_json_str_at(want, "operation")) &&
                 neap_streq(neap_json_str_at(e, "subresource"),
                            neap_json_str_at(want, "subresource")) &&
                 neap_fields_empty(neap_fields_difference(r->arena, fields_of_entry(r, want),
                                                          fields_of_entry(r, e))));
        if (!found)
            return false;
    }
    return true;
}

static bool as_expected(struct recorded *r, yyjson_mut_val *got)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(later); i++)
        if (neap_startswith(r->name, later[i].name) && (!r->before || later[i].lost))
            return later[i].lost || managed_within(r, got);
    return same_managed(r, got);
}

static bool an_update(struct recorded *r)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    yyjson_mut_val *new_ = yyjson_mut_val_mut_copy(r->doc, r->returned);
    set_managed(r, new_, r->patch || !r->before ? r->before : r->sent);
    assert_ok(neap_kind_decode(r->doc, new_, r->kind->type, NEAP_FV_IGNORE, NULL, &err), err);
    neap_managed_update(r->arena, &r->write, r->doc, r->before, new_);
    return as_expected(r, new_);
}

static bool refused(struct recorded *r, const struct neap_err *err)
{
    const char *want = neap_json_str_at(r->returned, "message");
    yyjson_mut_val *causes =
        yyjson_mut_obj_get(yyjson_mut_obj_get(r->returned, "details"), "causes");
    assert_int_equal(neap_err_http_status(err->code), r->code);
    assert_string_equal(err->message, want);
    assert_int_equal(err->cause_count, yyjson_mut_arr_size(causes));
    for (unsigned i = 0; i < err->cause_count; i++) {
        yyjson_mut_val *cause = yyjson_mut_arr_get(causes, i);
        assert_string_equal(err->causes[i].reason, neap_json_str_at(cause, "reason"));
        assert_string_equal(err->causes[i].message, neap_json_str_at(cause, "message"));
        assert_string_equal(err->causes[i].field, neap_json_str_at(cause, "field"));
    }
    return true;
}

/* The object as it is written, without what only a server knows. */
static char *object_text(struct recorded *r, yyjson_mut_val *object)
{
    static const char *const drop[] = {
        "managedFields", "uid", "resourceVersion", "generation", "creationTimestamp", "namespace"};
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(r->doc, object);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(drop); i++)
        yyjson_mut_obj_remove_key(yyjson_mut_obj_get(copy, "metadata"), drop[i]);
    assert_ok(neap_kind_decode(r->doc, copy, r->kind->type, NEAP_FV_IGNORE, NULL, &err), err);
    neap_kind_default(r->doc, copy, r->kind);
    neap_kind_write(&b, copy, r->kind->type);
    return neap_arena_strdup(r->arena, b.data);
}

static bool an_apply(struct recorded *r)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    yyjson_mut_val *got = NULL;
    bool changed;
    int rc = neap_apply(r->arena, &r->write, r->doc, r->before, r->sent, &got, &changed, &err);
    if (r->code >= 300) {
        assert_true(rc != 0);
        return refused(r, &err);
    }
    assert_ok(rc, err);
    char *want = object_text(r, r->returned), *have = object_text(r, got);
    if (strcmp(want, have) != 0)
        fprintf(stderr, "%s:\nwant\n%s\ngot\n%s\n", r->name, want, have);
    return same_managed(r, got) && strcmp(want, have) == 0;
}

static void as_recorded(void **state)
{
    const char *top = getenv("NEAP_TOP");
    char *path = neap_asprintf("%s/" DATA, top ? top : "."), *line = NULL;
    FILE *f = fopen(path, "re");
    thing_fields[2].shape.type =
        neap_type_by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    size_t cap = 0;
    unsigned updates = 0, applies = 0, wrong = 0;
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        struct recorded r;
        if (recorded_init(&r, arena, line)) {
            bool ok = true;
            if (r.apply) {
                applies++;
                ok = an_apply(&r);
            } else if (r.code < 300) {
                updates++;
                ok = an_update(&r);
            }
            if (!ok) {
                fprintf(stderr, "--- differs: %s\n", r.name);
                wrong++;
            }
        }
        neap_arena_free(arena);
    }
    fprintf(stderr, "%u updates, %u applies, %u wrong\n", updates, applies, wrong);
    assert_true(updates > 150);
    assert_true(applies >= 23);
    assert_int_equal(wrong, 0);
    free(line);
    free(path);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
