/* managedFields: what a write makes of them beside the sets themselves. */
#include "../json/tree.h"
#include <neap/apply.h>

static const int64_t SECOND = 1000000000;

struct object {
    struct neap_arena *arena;
    yyjson_mut_doc *doc;
    yyjson_mut_val *live;
    int64_t now;
};

static void object_init(struct object *o)
{
    *o = (struct object){.arena = neap_arena_new(TEST_ARENA_MAX), .now = 1000};
    o->doc = yyjson_mut_doc_new(neap_arena_alc(o->arena));
}

static void object_done(struct object *o)
{
    o->arena = neap_arena_free(o->arena);
}

static struct neap_apply_write write_by(struct object *o, const char *manager, const char *sub)
{
    return (struct neap_apply_write){.kind = neap_kind_by_gvk("", "v1", "ConfigMap"),
                                     .manager = manager,
                                     .subresource = sub,
                                     .now_ns = o->now * SECOND};
}

/* A write of <data>; managedFields are kept as a client does that sends what it got. */
static void update(struct object *o, const char *manager, const char *data)
{
    char *text = neap_arena_printf(o->arena,
                                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"
                                   "\"name\":\"c\"%s},\"data\":%s}",
                                   o->live ? ",\"uid\":\"u\"" : "", data);
    yyjson_mut_val *new_ = test_parse(o->arena, text)->root;
    yyjson_mut_val *old =
        yyjson_mut_obj_get(yyjson_mut_obj_get(o->live, "metadata"), "managedFields");
    struct neap_apply_write w = write_by(o, manager, "");
    if (old)
        yyjson_mut_obj_add_val(o->doc, yyjson_mut_obj_get(new_, "metadata"), "managedFields",
                               yyjson_mut_val_mut_copy(o->doc, old));
    neap_managed_update(o->arena, &w, o->doc, o->live, new_);
    o->live = new_;
    if (!neap_json_str_at(new_, "metadata.uid"))
        neap_json_set_at(o->doc, new_, "metadata.uid", yyjson_mut_str(o->doc, "u"));
}

static int apply(struct object *o, const char *manager, const char *config, bool force,
                 struct neap_err *err)
{
    struct neap_apply_write w = write_by(o, manager, "");
    yyjson_mut_val *ret = NULL;
    w.force = force;
    int rc = neap_apply(o->arena, &w, o->doc, o->live, test_parse(o->arena, config)->root, &ret,
                        NULL, err);
    if (rc)
        return rc;
    o->live = ret;
    neap_json_set_at(o->doc, ret, "metadata.uid", yyjson_mut_str(o->doc, "u"));
    return 0;
}

/* "manager operation seconds fields" a line. */
static char *shown(struct object *o)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_val *list =
        yyjson_mut_obj_get(yyjson_mut_obj_get(o->live, "metadata"), "managedFields");
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(list);
    neap_buf_append(&b, "", 0);
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        const char *time = neap_json_str_at(e, "time");
        char *fields = yyjson_mut_val_write(yyjson_mut_obj_get(e, "fieldsV1"), 0, NULL);
        neap_buf_printf(&b, "%s %s %s %s\n", neap_json_str_at(e, "manager"),
                        neap_json_str_at(e, "operation"), time ? time + 17 : "-", fields);
        free(fields);
    }
    return neap_arena_strdup(o->arena, b.data);
}

static void ownership_moves(void **state)
{
    struct object o;
    object_init(&o);
    update(&o, "", "{\"a\":\"1\",\"b\":\"1\"}");
    assert_string_equal(shown(&o),
                        "unknown Update 40Z {\"f:data\":{\".\":{},\"f:a\":{},\"f:b\":{}}}\n");
    o.now += 1;
    update(&o, "two", "{\"a\":\"2\",\"b\":\"1\"}");
    assert_string_equal(shown(&o), "unknown Update 40Z {\"f:data\":{\".\":{},\"f:b\":{}}}\n"
                                   "two Update 41Z {\"f:data\":{\"f:a\":{}}}\n");
    o.now += 1; /* nothing changes: no entry, no time */
    update(&o, "three", "{\"a\":\"2\",\"b\":\"1\"}");
    update(&o, "two", "{\"a\":\"2\",\"b\":\"1\"}");
    assert_string_equal(shown(&o), "unknown Update 40Z {\"f:data\":{\".\":{},\"f:b\":{}}}\n"
                                   "two Update 41Z {\"f:data\":{\"f:a\":{}}}\n");
    update(&o, "three", "{\"b\":\"1\"}"); /* a removal is nobody's */
    assert_string_equal(shown(&o), "unknown Update 40Z {\"f:data\":{\".\":{},\"f:b\":{}}}\n");
    object_done(&o);
}

