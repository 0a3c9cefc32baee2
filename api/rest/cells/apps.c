/* Cells of workloads: apps, batch, autoscaling. */
#include "cells.h"
#include <neap/clock.h>

static yyjson_val *pod_spec(yyjson_val *root)
{
    yyjson_val *cron = cell_at(root, "spec.jobTemplate.spec.template.spec");
    return cron ? cron : cell_at(root, "spec.template.spec");
}

static void containers(yyjson_val *root, const char *field, struct neap_buf *out)
{
    struct neap_buf text = NEAP_BUF_INIT;
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(cell_at(pod_spec(root), "containers"), i, n, c)
    {
        neap_buf_printf(&text, "%s%s", i ? "," : "", cell_str(c, field));
    }
    cell_take(out, &text, "");
}

CELL(workload_containers)
{
    containers(root, "name", out);
}

CELL(workload_images)
{
    containers(root, "image", out);
}

/* ReplicationControllers have a plain map, the others a LabelSelector. */
CELL(workload_selector)
{
    struct neap_buf text = NEAP_BUF_INIT;
    if (strcmp(cell_str(root, "kind"), "ReplicationController") == 0)
        cell_labels(&text, cell_at(root, "spec.selector"));
    else
        cell_selector(&text, strcmp(cell_str(root, "kind"), "CronJob") == 0
                                 ? cell_at(root, "spec.jobTemplate.spec.selector")
                                 : cell_at(root, "spec.selector"));
    cell_take(out, &text, "<none>");
}

CELL(ready)
{
    yyjson_val *replicas = cell_at(root, "spec.replicas");
    neap_buf_printf(out, "\"%lld/%lld\"", (long long)cell_int(root, "status.readyReplicas"),
                    replicas ? (long long)yyjson_get_sint(replicas) : 0LL);
}

/* Numbers, though the columns' type is string. */
CELL(deployment_updated)
{
    neap_buf_printf(out, "%lld", (long long)cell_int(root, "status.updatedReplicas"));
}

CELL(deployment_available)
{
    neap_buf_printf(out, "%lld", (long long)cell_int(root, "status.availableReplicas"));
}

CELL(daemon_selector)
{
    struct neap_buf text = NEAP_BUF_INIT;
    cell_labels(&text, cell_at(root, "spec.template.spec.nodeSelector"));
    cell_take(out, &text, "<none>");
}

CELL(revision_controller)
{
    size_t i, n;
    yyjson_val *o;
    yyjson_arr_foreach(cell_at(root, "metadata.ownerReferences"), i, n, o)
    {
        if (!yyjson_get_bool(yyjson_obj_get(o, "controller")))
            continue;
        const char *version = cell_str(o, "apiVersion"), *slash = strchr(version, '/');
        struct neap_buf text = NEAP_BUF_INIT;
        for (const char *p = cell_str(o, "kind"); *p; p++)
            neap_buf_char(&text, *p >= 'A' && *p <= 'Z' ? (char)(*p | 32) : *p);
        neap_buf_printf(&text, "%s%.*s/%s", slash ? "." : "", slash ? (int)(slash - version) : 0,
                        version, cell_str(o, "name"));
        cell_take(out, &text, "<none>");
        return;
    }
    cell_text(out, "<none>");
}

/* ---- jobs ---- */

static bool job_condition(yyjson_val *root, const char *type)
{
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(cell_at(root, "status.conditions"), i, n, c)
    {
        if (strcmp(cell_str(c, "type"), type) == 0 && strcmp(cell_str(c, "status"), "True") == 0)
            return true;
    }
    return false;
}

CELL(job_status)
{
    const char *s = job_condition(root, "Complete")                 ? "Complete"
                    : job_condition(root, "Failed")                 ? "Failed"
                    : *cell_str(root, "metadata.deletionTimestamp") ? "Terminating"
                    : job_condition(root, "Suspended")              ? "Suspended"
                    : job_condition(root, "FailureTarget")          ? "FailureTarget"
                    : job_condition(root, "SuccessCriteriaMet")     ? "SuccessCriteriaMet"
                                                                    : "Running";
    cell_text(out, s);
}

CELL(job_completions)
{
    yyjson_val *completions = cell_at(root, "spec.completions");
    int64_t done = cell_int(root, "status.succeeded"),
            parallel = cell_int(root, "spec.parallelism");
    if (completions)
        neap_buf_printf(out, "\"%lld/%lld\"", (long long)done,
                        (long long)yyjson_get_sint(completions));
    else if (parallel > 1)
        neap_buf_printf(out, "\"%lld/1 of %lld\"", (long long)done, (long long)parallel);
    else
        neap_buf_printf(out, "\"%lld/1\"", (long long)done);
}

CELL(job_duration)
{
    const char *start = cell_str(root, "status.startTime");
    const char *end = cell_str(root, "status.completionTime");
    int64_t a, b = x->now_wall_ns;
    char text[32];
    if (!*start || !neap_time_parse(start, strlen(start), &a)) {
        cell_text(out, "");
        return;
    }
    if (*end)
        neap_time_parse(end, strlen(end), &b);
    cell_duration((b - a) / 1000000000, text);
    cell_text(out, text);
}

CELL(cron_active)
{
    neap_buf_printf(out, "%zu", yyjson_arr_size(cell_at(root, "status.active")));
}

