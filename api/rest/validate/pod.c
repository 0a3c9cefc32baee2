/* Pods: the spec as a whole, templates, and what each write may change.
 * Source: Kubernetes documentation, "Pods", "Pod Lifecycle", "Resize CPU and Memory Resources". */
#include "shapes.h"

static const char MIRROR[] = "kubernetes.io/config.mirror";
static const char APPARMOR[] = "container.apparmor.security.beta.kubernetes.io/";

/* ---- the spec ---- */

static void check_claims(struct rest_pod *pod, path p)
{
    struct rest_validation *v = pod->v;
    struct neap_map seen = NEAP_MAP_INIT;
    EACH(e, get(pod->spec, "resourceClaims"))
    {
        path at = ITEM(p, e.i);
        static const char *const names[] = {"resourceClaimName", "resourceClaimTemplateName"};
        const char *name = text(e.item, "name");
        bool one = has(e.item, names[0]), two = has(e.item, names[1]);
        if (!*name)
            rest_required(v, AT(at, "name"), NO_WHY);
        else if (neap_map_get(&seen, name))
            rest_duplicate_string(v, AT(at, "name"), name);
        else
            rest_check_words(v, AT(at, "name"), name, rest_words_dns_label);
        if (*name)
            rest_set_add(&seen, name);
        if (one && two)
            rest_invalid_go(v, at, e.item, "PodResourceClaim",
                            "at most one of `resourceClaimName` or `resourceClaimTemplateName` may "
                            "be specified");
        if (!one && !two)
            rest_invalid_go(
                v, at, e.item, "PodResourceClaim",
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
        for (int i = 0; i < 2; i++)
            if (has(e.item, names[i]))
                rest_check_words(v, AT(at, names[i]), text(e.item, names[i]),
                                 rest_words_dns_subdomain);
    }
    neap_map_done(&seen, NULL);
}

static void check_host_network(struct rest_pod *pod, path p)
{
    if (!flag(pod->spec, "hostNetwork"))
        return;
    EACH(c, get(pod->spec, "containers"))
    {
        path ports = AT(ITEM(p, c.i), "ports");
        EACH(e, get(c.item, "ports"))
        {
            int64_t host = number(e.item, "hostPort");
            if ((pod->is_pod || host) && host != number(e.item, "containerPort"))
                rest_invalid_number(pod->v, AT(ITEM(ports, e.i), "hostPort"), host,
                                    "must match `containerPort` when `hostNetwork` is true");
        }
    }
}

static void check_dns_lists(struct rest_validation *v, path p, json *dns)
{
    json *servers = get(dns, "nameservers"), *searches = get(dns, "searches");
    path server_path = AT(p, "nameservers"), search_path = AT(p, "searches");
    path options = AT(p, "options");
    size_t total = size(searches) ? size(searches) - 1 : 0;
    if (size(servers) > 3)
        rest_invalid(v, server_path, servers, "must not have more than 3 nameservers");
    EACH(e, servers)
    rest_check_ip(v, ITEM(server_path, e.i), string_of(e.item), NULL);
    if (size(searches) > 32)
        rest_invalid(v, search_path, searches, "must not have more than 32 search paths");
    EACH(e, searches)
    total += yyjson_mut_get_len(e.item);
    if (total > 2048)
        rest_invalid(
            v, search_path, searches,
            "must not have more than 2048 characters (including spaces) in the search list");
    EACH(e, searches)
    {
        char *s = neap_strdup(string_of(e.item));
        size_t n = strlen(s);
        if (n > 1 && s[n - 1] == '.')
            s[n - 1] = '\0';
        if (strcmp(s, "."))
            rest_check_words(v, ITEM(search_path, e.i), s, rest_words_dns_underscore);
        free(s);
    }
    EACH(e, get(dns, "options"))
    if (!*text(e.item, "name"))
        rest_required(v, ITEM(options, e.i), "must not be empty");
}

static void check_dns(struct rest_pod *pod, path p)
{
    json *dns = get(pod->spec, "dnsConfig");
    bool none = is(pod->spec, "dnsPolicy", "None");
    if (none && !dns)
        rest_required(pod->v, p, "must provide `dnsConfig` when `dnsPolicy` is None");
    else if (none && !size(get(dns, "nameservers")))
        rest_required(pod->v, AT(p, "nameservers"),
                      "must provide at least one DNS nameserver when `dnsPolicy` is None");
    else
        check_dns_lists(pod->v, p, dns);
}

static void check_gates(struct rest_pod *pod, path p)
{
    struct rest_validation *v = pod->v;
    struct neap_map seen = NEAP_MAP_INIT;
    path ready = AT(p, "readinessGates"), gates = AT(p, "schedulingGates");
    EACH(e, get(pod->spec, "readinessGates"))
    rest_check_words(v, AT(ITEM(ready, e.i), "conditionType"), text(e.item, "conditionType"),
                     rest_words_qualified_name);
    EACH(e, get(pod->spec, "schedulingGates"))
    {
        rest_check_words(v, ITEM(gates, e.i), text(e.item, "name"), rest_words_qualified_name);
        if (!rest_set_add(&seen, text(e.item, "name")))
            rest_duplicate_string(v, ITEM(gates, e.i), text(e.item, "name"));
    }
    neap_map_done(&seen, NULL);
}

static void check_host_users(struct rest_pod *pod, path p)
{
    static const char *const fields[] = {"hostNetwork", "hostPID", "hostIPC"};
    static const char *const shown[] = {"hostNetwork", "HostPID", "HostIPC"};
    if (!has(pod->spec, "hostUsers") || flag(pod->spec, "hostUsers"))
        return;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++)
        if (flag(pod->spec, fields[i]))
            rest_forbidden(pod->v, AT(p, shown[i]), "when `hostUsers` is false");
    static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(lists); i++) {
        path list = AT(p, lists[i]);
        EACH(e, get(pod->spec, lists[i]))
        if (size(get(e.item, "volumeDevices")))
            rest_forbidden(pod->v, AT(ITEM(list, e.i), "volumeDevices"),
                           "when `hostUsers` is false");
    }
}

