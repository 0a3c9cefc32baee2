/* Services: ports, addresses and their families, types, load balancing.
 * Source: Kubernetes documentation, "Service", "IPv4/IPv6 dual-stack". */
#include "validate.h"

static bool headless(json *spec)
{
    json *ips = get(spec, "clusterIPs");
    return size(ips) == 1 && strcmp(string_of(yyjson_mut_arr_get_first(ips)), "None") == 0;
}

static bool type_is(json *spec, const char *type)
{
    return is(spec, "type", type);
}

static const char *first(json *list)
{
    return string_of(yyjson_mut_arr_get_first(list));
}

/* ---- ports ---- */

static void check_port(struct rest_validation *v, path p, json *port, bool need_name,
                       struct neap_map *names)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    const char *name = text(port, "name");
    if (need_name && !*name)
        rest_required(v, AT(p, "name"), NO_WHY);
    if (*name) {
        rest_check_words(v, AT(p, "name"), name, rest_words_dns_label);
        if (!rest_set_add(names, name))
            rest_duplicate_string(v, AT(p, "name"), name);
    }
    rest_check_port_number(v, AT(p, "port"), get(port, "port"));
    rest_check_one_of(v, AT(p, "protocol"), text(port, "protocol"), true, protocols);
    rest_check_port(v, AT(p, "targetPort"), get(port, "targetPort"));
    if (has(port, "appProtocol"))
        rest_check_words(v, AT(p, "appProtocol"), text(port, "appProtocol"),
                         rest_words_qualified_name);
}

/* The same number twice for a protocol. */
static void check_twice(struct rest_validation *v, path p, json *ports, const char *field)
{
    struct neap_map seen = NEAP_MAP_INIT;
    bool node_port = strcmp(field, "nodePort") == 0;
    char key[160];
    EACH(e, ports)
    {
        int64_t n = number(e.item, field);
        path at = ITEM(p, e.i);
        if (node_port && !n)
            continue;
        snprintf(key, sizeof(key), "%s %lld", text(e.item, "protocol"), (long long)n);
        if (rest_set_add(&seen, key))
            continue;
        if (node_port) {
            rest_duplicate(v, AT(at, field), get(e.item, field));
            continue;
        }
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        neap_buf_str(&b, "{\"Name\":\"\",\"Protocol\":");
        rest_quote(&b, text(e.item, "protocol"), strlen(text(e.item, "protocol")));
        neap_buf_printf(&b, ",\"AppProtocol\":null,\"Port\":%lld,\"TargetPort\":0,\"NodePort\":0}",
                        (long long)n);
        rest_duplicate_shown(v, at, b.data);
    }
    neap_map_done(&seen, NULL);
}

static void check_ports(struct rest_validation *v, path p, json *spec)
{
    struct neap_map names = NEAP_MAP_INIT;
    json *ports = get(spec, "ports");
    EACH(e, ports)
    check_port(v, ITEM(p, e.i), e.item, size(ports) > 1, &names);
    neap_map_done(&names, NULL);
}

/* ---- addresses ---- */

static void check_cluster_ip(struct rest_validation *v, path p, json *spec)
{
    json *ips = get(spec, "clusterIPs");
    const char *ip = text(spec, "clusterIP");
    if (*ip && !size(ips))
        rest_required(v, p, NO_WHY);
    else if (*ip && strcmp(first(ips), ip))
        rest_invalid(v, p, ips, "first value must match `clusterIP`");
    else if (!*ip && size(ips))
        rest_invalid(v, p, ips, "must be empty when `clusterIP` is not specified");
}

static void check_families(struct rest_validation *v, path p, json *spec)
{
    static const char *const families[] = {"IPv4", "IPv6", NULL};
    static const char *const policies[] = {"PreferDualStack", "RequireDualStack", "SingleStack",
                                           NULL};
    struct neap_map seen = NEAP_MAP_INIT;
    path list = AT(p, "ipFamilies");
    EACH(e, get(spec, "ipFamilies"))
    {
        rest_check_one_of(v, ITEM(list, e.i), string_of(e.item), false, families);
        if (!rest_set_add(&seen, string_of(e.item)))
            rest_duplicate(v, ITEM(list, e.i), e.item);
    }
    neap_map_done(&seen, NULL);
    if (has(spec, "ipFamilyPolicy"))
        rest_check_one_of(v, AT(p, "ipFamilyPolicy"), text(spec, "ipFamilyPolicy"), false,
                          policies);
}

