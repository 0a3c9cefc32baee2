/* Environment variables, volume mounts and devices of a container; references to fields. */
#include "validate.h"

/* ---- references ---- */

static const char *const env_fields[] = {"metadata.name",
                                         "metadata.namespace",
                                         "metadata.uid",
                                         "spec.nodeName",
                                         "spec.serviceAccountName",
                                         "status.hostIP",
                                         "status.hostIPs",
                                         "status.podIP",
                                         "status.podIPs",
                                         NULL};
static const char *const volume_fields[] = {"metadata.annotations", "metadata.labels",
                                            "metadata.name",        "metadata.namespace",
                                            "metadata.uid",         NULL};
/* What a path may be at all. */
static const char *const known_fields[] = {
    "metadata.annotations", "metadata.labels", "metadata.name",      "metadata.namespace",
    "metadata.uid",         "spec.nodeName",   "spec.restartPolicy", "spec.serviceAccountName",
    "spec.schedulerName",   "status.phase",    "status.hostIP",      "status.hostIPs",
    "status.podIP",         "status.podIPs",   "spec.host",          NULL};

/* metadata.labels['key']: *ret_key. False: no subscript. */
static bool subscript(const char *s, char *base, char *key, size_t n)
{
    const char *open = strstr(s, "['");
    size_t len = strlen(s);
    if (!open || len < 4 || strcmp(s + len - 2, "']") || open + 2 > s + len - 2)
        return false;
    snprintf(base, n, "%.*s", (int)(open - s), s);
    snprintf(key, n, "%.*s", (int)(s + len - 2 - open - 2), open + 2);
    return true;
}

static void check_subscript(struct rest_validation *v, path p, const char *base, char *key)
{
    if (strcmp(base, "metadata.annotations") == 0)
        for (char *s = key; *s; s++)
            *s = *s >= 'A' && *s <= 'Z' ? (char)(*s | 32) : *s;
    rest_check_words(v, p, key, rest_words_qualified_name);
}

void rest_check_field_ref(struct rest_validation *v, path p, json *ref, bool volume)
{
    const char *field = text(ref, "fieldPath");
    const char *const *allowed = volume ? volume_fields : env_fields;
    char base[512], key[512];
    if (!*text(ref, "apiVersion")) {
        rest_required(v, AT(p, "apiVersion"), NO_WHY);
        return;
    }
    if (!*field) {
        rest_required(v, AT(p, "fieldPath"), NO_WHY);
        return;
    }
    bool has_key = strlen(field) < sizeof(base) && subscript(field, base, key, sizeof(base));
    bool mapped =
        has_key && (!strcmp(base, "metadata.annotations") || !strcmp(base, "metadata.labels"));
    if (!is(ref, "apiVersion", "v1"))
        rest_invalid_string(v, AT(p, "fieldPath"), field,
                            "error converting fieldPath: unsupported pod version: %s",
                            text(ref, "apiVersion"));
    else if (has_key && !mapped)
        rest_invalid_string(
            v, AT(p, "fieldPath"), field,
            "error converting fieldPath: field label does not support subscript: %s", field);
    else if (has_key)
        check_subscript(v, p, base, key);
    else if (!rest_one_of(field, known_fields))
        rest_invalid_string(v, AT(p, "fieldPath"), field,
                            "error converting fieldPath: field label not supported: %s", field);
    else
        rest_check_one_of(v, AT(p, "fieldPath"),
                          strcmp(field, "spec.host") ? field : "spec.nodeName", false, allowed);
}

static const char *const container_resources[] = {"limits.cpu",
                                                  "limits.ephemeral-storage",
                                                  "limits.memory",
                                                  "requests.cpu",
                                                  "requests.ephemeral-storage",
                                                  "requests.memory",
                                                  NULL};
#define MEMORY_DIVISORS "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"

