/* Filters and scores, named like kube-scheduler's default plugins.
 * Source: Kubernetes documentation, "Assigning Pods to Nodes", "Taints and Tolerations". */
#include "sched_internal.h"

static yyjson_val *spec_of(const struct sched_pod *p)
{
    return yyjson_obj_get(yyjson_doc_get_root(p->doc), "spec");
}

static const char *text(yyjson_val *o, const char *name)
{
    const char *s = yyjson_get_str(yyjson_obj_get(o, name));
    return s ? s : "";
}

/* ---- NodeUnschedulable, TaintToleration ---- */

static bool tolerates(yyjson_val *toleration, const char *key, const char *value, const char *effect)
{
    const char *k = text(toleration, "key"), *e = text(toleration, "effect");
    if ((*e && strcmp(e, effect) != 0) || (*k && strcmp(k, key) != 0))
        return false;
    if (strcmp(text(toleration, "operator"), "Exists") == 0)
        return true;
    return *k && strcmp(text(toleration, "value"), value) == 0;
}

static bool tolerated(const struct sched_pod *p, const char *key, const char *value, const char *effect)
{
    size_t i, n;
    yyjson_val *t;
    yyjson_arr_foreach(yyjson_obj_get(spec_of(p), "tolerations"), i, n, t)
    {
        if (tolerates(t, key, value, effect))
            return true;
    }
    return false;
}

static const char *node_unschedulable(const struct sched_node *n, const struct sched_pod *p, char *buf)
{
    (void)buf;
    if (!n->unschedulable || tolerated(p, "node.kubernetes.io/unschedulable", "", "NoSchedule"))
        return NULL;
    return "node(s) were unschedulable";
}

static const char *taint_toleration(const struct sched_node *n, const struct sched_pod *p, char *buf)
{
    size_t i, count;
    yyjson_val *t;
    yyjson_arr_foreach(n->taints, i, count, t)
    {
        const char *effect = text(t, "effect");
        if (strcmp(effect, "PreferNoSchedule") == 0 ||
            tolerated(p, text(t, "key"), text(t, "value"), effect))
            continue;
        snprintf(buf, 160, "node(s) had untolerated taint {%s: %s}", text(t, "key"), text(t, "value"));
        return buf;
    }
    return NULL;
}

/* ---- NodeName ---- */

/* ---- NodeAffinity, node selector ---- */

static const char *label(const struct sched_node *n, const char *key)
{
    return yyjson_get_str(yyjson_obj_get(n->labels, key));
}

static bool in_values(yyjson_val *values, const char *s)
{
    size_t i, n;
    yyjson_val *v;
    yyjson_arr_foreach(values, i, n, v)
    {
        if (yyjson_equals_str(v, s))
            return true;
    }
    return false;
}

static bool requirement(yyjson_val *r, const char *have)
{
    const char *op = text(r, "operator");
    yyjson_val *values = yyjson_obj_get(r, "values");
    if (strcmp(op, "In") == 0)
        return have && in_values(values, have);
    if (strcmp(op, "NotIn") == 0)
        return !have || !in_values(values, have);
    if (strcmp(op, "Exists") == 0)
        return have != NULL;
    if (strcmp(op, "DoesNotExist") == 0)
        return have == NULL;
    const char *want = yyjson_get_str(yyjson_arr_get_first(values));
    if (!have || !want)
        return false;
    long long a = strtoll(have, NULL, 10), b = strtoll(want, NULL, 10);
    return strcmp(op, "Gt") == 0 ? a > b : a < b;
}

static bool term_matches(const struct sched_node *node, yyjson_val *term)
{
    size_t i, n;
    yyjson_val *r;
    yyjson_val *expressions = yyjson_obj_get(term, "matchExpressions");
    yyjson_val *fields = yyjson_obj_get(term, "matchFields");
    if (!yyjson_arr_size(expressions) && !yyjson_arr_size(fields))
        return false; /* an empty term matches nothing */
    yyjson_arr_foreach(expressions, i, n, r)
    {
        if (!requirement(r, label(node, text(r, "key"))))
            return false;
    }
    yyjson_arr_foreach(fields, i, n, r)
    {
        if (strcmp(text(r, "key"), "metadata.name") != 0 || !requirement(r, node->name))
            return false;
    }
    return true;
}

static bool selector_matches(const struct sched_node *node, yyjson_val *selector)
{
    size_t i, n;
    yyjson_val *term;
    yyjson_arr_foreach(yyjson_obj_get(selector, "nodeSelectorTerms"), i, n, term)
    {
        if (term_matches(node, term))
            return true;
    }
    return false;
}

