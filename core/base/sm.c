/* Checked state machines: see neap/sm.h. */
#include <neap/sm.h>

#include <neap/log.h>

void neap_sm_init(struct neap_sm *sm, const char *kind, const char *id,
                  const struct neap_sm_state *table, unsigned count, unsigned initial,
                  bool (*invariant)(const struct neap_sm *))
{
    *sm = (struct neap_sm){
        .table = table, .count = count, .state = initial, .kind = kind, .invariant = invariant};
    snprintf(sm->id, sizeof(sm->id), "%s", id);
}

static bool refuse(const struct neap_sm *sm, const char *why, const char *to)
{
    NEAP_ERROR("sm", why, "kind=%s id=%s from=%s to=%s", sm->kind, sm->id, neap_sm_name(sm), to);
#ifdef NEAP_CHECKED
    abort();
#endif
    return false;
}

bool neap_sm_move(struct neap_sm *sm, unsigned to)
{
    if (to >= sm->count)
        return refuse(sm, "no such state", "?");
    if (!(sm->table[sm->state].allowed & NEAP_SM_TO(to)))
        return refuse(sm, "move not allowed", sm->table[to].name);
    unsigned from = sm->state;
    sm->state = to;
    if (sm->moved)
        sm->moved(sm, from, sm->moved_arg);
    NEAP_DEBUG("sm", "moved", "kind=%s id=%s from=%s to=%s", sm->kind, sm->id, sm->table[from].name,
               sm->table[to].name);
    if (sm->invariant && !sm->invariant(sm))
        return refuse(sm, "invariant broken", sm->table[to].name);
    return true;
}