static void check_host_name(struct rest_pod *pod, path p)
{
    struct rest_validation *v = pod->v;
    json *name = get(pod->spec, "hostnameOverride");
    path at = AT(p, "hostnameOverride");
    if (!name)
        return;
    if (flag(pod->spec, "setHostnameAsFQDN"))
        rest_forbidden(v, at, "may not be specified when setHostnameAsFQDN is true");
    if (flag(pod->spec, "hostNetwork"))
        rest_forbidden(v, at, "may not be specified when hostNetwork is true");
    if (yyjson_mut_get_len(name) > 64)
        rest_too_long(v, at, 64);
    rest_check_words(v, at, string_of(name), rest_words_dns_subdomain);
}

/* Texts that are names of something, when there. */
static void check_names(struct rest_pod *pod, path p)
{
    static const struct {
        const char *field;
        rest_words *words;
    } rows[] = {{"serviceAccountName", rest_words_dns_subdomain},
                {"nodeName", rest_words_dns_subdomain},
                {"activeDeadlineSeconds", NULL},
                {"hostname", rest_words_dns_label},
                {"subdomain", rest_words_dns_label}};
    struct rest_validation *v = pod->v;
    json *deadline = get(pod->spec, "activeDeadlineSeconds");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        const char *s = text(pod->spec, rows[i].field);
        if (*s)
            rest_check_words(v, AT(p, rows[i].field), s, rows[i].words);
        if (rows[i].words || !deadline)
            continue;
        if (yyjson_mut_get_sint(deadline) < 1 || yyjson_mut_get_sint(deadline) > INT32_MAX)
            rest_invalid(v, AT(p, rows[i].field), deadline,
                         "must be between 1 and 2147483647, inclusive");
    }
}

static void check_aliases(struct rest_pod *pod, path p)
{
    EACH(a, get(pod->spec, "hostAliases"))
    {
        path at = ITEM(p, a.i), names = AT(at, "hostnames");
        rest_check_ip(pod->v, AT(at, "ip"), text(a.item, "ip"), NULL);
        EACH(e, get(a.item, "hostnames"))
        rest_check_words(pod->v, ITEM(names, e.i), string_of(e.item), rest_words_dns_subdomain);
    }
}

static void check_classes(struct rest_pod *pod, path p)
{
    static const char *const preemption[] = {"PreemptLowerPriority", "Never", NULL};
    struct rest_validation *v = pod->v;
    json *spec = pod->spec;
    if (*text(spec, "priorityClassName"))
        rest_check_words(v, AT(p, "priorityClassName"), text(spec, "priorityClassName"),
                         rest_words_dns_subdomain);
    if (has(spec, "runtimeClassName"))
        rest_check_words(v, AT(p, "runtimeClassName"), text(spec, "runtimeClassName"),
                         rest_words_dns_subdomain);
    if (has(spec, "preemptionPolicy"))
        rest_check_one_of(v, AT(p, "preemptionPolicy"), text(spec, "preemptionPolicy"), true,
                          preemption);
    path overhead = AT(p, "overhead");
    EACH(e, get(spec, "overhead"))
    {
        path at = KEY(AT(overhead, "limits"), e.key);
        rest_check_container_resource_name(v, at, e.key);
        rest_check_resource_quantity(v, at, e.key, e.item);
    }
}

