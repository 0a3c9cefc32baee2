/* Method, target and headers -> call: three lines of input. What is accepted holds no way out of its key. */
#include <api/wire/wire.h>

static void check_segment(const char *s)
{
    if (s && (strchr(s, '/') || strcmp(s, ".") == 0 || strcmp(s, "..") == 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_header headers[3] = {{"accept", ""}, {"content-type", ""}, {NULL, NULL}};
    struct neap_call *c = neap_call_new(NULL, 1 << 20);
    char *text = neap_arena_strndup(c->arena, (const char *)data, size), *save = NULL;
    char *method = text ? strtok_r(text, "\n", &save) : NULL;
    char *target = method ? strtok_r(NULL, "\n", &save) : NULL;
    char *value = target ? strtok_r(NULL, "\n", &save) : NULL;
    if (value)
        headers[0].value = headers[1].value = value;
    if (target && neap_wire_call_parse(c, method, target, headers, &err) == 0) {
        check_segment(c->group);
        check_segment(c->version);
        check_segment(c->resource);
        check_segment(c->namespace_);
        check_segment(c->name);
        check_segment(c->subresource);
        neap_wire_query_get(c->arena, c->query ? c->query : "", "watch");
    } else if (target && !err.code) {
        abort();
    }
    neap_err_done(&err);
    neap_call_free(c);
    return 0;
}
