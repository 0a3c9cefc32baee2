/* Shared inside core/kind. */
#ifndef NEAP_CORE_KIND_INTERNAL_H
#define NEAP_CORE_KIND_INTERNAL_H

#include <neap/clock.h>
#include <neap/kind.h>

/* Where a value stands: linked on the C stack while a tree is walked. */
struct kind_path {
    const struct kind_path *up;
    const char *name; /* field or map key; NULL: a list index */
    size_t name_len;
    size_t index;
    bool key; /* a map key: written as [key] in field paths of validation */
};
/* "spec.containers[0].name": field paths of causes and of unknown fields. */
void neap_kind_path_write(const struct kind_path *p, struct neap_buf *out, bool map_brackets);
/* "spec.containers.name": as Go's decoder names a field. */
void neap_kind_path_write_go(const struct kind_path *p, struct neap_buf *out);

/* One scalar, in place. 0 or NEAP_EBADREQUEST with the real server's words. */
int neap_kind_scalar(yyjson_mut_doc *doc, yyjson_mut_val *v, enum neap_value_type t, bool milli,
                     bool *wrong_type, struct neap_err *err);
/* Rounded up to thousandths first (ResourceList). */
bool neap_kind_quantity_format_milli(struct neap_buf *out, const char *s, size_t len);
bool neap_kind_quantity_is_syntax(const char *s, size_t len);

/* Go's "1h2m0.5s". */
bool neap_kind_duration_parse(const char *s, int64_t *ret_ns);

/* Standard base64 with padding. */
void neap_kind_base64(struct neap_buf *out, const unsigned char *s, size_t len);

static inline yyjson_mut_val *kind_key(yyjson_mut_doc *doc, const char *name)
{
    return yyjson_mut_str(doc, name); /* names of tables live for ever */
}

#endif
