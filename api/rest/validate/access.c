/* Roles and their bindings. Source: Kubernetes documentation, "Using RBAC Authorization". */
#include "validate.h"

#define GROUP "rbac.authorization.k8s.io"

static void check_rule(struct rest_validation *v, path p, json *rule, bool namespaced)
{
    json *urls = get(rule, "nonResourceURLs");
    static const char *const resources[] = {"apiGroups", "resources", "resourceNames"};
    if (size(urls)) {
        bool both = false;
        for (size_t i = 0; i < NEAP_ARRAY_LEN(resources); i++)
            both = both || size(get(rule, resources[i]));
        if (namespaced)
            rest_invalid(v, AT(p, "nonResourceURLs"), urls,
                         "namespaced rules cannot apply to non-resource URLs");
        if (both)
            rest_invalid(v, AT(p, "nonResourceURLs"), urls,
                         "rules cannot apply to both regular resources and non-resource URLs");
        return;
    }
    if (!size(get(rule, "apiGroups")))
        rest_required(v, AT(p, "apiGroups"), "resource rules must supply at least one api group");
    if (!size(get(rule, "resources")))
        rest_required(v, AT(p, "resources"), "resource rules must supply at least one resource");
}

static void check_rules(struct rest_validation *v, bool namespaced)
{
    path p = AT(NULL, "rules");
    EACH(e, get(v->root, "rules"))
    check_rule(v, ITEM(p, e.i), e.item, namespaced);
}

void rest_validate_role(struct rest_validation *v)
{
    check_rules(v, true);
}

void rest_validate_cluster_role(struct rest_validation *v)
{
    json *aggregation = get(v->root, "aggregationRule");
    path p = AT(AT(NULL, "aggregationRule"), "clusterRoleSelectors");
    check_rules(v, false);
    if (aggregation && !size(get(aggregation, "clusterRoleSelectors")))
        rest_required(v, p,
                      "at least one clusterRoleSelector required if aggregationRule is non-nil");
    EACH(e, get(aggregation, "clusterRoleSelectors"))
    rest_check_label_selector(v, ITEM(p, e.i), e.item);
}

static void check_subject(struct rest_validation *v, path p, json *s, bool namespaced)
{
    static const char *const kinds[] = {"ServiceAccount", "User", "Group", NULL};
    static const char *const group[] = {GROUP, NULL}, *const none[] = {"", NULL};
    if (is(s, "kind", "ServiceAccount")) {
        if (*text(s, "name"))
            rest_check_words(v, AT(p, "name"), text(s, "name"), rest_words_dns_subdomain);
        if (*text(s, "apiGroup"))
            rest_unsupported(v, AT(p, "apiGroup"), text(s, "apiGroup"), none);
        if (!namespaced && !*text(s, "namespace"))
            rest_required(v, AT(p, "namespace"), NO_WHY);
    } else if (rest_check_one_of(v, AT(p, "kind"), text(s, "kind"), false, kinds)) {
        rest_check_one_of(v, AT(p, "apiGroup"), text(s, "apiGroup"), false, group);
    }
}

static void check_binding(struct rest_validation *v, const char *const *kinds, bool namespaced)
{
    static const char *const group[] = {GROUP, NULL};
    json *ref = get(v->root, "roleRef");
    path p = AT(NULL, "roleRef"), subjects = AT(NULL, "subjects");
    rest_check_one_of(v, AT(p, "apiGroup"), text(ref, "apiGroup"), false, group);
    rest_check_one_of(v, AT(p, "kind"), text(ref, "kind"), false, kinds);
    if (*text(ref, "name"))
        rest_check_words(v, AT(p, "name"), text(ref, "name"), rest_words_segment);
    EACH(e, get(v->root, "subjects"))
    check_subject(v, ITEM(subjects, e.i), e.item, namespaced);
}

void rest_validate_role_binding(struct rest_validation *v)
{
    static const char *const kinds[] = {"Role", "ClusterRole", NULL};
    check_binding(v, kinds, true);
}

void rest_validate_cluster_role_binding(struct rest_validation *v)
{
    static const char *const kinds[] = {"ClusterRole", NULL};
    check_binding(v, kinds, false);
}
