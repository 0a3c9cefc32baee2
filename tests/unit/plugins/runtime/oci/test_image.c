/* Images of every form in; whiteouts, names, removal; and archives that want out of their folder. */
#include "oci_test.h"
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static char fixtures[96];

static int import(struct driver *d, const char *file, const char *name, char message[1024])
{
    struct fake_op o;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", fixtures, file);
    d->p->image_import(d->self, path, name, fake_op_init(&o));
    int r = fake_op_wait(&d->h, &o);
    if (message)
        memcpy(message, o.message, 1024);
    return r;
}

static char *script_path(void)
{
    /* .../build/obj-x/tests/unit/... : the source tree is beside build */
    char exe[PATH_MAX] = "", *path = NULL;
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    char *at = strstr(exe, "/build/obj-");
    assert_non_null(at);
    *at = 0;
    assert_true(asprintf(&path, "%s/tests/unit/plugins/runtime/oci/make_images.py", exe) > 0);
    return path;
}

static int image_setup(void **state)
{
    int r = group_setup(state);
    snprintf(fixtures, sizeof fixtures, "%s/fixtures", data_dir);
    mkdir(fixtures, 0755);
    char *script = script_path();
    const char *argv[] = {"/usr/bin/python3", script, fixtures, NULL};
    run_argv(argv);
    free(script);
    return r;
}

static unsigned count_entries(const char *what)
{
    char path[128];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/images/%s", data_dir, what);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* The two layers as overlayfs wants them. */
static void check_layers(struct driver *d, const char *name)
{
    const struct neap_runtime_image *i;
    assert_int_equal(d->p->image_status(d->self, name, &i), 0);
    assert_int_equal(i->uid, -1);
    assert_string_equal(i->user, "web");
    assert_true(i->size > 0);
    char path[512], layers[128];
    unsigned whiteouts = 0, opaque = 0, sticky = 0;
    snprintf(layers, sizeof layers, "%s/images/layers", data_dir);
    DIR *dir = opendir(layers);
    for (struct dirent *e; (e = readdir(dir));) {
        struct stat st;
        char value[4];
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s/etc/gone", layers, e->d_name);
        whiteouts += lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
        snprintf(path, sizeof path, "%s/%s/dir", layers, e->d_name);
        opaque += getxattr(path, "trusted.overlay.opaque", value, sizeof value) == 1;
        snprintf(path, sizeof path, "%s/%s/tmp", layers, e->d_name);
        sticky += lstat(path, &st) == 0 && (st.st_mode & 07777) == 01777 && st.st_uid == 5 &&
                  st.st_gid == 6;
    }
    closedir(dir);
    assert_int_equal(whiteouts, 1);
    assert_int_equal(opaque, 1);
    assert_int_equal(sticky, 2); /* the upper one has no entry for /tmp: like the lower one's */
}

static void test_forms(void **state)
{
    struct driver d;
    const struct neap_runtime_image *i;
    driver_open(&d);
    unsigned images = count_entries("index"), layers = count_entries("layers");
    assert_int_equal(import(&d, "layout", NULL, NULL), 0);
    check_layers(&d, "example.org/two:1");
    assert_int_equal(count_entries("layers"), layers + 2);
    assert_int_equal(import(&d, "layout.tar", "other:2", NULL), 0);
    assert_int_equal(d.p->image_status(d.self, "docker.io/library/other:2", &i), 0);
    assert_non_null(i->digests[0]);
    assert_int_equal(import(&d, "docker.tar", NULL, NULL), 0);
    assert_int_equal(d.p->image_status(d.self, "two:docker", &i), 0);
    assert_int_equal(d.p->image_status(d.self, "library/two:again", &i), 0);
    check_layers(&d, i->id);
    assert_int_equal(count_entries("layers"), layers + 2); /* the same content, once */
    assert_int_equal(count_entries("index"), images + 1);
    driver_close(&d);
    driver_open(&d); /* recorded */
    assert_int_equal(d.p->image_status(d.self, "two:docker", &i), 0);
    static const char *const names[] = {"two:docker", "two:again", "other:2", "example.org/two:1"};
    for (size_t k = 0; k < 4; k++) {
        assert_int_equal(d.p->image_status(d.self, names[k], &i), 0);
        assert_op(&d.h, d.p->image_remove(d.self, names[k], op));
        assert_int_equal(d.p->image_status(d.self, names[k], &i), NEAP_ENOTFOUND);
    }
    assert_op(&d.h, d.p->image_remove(d.self, "two:docker", op));
    assert_int_equal(count_entries("layers"), layers);
    assert_int_equal(count_entries("index"), images);
    driver_close(&d);
}

static void test_hostile(void **state)
{
    static const char *const bad[] = {"spoiled", "dotdot", "deep", "hard", "cut", "garbage"};
    struct driver d;
    char message[1024];
    driver_open(&d);
    unsigned images = count_entries("index"), layers = count_entries("layers");
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        int r = import(&d, bad[k], "bad", message);
        if (r != NEAP_EINVALID || !message[0])
            fail_msg("%s: %d %s", bad[k], r, message);
    }
    /* a link in the way is either refused or replaced, never followed */
    char path[160];
    snprintf(path, sizeof path, "%s/outside/victim", fixtures);
    write_text(path, "alive");
    import(&d, "link", "bad", NULL);
    import(&d, "linkwh", "bad2", NULL);
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    snprintf(path, sizeof path, "%s/outside/escaped", fixtures);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_op(&d.h, d.p->image_remove(d.self, "bad", op));
    assert_op(&d.h, d.p->image_remove(d.self, "bad2", op));
    assert_int_equal(import(&d, "absolute", NULL, NULL), 0);
    assert_int_not_equal(access("/absolute", F_OK), 0);
    assert_op(&d.h, d.p->image_remove(d.self, "example.org/abs:1", op));
    assert_int_equal(count_entries("index"), images);
    assert_int_equal(count_entries("layers"), layers);
    assert_int_equal(import(&d, "none", NULL, NULL), NEAP_ENOTFOUND);
    driver_close(&d);
}

static void test_used(void **state)
{
    struct driver d;
    struct pod p = {0};
    struct box b;
    struct fake_op o;
    driver_open(&d);
    pod_run(&d, &p, "11111111-img");
    box_init(&d, &b, &p, "main", "true");
    box_start(&d, &b);
    d.p->image_remove(d.self, IMAGE, fake_op_init(&o));
    assert_int_equal(fake_op_wait(&d.h, &o), NEAP_ECONFLICT);
    pod_remove(&d, p.id);
    driver_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_used),
    };
    if (needs_root())
        return 0;
    return cmocka_run_group_tests(tests, image_setup, group_teardown);
}
