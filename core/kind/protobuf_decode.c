/* Kubernetes' protobuf to a tree, by the kind tables. Source: protobuf wire format; the envelope "k8s\0"
 * and message Unknown of k8s.io/apimachinery. What comes out is decoded like JSON afterwards. */
#include "kind_internal.h"
#include <math.h>
#include <time.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { MESSAGE_DEPTH_MAX = 64 };

struct reader {
    const uint8_t *at, *end;
};

struct context {
    yyjson_mut_doc *doc;
    unsigned depth;
    struct neap_err *err;
};

/* One field of a message. */
struct item {
    uint32_t number;
    unsigned wire;
    uint64_t varint; /* also fixed */
    struct reader bytes;
};

static int message(struct context *c, struct reader r, const struct neap_type *type,
                   const uint16_t *prefix, unsigned depth, yyjson_mut_val *obj);

static int bad(struct context *c, const char *what)
{
    return neap_err_set(c->err, NEAP_EBADREQUEST, "protobuf: %s", what);
}

static bool read_varint(struct reader *r, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t b = *r->at++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct reader *r, unsigned n, uint64_t *ret)
{
    if ((size_t)(r->end - r->at) < n)
        return false;
    *ret = 0;
    for (unsigned i = 0; i < n; i++)
        *ret |= (uint64_t)*r->at++ << (8 * i);
    return true;
}

/* 1: an item; 0: the end; -1: malformed. */
static int next(struct reader *r, struct item *i)
{
    uint64_t tag, len;
    if (r->at == r->end)
        return 0;
    if (!read_varint(r, &tag) || tag >> 3 == 0 || tag >> 3 > 536870911)
        return -1;
    *i = (struct item){.number = (uint32_t)(tag >> 3), .wire = tag & 7};
    switch (i->wire) {
    case WIRE_VARINT:
        return read_varint(r, &i->varint) ? 1 : -1;
    case WIRE_FIXED64:
        return read_fixed(r, 8, &i->varint) ? 1 : -1;
    case WIRE_FIXED32:
        return read_fixed(r, 4, &i->varint) ? 1 : -1;
    case WIRE_BYTES:
        if (!read_varint(r, &len) || len > (uint64_t)(r->end - r->at))
            return -1;
        i->bytes = (struct reader){r->at, r->at + len};
        r->at += len;
        return 1;
    default:
        return -1;
    }
}

/* ---- small messages ---- */

static yyjson_mut_val *text(struct context *c, struct reader r)
{
    return yyjson_mut_strncpy(c->doc, (const char *)r.at, (size_t)(r.end - r.at));
}

/* Takes numbered scalars of a message: ints[1..3], one string. */
static bool scalars(struct reader r, uint64_t ints[4], struct reader *string, uint32_t string_at)
{
    struct item i;
    int rc;
    while ((rc = next(&r, &i)) == 1) {
        if (i.wire == WIRE_VARINT && i.number < 4)
            ints[i.number] = i.varint;
        else if (i.wire == WIRE_BYTES && i.number == string_at)
            *string = i.bytes;
    }
    return rc == 0;
}

static yyjson_mut_val *time_value(struct context *c, struct reader r, bool micro)
{
    uint64_t ints[4] = {0};
    struct reader none = {NULL, NULL};
    char out[32];
    if (r.at == r.end) /* how Go writes its zero time */
        return yyjson_mut_null(c->doc);
    if (!scalars(r, ints, &none, 0))
        return NULL;
    int64_t seconds = (int64_t)ints[1];
    if (seconds == -62135596800) /* Go's zero time */
        return yyjson_mut_null(c->doc);
    if (seconds > 253402300799 || seconds < -62167219200) /* years 0 to 9999 */
        return NULL;
    time_t t = (time_t)seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    /* %Y would not fill up the year */
    size_t n = (size_t)snprintf(out, sizeof(out), "%04u", (unsigned)(tm.tm_year + 1900) % 10000);
    n += strftime(out + n, sizeof(out) - n, "-%m-%dT%H:%M:%S", &tm);
    if (micro)
        snprintf(out + n, sizeof(out) - n, ".%06uZ", (unsigned)(ints[2] / 1000 % 1000000));
    else
        snprintf(out + n, sizeof(out) - n, "Z");
    return yyjson_mut_strcpy(c->doc, out);
}

