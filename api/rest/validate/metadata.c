/* metadata: name, labels, annotations, owners, finalizers.
 * Source: Kubernetes API conventions, "Metadata"; "Object Names and IDs". */
#include "validate.h"
#include <arpa/inet.h>

static void words_52(struct rest_problems *out, const char *s)
{
    rest_words_dns_subdomain(out, s);
    if (strlen(s) > 52 && out->count < NEAP_ARRAY_LEN(out->list))
        out->list[out->count++] = "must be no more than 52 characters";
}

static rest_words *words_of(uint8_t style)
{
    switch (style) {
    case NEAP_NAME_LABEL:
        return rest_words_dns_label;
    case NEAP_NAME_SEGMENT:
    case NEAP_NAME_SIGNER:
        return rest_words_segment;
    case NEAP_NAME_SUBDOMAIN52:
        return words_52;
    default:
        return rest_words_dns_subdomain;
    }
}

/* Names that are addresses are in the one canonical form. */
static void check_ip_name(struct rest_validation *v, path p, const char *name)
{
    unsigned char b[16];
    char canonical[64];
    int family = strchr(name, ':') ? AF_INET6 : AF_INET;
    if (!rest_check_ip(v, p, name, NULL) || inet_pton(family, name, b) != 1)
        return;
    if (inet_ntop(family, b, canonical, sizeof(canonical)) && strcmp(canonical, name))
        rest_invalid_string(v, p, name, "must be in canonical form (\"%s\")", canonical);
}

/* What follows a prefix may make its end good. */
static void check_prefix(struct rest_validation *v, path p, const char *prefix)
{
    struct rest_problems found = {0};
    size_t n = strlen(prefix);
    char *masked = neap_strdup(prefix);
    if (n > 1 && masked[n - 1] == '-') {
        masked[n - 2] = 'a';
        masked[n - 1] = '\0';
    }
    if (v->kind->name_style != NEAP_NAME_IP)
        words_of(v->kind->name_style)(&found, masked);
    for (unsigned i = 0; i < found.count; i++)
        rest_invalid_string(v, p, prefix, "%s", found.list[i]);
    free(masked);
}

static void check_name(struct rest_validation *v, path p, json *meta)
{
    const char *name = text(meta, "name");
    if (!v->old_root && *text(meta, "generateName"))
        check_prefix(v, AT(p, "generateName"), text(meta, "generateName"));
    if (!*name)
        rest_required(v, AT(p, "name"), "name or generateName is required");
    else if (!v->old_root && v->kind->name_style == NEAP_NAME_IP)
        check_ip_name(v, AT(p, "name"), name);
    else if (!v->old_root)
        rest_check_words(v, AT(p, "name"), name, words_of(v->kind->name_style));
}

static void check_owner(struct rest_validation *v, path p, json *owner)
{
    static const char *const fields[] = {"apiVersion", "kind", "name", "uid"};
    const char *version = text(owner, "apiVersion"), *slash = strchr(version, '/');
    for (size_t i = 0; i < NEAP_ARRAY_LEN(fields); i++)
        if (!*text(owner, fields[i]))
            rest_required(v, AT(p, fields[i]), "must not be empty");
    if (slash && (!slash[1] || strchr(slash + 1, '/')))
        rest_invalid_string(v, AT(p, "apiVersion"), version,
                            "must be <group>/<version> or <version>");
    if (strcmp(version, "v1") == 0 && is(owner, "kind", "Event")) {
        struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
        rest_show_type(&b, owner, "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference");
        rest_invalid_shown(v, p, b.data, "/v1, Kind=Event is disallowed from being an owner");
    }
}

static void check_owners(struct rest_validation *v, path p, json *list)
{
    json *first = NULL;
    EACH(e, list)
    {
        check_owner(v, ITEM(p, e.i), e.item);
        if (!flag(e.item, "controller"))
            continue;
        if (first) {
            struct neap_buf b NEAP_CLEANUP_BUF = NEAP_BUF_INIT;
            rest_show_type(&b, list, "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference");
            rest_invalid_shown(v, p, b.data,
                               "Only one reference can have Controller set to true. Found \"true\" "
                               "in references for %s/%s and %s/%s",
                               text(first, "kind"), text(first, "name"), text(e.item, "kind"),
                               text(e.item, "name"));
        }
        first = first ? first : e.item;
    }
}

static void check_finalizers(struct rest_validation *v, path p, json *list)
{
    static const char *const known[] = {"orphan", "foregroundDeletion", "kubernetes", NULL};
    bool orphan = false, foreground = false;
    EACH(e, list)
    {
        rest_check_words(v, p, string_of(e.item), rest_words_qualified_name);
        orphan = orphan || strcmp(string_of(e.item), "orphan") == 0;
        foreground = foreground || strcmp(string_of(e.item), "foregroundDeletion") == 0;
    }
    if (orphan && foreground)
        rest_invalid(v, p, list, "finalizer orphan and foregroundDeletion cannot be both set");
    EACH(e, list)
    if (!strchr(string_of(e.item), '/') && !rest_one_of(string_of(e.item), known))
        rest_invalid(v, ITEM(p, e.i), e.item,
                     "name is neither a standard finalizer name nor is it fully qualified");
}

void rest_validate_metadata(struct rest_validation *v)
{
    path p = AT(NULL, "metadata");
    json *meta = get(v->root, "metadata");
    check_name(v, p, meta);
    rest_check_labels(v, AT(p, "labels"), get(meta, "labels"));
    rest_check_annotations(v, AT(p, "annotations"), get(meta, "annotations"));
    check_owners(v, AT(p, "ownerReferences"), get(meta, "ownerReferences"));
    check_finalizers(v, AT(p, "finalizers"), get(meta, "finalizers"));
}
