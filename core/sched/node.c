/* Nodes: what they have and what is used of it. */
#include "sched_internal.h"

static int64_t quantity(yyjson_val *allocatable, const char *name, bool milli, int64_t dflt)
{
    yyjson_val *v = yyjson_obj_get(allocatable, name);
    int64_t out = dflt;
    if (!yyjson_is_str(v))
        return dflt;
    if (milli)
        neap_quantity_milli(yyjson_get_str(v), yyjson_get_len(v), &out);
    else
        neap_quantity_value(yyjson_get_str(v), yyjson_get_len(v), &out);
    return out;
}

void sched_node_read(struct sched_node *n, struct neap_object *o)
{
    struct neap_object *old = n->object;
    n->object = neap_object_ref(o);
    neap_object_unref(old);
    yyjson_doc_free(n->doc);
    n->doc = neap_object_parse(o, NULL);
    yyjson_val *root = yyjson_doc_get_root(n->doc);
    yyjson_val *allocatable = neap_json_val_at(root, "status.allocatable");
    n->name = neap_object_name(n->object);
    n->labels = neap_json_val_at(root, "metadata.labels");
    n->taints = neap_json_val_at(root, "spec.taints");
    n->unschedulable = yyjson_get_bool(neap_json_val_at(root, "spec.unschedulable"));
    n->allocatable = (struct sched_resources){.cpu = quantity(allocatable, "cpu", true, 0),
                                              .memory = quantity(allocatable, "memory", false, 0),
                                              .pods = quantity(allocatable, "pods", false, 0)};
}

struct sched_node *sched_node_new(struct neap_object *o)
{
    struct sched_node *n = neap_calloc(1, sizeof(*n));
    sched_node_read(n, o);
    return n;
}

void sched_node_free(struct sched_node *n)
{
    neap_object_unref(n->object);
    yyjson_doc_free(n->doc);
    free(n->ports);
    free(n);
}

static void remove_port(struct sched_node *n, struct sched_port port)
{
    for (size_t i = 0; i < n->port_count; i++)
        if (n->ports[i].number == port.number && n->ports[i].protocol == port.protocol) {
            n->ports[i] = n->ports[--n->port_count];
            return;
        }
}

void sched_node_add(struct sched_node *n, const struct sched_pod *p, int sign)
{
    n->used.cpu += sign * p->request.cpu;
    n->used.memory += sign * p->request.memory;
    n->used.pods += sign;
    for (unsigned i = 0; i < p->port_count; i++) {
        if (sign > 0) {
            n->ports = neap_grow(n->ports, &n->port_cap, n->port_count, sizeof(*n->ports));
            n->ports[n->port_count++] = p->ports[i];
        } else {
            remove_port(n, p->ports[i]);
        }
    }
}
