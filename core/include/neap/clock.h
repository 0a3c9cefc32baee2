/* Time and randomness, injected: nothing in neap calls time() or rand() but core/base/clock.c.
 * Wall time is for objects, monotonic time for timers and measures. */
#ifndef NEAP_CLOCK_H
#define NEAP_CLOCK_H

#include <neap/base.h>

struct neap_clock {
    int64_t (*wall_ns)(void *self); /* since 1970, UTC */
    int64_t (*mono_ns)(void *self);
    void *self;
};
extern const struct neap_clock neap_clock_system;
static inline int64_t neap_clock_wall(const struct neap_clock *c)
{
    return c->wall_ns(c->self);
}
static inline int64_t neap_clock_mono(const struct neap_clock *c)
{
    return c->mono_ns(c->self);
}

struct neap_rand {
    void (*fill)(void *self, void *buf, size_t len);
    void *self;
};
extern const struct neap_rand neap_rand_system; /* getrandom(2) */
uint64_t neap_rand_u64(const struct neap_rand *r);
/* UUIDv4 in text, 37 bytes with the NUL (RFC 9562). */
void neap_rand_uuid(const struct neap_rand *r, char ret[37]);
/* <n> characters of bcdfghjklmnpqrstvwxz2456789 and a NUL (Kubernetes' name suffix alphabet). */
void neap_rand_suffix(const struct neap_rand *r, char *ret, size_t n);

/* RFC 3339 in UTC. Seconds: "2026-01-02T03:04:05Z" (21 bytes with NUL); micro: six digits (28). */
void neap_time_format(int64_t wall_ns, char ret[32]);
void neap_time_format_micro(int64_t wall_ns, char ret[32]);
/* Parses RFC 3339 with any offset and fraction; false: not one. */
bool neap_time_parse(const char *s, size_t len, int64_t *ret_wall_ns);
/* The same instant in UTC text, to seconds (a fraction is cut) or with six digits; years 0 to 9999. */
bool neap_time_normalise(const char *s, size_t len, bool micro, char ret[40]);

#endif
