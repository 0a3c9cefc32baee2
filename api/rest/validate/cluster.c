/* What an administrator keeps: nodes, namespaces, quotas, limit ranges, classes, leases, budgets.
 * Source: Kubernetes documentation of each kind. */
#include "shapes.h"

/* ---- nodes ---- */

static void check_taints(struct rest_validation *v, path p, json *taints)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, taints)
    {
        path at = ITEM(p, e.i);
        rest_check_words(v, AT(at, "key"), text(e.item, "key"), rest_words_qualified_name);
        rest_check_words_joined(v, AT(at, "value"), text(e.item, "value"), rest_words_label_value,
                                ";");
        rest_check_one_of(v, AT(at, "effect"), text(e.item, "effect"), true, effects);
        char *key = neap_asprintf("%s %s", text(e.item, "effect"), text(e.item, "key"));
        if (!rest_set_add(&seen, key)) {
            struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
            neap_buf_str(&b, "{\"Key\":");
            rest_quote(&b, text(e.item, "key"), strlen(text(e.item, "key")));
            neap_buf_str(&b, ",\"Value\":");
            rest_quote(&b, text(e.item, "value"), strlen(text(e.item, "value")));
            neap_buf_str(&b, ",\"Effect\":");
            rest_quote(&b, text(e.item, "effect"), strlen(text(e.item, "effect")));
            neap_buf_str(&b, ",\"TimeAdded\":null}: taints must be unique by key and effect pair");
            rest_duplicate_shown(v, at, b.data);
        }
        free(key);
    }
    neap_map_done(&seen, NULL);
}

static void check_quantities(struct rest_validation *v, const char *field)
{
    path p = AT(AT(NULL, "status"), field);
    EACH(e, get(get(v->root, "status"), field))
    rest_check_resource_quantity(v, AT(p, e.key), e.key, e.item);
}

static void check_pod_ranges(struct rest_validation *v, path p, json *ranges)
{
    bool v6[2] = {false, false}, good = true;
    EACH(e, ranges)
    {
        good = rest_check_cidr(v, ITEM(p, e.i), string_of(e.item)) && good;
        if (e.i < 2)
            v6[e.i] = strchr(string_of(e.item), ':') != NULL;
    }
    if (good && size(ranges) > 1 && (size(ranges) > 2 || v6[0] == v6[1]))
        rest_invalid(v, p, ranges, "may specify no more than one CIDR for each IP family");
}

static void check_node_update(struct rest_validation *v)
{
    json *now = get(v->root, "spec"), *old = get(v->old_root, "spec");
    path p = AT(NULL, "spec"), addresses = AT(AT(NULL, "status"), "addresses");
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, neap_json_at(v->root, "status.addresses"))
    {
        char *key = neap_asprintf("%s %s", text(e.item, "type"), text(e.item, "address"));
        if (!rest_set_add(&seen, key)) {
            struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
            neap_buf_str(&b, "{\"Type\":");
            rest_quote(&b, text(e.item, "type"), strlen(text(e.item, "type")));
            neap_buf_str(&b, ",\"Address\":");
            rest_quote(&b, text(e.item, "address"), strlen(text(e.item, "address")));
            neap_buf_char(&b, '}');
            rest_duplicate_shown(v, ITEM(addresses, e.i), b.data);
        }
        free(key);
    }
    neap_map_done(&seen, NULL);
    if (size(get(old, "podCIDRs")) && !rest_same(get(now, "podCIDRs"), get(old, "podCIDRs")))
        rest_forbidden(v, AT(p, "podCIDRs"),
                       "node updates may not change podCIDR except from \"\" to valid");
    if (*string_of(get(old, "providerID")) &&
        !rest_same(get(now, "providerID"), get(old, "providerID")))
        rest_forbidden(v, AT(p, "providerID"),
                       "node updates may not change providerID except from \"\" to valid");
}

void rest_validate_node(struct rest_validation *v)
{
    json *spec = get(v->root, "spec");
    if (!v->old_root)
        check_taints(v, AT(AT(NULL, "metadata"), "taints"), get(spec, "taints"));
    check_quantities(v, "capacity");
    check_quantities(v, "allocatable");
    if (!v->old_root) {
        check_pod_ranges(v, AT(AT(NULL, "spec"), "podCIDRs"), get(spec, "podCIDRs"));
        return;
    }
    check_node_update(v);
    check_taints(v, AT(AT(NULL, "metadata"), "taints"), get(spec, "taints"));
}

