/* Where a value stands, in words. */
#include "kind_internal.h"

void neap_kind_path_write(const struct kind_path *p, struct neap_buf *out, bool map_brackets)
{
    if (!p)
        return;
    neap_kind_path_write(p->up, out, map_brackets);
    if (!p->name) {
        neap_buf_printf(out, "[%zu]", p->index);
    } else if (p->key && map_brackets) {
        neap_buf_char(out, '[');
        neap_buf_append(out, p->name, p->name_len);
        neap_buf_char(out, ']');
    } else {
        if (out->len)
            neap_buf_char(out, '.');
        neap_buf_append(out, p->name, p->name_len);
    }
}

void neap_kind_path_write_go(const struct kind_path *p, struct neap_buf *out)
{
    if (!p)
        return;
    neap_kind_path_write_go(p->up, out);
    if (!p->name || p->key)
        return;
    if (out->len)
        neap_buf_char(out, '.');
    neap_buf_append(out, p->name, p->name_len);
}
