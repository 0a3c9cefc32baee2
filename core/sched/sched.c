/* The queue and the cycle: one pod at a time, every node looked at, the best one bound. */
#include "sched_internal.h"

enum { CYCLES_A_TURN = 256, BINDING_MAX = 1024 };

enum { ATTEMPTS, SECONDS };
static struct neap_metric metrics[] = {
    [ATTEMPTS] = {.name = "scheduler_schedule_attempts_total",
                  .help = "Scheduling cycles by result.",
                  .type = NEAP_COUNTER,
                  .labels = {"result"}},
    [SECONDS] = {.name = "scheduler_scheduling_algorithm_duration_seconds",
                 .help = "Time of one cycle.",
                 .type = NEAP_HISTOGRAM,
                 .labels = {NULL},
                 .buckets = neap_metric_latency_buckets},
};

__attribute__((constructor)) static void register_metrics(void)
{
    neap_metrics_register(metrics, NEAP_ARRAY_LEN(metrics));
}

static void cycle_posted(void *arg);

void sched_wake(struct neap_sched *s)
{
    if (s->stopping) {
        if (s->binding == 0 && s->done) {
            void (*done)(void *) = s->done;
            s->done = NULL;
            neap_loop_post(s->options.loop, done, s->done_arg);
        }
        return;
    }
    if (s->cycling || !s->pods_synced || !s->nodes_synced || neap_list_empty(&s->queue))
        return;
    s->cycling = true;
    neap_loop_post(s->options.loop, cycle_posted, s);
}

/* ---- pods ---- */

static void uncount(struct neap_sched *s, struct sched_pod *p)
{
    struct sched_node *n = p->node ? neap_map_get(&s->nodes, p->node) : NULL;
    if (n)
        sched_node_add(n, p, -1);
    free(p->node);
    p->node = NULL;
}

static void count(struct neap_sched *s, struct sched_pod *p, const char *node)
{
    if (neap_streq(p->node, node))
        return;
    uncount(s, p);
    struct sched_node *n = neap_map_get(&s->nodes, node);
    p->node = neap_strdup(node);
    if (n)
        sched_node_add(n, p, 1);
}

static void pod_free(struct sched_pod *p)
{
    neap_list_remove(&p->link);
    neap_object_unref(p->object);
    yyjson_doc_free(p->doc);
    free(p->node);
    free(p);
}

/* Higher priority first, then who came first. */
static void enqueue(struct neap_sched *s, struct sched_pod *p)
{
    struct neap_list *at = s->queue.prev;
    neap_list_remove(&p->link);
    while (at != &s->queue && neap_list_entry(at, struct sched_pod, link)->priority < p->priority)
        at = at->prev;
    p->link.prev = at;
    p->link.next = at->next;
    at->next->prev = &p->link;
    at->next = &p->link;
    p->state = SCHED_WAITING;
    sched_wake(s);
}

/* Something that could make room has changed. */
static void retry_all(struct neap_sched *s)
{
    neap_list_foreach(&s->unschedulable, e)
        enqueue(s, neap_list_entry(e, struct sched_pod, link));
}

static bool ours(struct neap_sched *s, yyjson_val *root)
{
    const char *name = neap_json_val_str_at(root, "spec.schedulerName");
    return neap_streq(name, s->options.scheduler_name) &&
           yyjson_arr_size(neap_json_val_at(root, "spec.schedulingGates")) == 0;
}

static void pod_gone(struct neap_sched *s, const char *key)
{
    struct sched_pod *p = neap_map_del(&s->pods, key);
    if (!p)
        return;
    bool freed = p->node != NULL;
    uncount(s, p);
    pod_free(p);
    if (freed)
        retry_all(s);
}

