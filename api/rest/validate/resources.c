/* Names and quantities of resources: what containers, quotas and limit ranges may name. */
#include "validate.h"

static const char *const container_names[] = {"cpu", "memory", "ephemeral-storage", NULL};
static const char *const quota_names[] = {"cpu",
                                          "memory",
                                          "ephemeral-storage",
                                          "requests.cpu",
                                          "requests.memory",
                                          "requests.storage",
                                          "requests.ephemeral-storage",
                                          "limits.cpu",
                                          "limits.memory",
                                          "limits.ephemeral-storage",
                                          "pods",
                                          "resourcequotas",
                                          "services",
                                          "replicationcontrollers",
                                          "secrets",
                                          "persistentvolumeclaims",
                                          "configmaps",
                                          "services.nodeports",
                                          "services.loadbalancers",
                                          NULL};
static const char *const integer_names[] = {"pods",
                                            "resourcequotas",
                                            "services",
                                            "replicationcontrollers",
                                            "secrets",
                                            "configmaps",
                                            "persistentvolumeclaims",
                                            "services.nodeports",
                                            "services.loadbalancers",
                                            NULL};

static bool huge(const char *name)
{
    return strncmp(name, "hugepages-", 10) == 0;
}

static bool native(const char *name)
{
    return !strchr(name, '/') || strstr(name, "kubernetes.io/");
}

static bool extended(const char *name)
{
    struct rest_problems found = {0};
    char quota[400];
    if (native(name) || strncmp(name, "requests.", 9) == 0)
        return false;
    snprintf(quota, sizeof(quota), "requests.%s", name);
    rest_words_qualified_name(&found, quota);
    return !found.count;
}

static bool standard(const char *name)
{
    return rest_one_of(name, quota_names) || strcmp(name, "storage") == 0 || huge(name) ||
           strncmp(name, "requests.hugepages-", 19) == 0;
}

bool rest_overcommit_allowed(const char *name)
{
    return native(name) && !huge(name);
}

void rest_check_resource_name(struct rest_validation *v, path p, const char *name)
{
    struct rest_problems found = {0};
    rest_words_qualified_name(&found, name);
    for (unsigned i = 0; i < found.count; i++)
        rest_invalid_string(v, p, name, "%s", found.list[i]);
    if (!found.count && !strchr(name, '/') && !standard(name))
        rest_invalid_string(v, p, name, "must be a standard resource type or fully qualified");
}

void rest_check_container_resource_name(struct rest_validation *v, path p, const char *name)
{
    rest_check_resource_name(v, p, name);
    if (!strchr(name, '/')) {
        if (!rest_one_of(name, container_names) && !huge(name))
            rest_invalid_string(v, p, name, "must be a standard resource for containers");
    } else if (!native(name) && !extended(name)) {
        rest_invalid_string(v, p, name, "doesn't follow extended resource name standard");
    }
}

bool rest_quota_resource_standard(const char *name)
{
    return rest_one_of(name, quota_names) || huge(name) ||
           strncmp(name, "requests.hugepages-", 19) == 0;
}

void rest_check_quota_resource_name(struct rest_validation *v, path p, const char *name)
{
    rest_check_resource_name(v, p, name);
    if (!strchr(name, '/') && !rest_quota_resource_standard(name))
        rest_invalid_string(v, p, name, "must be a standard resource for quota");
}

/* ---- quantities ---- */

static int64_t milli(json *q)
{
    int64_t n = 0;
    if (yyjson_mut_is_str(q))
        neap_quantity_milli(yyjson_mut_get_str(q), yyjson_mut_get_len(q), &n);
    return n;
}

static int64_t whole(json *q)
{
    int64_t n = 0;
    if (yyjson_mut_is_str(q))
        neap_quantity_value(yyjson_mut_get_str(q), yyjson_mut_get_len(q), &n);
    return n;
}

int rest_quantity_compare(json *a, json *b)
{
    int64_t x = milli(a), y = milli(b);
    if (x == y && (x == INT64_MAX || x == INT64_MIN)) { /* saturated */
        x = whole(a);
        y = whole(b);
    }
    return x < y ? -1 : x > y;
}

void rest_check_resource_quantity(struct rest_validation *v, path p, const char *name, json *q)
{
    if (rest_quantity_compare(q, NULL) < 0)
        rest_invalid(v, p, q, "must be greater than or equal to 0");
    if ((rest_one_of(name, integer_names) || extended(name)) && milli(q) % 1000)
        rest_invalid(v, p, q, "must be an integer");
}

/* ---- a container's, or the pod's own ---- */

struct seen {
    bool compute, huge;
};

static void check_huge(struct rest_validation *v, path p, const char *name, json *q,
                       struct seen *seen)
{
    int64_t page = 0;
    if (strcmp(name, "cpu") == 0 || strcmp(name, "memory") == 0)
        seen->compute = true;
    if (!huge(name))
        return;
    seen->huge = true;
    neap_quantity_value(name + 10, strlen(name + 10), &page);
    if (page > 0 && whole(q) % page)
        rest_invalid(v, p, q, "%s is not positive integer multiple of %s", string_of(q), name);
}