/* What may divide the value of a resource, and how that is told. */
static void check_divisor(struct rest_validation *v, path p, const char *resource, json *divisor)
{
    static const char *const cpu[] = {"1m", "1", NULL};
    static const char *const bytes[] = {"1",   "1k",  "1M",  "1G",  "1T",  "1P",  "1E",
                                        "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL};
    static const struct {
        const char *word, *name;
        bool cpu;
    } rows[] = {{".cpu", "cpu", true},
                {".memory", "memory", false},
                {".ephemeral-storage", "local ephemeral storage", false},
                {".hugepages-", "hugepages", false}};
    if (!rest_quantity_compare(divisor, NULL))
        return;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++) {
        if (!strstr(resource, rows[i].word) ||
            rest_one_of(string_of(divisor), rows[i].cpu ? cpu : bytes))
            continue;
        if (rows[i].cpu)
            rest_invalid_string(v, AT(p, "divisor"), resource,
                                "only divisor's values 1m and 1 "
                                "are supported with the cpu resource");
        else
            rest_invalid_string(v, AT(p, "divisor"), resource,
                                "only divisor's values " MEMORY_DIVISORS
                                " are supported with the %s resource",
                                rows[i].name);
    }
}

void rest_check_resource_field_ref(struct rest_validation *v, path p, json *ref, bool volume)
{
    const char *resource = text(ref, "resource");
    bool huge = strncmp(resource, "requests.hugepages-", 19) == 0 ||
                strncmp(resource, "limits.hugepages-", 17) == 0;
    if (volume && !*text(ref, "containerName"))
        rest_required(v, AT(p, "containerName"), NO_WHY);
    else if (!huge)
        rest_check_one_of(v, AT(p, "resource"), resource, true, container_resources);
    check_divisor(v, p, resource, get(ref, "divisor"));
}

static void check_key_ref(struct rest_validation *v, path p, json *ref)
{
    rest_check_words(v, AT(p, "name"), text(ref, "name"), rest_words_dns_subdomain);
    if (!*text(ref, "key"))
        rest_required(v, AT(p, "key"), NO_WHY);
    else
        rest_check_words(v, AT(p, "key"), text(ref, "key"), rest_words_config_key);
}

static void check_file_key_ref(struct rest_validation *v, path p, json *ref)
{
    if (!*text(ref, "key"))
        rest_required(v, AT(p, "key"), NO_WHY);
    else
        rest_check_words(v, AT(p, "key"), text(ref, "key"), rest_words_env_name);
    if (!*text(ref, "volumeName"))
        rest_required(v, AT(p, "volumeName"), NO_WHY);
    else
        rest_check_words(v, AT(p, "volumeName"), text(ref, "volumeName"), rest_words_dns_label);
    if (!*text(ref, "path"))
        rest_required(v, AT(p, "path"), NO_WHY);
    else
        rest_check_no_backsteps(v, AT(p, "path"), text(ref, "path"));
}

static void check_env_field(struct rest_validation *v, path p, json *ref)
{
    rest_check_field_ref(v, p, ref, false);
}

static void check_env_resource(struct rest_validation *v, path p, json *ref)
{
    rest_check_resource_field_ref(v, p, ref, false);
}

static const struct {
    const char *name;
    void (*check)(struct rest_validation *v, path p, json *ref);
} env_sources[] = {
    {"fieldRef", check_env_field},      {"resourceFieldRef", check_env_resource},
    {"configMapKeyRef", check_key_ref}, {"secretKeyRef", check_key_ref},
    {"fileKeyRef", check_file_key_ref},
};

static void check_value_from(struct rest_validation *v, path p, json *var)
{
    json *from = get(var, "valueFrom");
    unsigned count = 0;
    if (!from)
        return;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(env_sources); i++)
        if (has(from, env_sources[i].name)) {
            count++;
            env_sources[i].check(v, AT(p, env_sources[i].name), get(from, env_sources[i].name));
        }
    if (!count)
        rest_invalid_string(v, p, "",
                            "must specify one of: `fieldRef`, `resourceFieldRef`, "
                            "`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
    else if (*text(var, "value"))
        rest_invalid_string(v, p, "", "may not be specified when `value` is not empty");
    else if (count > 1)
        rest_invalid_string(v, p, "", "may not have more than one field specified at a time");
}

