/* Canonical JSON to Kubernetes' protobuf, by the kind tables: see neap/protobuf.h.
 *
 * One pass forwards: a message's length stands before it, so one byte is kept for it and what follows is
 * moved when it takes more. Messages are shallow, so a byte moves a few times at most; what is
 * large, a list, is put together from a head and a body that does not move.
 *
 * What Go's types write, from the tables' zero rules: a field that is no pointer in Go is written even
 * when zero (DROP, EMIT), a pointer (KEEP) when it is there, lists, maps and bytes when they are there. */
#include "kind_internal.h"
#include <neap/protobuf.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };
enum { FIELDS_MAX = 128 }; /* the generator's tables stay far below it */
enum { FRAME_HEAD = 4 };

struct writer {
    struct neap_buf *out;
    unsigned depth;
    struct neap_err *err;
};

static int message(struct writer *w, const struct neap_type *type, yyjson_val *value);

static int not_canonical(struct writer *w, const char *what)
{
    return neap_err_set(w->err, NEAP_EINTERNAL, "protobuf: %s is not in canonical form", what);
}

/* ---- wire ---- */

static unsigned varint_bytes(uint64_t v, uint8_t ret[10])
{
    unsigned n = 0;
    for (; v >= 0x80; v >>= 7)
        ret[n++] = (uint8_t)(v | 0x80);
    ret[n++] = (uint8_t)v;
    return n;
}

static void tag(struct neap_buf *out, unsigned number, unsigned wire)
{
    uint8_t bytes[10];
    neap_buf_append(out, bytes, varint_bytes((uint64_t)number << 3 | wire, bytes));
}

/* A tag and a number behind it, in one piece. */
static void tag_and(struct neap_buf *out, unsigned number, unsigned wire, uint64_t v)
{
    uint8_t bytes[20];
    unsigned n = varint_bytes((uint64_t)number << 3 | wire, bytes);
    neap_buf_append(out, bytes, n + varint_bytes(v, bytes + n));
}

static void number_field(struct neap_buf *out, unsigned number, uint64_t v)
{
    tag_and(out, number, WIRE_VARINT, v);
}

static void bytes_field(struct neap_buf *out, unsigned number, const void *data, size_t len)
{
    tag_and(out, number, WIRE_BYTES, len);
    if (len)
        neap_buf_append(out, data, len);
}

/* Where a message's length will be. */
static size_t open_message(struct neap_buf *out, unsigned number)
{
    tag_and(out, number, WIRE_BYTES, 0);
    return out->len;
}

static void close_message(struct neap_buf *out, size_t start)
{
    uint8_t bytes[10];
    if (out->overflow)
        return;
    size_t len = out->len - start;
    unsigned n = varint_bytes(len, bytes);
    if (n > 1) {
        neap_buf_append(out, bytes, n - 1); /* room, and the check of its bound */
        if (out->overflow)
            return;
        memmove(out->data + start + n - 1, out->data + start, len);
    }
    memcpy(out->data + start - 1, bytes, n);
}

/* ---- scalars that are messages ---- */

static bool digits(const char *s, unsigned n, int64_t *ret)
{
    *ret = 0;
    for (unsigned i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        *ret = *ret * 10 + (s[i] - '0');
    }
    return true;
}

/* Days since 1970 of a date of the proleptic Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    /* years that begin in March: a leap day is their last */
    int64_t y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * m + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "2006-01-02T15:04:05Z", with six digits of a fraction when <micro>. */
static bool time_parts(const char *s, size_t len, bool micro, int64_t *seconds, int64_t *nanos)
{
    int64_t year, month, day, hour, minute, second, us = 0;
    if (len != (micro ? 27u : 20u) || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' ||
        s[16] != ':' || s[len - 1] != 'Z' || !digits(s, 4, &year) || !digits(s + 5, 2, &month) ||
        !digits(s + 8, 2, &day) || !digits(s + 11, 2, &hour) || !digits(s + 14, 2, &minute) ||
        !digits(s + 17, 2, &second) || (micro && (s[19] != '.' || !digits(s + 20, 6, &us))))
        return false;
    *seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *nanos = us * 1000;
    return true;
}

