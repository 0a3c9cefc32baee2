/* Service addresses and node ports: reserved, moved and given back in the Service's own transaction, so that
 * a failure or a dry run leaks nothing. An address is an IPAddress object, a port an internal one. */
#include "internal.h"
#include <neap/ip.h>

struct range {
    struct neap_cidr cidr;
    uint64_t size; /* usable addresses: offsets 1 to <size> */
};

static yyjson_mut_val *at(yyjson_mut_val *root, const char *path)
{
    return neap_json_at(root, path);
}

static struct neap_snapshot *snapshot(struct rest_write *w)
{
    return rest_call_of(w->call)->snapshot;
}

static const struct neap_kind *addresses(void)
{
    return neap_kind_by_resource("networking.k8s.io", "v1", "ipaddresses");
}

static const struct neap_kind *ports(void)
{
    return neap_kind_by_resource("internal.neap.dev", "v1", "portallocations");
}

static bool parse_range(const char *cidr, struct range *ret)
{
    if (!neap_cidr_parse(cidr, &ret->cidr))
        return false;
    unsigned bits = neap_cidr_host_bits(&ret->cidr);
    if (ret->cidr.prefix < 8 || bits < 2)
        return false;
    /* not the network; IPv4: nor the broadcast address */
    ret->size = (bits < 63 ? UINT64_C(1) << bits : UINT64_C(1) << 63) - 1 - !ret->cidr.base.v6;
    return true;
}

/* An IPAddress is named by the canonical form, whatever the Service says. */
static void canonical(const char *ip, char out[NEAP_IP_TEXT])
{
    struct neap_ip a;
    if (neap_ip_parse(ip, &a))
        neap_ip_text(&a, out);
    else
        snprintf(out, NEAP_IP_TEXT, "%s", ip);
}

static int invalid_ip(struct rest_write *w, const char *ip, const char *why, struct neap_err *err)
{
    neap_err_cause(err, "FieldValueInvalid", "spec.clusterIPs",
                   "Invalid value: [\"%s\"]: failed to allocate IP %s: %s", ip, ip, why);
    return rest_err_invalid(err, w->kind, w->name);
}

#define LABELS(family)                                                                             \
    ",\"labels\":{\"ipaddress.kubernetes.io/ip-family\":\"" family                                 \
    "\",\"ipaddress.kubernetes.io/managed-by\":\"ipallocator.k8s.io\"}"

/* The draft of an IPAddress or a PortAllocation. */
static struct neap_object *draft(struct rest_write *w, const struct neap_kind *kind,
                                 const char *name, struct neap_err *err)
{
    struct neap_buf json = NEAP_BUF_INIT;
    struct neap_rest *r = rest_of(w->call);
    char uid[37], now[32], api_version[128];
    struct neap_object *o = NULL;
    bool ip = kind == addresses();
    neap_rand_uuid(r->options.rand, uid);
    neap_time_format(neap_clock_wall(r->options.clock), now);
    neap_buf_printf(&json,
                    "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{\"name\":\"%s\",\"uid\":"
                    "\"%s\"%s,\"creationTimestamp\":\"%s\"%s},",
                    kind->kind, neap_kind_api_version(kind, api_version), name, uid,
                    ip ? ",\"generation\":1" : "", now,
                    !ip                 ? ""
                    : strchr(name, ':') ? LABELS("IPv6")
                                        : LABELS("IPv4"));
    if (ip)
        neap_buf_printf(&json,
                        "\"spec\":{\"parentRef\":{\"resource\":\"services\",\"namespace\":\"%s\","
                        "\"name\":\"%s\"}}}",
                        w->namespace_, w->name);
    else
        neap_buf_printf(&json, "\"service\":\"%s/%s\"}", w->namespace_, w->name);
    neap_object_new(kind, json.data, json.len, 0, 0, &o, err);
    neap_buf_done(&json);
    return o;
}

static int reserve(struct rest_write *w, const struct neap_kind *kind, const char *name,
                   struct neap_err *err)
{
    struct neap_buf key = NEAP_BUF_INIT;
    struct neap_object *o = draft(w, kind, name, err);
    neap_object_key_make(&key, kind, NULL, name);
    bool ok = o && rest_write_also(w, kind, key.data, 0, o);
    neap_buf_done(&key);
    return ok ? 0 : neap_err_set(err, NEAP_ETOOLARGE, "a Service may hold at most 20 allocations");
}

