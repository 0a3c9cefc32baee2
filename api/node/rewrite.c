#include "rewrite.h"

#include "neap/base.h"

#include <string.h>
#include <strings.h>

/* Which attributes of which element hold a link. */
static const struct {
    const char *element, *attributes[4];
} links[] = {
    {"a", {"href"}},
    {"applet", {"codebase"}},
    {"area", {"href"}},
    {"audio", {"src"}},
    {"base", {"href"}},
    {"blockquote", {"cite"}},
    {"body", {"background"}},
    {"button", {"formaction"}},
    {"command", {"icon"}},
    {"del", {"cite"}},
    {"embed", {"src"}},
    {"form", {"action"}},
    {"frame", {"longdesc", "src"}},
    {"head", {"profile"}},
    {"html", {"manifest"}},
    {"iframe", {"longdesc", "src"}},
    {"img", {"longdesc", "src", "usemap"}},
    {"input", {"src", "usemap", "formaction"}},
    {"ins", {"cite"}},
    {"link", {"href"}},
    {"object", {"classid", "codebase", "data", "usemap"}},
    {"q", {"cite"}},
    {"script", {"src"}},
    {"source", {"src"}},
    {"video", {"poster", "src"}},
};

/* Elements whose content is not markup, up to their own end. */
static const char *const raw_elements[] = {"script", "style", "textarea", "title"};

struct node_rewrite {
    char *prefix, *host;
    struct neap_buf held; /* not decided yet */
    bool comment;         /* within one */
    bool given_up;        /* a tag without end: the rest goes as it is */
    const char *raw;      /* within this element; or NULL */
};

struct span {
    const char *at;
    size_t len;
};

struct node_rewrite *node_rewrite_new(const char *prefix, const char *host)
{
    struct node_rewrite *r = neap_calloc(1, sizeof(*r));
    r->prefix = neap_strdup(prefix);
    r->host = neap_strdup(host);
    return r;
}

struct node_rewrite *node_rewrite_free(struct node_rewrite *r)
{
    if (!r)
        return NULL;
    neap_buf_done(&r->held);
    free(r->prefix);
    free(r->host);
    free(r);
    return NULL;
}

/* ---- a link ---- */

static bool starts(struct span s, const char *with)
{
    size_t n = strlen(with);
    return s.len >= n && memcmp(s.at, with, n) == 0;
}

/* Takes "http://HOST" or "//HOST" of this server away; false: another's. */
static bool own(const struct node_rewrite *r, struct span *url)
{
    static const char *const schemes[] = {"http://", "https://", "//"};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(schemes); i++) {
        size_t skip = strlen(schemes[i]), host = strlen(r->host);
        if (!starts(*url, schemes[i]))
            continue;
        struct span rest = {url->at + skip, url->len - skip};
        if (!starts(rest, r->host) || rest.len == host || rest.at[host] != '/')
            return false;
        *url = (struct span){rest.at + host, rest.len - host};
        return true;
    }
    return url->len && url->at[0] == '/';
}

void node_rewrite_url(const struct node_rewrite *r, const char *url, size_t len,
                      struct neap_buf *out)
{
    struct span rest = {url, len};
    if (own(r, &rest) && !starts(rest, r->prefix))
        neap_buf_str(out, r->prefix);
    neap_buf_append(out, rest.at, rest.len);
}

/* ---- a tag ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_letter(char c)
{
    return (c | 32) >= 'a' && (c | 32) <= 'z';
}

static bool same(struct span s, const char *name)
{
    return strlen(name) == s.len && strncasecmp(s.at, name, s.len) == 0;
}

static bool holds_link(struct span element, struct span attribute)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(links); i++)
        if (same(element, links[i].element))
            for (size_t j = 0; j < NEAP_ARRAY_LEN(links[i].attributes); j++)
                if (links[i].attributes[j] && same(attribute, links[i].attributes[j]))
                    return true;
    return false;
}

/* The bytes of the tag at <at>, '<' to '>'; 0: its end is not there. */
static size_t tag_len(struct span s)
{
    char quote = 0, before = 0; /* the last that is no space */
    for (size_t i = 1; i < s.len; i++) {
        char c = s.at[i];
        if (quote)
            quote = c == quote ? 0 : quote;
        else if ((c == '"' || c == '\'') && before == '=')
            quote = c;
        else if (c == '>')
            return i + 1;
        before = is_space(c) ? before : c;
    }
    return 0;
}

static size_t until(struct span s, size_t i, const char *stops)
{
    while (i < s.len && !is_space(s.at[i]) && !strchr(stops, s.at[i]))
        i++;
    return i;
}