static void on_pod(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct neap_sched *s = arg;
    const char *key = neap_object_key(o);
    struct sched_pod *p = neap_map_get(&s->pods, key);
    if (type == NEAP_DELETED || (p && strcmp(neap_object_uid(p->object), neap_object_uid(o)) != 0)) {
        pod_gone(s, key);
        p = NULL;
        if (type == NEAP_DELETED)
            return;
    }
    if (!p) {
        p = neap_calloc(1, sizeof(*p));
        neap_list_init(&p->link);
        neap_map_set(&s->pods, key, p);
        p->added_ns = neap_clock_mono(s->options.clock);
    }
    struct neap_object *old = p->object;
    p->object = neap_object_ref(o);
    neap_object_unref(old);
    sched_pod_read(p);
    yyjson_val *root = yyjson_doc_get_root(p->doc);
    const char *node = neap_json_val_str_at(root, "spec.nodeName");
    const char *phase = neap_json_val_str_at(root, "status.phase");
    bool over = neap_streq(phase, "Succeeded") || neap_streq(phase, "Failed");
    bool mine = ours(s, root);
    if (node && *node) {
        bool released = over && p->node;
        neap_list_remove(&p->link);
        p->state = SCHED_BOUND;
        if (over)
            uncount(s, p);
        else
            count(s, p, node);
        p->doc = (yyjson_doc_free(p->doc), NULL);
        if (released)
            retry_all(s);
    } else if (p->state != SCHED_BINDING && mine && !over && !neap_object_deleting(o)) {
        /* its own status being written is no reason to try again */
        if (p->state != SCHED_UNSCHEDULABLE || type == NEAP_ADDED)
            enqueue(s, p);
    } else if (p->state != SCHED_BINDING) {
        neap_list_remove(&p->link);
    }
}

/* ---- nodes ---- */

static void recount(struct neap_sched *s, struct sched_node *n)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (neap_map_next(&s->pods, &at, &key, &value)) {
        struct sched_pod *p = value;
        if (neap_streq(p->node, n->name))
            sched_node_add(n, p, 1);
    }
}

static void on_node(void *arg, enum neap_event_type type, struct neap_object *o)
{
    struct neap_sched *s = arg;
    const char *name = neap_object_name(o);
    struct sched_node *n = neap_map_get(&s->nodes, name);
    if (type == NEAP_DELETED) {
        if (n) {
            neap_map_del(&s->nodes, name);
            sched_node_free(n);
        }
        return;
    }
    if (n) {
        sched_node_read(n, o);
    } else {
        n = sched_node_new(o);
        neap_map_set(&s->nodes, name, n);
        recount(s, n);
    }
    retry_all(s);
}

static void pods_synced(void *arg, uint64_t revision)
{
    struct neap_sched *s = arg;
    (void)revision;
    s->pods_synced = true;
    sched_wake(s);
}

static void nodes_synced(void *arg, uint64_t revision)
{
    struct neap_sched *s = arg;
    (void)revision;
    s->nodes_synced = true;
    sched_wake(s);
}

/* ---- the cycle ---- */

struct reasons {
    struct neap_map counts; /* text -> number + 1 */
    size_t nodes;
};

