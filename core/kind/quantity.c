/* Quantities: parsing into nano units and Kubernetes' canonical text.
 * Source: Kubernetes documentation, "Quantity". Precision is nano, rounded away from zero; the magnitude
 * saturates at 2^63-1 units. */
#include "kind_internal.h"

typedef __int128 nano_t;
static const nano_t NANO = 1000000000;
static const nano_t NANO_MAX = (nano_t)INT64_MAX * 1000000000;
static const nano_t ROOM = (nano_t)1 << 125; /* may be doubled once more */

enum format { DECIMAL_SI, BINARY_SI, DECIMAL_EXPONENT };

struct suffix {
    const char *text;
    int base, exponent;
};
static const struct suffix suffixes[] = {
    {"n", 10, -9}, {"u", 10, -6}, {"m", 10, -3}, {"k", 10, 3},  {"M", 10, 6},
    {"G", 10, 9},  {"T", 10, 12}, {"P", 10, 15}, {"E", 10, 18}, {"Ki", 2, 10},
    {"Mi", 2, 20}, {"Gi", 2, 30}, {"Ti", 2, 40}, {"Pi", 2, 50}, {"Ei", 2, 60},
};

/* <value> times 10^<exponent> or 2^<exponent>; division rounds up; saturates. */
static nano_t scale(nano_t value, int base, int exponent)
{
    for (; exponent > 0; exponent--) {
        if (value > NANO_MAX / base)
            return NANO_MAX;
        value *= base;
    }
    bool rest = false;
    for (; exponent < 0 && value; exponent++) {
        rest = rest || value % base;
        value /= base;
    }
    return value + rest;
}

static bool parse_suffix(const char *s, size_t len, int *base, int *exponent, enum format *format)
{
    *base = 10;
    *exponent = 0;
    *format = DECIMAL_SI;
    if (len == 0)
        return true;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(suffixes); i++) {
        const struct suffix *x = &suffixes[i];
        if (strlen(x->text) == len && memcmp(x->text, s, len) == 0) {
            *base = x->base;
            *exponent = x->exponent;
            *format = x->base == 2 ? BINARY_SI : DECIMAL_SI;
            return true;
        }
    }
    if ((s[0] != 'e' && s[0] != 'E') || len < 2)
        return false;
    size_t i = 1;
    bool negative = s[1] == '-';
    if (s[1] == '-' || s[1] == '+')
        i++;
    if (i == len || len - i > 4)
        return false;
    int v = 0;
    for (; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        v = v * 10 + (s[i] - '0');
    }
    *exponent = negative ? -v : v;
    *format = DECIMAL_EXPONENT;
    return true;
}

/* Reads "[+-]digits[.digits]": up to 28 significant digits count, more are kept as an exponent. */
static bool parse_number(const char *s, size_t len, size_t *ret_used, bool *negative,
                         nano_t *mantissa, int *exponent, bool *rest)
{
    size_t i = 0, digits = 0, kept = 0;
    bool point = false;
    *negative = false;
    *mantissa = 0;
    *exponent = 0;
    *rest = false;
    if (i < len && (s[i] == '+' || s[i] == '-'))
        *negative = s[i++] == '-';
    for (; i < len; i++) {
        if (s[i] == '.' && !point) {
            point = true;
            continue;
        }
        if (s[i] < '0' || s[i] > '9')
            break;
        digits++;
        if (kept < 28) {
            *mantissa = *mantissa * 10 + (s[i] - '0');
            kept += *mantissa != 0;
            *exponent -= point;
        } else {
            *rest = *rest || s[i] != '0';
            *exponent += !point;
        }
    }
    *ret_used = i;
    return digits > 0;
}