static int time_field(struct writer *w, unsigned number, yyjson_val *v, bool micro)
{
    static const int64_t go_zero = -62135596800; /* year 1: written as if it were not there */
    int64_t seconds, nanos;
    size_t start = open_message(w->out, number);
    if (yyjson_is_str(v)) {
        if (!time_parts(yyjson_get_str(v), yyjson_get_len(v), micro, &seconds, &nanos))
            return not_canonical(w, "a time");
        if (seconds != go_zero || nanos) {
            number_field(w->out, 1, (uint64_t)seconds);
            number_field(w->out, 2, (uint64_t)nanos);
        }
    }
    close_message(w->out, start);
    return 0;
}

static void quantity_field(struct neap_buf *out, unsigned number, yyjson_val *v)
{
    size_t start = open_message(out, number);
    if (yyjson_is_str(v))
        bytes_field(out, 1, yyjson_get_str(v), yyjson_get_len(v));
    else
        bytes_field(out, 1, "0", 1);
    close_message(out, start);
}

static void int_or_string_field(struct neap_buf *out, unsigned number, yyjson_val *v)
{
    size_t start = open_message(out, number);
    number_field(out, 1, yyjson_is_str(v));
    number_field(out, 2, (uint64_t)yyjson_get_sint(v));
    bytes_field(out, 3, yyjson_is_str(v) ? yyjson_get_str(v) : "", yyjson_get_len(v));
    close_message(out, start);
}

static int duration_field(struct writer *w, unsigned number, yyjson_val *v)
{
    int64_t ns = 0;
    if (yyjson_is_str(v) && !neap_kind_duration_parse(yyjson_get_str(v), &ns))
        return not_canonical(w, "a duration");
    size_t start = open_message(w->out, number);
    number_field(w->out, 1, (uint64_t)ns);
    close_message(w->out, start);
    return 0;
}

/* JSON inside protobuf: as it is written in JSON. */
static int raw_json(struct writer *w, yyjson_val *v, unsigned depth)
{
    struct neap_buf *out = w->out;
    yyjson_obj_iter fields;
    yyjson_arr_iter items;
    yyjson_mut_val scalar = {.tag = v->tag, .uni = v->uni};
    const char *between = "";
    int rc = 0;
    if (depth > NEAP_JSON_DEPTH_MAX)
        return neap_err_set(w->err, NEAP_ETOOLARGE, "protobuf: values are nested too deeply");
    if (yyjson_is_obj(v)) {
        neap_buf_char(out, '{');
        fields = yyjson_obj_iter_with(v);
        for (yyjson_val *k; !rc && (k = yyjson_obj_iter_next(&fields)); between = ",") {
            neap_buf_str(out, between);
            neap_buf_json_string(out, yyjson_get_str(k), yyjson_get_len(k));
            neap_buf_char(out, ':');
            rc = raw_json(w, yyjson_obj_iter_get_val(k), depth + 1);
        }
        neap_buf_char(out, '}');
    } else if (yyjson_is_arr(v)) {
        neap_buf_char(out, '[');
        items = yyjson_arr_iter_with(v);
        for (yyjson_val *e; !rc && (e = yyjson_arr_iter_next(&items)); between = ",") {
            neap_buf_str(out, between);
            rc = raw_json(w, e, depth + 1);
        }
        neap_buf_char(out, ']');
    } else {
        neap_json_write_sorted(out, &scalar);
    }
    return rc;
}

/* RawExtension, JSON, FieldsV1: the bytes of JSON in field 1. */
static int raw_field(struct writer *w, unsigned number, yyjson_val *v)
{
    size_t start = open_message(w->out, number);
    int rc = 0;
    if (v && !yyjson_is_null(v)) {
        size_t bytes = open_message(w->out, 1);
        rc = raw_json(w, v, 0);
        close_message(w->out, bytes);
    }
    close_message(w->out, start);
    return rc;
}

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static int base64_field(struct writer *w, unsigned number, yyjson_val *v)
{
    const char *s = yyjson_get_str(v);
    size_t len = yyjson_get_len(v);
    if (!s || len % 4)
        return not_canonical(w, "base64");
    size_t pad = len && s[len - 1] == '=' ? 1 + (s[len - 2] == '=') : 0;
    tag_and(w->out, number, WIRE_BYTES, len / 4 * 3 - pad);
    for (size_t at = 0; at < len; at += 4) {
        uint32_t bits = 0;
        unsigned n = at + 4 == len ? 3 - (unsigned)pad : 3;
        for (unsigned i = 0; i < 4; i++) {
            int d = i > n ? 0 : base64_digit(s[at + i]);
            if (d < 0)
                return not_canonical(w, "base64");
            bits = bits << 6 | (uint32_t)d;
        }
        uint8_t bytes[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8), (uint8_t)bits};
        neap_buf_append(w->out, bytes, n);
    }
    return 0;
}

