/* Workloads that run copies of a pod: their selectors, templates and ways to update.
 * Source: Kubernetes documentation, "Workload Management". */
#include "shapes.h"

#define SELECTOR "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"

/* A template's labels as its type prints them: an update that took the last one leaves an empty map. */
static void template_mismatch(struct rest_validation *v, path p, json *labels)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    bool had = neap_json_at(v->old_root, "spec.template.metadata.labels") != NULL;
    if (!labels && had)
        neap_buf_str(&b, "{}");
    else
        rest_show(&b, labels);
    rest_invalid_shown(v, AT(AT(p, "metadata"), "labels"), b.data,
                       "`selector` does not match template `labels`");
}

void rest_check_template_labels(struct rest_validation *v, path p, json *template, json *selector)
{
    json *labels = neap_json_at(template, "metadata.labels");
    if (!rest_selector_empty(selector) && !rest_selector_matches(selector, labels))
        template_mismatch(v, p, labels);
}

/* <who>: in the text about activeDeadlineSeconds. */
static void check_template_runs(struct rest_validation *v, path p, json *template, const char *who)
{
    static const char *const always[] = {"Always", NULL};
    json *spec = get(template, "spec");
    path at = AT(p, "spec");
    if (!is(spec, "restartPolicy", "Always"))
        rest_unsupported(v, AT(at, "restartPolicy"), text(spec, "restartPolicy"), always);
    if (has(spec, "activeDeadlineSeconds"))
        rest_forbidden(v, AT(at, "activeDeadlineSeconds"),
                       "activeDeadlineSeconds in %s is not Supported", who);
}

static void empty_selector(struct rest_validation *v, path p, json *selector, const char *who)
{
    if (rest_selector_empty(selector))
        rest_invalid_shown(v, p, "{}", "empty selector is invalid for %s", who);
}

/* True: the operators are known, so that the selector can be used. */
static bool selector_works(json *selector)
{
    static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
    EACH(e, get(selector, "matchExpressions"))
    if (!rest_one_of(text(e.item, "operator"), operators))
        return false;
    return true;
}

static void check_selector(struct rest_validation *v, path p, json *selector, const char *who)
{
    if (!selector)
        rest_required(v, p, NO_WHY);
    rest_check_label_selector(v, p, selector);
    empty_selector(v, p, selector, who);
}

static void check_frozen_selector(struct rest_validation *v)
{
    if (v->old_root)
        rest_check_immutable(v, AT(AT(NULL, "spec"), "selector"),
                             neap_json_at(v->root, "spec.selector"),
                             neap_json_at(v->old_root, "spec.selector"), SELECTOR);
}

/* ---- status, for all of them ---- */

static void check_status(struct rest_validation *v, const char *ready_limit)
{
    static const char *const numbers[] = {"observedGeneration",
                                          "replicas",
                                          "fullyLabeledReplicas",
                                          "updatedReplicas",
                                          "currentReplicas",
                                          "readyReplicas",
                                          "availableReplicas",
                                          "unavailableReplicas",
                                          "collisionCount",
                                          "currentNumberScheduled",
                                          "numberMisscheduled",
                                          "desiredNumberScheduled",
                                          "numberReady",
                                          "updatedNumberScheduled",
                                          "numberAvailable",
                                          "numberUnavailable",
                                          NULL};
    static const char *const parts[] = {"fullyLabeledReplicas", "updatedReplicas", "readyReplicas",
                                        "currentReplicas", "availableReplicas"};
    json *status = get(v->root, "status"), *old = get(v->old_root, "status");
    path p = AT(NULL, "status");
    rest_check_not_negative_fields(v, p, status, numbers);
    for (size_t i = 0; ready_limit && i < NEAP_ARRAY_LEN(parts); i++)
        if (number(status, parts[i]) > number(status, "replicas"))
            rest_invalid(v, AT(p, parts[i]), get(status, parts[i]),
                         "cannot be greater than status.replicas");
    if (ready_limit && number(status, "availableReplicas") > number(status, "readyReplicas"))
        rest_invalid(v, AT(p, "availableReplicas"), get(status, "availableReplicas"),
                     "cannot be greater than %s", ready_limit);
    if (number(status, "collisionCount") < number(old, "collisionCount"))
        rest_invalid_number(v, AT(p, "collisionCount"), number(status, "collisionCount"),
                            "cannot be decremented");
}

static bool writes_status(struct rest_validation *v)
{
    return v->subresource && strcmp(v->subresource->name, "status") == 0;
}

/* ---- deployments and replica sets ---- */

