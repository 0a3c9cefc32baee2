/* Cron expressions and time zones. */
#include "api/rest/validate/cron.h"
#include <neap/base.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[256] = "";
    char *text = neap_strndup((const char *)data, size);
    if (!rest_cron_check(text, why, sizeof(why)) && !*why)
        abort(); /* refused without a word */
    rest_time_zone_known(text);
    free(text);
    return 0;
}
