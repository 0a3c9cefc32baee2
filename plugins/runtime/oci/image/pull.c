/* From a registry (OCI distribution specification): manifest by tag or digest, token when asked for one,
 * blobs into a layout in our temporary folder, which is then imported like any other. Authentication comes
 * on stdin: "user:password", a token, or nothing. HTTPS; plain HTTP for loopback addresses only. */
#include "image.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define PULL_DEPTH    4
#define PULL_BLOB_MAX (INT64_C(16) << 30)
#define PULL_STALL_S  60 /* slower than 1 KiB/s for so long: given up */
#define PULL_TRIES    3

struct pull {
    struct image_store *s;
    CURL *curl;
    char *host, *repository, *reference; /* "registry-1.docker.io", "library/x", tag or digest */
    char *auth;                          /* "user:password" or token; NULL: none */
    char *bearer;                        /* "Authorization: Bearer ..." */
    char *dir;                           /* the layout */
    char *challenge;                     /* of the last answer */
    const char *ca, *name;               /* the caller's */
    bool known;                          /* the image was here */
    bool plain;
};

/* A body: into a file or a buffer, with its digest. */
struct body {
    FILE *file;
    struct oci_buf buf;
    struct image_hash hash;
    int64_t size, max;
};

static size_t on_body(char *p, size_t one, size_t n, void *arg)
{
    struct body *b = arg;
    if (b->size + (int64_t)n > b->max)
        return 0;
    b->size += (int64_t)n;
    image_hash_add(&b->hash, p, n);
    if (b->file)
        return fwrite(p, 1, n, b->file);
    oci_buf_add(&b->buf, p, n);
    return n;
}

static size_t on_header(char *p, size_t one, size_t n, void *arg)
{
    struct pull *q = arg;
    static const char name[] = "www-authenticate:";
    if (n > sizeof name && !strncasecmp(p, name, sizeof name - 1)) {
        free(q->challenge);
        q->challenge = oci_printf("%.*s", (int)n, p);
    }
    return n;
}

