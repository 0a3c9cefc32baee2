/* Strategic merge patch: merge keys, orders, directives. */
#include "kind_text.h"

#define C(list) "{\"containers\":[" list "]}"

static const struct {
    const char *type, *target, *patch, *want; /* NULL: refused */
} facts[] = {
    /* maps merge, null removes, lists without a strategy are replaced */
    {"ObjectMeta", "{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}",
     "{\"labels\":{\"a\":null,\"c\":\"3\"}}", "{\"labels\":{\"b\":\"2\",\"c\":\"3\"}}"},
    {"Container", "{\"args\":[\"a\",\"b\"]}", "{\"args\":[\"c\"]}", "{\"args\":[\"c\"]}"},
    /* lists by merge key */
    {"PodSpec", C("{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\"}"),
     C("{\"name\":\"a\",\"image\":\"2\"},{\"name\":\"c\"}"),
     C("{\"image\":\"2\",\"name\":\"a\"},{\"name\":\"c\"},{\"name\":\"b\"}")},
    {"PodSpec", C("{\"name\":\"a\"}"), C("{\"image\":\"x\"}"), NULL},
    {"PodSpec", C("{\"name\":\"a\",\"ports\":[{\"containerPort\":80}]}"),
     C("{\"name\":\"a\",\"ports\":[{\"containerPort\":80,\"name\":\"h\"},{\"containerPort\":81}]}"),
     C("{\"name\":\"a\",\"ports\":[{\"containerPort\":80,\"name\":\"h\"},{\"containerPort\":81}]"
       "}")},
    /* primitive lists with the merge strategy */
    {"ObjectMeta", "{\"finalizers\":[\"a\",\"b\"]}", "{\"finalizers\":[\"b\",\"c\"]}",
     "{\"finalizers\":[\"a\",\"b\",\"c\"]}"},
    {"ObjectMeta", "{\"finalizers\":[\"a\",\"b\"]}",
     "{\"$deleteFromPrimitiveList/finalizers\":[\"a\",\"x\"]}", "{\"finalizers\":[\"b\"]}"},
    {"ObjectMeta", "{\"finalizers\":[\"a\",\"b\",\"c\",\"d\"]}",
     "{\"$deleteFromPrimitiveList/finalizers\":[\"a\",\"b\",\"d\"]}", "{\"finalizers\":[\"c\"]}"},
    {"ObjectMeta", "{\"finalizers\":[\"a\"]}", "{\"$deleteFromPrimitiveList/finalizers\":\"a\"}",
     NULL},
    /* $patch in list items */
    {"PodSpec", C("{\"name\":\"a\"},{\"name\":\"b\"}"), C("{\"name\":\"a\",\"$patch\":\"delete\"}"),
     C("{\"name\":\"b\"}")},
    {"PodSpec", C("{\"name\":\"a\"}"), C("{\"$patch\":\"delete\"}"), NULL},
    {"PodSpec", C("{\"name\":\"a\"},{\"name\":\"b\"}"),
     C("{\"name\":\"c\"},{\"$patch\":\"replace\"}"), C("{\"name\":\"c\"}")},
    {"PodSpec", C("{\"name\":\"a\"}"), C("{\"name\":\"a\",\"$patch\":\"jump\"}"), NULL},
    /* $patch in maps */
    {"ObjectMeta", "{\"labels\":{\"a\":\"1\"},\"name\":\"n\"}",
     "{\"labels\":{\"$patch\":\"replace\",\"b\":\"2\"}}",
     "{\"labels\":{\"b\":\"2\"},\"name\":\"n\"}"},
    {"ObjectMeta", "{\"labels\":{\"a\":\"1\"}}", "{\"labels\":{\"$patch\":\"delete\"}}",
     "{\"labels\":{}}"},
    {"ObjectMeta", "{\"name\":\"n\"}", "{\"labels\":{\"$patch\":\"merge\",\"b\":\"2\"}}",
     "{\"labels\":{\"b\":\"2\"},\"name\":\"n\"}"},
    {"ObjectMeta", "{}", "{\"labels\":{\"a\":\"1\"},\"$patch\":\"what\"}", NULL},
    /* $retainKeys */
    {"PodSpec", "{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}",
     "{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/"
     "x\"},\"$retainKeys\":[\"name\",\"hostPath\"]}]}",
     "{\"volumes\":[{\"hostPath\":{\"path\":\"/x\"},\"name\":\"v\"}]}"},
    {"PodSpec", "{\"volumes\":[{\"name\":\"v\"}]}",
     "{\"volumes\":[{\"name\":\"v\",\"hostPath\":{},\"$retainKeys\":[\"name\"]}]}", NULL},
    {"PodSpec", "{\"nodeName\":\"n\"}", "{\"$retainKeys\":\"nodeName\"}", NULL},
    /* $setElementOrder */
    {"PodSpec", C("{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}"),
     "{\"$setElementOrder/containers\":[{\"name\":\"c\"},{\"name\":\"a\"},{\"name\":\"b\"}],"
     "\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}",
     C("{\"name\":\"c\"},{\"image\":\"i\",\"name\":\"a\"},{\"name\":\"b\"}")},
    {"PodSpec", C("{\"name\":\"a\"},{\"name\":\"b\"}"),
     "{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}",
     C("{\"name\":\"b\"},{\"name\":\"a\"}")},
    {"PodSpec", C("{\"name\":\"a\"}"), "{\"$setElementOrder/containers\":7}", NULL},
    {"ObjectMeta", "{\"finalizers\":[\"a\",\"b\"]}",
     "{\"$setElementOrder/finalizers\":[\"b\",\"a\"],\"finalizers\":[\"b\"]}",
     "{\"finalizers\":[\"b\",\"a\"]}"},
    /* what is new carries no directives */
    {"PodSpec", "{}",
     C("{\"name\":\"a\",\"$patch\":\"merge\"},{\"name\":\"b\",\"$patch\":\"delete\"}"),
     C("{\"name\":\"a\"}")},
    /* not an object */
    {"PodSpec", "{}", "[]", NULL},
    {"PodSpec", "{}", "null", "{}"}, /* nothing to change */
    /* what is added stands in the order asked for */
    {"PodSpec", C("{\"name\":\"a\"}"),
     "{\"$setElementOrder/containers\":[{\"name\":\"z\"}],\"containers\":[{\"name\":\"q\"}]}",
     NULL},
    /* types differ: the patch wins */
    {"ObjectMeta", "{\"labels\":\"text\"}", "{\"labels\":{\"a\":\"1\"}}",
     "{\"labels\":{\"a\":\"1\"}}"},
    {"PodSpec", C("{\"name\":\"a\"}"), "{\"containers\":\"x\"}", "{\"containers\":\"x\"}"},
    {"PodSpec", C("{\"name\":\"a\"}"), "{\"containers\":[\"x\"]}", NULL},
    {"ObjectMeta", "{\"finalizers\":[\"a\"]}", "{\"finalizers\":[[\"x\"]]}", NULL},
};

