/* Bump allocation with one lifetime: see neap/arena.h. */
#include <neap/arena.h>

#include <stdarg.h>

#define CHUNK_FIRST 4096u
#define CHUNK_MAX   (256u << 10)
#define ALIGN       16u

struct chunk {
    struct chunk *next;
    size_t size, used;
    _Alignas(ALIGN) char data[];
};

struct deferred {
    struct deferred *next;
    void (*fn)(void *arg);
    void *arg;
};

struct neap_arena {
    struct chunk *chunks; /* newest first */
    struct deferred *deferred;
    size_t limit, total, next_size;
    bool exhausted;
    yyjson_alc alc;
};

struct neap_arena *neap_arena_new(size_t limit)
{
    struct neap_arena *a = neap_calloc(1, sizeof(*a));
    a->limit = limit;
    a->next_size = CHUNK_FIRST;
    return a;
}

struct neap_arena *neap_arena_free(struct neap_arena *a)
{
    if (!a)
        return NULL;
    for (struct deferred *d = a->deferred; d; d = d->next)
        d->fn(d->arg);
    while (a->chunks) {
        struct chunk *c = a->chunks;
        a->chunks = c->next;
        free(c);
    }
    free(a);
    return NULL;
}

static struct chunk *chunk_add(struct neap_arena *a, size_t size)
{
    size_t want = size > a->next_size ? size : a->next_size;
    if (a->limit && want > a->limit - a->total)
        want = size; /* the last bytes below the limit go out exactly */
    if (a->limit && want > a->limit - a->total) {
        a->exhausted = true;
        return NULL;
    }
    struct chunk *c = malloc(sizeof(*c) + want);
    if (!c) {
        a->exhausted = true;
        return NULL;
    }
    *c = (struct chunk){.next = a->chunks, .size = want};
    a->chunks = c;
    a->total += want;
    if (a->next_size < CHUNK_MAX)
        a->next_size *= 2;
    return c;
}

void *neap_arena_alloc(struct neap_arena *a, size_t size)
{
    if (size > SIZE_MAX / 2) {
        a->exhausted = true;
        return NULL;
    }
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct chunk *c = a->chunks;
    if (!c || c->size - c->used < size) {
        c = chunk_add(a, size);
        if (!c)
            return NULL;
    }
    void *p = c->data + c->used;
    c->used += size;
    return p;
}

void *neap_arena_calloc(struct neap_arena *a, size_t size)
{
    void *p = neap_arena_alloc(a, size);
    if (p)
        memset(p, 0, size);
    return p;
}

static char *copy(struct neap_arena *a, const char *s, size_t len)
{
    char *p = neap_arena_alloc(a, len + 1);
    if (p) {
        memcpy(p, s, len);
        p[len] = '\0';
    }
    return p;
}

char *neap_arena_strndup(struct neap_arena *a, const char *s, size_t n)
{
    return copy(a, s, strnlen(s, n));
}

char *neap_arena_strdup(struct neap_arena *a, const char *s)
{
    return copy(a, s, strlen(s));
}

char *neap_arena_printf(struct neap_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : neap_arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

bool neap_arena_defer(struct neap_arena *a, void (*fn)(void *arg), void *arg)
{
    struct deferred *d = neap_arena_alloc(a, sizeof(*d));
    if (!d) {
        fn(arg);
        return false;
    }
    *d = (struct deferred){a->deferred, fn, arg};
    a->deferred = d;
    return true;
}

bool neap_arena_exhausted(const struct neap_arena *a)
{
    return a->exhausted;
}

size_t neap_arena_used(const struct neap_arena *a)
{
    return a->total;
}

static void *alc_malloc(void *ctx, size_t size)
{
    return neap_arena_alloc(ctx, size);
}

/* The newest allocation grows in place; others move (yyjson grows its pools rarely). */
static void *alc_realloc(void *ctx, void *ptr, size_t old_size, size_t size)
{
    struct neap_arena *a = ctx;
    struct chunk *c = a->chunks;
    size_t old = (old_size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    size_t want = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (want <= old)
        return ptr;
    if (c && (char *)ptr + old == c->data + c->used && want - old <= c->size - c->used) {
        c->used += want - old;
        return ptr;
    }
    void *p = neap_arena_alloc(a, size);
    if (p)
        memcpy(p, ptr, old_size);
    return p;
}

static void alc_free(void *ctx, void *ptr)
{
    (void)ctx;
    (void)ptr;
}

const yyjson_alc *neap_arena_alc(struct neap_arena *a)
{
    a->alc = (yyjson_alc){alc_malloc, alc_realloc, alc_free, a};
    return &a->alc;
}
