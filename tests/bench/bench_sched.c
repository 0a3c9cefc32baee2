/* Pods scheduled a second, against an API in memory that answers at once:
 *   scons bench
 *   build/obj-release/tests/bench/bench_sched [nodes] [pods] [plain|spread|affinity|anti] [dir]
 * <dir>: of Lua policies. Prints one line. Everything from the pod's event to the binding's own event
 * counts, the making of the bound object too. */
#include <core/sched/sched_internal.h>

struct neap_reflector {
    struct neap_reflector_options o;
};

struct bench {
    struct neap_client client;
    struct neap_loop *loop;
    struct neap_reflector watches[16];
    unsigned watch_count;
    const struct neap_kind *pods;
    struct neap_reflector *pod_watch, *node_watch;
    const char *spec;
    unsigned long bound, events, failed, total;
    uint64_t revision;
};

static struct neap_object *make(const struct neap_kind *k, const char *json, uint64_t revision)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_object *o;
    if (neap_object_new(k, json, strlen(json), revision, 0, &o, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return o;
}

static struct neap_object *pod(struct bench *b, const char *name, const char *node)
{
    char json[4096];
    snprintf(json, sizeof(json),
             "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
             "\"default\",\"uid\":\"u-%s\",\"labels\":{\"app\":\"bench\"}},\"spec\":{%s%s%s"
             "\"schedulerName\":\"default-scheduler\",%s\"tolerations\":[{\"key\":"
             "\"node.kubernetes.io/not-ready\",\"operator\":\"Exists\",\"effect\":\"NoExecute\","
             "\"tolerationSeconds\":300},{\"key\":\"node.kubernetes.io/unreachable\",\"operator\":"
             "\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":300}],\"containers\":["
             "{\"name\":\"c\",\"image\":\"registry/app:1\",\"resources\":{\"requests\":{\"cpu\":"
             "\"100m\",\"memory\":\"50Mi\"}}}]},\"status\":{\"phase\":\"Pending\"}}",
             name, name, node ? "\"nodeName\":\"" : "", node ? node : "", node ? "\"," : "",
             b->spec);
    return make(b->pods, json, ++b->revision);
}

struct answer {
    struct bench *bench;
    struct neap_request *request;
    struct neap_object *object;
};

static void answered(void *arg)
{
    struct answer *a = arg;
    struct neap_reply reply = {.status = 201};
    struct bench *b = a->bench;
    if (a->object) {
        b->pod_watch->o.event(b->pod_watch->o.arg, NEAP_MODIFIED, a->object);
        neap_object_unref(a->object);
        b->bound++;
    }
    a->request->done(a->request, &reply);
    free(a);
}

static void request(struct neap_client *c, struct neap_request *r)
{
    struct bench *b = c->self;
    struct answer *a = neap_calloc(1, sizeof(*a));
    *a = (struct answer){b, r, NULL};
    if (neap_streq(r->subresource, "binding")) {
        const char *at = strstr(r->body, "\"Node\",\"apiVersion\":\"v1\",\"name\":\"") + 33;
        char node[64];
        snprintf(node, sizeof(node), "%.*s", (int)strcspn(at, "\""), at);
        a->object = pod(b, r->name, node);
    } else if (neap_streq(r->subresource, "status")) {
        b->failed++;
    } else {
        b->events++;
    }
    neap_loop_post(b->loop, answered, a);
}

static void synced(void *arg)
{
    struct neap_reflector *r = arg;
    r->o.synced(r->o.arg, 1);
}

static struct neap_reflector *reflect(struct neap_client *c, const struct neap_reflector_options *o)
{
    struct bench *b = c->self;
    struct neap_reflector *r = &b->watches[b->watch_count++];
    r->o = *o;
    if (o->kind == b->pods)
        b->pod_watch = r;
    else if (strcmp(o->kind->resource, "nodes") == 0)
        b->node_watch = r;
    neap_loop_post(b->loop, synced, r);
    return r;
}

static void reflect_stop(struct neap_client *c, struct neap_reflector *r)
{
    (void)c;
    (void)r;
}