/* False: an address is not one. */
static bool check_each_ip(struct rest_validation *v, path p, json *ips, json *old)
{
    bool good = true;
    EACH(e, ips)
    {
        if (e.i == 0 && strcmp(string_of(e.item), "None") == 0) {
            if (size(ips) > 1) {
                rest_invalid(v, p, ips, "'None' must be the first and only value");
                good = false;
            }
            continue;
        }
        good = rest_check_ip(v, ITEM(p, e.i), string_of(e.item), old) && good;
    }
    return good;
}

static void check_family_of_ips(struct rest_validation *v, path p, json *ips, json *families)
{
    EACH(e, ips)
    {
        const char *family = string_of(yyjson_mut_arr_get(families, e.i));
        bool v6 = false;
        rest_ip(string_of(e.item), &v6);
        if (strcmp(family, "IPv4") == 0 && v6)
            rest_invalid(v, ITEM(p, e.i), e.item,
                         "expected an IPv4 value as indicated by `ipFamilies[%zu]`", e.i);
        if (strcmp(family, "IPv6") == 0 && !v6)
            rest_invalid(v, ITEM(p, e.i), e.item,
                         "expected an IPv6 value as indicated by `ipFamilies[%zu]`", e.i);
    }
}

static void check_addresses(struct rest_validation *v, path p, json *spec)
{
    json *ips = get(spec, "clusterIPs");
    path at = AT(p, "clusterIPs");
    bool v6[2] = {false, false};
    if (type_is(spec, "ExternalName"))
        return;
    check_cluster_ip(v, at, spec);
    check_families(v, p, spec);
    bool good = check_each_ip(v, at, ips, neap_json_at(v->old_root, "spec.clusterIPs"));
    if (size(ips) > 2)
        rest_invalid(v, at, ips, "may only hold up to 2 values");
    if (!good)
        return;
    for (size_t i = 0; i < 2 && i < size(ips); i++)
        rest_ip(string_of(yyjson_mut_arr_get(ips, i)), &v6[i]);
    if (size(ips) > 1 && v6[0] == v6[1])
        rest_invalid(v, at, ips, "may specify no more than one IP for each IP family");
    if (!headless(spec))
        check_family_of_ips(v, at, ips, get(spec, "ipFamilies"));
}

/* One family is served: that of the range. */
static void check_served(struct rest_validation *v, path p, json *spec)
{
    json *ips = get(spec, "clusterIPs"), *families = get(spec, "ipFamilies");
    json *policy = get(spec, "ipFamilyPolicy");
    path list = AT(p, "ipFamilies");
    bool single = !policy || is(spec, "ipFamilyPolicy", "SingleStack");
    if (single && size(ips) == 2)
        rest_invalid(
            v, AT(p, "ipFamilyPolicy"), policy,
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are "
            "specified");
    if (single && size(families) == 2)
        rest_invalid(v, AT(p, "ipFamilyPolicy"), policy,
                     "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families "
                     "are specified");
    if (v->err->cause_count || (headless(spec) && !size(get(spec, "selector"))))
        return;
    if (is(spec, "ipFamilyPolicy", "RequireDualStack"))
        rest_invalid(v, AT(p, "ipFamilyPolicy"), policy,
                     "this cluster is not configured for dual-stack services");
    EACH(e, families)
    if (strcmp(string_of(e.item), v->family))
        rest_invalid(v, ITEM(list, e.i), e.item, "not configured on this cluster");
}

void rest_validate_service_addresses(struct rest_validation *v)
{
    json *spec = get(v->root, "spec");
    path p = AT(NULL, "spec");
    if (is(spec, "type", "ExternalName"))
        return;
    check_addresses(v, p, spec);
    if (!v->err->cause_count)
        check_served(v, p, spec);
}