static size_t skip_space(struct span s, size_t i)
{
    while (i < s.len && is_space(s.at[i]))
        i++;
    return i;
}

/* The value that begins at <i>; where what follows it begins. */
static size_t value_at(struct span tag, size_t i, struct span *value)
{
    char quote = i < tag.len && (tag.at[i] == '"' || tag.at[i] == '\'') ? tag.at[i] : 0;
    size_t begin = quote ? i + 1 : i, end;
    if (quote) {
        const char *p = memchr(tag.at + begin, quote, tag.len - begin);
        end = p ? (size_t)(p - tag.at) : tag.len;
    } else {
        end = until(tag, begin, ">");
    }
    *value = (struct span){tag.at + begin, end - begin};
    return end;
}

static void write_tag(const struct node_rewrite *r, struct span tag, struct neap_buf *out)
{
    size_t i = until(tag, 1, "/>"), done = 0;
    struct span element = {tag.at + 1, i - 1};
    while (i < tag.len) {
        size_t name = i;
        i = until(tag, i, "=/>");
        if (i == name) {
            i++;
            continue;
        }
        struct span attribute = {tag.at + name, i - name}, value;
        size_t equals = skip_space(tag, i);
        if (equals >= tag.len || tag.at[equals] != '=')
            continue;
        i = value_at(tag, skip_space(tag, equals + 1), &value);
        if (!holds_link(element, attribute))
            continue;
        neap_buf_append(out, tag.at + done, (size_t)(value.at - tag.at) - done);
        node_rewrite_url(r, value.at, value.len, out);
        done = (size_t)(value.at - tag.at) + value.len;
    }
    neap_buf_append(out, tag.at + done, tag.len - done);
}

static const char *raw_of(struct span tag)
{
    struct span element = {tag.at + 1, until(tag, 1, "/>") - 1};
    for (size_t i = 0; i < NEAP_ARRAY_LEN(raw_elements); i++)
        if (same(element, raw_elements[i]))
            return raw_elements[i];
    return NULL;
}

/* ---- the page ---- */

enum { WAIT = 0 };

static size_t take_comment(struct node_rewrite *r, struct span s)
{
    const char *end = memmem(s.at, s.len, "-->", 3);
    r->comment = !end;
    if (end)
        return (size_t)(end - s.at) + 3;
    return s.len > 2 ? s.len - 2 : WAIT;
}

static size_t take_raw(struct node_rewrite *r, struct span s)
{
    size_t n = strlen(r->raw);
    for (size_t i = 0; i + 2 + n <= s.len; i++)
        if (s.at[i] == '<' && s.at[i + 1] == '/' && strncasecmp(s.at + i + 2, r->raw, n) == 0) {
            r->raw = NULL;
            return i + 2 + n;
        }
    return s.len > n + 1 ? s.len - n - 1 : WAIT;
}

/* How much of <s> goes out as it is (or was written, when <*wrote>); WAIT: more is needed. */
static size_t take_text(struct node_rewrite *r, struct span s, struct neap_buf *out, bool *wrote)
{
    const char *less = memchr(s.at, '<', s.len);
    if (less != s.at)
        return less ? (size_t)(less - s.at) : s.len;
    if (s.len < 4)
        return WAIT;
    r->comment = starts(s, "<!--");
    if (r->comment)
        return 4;
    if (!is_letter(s.at[1]))
        return 1;
    size_t n = tag_len(s);
    r->given_up = !n && s.len > NODE_TAG_MAX;
    if (!n)
        return r->given_up ? s.len : WAIT;
    struct span tag = {s.at, n};
    r->raw = raw_of(tag);
    write_tag(r, tag, out);
    *wrote = true;
    return n;
}

void node_rewrite_push(struct node_rewrite *r, const char *data, size_t len, bool last,
                       struct neap_buf *out)
{
    neap_buf_append(&r->held, data, len);
    struct span s = {r->held.data, r->held.len};
    while (s.len) {
        bool wrote = false;
        size_t n = r->given_up  ? s.len
                   : r->comment ? take_comment(r, s)
                   : r->raw     ? take_raw(r, s)
                                : take_text(r, s, out, &wrote);
        if (n == WAIT && last)
            n = s.len;
        if (n == WAIT)
            break;
        if (!wrote)
            neap_buf_append(out, s.at, n);
        s = (struct span){s.at + n, s.len - n};
    }
    neap_buf_consume(&r->held, r->held.len - s.len);
}
