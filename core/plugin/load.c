/* Opens shared objects and checks their descriptors: see neap/plugin.h. */
#include "plugin_internal.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <neap/plugin/network.h>
#include <neap/plugin/runtime.h>
#include <neap/plugin/scheduler.h>
#include <neap/plugin/store.h>
#include <sys/stat.h>
#include <unistd.h>

/* Mandatory slots of a kind, by offset: what `plugin check` and the loader demand. */
struct slot_row {
    const char *name;
    size_t offset;
};
#define ROW(type, slot)                                                                            \
    {                                                                                              \
#slot, offsetof(struct type, slot)                                                         \
    }
static const struct slot_row store_slots[] = {
    ROW(neap_store_plugin, open),    ROW(neap_store_plugin, load),  ROW(neap_store_plugin, write),
    ROW(neap_store_plugin, compact), ROW(neap_store_plugin, close), {NULL, 0}};
static const struct slot_row runtime_slots[] = {ROW(neap_runtime_plugin, configure),
                                                ROW(neap_runtime_plugin, restore),
                                                ROW(neap_runtime_plugin, start),
                                                ROW(neap_runtime_plugin, stop),
                                                ROW(neap_runtime_plugin, destroy),
                                                ROW(neap_runtime_plugin, version),
                                                ROW(neap_runtime_plugin, sandbox_run),
                                                ROW(neap_runtime_plugin, sandbox_stop),
                                                ROW(neap_runtime_plugin, sandbox_remove),
                                                ROW(neap_runtime_plugin, sandbox_status),
                                                ROW(neap_runtime_plugin, container_create),
                                                ROW(neap_runtime_plugin, container_start),
                                                ROW(neap_runtime_plugin, container_signal),
                                                ROW(neap_runtime_plugin, container_remove),
                                                ROW(neap_runtime_plugin, container_status),
                                                ROW(neap_runtime_plugin, list),
                                                ROW(neap_runtime_plugin, image_status),
                                                {NULL, 0}};
static const struct slot_row network_slots[] = {ROW(neap_network_plugin, configure),
                                                ROW(neap_network_plugin, start),
                                                ROW(neap_network_plugin, stop),
                                                ROW(neap_network_plugin, cleanup),
                                                ROW(neap_network_plugin, destroy),
                                                ROW(neap_network_plugin, attach),
                                                ROW(neap_network_plugin, detach),
                                                ROW(neap_network_plugin, node_address),
                                                {NULL, 0}};
static const struct slot_row proxy_slots[] = {ROW(neap_proxy_plugin, configure),
                                              ROW(neap_proxy_plugin, start),
                                              ROW(neap_proxy_plugin, stop),
                                              ROW(neap_proxy_plugin, cleanup),
                                              ROW(neap_proxy_plugin, destroy),
                                              ROW(neap_proxy_plugin, sync),
                                              ROW(neap_proxy_plugin, set),
                                              ROW(neap_proxy_plugin, remove),
                                              {NULL, 0}};
static const struct slot_row scheduler_slots[] = {ROW(neap_scheduler_plugin, configure), {NULL, 0}};

static const struct kind_row {
    const char *name;
    const struct slot_row *slots;
} kinds[] = {
    [NEAP_PLUGIN_STORE] = {"store", store_slots},
    [NEAP_PLUGIN_RUNTIME] = {"runtime", runtime_slots},
    [NEAP_PLUGIN_NETWORK] = {"network", network_slots},
    [NEAP_PLUGIN_PROXY] = {"proxy", proxy_slots},
    [NEAP_PLUGIN_VOLUME] = {"volume", NULL},
    [NEAP_PLUGIN_SCHEDULER] = {"scheduler", scheduler_slots},
};

const char *neap_plugin_kind_name(enum neap_plugin_kind kind)
{
    return kind >= 1 && (size_t)kind < NEAP_ARRAY_LEN(kinds) ? kinds[kind].name : "unknown";
}

static enum neap_plugin_kind kind_by_name(const char *name)
{
    for (size_t i = 1; i < NEAP_ARRAY_LEN(kinds); i++)
        if (neap_streq(kinds[i].name, name))
            return (enum neap_plugin_kind)i;
    return 0;
}

const struct neap_plugin_header *neap_plugin_header(const struct neap_plugin *p)
{
    return p->header;
}

const char *neap_plugin_path(const struct neap_plugin *p)
{
    return p->path;
}

bool neap_plugin_has(const struct neap_plugin *p, size_t offset, size_t size)
{
    return p->header->struct_size >= offset + size;
}

static bool slot_missing(const struct neap_plugin *p, size_t offset)
{
    void *value = NULL;
    if (neap_plugin_has(p, offset, sizeof(value)))
        memcpy(&value, (const char *)p->header + offset, sizeof(value));
    return !value;
}

int neap_plugin_check(const struct neap_plugin *p, struct neap_err *err)
{
    for (const struct slot_row *s = kinds[p->header->kind].slots; s && s->name; s++)
        if (slot_missing(p, s->offset))
            return neap_err_set(err, NEAP_ECONFIG, "%s: mandatory function \"%s\" is missing",
                                p->path, s->name);
    return 0;
}