static yyjson_mut_val *base64(struct context *c, struct reader r)
{
    struct neap_buf b = NEAP_BUF_INIT;
    neap_kind_base64(&b, r.at, (size_t)(r.end - r.at));
    yyjson_mut_val *v = yyjson_mut_strncpy(c->doc, b.data ? b.data : "", b.len);
    neap_buf_done(&b);
    return v;
}

/* RawExtension, JSON, FieldsV1: bytes of JSON in field 1. */
static yyjson_mut_val *raw_json(struct context *c, struct reader r)
{
    uint64_t ints[4] = {0};
    struct reader bytes = {NULL, NULL};
    if (!scalars(r, ints, &bytes, 1))
        return NULL;
    if (bytes.at == bytes.end)
        return yyjson_mut_null(c->doc);
    struct neap_arena *arena = neap_arena_new(16u << 20);
    yyjson_mut_doc *doc;
    yyjson_mut_val *v = NULL;
    if (neap_json_parse(arena, (const char *)bytes.at, (size_t)(bytes.end - bytes.at), NULL, &doc,
                        NULL) == 0)
        v = yyjson_mut_val_mut_copy(c->doc, yyjson_mut_doc_get_root(doc));
    neap_arena_free(arena);
    return v;
}

static yyjson_mut_val *int_or_string(struct context *c, struct reader r)
{
    uint64_t ints[4] = {0};
    struct reader s = {NULL, NULL};
    if (!scalars(r, ints, &s, 3))
        return NULL;
    return ints[1] ? text(c, s) : yyjson_mut_sint(c->doc, (int32_t)ints[2]);
}

static yyjson_mut_val *duration(struct context *c, struct reader r)
{
    uint64_t ints[4] = {0};
    struct reader none = {NULL, NULL};
    char out[32];
    if (!scalars(r, ints, &none, 0))
        return NULL;
    snprintf(out, sizeof(out), "%lldns", (long long)ints[1]);
    return yyjson_mut_strcpy(c->doc, out);
}

/* ---- values ---- */

static yyjson_mut_val *value(struct context *c, const struct item *i, const struct neap_shape *s);

static yyjson_mut_val *struct_value(struct context *c, struct reader r, const struct neap_type *t)
{
    yyjson_mut_val *o = yyjson_mut_obj(c->doc);
    return o && message(c, r, t, NULL, 0, o) == 0 ? o : NULL;
}

/* A list inside a map is a message of its own: its items are field 1. */
static yyjson_mut_val *wrapped_list(struct context *c, struct reader r, const struct neap_shape *s)
{
    yyjson_mut_val *list = yyjson_mut_arr(c->doc), *v;
    struct item i;
    int rc;
    while ((rc = next(&r, &i)) == 1)
        if (i.number == 1 && (!(v = value(c, &i, s->item)) || !yyjson_mut_arr_append(list, v)))
            return NULL;
    return rc == 0 ? list : NULL;
}

static yyjson_mut_val *bytes_value(struct context *c, struct reader r, const struct neap_shape *s)
{
    uint64_t ints[4] = {0};
    struct reader string = {NULL, NULL};
    switch (s->value) {
    case NEAP_T_STRING:
        return text(c, r);
    case NEAP_T_BYTES:
        return base64(c, r);
    case NEAP_T_TIME:
    case NEAP_T_MICROTIME:
        return time_value(c, r, s->value == NEAP_T_MICROTIME);
    case NEAP_T_QUANTITY:
        return scalars(r, ints, &string, 1) ? text(c, string) : NULL;
    case NEAP_T_INT_OR_STRING:
        return int_or_string(c, r);
    case NEAP_T_DURATION:
        return duration(c, r);
    case NEAP_T_RAW:
    case NEAP_T_FIELDS_V1:
        return raw_json(c, r);
    case NEAP_T_STRUCT:
        return struct_value(c, r, s->type);
    case NEAP_T_ARRAY:
        return wrapped_list(c, r, s);
    default:
        return NULL;
    }
}

