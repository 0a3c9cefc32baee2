/* Kubernetes' names for what the API does. */
#include "internal.h"

enum { REQUESTS, DURATION };

struct neap_metric rest_metrics[] = {
    [REQUESTS] = {.name = "apiserver_request_total",
                  .help = "Requests by verb, group, version, resource, subresource and code.",
                  .type = NEAP_COUNTER,
                  .labels = {"verb", "group", "version", "resource", "subresource", "code"}},
    [DURATION] = {.name = "apiserver_request_duration_seconds",
                  .help = "Time from the head of a request to its answer (watches left out).",
                  .type = NEAP_HISTOGRAM,
                  .labels = {"verb"},
                  .buckets = neap_metric_latency_buckets},
};

void rest_metrics_register(void)
{
    neap_metrics_register(rest_metrics, NEAP_ARRAY_LEN(rest_metrics));
}

void rest_metrics_finish(struct neap_call *c)
{
    static const char *const names[] = {
        [NEAP_GET] = "GET",        [NEAP_LIST] = "LIST",
        [NEAP_WATCH] = "WATCH",    [NEAP_CREATE] = "POST",
        [NEAP_UPDATE] = "PUT",     [NEAP_PATCH] = "PATCH",
        [NEAP_DELETE] = "DELETE",  [NEAP_DELETECOLLECTION] = "DELETECOLLECTION",
        [NEAP_CONNECT] = "CONNECT"};
    if (c->verb == NEAP_NONRESOURCE)
        return;
    char code[8];
    snprintf(code, sizeof(code), "%d", c->status);
    const struct neap_kind *k = c->kind; /* unknown resources share one series */
    neap_metric_add(&rest_metrics[REQUESTS], 1, names[c->verb], k ? k->group : "",
                    k ? k->version : "", k ? k->resource : "",
                    k && c->subresource ? c->subresource : "", code);
    int64_t now = neap_clock_mono(neap_loop_clock(c->loop));
    if (c->verb != NEAP_WATCH && c->started_mono_ns)
        neap_metric_observe(&rest_metrics[DURATION], (double)(now - c->started_mono_ns) / 1e9,
                            names[c->verb]);
}
