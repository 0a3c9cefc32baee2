/* ConfigMaps, Secrets and ServiceAccount tokens that a pod needs: read before it starts and again each minute. */
#include "node_internal.h"

struct ref {
    struct neap_list link; /* of pod->asked */
    struct neap_request request;
    struct pod *pod;
    char *key, *name, *body;
    bool optional, token;
};

/* What is known: an object, or a token. */
struct known {
    struct neap_object *object;
    char *token;
    int64_t renew_ns; /* when a token is asked for again */
};

static void known_free(void *arg)
{
    struct known *k = arg;
    neap_object_unref(k->object);
    free(k->token);
    free(k);
}

static struct known *remember(struct pod *p, const char *key)
{
    struct known *k = neap_map_get(&p->refs, key);
    if (!k) {
        k = neap_calloc(1, sizeof(*k));
        neap_map_set(&p->refs, key, k);
    }
    return k;
}

static void ref_free(struct ref *r)
{
    neap_list_remove(&r->link);
    free(r->key);
    free(r->name);
    free(r->body);
    free(r);
}

static void release(struct pod *p)
{
    if (--p->fetching == 0)
        pod_fetched(p);
}

static void complain(struct pod *p, const char *text)
{
    if (!p->fetch_error)
        p->fetch_error = neap_strdup(text);
}

/* At four fifths of the life that the server gave it, or of a day. */
static int64_t renewal(int64_t now, yyjson_val *reply)
{
    const int64_t day = 86400 * INT64_C(1000000000);
    const char *end = neap_json_val_str_at(reply, "status.expirationTimestamp");
    int64_t until;
    if (!end || !neap_time_parse(end, strlen(end), &until) || until <= now)
        return now;
    int64_t life = until - now;
    return now + (life < day ? life : day) / 5 * 4;
}

static void take_token(struct ref *r, const struct neap_reply *reply)
{
    struct pod *p = r->pod;
    yyjson_doc *doc = yyjson_read(reply->body ? reply->body : "", reply->body_len, 0);
    const char *token = neap_json_val_str_at(yyjson_doc_get_root(doc), "status.token");
    if (token) {
        struct known *k = remember(p, r->key);
        free(k->token);
        k->token = neap_strdup(token);
        k->renew_ns = renewal(node_wall(p->node), yyjson_doc_get_root(doc));
    }
    yyjson_doc_free(doc);
}

static void answered(struct neap_request *request, const struct neap_reply *reply)
{
    struct ref *r = request->data;
    struct pod *p = r->pod;
    if (reply->code == 0 && r->token) {
        take_token(r, reply);
    } else if (reply->code == 0 && reply->object) {
        struct known *k = remember(p, r->key);
        neap_object_unref(k->object);
        k->object = neap_object_ref(reply->object);
    } else if (!(reply->code == NEAP_ENOTFOUND && r->optional)) {
        complain(p, reply->err && reply->err->message ? reply->err->message
                                                      : "a reference cannot be read");
    } else {
        struct known *k = remember(p, r->key);
        k->object = neap_object_unref(k->object);
    }
    ref_free(r);
    release(p);
}

static struct ref *ref_new(struct pod *p, char *key, const char *kind, const char *name)
{
    struct ref *r = neap_calloc(1, sizeof(*r));
    r->pod = p;
    r->key = key;
    r->name = neap_strdup(name);
    neap_list_append(&p->asked, &r->link);
    neap_request_init(&r->request);
    r->request.verb = NEAP_GET;
    r->request.kind = neap_kind_by_resource("", "v1", kind);
    r->request.namespace_ = p->ns;
    r->request.name = r->name;
    r->request.done = answered;
    r->request.data = r;
    return r;
}

static void ask(struct ref *r)
{
    r->pod->fetching++;
    node_request(r->pod->node, &r->request);
}

static void fetch(struct pod *p, const char *kind, const char *name, bool optional)
{
    if (!name || !*name)
        return;
    struct ref *r = ref_new(p, neap_asprintf("%s/%s", kind, name), kind, name);
    r->optional = optional;
    ask(r);
}

/* Tokens are told apart by audience and life: "token/<audience>/<seconds>". */
static char *token_key(yyjson_val *source)
{
    const char *audience = yyjson_get_str(yyjson_obj_get(source, "audience"));
    yyjson_val *life = yyjson_obj_get(source, "expirationSeconds");
    return neap_asprintf("token/%s/%lld", audience ? audience : "",
                         life ? (long long)yyjson_get_sint(life) : 3600LL);
}