/* One GET. Returns the HTTP status or -1 (told). */
static long get(struct pull *q, const char *url, const char *header, const char *userpwd,
                struct body *b, char ret_hex[65])
{
    struct curl_slist *headers = NULL;
    char error[CURL_ERROR_SIZE] = "";
    long status = -1;
    curl_easy_reset(q->curl);
    headers =
        curl_slist_append(headers, "Accept: application/vnd.oci.image.index.v1+json, "
                                   "application/vnd.oci.image.manifest.v1+json, "
                                   "application/vnd.docker.distribution.manifest.list.v2+json, "
                                   "application/vnd.docker.distribution.manifest.v2+json, */*");
    if (header)
        headers = curl_slist_append(headers, header);
    curl_easy_setopt(q->curl, CURLOPT_URL, url);
    curl_easy_setopt(q->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(q->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(q->curl, CURLOPT_WRITEDATA, b);
    curl_easy_setopt(q->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(q->curl, CURLOPT_HEADERDATA, q);
    curl_easy_setopt(q->curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(q->curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(q->curl, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(q->curl, CURLOPT_PROTOCOLS_STR, q->plain ? "http,https" : "https");
    curl_easy_setopt(q->curl, CURLOPT_REDIR_PROTOCOLS_STR, q->plain ? "http,https" : "https");
    curl_easy_setopt(q->curl, CURLOPT_CONNECTTIMEOUT, 15L);
    curl_easy_setopt(q->curl, CURLOPT_LOW_SPEED_LIMIT, 1024L);
    curl_easy_setopt(q->curl, CURLOPT_LOW_SPEED_TIME, (long)PULL_STALL_S);
    curl_easy_setopt(q->curl, CURLOPT_NOSIGNAL, 1L);
    if (q->ca) { /* the folder of the system's stays */
        curl_easy_setopt(q->curl, CURLOPT_CAINFO, q->ca);
        curl_easy_setopt(q->curl, CURLOPT_CAPATH, "/etc/ssl/certs");
    }
    if (userpwd)
        curl_easy_setopt(q->curl, CURLOPT_USERPWD, userpwd);
    image_hash_start(&b->hash);
    CURLcode c = curl_easy_perform(q->curl);
    image_hash_end(&b->hash, ret_hex);
    curl_slist_free_all(headers);
    if (c == CURLE_OK)
        curl_easy_getinfo(q->curl, CURLINFO_RESPONSE_CODE, &status);
    else
        image_fail(IMAGE_FAILED, "%s: %s", q->host, error[0] ? error : curl_easy_strerror(c));
    return status;
}

/* ---- tokens: WWW-Authenticate: Bearer realm="...",service="...",scope="..." */
static char *parameter(const char *challenge, const char *name)
{
    char *key = oci_printf("%s=\"", name), *ret = NULL;
    const char *at = strstr(challenge, key);
    if (at) {
        at += strlen(key);
        ret = oci_printf("%.*s", (int)strcspn(at, "\"\r\n"), at);
    }
    free(key);
    return ret;
}

static bool take_token(struct pull *q, struct body *b)
{
    yyjson_doc *doc = yyjson_read(b->buf.p ? b->buf.p : "", b->buf.len, 0);
    yyjson_val *r = yyjson_doc_get_root(doc);
    const char *t = yyjson_get_str(yyjson_obj_get(r, "token"));
    if (!t)
        t = yyjson_get_str(yyjson_obj_get(r, "access_token"));
    if (t && !strpbrk(t, "\r\n")) {
        free(q->bearer);
        q->bearer = oci_printf("Authorization: Bearer %s", t);
    }
    yyjson_doc_free(doc);
    return t != NULL;
}

static int authenticate(struct pull *q)
{
    char *realm = q->challenge ? parameter(q->challenge, "realm") : NULL, hex[65];
    char *service = q->challenge ? parameter(q->challenge, "service") : NULL;
    struct body b = {.max = IMAGE_MANIFEST_MAX};
    int r = IMAGE_FAILED;
    bool basic = q->challenge && strcasestr(q->challenge, "Basic ");
    bool password = q->auth && strchr(q->auth, ':');
    if (basic && password) {
        r = 0; /* sent with every request */
    } else if (q->auth && !password) {
        free(q->bearer);
        q->bearer = oci_printf("Authorization: Bearer %s", q->auth);
        r = 0;
    } else if (realm) {
        char *escaped = curl_easy_escape(q->curl, service ? service : "", 0);
        char *url = oci_printf("%s%sservice=%s&scope=repository:%s:pull", realm,
                               strchr(realm, '?') ? "&" : "?", escaped, q->repository);
        long status = get(q, url, NULL, password ? q->auth : NULL, &b, hex);
        if (status == 200 && take_token(q, &b))
            r = 0;
        else if (status > 0)
            image_fail(IMAGE_FAILED, "%s: no token (HTTP %ld)", q->host, status);
        curl_free(escaped);
        free(url);
    } else {
        image_fail(IMAGE_FAILED, "%s wants a user and a password", q->host);
    }
    oci_buf_done(&b.buf);
    free(realm);
    free(service);
    return r;
}

/* A resource of the repository, with authentication when it is asked for. */
static int fetch(struct pull *q, const char *what, const char *id, struct body *b, char hex[65])
{
    char *url = oci_printf("%s://%s/v2/%s/%s/%s", q->plain ? "http" : "https", q->host,
                           q->repository, what, id);
    bool password = q->auth && strchr(q->auth, ':');
    long status = 0;
    int r = IMAGE_FAILED;
    for (int tries = 0; tries < PULL_TRIES; tries++) {
        oci_buf_done(&b->buf);
        b->size = 0;
        if (b->file) {
            rewind(b->file);
            if (ftruncate(fileno(b->file), 0) < 0)
                break;
        }
        status = get(q, url, q->bearer, !q->bearer && password && tries ? q->auth : NULL, b, hex);
        if (status == 401 && tries < PULL_TRIES - 1) {
            if (authenticate(q))
                break;
        } else if (status == 200 || (status > 0 && status < 500 && status != 429)) {
            break;
        }
    }
    if (status == 200)
        r = 0;
    else if (status == 404)
        r = image_fail(IMAGE_NOT_FOUND, "%s/%s: %s is not there", q->host, q->repository, id);
    else if (status > 0)
        r = image_fail(IMAGE_FAILED, "%s/%s: HTTP %ld", q->host, q->repository, status);
    free(url);
    return r;
}

/* ---- the layout */
static char *blob_path(struct pull *q, const char *digest)
{
    return oci_printf("%s/blobs/sha256/%s", q->dir, digest + 7);
}

static int save(const char *path, const struct oci_buf *b)
{
    FILE *f = fopen(path, "we");
    bool ok = f && fwrite(b->p, 1, b->len, f) == b->len;
    if (f && fclose(f))
        ok = false;
    return ok ? 0 : image_fail(IMAGE_FAILED, "%s: %s", path, strerror(errno));
}

static int fetch_blob(struct pull *q, const char *digest)
{
    char hex[65], *path = blob_path(q, digest);
    struct body b = {.max = PULL_BLOB_MAX};
    int r = 0;
    if (access(path, F_OK) < 0) {
        b.file = fopen(path, "we");
        r = b.file ? fetch(q, "blobs", digest, &b, hex)
                   : image_fail(IMAGE_FAILED, "%s: %s", path, strerror(errno));
        if (b.file && fclose(b.file) && !r)
            r = image_fail(IMAGE_FAILED, "%s: %s", path, strerror(errno));
        if (!r && strcmp(hex, digest + 7))
            r = image_fail(IMAGE_INVALID, "%s sent other bytes for %s", q->host, digest);
    }
    free(path);
    return r;
}

static const char *str(yyjson_val *v, const char *key)
{
    return yyjson_get_str(yyjson_obj_get(v, key));
}

static int fetch_manifest(struct pull *q, const char *id, char **ret_digest, int depth);

/* Of an index only what this machine runs. */
static int fetch_index(struct pull *q, yyjson_val *m, int depth)
{
    yyjson_val *list = yyjson_obj_get(m, "manifests"), *v;
    size_t i, max;
    yyjson_arr_foreach(list, i, max, v)
    {
        yyjson_val *p = yyjson_obj_get(v, "platform");
        const char *arch = str(p, "architecture"), *os = str(p, "os"), *d = str(v, "digest");
        if (!arch || strcmp(arch, image_architecture()) || (os && strcmp(os, "linux")) ||
            !oci_digest_ok(d))
            continue;
        return fetch_manifest(q, d, NULL, depth + 1);
    }
    return image_fail(IMAGE_NOT_FOUND, "%s/%s: nothing for linux/%s", q->host, q->repository,
                      image_architecture());
}

static int fetch_layers(struct pull *q, yyjson_val *m, const char *digest)
{
    const char *config = str(yyjson_obj_get(m, "config"), "digest");
    yyjson_val *layers = yyjson_obj_get(m, "layers"), *v;
    size_t i, max;
    if (!oci_digest_ok(config) || yyjson_arr_size(layers) > IMAGE_LAYERS_MAX)
        return image_fail(IMAGE_INVALID, "%s/%s: not a manifest", q->host, q->repository);
    q->known = image_store_name(q->s, config, q->name, digest) == 0;
    int r = q->known ? 0 : fetch_blob(q, config);
    yyjson_arr_foreach(layers, i, max, v)
    {
        const char *d = str(v, "digest");
        if (!r && !q->known)
            r = oci_digest_ok(d) ? fetch_blob(q, d)
                                 : image_fail(IMAGE_INVALID, "a layer has no digest");
    }
    return r;
}

static int fetch_manifest(struct pull *q, const char *id, char **ret_digest, int depth)
{
    struct body b = {.max = IMAGE_MANIFEST_MAX};
    char hex[65];
    if (depth > PULL_DEPTH)
        return image_fail(IMAGE_INVALID, "an index in an index in an index");
    int r = fetch(q, "manifests", id, &b, hex);
    if (!r && oci_digest_ok(id) && strcmp(hex, id + 7))
        r = image_fail(IMAGE_INVALID, "%s sent another manifest than %s", q->host, id);
    char *digest = oci_printf("sha256:%s", hex), *path = blob_path(q, digest);
    if (!r)
        r = save(path, &b.buf);
    yyjson_doc *doc = r ? NULL : yyjson_read(b.buf.p ? b.buf.p : "", b.buf.len, 0);
    yyjson_val *m = yyjson_doc_get_root(doc);
    if (!r && !yyjson_is_obj(m))
        r = image_fail(IMAGE_INVALID, "%s/%s: not a manifest", q->host, q->repository);
    if (!r)
        r = yyjson_obj_get(m, "manifests") ? fetch_index(q, m, depth) : fetch_layers(q, m, digest);
    yyjson_doc_free(doc);
    oci_buf_done(&b.buf);
    free(path);
    if (ret_digest && !r)
        *ret_digest = digest;
    else
        free(digest);
    return r;
}

static int import_it(struct pull *q, const char *digest, const char *name)
{
    struct oci_buf b = {0};
    char *path = oci_printf("%s/index.json", q->dir);
    oci_buf_printf(&b, "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"%s\"}]}", digest);
    int r = save(path, &b);
    int root = r ? -1 : open(q->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0) {
        r = image_import_layout(q->s, root, name);
        close(root);
    }
    oci_buf_done(&b);
    free(path);
    return r;
}

static char *read_auth(void)
{
    char text[8192];
    size_t n = fread(text, 1, sizeof text - 1, stdin);
    text[n] = 0;
    text[strcspn(text, "\r\n")] = 0;
    char *ret = text[0] ? oci_strdup(text) : NULL;
    explicit_bzero(text, sizeof text);
    return ret;
}

/* "docker.io/library/x:tag" -> host, repository, reference */
static void split(struct pull *q, const char *name)
{
    size_t n = strcspn(name, "/");
    const char *rest = name + n + 1, *at = strchr(rest, '@');
    const char *cut = at ? at : strrchr(rest, ':');
    bool hub = n == 9 && !strncmp(name, "docker.io", 9);
    q->host = hub ? oci_strdup("registry-1.docker.io") : oci_printf("%.*s", (int)n, name);
    q->repository = oci_printf("%.*s", (int)(cut - rest), rest);
    q->reference = oci_strdup(cut + 1);
    q->plain = !strncmp(q->host, "localhost", 9) || !strncmp(q->host, "127.", 4) ||
               !strncmp(q->host, "[::1]", 5);
}

int image_pull(struct image_store *s, const char *reference, const char *ca)
{
    char *name = oci_name_normalise(reference), *digest = NULL;
    if (!name)
        return image_fail(IMAGE_INVALID, "\"%s\" is not an image's name", reference);
    struct pull q = {
        .s = s, .auth = read_auth(), .dir = oci_printf("%s/pull", s->tmp), .ca = ca, .name = name};
    char *blobs = oci_printf("%s/blobs/sha256", q.dir);
    split(&q, name);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    q.curl = curl_easy_init();
    int r = oci_mkdir_p(blobs, 0700) || !q.curl ? image_fail(IMAGE_FAILED, "%s", q.dir) : 0;
    if (!r)
        r = fetch_manifest(&q, q.reference, &digest, 0);
    if (!r && !q.known)
        r = import_it(&q, digest, name);
    curl_easy_cleanup(q.curl);
    curl_global_cleanup();
    char *owned[] = {name,        digest, blobs,    q.host,      q.repository,
                     q.reference, q.auth, q.bearer, q.challenge, q.dir};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    return r;
}
