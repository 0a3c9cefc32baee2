/* Volumes of a pod: exactly one source each, and what each source needs. Most sources only need some
 * fields to be there: those are rows of a table; the rest have a function. */
#include "validate.h"
#include "volumes.h"

static const char MODE_TEXT[] = "must be a number between 0 and 0777 (octal), both inclusive";
#define INT32_MAX_TEXT "must be between 0 and 2147483647, inclusive"

static void check_mode(struct rest_validation *v, path p, json *mode)
{
    if (mode && (yyjson_mut_get_sint(mode) > 0777 || yyjson_mut_get_sint(mode) < 0))
        rest_invalid(v, p, mode, "%s", MODE_TEXT);
}

static void check_user(struct rest_validation *v, path p, json *user)
{
    if (user && (yyjson_mut_get_sint(user) < 0 || yyjson_mut_get_sint(user) > INT32_MAX))
        rest_invalid(v, p, user, INT32_MAX_TEXT);
}

static void check_range(struct rest_validation *v, path p, json *n, int max)
{
    if (yyjson_mut_get_sint(n) < 0 || yyjson_mut_get_sint(n) > max)
        rest_invalid(v, p, n, "must be between 0 and %d, inclusive", max);
}

void rest_check_required_fields(struct rest_validation *v, path p, json *o,
                                const char *const *fields)
{
    for (; *fields; fields++) {
        json *field = get(o, *fields);
        if (!*string_of(field) && !size(field))
            rest_required(v, AT(p, *fields), NO_WHY);
    }
}

/* ---- sources of pods ---- */

static void empty_dir(struct rest_volume *w, path p, json *s)
{
    if (rest_quantity_compare(get(s, "sizeLimit"), NULL) < 0)
        rest_forbidden(w->v, AT(p, "sizeLimit"),
                       "SizeLimit field must be a valid resource quantity");
    if (number(s, "mode") < 0 || number(s, "mode") > 01777)
        rest_invalid(w->v, AT(p, "mode"), get(s, "mode"),
                     "must be a number between 0 and 01777 (octal), both inclusive");
}

static void host_path(struct rest_volume *w, path p, json *s)
{
    static const char *const types[] = {
        "",     "BlockDevice",  "CharDevice", "Directory", "DirectoryOrCreate",
        "File", "FileOrCreate", "Socket",     NULL};
    rest_check_no_backsteps(w->v, AT(p, "path"), text(s, "path"));
    if (has(s, "type"))
        rest_check_one_of(w->v, AT(p, "type"), text(s, "type"), false, types);
}

static void git_repo(struct rest_volume *w, path p, json *s)
{
    rest_check_descending_path(w->v, AT(p, "directory"), text(s, "directory"));
}

static void partition(struct rest_volume *w, path p, json *s)
{
    if (number(s, "partition") < 0 || number(s, "partition") > 255)
        rest_invalid(w->v, AT(p, "partition"), get(s, "partition"),
                     "must be between 0 and 255, inclusive");
}

static void check_items(struct rest_validation *v, path p, json *items)
{
    static const char *const fields[] = {"key", "path", NULL};
    EACH(e, items)
    {
        path at = ITEM(p, e.i);
        rest_check_required_fields(v, at, e.item, fields);
        rest_check_local_path(v, AT(at, "path"), text(e.item, "path"));
        check_mode(v, AT(at, "mode"), get(e.item, "mode"));
        check_user(v, AT(at, "user"), get(e.item, "user"));
    }
}

static void key_files(struct rest_volume *w, path p, json *s)
{
    check_mode(w->v, AT(p, "defaultMode"), get(s, "defaultMode"));
    check_user(w->v, AT(p, "defaultUser"), get(s, "defaultUser"));
    check_items(w->v, AT(p, "items"), get(s, "items"));
}

static void nfs(struct rest_volume *w, path p, json *s)
{
    if (*text(s, "path") != '/')
        rest_invalid(w->v, AT(p, "path"), get(s, "path"), "must be an absolute path");
}

