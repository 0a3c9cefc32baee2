/* A runtime and a network plugin in memory. Every operation can be made to fail or be held back; none may be
 * begun on a sandbox or container while another is under way there. What they hold is counted at the end. */
#ifndef NEAP_TEST_NODE_MACHINE_H
#define NEAP_TEST_NODE_MACHINE_H

#include "core/node/node_internal.h"
#include "neap_test.h"

#include <signal.h>

enum slot {
    SANDBOX_RUN,
    SANDBOX_STOP,
    SANDBOX_REMOVE,
    CREATE,
    START,
    SIGNAL,
    PULL,
    ATTACH,
    DETACH,
    SLOTS
};
enum { BOXES_MAX = 8, THINGS_MAX = 64, COMMANDS_MAX = 8, MOUNTS_MAX = 8, NEVER = 255 };

struct operation {
    struct neap_list link; /* of machine->operations */
    struct machine *machine;
    enum slot slot;
    char *id;
    int code, signum;
    bool posted;
    struct neap_op *op;
    struct neap_network_result *address;
};
struct box {
    char id[64]; /* "": none */
    bool ready, exists, attached;
};
struct thing { /* a container */
    char id[160], box[64];
    enum neap_runtime_state state;
    int64_t started, finished;
    int code, signal;
    const char *reason;
    bool oom;
};
/* What a probe's or hook's command does: its first word. */
struct command {
    const char *word;
    int code; /* NEVER: does not end by itself */
    unsigned runs;
};
struct neap_runtime_io {
    struct machine *machine;
    struct neap_runtime_io_events events;
    void *arg;
    struct neap_timer *timer;
    int code;
    bool over, closed;
};
struct machine {
    struct neap_loop *loop;
    const struct neap_clock *clock;
    struct neap_runtime_events events;
    struct {
        unsigned calls, fail; /* the next <fail> calls fail */
        bool hold;
    } slots[SLOTS];
    struct neap_list operations;
    struct box boxes[BOXES_MAX];
    struct thing things[THINGS_MAX];
    struct command commands[COMMANDS_MAX];
    uint64_t activity;
    bool no_image, ignores_term, stopped;
    unsigned signals[65];
    int64_t signalled[65];        /* when last; monotonic */
    char mounts[MOUNTS_MAX][512]; /* of the container made last: "target=source" and " ro" */
};

/* ---- what there is ---- */

static struct box *box_of(struct machine *m, const char *id, bool make)
{
    struct box *spare = NULL;
    for (int i = 0; i < BOXES_MAX; i++) {
        if (strcmp(m->boxes[i].id, id) == 0)
            return &m->boxes[i];
        if (!m->boxes[i].id[0])
            spare = &m->boxes[i];
    }
    if (!make)
        return NULL;
    assert_non_null(spare);
    snprintf(spare->id, sizeof(spare->id), "%s", id);
    return spare;
}

static void box_drop_empty(struct box *b)
{
    if (b && !b->exists && !b->attached)
        memset(b, 0, sizeof(*b));
}

static struct thing *thing_of(struct machine *m, const char *id)
{
    for (int i = 0; i < THINGS_MAX; i++)
        if (strcmp(m->things[i].id, id) == 0)
            return &m->things[i];
    return NULL;
}

static void changed(void *arg)
{
    struct operation *o = arg;
    if (!o->machine->stopped)
        o->machine->events.container_changed(o->machine->events.arg, o->id);
    o->machine->activity++;
    free(o->id);
    free(o);
}

static void machine_end(struct machine *m, struct thing *t, int code, int signum)
{
    if (t->state == NEAP_RUNTIME_EXITED)
        return;
    t->state = NEAP_RUNTIME_EXITED;
    t->code = code;
    t->signal = signum;
    t->finished = neap_clock_wall(m->clock);
    struct operation *o = neap_calloc(1, sizeof(*o));
    o->machine = m;
    o->id = neap_strdup(t->id);
    neap_loop_post(m->loop, changed, o);
}

static void end_all(struct machine *m, const char *box, int code)
{
    for (int i = 0; i < THINGS_MAX; i++)
        if (m->things[i].id[0] && strcmp(m->things[i].box, box) == 0)
            machine_end(m, &m->things[i], code, code > 128 ? code - 128 : 0);
}

/* ---- operations ---- */

static void send_signal(struct machine *m, const struct operation *o)
{
    struct thing *t = thing_of(m, o->id);
    m->signals[o->signum]++;
    m->signalled[o->signum] = neap_clock_mono(m->clock);
    if (t && t->state == NEAP_RUNTIME_RUNNING && (o->signum == SIGKILL || !m->ignores_term))
        machine_end(m, t, 128 + o->signum, o->signum);
}