/* ---- namespaces ---- */

static void check_namespace_finalizer(struct rest_validation *v, path p, const char *s)
{
    static const char *const known[] = {"orphan", "foregroundDeletion", "kubernetes", NULL};
    rest_check_words(v, p, s, rest_words_qualified_name);
    if (!strchr(s, '/') && !rest_one_of(s, known))
        rest_invalid_string(v, p, s,
                            "name is neither a standard finalizer name nor is it fully qualified");
}

void rest_validate_namespace(struct rest_validation *v)
{
    path p = AT(AT(NULL, "spec"), "finalizers");
    const char *sub = v->subresource ? v->subresource->name : "";
    bool deleting = neap_json_at(v->root, "metadata.deletionTimestamp") != NULL;
    const char *phase = string_of(neap_json_at(v->root, "status.phase"));
    if (!v->old_root || strcmp(sub, "finalize") == 0)
        EACH(e, neap_json_at(v->root, "spec.finalizers"))
    check_namespace_finalizer(v, v->old_root ? ITEM(p, e.i) : p, string_of(e.item));
    if (strcmp(sub, "status"))
        return;
    if (strcmp(phase, deleting ? "Terminating" : "Active"))
        rest_invalid_string(v, AT(AT(NULL, "status"), "Phase"), phase,
                            deleting
                                ? "may only be 'Terminating' if `deletionTimestamp` is not empty"
                                : "may only be 'Active' if `deletionTimestamp` is empty");
}

/* ---- quotas ---- */

static const char *const scopes[] = {"Terminating",
                                     "NotTerminating",
                                     "BestEffort",
                                     "NotBestEffort",
                                     "PriorityClass",
                                     "CrossNamespacePodAffinity",
                                     "VolumeAttributesClass",
                                     NULL};

/* May this scope narrow a quota of that resource? */
static bool scope_fits(const char *scope, const char *resource)
{
    static const char *const compute[] = {"cpu",
                                          "memory",
                                          "ephemeral-storage",
                                          "requests.cpu",
                                          "requests.memory",
                                          "requests.ephemeral-storage",
                                          "limits.cpu",
                                          "limits.memory",
                                          "limits.ephemeral-storage",
                                          "pods",
                                          NULL};
    static const char *const claims[] = {"persistentvolumeclaims", "requests.storage", NULL};
    if (strcmp(scope, "BestEffort") == 0)
        return strcmp(resource, "pods") == 0;
    if (strcmp(scope, "VolumeAttributesClass") == 0)
        return rest_one_of(resource, claims);
    return !rest_one_of(scope, scopes) || rest_one_of(resource, compute);
}

static void check_hard(struct rest_validation *v, path p, json *hard)
{
    EACH(e, hard)
    {
        rest_check_quota_resource_name(v, KEY(p, e.key), e.key);
        rest_check_resource_quantity(v, KEY(p, e.key), e.key, e.item);
    }
}

static void check_misfits(struct rest_validation *v, path p, json *shown, const char *scope,
                          json *hard)
{
    EACH(e, hard)
    if (rest_quota_resource_standard(e.key) && !scope_fits(scope, e.key))
        rest_invalid(v, p, shown, "unsupported scope applied to resource");
}

static void check_conflicts(struct rest_validation *v, path p, json *shown, struct neap_map *set)
{
    static const char *const pairs[][2] = {{"BestEffort", "NotBestEffort"},
                                           {"Terminating", "NotTerminating"}};
    for (int i = 0; i < 2; i++)
        if (neap_map_get(set, pairs[i][0]) && neap_map_get(set, pairs[i][1]))
            rest_invalid(v, p, shown, "conflicting scopes");
}

static void check_scopes(struct rest_validation *v, path p, json *spec)
{
    json *list = get(spec, "scopes");
    struct neap_map set = NEAP_MAP_INIT;
    EACH(e, list)
    {
        if (!rest_one_of(string_of(e.item), scopes))
            rest_invalid(v, p, list, "unsupported scope");
        check_misfits(v, p, list, string_of(e.item), get(spec, "hard"));
        rest_set_add(&set, string_of(e.item));
    }
    check_conflicts(v, p, list, &set);
    neap_map_done(&set, NULL);
}

