/* A page through the proxy: in pieces it becomes what it becomes at once. */
#include "fuzz.h"

#include "api/node/rewrite.h"

#include <stdlib.h>
#include <string.h>

static void rewritten(const uint8_t *data, size_t size, size_t step, struct neap_buf *out)
{
    struct node_rewrite *r = node_rewrite_new("/proxy", "h:1");
    for (size_t i = 0; i < size; i += step)
        node_rewrite_push(r, (const char *)data + i, size - i < step ? size - i : step, false, out);
    node_rewrite_push(r, NULL, 0, true, out);
    node_rewrite_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neap_buf whole = NEAP_BUF_INIT, pieces = NEAP_BUF_INIT;
    rewritten(data, size, size + 1, &whole);
    rewritten(data, size, 7, &pieces);
    if (whole.len != pieces.len || (whole.len && memcmp(whole.data, pieces.data, whole.len) != 0))
        abort();
    neap_buf_done(&whole);
    neap_buf_done(&pieces);
    return 0;
}
