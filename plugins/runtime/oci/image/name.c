#include "name.h"
#include "../common.h"

#include <stdlib.h>
#include <string.h>

bool oci_digest_ok(const char *s)
{
    return s && !strncmp(s, "sha256:", 7) && strlen(s) == 71 &&
           strspn(s + 7, "0123456789abcdef") == 64;
}

static bool repository_ok(const char *s)
{
    if (!*s || *s == '/' || strstr(s, "//") || strstr(s, "..") || s[strlen(s) - 1] == '/')
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:[]") ==
           strlen(s);
}

static bool tag_ok(const char *s)
{
    return *s && strlen(s) <= 128 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               strlen(s);
}

char *oci_name_normalise(const char *name)
{
    if (!name || !*name || strlen(name) > OCI_NAME_MAX)
        return NULL;
    char *repo = oci_strdup(name), *at = strchr(repo, '@'), *ret = NULL;
    if (at)
        *at++ = 0;
    char *slash = strrchr(repo, '/'), *tag = strchr(slash ? slash : repo, ':');
    if (tag)
        *tag++ = 0;
    const char *first = strchr(repo, '/');
    size_t n = first ? (size_t)(first - repo) : 0;
    bool host = first && (memchr(repo, '.', n) || memchr(repo, ':', n) ||
                          (n == 9 && !strncmp(repo, "localhost", 9)));
    const char *prefix = host ? "" : first ? "docker.io/" : "docker.io/library/";
    if (repository_ok(repo) && (!tag || tag_ok(tag)) && (!at || oci_digest_ok(at)))
        ret = at ? oci_printf("%s%s@%s", prefix, repo, at)
                 : oci_printf("%s%s:%s", prefix, repo, tag ? tag : "latest");
    free(repo);
    return ret;
}
