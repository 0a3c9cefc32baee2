/* Jobs and cron jobs: counts, completion, failure and success policies, schedules.
 * Source: Kubernetes documentation, "Jobs", "CronJob". */
#include "cron.h"
#include "shapes.h"

#define SELECTOR "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"

enum { INDEXED_PARALLELISM_MAX = 100000, COMPLETIONS_SOFT_LIMIT = 100000, HIGH_LIMIT = 10000 };

/* ---- failure policy ---- */

static void check_exit_codes(struct rest_validation *v, path p, json *codes, json *pod)
{
    static const char *const operators[] = {"In", "NotIn", NULL};
    json *values = get(codes, "values");
    path at = AT(p, "values");
    struct neap_map seen = NEAP_MAP_INIT;
    bool ordered = true, known = !has(codes, "containerName");
    static const char *const lists[] = {"containers", "initContainers"};
    for (int i = 0; i < 2; i++)
        EACH(e, get(pod, lists[i]))
    known = known || is(e.item, "name", text(codes, "containerName"));
    if (!*text(codes, "operator"))
        rest_required(v, AT(p, "operator"), "valid values: [\"In\" \"NotIn\"]");
    else
        rest_check_one_of(v, AT(p, "operator"), text(codes, "operator"), false, operators);
    if (!known)
        rest_invalid(v, AT(p, "containerName"), get(codes, "containerName"),
                     "must be one of the container or initContainer names in the pod template");
    if (!size(values))
        rest_invalid(v, at, values, "at least one value is required");
    else if (size(values) > 255)
        rest_too_many(v, at, size(values), 255);
    EACH(e, values)
    {
        char key[24];
        int64_t n = yyjson_mut_get_sint(e.item);
        snprintf(key, sizeof(key), "%lld", (long long)n);
        if (is(codes, "operator", "In") && n == 0)
            rest_invalid(v, ITEM(at, e.i), e.item, "must not be 0 for the In operator");
        if (!rest_set_add(&seen, key))
            rest_duplicate(v, ITEM(at, e.i), e.item);
        if (e.i && yyjson_mut_get_sint(yyjson_mut_arr_get(values, e.i - 1)) > n)
            ordered = false;
    }
    if (!ordered)
        rest_invalid(v, at, values, "must be ordered");
    neap_map_done(&seen, NULL);
}

static void check_conditions(struct rest_validation *v, path p, json *list)
{
    static const char *const values[] = {"False", "True", "Unknown", NULL};
    if (size(list) > 20)
        rest_too_many(v, p, size(list), 20);
    EACH(e, list)
    {
        path at = ITEM(p, e.i);
        rest_check_words(v, AT(at, "type"), text(e.item, "type"), rest_words_qualified_name);
        if (!*text(e.item, "status"))
            rest_required(v, AT(at, "status"), "valid values: [\"False\" \"True\" \"Unknown\"]");
        else
            rest_check_one_of(v, AT(at, "status"), text(e.item, "status"), false, values);
    }
}

