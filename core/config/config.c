/* Option tables with values from flags, a file and defaults: see neap/config.h. */
#include "config_internal.h"

#include <neap/map.h>
#include <inttypes.h>

struct slot {
    const struct neap_option *option;
    char *value;  /* NULL: not set */
    char *origin; /* "default", "file:LINE", "flag" */
    int64_t number;
};

struct section {
    char *name; /* "" for neap's own */
    struct slot *slots;
    size_t count, cap;
};

/* A value of the file or a flag for which no table exists yet. */
struct pending {
    char *section, *name, *value, *place, *origin;
};

struct neap_config {
    struct section *sections;
    size_t count, cap;
    struct pending *pending;
    size_t pending_count, pending_cap;
};

struct neap_config *neap_config_new(void)
{
    return neap_calloc(1, sizeof(struct neap_config));
}

static void pending_done(struct pending *p)
{
    free(p->section);
    free(p->name);
    free(p->value);
    free(p->place);
    free(p->origin);
}

struct neap_config *neap_config_free(struct neap_config *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < c->count; i++) {
        struct section *s = &c->sections[i];
        for (size_t k = 0; k < s->count; k++) {
            free(s->slots[k].value);
            free(s->slots[k].origin);
        }
        free(s->slots);
        free(s->name);
    }
    for (size_t i = 0; i < c->pending_count; i++)
        pending_done(&c->pending[i]);
    free(c->pending);
    free(c->sections);
    free(c);
    return NULL;
}

static struct section *section_find(const struct neap_config *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (neap_streq(c->sections[i].name, name ? name : ""))
            return &c->sections[i];
    return NULL;
}

static struct slot *slot_find(const struct neap_config *c, const char *section, const char *name)
{
    struct section *s = section_find(c, section);
    for (size_t i = 0; s && i < s->count; i++)
        if (neap_streq(s->slots[i].option->name, name))
            return &s->slots[i];
    return NULL;
}

bool neap_config_duration(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    int64_t total = 0;
    if (!*text)
        return false;
    while (*text) {
        char *end;
        long long n = strtoll(text, &end, 10);
        if (end == text || n < 0 || n > INT32_MAX)
            return false;
        size_t i = 0, len = strspn(end, "abcdefghijklmnopqrstuvwxyz");
        while (i < NEAP_ARRAY_LEN(units) &&
               (strlen(units[i].unit) != len || memcmp(units[i].unit, end, len) != 0))
            i++;
        if (i == NEAP_ARRAY_LEN(units))
            return false;
        total += n * units[i].ms;
        text = end + len;
    }
    *ret_ms = total;
    return true;
}

static bool parse_bool(const char *text, int64_t *ret)
{
    *ret = neap_streq(text, "true");
    return *ret || neap_streq(text, "false");
}

static bool parse_int(const char *text, int64_t *ret)
{
    char *end;
    *ret = strtoll(text, &end, 10);
    return *text && !*end;
}

/* Checks <value> against the option; sets *ret. */
static int check(const struct neap_option *o, const char *place, const char *value, int64_t *ret,
                 struct neap_err *err)
{
    static const char *const words[] = {"text", "a whole number", "true or false",
                                        "a duration such as 250ms, 5s, 1h30m"};
    bool ok = true;
    *ret = 0;
    if (o->type == NEAP_OPTION_INT)
        ok = parse_int(value, ret);
    else if (o->type == NEAP_OPTION_BOOL)
        ok = parse_bool(value, ret);
    else if (o->type == NEAP_OPTION_DURATION)
        ok = neap_config_duration(value, ret);
    if (!ok)
        return neap_err_set(err, NEAP_ECONFIG, "%s: %s: \"%s\" is not %s", place, o->name, value,
                            words[o->type]);
    bool ranged = (o->min || o->max) && o->type != NEAP_OPTION_STRING;
    if (ranged && (*ret < o->min || *ret > o->max))
        return neap_err_set(err, NEAP_ECONFIG, "%s: %s: %s is not between %" PRId64 " and %" PRId64,
                            place, o->name, value, o->min, o->max);
    return 0;
}

static int slot_set(struct slot *s, const char *value, const char *place, const char *origin,
                    struct neap_err *err)
{
    int64_t number;
    int code = check(s->option, place, value, &number, err);
    if (code)
        return code;
    free(s->value);
    free(s->origin);
    s->value = neap_strdup(value);
    s->origin = neap_strdup(origin);
    s->number = number;
    return 0;
}

/* A flag is never overwritten by the file, in whatever order they are read. */
static bool outranked(const struct slot *s, const char *origin)
{
    return neap_streq(s->origin, "flag") && !neap_streq(origin, "flag");
}

