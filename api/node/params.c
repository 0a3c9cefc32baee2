/* What may be asked of a pod: the container, the parameters, the agent's path.
 * Source: k8s.io/kubernetes pkg/registry/core/pod (LogLocation, ExecLocation, AttachLocation); words asked of
 * the real server. */
#include "internal.h"

static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};

static const char *name_of(yyjson_val *container)
{
    const char *s = yyjson_get_str(yyjson_obj_get(container, "name"));
    return s ? s : "";
}

static bool has_container(yyjson_val *spec, const char *name)
{
    for (size_t l = 0; l < NEAP_ARRAY_LEN(lists); l++) {
        size_t i, n;
        yyjson_val *x;
        yyjson_arr_foreach(yyjson_obj_get(spec, lists[l]), i, n, x)
        {
            if (strcmp(name_of(x), name) == 0)
                return true;
        }
    }
    return false;
}

/* "a b" */
static void add_names(struct neap_buf *b, yyjson_val *list)
{
    size_t i, n;
    yyjson_val *x;
    yyjson_arr_foreach(list, i, n, x)
    {
        neap_buf_printf(b, "%s%s", b->data[b->len - 1] == '[' ? "" : " ", name_of(x));
    }
}

static int choose(struct neap_call *c, yyjson_val *spec, const char *pod, const char **ret)
{
    static const char *const order[] = {"initContainers", "containers", "ephemeralContainers"};
    yyjson_val *containers = yyjson_obj_get(spec, "containers");
    const char *name = neap_wire_query_get(c->arena, c->query, "container");
    if (name && *name) {
        *ret = name;
        return has_container(spec, name)
                   ? 0
                   : neap_err_set(&c->err, NEAP_EBADREQUEST, "container %s is not valid for pod %s",
                                  name, pod);
    }
    if (yyjson_arr_size(containers) == 1) {
        *ret = neap_arena_strdup(c->arena, name_of(yyjson_arr_get_first(containers)));
        return *ret ? 0 : neap_err_set(&c->err, NEAP_ETOOLARGE, "the request uses too much memory");
    }
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_printf(&b, "a container name must be specified for pod %s, choose one of: [", pod);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(order); i++)
        add_names(&b, yyjson_obj_get(spec, order[i]));
    neap_buf_char(&b, ']');
    int rc = neap_err_set(&c->err, NEAP_EBADREQUEST, "%s", b.data);
    neap_buf_done(&b);
    return rc;
}

/* ---- log ---- */

static const char *const log_params[] = {"follow",    "previous",  "timestamps", "sinceSeconds",
                                         "sinceTime", "tailLines", "limitBytes"};

static int check_min(struct neap_call *c, const char *name, int64_t min, const char *words)
{
    const char *s = neap_wire_query_get(c->arena, c->query, name);
    char *end;
    long long n = s ? strtoll(s, &end, 10) : 0;
    if (s && (!*s || *end))
        return neap_err_set(&c->err, NEAP_EBADREQUEST,
                            "strconv.ParseInt: parsing \"%.100s\": invalid syntax", s);
    if (s && n < min)
        neap_err_cause(&c->err, "FieldValueInvalid", name, "Invalid value: %lld: %s", n, words);
    return 0;
}

static int check_time(struct neap_call *c)
{
    const char *s = neap_wire_query_get(c->arena, c->query, "sinceTime");
    int64_t at;
    if (!s || neap_time_parse(s, strlen(s), &at))
        return 0;
    return neap_err_set(&c->err, NEAP_EBADREQUEST,
                        "parsing time \"%.100s\" as \"2006-01-02T15:04:05Z07:00\": cannot parse "
                        "\"%.100s\" as \"2006\"",
                        s, s);
}

/* One text of all causes, which stay. */
static int invalid_log(struct neap_call *c, const char *pod)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    bool many = c->err.cause_count > 1;
    neap_buf_printf(&b, "PodLogOptions \"%s\" is invalid: %s", pod, many ? "[" : "");
    for (unsigned i = 0; i < c->err.cause_count; i++)
        neap_buf_printf(&b, "%s%s: %s", i ? ", " : "", c->err.causes[i].field,
                        c->err.causes[i].message);
    neap_buf_str(&b, many ? "]" : "");
    free(c->err.message);
    c->err.message = neap_buf_take(&b);
    c->err.code = NEAP_EINVALID;
    neap_err_about(&c->err, "", "PodLogOptions", pod);
    return NEAP_EINVALID;
}