static void effect(struct machine *m, struct operation *o)
{
    struct box *b = box_of(m, o->id, o->slot == SANDBOX_RUN || o->slot == ATTACH);
    struct thing *t = thing_of(m, o->id);
    switch (o->slot) {
    case SANDBOX_RUN:
        b->exists = b->ready = true;
        break;
    case SANDBOX_STOP:
        end_all(m, o->id, 137);
        if (b)
            b->ready = false;
        break;
    case SANDBOX_REMOVE:
        for (int i = 0; i < THINGS_MAX; i++)
            if (strcmp(m->things[i].box, o->id) == 0)
                memset(&m->things[i], 0, sizeof(m->things[i]));
        if (b)
            b->exists = b->ready = false;
        box_drop_empty(b);
        break;
    case START:
        if (t && t->state == NEAP_RUNTIME_CREATED) {
            t->state = NEAP_RUNTIME_RUNNING;
            t->started = neap_clock_wall(m->clock);
        }
        break;
    case SIGNAL:
        send_signal(m, o);
        break;
    case PULL:
        m->no_image = false;
        break;
    case ATTACH:
        b->attached = true;
        *o->address = (struct neap_network_result){.address_count = 1};
        snprintf(o->address->addresses[0], sizeof(o->address->addresses[0]), "10.0.0.7");
        break;
    case DETACH:
        if (b)
            b->attached = false;
        box_drop_empty(b);
        break;
    default:
        break;
    }
}

static void operation_free(struct operation *o)
{
    neap_list_remove(&o->link);
    free(o->id);
    free(o);
}

static void finish(void *arg)
{
    struct operation *o = arg;
    struct machine *m = o->machine;
    struct neap_op *op = o->op;
    int code = o->code;
    m->activity++;
    if (!code)
        effect(m, o);
    operation_free(o);
    op->done(op, code, code ? "the test refuses" : NULL);
}

static struct operation *begin_op(void *self, enum slot slot, const char *id, struct neap_op *op)
{
    struct machine *m = self;
    struct operation *o = neap_calloc(1, sizeof(*o));
    neap_list_foreach(&m->operations, it)
    {
        const struct operation *other = neap_list_entry(it, struct operation, link);
        if (*id && slot != SIGNAL && other->slot != SIGNAL && strcmp(other->id, id) == 0)
            fail_msg("%s: operation %d is begun while %d is under way", id, slot, other->slot);
    }
    *o = (struct operation){.machine = m, .slot = slot, .id = neap_strdup(id), .op = op};
    neap_list_append(&m->operations, &o->link);
    m->activity++;
    m->slots[slot].calls++;
    if (m->slots[slot].fail) {
        m->slots[slot].fail--;
        o->code = NEAP_EIO;
    }
    if (!m->slots[slot].hold) {
        o->posted = true;
        neap_loop_post(m->loop, finish, o);
    }
    return o;
}

/* What was held back is done now, or fails with <code>. */
static inline void machine_release(struct machine *m, enum slot slot, int code)
{
    m->slots[slot].hold = false;
    neap_list_foreach(&m->operations, it)
    {
        struct operation *o = neap_list_entry(it, struct operation, link);
        if (o->slot != slot || o->posted)
            continue;
        o->code = code;
        o->posted = true;
        neap_loop_post(m->loop, finish, o);
    }
}

static void m_sandbox_run(void *self, const struct neap_runtime_sandbox_config *c,
                          struct neap_op *op)
{
    begin_op(self, SANDBOX_RUN, c->id, op);
}
static void m_sandbox_stop(void *self, const char *id, struct neap_op *op)
{
    begin_op(self, SANDBOX_STOP, id, op);
}
static void m_sandbox_remove(void *self, const char *id, struct neap_op *op)
{
    begin_op(self, SANDBOX_REMOVE, id, op);
}
static int m_sandbox_status(void *self, const char *id, struct neap_runtime_sandbox_status *ret)
{
    struct box *b = box_of(self, id, false);
    if (!b || !b->exists)
        return NEAP_ENOTFOUND;
    *ret = (struct neap_runtime_sandbox_status){.id = b->id, .ready = b->ready, .netns_path = "/n"};
    return 0;
}

