/* Scalars: checked and normalised in place. */
#include "kind_internal.h"
#include <errno.h>

static void set_text(yyjson_mut_doc *doc, yyjson_mut_val *v, const char *s, size_t len)
{
    yyjson_mut_val *copy = yyjson_mut_strncpy(doc, s, len);
    if (copy)
        yyjson_mut_set_strn(v, yyjson_mut_get_str(copy), len);
}

/* ---- base64 ---------------------------------------------------------------------------------- */

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Go's decoder: line breaks are skipped, padding is demanded, unused bits are ignored (and come out
 * as zero when written again). */
static int base64_normalise(yyjson_mut_doc *doc, yyjson_mut_val *v, struct neap_err *err)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *s = yyjson_mut_get_str(v);
    size_t len = yyjson_mut_get_len(v), n = 0, pad = 0, i = 0;
    struct neap_buf out = NEAP_BUF_INIT;
    bool changed = false;
    size_t bad = SIZE_MAX;
    char *to = neap_buf_reserve(&out, len + 4);
    for (; i < len; i++) {
        if (s[i] == '\n' || s[i] == '\r') {
            changed = true;
            continue;
        }
        if (s[i] == '=') {
            if (n % 4 < 2) {
                bad = i;
                break;
            }
            pad++;
            to[n++] = '=';
            continue;
        }
        int d = base64_digit(s[i]);
        if (d < 0 || pad) {
            bad = i;
            break;
        }
        to[n++] = s[i];
    }
    if (bad == SIZE_MAX && n % 4)
        bad = len - (n % 4 == 1 ? 1 : 0);
    if (bad != SIZE_MAX) {
        neap_buf_done(&out);
        return neap_err_set(err, NEAP_EBADREQUEST, "illegal base64 data at input byte %zu", bad);
    }
    if (pad) {
        char *last = &to[n - pad - 1];
        int keep = base64_digit(*last) & (pad == 1 ? 0x3c : 0x30);
        changed = changed || *last != digits[keep];
        *last = digits[keep];
    }
    if (changed)
        set_text(doc, v, to, n);
    neap_buf_done(&out);
    return 0;
}

/* ---- times ------------------------------------------------------------------------------------- */

static const struct {
    const char *layout;
    int digits; /* 0: the layout itself must stand there */
    int min, max;
    const char *range;
} time_parts[] = {
    {"2006", 4, 0, 9999, NULL}, {"-", 0, 0, 0, NULL},       {"01", 2, 1, 12, "month"},
    {"-", 0, 0, 0, NULL},       {"02", 2, 1, 31, "day"},    {"T", 0, 0, 0, NULL},
    {"15", 2, 0, 23, "hour"},   {":", 0, 0, 0, NULL},       {"04", 2, 0, 59, "minute"},
    {":", 0, 0, 0, NULL},       {"05", 2, 0, 59, "second"},
};

static int time_error(const char *s, bool micro, const char *at, const char *layout,
                      struct neap_err *err)
{
    const char *form = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00";
    return neap_err_set(err, NEAP_EBADREQUEST,
                        "parsing time \"%s\" as \"%s\": cannot parse \"%s\" as \"%s\"", s, form, at,
                        layout);
}

/* Checks against the layout, so that the message names the part as Go's does; the value comes from
 * neap_time_parse_parts. */
static int time_check(const char *s, bool micro, struct neap_err *err)
{
    const char *p = s;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(time_parts); i++) {
        if (!time_parts[i].digits) {
            if (*p != *time_parts[i].layout)
                return time_error(s, micro, p, time_parts[i].layout, err);
            p++;
            continue;
        }
        int v = 0;
        for (int d = 0; d < time_parts[i].digits; d++) {
            if (p[d] < '0' || p[d] > '9')
                return time_error(s, micro, p, time_parts[i].layout, err);
            v = v * 10 + (p[d] - '0');
        }
        if (v < time_parts[i].min || v > time_parts[i].max)
            return neap_err_set(err, NEAP_EBADREQUEST, "parsing time \"%s\": %s out of range", s,
                                time_parts[i].range);
        p += time_parts[i].digits;
    }
    if (micro) {
        if (*p != '.' || strspn(p + 1, "0123456789") != 6)
            return time_error(s, micro, p, ".000000", err);
    }
    if (*p == '.')
        p += 1 + strspn(p + 1, "0123456789");
    if (*p != 'Z' && (strlen(p) != 6 || (*p != '+' && *p != '-')))
        return time_error(s, micro, p, "Z07:00", err);
    if (*p == 'Z' && p[1])
        return neap_err_set(err, NEAP_EBADREQUEST, "parsing time \"%s\": extra text: \"%s\"", s,
                            p + 1);
    return 0;
}

