/* Shared inside core/admission. */
#ifndef NEAP_CORE_ADMISSION_INTERNAL_H
#define NEAP_CORE_ADMISSION_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <neap/admission.h>
#include <neap/log.h>
#include <neap/metrics.h>
#include <neap/script.h>

enum admission_operation { OP_CREATE = 1, OP_UPDATE = 2, OP_DELETE = 4 };

/* Of "apps/deployments", "pods" or a wildcard: NULL is any. */
struct resource_pattern {
    char *group, *version, *resource;
};

struct rule {
    char *name, *file;
    struct resource_pattern *resources;
    size_t resource_count;
    unsigned operations;                     /* enum admission_operation */
    char **namespaces, **exclude_namespaces; /* NULL-terminated; NULL: all, none */
    int mutate_ref, validate_ref;            /* LUA_NOREF: none */
    uint64_t budget_ms;
    struct rule *next; /* in order */
};

/* One Lua state and what its files declare. */
struct rule_set {
    struct neap_script *script;
    struct rule *rules, **tail;
    unsigned count;
    bool *covered;          /* by index of the storage kind: some rule names it */
    unsigned covered_count; /* kinds above it are custom ones: rules are asked one by one */
    struct run *run;        /* the call that runs */
};

struct neap_admission_rules {
    struct neap_admission_options options;
    struct neap_admission hooks;
    char *dir, *user_dir; /* as the options had them; read again when files change */
    char *lib, *user_lib;
    struct rule_set *set;
    struct neap_script_folders *folders;
};

/* ---- load.c ---- */
int admission_load(struct neap_admission_rules *a, struct rule_set **ret, struct neap_err *err);
int admission_load_file(struct rule_set *s, const char *path, struct neap_err *err);
struct rule_set *admission_set_free(struct rule_set *s);
bool admission_matches(const struct rule *r, const struct neap_kind *k);

/* ---- run.c ---- */
void admission_api_open(struct rule_set *s);
int admission_mutate(void *arg, struct neap_admission_request *r, struct neap_err *err);
int admission_validate(void *arg, const struct neap_admission_request *r, struct neap_err *err);

#endif
