/* What a write to a pod that exists may change: the spec, its status, a resize, ephemeral containers. */
#include "shapes.h"
#include "../strategy.h"

/* ---- copies to change ---- */

static json *copy_of(yyjson_mut_doc *doc, json *v)
{
    return v ? yyjson_mut_val_mut_copy(doc, v) : NULL;
}

/* <to>.<name> becomes what <from> has. */
static void take(yyjson_mut_doc *doc, json *to, json *from, const char *name)
{
    yyjson_mut_obj_remove_key(to, name);
    if (has(from, name))
        yyjson_mut_obj_add_val(doc, to, name, copy_of(doc, get(from, name)));
}

static void diff_specs(struct neap_buf *out, json *old, json *now, const char *type)
{
    struct neap_buf a NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_show_go(&a, old, type, true);
    rest_show_go(&b, now, type, true);
    rest_diff(out, a.data, b.data);
}

/* ---- the spec ---- */

/* False: the lists cannot be compared one by one. */
static bool check_images(struct rest_validation *v, path p, json *now, json *old)
{
    if (size(now) != size(old)) {
        rest_forbidden(v, p, "pod updates may not add or remove containers");
        return false;
    }
    EACH(e, now)
    {
        const char *image = text(e.item, "image");
        size_t n = strlen(image);
        if (!n)
            rest_required(v, AT(ITEM(p, e.i), "image"), NO_WHY);
        else if (strchr(" \t\n\v\f\r", image[0]) || strchr(" \t\n\v\f\r", image[n - 1]))
            rest_invalid_string(v, AT(ITEM(p, e.i), "image"), image,
                                "must not have leading or trailing whitespace");
    }
    return true;
}

static void check_deadline(struct rest_validation *v, path p, json *now, json *old)
{
    if (now && (yyjson_mut_get_sint(now) < 0 || yyjson_mut_get_sint(now) > INT32_MAX))
        rest_invalid(v, p, now, "must be between 0 and 2147483647, inclusive");
    if (now && old && yyjson_mut_get_sint(old) < yyjson_mut_get_sint(now))
        rest_invalid(v, p, now, "must be less than or equal to previous value");
    else if (!now && old)
        rest_invalid(v, p, NULL, "must not update from a positive integer to nil value");
}

static void toleration_key(struct neap_buf *out, json *t)
{
    static const char *const fields[] = {"key", "operator", "value", "effect"};
    neap_buf_reset(out);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++) {
        rest_quote(out, text(t, fields[i]), strlen(text(t, fields[i])));
    }
}

static void check_tolerations(struct rest_validation *v, path p, json *now, json *old)
{
    struct neap_buf key NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_map have = NEAP_MAP_INIT;
    EACH(e, now)
    {
        toleration_key(&key, e.item);
        rest_set_add(&have, key.data);
    }
    EACH(e, old)
    {
        toleration_key(&key, e.item);
        if (!neap_map_get(&have, key.data))
            rest_forbidden(v, p,
                           "existing toleration can not be modified except its tolerationSeconds");
    }
    neap_map_done(&have, NULL);
    rest_check_tolerations(v, p, now);
}

static void check_gates(struct rest_validation *v, path p, json *now, json *old)
{
    struct neap_map had = NEAP_MAP_INIT;
    EACH(e, old)
    rest_set_add(&had, text(e.item, "name"));
    EACH(e, now)
    if (!neap_map_get(&had, text(e.item, "name")))
        rest_forbidden(v, AT(ITEM(p, e.i), "name"),
                       "only deletion is allowed, but found new scheduling gate '%s'",
                       text(e.item, "name"));
    neap_map_done(&had, NULL);
}

static bool starts_with(json *list, json *with)
{
    EACH(e, with)
    if (!neap_json_equal(yyjson_mut_arr_get(list, e.i), e.item))
        return false;
    return size(list) >= size(with);
}

static bool only_additions(json *now, json *old)
{
    bool none = !size(get(old, "matchExpressions")) && !size(get(old, "matchFields"));
    if (none && (size(get(now, "matchExpressions")) || size(get(now, "matchFields"))))
        return false;
    return starts_with(get(now, "matchExpressions"), get(old, "matchExpressions")) &&
           starts_with(get(now, "matchFields"), get(old, "matchFields"));
}

