/* A pod is made of its object: its containers, what the API's status still tells of them, and what runs of it from
 * before a restart of the agent. */
#include "node_internal.h"

enum { EPHEMERAL_MAX = 16 };

static const char *const container_lists[] = {"initContainers", "containers",
                                              "ephemeralContainers"};

static void add_container(struct pod *p, yyjson_val *spec, size_t list)
{
    struct container *x = &p->containers[p->count++];
    x->pod = p;
    x->spec = spec;
    x->name = yyjson_get_str(yyjson_obj_get(spec, "name"));
    x->init = list == 0;
    x->ephemeral = list == 2;
    x->sidecar = x->init && yyjson_equals_str(yyjson_obj_get(spec, "restartPolicy"), "Always");
    resources_allocate(x, yyjson_obj_get(spec, "resources")); /* the scheduler saw to the room */
    x->waiting_reason = container_waits_as(x);
}

/* Containers do not move: room for ephemeral ones that come later is taken now. */
static void read_containers(struct pod *p)
{
    size_t i, n, total = EPHEMERAL_MAX;
    yyjson_val *c;
    for (size_t l = 0; l < NEAP_ARRAY_LEN(container_lists); l++)
        total += yyjson_arr_size(yyjson_obj_get(p->spec, container_lists[l]));
    p->containers = neap_calloc(total, sizeof(*p->containers));
    p->room = (unsigned)total;
    for (size_t l = 0; l < NEAP_ARRAY_LEN(container_lists); l++) {
        yyjson_arr_foreach(yyjson_obj_get(p->spec, container_lists[l]), i, n, c)
        {
            add_container(p, c, l);
        }
    }
}

static struct container *container_named(struct pod *p, const char *name)
{
    for (unsigned i = 0; i < p->count; i++)
        if (neap_streq(p->containers[i].name, name))
            return &p->containers[i];
    return NULL;
}

/* What may change of a running pod: images, the deadline, tolerations, ephemeral containers more. */
static void respec_container(struct pod *p, yyjson_val *spec, size_t list)
{
    struct container *c = container_named(p, yyjson_get_str(yyjson_obj_get(spec, "name")));
    if (!c) {
        if (list == 2 && p->count < p->room)
            add_container(p, spec, list);
        return;
    }
    bool other = !yyjson_equals(yyjson_obj_get(c->spec, "image"), yyjson_obj_get(spec, "image"));
    c->spec = spec;
    c->name = yyjson_get_str(yyjson_obj_get(spec, "name"));
    probes_respec(c);
    if (other && !c->init && !c->ephemeral && c->state == CONTAINER_RUNNING) {
        char text[320];
        snprintf(text, sizeof(text), "Container %s definition changed, will be restarted", c->name);
        c->changed = c->replacing = true;
        container_restart(c, text, -1);
    }
}

void pod_respec(struct pod *p)
{
    yyjson_doc *old = p->doc, *doc = neap_object_parse(p->object, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc), *c;
    int64_t generation = yyjson_get_sint(neap_json_val_at(root, "metadata.generation"));
    size_t i, n;
    if (generation == p->generation) {
        yyjson_doc_free(doc);
        return;
    }
    p->generation = generation;
    p->doc = doc;
    p->spec = yyjson_obj_get(root, "spec");
    p->meta = yyjson_obj_get(root, "metadata");
    for (size_t l = 0; l < NEAP_ARRAY_LEN(container_lists); l++) {
        yyjson_arr_foreach(yyjson_obj_get(p->spec, container_lists[l]), i, n, c)
        {
            respec_container(p, c, l);
        }
    }
    yyjson_doc_free(old);
}

/* Restart counts and the last runs survive in the API's status. */
static void read_status(struct pod *p, yyjson_val *root)
{
    static const char *const lists[] = {"status.initContainerStatuses", "status.containerStatuses"};
    for (int l = 0; l < 2; l++) {
        size_t i, n;
        yyjson_val *s;
        yyjson_arr_foreach(neap_json_val_at(root, lists[l]), i, n, s)
        {
            const char *name = yyjson_get_str(yyjson_obj_get(s, "name"));
            for (unsigned k = 0; k < p->count; k++)
                if (neap_streq(p->containers[k].name, name)) {
                    p->containers[k].restarts = p->containers[k].attempt =
                        (unsigned)yyjson_get_uint(yyjson_obj_get(s, "restartCount"));
                    p->containers[k].was_ready = yyjson_get_bool(yyjson_obj_get(s, "ready"));
                    p->containers[k].was_started = yyjson_get_bool(yyjson_obj_get(s, "started"));
                    resources_restore(&p->containers[k], s);
                }
        }
    }
    const char *start = neap_json_val_str_at(root, "status.startTime");
    if (start)
        neap_time_parse(start, strlen(start), &p->started_ns);
}