/* <p>: requests. */
static void check_against_limit(struct rest_validation *v, path p, path limits_path,
                                const char *name, json *request, json *limit)
{
    int order = rest_quantity_compare(request, limit);
    bool overcommit = rest_overcommit_allowed(name);
    if (!limit && !overcommit)
        rest_required(v, limits_path, "Limit must be set for non overcommitable resources");
    else if (limit && order && !overcommit)
        rest_invalid(v, p, request, "must be equal to %s limit of %s", name, string_of(limit));
    else if (limit && order > 0)
        rest_invalid(v, p, request, "must be less than or equal to %s limit of %s", name,
                     string_of(limit));
}

/* "a, b": what the pod's claims are called, sorted. */
static void claim_names(struct rest_pod *pod, struct neap_buf *out)
{
    const char *last = NULL;
    for (size_t n = 0; n < pod->claims.count && n < 64; n++) {
        const char *next = NULL, *key;
        void *value;
        for (size_t it = 0; neap_map_next(&pod->claims, &it, &key, &value);)
            if ((!last || strcmp(key, last) > 0) && (!next || strcmp(key, next) < 0))
                next = key;
        if (!next)
            return;
        neap_buf_printf(out, "%s%s", n ? ", " : "", next);
        last = next;
    }
}

static void check_claims(struct rest_pod *pod, path p, json *claims)
{
    struct rest_validation *v = pod->v;
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, claims)
    {
        path at = ITEM(p, e.i);
        const char *name = text(e.item, "name"), *request = text(e.item, "request");
        if (!*name) {
            rest_required(v, at, NO_WHY);
            continue;
        }
        char *key = *request ? neap_asprintf("%s/%s", name, request) : neap_strdup(name);
        if (*request && !neap_map_get(&seen, name))
            rest_check_words(v, AT(at, "request"), request, rest_words_dns_label);
        if (neap_map_get(&seen, name))
            rest_duplicate_string(v, at, name);
        else if (!rest_set_add(&seen, key))
            rest_duplicate_string(v, at, key);
        free(key);
        if (!neap_map_get(&pod->claims, name)) {
            struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
            neap_buf_str(&b, "must be one of the names in pod.spec.resourceClaims");
            neap_buf_str(&b, pod->claims.count ? ": " : " which is empty");
            claim_names(pod, &b);
            rest_not_found(v, at, name, b.data);
        }
    }
    neap_map_done(&seen, NULL);
}

void rest_check_container_resources(struct rest_pod *pod, path p, json *resources)
{
    struct rest_validation *v = pod->v;
    json *limits = get(resources, "limits");
    path limits_path = AT(p, "limits"), requests_path = AT(p, "requests");
    struct seen seen = {0};
    EACH(e, limits)
    {
        path at = KEY(limits_path, e.key);
        rest_check_container_resource_name(v, at, e.key);
        rest_check_resource_quantity(v, at, e.key, e.item);
        check_huge(v, at, e.key, e.item, &seen);
    }
    EACH(e, get(resources, "requests"))
    {
        path at = KEY(requests_path, e.key);
        rest_check_container_resource_name(v, at, e.key);
        rest_check_resource_quantity(v, at, e.key, e.item);
        check_against_limit(v, requests_path, limits_path, e.key, e.item, get(limits, e.key));
        check_huge(v, at, e.key, e.item, &seen);
    }
    if (seen.huge && !seen.compute)
        rest_forbidden(v, p, "HugePages require cpu or memory");
    check_claims(pod, AT(p, "claims"), get(resources, "claims"));
}

/* Of the pod as a whole: fewer names, and no claims. */
void rest_check_pod_resources(struct rest_pod *pod, path p)
{
    static const char *const supported[] = {"cpu", "hugepages-", "memory", NULL};
    static const char *const sides[] = {"limits", "requests"};
    struct rest_validation *v = pod->v;
    json *resources = get(pod->spec, "resources"), *limits = get(resources, "limits");
    path limits_path = AT(p, "limits");
    struct seen seen = {0};
    if (!resources)
        return;
    if (is(get(pod->spec, "os"), "name", "windows")) {
        rest_forbidden(v, p, "may not be set for a windows pod");
        return;
    }
    if (has(resources, "claims"))
        rest_forbidden(v, AT(p, "claims"), "claims may not be set for Resources at pod-level");
    for (int i = 0; i < 2; i++) {
        path list = AT(p, sides[i]);
        EACH(e, get(resources, sides[i]))
        {
            path at = KEY(list, e.key);
            rest_check_resource_name(v, at, e.key);
            if (standard(e.key) && strcmp(e.key, "cpu") && strcmp(e.key, "memory") && !huge(e.key))
                rest_unsupported(v, at, e.key, supported);
            rest_check_resource_quantity(v, at, e.key, e.item);
            if (i)
                check_against_limit(v, list, limits_path, e.key, e.item, get(limits, e.key));
            check_huge(v, at, e.key, e.item, &seen);
        }
    }
    if (seen.huge && !seen.compute)
        rest_forbidden(v, p, "HugePages require cpu or memory");
}
