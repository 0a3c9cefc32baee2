/* pods/eviction: a deletion that the pod's disruption budget may refuse. The budget's count goes down in the same
 * transaction as the pod: two evictions never spend the same disruption.
 * Source: Kubernetes documentation, "API-initiated Eviction", "Specifying a Disruption Budget for your Application". */
#include "special.h"

enum { DISRUPTED_PODS_MAX = 2000, BUSY_RETRY_S = 10 };

static const char REFUSED[] = "Cannot evict pod as it would violate the pod's disruption budget.";

/* ---- the call ---- */

static int check_name(struct neap_call *c, yyjson_mut_val *root, struct neap_err *err)
{
    const char *name = neap_json_str_at(root, "metadata.name");
    if (neap_streq(name, c->name))
        return 0;
    return neap_err_set(err, NEAP_EBADREQUEST,
                        "name in URL does not match name in Eviction object");
}

/* The eviction's options become the body of the deletion. */
static void take_options(struct neap_call *c, yyjson_mut_val *options)
{
    struct neap_buf body = NEAP_BUF_INIT;
    if (options)
        neap_json_write_sorted(&body, options);
    c->body = body.len ? neap_arena_strndup(c->arena, body.data, body.len) : NULL;
    c->body_len = c->body ? body.len : 0;
    c->content_type = NULL;
    neap_buf_done(&body);
}

void rest_eviction(struct neap_call *c)
{
    const struct neap_type *type = neap_type_by_name("io.k8s.api.policy.v1.Eviction");
    yyjson_mut_doc *doc;
    if (rest_negotiate(c, false, &c->err) ||
        rest_body_object(c, c->kind, type, "Eviction", &doc, &c->err) ||
        check_name(c, yyjson_mut_doc_get_root(doc), &c->err)) {
        rest_fail(c);
        return;
    }
    take_options(c, yyjson_mut_obj_get(yyjson_mut_doc_get_root(doc), "deleteOptions"));
    rest_call_of(c)->evicting = true;
    rest_delete(c);
}

/* ---- the pod ---- */

static yyjson_mut_val *condition(yyjson_mut_val *root, const char *type)
{
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(neap_json_at(root, "status.conditions"));
    for (yyjson_mut_val *e; (e = yyjson_mut_arr_iter_next(&it));)
        if (neap_streq(neap_json_str_at(e, "type"), type))
            return e;
    return NULL;
}

/* Whether it counts for a budget at all: it has started, has not ended, and is not going. */
static bool counts(const struct rest_write *w)
{
    const char *phase = neap_json_str_at(w->old_root, "status.phase");
    bool running = !neap_streq(phase, "Succeeded") && !neap_streq(phase, "Failed") &&
                   !neap_streq(phase, "Pending");
    return running && !neap_object_deleting(w->old);
}

static bool ready(const struct rest_write *w)
{
    return neap_streq(neap_json_str_at(condition(w->old_root, "Ready"), "status"), "True");
}

/* Sets a condition of <root>'s status; its time stays when its status does. */
static void set_condition(struct rest_write *w, yyjson_mut_doc *doc, yyjson_mut_val *root,
                          const char *const texts[4] /* type, status, reason, message */)
{
    static const char *const names[] = {"type", "status", "reason", "message"};
    char now[32];
    yyjson_mut_val *c = condition(root, texts[0]), *list = neap_json_at(root, "status.conditions");
    bool same = c && neap_streq(neap_json_str_at(c, "status"), texts[1]);
    if (!list) {
        list = yyjson_mut_arr(doc);
        neap_json_set_at(doc, root, "status.conditions", list);
    }
    if (!c) {
        c = yyjson_mut_obj(doc);
        yyjson_mut_arr_append(list, c);
    }
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++)
        neap_json_set_at(doc, c, names[i], yyjson_mut_strcpy(doc, texts[i]));
    neap_time_format(neap_clock_wall(rest_of(w->call)->options.clock), now);
    if (!same)
        neap_json_set_at(doc, c, "lastTransitionTime", yyjson_mut_strcpy(doc, now));
}

