/* Ingresses, their classes, network policies, addresses.
 * Source: Kubernetes documentation, "Ingress", "Network Policies". */
#include "validate.h"

/* ---- network policies ---- */

static void check_policy_port(struct rest_validation *v, path p, json *port)
{
    static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
    json *from = get(port, "port"), *to = get(port, "endPort");
    path at = AT(p, "endPort");
    if (has(port, "protocol"))
        rest_check_one_of(v, AT(p, "protocol"), text(port, "protocol"), false, protocols);
    if (!from) {
        if (to)
            rest_invalid(v, at, to, "may not be specified when `port` is not specified");
        return;
    }
    if (yyjson_mut_is_str(from)) {
        if (to)
            rest_invalid(v, at, to, "may not be specified when `port` is non-numeric");
        rest_check_port(v, AT(p, "port"), from);
        return;
    }
    rest_check_port(v, AT(p, "port"), from);
    if (to && yyjson_mut_get_sint(to) < yyjson_mut_get_sint(from))
        rest_invalid(v, at, to, "must be greater than or equal to `port`");
    if (to)
        rest_check_port_number(v, at, to);
}

static bool contains(const unsigned char *outer, int bits, const unsigned char *inner)
{
    for (int i = 0; i < bits; i++)
        if ((outer[i / 8] ^ inner[i / 8]) & (0x80 >> (i % 8)))
            return false;
    return true;
}

static void check_block(struct rest_validation *v, path p, json *block)
{
    unsigned char outer[16], inner[16];
    int bits, inner_bits;
    bool v6, inner_v6;
    const char *cidr = text(block, "cidr");
    path excepts = AT(p, "except");
    rest_check_cidr(v, AT(p, "cidr"), cidr);
    if (!rest_cidr(cidr, outer, &bits, &v6))
        return;
    EACH(e, get(block, "except"))
    {
        const char *s = string_of(e.item);
        rest_check_cidr(v, ITEM(excepts, e.i), s);
        if (!rest_cidr(s, inner, &inner_bits, &inner_v6))
            continue;
        if (v6 != inner_v6 || bits >= inner_bits || !contains(outer, bits, inner))
            rest_invalid_string(v, ITEM(excepts, e.i), s, "must be a strict subset of `cidr`");
    }
}

static void check_peer(struct rest_validation *v, path p, json *peer)
{
    static const char *const selectors[] = {"podSelector", "namespaceSelector"};
    unsigned count = 0;
    for (int i = 0; i < 2; i++) {
        rest_check_label_selector(v, AT(p, selectors[i]), get(peer, selectors[i]));
        count += has(peer, selectors[i]);
    }
    if (has(peer, "ipBlock"))
        check_block(v, AT(p, "ipBlock"), get(peer, "ipBlock"));
    if (!count && !has(peer, "ipBlock"))
        rest_required(v, p, "must specify a peer");
    else if (count && has(peer, "ipBlock"))
        rest_forbidden(v, p, "may not specify both ipBlock and another peer");
}

static void check_direction(struct rest_validation *v, path p, json *rules, const char *peers)
{
    EACH(rule, rules)
    {
        path at = ITEM(p, rule.i), ports = AT(at, "ports"), list = AT(at, peers);
        EACH(e, get(rule.item, "ports"))
        check_policy_port(v, ITEM(ports, e.i), e.item);
        EACH(e, get(rule.item, peers))
        check_peer(v, ITEM(list, e.i), e.item);
    }
}

void rest_validate_network_policy(struct rest_validation *v)
{
    static const char *const types[] = {"Ingress", "Egress", NULL};
    json *spec = get(v->root, "spec"), *list = get(spec, "policyTypes");
    path p = AT(NULL, "spec"), at = AT(p, "policyTypes");
    rest_check_label_selector(v, AT(p, "podSelector"), get(spec, "podSelector"));
    check_direction(v, AT(p, "ingress"), get(spec, "ingress"), "from");
    check_direction(v, AT(p, "egress"), get(spec, "egress"), "to");
    if (size(list) > 2) {
        rest_invalid(v, at, list, "may not specify more than two policyTypes");
        return;
    }
    EACH(e, list)
    rest_check_one_of(v, ITEM(at, e.i), string_of(e.item), false, types);
}

/* ---- ingresses ---- */

