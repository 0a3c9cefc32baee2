/* GET of one object. */
#include "internal.h"

static void answer(struct neap_call *c)
{
    struct neap_snapshot *s = rest_pin(c);
    struct neap_object *o = neap_snapshot_get(s, c->kind, c->namespace_, c->name);
    if (!o) {
        rest_err_not_found(&c->err, c->kind, c->name);
        rest_fail(c);
        return;
    }
    rest_reply_object(c, 200, o);
}

void rest_get(struct neap_call *c)
{
    uint64_t revision;
    if (rest_negotiate(c, true, &c->err) ||
        rest_parse_revision(c->options.resource_version, &revision, &c->err)) {
        rest_fail(c);
        return;
    }
    if (revision)
        rest_wait_revision(c, revision, answer);
    else
        answer(c);
}