/* ---- types ---- */

static void check_external_name(struct rest_validation *v, path p, json *spec)
{
    static const char *const fields[] = {"clusterIPs", "ipFamilies", "ipFamilyPolicy"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++)
        if (size(get(spec, fields[i])) || *text(spec, fields[i]))
            rest_forbidden(v, AT(p, fields[i]), "may not be set for ExternalName services");
    char *name = neap_strdup(text(spec, "externalName"));
    size_t n = strlen(name);
    if (n && name[n - 1] == '.')
        name[n - 1] = '\0';
    if (*name)
        rest_check_words(v, AT(p, "externalName"), name, rest_words_dns_subdomain);
    else
        rest_required(v, AT(p, "externalName"), NO_WHY);
    free(name);
}

static void check_by_type(struct rest_validation *v, path p, json *spec)
{
    const char *type = text(spec, "type");
    path ips = AT(p, "clusterIPs");
    if (!size(get(spec, "ports")) && !headless(spec) && strcmp(type, "ExternalName"))
        rest_required(v, AT(p, "ports"), NO_WHY);
    if ((strcmp(type, "LoadBalancer") == 0 || strcmp(type, "NodePort") == 0) && headless(spec))
        rest_invalid_string(v, ITEM(ips, 0), "None", "may not be set to 'None' for %s services",
                            type);
    if (strcmp(type, "ExternalName") == 0)
        check_external_name(v, p, spec);
}

static void check_affinity(struct rest_validation *v, path p, json *spec)
{
    static const char *const affinities[] = {"ClientIP", "None", NULL};
    json *config = get(spec, "sessionAffinityConfig"), *client = get(config, "clientIP");
    path at = AT(p, "sessionAffinityConfig"), client_path = AT(at, "clientIP");
    path seconds = AT(client_path, "timeoutSeconds");
    static const char why[] = "when session affinity type is ClientIP";
    rest_check_one_of(v, AT(p, "sessionAffinity"), text(spec, "sessionAffinity"), true, affinities);
    if (is(spec, "sessionAffinity", "None") && config)
        rest_forbidden(v, at, "must not be set when session affinity is None");
    if (!is(spec, "sessionAffinity", "ClientIP"))
        return;
    if (!config)
        rest_required(v, at, "%s", why);
    else if (!client)
        rest_required(v, client_path, "%s", why);
    else if (!has(client, "timeoutSeconds"))
        rest_required(v, seconds, "%s", why);
    else if (number(client, "timeoutSeconds") <= 0 || number(client, "timeoutSeconds") > 86400)
        rest_invalid(v, seconds, get(client, "timeoutSeconds"),
                     "must be greater than 0 and less than 86400");
}

static void check_external_ips(struct rest_validation *v, path p, json *ips)
{
    json *old = neap_json_at(v->old_root, "spec.externalIPs");
    EACH(e, ips)
    if (rest_check_ip(v, ITEM(p, e.i), string_of(e.item), old))
        rest_check_endpoint_ip(v, ITEM(p, e.i), string_of(e.item));
}

static void check_node_ports(struct rest_validation *v, path p, json *spec)
{
    static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort",
                                        NULL};
    path ports = AT(p, "ports");
    rest_check_one_of(v, AT(p, "type"), text(spec, "type"), true, types);
    if (type_is(spec, "ClusterIP"))
        EACH(e, get(spec, "ports"))
    if (number(e.item, "nodePort"))
        rest_forbidden(v, AT(ITEM(ports, e.i), "nodePort"),
                       "may not be used when `type` is 'ClusterIP'");
    check_twice(v, ports, get(spec, "ports"), "nodePort");
    check_twice(v, ports, get(spec, "ports"), "port");
}

/* ---- load balancers and traffic ---- */