static void iscsi(struct rest_volume *w, path p, json *s)
{
    const char *iqn = text(s, "iqn");
    bool iqn_ok = strncmp(iqn, "iqn", 3) == 0 && strspn(iqn + 3, ".0123456789-") >= 8;
    bool hex_ok = (strncmp(iqn, "eui.", 4) == 0 || strncmp(iqn, "naa.", 4) == 0) &&
                  (strlen(iqn) == 20 || strlen(iqn) == 36);
    if (!*iqn)
        rest_required(w->v, AT(p, "iqn"), NO_WHY);
    else if (strncmp(iqn, "iqn", 3) && strncmp(iqn, "eui", 3) && strncmp(iqn, "naa", 3))
        rest_invalid_string(w->v, AT(p, "iqn"), iqn,
                            "must be valid format starting with iqn, eui, or naa");
    else if (!iqn_ok && !hex_ok)
        rest_invalid_string(w->v, AT(p, "iqn"), iqn, "must be valid format");
    check_range(w->v, AT(p, "lun"), get(s, "lun"), 255);
}

static void flocker(struct rest_volume *w, path p, json *s)
{
    const char *name = text(s, "datasetName"), *uuid = text(s, "datasetUUID");
    if (!*name && !*uuid)
        rest_required(w->v, p, "one of datasetName and datasetUUID is required");
    if (*name && *uuid)
        rest_invalid_string(w->v, p, "resource",
                            "datasetName and datasetUUID can not be specified simultaneously");
    if (strchr(name, '/'))
        rest_invalid_string(w->v, AT(p, "datasetName"), name, "must not contain '/'");
}

static void secret_name(struct rest_volume *w, path p, json *s)
{
    json *ref = get(s, "secretRef");
    if (ref && !*text(ref, "name"))
        rest_required(w->v, AT(AT(p, "secretRef"), "name"), NO_WHY);
}

static void fibre_channel(struct rest_volume *w, path p, json *s)
{
    json *names = get(s, "targetWWNs");
    if (!size(names) && !size(get(s, "wwids")))
        rest_required(w->v, AT(p, "targetWWNs"),
                      "must specify either targetWWNs or wwids, but not both");
    if (size(names) && size(get(s, "wwids")))
        rest_invalid(w->v, AT(p, "targetWWNs"), names,
                     "targetWWNs and wwids can not be specified simultaneously");
    if (size(names) && !has(s, "lun"))
        rest_required(w->v, AT(p, "lun"), "lun is required if targetWWNs is specified");
    else if (size(names))
        check_range(w->v, AT(p, "lun"), get(s, "lun"), 255);
}

static void azure_disk(struct rest_volume *w, path p, json *s)
{
    static const char *const caching[] = {"None", "ReadOnly", "ReadWrite", NULL};
    static const char *const kinds[] = {"Dedicated", "Managed", "Shared", NULL};
    static const char *const managed[] = {
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/"
        "{disk-id}",
        NULL};
    static const char *const blob[] = {
        "https://{account-name}.blob.windows.net/{container-name}/{disk-name}.vhd", NULL};
    const char *uri = text(s, "diskURI");
    if (has(s, "cachingMode"))
        rest_check_one_of(w->v, AT(p, "cachingMode"), text(s, "cachingMode"), false, caching);
    if (!has(s, "kind"))
        return;
    rest_check_one_of(w->v, AT(p, "kind"), text(s, "kind"), false, kinds);
    bool is_managed = is(s, "kind", "Managed");
    if (is_managed && strncmp(uri, "/subscriptions/", 15))
        rest_unsupported(w->v, AT(p, "diskURI"), uri, managed);
    else if (!is_managed && strncmp(uri, "https://", 8))
        rest_unsupported(w->v, AT(p, "diskURI"), uri, blob);
}

static void csi_inline(struct rest_volume *w, path p, json *s)
{
    json *ref = get(s, "nodePublishSecretRef");
    rest_check_csi_driver_name(w->v, AT(p, "driver"), text(s, "driver"));
    if (ref && !*text(ref, "name"))
        rest_required(w->v, AT(AT(p, "nodePublishSecretRef"), "name"), NO_WHY);
    else if (ref)
        rest_check_words(w->v, AT(p, "name"), text(ref, "name"), rest_words_dns_subdomain);
}

