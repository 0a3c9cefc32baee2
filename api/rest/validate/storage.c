/* Persistent volumes, claims, storage classes, CSI drivers. */
#include "shapes.h"
#include "volumes.h"

static const char *const access_modes[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce",
                                           "ReadWriteOncePod", NULL};
static const char *const volume_modes[] = {"Block", "Filesystem", NULL};

static void check_access_modes(struct rest_validation *v, path p, json *modes, const char *why)
{
    bool once_pod = false, other = false;
    if (!size(modes))
        rest_required(v, p, "%s", why);
    EACH(e, modes)
    {
        bool known = rest_check_one_of(v, p, string_of(e.item), false, access_modes);
        bool is_once_pod = strcmp(string_of(e.item), "ReadWriteOncePod") == 0;
        once_pod = once_pod || is_once_pod;
        other = other || (known && !is_once_pod);
    }
    if (once_pod && other)
        rest_forbidden(v, p, "may not use ReadWriteOncePod with other access modes");
}

static void check_class(struct rest_validation *v, path p, const char *name)
{
    if (*name)
        rest_check_words(v, p, name, rest_words_dns_subdomain);
}

static void diff_values(struct neap_buf *out, json *old, json *now, const char *type)
{
    struct neap_buf a NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    rest_show_go(&a, old, type, true);
    rest_show_go(&b, now, type, true);
    rest_diff(out, a.data, b.data);
}

/* ---- claims ---- */

static void check_data_source(struct rest_validation *v, path p, json *source)
{
    static const char *const fields[] = {"name", "kind", NULL};
    const char *group = text(source, "apiGroup");
    if (!source)
        return;
    rest_check_required_fields(v, p, source, fields);
    if (!*group && !is(source, "kind", "PersistentVolumeClaim"))
        rest_invalid_string(
            v, p, text(source, "kind"),
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    if (*group)
        rest_check_words(v, AT(p, "apiGroup"), group, rest_words_dns_subdomain);
    if (*text(source, "namespace"))
        rest_check_words(v, AT(p, "namespace"), text(source, "namespace"), rest_words_dns_label);
}

/* What is neither a claim nor a snapshot is dropped by the server, not refused. */
static json *known_source(json *source)
{
    bool claim = !*text(source, "apiGroup") && is(source, "kind", "PersistentVolumeClaim");
    bool snapshot =
        is(source, "apiGroup", "snapshot.storage.k8s.io") && is(source, "kind", "VolumeSnapshot");
    return claim || snapshot ? source : NULL;
}

void rest_check_claim_spec(struct rest_validation *v, path p, json *spec)
{
    json *storage = neap_json_at(spec, "resources.requests.storage");
    json *source = known_source(get(spec, "dataSource")), *ref = get(spec, "dataSourceRef");
    path storage_path = KEY(AT(p, "resources"), "storage");
    check_access_modes(v, AT(p, "accessModes"), get(spec, "accessModes"),
                       "at least 1 access mode is required");
    rest_check_label_selector(v, AT(p, "selector"), get(spec, "selector"));
    if (!storage)
        rest_required(v, storage_path, NO_WHY);
    else if (rest_quantity_compare(storage, NULL) <= 0)
        rest_invalid(v, storage_path, storage, "must be greater than zero");
    check_class(v, AT(p, "storageClassName"), text(spec, "storageClassName"));
    if (has(spec, "volumeMode"))
        rest_check_one_of(v, AT(p, "volumeMode"), text(spec, "volumeMode"), false, volume_modes);
    check_data_source(v, AT(p, "dataSource"), source);
    check_data_source(v, AT(p, "dataSourceRef"), ref);
    check_class(v, AT(p, "volumeAttributesClassName"), text(spec, "volumeAttributesClassName"));
}

static void put(yyjson_mut_doc *doc, json *to, json *from, const char *name)
{
    yyjson_mut_obj_remove_key(to, name);
    if (get(from, name))
        yyjson_mut_obj_add_val(doc, to, name, yyjson_mut_val_mut_copy(doc, get(from, name)));
}

/* The specs must be the same, but for what binding and resizing change. */
static void check_claim_frozen(struct rest_validation *v, json *now_spec, json *old_spec)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    json *now = yyjson_mut_val_mut_copy(doc, now_spec),
         *old = yyjson_mut_val_mut_copy(doc, old_spec);
    bool bound = strcmp(string_of(neap_json_at(v->root, "status.phase")), "Bound") == 0;
    if (!*text(old, "volumeName"))
        put(doc, old, now, "volumeName");
    if (!has(old, "storageClassName") && !bound && has(now, "storageClassName") &&
        !has(neap_json_at(v->old_root, "metadata.annotations"),
             "volume.beta.kubernetes.io/storage-class"))
        put(doc, now, old, "storageClassName"); /* a class may be given later */
    if (bound && neap_json_at(now, "resources.requests"))
        put(doc, neap_json_at(now, "resources.requests"), neap_json_at(old, "resources.requests"),
            "storage");
    if (bound)
        put(doc, now, old, "volumeAttributesClassName");
    if (!neap_json_equal(now, old)) {
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        diff_values(&b, old, now, "PersistentVolumeClaimSpec");
        rest_forbidden(v, AT(NULL, "spec"),
                       "spec is immutable after creation except resources.requests and "
                       "volumeAttributesClassName for bound claims\n%s",
                       b.len ? b.data : "");
    }
    yyjson_mut_doc_free(doc);
}