/* A container reads a file of an emptyDir. */
static void check_file_keys(struct rest_pod *pod, path p)
{
    static const char *const lists[] = {"initContainers", "containers", "ephemeralContainers"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(lists); i++)
        EACH(c, get(pod->spec, lists[i]))
    EACH(e, get(c.item, "env"))
    {
        json *ref = get(get(e.item, "valueFrom"), "fileKeyRef");
        const char *name = text(ref, "volumeName");
        json *volume = ref ? neap_map_get(&pod->volumes, name) : NULL;
        path env = ITEM(AT(ITEM(AT(p, lists[i]), c.i), "env"), e.i);
        path at = AT(AT(AT(env, "valueFrom"), "fileKeyRef"), "volumeName");
        if (ref && !volume)
            rest_not_found(pod->v, at, name, "");
        else if (ref && !has(volume, "emptyDir"))
            rest_invalid_string(pod->v, at, name, "referenced volume must be of type emptyDir");
    }
}

static void check_placement(struct rest_pod *pod, path p)
{
    struct rest_validation *v = pod->v;
    json *spec = pod->spec;
    rest_check_labels(v, AT(p, "nodeSelector"), get(spec, "nodeSelector"));
    rest_check_pod_security_context(pod, AT(p, "securityContext"));
    if (flag(spec, "shareProcessNamespace") && flag(spec, "hostPID"))
        rest_invalid(v, AT(p, "shareProcessNamespace"), get(spec, "shareProcessNamespace"),
                     "ShareProcessNamespace and HostPID cannot both be enabled");
    rest_check_affinity(v, AT(p, "affinity"), get(spec, "affinity"));
    check_dns(pod, AT(p, "dnsConfig"));
    check_gates(pod, p);
    rest_check_topology_spread(v, AT(p, "topologySpreadConstraints"),
                               get(spec, "topologySpreadConstraints"));
}

static void check_policies(struct rest_pod *pod, path p)
{
    static const char *const restart[] = {"Always", "OnFailure", "Never", NULL};
    static const char *const dns[] = {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None",
                                      NULL};
    rest_check_one_of(pod->v, AT(p, "restartPolicy"), text(pod->spec, "restartPolicy"), true,
                      restart);
    rest_check_one_of(pod->v, AT(p, "dnsPolicy"), text(pod->spec, "dnsPolicy"), true, dns);
}

/* A token belongs to an account. */
static void check_tokens(struct rest_pod *pod, path p)
{
    if (*text(pod->spec, "serviceAccountName"))
        return;
    EACH(volume, get(pod->spec, "volumes"))
    {
        path sources = AT(AT(ITEM(p, volume.i), "projected"), "sources");
        EACH(e, get(get(volume.item, "projected"), "sources"))
        if (has(e.item, "serviceAccountToken"))
            rest_forbidden(pod->v, AT(ITEM(sources, e.i), "serviceAccountToken"),
                           "must not be specified when serviceAccountName is not set");
    }
}

void rest_check_pod_spec(struct rest_validation *v, path p, json *spec, json *meta, bool is_pod)
{
    struct rest_pod pod = {.v = v, .spec = spec, .meta = meta, .is_pod = is_pod};
    EACH(e, get(spec, "resourceClaims"))
    if (*text(e.item, "name"))
        rest_set_add(&pod.claims, text(e.item, "name"));
    rest_check_volumes(&pod, AT(p, "volumes"));
    check_claims(&pod, AT(p, "resourceClaims"));
    rest_check_containers(&pod, p);
    rest_check_pod_resources(&pod, AT(p, "resources"));
    check_host_network(&pod, AT(p, "containers"));
    check_policies(&pod, p);
    check_placement(&pod, p);
    check_host_users(&pod, p);
    check_host_name(&pod, p);
    check_names(&pod, p);
    rest_check_tolerations(v, AT(p, "tolerations"), get(spec, "tolerations"));
    check_aliases(&pod, AT(p, "hostAliases"));
    check_classes(&pod, p);
    rest_check_pod_os(&pod, p);
    check_file_keys(&pod, p);
    if (is_pod) {
        check_tokens(&pod, AT(p, "volumes"));
        rest_check_not_negative(v, AT(p, "terminationGracePeriodSeconds"),
                                get(spec, "terminationGracePeriodSeconds"));
        rest_check_image_spaces(&pod, p);
    }
    neap_map_done(&pod.volumes, NULL);
    neap_map_done(&pod.claims, NULL);
}

