/* Puts and gets a second: bench_registry PLUGIN.so DIR [puts] [at-once]. Prints one line. */
#include <dlfcn.h>
#include <neap/registry.h>
#include <stdarg.h>

#define VALUE_BYTES 1024

struct bench {
    struct neap_registry *r;
    struct neap_loop *loop;
    const struct neap_kind *kind;
    unsigned long left, under_way, written;
    char value[VALUE_BYTES];
};

struct put {
    struct neap_txn txn;
    struct neap_txn_op op;
    struct bench *bench;
};

static void submit(struct put *p);

static void done(struct neap_txn *txn)
{
    struct put *p = txn->data;
    struct bench *b = p->bench;
    if (txn->result) {
        fprintf(stderr, "put: %s\n", neap_err_name(txn->result));
        exit(1);
    }
    neap_txn_done(txn);
    neap_object_unref(p->op.draft);
    b->under_way--;
    if (b->left)
        submit(p);
    else if (!b->under_way)
        neap_loop_stop(b->loop);
}

static void submit(struct put *p)
{
    struct bench *b = p->bench;
    struct neap_err err = NEAP_ERR_INIT;
    char json[VALUE_BYTES + 512];
    unsigned long i = b->written++ % 10000;
    b->left--;
    b->under_way++;
    int n = snprintf(json, sizeof(json),
                     "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{"
                     "\"name\":\"c%lu\",\"namespace\":\"default\",\"uid\":\"u-%lu\"},"
                     "\"data\":{\"v\":\"%s\"}}",
                     i, i, b->value);
    struct neap_object *o;
    if (neap_object_new(b->kind, json, (size_t)n, 0, 0, &o, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    p->op = (struct neap_txn_op){
        .kind = b->kind, .key = neap_object_key(o), .expected = NEAP_STORE_ANY, .draft = o};
    p->txn =
        (struct neap_txn){.ops = &p->op, .op_count = 1, .loop = b->loop, .done = done, .data = p};
    neap_registry_submit(b->r, &p->txn);
}

static double seconds_since(int64_t start)
{
    return (double)(neap_clock_mono(&neap_clock_system) - start) / 1e9;
}

static double bench_puts(struct bench *b, unsigned long at_once)
{
    struct put *puts = neap_calloc(at_once, sizeof(*puts));
    int64_t start = neap_clock_mono(&neap_clock_system);
    for (unsigned long i = 0; i < at_once && b->left; i++) {
        puts[i].bench = b;
        submit(&puts[i]);
    }
    neap_loop_run(b->loop);
    free(puts);
    return (double)b->written / seconds_since(start);
}

static double bench_gets(struct bench *b)
{
    enum { GETS = 1000000 };
    int64_t start = neap_clock_mono(&neap_clock_system);
    size_t bytes = 0;
    for (unsigned i = 0; i < GETS; i++) {
        char name[32];
        size_t len = 0;
        snprintf(name, sizeof(name), "c%u", i * 7919u % 10000u);
        struct neap_snapshot *s = neap_snapshot_pin(b->r);
        struct neap_object *o = neap_snapshot_get(s, b->kind, "default", name);
        if (o)
            neap_object_json(o, &len);
        bytes += len;
        neap_snapshot_unpin(s);
    }
    double rate = GETS / seconds_since(start);
    return bytes ? rate : 0;
}

static void print_failure(void *ctx, const char *message)
{
    (void)ctx;
    fprintf(stderr, "%s\n", message);
}

static int64_t now_mono(void *ctx)
{
    (void)ctx;
    return neap_clock_mono(&neap_clock_system);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench_registry PLUGIN.so DIR [puts] [at-once]\n");
        return 2;
    }
    void *so = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    const struct neap_store_plugin *store = so ? dlsym(so, NEAP_PLUGIN_SYMBOL) : NULL;
    if (!store) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    unsigned long at_once = argc > 4 ? strtoul(argv[4], NULL, 10) : 64;
    struct bench b = {.left = argc > 3 ? strtoul(argv[3], NULL, 10) : 100000,
                      .loop = neap_loop_new("bench", NULL),
                      .kind = neap_kind_storage("", "configmaps")};
    memset(b.value, 'x', sizeof(b.value) - 1);
    const struct neap_host_loop loop = {.now_mono_ns = now_mono};
    const struct neap_host host = {
        .struct_size = sizeof(host), .data_dir = argv[2], .loop = &loop, .fail = print_failure};
    const struct neap_registry_options options = {.store = store, .store_host = &host};
    struct neap_err err = NEAP_ERR_INIT;
    if (neap_registry_open(&options, &b.r, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    double puts = bench_puts(&b, at_once);
    printf("%s: %lu at once: %.0f puts/s, %.0f gets/s\n", store->header.name, at_once, puts,
           bench_gets(&b));
    neap_registry_close(b.r);
    neap_loop_free(b.loop);
    return 0;
}
