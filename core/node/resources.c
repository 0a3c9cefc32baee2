/* CPU and memory of containers: what a pod asks for (spec), what the node has granted it (allocated) and what
 * is in force (actual). They differ while a pod is resized, see resize.c.
 * Source: Kubernetes documentation, "Resize CPU and Memory Resources assigned to Containers". */
#include "node_internal.h"

int64_t resources_quantity(yyjson_val *resources, const char *path, bool milli)
{
    yyjson_val *v = neap_json_val_at(resources, path);
    int64_t out = 0;
    if (!yyjson_is_str(v))
        return 0;
    if (milli)
        neap_quantity_milli(yyjson_get_str(v), yyjson_get_len(v), &out);
    else
        neap_quantity_value(yyjson_get_str(v), yyjson_get_len(v), &out);
    return out;
}

static const struct {
    const char *path, *resource;
    bool milli;
} compute[] = {{"requests.cpu", "cpu", true},
               {"limits.cpu", "cpu", true},
               {"requests.memory", "memory", false},
               {"limits.memory", "memory", false}};

bool resources_differ(yyjson_val *a, yyjson_val *b, const char *resource)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(compute); i++)
        if ((!resource || strcmp(resource, compute[i].resource) == 0) &&
            resources_quantity(a, compute[i].path, compute[i].milli) !=
                resources_quantity(b, compute[i].path, compute[i].milli))
            return true;
    return false;
}

/* ---- granted and in force ---- */

static void set(yyjson_doc **at, yyjson_val *resources)
{
    size_t len = 0;
    char *text = yyjson_val_write(resources, 0, &len);
    yyjson_doc *copy = text ? yyjson_read(text, len, 0) : yyjson_read("{}", 2, 0);
    free(text);
    yyjson_doc_free(*at);
    *at = copy;
}

yyjson_val *resources_allocated(const struct container *c)
{
    return yyjson_doc_get_root(c->allocated);
}

yyjson_val *resources_actual(const struct container *c)
{
    return c->actual ? yyjson_doc_get_root(c->actual) : resources_allocated(c);
}

void resources_allocate(struct container *c, yyjson_val *resources)
{
    set(&c->allocated, resources);
}

void resources_in_force(struct container *c)
{
    set(&c->actual, resources_allocated(c));
}

void resources_restore(struct container *c, yyjson_val *status)
{
    yyjson_val *actual = yyjson_obj_get(status, "resources"), *limits, *requests;
    requests = yyjson_obj_get(status, "allocatedResources");
    limits = yyjson_obj_get(actual, "limits");
    if (!actual)
        return; /* nothing was told yet: the spec's */
    set(&c->actual, actual);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, root);
    if (limits)
        yyjson_mut_obj_add_val(doc, root, "limits", yyjson_val_mut_copy(doc, limits));
    if (requests)
        yyjson_mut_obj_add_val(doc, root, "requests", yyjson_val_mut_copy(doc, requests));
    yyjson_doc_free(c->allocated);
    c->allocated = yyjson_mut_doc_imut_copy(doc, NULL);
    yyjson_mut_doc_free(doc);
}

void resources_free(struct container *c)
{
    yyjson_doc_free(c->allocated);
    yyjson_doc_free(c->actual);
}

/* ---- for the runtime ---- */

static void convert(struct neap_runtime_resources *r, int64_t cpu_request, int64_t cpu_limit,
                    int64_t memory_limit)
{
    /* as kubelet: 1024 shares a CPU, at least 2; a quota of 100 ms periods, at least 1 ms */
    r->cpu_shares = cpu_request * 1024 / 1000;
    if (r->cpu_shares < 2)
        r->cpu_shares = 2;
    r->cpu_period_us = 100000;
    r->cpu_quota_us = cpu_limit ? cpu_limit * 100 : 0;
    if (cpu_limit && r->cpu_quota_us < 1000)
        r->cpu_quota_us = 1000;
    r->memory_limit = memory_limit;
}

void resources_of_container(const struct container *c, struct neap_runtime_resources *r)
{
    yyjson_val *x = resources_allocated(c);
    convert(r, resources_quantity(x, "requests.cpu", true),
            resources_quantity(x, "limits.cpu", true),
            resources_quantity(x, "limits.memory", false));
}

/* Sums over containers; a limit counts only when every one has it. */
static void sum(const struct pod *p, yyjson_val *(*of)(const struct container *),
                struct neap_runtime_resources *r)
{
    int64_t cpu = 0, cpu_limit = 0, memory = 0;
    bool cpu_all = true, memory_all = true;
    for (unsigned i = 0; i < p->count; i++) {
        const struct container *c = &p->containers[i];
        if ((c->init && !c->sidecar) || c->ephemeral)
            continue;
        yyjson_val *x = of(c);
        int64_t limit = resources_quantity(x, "limits.cpu", true),
                bytes = resources_quantity(x, "limits.memory", false);
        cpu += resources_quantity(x, "requests.cpu", true);
        cpu_limit += limit;
        memory += bytes;
        cpu_all = cpu_all && limit;
        memory_all = memory_all && bytes;
    }
    convert(r, cpu, cpu_all ? cpu_limit : 0, memory_all ? memory : 0);
}

static int64_t wider(int64_t a, int64_t b)
{
    return !a || !b ? 0 : a > b ? a : b; /* 0: no limit */
}

void resources_of_pod(const struct pod *p, bool both, struct neap_runtime_resources *r)
{
    struct neap_runtime_resources old = {0};
    sum(p, resources_allocated, r);
    if (!both)
        return;
    sum(p, resources_actual, &old);
    r->cpu_quota_us = wider(r->cpu_quota_us, old.cpu_quota_us);
    r->memory_limit = wider(r->memory_limit, old.memory_limit);
}

static yyjson_val *spec_of(const struct container *c)
{
    return yyjson_obj_get(c->spec, "resources");
}

void resources_requested(const struct pod *p, bool wanted, int64_t *ret_cpu, int64_t *ret_memory)
{
    int64_t sums[2] = {0, 0}, init[2] = {0, 0};
    for (unsigned i = 0; i < p->count; i++) {
        const struct container *c = &p->containers[i];
        yyjson_val *x = wanted ? spec_of(c) : resources_allocated(c);
        int64_t own[2] = {resources_quantity(x, "requests.cpu", true),
                          resources_quantity(x, "requests.memory", false)};
        for (int r = 0; r < 2 && !c->ephemeral; r++) {
            if (c->init && !c->sidecar)
                init[r] = own[r] > init[r] ? own[r] : init[r];
            else
                sums[r] += own[r];
        }
    }
    *ret_cpu = sums[0] > init[0] ? sums[0] : init[0];
    *ret_memory = sums[1] > init[1] ? sums[1] : init[1];
}
