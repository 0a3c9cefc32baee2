/* What the runtime is told of a pod and its containers. */
#include "node_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_BYTES_MAX = 10 << 20, LOG_FILES_MAX = 5 };

const char *pod_dir(const struct pod *p, struct neap_arena *arena)
{
    return neap_arena_printf(arena, "%s/pods/%s", p->node->options.data_dir, p->uid);
}

const char *pod_log_dir(const struct pod *p, struct neap_arena *arena)
{
    return neap_arena_printf(arena, "%s/logs/%s_%s_%s", p->node->options.data_dir, p->ns, p->name,
                             p->uid);
}

const char *termination_path(const struct container *c, struct neap_arena *arena)
{
    return neap_arena_printf(arena, "%s/containers/%s-%u", pod_dir(c->pod, arena), c->name,
                             c->attempt);
}

static const char *str(yyjson_val *o, const char *name)
{
    return yyjson_get_str(yyjson_obj_get(o, name));
}

static const char *qos(struct pod *p)
{
    yyjson_val *root = yyjson_doc_get_root(p->doc);
    const char *class = neap_json_val_str_at(root, "status.qosClass");
    return neap_streq(class, "Guaranteed")  ? ""
           : neap_streq(class, "Burstable") ? "burstable/"
                                            : "besteffort/";
}

struct neap_runtime_sandbox_config *sandbox_config(struct pod *p, struct neap_arena *arena)
{
    struct neap_runtime_sandbox_config *c = neap_arena_calloc(arena, sizeof(*c));
    const char *hostname = str(p->spec, "hostname");
    char *name = neap_arena_strdup(arena, hostname ? hostname : p->name);
    if (strlen(name) > 63)
        name[63] = '\0';
    *c = (struct neap_runtime_sandbox_config){
        .id = p->uid,
        .namespace_ = p->ns,
        .pod = p->name,
        .uid = p->uid,
        .hostname = p->host_network ? NULL : name,
        .log_dir = pod_log_dir(p, arena),
        .cgroup_parent =
            neap_arena_printf(arena, "/neap-%s/%spod%s", p->node->options.instance, qos(p), p->uid),
        .host_network = p->host_network,
        .host_pid = yyjson_get_bool(yyjson_obj_get(p->spec, "hostPID")),
        .host_ipc = yyjson_get_bool(yyjson_obj_get(p->spec, "hostIPC")),
        .share_process_namespace =
            yyjson_get_bool(yyjson_obj_get(p->spec, "shareProcessNamespace"))};
    resources_of_pod(p, false, &c->resources);
    size_t i, n, count = 0;
    yyjson_val *s, *list = neap_json_val_at(p->spec, "securityContext.sysctls");
    const char **sysctls =
        neap_arena_calloc(arena, (2 * yyjson_arr_size(list) + 1) * sizeof(*sysctls));
    yyjson_arr_foreach(list, i, n, s)
    {
        sysctls[count++] = str(s, "name");
        sysctls[count++] = str(s, "value");
    }
    c->sysctls = count ? sysctls : NULL;
    return c;
}

/* ---- mounts ---- */

struct mounts {
    struct neap_runtime_mount *list;
    size_t count;
    struct neap_arena *arena;
};

static void add(struct mounts *m, const char *source, const char *target, bool read_only)
{
    m->list[m->count++] =
        (struct neap_runtime_mount){.source = source, .target = target, .read_only = read_only};
}

static int add_volumes(struct container *c, struct mounts *m, const char *const *env,
                       struct neap_err *err)
{
    size_t i, n;
    yyjson_val *v;
    static const char *const modes[] = {"None", "HostToContainer", "Bidirectional"};
    yyjson_arr_foreach(yyjson_obj_get(c->spec, "volumeMounts"), i, n, v)
    {
        const char *base = volume_path(c->pod, str(v, "name"), m->arena, err);
        const char *expression = str(v, "subPathExpr"), *propagation = str(v, "mountPropagation");
        const char *sub = expression ? env_expand(expression, env, m->arena) : str(v, "subPath");
        const char *source =
            base && sub && *sub ? subpath_mount(c, base, sub, i, m->arena, err) : base;
        bool written_by_us = volume_is_ours(c->pod, str(v, "name"));
        if (!source)
            return err->code;
        add(m, source, str(v, "mountPath"),
            written_by_us || yyjson_get_bool(yyjson_obj_get(v, "readOnly")));
        for (int k = 0; propagation && k < 3; k++)
            if (strcmp(propagation, modes[k]) == 0)
                m->list[m->count - 1].propagation = k;
    }
    return 0;
}

static bool mounted(const struct mounts *m, const char *target)
{
    for (size_t i = 0; i < m->count; i++)
        if (neap_streq(m->list[i].target, target))
            return true;
    return false;
}