/* ---- its budget ---- */

static const struct neap_kind *budgets(void)
{
    return neap_kind_by_resource("policy", "v1", "poddisruptionbudgets");
}

static bool selects(struct neap_object *budget, const struct neap_object *pod)
{
    struct neap_selector *s = NULL;
    struct neap_err why = NEAP_ERR_INIT;
    yyjson_doc *doc = neap_object_parse(budget, NULL);
    yyjson_val *selector = neap_json_val_at(yyjson_doc_get_root(doc), "spec.selector");
    bool yes = selector && neap_selector_from_label_selector(selector, &s, &why) == 0 &&
               neap_selector_match(s, pod);
    neap_selector_free(s);
    neap_err_done(&why);
    yyjson_doc_free(doc);
    return yes;
}

static int find_budget(struct rest_write *w, struct neap_object **ret, struct neap_err *err)
{
    struct neap_iter it;
    *ret = NULL;
    neap_iter_init(&it, rest_pin(w->call), budgets(), w->namespace_, NULL);
    for (struct neap_object *o; (o = neap_iter_next(&it));) {
        if (!selects(o, w->old))
            continue;
        if (*ret)
            return neap_err_set(err, NEAP_EPLAIN,
                                "This pod has more than one PodDisruptionBudget, which the "
                                "eviction subresource does not support.");
        *ret = o;
    }
    return 0;
}

static int64_t count_of(yyjson_mut_val *budget, const char *path)
{
    return yyjson_mut_get_sint(neap_json_at(budget, path));
}

static int busy(const char *name, int retry_s, struct neap_err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static int busy(const char *name, int retry_s, struct neap_err *err, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap); // NOLINT(clang-analyzer-valist.Uninitialized)
    va_end(ap);
    neap_err_set(err, NEAP_ETOOMANYREQUESTS, "%s", REFUSED);
    err->details.retry_after_s = retry_s;
    neap_err_cause(err, "DisruptionBudget", NULL, "The disruption budget %s %s", name, text);
    err->code = NEAP_ETOOMANYREQUESTS;
    return NEAP_ETOOMANYREQUESTS;
}

static int forbidden(const char *name, const char *text, const char *cause, struct neap_err *err)
{
    rest_err_forbidden(err, budgets(), name, text);
    neap_err_cause(err, "DisruptionBudget", NULL,
                   "The disruption budget %s does not allow evicting pods currently: %s", name,
                   cause);
    err->code = NEAP_EFORBIDDEN;
    return NEAP_EFORBIDDEN;
}

static int none_left(const char *name, yyjson_mut_val *budget, struct neap_err *err)
{
    yyjson_mut_val *c = condition(budget, "DisruptionAllowed");
    const char *why = neap_json_str_at(c, "message"), *reason = neap_json_str_at(c, "reason");
    int64_t desired = count_of(budget, "status.desiredHealthy");
    int64_t healthy = count_of(budget, "status.currentHealthy");
    bool told = why && *why && neap_streq(neap_json_str_at(c, "status"), "False");
    if (told && neap_streq(reason, "SyncFailed"))
        return busy(name, 0, err,
                    "does not allow evicting pods currently because it failed sync: %s", why);
    if (healthy <= desired)
        return busy(name, 0, err, "needs %lld healthy pods and has %lld currently",
                    (long long)desired, (long long)healthy);
    if (told)
        return busy(name, 0, err, "does not allow evicting pods currently (%s): %s", reason, why);
    return busy(name, 0, err, "does not allow evicting pods currently");
}

