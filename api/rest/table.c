/* Tables: what `kubectl get` asks for. Rows carry cells by the kind's columns and, unless asked otherwise, the
 * object's metadata. Source: meta.k8s.io/v1 Table. */
#include "cells/cells.h"
#include "internal.h"

const char *rest_table_include(const struct neap_call *c)
{
    const char *v = neap_wire_query_get(c->arena, c->query, "includeObject");
    return v && *v ? v : "Metadata";
}

int rest_table_check(struct neap_call *c, struct neap_err *err)
{
    const char *v = rest_table_include(c);
    if (strcmp(v, "Metadata") == 0 || strcmp(v, "Object") == 0 || strcmp(v, "None") == 0)
        return 0;
    return neap_err_set(err, NEAP_EBADREQUEST,
                        "Unable to convert to Table as requested: includeObject: Invalid value: "
                        "\"%.200s\": must be 'Metadata', 'Object', 'None', or empty",
                        v);
}

/* What kubectl shows of a kind without columns of its own. */
static const struct neap_column fallback[] = {
    {.name = "Name", .type = "string", .format = "name", .path = "metadata.name"},
    {.name = "Created At", .type = "date", .path = "metadata.creationTimestamp"},
};

static const struct neap_column *columns_of(const struct neap_kind *k, unsigned *count)
{
    *count = k->column_count ? k->column_count : NEAP_ARRAY_LEN(fallback);
    return k->column_count ? k->columns : fallback;
}

static void write_columns(const struct neap_kind *k, struct neap_buf *out)
{
    unsigned count;
    const struct neap_column *columns = columns_of(k, &count);
    for (unsigned i = 0; i < count; i++) {
        const struct neap_column *col = &columns[i];
        const char *doc = col->description ? col->description : "";
        neap_buf_str(out, i ? ",{\"name\":" : "{\"name\":");
        neap_buf_json_string(out, col->name, strlen(col->name));
        neap_buf_printf(out, ",\"type\":\"%s\",\"format\":\"%s\",\"description\":", col->type,
                        col->format ? col->format : "");
        neap_buf_json_string(out, doc, strlen(doc));
        neap_buf_printf(out, ",\"priority\":%u}", col->priority);
    }
}

void rest_table_head(struct neap_call *c, struct neap_buf *out, uint64_t revision, const char *cont,
                     int64_t remaining, bool columns)
{
    neap_buf_printf(out,
                    "{\"kind\":\"Table\",\"apiVersion\":\"%s\",\"metadata\":{"
                    "\"resourceVersion\":\"%llu\"",
                    rest_meta_version(c), (unsigned long long)revision);
    if (cont)
        neap_buf_printf(out, ",\"continue\":\"%s\"", cont);
    if (cont && remaining >= 0)
        neap_buf_printf(out, ",\"remainingItemCount\":%lld", (long long)remaining);
    neap_buf_str(out, "},\"columnDefinitions\":[");
    if (columns)
        write_columns(c->kind, out);
    neap_buf_str(out, "],\"rows\":[");
}

static void write_cells(struct neap_call *c, yyjson_val *root, struct neap_buf *out)
{
    struct rest_cell_context x = {neap_clock_wall(rest_of(c)->options.clock)};
    unsigned count;
    const struct neap_column *columns = columns_of(c->kind, &count);
    for (unsigned i = 0; i < count; i++) {
        rest_cell_fn cell = columns[i].cell ? rest_cell_by_name(columns[i].cell) : NULL;
        if (i)
            neap_buf_char(out, ',');
        if (cell)
            cell(&x, root, out);
        else if (columns[i].path)
            rest_cell_path(&x, &columns[i], root, out);
        else
            neap_buf_str(out, "\"\"");
    }
}

/* metadata's bytes within the object's: {"kind":..,"apiVersion":..,"metadata":{...} */
static void write_partial(struct neap_call *c, yyjson_val *root, struct neap_buf *out)
{
    size_t n = 0;
    char *meta = yyjson_val_write(yyjson_obj_get(root, "metadata"), 0, &n);
    neap_buf_printf(out, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"%s\",\"metadata\":",
                    rest_meta_version(c));
    neap_buf_append(out, meta ? meta : "{}", meta ? n : 2);
    neap_buf_char(out, '}');
    free(meta);
}

void rest_partial_write(struct neap_call *c, struct neap_buf *out, struct neap_object *o)
{
    yyjson_doc *doc = neap_object_parse(o, NULL);
    (void)c;
    write_partial(c, yyjson_doc_get_root(doc), out);
    yyjson_doc_free(doc);
}

static void row(struct neap_call *c, struct neap_buf *out, const struct neap_object *o,
                yyjson_val *root)
{
    const char *include = rest_table_include(c);
    neap_buf_str(out, "{\"cells\":[");
    write_cells(c, root, out);
    neap_buf_char(out, ']');
    if (strcmp(include, "Object") == 0) {
        size_t n = 0;
        char *text = yyjson_val_write(root, 0, &n);
        neap_buf_str(out, ",\"object\":");
        neap_buf_append(out, text ? text : "{}", text ? n : 2);
        free(text);
    } else if (strcmp(include, "None") != 0) {
        neap_buf_str(out, ",\"object\":");
        write_partial(c, root, out);
    } else {
        neap_buf_str(out, ",\"object\":null");
    }
    neap_buf_char(out, '}');
}

void rest_table_row(struct neap_call *c, struct neap_buf *out, struct neap_object *o)
{
    /* memory of its own: a long list or a watch makes rows for ever */
    struct neap_arena *own = c->arena;
    const yyjson_alc *alc;
    c->arena = neap_arena_new(rest_of(c)->options.arena_bytes);
    alc = neap_arena_alc(c->arena);
    yyjson_doc *doc = NULL;
    if (c->kind->storage == c->kind) {
        doc = neap_object_parse(o, alc);
    } else {
        yyjson_mut_doc *converted = rest_object_doc(c->arena, o, c->kind);
        doc = converted ? yyjson_mut_doc_imut_copy(converted, alc) : NULL;
    }
    row(c, out, o, yyjson_doc_get_root(doc));
    neap_arena_free(c->arena);
    c->arena = own;
}