void rest_check_csi_driver_name(struct rest_validation *v, path p, const char *s)
{
    struct rest_problems found = {0};
    char lower[256];
    if (!*s)
        rest_required(v, p, NO_WHY);
    if (strlen(s) > 63)
        rest_too_long(v, p, 63);
    snprintf(lower, sizeof(lower), "%s", s);
    for (char *c = lower; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 32) : *c;
    rest_words_dns_subdomain(&found, lower);
    for (unsigned i = 0; i < found.count; i++)
        rest_invalid_string(v, p, s, "%s", found.list[i]);
}

static void ephemeral(struct rest_volume *w, path p, json *s)
{
    json *template = get(s, "volumeClaimTemplate"), *meta = get(template, "metadata");
    path at = AT(p, "volumeClaimTemplate"), meta_path = AT(at, "metadata");
    if (!template) {
        rest_required(w->v, at, NO_WHY);
        return;
    }
    rest_check_annotations(w->v, AT(meta_path, "annotations"), get(meta, "annotations"));
    rest_check_labels(w->v, AT(meta_path, "labels"), get(meta, "labels"));
    EACH(e, meta)
    if (strcmp(e.key, "annotations") && strcmp(e.key, "labels"))
        rest_forbidden(w->v, AT(meta_path, e.key), "cannot be set");
    rest_check_claim_spec(w->v, AT(at, "spec"), get(template, "spec"));
}

static void image(struct rest_volume *w, path p, json *s)
{
    static const char *const pull[] = {"Always", "IfNotPresent", "Never", NULL};
    rest_check_one_of(w->v, AT(p, "pullPolicy"), text(s, "pullPolicy"), true, pull);
}

/* ---- files from fields, and projections ---- */

static void downward_file(struct rest_validation *v, path p, json *file)
{
    if (!*text(file, "path"))
        rest_required(v, AT(p, "path"), NO_WHY);
    rest_check_local_path(v, AT(p, "path"), text(file, "path"));
    if (has(file, "fieldRef")) {
        rest_check_field_ref(v, AT(p, "fieldRef"), get(file, "fieldRef"), true);
        if (has(file, "resourceFieldRef"))
            rest_invalid_string(
                v, p, "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously");
    } else if (has(file, "resourceFieldRef")) {
        rest_check_resource_field_ref(v, AT(p, "resourceFieldRef"), get(file, "resourceFieldRef"),
                                      true);
    } else {
        rest_required(v, p, "one of fieldRef and resourceFieldRef is required");
    }
    check_mode(v, AT(p, "mode"), get(file, "mode"));
    check_user(v, AT(p, "user"), get(file, "user"));
}

static void downward(struct rest_volume *w, path p, json *s)
{
    check_mode(w->v, AT(p, "defaultMode"), get(s, "defaultMode"));
    check_user(w->v, AT(p, "defaultUser"), get(s, "defaultUser"));
    EACH(e, get(s, "items"))
    downward_file(w->v, p, e.item);
}

struct projection {
    struct rest_validation *v;
    path volume; /* the projected source */
    struct neap_map paths;
};

/* <shown>: who brings the path twice. */
static void take_path(struct projection *x, const char *file, const char *shown)
{
    if (*file && !rest_set_add(&x->paths, file))
        rest_invalid_string(x->v, x->volume, shown, "conflicting duplicate paths");
}

static void project_keys(struct projection *x, path p, json *s)
{
    path items = AT(p, "items");
    if (!*text(s, "name"))
        rest_required(x->v, AT(p, "name"), NO_WHY);
    check_items(x->v, items, get(s, "items"));
    EACH(e, get(s, "items"))
    take_path(x, text(e.item, "path"), text(s, "name"));
}

static void project_downward(struct projection *x, path p, json *s)
{
    EACH(e, get(s, "items"))
    {
        downward_file(x->v, p, e.item);
        take_path(x, text(e.item, "path"), text(e.item, "path"));
    }
}