static yyjson_mut_val *value(struct context *c, const struct item *i, const struct neap_shape *s)
{
    double d;
    if (i->wire == WIRE_BYTES)
        return bytes_value(c, i->bytes, s);
    switch (s->value) {
    case NEAP_T_BOOL:
        return yyjson_mut_bool(c->doc, i->varint != 0);
    case NEAP_T_INT32:
        return yyjson_mut_sint(c->doc, (int32_t)i->varint);
    case NEAP_T_INT64:
        return yyjson_mut_sint(c->doc, (int64_t)i->varint);
    case NEAP_T_DOUBLE:
        memcpy(&d, &i->varint, sizeof(d));
        /* JSON knows no infinity, and what is stored is JSON */
        return isfinite(d) ? yyjson_mut_real(c->doc, d) : NULL;
    default:
        return NULL;
    }
}

static int map_entry(struct context *c, struct reader r, const struct neap_shape *s,
                     yyjson_mut_val *obj)
{
    struct reader key = {NULL, NULL};
    struct item i, v = {.wire = WIRE_BYTES};
    int rc;
    while ((rc = next(&r, &i)) == 1) {
        if (i.number == 1 && i.wire == WIRE_BYTES)
            key = i.bytes;
        else if (i.number == 2)
            v = i;
    }
    yyjson_mut_val *k = text(c, key), *parsed = rc == 0 ? value(c, &v, s->item) : NULL;
    if (!k || !parsed)
        return bad(c, "a map entry is malformed");
    yyjson_mut_obj_add(obj, k,
                       parsed); /* twice is seen to at the end: looking each time is quadratic */
    return 0;
}

static yyjson_mut_val *container(struct context *c, yyjson_mut_val *obj, const struct neap_field *f,
                                 bool list)
{
    yyjson_mut_val *v = yyjson_mut_obj_get(obj, f->name);
    if (v)
        return v;
    v = list ? yyjson_mut_arr(c->doc) : yyjson_mut_obj(c->doc);
    yyjson_mut_obj_add(obj, kind_key(c->doc, f->name), v);
    return v;
}

/* Numbers may come packed. */
static int packed(struct context *c, struct reader r, const struct neap_shape *s,
                  yyjson_mut_val *list)
{
    struct item i = {.wire = WIRE_VARINT};
    while (r.at < r.end) {
        if (!read_varint(&r, &i.varint))
            return bad(c, "a packed list is malformed");
        yyjson_mut_arr_append(list, value(c, &i, s));
    }
    return 0;
}

static bool number_shape(const struct neap_shape *s)
{
    return s->value == NEAP_T_INT32 || s->value == NEAP_T_INT64 || s->value == NEAP_T_BOOL;
}

static int field(struct context *c, const struct item *i, const struct neap_field *f,
                 yyjson_mut_val *obj)
{
    yyjson_mut_val *v, *list;
    if (f->shape.value == NEAP_T_MAP) {
        if (i->wire != WIRE_BYTES)
            return bad(c, "a map is malformed");
        return map_entry(c, i->bytes, &f->shape, container(c, obj, f, false));
    }
    if (f->shape.value == NEAP_T_ARRAY) {
        list = container(c, obj, f, true);
        if (i->wire == WIRE_BYTES && number_shape(f->shape.item))
            return packed(c, i->bytes, f->shape.item, list);
        v = value(c, i, f->shape.item);
        if (!v || !yyjson_mut_arr_append(list, v))
            return c->err->code ? c->err->code : bad(c, f->name);
        return 0;
    }
    v = value(c, i, &f->shape);
    if (!v)
        return c->err->code ? c->err->code : bad(c, f->name);
    yyjson_mut_obj_put(obj, kind_key(c->doc, f->name), v);
    return 0;
}

