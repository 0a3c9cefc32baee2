/* `neap get|apply|delete|logs|exec`: a thin client for machines without kubectl. One request after the other. */
#include "thin.h"
#include "server.h"

#include <neap/json.h>
#include <neap/kind.h>

#include <errno.h>
#include <limits.h>
#include <strings.h>
#include <unistd.h>

enum { FILE_MAX = 16 << 20, WIDTH_MAX = 60 };

/* ---- requests ---- */

static void done(struct neap_exchange *x, const struct neap_err *err, int status, const char *body,
                 size_t len)
{
    struct thin *t = x->data_arg;
    t->status = status;
    neap_buf_reset(&t->body);
    neap_buf_append(&t->body, body ? body : "", body ? len : 0);
    if (err)
        neap_err_set(&t->err, err->code, "%s", err->message ? err->message : "no answer");
    neap_loop_stop(t->loop);
}

/* 0: an answer below 400; else it has been told on stderr. */
static int request(struct thin *t, const char *method, const char *path, const char *accept,
                   const char *type, const char *body, size_t len)
{
    struct neap_header headers[] = {{"accept", accept ? accept : "application/json"},
                                    {type ? "content-type" : NULL, type},
                                    {NULL, NULL}};
    struct neap_exchange x = {.method = method,
                              .path = path,
                              .headers = headers,
                              .body = body,
                              .body_len = len,
                              .done = done,
                              .data_arg = t};
    neap_err_done(&t->err);
    neap_http_client_send(t->http, &x);
    neap_loop_run(t->loop);
    if (t->err.code)
        return neap_complain("request", &t->err);
    return t->status < 400 ? 0 : t->status;
}

static yyjson_mut_val *answer(struct thin *t)
{
    yyjson_mut_doc *doc = NULL;
    struct neap_err err = NEAP_ERR_INIT;
    neap_json_parse(t->arena, t->body.data ? t->body.data : "", t->body.len, NULL, &doc, &err);
    neap_err_done(&err);
    return doc ? yyjson_mut_doc_get_root(doc) : NULL;
}

int thin_refused(struct thin *t)
{
    const char *message = neap_json_str_at(answer(t), "message");
    fprintf(stderr, "neap: the server answered %d: %s\n", t->status,
            message ? message : t->body.data);
    return 1;
}

void thin_query(struct neap_buf *path, const char *key, const char *value)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    if (!value)
        return;
    neap_buf_printf(path, "%s%s=", path->len && strchr(path->data, '?') ? "&" : "?", key);
    for (const char *p = value; *p; p++)
        if (strchr(plain, *p))
            neap_buf_char(path, *p);
        else
            neap_buf_printf(path, "%%%02X", (unsigned char)*p);
}

/* ---- names ---- */