static void check_env_from(struct rest_validation *v, path p, json *list)
{
    static const char *const sources[] = {"configMapRef", "secretRef"};
    EACH(e, list)
    {
        path at = ITEM(p, e.i);
        unsigned count = 0;
        if (*text(e.item, "prefix"))
            rest_check_words(v, AT(at, "prefix"), text(e.item, "prefix"), rest_words_env_name);
        for (int i = 0; i < 2; i++) {
            json *ref = get(e.item, sources[i]);
            path name = AT(AT(at, sources[i]), "name");
            count += ref != NULL;
            if (ref && !*text(ref, "name"))
                rest_required(v, name, NO_WHY);
            else if (ref) /* a prefix of a name is let through */
                rest_check_words(v, name, text(ref, "name"), rest_words_dns_subdomain);
        }
        if (count != 1)
            rest_invalid_string(v, p, "", "%s",
                                count ? "may not have more than one field specified at a time"
                                      : "must specify one of: `configMapRef` or `secretRef`");
    }
}

void rest_check_env(struct rest_pod *pod, path p, json *container)
{
    path env = AT(p, "env");
    EACH(e, get(container, "env"))
    {
        path at = ITEM(env, e.i);
        if (!*text(e.item, "name"))
            rest_required(pod->v, AT(at, "name"), NO_WHY);
        else
            rest_check_words(pod->v, AT(at, "name"), text(e.item, "name"), rest_words_env_name);
        check_value_from(pod->v, AT(at, "valueFrom"), e.item);
    }
    check_env_from(pod->v, AT(p, "envFrom"), get(container, "envFrom"));
}

/* ---- mounts and devices ---- */

static void check_propagation(struct rest_validation *v, path p, json *mount, json *container)
{
    static const char *const values[] = {"Bidirectional", "HostToContainer", "None", NULL};
    if (!has(mount, "mountPropagation"))
        return;
    rest_check_one_of(v, p, text(mount, "mountPropagation"), false, values);
    if (is(mount, "mountPropagation", "Bidirectional") &&
        !flag(get(container, "securityContext"), "privileged"))
        rest_forbidden(
            v, p, "Bidirectional mount propagation is available only to privileged containers");
}

static void check_recursive(struct rest_validation *v, path p, json *mount)
{
    static const char *const values[] = {"Disabled", "Enabled", "IfPossible", NULL};
    if (!has(mount, "recursiveReadOnly") ||
        !rest_check_one_of(v, p, text(mount, "recursiveReadOnly"), false, values) ||
        is(mount, "recursiveReadOnly", "Disabled"))
        return;
    if (!flag(mount, "readOnly"))
        rest_forbidden(v, p, "may only be specified when readOnly is true");
    if (has(mount, "mountPropagation") && !is(mount, "mountPropagation", "None"))
        rest_forbidden(v, p,
                       "may only be specified when mountPropagation is None or not specified");
}

/* Names and paths of the other list. */
struct others {
    struct neap_map names, paths;
};

static void others_make(struct others *o, json *list, const char *path_field)
{
    *o = (struct others){0};
    EACH(e, list)
    {
        rest_set_add(&o->names, text(e.item, "name"));
        rest_set_add(&o->paths, text(e.item, path_field));
    }
}

static void others_done(struct others *o)
{
    neap_map_done(&o->names, NULL);
    neap_map_done(&o->paths, NULL);
}

static void check_mount_paths(struct rest_validation *v, path p, path at, json *mount,
                              json *container)
{
    if (*text(mount, "subPath"))
        rest_check_descending_path(v, AT(p, "subPath"), text(mount, "subPath"));
    if (*text(mount, "subPathExpr")) {
        if (*text(mount, "subPath"))
            rest_invalid(v, AT(at, "subPathExpr"), get(mount, "subPathExpr"),
                         "subPathExpr and subPath are mutually exclusive");
        rest_check_descending_path(v, AT(p, "subPathExpr"), text(mount, "subPathExpr"));
    }
    check_propagation(v, AT(p, "mountPropagation"), mount, container);
    check_recursive(v, AT(p, "recursiveReadOnly"), mount);
}

