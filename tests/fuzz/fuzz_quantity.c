/* Quantities: canonical text is stable and means the same. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct neap_buf once NEAP_CLEANUP_BUF = NEAP_BUF_INIT, twice NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
    int64_t a, b;
    char *s = fuzz_copy(data, size);
    bool ok = neap_quantity_format(&once, s, size);
    FUZZ_CHECK(neap_quantity_milli(s, size, &a) == ok && neap_quantity_value(s, size, &b) == ok);
    if (ok) {
        FUZZ_CHECK(neap_quantity_format(&twice, once.data, once.len));
        FUZZ_CHECK(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
        FUZZ_CHECK(neap_quantity_milli(once.data, once.len, &b) && a == b);
    }
    free(s);
    return 0;
}
