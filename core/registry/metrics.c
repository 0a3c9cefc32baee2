/* The registry's numbers. Gauges are set when a batch is published. */
#include "core/registry/registry_internal.h"

static const double group_buckets[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 0};

enum { REVISION, OBJECTS, GROUP_SIZE, WRITE_SECONDS, WATCHERS };

static struct neap_metric table[] = {
    [REVISION] = {.name = "neap_registry_revision",
                  .help = "The newest published revision.",
                  .type = NEAP_GAUGE},
    [OBJECTS] = {.name = "neap_registry_objects",
                 .help = "Objects in the registry.",
                 .type = NEAP_GAUGE,
                 .labels = {"resource", NULL}},
    [GROUP_SIZE] = {.name = "neap_registry_group_size",
                    .help = "Transactions that were made durable together.",
                    .type = NEAP_HISTOGRAM,
                    .buckets = group_buckets},
    [WRITE_SECONDS] = {.name = "neap_registry_write_seconds",
                       .help = "Time that the store took to make a group durable.",
                       .type = NEAP_HISTOGRAM,
                       .buckets = neap_metric_latency_buckets},
    [WATCHERS] = {.name = "neap_registry_watchers",
                  .help = "Open watches.",
                  .type = NEAP_GAUGE,
                  .labels = {"resource", NULL}},
};

void neap_registry_metrics_register(void)
{
    neap_metrics_register(table, NEAP_ARRAY_LEN(table));
}

/* "pods" or "deployments.apps", as Kubernetes names resources in metrics. */
static const char *label_of(const struct neap_kind *k, char buf[256])
{
    snprintf(buf, 256, "%s%s%s", k->resource, *k->group ? "." : "", k->group);
    return buf;
}

void neap_registry_metrics_publish(struct neap_registry *r, uint64_t revision)
{
    char buf[256];
    neap_metric_set(&table[REVISION], (double)revision);
    for (unsigned i = 0; i < r->resource_count; i++) {
        struct neap_resource *res = &r->resources[i];
        if (!res->touched)
            continue;
        res->touched = false;
        neap_metric_set(&table[OBJECTS], (double)r->trees[res->tree].count,
                        label_of(res->kind, buf));
    }
}

void neap_registry_metrics_write(size_t transactions, int64_t ns)
{
    neap_metric_observe(&table[GROUP_SIZE], (double)transactions);
    neap_metric_observe(&table[WRITE_SECONDS], (double)ns / 1e9);
}

void neap_registry_metrics_watchers(const struct neap_kind *kind, int add)
{
    char buf[256];
    neap_metric_add(&table[WATCHERS], add, label_of(kind, buf));
}
