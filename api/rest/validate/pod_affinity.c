/* Where a pod may run: node selectors, affinity, tolerations, topology spread. */
#include "validate.h"

/* ---- node selectors ---- */

/* What the operator says of the number of values. */
static void check_node_operator(struct rest_validation *v, path p, json *r)
{
    size_t n = size(get(r, "values"));
    if (is(r, "operator", "In") || is(r, "operator", "NotIn")) {
        if (!n)
            rest_required(v, AT(p, "values"),
                          "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (is(r, "operator", "Exists") || is(r, "operator", "DoesNotExist")) {
        if (n)
            rest_forbidden(v, AT(p, "values"),
                           "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (is(r, "operator", "Gt") || is(r, "operator", "Lt")) {
        if (n != 1)
            rest_required(v, AT(p, "values"),
                          "must be specified single value when `operator` is 'Lt' or 'Gt'");
    } else {
        rest_invalid_string(v, AT(p, "operator"), text(r, "operator"),
                            "not a valid selector operator");
    }
}

static void check_expression(struct rest_validation *v, path p, json *r, bool values)
{
    path at = AT(p, "values");
    check_node_operator(v, p, r);
    rest_check_words(v, AT(p, "key"), text(r, "key"), rest_words_qualified_name);
    EACH(e, values ? get(r, "values") : NULL)
    rest_check_words(v, ITEM(at, e.i), string_of(e.item), rest_words_label_value);
}

static void check_field(struct rest_validation *v, path p, json *r)
{
    path at = AT(p, "values");
    if (!is(r, "operator", "In") && !is(r, "operator", "NotIn"))
        rest_invalid_string(v, AT(p, "operator"), text(r, "operator"),
                            "not a valid selector operator");
    else if (size(get(r, "values")) != 1)
        rest_required(
            v, at,
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
    if (!is(r, "key", "metadata.name")) {
        rest_invalid_string(v, AT(p, "key"), text(r, "key"), "not a valid field selector key");
        return;
    }
    EACH(e, get(r, "values"))
    rest_check_words(v, ITEM(at, e.i), string_of(e.item), rest_words_dns_subdomain);
}

/* <values>: the values have to be good labels, too. */
static void check_term(struct rest_validation *v, path p, json *term, bool values)
{
    path expressions = AT(p, "matchExpressions"), fields = AT(p, "matchFields");
    EACH(e, get(term, "matchExpressions"))
    check_expression(v, ITEM(expressions, e.i), e.item, values);
    EACH(e, get(term, "matchFields"))
    check_field(v, ITEM(fields, e.i), e.item);
}

void rest_check_node_selector(struct rest_validation *v, path p, json *selector)
{
    path terms = AT(p, "nodeSelectorTerms");
    if (!size(get(selector, "nodeSelectorTerms")))
        rest_required(v, terms, "must have at least one node selector term");
    EACH(e, get(selector, "nodeSelectorTerms"))
    check_term(v, ITEM(terms, e.i), e.item, true);
}

/* ---- affinity ---- */

static const char REQUIRED[] = "requiredDuringSchedulingIgnoredDuringExecution";
static const char PREFERRED[] = "preferredDuringSchedulingIgnoredDuringExecution";

static void check_weight(struct rest_validation *v, path p, json *o)
{
    if (number(o, "weight") <= 0 || number(o, "weight") > 100)
        rest_invalid_number(v, AT(p, "weight"), number(o, "weight"), "must be in the range 1-100");
}

static void check_label_keys(struct rest_validation *v, path p, json *keys, json *selector)
{
    if (size(keys) && !selector) {
        rest_forbidden(v, p, "must not be specified when labelSelector is not set");
        return;
    }
    EACH(e, keys)
    rest_check_words(v, ITEM(p, e.i), string_of(e.item), rest_words_qualified_name);
}

/* Keys that the selector fixes already. */
static void check_keys_twice(struct rest_validation *v, path p, json *keys, json *selector)
{
    struct neap_map in_keys = NEAP_MAP_INIT, in_selector = NEAP_MAP_INIT;
    EACH(e, keys) /* the index + 1 as a pointer */
    neap_map_set(&in_keys, string_of(e.item), (void *)(uintptr_t)(e.i + 1));
    EACH(e, get(selector, "matchLabels"))
    rest_set_add(&in_selector, e.key);
    EACH(e, get(selector, "matchExpressions"))
    {
        const char *key = text(e.item, "key");
        uintptr_t at = (uintptr_t)neap_map_get(&in_keys, key);
        if (at && neap_map_get(&in_selector, key))
            rest_invalid_string(v, ITEM(p, at - 1), key,
                                "exists in both matchLabelKeys and labelSelector");
        rest_set_add(&in_selector, key);
    }
    neap_map_done(&in_keys, NULL);
    neap_map_done(&in_selector, NULL);
}

static void check_match_keys(struct rest_validation *v, path p, json *o, bool mismatch)
{
    json *keys = get(o, "matchLabelKeys"), *selector = get(o, "labelSelector");
    json *others = mismatch ? get(o, "mismatchLabelKeys") : NULL;
    struct neap_map set = NEAP_MAP_INIT;
    path at = AT(p, "matchLabelKeys");
    check_label_keys(v, at, keys, selector);
    check_label_keys(v, AT(p, "mismatchLabelKeys"), others, selector);
    check_keys_twice(v, p, keys, selector);
    EACH(e, others)
    rest_set_add(&set, string_of(e.item));
    EACH(e, keys)
    if (neap_map_get(&set, string_of(e.item)))
        rest_invalid(v, ITEM(at, e.i), e.item,
                     "exists in both matchLabelKeys and mismatchLabelKeys");
    neap_map_done(&set, NULL);
}

static void check_pod_term(struct rest_validation *v, path p, json *term)
{
    rest_check_label_selector(v, AT(p, "labelSelector"), get(term, "labelSelector"));
    rest_check_label_selector(v, AT(p, "namespaceSelector"), get(term, "namespaceSelector"));
    EACH(e, get(term, "namespaces"))
    rest_check_words(v, AT(p, "namespace"), string_of(e.item), rest_words_dns_label);
    check_match_keys(v, p, term, true);
    if (!*text(term, "topologyKey"))
        rest_required(v, AT(p, "topologyKey"), "can not be empty");
    rest_check_words(v, AT(p, "topologyKey"), text(term, "topologyKey"), rest_words_qualified_name);
}

static void check_pod_affinity(struct rest_validation *v, path p, json *affinity)
{
    path required = AT(p, REQUIRED), preferred = AT(p, PREFERRED);
    EACH(e, get(affinity, REQUIRED))
    check_pod_term(v, ITEM(required, e.i), e.item);
    EACH(e, get(affinity, PREFERRED))
    {
        path at = ITEM(preferred, e.i);
        check_weight(v, at, e.item);
        check_pod_term(v, AT(at, "podAffinityTerm"), get(e.item, "podAffinityTerm"));
    }
}

void rest_check_affinity(struct rest_validation *v, path p, json *affinity)
{
    json *node = get(affinity, "nodeAffinity");
    path node_path = AT(p, "nodeAffinity"), preferred = AT(node_path, PREFERRED);
    if (has(node, REQUIRED))
        rest_check_node_selector(v, AT(node_path, REQUIRED), get(node, REQUIRED));
    EACH(e, get(node, PREFERRED))
    {
        path at = ITEM(preferred, e.i);
        check_weight(v, at, e.item);
        check_term(v, AT(at, "preference"), get(e.item, "preference"), false);
    }
    check_pod_affinity(v, AT(p, "podAffinity"), get(affinity, "podAffinity"));
    check_pod_affinity(v, AT(p, "podAntiAffinity"), get(affinity, "podAntiAffinity"));
}

/* ---- tolerations ---- */

static void check_toleration(struct rest_validation *v, path p, json *t)
{
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    static const char *const operators[] = {"Equal", "Exists", NULL};
    static const char *const all_operators[] = {"Equal", "Exists", "Lt", "Gt", NULL};
    const char *key = text(t, "key"), *operator= text(t, "operator");
    if (*key)
        rest_check_words(v, AT(p, "key"), key, rest_words_qualified_name);
    else if (strcmp(operator, "Exists"))
        rest_invalid_string(v, AT(p, "operator"), operator,
                            "operator must be Exists when `key` is empty, which means \"match all "
                            "values and all keys\"");
    if (has(t, "tolerationSeconds") && !is(t, "effect", "NoExecute"))
        rest_invalid_string(v, AT(p, "effect"), text(t, "effect"),
                            "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (!*operator|| strcmp(operator, "Equal") == 0)
        rest_check_words_joined(v, AT(p, "operator"), text(t, "value"), rest_words_label_value,
                                ";");
    else if (strcmp(operator, "Exists"))
        rest_unsupported(v, AT(p, "operator"), operator,
                         rest_one_of(operator, all_operators) ? all_operators : operators);
    else if (*text(t, "value"))
        rest_invalid_string(v, AT(p, "operator"), text(t, "value"),
                            "value must be empty when `operator` is 'Exists'");
    if (*text(t, "effect"))
        rest_check_one_of(v, AT(p, "effect"), text(t, "effect"), false, effects);
}

void rest_check_tolerations(struct rest_validation *v, path p, json *list)
{
    EACH(e, list)
    check_toleration(v, ITEM(p, e.i), e.item);
}

/* ---- topology spread ---- */

static void check_min_domains(struct rest_validation *v, path p, json *c)
{
    json *n = get(c, "minDomains");
    if (!n)
        return;
    rest_check_positive(v, p, n);
    if (!is(c, "whenUnsatisfiable", "DoNotSchedule"))
        rest_invalid(v, p, n, "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not %s",
                     text(c, "whenUnsatisfiable"));
}

static void check_constraint(struct rest_validation *v, path p, json *c, bool again)
{
    static const char *const actions[] = {"DoNotSchedule", "ScheduleAnyway", NULL};
    static const char *const policies[] = {"Honor", "Ignore", NULL};
    static const char *const fields[] = {"nodeAffinityPolicy", "nodeTaintsPolicy"};
    rest_check_positive(v, AT(p, "maxSkew"), get(c, "maxSkew"));
    if (!*text(c, "topologyKey"))
        rest_required(v, AT(p, "topologyKey"), "can not be empty");
    rest_check_one_of(v, AT(p, "whenUnsatisfiable"), text(c, "whenUnsatisfiable"), false, actions);
    if (again) {
        char *pair =
            neap_asprintf("{%s, %s}", text(c, "topologyKey"), text(c, "whenUnsatisfiable"));
        rest_duplicate_string(v, AT(p, "{topologyKey, whenUnsatisfiable}"), pair);
        free(pair);
    }
    check_min_domains(v, AT(p, "minDomains"), c);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++)
        if (has(c, fields[i]))
            rest_check_one_of(v, AT(p, fields[i]), text(c, fields[i]), false, policies);
    check_match_keys(v, p, c, false);
    rest_check_label_selector(v, AT(p, "labelSelector"), get(c, "labelSelector"));
}

/* A constraint is told as a duplicate when one after it has its pair: so counted from the end. */
void rest_check_topology_spread(struct rest_validation *v, path p, json *list)
{
    struct neap_map left = NEAP_MAP_INIT;
    EACH(e, list)
    { /* how often each pair comes: the count as a pointer */
        char *pair =
            neap_asprintf("%s %s", text(e.item, "topologyKey"), text(e.item, "whenUnsatisfiable"));
        uintptr_t n = (uintptr_t)neap_map_get(&left, pair);
        neap_map_set(&left, pair, (void *)(n + 1));
        free(pair);
    }
    EACH(e, list)
    {
        char *pair =
            neap_asprintf("%s %s", text(e.item, "topologyKey"), text(e.item, "whenUnsatisfiable"));
        uintptr_t n = (uintptr_t)neap_map_get(&left, pair);
        if (n > 1)
            neap_map_set(&left, pair, (void *)(n - 1));
        check_constraint(v, ITEM(p, e.i), e.item, n > 1);
        free(pair);
    }
    neap_map_done(&left, NULL);
}
