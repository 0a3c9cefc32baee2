/* Is this a cron expression? Source: Kubernetes documentation, "CronJob", "Schedule syntax". */
#include "cron.h"
#include <errno.h>
#include <limits.h>
#include <neap/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

struct field {
    unsigned min, max;
    const char *const *names; /* of the numbers from min on */
};
static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
static const struct field fields[] = {
    {0, 59, NULL}, {0, 23, NULL}, {1, 31, NULL}, {1, 12, months}, {0, 6, days}};

enum { FIELDS = 5, PART_MAX = 64, WORDS_MAX = 200 };

struct parser {
    char *why;
    size_t size;
};

static bool parse_int(struct parser *c, const char *s, unsigned *ret)
{
    char *end;
    errno = 0;
    long n = strtol(s, &end, 10);
    if (!*s || *end || *s == ' ')
        snprintf(c->why, c->size,
                 "failed to parse int from %s: strconv.Atoi: parsing \"%s\": "
                 "invalid syntax",
                 s, s);
    else if (errno == ERANGE || n > INT_MAX)
        snprintf(c->why, c->size,
                 "failed to parse int from %s: strconv.Atoi: parsing \"%s\": value "
                 "out of range",
                 s, s);
    else if (n < 0)
        snprintf(c->why, c->size, "negative number (%ld) not allowed: %s", n, s);
    else {
        *ret = (unsigned)n;
        return true;
    }
    return false;
}

static bool parse_number(struct parser *c, const char *s, const struct field *f, unsigned *ret)
{
    for (unsigned i = 0; f->names && f->names[i]; i++)
        if (strcasecmp(f->names[i], s) == 0) {
            *ret = f->min + i;
            return true;
        }
    return parse_int(c, s, ret);
}

/* Cuts <s> at <mark>; how many parts, 3 for more than two. */
static unsigned cut(char *s, char mark, char **ret_second)
{
    char *at = strchr(s, mark);
    *ret_second = NULL;
    if (!at)
        return 1;
    *at = '\0';
    *ret_second = at + 1;
    return strchr(at + 1, mark) ? 3 : 2;
}

static bool check_bounds(struct parser *c, const char *expression, const struct field *f,
                         unsigned start, unsigned end, unsigned step)
{
    if (start < f->min)
        snprintf(c->why, c->size, "beginning of range (%u) below minimum (%u): %s", start, f->min,
                 expression);
    else if (end > f->max)
        snprintf(c->why, c->size, "end of range (%u) above maximum (%u): %s", end, f->max,
                 expression);
    else if (start > end)
        snprintf(c->why, c->size, "beginning of range (%u) beyond end of range (%u): %s", start,
                 end, expression);
    else if (!step)
        snprintf(c->why, c->size, "step of range should be a positive number: %s", expression);
    else
        return true;
    return false;
}

/* "*", "1", "1-5", each with "/2" behind it. */
static bool check_range(struct parser *c, const char *expression, const struct field *f)
{
    char copy[PART_MAX], *step_text, *high;
    unsigned start = f->min, end = f->max, step = 1;
    if (strlen(expression) >= sizeof(copy)) {
        snprintf(c->why, c->size, "failed to parse int from %.40s: value out of range", expression);
        return false;
    }
    snprintf(copy, sizeof(copy), "%s", expression);
    unsigned parts = cut(copy, '/', &step_text), ends = cut(copy, '-', &high);
    if (strcmp(copy, "*") && strcmp(copy, "?")) {
        if (!parse_number(c, copy, f, &start))
            return false;
        end = start;
        if (ends == 2 && !parse_number(c, high, f, &end))
            return false;
        if (ends > 2) {
            snprintf(c->why, c->size, "too many hyphens: %s", expression);
            return false;
        }
    }
    if (parts > 2) {
        snprintf(c->why, c->size, "too many slashes: %s", expression);
        return false;
    }
    if (parts == 2 && !parse_int(c, step_text, &step))
        return false;
    if (parts == 2 && ends == 1)
        end = f->max;
    return check_bounds(c, expression, f, start, end, step);
}

static bool check_field(struct parser *c, char *text, const struct field *f)
{
    char *save = NULL;
    for (char *part = strtok_r(text, ",", &save); part; part = strtok_r(NULL, ",", &save))
        if (!check_range(c, part, f))
            return false;
    return true;
}

static bool check_descriptor(struct parser *c, const char *s)
{
    static const char *const known[] = {"@yearly", "@annually", "@monthly", "@weekly",
                                        "@daily",  "@midnight", "@hourly"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(known); i++)
        if (strcmp(known[i], s) == 0)
            return true;
    if (strncmp(s, "@every ", 7) == 0) {
        size_t n = strspn(s + 7, "0123456789.hmsu");
        if (n && !s[7 + n])
            return true;
        snprintf(c->why, c->size, "failed to parse duration %s: time: invalid duration \"%s\"", s,
                 s + 7);
        return false;
    }
    snprintf(c->why, c->size, "unrecognized descriptor: %s", s);
    return false;
}

static bool check_fields(struct parser *c, char *copy)
{
    char *word[WORDS_MAX], *save = NULL;
    unsigned n = 0;
    for (char *s = strtok_r(copy, " \t\n\r\v\f", &save); s && n < WORDS_MAX;
         s = strtok_r(NULL, " \t\n\r\v\f", &save))
        word[n++] = s;
    if (n != FIELDS) {
        size_t used =
            (size_t)snprintf(c->why, c->size, "expected exactly 5 fields, found %u: [", n);
        for (unsigned i = 0; i < n && used < c->size; i++)
            used += (size_t)snprintf(c->why + used, c->size - used, "%s%s", i ? " " : "", word[i]);
        if (used < c->size)
            snprintf(c->why + used, c->size - used, "]");
        return false;
    }
    for (unsigned i = 0; i < FIELDS; i++)
        if (!check_field(c, word[i], &fields[i]))
            return false;
    return true;
}

bool rest_cron_check(const char *schedule, char *why, size_t size)
{
    struct parser c = {why, size};
    if (strncmp(schedule, "TZ=", 3) == 0 || strncmp(schedule, "CRON_TZ=", 8) == 0) {
        schedule += strcspn(schedule, " ");
        schedule += strspn(schedule, " ");
    }
    if (!*schedule) {
        snprintf(why, size, "empty spec string");
        return false;
    }
    if (*schedule == '@')
        return check_descriptor(&c, schedule);
    char *copy = neap_strdup(schedule);
    bool good = check_fields(&c, copy);
    free(copy);
    return good;
}

bool rest_time_zone_known(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+/";
    char file[512];
    if (strcmp(name, "UTC") == 0)
        return true;
    if (*name == '/' || *name == '-' || strspn(name, letters) != strlen(name) ||
        strstr(name, "..") || strlen(name) > 128)
        return false;
    const char *directory = getenv("TZDIR");
    snprintf(file, sizeof(file), "%s/%s", directory ? directory : "/usr/share/zoneinfo", name);
    return access(file, R_OK) == 0;
}
