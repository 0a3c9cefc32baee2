/* The Swagger 2.0 document as protobuf (gnostic's openapi.v2.Document), written from its JSON: the form
 * that kubectl and client-go ask for first. Which member has which number is in the tables below.
 * Source: github.com/google/gnostic-models openapiv2/OpenAPIv2.proto; protobuf wire format. */
#include "openapi.h"

#define DEPTH_MAX 64

enum how {
    TEXT,
    BOOLEAN,
    INTEGER,
    DOUBLE,
    TEXTS,     /* repeated string */
    ONE_TEXTS, /* a message that holds them: TypeItem; a single string is a list of one */
    ANY,       /* Any.yaml: JSON is YAML */
    ANYS,
    MESSAGE,
    MESSAGES,
    NAMED,     /* a message of repeated {name, value} */
    PARAMETER, /* ParametersItem: which branch tells its "in" */
    BOOL_OR,   /* additionalProperties: a boolean or a schema */
};

struct message;
struct row {
    const char *key;
    uint8_t number, how;
    uint8_t wrap; /* the branch of a oneof around each message; 0: none */
    const struct message *message;
};
struct message {
    const struct row *rows;
    uint8_t extension; /* the number of its x- members; 0: has none */
    uint8_t entries;   /* of NAMED: the number of its entries */
};
#define MESSAGE_OF(rows_, ...)                                                                     \
    {                                                                                              \
        .rows = rows_, __VA_ARGS__                                                                 \
    }

static const struct message schema;

