/* Containers of every sort: names, images, ports, pull and restart policies, handlers, probes. */
#include "validate.h"

static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};

/* ---- ports ---- */

static void check_ports(struct rest_validation *v, path p, json *ports)
{
    struct neap_map names = NEAP_MAP_INIT;
    EACH(e, ports)
    {
        path at = ITEM(p, e.i);
        const char *name = text(e.item, "name");
        struct rest_problems found = {0};
        if (*name)
            rest_words_port_name(&found, name);
        for (unsigned i = 0; i < found.count; i++)
            rest_invalid_string(v, AT(at, "name"), name, "%s", found.list[i]);
        if (*name && !found.count && !rest_set_add(&names, name))
            rest_duplicate_string(v, AT(at, "name"), name);
        if (!number(e.item, "containerPort"))
            rest_required(v, AT(at, "containerPort"), NO_WHY);
        else
            rest_check_port_number(v, AT(at, "containerPort"), get(e.item, "containerPort"));
        if (number(e.item, "hostPort"))
            rest_check_port_number(v, AT(at, "hostPort"), get(e.item, "hostPort"));
        rest_check_one_of(v, AT(at, "protocol"), text(e.item, "protocol"), true, protocols);
    }
    neap_map_done(&names, NULL);
}

/* <p>: the list of containers. */
static void check_host_ports(struct rest_validation *v, struct neap_map *taken, path p, json *c)
{
    char key[160];
    path ports = AT(p, "ports");
    EACH(e, get(c, "ports"))
    {
        if (!number(e.item, "hostPort"))
            continue;
        snprintf(key, sizeof(key), "%s/%s/%lld", text(e.item, "protocol"), text(e.item, "hostIP"),
                 (long long)number(e.item, "hostPort"));
        if (!rest_set_add(taken, key))
            rest_duplicate_string(v, AT(ITEM(ports, e.i), "hostPort"), key);
    }
}

/* ---- handlers ---- */

static void check_http(struct rest_validation *v, path p, json *http)
{
    static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
    static const char *const versions[] = {"HTTP1", "HTTP2", NULL};
    if (!*text(http, "path"))
        rest_required(v, AT(p, "path"), NO_WHY);
    rest_check_port(v, AT(p, "port"), get(http, "port"));
    rest_check_one_of(v, AT(p, "scheme"), text(http, "scheme"), false, schemes);
    EACH(e, get(http, "httpHeaders"))
    rest_check_words(v, AT(p, "httpHeaders"), text(e.item, "name"), rest_words_http_header);
    if (!has(http, "protocol") ||
        !rest_check_one_of(v, AT(p, "protocol"), text(http, "protocol"), false, versions) ||
        !is(http, "protocol", "HTTP2"))
        return;
    if (!is(http, "scheme", "HTTP"))
        rest_invalid(v, AT(p, "protocol"), get(http, "protocol"),
                     "is only supported with HTTP (H2C)");
    else if (*text(http, "host"))
        rest_invalid(v, AT(p, "host"), get(http, "host"),
                     "must be empty when `protocol` is \"HTTP2\"");
}

static void check_exec(struct rest_validation *v, path p, json *exec)
{
    if (!size(get(exec, "command")))
        rest_required(v, AT(p, "command"), NO_WHY);
}

static void check_tcp(struct rest_validation *v, path p, json *tcp)
{
    rest_check_port(v, AT(p, "port"), get(tcp, "port"));
}

static void check_grpc(struct rest_validation *v, path p, json *grpc)
{
    static const char *const modes[] = {"Plaintext", "TLS", NULL};
    rest_check_port_number(v, AT(p, "port"), get(grpc, "port"));
    if (has(grpc, "mode"))
        rest_check_one_of(v, AT(p, "mode"), text(grpc, "mode"), false, modes);
}

static const struct {
    const char *name;
    void (*check)(struct rest_validation *v, path p, json *action);
} handlers[] = {
    {"exec", check_exec}, {"httpGet", check_http}, {"tcpSocket", check_tcp},
    {"grpc", check_grpc}, {"sleep", NULL},
};

static void check_sleep(struct rest_pod *pod, path p, json *sleep)
{
    int64_t grace = number(pod->spec, "terminationGracePeriodSeconds");
    int64_t seconds = number(sleep, "seconds");
    if (has(pod->spec, "terminationGracePeriodSeconds") && (seconds < 0 || seconds > grace))
        rest_invalid_number(
            pod->v, p, seconds,
            "must be non-negative and less than terminationGracePeriodSeconds (%lld)",
            (long long)grace);
}

