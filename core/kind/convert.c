/* Versions of one stored object. A conversion is a table of renames, or a function. */
#include "kind_internal.h"

struct rename {
    const char *storage, *served;
};

/* core/v1 Event and events.k8s.io/v1 Event */
static const struct rename event_fields[] = {
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"source", "deprecatedSource"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
};

static void rename_key(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *from, const char *to)
{
    yyjson_mut_val *v = yyjson_mut_obj_remove_key(o, from);
    if (v)
        yyjson_mut_obj_put(o, yyjson_mut_str(doc, to), v);
}

/* What only the stored version writes though it is empty. */
static void drop_empty(yyjson_mut_val *o, const char *name)
{
    if (yyjson_mut_equals_str(yyjson_mut_obj_get(o, name), ""))
        yyjson_mut_obj_remove_key(o, name);
}

static void convert_event(yyjson_mut_doc *doc, yyjson_mut_val *root, bool to_storage)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(event_fields); i++) {
        const struct rename *r = &event_fields[i];
        rename_key(doc, root, to_storage ? r->served : r->storage,
                   to_storage ? r->storage : r->served);
    }
    if (!to_storage) {
        drop_empty(root, "reportingController");
        drop_empty(root, "reportingInstance");
    }
}

/* ---- HorizontalPodAutoscaler: v1 knows one CPU target; the rest rides in annotations ------------- */

static const char ANNOTATION_METRICS[] = "autoscaling.alpha.kubernetes.io/metrics";
static const char ANNOTATION_BEHAVIOR[] = "autoscaling.alpha.kubernetes.io/behavior";
static const char ANNOTATION_CONDITIONS[] = "autoscaling.alpha.kubernetes.io/conditions";
static const char ANNOTATION_CURRENT[] = "autoscaling.alpha.kubernetes.io/current-metrics";

enum { ANNOTATION_MEMORY_MAX = 16 << 20 };

static bool is_cpu_metric(yyjson_mut_val *metric, const char *value_at)
{
    return yyjson_mut_equals_str(yyjson_mut_obj_get(metric, "type"), "Resource") &&
           yyjson_mut_equals_str(neap_json_at(metric, "resource.name"), "cpu") &&
           neap_json_at(metric, value_at);
}

static void annotate(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *name,
                     yyjson_mut_val *value)
{
    size_t len = 0;
    char *json = yyjson_mut_val_write(value, 0, &len);
    yyjson_mut_val *annotations = neap_json_at(root, "metadata.annotations");
    if (!annotations) {
        annotations = yyjson_mut_obj(doc);
        neap_json_set_at(doc, root, "metadata.annotations", annotations);
    }
    yyjson_mut_obj_put(annotations, yyjson_mut_str(doc, name),
                       yyjson_mut_strncpy(doc, json ? json : "", len));
    free(json);
}

/* One direction's rules, with the field names of Kubernetes' Go type, which this annotation has always had. */
static yyjson_mut_val *go_rules(yyjson_mut_doc *doc, yyjson_mut_val *rules)
{
    static const char *const names[][2] = {
        {"StabilizationWindowSeconds", "stabilizationWindowSeconds"},
        {"SelectPolicy", "selectPolicy"},
        {"Policies", "policies"},
        {"Tolerance", "tolerance"}};
    static const char *const inner[][2] = {
        {"Type", "type"}, {"Value", "value"}, {"PeriodSeconds", "periodSeconds"}};
    if (!rules)
        return yyjson_mut_null(doc);
    yyjson_mut_val *out = yyjson_mut_obj(doc);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        yyjson_mut_val *v = yyjson_mut_obj_get(rules, names[i][1]);
        yyjson_mut_obj_add(out, yyjson_mut_str(doc, names[i][0]),
                           v ? yyjson_mut_val_mut_copy(doc, v) : yyjson_mut_null(doc));
    }
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(yyjson_mut_obj_get(out, "Policies"));
    for (yyjson_mut_val *p; (p = yyjson_mut_arr_iter_next(&it));)
        for (size_t i = 0; i < NEAP_ARRAY_LEN(inner); i++)
            rename_key(doc, p, inner[i][1], inner[i][0]);
    return out;
}