static void check_segments(struct rest_validation *v, path p, json *ref)
{
    static const char *const fields[] = {"kind", "name"};
    if (has(ref, "apiGroup"))
        rest_check_words(v, AT(p, "apiGroup"), text(ref, "apiGroup"), rest_words_dns_subdomain);
    for (int i = 0; i < 2; i++) {
        if (!*text(ref, fields[i]))
            rest_required(v, AT(p, fields[i]), NO_WHY);
        else
            rest_check_words(v, AT(p, fields[i]), text(ref, fields[i]), rest_words_segment);
    }
}

static void check_service_backend(struct rest_validation *v, path p, json *service)
{
    path at = AT(p, "service"), port_path = AT(at, "port");
    json *port = get(service, "port");
    bool named = *text(port, "name"), numbered = number(port, "number") != 0;
    if (!*text(service, "name"))
        rest_required(v, AT(at, "name"), NO_WHY);
    else
        rest_check_words(v, AT(at, "name"), text(service, "name"), rest_words_dns_label);
    if (named && numbered)
        rest_invalid_string(v, p, "", "cannot set both port name & port number");
    else if (named)
        rest_check_words(v, AT(port_path, "name"), text(port, "name"), rest_words_port_name);
    else if (numbered)
        rest_check_port_number(v, AT(port_path, "number"), get(port, "number"));
    else
        rest_required(v, p, "port name or number is required");
}

static void check_backend(struct rest_validation *v, path p, json *backend)
{
    json *resource = get(backend, "resource"), *service = get(backend, "service");
    if (resource && service)
        rest_invalid_string(v, p, "", "cannot set both resource and service backends");
    else if (resource)
        check_segments(v, AT(p, "resource"), resource);
    else if (service)
        check_service_backend(v, p, service);
    else
        rest_invalid_string(v, p, "", "resource or service backend is required");
}

static void check_url_path(struct rest_validation *v, path p, json *item, bool exact)
{
    static const char *const sequences[] = {"//", "/./", "/../", "%2f", "%2F"};
    static const char *const ends[] = {"/..", "/."};
    const char *s = text(item, "path");
    size_t n = strlen(s);
    if (*s != '/' && (exact || *s))
        rest_invalid_string(v, p, s, "must be an absolute path");
    for (size_t i = 0; exact && i < NEAP_ARRAY_LEN(sequences); i++)
        if (strstr(s, sequences[i]))
            rest_invalid_string(v, p, s, "must not contain '%s'", sequences[i]);
    for (size_t i = 0; exact && i < NEAP_ARRAY_LEN(ends); i++)
        if (n >= strlen(ends[i]) && strcmp(s + n - strlen(ends[i]), ends[i]) == 0)
            rest_invalid_string(v, p, s, "cannot end with '%s'", ends[i]);
}

static void check_http_path(struct rest_validation *v, path p, json *item)
{
    static const char *const types[] = {"Exact", "ImplementationSpecific", "Prefix", NULL};
    if (!has(item, "pathType")) {
        rest_required(v, AT(p, "pathType"), "pathType must be specified");
        return;
    }
    if (rest_check_one_of(v, AT(p, "pathType"), text(item, "pathType"), false, types))
        check_url_path(v, AT(p, "path"), item, !is(item, "pathType", "ImplementationSpecific"));
    check_backend(v, AT(p, "backend"), get(item, "backend"));
}

static void check_host(struct rest_validation *v, path p, const char *host, bool rule)
{
    if (rule && rest_ip(host, NULL))
        rest_invalid_string(v, p, host, "must be a DNS name, not an IP address");
    rest_check_words(v, p, host,
                     strchr(host, '*') ? rest_words_wildcard : rest_words_dns_subdomain);
}

static void check_rules(struct rest_validation *v, path p, json *rules)
{
    EACH(rule, rules)
    {
        json *http = get(rule.item, "http");
        path at = ITEM(p, rule.i), paths = AT(AT(at, "http"), "paths");
        if (*text(rule.item, "host"))
            check_host(v, AT(at, "host"), text(rule.item, "host"), true);
        if (http && !size(get(http, "paths")))
            rest_required(v, paths, NO_WHY);
        EACH(e, get(http, "paths"))
        check_http_path(v, ITEM(paths, e.i), e.item);
    }
}

static void check_ingress_status(struct rest_validation *v)
{
    path p = AT(AT(AT(NULL, "status"), "loadBalancer"), "ingress");
    EACH(e, neap_json_at(v->root, "status.loadBalancer.ingress"))
    {
        path at = ITEM(p, e.i);
        if (*text(e.item, "ip"))
            rest_check_ip(v, AT(at, "ip"), text(e.item, "ip"), NULL);
        if (!*text(e.item, "hostname"))
            continue;
        rest_check_words(v, AT(at, "hostname"), text(e.item, "hostname"), rest_words_dns_subdomain);
        if (rest_ip(text(e.item, "hostname"), NULL))
            rest_invalid(v, AT(at, "hostname"), get(e.item, "hostname"),
                         "must be a DNS name, not an IP address");
    }
}

