/* Certificate signing requests: who asks is written by the server; only /approval may add or take away an
 * approval or a denial; conditions carry their times.
 * Source: Kubernetes documentation, "Certificates and Certificate Signing Requests". */
#include "strategy.h"

static const char CONDITIONS[] = "status.conditions";

static yyjson_mut_val *text(struct rest_write *w, const char *s)
{
    return yyjson_mut_strcpy(w->doc, s);
}

int rest_csr_create(struct rest_write *w, struct neap_err *err)
{
    const struct neap_identity *id = w->call->identity;
    yyjson_mut_val *groups = yyjson_mut_arr(w->doc);
    (void)err;
    if (!id)
        return 0;
    for (const char *const *g = id->groups; g && *g; g++)
        yyjson_mut_arr_append(groups, text(w, *g));
    neap_json_set_at(w->doc, w->root, "spec.username", text(w, id->user));
    neap_json_set_at(w->doc, w->root, "spec.uid", id->uid && *id->uid ? text(w, id->uid) : NULL);
    neap_json_set_at(w->doc, w->root, "spec.groups", yyjson_mut_arr_size(groups) ? groups : NULL);
    return 0;
}

/* The condition of <type> at or behind *at, whose place *at becomes; NULL: none. */
static yyjson_mut_val *next_of_type(yyjson_mut_val *list, const char *type, size_t *at)
{
    for (; *at < yyjson_mut_arr_size(list); (*at)++) {
        yyjson_mut_val *c = yyjson_mut_arr_get(list, *at);
        if (yyjson_mut_equals_str(yyjson_mut_obj_get(c, "type"), type))
            return c;
    }
    return NULL;
}

/* Puts the old conditions of <type> in the place of the new ones; false: there are more or fewer. */
static bool preserve(struct rest_write *w, const char *type)
{
    yyjson_mut_val *list = neap_json_at(w->root, CONDITIONS);
    yyjson_mut_val *old_list = neap_json_at(w->old_root, CONDITIONS);
    for (size_t i = 0, j = 0;; i++, j++) {
        yyjson_mut_val *c = next_of_type(list, type, &i);
        yyjson_mut_val *old = next_of_type(old_list, type, &j);
        if (!c || !old)
            return !c && !old;
        yyjson_mut_arr_replace(list, i, yyjson_mut_val_mut_copy(w->doc, old));
    }
}

/* The time of the last change of a condition: kept while its status is. */
static const char *transition_time(struct rest_write *w, yyjson_mut_val *condition, const char *now)
{
    const char *type = yyjson_mut_get_str(yyjson_mut_obj_get(condition, "type"));
    yyjson_mut_val *list = neap_json_at(w->old_root, CONDITIONS), *old;
    for (size_t i = 0; type && (old = next_of_type(list, type, &i)); i++) {
        const char *time = yyjson_mut_get_str(yyjson_mut_obj_get(old, "lastTransitionTime"));
        if (time && neap_json_equal(yyjson_mut_obj_get(old, "status"),
                                    yyjson_mut_obj_get(condition, "status")))
            return time;
    }
    return now;
}

static void fill_time(struct rest_write *w, yyjson_mut_val *condition, const char *name,
                      const char *time)
{
    if (!yyjson_mut_is_str(yyjson_mut_obj_get(condition, name)))
        yyjson_mut_obj_put(condition, text(w, name), text(w, time));
}

static void fill_times(struct rest_write *w)
{
    yyjson_mut_arr_iter it;
    char now[32];
    neap_time_format(neap_clock_wall(rest_of(w->call)->options.clock), now);
    if (!yyjson_mut_arr_iter_init(neap_json_at(w->root, CONDITIONS), &it))
        return;
    for (yyjson_mut_val *c; (c = yyjson_mut_arr_iter_next(&it));) {
        fill_time(w, c, "lastUpdateTime", now);
        fill_time(w, c, "lastTransitionTime", transition_time(w, c, now));
    }
}

int rest_csr_update(struct rest_write *w, struct neap_err *err)
{
    (void)err;
    if (!w->subresource)
        return 0;
    if (strcmp(w->subresource->name, "approval") != 0 &&
        !(preserve(w, "Approved") && preserve(w, "Denied"))) {
        yyjson_mut_val *old = neap_json_at(w->old_root, CONDITIONS);
        neap_json_set_at(w->doc, w->root, CONDITIONS,
                         old ? yyjson_mut_val_mut_copy(w->doc, old) : NULL);
    }
    fill_times(w);
    return 0;
}