static void check_scope_operator(struct rest_validation *v, path p, json *r)
{
    static const char *const exists_only[] = {
        "BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity",
        NULL};
    size_t n = size(get(r, "values"));
    bool exists = is(r, "operator", "Exists"), absent = is(r, "operator", "DoesNotExist");
    if (rest_one_of(text(r, "scopeName"), exists_only) && !exists)
        rest_invalid_string(v, AT(p, "operator"), text(r, "operator"),
                            "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                            "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                            "ResourceQuotaScopeNotBestEffort or "
                            "ResourceQuotaScopeCrossNamespacePodAffinity");
    if (is(r, "operator", "In") || is(r, "operator", "NotIn")) {
        if (!n)
            rest_required(v, AT(p, "values"),
                          "must be at least one value when `operator` is 'In' or 'NotIn' for scope "
                          "selector");
    } else if (!exists && !absent) {
        rest_invalid_string(v, AT(p, "operator"), text(r, "operator"),
                            "not a valid selector operator");
    } else if (n) {
        rest_invalid(v, AT(p, "values"), get(r, "values"),
                     "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope "
                     "selector");
    }
}

static void check_scope_selector(struct rest_validation *v, path p, json *spec)
{
    json *selector = get(spec, "scopeSelector");
    struct neap_map set = NEAP_MAP_INIT;
    EACH(e, get(selector, "matchExpressions"))
    {
        const char *scope = text(e.item, "scopeName");
        if (!rest_one_of(scope, scopes))
            rest_invalid_string(v, AT(p, "scopeName"), scope, "unsupported scope");
        check_misfits(v, p, selector, scope, get(spec, "hard"));
        check_scope_operator(v, p, e.item);
        rest_set_add(&set, scope);
    }
    check_conflicts(v, p, get(spec, "scopes"), &set);
    neap_map_done(&set, NULL);
}

void rest_validate_resource_quota(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *status = get(v->root, "status");
    path p = AT(NULL, "spec"), at = AT(NULL, "status");
    if (v->subresource) {
        check_hard(v, AT(at, "hard"), get(status, "hard"));
        check_hard(v, AT(at, "used"), get(status, "used"));
        return;
    }
    check_hard(v, AT(p, "hard"), get(spec, "hard"));
    check_scopes(v, AT(p, "scopes"), spec);
    check_scope_selector(v, AT(AT(p, "scopeSelector"), "matchExpressions"), spec);
    if (v->old_root)
        rest_check_immutable(v, AT(p, "scopes"), get(spec, "scopes"),
                             neap_json_at(v->old_root, "spec.scopes"), NULL);
}

/* ---- limit ranges ---- */

struct limits {
    json *min, *max, *dflt, *request, *ratio;
};

static int compare(json *a, json *b)
{
    return a && b ? rest_quantity_compare(a, b) : 0;
}

static double amount(json *q)
{
    int64_t n = 0;
    neap_quantity_milli(string_of(q), yyjson_mut_get_len(q), &n);
    return (double)n;
}

static void check_ratio(struct rest_validation *v, path p, const struct limits *l)
{
    double ratio = amount(l->ratio) / 1000;
    if (!l->ratio)
        return;
    if (ratio < 1)
        rest_invalid(v, p, l->ratio, "ratio %s is less than 1", string_of(l->ratio));
    if (l->min && l->max && amount(l->min) > 0 && ratio > amount(l->max) / amount(l->min))
        rest_invalid(v, p, l->ratio, "ratio %s is greater than max/min = %f", string_of(l->ratio),
                     amount(l->max) / amount(l->min));
}

/* One resource of one limit. <p>: the limit. */
static void check_limits(struct rest_validation *v, path p, const char *name,
                         const struct limits *l)
{
    const char *min = string_of(l->min), *max = string_of(l->max), *dflt = string_of(l->dflt);
    const char *request = string_of(l->request);
    path request_path = KEY(AT(p, "defaultRequest"), name), dflt_path = KEY(AT(p, "default"), name);
    if (compare(l->min, l->max) > 0)
        rest_invalid(v, KEY(AT(p, "min"), name), l->min,
                     "min value %s is greater than max value %s", min, max);
    if (compare(l->min, l->request) > 0)
        rest_invalid(v, request_path, l->request,
                     "min value %s is greater than default request value %s", min, request);
    if (compare(l->request, l->max) > 0)
        rest_invalid(v, request_path, l->request,
                     "default request value %s is greater than max value %s", request, max);
    if (compare(l->request, l->dflt) > 0)
        rest_invalid(v, request_path, l->request,
                     "default request value %s is greater than default limit value %s", request,
                     dflt);
    if (compare(l->min, l->dflt) > 0)
        rest_invalid(v, dflt_path, l->min, "min value %s is greater than default value %s", min,
                     dflt);
    if (compare(l->dflt, l->max) > 0)
        rest_invalid(v, dflt_path, l->max, "default value %s is greater than max value %s", dflt,
                     max);
    check_ratio(v, KEY(AT(p, "maxLimitRequestRatio"), name), l);
    if (!rest_overcommit_allowed(name) && compare(l->dflt, l->request))
        rest_invalid(v, request_path, l->request,
                     "default value %s must equal to defaultRequest value %s in %s", dflt, request,
                     name);
}

