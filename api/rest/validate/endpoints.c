/* Endpoints, EndpointSlices and Events. Source: Kubernetes documentation, "EndpointSlices", "Event". */
#include "validate.h"

static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};

/* The API server's own endpoints may be on this machine alone: clients of a single machine use them. */
static bool own_endpoints(const struct rest_validation *v)
{
    json *meta = get(v->root, "metadata");
    json *labels = get(meta, "labels");
    return is(meta, "namespace", "default") &&
           (is(meta, "name", "kubernetes") ||
            is(labels, "kubernetes.io/service-name", "kubernetes"));
}

/* ---- Endpoints ---- */

static void check_address(struct rest_validation *v, path p, json *address)
{
    rest_check_ip(v, AT(p, "ip"), text(address, "ip"), NULL);
    if (*text(address, "hostname"))
        rest_check_words(v, AT(p, "hostname"), text(address, "hostname"), rest_words_dns_label);
    if (has(address, "nodeName"))
        rest_check_words(v, AT(p, "nodeName"), text(address, "nodeName"), rest_words_dns_subdomain);
    if (!own_endpoints(v))
        rest_check_endpoint_ip(v, AT(p, "ip"), text(address, "ip"));
}

static void check_port(struct rest_validation *v, path p, json *port, bool need_name)
{
    if (need_name && !*text(port, "name"))
        rest_required(v, AT(p, "name"), NO_WHY);
    else if (*text(port, "name"))
        rest_check_words(v, AT(p, "name"), text(port, "name"), rest_words_dns_label);
    rest_check_port_number(v, AT(p, "port"), get(port, "port"));
    rest_check_one_of(v, AT(p, "protocol"), text(port, "protocol"), true, protocols);
    if (has(port, "appProtocol"))
        rest_check_words(v, AT(p, "appProtocol"), text(port, "appProtocol"),
                         rest_words_qualified_name);
}

void rest_validate_endpoints(struct rest_validation *v)
{
    static const char *const lists[] = {"addresses", "notReadyAddresses"};
    path p = AT(NULL, "subsets");
    if (v->old_root && rest_same(get(v->root, "subsets"), get(v->old_root, "subsets")))
        return;
    EACH(s, get(v->root, "subsets"))
    {
        path at = ITEM(p, s.i), ports = AT(at, "ports");
        json *list = get(s.item, "ports");
        if (!size(get(s.item, lists[0])) && !size(get(s.item, lists[1])))
            rest_required(v, at, "must specify `addresses` or `notReadyAddresses`");
        for (int i = 0; i < 2; i++) {
            path addresses = AT(at, lists[i]);
            EACH(e, get(s.item, lists[i]))
            check_address(v, ITEM(addresses, e.i), e.item);
        }
        EACH(e, list)
        check_port(v, ITEM(ports, e.i), e.item, size(list) > 1);
    }
}

/* ---- EndpointSlices ---- */

enum { PORTS_MAX = 20000, ENDPOINTS_MAX = 1000, TOPOLOGY_MAX = 16, HINTS_MAX = 8 };

static void check_slice_ports(struct rest_validation *v, path p, json *ports)
{
    struct neap_map names = NEAP_MAP_INIT;
    if (size(ports) > PORTS_MAX) {
        rest_too_many(v, p, size(ports), PORTS_MAX);
        return;
    }
    EACH(e, ports)
    {
        path at = ITEM(p, e.i);
        const char *name = text(e.item, "name");
        if (*name)
            rest_check_words(v, AT(at, "name"), name, rest_words_dns_label);
        if (!rest_set_add(&names, name))
            rest_duplicate_string(v, AT(at, "name"), name);
        rest_check_one_of(v, AT(at, "protocol"), text(e.item, "protocol"), true, protocols);
        if (has(e.item, "appProtocol"))
            rest_check_words(v, AT(at, "appProtocol"), text(e.item, "appProtocol"),
                             rest_words_qualified_name);
    }
    neap_map_done(&names, NULL);
}

