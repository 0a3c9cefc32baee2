/* The HTTP/1.1 reader: the first byte says how the rest is cut; whatever the cuts, the outcome is one. */
#include <api/wire/wire.h>

enum { HEADER_MAX = 4096, BODY_MAX = 8192, REQUESTS_MAX = 32 };

struct outcome {
    unsigned requests;
    enum neap_h1_state state;
    size_t used;
    uint64_t bodies;
};

static void read_one(struct neap_h1_parser *p, struct outcome *o)
{
    const struct neap_h1_head *h = neap_h1_parser_head(p);
    size_t len;
    const char *body = neap_h1_parser_body(p, &len);
    if (!h->method || !h->target || len > BODY_MAX)
        abort();
    for (unsigned i = 0; i < h->header_count; i++)
        if (!h->headers[i].name || strpbrk(h->headers[i].value, "\r\n"))
            abort();
    o->bodies = o->bodies * 31 + neap_hash(body, len);
    o->requests++;
}

static struct outcome run(const char *data, size_t len, size_t cut)
{
    struct neap_err err = NEAP_ERR_INIT;
    struct neap_h1_parser *p = neap_h1_parser_new(HEADER_MAX, BODY_MAX);
    struct outcome o = {0};
    size_t end = 0;
    while (o.used < len && o.requests < REQUESTS_MAX) {
        if (end <= o.used)
            end = o.used + cut < len ? o.used + cut : len;
        size_t n = neap_h1_parser_feed(p, data + o.used, end - o.used, &err);
        if (n > end - o.used)
            abort();
        o.used += n;
        o.state = neap_h1_parser_state(p);
        if (o.state == NEAP_H1_ERROR)
            break;
        if (o.state == NEAP_H1_DONE) {
            read_one(p, &o);
            neap_h1_parser_next(p);
        } else if (n == 0 && end == len) {
            abort(); /* it neither takes nor refuses */
        } else if (n == 0) {
            end = end + cut < len ? end + cut : len;
        }
    }
    neap_err_done(&err);
    neap_h1_parser_free(p);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 1;
    struct outcome whole = run(text, size - 1, size), cut = run(text, size - 1, data[0] % 16 + 1u);
    if (whole.requests != cut.requests || whole.bodies != cut.bodies)
        abort();
    return 0;
}
