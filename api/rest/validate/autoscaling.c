/* HorizontalPodAutoscalers: target, metrics, behaviour.
 * Source: Kubernetes documentation, "Horizontal Pod Autoscaling". */
#include "validate.h"

enum { PERIOD_MAX = 1800, WINDOW_MAX = 3600 };

static void check_name(struct rest_validation *v, path p, json *o, const char *field)
{
    if (!*text(o, field))
        rest_required(v, AT(p, field), NO_WHY);
    else
        rest_check_words(v, AT(p, field), text(o, field), rest_words_segment);
}

static void check_reference(struct rest_validation *v, path p, json *ref, bool need_group)
{
    const char *version = text(ref, "apiVersion"), *slash = strchr(version, '/');
    check_name(v, p, ref, "kind");
    check_name(v, p, ref, "name");
    if (slash && strchr(slash + 1, '/'))
        rest_invalid_string(v, AT(p, "apiVersion"), version, "unexpected GroupVersion string: %s",
                            version);
    else if (need_group && (!slash || slash == version))
        rest_invalid_string(v, AT(p, "apiVersion"), version, "apiVersion must specify API group");
}

/* ---- metrics ---- */

static void check_positive(struct rest_validation *v, path p, json *target, const char *field)
{
    if (has(target, field) && rest_quantity_compare(get(target, field), NULL) <= 0)
        rest_invalid(v, AT(p, field), get(target, field), "must be positive");
}

static void check_target(struct rest_validation *v, path p, json *target)
{
    static const char *const types[] = {"Utilization", "Value", "AverageValue", NULL};
    const char *type = text(target, "type");
    json *utilization = get(target, "averageUtilization");
    if (!*type)
        rest_required(v, AT(p, "type"), "must specify a metric target type");
    if (!rest_one_of(type, types))
        rest_invalid_string(v, AT(p, "type"), type,
                            "must be either Utilization, Value, or AverageValue");
    check_positive(v, p, target, "value");
    check_positive(v, p, target, "averageValue");
    if (utilization && yyjson_mut_get_sint(utilization) < 1)
        rest_invalid(v, AT(p, "averageUtilization"), utilization, "must be greater than 0");
}

static void check_metric_name(struct rest_validation *v, path p, json *source)
{
    json *metric = get(source, "metric");
    path at = AT(AT(p, "metric"), "name");
    if (!*text(metric, "name"))
        rest_required(v, at, "must specify a metric name");
    else
        rest_check_words(v, at, text(metric, "name"), rest_words_segment);
}

static void check_object(struct rest_validation *v, path p, json *s)
{
    json *target = get(s, "target");
    path at = AT(p, "target");
    check_reference(v, AT(p, "describedObject"), get(s, "describedObject"), false);
    check_metric_name(v, p, s);
    check_target(v, at, target);
    if (!has(target, "value") && !has(target, "averageValue"))
        rest_required(v, AT(at, "averageValue"), "must set either a target value or averageValue");
}

static void check_external(struct rest_validation *v, path p, json *s)
{
    json *target = get(s, "target");
    path at = AT(p, "target");
    check_metric_name(v, p, s);
    check_target(v, at, target);
    if (!has(target, "value") && !has(target, "averageValue"))
        rest_required(v, AT(at, "averageValue"),
                      "must set either a target value for metric or a per-pod target");
    if (has(target, "value") && has(target, "averageValue"))
        rest_forbidden(v, AT(at, "value"),
                       "may not set both a target value for metric and a per-pod target");
}

static void check_pods(struct rest_validation *v, path p, json *s)
{
    json *target = get(s, "target");
    path at = AT(p, "target");
    check_metric_name(v, p, s);
    check_target(v, at, target);
    if (!has(target, "averageValue"))
        rest_required(v, AT(at, "averageValue"), "must specify a positive target averageValue");
}

static void check_utilization(struct rest_validation *v, path p, json *s)
{
    json *target = get(s, "target");
    path at = AT(p, "target");
    check_target(v, at, target);
    if (!has(target, "averageUtilization") && !has(target, "averageValue"))
        rest_required(v, AT(at, "averageUtilization"),
                      "must set either a target raw value or a target utilization");
    if (has(target, "averageUtilization") && has(target, "averageValue"))
        rest_forbidden(v, AT(at, "averageValue"),
                       "may not set both a target raw value and a target utilization");
}

static void check_resource(struct rest_validation *v, path p, json *s)
{
    if (!*text(s, "name"))
        rest_required(v, AT(p, "name"), "must specify a resource name");
    check_utilization(v, p, s);
}

static void check_container_resource(struct rest_validation *v, path p, json *s)
{
    if (!*text(s, "name"))
        rest_required(v, AT(p, "name"), "must specify a resource name");
    else
        rest_check_container_resource_name(v, AT(p, "name"), text(s, "name"));
    if (!*text(s, "container"))
        rest_required(v, AT(p, "container"), "must specify a container");
    else
        rest_check_words(v, AT(p, "container"), text(s, "container"), rest_words_dns_label);
    check_utilization(v, p, s);
}

