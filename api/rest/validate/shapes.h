/* Values as the real server's own types print them, and what differs between two. */
#ifndef NEAP_API_REST_VALIDATE_SHAPES_H
#define NEAP_API_REST_VALIDATE_SHAPES_H

#include "validate.h"

struct rest_shape_row {
    const char *name, *fields;
};
extern const struct rest_shape_row rest_shapes[]; /* sorted by name */
extern const size_t rest_shape_count;

/* Appends <value> as <type> prints; <indent>: one line a field, as Go's MarshalIndent with " ". */
void rest_show_go(struct neap_buf *out, json *value, const char *type, bool indent);
/* Appends what differs between two texts as a unified diff with three lines of context (diff.c). */
void rest_diff(struct neap_buf *out, const char *a, const char *b);

#endif
