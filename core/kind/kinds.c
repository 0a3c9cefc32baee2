/* Lookups in the kind tables. */
#include <neap/kind.h>

extern const struct neap_type *const neap_types[];
extern const unsigned neap_type_count;
extern const uint16_t neap_kinds_by_gvk[];

static int compare(const struct neap_kind *k, const char *group, const char *version,
                   const char *name, bool by_kind)
{
    int c = strcmp(k->group, group);
    if (c == 0)
        c = strcmp(k->version, version);
    return c ? c : strcmp(by_kind ? k->kind : k->resource, name);
}

static const struct neap_kind *search(const char *group, const char *version, const char *name,
                                      bool by_kind)
{
    unsigned lo = 0, hi = neap_kind_count;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const struct neap_kind *k = neap_kinds[by_kind ? neap_kinds_by_gvk[mid] : mid];
        int c = compare(k, group, version, name, by_kind);
        if (c == 0)
            return k;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const struct neap_kind *neap_kind_by_resource(const char *group, const char *version,
                                              const char *resource)
{
    return search(group, version, resource, false);
}

const struct neap_kind *neap_kind_by_gvk(const char *group, const char *version, const char *kind)
{
    return search(group, version, kind, true);
}

const struct neap_kind *neap_kind_storage(const char *group, const char *resource)
{
    for (unsigned i = 0; i < neap_kind_count; i++)
        if (strcmp(neap_kinds[i]->group, group) == 0 &&
            strcmp(neap_kinds[i]->resource, resource) == 0)
            return neap_kinds[i]->storage;
    return NULL;
}

const struct neap_subresource *neap_kind_subresource(const struct neap_kind *k, const char *name)
{
    for (unsigned i = 0; i < k->subresource_count; i++)
        if (strcmp(k->subresources[i].name, name) == 0)
            return &k->subresources[i];
    return NULL;
}

const struct neap_type *neap_type_by_name(const char *name)
{
    unsigned lo = 0, hi = neap_type_count;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        int c = strcmp(neap_types[mid]->name, name);
        if (c == 0)
            return neap_types[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const struct neap_field *neap_type_field(const struct neap_type *t, const char *name, size_t len)
{
    unsigned lo = 0, hi = t->field_count;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const struct neap_field *f = &t->fields[t->by_name[mid]];
        int c = strncmp(f->name, name, len);
        if (c == 0 && f->name[len])
            c = 1;
        if (c == 0)
            return f;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const char *neap_kind_api_version(const struct neap_kind *k, char buf[128])
{
    snprintf(buf, 128, "%s%s%s", k->group, *k->group ? "/" : "", k->version);
    return buf;
}
