/* Webhooks and admission policies. Source: Kubernetes documentation, "Dynamic Admission Control",
 * "Validating Admission Policy". CEL expressions are not compiled: only what must be there is. */
#include "validate.h"

static bool wildcard(json *list)
{
    EACH(e, list)
    if (strcmp(string_of(e.item), "*") == 0)
        return true;
    return false;
}

/* Not empty, and '*' only alone. */
static void check_all_or_some(struct rest_validation *v, path p, json *list, const char *what)
{
    if (!size(list))
        rest_required(v, p, NO_WHY);
    if (size(list) > 1 && wildcard(list))
        rest_invalid(v, p, list, "if '*' is present, must not specify other %s", what);
}

static void check_subresource(struct rest_validation *v, path p, const char *s,
                              struct neap_map *resources, struct neap_map *subs)
{
    char resource[256];
    const char *slash = strchr(s, '/'), *sub = slash + 1;
    snprintf(resource, sizeof(resource), "%.*s", (int)(slash - s > 255 ? 255 : slash - s), s);
    if (neap_map_get(resources, resource))
        rest_invalid_string(v, p, s, "if '%s/*' is present, must not specify %s", resource, s);
    if (neap_map_get(subs, sub))
        rest_invalid_string(v, p, s, "if '*/%s' is present, must not specify %s", sub, s);
    if (strcmp(sub, "*") == 0)
        rest_set_add(resources, resource);
    if (strcmp(resource, "*") == 0)
        rest_set_add(subs, sub);
}

static void check_resources(struct rest_validation *v, path p, json *list)
{
    struct neap_map resources = NEAP_MAP_INIT, subs = NEAP_MAP_INIT;
    bool all = false, every = false, plain = false;
    if (!size(list))
        rest_required(v, p, NO_WHY);
    EACH(e, list)
    {
        const char *s = string_of(e.item);
        all = all || strcmp(s, "*/*") == 0;
        every = every || strcmp(s, "*") == 0;
        if (!*s)
            rest_required(v, ITEM(p, e.i), NO_WHY);
        else if (!strchr(s, '/'))
            plain = strcmp(s, "*") != 0;
        else
            check_subresource(v, ITEM(p, e.i), s, &resources, &subs);
    }
    if (size(list) > 1 && all)
        rest_invalid(v, p, list, "if '*/*' is present, must not specify other resources");
    if (every && plain)
        rest_invalid(v, p, list,
                     "if '*' is present, must not specify other resources without subresources");
    neap_map_done(&resources, NULL);
    neap_map_done(&subs, NULL);
}

static void check_rule(struct rest_validation *v, path p, json *rule)
{
    static const char *const operations[] = {"*", "CONNECT", "CREATE", "DELETE", "UPDATE", NULL};
    static const char *const rule_scopes[] = {"*", "Cluster", "Namespaced", NULL};
    path list = AT(p, "operations"), versions = AT(p, "apiVersions");
    check_all_or_some(v, list, get(rule, "operations"), "operations");
    EACH(e, get(rule, "operations"))
    rest_check_one_of(v, ITEM(list, e.i), string_of(e.item), false, operations);
    check_all_or_some(v, AT(p, "apiGroups"), get(rule, "apiGroups"), "API groups");
    check_all_or_some(v, versions, get(rule, "apiVersions"), "API versions");
    EACH(e, get(rule, "apiVersions"))
    if (!*string_of(e.item))
        rest_required(v, ITEM(versions, e.i), NO_WHY);
    check_resources(v, AT(p, "resources"), get(rule, "resources"));
    if (has(rule, "scope"))
        rest_check_one_of(v, AT(p, "scope"), text(rule, "scope"), false, rule_scopes);
}

/* ---- webhooks ---- */

#define URL_FORM "; desired format: https://host[/path]"

static void check_url(struct rest_validation *v, path p, const char *url)
{
    char scheme[32] = "", host[256];
    const char *rest = strstr(url, "://");
    if (rest && rest - url < (ptrdiff_t)sizeof(scheme))
        snprintf(scheme, sizeof(scheme), "%.*s", (int)(rest - url), url);
    rest = rest ? rest + 3 : "";
    size_t n = strcspn(rest, "/?#");
    snprintf(host, sizeof(host), "%.*s", (int)(n > 255 ? 255 : n), rest);
    const char *at = strrchr(host, '@'), *query = strchr(rest, '?'), *fragment = strchr(rest, '#');
    if (strcmp(scheme, "https"))
        rest_invalid_string(v, p, scheme, "'https' is the only allowed URL scheme" URL_FORM);
    if (!*(at ? at + 1 : host))
        rest_invalid_string(v, p, "", "host must be specified" URL_FORM);
    if (at) {
        host[at - host] = '\0';
        rest_invalid_string(v, p, host, "user information is not permitted in the URL");
    }
    if (fragment && fragment[1])
        rest_invalid_string(v, p, fragment + 1, "fragments are not permitted in the URL");
    if (query && query[1] && (!fragment || query < fragment)) {
        char *text_of = neap_strndup(query + 1, strcspn(query + 1, "#"));
        rest_invalid_string(v, p, text_of, "query parameters are not permitted in the URL");
        free(text_of);
    }
}

