/* Checks that many kinds share: numbers, labels and selectors, percents, addresses. */
#include "validate.h"
#include <arpa/inet.h>

bool rest_one_of(const char *s, const char *const *values)
{
    for (; *values; values++)
        if (strcmp(s, *values) == 0)
            return true;
    return false;
}

bool rest_check_one_of(struct rest_validation *v, path p, const char *s, bool need,
                       const char *const *values)
{
    if (rest_one_of(s, values))
        return true;
    if (need && !*s)
        rest_required(v, p, NO_WHY);
    else
        rest_unsupported(v, p, s, values);
    return false;
}

void rest_check_not_negative(struct rest_validation *v, path p, json *n)
{
    if (yyjson_mut_get_sint(n) < 0)
        rest_invalid(v, p, n, "must be greater than or equal to 0");
}

void rest_check_not_negative_fields(struct rest_validation *v, path p, json *o,
                                    const char *const *names)
{
    for (; *names; names++)
        rest_check_not_negative(v, AT(p, *names), get(o, *names));
}

void rest_check_positive(struct rest_validation *v, path p, json *n)
{
    if (yyjson_mut_get_sint(n) <= 0)
        rest_invalid_number(v, p, yyjson_mut_get_sint(n), "must be greater than zero");
}

void rest_check_port_number(struct rest_validation *v, path p, json *n)
{
    int64_t port = yyjson_mut_get_sint(n);
    if (port < 1 || port > 65535)
        rest_invalid_number(v, p, port, "must be between 1 and 65535, inclusive");
}

void rest_check_port(struct rest_validation *v, path p, json *port)
{
    if (yyjson_mut_is_str(port))
        rest_check_words(v, p, string_of(port), rest_words_port_name);
    else
        rest_check_port_number(v, p, port);
}

void rest_check_labels(struct rest_validation *v, path p, json *labels)
{
    EACH(e, labels)
    {
        rest_check_words(v, p, e.key, rest_words_qualified_name);
        rest_check_words(v, p, string_of(e.item), rest_words_label_value);
    }
}

enum { ANNOTATIONS_BYTES_MAX = 256 << 10 };

/* The key as it is looked at: in lower case. */
static void annotation_key(struct rest_validation *v, path p, const char *key)
{
    struct rest_problems found = {0};
    char *lower = neap_strdup(key);
    for (char *s = lower; *s; s++)
        *s = *s >= 'A' && *s <= 'Z' ? (char)(*s | 32) : *s;
    rest_words_qualified_name(&found, lower);
    for (unsigned i = 0; i < found.count; i++)
        rest_invalid_string(v, p, key, "%s", found.list[i]);
    free(lower);
}

void rest_check_annotations(struct rest_validation *v, path p, json *annotations)
{
    size_t total = 0;
    EACH(e, annotations)
    {
        total += strlen(e.key) + yyjson_mut_get_len(e.item);
        annotation_key(v, p, e.key);
    }
    if (total > ANNOTATIONS_BYTES_MAX)
        rest_too_long(v, p, ANNOTATIONS_BYTES_MAX);
}

/* ---- label selectors ---- */