static void check_domain(struct rest_validation *v, path p, const char *s)
{
    struct rest_problems found = {0};
    if (!*s) {
        rest_required(v, p, NO_WHY);
        return;
    }
    rest_words_dns_subdomain(&found, s);
    if (found.count)
        rest_check_words_joined(v, p, s, rest_words_dns_subdomain, ",");
    else if (!strchr(s, '.'))
        rest_invalid_string(v, p, s,
                            "should be a domain with at least two segments separated by dots");
}

static void check_slice_address(struct rest_validation *v, path list, size_t i, const char *s,
                                const char *type)
{
    path p = ITEM(list, i);
    bool v6 = false;
    if (strcmp(type, "FQDN") == 0) {
        check_domain(v, p, s);
        return;
    }
    if ((strcmp(type, "IPv4") && strcmp(type, "IPv6")) || !rest_check_ip(v, p, s, NULL))
        return;
    rest_ip(s, &v6);
    if (strcmp(type, "IPv4") == 0 && v6)
        rest_invalid_string(v, list, s, "must be an IPv4 address");
    else if (strcmp(type, "IPv6") == 0 && !v6)
        rest_invalid_string(v, list, s, "must be an IPv6 address");
    if (!own_endpoints(v))
        rest_check_endpoint_ip(v, p, s);
}

static void check_hints(struct rest_validation *v, path p, json *hints, rest_words *words)
{
    struct neap_map names = NEAP_MAP_INIT;
    if (size(hints) > HINTS_MAX) {
        rest_too_many(v, p, size(hints), HINTS_MAX);
        return;
    }
    EACH(e, hints)
    {
        path at = AT(ITEM(p, e.i), "name");
        if (!rest_set_add(&names, text(e.item, "name")))
            rest_duplicate_string(v, at, text(e.item, "name"));
        rest_check_words(v, at, text(e.item, "name"), words);
    }
    neap_map_done(&names, NULL);
}

static void check_endpoint(struct rest_validation *v, path p, json *endpoint, const char *type)
{
    json *hints = get(endpoint, "hints"), *topology = get(endpoint, "deprecatedTopology");
    path addresses = AT(p, "addresses"), hints_path = AT(p, "hints");
    EACH(e, get(endpoint, "addresses"))
    check_slice_address(v, addresses, e.i, string_of(e.item), type);
    if (has(endpoint, "nodeName"))
        rest_check_words(v, AT(p, "nodeName"), text(endpoint, "nodeName"),
                         rest_words_dns_subdomain);
    if (size(topology) > TOPOLOGY_MAX)
        rest_too_many(v, AT(p, "deprecatedTopology"), size(topology), TOPOLOGY_MAX);
    rest_check_labels(v, AT(p, "deprecatedTopology"), topology);
    if (has(endpoint, "hostname"))
        rest_check_words(v, AT(p, "hostname"), text(endpoint, "hostname"), rest_words_dns_label);
    check_hints(v, AT(hints_path, "forZones"), get(hints, "forZones"), rest_words_label_value);
    check_hints(v, AT(hints_path, "forNodes"), get(hints, "forNodes"), rest_words_dns_subdomain);
}

void rest_validate_endpoint_slice(struct rest_validation *v)
{
    static const char *const types[] = {"FQDN", "IPv4", "IPv6", NULL};
    json *endpoints = get(v->root, "endpoints");
    const char *type = text(v->root, "addressType");
    path p = AT(NULL, "endpoints");
    rest_check_one_of(v, AT(NULL, "addressType"), type, true, types);
    check_slice_ports(v, AT(NULL, "ports"), get(v->root, "ports"));
    if (v->old_root && rest_same(endpoints, get(v->old_root, "endpoints")))
        return;
    if (size(endpoints) > ENDPOINTS_MAX) {
        rest_too_many(v, p, size(endpoints), ENDPOINTS_MAX);
        return;
    }
    EACH(e, endpoints)
    check_endpoint(v, ITEM(p, e.i), e.item, type);
}

/* ---- Events ---- */

static const struct event_fields {
    const char *object, *message, *controller;
} event_fields[] = {{"involvedObject", "message", "reportingComponent"},
                    {"regarding", "note", "reportingController"}};

static const struct event_fields *fields_of(const struct rest_validation *v)
{
    return &event_fields[*v->kind->group != '\0'];
}

