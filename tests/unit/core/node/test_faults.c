/* Every state of a pod against everything that can go wrong in it. Whatever happened, a pod that is to live
 * comes up when the fault is over, one that is to go is gone, and nothing is left of it: no sandbox, address,
 * folder or memory (ASan). The machine refuses operations that overlap. */
#include "world.h"

#define CONFIG "\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"m\"}}],"

static void fetching(struct world *w)
{
    world_config(w, "configmaps", "m", "{\"k\":\"v\"}");
    w->api.rules[GET].never = true;
    world_pod(w, "p", CONFIG ONE);
}
static void missing(struct world *w)
{
    world_pod(w, "p", CONFIG ONE);
    world_pass(w, 3);
    world_config(w, "configmaps", "m", "{\"k\":\"v\"}");
}
static void held(struct world *w, enum slot slot)
{
    w->machine.slots[slot].hold = true;
    world_pod(w, "p", ONE);
}
static void sandbox(struct world *w)
{
    held(w, SANDBOX_RUN);
}
static void network(struct world *w)
{
    held(w, ATTACH);
}
static void pulling(struct world *w)
{
    w->machine.no_image = true;
    held(w, PULL);
}
static void creating(struct world *w)
{
    held(w, CREATE);
}
static void starting(struct world *w)
{
    held(w, START);
}
static void failing(struct world *w)
{
    w->machine.slots[SANDBOX_RUN].fail = 3;
    world_pod(w, "p", ONE);
    world_pass(w, 2);
}
static void running(struct world *w)
{
    world_pod(w, "p", ONE);
}
static void crashing(struct world *w)
{
    running(w);
    world_exit(w, "c", 1);
    world_exit(w, "c", 1);
}
static void going(struct world *w)
{
    running(w);
    w->machine.ignores_term = true;
    world_delete(w, "p", 30);
}
static void unheard(struct world *w)
{
    running(w);
    w->api.rules[STATUS].never = true;
    world_delete(w, "p", 30);
}
static void cleaning(struct world *w, enum slot slot)
{
    running(w);
    w->machine.slots[slot].hold = true;
    world_delete(w, "p", 30);
}
static void detaching(struct world *w)
{
    cleaning(w, DETACH);
}
static void stopping(struct world *w)
{
    cleaning(w, SANDBOX_STOP);
}
static void removing(struct world *w)
{
    cleaning(w, SANDBOX_REMOVE);
}
static void deleting(struct world *w)
{
    running(w);
    w->api.rules[DELETE].never = true;
    world_delete(w, "p", 30);
}
static void finished(struct world *w)
{
    world_pod(w, "p", "\"restartPolicy\":\"Never\"," ONE);
    world_exit(w, "c", 0);
}

static const struct {
    const char *name;
    void (*reach)(struct world *w);
    enum pod_state state;
    bool goes; /* it is deleted already */
} stages[] = {
    {"fetching", fetching, POD_FETCHING, false},  {"missing", missing, POD_FETCHING, false},
    {"sandbox", sandbox, POD_SANDBOX, false},     {"failing", failing, POD_SANDBOX, false},
    {"network", network, POD_NETWORK, false},     {"pulling", pulling, POD_RUNNING, false},
    {"creating", creating, POD_RUNNING, false},   {"starting", starting, POD_RUNNING, false},
    {"running", running, POD_RUNNING, false},     {"crashing", crashing, POD_RUNNING, false},
    {"going", going, POD_STOPPING, true},         {"unheard", unheard, POD_STOPPING, true},
    {"detaching", detaching, POD_CLEANING, true}, {"stopping", stopping, POD_CLEANING, true},
    {"removing", removing, POD_CLEANING, true},   {"deleting", deleting, POD_OVER, true},
    {"finished", finished, POD_OVER, false}};

/* ---- faults ---- */