static void check_handler(struct rest_pod *pod, path p, json *handler)
{
    unsigned count = 0;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(handlers); i++) {
        json *action = get(handler, handlers[i].name);
        path at = AT(p, handlers[i].name);
        if (!action)
            continue;
        if (count++)
            rest_forbidden(pod->v, at, "may not specify more than 1 handler type");
        else if (handlers[i].check)
            handlers[i].check(pod->v, at, action);
        else
            check_sleep(pod, at, action);
    }
    if (!count)
        rest_required(pod->v, p, "must specify a handler type");
}

void rest_check_lifecycle(struct rest_pod *pod, path p, json *lifecycle)
{
    static const char *const windows[] = {"SIGKILL", "SIGTERM", NULL};
    if (has(lifecycle, "postStart"))
        check_handler(pod, AT(p, "postStart"), get(lifecycle, "postStart"));
    if (has(lifecycle, "preStop"))
        check_handler(pod, AT(p, "preStop"), get(lifecycle, "preStop"));
    if (!has(lifecycle, "stopSignal"))
        return;
    json *os = get(pod->spec, "os");
    if (!os)
        rest_forbidden(pod->v, AT(p, "stopSignal"),
                       "may not be set for containers with empty `spec.os.name`");
    else if (is(os, "name", "windows"))
        rest_check_one_of(pod->v, AT(p, "stopSignal"), text(lifecycle, "stopSignal"), false,
                          windows);
}

/* ---- probes ---- */

enum probe_kind { LIVENESS, READINESS, STARTUP };
static const char *const probe_names[] = {"livenessProbe", "readinessProbe", "startupProbe"};

static void check_probe(struct rest_pod *pod, path p, json *probe, enum probe_kind kind)
{
    static const char *const numbers[] = {"initialDelaySeconds", "timeoutSeconds",
                                          "periodSeconds",       "successThreshold",
                                          "failureThreshold",    NULL};
    struct rest_validation *v = pod->v;
    json *grace = get(probe, "terminationGracePeriodSeconds");
    path grace_path = AT(p, "terminationGracePeriodSeconds");
    if (!probe)
        return;
    check_handler(pod, p, probe);
    rest_check_not_negative_fields(v, p, probe, numbers);
    if (grace && yyjson_mut_get_sint(grace) <= 0)
        rest_invalid(v, grace_path, grace, "must be greater than 0");
    if (kind == READINESS && grace)
        rest_invalid(v, grace_path, grace, "must not be set for readinessProbes");
    if (kind != READINESS && number(probe, "successThreshold") != 1)
        rest_invalid_number(v, AT(p, "successThreshold"), number(probe, "successThreshold"),
                            "must be 1");
}

void rest_check_probes(struct rest_pod *pod, path p, json *container)
{
    for (int i = LIVENESS; i <= STARTUP; i++)
        check_probe(pod, AT(p, probe_names[i]), get(container, probe_names[i]), i);
}

/* ---- one container ---- */

static void check_resize(struct rest_pod *pod, path p, json *list)
{
    static const char *const resources[] = {"cpu", "memory", NULL};
    static const char *const policies[] = {"NotRequired", "RestartContainer", NULL};
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, list)
    {
        const char *policy = text(e.item, "restartPolicy");
        if (!rest_set_add(&seen, text(e.item, "resourceName")))
            rest_duplicate_string(pod->v, ITEM(p, e.i), text(e.item, "resourceName"));
        rest_check_one_of(pod->v, p, text(e.item, "resourceName"), true, resources);
        rest_check_one_of(pod->v, p, policy, true, policies);
        if (is(pod->spec, "restartPolicy", "Never") && strcmp(policy, "NotRequired"))
            rest_invalid_string(pod->v, p, policy,
                                "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
    }
    neap_map_done(&seen, NULL);
}

