/* Small things. */
#include "node_internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

int64_t sysconf_cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? n : 1;
}

int64_t node_memory(void)
{
    struct sysinfo info;
    return sysinfo(&info) == 0 ? (int64_t)info.totalram * info.mem_unit : 0;
}

char *file_tail(const char *path, size_t max)
{
    struct stat st;
    size_t have = 0;
    NEAP_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return NULL;
    off_t from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
    char *text = neap_malloc(max + 1);
    for (ssize_t n; have < max; have += (size_t)n) {
        n = pread(fd, text + have, max - have, from + (off_t)have);
        if (n <= 0)
            break;
    }
    text[have] = '\0';
    return text;
}

static int digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

char *unbase64(const char *s, size_t len, struct neap_arena *arena, size_t *ret_len)
{
    char *out = neap_arena_alloc(arena, len + 1);
    unsigned bits = 0, have = 0;
    size_t n = 0;
    for (size_t i = 0; out && i < len; i++) {
        int d = digit(s[i]);
        if (d < 0)
            continue; /* padding */
        bits = bits << 6 | (unsigned)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have);
        }
    }
    if (out)
        out[n] = '\0';
    *ret_len = n;
    return out;
}