static void check_node_affinity(struct rest_validation *v, path p, json *now, json *old)
{
    static const char required[] = "requiredDuringSchedulingIgnoredDuringExecution";
    json *terms = get(get(now, required), "nodeSelectorTerms");
    json *old_terms = get(get(old, required), "nodeSelectorTerms");
    path at = AT(AT(p, required), "nodeSelectorTerms");
    if (size(old_terms) && size(terms) != size(old_terms)) {
        rest_invalid_go(v, at, terms, "[]NodeSelectorTerm",
                        "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
        return;
    }
    EACH(e, old_terms)
    {
        json *term = yyjson_mut_arr_get(terms, e.i);
        if (!only_additions(term, e.item))
            rest_invalid_go(v, ITEM(at, e.i), term, "NodeSelectorTerm",
                            "only additions are allowed (no mutations or deletions)");
    }
}

/* A pod that waits at a gate may still be told where to run, more narrowly. */
static void check_gated(struct rest_validation *v, path p, yyjson_mut_doc *doc, json *munged,
                        json *old)
{
    json *affinity = get(munged, "affinity"), *old_affinity = get(old, "affinity");
    json *node = get(affinity, "nodeAffinity"), *old_node = get(old_affinity, "nodeAffinity");
    if (!rest_same(get(munged, "nodeSelector"), get(old, "nodeSelector"))) {
        EACH(e, get(old, "nodeSelector"))
        if (!rest_same(get(get(munged, "nodeSelector"), e.key), e.item))
            rest_invalid(v, AT(p, "nodeSelector"), get(munged, "nodeSelector"),
                         "only additions to spec.nodeSelector are allowed (no mutations or "
                         "deletions)");
        take(doc, munged, old, "nodeSelector");
    }
    if (rest_same(node, old_node))
        return;
    check_node_affinity(v, AT(AT(p, "affinity"), "nodeAffinity"), node, old_node);
    if (!affinity ||
        (!old_affinity && !has(affinity, "podAffinity") && !has(affinity, "podAntiAffinity")))
        take(doc, munged, old, "affinity");
    else
        take(doc, affinity, old_affinity, "nodeAffinity");
}

static void munge_images(yyjson_mut_doc *doc, json *munged, json *old, const char *list)
{
    EACH(e, get(munged, list))
    take(doc, e.item, yyjson_mut_arr_get(get(old, list), e.i), "image");
}

static const char UPDATE_TEXT[] =
    "pod updates may not change fields other than "
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/* The new spec with everything that may change put back must be the old one. */
static void check_rest(struct rest_validation *v, path p, json *now, json *old)
{
    static const char *const free_fields[] = {"activeDeadlineSeconds", "schedulingGates",
                                              "tolerations"};
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    json *munged = copy_of(doc, now);
    munge_images(doc, munged, old, "containers");
    munge_images(doc, munged, old, "initContainers");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(free_fields); i++)
        take(doc, munged, old, free_fields[i]);
    if (number(old, "terminationGracePeriodSeconds") < 0 &&
        number(munged, "terminationGracePeriodSeconds") == 1)
        take(doc, munged, old, "terminationGracePeriodSeconds");
    if (size(get(old, "schedulingGates")))
        check_gated(v, p, doc, munged, old);
    if (!neap_json_equal(munged, old)) {
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        diff_specs(&b, old, munged, "PodSpec");
        rest_forbidden(v, p, "%s\n%s", UPDATE_TEXT, b.len ? b.data : "");
    }
    yyjson_mut_doc_free(doc);
}

void rest_check_pod_update(struct rest_validation *v)
{
    static const char *const lists[] = {"containers", "initContainers"};
    json *now = get(v->root, "spec"), *old = get(v->old_root, "spec");
    path p = AT(NULL, "spec");
    for (int i = 0; i < 2; i++)
        if (!check_images(v, AT(p, lists[i]), get(now, lists[i]), get(old, lists[i])))
            return;
    check_deadline(v, AT(p, "activeDeadlineSeconds"), get(now, "activeDeadlineSeconds"),
                   get(old, "activeDeadlineSeconds"));
    check_tolerations(v, AT(p, "tolerations"), get(now, "tolerations"), get(old, "tolerations"));
    check_gates(v, AT(p, "schedulingGates"), get(now, "schedulingGates"),
                get(old, "schedulingGates"));
    if (!neap_json_equal(now, old))
        check_rest(v, p, now, old);
}

/* ---- status ---- */

static bool restarts_all(json *spec)
{
    static const char *const lists[] = {"containers", "initContainers"};
    for (int i = 0; i < 2; i++)
        EACH(c, get(spec, lists[i]))
    EACH(e, get(c.item, "restartPolicyRules"))
    if (is(e.item, "action", "RestartAllContainers"))
        return true;
    return false;
}