static void check_restart_rule(struct rest_validation *v, path p, json *rule)
{
    static const char *const actions[] = {"Restart", "RestartAllContainers", NULL};
    static const char *const operators[] = {"In", "NotIn", NULL};
    json *codes = get(rule, "exitCodes");
    path at = AT(p, "exitCodes");
    rest_check_one_of(v, AT(p, "action"), text(rule, "action"), false, actions);
    if (!codes) {
        rest_required(v, at, "must be specified");
        return;
    }
    rest_check_one_of(v, AT(at, "operator"), text(codes, "operator"), false, operators);
    if (size(get(codes, "values")) > 255)
        rest_too_many(v, AT(at, "values"), size(get(codes, "values")), 255);
}

static void check_restart_policy(struct rest_validation *v, path p, json *c)
{
    static const char *const policies[] = {"Always", "Never", "OnFailure", NULL};
    json *rules = get(c, "restartPolicyRules");
    path at = AT(p, "restartPolicyRules");
    if (has(c, "restartPolicy"))
        rest_check_one_of(v, AT(p, "restartPolicy"), text(c, "restartPolicy"), false, policies);
    else if (size(rules))
        rest_required(v, AT(p, "restartPolicy"),
                      "must specify restartPolicy when restart rules are used");
    if (size(rules) > 20)
        rest_too_many(v, at, size(rules), 20);
    EACH(e, rules)
    check_restart_rule(v, ITEM(at, e.i), e.item);
}

static void check_common(struct rest_pod *pod, path p, json *c)
{
    static const char *const message[] = {"File", "FallbackToLogsOnError", NULL};
    static const char *const pull[] = {"Always", "IfNotPresent", "Never", NULL};
    struct rest_validation *v = pod->v;
    if (!*text(c, "name"))
        rest_required(v, AT(p, "name"), NO_WHY);
    else
        rest_check_words(v, AT(p, "name"), text(c, "name"), rest_words_dns_label);
    if (!*text(c, "image"))
        rest_required(v, AT(p, "image"), NO_WHY);
    rest_check_one_of(v, AT(p, "terminationMessagePolicy"), text(c, "terminationMessagePolicy"),
                      true, message);
    check_ports(v, AT(p, "ports"), get(c, "ports"));
    rest_check_env(pod, p, c);
    rest_check_mounts(pod, p, c);
    rest_check_one_of(v, AT(p, "imagePullPolicy"), text(c, "imagePullPolicy"), true, pull);
    rest_check_container_resources(pod, AT(p, "resources"), get(c, "resources"));
    check_resize(pod, AT(p, "resizePolicy"), get(c, "resizePolicy"));
    rest_check_security_context(pod, AT(p, "securityContext"), get(c, "securityContext"));
}

/* ---- the three lists ---- */

static void check_regular(struct rest_pod *pod, path p, json *list)
{
    struct rest_validation *v = pod->v;
    struct neap_map names = NEAP_MAP_INIT, ports = NEAP_MAP_INIT;
    if (!size(list))
        rest_required(v, p, NO_WHY);
    EACH(e, list)
    {
        path at = ITEM(p, e.i);
        check_common(pod, at, e.item);
        if (!rest_set_add(&names, text(e.item, "name")))
            rest_duplicate_string(v, AT(at, "name"), text(e.item, "name"));
        rest_check_lifecycle(pod, AT(at, "lifecycle"), get(e.item, "lifecycle"));
        rest_check_probes(pod, at, e.item);
        check_restart_policy(v, at, e.item);
    }
    EACH(e, list)
    check_host_ports(v, &ports, ITEM(p, e.i), e.item);
    neap_map_done(&names, NULL);
    neap_map_done(&ports, NULL);
}

static void forbid_for_init(struct rest_validation *v, path p, json *c)
{
    static const char *const fields[] = {"lifecycle", "livenessProbe", "readinessProbe",
                                         "startupProbe"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++)
        if (has(c, fields[i]))
            rest_forbidden(v, AT(p, fields[i]),
                           "may not be set for init containers without restartPolicy=Always");
}

