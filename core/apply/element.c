/* One step of a field path: read, written, compared. */
#include "core/apply/apply_internal.h"

/* ---- scalars ---- */

bool scalar_from(yyjson_mut_val *v, struct scalar *ret)
{
    *ret = (struct scalar){.type = SCALAR_NULL};
    if (yyjson_mut_is_str(v)) {
        ret->type = SCALAR_STRING;
        ret->s = yyjson_mut_get_str(v);
        ret->len = (uint32_t)yyjson_mut_get_len(v);
    } else if (yyjson_mut_is_bool(v)) {
        ret->type = SCALAR_BOOL;
        ret->b = yyjson_mut_get_bool(v);
    } else if (yyjson_mut_is_real(v) ||
               (yyjson_mut_is_uint(v) && yyjson_mut_get_uint(v) > INT64_MAX)) {
        ret->type = SCALAR_FLOAT;
        ret->f = yyjson_mut_get_num(v);
    } else if (yyjson_mut_is_int(v)) {
        ret->type = SCALAR_INT;
        ret->i = yyjson_mut_get_sint(v);
    }
    return !yyjson_mut_is_ctn(v);
}

static int text_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t n = a_len < b_len ? a_len : b_len;
    int c = n ? memcmp(a, b, n) : 0;
    return c ? c : (a_len > b_len) - (a_len < b_len);
}

static double as_double(const struct scalar *s)
{
    return s->type == SCALAR_INT ? (double)s->i : s->f;
}

static int scalar_compare(const struct scalar *a, const struct scalar *b)
{
    if (a->type != b->type) {
        double x, y;
        if (a->type > SCALAR_INT || b->type > SCALAR_INT)
            return (int)a->type - (int)b->type;
        x = as_double(a);
        y = as_double(b);
        return (x > y) - (x < y);
    }
    switch (a->type) {
    case SCALAR_FLOAT:
        return (a->f > b->f) - (a->f < b->f);
    case SCALAR_INT:
        return (a->i > b->i) - (a->i < b->i);
    case SCALAR_STRING:
        return text_compare(a->s, a->len, b->s, b->len);
    case SCALAR_BOOL:
        return (int)a->b - (int)b->b;
    default:
        return 0;
    }
}

static int keys_compare(const struct element *a, const struct element *b)
{
    for (unsigned i = 0; i < a->key_count && i < b->key_count; i++) {
        const struct key_field *x = &a->keys[i], *y = &b->keys[i];
        int c = text_compare(x->name, x->len, y->name, y->len);
        if (!c)
            c = scalar_compare(&x->value, &y->value);
        if (c)
            return c;
    }
    return (int)a->key_count - (int)b->key_count;
}

int element_compare(const struct element *a, const struct element *b)
{
    if (a->kind != b->kind)
        return (int)a->kind - (int)b->kind;
    switch (a->kind) {
    case ELEMENT_FIELD:
        return text_compare(a->name, a->len, b->name, b->len);
    case ELEMENT_KEY:
        return keys_compare(a, b);
    case ELEMENT_VALUE:
        return scalar_compare(a->value, b->value);
    default:
        return (a->index > b->index) - (a->index < b->index);
    }
}

/* ---- reading ---- */

static int keys_order(const void *a, const void *b)
{
    const struct key_field *x = a, *y = b;
    return text_compare(x->name, x->len, y->name, y->len);
}

/* The JSON inside a key, by the parser: what it keeps lives in the arena. */
static yyjson_mut_val *inner_json(struct neap_arena *arena, const char *s, size_t len)
{
    yyjson_mut_doc *doc;
    return neap_json_parse(arena, s, len, NULL, &doc, NULL) == 0 ? yyjson_mut_doc_get_root(doc)
                                                                 : NULL;
}

