/* Whom pods/proxy and services/proxy mean: "NAME", "NAME:PORT", "http:NAME:PORT". */
#include "internal.h"

#include <neap/ip.h>

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

static bool in_range(const struct neap_cidr *c, const struct neap_ip *ip)
{
    unsigned whole = c->prefix / 8, bits = c->prefix % 8;
    unsigned char mask = (unsigned char)(0xff00 >> bits);
    return c->base.v6 == ip->v6 && memcmp(c->base.bytes, ip->bytes, whole) == 0 &&
           (!bits || ((c->base.bytes[whole] ^ ip->bytes[whole]) & mask) == 0);
}

/* A pod's status may say anything: this server does not call itself, its neighbours on the wire or a cloud's metadata
 * for it (CVE-2020-8555's kind). */
static bool may_be_called(const char *text)
{
    static const char *const not_pods[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
                                           "224.0.0.0/3", "::/127",      "::ffff:0:0/96",
                                           "fe80::/10",   "ff00::/8"};
    struct neap_ip ip;
    struct neap_cidr cidr;
    if (!neap_ip_parse(text, &ip))
        return false;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(not_pods); i++)
        if (neap_cidr_parse(not_pods[i], &cidr) && in_range(&cidr, &ip))
            return false;
    return true;
}

int node_target(struct neap_call *c, struct neap_object *o, const char *port, char ip[64],
                int *ret_port)
{
    bool pod = strcmp(c->resource, "pods") == 0;
    yyjson_doc *doc = neap_object_parse(o, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc), *spec = yyjson_obj_get(root, "spec");
    const char *address = pod ? neap_json_val_str_at(root, "status.podIP")
                              : yyjson_get_str(yyjson_obj_get(spec, "clusterIP"));
    bool none =
        !address || !*address || strcmp(address, "None") == 0 || (pod && !may_be_called(address));
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
