/* Start and stop, the Node object, its Lease. */
#include "node_internal.h"
#include <neap/plugin.h>

enum { LEASE_SECONDS = 40, LEASE_RENEW_MS = 10000, STATUS_MS = 300000, RETRY_MS = 1000 };

int64_t node_wall(const struct neap_node *n)
{
    return neap_clock_wall(n->options.clock);
}

void node_request(struct neap_node *n, struct neap_request *r)
{
    r->loop = n->options.loop;
    n->options.client->request(n->options.client, r);
}

const char *neap_node_address(const struct neap_node *n)
{
    return n->address;
}

/* ---- requests that nobody waits for ---- */

struct note {
    struct neap_list link; /* of node->notes */
    struct neap_request request;
    char *body, *name, *ns;
    void (*done)(void *arg, const struct neap_reply *reply);
    void *arg;
};

static void note_free(struct note *x)
{
    neap_list_remove(&x->link);
    free(x->body);
    free(x->name);
    free(x->ns);
    free(x);
}

static void noted(struct neap_request *r, const struct neap_reply *reply)
{
    struct note *x = r->data;
    if (x->done)
        x->done(x->arg, reply);
    note_free(x);
}

void node_note(struct neap_node *n, const struct node_note *what)
{
    struct note *x = neap_calloc(1, sizeof(*x));
    neap_list_append(&n->notes, &x->link);
    x->body = what->body;
    x->name = what->name ? neap_strdup(what->name) : NULL;
    x->ns = what->ns ? neap_strdup(what->ns) : NULL;
    x->done = what->done;
    x->arg = what->arg;
    neap_request_init(&x->request);
    x->request.verb = what->verb;
    x->request.kind = neap_kind_by_resource(what->group, "v1", what->resource);
    x->request.namespace_ = x->ns;
    x->request.name = x->name;
    x->request.subresource = what->subresource;
    x->request.body = x->body;
    x->request.body_len = strlen(x->body);
    x->request.patch_type = what->verb == NEAP_PATCH ? NEAP_PATCH_T_STRATEGIC : NEAP_PATCH_T_NONE;
    x->request.done = noted;
    x->request.data = x;
    node_request(n, &x->request);
}

/* ---- Lease ---- */

static void write_status(void *arg);

/* After a silence as long as the Lease the cluster holds the node for lost: it hears at once that it is not. */
static void lease_renewed(struct neap_node *n)
{
    int64_t now = neap_loop_now_ms(n->options.loop), before = n->leased_ms;
    n->leased_ms = now;
    if (before && now - before >= LEASE_SECONDS * 1000)
        write_status(n);
}

static void lease_answer(void *arg, const struct neap_reply *reply)
{
    struct neap_node *n = arg;
    if (reply->code == 0)
        lease_renewed(n);
    if (reply->code == NEAP_ENOTFOUND)
        n->lease_made = false;
    else if (reply->code == 0 || reply->code == NEAP_EALREADYEXISTS)
        n->lease_made = true;
}

static void renew_lease(void *arg)
{
    struct neap_node *n = arg;
    char now[32];
    neap_time_format_micro(node_wall(n), now);
    char *body = neap_asprintf(
        "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"kube-node-lease\"},\"spec\":{"
        "\"holderIdentity\":\"%s\",\"leaseDurationSeconds\":%d,\"renewTime\":\"%s\"}}",
        n->options.name, n->options.name, LEASE_SECONDS, now);
    node_note(n, &(struct node_note){.verb = n->lease_made ? NEAP_PATCH : NEAP_CREATE,
                                     .group = "coordination.k8s.io",
                                     .resource = "leases",
                                     .ns = "kube-node-lease",
                                     .name = n->lease_made ? n->options.name : NULL,
                                     .body = body,
                                     .done = lease_answer,
                                     .arg = n});
}

/* ---- the Node ---- */

static void be_ready(struct neap_node *n)
{
    if (n->registered)
        return;
    n->registered = true;
    neap_timer_start(n->lease_timer, LEASE_RENEW_MS, LEASE_RENEW_MS);
    neap_timer_start(n->status_timer, STATUS_MS, STATUS_MS);
    renew_lease(n);
    pods_watch(n);
    proxy_start(n);
    n->ready(n->ready_arg, NULL);
}

static void status_answer(void *arg, const struct neap_reply *reply)
{
    struct neap_node *n = arg;
    if (reply->code == 0)
        be_ready(n);
    else if (!n->registered)
        neap_timer_start(n->status_timer, RETRY_MS, 0);
}