static void check_volume_mounts(struct rest_pod *pod, path p, json *container)
{
    struct rest_validation *v = pod->v;
    struct neap_map points = NEAP_MAP_INIT;
    struct others devices;
    others_make(&devices, get(container, "volumeDevices"), "devicePath");
    EACH(e, get(container, "volumeMounts"))
    {
        path at = ITEM(p, e.i);
        const char *name = text(e.item, "name"), *point = text(e.item, "mountPath");
        if (!*name)
            rest_required(v, AT(at, "name"), NO_WHY);
        if (!neap_map_get(&pod->volumes, name))
            rest_not_found(v, AT(at, "name"), name, "");
        if (!*point)
            rest_required(v, AT(at, "mountPath"), NO_WHY);
        if (!rest_set_add(&points, point))
            rest_invalid_string(v, AT(at, "mountPath"), point, "must be unique");
        if (neap_map_get(&devices.names, name))
            rest_invalid_string(v, AT(at, "name"), name, "must not already exist in volumeDevices");
        if (neap_map_get(&devices.paths, point))
            rest_invalid_string(v, AT(at, "mountPath"), point,
                                "must not already exist as a path in volumeDevices");
        check_mount_paths(v, p, at, e.item, container);
    }
    others_done(&devices);
    neap_map_done(&points, NULL);
}

static void check_device_name(struct rest_pod *pod, path p, const char *name,
                              struct neap_map *names)
{
    struct rest_validation *v = pod->v;
    json *volume = neap_map_get(&pod->volumes, name);
    if (!*name)
        rest_required(v, p, NO_WHY);
    else if (!rest_set_add(names, name))
        rest_invalid_string(v, p, name, "must be unique");
    if (volume && !has(volume, "persistentVolumeClaim") && !has(volume, "ephemeral"))
        rest_invalid_string(v, p, name,
                            "can only use volume source type of PersistentVolumeClaim or Ephemeral "
                            "for block mode");
    if (!volume)
        rest_not_found(v, p, name, "");
}

static bool steps_back(const char *s)
{
    for (const char *at = s; (at = strstr(at, "..")); at += 2)
        if ((at == s || at[-1] == '/') && (!at[2] || at[2] == '/'))
            return true;
    return false;
}

static void check_volume_devices(struct rest_pod *pod, path p, json *container)
{
    struct rest_validation *v = pod->v;
    struct neap_map names = NEAP_MAP_INIT, paths = NEAP_MAP_INIT;
    struct others mounts;
    others_make(&mounts, get(container, "volumeMounts"), "mountPath");
    EACH(e, get(container, "volumeDevices"))
    {
        path at = ITEM(p, e.i);
        const char *name = text(e.item, "name"), *device = text(e.item, "devicePath");
        check_device_name(pod, AT(at, "name"), name, &names);
        if (!*device)
            rest_required(v, AT(at, "devicePath"), NO_WHY);
        if (neap_map_get(&paths, device))
            rest_invalid_string(v, AT(at, "devicePath"), device, "must be unique");
        if (steps_back(device))
            rest_invalid_string(v, AT(at, "devicePath"), device,
                                "can not contain backsteps ('..')");
        else
            rest_set_add(&paths, device);
        if (neap_map_get(&mounts.names, name))
            rest_invalid_string(v, AT(at, "name"), name, "must not already exist in volumeMounts");
        if (neap_map_get(&mounts.paths, device))
            rest_invalid_string(v, AT(at, "devicePath"), device,
                                "must not already exist as a path in volumeMounts");
    }
    others_done(&mounts);
    neap_map_done(&names, NULL);
    neap_map_done(&paths, NULL);
}

void rest_check_mounts(struct rest_pod *pod, path p, json *container)
{
    check_volume_mounts(pod, AT(p, "volumeMounts"), container);
    check_volume_devices(pod, AT(p, "volumeDevices"), container);
}

/* ---- paths inside a volume ---- */

void rest_check_no_backsteps(struct rest_validation *v, path p, const char *s)
{
    if (steps_back(s))
        rest_invalid_string(v, p, s, "must not contain '..'");
}

void rest_check_descending_path(struct rest_validation *v, path p, const char *s)
{
    if (*s == '/')
        rest_invalid_string(v, p, s, "must be a relative path");
    rest_check_no_backsteps(v, p, s);
}

void rest_check_local_path(struct rest_validation *v, path p, const char *s)
{
    rest_check_descending_path(v, p, s);
    if (strncmp(s, "..", 2) == 0 && s[2] != '/')
        rest_invalid_string(v, p, s, "must not start with '..'");
}
