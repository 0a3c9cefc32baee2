/* Plugins: which are used with what weight, and the steps of a cycle that run through all of them. */
#include "plugins/plugins.h"
#include "sched_internal.h"

#include <neap/plugin.h>

enum { REASONS_KEPT = 512 };

/* In the order of kube-scheduler's default profile. */
static const struct neap_scheduler_plugin *const built_in[] = {
    &sched_plugin_node_name,       &sched_plugin_node_unschedulable, &sched_plugin_taint_toleration,
    &sched_plugin_node_affinity,   &sched_plugin_node_ports,         &sched_plugin_resources_fit,
    &sched_plugin_topology_spread, &sched_plugin_interpod_affinity,  &sched_plugin_balanced,
};

/* ---- reasons ---- */

void sched_because(struct neap_sched *s, const char *text)
{
    uintptr_t known = (uintptr_t)neap_map_get(&s->reason_by_text, text);
    if (!known) {
        s->reasons = neap_grow(s->reasons, &s->reason_cap, s->reason_count, sizeof(*s->reasons));
        s->reasons[s->reason_count++] = (struct sched_reason){.text = neap_strdup(text)};
        known = s->reason_count;
        neap_map_set(&s->reason_by_text, text, (void *)known);
    }
    if (s->because_count < NEAP_ARRAY_LEN(s->because))
        s->because[s->because_count++] = (unsigned)known - 1;
}

static void reasons_free(struct neap_sched *s)
{
    for (size_t i = 0; i < s->reason_count; i++)
        free(s->reasons[i].text);
    free(s->reasons);
    neap_map_done(&s->reason_by_text, NULL);
    s->reasons = NULL;
    s->reason_count = s->reason_cap = 0;
    s->reason_by_text = (struct neap_map)NEAP_MAP_INIT;
}

void sched_reasons_reset(struct neap_sched *s)
{
    s->because_count = 0;
    if (s->reason_count > REASONS_KEPT)
        reasons_free(s);
    for (size_t i = 0; i < s->reason_count; i++)
        s->reasons[i].nodes = 0;
}

void sched_reasons_count(struct neap_sched *s, unsigned nodes)
{
    for (unsigned i = 0; i < s->because_count; i++)
        s->reasons[s->because[i]].nodes += nodes;
    s->because_count = 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." */
char *sched_explain(struct neap_sched *s, size_t nodes)
{
    struct neap_buf b = NEAP_BUF_INIT;
    char **lines = neap_calloc(s->reason_count + 1, sizeof(*lines));
    size_t count = 0;
    for (size_t i = 0; i < s->reason_count; i++)
        if (s->reasons[i].nodes)
            lines[count++] = neap_asprintf("%u %s", s->reasons[i].nodes, s->reasons[i].text);
    qsort(lines, count, sizeof(*lines), by_text);
    neap_buf_printf(&b, "0/%zu nodes are available:", nodes);
    for (size_t i = 0; i < count; i++) {
        neap_buf_printf(&b, "%s %s", i ? "," : "", lines[i]);
        free(lines[i]);
    }
    if (count)
        neap_buf_char(&b, '.');
    free(lines);
    return neap_buf_take(&b);
}

/* ---- which plugins ---- */

/* The item "name" or "name=value" of a comma list; its value (or ""), NULL: not in it. */
static const char *listed(const char *list, const char *name, size_t *ret_len)
{
    size_t n = strlen(name);
    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " ");
        size_t len = strcspn(p, ",");
        if (len < n || strncmp(p, name, n) != 0 || (len > n && p[n] != '='))
            continue;
        *ret_len = len > n ? len - n - 1 : 0;
        return len > n ? p + n + 1 : p + n;
    }
    return NULL;
}

static bool known(const struct neap_sched_options *o, const char *name, size_t len)
{
    static const char *const others[] = {"DefaultPreemption", "ImageLocality"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(built_in); i++)
        if (strlen(built_in[i]->header.name) == len &&
            strncmp(built_in[i]->header.name, name, len) == 0)
            return true;
    for (size_t i = 0; i < NEAP_ARRAY_LEN(others); i++)
        if (strlen(others[i]) == len && strncmp(others[i], name, len) == 0)
            return true;
    for (size_t i = 0; i < o->loaded_count; i++)
        if (strlen(o->loaded[i].plugin->header.name) == len &&
            strncmp(o->loaded[i].plugin->header.name, name, len) == 0)
            return true;
    return false;
}

