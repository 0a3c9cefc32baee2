/* Rules that span fields, one file a subject. Each rule adds causes to v->err in the order in which the
 * real server gives them; nothing here changes an object.
 *
 *   kind.c table row -> rest_validate_pod(v) -> rest_check_pod_spec(v, AT(NULL, "spec"), spec)
 *
 * A path is a chain of structs on the stack and becomes text only when a cause is added. A missing
 * value is NULL, and every reader below takes NULL: text() of nothing is "", number() 0, size() 0.
 * thread: any, one validation at a time. Nothing blocks.
 * Source: the Kubernetes documentation of the kind; words asked of the real server. */
#ifndef NEAP_API_REST_VALIDATE_H
#define NEAP_API_REST_VALIDATE_H

#include "../internal.h"

/* ---- reading values ---- */

typedef yyjson_mut_val json;

static inline json *get(json *o, const char *name)
{
    return yyjson_mut_obj_get(o, name);
}
static inline bool has(json *o, const char *name)
{
    return yyjson_mut_obj_get(o, name) != NULL;
}
static inline const char *string_of(json *v)
{
    const char *s = yyjson_mut_get_str(v);
    return s ? s : "";
}
static inline const char *text(json *o, const char *name)
{
    return string_of(get(o, name));
}
static inline int64_t number(json *o, const char *name)
{
    return yyjson_mut_get_sint(get(o, name));
}
static inline bool flag(json *o, const char *name)
{
    return yyjson_mut_get_bool(get(o, name));
}
/* Items of a list or map; 0 for anything else. */
static inline size_t size(json *v)
{
    return yyjson_mut_is_arr(v) ? yyjson_mut_arr_size(v) : yyjson_mut_obj_size(v);
}
static inline bool is(json *o, const char *name, const char *value)
{
    return strcmp(text(o, name), value) == 0;
}

/* for every item of a list: e.item, e.i; of a map: e.item, e.key */
struct each {
    yyjson_mut_arr_iter list;
    yyjson_mut_obj_iter map;
    json *item;
    const char *key;
    size_t i;
};
static inline struct each each_of(json *v)
{
    struct each e = {.i = (size_t)-1};
    yyjson_mut_arr_iter_init(v, &e.list);
    yyjson_mut_obj_iter_init(v, &e.map);
    return e;
}
static inline bool each_next(struct each *e)
{
    e->i++;
    json *key = yyjson_mut_obj_iter_next(&e->map);
    if (key) {
        e->key = string_of(key);
        e->item = yyjson_mut_obj_iter_get_val(key);
        return true;
    }
    return (e->item = yyjson_mut_arr_iter_next(&e->list)) != NULL;
}
#define EACH(e, v) for (struct each e = each_of(v); each_next(&e);)

/* ---- paths ---- */

struct rest_path {
    const struct rest_path *up;
    const char *name; /* NULL: an index */
    size_t index;
    bool key; /* [name] */
};
#define AT(up_, name_)  (&(const struct rest_path){.up = (up_), .name = (name_)})
#define KEY(up_, name_) (&(const struct rest_path){.up = (up_), .name = (name_), .key = true})
#define ITEM(up_, i_)   (&(const struct rest_path){.up = (up_), .index = (i_)})

typedef const struct rest_path *path;

void rest_path_write(path p, struct neap_buf *out);

/* ---- causes (report.c). NO_WHY adds no detail ---- */

#define NO_WHY       "%s", ""
#define PRINTF(a, b) __attribute__((format(printf, a, b)))
/* The value as Go prints it: a string quoted, a list or object as JSON, nothing as null. */
void rest_invalid(struct rest_validation *v, path p, json *value, const char *why, ...)
    PRINTF(4, 5);
void rest_invalid_string(struct rest_validation *v, path p, const char *s, const char *why, ...)
    PRINTF(4, 5);
void rest_invalid_number(struct rest_validation *v, path p, int64_t n, const char *why, ...)
    PRINTF(4, 5);
/* <shown>: ready text of the value; NULL: the value is left out. */
void rest_invalid_shown(struct rest_validation *v, path p, const char *shown, const char *why, ...)
    PRINTF(4, 5);
/* The value as the real server's type <type> prints it (shapes.h); "[]T": a list. */
void rest_invalid_go(struct rest_validation *v, path p, json *value, const char *type,
                     const char *why, ...) PRINTF(5, 6);
void rest_unsupported_go(struct rest_validation *v, path p, json *value, const char *type,
                         const char *const *values);