static void check_claim_update(struct rest_validation *v)
{
    static const char storage[] = "resources.requests.storage";
    json *now = get(v->root, "spec"), *old = get(v->old_root, "spec");
    path p = AT(NULL, "spec");
    json *have = neap_json_at(v->old_root, "status.capacity.storage");
    check_claim_frozen(v, now, old);
    if (rest_quantity_compare(neap_json_at(now, storage), neap_json_at(old, storage)) < 0 &&
        rest_quantity_compare(neap_json_at(now, storage), have) <= 0)
        rest_forbidden(v, AT(AT(AT(p, "resources"), "requests"), "storage"),
                       "field can not be less than status.capacity");
    rest_check_immutable(v, AT(NULL, "volumeMode"), get(now, "volumeMode"), get(old, "volumeMode"),
                         NULL);
}

void rest_validate_persistent_volume_claim(struct rest_validation *v)
{
    if (v->subresource)
        return;
    rest_check_claim_spec(v, AT(NULL, "spec"), get(v->root, "spec"));
    if (v->old_root)
        check_claim_update(v);
}

/* ---- volumes ---- */

static const struct rest_volume_row glusterfs = {"glusterfs", NULL, {"endpoints", "path"}, NULL};
static const struct rest_volume_row local = {"local", NULL, {"path"}, NULL};

static void csi(struct rest_volume *w, path p, json *s)
{
    static const char *const refs[] = {"controllerPublishSecretRef", "controllerExpandSecretRef",
                                       "nodePublishSecretRef", "nodeExpandSecretRef"};
    static const char *const required[] = {"name", "namespace", NULL};
    rest_check_csi_driver_name(w->v, AT(p, "driver"), text(s, "driver"));
    if (!*text(s, "volumeHandle"))
        rest_required(w->v, AT(p, "volumeHandle"), NO_WHY);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(refs); i++) {
        json *ref = get(s, refs[i]);
        path at = AT(p, refs[i]);
        if (!ref)
            continue;
        rest_check_required_fields(w->v, at, ref, required);
        check_class(w->v, AT(at, "name"), text(ref, "name"));
        if (*text(ref, "namespace"))
            rest_check_words(w->v, AT(at, "namespace"), text(ref, "namespace"),
                             rest_words_dns_label);
    }
}
static const struct rest_volume_row csi_row = {"csi", NULL, {NULL}, csi};

/* In the order in which they are looked at; the rest of a row is as for pods. */
static const char *const sources[] = {"hostPath",
                                      "gcePersistentDisk",
                                      "awsElasticBlockStore",
                                      "glusterfs",
                                      "flocker",
                                      "nfs",
                                      "rbd",
                                      "quobyte",
                                      "cephfs",
                                      "iscsi",
                                      "cinder",
                                      "fc",
                                      "flexVolume",
                                      "azureFile",
                                      "vsphereVolume",
                                      "photonPersistentDisk",
                                      "portworxVolume",
                                      "azureDisk",
                                      "scaleIO",
                                      "local",
                                      "storageos",
                                      "csi"};