static void check_init(struct rest_pod *pod, path p, json *c, struct neap_map *names, path list)
{
    struct rest_validation *v = pod->v;
    struct neap_map ports = NEAP_MAP_INIT;
    bool sidecar = is(c, "restartPolicy", "Always");
    check_common(pod, p, c);
    check_restart_policy(v, p, c);
    if (neap_map_get(names, text(c, "name")))
        rest_duplicate_string(v, AT(p, "name"), text(c, "name"));
    else if (*text(c, "name"))
        rest_set_add(names, text(c, "name"));
    check_host_ports(v, &ports, ITEM(list, 0), c); /* as a list of its own: so does the server */
    neap_map_done(&ports, NULL);
    if (sidecar) {
        rest_check_lifecycle(pod, AT(p, "lifecycle"), get(c, "lifecycle"));
        rest_check_probes(pod, p, c);
        return;
    }
    forbid_for_init(v, p, c);
    path policies = AT(p, "resizePolicy");
    EACH(e, get(c, "resizePolicy"))
    if (is(e.item, "restartPolicy", "RestartContainer"))
        rest_invalid_string(v, AT(ITEM(policies, e.i), "restartPolicy"), "RestartContainer",
                            "must not be set to 'RestartContainer' for non-sidecar initContainers");
}

static void check_ephemeral_fields(struct rest_validation *v, path p, json *c)
{
    static const char *const forbidden[] = {"ports",          "resources",          "resizePolicy",
                                            "restartPolicy",  "restartPolicyRules", "livenessProbe",
                                            "readinessProbe", "startupProbe",       "lifecycle"};
    static const char *const why = "cannot be set for an Ephemeral Container";
    for (size_t i = 0; i < NEAP_ARRAY_LEN(forbidden); i++)
        if (yyjson_mut_is_str(get(c, forbidden[i])) || size(get(c, forbidden[i])))
            rest_forbidden(v, AT(p, forbidden[i]), "%s", why);
    path mounts = AT(p, "volumeMounts");
    EACH(e, get(c, "volumeMounts"))
    {
        if (*text(e.item, "subPath"))
            rest_forbidden(v, AT(ITEM(mounts, e.i), "subPath"), "%s", why);
        if (*text(e.item, "subPathExpr"))
            rest_forbidden(v, AT(ITEM(mounts, e.i), "subPathExpr"), "%s", why);
    }
}

static void add_names(struct neap_map *m, json *list)
{
    EACH(e, list)
    rest_set_add(m, text(e.item, "name"));
}

static void check_image_spaces(struct rest_validation *v, path p, json *c)
{
    const char *image = text(c, "image");
    size_t n = strlen(image);
    if (n && (strchr(" \t\n\v\f\r", image[0]) || strchr(" \t\n\v\f\r", image[n - 1])))
        rest_invalid_string(v, AT(p, "image"), image,
                            "must not have leading or trailing whitespace");
}

static void check_ephemeral(struct rest_pod *pod, path p, json *list)
{
    struct rest_validation *v = pod->v;
    struct neap_map others = NEAP_MAP_INIT, all = NEAP_MAP_INIT;
    add_names(&others, get(pod->spec, "containers"));
    add_names(&others, get(pod->spec, "initContainers"));
    add_names(&all, get(pod->spec, "containers"));
    add_names(&all, get(pod->spec, "initContainers"));
    EACH(e, list)
    {
        path at = ITEM(p, e.i);
        const char *target = text(e.item, "targetContainerName");
        check_common(pod, at, e.item);
        check_image_spaces(v, at, e.item);
        if (!rest_set_add(&all, text(e.item, "name")))
            rest_duplicate_string(v, AT(at, "name"), text(e.item, "name"));
        if (*target && !neap_map_get(&others, target))
            rest_not_found(v, AT(at, "targetContainerName"), target, "");
        check_ephemeral_fields(v, at, e.item);
    }
    neap_map_done(&others, NULL);
    neap_map_done(&all, NULL);
}

void rest_check_containers(struct rest_pod *pod, path spec_path)
{
    struct neap_map names = NEAP_MAP_INIT;
    path init = AT(spec_path, "initContainers");
    check_regular(pod, AT(spec_path, "containers"), get(pod->spec, "containers"));
    add_names(&names, get(pod->spec, "containers"));
    EACH(e, get(pod->spec, "initContainers"))
    check_init(pod, ITEM(init, e.i), e.item, &names, init);
    neap_map_done(&names, NULL);
    check_ephemeral(pod, AT(spec_path, "ephemeralContainers"),
                    get(pod->spec, "ephemeralContainers"));
}

void rest_check_image_spaces(struct rest_pod *pod, path spec_path)
{
    static const char *const lists[] = {"containers", "initContainers"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(lists); i++) {
        path p = AT(spec_path, lists[i]);
        EACH(e, get(pod->spec, lists[i]))
        check_image_spaces(pod->v, ITEM(p, e.i), e.item);
    }
}