static int check_list(const struct neap_sched_options *o, const char *option, const char *list,
                      bool weights, struct neap_err *err)
{
    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',') {
        p += strspn(p, " ");
        size_t len = strcspn(p, ","), name = strcspn(p, ",=");
        char *end = NULL;
        long weight = weights && len > name ? strtol(p + name + 1, &end, 10) : 1;
        if (!known(o, p, name))
            return neap_err_set(err, NEAP_ECONFIG, "%s: there is no scheduler plugin \"%.*s\"",
                                option, (int)name, p);
        if (weights ? end != p + len || weight < 1 || weight > 100 : len != name)
            return neap_err_set(err, NEAP_ECONFIG, "%s: \"%.*s\" is not %s", option, (int)len, p,
                                weights ? "NAME=WEIGHT with a weight of 1 to 100" : "a name");
    }
    return 0;
}

static int check_lists(const struct neap_sched_options *o, struct neap_err *err)
{
    int rc = check_list(o, "scheduler_disabled", o->disabled, false, err);
    return rc ? rc : check_list(o, "scheduler_weights", o->weights, true, err);
}

/* Starts the plugin once, and ends it: what refuses its options says so before anything runs. */
static int check_loaded(const struct neap_sched_loaded *l, struct neap_sched *s,
                        struct neap_err *err)
{
    void *self = NULL;
    if (l->plugin->configure(l->host, &s->views, &self))
        return neap_err_set(err, NEAP_ECONFIG, "%s", neap_plugin_failure());
    if (l->plugin->destroy)
        l->plugin->destroy(self);
    return 0;
}

int neap_sched_check(const struct neap_sched_options *o, struct neap_err *err)
{
    struct neap_sched s = {.options = *o};
    int rc = check_lists(o, err);
    sched_views_open(&s);
    for (size_t i = 0; !rc && i < o->loaded_count; i++)
        rc = check_loaded(&o->loaded[i], &s, err);
    return rc;
}

int sched_plugin_add(struct neap_sched *s, const struct neap_scheduler_plugin *t, void *self,
                     const struct neap_host *host, struct neap_err *err)
{
    size_t size = t->header.struct_size, len;
    const char *name = t->header.name, *weight = listed(s->options.weights, name, &len);
    if (listed(s->options.disabled, name, &len))
        return 0;
    if (s->plugin_count == SCHED_PLUGINS_MAX)
        return neap_err_set(err, NEAP_ECONFIG, "scheduler: more than %d plugins",
                            SCHED_PLUGINS_MAX);
    struct sched_plugin *x = &s->plugins[s->plugin_count];
    *x = (struct sched_plugin){.self = self, .name = name};
    memcpy(&x->t, t, size < sizeof(x->t) ? size : sizeof(x->t));
    x->weight = weight ? strtol(weight, NULL, 10) : x->t.weight ? x->t.weight : 1;
    if (!self && x->t.configure(host, &s->views, &x->self))
        return neap_err_set(err, NEAP_ECONFIG, "scheduler: plugin %s does not start", name);
    s->plugin_count++;
    return 0;
}

static void add(struct neap_sched *s, const struct neap_scheduler_plugin *t,
                const struct neap_host *host)
{
    struct neap_err err = NEAP_ERR_INIT;
    if (sched_plugin_add(s, t, NULL, host, &err))
        NEAP_ERROR("scheduler", "plugin left out", "err=%s", neap_log_quote(err.message));
    neap_err_done(&err);
}

int sched_framework_open(struct neap_sched *s, struct neap_err *err)
{
    sched_views_open(s);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(built_in); i++)
        add(s, built_in[i], NULL);
    for (size_t i = 0; i < s->options.loaded_count; i++)
        add(s, s->options.loaded[i].plugin, s->options.loaded[i].host);
    size_t len;
    s->preemption = !listed(s->options.disabled, "DefaultPreemption", &len);
    sched_policies_open(s);
    return check_lists(&s->options, err);
}

void sched_framework_close(struct neap_sched *s)
{
    for (unsigned i = 0; i < s->plugin_count; i++)
        if (s->plugins[i].t.destroy)
            s->plugins[i].t.destroy(s->plugins[i].self);
    sched_policies_close(s);
    reasons_free(s);
    free(s->feasible);
    free(s->scores);
    free(s->totals);
}