static void check_failure_rule(struct rest_validation *v, path p, json *rule, json *spec)
{
    static const char *const actions[] = {"Count", "FailIndex", "FailJob", "Ignore", NULL};
    json *codes = get(rule, "onExitCodes"), *conditions = get(rule, "onPodConditions");
    if (!*text(rule, "action"))
        rest_required(v, AT(p, "action"),
                      "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
    else if (!is(rule, "action", "FailIndex"))
        rest_check_one_of(v, AT(p, "action"), text(rule, "action"), false, actions);
    else if (!has(spec, "backoffLimitPerIndex"))
        rest_invalid(v, AT(p, "action"), get(rule, "action"),
                     "requires the backoffLimitPerIndex to be set");
    if (codes)
        check_exit_codes(v, AT(p, "onExitCodes"), codes, neap_json_at(spec, "template.spec"));
    check_conditions(v, AT(p, "onPodConditions"), conditions);
    if (codes && size(conditions))
        rest_invalid_shown(v, p, NULL,
                           "specifying both OnExitCodes and OnPodConditions is not supported");
    if (!codes && !size(conditions))
        rest_invalid_shown(v, p, NULL,
                           "specifying one of OnExitCodes and OnPodConditions is required");
}

/* ---- success policy ---- */

/* One part of "1,3-5"; false: *ret_why. */
static bool index_interval(const char *s, size_t n, int64_t completions, int64_t range[2],
                           char why[160])
{
    char part[2][64];
    const char *dash = memchr(s, '-', n);
    size_t first = dash ? (size_t)(dash - s) : n;
    if (dash && memchr(dash + 1, '-', n - first - 1)) {
        snprintf(why, 160,
                 "the fragment \"%.*s\" violates the requirement that an index interval can have "
                 "at most two parts separated by '-'",
                 (int)(n > 40 ? 40 : n), s);
        return false;
    }
    snprintf(part[0], 64, "%.*s", (int)first, s);
    snprintf(part[1], 64, "%.*s", dash ? (int)(n - first - 1) : 0, dash ? dash + 1 : "");
    for (int i = 0; i < (dash ? 2 : 1); i++) {
        char *end;
        range[i] = strtoll(part[i], &end, 10);
        if (!*part[i] || *end) {
            snprintf(why, 160, "cannot convert string to integer for index: \"%.63s\"", part[i]);
            return false;
        }
        if (range[i] >= completions) {
            snprintf(why, 160, "too large index: \"%.63s\"", part[i]);
            return false;
        }
    }
    if (!dash)
        range[1] = range[0];
    else if (range[0] >= range[1])
        snprintf(why, 160, "non-increasing order, previous: %lld, current: %lld",
                 (long long)range[0], (long long)range[1]);
    return !dash || range[0] < range[1];
}

/* How many indexes a text like "0,2-4" names; -1: *why. */
static int64_t index_total(const char *s, int64_t completions, char why[160])
{
    int64_t total = 0, last = -1, range[2];
    for (bool any = *s != '\0'; any;) {
        size_t n = strcspn(s, ",");
        if (!index_interval(s, n, completions, range, why))
            return -1;
        if (last >= range[0]) {
            snprintf(why, 160, "non-increasing order, previous: %lld, current: %lld",
                     (long long)last, (long long)range[0]);
            return -1;
        }
        total += range[1] - range[0] + 1;
        last = range[1];
        any = s[n] == ',';
        s += n + any;
    }
    return total;
}

static void check_success_rule(struct rest_validation *v, path p, json *rule, json *spec)
{
    json *count = get(rule, "succeededCount"), *indexes = get(rule, "succeededIndexes");
    int64_t completions = number(spec, "completions"), total = 0;
    int64_t n = yyjson_mut_get_sint(count);
    char why[160] = "";
    path at = AT(p, "succeededCount");
    if (!count && !indexes)
        rest_required(v, p, "at least one of succeededCount or succeededIndexes must be specified");
    if (indexes && yyjson_mut_get_len(indexes) > 64 << 10)
        rest_too_long(v, AT(p, "succeededIndexes"), 64 << 10);
    if (indexes && (total = index_total(string_of(indexes), completions, why)) < 0)
        rest_invalid(v, AT(p, "succeededIndexes"), indexes, "error parsing succeededIndexes: %s",
                     why);
    if (!count)
        return;
    rest_check_not_negative(v, at, count);
    if (n > completions)
        rest_invalid(v, at, count,
                     "must be less than or equal to %lld (the number of specified completions)",
                     (long long)completions);
    if (indexes && total >= 0 && n > total)
        rest_invalid(v, at, count,
                     "must be less than or equal to %lld (the number of indexes in the specified "
                     "succeededIndexes field)",
                     (long long)total);
}

static void check_success_policy(struct rest_validation *v, path p, json *spec)
{
    json *rules = get(get(spec, "successPolicy"), "rules");
    path at = AT(p, "rules");
    if (!size(rules))
        rest_required(v, at,
                      "at least one rules must be specified when the successPolicy is specified");
    if (size(rules) > 20)
        rest_too_many(v, at, size(rules), 20);
    EACH(e, rules)
    check_success_rule(v, ITEM(at, e.i), e.item, spec);
}

/* ---- the spec of a job ---- */

static void check_managed_by(struct rest_validation *v, path p, const char *s)
{
    char host[256];
    const char *slash = strchr(s, '/');
    if (!*s) {
        rest_required(v, p, NO_WHY);
    } else if (!slash || slash == s || !slash[1]) {
        rest_invalid_string(v, p, s, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    } else {
        snprintf(host, sizeof(host), "%.*s", (int)(slash - s > 255 ? 255 : slash - s), s);
        rest_check_words(v, p, host, rest_words_dns_subdomain);
    }
    if (strlen(s) > 63)
        rest_too_long(v, p, 63);
}

static void limit(struct rest_validation *v, path p, json *spec, const char *field, int64_t max,
                  const char *tail)
{
    if (number(spec, field) > max)
        rest_invalid(v, AT(p, field), get(spec, field), "must be less than or equal to %lld%s",
                     (long long)max, tail);
}

static void check_indexed(struct rest_validation *v, path p, json *spec)
{
    int64_t completions = number(spec, "completions");
    static const char high[] =
        " when completions are above 100000 and used with backoff limit per index";
    if (!has(spec, "completions"))
        rest_required(v, AT(p, "completions"), "when completion mode is Indexed");
    limit(v, p, spec, "parallelism", INDEXED_PARALLELISM_MAX, " when completion mode is Indexed");
    if (has(spec, "completions") && number(spec, "maxFailedIndexes") > completions)
        rest_invalid(v, AT(p, "maxFailedIndexes"), get(spec, "maxFailedIndexes"),
                     "must be less than or equal to completions");
    limit(v, p, spec, "maxFailedIndexes", INDEXED_PARALLELISM_MAX, "");
    if (completions <= COMPLETIONS_SOFT_LIMIT || !has(spec, "backoffLimitPerIndex"))
        return;
    if (!has(spec, "maxFailedIndexes"))
        rest_required(v, AT(p, "maxFailedIndexes"),
                      "must be specified when completions is above 100000");
    limit(v, p, spec, "parallelism", HIGH_LIMIT, high);
    limit(v, p, spec, "maxFailedIndexes", HIGH_LIMIT, high);
}

static void check_completion_mode(struct rest_validation *v, path p, json *spec)
{
    static const char *const modes[] = {"NonIndexed", "Indexed", NULL};
    static const char *const fields[] = {"backoffLimitPerIndex", "maxFailedIndexes"};
    if (has(spec, "completionMode"))
        rest_check_one_of(v, AT(p, "completionMode"), text(spec, "completionMode"), false, modes);
    if (is(spec, "completionMode", "Indexed"))
        check_indexed(v, p, spec);
    if (has(spec, "completionMode") && !is(spec, "completionMode", "NonIndexed"))
        return;
    for (int i = 0; i < 2; i++)
        if (has(spec, fields[i]))
            rest_invalid(v, AT(p, fields[i]), get(spec, fields[i]),
                         "requires indexed completion mode");
}

static void check_policies(struct rest_validation *v, path p, json *spec)
{
    static const char *const replacement[] = {"Failed", "TerminatingOrFailed", NULL};
    static const char *const failed[] = {"Failed", NULL};
    json *failure = get(spec, "podFailurePolicy"), *rules = get(failure, "rules");
    path list = AT(AT(p, "podFailurePolicy"), "rules");
    if (size(rules) > 20)
        rest_too_many(v, list, size(rules), 20);
    EACH(e, rules)
    check_failure_rule(v, ITEM(list, e.i), e.item, spec);
    if (has(spec, "successPolicy") && !is(spec, "completionMode", "Indexed"))
        rest_invalid_go(v, AT(p, "successPolicy"), get(spec, "successPolicy"), "SuccessPolicy",
                        "requires indexed completion mode");
    else if (has(spec, "successPolicy"))
        check_success_policy(v, AT(p, "successPolicy"), spec);
    if (has(spec, "podReplacementPolicy"))
        rest_check_one_of(v, AT(p, "podReplacementPolicy"), text(spec, "podReplacementPolicy"),
                          false, failure ? failed : replacement);
}

static void check_restart_policy(struct rest_validation *v, path p, json *spec)
{
    static const char *const policies[] = {"OnFailure", "Never", NULL};
    const char *policy = string_of(neap_json_at(spec, "template.spec.restartPolicy"));
    path at = AT(AT(AT(p, "template"), "spec"), "restartPolicy");
    if (!*policy || strcmp(policy, "Always") == 0)
        rest_required(v, at, "valid values: \"OnFailure\", \"Never\"");
    else if (!rest_check_one_of(v, at, policy, false, policies))
        return;
    else if (has(spec, "podFailurePolicy") && strcmp(policy, "Never"))
        rest_invalid_string(v, at, policy,
                            "only \"Never\" is supported when podFailurePolicy is specified");
}

static void check_job_spec(struct rest_validation *v, path p, json *spec)
{
    static const char *const numbers[] = {"parallelism",
                                          "completions",
                                          "activeDeadlineSeconds",
                                          "backoffLimit",
                                          "ttlSecondsAfterFinished",
                                          "backoffLimitPerIndex",
                                          "maxFailedIndexes",
                                          NULL};
    rest_check_not_negative_fields(v, p, spec, numbers);
    if (has(spec, "managedBy"))
        check_managed_by(v, AT(p, "managedBy"), text(spec, "managedBy"));
    check_completion_mode(v, p, spec);
    check_policies(v, p, spec);
    rest_check_pod_template(v, AT(p, "template"), get(spec, "template"));
    check_restart_policy(v, p, spec);
}

/* ---- jobs ---- */

static const char *const job_labels[] = {"controller-uid", "job-name",
                                         "batch.kubernetes.io/controller-uid",
                                         "batch.kubernetes.io/job-name"};

/* A selector that the server made matches the labels that it gives. */
static void check_generated(struct rest_validation *v, json *spec)
{
    json *selector = get(spec, "selector");
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    json *labels = yyjson_mut_obj(doc), *meta = get(v->root, "metadata");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(job_labels); i++)
        yyjson_mut_obj_add_strcpy(doc, labels, job_labels[i], text(meta, i % 2 ? "name" : "uid"));
    if (!rest_selector_matches(selector, labels)) {
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        rest_show_type(&b, selector, SELECTOR);
        rest_invalid_shown(v, AT(AT(NULL, "spec"), "selector"), b.data,
                           "`selector` not auto-generated");
    }
    yyjson_mut_doc_free(doc);
}

static void check_selector(struct rest_validation *v, path p, json *spec)
{
    json *selector = get(spec, "selector"),
         *labels = neap_json_at(spec, "template.metadata.labels");
    path at = AT(AT(AT(p, "template"), "metadata"), "labels");
    if (!selector)
        rest_required(v, AT(p, "selector"), NO_WHY);
    rest_check_label_selector(v, AT(p, "selector"), selector);
    if (!rest_selector_matches(selector, labels))
        rest_invalid(v, at, labels, "`selector` does not match template `labels`");
}

/* Pods of an Indexed job are called after it: name-index has to be a label. */
static void check_pod_names(struct rest_validation *v, json *spec)
{
    struct rest_problems found = {0};
    const char *name = text(get(v->root, "metadata"), "name");
    if (!is(spec, "completionMode", "Indexed") || number(spec, "completions") <= 0)
        return;
    char *host = neap_asprintf("%s-%lld", name, (long long)number(spec, "completions") - 1);
    rest_words_dns_label(&found, host);
    if (found.count)
        rest_invalid_string(v, AT(AT(NULL, "metadata"), "name"), name,
                            "will not able to create pod with invalid DNS label: %s", host);
    free(host);
}

static void take(yyjson_mut_doc *doc, json *to, json *from, const char *name)
{
    yyjson_mut_obj_remove_key(to, name);
    if (has(from, name))
        yyjson_mut_obj_add_val(doc, to, name, yyjson_mut_val_mut_copy(doc, get(from, name)));
}

/* What a job that waits may change: where its pods run, and what they ask for. */
static void take_directives(yyjson_mut_doc *doc, json *old, json *now)
{
    static const char *const fields[] = {"nodeSelector", "tolerations", "schedulingGates"};
    static const char *const lists[] = {"containers", "initContainers"};
    json *old_spec = get(old, "spec"), *spec = get(now, "spec");
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++)
        take(doc, old_spec, spec, fields[i]);
    if (has(old_spec, "affinity") && has(spec, "affinity"))
        take(doc, get(old_spec, "affinity"), get(spec, "affinity"), "nodeAffinity");
    else
        take(doc, old_spec, spec, "affinity");
    take(doc, old, now, "metadata");
    for (int i = 0; i < 2; i++)
        EACH(e, get(old_spec, lists[i]))
        {
            json *c = yyjson_mut_arr_get(get(spec, lists[i]), e.i);
            if (rest_same(get(c, "name"), get(e.item, "name")))
                take(doc, e.item, c, "resources");
        }
}