static void check_limit_names(struct rest_validation *v, path p, json *limit, const char *field,
                              struct neap_map *names)
{
    path at = AT(p, field);
    bool container = is(limit, "type", "Pod") || is(limit, "type", "Container");
    EACH(e, get(limit, field))
    {
        if (container)
            rest_check_container_resource_name(v, KEY(at, e.key), e.key);
        else
            rest_check_resource_name(v, KEY(at, e.key), e.key);
        rest_set_add(names, e.key);
    }
}

static void check_limit_type(struct rest_validation *v, path p, const char *type,
                             struct neap_map *types)
{
    static const char *const known[] = {"Pod", "Container", "PersistentVolumeClaim", NULL};
    struct rest_problems found = {0};
    rest_words_qualified_name(&found, type);
    for (unsigned i = 0; i < found.count; i++)
        rest_invalid_string(v, p, type, "%s", found.list[i]);
    if (!found.count && !strchr(type, '/') && !rest_one_of(type, known))
        rest_invalid_string(v, p, type, "must be a standard limit type or fully qualified");
    if (!rest_set_add(types, type))
        rest_duplicate_string(v, p, type);
}

static void check_limit(struct rest_validation *v, path p, json *limit)
{
    static const char *const defaults[] = {"default", "defaultRequest"};
    struct neap_map names = NEAP_MAP_INIT;
    bool pod = is(limit, "type", "Pod");
    check_limit_names(v, p, limit, "max", &names);
    check_limit_names(v, p, limit, "min", &names);
    for (int i = 0; i < 2; i++) {
        if (pod && size(get(limit, defaults[i])))
            rest_forbidden(v, AT(p, defaults[i]), "may not be specified when `type` is 'Pod'");
        else if (!pod)
            check_limit_names(v, p, limit, defaults[i], &names);
    }
    if (is(limit, "type", "PersistentVolumeClaim") && !has(get(limit, "min"), "storage") &&
        !has(get(limit, "max"), "storage"))
        rest_required(v, AT(p, "limits"),
                      "either minimum or maximum storage value is required, but neither was "
                      "provided");
    check_limit_names(v, p, limit, "maxLimitRequestRatio", &names);
    const char *name;
    void *value;
    for (size_t it = 0; neap_map_next(&names, &it, &name, &value);) {
        struct limits l = {get(get(limit, "min"), name), get(get(limit, "max"), name),
                           pod ? NULL : get(get(limit, "default"), name),
                           pod ? NULL : get(get(limit, "defaultRequest"), name),
                           get(get(limit, "maxLimitRequestRatio"), name)};
        check_limits(v, p, name, &l);
    }
    neap_map_done(&names, NULL);
}

void rest_validate_limit_range(struct rest_validation *v)
{
    struct neap_map types = NEAP_MAP_INIT;
    path p = AT(AT(NULL, "spec"), "limits");
    EACH(e, neap_json_at(v->root, "spec.limits"))
    {
        check_limit_type(v, AT(ITEM(p, e.i), "type"), text(e.item, "type"), &types);
        check_limit(v, ITEM(p, e.i), e.item);
    }
    neap_map_done(&types, NULL);
}

/* ---- classes, leases, budgets ---- */

enum { USER_PRIORITY_MAX = 1000000000 };

