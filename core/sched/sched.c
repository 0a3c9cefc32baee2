/* Start, stop, metrics. */
#include "sched_internal.h"

static const double tries[] = {1, 2, 4, 8, 16, 0};
static const double victims[] = {1, 2, 4, 8, 16, 32, 64, 0};

struct neap_metric sched_metrics[] = {
    [SCHED_M_ATTEMPTS] = {.name = "scheduler_schedule_attempts_total",
                          .help = "Scheduling cycles by result.",
                          .type = NEAP_COUNTER,
                          .labels = {"result", "profile"}},
    [SCHED_M_ATTEMPT_SECONDS] = {.name = "scheduler_scheduling_attempt_duration_seconds",
                                 .help = "Time of one cycle with what follows from it.",
                                 .type = NEAP_HISTOGRAM,
                                 .labels = {"result", "profile"},
                                 .buckets = neap_metric_latency_buckets},
    [SCHED_M_ALGORITHM_SECONDS] = {.name = "scheduler_scheduling_algorithm_duration_seconds",
                                   .help = "Time in which a node was chosen.",
                                   .type = NEAP_HISTOGRAM,
                                   .buckets = neap_metric_latency_buckets},
    [SCHED_M_PENDING] = {.name = "scheduler_pending_pods",
                         .help = "Pods without a node, by the queue that they are in.",
                         .type = NEAP_GAUGE,
                         .labels = {"queue"}},
    [SCHED_M_TRIES] = {.name = "scheduler_pod_scheduling_attempts",
                       .help = "Cycles that a pod took until it was bound.",
                       .type = NEAP_HISTOGRAM,
                       .buckets = tries},
    [SCHED_M_SLI_SECONDS] = {.name = "scheduler_pod_scheduling_sli_duration_seconds",
                             .help = "Time from the queue to the binding.",
                             .type = NEAP_HISTOGRAM,
                             .labels = {"attempts"},
                             .buckets = neap_metric_latency_buckets},
    [SCHED_M_INCOMING] = {.name = "scheduler_queue_incoming_pods_total",
                          .help = "Pods put into a queue, by queue and event.",
                          .type = NEAP_COUNTER,
                          .labels = {"queue", "event"}},
    [SCHED_M_PREEMPTIONS] = {.name = "scheduler_preemption_attempts_total",
                             .help = "Times that pods were preempted for another.",
                             .type = NEAP_COUNTER},
    [SCHED_M_VICTIMS] = {.name = "scheduler_preemption_victims",
                         .help = "Pods preempted at once.",
                         .type = NEAP_HISTOGRAM,
                         .buckets = victims},
    [SCHED_M_CACHE] = {.name = "scheduler_cache_size",
                       .help = "Nodes, pods and assumed pods that the scheduler knows.",
                       .type = NEAP_GAUGE,
                       .labels = {"type"}},
    [SCHED_M_SCRIPT_ERRORS] = {.name = "neap_scheduler_policy_errors_total",
                               .help = "Calls of Lua policies that failed and were left out.",
                               .type = NEAP_COUNTER,
                               .labels = {"policy", "reason"}},
};

__attribute__((constructor)) static void register_metrics(void)
{
    neap_metrics_register(sched_metrics, NEAP_ARRAY_LEN(sched_metrics));
}

/* Gauges follow at the end of a turn of the loop, at most so often. */
static void gauges(void *arg)
{
    struct neap_sched *s = arg;
    static const struct {
        const char *queue;
        enum sched_state state;
    } queues[] = {{"active", SCHED_ACTIVE},
                  {"backoff", SCHED_BACKOFF},
                  {"unschedulable", SCHED_UNSCHEDULABLE},
                  {"gated", SCHED_GATED}};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(queues); i++)
        neap_metric_set(&sched_metrics[SCHED_M_PENDING], (double)s->counts[queues[i].state],
                        queues[i].queue);
    neap_metric_set(&sched_metrics[SCHED_M_CACHE], (double)s->nodes.count, "nodes");
    neap_metric_set(&sched_metrics[SCHED_M_CACHE],
                    (double)(s->counts[SCHED_BOUND] + s->counts[SCHED_BINDING]), "pods");
    neap_metric_set(&sched_metrics[SCHED_M_CACHE], (double)s->counts[SCHED_BINDING],
                    "assumed_pods");
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

struct neap_sched *neap_sched_start(const struct neap_sched_options *o)
{
    struct neap_sched *s = neap_calloc(1, sizeof(*s));
    struct neap_err err = NEAP_ERR_INIT;
    s->options = *o;
    s->random = neap_rand_u64(o->rand) | 1;
    s->order_stale = true;
    sched_resource(s, "cpu", true);
    sched_queue_open(s);
    if (sched_framework_open(s, &err))
        NEAP_ERROR("scheduler", "option left out", "err=%s", neap_log_quote(err.message));
    neap_err_done(&err);
    s->gauges = neap_timer_new(o->loop, gauges, s);
    neap_timer_start(s->gauges, SCHED_GAUGES_MS, SCHED_GAUGES_MS);
    struct neap_reflector_options pods = {.kind = neap_kind_by_resource("", "v1", "pods"),
                                          .loop = o->loop,
                                          .event = sched_on_pod,
                                          .synced = pods_synced,
                                          .arg = s};
    struct neap_reflector_options nodes = {.kind = neap_kind_by_resource("", "v1", "nodes"),
                                           .loop = o->loop,
                                           .event = sched_on_node,
                                           .synced = nodes_synced,
                                           .arg = s};
    sched_stores_start(s);
    s->nodes_watch = o->client->reflect(o->client, &nodes);
    s->pods_watch = o->client->reflect(o->client, &pods);
    return s;
}

struct stop {
    struct neap_sched *sched;
    void (*done)(void *arg);
    void *arg;
};

static void free_names(struct neap_sched *s)
{
    for (unsigned i = 0; i < s->resource_count; i++)
        free(s->resources[i]);
    for (unsigned i = 0; i < s->topology_count; i++)
        free((char *)s->topology_names[i]);
    free(s->topology_names);
    free(s->free_groups);
    free(s->order);
    neap_map_done(&s->topology_keys, NULL);
    neap_map_done(&s->domains, NULL);
    neap_map_done(&s->images, NULL);
    neap_map_done(&s->groups, NULL);
}

static void stopped(void *arg)
{
    struct stop *x = arg;
    struct neap_sched *s = x->sched;
    neap_timer_close(s->timer);
    neap_timer_close(s->gauges);
    sched_cache_free(s);
    sched_stores_free(s);
    sched_framework_close(s);
    sched_queue_close(s);
    free_names(s);
    free(s);
    x->done(x->arg);
    free(x);
}

void neap_sched_stop(struct neap_sched *s, void (*done)(void *arg), void *arg)
{
    struct stop *x = neap_malloc(sizeof(*x));
    struct neap_client *c = s->options.client;
    *x = (struct stop){s, done, arg};
    s->stopping = true;
    s->done = stopped;
    s->done_arg = x;
    c->reflect_stop(c, s->pods_watch);
    c->reflect_stop(c, s->nodes_watch);
    sched_stores_stop(s);
    sched_wake(s);
}