static void check_source_ranges(struct rest_validation *v, path p, json *spec)
{
    json *ranges = get(spec, "loadBalancerSourceRanges");
    path at = AT(p, "LoadBalancerSourceRanges");
    if (!size(ranges))
        return;
    if (!type_is(spec, "LoadBalancer"))
        rest_forbidden(v, at, "may only be used when `type` is 'LoadBalancer'");
    EACH(e, ranges)
    {
        char *s = neap_strdup(string_of(e.item) + strspn(string_of(e.item), " \t\n\r"));
        size_t n = strlen(s);
        while (n && strchr(" \t\n\r", s[n - 1]))
            s[--n] = '\0';
        rest_check_cidr(v, ITEM(at, e.i), s);
        free(s);
    }
}

static void check_balancer(struct rest_validation *v, path p, json *spec)
{
    bool balancer = type_is(spec, "LoadBalancer");
    check_source_ranges(v, p, spec);
    if (has(spec, "allocateLoadBalancerNodePorts") && !balancer)
        rest_forbidden(v, AT(p, "allocateLoadBalancerNodePorts"),
                       "may only be used when `type` is 'LoadBalancer'");
    if (!has(spec, "loadBalancerClass"))
        return;
    if (balancer)
        rest_check_words(v, AT(p, "loadBalancerClass"), text(spec, "loadBalancerClass"),
                         rest_words_qualified_name);
    else
        rest_forbidden(v, AT(p, "loadBalancerClass"),
                       "may only be used when `type` is 'LoadBalancer'");
}

static bool needs_health_check(json *spec)
{
    return type_is(spec, "LoadBalancer") && is(spec, "externalTrafficPolicy", "Local");
}

static void check_traffic(struct rest_validation *v, path p, json *spec)
{
    static const char *const policies[] = {"Cluster", "Local", NULL};
    static const char *const distributions[] = {"PreferClose", "PreferSameZone", "PreferSameNode",
                                                NULL};
    json *policy = get(spec, "externalTrafficPolicy");
    bool outside = type_is(spec, "LoadBalancer") || type_is(spec, "NodePort") ||
                   (type_is(spec, "ClusterIP") && size(get(spec, "externalIPs")));
    if (!outside && *string_of(policy))
        rest_invalid(v, AT(p, "externalTrafficPolicy"), policy,
                     "may only be set for externally-accessible services");
    else if (outside)
        rest_check_one_of(v, AT(p, "externalTrafficPolicy"), string_of(policy), true, policies);
    if (!needs_health_check(spec) && number(spec, "healthCheckNodePort"))
        rest_invalid(v, AT(p, "healthCheckNodePort"), get(spec, "healthCheckNodePort"),
                     "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
                     "'Local'");
    if (has(spec, "internalTrafficPolicy"))
        rest_check_one_of(v, AT(p, "internalTrafficPolicy"), text(spec, "internalTrafficPolicy"),
                          false, policies);
    if (has(spec, "trafficDistribution"))
        rest_check_one_of(v, AT(p, "trafficDistribution"), text(spec, "trafficDistribution"), false,
                          distributions);
}

/* ---- updates ---- */

static void check_frozen_ips(struct rest_validation *v, path p, json *now, json *old, json *spec)
{
    size_t n = size(now), before = size(old);
    if (n == before) {
        EACH(e, old)
        if (!rest_same(yyjson_mut_arr_get(now, e.i), e.item))
            rest_invalid(v, ITEM(p, e.i), now, "may not change once set");
        return;
    }
    if (!n)
        rest_invalid(v, ITEM(p, 0), now, "primary clusterIP can not be unset");
    else if (before && strcmp(first(now), first(old)))
        rest_invalid(v, ITEM(p, 0), now, "may not change once set");
    if (before > n && n == 1 && !is(spec, "ipFamilyPolicy", "SingleStack"))
        rest_invalid(v, AT(AT(NULL, "spec"), "ipFamilyPolicy"), get(spec, "ipFamilyPolicy"),
                     "must be set to 'SingleStack' when releasing the secondary clusterIP");
}