/* ---- filters ---- */

static void broke(struct neap_sched *s, const struct sched_plugin *x)
{
    char text[160];
    snprintf(text, sizeof(text), "plugin %.100s failed", x->name);
    s->because_count = 0;
    sched_because(s, text);
}

int sched_pre_filter(struct neap_sched *s, struct neap_sched_pod *p)
{
    for (unsigned i = 0; i < s->plugin_count; i++)
        s->plugins[i].filters = s->plugins[i].t.filter != NULL;
    s->limit_count = 0;
    s->limit_epoch++;
    for (unsigned i = 0; i < s->plugin_count; i++) {
        struct sched_plugin *x = &s->plugins[i];
        if (!x->t.pre_filter)
            continue;
        s->limiting = false;
        int rc = x->t.pre_filter(x->self, p, &x->filter_state);
        if (s->limiting)
            s->limits[s->limit_count++] = (uint8_t)i;
        if (rc == NEAP_SCHED_SKIP) {
            x->filters = false;
        } else if (rc != NEAP_SCHED_OK) {
            s->refused_by |= UINT64_C(1) << i;
            if (rc == NEAP_SCHED_ERROR)
                broke(s, x);
            return rc;
        }
    }
    return NEAP_SCHED_OK;
}

static int run_filters(struct neap_sched *s, struct neap_sched_pod *p, struct neap_sched_node *n)
{
    for (unsigned i = 0; i < s->plugin_count; i++) {
        struct sched_plugin *x = &s->plugins[i];
        int rc = x->filters ? x->t.filter(x->self, x->filter_state, p, n) : NEAP_SCHED_OK;
        if (rc == NEAP_SCHED_OK)
            continue;
        s->refused_by |= UINT64_C(1) << i;
        if (rc == NEAP_SCHED_ERROR)
            broke(s, x);
        return rc;
    }
    return NEAP_SCHED_OK;
}

/* ---- pre_filter may leave few nodes: those that all plugins with an opinion named ---- */

void sched_limit(struct neap_sched *s, const char *name)
{
    struct neap_sched_node *n = neap_map_get(&s->nodes, name);
    s->limiting = true;
    if (!n)
        return;
    if (n->limit_epoch != s->limit_epoch) {
        n->limit_epoch = s->limit_epoch;
        n->named_by = 0;
    }
    if (n->named_by == s->limit_count)
        n->named_by++;
}

static bool left_out(const struct neap_sched *s, const struct neap_sched_node *n)
{
    return s->limit_count && (n->limit_epoch != s->limit_epoch || n->named_by != s->limit_count);
}

static int refuse_left_out(struct neap_sched *s)
{
    struct neap_buf b = NEAP_BUF_INIT;
    neap_buf_str(&b, "node(s) didn't satisfy plugin(s) [");
    for (unsigned i = 0; i < s->limit_count; i++) {
        neap_buf_printf(&b, "%s%s", i ? " " : "", s->plugins[s->limits[i]].name);
        s->refused_by |= UINT64_C(1) << s->limits[i];
    }
    neap_buf_char(&b, ']');
    sched_because(s, b.data);
    neap_buf_done(&b);
    return NEAP_SCHED_NEVER;
}

/* Pods of at least its priority that were promised the node count as if they were there. */
static unsigned count_nominated(struct neap_sched *s, const struct neap_sched_pod *p,
                                struct neap_sched_node *n, int sign)
{
    unsigned count = 0;
    neap_list_foreach(&n->nominated, e)
    {
        struct neap_sched_pod *q = neap_list_entry(e, struct neap_sched_pod, nomination);
        if (q == p || q->priority < p->priority || q->node)
            continue;
        sched_node_count(s, n, q, sign);
        count++;
    }
    return count;
}

int sched_filter(struct neap_sched *s, struct neap_sched_pod *p, struct neap_sched_node *n)
{
    s->because_count = 0;
    if (left_out(s, n))
        return refuse_left_out(s);
    if (neap_list_empty(&n->nominated) || !count_nominated(s, p, n, 1))
        return run_filters(s, p, n);
    int rc = run_filters(s, p, n);
    count_nominated(s, p, n, -1);
    /* it must fit without them as well: they may never come */
    return rc == NEAP_SCHED_OK ? run_filters(s, p, n) : rc;
}