static void check_event_text(struct rest_validation *v, const char *name, const char *s, size_t max,
                             bool need)
{
    if (need && !*s)
        rest_required(v, AT(NULL, name), NO_WHY);
    if (strlen(s) > max)
        rest_invalid_string(v, AT(NULL, name), "", "can have at most %zu characters", max);
}

static bool set(json *o, const char *name)
{
    return has(o, name) && !yyjson_mut_is_null(get(o, name));
}

/* What all versions ask. */
static void check_legacy_event(struct rest_validation *v)
{
    const struct event_fields *f = fields_of(v);
    const char *own = string_of(neap_json_at(v->root, "metadata.namespace"));
    const char *other = text(get(v->root, f->object), "namespace");
    bool timed = set(v->root, "eventTime"), is_default = strcmp(own, "default") == 0;
    bool good = *other ? timed || strcmp(own, other) == 0
                       : is_default || (timed && strcmp(own, "kube-system") == 0);
    if (!good)
        rest_invalid_string(v, AT(AT(NULL, "involvedObject"), "namespace"), other,
                            "does not match event.namespace");
    if (!timed)
        return;
    const char *controller = text(v->root, f->controller);
    if (!*controller)
        rest_required(v, AT(NULL, f->controller), NO_WHY);
    rest_check_words(v, AT(NULL, f->controller), controller, rest_words_qualified_name);
    check_event_text(v, "reportingInstance", text(v->root, "reportingInstance"), 128, true);
    check_event_text(v, "action", text(v->root, "action"), 128, true);
    check_event_text(v, "reason", text(v->root, "reason"), 128, true);
    check_event_text(v, "message", text(v->root, f->message), 1024, false);
}

static void check_series(struct rest_validation *v)
{
    json *series = get(v->root, "series");
    if (!series)
        return;
    if (number(series, "count") < 2)
        rest_invalid_string(v, AT(NULL, "series.count"), "", "should be at least 2");
    if (!set(series, "lastObservedTime"))
        rest_required(v, AT(NULL, "series.lastObservedTime"), NO_WHY);
}

static void check_new_event(struct rest_validation *v)
{
    static const char *const unset[][2] = {{"deprecatedFirstTimestamp", "firstTimestamp"},
                                           {"deprecatedLastTimestamp", "lastTimestamp"}};
    const char *type = text(v->root, "type");
    json *source = get(v->root, "deprecatedSource");
    check_series(v);
    if (!set(v->root, "eventTime"))
        rest_required(v, AT(NULL, "eventTime"), NO_WHY);
    if (strcmp(type, "Normal") && strcmp(type, "Warning"))
        rest_invalid_string(v, AT(NULL, "type"), "", "has invalid value: %s", type);
    for (int i = 0; i < 2; i++)
        if (set(v->root, unset[i][0]))
            rest_invalid_string(v, AT(NULL, unset[i][1]), "", "needs to be unset");
    if (number(v->root, "deprecatedCount"))
        rest_invalid_string(v, AT(NULL, "count"), "", "needs to be unset");
    if (*text(source, "component") || *text(source, "host"))
        rest_invalid_string(v, AT(NULL, "source"), "", "needs to be unset");
}

static void check_event_update(struct rest_validation *v)
{
    static const char *const fields[][2] = {{"regarding", "involvedObject"},
                                            {"reason", "reason"},
                                            {"note", "message"},
                                            {"deprecatedSource", "source"},
                                            {"deprecatedFirstTimestamp", "firstTimestamp"},
                                            {"deprecatedLastTimestamp", "lastTimestamp"},
                                            {"deprecatedCount", "count"},
                                            {"type", "type"},
                                            {"eventTime", "eventTime"},
                                            {"action", "action"},
                                            {"related", "related"},
                                            {"reportingController", "reportingController"},
                                            {"reportingInstance", "reportingInstance"}};
    if (!rest_same(get(v->root, "series"), get(v->old_root, "series")))
        check_series(v);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++)
        rest_check_immutable(v, AT(NULL, fields[i][1]), get(v->root, fields[i][0]),
                             get(v->old_root, fields[i][0]), NULL);
}

void rest_validate_event(struct rest_validation *v)
{
    check_legacy_event(v);
    if (!*v->kind->group)
        return;
    if (v->old_root)
        check_event_update(v);
    else
        check_new_event(v);
}