static void add_reason(struct reasons *r, const char *why)
{
    uintptr_t n = (uintptr_t)neap_map_get(&r->counts, why);
    neap_map_set(&r->counts, why, (void *)(n + 1));
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." */
static char *explain(struct reasons *r)
{
    struct neap_buf b = NEAP_BUF_INIT;
    char *lines[32];
    size_t count = 0, at = 0;
    const char *key;
    void *value;
    while (count < NEAP_ARRAY_LEN(lines) && neap_map_next(&r->counts, &at, &key, &value))
        lines[count++] = neap_asprintf("%zu %s", (size_t)(uintptr_t)value, key);
    qsort(lines, count, sizeof(*lines), by_text);
    neap_buf_printf(&b, "0/%zu nodes are available", r->nodes);
    for (size_t i = 0; i < count; i++) {
        neap_buf_printf(&b, "%s%s", i ? ", " : ": ", lines[i]);
        free(lines[i]);
    }
    neap_buf_char(&b, '.');
    return neap_buf_take(&b);
}

static struct sched_node *choose(struct neap_sched *s, struct sched_pod *p, struct reasons *r)
{
    struct sched_node *best = NULL;
    int64_t best_score = 0;
    size_t at = 0;
    const char *name;
    void *value;
    char buf[160];
    while (neap_map_next(&s->nodes, &at, &name, &value)) {
        struct sched_node *n = value;
        const char *why = sched_filter(n, p, buf);
        r->nodes++;
        if (why) {
            add_reason(r, why);
            continue;
        }
        int64_t score = sched_score(n, p);
        if (!best || score > best_score) {
            best = n;
            best_score = score;
        }
    }
    return best;
}

static void cycle(struct neap_sched *s, struct sched_pod *p)
{
    struct reasons r = {0};
    int64_t start = neap_clock_mono(s->options.clock);
    struct sched_node *n = choose(s, p, &r);
    neap_metric_observe(&metrics[SECONDS], (double)(neap_clock_mono(s->options.clock) - start) / 1e9);
    neap_metric_add(&metrics[ATTEMPTS], 1, n ? "scheduled" : "unschedulable");
    if (n) {
        p->state = SCHED_BINDING;
        count(s, p, n->name); /* assumed until the binding's event comes */
        sched_bind(s, p, n->name);
    } else {
        char *message = r.nodes ? explain(&r) : neap_strdup("no nodes available to schedule pods");
        p->state = SCHED_UNSCHEDULABLE;
        neap_list_append(&s->unschedulable, &p->link);
        sched_tell_unschedulable(s, p, message);
        free(message);
    }
    neap_map_done(&r.counts, NULL);
}

static void cycle_posted(void *arg)
{
    struct neap_sched *s = arg;
    s->cycling = false;
    for (int i = 0; i < CYCLES_A_TURN && !s->stopping && s->binding < BINDING_MAX &&
                    !neap_list_empty(&s->queue);
         i++) {
        struct sched_pod *p = neap_list_entry(s->queue.next, struct sched_pod, link);
        neap_list_remove(&p->link);
        cycle(s, p);
    }
    if (s->binding < BINDING_MAX)
        sched_wake(s);
}

void sched_bound(struct neap_sched *s, const char *key, bool ok)
{
    struct sched_pod *p = neap_map_get(&s->pods, key);
    if (!p || p->state != SCHED_BINDING)
        return;
    if (ok) {
        p->state = SCHED_BOUND;
        return;
    }
    uncount(s, p);
    enqueue(s, p);
}

/* ---- start and stop ---- */

struct neap_sched *neap_sched_start(const struct neap_sched_options *o)
{
    struct neap_sched *s = neap_calloc(1, sizeof(*s));
    s->options = *o;
    neap_list_init(&s->queue);
    neap_list_init(&s->unschedulable);
    struct neap_reflector_options pods = {.kind = neap_kind_by_resource("", "v1", "pods"),
                                          .loop = o->loop, .event = on_pod, .synced = pods_synced,
                                          .arg = s};
    struct neap_reflector_options nodes = {.kind = neap_kind_by_resource("", "v1", "nodes"),
                                           .loop = o->loop, .event = on_node,
                                           .synced = nodes_synced, .arg = s};
    s->nodes_watch = o->client->reflect(o->client, &nodes);
    s->pods_watch = o->client->reflect(o->client, &pods);
    return s;
}

static void free_pod(void *p)
{
    pod_free(p);
}

static void free_node(void *n)
{
    sched_node_free(n);
}

struct stop {
    struct neap_sched *sched;
    void (*done)(void *arg);
    void *arg;
};

static void stopped(void *arg)
{
    struct stop *x = arg;
    struct neap_sched *s = x->sched;
    neap_map_done(&s->pods, free_pod);
    neap_map_done(&s->nodes, free_node);
    free(s);
    x->done(x->arg);
    free(x);
}

void neap_sched_stop(struct neap_sched *s, void (*done)(void *arg), void *arg)
{
    struct stop *x = neap_malloc(sizeof(*x));
    *x = (struct stop){s, done, arg};
    s->stopping = true;
    s->done = stopped;
    s->done_arg = x;
    s->options.client->reflect_stop(s->options.client, s->pods_watch);
    s->options.client->reflect_stop(s->options.client, s->nodes_watch);
    sched_wake(s);
}