static void check_replica_template(struct rest_validation *v, path p, json *spec)
{
    json *template = get(spec, "template"), *selector = get(spec, "selector");
    path at = AT(p, "template");
    if (!selector_works(selector)) {
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        rest_show_type(&b, selector, SELECTOR);
        rest_invalid_shown(v, AT(p, "selector"), b.data, "invalid label selector");
        return;
    }
    rest_check_template_labels(v, at, template, selector);
    rest_check_pod_template(v, at, template);
    check_template_runs(v, at, template, "ReplicaSet");
}

static void check_deployment_strategy(struct rest_validation *v, path p, json *strategy)
{
    static const char *const types[] = {"Recreate", "RollingUpdate", NULL};
    json *rolling = get(strategy, "rollingUpdate"), *surge = get(rolling, "maxSurge");
    json *unavailable = get(rolling, "maxUnavailable");
    path at = AT(p, "rollingUpdate");
    if (is(strategy, "type", "Recreate")) {
        if (rolling)
            rest_forbidden(v, at, "may not be specified when strategy `type` is 'Recreate'");
    } else if (!is(strategy, "type", "RollingUpdate")) {
        rest_unsupported_go(v, p, strategy, "DeploymentStrategy", types);
    } else if (!rolling) {
        rest_required(v, at, "this should be defaulted and never be nil");
    } else {
        rest_check_int_or_percent(v, AT(at, "maxUnavailable"), unavailable);
        rest_check_int_or_percent(v, AT(at, "maxSurge"), surge);
        if (!rest_int_or_percent(unavailable) && !rest_int_or_percent(surge))
            rest_invalid(v, AT(at, "maxUnavailable"), unavailable,
                         "may not be 0 when `maxSurge` is 0");
        rest_check_at_most_100_percent(v, AT(at, "maxUnavailable"), unavailable);
    }
}

void rest_validate_deployment(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *deadline = get(spec, "progressDeadlineSeconds");
    path p = AT(NULL, "spec");
    if (writes_status(v)) {
        check_status(v, "readyReplicas");
        return;
    }
    rest_check_not_negative(v, AT(p, "replicas"), get(spec, "replicas"));
    check_selector(v, AT(p, "selector"), get(spec, "selector"), "deployment");
    check_replica_template(v, p, spec);
    check_deployment_strategy(v, AT(p, "strategy"), get(spec, "strategy"));
    rest_check_not_negative(v, AT(p, "minReadySeconds"), get(spec, "minReadySeconds"));
    rest_check_not_negative(v, AT(p, "revisionHistoryLimit"), get(spec, "revisionHistoryLimit"));
    rest_check_not_negative(v, AT(p, "progressDeadlineSeconds"), deadline);
    if (deadline && yyjson_mut_get_sint(deadline) <= number(spec, "minReadySeconds"))
        rest_invalid(v, AT(p, "progressDeadlineSeconds"), deadline,
                     "must be greater than minReadySeconds");
    check_frozen_selector(v);
}

void rest_validate_replica_set(struct rest_validation *v)
{
    json *spec = get(v->root, "spec");
    path p = AT(NULL, "spec");
    if (writes_status(v)) {
        check_status(v, "readyReplicas");
        return;
    }
    rest_check_not_negative(v, AT(p, "replicas"), get(spec, "replicas"));
    rest_check_not_negative(v, AT(p, "minReadySeconds"), get(spec, "minReadySeconds"));
    check_selector(v, AT(p, "selector"), get(spec, "selector"), "deployment");
    check_replica_template(v, p, spec);
    check_frozen_selector(v);
}

static bool map_matches(json *selector, json *labels)
{
    EACH(e, selector)
    if (!rest_same(get(labels, e.key), e.item))
        return false;
    return true;
}

void rest_validate_replication_controller(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *template = get(spec, "template");
    path p = AT(NULL, "spec"), at = AT(p, "template");
    if (writes_status(v)) {
        check_status(v, "readyReplicas");
        return;
    }
    if (!size(get(spec, "selector")))
        rest_required(v, AT(p, "selector"), NO_WHY);
    if (!template) {
        rest_required(v, at, NO_WHY);
        return;
    }
    if (!map_matches(get(spec, "selector"), neap_json_at(template, "metadata.labels")))
        template_mismatch(v, at, neap_json_at(template, "metadata.labels"));
    rest_check_pod_template(v, at, template);
    check_template_runs(v, at, template, "ReplicationController");
}

/* ---- stateful sets ---- */