static int check_header(const struct neap_plugin *p, enum neap_plugin_kind want,
                        struct neap_err *err)
{
    const struct neap_plugin_header *h = p->header;
    if (h->magic != NEAP_PLUGIN_MAGIC)
        return neap_err_set(err, NEAP_ECONFIG, "%s: not a neap plugin (wrong magic)", p->path);
    if (h->abi_major != NEAP_PLUGIN_ABI_MAJOR)
        return neap_err_set(err, NEAP_ECONFIG, "%s: made for plugin ABI %u.%u, this is %d.%d",
                            p->path, h->abi_major, h->abi_minor, NEAP_PLUGIN_ABI_MAJOR,
                            NEAP_PLUGIN_ABI_MINOR);
    if (h->kind < 1 || h->kind >= NEAP_ARRAY_LEN(kinds))
        return neap_err_set(err, NEAP_ECONFIG, "%s: unknown kind %u", p->path, h->kind);
    if (want && h->kind != want)
        return neap_err_set(err, NEAP_ECONFIG, "%s: is a %s plugin, a %s plugin is wanted", p->path,
                            kinds[h->kind].name, kinds[want].name);
    if (h->struct_size < sizeof(*h) || !h->name || !h->version)
        return neap_err_set(err, NEAP_ECONFIG, "%s: broken descriptor", p->path);
    return neap_plugin_check(p, err);
}

/* A file that ends before what its headers promise would be a SIGBUS in dlopen(). What is no ELF at all is left to
 * dlopen's own words. */
static bool is_whole(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ElfW(Ehdr) e;
    ElfW(Phdr) p;
    bool whole = true;
    if (fd < 0)
        return true;
    if (fstat(fd, &st) == 0 && pread(fd, &e, sizeof(e), 0) == (ssize_t)sizeof(e) &&
        memcmp(e.e_ident, ELFMAG, SELFMAG) == 0 && e.e_phentsize == sizeof(p)) {
        for (unsigned i = 0; whole && i < e.e_phnum; i++) {
            off_t at = (off_t)(e.e_phoff + i * sizeof(p));
            whole = pread(fd, &p, sizeof(p), at) == (ssize_t)sizeof(p) &&
                    p.p_offset <= (uint64_t)st.st_size &&
                    p.p_filesz <= (uint64_t)st.st_size - p.p_offset;
        }
    }
    close(fd);
    return whole;
}

int neap_plugin_load_file(const char *path, enum neap_plugin_kind want, struct neap_config *config,
                          struct neap_plugin **ret, struct neap_err *err)
{
    /* dlopen looks along library paths when there is no slash */
    NEAP_CLEANUP_FREE char *file =
        strchr(path, '/') ? neap_strdup(path) : neap_asprintf("./%s", path);
    if (!is_whole(file))
        return neap_err_set(err, NEAP_ECONFIG, "plugin: %s: the file is cut off", file);
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return neap_err_set(err, NEAP_ECONFIG, "plugin: %s", dlerror());
    const struct neap_plugin_header *header = dlsym(handle, NEAP_PLUGIN_SYMBOL);
    struct neap_plugin p = {.header = header, .path = file};
    int code =
        header ? check_header(&p, want, err)
               : neap_err_set(err, NEAP_ECONFIG, "%s: exports no \"%s\"", file, NEAP_PLUGIN_SYMBOL);
    if (!code && config)
        code = neap_config_add(config, header->name, header->options, err);
    if (code) {
        dlclose(handle); /* none of its code has run */
        return code;
    }
    *ret = neap_malloc(sizeof(**ret));
    **ret = (struct neap_plugin){.header = header, .path = neap_take(file)};
    return 0;
}

int neap_plugin_load(const char *dir, const char *kind, const char *name,
                     struct neap_config *config, struct neap_plugin **ret, struct neap_err *err)
{
    if (!*name || strchr(name, '/') || *name == '.')
        return neap_err_set(err, NEAP_ECONFIG, "plugin: \"%s\" is not a plugin's name", name);
    NEAP_CLEANUP_FREE char *path = neap_asprintf("%s/%s/%s.so", dir, kind, name);
    return neap_plugin_load_file(path, kind_by_name(kind), config, ret, err);
}

static void each_of_kind(const char *dir, const char *kind,
                         void (*found)(void *arg, const char *path, const struct neap_plugin *p,
                                       const struct neap_err *err),
                         void *arg)
{
    NEAP_CLEANUP_FREE char *folder = neap_asprintf("%s/%s", dir, kind);
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        if (neap_endswith(entries[i]->d_name, ".so")) {
            NEAP_CLEANUP_FREE char *path = neap_asprintf("%s/%s", folder, entries[i]->d_name);
            NEAP_CLEANUP_ERR struct neap_err err = NEAP_ERR_INIT;
            struct neap_plugin *p = NULL;
            neap_plugin_load_file(path, kind_by_name(kind), NULL, &p, &err);
            found(arg, path, p, &err);
            neap_plugin_free(p);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

void neap_plugin_each(const char *dir,
                      void (*found)(void *arg, const char *path, const struct neap_plugin *p,
                                    const struct neap_err *err),
                      void *arg)
{
    for (size_t i = 1; i < NEAP_ARRAY_LEN(kinds); i++)
        each_of_kind(dir, kinds[i].name, found, arg);
}
