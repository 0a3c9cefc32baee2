/* JSON text to a mutable document: bounded depth, duplicate keys noticed, Go's words for bad text. */
#include "json_internal.h"

/* Where the string that begins at <at> (its quote) ends: the place of its closing quote, or <len>. A quote behind an
 * odd number of backslashes does not close. */
static size_t string_end(const char *s, size_t len, size_t at)
{
    const char *from = s + at + 1, *quote = from - 1;
    while ((quote = memchr(quote + 1, '"', len - (size_t)(quote + 1 - s)))) {
        const char *p = quote;
        while (p > from && p[-1] == '\\')
            p--;
        if ((quote - p) % 2 == 0)
            return (size_t)(quote - s);
    }
    return len;
}

/* Nesting outside strings, before anything is built: a parser that recurses later is safe. */
static bool depth_ok(const char *s, size_t len)
{
    unsigned depth = 0;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '"') {
            i = string_end(s, len, i);
        } else if (c == '{' || c == '[') {
            if (++depth > NEAP_JSON_DEPTH_MAX)
                return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

void neap_json_report(struct neap_decode_report *report, const char *text)
{
    if (!report || !text || report->count >= NEAP_ARRAY_LEN(report->unknown))
        return;
    for (unsigned i = 0; i < report->count; i++)
        if (neap_streq(report->unknown[i], text))
            return;
    report->unknown[report->count++] = (char *)(uintptr_t)text;
}

/* ---- duplicate keys: the last one wins, each is reported once ------------------------------- */

struct dedupe {
    struct neap_decode_report *report;
    struct neap_buf path;
};

static void walk(struct dedupe *d, yyjson_mut_val *v);

/* <stays>: the last of the equal keys, where a reader of the tree meets it. What was found below the
 * earlier ones, which go, is met there too. */
static void report_duplicate(struct dedupe *d, yyjson_mut_val *stays)
{
    struct neap_decode_report *r = d->report;
    if (!r || !r->arena)
        return;
    char *text =
        neap_arena_printf(r->arena, "duplicate field \"%s%s%s\"", d->path.len ? d->path.data : "",
                          d->path.len ? "." : "", yyjson_mut_get_str(stays));
    size_t len = text ? strlen(text) - 1 : 0;
    for (unsigned i = 0; text && i < r->count; i++)
        if (strncmp(r->unknown[i], text, len) == 0 && strchr(".[", r->unknown[i][len]))
            r->key[i] = stays;
    unsigned before = r->count;
    neap_json_report(r, text);
    if (r->count > before)
        r->key[before] = stays;
}

/* Removes earlier pairs whose key comes again. A small object is compared pair by pair, a big one by a
 * map, so that a hostile body costs no quadratic time. */
static void drop_duplicates(struct dedupe *d, yyjson_mut_val *obj)
{
    size_t n = yyjson_mut_obj_size(obj);
    if (n < 2)
        return;
    struct neap_map seen = NEAP_MAP_INIT;
    const char *small[16];
    size_t small_count = 0;
    bool found = false;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(obj);
    for (yyjson_mut_val *k; !found && (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k);
        size_t len = yyjson_mut_get_len(k);
        if (n <= NEAP_ARRAY_LEN(small)) {
            for (size_t i = 0; i < small_count && !found; i++)
                found = strcmp(small[i], key) == 0;
            small[small_count++] = key;
        } else {
            found = neap_map_setn(&seen, key, len, k) != NULL;
        }
    }
    neap_map_done(&seen, NULL);
    if (!found)
        return;
    struct neap_map last = NEAP_MAP_INIT; /* key -> its last key value */
    it = yyjson_mut_obj_iter_with(obj);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));)
        neap_map_setn(&last, yyjson_mut_get_str(k), yyjson_mut_get_len(k), k);
    it = yyjson_mut_obj_iter_with(obj);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        yyjson_mut_val *stays = neap_map_getn(&last, yyjson_mut_get_str(k), yyjson_mut_get_len(k));
        if (stays == k)
            continue;
        report_duplicate(d, stays);
        yyjson_mut_obj_iter_remove(&it);
    }
    neap_map_done(&last, NULL);
}