static const char *hosts_file(struct pod *p, struct neap_arena *arena)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    const char *path = neap_arena_printf(arena, "%s/etc-hosts", pod_dir(p, arena));
    const char *hostname = str(p->spec, "hostname"), *subdomain = str(p->spec, "subdomain");
    size_t i, n, j, m;
    yyjson_val *alias, *name;
    char *own = NULL;
    size_t own_len = 0;
    if (p->host_network) { /* the node's, marked as such */
        neap_buf_str(&b, "# Kubernetes-managed hosts file (host network).\n");
        if (neap_file_read("/etc/hosts", 1 << 20, &own, &own_len) == 0)
            neap_buf_append(&b, own, own_len);
        free(own);
    }
    if (!p->host_network)
        neap_buf_str(
            &b,
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost "
            "ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\n"
            "fe00::2\tip6-allrouters\n");
    if (p->has_address && subdomain)
        neap_buf_printf(&b, "%s\t%s.%s.%s.svc.%s\t%s\n", p->address.addresses[0],
                        hostname ? hostname : p->name, subdomain, p->ns,
                        p->node->options.cluster_domain, hostname ? hostname : p->name);
    else if (p->has_address)
        neap_buf_printf(&b, "%s\t%s\n", p->address.addresses[0], hostname ? hostname : p->name);
    yyjson_arr_foreach(yyjson_obj_get(p->spec, "hostAliases"), i, n, alias)
    {
        neap_buf_printf(&b, "%s%s", i ? "" : "\n# Entries added by HostAliases.\n",
                        str(alias, "ip"));
        yyjson_arr_foreach(yyjson_obj_get(alias, "hostnames"), j, m, name)
        {
            neap_buf_printf(&b, "\t%s", yyjson_get_str(name));
        }
        neap_buf_char(&b, '\n');
    }
    neap_file_write_atomic(path, b.data, b.len, 0644);
    return path;
}

/* The node's own resolver, until the cluster has one; dnsPolicy None and dnsConfig are honoured. */
static const char *resolv_file(struct pod *p, struct neap_arena *arena)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    const char *path = neap_arena_printf(arena, "%s/resolv.conf", pod_dir(p, arena));
    size_t i, n, len = 0;
    yyjson_val *v, *config = yyjson_obj_get(p->spec, "dnsConfig");
    char *host = NULL;
    yyjson_arr_foreach(yyjson_obj_get(config, "nameservers"), i, n, v)
    {
        neap_buf_printf(&b, "nameserver %s\n", yyjson_get_str(v));
    }
    if (!neap_streq(str(p->spec, "dnsPolicy"), "None") &&
        neap_file_read("/etc/resolv.conf", 65536, &host, &len) == 0)
        neap_buf_append(&b, host, len);
    free(host);
    yyjson_arr_foreach(yyjson_obj_get(config, "searches"), i, n, v)
    {
        neap_buf_printf(&b, "%s%s%s", i ? "" : "search ", yyjson_get_str(v),
                        i + 1 < n ? " " : "\n");
    }
    yyjson_arr_foreach(yyjson_obj_get(config, "options"), i, n, v)
    {
        neap_buf_printf(&b, "%s%s%s%s%s", i ? "" : "options ", str(v, "name"),
                        str(v, "value") ? ":" : "", str(v, "value") ? str(v, "value") : "",
                        i + 1 < n ? " " : "\n");
    }
    neap_file_write_atomic(path, b.data ? b.data : "", b.len, 0644);
    return path;
}

static const char *termination_file(struct container *c, struct neap_arena *arena)
{
    const char *path = termination_path(c, arena);
    neap_mkdir_p(neap_arena_printf(arena, "%s/containers", pod_dir(c->pod, arena)), 0755);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd >= 0) {
        fchmod(fd, 0666);
        close(fd);
    }
    return path;
}

static int add_mounts(struct container *c, struct mounts *m, const char *const *env,
                      struct neap_err *err)
{
    size_t n = yyjson_arr_size(yyjson_obj_get(c->spec, "volumeMounts"));
    const char *termination = str(c->spec, "terminationMessagePath");
    m->list = neap_arena_calloc(m->arena, (n + 4) * sizeof(*m->list));
    int rc = add_volumes(c, m, env, err);
    if (rc)
        return rc;
    if (!mounted(m, "/etc/hosts"))
        add(m, hosts_file(c->pod, m->arena), "/etc/hosts", false);
    if (!mounted(m, "/etc/resolv.conf"))
        add(m, resolv_file(c->pod, m->arena), "/etc/resolv.conf", false);
    if (termination && !mounted(m, termination))
        add(m, termination_file(c, m->arena), termination, false);
    return 0;
}

/* ---- command, security ---- */

static const char *const *words(yyjson_val *list, const char *const *env, struct neap_arena *arena)
{
    size_t i, n;
    yyjson_val *v;
    if (!yyjson_arr_size(list))
        return NULL;
    const char **out = neap_arena_calloc(arena, (yyjson_arr_size(list) + 1) * sizeof(*out));
    yyjson_arr_foreach(list, i, n, v)
    {
        out[i] = env_expand(yyjson_get_str(v), env, arena);
    }
    return out;
}

