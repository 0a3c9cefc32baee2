/* /healthz, /livez, /readyz, /version, /metrics, and the documents of the token issuer. */
#include "internal.h"
#include <sys/utsname.h>

static bool excluded(struct neap_call *c, const char *name)
{
    const char *q = c->query ? c->query : "";
    size_t n = strlen(name);
    while ((q = strstr(q, "exclude="))) {
        q += 8;
        if (strncmp(q, name, n) == 0 && (q[n] == '\0' || q[n] == '&'))
            return true;
    }
    return false;
}

static void checks(struct neap_call *c, const char *which, bool live, bool ready)
{
    struct neap_rest *r = rest_of(c);
    struct neap_buf text = NEAP_BUF_INIT;
    bool verbose = neap_wire_query_get(c->arena, c->query, "verbose") != NULL, all_ok = true;
    neap_buf_str(&text, "[+]ping ok\n");
    for (unsigned i = 0; i < r->check_count; i++) {
        const struct neap_health_check *k = &r->checks[i];
        if (!((live && k->live) || (ready && k->ready)))
            continue;
        bool skip = excluded(c, k->name), ok = skip || k->ok(k->arg);
        all_ok = all_ok && ok;
        neap_buf_printf(&text,
                        skip ? "[+]%s excluded: ok\n"
                        : ok ? "[+]%s ok\n"
                             : "[-]%s failed: reason withheld\n",
                        k->name);
    }
    if (ready) {
        all_ok = all_ok && !r->draining;
        neap_buf_str(&text,
                     r->draining ? "[-]shutdown failed: reason withheld\n" : "[+]shutdown ok\n");
    }
    neap_buf_printf(&text, "%s check %s\n", which, all_ok ? "passed" : "failed");
    rest_reply_text(c, all_ok ? 200 : 500, all_ok && !verbose ? "ok" : text.data);
    neap_buf_done(&text);
}

/* /readyz/NAME: one check alone. */
static bool one_check(struct neap_call *c, const char *name)
{
    struct neap_rest *r = rest_of(c);
    for (unsigned i = 0; i < r->check_count; i++)
        if (strcmp(r->checks[i].name, name) == 0) {
            bool ok = r->checks[i].ok(r->checks[i].arg);
            rest_reply_text(c, ok ? 200 : 500, ok ? "ok" : "failed: reason withheld");
            return true;
        }
    return false;
}

static void version(struct neap_call *c)
{
    struct utsname u;
    uname(&u);
    const char *arch = strcmp(u.machine, "x86_64") == 0    ? "amd64"
                       : strcmp(u.machine, "aarch64") == 0 ? "arm64"
                                                           : u.machine;
    neap_buf_printf(&c->reply_buf,
                    "{\"major\":\"1\",\"minor\":\"37\",\"gitVersion\":\"%s\",\"gitCommit\":\"\","
                    "\"gitTreeState\":\"\",\"buildDate\":\"\",\"goVersion\":\"\",\"compiler\":"
                    "\"C17\",\"platform\":\"linux/%s\"}",
                    rest_of(c)->options.version, arch);
    rest_reply_json(c, 200);
}

static void owned_json(struct neap_call *c, char *text)
{
    neap_buf_str(&c->reply_buf, text);
    free(text);
    rest_reply_json(c, 200);
}

bool rest_health(struct neap_call *c)
{
    const char *p = c->path;
    struct neap_auth *auth = rest_of(c)->options.auth;
    if (strcmp(p, "/healthz") == 0)
        checks(c, "healthz", true, false);
    else if (strcmp(p, "/livez") == 0)
        checks(c, "livez", true, false);
    else if (strcmp(p, "/readyz") == 0)
        checks(c, "readyz", false, true);
    else if (neap_startswith(p, "/readyz/") || neap_startswith(p, "/livez/"))
        return one_check(c, strchr(p + 1, '/') + 1);
    else if (strcmp(p, "/version") == 0 || strcmp(p, "/version/") == 0)
        version(c);
    else if (strcmp(p, "/metrics") == 0) {
        struct neap_buf text = NEAP_BUF_INIT;
        neap_metrics_render(&text);
        rest_reply_text(c, 200, text.len ? text.data : "");
        neap_buf_done(&text);
    } else if (auth && strcmp(p, "/.well-known/openid-configuration") == 0) {
        owned_json(c, neap_auth_openid_configuration(auth));
    } else if (auth && strcmp(p, "/openid/v1/jwks") == 0) {
        owned_json(c, neap_auth_jwks(auth));
    } else {
        return false;
    }
    return true;
}
