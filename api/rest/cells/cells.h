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
/* The cell of a column that is one value of the object. */
void rest_cell_path(const struct rest_cell_context *x, const struct neap_column *column,
                    yyjson_val *root, struct neap_buf *out);

/* Opens a cell function. */
#define CELL(fn)                                                                                   \
    static void fn(const struct rest_cell_context *x __attribute__((unused)), yyjson_val *root,    \
                   struct neap_buf *out)

/* ---- helpers ---- */
yyjson_val *cell_at(yyjson_val *root, const char *path);
const char *cell_str(yyjson_val *root, const char *path); /* "" when absent */
int64_t cell_int(yyjson_val *root, const char *path);
void cell_text(struct neap_buf *out, const char *s); /* a JSON string */
void cell_or(struct neap_buf *out, const char *s, const char *dflt);
/* The text as a JSON string, <dflt> when empty; releases <text>. */
void cell_take(struct neap_buf *out, struct neap_buf *text, const char *dflt);
/* Appends what is not empty in a list of strings, or of objects with such a <field>, with <sep> between. */
void cell_join(struct neap_buf *text, yyjson_val *list, const char *field, const char *sep);
/* A load balancer's addresses: IP, else host name; sorted, each once, comma-separated. */
void cell_addresses(struct neap_buf *text, yyjson_val *ingress);
/* The list item whose field "type" is <type>; NULL: none. */
yyjson_val *cell_by_type(yyjson_val *list, const char *type);
/* "5m", "3d4h": how long ago, as kubectl shows; "<unknown>" for no time. */
void cell_age(const struct rest_cell_context *x, const char *time, struct neap_buf *out);
void cell_duration(int64_t seconds, char out[32]);
/* "a=b,c=d" of a map, or "<none>". */
void cell_labels(struct neap_buf *text, yyjson_val *map);
/* A label selector as text, its requirements sorted by key; "<none>" when empty. */
void cell_selector(struct neap_buf *text, yyjson_val *selector);

#endif
