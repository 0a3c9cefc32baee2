/* What is wrong with a name, a key, a port: every problem that a text has, in the words of the real
 * server. Source: Kubernetes documentation, "Object Names and IDs", "Labels and Selectors". */
#include "validate.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"
#define ALPHA  LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

#define LABEL_RE    "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define USED        "regex used for validation is '"
#define LABEL_ENDS  "and must start and end with an alphanumeric character"
#define KEY_RE      "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define KEY_MUST    "must consist of alphanumeric characters, '-', '_' or '.', " LABEL_ENDS
#define KEY_EXAMPLE "(e.g. 'MyName',  or 'my.name',  or '123-abc', " USED KEY_RE "')"

static void add(struct rest_problems *out, const char *why)
{
    if (out->count < NEAP_ARRAY_LEN(out->list))
        out->list[out->count++] = why;
}

/* A made text: they share the buffer. */
static void addf(struct rest_problems *out, const char *fmt, ...) PRINTF(2, 3);
static void addf(struct rest_problems *out, const char *fmt, ...)
{
    size_t used = 0;
    for (unsigned i = 0; i < out->count; i++)
        if (out->list[i] >= out->buf && out->list[i] < out->buf + sizeof(out->buf))
            used = (size_t)(out->list[i] - out->buf) + strlen(out->list[i]) + 1;
    if (used >= sizeof(out->buf))
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out->buf + used, sizeof(out->buf) - used, fmt, ap);
    va_end(ap);
    add(out, out->buf + used);
}

static bool only(const char *s, size_t n, const char *set)
{
    for (size_t i = 0; i < n; i++)
        if (!s[i] || !strchr(set, s[i]))
            return false;
    return true;
}

static bool ends_in(const char *s, size_t n, const char *set)
{
    return n && only(s, 1, set) && only(s + n - 1, 1, set);
}

static bool dns_label(const char *s, size_t n)
{
    return ends_in(s, n, LOWER DIGITS) && only(s, n, LOWER DIGITS "-");
}

static bool underscore_label(const char *s, size_t n)
{
    if (n > 1 && *s == '_') {
        s++;
        n--;
    }
    return ends_in(s, n, LOWER DIGITS) && only(s, n, LOWER DIGITS "-_");
}

/* Labels with dots between. */
static bool dotted(const char *s, bool (*label)(const char *s, size_t n))
{
    for (;;) {
        size_t n = strcspn(s, ".");
        if (!label(s, n))
            return false;
        if (!s[n])
            return true;
        s += n + 1;
    }
}

void rest_words_dns_label(struct rest_problems *out, const char *s)
{
    if (strlen(s) > 63)
        add(out, "must be no more than 63 characters");
    if (dns_label(s, strlen(s)))
        return;
    add(out, dotted(s, dns_label)
                 ? "must not contain dots"
                 : "a lowercase RFC 1123 label must consist of lower case alphanumeric characters "
                   "or '-', " LABEL_ENDS " (e.g. 'my-name',  or '123-abc', " USED LABEL_RE "')");
}

#define SUBDOMAIN_TEXT                                                                             \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "   \
    "'.', " LABEL_ENDS " (e.g. 'example.com', " USED LABEL_RE "(\\." LABEL_RE ")*')"

void rest_words_dns_subdomain(struct rest_problems *out, const char *s)
{
    if (strlen(s) > 253)
        add(out, "must be no more than 253 characters");
    if (!dotted(s, dns_label))
        add(out, SUBDOMAIN_TEXT);
}