static int keys_from(struct neap_arena *arena, yyjson_mut_val *object, struct element *ret)
{
    size_t n = yyjson_mut_obj_size(object), i = 0;
    if (!yyjson_mut_is_obj(object) || n > ELEMENT_KEYS_MAX)
        return -1;
    struct key_field *keys = neap_arena_alloc(arena, (n ? n : 1) * sizeof(*keys));
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(object);
    if (!keys)
        return -1;
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it)); i++) {
        keys[i].name = yyjson_mut_get_str(k);
        keys[i].len = (uint32_t)yyjson_mut_get_len(k);
        if (!scalar_from(yyjson_mut_obj_iter_get_val(k), &keys[i].value))
            return -1;
    }
    qsort(keys, n, sizeof(*keys), keys_order);
    *ret = (struct element){.kind = ELEMENT_KEY, .key_count = (uint8_t)n, .keys = keys};
    return 1;
}

/* A string without escapes at *at, which moves behind it. */
static bool plain_string(const char **at, const char *end, const char **ret, uint32_t *ret_len)
{
    const char *s = *at;
    if (s == end || *s++ != '"')
        return false;
    *ret = s;
    while (s < end && *s != '"' && *s != '\\' && (unsigned char)*s >= 0x20)
        s++;
    if (s == end || *s != '"')
        return false;
    *ret_len = (uint32_t)(s - *ret);
    *at = s + 1;
    return true;
}

static bool plain_int(const char **at, const char *end, int64_t *ret)
{
    const char *s = *at;
    *ret = 0;
    while (s < end && *s >= '0' && *s <= '9' && s - *at < 18)
        *ret = *ret * 10 + (*s++ - '0');
    bool read = s > *at && (**at != '0' || s == *at + 1) && (s == end || *s == ',' || *s == '}');
    *at = s;
    return read;
}

/* What keys mostly look like: {"name":"x","port":80}, sorted. False: left to the parser. */
static bool keys_plain(struct neap_arena *arena, const char *s, const char *end,
                       struct element *ret)
{
    struct key_field keys[4];
    unsigned n = 0;
    if (s == end || *s++ != '{')
        return false;
    do {
        struct key_field *k = &keys[n];
        if (n == NEAP_ARRAY_LEN(keys) || !plain_string(&s, end, &k->name, &k->len) || s == end ||
            *s++ != ':' || (n && keys_order(&keys[n - 1], k) >= 0))
            return false;
        k->value = (struct scalar){.type = SCALAR_STRING};
        if (!plain_string(&s, end, &k->value.s, &k->value.len)) {
            k->value.type = SCALAR_INT;
            if (!plain_int(&s, end, &k->value.i))
                return false;
        }
        n++;
    } while (s < end && *s++ == ',');
    if (s != end || s[-1] != '}')
        return false;
    struct key_field *copy = neap_arena_alloc(arena, n * sizeof(*copy));
    if (!copy)
        return false;
    memcpy(copy, keys, n * sizeof(*copy));
    *ret = (struct element){.kind = ELEMENT_KEY, .key_count = (uint8_t)n, .keys = copy};
    return true;
}

static int value_from(struct neap_arena *arena, const char *s, size_t len, struct element *ret)
{
    struct scalar *value = neap_arena_alloc(arena, sizeof(*value));
    const char *at = s, *end = s + len;
    if (!value)
        return -1;
    *ret = (struct element){.kind = ELEMENT_VALUE, .value = value};
    *value = (struct scalar){.type = SCALAR_STRING};
    if (plain_string(&at, end, &value->s, &value->len) && at == end)
        return 1;
    yyjson_mut_val *v = inner_json(arena, s, len);
    return v && scalar_from(v, value) ? 1 : -1;
}

static int index_from(const char *s, size_t len, struct element *ret)
{
    char text[24], *end;
    if (len == 0 || len >= sizeof(text))
        return -1;
    memcpy(text, s, len);
    text[len] = '\0';
    *ret = (struct element){.kind = ELEMENT_INDEX, .index = strtoll(text, &end, 10)};
    return *end || text[0] == ' ' ? -1 : 1;
}