static void write_status(void *arg)
{
    struct neap_node *n = arg;
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_str(&b, "{\"status\":{");
    machine_status(n, &b);
    neap_buf_str(&b, "}}");
    node_note(n, &(struct node_note){.verb = NEAP_PATCH,
                                     .group = "",
                                     .resource = "nodes",
                                     .name = n->options.name,
                                     .subresource = "status",
                                     .body = neap_buf_take(&b),
                                     .done = status_answer,
                                     .arg = n});
}

static void node_made(void *arg, const struct neap_reply *reply)
{
    struct neap_node *n = arg;
    if (reply->code && reply->code != NEAP_EALREADYEXISTS) {
        NEAP_WARN("agent", "the node is not registered yet", "err=%s",
                  neap_log_quote(reply->err ? reply->err->message : ""));
    }
    write_status(n); /* a node that is not there yet answers 404: then all is tried again */
}

static void make_node(struct neap_node *n)
{
    const char *name = n->options.name;
    char arch[65];
    machine_arch(arch);
    char *body = neap_asprintf(
        "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubernetes.io/hostname\":\"%s\","
        "\"kubernetes.io/os\":\"linux\",\"kubernetes.io/arch\":\"%s\"}},\"spec\":{"
        "\"podCIDR\":\"%s\",\"podCIDRs\":[\"%s\"]}}",
        name, name, arch, n->options.pod_cidr, n->options.pod_cidr);
    node_note(n, &(struct node_note){.verb = NEAP_CREATE,
                                     .group = "",
                                     .resource = "nodes",
                                     .body = body,
                                     .done = node_made,
                                     .arg = n});
}

static void on_status_timer(void *arg)
{
    struct neap_node *n = arg;
    if (n->registered)
        write_status(n);
    else
        make_node(n);
}

static void on_pressure_timer(void *arg)
{
    struct neap_node *n = arg;
    if (pressures_measure(n) && n->registered)
        write_status(n);
}

/* ---- start ---- */

static void fail_start(struct neap_node *n, const char *what, int code, const char *message)
{
    struct neap_err err = NEAP_ERR_INIT;
    neap_err_set(&err, code, "%s: %s", what, message ? message : neap_err_name(code));
    n->ready(n->ready_arg, &err);
    neap_err_done(&err);
}

static void network_started(struct neap_op *op, int code, const char *message)
{
    struct neap_node *n = op->data;
    if (code) {
        fail_start(n, "network plugin", code, message);
        return;
    }
    if (n->options.node_ip)
        snprintf(n->address, sizeof(n->address), "%s", n->options.node_ip);
    else if (n->options.network)
        n->options.network->node_address(n->network, n->address);
    if (!n->address[0])
        snprintf(n->address, sizeof(n->address), "127.0.0.1");
    if (n->options.offline)
        n->ready(n->ready_arg, NULL);
    else
        make_node(n);
}

static void runtime_started(struct neap_op *op, int code, const char *message)
{
    struct neap_node *n = op->data;
    if (code) {
        fail_start(n, "runtime plugin", code, message);
        return;
    }
    if (!n->options.network) {
        network_started(op, 0, NULL);
        return;
    }
    n->op = (struct neap_op){.data = n, .done = network_started};
    n->options.network->start(n->network, &n->op);
}

static void on_container(void *arg, const char *id)
{
    struct container *c = NULL;
    if (pod_by_container(arg, id, &c) && c)
        container_changed(c);
}

static void on_sandbox(void *arg, const char *id)
{
    struct neap_node *n = arg;
    struct pod *p = neap_map_get(&n->pods, id);
    if (p)
        pod_sandbox_changed(p);
}

static int configure(struct neap_node *n, struct neap_err *err)
{
    const struct neap_node_options *o = &n->options;
    const char *cidrs[] = {o->pod_cidr, NULL}, *services[] = {o->service_cidr, NULL};
    n->runtime_events = (struct neap_runtime_events){n, on_container, on_sandbox};
    int rc = o->runtime->configure(o->runtime_host, &n->runtime_events, &n->runtime);
    if (!rc)
        rc = o->runtime->restore(n->runtime);
    if (rc)
        return neap_err_set(err, rc, "runtime plugin: %s", neap_plugin_failure());
    if (o->network)
        rc = o->network->configure(o->network_host, o->netns, cidrs, &n->network);
    if (!rc && o->network)
        rc = o->network->restore(n->network);
    if (rc)
        return neap_err_set(err, rc, "network plugin: %s", neap_plugin_failure());
    if (o->proxy)
        rc =
            o->proxy->configure(o->proxy_host, o->netns, services, cidrs, o->node_ports, &n->proxy);
    return rc ? neap_err_set(err, rc, "proxy plugin: %s", neap_plugin_failure()) : 0;
}