static bool parse(const char *s, size_t len, nano_t *ret, enum format *format)
{
    bool negative, rest;
    size_t used;
    nano_t v;
    int exponent, base, suffix_exponent;
    if (len > 256 || !parse_number(s, len, &used, &negative, &v, &exponent, &rest) ||
        !parse_suffix(s + used, len - used, &base, &suffix_exponent, format))
        return false;
    if (base == 2) {
        /* v * 2^e * 10^(x+9): the decimal part last, so that rounding is seen once */
        nano_t scaled = v;
        int e = suffix_exponent, x = exponent + 9;
        while (x > 0 && scaled < NANO_MAX) {
            scaled *= 10;
            x--;
        }
        while (e > 0 && (x < 0 || scaled <= ROOM)) {
            if (scaled <= ROOM) {
                scaled *= 2;
                e--;
            } else { /* many decimals: the last ones make room */
                rest = rest || scaled % 10;
                scaled /= 10;
                x++;
            }
        }
        v = e > 0 ? NANO_MAX : scale(scaled, 10, x);
    } else {
        v = scale(v, 10, exponent + suffix_exponent + 9);
    }
    v += rest;
    if (v > NANO_MAX)
        v = NANO_MAX;
    *ret = negative ? -v : v;
    return true;
}

static int64_t clamp(nano_t v)
{
    return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

static nano_t divide_up(nano_t v, nano_t by) /* away from zero */
{
    nano_t q = v / by;
    return q + (v % by > 0) - (v % by < 0);
}

bool neap_quantity_milli(const char *s, size_t len, int64_t *ret)
{
    nano_t v;
    enum format f;
    if (!parse(s, len, &v, &f))
        return false;
    *ret = clamp(divide_up(v, 1000000));
    return true;
}

bool neap_quantity_value(const char *s, size_t len, int64_t *ret)
{
    nano_t v;
    enum format f;
    if (!parse(s, len, &v, &f))
        return false;
    *ret = clamp(divide_up(v, NANO));
    return true;
}

static void append_number(struct neap_buf *out, nano_t v)
{
    char digits[48];
    int n = 0;
    if (v < 0) {
        neap_buf_char(out, '-');
        v = -v;
    }
    do
        digits[n++] = (char)('0' + (int)(v % 10));
    while ((v /= 10));
    while (n)
        neap_buf_char(out, digits[--n]);
}

static void format_binary(struct neap_buf *out, nano_t units)
{
    static const char *const names[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    unsigned i = 0;
    while (i + 1 < NEAP_ARRAY_LEN(names) && units % 1024 == 0) {
        units /= 1024;
        i++;
    }
    append_number(out, units);
    neap_buf_str(out, names[i]);
}

static void format_decimal(struct neap_buf *out, nano_t v, bool exponent_form)
{
    static const char *const names[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
    int i = 0;
    while (i + 1 < (int)NEAP_ARRAY_LEN(names) && v % 1000 == 0) {
        v /= 1000;
        i++;
    }
    append_number(out, v);
    if (!exponent_form)
        neap_buf_str(out, names[i]);
    else if (i != 3)
        neap_buf_printf(out, "e%d", (i - 3) * 3);
}

/* What has no binary suffix is read as decimal the next time: it is written so at once, as the real server
 * shows what it has stored. */
static void format(struct neap_buf *out, nano_t v, enum format f)
{
    if (v == 0)
        neap_buf_char(out, '0');
    else if (f == BINARY_SI && v % (1024 * NANO) == 0)
        format_binary(out, v / NANO);
    else
        format_decimal(out, v, f == DECIMAL_EXPONENT);
}

bool neap_quantity_format(struct neap_buf *out, const char *s, size_t len)
{
    nano_t v;
    enum format f;
    if (!parse(s, len, &v, &f))
        return false;
    format(out, v, f);
    return true;
}

bool neap_kind_quantity_format_milli(struct neap_buf *out, const char *s, size_t len)
{
    nano_t v;
    enum format f;
    if (!parse(s, len, &v, &f))
        return false;
    format(out, divide_up(v, 1000000) * 1000000, f);
    return true;
}

bool neap_kind_quantity_is_syntax(const char *s, size_t len)
{
    /* ^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$ */
    size_t i = 0, start;
    if (i < len && (s[i] == '+' || s[i] == '-'))
        i++;
    for (start = i; i < len && (s[i] == '.' || (s[i] >= '0' && s[i] <= '9')); i++)
        ;
    if (i == start)
        return false;
    while (i < len && strchr("eEinumkKMGTP", s[i]))
        i++;
    if (i < len && (s[i] == '+' || s[i] == '-'))
        i++;
    while (i < len && s[i] >= '0' && s[i] <= '9')
        i++;
    return i == len;
}
