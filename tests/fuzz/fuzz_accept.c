/* Accept headers. */
#include <api/wire/wire.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neap_arena *arena = neap_arena_new(1 << 20);
    char *text = neap_arena_strndup(arena, (const char *)data, size);
    struct neap_accept *list;
    unsigned n = text ? neap_wire_accept_parse(arena, text, &list) : 0;
    for (unsigned i = 0; i < n; i++)
        if (list[i].media > NEAP_MEDIA_OPENAPI_V2)
            abort();
    neap_arena_free(arena);
    return 0;
}
