/* Metrics in Prometheus' text format (exposition format 0.0.4). A folder declares one table and
 * registers it at start; values are atomics, so any thread may add. Label values are bounded by the
 * declarer: a family keeps at most NEAP_METRIC_SERIES_MAX series and counts the rest in one series
 * with the label values "other" (CVE-2020-8552: no unbounded cardinality). */
#ifndef NEAP_METRICS_H
#define NEAP_METRICS_H

#include <neap/buf.h>

#define NEAP_METRIC_LABELS_MAX 6
#define NEAP_METRIC_SERIES_MAX 2000

enum neap_metric_type { NEAP_COUNTER, NEAP_GAUGE, NEAP_HISTOGRAM };

struct neap_metric_series;
struct neap_metric {
    const char *name, *help;
    enum neap_metric_type type;
    const char *labels[NEAP_METRIC_LABELS_MAX + 1]; /* names, NULL-terminated */
    const double *buckets;                          /* histograms: upper bounds, ended by 0 */
    struct neap_metric_series *series;              /* owned by the implementation */
    struct neap_metric *next;
};
extern const double neap_metric_latency_buckets[]; /* seconds, 0.0001 to 60 */

/* Registers a table of <count> metrics that live for ever. thread: any. */
void neap_metrics_register(struct neap_metric *table, size_t count);
/* Label values in the order of the names; none for a metric without labels. */
void neap_metric_add(struct neap_metric *m, double v, ...);
void neap_metric_set(struct neap_metric *m, double v, ...);
void neap_metric_observe(struct neap_metric *m, double v, ...);
/* A collector is called before each rendering to set gauges. */
void neap_metrics_collector(void (*collect)(void *arg), void *arg);
void neap_metrics_render(struct neap_buf *out);

#endif