static void give_back(struct rest_write *w, const struct neap_kind *kind, const char *name)
{
    struct neap_buf key = NEAP_BUF_INIT;
    struct neap_object *o = neap_snapshot_get(snapshot(w), kind, NULL, name);
    neap_object_key_make(&key, kind, NULL, name);
    if (o)
        rest_write_also(w, kind, key.data, neap_object_revision(o), NULL);
    neap_buf_done(&key);
}

/* ---- addresses ---- */

static bool is_service(const struct rest_write *w)
{
    return !*w->kind->group && strcmp(w->kind->resource, "services") == 0;
}

static const char *cluster_ip(yyjson_mut_val *root)
{
    const char *ip = neap_json_str_at(root, "spec.clusterIP");
    if (!ip || !*ip)
        ip = yyjson_mut_get_str(yyjson_mut_arr_get_first(at(root, "spec.clusterIPs")));
    return ip && *ip ? ip : NULL;
}

static bool is_real_ip(const char *ip)
{
    return ip && strcmp(ip, "None") != 0;
}

static void give_back_ip(struct rest_write *w, const char *ip)
{
    char name[NEAP_IP_TEXT];
    if (!is_real_ip(ip))
        return;
    canonical(ip, name);
    give_back(w, addresses(), name);
}

static int choose_ip(struct rest_write *w, const struct range *r, char out[NEAP_IP_TEXT],
                     struct neap_err *err)
{
    /* the lower band is left to those who ask for a certain address, as long as there is a choice */
    uint64_t band = r->size / 16 > 256 ? 256 : r->size / 16 < 16 ? 16 : r->size / 16;
    if (band >= r->size)
        band = 0;
    uint64_t upper = r->size - band, start = neap_rand_u64(rest_of(w->call)->options.rand) % upper;
    for (uint64_t i = 0; i < r->size; i++) {
        uint64_t offset = i < upper ? band + (start + i) % upper : i - upper;
        struct neap_ip a = neap_cidr_at(&r->cidr, offset + 1);
        neap_ip_text(&a, out);
        if (!neap_snapshot_get(snapshot(w), addresses(), NULL, out))
            return 0;
    }
    return neap_err_set(err, NEAP_EINTERNAL, "failed to allocate a serviceIP: range is full");
}

static int check_ip(struct rest_write *w, const struct range *r, const char *ip,
                    struct neap_err *err)
{
    struct neap_ip a;
    uint64_t offset = 0;
    char why[160], name[NEAP_IP_TEXT];
    if (!neap_ip_parse(ip, &a))
        return 0; /* validation has said so */
    bool inside = neap_cidr_offset(&r->cidr, &a, &offset) && offset >= 1 && offset <= r->size;
    if (!inside && !w->call->options.dry_run)
        return invalid_ip(w, ip, "the provided network does not match the current range", err);
    if (!inside) {
        snprintf(why, sizeof(why),
                 "the provided IP (%s) is not in the valid range. The range of valid "
                 "IPs is %s",
                 ip, rest_of(w->call)->options.service_cidr);
        return invalid_ip(w, ip, why, err);
    }
    canonical(ip, name);
    if (neap_snapshot_get(snapshot(w), addresses(), NULL, name))
        return invalid_ip(w, ip, "provided IP is already allocated", err);
    return 0;
}

static const char *cluster_family(struct rest_write *w)
{
    const char *cidr = rest_of(w->call)->options.service_cidr;
    return neap_ip_family(cidr && strchr(cidr, ':'));
}

/* A headless Service without a selector is of both families, whatever the cluster has: its endpoints are the user's. */
static void set_families(struct rest_write *w, bool both)
{
    yyjson_mut_val *spec = at(w->root, "spec"), *families = yyjson_mut_obj_get(spec, "ipFamilies");
    const char *old = w->old_root ? neap_json_str_at(w->old_root, "spec.ipFamilyPolicy") : NULL;
    const char *policy = old && *old ? old : both ? "RequireDualStack" : "SingleStack";
    if (!yyjson_mut_obj_get(spec, "ipFamilyPolicy"))
        neap_json_set_at(w->doc, spec, "ipFamilyPolicy", yyjson_mut_strcpy(w->doc, policy));
    if (!families) {
        families = yyjson_mut_arr(w->doc);
        yyjson_mut_arr_add_str(w->doc, families, cluster_family(w));
        neap_json_set_at(w->doc, spec, "ipFamilies", families);
    }
    bool single = neap_streq(neap_json_str_at(spec, "ipFamilyPolicy"), "SingleStack");
    if (both && !single && yyjson_mut_arr_size(families) == 1)
        yyjson_mut_arr_add_str(
            w->doc, families,
            neap_ip_family(yyjson_mut_equals_str(yyjson_mut_arr_get_first(families), "IPv4")));
}