static int time_normalise(yyjson_mut_doc *doc, yyjson_mut_val *v, bool micro, struct neap_err *err)
{
    const char *s = yyjson_mut_get_str(v);
    char text[40];
    int rc = time_check(s, micro, err);
    if (rc)
        return rc;
    if (!neap_time_normalise(s, yyjson_mut_get_len(v), micro, text))
        return neap_err_set(err, NEAP_EBADREQUEST, "parsing time \"%s\": day out of range", s);
    if (strcmp(text, s) != 0)
        set_text(doc, v, text, strlen(text));
    return 0;
}

/* ---- quantities --------------------------------------------------------------------------------- */

static int quantity_normalise(yyjson_mut_doc *doc, yyjson_mut_val *v, bool milli,
                              struct neap_err *err)
{
    struct neap_buf text = NEAP_BUF_INIT, out = NEAP_BUF_INIT;
    int rc = 0;
    if (yyjson_mut_is_num(v))
        neap_json_write_number(&text, v);
    else if (yyjson_mut_is_str(v))
        neap_buf_append(&text, yyjson_mut_get_str(v), yyjson_mut_get_len(v));
    const char *s = text.len ? text.data : "";
    if (!neap_kind_quantity_is_syntax(s, text.len))
        rc = neap_err_set(err, NEAP_EBADREQUEST,
                          "quantities must match the regular expression "
                          "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    else if (!(milli ? neap_kind_quantity_format_milli : neap_quantity_format)(&out, s, text.len))
        rc = neap_err_set(err, NEAP_EBADREQUEST, "unable to parse quantity's suffix");
    else if (!yyjson_mut_equals_strn(v, out.data, out.len))
        set_text(doc, v, out.data, out.len);
    neap_buf_done(&text);
    neap_buf_done(&out);
    return rc;
}

/* ---- durations ("1h2m0.5s") --------------------------------------------------------------------- */

/* "1.5h": whole and fraction apart, so that no digit is lost; digits of the fraction beyond 18 count
 * for nothing. false: not a number, or too large. */
static bool duration_number(const char **at, uint64_t *whole, uint64_t *fraction, uint64_t *scale)
{
    const char *s = *at;
    unsigned digits = 0;
    *whole = *fraction = 0;
    *scale = 1;
    for (; *s >= '0' && *s <= '9'; s++, digits++) {
        if (*whole > (UINT64_MAX / 2 - 9) / 10)
            return false;
        *whole = *whole * 10 + (uint64_t)(*s - '0');
    }
    if (*s == '.') {
        for (s++; *s >= '0' && *s <= '9'; s++, digits++) {
            if (*scale >= 1000000000000000000ull)
                continue;
            *fraction = *fraction * 10 + (uint64_t)(*s - '0');
            *scale *= 10;
        }
    }
    *at = s;
    return digits > 0;
}

/* Nanoseconds of the unit at *at; 0: none. */
static uint64_t duration_unit(const char **at)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } units[] = {{"ns", 1},       {"us", 1000},      {"\302\265s", 1000}, {"\316\274s", 1000},
                 {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000}};
    size_t len = strcspn(*at, "0123456789.");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(units); i++) {
        if (strlen(units[i].text) == len && strncmp(units[i].text, *at, len) == 0) {
            *at += len;
            return units[i].ns;
        }
    }
    return 0;
}

bool neap_kind_duration_parse(const char *s, int64_t *ret_ns)
{
    bool negative = *s == '-';
    const unsigned __int128 most = (unsigned __int128)INT64_MAX + negative;
    unsigned __int128 total = 0;
    if (*s == '-' || *s == '+')
        s++;
    if (strcmp(s, "0") == 0) {
        *ret_ns = 0;
        return true;
    }
    if (!*s)
        return false;
    while (*s) {
        uint64_t whole, fraction, scale, unit;
        if (!duration_number(&s, &whole, &fraction, &scale) || !(unit = duration_unit(&s)))
            return false;
        total += (unsigned __int128)whole * unit + (unsigned __int128)fraction * unit / scale;
        if (total > most)
            return false;
    }
    *ret_ns = negative ? (int64_t)(0 - (uint64_t)total) : (int64_t)total;
    return true;
}

