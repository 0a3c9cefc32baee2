/* Whom pods/proxy and services/proxy mean: "NAME", "NAME:PORT", "http:NAME:PORT". */
#include "internal.h"

static int named_port(yyjson_val *list, const char *name, const char *number)
{
    size_t i, n;
    yyjson_val *p;
    yyjson_arr_foreach(list, i, n, p)
    {
        if (!name || yyjson_equals_str(yyjson_obj_get(p, "name"), name))
            return (int)yyjson_get_sint(yyjson_obj_get(p, number));
    }
    return 0;
}

static int port_of_pod(yyjson_val *spec, const char *port)
{
    size_t i, n;
    yyjson_val *c;
    uint64_t v;
    if (port && neap_parse_u64(port, 65535, &v))
        return (int)v;
    yyjson_arr_foreach(yyjson_obj_get(spec, "containers"), i, n, c)
    {
        int found = named_port(yyjson_obj_get(c, "ports"), port, "containerPort");
        if (found)
            return found;
    }
    return 80;
}

static int port_of_service(yyjson_val *spec, const char *port)
{
    uint64_t v;
    if (port && neap_parse_u64(port, 65535, &v))
        return (int)v;
    return named_port(yyjson_obj_get(spec, "ports"), port, "port");
}

int node_target(struct neap_call *c, struct neap_object *o, const char *port, char ip[64],
                int *ret_port)
{
    bool pod = strcmp(c->resource, "pods") == 0;
    yyjson_doc *doc = neap_object_parse(o, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc), *spec = yyjson_obj_get(root, "spec");
    const char *address = pod ? neap_json_val_str_at(root, "status.podIP")
                              : yyjson_get_str(yyjson_obj_get(spec, "clusterIP"));
    bool none = !address || !*address || strcmp(address, "None") == 0;
    snprintf(ip, 64, "%s", none ? "" : address);
    *ret_port = pod ? port_of_pod(spec, port) : port_of_service(spec, port);
    yyjson_doc_free(doc);
    if (none)
        return neap_err_set(
            &c->err, pod ? NEAP_EBADREQUEST : NEAP_EUNAVAILABLE,
            pod ? "address not allowed" : "no endpoints available for service \"%s\"", c->name);
    return *ret_port ? 0
                     : neap_err_set(&c->err, NEAP_EUNAVAILABLE,
                                    "no service port \"%s\" found for service \"%s\"",
                                    port ? port : "", c->name);
}
