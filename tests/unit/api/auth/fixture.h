/* An authenticator and authorizer on a registry in memory, with keys of its own and a clock by hand. */
#ifndef NEAP_TEST_AUTH_FIXTURE_H
#define NEAP_TEST_AUTH_FIXTURE_H

#include "api/auth/auth_internal.h"
#include "core/registry/fixture.h"

static const char test_issuer[] = "https://issuer.test";
static const char *const test_audiences[] = {"https://issuer.test", NULL};

struct auth_fixture {
    struct fixture *f;
    struct neap_pki *pki;
    struct neap_auth *auth;
    struct neap_snapshot *s;
};

static inline int auth_setup(void **state)
{
    struct auth_fixture *x = calloc(1, sizeof(*x));
    struct neap_err err = NEAP_ERR_INIT;
    char dir[128];
    x->f = fixture_new("memory");
    fixture_open(x->f);
    test_now = 1700000000 * SECOND;
    snprintf(dir, sizeof(dir), "%s/pki", x->f->dir);
    assert_ok(neap_pki_open(dir, &test_clock, &x->pki, &err), err);
    struct neap_auth_options o = {.registry = x->f->r,
                                  .pki = x->pki,
                                  .clock = &test_clock,
                                  .rand = &neap_rand_system,
                                  .issuer = test_issuer,
                                  .audiences = test_audiences};
    x->auth = neap_auth_new(&o);
    *state = x;
    return 0;
}

static inline int auth_teardown(void **state)
{
    static const char *const names[] = {"pki/ca.crt", "pki/ca.key", "pki/sa.key"};
    struct auth_fixture *x = *state;
    char path[128];
    neap_snapshot_unpin(x->s);
    neap_auth_free(x->auth);
    neap_pki_free(x->pki);
    for (size_t i = 0; i < NEAP_ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", x->f->dir, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/pki", x->f->dir);
    rmdir(path);
    fixture_free(x->f);
    free(x);
    return 0;
}

/* Stores it; the text has single quotes for double ones. */
static inline void have(struct auth_fixture *x, const char *group, const char *resource,
                        const char *quoted)
{
    char *json = neap_strdup(quoted);
    for (char *p = json; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    put(x->f, make(neap_kind_storage(group, resource), json, 0));
    free(json);
    neap_snapshot_unpin(x->s);
    x->s = neap_snapshot_pin(x->f->r);
}

static inline void gone(struct auth_fixture *x, const char *group, const char *resource,
                        const char *key)
{
    del(x->f, neap_kind_storage(group, resource), key);
    neap_snapshot_unpin(x->s);
    x->s = neap_snapshot_pin(x->f->r);
}

#define META(name, ns, uid)        "'metadata':{'name':'" name "','namespace':'" ns "','uid':'" uid "'}"
#define META_OF_CLUSTER(name, uid) "'metadata':{'name':'" name "','uid':'" uid "'}"

static inline struct neap_identity *user(const char *name, const char *group)
{
    const char *groups[] = {group ? group : "system:authenticated", NULL};
    return neap_identity_new(name, NULL, groups, NULL);
}

/* "VERB GROUP/RESOURCE[/SUBRESOURCE] NAMESPACE NAME": "-" is none. */
static inline bool may(struct auth_fixture *x, const char *who, const char *group, const char *what,
                       const char *pinned_node)
{
    char verb[32], resource[96], ns[64], name[64];
    assert_int_equal(sscanf(what, "%31s %95s %63s %63s", verb, resource, ns, name), 4);
    char *slash = strchr(resource, '/'), *sub = strchr(slash + 1, '/');
    *slash = '\0';
    if (sub)
        *sub++ = '\0';
    struct neap_identity *id = user(who, group);
    struct neap_attributes a = {.identity = id,
                                .verb = verb,
                                .resource_request = true,
                                .group = strcmp(resource, "-") == 0 ? "" : resource,
                                .version = "v1",
                                .resource = slash + 1,
                                .subresource = sub ? sub : "",
                                .namespace_ = strcmp(ns, "-") == 0 ? "" : ns,
                                .name = strcmp(name, "-") == 0 ? "" : name,
                                .path = "",
                                .pinned_node = pinned_node};
    bool ok = neap_auth_authorize(x->auth, x->s, &a, NULL) == NEAP_ALLOW;
    neap_identity_unref(id);
    return ok;
}

#endif
