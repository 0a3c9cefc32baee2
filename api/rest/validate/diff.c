/* Unified diffs of two texts, as the real server puts them into messages: longest matching blocks first
 * (Ratcliff and Obershelp), lines that come too often start no block. Bounded: once WORK_MAX pairs of lines
 * were looked at, what is left counts as changed. */
#include "shapes.h"

enum { WORK_MAX = 1 << 23, CONTEXT = 3, POPULAR_FROM = 200 };

struct lines {
    const char **at;
    size_t *len, *next, count; /* next: the following line of this text that is the same, 1-based */
};
struct block {
    size_t a, b, n;
};
struct diff {
    struct lines a, b;
    struct neap_map first; /* line of b -> its first index + 1; popular ones are left out */
    struct block *blocks;
    size_t count;
    size_t *before, *now; /* lengths of runs that end at a line of b */
    size_t work;
};

static void split(struct lines *l, const char *s)
{
    size_t n = 1;
    for (const char *p = s; (p = strchr(p, '\n')); p++)
        n++;
    l->at = neap_malloc(n * sizeof(*l->at));
    l->len = neap_malloc(n * sizeof(*l->len));
    l->next = neap_calloc(n, sizeof(*l->next));
    for (l->count = 0; l->count < n; l->count++) {
        l->at[l->count] = s;
        l->len[l->count] = strcspn(s, "\n");
        s += l->len[l->count] + (s[l->len[l->count]] == '\n');
    }
}

static void lines_done(struct lines *l)
{
    free(l->at);
    free(l->len);
    free(l->next);
}

static bool same(const struct diff *d, size_t a, size_t b)
{
    return d->a.len[a] == d->b.len[b] && memcmp(d->a.at[a], d->b.at[b], d->a.len[a]) == 0;
}

static size_t index_of(const struct diff *d, const struct lines *l, size_t i)
{
    return (size_t)(uintptr_t)neap_map_getn(&d->first, l->at[i], l->len[i]);
}

static void index_lines(struct diff *d)
{
    struct lines *b = &d->b;
    for (size_t i = b->count; i-- > 0;) {
        b->next[i] = index_of(d, b, i);
        neap_map_setn(&d->first, b->at[i], b->len[i], (void *)(uintptr_t)(i + 1));
    }
    for (size_t i = 0; b->count >= POPULAR_FROM && i < b->count; i++) {
        size_t uses = 0;
        if (index_of(d, b, i) != i + 1)
            continue;
        for (size_t j = i + 1; j; j = b->next[j - 1])
            uses++;
        if (uses > b->count / 100 + 1)
            neap_map_deln(&d->first, b->at[i], b->len[i]);
    }
}

static struct block longest(struct diff *d, size_t alo, size_t ahi, size_t blo, size_t bhi)
{
    struct block best = {alo, blo, 0};
    size_t width = (bhi - blo + 1) * sizeof(size_t);
    d->work += (ahi - alo) * (bhi - blo + 1);
    if (d->work > WORK_MAX)
        return best;
    memset(d->before + blo, 0, width);
    for (size_t i = alo; i < ahi; i++) {
        memset(d->now + blo, 0, width);
        for (size_t j = index_of(d, &d->a, i); j && j <= bhi; j = d->b.next[j - 1]) {
            if (j <= blo)
                continue;
            size_t n = d->now[j] = d->before[j - 1] + 1;
            if (n > best.n)
                best = (struct block){i + 1 - n, j - n, n};
        }
        size_t *t = d->before;
        d->before = d->now;
        d->now = t;
    }
    while (best.a > alo && best.b > blo && same(d, best.a - 1, best.b - 1)) {
        best.a--;
        best.b--;
        best.n++;
    }
    while (best.a + best.n < ahi && best.b + best.n < bhi &&
           same(d, best.a + best.n, best.b + best.n))
        best.n++;
    return best;
}

static void match(struct diff *d, size_t alo, size_t ahi, size_t blo, size_t bhi)
{
    struct block m = longest(d, alo, ahi, blo, bhi);
    if (!m.n)
        return;
    if (alo < m.a && blo < m.b)
        match(d, alo, m.a, blo, m.b);
    d->blocks[d->count++] = m;
    if (m.a + m.n < ahi && m.b + m.n < bhi)
        match(d, m.a + m.n, ahi, m.b + m.n, bhi);
}