int neap_node_start(const struct neap_node_options *o, struct neap_node **ret,
                    void (*ready)(void *arg, const struct neap_err *err), void *arg,
                    struct neap_err *err)
{
    struct neap_node *n = neap_calloc(1, sizeof(*n));
    n->options = *o;
    n->ready = ready;
    n->ready_arg = arg;
    neap_list_init(&n->logs);
    neap_list_init(&n->events);
    neap_list_init(&n->notes);
    neap_list_init(&n->orphans);
    int rc = configure(n, err);
    if (rc) {
        free(n);
        return rc;
    }
    n->since_ns = neap_clock_wall(o->clock);
    n->lease_timer = neap_timer_new(o->loop, renew_lease, n);
    n->status_timer = neap_timer_new(o->loop, on_status_timer, n);
    n->pressure_timer = neap_timer_new(o->loop, on_pressure_timer, n);
    pressures_watch(n);
    n->op = (struct neap_op){.data = n, .done = runtime_started};
    o->runtime->start(n->runtime, &n->op);
    *ret = n;
    return 0;
}

/* ---- stop ---- */

static void all_stopped(void *arg)
{
    struct neap_node *n = arg;
    n->stopped(n->stopped_arg);
}

void neap_node_free(struct neap_node *n)
{
    pods_free(n);
    orphans_free(n);
    events_free_all(n);
    while (!neap_list_empty(&n->notes))
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it sees no list_remove()
        note_free(neap_list_entry(n->notes.next, struct note, link));
    if (n->options.proxy)
        n->options.proxy->destroy(n->proxy);
    if (n->options.network)
        n->options.network->destroy(n->network);
    n->options.runtime->destroy(n->runtime);
    free(n);
}

static void runtime_stopped(struct neap_op *op, int code, const char *message)
{
    (void)code;
    (void)message;
    struct neap_node *n = op->data;
    n->let_go = true;
    if (!n->trees)
        neap_loop_post(n->options.loop, all_stopped, n);
}

void node_tree_removed(struct neap_node *n)
{
    if (--n->trees == 0 && n->let_go)
        neap_loop_post(n->options.loop, all_stopped, n);
}

static void network_stopped(struct neap_op *op, int code, const char *message)
{
    struct neap_node *n = op->data;
    (void)code;
    (void)message;
    n->op = (struct neap_op){.data = n, .done = runtime_stopped};
    n->options.runtime->stop(n->runtime, &n->op);
}

static void proxy_ended(struct neap_op *op, int code, const char *message)
{
    struct neap_node *n = op->data;
    (void)code;
    (void)message;
    if (!n->options.network) {
        network_stopped(op, 0, NULL);
        return;
    }
    n->op = (struct neap_op){.data = n, .done = network_stopped};
    if (n->cleaning)
        n->options.network->cleanup(n->network, &n->op);
    else
        n->options.network->stop(n->network, &n->op);
}

static void let_go(struct neap_node *n)
{
    n->op = (struct neap_op){.data = n, .done = proxy_ended};
    if (!n->options.proxy)
        proxy_ended(&n->op, 0, NULL);
    else if (n->cleaning)
        n->options.proxy->cleanup(n->proxy, &n->op);
    else
        n->options.proxy->stop(n->proxy, &n->op);
}

/* While cleaning: every pod's sandbox must be gone. */
void node_check_stopped(struct neap_node *n)
{
    size_t at = 0;
    const char *key;
    void *value;
    if (!n->stopping || !n->cleaning)
        return;
    while (neap_map_next(&n->pods, &at, &key, &value))
        if (((struct pod *)value)->sm.state != POD_OVER)
            return;
    if (!neap_list_empty(&n->orphans))
        return;
    NEAP_CLEANUP_FREE char *pods = neap_asprintf("%s/pods", n->options.data_dir);
    trees_unmount(pods);
    n->stopping = false; /* once */
    let_go(n);
}

void neap_node_stop(struct neap_node *n, bool cleanup, void (*done)(void *arg), void *arg)
{
    n->stopped = done;
    n->stopped_arg = arg;
    n->cleaning = cleanup;
    if (n->pods_watch)
        n->options.client->reflect_stop(n->options.client, n->pods_watch);
    n->pods_watch = NULL;
    proxy_stop(n);
    n->lease_timer = neap_timer_close(n->lease_timer);
    n->status_timer = neap_timer_close(n->status_timer);
    n->pressure_timer = neap_timer_close(n->pressure_timer);
    if (!cleanup) {
        let_go(n);
        return;
    }
    size_t at = 0;
    const char *key;
    void *value;
    n->stopping = true;
    while (neap_map_next(&n->pods, &at, &key, &value)) {
        struct pod *p = value;
        p->forgotten = true; /* the API is not told: the pods come back with the cluster */
        pod_stop(p, 2);
    }
    orphans_remove(n);
    node_check_stopped(n);
}
