/* Speaking for another. Source: Kubernetes documentation, "User impersonation", and KEP-5284 (constrained
 * impersonation): each mode is tried, the narrow ones first; the first refusal is what the client sees. */
#include "auth_internal.h"

static const char ACCOUNT[] = "system:serviceaccount:", NODE[] = "system:node:";
static const char AUTHENTICATION[] = "authentication.k8s.io";

enum { MANY = 64, SUBDOMAIN_MAX = 253, LABEL_MAX = 63 };

struct wanted {
    const char *user, *uid;
    const char *groups[MANY + 3];
    const char *extra[2 * MANY + 2]; /* key, value, ... */
    char keys[MANY][128];
    size_t group_count, extra_count;
    bool too_many;
};

/* ---- what the headers ask for ---- */

/* The key's escapes: %2f for what a header name cannot hold. */
static void unescape(const char *from, char *to, size_t size)
{
    for (char *end = to + size - 1; *from && to < end; from++) {
        unsigned v;
        if (*from == '%' && sscanf(from + 1, "%2x", &v) == 1 && v) {
            *to++ = (char)v;
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

static void take(struct wanted *w, const struct neap_header *h)
{
    static const char prefix[] = "impersonate-extra-";
    if (strcmp(h->name, "impersonate-user") == 0) {
        w->user = h->value;
    } else if (strcmp(h->name, "impersonate-uid") == 0) {
        w->uid = h->value;
    } else if (strcmp(h->name, "impersonate-group") == 0) {
        w->too_many |= w->group_count == MANY;
        if (!w->too_many)
            w->groups[w->group_count++] = h->value;
    } else if (neap_startswith(h->name, prefix)) {
        size_t at = w->extra_count / 2;
        w->too_many |= at == MANY;
        if (w->too_many)
            return;
        unescape(h->name + sizeof(prefix) - 1, w->keys[at], sizeof(w->keys[at]));
        w->extra[w->extra_count++] = w->keys[at];
        w->extra[w->extra_count++] = h->value;
    }
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_list(struct neap_buf *b, const char *const *items, size_t count, size_t step)
{
    neap_buf_str(b, "[]string{");
    for (size_t i = 0; i < count; i += step) {
        neap_buf_str(b, i ? ", " : "");
        neap_buf_json_string(b, items[i], strlen(items[i]));
    }
    neap_buf_char(b, '}');
}

/* The words are Go's of its structure: clients show them. */
static int without_user(struct wanted *w, struct neap_err *err)
{
    NEAP_CLEANUP_BUF struct neap_buf b = NEAP_BUF_INIT;
    const char *uid = w->uid ? w->uid : "";
    neap_buf_str(&b, "requested &user.DefaultInfo{Name:\"\", UID:");
    neap_buf_json_string(&b, uid, strlen(uid));
    neap_buf_str(&b, ", Groups:");
    if (w->group_count)
        put_list(&b, w->groups, w->group_count, 1);
    else
        neap_buf_str(&b, "[]string(nil)");
    neap_buf_str(&b, ", Extra:map[string][]string");
    neap_buf_str(&b, w->extra_count ? "{" : "(nil)");
    for (size_t i = 0, n; i < w->extra_count; i = n) {
        for (n = i; n < w->extra_count && strcmp(w->extra[n], w->extra[i]) == 0;)
            n += 2;
        neap_buf_str(&b, i ? ", " : "");
        neap_buf_json_string(&b, w->extra[i], strlen(w->extra[i]));
        neap_buf_char(&b, ':');
        put_list(&b, w->extra + i + 1, n - i, 2);
    }
    neap_buf_str(&b, w->extra_count ? "}} without impersonating a user name"
                                    : "} without impersonating a user name");
    return neap_err_set(err, NEAP_EBADREQUEST, "%s", b.data);
}

/* ---- kinds of users ---- */

static bool label(const char *s, size_t len)
{
    bool ok = len > 0 && s[0] != '-' && s[len - 1] != '-';
    for (size_t i = 0; ok && i < len; i++)
        ok = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-';
    return ok;
}

static bool subdomain(const char *s)
{
    bool ok = strlen(s) <= SUBDOMAIN_MAX;
    for (const char *end; ok; s = end + 1) {
        end = strchrnul(s, '.');
        ok = label(s, (size_t)(end - s));
        if (!*end)
            break;
    }
    return ok;
}

/* The node's name of a user that is one, else NULL. */
static const char *node_of(const char *user)
{
    const char *name = user + sizeof(NODE) - 1;
    return neap_startswith(user, NODE) && subdomain(name) ? name : NULL;
}

/* The ServiceAccount's name, its namespace in <ns>; NULL: the user is none. */
static const char *account_of(const char *user, char ns[LABEL_MAX + 1])
{
    if (!neap_startswith(user, ACCOUNT))
        return NULL;
    const char *start = user + sizeof(ACCOUNT) - 1, *colon = strchr(start, ':');
    size_t len = colon ? (size_t)(colon - start) : 0;
    if (!colon || len > LABEL_MAX || !label(start, len) || !subdomain(colon + 1))
        return NULL;
    memcpy(ns, start, len);
    ns[len] = '\0';
    return colon + 1;
}

static bool only_user(const struct wanted *w)
{
    return !w->uid && !w->group_count && !w->extra_count;
}

static bool is_account(const struct wanted *w, const struct neap_identity *by)
{
    char ns[LABEL_MAX + 1];
    return only_user(w) && account_of(w->user, ns);
}

static bool is_node(const struct wanted *w, const struct neap_identity *by)
{
    return only_user(w) && node_of(w->user);
}

/* The node that the asking ServiceAccount's pod runs on. */
static bool is_own_node(const struct wanted *w, const struct neap_identity *by)
{
    char ns[LABEL_MAX + 1];
    const char *own = NULL;
    unsigned found = 0;
    for (const char *const *e = by->extra; e && e[0]; e += 2)
        if (strcmp(e[0], "authentication.kubernetes.io/node-name") == 0) {
            own = e[1];
            found++;
        }
    return is_node(w, by) && account_of(by->user, ns) && found == 1 &&
           strcmp(own, node_of(w->user)) == 0;
}

static bool is_other(const struct wanted *w, const struct neap_identity *by)
{
    char ns[LABEL_MAX + 1];
    return !node_of(w->user) && !account_of(w->user, ns);
}

/* ---- whether that is allowed ---- */

struct mode {
    const char *name; /* NULL: the plain verb "impersonate" */
    bool (*applies)(const struct wanted *w, const struct neap_identity *by);
    bool any_node; /* held for all nodes: the name asked about is "*" */
};

struct asking {
    struct neap_auth *auth;
    const struct neap_snapshot *snapshot;
    const struct neap_attributes *request;
    const struct wanted *wanted;
    const struct mode *mode;
    char verb[64];
};

static int may(const struct asking *x, const struct neap_attributes *a, struct neap_err *err)
{
    return neap_auth_authorize(x->auth, x->snapshot, a, NULL) == NEAP_ALLOW
               ? 0
               : neap_auth_forbidden(a, NULL, err);
}

static struct neap_attributes about(const struct asking *x, const char *group, const char *resource,
                                    const char *name)
{
    return (struct neap_attributes){.identity = x->request->identity,
                                    .verb = x->verb,
                                    .resource_request = true,
                                    .group = group,
                                    .version = "v1",
                                    .resource = resource,
                                    .subresource = "",
                                    .namespace_ = "",
                                    .name = name,
                                    .path = ""};
}

/* Where users and groups are: the modes have moved them to the group that they belong to. */
static const char *group_of_users(const struct asking *x)
{
    return x->mode->name ? AUTHENTICATION : "";
}

static int may_be_user(const struct asking *x, struct neap_err *err)
{
    char ns[LABEL_MAX + 1];
    const char *user = x->wanted->user, *name = account_of(user, ns);
    struct neap_attributes a = about(x, group_of_users(x), "users", user);
    if (name) {
        a.resource = "serviceaccounts";
        a.namespace_ = ns;
        a.name = name;
    } else if (x->mode->name && node_of(user)) {
        a.resource = "nodes";
        a.name = x->mode->any_node ? "*" : node_of(user);
    }
    return may(x, &a, err);
}

static int may_be_in_groups(const struct asking *x, struct neap_err *err)
{
    const struct wanted *w = x->wanted;
    struct neap_attributes a = about(x, group_of_users(x), "groups", "");
    for (size_t i = 0; x->mode->name && i < w->group_count; i++)
        if (!*w->groups[i])
            return neap_auth_forbidden(&a, "impersonating the empty string group is not allowed",
                                       err);
    for (size_t i = 0; x->mode->name && i < w->group_count; i++)
        if (strcmp(w->groups[i], "system:masters") == 0) {
            a.name = w->groups[i];
            return neap_auth_forbidden(&a, "impersonating the system:masters group is not allowed",
                                       err);
        }
    int rc = 0;
    for (size_t i = 0; !rc && i < w->group_count; i++) {
        a.name = w->groups[i];
        rc = may(x, &a, err);
    }
    return rc;
}

static int may_have_extra(const struct asking *x, struct neap_err *err)
{
    const struct wanted *w = x->wanted;
    struct neap_attributes a = about(x, AUTHENTICATION, "userextras", "");
    const char *empty = NULL;
    for (size_t i = 0; x->mode->name && !empty && i < w->extra_count; i += 2)
        empty = !*w->extra[i]       ? "impersonating the empty string key in extra is not allowed"
                : !*w->extra[i + 1] ? "impersonating the empty string value in extra is not allowed"
                                    : NULL;
    if (empty)
        return neap_auth_forbidden(&a, empty, err);
    int rc = 0;
    for (size_t i = 0; !rc && i < w->extra_count; i += 2) {
        a.subresource = w->extra[i];
        a.name = w->extra[i + 1];
        rc = may(x, &a, err);
    }
    return rc;
}

static int may_have_uid(const struct asking *x, struct neap_err *err)
{
    struct neap_attributes a = about(x, AUTHENTICATION, "uids", x->wanted->uid);
    return x->wanted->uid ? may(x, &a, err) : 0;
}

/* The request itself, as "impersonate-on:MODE:VERB". */
static int may_ask_it(const struct asking *x, struct neap_err *err)
{
    char verb[96];
    struct neap_attributes a = *x->request;
    snprintf(verb, sizeof(verb), "impersonate-on:%s:%s", x->mode->name, x->request->verb);
    a.verb = verb;
    return may(x, &a, err);
}

static int try_mode(struct asking *x, struct neap_err *err)
{
    const char *name = x->mode->name;
    int rc = name ? may_ask_it(x, err) : 0;
    snprintf(x->verb, sizeof(x->verb), "impersonate%s%s", name ? ":" : "", name ? name : "");
    rc = rc ? rc : may_be_user(x, err);
    rc = rc ? rc : may_have_uid(x, err);
    rc = rc ? rc : may_be_in_groups(x, err);
    return rc ? rc : may_have_extra(x, err);
}

/* *ret: the mode that allows it. */
static int allowed(struct asking *x, const struct mode **ret, struct neap_err *err)
{
    static const struct mode modes[] = {{"associated-node", is_own_node, true},
                                        {"arbitrary-node", is_node, false},
                                        {"serviceaccount", is_account, false},
                                        {"user-info", is_other, false},
                                        {NULL, NULL, false}};
    struct neap_err first = NEAP_ERR_INIT;
    int rc = NEAP_EFORBIDDEN;
    for (size_t i = 0; rc && i < NEAP_ARRAY_LEN(modes); i++) {
        struct neap_err why = NEAP_ERR_INIT;
        if (modes[i].applies && !modes[i].applies(x->wanted, x->request->identity))
            continue;
        x->mode = *ret = &modes[i];
        rc = try_mode(x, &why);
        if (rc && !first.code)
            neap_err_move(&first, &why);
        neap_err_done(&why);
    }
    if (rc)
        return neap_err_move(err, &first);
    neap_err_done(&first);
    return 0;
}

/* ---- who it is then ---- */

static bool in_group(const struct wanted *w, const char *group)
{
    for (size_t i = 0; i < w->group_count; i++)
        if (strcmp(w->groups[i], group) == 0)
            return true;
    return false;
}

/* Nodes (by a mode) and ServiceAccounts have their groups, unless others are named. */
static void complete_groups(struct wanted *w, const struct mode *mode, char group[96])
{
    char ns[LABEL_MAX + 1];
    if (mode->name && node_of(w->user)) {
        w->groups[w->group_count++] = "system:nodes";
    } else if (!w->group_count && account_of(w->user, ns)) {
        snprintf(group, 96, "system:serviceaccounts:%s", ns);
        w->groups[w->group_count++] = "system:serviceaccounts";
        w->groups[w->group_count++] = group;
    }
    const char *more = strcmp(w->user, "system:anonymous") == 0 ? "system:unauthenticated"
                       : !in_group(w, "system:unauthenticated") ? "system:authenticated"
                                                                : NULL;
    if (more && !in_group(w, more))
        w->groups[w->group_count++] = more;
}

/* NULL: nobody is to be impersonated, as nearly always. */
static const struct neap_header *first_of(const struct neap_header *headers)
{
    for (; headers && headers->name; headers++)
        if (neap_startswith(headers->name, "impersonate-"))
            return headers;
    return NULL;
}

int neap_auth_impersonate(struct neap_auth *a, const struct neap_call *c,
                          struct neap_identity **identity, struct neap_err *err)
{
    char group[96], verb[NEAP_AUTH_VERB_MAX];
    const struct neap_header *h = first_of(c->headers);
    if (!h)
        return 0;
    struct wanted w = {0};
    for (; h; h = first_of(h + 1))
        take(&w, h);
    if (w.too_many)
        return neap_err_set(err, NEAP_EBADREQUEST,
                            "too many groups or extra values to impersonate");
    if (w.uid && !*w.uid)
        w.uid = NULL;
    bool user = w.user && *w.user;
    if (w.extra_count)
        qsort(w.extra, w.extra_count / 2, 2 * sizeof(*w.extra), by_key);
    if (!user && (w.group_count || w.extra_count || w.uid))
        return without_user(&w, err);
    if (!user)
        return 0;
    const struct neap_attributes request = neap_auth_attributes(c, *identity, verb);
    const struct mode *mode = NULL;
    struct neap_snapshot *s = neap_snapshot_pin(a->options.registry);
    int rc = allowed(&(struct asking){.auth = a, .snapshot = s, .request = &request, .wanted = &w},
                     &mode, err);
    neap_snapshot_unpin(s);
    if (rc)
        return rc;
    complete_groups(&w, mode, group);
    struct neap_identity *id = neap_identity_new(w.user, w.uid, w.groups, w.extra);
    id->authenticated = true;
    neap_identity_unref(*identity);
    *identity = id;
    return 0;
}