static void check_template_frozen(struct rest_validation *v, path p, json *spec, json *old)
{
    json *now = get(spec, "template");
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    json *before = yyjson_mut_val_mut_copy(doc, get(old, "template"));
    if (flag(old, "suspend") && !neap_json_at(v->old_root, "status.startTime"))
        take_directives(doc, before, now);
    if (!neap_json_equal(now, before))
        rest_invalid_go(v, AT(p, "template"), now, "PodTemplateSpec", "field is immutable");
    yyjson_mut_doc_free(doc);
}

static void check_completions(struct rest_validation *v, path p, json *spec, json *old)
{
    if (!is(spec, "completionMode", "Indexed"))
        rest_check_immutable(v, p, get(spec, "completions"), get(old, "completions"), NULL);
    else if (has(spec, "completions") &&
             !rest_same(get(spec, "completions"), get(old, "completions")) &&
             number(spec, "completions") != number(spec, "parallelism"))
        rest_invalid(v, p, get(spec, "completions"),
                     "can only be modified in tandem with spec.parallelism");
}

static void check_job_update(struct rest_validation *v, path p, json *spec, json *old)
{
    check_completions(v, AT(p, "completions"), spec, old);
    rest_check_immutable(v, AT(p, "selector"), get(spec, "selector"), get(old, "selector"),
                         SELECTOR);
    check_template_frozen(v, p, spec, old);
    rest_check_immutable(v, AT(p, "completionMode"), get(spec, "completionMode"),
                         get(old, "completionMode"), NULL);
    if (!rest_same(get(spec, "podFailurePolicy"), get(old, "podFailurePolicy")))
        rest_invalid_go(v, AT(p, "podFailurePolicy"), get(spec, "podFailurePolicy"),
                        "PodFailurePolicy", "field is immutable");
    rest_check_immutable(v, AT(p, "backoffLimitPerIndex"), get(spec, "backoffLimitPerIndex"),
                         get(old, "backoffLimitPerIndex"), NULL);
    rest_check_immutable(v, AT(p, "managedBy"), get(spec, "managedBy"), get(old, "managedBy"),
                         NULL);
    if (!rest_same(get(spec, "successPolicy"), get(old, "successPolicy")))
        rest_invalid_go(v, AT(p, "successPolicy"), get(spec, "successPolicy"), "SuccessPolicy",
                        "field is immutable");
}