/* ---- values ---- */

static int value_field(struct writer *w, unsigned number, const struct neap_shape *s,
                       yyjson_val *v);

static int struct_field(struct writer *w, unsigned number, const struct neap_type *type,
                        yyjson_val *v)
{
    size_t start = open_message(w->out, number);
    int rc = message(w, type, v);
    close_message(w->out, start);
    return rc;
}

static int list_field(struct writer *w, unsigned number, const struct neap_shape *item,
                      yyjson_val *list)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(list);
    int rc = 0;
    for (yyjson_val *e; !rc && (e = yyjson_arr_iter_next(&it));)
        rc = value_field(w, number, item, e);
    return rc;
}

static void double_field(struct neap_buf *out, unsigned number, yyjson_val *v)
{
    double d = yyjson_get_num(v);
    uint64_t bits;
    uint8_t bytes[8];
    memcpy(&bits, &d, sizeof(bits));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(bits >> (8 * i));
    tag(out, number, WIRE_FIXED64);
    neap_buf_append(out, bytes, sizeof(bytes));
}

/* <v> NULL or null: the zero value. */
static int value_field(struct writer *w, unsigned number, const struct neap_shape *s, yyjson_val *v)
{
    size_t start;
    int rc;
    switch (s->value) {
    case NEAP_T_STRING:
        bytes_field(w->out, number, yyjson_is_str(v) ? yyjson_get_str(v) : "", yyjson_get_len(v));
        return 0;
    case NEAP_T_BOOL:
        number_field(w->out, number, yyjson_get_bool(v));
        return 0;
    case NEAP_T_INT32:
    case NEAP_T_INT64:
        number_field(w->out, number, (uint64_t)yyjson_get_sint(v));
        return 0;
    case NEAP_T_DOUBLE:
        double_field(w->out, number, v);
        return 0;
    case NEAP_T_BYTES:
        return base64_field(w, number, v);
    case NEAP_T_TIME:
    case NEAP_T_MICROTIME:
        return time_field(w, number, v, s->value == NEAP_T_MICROTIME);
    case NEAP_T_DURATION:
        return duration_field(w, number, v);
    case NEAP_T_QUANTITY:
        quantity_field(w->out, number, v);
        return 0;
    case NEAP_T_INT_OR_STRING:
        int_or_string_field(w->out, number, v);
        return 0;
    case NEAP_T_RAW:
    case NEAP_T_FIELDS_V1:
        return raw_field(w, number, v);
    case NEAP_T_STRUCT:
        return struct_field(w, number, s->type, v);
    case NEAP_T_ARRAY: /* inside a map or a list: a message whose items are field 1 */
        start = open_message(w->out, number);
        rc = list_field(w, 1, s->item, v);
        close_message(w->out, start);
        return rc;
    default:
        return not_canonical(w, "a map");
    }
}

struct entry {
    yyjson_val *key;
};

static int by_key(const void *a, const void *b)
{
    yyjson_val *x = ((const struct entry *)a)->key, *y = ((const struct entry *)b)->key;
    size_t m = yyjson_get_len(x), n = yyjson_get_len(y);
    int c = memcmp(yyjson_get_str(x), yyjson_get_str(y), m < n ? m : n);
    return c ? c : (m > n) - (m < n);
}

static size_t varint_len(uint64_t v)
{
    uint8_t bytes[10];
    return varint_bytes(v, bytes);
}

/* Of two strings: its length is known, so that nothing large is moved. */
static void string_entry(struct neap_buf *out, unsigned number, yyjson_val *key, yyjson_val *v)
{
    size_t m = yyjson_get_len(key), n = yyjson_get_len(v);
    tag_and(out, number, WIRE_BYTES, 1 + varint_len(m) + m + 1 + varint_len(n) + n);
    bytes_field(out, 1, yyjson_get_str(key), m);
    bytes_field(out, 2, yyjson_get_str(v), n);
}

static int map_entry(struct writer *w, unsigned number, const struct neap_shape *item,
                     yyjson_val *key)
{
    yyjson_val *v = yyjson_obj_iter_get_val(key);
    if (item->value == NEAP_T_STRING && yyjson_is_str(v)) {
        string_entry(w->out, number, key, v);
        return 0;
    }
    size_t start = open_message(w->out, number);
    int rc = 0;
    bytes_field(w->out, 1, yyjson_get_str(key), yyjson_get_len(key));
    if (item->value != NEAP_T_BYTES || !yyjson_is_null(v))
        rc = value_field(w, 2, item, v);
    close_message(w->out, start);
    return rc;
}

