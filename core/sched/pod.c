/* What a pod asks for. Source: Kubernetes documentation, "Resource Management for Pods and Containers". */
#include "sched_internal.h"

static int64_t amount(yyjson_val *resources, const char *name, bool milli)
{
    yyjson_val *v = yyjson_obj_get(yyjson_obj_get(resources, "requests"), name);
    int64_t out = 0;
    if (!yyjson_is_str(v))
        return 0;
    if (milli)
        neap_quantity_milli(yyjson_get_str(v), yyjson_get_len(v), &out);
    else
        neap_quantity_value(yyjson_get_str(v), yyjson_get_len(v), &out);
    return out;
}

static void read_ports(struct sched_pod *p, yyjson_val *container)
{
    size_t i, n;
    yyjson_val *port;
    yyjson_arr_foreach(yyjson_obj_get(container, "ports"), i, n, port)
    {
        int64_t number = yyjson_get_sint(yyjson_obj_get(port, "hostPort"));
        const char *protocol = yyjson_get_str(yyjson_obj_get(port, "protocol"));
        if (number <= 0 || p->port_count == NEAP_ARRAY_LEN(p->ports))
            continue;
        p->ports[p->port_count++] = (struct sched_port){
            (uint16_t)number, protocol && *protocol ? (uint8_t)(*protocol | 32) : 't'};
    }
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The sum of the containers and sidecars, or what one init container needs if that is more. */
void sched_pod_read(struct sched_pod *p)
{
    yyjson_doc *doc = neap_object_parse(p->object, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc), *spec = yyjson_obj_get(root, "spec"), *c;
    struct sched_resources sum = {.pods = 1}, init = {0};
    size_t i, n;
    p->port_count = 0;
    yyjson_arr_foreach(yyjson_obj_get(spec, "containers"), i, n, c)
    {
        sum.cpu += amount(yyjson_obj_get(c, "resources"), "cpu", true);
        sum.memory += amount(yyjson_obj_get(c, "resources"), "memory", false);
        read_ports(p, c);
    }
    yyjson_arr_foreach(yyjson_obj_get(spec, "initContainers"), i, n, c)
    {
        int64_t cpu = amount(yyjson_obj_get(c, "resources"), "cpu", true);
        int64_t memory = amount(yyjson_obj_get(c, "resources"), "memory", false);
        if (yyjson_equals_str(yyjson_obj_get(c, "restartPolicy"), "Always")) {
            sum.cpu += cpu;
            sum.memory += memory;
        } else {
            init.cpu = larger(init.cpu, cpu);
            init.memory = larger(init.memory, memory);
        }
    }
    p->request = (struct sched_resources){.cpu = larger(sum.cpu, init.cpu),
                                          .memory = larger(sum.memory, init.memory),
                                          .pods = 1};
    p->request.cpu += amount(yyjson_obj_get(root, "overhead"), "cpu", true);
    p->priority = yyjson_get_sint(yyjson_obj_get(spec, "priority"));
    yyjson_doc_free(p->doc);
    p->doc = doc;
}