static const struct neap_field *by_number(const struct neap_type *t, const uint16_t *prefix,
                                          unsigned depth, uint32_t number, bool *inside)
{
    *inside = false;
    for (unsigned i = 0; i < t->field_count; i++) {
        const struct neap_field *f = &t->fields[i];
        if (f->pb_depth <= depth || f->pb[depth] != number ||
            (depth && memcmp(f->pb, prefix, depth * sizeof(*prefix)) != 0))
            continue;
        if (f->pb_depth == depth + 1)
            return f;
        *inside = true;
    }
    return NULL;
}

enum { PREFIX_MAX = 4 };

/* <prefix>: the numbers of embedded messages that were entered: their fields are ours. */
static int message(struct context *c, struct reader r, const struct neap_type *type,
                   const uint16_t *prefix, unsigned depth, yyjson_mut_val *obj)
{
    struct item i;
    int rc, more;
    if (++c->depth > MESSAGE_DEPTH_MAX)
        return bad(c, "messages are nested too deeply");
    while ((more = next(&r, &i)) == 1) {
        bool inside;
        const struct neap_field *f = by_number(type, prefix, depth, i.number, &inside);
        rc = 0;
        if (f) {
            rc = field(c, &i, f, obj);
        } else if (inside && i.wire == WIRE_BYTES && depth + 1 < PREFIX_MAX) {
            uint16_t deeper[PREFIX_MAX];
            for (unsigned d = 0; d < depth; d++)
                deeper[d] = prefix[d];
            deeper[depth] = (uint16_t)i.number;
            rc = message(c, i.bytes, type, deeper, depth + 1, obj);
        }
        if (rc)
            return rc;
    }
    c->depth--;
    return more == 0 ? 0 : bad(c, "a message is truncated or malformed");
}

static int type_meta(struct context *c, struct reader r, yyjson_mut_val *root)
{
    struct item i;
    int rc;
    while ((rc = next(&r, &i)) == 1) {
        if (i.wire == WIRE_BYTES && i.bytes.at < i.bytes.end && (i.number == 1 || i.number == 2))
            yyjson_mut_obj_put(root, kind_key(c->doc, i.number == 1 ? "apiVersion" : "kind"),
                               text(c, i.bytes));
    }
    return rc == 0 ? 0 : bad(c, "the type is malformed");
}

int neap_protobuf_parse(struct neap_arena *arena, const void *data, size_t len,
                        const struct neap_type *type, yyjson_mut_doc **ret, struct neap_err *err)
{
    static const uint8_t prefix[] = {'k', '8', 's', 0};
    struct context c = {.doc = yyjson_mut_doc_new(neap_arena_alc(arena)), .err = err};
    const uint8_t *bytes = data;
    if (len < 4 || memcmp(bytes, prefix, 4) != 0)
        return neap_err_set(
            err, NEAP_EBADREQUEST,
            "provided data does not appear to be a protobuf message, expected prefix "
            "[107 56 115 0]");
    yyjson_mut_val *root = c.doc ? yyjson_mut_obj(c.doc) : NULL;
    if (!root)
        return neap_err_set(err, NEAP_ETOOLARGE, "the request is too large to be decoded");
    struct reader r = {bytes + 4, bytes + len}, raw = {NULL, NULL};
    struct item i;
    int rc = 0, more;
    while (!rc && (more = next(&r, &i)) == 1) {
        if (i.number == 1 && i.wire == WIRE_BYTES)
            rc = type_meta(&c, i.bytes, root);
        else if (i.number == 2 && i.wire == WIRE_BYTES)
            raw = i.bytes;
    }
    if (!rc && more != 0)
        rc = bad(&c, "the envelope is malformed");
    if (!rc)
        rc = message(&c, raw, type, NULL, 0, root);
    if (rc)
        return rc;
    neap_json_dedupe(NULL, root);
    yyjson_mut_doc_set_root(c.doc, root);
    *ret = c.doc;
    return 0;
}