static void sent(struct object *o, const char *managed, bool forget, const char *sub)
{
    char *text = neap_arena_printf(
        o->arena,
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\","
        "\"uid\":\"u\"%s%s},\"data\":{\"a\":\"1\"}}",
        *managed ? ",\"managedFields\":" : "", managed);
    yyjson_mut_val *new_ = test_parse(o->arena, text)->root;
    struct neap_apply_write w = write_by(o, "m", sub);
    w.forget = forget;
    neap_managed_update(o->arena, &w, o->doc, o->live, new_);
    o->live = new_;
}

/* What clients send as managedFields. */
static void client_managed(void **state)
{
    static const char entry[] = "one Update 40Z {\"f:data\":{\".\":{},\"f:a\":{}}}\n";
    static const char *const junk[] = {
        "[{\"manager\":\"x\",\"operation\":\"Patch\",\"apiVersion\":\"v1\",\"fieldsType\":"
        "\"FieldsV1\"}]",
        "[{\"manager\":\"x\",\"operation\":\"Update\",\"fieldsType\":\"FieldsV1\"}]",
        "[{\"manager\":\"x\",\"operation\":\"Update\",\"apiVersion\":\"v1\"}]",
        "[{\"manager\":\"x\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":"
        "\"FieldsV2\"}]",
        "[{\"manager\":\"x\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":"
        "\"FieldsV1\","
        "\"fieldsV1\":{\"x\":{}}}]",
        "[{},{}]",
        "",
    };
    struct object o;
    object_init(&o);
    update(&o, "one", "{\"a\":\"1\"}");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(junk); i++) {
        sent(&o, junk[i], false, "");
        assert_string_equal(shown(&o), entry);
    }
    sent(&o, "[{}]", false, "status"); /* not by way of a subresource */
    assert_string_equal(shown(&o), entry);
    /* good ones are taken over; of a version that there is not they go */
    sent(&o,
         "[{\"manager\":\"x\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"fieldsType\":"
         "\"FieldsV1\","
         "\"fieldsV1\":{\"f:data\":{\"f:a\":{}}}},{\"manager\":\"y\",\"operation\":\"Update\","
         "\"apiVersion\":"
         "\"v9\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\"f:a\":{}}}}]",
         false, "");
    assert_string_equal(shown(&o), "x Apply - {\"f:data\":{\"f:a\":{}}}\n");
    sent(&o, "[{}]", false, "");
    assert_string_equal(shown(&o), "");
    update(&o, "one", "{\"a\":\"2\"}"); /* nobody owns anything until somebody applies */
    assert_string_equal(shown(&o), "");
    object_done(&o);

    object_init(&o);
    update(&o, "one", "{\"a\":\"1\"}");
    sent(&o, "", true, "");
    assert_string_equal(shown(&o), "");
    object_done(&o);
}

/* More than ten who update: the oldest become one. */
static void capped(void **state)
{
    struct object o;
    struct neap_buf data NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    object_init(&o);
    for (unsigned i = 0; i < 13; i++, o.now++) {
        neap_buf_printf(&data, "%c\"k%u\":\"1\"", i ? ',' : '{', i);
        update(&o, neap_arena_printf(o.arena, "m%u", i),
               neap_arena_printf(o.arena, "%s}", data.data));
    }
    char *text = shown(&o);
    assert_true(neap_startswith(
        text,
        "ancient-changes Update 43Z {\"f:data\":{\".\":{},\"f:k0\":{},\"f:k1\":{},\"f:k2\":{},"
        "\"f:k3\":{}}}\nm4 Update 44Z {\"f:data\":{\"f:k4\":{}}}\n"));
    assert_non_null(strstr(text, "m12 Update 52Z {\"f:data\":{\"f:k12\":{}}}\n"));
    unsigned lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    assert_int_equal(lines, NEAP_APPLY_UPDATERS_MAX);
    object_done(&o);
}

#define CONFIG(data)                                                                               \
    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":" data "}"

