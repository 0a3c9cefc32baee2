/* Which kind is checked by what. Each kind's rules are in a file of its own. */
#include "validate.h"

static const struct {
    const char *group, *resource;
    void (*check)(struct rest_validation *v);
} rows[] = {
    {"", "configmaps", rest_validate_config_map},
    {"", "secrets", rest_validate_secret},
};

void rest_validate_kind(struct rest_validation *v)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].group, v->kind->group) == 0 &&
            strcmp(rows[i].resource, v->kind->resource) == 0)
            rows[i].check(v);
}
