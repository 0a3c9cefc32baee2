/* PreferRank: nodes say how good they are, by a label with a number from 0 to 100; pods go to the best that
 * fits. A scheduler plugin outside neap's tree: all it uses is <neap/plugin/...>, nothing of neap is linked. */
#include <neap/err.h>
#include <neap/plugin/scheduler.h>

#include <stdlib.h>

struct prefer_rank {
    const struct neap_sched_views *views; /* lives longer than the plugin */
    const char *label;
};

/* Says why, and that it is so. */
static int refuse(const struct neap_host *host, int code, const char *why)
{
    host->fail(host->ctx, why);
    return code;
}

/* Once, before the first pod. When it fails neap does not start, and shows why. */
static int configure(const struct neap_host *host, const struct neap_sched_views *views,
                     void **ret_self)
{
    const char *label = host->config->string(host->ctx, "label");
    if (!label || !*label)
        return refuse(host, NEAP_ECONFIG, "PreferRank: the option label is empty");
    struct prefer_rank *p = malloc(sizeof(*p));
    if (!p)
        return refuse(host, NEAP_EINTERNAL, "PreferRank: no memory");
    *p = (struct prefer_rank){views, label};
    *ret_self = p;
    return 0;
}

static void destroy(void *self)
{
    free(self);
}

/* Within the scheduler's cycle, thousands of times a second: it answers at once. */
static int64_t score(void *self, void *state, const struct neap_sched_pod *pod,
                     const struct neap_sched_node *node)
{
    const struct prefer_rank *p = self;
    const char *text = p->views->node_label(node, p->label);
    long rank = text ? strtol(text, NULL, 10) : 0;
    (void)state;
    (void)pod;
    return rank < 0 ? 0 : rank > NEAP_SCHED_SCORE_MAX ? NEAP_SCHED_SCORE_MAX : rank;
}

/* In the configuration's file: plugins: {PreferRank: {label: ...}}; as a flag: --plugin-PreferRank-label. */
static const struct neap_option options[] = {
    {"label", NEAP_OPTION_STRING, "example.com/rank", 0, 0, "the node label that holds the rank"},
    {0},
};

NEAP_PLUGIN_EXPORT extern const struct neap_scheduler_plugin neap_plugin;
NEAP_PLUGIN_EXPORT const struct neap_scheduler_plugin neap_plugin = {
    .header = {.magic = NEAP_PLUGIN_MAGIC,
               .abi_major = NEAP_PLUGIN_ABI_MAJOR,
               .abi_minor = NEAP_PLUGIN_ABI_MINOR,
               .struct_size = sizeof neap_plugin,
               .kind = NEAP_PLUGIN_SCHEDULER,
               .name = "PreferRank",
               .version = "0.1",
               .options = options},
    .configure = configure,
    .destroy = destroy,
    .weight = 10,
    .retry_on = NEAP_SCHED_ON_NODE_ADD,
    .score = score,
};