static bool in(const char *const *list, const char *word)
{
    for (; list && *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

/* "pods", "pod", "po", "deployments.apps", "Deployment" */
static const struct neap_kind *find_kind(const char *word)
{
    const char *dot = strchr(word, '.');
    for (int pass = 0; pass < 2; pass++) /* stored versions before others */
        for (unsigned i = 0; i < neap_kind_count; i++) {
            const struct neap_kind *k = neap_kinds[i];
            char name[256];
            snprintf(name, sizeof(name), "%.*s", dot ? (int)(dot - word) : 255, word);
            if (k->virtual_kind || (pass == 0 && k->storage != k) ||
                (dot && strcmp(dot + 1, k->group) != 0))
                continue;
            if (strcmp(k->resource, name) == 0 || strcmp(k->singular, name) == 0 ||
                in(k->short_names, name) || strcasecmp(k->kind, name) == 0)
                return k;
        }
    fprintf(stderr, "neap: the server has no kind \"%s\"\n", word);
    return NULL;
}

static const char *path_of(struct thin *t, const struct neap_kind *k, const char *ns,
                           const char *name)
{
    const char *base = *k->group ? neap_arena_printf(t->arena, "/apis/%s/%s", k->group, k->version)
                                 : neap_arena_printf(t->arena, "/api/%s", k->version);
    const char *in_ns =
        k->namespaced && ns ? neap_arena_printf(t->arena, "/namespaces/%s", ns) : "";
    return neap_arena_printf(t->arena, "%s%s/%s%s%s", base, in_ns, k->resource, name ? "/" : "",
                             name ? name : "");
}

/* ---- get ---- */

static const char *cell_text(struct thin *t, yyjson_mut_val *v)
{
    if (yyjson_mut_is_str(v))
        return yyjson_mut_get_str(v);
    struct neap_buf b = NEAP_BUF_INIT;
    if (v && !yyjson_mut_is_null(v))
        neap_json_write_sorted(&b, v);
    const char *s = neap_arena_strndup(t->arena, b.data ? b.data : "", b.len);
    neap_buf_done(&b);
    return s;
}

static bool shown(yyjson_mut_val *column)
{
    return yyjson_mut_get_int(yyjson_mut_obj_get(column, "priority")) == 0;
}

static void print_table(struct thin *t, bool with_namespace)
{
    yyjson_mut_val *root = answer(t), *columns = yyjson_mut_obj_get(root, "columnDefinitions"),
                   *row, *column;
    yyjson_mut_val *rows = yyjson_mut_obj_get(root, "rows");
    size_t count = yyjson_mut_arr_size(columns), n = yyjson_mut_arr_size(rows), i, max, j, jmax;
    int *width = neap_arena_calloc(t->arena, (count + 1) * sizeof(*width));
    for (int pass = 0; pass < 2; pass++) {
        if (pass && with_namespace)
            printf("%-20s ", "NAMESPACE");
        yyjson_mut_arr_foreach(columns, j, jmax, column)
        {
            const char *name = neap_json_str_at(column, "name");
            if (!shown(column))
                continue;
            if (pass == 0)
                width[j] = (int)strlen(name);
            for (const char *p = name; pass && *p; p++)
                putchar(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
            if (pass)
                printf("%*s", width[j] - (int)strlen(name) + 3, "");
        }
        if (pass)
            putchar('\n');
        yyjson_mut_arr_foreach(rows, i, max, row)
        {
            yyjson_mut_val *cells = yyjson_mut_obj_get(row, "cells");
            if (pass && with_namespace)
                printf("%-20s ", neap_json_str_at(row, "object.metadata.namespace"));
            for (j = 0; j < count; j++) {
                if (!shown(yyjson_mut_arr_get(columns, j)))
                    continue;
                const char *text = cell_text(t, yyjson_mut_arr_get(cells, j));
                int len = (int)strlen(text);
                if (pass == 0 && len > width[j])
                    width[j] = len < WIDTH_MAX ? len : WIDTH_MAX;
                if (pass)
                    printf("%-*s   ", width[j], text);
            }
            if (pass)
                putchar('\n');
        }
    }
    if (!n)
        fprintf(stderr, "neap: nothing found\n");
}

static void print_answer(struct thin *t)
{
    if (neap_streq(t->output, "yaml")) {
        struct neap_buf b = NEAP_BUF_INIT;
        neap_yaml_write(&b, answer(t));
        fputs(b.data ? b.data : "", stdout);
        neap_buf_done(&b);
    } else {
        printf("%s\n", t->body.data);
    }
}

static int get(struct thin *t, int argc, char **argv)
{
    const struct neap_kind *k = argc ? find_kind(argv[0]) : NULL;
    if (!k)
        return argc ? 1
                    : neap_complain("usage: neap get KIND [NAME] [-n NAMESPACE | -A] [-l LABELS] "
                                    "[-o json|yaml]",
                                    NULL);
    const char *path = path_of(t, k, t->all ? NULL : t->namespace_, argc > 1 ? argv[1] : NULL);
    NEAP_CLEANUP_BUF struct neap_buf query = NEAP_BUF_INIT;
    neap_buf_str(&query, path);
    thin_query(&query, "labelSelector", t->selector);
    path = query.data;
    bool table = !t->output;
    int rc = request(t, "GET", path, table ? "application/json;as=Table;v=v1;g=meta.k8s.io" : NULL,
                     NULL, NULL, 0);
    if (rc)
        return rc > 1 ? thin_refused(t) : rc;
    if (table)
        print_table(t, t->all && k->namespaced);
    else
        print_answer(t);
    return 0;
}

/* ---- apply, delete: documents of a file ---- */

/* A pipe or a terminal as well; -errno. */
static int read_input(char **ret)
{
    struct neap_buf b = {.max = FILE_MAX};
    ssize_t n;
    do {
        char piece[8192];
        n = read(STDIN_FILENO, piece, sizeof(piece));
        if (n > 0)
            neap_buf_append(&b, piece, (size_t)n);
    } while (n > 0 || (n < 0 && errno == EINTR));
    int rc = n < 0 ? -errno : b.overflow ? -EFBIG : 0;
    neap_buf_char(&b, '\0');
    if (rc)
        neap_buf_done(&b);
    else
        *ret = neap_buf_take(&b);
    return rc;
}

static int each_document(struct thin *t, const char *path,
                         int (*use)(struct thin *t, const struct neap_kind *k,
                                    yyjson_mut_val *object))
{
    char *text = NULL;
    size_t len = 0;
    int code = 0;
    int rc =
        strcmp(path, "-") == 0 ? read_input(&text) : neap_file_read(path, FILE_MAX, &text, &len);
    struct neap_err err = NEAP_ERR_INIT;
    if (rc < 0) {
        neap_err_errno(&err, -rc, "%s", path);
        code = neap_complain("file", &err);
    }
    for (char *at = text; at && *at && !code;) {
        char *end = strncmp(at, "---", 3) == 0 ? at : strstr(at, "\n---");
        size_t n = end ? (size_t)(end - at) : strlen(at);
        yyjson_mut_doc *doc = NULL;
        if (n && neap_yaml_parse(t->arena, at, n, NULL, &doc, &err)) {
            code = neap_complain(path, &err);
            break;
        }
        yyjson_mut_val *o = doc ? yyjson_mut_doc_get_root(doc) : NULL;
        const char *version = neap_json_str_at(o, "apiVersion"),
                   *kind = neap_json_str_at(o, "kind");
        if (version && kind) {
            const char *slash = strchr(version, '/');
            char group[256];
            snprintf(group, sizeof(group), "%.*s", slash ? (int)(slash - version) : 0, version);
            const struct neap_kind *k = neap_kind_by_gvk(group, slash ? slash + 1 : version, kind);
            if (!k)
                fprintf(stderr, "neap: %s: no kind %s in %s\n", path, kind, version);
            code = k ? use(t, k, o) : 1;
        }
        at = end ? strchr(end + 1, '\n') : NULL;
        at = at ? at + 1 : NULL;
    }
    neap_err_done(&err);
    free(text);
    return code;
}

static int apply_one(struct thin *t, const struct neap_kind *k, yyjson_mut_val *o)
{
    const char *name = neap_json_str_at(o, "metadata.name"),
               *ns = neap_json_str_at(o, "metadata.namespace");
    ns = ns ? ns : t->namespace_;
    if (!name)
        return neap_complain("apply: an object has no metadata.name", NULL);
    struct neap_buf b = NEAP_BUF_INIT;
    neap_json_write_sorted(&b, o);
    const char *path =
        neap_arena_printf(t->arena, "%s?fieldManager=neap&force=true", path_of(t, k, ns, name));
    int rc = request(t, "PATCH", path, NULL, "application/apply-patch+yaml", b.data, b.len);
    neap_buf_done(&b);
    if (rc)
        return rc > 1 ? thin_refused(t) : rc;
    printf("%s/%s %s\n", k->singular, name, t->status == 201 ? "created" : "configured");
    return 0;
}

static int delete_at(struct thin *t, const struct neap_kind *k, const char *ns, const char *name)
{
    int rc = request(t, "DELETE", path_of(t, k, ns, name), NULL, NULL, NULL, 0);
    if (rc)
        return rc > 1 ? thin_refused(t) : rc;
    printf("%s/%s deleted\n", k->singular, name);
    return 0;
}

static int delete_one(struct thin *t, const struct neap_kind *k, yyjson_mut_val *o)
{
    const char *name = neap_json_str_at(o, "metadata.name"),
               *ns = neap_json_str_at(o, "metadata.namespace");
    return name ? delete_at(t, k, ns ? ns : t->namespace_, name) : 0;
}

static int apply(struct thin *t, int argc, char **argv)
{
    (void)argv;
    if (argc || !t->file)
        return neap_complain("usage: neap apply -f FILE [-n NAMESPACE]", NULL);
    return each_document(t, t->file, apply_one);
}

static int delete_(struct thin *t, int argc, char **argv)
{
    if (t->file && !argc)
        return each_document(t, t->file, delete_one);
    const struct neap_kind *k = argc == 2 ? find_kind(argv[0]) : NULL;
    if (argc != 2)
        return neap_complain("usage: neap delete KIND NAME [-n NAMESPACE] | -f FILE", NULL);
    return k ? delete_at(t, k, t->namespace_, argv[1]) : 1;
}

/* ---- the command line ---- */

struct short_option {
    char letter;
    const char **value; /* or a switch: */
    bool *on;
};

/* kubectl's short options, those of <accepted> only; what is left, and what stands behind "--", is the command's. */
static int short_options(struct thin *t, const char *accepted, int *argc, char **argv)
{
    bool file = !strchr(accepted, 'F');
    const struct short_option rows[] = {
        {'n', &t->namespace_, NULL},
        {'o', &t->output, NULL},
        {'f', file ? &t->file : NULL, &t->follow},
        {'l', &t->selector, NULL},
        {'c', &t->container, NULL},
        {'A', NULL, &t->all},
        {'i', NULL, &t->interactive},
        {'t', NULL, &t->tty},
    };
    int words = 0, i = 0;
    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        if (argv[i][0] != '-' || !argv[i][1]) {
            argv[words++] = argv[i];
            continue;
        }
        for (const char *p = argv[i] + 1; *p; p++) {
            size_t r = 0;
            while (r < NEAP_ARRAY_LEN(rows) && rows[r].letter != *p)
                r++;
            bool known = r < NEAP_ARRAY_LEN(rows) && strchr(accepted, *p);
            if (known && rows[r].value && !p[1] && i + 1 < *argc) {
                *rows[r].value = argv[++i];
                break;
            }
            if (!known || rows[r].value) {
                struct neap_err err = NEAP_ERR_INIT;
                neap_err_set(&err, NEAP_ECONFIG, known ? "a value is missing" : "no such option");
                int code = neap_complain(argv[i], &err);
                neap_err_done(&err);
                return code;
            }
            *rows[r].on = true;
        }
    }
    for (i++; i < *argc; i++)
        argv[words++] = argv[i];
    *argc = words;
    return 0;
}

static int open_client(struct thin *t)
{
    char path[PATH_MAX];
    const char *file = neap_config_string(t->config, NULL, "kubeconfig");
    const char *environment = getenv("KUBECONFIG");
    if (!file && environment && *environment)
        file = environment;
    snprintf(path, sizeof(path), "%s%s",
             file ? file : neap_config_string(t->config, NULL, "data_dir"),
             file ? "" : "/admin.kubeconfig");
    int rc = neap_kubeconfig_read(path, &t->kubeconfig, &t->err);
    if (!rc)
        rc = neap_kubeconfig_connect(&t->kubeconfig, t->loop, &t->tls, &t->http, &t->err);
    return rc ? neap_complain("client", &t->err) : 0;
}

int neap_thin_main(struct neap_config *config, const char *command, int argc, char **argv)
{
    static const struct {
        const char *name, *options; /* F: -f is a switch */
        int (*run)(struct thin *t, int argc, char **argv);
    } commands[] = {{"get", "nolA", get},
                    {"apply", "nf", apply},
                    {"delete", "nf", delete_},
                    {"logs", "ncfF", thin_logs},
                    {"exec", "ncit", thin_exec}};
    struct thin t = {.config = config, .namespace_ = "default", .arena = neap_arena_new(256 << 20)};
    size_t i = 0;
    while (strcmp(commands[i].name, command) != 0)
        i++;
    t.loop = neap_loop_new("client", NULL);
    int code = short_options(&t, commands[i].options, &argc, argv);
    if (!code)
        code = open_client(&t);
    if (!code)
        code = commands[i].run(&t, argc, argv);
    if (t.http)
        neap_http_client_close(t.http);
    neap_loop_free(t.loop);
    neap_tls_free(t.tls);
    neap_kubeconfig_done(&t.kubeconfig);
    neap_buf_done(&t.body);
    neap_err_done(&t.err);
    neap_arena_free(t.arena);
    return code;
}
