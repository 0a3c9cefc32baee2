/* Lifecycles as checked tables: states, the moves allowed, an invariant run after every move, a
 * trace of each move. A move that the table forbids aborts in test builds and is logged and refused
 * otherwise. The idea is dqlite's sm.h. thread: the one of the object that embeds it. */
#ifndef NEAP_SM_H
#define NEAP_SM_H

#include <neap/base.h>

struct neap_sm_state {
    const char *name;
    uint32_t allowed; /* bit set of next states: NEAP_SM_TO(a) | NEAP_SM_TO(b) */
    bool initial, final;
};
#define NEAP_SM_TO(state) (1u << (state))

struct neap_sm {
    const struct neap_sm_state *table;
    unsigned count, state;
    const char *kind;                                                  /* "pod": static */
    char id[64];                                                       /* for the trace */
    bool (*invariant)(const struct neap_sm *sm);                       /* may be NULL */
    void (*moved)(const struct neap_sm *sm, unsigned from, void *arg); /* trace; may be NULL */
    void *moved_arg;
};

void neap_sm_init(struct neap_sm *sm, const char *kind, const char *id,
                  const struct neap_sm_state *table, unsigned count, unsigned initial,
                  bool (*invariant)(const struct neap_sm *));
/* False: the table forbids it; the state stays. Moving to the current state is a move like others. */
bool neap_sm_move(struct neap_sm *sm, unsigned to);
static inline const char *neap_sm_name(const struct neap_sm *sm)
{
    return sm->table[sm->state].name;
}

#endif