static void selector_requirement(struct rest_validation *v, path p, json *r)
{
    if (is(r, "operator", "In") || is(r, "operator", "NotIn")) {
        if (!size(get(r, "values")))
            rest_required(v, AT(p, "values"),
                          "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (is(r, "operator", "Exists") || is(r, "operator", "DoesNotExist")) {
        if (size(get(r, "values")))
            rest_forbidden(v, AT(p, "values"),
                           "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
        rest_invalid_string(v, AT(p, "operator"), text(r, "operator"),
                            "not a valid selector operator");
    }
    rest_check_words(v, AT(p, "key"), text(r, "key"), rest_words_qualified_name);
    EACH(e, get(r, "values"))
    {
        path values = AT(p, "values");
        rest_check_words(v, ITEM(values, e.i), string_of(e.item), rest_words_label_value);
    }
}

void rest_check_label_selector(struct rest_validation *v, path p, json *selector)
{
    rest_check_labels(v, AT(p, "matchLabels"), get(selector, "matchLabels"));
    path expressions = AT(p, "matchExpressions");
    EACH(e, get(selector, "matchExpressions"))
    selector_requirement(v, ITEM(expressions, e.i), e.item);
}

static bool list_has(json *list, const char *s)
{
    EACH(e, list)
    if (strcmp(string_of(e.item), s) == 0)
        return true;
    return false;
}

static bool requirement_matches(json *r, json *labels)
{
    json *label = get(labels, text(r, "key"));
    if (is(r, "operator", "Exists"))
        return label != NULL;
    if (is(r, "operator", "DoesNotExist"))
        return !label;
    bool in = label && list_has(get(r, "values"), string_of(label));
    return is(r, "operator", "In") ? in : !in;
}

bool rest_selector_empty(json *selector)
{
    return selector && !size(get(selector, "matchLabels")) &&
           !size(get(selector, "matchExpressions"));
}

bool rest_selector_matches(json *selector, json *labels)
{
    if (!selector)
        return false;
    EACH(e, get(selector, "matchLabels"))
    {
        json *label = get(labels, e.key);
        if (!label || strcmp(string_of(label), string_of(e.item)))
            return false;
    }
    EACH(e, get(selector, "matchExpressions"))
    if (!requirement_matches(e.item, labels))
        return false;
    return true;
}

/* ---- numbers and percents ---- */

static bool percent(json *value, int64_t *ret)
{
    struct rest_problems found = {0};
    if (!yyjson_mut_is_str(value))
        return false;
    rest_words_percent(&found, string_of(value));
    if (found.count)
        return false;
    *ret = strtoll(string_of(value), NULL, 10);
    return true;
}

void rest_check_int_or_percent(struct rest_validation *v, path p, json *value)
{
    if (yyjson_mut_is_str(value))
        rest_check_words(v, p, string_of(value), rest_words_percent);
    else
        rest_check_not_negative(v, p, value);
}

void rest_check_at_most_100_percent(struct rest_validation *v, path p, json *value)
{
    int64_t n;
    if (percent(value, &n) && n > 100)
        rest_invalid(v, p, value, "must not be greater than 100%%");
}

int64_t rest_int_or_percent(json *value)
{
    int64_t n = 0;
    if (percent(value, &n))
        return n;
    return yyjson_mut_is_str(value) ? strtoll(string_of(value), NULL, 10)
                                    : yyjson_mut_get_sint(value);
}

/* ---- immutable fields ---- */

static bool nothing(json *v)
{
    return !v || (yyjson_mut_is_ctn(v) && !size(v)) ||
           (yyjson_mut_is_str(v) && !yyjson_mut_get_len(v));
}

bool rest_same(json *a, json *b)
{
    if (nothing(a) || nothing(b))
        return nothing(a) && nothing(b);
    return neap_json_equal(a, b);
}

void rest_check_immutable(struct rest_validation *v, path p, json *now, json *old, const char *type)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    if (rest_same(now, old))
        return;
    rest_show_type(&b, now, type);
    rest_invalid_shown(v, p, b.data, "field is immutable");
}

/* ---- addresses ---- */

/* <s> with leading zeros taken off each of its four numbers; false: not that. */
static bool sloppy_v4(const char *s, char out[20])
{
    unsigned n[4];
    char end;
    if (strspn(s, "0123456789.") != strlen(s) || strlen(s) > 19 ||
        sscanf(s, "%3u.%3u.%3u.%3u%c", &n[0], &n[1], &n[2], &n[3], &end) != 4)
        return false;
    return snprintf(out, 20, "%u.%u.%u.%u", n[0], n[1], n[2], n[3]) < 20;
}

bool rest_ip(const char *s, bool *ret_v6)
{
    unsigned char b[16];
    char v4[20];
    if (ret_v6)
        *ret_v6 = strchr(s, ':') != NULL;
    return inet_pton(AF_INET6, s, b) == 1 || inet_pton(AF_INET, s, b) == 1 ||
           (sloppy_v4(s, v4) && inet_pton(AF_INET, v4, b) == 1);
}

static bool mapped(const unsigned char b[16])
{
    static const unsigned char prefix[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(b, prefix, sizeof(prefix)) == 0;
}

bool rest_check_ip(struct rest_validation *v, path p, const char *s, json *old)
{
    unsigned char b[16];
    if (list_has(old, s))
        return true;
    if (!rest_ip(s, NULL))
        rest_invalid_string(v, p, s,
                            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    else if (inet_pton(AF_INET6, s, b) == 1 && mapped(b))
        rest_invalid_string(v, p, s, "must not be an IPv4-mapped IPv6 address");
    else if (!strchr(s, ':') && inet_pton(AF_INET, s, b) != 1)
        rest_invalid_string(v, p, s, "must not have leading 0s");
    else
        return true;
    return false;
}

bool rest_cidr(const char *s, unsigned char address[16], int *ret_bits, bool *ret_v6)
{
    char host[64], v4[20], *end;
    const char *slash = strchr(s, '/');
    if (!slash || (size_t)(slash - s) >= sizeof(host) || !slash[1] ||
        strspn(slash + 1, "0123456789") != strlen(slash + 1) || strlen(slash + 1) > 4)
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)(slash - s), s);
    long bits = strtol(slash + 1, &end, 10);
    *ret_v6 = strchr(host, ':') != NULL;
    *ret_bits = (int)bits;
    memset(address, 0, 16);
    if (*ret_v6)
        return inet_pton(AF_INET6, host, address) == 1 && bits <= 128;
    return bits <= 32 && (inet_pton(AF_INET, host, address) == 1 ||
                          (sloppy_v4(host, v4) && inet_pton(AF_INET, v4, address) == 1));
}

static bool bits_beyond(const unsigned char *b, int bits, int total)
{
    for (int i = bits; i < total; i++)
        if (b[i / 8] & (0x80 >> (i % 8)))
            return true;
    return false;
}

bool rest_check_cidr(struct rest_validation *v, path p, const char *s)
{
    unsigned char b[16], plain[16];
    char host[64];
    int bits;
    bool v6;
    if (!rest_cidr(s, b, &bits, &v6)) {
        rest_invalid_string(v, p, s,
                            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
        return false;
    }
    const char *slash = strchr(s, '/');
    snprintf(host, sizeof(host), "%.*s", (int)(slash - s), s);
    if ((!v6 && inet_pton(AF_INET, host, plain) != 1) || (slash[1] == '0' && slash[2]))
        rest_invalid_string(v, p, s, "must not have leading 0s in IP or prefix length");
    else if (v6 && mapped(b))
        rest_invalid_string(v, p, s, "must not have an IPv4-mapped IPv6 address");
    else if (bits_beyond(b, bits, v6 ? 128 : 32))
        rest_invalid_string(v, p, s, "must not have bits set beyond the prefix length");
    else
        return true;
    return false;
}

void rest_check_endpoint_ip(struct rest_validation *v, path p, const char *s)
{
    static const unsigned char zero[16];
    unsigned char b[16] = {0};
    bool v6 = inet_pton(AF_INET6, s, b) == 1;
    bool one = v6 && memcmp(b, zero, 15) == 0 && b[15] == 1;
    if (!v6 && inet_pton(AF_INET, s, b) != 1)
        return;
    if (memcmp(b, zero, v6 ? 16 : 4) == 0)
        rest_invalid_string(v, p, s, "may not be unspecified (%s)", s);
    if (v6 ? one : b[0] == 127)
        rest_invalid_string(v, p, s, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    if (v6 ? b[0] == 0xfe && (b[1] & 0xc0) == 0x80 : b[0] == 169 && b[1] == 254)
        rest_invalid_string(v, p, s,
                            "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    if (v6 ? b[0] == 0xff && (b[1] & 0x0f) == 2 : b[0] == 224 && !b[1] && !b[2])
        rest_invalid_string(
            v, p, s, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
}

bool rest_set_add(struct neap_map *m, const char *s)
{
    static char there;
    return neap_map_set(m, s, &there) == NULL;
}
