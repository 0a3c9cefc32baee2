/* What a pod asks for. Source: Kubernetes documentation, "Resource Management for Pods and Containers",
 * "Sidecar Containers", "Pod Overhead". */
#include "sched_internal.h"

/* What kube-scheduler assumes of a container that asks for nothing. */
static const int64_t assumed_default[2] = {100, 200 * 1024 * 1024};

/* Sums of one resource while containers are read. */
struct sum {
    const char *name; /* of the document */
    int64_t all, sidecars, init;
};
struct sums {
    struct sum *items;
    size_t count, cap;
    struct sum assumed[2];
};

static int64_t quantity(yyjson_val *v, const char *name)
{
    int64_t out = 0;
    const char *text = yyjson_get_str(v);
    if (!text)
        return 0;
    if (strcmp(name, "cpu") == 0)
        neap_quantity_milli(text, yyjson_get_len(v), &out);
    else
        neap_quantity_value(text, yyjson_get_len(v), &out);
    return out;
}

static struct sum *sum_of(struct sums *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->items[i].name, name) == 0)
            return &s->items[i];
    s->items = neap_grow(s->items, &s->cap, s->count, sizeof(*s->items));
    s->items[s->count] = (struct sum){.name = name};
    return &s->items[s->count++];
}

static int64_t add(int64_t a, int64_t b)
{
    int64_t out;
    return __builtin_add_overflow(a, b, &out) ? INT64_MAX / 4 : out;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

enum role { CONTAINER, SIDECAR, INIT };

/* Init containers run one after the other, beside the sidecars that started before them. */
static void add_one(struct sum *x, int64_t v, enum role role)
{
    if (role == INIT) {
        x->init = larger(x->init, add(x->sidecars, v));
        return;
    }
    x->all = add(x->all, v);
    if (role == SIDECAR) {
        x->sidecars = add(x->sidecars, v);
        x->init = larger(x->init, x->sidecars);
    }
}

/* What the node says of the container; NULL: nothing yet. */
static yyjson_val *status_of(yyjson_val *statuses, yyjson_val *container)
{
    size_t i, n;
    yyjson_val *x, *name = yyjson_obj_get(container, "name");
    yyjson_arr_foreach(statuses, i, n, x)
    {
        if (name && yyjson_equals(yyjson_obj_get(x, "name"), name))
            return x;
    }
    return NULL;
}

/* While a container is resized in place the largest counts: what is wanted, allocated, in force. */
static int64_t largest(yyjson_val *wanted, yyjson_val *status, const char *name)
{
    int64_t v = quantity(wanted, name);
    if (!status)
        return v;
    yyjson_val *now = neap_json_val_at(status, "resources.requests");
    v = larger(v, quantity(yyjson_obj_get(now, name), name));
    return larger(
        v, quantity(yyjson_obj_get(yyjson_obj_get(status, "allocatedResources"), name), name));
}

static void add_container(struct sums *s, yyjson_val *c, yyjson_val *statuses, enum role role)
{
    static const char *const names[2] = {"cpu", "memory"};
    yyjson_val *requests = yyjson_obj_get(yyjson_obj_get(c, "resources"), "requests"), *k, *v;
    yyjson_val *status = status_of(statuses, c);
    size_t i, n;
    yyjson_obj_foreach(requests, i, n, k, v)
    {
        const char *name = yyjson_get_str(k);
        add_one(sum_of(s, name), largest(v, status, name), role);
    }
    for (int r = 0; r < 2; r++) {
        yyjson_val *own = yyjson_obj_get(requests, names[r]);
        add_one(&s->assumed[r], own ? largest(own, status, names[r]) : assumed_default[r], role);
    }
}

/* spec.resources: the pod's own requests stand for its containers'. */
static void pod_level(struct sums *s, yyjson_val *spec)
{
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(neap_json_val_at(spec, "resources.requests"), i, n, k, v)
    {
        const char *name = yyjson_get_str(k);
        int64_t x = quantity(v, name);
        *sum_of(s, name) = (struct sum){.name = name, .all = x};
        if (strcmp(name, "cpu") == 0)
            s->assumed[0] = (struct sum){.all = x};
        else if (strcmp(name, "memory") == 0)
            s->assumed[1] = (struct sum){.all = x};
    }
}

static void overhead(struct sums *s, yyjson_val *spec)
{
    size_t i, n;
    yyjson_val *k, *v;
    yyjson_obj_foreach(yyjson_obj_get(spec, "overhead"), i, n, k, v)
    {
        const char *name = yyjson_get_str(k);
        struct sum *x = sum_of(s, name);
        int64_t more = quantity(v, name);
        int which = strcmp(name, "cpu") == 0 ? 0 : strcmp(name, "memory") == 0 ? 1 : -1;
        x->all = add(larger(x->all, x->init), more);
        if (which >= 0)
            s->assumed[which].all =
                add(larger(s->assumed[which].all, s->assumed[which].init), more);
    }
}

static void read_ports(struct neap_sched_pod *p, yyjson_val *container)
{
    size_t i, n;
    yyjson_val *port;
    yyjson_arr_foreach(yyjson_obj_get(container, "ports"), i, n, port)
    {
        int64_t number = yyjson_get_sint(yyjson_obj_get(port, "hostPort"));
        const char *protocol = yyjson_get_str(yyjson_obj_get(port, "protocol"));
        const char *ip = yyjson_get_str(yyjson_obj_get(port, "hostIP"));
        if (number <= 0 || number > UINT16_MAX)
            continue;
        p->ports = neap_grow(p->ports, &p->port_cap, p->port_count, sizeof(*p->ports));
        struct sched_port *to = &p->ports[p->port_count++];
        to->number = (uint16_t)number;
        to->protocol = protocol && *protocol ? (uint8_t)(*protocol | 32) : 't';
        bool every = !ip || strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0;
        snprintf(to->ip, sizeof(to->ip), "%s", every ? "" : ip);
    }
}

static void amounts_reset(struct neap_sched_pod *p)
{
    for (size_t i = 0; i < p->amount_count; i++)
        if (p->amounts[i].resource < 0)
            free((char *)p->amounts[i].name);
    p->amount_count = 0;
    p->unknown_resource = false;
}

static void keep(struct neap_sched *s, struct neap_sched_pod *p, const struct sum *x)
{
    int64_t value = larger(x->all, x->init);
    if (value <= 0)
        return;
    p->amounts = neap_grow(p->amounts, &p->amount_cap, p->amount_count, sizeof(*p->amounts));
    struct neap_sched_amount *a = &p->amounts[p->amount_count++];
    a->resource = sched_resource(s, x->name, false);
    a->value = value;
    /* a resource that no node has yet: read again when one has it */
    a->name = a->resource < 0 ? neap_strdup(x->name) : s->resources[a->resource];
    p->unknown_resource |= a->resource < 0;
}

static void read_containers(struct neap_sched_pod *p, struct sums *s, yyjson_val *root)
{
    yyjson_val *spec = yyjson_obj_get(root, "spec");
    yyjson_val *init = neap_json_val_at(root, "status.initContainerStatuses");
    yyjson_val *statuses = neap_json_val_at(root, "status.containerStatuses");
    size_t i, n;
    yyjson_val *c;
    yyjson_arr_foreach(yyjson_obj_get(spec, "initContainers"), i, n, c)
    {
        bool sidecar = yyjson_equals_str(yyjson_obj_get(c, "restartPolicy"), "Always");
        add_container(s, c, init, sidecar ? SIDECAR : INIT);
        if (sidecar)
            read_ports(p, c);
    }
    yyjson_arr_foreach(yyjson_obj_get(spec, "containers"), i, n, c)
    {
        add_container(s, c, statuses, CONTAINER);
        read_ports(p, c);
    }
}

void sched_pod_read(struct neap_sched *s, struct neap_sched_pod *p, yyjson_val *root)
{
    yyjson_val *spec = yyjson_obj_get(root, "spec"), *started;
    struct sums sums = {0};
    struct neap_sched_group *old = p->group;
    amounts_reset(p);
    p->port_count = 0;
    read_containers(p, &sums, root);
    pod_level(&sums, spec);
    overhead(&sums, spec);
    for (size_t i = 0; i < sums.count; i++)
        keep(s, p, &sums.items[i]);
    for (int r = 0; r < 2; r++)
        p->assumed[r] = larger(sums.assumed[r].all, sums.assumed[r].init);
    free(sums.items);
    p->priority = yyjson_get_sint(yyjson_obj_get(spec, "priority"));
    started = neap_json_val_at(root, "status.startTime");
    p->started_ns = INT64_MAX; /* not yet: later than all that have */
    if (yyjson_is_str(started))
        neap_time_parse(yyjson_get_str(started), yyjson_get_len(started), &p->started_ns);
    p->group = sched_group(s, p->object, root);
    sched_group_release(s, old);
}

void sched_pod_free(struct neap_sched *s, struct neap_sched_pod *p)
{
    amounts_reset(p);
    free(p->amounts);
    free(p->ports);
    sched_group_release(s, p->group);
    neap_object_unref(p->object);
    yyjson_doc_free(p->doc);
    free(p->node_name);
    free(p->nominated_name);
    free(p->told);
    free(p->event_name);
    free(p);
}