static yyjson_mut_val *go_behavior(yyjson_mut_doc *doc, yyjson_mut_val *behavior)
{
    yyjson_mut_val *out = yyjson_mut_obj(doc);
    yyjson_mut_obj_add_val(doc, out, "ScaleUp",
                           go_rules(doc, yyjson_mut_obj_get(behavior, "scaleUp")));
    yyjson_mut_obj_add_val(doc, out, "ScaleDown",
                           go_rules(doc, yyjson_mut_obj_get(behavior, "scaleDown")));
    return out;
}

/* Go reads its own names without regard to case: they become the API's, by their first letter. */
static void from_go(yyjson_mut_doc *doc, yyjson_mut_val *v)
{
    if (yyjson_mut_is_arr(v)) {
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(v);
        for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
            from_go(doc, e);
        return;
    }
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(v);
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        char *name = yyjson_mut_get_len(k) ? neap_strdup(yyjson_mut_get_str(k)) : NULL;
        from_go(doc, yyjson_mut_obj_iter_get_val(k));
        if (name && *name >= 'A' && *name <= 'Z') {
            *name |= 32;
            yyjson_mut_set_str(k, yyjson_mut_get_str(yyjson_mut_strcpy(doc, name)));
        }
        free(name);
    }
}

/* Takes an annotation out and reads it as <section>'s <field>; NULL: none, or it is no such value. A client
 * may have written anything there: it is bounded and decoded as the field would be. */
static yyjson_mut_val *unannotate(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *name,
                                  const struct neap_field *section, const char *field)
{
    yyjson_mut_val *annotations = neap_json_at(root, "metadata.annotations");
    yyjson_mut_val *v = yyjson_mut_obj_remove_key(annotations, name), *ret = NULL;
    if (annotations && yyjson_mut_obj_size(annotations) == 0)
        neap_json_set_at(doc, root, "metadata.annotations", NULL);
    if (!yyjson_mut_is_str(v))
        return NULL;
    struct neap_arena *arena = neap_arena_new(ANNOTATION_MEMORY_MAX);
    yyjson_mut_doc *parsed;
    if (neap_json_parse(arena, yyjson_mut_get_str(v), yyjson_mut_get_len(v), NULL, &parsed, NULL) ==
        0) {
        yyjson_mut_val *holder = yyjson_mut_obj(doc);
        yyjson_mut_val *value = yyjson_mut_val_mut_copy(doc, yyjson_mut_doc_get_root(parsed));
        from_go(doc, value);
        yyjson_mut_obj_add(holder, yyjson_mut_str(doc, field), value);
        if (neap_kind_decode(doc, holder, section->shape.type, NEAP_FV_IGNORE, NULL, NULL) == 0)
            ret = yyjson_mut_obj_remove_key(holder, field);
    }
    neap_arena_free(arena);
    return ret;
}

/* Moves the CPU metric out of a list into one number; what remains becomes an annotation. */
static void extract_cpu(yyjson_mut_doc *doc, yyjson_mut_val *root, const char *section,
                        const char *list, const char *value_at, const char *field,
                        const char *annotation)
{
    yyjson_mut_val *holder = yyjson_mut_obj_get(root, section);
    yyjson_mut_val *metrics = yyjson_mut_obj_remove_key(holder, list);
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(metrics);
    for (yyjson_mut_val *m; (m = yyjson_mut_arr_iter_next(&it));) {
        if (!is_cpu_metric(m, value_at))
            continue;
        yyjson_mut_obj_put(holder, yyjson_mut_str(doc, field),
                           yyjson_mut_val_mut_copy(doc, neap_json_at(m, value_at)));
        neap_json_iter_remove(&it);
        break;
    }
    if (metrics && yyjson_mut_arr_size(metrics))
        annotate(doc, root, annotation, metrics);
}