static void add_nodes(struct bench *b, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        char json[1024];
        snprintf(json, sizeof(json),
                 "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"node-%lu\","
                 "\"uid\":\"n-%lu\",\"labels\":{\"kubernetes.io/hostname\":\"node-%lu\","
                 "\"kubernetes.io/os\":\"linux\",\"topology.kubernetes.io/zone\":\"z%lu\"}},"
                 "\"spec\":{},\"status\":{\"allocatable\":{\"cpu\":\"32\",\"memory\":\"128Gi\","
                 "\"pods\":\"250\"}}}",
                 i, i, i, i % 3);
        struct neap_object *o = make(b->node_watch->o.kind, json, ++b->revision);
        b->node_watch->o.event(b->node_watch->o.arg, NEAP_ADDED, o);
        neap_object_unref(o);
    }
}

static void add_pods(struct bench *b)
{
    for (unsigned long i = 0; i < b->total; i++) {
        char name[32];
        snprintf(name, sizeof(name), "pod-%lu", i);
        struct neap_object *o = pod(b, name, NULL);
        b->pod_watch->o.event(b->pod_watch->o.arg, NEAP_ADDED, o);
        neap_object_unref(o);
    }
}

static const struct {
    const char *name, *spec;
} modes[] = {
    {"plain", ""},
    {"spread", "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":"
               "\"topology.kubernetes.io/zone\",\"whenUnsatisfiable\":\"DoNotSchedule\","
               "\"labelSelector\":{\"matchLabels\":{\"app\":\"bench\"}}}],"},
    {"affinity",
     "\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":"
     "[{\"topologyKey\":\"topology.kubernetes.io/zone\",\"labelSelector\":{"
     "\"matchLabels\":{\"app\":\"bench\"}}}]}},"},
    {"anti",
     "\"affinity\":{\"podAntiAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":"
     "[{\"weight\":1,\"podAffinityTerm\":{\"topologyKey\":\"kubernetes.io/hostname\","
     "\"labelSelector\":{\"matchLabels\":{\"app\":\"bench\"}}}}]}},"},
};

static void stopped(void *arg)
{
    *(bool *)arg = true;
}

int main(int argc, char **argv)
{
    unsigned long nodes = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    const char *mode = argc > 3 ? argv[3] : "plain";
    struct bench b = {.total = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000};
    bool done = false;
    b.client = (struct neap_client){
        .request = request, .reflect = reflect, .reflect_stop = reflect_stop, .self = &b};
    b.loop = neap_loop_new("bench", NULL);
    b.pods = neap_kind_by_resource("", "v1", "pods");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(modes); i++)
        if (strcmp(modes[i].name, mode) == 0)
            b.spec = modes[i].spec;
    if (!b.spec || !nodes) {
        fprintf(stderr, "usage: bench_sched [nodes] [pods] [plain|spread|affinity|anti] [dir]\n");
        return 2;
    }
    struct neap_sched_options o = {.loop = b.loop,
                                   .client = &b.client,
                                   .clock = &neap_clock_system,
                                   .rand = &neap_rand_system,
                                   .scheduler_name = "default-scheduler",
                                   .script_dir = argc > 4 ? argv[4] : NULL};
    struct neap_sched *s = neap_sched_start(&o);
    add_nodes(&b, nodes);
    int64_t start = neap_clock_mono(&neap_clock_system);
    add_pods(&b);
    while (b.bound < b.total && !b.failed)
        neap_loop_turn(b.loop, true);
    double seconds = (double)(neap_clock_mono(&neap_clock_system) - start) / 1e9;
    printf("nodes=%lu pods=%lu mode=%s bound=%lu failed=%lu seconds=%.3f pods_per_second=%.0f\n",
           nodes, b.total, mode, b.bound, b.failed, seconds, (double)b.bound / seconds);
    neap_sched_stop(s, stopped, &done);
    while (!done)
        neap_loop_turn(b.loop, true);
    neap_loop_free(b.loop);
    return b.failed != 0;
}