static bool rule_matches(json *rule, int64_t exit_code)
{
    json *codes = get(rule, "exitCodes");
    bool in = false;
    EACH(e, get(codes, "values"))
    in = in || yyjson_mut_get_sint(e.item) == exit_code;
    return codes && is(codes, "operator", "In") == in;
}

/* Would this container be started again after it ended with <exit_code>? */
static bool restarts(json *container, json *spec, int64_t exit_code)
{
    const char *policy = has(container, "restartPolicy") ? text(container, "restartPolicy")
                                                         : text(spec, "restartPolicy");
    EACH(e, get(container, "restartPolicyRules"))
    if (rule_matches(e.item, exit_code))
        return true;
    return strcmp(policy, "Never") && (strcmp(policy, "OnFailure") || exit_code);
}

static json *named(json *list, const char *name)
{
    EACH(e, list)
    if (is(e.item, "name", name))
        return e.item;
    return NULL;
}

/* <containers>: of this sort; NULL: none of them starts again. */
static void check_transitions(struct rest_validation *v, path p, const char *field,
                              const char *containers)
{
    json *now = get(get(v->root, "status"), field), *old = get(get(v->old_root, "status"), field);
    json *spec = get(v->old_root, "spec");
    path at = AT(p, field);
    EACH(e, old)
    {
        json *ended = get(get(e.item, "state"), "terminated");
        json *status = ended ? named(now, text(e.item, "name")) : NULL;
        if (!status || has(get(status, "state"), "terminated"))
            continue;
        json *c = containers ? named(get(spec, containers), text(e.item, "name")) : NULL;
        if (!c || !restarts(c, spec, number(ended, "exitCode")))
            rest_forbidden(v, AT(ITEM(at, e.i), "state"),
                           "may not be transitioned to non-terminated state");
    }
}

static void check_conditions(struct rest_validation *v, path p, json *list)
{
    static const char *const system[] = {"PodScheduled", "Ready", "Initialized", NULL};
    EACH(e, list)
    {
        if (number(e.item, "observedGeneration") < 0)
            rest_invalid(v, AT(ITEM(p, e.i), "observedGeneration"),
                         get(e.item, "observedGeneration"), "must be a non-negative integer");
        if (!rest_one_of(text(e.item, "type"), system))
            rest_check_words(v, AT(ITEM(p, e.i), "Type"), text(e.item, "type"),
                             rest_words_qualified_name);
    }
}

/* Two addresses at most, one of each family. */
static void check_ips(struct rest_validation *v, path p, const char *field)
{
    json *now = get(get(v->root, "status"), field), *old = get(get(v->old_root, "status"), field);
    path at = AT(p, field);
    bool v6[2] = {false, false}, good = true;
    EACH(e, now)
    {
        json *before = NULL;
        if (e.i < size(old))
            before = yyjson_mut_arr_get(old, e.i);
        if (!before || strcmp(text(before, "ip"), text(e.item, "ip")))
            good = rest_check_ip(v, ITEM(at, e.i), text(e.item, "ip"), NULL) && good;
        if (e.i < 2)
            rest_ip(text(e.item, "ip"), &v6[e.i]);
    }
    if (good && size(now) > 1 && (size(now) > 2 || v6[0] == v6[1]))
        rest_invalid_go(v, at, now, "[]PodIP",
                        "may specify no more than one IP for each IP family");
}

void rest_check_pod_status(struct rest_validation *v)
{
    json *now = get(v->root, "status"), *old = get(v->old_root, "status");
    path p = AT(NULL, "status");
    const char *nominated = text(now, "nominatedNodeName");
    check_conditions(v, AT(p, "conditions"), get(now, "conditions"));
    if (!rest_same(neap_json_at(v->root, "spec.nodeName"),
                   neap_json_at(v->old_root, "spec.nodeName")))
        rest_forbidden(v, AT(p, "nodeName"), "may not be changed directly");
    if (*nominated && !is(old, "nominatedNodeName", nominated))
        rest_check_words(v, AT(p, "nominatedNodeName"), nominated, rest_words_dns_subdomain);
    if (number(now, "observedGeneration") < 0)
        rest_invalid(v, AT(p, "observedGeneration"), get(now, "observedGeneration"),
                     "must be a non-negative integer");
    rest_check_immutable(v, AT(p, "qosClass"), get(now, "qosClass"), get(old, "qosClass"), NULL);
    if (!restarts_all(get(v->old_root, "spec"))) {
        check_transitions(v, p, "containerStatuses", "containers");
        check_transitions(v, p, "initContainerStatuses", "initContainers");
    }
    check_transitions(v, p, "ephemeralContainerStatuses", NULL);
    check_ips(v, p, "podIPs");
    check_ips(v, p, "hostIPs");
}