static void walk_object(struct dedupe *d, yyjson_mut_val *v)
{
    size_t mark = d->path.len;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        yyjson_mut_val *child = yyjson_mut_obj_iter_get_val(k);
        if (!yyjson_mut_is_ctn(child))
            continue;
        if (mark)
            neap_buf_char(&d->path, '.');
        neap_buf_append(&d->path, yyjson_mut_get_str(k), yyjson_mut_get_len(k));
        walk(d, child);
        d->path.len = mark;
        d->path.data[mark] = '\0';
    }
    drop_duplicates(d, v);
}

static void walk_array(struct dedupe *d, yyjson_mut_val *v)
{
    size_t mark = d->path.len, i = 0;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
    for (yyjson_mut_val *child; (child = yyjson_mut_arr_iter_next(&it)); i++) {
        if (!yyjson_mut_is_ctn(child))
            continue;
        neap_buf_printf(&d->path, "[%zu]", i);
        walk(d, child);
        d->path.len = mark;
        d->path.data[mark] = '\0';
    }
}

static void walk(struct dedupe *d, yyjson_mut_val *v)
{
    if (yyjson_mut_is_obj(v))
        walk_object(d, v);
    else if (yyjson_mut_is_arr(v))
        walk_array(d, v);
}

void neap_json_dedupe(struct neap_decode_report *report, yyjson_mut_val *root)
{
    struct dedupe d = {.report = report};
    neap_buf_reserve(&d.path, 1);
    d.path.data[0] = '\0';
    walk(&d, root);
    neap_buf_done(&d.path);
}

/* ---- Go's words for a syntax error ----------------------------------------------------------- */

static int syntax_error(const char *json, size_t len, const yyjson_read_err *e,
                        struct neap_err *err)
{
    size_t at = e->pos;
    if (e->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        return neap_err_set(err, NEAP_ETOOLARGE, "the request is too large to be decoded");
    if (at >= len || len == 0)
        return neap_err_set(err, NEAP_EBADREQUEST, "unexpected end of JSON input");
    char quoted[8];
    unsigned char c = (unsigned char)json[at];
    if (c == '\'' || c == '\\')
        snprintf(quoted, sizeof(quoted), "'\\%c'", c);
    else if (c >= 32 && c < 127)
        snprintf(quoted, sizeof(quoted), "'%c'", c);
    else
        snprintf(quoted, sizeof(quoted), "'\\x%02x'", c);
    /* what stood before decides what was looked for */
    size_t back = at;
    while (back > 0 && strchr(" \t\r\n", json[back - 1]))
        back--;
    char before = back ? json[back - 1] : '\0';
    const char *looking = "looking for beginning of value";
    if (e->code == YYJSON_READ_ERROR_UNEXPECTED_CONTENT)
        looking = "after top-level value";
    else if (before == '{')
        looking = "looking for beginning of object key string";
    else if (before == '"')
        looking = "after object key";
    return neap_err_set(err, NEAP_EBADREQUEST, "invalid character %s %s", quoted, looking);
}

int neap_json_parse(struct neap_arena *arena, const char *json, size_t len,
                    struct neap_decode_report *report, yyjson_mut_doc **ret, struct neap_err *err)
{
    if (!depth_ok(json, len))
        return neap_err_set(err, NEAP_EBADREQUEST, "exceeded max depth of %d", NEAP_JSON_DEPTH_MAX);
    const yyjson_alc *alc = neap_arena_alc(arena);
    yyjson_read_err e;
    /* yyjson only writes to its input with the in-situ flag */
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)json, len, 0, alc, &e);
    if (!doc)
        return syntax_error(json, len, &e, err);
    *ret = yyjson_doc_mut_copy(doc, alc);
    if (!*ret)
        return neap_err_set(err, NEAP_ETOOLARGE, "the request is too large to be decoded");
    neap_json_dedupe(report, yyjson_mut_doc_get_root(*ret));
    return 0;
}