static const struct rest_volume_row *row_of(const char *name)
{
    if (strcmp(name, "csi") == 0)
        return &csi_row;
    if (strcmp(name, "glusterfs") == 0)
        return &glusterfs;
    return strcmp(name, "local") == 0 ? &local : rest_volume_row(name);
}

static void check_sources(struct rest_validation *v, path p, json *spec)
{
    unsigned count = 0;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(sources); i++) {
        if (!has(spec, sources[i]))
            continue;
        if (count++)
            rest_forbidden(v, AT(p, sources[i]), "may not specify more than 1 volume type");
        else
            rest_check_volume_source(v, p, spec, row_of(sources[i]));
        if (strcmp(sources[i], "local") == 0 && !neap_json_at(spec, "nodeAffinity.required"))
            rest_required(v, AT(p, "nodeAffinity"), "Local volume requires node affinity");
    }
    if (!count)
        rest_required(v, p, "must specify a volume type");
}

static void check_capacity(struct rest_validation *v, path p, json *capacity)
{
    static const char *const supported[] = {"storage", NULL};
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    if (!size(capacity))
        rest_required(v, p, NO_WHY);
    if (!has(capacity, "storage") || size(capacity) > 1) {
        rest_show(&b, size(capacity) ? capacity : NULL);
        rest_unsupported_shown(v, p, b.data, supported);
    }
    EACH(e, capacity)
    {
        if (rest_quantity_compare(e.item, NULL) < 0)
            rest_invalid(v, KEY(p, e.key), e.item, "must be a valid resource quantity");
        if (rest_quantity_compare(e.item, NULL) <= 0)
            rest_invalid(v, KEY(p, e.key), e.item, "must be greater than zero");
    }
}

static void check_volume_spec(struct rest_validation *v, path p, json *spec)
{
    static const char *const reclaim[] = {"Delete", "Recycle", "Retain", NULL};
    json *affinity = get(spec, "nodeAffinity"), *host_path = get(spec, "hostPath");
    path affinity_path = AT(p, "nodeAffinity");
    check_access_modes(v, AT(p, "accessModes"), get(spec, "accessModes"), "");
    check_capacity(v, AT(p, "capacity"), get(spec, "capacity"));
    if (*text(spec, "persistentVolumeReclaimPolicy"))
        rest_check_one_of(v, AT(p, "persistentVolumeReclaimPolicy"),
                          text(spec, "persistentVolumeReclaimPolicy"), false, reclaim);
    if (affinity && !has(affinity, "required"))
        rest_required(v, AT(affinity_path, "required"), "must specify required node constraints");
    else if (affinity)
        rest_check_node_selector(v, AT(affinity_path, "required"), get(affinity, "required"));
    check_sources(v, p, spec);
    if (host_path && is(host_path, "path", "/") &&
        is(spec, "persistentVolumeReclaimPolicy", "Recycle"))
        rest_forbidden(v, AT(p, "persistentVolumeReclaimPolicy"),
                       "may not be 'recycle' for a hostPath mount of '/'");
    check_class(v, AT(p, "storageClassName"), text(spec, "storageClassName"));
    if (has(spec, "volumeMode"))
        rest_check_one_of(v, AT(p, "volumeMode"), text(spec, "volumeMode"), false, volume_modes);
}

static void check_volume_update(struct rest_validation *v)
{
    json *now = get(v->root, "spec"), *old = get(v->old_root, "spec");
    bool same = true;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(sources); i++)
        same = same && rest_same(get(now, sources[i]), get(old, sources[i]));
    if (!same) {
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        diff_values(&b, old, now, "PersistentVolumeSource");
        rest_forbidden(v, AT(AT(NULL, "spec"), "persistentvolumesource"),
                       "spec.persistentvolumesource is immutable after creation\n%s",
                       b.len ? b.data : "");
    }
    rest_check_immutable(v, AT(NULL, "volumeMode"), get(now, "volumeMode"), get(old, "volumeMode"),
                         NULL);
}