static void check_client(struct rest_validation *v, path p, json *config)
{
    json *service = get(config, "service");
    path at = AT(p, "service");
    if (has(config, "url") == (service != NULL)) {
        rest_required(v, p, "exactly one of url or service is required");
        return;
    }
    if (has(config, "url")) {
        check_url(v, AT(p, "url"), text(config, "url"));
        return;
    }
    if (!*text(service, "name"))
        rest_required(v, AT(at, "name"), NO_WHY);
    if (!*text(service, "namespace"))
        rest_required(v, AT(at, "namespace"), NO_WHY);
    if (number(service, "port") < 1 || number(service, "port") > 65535)
        rest_invalid_number(v, AT(at, "port"), number(service, "port"),
                            "port is not valid: must be between 1 and 65535, inclusive");
    if (has(service, "path") && *text(service, "path") != '/')
        rest_invalid(v, AT(at, "path"), get(service, "path"), "must start with a '/'");
}

static void check_hook_name(struct rest_validation *v, path p, const char *name)
{
    struct rest_problems found = {0};
    unsigned dots = 0;
    for (const char *s = name; *s; s++)
        dots += *s == '.';
    rest_words_dns_subdomain(&found, name);
    if (!*name)
        rest_required(v, p, NO_WHY);
    else if (found.count)
        rest_check_words_joined(v, p, name, rest_words_dns_subdomain, ",");
    else if (dots < 2)
        rest_invalid_string(v, p, name,
                            "should be a domain with at least three segments separated by dots");
}

static void check_versions(struct rest_validation *v, path p, json *versions)
{
    struct neap_map seen = NEAP_MAP_INIT;
    bool accepted = false;
    if (!size(versions)) {
        rest_required(v, p, "must specify one of v1, v1beta1");
        return;
    }
    EACH(e, versions)
    {
        const char *s = string_of(e.item);
        if (!rest_set_add(&seen, s)) {
            rest_invalid_string(v, ITEM(p, e.i), s, "duplicate version");
            continue;
        }
        rest_check_words(v, ITEM(p, e.i), s, rest_words_dns1035_label);
        accepted = accepted || strcmp(s, "v1") == 0 || strcmp(s, "v1beta1") == 0;
    }
    neap_map_done(&seen, NULL);
    if (!accepted)
        rest_invalid(v, p, versions, "must include at least one of v1, v1beta1");
}

static void check_conditions(struct rest_validation *v, path p, json *list)
{
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, list)
    {
        path at = ITEM(p, e.i);
        if (!*text(e.item, "expression"))
            rest_required(v, AT(at, "expression"), NO_WHY);
        if (!*text(e.item, "name"))
            rest_required(v, AT(at, "name"), NO_WHY);
        else
            rest_check_words(v, AT(at, "name"), text(e.item, "name"), rest_words_qualified_name);
        if (*text(e.item, "name") && !rest_set_add(&seen, text(e.item, "name")))
            rest_duplicate_string(v, AT(at, "name"), text(e.item, "name"));
    }
    neap_map_done(&seen, NULL);
}

static const char *const failure_policies[] = {"Fail", "Ignore", NULL};

static void check_hook(struct rest_validation *v, path p, json *hook)
{
    static const char *const match[] = {"Equivalent", "Exact", NULL};
    static const char *const effects[] = {"None", "NoneOnDryRun", NULL};
    json *timeout = get(hook, "timeoutSeconds");
    int64_t seconds = yyjson_mut_get_sint(timeout);
    path rules = AT(p, "rules");
    check_hook_name(v, AT(p, "name"), text(hook, "name"));
    EACH(e, get(hook, "rules"))
    check_rule(v, ITEM(rules, e.i), e.item);
    if (has(hook, "failurePolicy"))
        rest_check_one_of(v, AT(p, "failurePolicy"), text(hook, "failurePolicy"), false,
                          failure_policies);
    if (has(hook, "matchPolicy"))
        rest_check_one_of(v, AT(p, "matchPolicy"), text(hook, "matchPolicy"), false, match);
    if (!has(hook, "sideEffects"))
        rest_required(v, AT(p, "sideEffects"), "must specify one of None, NoneOnDryRun");
    else
        rest_check_one_of(v, AT(p, "sideEffects"), text(hook, "sideEffects"), false, effects);
    if (timeout && (seconds > 30 || seconds < 1))
        rest_invalid(v, AT(p, "timeoutSeconds"), timeout,
                     "the timeout value must be between 1 and 30 seconds");
    rest_check_label_selector(v, AT(p, "namespaceSelector"), get(hook, "namespaceSelector"));
    rest_check_label_selector(v, AT(p, "objectSelector"), get(hook, "objectSelector"));
    check_client(v, AT(p, "clientConfig"), get(hook, "clientConfig"));
    check_conditions(v, AT(p, "matchConditions"), get(hook, "matchConditions"));
    check_versions(v, AT(p, "admissionReviewVersions"), get(hook, "admissionReviewVersions"));
}