/* The container's own setting, else the pod's. */
static yyjson_val *setting(struct container *c, const char *name)
{
    yyjson_val *own = yyjson_obj_get(yyjson_obj_get(c->spec, "securityContext"), name);
    return own ? own : yyjson_obj_get(yyjson_obj_get(c->pod->spec, "securityContext"), name);
}

static void set_security(struct container *c, struct neap_runtime_security *s,
                         struct neap_arena *arena)
{
    yyjson_val *own = yyjson_obj_get(c->spec, "securityContext"), *v;
    yyjson_val *groups = neap_json_val_at(c->pod->spec, "securityContext.supplementalGroups");
    yyjson_val *fs_group = neap_json_val_at(c->pod->spec, "securityContext.fsGroup");
    s->uid = (v = setting(c, "runAsUser")) ? yyjson_get_sint(v) : -1;
    s->gid = (v = setting(c, "runAsGroup")) ? yyjson_get_sint(v) : -1;
    s->run_as_non_root = yyjson_get_bool(setting(c, "runAsNonRoot"));
    s->privileged = yyjson_get_bool(yyjson_obj_get(own, "privileged"));
    s->read_only_rootfs = yyjson_get_bool(yyjson_obj_get(own, "readOnlyRootFilesystem"));
    v = yyjson_obj_get(own, "allowPrivilegeEscalation");
    s->no_new_privileges = v && !yyjson_get_bool(v);
    size_t i, n, count = 0;
    int64_t *list = neap_arena_calloc(arena, (yyjson_arr_size(groups) + 1) * sizeof(*list));
    yyjson_arr_foreach(groups, i, n, v)
    {
        list[count++] = yyjson_get_sint(v);
    }
    if (fs_group)
        list[count++] = yyjson_get_sint(fs_group);
    s->supplemental_groups = list;
    s->supplemental_group_count = count;
    s->add_capabilities = words(neap_json_val_at(own, "capabilities.add"), NULL, arena);
    s->drop_capabilities = words(neap_json_val_at(own, "capabilities.drop"), NULL, arena);
    yyjson_val *seccomp = setting(c, "seccompProfile");
    if (neap_streq(str(seccomp, "type"), "RuntimeDefault"))
        s->seccomp_profile = "RuntimeDefault";
    else if (neap_streq(str(seccomp, "type"), "Localhost"))
        s->seccomp_profile = str(seccomp, "localhostProfile");
}

static int oom_score(struct container *c)
{
    yyjson_val *r = resources_allocated(c);
    const char *class = qos(c->pod);
    if (!*class)
        return -997;
    int64_t request = resources_quantity(r, "requests.memory", false);
    if (strcmp(class, "besteffort/") == 0 || !request)
        return 1000;
    int64_t total = node_memory();
    int64_t score = 1000 - 1000 * request / (total ? total : 1);
    return score < 3 ? 3 : score > 999 ? 999 : (int)score;
}

struct neap_runtime_container_config *
container_config(struct container *c, struct neap_arena *arena, struct neap_err *err)
{
    struct neap_runtime_container_config *k = neap_arena_calloc(arena, sizeof(*k));
    struct mounts m = {.arena = arena};
    const char *const *env = container_env(c, arena, err);
    if (!env || add_mounts(c, &m, env, err))
        return NULL;
    *k = (struct neap_runtime_container_config){
        .id = c->id,
        .sandbox_id = c->pod->uid,
        .name = c->name,
        .attempt = c->attempt,
        .image_id = c->image_id,
        .command = words(yyjson_obj_get(c->spec, "command"), env, arena),
        .args = words(yyjson_obj_get(c->spec, "args"), env, arena),
        .env = env,
        .working_dir = str(c->spec, "workingDir"),
        .mounts = m.list,
        .mount_count = m.count,
        .tty = yyjson_get_bool(yyjson_obj_get(c->spec, "tty")),
        .stdin_open = yyjson_get_bool(yyjson_obj_get(c->spec, "stdin")),
        .stdin_once = yyjson_get_bool(yyjson_obj_get(c->spec, "stdinOnce")),
        .log_path = neap_arena_printf(arena, "%s/%s/%u.log", pod_log_dir(c->pod, arena), c->name,
                                      c->restarts),
        .log_max_bytes = LOG_BYTES_MAX,
        .log_max_files = LOG_FILES_MAX};
    neap_mkdir_p(neap_arena_printf(arena, "%s/%s", pod_log_dir(c->pod, arena), c->name), 0755);
    resources_of_container(c, &k->resources);
    k->resources.oom_score_adj = oom_score(c);
    set_security(c, &k->security, arena);
    return k;
}
