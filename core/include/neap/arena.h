/* Memory with one lifetime: a request, a work item. Bump allocation in chunks, freed together.
 * Bounded: past <limit> bytes every allocation returns NULL and neap_arena_exhausted() says so;
 * the request ends with NEAP_ETOOLARGE. thread: one at a time. */
#ifndef NEAP_ARENA_H
#define NEAP_ARENA_H

#include <neap/base.h>
#include <yyjson.h>

struct neap_arena;

/* limit in bytes, 0: none. */
struct neap_arena *neap_arena_new(size_t limit);
/* Runs what was deferred (newest first), frees all. Accepts NULL; returns NULL. */
struct neap_arena *neap_arena_free(struct neap_arena *a);
void *neap_arena_alloc(struct neap_arena *a, size_t size);  /* 16-byte aligned, not zeroed */
void *neap_arena_calloc(struct neap_arena *a, size_t size); /* zeroed */
char *neap_arena_strndup(struct neap_arena *a, const char *s, size_t n);
char *neap_arena_strdup(struct neap_arena *a, const char *s);
char *neap_arena_printf(struct neap_arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* <fn>(<arg>) runs when the arena is freed: how an arena holds references. False: no room (then
 * <fn> has been called at once). */
bool neap_arena_defer(struct neap_arena *a, void (*fn)(void *arg), void *arg);
bool neap_arena_exhausted(const struct neap_arena *a);
size_t neap_arena_used(const struct neap_arena *a);
/* An allocator for yyjson that takes from the arena; valid as long as the arena. */
const yyjson_alc *neap_arena_alc(struct neap_arena *a);

#endif