static void check_job_status(struct rest_validation *v)
{
    static const char *const numbers[] = {"active", "succeeded",   "failed",
                                          "ready",  "terminating", NULL};
    rest_check_not_negative_fields(v, AT(NULL, "status"), get(v->root, "status"), numbers);
}

void rest_validate_job(struct rest_validation *v)
{
    json *spec = get(v->root, "spec");
    path p = AT(NULL, "spec");
    if (v->subresource) {
        check_job_status(v);
        return;
    }
    if (!v->old_root && !flag(spec, "manualSelector") && has(spec, "selector"))
        check_generated(v, spec);
    check_job_spec(v, p, spec);
    check_selector(v, p, spec);
    if (v->old_root)
        check_job_update(v, p, spec, get(v->old_root, "spec"));
    check_pod_names(v, spec);
}

/* ---- cron jobs ---- */

static void check_schedule(struct rest_validation *v, path p, json *spec)
{
    const char *s = text(spec, "schedule");
    char why[256];
    if (!*s)
        return; /* the tables say that it is required */
    if (!rest_cron_check(s, why, sizeof(why)))
        rest_invalid_string(v, p, s, "%s", why);
    bool old_zone = strstr(string_of(neap_json_at(v->old_root, "spec.schedule")), "TZ") != NULL;
    if (!strstr(s, "TZ"))
        return;
    if (old_zone && has(spec, "timeZone"))
        rest_invalid_string(v, p, s,
                            "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    else if (!old_zone)
        rest_invalid_string(v, p, s,
                            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
}

static void check_time_zone(struct rest_validation *v, path p, json *spec)
{
    json *zone = get(spec, "timeZone");
    if (!zone || rest_same(zone, neap_json_at(v->old_root, "spec.timeZone")))
        return;
    if (!*string_of(zone))
        rest_invalid(v, p, zone, "timeZone must be nil or non-empty string");
    else if (strcasecmp(string_of(zone), "Local") == 0)
        rest_invalid(v, p, zone,
                     "timeZone must be an explicit time zone as defined in "
                     "https://www.iana.org/time-zones");
    else if (!rest_time_zone_known(string_of(zone)))
        rest_invalid(v, p, zone, "unknown time zone %s", string_of(zone));
}

void rest_validate_cron_job(struct rest_validation *v)
{
    static const char *const policies[] = {"Allow", "Forbid", "Replace", NULL};
    static const char *const manual[] = {"nil", "false", NULL};
    json *spec = get(v->root, "spec"), *job = neap_json_at(spec, "jobTemplate.spec");
    path p = AT(NULL, "spec"), job_path = AT(AT(p, "jobTemplate"), "spec");
    const char *name = text(get(v->root, "metadata"), "name");
    if (v->subresource)
        return;
    check_schedule(v, AT(p, "schedule"), spec);
    rest_check_not_negative(v, AT(p, "startingDeadlineSeconds"),
                            get(spec, "startingDeadlineSeconds"));
    check_time_zone(v, AT(p, "timeZone"), spec);
    rest_check_one_of(v, AT(p, "concurrencyPolicy"), text(spec, "concurrencyPolicy"), true,
                      policies);
    check_job_spec(v, job_path, job);
    if (has(job, "selector")) {
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        rest_show_type(&b, get(job, "selector"), SELECTOR);
        rest_invalid_shown(v, AT(job_path, "selector"), b.data,
                           "`selector` will be auto-generated");
    }
    if (flag(job, "manualSelector"))
        rest_unsupported_shown(v, AT(job_path, "manualSelector"), "true", manual);
    rest_check_not_negative(v, AT(p, "successfulJobsHistoryLimit"),
                            get(spec, "successfulJobsHistoryLimit"));
    rest_check_not_negative(v, AT(p, "failedJobsHistoryLimit"),
                            get(spec, "failedJobsHistoryLimit"));
    if (!v->old_root && strlen(name) > 52)
        rest_invalid_string(v, AT(AT(NULL, "metadata"), "name"), name,
                            "must be no more than 52 characters");
}
