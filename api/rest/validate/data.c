/* ConfigMap and Secret: keys, sizes, immutability. */
#include "validate.h"

enum { DATA_BYTES_MAX = 1 << 20 };

static const char *key_problem(const char *s)
{
    if (strlen(s) > 253)
        return "must be no more than 253 characters";
    if (strcmp(s, ".") == 0)
        return "must not be '.'";
    if (strcmp(s, "..") == 0)
        return "must not be '..'";
    if (strncmp(s, "..", 2) == 0)
        return "must not start with '..'";
    if (!*s || strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") !=
                   strlen(s))
        return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
               "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
               "'[-._a-zA-Z0-9]+')";
    return NULL;
}

static size_t check_map(struct rest_validation *v, const char *name, bool base64,
                        yyjson_mut_val *other)
{
    size_t total = 0;
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(yyjson_mut_obj_get(v->root, name));
    for (yyjson_mut_val *k; (k = yyjson_mut_obj_iter_next(&it));) {
        const char *key = yyjson_mut_get_str(k), *why = key_problem(key);
        size_t n = yyjson_mut_get_len(yyjson_mut_obj_iter_get_val(k));
        char field[512];
        snprintf(field, sizeof(field), "%s[%s]", name, key);
        if (why)
            rest_invalid_string(v, field, key, why);
        if (other && yyjson_mut_obj_getn(other, key, yyjson_mut_get_len(k)))
            rest_invalid_string(v, field, key, "duplicate of key present in binaryData");
        total += base64 ? n / 4 * 3 : n;
    }
    return total;
}

static bool same(struct rest_validation *v, const char *name)
{
    yyjson_mut_val *a = yyjson_mut_obj_get(v->root, name);
    yyjson_mut_val *b = yyjson_mut_obj_get(v->old_root, name);
    if (!a || !b)
        return (!a || !yyjson_mut_obj_size(a)) && (!b || !yyjson_mut_obj_size(b));
    return neap_json_equal(a, b);
}

static void check_immutable(struct rest_validation *v, const char *const *fields)
{
    if (!v->old_root || !yyjson_mut_get_bool(yyjson_mut_obj_get(v->old_root, "immutable")))
        return;
    if (!yyjson_mut_get_bool(yyjson_mut_obj_get(v->root, "immutable")))
        rest_forbidden(v, "immutable", "field is immutable when `immutable` is set");
    for (; *fields; fields++)
        if (!same(v, *fields))
            rest_forbidden(v, *fields, "field is immutable when `immutable` is set");
}

static void too_long(struct rest_validation *v, const char *field)
{
    neap_err_cause(v->err, "FieldValueTooLong", field,
                   "Too long: may not be more than %d bytes", DATA_BYTES_MAX);
}

void rest_validate_config_map(struct rest_validation *v)
{
    static const char *const fields[] = {"data", "binaryData", NULL};
    yyjson_mut_val *binary = yyjson_mut_obj_get(v->root, "binaryData");
    check_immutable(v, fields);
    size_t total = check_map(v, "data", false, binary);
    total += check_map(v, "binaryData", true, NULL);
    if (total > DATA_BYTES_MAX)
        too_long(v, "[]");
}

/* What each type of Secret must hold: "a|b": one of them. */
static const struct {
    const char *type;
    const char *keys[3];
} secret_types[] = {
    {"kubernetes.io/dockercfg", {".dockercfg"}},
    {"kubernetes.io/dockerconfigjson", {".dockerconfigjson"}},
    {"kubernetes.io/basic-auth", {"username|password"}},
    {"kubernetes.io/ssh-auth", {"ssh-privatekey"}},
    {"kubernetes.io/tls", {"tls.crt", "tls.key"}},
};

static void check_key(struct rest_validation *v, yyjson_mut_val *data, const char *key)
{
    char field[80];
    const char *bar = strchr(key, '|');
    if (bar) {
        if (yyjson_mut_obj_getn(data, key, (size_t)(bar - key)) || yyjson_mut_obj_get(data, bar + 1))
            return;
        snprintf(field, sizeof(field), "data[%.*s]", (int)(bar - key), key);
        rest_required(v, field, "");
        snprintf(field, sizeof(field), "data[%s]", bar + 1);
        rest_required(v, field, "");
        return;
    }
    snprintf(field, sizeof(field), "data[%s]", key);
    if (!yyjson_mut_obj_get(data, key))
        rest_required(v, field, "");
}

void rest_validate_secret(struct rest_validation *v)
{
    static const char *const fields[] = {"data", NULL};
    yyjson_mut_val *data = yyjson_mut_obj_get(v->root, "data");
    const char *type = yyjson_mut_get_str(yyjson_mut_obj_get(v->root, "type"));
    check_immutable(v, fields);
    if (check_map(v, "data", true, NULL) > DATA_BYTES_MAX)
        too_long(v, "data");
    for (size_t i = 0; type && i < NEAP_ARRAY_LEN(secret_types); i++)
        for (int k = 0; strcmp(type, secret_types[i].type) == 0 && k < 3; k++)
            if (secret_types[i].keys[k])
                check_key(v, data, secret_types[i].keys[k]);
    yyjson_mut_val *annotations = neap_json_at(v->root, "metadata.annotations");
    if (type && strcmp(type, "kubernetes.io/service-account-token") == 0 &&
        !yyjson_mut_obj_get(annotations, "kubernetes.io/service-account.name"))
        rest_required(v, "metadata.annotations[kubernetes.io/service-account.name]", "");
}