static int map_field(struct writer *w, unsigned number, const struct neap_shape *item,
                     yyjson_val *v)
{
    size_t n = yyjson_obj_size(v), i = 0;
    struct entry few[32], *entries = n > NEAP_ARRAY_LEN(few) ? neap_malloc(n * sizeof(*few)) : few;
    yyjson_obj_iter it = yyjson_obj_iter_with(v);
    bool sorted = true;
    int rc = 0;
    for (yyjson_val *k; (k = yyjson_obj_iter_next(&it)); i++) {
        entries[i].key = k;
        sorted = sorted && (i == 0 || by_key(&entries[i - 1], &entries[i]) < 0);
    }
    if (!sorted)
        qsort(entries, n, sizeof(*entries), by_key);
    for (i = 0; !rc && i < n; i++)
        rc = map_entry(w, number, item, entries[i].key);
    if (entries != few)
        free(entries);
    return rc;
}

/* Whether Go writes the field: see the head of this file. */
static bool written(const struct neap_field *f, yyjson_val *v)
{
    bool there = v && !yyjson_is_null(v);
    switch (f->shape.value) {
    case NEAP_T_ARRAY:
    case NEAP_T_MAP:
    case NEAP_T_BYTES:
        return there;
    default:
        return there || f->zero == NEAP_ZERO_DROP || f->zero == NEAP_ZERO_EMIT;
    }
}

static int field(struct writer *w, const struct neap_field *f, unsigned number, yyjson_val *v)
{
    if (!written(f, v))
        return 0;
    switch (f->shape.value) {
    case NEAP_T_ARRAY:
        return list_field(w, number, f->shape.item, v);
    case NEAP_T_MAP:
        return map_field(w, number, f->shape.item, v);
    default:
        return value_field(w, number, &f->shape, v);
    }
}

/* Values of <value> by index of their field. Canonical text has fields in the table's order, so the
 * next field is mostly the one looked for. */
static void gather(const struct neap_type *type, yyjson_val *value, yyjson_val **at)
{
    unsigned next = 0;
    yyjson_obj_iter it = yyjson_obj_iter_with(value);
    memset(at, 0, sizeof(*at) * type->field_count);
    for (yyjson_val *k; (k = yyjson_obj_iter_next(&it));) {
        const char *name = yyjson_get_str(k);
        size_t len = yyjson_get_len(k);
        unsigned i = next;
        while (i < type->field_count &&
               (type->fields[i].name_len != len || memcmp(type->fields[i].name, name, len) != 0))
            i++;
        if (i == type->field_count) {
            const struct neap_field *f = neap_type_field(type, name, len);
            if (!f)
                continue;
            i = (unsigned)(f - type->fields);
        } else {
            next = i + 1;
        }
        at[i] = yyjson_obj_iter_get_val(k);
    }
}

/* Embedded messages that are open while a message's fields are written in the order of their numbers. */
struct embedded {
    uint16_t number[4];
    size_t start[4];
    unsigned count;
};

static void embedded_leave(struct neap_buf *out, struct embedded *e, unsigned depth)
{
    while (e->count > depth)
        close_message(out, e->start[--e->count]);
}

static void embedded_enter(struct neap_buf *out, struct embedded *e, const struct neap_field *f)
{
    unsigned depth = f->pb_depth - 1u, same = 0;
    while (same < depth && same < e->count && e->number[same] == f->pb[same])
        same++;
    embedded_leave(out, e, same);
    for (; e->count < depth && e->count < NEAP_ARRAY_LEN(e->start); e->count++) {
        e->number[e->count] = f->pb[e->count];
        e->start[e->count] = open_message(out, f->pb[e->count]);
    }
}

static int message(struct writer *w, const struct neap_type *type, yyjson_val *value)
{
    yyjson_val *at[FIELDS_MAX];
    struct embedded open = {.count = 0};
    int rc = 0;
    if (w->depth >= NEAP_PROTOBUF_DEPTH_MAX || w->out->overflow || type->field_count > FIELDS_MAX)
        return neap_err_set(w->err, NEAP_ETOOLARGE, "protobuf: the message is too large");
    w->depth++;
    gather(type, value, at);
    for (unsigned i = 0; !rc && i < type->pb_count; i++) {
        const struct neap_field *f = &type->fields[type->by_pb[i]];
        embedded_enter(w->out, &open, f);
        rc = field(w, f, f->pb[f->pb_depth - 1], at[type->by_pb[i]]);
    }
    embedded_leave(w->out, &open, 0);
    w->depth--;
    return rc;
}