struct adoption {
    struct pod *pod;
    bool sandbox, ready;
};

static void adopt_sandbox(void *arg, const struct neap_runtime_sandbox_status *s)
{
    struct adoption *a = arg;
    if (strcmp(s->id, a->pod->uid) == 0) {
        a->sandbox = true;
        a->ready = s->ready;
    }
}

static void adopt_container(void *arg, const struct neap_runtime_container_status *s)
{
    struct adoption *a = arg;
    struct pod *p = a->pod;
    const char *last = strrchr(s->id, '_');
    if (strcmp(s->sandbox_id, p->uid) != 0 || !last)
        return;
    size_t at = strlen(p->uid) + 1;
    for (unsigned i = 0; i < p->count; i++) {
        struct container *c = &p->containers[i];
        size_t n = strlen(c->name);
        if ((size_t)(last - s->id) == at + n && strncmp(s->id + at, c->name, n) == 0) {
            unsigned attempt = (unsigned)strtoul(last + 1, NULL, 10);
            if (!c->id || attempt >= c->attempt)
                container_adopt(c, attempt);
        }
    }
}

/* What still runs from before a restart of the agent is taken over as it is. */
static bool adopt(struct pod *p)
{
    struct neap_node *n = p->node;
    struct adoption a = {.pod = p};
    n->options.runtime->list(n->runtime, adopt_sandbox, adopt_container, &a);
    p->has_sandbox = a.sandbox;
    if (!a.sandbox)
        return false;
    p->renewing = !a.ready;
    p->has_address = n->options.network && !p->host_network &&
                     n->options.network->status(n->network, p->uid, &p->address) == 0;
    return p->has_address || p->host_network || p->renewing || !n->options.network;
}

static void on_timer(void *arg)
{
    pod_step(arg);
}

struct pod *pod_new(struct neap_node *n, struct neap_object *o)
{
    struct pod *p = neap_calloc(1, sizeof(*p));
    p->node = n;
    neap_list_init(&p->asked);
    p->ns = neap_strdup(neap_object_namespace(o));
    p->name = neap_strdup(neap_object_name(o));
    p->uid = neap_strdup(neap_object_uid(o));
    p->key = neap_asprintf("%s/%s", p->ns, p->name);
    p->object = neap_object_ref(o);
    p->doc = neap_object_parse(o, NULL);
    yyjson_val *root = yyjson_doc_get_root(p->doc);
    p->spec = yyjson_obj_get(root, "spec");
    p->meta = yyjson_obj_get(root, "metadata");
    p->host_network = yyjson_get_bool(yyjson_obj_get(p->spec, "hostNetwork"));
    p->timer = neap_timer_new(n->options.loop, on_timer, p);
    p->deadline_timer = neap_timer_new(n->options.loop, on_timer, p);
    p->generation = yyjson_get_sint(neap_json_val_at(root, "metadata.generation"));
    read_containers(p);
    read_status(p, root);
    neap_sm_init(&p->sm, "pod", p->key, pod_states, POD_OVER + 1, POD_NEW, NULL);
    const char *phase = neap_json_val_str_at(root, "status.phase");
    bool over = neap_streq(phase, "Succeeded") || neap_streq(phase, "Failed");
    if (over) {
        p->final_phase = neap_streq(phase, "Failed") ? "Failed" : "Succeeded";
        p->final_sent = p->settled = true;
    }
    if (adopt(p) && !over) {
        p->unread = true;
        neap_sm_move(&p->sm, POD_RUNNING);
    }
    if (!p->started_ns)
        p->started_ns = node_wall(n);
    return p;
}

void pod_free(struct pod *p)
{
    for (unsigned i = 0; i < p->count; i++)
        container_free(&p->containers[i]);
    free(p->containers);
    neap_arena_free(p->op_arena);
    refs_free(p);
    resize_free(p);
    events_free(p);
    neap_timer_close(p->timer);
    neap_timer_close(p->grace_timer);
    neap_timer_close(p->refresh_timer);
    neap_timer_close(p->hold_timer);
    neap_timer_close(p->deadline_timer);
    neap_timer_close(p->status_timer);
    neap_object_unref(p->object);
    yyjson_doc_free(p->doc);
    free(p->key);
    free(p->uid);
    free(p->ns);
    free(p->name);
    free(p->failure);
    free(p->fetch_error);
    status_free(p);
    free(p->final_reason);
    free(p->final_message);
    free(p);
}
