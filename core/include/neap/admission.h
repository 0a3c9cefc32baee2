/* Admission rules: Lua files whose mutate and validate see a write before it is stored. design.md
 * section 9. The API (api/rest) knows the two hooks only. thread: the API's loop. */
#ifndef NEAP_ADMISSION_H
#define NEAP_ADMISSION_H

#include <neap/client.h>

/* What a hook is asked. */
struct neap_admission_request {
    const struct neap_call *call;
    const struct neap_snapshot *snapshot;
    const struct neap_kind *kind; /* of the body */
    const char *operation;        /* CREATE, UPDATE, DELETE */
    const char *namespace_, *name;
    yyjson_mut_doc *doc;
    yyjson_mut_val *object, *old_object; /* NULL: none */
    bool dry_run;
};
struct neap_admission {
    /* May change request->object. 0 or an error that becomes the answer. */
    int (*mutate)(void *arg, struct neap_admission_request *r, struct neap_err *err);
    int (*validate)(void *arg, const struct neap_admission_request *r, struct neap_err *err);
    void *arg;
};

struct neap_admission_rules;
struct neap_admission_options {
    struct neap_loop *loop; /* the API's; NULL: changed files are not noticed */
    const struct neap_clock *clock;
    const struct neap_rand *rand;
    const char *script_dir;      /* admission/ and lib/ below it */
    const char *user_script_dir; /* the same of a user's; NULL: none */
};
/* Loads every rule: the built-in ones first, then the user's, each in order of file names. A changed file
 * of the user's is loaded anew; one that does not load is logged and what ran before goes on.
 * errors: NEAP_ECONFIG with file and line. blocks: reads files. */
int neap_admission_open(const struct neap_admission_options *o, struct neap_admission_rules **ret,
                        struct neap_err *err);
/* No request may be under way. Accepts NULL. */
struct neap_admission_rules *neap_admission_close(struct neap_admission_rules *a);
/* The hooks, for as long as it is open. */
const struct neap_admission *neap_admission_hooks(struct neap_admission_rules *a);
/* How many rules are loaded. */
unsigned neap_admission_count(const struct neap_admission_rules *a);
/* Adds one more file (tests). errors: NEAP_ECONFIG. */
int neap_admission_add(struct neap_admission_rules *a, const char *path, struct neap_err *err);

#endif