static void hpa_to_v1(yyjson_mut_doc *doc, yyjson_mut_val *root)
{
    yyjson_mut_val *spec = yyjson_mut_obj_get(root, "spec");
    yyjson_mut_val *status = yyjson_mut_obj_get(root, "status");
    extract_cpu(doc, root, "spec", "metrics", "resource.target.averageUtilization",
                "targetCPUUtilizationPercentage", ANNOTATION_METRICS);
    extract_cpu(doc, root, "status", "currentMetrics", "resource.current.averageUtilization",
                "currentCPUUtilizationPercentage", ANNOTATION_CURRENT);
    yyjson_mut_val *behavior = yyjson_mut_obj_remove_key(spec, "behavior");
    if (behavior)
        annotate(doc, root, ANNOTATION_BEHAVIOR, go_behavior(doc, behavior));
    yyjson_mut_val *conditions = yyjson_mut_obj_remove_key(status, "conditions");
    if (conditions && yyjson_mut_arr_size(conditions))
        annotate(doc, root, ANNOTATION_CONDITIONS, conditions);
}

static void add_cpu(yyjson_mut_doc *doc, yyjson_mut_val *metrics, yyjson_mut_val *value, bool spec)
{
    yyjson_mut_val *m = yyjson_mut_obj(doc);
    neap_json_set_at(doc, m, "type", yyjson_mut_str(doc, "Resource"));
    neap_json_set_at(doc, m, "resource.name", yyjson_mut_str(doc, "cpu"));
    if (spec)
        neap_json_set_at(doc, m, "resource.target.type", yyjson_mut_str(doc, "Utilization"));
    neap_json_set_at(
        doc, m, spec ? "resource.target.averageUtilization" : "resource.current.averageUtilization",
        value);
    yyjson_mut_arr_prepend(metrics, m);
}

static void restore_cpu(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct neap_field *section,
                        const char *list, const char *field, const char *annotation, bool spec)
{
    yyjson_mut_val *holder = yyjson_mut_obj_get(root, section->name);
    yyjson_mut_val *value = yyjson_mut_obj_remove_key(holder, field);
    yyjson_mut_val *metrics = unannotate(doc, root, annotation, section, list);
    if (!yyjson_mut_is_arr(metrics))
        metrics = yyjson_mut_arr(doc);
    if (value)
        add_cpu(doc, metrics, value, spec);
    if (holder && yyjson_mut_arr_size(metrics))
        yyjson_mut_obj_put(holder, yyjson_mut_str(doc, list), metrics);
}

static void hpa_to_storage(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct neap_kind *to)
{
    const struct neap_field *spec = neap_type_field(to->type, "spec", 4);
    const struct neap_field *status = neap_type_field(to->type, "status", 6);
    restore_cpu(doc, root, spec, "metrics", "targetCPUUtilizationPercentage", ANNOTATION_METRICS,
                true);
    restore_cpu(doc, root, status, "currentMetrics", "currentCPUUtilizationPercentage",
                ANNOTATION_CURRENT, false);
    yyjson_mut_val *behavior = unannotate(doc, root, ANNOTATION_BEHAVIOR, spec, "behavior");
    yyjson_mut_val *conditions = unannotate(doc, root, ANNOTATION_CONDITIONS, status, "conditions");
    if (yyjson_mut_is_obj(behavior))
        neap_json_set_at(doc, root, "spec.behavior", behavior);
    if (yyjson_mut_is_arr(conditions))
        neap_json_set_at(doc, root, "status.conditions", conditions);
}

int neap_kind_convert(yyjson_mut_doc *doc, yyjson_mut_val *root, const struct neap_kind *from,
                      const struct neap_kind *to, struct neap_err *err)
{
    char api_version[128];
    if (from == to)
        return 0;
    bool to_storage = to->storage == to;
    const char *name = to_storage ? from->convert : to->convert;
    if (!name || from->storage != to->storage)
        return neap_err_set(err, NEAP_EINTERNAL, "no conversion from %s/%s to %s/%s", from->group,
                            from->version, to->group, to->version);
    if (strcmp(name, "event") == 0)
        convert_event(doc, root, to_storage);
    else if (to_storage)
        hpa_to_storage(doc, root, to);
    else
        hpa_to_v1(doc, root);
    neap_kind_api_version(to, api_version);
    yyjson_mut_obj_put(root, yyjson_mut_str(doc, "apiVersion"),
                       yyjson_mut_strcpy(doc, api_version));
    return 0;
}
