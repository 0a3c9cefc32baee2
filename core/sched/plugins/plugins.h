/* The built-in plugins: one file each, written against neap/plugin/scheduler.h alone (and core/base). A
 * plugin's `self` is the table of views. Words, rules and weights: kube-scheduler's default profile. */
#ifndef NEAP_CORE_SCHED_PLUGINS_H
#define NEAP_CORE_SCHED_PLUGINS_H

#include <neap/base.h>
#include <neap/plugin/scheduler.h>

extern const struct neap_scheduler_plugin sched_plugin_node_name, sched_plugin_node_unschedulable,
    sched_plugin_taint_toleration, sched_plugin_node_affinity, sched_plugin_node_ports,
    sched_plugin_resources_fit, sched_plugin_balanced, sched_plugin_topology_spread,
    sched_plugin_interpod_affinity;

#define SCHED_HEADER(name)                                                                         \
    {                                                                                              \
        NEAP_PLUGIN_MAGIC, NEAP_PLUGIN_ABI_MAJOR, NEAP_PLUGIN_ABI_MINOR,                           \
            sizeof(struct neap_scheduler_plugin), NEAP_PLUGIN_SCHEDULER, name, "0.1", NULL         \
    }

/* self = the views */
static inline int sched_configure(const struct neap_host *host,
                                  const struct neap_sched_views *views, void **ret_self)
{
    (void)host;
    *ret_self = (void *)(uintptr_t)views;
    return 0;
}

/* Brings scores to 0..100 by the largest; <reverse>: the largest becomes 0. */
static inline void sched_normalize(int64_t *scores, size_t count, bool reverse)
{
    int64_t most = 0;
    for (size_t i = 0; i < count; i++)
        most = scores[i] > most ? scores[i] : most;
    for (size_t i = 0; i < count; i++) {
        if (most)
            scores[i] = scores[i] * NEAP_SCHED_SCORE_MAX / most;
        if (reverse)
            scores[i] = NEAP_SCHED_SCORE_MAX - scores[i];
    }
}

/* ---- node_affinity.c, taint_toleration.c: shared with topology spread ---- */
/* The pod's nodeSelector and required node affinity. <pod>: its value. */
bool sched_affinity_required(const struct neap_sched_views *v, const struct neap_value *pod,
                             const struct neap_sched_node *node);
/* Some taint of these effects is not tolerated. */
bool sched_untolerated(const struct neap_sched_views *v, const struct neap_value *pod,
                       const struct neap_sched_node *node);
bool sched_tolerates(const struct neap_sched_views *v, const struct neap_value *pod,
                     const char *key, const char *value, const char *effect);

static inline const char *sched_text(const struct neap_sched_views *v,
                                     const struct neap_value *object, const char *name)
{
    const char *s = v->text(v->get(object, name));
    return s ? s : "";
}

#endif
