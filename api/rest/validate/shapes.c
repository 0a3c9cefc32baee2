/* Prints a value as the real server's types do: see shapes_data.c. */
#include "shapes.h"

struct printer {
    struct neap_buf *out;
    bool indent;
    int depth;
};

static void print_type(struct printer *c, json *value, const char *type);

static const char *fields_of(const char *type, size_t n)
{
    size_t low = 0, high = rest_shape_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strncmp(rest_shapes[mid].name, type, n);
        if (!order && rest_shapes[mid].name[n])
            order = 1;
        if (!order)
            return rest_shapes[mid].fields;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static void line(struct printer *c)
{
    if (!c->indent)
        return;
    neap_buf_char(c->out, '\n');
    for (int i = 0; i < c->depth; i++)
        neap_buf_char(c->out, ' ');
}

static void key(struct printer *c, const char *name, size_t n, bool *first)
{
    if (!*first)
        neap_buf_char(c->out, ',');
    *first = false;
    line(c);
    neap_buf_json_string(c->out, name, n);
    neap_buf_str(c->out, c->indent ? ": " : ":");
}

/* Plain JSON, in the order of the value or sorted (maps). */
static void print_plain(struct printer *c, json *value, bool sorted)
{
    if (!value) {
        neap_buf_str(c->out, "null");
        return;
    }
    if (!yyjson_mut_is_ctn(value) || !size(value) || (!c->indent && sorted)) {
        neap_json_write_sorted(c->out, value);
        return;
    }
    bool list = yyjson_mut_is_arr(value), first = true;
    neap_buf_char(c->out, list ? '[' : '{');
    c->depth++;
    EACH(e, value)
    {
        if (list) {
            neap_buf_str(c->out, first ? "" : ",");
            first = false;
            line(c);
        } else {
            key(c, e.key, strlen(e.key), &first);
        }
        print_plain(c, e.item, sorted);
    }
    c->depth--;
    line(c);
    neap_buf_char(c->out, list ? ']' : '}');
}

static void print_list(struct printer *c, json *list, const char *type)
{
    if (!list) {
        neap_buf_str(c->out, "null");
        return;
    }
    neap_buf_char(c->out, '[');
    c->depth++;
    EACH(e, list)
    {
        neap_buf_str(c->out, e.i ? "," : "");
        line(c);
        print_type(c, e.item, type);
    }
    c->depth--;
    line(c);
    neap_buf_char(c->out, ']');
}

/* Absent values of shapes that are not pointers. */
static const struct {
    const char *shape, *zero;
} zeroes[] = {{"s", "\"\""},         {"i", "0"},           {"b", "false"},
              {"Quantity", "\"0\""}, {"IntOrString", "0"}, {"Time", "null"}};

static void print_shape(struct printer *c, json *value, const char *shape)
{
    bool list = strncmp(shape, "[]", 2) == 0, map = *shape == '{', pointer = *shape == '*';
    const char *type = shape + (list || map ? 2 : pointer);
    if ((pointer || list || map) && !value)
        neap_buf_str(c->out, "null");
    else if (list && fields_of(type, strlen(type)))
        print_list(c, value, type);
    else if (!list && !map && fields_of(type, strlen(type)))
        print_type(c, value, type);
    else if (value)
        print_plain(c, value, map);
    else
        for (size_t i = 0; i < NEAP_ARRAY_LEN(zeroes); i++)
            if (strcmp(zeroes[i].shape, shape) == 0)
                neap_buf_str(c->out, zeroes[i].zero);
}

static void print_fields(struct printer *c, json *value, const char *fields, bool *first);

/* Embedded: its fields are this object's; metadata keeps the published names. */
static void print_embedded(struct printer *c, json *value, const char *word, size_t n, bool *first)
{
    if (n >= 10 && strncmp(word, "ObjectMeta", 10) == 0) {
        EACH(e, get(value, "metadata"))
        {
            key(c, e.key, strlen(e.key), first);
            print_plain(c, e.item, false);
        }
        return;
    }
    const char *fields = fields_of(word, n);
    if (fields)
        print_fields(c, value, fields, first);
}

/* "Name[=json]:shape" */
static void print_field(struct printer *c, json *value, const char *word, size_t n, bool *first)
{
    char field[160], name[160];
    snprintf(field, sizeof(field), "%.*s", (int)n, word);
    char *shape = strchr(field, ':'), *published = strchr(field, '=');
    *shape++ = '\0';
    if (published)
        *published++ = '\0';
    snprintf(name, sizeof(name), "%s", published ? published : field);
    if (!published)
        name[0] = (char)(name[0] | 32);
    key(c, field, strlen(field), first);
    print_shape(c, get(value, name), shape);
}

static void print_fields(struct printer *c, json *value, const char *fields, bool *first)
{
    for (const char *word = fields; *word;) {
        size_t n = strcspn(word, " ");
        if (*word == '+')
            print_embedded(c, value, word + 1, n - 1, first);
        else
            print_field(c, value, word, n, first);
        word += n + (word[n] == ' ');
    }
}

static void print_type(struct printer *c, json *value, const char *type)
{
    const char *fields = fields_of(type, strlen(type));
    bool first = true;
    if (!fields) {
        print_plain(c, value, false);
        return;
    }
    neap_buf_char(c->out, '{');
    c->depth++;
    print_fields(c, value, fields, &first);
    c->depth--;
    line(c);
    neap_buf_char(c->out, '}');
}

void rest_show_go(struct neap_buf *out, json *value, const char *type, bool indent)
{
    struct printer c = {.out = out, .indent = indent};
    if (strncmp(type, "[]", 2) == 0)
        print_list(&c, value, type + 2);
    else
        print_type(&c, value, type);
}
