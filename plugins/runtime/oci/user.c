/* The user that a container runs as: numbers from the image's own passwd and group files, read so that
 * no link in the image leads out of it. */
#include "oci.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ACCOUNTS_MAX (1u << 20)

static char *read_inside(const char *rootfs, const char *path)
{
    int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return NULL;
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    close(root);
    if (fd < 0)
        return NULL;
    char *self = oci_printf("/proc/self/fd/%d", fd), *text = NULL;
    oci_read_file(self, ACCOUNTS_MAX, &text, NULL);
    free(self);
    close(fd);
    return text;
}

/* Splits "a:b:c" in place; returns the number of fields (at most <max>). */
static size_t fields(char *line, char **f, size_t max)
{
    size_t n = 0;
    for (char *p = line; p && n < max; n++)
        f[n] = strsep(&p, ":");
    return n;
}

static bool number(const char *s, uint64_t *ret)
{
    char *end;
    if (!s || *s < '0' || *s > '9')
        return false;
    errno = 0;
    *ret = strtoull(s, &end, 10);
    return !*end && !errno && *ret <= UINT32_MAX;
}

/* By name or by number. */
static bool find_user(const char *passwd, const char *name, bool by_number, uint64_t uid,
                      struct oci_bundle *b, char **ret_name)
{
    char *copy = oci_strdup(passwd ? passwd : ""), *save = NULL;
    bool found = false;
    for (char *l = strtok_r(copy, "\n", &save); l && !found; l = strtok_r(NULL, "\n", &save)) {
        char *f[7];
        uint64_t u, g;
        if (fields(l, f, 7) < 6 || !number(f[2], &u) || !number(f[3], &g))
            continue;
        if (by_number ? u != uid : strcmp(f[0], name) != 0)
            continue;
        found = true;
        b->uid = u;
        b->gid = g;
        free(b->home);
        b->home = f[5][0] == '/' ? oci_strdup(f[5]) : NULL;
        *ret_name = oci_strdup(f[0]);
    }
    free(copy);
    return found;
}

static bool find_group(const char *group, const char *name, uint64_t *ret)
{
    char *copy = oci_strdup(group ? group : ""), *save = NULL;
    bool found = false;
    for (char *l = strtok_r(copy, "\n", &save); l && !found; l = strtok_r(NULL, "\n", &save)) {
        char *f[4];
        found = fields(l, f, 4) >= 3 && !strcmp(f[0], name) && number(f[2], ret);
    }
    free(copy);
    return found;
}

static void add_group(struct oci_bundle *b, uint64_t gid)
{
    for (size_t i = 0; i < b->group_count; i++)
        if (b->groups[i] == gid)
            return;
    if (b->group_count < sizeof b->groups / sizeof *b->groups)
        b->groups[b->group_count++] = gid;
}

/* Groups that name <user> as a member. */
static void add_memberships(struct oci_bundle *b, const char *group, const char *user)
{
    char *copy = oci_strdup(group ? group : ""), *save = NULL;
    for (char *l = strtok_r(copy, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        char *f[4], *s2 = NULL;
        uint64_t gid;
        if (fields(l, f, 4) < 4 || !number(f[2], &gid))
            continue;
        for (char *m = strtok_r(f[3], ",", &s2); m; m = strtok_r(NULL, ",", &s2))
            if (!strcmp(m, user))
                add_group(b, gid);
    }
    free(copy);
}

/* "name", "12", "name:group", "12:34" */
static int from_image(struct oci_bundle *b, const char *passwd, const char *group, char **ret_name)
{
    const char *user = yyjson_get_str(yyjson_obj_get((yyjson_val *)b->image, "User"));
    if (!user || !*user)
        user = "0";
    char *copy = oci_strdup(user), *colon = strchr(copy, ':');
    if (colon)
        *colon++ = 0;
    uint64_t n;
    int r = 0;
    if (number(copy, &n)) {
        b->uid = n;
        find_user(passwd, NULL, true, n, b, ret_name);
    } else if (!find_user(passwd, copy, false, 0, b, ret_name)) {
        snprintf(b->error, sizeof b->error, "the image has no user \"%.100s\"", copy);
        r = NEAP_EINVALID;
    }
    if (!r && colon && !number(colon, &b->gid) && !find_group(group, colon, &b->gid)) {
        snprintf(b->error, sizeof b->error, "the image has no group \"%.100s\"", colon);
        r = NEAP_EINVALID;
    }
    free(copy);
    return r;
}

int oci_user_resolve(struct oci_bundle *b)
{
    const struct neap_runtime_security *s = &b->c->security;
    char *rootfs = oci_printf("%s/rootfs", b->dir), *name = NULL;
    char *passwd = read_inside(rootfs, "etc/passwd"), *group = read_inside(rootfs, "etc/group");
    int r = 0;
    if (s->uid >= 0) {
        b->uid = (uint64_t)s->uid;
        find_user(passwd, NULL, true, b->uid, b, &name);
    } else {
        r = from_image(b, passwd, group, &name);
    }
    if (s->gid >= 0)
        b->gid = (uint64_t)s->gid;
    if (!r && name)
        add_memberships(b, group, name);
    for (size_t i = 0; i < s->supplemental_group_count; i++)
        add_group(b, (uint64_t)s->supplemental_groups[i]);
    if (!r && s->run_as_non_root && b->uid == 0) {
        snprintf(b->error, sizeof b->error,
                 "container has runAsNonRoot and image will run as root");
        r = NEAP_EFORBIDDEN;
    }
    free(rootfs);
    free(passwd);
    free(group);
    free(name);
    return r;
}
