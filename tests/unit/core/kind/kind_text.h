/* Shared by the tests of core/kind: an object's text through the kind tables. */
#ifndef TEST_KIND_TEXT_H
#define TEST_KIND_TEXT_H

#include "../json/tree.h"
#include <neap/kind.h>

struct decoded {
    struct neap_arena *arena;
    yyjson_mut_doc *doc;
    struct neap_decode_report report;
    struct neap_err err;
};

/* Parses and decodes by <type>; d->err tells. Ended by decoded_done. */
static inline int decoded_init(struct decoded *d, const struct neap_type *type, const char *json)
{
    *d = (struct decoded){.arena = neap_arena_new(TEST_ARENA_MAX)};
    assert_non_null(type);
    d->report.arena = d->arena;
    assert_int_equal(neap_json_parse(d->arena, json, strlen(json), &d->report, &d->doc, &d->err),
                     0);
    return neap_kind_decode(d->doc, d->doc->root, type, NEAP_FV_WARN, &d->report, &d->err);
}

static inline void decoded_done(struct decoded *d)
{
    neap_err_done(&d->err);
    d->arena = neap_arena_free(d->arena);
}

static inline char *decoded_text(struct decoded *d)
{
    return test_text(d->arena, d->doc->root);
}

#endif