static void project_token(struct projection *x, path p, json *s)
{
    json *seconds = get(s, "expirationSeconds");
    path at = AT(p, "expirationSeconds");
    if (!seconds)
        rest_required(x->v, at, NO_WHY);
    if (seconds && yyjson_mut_get_sint(seconds) < 600)
        rest_invalid(x->v, at, seconds, "may not specify a duration less than 10 minutes");
    if (seconds && yyjson_mut_get_sint(seconds) > INT64_C(1) << 32)
        rest_invalid(x->v, at, seconds, "may not specify a duration larger than 2^32 seconds");
    if (!*text(s, "path"))
        rest_required(x->v, AT(x->volume, "path"), NO_WHY);
    else
        rest_check_local_path(x->v, AT(x->volume, "path"), text(s, "path"));
    check_user(x->v, AT(p, "user"), get(s, "user"));
}

static void project_bundle(struct projection *x, path p, json *s)
{
    bool name = has(s, "name"), signer = has(s, "signerName");
    if (name && signer) {
        rest_invalid(x->v, p, s, "only one of name and signerName may be used");
    } else if (name) {
        if (!*text(s, "name"))
            rest_required(x->v, AT(p, "name"), "must be a valid object name");
        if (has(s, "labelSelector"))
            rest_invalid(x->v, AT(p, "labelSelector"), get(s, "labelSelector"),
                         "labelSelector must be unset if name is specified");
    } else if (signer) {
        if (!*text(s, "signerName"))
            rest_required(x->v, AT(p, "signerName"), "must be a valid signer name");
        rest_check_label_selector(x->v, AT(p, "labelSelector"), get(s, "labelSelector"));
    } else {
        rest_required(x->v, p, "either name or signerName must be specified");
    }
    if (!*text(s, "path"))
        rest_required(x->v, AT(p, "path"), NO_WHY);
    check_user(x->v, AT(p, "user"), get(s, "user"));
    rest_check_local_path(x->v, AT(p, "path"), text(s, "path"));
    take_path(x, text(s, "path"), text(s, "path"));
}

static void project_certificate(struct projection *x, path p, json *s)
{
    static const char *const keys[] = {"RSA3072",   "RSA4096", "ECDSAP256", "ECDSAP384",
                                       "ECDSAP521", "ED25519", NULL};
    static const char *const files[] = {"credentialBundlePath", "keyPath", "certificateChainPath"};
    unsigned count = 0;
    check_user(x->v, AT(p, "user"), get(s, "user"));
    rest_check_one_of(x->v, AT(p, "keyType"), text(s, "keyType"), false, keys);
    if (has(s, "maxExpirationSeconds") && number(s, "maxExpirationSeconds") < 3600)
        rest_invalid(x->v, AT(p, "maxExpirationSeconds"), get(s, "maxExpirationSeconds"),
                     "if provided, maxExpirationSeconds must be >= 3600");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(files); i++) {
        const char *file = text(s, files[i]);
        if (!*file)
            continue;
        count++;
        rest_check_local_path(x->v, AT(p, files[i]), file);
        take_path(x, file, file);
    }
    if (!count)
        rest_required(x->v, p,
                      "specify at least one of credentialBundlePath, keyPath, and "
                      "certificateChainPath");
}

static const struct {
    const char *name;
    void (*check)(struct projection *x, path p, json *s);
} projections[] = {
    {"secret", project_keys},
    {"configMap", project_keys},
    {"downwardAPI", project_downward},
    {"serviceAccountToken", project_token},
    {"clusterTrustBundle", project_bundle},
    {"podCertificate", project_certificate},
};

static void projected(struct rest_volume *w, path p, json *s)
{
    struct projection x = {.v = w->v, .volume = p};
    path sources = AT(p, "sources");
    check_mode(w->v, AT(p, "defaultMode"), get(s, "defaultMode"));
    check_user(w->v, AT(p, "defaultUser"), get(s, "defaultUser"));
    EACH(e, get(s, "sources"))
    {
        path at = ITEM(sources, e.i);
        unsigned count = 0;
        for (size_t i = 0; i < NEAP_ARRAY_LEN(projections); i++)
            if (has(e.item, projections[i].name)) {
                count++;
                projections[i].check(&x, AT(at, projections[i].name),
                                     get(e.item, projections[i].name));
            }
        if (count > 1)
            rest_forbidden(w->v, at, "may not specify more than 1 volume type per source");
    }
    neap_map_done(&x.paths, NULL);
}

/* ---- the table ---- */