void rest_words_dns_underscore(struct rest_problems *out, const char *s)
{
    if (strlen(s) > 253)
        add(out, "must be no more than 253 characters");
    if (!dotted(s, underscore_label))
        add(out, "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                 "characters, '_', '-' or '.', " LABEL_ENDS " (e.g. 'example.com', " USED
                 "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
                 "(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')");
}

void rest_words_wildcard(struct rest_problems *out, const char *s)
{
    if (strlen(s) > 253)
        add(out, "must be no more than 253 characters");
    if (strncmp(s, "*.", 2) || !dotted(s + 2, dns_label))
        add(out, "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS "
                 "subdomain, which must consist of lower case alphanumeric characters, '-' or '.' "
                 "and end with an alphanumeric character (e.g. '*.example.com', " USED
                 "\\*\\." LABEL_RE "(\\." LABEL_RE ")*')");
}

void rest_words_dns1035_label(struct rest_problems *out, const char *s)
{
    if (strlen(s) > 63)
        add(out, "must be no more than 63 characters");
    if (!dns_label(s, strlen(s)) || !only(s, 1, LOWER))
        add(out, "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
                 "start with an alphabetic character, and end with an alphanumeric character (e.g. "
                 "'my-name',  or 'abc-123', " USED "[a-z]([-a-z0-9]*[a-z0-9])?')");
}

static bool key_name(const char *s, size_t n)
{
    return ends_in(s, n, ALPHA DIGITS) && only(s, n, ALPHA DIGITS "-_.");
}

static void key_prefix(struct rest_problems *out, const char *s, size_t n)
{
    char prefix[256];
    if (!n) {
        add(out, "prefix part must be non-empty");
        return;
    }
    if (n > 253)
        add(out, "prefix part must be no more than 253 bytes");
    snprintf(prefix, sizeof(prefix), "%.*s", (int)(n > 253 ? 253 : n), s);
    if (!dotted(prefix, dns_label))
        add(out, "prefix part " SUBDOMAIN_TEXT);
}

void rest_words_qualified_name(struct rest_problems *out, const char *s)
{
    const char *slash = strchr(s, '/'), *name = slash ? slash + 1 : s;
    if (slash && strchr(name, '/')) {
        add(out, "a valid label key " KEY_MUST " " KEY_EXAMPLE
                 " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
        return;
    }
    if (slash)
        key_prefix(out, s, (size_t)(slash - s));
    if (!*name)
        add(out, "name part must be non-empty");
    else if (strlen(name) > 63)
        add(out, "name part must be no more than 63 bytes");
    if (!key_name(name, strlen(name)))
        add(out, "name part " KEY_MUST " " KEY_EXAMPLE);
}

void rest_words_label_value(struct rest_problems *out, const char *s)
{
    if (strlen(s) > 63)
        add(out, "must be no more than 63 bytes");
    if (*s && !key_name(s, strlen(s)))
        add(out, "a valid label must be an empty string or consist of alphanumeric characters, "
                 "'-', '_' or '.', " LABEL_ENDS
                 " (e.g. 'MyValue',  or 'my_value',  or '12345', " USED "(" KEY_RE ")?')");
}

void rest_words_port_name(struct rest_problems *out, const char *s)
{
    size_t n = strlen(s);
    if (n > 15)
        add(out, "must be no more than 15 characters");
    if (!n || !only(s, n, LOWER DIGITS "-"))
        add(out, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    if (!strpbrk(s, LOWER))
        add(out, "must contain at least one letter (a-z)");
    if (strstr(s, "--"))
        add(out, "must not contain consecutive hyphens");
    if (n && (s[0] == '-' || s[n - 1] == '-'))
        add(out, "must not begin or end with a hyphen");
}

void rest_words_env_name(struct rest_problems *out, const char *s)
{
    if (!*s)
        add(out, "environment variable name must be non-empty");
    for (const char *p = s; *p; p++)
        if (*p < 0x20 || *p > 0x7e || *p == '=') {
            add(out, "a valid environment variable name must consist only of printable ASCII "
                     "characters other than '='");
            return;
        }
}

void rest_words_config_key(struct rest_problems *out, const char *s)
{
    if (strlen(s) > 253)
        add(out, "must be no more than 253 characters");
    if (!*s || !only(s, strlen(s), ALPHA DIGITS "-._"))
        add(out, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
                 "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', " USED "[-._a-zA-Z0-9]+')");
    if (strcmp(s, ".") == 0)
        add(out, "must not be '.'");
    else if (strcmp(s, "..") == 0)
        add(out, "must not be '..'");
    else if (strncmp(s, "..", 2) == 0)
        add(out, "must not start with '..'");
}

void rest_words_percent(struct rest_problems *out, const char *s)
{
    size_t n = strlen(s);
    if (n < 2 || s[n - 1] != '%' || !only(s, n - 1, DIGITS))
        add(out, "a valid percent string must be a numeric string followed by an ending '%' (e.g. "
                 "'1%',  or '93%', " USED "[0-9]+%')");
}

void rest_words_http_header(struct rest_problems *out, const char *s)
{
    if (!*s || !only(s, strlen(s), ALPHA DIGITS "-"))
        add(out, "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. "
                 "'X-Header-Name', " USED "[-A-Za-z0-9]+')");
}

void rest_words_c_identifier(struct rest_problems *out, const char *s)
{
    if (!*s || !only(s, 1, ALPHA "_") || !only(s, strlen(s), ALPHA DIGITS "_"))
        add(out, "a valid C identifier must start with alphabetic character or '_', followed by a "
                 "string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
                 "'MyName', " USED "[A-Za-z_][A-Za-z0-9_]*')");
}

void rest_words_segment(struct rest_problems *out, const char *s)
{
    if (strcmp(s, ".") == 0 || strcmp(s, "..") == 0) {
        addf(out, "may not be '%s'", s);
        return;
    }
    if (strchr(s, '/'))
        add(out, "may not contain '/'");
    if (strchr(s, '%'))
        add(out, "may not contain '%'");
}

void rest_check_words(struct rest_validation *v, path p, const char *s, rest_words *words)
{
    struct rest_problems found = {0};
    words(&found, s);
    for (unsigned i = 0; i < found.count; i++)
        rest_invalid_string(v, p, s, "%s", found.list[i]);
}

void rest_check_words_joined(struct rest_validation *v, path p, const char *s, rest_words *words,
                             const char *separator)
{
    struct rest_problems found = {0};
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    words(&found, s);
    for (unsigned i = 0; i < found.count; i++)
        neap_buf_printf(&b, "%s%s", i ? separator : "", found.list[i]);
    if (found.count)
        rest_invalid_string(v, p, s, "%s", b.data);
}
