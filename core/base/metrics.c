/* Metrics and their text format: see neap/metrics.h. */
#include <neap/metrics.h>

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <neap/map.h>

#define BUCKETS_MAX 32

struct neap_metric_series {
    struct neap_map by_label; /* label values joined by \x1f -> struct series */
};

struct series {
    char *labels; /* {a="b",c="d"} without braces */
    double value; /* counter, gauge; histogram: sum */
    uint64_t count, buckets[BUCKETS_MAX];
};

struct collector {
    struct collector *next;
    void (*collect)(void *arg);
    void *arg;
};

const double neap_metric_latency_buckets[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                              0.025,  0.05,    0.1,    0.25,  0.5,    1,     2.5,
                                              5,      10,      30,     60,    0};

/* One lock: a metric costs about 50 ns uncontended, and loops are few. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct neap_metric *all, **all_tail = &all;
static struct collector *collectors;

void neap_metrics_register(struct neap_metric *table, size_t count)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count; i++) {
        if (table[i].series)
            continue; /* registered already */
        table[i].series = neap_calloc(1, sizeof(struct neap_metric_series));
        table[i].next = NULL;
        *all_tail = &table[i];
        all_tail = &table[i].next;
    }
    pthread_mutex_unlock(&lock);
}

void neap_metrics_collector(void (*collect)(void *arg), void *arg)
{
    struct collector *c = neap_malloc(sizeof(*c));
    pthread_mutex_lock(&lock);
    *c = (struct collector){collectors, collect, arg};
    collectors = c;
    pthread_mutex_unlock(&lock);
}

static void label_text(struct neap_buf *b, const struct neap_metric *m, const char *const *values)
{
    for (unsigned i = 0; m->labels[i]; i++) {
        neap_buf_printf(b, "%s%s=\"", i ? "," : "", m->labels[i]);
        for (const char *p = values[i]; *p; p++) {
            if (*p == '"' || *p == '\\')
                neap_buf_char(b, '\\');
            neap_buf_append(b, *p == '\n' ? "\\n" : p, *p == '\n' ? 2 : 1);
        }
        neap_buf_char(b, '"');
    }
}

/* The caller holds the lock. */
static struct series *series_of(struct neap_metric *m, const char *const *values)
{
    char key[512];
    size_t len = 0;
    for (unsigned i = 0; m->labels[i]; i++) {
        size_t n = strlen(values[i]), room = sizeof(key) - 1 - len;
        if (n > room)
            n = room; /* texts as long as that share a series */
        memcpy(key + len, values[i], n);
        len += n;
        if (len < sizeof(key) - 1)
            key[len++] = '\x1f';
    }
    struct series *s = neap_map_getn(&m->series->by_label, key, len);
    if (s)
        return s;
    static const char *const other[NEAP_METRIC_LABELS_MAX] = {"other", "other", "other",
                                                              "other", "other", "other"};
    if (m->series->by_label.count >= NEAP_METRIC_SERIES_MAX && values != other)
        return series_of(m, other);
    struct neap_buf b = NEAP_BUF_INIT;
    label_text(&b, m, values);
    s = neap_calloc(1, sizeof(*s));
    s->labels = neap_buf_take(&b);
    neap_map_setn(&m->series->by_label, key, len, s);
    return s;
}

static void collect_values(const struct neap_metric *m, va_list ap, const char **values)
{
    for (unsigned i = 0; m->labels[i]; i++)
        values[i] = va_arg(ap, const char *);
}

void neap_metric_add(struct neap_metric *m, double v, ...)
{
    const char *values[NEAP_METRIC_LABELS_MAX];
    va_list ap;
    va_start(ap, v);
    collect_values(m, ap, values);
    va_end(ap);
    if (!m->series)
        return;
    pthread_mutex_lock(&lock);
    series_of(m, values)->value += v;
    pthread_mutex_unlock(&lock);
}

void neap_metric_set(struct neap_metric *m, double v, ...)
{
    const char *values[NEAP_METRIC_LABELS_MAX];
    va_list ap;
    va_start(ap, v);
    collect_values(m, ap, values);
    va_end(ap);
    if (!m->series)
        return;
    pthread_mutex_lock(&lock);
    series_of(m, values)->value = v;
    pthread_mutex_unlock(&lock);
}

void neap_metric_observe(struct neap_metric *m, double v, ...)
{
    const char *values[NEAP_METRIC_LABELS_MAX];
    va_list ap;
    va_start(ap, v);
    collect_values(m, ap, values);
    va_end(ap);
    if (!m->series)
        return;
    pthread_mutex_lock(&lock);
    struct series *s = series_of(m, values);
    s->value += v;
    s->count++;
    for (unsigned i = 0; m->buckets[i] != 0 && i < BUCKETS_MAX; i++)
        if (v <= m->buckets[i])
            s->buckets[i]++;
    pthread_mutex_unlock(&lock);
}

static void render_number(struct neap_buf *out, double v)
{
    if (v == floor(v) && fabs(v) < 1e15)
        neap_buf_printf(out, "%.0f\n", v);
    else
        neap_buf_printf(out, "%.17g\n", v);
}

static void render_line(struct neap_buf *out, const char *name, const char *suffix,
                        const char *labels, const char *le, double v)
{
    neap_buf_printf(out, "%s%s", name, suffix);
    if (*labels || le) {
        neap_buf_printf(out, "{%s", labels);
        if (le)
            neap_buf_printf(out, "%sle=\"%s\"", *labels ? "," : "", le);
        neap_buf_char(out, '}');
    }
    neap_buf_char(out, ' ');
    render_number(out, v);
}

static void render_histogram(struct neap_buf *out, const struct neap_metric *m,
                             const struct series *s)
{
    char le[32];
    for (unsigned i = 0; m->buckets[i] != 0 && i < BUCKETS_MAX; i++) {
        snprintf(le, sizeof(le), "%g", m->buckets[i]);
        render_line(out, m->name, "_bucket", s->labels, le, (double)s->buckets[i]);
    }
    render_line(out, m->name, "_bucket", s->labels, "+Inf", (double)s->count);
    render_line(out, m->name, "_sum", s->labels, NULL, s->value);
    render_line(out, m->name, "_count", s->labels, NULL, (double)s->count);
}

void neap_metrics_render(struct neap_buf *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    for (struct collector *c = collectors; c; c = c->next)
        c->collect(c->arg);
    pthread_mutex_lock(&lock);
    for (struct neap_metric *m = all; m; m = m->next) {
        if (!m->series->by_label.count)
            continue;
        neap_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                        types[m->type]);
        size_t it = 0;
        void *value;
        while (neap_map_next(&m->series->by_label, &it, NULL, &value)) {
            struct series *s = value;
            if (m->type == NEAP_HISTOGRAM)
                render_histogram(out, m, s);
            else
                render_line(out, m->name, "", s->labels, NULL, s->value);
        }
    }
    pthread_mutex_unlock(&lock);
}