/* ---- ephemeral containers ---- */

void rest_check_pod_ephemeral_update(struct rest_validation *v)
{
    struct neap_map by_name = NEAP_MAP_INIT;
    path p = AT(AT(NULL, "spec"), "ephemeralContainers");
    EACH(e, neap_json_at(v->root, "spec.ephemeralContainers"))
    neap_map_set(&by_name, text(e.item, "name"), e.item);
    EACH(e, neap_json_at(v->old_root, "spec.ephemeralContainers"))
    {
        const char *name = text(e.item, "name");
        json *now = neap_map_get(&by_name, name);
        if (!now) {
            rest_forbidden(v, p, "existing ephemeral containers \"%s\" may not be removed\n", name);
        } else if (!neap_json_equal(now, e.item)) {
            struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
            diff_specs(&b, e.item, now, "EphemeralContainer");
            rest_forbidden(v, p, "existing ephemeral containers \"%s\" may not be changed\n%s",
                           name, b.len ? b.data : "");
        }
    }
    neap_map_done(&by_name, NULL);
}

/* ---- resize ---- */

static bool removed(json *now, json *old)
{
    EACH(e, old)
    if (!has(now, e.key))
        return true;
    return false;
}

static bool check_order(struct rest_validation *v, path p, const char *field)
{
    json *now = get(get(v->root, "spec"), field), *old = get(get(v->old_root, "spec"), field);
    bool good = size(now) == size(old);
    path at = AT(p, field);
    if (!good)
        rest_forbidden(v, at, "%s may not be added or removed on resize", field);
    else
        EACH(e, old)
    if (!rest_same(get(yyjson_mut_arr_get(now, e.i), "name"), get(e.item, "name"))) {
        rest_forbidden(v, AT(ITEM(at, e.i), "name"),
                       "containers may not be renamed or reordered on resize");
        good = false;
    }
    return good;
}

static void check_resized(struct rest_validation *v, path p, json *now, json *old)
{
    json *a = get(now, "resources"), *b = get(old, "resources");
    if (removed(get(a, "requests"), get(b, "requests")))
        rest_forbidden(v, AT(AT(p, "resources"), "requests"),
                       "resource requests cannot be removed");
    if (removed(get(a, "limits"), get(b, "limits")))
        rest_forbidden(v, AT(AT(p, "resources"), "limits"), "resource limits cannot be removed");
}

/* Puts back cpu and memory; true: nothing else differs. */
static bool only_compute(yyjson_mut_doc *doc, json *container, json *old)
{
    static const char *const sides[] = {"limits", "requests"};
    json *now = copy_of(doc, container);
    json *mine = get(now, "resources"), *before = get(old, "resources");
    for (int i = 0; mine && i < 2; i++) {
        json *list = get(mine, sides[i]);
        if (!list) {
            list = yyjson_mut_obj(doc);
            yyjson_mut_obj_add_val(doc, mine, sides[i], list);
        }
        take(doc, list, get(before, sides[i]), "cpu");
        take(doc, list, get(before, sides[i]), "memory");
        if (!size(list))
            yyjson_mut_obj_remove_key(mine, sides[i]);
    }
    if (!before && mine && !size(mine))
        yyjson_mut_obj_remove_key(now, "resources");
    return neap_json_equal(now, old);
}

void rest_check_pod_resize(struct rest_validation *v)
{
    static const char *const lists[] = {"containers", "initContainers"};
    json *spec = get(v->root, "spec"), *old = get(v->old_root, "spec");
    path p = AT(NULL, "spec");
    if (strcmp(rest_pod_qos(spec), rest_pod_qos(old)))
        rest_invalid(v, p, neap_json_at(v->root, "status.qosClass"),
                     "Pod QOS Class may not change as a result of resizing");
    bool order = check_order(v, p, lists[0]);
    if (!check_order(v, p, lists[1]) || !order)
        return;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    for (int i = 1; i >= 0; i--) {
        path at = AT(p, lists[i]);
        EACH(e, get(old, lists[i]))
        check_resized(v, ITEM(at, e.i), yyjson_mut_arr_get(get(spec, lists[i]), e.i), e.item);
    }
    EACH(e, get(old, lists[0]))
    if (!only_compute(doc, yyjson_mut_arr_get(get(spec, lists[0]), e.i), e.item))
        rest_forbidden(v, p, "only cpu and memory resources are mutable");
    yyjson_mut_doc_free(doc);
}