void rest_validate_webhooks(struct rest_validation *v)
{
    struct neap_map names = NEAP_MAP_INIT;
    path p = AT(NULL, "webhooks");
    EACH(e, get(v->root, "webhooks"))
    {
        path at = ITEM(p, e.i);
        check_hook(v, at, e.item);
        if (*text(e.item, "name") && !rest_set_add(&names, text(e.item, "name")))
            rest_duplicate_string(v, AT(at, "name"), text(e.item, "name"));
    }
    neap_map_done(&names, NULL);
}

/* ---- policies ---- */

static void check_match(struct rest_validation *v, path p, json *match)
{
    static const char *const lists[] = {"resourceRules", "excludeResourceRules"};
    rest_check_label_selector(v, AT(p, "namespaceSelector"), get(match, "namespaceSelector"));
    rest_check_label_selector(v, AT(p, "objectSelector"), get(match, "objectSelector"));
    for (int i = 0; i < 2; i++) {
        path list = AT(p, lists[i]);
        EACH(e, get(match, lists[i]))
        check_rule(v, ITEM(list, e.i), e.item);
    }
}

static void check_expressions(struct rest_validation *v, path p, json *spec)
{
    static const char why[] = "validations or auditAnnotations must contain at least one item";
    path validations = AT(p, "validations");
    if (!size(get(spec, "validations")) && !size(get(spec, "auditAnnotations"))) {
        rest_required(v, validations, "%s", why);
        rest_required(v, AT(p, "auditAnnotations"), "%s", why);
    }
    EACH(e, get(spec, "validations"))
    {
        const char *s = text(e.item, "expression");
        if (!s[strspn(s, " \t\n\r")])
            rest_required(v, AT(ITEM(validations, e.i), "expression"),
                          "expression is not specified");
    }
}

void rest_validate_admission_policy(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *match = get(spec, "matchConstraints");
    path p = AT(NULL, "spec"), at = AT(p, "matchConstraints");
    if (v->subresource)
        return;
    rest_check_one_of(v, AT(p, "failurePolicy"), text(spec, "failurePolicy"), true,
                      failure_policies);
    if (!match)
        rest_required(v, at, NO_WHY);
    else
        check_match(v, at, match);
    if (match && !size(get(match, "resourceRules")))
        rest_required(v, AT(at, "resourceRules"), NO_WHY);
    check_conditions(v, AT(p, "matchConditions"), get(spec, "matchConditions"));
    check_expressions(v, p, spec);
}

void rest_validate_admission_binding(struct rest_validation *v)
{
    static const char *const actions[] = {"Audit", "Deny", "Warn", NULL};
    json *spec = get(v->root, "spec"), *list = get(spec, "validationActions");
    path p = AT(NULL, "spec"), at = AT(p, "validationActions");
    struct neap_map seen = NEAP_MAP_INIT;
    if (*text(spec, "policyName"))
        rest_check_words(v, AT(p, "policyName"), text(spec, "policyName"),
                         rest_words_dns_subdomain);
    check_match(v, AT(p, "matchResources"), get(spec, "matchResources"));
    EACH(e, list)
    {
        rest_check_one_of(v, ITEM(at, e.i), string_of(e.item), false, actions);
        if (!rest_set_add(&seen, string_of(e.item)))
            rest_duplicate(v, ITEM(at, e.i), e.item);
    }
    if (neap_map_get(&seen, "Deny") && neap_map_get(&seen, "Warn"))
        rest_invalid(v, at, list,
                     "must not contain both Deny and Warn (repeating the same validation failure "
                     "information in the API response and headers serves no purpose)");
    neap_map_done(&seen, NULL);
}

void rest_validate_device_class(struct rest_validation *v)
{
    path p = AT(AT(NULL, "spec"), "selectors");
    EACH(e, neap_json_at(v->root, "spec.selectors"))
    if (!has(e.item, "cel"))
        rest_required(v, AT(ITEM(p, e.i), "cel"), NO_WHY);
}