static const struct {
    const char *type, *field;
    void (*check)(struct rest_validation *v, path p, json *source);
} sources[] = {
    {"Object", "object", check_object},
    {"External", "external", check_external},
    {"Pods", "pods", check_pods},
    {"Resource", "resource", check_resource},
    {"ContainerResource", "containerResource", check_container_resource},
};

static void check_metric(struct rest_validation *v, path p, json *metric)
{
    static const char *const types[] = {"ContainerResource", "External", "Object", "Pods",
                                        "Resource",          NULL};
    unsigned count = 0;
    const char *expected = "";
    if (!*text(metric, "type"))
        rest_required(v, AT(p, "type"), "must specify a metric source type");
    rest_check_one_of(v, AT(p, "type"), text(metric, "type"), false, types);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(sources); i++) {
        if (is(metric, "type", sources[i].type))
            expected = sources[i].field;
        if (has(metric, sources[i].field) && ++count == 1)
            sources[i].check(v, AT(p, sources[i].field), get(metric, sources[i].field));
    }
    if (*expected && !has(metric, expected))
        rest_required(v, AT(p, expected), "must populate information for the given metric source");
    for (size_t i = 0; count > 1 && i < NEAP_ARRAY_LEN(sources); i++)
        if (has(metric, sources[i].field) && strcmp(sources[i].field, expected))
            rest_forbidden(v, AT(p, sources[i].field),
                           "must populate the given metric source only");
}

static void check_metrics(struct rest_validation *v, path p, json *spec)
{
    bool scales_from_zero = false;
    EACH(e, get(spec, "metrics"))
    {
        check_metric(v, ITEM(p, e.i), e.item);
        scales_from_zero =
            scales_from_zero || is(e.item, "type", "Object") || is(e.item, "type", "External");
    }
    if (has(spec, "minReplicas") && !number(spec, "minReplicas") && !scales_from_zero)
        rest_forbidden(v, p,
                       "must specify at least one Object or External metric to support scaling to "
                       "zero replicas");
}

/* ---- behaviour ---- */

static void check_policy(struct rest_validation *v, path p, json *policy)
{
    static const char *const types[] = {"Percent", "Pods", NULL};
    rest_check_one_of(v, AT(p, "type"), text(policy, "type"), false, types);
    rest_check_positive(v, AT(p, "value"), get(policy, "value"));
    rest_check_positive(v, AT(p, "periodSeconds"), get(policy, "periodSeconds"));
    if (number(policy, "periodSeconds") > PERIOD_MAX)
        rest_invalid(v, AT(p, "periodSeconds"), get(policy, "periodSeconds"),
                     "must be less than or equal to %d", PERIOD_MAX);
}

static void check_scaling(struct rest_validation *v, path p, json *rules)
{
    static const char *const select[] = {"Disabled", "Max", "Min", NULL};
    json *window = get(rules, "stabilizationWindowSeconds");
    path at = AT(p, "stabilizationWindowSeconds"), policies = AT(p, "policies");
    if (!rules)
        return;
    if (yyjson_mut_get_sint(window) < 0)
        rest_invalid(v, at, window, "must be greater than or equal to zero");
    if (yyjson_mut_get_sint(window) > WINDOW_MAX)
        rest_invalid(v, at, window, "must be less than or equal to %d", WINDOW_MAX);
    if (has(rules, "selectPolicy"))
        rest_check_one_of(v, AT(p, "selectPolicy"), text(rules, "selectPolicy"), false, select);
    if (!size(get(rules, "policies")))
        rest_required(v, policies, "must specify at least one Policy");
    EACH(e, get(rules, "policies"))
    check_policy(v, ITEM(policies, e.i), e.item);
    if (rest_quantity_compare(get(rules, "tolerance"), NULL) < 0)
        rest_invalid(v, AT(p, "tolerance"), get(rules, "tolerance"),
                     "must be greater than or equal to 0");
}

void rest_validate_autoscaler(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *behavior = get(spec, "behavior");
    path p = AT(NULL, "spec"), at = AT(p, "behavior");
    if (v->subresource)
        return;
    if (has(spec, "minReplicas") && number(spec, "maxReplicas") < number(spec, "minReplicas"))
        rest_invalid_number(v, AT(p, "maxReplicas"), number(spec, "maxReplicas"),
                            "must be greater than or equal to `minReplicas`");
    check_reference(v, AT(p, "scaleTargetRef"), get(spec, "scaleTargetRef"), true);
    check_metrics(v, AT(p, "metrics"), spec);
    check_scaling(v, AT(at, "scaleUp"), get(behavior, "scaleUp"));
    check_scaling(v, AT(at, "scaleDown"), get(behavior, "scaleDown"));
}
