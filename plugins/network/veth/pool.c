#include "pool.h"

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

int pool_init(struct pool *p, const char *dir, const char *cidr)
{
    *p = (struct pool){0};
    if (!veth_range_parse(cidr, &p->range))
        return -EINVAL;
    unsigned bits = veth_address_bits(&p->range.base) - p->range.prefix;
    if (p->range.prefix < 8 || bits < 2)
        return -EINVAL;
    p->slots =
        bits < 32 && UINT32_C(1) << bits < POOL_SLOTS_MAX ? UINT32_C(1) << bits : POOL_SLOTS_MAX;
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

struct veth_address pool_address(const struct pool *p, uint32_t slot)
{
    return veth_range_at(&p->range, slot);
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
