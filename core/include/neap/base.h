/* Small things that every folder uses: allocation, strings, cleanup, lists.
 *
 * Allocation: neap_malloc and its family never return NULL: when the system has no memory the
 * process says so and aborts. Everything acknowledged is in the store and containers outlive the
 * process, so a restart is the cleanest answer (ARCHITECTURE.md, "Memory"). What a request may
 * allocate is bounded beforehand by its arena (arena.h), which does return NULL. */
#ifndef NEAP_BASE_H
#define NEAP_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define NEAP_EXPORT       __attribute__((visibility("default")))
#define NEAP_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define neap_container_of(ptr, type, member)                                                       \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

void *neap_malloc(size_t size) __attribute__((malloc, returns_nonnull));
void *neap_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *neap_realloc(void *ptr, size_t size) __attribute__((returns_nonnull));
/* Grows <ptr> so that <count> + 1 items fit; <cap> is updated. */
void *neap_grow(void *ptr, size_t *cap, size_t count, size_t item_size)
    __attribute__((returns_nonnull));
char *neap_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *neap_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
/* Gives the heap's free pages back to the system: after a burst. Other threads' allocations wait
 * for it, some milliseconds at most. thread: any. */
void neap_memory_trim(void);
char *neap_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

static inline bool neap_streq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}
static inline bool neap_startswith(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}
bool neap_endswith(const char *s, const char *suffix);
/* Parses an unsigned decimal that fills all of <s>; false: not one, or above <max>. */
bool neap_parse_u64(const char *s, uint64_t max, uint64_t *ret);
/* SipHash-free FNV-1a: for tables whose keys are not attacker-chosen in bulk, and for names. */
uint64_t neap_hash(const void *data, size_t len);

void neap_cleanup_free(void *p);
void neap_cleanup_close(int *fd);
#define NEAP_CLEANUP_FREE  __attribute__((cleanup(neap_cleanup_free)))
#define NEAP_CLEANUP_CLOSE __attribute__((cleanup(neap_cleanup_close)))
/* Hands a pointer on: `return neap_take(p);` with a NEAP_CLEANUP_FREE p. */
#define neap_take(p)                                                                               \
    ({                                                                                             \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

/* Intrusive doubly linked list; a head is an entry linked to itself. */
struct neap_list {
    struct neap_list *next, *prev;
};
static inline void neap_list_init(struct neap_list *l)
{
    l->next = l->prev = l;
}
static inline bool neap_list_empty(const struct neap_list *l)
{
    return l->next == l;
}
static inline void neap_list_append(struct neap_list *head, struct neap_list *e)
{
    e->prev = head->prev;
    e->next = head;
    head->prev->next = e;
    head->prev = e;
}
/* Removing an entry that is not linked (initialised) is a no-op. */
static inline void neap_list_remove(struct neap_list *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
    neap_list_init(e);
}
#define neap_list_entry(e, type, member) neap_container_of(e, type, member)
/* <next> is saved first: the current entry may be removed in the body. */
#define neap_list_foreach(head, it)                                                                \
    for (struct neap_list *it = (head)->next, *it##_next = it->next; it != (head);                 \
         it = it##_next, it##_next = it->next)

/* Files. All open CLOEXEC; errors are -errno. */
int neap_file_read(const char *path, size_t max, char **ret, size_t *ret_len);
/* Writes a temporary beside <path>, fsyncs it, renames it, fsyncs the folder. */
int neap_file_write_atomic(const char *path, const void *data, size_t len, mode_t mode);
int neap_mkdir_p(const char *path, mode_t mode);
/* socket(2) in the network namespace at <netns> (NULL: ours), CLOEXEC and nonblocking. The thread comes back
 * to its own. -errno. Source: setns(2). */
int neap_socket_in(const char *netns, int domain, int type);

#endif
