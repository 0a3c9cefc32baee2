/* Cells of a Table that are more than one value of the object. One function a cell, named in api/kinds
 * (`cell: pod-status`), in files by group. */
#ifndef NEAP_API_REST_CELLS_H
#define NEAP_API_REST_CELLS_H

#include <neap/kind.h>

struct rest_cell_context {
    int64_t now_wall_ns;
};
/* Appends the cell's JSON value. */
typedef void (*rest_cell_fn)(const struct rest_cell_context *x, yyjson_val *root,
                             struct neap_buf *out);
struct rest_cell {
    const char *name;
    rest_cell_fn write;
};
/* Each file's table, ended by a NULL name. */
extern const struct rest_cell rest_cells_pods[], rest_cells_core[], rest_cells_apps[],
    rest_cells_policy[], rest_cells_events[], rest_cells_networking[], rest_cells_storage[],
    rest_cells_admission[];
/* NULL: no such cell. */
rest_cell_fn rest_cell_by_name(const char *name);

/* ---- helpers ---- */
yyjson_val *cell_at(yyjson_val *root, const char *path);
const char *cell_str(yyjson_val *root, const char *path); /* "" when absent */
int64_t cell_int(yyjson_val *root, const char *path);
void cell_text(struct neap_buf *out, const char *s);    /* a JSON string */
void cell_or(struct neap_buf *out, const char *s, const char *dflt);
/* "5m", "3d4h": how long ago, as kubectl shows; "<unknown>" for no time. */
void cell_age(const struct rest_cell_context *x, const char *time, struct neap_buf *out);
void cell_duration(int64_t seconds, char out[32]);
/* "a=b,c=d" of a map, or "<none>". */
void cell_labels(struct neap_buf *text, yyjson_val *map);
/* A label selector as text. */
void cell_selector(struct neap_buf *text, yyjson_val *selector);

#endif