static void keep_mounts(struct machine *m, const struct neap_runtime_container_config *c)
{
    memset(m->mounts, 0, sizeof(m->mounts));
    for (size_t i = 0; i < c->mount_count && i < MOUNTS_MAX; i++)
        snprintf(m->mounts[i], sizeof(m->mounts[i]), "%s=%s%s", c->mounts[i].target,
                 c->mounts[i].source, c->mounts[i].read_only ? " ro" : "");
}

static void m_create(void *self, const struct neap_runtime_container_config *c, struct neap_op *op)
{
    struct machine *m = self;
    struct operation *o = begin_op(self, CREATE, c->id, op);
    struct box *b = box_of(m, c->sandbox_id, false);
    struct thing *t = thing_of(m, c->id);
    keep_mounts(m, c);
    if (!b || !b->ready)
        o->code = NEAP_ENOTFOUND;
    if (o->code || t)
        return;
    t = thing_of(m, "");
    assert_non_null(t);
    *t = (struct thing){.state = NEAP_RUNTIME_CREATED};
    snprintf(t->id, sizeof(t->id), "%s", c->id);
    snprintf(t->box, sizeof(t->box), "%s", c->sandbox_id);
}
static void m_start(void *self, const char *id, struct neap_op *op)
{
    begin_op(self, START, id, op);
}
static void m_signal(void *self, const char *id, int signum, struct neap_op *op)
{
    begin_op(self, SIGNAL, id, op)->signum = signum;
}
static void m_remove(void *self, const char *id, struct neap_op *op)
{
    (void)self;
    (void)op;
    fail_msg("container_remove of %s: the sandbox takes it along", id);
}

static void fill(const struct thing *t, struct neap_runtime_container_status *ret)
{
    *ret = (struct neap_runtime_container_status){.id = t->id,
                                                  .sandbox_id = t->box,
                                                  .state = t->state,
                                                  .started_wall_ns = t->started,
                                                  .finished_wall_ns = t->finished,
                                                  .exit_code = t->code,
                                                  .signal = t->signal,
                                                  .reason = t->reason,
                                                  .oom_killed = t->oom};
}

static int m_status(void *self, const char *id, struct neap_runtime_container_status *ret)
{
    const struct thing *t = thing_of(self, id);
    if (!t)
        return NEAP_ENOTFOUND;
    fill(t, ret);
    return 0;
}

static void m_list(void *self,
                   void (*sandbox)(void *arg, const struct neap_runtime_sandbox_status *s),
                   void (*container)(void *arg, const struct neap_runtime_container_status *s),
                   void *arg)
{
    struct machine *m = self;
    for (int i = 0; i < BOXES_MAX; i++) {
        struct neap_runtime_sandbox_status s;
        if (m->boxes[i].exists && m_sandbox_status(m, m->boxes[i].id, &s) == 0)
            sandbox(arg, &s);
    }
    for (int i = 0; i < THINGS_MAX; i++) {
        struct neap_runtime_container_status s;
        if (m->things[i].id[0] && m_status(m, m->things[i].id, &s) == 0)
            container(arg, &s);
    }
}

static int m_image_status(void *self, const char *reference, const struct neap_runtime_image **ret)
{
    static const char *const names[] = {NULL};
    static const struct neap_runtime_image image = {.id = "sha256:0", .names = names, .size = 1};
    (void)reference;
    *ret = &image;
    return ((struct machine *)self)->no_image ? NEAP_ENOTFOUND : 0;
}
static void m_image_pull(void *self, const char *reference, const char *auth, struct neap_op *op)
{
    (void)reference;
    (void)auth;
    begin_op(self, PULL, "", op);
}

static void m_attach(void *self, const struct neap_network_pod *pod,
                     struct neap_network_result *ret, struct neap_op *op)
{
    struct operation *o = begin_op(self, ATTACH, pod->sandbox_id, op);
    struct box *b = box_of(self, pod->sandbox_id, false);
    o->address = ret;
    if (!b || !b->ready)
        o->code = NEAP_ENOTFOUND; /* the network namespace went with the sandbox */
}
static void m_detach(void *self, const char *id, struct neap_op *op)
{
    begin_op(self, DETACH, id, op);
}
static int m_address(void *self, const char *id, struct neap_network_result *ret)
{
    struct box *b = box_of(self, id, false);
    if (!b || !b->attached)
        return NEAP_ENOTFOUND;
    *ret = (struct neap_network_result){.addresses = {"10.0.0.7"}, .address_count = 1};
    return 0;
}
static int m_node_address(void *self, char ret[46])
{
    (void)self;
    snprintf(ret, 46, "10.0.0.1");
    return 0;
}

/* ---- commands of probes and hooks ---- */

