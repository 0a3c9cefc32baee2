/* Allocation that never returns NULL: see neap/base.h for why. */
#include <neap/base.h>

#include <malloc.h>
#include <stdarg.h>
#include <unistd.h>

static _Noreturn void out_of_memory(void)
{
    static const char text[] = "neap: out of memory\n";
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    abort();
}

void *neap_malloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *neap_calloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *neap_realloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *neap_grow(void *ptr, size_t *cap, size_t count, size_t item_size)
{
    if (ptr && count < *cap)
        return ptr;
    size_t want = *cap ? *cap * 2 : 8;
    if (want <= count)
        want = count + 1;
    if (want > SIZE_MAX / item_size)
        out_of_memory();
    ptr = neap_realloc(ptr, want * item_size);
    *cap = want;
    return ptr;
}

char *neap_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = neap_malloc(len + 1);
    memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

char *neap_strdup(const char *s)
{
    return neap_strndup(s, SIZE_MAX);
}

char *neap_asprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0)
        out_of_memory();
    va_end(ap);
    return text;
}

void neap_cleanup_free(void *p)
{
    free(*(void **)p);
}

void neap_cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

bool neap_endswith(const char *s, const char *suffix)
{
    size_t a = strlen(s), b = strlen(suffix);
    return a >= b && memcmp(s + a - b, suffix, b) == 0;
}

bool neap_parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return false;
        unsigned d = (unsigned)(*s - '0');
        if (v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    if (v > max)
        return false;
    *ret = v;
    return true;
}

uint64_t neap_hash(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

void neap_memory_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