void rest_validate_ingress(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *rules = get(spec, "rules");
    path p = AT(NULL, "spec"), tls = AT(p, "tls");
    if (v->subresource) {
        check_ingress_status(v);
        return;
    }
    if (!size(rules) && !has(spec, "defaultBackend"))
        rest_invalid(v, p, NULL, "either `defaultBackend` or `rules` must be specified");
    if (has(spec, "defaultBackend"))
        check_backend(v, AT(p, "defaultBackend"), get(spec, "defaultBackend"));
    check_rules(v, AT(p, "rules"), rules);
    EACH(t, get(spec, "tls"))
    {
        path at = ITEM(tls, t.i), hosts = AT(at, "hosts");
        EACH(e, get(t.item, "hosts"))
        check_host(v, ITEM(hosts, e.i), string_of(e.item), false);
        if (*text(t.item, "secretName"))
            rest_check_words(v, AT(at, "secretName"), text(t.item, "secretName"),
                             rest_words_dns_subdomain);
    }
    if (has(spec, "ingressClassName"))
        rest_check_words(v, AT(p, "ingressClassName"), text(spec, "ingressClassName"),
                         rest_words_dns_subdomain);
}

static void check_controller(struct rest_validation *v, path p, const char *s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                  "/-._~%!$&'()*+,;=:";
    char host[256];
    const char *slash = strchr(s, '/');
    if (strlen(s) > 250)
        rest_too_long(v, p, 250);
    if (!*s) {
        rest_required(v, p, NO_WHY);
    } else if (!slash || slash == s || !slash[1]) {
        rest_invalid_string(v, p, s, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    } else {
        snprintf(host, sizeof(host), "%.*s", (int)(slash - s > 255 ? 255 : slash - s), s);
        rest_check_words(v, p, host, rest_words_dns_subdomain);
        if (strspn(slash + 1, letters) != strlen(slash + 1))
            rest_invalid_string(v, p, slash + 1,
                                "Invalid path (regex used for validation is "
                                "'[A-Za-z0-9/\\-._~%%!$&'()*+,;=:]+')");
    }
}

static void check_parameters(struct rest_validation *v, path p, json *parameters)
{
    static const char *const scopes[] = {"Cluster", "Namespace", NULL};
    const char *scope = text(parameters, "scope");
    if (!parameters)
        return;
    check_segments(v, p, parameters);
    if (!rest_check_one_of(v, AT(p, "scope"), scope, true, scopes))
        return;
    if (strcmp(scope, "Cluster") == 0 && has(parameters, "namespace"))
        rest_forbidden(v, AT(p, "namespace"), "`parameters.scope` is set to 'Cluster'");
    else if (strcmp(scope, "Namespace") == 0 && !has(parameters, "namespace"))
        rest_required(v, AT(p, "namespace"), "`parameters.scope` is set to 'Namespace'");
    else if (strcmp(scope, "Namespace") == 0)
        rest_check_words(v, AT(p, "namespace"), text(parameters, "namespace"),
                         rest_words_dns_label);
}

void rest_validate_ingress_class(struct rest_validation *v)
{
    json *spec = get(v->root, "spec"), *old = get(v->old_root, "spec");
    path p = AT(NULL, "spec");
    if (v->old_root)
        rest_check_immutable(v, AT(p, "controller"), get(spec, "controller"),
                             get(old, "controller"), NULL);
    check_controller(v, AT(p, "controller"), text(spec, "controller"));
    check_parameters(v, AT(p, "parameters"), get(spec, "parameters"));
}

void rest_validate_ip_address(struct rest_validation *v)
{
    static const char *const fields[] = {"resource", "name", "namespace"};
    json *ref = neap_json_at(v->root, "spec.parentRef");
    path p = AT(AT(NULL, "spec"), "parentRef");
    if (!ref) {
        rest_required(v, p, NO_WHY);
        return;
    }
    if (*text(ref, "group"))
        rest_check_words(v, AT(p, "group"), text(ref, "group"), rest_words_dns_subdomain);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++)
        if (*text(ref, fields[i]))
            rest_check_words(v, AT(p, fields[i]), text(ref, fields[i]), rest_words_segment);
}