int element_parse(struct neap_arena *arena, const char *s, size_t len, struct element *ret)
{
    if (len < 2 || s[1] != ':')
        return -1;
    switch (s[0]) {
    case 'f':
        *ret = element_field(s + 2, len - 2);
        return 1;
    case 'k':
        if (keys_plain(arena, s + 2, s + len, ret))
            return 1;
        return keys_from(arena, inner_json(arena, s + 2, len - 2), ret);
    case 'v':
        return value_from(arena, s + 2, len - 2, ret);
    case 'i':
        return index_from(s + 2, len - 2, ret);
    default:
        return 0;
    }
}

/* ---- writing ---- */

static void double_write(struct neap_buf *out, double d)
{
    yyjson_mut_val v = {0};
    yyjson_mut_set_real(&v, d);
    neap_json_write_number(out, &v);
}

static void scalar_write(struct neap_buf *out, const struct scalar *s)
{
    switch (s->type) {
    case SCALAR_FLOAT:
        double_write(out, s->f);
        break;
    case SCALAR_INT:
        neap_buf_printf(out, "%lld", (long long)s->i);
        break;
    case SCALAR_STRING:
        neap_buf_json_string(out, s->s, s->len);
        break;
    case SCALAR_BOOL:
        neap_buf_str(out, s->b ? "true" : "false");
        break;
    default:
        neap_buf_str(out, "null");
    }
}

void element_write(struct neap_buf *out, const struct element *e)
{
    neap_buf_char(out, "fkvi"[e->kind]);
    neap_buf_char(out, ':');
    switch (e->kind) {
    case ELEMENT_FIELD:
        neap_buf_append(out, e->name, e->len);
        break;
    case ELEMENT_KEY:
        for (unsigned i = 0; i < e->key_count; i++) {
            neap_buf_char(out, i ? ',' : '{');
            neap_buf_json_string(out, e->keys[i].name, e->keys[i].len);
            neap_buf_char(out, ':');
            scalar_write(out, &e->keys[i].value);
        }
        neap_buf_str(out, e->key_count ? "}" : "{}");
        break;
    case ELEMENT_VALUE:
        scalar_write(out, e->value);
        break;
    default:
        neap_buf_printf(out, "%lld", (long long)e->index);
    }
}

/* As Go quotes (%q), for what names are made of. */
static void quoted(struct neap_buf *out, const char *s, size_t len)
{
    neap_buf_char(out, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        const char *escape = c == '"'    ? "\\\""
                             : c == '\\' ? "\\\\"
                             : c == '\n' ? "\\n"
                             : c == '\t' ? "\\t"
                             : c == '\r' ? "\\r"
                                         : NULL;
        if (escape)
            neap_buf_str(out, escape);
        else if (c < 0x20 || c == 0x7f)
            neap_buf_printf(out, "\\x%02x", c);
        else
            neap_buf_char(out, (char)c);
    }
    neap_buf_char(out, '"');
}

static void scalar_print(struct neap_buf *out, const struct scalar *s)
{
    if (s->type == SCALAR_STRING)
        quoted(out, s->s, s->len);
    else
        scalar_write(out, s);
}

void element_print(struct neap_buf *out, const struct element *e)
{
    switch (e->kind) {
    case ELEMENT_FIELD:
        neap_buf_char(out, '.');
        neap_buf_append(out, e->name, e->len);
        return;
    case ELEMENT_KEY:
        neap_buf_char(out, '[');
        for (unsigned i = 0; i < e->key_count; i++) {
            if (i)
                neap_buf_char(out, ',');
            neap_buf_append(out, e->keys[i].name, e->keys[i].len);
            neap_buf_char(out, '=');
            scalar_print(out, &e->keys[i].value);
        }
        neap_buf_char(out, ']');
        return;
    case ELEMENT_VALUE:
        neap_buf_str(out, "[=");
        scalar_print(out, e->value);
        neap_buf_char(out, ']');
        return;
    default:
        neap_buf_printf(out, "[%lld]", (long long)e->index);
    }
}