static struct command *command_of(struct machine *m, const char *word)
{
    for (int i = 0; i < COMMANDS_MAX; i++)
        if (m->commands[i].word && strcmp(m->commands[i].word, word) == 0)
            return &m->commands[i];
    return NULL;
}

static inline void machine_command(struct machine *m, const char *word, int code)
{
    struct command *c = command_of(m, word);
    for (int i = 0; !c && i < COMMANDS_MAX; i++)
        if (!m->commands[i].word)
            c = &m->commands[i];
    assert_non_null(c);
    c->word = word;
    c->code = code;
}

static void io_over(void *arg)
{
    struct neap_runtime_io *io = arg;
    bool late = io->code == NEVER;
    io->machine->activity++;
    io->timer = neap_timer_close(io->timer);
    io->over = true;
    if (io->closed)
        free(io);
    else
        io->events.done(io->arg, late ? -1 : io->code, late ? "timed out" : NULL);
}

static struct neap_runtime_io *m_exec(void *self, const struct neap_runtime_exec_config *c,
                                      const struct neap_runtime_io_events *events, void *arg)
{
    struct machine *m = self;
    struct command *command = command_of(m, c->argv[0]);
    assert_non_null(command);
    command->runs++;
    m->activity++;
    struct neap_runtime_io *io = neap_calloc(1, sizeof(*io));
    *io = (struct neap_runtime_io){m, *events, arg, NULL, command->code, false, false};
    io->timer = neap_timer_new(m->loop, io_over, io);
    neap_timer_start(io->timer, io->code == NEVER ? (uint64_t)c->timeout_ms : 0, 0);
    return io;
}
static void m_io_close(void *self, struct neap_runtime_io *io)
{
    (void)self;
    io->closed = true;
    if (io->over)
        free(io);
}

/* ---- life ---- */

static int m_configure(const struct neap_host *host, const struct neap_runtime_events *events,
                       void **ret)
{
    struct machine *m = (struct machine *)(uintptr_t)host;
    m->events = *events;
    m->stopped = false;
    *ret = m;
    return 0;
}
static int m_net_configure(const struct neap_host *host, const char *netns,
                           const char *const *cidrs, void **ret)
{
    (void)netns;
    (void)cidrs;
    *ret = (void *)(uintptr_t)host;
    return 0;
}
static int m_restore(void *self)
{
    (void)self;
    return 0;
}
static void done_now(void *arg)
{
    struct neap_op *op = arg;
    op->done(op, 0, NULL);
}
static void m_begin(void *self, struct neap_op *op)
{
    neap_loop_post(((struct machine *)self)->loop, done_now, op);
}
static void m_stop(void *self, struct neap_op *op)
{
    ((struct machine *)self)->stopped = true;
    m_begin(self, op);
}
static void m_destroy(void *self)
{
    (void)self;
}
static const char *m_version(void *self)
{
    (void)self;
    return "fake://1";
}

static const struct neap_runtime_plugin machine_runtime = {.configure = m_configure,
                                                           .restore = m_restore,
                                                           .start = m_begin,
                                                           .stop = m_stop,
                                                           .destroy = m_destroy,
                                                           .version = m_version,
                                                           .sandbox_run = m_sandbox_run,
                                                           .sandbox_stop = m_sandbox_stop,
                                                           .sandbox_remove = m_sandbox_remove,
                                                           .sandbox_status = m_sandbox_status,
                                                           .container_create = m_create,
                                                           .container_start = m_start,
                                                           .container_signal = m_signal,
                                                           .container_remove = m_remove,
                                                           .container_status = m_status,
                                                           .list = m_list,
                                                           .exec = m_exec,
                                                           .io_close = m_io_close,
                                                           .image_status = m_image_status,
                                                           .image_pull = m_image_pull};
static const struct neap_network_plugin machine_network = {.configure = m_net_configure,
                                                           .restore = m_restore,
                                                           .start = m_begin,
                                                           .stop = m_begin,
                                                           .cleanup = m_begin,
                                                           .destroy = m_destroy,
                                                           .attach = m_attach,
                                                           .detach = m_detach,
                                                           .status = m_address,
                                                           .node_address = m_node_address};

/* Operations that will never end; the signals' are the agent's to release. */
static void machine_forget(struct machine *m)
{
    while (!neap_list_empty(&m->operations)) {
        struct operation *o = neap_list_entry(m->operations.next, struct operation, link);
        struct neap_op *op = o->op;
        bool signal = o->slot == SIGNAL;
        operation_free(o);
        if (signal)
            op->done(op, NEAP_ECANCELLED, "the agent stops");
    }
}

#endif