static void set_ip(struct rest_write *w, const char *ip)
{
    yyjson_mut_val *list = yyjson_mut_arr(w->doc), *spec = at(w->root, "spec");
    yyjson_mut_arr_append(list, yyjson_mut_strcpy(w->doc, ip));
    neap_json_set_at(w->doc, spec, "clusterIP", yyjson_mut_strcpy(w->doc, ip));
    neap_json_set_at(w->doc, spec, "clusterIPs", list);
    set_families(w, strcmp(ip, "None") == 0 &&
                        !yyjson_mut_obj_size(yyjson_mut_obj_get(spec, "selector")));
}

static bool same_list(yyjson_mut_val *a, yyjson_mut_val *b)
{
    return a && b ? neap_json_equal(a, b) : a == b;
}

/* clusterIP and clusterIPs say the same: who writes one means both. */
static void normalize_ips(struct rest_write *w)
{
    yyjson_mut_val *spec = at(w->root, "spec"), *list = at(w->root, "spec.clusterIPs");
    yyjson_mut_val *old_list = at(w->old_root, "spec.clusterIPs");
    const char *ip = neap_json_str_at(w->root, "spec.clusterIP");
    const char *old = w->old_root ? neap_json_str_at(w->old_root, "spec.clusterIP") : NULL;
    bool external = neap_streq(neap_json_str_at(w->root, "spec.type"), "ExternalName");
    if (ip && !*ip)
        ip = NULL;
    if (!ip && old && !external && (!list || same_list(list, old_list))) { /* left out: kept */
        ip = old;
        neap_json_set_at(w->doc, spec, "clusterIP", yyjson_mut_strcpy(w->doc, old));
    }
    if (!ip || (old && strcmp(ip, old) == 0 && list))
        return;
    if (list && (!old || !same_list(list, old_list)))
        return;
    list = yyjson_mut_arr(w->doc);
    yyjson_mut_arr_append(list, yyjson_mut_strcpy(w->doc, ip));
    neap_json_set_at(w->doc, spec, "clusterIPs", list);
}