int neap_config_put(struct neap_config *c, const char *section, const char *name, const char *value,
                    const char *place, const char *origin, struct neap_err *err)
{
    struct slot *s = slot_find(c, section, name);
    if (s)
        return outranked(s, origin) ? 0 : slot_set(s, value, place, origin, err);
    if (section_find(c, section))
        return neap_err_set(err, NEAP_ECONFIG, "%s: unknown option \"%s\"%s%s", place, name,
                            *section ? " of plugin " : "", section);
    c->pending = neap_grow(c->pending, &c->pending_cap, c->pending_count, sizeof(*c->pending));
    c->pending[c->pending_count++] =
        (struct pending){neap_strdup(section), neap_strdup(name), neap_strdup(value),
                         neap_strdup(place), neap_strdup(origin)};
    return 0;
}

static int take_pending(struct neap_config *c, const char *section, struct neap_err *err)
{
    int code = 0;
    size_t keep = 0;
    struct pending *all = c->pending;
    size_t count = c->pending_count;
    c->pending = NULL;
    c->pending_count = c->pending_cap = 0;
    for (size_t i = 0; i < count; i++) {
        struct pending *p = &all[i];
        if (!neap_streq(p->section, section)) {
            all[keep++] = *p;
            continue;
        }
        if (!code)
            code = neap_config_put(c, section, p->name, p->value, p->place, p->origin, err);
        pending_done(p);
    }
    c->pending = all;
    c->pending_count = keep;
    c->pending_cap = count;
    return code;
}

int neap_config_add(struct neap_config *c, const char *section, const struct neap_option *table,
                    struct neap_err *err)
{
    struct section *s = section_find(c, section);
    if (!s) {
        c->sections = neap_grow(c->sections, &c->cap, c->count, sizeof(*c->sections));
        s = &c->sections[c->count++];
        *s = (struct section){.name = neap_strdup(section ? section : "")};
    }
    for (; table && table->name; table++) {
        s->slots = neap_grow(s->slots, &s->cap, s->count, sizeof(*s->slots));
        struct slot *slot = &s->slots[s->count++];
        *slot = (struct slot){.option = table, .origin = neap_strdup("default")};
        if (table->dflt) {
            int code = slot_set(slot, table->dflt, "default", "default", err);
            if (code)
                return code;
        }
    }
    return take_pending(c, section ? section : "", err);
}

int neap_config_check_unused(struct neap_config *c, struct neap_err *err)
{
    if (!c->pending_count)
        return 0;
    const struct pending *p = &c->pending[0];
    return neap_err_set(err, NEAP_ECONFIG, "%s: no plugin \"%s\" is loaded (option \"%s\")",
                        p->place, p->section, p->name);
}

static const struct slot *must_find(const struct neap_config *c, const char *section,
                                    const char *name)
{
    const struct slot *s = slot_find(c, section, name);
    if (!s) {
        fprintf(stderr, "neap: option %s of %s is in no table\n", name, section ? section : "neap");
        abort();
    }
    return s;
}

const char *neap_config_string(const struct neap_config *c, const char *section, const char *name)
{
    return must_find(c, section, name)->value;
}

int64_t neap_config_int(const struct neap_config *c, const char *section, const char *name)
{
    return must_find(c, section, name)->number;
}

bool neap_config_flag_is_bool(const struct neap_config *c, const char *section, const char *name)
{
    const struct slot *s = slot_find(c, section, name);
    return s && s->option->type == NEAP_OPTION_BOOL;
}

static void print_value(const struct slot *s, struct neap_buf *out)
{
    if (!s->value)
        neap_buf_str(out, "null");
    else if (s->option->type == NEAP_OPTION_STRING)
        neap_buf_json_string(out, s->value, strlen(s->value));
    else
        neap_buf_str(out, s->value);
}

void neap_config_print(const struct neap_config *c, struct neap_buf *out)
{
    bool plugins = false;
    for (size_t i = 0; i < c->count; i++) {
        const struct section *s = &c->sections[i];
        const char *indent = *s->name ? "    " : "";
        if (*s->name) {
            neap_buf_printf(out, "%s  %s:\n", plugins ? "" : "plugins:\n", s->name);
            plugins = true;
        }
        for (size_t k = 0; k < s->count; k++) {
            neap_buf_printf(out, "%s# %s (%s)\n%s%s: ", indent, s->slots[k].option->help,
                            s->slots[k].origin, indent, s->slots[k].option->name);
            print_value(&s->slots[k], out);
            neap_buf_char(out, '\n');
        }
    }
}
