/* Hash map from byte strings to pointers. Zeroed is empty (NEAP_MAP_INIT). Keys are copied.
 * Seeded per process, so that chosen keys cannot collide in bulk. thread: one at a time. */
#ifndef NEAP_MAP_H
#define NEAP_MAP_H

#include <neap/base.h>

struct neap_map_slot;
struct neap_map {
    struct neap_map_slot *slots;
    size_t count, cap, tombs;
};
#define NEAP_MAP_INIT                                                                              \
    {                                                                                              \
        0                                                                                          \
    }

void *neap_map_get(const struct neap_map *m, const char *key);
void *neap_map_getn(const struct neap_map *m, const char *key, size_t len);
/* Returns the value that was there before, or NULL. <value> must not be NULL. */
void *neap_map_set(struct neap_map *m, const char *key, void *value);
void *neap_map_setn(struct neap_map *m, const char *key, size_t len, void *value);
void *neap_map_del(struct neap_map *m, const char *key);
void *neap_map_deln(struct neap_map *m, const char *key, size_t len);
/* Iteration in no order: start with *it = 0; false: the end. Deleting the current is allowed. */
bool neap_map_next(const struct neap_map *m, size_t *it, const char **ret_key, void **ret_value);
/* Frees keys and table; <free_value> may be NULL. */
void neap_map_done(struct neap_map *m, void (*free_value)(void *));

#endif
