/* Cells of events, in both versions: the old names and the new. */
#include "cells.h"

static const char *either(yyjson_val *root, const char *a, const char *b)
{
    return *cell_str(root, a) ? cell_str(root, a) : cell_str(root, b);
}

static yyjson_val *object(yyjson_val *root)
{
    yyjson_val *o = yyjson_obj_get(root, "involvedObject");
    return o ? o : yyjson_obj_get(root, "regarding");
}

CELL(last_seen)
{
    const char *t = cell_str(root, "series.lastObservedTime");
    if (!*t)
        t = either(root, "lastTimestamp", "deprecatedLastTimestamp");
    if (!*t)
        t = cell_str(root, "eventTime");
    cell_age(x, t, out);
}

CELL(first_seen)
{
    const char *t = either(root, "firstTimestamp", "deprecatedFirstTimestamp");
    cell_age(x, *t ? t : cell_str(root, "eventTime"), out);
}

CELL(type)
{
    cell_text(out, cell_str(root, "type"));
}

CELL(reason)
{
    cell_text(out, cell_str(root, "reason"));
}

CELL(message)
{
    const char *s = either(root, "message", "note");
    size_t n = strlen(s);
    while (n && strchr(" \t\r\n", s[n - 1]))
        n--;
    while (n && strchr(" \t\r\n", *s)) {
        s++;
        n--;
    }
    neap_buf_json_string(out, s, n);
}

CELL(target)
{
    struct neap_buf text = NEAP_BUF_INIT;
    yyjson_val *o = object(root);
    for (const char *p = cell_str(o, "kind"); *p; p++)
        neap_buf_char(&text, *p >= 'A' && *p <= 'Z' ? (char)(*p | 32) : *p);
    if (*cell_str(o, "name"))
        neap_buf_printf(&text, "/%s", cell_str(o, "name"));
    cell_text(out, text.len ? text.data : "");
    neap_buf_done(&text);
}

CELL(subobject)
{
    cell_text(out, cell_str(object(root), "fieldPath"));
}

CELL(source)
{
    const char *component = either(root, "source.component", "deprecatedSource.component");
    const char *host = either(root, "source.host", "deprecatedSource.host");
    struct neap_buf text = NEAP_BUF_INIT;
    if (!*component) {
        component = either(root, "reportingComponent", "reportingController");
        host = cell_str(root, "reportingInstance");
    }
    neap_buf_printf(&text, "%s%s%s", component, *host ? ", " : "", host);
    cell_text(out, text.data);
    neap_buf_done(&text);
}

CELL(count)
{
    int64_t n = cell_int(root, "series.count");
    if (!n)
        n = cell_int(root, "count");
    if (!n)
        n = cell_int(root, "deprecatedCount");
    neap_buf_printf(out, "%lld", n ? (long long)n : 1LL);
}

const struct rest_cell rest_cells_events[] = {
    {"event-last-seen", last_seen}, {"event-first-seen", first_seen},
    {"event-type", type},           {"event-reason", reason},
    {"event-message", message},     {"event-object", target},
    {"event-subobject", subobject}, {"event-source", source},
    {"event-count", count},         {0},
};