static void none(struct world *w)
{
    (void)w;
}
static void deletion(struct world *w)
{
    world_delete(w, "p", 1);
}
static void at_once(struct world *w)
{
    world_delete(w, "p", 0);
}
static void force(struct world *w)
{
    world_force(w, "p");
}
static void again(struct world *w)
{
    force(w);
    world_pod(w, "p", ONE);
}
static void lost(struct world *w)
{
    world_lose(w);
}
static void restart(struct world *w)
{
    world_agent_end(w);
    world_agent(w);
}
static void forgotten(struct world *w)
{
    world_agent_end(w);
    force(w);
    world_agent(w);
}
static void op_fails(struct world *w)
{
    for (int s = 0; s < SLOTS; s++)
        machine_release(&w->machine, (enum slot)s, NEAP_EIO);
    world_settle(w);
}
static void refuse(struct world *w, int code)
{
    w->api.rules[STATUS].fail = w->api.rules[DELETE].fail = w->api.rules[EVENT].fail = 5;
    w->api.rules[STATUS].code = w->api.rules[DELETE].code = w->api.rules[EVENT].code = code;
    world_patch(w, "p", "{\"metadata\":{\"labels\":{\"a\":\"b\"},\"generation\":2}}");
    world_pass(w, 3);
}
static void errors(struct world *w)
{
    refuse(w, NEAP_EINTERNAL);
}
static void conflict(struct world *w)
{
    w->api.rules[STATUS].fail = 3;
    w->api.rules[STATUS].code = NEAP_ECONFLICT;
    world_patch(w, "p", "{\"metadata\":{\"labels\":{\"a\":\"b\"},\"generation\":2}}");
}
static void silence(struct world *w)
{
    w->api.rules[STATUS].never = w->api.rules[EVENT].never = true;
    world_patch(w, "p", "{\"metadata\":{\"labels\":{\"a\":\"b\"},\"generation\":2}}");
    world_pass(w, 3);
}
static void restart_deleted(struct world *w)
{
    deletion(w);
    restart(w);
}
static void deaf(struct world *w)
{
    w->api.deaf = true; /* the watch is broken: the deletion is seen by its answers only */
    world_force(w, "p");
    world_pass(w, 5);
    w->api.deaf = false;
    restart(w);
}

static const struct {
    const char *name;
    void (*strike)(struct world *w);
    bool goes, only_new;
} faults[] = {{"nothing", none, false, false},
              {"deletion", deletion, true, false},
              {"deletion at once", at_once, true, false},
              {"forced deletion", force, true, false},
              {"same name, new uid", again, false, true},
              {"sandbox lost", lost, false, false},
              {"restart", restart, false, false},
              {"deleted in a restart", forgotten, true, false},
              {"restart of a deleted pod", restart_deleted, true, false},
              {"operation fails", op_fails, false, false},
              {"API errors", errors, false, false},
              {"API conflicts", conflict, false, false},
              {"API silent", silence, false, false},
              {"deletion not told", deaf, true, false}};

/* All is well again. */
static void recover(struct world *w)
{
    for (int s = 0; s < SLOTS; s++)
        machine_release(&w->machine, (enum slot)s, 0);
    for (int r = 0; r < REQUESTS; r++)
        api_answer(&w->api, (enum request)r);
    world_pass(w, 180);
}

static void one(size_t s, size_t f)
{
    struct world w;
    char what[128];
    snprintf(what, sizeof(what), "%s, %s", stages[s].name, faults[f].name);
    if (getenv("VERBOSE"))
        print_message("%s\n", what);
    world_open(&w);
    stages[s].reach(&w);
    size_t at = 0;
    const char *uid;
    void *pod;
    assert_true(neap_map_next(&w.node->pods, &at, &uid, &pod));
    if (((struct pod *)pod)->sm.state != stages[s].state)
        fail_msg("%s: not in its state but in %s", what, neap_sm_name(&((struct pod *)pod)->sm));
    faults[f].strike(&w);
    recover(&w);
    bool lives = faults[f].only_new || !(stages[s].goes || faults[f].goes);
    const char *phase = world_get(&w, "p", "status.phase");
    bool ends = stages[s].reach == finished && !faults[f].only_new;
    if (lives && strcmp(phase, ends ? "Succeeded" : "Running") != 0)
        fail_msg("%s: the phase is %s", what, phase);
    if (lives && !ends && strcmp(world_of(&w, "p", "c", "ready"), "true") != 0)
        fail_msg("%s: it is not ready", what);
    if (lives) {
        w.machine.ignores_term = false;
        world_delete(&w, "p", 5);
        world_pass(&w, 60);
    }
    if (api_object(&w.api, "pods", "p"))
        fail_msg("%s: the API still has it", what);
    world_assert_empty(&w, what);
    world_close(&w);
}

static void test_matrix(void **state)
{
    (void)state;
    for (size_t s = 0; s < NEAP_ARRAY_LEN(stages); s++)
        for (size_t f = 0; f < NEAP_ARRAY_LEN(faults); f++)
            if (!stages[s].goes || !faults[f].goes || faults[f].strike != deletion)
                one(s, f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrix)};
    if (argc == 3) { /* one of them, by number */
        one((size_t)atoi(argv[1]), (size_t)atoi(argv[2]));
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
