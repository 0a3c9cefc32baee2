/* ConfigMap and Secret: keys, sizes, immutability. */
#include "validate.h"

enum { DATA_BYTES_MAX = 1 << 20 };

static size_t check_map(struct rest_validation *v, const char *name, bool base64, json *other)
{
    size_t total = 0;
    path p = AT(NULL, name);
    EACH(e, get(v->root, name))
    {
        size_t n = yyjson_mut_get_len(e.item);
        rest_check_words(v, KEY(p, e.key), e.key, rest_words_config_key);
        if (has(other, e.key))
            rest_invalid_string(v, KEY(p, e.key), e.key, "duplicate of key present in binaryData");
        total += base64 ? n / 4 * 3 : n;
    }
    return total;
}

static void check_frozen(struct rest_validation *v, const char *const *fields)
{
    if (!flag(v->old_root, "immutable"))
        return;
    if (!flag(v->root, "immutable"))
        rest_forbidden(v, AT(NULL, "immutable"), "field is immutable when `immutable` is set");
    for (; *fields; fields++)
        if (!rest_same(get(v->root, *fields), get(v->old_root, *fields)))
            rest_forbidden(v, AT(NULL, *fields), "field is immutable when `immutable` is set");
}

void rest_validate_config_map(struct rest_validation *v)
{
    static const char *const fields[] = {"data", "binaryData", NULL};
    check_frozen(v, fields);
    size_t total = check_map(v, "data", false, get(v->root, "binaryData"));
    total += check_map(v, "binaryData", true, NULL);
    if (total > DATA_BYTES_MAX)
        rest_too_long(v, AT(NULL, "[]"), DATA_BYTES_MAX);
}

/* What each type of Secret must hold: "a|b": one of them. */
static const struct {
    const char *type;
    const char *keys[2];
    bool json;
} secret_types[] = {
    {"kubernetes.io/dockercfg", {".dockercfg"}, true},
    {"kubernetes.io/dockerconfigjson", {".dockerconfigjson"}, true},
    {"kubernetes.io/basic-auth", {"username|password"}, false},
    {"kubernetes.io/ssh-auth", {"ssh-privatekey"}, false},
    {"kubernetes.io/tls", {"tls.crt", "tls.key"}, false},
};

static void check_key(struct rest_validation *v, json *data, const char *key)
{
    char first[64];
    const char *bar = strchr(key, '|');
    path p = AT(NULL, "data");
    if (!bar) {
        if (!has(data, key))
            rest_required(v, KEY(p, key), NO_WHY);
        return;
    }
    snprintf(first, sizeof(first), "%.*s", (int)(bar - key), key);
    if (has(data, first) || has(data, bar + 1))
        return;
    rest_required(v, KEY(p, first), NO_WHY);
    rest_required(v, KEY(p, bar + 1), NO_WHY);
}

/* Base64 as decoding checked it. */
static void decode(struct neap_buf *out, const char *s)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned value = 0, have = 0;
    for (; *s && *s != '='; s++) {
        const char *at = strchr(letters, *s);
        if (!at)
            return;
        value = value << 6 | (unsigned)(at - letters);
        have += 6;
        if (have >= 8) {
            have -= 8;
            neap_buf_char(out, (char)(value >> have & 0xff));
        }
    }
}

/* Go's first complaint about text that is not JSON. */
static void check_json(struct rest_validation *v, json *data, const char *key)
{
    struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    struct neap_buf shown NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    yyjson_read_err why;
    path p = AT(NULL, "data");
    if (!has(data, key))
        return;
    decode(&b, text(data, key));
    yyjson_doc *doc = yyjson_read_opts(b.data, b.len, 0, NULL, &why);
    yyjson_doc_free(doc);
    if (doc)
        return;
    if (why.pos >= b.len) {
        rest_invalid_string(v, KEY(p, key), "<secret contents redacted>",
                            "unexpected end of JSON input");
        return;
    }
    neap_buf_printf(&shown, "invalid character '%c' looking for beginning of value",
                    b.data[why.pos]);
    rest_invalid_string(v, KEY(p, key), "<secret contents redacted>", "%s", shown.data);
}

void rest_validate_secret(struct rest_validation *v)
{
    static const char *const fields[] = {"data", NULL};
    json *data = get(v->root, "data");
    if (v->old_root && !rest_same(get(v->root, "type"), get(v->old_root, "type")))
        rest_invalid(v, AT(NULL, "type"), get(v->root, "type"), "field is immutable");
    check_frozen(v, fields);
    if (check_map(v, "data", true, NULL) > DATA_BYTES_MAX)
        rest_too_long(v, AT(NULL, "data"), DATA_BYTES_MAX);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(secret_types); i++) {
        if (!is(v->root, "type", secret_types[i].type))
            continue;
        for (int k = 0; k < 2 && secret_types[i].keys[k]; k++)
            check_key(v, data, secret_types[i].keys[k]);
        if (secret_types[i].json)
            check_json(v, data, secret_types[i].keys[0]);
    }
    json *annotations = neap_json_at(v->root, "metadata.annotations");
    path a = AT(AT(NULL, "metadata"), "annotations");
    if (is(v->root, "type", "kubernetes.io/service-account-token") &&
        !*text(annotations, "kubernetes.io/service-account.name"))
        rest_required(v, KEY(a, "kubernetes.io/service-account.name"), NO_WHY);
}