/* ---- envelopes ---- */

bool neap_protobuf_has(const struct neap_type *type)
{
    return type->pb_count > 0;
}

static int ended(struct neap_buf *out, int rc, struct neap_err *err)
{
    if (!rc && out->overflow)
        return neap_err_set(err, NEAP_ETOOLARGE, "protobuf: the message is too large");
    return rc;
}

int neap_protobuf_message(struct neap_buf *out, const struct neap_type *type, yyjson_val *value,
                          struct neap_err *err)
{
    struct writer w = {.out = out, .err = err};
    if (!neap_protobuf_has(type))
        return neap_err_set(err, NEAP_EINTERNAL, "protobuf: %s has no such form",
                            type->name ? type->name : "the kind");
    return ended(out, message(&w, type, value), err);
}

static const char *text_of(yyjson_val *object, const char *name)
{
    const char *s = yyjson_get_str(yyjson_obj_get(object, name));
    return s ? s : "";
}

void neap_protobuf_head(struct neap_buf *out, const char *api_version, const char *kind,
                        size_t body_len)
{
    neap_buf_append(out, "k8s", 4);
    size_t start = open_message(out, 1);
    bytes_field(out, 1, api_version, strlen(api_version));
    bytes_field(out, 2, kind, strlen(kind));
    close_message(out, start);
    tag_and(out, 2, WIRE_BYTES, body_len);
}

void neap_protobuf_tail(struct neap_buf *out)
{
    bytes_field(out, 3, "", 0); /* contentEncoding */
    bytes_field(out, 4, "", 0); /* contentType */
}

static void close_envelope(struct neap_buf *out, size_t start)
{
    close_message(out, start);
    neap_protobuf_tail(out);
}

/* As neap_protobuf_head, when the body's length is known only behind it. */
static size_t open_envelope(struct neap_buf *out, yyjson_val *value)
{
    neap_protobuf_head(out, text_of(value, "apiVersion"), text_of(value, "kind"), 0);
    return out->len;
}

int neap_protobuf_object(struct neap_buf *out, const struct neap_type *type, yyjson_val *value,
                         struct neap_err *err)
{
    size_t start = open_envelope(out, value);
    int rc = neap_protobuf_message(out, type, value, err);
    close_envelope(out, start);
    return ended(out, rc, err);
}

int neap_protobuf_list_meta(struct neap_buf *body, yyjson_val *metadata, struct neap_err *err)
{
    static const char name[] = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
    struct writer w = {.out = body, .err = err};
    return ended(body, struct_field(&w, 1, neap_type_by_name(name), metadata), err);
}

int neap_protobuf_list_item(struct neap_buf *body, const struct neap_type *item_type,
                            yyjson_val *item, struct neap_err *err)
{
    struct writer w = {.out = body, .err = err};
    return ended(body, struct_field(&w, 2, item_type, item), err);
}

int neap_protobuf_list(struct neap_buf *out, const struct neap_type *item_type, yyjson_val *list,
                       struct neap_err *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(list, "items"));
    size_t start = open_envelope(out, list);
    int rc = neap_protobuf_list_meta(out, yyjson_obj_get(list, "metadata"), err);
    for (yyjson_val *item; !rc && (item = yyjson_arr_iter_next(&it));)
        rc = neap_protobuf_list_item(out, item_type, item, err);
    close_envelope(out, start);
    return ended(out, rc, err);
}

int neap_protobuf_watch_frame(struct neap_buf *out, const char *event, const void *object,
                              size_t object_len, struct neap_err *err)
{
    size_t frame = out->len;
    neap_buf_append(out, "\0\0\0", FRAME_HEAD);
    bytes_field(out, 1, event, strlen(event));
    size_t start = open_message(out, 2);
    bytes_field(out, 1, object, object_len);
    close_message(out, start);
    if (out->overflow || out->len - frame - FRAME_HEAD > UINT32_MAX)
        return neap_err_set(err, NEAP_ETOOLARGE, "protobuf: the frame is too large");
    uint32_t len = (uint32_t)(out->len - frame - FRAME_HEAD);
    for (unsigned i = 0; i < FRAME_HEAD; i++)
        out->data[frame + i] = (char)(len >> (8 * (FRAME_HEAD - 1 - i)));
    return 0;
}