/* An ExternalName has no addresses: those that it had before it became one are dropped. */
static void drop_ips(struct rest_write *w)
{
    static const char *const fields[] = {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"};
    yyjson_mut_val *spec = at(w->root, "spec"), *old = at(w->old_root, "spec");
    for (size_t i = 0; old && i < NEAP_ARRAY_LEN(fields); i++)
        if (same_list(yyjson_mut_obj_get(spec, fields[i]), yyjson_mut_obj_get(old, fields[i])))
            yyjson_mut_obj_remove_key(spec, fields[i]);
}

static int check_families(struct rest_write *w, struct neap_err *err)
{
    struct rest_validation v = {.root = w->root,
                                .old_root = w->old_root,
                                .kind = w->kind,
                                .err = err,
                                .family = cluster_family(w)};
    normalize_ips(w);
    rest_validate_service_addresses(&v);
    return err->cause_count ? rest_err_invalid(err, w->kind, w->name) : 0;
}

static int allocate_ip(struct rest_write *w, struct neap_err *err)
{
    struct range r;
    char chosen[NEAP_IP_TEXT], name[NEAP_IP_TEXT];
    const char *old = w->old_root ? cluster_ip(w->old_root) : NULL, *ip = cluster_ip(w->root);
    bool external = neap_streq(neap_json_str_at(w->root, "spec.type"), "ExternalName");
    int rc = 0;
    if (external) {
        give_back_ip(w, old);
        drop_ips(w);
        return 0;
    }
    if (!ip && old)
        ip = old; /* an update that leaves it out keeps it */
    if (ip && old && strcmp(ip, old) == 0) {
        set_ip(w, ip);
        return 0;
    }
    if (!parse_range(rest_of(w->call)->options.service_cidr, &r))
        return neap_err_set(err, NEAP_EINTERNAL, "no service address range is configured");
    if (ip && is_real_ip(ip)) {
        rc = check_ip(w, &r, ip, err);
    } else if (!ip) {
        rc = choose_ip(w, &r, chosen, err);
        ip = chosen;
    }
    if (rc)
        return rc;
    if (is_real_ip(ip)) {
        canonical(ip, name);
        rc = reserve(w, addresses(), name, err);
    }
    set_ip(w, ip);
    return rc;
}

/* ---- node ports ---- */

static void port_name(char out[32], int64_t port, const char *protocol)
{
    snprintf(out, 32, "%lld-%s", (long long)port,
             neap_streq(protocol, "UDP")    ? "udp"
             : neap_streq(protocol, "SCTP") ? "sctp"
                                            : "tcp");
}

static int64_t health_port(yyjson_mut_val *root)
{
    return yyjson_mut_get_sint(at(root, "spec.healthCheckNodePort"));
}

static bool holds_port(yyjson_mut_val *root, int64_t port, const char *protocol)
{
    if (port && health_port(root) == port && neap_streq(protocol, "TCP"))
        return true;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(at(root, "spec.ports"));
    for (yyjson_mut_val *p; (p = yyjson_mut_arr_iter_next(&it));)
        if (yyjson_mut_get_sint(yyjson_mut_obj_get(p, "nodePort")) == port &&
            neap_streq(neap_json_str_at(p, "protocol"), protocol))
            return true;
    return false;
}

static bool wants_node_ports(yyjson_mut_val *root)
{
    const char *type = neap_json_str_at(root, "spec.type");
    if (neap_streq(type, "NodePort"))
        return true;
    yyjson_mut_val *allocate = at(root, "spec.allocateLoadBalancerNodePorts");
    return neap_streq(type, "LoadBalancer") && (!allocate || yyjson_mut_get_bool(allocate));
}

static int choose_port(struct rest_write *w, const char *protocol, int64_t *ret,
                       struct neap_err *err)
{
    const struct neap_rest_options *o = &rest_of(w->call)->options;
    unsigned n = o->node_port_last - o->node_port_first + 1;
    unsigned start = (unsigned)(neap_rand_u64(o->rand) % n);
    for (unsigned i = 0; i < n; i++) {
        char name[32];
        int64_t port = o->node_port_first + (start + i) % n;
        port_name(name, port, protocol);
        if (!neap_snapshot_get(snapshot(w), ports(), NULL, name) &&
            !holds_port(w->root, port, protocol)) {
            *ret = port;
            return 0;
        }
    }
    return neap_err_set(err, NEAP_EINTERNAL, "failed to allocate a nodePort: range is full");
}

static int one_port(struct rest_write *w, yyjson_mut_val *p, size_t i, struct neap_err *err)
{
    const struct neap_rest_options *o = &rest_of(w->call)->options;
    const char *protocol = neap_json_str_at(p, "protocol");
    int64_t port = yyjson_mut_get_sint(yyjson_mut_obj_get(p, "nodePort"));
    char name[32], field[64];
    if (port && w->old_root && holds_port(w->old_root, port, protocol))
        return 0;
    snprintf(field, sizeof(field), "spec.ports[%zu].nodePort", i);
    port_name(name, port, protocol);
    if (port && (port < o->node_port_first || port > o->node_port_last)) {
        neap_err_cause(err, "FieldValueInvalid", field,
                       "Invalid value: %lld: provided port is not in the valid range. The range of "
                       "valid ports is %u-%u",
                       (long long)port, o->node_port_first, o->node_port_last);
        return rest_err_invalid(err, w->kind, w->name);
    }
    if (port && neap_snapshot_get(snapshot(w), ports(), NULL, name)) {
        neap_err_cause(err, "FieldValueInvalid", field,
                       "Invalid value: %lld: provided port is already allocated", (long long)port);
        return rest_err_invalid(err, w->kind, w->name);
    }
    if (!port) {
        int rc = choose_port(w, protocol, &port, err);
        if (rc)
            return rc;
        port_name(name, port, protocol);
        yyjson_mut_obj_put(p, yyjson_mut_str(w->doc, "nodePort"), yyjson_mut_sint(w->doc, port));
    }
    return reserve(w, ports(), name, err);
}

static void keep_old_port(struct rest_write *w, yyjson_mut_val *p)
{
    const char *protocol = neap_json_str_at(p, "protocol");
    int64_t number = yyjson_mut_get_sint(yyjson_mut_obj_get(p, "port"));
    if (yyjson_mut_obj_get(p, "nodePort"))
        return;
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(at(w->old_root, "spec.ports"));
    for (yyjson_mut_val *o; (o = yyjson_mut_arr_iter_next(&it));) {
        yyjson_mut_val *held = yyjson_mut_obj_get(o, "nodePort");
        if (held && yyjson_mut_get_sint(yyjson_mut_obj_get(o, "port")) == number &&
            neap_streq(neap_json_str_at(o, "protocol"), protocol) &&
            !holds_port(w->root, yyjson_mut_get_sint(held), protocol))
            yyjson_mut_obj_put(p, yyjson_mut_str(w->doc, "nodePort"),
                               yyjson_mut_val_mut_copy(w->doc, held));
    }
}

/* Where a balancer that keeps the client's address asks whether this node has endpoints. */
static int allocate_health_port(struct rest_write *w, struct neap_err *err)
{
    yyjson_mut_val *spec = at(w->root, "spec");
    int64_t old = w->old_root ? health_port(w->old_root) : 0, port = health_port(w->root);
    bool need = neap_streq(neap_json_str_at(w->root, "spec.type"), "LoadBalancer") &&
                neap_streq(neap_json_str_at(w->root, "spec.externalTrafficPolicy"), "Local");
    char name[32];
    if (!need) {
        if (port && port == old)
            yyjson_mut_obj_remove_key(spec, "healthCheckNodePort");
        return 0;
    }
    port = port ? port : old;
    int rc = port ? 0 : choose_port(w, "TCP", &port, err);
    if (rc)
        return rc;
    port_name(name, port, "TCP");
    neap_json_set_at(w->doc, spec, "healthCheckNodePort", yyjson_mut_sint(w->doc, port));
    if (port == old)
        return 0;
    if (neap_snapshot_get(snapshot(w), ports(), NULL, name)) {
        neap_err_cause(err, "FieldValueInvalid", "spec.healthCheckNodePort",
                       "Invalid value: %lld: provided port is already allocated", (long long)port);
        return rest_err_invalid(err, w->kind, w->name);
    }
    return reserve(w, ports(), name, err);
}

/* Ports that the new form no longer holds (or all, when it is deleted). */
static void release_ports(struct rest_write *w, bool all)
{
    int64_t health = health_port(w->old_root);
    char health_name[32];
    port_name(health_name, health, "TCP");
    if (health && (all || !holds_port(w->root, health, "TCP")))
        give_back(w, ports(), health_name);
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(at(w->old_root, "spec.ports"));
    for (yyjson_mut_val *p; (p = yyjson_mut_arr_iter_next(&it));) {
        int64_t port = yyjson_mut_get_sint(yyjson_mut_obj_get(p, "nodePort"));
        const char *protocol = neap_json_str_at(p, "protocol");
        char name[32];
        port_name(name, port, protocol);
        if (port && (all || !holds_port(w->root, port, protocol)))
            give_back(w, ports(), name);
    }
}

static int allocate_ports(struct rest_write *w, struct neap_err *err)
{
    size_t i = 0;
    bool want = wants_node_ports(w->root);
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(at(w->root, "spec.ports"));
    for (yyjson_mut_val *p; (p = yyjson_mut_arr_iter_next(&it)); i++) {
        bool cluster = neap_streq(neap_json_str_at(w->root, "spec.type"), "ClusterIP");
        if (!want) {
            if (cluster && w->old_root && wants_node_ports(w->old_root))
                yyjson_mut_obj_remove_key(p, "nodePort");
            continue;
        }
        if (w->old_root)
            keep_old_port(w, p);
        int rc = one_port(w, p, i, err);
        if (rc)
            return rc;
    }
    int rc = allocate_health_port(w, err);
    if (!rc && w->old_root)
        release_ports(w, false);
    return rc;
}

int rest_allocate(struct rest_write *w, struct neap_err *err)
{
    if (!is_service(w) || (w->subresource && !w->delete_now))
        return 0;
    if (w->delete_now) {
        const char *old = cluster_ip(w->old_root);
        give_back_ip(w, old);
        release_ports(w, true);
        return 0;
    }
    int rc = check_families(w, err);
    if (!rc)
        rc = allocate_ip(w, err);
    return rc ? rc : allocate_ports(w, err);
}
