/* Sequences of updates and applies by several managers, and what Kubernetes' own field manager made of them
 * (tests/data/apply.jsonl: one write a line; made at random by a program around its published Go module).
 * NEAP_TEST_APPLY names another file. */
#include "../json/tree.h"
#include <neap/apply.h>

#define DATA "tests/data/apply.jsonl"

struct step {
    struct neap_arena *arena;
    yyjson_mut_doc *doc;
    const struct neap_kind *kind;
    struct neap_apply_write write;
    yyjson_mut_val *live, *new_, *config, *result;
};

static const struct neap_kind *kind_of(yyjson_mut_val *object)
{
    const char *version = neap_json_str_at(object, "apiVersion"), *slash = strchr(version, '/');
    char group[128] = "";
    if (slash)
        memcpy(group, version, (size_t)(slash - version));
    return neap_kind_by_gvk(group, slash ? slash + 1 : version, neap_json_str_at(object, "kind"));
}

static void step_init(struct step *s, struct neap_arena *arena, const char *line)
{
    *s = (struct step){.arena = arena, .doc = test_parse(arena, line)};
    yyjson_mut_val *root = s->doc->root;
    s->kind = kind_of(root);
    assert_non_null(s->kind);
    s->live = yyjson_mut_obj_get(root, "live");
    s->new_ = yyjson_mut_obj_get(root, "new");
    s->config = yyjson_mut_obj_get(root, "config");
    s->result = yyjson_mut_obj_get(root, "result");
    s->write.kind = s->kind;
    s->write.manager = neap_json_str_at(root, "manager");
    s->write.subresource = neap_json_str_at(root, "subresource");
    s->write.force = yyjson_mut_get_bool(yyjson_mut_obj_get(root, "force"));
    s->write.now_ns = yyjson_mut_get_sint(yyjson_mut_obj_get(root, "now")) * 1000000000;
}

static char *canonical(struct step *s, yyjson_mut_val *object)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(s->doc, object);
    assert_ok(neap_kind_decode(s->doc, copy, s->kind->type, NEAP_FV_IGNORE, NULL, &err), err);
    neap_kind_write(&b, copy, s->kind->type);
    return neap_arena_strndup(s->arena, b.data, b.len);
}

/* As neap keeps it: empty lists are null. */
static yyjson_mut_val *stored(struct step *s, yyjson_mut_val *object)
{
    return object ? test_parse(s->arena, canonical(s, object))->root : NULL;
}

static bool same_object(struct step *s, yyjson_mut_val *got)
{
    char *want = canonical(s, s->result), *have = canonical(s, got);
    if (strcmp(want, have) == 0)
        return true;
    fprintf(stderr, "want\n%s\ngot\n%s\n", want, have);
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_lines(char **lines, size_t n)
{
    qsort(lines, n, sizeof(*lines), by_text);
}

/* The causes, in any order: Go walks a map of managers. */
static bool same_causes(struct step *s, const struct neap_err *err)
{
    yyjson_mut_val *causes = yyjson_mut_obj_get(s->doc->root, "causes");
    size_t n = yyjson_mut_arr_size(causes);
    char **want = neap_arena_alloc(s->arena, (n + 1) * sizeof(char *));
    char **have = neap_arena_alloc(s->arena, (n + 1) * sizeof(char *));
    bool same = err->cause_count == n;
    for (size_t i = 0; same && i < n; i++) {
        yyjson_mut_val *c = yyjson_mut_arr_get(causes, i);
        want[i] = neap_arena_printf(s->arena, "%s: %s", neap_json_str_at(c, "field"),
                                    neap_json_str_at(c, "message"));
        have[i] =
            neap_arena_printf(s->arena, "%s: %s", err->causes[i].field, err->causes[i].message);
    }
    if (same) {
        sort_lines(want, n);
        sort_lines(have, n);
    }
    for (size_t i = 0; same && i < n; i++)
        same = strcmp(want[i], have[i]) == 0;
    return same;
}

static bool same_error(struct step *s, const struct neap_err *err)
{
    const char *want = neap_json_str_at(s->doc->root, "error");
    if (want && neap_streq(err->message, want) && same_causes(s, err))
        return true;
    fprintf(stderr, "want error\n%s\ngot\n%s\n", want ? want : "none",
            err->message ? err->message : "none");
    return false;
}

static bool replay(struct step *s)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    yyjson_mut_val *got = NULL;
    s->live = stored(s, s->live);
    if (s->new_) {
        assert_ok(neap_kind_decode(s->doc, s->new_, s->kind->type, NEAP_FV_IGNORE, NULL, &err),
                  err);
        neap_managed_update(s->arena, &s->write, s->doc, s->live, s->new_);
        return same_object(s, s->new_);
    }
    int rc = neap_apply(s->arena, &s->write, s->doc, s->live, s->config, &got, NULL, &err);
    assert_int_equal(rc, err.code);
    return rc || !s->result ? same_error(s, &err) : same_object(s, got);
}

static void as_go_computes(void **state)
{
    const char *top = getenv("NEAP_TOP"), *other = getenv("NEAP_TEST_APPLY");
    char *path = other ? neap_strdup(other) : neap_asprintf("%s/" DATA, top ? top : ".");
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    unsigned count = 0, wrong = 0;
    assert_non_null(f);
    while (getline(&line, &cap, f) > 0) {
        struct neap_arena *arena = neap_arena_new(TEST_ARENA_MAX);
        struct step s;
        step_init(&s, arena, line);
        count++;
        if (!replay(&s)) {
            wrong++;
            fprintf(stderr, "--- line %u differs: %s %s by %s on '%s'\n", count, s.kind->kind,
                    s.new_ ? "update" : "apply", s.write.manager, s.write.subresource);
        }
        neap_arena_free(arena);
    }
    assert_true(count > 100);
    assert_int_equal(wrong, 0);
    free(line);
    free(path);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_go_computes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