CELL(cron_last)
{
    const char *t = cell_str(root, "status.lastScheduleTime");
    if (*t)
        cell_age(x, t, out);
    else
        cell_text(out, "<none>");
}

/* Text, though the column's type is boolean. */
CELL(cron_suspend)
{
    yyjson_val *v = cell_at(root, "spec.suspend");
    cell_text(out, !v ? "<unset>" : yyjson_get_bool(v) ? "True" : "False");
}

CELL(cron_zone)
{
    cell_or(out, cell_str(root, "spec.timeZone"), "<none>");
}

/* ---- HorizontalPodAutoscaler ---- */

CELL(hpa_reference)
{
    neap_buf_printf(out, "\"%s/%s\"", cell_str(root, "spec.scaleTargetRef.kind"),
                    cell_str(root, "spec.scaleTargetRef.name"));
}

CELL(hpa_min)
{
    yyjson_val *v = cell_at(root, "spec.minReplicas");
    if (v)
        neap_buf_printf(out, "\"%lld\"", (long long)yyjson_get_sint(v));
    else
        cell_text(out, "<unset>");
}

CELL(hpa_max)
{
    neap_buf_printf(out, "%lld", (long long)cell_int(root, "spec.maxReplicas"));
}

CELL(hpa_replicas)
{
    neap_buf_printf(out, "%lld", (long long)cell_int(root, "status.currentReplicas"));
}

static void hpa_value(struct neap_buf *text, yyjson_val *current, yyjson_val *target)
{
    yyjson_val *percent = yyjson_obj_get(target, "averageUtilization");
    if (percent) {
        yyjson_val *now = yyjson_obj_get(current, "averageUtilization");
        if (now)
            neap_buf_printf(text, "%lld%%", (long long)yyjson_get_sint(now));
        else
            neap_buf_str(text, "<unknown>");
        neap_buf_printf(text, "/%lld%%", (long long)yyjson_get_sint(percent));
        return;
    }
    bool average = *cell_str(target, "averageValue");
    const char *now = cell_str(current, average ? "averageValue" : "value");
    neap_buf_printf(text, "%s/%s%s", *now ? now : "<unknown>",
                    cell_str(target, average ? "averageValue" : "value"), "");
}

CELL(hpa_targets)
{
    static const char *const types[][2] = {{"Resource", "resource"},
                                           {"Pods", "pods"},
                                           {"Object", "object"},
                                           {"External", "external"},
                                           {"ContainerResource", "containerResource"}};
    struct neap_buf text = NEAP_BUF_INIT;
    yyjson_val *metrics = cell_at(root, "spec.metrics"), *m;
    yyjson_val *current = cell_at(root, "status.currentMetrics");
    size_t i, n, shown = 0, total = yyjson_arr_size(metrics);
    if (strcmp(cell_str(root, "apiVersion"), "autoscaling/v1") == 0) {
        yyjson_val *t = cell_at(root, "spec.targetCPUUtilizationPercentage");
        yyjson_val *c = cell_at(root, "status.currentCPUUtilizationPercentage");
        if (t && c)
            neap_buf_printf(&text, "cpu: %lld%%/%lld%%", (long long)yyjson_get_sint(c),
                            (long long)yyjson_get_sint(t));
        else if (t)
            neap_buf_printf(&text, "cpu: <unknown>/%lld%%", (long long)yyjson_get_sint(t));
        cell_take(out, &text, "<none>");
        return;
    }
    yyjson_arr_foreach(metrics, i, n, m)
    {
        if (shown == 2)
            break;
        for (size_t t = 0; t < NEAP_ARRAY_LEN(types); t++) {
            if (strcmp(cell_str(m, "type"), types[t][0]) != 0)
                continue;
            yyjson_val *spec = yyjson_obj_get(m, types[t][1]);
            yyjson_val *now = yyjson_obj_get(yyjson_arr_get(current, i), types[t][1]);
            neap_buf_str(&text, shown++ ? ", " : "");
            if (*cell_str(spec, "name"))
                neap_buf_printf(&text, "%s: ", cell_str(spec, "name"));
            hpa_value(&text, yyjson_obj_get(now, "current"), yyjson_obj_get(spec, "target"));
        }
    }
    if (total > shown && shown)
        neap_buf_printf(&text, " + %zu more...", total - shown);
    cell_take(out, &text, "<none>");
}

const struct rest_cell rest_cells_apps[] = {
    {"workload-containers", workload_containers},
    {"workload-images", workload_images},
    {"workload-selector", workload_selector},
    {"deployment-ready", ready},
    {"deployment-updated", deployment_updated},
    {"deployment-available", deployment_available},
    {"statefulset-ready", ready},
    {"daemonset-node-selector", daemon_selector},
    {"controllerrevision-controller", revision_controller},
    {"job-status", job_status},
    {"job-completions", job_completions},
    {"job-duration", job_duration},
    {"cronjob-active", cron_active},
    {"cronjob-last-schedule", cron_last},
    {"cronjob-timezone", cron_zone},
    {"cronjob-suspend", cron_suspend},
    {"horizontalpodautoscaler-reference", hpa_reference},
    {"horizontalpodautoscaler-minpods", hpa_min},
    {"horizontalpodautoscaler-maxpods", hpa_max},
    {"horizontalpodautoscaler-replicas", hpa_replicas},
    {"horizontalpodautoscaler-targets", hpa_targets},
    {0},
};