/* What is the same at both ends, cheaply, and the rest by blocks. */
static void match_all(struct diff *d)
{
    size_t n = 0, m = 0, max = d->a.count < d->b.count ? d->a.count : d->b.count;
    while (n < max && same(d, n, n))
        n++;
    while (m < max - n && same(d, d->a.count - 1 - m, d->b.count - 1 - m))
        m++;
    if (n)
        d->blocks[d->count++] = (struct block){0, 0, n};
    if (n + m < d->a.count && n + m < d->b.count)
        match(d, n, d->a.count - m, n, d->b.count - m);
    if (m)
        d->blocks[d->count++] = (struct block){d->a.count - m, d->b.count - m, m};
}

/* Neighbours become one. */
static void join_blocks(struct diff *d)
{
    size_t n = 0;
    for (size_t i = 0; i < d->count; i++) {
        struct block *last = n ? &d->blocks[n - 1] : NULL, m = d->blocks[i];
        if (last && last->a + last->n == m.a && last->b + last->n == m.b)
            last->n += m.n;
        else
            d->blocks[n++] = m;
    }
    d->count = n;
}

static void show(struct neap_buf *out, char mark, const struct lines *l, size_t from, size_t to)
{
    for (; from < to; from++)
        neap_buf_printf(out, "%c%.*s\n", mark, (int)l->len[from], l->at[from]);
}

static void range(struct neap_buf *out, size_t from, size_t to)
{
    size_t n = to - from;
    if (n == 1)
        neap_buf_printf(out, "%zu", from + 1);
    else
        neap_buf_printf(out, "%zu,%zu", n ? from + 1 : from, n);
}

/* One group of changes: blocks <i> to <last> and the gaps before them (and after the last). */
struct group {
    struct neap_buf body;
    size_t a, b; /* where it starts */
};

static void close_group(struct neap_buf *out, struct group *g, size_t a, size_t b)
{
    if (!g->body.len)
        return;
    neap_buf_str(out, "@@ -");
    range(out, g->a, a);
    neap_buf_str(out, " +");
    range(out, g->b, b);
    neap_buf_str(out, " @@\n");
    neap_buf_append(out, g->body.data, g->body.len);
    neap_buf_done(&g->body);
    g->body = (struct neap_buf)NEAP_BUF_INIT;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void write_groups(struct diff *d, struct neap_buf *out)
{
    struct group g = {0};
    size_t a = 0, b = 0; /* done so far */
    d->blocks[d->count++] = (struct block){d->a.count, d->b.count, 0};
    for (size_t i = 0; i < d->count; i++) {
        struct block *m = &d->blocks[i];
        bool changed = m->a > a || m->b > b, last = i + 1 == d->count;
        show(&g.body, '-', &d->a, a, m->a);
        show(&g.body, '+', &d->b, b, m->b);
        a = m->a;
        b = m->b;
        if (!changed && !g.body.len && last)
            break;
        if (g.body.len && (m->n > 2 * CONTEXT || last)) {
            size_t tail = least(m->n, CONTEXT);
            show(&g.body, ' ', &d->a, a, a + tail);
            close_group(out, &g, a + tail, b + tail);
        } else if (g.body.len) {
            show(&g.body, ' ', &d->a, a, a + m->n);
        }
        a += m->n;
        b += m->n;
        bool more = i + 1 < d->count && (d->blocks[i + 1].a > a || d->blocks[i + 1].b > b);
        if (!g.body.len && more) {
            size_t head = least(m->n, CONTEXT);
            g.a = a - head;
            g.b = b - head;
            show(&g.body, ' ', &d->a, g.a, a);
        }
    }
    close_group(out, &g, a, b);
}

void rest_diff(struct neap_buf *out, const char *a, const char *b)
{
    struct diff d = {0};
    split(&d.a, a);
    split(&d.b, b);
    d.blocks = neap_malloc((d.a.count + 4) * sizeof(*d.blocks));
    d.before = neap_calloc(d.b.count + 1, sizeof(size_t));
    d.now = neap_calloc(d.b.count + 1, sizeof(size_t));
    index_lines(&d);
    match_all(&d);
    join_blocks(&d);
    write_groups(&d, out);
    neap_map_done(&d.first, NULL);
    free(d.before);
    free(d.now);
    free(d.blocks);
    lines_done(&d.a);
    lines_done(&d.b);
}