static void check_frozen_families(struct rest_validation *v, path p, json *spec, json *old_spec)
{
    json *now = get(spec, "ipFamilies"), *old = get(old_spec, "ipFamilies");
    bool same_size = size(now) == size(old);
    if (size(old) > size(now) && !size(get(spec, "clusterIPs")))
        rest_invalid(v, ITEM(p, 0), now, "primary ipFamily can not be unset");
    EACH(e, old)
    {
        bool differs = !rest_same(yyjson_mut_arr_get(now, e.i), e.item);
        if (differs && same_size)
            rest_invalid(v, ITEM(p, 0), now, "may not change once set");
        else if (differs && !e.i && size(now))
            rest_invalid(v, ITEM(p, 0), get(spec, "clusterIPs"), "may not change once set");
    }
    if (size(old) > size(now) && size(now) == 1 && !is(spec, "ipFamilyPolicy", "SingleStack"))
        rest_invalid(v, AT(AT(NULL, "spec"), "ipFamilyPolicy"), get(spec, "ipFamilyPolicy"),
                     "must be set to 'SingleStack' when releasing the secondary ipFamily");
}

static void check_update(struct rest_validation *v, path p, json *spec, json *old)
{
    bool external = type_is(spec, "ExternalName") || type_is(old, "ExternalName");
    if (!external && !(headless(spec) && headless(old)))
        check_frozen_ips(v, AT(p, "clusterIPs"), get(spec, "clusterIPs"), get(old, "clusterIPs"),
                         spec);
    if (!external && !headless(spec) && !headless(old))
        check_frozen_families(v, AT(p, "ipFamilies"), spec, old);
    if (type_is(spec, "LoadBalancer") && type_is(old, "LoadBalancer") &&
        !rest_same(get(spec, "loadBalancerClass"), get(old, "loadBalancerClass")))
        rest_invalid(v, AT(p, "loadBalancerClass"), get(spec, "loadBalancerClass"),
                     "may not change once set");
    if (needs_health_check(spec) && needs_health_check(old) &&
        number(spec, "healthCheckNodePort") != number(old, "healthCheckNodePort"))
        rest_forbidden(v, AT(p, "healthCheckNodePort"), "field is immutable");
}

static void check_ingress(struct rest_validation *v, path p, json *ingress)
{
    static const char *const modes[] = {"Proxy", "VIP", NULL};
    const char *ip = string_of(get(ingress, "ip")), *host = string_of(get(ingress, "hostname"));
    const char *mode = string_of(get(ingress, "ipMode"));
    bool v6;
    if (*ip)
        rest_check_ip(v, AT(p, "ip"), ip, NULL);
    if (!*ip && get(ingress, "ipMode"))
        rest_forbidden(v, AT(p, "ipMode"), "may not be specified when `ip` is not set");
    else if (*mode && strcmp(mode, "VIP") != 0 && strcmp(mode, "Proxy") != 0)
        rest_unsupported(v, AT(p, "ipMode"), mode, modes);
    if (*host && rest_ip(host, &v6))
        rest_invalid_string(v, AT(p, "hostname"), host, "must be a DNS name, not an IP address");
    else if (*host)
        rest_check_words(v, AT(p, "hostname"), host, rest_words_dns_subdomain);
}

static void check_status(struct rest_validation *v)
{
    json *balancer = get(get(v->root, "status"), "loadBalancer"), *list = get(balancer, "ingress");
    path p = AT(AT(AT(NULL, "status"), "loadBalancer"), "ingress");
    if (size(list) && !type_is(get(v->root, "spec"), "LoadBalancer"))
        rest_forbidden(v, p, "may only be used when `spec.type` is 'LoadBalancer'");
    else
        EACH(e, list)
    check_ingress(v, ITEM(p, e.i), e.item);
}

void rest_validate_service(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *old = get(v->old_root, "spec");
    path p = AT(NULL, "spec");
    if (v->subresource && strcmp(v->subresource->name, "status") == 0)
        check_status(v);
    if (v->subresource)
        return;
    if (old)
        check_update(v, p, spec, old);
    check_by_type(v, p, spec);
    check_ports(v, AT(p, "ports"), spec);
    rest_check_labels(v, AT(p, "selector"), get(spec, "selector"));
    check_affinity(v, p, spec);
    check_addresses(v, p, spec);
    check_external_ips(v, AT(p, "externalIPs"), get(spec, "externalIPs"));
    check_node_ports(v, p, spec);
    check_balancer(v, p, spec);
    check_traffic(v, p, spec);
}
