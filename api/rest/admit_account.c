/* ServiceAccount admission: every pod runs as one, and finds its token, the cluster's certificate and its
 * namespace where clients look. Source: Kubernetes documentation, "Managing Service Accounts". */
#include "internal.h"

static const char MOUNT_PATH[] = "/var/run/secrets/kubernetes.io/serviceaccount";
enum { TOKEN_SECONDS = 3607 };

static yyjson_mut_val *at(yyjson_mut_val *root, const char *path)
{
    return neap_json_at(root, path);
}

static bool mounts_there(yyjson_mut_val *container)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(at(container, "volumeMounts"));
    for (yyjson_mut_val *m; (m = yyjson_mut_arr_iter_next(&it));)
        if (neap_streq(neap_json_str_at(m, "mountPath"), MOUNT_PATH))
            return true;
    return false;
}

static yyjson_mut_val *list_at(struct rest_write *w, yyjson_mut_val *o, const char *name)
{
    yyjson_mut_val *list = yyjson_mut_obj_get(o, name);
    if (!list) {
        list = yyjson_mut_arr(w->doc);
        yyjson_mut_obj_put(o, yyjson_mut_strcpy(w->doc, name), list);
    }
    return list;
}

static void add_mount(struct rest_write *w, yyjson_mut_val *container, const char *volume)
{
    yyjson_mut_val *m = yyjson_mut_obj(w->doc);
    yyjson_mut_obj_add_strcpy(w->doc, m, "name", volume);
    yyjson_mut_obj_add_bool(w->doc, m, "readOnly", true);
    yyjson_mut_obj_add_strcpy(w->doc, m, "mountPath", MOUNT_PATH);
    yyjson_mut_arr_append(list_at(w, container, "volumeMounts"), m);
}

/* Mounts it where nothing is mounted yet; false: nowhere. */
static bool add_mounts(struct rest_write *w, yyjson_mut_val *spec, const char *volume)
{
    static const char *const lists[] = {"initContainers", "containers"};
    bool any = false;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(lists); i++) {
        yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(yyjson_mut_obj_get(spec, lists[i]));
        for (yyjson_mut_val *c; (c = yyjson_mut_arr_iter_next(&it));)
            if (!mounts_there(c)) {
                add_mount(w, c, volume);
                any = true;
            }
    }
    return any;
}

static void add_volume(struct rest_write *w, yyjson_mut_val *spec)
{
    char json[700], suffix[8], name[32];
    neap_rand_suffix(rest_of(w->call)->options.rand, suffix, 5);
    snprintf(name, sizeof(name), "kube-api-access-%s", suffix);
    if (!add_mounts(w, spec, name))
        return;
    snprintf(
        json, sizeof(json),
        "{\"name\":\"%s\",\"projected\":{\"defaultMode\":420,\"sources\":[{"
        "\"serviceAccountToken\":{\"expirationSeconds\":%d,\"path\":\"token\"}},{\"configMap\":{"
        "\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},{"
        "\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"apiVersion\":\"v1\","
        "\"fieldPath\":\"metadata.namespace\"}}]}}]}}",
        name, TOKEN_SECONDS);
    yyjson_doc *parsed = yyjson_read(json, strlen(json), 0);
    yyjson_mut_arr_append(list_at(w, spec, "volumes"),
                          yyjson_val_mut_copy(w->doc, yyjson_doc_get_root(parsed)));
    yyjson_doc_free(parsed);
}

static bool automount(yyjson_mut_val *spec, yyjson_val *account)
{
    yyjson_mut_val *own = yyjson_mut_obj_get(spec, "automountServiceAccountToken");
    yyjson_val *its = yyjson_obj_get(account, "automountServiceAccountToken");
    return own ? yyjson_mut_get_bool(own) : its ? yyjson_get_bool(its) : true;
}

int rest_admit_account(struct rest_write *w, struct neap_err *err)
{
    yyjson_mut_val *spec = at(w->root, "spec");
    char text[600];
    if (!spec ||
        yyjson_mut_obj_get(at(w->root, "metadata.annotations"), "kubernetes.io/config.mirror"))
        return 0;
    const char *name = neap_json_str_at(spec, "serviceAccountName");
    if (!name || !*name) {
        name = "default";
        neap_json_set_at(w->doc, spec, "serviceAccountName", yyjson_mut_strcpy(w->doc, name));
        neap_json_set_at(w->doc, spec, "serviceAccount", yyjson_mut_strcpy(w->doc, name));
    }
    struct neap_object *o =
        neap_snapshot_get(rest_call_of(w->call)->snapshot,
                          neap_kind_by_resource("", "v1", "serviceaccounts"), w->namespace_, name);
    if (!o) {
        snprintf(text, sizeof(text),
                 "error looking up service account %s/%s: serviceaccount \"%s\" not found",
                 w->namespace_, name, name);
        return rest_err_forbidden(err, w->kind, w->name, text);
    }
    yyjson_doc *doc = neap_object_parse(o, neap_arena_alc(w->call->arena));
    yyjson_val *account = yyjson_doc_get_root(doc), *secrets;
    if (automount(spec, account))
        add_volume(w, spec);
    secrets = yyjson_obj_get(account, "imagePullSecrets");
    if (secrets && !yyjson_mut_obj_get(spec, "imagePullSecrets"))
        neap_json_set_at(w->doc, spec, "imagePullSecrets", yyjson_val_mut_copy(w->doc, secrets));
    return 0;
}
