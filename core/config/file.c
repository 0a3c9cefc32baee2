/* The YAML file: a mapping of options to scalars, and `plugins:` with a mapping a plugin. */
#include "config_internal.h"

#include <errno.h>
#include <yaml.h>

#define FILE_MAX_BYTES (1u << 20)

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool have_event;
    const char *path;
    struct neap_config *config;
    struct neap_err *err;
};

static int fail(struct reader *r, yaml_mark_t at, const char *what)
{
    return neap_err_set(r->err, NEAP_ECONFIG, "%s:%zu:%zu: %s", r->path, at.line + 1, at.column + 1,
                        what);
}

static int next(struct reader *r)
{
    if (r->have_event)
        yaml_event_delete(&r->event);
    r->have_event = yaml_parser_parse(&r->parser, &r->event) == 1;
    if (r->have_event)
        return 0;
    return fail(r, r->parser.problem_mark, r->parser.problem ? r->parser.problem : "not YAML");
}

/* One "key: value" whose key event is current; <section> "" is neap's own. */
static int read_option(struct reader *r, const char *section)
{
    yaml_mark_t at = r->event.start_mark;
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail(r, at, "expected the name of an option");
    NEAP_CLEANUP_FREE char *name = neap_strdup((const char *)r->event.data.scalar.value);
    int code = next(r);
    if (code)
        return code;
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail(r, r->event.start_mark, "expected a plain value");
    NEAP_CLEANUP_FREE char *place =
        neap_asprintf("%s:%zu:%zu", r->path, at.line + 1, at.column + 1);
    NEAP_CLEANUP_FREE char *origin = neap_asprintf("file:%zu", at.line + 1);
    return neap_config_put(r->config, section, name, (const char *)r->event.data.scalar.value,
                           place, origin, r->err);
}

/* The mapping of one plugin: current event is its name. */
static int read_plugin(struct reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail(r, r->event.start_mark, "expected the name of a plugin");
    NEAP_CLEANUP_FREE char *section = neap_strdup((const char *)r->event.data.scalar.value);
    int code = next(r);
    if (!code && r->event.type != YAML_MAPPING_START_EVENT)
        return fail(r, r->event.start_mark, "expected the plugin's options");
    while (!code && !(code = next(r)) && r->event.type != YAML_MAPPING_END_EVENT)
        code = read_option(r, section);
    return code;
}

static int read_plugins(struct reader *r)
{
    int code = next(r);
    if (!code && r->event.type != YAML_MAPPING_START_EVENT)
        return fail(r, r->event.start_mark, "expected a mapping of plugins");
    while (!code && !(code = next(r)) && r->event.type != YAML_MAPPING_END_EVENT)
        code = read_plugin(r);
    return code;
}

static bool is_plugins_key(const struct reader *r)
{
    return r->event.type == YAML_SCALAR_EVENT &&
           neap_streq((const char *)r->event.data.scalar.value, "plugins");
}

static int read_document(struct reader *r)
{
    int code;
    do { /* stream start, document start */
        if ((code = next(r)))
            return code;
    } while (r->event.type == YAML_STREAM_START_EVENT ||
             r->event.type == YAML_DOCUMENT_START_EVENT);
    if (r->event.type == YAML_STREAM_END_EVENT)
        return 0; /* an empty file */
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail(r, r->event.start_mark, "expected a mapping of options");
    while (!(code = next(r)) && r->event.type != YAML_MAPPING_END_EVENT) {
        code = is_plugins_key(r) ? read_plugins(r) : read_option(r, "");
        if (code)
            return code;
    }
    return code;
}

int neap_config_file(struct neap_config *c, const char *path, struct neap_err *err)
{
    NEAP_CLEANUP_FREE char *text = NULL;
    size_t len;
    int failed = neap_file_read(path, FILE_MAX_BYTES, &text, &len);
    if (failed)
        return neap_err_set(err, NEAP_ECONFIG, "%s: %s", path, strerrordesc_np(-failed));
    struct reader r = {.path = path, .config = c, .err = err};
    if (!yaml_parser_initialize(&r.parser))
        return neap_err_set(err, NEAP_EINTERNAL, "%s: no memory", path);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    int code = read_document(&r);
    if (r.have_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return code;
}