void rest_required(struct rest_validation *v, path p, const char *why, ...) PRINTF(3, 4);
void rest_forbidden(struct rest_validation *v, path p, const char *why, ...) PRINTF(3, 4);
void rest_duplicate(struct rest_validation *v, path p, json *value);
void rest_duplicate_string(struct rest_validation *v, path p, const char *s);
void rest_duplicate_shown(struct rest_validation *v, path p, const char *shown);
void rest_not_found(struct rest_validation *v, path p, const char *s, const char *why);
/* <values>: NULL-terminated, in the order to show. */
void rest_unsupported(struct rest_validation *v, path p, const char *s, const char *const *values);
void rest_unsupported_shown(struct rest_validation *v, path p, const char *shown,
                            const char *const *values);
void rest_too_long(struct rest_validation *v, path p, int max);
void rest_too_many(struct rest_validation *v, path p, size_t have, int max);
/* Appends <s> as Go's %q. */
void rest_quote(struct neap_buf *out, const char *s, size_t n);
/* Appends a value as rest_invalid shows it. */
void rest_show(struct neap_buf *out, json *value);
/* Appends in the canonical order of a published type ("...meta.v1.LabelSelector"); NULL: null. */
void rest_show_type(struct neap_buf *out, json *value, const char *type);

/* ---- what is wrong with a text (words.c) ---- */

struct rest_problems {
    unsigned count;
    const char *list[5];
    char buf[1024]; /* of the texts that are made */
};
typedef void rest_words(struct rest_problems *out, const char *s);
rest_words rest_words_dns_label, rest_words_dns_subdomain, rest_words_dns_underscore,
    rest_words_dns1035_label, rest_words_qualified_name, rest_words_label_value,
    rest_words_port_name, rest_words_env_name, rest_words_config_key, rest_words_percent,
    rest_words_http_header, rest_words_segment, rest_words_wildcard, rest_words_c_identifier;
/* One cause a problem. */
void rest_check_words(struct rest_validation *v, path p, const char *s, rest_words *words);
/* One cause at most, the texts joined. */
void rest_check_words_joined(struct rest_validation *v, path p, const char *s, rest_words *words,
                             const char *separator);

/* ---- checks that many kinds share (checks.c) ---- */

/* *value is one of <values> (an empty one is "required" when <need>). False: a cause was added. */
bool rest_check_one_of(struct rest_validation *v, path p, const char *s, bool need,
                       const char *const *values);
bool rest_one_of(const char *s, const char *const *values);
void rest_check_not_negative(struct rest_validation *v, path p, json *n);
void rest_check_not_negative_fields(struct rest_validation *v, path p, json *o,
                                    const char *const *names);
void rest_check_positive(struct rest_validation *v, path p, json *n);
void rest_check_port_number(struct rest_validation *v, path p, json *n);
/* An IntOrString port. Absent counts as 0. */
void rest_check_port(struct rest_validation *v, path p, json *port);
void rest_check_labels(struct rest_validation *v, path p, json *labels);
void rest_check_annotations(struct rest_validation *v, path p, json *annotations);
void rest_check_label_selector(struct rest_validation *v, path p, json *selector);
/* A selector (metav1.LabelSelector; NULL matches nothing, {} everything) against labels. */
bool rest_selector_matches(json *selector, json *labels);
bool rest_selector_empty(json *selector);
/* A number that is not negative, or "12%". */
void rest_check_int_or_percent(struct rest_validation *v, path p, json *value);
void rest_check_at_most_100_percent(struct rest_validation *v, path p, json *value);
int64_t rest_int_or_percent(json *value);
/* "field is immutable" when <now> and <old> differ. <type>: how to show, or NULL. */
void rest_check_immutable(struct rest_validation *v, path p, json *now, json *old,
                          const char *type);
bool rest_same(json *a, json *b);
bool rest_ip(const char *s, bool *ret_v6);
/* An address as old fields allow it. <old>: list of texts that are let through unchanged. */
bool rest_check_ip(struct rest_validation *v, path p, const char *s, json *old);
bool rest_cidr(const char *s, unsigned char address[16], int *ret_bits, bool *ret_v6);
bool rest_check_cidr(struct rest_validation *v, path p, const char *s);
/* Not unspecified, loopback, link-local or multicast. */
void rest_check_endpoint_ip(struct rest_validation *v, path p, const char *s);
/* Remembers texts; false: it was there. Done with neap_map_done(m, NULL). */
bool rest_set_add(struct neap_map *m, const char *s);

/* ---- pods and what embeds them ---- */

