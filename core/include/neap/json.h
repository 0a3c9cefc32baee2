/* JSON and YAML: bounded parsing, trees, patches. yyjson does the work; this adds limits, duplicate
 * keys, paths, and Kubernetes' words. thread: any; one document at a time. */
#ifndef NEAP_JSON_H
#define NEAP_JSON_H

#include <neap/arena.h>
#include <neap/buf.h>
#include <neap/err.h>
#include <yyjson.h>

/* What decoding saw beside errors: texts of unknown and duplicate fields for Warning headers or the
 * strict error. */
struct neap_decode_report {
    char *unknown[64];
    yyjson_mut_val
        *key[64]; /* of a duplicate: its key; neap_kind_decode puts it in document order */
    unsigned count;
    struct neap_arena *arena;
};

/* Parses <json> (bounded depth NEAP_JSON_DEPTH_MAX, duplicate keys noticed; the last one wins) into a
 * mutable document in <arena>. errors: NEAP_EBADREQUEST with place, NEAP_ETOOLARGE. */
#define NEAP_JSON_DEPTH_MAX 256
int neap_json_parse(struct neap_arena *arena, const char *json, size_t len,
                    struct neap_decode_report *report, yyjson_mut_doc **ret, struct neap_err *err);
/* Drops all but the last of equal keys, everywhere below <root>, and tells <report> (may be NULL). For
 * trees that were built by adding; their depth must be bounded. */
void neap_json_dedupe(struct neap_decode_report *report, yyjson_mut_val *root);
/* YAML by libyaml's event API into the same document: aliases copied and bounded by the arena, plain
 * scalars resolved as Kubernetes' library does (YAML 1.1: yes, on and 0o7 count). One document. */
int neap_yaml_parse(struct neap_arena *arena, const char *yaml, size_t len,
                    struct neap_decode_report *report, yyjson_mut_doc **ret, struct neap_err *err);

/* Writes any value with the keys of objects sorted by bytes, numbers verbatim, no spaces. */
void neap_json_write_sorted(struct neap_buf *out, yyjson_mut_val *v);
/* As Go's %v prints it: map[a:1 b:[x y]]. */
void neap_json_write_go(struct neap_buf *out, yyjson_mut_val *v);
/* One number as Go writes it. */
void neap_json_write_number(struct neap_buf *out, yyjson_mut_val *v);
/* The same value as block-style YAML with sorted keys. */
void neap_yaml_write(struct neap_buf *out, yyjson_mut_val *v);
/* "object", "array", "string", "number", "bool", "null": Go's words. */
const char *neap_json_type_name(yyjson_mut_val *v);

/* ---- patches: <target> is changed in place or replaced ------------------------------------- */
int neap_patch_json(yyjson_mut_doc *doc, yyjson_mut_val **target, yyjson_mut_val *patch,
                    size_t copy_max, struct neap_err *err); /* RFC 6902 */
int neap_patch_merge(yyjson_mut_doc *doc, yyjson_mut_val **target, yyjson_mut_val *patch,
                     struct neap_err *err); /* RFC 7386 */

/* ---- trees -------------------------------------------------------------------------------- */
/* Value at a dotted path ("spec.template.spec"); NULL: absent. No lists on the way. */
yyjson_mut_val *neap_json_at(yyjson_mut_val *root, const char *path);
yyjson_val *neap_json_val_at(yyjson_val *root, const char *path);
const char *neap_json_str_at(yyjson_mut_val *root,
                             const char *path); /* NULL: absent or no string */
const char *neap_json_val_str_at(yyjson_val *root, const char *path);
/* Makes the objects on the way. <value> is linked, not copied. NULL removes the last key. */
bool neap_json_set_at(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *path,
                      yyjson_mut_val *value);
bool neap_json_equal(yyjson_mut_val *a, yyjson_mut_val *b);
/* Removes the current item of a list that is walked. yyjson 0.10's own function skips the item behind. */
static inline void neap_json_iter_remove(yyjson_mut_arr_iter *it)
{
    yyjson_mut_arr_iter_remove(it);
    it->cur = it->pre;
}

#endif
