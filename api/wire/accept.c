/* Accept headers and websocket subprotocols: see api/wire/wire.h.
 * Source: RFC 9110 12.5.1; Kubernetes API concepts, "Resource representations" and "Receiving resources as
 * Tables". */
#include <api/wire/wire.h>

#include <strings.h>

#define ENTRIES_MAX 32

static const struct {
    const char *type;
    enum neap_media media;
} media_rows[] = {
    {"application/json", NEAP_MEDIA_JSON},
    {"application/yaml", NEAP_MEDIA_YAML},
    {"application/vnd.kubernetes.protobuf", NEAP_MEDIA_PROTOBUF},
    {"application/com.github.proto-openapi.spec.v2.v1.0+protobuf", NEAP_MEDIA_OPENAPI_V2},
    {"application/com.github.proto-openapi.spec.v2@v1.0+protobuf", NEAP_MEDIA_OPENAPI_V2},
    {"*/*", NEAP_MEDIA_JSON},
    {"application/*", NEAP_MEDIA_JSON},
    {"text/plain", NEAP_MEDIA_TEXT},
    {"text/*", NEAP_MEDIA_TEXT},
};

/* Trims blanks in place of a copy; returns the start. */
static char *trim(char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    size_t n = strlen(s);
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        s[--n] = '\0';
    return s;
}

/* A qvalue in thousandths; what is none counts as not given. Source: RFC 9110, 12.4.2. */
static unsigned quality_of(const char *s)
{
    unsigned q = *s == '0' ? 0 : 1000;
    if ((*s != '0' && *s != '1') || (s[1] && s[1] != '.'))
        return 1000;
    s += s[1] ? 2 : 1;
    for (unsigned unit = 100; unit && *s >= '0' && *s <= '9'; unit /= 10)
        q += unit * (unsigned)(*s++ - '0');
    return *s || q > 1000 ? 1000 : q;
}

/* One entry of the header; false: of no type that we know, or q=0. */
static bool parse_entry(char *text, struct neap_accept *ret, unsigned *ret_quality)
{
    char *save = NULL, *type = strtok_r(text, ";", &save);
    bool known = false;
    *ret = (struct neap_accept){0};
    *ret_quality = 1000;
    type = type ? trim(type) : text;
    for (size_t i = 0; !known && i < NEAP_ARRAY_LEN(media_rows); i++)
        if (strcasecmp(type, media_rows[i].type) == 0) {
            ret->media = media_rows[i].media;
            known = true;
        }
    for (char *p; (p = strtok_r(NULL, ";", &save));) {
        char *value = strchr(p, '=');
        if (!value)
            continue;
        *value++ = '\0';
        p = trim(p);
        value = trim(value);
        if (neap_streq(p, "as"))
            ret->as = value;
        else if (neap_streq(p, "g"))
            ret->g = value;
        else if (neap_streq(p, "v"))
            ret->v = value;
        else if (neap_streq(p, "stream"))
            ret->stream_watch = neap_streq(value, "watch");
        else if (neap_streq(p, "q"))
            *ret_quality = quality_of(value);
    }
    return known && *ret_quality > 0;
}

unsigned neap_wire_accept_parse(struct neap_arena *arena, const char *header,
                                struct neap_accept **ret)
{
    struct neap_accept *list = neap_arena_alloc(arena, ENTRIES_MAX * sizeof(*list));
    char *copy = neap_arena_strdup(arena, header && *header ? header : "application/json");
    unsigned qualities[ENTRIES_MAX], n = 0;
    *ret = list;
    if (!list || !copy)
        return 0;
    char *save = NULL;
    for (char *e = strtok_r(copy, ",", &save); e && n < ENTRIES_MAX;
         e = strtok_r(NULL, ",", &save)) {
        struct neap_accept a;
        unsigned quality;
        if (!parse_entry(trim(e), &a, &quality))
            continue;
        unsigned at = n++;
        while (at && qualities[at - 1] < quality) { /* insertion keeps the order of equals */
            list[at] = list[at - 1];
            qualities[at] = qualities[at - 1];
            at--;
        }
        list[at] = a;
        qualities[at] = quality;
    }
    return n;
}

/* ---- websocket subprotocols (k8s.io/apimachinery remotecommand, wsstream) ---- */

static const struct neap_ws_protocol protocols[] = {
    {"v5.channel.k8s.io", false, true, true, true},
    {"v4.channel.k8s.io", false, false, true, true},
    {"v4.base64.channel.k8s.io", true, false, true, true},
    {"channel.k8s.io", false, false, false, true},
    {"base64.channel.k8s.io", true, false, false, true},
    {"binary.k8s.io", false, false, false, false},
    {"base64.binary.k8s.io", true, false, false, false},
};

const struct neap_ws_protocol *neap_ws_protocol_by_name(const char *name)
{
    for (size_t i = 0; i < NEAP_ARRAY_LEN(protocols); i++)
        if (neap_streq(protocols[i].name, name))
            return &protocols[i];
    return NULL;
}