static void cases(void **state)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        bool meta = strcmp(facts[i].type, "ObjectMeta") == 0;
        char *name =
            neap_arena_printf(arena, "io.k8s.%s.v1.%s",
                              meta ? "apimachinery.pkg.apis.meta" : "api.core", facts[i].type);
        yyjson_mut_doc *doc = test_parse(arena, facts[i].target);
        yyjson_mut_val *target = doc->root;
        int rc = neap_patch_strategic(doc, &target, test_parse(arena, facts[i].patch)->root,
                                      neap_type_by_name(name), &err);
        const char *got = rc ? "(refused)" : test_text(arena, target);
        assert_int_equal(rc, err.code);
        if (strcmp(got, facts[i].want ? facts[i].want : "(refused)") != 0)
            fail_msg("%s + %s\n  want %s\n  got  %s %s", facts[i].target, facts[i].patch,
                     facts[i].want ? facts[i].want : "(refused)", got, rc ? err.message : "");
        neap_arena_free(arena);
    }
}

/* Applied twice, a patch without directives changes nothing more. */
static void idempotent(void **state)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(facts); i++) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        if (!facts[i].want || strchr(facts[i].patch, '$') || *facts[i].patch != '{')
            continue;
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        bool meta = strcmp(facts[i].type, "ObjectMeta") == 0;
        char *name =
            neap_arena_printf(arena, "io.k8s.%s.v1.%s",
                              meta ? "apimachinery.pkg.apis.meta" : "api.core", facts[i].type);
        yyjson_mut_doc *doc = test_parse(arena, facts[i].want);
        yyjson_mut_val *target = doc->root;
        assert_ok(neap_patch_strategic(doc, &target, test_parse(arena, facts[i].patch)->root,
                                       neap_type_by_name(name), &err),
                  err);
        assert_string_equal(test_text(arena, target), facts[i].want);
        neap_arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cases), cmocka_unit_test(idempotent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