void rest_validate_priority_class(struct rest_validation *v)
{
    static const char *const policies[] = {"PreemptLowerPriority", "Never", NULL};
    static const char *const known[] = {"system-node-critical", "system-cluster-critical", NULL};
    const char *name = text(get(v->root, "metadata"), "name");
    path p = AT(NULL, "value");
    if (v->old_root) {
        if (number(v->root, "value") != number(v->old_root, "value"))
            rest_forbidden(v, p, "may not be changed in an update.");
        rest_check_immutable(v, AT(NULL, "preemptionPolicy"), get(v->root, "preemptionPolicy"),
                             get(v->old_root, "preemptionPolicy"), NULL);
        return;
    }
    if (strncmp(name, "system-", 7) == 0 && !rest_one_of(name, known))
        rest_forbidden(v, AT(AT(NULL, "metadata"), "name"),
                       "priority class names with 'system-' prefix are reserved for system use "
                       "only. error: %s is not a known system priority class",
                       name);
    else if (strncmp(name, "system-", 7) && number(v->root, "value") > USER_PRIORITY_MAX)
        rest_forbidden(v, p, "maximum allowed value of a user defined priority is %d",
                       USER_PRIORITY_MAX);
    if (has(v->root, "preemptionPolicy"))
        rest_check_one_of(v, AT(NULL, "preemptionPolicy"), text(v->root, "preemptionPolicy"), true,
                          policies);
}

void rest_validate_lease(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *seconds = get(spec, "leaseDurationSeconds");
    path p = AT(NULL, "spec");
    if (seconds && yyjson_mut_get_sint(seconds) <= 0)
        rest_invalid(v, AT(p, "leaseDurationSeconds"), seconds, "must be greater than 0");
    rest_check_not_negative(v, AT(p, "leaseTransitions"), get(spec, "leaseTransitions"));
    if (*text(spec, "preferredHolder") && !*text(spec, "strategy"))
        rest_forbidden(v, AT(p, "preferredHolder"),
                       "may only be specified if `strategy` is defined");
}

void rest_validate_runtime_class(struct rest_validation *v)
{
    json *scheduling = get(v->root, "scheduling");
    path p = AT(NULL, "scheduling"), list = AT(p, "tolerations");
    path fixed = AT(AT(NULL, "overhead"), "limits");
    struct neap_map seen = NEAP_MAP_INIT;
    if (!v->old_root && *text(v->root, "handler"))
        rest_check_words(v, AT(NULL, "handler"), text(v->root, "handler"), rest_words_dns_label);
    EACH(e, neap_json_at(v->root, "overhead.podFixed"))
    {
        rest_check_container_resource_name(v, KEY(fixed, e.key), e.key);
        rest_check_resource_quantity(v, KEY(fixed, e.key), e.key, e.item);
    }
    rest_check_labels(v, AT(p, "nodeSelector"), get(scheduling, "nodeSelector"));
    rest_check_tolerations(v, list, get(scheduling, "tolerations"));
    EACH(e, get(scheduling, "tolerations"))
    {
        char *key = neap_asprintf("%s|%s|%s|%s", text(e.item, "key"), text(e.item, "operator"),
                                  text(e.item, "value"), text(e.item, "effect"));
        if (!rest_set_add(&seen, key)) {
            struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
            rest_show_go(&b, e.item, "Toleration", false);
            rest_duplicate_shown(v, ITEM(list, e.i), b.data);
        }
        free(key);
    }
    neap_map_done(&seen, NULL);
}

void rest_validate_disruption_budget(struct rest_validation *v)
{
    static const char *const policies[] = {"AlwaysAllow", "IfHealthyBudget", NULL};
    static const char *const fields[] = {"minAvailable", "maxUnavailable"};
    static const char *const numbers[] = {"disruptionsAllowed", "currentHealthy", "desiredHealthy",
                                          "expectedPods", NULL};
    json *spec = get(v->root, "spec");
    path p = AT(NULL, "spec");
    if (v->subresource) {
        rest_check_not_negative_fields(v, AT(NULL, "status"), get(v->root, "status"), numbers);
        return;
    }
    if (has(spec, fields[0]) && has(spec, fields[1]))
        rest_invalid_go(v, p, spec, "PodDisruptionBudgetSpec",
                        "minAvailable and maxUnavailable cannot be both set");
    for (int i = 0; i < 2; i++) {
        rest_check_int_or_percent(v, AT(p, fields[i]), get(spec, fields[i]));
        rest_check_at_most_100_percent(v, AT(p, fields[i]), get(spec, fields[i]));
    }
    rest_check_label_selector(v, AT(p, "selector"), get(spec, "selector"));
    if (has(spec, "unhealthyPodEvictionPolicy"))
        rest_check_one_of(v, AT(p, "unhealthyPodEvictionPolicy"),
                          text(spec, "unhealthyPodEvictionPolicy"), false, policies);
}