static int may_disrupt(const char *name, yyjson_mut_val *budget, struct neap_err *err)
{
    int64_t allowed = count_of(budget, "status.disruptionsAllowed");
    if (count_of(budget, "status.observedGeneration") < count_of(budget, "metadata.generation"))
        return busy(name, BUSY_RETRY_S, err, "is still being processed by the server.");
    if (allowed < 0)
        return forbidden(name, "pdb disruptions allowed is negative",
                         "pdb disruptions allowed is negative", err);
    if (yyjson_mut_obj_size(neap_json_at(budget, "status.disruptedPods")) > DISRUPTED_PODS_MAX)
        return forbidden(name,
                         "DisruptedPods map too big - too many evictions not confirmed by PDB "
                         "controller",
                         "too many pending evictions not confirmed by PDB controller", err);
    return allowed ? 0 : none_left(name, budget, err);
}

/* One disruption less, and whose it is: the controller sees the pod's end later. */
static int spend(struct rest_write *w, struct neap_object *o, yyjson_mut_doc *doc,
                 struct neap_err *err)
{
    static const char *const none[] = {"DisruptionAllowed", "False", "InsufficientPods", ""};
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    int64_t left = count_of(root, "status.disruptionsAllowed") - 1;
    char now[32];
    neap_time_format(neap_clock_wall(rest_of(w->call)->options.clock), now);
    neap_json_set_at(doc, root, "status.disruptionsAllowed", yyjson_mut_sint(doc, left));
    yyjson_mut_val *disrupted = neap_json_at(root, "status.disruptedPods");
    if (!disrupted) {
        disrupted = yyjson_mut_obj(doc);
        neap_json_set_at(doc, root, "status.disruptedPods", disrupted);
    }
    yyjson_mut_obj_remove_key(disrupted, w->name);
    yyjson_mut_obj_add(disrupted, yyjson_mut_strcpy(doc, w->name), yyjson_mut_strcpy(doc, now));
    if (!left) {
        set_condition(w, doc, root, none);
        neap_json_set_at(doc, condition(root, none[0]), "observedGeneration",
                         yyjson_mut_sint(doc, count_of(root, "status.observedGeneration")));
    }
    yyjson_mut_obj_remove_key(neap_json_at(root, "metadata"), "resourceVersion");

    struct neap_buf json = NEAP_BUF_INIT, key = NEAP_BUF_INIT;
    struct neap_object *draft = NULL;
    neap_kind_write(&json, root, budgets()->type);
    int rc = neap_object_new(budgets(), json.data, json.len, 0, 0, &draft, err);
    neap_object_key_make(&key, budgets(), w->namespace_, neap_object_name(o));
    if (!rc && !rest_write_also(w, budgets(), key.data, neap_object_revision(o), draft))
        rc = neap_err_set(err, NEAP_ETOOLARGE, "the request is too large");
    neap_buf_done(&json);
    neap_buf_done(&key);
    return rc;
}

/* A pod that is not ready may go when its budget says so, or is healthy without it. */
static bool spends_nothing(const struct rest_write *w, yyjson_mut_val *budget)
{
    int64_t desired = count_of(budget, "status.desiredHealthy");
    if (ready(w))
        return false;
    return neap_streq(neap_json_str_at(budget, "spec.unhealthyPodEvictionPolicy"), "AlwaysAllow") ||
           (desired > 0 && count_of(budget, "status.currentHealthy") >= desired);
}

static int ask_budget(struct rest_write *w, struct neap_err *err)
{
    struct neap_object *o;
    int rc = find_budget(w, &o, err);
    if (rc || !o)
        return rc;
    yyjson_mut_doc *doc = rest_object_doc(w->call->arena, o, budgets());
    if (!doc)
        return neap_err_set(err, NEAP_ETOOLARGE, "the request is too large");
    yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
    if (spends_nothing(w, root))
        return 0;
    rc = may_disrupt(neap_object_name(o), root, err);
    return rc ? rc : spend(w, o, doc, err);
}

int rest_evict(struct rest_write *w, struct neap_err *err)
{
    static const char *const target[] = {"DisruptionTarget", "True", "EvictionByEvictionAPI",
                                         "Eviction API: evicting"};
    int rc = counts(w) ? ask_budget(w, err) : 0;
    if (!rc)
        set_condition(w, w->doc, w->root, target);
    return rc;
}
