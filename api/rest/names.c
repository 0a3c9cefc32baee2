/* Names and labels: what is allowed, and the words when it is not.
 * Source: Kubernetes documentation, "Object Names and IDs", "Labels and Selectors". */
#include "internal.h"
#include <arpa/inet.h>

#define LABEL_TEXT                                                                                 \
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "   \
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "     \
    "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
#define SUBDOMAIN_TEXT                                                                             \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "   \
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "  \
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define NAME_PART_TEXT                                                                             \
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "  \
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for " \
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"

static bool lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool alnum(char c)
{
    return lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool dns_label(const char *s, size_t n)
{
    if (n == 0 || !lower_alnum(s[0]) || !lower_alnum(s[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!lower_alnum(s[i]) && s[i] != '-')
            return false;
    return true;
}

static bool dns_subdomain(const char *s)
{
    for (;;) {
        size_t n = strcspn(s, ".");
        if (!dns_label(s, n))
            return false;
        if (!s[n])
            return true;
        s += n + 1;
    }
}

static bool qualified(const char *s, size_t n)
{
    if (n == 0 || !alnum(s[0]) || !alnum(s[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!alnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
            return false;
    return true;
}

const char *rest_dns_label_problem(const char *s)
{
    if (strlen(s) > 63)
        return "must be no more than 63 bytes";
    return dns_label(s, strlen(s)) ? NULL : LABEL_TEXT;
}

const char *rest_dns_subdomain_problem(const char *s)
{
    if (strlen(s) > 253)
        return "must be no more than 253 bytes";
    return dns_subdomain(s) ? NULL : SUBDOMAIN_TEXT;
}

const char *rest_qualified_name_problem(const char *s, char buf[512])
{
    const char *slash = strchr(s, '/'), *name = s;
    if (slash) {
        char prefix[256];
        if (strchr(slash + 1, '/'))
            return "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and "
                   "must start and end with an alphanumeric character (e.g. 'MyName',  or "
                   "'my.name',  or '123-abc', regex used for validation is "
                   "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain "
                   "prefix and '/' (e.g. 'example.com/MyName')";
        if (slash == s)
            return "prefix part must be non-empty";
        snprintf(prefix, sizeof(prefix), "%.*s", (int)(slash - s), s);
        const char *why = slash - s > 253 ? "must be no more than 253 bytes"
                                          : rest_dns_subdomain_problem(prefix);
        if (why) {
            snprintf(buf, 512, "prefix part %s", why);
            return buf;
        }
        name = slash + 1;
    }
    if (!*name)
        return "name part must be non-empty";
    if (strlen(name) > 63)
        return "name part must be no more than 63 bytes";
    return qualified(name, strlen(name)) ? NULL : NAME_PART_TEXT;
}

const char *rest_label_value_problem(const char *s, char buf[512])
{
    (void)buf;
    if (strlen(s) > 63)
        return "must be no more than 63 bytes";
    if (!*s || qualified(s, strlen(s)))
        return NULL;
    return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "
           "or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
           "'my_value',  or '12345', regex used for validation is "
           "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
}

static const char *segment_problem(const char *s, bool prefix)
{
    if (!prefix && strcmp(s, ".") == 0)
        return "may not be '.'";
    if (!prefix && strcmp(s, "..") == 0)
        return "may not be '..'";
    if (strchr(s, '/'))
        return "may not contain '/'";
    return strchr(s, '%') ? "may not contain '%'" : NULL;
}

static const char *ip_problem(const char *s)
{
    unsigned char b[16];
    char text[64];
    if (inet_pton(AF_INET, s, b) == 1)
        return NULL;
    if (inet_pton(AF_INET6, s, b) == 1 && inet_ntop(AF_INET6, b, text, sizeof(text)) &&
        strcmp(text, s) == 0)
        return NULL;
    if (strspn(s, "0123456789.") == strlen(s) && strstr(s, ".0"))
        return "must not have leading 0s";
    return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

const char *rest_name_problem(uint8_t style, const char *name, bool prefix, char buf[512])
{
    size_t n = strlen(name);
    snprintf(buf, 512, "%s", name);
    if (prefix && n && n < 500 && buf[n - 1] == '-')
        buf[n - 1] = 'a'; /* what follows a prefix may make its end good */
    switch (style) {
    case NEAP_NAME_LABEL:
        return rest_dns_label_problem(buf);
    case NEAP_NAME_SEGMENT:
        return segment_problem(name, prefix);
    case NEAP_NAME_IP:
        return prefix ? NULL : ip_problem(name);
    case NEAP_NAME_SIGNER:
        return segment_problem(name, prefix);
    case NEAP_NAME_SUBDOMAIN52:
        if (n > 52)
            return "must be no more than 52 characters";
        return rest_dns_subdomain_problem(buf);
    default:
        return rest_dns_subdomain_problem(n > 511 ? name : buf);
    }
}