/* <meta>: the pod's own metadata, NULL in a template. */
void rest_check_pod_spec(struct rest_validation *v, path p, json *spec, json *meta, bool is_pod);
void rest_check_pod_template(struct rest_validation *v, path p, json *template);

struct rest_pod {
    struct rest_validation *v;
    json *spec, *meta;
    bool is_pod;
    struct neap_map volumes; /* name -> volume */
    struct neap_map claims;  /* names of resourceClaims */
};
/* Writes to a pod that exists (pod_update.c). */
void rest_check_pod_update(struct rest_validation *v);
void rest_check_pod_status(struct rest_validation *v);
void rest_check_pod_ephemeral_update(struct rest_validation *v);
void rest_check_pod_resize(struct rest_validation *v);
void rest_check_volumes(struct rest_pod *pod, path p);
void rest_check_containers(struct rest_pod *pod, path spec_path);
void rest_check_env(struct rest_pod *pod, path p, json *container);
void rest_check_image_spaces(struct rest_pod *pod, path spec_path);
void rest_check_mounts(struct rest_pod *pod, path p, json *container);
void rest_check_probes(struct rest_pod *pod, path p, json *container);
void rest_check_lifecycle(struct rest_pod *pod, path p, json *lifecycle);
void rest_check_pod_resources(struct rest_pod *pod, path p);
void rest_check_container_resources(struct rest_pod *pod, path p, json *resources);
void rest_check_security_context(struct rest_pod *pod, path p, json *sc);
void rest_check_pod_security_context(struct rest_pod *pod, path p);
void rest_check_pod_os(struct rest_pod *pod, path spec_path);
void rest_check_affinity(struct rest_validation *v, path p, json *affinity);
void rest_check_node_selector(struct rest_validation *v, path p, json *selector);
void rest_check_tolerations(struct rest_validation *v, path p, json *list);
void rest_check_topology_spread(struct rest_validation *v, path p, json *list);
void rest_check_field_ref(struct rest_validation *v, path p, json *ref, bool volume);
void rest_check_resource_field_ref(struct rest_validation *v, path p, json *ref, bool volume);
void rest_check_descending_path(struct rest_validation *v, path p, const char *s);
void rest_check_no_backsteps(struct rest_validation *v, path p, const char *s);
void rest_check_local_path(struct rest_validation *v, path p, const char *s);
void rest_check_csi_driver_name(struct rest_validation *v, path p, const char *s);

/* ---- resources (resources.c) ---- */
void rest_check_resource_name(struct rest_validation *v, path p, const char *name);
void rest_check_container_resource_name(struct rest_validation *v, path p, const char *name);
void rest_check_resource_quantity(struct rest_validation *v, path p, const char *name, json *q);
void rest_check_quota_resource_name(struct rest_validation *v, path p, const char *name);
bool rest_quota_resource_standard(const char *name);
bool rest_overcommit_allowed(const char *name);
/* <0, 0, >0; absent counts as zero. */
int rest_quantity_compare(json *a, json *b);

/* The template's labels have to match the selector. <p>: the template. */
void rest_check_template_labels(struct rest_validation *v, path p, json *template, json *selector);
void rest_check_claim_spec(struct rest_validation *v, path p, json *spec);

/* ---- kinds ---- */
typedef void rest_validator(struct rest_validation *v);
rest_validator rest_validate_pod, rest_validate_pod_template, rest_validate_service,
    rest_validate_config_map, rest_validate_secret, rest_validate_replication_controller,
    rest_validate_deployment, rest_validate_replica_set, rest_validate_stateful_set,
    rest_validate_daemon_set, rest_validate_controller_revision, rest_validate_job,
    rest_validate_cron_job, rest_validate_role, rest_validate_cluster_role,
    rest_validate_role_binding, rest_validate_cluster_role_binding, rest_validate_node,
    rest_validate_namespace, rest_validate_persistent_volume, rest_validate_persistent_volume_claim,
    rest_validate_storage_class, rest_validate_csi_driver, rest_validate_ingress,
    rest_validate_ingress_class, rest_validate_network_policy, rest_validate_ip_address,
    rest_validate_disruption_budget, rest_validate_autoscaler, rest_validate_priority_class,
    rest_validate_lease, rest_validate_endpoints, rest_validate_endpoint_slice, rest_validate_event,
    rest_validate_resource_quota, rest_validate_limit_range, rest_validate_certificate_request,
    rest_validate_trust_bundle, rest_validate_webhooks, rest_validate_admission_policy,
    rest_validate_admission_binding, rest_validate_runtime_class, rest_validate_device_class;

#endif