static const char *node_affinity(const struct sched_node *node, const struct sched_pod *p, char *buf)
{
    size_t i, n;
    yyjson_val *k, *v, *required;
    (void)buf;
    yyjson_obj_foreach(yyjson_obj_get(spec_of(p), "nodeSelector"), i, n, k, v)
    {
        const char *have = label(node, yyjson_get_str(k));
        if (!have || !yyjson_equals_str(v, have))
            return "node(s) didn't match Pod's node affinity/selector";
    }
    required = neap_json_val_at(spec_of(p),
                                "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution");
    return !required || selector_matches(node, required)
               ? NULL
               : "node(s) didn't match Pod's node affinity/selector";
}

/* ---- NodePorts ---- */

static const char *node_ports(const struct sched_node *n, const struct sched_pod *p, char *buf)
{
    (void)buf;
    for (unsigned i = 0; i < p->port_count; i++)
        for (size_t j = 0; j < n->port_count; j++)
            if (p->ports[i].number == n->ports[j].number &&
                p->ports[i].protocol == n->ports[j].protocol)
                return "node(s) didn't have free ports for the requested pod ports";
    return NULL;
}

/* ---- NodeResourcesFit ---- */

static const char *resources_fit(const struct sched_node *n, const struct sched_pod *p, char *buf)
{
    (void)buf;
    if (n->used.pods + 1 > n->allocatable.pods)
        return "Too many pods";
    if (p->request.cpu && n->used.cpu + p->request.cpu > n->allocatable.cpu)
        return "Insufficient cpu";
    if (p->request.memory && n->used.memory + p->request.memory > n->allocatable.memory)
        return "Insufficient memory";
    return NULL;
}

/* In the order of the default profile. */
static const struct {
    const char *name;
    const char *(*filter)(const struct sched_node *n, const struct sched_pod *p, char *buf);
} filters[] = {
    {"NodeUnschedulable", node_unschedulable}, {"TaintToleration", taint_toleration},
    {"NodeAffinity", node_affinity},           {"NodePorts", node_ports},
    {"NodeResourcesFit", resources_fit},
};

const char *sched_filter(const struct sched_node *n, const struct sched_pod *p, char buf[160])
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(filters); i++) {
        const char *why = filters[i].filter(n, p, buf);
        if (why)
            return why;
    }
    return NULL;
}

/* ---- scores ---- */

static int64_t percent_free(int64_t used, int64_t total)
{
    return total > 0 && used < total ? (total - used) * 100 / total : 0;
}

/* What kube-scheduler assumes of a container that asks for nothing. */
enum { DEFAULT_CPU = 100 };
static const int64_t DEFAULT_MEMORY = 200 << 20;

static int64_t least_allocated(const struct sched_node *n, int64_t cpu, int64_t memory)
{
    return (percent_free(n->used.cpu + cpu, n->allocatable.cpu) +
            percent_free(n->used.memory + memory, n->allocatable.memory)) / 2;
}

static int64_t balanced(const struct sched_node *n, int64_t cpu, int64_t memory)
{
    int64_t a = percent_free(n->used.cpu + cpu, n->allocatable.cpu);
    int64_t b = percent_free(n->used.memory + memory, n->allocatable.memory);
    return 100 - (a > b ? a - b : b - a) / 2;
}

static int64_t preferred_affinity(const struct sched_node *node, const struct sched_pod *p)
{
    size_t i, n;
    yyjson_val *t;
    int64_t sum = 0, all = 0;
    yyjson_arr_foreach(neap_json_val_at(spec_of(p), "affinity.nodeAffinity."
                                                    "preferredDuringSchedulingIgnoredDuringExecution"),
                       i, n, t)
    {
        int64_t weight = yyjson_get_sint(yyjson_obj_get(t, "weight"));
        all += weight;
        if (term_matches(node, yyjson_obj_get(t, "preference")))
            sum += weight;
    }
    return all ? sum * 100 / all : 0;
}

static int64_t soft_taints(const struct sched_node *n, const struct sched_pod *p)
{
    size_t i, count, bad = 0;
    yyjson_val *t;
    yyjson_arr_foreach(n->taints, i, count, t)
    {
        if (strcmp(text(t, "effect"), "PreferNoSchedule") == 0)
            bad += !tolerated(p, text(t, "key"), text(t, "value"), "PreferNoSchedule");
    }
    return bad > 10 ? 0 : 100 - (int64_t)bad * 10;
}

int64_t sched_score(const struct sched_node *n, const struct sched_pod *p)
{
    int64_t cpu = p->request.cpu ? p->request.cpu : DEFAULT_CPU;
    int64_t memory = p->request.memory ? p->request.memory : DEFAULT_MEMORY;
    /* fewer pods first among equals: what requests nothing is spread as well */
    return (least_allocated(n, cpu, memory) + balanced(n, cpu, memory) +
            2 * preferred_affinity(n, p) + 3 * soft_taints(n, p)) * 1000 - n->used.pods;
}
