#include "kubeconfig.h"

#include <neap/json.h>
#include <openssl/evp.h>

enum { FILE_MAX = 1 << 20 };

static yyjson_mut_val *entry(yyjson_mut_val *root, const char *list, const char *name,
                             const char *field)
{
    size_t i, n;
    yyjson_mut_val *x;
    yyjson_mut_arr_foreach(yyjson_mut_obj_get(root, list), i, n, x)
    {
        if (name && yyjson_mut_equals_str(yyjson_mut_obj_get(x, "name"), name))
            return yyjson_mut_obj_get(x, field);
    }
    return NULL;
}

static char *decode(const char *base64)
{
    size_t len = base64 ? strlen(base64) : 0;
    if (!len || len % 4)
        return NULL;
    char *out = neap_malloc(len / 4 * 3 + 1);
    int n = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)base64, (int)len);
    if (n < 0) {
        free(out);
        return NULL;
    }
    n -= (base64[len - 1] == '=') + (base64[len - 2] == '=');
    out[n] = '\0';
    return out;
}

/* "NAME-data", or the file that "NAME" names. */
static char *pem(yyjson_mut_val *o, const char *name)
{
    char key[64], *text = NULL;
    size_t len = 0;
    snprintf(key, sizeof(key), "%s-data", name);
    const char *data = yyjson_mut_get_str(yyjson_mut_obj_get(o, key));
    if (data)
        return decode(data);
    const char *path = yyjson_mut_get_str(yyjson_mut_obj_get(o, name));
    return path && neap_file_read(path, FILE_MAX, &text, &len) == 0 ? text : NULL;
}

static int fill(struct neap_kubeconfig *k, yyjson_mut_val *root, const char *path,
                struct neap_err *err)
{
    const char *current = yyjson_mut_get_str(yyjson_mut_obj_get(root, "current-context"));
    yyjson_mut_val *context = entry(root, "contexts", current, "context");
    const char *cluster_name = yyjson_mut_get_str(yyjson_mut_obj_get(context, "cluster"));
    const char *user_name = yyjson_mut_get_str(yyjson_mut_obj_get(context, "user"));
    yyjson_mut_val *cluster = entry(root, "clusters", cluster_name, "cluster");
    yyjson_mut_val *user = entry(root, "users", user_name, "user");
    const char *server = yyjson_mut_get_str(yyjson_mut_obj_get(cluster, "server"));
    const char *token = yyjson_mut_get_str(yyjson_mut_obj_get(user, "token"));
    if (!server || strncmp(server, "https://", 8) != 0)
        return neap_err_set(err, NEAP_ECONFIG, "%s: the current context names no https server",
                            path);
    server += 8;
    size_t len = strcspn(server, "/");
    const char *colon = memrchr(server, ':', len), *bracket = memrchr(server, ']', len);
    bool port = colon && (!bracket || colon > bracket);
    snprintf(k->address, sizeof(k->address), "%.*s%s", (int)len, server, port ? "" : ":443");
    k->ca_pem = pem(cluster, "certificate-authority");
    k->cert_pem = pem(user, "client-certificate");
    k->key_pem = pem(user, "client-key");
    k->token = token ? neap_strdup(token) : NULL;
    if (!k->ca_pem)
        return neap_err_set(err, NEAP_ECONFIG, "%s: the cluster has no certificate-authority",
                            path);
    return 0;
}

int neap_kubeconfig_read(const char *path, struct neap_kubeconfig *ret, struct neap_err *err)
{
    char *text = NULL;
    size_t len = 0;
    memset(ret, 0, sizeof(*ret));
    int rc = neap_file_read(path, FILE_MAX, &text, &len);
    if (rc < 0)
        return neap_err_errno(err, -rc, "kubeconfig %s", path);
    struct neap_arena *arena = neap_arena_new(8 << 20);
    struct neap_err why = NEAP_ERR_INIT;
    yyjson_mut_doc *doc = NULL;
    if (neap_yaml_parse(arena, text, len, NULL, &doc, &why))
        rc = neap_err_set(err, NEAP_ECONFIG, "%s: %s", path, why.message ? why.message : "no YAML");
    else
        rc = fill(ret, yyjson_mut_doc_get_root(doc), path, err);
    neap_err_done(&why);
    neap_arena_free(arena);
    free(text);
    return rc;
}

void neap_kubeconfig_done(struct neap_kubeconfig *k)
{
    free(k->ca_pem);
    free(k->cert_pem);
    free(k->key_pem);
    free(k->token);
    memset(k, 0, sizeof(*k));
}

int neap_kubeconfig_connect(const struct neap_kubeconfig *k, struct neap_loop *loop,
                            struct neap_tls **ret_tls, struct neap_http_client **ret,
                            struct neap_err *err)
{
    const char *addresses[] = {k->address, NULL};
    struct neap_tls_config tls = {
        .cert_pem = k->cert_pem, .key_pem = k->key_pem, .ca_pem = k->ca_pem};
    int rc = neap_tls_new(&tls, false, ret_tls, err);
    if (rc)
        return rc;
    struct neap_http_client_options o = {.loop = loop,
                                         .tls = *ret_tls,
                                         .addresses = addresses,
                                         .bearer_token = k->token,
                                         .user_agent = "neap"};
    *ret = neap_http_client_new(&o);
    return 0;
}