static const struct rest_volume_row rows[] = {
    {"emptyDir", NULL, {NULL}, empty_dir},
    {"hostPath", NULL, {"path"}, host_path},
    {"gitRepo", NULL, {"repository"}, git_repo},
    {"gcePersistentDisk", "persistentDisk", {"pdName"}, partition},
    {"awsElasticBlockStore", NULL, {"volumeID"}, partition},
    {"secret", NULL, {"secretName"}, key_files},
    {"nfs", NULL, {"server", "path"}, nfs},
    {"iscsi", NULL, {"targetPortal"}, iscsi},
    {"glusterfs", NULL, {"endpoints", "path"}, NULL},
    {"flocker", NULL, {NULL}, flocker},
    {"persistentVolumeClaim", NULL, {"claimName"}, NULL},
    {"rbd", NULL, {"monitors", "image"}, NULL},
    {"cinder", NULL, {"volumeID"}, secret_name},
    {"cephfs", NULL, {"monitors"}, NULL},
    {"quobyte", NULL, {"volume"}, NULL},
    {"downwardAPI", NULL, {NULL}, downward},
    {"fc", NULL, {NULL}, fibre_channel},
    {"flexVolume", NULL, {"driver"}, NULL},
    {"configMap", NULL, {"name"}, key_files},
    {"azureFile", NULL, {"secretName", "shareName"}, NULL},
    {"vsphereVolume", NULL, {"volumePath"}, NULL},
    {"photonPersistentDisk", NULL, {"pdID"}, NULL},
    {"portworxVolume", NULL, {"volumeID"}, NULL},
    {"azureDisk", NULL, {"diskName", "diskURI"}, azure_disk},
    {"storageos", NULL, {"volumeName"}, secret_name},
    {"projected", NULL, {NULL}, projected},
    {"scaleIO", NULL, {"gateway", "system", "volumeName"}, NULL},
    {"csi", NULL, {NULL}, csi_inline},
    {"ephemeral", NULL, {NULL}, ephemeral},
    {"image", NULL, {"reference"}, image},
};

const struct rest_volume_row *rest_volume_row(const char *name)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

void rest_check_volume_source(struct rest_validation *v, path p, json *source,
                              const struct rest_volume_row *row)
{
    struct rest_volume w = {.v = v};
    path at = AT(p, row->path ? row->path : row->name);
    json *s = get(source, row->name);
    rest_check_required_fields(v, at, s, row->required);
    if (row->check)
        row->check(&w, at, s);
}

static void check_volume(struct rest_pod *pod, path p, json *volume)
{
    unsigned count = 0;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        if (!has(volume, rows[i].name))
            continue;
        if (count++)
            rest_forbidden(pod->v, AT(p, rows[i].name), "may not specify more than 1 volume type");
        else
            rest_check_volume_source(pod->v, p, volume, &rows[i]);
    }
    if (!count)
        rest_required(pod->v, p, "must specify a volume type");
}

/* The claim that the pod's own name makes of an ephemeral volume. */
static void check_claim_name(struct rest_pod *pod, path p, json *volume)
{
    struct rest_problems found = {0};
    const char *pod_name = text(pod->meta, "name"), *name = text(volume, "name");
    if (!has(volume, "ephemeral") || !*pod_name || !*name)
        return;
    char *claim = neap_asprintf("%s-%s", pod_name, name);
    rest_words_dns_subdomain(&found, claim);
    for (unsigned i = 0; i < found.count; i++)
        rest_invalid_string(pod->v, AT(p, "name"), name, "PVC name \"%s\": %s", claim,
                            found.list[i]);
    free(claim);
}

void rest_check_volumes(struct rest_pod *pod, path p)
{
    struct rest_validation *v = pod->v;
    EACH(e, get(pod->spec, "volumes"))
    {
        path at = ITEM(p, e.i);
        const char *name = text(e.item, "name");
        check_volume(pod, at, e.item);
        check_claim_name(pod, at, e.item);
        if (!*name)
            rest_required(v, AT(at, "name"), NO_WHY);
        else
            rest_check_words(v, AT(at, "name"), name, rest_words_dns_label);
        if (neap_map_set(&pod->volumes, name, e.item))
            rest_duplicate_string(v, AT(at, "name"), name);
    }
}
