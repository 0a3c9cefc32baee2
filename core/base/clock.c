/* Time and randomness of the system, and their texts: see neap/clock.h. */
#include <neap/clock.h>

#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t system_wall(void *self)
{
    (void)self;
    return read_clock(CLOCK_REALTIME);
}

static int64_t system_mono(void *self)
{
    (void)self;
    return read_clock(CLOCK_MONOTONIC);
}

const struct neap_clock neap_clock_system = {system_wall, system_mono, NULL};

static void system_fill(void *self, void *buf, size_t len)
{
    (void)self;
    char *p = buf;
    while (len) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0)
            continue; /* EINTR only: the pool is initialised long before us */
        p += n;
        len -= (size_t)n;
    }
}

const struct neap_rand neap_rand_system = {system_fill, NULL};

uint64_t neap_rand_u64(const struct neap_rand *r)
{
    uint64_t v;
    r->fill(r->self, &v, sizeof(v));
    return v;
}

void neap_rand_uuid(const struct neap_rand *r, char ret[37])
{
    unsigned char b[16];
    r->fill(r->self, b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    static const char hex[] = "0123456789abcdef";
    char *p = ret;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = hex[b[i] >> 4];
        *p++ = hex[b[i] & 15];
    }
    *p = '\0';
}

void neap_rand_suffix(const struct neap_rand *r, char *ret, size_t n)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    const unsigned count = sizeof(alphabet) - 1;
    for (size_t i = 0; i < n;) {
        unsigned char c;
        r->fill(r->self, &c, 1);
        if (c < 256 / count * count) /* no modulo bias */
            ret[i++] = alphabet[c % count];
    }
    ret[n] = '\0';
}

static void split(int64_t wall_ns, struct tm *tm, long *ns)
{
    time_t s = (time_t)(wall_ns / 1000000000);
    *ns = (long)(wall_ns % 1000000000);
    if (*ns < 0) {
        *ns += 1000000000;
        s--;
    }
    gmtime_r(&s, tm);
}

void neap_time_format(int64_t wall_ns, char ret[32])
{
    struct tm tm;
    long ns;
    split(wall_ns, &tm, &ns);
    strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void neap_time_format_micro(int64_t wall_ns, char ret[32])
{
    struct tm tm;
    long ns;
    split(wall_ns, &tm, &ns);
    size_t n = strftime(ret, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret + n, 32 - n, ".%06ldZ", ns / 1000);
}

/* Reads exactly <digits> digits. */
static bool number(const char **p, const char *end, int digits, int *ret)
{
    int v = 0;
    if (end - *p < digits)
        return false;
    for (int i = 0; i < digits; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        v = v * 10 + (**p - '0');
    }
    *ret = v;
    return true;
}

static bool expect(const char **p, const char *end, char c)
{
    return *p < end && *(*p)++ == c;
}

static bool fraction(const char **p, const char *end, long *ret_ns)
{
    long scale = 100000000;
    *ret_ns = 0;
    if (*p == end || **p != '.')
        return true;
    const char *start = ++*p;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
        *ret_ns += scale * (**p - '0');
    return *p > start;
}

static bool offset(const char **p, const char *end, int *ret_s)
{
    int h, m;
    *ret_s = 0;
    if (*p == end)
        return false;
    char c = *(*p)++;
    if (c == 'Z')
        return true;
    if ((c != '+' && c != '-') || !number(p, end, 2, &h) || !expect(p, end, ':') ||
        !number(p, end, 2, &m) || h > 23 || m > 59)
        return false;
    *ret_s = (h * 60 + m) * 60 * (c == '-' ? -1 : 1);
    return true;
}

static bool parse_parts(const char *s, size_t len, int64_t *ret_seconds, long *ret_ns)
{
    const char *p = s, *end = s + len;
    struct tm tm = {0};
    int year, month, off;
    long ns;
    if (!number(&p, end, 4, &year) || !expect(&p, end, '-') || !number(&p, end, 2, &month) ||
        !expect(&p, end, '-') || !number(&p, end, 2, &tm.tm_mday) || !expect(&p, end, 'T') ||
        !number(&p, end, 2, &tm.tm_hour) || !expect(&p, end, ':') ||
        !number(&p, end, 2, &tm.tm_min) || !expect(&p, end, ':') ||
        !number(&p, end, 2, &tm.tm_sec) || !fraction(&p, end, &ns) || !offset(&p, end, &off) ||
        p != end)
        return false;
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || tm.tm_mday < 1 ||
        tm.tm_mday > days[month - 1] + (leap && month == 2) || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 59)
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    *ret_seconds = (int64_t)timegm(&tm) - off;
    *ret_ns = ns;
    return true;
}

bool neap_time_parse(const char *s, size_t len, int64_t *ret_wall_ns)
{
    int64_t seconds;
    long ns;
    if (!parse_parts(s, len, &seconds, &ns) || seconds > INT64_MAX / 1000000000 - 1 ||
        seconds < INT64_MIN / 1000000000 + 1)
        return false;
    *ret_wall_ns = seconds * 1000000000 + ns;
    return true;
}

bool neap_time_normalise(const char *s, size_t len, bool micro, char ret[40])
{
    int64_t seconds;
    long ns;
    struct tm tm;
    if (!parse_parts(s, len, &seconds, &ns))
        return false;
    time_t t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || tm.tm_year + 1900 < 0 || tm.tm_year + 1900 > 9999)
        return false;
    int n = snprintf(ret, 40, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (micro)
        snprintf(ret + n, 40 - (size_t)n, ".%06ldZ", ns / 1000);
    else
        snprintf(ret + n, 40 - (size_t)n, "Z");
    return true;
}