static int check_log(struct neap_call *c, const char *pod)
{
    const char *stream = neap_wire_query_get(c->arena, c->query, "stream");
    int rc = check_time(c);
    rc = rc ? rc : check_min(c, "tailLines", 0, "must be greater than or equal to 0");
    rc = rc ? rc : check_min(c, "limitBytes", 1, "must be greater than 0");
    bool both = neap_wire_query_get(c->arena, c->query, "sinceSeconds") &&
                neap_wire_query_get(c->arena, c->query, "sinceTime");
    if (!rc && both)
        neap_err_cause(&c->err, "FieldValueForbidden", "[]",
                       "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified");
    else if (!rc)
        rc = check_min(c, "sinceSeconds", 1, "must be greater than 0");
    if (!rc && stream && *stream) /* behind a gate that is off by default */
        neap_err_cause(&c->err, "FieldValueForbidden", "stream", "Forbidden: may not be specified");
    return rc || !c->err.cause_count ? rc : invalid_log(c, pod);
}

static void add_escaped(struct neap_buf *b, const char *s)
{
    for (; *s; s++) {
        if ((*s >= '0' && *s <= '9') || ((*s | 32) >= 'a' && (*s | 32) <= 'z') ||
            strchr("-._~", *s))
            neap_buf_char(b, *s);
        else
            neap_buf_printf(b, "%%%02X", (unsigned char)*s);
    }
}

static void add_param(struct neap_call *c, struct neap_buf *b, const char *theirs, const char *ours)
{
    const char *s = neap_wire_query_get(c->arena, c->query, theirs);
    if (!s)
        return;
    neap_buf_printf(b, "&%s=", ours);
    add_escaped(b, s);
}

/* ---- exec, attach ---- */

static bool is_true(struct neap_call *c, const char *name)
{
    const char *s = neap_wire_query_get(c->arena, c->query, name);
    return s && (strcmp(s, "true") == 0 || strcmp(s, "1") == 0 || !*s);
}

static int add_streams(struct neap_call *c, struct neap_buf *b, bool exec)
{
    static const char *const names[][2] = {
        {"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}};
    unsigned streams = 0, commands = 0;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        bool on = is_true(c, names[i][0]);
        streams += on && i < 3;
        if (on)
            neap_buf_printf(b, "&%s=1", names[i][1]);
    }
    if (!streams)
        return neap_err_set(&c->err, NEAP_EBADREQUEST,
                            "you must specify at least 1 of stdin, stdout, stderr");
    if (!exec)
        return 0;
    for (const char *p = c->query; p && *p; p = strchr(p, '&') ? strchr(p, '&') + 1 : NULL) {
        size_t len = strcspn(p, "&");
        if (len < 8 || strncmp(p, "command=", 8) != 0)
            continue;
        neap_buf_char(b, '&');
        neap_buf_append(b, p, len); /* as it came: decoded once, by the agent */
        commands++;
    }
    return commands ? 0
                    : neap_err_set(&c->err, NEAP_EBADREQUEST,
                                   "you must specify a command for the container");
}

int node_path(struct neap_call *c, yyjson_val *pod, const char **ret_path, const char **ret_node)
{
    static const char *const prefixes[][2] = {
        {"log", "containerLogs"}, {"exec", "exec"}, {"attach", "attach"}};
    yyjson_val *spec = yyjson_obj_get(pod, "spec");
    const char *node = yyjson_get_str(yyjson_obj_get(spec, "nodeName")), *container = NULL,
               *prefix = NULL;
    bool log = strcmp(c->subresource, "log") == 0;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(prefixes); i++)
        if (strcmp(prefixes[i][0], c->subresource) == 0)
            prefix = prefixes[i][1];
    if (!prefix)
        return neap_err_set(&c->err, NEAP_ENOTSUPPORTED, "%s is not served yet", c->subresource);
    int rc = log ? check_log(c, c->name) : 0;
    if (!rc)
        rc = choose(c, spec, c->name, &container);
    if (rc)
        return rc;
    *ret_node = NULL;
    if (log && (!node || !*node))
        return 0;
    if (!node || !*node)
        return neap_err_set(&c->err, NEAP_EBADREQUEST, "pod %s does not have a host assigned",
                            c->name);
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_printf(&b, "/%s/%s/%s/%s?", prefix, c->namespace_, c->name, container);
    for (size_t i = 0; log && i < NEAP_ARRAY_LEN(log_params); i++)
        add_param(c, &b, log_params[i], log_params[i]);
    if (!log)
        rc = add_streams(c, &b, strcmp(c->subresource, "exec") == 0);
    *ret_path = neap_arena_strndup(c->arena, b.data, b.len);
    *ret_node = neap_arena_strdup(c->arena, node);
    neap_buf_done(&b);
    if (!rc && (!*ret_path || !*ret_node))
        rc = neap_err_set(&c->err, NEAP_ETOOLARGE, "the request uses too much memory");
    return rc;
}
