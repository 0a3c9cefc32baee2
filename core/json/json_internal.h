/* Shared inside core/json. */
#ifndef NEAP_CORE_JSON_INTERNAL_H
#define NEAP_CORE_JSON_INTERNAL_H

#include <neap/json.h>
#include <neap/map.h>

/* Adds a text once; silently full at its bound. <report> may be NULL. */
void neap_json_report(struct neap_decode_report *report, const char *text);
/* Nested deeper than <max>? Recurses no further than that, so any tree may come. */
bool neap_json_deeper_than(yyjson_mut_val *v, unsigned max);

#endif
