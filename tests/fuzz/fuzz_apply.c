/* Server-side apply: up to three JSON texts, one a line: what is there, what is applied, and what an update
 * sends. Sets of fields that come out are read again as the same sets; applying again works. */
#include "fuzz.h"
#include <neap/apply.h>

enum { LIVE, CONFIG, UPDATE, TEXTS };

static void check_sets(struct neap_arena *arena, yyjson_mut_doc *doc, yyjson_mut_val *object)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(
        yyjson_mut_obj_get(yyjson_mut_obj_get(object, "metadata"), "managedFields"));
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));) {
        struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
        struct neap_fields *set, *again;
        int rc = neap_fields_parse(arena, yyjson_mut_obj_get(e, "fieldsV1"), &set, &err);
        if (neap_arena_exhausted(arena))
            return;
        FUZZ_CHECK(rc == 0 && !neap_fields_empty(set));
        rc = neap_fields_parse(arena, neap_fields_value(set, doc), &again, &err);
        if (neap_arena_exhausted(arena))
            return;
        FUZZ_CHECK(rc == 0 && neap_fields_equal(set, again));
        FUZZ_CHECK(neap_fields_empty(neap_fields_difference(arena, set, again)));
    }
}

static yyjson_mut_val *canonical(struct neap_arena *arena, const struct neap_kind *k,
                                 yyjson_mut_doc *doc, yyjson_mut_val *object)
{
    struct neap_buf text NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(doc, object);
    if (!yyjson_mut_is_obj(copy) ||
        neap_kind_decode(doc, copy, k->type, NEAP_FV_IGNORE, NULL, NULL) != 0 ||
        neap_arena_exhausted(arena))
        return NULL;
    neap_kind_write(&text, copy, k->type);
    yyjson_mut_doc *parsed = fuzz_json(arena, text.data, text.len);
    return parsed ? yyjson_mut_doc_get_root(parsed) : NULL;
}

static yyjson_mut_val *apply(struct neap_arena *arena, const struct neap_apply_write *w,
                             yyjson_mut_doc *doc, yyjson_mut_val *live, yyjson_mut_val *config)
{
    struct neap_err err NEAP_CLEANUP_ERR = NEAP_ERR_INIT;
    yyjson_mut_val *ret = NULL;
    int rc = neap_apply(arena, w, doc, live, config, &ret, NULL, &err);
    FUZZ_CHECK(rc == err.code && (rc != 0 || yyjson_mut_is_obj(ret)));
    if (rc)
        return NULL;
    check_sets(arena, doc, ret);
    return ret;
}

static void through(struct neap_arena *arena, yyjson_mut_val *text[TEXTS])
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(neap_arena_alc(arena));
    const struct neap_kind *k = fuzz_kind_of(text[CONFIG] ? text[CONFIG] : text[LIVE]);
    struct neap_apply_write w = {.kind = k, .manager = "fuzz", .now_ns = 1600000000000000000};
    yyjson_mut_val *live = doc && text[LIVE] ? canonical(arena, k, doc, text[LIVE]) : NULL;
    if (!doc)
        return;
    if (text[CONFIG]) {
        yyjson_mut_val *first;
        apply(arena, &w, doc, live, text[CONFIG]);
        w.force = true;
        first = apply(arena, &w, doc, live, text[CONFIG]);
        first = first ? canonical(arena, k, doc, first) : NULL;
        if (first && !neap_arena_exhausted(arena))
            apply(arena, &w, doc, first, text[CONFIG]);
    }
    if (yyjson_mut_is_obj(text[UPDATE]) &&
        neap_kind_decode(doc, text[UPDATE], k->type, NEAP_FV_IGNORE, NULL, NULL) == 0 &&
        !neap_arena_exhausted(arena)) {
        neap_managed_update(arena, &w, doc, live, text[UPDATE]);
        check_sets(arena, doc, text[UPDATE]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neap_arena *arena = neap_arena_new(FUZZ_ARENA_MAX);
    yyjson_mut_val *text[TEXTS] = {NULL};
    for (int i = 0; i < TEXTS && size; i++) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t len = end ? (size_t)(end - data) : size;
        char *json = fuzz_copy(data, len);
        yyjson_mut_doc *doc = fuzz_json(arena, json, len);
        text[i] = doc ? yyjson_mut_doc_get_root(doc) : NULL;
        free(json);
        data += len;
        size -= len;
        if (size) {
            data++;
            size--;
        }
    }
    through(arena, text);
    neap_arena_free(arena);
    return 0;
}