void sched_cycle_end(struct neap_sched *s)
{
    for (unsigned i = 0; i < s->plugin_count; i++) {
        struct sched_plugin *x = &s->plugins[i];
        if (x->filter_state)
            x->t.state_free(x->self, x->filter_state);
        if (x->score_state)
            x->t.state_free(x->self, x->score_state);
        x->filter_state = x->score_state = NULL;
    }
}

/* ---- scores ---- */

static void score(struct neap_sched *s, struct sched_plugin *x, struct neap_sched_pod *p,
                  size_t count)
{
    for (size_t i = 0; i < count; i++)
        s->scores[i] = x->t.score(x->self, x->score_state, p, s->feasible[i]);
    if (x->t.normalize)
        x->t.normalize(x->self, x->score_state, p, s->feasible, s->scores, count);
    for (size_t i = 0; i < count; i++) {
        int64_t v = s->scores[i];
        v = v < 0 ? 0 : v > NEAP_SCHED_SCORE_MAX ? NEAP_SCHED_SCORE_MAX : v;
        s->totals[i] += v * x->weight;
    }
}

static uint64_t next_random(struct neap_sched *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random;
}

/* The best of s->feasible; among equals any, each as likely. */
struct neap_sched_node *sched_rank(struct neap_sched *s, struct neap_sched_pod *p, size_t count)
{
    size_t best = 0, equals = 1;
    if (count == 1)
        return (struct neap_sched_node *)s->feasible[0];
    memset(s->totals, 0, count * sizeof(*s->totals));
    for (unsigned i = 0; i < s->plugin_count; i++) {
        struct sched_plugin *x = &s->plugins[i];
        x->scores = x->t.score != NULL;
        if (x->scores && x->t.pre_score)
            x->scores =
                x->t.pre_score(x->self, p, s->feasible, count, &x->score_state) == NEAP_SCHED_OK;
        if (x->scores)
            score(s, x, p, count);
    }
    for (size_t i = 1; i < count; i++) {
        if (s->totals[i] > s->totals[best]) {
            best = i;
            equals = 1;
        } else if (s->totals[i] == s->totals[best] && next_random(s) % ++equals == 0) {
            best = i;
        }
    }
    return (struct neap_sched_node *)s->feasible[best];
}

/* ---- reserve, permit, bind ---- */

int sched_reserve(struct neap_sched *s, struct neap_sched_pod *p)
{
    for (unsigned i = 0; i < s->plugin_count; i++) {
        struct sched_plugin *x = &s->plugins[i];
        int rc = x->t.reserve ? x->t.reserve(x->self, p, p->node) : NEAP_SCHED_OK;
        if (rc == NEAP_SCHED_OK)
            continue;
        s->refused_by |= UINT64_C(1) << i;
        sched_unreserve(s, p);
        return rc;
    }
    return NEAP_SCHED_OK;
}

void sched_unreserve(struct neap_sched *s, struct neap_sched_pod *p)
{
    for (unsigned i = s->plugin_count; i-- > 0;)
        if (s->plugins[i].t.unreserve && p->node)
            s->plugins[i].t.unreserve(s->plugins[i].self, p, p->node);
}

int sched_permit(struct neap_sched *s, struct neap_sched_pod *p, uint64_t *ret_timeout_ms)
{
    int result = NEAP_SCHED_OK;
    for (unsigned i = 0; i < s->plugin_count; i++) {
        struct sched_plugin *x = &s->plugins[i];
        uint64_t ms = SCHED_PERMIT_LONGEST_MS;
        int rc = x->t.permit ? x->t.permit(x->self, p, p->node, &ms) : NEAP_SCHED_OK;
        if (rc == NEAP_SCHED_WAIT) {
            *ret_timeout_ms = ms < *ret_timeout_ms ? ms : *ret_timeout_ms;
            result = rc;
        } else if (rc != NEAP_SCHED_OK) {
            s->refused_by |= UINT64_C(1) << i;
            return rc;
        }
    }
    return result;
}

void sched_post_bind(struct neap_sched *s, struct neap_sched_pod *p)
{
    for (unsigned i = 0; i < s->plugin_count; i++)
        if (s->plugins[i].t.post_bind && p->node)
            s->plugins[i].t.post_bind(s->plugins[i].self, p, p->node);
}