static void trim_fraction(char *s)
{
    size_t n = strlen(s);
    while (n && s[n - 1] == '0')
        n--;
    if (n && s[n - 1] == '.')
        n--;
    s[n] = '\0';
}

static void duration_format(int64_t ns, char out[64])
{
    char seconds[32];
    uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    const char *sign = ns < 0 ? "-" : "";
    if (u == 0) {
        snprintf(out, 64, "0s");
    } else if (u < 1000000000) {
        const char *unit = u < 1000 ? "ns" : u < 1000000 ? "\302\265s" : "ms";
        double d = (double)u / (u < 1000 ? 1 : u < 1000000 ? 1e3 : 1e6);
        snprintf(seconds, sizeof(seconds), "%.6f", d);
        trim_fraction(seconds);
        snprintf(out, 64, "%s%s%s", sign, seconds, unit);
    } else {
        uint64_t h = u / 3600000000000ull, m = u / 60000000000ull % 60;
        snprintf(seconds, sizeof(seconds), "%.9f", (double)(u % 60000000000ull) / 1e9);
        trim_fraction(seconds);
        if (h)
            snprintf(out, 64, "%s%lluh%llum%ss", sign, (unsigned long long)h, (unsigned long long)m,
                     seconds);
        else if (m)
            snprintf(out, 64, "%s%llum%ss", sign, (unsigned long long)m, seconds);
        else
            snprintf(out, 64, "%s%ss", sign, seconds);
    }
}

static int duration_normalise(yyjson_mut_doc *doc, yyjson_mut_val *v, struct neap_err *err)
{
    int64_t ns;
    char text[64];
    if (!neap_kind_duration_parse(yyjson_mut_get_str(v), &ns))
        return neap_err_set(err, NEAP_EBADREQUEST, "time: invalid duration \"%s\"",
                            yyjson_mut_get_str(v));
    duration_format(ns, text);
    if (!yyjson_mut_equals_str(v, text))
        set_text(doc, v, text, strlen(text));
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------------ */

static bool integer_ok(yyjson_mut_val *v, int64_t min, int64_t max)
{
    if (!yyjson_mut_is_int(v))
        return false;
    if (yyjson_mut_is_uint(v))
        return yyjson_mut_get_uint(v) <= (uint64_t)max;
    return yyjson_mut_get_sint(v) >= min && yyjson_mut_get_sint(v) <= max;
}

int neap_kind_scalar(yyjson_mut_doc *doc, yyjson_mut_val *v, enum neap_value_type t, bool milli,
                     bool *wrong_type, struct neap_err *err)
{
    bool text = yyjson_mut_is_str(v);
    *wrong_type = false;
    switch (t) {
    case NEAP_T_STRING:
        *wrong_type = !text;
        return 0;
    case NEAP_T_INT32:
        *wrong_type = !integer_ok(v, INT32_MIN, INT32_MAX);
        return 0;
    case NEAP_T_INT64:
        *wrong_type = !integer_ok(v, INT64_MIN, INT64_MAX);
        return 0;
    case NEAP_T_DOUBLE:
        *wrong_type = !yyjson_mut_is_num(v);
        return 0;
    case NEAP_T_BOOL:
        *wrong_type = !yyjson_mut_is_bool(v);
        return 0;
    case NEAP_T_INT_OR_STRING:
        *wrong_type = !text && !integer_ok(v, INT32_MIN, INT32_MAX);
        return 0;
    case NEAP_T_QUANTITY:
        return quantity_normalise(doc, v, milli, err);
    case NEAP_T_BYTES:
    case NEAP_T_TIME:
    case NEAP_T_MICROTIME:
    case NEAP_T_DURATION:
        *wrong_type = !text;
        if (!text)
            return 0;
        return t == NEAP_T_BYTES      ? base64_normalise(doc, v, err)
               : t == NEAP_T_DURATION ? duration_normalise(doc, v, err)
                                      : time_normalise(doc, v, t == NEAP_T_MICROTIME, err);
    default:
        return 0;
    }
}