static void check_stateful_strategy(struct rest_validation *v, path p, json *strategy)
{
    json *rolling = get(strategy, "rollingUpdate"), *most = get(rolling, "maxUnavailable");
    path at = AT(p, "rollingUpdate"), most_path = AT(at, "maxUnavailable");
    if (!*text(strategy, "type")) {
        rest_required(v, p, NO_WHY);
    } else if (is(strategy, "type", "OnDelete")) {
        if (rolling)
            rest_invalid_go(v, at, rolling, "RollingUpdateStatefulSetStrategy",
                            "only allowed for updateStrategy 'RollingUpdate'");
    } else if (!is(strategy, "type", "RollingUpdate")) {
        rest_invalid_go(v, p, strategy, "StatefulSetUpdateStrategy",
                        "must be 'RollingUpdate' or 'OnDelete'");
    } else if (rolling) {
        rest_check_not_negative(v, AT(at, "partition"), get(rolling, "partition"));
        if (!most)
            return;
        rest_check_int_or_percent(v, most_path, most);
        if (!rest_int_or_percent(most))
            rest_invalid(v, most_path, most, "cannot be 0");
        rest_check_at_most_100_percent(v, most_path, most);
    }
}

static void check_retention(struct rest_validation *v, path p, json *policy)
{
    static const char *const values[] = {"Retain", "Delete", NULL};
    if (!policy)
        return;
    rest_check_one_of(v, AT(p, "whenDeleted"), text(policy, "whenDeleted"), false, values);
    rest_check_one_of(v, AT(p, "whenScaled"), text(policy, "whenScaled"), false, values);
}

/* The template with a volume for each claim template, and without names that the set gives. */
static json *stateful_template(yyjson_mut_doc *doc, json *spec)
{
    json *copy = yyjson_mut_val_mut_copy(doc, get(spec, "template")), *pod = get(copy, "spec");
    json *claims = get(spec, "volumeClaimTemplates"), *volumes = yyjson_mut_arr(doc);
    struct neap_map names = NEAP_MAP_INIT;
    yyjson_mut_obj_remove_key(pod, "hostname");
    yyjson_mut_obj_remove_key(pod, "subdomain");
    EACH(e, claims)
    {
        const char *name = text(get(e.item, "metadata"), "name");
        if (!rest_set_add(&names, name))
            continue;
        json *volume = yyjson_mut_obj(doc), *claim = yyjson_mut_obj(doc);
        yyjson_mut_obj_add_strcpy(doc, claim, "claimName", name);
        yyjson_mut_obj_add_strcpy(doc, volume, "name", name);
        yyjson_mut_obj_add_val(doc, volume, "persistentVolumeClaim", claim);
        yyjson_mut_arr_append(volumes, volume);
    }
    EACH(e, get(pod, "volumes"))
    if (!neap_map_get(&names, text(e.item, "name")))
        yyjson_mut_arr_append(volumes, yyjson_mut_val_mut_copy(doc, e.item));
    neap_map_done(&names, NULL);
    if (size(claims) && pod) {
        yyjson_mut_obj_remove_key(pod, "volumes");
        yyjson_mut_obj_add_val(doc, pod, "volumes", volumes);
    }
    return copy;
}

static void check_stateful_template(struct rest_validation *v, path p, json *spec)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    json *template = stateful_template(doc, spec);
    path at = AT(p, "template");
    rest_check_template_labels(v, at, template, get(spec, "selector"));
    rest_check_pod_template(v, at, template);
    yyjson_mut_doc_free(doc);
    check_template_runs(v, at, get(spec, "template"), "StatefulSet");
}

/* What a rolling set may change. */
static void check_stateful_update(struct rest_validation *v, json *spec, json *old)
{
    path p = AT(NULL, "spec");
    json *claims = get(spec, "volumeClaimTemplates");
    rest_check_immutable(v, AT(p, "selector"), get(spec, "selector"), get(old, "selector"),
                         SELECTOR);
    if (!rest_same(claims, get(old, "volumeClaimTemplates")))
        rest_invalid_go(v, AT(p, "volumeClaimTemplates"), claims, "[]PersistentVolumeClaim",
                        "field is immutable");
    rest_check_immutable(v, AT(p, "serviceName"), get(spec, "serviceName"), get(old, "serviceName"),
                         NULL);
    rest_check_immutable(v, AT(p, "podManagementPolicy"), get(spec, "podManagementPolicy"),
                         get(old, "podManagementPolicy"), NULL);
}

static void check_management(struct rest_validation *v, path p, json *spec)
{
    const char *policy = text(spec, "podManagementPolicy");
    if (!*policy)
        rest_required(v, p, NO_WHY);
    else if (strcmp(policy, "OrderedReady") && strcmp(policy, "Parallel"))
        rest_invalid_string(v, p, policy, "must be 'OrderedReady' or 'Parallel'");
}