/* What schemas and non-body parameters share has other numbers in each. */
static const struct row schema_rows[] = {
    {"$ref", 1, TEXT, 0, NULL},
    {"format", 2, TEXT, 0, NULL},
    {"title", 3, TEXT, 0, NULL},
    {"description", 4, TEXT, 0, NULL},
    {"default", 5, ANY, 0, NULL},
    {"multipleOf", 6, DOUBLE, 0, NULL},
    {"maximum", 7, DOUBLE, 0, NULL},
    {"exclusiveMaximum", 8, BOOLEAN, 0, NULL},
    {"minimum", 9, DOUBLE, 0, NULL},
    {"exclusiveMinimum", 10, BOOLEAN, 0, NULL},
    {"maxLength", 11, INTEGER, 0, NULL},
    {"minLength", 12, INTEGER, 0, NULL},
    {"pattern", 13, TEXT, 0, NULL},
    {"maxItems", 14, INTEGER, 0, NULL},
    {"minItems", 15, INTEGER, 0, NULL},
    {"uniqueItems", 16, BOOLEAN, 0, NULL},
    {"maxProperties", 17, INTEGER, 0, NULL},
    {"minProperties", 18, INTEGER, 0, NULL},
    {"required", 19, TEXTS, 0, NULL},
    {"enum", 20, ANYS, 0, NULL},
    {"additionalProperties", 21, BOOL_OR, 1, &schema},
    {"type", 22, ONE_TEXTS, 0, NULL},
    {"items", 23, MESSAGE, 1, &schema},
    {"allOf", 24, MESSAGES, 0, &schema},
    {"properties", 25, NAMED, 0, &schema},
    {"readOnly", 27, BOOLEAN, 0, NULL},
    {"example", 30, ANY, 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static const struct message schema = MESSAGE_OF(schema_rows, .extension = 31);

static const struct row body_rows[] = {
    {"description", 1, TEXT, 0, NULL}, {"name", 2, TEXT, 0, NULL},         {"in", 3, TEXT, 0, NULL},
    {"required", 4, BOOLEAN, 0, NULL}, {"schema", 5, MESSAGE, 0, &schema}, {NULL, 0, 0, 0, NULL},
};
static const struct row query_rows[] = {
    {"required", 1, BOOLEAN, 0, NULL},
    {"in", 2, TEXT, 0, NULL},
    {"description", 3, TEXT, 0, NULL},
    {"name", 4, TEXT, 0, NULL},
    {"type", 6, TEXT, 0, NULL},
    {"format", 7, TEXT, 0, NULL},
    {"uniqueItems", 20, BOOLEAN, 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static const struct row path_rows[] = {
    {"required", 1, BOOLEAN, 0, NULL},
    {"in", 2, TEXT, 0, NULL},
    {"description", 3, TEXT, 0, NULL},
    {"name", 4, TEXT, 0, NULL},
    {"type", 5, TEXT, 0, NULL},
    {"format", 6, TEXT, 0, NULL},
    {"uniqueItems", 19, BOOLEAN, 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* Parameter.body_parameter, or Parameter.non_body_parameter and its branch. */
static const struct parameter_row {
    const char *in;
    uint8_t branch, inner;
    struct message message;
} parameter_rows[] = {
    {"body", 1, 0, MESSAGE_OF(body_rows, .extension = 6)},
    {"query", 2, 3, MESSAGE_OF(query_rows, .extension = 23)},
    {"path", 2, 4, MESSAGE_OF(path_rows, .extension = 22)},
};

static const struct row response_rows[] = {
    {"description", 1, TEXT, 0, NULL},
    {"schema", 2, MESSAGE, 1, &schema},
    {NULL, 0, 0, 0, NULL},
};
static const struct message response = MESSAGE_OF(response_rows, .extension = 5);

static const struct row operation_rows[] = {
    {"tags", 1, TEXTS, 0, NULL},
    {"summary", 2, TEXT, 0, NULL},
    {"description", 3, TEXT, 0, NULL},
    {"operationId", 5, TEXT, 0, NULL},
    {"produces", 6, TEXTS, 0, NULL},
    {"consumes", 7, TEXTS, 0, NULL},
    {"parameters", 8, PARAMETER, 0, NULL},
    {"responses", 9, NAMED, 1, &response},
    {"schemes", 10, TEXTS, 0, NULL},
    {"deprecated", 11, BOOLEAN, 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static const struct message operation = MESSAGE_OF(operation_rows, .extension = 13);

static const struct row path_item_rows[] = {
    {"get", 2, MESSAGE, 0, &operation},
    {"put", 3, MESSAGE, 0, &operation},
    {"post", 4, MESSAGE, 0, &operation},
    {"delete", 5, MESSAGE, 0, &operation},
    {"options", 6, MESSAGE, 0, &operation},
    {"head", 7, MESSAGE, 0, &operation},
    {"patch", 8, MESSAGE, 0, &operation},
    {"parameters", 9, PARAMETER, 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static const struct message path_item = MESSAGE_OF(path_item_rows, .extension = 10, .entries = 2);

static const struct row info_rows[] = {
    {"title", 1, TEXT, 0, NULL},
    {"version", 2, TEXT, 0, NULL},
    {"description", 3, TEXT, 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static const struct message info = MESSAGE_OF(info_rows, .extension = 7);

static const struct row document_rows[] = {
    {"swagger", 1, TEXT, 0, NULL},
    {"info", 2, MESSAGE, 0, &info},
    {"host", 3, TEXT, 0, NULL},
    {"basePath", 4, TEXT, 0, NULL},
    {"consumes", 6, TEXTS, 0, NULL},
    {"produces", 7, TEXTS, 0, NULL},
    {"paths", 8, NAMED, 0, &path_item},
    {"definitions", 9, NAMED, 0, &schema},
    {NULL, 0, 0, 0, NULL},
};
static const struct message document = MESSAGE_OF(document_rows, .extension = 16);

/* ---- the wire; a message's length is put before it once it is known ---- */

static void varint(struct neap_buf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        neap_buf_char(out, (char)(v | 0x80));
    neap_buf_char(out, (char)v);
}

static void bytes(struct neap_buf *out, unsigned number, const char *data, size_t len)
{
    varint(out, number << 3 | 2);
    varint(out, len);
    neap_buf_append(out, data, len);
}

static void number(struct neap_buf *out, unsigned field, uint64_t v)
{
    varint(out, field << 3);
    varint(out, v);
}

static void real(struct neap_buf *out, unsigned field, double v)
{
    varint(out, field << 3 | 1);
    neap_buf_append(out, &v, sizeof(v)); /* little-endian, as every machine neap runs on */
}

static size_t open_field(struct neap_buf *out, unsigned field)
{
    varint(out, field << 3 | 2);
    return out->len;
}

static void close_field(struct neap_buf *out, size_t start)
{
    uint8_t length[10];
    unsigned n = 0;
    size_t len = out->len - start;
    for (size_t v = len; v >= 0x80; v >>= 7)
        length[n++] = (uint8_t)(v | 0x80);
    length[n] = (uint8_t)(len >> (7 * n));
    n++;
    neap_buf_reserve(out, n);
    memmove(out->data + start + n, out->data + start, len);
    memcpy(out->data + start, length, n);
    out->len += n;
}

/* ---- JSON to messages ---- */

struct maker {
    struct neap_buf *out;
    struct neap_err *err;
    unsigned depth;
};

static int message_of(struct maker *m, const struct message *msg, yyjson_val *v);

static void any(struct maker *m, unsigned field, yyjson_val *v)
{
    size_t len, start = open_field(m->out, field);
    char *text = yyjson_val_write(v, 0, &len);
    if (text)
        bytes(m->out, 2, text, len);
    free(text);
    close_field(m->out, start);
}

static void text_field(struct maker *m, unsigned field, yyjson_val *v)
{
    bytes(m->out, field, yyjson_get_str(v), yyjson_get_len(v));
}

static void texts(struct maker *m, unsigned field, yyjson_val *v)
{
    yyjson_val *x;
    size_t i, n;
    if (yyjson_is_str(v))
        text_field(m, field, v);
    yyjson_arr_foreach(v, i, n, x) text_field(m, field, x);
}

/* <value> in field <number>, inside the branch <wrap> of a oneof when there is one. */
static int wrapped(struct maker *m, unsigned field, unsigned wrap, const struct message *msg,
                   yyjson_val *v)
{
    size_t outer = open_field(m->out, field);
    size_t inner = wrap ? open_field(m->out, wrap) : 0;
    int rc = message_of(m, msg, v);
    if (wrap)
        close_field(m->out, inner);
    close_field(m->out, outer);
    return rc;
}

static void extension(struct maker *m, unsigned field, const char *name, yyjson_val *v)
{
    size_t start = open_field(m->out, field);
    bytes(m->out, 1, name, strlen(name));
    any(m, 2, v);
    close_field(m->out, start);
}

static int named(struct maker *m, const struct row *r, yyjson_val *v)
{
    size_t outer = open_field(m->out, r->number), i, n;
    yyjson_val *key, *x;
    int rc = 0;
    yyjson_obj_foreach(v, i, n, key, x)
    {
        size_t entry = open_field(m->out, r->message->entries ? r->message->entries : 1);
        bytes(m->out, 1, yyjson_get_str(key), yyjson_get_len(key));
        if (!rc)
            rc = wrapped(m, 2, r->wrap, r->message, x);
        close_field(m->out, entry);
    }
    close_field(m->out, outer);
    return rc;
}

static int parameter(struct maker *m, unsigned field, yyjson_val *v)
{
    const char *in = yyjson_get_str(yyjson_obj_get(v, "in"));
    for (size_t i = 0; in && i < NEAP_ARRAY_LEN(parameter_rows); i++) {
        const struct parameter_row *p = &parameter_rows[i];
        if (strcmp(p->in, in) != 0)
            continue;
        size_t item = open_field(m->out, field), branch = open_field(m->out, 1);
        int rc = wrapped(m, p->branch, p->inner, &p->message, v);
        close_field(m->out, branch);
        close_field(m->out, item);
        return rc;
    }
    return neap_err_set(m->err, NEAP_EINTERNAL, "openapi: parameter in \"%s\"", in ? in : "");
}

static int each(struct maker *m, const struct row *r, yyjson_val *v)
{
    yyjson_val *x;
    size_t i, n;
    int rc = 0;
    yyjson_arr_foreach(v, i, n, x)
    {
        if (r->how == ANYS)
            any(m, r->number, x);
        else if (!rc)
            rc = r->how == PARAMETER ? parameter(m, r->number, x)
                                     : wrapped(m, r->number, r->wrap, r->message, x);
    }
    return rc;
}

static int bool_or(struct maker *m, const struct row *r, yyjson_val *v)
{
    if (!yyjson_is_bool(v))
        return wrapped(m, r->number, r->wrap, r->message, v);
    size_t start = open_field(m->out, r->number);
    number(m->out, 2, yyjson_get_bool(v));
    close_field(m->out, start);
    return 0;
}

static int member(struct maker *m, const struct row *r, yyjson_val *v)
{
    size_t start;
    switch ((enum how)r->how) {
    case TEXT:
        text_field(m, r->number, v);
        return 0;
    case BOOLEAN:
        number(m->out, r->number, yyjson_get_bool(v));
        return 0;
    case INTEGER:
        number(m->out, r->number, (uint64_t)yyjson_get_sint(v));
        return 0;
    case DOUBLE:
        real(m->out, r->number, yyjson_get_num(v));
        return 0;
    case TEXTS:
        texts(m, r->number, v);
        return 0;
    case ONE_TEXTS:
        start = open_field(m->out, r->number);
        texts(m, 1, v);
        close_field(m->out, start);
        return 0;
    case ANY:
        any(m, r->number, v);
        return 0;
    case MESSAGE:
        return wrapped(m, r->number, r->wrap, r->message, v);
    case ANYS:
    case MESSAGES:
    case PARAMETER:
        return each(m, r, v);
    case NAMED:
        return named(m, r, v);
    case BOOL_OR:
        return bool_or(m, r, v);
    }
    return 0;
}

static int message_of(struct maker *m, const struct message *msg, yyjson_val *v)
{
    yyjson_val *key, *x;
    size_t i, n;
    int rc = 0;
    if (++m->depth > DEPTH_MAX)
        return neap_err_set(m->err, NEAP_EINTERNAL, "openapi: nested deeper than %d", DEPTH_MAX);
    yyjson_obj_foreach(v, i, n, key, x)
    {
        const char *name = yyjson_get_str(key);
        const struct row *r = msg->rows;
        while (r->key && strcmp(r->key, name) != 0)
            r++;
        if (r->key)
            rc = rc ? rc : member(m, r, x);
        else if (neap_startswith(name, "x-") && msg->extension)
            extension(m, msg->extension, name, x);
        else
            rc = neap_err_set(m->err, NEAP_EINTERNAL, "openapi: member \"%s\"", name);
    }
    m->depth--;
    return rc;
}

int openapi_protobuf(struct neap_buf *out, const char *json, size_t len, struct neap_err *err)
{
    struct maker m = {.out = out, .err = err};
    yyjson_doc *doc = yyjson_read(json, len, 0);
    if (!doc)
        return neap_err_set(err, NEAP_EINTERNAL, "openapi: not JSON");
    int rc = message_of(&m, &document, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return rc;
}