void rest_validate_persistent_volume(struct rest_validation *v)
{
    if (v->subresource)
        return;
    check_volume_spec(v, AT(NULL, "spec"), get(v->root, "spec"));
    if (v->old_root)
        check_volume_update(v);
}

/* ---- classes and drivers ---- */

enum { PARAMETERS_MAX = 512, PARAMETERS_BYTES_MAX = 256 << 10 };

static void check_parameters(struct rest_validation *v, path p, json *parameters)
{
    size_t total = 0;
    if (size(parameters) > PARAMETERS_MAX)
        rest_too_long(v, p, PARAMETERS_MAX);
    EACH(e, parameters)
    {
        if (!*e.key)
            rest_invalid_string(v, p, e.key, "field can not be empty.");
        total += strlen(e.key) + yyjson_mut_get_len(e.item);
    }
    if (total > PARAMETERS_BYTES_MAX)
        rest_too_long(v, p, PARAMETERS_BYTES_MAX);
}

static void check_topologies(struct rest_validation *v, path p, json *terms)
{
    EACH(t, terms)
    {
        struct neap_map keys = NEAP_MAP_INIT;
        path list = AT(ITEM(p, t.i), "matchLabelExpressions");
        EACH(e, get(t.item, "matchLabelExpressions"))
        {
            struct neap_map values = NEAP_MAP_INIT;
            path at = ITEM(list, e.i), value_path = AT(at, "values");
            if (!size(get(e.item, "values")))
                rest_required(v, value_path, NO_WHY);
            EACH(x, get(e.item, "values"))
            if (!rest_set_add(&values, string_of(x.item)))
                rest_duplicate(v, ITEM(value_path, x.i), x.item);
            neap_map_done(&values, NULL);
            rest_check_words(v, AT(at, "key"), text(e.item, "key"), rest_words_qualified_name);
            if (!rest_set_add(&keys, text(e.item, "key")))
                rest_duplicate_string(v, AT(at, "key"), text(e.item, "key"));
        }
        neap_map_done(&keys, NULL);
    }
}

void rest_validate_storage_class(struct rest_validation *v)
{
    static const char *const reclaim[] = {"Delete", "Retain", NULL};
    static const char *const binding[] = {"Immediate", "WaitForFirstConsumer", NULL};
    struct rest_problems found = {0};
    const char *provisioner = text(v->root, "provisioner");
    char lower[512];
    snprintf(lower, sizeof(lower), "%s", provisioner);
    for (char *s = lower; *s; s++)
        *s = *s >= 'A' && *s <= 'Z' ? (char)(*s | 32) : *s;
    if (*provisioner)
        rest_words_qualified_name(&found, lower);
    for (unsigned i = 0; i < found.count; i++)
        rest_invalid_string(v, AT(NULL, "provisioner"), provisioner, "%s", found.list[i]);
    check_parameters(v, AT(NULL, "parameters"), get(v->root, "parameters"));
    if (*text(v->root, "reclaimPolicy"))
        rest_check_one_of(v, AT(NULL, "reclaimPolicy"), text(v->root, "reclaimPolicy"), false,
                          reclaim);
    rest_check_one_of(v, AT(NULL, "volumeBindingMode"), text(v->root, "volumeBindingMode"), true,
                      binding);
    check_topologies(v, AT(NULL, "allowedTopologies"), get(v->root, "allowedTopologies"));
}

void rest_validate_csi_driver(struct rest_validation *v)
{
    static const char *const policies[] = {"File", "None", "ReadWriteOnceWithFSType", NULL};
    static const char *const modes[] = {"Persistent", "Ephemeral", NULL};
    json *spec = get(v->root, "spec"), *old = get(v->old_root, "spec");
    path p = AT(NULL, "spec");
    rest_check_one_of(v, AT(p, "fsGroupPolicy"), text(spec, "fsGroupPolicy"), true, policies);
    EACH(e, get(spec, "volumeLifecycleModes"))
    rest_check_one_of(v, AT(p, "volumeLifecycleModes"), string_of(e.item), false, modes);
    if (old)
        rest_check_immutable(v, AT(p, "attachedRequired"), get(spec, "attachRequired"),
                             get(old, "attachRequired"), NULL);
}