static void applied(void **state)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct object o;
    object_init(&o);
    o.live =
        test_parse(o.arena,
                   "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c\","
                   "\"uid\":\"u\"},\"data\":{\"a\":\"1\",\"z\":\"1\"}}")
            ->root;
    /* an object that nobody owns: who was before is told apart */
    assert_ok(apply(&o, "one", CONFIG("{\"a\":\"1\",\"b\":\"1\"}"), false, &err), err);
    assert_string_equal(
        shown(&o), "one Apply 40Z {\"f:data\":{\"f:a\":{},\"f:b\":{}}}\n"
                   "before-first-apply Update 40Z {\"f:data\":{\".\":{},\"f:a\":{},\"f:z\":{}}}\n");
    o.now++; /* the same again changes no time */
    assert_ok(apply(&o, "one", CONFIG("{\"a\":\"1\",\"b\":\"1\"}"), false, &err), err);
    assert_non_null(strstr(shown(&o), "one Apply 40Z"));
    /* what is applied no more goes, unless somebody else owns it */
    assert_ok(apply(&o, "one", CONFIG("{}"), false, &err), err);
    assert_string_equal(test_text(o.arena, yyjson_mut_obj_get(o.live, "data")),
                        "{\"a\":\"1\",\"z\":\"1\"}");
    assert_int_equal(apply(&o, "two", CONFIG("{\"z\":\"2\"}"), false, &err), NEAP_ECONFLICT);
    assert_string_equal(err.message,
                        "Apply failed with 1 conflict: conflict with \"before-first-apply\" "
                        "using v1: .data.z");
    assert_int_equal(err.cause_count, 1);
    assert_string_equal(err.causes[0].reason, "FieldManagerConflict");
    assert_string_equal(err.causes[0].field, ".data.z");
    assert_string_equal(err.causes[0].message, "conflict with \"before-first-apply\" using v1");
    assert_ok(apply(&o, "two", CONFIG("{\"z\":\"2\"}"), true, &err), err);
    assert_non_null(strstr(shown(&o), "two Apply 41Z {\"f:data\":{\"f:z\":{}}}\n"));
    object_done(&o);
}

/* kubectl takes over what it applied from the client's side, and keeps that annotation. */
static void from_the_client_side(void **state)
{
    static const char live[] =
        "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c\",\"uid\":\"u\","
        "\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":"
        "\"{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":\\\"ConfigMap\\\",\\\"metadata\\\":{"
        "\\\"name\\\":\\\"c\\\"},"
        "\\\"data\\\":{\\\"a\\\":\\\"1\\\"}}\"},\"managedFields\":[{\"manager\":\"kubectl-client-"
        "side-apply\","
        "\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{"
        "\"f:data\":{"
        "\".\":{},\"f:a\":{},\"f:z\":{}}}}]},\"data\":{\"a\":\"1\",\"z\":\"1\"}}";
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct object o;
    object_init(&o);
    o.live = test_parse(o.arena, live)->root;
    assert_int_equal(apply(&o, "other", CONFIG("{\"a\":\"2\"}"), false, &err), NEAP_ECONFLICT);
    assert_int_equal(apply(&o, "kubectl", CONFIG("{\"a\":\"2\",\"z\":\"2\"}"), false, &err),
                     NEAP_ECONFLICT); /* z it did not apply */
    assert_int_equal(err.cause_count, 1);
    assert_string_equal(err.causes[0].field, ".data.z");
    assert_ok(apply(&o, "kubectl", CONFIG("{\"a\":\"2\"}"), false, &err), err);
    yyjson_mut_val *annotations =
        yyjson_mut_obj_get(yyjson_mut_obj_get(o.live, "metadata"), "annotations");
    assert_string_equal(
        yyjson_mut_get_str(
            yyjson_mut_obj_get(annotations, "kubectl.kubernetes.io/last-applied-configuration")),
        "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{"
        "\"name\":\"c\"}}\n");
    object_done(&o);
}

