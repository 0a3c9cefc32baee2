#include "token.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void rest_token_write(struct neap_buf *out, uint64_t revision, const char *key, int64_t remaining)
{
    struct neap_buf json = NEAP_BUF_INIT;
    neap_buf_printf(&json, "{\"v\":\"neap/v1\",\"rv\":%llu,\"left\":%lld,\"key\":",
                    (unsigned long long)revision, (long long)remaining);
    neap_buf_json_string(&json, key, strlen(key));
    neap_buf_char(&json, '}');
    const unsigned char *s = (const unsigned char *)json.data;
    for (size_t i = 0; i < json.len; i += 3) {
        unsigned n = json.len - i > 2 ? 3 : (unsigned)(json.len - i);
        unsigned v =
            (unsigned)s[i] << 16 | (n > 1 ? (unsigned)s[i + 1] << 8 : 0) | (n > 2 ? s[i + 2] : 0);
        for (unsigned j = 0; j <= n; j++)
            neap_buf_char(out, digits[v >> (18 - 6 * j) & 63]);
    }
    neap_buf_done(&json);
}

/* NULL: <len> is where the text stops being base64. */
static char *decode(struct neap_call *c, const char *text, size_t *len)
{
    size_t n = strlen(text), out = 0;
    unsigned bits = 0, have = 0;
    char *to = n < 4096 ? neap_arena_alloc(c->arena, n + 1) : NULL;
    for (size_t i = 0; to && i < n; i++) {
        const char *d = memchr(digits, text[i], 64);
        if (!d) {
            *len = i;
            return NULL;
        }
        bits = bits << 6 | (unsigned)(d - digits);
        have += 6;
        if (have >= 8) {
            have -= 8;
            to[out++] = (char)(bits >> have);
        }
    }
    *len = n % 4 == 1 ? n - 1 : out;
    return n % 4 == 1 ? NULL : to;
}

int rest_token_parse(struct neap_call *c, const char *text, struct rest_token *ret,
                     struct neap_err *err)
{
    size_t len = 0;
    if (!text || !*text)
        return 0;
    char *json = decode(c, text, &len);
    yyjson_doc *doc = json ? yyjson_read_opts(json, len, 0, neap_arena_alc(c->arena), NULL) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *key = yyjson_get_str(yyjson_obj_get(root, "key"));
    struct neap_buf prefix = NEAP_BUF_INIT;
    neap_object_key_make(&prefix, c->kind->storage, c->namespace_, NULL);
    bool ok = key && neap_streq(yyjson_get_str(yyjson_obj_get(root, "v")), "neap/v1") &&
              neap_startswith(key, prefix.data);
    neap_buf_done(&prefix);
    const char *version = yyjson_get_str(yyjson_obj_get(root, "v"));
    if (!json)
        return neap_err_set(
            err, NEAP_EBADREQUEST,
            "invalid continue token: continue key is not valid: illegal base64 data at "
            "input byte %zu",
            len);
    if (!ok && neap_streq(version, "meta.k8s.io/v1"))
        return neap_err_set(
            err, NEAP_EBADREQUEST,
            "invalid continue token: continue key is not valid: incorrect encoded start "
            "resourceVersion (version meta.k8s.io/v1)");
    if (!ok)
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "invalid continue token: continue key is not valid: server does not "
                            "recognize this encoded version \"%.64s\"",
                            version ? version : "");
    ret->revision = yyjson_get_uint(yyjson_obj_get(root, "rv"));
    ret->remaining = yyjson_get_sint(yyjson_obj_get(root, "left"));
    ret->key = key;
    return 0;
}
