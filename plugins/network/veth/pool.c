#include "pool.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

bool pool_parse_cidr(const char *cidr, uint32_t *ret_base, unsigned *ret_prefix)
{
    char text[32], *slash, *end;
    struct in_addr a;
    if (!cidr || strlen(cidr) >= sizeof text)
        return false;
    strcpy(text, cidr);
    slash = strchr(text, '/');
    if (!slash || !slash[1])
        return false;
    *slash = 0;
    unsigned long n = strtoul(slash + 1, &end, 10);
    if (*end || n > 32 || inet_pton(AF_INET, text, &a) != 1)
        return false;
    uint32_t mask = n ? ~UINT32_C(0) << (32 - n) : 0;
    *ret_base = ntohl(a.s_addr) & mask;
    *ret_prefix = (unsigned)n;
    return true;
}

int pool_init(struct pool *p, const char *dir, const char *cidr)
{
    *p = (struct pool){0};
    if (!pool_parse_cidr(cidr, &p->base, &p->prefix) || p->prefix < 8 || p->prefix > 30)
        return -EINVAL;
    uint64_t n = UINT64_C(1) << (32 - p->prefix);
    p->slots = n > POOL_SLOTS_MAX ? POOL_SLOTS_MAX : (uint32_t)n;
    p->used = must(calloc(p->slots / 8 + 1, 1));
    p->cursor = p->recorded = 2;
    if (asprintf(&p->dir, "%s/addresses", dir) < 0)
        abort();
    return 0;
}

static void pod_free(struct pool_pod *pod)
{
    free(pod->sandbox_id);
    free(pod);
}

void pool_done(struct pool *p)
{
    while (p->pods) {
        struct pool_pod *pod = p->pods;
        p->pods = pod->next;
        pod_free(pod);
    }
    free(p->used);
    free(p->dir);
    *p = (struct pool){0};
}

uint32_t pool_address(const struct pool *p, uint32_t slot)
{
    return p->base + slot;
}

static bool usable(const struct pool *p, uint32_t slot)
{
    return slot >= 2 && slot < p->slots - 1;
}

static bool is_used(const struct pool *p, uint32_t slot)
{
    return p->used[slot / 8] & (1u << (slot % 8));
}

static struct pool_pod *pod_add(struct pool *p, const char *id, uint32_t slot)
{
    struct pool_pod *pod = must(calloc(1, sizeof *pod));
    pod->sandbox_id = must(strdup(id));
    pod->slot = slot;
    pod->next = p->pods;
    p->pods = pod;
    p->used[slot / 8] |= (uint8_t)(1u << (slot % 8));
    return pod;
}

struct pool_pod *pool_find(struct pool *p, const char *id)
{
    for (struct pool_pod *pod = p->pods; pod; pod = pod->next)
        if (!strcmp(pod->sandbox_id, id))
            return pod;
    return NULL;
}

/* ---- disk: a file holds one number */
static int read_number(const char *path, uint32_t *ret)
{
    char text[16] = "", *end;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return -EINVAL;
    unsigned long v = strtoul(text, &end, 10);
    if (end == text || *end != '\n' || v > UINT32_MAX)
        return -EINVAL;
    *ret = (uint32_t)v;
    return 0;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

static int write_number(const char *dir, const char *name, uint32_t value)
{
    char tmp[4096], path[4096], text[16];
    int n = snprintf(text, sizeof text, "%u\n", value), r = 0;
    snprintf(tmp, sizeof tmp, "%s/.tmp", dir);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (write(fd, text, (size_t)n) != n || fsync(fd) < 0)
        r = errno ? -errno : -EIO;
    close(fd);
    if (!r && rename(tmp, path) < 0)
        r = -errno;
    return r ? r : sync_dir(dir);
}

int pool_load(struct pool *p)
{
    char path[4096];
    if (mkdir(p->dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    DIR *d = opendir(p->dir);
    if (!d)
        return -errno;
    for (struct dirent *e; (e = readdir(d));) {
        uint32_t slot = 0;
        snprintf(path, sizeof path, "%s/%s", p->dir, e->d_name);
        if (e->d_name[0] == '.' || read_number(path, &slot))
            continue;
        if (!strcmp(e->d_name, "_cursor"))
            p->cursor = p->recorded = slot;
        else if (usable(p, slot) && !is_used(p, slot)) /* else: of another range */
            pod_add(p, e->d_name, slot);
    }
    closedir(d);
    if (!usable(p, p->cursor))
        p->cursor = p->recorded = 2;
    return 0;
}

static int move_cursor(struct pool *p, uint32_t to)
{
    p->cursor = to;
    bool inside = to <= p->recorded && to + POOL_AHEAD >= p->recorded;
    if (inside && to != p->recorded)
        return 0;
    uint32_t ahead = to + POOL_AHEAD < p->slots - 1 ? to + POOL_AHEAD : p->slots - 2;
    int r = write_number(p->dir, "_cursor", ahead);
    if (!r)
        p->recorded = ahead;
    return r;
}

int pool_take(struct pool *p, const char *id, struct pool_pod **ret)
{
    struct pool_pod *pod = pool_find(p, id);
    if (pod) {
        *ret = pod;
        return 0;
    }
    uint32_t slot = p->cursor, tried = 0;
    for (; tried < p->slots && (!usable(p, slot) || is_used(p, slot)); tried++)
        slot = slot + 1 < p->slots ? slot + 1 : 2;
    if (tried == p->slots)
        return -ENOSPC;
    int r = move_cursor(p, slot + 1 < p->slots - 1 ? slot + 1 : 2);
    if (!r)
        r = write_number(p->dir, id, slot);
    if (!r)
        *ret = pod_add(p, id, slot);
    return r;
}

int pool_give(struct pool *p, const char *id)
{
    char path[4096];
    for (struct pool_pod **at = &p->pods; *at; at = &(*at)->next) {
        struct pool_pod *pod = *at;
        if (strcmp(pod->sandbox_id, id))
            continue;
        snprintf(path, sizeof path, "%s/%s", p->dir, id);
        if (unlink(path) < 0 && errno != ENOENT)
            return -errno;
        p->used[pod->slot / 8] &= (uint8_t) ~(1u << (pod->slot % 8));
        *at = pod->next;
        pod_free(pod);
        return sync_dir(p->dir);
    }
    return 0;
}
