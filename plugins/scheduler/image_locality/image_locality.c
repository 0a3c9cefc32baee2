/* ImageLocality: nodes that have the pod's images already, larger images first. A plugin of its own, to
 * show that what is built in can be done from outside; nothing of neap is linked. */
#include <neap/plugin/scheduler.h>
#include <stdlib.h>
#include <string.h>

/* Below the one an image does not matter; above the other, for each image, it matters no more. */
static const int64_t least_bytes = 23 * 1024 * 1024, most_bytes = INT64_C(1000) * 1024 * 1024;

enum { NAME_MAX_LEN = 512 };

/* The images of a pod that some node has. */
struct images {
    unsigned wanted, known;
    struct image {
        char name[NAME_MAX_LEN];
        unsigned nodes;
    } items[];
};

static int configure(const struct neap_host *host, const struct neap_sched_views *views,
                     void **ret_self)
{
    (void)host;
    *ret_self = (void *)(uintptr_t)views;
    return 0;
}

/* With the tag that an image without one gets. False: too long for an image. */
static bool normal_name(const char *from, char *out)
{
    const char *slash = strrchr(from, '/'), *colon = strrchr(slash ? slash : from, ':');
    size_t len = strlen(from);
    if (len + sizeof(":latest") > NAME_MAX_LEN)
        return false;
    memcpy(out, from, len + 1);
    if (!colon)
        memcpy(out + len, ":latest", sizeof(":latest"));
    return true;
}

static void add(const struct neap_sched_views *v, struct images *x, const char *name)
{
    struct image *i = &x->items[x->known];
    x->wanted++;
    if (!name || !normal_name(name, i->name))
        return;
    i->nodes = v->image_nodes(v->ctx, i->name);
    x->known += i->nodes > 0;
}

static const char *const lists[] = {"spec.containers", "spec.initContainers", "spec.volumes"};
static const char *const paths[] = {"image", "image", "image.reference"};

static int pre_score(void *self, const struct neap_sched_pod *pod,
                     const struct neap_sched_node *const *nodes, size_t count, void **ret_state)
{
    const struct neap_sched_views *v = self;
    const struct neap_value *root = v->pod_value(pod);
    size_t most = 1;
    (void)nodes;
    (void)count;
    for (int i = 0; i < 3; i++)
        most += v->size(v->at(root, lists[i]));
    struct images *x = calloc(1, sizeof(*x) + most * sizeof(x->items[0]));
    if (!x)
        return NEAP_SCHED_ERROR;
    *ret_state = x;
    for (int i = 0; i < 3; i++) {
        const struct neap_value *list = v->at(root, lists[i]), *item = NULL;
        while ((item = v->next(list, item, NULL))) {
            const struct neap_value *name = v->at(item, paths[i]);
            if (name)
                add(v, x, v->text(name));
        }
    }
    return x->known ? NEAP_SCHED_OK : NEAP_SCHED_SKIP;
}

/* An image counts with its size, less when few nodes have it: else they would draw everything. */
static int64_t score(void *self, void *state, const struct neap_sched_pod *pod,
                     const struct neap_sched_node *node)
{
    const struct neap_sched_views *v = self;
    const struct images *x = state;
    int64_t sum = 0, most = most_bytes * x->wanted;
    size_t all = v->node_count(v->ctx);
    (void)pod;
    for (unsigned i = 0; i < x->known; i++) {
        double bytes = (double)v->node_image(node, x->items[i].name);
        sum += (int64_t)(bytes * ((double)x->items[i].nodes / (double)all));
    }
    sum = sum < least_bytes ? least_bytes : sum > most ? most : sum;
    return NEAP_SCHED_SCORE_MAX * (sum - least_bytes) / (most - least_bytes);
}

static void state_free(void *self, void *state)
{
    (void)self;
    free(state);
}

NEAP_PLUGIN_EXPORT extern const struct neap_scheduler_plugin neap_plugin;
NEAP_PLUGIN_EXPORT const struct neap_scheduler_plugin neap_plugin = {
    .header = {NEAP_PLUGIN_MAGIC, NEAP_PLUGIN_ABI_MAJOR, NEAP_PLUGIN_ABI_MINOR, sizeof neap_plugin,
               NEAP_PLUGIN_SCHEDULER, "ImageLocality", "0.1", NULL},
    .configure = configure,
    .weight = 1,
    .retry_on = NEAP_SCHED_ON_NODE_ADD,
    .pre_score = pre_score,
    .score = score,
    .state_free = state_free,
};