/* ---- annotations that mean something ---- */

static void check_pod_annotations(struct rest_validation *v, path p, json *annotations, json *spec)
{
    json *cost = get(annotations, "controller.kubernetes.io/pod-deletion-cost");
    char *end;
    if (has(annotations, MIRROR) && !*text(spec, "nodeName"))
        rest_invalid(v, KEY(p, MIRROR), get(annotations, MIRROR),
                     "must set spec.nodeName if mirror pod annotation is set");
    if (!cost)
        return;
    const char *s = string_of(cost);
    long long n = strtoll(s, &end, 10);
    if (!*s || *end || *s == '+' || n < INT32_MIN || n > INT32_MAX || (s[0] == '0' && s[1]) ||
        *s == ' ')
        rest_invalid(v, KEY(p, "controller.kubernetes.io/pod-deletion-cost"), cost,
                     "must be a 32bit integer");
}

static void check_frozen_annotations(struct rest_validation *v, path p)
{
    json *now = neap_json_at(v->root, "metadata.annotations");
    json *old = neap_json_at(v->old_root, "metadata.annotations");
    EACH(e, old)
    {
        if (has(now, e.key) && rest_same(get(now, e.key), e.item))
            continue;
        if (strncmp(e.key, APPARMOR, strlen(APPARMOR)) == 0)
            rest_forbidden(v, KEY(p, e.key), "may not remove or update AppArmor annotations");
        if (strcmp(e.key, MIRROR) == 0)
            rest_forbidden(v, KEY(p, e.key), "may not remove or update mirror pod annotation");
    }
    EACH(e, now)
    {
        if (has(old, e.key))
            continue;
        if (strncmp(e.key, APPARMOR, strlen(APPARMOR)) == 0)
            rest_forbidden(v, KEY(p, e.key), "may not add AppArmor annotations");
        if (strcmp(e.key, MIRROR) == 0)
            rest_forbidden(v, KEY(p, e.key), "may not add mirror pod annotation");
    }
}

/* ---- templates ---- */

void rest_check_pod_template(struct rest_validation *v, path p, json *template)
{
    json *meta = get(template, "metadata"), *spec = get(template, "spec");
    rest_check_labels(v, AT(p, "labels"), get(meta, "labels"));
    rest_check_annotations(v, AT(p, "annotations"), get(meta, "annotations"));
    check_pod_annotations(v, AT(p, "annotations"), get(meta, "annotations"), spec);
    rest_check_pod_spec(v, AT(p, "spec"), spec, NULL, false);
    if (size(get(spec, "ephemeralContainers")))
        rest_forbidden(v, AT(AT(p, "spec"), "ephemeralContainers"),
                       "ephemeral containers not allowed in pod template");
}

void rest_validate_pod_template(struct rest_validation *v)
{
    rest_check_pod_template(v, AT(NULL, "template"), get(v->root, "template"));
}

/* ---- creates and updates ---- */

static void check_whole(struct rest_validation *v)
{
    path meta = AT(NULL, "metadata"), p = AT(NULL, "spec");
    json *spec = get(v->root, "spec");
    check_pod_annotations(v, AT(meta, "annotations"), neap_json_at(v->root, "metadata.annotations"),
                          spec);
    rest_check_pod_spec(v, p, spec, get(v->root, "metadata"), true);
}

static void check_create(struct rest_validation *v)
{
    path p = AT(NULL, "spec");
    json *spec = get(v->root, "spec");
    check_whole(v);
    if (size(get(spec, "ephemeralContainers")))
        rest_forbidden(v, AT(p, "ephemeralContainers"), "cannot be set on create");
    if (size(get(spec, "schedulingGates")) && *text(spec, "nodeName"))
        rest_forbidden(v, AT(p, "nodeName"),
                       "cannot be set until all schedulingGates have been cleared");
}

void rest_validate_pod(struct rest_validation *v)
{
    const char *sub = v->subresource ? v->subresource->name : "";
    path meta = AT(NULL, "metadata");
    if (v->binding)
        return;
    if (!v->old_root) {
        check_create(v);
        return;
    }
    if (strcmp(sub, "status") == 0) {
        check_frozen_annotations(v, AT(meta, "annotations"));
        rest_check_pod_status(v);
        return;
    }
    check_whole(v);
    if (strcmp(sub, "resize") == 0) {
        rest_check_pod_resize(v);
        return;
    }
    check_frozen_annotations(v, AT(meta, "annotations"));
    if (strcmp(sub, "ephemeralcontainers") == 0)
        rest_check_pod_ephemeral_update(v);
    else
        rest_check_pod_update(v);
}