/* Configurations that do not fit. */
static void refused(void **state)
{
#define POD(rest) "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"" rest "}"
#define TYPED     "failed to create typed patch object (/p; /v1, Kind=Pod): "
    static const struct {
        const char *config;
        int code;
        const char *message;
    } rows[] = {
        {"{\"apiVersion\":\"v2\",\"kind\":\"Pod\"}", NEAP_EBADREQUEST,
         "invalid object type: /v2, Kind=Pod"},
        {"{\"apiVersion\":\"apps/v1\",\"kind\":\"X\"}", NEAP_EBADREQUEST,
         "invalid object type: apps/v1, Kind=X"},
        {POD(",\"managedFields\":[]}"), NEAP_EBADREQUEST, "metadata.managedFields must be nil"},
        {POD("},\"specs\":{}"), NEAP_EPLAIN, TYPED ".specs: field not declared in schema"},
        {POD("},\"spec\":[]"), NEAP_EPLAIN, NULL},
        {POD("},\"spec\":{\"containers\":{\"a\":[1,{\"c\":null}]}}"), NEAP_EPLAIN,
         TYPED ".spec.containers: expected list, got &{map[a:[1 map[c:<nil>]]]}"},
        {POD("},\"spec\":{\"nodeName\":{\"b\":1,\"a\":[\"x\",null]}}"), NEAP_EPLAIN,
         TYPED
         ".spec.nodeName: expected string, got &value.valueUnstructured{Value:map[string]interface "
         "{}{\"a\":[]interface {}{\"x\", interface {}(nil)}, \"b\":1}}"},
        {POD("},\"spec\":{\"imagePullSecrets\":[{},{}]}"), NEAP_EPLAIN,
         TYPED ".spec.imagePullSecrets: duplicate entries for key [name=\"\"]"},
        {POD("},\"spec\":{\"containers\":[null]}"), NEAP_EPLAIN,
         TYPED
         ".spec.containers: element 0: associative list with keys may not have a null element"},
        {POD("},\"spec\":{\"containers\":[1]}"), NEAP_EPLAIN,
         TYPED
         ".spec.containers: element 0: associative list with keys may not have non-map elements"},
        {POD("},\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"a\"}]}"), NEAP_EPLAIN,
         TYPED ".spec.containers: duplicate entries for key [name=\"a\"]"},
        {POD("},\"spec\":{\"priority\":\"x\",\"hostIPC\":1}"), NEAP_EPLAIN,
         TYPED "errors:\n  .spec.hostIPC: expected boolean, got &{1}\n  .spec.priority: expected "
               "numeric (int or "
               "float), got string"},
        {POD(",\"finalizers\":[\"a\",\"a\"]}"), NEAP_EPLAIN,
         TYPED ".metadata.finalizers: duplicate entries for key [=\"a\"]"},
        {POD(",\"finalizers\":[[]]}"), NEAP_EPLAIN,
         TYPED
         ".metadata.finalizers: element 0: not supported: associative list with lists as elements"},
        {"[]", NEAP_EBADREQUEST, NULL},
        {"null", NEAP_EBADREQUEST, NULL},
    };
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        struct object o;
        yyjson_mut_val *ret;
        object_init(&o);
        struct neap_apply_write w = write_by(&o, "m", NULL);
        w.kind = neap_kind_by_gvk("", "v1", "Pod");
        int rc = neap_apply(o.arena, &w, o.doc, NULL, test_parse(o.arena, rows[i].config)->root,
                            &ret, NULL, &err);
        if (rc != rows[i].code || err.code != rc)
            fail_msg("%s: %d %s", rows[i].config, rc, err.message ? err.message : "");
        if (rows[i].message)
            assert_string_equal(err.message, rows[i].message);
        object_done(&o);
    }
}

/* Every arena that is too small ends the work, and hurts nothing. */
static void bounded(void **state)
{
    static const char config[] = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{"
                                 "\"name\":\"c\",\"finalizers\":[\"b\",\"a\"]},"
                                 "\"data\":{\"a\":\"1\",\"b\":\"2\"}}";
    struct neap_arena *big = neap_arena_new(TEST_ARENA_MAX);
    yyjson_mut_val *config_value = test_parse(big, config)->root;
    bool done = false;
    for (size_t limit = 256; limit < 1u << 20 && !done; limit += 256) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        struct neap_arena *arena = neap_arena_new(limit);
        yyjson_mut_doc *doc = yyjson_mut_doc_new(neap_arena_alc(arena));
        struct neap_apply_write w = {.kind = neap_kind_by_gvk("", "v1", "ConfigMap"),
                                     .manager = "m"};
        yyjson_mut_val *ret;
        int rc =
            doc ? neap_apply(arena, &w, doc, NULL, config_value, &ret, NULL, &err) : NEAP_ETOOLARGE;
        assert_true(rc == 0 || rc == NEAP_ETOOLARGE);
        done = rc == 0;
        neap_arena_free(arena);
    }
    assert_true(done);
    neap_arena_free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ownership_moves),
        cmocka_unit_test(client_managed),
        cmocka_unit_test(capped),
        cmocka_unit_test(applied),
        cmocka_unit_test(from_the_client_side),
        cmocka_unit_test(refused),
        cmocka_unit_test(bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