void rest_validate_stateful_set(struct rest_validation *v)
{
    json *spec = get(v->root, "spec");
    path p = AT(NULL, "spec"), claims = AT(p, "volumeClaimTemplates");
    if (writes_status(v)) {
        check_status(v, "status.readyReplicas");
        return;
    }
    check_management(v, AT(p, "podManagementPolicy"), spec);
    check_stateful_strategy(v, AT(p, "updateStrategy"), get(spec, "updateStrategy"));
    check_retention(v, AT(p, "persistentVolumeClaimRetentionPolicy"),
                    get(spec, "persistentVolumeClaimRetentionPolicy"));
    EACH(e, get(spec, "volumeClaimTemplates"))
    rest_check_claim_spec(v, AT(ITEM(claims, e.i), "spec"), get(e.item, "spec"));
    rest_check_not_negative(v, AT(p, "replicas"), get(spec, "replicas"));
    rest_check_not_negative(v, AT(p, "minReadySeconds"), get(spec, "minReadySeconds"));
    rest_check_not_negative(v, AT(AT(p, "ordinals"), "start"),
                            neap_json_at(spec, "ordinals.start"));
    if (*text(spec, "serviceName"))
        rest_check_words(v, AT(p, "serviceName"), text(spec, "serviceName"), rest_words_dns_label);
    rest_check_label_selector(v, AT(p, "selector"), get(spec, "selector"));
    empty_selector(v, AT(p, "selector"), get(spec, "selector"), "statefulset");
    check_stateful_template(v, p, spec);
    if (v->old_root)
        check_stateful_update(v, spec, get(v->old_root, "spec"));
}

/* ---- daemon sets and revisions ---- */

static void check_daemon_strategy(struct rest_validation *v, path p, json *strategy)
{
    static const char *const types[] = {"RollingUpdate", "OnDelete", NULL};
    json *rolling = get(strategy, "rollingUpdate"), *surge = get(rolling, "maxSurge");
    json *most = get(rolling, "maxUnavailable");
    path at = AT(p, "rollingUpdate"), surge_path = AT(at, "maxSurge");
    path most_path = AT(at, "maxUnavailable");
    if (is(strategy, "type", "OnDelete"))
        return;
    if (!is(strategy, "type", "RollingUpdate")) {
        rest_unsupported_go(v, p, strategy, "DaemonSetUpdateStrategy", types);
        return;
    }
    if (!rolling) {
        rest_required(v, at, NO_WHY);
        return;
    }
    rest_check_int_or_percent(v, most_path, most);
    rest_check_int_or_percent(v, surge_path, surge);
    rest_check_at_most_100_percent(v, most_path, most);
    rest_check_at_most_100_percent(v, surge_path, surge);
    bool has_most = rest_int_or_percent(most) != 0, has_surge = rest_int_or_percent(surge) != 0;
    if (has_most && has_surge)
        rest_invalid(v, surge_path, surge, "may not be set when maxUnavailable is non-zero");
    else if (!has_most && !has_surge)
        rest_required(v, most_path, "cannot be 0 when maxSurge is 0");
}

void rest_validate_daemon_set(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *selector = get(spec, "selector");
    json *template = get(spec, "template");
    path p = AT(NULL, "spec"), at = AT(p, "template");
    if (writes_status(v)) {
        check_status(v, NULL);
        return;
    }
    check_frozen_selector(v);
    rest_check_label_selector(v, AT(p, "selector"), selector);
    if (selector_works(selector) &&
        !rest_selector_matches(selector, neap_json_at(template, "metadata.labels")))
        template_mismatch(v, at, neap_json_at(template, "metadata.labels"));
    empty_selector(v, AT(p, "selector"), selector, "daemonset");
    rest_check_pod_template(v, at, template);
    check_template_runs(v, at, template, "DaemonSet");
    rest_check_not_negative(v, AT(p, "minReadySeconds"), get(spec, "minReadySeconds"));
    check_daemon_strategy(v, AT(p, "updateStrategy"), get(spec, "updateStrategy"));
    rest_check_not_negative(v, AT(p, "revisionHistoryLimit"), get(spec, "revisionHistoryLimit"));
}

void rest_validate_controller_revision(struct rest_validation *v)
{
    json *data = get(v->root, "data");
    path p = AT(NULL, "data");
    rest_check_not_negative(v, AT(NULL, "revision"), get(v->root, "revision"));
    if (v->old_root)
        rest_check_immutable(v, p, data, get(v->old_root, "data"), NULL);
    else if (!data || yyjson_mut_is_null(data))
        rest_required(v, p, "data is mandatory");
    else if (!yyjson_mut_is_obj(data))
        rest_required(v, p, "data must be a valid JSON object");
}