static char *token_request(struct pod *p, yyjson_val *source)
{
    const char *audience = yyjson_get_str(yyjson_obj_get(source, "audience"));
    yyjson_val *life = yyjson_obj_get(source, "expirationSeconds");
    struct neap_buf json = NEAP_BUF_INIT;
    neap_buf_str(&json, "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\","
                        "\"spec\":{\"audiences\":[");
    if (audience)
        neap_buf_json_string(&json, audience, strlen(audience));
    neap_buf_printf(&json,
                    "],\"expirationSeconds\":%lld,\"boundObjectRef\":{\"kind\":\"Pod\","
                    "\"apiVersion\":\"v1\",\"name\":\"%s\",\"uid\":\"%s\"}}}",
                    life ? (long long)yyjson_get_sint(life) : 3600LL, p->name, p->uid);
    return neap_buf_take(&json);
}

static void fetch_token(struct pod *p, yyjson_val *source)
{
    const char *account = yyjson_get_str(yyjson_obj_get(p->spec, "serviceAccountName"));
    char *key = token_key(source);
    struct known *k = neap_map_get(&p->refs, key);
    if (k && k->token && node_wall(p->node) < k->renew_ns) {
        free(key);
        return;
    }
    struct ref *r = ref_new(p, key, "serviceaccounts", account ? account : "default");
    r->token = true;
    r->body = token_request(p, source);
    r->request.verb = NEAP_CREATE;
    r->request.subresource = "token";
    r->request.body = r->body;
    r->request.body_len = strlen(r->body);
    ask(r);
}

static bool optional(yyjson_val *v)
{
    return yyjson_get_bool(yyjson_obj_get(v, "optional"));
}

static const char *text(yyjson_val *v, const char *name)
{
    return yyjson_get_str(yyjson_obj_get(v, name));
}

static void of_volume(struct pod *p, yyjson_val *v)
{
    size_t i, n;
    yyjson_val *s, *cm = yyjson_obj_get(v, "configMap"), *secret = yyjson_obj_get(v, "secret");
    fetch(p, "configmaps", text(cm, "name"), optional(cm));
    fetch(p, "secrets", text(secret, "secretName"), optional(secret));
    yyjson_arr_foreach(neap_json_val_at(v, "projected.sources"), i, n, s)
    {
        cm = yyjson_obj_get(s, "configMap");
        secret = yyjson_obj_get(s, "secret");
        fetch(p, "configmaps", text(cm, "name"), optional(cm));
        fetch(p, "secrets", text(secret, "name"), optional(secret));
        if (yyjson_obj_get(s, "serviceAccountToken"))
            fetch_token(p, yyjson_obj_get(s, "serviceAccountToken"));
    }
}

static void of_container(struct pod *p, yyjson_val *c)
{
    size_t i, n;
    yyjson_val *e;
    yyjson_arr_foreach(yyjson_obj_get(c, "envFrom"), i, n, e)
    {
        yyjson_val *cm = yyjson_obj_get(e, "configMapRef"),
                   *secret = yyjson_obj_get(e, "secretRef");
        /* absence is told when the container is made: the others may start */
        fetch(p, "configmaps", text(cm, "name"), true);
        fetch(p, "secrets", text(secret, "name"), true);
    }
    yyjson_arr_foreach(yyjson_obj_get(c, "env"), i, n, e)
    {
        fetch(p, "configmaps", text(neap_json_val_at(e, "valueFrom.configMapKeyRef"), "name"),
              true);
        fetch(p, "secrets", text(neap_json_val_at(e, "valueFrom.secretKeyRef"), "name"), true);
    }
}

void refs_fetch(struct pod *p)
{
    size_t i, n;
    yyjson_val *v;
    if (p->fetching)
        return;
    free(p->fetch_error);
    p->fetch_error = NULL;
    p->fetching = 1;
    yyjson_arr_foreach(yyjson_obj_get(p->spec, "volumes"), i, n, v)
    {
        of_volume(p, v);
    }
    for (unsigned k = 0; k < p->count; k++)
        of_container(p, p->containers[k].spec);
    release(p);
}

yyjson_val *refs_get(struct pod *p, const char *kind, const char *name, struct neap_arena *arena)
{
    char key[320];
    snprintf(key, sizeof(key), "%s/%s", kind, name);
    struct known *k = neap_map_get(&p->refs, key);
    if (!k || !k->object)
        return NULL;
    return yyjson_doc_get_root(neap_object_parse(k->object, neap_arena_alc(arena)));
}

const char *refs_token(struct pod *p, yyjson_val *source)
{
    char *key = token_key(source);
    struct known *k = neap_map_get(&p->refs, key);
    free(key);
    return k ? k->token : NULL;
}

void refs_free(struct pod *p)
{
    neap_map_done(&p->refs, known_free);
    while (!neap_list_empty(&p->asked))
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it sees no list_remove()
        ref_free(neap_list_entry(p->asked.next, struct ref, link));
}
